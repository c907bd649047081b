"""A prediction, written down before the result is seen."""

from html import escape

import ipywidgets


class Prediction(ipywidgets.HBox):
    """A field for a guess. `compare(value)`, after the run, sets the guess beside what was measured.

    question : what is to be guessed; unit : of the number, such as "%" or "points", or "" for a bare number
    """

    def __init__(self, question, unit=""):
        self.unit = f" {unit}" if unit else ""
        self.field = ipywidgets.Text(
            placeholder="your guess", continuous_update=False, layout={"width": "110px"}, description_allow_html=False
        )
        self.question = f"{question}{f' ({unit})' if unit else ''}"
        self.field.description, self.field.style = self.question, {"description_width": "initial"}
        self.field.layout.width = "auto"
        super().__init__([self.field], layout={"max_width": "100%"})

    def compare(self, value):
        """Print what was measured, and the guess if there is one."""
        guess = self.field.value.strip().removesuffix("%").strip()
        measured = f"{float(value):.3g}{self.unit}"
        print(f"You guessed {guess}{self.unit}; it is {measured}." if guess else f"It is {measured}. (No guess.)")

    def _repr_mimebundle_(self, **kwargs):
        data = super()._repr_mimebundle_(**kwargs)
        if not isinstance(data, dict):
            return data
        # for a page without a kernel
        return data | {
            "text/html": f"<label>{escape(self.question)}: <input size='8' placeholder='your guess'></label>"
        }
