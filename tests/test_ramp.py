"""The map of when the ramp pays: what is recorded, how it goes on, and what is made of it."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from filelock import FileLock

from stepe_lite import Dataset, Everything, LossTruncation, StepE, fit, noise, plots, schedules
from stepe_lite.cli import main
from stepe_lite.experiments import ramp as experiments_ramp

RECORDED = Path(__file__).parents[1] / "notebooks" / "results" / "ramp.csv"


@pytest.fixture
def small(monkeypatch):
    """A map of ten short runs a seed: two kinds of noise, each standard, and with a ramp or none after two warm-ups."""
    kinds = {name: experiments_ramp.NOISE[name] for name in ("symmetric, 40 %", "uneven classes, 40 ± 20 %")}
    monkeypatch.setattr(experiments_ramp, "NOISE", kinds)
    monkeypatch.setattr(experiments_ramp, "WARMUPS", (1, 2))
    monkeypatch.setattr(experiments_ramp, "RAMPS", (0, 2))
    monkeypatch.setattr(experiments_ramp, "SETTINGS", experiments_ramp.SETTINGS | {"epochs": 5})


def recorded(out):
    return out.read_text(encoding="utf-8"), json.loads(out.with_suffix(".json").read_text(encoding="utf-8"))


def test_a_map_that_was_stopped_goes_on_to_the_same_table(small, monkeypatch, tmp_path):
    whole = experiments_ramp.run(tmp_path / "whole.csv", seeds=1, progress=False)
    assert len(whole) == len(experiments_ramp.cells(1)) == 10
    trial, made = experiments_ramp.trial, []

    def stopped(*arguments, **settings):
        if len(made) == 4:
            raise KeyboardInterrupt
        made.append(arguments)
        return trial(*arguments, **settings)

    monkeypatch.setattr(experiments_ramp, "trial", stopped)
    with pytest.raises(KeyboardInterrupt):
        experiments_ramp.run(tmp_path / "out.csv", seeds=1, progress=False)
    assert len(experiments_ramp.read(tmp_path / "out.csv")) == 4
    made.append("no fifth run")
    experiments_ramp.run(tmp_path / "out.csv", seeds=1, progress=False)
    assert len(made) == 5 + 6  # the four that were finished are not made again
    (stopped_table, about), (whole_table, _) = recorded(tmp_path / "out.csv"), recorded(tmp_path / "whole.csv")
    assert stopped_table == whole_table
    assert about["finished"] == "10 of 10 runs" and about["seeds"] == [0]
    assert about["settings"]["epochs"] == 5 and about["versions"][0]["torch"] == str(torch.__version__)
    experiments_ramp.run(tmp_path / "out.csv", seeds=1, progress=False)
    assert recorded(tmp_path / "out.csv") == (whole_table, about)
    assert len(experiments_ramp.run(tmp_path / "out.csv", seeds=2, progress=False)) == 20


def test_it_leaves_the_number_of_threads_as_it_was(small, monkeypatch, tmp_path):
    seen = []
    monkeypatch.setattr(experiments_ramp, "trial", lambda *_, **__: seen.append(torch.get_num_threads()) or {})
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        experiments_ramp.run(tmp_path / "out.csv", seeds=1, progress=False)
        assert set(seen) == {1} and torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_what_would_mix_two_maps_is_refused(small, monkeypatch, tmp_path):
    out = tmp_path / "out.csv"
    monkeypatch.setattr(experiments_ramp, "trial", lambda *_, **__: {})
    experiments_ramp.run(out, seeds=1, progress=False)
    before = recorded(out)
    with FileLock(tmp_path / ".out.csv.lock"), pytest.raises(OSError, match="which another process is writing"):
        experiments_ramp.run(out, seeds=2, progress=False)
    monkeypatch.setattr(experiments_ramp, "WARMUPS", (1, 3))
    with pytest.raises(ValueError, match=r"made with .*'warmups': \[1, 2\].*but the map is now .*\[1, 3\]"):
        experiments_ramp.run(out, seeds=2, progress=False)
    assert recorded(out) == before
    out.with_suffix(".json").unlink()
    with pytest.raises(ValueError, match=r"'out\.json', which says how it was made, is not beside it"):
        experiments_ramp.run(out, seeds=2, progress=False)


@pytest.mark.parametrize("text", ["", "[]", "null", "{}", '{"settings": ', '{"settings": {}, "versions": 3}'])
def test_a_map_whose_provenance_is_none_is_refused(small, tmp_path, text):
    out = tmp_path / "out.csv"
    experiments_ramp.run(out, seeds=1, progress=False)
    out.with_suffix(".json").write_text(text)
    with pytest.raises(ValueError, match=r"out\.json', which says how out was made, cannot be read"):
        experiments_ramp.run(out, seeds=1, progress=False)


@pytest.mark.parametrize("cut", [0, 30, 500, -1, -3])
def test_half_a_map_is_refused(tmp_path, cut):
    """Half of the last number would be taken for the whole."""
    (tmp_path / "half.csv").write_bytes(RECORDED.read_bytes()[:cut])
    with pytest.raises(ValueError, match=r"half\.csv' is no table of noise, .*its last line is cut off"):
        experiments_ramp.read(tmp_path / "half.csv")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--out", "map.txt"], "must be a file that ends in .csv"),
        (["--seeds", "0"], "seeds is 0, but must be a whole number, at least 1"),
        (["--show", "missing.csv"], "missing.csv"),
        (
            ["--show", str(RECORDED.with_name("cpu.csv"))],
            "is no table of noise, rate, warmup, …: it has no column 'noise'",
        ),
    ],
)
def test_bad_arguments_are_refused_in_one_sentence(monkeypatch, tmp_path, arguments, said):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ["ramp", *arguments])
    assert result.exit_code != 0 and said in result.output and "Traceback" not in result.output
    assert list(tmp_path.iterdir()) == []


# What a run is, and what is kept of it


def test_the_partner_differs_in_the_ramp_alone():
    losses = torch.rand(30, 50, generator=torch.Generator().manual_seed(0))
    with_ramp, without = experiments_ramp.rule(0.4, 5, 10), experiments_ramp.rule(0.4, 5, 0)
    assert with_ramp == StepE(schedules.linear(5, 10, 0.4)) and without == LossTruncation(0.4, 5)
    assert experiments_ramp.rule(0.4, None, None) == Everything()
    for epoch, same in ((3, True), (5, False), (14, False), (15, True), (29, True)):
        assert torch.equal(with_ramp(losses[:epoch], epoch), without(losses[:epoch], epoch)) == same


def test_a_trial_records_what_its_history_says(digits):
    data = digits.with_noise(noise.asymmetric(noise.uneven_classes(10, 0.4, 0.2, seed=1)), 1)
    found = experiments_ramp.trial(data, 2, 3, 1, epochs=8)
    rule = StepE(schedules.linear(2, 3, data.noise_rate))
    history = fit(data, "mlp", rule, epochs=8, seed=1, progress=False)
    log, kept = history.log, experiments_ramp.worst_class_retention(data, history.excluded)
    assert found["accuracy_last"] == log.test_accuracy[7]
    assert (found["precision"], found["recall"]) == (log.precision[7], log.recall[7])
    assert log.excluded_fraction[[4, 5]].tolist() == pytest.approx([data.noise_rate * 2 / 3, data.noise_rate], abs=1e-3)
    assert (found["precision_half"], found["precision_full"]) == (log.precision[4], log.precision[5])
    assert [found[f"worst_class_retention{when}"] for when in ("", "_full", "_min")] == [kept[7], kept[5], kept.min()]
    assert 0 <= found["worst_class_accuracy"] <= found["accuracy_last"]
    assert set(found) < set(experiments_ramp.COLUMNS)


def test_retention_of_the_worst_class_counted_by_hand():
    labels, clean = torch.tensor([0, 0, 0, 0, 1, 1, 1, 2]), torch.tensor([0, 0, 0, 1, 1, 1, 0, 1])
    images = torch.zeros(8, 1, 2, 2, dtype=torch.uint8)
    data = Dataset.from_arrays(images, labels, clean_labels=clean, classes=["a", "b", "c"])
    excluded = torch.zeros(4, 8, dtype=torch.bool)
    excluded[1, [3, 6, 7]] = True  # all mislabeled samples: no right label is lost
    excluded[2, [0, 3]] = True  # one of three right ones of class 0
    excluded[3, [0, 4, 5]] = True  # all right ones of class 1
    assert experiments_ramp.worst_class_retention(data, excluded) == pytest.approx([1, 1, 2 / 3, 0])


# What is made of the table


def made_up(gains):
    rows = [("symmetric, 40 %", 0.4, None, None, seed, 0.7) for seed in range(len(gains))]
    for seed, gain in enumerate(gains):
        rows += [("symmetric, 40 %", 0.4, 5, 0, seed, 0.8), ("symmetric, 40 %", 0.4, 5, 15, seed, 0.8 + gain)]
    runs = pd.DataFrame(rows, columns=["noise", "rate", "warmup", "ramp", "seed", "accuracy_last"])
    return runs.astype({"warmup": "Int64", "ramp": "Int64"})


def test_gains_are_paired_differences_with_a_t_interval():
    (row,) = experiments_ramp.gains(made_up([0.01, 0.03, -0.01])).itertuples()
    half = 4.302653 * 0.02 / 3**0.5
    assert (row.gain, row.low, row.high) == pytest.approx((0.01, 0.01 - half, 0.01 + half), abs=1e-6)
    assert (row.warmup, row.ramp, row.ahead, row.seeds) == (5, 15, 2, 3)


def test_a_run_without_its_partner_counts_for_nothing():
    runs = made_up([0.01, 0.03, -0.01])
    lonely = runs[~((runs.ramp == 0) & (runs.seed == 2))]
    (row,) = experiments_ramp.gains(lonely).itertuples()
    assert row.seeds == 2 and row.gain == pytest.approx(0.02)
    (row,) = experiments_ramp.gains(runs[runs.seed == 0]).itertuples()
    assert row.gain == pytest.approx(0.01) and np.isnan(row.low)


def test_the_text_of_the_map_shows_levels_and_gains():
    text = experiments_ramp.text(made_up([0.01, 0.03, -0.01]))
    (row,) = [line.split() for line in text.splitlines() if line.startswith("symmetric")]
    assert row == ["symmetric,", "40", "%", "5", "70.0", "80.0", "+1.0", "[-4.0,", "+6.0]"]


def test_the_picture_has_a_panel_a_warm_up_and_a_dot_a_gain(small):
    found = experiments_ramp.gains(made_up([0.01, 0.03, -0.01]))
    figure = plots.ramp_gains(pd.concat([found, found.assign(warmup=15, gain=-0.02)]))
    dots = [line.get_xdata().tolist() for ax in figure.axes for line in ax.lines if line.get_marker() not in ("None",)]
    assert dots == [pytest.approx([1.0]), pytest.approx([-2.0])]
    assert [ax.get_title() for ax in figure.axes] == ["warm-up of 5 epochs", "warm-up of 15 epochs"]


# The recorded map


def test_the_recorded_map_is_whole_and_says_how_it_was_made():
    runs = experiments_ramp.read(RECORDED)
    about = json.loads(RECORDED.with_suffix(".json").read_text(encoding="utf-8"))
    keys = runs[["noise", "warmup", "ramp", "seed"]].astype(object).where(runs.notna(), None)
    assert [tuple(key) for key in keys.to_numpy()] == experiments_ramp.cells(len(about["seeds"]))
    assert len(about["seeds"]) >= 10 and about["finished"] == f"{len(runs)} of {len(runs)} runs"
    assert about["settings"] == {
        **experiments_ramp.SETTINGS, "warmups": [2, 5, 15], "ramps": [0, 5, 15, 30],
        "noise": list(experiments_ramp.NOISE),
    }  # fmt: skip
    assert all(about[name] for name in ("command", "first", "last", "versions", "device"))
    shares = runs[[name for name in experiments_ramp.COLUMNS[5:] if name in runs]]
    assert shares.min().min() >= 0 and shares.max().max() <= 1
    assert not runs.accuracy_last.isna().any() and not runs[runs.ramp.notna()].isna().any().any()


def test_the_command_shows_the_recorded_map_and_runs_nothing(monkeypatch):
    monkeypatch.setattr(experiments_ramp, "run", lambda *_, **__: pytest.fail("it runs"))
    result = CliRunner().invoke(main, ["ramp", "--show", str(RECORDED)])
    assert result.exit_code == 0
    assert all(name in result.output for name in experiments_ramp.NOISE)
    assert "not run yet" not in result.output and "nan" not in result.output
