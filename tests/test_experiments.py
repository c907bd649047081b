"""Grids of runs: every method alike, resumable, and a table whose intervals are right."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from stepe_lite import (
    Everything,
    KeepOnly,
    LossTruncation,
    OneShotFilter,
    RandomExclusion,
    SelfPaced,
    StepE,
    TrainingDiverged,
    experiments,
    fit,
    load,
    noise,
    schedules,
)
from stepe_lite.peers import EstimatedStepE

SECONDS = ["seconds", "seconds_per_epoch"]
SCHEDULE = schedules.linear(warmup=1, ramp=1, final=0.4)


def make_data(seed):
    return load("digits").subset(200, seed=0).with_noise(noise.symmetric(0.4), seed)


def two_methods(data, seed):
    return {
        name: {"data": data, "rule": rule} for name, rule in (("standard", Everything()), ("Step-E", StepE(SCHEDULE)))
    }


def compare(seeds=(0, 1), make_methods=two_methods, **settings):
    return experiments.compare(make_data, make_methods, seeds, "mlp", progress=False, **{"epochs": 3} | settings)


@pytest.fixture(scope="module")
def runs():
    return compare(seeds=(0, 1, 2))


def test_methods_are_those_that_the_course_compares():
    assert list(experiments.methods(make_data(0), SCHEDULE)) == [
        "standard", "loss truncation", "loss truncation, warm-up", "self-paced", "one-shot", "Step-E",
        "random exclusion", "oracle by removal", "oracle by clean labels",
    ]  # fmt: skip


def test_methods_have_the_fraction_and_the_warm_up_of_the_schedule():
    data, schedule = make_data(0), schedules.linear(warmup=3, ramp=5, final=0.3)
    found = experiments.methods(data, schedule, 7, experiments.METHODS)
    assert list(found) == list(experiments.METHODS)
    rules = {name: arguments["rule"] for name, arguments in found.items()}
    del rules["oracle by removal"]  # see below
    assert rules == {
        "standard": Everything(),
        "standard, early-stopped": Everything(),
        "standard, averaged weights": Everything(),
        "standard, equal steps": Everything(),
        "oracle by clean labels": Everything(),
        "loss truncation": LossTruncation(0.3),
        "loss truncation, warm-up": LossTruncation(0.3, warmup=3),
        "self-paced": SelfPaced(schedule),
        "one-shot": OneShotFilter(0.3, warmup=3),
        "Step-E": StepE(schedule),
        "random exclusion": RandomExclusion(schedule, seed=7),
        "Step-E, estimated fraction": EstimatedStepE(3, 5),
        "Step-E, half the ramp": StepE(schedules.linear(warmup=3, ramp=2, final=0.3)),
        "Step-E, moving average": StepE(schedule, momentum=0.5),
        "Step-E, soft": StepE(schedule, soft=0.5),
        "Step-E, per class": StepE(schedule, per_class=True),
    }


def test_methods_has_no_oracle_where_the_clean_labels_are_unknown():
    unknown = replace(make_data(0), clean_labels=None)
    assert not any("oracle" in name for name in experiments.methods(unknown, SCHEDULE))


def test_some_methods_are_more_than_a_rule():
    data, settings = make_data(0), {"epochs": 5, "batch_size": 60}
    found = experiments.methods(data, SCHEDULE, 0, experiments.METHODS, settings)
    early = found["standard, early-stopped"]
    assert len(early["validation"]) == 20 and len(early["data"]) == 180 and early["epochs"] == 5
    # 200, 200, 120, 120, 120 samples in batches of at most 60
    assert (found["standard, equal steps"]["steps"], found["standard, equal steps"]["epochs"]) == (
        4 + 4 + 2 + 2 + 2,
        None,
    )
    assert found["standard, averaged weights"]["average"] == 0.5


def test_equal_steps_counts_the_first_epoch_whole_for_nobody_can_be_excluded_then():
    steps = experiments.methods(make_data(0), schedules.constant(0.4), 0, ["standard, equal steps"], {
        "epochs": 3, "batch_size": 60})["standard, equal steps"]["steps"]  # fmt: skip
    assert steps == 4 + 2 + 2


def test_options_of_the_command_line_are_different():
    options = [method.option for method in experiments.METHODS.values()]
    assert len(set(options)) == len(options)


def test_the_oracles_train_on_right_labels_only():
    data = make_data(0)
    methods = experiments.methods(data, SCHEDULE)
    removal, clean = methods["oracle by removal"], methods["oracle by clean labels"]
    noisy, keep, cleaned, everything = removal["data"], removal["rule"], clean["data"], clean["rule"]
    assert noisy is data and not data.is_mislabeled[keep.mask].any() and keep.mask.sum() == (~data.is_mislabeled).sum()
    assert cleaned.noise_rate == 0 and everything == Everything()


@pytest.mark.parametrize("seeds", [2, []], ids=str)
def test_seeds_are_several(seeds):
    with pytest.raises(ValueError, match=r"seeds is .*, but must be one or more seeds"):
        compare(seeds=seeds)


def test_every_method_can_be_trained():
    runs = compare(seeds=[0], make_methods=lambda data, seed: experiments.methods(data, SCHEDULE, seed))
    assert len(runs) == 9 and runs.accuracy_last.between(0, 1).all()


def test_compare_gives_a_row_a_run(runs):
    assert list(zip(runs.seed, runs.method)) == [(s, m) for s in (0, 1, 2) for m in ("standard", "Step-E")]
    assert list(runs.columns) == [
        "method", "seed", "accuracy_last", "accuracy_best", "accuracy_early_stopped", "epoch_early_stopped",
        "excluded_fraction", "precision", "recall", "f1", "backward_samples", "forward_samples", "steps", "seconds",
        "seconds_per_epoch", "average_precision",
    ]  # fmt: skip


def test_compare_reports_the_last_epoch_of_a_run_of_fit(runs):
    log = fit(make_data(1), "mlp", StepE(SCHEDULE), epochs=3, seed=1, progress=False).log
    row = runs.query("method == 'Step-E' and seed == 1").iloc[0]
    assert row.accuracy_last == log.test_accuracy.iloc[-1]
    assert row.accuracy_best == log.test_accuracy.max()
    assert (row.precision, row.recall) == (log.precision.iloc[-1], log.recall.iloc[-1])
    assert row.backward_samples == log.backward_samples.sum() and row.forward_samples == log.forward_samples.sum() > 0


def test_processes_that_share_the_runs_change_no_result(runs):
    shared = compare(seeds=(0, 1, 2), jobs=2)
    pd.testing.assert_frame_equal(shared.drop(columns=SECONDS), runs.drop(columns=SECONDS))


def test_a_run_that_fails_in_a_process_is_an_error():
    with pytest.raises(TrainingDiverged):
        compare(lr=1e30, jobs=2)


def test_a_folder_keeps_every_run_and_the_second_call_trains_nothing(tmp_path):
    first = compare(out=tmp_path / "new")
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "new").glob("*.npz")}
    assert len(kept) == 4
    second = compare(out=tmp_path / "new")
    pd.testing.assert_frame_equal(second, first, check_exact=True)  # the seconds too: they are those of the first call
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


def test_a_folder_takes_further_seeds(tmp_path):
    first = compare(seeds=[0], out=tmp_path)
    more = compare(seeds=[0, 1], out=tmp_path)
    pd.testing.assert_frame_equal(more[more.seed == 0], first, check_exact=True)
    apart = ["seconds", "seconds_per_epoch"]
    pd.testing.assert_frame_equal(more.drop(columns=apart), compare().drop(columns=apart), check_exact=True)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"epochs": 4}, "epochs '3', not '4'"),
        ({"lr": 0.01}, "lr None, not '0.01'"),
        ({"make_methods": lambda data, seed: {"standard": {"data": data, "rule": KeepOnly(~data.is_mislabeled)}}},
         r"rule 'Everything\(\)', not 'KeepOnly"),
        ({"make_methods": lambda data, seed: two_methods(data.cleaned(), seed)}, "data '"),
    ],
    ids=["epochs", "lr", "rule", "data"],
)  # fmt: skip
def test_a_folder_of_other_runs_is_refused(tmp_path, other, message):
    compare(seeds=[0], out=tmp_path)
    with pytest.raises(ValueError, match=rf"^out holds 'standard_seed0.json', which was made with .*{message}"):
        compare(seeds=[0], out=tmp_path, **other)


def test_methods_may_be_called_anything(tmp_path):
    def named(data, seed):
        return {name: {"data": data, "rule": Everything()} for name in ("final 0.2", "final 0.4", "../esc", "b/c")}

    runs = compare(seeds=[0], make_methods=named, out=tmp_path / "in")
    assert list(runs.method) == ["final 0.2", "final 0.4", "../esc", "b/c"]
    assert len(list((tmp_path / "in").glob("*.npz"))) == 4 and [path.name for path in tmp_path.iterdir()] == ["in"]


def test_two_names_for_one_file_are_refused(tmp_path):
    def named(data, seed):
        return {name: {"data": data, "rule": Everything()} for name in ("a b", "a+b")}

    with pytest.raises(ValueError, match="runs has 'a-b_seed0' more than once"):
        compare(make_methods=named, out=tmp_path)


# Differences 0.1, 0.2, 0.3: mean 0.2, standard deviation 0.1. Student's t, 2 degrees of freedom, 97.5 %: 4.302653.
TABLE = pd.DataFrame(
    {
        "method": ["standard"] * 3 + ["Step-E"] * 3,
        "seed": [0, 1, 2] * 2,
        "accuracy_last": [0.5, 0.7, 0.6, 0.6, 0.9, 0.9],
    }
).assign(accuracy_best=0.95, precision=np.nan, recall=0.5, seconds=2.0)


def test_paired_difference_gives_the_interval_computed_by_hand():
    half = 4.302653 * 0.1 / 3**0.5
    assert experiments.paired_difference(TABLE, "Step-E") == pytest.approx((0.2, 0.2 - half, 0.2 + half), abs=1e-6)
    backwards = experiments.paired_difference(TABLE, "standard", against="Step-E")
    assert backwards == pytest.approx((-0.2, -0.2 - half, -0.2 + half), abs=1e-6)


def test_paired_difference_uses_the_seeds_that_both_have():
    without_seed_2 = TABLE.drop(index=5)
    mean, low, high = experiments.paired_difference(without_seed_2, "Step-E")
    half = 12.706205 * 0.05 * 2**0.5 / 2**0.5
    assert (mean, low, high) == pytest.approx((0.15, 0.15 - half, 0.15 + half), abs=1e-6)


def test_paired_difference_of_an_unknown_method_offers_the_closest():
    with pytest.raises(ValueError, match=r"method is 'step-e'.* Did you mean 'Step-E'"):
        experiments.paired_difference(TABLE, "step-e")


def test_paired_difference_of_one_seed_has_no_interval():
    mean, low, high = experiments.paired_difference(TABLE[TABLE.seed == 1], "Step-E")
    assert mean == pytest.approx(0.2) and np.isnan(low) and np.isnan(high)


def test_summary_says_what_was_measured():
    table = experiments.summary(TABLE)
    assert list(table.index) == ["standard", "Step-E"]
    assert table.loc["standard", "test accuracy, last epoch"] == "60.0 ± 10.0"
    assert table.loc["Step-E", "test accuracy, last epoch"] == "80.0 ± 17.3"
    assert table.loc["standard", "gain over standard [95 %]"] == "–"
    assert table.loc["Step-E", "gain over standard [95 %]"] == "+20.0 [-4.8, +44.8]"
    assert table.loc["Step-E", "best epoch on test (not attainable)"] == "95.0 ± 0.0"
    assert list(table.precision) == ["–", "–"] and list(table.recall) == ["50.0 ± 0.0"] * 2
    assert list(table.seconds) == ["2.0"] * 2


def test_summary_of_one_seed_has_no_spread():
    table = experiments.summary(TABLE[TABLE.seed == 0])
    assert table.loc["Step-E", "test accuracy, last epoch"] == "60.0"
    assert table.loc["Step-E", "gain over standard [95 %]"] == "+10.0"
