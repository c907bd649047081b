"""Checks of notebook 2."""

import math

import numpy as np
import torch

from .shared import Wrong, call, exercise, near, number, recognise, tensor
from .step_e import explain_weights


@exercise
def memorised_share(answer):
    """`answer(losses)`: share of the samples whose given label has a probability above 1/2. losses (n,) in nats."""
    for chances in ([0.9, 0.6, 0.51, 0.49, 0.3, 0.01, 0.8, 0.7, 0.2, 0.55], [0.52, 0.4, 0.1, 0.2]):
        chances = torch.tensor(chances)
        share, wanted = number(call(answer, -chances.log()), "one number"), (chances > 0.5).float().mean().item()
        if near(share, wanted):
            continue
        told = {
            1 - wanted: "That is the share of the others. A high probability means a low loss.",
            100 * wanted: "That is a percentage. Leave it as a share between 0 and 1.",
            wanted * len(chances): "You counted the samples. Their share is the count divided by n.",
            (chances > math.exp(-0.5)).float().mean().item(): "The loss is −ln p, not p: at which loss is p = 1/2?",
            (chances > 2**-0.4343).float().mean().item(): "Use the natural logarithm: np.log, not np.log10.",
        }
        recognise(share, told)
        given = [round(c, 2) for c in chances.tolist()]
        raise Wrong(f"For the probabilities {given} it is {wanted:g}; yours is {share:.3g}.")
    return "loss < ln 2 ≈ 0.693 means a probability above 1/2."


@exercise
def early_stopping_epoch(answer):
    """`answer(validation_accuracy)`: the first epoch with the highest validation accuracy, 0-based."""
    accuracy = [0.2, 0.5, 0.45, 0.55, 0.54, 0.55, 0.4]
    epoch = number(call(answer, np.array(accuracy)), "an epoch")
    if epoch == 3:
        return "The first of the best epochs."
    told = {
        5: "Epoch 5 is as good as epoch 3, but comes later. Take the first.",
        4: "Epochs count from 0.",
        1: "Epoch 1 is only the first peak. The curve rises again: look at all epochs.",
        2: "You stop where the curve first falls. It rises again: look at all epochs.",
        6: "That is the last epoch. Which one is best?",
        0: "That is the worst epoch. Which one is best?",
        0.55: "That is the accuracy. Which epoch has it?",
    }
    raise Wrong(told.get(epoch, f"For {accuracy} the answer is epoch 3; yours is {epoch:g}."))


@exercise
def truncation_rule(answer):
    """`answer(losses, epoch)`: weights; all 1 in the first 3 epochs, then 0 for the 40 % highest last losses."""
    for n in (48, 49):  # 0.4 · 48 = 19.2 and 0.4 · 49 = 19.6: one catches ceil, the other floor
        losses = torch.rand(6, n, generator=torch.Generator().manual_seed(n))
        for epoch in range(7):
            when = f" at epoch {epoch}" + (", where losses has no rows yet" if epoch == 0 else "")
            weights = tensor(call(answer, losses[:epoch], epoch, when=when), (n,), "one weight a sample").float()
            if epoch < 3 and not (weights == 1).all():
                raise Wrong(f"At epoch {epoch} every weight should be 1: epochs 0, 1 and 2 are warm-up.")
            if epoch >= 3:
                explain_weights(weights, losses[epoch - 1], 0.4, f"At epoch {epoch}: ")
    return "Warm-up first, then the 40 % with the highest last loss are out."
