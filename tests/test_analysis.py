"""Tables of who was excluded: small ledgers by hand, and properties of random ones."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stepe_lite import Dataset, History, StepE, analysis, checks, models, schedules
from stepe_lite.experiments import ramp
from stepe_lite.peers import loss_mixture


def data_of(labels, clean=None, k=3):
    images = torch.arange(len(labels) * 64).remainder(251).byte().reshape(-1, 1, 8, 8)
    classes = [f"class {c}" for c in range(k)]
    return Dataset.from_arrays(images, torch.tensor(labels), clean_labels=clean, classes=classes)


def history_of(excluded, losses=None):
    excluded = torch.as_tensor(excluded).bool()
    losses = torch.zeros(excluded.shape) if losses is None else torch.as_tensor(losses)
    return History(losses, (~excluded).float(), pd.DataFrame(), {})


DATA = data_of([0, 1, 2, 0, 1, 2], clean=[0, 0, 2, 0, 1, 1])  # samples 1 and 5 are mislabeled
EXCLUDED = [  # columns: kept throughout, caught, out and back, out at the end only, out-in-out, missed
    [0, 1, 0, 0, 1, 0],
    [0, 1, 1, 0, 0, 0],
    [0, 1, 1, 0, 1, 0],
    [0, 1, 0, 1, 1, 0],
]


def test_sample_table_by_hand():
    losses = torch.arange(24.0).reshape(4, 6)
    table = analysis.sample_table(DATA, history_of(EXCLUDED, losses))
    assert list(table.given) == ["class 0", "class 1", "class 2", "class 0", "class 1", "class 2"]
    assert list(table.clean[[1, 5]]) == ["class 0", "class 1"]
    assert list(table.is_mislabeled) == [False, True, False, False, False, True]
    assert list(table.outcome) == ["kept", "caught", "kept", "lost", "lost", "missed"]
    assert list(table.excluded) == [False, True, False, True, True, False]
    assert list(table.first_excluded) == [-1, 0, 1, 3, 0, -1]
    assert list(table.came_back) == [0, 0, 1, 0, 1, 0]
    assert list(table.flip_flops) == [0, 0, 0, 0, 1, 0]
    assert list(table.last_loss) == [18, 19, 20, 21, 22, 23]
    assert list(table.mean_loss) == [9, 10, 11, 12, 13, 14]


def test_sample_table_without_clean_labels_leaves_out_what_is_unknown():
    table = analysis.sample_table(data_of([0, 1, 2]), history_of([[0, 1, 0]]))
    assert {"clean", "is_mislabeled", "outcome"}.isdisjoint(table.columns)
    assert list(table.first_excluded) == [-1, 0, -1]


@given(st.integers(0, 10_000), st.integers(1, 8))
def test_sample_table_tells_the_same_story_as_a_walk_through_the_epochs(seed, epochs):
    excluded = np.random.default_rng(seed).random((epochs, 6)) < 0.4
    table = analysis.sample_table(DATA, history_of(excluded))
    for sample, column in enumerate(excluded.T.tolist()):
        exits = sum(now and not before for before, now in zip([False, *column], column))
        row = table.loc[sample]
        assert row.first_excluded == (column.index(True) if True in column else -1)
        assert row.came_back == exits - column[-1]
        assert row.flip_flops == max(exits - 1, 0)


def test_sample_table_of_another_data_set_is_refused():
    with pytest.raises(ValueError, match="history is of 3 samples, but data has 6"):
        analysis.sample_table(DATA, history_of([[0, 0, 0]]))


def test_by_class_by_hand():
    table = analysis.by_class(DATA, torch.tensor([0, 1, 0, 1, 0, 0]).bool())
    assert list(table.index) == ["class 0", "class 1", "class 2"]
    assert table.samples.tolist() == [2, 2, 2]
    assert table.mislabeled.tolist() == [0, 1, 1]
    assert table.excluded.tolist() == [1, 1, 0]
    np.testing.assert_equal(table.precision.tolist(), [0, 1, np.nan])
    np.testing.assert_equal(table.recall.tolist(), [np.nan, 1, 0])
    assert table.retention.tolist() == [0.5, 1, 1]  # of the rightly labelled: samples 0 and 3, 4, 2


def test_by_pair_by_hand():
    data = data_of([1, 1, 1, 2, 0, 1, 2], clean=[0, 0, 0, 0, 0, 1, 2])
    table = analysis.by_pair(data, torch.tensor([1, 0, 0, 1, 1, 0, 0]).bool())
    assert table.index.tolist() == [("class 0", "class 1"), ("class 0", "class 2")]
    assert table.mislabeled.tolist() == [3, 1]
    assert table.caught.tolist() == [1, 1]
    assert table.missed.tolist() == [2, 0]
    assert table.recall.tolist() == [pytest.approx(1 / 3), 1]


@given(st.integers(0, 10_000))
def test_classes_and_pairs_add_up_to_the_whole(seed):
    rng = np.random.default_rng(seed)
    labels, clean = np.r_[0:3, rng.integers(0, 3, 30)], rng.integers(0, 3, 33)
    data, excluded = data_of(labels, clean=clean), torch.as_tensor(rng.random(33) < 0.5)
    classes, pairs = analysis.by_class(data, excluded), analysis.by_pair(data, excluded)
    wrong = data.is_mislabeled
    assert classes.samples.sum() == 33 and classes.excluded.sum() == excluded.sum()
    assert classes.mislabeled.sum() == pairs.mislabeled.sum() == wrong.sum()
    assert pairs.caught.sum() == (excluded & wrong).sum() and pairs.missed.sum() == (~excluded & wrong).sum()
    assert pairs.missed.is_monotonic_decreasing


@pytest.mark.parametrize("table", [analysis.by_class, analysis.by_pair])
def test_tables_that_need_the_truth_say_so(table):
    excluded = torch.zeros(3, dtype=torch.bool)
    with pytest.raises(ValueError, match="clean labels of arrays are unknown"):
        table(data_of([0, 1, 2]), excluded)


@pytest.mark.parametrize("excluded", [torch.zeros(6), torch.zeros(5, dtype=torch.bool)])
def test_an_exclusion_that_is_no_mask_is_refused(excluded):
    with pytest.raises(ValueError, match=r"excluded is .* but must be bool \(6,\)"):
        analysis.by_class(DATA, excluded)


def test_detection_curves_by_hand():
    wrong = torch.tensor([1, 0, 1, 0]).bool()
    scores = {"perfect": wrong.float(), "backwards": -wrong.float(), "mixed": torch.tensor([4.0, 3.0, 2.0, 1.0])}
    table, curves = analysis.detection_curves(scores, wrong)
    assert table.loc["perfect"].tolist() == [1, 1]
    assert table.roc_auc["backwards"] == 0
    assert table.roc_auc["mixed"] == 0.75  # of 2 × 2 pairs, three are in order
    assert table.average_precision["mixed"] == pytest.approx((1 + 2 / 3) / 2)
    assert curves["perfect"]["recall"].max() == 1 and curves["perfect"]["false_alarms"].tolist()[0] == 0
    assert len(curves["mixed"]["false_alarms"]) == len(curves["mixed"]["caught"])


def test_detection_needs_both_kinds_of_samples():
    with pytest.raises(ValueError, match="both kinds are needed"):
        analysis.detection_curves({"loss": torch.rand(4)}, torch.zeros(4, dtype=torch.bool))


class _Sums(torch.nn.Module):
    """Logits that are easy to know: sum of the pixels, its negative, and 0, all less 300. Random in training mode."""

    def __init__(self):
        super().__init__()
        self.unit = torch.nn.Parameter(torch.ones(()))

    def forward(self, x):
        total = self.unit * x.sum((1, 2, 3))
        noise = torch.rand(()) if self.training else 0
        return torch.stack([total, -total, 0 * total], 1) - 300 + noise


def test_margins_by_hand_and_the_model_is_left_in_its_mode():
    pixels = (DATA.images.float() - DATA.images.float().mean()) / DATA.images.float().std(correction=0)
    sums = pixels.sum((1, 2, 3))
    model = _Sums().train()
    found = analysis.margins(model, DATA)
    assert model.training
    rivals = {0: torch.maximum(-sums, 0 * sums), 1: torch.maximum(sums, 0 * sums), 2: sums.abs()}
    own = {0: sums, 1: -sums, 2: 0 * sums}
    wanted = torch.stack([own[c][i] - rivals[c][i] for i, c in enumerate(DATA.labels.tolist())])
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-3)


def test_logits_do_not_depend_on_the_batches():
    model = models.mlp(3)
    one, many = (analysis.logits(model, DATA.images, DATA.images, batch_size=size) for size in (1, 100))
    torch.testing.assert_close(one, many)
    assert one.shape == (6, 3) and not one.requires_grad


def test_margins_have_the_sign_of_agreement():
    model = models.mlp(3)
    says = analysis.logits(model, DATA.images, DATA.images).argmax(1)
    assert torch.equal(analysis.margins(model, DATA) > 0, says == DATA.labels)


def test_the_functions_that_stand_in_for_an_unsolved_exercise_are_right_answers():
    for check, answer in (
        (checks.first_exclusion, analysis.first_exclusion), (checks.margin, analysis.margin),
        (checks.ceilings, analysis.ceilings), (checks.replay, analysis.replay),
        (checks.never_back, analysis.never_back), (checks.worst_class, ramp.worst_class),
        (checks.upper_hump, lambda losses: loss_mixture(losses)[0]),
        (checks.rank_per_class, lambda x, labels, f: StepE(schedules.constant(f), per_class=labels)(x[None], 1)),
        (checks.cosine_schedule, lambda e, *of_the_ramp: schedules.cosine(*of_the_ramp)(e)),
    ):  # fmt: skip
        assert check.judge(answer)[0] == "right", check.__name__


def test_nobody_is_never_back_where_none_is_excluded():
    assert math.isnan(analysis.never_back(torch.zeros(3, 4, dtype=torch.bool), 1))
