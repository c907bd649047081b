"""One picture of what a rule would exclude: how many, whom and how rightly."""

import io

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb

from ..analysis import outcome, replay
from .style import CLEAN, MISLABELED, colour_of, new_axes, new_figure

HARD = "a row: a sample;\ncoloured: excluded, white: kept"
SOFT = "a row: a sample; the paler,\nthe more weight it keeps"
ROWS = 500  # samples drawn one by one; of more, evenly spaced ones


class Explorer:
    """The picture of `explorer` for many rules in turn: axes and words are drawn once, only what changes is redrawn.

    losses : float (epochs, n), recorded in any run; is_mislabeled : bool (n,).
    `update(rule)` shows a rule in `figure` and puts its numbers into `table`, see `analysis.outcome`; `png()` is fast.
    """

    def __init__(self, losses, is_mislabeled):
        self.losses, self.is_mislabeled = losses, is_mislabeled
        wrong, epochs = is_mislabeled.numpy(), len(losses)
        mean = losses.mean(0).numpy()
        order = np.lexsort((-mean, ~wrong))  # mislabeled samples above clean ones, the highest mean loss on top
        self.rows = order[np.linspace(0, len(order) - 1, min(ROWS, len(order))).astype(int)]
        self.colours = np.array([to_rgb(MISLABELED if wrong[row] else CLEAN) for row in self.rows])[:, None]
        self.figure, axes = new_figure(1, 3, (8.4, 3.2), sharex=True)  # at 900 px, a page has room for 730
        self._how_many(axes[0, 0], epochs, wrong.mean())
        self._whom(axes[0, 1], epochs)
        self._how_rightly(axes[0, 2])
        axes[0, 0].set_xlim(0, epochs)
        for ax in axes[0]:
            ax.set(xlabel="epoch (counted from 0)", ylim=(0, 100))
        for ax in axes[0, ::2]:
            ax.legend(
                fontsize=8, loc="lower center", bbox_to_anchor=(0.45, 1), ncols=2, frameon=False, handlelength=1.2,
                columnspacing=1, handletextpad=0.5,
            )  # fmt: skip
        axes[0, 1].set_ylim(100, 0)
        lines = [self.rate, self.schedule, self.precision, self.recall]
        self.changing = [self.mislabeled, self.clean, self.image, self.title, *lines]
        self.background = None

    def _how_many(self, ax, epochs, rate):
        edges, nothing = np.arange(epochs + 1), np.zeros(epochs)
        self.mislabeled = ax.stairs(nothing, edges, fill=True, color=MISLABELED, label="mislabeled")
        self.clean = ax.stairs(nothing, edges, baseline=nothing, fill=True, color=CLEAN, label="clean")
        (self.schedule,) = ax.plot([], [], color="black", label="schedule")
        self.rate = ax.axhline(100 * rate, color="gray", linestyle=":", label="noise rate")
        ax.set_ylabel("excluded (% of all samples)")

    def _whom(self, ax, epochs):
        blank = np.ones((len(self.rows), epochs, 3))
        self.image = ax.imshow(blank, aspect="auto", extent=(0, epochs, 100, 0), interpolation="nearest")
        ax.set_ylabel("samples (%), mislabeled on top")
        self.title = ax.set_title(HARD, fontsize=8)  # the place of two lines is kept for the words of soft weights
        ax.grid(False)

    def _how_rightly(self, ax):
        (self.precision,) = ax.plot([], [], color="#009E73", label="precision")
        (self.recall,) = ax.plot([], [], "--", color="#CC79A7", label="recall")
        ax.set_ylabel("share (%)")

    def update(self, rule):
        """Show what `rule`, a StepE, would exclude. Returns the figure."""
        weights = replay(rule, self.losses)
        self.table = outcome(weights, self.is_mislabeled)
        percent, epochs = 100 * self.table, np.arange(len(self.losses))
        self.mislabeled.set_data(values=percent.mislabeled)
        self.clean.set_data(values=percent.mislabeled + percent.clean, baseline=percent.mislabeled)
        at = np.linspace(0, len(epochs), 400)
        self.schedule.set_data(at, [100 * rule.schedule(epoch) for epoch in at])
        out = (1 - weights[:, self.rows]).T.numpy()[:, :, None]
        self.image.set_data(1 - out * (1 - self.colours))
        self.title.set_text(HARD if rule.soft is None else SOFT)
        for line, column in ((self.precision, percent.precision), (self.recall, percent.recall)):
            line.set_data(epochs, column)
        return self.figure

    def png(self):
        """The picture as the bytes of a PNG file. The figure is closed: it no longer shows up in a notebook."""
        from PIL import Image

        if self.background is None:
            plt.close(self.figure)
            for artist in self.changing:
                artist.set_visible(False)
            self.canvas = FigureCanvasAgg(self.figure)
            self.canvas.draw()
            self.background = self.canvas.copy_from_bbox(self.figure.bbox)
            for artist in self.changing:
                artist.set_visible(True)
        self.canvas.restore_region(self.background)
        for artist in self.changing:
            artist.axes.draw_artist(artist)
        buffer = io.BytesIO()
        Image.fromarray(np.asarray(self.canvas.buffer_rgba())[:, :, :3]).save(buffer, "png", compress_level=1)
        return buffer.getvalue()


def explorer(losses, is_mislabeled, rule):
    """What `rule` would exclude, were it asked about the recorded `losses` (epochs, n): a Figure of three pictures.

    Left: how many, by epoch, beside the schedule. Middle: whom; a row a sample, a soft rule in pale colours. Right:
    precision and recall. `is_mislabeled` bool (n,). The rule is only asked, nothing is trained, see `analysis.replay`.
    """
    return Explorer(losses, is_mislabeled).update(rule)


def settings(runs, setting, xlabel, levels, groups=None, ax=None):
    """Test accuracy at the last epoch against one setting: a dot a run, a line through the means.

    runs : DataFrame with the columns `setting` and accuracy (a share); and `groups`, if given: a line for each value
    levels : dict name -> accuracy, horizontal lines such as standard training and an oracle
    """
    ax = new_axes(ax, (7.5, 3.4))
    parts = {"Step-E": runs} if groups is None else dict(list(runs.groupby(groups, sort=False)))
    for (name, part), colour, style in zip(parts.items(), (colour_of("Step-E"), "#CC79A7"), ("-", "--")):
        mean = 100 * part.groupby(setting).accuracy.mean()
        ax.plot(mean.index, mean, style, color=colour, label=f"{name} (mean)")
        ax.plot(part[setting], 100 * part.accuracy, "o", color=colour, alpha=0.5, markersize=4)
    for (name, level), style in zip(levels.items(), (":", "-.")):
        ax.axhline(100 * level, color=colour_of(name), linestyle=style, label=name)
    ax.set(xlabel=xlabel, ylabel="test accuracy at the last epoch (%)", xticks=sorted(set(runs[setting])))
    ax.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    return ax
