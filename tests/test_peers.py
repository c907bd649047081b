"""Peers of Step-E: confident learning, and the fraction estimated on the way."""

import numpy as np
import pytest
import torch
from torch import nn

from stepe_lite import Dataset, analysis, fit, models, noise, peers
from stepe_lite.history import network_digest
from stepe_lite.peers import EstimatedStepE

SETTINGS = {"epochs": 3, "batch_size": 32, "device": "cpu"}


@pytest.fixture(scope="module")
def small():
    """240 digits with pair flips."""
    from stepe_lite import load

    return load("digits").subset(240, seed=0).with_noise(noise.pair_flip(0.2), seed=0)


def test_every_sample_is_judged_once_and_by_a_network_that_never_saw_it(small):
    held_out = []
    for train, rest in peers._folds(small.labels, 4, seed=0):
        assert sorted([*train.tolist(), *rest.tolist()]) == list(range(240))
        counts = torch.bincount(small.labels[rest], minlength=10)
        assert (counts - torch.bincount(small.labels) / 4).abs().max() <= 1  # classes are spread evenly
        held_out += rest.tolist()
    assert sorted(held_out) == list(range(240))


def test_the_answer_is_a_mask_and_probabilities(small):
    found = peers.confident_learning(small, "mlp", folds=3, **SETTINGS)
    assert found.issues.shape == (240,) and found.issues.dtype == torch.bool
    assert found.probabilities.shape == (240, 10)
    torch.testing.assert_close(found.probabilities.sum(1), torch.ones(240))
    assert found.seconds > 0


def test_same_seed_same_answer(small):
    one, two, other = (peers.confident_learning(small, "mlp", seed=s, folds=3, **SETTINGS) for s in (0, 0, 1))
    assert torch.equal(one.probabilities, two.probabilities) and torch.equal(one.issues, two.issues)
    assert not torch.equal(one.probabilities, other.probabilities)


def test_clean_labels_are_not_used(small):
    unknown = Dataset.from_arrays(small.images, small.labels, classes=small.classes)
    with_truth, without = (peers.confident_learning(d, "mlp", folds=3, **SETTINGS) for d in (small, unknown))
    assert torch.equal(with_truth.probabilities, without.probabilities)


def test_a_network_that_is_passed_stays_as_it_was(small):
    net = models.mlp()
    before = network_digest(net)
    peers.confident_learning(small, net, folds=3, **SETTINGS)
    assert network_digest(net) == before


class _Brightness(nn.Module):
    """Says class 1 for images brighter than the average of those it was trained on."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x):
        brightness = 20 * x.mean((1, 2, 3))
        return self.scale * torch.stack([-brightness, brightness], 1)


def test_it_finds_exactly_the_flipped_labels_where_the_network_knows_the_truth():
    truth = np.arange(60) % 2
    images = np.full((60, 1, 4, 4), 50, np.uint8) + 150 * truth[:, None, None, None].astype(np.uint8)
    given = truth.copy()
    given[[4, 11, 30]] ^= 1
    data = Dataset.from_arrays(images, given, clean_labels=truth)
    found = peers.confident_learning(data, _Brightness(), epochs=1, batch_size=16, lr=1e-9)
    assert torch.equal(found.issues, data.is_mislabeled)
    assert analysis.precision_recall(found.issues, data.is_mislabeled) == (1, 1)


def test_more_folds_than_samples_in_a_class_are_refused():
    data = Dataset.from_arrays(np.zeros((7, 1, 2, 2), np.uint8), np.array([0, 0, 0, 0, 0, 1, 1]))
    with pytest.raises(ValueError, match=r"folds is 3, but a class has only 2 sample\(s\)"):
        peers.confident_learning(data, "mlp", folds=3)


@pytest.mark.parametrize("folds", [1, 2.5])
def test_folds_must_be_two_or_more(small, folds):
    with pytest.raises(ValueError, match="folds is"):
        peers.confident_learning(small, "mlp", folds=folds)


def test_the_estimated_fraction_survives_samples_that_were_never_seen(digits):
    data = digits.with_noise(noise.symmetric(0.3), 0)
    history = fit(data, "mlp", EstimatedStepE(1, 2), steps=3, progress=False)
    assert history.losses.isnan().any() and len(history.log) == 1
    rule, losses = EstimatedStepE(1, 0), torch.cat([torch.rand(80), 5 + torch.rand(20), torch.full((10,), torch.nan)])
    assert (rule(losses[None], 1) == 0).sum() == round(0.2 * 110)
