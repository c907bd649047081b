"""What ranking and the ledger cost by themselves, from 10⁴ to 10⁷ samples."""

import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from time import process_time

import torch

from .. import schedules
from ..ledger import Ledger
from ..ranking import exclude_highest
from ..rules import StepE
from .repeats import in_turns, row, seconds


def rows(repeats, powers):
    """Yield the rows, for 10^power losses each."""
    for power in powers:
        losses = -torch.rand(10**power, generator=torch.Generator().manual_seed(0)).log()
        sides = {way: partial(seconds, rank, losses, 0.4) for way, rank in RANKINGS.items()}
        in_turns(sides, 1)  # warms up
        for way, each in in_turns(sides, repeats).items():
            yield row(way, f"10^{power} losses", "s", each)
    yield from _peaks([power for power in powers if power > 5])  # below, other needs of the process hide it
    for power in powers:
        each = [_ledger(10**power, epochs=3)[-1] for _ in range(repeats)]
        yield row("ledger, an epoch", f"10^{power} samples", "s", each)
    power = min(6, max(powers))
    runs = [_ledger(10**power, epochs=40) for _ in range(repeats)]
    late_over_early = [sum(run[-5:]) / sum(run[5:10]) for run in runs]
    yield row("ledger, epochs 36 to 40 / 6 to 10", f"10^{power} samples", "ratio", late_over_early)


def full_sort(losses, fraction):
    """What `exclude_highest` replaced: the same weights by sorting everything."""
    weights = torch.ones(len(losses))
    weights[torch.sort(losses, descending=True, stable=True).indices[: round(fraction * len(losses))]] = 0
    return weights


RANKINGS = {"ranking": exclude_highest, "ranking by a full sort": full_sort}


def _peaks(powers):
    """Peak memory besides the losses. Linux alone tells; a fresh process, which gives back at once what it frees."""
    if not powers or not Path("/proc/self/clear_refs").exists():
        return
    code = f"from stepe_lite.bench import bookkeeping; bookkeeping.tell_peaks({powers})"
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536"}
    told = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    for way, power, peak in json.loads(told.stdout):
        yield row(f"{way}, peak memory", f"10^{power} losses", "bytes a loss", [peak / 10**power])


def tell_peaks(powers):
    """Print the peak memory of each ranking as JSON: [way, power of ten, bytes]."""

    def memory(field):
        (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
        return 1024 * int(line.split()[1])

    peaks = []
    for power in powers:
        losses = torch.rand(10**power)
        for way, rank in RANKINGS.items():
            Path("/proc/self/clear_refs").write_text("5")  # the kernel counts the peak from here
            before = memory("VmRSS")
            rank(losses, 0.4)
            peaks.append((way, power, memory("VmHWM") - before))
    print(json.dumps(peaks))


def _ledger(n, epochs):
    """Seconds of each of `epochs` epochs of the ledger's own work: order, records in chunks of 8,192, ranking."""
    ledger, each = Ledger(n, StepE(schedules.constant(0.4))), []
    losses = torch.rand(n, generator=torch.Generator().manual_seed(0))
    for _ in range(epochs):
        began = process_time()
        for index in ledger.batches(8192).parts():
            ledger.record(index, losses[index])
        ledger.end_epoch(lambda index: losses[index])
        each.append(process_time() - began)
    return each
