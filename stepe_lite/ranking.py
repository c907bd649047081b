"""The heart of Step-E: from one loss per sample to weights. Rank, then exclude from the top.

Samples are ranked by loss, highest first; ties go by index (the lower index is excluded first) and a NaN loss counts
as the highest. Everything here works on tensors of any device and keeps no state.
"""

import math

import numpy as np
import torch

from .utils import BadInput, as_tensor, check_fraction, check_positive


def exclude_highest(scores, fraction):
    """Weights that exclude the round(fraction · n) highest of `scores` (n,).

    round() is Python's: halves go to the even number. Raises ValueError if no sample would be left.
    """
    scores = as_tensor("scores", scores)
    if scores.ndim != 1 or scores.is_complex():
        raise BadInput(f"scores is {scores.dtype} {tuple(scores.shape)}, but must be one number a sample, (n,).")
    n, m = len(scores), round(check_fraction("fraction", fraction) * len(scores))
    if m >= n:
        raise BadInput(f"fraction is {fraction:g}, which would exclude all {n} samples; choose a smaller one.")
    weights = torch.ones(n, device=scores.device)
    if m == 0:
        return weights
    lowest = _kth_lowest(scores.detach(), n - m)  # the lowest loss that is excluded
    if math.isnan(lowest):  # so every excluded one is NaN, the highest there is
        higher, equal = torch.zeros_like(weights, dtype=torch.bool), scores.isnan()
    else:
        higher, equal = ~(scores <= lowest), scores == lowest  # NaN is not <= anything
    weights.masked_fill_(higher, 0)
    # Of those that are equal to it, the first ones, up to and including this index.
    last = equal.nonzero()[m - torch.count_nonzero(higher) - 1].item()
    weights[: last + 1].masked_fill_(equal[: last + 1], 0)
    return weights


def _kth_lowest(scores, k):
    """The number that would stand at place `k` if `scores` (n,) were sorted upwards, NaN last."""
    if scores.device.type == "cpu":
        # A selection, linear in n whatever the order. torch.kthvalue takes time n² where the scores fall with the
        # index: 1.3 s for 200,000. NumPy has no bfloat16, which float32 holds exactly.
        array = (scores.float() if scores.dtype == torch.bfloat16 else scores).numpy()
        return np.partition(array, k)[k].item()
    # A GPU sorts 10⁷ numbers in milliseconds, and always the same way, as torch.use_deterministic_algorithms demands.
    return scores.sort().values[k].item()


def soft_weights(scores, fraction, temperature):
    """Sigmoid weights around the loss that separates the excluded from the kept: the soft form of `exclude_highest`.

    w_i = sigmoid((threshold − loss_i) / temperature), temperature in units of loss (nats). The threshold lies halfway
    between the lowest excluded and the highest kept loss, so w_i < 0.5 exactly for the samples that the hard rule
    excludes (where losses are not tied), and the weights tend to the hard ones as the temperature goes to 0.
    """
    check_positive("temperature", temperature)
    scores = as_tensor("scores", scores)
    hard = exclude_highest(scores, fraction)
    excluded = hard == 0
    if not excluded.any():
        return hard
    finite = torch.nan_to_num(scores, nan=torch.inf)
    threshold = (finite[excluded].min() + finite[~excluded].max()) / 2
    if not torch.isfinite(threshold):  # the lowest excluded loss is infinite or unknown: there is no halfway
        return hard
    return torch.sigmoid((threshold - finite) / temperature)


def moving_average(losses, momentum):
    """Exponential moving average over the rows of `losses` (epochs, n): its last value, (n,). NaN = not yet seen."""
    losses, momentum = as_tensor("losses", losses), check_fraction("momentum", momentum)
    if losses.ndim != 2 or not len(losses):
        raise BadInput(f"losses has shape {tuple(losses.shape)}, but must be (epochs, n), one epoch at least.")
    average = losses[0]
    for row in losses[1:]:
        average = torch.where(torch.isnan(average), row, momentum * average + (1 - momentum) * row)
    return average
