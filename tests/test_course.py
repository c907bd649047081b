"""Running notebooks: claims that keep numbers true, failures that do not stop the rest, and a report of it all."""

import base64
import errno
import io
import json
import math
import os
import queue
import re
import subprocess
import sys
from html.parser import HTMLParser
from urllib.parse import unquote

import nbformat
import numpy as np
import papermill
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from PIL import Image

from stepe_lite import course
from stepe_lite.course import ClaimBroken, claim, kernels, pages, runner
from stepe_lite.utils import only_one


def write(path, *cells, parameters=None):
    """A notebook of code cells at `path`; `parameters` is the source of its parameters cell, the first."""
    first = [] if parameters is None else [new_code_cell(parameters, metadata={"tags": ["parameters"]})]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(new_notebook(cells=[*first, *map(new_code_cell, cells)], metadata=kernel), path)
    return path


def texts(notebook):
    """All that the cells of a notebook printed or showed, as one text."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return "".join(output.get("text") or output.get("data", {}).get("text/plain", "") for output in outputs)


# --- claims ---


@pytest.fixture
def at_home(monkeypatch):
    for name in ("CI", "STEPE_LITE_CLAIMS"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    "value, band, holds",
    [
        (0.25, {"above": 0.1}, True),
        (0.25, {"below": 0.3}, True),
        (0.25, {"above": 0.1, "below": 0.3}, True),
        (0.05, {"above": 0.1, "below": 0.3}, False),
        (0.35, {"above": 0.1, "below": 0.3}, False),
        (0.1, {"above": 0.1}, False),
        (0.1, {"below": 0.1}, False),
        (-1, {"above": 0}, False),
        (math.nan, {"above": 0}, False),
        (math.nan, {"below": 0}, False),
    ],
)
def test_a_claim_holds_inside_its_open_band(at_home, capsys, value, band, holds):
    claim("the gain", value, **band)
    assert capsys.readouterr().out.startswith("✓ the gain" if holds else "✗ the gain")


def test_a_claim_prints_one_line_with_the_value_and_the_band(at_home, capsys):
    claim("the gain", 0.24681, above=0.1, below=0.5)
    assert capsys.readouterr().out == "✓ the gain: 0.2468 (above 0.1 and below 0.5)\n"
    claim("the gain", 0.04, above=0.1)
    assert capsys.readouterr().out == "✗ the gain: 0.04 (expected above 0.1)\n"


def test_a_claim_without_a_band_is_refused(at_home):
    with pytest.raises(ValueError, match="'the gain' has no band"):
        claim("the gain", 1.0)


def test_in_ci_a_broken_claim_raises(at_home, monkeypatch):
    monkeypatch.setenv("CI", "true")
    claim("the gain", 0.2, above=0.1)
    with pytest.raises(ClaimBroken, match=r"the gain: 0\.04"):
        claim("the gain", 0.04, above=0.1)


def test_in_ci_a_broken_claim_goes_on_where_the_runner_collects_it(at_home, monkeypatch, capsys):
    monkeypatch.setenv("CI", "true")
    monkeypatch.setenv("STEPE_LITE_CLAIMS", "collect")
    claim("the gain", 0.04, above=0.1)
    assert "✗" in capsys.readouterr().out


@pytest.mark.parametrize("ci", ["true", None])
def test_plain_papermill_fails_on_a_broken_claim_in_ci_only(at_home, monkeypatch, tmp_path, ci):
    path = write(tmp_path / "broken.ipynb", "from stepe_lite.course import claim\nclaim('the gain', 0.04, above=0.1)")
    if ci is None:
        done = papermill.execute_notebook(path, tmp_path / "out.ipynb", progress_bar=False)
        assert texts(done) == "✗ the gain: 0.04 (expected above 0.1)"
    else:
        monkeypatch.setenv("CI", ci)
        with pytest.raises(papermill.PapermillExecutionError, match="ClaimBroken"):
            papermill.execute_notebook(path, tmp_path / "out.ipynb", progress_bar=False)


# --- one run of a course in which much goes wrong ---

FAILING = ["02_fails", "03_broken", "04_interact", "05_button"]

CLAIMS = """\
claim("unknown", float("nan"), above=0)
claim("too low", 0.04, above=0.1)
claim("fine", 0.5, above=0.1, below=0.9)
"""

# Tensors and NumPy numbers are what a notebook measures, and what it compares with.
FINE = """\
import numpy as np, torch
from stepe_lite.course import claim
claim("seeds", seeds, above=1)
claim("from numpy", np.float32(0.5), above=np.float64(0.1), below=np.float32(0.9))
claim("from torch", torch.tensor(0.5), above=torch.tensor(0.25))
print(seeds, "seeds")
"""


@pytest.fixture(scope="module")
def course_run(tmp_path_factory):
    """A course run in CI, from another directory, with a parameter: (the report, the folder of the results)."""
    notebooks, elsewhere = tmp_path_factory.mktemp("notebooks"), tmp_path_factory.mktemp("elsewhere")
    paths = [
        write(notebooks / "01_fine.ipynb", FINE, parameters="seeds = 2  # how many"),
        write(notebooks / "02_fails.ipynb", "x = 1", "x / 0", "print('never')", parameters="seeds = 2"),
        write(notebooks / "03_broken.ipynb", "from stepe_lite.course import claim", CLAIMS),
        write(
            notebooks / "04_interact.ipynb",
            "from ipywidgets import interact",
            "@interact(x=(0, 3))\ndef draw(x=1):\n    raise ValueError('inside <interact>')",
        ),
        write(
            notebooks / "05_button.ipynb",
            "from ipywidgets import Button\nbutton = Button()",
            "@button.on_click\ndef train(_):\n    raise ValueError('inside on_click')",
            "button.click()",
        ),
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CI", "true")
        patch.delenv("STEPE_LITE_CLAIMS", raising=False)
        patch.chdir(elsewhere)
        report = course.run(paths, {"seeds": 3}, "results", html=True, progress=False)
        assert "STEPE_LITE_CLAIMS" not in os.environ
    return report, elsewhere / "results"


def entry(course_run, name):
    report, _ = course_run
    return next(each for each in report["notebooks"] if each["name"] == name)


def test_every_notebook_runs_whatever_happens_to_the_others(course_run):
    report, out = course_run
    assert [each["name"] for each in report["notebooks"]] == ["01_fine", *FAILING]
    assert [each["ok"] for each in report["notebooks"]] == [True] + [False] * 4
    assert {path.name for path in out.iterdir()} == {".lock", "report.json", "index.html", "glossary.html"} | {
        f"{name}{suffix}" for name in ["01_fine", *FAILING] for suffix in (".ipynb", ".html")
    }


def test_the_report_has_the_shape_of_the_design(course_run):
    report, out = course_run
    assert list(report) == ["notebooks"]
    for each in report["notebooks"]:
        assert list(each) == ["name", "seconds", "ok", "error", "claims", "told"]
        assert each["seconds"] > 0 and (each["error"] is None) == each["ok"]
        for record in each["claims"]:
            assert set(record) == {"text", "value", "above", "below", "holds"}
    assert json.loads((out / "report.json").read_text(encoding="utf-8")) == report


def test_the_report_is_json_that_every_reader_takes(course_run):
    def refuse(constant):
        pytest.fail(f"{constant} is not JSON")

    json.loads((course_run[1] / "report.json").read_text(encoding="utf-8"), parse_constant=refuse)


def test_the_claims_are_reported_with_their_values(course_run):
    assert entry(course_run, "01_fine")["claims"] == [
        {"text": "seeds", "value": 3.0, "above": 1, "below": None, "holds": True},
        {"text": "from numpy", "value": 0.5, "above": 0.1, "below": pytest.approx(0.9), "holds": True},
        {"text": "from torch", "value": 0.5, "above": 0.25, "below": None, "holds": True},
    ]


def test_a_broken_claim_is_an_error_and_the_later_claims_are_still_reported(course_run):
    broken = entry(course_run, "03_broken")
    assert re.fullmatch(
        r"cell 2: claim broken: ✗ unknown: nan .*; cell 2: claim broken: ✗ too low: 0.04 .*", broken["error"]
    )
    assert [(each["text"], each["holds"]) for each in broken["claims"]] == [
        ("unknown", False),
        ("too low", False),
        ("fine", True),
    ]
    assert [each["value"] for each in broken["claims"]] == [None, 0.04, 0.5]  # JSON has no NaN


def test_a_failing_cell_is_named_by_its_place_in_the_notebook_that_was_given(course_run):
    # papermill adds a cell with the parameter, which is executed but not counted
    assert entry(course_run, "02_fails")["error"] == "cell 3 (In [4]): ZeroDivisionError: division by zero"


@pytest.mark.parametrize("name, message", [("04_interact", "inside <interact>"), ("05_button", "inside on_click")])
def test_an_error_in_a_widget_callback_is_a_failure(course_run, name, message):
    assert f"ValueError: {message}" in entry(course_run, name)["error"]


def test_a_parameter_reaches_the_notebooks_that_have_it(course_run):
    _, out = course_run
    assert "3 seeds" in texts(nbformat.read(out / "01_fine.ipynb", as_version=4))
    assert "seeds" not in (out / "03_broken.ipynb").read_text(encoding="utf-8")


def test_html_gives_a_page_each_and_an_index(course_run):
    _, out = course_run
    assert "3 seeds" in (out / "01_fine.html").read_text(encoding="utf-8")
    index = (out / "index.html").read_text(encoding="utf-8")
    assert all(f'href="{name}.html"' in index for name in ["01_fine", *FAILING])
    assert "1 of 3" in index and "inside &lt;interact&gt;" in index


def test_nobody_waits_for_ever_for_a_message_whose_signal_was_missed(tmp_path, monkeypatch):
    """Seen once in thousands of cells: the reply lies in the socket, and only who looks again finds it."""
    from jupyter_client.channels import AsyncZMQSocketChannel

    as_it_is, limits = AsyncZMQSocketChannel.get_msg, []

    async def asleep(channel, timeout=None):
        limits.append(timeout)
        assert timeout is not None, "waits without a limit"
        if timeout == 5 and len(limits) % 2:  # every other time the message is not noticed before the limit
            raise queue.Empty
        return await as_it_is(channel, timeout)

    monkeypatch.setattr(AsyncZMQSocketChannel, "get_msg", asleep)
    path = write(tmp_path / "01_one.ipynb", "print(1)", "print(2)")
    report = course.run([path], out=tmp_path / "out", progress=False)
    assert report["notebooks"][0]["ok"], report
    assert limits.count(5) > 4


def test_a_kernel_that_dies_does_not_stop_the_others(tmp_path):
    dies = write(tmp_path / "01_dies.ipynb", "import os\nos._exit(1)")
    after = write(tmp_path / "02_after.ipynb", "print('still here')")
    report = course.run([dies, after], out=tmp_path / "out", progress=False)
    assert [each["ok"] for each in report["notebooks"]] == [False, True]
    assert "died" in report["notebooks"][0]["error"].lower()


# --- paths and disks ---


@pytest.mark.parametrize(
    "folder, name, out",
    [("here", "01_one", "{epochs}"), ("{epochs}", "01_{epochs}", "out"), ("{}", "{0}", "{nobody} {{{}")],
    ids=str,
)
def test_braces_in_paths_are_just_braces(tmp_path, monkeypatch, folder, name, out):
    (tmp_path / folder).mkdir()
    monkeypatch.chdir(tmp_path / folder)  # whose files a parameter may name
    path = write(tmp_path / folder / f"{name}.ipynb", "import os\nprint(epochs, os.getcwd())", parameters="epochs = 60")
    report = course.run([path], {"epochs": 3}, tmp_path / out, html=True, progress=False)
    assert report["notebooks"][0]["ok"], report
    assert sorted(os.listdir(tmp_path)) == sorted([folder, out])
    assert sorted(os.listdir(tmp_path / out)) == sorted(
        [".lock", f"{name}.ipynb", f"{name}.html", "glossary.html", "index.html", "report.json"]
    )
    assert texts(nbformat.read(tmp_path / out / f"{name}.ipynb", as_version=4)) == f"3 {tmp_path / folder}\n"


def test_a_user_that_nobody_knows_gets_a_sentence(must_not_run):
    path, trace = must_not_run
    with pytest.raises(ValueError, match=r"^out is '~nosuchuser/x', but must be a path: "):
        course.run([path], out="~nosuchuser/x", progress=False)
    assert not trace.exists()


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 100 kB."""
    place = tmp_path / "disk"
    place.mkdir()
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=100k", "none", place], capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


PRINTS = "print('x' * length)"


def test_a_full_disk_keeps_the_old_copy_and_says_so(small_disk, tmp_path):
    path = write(tmp_path / "01_prints.ipynb", PRINTS, parameters="length = 10")
    after = write(tmp_path / "02_after.ipynb", f"open({str(tmp_path / 'it ran')!r}, 'w')")
    assert course.run([path], out=small_disk, progress=False)["notebooks"][0]["ok"]
    before = (small_disk / path.name).read_bytes()
    with pytest.raises(OSError, match=r"the disk is full .* is kept: ") as raised:
        course.run([path, after], {"length": 200_000}, small_disk, progress=False)
    assert raised.value.errno == errno.ENOSPC
    assert (small_disk / path.name).read_bytes() == before
    assert sorted(os.listdir(small_disk)) == [
        ".lock",
        path.name,
    ]  # nothing half-written, and no report that is no longer true
    assert not (tmp_path / "it ran").exists()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT], ids=errno.errorcode.get)
def test_a_copy_that_cannot_be_written_keeps_the_old_one(tmp_path, monkeypatch, number):
    path, out = write(tmp_path / "01_prints.ipynb", PRINTS, parameters="length = 10"), tmp_path / "out"
    course.run([path], out=out, progress=False)
    before = (out / path.name).read_bytes()

    def full(handler, text, place):
        with open(place, "w", encoding="utf-8") as file:
            file.write(text[:1000])
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(papermill.iorw.LocalHandler, "write", full)
    with pytest.raises(OSError, match=re.escape(os.strerror(number))):
        course.run([path], out=out, progress=False)
    assert (out / path.name).read_bytes() == before and sorted(os.listdir(out)) == [".lock", path.name]


@pytest.mark.skipif(os.name == "nt", reason="no such file name there")
def test_pages_show_the_name_of_a_notebook_as_text(tmp_path):
    name = """<img src=x onerror="alert('1')">&amp;"""
    path = write(tmp_path / f"{name}.ipynb", "raise ValueError('<b>bold</b>')")
    course.run([path], out=tmp_path / "out", html=True, progress=False)
    tags, links, words = [], [], []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attributes: (tags.append(tag), links.extend(attributes))
    parser.handle_data = words.append
    parser.feed((tmp_path / "out" / "index.html").read_text(encoding="utf-8"))
    assert "img" not in tags and "b" not in tags
    assert name in "".join(words) and "<b>bold</b>" in "".join(words)
    (link,) = [value for attribute, value in links if attribute == "href" and value != "glossary.html"]
    assert (tmp_path / "out" / unquote(link)).is_file() and "/" not in link
    page = (tmp_path / "out" / f"{name}.html").read_text(encoding="utf-8")
    assert "<img src=x" not in page


# --- saving outputs ---


def test_save_puts_the_outputs_into_the_notebook_and_leaves_its_sources(tmp_path):
    path = write(tmp_path / "01_hello.ipynb", "print('hello')", "2 + 2", parameters="seeds = 2  # how many")
    before = nbformat.read(path, as_version=4)
    before.cells.insert(0, new_markdown_cell("# Hello", id="title"))
    nbformat.write(before, path)
    assert course.run([path], out=tmp_path / "out", save=True, progress=False)["notebooks"][0]["ok"]
    after = nbformat.read(path, as_version=4)
    nbformat.validate(after)
    assert texts(before) == "" and texts(after) == "hello\n4"
    assert [(cell.id, cell.cell_type, cell.source) for cell in after.cells] == [
        (cell.id, cell.cell_type, cell.source) for cell in before.cells
    ]
    assert [cell.metadata for cell in after.cells] == [cell.metadata for cell in before.cells]
    assert after.metadata.stepe_lite.outputs_belong_to == course.digest(after) == course.digest(before)
    assert "papermill" not in path.read_text(encoding="utf-8") and str(tmp_path) not in path.read_text(encoding="utf-8")
    assert sorted(os.listdir(tmp_path)) == ["01_hello.ipynb", "out"]


def test_saving_twice_gives_the_same_file(tmp_path):
    path = write(tmp_path / "01_hello.ipynb", "print('hello')")
    course.run([path], out=tmp_path / "out", save=True, progress=False)
    first = path.read_bytes()
    course.run([path], out=tmp_path / "out", save=True, progress=False)
    assert path.read_bytes() == first


def test_save_leaves_a_notebook_that_fails_as_it_was(tmp_path):
    path = write(tmp_path / "01_fails.ipynb", "print('hello')", "1 / 0")
    before = path.read_bytes()
    course.run([path], out=tmp_path / "out", save=True, progress=False)
    assert path.read_bytes() == before


def test_the_digest_changes_with_the_sources_and_with_nothing_else(tmp_path):
    notebook = nbformat.read(write(tmp_path / "one.ipynb", "x = 1"), as_version=4)
    digest = course.digest(notebook)
    notebook.cells[0].outputs = [nbformat.v4.new_output("stream", text="hello")]
    notebook.metadata["kernelspec"]["display_name"] = "Another Python"
    assert course.digest(notebook) == digest
    notebook.cells[0].source = "x = 2"
    assert course.digest(notebook) != digest


# --- what is refused before anything runs ---


@pytest.fixture
def must_not_run(tmp_path):
    """A notebook that leaves a file behind when it runs, and that file."""
    trace = tmp_path / "it ran"
    return write(tmp_path / "01_runs.ipynb", f"open({str(trace)!r}, 'w')", parameters="epochs = 60\nseeds = 5"), trace


def test_an_unknown_parameter_is_refused_with_the_closest_match(must_not_run, tmp_path):
    path, trace = must_not_run
    with pytest.raises(ValueError, match=r"parameter is 'epoch'.* Did you mean 'epochs'\?"):
        course.run([path], {"epoch": 3}, tmp_path / "out", progress=False)
    assert not trace.exists()


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("seeds", 3, "parameter seeds is 3, but must be a list with something in it, as in 01_kinds: [0, 1]."),
        ("seeds", [], "parameter seeds is [], but must be a list"), ("seeds", [0, "x"], "of which one is 'x'"),
        ("epochs", "many", "parameter epochs is 'many', but must be a whole number, as in 01_kinds: 60."),
        ("epochs", 2.5, "epochs is 2.5"), ("epochs", True, "epochs is True"), ("epochs", None, "epochs is None"),
        ("rate", "0,4", "rate is '0,4', but must be a number"), ("dataset", 5, "dataset is 5, but must be text"),
        ("augment", 1, "augment is 1, but must be True, False or text"),
    ],
)  # fmt: skip
def test_a_parameter_of_another_kind_is_refused(tmp_path, name, value, said):
    kinds = "seeds = [0, 1]\nepochs = 60\nrate = 0.4\ndataset = 'digits'\naugment = False\nroot = None"
    path = write(tmp_path / "01_kinds.ipynb", f"open({str(tmp_path / 'it ran')!r}, 'w')", parameters=kinds)
    with pytest.raises(ValueError) as refusal:
        course.run([path], {name: value}, tmp_path / "out", progress=False)
    assert said in str(refusal.value) and not (tmp_path / "it ran").exists()


def test_parameters_of_the_right_kind_are_taken(tmp_path):
    kinds = "seeds = [0, 1]\nrate = 0.4\naugment = False\nroot = None"
    path = write(tmp_path / "01_kinds.ipynb", "print(seeds, rate, augment, root)", parameters=kinds)
    chosen = {"seeds": (3, 4), "rate": 1, "augment": "flip", "root": "/data"}
    report = course.run([path], chosen, tmp_path / "out", progress=False)
    assert report["notebooks"][0]["ok"]
    assert "4] 1 flip /data" in texts(nbformat.read(tmp_path / "out" / path.name, 4)).replace(")", "]")


def test_one_folder_is_for_one_run_at_a_time(must_not_run, tmp_path):
    path, trace = must_not_run
    with only_one("it", course_lock(tmp_path / "out")), pytest.raises(OSError, match="another process is writing"):
        course.run([path], out=tmp_path / "out", progress=False)
    assert not trace.exists()


def course_lock(out):
    out.mkdir()
    return out / ".lock"


def test_two_runs_at_once_into_one_folder_do_not_mix(tmp_path):
    """One of them may be refused; the report is of the copies that lie there."""
    for name, text in (("01_one", "one"), ("02_two", "two")):
        write(tmp_path / f"{name}.ipynb", f"import time\ntime.sleep(1)\nprint('{text}')")
    command = [sys.executable, "-m", "stepe_lite", "run", "--out", "out"]
    both = [
        subprocess.Popen([*command, f"{name}.ipynb"], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
        for name in ("01_one", "02_two")
    ]
    said = [running.communicate(timeout=300)[1] for running in both]
    statuses = [running.returncode for running in both]
    assert 0 in statuses and set(statuses) <= {0, 1}
    assert all("another process is writing" in text for text, status in zip(said, statuses) if status)
    (entry,) = json.loads((tmp_path / "out" / "report.json").read_text())["notebooks"]
    assert entry["ok"] and (tmp_path / "out" / f"{entry['name']}.ipynb").exists()


STALE = {
    "gone": {"argv": ["/nowhere/python", "-m", "ipykernel_launcher", "-f", "{connection_file}"]},
    "no package": {"argv": ["false", "-m", "ipykernel_launcher", "-f", "{connection_file}"]},
    "cut": None,
}


@pytest.mark.parametrize("kind", STALE)
def test_a_stale_kernel_is_told_of_and_does_not_matter_to_run(tmp_path, monkeypatch, kind):
    spec = tmp_path / "jupyter" / "kernels" / "python3" / "kernel.json"
    spec.parent.mkdir(parents=True)
    spec.write_text('{"argv": [' if kind == "cut" else json.dumps(STALE[kind] | {"display_name": "x", "language": "p"}))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    said = kernels.fault()
    assert said.startswith("JupyterLab's kernel python3 (") and "Mend with: jupyter kernelspec remove python3" in said
    assert (
        "\n" not in said and {"gone": "/nowhere/python", "no package": "false", "cut": "cannot be read"}[kind] in said
    )
    path = write(tmp_path / "01_runs.ipynb", "import sys\nprint(sys.executable)")
    report = course.run([path], out=tmp_path / "out", progress=False)
    assert report["notebooks"][0]["ok"], report
    assert texts(nbformat.read(tmp_path / "out" / path.name, 4)).strip() == sys.executable


def test_the_kernel_of_this_python_is_fine():
    assert kernels.fault() is None


def test_two_notebooks_of_one_name_are_refused(must_not_run, tmp_path):
    path, trace = must_not_run
    with pytest.raises(ValueError, match=r"01_runs.ipynb.* more than once"):
        course.run([path, path], out=tmp_path / "out", progress=False)
    assert not trace.exists()


def test_save_with_parameters_is_refused(must_not_run, tmp_path):
    path, trace = must_not_run
    with pytest.raises(ValueError, match="save is set together with parameters"):
        course.run([path], {"epochs": 3}, tmp_path / "out", save=True, progress=False)
    assert not trace.exists()


def test_an_unwritable_out_is_refused(must_not_run, tmp_path):
    path, trace = must_not_run
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"out is .*but must be a folder that can be written to"):
        course.run([path], out=tmp_path / "file" / "out", progress=False)
    assert not trace.exists()


def test_a_file_that_is_no_notebook_is_refused(must_not_run, tmp_path):
    path, trace = must_not_run
    (tmp_path / "text.ipynb").write_text("not a notebook")
    with pytest.raises(ValueError, match=r"text\.ipynb"):
        course.run([path, tmp_path / "text.ipynb"], out=tmp_path / "out", progress=False)
    assert not trace.exists()


# --- names and values ---


@pytest.mark.parametrize("name", ["1", "01", "01_one", "01_one.ipynb"])
def test_a_notebook_is_found_by_number_and_by_name(monkeypatch, tmp_path, name):
    monkeypatch.setattr(runner, "folder", lambda: tmp_path)
    path = write(tmp_path / "01_one.ipynb")
    write(tmp_path / "02_two.ipynb")
    assert course.find(name) == path


def test_a_notebook_outside_the_course_is_found_by_its_path(tmp_path):
    path = write(tmp_path / "mine.ipynb")
    assert course.find(str(path)) == path


def test_an_unknown_notebook_is_refused_with_the_closest_match(monkeypatch, tmp_path):
    monkeypatch.setattr(runner, "folder", lambda: tmp_path)
    write(tmp_path / "01_label_noise.ipynb")
    with pytest.raises(ValueError, match="Did you mean '01_label_noise'"):
        course.find("label_noise")


@pytest.mark.parametrize(
    "text, value",
    [
        ("0.4", 0.4),
        ("3", 3),
        ("[0, 1]", [0, 1]),
        ("True", True),
        ("None", None),
        ("'3'", "3"),
        ("digits", "digits"),
        ("cifar10n-worse", "cifar10n-worse"),
        ("03", "03"),
        ("", ""),
    ],
)
def test_a_value_from_the_command_line_is_a_literal_or_text(text, value):
    assert course.value_of(text) == value and type(course.value_of(text)) is type(value)


# --- without a kernel


def test_saved_notebooks_and_pages_have_words_in_place_of_widgets(tmp_path):
    slider = "import ipywidgets\nprint('hello')\nipywidgets.IntSlider(description='warm-up')"
    path = write(tmp_path / "01_slider.ipynb", slider, "'a picture'")
    course.run([path], out=tmp_path / "out", html=True, save=True, progress=False)
    saved = nbformat.read(path, as_version=4)
    assert texts(saved) == "hello\n(interactive: run the notebook to use it)'a picture'"
    assert "widgets" not in saved.metadata and "widget-view" not in path.read_text(encoding="utf-8")
    html = (tmp_path / "out" / "01_slider.html").read_text(encoding="utf-8")
    assert "(interactive: run the notebook to use it)" in html and "widget-view" not in html
    executed = nbformat.read(tmp_path / "out" / "01_slider.ipynb", as_version=4)
    assert "IntSlider" in texts(executed)  # the executed copy keeps the widget, and with it the errors of its callbacks


def test_solutions_stay_folded_in_pages():
    solution = "<details><summary>Solution</summary>\n\n```python\nanswer = 7\n```\n</details>\n\nAfter it."
    html = pages.page(new_notebook(cells=[new_markdown_cell(solution)]), "one")
    inside = re.search(r"<details><summary>Solution</summary>(.*?)</details>(.*)", html, re.S)
    assert "answer" in inside[1] and "After it." in inside[2]


def test_saved_pictures_are_small_and_look_alike(tmp_path):
    noise = np.random.default_rng(0).normal(0, 1, (40, 60, 3)).cumsum(1)
    picture = np.uint8(255 * (noise - noise.min()) / np.ptp(noise))
    whole = io.BytesIO()
    Image.fromarray(picture).save(whole, "png")
    output = nbformat.v4.new_output("display_data", {"image/png": base64.b64encode(whole.getvalue()).decode()})
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(outputs=[output])])
    small = base64.b64decode(pages.with_small_pictures(notebook).cells[0].outputs[0].data["image/png"])
    assert len(small) < len(whole.getvalue()) and notebook.cells[0].outputs[0] == output
    seen = np.asarray(Image.open(io.BytesIO(small)).convert("RGB")).astype(float)
    assert np.abs(seen - picture).mean() < 8
