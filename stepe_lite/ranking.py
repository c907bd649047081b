"""The heart of Step-E: from one loss per sample to weights. Rank, then exclude from the top.

Samples are ranked by loss, highest first; ties go by index (the lower index is excluded first) and a NaN loss counts
as the highest. Everything here works on tensors of any device and keeps no state.
"""

import torch

from .utils import BadInput, check_fraction


def exclude_highest(scores, fraction):
    """Weights that exclude the round(fraction · n) highest of `scores` (n,).

    round() is Python's: halves go to the even number. Raises ValueError if no sample would be left.
    """
    n, m = len(scores), round(check_fraction("fraction", fraction) * len(scores))
    if m >= n:
        raise BadInput(f"fraction is {fraction:g}, which would exclude all {n} samples; choose a smaller one.")
    weights = torch.ones(n, device=scores.device)
    # torch sorts NaN above every number, and a stable sort keeps equal losses in the order of their index.
    weights[torch.sort(scores, descending=True, stable=True).indices[:m]] = 0
    return weights


def soft_weights(scores, fraction, temperature):
    """Sigmoid weights around the loss that separates the excluded from the kept: the soft form of `exclude_highest`.

    w_i = sigmoid((threshold − loss_i) / temperature), temperature in units of loss (nats). The threshold lies halfway
    between the lowest excluded and the highest kept loss, so w_i < 0.5 exactly for the samples that the hard rule
    excludes (where losses are not tied), and the weights tend to the hard ones as the temperature goes to 0.
    """
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
    average = losses[0]
    for row in losses[1:]:
        average = torch.where(torch.isnan(average), row, momentum * average + (1 - momentum) * row)
    return average
