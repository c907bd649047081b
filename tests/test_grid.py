"""Grids of experiments: each run once, whatever is killed; and the table that comes out."""

import dataclasses
import json
import math
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner

from stepe_lite import cli, grid, load, noise, presets, results

TINY = {"model": "mlp", "subset": 300, "epochs": 6, "warmup": 1, "ramp": 2, "batch_size": 64, "lr": 0.05}


def noisy_digits(dataset, subset, root):
    return load("digits").subset(subset, seed=0).with_noise(noise.symmetric(0.4), seed=0)


RUNS = [("digits", "tiny", method, seed) for seed in (0, 1) for method in presets.METHODS]

# The same grid as a program. What is at its top level also holds in the processes that it starts.
PROGRAM = """
import sys
sys.path.insert(0, {tests!r})
from stepe_lite import grid, presets
from test_grid import RUNS, TINY, noisy_digits

presets.RECIPES["tiny"], grid._data, make = TINY, noisy_digits, grid._make

def logged(run, out, root):
    with open(out / "made.txt", "a") as file:
        file.write(f"{{run}}\\n")
    make(run, out, root)

grid._make = logged
if __name__ == "__main__":
    sys.exit(len(grid.run(RUNS, sys.argv[1], jobs=int(sys.argv[2]), progress=False)))
"""


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    monkeypatch.setitem(presets.RECIPES, "tiny", TINY)
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
        patch.setitem(presets.RECIPES, "tiny", TINY)
        patch.setattr(grid, "_data", noisy_digits)
        assert grid.run(RUNS, out, progress=False) == []
    return out


def read(path):
    return json.loads(path.read_text())


def start(program, out, jobs=1):
    return subprocess.Popen([sys.executable, program, out, str(jobs)], stderr=subprocess.PIPE, text=True)


def assert_same_results(one, other):
    """Bit for bit, but for the seconds."""
    tables = [results.collect(out).drop(columns="seconds_per_epoch").reset_index(drop=True) for out in (one, other)]
    pd.testing.assert_frame_equal(*tables, check_exact=True)
    for path in one.glob("*.npz"):
        a, b = np.load(path), np.load(other / path.name)
        assert np.array_equal(a["losses"], b["losses"]) and np.array_equal(a["weights"], b["weights"])


def test_every_preset_is_a_grid_of_known_parts():
    for name, preset in presets.PRESETS.items():
        runs = presets.runs_of(name)
        assert len(set(runs)) == len(runs) == np.prod([len(preset[part]) for part in preset])
        assert {recipe for _, recipe, _, _ in runs} <= set(presets.RECIPES)
    with pytest.raises(ValueError, match=r"preset is 'spu'.*Did you mean 'cpu'"):
        presets.runs_of("spu")


def test_a_run_that_is_finished_is_not_made_again(finished):
    before = {path: path.stat().st_mtime_ns for path in finished.iterdir()}
    assert grid.run(RUNS, finished, progress=False) == []
    assert {p: p.stat().st_mtime_ns for p in finished.iterdir() if p.suffix != ".lock"} == {
        p: t for p, t in before.items() if p.suffix != ".lock"
    }


def test_no_checkpoint_is_left(finished):
    assert not list(finished.glob("*.checkpoint")) and not list(finished.glob("*.error.json"))


def test_the_number_of_threads_is_left_as_it_was(finished):
    before = torch.get_num_threads()
    grid.run(RUNS[:1], finished, progress=False)
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
    assert sorted(made) == sorted(map(str, RUNS))
    assert_same_results(finished, tmp_path)


def test_a_failed_run_is_recorded_the_others_go_on_and_the_next_call_tries_again(monkeypatch, tmp_path):
    monkeypatch.setitem(presets.RECIPES, "wild", TINY | {"lr": 1e12})
    runs = [("digits", "wild", "standard", 0), ("digits", "tiny", "standard", 0)]
    assert grid.run(runs, tmp_path, progress=False) == ["digits_wild_standard_0"]
    record = json.loads((tmp_path / "digits_wild_standard_0.error.json").read_text())
    assert "TrainingDiverged" in record["error"] and "epoch" in record["error"]
    assert list(results.collect(tmp_path).recipe) == ["tiny"]
    presets.RECIPES["wild"]["lr"] = 0.05
    (tmp_path / "digits_wild_standard_0.checkpoint").unlink(missing_ok=True)
    assert grid.run(runs, tmp_path, progress=False) == []
    assert not list(tmp_path.glob("*.error.json"))


def test_early_stopping_is_decided_on_noisy_labels_that_were_not_trained_on():
    data, validation, *_ = grid.arrange(("digits", "tiny", "standard, early-stopped", 0))
    assert len(validation) == 30 and len(data) == 270
    assert validation.is_mislabeled.any()


def test_only_early_stopping_has_an_early_stopped_accuracy(finished):
    runs = results.collect(finished)
    stopped = runs[runs.accuracy_early_stopped.notna()]
    assert set(stopped.method) == {"standard, early-stopped"}
    assert (stopped.accuracy_early_stopped <= stopped.accuracy_best).all()


def test_the_control_takes_as_many_steps_as_step_e(finished):
    steps = results.collect(finished).set_index(["method", "seed"]).steps
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
    runs = results.collect(finished).assign(dataset="cifar100n")
    table = results.table(runs[runs.method.isin(["standard", "Step-E"])], "cifar100n", "tiny")
    assert table.loc["self-paced", "accuracy"] == "not run yet" and table.loc["self-paced", "seeds"] == "0"
    assert table.loc["Step-E", "paper"] == "50.4 ± 0.9" and table.loc["self-paced", "paper"] == ""
    mean = 100 * runs[runs.method == "Step-E"].accuracy_last.mean()
    assert table.loc["Step-E", "accuracy"].startswith(f"{mean:.1f} ±")
    assert table.loc["standard", "time an epoch"] == "1.00"


def test_the_table_shows_the_accuracy_at_the_epoch_that_validation_chose(finished):
    runs = results.collect(finished)
    chosen = runs[runs.method == "standard, early-stopped"].accuracy_early_stopped.mean()
    shown = results.table(runs, "digits", "tiny").loc["standard, early-stopped", "accuracy"]
    assert shown.startswith(f"{100 * chosen:.1f} ±")


def test_what_is_saved_is_small_and_reads_back(finished, monkeypatch, tmp_path):
    monkeypatch.setitem(presets.PRESETS, "tiny", {
        "datasets": ("digits",), "recipes": ("tiny",), "methods": presets.METHODS, "seeds": (0, 1),
    })  # fmt: skip
    monkeypatch.setattr(results, "SAMPLES", 100)
    results.save(finished, "tiny", tmp_path)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 100_000
    again = tmp_path / "again"
    results.save(finished, "tiny", again)
    for path in again.iterdir():
        assert path.read_bytes() == (tmp_path / path.name).read_bytes(), path.name
    runs = results.collect(finished).reset_index(drop=True)
    pd.testing.assert_frame_equal(results.collect(tmp_path / "tiny.csv"), runs, check_exact=False, atol=1e-6)
    kept = json.loads((tmp_path / "tiny.json").read_text())
    assert kept["finished"] == f"{len(RUNS)} of {len(RUNS)} runs" and kept["recipes"]["tiny"] == TINY
    with np.load(tmp_path / "tiny_digits_tiny.npz") as file:
        assert file["losses"].dtype == np.float16 and file["losses"].shape == (TINY["epochs"], 100)
        assert math.isclose((file["labels"] != file["clean_labels"]).mean(), 0.4, abs_tol=0.1)
    logs = results.logs(tmp_path / "tiny-runs.tar.xz")
    assert len(logs) == sum(len(record["log"]["steps"]) for record in map(read, finished.glob("*.json")))
    last = logs[(logs.method == "Step-E") & (logs.seed == 1) & (logs.epoch == TINY["epochs"] - 1)]
    assert last.precision.item() == runs[(runs.method == "Step-E") & (runs.seed == 1)].precision.item()


def test_the_kept_archive_unpacked_is_a_finished_grid(finished, monkeypatch, tmp_path):
    monkeypatch.setitem(presets.PRESETS, "tiny", {
        "datasets": ("digits",), "recipes": ("tiny",), "methods": presets.METHODS, "seeds": (0, 1),
    })  # fmt: skip
    results.save(finished, "tiny", tmp_path / "kept")
    shutil.unpack_archive(tmp_path / "kept" / "tiny-runs.tar.xz", tmp_path / "grid")
    monkeypatch.setattr(grid, "fit", lambda *_, **__: 1 / 0)
    assert grid.run(RUNS, tmp_path / "grid", progress=False) == []
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
    monkeypatch.setitem(presets.PRESETS, "tiny", {
        "datasets": ("digits",), "recipes": ("tiny",), "methods": presets.METHODS, "seeds": (0, 1),
    })  # fmt: skip
    results.save(finished, "tiny", tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    show = CliRunner().invoke(cli.main, ["table", "--show", str(tmp_path / "tiny.csv")])
    assert show.exit_code == 0 and "one-shot" in show.output
    with pytest.raises(ValueError, match="must be the folder of a grid with finished runs"):
        results.save(tmp_path / "tiny.csv", "tiny", tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_runs_of_another_recipe_are_not_taken_for_these(finished, monkeypatch):
    monkeypatch.setitem(presets.RECIPES, "tiny", TINY | {"lr": 0.01})
    with pytest.raises(ValueError, match=r"out holds .*, made with .*'lr': 0.05.* but its recipe is .*'lr': 0.01"):
        grid.run(RUNS, finished, progress=False)


@pytest.mark.parametrize(
    ("name", "text"), [("report.json", '{"notebooks": []}'), ("half.json", '{"run": ['), ("other.csv", "a,b\n1,2\n")]
)
def test_what_is_no_record_is_named(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    out = tmp_path / name if name.endswith(".csv") else tmp_path
    result = CliRunner().invoke(cli.main, ["table", "--show", str(out)])
    assert result.exit_code == 2 and name in result.output and "no " in result.output


@pytest.mark.cifar
def test_the_smoke_preset_on_the_real_files(monkeypatch, cifar_folder, tmp_path):
    monkeypatch.undo()  # the real `_data`
    arguments = ["table", "--preset", "smoke", "--out", tmp_path, "--root", cifar_folder, "--jobs", "2"]
    result = CliRunner().invoke(cli.main, list(map(str, arguments)))
    assert result.exit_code == 0, result.output
    assert "not run yet" not in result.output
    runs = results.collect(tmp_path).set_index("method")
    assert len(runs) == len(presets.METHODS)
    assert runs.precision["oracle by removal"] == runs.recall["oracle by removal"] == 1
    assert runs.accuracy_last["oracle by clean labels"] > runs.accuracy_last["random exclusion"]


@pytest.mark.cifar
@pytest.mark.parametrize(
    ("preset", "recipe", "methods"),
    [
        ("paper", "resnet18-imagenet", ["standard", "standard, early-stopped", "Step-E", "Step-E, estimated fraction"]),
        ("paper", "resnet18-cifar", ["standard", "Step-E"]),
        ("calibrate", "calibrate-20-plain", ["standard", "oracle by clean labels"]),
    ],
)
def test_the_presets_for_a_gpu_run_on_a_cpu_at_tiny_size(monkeypatch, cifar_folder, tmp_path, preset, recipe, methods):
    small = presets.RECIPES[recipe] | {"subset": 100, "epochs": 3, "warmup": 1, "ramp": 1, "batch_size": 32}
    monkeypatch.setitem(presets.RECIPES, recipe, small)
    whole = load("cifar100n", cifar_folder)
    few = dataclasses.replace(whole, test_images=whole.test_images[:50], test_labels=whole.test_labels[:50])
    monkeypatch.setattr(grid, "_data", lambda dataset, subset, root: few.subset(subset, seed=0))
    runs = [run for run in presets.runs_of(preset) if run[:2] == ("cifar100n", recipe) and run[3] == 0]
    assert {method for _, _, method, _ in runs} >= set(methods)
    assert grid.run([run for run in runs if run[2] in methods], tmp_path, progress=False) == []
    table = results.text(results.collect(tmp_path), preset)
    assert f"cifar10n-aggre, recipe {recipe}" in table and "not run yet" in table
    assert ("random exclusion" in table) == (preset == "paper")
