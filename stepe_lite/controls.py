"""Rules that look at no loss: standard training, the random control and the oracle by removal. See `rules`."""

import hashlib
from dataclasses import dataclass

import torch

from . import seeding, validate
from .ranking import exclude_highest
from .schedules import Schedule


def as_losses(losses):
    """`losses` as float32 (epochs_so_far, n), or ValueError."""
    losses = torch.as_tensor(losses, dtype=torch.float32)
    if losses.ndim != 2 or losses.shape[1] == 0:
        raise ValueError(f"losses has shape {tuple(losses.shape)}, but must be (epochs_so_far, n) with n at least 1.")
    return losses


def everything(losses):
    """Weight 1 for each sample of `losses`."""
    return torch.ones(losses.shape[1], device=losses.device)


def check_schedule(schedule):
    """Raise ValueError unless `schedule` is a function of the epoch with values in [0, 1)."""
    try:
        validate.fraction("schedule(0)", schedule(0))
    except TypeError:
        raise ValueError(
            f"schedule is {schedule!r}, but must be a schedule such as schedules.linear(5, 15, 0.4)."
        ) from None


def digest(tensor):
    """Eight letters that tell two masks, or two sets of labels, apart when a rule is printed."""
    return hashlib.sha256(tensor.cpu().numpy().tobytes()).hexdigest()[:8]


@dataclass(frozen=True)
class Everything:
    """Standard training: every sample, every epoch."""

    def __call__(self, losses, epoch):
        return everything(as_losses(losses))


@dataclass(frozen=True)
class RandomExclusion:
    """The control: as many samples as Step-E on the same schedule, but chosen by chance.

    Samples leave in one random order fixed by `seed`, so the excluded sets grow like Step-E's persistent outliers.
    """

    schedule: Schedule
    seed: int = 0

    def __post_init__(self):
        check_schedule(self.schedule)
        validate.whole("seed", self.seed)

    def __call__(self, losses, epoch):
        losses = as_losses(losses)
        if len(losses) == 0:
            return everything(losses)
        scores = torch.rand(losses.shape[1], generator=seeding.generator("random exclusion", self.seed))
        return exclude_highest(scores.to(losses.device), self.schedule(epoch))


@dataclass(frozen=True, eq=False)
class KeepOnly:
    """Keep a fixed set: `mask` bool (n,). With mask = ~data.is_mislabeled it is the oracle by removal."""

    mask: torch.Tensor

    def __post_init__(self):
        try:
            mask = torch.as_tensor(self.mask)
        except (TypeError, ValueError, RuntimeError):
            raise ValueError(f"mask is {self.mask!r}, but must be a bool vector (n,).") from None
        if mask.dtype != torch.bool or mask.ndim != 1:
            raise ValueError(f"mask is {mask.dtype} {tuple(mask.shape)}, but must be a bool vector (n,).")
        if not mask.any():
            raise ValueError("mask keeps no samples, but at least one must be kept.")
        object.__setattr__(self, "mask", mask.clone())  # a rule does not change when yours does

    def __call__(self, losses, epoch):
        losses = as_losses(losses)
        if losses.shape[1] != len(self.mask):
            raise ValueError(f"mask has {len(self.mask)} entries, but there are {losses.shape[1]} samples.")
        return self.mask.to(losses.device, torch.float32)

    def __repr__(self):
        return f"KeepOnly({int(self.mask.sum())} of {len(self.mask)}, {digest(self.mask)})"
