"""The one style of all pictures, and their colours.

Two fixed colours that colour-blind readers can tell apart (Okabe & Ito): clean samples are blue, mislabeled ones
orange, everywhere.
"""

import matplotlib.pyplot as plt
import seaborn as sns
from matplotlib.ticker import MaxNLocator

CLEAN, MISLABELED = "#0072B2", "#D55E00"
GROUPS = {"clean": CLEAN, "mislabeled": MISLABELED}
SHADES = ["#f2f2f2", "#cfcfcf"]  # where a two-class network says 0, and 1
# One colour a method, the same in every picture; grey for what is no rival: controls and oracles.
METHODS = {
    "standard": "#000000",
    "standard, early-stopped": "#7F7F7F",
    "standard, equal steps": "#7F7F7F",
    "loss truncation": "#E69F00",
    "loss truncation, warm-up": "#E69F00",
    "self-paced": "#CC79A7",
    "one-shot": "#56B4E9",
    "Step-E": "#009E73",
    "Step-E, estimated fraction": "#882255",
    "Step-E, late start": "#882255",
    "Step-E, half the ramp": "#009E73",
    "Step-E, moving average": "#117733",
    "Step-E, soft": "#999933",
    "Step-E, per class": "#332288",
    "Step-E, doubled": "#AA4499",
    "Step-E, doubled, per class": "#332288",
    "bounded loss": "#E69F00",
    "co-teaching": "#56B4E9",
    "random exclusion": "#7F7F7F",
    "oracle by removal": "#7F7F7F",
    "oracle by clean labels": "#7F7F7F",
}
DASHED = {
    "loss truncation, warm-up",
    "Step-E, half the ramp",
    "random exclusion",
    "oracle by removal",
    "oracle by clean labels",
    "standard, early-stopped",
    "standard, equal steps",
}


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
        return plt.subplots(figsize=size, layout="constrained")[1]


def new_figure(rows, columns, size, **options):
    with themed():
        return plt.subplots(rows, columns, figsize=size, layout="constrained", squeeze=False, **options)
