"""Pictures of training runs: one by epoch, and several methods, settings, kinds of noise or classes side by side."""

import numpy as np

from .style import DASHED, GROUPS, METHODS, MISLABELED, colour_of, new_axes, new_figure, whole_ticks

KINDS = {"symmetric": ("#000000", "o"), "pair flip": ("#CC79A7", "s"), "instance-dependent": ("#56B4E9", "^")}

RAMPS = ("#56B4E9", "o"), ("#009E73", "s"), ("#882255", "D")  # from the shortest to the longest


def curves(histories, column="test_accuracy", ax=None, label="test accuracy (%)"):
    """One line a method over the epochs: `histories` is a dict name -> History, or its log; `column` a share, in %.

    An accuracy is measured after an epoch, "epochs trained"; an exclusion is of an epoch, which counts from 0.
    """
    ax = new_axes(ax)
    of_the_epoch = column in ("excluded_fraction", "precision", "recall")
    for name, history in histories.items():
        style, log = "--" if name in DASHED else "-", getattr(history, "log", history)
        ax.plot(log.index + (not of_the_epoch), 100 * log[column], style, label=name, color=colour_of(name))
    ax.set(xlabel="epoch (counted from 0)" if of_the_epoch else "epochs trained", ylabel=label)
    whole_ticks(ax)
    ax.legend(fontsize=8)
    return ax


def loss_by_group(losses, is_mislabeled, ax=None):
    """Median loss by epoch of clean and of mislabeled samples, with the middle half of each group as a band.

    `losses` (epochs, n) in nats, `is_mislabeled` bool (n,).
    """
    ax = new_axes(ax)
    for name, group in (("clean", ~is_mislabeled), ("mislabeled", is_mislabeled)):
        if not group.any():
            continue
        low, median, high = np.quantile(np.asarray(losses[:, group]), [0.25, 0.5, 0.75], axis=1)
        epochs = np.arange(1, len(losses) + 1)
        ax.plot(epochs, median, color=GROUPS[name], label=f"{name} (median, middle half)")
        ax.fill_between(epochs, low, high, color=GROUPS[name], alpha=0.2, linewidth=0)
    ax.set(xlabel="epochs trained", ylabel="loss on the given label (nats)", ylim=(0, None))
    whole_ticks(ax)
    ax.legend(fontsize=8)
    return ax


def loss_histograms(losses, is_mislabeled, epochs):
    """Histograms of the loss after some `epochs` (0-based rows of `losses`), clean and mislabeled samples apart."""
    after = {epoch: f"after {epoch + 1} epoch{'s' if epoch else ''}" for epoch in epochs}
    return loss_panels({title: (losses[epoch], is_mislabeled) for epoch, title in after.items()})


def loss_panels(panels):
    """Histograms of losses (nats) side by side: `panels` is a dict title -> (losses (n,), is_mislabeled bool (n,)).

    The black outline is all that one sees without clean labels. The last bar holds everything above.
    """
    figure, axes = new_figure(1, len(panels), (2.8 * len(panels), 2.8), sharex=True, sharey=True)
    everyone = np.concatenate([np.asarray(losses) for losses, _ in panels.values()])
    bins = np.linspace(0, float(np.nanquantile(everyone, 0.995)), 30)
    for ax, (title, (losses, is_mislabeled)) in zip(axes[0], panels.items()):
        for name, group in (("clean", ~is_mislabeled), ("mislabeled", is_mislabeled)):
            values = np.asarray(losses[group]).clip(max=bins[-1])
            ax.hist(values, bins, color=GROUPS[name], alpha=0.6, label=name)
        together = np.asarray(losses).clip(max=bins[-1])
        ax.hist(together, bins, histtype="step", color="black", linewidth=1, label="both together")
        ax.set(title=title, xlabel="loss (nats)")
    axes[0, 0].set_ylabel("samples")
    axes[0, -1].legend(fontsize=8)
    return figure


def validation(history, ax=None):
    """Accuracy by epoch on the noisy validation labels and on the clean test labels, with the epoch to stop at."""
    ax = new_axes(ax)
    log, stop = history.log, history.log.validation_accuracy.argmax()
    ax.plot(
        log.index + 1,
        100 * log.test_accuracy,
        color=colour_of("standard"),
        label="test, clean labels (nobody has them)",
    )
    ax.plot(log.index + 1, 100 * log.validation_accuracy, "--", color=MISLABELED, label="validation, noisy labels")
    ax.axvline(stop + 1, color="gray", linestyle=":", label=f"best on validation: {stop + 1} epochs")
    ax.set(xlabel="epochs trained", ylabel="accuracy (%)", ylim=(0, 102))
    whole_ticks(ax)
    ax.legend(fontsize=8, loc="lower right")
    return ax


def accuracies(runs, column="accuracy_last", ax=None, label="test accuracy at the last epoch (%)"):
    """One row a method: every run as a dot; above it the mean as a tick, and one standard deviation to either side."""
    known = list(METHODS)
    methods = sorted(set(runs.method), key=lambda name: (known.index(name) if name in known else len(known), name))
    ax = new_axes(ax, (6.5, 0.36 * len(methods) + 1.1))
    for row, method in enumerate(methods):
        values = 100 * runs.loc[runs.method == method, column]
        colour = colour_of(method)
        ax.errorbar(
            values.mean(),
            row - 0.12,
            xerr=values.std() if len(values) > 1 else None,
            fmt="|",
            color=colour,
            markersize=11,
            capsize=3,
        )
        ax.scatter(values, np.full(len(values), row + 0.22), s=14, color=colour, alpha=0.6, linewidths=0)
        ax.annotate(f"{values.mean():.1f}", (1.01, row), xycoords=("axes fraction", "data"), va="center", fontsize=9)
    ax.set(yticks=range(len(methods)), yticklabels=methods, xlabel=label, ylim=(len(methods) - 0.5, -0.5))
    how = "dot: a run; tick: the mean; bar: one standard deviation to either side"
    ax.annotate(how, (0.5, 0), (0, -34), "axes fraction", "offset points", ha="center", va="top", fontsize=7.5)
    for name in ax.get_yticklabels():
        name.set_fontweight("bold" if name.get_text() == "Step-E" else "normal")
    return ax


def lengths(runs, stopped=None, ax=None, label="test accuracy at the last epoch (%)"):
    """Accuracy against the length of training: a dot a run, a line a method through the means.

    `runs` as from `experiments.compare`, with a column `epochs`; `stopped` : runs that were stopped early, each a
    diamond where it stopped.
    """
    ax = new_axes(ax, (6, 3.8))
    for method, those in runs.groupby("method"):
        style = {"color": colour_of(method), "marker": "o" if method == "Step-E" else "s"}
        ax.plot(those.epochs, 100 * those.accuracy_last, linestyle="", markersize=4, alpha=0.45, **style)
        means = 100 * those.groupby("epochs").accuracy_last.mean()
        ax.plot(means.index, means, label=method, **style)
    if stopped is not None:
        at, reached = stopped.epoch_early_stopped, 100 * stopped.accuracy_early_stopped
        ax.plot(at, reached, "D", color=colour_of("standard"), fillstyle="none", markersize=7, label="stopped early")
    ax.set(xlabel="epochs trained", ylabel=label)
    ax.legend(fontsize=8, loc="lower left")
    return ax


def spread(values, label="test accuracy at the last epoch (%)", ax=None):
    """One row a method, one dot a run: `values` is a dict name -> list of shares, drawn in %."""
    ax = new_axes(ax, (6, 0.4 * len(values) + 0.9))
    for row, (name, numbers) in enumerate(values.items()):
        ax.plot([100 * number for number in numbers], [row] * len(numbers), "o", color=colour_of(name), alpha=0.6)
    ax.set(yticks=range(len(values)), yticklabels=values, xlabel=label, ylim=(len(values) - 0.5, -0.5))
    return ax


def line(values, xlabel, ylabel, ylim=(0, 102), ax=None):
    """One line through `values`, a dict x -> y; where they are few, the ticks are where the points lie."""
    ax = new_axes(ax)
    ax.plot(list(values), list(values.values()), "o-", markersize=4, color=colour_of("standard"))
    ax.set(xlabel=xlabel, ylabel=ylabel, ylim=ylim)
    ax.set_xticks(list(values)) if len(values) <= 8 else whole_ticks(ax)
    return ax


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
    """Excluded share of each class, in bars: `shares` is a dict method -> (k,); those in `rare` are named."""
    ax = new_axes(ax, (max(6, 0.5 * len(classes) + 2), 3))
    at, width = np.arange(len(classes)), 0.8 / len(shares)
    for i, (method, share) in enumerate(shares.items()):
        places, percent = at + (i - (len(shares) - 1) / 2) * width, 100 * np.asarray(share)
        ax.bar(places, percent, width, color=colour_of(method), label=method)
        for place in places[percent < 0.5]:  # a bar of height 0 looks like a bar forgotten
            ax.annotate("0", (place, 1), ha="center", fontsize=7, color=colour_of(method))
    ax.set_xticks(at, classes)
    marked = f" (rare: {', '.join(classes[c] for c in rare)})" if len(rare) else ""
    ax.set(xlabel=f"clean class{marked}", ylabel="rightly labelled samples\nthat are excluded (%)", ylim=(0, 102))
    ax.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    return ax


def ramp_gains(found):
    """What a ramp gains over none: a panel a warm-up, a row a kind of noise, a colour a length of the ramp.

    `found`: the table of `experiments.ramp.gains`; dot = mean, line = 95 % interval. Right of 0 the ramp pays.
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
        ax.set(
            title=f"warm-up of {warmup} epoch{'s' if warmup != 1 else ''}", yticks=range(len(kinds)), yticklabels=kinds
        )
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
                ax.plot(log.index, 100 * log[column], line, color=colour_of(method), label=method)
            whole_ticks(ax)
        axes[0, place].set_title(kind)
        axes[-1, place].set_xlabel("epoch (counted from 0)")
    for ax, label in zip(axes[:, 0], columns.values()):
        ax.set(ylabel=label, ylim=(None, 102))
    axes[0, -1].legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    return figure
