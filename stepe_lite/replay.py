"""What would this rule have done? Rules are pure, so they can be asked about losses that were recorded without them."""

import pandas as pd
import torch

from .analysis import precision_recall


def replay(rule, losses):
    """The weights that `rule` gives at every epoch to recorded `losses` (epochs, n): float32 (epochs, n).

    On the losses of a run with this very rule they are the weights of that run. On those of another run they are a
    "what if" and no training: there, no loss reacts to the exclusion.
    """
    return torch.stack([rule(losses[:epoch], epoch) for epoch in range(len(losses))])


def outcome(weights, is_mislabeled):
    """A row an epoch of what `weights` (epochs, n) do to samples of which those in `is_mislabeled` bool (n,) are wrong.

    A sample is excluded where its weight is below 0.5. Columns:
    clean, mislabeled : excluded samples that are rightly and wrongly labelled, as shares of all samples
    precision, recall : mislabeled among excluded, excluded among mislabeled; NaN where undefined
    weight_clean, weight_mislabeled : mean weights; NaN where there is no such sample
    """
    excluded = weights < 0.5
    rows = [
        {
            "clean": (out & ~is_mislabeled).double().mean().item(),
            "mislabeled": (out & is_mislabeled).double().mean().item(),
            **dict(zip(("precision", "recall"), precision_recall(out, is_mislabeled))),
            "weight_clean": row[~is_mislabeled].double().mean().item(),
            "weight_mislabeled": row[is_mislabeled].double().mean().item(),
        }
        for row, out in zip(weights, excluded)
    ]
    return pd.DataFrame(rows).rename_axis("epoch")
