"""The widget for looking through suspicious samples: what the buttons do, without a browser and in one."""

from types import SimpleNamespace

import nbformat
import pytest
import torch
from PIL import Image

from stepe_lite import Dataset, StepE, fit, noise, plots, schedules
from stepe_lite.review import Review, suspicious
from stepe_lite.widgets.reviewer import Reviewer


@pytest.fixture(scope="module")
def run(digits):
    data = digits.subset(300, seed=0).with_noise(noise.symmetric(0.1), seed=0)
    history = fit(data, "mlp", StepE(schedules.linear(2, 3, 0.2)), epochs=8, progress=False)
    return data, history, suspicious(data, history).head(4)


@pytest.fixture
def reviewer(run, tmp_path, monkeypatch):
    monkeypatch.setattr(Reviewer, "PAUSE", 0)
    data, history, table = run
    return Reviewer(data, history, Review(table, data.classes), tmp_path / "review.csv")


def shown(reviewer):
    return reviewer.sample, reviewer.status.value.split(" reviewed")[0], reviewer.label.value


def test_it_begins_with_the_most_suspicious_sample_and_its_suggestion(reviewer):
    table = reviewer.review.table
    assert shown(reviewer) == (table.index[0], "0 of 4", table.suggested.iloc[0])
    assert f"given <b>{table.given.iloc[0]}</b>" in reviewer.facts.value
    assert bytes(reviewer.picture.value).startswith(b"\x89PNG")
    assert reviewer.undo.disabled and not reviewer.keep.disabled


def test_each_button_decides_and_shows_the_next_sample(reviewer):
    review = reviewer.review
    first, second, third, fourth = review.table.index
    before = reviewer.picture.value
    reviewer.keep.click()
    assert review.decisions == {first: review.table.given[first]}
    assert reviewer.sample == second and reviewer.picture.value != before
    reviewer.relabel.click()
    assert review.decisions[second] == review.table.suggested[second]
    reviewer.label.value = "7"
    reviewer.relabel.click()
    assert review.decisions[third] == "7"
    assert shown(reviewer) == (fourth, "3 of 4", review.table.suggested[fourth])
    reviewer.drop.click()
    assert review.decisions[fourth] is None


def test_undo_brings_the_sample_back(reviewer):
    first, second = reviewer.review.table.index[:2]
    reviewer.keep.click()
    reviewer.drop.click()
    reviewer.undo.click()
    assert shown(reviewer)[:2] == (second, "1 of 4")
    reviewer.undo.click()
    assert shown(reviewer)[:2] == (first, "0 of 4")
    assert reviewer.undo.disabled and reviewer.review.log == []
    reviewer.undo.click()  # a second press, before the page knows that the button is off
    assert shown(reviewer)[:2] == (first, "0 of 4")


def test_it_ends_cleanly_and_can_be_reopened_by_undo(reviewer):
    for button in (reviewer.keep, reviewer.relabel, reviewer.relabel, reviewer.drop):
        button.click()
    assert reviewer.sample is None and reviewer.status.value == "4 of 4 reviewed"
    assert "1 × keep, 2 × relabel, 1 × drop" in reviewer.facts.value
    assert all(control.disabled for control in (reviewer.keep, reviewer.relabel, reviewer.drop, reviewer.label))
    assert reviewer.picture.layout.visibility == "hidden"
    reviewer.undo.click()
    assert reviewer.sample == reviewer.review.table.index[3]
    assert reviewer.picture.layout.visibility == "visible" and not reviewer.keep.disabled


def test_export_writes_the_decisions_and_a_new_reviewer_takes_them_up(reviewer, run):
    data, history, table = run
    reviewer.keep.click()
    reviewer.label.value = "3"
    reviewer.export.click()
    assert reviewer.status.value == "1 of 4 reviewed; written to review.csv"
    assert reviewer.label.value == "3"
    again = Reviewer(data, history, Review.from_csv(reviewer.path, data.classes), reviewer.path)
    assert shown(again) == (table.index[1], "1 of 4", table.suggested.iloc[1])


def test_an_error_of_a_button_reaches_the_output_and_changes_nothing(reviewer, monkeypatch):
    told = []
    shell = SimpleNamespace(showtraceback=lambda error, tb_offset: told.append(error[1]))
    monkeypatch.setattr("ipywidgets.widgets.widget_output.get_ipython", lambda: shell)
    reviewer.path = reviewer.path / "no folder" / "review.csv"
    reviewer.export.click()
    assert isinstance(told[0], OSError) and "no folder" in str(told[0])
    assert reviewer.status.value == "0 of 4 reviewed"


def test_a_table_without_rows_has_nothing_to_review(run, tmp_path):
    data, history, table = run
    reviewer = Reviewer(data, history, Review(table.head(0), data.classes), tmp_path / "review.csv")
    assert reviewer.sample is None and reviewer.status.value == "0 of 0 reviewed"


def test_a_double_press_does_not_decide_on_an_image_that_nobody_has_seen(run, tmp_path, monkeypatch):
    data, history, table = run
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr("stepe_lite.widgets.reviewer.time.monotonic", lambda: clock.now)
    reviewer = Reviewer(data, history, Review(table, data.classes), tmp_path / "review.csv")
    for wait, decided in ((1, 1), (0.1, 1), (0.2, 1), (0.2, 2), (0.05, 2), (9, 3)):
        clock.now += wait
        reviewer.drop.click()
        assert len(reviewer.review.log) == decided, wait
    reviewer.undo.click()
    reviewer.export.click()
    assert len(reviewer.review.log) == 3 and reviewer.path.exists()


@pytest.mark.parametrize(("typed", "meant"), [("7", "7"), (" 7 ", "7"), ("7.0", "7")])
def test_the_class_is_typed_and_need_not_be_exact(reviewer, typed, meant):
    reviewer.label.value = typed
    reviewer.relabel.click()
    assert list(reviewer.review.decisions.values()) == [meant]


def test_a_class_that_there_is_not_decides_nothing(reviewer, monkeypatch):
    told = []
    shell = SimpleNamespace(showtraceback=lambda error, tb_offset: told.append(error[1]))
    monkeypatch.setattr("ipywidgets.widgets.widget_output.get_ipython", lambda: shell)
    reviewer.label.value = "seven"
    reviewer.relabel.click()
    assert "the class is 'seven', but must be one of '0', '1'" in str(told[0]) and reviewer.review.log == []


def test_it_takes_losses_of_your_own_loop_or_none(run, tmp_path):
    data, history, table = run
    nothing = table.assign(suggested="", mean_loss=float("nan"))
    with_losses = Reviewer(data, history.losses, Review(table, data.classes), tmp_path / "review.csv")
    without = Reviewer(data, None, Review(nothing, data.classes), tmp_path / "review.csv")
    assert bytes(with_losses.picture.value) != bytes(without.picture.value)
    assert without.facts.value == f"given <b>{table.given.iloc[0]}</b>"
    assert without.label.value == table.given.iloc[0]


def test_the_picture_is_the_file_itself_in_its_own_shape(tmp_path):
    wide = Image.new("RGB", (600, 200), "white")
    wide.paste("black", (0, 0, 300, 200))
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        wide.save(tmp_path / name / "a.png")
    data = Dataset.from_folder(tmp_path, size=8, progress=False)
    figure = plots.suspect(data, torch.ones(3, 2), 0)
    (shown,) = figure.axes[0].get_images()
    assert shown.get_array().shape == (160, 480, 3) and figure.axes[0].get_aspect() == 1
    (tmp_path / "cat" / "a.png").unlink()
    (shown,) = plots.suspect(data, torch.ones(3, 2), 0).axes[0].get_images()
    assert shown.get_array().shape == (8, 8, 3)


def test_names_are_shown_as_they_are(run, tmp_path):
    data, history, table = run
    review = Review(table.assign(file="<b>&.png"), data.classes)
    assert "&lt;b&gt;&amp;.png" in Reviewer(data, history, review, tmp_path / "review.csv").facts.value


# --- in a browser

CODE = """
from pathlib import Path
import torch
from PIL import Image, ImageDraw
from stepe_lite import Dataset
from stepe_lite.review import Review, suspicious
from stepe_lite.widgets.reviewer import Reviewer

for number in range(6):
    name = ("a class with quite a long name", "another one, hardly shorter")[number % 2]
    wide = Image.new("RGB", (900, 300), "white")
    ImageDraw.Draw(wide).ellipse((300, 0, 600, 300), fill=(40 * number, 80, 160))
    path = Path("wide") / name / f"a photograph with a long name, number {number}, of a disc.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    wide.save(path)
data = Dataset.from_folder("wide", size=8, progress=False)
losses = torch.arange(24.0).view(4, 6) + 1
table = suspicious(data, losses, probabilities=torch.tensor([[0.3, 0.7]] * 6))
review = Review(table, data.classes)
reviewer = Reviewer(data, losses, review, "review.csv")
reviewer
"""


@pytest.fixture(scope="module")
def page(lab, tmp_path_factory):
    path = tmp_path_factory.mktemp("notebook") / "reviewer.ipynb"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CODE), nbformat.v4.new_code_cell("1 + 1")])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, path)
    with lab.open(path) as opened:
        opened.run_all()
        assert opened.errors() == []
        yield opened


@pytest.mark.parametrize("width", [1280, 900])
def test_nothing_overlaps_or_is_squeezed(page, width, tmp_path):
    page.page.set_viewport_size({"width": width, "height": 1000})
    page.page.wait_for_timeout(800)
    cell = page.page.locator(".jp-CodeCell").first
    facts = cell.locator(".widget-html-content").bounding_box()
    buttons = [button.bounding_box() for button in cell.locator(".jupyter-button").all()]
    picture = cell.locator(".widget-image")
    box = picture.bounding_box()
    assert facts["y"] >= box["y"] + box["height"] - 1
    assert all(button["y"] >= facts["y"] + facts["height"] for button in buttons)
    boxes = [*buttons, cell.locator(".widget-text").bounding_box()]
    for i, one in enumerate(boxes):
        for other in boxes[i + 1 :]:
            beside = one["x"] + one["width"] <= other["x"] or other["x"] + other["width"] <= one["x"]
            assert beside or one["y"] + one["height"] <= other["y"] or other["y"] + other["height"] <= one["y"]
    room = cell.locator(".jp-Cell-outputArea").bounding_box()
    assert all(each["x"] + each["width"] <= room["x"] + room["width"] for each in [*boxes, box, facts])
    natural = picture.evaluate("image => image.naturalWidth / image.naturalHeight")
    assert box["width"] / box["height"] == pytest.approx(natural, rel=0.02)
    cell.screenshot(path=tmp_path / f"{width}.png")


def test_up_and_down_stay_in_the_list_of_classes(page):
    inner = page.page
    cell, field = inner.locator(".jp-CodeCell").first, inner.locator(".widget-text input")
    field.click()
    for key in ("ArrowDown", "ArrowUp", "ArrowDown"):
        inner.keyboard.press(key)
    assert field.evaluate("field => field === document.activeElement")
    assert "jp-mod-selected" in cell.get_attribute("class") or "jp-mod-active" in cell.get_attribute("class")


def test_a_double_press_decides_once_and_the_focus_stays(page):
    inner = page.page
    keep = inner.locator(".jupyter-button", has_text="Keep")
    keep.dblclick()
    inner.get_by_text("1 of 6 reviewed").wait_for()
    inner.wait_for_timeout(1000)
    assert inner.get_by_text("1 of 6 reviewed").count() == 1
    keep.focus()
    inner.keyboard.press("Space")
    inner.get_by_text("2 of 6 reviewed").wait_for()
    inner.wait_for_timeout(600)
    inner.locator(".widget-text input").fill("Another one, hardly shorter ")
    inner.locator(".jupyter-button", has_text="Relabel").click()
    inner.get_by_text("3 of 6 reviewed").wait_for()
    assert page.errors() == []
