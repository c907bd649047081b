"""Pictures of training runs: one run by epoch, and several methods side by side."""

import numpy as np

from .style import DASHED, GROUPS, METHODS, MISLABELED, colour_of, new_axes, new_figure, whole_ticks


def curves(histories, column="test_accuracy", ax=None, label="test accuracy (%)"):
    """One line a method over the epochs: `histories` is a dict name -> History, or its log; `column` a share, in %."""
    ax = new_axes(ax)
    for name, history in histories.items():
        style, log = "--" if name in DASHED else "-", getattr(history, "log", history)
        ax.plot(log.index + 1, 100 * log[column], style, label=name, color=colour_of(name))
    ax.set(xlabel="epochs trained", ylabel=label)
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
    return loss_panels({f"after epoch {epoch + 1}": (losses[epoch], is_mislabeled) for epoch in epochs})


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


def spread(values, label="test accuracy at the last epoch (%)", ax=None):
    """One row a method, one dot a run: `values` is a dict name -> list of shares, drawn in %."""
    ax = new_axes(ax, (6, 0.4 * len(values) + 0.9))
    for row, (name, numbers) in enumerate(values.items()):
        ax.plot([100 * number for number in numbers], [row] * len(numbers), "o", color=colour_of(name), alpha=0.6)
    ax.set(yticks=range(len(values)), yticklabels=values, xlabel=label, ylim=(len(values) - 0.5, -0.5))
    return ax


def line(values, xlabel, ylabel, ylim=(0, 102), ax=None):
    """One line through `values`, a dict x -> y."""
    ax = new_axes(ax)
    ax.plot(list(values), list(values.values()), "o-", markersize=4, color=colour_of("standard"))
    ax.set(xlabel=xlabel, ylabel=ylabel, ylim=ylim)
    whole_ticks(ax)
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
