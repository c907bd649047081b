"""Pictures of single samples: the whole ledger, loss trajectories, detectors and classes."""

import numpy as np
from matplotlib.colors import LinearSegmentedColormap, ListedColormap

from .noise import image
from .style import CLEAN, GROUPS, METHODS, MISLABELED, new_axes, new_figure

KEPT = "#eeeeee"
SCORES = {"loss": "-", "averaged loss": "--", "margin": ":"}


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
    """The samples `index`: each image, and the loss on its given label by epoch. Grey: excluded. All on one scale."""
    rows = -(-len(index) // columns)
    figure, axes = new_figure(
        rows, 2 * columns, (max(5.5, 2.9 * columns), 1.5 * rows + 0.6), width_ratios=[1, 2.2] * columns
    )
    top = float(np.nanmax(history.losses.numpy())) * 1.05
    for ax in axes.flat[2 * len(index) :]:
        ax.axis("off")
    for number, i in enumerate(index):
        picture, ax = axes.flat[2 * number], axes.flat[2 * number + 1]
        image(data, i, picture)
        picture.text(0.5, -0.06, f"sample {i}", transform=picture.transAxes, ha="center", va="top", fontsize=8)
        _trajectory(data, history, i, top, ax)
    figure.supxlabel("epoch (counted from 0); grey: excluded", fontsize=9)
    figure.supylabel("loss (nats)", fontsize=9)
    return figure


def _trajectory(data, history, i, top, ax):
    wrong = data.clean_labels is not None and bool(data.labels[i] != data.clean_labels[i])
    epochs = len(history.losses)
    shade = ListedColormap(["white", "0.85"])
    extent = (-0.5, epochs - 0.5, 0, top)  # the axis limits as well
    ax.imshow(history.excluded[:, i].numpy()[None], cmap=shade, vmin=0, vmax=1, aspect="auto", extent=extent)
    ax.plot(history.losses[:, i].numpy(), color=MISLABELED if wrong else CLEAN)
    ax.grid(axis="x", visible=False)


def detection(curves):
    """Precision against recall, and the ROC curve. `curves`: dict of `analysis.detection_curves`.

    Its names are "method: score"; a colour a method, a line style a score ("loss", "averaged loss", "margin").
    """
    figure, axes = new_figure(1, 2, (7.4, 3.1), sharey=True)
    for name, curve in curves.items():
        method, _, score = name.partition(": ")
        style = {"color": METHODS.get(method), "linestyle": SCORES.get(score, "-"), "label": name}
        axes[0, 0].plot(100 * curve["recall"], 100 * curve["precision"], **style)
        axes[0, 1].plot(100 * curve["false_alarms"], 100 * curve["caught"], **style)
    axes[0, 0].set(xlabel="recall (% of the mislabeled)", ylabel="precision (%)", title="precision and recall")
    axes[0, 1].set(xlabel="false alarms (% of the clean)", ylabel="recall (% of the mislabeled)", title="ROC")
    axes[0, 1].yaxis.set_tick_params(labelleft=True)
    axes[0, 0].set(ylim=(0, 102))
    axes[0, 1].legend(fontsize=8)
    return figure


def retention(tables, ax=None):
    """Share of the rightly labelled samples that are kept, by class; one colour a way of ranking.

    `tables` : dict name -> list of tables of `analysis.by_class`, one a run: a dot a run, a line through the means.
    """
    ax = new_axes(ax, (7, 3.4))
    for number, (name, runs) in enumerate(tables.items()):
        values = 100 * np.stack([run.retention for run in runs])
        at = np.arange(values.shape[1]) + 0.16 * (number - (len(tables) - 1) / 2)
        colour, marker = ("#009E73", "#CC79A7", "#000000")[number % 3], "osD"[number % 3]
        ax.plot(at, values.mean(0), marker + "-", color=colour, markersize=6, label=f"{name} (mean)")
        ax.plot(np.tile(at, len(values)), values.ravel(), ".", color=colour, alpha=0.5, markersize=5)
    classes = next(iter(tables.values()))[0].index
    ax.set(xticks=range(len(classes)), xlabel="class", ylabel="right labels that are kept (%)", ylim=(0, 103))
    ax.set_xticklabels(classes, rotation=90 if max(map(len, classes)) > 2 else 0)
    ax.legend(fontsize=8, loc="lower left")
    return ax
