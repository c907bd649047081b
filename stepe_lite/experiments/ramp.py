"""When does the ramp pay? A map: kinds of noise × length of the warm-up × length of the ramp, on the digits.

Each run of Step-E with a ramp has a partner without one: loss truncation with the same warm-up, the same wrong labels,
the same initial weights and the same order of the samples. `gains` is the difference between the two, seed by seed.
The final fraction is the true noise rate of each set of labels, a privilege; both partners have it. The grid was fixed
after a pilot on two other seeds (100 and 101), and all of it is reported.
"""

import math

import numpy as np
import pandas as pd

from .. import analysis, noise, schedules
from ..datasets import load
from ..rules import Everything, LossTruncation, StepE
from ..training import fit
from ..utils import check_whole
from . import maps

SETTINGS = {"dataset": "digits", "model": "mlp", "epochs": 60}
WARMUPS = 2, 5, 15  # epochs
RAMPS = 0, 5, 15, 30  # epochs; 0 = all at once
SEEDS = 10
COLUMNS = (
    "noise", "rate", "warmup", "ramp", "seed", "accuracy_last", "worst_class_accuracy", "precision", "recall",
    "precision_half", "precision_full", "worst_class_retention", "worst_class_retention_full",
    "worst_class_retention_min",
)  # fmt: skip
KEY = "noise", "warmup", "ramp", "seed"  # what says which run a row is
# Name -> seed -> noise model. An uneven matrix is drawn anew for every seed; "40 ± 20 %" gives the mean and the
# standard deviation of the classes' noise rates (CIFAR-100N's are 40 ± 18 %).
NOISE = {
    "symmetric, 20 %": lambda seed: noise.symmetric(0.2),
    "symmetric, 40 %": lambda seed: noise.symmetric(0.4),
    "pair flip, 20 %": lambda seed: noise.pair_flip(0.2),
    "pair flip, 40 %": lambda seed: noise.pair_flip(0.4),
    "instance-dependent, 20 %": lambda seed: noise.instance_dependent(0.2),
    "instance-dependent, 40 %": lambda seed: noise.instance_dependent(0.4),
    "CIFAR-10N aggre, 9 %": lambda seed: noise.asymmetric(noise.cifar10n("aggre")),
    "CIFAR-10N worse, 40 %": lambda seed: noise.asymmetric(noise.cifar10n("worse")),
    "uneven classes, 20 ± 10 %": lambda seed: noise.asymmetric(noise.uneven_classes(10, 0.2, 0.1, seed=seed)),
    "uneven classes, 40 ± 20 %": lambda seed: noise.asymmetric(noise.uneven_classes(10, 0.4, 0.2, seed=seed)),
    "uneven classes, 40 ± 30 %": lambda seed: noise.asymmetric(noise.uneven_classes(10, 0.4, 0.3, seed=seed)),
}


def rule(final, warmup, ramp):
    """The rule of one cell of the map: `Everything` for warmup None, else loss truncation (ramp 0) or Step-E."""
    if warmup is None:
        return Everything()
    return StepE(schedules.linear(warmup, ramp, final)) if ramp else LossTruncation(final, warmup)


def trial(data, warmup, ramp, seed, **settings):
    """Train one cell of the map; returns what is recorded of it, a dict with the columns from accuracy_last on.

    accuracy_last, worst_class_accuracy : on the test set after the last epoch, over all classes and of the worst one
    precision, recall : of the last epoch's exclusion
    precision_half, precision_full : at the first epoch with half of the final fraction out, and with all of it
    worst_class_retention : share of its rightly labelled samples that the class which loses most of them keeps at the
        last epoch; `_full` at the first epoch with the full fraction out, `_min` the least over all epochs

    NaN for what standard training (warmup None) does not have. `settings` as for `fit`.
    """
    history = fit(data, SETTINGS["model"], rule(data.noise_rate, warmup, ramp), seed=seed, progress=False, **settings)
    log, last = history.log, history.log.iloc[-1]
    correct = analysis.logits(history.model, data.test_images, data.images).argmax(1) == data.test_labels
    by_class = [correct[data.test_labels == c].double().mean().item() for c in data.test_labels.unique()]
    result = {"accuracy_last": last.test_accuracy, "worst_class_accuracy": min(by_class)}
    if warmup is None:
        return result
    kept = worst_class_retention(data, history.excluded)
    return result | {
        "precision": last.precision,
        "recall": last.recall,
        "precision_half": log.precision[warmup + -(-ramp // 2)],
        "precision_full": log.precision[warmup + ramp],
        "worst_class_retention": kept[-1],
        "worst_class_retention_full": kept[warmup + ramp],
        "worst_class_retention_min": kept.min(),
    }


def worst_class_retention(data, excluded):
    """`worst_class` at every epoch: float64 array (epochs,). `excluded` bool (epochs, n)."""
    return np.array([worst_class(row, data.labels, data.is_mislabeled) for row in excluded])


def worst_class(excluded, labels, is_mislabeled):
    """Of the class that loses most of its rightly labelled samples, the share that is kept.

    `excluded`, `is_mislabeled` bool (n,); `labels` int64 (n,), as given. A class all of whose samples are mislabeled
    does not count; NaN if there is no other.
    """
    classes, right = labels[~is_mislabeled], (~excluded)[~is_mislabeled].double()
    return min((right[classes == c].mean().item() for c in classes.unique()), default=math.nan)


def cells(seeds=SEEDS):
    """All cells of the map, one seed after the other: a list of (noise, warmup, ramp, seed); None = standard."""
    settings = [(None, None), *((warmup, ramp) for warmup in WARMUPS for ramp in RAMPS)]
    return [(name, *setting, seed) for seed in range(seeds) for name in NOISE for setting in settings]


def run(out, seeds=SEEDS, progress=True):
    """Make the runs of the map that are not in the CSV file `out` yet, and return them all, as a DataFrame of COLUMNS.

    There are 1,430, about a second and a half each on one free core. See `maps.record` for stopping and errors.
    """
    wanted = cells(check_whole("seeds", seeds, least=1))
    settings = {**SETTINGS, "warmups": list(WARMUPS), "ramps": list(RAMPS), "noise": list(NOISE)}
    about = {"command": "stepe-lite ramp", "settings": settings, "final": "the true noise rate of each set of labels"}
    maps.record(out, COLUMNS, KEY, wanted, _row, about, progress)
    return read(out)


def _row(cell):
    name, warmup, ramp, seed = cell
    noisy = load(SETTINGS["dataset"]).with_noise(NOISE[name](seed), seed)
    result = trial(noisy, warmup, ramp, seed, epochs=SETTINGS["epochs"], device="cpu")
    return dict(zip(KEY, cell)) | {"rate": noisy.noise_rate} | result


def read(path):
    """The table that `run` wrote: a DataFrame of COLUMNS; warmup and ramp are <NA> for standard training.

    Raises FileNotFoundError if it is not there, ValueError if it is no such table.
    """
    return maps.read(path, COLUMNS)


def gains(runs, column="accuracy_last"):
    """What a ramp gains over none: the paired difference of `column` to ramp 0, a row a (noise, warmup, ramp > 0).

    Columns gain (mean over the seeds that both have), low, high (95 % interval, Student's t; it covers the draw of the
    noise, initial weights and order of samples; NaN with one seed), ahead (seeds in which the ramp is ahead), seeds.
    """
    from scipy.stats import t

    table = runs.dropna(subset="ramp").pivot(index=["noise", "warmup", "seed"], columns="ramp", values=column)
    gain = table.drop(columns=0).sub(table[0], axis=0).stack().rename("gain").dropna()
    each = gain.groupby(["noise", "warmup", "ramp"])
    n, mean = each.size(), each.mean()
    half = t.ppf(0.975, n - 1) * each.std() / np.sqrt(n)
    found = pd.DataFrame({"gain": mean, "low": mean - half, "high": mean + half})
    found["ahead"], found["seeds"] = each.agg(lambda of_seeds: (of_seeds > 0).sum()), n
    return found.reindex([name for name in NOISE if name in set(runs.noise)], level="noise").reset_index()


def text(runs):
    """The map as text: the accuracy without a ramp, and what each ramp gains, in points with a 95 % interval."""
    found = gains(runs)
    percent = 100 * found[["gain", "low", "high"]].astype(float)
    found["text"] = [f"{mean:+.1f} [{low:+.1f}, {high:+.1f}]" for mean, low, high in percent.to_numpy()]
    table = found.pivot(index=["noise", "warmup"], columns="ramp", values="text").add_prefix("ramp ")
    no_ramp = runs[runs.ramp == 0].groupby(["noise", "warmup"]).accuracy_last.mean()
    standard = runs[runs.ramp.isna()].groupby("noise").accuracy_last.mean()
    table.insert(0, "no ramp", (100 * no_ramp).map("{:.1f}".format))
    table.insert(0, "standard", table.index.get_level_values("noise").map(100 * standard).map("{:.1f}".format))
    table = table.reindex(found.noise.unique(), level="noise").fillna("not run yet")
    return f"test accuracy in %, last epoch; gain of a ramp in points [95 %]\n{table.to_string()}"
