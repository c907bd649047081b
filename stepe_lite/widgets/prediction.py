"""A guess that is written down before the result is known, and shown beside it afterwards."""

import html

import ipywidgets

_written = {}  # question -> what was typed: a box that is run again, as by Run All, still has its guess


class Prediction(ipywidgets.VBox):
    """A question with a field for the reader's guess, a number; `compare(value)` shows the two side by side.

    `question` : text; `unit` : what guess and result are counted in, and part of the field's label for screen readers.
    In one kernel a guess stays with its question, also when the cell is run again.
    """

    def __init__(self, question, unit="%"):
        self.question, self.unit = question, unit
        # A description is the label that screen readers read out; a whole question would be cut short there.
        self.field = ipywidgets.Text(
            _written.get(question, ""), description=f"your guess ({unit})", style={"description_width": "initial"},
            layout={"width": "220px"},
        )  # fmt: skip
        self.field.observe(lambda change: _written.update({question: change.new}), "value")
        super().__init__([ipywidgets.HTML(html.escape(question)), self.field])

    @property
    def guess(self):
        """The number in the field, None while there is none."""
        try:
            return float(self.field.value.strip().removesuffix(self.unit).replace(",", "."))
        except ValueError:
            return None

    def compare(self, value, digits=1):
        """Print one line: the guess, if there is one, and the measured `value`, both in `unit`."""
        measured = f"Measured: {float(value):.{digits}f} {self.unit}."
        if self.guess is None:
            said = "You wrote no guess down." if not self.field.value else f"{self.field.value!r} is no number."
            line = f"{measured} {said}"
        else:
            off = abs(self.guess - float(value))
            line = f"Your guess: {self.guess:g} {self.unit}. {measured} Off by {off:.{digits}f}."
        print(line)

    def _repr_mimebundle_(self, **options):
        """With a form in HTML, for pages where no kernel runs."""
        field = f'<input type="text" inputmode="decimal" size="8" placeholder="your guess"> {html.escape(self.unit)}'
        form = f'<label class="prediction">{html.escape(self.question)}<br>{field}</label>'
        return super()._repr_mimebundle_(**options) | {"text/html": form}
