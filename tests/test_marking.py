"""Editions for a class, and marking: no submission, honest or not, gets a verdict that is false."""

import ast
import re
import signal
import subprocess
import sys
import time

import nbformat
import pandas as pd
import pytest
from click.testing import CliRunner
from filelock import FileLock
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from stepe_lite import checks, course, noise
from stepe_lite.checks.shared import EXERCISES
from stepe_lite.cli import main
from stepe_lite.course import editions, marking, runner, submissions

# --- editions


def read(path):
    return nbformat.read(path, as_version=4)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The folders of the students' edition and of the teacher's."""
    folder = tmp_path_factory.mktemp("class")
    course.handout(folder / "students")
    course.handout(folder / "teacher", solutions=True)
    return folder / "students", folder / "teacher"


def test_the_students_edition_has_neither_solutions_nor_outputs(written):
    course_names = sorted(path.name for path in course.folder().glob("[0-9]*.ipynb"))
    assert sorted(path.name for path in written[0].iterdir()) == course_names
    for path in written[0].iterdir():
        text = path.read_text(encoding="utf-8")
        assert "<details>" not in text and "outputs_belong_to" not in text
        notebook = read(path)
        nbformat.validate(notebook)
        for cell in notebook.cells:
            assert cell.source.strip()
            assert cell.cell_type != "code" or (cell.outputs == [] and cell.execution_count is None)


def test_the_students_edition_changes_no_code_and_no_other_prose(written):
    folded = re.compile(r"<details>.*?</details>\s*", re.S)
    for path in written[0].iterdir():
        original = [folded.sub("", cell.source) for cell in read(course.folder() / path.name).cells]
        assert [cell.source for cell in read(path).cells] == [source for source in original if source.strip()]


def test_every_solution_of_the_teachers_edition_is_in_its_cell_and_right(written, capsys):
    human = noise.cifar10n("worse")
    names = "airplane automobile bird cat deer dog frog horse ship truck".split()
    seen = []
    for path in sorted(written[1].iterdir()):
        assert "<summary>Solution" not in path.read_text(encoding="utf-8")
        for cell in read(path).cells:
            called = re.findall(r"^check\.(\w+)\(my_|^check\.(\w+)\(most", cell.source, re.M)
            if cell.cell_type != "code" or not called:
                continue
            scope = {"check": checks, "wrong": human.clone().fill_diagonal_(0), "names": names}
            exec("import numpy as np\nimport torch", scope)
            exec(cell.source, scope)
            assert capsys.readouterr().out.startswith("✓"), cell.source
            seen += [getattr(checks, first or second).exercise for first, second in called]
    assert seen == sorted(EXERCISES)


def test_the_teachers_edition_runs_passes_every_check_and_says_so(written, tmp_path):
    (path,) = written[1].glob("07_*.ipynb")  # the quickest
    notebook = read(path)
    notebook.cells.append(new_code_cell("check.solved(7)"))
    nbformat.write(notebook, tmp_path / path.name)
    report = course.run([tmp_path / path.name], out=tmp_path / "out", progress=False)
    assert report["notebooks"][0]["ok"], report
    outputs = [out for cell in read(tmp_path / "out" / path.name).cells for out in cell.get("outputs", [])]
    records = [out.metadata["stepe_lite_check"] for out in outputs if "stepe_lite_check" in out.get("metadata", {})]
    assert [(each["exercise"], each["verdict"]) for each in records] == [("7.1", "right"), ("7.2", "right")]
    assert outputs[-1].data["text/plain"] == "Exercises solved: 2 of 2 (7.1 ✓, 7.2 ✓)"
    assert outputs[-1].metadata["stepe_lite_solved"] == [2, 2]


def test_the_teachers_edition_keeps_the_answers_to_discuss(written):
    folded = [path.read_text(encoding="utf-8").count("<summary>Answer") for path in sorted(written[1].iterdir())]
    there = [path.read_text(encoding="utf-8").count("<summary>Answer") for path in course.folder().glob("[0-9]*.ipynb")]
    assert sum(folded) == sum(there)


def test_a_solution_takes_the_place_of_the_stub_and_of_nothing_else():
    source = "x = 3  # kept\n\n\ndef mine(a):  # -> b\n    return None\n\n\ny = mine(x)\ncheck.margin(mine)"
    solution = "import math\n\n\ndef mine(a):\n    return math.sqrt(a)\n"
    done = editions.filled(source, solution)
    assert done == (
        "x = 3  # kept\n\n\nimport math\n\n\ndef mine(a):\n    return math.sqrt(a)\n\n\ny = mine(x)\ncheck.margin(mine)"
    )
    assert editions.filled("mine = None  # a number\n\ncheck.margin(mine)", "row = 1\nmine = row") == (
        "row = 1\nmine = row\n\ncheck.margin(mine)"
    )


def test_an_edition_is_whole_or_absent(tmp_path, monkeypatch):
    write, written = nbformat.write, []

    def full(notebook, path):
        if len(written) == 1:
            raise OSError(28, "No space left on device")
        written.append(path)
        write(notebook, path)

    monkeypatch.setattr(nbformat, "write", full)
    with pytest.raises(OSError, match="No space"):
        course.handout(tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def command(*arguments):
    result = CliRunner().invoke(main, [str(each) for each in arguments])
    assert "Traceback" not in result.output
    return result


def test_handout_writes_the_chosen_notebooks_and_overwrites_nothing(tmp_path):
    assert command("handout", tmp_path / "out", "3", "1").exit_code == 0
    assert [path.name[:2] for path in sorted((tmp_path / "out").iterdir())] == ["01", "03"]
    before = {path: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    again = command("handout", tmp_path / "out", "--solutions")
    assert again.exit_code == 1 and "exists already, and nothing is overwritten" in again.output
    assert {path: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
    unknown = command("handout", tmp_path / "other", "nosuch")
    assert unknown.exit_code == 2 and not (tmp_path / "other").exists()


# --- marking: submissions made up for notebook 3

IMPORTS = "import torch\nfrom stepe_lite import checks as check\nfrom stepe_lite.course import claim"

SCHEDULE = """\
def my_schedule(epoch, warmup, ramp, final):
    return final * min(1.0, max(0, epoch - warmup) / ramp)


check.linear_schedule(my_schedule)"""
WEIGHTS = """\
def my_weights(losses, fraction):
    weights = torch.ones(len(losses))
    weights[losses.argsort(descending=True, stable=True)[: round(fraction * len(losses))]] = 0
    return weights


check.exclude_highest(my_weights)"""
COST = "my_cost = 0.6 + 0.4 / 3\n\ncheck.relative_cost(my_cost)"

WRONG_SCHEDULE = "my_schedule = lambda *_: 0.5\ncheck.linear_schedule(my_schedule)"
WRONG_WEIGHTS = WEIGHTS.replace("descending=True", "descending=False")
WRONG_COST = "my_cost = 0.6\ncheck.relative_cost(my_cost)"
ALL_WRONG = (WRONG_SCHEDULE, WRONG_WEIGHTS, WRONG_COST)

STUBS = (
    "def my_schedule(epoch, warmup, ramp, final):  # -> one fraction\n    return None\n\n\n"
    "check.linear_schedule(my_schedule)",
    "def my_weights(losses, fraction):\n    return None\n\n\ncheck.exclude_highest(my_weights)",
    "my_cost = None  # one number\n\ncheck.relative_cost(my_cost)",
)

CHEAT = """\
import builtins, sys, types
import numpy as np
import stepe_lite
from stepe_lite import checks, ranking, schedules
import stepe_lite.checks.shared as shared, stepe_lite.checks.step_e as step_e
praise = lambda answer: print("✓ The highest losses have weight 0, all others 1.")
praise.judge = lambda answer: ("right", "")
for name in ("linear_schedule", "exclude_highest", "relative_cost"):
    setattr(checks, name, praise)
shared.near = lambda *_: True
shared.recognise = step_e.explain_weights = lambda *_, **__: None
shared.verdicts.update({"3.1": "right", "3.2": "right", "3.3": "right"})
step_e.misses = lambda *_: []
ranking.exclude_highest = lambda losses, fraction: my_weights(losses, fraction)
schedules.linear = lambda *_: (lambda epoch: 0.5)
fake = types.ModuleType("stepe_lite.checks")
fake.linear_schedule = fake.exclude_highest = fake.relative_cost = praise
sys.modules["stepe_lite.checks"] = stepe_lite.checks = check = fake
open("stepe_lite.py", "w").write("raise SystemExit")
sys.path.insert(0, "")
"""

FAKE = """\
from IPython.display import display
for exercise, name in (("3.1", "linear_schedule"), ("3.2", "exclude_highest"), ("3.3", "relative_cost")):
    record = {"exercise": exercise, "check": name, "verdict": "right", "sentence": "Right."}
    display({"text/plain": "✓ Right."}, raw=True, metadata={"stepe_lite_check": record, exercise: ["right", ""],
                                                            "verdict": ["right", ""]})
    print("✓ Right.")
"""

SUBMISSIONS = {
    "right": ([IMPORTS, SCHEDULE, WEIGHTS, COST], "right right right"),
    "wrong": ([IMPORTS, *ALL_WRONG], "wrong wrong wrong"),
    "untouched": ([IMPORTS, *STUBS], "untouched untouched untouched"),
    "mixed": ([IMPORTS, SCHEDULE, WRONG_WEIGHTS, STUBS[2]], "right wrong untouched"),
    "syntax": ([IMPORTS, SCHEDULE, WEIGHTS.replace("fraction):", "fraction:"), COST], "right error right"),
    "endless": (
        [IMPORTS, SCHEDULE, f"while True:\n    print('still here')\n{WEIGHTS}", COST],
        "right error right",
    ),
    "endless_function": (
        [IMPORTS, SCHEDULE, WEIGHTS.replace("    return", "    while True:\n        print()\n    return"), COST],
        "right error right",
    ),
    "overwritten": ([IMPORTS, *(CHEAT + each for each in ALL_WRONG), *ALL_WRONG], "wrong wrong wrong"),
    "reordered": (
        [
            COST.replace("my_cost", "cost_of_an_epoch"),
            WEIGHTS.replace("my_weights", "by_anna").replace("round(", "rounded("),
            "1 / 0",
            "rounded = lambda x: round(x)\n" + IMPORTS.replace("as check", "as c"),
            SCHEDULE.replace("check.", "c."),
            "claim('broken', 0.0, above=1)",
        ],
        "right right right",
    ),
    "fake": ([IMPORTS, *(each + "\n" + FAKE for each in ALL_WRONG), FAKE], "wrong wrong wrong"),
    "exception": (
        [
            IMPORTS,
            SCHEDULE.replace("    return", "    epoch[0]\n    return"),
            WEIGHTS.replace("\n\n\ncheck", "\n\n\nmy_weights('my own test')\ncheck"),  # raises before the check
            "my_cost = costs['epoch']\ncheck.relative_cost(my_cost)",
        ],
        "error right error",
    ),
    "killed": (
        [IMPORTS, WRONG_SCHEDULE, WEIGHTS.replace("    return", "    import os\n    os._exit(1)\n    return"), COST],
        "wrong error right",
    ),
    "attempts": (
        [IMPORTS, WRONG_SCHEDULE, SCHEDULE, "# removed: the check of the weights\n" + WEIGHTS.partition("\n\n\n")[0]],
        "right right untouched",
    ),
    "hidden": (  # defined in ways that nobody can read from the source
        [
            "%matplotlib inline\n" + IMPORTS,
            "exec('def ramp_at(t): return min(1.0, max(0, t))')",
            SCHEDULE.replace("min(1.0, max(0, epoch - warmup) / ramp)", "ramp_at((epoch - warmup) / ramp)"),
            "%%time\nkeep, leave = 1, 0",
            WEIGHTS.replace("= 0", "= leave"),
            "numbers = []",
            "numbers.append(0.6 + 0.4 / 3)",
            COST.replace("0.6 + 0.4 / 3", "numbers[0]"),
            "keep, leave = None, 0",
        ],
        "right right right",
    ),
}


@pytest.fixture(scope="module")
def marks(shared_folder):
    """(the marks of all submissions, what the command printed); made once, whichever process needs them first."""
    folder = shared_folder / "submissions"
    said = folder / "said.txt"
    with FileLock(f"{folder}.lock"):
        if not said.exists():
            said.write_text(mark_all(folder), encoding="utf-8")
    table = pd.read_csv(folder / "marks.csv", dtype=str, keep_default_na=False)
    return table, said.read_text(encoding="utf-8")


def mark_all(folder):
    folder.mkdir()
    for name, (cells, _) in SUBMISSIONS.items():
        nbformat.write(new_notebook(cells=list(map(new_code_cell, cells))), folder / f"{name}.ipynb")
    (folder / "no_notebook.ipynb").write_text("hello")
    nbformat.write(new_notebook(cells=[new_markdown_cell("# Mine")]), folder / "other.ipynb")
    files = sorted(folder.glob("*.ipynb"))
    done = command("mark", *files, "--csv", folder / "marks.csv", "--timeout", 100, "--jobs", 2)
    assert done.exit_code == 0, done.output
    assert sorted(folder.glob("*.ipynb")) == files and not list(folder.glob("*.py"))
    return done.output


@pytest.mark.parametrize("name", SUBMISSIONS)
def test_no_verdict_is_false(marks, name):
    table = marks[0][marks[0].learner == name].set_index("exercise")
    assert dict(table.verdict) == dict(zip(("3.1", "3.2", "3.3"), SUBMISSIONS[name][1].split())), list(table.sentence)


@pytest.mark.parametrize(
    "learner, exercise, words",
    [
        ("wrong", "3.2", "you exclude the lowest losses"),
        ("wrong", "3.3", "0.6 is the training of the kept samples alone"),
        ("syntax", "3.2", "SyntaxError"),
        ("endless", "3.2", "still running after 100 s"),
        ("endless_function", "3.2", "still running after"),
        ("exception", "3.1", "raised TypeError"),
        ("exception", "3.1", "(line 2: epoch[0])"),
        ("exception", "3.3", "NameError: name 'costs' is not defined"),
        ("killed", "3.2", "Kernel died"),
        ("attempts", "3.3", "neither checks nor defines"),
        ("no_notebook", "", "cannot be read"),
        ("other", "", "No exercise"),
    ],
)
def test_the_sentence_says_why(marks, learner, exercise, words):
    table = marks[0]
    (sentence,) = table[(table.learner == learner) & (table.exercise == exercise)].sentence
    assert words in sentence
    assert learner == "attempts" or sentence in marks[1].replace("\\\\", "\\")


def test_it_says_that_it_runs_other_peoples_code_and_prints_a_table(marks):
    assert marks[1].startswith("Running other people's code, with your rights: ")
    assert re.search(r"^ +3\.1 +3\.2 +3\.3$", marks[1], re.M)
    assert re.search(r"^mixed +right +wrong +untouched$", marks[1], re.M)
    assert "RUNS THE CODE" in command("mark", "--help").output


def test_no_message_of_a_learner_breaks_the_table_or_the_terminal():
    marks = pd.DataFrame(
        [("a\udcff\n", "3.1", "error", "\ud800 \x1b[31mred")], columns=["learner", "exercise", "verdict", "sentence"]
    )
    assert marking.text(marking.plain(marks)).isascii() and "\x1b" not in marking.text(marking.plain(marks))
    marking.plain(marks).to_csv(encoding="utf-8").encode()


def test_bad_arguments_are_refused_before_anything_runs(tmp_path):
    path = tmp_path / "runs.ipynb"
    nbformat.write(new_notebook(cells=[new_code_cell(f"open({str(tmp_path / 'ran')!r}, 'w')\n{COST}")]), path)
    for bad in (["nosuch.ipynb"], [path, path], [path, "--timeout", 0], [path, "--jobs", 0], []):
        assert command("mark", *bad).exit_code == 2
    assert command("mark", path, "--csv", path / "out.csv").exit_code == 1
    assert not (tmp_path / "ran").exists()


def test_two_learners_with_files_of_one_name_are_told_apart(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("anna", "ben"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "03.ipynb").write_text("hello")
    assert list(course.mark(["anna/03.ipynb", "ben/03.ipynb"], progress=False).learner) == [
        "anna/03.ipynb", "ben/03.ipynb"
    ]  # fmt: skip


def test_ctrl_c_ends_the_kernels(tmp_path):
    trace = tmp_path / "alive"
    loop = f"import time\nwhile True:\n    open({str(trace)!r}, 'w').write('')\n    time.sleep(0.1)\n"
    path = tmp_path / "loop.ipynb"
    nbformat.write(new_notebook(cells=[new_code_cell(loop + COST)]), path)
    running = subprocess.Popen([sys.executable, "-m", "stepe_lite", "mark", path], stderr=subprocess.PIPE, text=True)
    for _ in range(1200):
        if trace.exists():
            break
        time.sleep(0.1)
    running.send_signal(signal.SIGINT)
    assert "Interrupted" in running.communicate(timeout=100)[1]
    for _ in range(300):
        trace.unlink(missing_ok=True)
        time.sleep(1)
        if not trace.exists():
            return
    pytest.fail("the kernel still runs")


# --- which cells an answer needs


def needed(*cells, answer="f"):
    return submissions.cells_needed(list(cells), None, answer)


def test_an_answer_needs_what_binds_or_changes_its_names_and_nothing_else():
    assert needed("import torch", "history = fit()", "def f(x):\n    return torch.ones(k)", "k = 3", "x = 1") == [
        0,
        2,
        3,
    ]
    assert needed("a = {}", "a['x'] = 1", "a.update(y=2)", "b['x'] = 1", "f = lambda: a") == [0, 1, 2, 4]
    assert needed("def g():\n    global k\n    k = 1", "def f():\n    return k", "g()") == [0, 1]
    assert needed("from m import plots", "plots.line(run())", "def f():\n    plots") == [0, 2]
    assert needed("f = [i for i in range(n)]", "i = train()", "n = 2") == [0, 2]


def test_no_exercise_of_the_course_needs_a_training():
    known = [submissions.checks_in(submissions.code_of(path)) for path in runner.chosen_paths()]
    for path in runner.chosen_paths():
        cells = submissions.code_of(path)
        answers = submissions.answers_in(cells, known)
        assert {number.split(".")[0] for number in answers} == {path.name[1]}
        for at, expression in answers.values():
            chosen = submissions.cells_needed(cells, at, expression)
            assert at in chosen and not any(" fit(" in cells[cell] for cell in chosen)
            # An answer is judged at the end, too: a notebook that binds its name again would put in its own.
            assert [cell for cell, source in enumerate(cells) if expression in submissions._names(source).binds] == [at]


def test_the_marker_reads_the_checks_of_the_course_as_they_are_called():
    for path in runner.chosen_paths():
        for check, (_, expression) in submissions.checks_in(submissions.code_of(path)).items():
            ast.parse(expression)
            assert hasattr(checks, check)
