"""Every picture of the course: functions that take results and return a matplotlib Axes, or a Figure of several."""

from .exclusion import exclusion, schedules
from .noise import boundaries, boundary, gallery, transition, transitions
from .runs import accuracies, curves, line, loss_by_group, loss_histograms, spread, validation
from .samples import detection, ledger, retention, trajectories
from .style import CLEAN, GROUPS, METHODS, MISLABELED

__all__ = [
    "CLEAN", "GROUPS", "METHODS", "MISLABELED", "accuracies", "boundaries", "boundary", "curves", "detection",
    "exclusion", "gallery", "ledger", "line", "loss_by_group", "loss_histograms", "retention", "schedules", "spread",
    "trajectories", "transition", "transitions", "validation",
]  # fmt: skip
