"""The schedule explorer without a browser: setting a value in code fires the callbacks, as a learner's hand would."""

import ipywidgets
import nbformat
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from matplotlib import pyplot

from stepe_lite import Everything, StepE, fit, losses, noise, plots, schedules
from stepe_lite.analysis import outcome, precision_recall, replay
from stepe_lite.course import pages
from stepe_lite.plots.style import colour_of
from stepe_lite.widgets import explorer
from stepe_lite.widgets.explorer import Question, ScheduleExplorer
from stepe_lite.widgets.prediction import Prediction

EPOCHS = 8
START = StepE(schedules.linear(warmup=2, ramp=3, final=0.4))


@pytest.fixture(scope="module")
def data(digits):
    return digits.subset(300, seed=0).with_noise(noise.symmetric(0.4), seed=0)


@pytest.fixture(scope="module")
def standard(data):
    return fit(data, "mlp", Everything(), epochs=EPOCHS, seed=3, lr=0.02, progress=False)


@pytest.fixture
def widget(data, standard):
    return ScheduleExplorer(data, {"standard": standard}, "mlp", START)


def board(widget):
    return widget.board.set_index("method")


# --- pictures of methods that a learner has named

OWN = ["mine", "Step-E, mine", "standard"]


@pytest.fixture(scope="module")
def runs():
    return pd.DataFrame([
        {"method": method, "kind": kind, "seed": seed, "accuracy_last": 0.5 + 0.1 * at + 0.01 * seed}
        for at, method in enumerate(OWN) for kind in ("symmetric", "pair flip") for seed in (0, 1)
    ])  # fmt: skip


@pytest.mark.parametrize(
    "draw",
    [
        lambda runs, standard: plots.accuracies(runs),
        lambda runs, standard: plots.by_kind(runs),
        lambda runs, standard: plots.lost_classes({name: [0.0, 0.2, 0.9] for name in OWN}, ["a", "b", "c"], rare=[1]),
        lambda runs, standard: plots.curves({name: standard for name in OWN}),
        lambda runs, standard: plots.spread({name: [0.5, 0.6] for name in OWN}),
    ],
    ids=["accuracies", "by_kind", "lost_classes", "curves", "spread"],
)
def test_a_method_of_a_name_of_ones_own_is_drawn(runs, standard, draw):
    ax = draw(runs, standard)
    ax.figure.canvas.draw()
    legend = ax.get_legend()
    names = [text.get_text() for text in (ax.get_yticklabels() if legend is None else legend.get_texts())]
    assert sorted(names) == sorted(OWN)
    pyplot.close(ax.figure)


def test_a_name_of_ones_own_has_a_colour_that_means_nothing_else():
    taken = {*plots.METHODS.values(), plots.CLEAN, plots.MISLABELED}
    own = {colour_of(f"mine {number}") for number in range(100)}
    assert len(own) >= 4 and not own & taken
    assert colour_of("mine") == colour_of("mine")


# --- replay and outcome


def test_a_replay_on_the_losses_of_its_own_run_is_that_run(data):
    history = fit(data, "mlp", START, epochs=EPOCHS, seed=0, progress=False)
    weights = replay(START, history.losses)
    assert torch.equal(weights, history.weights)
    found = outcome(weights, data.is_mislabeled)
    for column in ("precision", "recall"):
        assert found[column].tolist() == pytest.approx(history.log[column].tolist(), nan_ok=True)
    assert (found.clean + found.mislabeled).tolist() == pytest.approx(history.log.excluded_fraction.tolist())


def test_outcome_by_hand():
    weights = torch.tensor([[1.0, 1, 1, 1, 1], [0, 1, 1, 1, 1], [0, 0.4, 0, 0.5, 1]])
    found = outcome(weights, torch.tensor([True, False, True, False, False]))
    assert found.clean.tolist() == pytest.approx([0, 0, 0.2])
    assert found.mislabeled.tolist() == pytest.approx([0, 0.2, 0.4])
    assert found.precision.tolist() == pytest.approx([float("nan"), 1, 2 / 3], nan_ok=True)
    assert found.recall.tolist() == pytest.approx([0, 0.5, 1])
    assert found.weight_mislabeled.tolist() == pytest.approx([1, 0.5, 0])
    assert found.weight_clean.tolist() == pytest.approx([1, 1, (0.4 + 0.5 + 1) / 3])


@given(st.data())
def test_outcome_is_precision_and_recall_of_every_epoch(draw):
    epochs, n = draw.draw(st.integers(1, 4)), draw.draw(st.integers(1, 12))
    bits = st.lists(st.booleans(), min_size=n, max_size=n)
    excluded = torch.tensor([draw.draw(bits) for _ in range(epochs)])
    wrong = torch.tensor(draw.draw(bits))
    found = outcome((~excluded).float(), wrong)
    for epoch in range(epochs):
        expected = precision_recall(excluded[epoch], wrong)
        assert found.loc[epoch, ["precision", "recall"]].tolist() == pytest.approx(expected, nan_ok=True)
        assert found.clean[epoch] + found.mislabeled[epoch] == pytest.approx(excluded[epoch].double().mean().item())


# --- sliders


@pytest.mark.parametrize(
    "name, value, rule",
    [
        ("shape", "staircase", StepE(schedules.staircase(2, 3, 0.4))),
        ("warmup", 5, StepE(schedules.linear(5, 3, 0.4))),
        ("ramp", 0, StepE(schedules.linear(2, 0, 0.4))),
        ("final", 70, StepE(schedules.linear(2, 3, 0.7))),
        ("soft", True, StepE(schedules.linear(2, 3, 0.4), soft=0.5)),
    ],
)
def test_every_control_sets_the_rule_the_words_and_the_picture(widget, data, standard, name, value, rule):
    before = widget.picture.value
    getattr(widget, name).value = value
    assert widget.rule == rule
    table = outcome(replay(rule, standard.losses), data.is_mislabeled)
    pd.testing.assert_frame_equal(widget.drawing.table, table)
    assert widget.facts.value == explorer.describe(table)
    assert widget.picture.value != before and bytes(widget.picture.value).startswith(b"\x89PNG")


def test_the_temperature_counts_for_soft_weights_only(widget):
    assert widget.temperature.disabled
    widget.soft.value, widget.temperature.value = True, 2.0
    assert not widget.temperature.disabled and widget.rule.soft == 2.0
    widget.soft.value = False
    assert widget.rule.soft is None


def test_describe_says_where_the_exclusion_starts_and_ends():
    nothing = {"clean": 0.0, "mislabeled": 0.0, "precision": float("nan"), "recall": 0.0, "weight_mislabeled": 1.0}
    start = {"clean": 0.0, "mislabeled": 0.1, "precision": 1.0, "recall": 0.25, "weight_mislabeled": 0.75}
    end = {"clean": 0.1, "mislabeled": 0.3, "precision": 0.75, "recall": 0.789, "weight_mislabeled": 0.211}
    assert explorer.describe(pd.DataFrame([nothing, start, end])) == (
        "Replayed: starts at epoch 1 with precision 100.0 %; "
        "last epoch: excluded 40.0 %, precision 75.0 %, recall 78.9 %"
    )
    soft = end | {"weight_mislabeled": 0.3, "weight_clean": 0.9}
    assert explorer.describe(pd.DataFrame([start, soft])).endswith("; mean weight 0.30 if mislabeled, 0.90 if clean")
    assert explorer.describe(pd.DataFrame([nothing, nothing])) == "Replayed: nobody is excluded"


def test_every_control_has_a_name_with_its_unit_that_a_screen_reader_can_say(widget):
    named = [getattr(row, "children", [row])[0] for row in widget.controls.children]  # a number field before its slider
    assert [control.description for control in named] == [
        "shape", "soft weights", "warm-up (epochs)", "temperature (nats)", "ramp (epochs)", "final fraction (%)"
    ]  # fmt: skip
    assert not any(
        isinstance(control, ipywidgets.IntSlider) for control in named
    )  # ipywidgets does not name their handles


def test_reset_goes_back_to_the_start_in_one_redraw_and_keeps_the_leaderboard(widget, monkeypatch):
    first, drawn = (widget.picture.value, widget.facts.value), []
    widget.shape.value, widget.warmup.value, widget.ramp.value, widget.final.value = "cosine", 4, 1, 70
    widget.soft.value, widget.temperature.value = True, 3.0
    widget.train.click()
    update = widget.drawing.update
    monkeypatch.setattr(widget.drawing, "update", lambda rule: drawn.append(rule) or update(rule))
    widget.reset.click()
    assert drawn == [START] and widget.rule == START and widget.temperature.value == 0.5
    assert (widget.picture.value, widget.facts.value) == first
    assert list(widget.board.method) == ["standard", "try 1"]
    widget.warmup.value = 3
    assert drawn == [START, widget.rule]  # the controls are listened to again


@pytest.mark.parametrize("temperature", [0.5, 0.37])
def test_a_soft_rule_says_what_pale_means(data, standard, temperature):
    soft = StepE(schedules.linear(2, 3, 0.4), soft=temperature)
    widget = ScheduleExplorer(data, {"standard": standard}, "mlp", soft)
    assert widget.rule == soft
    title = widget.drawing.figure.axes[1].get_title
    assert "paler" in title()
    widget.soft.value = False
    assert "white: kept" in title()


def test_the_same_picture_as_the_static_figure(widget, data, standard):
    figure = plots.explorer(standard.losses, data.is_mislabeled, widget.rule)
    mine = widget.drawing.figure
    for static, live in zip(figure.axes, mine.axes):
        assert static.get_ylabel() == live.get_ylabel() and static.get_ylim() == live.get_ylim()
        for one, other in zip(static.get_lines(), live.get_lines()):
            assert one.get_xydata() == pytest.approx(other.get_xydata(), nan_ok=True)


@pytest.mark.parametrize(
    "rule",
    [
        StepE(schedules.linear(2, 3, 0.405)),
        StepE(schedules.linear(EPOCHS + 1, 3, 0.4)),
        StepE(schedules.exponential(2, 3, 0.4, sharpness=9)),
        StepE(schedules.constant(0.4, 2)),
        StepE(schedules.linear(2, 3, 0.4), momentum=0.5),
        StepE(schedules.linear(2, 3, 0.4), per_class=True),
        StepE(lambda epoch: 0.4),
        Everything(),
        None,
    ],
    ids=lambda rule: str(rule).partition(" at 0x")[0],
)
def test_a_rule_that_the_controls_cannot_show_is_refused(data, standard, rule):
    with pytest.raises(ValueError, match=r"rule is .*, but"):
        ScheduleExplorer(data, {"standard": standard}, "mlp", rule)


def test_a_run_with_another_loss_is_refused(data):
    other = fit(data, "mlp", Everything(), epochs=1, loss=losses.GeneralizedCrossEntropy(), progress=False)
    with pytest.raises(ValueError, match="the loss of this history is 'GeneralizedCrossEntropy"):
        ScheduleExplorer(data, {"standard": other}, "mlp", START)


# --- the questions


@pytest.mark.parametrize(
    ("typed", "reply"),
    [
        ("58.6", "✓ It is 58.6."),
        (" 58 % ", "✓ It is 58.6."),
        ("58,2", "✓ It is 58.6."),
        ("59.7", "✗ Not yet."),
        ("nan", "✗ Not yet."),
        ("0.586", "✗ Not yet. A share? Here it is in %."),
        ("about half", "✗ That is no number."),
        ("", ""),
    ],
)
def test_a_question_says_whether_the_number_is_right(typed, reply):
    question = Question("precision (%)", 58.56, within=1)
    question.field.value = "1"
    question.field.value = typed
    assert question.reply.value == reply
    assert question.field.description == "precision (%)"


# --- the button


def test_the_button_trains_and_adds_a_row_beside_the_others(widget, data):
    widget.warmup.value = 4
    words = widget.train.description
    widget.train.click()
    rule = StepE(schedules.linear(4, 3, 0.4))
    same = fit(data, "mlp", rule, epochs=EPOCHS, seed=3, lr=0.02, progress=False).log.iloc[-1]
    assert list(widget.board.method) == ["standard", "try 1"]
    row = board(widget).loc["try 1"]
    assert row["settings"] == "linear, warm-up 4, ramp 3, final 40%, hard"
    assert row["test accuracy, last epoch (%)"] == 100 * same.test_accuracy and row["recall (%)"] == 100 * same.recall
    assert f"<td>{100 * same.test_accuracy:.1f}</td>" in widget.leaderboard.value
    assert widget.leaderboard.value.startswith("<b>try 1</b>: linear, warm-up 4")
    assert not widget.train.disabled and widget.train.description == words
    widget.train.click()
    assert list(widget.board.method) == ["standard", "try 1", "try 2"]


def test_the_leaderboard_is_sorted_by_accuracy(widget):
    widget.train.click()
    shown = widget.leaderboard.value.partition("<table")[2]
    best = widget.board.sort_values("test accuracy, last epoch (%)", ascending=False).method.tolist()
    assert sorted(best, key=shown.index) == best


def test_the_button_is_locked_while_it_trains_and_comes_back_after_an_error(widget, monkeypatch, caplog):
    def failing(*_, **__):
        assert widget.train.disabled and widget.train.description == "training …"
        raise RuntimeError("out of luck")

    monkeypatch.setattr(explorer, "fit", failing)
    widget.train.click()
    assert "out of luck" in caplog.text  # with a kernel, the Output below the leaderboard shows it
    assert not widget.train.disabled and widget.train.description == "Train with these settings"
    assert list(widget.board.method) == ["standard"]


# --- predictions


def said(capsys, prediction, value):
    prediction.compare(value)
    return capsys.readouterr().out.strip()


def test_a_guess_stands_beside_the_result(capsys):
    prediction = Prediction("How many of 100?", unit="%")
    assert said(capsys, prediction, 77.44) == "Measured: 77.4 %. You wrote no guess down."
    for typed in ("90", " 90 % ", "90,0"):
        prediction.field.value = typed
        assert said(capsys, prediction, 77.44) == "Your guess: 90 %. Measured: 77.4 %. Off by 12.6."
    prediction.field.value = "many"
    assert said(capsys, prediction, 77.44) == "Measured: 77.4 %. 'many' is no number."


def test_a_guess_survives_that_its_cell_is_run_again():
    Prediction("Again?").field.value = "7"
    assert Prediction("Again?").guess == 7 and Prediction("Another?").guess is None


def test_a_page_keeps_the_question_and_a_field_for_the_guess():
    output = nbformat.v4.new_output("display_data", Prediction("a < b?", unit="points")._repr_mimebundle_())
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("guess", outputs=[output])])
    (cell,) = pages.without_widgets(notebook).cells
    assert "a &lt; b?" in cell.outputs[0].data["text/html"] and "<input" in cell.outputs[0].data["text/html"]
    assert not any("widget" in name for name in cell.outputs[0].data)
