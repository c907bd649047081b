"""A grid of runs on somebody else's workers: anything with `submit`, Dask's that die included."""

import concurrent.futures
import json
import os
import signal
import time
from functools import partial

import numpy as np
import pytest
from click.testing import CliRunner

from stepe_lite import Everything, StepE, cli, load, noise, schedules
from stepe_lite.experiments import plan
from stepe_lite.experiments import runs as grid

DATA = load("digits").subset(300, seed=0).with_noise(noise.symmetric(0.4), seed=0)
RULES = {"standard": Everything(), "step-e": StepE(schedules.linear(1, 2, 0.4))}


def runs(epochs=5, **more):
    """Runs that a worker can make without this file: all that they need is in them."""
    given = {"data": DATA, "model": "mlp", "epochs": epochs, "threads": 1, **more}
    return [
        grid.Run(f"{name}_{seed}", partial(dict, given, rule=rule, seed=seed), {"run": [name, seed]})
        for seed in (0, 1, 2)
        for name, rule in RULES.items()
    ]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """What this process makes of the runs."""
    return grid.make(runs(), tmp_path_factory.mktemp("alone"), progress=False)


def assert_same(made, alone):
    assert made.keys() == alone.keys()
    for name, history in made.items():
        assert np.array_equal(history.losses, alone[name].losses) and np.array_equal(
            history.weights, alone[name].weights
        )
        columns = history.log.columns.drop("seconds")
        assert history.log[columns].equals(alone[name].log[columns])


def left(out):
    """What in the folder is neither a result nor a lock."""
    return sorted(path.name for path in out.iterdir() if path.suffix not in (".json", ".npz", ".lock"))


def test_threads_of_one_process_do_not_mix_their_random_numbers(alone, tmp_path):
    with concurrent.futures.ThreadPoolExecutor(3) as executor:
        made = grid.make(runs(), tmp_path, executor=executor, progress=False)
    assert_same(made, alone)
    assert left(tmp_path) == []


def test_ctrl_c_takes_back_what_has_not_begun_and_the_next_call_goes_on(alone, tmp_path, monkeypatch):
    nap, naps = time.sleep, []

    def interrupted(seconds):
        naps.append(nap(seconds))
        if list(tmp_path.glob("*.npz")):
            raise KeyboardInterrupt

    monkeypatch.setattr(grid.time, "sleep", interrupted)
    with concurrent.futures.ThreadPoolExecutor(1) as executor, pytest.raises(KeyboardInterrupt):
        grid.make(runs(), tmp_path, executor=executor, progress=False)
    monkeypatch.undo()
    assert 1 <= len(list(tmp_path.glob("*.npz"))) <= 3 and left(tmp_path) == []
    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        assert_same(grid.make(runs(), tmp_path, executor=executor, progress=False), alone)


def test_a_failed_run_is_recorded_and_a_wrong_one_ends_the_grid(tmp_path):
    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        wild = runs(lr=1e12)[:1] + runs()[1:2]
        assert list(grid.make(wild, tmp_path / "wild", executor=executor, progress=False)) == ["step-e_0"]
        assert "TrainingDiverged" in grid.failures(wild, tmp_path / "wild")["standard_0"]
        with pytest.raises(ValueError, match="batch_size is 301"):
            grid.make(runs(batch_size=301), tmp_path / "wrong", executor=executor, progress=False)
    assert list((tmp_path / "wrong").glob("*.json")) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"executor": 4}, "executor is 4, but must have a method submit"),
        ({"jobs": 2}, "jobs is 2, but must be 1: the workers of the executor"),
        ({"out": None}, "out is None, but must be a folder that they see"),
    ],
    ids=str,
)
def test_what_does_not_go_together_is_refused(arguments, said, tmp_path):
    executor = concurrent.futures.ThreadPoolExecutor(1)
    with pytest.raises(ValueError, match=said):
        grid.make(runs(), **{"out": tmp_path / "grid", "executor": executor, "progress": False} | arguments)
    assert not (tmp_path / "grid").exists()


def test_dask_makes_the_same_though_a_worker_is_killed(alone, tmp_path):
    distributed = pytest.importorskip("distributed")
    long = runs(epochs=60)
    options = {"n_workers": 2, "threads_per_worker": 2, "dashboard_address": None}
    with distributed.LocalCluster(**options) as cluster, distributed.Client(cluster) as client:
        pids = client.run(os.getpid)
        killer = concurrent.futures.ThreadPoolExecutor(1).submit(kill_at_work, min(pids.values()), tmp_path)
        made = grid.make(long, tmp_path, executor=client, progress=False)
        assert killer.result() and client.run(os.getpid) != pids
    assert_same(made, grid.make(long, tmp_path.parent / "alone", progress=False))
    assert left(tmp_path) == []


def kill_at_work(pid, out):
    """Kill the process `pid` as soon as two runs are under way, one of them its own."""
    while len(list(out.glob("*.checkpoint"))) < 2:
        time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
    return True


def test_the_command_takes_the_address_of_a_scheduler(monkeypatch, tmp_path):
    distributed = pytest.importorskip("distributed")
    parts = {"datasets": ("digits",), "recipes": ("tiny",), "methods": (("standard", "Step-E"),), "seeds": (0,)}
    recipe = {"model": "mlp", "subset": 300, "epochs": 3, "warmup": 1, "ramp": 1, "batch_size": 64, "lr": 0.05}
    monkeypatch.setitem(plan.PRESETS, "tiny", parts)
    monkeypatch.setitem(plan.RECIPES, "tiny", recipe)
    monkeypatch.setattr(grid, "_data", lambda *_: DATA)
    arguments = ["table", "--preset", "tiny", "--out", str(tmp_path), "--dask"]
    with distributed.LocalCluster(n_workers=1, processes=False, dashboard_address=None) as cluster:
        result = CliRunner().invoke(cli.main, [*arguments, cluster.scheduler_address])
    assert result.exit_code == 0, result.output
    assert sorted(path.stem for path in tmp_path.glob("*.npz")) == ["digits_tiny_standard_0", "digits_tiny_step-e_0"]
    assert json.loads((tmp_path / "digits_tiny_step-e_0.json").read_text())["config"]["seed"] == 0
    assert "oracle" not in result.output or "not run yet" in result.output
