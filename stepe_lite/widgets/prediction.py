"""A prediction, written down before the result is seen."""

from html import escape

import ipywidgets


class Prediction(ipywidgets.HBox):
    """A field for a guess. `compare(value)`, after the run, sets the guess beside what was measured.

    question : what is to be guessed; unit : of the number, such as "%" or "points", or "" for a bare number
    """

    def __init__(self, question, unit=""):
        self.unit = f" {unit}" if unit else ""
        self.question = f"{question}{f' ({unit})' if unit else ''}"
        self.field = ipywidgets.Text(
            description=self.question, placeholder="your guess", continuous_update=False,
            style={"description_width": "initial"}, layout={"width": "auto"},
        )  # fmt: skip
        super().__init__([self.field], layout={"max_width": "100%"})

    def compare(self, value):
        """Print what was measured, and the guess if there is one."""
        guess = self.field.value.strip().removesuffix(self.unit.strip()).strip()
        measured = f"{float(value):.3g}{self.unit}"
        print(f"You guessed {guess}{self.unit}; it is {measured}." if guess else f"It is {measured}. (No guess.)")

    def _repr_mimebundle_(self, **kwargs):
        html = f"<label>{escape(self.question)}: <input size='8' placeholder='your guess'></label>"
        return super()._repr_mimebundle_(**kwargs) | {"text/html": html}  # for a page without a kernel
