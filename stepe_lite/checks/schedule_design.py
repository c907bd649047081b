"""Checks of notebook 4."""

import numpy as np
import torch

from .. import analysis, schedules
from ..rules import KeepOnly, OneShotFilter, SelfPaced, StepE
from .shared import Wrong, call, exercise, near, number, pair, recognise, tensor
from .step_e import OF_THE_RAMP, misses


@exercise("4.1")
def cosine_schedule(answer):
    """`answer(epoch, warmup, ramp, final)`: the excluded fraction of a cosine schedule."""
    for values, wanted, ramp, schedule, epoch, said in misses(answer, schedules.cosine):
        warmup, length, final = schedule.warmup, schedule.ramp, schedule.final
        t = (np.arange(40) - warmup) / length

        shorter = schedules.cosine(warmup, max(1, length - warmup), final)
        recognise(values[ramp], [(curve[ramp], words) for curve, words in (
            (final - wanted, "Yours falls where it should rise: 1 − cos, not 1 + cos."),
            (wanted / final, OF_THE_RAMP),
            (100 * wanted, "That is a percentage."),
            (np.array([schedule(e + 1) for e in range(40)]), "You are one epoch ahead: t is 0 at epoch warmup."),
            (np.array([schedule(max(0, e - 1)) for e in range(40)]), "You are one epoch late: t is 0 at epoch warmup."),
            (np.array([shorter(e) for e in range(40)]), "`ramp` is the length of the ramp, not where it ends."),
            (final * t, "That is the straight ramp. Bend its progress t: (1 − cos(π t)) / 2."),
            (2 * wanted, "Half of 1 − cos(π t): the cosine goes from 1 to −1, a way of 2."),
            (final * (1 - np.cos(2 * np.pi * t)) / 2, "2 π t is a whole turn, up and down again: π t."),
            (final * (1 - np.cos(t)) / 2, "The cosine of t itself hardly moves: half a turn is π t."),
            (final * (1 - np.cos(180 * t)) / 2, "NumPy's cosine takes radians, not degrees: π t."),
        )], before=said)  # fmt: skip
        if epoch <= warmup:
            raise Wrong(f"{said}During the warm-up nothing is excluded.")
        if epoch >= warmup + length:
            raise Wrong(f"{said}The ramp is over, so it stays at final: progress stops at 1.")
        raise Wrong(f"{said}The progress is t = (epoch − warmup) / ramp, from 0 to 1, so π t runs from 0 to π radians.")
    return "Flat at both ends, steepest in the middle, half of final halfway."


@exercise("4.2")
def replay(answer):
    """`answer(rule, losses)`: weights (epochs, n); those of epoch e may depend on the losses before epoch e alone."""
    losses = torch.rand(9, 20, generator=torch.Generator().manual_seed(0))
    ramp = schedules.linear(2, 4, 0.5)
    rules = (StepE(ramp), OneShotFilter(0.3, 3), SelfPaced(schedules.linear(1, 5, 0.4)), StepE(ramp, soft=0.5),
             KeepOnly(losses[0] < 0.7))  # fmt: skip
    for rule in rules:
        found = call(answer, rule, losses)
        if isinstance(found, (list, tuple)) and all(isinstance(row, torch.Tensor) for row in found):
            found = torch.stack(list(found)) if len({row.shape for row in found}) == 1 else found
        weights = tensor(found, losses.shape, "a row an epoch, a column a sample").float()
        wanted = analysis.replay(rule, losses)
        if near(weights, wanted):
            continue
        if near(weights, torch.stack([rule(losses[: epoch + 1], epoch) for epoch in range(9)])):
            raise Wrong("Your rule sees the future: before epoch e only the rows losses[:e] are known, without row e.")
        if near(weights, torch.stack([rule(losses, epoch) for epoch in range(9)])):
            raise Wrong("You hand over all losses at every epoch, the later ones too. Before epoch e: losses[:e].")
        if near(weights, torch.stack([rule(losses[:epoch], max(0, epoch - 1)) for epoch in range(9)])):
            raise Wrong("The losses are right, the epoch is one too small: rule(losses[:e], e).")
        if near(weights, 1 - wanted):
            raise Wrong("These are the excluded samples. A replay returns the weights as the rule gives them.")
        if near(weights, (wanted > 0.5).float()) or near(weights, (wanted >= 0.5).float()):
            raise Wrong(f"{rule} gives weights between 0 and 1, and yours are 0 or 1. Return them as they are.")
        if near(weights[1:], wanted[1:]):
            raise Wrong(f"At epoch 0, too, ask the rule, with losses[:0]: {rule} has an answer already.")
        first = ((weights - wanted).abs() > 1e-5).any(1).nonzero()[0].item()
        raise Wrong(f"For {rule} the weights of epoch {first} are not what the rule gives before that epoch.")
    return "Every epoch sees what training would have seen at that time, and nothing more."


@exercise("4.3")
def ceilings(answer):
    """`answer(final, noise_rate)`: the best possible (precision, recall) when so large a share is excluded."""
    for final, rate in ((0.2, 0.4), (0.4, 0.4), (0.8, 0.4), (0.25, 0.1)):
        when = f" for final={final}, noise_rate={rate}"
        found = pair(call(answer, final, rate, when=when), "a pair: precision, recall")
        precision, recall = (number(each, "a number") for each in found)
        wanted = min(1, rate / final), min(1, final / rate)
        if near((precision, recall), wanted):
            continue
        said = f"It should be {wanted[0]:.3g} and {wanted[1]:.3g}{when}; yours are {precision:.3g} and {recall:.3g}."
        if near((recall, precision), wanted):
            raise Wrong(f"{said} Precision and recall are swapped.")
        if precision > 1 + 1e-6 or recall > 1 + 1e-6:
            raise Wrong(f"{said} A share is never above 1.")
        if final > rate and not near(precision, wanted[0]):
            raise Wrong(f"{said} More leave than are mislabeled, so some that leave are clean.")
        if final < rate and not near(recall, wanted[1]):
            raise Wrong(f"{said} Fewer leave than are mislabeled, so some mislabeled ones stay.")
        raise Wrong(f"{said} Of n samples, final · n leave and noise_rate · n are mislabeled: how many can be both?")
    return "Below the noise rate recall is capped, above it precision."
