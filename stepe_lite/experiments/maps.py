"""Maps: many short runs that fill one CSV file, a row a run; stopped at any time, they go on where they were."""

import concurrent.futures
import json
import multiprocessing
import platform
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import torch

from .. import __version__
from ..utils import BadInput, check_flag, check_folder, check_whole, end_with_parent, expand, only_one, written_beside
from .tables import read_csv


def record(out, columns, key, wanted, make, about, progress=True, jobs=1):
    """Make the rows of the CSV file `out` that it does not have yet.

    columns, key : names of all columns, and of those that say which run a row is
    wanted : the runs, tuples of values of `key`; None = a setting that a run does not have
    make : one of `wanted` -> its row, a dict; with `jobs` processes it must be a function of a module
    about : what goes into the .json beside `out`, with "settings": a map of other settings is not gone on with

    Each finished run is written at once; what was written is the same whatever `jobs`.
    Raises ValueError if `out` was made with other settings, OSError if it cannot be written or another process does.
    """
    from tqdm.auto import tqdm

    out = expand("out", out)
    check_whole("jobs", jobs, least=1), check_flag("progress", progress)
    if out.suffix != ".csv":
        raise BadInput(f"out is {str(out)!r}, but must be a file that ends in .csv.")
    check_folder("the folder of out", out.parent)
    lock = only_one(f"out is {str(out)!r}", out.with_name(f".{out.name}.lock"))
    with lock, tqdm(total=len(wanted), unit="run", disable=not progress) as bar:
        made = _made_before(out, about)
        rows = {_key(row, key): row for row in read(out, columns).to_dict("records")} if out.exists() else {}
        order = {cell: at for at, cell in enumerate([*rows, *(cell for cell in wanted if cell not in rows)])}
        waiting = [cell for cell in wanted if cell not in rows]
        bar.update(len(wanted) - len(waiting))
        for cell, row in _rows(make, waiting, jobs):
            rows[cell] = row
            ordered = [rows[done] for done in sorted(rows, key=order.get)]
            _write(out, ordered, columns, made, len(wanted))
            bar.set_description(", ".join(map(str, cell)))
            bar.update()


def _rows(make, waiting, jobs):
    """(cell, row) of those `waiting`, as they are finished. The networks are too small to be shared among cores."""
    if jobs == 1:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            for cell in waiting:
                yield cell, make(cell)
        finally:
            torch.set_num_threads(threads)
        return
    spawn = multiprocessing.get_context("spawn")
    pool = concurrent.futures.ProcessPoolExecutor(jobs, spawn, _begin)
    try:
        futures = {pool.submit(make, cell): cell for cell in waiting}
        for future in concurrent.futures.as_completed(futures):
            yield futures[future], future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _begin():
    """What a process beside the first does before its runs."""
    end_with_parent()
    torch.set_num_threads(1)


def read(path, columns):
    """The table that `record` wrote; whole numbers where there are no others, <NA> = a setting that a run has not.

    Raises FileNotFoundError if it is not there, ValueError if it is no such table.
    """
    return read_csv(expand("path", path), columns, columns[:1], dtype={"warmup": "Int64", "ramp": "Int64"})


def _key(row, key):
    return tuple(None if pd.isna(row[name]) else row[name] for name in key)


def _made_before(out, about):
    """The provenance beside `out`, or a new one. Raises ValueError if `out` was made with other settings."""
    path = out.with_suffix(".json")
    if not out.exists():
        return about | {"versions": [], "device": []}
    if not path.exists():
        raise BadInput(f"out is {str(out)!r}, but {path.name!r}, which says how it was made, is not beside it.")
    try:
        made = json.loads(path.read_text(encoding="utf-8"))
        theirs, settings = (made["settings"], made["versions"] + made["device"])[0], about["settings"]
    except (ValueError, LookupError, TypeError):
        raise BadInput(f"{str(path)!r}, which says how out was made, cannot be read: take another out.") from None
    if theirs != settings:
        raise BadInput(f"out is {str(out)!r}, made with {made['settings']}, but the map is now {settings}.")
    return made


def _write(out, rows, columns, made, wanted):
    """Write the table, and how it was made: `made` as `_made_before` gave it; it is brought up to date."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    versions = {"python": platform.python_version(), "torch": str(torch.__version__), "numpy": np.__version__}
    versions["stepe_lite"] = __version__
    for name, value in {"versions": versions, "device": f"{platform.machine()} CPU, one thread a run"}.items():
        made[name] += [] if value in made[name] else [value]
    made |= {"first": made.get("first", now), "last": now, "finished": f"{len(rows)} of {max(wanted, len(rows))} runs"}
    made["seeds"] = sorted({int(row["seed"]) for row in rows})
    with written_beside(out.with_suffix(".json")) as partial:
        partial.write_text(json.dumps(made, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    table = pd.DataFrame(rows, columns=columns).astype({"warmup": "Int64", "ramp": "Int64"})
    with written_beside(out) as partial:
        table.round(6).to_csv(partial, index=False)
