"""Rules and ranking: who is excluded, by how much, and that nothing else changes the answer."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from stepe_lite import Everything, KeepOnly, LossTruncation, OneShotFilter, RandomExclusion, SelfPaced, StepE
from stepe_lite.ranking import exclude_highest, moving_average, soft_weights
from stepe_lite.schedules import constant, linear

SCHEDULE = linear(warmup=1, ramp=4, final=0.4)
LABELS = torch.tensor([0, 1, 2, 1] * 5)
RULES = [
    Everything(),
    StepE(SCHEDULE),
    StepE(SCHEDULE, soft=0.5),
    StepE(SCHEDULE, momentum=0.9),
    StepE(SCHEDULE, per_class=LABELS),
    LossTruncation(0.3, warmup=1),
    SelfPaced(SCHEDULE),
    OneShotFilter(0.3, warmup=2),
    RandomExclusion(SCHEDULE, seed=1),
    KeepOnly(LABELS > 0),
]
every_rule = pytest.mark.parametrize("rule", RULES, ids=repr)

fractions = st.floats(0, 1, exclude_max=True)
# Few different values, so that ties are common; NaN and infinity among them.
tied_losses = st.lists(st.sampled_from([0.0, 0.5, 1.0, 2.5, math.inf, math.nan]), min_size=1, max_size=30)
# All different, and far enough apart for float32.
untied_losses = st.lists(st.integers(0, 1000).map(lambda tenths: tenths / 10), min_size=2, max_size=30, unique=True)


def recorded(epochs, n=20, seed=0):
    """Random losses as a ledger would hold them, (epochs, n)."""
    return torch.rand(epochs, n, generator=torch.Generator().manual_seed(seed)) * 5


def excluded(weights):
    return set((weights == 0).nonzero().flatten().tolist())


def highest(losses, fraction):
    """What `exclude_highest` promises, by sorting: NaN first, then by loss downwards, then by index upwards."""
    order = sorted(range(len(losses)), key=lambda i: (not math.isnan(losses[i]), -np.nan_to_num(losses[i]), i))
    return set(order[: round(fraction * len(losses))])


# Ranking


@pytest.mark.parametrize(
    ("losses", "fraction", "out"),
    [
        ([1.0, 3.0, 2.0, 4.0], 0.5, {1, 3}),
        ([1.0, 3.0, 2.0, 4.0], 0.0, set()),
        ([2.0, 2.0, 2.0, 2.0], 0.5, {0, 1}),
        ([9.0, math.nan, math.inf, 1.0], 0.25, {1}),
        ([9.0, math.nan, math.inf, 1.0], 0.5, {1, 2}),
        ([5.0], 0.4, set()),
    ],
)
def test_the_highest_losses_are_excluded_worked_out_by_hand(losses, fraction, out):
    assert excluded(exclude_highest(torch.tensor(losses), fraction)) == out


@given(tied_losses, fractions)
def test_ranking_equals_a_sort_by_loss_then_index(losses, fraction):
    assume(round(fraction * len(losses)) < len(losses))
    weights = exclude_highest(torch.tensor(losses), fraction)
    assert excluded(weights) == highest(losses, fraction)
    assert set(weights.tolist()) <= {0.0, 1.0}


@pytest.mark.parametrize(("fraction", "out"), [(0.05, 0), (0.06, 1), (0.15, 2), (0.25, 2), (0.35, 4), (0.949, 9)])
def test_how_many_are_excluded_is_rounded_with_halves_to_even(fraction, out):
    assert len(excluded(exclude_highest(torch.arange(10.0), fraction))) == out


@pytest.mark.parametrize("rank", [exclude_highest, lambda *args: soft_weights(*args, temperature=1)])
def test_excluding_everything_is_refused(rank):
    with pytest.raises(ValueError, match=r"fraction is 0\.9, which would exclude all 3 samples"):
        rank(torch.rand(3), 0.9)


# Soft weights


@given(untied_losses, fractions, st.floats(0.01, 10))
def test_soft_weights_are_below_one_half_exactly_for_the_excluded(losses, fraction, temperature):
    assume(round(fraction * len(losses)) < len(losses))
    weights = soft_weights(torch.tensor(losses), fraction, temperature)
    assert set((weights < 0.5).nonzero().flatten().tolist()) == highest(losses, fraction)
    assert ((weights >= 0) & (weights <= 1)).all()


@given(untied_losses, fractions)
def test_soft_weights_tend_to_the_hard_ones_as_the_temperature_falls(losses, fraction):
    assume(round(fraction * len(losses)) < len(losses))
    losses = torch.tensor(losses)
    hard = exclude_highest(losses, fraction)
    distances = [(soft_weights(losses, fraction, temperature) - hard).abs().max() for temperature in (1, 0.1, 0.001)]
    assert distances == sorted(distances, reverse=True)
    assert distances[-1] < 1e-6


def test_a_soft_weight_is_the_sigmoid_of_the_distance_to_the_threshold():
    weights = soft_weights(torch.tensor([1.0, 2.0, 4.0, 7.0]), 0.5, temperature=2)  # the threshold is 3
    assert weights.tolist() == pytest.approx([1 / (1 + math.exp(-d / 2)) for d in (2, 1, -1, -4)])


@pytest.mark.parametrize("unknown", [math.nan, math.inf])
@pytest.mark.parametrize("fraction", [0.25, 0.5])
def test_a_soft_weight_of_a_loss_that_is_not_finite_is_0(unknown, fraction):
    weights = soft_weights(torch.tensor([1.0, unknown, 2.0, 3.0]), fraction, temperature=0.5)
    assert weights[1] == 0
    assert torch.isfinite(weights).all()


# Moving average


@given(arrays(np.float32, (5, 7), elements=st.floats(0, 100, width=32)), fractions)
def test_the_moving_average_equals_a_loop_written_by_hand(losses, momentum):
    expected = []
    for sample in losses.T.tolist():
        average = sample[0]
        for loss in sample[1:]:
            average = momentum * average + (1 - momentum) * loss
        expected.append(average)
    assert moving_average(torch.tensor(losses), momentum).tolist() == pytest.approx(expected, rel=1e-4, abs=1e-4)


def test_the_moving_average_starts_at_the_first_known_loss():
    losses = torch.tensor([[math.nan, 1.0, math.nan], [4.0, 3.0, math.nan], [2.0, 3.0, math.nan]])
    assert moving_average(losses, 0.5).tolist() == pytest.approx([3.0, 2.5, math.nan], nan_ok=True)


def test_with_momentum_persistently_high_loss_counts_more_than_one_spike():
    persistent, spike, easy = [3.0, 3.0, 3.0, 3.0], [0.1, 0.1, 0.1, 4.0], [0.1, 0.1, 0.1, 0.1]
    losses = torch.tensor([persistent, spike, easy]).T
    assert excluded(StepE(constant(0.3))(losses, 4)) == {1}
    assert excluded(StepE(constant(0.3), momentum=0.9)(losses, 4)) == {0}


# What holds for every rule


@every_rule
def test_a_rule_is_pure(rule):
    losses = recorded(6)
    before = losses.clone()
    first = rule(losses, 6)
    kept_copy = first.clone()
    first.zero_()  # what a caller does with the weights must not reach the next call
    torch.rand(1)  # nor may the global random numbers
    assert torch.equal(rule(losses, 6), kept_copy)
    assert torch.equal(losses, before)


@every_rule
@pytest.mark.parametrize("epochs", range(7))
def test_a_rule_gives_float32_weights_between_0_and_1(rule, epochs):
    weights = rule(recorded(epochs), epochs)
    assert weights.dtype == torch.float32
    assert weights.shape == (20,)
    assert ((weights >= 0) & (weights <= 1)).all()


@every_rule
def test_arrays_give_the_same_weights_as_tensors(rule):
    losses = recorded(6)
    assert torch.equal(rule(losses.double().numpy(), 6), rule(losses, 6))


@pytest.mark.parametrize("rule", RULES[:-1], ids=repr)  # all but KeepOnly, which needs no losses
def test_the_first_epoch_keeps_everything(rule):
    assert rule(recorded(0), 0).tolist() == [1.0] * 20


@every_rule
@pytest.mark.parametrize("shape", [(20,), (2, 20, 1), (3, 0)])
def test_losses_of_another_shape_are_refused(rule, shape):
    with pytest.raises(ValueError, match=r"losses has shape \(.*must be \(epochs_so_far, n\)"):
        rule(torch.zeros(shape), 3)


# One rule after the other


def test_everything_keeps_everything():
    assert Everything()(recorded(9), 9).tolist() == [1.0] * 20


@pytest.mark.parametrize("epoch", range(1, 8))
def test_step_e_ranks_by_the_last_loss_and_takes_its_number_from_the_schedule(epoch):
    losses = recorded(epoch)
    assert excluded(StepE(SCHEDULE)(losses, epoch)) == highest(losses[-1].tolist(), SCHEDULE(epoch))


def test_step_e_takes_any_function_of_the_epoch_as_schedule():
    assert len(excluded(StepE(lambda epoch: epoch / 10)(recorded(3), 3))) == 6


@given(st.lists(st.integers(0, 4), min_size=5, max_size=40), fractions, st.integers(0, 9))
def test_per_class_excludes_the_same_fraction_of_each_class_and_keeps_one_at_least(labels, fraction, seed):
    labels, losses = torch.tensor(labels), recorded(2, len(labels), seed)
    weights = StepE(constant(fraction), per_class=labels)(losses, 2)
    for label in labels.unique():
        members = labels == label
        size = int(members.sum())
        among_members = highest(losses[-1][members].tolist(), min(round(fraction * size), size - 1) / size)
        assert excluded(weights[members]) == among_members


def test_per_class_needs_the_labels():
    rule = StepE(constant(0.4), per_class=True)
    with pytest.raises(ValueError, match="pass per_class=labels"):
        rule(recorded(2), 2)
    assert torch.equal(rule.for_labels(LABELS)(recorded(2), 2), StepE(constant(0.4), per_class=LABELS)(recorded(2), 2))
    with pytest.raises(ValueError, match="per_class has 20 labels, but there are 19 losses"):
        rule.for_labels(LABELS)(recorded(2, n=19), 2)


@pytest.mark.parametrize("epoch", range(1, 6))
def test_loss_truncation_drops_the_same_share_at_every_epoch_after_the_warmup(epoch):
    losses = recorded(epoch)
    assert excluded(LossTruncation(0.3)(losses, epoch)) == highest(losses[-1].tolist(), 0.3)
    assert excluded(LossTruncation(0.3, warmup=6)(losses, epoch)) == set()


@given(st.integers(0, 5), st.integers(0, 10), st.floats(0, 0.9), st.integers(0, 99))
def test_self_paced_never_keeps_fewer_than_before_and_everything_in_the_end(warmup, ramp, final, seed):
    rule = SelfPaced(linear(warmup, ramp, final))
    kept = [rule(recorded(epoch, seed=seed), epoch).sum().item() for epoch in range(1, warmup + ramp + 2)]
    assert kept == sorted(kept)
    assert kept[0] == 20 - round(20 * (final - rule.schedule(1)))
    assert kept[-1] == 20


def test_self_paced_keeps_the_easiest():
    losses = recorded(1)
    assert excluded(SelfPaced(SCHEDULE)(losses, 1)) == highest(losses[-1].tolist(), 0.4)


def test_one_shot_filter_chooses_once_by_the_last_losses_of_the_warmup():
    rule, losses = OneShotFilter(0.3, warmup=3), recorded(12)
    choices = [excluded(rule(losses[:epoch], epoch)) for epoch in range(12)]
    assert choices == [set()] * 3 + [highest(losses[2].tolist(), 0.3)] * 9


def test_random_exclusion_excludes_as_many_as_step_e_at_every_epoch():
    for epoch in range(8):
        losses = recorded(epoch)
        weights = [rule(losses, epoch) for rule in (RandomExclusion(SCHEDULE), StepE(SCHEDULE))]
        assert weights[0].sum() == weights[1].sum()


def test_random_exclusion_grows_and_lets_nobody_back():
    choices = [excluded(RandomExclusion(SCHEDULE)(recorded(epoch), epoch)) for epoch in range(8)]
    assert all(earlier <= later for earlier, later in itertools.pairwise(choices))
    assert len(choices[-1]) == 8


def test_random_exclusion_depends_on_the_seed_and_not_on_the_losses():
    def choice(seed, losses_seed):
        return excluded(RandomExclusion(SCHEDULE, seed)(recorded(6, 1000, losses_seed), 6))

    assert choice(0, 0) == choice(0, 1)
    assert len(choice(0, 0) & choice(1, 0)) == pytest.approx(0.4 * 0.4 * 1000, abs=40)


def test_keep_only_keeps_the_mask_at_every_epoch():
    mask = torch.arange(20) % 3 == 0
    assert all(torch.equal(KeepOnly(mask)(recorded(epoch), epoch), mask.float()) for epoch in range(3))
    assert torch.equal(KeepOnly(mask.tolist())(recorded(2), 2), mask.float())


def test_rules_are_compared_by_value():
    assert StepE(SCHEDULE) == StepE(linear(1, 4, 0.4))
    assert StepE(SCHEDULE) != StepE(SCHEDULE, momentum=0.5)
    assert LossTruncation(0.3) == LossTruncation(0.3, warmup=0)


def test_rules_that_hold_labels_are_compared_by_value_too():
    assert StepE(SCHEDULE, per_class=LABELS) == StepE(SCHEDULE, per_class=LABELS.clone())
    assert StepE(SCHEDULE, per_class=LABELS) != StepE(SCHEDULE, per_class=LABELS.flip(0))


def test_different_rules_print_differently():
    others = [StepE(SCHEDULE, per_class=LABELS.flip(0)), KeepOnly(LABELS > 1), RandomExclusion(SCHEDULE, seed=2)]
    assert len({repr(rule) for rule in RULES + others}) == len(RULES + others)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: StepE(0.4), "schedule is 0.4, but must be a schedule such as schedules.linear"),
        (lambda: StepE(SCHEDULE, soft=0), "soft is 0, but must be a finite number above 0"),
        (lambda: StepE(SCHEDULE, momentum=1.0), "momentum is 1.0, but must be a number from 0"),
        (lambda: LossTruncation(1.0), "fraction is 1.0"),
        (lambda: LossTruncation(0.3, warmup=-1), "warmup is -1"),
        (lambda: SelfPaced(lambda epoch: 0.4), "but must be made by schedules.linear"),
        (lambda: OneShotFilter(0.3, warmup=0), "warmup is 0, but must be a whole number, at least 1"),
        (lambda: OneShotFilter(-0.3, warmup=1), "fraction is -0.3"),
        (lambda: RandomExclusion(None), "schedule is None"),
        (lambda: RandomExclusion(SCHEDULE, seed=0.5), "seed is 0.5, but must be a whole number"),
        (lambda: KeepOnly(torch.tensor([0, 1])), r"mask is torch.int64 \(2,\), but must be a bool vector"),
        (lambda: KeepOnly(torch.zeros(3, dtype=torch.bool)), "mask keeps no samples"),
        (lambda: KeepOnly(LABELS > 0)(recorded(1, n=19), 1), "mask has 20 entries, but there are 19 samples"),
    ],
)
def test_a_bad_argument_is_named_with_what_is_allowed(call, message):
    with pytest.raises(ValueError, match=message):
        call()
