"""Pictures of what goes wrong: several kinds of noise, several settings, several classes side by side."""

import numpy as np

from .style import colour_of, new_axes, new_figure, whole_ticks

KINDS = {"symmetric": ("#000000", "o"), "pair flip": ("#CC79A7", "s"), "instance-dependent": ("#56B4E9", "^")}

RAMPS = ("#56B4E9", "o"), ("#009E73", "s"), ("#882255", "D")  # from the shortest to the longest


def sweep(values, xlabel, right=None, ax=None, label="test accuracy at the last epoch (%)"):
    """Accuracy against a setting: `values` is a dict setting -> list of runs, each a dot; the line joins the means.

    All are shares, drawn in %. `right`: the setting that the truth would suggest, as a dotted line.
    """
    ax = new_axes(ax, (5, 3.2))
    colour = colour_of("Step-E")
    for setting, runs in values.items():
        ax.plot([100 * setting] * len(runs), 100 * np.asarray(runs), "o", color=colour, alpha=0.5, markersize=4)
    settings = [100 * setting for setting in values]
    ax.plot(settings, [100 * np.mean(runs) for runs in values.values()], color=colour, label="mean (dots: runs)")
    if right is not None:
        ax.axvline(100 * right, color="gray", linestyle=":", label="the true noise rate")
    ax.set(xlabel=xlabel, ylabel=label, xticks=settings)
    ax.legend(fontsize=8)
    return ax


def by_kind(runs, column="accuracy_last", ax=None, label="test accuracy at the last epoch (%)"):
    """One row a kind of noise, one colour a method, a dot a run, a tick at the mean.

    `runs` has the columns kind, method (one of style.METHODS) and `column`.
    """
    kinds = list(dict.fromkeys(runs.kind))
    ax = new_axes(ax, (7, 0.5 * len(kinds) + 1.2))
    for method, of_method in runs.groupby("method", sort=False):
        colour, rows = colour_of(method), [kinds.index(kind) for kind in of_method.kind]
        ax.plot(100 * of_method[column], rows, "o", color=colour, alpha=0.5, markersize=5, label=method)
        means = [100 * of_method.loc[of_method.kind == kind, column].mean() for kind in kinds]
        ax.plot(means, range(len(kinds)), "|", color=colour, markersize=18)
    ax.set(yticks=range(len(kinds)), yticklabels=kinds, xlabel=label, ylim=(len(kinds) - 0.5, -0.5))
    ax.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    return ax


def estimates(found, ax=None):
    """Estimated against true noise rate, a dot a run: `found` has the columns kind, true and estimated (shares)."""
    ax = new_axes(ax, (4.6, 4))
    top = 100 * float(max(found.true.max(), found.estimated.max())) + 3
    ax.plot([0, top], [0, top], color="gray", linestyle=":", label="exact")
    for kind, runs in found.groupby("kind", sort=False):
        colour, marker = KINDS.get(kind, ("black", "x"))
        ax.plot(100 * runs.true, 100 * runs.estimated, marker, color=colour, alpha=0.7, markersize=5, label=kind)
    ax.set(xlabel="true noise rate (%)", ylabel="estimated noise rate (%)", xlim=(-1, top), ylim=(-1, top))
    ax.legend(fontsize=8)
    return ax


def lost_classes(shares, classes, rare=(), ax=None):
    """Excluded share of each class, in bars: `shares` is a dict method -> (k,); the classes `rare` are marked."""
    ax = new_axes(ax, (max(6, 0.5 * len(classes) + 2), 3))
    at, width = np.arange(len(classes)), 0.8 / len(shares)
    for i, (method, share) in enumerate(shares.items()):
        places, percent = at + (i - (len(shares) - 1) / 2) * width, 100 * np.asarray(share)
        ax.bar(places, percent, width, color=colour_of(method), label=method)
        for place in places[percent < 0.5]:  # a bar of height 0 looks like a bar forgotten
            ax.annotate("0", (place, 1), ha="center", fontsize=7, color=colour_of(method))
    ax.set_xticks(at, [f"{name}\n(rare)" if c in rare else name for c, name in enumerate(classes)])
    ax.set(xlabel="clean class", ylabel="rightly labelled samples\nthat are excluded (%)", ylim=(0, 102))
    ax.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    return ax


def ramp_gains(found):
    """What a ramp gains over none: a panel a warm-up, a row a kind of noise, a colour a length of the ramp.

    `found`: the table of `experiments_ramp.gains`; dot = mean, line = 95 % interval. Right of 0 the ramp pays.
    """
    kinds, warmups, ramps = (list(dict.fromkeys(found[name])) for name in ("noise", "warmup", "ramp"))
    figure, axes = new_figure(1, len(warmups), (10, 0.42 * len(kinds) + 1.5), sharex=True, sharey=True)
    for ax, warmup in zip(axes[0], warmups):
        for place, ramp in enumerate(ramps):
            here = found[(found.warmup == warmup) & (found.ramp == ramp)]
            rows = here.noise.map(kinds.index) + 0.22 * (place - (len(ramps) - 1) / 2)
            mean, low, high = (100 * here[name].astype(float) for name in ("gain", "low", "high"))
            colour, marker = RAMPS[place % len(RAMPS)]
            ax.hlines(rows, low, high, color=colour, linewidth=1.4)
            ax.plot(mean, rows, marker, color=colour, markersize=4.5, label=f"ramp of {ramp} epochs")
        ax.axvline(0, color="black", linewidth=1)
        ax.set(title=f"warm-up of {warmup} epochs", yticks=range(len(kinds)), yticklabels=kinds)
        ax.set(ylim=(len(kinds) - 0.5, -0.5))
        for row in range(0, len(kinds), 2):  # the eye has to follow a row through all panels
            ax.axhspan(row - 0.5, row + 0.5, color="0.95", zorder=0)
        ax.grid(axis="y", visible=False)
    axes[0, -1].legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    figure.supxlabel(
        "test accuracy with the ramp minus without, points (mean over the seeds, 95 % interval)", fontsize=9
    )
    return figure


def ramp_race(logs, columns):
    """The exclusion by epoch, with a ramp and without: a row a column, a column of panels a kind of noise.

    `logs`: dict kind -> dict method (one of style.METHODS) -> DataFrame, a row an epoch; `columns`: dict column of
    these (a share, drawn in %) -> its label. Epochs without an exclusion are NaN, and left out.
    """
    size = 3.6 * len(logs) + 1.5, 2.1 * len(columns) + 0.5
    figure, axes = new_figure(len(columns), len(logs), size, sharex=True, sharey="row")
    for place, (kind, methods) in enumerate(logs.items()):
        for ax, column in zip(axes[:, place], columns):
            for method, log in methods.items():
                line = "-" if method == "Step-E" else "--"
                ax.plot(log.index + 1, 100 * log[column], line, color=colour_of(method), label=method)
            whole_ticks(ax)
        axes[0, place].set_title(kind)
        axes[-1, place].set_xlabel("epoch (counted from 1)")
    for ax, label in zip(axes[:, 0], columns.values()):
        ax.set(ylabel=label, ylim=(None, 102))
    axes[0, -1].legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    return figure
