"""Alt text: what a figure shows, in words and numbers, for whoever cannot see it. Read from what is drawn.

A figure of this package shows it as metadata of its picture, where nbconvert looks for it.
"""

import numpy as np
from matplotlib.collections import PathCollection, QuadMesh
from matplotlib.figure import Figure
from matplotlib.patches import StepPatch

MOST = 30  # images, rows or bars that are named one by one


class Described(Figure):
    """A matplotlib Figure whose picture in a notebook carries its alt text."""

    def _repr_mimebundle_(self, include=None, exclude=None):
        return {}, {"image/png": {"alt": text(self)}}  # the picture itself comes from matplotlib's own backend


def text(figure):
    """The alt text of a Figure: each of its panels in a sentence or more."""
    images = [ax for ax in figure.axes if ax.images and not ax.axison]
    panels = [ax for ax in figure.axes if ax not in images and (ax.axison or ax.has_data())]
    said = [f"{len(images)} images: {_list([_flat(ax.get_title()) for ax in images])}."] if images else []
    for number, ax in enumerate(panels, 1):
        said.append((f"Panel {number} of {len(panels)}" if len(panels) > 1 else "Figure") + _panel(ax))
    below = figure.get_supxlabel()
    return " ".join([*said, f"{_flat(below)}." if below else ""]).strip()


def _panel(ax):
    title, x, y = (_flat(each) for each in (ax.get_title(), ax.get_xlabel(), ax.get_ylabel()))
    axes = f" {y} against {x}." if x and y else f" {x or y}." if x or y else ""
    parts = [*_rows(ax)] or [*_lines(ax), *_points(ax)]
    parts += [*_bars(ax), *_matrix(ax)]
    return f"{f', {title}' if title else ''}:{axes} {' '.join(f'{part}.' for part in parts)}".rstrip(" :")


def _lines(ax):
    """A line in words: where it starts and ends, and its top and bottom where these lie between."""
    curves = [line for line in ax.get_lines() if line.get_transform() == ax.transData]
    for line in ax.get_lines():
        x, y = (np.asarray(values, dtype=float) for values in (line.get_xdata(), line.get_ydata()))
        known = np.isfinite(x) & np.isfinite(y)
        if not known.any() or (_name(line) is None and curves != [line]):
            continue
        x, y, name = x[known], y[known], _name(line) or "the line"
        straight = len(y) == 2 and line.get_transform() != ax.transData
        if straight and y[0] == y[1]:
            yield f"{name}: level at {_number(y[0])}"
        elif straight:
            yield f"{name}: upright at {_number(x[0])}"
        else:
            said = f"{name}: from {_number(y[0])} at {_number(x[0])} to {_number(y[-1])} at {_number(x[-1])}"
            for word, at in (("highest", y.argmax()), ("lowest", y.argmin())):
                if y[at] not in (y[0], y[-1]):
                    said += f", {word} {_number(y[at])} at {_number(x[at])}"
            yield said


def _rows(ax):
    """Where the rows of a picture have names: the mean of the points in each, one series after the other."""
    names = {round(at): _flat(label.get_text()) for at, label in zip(ax.get_yticks(), ax.get_yticklabels())}
    if not any(name[:1] != "$" and any(map(str.isalpha, name)) for name in names.values()):
        return
    series = {}
    for artist in [*ax.get_lines(), *ax.collections]:
        if artist.get_transform() != ax.transData and not isinstance(artist, PathCollection):
            continue
        points = artist.get_offsets() if isinstance(artist, PathCollection) else None
        points = np.column_stack(artist.get_data()) if points is None and hasattr(artist, "get_data") else points
        for x, y in [] if points is None else np.asarray(points, dtype=float):
            if np.isfinite(x):
                series.setdefault(_name(artist) or "", {}).setdefault(names.get(round(y)), []).append(x)
    named = {name: rows for name, rows in series.items() if name} or series
    for name, rows in named.items():
        means = [f"{row} {_number(np.mean(values))}" for row, values in rows.items() if row]
        if means:
            yield f"{name or 'mean of the points'}: {_list(means)}"


def _points(ax):
    for points in ax.collections:
        if isinstance(points, PathCollection) and _name(points):
            yield f"{_name(points)}: {len(points.get_offsets())} points"


def _bars(ax):
    for bars in ax.containers:
        heights = np.array([bar.get_height() for bar in bars.patches]) if hasattr(bars, "patches") else np.array([])
        if len(heights) and len(heights) <= len(ax.get_xticklabels()):
            labels = [_flat(label.get_text()) for label in ax.get_xticklabels()]
            yield f"{_name(bars) or 'bars'}: {_list([f'{label} {_number(h)}' for label, h in zip(labels, heights)])}"
        elif len(heights):  # a histogram
            top = bars.patches[heights.argmax()]
            most = f"most between {_number(top.get_x())} and {_number(top.get_x() + top.get_width())}"
            yield f"{_name(bars.patches[0]) or 'bars'}: {_number(heights.sum())} in all, {most}"
    for steps in ax.patches:
        if isinstance(steps, StepPatch):
            values, base = steps.get_data().values, steps.get_data().baseline
            heights = values - (0 if base is None else base)
            yield f"{_name(steps)}: at most {_number(np.nanmax(heights))}, at the end {_number(heights[-1])}"


def _matrix(ax):
    for mesh in ax.collections:
        if isinstance(mesh, QuadMesh):
            values = np.asarray(mesh.get_array()).reshape(mesh.get_array().shape[-2:])
            rest = values - np.diag(np.diag(values)) if values.shape[0] == values.shape[1] else values
            row, column = np.unravel_index(rest.argmax(), rest.shape)
            own = f"diagonal from {_number(np.diag(values).min())} to {_number(np.diag(values).max())}, "
            yield f"{own}largest entry beside it {_number(rest.max())}, in row {row} and column {column}"


def _name(artist):
    label = artist.get_label()
    return None if not label or str(label).startswith("_") else _flat(str(label))


def _flat(words):
    return " ".join(str(words).split())


def _number(value):
    return f"{float(value):.3g}" if abs(value) < 1000 else f"{float(value):,.0f}"


def _list(words):
    return "; ".join(words[:MOST]) + (f"; and {len(words) - MOST} more" if len(words) > MOST else "")
