"""Pictures of who is excluded, and when."""

import numpy as np

from .style import new_axes


def schedules(*chosen, epochs, ax=None):
    """Excluded fraction by epoch, one line a schedule."""
    ax = new_axes(ax)
    for schedule, style in zip(chosen, ["-", "--", "-.", ":"] * len(chosen)):
        at = np.linspace(0, epochs, 400)
        ax.plot(at, [100 * schedule(epoch) for epoch in at], style, label=repr(schedule))
    ax.set(xlabel="epoch (counted from 0)", ylabel="excluded samples (%)", ylim=(0, None))
    ax.legend(fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1), frameon=False)
    return ax


def exclusion(history, ax=None):
    """Excluded fraction, precision and recall of the exclusion by epoch, for one run with known clean labels."""
    ax = new_axes(ax)
    for column, style, colour in (
        ("excluded_fraction", ":", "black"),
        ("precision", "-", "#009E73"),
        ("recall", "--", "#CC79A7"),
    ):
        ax.plot(history.log.index, 100 * history.log[column], style, color=colour, label=column.replace("_", " "))
    ax.set(xlabel="epoch (counted from 0)", ylabel="share (%)", ylim=(0, 102))
    ax.legend(fontsize=8)
    return ax
