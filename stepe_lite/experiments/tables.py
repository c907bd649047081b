"""Tables of runs, with intervals, and the small files that the course keeps of a grid."""

import io
import json
import tarfile
from functools import partial

import numpy as np
import pandas as pd
import torch
from pandas.api.types import is_numeric_dtype

from ..datasets import Dataset
from ..history import History, data_digest, printed
from ..utils import BadInput, check_choice, check_file, check_folder, expand, generator_for, written_beside
from .plan import METHODS, PAPER, PRESETS, RECIPES, runs_of
from .runs import Run, RunFailed, failures, grid_run, make, read_record, result

RUN = ("dataset", "recipe", "method", "seed")
COLUMNS = (
    *RUN, "accuracy_last", "accuracy_best", "accuracy_early_stopped", "excluded_fraction", "precision", "recall", "f1",
    "average_precision", "backward_samples", "forward_samples", "steps", "seconds_per_epoch",
)  # fmt: skip
SAMPLES = 2_000  # whose losses are kept


def compare(make_data, make_methods, seeds, model, *, out=None, jobs=1, progress=True, **settings):
    """Train every method once a seed, everything else alike. Returns a DataFrame with a row a run.

    Parameters
    ----------
    make_data : seed -> Dataset
    make_methods : (Dataset, seed) -> dict name -> dict of arguments of `fit`, such as `plan.methods` gives
    seeds : the seeds; each is used for the noise, the initial weights and the order of the samples
    model, settings : as for `fit`
    out : where to keep a checkpoint and the history of every run; a second call goes on where the first stopped
    jobs : so many processes share the runs; their number changes no result

    Columns: method, seed, accuracy_last, accuracy_best (best epoch on the test set: not attainable in practice),
    accuracy_early_stopped and epoch_early_stopped (the epoch, from 1, that is best on the validation labels, if any),
    excluded_fraction, precision, recall and f1 of the last epoch's exclusion, backward_samples, forward_samples, steps,
    seconds (whole run), seconds_per_epoch (mean) and average_precision (of the last losses, for finding wrong labels).
    """
    if not hasattr(seeds, "__iter__") or not (seeds := list(seeds)):
        raise BadInput(f"seeds is {seeds!r}, but must be one or more seeds, such as range(5).")
    for name, function in (("make_data", make_data), ("make_methods", make_methods)):
        if not callable(function):
            raise BadInput(f"{name} is {function!r}, but must be a function.")
    plan = []
    for seed in seeds:
        data = make_data(seed)
        for name, given in make_methods(data, seed).items():
            arguments = {"model": model, "seed": seed} | settings | given
            recipe = {key: printed(value) for key, value in arguments.items() if not isinstance(value, Dataset)}
            if out is not None:  # what is finished there must have been the same run
                recipe |= {key: data_digest(value) for key, value in arguments.items() if isinstance(value, Dataset)}
            about = {"method": name, "seed": seed, "recipe": recipe}
            plan.append((Run(f"{name}_seed{seed}", partial(dict, arguments), about), arguments["data"]))
    made = make([run for run, _ in plan], out, jobs=jobs, progress=progress)
    if out is not None and (failed := failures([run for run, _ in plan], out)):
        raise RunFailed("; ".join(f"{name} failed: {reason}" for name, reason in failed.items()))
    return pd.DataFrame([
        {"method": run.about["method"], "seed": run.about["seed"]} | result(made[run.name], data)
        for run, data in plan if run.name in made
    ])  # fmt: skip


def paired_difference(runs, method, against="standard", column="accuracy_last"):
    """Mean of method − against over the seeds that both have, and a 95 % interval (Student's t): (mean, low, high).

    Pairing removes what a seed does to both. With one seed there is no interval: low and high are NaN.
    Raises ValueError for a method that is not in `runs`.
    """
    from scipy.stats import ttest_rel

    for name in ("method", "seed", column):
        if not isinstance(runs, pd.DataFrame) or not isinstance(name, str) or name not in runs:
            raise BadInput(f"runs is {type(runs).__name__}, but must be a table of runs with a column {name!r}.")
    for name, value in (("method", method), ("against", against)):
        check_choice(name, value, runs.method.unique())
    table = runs.pivot(index="seed", columns="method", values=column)[[method, against]].dropna()
    mean = (table[method] - table[against]).mean()
    if len(table) < 2 or method == against:
        return mean, np.nan, np.nan
    interval = ttest_rel(table[method], table[against]).confidence_interval()
    return mean, interval.low, interval.high


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


def collect(out, preset=None):
    """The finished runs in the folder `out` of a grid, or in a .csv that `save` wrote: a DataFrame, a row a run.

    With `preset`, its runs alone. Columns: COLUMNS. Accuracies, precision, recall and f1 are shares in [0, 1], of the
    last epoch where nothing else is said; average_precision is the area under the precision–recall curve of the last
    losses against the wrong labels.
    Raises FileNotFoundError if `out` is not there, ValueError if it holds no finished run, or what is no record.
    """
    out = expand("out", out)
    if out.suffix == ".csv":
        runs = read_csv(out, COLUMNS, RUN[:3])
    elif not out.is_dir():
        raise FileNotFoundError(f"out is {str(out)!r}, but must be the folder of a grid.")
    else:
        records = [record for _, record in _records(out, preset)]
        runs = pd.DataFrame([dict(zip(RUN, r["run"])) | r["result"] for r in records], columns=COLUMNS)
        runs = runs.astype(dict.fromkeys(COLUMNS[len(RUN) :], float))  # where all are null, pandas makes them objects
    if preset is not None:
        wanted = set(runs_of(preset))
        runs = runs[[tuple(run) in wanted for run in runs[list(RUN)].itertuples(index=False)]]
    if runs.empty:
        raise BadInput(f"out is {str(out)!r}, but no finished run {'' if preset is None else 'of it '}is in it.")
    order = {method: at for at, method in enumerate(METHODS)}
    return runs.sort_values(list(RUN), key=lambda c: c.map(order) if c.name == "method" else c, kind="stable")


def read_csv(path, columns, texts, **reading):
    """The table with `columns`, of which `texts` hold text and the others numbers, that `to_csv` wrote to `path`.

    Raises FileNotFoundError, or ValueError if it is no such table, or one that was cut off.
    """
    raw, none = check_file("path", path).read_bytes(), f"{str(path)!r} is no table of {', '.join(columns[:3])}, …:"
    if not raw.endswith(b"\n"):  # else half of the last number would be taken for the whole
        raise BadInput(f"{none} its last line is cut off.")
    try:
        table = pd.read_csv(io.BytesIO(raw), **reading)
    except ValueError as error:
        raise BadInput(f"{none} {error}.") from None
    for name in columns:
        if name not in table:
            raise BadInput(f"{none} it has no column {name!r}.")
        wrong = table[name].isna().any() if name in texts else not is_numeric_dtype(table[name])
        if len(table) and wrong:
            raise BadInput(f"{none} the column {name!r} has what is no {'text' if name in texts else 'number'}.")
    return table


def _records(out, preset):
    """(path, record) of every finished run of a grid in the folder `out`; of the preset alone, if one is given."""
    wanted = None if preset is None else {grid_run(run).path(out) for run in runs_of(preset)}
    found = []
    for path in sorted(out.glob("[!.]*.json")):  # a dot: another process is writing it
        if path.name.endswith(".error.json") or (wanted is not None and path not in wanted):
            continue
        record = read_record(path)
        if "run" in record:
            found.append((path, record))
    return found


def logs(archive):
    """The logs of all runs in an archive that `save` wrote: a DataFrame with a row an epoch of each run.

    Columns: dataset, recipe, method, seed, epoch (counted from 0), and those of `History.log`.
    """
    tables = []
    with tarfile.open(archive) as file:
        for member in file:
            record = json.load(file.extractfile(member))
            about = dict(zip(RUN, record["run"]))
            log = pd.DataFrame(record["log"], dtype=float).rename_axis("epoch").reset_index()
            tables.append(log.assign(**about))
    return pd.concat(tables, ignore_index=True)


def table(runs, dataset, recipe, methods=METHODS):
    """The `methods` on one data set under one recipe: a DataFrame of text, "not run yet" where there is no run.

    Means ± standard deviations over the seeds, in %. The accuracy is that of the last epoch; for early stopping, that
    of the epoch that was best on noisy validation labels. The column "paper" holds what the paper reports (`PAPER`);
    "backward" and "forward only", the samples trained on and re-scored in the whole run, are the cost on any machine.
    """
    here = runs[(runs.dataset == dataset) & (runs.recipe == recipe)]
    here = here.assign(accuracy=here.accuracy_early_stopped.fillna(here.accuracy_last))
    rows = {}
    for method in methods:
        of_method = here[here.method == method]
        reported = PAPER.get(dataset, {}).get(method, "")
        if of_method.empty:
            rows[method] = {"seeds": "0", "accuracy": "not run yet", "paper": reported}
            continue
        rows[method] = {
            "seeds": str(len(of_method)),
            "accuracy": percent(of_method.accuracy),
            "paper": reported,
            "gain [95 %]": gain(here, method, "accuracy"),
            "best on test (not attainable)": percent(of_method.accuracy_best),
            "precision": percent(of_method.precision),
            "recall": percent(of_method.recall),
            "F1": percent(of_method.f1),
            "average precision": percent(of_method.average_precision),
            "backward": f"{of_method.backward_samples.mean():,.0f}",
            "forward only": f"{of_method.forward_samples.mean():,.0f}",
        }
    return pd.DataFrame(rows).T.fillna("").rename_axis("method")


def text(runs, preset=None):
    """Every table of `runs` as text; with `preset`, its methods alone, and also its parts that have no run yet."""
    pairs, methods = list(dict.fromkeys(zip(runs.dataset, runs.recipe))), METHODS
    if preset is not None:
        wanted = runs_of(preset)
        pairs = list(dict.fromkeys(run[:2] for run in wanted))
        methods = [method for method in METHODS if method in {run[2] for run in wanted}]
    parts = []
    for dataset, recipe in pairs:
        settings = ", ".join(f"{name} {value}" for name, value in RECIPES.get(recipe, {"settings": "unknown"}).items())
        parts.append(f"{dataset}, recipe {recipe}: {settings}\n{table(runs, dataset, recipe, methods).to_string()}")
    return "\n\n".join(parts)


def save(out, preset, folder, root=None):
    """Keep what is small: PRESET.csv (`collect`), PRESET.json (provenance), the record of every run in
    PRESET-runs.tar.xz (`logs`; unpacked, it is a folder that the grid can go on in), and some losses of each data set.

    The losses, kept where the History of that run is in `out`, are those of standard training with seed 0: a .npz with
    `losses` float16 (epochs, SAMPLES), `labels` and `clean_labels` int16 (SAMPLES,), `index` int32 (SAMPLES,) in the
    recipe's training set. `out`: the grid's folder; `root` as for `load`. Raises ValueError, before anything is
    written, if no finished run of the preset is in `out`.
    """
    wanted = runs_of(preset)
    if not out.is_dir() or not any(grid_run(run).path(out).exists() for run in wanted):
        raise BadInput(f"out is {str(out)!r}, but must be the folder of a grid with finished runs of {preset!r}.")
    folder = check_folder("folder", folder)
    runs, records = collect(out, preset), _records(out, preset)
    with written_beside(folder / f"{preset}.csv") as partial:
        runs.round(6).to_csv(partial, index=False)
    with written_beside(folder / f"{preset}-runs.tar.xz") as partial, tarfile.open(partial, "w:xz") as archive:
        for path, _ in records:  # nothing but names and contents: the same runs make the same archive
            content = path.read_bytes()
            member = tarfile.TarInfo(path.name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    kept = {
        "command": f"stepe-lite table --preset {preset}",
        "finished": f"{len(records)} of {len(wanted)} runs",
        "recipes": {name: RECIPES[name] for name in PRESETS[preset]["recipes"]},
        "seeds": PRESETS[preset]["seeds"],
        "first": min(record["date"] for _, record in records),
        "last": max(record["date"] for _, record in records),
        **{part: _distinct(record[part] for _, record in records) for part in ("versions", "device", "commit")},
    }
    with written_beside(folder / f"{preset}.json") as partial:
        partial.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    for run in wanted:
        path = grid_run(run).path(out, ".npz")
        if run[2:] == ("standard", 0) and path.exists():
            _save_losses(
                folder / f"{preset}_{run[0]}_{run[1]}.npz", grid_run(run, root).arrange()["data"], History.load(path)
            )


def _save_losses(path, data, history):
    index = torch.randperm(len(data), generator=generator_for("kept losses", 0))[:SAMPLES].sort().values
    arrays = {
        "losses": history.losses[:, index].numpy().astype(np.float16),
        "labels": data.labels[index].numpy().astype(np.int16),
        "clean_labels": data.clean_labels[index].numpy().astype(np.int16),
        "index": index.numpy().astype(np.int32),
    }
    with written_beside(path) as partial, open(partial, "wb") as file:
        np.savez_compressed(file, **arrays)


def _distinct(values):
    found = []
    for value in values:
        if value not in found:
            found.append(value)
    return found
