"""The command `bench`: that it measures what it says, and writes a whole table or none. Not how fast anything is."""

import json
import math

import pandas as pd
import pytest
import torch
from click.testing import CliRunner

from stepe_lite import Everything, StepE, schedules
from stepe_lite.cli import main
from stepe_lite.experiments import bench
from stepe_lite.ranking import exclude_highest


def run(*arguments):
    return CliRunner().invoke(main, ["bench", *map(str, arguments)])


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    out = tmp_path_factory.mktemp("bench") / "speed.csv"
    result = run("--quick", "--repeats", 1, "--out", out)
    assert result.exit_code == 0, result.output
    return out, result.stdout


def test_the_table_has_every_comparison_with_its_spread(measured):
    table = pd.read_csv(measured[0])
    assert tuple(table.columns) == bench.COLUMNS
    assert not table.duplicated(["what", "setting"]).any()
    assert {what.split(",")[0] for what in table.what} == {
        "ranking", "ranking by a full sort", "ledger", "Step-E / standard", "fit / bare loop", "two stages", "Step-E",
        "Step-E − two stages", "Step-E / two stages", "training", "bfloat16 autocast / float32",
        "torchvision's ResNet-18 / ours",
    }  # fmt: skip
    assert (table.low <= table["median"]).all() and (table["median"] <= table.high).all()
    assert (table[table.unit != "points"]["median"] > 0).all()

    assert (table.repeats == 1).all()


def test_the_bound_of_an_epoch_is_that_of_arithmetic(measured):
    table = pd.read_csv(measured[0]).set_index("setting")
    bounds = [
        table.bound[f"mlp, 8×8, excluded 0.4, {text}"] for text in ("re-scored every epoch", "re-scored every 5th")
    ]
    assert bounds == pytest.approx([0.6 + 0.4 / 3, 0.6 + 0.4 / 15], rel=1e-3)
    assert table.bound.notna().sum() == 18 + 4  # and of the ledger


def test_what_the_ledger_keeps_and_sends_is_that_of_arithmetic(measured):
    rows = pd.read_csv(measured[0]).set_index(["what", "setting"])["median"]
    assert rows["ledger, an epoch, kept"].item() == pytest.approx(4.125, rel=1e-3)
    sent = rows["ledger, merge, sent by a rank"]
    assert sent["10^5 samples, 2 ranks on this machine"] == pytest.approx(4, rel=0.02)
    assert sent["10^5 samples, 4 ranks on this machine"] == pytest.approx(6, rel=0.02)


def test_versions_processor_and_date_lie_beside_the_table(measured):
    out, printed = measured
    about = json.loads(out.with_suffix(".json").read_text())
    assert about["command"] == "stepe-lite bench --repeats 1 --quick"
    assert (
        about["versions"]["torch"] == torch.__version__ and about["date"] and about["device"].startswith("one thread")
    )
    assert sorted(path.name for path in out.parent.iterdir()) == ["speed.csv", "speed.json"]
    assert "Step-E / standard, an epoch" in printed


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--repeats", 0], "repeats is 0, but must be a whole number, at least 1."),
        (["--out", "speed.txt"], "out is 'speed.txt', but must end in .csv."),
        (["--out", "/proc/none/speed.csv"], "the folder of out is '/proc/none'"),
    ],
)
def test_bad_arguments_are_refused_before_anything_is_measured(arguments, said, monkeypatch):
    monkeypatch.setattr(bench, "bookkeeping", lambda *_: pytest.fail("measured"))
    result = run("--quick", *arguments)
    assert result.exit_code in (1, 2) and said in result.stderr


def test_an_interrupted_run_writes_nothing_and_gives_the_threads_back(tmp_path, monkeypatch):
    def interrupted(*_):
        assert torch.get_num_threads() == 1
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr(bench, "bookkeeping", interrupted)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        result = run("--quick", "--out", tmp_path / "speed.csv")
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert result.exit_code == 130 and list(tmp_path.iterdir()) == []


def test_sides_take_turns_and_who_goes_first_changes():
    calls = []
    returned = bench.in_turns({"a": lambda: calls.append("a") or 6, "b": lambda: calls.append("b") or 3}, 3)
    assert "".join(calls) == "abbaab" and returned == {"a": [6, 6, 6], "b": [3, 3, 3]}
    assert bench.ratios(lambda: 6, lambda: 3, 3) == [2, 2, 2]


@pytest.mark.parametrize(("every", "scored"), [(1, 5), (5, 1)])
def test_the_time_of_an_epoch_is_a_mean_over_five_with_their_share_of_scoring(every, scored, monkeypatch, digits):
    now = [0.0]

    def fit(data, model, rule, *, epochs, rescore_every, **_):
        now[0] += 1000  # preparing is no epoch
        for epoch in range(epochs):
            rule(torch.rand(epoch, len(data)), epoch)
            now[0] += 500 if epoch == 0 else 10
            now[0] += 5 if (epoch + 1) % rescore_every == 0 else 0

    monkeypatch.setattr(bench, "fit", fit)
    monkeypatch.setattr(bench, "process_time", lambda: now[0])
    rule = StepE(schedules.constant(0.4))
    assert bench._epoch("mlp", digits, rule, 5, rescore_every=every) == (5 * 10 + scored * 5) / 5


def test_an_epoch_of_fit_and_one_of_the_bare_loop_take_the_same_number_of_steps(monkeypatch, digits):
    steps = []
    step = torch.optim.SGD.step
    monkeypatch.setattr(torch.optim.SGD, "step", lambda self, *args: steps.append(1) or step(self, *args))
    data = bench.without_test(digits)
    bench._epoch("mlp", data, Everything(), 3)
    of_fit, steps[:] = len(steps) / 5, []
    bench._bare_loop(lambda: torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10)), data, 3)
    assert len(steps) / 4 == of_fit == math.ceil(len(data) / 128)


def test_both_ways_to_rank_exclude_the_same():
    losses = torch.rand(1000, generator=torch.Generator().manual_seed(0)).round(decimals=2)
    losses[::50] = torch.nan
    assert torch.equal(bench.full_sort(losses, 0.4), exclude_highest(losses, 0.4))


def test_peaks_are_told_for_every_way_to_rank(capsys):
    if not bench.Path("/proc/self/clear_refs").exists():
        pytest.skip("only Linux tells a process its peak")
    rows = list(bench._peaks([6]))
    assert [row["what"] for row in rows] == ["ranking, peak memory", "ranking by a full sort, peak memory"]
    ours, theirs = (row["median"] for row in rows)
    assert 4 < ours < 16 < theirs  # bytes a loss of 4 bytes: its weight at least, and no more than four times as much
