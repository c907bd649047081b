"""What `stepe-lite bench` measures: what Step-E costs, as ratios of sides that are measured in turns in one run.

Everything runs on one thread of the CPU, and seconds are those that this process spent computing (`process_time`), so
that other programs disturb them little. A row holds the median, lowest and highest of so many repeats.
"""

import json
import math
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from time import perf_counter, process_time

import pandas as pd
import torch
import torch.distributed as dist
import torch.nn.functional as F

from .. import models, noise, schedules
from ..analysis import logits
from ..datasets import Dataset, load
from ..distributed import Ranks
from ..learner import OPTIMIZERS, isolated
from ..ledger import Ledger
from ..ranking import exclude_highest
from ..rules import Everything, KeepOnly, StepE
from ..training import fit
from ..utils import BadInput, check_flag, check_folder, check_whole, expand, written_beside
from .runs import provenance

# Images by network, epochs and seeds of whole runs; powers of ten of losses to rank.
FULL = {"images": {"small_cnn": 512, "resnet18-imagenet": 384, "resnet18": 32}, "epochs": 60, "seeds": 5}, (4, 5, 6, 7)
QUICK = {"images": {"small_cnn": 32, "resnet18-imagenet": 16, "resnet18": 4}, "epochs": 2, "seeds": 1}, (4, 5)


def run(out=None, repeats=3, quick=False, progress=True):
    """Measure; return the table, a DataFrame, and write it to the .csv file `out` with its provenance beside it.

    Raises ValueError or OSError for bad arguments before anything is measured.
    """
    from tqdm.auto import tqdm

    check_flag("quick", quick), check_flag("progress", progress), check_whole("repeats", repeats, least=1)
    if out is not None:
        out = expand("out", out)
        if out.suffix != ".csv":
            raise BadInput(f"out is {str(out)!r}, but must end in .csv.")
        check_folder("the folder of out", out.parent)
    sizes, powers = QUICK if quick else FULL
    measured = chain(bookkeeping(repeats, powers), trainings(repeats, **sizes))
    with isolated(torch.device("cpu"), threads=1):
        table = pd.DataFrame(tqdm(measured, unit="row", disable=not progress), columns=COLUMNS)
    if out is not None:
        command = f"stepe-lite bench --repeats {repeats}" + (" --quick" if quick else "")
        with written_beside(out) as csv, written_beside(out.with_suffix(".json")) as about:
            table.to_csv(csv, index=False, float_format="%.4g")
            about.write_text(json.dumps({"command": command} | _provenance(), indent=1) + "\n", encoding="utf-8")
    return table


def _provenance():
    name, cpuinfo = platform.processor() or platform.machine(), Path("/proc/cpuinfo")
    if cpuinfo.exists():  # where Python knows no more than "x86_64"
        lines = cpuinfo.read_text(encoding="utf-8").splitlines()
        name = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), name)
    vector = torch.backends.cpu.get_cpu_capability()
    return provenance() | {"device": f"one thread of {name}, {os.cpu_count()} cores, {vector}"}


COLUMNS = ("what", "setting", "unit", "median", "low", "high", "repeats", "bound")


def row(what, setting, unit, values, bound=math.nan):
    """One row of the table: a dict of COLUMNS. `bound` is what arithmetic promises, where it promises something."""
    told = (what, setting, unit, statistics.median(values), min(values), max(values), len(values), bound)
    return dict(zip(COLUMNS, told))


def seconds(function, *arguments):
    """The seconds that this process computes in `function(*arguments)`."""
    began = process_time()
    function(*arguments)
    return process_time() - began


def in_turns(sides, repeats):
    """Call every side `repeats` times, in turns: {name: [what it returned, …]}. `sides` : {name: function}.

    Every other round goes backwards, so that a machine that grows slower, or faster, favours nobody.
    """
    returned = {name: [] for name in sides}
    for repeat in range(repeats):
        for name in sides if repeat % 2 == 0 else reversed(sides):
            returned[name].append(sides[name]())
    return returned


def ratios(one, other, repeats):
    """`repeats` quotients of what `one()` and `other()` return."""
    returned = in_turns({"one": one, "other": other}, repeats)
    return [a / b for a, b in zip(returned["one"], returned["other"])]


def bookkeeping(repeats, powers):
    """What ranking and the ledger cost by themselves: yield the rows, for 10^power losses each."""
    for power in powers:
        losses = -torch.rand(10**power, generator=torch.Generator().manual_seed(0)).log()
        sides = {way: partial(seconds, rank, losses, 0.4) for way, rank in RANKINGS.items()}
        in_turns(sides, 1)  # warms up
        for way, each in in_turns(sides, repeats).items():
            yield row(way, f"10^{power} losses", "s", each)
    yield from _peaks([power for power in powers if power > 5])  # below, other needs of the process hide it
    epochs = {power: [_ledger(10**power, epochs=3)[-1] for _ in range(repeats)] for power in powers}
    for power, each in epochs.items():
        yield row("ledger, an epoch", f"10^{power} samples", "s", each)
    few, many = min(powers), max(powers)
    slopes = [math.log10(b / a) / (many - few) for a, b in zip(epochs[few], epochs[many])]
    yield row("ledger, an epoch, slope", f"10^{few} to 10^{many} samples", "power of n", slopes, bound=1)
    ledger = Ledger(10**few, StepE(schedules.constant(0.4)))
    ledger.end_epoch(last=True)
    kept = sum(part.nbytes for part in (ledger.losses, *ledger.state_dict()["weights"])) / ledger.n
    yield row("ledger, an epoch, kept", f"10^{few} samples", "bytes a sample", [kept], bound=4 + 1 / 8)
    for ranks in (2, 4):
        merges = _merges(10 ** min(6, many), ranks, repeats)
        setting = f"10^{min(6, many)} samples, {ranks} ranks on this machine"
        for what, unit, each in zip(("", ", sent by a rank"), ("wall s", "bytes a sample"), zip(*merges)):
            yield row(f"ledger, merge{what}", setting, unit, each, 8 * (ranks - 1) / ranks if what else math.nan)
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
    code = f"from stepe_lite.experiments.bench import tell_peaks; tell_peaks({powers})"
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


def _merges(n, ranks, repeats):
    """What merging the records of an epoch takes, on Linux: [(wall seconds, bytes a sample that a rank sends), …]."""
    with tempfile.TemporaryDirectory() as folder:
        torch.multiprocessing.spawn(_merging, (n, ranks, repeats, folder), ranks)
        return json.loads(Path(folder, "told").read_text())


def _merging(rank, n, ranks, repeats, folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", store=dist.FileStore(f"{folder}/store", ranks), rank=rank, world_size=ranks)
    processes, fresh, losses = Ranks(dist.group.WORLD), torch.arange(n) % ranks == rank, torch.rand(n)
    told = []
    for _ in range(repeats + 1):
        dist.barrier()
        began, sent = perf_counter(), _sent()
        processes.merge(losses, fresh.clone())
        told.append((perf_counter() - began, (_sent() - sent) / n))
    if rank == 0:
        Path(folder, "told").write_text(json.dumps(told[1:]))  # the first one warms up
    dist.destroy_process_group()


def _sent():
    io = Path("/proc/self/io")
    return int(io.read_text().split("wchar:")[1].split()[0]) if io.exists() else math.nan


EVERY = {1: "re-scored every epoch", 5: "re-scored every 5th"}
HERE = {"device": "cpu", "progress": False}


def trainings(repeats, images, epochs, seeds):
    """What training costs: yield the rows.

    `images` : how many a network is trained on, by its name; `epochs`, `seeds` : of whole runs
    """
    data = {"mlp": without_test(load("digits"))} | {model: _noise(n) for model, n in images.items()}
    setting = {model: f"{model}, {'×'.join(map(str, data[model].images.shape[2:]))}" for model in data}
    three, two = ("mlp", "small_cnn", "resnet18-imagenet"), ("small_cnn", "resnet18-imagenet")
    for model in three:
        yield from _step_e(model, data[model], setting[model], repeats)
    for model in three:
        epoch = partial(_epoch, model, data[model], Everything(), _some_epochs(model))
        bare = partial(_bare_loop, partial(models.build, model, data[model]), data[model], _some_epochs(model))
        yield row("fit / bare loop, an epoch", setting[model], "ratio", ratios(epoch, bare, repeats))
    yield from _confident_learning(epochs, range(seeds))
    for model, these in data.items():
        speeds = [len(these) / _epoch(model, these, Everything(), epochs=1) for _ in range(repeats)]
        yield row("training", setting[model], "images/s", speeds)
    for model in two:
        few = data[model].subset(max(2, len(data[model]) // 5), seed=0)  # without the instructions it is very slow
        side = partial(_bare_loop, partial(models.build, model, few), few)
        half = ratios(partial(side, bfloat16=True), side, repeats)
        yield row("bfloat16 autocast / float32, an epoch", setting[model], "ratio", half)
    yield _window_convolution(data["resnet18-imagenet"], repeats)


def _some_epochs(model):
    return 25 if model == "mlp" else 2


def _step_e(model, data, setting, repeats):
    """Seconds of an epoch of Step-E at a fixed excluded fraction, over those of standard training."""
    sides = {"standard": partial(_epoch, model, data, Everything(), _some_epochs(model))}
    for fraction in (0.1, 0.2, 0.4):
        for every in EVERY:
            epochs = max(every, _some_epochs(model))
            rule = StepE(schedules.constant(fraction))
            sides[fraction, every] = partial(_epoch, model, data, rule, epochs, rescore_every=every)
    seconds = in_turns(sides, repeats)
    standard = seconds.pop("standard")
    for (fraction, every), ours in seconds.items():
        # A backward pass costs about two forward passes, so scoring is a third of training.
        bound = (1 - fraction) + fraction / (3 * every)
        told = f"{setting}, excluded {fraction:g}, {EVERY[every]}"
        each = [a / b for a, b in zip(ours, standard)]
        yield row("Step-E / standard, an epoch", told, "ratio", each, bound)


def _epoch(model, data, rule, epochs, **settings):
    """Seconds of one of `epochs` epochs in the middle of a run of `fit`, scoring included."""
    began = {}

    def clocked(losses, epoch):  # a rule is asked when its epoch begins
        began.setdefault(epoch, process_time())
        return rule(losses, epoch)

    # Not the first epoch, which has no losses to rank yet, and not the last one, whose end is not seen.
    fit(data, model, clocked, epochs=epochs + 2, batch_size=min(128, len(data)), **HERE, **settings)
    return (began[epochs + 1] - began[1]) / epochs


def _bare_loop(build, data, epochs=1, bfloat16=False):
    """Seconds of an epoch of the shortest loop there is: images as floats, shuffled, no log, no losses kept."""
    net, images, n = build(), data.images / 255 - 0.5, len(data)
    convolves = any(isinstance(module, torch.nn.Conv2d) for module in net.modules())
    layout = torch.channels_last if convolves else torch.contiguous_format
    net = net.to(memory_format=layout).train()
    optimizer = OPTIMIZERS["sgd"](net.parameters(), lr=0.05, weight_decay=5e-4)
    for epoch in range(epochs + 1):
        if epoch == 1:  # the first epoch warms up
            began = process_time()
        for index in torch.randperm(n).tensor_split(math.ceil(n / 128)):
            with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
                loss = F.cross_entropy(net(images[index].contiguous(memory_format=layout)), data.labels[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return (process_time() - began) / epochs


def _confident_learning(epochs, seeds):
    """Step-E against confident learning in two stages: five trainings for out-of-sample probabilities, then a sixth."""
    from ..peers import confident_learning

    clean = load("digits")
    confident_learning(without_test(clean), "mlp", epochs=1, **HERE)  # loads cleanlab, which takes seconds
    setting, ours = "mlp, digits, symmetric noise 0.4", {every: [] for every in EVERY}
    theirs = []  # (accuracy, seconds) of each seed
    for seed in seeds:
        noisy = clean.with_noise(noise.symmetric(0.4), seed)
        data = without_test(noisy)  # neither side pays for tests at every epoch
        common = {"seed": seed, "epochs": epochs, **HERE}
        began = process_time()
        issues = confident_learning(data, "mlp", **common).issues
        history = fit(data, "mlp", KeepOnly(~issues), **common)
        theirs.append((_accuracy(history, noisy), process_time() - began))
        for every in EVERY:
            # The course's warm-up and ramp: 5 and 15 of 60 epochs.
            rule = StepE(schedules.linear(epochs // 12, epochs // 4, final=0.4))
            began = process_time()
            history = fit(data, "mlp", rule, rescore_every=every, **common)
            ours[every].append((_accuracy(history, noisy), process_time() - began))
    yield row("two stages, accuracy", setting, "%", [accuracy for accuracy, _ in theirs])
    for every, runs in ours.items():
        told = f"{setting}, {EVERY[every]}"
        yield row("Step-E, accuracy", told, "%", [accuracy for accuracy, _ in runs])
        gains = [mine - other for (mine, _), (other, _) in zip(runs, theirs)]
        yield row("Step-E − two stages, accuracy", told, "points", gains)
        costs = [mine / other for (_, mine), (_, other) in zip(runs, theirs)]
        yield row("Step-E / two stages, a whole run", told, "ratio", costs)


def _accuracy(history, data):
    """Test accuracy in % of the network of `history`, after its last epoch."""
    right = logits(history.model, data.test_images, like=data.images).argmax(1) == data.test_labels
    return 100 * right.float().mean().item()


def _window_convolution(data, repeats):
    import torchvision

    theirs = partial(_bare_loop, partial(torchvision.models.resnet18, weights=None, num_classes=10), data)
    ours = partial(_bare_loop, partial(models.resnet18, 10, stem="imagenet"), data)
    each = ratios(theirs, ours, repeats)
    return row("torchvision's ResNet-18 / ours, an epoch", "resnet18-imagenet, 32×32", "ratio", each)


def _noise(n):
    """Noise of CIFAR's shape, without test images: what is in a picture changes no speed."""
    pixels = torch.randint(256, (n, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return Dataset.from_arrays(pixels, torch.arange(n) % 2, classes=[str(c) for c in range(2)], name="noise")


def without_test(data):
    """`data` without its test images, so that no epoch is followed by a test."""
    return replace(data, test_images=data.test_images[:0], test_labels=data.test_labels[:0])
