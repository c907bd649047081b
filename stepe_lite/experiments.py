"""Several methods on the same data over several seeds, and the table that comes out."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from . import validate
from .rules import Everything, KeepOnly, LossTruncation, OneShotFilter, RandomExclusion, SelfPaced, StepE
from .training import fit


def methods(data, schedule, seed=0):
    """Every method as name -> (training data, rule), all with the final fraction of `schedule`.

    Loss truncation comes twice: from the start, as its authors' default, and with the warm-up of `schedule`, which
    makes it Step-E without the ramp. `seed` is for the control, random exclusion. The two oracles see the clean labels,
    and are left out where these are unknown: by removal, only the rightly labelled samples; by clean labels, all of
    them with their clean labels.
    """
    final, warmup = schedule.final, schedule.warmup
    found = {
        "standard": (data, Everything()),
        "loss truncation": (data, LossTruncation(final)),
        "loss truncation, warm-up": (data, LossTruncation(final, warmup)),
        "self-paced": (data, SelfPaced(schedule)),
        "one-shot": (data, OneShotFilter(final, max(1, warmup))),
        "Step-E": (data, StepE(schedule)),
        "random exclusion": (data, RandomExclusion(schedule, seed)),
    }
    if data.clean_labels is not None:
        found["oracle by removal"] = (data, KeepOnly(~data.is_mislabeled))
        found["oracle by clean labels"] = (data.cleaned(), Everything())
    return found


def variants(data, schedule):
    """Other forms of Step-E, as in `methods`. Their parameters are ours, and were not tuned.

    All keep the given schedule but "half the ramp", which stands between Step-E and "loss truncation, warm-up".
    """
    from .peers import EstimatedStepE

    return {
        "Step-E, estimated fraction": (data, EstimatedStepE(schedule.warmup, schedule.ramp)),
        "Step-E, half the ramp": (data, StepE(replace(schedule, ramp=schedule.ramp // 2))),
        "Step-E, moving average": (data, StepE(schedule, momentum=0.5)),
        "Step-E, soft": (data, StepE(schedule, soft=0.5)),
        "Step-E, per class": (data, StepE(schedule, per_class=True)),
    }


def compare(make_data, make_methods, seeds, model, *, folder=None, progress=True, **settings):
    """Train every method once a seed, everything else alike. Returns a DataFrame with a row a run.

    Parameters
    ----------
    make_data : seed -> Dataset (the seed fixes the noise)
    make_methods : (Dataset, seed) -> {name: (Dataset, rule)}, for example a function that calls `methods`
    seeds : the seeds; each is used for the noise, the initial weights and the order of the samples
    model, settings : as for `fit`
    folder : where to keep a checkpoint and the history of every run; a second call goes on where the first stopped

    Columns: method, seed, accuracy_last, accuracy_best (best epoch on the test set: not attainable in practice),
    precision and recall of the last epoch's exclusion, backward_samples, forward_samples, steps, seconds (whole run).
    """
    from tqdm.auto import tqdm

    if not hasattr(seeds, "__iter__") or not (seeds := list(seeds)):
        raise ValueError(f"seeds is {seeds!r}, but must be one or more seeds, such as range(5).")
    rows = []
    with tqdm(unit="run", disable=not progress, leave=False) as bar:
        for seed in seeds:
            found = make_methods(make_data(seed), seed)
            bar.total = len(seeds) * len(found)
            for name, (data, rule) in found.items():
                bar.set_description(f"seed {seed}, {name}")
                stem = None if folder is None else str(Path(folder) / f"{name.replace(' ', '-').lower()}-seed{seed}")
                checkpoint = stem and f"{stem}.checkpoint"
                history = fit(data, model, rule, seed=seed, checkpoint=checkpoint, progress=False, **settings)
                if stem is not None:
                    history.save(f"{stem}.npz")
                rows.append({"method": name, "seed": seed, **result(history.log)})
                bar.update()
    return pd.DataFrame(rows)


def result(log):
    """The figures of one run from its log, as a dict; for the names see `compare`."""
    last = log.iloc[-1]
    return {
        "accuracy_last": last.test_accuracy,
        "accuracy_best": log.test_accuracy.max(),
        "precision": last.precision,
        "recall": last.recall,
        **{column: log[column].sum().item() for column in ("backward_samples", "forward_samples", "steps", "seconds")},
    }


def paired_difference(runs, method, against="standard", column="accuracy_last"):
    """Mean of method − against over the seeds that both have, and a 95 % interval (Student's t): (mean, low, high).

    Pairing removes what a seed does to both. With one seed there is no interval: low and high are NaN.
    Raises ValueError for a method that is not in `runs`.
    """
    from scipy.stats import t

    for name, value in (("method", method), ("against", against)):
        validate.choice(name, value, runs.method.unique())
    table = runs.pivot(index="seed", columns="method", values=column)
    difference = (table[method] - table[against]).dropna()
    half = (
        t.ppf(0.975, len(difference) - 1) * difference.std() / np.sqrt(len(difference))
        if len(difference) > 1
        else np.nan
    )
    return difference.mean(), difference.mean() - half, difference.mean() + half


def summary(runs):
    """One row a method: mean ± standard deviation over the seeds (in %), gain over standard, cost. All of it text."""
    table = {}
    for method, of_method in runs.groupby("method", sort=False):
        table[method] = {
            "test accuracy, last epoch": percent(of_method.accuracy_last),
            "gain over standard [95 %]": gain(runs, method),
            "best epoch on test (not attainable)": percent(of_method.accuracy_best),
            "precision": percent(of_method.precision),
            "recall": percent(of_method.recall),
            "seconds": f"{of_method.seconds.mean():.1f}",
        }
    return pd.DataFrame(table).T.rename_axis("method")


def gain(runs, method, column="accuracy_last"):
    """`paired_difference` of `method` to standard training in percentage points, as text."""
    if method == "standard" or "standard" not in set(runs.method):
        return "–"
    mean, low, high = paired_difference(runs, method, column=column)
    return f"{100 * mean:+.1f}" + ("" if np.isnan(low) else f" [{100 * low:+.1f}, {100 * high:+.1f}]")


def percent(values):
    """Mean ± standard deviation of shares, in %, as text."""
    if values.isna().all():
        return "–"
    spread = f" ± {100 * values.std():.1f}" if len(values) > 1 else ""
    return f"{100 * values.mean():.1f}{spread}"
