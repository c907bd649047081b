"""Checks of notebook 8."""

import numpy as np
import torch

from .shared import Wrong, call, exercise, near, number, recognise, tensor


@exercise
def rank_suspects(answer):
    """`answer(losses, weights)`: the samples with weight 0 in the last epoch, those of the highest mean loss first."""
    losses = torch.tensor([[1, 2, 0.5, 5, 6, 9], [1, 2, 0.5, 5, 6, 9], [1, 8, 0.5, 3, 6, 1]])
    weights = torch.tensor([[1.0, 1, 1, 0, 1, 1], [1, 1, 1, 0, 0, 0], [1, 0, 1, 0, 0, 1]])
    found = call(answer, losses, weights)
    found = tensor(found, np.shape(found), "the numbers of the samples").flatten()
    if found.dtype == torch.bool:
        raise Wrong("That is a mask of True and False. Return the numbers of the samples, in order.")
    found = found.tolist()
    if found == [4, 3, 1]:
        return "Excluded at the end, and the most persistent losses first."
    told = {
        (1, 3, 4): "The right samples, but the lowest mean loss comes first, or they are not sorted at all.",
        (1, 4, 3): "You do not sort by the mean over *all* epochs, losses.mean(0). Epochs in training count as well.",
        (3, 4, 1): "You sort by how often they were excluded. Sort by the mean loss, losses.mean(0).",
        (2, 1, 0): "These are positions within the excluded samples. Use them to pick from those samples' numbers.",
        (5, 4, 3, 1, 0, 2): "You rank all samples. Only those with weight 0 in the last epoch count: weights[-1] == 0.",
        (5, 4, 3, 1): "You take samples that were excluded at any epoch. Only the last epoch counts: weights[-1].",
        (5, 0, 2): "These samples are kept in the last epoch: weight 1. The excluded ones have weight 0.",
        (3,): "That is who was excluded at the first epoch. The last one counts: weights[-1].",
    }
    if any(value != int(value) for value in found):
        raise Wrong("Those look like losses. Return the numbers of the samples, in the order of their losses.")
    said = f"The excluded samples are 1, 3 and 4, by mean loss 4, 3, 1; yours are {found}."
    raise Wrong(told.get(tuple(found), said))


@exercise
def best_precision(answer):
    """`answer`: the best possible precision when 800 of 10,000 labels are wrong and 20 % of the samples are out."""
    share = number(answer, "one number")
    if near(share, 0.4, 0.004):
        return "800 of 2,000. A guess that is too high cannot be precise, whatever the ranking."
    told = {
        0.08: "That is the share of wrong labels among all samples. What is it among the excluded ones, at best?",
        0.2: "That is the share that is excluded. How many of these samples can be mislabeled?",
        1.0: "2,000 samples are excluded, but only 800 labels are wrong: some that leave must be clean.",
        2.5: "The other way round: mislabeled among excluded, so the excluded samples are below the line.",
        0.6: "That is the share of clean samples among the excluded. Precision counts the mislabeled ones.",
        40: "That is a percentage. Leave it as a share.",
        800: "That is how many of the excluded can be mislabeled. Divide by how many are excluded.",
    }
    recognise(share, told, 0.004)
    raise Wrong(f"{share:g} is not it. How many samples are excluded, and how many of these can be mislabeled at most?")


@exercise
def apply_decisions(answer):
    """`answer(labels, decisions)`: new labels where `decisions` is dict sample -> class, or None: it is left out."""
    labels, decisions = torch.tensor([3, 3, 1, 2, 0, 1]), {1: None, 4: 2, 2: 0, 3: None}
    found = call(answer, labels, dict(decisions))
    found = tensor(found, np.shape(found), "one class for each sample that stays").flatten().tolist()
    if found == [3, 0, 2, 1]:
        return "New labels, the dropped samples left out, and the given labels are as they were."
    told = {
        (3, 3, 0, 2, 2, 1): "The new classes are right, but samples 1 and 3 are still there: None means left out.",
        (3, 1, 0, 1): "Samples 1 and 3 are out, but the others did not get their new classes.",
        (3, 2, 1): "Class 0 is a class too, but `if not label` takes it for None. Ask: label is None.",
        (3, 1, 0, 2): "When a sample is left out, all later ones move up. Find out first who stays, and cut once.",
        (3, -1, 0, -1, 2, 1): "None means left out, not −1.",
        (0, 1, 2, 3): "The order changed: the samples that stay keep their places.",
        (2, 0): "These are the decided samples alone. The others stay as they are.",
    }
    said = f"For {labels.tolist()} and {decisions} the answer is [3, 0, 2, 1]; yours is {found}."
    raise Wrong(told.get(tuple(found), said))
