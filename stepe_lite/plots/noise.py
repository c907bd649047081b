"""Pictures of data and of label noise."""

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
import torch

from .style import CLEAN, GROUPS, MISLABELED, SHADES, new_axes, new_figure


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
