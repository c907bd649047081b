"""Pictures of data and of single samples: noise, the whole ledger, loss trajectories, detectors and classes."""

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
import torch
from matplotlib.colors import LinearSegmentedColormap

from .style import CLEAN, GROUPS, MISLABELED, SHADES, colour_of, new_axes, new_figure

KEPT = "#eeeeee"
OUTCOMES = ("kept", "lost"), ("missed", "caught")  # by mislabeled, then by excluded at the last epoch
# Line style and width: what is drawn first is wide, so that what lies on it does not hide it.
SCORES = {"loss": ("-", 3.5), "averaged loss": ("--", 1.5), "margin": (":", 1.5)}


def gallery(data, index, columns=10):
    """The training images `index`, each with its given label; a mislabeled one in orange with its true label too."""
    index = torch.as_tensor(index)
    rows = -(-len(index) // columns)
    figure, axes = new_figure(rows, columns, (columns, 1.4 * rows))
    for ax in axes.flat:
        ax.axis("off")
    for ax, i in zip(axes.flat, index):
        image(data, i, ax)
    return figure


def image(data, i, ax):
    """Training image `i` without axes, under its given label; if mislabeled in orange, with its true label too."""
    pixels, given = data.images[i], data.classes[data.labels[i]]
    wrong = data.clean_labels is not None and bool(data.labels[i] != data.clean_labels[i])
    ax.imshow(pixels[0] if len(pixels) == 1 else pixels.permute(1, 2, 0), cmap="gray_r")
    truth = f"\n(is {data.classes[data.clean_labels[i]]})" if wrong else "\n"
    ax.set_title(given + truth, fontsize=9, color=MISLABELED if wrong else CLEAN)
    ax.axis("off")


def transition(matrix, classes, title="", ax=None):
    """A transition matrix as a picture: row = clean class, column = given class, entries in % of the clean class."""
    k = len(classes)
    ax = new_axes(ax, (0.42 * k + 1.8, 0.36 * k + 1.2))
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


def transitions(matrices, classes):
    """Several transition matrices side by side: `matrices` is a dict title -> (k, k)."""
    k = len(classes)
    figure, axes = new_figure(1, len(matrices), (len(matrices) * (0.3 * k + 0.8), 0.3 * k + 1.2))
    for ax, (title, matrix) in zip(axes[0], matrices.items()):
        transition(matrix, classes, title, ax)
    figure.supxlabel("entries: % of the clean class", fontsize=9)
    return figure


def boundary(predict, points, labels, is_mislabeled, title="", ax=None):
    """What a two-class model says in the plane: `predict(points (m, 2)) -> probability (m,) of class 1`.

    `points` (n, 2) are drawn by given label (circle = 0, square = 1), mislabeled ones in orange. Dark: class 1.
    """
    ax = new_axes(ax, (4, 3.6))
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


def boundaries(models, points, truth):
    """Decision boundaries side by side: `models` is a dict title -> (predict, given labels), see `boundary`."""
    figure, axes = new_figure(1, len(models), (4.2 * len(models), 3.6), sharex=True, sharey=True)
    for ax, (title, (predict, given)) in zip(axes[0], models.items()):
        boundary(predict, points, np.asarray(given), np.asarray(given) != truth, title, ax)
    handles, said = axes[0, -1].get_legend_handles_labels()
    shades = [plt.Rectangle((0, 0), 1, 1, color=shade) for shade in SHADES]
    said = [*said, "network says 0", "network says 1"]
    figure.legend([*handles, *shades], said, loc="outside lower center", ncols=3, fontsize=8)
    return figure


def ledger(data, history):
    """Who was excluded when: a column a sample, a row an epoch, coloured where the sample was excluded.

    Mislabeled and clean samples apart, sorted by first exclusion, then by how often they were out. Samples that were
    never excluded are only counted.
    """
    excluded, wrong = history.excluded.numpy(), data.is_mislabeled.numpy()
    figure, axes = new_figure(1, 2, (8.5, 3.6), sharey=True)
    for ax, (name, group) in zip(axes[0], (("mislabeled", wrong), ("clean", ~wrong))):
        rows = excluded[:, group & excluded.any(0)]
        order = np.lexsort((-rows.sum(0), rows.argmax(0)))
        colours = LinearSegmentedColormap.from_list(name, [KEPT, GROUPS[name]])
        # More columns than pixels must be averaged, or samples vanish; with fewer, averaging only blurs.
        how = "antialiased" if rows.shape[1] > 400 else "nearest"
        ax.imshow(rows[:, order], cmap=colours, vmin=0, vmax=1, aspect="auto", interpolation=how)
        ax.set_title(f"{name}: {rows.shape[1]:,} of {group.sum():,} excluded at least once", fontsize=11)
        ax.set(xlabel="sample, sorted by first exclusion")
        ax.grid(False)
    axes[0, 0].set_ylabel("epoch (counted from 0)")
    return figure


def trajectories(data, history, index, columns=1):
    """The samples `index`: each image, and the loss on its given label by epoch. Grey: excluded. All on one log scale.

    Where the clean labels are known, the line is orange for a mislabeled sample and blue for a clean one, and the title
    says what became of it, as in `analysis.sample_table`.
    """
    rows = -(-len(index) // columns)
    figure, axes = new_figure(
        rows, 2 * columns, (max(5.5, 3.1 * columns), 1.6 * rows + 0.6), width_ratios=[1, 2.2] * columns
    )
    for ax in axes.flat[2 * len(index) :]:
        ax.axis("off")
    for number, i in enumerate(index):
        picture, ax = axes.flat[2 * number], axes.flat[2 * number + 1]
        image(data, i, picture)
        wrong = None if data.clean_labels is None else bool(data.is_mislabeled[i])
        trajectory(history, i, ax, "black" if wrong is None else MISLABELED if wrong else CLEAN)
        out = bool(history.excluded[-1, i])
        became = "" if wrong is None else f": {OUTCOMES[wrong][out]}"
        ax.set_title(f"sample {i}{became}", fontsize=9)
        if number % columns == 0:
            ax.set_ylabel("loss (nats)", fontsize=8)
    figure.supxlabel("epoch (counted from 0); grey: excluded", fontsize=9)
    return figure


def trajectory(history, i, ax, colour):
    """The loss of sample `i` by epoch, on a log scale from 0.0001 nats to the highest of the run. Grey: excluded."""
    epochs, low = np.arange(len(history.losses)), 1e-4
    high = 1.3 * float(np.nanmax(history.losses.numpy()))
    out = history.excluded[:, i].numpy()
    ax.fill_between(epochs, low, high, where=out, step="mid", color="0.85", linewidth=0)
    ax.plot(epochs, history.losses[:, i].clamp(min=low).numpy(), color=colour)
    ax.set(yscale="log", ylim=(low, high), xlim=(-0.5, len(epochs) - 0.5), yticks=[1e-4, 1e-2, 1])
    ax.minorticks_off()
    ax.grid(axis="x", visible=False)


def detection(curves):
    """Precision against recall, and the ROC curve. `curves`: dict of `analysis.detection_curves`.

    Its names are "method: score"; a colour a method, a line style a score ("loss", "averaged loss", "margin").
    """
    figure, axes = new_figure(1, 2, (9, 3.2), sharey=True)
    for name, curve in curves.items():
        method, _, score = name.partition(": ")
        line, width = SCORES.get(score, ("-", 1.5))
        style = {"color": colour_of(method), "linestyle": line, "linewidth": width, "label": name}
        style["alpha"] = 0.4 if width > 2 else 1
        axes[0, 0].plot(100 * curve["recall"], 100 * curve["precision"], **style)
        axes[0, 1].plot(100 * curve["false_alarms"], 100 * curve["caught"], **style)
    axes[0, 0].set(xlabel="recall (% of the mislabeled)", ylabel="precision (%)", title="precision and recall")
    axes[0, 1].set(xlabel="false alarms (% of the clean)", ylabel="recall (% of the mislabeled)", title="ROC")
    axes[0, 1].yaxis.set_tick_params(labelleft=True)
    axes[0, 1].plot([0, 100], [0, 100], color="gray", linewidth=0.8, label="chance")
    axes[0, 0].set(ylim=(0, 102))
    axes[0, 1].legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    return figure
