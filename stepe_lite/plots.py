"""Every picture of the course: functions that take results and return a matplotlib Axes, or a Figure of several.

One style, and two fixed colours that colour-blind readers can tell apart (Okabe & Ito): clean samples are blue,
mislabeled ones orange, everywhere.
"""

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
import torch

CLEAN, MISLABELED = "#0072B2", "#D55E00"
GROUPS = {"clean": CLEAN, "mislabeled": MISLABELED}
SHADES = ["#f2f2f2", "#cfcfcf"]  # where a two-class network says 0, and 1
# One colour a method, the same in every picture; grey for what is no rival: controls and oracles.
METHODS = {
    "standard": "#000000",
    "standard, equal steps": "#7F7F7F",
    "random exclusion": "#7F7F7F",
    "loss truncation": "#E69F00",
    "loss truncation, warm-up": "#E69F00",
    "self-paced": "#CC79A7",
    "one-shot": "#56B4E9",
    "Step-E": "#009E73",
    "oracle by removal": "#7F7F7F",
    "oracle by clean labels": "#7F7F7F",
}
_DASHED = {
    "loss truncation, warm-up",
    "random exclusion",
    "oracle by removal",
    "oracle by clean labels",
    "standard, equal steps",
}


def _style():
    # Not plt.rc_context: on leaving, that also switches off the interactive mode which shows figures in a notebook.
    return sns.axes_style("whitegrid", rc={"axes.spines.top": False, "axes.spines.right": False})


def _axes(ax, size=(6, 3.6)):
    if ax is not None:
        return ax
    with _style():
        return plt.subplots(figsize=size, layout="constrained")[1]


def _figure(rows, columns, size, **options):
    with _style():
        return plt.subplots(rows, columns, figsize=size, layout="constrained", squeeze=False, **options)


def gallery(data, index, columns=10):
    """The training images `index`, each with its given label; a mislabeled one in orange with its true label too."""
    index = torch.as_tensor(index)
    rows = -(-len(index) // columns)
    figure, axes = _figure(rows, columns, (columns, 1.4 * rows))
    for ax in axes.flat:
        ax.axis("off")
    for ax, i in zip(axes.flat, index):
        image, given = data.images[i], data.classes[data.labels[i]]
        wrong = data.clean_labels is not None and bool(data.labels[i] != data.clean_labels[i])
        ax.imshow(image[0] if len(image) == 1 else image.permute(1, 2, 0), cmap="gray_r")
        truth = f"\n(is {data.classes[data.clean_labels[i]]})" if wrong else "\n"
        ax.set_title(given + truth, fontsize=9, color=MISLABELED if wrong else CLEAN)
    return figure


def transition(matrix, classes, title="", ax=None):
    """A transition matrix as a picture: row = clean class, column = given class, entries in % of the clean class."""
    k = len(classes)
    ax = _axes(ax, (0.42 * k + 1.8, 0.36 * k + 1.2))
    percent = 100 * np.asarray(matrix)
    sns.heatmap(
        percent, ax=ax, cmap="Blues", vmin=0, vmax=100, square=True, cbar=False, annot=k <= 12, fmt=".0f",
        xticklabels=classes, yticklabels=classes, annot_kws={"fontsize": 8},
    )  # fmt: skip
    ax.set(xlabel="given class", ylabel="clean class", title=title)
    ax.tick_params(axis="y", rotation=0)
    if max(map(len, classes)) > 2:
        ax.tick_params(axis="x", rotation=90)
    return ax


def boundary(predict, points, labels, is_mislabeled, title="", ax=None):
    """What a two-class model says in the plane: `predict(points (m, 2)) -> probability (m,) of class 1`.

    `points` (n, 2) are drawn by given label (circle = 0, square = 1), mislabeled ones in orange. Dark: class 1.
    """
    ax = _axes(ax, (4, 3.6))
    low, high = points.min(0) - 0.4, points.max(0) + 0.4
    x, y = np.meshgrid(np.linspace(low[0], high[0], 200), np.linspace(low[1], high[1], 200))
    chance = np.asarray(predict(np.c_[x.ravel(), y.ravel()])).reshape(x.shape)
    ax.contourf(x, y, chance, levels=[0, 0.5, 1], colors=SHADES)
    ax.contour(x, y, chance, levels=[0.5], colors="black", linewidths=1)
    for label, marker in enumerate("os"):
        for name, group in (("clean", ~is_mislabeled), ("mislabeled", is_mislabeled)):
            chosen = group & (labels == label)
            said = f"labelled {label}, {'rightly' if name == 'clean' else 'wrongly'}"
            ax.scatter(*points[chosen].T, s=18, marker=marker, color=GROUPS[name], label=said, zorder=3)
    ax.set(xlabel="first feature", ylabel="second feature", title=title)
    return ax


def curves(histories, column="test_accuracy", ax=None, label="test accuracy"):
    """One line a method over the epochs: `histories` is a dict name -> History."""
    ax = _axes(ax)
    for name, history in histories.items():
        style = "--" if name in _DASHED else "-"
        ax.plot(history.log.index + 1, history.log[column], style, label=name, color=METHODS.get(name))
    ax.set(xlabel="epochs trained", ylabel=label)
    ax.legend(fontsize=8)
    return ax


def loss_by_group(losses, is_mislabeled, ax=None):
    """Median loss by epoch of clean and of mislabeled samples, with the middle half of each group as a band.

    `losses` (epochs, n) in nats, `is_mislabeled` bool (n,).
    """
    ax = _axes(ax)
    for name, group in (("clean", ~is_mislabeled), ("mislabeled", is_mislabeled)):
        low, median, high = np.quantile(np.asarray(losses[:, group]), [0.25, 0.5, 0.75], axis=1)
        epochs = np.arange(1, len(losses) + 1)
        ax.plot(epochs, median, color=GROUPS[name], label=f"{name} (median, middle half)")
        ax.fill_between(epochs, low, high, color=GROUPS[name], alpha=0.2, linewidth=0)
    ax.set(xlabel="epochs trained", ylabel="loss on the given label (nats)", ylim=(0, None))
    ax.legend(fontsize=8)
    return ax


def loss_histograms(losses, is_mislabeled, epochs):
    """Histograms of the loss after some `epochs` (0-based rows of `losses`), clean and mislabeled samples apart."""
    figure, axes = _figure(1, len(epochs), (2.8 * len(epochs), 2.8), sharex=True, sharey=True)
    bins = np.linspace(0, float(np.nanquantile(np.asarray(losses)[list(epochs)], 0.995)), 30)
    for ax, epoch in zip(axes[0], epochs):
        for name, group in (("clean", ~is_mislabeled), ("mislabeled", is_mislabeled)):
            values = np.asarray(losses[epoch][group]).clip(max=bins[-1])
            ax.hist(values, bins, color=GROUPS[name], alpha=0.6, label=name)
        ax.set(title=f"after epoch {epoch + 1}", xlabel="loss (nats)")
    axes[0, 0].set_ylabel("samples")
    axes[0, -1].legend(fontsize=8)
    return figure


def schedules(*chosen, epochs, ax=None):
    """Excluded fraction by epoch, one line a schedule."""
    ax = _axes(ax)
    for schedule, style in zip(chosen, ["-", "--", "-.", ":"] * len(chosen)):
        at = np.linspace(0, epochs, 400)
        ax.plot(at, [100 * schedule(epoch) for epoch in at], style, label=repr(schedule))
    ax.set(xlabel="epoch (counted from 0)", ylabel="excluded samples (%)", ylim=(0, None))
    ax.legend(fontsize=8)
    return ax


def exclusion(history, ax=None):
    """Excluded fraction, precision and recall of the exclusion by epoch, for one run with known clean labels."""
    ax = _axes(ax)
    for column, style, colour in (
        ("excluded_fraction", ":", "black"),
        ("precision", "-", "#009E73"),
        ("recall", "--", "#CC79A7"),
    ):
        ax.plot(history.log.index, 100 * history.log[column], style, color=colour, label=column.replace("_", " "))
    ax.set(xlabel="epoch (counted from 0)", ylabel="share (%)", ylim=(0, 102))
    ax.legend(fontsize=8)
    return ax


def accuracies(runs, column="accuracy_last", ax=None, label="test accuracy at the last epoch (%)"):
    """One row a method: every seed as a dot, the mean as a tick with one standard deviation to either side."""
    known = list(METHODS)
    methods = sorted(set(runs.method), key=lambda name: (known.index(name) if name in known else len(known), name))
    ax = _axes(ax, (6.5, 0.36 * len(methods) + 0.9))
    for row, method in enumerate(methods):
        values = 100 * runs.loc[runs.method == method, column]
        colour = METHODS.get(method, "#000000")
        ax.errorbar(
            values.mean(),
            row,
            xerr=values.std() if len(values) > 1 else None,
            fmt="|",
            color=colour,
            markersize=14,
            capsize=3,
        )
        ax.scatter(values, np.full(len(values), row), s=14, color=colour, alpha=0.5)
        ax.annotate(f"{values.mean():.1f}", (1.01, row), xycoords=("axes fraction", "data"), va="center", fontsize=9)
    ax.set(yticks=range(len(methods)), yticklabels=methods, xlabel=label, ylim=(len(methods) - 0.5, -0.5))
    return ax


def transitions(matrices, classes):
    """Several transition matrices side by side: `matrices` is a dict title -> (k, k)."""
    k = len(classes)
    figure, axes = _figure(1, len(matrices), (len(matrices) * (0.3 * k + 0.8), 0.3 * k + 1.2))
    for ax, (title, matrix) in zip(axes[0], matrices.items()):
        transition(matrix, classes, title, ax)
    figure.supxlabel("entries: % of the clean class", fontsize=9)
    return figure


def boundaries(models, points, truth):
    """Decision boundaries side by side: `models` is a dict title -> (predict, given labels), see `boundary`."""
    figure, axes = _figure(1, len(models), (4.2 * len(models), 3.6), sharex=True, sharey=True)
    for ax, (title, (predict, given)) in zip(axes[0], models.items()):
        boundary(predict, points, np.asarray(given), np.asarray(given) != truth, title, ax)
    handles, said = axes[0, -1].get_legend_handles_labels()
    shades = [plt.Rectangle((0, 0), 1, 1, color=shade) for shade in SHADES]
    said = [*said, "network says 0", "network says 1"]
    figure.legend([*handles, *shades], said, loc="outside lower center", ncols=3, fontsize=8)
    return figure


def line(values, xlabel, ylabel, ylim=(0, 1.02), ax=None):
    """One line through `values`, a dict x -> y."""
    ax = _axes(ax)
    ax.plot(list(values), list(values.values()), "o-", markersize=4, color=METHODS["standard"])
    ax.set(xlabel=xlabel, ylabel=ylabel, ylim=ylim)
    return ax


def validation(history, ax=None):
    """Accuracy by epoch on the noisy validation labels and on the clean test labels, with the epoch to stop at."""
    ax = _axes(ax)
    log, stop = history.log, history.log.validation_accuracy.argmax()
    ax.plot(log.index + 1, log.test_accuracy, color=METHODS["standard"], label="test, clean labels (nobody has them)")
    ax.plot(log.index + 1, log.validation_accuracy, "--", color=MISLABELED, label="validation, noisy labels")
    ax.axvline(stop + 1, color="gray", linestyle=":", label=f"best on validation: {stop + 1} epochs")
    ax.set(xlabel="epochs trained", ylabel="accuracy", ylim=(0, 1.02))
    ax.legend(fontsize=8, loc="lower right")
    return ax


def spread(values, label="test accuracy at the last epoch", ax=None):
    """One row a method, one dot a run: `values` is a dict name -> list of numbers."""
    ax = _axes(ax, (6, 0.4 * len(values) + 0.9))
    for row, (name, numbers) in enumerate(values.items()):
        ax.plot(numbers, [row] * len(numbers), "o", color=METHODS.get(name), alpha=0.6)
    ax.set(yticks=range(len(values)), yticklabels=values, xlabel=label, ylim=(len(values) - 0.5, -0.5))
    return ax
