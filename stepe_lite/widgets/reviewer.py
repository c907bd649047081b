"""Look through suspicious samples one by one: keep the label, give another one, or drop the sample."""

import html
import math
import time
from pathlib import Path

import ipywidgets

from .. import plots
from ..plots.style import png
from ..review import class_named


class Reviewer(ipywidgets.VBox):
    """A page a sample: image and loss by epoch (`plots.suspect`), given and suggested label, and buttons to decide.

    data : Dataset; run : what `review.suspicious` has ranked it by: a History, a Ledger, losses (epochs, n), or None
    review : the `Review` that the decisions go to; samples that it has decided on already are not asked again
    path : the CSV file that the button "Export" writes

    By keyboard: Tab and Shift+Tab go from one control to the next, the space bar presses a button, and the class is
    typed. The focus stays where it is when the next sample comes, so a row of "Relabel" is a row of spaces. A press
    that comes sooner than a picture can be seen is not taken for a decision on it.
    """

    PAUSE = 0.4  # seconds in which a new picture cannot be decided on: the second half of a double press

    def __init__(self, data, run, review, path):
        self.data, self.run, self.review, self.path, self.ready = data, run, review, Path(path), 0
        self.progress = ipywidgets.IntProgress(max=len(review.table), layout={"width": "150px"})
        self.status = ipywidgets.Label()
        self.picture = ipywidgets.Image(format="png", layout={"width": "100%", "max_width": "640px", "height": "auto"})
        self.facts = ipywidgets.HTML(layout={"min_height": "60px"})  # it may wrap, and grow
        # Not a Dropdown: in it JupyterLab takes the keys Up and Down for a walk to the next cell.
        self.label = ipywidgets.Combobox(
            options=data.classes, description="as class", continuous_update=False, layout={"width": "260px"}
        )
        self.keep = self._button("Keep", "the given label is right", self._keep)
        self.relabel = self._button("Relabel", "the class beside is the right label", self._relabel)
        self.drop = self._button("Drop", "no label is right, or nobody can tell", self._drop)
        self.undo = self._button("Undo", "take the last decision back", self._undo)
        self.export = self._button("Export", "write all decisions to a CSV file", self._export)
        self.output = ipywidgets.Output()
        above = ipywidgets.HBox([self.progress, self.status])
        decide = ipywidgets.HBox([self.keep, self.relabel, self.label, self.drop], layout={"flex_flow": "row wrap"})
        after = ipywidgets.HBox([self.undo, self.export])
        super().__init__([above, self.picture, self.facts, decide, after, self.output])
        self._show(self._next())

    def _button(self, name, tooltip, act):
        def clicked(_):
            with self.output:
                if act == self._export or time.monotonic() >= self.ready:
                    act()

        button = ipywidgets.Button(description=name, tooltip=tooltip, layout={"width": "90px"})
        button.on_click(clicked)
        return button

    def _keep(self):
        self.review.keep(self.sample)
        self._show(self._next())

    def _relabel(self):
        self.review.relabel(self.sample, class_named(self.label.value, self.data.classes, "the class"))
        self._show(self._next())

    def _drop(self):
        self.review.drop(self.sample)
        self._show(self._next())

    def _undo(self):
        undone = self.review.undo()
        self._show(self._next() if undone is None else undone)

    def _export(self):
        self.review.to_csv(self.path)
        self._count(f"; written to {self.path.name}")

    def _next(self):
        return next(iter(self.review.waiting), None)

    def _count(self, said=""):
        total = len(self.review.table)
        done = total - len(self.review.waiting)
        self.progress.value, self.status.value = done, f"{done} of {total} reviewed{said}"

    def _show(self, sample):
        """Show `sample`, or the end where it is None. The count comes last: it says that all the rest is there."""
        self.sample = sample
        self.undo.disabled = not self.review.log
        for control in (self.keep, self.relabel, self.label, self.drop):
            control.disabled = sample is None
        self.picture.layout.visibility = "hidden" if sample is None else "visible"
        if sample is None:
            words = self.review.as_table().decision.value_counts()
            said = ", ".join(f"{words.get(word, 0)} × {word}" for word in ("keep", "relabel", "drop"))
            self.facts.value = f"All are reviewed: {said}. “Export” writes them to a file."
            self.export.focus()
            return self._count()
        row = self.review.table.loc[sample]
        self.label.value, self.facts.value = row.suggested or row.given, _facts(row)
        self.picture.value = png(plots.suspect(self.data, self.run, sample))
        self._count()
        self.ready = time.monotonic() + self.PAUSE


def _facts(row):
    """What the table knows of a sample, as HTML."""
    said = [f"{html.escape(row.file)}: given <b>{html.escape(row.given)}</b>" if "file" in row else ""]
    said = said if said[0] else [f"given <b>{html.escape(row.given)}</b>"]
    if row.suggested:
        said[0] += f" ({100 * row.confidence_given:.0f} % says the network)"
        said += [f"suggested <b>{html.escape(row.suggested)}</b> ({100 * row.confidence_suggested:.0f} %)"]
    if not math.isnan(row.mean_loss):
        said += [f"mean loss {row.mean_loss:.2f} nats, excluded in {row.times_excluded} epochs"]
    return "; ".join(said)
