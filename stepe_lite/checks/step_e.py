"""Checks of notebook 3."""

import numpy as np
import torch

from .. import ranking, schedules
from .shared import Wrong, call, exercise, near, number, recognise, tensor


@exercise("3.1")
def linear_schedule(answer):
    """`answer(epoch, warmup, ramp, final)`: the excluded fraction of a linear schedule."""
    for values, wanted, ramp, schedule, epoch, said in misses(answer, schedules.linear):
        told = [(100 * wanted[ramp], "That is a percentage."), (wanted[ramp] / schedule.final, OF_THE_RAMP)]
        recognise(values[ramp], told, before=said)
        begin, end = schedule.warmup, schedule.warmup + schedule.ramp
        if epoch <= begin:
            raise Wrong(f"{said}Up to and including epoch {begin} nothing is excluded.")
        if epoch >= end:
            raise Wrong(f"{said}The ramp is over, so it stays at final.")
        raise Wrong(f"{said}The ramp is a straight line from epoch {begin} to epoch {end}.")
    return "0 during the warm-up, a straight ramp, then constant."


OF_THE_RAMP = "That is the share of the ramp: multiply it by final."


def misses(answer, make):
    """Where `answer(epoch, warmup, ramp, final)` differs from the schedules of `make`, a function of `schedules`.

    Yields its values at epochs 0 to 39 and the wanted ones (one epoch alone may agree with a wrong formula by chance),
    the slice of the epochs inside the ramp, the schedule, the first epoch that differs, and a sentence on that one.
    """
    for warmup, ramp, final in ((5, 16, 0.4), (0, 10, 0.2), (3, 4, 0.9)):
        schedule, given = make(warmup, ramp, final), f"with warmup={warmup}, ramp={ramp}, final={final}"
        values, wanted = [], np.array([schedule(epoch) for epoch in range(40)])
        for epoch in range(40):
            when = f" at epoch {epoch} {given}"
            values.append(number(call(answer, epoch, warmup, ramp, final, when=when), f"a fraction{when}"))
        if not near(values, wanted):
            at = next(epoch for epoch in range(40) if not near(values[epoch], wanted[epoch]))
            said = f"It should be {wanted[at]:.4g} at epoch {at} {given}; yours is {values[at]:.4g}. "
            yield np.array(values), wanted, slice(warmup + 1, warmup + ramp), schedule, at, said


@exercise("3.2")
def exclude_highest(answer):
    """`answer(losses, fraction)`: weights (n,), 0 for the round(fraction · n) highest losses, 1 for the others."""
    generator = torch.Generator().manual_seed(0)
    for n, fraction in ((10, 0.4), (7, 0.5), (48, 0.4), (49, 0.4), (100, 0.0), (3, 0.1)):
        losses = torch.rand(n, generator=generator)
        weights = tensor(call(answer, losses, fraction), (n,), "one weight a sample").float()
        explain_weights(weights, losses, fraction, f"With {n} losses and fraction {fraction}: ")
    tied = torch.tensor([1.0, 1.0, 1.0, 1.0, 0.0, 2.0])
    excluded = int((tensor(call(answer, tied, 0.5), (6,), "one weight a sample") == 0).sum())
    if excluded != 3:
        raise Wrong(
            f"With equal losses {tied.tolist()} and fraction 0.5 you exclude {excluded}, not 3: sort, then cut."
        )
    return "The highest losses have weight 0, all others 1."


@exercise("3.3")
def relative_cost(answer):
    """`answer`: cost of an epoch at 40 % exclusion, relative to standard training, when all excluded are re-scored."""
    cost, right = number(answer, "one number"), 0.6 + 0.4 / 3
    if near(cost, right, 0.004):
        return "0.6 + 0.4 / 3 = 0.73: an epoch is cheaper than in standard training."
    told = {
        0.6: "0.6 is the training of the kept samples alone (or both groups swapped). Add the scoring of the others.",
        1.0: "A forward pass is a third of a training step (forward 1, backward 2): re-scoring is the cheaper one.",
        0.4 / 3: "That is the re-scoring alone. Add the training of the kept samples.",
        3 * right: "That counts forward passes. Standard training needs 3 a sample: divide by 3.",
        100 * right: "That is a percentage. Leave it as a share.",
        1 / right: "That is standard training relative to Step-E. The other way round.",
    }
    recognise(cost, told, 0.004)
    raise Wrong(f"{cost:g} is not it. Training a sample costs 3 forward passes, re-scoring it costs 1.")


def explain_weights(weights, losses, fraction, where="", rounding=(round,)):
    """Raise Wrong unless `weights` exclude the highest `losses`; say what they do instead."""
    n = len(losses)
    right = [of(fraction * n) for of in rounding]  # how many may be excluded
    highest = [ranking.exclude_highest(losses, m / n) for m in right]
    excluded = int((weights == 0).sum())
    if any(torch.equal(weights, each) for each in highest):
        return
    if not ((weights == 0) | (weights == 1)).all():
        raise Wrong(f"{where}a weight is 0 (excluded) or 1 (kept); yours hold other numbers too.")
    if 0 in right and excluded == n:
        raise Wrong(f"{where}nothing should be excluded, but you exclude all: [-m:] with m = 0 is everything.")
    if any(torch.equal(weights, 1 - each) for each in highest):
        raise Wrong(f"{where}the wrong way round. 1 keeps a sample, 0 excludes it.")
    if excluded not in right:
        hint = " Use round(fraction * n)." if abs(excluded - right[0]) == 1 else ""
        raise Wrong(f"{where}of {n} samples {right[0]} should be excluded; you exclude {excluded}.{hint}")
    if any(torch.equal(weights, ranking.exclude_highest(-losses, m / n)) for m in right):
        raise Wrong(f"{where}you exclude the lowest losses. The highest ones should go.")
    raise Wrong(f"{where}the right number is excluded, {excluded}, but not those with the highest (last) loss.")
