"""The loss mixture: an estimate of the noise rate that sees no clean label."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stepe_lite import Everything, fit, noise
from stepe_lite.peers import EstimatedStepE, estimate_fraction, loss_mixture


def two_humps(low, high, seed=0):
    """`low` losses around 0.2 and then `high` losses around 3, in nats."""
    generator = torch.Generator().manual_seed(seed)
    noise = 0.1 * torch.randn(low + high, generator=generator)
    return noise + torch.tensor([0.2] * low + [3.0] * high)


def test_two_humps_far_apart_are_told_apart_exactly():
    fraction, posterior = loss_mixture(two_humps(70, 30))
    assert fraction == pytest.approx(0.3)
    assert posterior.dtype == torch.float32
    assert torch.equal(posterior > 0.5, torch.arange(100) >= 70)


def test_equal_losses_hold_nothing_suspicious():
    fraction, posterior = loss_mixture([0.7] * 5)
    assert fraction == 0 and not posterior.any()


@given(st.integers(20, 80), st.integers(20, 80), st.floats(0.01, 100), st.floats(-5, 5), st.integers(0, 99))
@settings(max_examples=30)
def test_neither_the_unit_of_the_losses_nor_their_order_matters(low, high, unit, shift, seed):
    losses = two_humps(low, high, seed)
    order = torch.randperm(low + high, generator=torch.Generator().manual_seed(seed))
    fraction, posterior = loss_mixture((unit * losses + shift)[order])
    assert fraction == pytest.approx(high / (low + high))
    assert torch.equal(posterior > 0.5, (torch.arange(low + high) >= low)[order])


@given(st.lists(st.floats(0, 20, width=32), min_size=2, max_size=60))
@settings(max_examples=50)
def test_any_losses_give_a_fraction_below_one_and_probabilities(losses):
    fraction, posterior = loss_mixture(losses)
    assert 0 <= fraction < 1
    assert posterior.shape == (len(losses),) and ((posterior >= 0) & (posterior <= 1)).all()


@pytest.mark.parametrize("losses", [[1.0], [1.0, np.nan], [1.0, np.inf], [[1.0, 2.0]], []])
def test_bad_losses_are_refused(losses):
    with pytest.raises(ValueError, match="losses has shape"):
        loss_mixture(losses)


def test_the_estimate_is_the_mixture_of_the_last_warmup_epoch(digits):
    data = digits.with_noise(noise.symmetric(0.4), seed=0)
    expected = loss_mixture(fit(data, "mlp", Everything(), epochs=3, seed=2, progress=False).losses[-1])[0]
    assert estimate_fraction(data, "mlp", warmup=3, seed=2) == expected
    assert 0.35 < expected < 0.5


def test_the_estimate_sees_no_clean_label(digits):
    data = digits.with_noise(noise.symmetric(0.4), seed=0)
    blind = type(data).from_arrays(data.images, data.labels)
    assert estimate_fraction(blind, "mlp", warmup=2) == estimate_fraction(data, "mlp", warmup=2)


@pytest.mark.parametrize("warmup", [0, -1, 1.5])
def test_a_warmup_below_one_epoch_is_refused(digits, warmup):
    with pytest.raises(ValueError, match="warmup"):
        estimate_fraction(digits, "mlp", warmup=warmup)


def test_step_e_with_the_estimate_excludes_that_fraction_after_the_ramp():
    losses = torch.stack([two_humps(70, 30, seed) for seed in range(8)])
    rule = EstimatedStepE(warmup=2, ramp=3)
    excluded = [int((rule(losses[:epoch], epoch) == 0).sum()) for epoch in range(8)]
    assert excluded == [0, 0, 0, 10, 20, 30, 30, 30]
