"""What `stepe-lite bench` measures: what Step-E costs, as ratios of sides that are measured in turns in one run.

Everything runs on one thread of the CPU, and seconds are those that this process spent computing (`process_time`), so
that other programs disturb them little. A row holds the median, lowest and highest of so many repeats.
"""

import json
import os
import platform
from itertools import chain
from pathlib import Path

from ..learner import isolated
from ..utils import BadInput, check_folder, check_whole, expand, written_beside

# Images by network, epochs and seeds of whole runs; powers of ten of losses to rank.
FULL = {"images": {"small_cnn": 512, "resnet18-imagenet": 384, "resnet18": 32}, "epochs": 60, "seeds": 5}, (4, 5, 6, 7)
QUICK = {"images": {"small_cnn": 32, "resnet18-imagenet": 16, "resnet18": 4}, "epochs": 2, "seeds": 1}, (4, 5)


def run(out=None, repeats=3, quick=False, progress=True):
    """Measure; return the table, a DataFrame, and write it to the .csv file `out` with its provenance beside it.

    Raises ValueError or OSError for bad arguments before anything is measured.
    """
    import pandas as pd
    import torch
    from tqdm.auto import tqdm

    from . import bookkeeping, trainings
    from .repeats import COLUMNS

    check_whole("repeats", repeats, least=1)
    if out is not None:
        out = expand("out", out)
        if out.suffix != ".csv":
            raise BadInput(f"out is {str(out)!r}, but must end in .csv.")
        check_folder("the folder of out", out.parent)
    sizes, powers = QUICK if quick else FULL
    measured = chain(bookkeeping.rows(repeats, powers), trainings.rows(repeats, **sizes))
    with isolated(torch.device("cpu"), threads=1):
        table = pd.DataFrame(tqdm(measured, unit="row", disable=not progress), columns=COLUMNS)
    if out is not None:
        command = f"stepe-lite bench --repeats {repeats}" + (" --quick" if quick else "")
        with written_beside(out) as csv, written_beside(out.with_suffix(".json")) as about:
            table.to_csv(csv, index=False, float_format="%.4g")
            about.write_text(json.dumps({"command": command} | _provenance(), indent=1) + "\n", encoding="utf-8")
    return table


def _provenance():
    import torch

    from ..experiments import provenance

    name, cpuinfo = platform.processor() or platform.machine(), Path("/proc/cpuinfo")
    if cpuinfo.exists():  # where Python knows no more than "x86_64"
        lines = cpuinfo.read_text(encoding="utf-8").splitlines()
        name = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), name)
    vector = torch.backends.cpu.get_cpu_capability()
    return provenance() | {"device": f"one thread of {name}, {os.cpu_count()} cores, {vector}"}
