"""Checks of notebook 4."""

import torch

from .. import analysis, schedules
from ..rules import OneShotFilter, SelfPaced, StepE
from .shared import Wrong, call, exercise, near, recognise, tensor
from .step_e import OF_THE_RAMP, misses


@exercise
def cosine_schedule(answer):
    """`answer(epoch, warmup, ramp, final)`: the excluded fraction of a cosine schedule."""
    for value, wanted, epoch, schedule, said in misses(answer, schedules.cosine):
        warmup, ramp, final = schedule.warmup, schedule.ramp, schedule.final
        if near(value, final - wanted):
            raise Wrong(f"{said}Yours falls where it should rise: 1 − cos, not 1 + cos.")
        if epoch < warmup:
            raise Wrong(f"{said}During the warm-up nothing is excluded.")
        recognise(value, {
            wanted / final: OF_THE_RAMP,
            100 * wanted: "That is a percentage.",
            schedule(epoch + 1): "You are one epoch ahead: t is 0 at epoch warmup.",
            schedules.cosine(warmup, max(1, ramp - warmup), final)(epoch): "`ramp` is the length of the ramp, not the "
            "epoch at which it ends.",
        }, before=said)  # fmt: skip
        if epoch >= schedule.warmup + schedule.ramp:
            raise Wrong(f"{said}The ramp is over, so it stays at final: progress stops at 1.")
        straight = schedules.linear(warmup, ramp, final)
        told = {
            straight(epoch): "That is the straight ramp. Bend its progress t: (1 − cos(π t)) / 2.",
            2 * wanted: "Half of 1 − cos(π t): the cosine goes from 1 to −1, a way of 2.",
        }
        recognise(value, told, before=said)
        raise Wrong(f"{said}The progress is t = (epoch − warmup) / ramp, from 0 to 1, so π t runs from 0 to π radians.")
    return "Flat at both ends, steepest in the middle, half of final halfway."


@exercise
def replay(answer):
    """`answer(rule, losses)`: weights (epochs, n); those of epoch e may depend on the losses before epoch e alone."""
    losses = torch.rand(9, 20, generator=torch.Generator().manual_seed(0))
    for rule in (StepE(schedules.linear(2, 4, 0.5)), OneShotFilter(0.3, 3), SelfPaced(schedules.linear(1, 5, 0.4))):
        found = call(answer, rule, losses)
        if isinstance(found, (list, tuple)) and all(isinstance(row, torch.Tensor) for row in found):
            found = torch.stack(list(found)) if len({row.shape for row in found}) == 1 else found
        weights = tensor(found, losses.shape, "a row an epoch, a column a sample").float()
        if near(weights, analysis.replay(rule, losses)):
            continue
        if near(weights, torch.stack([rule(losses[: epoch + 1], epoch) for epoch in range(9)])):
            raise Wrong("Your rule sees the future: before epoch e only the rows losses[:e] are known, without row e.")
        if near(weights, torch.stack([rule(losses, epoch) for epoch in range(9)])):
            raise Wrong("You hand over all losses at every epoch, the later ones too. Before epoch e: losses[:e].")
        if near(weights, torch.stack([rule(losses[:epoch], max(0, epoch - 1)) for epoch in range(9)])):
            raise Wrong("The losses are right, the epoch is one too small: rule(losses[:e], e).")
        if near(weights, 1 - analysis.replay(rule, losses)):
            raise Wrong("These are the excluded samples. A replay returns the weights as the rule gives them.")
        first = (weights != analysis.replay(rule, losses)).any(1).nonzero()[0].item()
        raise Wrong(f"For {rule} the weights of epoch {first} are not rule(losses[:{first}], {first}).")
    return "Every epoch sees what training would have seen at that time, and nothing more."


@exercise
def ceilings(answer):
    """`answer(final, noise_rate)`: the best possible (precision, recall) when so large a share is excluded."""
    for final, rate in ((0.2, 0.4), (0.4, 0.4), (0.8, 0.4), (0.25, 0.1)):
        when = f" for final={final}, noise_rate={rate}"
        pair = tensor(call(answer, final, rate, when=when), (2,), "a pair: precision, recall")
        precision, recall = pair.double().tolist()
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
