"""Running a grid of experiments (see `presets`): every run is saved on its own and never made twice.

In the folder of a grid, a finished run is `NAME.json` (its settings, log and results) and `NAME.npz` (its History), a
running one `NAME.checkpoint`, a failed one `NAME.error.json`. Whoever makes a run holds the lock on `NAME.lock`; the
operating system releases it when that process ends, however it ends. So several processes can share a folder, and a
grid that was killed goes on where it stopped, at most one epoch of each running run earlier.
"""

import functools
import json
import math
import multiprocessing
import platform
import re
import subprocess
import time
import traceback
from datetime import UTC, datetime
from pathlib import Path

import torch

from . import datasets, experiments, fit, schedules, validate
from .atomic import written_beside
from .presets import RECIPES
from .rules import Everything

HELD_OUT = 0.1  # share of the (noisy) training samples that early stopping is decided on


def run(runs, out, *, jobs=1, root=None, progress=True):
    """Make those of `runs`, a list of (data set, recipe, method, seed), that are not finished in the folder `out`.

    `jobs` processes share the work, each with one thread on a CPU, so that their number changes no result. `root` as
    for `load`. A run that fails is recorded, and tried again by the next call. Returns the names of those that failed.
    Raises ValueError or OSError for bad arguments and missing data before any run starts.
    """
    from tqdm.auto import tqdm

    out, jobs = validate.folder("out", out), validate.whole("jobs", jobs, least=1)
    for dataset, recipe in sorted({run[:2] for run in runs}):
        _data(dataset, RECIPES[validate.choice("recipe", recipe, RECIPES)]["subset"], root)
    for run in runs:
        _check_recipe(path_of(out, run), RECIPES[run[1]])
    began = time.time()
    helpers = [
        multiprocessing.get_context("spawn").Process(target=_work, args=(runs, out, root, began), daemon=True)
        for _ in range(jobs - 1)
    ]
    finished = sum(path_of(out, run).exists() for run in runs)
    with tqdm(total=len(runs), initial=finished, unit="run", disable=not progress) as bar:

        def show(doing):
            bar.set_description(doing)
            bar.update(sum(_is_over(out, run, began) for run in runs) - bar.n)

        for helper in helpers:
            helper.start()
        try:
            _work(runs, out, root, began, show)
        finally:
            for helper in helpers:
                helper.terminate()
                helper.join()
    return [_name(run) for run in runs if not path_of(out, run).exists()]


def _check_recipe(path, recipe):
    """Raise ValueError if the finished run at `path`, if there is one, was made with other settings than `recipe`."""
    if not path.exists():
        return
    record = json.loads(path.read_text(encoding="utf-8"))
    made = record.get("recipe") or {name: record["config"].get(name, value) for name, value in recipe.items()}
    if made != recipe:
        raise ValueError(f"out holds {path.name!r}, made with {made}, but its recipe is {recipe}: take another folder.")


def _work(runs, out, root, began, show=lambda doing: None):
    """Make one run after the other until none is left, passing over those that another process holds."""
    from filelock import FileLock, Timeout

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    while waiting := [run for run in runs if not _is_over(out, run, began)]:
        made = 0
        for run in waiting:
            show(_name(run))
            try:
                with FileLock(path_of(out, run, ".lock"), timeout=0):
                    if not _is_over(out, run, began):
                        made += 1
                        _make(run, out, root)
            except Timeout:
                continue
        if not made:
            time.sleep(0.5)
    show("done")
    torch.set_num_threads(threads)


def _is_over(out, run, began):
    failed = path_of(out, run, ".error.json")
    return path_of(out, run).exists() or (failed.exists() and failed.stat().st_mtime >= began)


def _make(run, out, root):
    checkpoint = path_of(out, run, ".checkpoint")
    try:
        data, validation, rule, settings = arrange(run, root)
        history = fit(data, rule=rule, validation=validation, checkpoint=checkpoint, progress=False, **settings)
    except Exception as error:  # whatever it is, the other runs go on
        record = {"run": run, "error": f"{type(error).__name__}: {error}", "traceback": traceback.format_exc()}
        _write(path_of(out, run, ".error.json"), record | provenance())
        return
    history.save(path_of(out, run, ".npz"))
    log = {column: list(map(_or_none, values)) for column, values in history.log.to_dict("list").items()}
    record = {
        "run": run,
        "recipe": RECIPES[run[1]],
        "config": history.config,
        "result": _result(data, history),
        "log": log,
    }
    _write(path_of(out, run), record | provenance())  # comes last: its presence says that the run is finished
    for leftover in (".checkpoint", ".error.json"):
        path_of(out, run, leftover).unlink(missing_ok=True)


def arrange(run, root=None):
    """What `fit` needs for a run: (training data, validation data or None, rule, settings)."""
    dataset, recipe, method, seed = run
    settings = dict(RECIPES[recipe]) | {"seed": seed}
    data = _data(dataset, settings.pop("subset"), root)
    schedule = schedules.linear(settings.pop("warmup"), settings.pop("ramp"), final=data.noise_rate)
    if method == "standard, early-stopped":
        return *data.split_validation(HELD_OUT, seed), Everything(), settings
    if method == "standard, equal steps":
        kept = [len(data) - round(schedule(epoch) * len(data)) for epoch in range(settings.pop("epochs"))]
        steps = sum(math.ceil(n / settings["batch_size"]) for n in kept)
        return data, None, Everything(), settings | {"steps": steps}
    methods = experiments.methods(data, schedule, seed) | experiments.variants(data, schedule)
    data, rule = methods[method]
    return data, None, rule, settings


@functools.lru_cache(maxsize=2)
def _data(dataset, subset, root):
    data = datasets.load(dataset, root)
    return data if subset is None else data.subset(subset, seed=0)


def _result(data, history):
    """The figures of one run: see `results.COLUMNS`."""
    from sklearn.metrics import average_precision_score

    log, stopped = history.log, math.nan
    if log.validation_accuracy.notna().any():
        stopped = log.test_accuracy[log.validation_accuracy.argmax()]
    result = experiments.result(log) | {"accuracy_early_stopped": stopped}
    result["excluded_fraction"] = log.excluded_fraction.iloc[-1].item()
    precision, recall = result["precision"], result["recall"]
    result["f1"] = 2 * precision * recall / (precision + recall) if precision + recall else math.nan
    wrong = data.is_mislabeled.numpy()
    if wrong.any():
        result["average_precision"] = average_precision_score(wrong, history.losses[-1].numpy())
    result["seconds_per_epoch"] = result.pop("seconds") / len(log)
    return {name: _or_none(value) for name, value in result.items()}


def _or_none(value):
    return None if math.isnan(value) else value  # JSON knows no NaN


def provenance():
    """Versions, machine, commit and date: what a recorded result needs to be believed."""
    import numpy
    import torchvision

    cuda = torch.cuda.is_available()
    return {
        "versions": {
            "python": platform.python_version(),
            "torch": str(torch.__version__),
            "torchvision": torchvision.__version__,
            "numpy": numpy.__version__,
        },
        "device": torch.cuda.get_device_name() if cuda else f"{platform.machine()} CPU, one thread a run",
        "commit": _commit(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


@functools.cache
def _commit():
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None  # an installed package is in no repository


def _name(run):
    return "_".join(re.sub(r"[^a-z0-9]+", "-", str(part).lower()) for part in run)


def path_of(out, run, ending=".json"):
    """The file of `run` in the folder `out`, see above."""
    return out / f"{_name(run)}{ending}"


def _write(path, record):
    with written_beside(path) as partial:
        partial.write_text(json.dumps(record, indent=1, allow_nan=False), encoding="utf-8")
