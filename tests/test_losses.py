"""Losses: values by hand, limits, bounds, and training with them."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from stepe_lite import Everything, StepE, fit, schedules
from stepe_lite.losses import CrossEntropy, GeneralizedCrossEntropy, cross_entropy

QUARTER = torch.tensor([[math.log(0.25), math.log(0.75)]])  # p = 0.25 of class 0
ZERO = torch.tensor([0])
logits = st.lists(st.floats(-30, 30, width=32), min_size=3, max_size=3).map(lambda row: torch.tensor([row]))


@pytest.mark.parametrize(
    ("loss", "by_hand"),
    [
        (cross_entropy, math.log(4)),
        (CrossEntropy(0.2), 0.9 * math.log(4) + 0.1 * math.log(4 / 3)),
        (GeneralizedCrossEntropy(0.7), (1 - 0.25**0.7) / 0.7),
        (GeneralizedCrossEntropy(1), 0.75),
    ],
    ids=repr,
)
def test_values_by_hand(loss, by_hand):
    assert loss(QUARTER, ZERO).tolist() == pytest.approx([by_hand])


@given(logits)
def test_generalized_cross_entropy_tends_to_cross_entropy_and_is_bounded(row):
    near_zero = GeneralizedCrossEntropy(1e-4)(row.double(), ZERO).item()
    assert near_zero == pytest.approx(cross_entropy(row.double(), ZERO).item(), rel=0.01, abs=1e-3)
    assert 0 <= GeneralizedCrossEntropy(0.7)(row, ZERO).item() <= 1 / 0.7 + 1e-6


def test_a_label_that_the_network_finds_impossible_pulls_less_than_under_cross_entropy():
    def pull(loss):
        row = torch.tensor([[-10.0, 10.0, 0.0]], requires_grad=True)
        loss(row, ZERO).sum().backward()
        return row.grad.abs().max().item()

    assert pull(GeneralizedCrossEntropy()) < 0.1 * pull(cross_entropy)


def test_fit_minimises_and_records_the_loss_that_it_is_given(digits):
    data, loss = digits.subset(200, seed=0), GeneralizedCrossEntropy()
    history = fit(data, "mlp", StepE(schedules.constant(0.3, 1)), epochs=2, loss=loss, progress=False)
    assert history.losses.max() <= 1 / 0.7 + 1e-6
    assert history.config["loss"] == "GeneralizedCrossEntropy(q=0.7)"
    plain = fit(data, "mlp", StepE(schedules.constant(0.3, 1)), epochs=2, progress=False)
    assert not torch.equal(history.losses, plain.losses)


def test_any_function_of_logits_and_labels_is_a_loss(digits):
    data = digits.subset(200, seed=0)
    own = fit(data, "mlp", Everything(), epochs=1, progress=False,
              loss=lambda logits, labels: F.cross_entropy(logits, labels, reduction="none"))  # fmt: skip
    assert torch.equal(own.losses, fit(data, "mlp", Everything(), epochs=1, progress=False).losses)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GeneralizedCrossEntropy(0), "q is 0, but must be a finite number above 0"),
        (lambda: GeneralizedCrossEntropy(1.5), "q is 1.5, but must be a number above 0 and at most 1"),
        (lambda: CrossEntropy(1.0), "smoothing is 1.0"),
    ],
)
def test_bad_parameters_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("loss", ["gce", GeneralizedCrossEntropy])
def test_what_is_no_loss_is_refused_before_any_training(digits, loss):
    with pytest.raises(ValueError, match=r"loss is .*, but must be a function such as losses.cross_entropy"):
        fit(digits, "mlp", Everything(), loss=loss, progress=False)
