"""A figure as the bytes of a PNG file, for an Image widget: it changes without flicker and keeps its size."""

import io

import matplotlib.pyplot as plt


def png(figure):
    """The PNG file of a matplotlib Figure; closes the figure."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    plt.close(figure)
    return buffer.getvalue()
