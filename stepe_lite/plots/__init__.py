"""Every picture of the course: functions that take results and return a matplotlib Axes, or a Figure of several."""

from .explorer import Explorer, explorer, settings
from .review import found, rankings, suspect, suspects
from .runs import (
    accuracies,
    by_kind,
    curves,
    estimates,
    exclusion,
    lengths,
    line,
    loss_by_group,
    loss_histograms,
    loss_panels,
    lost_classes,
    ramp_gains,
    ramp_race,
    schedules,
    spread,
    sweep,
    validation,
)  # fmt: skip
from .samples import (
    boundaries,
    boundary,
    detection,
    gallery,
    ledger,
    trajectories,
    transition,
    transitions,
)  # fmt: skip
from .style import CLEAN, GROUPS, METHODS, MISLABELED

__all__ = [
    "CLEAN", "Explorer", "GROUPS", "METHODS", "MISLABELED", "accuracies", "boundaries", "boundary", "by_kind", "curves",
    "detection", "estimates", "exclusion", "explorer", "found", "gallery", "ledger", "lengths", "line", "loss_by_group",
    "loss_histograms", "loss_panels", "lost_classes", "ramp_gains", "ramp_race", "rankings", "schedules",
    "settings", "spread", "suspect", "suspects", "sweep", "trajectories", "transition", "transitions", "validation",
]  # fmt: skip
