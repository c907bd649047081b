"""Grids of experiments: each run once, whatever is killed; and the table that comes out."""

import dataclasses
import errno
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner

from stepe_lite import cli, experiments, load, noise
from stepe_lite.experiments import plan, tables
from stepe_lite.experiments import runs as grid

TINY = {"model": "mlp", "subset": 300, "epochs": 6, "warmup": 1, "ramp": 2, "batch_size": 64, "lr": 0.05}


def noisy_digits(dataset, subset, seed, root):
    return load("digits").subset(subset, seed=seed).with_noise(noise.symmetric(0.4), seed=0)


RUNS = [("digits", "tiny", method, seed) for seed in (0, 1) for method in plan.METHODS]

# The same grid as a program. What is at its top level also holds in the processes that it starts.
PROGRAM = """
import sys
sys.path.insert(0, {tests!r})
from stepe_lite.experiments import plan, runs as grid
from test_grid import RUNS, TINY, failed_of, noisy_digits

plan.RECIPES["tiny"], grid._data, make = TINY, noisy_digits, grid._make

def logged(run, out):
    with open(out / "made.txt", "a") as file:
        file.write(f"{{run.name}}\\n")
    return make(run, out)

grid._make = logged
if __name__ == "__main__":
    sys.exit(len(failed_of(RUNS, sys.argv[1], jobs=int(sys.argv[2]))))
"""


def failed_of(which, out, jobs=1):
    """Make a grid; return the names of the runs that failed."""
    which = [grid.grid_run(run) for run in which]
    made = grid.make(which, out, jobs=jobs, progress=False)
    assert set(made) | set(grid.failures(which, out)) == {run.name for run in which}
    return [run.name for run in which if run.name not in made]


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    monkeypatch.setitem(plan.RECIPES, "tiny", TINY)
    monkeypatch.setattr(grid, "_data", noisy_digits)


@pytest.fixture(scope="module")
def program(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("program") / "program.py"
    path.write_text(PROGRAM.format(tests=str(request.path.parent)))
    return path


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of the whole grid, made without interruption in this process."""
    out = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(plan.RECIPES, "tiny", TINY)
        patch.setattr(grid, "_data", noisy_digits)
        assert failed_of(RUNS, out) == []
    return out


def read(path):
    return json.loads(path.read_text())


def start(program, out, jobs=1):
    return subprocess.Popen([sys.executable, program, out, str(jobs)], stderr=subprocess.PIPE, text=True)


def assert_same_results(one, other):
    """Bit for bit, but for the seconds."""
    tables = [experiments.collect(out).drop(columns="seconds_per_epoch").reset_index(drop=True) for out in (one, other)]
    pd.testing.assert_frame_equal(*tables, check_exact=True)
    for path in one.glob("*.npz"):
        a, b = np.load(path), np.load(other / path.name)
        assert np.array_equal(a["losses"], b["losses"]) and np.array_equal(a["weights"], b["weights"])


def test_every_preset_is_a_grid_of_known_parts():
    for name, preset in plan.PRESETS.items():
        runs = plan.runs_of(name)
        sizes = [len(preset[part]) for part in ("datasets", "recipes", "seeds")]
        assert len(set(runs)) == len(runs) == np.prod(sizes) * len(set().union(*preset["methods"]))
        assert {recipe for _, recipe, _, _ in runs} <= set(plan.RECIPES)
    with pytest.raises(ValueError, match=r"preset is 'spu'.*Did you mean 'cpu'"):
        plan.runs_of("spu")


def test_the_seeds_share_a_subset_unless_the_recipe_says_otherwise(monkeypatch):
    monkeypatch.setitem(plan.RECIPES, "shared", TINY)
    monkeypatch.setitem(plan.RECIPES, "apart", TINY | {"subset_by_seed": True})
    images = {
        (recipe, seed): grid.grid_run(("digits", recipe, "standard", seed)).arrange()["data"].images
        for recipe in ("shared", "apart")
        for seed in (0, 1)
    }
    assert torch.equal(images["shared", 0], images["shared", 1]) and torch.equal(
        images["shared", 0], images["apart", 0]
    )
    assert torch.equal(images["apart", 1], load("digits").subset(300, seed=1).images)
    assert not torch.equal(images["apart", 0], images["apart", 1])


def test_a_run_that_is_finished_is_not_made_again(finished):
    before = {path: path.stat().st_mtime_ns for path in finished.iterdir()}
    assert failed_of(RUNS, finished) == []
    assert {p: p.stat().st_mtime_ns for p in finished.iterdir() if p.suffix != ".lock"} == {
        p: t for p, t in before.items() if p.suffix != ".lock"
    }


def test_no_checkpoint_is_left(finished):
    assert not list(finished.glob("*.checkpoint")) and not list(finished.glob("*.error.json"))


def test_the_number_of_threads_is_left_as_it_was(finished):
    before = torch.get_num_threads()
    failed_of(RUNS[:1], finished)
    assert torch.get_num_threads() == before


def test_a_grid_killed_again_and_again_gives_the_same_table(program, finished, tmp_path):
    kills = 0
    while len(list(tmp_path.glob("*.npz"))) < len(RUNS):
        running, before = start(program, tmp_path), len(list(tmp_path.glob("*")))
        while running.poll() is None and len(list(tmp_path.glob("*"))) < before + 20:
            time.sleep(0.01)
        if running.poll() is None:
            running.send_signal(signal.SIGKILL)
            kills += 1
        running.communicate()
    running = start(program, tmp_path)
    assert running.wait() == 0, running.stderr.read()
    assert kills >= 2
    assert_same_results(finished, tmp_path)


def test_two_programs_and_their_helpers_share_a_folder_and_make_each_run_once(program, finished, tmp_path):
    both = [start(program, tmp_path, jobs=2), start(program, tmp_path, jobs=1)]
    for running in both:
        assert running.wait() == 0, running.stderr.read()
    made = (tmp_path / "made.txt").read_text().splitlines()
    assert sorted(made) == sorted("_".join(map(str, run)) for run in RUNS)
    assert_same_results(finished, tmp_path)


def test_a_failed_run_is_recorded_the_others_go_on_and_the_next_call_tries_again(monkeypatch, tmp_path):
    monkeypatch.setitem(plan.RECIPES, "wild", TINY | {"lr": 1e12})
    runs = [("digits", "wild", "standard", 0), ("digits", "tiny", "standard", 0)]
    assert failed_of(runs, tmp_path) == ["digits_wild_standard_0"]
    record = json.loads((tmp_path / "digits_wild_standard_0.error.json").read_text())
    assert "TrainingDiverged" in record["error"] and "epoch" in record["error"]
    assert list(experiments.collect(tmp_path).recipe) == ["tiny"]
    plan.RECIPES["wild"]["lr"] = 0.05
    (tmp_path / "digits_wild_standard_0.checkpoint").unlink(missing_ok=True)
    assert failed_of(runs, tmp_path) == []
    assert not list(tmp_path.glob("*.error.json"))


def test_when_all_runs_fail_the_reason_is_said(monkeypatch, tmp_path):
    monkeypatch.setitem(plan.RECIPES, "wild", TINY | {"lr": 1e12})
    monkeypatch.setitem(plan.PRESETS, "wild", {
        "datasets": ("digits",), "recipes": ("wild",), "methods": (("standard", "Step-E"),), "seeds": (0,),
    })  # fmt: skip
    result = CliRunner().invoke(cli.main, ["table", "--preset", "wild", "--out", str(tmp_path)])
    assert result.exit_code == 1
    assert result.output.count("failed: TrainingDiverged: the training loss is") == 2


def test_a_full_disk_ends_the_grid_at_once(monkeypatch, tmp_path):
    tried = []

    def fit(**arguments):
        tried.append(arguments)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(grid, "fit", fit)
    with pytest.raises(OSError, match="No space left"):
        failed_of(RUNS, tmp_path)
    assert len(tried) == 1


def test_a_clock_that_runs_behind_does_not_make_a_failing_run_go_on_for_ever(monkeypatch, tmp_path):
    write, tried = grid.write_record, []

    def behind(path, record):
        write(path, record)
        os.utime(path, (1_000_000, 1_000_000))

    monkeypatch.setattr(grid, "write_record", behind)
    monkeypatch.setattr(grid, "fit", lambda **arguments: tried.append(1) or 1 / 0)
    assert failed_of(RUNS[:2], tmp_path) == ["digits_tiny_standard_0", "digits_tiny_standard, early-stopped_0"]
    assert len(tried) == 2


def test_a_checkpoint_of_another_recipe_or_a_damaged_one_is_begun_anew(monkeypatch, finished, tmp_path):
    run = RUNS[:1]
    monkeypatch.setitem(plan.RECIPES, "tiny", TINY | {"lr": 0.01})
    real, name = grid.fit, "digits_tiny_standard_0"

    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(grid.History, "save", stop)
    with pytest.raises(KeyboardInterrupt):
        failed_of(run, tmp_path)
    monkeypatch.undo()
    monkeypatch.setitem(plan.RECIPES, "tiny", TINY)
    monkeypatch.setattr(grid, "_data", noisy_digits)
    assert (tmp_path / f"{name}.checkpoint").exists() and grid.fit is real
    assert failed_of(run, tmp_path) == []
    assert (
        read(tmp_path / f"{name}.json")["log"]["test_accuracy"]
        == read(finished / f"{name}.json")["log"]["test_accuracy"]
    )
    (tmp_path / f"{name}.json").unlink()
    (tmp_path / f"{name}.checkpoint").write_bytes(b"no checkpoint")
    assert failed_of(run, tmp_path) == []


def test_what_another_process_is_writing_is_no_record(finished, tmp_path):
    shutil.copytree(finished, tmp_path / "grid")
    (tmp_path / "grid" / ".digits_tiny_step-e_1.host-1-00000000.partial.json").write_text('{"run": [')
    assert len(experiments.collect(tmp_path / "grid")) == len(RUNS)


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs /proc")
def test_helpers_end_with_the_first_process_even_if_that_is_killed(program, tmp_path):
    running = start(program, tmp_path, jobs=2)
    while len(list(tmp_path.glob("*.lock"))) < 2:
        assert running.poll() is None
        time.sleep(0.05)
    running.send_signal(signal.SIGKILL)
    running.communicate()
    for _ in range(200):
        left = [path for path in Path("/proc").glob("[0-9]*/environ") if _works_on(path.parent, program)]
        if not left:
            break
        time.sleep(0.1)
    assert not left


def _works_on(process, program):
    try:
        return (
            str(program.parent).encode() in (process / "cmdline").read_bytes() + os.readlink(process / "cwd").encode()
        )
    except OSError:
        return False


def test_early_stopping_is_decided_on_noisy_labels_that_were_not_trained_on():
    arguments = grid.grid_run(("digits", "tiny", "standard, early-stopped", 0)).arrange()
    data, validation = arguments["data"], arguments["validation"]
    assert len(validation) == 30 and len(data) == 270
    assert validation.is_mislabeled.any()


def test_only_early_stopping_has_an_early_stopped_accuracy(finished):
    runs = experiments.collect(finished)
    stopped = runs[runs.accuracy_early_stopped.notna()]
    assert set(stopped.method) == {"standard, early-stopped"}
    assert (stopped.accuracy_early_stopped <= stopped.accuracy_best).all()


def test_the_control_takes_as_many_steps_as_step_e(finished):
    steps = experiments.collect(finished).set_index(["method", "seed"]).steps
    assert steps["standard, equal steps"].tolist() == steps["Step-E"].tolist() < steps["standard"].tolist()


def test_a_record_says_what_made_it(finished):
    record = json.loads((finished / "digits_tiny_step-e_1.json").read_text())
    assert record["config"]["seed"] == 1 and record["config"]["rule"].startswith("StepE(linear(warmup=1, ramp=2")
    assert record["versions"]["torch"] == torch.__version__ and record["device"] and record["date"]
    assert len(record["log"]["test_accuracy"]) == TINY["epochs"]
    result = record["result"]
    assert result["f1"] == pytest.approx(2 / (1 / result["precision"] + 1 / result["recall"]))
    assert result["excluded_fraction"] == pytest.approx(0.4)


def test_the_table_of_unfinished_runs_says_so_and_keeps_the_paper_apart(finished):
    runs = experiments.collect(finished).assign(dataset="cifar100n")
    table = experiments.table(runs[runs.method.isin(["standard", "Step-E"])], "cifar100n", "tiny")
    assert table.loc["self-paced", "accuracy"] == "not run yet" and table.loc["self-paced", "seeds"] == "0"
    assert table.loc["Step-E", "paper"] == "50.4 ± 0.9" and table.loc["self-paced", "paper"] == ""
    mean = 100 * runs[runs.method == "Step-E"].accuracy_last.mean()
    assert table.loc["Step-E", "accuracy"].startswith(f"{mean:.1f} ±")


def test_a_grid_without_early_stopping_has_a_table(finished, tmp_path):
    for path in finished.glob("digits_tiny_st*[!d]_[01].json"):
        if "standard" not in path.name:  # Step-E and its kind
            shutil.copy(path, tmp_path)
    for seed in (0, 1):
        shutil.copy(finished / f"digits_tiny_standard_{seed}.json", tmp_path)
    runs = experiments.collect(tmp_path)
    assert runs.accuracy_early_stopped.isna().all() and runs.accuracy_early_stopped.dtype == float
    assert "nan" not in experiments.text(runs).lower() and "[" in experiments.text(runs)  # an interval


def test_the_table_shows_the_accuracy_at_the_epoch_that_validation_chose(finished):
    runs = experiments.collect(finished)
    chosen = runs[runs.method == "standard, early-stopped"].accuracy_early_stopped.mean()
    shown = experiments.table(runs, "digits", "tiny").loc["standard, early-stopped", "accuracy"]
    assert shown.startswith(f"{100 * chosen:.1f} ±")


def test_what_is_saved_is_small_and_reads_back(finished, monkeypatch, tmp_path):
    monkeypatch.setitem(plan.PRESETS, "tiny", {
        "datasets": ("digits",), "recipes": ("tiny",), "methods": (tuple(plan.METHODS),), "seeds": (0, 1),
    })  # fmt: skip
    monkeypatch.setattr(tables, "SAMPLES", 100)
    experiments.save(finished, "tiny", tmp_path)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 100_000
    again = tmp_path / "again"
    experiments.save(finished, "tiny", again)
    for path in again.iterdir():
        assert path.read_bytes() == (tmp_path / path.name).read_bytes(), path.name
    runs = experiments.collect(finished).reset_index(drop=True)
    pd.testing.assert_frame_equal(experiments.collect(tmp_path / "tiny.csv"), runs, check_exact=False, atol=1e-6)
    kept = json.loads((tmp_path / "tiny.json").read_text())
    assert kept["finished"] == f"{len(RUNS)} of {len(RUNS)} runs" and kept["recipes"]["tiny"] == TINY
    with np.load(tmp_path / "tiny_digits_tiny.npz") as file:
        assert file["losses"].dtype == np.float16 and file["losses"].shape == (TINY["epochs"], 100)
        assert math.isclose((file["labels"] != file["clean_labels"]).mean(), 0.4, abs_tol=0.1)
    logs = experiments.logs(tmp_path / "tiny-runs.tar.xz")
    assert len(logs) == sum(len(record["log"]["steps"]) for record in map(read, finished.glob("*.json")))
    last = logs[(logs.method == "Step-E") & (logs.seed == 1) & (logs.epoch == TINY["epochs"] - 1)]
    assert last.precision.item() == runs[(runs.method == "Step-E") & (runs.seed == 1)].precision.item()


def test_the_kept_archive_unpacked_is_a_finished_grid(finished, monkeypatch, tmp_path):
    monkeypatch.setitem(plan.PRESETS, "tiny", {
        "datasets": ("digits",), "recipes": ("tiny",), "methods": (tuple(plan.METHODS),), "seeds": (0, 1),
    })  # fmt: skip
    experiments.save(finished, "tiny", tmp_path / "kept")
    shutil.unpack_archive(tmp_path / "kept" / "tiny-runs.tar.xz", tmp_path / "grid")
    monkeypatch.setattr(grid, "fit", lambda *_, **__: 1 / 0)
    assert failed_of(RUNS, tmp_path / "grid") == []
    assert_same_results(tmp_path / "grid", finished)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["table"], "--preset is missing; choose one of smoke, cpu, calibrate, paper"),
        (["table", "--preset", "spu"], "Did you mean 'cpu'"),
        (["table", "--preset", "smoke", "--jobs", "0"], "jobs is 0"),
    ],
)
def test_bad_arguments_are_refused(arguments, said):
    result = CliRunner().invoke(cli.main, arguments)
    assert result.exit_code == 2 and said in result.output


def test_show_prints_what_is_there_and_runs_nothing(finished):
    before = sorted(finished.iterdir())
    result = CliRunner().invoke(cli.main, ["table", "--show", str(finished)])
    assert result.exit_code == 0 and "oracle by removal" in result.output
    assert sorted(finished.iterdir()) == before


def test_a_saved_table_is_shown_and_cannot_be_saved_from(finished, monkeypatch, tmp_path):
    monkeypatch.setitem(plan.PRESETS, "tiny", {
        "datasets": ("digits",), "recipes": ("tiny",), "methods": (tuple(plan.METHODS),), "seeds": (0, 1),
    })  # fmt: skip
    experiments.save(finished, "tiny", tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    show = CliRunner().invoke(cli.main, ["table", "--show", str(tmp_path / "tiny.csv")])
    assert show.exit_code == 0 and "one-shot" in show.output
    with pytest.raises(ValueError, match="must be the folder of a grid with finished runs"):
        experiments.save(tmp_path / "tiny.csv", "tiny", tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_runs_of_another_recipe_are_not_taken_for_these(finished, monkeypatch):
    monkeypatch.setitem(plan.RECIPES, "tiny", TINY | {"lr": 0.01})
    with pytest.raises(ValueError, match=r"out holds .*, which was made with lr 0.05, not 0.01: take another folder"):
        failed_of(RUNS, finished)


@pytest.mark.parametrize(
    ("name", "text"), [("report.json", '{"notebooks": []}'), ("half.json", '{"run": ['), ("other.csv", "a,b\n1,2\n")]
)
def test_what_is_no_record_is_named(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    out = tmp_path / name if name.endswith(".csv") else tmp_path
    result = CliRunner().invoke(cli.main, ["table", "--show", str(out)])
    assert result.exit_code == 2 and name in result.output and "no " in result.output


NO_RECORDS = {
    "empty": "", "list": "[]", "null": "null", "number": "5", "cut": '{"run": ["a"', "bytes": "\\xff",
    "run": '{"run": 5, "config": {}, "result": {}, "log": {}}', "no result": '{"run": ["a", "b", "c", 0]}',
    "text for a number": '{"run": ["a", "b", "c", 0], "config": {}, "log": {}, "result": {"accuracy_last": "x"}}',
}  # fmt: skip


@pytest.mark.parametrize("text", NO_RECORDS.values(), ids=NO_RECORDS)
def test_a_record_that_is_none_is_named(tmp_path, text):
    run = grid.grid_run(RUNS[0])
    run.path(tmp_path).write_text(text)
    for read in (lambda: experiments.collect(tmp_path), lambda: grid.make([run], tmp_path, progress=False)):
        with pytest.raises(ValueError, match=rf"{run.path(tmp_path).name}' is no record of a run"):
            read()


def test_a_figure_that_was_changed_is_noticed_and_older_records_are_taken(finished, tmp_path):
    path = shutil.copy(finished / "digits_tiny_standard_0.json", tmp_path)
    record = read(Path(path))
    del record["sha256"]
    Path(path).write_text(json.dumps(record))
    assert len(experiments.collect(tmp_path)) == 1
    shutil.copy(finished / "digits_tiny_standard_0.json", tmp_path)
    record = read(Path(path))
    record["result"]["accuracy_last"] += 0.01
    Path(path).write_text(json.dumps(record))
    with pytest.raises(ValueError, match=r"digits_tiny_standard_0\.json' is a record of a run that was changed"):
        experiments.collect(tmp_path)


@pytest.mark.parametrize("cut", [0, 30, 500, -1, -4])
def test_half_a_table_is_refused(tmp_path, cut):
    whole = Path(__file__).parents[1] / "notebooks" / "results" / "cpu.csv"
    (tmp_path / "half.csv").write_bytes(whole.read_bytes()[:cut])
    with pytest.raises(ValueError, match=r"half\.csv' is no table of dataset, .*its last line is cut off"):
        experiments.collect(tmp_path / "half.csv")


def test_a_table_with_text_for_a_number_is_refused(tmp_path):
    (tmp_path / "text.csv").write_text(
        ",".join(tables.COLUMNS) + "\n" + "cifar100n,small_cnn,standard,zero" + "," * 12 + "\n"
    )
    with pytest.raises(ValueError, match="the column 'seed' has what is no number"):
        experiments.collect(tmp_path / "text.csv")


@pytest.mark.parametrize(
    ("run", "said"),
    [
        (("digits", "nope", "standard", 0), "recipe is 'nope'"), (("digits", "smoke"), "must be .data set, recipe,"),
        (5, "run is 5"), (("digit", "smoke", "standard", 0), "Did you mean 'digits'"),
        (("digits", "smoke", "standard", "0"), "seed is '0'"),
    ],
)  # fmt: skip
def test_what_is_no_run_is_refused(run, said):
    with pytest.raises(ValueError, match=said):
        experiments.grid_run(run)


@pytest.mark.cifar
def test_the_smoke_preset_on_the_real_files(monkeypatch, cifar_folder, tmp_path):
    monkeypatch.undo()  # the real `_data`
    arguments = ["table", "--preset", "smoke", "--out", tmp_path, "--root", cifar_folder, "--jobs", "2"]
    result = CliRunner().invoke(cli.main, list(map(str, arguments)))
    assert result.exit_code == 0, result.output
    assert "not run yet" not in result.output
    runs = experiments.collect(tmp_path).set_index("method")
    assert len(runs) == len(plan.METHODS)
    assert runs.precision["oracle by removal"] == runs.recall["oracle by removal"] == 1
    assert runs.accuracy_last["oracle by clean labels"] > runs.accuracy_last["random exclusion"]


@pytest.mark.cifar
@pytest.mark.parametrize(
    ("preset", "recipe", "methods"),
    [
        ("paper", "resnet18-30-crop", ["standard", "standard, averaged weights", "standard, early-stopped", "Step-E"]),
        ("cifar-stem", "resnet18-cifar", ["standard", "Step-E, estimated fraction"]),
        ("calibrate", "resnet18-30-crop", ["standard", "oracle by clean labels"]),
    ],
)
def test_the_presets_with_resnet18_run_at_tiny_size(monkeypatch, cifar_folder, tmp_path, preset, recipe, methods):
    small = plan.RECIPES[recipe] | {"subset": 100, "epochs": 3, "warmup": 1, "ramp": 1, "batch_size": 32}
    monkeypatch.setitem(plan.RECIPES, recipe, small)
    whole = load("cifar100n", cifar_folder)
    few = dataclasses.replace(whole, test_images=whole.test_images[:50], test_labels=whole.test_labels[:50])
    monkeypatch.setattr(grid, "_data", lambda dataset, subset, seed, root: few.subset(subset, seed=seed))
    made = [run for run in plan.runs_of(preset) if run[:2] == ("cifar100n", recipe) and run[3] == 0]
    assert {method for _, _, method, _ in made} >= set(methods)
    assert failed_of([run for run in made if run[2] in methods], tmp_path) == []
    table = experiments.text(experiments.collect(tmp_path), preset)
    assert f"cifar10n-aggre, recipe {recipe}" in table and "not run yet" in table
    assert ("random exclusion" in table) == (preset != "calibrate")
