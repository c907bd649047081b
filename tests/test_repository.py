"""The repository itself: README, environment, and what must not be in it."""

import json
import re
import shlex
import subprocess
import tomllib
from pathlib import Path

import click
import nbformat
import pandas as pd
import pytest

from stepe_lite import experiments
from stepe_lite.cli import main
from stepe_lite.experiments import ramp

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONDA_NAMES = {"torch": "pytorch", "matplotlib": "matplotlib-base"}


def requirements():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return [*project["dependencies"], *project["optional-dependencies"]["test"]]


def test_environment_yml_agrees_with_pyproject_and_says_why():
    lines = re.findall(r"^ +- (\S+)( # .+)?$", (ROOT / "environment.yml").read_text().split("dependencies:")[1], re.M)
    conda = {line for line, _ in lines} - {"python>=3.11", "pip", "pip:"}
    pip = {re.sub(r"^[\w-]+", lambda name: CONDA_NAMES.get(name[0], name[0]), need) for need in requirements()}
    assert conda == pip
    assert all(reason for line, reason in lines if not line.startswith("python"))


def test_readme_has_a_command_to_run_and_one_to_test():
    commands = re.findall(r"^    (python -m pip install .+ && .+)$", README, re.M)
    assert len(commands) == 2
    assert "stepe_lite run" in commands[0] and "pytest" in commands[1]


def test_the_readme_s_figures_of_calibrate_are_the_recorded_ones():
    runs = experiments.collect(ROOT / "notebooks" / "results" / "calibrate.csv")
    said = " ".join(README.split("settled by `--preset calibrate`")[1].split("`--preset cifar-stem`")[0].split())
    figures = {f"{100 * each:.1f} %" for each in runs[runs.dataset == "cifar100n"].accuracy_last}
    assert set(re.findall(r"[\d.]+ %", said)) == figures


RECORDED = {  # column of a table in the README -> preset, data set, seeds
    "CIFAR-100N, 30 epochs": ("paper", "cifar100n", 3),
    "CIFAR-100N, 100 epochs": ("paper-long", "cifar100n", 2),
    "CIFAR-10N aggre, 30 epochs": ("paper", "cifar10n-aggre", 2),
    "CIFAR-10N worse": ("cpu", "cifar10n-worse", 3),
    "CIFAR-100N": ("cpu", "cifar100n", 3),
    "CIFAR-10N aggre": ("cpu", "cifar10n-aggre", 3),
}


def recorded(column):
    preset, which, seeds = RECORDED[column]
    runs = experiments.collect(ROOT / "notebooks" / "results" / f"{preset}.csv")
    return runs[runs.dataset == which], seeds


def test_the_readme_s_accuracies_are_the_recorded_ones():
    seen, column = [], None
    for method, *cells in rows(README.split("## Real human labels")[1].split("\n## ")[0]):
        if method == "accuracy (%)":
            heads = cells
            continue
        for head, cell in zip(heads, cells, strict=True):
            if head == "the paper":  # stands to the right of ours
                assert cell == experiments.PAPER[RECORDED[column][1]].get(method, "")
                continue
            column, (runs, seeds) = head, recorded(head)
            chosen = runs[runs.method == method]
            assert len(chosen) == seeds and experiments.percent(chosen.accuracy_last) == cell, (head, method)
            seen.append(head)
    assert set(seen) == set(RECORDED) and len(seen) == 7 * len(RECORDED)


def test_the_readme_s_gains_are_the_recorded_ones():
    def said(runs, method="Step-E", against="standard", sign=1):
        ends = [100 * sign * each for each in experiments.paired_difference(runs, method, against)]
        mean, low, high = ends[0], *sorted(ends[1:])
        return f"{mean:.1f} [{low:.1f}, {high:.1f}]"

    words = " ".join(README.split()).replace(" points", "")
    ramp_runs = experiments.collect(ROOT / "notebooks" / "results" / "cifar-ramp.csv")
    after = {warmup: ramp_runs[ramp_runs.recipe == f"small_cnn-warmup-{warmup}"] for warmup in (1, 2)}
    for figure in (
        *(said(recorded(column)[0]) for column in list(RECORDED)[:3]),
        *(said(runs, against="loss truncation, warm-up") for runs in after.values()),
        said(recorded("CIFAR-100N")[0], against="loss truncation, warm-up", sign=-1),
    ):
        assert figure in words
    rivals = [
        experiments.paired_difference(recorded("CIFAR-100N, 30 epochs")[0], "Step-E", rival)[0]
        for rival in ("loss truncation", "self-paced", "one-shot")
    ]
    assert "by more than 2 over each rival" in words and min(rivals) > 0.02


def test_the_readme_s_figures_of_bench_are_the_recorded_ones():
    table = pd.read_csv(ROOT / "notebooks" / "results" / "bench.csv")
    about = json.loads((ROOT / "notebooks" / "results" / "bench.json").read_text())
    said = README.split("## What it costs")[1].split("\n## ")[0]
    assert about["date"][:10] in said and about["command"] in said
    recorded = {
        f"{row.median:.{digits}f} ({row.low:.{digits}f}–{row.high:.{digits}f})"
        for digits in (1, 2)
        for row in table.itertuples()
    }
    spreads = re.findall(r"[\d.]+ \([\d.]+–[\d.]+\)", said)
    assert len(spreads) > 20 and set(spreads) <= recorded
    speeds = table[table.what == "training"]["median"]
    assert re.search(r"training, images .* \| ([\d,; ]+) \|", said)[1] == "; ".join(
        f"{speed:,.0f}" if speed < 1000 else f"{round(speed, -2):,.0f}" for speed in speeds
    )


def test_nothing_else_lies_at_the_top():
    """The design says what may stand there; a note that somebody left behind may not."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("no git repository")
    allowed = {"notebooks", "stepe_lite", "tests", "environment.yml", "README.md", "pyproject.toml", "LICENSE"}
    assert {path.split("/")[0] for path in listed.stdout.splitlines()} <= allowed | {".gitignore", ".ci", ".github"}


def test_readme_lists_every_notebook():
    listed = re.findall(r"\(notebooks/(\w+\.ipynb)\)", README)
    assert sorted(set(listed)) == sorted(path.name for path in (ROOT / "notebooks").glob("[0-9]*.ipynb"))


@pytest.mark.parametrize("link", re.findall(r"\]\(([^)#]+)\)", README))
def test_links_in_the_readme_lead_somewhere(link):
    assert link.startswith("https://") or (ROOT / link).exists()


TEACHING, GLOSSARY = (
    (ROOT / "notebooks" / name).read_text(encoding="utf-8") for name in ("TEACHING.md", "GLOSSARY.md")
)


def rows(text):
    """The cells of the tables in a text, without their heads."""
    lines = [line for line in text.splitlines() if line.startswith("|") and not line.startswith("|---")]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("[0-9]*.ipynb")), ids=lambda path: path.stem)
def test_the_plans_of_a_lesson_fill_it_and_name_every_exercise(path):
    title = nbformat.read(path, as_version=4).cells[0].source.splitlines()[0].removeprefix("# ")
    (plan,) = re.findall(rf"^### {re.escape(title)}\n(.*?)\n##", TEACHING, re.S | re.M)
    (_, short, long), *parts = rows(plan)
    assert [sum(int(part[column]) for part in parts) for column in (1, 2)] == [int(short), int(long)] == [45, 90]
    named = [
        int(number) for words in re.findall(r"exercises? (\d(?: and \d)?)", plan) for number in words.split(" and ")
    ]
    assert named == list(range(1, len(re.findall(r"### Exercise \d", str(path.read_text(encoding="utf-8")))) + 1))


TERMS = [(term, number) for term, _, number in rows(GLOSSARY.split("## Terms")[1])[1:]]


@pytest.mark.parametrize("term, number", TERMS, ids=[term for term, _ in TERMS])
def test_a_term_of_the_glossary_occurs_in_the_notebook_that_it_names(term, number):
    (path,) = (ROOT / "notebooks").glob(f"0{number}*.ipynb")
    prose = [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "markdown"]
    for word in term.split(", "):
        assert word.lower() in "\n".join(prose).lower()


def test_the_glossary_is_in_the_order_of_the_course_and_has_no_term_twice():
    assert [number for _, number in TERMS] == sorted(number for _, number in TERMS)
    assert len({term for term, _ in TERMS}) == len(TERMS) > 40


@pytest.mark.parametrize("link", re.findall(r"\]\(([^)#]+)\)", TEACHING + GLOSSARY))
def test_links_beside_the_notebooks_lead_somewhere(link):
    assert (ROOT / "notebooks" / link).exists()


def test_the_commands_for_teachers_are_commands():
    for line in re.findall(r"^    (stepe-lite .+)$|`(stepe-lite [^`]+)`", TEACHING, re.M):
        name, *rest = shlex.split(line[0] or line[1])[1:]
        main.commands[name].make_parser(click.Context(main)).parse_args(rest)


def test_the_loop_of_the_readme_runs():
    source, *_ = re.findall(r"```python\n(.*?)```", README, re.S)  # the others are run by test_distributed.py
    scope = {}
    exec(source, scope)
    assert scope["ledger"].epoch == scope["epochs"]
    assert int(scope["ledger"].excluded.sum()) == round(0.4 * scope["ledger"].n)


def test_the_map_in_the_readme_is_the_recorded_one():
    runs = ramp.read(ROOT / "notebooks" / "results" / "ramp.csv")
    gains = ramp.gains(runs).set_index(["noise", "warmup", "ramp"])
    section = README[README.index("## When does the ramp pay?") :].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[1:]]
    assert len(rows) >= 7 and f"{runs.seed.nunique()} seeds" in README
    for name, standard, *cells in rows:
        here = runs[runs.noise == name]
        assert standard == f"{100 * here[here.ramp.isna()].accuracy_last.mean():.1f}"
        for warmup, plain, gain in zip((2, 5, 15), cells[::2], cells[1::2], strict=True):
            without = here[(here.warmup == warmup) & (here.ramp == 0)].accuracy_last.mean()
            told = 100 * gains.loc[(name, warmup, 15), ["gain", "low", "high"]].astype(float)
            assert plain == f"{100 * without:.1f}"
            assert gain == f"{told.gain:+.1f} [{told.low:+.1f}, {told.high:+.1f}]"
