"""`exclude_highest` selects by a threshold. Here it is held against a full stable sort, which says who is excluded."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stepe_lite.ranking import exclude_highest

DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
SPECIAL = [math.nan, math.inf, -math.inf, 0.0, -0.0, 1.0, -1.0, 2.5, 1e-30, 65504.0]


def by_sorting(scores, fraction):
    """Torch sorts NaN above every number, and a stable sort keeps equal scores in the order of their index."""
    weights = torch.ones(len(scores))
    weights[torch.sort(scores, descending=True, stable=True).indices[: round(fraction * len(scores))]] = 0
    return weights


def check(scores, m):
    fraction = m / len(scores)
    weights = exclude_highest(scores, fraction)
    assert weights.dtype == torch.float32 and weights.device == scores.device
    assert (weights == 0).sum() == m
    assert torch.equal(weights, by_sorting(scores, fraction)), (scores, m)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_equals_a_stable_sort_for_every_short_row_of_special_values(dtype):
    for n in (1, 2, 3, 4):
        for values in itertools.product(SPECIAL[:7], repeat=n):
            for m in range(n):
                check(torch.tensor(values, dtype=dtype), m)


@settings(max_examples=1000)
@given(st.data())
def test_equals_a_stable_sort_for_any_floats(data):
    width = data.draw(st.sampled_from([16, 32, 64]))
    number = st.one_of(st.sampled_from(SPECIAL), st.floats(width=width))
    values = data.draw(st.lists(number, min_size=1, max_size=60))
    dtype = data.draw(
        st.sampled_from([torch.bfloat16, {16: torch.float16, 32: torch.float32, 64: torch.float64}[width]])
    )
    check(torch.tensor(values, dtype=dtype), data.draw(st.integers(0, len(values) - 1)))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_equals_a_stable_sort_on_3000_random_rows_with_ties(dtype):
    generator = torch.Generator().manual_seed(0)

    def number(high):
        return torch.randint(high, (1,), generator=generator).item()

    for _ in range(3000):
        n = 1 + number(300)
        scores = torch.randn(n, generator=generator)
        if number(2):  # ties
            scores = (scores * (1 + number(4))).round()
        for special in SPECIAL[: number(4)]:
            scores[torch.rand(n, generator=generator) < 0.2] = special
        check(scores.to(dtype), number(n))


@pytest.mark.parametrize("falls", [True, False])
def test_the_order_of_the_scores_costs_no_time_that_is_quadratic(falls):
    """A million falling losses: torch.kthvalue would need half a minute for them, a selection a few milliseconds."""
    scores = torch.linspace(5, 0, 1_000_000) if falls else torch.linspace(0, 5, 1_000_000)
    check(scores, 400_000)


def test_scores_that_carry_a_gradient_whole_numbers_and_views_are_ranked_too():
    losses = torch.tensor([1.0, 3.0, 2.0, 3.0], requires_grad=True)
    assert exclude_highest(losses, 0.5).tolist() == [1, 0, 1, 0]
    assert exclude_highest(torch.tensor([1, 3, 2, 3]), 0.25).tolist() == [1, 0, 1, 1]
    assert exclude_highest(torch.tensor([[1.0, 3.0, 2.0, 3.0]] * 2).T[:, 1], 0.25).tolist() == [1, 0, 1, 1]
    assert losses.tolist() == [1, 3, 2, 3]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_a_gpu_excludes_the_same_with_deterministic_algorithms_too():
    generator = torch.Generator().manual_seed(0)
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        for n in (1, 7, 1000, 100_000):
            scores = torch.randn(n, generator=generator).round(decimals=1)
            scores[torch.rand(n, generator=generator) < 0.1] = math.nan
            for fraction in (0.0, 0.05, 0.4, 0.9):
                if round(fraction * n) < n:
                    there = exclude_highest(scores.cuda(), fraction)
                    assert torch.equal(there.cpu(), by_sorting(scores, fraction))
    finally:
        torch.use_deterministic_algorithms(before)
