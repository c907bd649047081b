"""Making many runs: every one is saved on its own and never made twice, whoever is killed meanwhile.

In the folder of a grid, a finished run is `NAME.json` (its settings, log and results) and `NAME.npz` (its History), a
running one `NAME.checkpoint`, a failed one `NAME.error.json`. Whoever makes a run holds the lock on `NAME.lock`; the
operating system releases it when that process ends, however it ends. So several processes can share a folder, and a
grid that was killed goes on where it stopped, at most one epoch of each running run earlier.
"""

import functools
import hashlib
import json
import math
import multiprocessing
import platform
import re
import subprocess
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch

from .. import datasets, schedules
from ..history import History, StaleCheckpoint
from ..training import fit
from ..utils import (
    DISK_FULL,
    BadInput,
    check_choice,
    check_file,
    check_flag,
    check_folder,
    check_whole,
    end_with_parent,
    scratch_folder,
    written_beside,
)
from .plan import METHODS, RECIPES, methods

# `fit` sets random numbers and threads of the whole process: where that has several workers, one trains at a time.
_ALONE = threading.Lock()


class RunFailed(RuntimeError):
    """Some runs failed; the message says which and why. What was finished is kept."""


@dataclass(frozen=True)
class Run:
    """A run to be made: its name, what its record says of it, and a function that gives the arguments of `fit`."""

    name: str
    arrange: Callable
    about: dict = field(default_factory=dict)

    def path(self, out, ending=".json"):
        """The file of this run in the folder `out`, see above; nothing in a name leads out of it."""
        parts = (re.sub(r"[^a-z0-9]+", "-", part.lower()) for part in self.name.split("_"))
        return Path(out) / ("_".join(parts) + ending)


def grid_run(run, root=None):
    """The `Run` of a (data set, recipe, method, seed); `root` as for `load`."""
    if not isinstance(run, tuple | list) or len(run) != 4:
        raise BadInput(f"run is {run!r}, but must be (data set, recipe, method, seed).")
    dataset, recipe, method, seed = run
    check_choice("data set", dataset, datasets.names())
    check_choice("recipe", recipe, RECIPES)
    check_choice("method", method, METHODS)
    check_whole("seed", seed)
    about = {"run": list(run), "recipe": RECIPES[recipe]}
    return Run("_".join(map(str, run)), functools.partial(_arrange, run, root), about)


def _arrange(run, root):
    dataset, recipe, method, seed = run
    settings = dict(RECIPES[recipe]) | {"seed": seed, "threads": 1}
    data = _data(dataset, settings.pop("subset"), seed if settings.pop("subset_by_seed", False) else 0, root)
    schedule = schedules.linear(settings.pop("warmup"), settings.pop("ramp"), final=data.noise_rate)
    return methods(data, schedule, seed, [method], settings)[method]


@functools.lru_cache(maxsize=2)
def _data(dataset, subset, seed, root):
    data = datasets.load(dataset, root)
    return data if subset is None else data.subset(subset, seed=seed)


def make(runs, out=None, *, jobs=1, executor=None, progress=True):
    """Make those `runs` (a list of `Run`) that are not finished in the folder `out`: dict name -> History.

    Without `out` nothing is kept but what is returned. `jobs` processes share the work, each with one thread on a CPU,
    so that their number changes no result. In their place, `executor` is anything whose `submit(function, *arguments)`
    gives a future: dask.distributed's Client (which tries again when a worker dies), a loky or submitit executor. Each
    run is a task; the workers need this package, the data and the folder `out`. Ctrl-C takes back what has not begun.

    A run that fails is recorded, and tried again by the next call; its name is not in what is returned. The networks
    are there for the runs made by this very process.

    Raises ValueError or OSError for bad arguments, and before any run starts; OSError as soon as the disk is full;
    without `out`, whatever the run raises.
    """
    from tqdm.auto import tqdm

    check_whole("jobs", jobs, least=1), check_flag("progress", progress)
    if executor is not None and not hasattr(executor, "submit"):
        raise BadInput(
            f"executor is {executor!r}, but must have a method submit, such as dask.distributed's Client has."
        )
    if executor is not None and (out is None or jobs > 1):
        wrong = "out is None, but must be a folder that they see" if out is None else f"jobs is {jobs}, but must be 1"
        raise BadInput(f"{wrong}: the workers of the executor make the runs.")
    paths = [run.path(Path()) for run in runs]
    if twice := {path.stem for path in paths if paths.count(path) > 1}:
        raise BadInput(f"runs has {min(twice)!r} more than once: every run needs a name of its own.")
    if out is None:
        with _mapper(min(jobs, len(runs))) as each:
            bar = tqdm(each(_fit, runs), total=len(runs), unit="run", disable=not progress, leave=False)
            return dict(zip([run.name for run in runs], bar))
    out = check_folder("out", out).resolve()  # a worker may stand in another folder
    for run in runs:
        _check_recipe(run, out)
    with scratch_folder(out) as stamp:
        began = stamp.stat().st_mtime_ns  # by the clock of whoever keeps the folder, as for failures
    spawn = multiprocessing.get_context("spawn").Process
    helpers = [spawn(target=_help, args=(runs, out, began), daemon=True) for _ in range(jobs - 1)]
    made = {}
    with tqdm(total=len(runs), unit="run", disable=not progress) as bar:

        def show(doing):
            bar.set_description(doing)
            bar.update(sum(run.path(out).exists() for run in runs) - bar.n)

        try:
            for helper in helpers:
                helper.start()
            if executor is None:
                _work(runs, out, began, made, show)
            else:
                _hand_over(executor, runs, out, began, show)
        finally:
            for helper in helpers:
                if helper.pid:
                    helper.terminate()
                    helper.join()
    return {run.name: made.get(run.name) or _history(run.path(out, ".npz")) for run in runs if run.path(out).exists()}


@contextmanager
def _mapper(jobs):
    """`map`, or one that shares the calls among so many processes; what has not begun when it ends is not begun."""
    if jobs <= 1:
        yield map
        return
    spawn = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(jobs, spawn, initializer=end_with_parent)
    try:
        yield pool.map
    finally:
        pool.shutdown(cancel_futures=True)


def _fit(run):
    return fit(**run.arrange(), progress=False)


def _history(path):
    return History.load(path) if path.exists() else None  # an archive of records has none


def failures(runs, out):
    """Why those of `runs` failed that did: dict name -> one sentence."""
    found = {run.name: read_record(run.path(out, ".error.json")) for run in runs if not run.path(out).exists()
             and run.path(out, ".error.json").exists()}  # fmt: skip
    return {name: record.get("error", "unknown") for name, record in found.items()}


def _check_recipe(run, out):
    """Raise ValueError if the finished run, if there is one, was made with other settings."""
    if "recipe" not in run.about or not run.path(out).exists():
        return
    record, recipe = read_record(run.path(out)), run.about["recipe"]
    made = record.get("recipe") or {name: record["config"].get(name, value) for name, value in recipe.items()}
    names = [name for name in {**made, **recipe} if made.get(name) != recipe.get(name)]
    if names:
        different = "; ".join(f"{name} {made.get(name)!r}, not {recipe.get(name)!r}" for name in names)
        raise BadInput(f"out holds {run.path(out).name!r}, which was made with {different}: take another folder.")


def _help(runs, out, began):
    """What a process beside the first does."""
    end_with_parent()
    _work(runs, out, began)


def _hand_over(executor, runs, out, began, show):
    """Let the workers of `executor` make each run that is left, and wait for them."""
    tasks = [executor.submit(_work, [run], out, began) for run in runs if not _is_over(run, out, began)]
    try:
        while tasks:
            show(f"{len(tasks)} handed over")
            for task in [task for task in tasks if task.done()]:
                tasks.remove(task)
                task.result()  # raises what ends a grid
            time.sleep(0.1)
        show("done")
    finally:
        for task in tasks:
            task.cancel()


def _work(runs, out, began, made=None, show=lambda doing: None):
    """Make one run after the other until none is left, passing over those that another process holds."""
    from filelock import FileLock, Timeout

    tried = set()  # by this process: a failure is not tried again, whatever the clocks say
    while waiting := [run for run in runs if run.name not in tried and not _is_over(run, out, began)]:
        taken = 0
        for run in waiting:
            show(run.name)
            try:
                with _ALONE, FileLock(run.path(out, ".lock"), timeout=0):
                    if not _is_over(run, out, began):
                        taken += 1
                        tried.add(run.name)
                        history = _make(run, out)
                        if history is not None and made is not None:
                            made[run.name] = history
            except Timeout:
                continue
        if not taken:
            time.sleep(0.5)
    show("done")


def _is_over(run, out, began):
    failed = run.path(out, ".error.json")
    return run.path(out).exists() or (failed.exists() and failed.stat().st_mtime_ns >= began)


def _make(run, out):
    checkpoint = run.path(out, ".checkpoint")
    try:
        arguments = run.arrange()
        try:
            history = fit(**arguments, checkpoint=checkpoint, progress=False)
        except StaleCheckpoint:  # of an older recipe, or another torch
            checkpoint.unlink()
            history = fit(**run.arrange(), checkpoint=checkpoint, progress=False)
        history.save(run.path(out, ".npz"))
        log = {column: list(map(_or_none, values)) for column, values in history.log.to_dict("list").items()}
        figures = {name: _or_none(value) for name, value in result(history, arguments["data"]).items()}
        record = {"config": history.config, "result": figures, "log": log}
        # Comes last: its presence says that the run is finished.
        write_record(run.path(out), run.about | record | provenance())
    except BadInput:
        raise  # what was asked for is wrong, and would be at every call
    except Exception as error:  # whatever it is, the other runs go on
        if isinstance(error, OSError) and error.errno in DISK_FULL:
            raise  # no other run would fare better
        said = {"error": f"{type(error).__name__}: {error}", "traceback": traceback.format_exc()}
        write_record(run.path(out, ".error.json"), run.about | said | provenance())
        return None
    for leftover in (".checkpoint", ".error.json"):
        run.path(out, leftover).unlink(missing_ok=True)
    return history


def result(history, data=None):
    """The figures of one run, as a dict, see `tables.COLUMNS`; NaN where there is none, or where `data` is needed."""
    log = history.log
    last, precision, recall = log.iloc[-1], log.precision.iloc[-1], log.recall.iloc[-1]
    known = log.validation_accuracy.notna().any()
    found = {
        "accuracy_last": last.test_accuracy,
        "accuracy_best": log.test_accuracy.max(),
        "accuracy_early_stopped": log.test_accuracy[log.validation_accuracy.argmax()] if known else math.nan,
        "epoch_early_stopped": int(log.validation_accuracy.argmax()) + 1 if known else math.nan,
        "excluded_fraction": last.excluded_fraction,
        "precision": precision,
        "recall": recall,
        "f1": 2 * precision * recall / (precision + recall) if precision + recall else math.nan,
        **{name: log[name].sum().item() for name in ("backward_samples", "forward_samples", "steps", "seconds")},
        "seconds_per_epoch": log.seconds.mean(),
    }
    found["average_precision"] = math.nan
    if data is not None and data.clean_labels is not None and data.is_mislabeled.any():
        from sklearn.metrics import average_precision_score

        wrong = data.is_mislabeled.numpy()
        never_seen_first = np.nan_to_num(history.losses[-1].numpy(), nan=np.finfo("float32").max)
        found["average_precision"] = average_precision_score(wrong, never_seen_first)
    return found


def _or_none(value):
    return None if math.isnan(value) else float(value)  # JSON knows no NaN


def provenance():
    """Versions, machine, commit and date: what a recorded result needs to be believed."""
    import torchvision

    cuda = torch.cuda.is_available()
    return {
        "versions": {
            "python": platform.python_version(),
            "torch": str(torch.__version__),
            "torchvision": torchvision.__version__,
            "numpy": np.__version__,
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


def read_record(path):
    """The record of a run. Raises ValueError, with the file's name, for what is none."""
    try:
        record = json.loads(check_file("a record", path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise BadInput(f"{str(path)!r} is no record of a run: {error}.") from error
    if not isinstance(record, dict) or not (_is_result(record) or "error" in record):
        raise BadInput(f"{str(path)!r} is no record of a run.")
    if record.pop("sha256", None) not in (None, _digest(record)):  # older ones have none
        raise BadInput(f"{str(path)!r} is a record of a run that was changed since it was written: delete it.")
    return record


def _digest(record):
    return hashlib.sha256(json.dumps(record, allow_nan=False).encode()).hexdigest()


def _is_result(record):
    """Whether it has what is read of a finished run, of the types that are written."""
    parts = all(isinstance(record.get(part), dict) for part in ("config", "result", "log"))
    figures = parts and all(value is None or isinstance(value, float | int) for value in record["result"].values())
    run = record.get("run", ["data set", "recipe", "method", 0])  # what `tables.compare` keeps has none
    return figures and isinstance(run, list) and [type(part) for part in run] == [str, str, str, int]


def write_record(path, record):
    """Write a record as JSON: there whole, or not at all."""
    with written_beside(path) as partial:
        whole = record | {"sha256": _digest(record)}
        partial.write_text(json.dumps(whole, indent=1, allow_nan=False), encoding="utf-8")
