"""Files that are whole or absent, whatever is killed, planted or done twice at once."""

import os
import re
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from filelock import FileLock

from stepe_lite import (
    Dataset,
    Everything,
    History,
    Ledger,
    course,
    datasets,
    experiments,
    losses,
    review,
    utils,
)
from stepe_lite.datasets import audit as auditing
from stepe_lite.datasets import sources
from stepe_lite.experiments import bench, runs
from stepe_lite.history import Checkpoint
from stepe_lite.utils import BadInput, as_tensor, only_one, scratch_folder, written_beside

# Says that it has begun, and then waits to be killed.
WRITER = """
import sys, time
from stepe_lite.utils import folder_beside, scratch_folder, written_beside
with {block} as partial:
    print(partial, flush=True)
    time.sleep(600)
"""
BLOCKS = {
    "written_beside": lambda folder: f"written_beside({str(folder / 'out.csv')!r})",
    "folder_beside": lambda folder: f"folder_beside({str(folder / 'copy')!r})",
    "scratch_folder": lambda folder: f"scratch_folder({str(folder)!r})",
}


@pytest.mark.parametrize("name", BLOCKS)
def test_what_a_killed_process_left_is_cleared_away_by_the_next_one(tmp_path, name):
    block = BLOCKS[name](tmp_path)
    writer = subprocess.Popen([sys.executable, "-c", WRITER.format(block=block)], stdout=subprocess.PIPE, text=True)
    left = Path(writer.stdout.readline().strip())
    with eval(block, vars(utils)):  # whoever is alive may still want it
        assert left.exists()
    (tmp_path / "copy").exists() and (tmp_path / "copy").rmdir()
    writer.send_signal(signal.SIGKILL)
    writer.communicate()
    assert left.exists()
    with eval(block, vars(utils)):
        assert not left.exists()
    assert not [path for path in tmp_path.iterdir() if ".partial" in path.name]


def test_a_writer_that_fails_leaves_the_old_file(tmp_path):
    path = tmp_path / "out.txt"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), written_beside(path) as partial:
        partial.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_the_name_of_a_partial_file_cannot_be_foretold_and_no_link_is_followed(tmp_path, monkeypatch):
    victim, path = tmp_path / "victim", tmp_path / "out.txt"
    victim.write_text("precious")
    names = set()
    for _ in range(5):
        with written_beside(path) as partial:
            names.add(partial.name)
    assert len(names) == 5
    monkeypatch.setattr("stepe_lite.utils.secrets.token_hex", lambda n: "00000000")  # as if it had been guessed
    with written_beside(path) as partial:
        pass
    partial.symlink_to(victim)
    with pytest.raises(FileExistsError), written_beside(path) as guessed:
        guessed.write_text("overwritten")
    assert victim.read_text() == "precious"


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o755])
def test_a_file_keeps_its_mode(tmp_path, mode):
    path = tmp_path / "out.txt"
    path.write_text("old")
    path.chmod(mode)
    with written_beside(path) as partial:
        partial.write_text("new")
    assert stat.S_IMODE(path.stat().st_mode) == mode and path.read_text() == "new"


def at_once(function, times=8):
    """Call `function` in so many threads that begin together; what it raised."""
    ready, raised = threading.Barrier(times), []

    def call():
        ready.wait()
        try:
            function()
        except Exception as error:
            raised.append(error)

    threads = [threading.Thread(target=call) for _ in range(times)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    return raised


def test_many_threads_may_save_one_path(tmp_path):
    losses = torch.rand(3, 40)
    config = {"rule": "Everything()", "data": "x"}
    history = History(losses, torch.ones(3, 40), pd.DataFrame({"steps": [1, 1, 1]}), config)
    for _ in range(5):
        assert at_once(lambda: history.save(tmp_path / "history.npz")) == []
    assert torch.equal(History.load(tmp_path / "history.npz").losses, losses)
    assert os.listdir(tmp_path) == ["history.npz"]


def test_only_one_holds_a_lock_be_it_a_thread(tmp_path):
    with only_one("out is 'x'", tmp_path / ".lock"):
        (refused, *_) = at_once(lambda: only_one("out is 'x'", tmp_path / ".lock").__enter__(), 2)
    assert isinstance(refused, OSError) and str(refused).startswith("out is 'x', which another process is writing")
    with only_one("out is 'x'", tmp_path / ".lock"):
        pass


def test_a_lock_does_not_empty_what_a_planted_link_names(tmp_path):
    """filelock before 3.20.1 did (CVE-2025-68146), so our bound is above it."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "run.lock").symlink_to(victim)
    try:
        with FileLock(tmp_path / "run.lock", timeout=0):
            pass
    except OSError:
        pass
    assert victim.read_text() == "precious"


def test_a_download_that_was_killed_is_cleared_away_by_the_next(tmp_path, monkeypatch):
    with scratch_folder(tmp_path) as mine:
        name = mine.name.replace(f"-{os.getpid()}-", "-4194305-")  # of a process that cannot be
    (tmp_path / name / "raw").mkdir(parents=True)
    monkeypatch.setattr(sources, "reader", lambda base: lambda *_, **__: (_ for _ in ()).throw(OSError("no network")))
    monkeypatch.setattr(sources, "check", lambda folder, name: {"FashionMNIST/raw/x": "missing"})
    with pytest.raises(datasets.MissingData, match="no network"):
        sources.fetch("fashion-mnist", tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", [None, 3, b"x", "a\0b", ["x"]], ids=str)
def test_what_is_no_path_is_refused(path):
    with pytest.raises(BadInput, match=r"^path is .* but must be a path\.$"):
        History.load(path)


def test_a_series_with_an_index_of_its_own_is_refused_and_one_without_is_numbers():
    assert as_tensor("mask", pd.Series([True, False])).tolist() == [True, False]
    for index in ([1, 0], [7, 8], ["a", "b"]):
        with pytest.raises(BadInput, match="mask is a Series with an index of its own"):
            as_tensor("mask", pd.Series([True, False], index=index))


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (np.ma.masked_array([0.5, 1.0], [0, 1]), "masked at 1"),
        (np.array([0.5, 1j]), "complex"),
        (torch.tensor([0.5, 1j]), "complex"),
        (torch.eye(2).to_sparse(), "sparse"),
        (torch.eye(2, device="meta"), "on the device meta"),
    ],
    ids=["masked", "complex array", "complex tensor", "sparse", "meta"],
)
@pytest.mark.parametrize("dtype", [None, torch.float32], ids=str)
def test_numbers_that_would_lose_a_part_are_refused(value, said, dtype):
    with pytest.raises(BadInput, match=f"^losses is {said}, but must"):
        as_tensor("losses", value, dtype)


# What reads a file; a named pipe that nobody writes to would be waited for for ever.
READERS = {
    "History.load": History.load,
    "from_csv": Dataset.from_csv,
    "Review.from_csv": lambda path: review.Review.from_csv(path, ["a", "b"]),
    "audit": auditing.audit,
    "checkpoint": lambda path: Checkpoint(path, Everything(), losses.cross_entropy),
    "a table": lambda path: experiments.collect(path),
    "a record": runs.read_record,
    "notebook": lambda path: course.run([path], out=path.parent / "out"),
    "mark": lambda path: course.mark([path], progress=False),
}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes")
@pytest.mark.parametrize("name", READERS)
def test_a_named_pipe_is_refused_and_not_waited_for(name, tmp_path):
    path = tmp_path / {"notebook": "01_x.ipynb", "mark": "01_x.ipynb"}.get(name, "x.csv")
    os.mkfifo(path)

    def hangs(*_):
        raise AssertionError("it waits")

    before = signal.signal(signal.SIGALRM, hangs)
    signal.alarm(20)
    try:
        with pytest.raises(BadInput, match=re.escape(str(path))):
            READERS[name](path)
    finally:
        signal.alarm(0), signal.signal(signal.SIGALRM, before)


# Each takes True or False where `flag` stands; nothing runs.
FLAGS = {
    "last": lambda flag, out: Ledger(4, Everything()).end_epoch(last=flag),
    "solutions": lambda flag, out: course.handout(out / "x", ["01"], solutions=flag),
    "html": lambda flag, out: course.run(["01"], out=out, html=flag, jobs=0),
    "save": lambda flag, out: course.run(["01"], out=out, save=flag, jobs=0),
    "quick": lambda flag, out: bench.run(out / "x.csv", repeats=0, quick=flag),
    "progress": lambda flag, out: experiments.make([], out, progress=flag),
    "skip_unreadable": lambda flag, out: Dataset.from_folder(out, skip_unreadable=flag),
    "allow_empty": lambda flag, out: Dataset.from_folder(out, allow_empty=flag),
}


@pytest.mark.parametrize("name", FLAGS)
@pytest.mark.parametrize("value", ["no", "False", 0, None], ids=repr)
def test_a_flag_is_true_or_false_and_no_text(name, value, tmp_path):
    with pytest.raises(BadInput, match=f"^{name} is {value!r}, but must be True or False"):
        FLAGS[name](value, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", [None, "text", {}, [[1], [1, 2]], Path, 10**30], ids=str)
def test_what_is_no_number_is_refused_in_one_line(value):
    with pytest.raises(BadInput, match=r"^losses is .*but must be numbers") as refusal:
        as_tensor("losses", value)
    assert "\n" not in str(refusal.value)
