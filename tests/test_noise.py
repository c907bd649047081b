"""Noise models: exact rates, the right wrong labels, the same ones again from the same seed."""

import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from stepe_lite.noise import (
    asymmetric,
    cifar10n,
    instance_dependent,
    pair_flip,
    symmetric,
    transition_matrix,
    uneven_classes,
)

CIFAR10N = {"aggre": 0.09010, "random1": 0.17234, "random2": 0.18122, "random3": 0.17640, "worse": 0.40208}
MODELS = [
    symmetric(0.4), pair_flip(0.3), asymmetric(cifar10n("worse")), asymmetric(uneven_classes(10, 0.4, 0.2)),
    instance_dependent(0.3),
]  # fmt: skip
every_model = pytest.mark.parametrize("model", MODELS, ids=repr)
exact_model = pytest.mark.parametrize("make", [symmetric, pair_flip])

rates = st.floats(0, 1, exclude_max=True)
sizes, class_counts, seeds = st.integers(1, 200), st.integers(2, 10), st.integers(0, 2**32)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def random_labels(n, k, seed=0):
    return torch.randint(0, k, (n,), generator=seeded(seed))


# How many


@exact_model
@given(rate=rates, n=sizes, k=class_counts, seed=seeds)
def test_exactly_the_rate_of_the_labels_becomes_wrong(make, rate, n, k, seed):
    labels = random_labels(n, k)
    before = labels.clone()
    given_labels = make(rate)(labels, None, k, seeded(seed))
    assert (given_labels != before).sum() == round(rate * n)
    assert ((given_labels >= 0) & (given_labels < k)).all()
    assert torch.equal(labels, before)


@given(n=sizes, matrix=st.integers(2, 5).flatmap(lambda k: arrays(float, (k, k), elements=st.floats(0, 1))), seed=seeds)
def test_asymmetric_counts_are_within_1_of_the_matrix(n, matrix, seed):
    assume((matrix.sum(1) > 0.01).all())
    matrix /= matrix.sum(1, keepdims=True)
    k = len(matrix)
    labels = random_labels(n, k)
    given_labels = asymmetric(matrix)(labels, None, k, seeded(seed))
    counts = torch.bincount(labels * k + given_labels, minlength=k * k).reshape(k, k)
    expected = torch.from_numpy(matrix) * labels.bincount(minlength=k)[:, None]
    assert (counts - expected).abs().max() < 1 + 1e-9


@pytest.mark.parametrize("rate", [0.2, 0.4, 0.6, 0.8])
def test_instance_dependent_noise_is_near_its_rate(digits, rate):
    assert digits.with_noise(instance_dependent(rate), seed=0).noise_rate == pytest.approx(rate, abs=0.05)


@pytest.mark.parametrize("make", [symmetric, pair_flip, instance_dependent])
def test_a_rate_of_0_changes_nothing(digits, make):
    assert digits.with_noise(make(0.0), seed=0).noise_rate == 0


# Which


def test_pair_flip_gives_the_next_class():
    labels = torch.arange(5).repeat(40)
    given_labels = pair_flip(0.5)(labels, None, 5, seeded())
    wrong = given_labels != labels
    assert torch.equal(given_labels[wrong], (labels[wrong] + 1) % 5)
    assert set(labels[wrong].tolist()) == {0, 1, 2, 3, 4}


def test_symmetric_noise_gives_every_other_class_equally_often():
    labels = torch.arange(4).repeat(5000)
    measured = transition_matrix(labels, symmetric(0.6)(labels, None, 4, seeded()), 4)
    expected = torch.full_like(measured, 0.2).fill_diagonal_(0.4)
    assert (measured - expected).abs().max() < 0.025


def test_asymmetric_noise_leaves_alone_what_the_matrix_leaves_alone():
    cat_becomes_dog = [[1, 0, 0], [0, 0.5, 0.5], [0, 0, 1]]
    labels = torch.tensor([0, 1, 2] * 10)
    measured = transition_matrix(labels, asymmetric(cat_becomes_dog)(labels, None, 3, seeded()), 3)
    assert measured.tolist() == cat_becomes_dog


def agreement(model, images, copies=200, k=10):
    """Share of pairs of wrongly labeled copies of one image that got the same wrong label, over all `images`."""
    shares = []
    for image in images:
        labels = torch.zeros(copies, dtype=torch.int64)
        wrong = model(labels, image.expand(copies, *image.shape), k, seeded(1))
        counts = wrong[wrong != 0].bincount().double()
        shares.append((counts * (counts - 1)).sum() / (counts.sum() * (counts.sum() - 1)))
    return torch.stack(shares).mean().item()


def test_instance_dependent_noise_mistakes_the_same_image_for_the_same_class(digits):
    by_chance = 1 / 9
    assert agreement(symmetric(0.5), digits.images[:20]) == pytest.approx(by_chance, abs=0.03)
    assert agreement(instance_dependent(0.5), digits.images[:20]) > 5 * by_chance


def test_instance_dependent_noise_mistakes_different_images_for_different_classes(digits):
    zeros = digits.labels == 0
    given_labels = instance_dependent(0.5)(digits.labels[zeros], digits.images[zeros], 10, seeded())
    assert len(given_labels.unique()) > 3


# A random matrix of uneven classes


def rates_of(matrix):
    return 1 - matrix.diagonal()


@given(
    k=st.integers(2, 100),
    rate=st.floats(0, 0.999),
    part=st.floats(0, 0.99),
    zeros=st.floats(0, 1, exclude_max=True),
    seed=seeds,
)
def test_uneven_classes_is_a_transition_matrix_whose_mean_rate_is_exact(k, rate, part, zeros, seed):
    matrix = uneven_classes(k, rate, part * (rate * (1 - rate)) ** 0.5, zeros=zeros, seed=seed)
    assert matrix.shape == (k, k)
    assert matrix.dtype == torch.float64
    assert (matrix >= 0).all()
    assert matrix.sum(1).tolist() == pytest.approx([1] * k, abs=1e-12)
    assert rates_of(matrix).mean().item() == pytest.approx(rate, abs=1e-12)
    assert (rates_of(matrix) < 1).all()
    asymmetric(matrix)  # which refuses what is none


@pytest.mark.parametrize(("k", "near"), [(10, 0.03), (100, 0.007)])
@pytest.mark.parametrize(("rate", "spread"), [(0.2, 0.1), (0.4, 0.2), (0.4, 0.3), (0.7, 0.2)])
def test_the_rates_of_uneven_classes_have_the_wanted_spread(k, near, rate, spread):
    spreads = torch.stack(
        [rates_of(uneven_classes(k, rate, spread, seed=seed)).std(correction=0) for seed in range(40)]
    )
    assert spreads.mean().item() == pytest.approx(spread, abs=near / 2)
    assert spreads.quantile(0.9) - spreads.quantile(0.1) < 2 * near


def test_a_spread_of_0_gives_every_class_the_same_rate_but_its_own_confusions():
    matrix = uneven_classes(10, 0.4, 0.0)
    assert rates_of(matrix).tolist() == pytest.approx([0.4] * 10)
    assert matrix[0, 1:].std() > 0.01


def test_any_class_may_be_the_worst_one():
    worst = {int(rates_of(uneven_classes(5, 0.4, 0.2, seed=seed)).argmax()) for seed in range(60)}
    assert worst == set(range(5))


@pytest.mark.parametrize(("zeros", "left"), [(0.0, 9), (0.5, 5), (0.99, 1)])
def test_a_share_of_the_confusions_can_be_ruled_out(zeros, left):
    matrix = uneven_classes(10, 0.4, 0.1, zeros=zeros)
    assert ((matrix - torch.diag(matrix.diagonal())) > 0).sum(1).tolist() == [left] * 10


def test_the_same_seed_gives_the_same_uneven_matrix_and_another_seed_another():
    first, again, other = (uneven_classes(10, 0.4, 0.2, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def shape_of(matrices):
    """Of matrices (m, k, k), row = clean class: mean and spread of the rates, share of zeros, a row's largest part."""
    k = matrices.shape[1]
    off = matrices * (1 - torch.eye(k, dtype=matrices.dtype))
    rates, largest = off.sum(2), off.amax(2) / off.sum(2)
    zeros = ((off == 0).sum((1, 2)) - k).double() / (k * (k - 1))
    return [x.mean().item() for x in (rates, rates.std(1, correction=0), zeros, largest)]


@pytest.mark.parametrize(("zeros", "near"), [(0.0, 0.02), (0.5, 0.1)])  # theirs scatters the zeros over the rows
def test_uneven_classes_makes_such_matrices_as_cleanlabs_generator(zeros, near):
    from cleanlab.benchmarking.noise_generation import generate_noise_matrix_from_trace

    k, trace = 10, 6.5
    theirs = [
        generate_noise_matrix_from_trace(k, trace, py=np.full(k, 1 / k), frac_zero_noise_rates=zeros, seed=seed).T
        for seed in range(100)  # their columns are the clean classes
    ]
    rate, spread, share, largest = shape_of(torch.tensor(np.stack(theirs)))
    assert (rate, share) == pytest.approx((1 - trace / k, zeros))
    ours = torch.stack([uneven_classes(k, rate, spread, zeros=zeros, seed=seed) for seed in range(100)])
    assert shape_of(ours)[:2] == pytest.approx((rate, spread), abs=0.02)
    assert shape_of(ours)[2:] == pytest.approx((share, largest), abs=near)


def test_labels_dealt_by_an_uneven_matrix_follow_it():
    matrix = uneven_classes(10, 0.4, 0.3, seed=3)
    labels = torch.arange(10).repeat(1000)
    measured = transition_matrix(labels, asymmetric(matrix)(labels, None, 10, seeded()), 10)
    assert (measured - matrix).abs().max() <= 1e-3


# What a data set does with them


@every_model
def test_the_same_seed_gives_the_same_labels_and_another_seed_others(digits, model):
    first, again, other = (digits.with_noise(model, seed).labels for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@every_model
def test_noise_does_not_depend_on_the_global_random_numbers_and_leaves_them_alone(digits, model):
    torch.manual_seed(1)
    first, next_number = digits.with_noise(model, 0).labels, torch.rand(1)
    torch.manual_seed(1)
    assert torch.rand(1) == next_number
    assert torch.equal(digits.with_noise(model, 0).labels, first)


@every_model
def test_noise_changes_the_training_labels_alone(digits, model):
    before = digits.labels.clone()
    noisy = digits.with_noise(model, seed=0)
    assert torch.equal(noisy.clean_labels, before)
    assert torch.equal(digits.labels, before)
    assert not torch.equal(noisy.labels, before)
    for part in ("images", "test_images", "test_labels"):
        assert torch.equal(getattr(noisy, part), getattr(digits, part))


def test_any_function_will_do_as_a_noise_model(digits):
    noisy = digits.with_noise(lambda labels, images, k, generator: (labels + 1) % k, seed=0)
    assert noisy.noise_rate == 1


def test_a_noise_model_prints_as_the_call_that_makes_it():
    assert [repr(model) for model in (symmetric(0.4), pair_flip(0.3), instance_dependent(0.2))] == [
        "symmetric(0.4)",
        "pair_flip(0.3)",
        "instance_dependent(0.2)",
    ]
    assert repr(asymmetric([[1, 0], [0, 1]], name="nothing")) == "nothing"


# Measured noise


def test_a_transition_matrix_counted_by_hand():
    clean = [0, 0, 0, 0, 1, 1, 1, 2]
    labels = [0, 0, 0, 1, 1, 2, 2, 2]
    expected = torch.tensor([[0.75, 0.25, 0], [0, 1 / 3, 2 / 3], [0, 0, 1]], dtype=torch.float64)
    assert torch.equal(transition_matrix(clean, labels, 3), expected)


def test_the_row_of_a_class_without_samples_is_unknown():
    of_0, of_1 = transition_matrix([0, 0], [0, 1], 2)
    assert of_0.tolist() == [0.5, 0.5]
    assert of_1.isnan().all()


@pytest.mark.parametrize(("kind", "rate"), CIFAR10N.items())
def test_the_matrices_of_cifar10n_have_the_published_rates(kind, rate):
    matrix = cifar10n(kind)
    assert matrix.shape == (10, 10)
    assert matrix.sum(1).tolist() == pytest.approx([1] * 10, abs=1e-12)
    assert 1 - matrix.diagonal().mean().item() == pytest.approx(rate, abs=1e-9)


@pytest.mark.parametrize("kind", CIFAR10N)
def test_asymmetric_noise_repeats_cifar10n_exactly(kind):
    labels = torch.arange(10).repeat(5000)
    given_labels = asymmetric(cifar10n(kind))(labels, None, 10, seeded())
    assert torch.equal(transition_matrix(labels, given_labels, 10), cifar10n(kind))


# Bad arguments


@pytest.mark.parametrize("make", [symmetric, pair_flip, instance_dependent])
@pytest.mark.parametrize("rate", [1.0, -0.1, math.nan, "0.4", None])
def test_a_rate_outside_0_to_1_is_refused(make, rate):
    with pytest.raises(ValueError, match=f"rate is {rate!r}, but must be a number from 0 up to"):
        make(rate)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: asymmetric([[1, 0]]), r"matrix has shape \(1, 2\), but must be square"),
        (lambda: asymmetric([[0.5, 0.4], [0, 1]]), "matrix must have entries of at least 0 and rows that sum to 1"),
        (lambda: asymmetric([[1.5, -0.5], [0, 1]]), "matrix must have entries of at least 0"),
        (lambda: asymmetric([[math.nan, 1], [0, 1]]), "matrix must have entries of at least 0"),
        (lambda: cifar10n("wrose"), "name is 'wrose'.*Did you mean 'worse'"),
        (lambda: uneven_classes(1, 0.4, 0.2), "k is 1, but must be a whole number, from 2 to"),
        (lambda: uneven_classes(10, 1.0, 0.2), "rate is 1.0, but must be a number from 0 up to"),
        (lambda: uneven_classes(10, 0.4, -0.1), "spread is -0.1, but must be a finite number of at least 0"),
        (lambda: uneven_classes(10, 0.2, 0.4), r"spread is 0.4, but must be below 0.4 = sqrt\(rate"),
        (lambda: uneven_classes(10, 0.0, 0.1), "spread is 0.1, but must be below 0"),
        (lambda: uneven_classes(10, 0.4, 0.1, zeros=1), "zeros is 1, but must be a number from 0 up to"),
        (lambda: uneven_classes(10, 0.4, 0.1, seed=-1), "seed is -1, but must be a whole number"),
        (lambda: transition_matrix([0, 1], [0], 2), r"given has shape \(1,\)"),
        (lambda: transition_matrix([0, 2], [0, 1], 2), "clean must hold whole numbers from 0 to 1"),
        (lambda: transition_matrix([0, 1], [0.0, 1.0], 2), "given must hold whole numbers from 0 to 1"),
        (lambda: transition_matrix([0, 1], [0, -1], 2), "given must hold whole numbers from 0 to 1"),
    ],
)
def test_a_bad_argument_is_named_with_what_is_allowed(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_matrix_for_another_number_of_classes_is_refused(digits):
    with pytest.raises(ValueError, match="matrix is for 2 classes, but the data set has 10"):
        digits.with_noise(asymmetric([[1, 0], [0, 1]]), seed=0)


def test_noise_upon_noise_is_refused(digits):
    noisy = digits.with_noise(symmetric(0.2), seed=0)
    with pytest.raises(ValueError, match=r"has 20\.0% wrong labels already: call \.cleaned\(\) first"):
        noisy.with_noise(symmetric(0.2), seed=0)
