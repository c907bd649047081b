"""The command `stepe-lite bench`: what Step-E costs, as ratios of sides that are measured in turns in one run.

Everything runs on one thread of the CPU, and seconds are those that this process spent computing (`process_time`), so
that other programs disturb them little. A row holds the median, lowest and highest of so many repeats.
"""

import json
import os
import platform
import sys
from itertools import chain
from pathlib import Path

import click

from .. import validate
from ..atomic import written_beside

# Images by network, epochs and seeds of whole runs; powers of ten of losses to rank.
FULL = {"images": {"small_cnn": 512, "resnet18-imagenet": 384, "resnet18": 32}, "epochs": 60, "seeds": 5}, (4, 5, 6, 7)
QUICK = {"images": {"small_cnn": 32, "resnet18-imagenet": 16, "resnet18": 4}, "epochs": 2, "seeds": 1}, (4, 5)


@click.command()
@click.option("--out", help="Write the table to this .csv; versions, processor and date to a .json beside it.")
@click.option("--repeats", type=int, default=3, show_default=True, help="How often each side is measured.")
@click.option("--quick", is_flag=True, help="Tiny sizes: shows that it works; the figures mean little.")
def bench(out, repeats, quick):
    """Measure what Step-E costs on this machine: ratios and their spread, on one thread of the CPU.

    An epoch against one of standard training; `fit` against a bare loop; a run against confident learning in two
    stages; the ranking; images a second. Ten minutes or less.
    """
    validate.whole("--repeats", repeats, least=1)
    if out is not None:
        out = Path(out).expanduser()
        if out.suffix != ".csv":
            raise ValueError(f"--out is {str(out)!r}, but must end in .csv.")
        validate.folder("the folder of --out", out.parent)

    import pandas as pd
    import torch
    from tqdm.auto import tqdm

    from . import bookkeeping, trainings
    from .repeats import COLUMNS

    sizes, powers = QUICK if quick else FULL
    measured = chain(bookkeeping.rows(repeats, powers), trainings.rows(repeats, **sizes))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        table = pd.DataFrame(tqdm(measured, unit="row", disable=not sys.stderr.isatty()), columns=COLUMNS)
    finally:
        torch.set_num_threads(threads)
    click.echo(table.to_string(index=False, float_format="{:.4g}".format, na_rep=""))
    if out is not None:
        command = f"stepe-lite bench --repeats {repeats}" + (" --quick" if quick else "")
        with written_beside(out) as csv, written_beside(out.with_suffix(".json")) as about:
            table.to_csv(csv, index=False, float_format="%.4g")
            about.write_text(json.dumps({"command": command} | _provenance(), indent=1) + "\n", encoding="utf-8")


def _provenance():
    import torch

    from ..grid import provenance

    name, cpuinfo = platform.processor() or platform.machine(), Path("/proc/cpuinfo")
    if cpuinfo.exists():  # where Python knows no more than "x86_64"
        lines = cpuinfo.read_text(encoding="utf-8").splitlines()
        name = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), name)
    vector = torch.backends.cpu.get_cpu_capability()
    return provenance() | {"device": f"one thread of {name}, {os.cpu_count()} cores, {vector}"}
