"""Rules: from the losses so far to a weight for every sample.

Every method in this package that selects samples is a *rule*, a pure function `rule(losses, epoch) -> weights`:

- `losses`: float (epochs_so_far, n), the last known loss of every sample after each finished epoch; at epoch 0 it has
  no rows. Tensor or array.
- `epoch`: the 0-based epoch that is about to start.
- `weights`: float32 tensor (n,) in [0, 1]; 0 excludes a sample from that epoch's gradient updates.

Rules keep no state, so the same rule can be trained with, replayed on recorded losses and tested without training.
How samples are ranked, ties and NaN included, is said in `ranking`. Optional attributes are read by `fit`:
`for_labels(labels)` gives the rule that also knows the labels; from a `schedule` or a `fraction` it learns how much
the rule will exclude, so that one that would leave no sample is refused before any training.
"""

import hashlib
import warnings
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from .ranking import exclude_highest, moving_average, soft_weights
from .schedules import Schedule, constant
from .utils import BadInput, as_tensor, check_fraction, check_positive, check_whole, generator_for


@dataclass(frozen=True)
class Everything:
    """Standard training: every sample, every epoch."""

    def __call__(self, losses, epoch):
        return _everything(as_losses(losses))


@dataclass(frozen=True, eq=False)
class StepE:
    """Step-E: rank all samples by loss, exclude a growing fraction of the highest (W. Du, arXiv 2511.17040, abstract).

    Parameters
    ----------
    schedule : epoch -> excluded fraction, for example `schedules.linear(warmup=5, ramp=15, final=0.4)`
    soft : None for hard exclusion, or a temperature in nats (above 0) for sigmoid weights, see `soft_weights`; these
        are rarely 0, so nearly all samples are still trained on and little time is saved
    momentum : rank by an exponential moving average of the losses with this momentum, in [0, 1); 0 = by the last loss.
        A moving average makes *persistently* high loss count.
    per_class : False = one ranking over all samples. True = exclude the same fraction within each given class; `fit`
        fills in the labels. In a loop of your own, pass the given labels themselves, int (n,). At least one sample of
        each class is kept.
    """

    schedule: Schedule
    soft: float | None = field(default=None, kw_only=True)
    momentum: float = field(default=0.0, kw_only=True)
    per_class: Any = field(default=False, kw_only=True)

    def __post_init__(self):
        check_schedule(self.schedule)
        if self.soft is not None:
            check_positive("soft", self.soft)
        check_fraction("momentum", self.momentum)
        if not isinstance(self.per_class, bool):
            if not hasattr(self.per_class, "__len__") or isinstance(self.per_class, str):
                raise BadInput(f"per_class is {self.per_class!r}, but must be True, False or the given labels (n,).")
            object.__setattr__(self, "per_class", as_tensor("per_class", self.per_class).clone())

    def for_labels(self, labels):
        """The same rule, with `per_class=True` replaced by the labels themselves."""
        return replace(self, per_class=labels) if self.per_class is True else self

    def __call__(self, losses, epoch):
        if self.per_class is True:
            raise BadInput("per_class is True, but this rule does not know the labels: pass per_class=labels.")
        losses = as_losses(losses)
        fraction = self.schedule(epoch)
        if len(losses) == 0 or fraction == 0:
            return _everything(losses)
        scores = moving_average(losses, self.momentum) if self.momentum else losses[-1]
        if self.per_class is False:
            return self._weights(scores, fraction)
        if self.per_class.shape != scores.shape:
            raise BadInput(f"per_class has {len(self.per_class)} labels, but there are {len(scores)} losses.")
        weights = torch.empty_like(scores)
        labels = self.per_class.to(scores.device)
        for label in labels.unique():
            members = labels == label
            keep_one = (members.sum().item() - 1) / members.sum().item()
            weights[members] = self._weights(scores[members], min(fraction, keep_one))
        return weights

    def _weights(self, scores, fraction):
        if self.soft is None:
            return exclude_highest(scores, fraction)
        return soft_weights(scores, fraction, self.soft)

    def __repr__(self):
        labels = self.per_class if isinstance(self.per_class, bool) else f"labels:{_digest(self.per_class)}"
        return f"StepE({self.schedule}, soft={self.soft}, momentum={self.momentum}, per_class={labels})"

    def __eq__(self, other):
        return isinstance(other, StepE) and repr(self) == repr(other) and self.schedule == other.schedule

    __hash__ = None  # per_class may hold a tensor, which has no hash by value


@dataclass(frozen=True)
class LossTruncation:
    """Loss truncation: the same share of highest-loss samples is dropped at every epoch, without any ramp.

    After Kang & Hashimoto, "Improved Natural Language Generation via Loss Truncation", ACL 2020, who drop losses above
    a quantile of recent losses, batch by batch. Here the quantile is that of the last losses of all samples, so the one
    difference from `StepE` is the schedule. `warmup` epochs (their "hot start") see everything.
    """

    fraction: float
    warmup: int = 0

    def __post_init__(self):
        check_fraction("fraction", self.fraction)
        check_whole("warmup", self.warmup)

    def __call__(self, losses, epoch):
        return StepE(constant(self.fraction, self.warmup))(losses, epoch)


@dataclass(frozen=True)
class SelfPaced:
    """Self-paced learning (Kumar, Packer & Koller, NIPS 2010): easy samples first, more with time. The opposite way.

    They keep samples with loss < λ and let λ grow until everything is in. Here the schedule runs backwards: epoch e
    excludes the fraction schedule.final − schedule(e) of highest loss. That is `final` from the second epoch on (at the
    first there are no losses) until the warm-up is over, then less and less, and nothing after the ramp.
    """

    schedule: Schedule

    def __post_init__(self):
        if not isinstance(self.schedule, Schedule):
            raise BadInput(f"schedule is {self.schedule!r}, but must be made by schedules.linear, .cosine, …")

    def __call__(self, losses, epoch):
        losses = as_losses(losses)
        if len(losses) == 0:
            return _everything(losses)
        return exclude_highest(losses[-1], self.schedule.final - self.schedule(epoch))


@dataclass(frozen=True)
class OneShotFilter:
    """One-shot filtering: train on everything for `warmup` epochs, drop the top fraction once, keep that choice.

    The choice depends on the losses of epoch `warmup − 1` alone, so `warmup` is at least 1.
    """

    fraction: float
    warmup: int

    def __post_init__(self):
        check_fraction("fraction", self.fraction)
        check_whole("warmup", self.warmup, least=1)

    def __call__(self, losses, epoch):
        losses = as_losses(losses)
        if check_whole("epoch", epoch) < self.warmup or len(losses) < self.warmup:
            return _everything(losses)
        return exclude_highest(losses[self.warmup - 1], self.fraction)


@dataclass(frozen=True)
class RandomExclusion:
    """The control: as many samples as Step-E on the same schedule, but chosen by chance.

    Samples leave in one random order fixed by `seed`, so the excluded sets grow like Step-E's persistent outliers.
    """

    schedule: Schedule
    seed: int = 0

    def __post_init__(self):
        check_schedule(self.schedule)
        check_whole("seed", self.seed)

    def __call__(self, losses, epoch):
        losses = as_losses(losses)
        if len(losses) == 0:
            return _everything(losses)
        scores = torch.rand(losses.shape[1], generator=generator_for("random exclusion", self.seed))
        return exclude_highest(scores.to(losses.device), self.schedule(epoch))


@dataclass(frozen=True, eq=False)
class KeepOnly:
    """Keep a fixed set: `mask` bool (n,). With mask = ~data.is_mislabeled it is the oracle by removal."""

    mask: torch.Tensor

    def __post_init__(self):
        mask = as_tensor("mask", self.mask)
        if mask.dtype != torch.bool or mask.ndim != 1:
            raise BadInput(f"mask is {mask.dtype} {tuple(mask.shape)}, but must be a bool vector (n,).")
        if not mask.any():
            raise BadInput("mask keeps no samples, but at least one must be kept.")
        object.__setattr__(self, "mask", mask.clone())  # a rule does not change when yours does

    def __call__(self, losses, epoch):
        losses = as_losses(losses)
        if losses.shape[1] != len(self.mask):
            raise BadInput(f"mask has {len(self.mask)} entries, but there are {losses.shape[1]} samples.")
        return self.mask.to(losses.device, torch.float32)

    def __repr__(self):
        return f"KeepOnly({int(self.mask.sum())} of {len(self.mask)}, {_digest(self.mask)})"


def as_losses(losses, name="losses"):
    """`losses` as float32 (epochs_so_far, n), or ValueError."""
    losses = as_tensor(name, losses, torch.float32)
    if losses.ndim != 2 or losses.shape[1] == 0:
        raise BadInput(f"{name} has shape {tuple(losses.shape)}, but must be (epochs_so_far, n) with n at least 1.")
    return losses


def check_rule(rule):
    """`rule`, if it can be called as one; else ValueError."""
    if not callable(rule) or isinstance(rule, type):
        raise BadInput(f"rule is {rule!r}, but must be a rule such as StepE(schedules.linear(5, 15, 0.4)).")
    return rule


def _everything(losses):
    """Weight 1 for each sample of `losses`."""
    return torch.ones(losses.shape[1], device=losses.device)


def check_schedule(schedule):
    """Raise ValueError unless `schedule` is a function of the epoch with a value in [0, 1) at epoch 0."""
    try:
        check_fraction("schedule(0)", schedule(0))
    except TypeError:
        raise BadInput(
            f"schedule is {schedule!r}, but must be a schedule such as schedules.linear(5, 15, 0.4)."
        ) from None


def check_keeps_some(rule, n, epochs, what):
    """Raise ValueError if `rule` would exclude all of `n` `what` in one of its `epochs`, as far as its fields tell.

    Warn if its warm-up and ramp are not over by then. A schedule does as well as a rule.
    """
    schedule = getattr(rule, "schedule", rule if isinstance(rule, Schedule) else None)
    values = {"fraction": getattr(rule, "fraction", 0), "final": getattr(schedule, "final", 0)}
    if callable(schedule):
        values |= {f"schedule({epoch})": schedule(epoch) for epoch in range(min(epochs, 10_000))}
    for name, value in values.items():
        if round(check_fraction(name, value) * n) >= n:
            raise BadInput(f"{name} is {value}, which would exclude all {n} {what}; choose a smaller one.")
    plan = schedule if isinstance(schedule, Schedule) else rule
    warmup, ramp = (getattr(plan, name, 0) for name in ("warmup", "ramp"))
    if 0 < epochs <= warmup + ramp:
        what = "is in its warm-up for all of" if epochs <= warmup else "does not reach its final fraction in"
        warnings.warn(f"{plan} {what} {epochs} epochs: choose a shorter warm-up or ramp.", stacklevel=3)


def _digest(tensor):
    """Eight letters that tell two masks, or two sets of labels, apart when a rule is printed."""
    return hashlib.sha256(tensor.cpu().numpy().tobytes()).hexdigest()[:8]
