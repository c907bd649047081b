"""The attack on what the package promises: processes killed, files damaged, arguments that are none.

It takes some minutes, so only `python -m pytest -m torture` runs it. $STEPE_LITE_TORTURE makes it longer: 10 = ten
times as many attempts, and others. What was seen is printed at the end; `conftest.py` does that.
"""

import json
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import warnings
from collections import Counter
from fractions import Fraction
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from nbformat.v4 import new_code_cell, new_notebook
from PIL import Image

from stepe_lite import (
    Dataset,
    Everything,
    History,
    KeepOnly,
    Ledger,
    LossTruncation,
    OneShotFilter,
    RandomExclusion,
    SelfPaced,
    StepE,
    analysis,
    course,
    experiments,
    fit,
    load,
    losses,
    models,
    noise,
    peers,
    ranking,
    review,
    schedules,
)  # fmt: skip
from stepe_lite.cli import main
from stepe_lite.datasets import audit as auditing
from stepe_lite.experiments import plan
from stepe_lite.experiments import runs as grid
from stepe_lite.training import TrainingDiverged
from stepe_lite.utils import BadInput

LONGER = float(os.environ.get("STEPE_LITE_TORTURE", 1))
SEED = 0 if LONGER == 1 else random.SystemRandom().randrange(2**32)
pytestmark = pytest.mark.torture
RECORDED = Path(__file__).parents[1] / "notebooks" / "results"
posix = pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs /proc")


@pytest.fixture
def seen(record_property):
    """Counts by what was seen, printed at the end of all tests."""
    counts = Counter()
    yield counts
    record_property("torture", ", ".join(f"{n:,} {what}" for what, n in counts.items()) + f" (seed {SEED})")


# --- kills ---

# The command at a tiny size. What is at the top level also holds in the processes that it starts.
PROGRAM = """
from stepe_lite import load, noise
from stepe_lite.experiments import bench, plan, ramp, runs

plan.RECIPES["tiny"] = {"model": "mlp", "subset": 300, "epochs": 30, "warmup": 5, "ramp": 9, "batch_size": 64,
                        "lr": 0.05}
plan.PRESETS["tiny"] = {"datasets": ("digits",), "recipes": ("tiny",), "seeds": (0, 1, 2),
                        "methods": (("standard", "Step-E", "one-shot", "standard, averaged weights"),)}
runs._data = lambda *_: load("digits").subset(300, seed=0).with_noise(noise.symmetric(0.4), seed=0)
ramp.NOISE = {name: ramp.NOISE[name] for name in ("symmetric, 40 %", "uneven classes, 40 ± 20 %")}
ramp.WARMUPS, ramp.RAMPS, ramp.SETTINGS = (1, 2), (0, 2), ramp.SETTINGS | {"epochs": 12}
bench.QUICK = {"images": {"small_cnn": 16, "resnet18-imagenet": 4, "resnet18": 4}, "epochs": 2, "seeds": 1}, (3, 4)

if __name__ == "__main__":
    from stepe_lite.cli import main
    main()
"""
TRAIN = (
    "train --subset 300 --noise symmetric --seeds 2 --epochs 60 --rule step-e --rule averaged --rule loss-truncation"
)
COMMANDS = {
    "train": [*TRAIN.split(), "--out"],
    "table": ["table", "--preset", "tiny", "--jobs", "2", "--out"],
    "run": ["run", "01_long.ipynb", "02_short.ipynb", "--html", "--jobs", "2", "--out"],
    "ramp": ["ramp", "--seeds", "2", "--out"],
    "bench": ["bench", "--quick", "--repeats", "1", "--out"],
}
KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
KILLS = {"train": 8, "table": 8, "run": 6, "ramp": 6, "bench": 3}


@posix
@pytest.mark.parametrize("name", COMMANDS)
def test_what_was_killed_goes_on_to_the_same_result_and_leaves_nothing(name, seen, tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM)
    for notebook, text in {"01_long": "time.sleep(3)", "02_short": "time.sleep(0.5)"}.items():
        cells = [new_code_cell(f"import time\n{text}"), new_code_cell("print(sum(range(10**6)))")]
        nbformat.write(new_notebook(cells=cells, metadata=KERNEL), tmp_path / f"{notebook}.ipynb")
    suffix = {"ramp": "out.csv", "bench": "out.csv"}.get(name, "")
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    whole.mkdir(), cut.mkdir()
    began = time.monotonic()
    running = start(tmp_path, name, whole / suffix)
    said = over(running, tmp_path)
    assert running.returncode == 0, said
    takes, chance = time.monotonic() - began, random.Random(SEED)
    for _ in range(math.ceil(LONGER * KILLS[name])):
        number = chance.choice([signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
        running = start(tmp_path, name, cut / suffix)
        end = time.monotonic() + takes
        if name != "bench" and chance.random() < 0.8:  # wait for the work to begin: importing torch takes long
            while running.poll() is None and time.monotonic() < end and not any(cut.iterdir()):
                time.sleep(0.01)
            time.sleep(chance.random() * takes / 2)
        else:
            time.sleep(chance.random() * takes)
        was_running = running.poll() is None
        if was_running:  # Ctrl-C reaches all processes of a terminal, `kill` one
            (os.killpg if number == signal.SIGINT else os.kill)(running.pid, number)
        said = over(running, tmp_path)
        seen[f"{signal.Signals(number).name} {'' if was_running else '(over already)'}".strip()] += 1
        seen["orphans"] += orphans(tmp_path)
        if number != signal.SIGKILL:
            seen["left half-written"] += len(partials(cut))
        if running.returncode == 0:  # it was over: begin anew. Else the next one goes on in the same folder
            seen["silently different"] += result(name, cut) != result(name, whole)
            shutil.rmtree(cut), cut.mkdir()
    running = start(tmp_path, name, cut / suffix)
    said = over(running, tmp_path)
    seen["lost"] += running.returncode != 0
    seen["left half-written"] += len(partials(cut))
    seen["silently different"] += running.returncode == 0 and result(name, cut) != result(name, whole)
    assert running.returncode == 0, said
    assert seen["orphans"] == seen["left half-written"] == seen["silently different"] == 0, seen


def start(folder, name, out):
    command = [sys.executable, "program.py", *COMMANDS[name], str(out)]
    environment = os.environ | {"TORTURE": str(folder), "PYTHONPATH": os.pathsep.join(map(str, sys.path))}
    # A shell that runs the tests in the background may have told its children to ignore Ctrl-C.
    listen = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.default_int_handler)}
    with open(folder / "stderr.txt", "w") as said:  # a pipe would wait for orphans
        return subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=said,
            **listen,
        )


def over(running, folder):
    """Wait for the end of a process; what it said."""
    running.wait(timeout=600)
    return (folder / "stderr.txt").read_text()


def orphans(folder):
    """How many processes with our mark are alive half a minute after the first one's end; they are ended."""
    mark, end = f"TORTURE={folder}\0".encode(), time.monotonic() + 30
    while left := [int(path.parent.name) for path in Path("/proc").glob("[0-9]*/environ") if has(path, mark)]:
        if time.monotonic() > end:
            for process in left:
                os.kill(process, signal.SIGKILL)
            break
        time.sleep(0.1)
    return len(left)


def has(path, mark):
    try:
        return mark in path.read_bytes()
    except OSError:  # it has ended, or is somebody else's
        return False


def partials(folder):
    return [path for path in folder.rglob("*") if ".partial" in path.name]


def result(name, out):
    """All that a command left in `out`, but for what a clock or the machine says."""
    if name == "bench":
        return pd.read_csv(out / "out.csv")[["what", "setting", "unit", "repeats"]].to_csv(), (
            out / "out.json"
        ).exists()
    if name == "ramp":
        return (out / "out.csv").read_bytes()
    found = {}
    for path in sorted(out.rglob("*")):
        if path.suffix == ".npz":
            history = History.load(path)
            found[path.name] = history.losses.numpy().tobytes(), history.weights.numpy().tobytes()
            found[path.name] += history.log.drop(columns="seconds").to_csv(), history.config
        elif path.suffix == ".csv":
            table = pd.read_csv(path)
            found[path.name] = table.drop(columns=[name for name in table if "seconds" in name]).to_csv()
        elif path.suffix == ".ipynb":
            found[path.name] = [cell.get("outputs") for cell in nbformat.read(path, 4).cells]
        elif path.suffix == ".json" and "notebooks" in (record := json.loads(path.read_text())):
            found[path.name] = [each | {"seconds": None} for each in record["notebooks"]]
        elif path.suffix == ".json":
            figures = {key: value for key, value in record["result"].items() if "seconds" not in key}
            found[path.name] = figures, record["log"] | {"seconds": None}, record["config"]
        elif path.suffix != ".lock" and path.name != ".lock":
            found[path.name] = path.suffix
    return found


# --- damage ---


def damaged(content, chance):
    """`content` with one fault: a bit, a byte, a block of zeros, or an end that is missing."""
    content, at = bytearray(content), chance.randrange(len(content))
    kind = chance.choice(["bit", "byte", "zeros", "cut"])
    if kind == "bit":
        content[at] ^= 1 << chance.randrange(8)
    elif kind == "byte":
        content[at] = chance.randrange(256)
    elif kind == "zeros":
        content[at : at + 512] = bytes(len(content[at : at + 512]))
    else:
        del content[at:]
    return bytes(content)


def is_a_sentence(error):
    return str(error)[-1:] in (".", "?", ")", "…") and "\n" not in str(error)


def small_digits():
    return load("digits").subset(120, seed=0).with_noise(noise.symmetric(0.3), seed=0)


def told(history):
    return history.losses.numpy().tobytes(), history.weights.numpy().tobytes(), history.log.to_csv(), history.config


def attack(path, read, whole, times, seen, different=lambda found, whole: found != whole):
    """Damage the file at `path` again and again: `read()` must refuse it, or give what it gives of the whole file."""
    content, chance, wrong = path.read_bytes(), random.Random(SEED), []
    for _ in range(math.ceil(LONGER * times)):
        broken = damaged(content, chance)
        path.write_bytes(broken)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = read()
        except (BadInput, FileNotFoundError) as error:
            assert is_a_sentence(error), error
            seen["refused"] += 1
        except Exception as error:
            seen["raw errors"] += 1
            wrong.append(repr(error))
        else:
            bent = different(found, whole)
            seen["silently different" if bent else "the same"] += 1
            wrong += [difference(content, broken)] if bent else []
    path.write_bytes(content)
    assert not wrong, wrong


def difference(whole, broken):
    at = next((i for i, (a, b) in enumerate(zip(whole, broken)) if a != b), len(broken))
    return f"at {at}: {whole[at - 30 : at + 30]} became {broken[at - 30 : at + 30]}"


def test_a_damaged_checkpoint_is_refused_or_goes_on_to_the_same_result(seen, tmp_path):
    path, data, rule = tmp_path / "run.checkpoint", small_digits(), StepE(schedules.linear(1, 2, 0.3))
    how = {"epochs": 3, "progress": False, "checkpoint": path}
    whole = told_without_seconds(fit(data, "mlp", rule, **how))

    def read():
        return told_without_seconds(fit(data, "mlp", rule, **how))

    attack(path, read, whole, 250, seen)


def told_without_seconds(history):
    history.log = history.log.drop(columns="seconds")
    return told(history)


def test_a_damaged_history_is_refused_or_the_same(seen, tmp_path):
    path = tmp_path / "history.npz"
    fit(small_digits(), "mlp", StepE(schedules.constant(0.2)), epochs=3, progress=False).save(path)
    attack(path, lambda: told(History.load(path)), told(History.load(path)), 1000, seen)


def test_a_damaged_record_of_a_grid_is_refused_or_the_same(seen, monkeypatch, tmp_path):
    recipe = {"model": "mlp", "subset": 120, "epochs": 3, "warmup": 1, "ramp": 1, "batch_size": 64, "lr": 0.05}
    monkeypatch.setitem(plan.RECIPES, "tiny", recipe)
    monkeypatch.setattr(grid, "_data", lambda *_: small_digits())
    runs = [grid.grid_run(("digits", "tiny", method, 0)) for method in ("standard", "Step-E")]
    grid.make(runs, tmp_path, progress=False)

    def read():
        made = grid.make(runs, tmp_path, progress=False)
        return experiments.collect(tmp_path).to_csv(), {name: told(history) for name, history in made.items()}

    whole = read()
    attack(runs[1].path(tmp_path), read, whole, 400, seen)
    attack(runs[1].path(tmp_path, ".npz"), read, whole, 400, seen)


def test_a_damaged_review_is_refused_or_decides_the_same_but_where_it_was_changed(seen, tmp_path):
    """People change reviews by hand: a class that became another, or a row that is gone, may be what they meant."""
    data, path = small_digits(), tmp_path / "review.csv"
    table = review.suspicious(data, fit(data, "mlp", Everything(), epochs=2, progress=False))
    first = review.Review(table, data.classes)
    for at, sample in enumerate(table.index[:60]):
        (first.keep, first.drop, lambda s: first.relabel(s, data.classes[at % 10]))[at % 3](sample)  # noqa: B023
    first.to_csv(path)

    def read():
        return review.Review.from_csv(path, data.classes).cleaned(data), review.Review.from_csv(path, data.classes)

    def different(found, whole):
        """More than one decision is another, besides those in rows that are gone."""
        (_, mine), (_, theirs) = found, whole
        here = set(mine.table.index)
        changed = [s for s in here if mine.decisions.get(s, "none") != theirs.decisions.get(s, "none")]
        seen["with a valid decision for another"] += len(changed) == 1
        seen["with rows that are gone"] += len(here) < len(theirs.table)
        return len(changed) > 1

    attack(path, read, read(), 600, seen, different)


# --- bad inputs ---

ODD = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 12), st.floats(), st.text(max_size=4), st.binary(max_size=3),
    st.lists(st.integers(-2, 3), max_size=3), st.lists(st.text(max_size=2), max_size=3),
    st.dictionaries(st.text(max_size=2), st.integers(0, 3), max_size=2),
    st.sampled_from([
        1j, Fraction(1, 3), 10**400, object(), int, print, lambda *_: None, range(3), Path("nowhere"), "digits", "../x",
        np.float64("nan"), np.int64(3), np.array(0.5), np.zeros((2, 3)), np.zeros(0), np.array(["a", None]),
        np.zeros(40, bool), np.arange(40.0), np.full(40, 1j), np.ma.masked_all(40), torch.zeros(3), torch.ones(2, 3, 4),
        torch.tensor([True, False]), torch.full((40,), torch.nan), torch.zeros(40, dtype=torch.complex64),
        torch.zeros(40, device="meta"), pd.Series([1.0, 0.5], index=[5, 9]), pd.Series(np.arange(40), range(40, 0, -1)),
        pd.DataFrame({"a": [1]}), pd.Categorical(["a", None]), nbformat.v4.new_notebook(), Everything(), StepE,
    ]),
)  # fmt: skip
# More of these are asked for than a machine can bear, or than a test can wait for.
HUGE = st.sampled_from([10**12, -(10**12), 2**70])
SPARED = {"epochs", "steps", "size", "hidden", "classes", "shape", "k", "n", "repeats", "seeds", "width", "warmup"}


def valid_calls(folder):
    """Name -> (function, arguments that it takes): the public surface. What odd values do is tried one by one."""
    data, ramp = small_digits().subset(40, seed=0), schedules.linear(1, 2, 0.3)
    few = torch.rand(3, 40, generator=torch.Generator().manual_seed(0))
    quick = {"epochs": 1, "progress": False, "device": "cpu"}
    history = fit(data, "mlp", StepE(ramp), **quick)
    table = review.suspicious(data, history)
    sheet, saved, images = folder / "review.csv", folder / "history.npz", folder / "images"
    review.Review(table, data.classes).to_csv(sheet)
    history.save(saved)
    for name in ("0/a.png", "1/b.png"):
        (images / name).parent.mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(images / name)
    (images / "table.csv").write_text("file,label\n0/a.png,x\n1/b.png,y\n")
    notebook = folder / "01_none.ipynb"
    first = new_code_cell("seeds = [0, 1]\nrate = 0.5\nname = 'a'", metadata={"tags": ["parameters"]})
    nbformat.write(new_notebook(cells=[first], metadata=KERNEL), notebook)
    compared = pd.DataFrame({"method": ["standard", "Step-E"] * 2, "seed": [0, 0, 1, 1], "accuracy_last": 0.5})
    arrays = {"images": data.images, "labels": data.labels, "clean_labels": data.clean_labels}
    tests = {"test_images": data.test_images, "test_labels": data.test_labels, "classes": data.classes}
    settings = {
        "batch_size": 16, "lr": 0.1, "optimizer": "sgd", "lr_schedule": "cosine", "weight_decay": 0.0, "average": 0.5,
        "seed": 0, "threads": 1, "precision": "float32", "augment": False, "rescore_every": 1,
        "loss": losses.cross_entropy,
    }  # fmt: skip
    rules = {
        "StepE": StepE(ramp, momentum=0.5), "soft": StepE(ramp, soft=0.5),
        "per class": StepE(ramp, per_class=data.labels), "truncation": LossTruncation(0.2),
        "self-paced": SelfPaced(ramp), "one-shot": OneShotFilter(0.2, 1),
        "random": RandomExclusion(ramp), "keep": KeepOnly(~data.is_mislabeled), "all": Everything(),
        "estimated": peers.EstimatedStepE(1, 2),
    }  # fmt: skip
    new_ledger = lambda: Ledger(40, StepE(ramp))  # noqa: E731
    new_review = lambda: review.Review(table, data.classes)  # noqa: E731
    mask = data.is_mislabeled
    return {
        **{f"schedules.{shape}": (getattr(schedules, shape), {"warmup": 1, "ramp": 2, "final": 0.3})
           for shape in ("linear", "cosine", "exponential", "staircase")},
        "constant": (schedules.constant, {"fraction": 0.3, "warmup": 1}),
        "exponential": (lambda sharpness: schedules.exponential(1, 2, 0.3, sharpness), {"sharpness": 3.0}),
        "staircase": (lambda steps: schedules.staircase(1, 2, 0.3, steps), {"steps": 3}),
        "a schedule": (lambda epoch: ramp(epoch), {"epoch": 3}),
        "StepE": (StepE, {"schedule": ramp, "soft": None, "momentum": 0.0, "per_class": False}),
        "LossTruncation": (LossTruncation, {"fraction": 0.2, "warmup": 1}),
        "SelfPaced": (SelfPaced, {"schedule": ramp}),
        "OneShotFilter": (OneShotFilter, {"fraction": 0.2, "warmup": 1}),
        "RandomExclusion": (RandomExclusion, {"schedule": ramp, "seed": 0}),
        "EstimatedStepE": (peers.EstimatedStepE, {"warmup": 1, "ramp": 2}),
        "KeepOnly": (KeepOnly, {"mask": mask}),
        **{f"rule {name}": (lambda losses, epoch, rule=rule: rule(losses, epoch), {"losses": few, "epoch": 3})
           for name, rule in rules.items()},
        "exclude_highest": (ranking.exclude_highest, {"scores": few[0], "fraction": 0.2}),
        "soft_weights": (ranking.soft_weights, {"scores": few[0], "fraction": 0.2, "temperature": 0.5}),
        "moving_average": (ranking.moving_average, {"losses": few, "momentum": 0.5}),
        "Ledger": (Ledger, {"n": 40, "rule": StepE(ramp), "rescore_every": 1, "device": "cpu"}),
        "record": (lambda index, loss: new_ledger().record(index, loss), {"index": torch.arange(40), "loss": few[0]}),
        "batches": (lambda size: list(new_ledger().batches(size)), {"size": 7}),
        "CrossEntropy": (losses.CrossEntropy, {"smoothing": 0.1}),
        "GeneralizedCrossEntropy": (losses.GeneralizedCrossEntropy, {"q": 0.5}),
        **{f"noise.{name}": (getattr(noise, name), {"rate": 0.2}) for name in
           ("symmetric", "pair_flip", "instance_dependent")},
        "asymmetric": (noise.asymmetric, {"matrix": torch.eye(10), "name": "none"}),
        "uneven_classes": (noise.uneven_classes, {"k": 10, "rate": 0.4, "spread": 0.1, "zeros": 0.1, "seed": 0}),
        "transition_matrix": (noise.transition_matrix, {"clean": data.clean_labels, "given": data.labels, "k": 10}),
        "cifar10n": (noise.cifar10n, {"name": "worse"}),
        "from_arrays": (Dataset.from_arrays, arrays | tests | {"name": "arrays"}),
        "Dataset": (Dataset, arrays | tests | {"name": "arrays"}),
        "with_noise": (small_digits().cleaned().with_noise, {"model": noise.symmetric(0.3), "seed": 0}),
        "subset": (data.subset, {"n": 12, "seed": 0}),
        "split_validation": (data.split_validation, {"fraction": 0.2, "seed": 0}),
        "from_folder": (Dataset.from_folder, {"path": images, "size": 8, "test": images, "allow_empty": False,
                        "background": "white", "skip_unreadable": False, "progress": False}),
        "from_csv": (Dataset.from_csv, {"path": images / "table.csv", "image": "file", "label": "label", "size": 8,
                     "root": images, "test": images / "table.csv", "progress": False}),
        "load": (load, {"name": "digits", "root": folder}),
        "audit": (auditing.audit, {"path": images, "near": 0.9, "progress": False}),
        "audit of a table": (auditing.audit, {"path": images / "table.csv", "image": "file", "label": "label",
                             "root": images, "progress": False}),
        "fit": (fit, {"data": data, "model": "mlp", "rule": StepE(ramp), "validation": data, "checkpoint": None,
                **settings, **quick}),
        "fit steps": (fit, {"data": data, "model": "mlp", "rule": StepE(ramp), "steps": 2, "progress": False}),
        "History.load": (History.load, {"path": saved}),
        "save": (history.save, {"path": folder / "copy.npz"}),
        "suspicious": (review.suspicious, {"data": data, "run": history, "rank_by": "mean loss",
                       "probabilities": None}),
        "suspicious by probabilities": (review.suspicious, {"data": data, "run": few,
                                        "probabilities": torch.full((40, 10), 0.1)}),
        "Review": (review.Review, {"table": table, "classes": data.classes}),
        "keep": (lambda sample: new_review().keep(sample), {"sample": 3}),
        "drop": (lambda sample: new_review().drop(sample), {"sample": 3}),
        "relabel": (lambda sample, label: new_review().relabel(sample, label), {"sample": 3, "label": "3"}),
        "cleaned": (lambda data: new_review().cleaned(data), {"data": data}),
        "to_csv": (lambda path: new_review().to_csv(path), {"path": folder / "other.csv"}),
        "Review.from_csv": (review.Review.from_csv, {"path": sheet, "classes": data.classes, "files": None}),
        "replay": (analysis.replay, {"rule": StepE(ramp), "losses": few}),
        "outcome": (analysis.outcome, {"weights": few, "is_mislabeled": mask}),
        "precision_recall": (analysis.precision_recall, {"excluded": mask, "is_mislabeled": mask}),
        "sample_table": (analysis.sample_table, {"data": data, "history": history}),
        "by_class": (analysis.by_class, {"data": data, "excluded": mask}),
        "by_pair": (analysis.by_pair, {"data": data, "excluded": mask}),
        "detection_curves": (analysis.detection_curves, {"scores": {"loss": few[0]}, "is_mislabeled": mask}),
        "logits": (analysis.logits, {"model": history.model, "images": data.images, "like": data.images,
                   "batch_size": 16}),
        "margins": (analysis.margins, {"model": history.model, "data": data}),
        "loss_mixture": (peers.loss_mixture, {"losses": few[0]}),
        "estimate_fraction": (peers.estimate_fraction, {"data": data, "model": "mlp", "warmup": 1, "seed": 0}),
        "co_teaching": (peers.co_teaching, {"data": data, "model": "mlp", "schedule": ramp, **quick}),
        "confident_learning": (lambda folds: peers.confident_learning(data.subset(40, 0), "mlp", folds=folds, epochs=1),
                               {"folds": 2}),
        "compare": (experiments.compare, {"make_data": lambda seed: data, "seeds": [0], "model": "mlp", "out": None,
                    "make_methods": lambda data, seed: {"standard": {"data": data, "rule": Everything()}}, **quick}),
        "methods": (experiments.methods, {"data": data, "schedule": ramp, "seed": 0, "names": ("Step-E",),
                    "settings": {}}),
        "runs_of": (experiments.runs_of, {"preset": "smoke"}),
        "grid_run": (experiments.grid_run, {"run": ("digits", "smoke", "standard", 0)}),
        "collect": (experiments.collect, {"out": RECORDED / "cpu.csv", "preset": "cpu"}),
        "paired_difference": (experiments.paired_difference, {"runs": compared, "method": "Step-E",
                              "against": "standard", "column": "accuracy_last"}),
        "mlp": (models.mlp, {"classes": 10, "shape": (1, 8, 8), "hidden": 8}),
        "small_cnn": (models.small_cnn, {"classes": 10, "shape": (1, 8, 8), "width": 2}),
        "resnet18": (models.resnet18, {"classes": 10, "stem": "cifar", "shape": (3, 8, 8)}),
        "claim": (course.claim, {"text": "it holds", "value": 0.5, "above": 0.1, "below": 0.9}),
        "find": (course.find, {"name": str(notebook)}),
        "parameters_of": (course.parameters_of, {"path": notebook}),
        # Without "no such", some of these would run the whole course.
        "run": (lambda notebooks, out: course.run(notebooks, {"no such": 1}, out, progress=False),
                {"notebooks": [notebook], "out": folder / "out"}),
        "run with": (lambda parameters: course.run([notebook], parameters, folder / "out", progress=False),
                     {"parameters": {"no such": 1}}),
        **{f"run -p {name}": (lambda value, name=name: course.run([notebook], {name: value, "no": 1}, folder / "out"),
           {"value": value}) for name, value in {"seeds": [0], "rate": 0.1, "name": "b"}.items()},
    }  # fmt: skip


def attempt(function, arguments):
    """(what came of it, the exception): "taken", "refused" in a sentence, or a "raw error"."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            function(**arguments)
        except (BadInput, OSError, TrainingDiverged, experiments.RunFailed, course.ClaimBroken) as error:
            return ("refused" if is_a_sentence(error) or isinstance(error, OSError) else "raw error"), error
        except Exception as error:
            return "raw error", error
    return "taken", None


def test_bad_inputs_are_refused_in_a_sentence(seen, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    raw = Counter()
    for name, (function, valid) in valid_calls(tmp_path).items():
        what, error = attempt(function, valid)
        assert what == "taken" or name.startswith("run"), (name, error)

        @seed(SEED)
        @settings(max_examples=math.ceil(LONGER * 14 * len(valid)), database=None, deadline=None,
                  suppress_health_check=list(HealthCheck))  # fmt: skip
        @given(st.data())
        def try_odd_values(draw):
            chosen = draw.draw(st.lists(st.sampled_from(sorted(valid)), min_size=1, max_size=2, unique=True))  # noqa: B023
            odd = {each: draw.draw(ODD if each in SPARED else ODD | HUGE) for each in chosen}
            what, error = attempt(function, valid | odd)  # noqa: B023
            seen[what] += 1
            if what == "raw error":
                raw[f"{name}({', '.join(odd)}): {type(error).__name__}"] += 1  # noqa: B023

        try_odd_values()
    total = sum(seen[what] for what in ("refused", "raw error"))
    assert seen["raw error"] < total / 20, raw.most_common(30)


WORDS = st.sampled_from(
    ["", "-1", "0", "1", "3", "0.5", "nan", "inf", "1e400", "None", "True", "digits", "mlp", "step-e", "all", "linear",
     "crop", "cpu", "cuda:7", "meta", "..", "/", "~nobody/x", "no such", "\0", "x.csv", "cpu.csv", "ü", "1" * 400, "[]"]
) | st.text(max_size=3)  # fmt: skip
# What each command is given besides, so that nothing here trains for long or measures anything.
OPTIONS = {
    "train": ("--root --subset --noise --rate --rule --model --schedule --warmup --ramp --final --batch-size --lr "
              "--optimizer --augment --rescore-every --device --threads --precision --out",
              ["--subset", "60", "--epochs", "1", "--seeds", "1"]),
    "table": ("--preset --out --jobs --root --show", ["--show", str(RECORDED / "cpu.csv")]),
    "ramp": ("--show --seeds --out", ["--show", str(RECORDED / "ramp.csv")]),
    "bench": ("--out --repeats", ["--repeats", "0"]),
    "data": ("--root", []),
    "audit": ("--image --label --root", ["."]),
    "run": ("--out", ["no such notebook"]),
}  # fmt: skip


@pytest.mark.parametrize("command", OPTIONS)
def test_bad_options_are_refused_in_a_sentence(command, seen, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names, others = OPTIONS[command]
    wrong = []

    @seed(SEED)
    @settings(max_examples=math.ceil(LONGER * 40), database=None, deadline=None,
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(
        st.lists(st.tuples(st.sampled_from(names.split()), WORDS), min_size=1, max_size=2), st.lists(WORDS, max_size=1)
    )
    def try_odd_options(options, more):
        given = [word for option in options for word in option]
        done = CliRunner().invoke(main, [command, *others, *given, *(more if command in ("data", "run") else [])])
        fine = done.exception is None or isinstance(done.exception, SystemExit)
        fine = fine and done.exit_code in (0, 1, 2) and "Traceback" not in done.output
        seen["raw error" if not fine else "taken" if done.exit_code == 0 else "refused"] += 1
        wrong.extend([] if fine else [(given, repr(done.exception))])

    try_odd_options()
    assert len(wrong) < sum(seen.values()) / 20, wrong
