"""The notebooks in a real JupyterLab and a real browser, as a learner sees them."""

import itertools
import signal
import subprocess
import sys
import urllib.error
import urllib.request

import browser
import pytest
from playwright.sync_api import expect

from stepe_lite import Everything, course, fit, load, noise
from stepe_lite.analysis import outcome, replay
from stepe_lite.review import Review
from stepe_lite.widgets.explorer import describe, make_rule

PATHS = sorted(course.folder().glob("[0-9]*.ipynb"))
every_notebook = pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
AXES = (("x", "width"), ("y", "height"))
SHORT = {"epochs": 25, "seeds": [0, 1]}  # the whole notebooks are run by papermill; here it is the page that counts


def test_nobody_else_gets_into_the_tests_jupyterlab(lab):
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(f"{lab.address}/api/terminals", timeout=30)


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone ends a process with its parent")
def test_the_tests_jupyterlab_ends_with_the_tests_however_they_end():
    parent = (
        "import subprocess, sys, time, browser\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; print(1, flush=True); time.sleep(60)'],"
        " preexec_fn=browser._die_with_parent)\n"
        "time.sleep(60)"
    )
    here = browser.Path(browser.__file__).parent
    started = subprocess.Popen([sys.executable, "-c", parent], cwd=here, stdout=subprocess.PIPE)
    assert started.stdout.readline() == b"1\n"  # the child is there
    started.send_signal(signal.SIGKILL)
    started.communicate(timeout=30)  # until nobody is left who could write


@every_notebook
def test_all_cells_run_without_an_error_or_a_broken_widget(lab, path):
    with lab.open(path, **SHORT) as notebook:
        notebook.run_all()
        assert notebook.errors() == []
        assert notebook.broken_boxes() == []
        assert notebook.pictures() >= 2


@every_notebook
def test_the_saved_notebook_shows_pictures_and_no_broken_widget(lab, path):
    with lab.open(path) as notebook:
        notebook.show_outputs()
        expect(notebook.page.locator(".jp-OutputArea img").nth(1)).to_be_attached(timeout=60_000)
        notebook.page.wait_for_timeout(3000)  # a box that stays empty is replaced by an error after a moment
        assert notebook.errors() == []
        assert notebook.broken_boxes() == []


def test_in_04_the_saved_result_below_a_prediction_is_folded(lab):
    with lab.open(course.find("04")) as notebook:
        result = notebook.page.locator(".jp-CodeCell", has_text="plots.schedules(")
        expect(result.locator(".jp-Placeholder")).to_be_visible(timeout=60_000)
        expect(result.locator(".jp-OutputArea img")).to_have_count(0)


@pytest.fixture(scope="module")
def explorer(lab):
    """Notebook 4 after a run, and its widget."""
    with lab.open(course.find("04"), **SHORT) as notebook:
        notebook.run_all()
        yield notebook, notebook.page.locator(".jp-CodeCell", has_text="ScheduleExplorer(data")


def test_in_04_every_control_has_a_name_and_moves_the_picture_and_the_numbers_by_keyboard(explorer):
    notebook, cell = explorer
    data = load("digits").with_noise(noise.symmetric(0.4), 0)
    losses = fit(data, "mlp", Everything(), epochs=SHORT["epochs"], seed=0, progress=False).losses
    cell.locator("input[type=checkbox]").check()  # soft weights, so that the temperature counts
    settings = {"shape": "linear", "warmup": 5, "ramp": 15, "final": 0.4, "temperature": 0.5}
    moves = {
        "warm-up (epochs)": {"warmup": 6},
        "ramp (epochs)": {"ramp": 16},
        "final fraction (%)": {"final": 0.41},
        "temperature (nats)": {"temperature": 0.55},
    }
    words = lambda: describe(outcome(replay(make_rule(**settings), losses), data.is_mislabeled))  # noqa: E731
    expect(cell).to_contain_text(words(), timeout=60_000)
    picture = cell.locator(".widget-image")
    for label, change in moves.items():
        before, address = picture.screenshot(), picture.get_attribute("src")
        cell.get_by_label(label, exact=True).press("ArrowUp")
        settings |= change
        expect(cell).to_contain_text(words(), timeout=60_000)
        expect(picture).not_to_have_attribute("src", address)
        assert picture.screenshot() != before, label
    assert notebook.errors() == []


def test_in_04_the_button_trains_and_comes_back_after_an_error(explorer):
    notebook, cell = explorer
    button = cell.get_by_role("button", name="Train with these settings")
    button.focus()
    notebook.page.keyboard.press("Space")
    cell.get_by_role("cell", name="try 1", exact=True).wait_for()
    expect(button).to_be_enabled()
    notebook.execute("explorer.model = 'a network that nobody knows'")
    button.click()
    cell.get_by_text("BadInput: model is 'a network that nobody knows'").first.wait_for()
    expect(button).to_be_enabled()
    expect(button).to_have_text("Train with these settings")
    notebook.execute("explorer.model = model")
    button.click()
    cell.get_by_role("cell", name="try 2", exact=True).wait_for()
    assert notebook.errors() == []  # the old error has gone


def test_in_04_reset_goes_back_to_the_start_and_a_question_says_whether_it_is_right(explorer):
    notebook, cell = explorer
    warmup = cell.get_by_label("warm-up (epochs)", exact=True)
    warmup.press("ArrowUp")
    expect(warmup).not_to_have_value("5")
    cell.get_by_role("button", name="Back to the start values").click()
    expect(warmup).to_have_value("5")
    field = cell.get_by_label("1 · precision at epoch 1 (%)")
    field.fill("150")
    field.press("Enter")
    cell.get_by_text("✗ Not yet.").wait_for()
    assert notebook.errors() == []


def test_in_04_a_folded_result_is_shown_once_its_cell_has_run(explorer):
    notebook, _ = explorer
    expect(notebook.page.locator(".jp-Placeholder")).to_have_count(0)


@pytest.mark.parametrize("width", [1280, 900])
def test_in_04_the_widget_fits_the_page(explorer, width):
    notebook, cell = explorer
    notebook.page.set_viewport_size({"width": width, "height": 1000})
    notebook.page.wait_for_timeout(500)
    room = cell.bounding_box()
    parts = cell.locator(":is(.widget-slider, .widget-image, .jupyter-button, .widget-label, .widget-html):visible")
    assert parts.count() >= 3 + 1 + 2 + 5 + 2
    for box in (part.bounding_box() for part in parts.all()):
        assert box["x"] >= room["x"] and box["x"] + box["width"] <= room["x"] + room["width"]


def test_in_05_a_sample_is_looked_up(lab):
    with lab.open(course.find("05"), **SHORT) as notebook:
        notebook.run_all()
        number, facts = notebook.page.locator(".widget-text input[type=number]"), notebook.page.locator(".widget-html")
        before = notebook.page.locator(".widget-image").get_attribute("src")
        number.fill("42")
        number.press("Enter")
        facts.get_by_role("rowheader", name="42", exact=True).wait_for()
        number.press("ArrowUp")
        facts.get_by_role("rowheader", name="43", exact=True).wait_for()
        assert notebook.page.locator(".widget-image").get_attribute("src") != before
        assert notebook.errors() == []


def assert_readable(cell, page, width):
    """At this width of the page no part of the reviewer in `cell` is cut off, covered by another, or squeezed."""
    page.set_viewport_size({"width": width, "height": 1000})
    page.wait_for_timeout(500)
    room = cell.bounding_box()
    parts = cell.locator(":is(.widget-image, .widget-html, .widget-text, .jupyter-button):visible").all()
    boxes = [part.bounding_box() for part in parts]
    assert len(boxes) == 1 + 1 + 1 + 5
    for box in boxes:
        assert box["x"] >= room["x"] and box["x"] + box["width"] <= room["x"] + room["width"]
    for one, other in itertools.combinations(boxes, 2):
        apart = (one[x] + one[size] <= other[x] or other[x] + other[size] <= one[x] for x, size in AXES)
        assert any(apart), (one, other)
    natural = cell.locator(".widget-image").evaluate("picture => picture.naturalWidth / picture.naturalHeight")
    assert boxes[0]["width"] / boxes[0]["height"] == pytest.approx(natural, rel=0.02)


def test_in_08_one_is_relabelled_taken_back_relabelled_by_keyboard_and_exported(lab):
    with lab.open(course.find("08"), out="reviewed", **SHORT) as notebook:
        notebook.run_all()
        page = notebook.page
        for width in (900, 1280):
            assert_readable(page.locator(".jp-CodeCell", has_text="Reviewer(data"), page, width)
        relabel, undo, export = (page.locator(".jupyter-button", has_text=t) for t in ("Relabel", "Undo", "Export"))
        relabel.click()
        page.get_by_text("1 of 40 reviewed").wait_for()
        page.wait_for_timeout(600)
        undo.click()
        page.get_by_text("0 of 40 reviewed").wait_for()
        page.wait_for_timeout(600)  # a new picture must be seen before it is decided on
        page.get_by_role("combobox", name="as class").fill("7")
        relabel.focus()
        page.keyboard.press("Space")
        page.get_by_text("1 of 40 reviewed").wait_for()
        page.wait_for_timeout(600)
        page.keyboard.press("Space")  # the focus is still there
        page.get_by_text("2 of 40 reviewed").wait_for()
        export.click()
        page.get_by_text("2 of 40 reviewed; written to review.csv").wait_for()
        assert notebook.errors() == []
        found = Review.from_csv(lab.files / "reviewed" / "review.csv", tuple("0123456789"))
        first, second = found.table.index[:2]
        assert found.decisions == {first: "7", second: found.table.suggested[second]}
