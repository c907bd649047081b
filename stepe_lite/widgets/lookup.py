"""Look a sample up: its image, its labels, its loss by epoch and its row of the table."""

import base64

import ipywidgets

from .. import analysis, plots
from ..course import alive
from ..plots.style import png


class Lookup(ipywidgets.VBox):
    """A slider and a number field for the sample, and below them what `plots.trajectories` and `sample_table` say.

    `data` : Dataset; `history` : History of a run on it; `sample` : where to start. In the number field, the arrow keys
    go to the next sample. Raises IndexError if there is no such sample.
    """

    def __init__(self, data, history, sample=0):
        self.data, self.history = data, history
        self.table = analysis.sample_table(data, history)
        if not 0 <= sample < len(data):
            raise IndexError(f"sample is {sample}, but the samples go from 0 to {len(data) - 1}.")
        last = len(data) - 1
        self.slider = ipywidgets.IntSlider(
            sample, 0, last, readout=False, continuous_update=False, layout={"width": "420px"}
        )
        self.number = ipywidgets.BoundedIntText(sample, 0, last, description="sample", layout={"width": "170px"})
        ipywidgets.jslink((self.slider, "value"), (self.number, "value"))
        self.picture = ipywidgets.Image(format="png", layout={"width": "550px", "height": "210px"})
        self.facts = ipywidgets.HTML(layout={"height": "70px"})
        self.output = ipywidgets.Output()
        self.slider.observe(self._show, "value")
        super().__init__([ipywidgets.HBox([self.number, self.slider]), self.picture, self.facts, self.output])
        self._show()

    def _show(self, change=None):
        with self.output:
            sample = self.slider.value
            self.picture.value = png(plots.trajectories(self.data, self.history, [sample]))
            self.facts.value = self.table.loc[[sample]].to_html(float_format="{:.3f}".format)

    def _repr_mimebundle_(self, **options):
        """With the samples, for pages where no kernel runs."""
        page = alive.sample_data(self.data, self.history, self.table, self.slider.value)
        picture = base64.b64encode(self.picture.value).decode()
        more = {} if page is None else {alive.LOOKUP: page | {"picture": picture, "said": f"sample {page['sample']}"}}
        return super()._repr_mimebundle_(**options) | more
