"""Checks of notebook 2."""

import math

import numpy as np
import torch

from .shared import Wrong, call, exercise, near, number, recognise, tensor
from .step_e import explain_weights


@exercise("2.1")
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


@exercise("2.2")
def early_stopping_epoch(answer):
    """`answer(validation_accuracy)`: the first epoch with the highest validation accuracy, 0-based."""
    after_long = [0.3, 0.6, *[0.5 + 0.002 * epoch for epoch in range(30)], 0.7, 0.65]  # whoever is patient gives up
    for accuracy in ([0.2, 0.5, 0.45, 0.55, 0.54, 0.55, 0.4], after_long, [0.7, 0.6, 0.5], [0.2, 0.4, 0.6, 0.7]):
        epoch, wanted = number(call(answer, np.array(accuracy)), "an epoch"), int(np.argmax(accuracy))
        if epoch == wanted:
            continue
        said = f"For {accuracy if len(accuracy) < 10 else 'a curve that is best after a long valley'} "
        said += f"the answer is epoch {wanted}; yours is {epoch:g}. "
        falls = [at for at in range(1, len(accuracy)) if accuracy[at] < accuracy[at - 1]]
        recognise(epoch, [
            (wanted + 1, "Epochs count from 0."),
            (len(accuracy) - 1 - int(np.argmax(accuracy[::-1])), "That one is as good, but comes later. Take the "
             "first."),
            *((at - 1, "That is only a first peak. The curve rises again: look at all epochs.") for at in falls),
            *((at, "You stop where the curve falls. It rises again: look at all epochs.") for at in falls),
            (len(accuracy) - 1, "That is the last epoch. Which one is best?"),
            (int(np.argmin(accuracy)), "That is the worst epoch. Which one is best?"),
            (max(accuracy), "That is the accuracy. Which epoch has it?"),
        ], before=said)  # fmt: skip
        raise Wrong(said.strip())
    return "The first of the best epochs."


@exercise("2.3")
def truncation_rule(answer):
    """`answer(losses, epoch)`: weights; all 1 in the first 3 epochs, then 0 for the 40 % highest last losses."""
    for n in (48, 50):  # 40 % are 19.2 and 20: the text leaves open how to round
        losses = torch.rand(6, n, generator=torch.Generator().manual_seed(n))
        for epoch in range(7):
            when = f" at epoch {epoch}" + (", where losses has no rows yet" if epoch == 0 else "")
            weights = tensor(call(answer, losses[:epoch], epoch, when=when), (n,), "one weight a sample").float()
            if epoch < 3 and not (weights == 1).all():
                raise Wrong(f"At epoch {epoch} every weight should be 1: epochs 0, 1 and 2 are warm-up.")
            if epoch >= 3:
                explain_weights(weights, losses[epoch - 1], 0.4, f"At epoch {epoch}: ", (math.floor, math.ceil))
    return "Warm-up first, then the 40 % with the highest last loss are out."
