"""Checks of notebook 8."""

import numpy as np
import torch

from .shared import Wrong, call, exercise, near, number, recognise, tensor


@exercise("8.1")
def rank_suspects(answer):
    """`answer(losses)`: the numbers of all samples, the one of the highest mean loss over all epochs first."""
    losses = torch.tensor([[7.0, 1, 2.5, 7.5, 4.5], [4, 8, 0.5, 2, 3], [5.5, 7, 6.5, 3.5, 4.5]])
    found = tensor(call(answer, losses), None, "the numbers of the samples").flatten().tolist()
    right = _descending(losses.mean(0))
    if found == right:
        return "All samples, and the most persistent losses first."
    told = [
        (right[::-1], "The right order, from the wrong end: the highest mean loss comes first."),
        (torch.tensor(right).argsort().tolist(), "These are ranks. Return the samples in their order: one argsort."),
        (right[:1], "That is the most suspicious sample alone. Return all of them, in order."),
        (_descending(losses[-1]), "You sort by the last epoch. The mean over *all* epochs, losses.mean(0), counts."),
        (_descending(losses[0]), "You sort by the first epoch. The mean over all epochs counts."),
        (_descending(losses.amax(0)), "You sort by each sample's highest loss. The mean over the epochs counts."),
        (_descending(losses.amin(0)), "You sort by each sample's lowest loss. The mean over the epochs counts."),
        (_descending(losses.median(0).values), "You sort by the median. The mean over the epochs counts."),
        (_descending(losses[1:].mean(0)), "You leave out the first epoch. The mean over *all* epochs counts."),
        (_descending(losses[:-1].mean(0)), "You leave out the last epoch. The mean over *all* epochs counts."),
    ]
    if not near(found, np.round(found)) or len(found) > losses.shape[1]:
        raise Wrong("Those look like losses. Return the numbers of the samples, in the order of their mean losses.")
    recognise(found, [(order, words) for order, words in told if len(order) == len(found)])
    raise Wrong(f"By mean loss the order is {right}; yours is {found}.")


def _descending(values):
    return values.argsort(descending=True).tolist()


@exercise("8.2")
def best_precision(answer):
    """`answer`: the best possible precision among the first 2,000 rows, where 800 of 10,000 labels are wrong."""
    share = number(answer, "one number")
    if near(share, 0.4, 0.004):
        return "800 of 2,000. More rows than there are wrong labels must show right ones, whatever the ranking."
    told = {
        0.08: "That is the share of wrong labels among all samples. What is it among the 2,000, at best?",
        0.2: "That is the share you look at. How many of these samples can be mislabeled?",
        1.0: "You look at 2,000 samples, but only 800 labels are wrong: some of them must be clean.",
        2.5: "The other way round: mislabeled among the rows, so the rows are below the line.",
        0.6: "That is the share of clean samples among the rows. Precision counts the mislabeled ones.",
        40: "That is a percentage. Leave it as a share.",
        800: "That is how many of the rows can be mislabeled. Divide by how many rows there are.",
    }
    recognise(share, told, 0.004)
    raise Wrong(f"{share:g} is not it. How many rows are there, and how many of these can be mislabeled at most?")


@exercise("8.3")
def apply_decisions(answer):
    """`answer(labels, decisions)`: new labels where `decisions` is dict sample -> class, or None: it is left out."""
    labels, decisions = torch.tensor([3, 3, 1, 2, 0, 1]), {1: None, 4: 2, 2: 0, 3: None}
    found = call(answer, labels, dict(decisions))
    found = tensor(found, None, "one class for each sample that stays").flatten().tolist()
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
