"""The table of a grid of experiments, and the small files that the course keeps of it."""

import io
import json
import tarfile

import numpy as np
import pandas as pd
import torch

from . import experiments, seeding, validate
from .atomic import written_beside
from .history import History
from .presets import METHODS, PAPER, PRESETS, RECIPES, runs_of

COLUMNS = (
    "dataset", "recipe", "method", "seed", "accuracy_last", "accuracy_best", "accuracy_early_stopped",
    "excluded_fraction", "precision", "recall", "f1", "average_precision", "backward_samples", "forward_samples",
    "steps", "seconds_per_epoch",
)  # fmt: skip
SAMPLES = 2_000  # whose losses are kept


def collect(out):
    """The finished runs in the folder `out` of a grid, or in a .csv that `save` wrote: a DataFrame, a row a run.

    Columns: COLUMNS. Accuracies, precision, recall and f1 are shares in [0, 1], of the last epoch where nothing else is
    said; average_precision is the area under the precision–recall curve of the last losses against the wrong labels.
    Raises FileNotFoundError if `out` is not there, ValueError if it holds no finished run.
    """
    if out.suffix == ".csv":
        runs = pd.read_csv(out)
        if missing := set(COLUMNS) - set(runs.columns):
            raise ValueError(f"out is {str(out)!r}, which is no table of runs: no column {min(missing)!r}.")
        return runs
    if not out.is_dir():
        raise FileNotFoundError(f"out is {str(out)!r}, but must be the folder of a grid.")
    rows = [dict(zip(("dataset", "recipe", "method", "seed"), r["run"])) | r["result"] for r in _records(out)]
    if not rows:
        raise ValueError(f"out is {str(out)!r}, but no finished run is in it.")
    runs = pd.DataFrame(rows, columns=COLUMNS)
    order = {method: at for at, method in enumerate(METHODS)}
    return runs.sort_values(
        ["dataset", "recipe", "method", "seed"], key=lambda c: c.map(order) if c.name == "method" else c
    )


def _record_files(out):
    return sorted(path for path in out.glob("*.json") if not path.name.endswith(".error.json"))


def _records(out):
    found = []
    for path in _record_files(out):
        try:
            found.append(json.loads(path.read_text(encoding="utf-8")))
            found[-1]["run"], found[-1]["result"]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"out holds {str(path)!r}, which is no record of a run ({error!r}).") from error
    return found


def logs(archive):
    """The logs of all runs in an archive that `save` wrote: a DataFrame with a row an epoch of each run.

    Columns: dataset, recipe, method, seed, epoch (counted from 0), and those of `History.log`.
    """
    tables = []
    with tarfile.open(archive) as file:
        for member in file:
            record = json.load(file.extractfile(member))
            about = dict(zip(("dataset", "recipe", "method", "seed"), record["run"]))
            log = pd.DataFrame(record["log"], dtype=float).rename_axis("epoch").reset_index()
            tables.append(log.assign(**about))
    return pd.concat(tables, ignore_index=True)


def table(runs, dataset, recipe, methods=METHODS):
    """The `methods` on one data set under one recipe: a DataFrame of text, "not run yet" where there is no run.

    Means ± standard deviations over the seeds, in %. The accuracy is that of the last epoch; for early stopping, that
    of the epoch that was best on noisy validation labels. The column "paper" holds what the paper reports (`PAPER`).
    """
    here = runs[(runs.dataset == dataset) & (runs.recipe == recipe)]
    here = here.assign(accuracy=here.accuracy_early_stopped.fillna(here.accuracy_last))
    standard = here[here.method == "standard"].seconds_per_epoch.mean()
    rows = {}
    for method in methods:
        of_method = here[here.method == method]
        reported = PAPER.get(dataset, {}).get(method, "")
        if of_method.empty:
            rows[method] = {"seeds": "0", "accuracy": "not run yet", "paper": reported}
            continue
        rows[method] = {
            "seeds": str(len(of_method)),
            "accuracy": experiments.percent(of_method.accuracy),
            "paper": reported,
            "gain [95 %]": experiments.gain(here, method, "accuracy"),
            "best on test (not attainable)": experiments.percent(of_method.accuracy_best),
            "precision": experiments.percent(of_method.precision),
            "recall": experiments.percent(of_method.recall),
            "F1": experiments.percent(of_method.f1),
            "average precision": experiments.percent(of_method.average_precision),
            "backward": f"{of_method.backward_samples.mean():,.0f}",
            "forward only": f"{of_method.forward_samples.mean():,.0f}",
            "time an epoch": f"{of_method.seconds_per_epoch.mean() / standard:.2f}",
        }
    return pd.DataFrame(rows).T.fillna("").rename_axis("method")


def text(runs, preset=None):
    """Every table of `runs` as text; with `preset`, its methods alone, and also its parts that have no run yet."""
    methods = METHODS if preset is None else PRESETS[preset]["methods"]
    pairs = list(dict.fromkeys(zip(runs.dataset, runs.recipe)))
    if preset is not None:
        pairs = list(dict.fromkeys([*(run[:2] for run in runs_of(preset)), *pairs]))
    parts = []
    for dataset, recipe in pairs:
        settings = ", ".join(f"{name} {value}" for name, value in RECIPES[recipe].items())
        parts.append(f"{dataset}, recipe {recipe}: {settings}\n{table(runs, dataset, recipe, methods).to_string()}")
    return "\n\n".join(parts)


def save(out, preset, folder, root=None):
    """Keep what is small: PRESET.csv (`collect`), PRESET.json (provenance), the record of every run in
    PRESET-runs.tar.xz (`logs`; unpacked, it is a folder that the grid can go on in), and some losses of each data set.

    The losses, kept where the preset compares Step-E, are those of standard training with seed 0: a .npz with `losses`
    float16 (epochs, SAMPLES), `labels` and `clean_labels` int16 (SAMPLES,), `index` int32 (SAMPLES,) in the recipe's
    training set. `out`: the grid's folder; `root` as for `load`. Raises ValueError, before anything is written, if
    no finished run of the preset is in `out`.
    """
    from . import grid

    if not out.is_dir() or not any(grid.path_of(out, run).exists() for run in runs_of(preset)):
        raise ValueError(f"out is {str(out)!r}, but must be the folder of a grid with finished runs of {preset!r}.")
    folder = validate.folder("folder", folder)
    runs, records = collect(out), _records(out)
    with written_beside(folder / f"{preset}.csv") as partial:
        runs.round(6).to_csv(partial, index=False)
    with written_beside(folder / f"{preset}-runs.tar.xz") as partial, tarfile.open(partial, "w:xz") as archive:
        for path in _record_files(out):  # nothing but names and contents: the same runs make the same archive
            text = path.read_bytes()
            member = tarfile.TarInfo(path.name)
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text))
    kept = {
        "command": f"stepe-lite table --preset {preset}",
        "finished": f"{len(records)} of {len(runs_of(preset))} runs",
        "recipes": {name: RECIPES[name] for name in PRESETS[preset]["recipes"]},
        "seeds": PRESETS[preset]["seeds"],
        "first": min(record["date"] for record in records),
        "last": max(record["date"] for record in records),
        **{part: _distinct(record[part] for record in records) for part in ("versions", "device", "commit")},
    }
    with written_beside(folder / f"{preset}.json") as partial:
        partial.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    for run in runs_of(preset):
        path = grid.path_of(out, run, ".npz")
        if run[2:] == ("standard", 0) and "Step-E" in PRESETS[preset]["methods"] and path.exists():
            data, *_ = grid.arrange(run, root)
            _save_losses(folder / f"{preset}_{run[0]}_{run[1]}.npz", data, History.load(path))


def _save_losses(path, data, history):
    index = torch.randperm(len(data), generator=seeding.generator("kept losses", 0))[:SAMPLES].sort().values
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
