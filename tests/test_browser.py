"""The notebooks in a real JupyterLab and a real browser, as a learner sees them."""

import pytest

from stepe_lite import course
from stepe_lite.review import Review

PATHS = sorted(course.folder().glob("[0-9]*.ipynb"))
every_notebook = pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
SHORT = {"epochs": 25, "seeds": [0, 1]}  # the whole notebooks are run by papermill; here it is the page that counts


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
        notebook.page.wait_for_timeout(3000)  # a box that stays empty is replaced by an error after a moment
        assert notebook.errors() == []
        assert notebook.broken_boxes() == []
        assert notebook.pictures() >= 2


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


def test_in_08_one_is_relabelled_taken_back_relabelled_by_keyboard_and_exported(lab):
    with lab.open(course.find("08"), out="reviewed", **SHORT) as notebook:
        notebook.run_all()
        page = notebook.page
        relabel, undo, export = (page.locator(".jupyter-button", has_text=t) for t in ("Relabel", "Undo", "Export"))
        relabel.click()
        page.get_by_text("1 of 40 reviewed").wait_for()
        undo.click()
        page.get_by_text("0 of 40 reviewed").wait_for()
        page.locator(".widget-dropdown select").select_option("7")
        relabel.focus()
        page.keyboard.press("Space")
        page.get_by_text("1 of 40 reviewed").wait_for()
        page.keyboard.press("Space")  # the focus is still there
        page.get_by_text("2 of 40 reviewed").wait_for()
        export.click()
        page.get_by_text("2 of 40 reviewed; written to review.csv").wait_for()
        assert notebook.errors() == []
        found = Review.from_csv(lab.files / "reviewed" / "review.csv", tuple("0123456789"))
        first, second = found.table.index[:2]
        assert found.decisions == {first: "7", second: found.table.suggested[second]}
