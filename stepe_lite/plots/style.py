"""The one style of all pictures, and their colours.

Two fixed colours that colour-blind readers can tell apart (Okabe & Ito): clean samples are blue, mislabeled ones
orange, everywhere.
"""

import io
import zlib

import matplotlib.pyplot as plt
import seaborn as sns
from matplotlib.ticker import MaxNLocator

from .. import experiments
from .alt import Described

CLEAN, MISLABELED = "#0072B2", "#D55E00"
GROUPS = {"clean": CLEAN, "mislabeled": MISLABELED}
SHADES = ["#f2f2f2", "#cfcfcf"]  # where a two-class network says 0, and 1
# What notebooks compare beside the table's methods: a colour each.
_OTHERS = {
    "Step-E, late start": "#882255", "Step-E, doubled": "#AA4499", "Step-E, doubled, per class": "#332288",
    "bounded loss": "#E69F00", "co-teaching": "#56B4E9",
}  # fmt: skip
METHODS = {name: method.colour for name, method in experiments.METHODS.items()} | _OTHERS
DASHED = {name for name, method in experiments.METHODS.items() if method.dashed}


def colour_of(method):
    """The colour of a method, the same in every picture; one that a learner has named gets one by its name."""
    own = ("#661100", "#44AA99", "#6699CC", "#AA4466")  # of no other method, nor clean or mislabeled
    return METHODS.get(method) or own[zlib.crc32(str(method).encode()) % len(own)]


def whole_ticks(ax):
    """Whole numbers below the x axis: there is no epoch 2.5."""
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))


def themed():
    # Not plt.rc_context: on leaving, that also switches off the interactive mode which shows figures in a notebook.
    return sns.axes_style("whitegrid", rc={"axes.spines.top": False, "axes.spines.right": False})


def new_axes(ax, size=(6, 3.6)):
    if ax is not None:
        return ax
    with themed():
        return plt.subplots(figsize=size, layout="constrained", FigureClass=Described)[1]


def new_figure(rows, columns, size, **options):
    with themed():
        own = {"figsize": size, "layout": "constrained", "FigureClass": Described}
        return plt.subplots(rows, columns, squeeze=False, **own, **options)


def png(figure):
    """The PNG file of a matplotlib Figure, as bytes for an Image widget; closes the figure."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    plt.close(figure)
    return buffer.getvalue()
