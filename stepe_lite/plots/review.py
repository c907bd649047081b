"""Pictures for looking through suspicious samples, whether or not anyone knows the truth."""

import numpy as np

from ..datasets import images
from ..review import record_of
from .samples import trajectory
from .style import CLEAN, MISLABELED, new_axes, new_figure


def suspects(data, table, is_mislabeled=None, columns=10):
    """The images of the rows of `table`, see `review.suspicious`: under "given → suggested"; below, number and file.

    An image that comes from a file is shown as it is there. `is_mislabeled` bool, one a row, colours the titles; None =
    nobody knows, and they are black. Long names of classes are cut short and take two lines.
    """
    long = max(map(len, [*table.given, *table.suggested]), default=0) > 4
    between, size = ("\n→ ", 7) if long else (" → ", 9)
    rows = -(-len(table) // columns)
    figure, axes = new_figure(rows, columns, (columns, (1.8 if long else 1.75) * rows))
    for ax in axes.flat:
        ax.axis("off")
    colours = ["black"] * len(table) if is_mislabeled is None else np.where(is_mislabeled, MISLABELED, CLEAN)
    for ax, row, colour in zip(axes.flat, table.itertuples(), colours):
        _image(data, row.Index, ax, side=160)
        ax.set_title(f"{_cut(row.given)}{between}{_cut(row.suggested)}", fontsize=size, color=colour)
        below = f"{row.Index}\n{_cut(row.file.rpartition('/')[2], 19)}" if "file" in table else row.Index
        ax.text(0.5, -0.04, below, transform=ax.transAxes, ha="center", va="top", fontsize=6, color="0.4")
    return figure


def suspect(data, run, sample):
    """One sample: its image (the file, where it comes from one), and the loss on its given label by epoch, log scale.

    Grey: excluded. `run` : as for `review.suspicious`; None, or out-of-sample probabilities = there are no losses.
    """
    known = run is not None and not hasattr(run, "probabilities")
    figure, axes = new_figure(1, 2 if known else 1, (6.4, 2.6), **({"width_ratios": [1, 1.6]} if known else {}))
    picture = axes[0, 0]
    _image(data, sample, picture, side=480)
    picture.set_title(f"sample {sample}\ngiven: {_cut(data.classes[data.labels[sample]], 26)}", fontsize=9)
    if known:
        trajectory(record_of(run), sample, axes[0, 1], "black")
        axes[0, 1].set(xlabel="epoch (counted from 0); grey: excluded", ylabel="loss (nats)")
    return figure


def _original(data, sample, side):
    """The file of a sample as an upright image of at most `side` pixels, or None."""
    if data.files is None:
        return None
    try:
        image, _ = images.read(data.folder / data.files[sample])
    except ValueError:  # moved or changed since: what was read stays
        return None
    image.thumbnail((side, side))
    return image


def found(is_mislabeled, total, budget, ax=None):
    """How many mislabeled samples a reviewer has found after each row: `is_mislabeled` bool, in the order of the table.

    `total` : mislabeled samples in the whole data, `budget` : rows to be reviewed (dotted). Dashed: the best order.
    """
    ax = new_axes(ax)
    seen = np.arange(len(is_mislabeled) + 1)
    ax.plot(seen, np.minimum(seen, total), "--", color="0.5", label="in the best possible order")
    ax.plot(seen, np.r_[0, np.cumsum(is_mislabeled)], color=MISLABELED, label="mislabeled among the rows so far")
    ax.axvline(budget, color="black", linestyle=":", label=f"the first {budget} rows")
    ax.set(
        xlabel="rows reviewed, most suspicious first", ylabel="mislabeled samples found", xlim=(0, None), ylim=(0, None)
    )
    ax.legend(fontsize=8)
    return ax


def rankings(runs, ax=None):
    """What rankings find, a dot a run: `runs`, columns kind (of noise), ranking, share (among the first rows)."""
    import seaborn

    ax = new_axes(ax, (7, 3.2))
    colours = ["#009E73", "#000000", "#56B4E9"][: runs.ranking.nunique()]
    percent = runs.assign(share=100 * runs.share)
    how = {"hue": "ranking", "palette": colours, "dodge": True, "jitter": False, "size": 8}
    seaborn.stripplot(percent, x="share", y="kind", ax=ax, **how)
    ax.set(xlabel="mislabeled among the first k rows (%); k = number of mislabeled samples", ylabel="")
    ax.legend(fontsize=8, title=None)
    return ax


def _cut(name, length=13):
    return name if len(name) <= length else f"{name[: length - 1]}…"


def _image(data, sample, ax, side):
    """Draw a sample: its file, of which at most `side` pixels are shown, or else what the network sees."""
    shown = _original(data, sample, side)
    if shown is None:
        pixels = data.images[sample].permute(1, 2, 0).numpy()
        shown = pixels[..., 0] if pixels.shape[2] == 1 else pixels
    ax.imshow(shown, cmap="gray_r")
    ax.axis("off")
