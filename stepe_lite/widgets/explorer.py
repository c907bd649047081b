"""Design a schedule: sliders, what the rule would exclude, and a button that trains with it."""

import base64
import html
from dataclasses import replace

import ipywidgets
import pandas as pd

from .. import plots, schedules
from ..course import alive, folder
from ..experiments import schedule_map
from ..learner import Settings
from ..rules import StepE
from ..training import fit
from ..utils import BadInput, check_choice

SHAPES = [name for name in schedules.names() if name != "constant"]  # that is any shape with a ramp of 0 epochs
WIDE = {"description_width": "130px"}
LONG = {"width": "350px"}


def make_rule(shape, warmup, ramp, final, temperature=None):
    """The rule of these settings: StepE with `schedules.<shape>(warmup, ramp, final)`; no temperature = hard."""
    return StepE(getattr(schedules, shape)(warmup, ramp, final), soft=temperature)


def settings_of(rule):
    """The settings of a StepE in a learner's words."""
    schedule = rule.schedule
    how = "hard" if rule.soft is None else f"soft, {rule.soft:.2g} nats"
    return f"{schedule.shape}, warm-up {schedule.warmup}, ramp {schedule.ramp}, final {schedule.final:.0%}, {how}"


def describe(table):
    """A `analysis.outcome` in words: where the exclusion starts, where it ends, and what soft weights are then."""
    table = table.assign(excluded=table.clean + table.mislabeled)
    if not table.excluded.any():
        return "Replayed: nobody is excluded"
    first, last = table[table.excluded > 0].iloc[0], table.iloc[-1]
    start = f"Replayed: starts at epoch {first.name} with precision {_percent(first.precision)} %"
    share, precision, recall = (_percent(last[name]) for name in ("excluded", "precision", "recall"))
    end = f"{start}; last epoch: excluded {share} %, precision {precision} %, recall {recall} %"
    if abs(last.weight_mislabeled - (1 - last.recall)) < 1e-6:  # hard weights say no more than that
        return end
    return f"{end}; mean weight {last.weight_mislabeled:.2f} if mislabeled, {last.weight_clean:.2f} if clean"


class ScheduleExplorer(ipywidgets.VBox):
    """Sliders for a Step-E rule, `plots.explorer` of it on recorded losses, and real training behind a button.

    data : Dataset with known clean labels
    runs : dict name -> History on that data, shown on the leaderboard. The losses of the first are those replayed, and
        its settings (epochs, seed, optimiser, …) are those of the button.
    model : what to train, as for `fit`
    rule : the StepE to start with

    Raises ValueError for a rule that the controls cannot show, or if the first run had a loss other than cross-entropy.

    By keyboard: Tab and Shift+Tab go from one control to the next, the arrow keys change a number, Alt+Down opens the
    list of shapes, the space bar presses a button. A slider of ipywidgets has no name for a screen reader, so
    each stands beside a number field that has one. JupyterLab takes the arrow keys from a list, so there is only one.
    """

    def __init__(self, data, runs, model, rule):
        self.data, self.model, self.first = data, model, next(iter(runs.values()))
        trained = replace(Settings.from_config(self.first.config), steps=None, epochs=len(self.first.log))
        self.settings = vars(trained)  # not asdict, which would take the loss apart
        self.board = pd.concat([_row(name, "", history) for name, history in runs.items()])
        self.drawing = plots.Explorer(self.first.losses, data.is_mislabeled)
        self._controls(rule, epochs=len(self.first.losses))
        if self.rule != rule:
            raise BadInput(f"rule is {rule}, but the controls can only show {self.rule}.")
        self.picture = ipywidgets.Image(format="png", layout={"width": "100%", "max_width": "840px"})
        self.facts, self.trained = ipywidgets.HTML(), ipywidgets.HTML()  # unlike a Label, it wraps
        self.map = schedule_map.beside(folder() / "results", data, model, len(self.first.losses))
        self.train = ipywidgets.Button(description="Train with these settings", layout={"width": "220px"})
        self.train.on_click(self._train)
        self.reset = ipywidgets.Button(description="Back to the start values", layout={"width": "220px"})
        self.reset.on_click(self._reset)
        self.leaderboard, self.output = ipywidgets.HTML(), ipywidgets.Output()
        buttons = ipywidgets.HBox([self.train, self.reset], layout={"flex_flow": "row wrap"})
        super().__init__(
            [self.controls, self.picture, self.facts, self.trained, buttons, self.leaderboard, self.output]
        )
        self.leaderboard.add_class("jp-RenderedHTMLCommon")  # JupyterLab's style of tables
        self._show()
        self._list()

    def _controls(self, rule, epochs):
        if not isinstance(rule, StepE) or not isinstance(rule.schedule, schedules.Schedule):
            raise BadInput(f"rule is {rule!r}, but must be a StepE with one of the schedules of `schedules`.")
        schedule = rule.schedule
        check_choice("the shape of rule", schedule.shape, SHAPES)
        self.shape = _labelled(ipywidgets.Dropdown(options=SHAPES, value=schedule.shape), "shape")
        self.warmup = ipywidgets.IntSlider(schedule.warmup, 0, epochs)
        self.ramp = ipywidgets.IntSlider(schedule.ramp, 0, epochs)
        self.final = ipywidgets.IntSlider(round(100 * schedule.final), 0, 95)
        self.soft = _labelled(ipywidgets.Checkbox(rule.soft is not None), "soft weights")
        self.temperature = _labelled(
            ipywidgets.BoundedFloatText(rule.soft or 0.5, min=0.05, max=10, step=0.05), "temperature (nats)"
        )
        rows = [
            self.shape, self.soft, _with_number(self.warmup, "warm-up (epochs)"), self.temperature,
            _with_number(self.ramp, "ramp (epochs)"), _with_number(self.final, "final fraction (%)"),
        ]  # fmt: skip
        changing = self.shape, self.warmup, self.ramp, self.final, self.soft, self.temperature
        self.start = {control: control.value for control in changing}
        self._listen()
        self.controls = ipywidgets.HBox(rows, layout={"flex_flow": "row wrap", "max_width": "740px"})

    def _listen(self, listen=True):
        for control in self.start:
            (control.observe if listen else control.unobserve)(self._show, "value")

    @property
    def rule(self):
        """The StepE that the controls show."""
        temperature = self.temperature.value if self.soft.value else None
        return make_rule(self.shape.value, self.warmup.value, self.ramp.value, self.final.value / 100, temperature)

    def _show(self, change=None):
        with self.output:
            self.temperature.disabled = not self.soft.value
            self.drawing.update(self.rule)
            self.picture.value, self.facts.value = self.drawing.png(), describe(self.drawing.table)
            if self.map is not None:
                self.trained.value = schedule_map.said(self.map, self.rule)

    def _repr_mimebundle_(self, **options):
        """With the losses, for pages where no kernel runs."""
        schedule, run = self.rule.schedule, alive.run_of(self.first.losses, self.data.labels, self.data.is_mislabeled)
        rule = {name: getattr(schedule, name) for name in ("shape", "warmup", "ramp", "final")}
        picture = base64.b64encode(self.picture.value).decode()
        page = {"runs": {"this run": run}, "start": rule | {"soft": self.rule.soft}, "picture": picture}
        if self.map is not None:
            page["map"] = {"rows": self.map.to_dict("records"), "about": schedule_map.ABOUT}
            page["map"]["grid"] = schedule_map.grid(self.map)
        return super()._repr_mimebundle_(**options) | {alive.EXPLORER: page | {"said": self.facts.value}}

    def _reset(self, button):
        """Back to the rule of the start. What was trained stays on the leaderboard."""
        self._listen(False)  # one new picture, not six
        for control, value in self.start.items():
            control.value = value
        self._listen()
        self._show()

    def _train(self, button):
        with self.output:
            self.output.clear_output()
            button.disabled, words, button.description = True, button.description, "training …"
            try:
                rule = self.rule
                history = fit(self.data, self.model, rule, progress=False, **self.settings)
                name = f"try {self.board.method.str.startswith('try').sum() + 1}"
                self.board = pd.concat([self.board, _row(name, settings_of(rule), history)])
                accuracy = history.log.test_accuracy.iloc[-1]
                self._list(f"<b>{name}</b>: {settings_of(rule)}: test accuracy {_percent(accuracy)} %")
            finally:
                button.disabled, button.description = False, words

    def _list(self, newest=""):
        board = self.board.sort_values("test accuracy, last epoch (%)", ascending=False, kind="stable")
        table = board.to_html(index=False, border=0, na_rep="–", float_format="{:.1f}".format)
        self.leaderboard.value = f"{newest}{table}"


class Question(ipywidgets.HBox):
    """A question that is answered by a number, with a field for it; Enter says whether it is right.

    text : the question, with the unit; answer : the right number; within : how far from it is still right
    """

    def __init__(self, text, answer, within):
        self.answer, self.within = answer, within
        self.field = ipywidgets.Text(
            description=text, placeholder="a number, then Enter", continuous_update=False,
            style={"description_width": "290px"}, layout={"width": "450px"},
        )  # fmt: skip
        self.reply = ipywidgets.HTML()
        self.field.observe(self._reply, "value")
        super().__init__([self.field, self.reply], layout={"flex_flow": "row wrap"})

    def _reply(self, change):
        said = self.field.value.strip().removesuffix("%").replace(",", ".")
        try:
            off = abs(float(said) - self.answer)
        except ValueError:
            self.reply.value = "✗ That is no number." if said else ""
            return
        hint = " A share? Here it is in %." if abs(100 * float(said) - self.answer) <= self.within else ""
        self.reply.value = f"✓ It is {self.answer:.3g}." if off <= self.within else f"✗ Not yet.{hint}"

    def _repr_mimebundle_(self, **options):
        """With a form in HTML, for pages where no kernel runs."""
        field = '<input type="text" inputmode="decimal" size="8" placeholder="a number">'
        label = f"<label>{html.escape(self.field.description)} {field}</label>"
        data = f'data-answer="{float(self.answer)}" data-within="{self.within}" data-said="{self.answer:.3g}"'
        form = f'<p class="question" {data}>{label} <span role="status"></span></p>'
        return super()._repr_mimebundle_(**options) | {"text/html": form}


def _labelled(control, text):
    control.description, control.style, control.layout = text, WIDE, LONG
    return control


def _with_number(slider, text):
    """`slider` behind a number field for the same value, which carries the label."""
    slider.layout, slider.readout = {"width": "140px"}, False
    number = ipywidgets.BoundedIntText(
        slider.value, slider.min, slider.max, description=text, style=WIDE, layout={"width": "200px"}
    )
    ipywidgets.jslink((slider, "value"), (number, "value"))
    return ipywidgets.HBox([number, slider], layout=LONG)


def _row(method, settings, history):
    last = history.log.iloc[-1]
    return pd.DataFrame({
        "method": [method], "settings": [settings], "test accuracy, last epoch (%)": [100 * last.test_accuracy],
        "precision (%)": [100 * last.precision], "recall (%)": [100 * last.recall],
        "seconds": [history.log.seconds.sum()],
    })  # fmt: skip


def _percent(share):
    return "–" if pd.isna(share) else f"{100 * share:.1f}"
