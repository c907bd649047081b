"""The notebooks: their form, their exercises, and every claim in them, run by papermill."""

import ast
import contextlib
import itertools
import re
import shlex
import statistics
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import nbformat
import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from sklearn.mixture import GaussianMixture

from stepe_lite import StepE, analysis, checks, course, noise, ranking, schedules
from stepe_lite.checks import shared
from stepe_lite.cli import main
from stepe_lite.schedules import constant

EXERCISE_NUMBERS = sorted(shared.EXERCISES)
PATHS = sorted(course.folder().glob("[0-9]*.ipynb"))
every_notebook = pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)


def read(path):
    return nbformat.read(path, as_version=4)


def code(path):
    return [cell for cell in read(path).cells if cell.cell_type == "code"]


def prose(path):
    return "\n\n".join(cell.source for cell in read(path).cells if cell.cell_type == "markdown")


def test_the_course_is_numbered_without_gaps():
    assert [path.stem[:2] for path in PATHS] == [f"{i:02}" for i in range(1, len(PATHS) + 1)]


@every_notebook
def test_it_opens_with_aims_needs_and_run_time_and_closes_with_findings(path):
    cells = read(path).cells
    assert cells[0].source.startswith("# ")
    for word in ("After this notebook you can", "You need", "Run time"):
        assert word in cells[0].source
    assert cells[-1].source.startswith("## What we found")


@every_notebook
def test_the_last_code_cell_counts_the_solved_exercises(path):
    sources = [cell.source for cell in code(path)]
    counts = [source for source in sources if "check.solved" in source]
    assert counts in ([], [f"check.solved({int(path.stem[:2])})"]) and (not counts or sources[-1] == counts[0])


@every_notebook
def test_exercises_are_numbered_as_their_checks_are(path):
    number, checked = None, []
    for cell in read(path).cells:
        if cell.cell_type == "markdown":
            number = (re.findall(r"^### Exercise (\d)", cell.source, re.M) or [number])[-1]
        for name in re.findall(r"^check\.(\w+)\((?:my_|most_)", cell.source, re.M):
            checked.append(getattr(checks, name).exercise)
            assert checked[-1] == f"{int(path.stem[:2])}.{number}"
    assert checked == [each for each in EXERCISE_NUMBERS if each.split(".")[0] == str(int(path.stem[:2]))]


@every_notebook
def test_one_parameters_cell_of_commented_scalars(path):
    (cell,) = [cell for cell in code(path) if "parameters" in cell.metadata.get("tags", [])]
    for line in cell.source.splitlines():
        assert re.fullmatch(r"\w+ = .+  # .+", line), line


@every_notebook
def test_code_cells_are_short(path):
    lengths = [len([line for line in cell.source.splitlines() if line.strip()]) for cell in code(path)]
    assert statistics.median(lengths) <= 8
    assert max(lengths) <= 40
    assert max(len(line) for cell in code(path) for line in cell.source.splitlines()) <= 110


@every_notebook
def test_it_asks_before_it_shows_and_states_claims(path):
    assert prose(path).count("**Predict**") >= 3
    assert sum(cell.source.count("claim(") for cell in code(path)) >= 5


@every_notebook
def test_saved_outputs_are_whole_and_belong_to_the_present_source(path):
    notebook = read(path)
    assert notebook.metadata["stepe_lite"]["outputs_belong_to"] == course.digest(notebook), "stepe-lite run --save"
    assert path.stat().st_size < 400_000
    for cell in code(path):
        assert cell.execution_count is not None
        assert all(output.output_type != "error" for output in cell.outputs)
        for output in cell.outputs:
            assert output.get("metadata", {}).get("stepe_lite_claim", {"holds": True})["holds"]


@every_notebook
def test_outputs_name_no_folder_of_the_machine_that_made_them(path):
    outputs = str([cell.outputs for cell in code(path)])
    assert not re.search(r"/(home|root|tmp|work|Users)/", outputs)


# --- exercises: (check, solution's variable, plausible wrong answers)


def counts(clean, given, k):
    return torch.zeros(k, k).index_put((clean, given), torch.ones(len(clean)), accumulate=True)


def sloppy_symmetric(labels, rate, k):
    chosen = torch.randperm(len(labels))[: round(rate * len(labels))]
    return labels.index_put((chosen,), torch.randint(k, (len(chosen),)))


def exact_symmetric(labels, rate, k):
    chosen = torch.randperm(len(labels))[: round(rate * len(labels))]
    return labels.index_put((chosen,), (labels[chosen] + torch.randint(1, k, (len(chosen),))) % k)


def own(logits, labels):
    return logits.gather(1, labels[:, None])[:, 0]


def fitted(losses):
    return GaussianMixture(2, random_state=0).fit(losses.numpy()[:, None])


def per_class_cut_off(losses, labels, fraction):
    """Rounds down where round() goes up."""
    weights = torch.ones(len(losses))
    for c in labels.unique():
        members = (labels == c).nonzero().flatten()
        weights[members[losses[members].argsort(descending=True)[: int(fraction * len(members))]]] = 0
    return weights


def kept_by_class(excluded, labels, counted):
    return torch.stack([(~excluded)[counted & (labels == c)].float().mean() for c in labels.unique()])


EXERCISES = {
    "symmetric": (
        "my_symmetric",
        [
            sloppy_symmetric,
            lambda labels, rate, k: exact_symmetric(labels, 0.4, k),
            lambda labels, rate, k: (labels + 1) % k,
            lambda *a: "?",
        ],
    ),
    "transition_matrix": ("my_transition_matrix", [counts, lambda c, g, k: counts(c, g, k) / counts(c, g, k).sum(0)]),
    "most_confused": ("most_confused", [("automobile", "truck"), ("cat", "cat"), ("cat", "dog"), "truck", 7]),
    "memorised_share": (
        "my_learned_share",
        [
            lambda x: (x < 0.5).float().mean(),
            lambda x: (x < np.log(2)).sum(),
            lambda x: (x > np.log(2)).float().mean(),
            lambda x: 0.6,
            lambda x: "0.6",
        ],
    ),
    "early_stopping_epoch": (
        "my_stopping_epoch",
        [np.max, np.argmin, lambda a: len(a) - 1, lambda a: np.argmax(a) + 1, lambda a: np.argmax(np.diff(a) < 0)],
    ),
    "truncation_rule": (
        "my_rule",
        [
            lambda losses, epoch: torch.ones(losses.shape[1]),
            lambda losses, epoch: torch.zeros(losses.shape[1]),
            lambda losses, epoch: ranking.exclude_highest(losses[0], 0.4) if epoch > 2 else torch.ones(losses.shape[1]),
            lambda losses, epoch: (losses[-1] > losses[-1].quantile(0.6)).float(),
        ],
    ),
    "linear_schedule": (
        "my_schedule",
        [lambda e, w, r, f: f * min(1.0, e / (w + r)), lambda e, w, r, f: f if e > w else 0.0, lambda e, w, r, f: None],
    ),
    "exclude_highest": (
        "my_weights",
        [
            lambda losses, fraction: (losses > losses.quantile(fraction)).float(),
            lambda losses, fraction: losses.argsort(descending=True)[: round(fraction * len(losses))],
            lambda losses, fraction: 1 - ranking.exclude_highest(losses, fraction),
            lambda losses, fraction: ranking.exclude_highest(-losses, fraction),
            lambda losses, fraction: losses * ranking.exclude_highest(losses, fraction),
            lambda losses, fraction: (losses.argsort().argsort() < len(losses) - int(fraction * len(losses))).float(),
        ],
    ),
    "relative_cost": ("my_cost", [0.6, 1.0, 0.4 / 3, 2.2, 73.3, float("nan"), "cheap"]),
    "cosine_schedule": (
        "my_cosine",
        [
            lambda e, w, r, f: schedules.linear(w, r, f)(e),
            lambda e, w, r, f: 2 * schedules.cosine(w, r, f)(e),
            lambda e, w, r, f: schedules.cosine(w, r, 0.5)(e) * 2,
            lambda e, w, r, f: f * (1 + np.cos(np.pi * min(1, max(0, (e - w) / r)))) / 2,
            lambda e, w, r, f: f * (1 - np.cos(np.pi * max(0, (e - w) / r))) / 2,
            lambda e, w, r, f: schedules.cosine(w, r, f)(e + 1),
            lambda e, w, r, f: 100 * schedules.cosine(w, r, f)(e),
            lambda e, w, r, f: schedules.cosine(w, max(1, r - w), f)(e),
        ],
    ),
    "replay": (
        "my_replay",
        [
            lambda rule, losses: torch.stack([rule(losses[: e + 1], e) for e in range(len(losses))]),
            lambda rule, losses: torch.stack([rule(losses, e) for e in range(len(losses))]),
            lambda rule, losses: torch.stack([1 - rule(losses[:e], e) for e in range(len(losses))]),
            lambda rule, losses: torch.stack([rule(losses[:e], max(0, e - 1)) for e in range(len(losses))]),
            lambda rule, losses: rule(losses, len(losses)),
        ],
    ),
    "ceilings": (
        "my_ceilings",
        [
            lambda final, rate: (1, 1),
            lambda final, rate: (rate / final, final / rate),
            lambda final, rate: (min(1, final / rate), min(1, rate / final)),
            lambda final, rate: min(1, rate / final),
            lambda final, rate: (rate / final, 1),
        ],
    ),
    "first_exclusion": (
        "my_first_exclusion",
        [
            lambda excluded: excluded.int().argmax(0),
            lambda excluded: torch.where(excluded.any(0), excluded.int().argmax(0) + 1, -1),
            lambda excluded: torch.where(excluded.any(0), excluded.int().argmax(0), len(excluded)),
            lambda excluded: torch.where(excluded.any(0), excluded.flip(0).int().argmax(0), -1),
            lambda excluded: excluded.sum(0),
            lambda excluded: excluded.nonzero()[:, 0],
        ],
    ),
    "margin": (
        "my_margin",
        [
            lambda logits, labels: own(logits, labels) - logits.amax(1),
            lambda logits, labels: own(logits, labels) - logits.topk(2).values[:, 1],
            lambda logits, labels: logits.scatter(1, labels[:, None], -torch.inf).amax(1) - own(logits, labels),
            lambda logits, labels: own(logits, labels) - logits.scatter(1, labels[:, None], 0).amax(1),
            lambda logits, labels: own(logits, labels),
            lambda logits, labels: logits.scatter_(1, labels[:, None], -torch.inf).amax(1),
            lambda logits, labels: logits.topk(2).values[:, 0] - logits.topk(2).values[:, 1],
        ],
    ),
    "never_back": (
        "my_never_back",
        [
            lambda excluded, start: excluded[start:].all(0).float().mean(),
            lambda excluded, start: excluded[start:].all(0).sum(),
            lambda excluded, start: excluded.all(0).sum() / excluded[-1].sum(),
            lambda excluded, start: excluded[start:][:, excluded[-1]].float().mean(),
            lambda excluded, start: 1 - excluded[start:].all(0).sum() / excluded[-1].sum(),
            lambda excluded, start: (excluded[start] & excluded[-1]).sum() / excluded[start].sum(),
            lambda excluded, start: (excluded[start] & excluded[-1]).sum() / excluded[-1].sum(),
            lambda excluded, start: excluded[start + 1 :].all(0).sum() / excluded[-1].sum(),
            lambda excluded, start: excluded[start:].all(0).sum() / excluded.any(0).sum(),
            lambda excluded, start: excluded[start:].all(1).float().mean(),
        ],
    ),
    "upper_hump": (
        "my_upper_hump",
        [
            lambda losses: GaussianMixture(2, random_state=0).fit_predict(losses.numpy()[:, None]).mean(),
            lambda losses: (losses > losses.median()).float().mean(),
            lambda losses: (losses > losses.mean()).sum(),
            lambda losses: (losses < losses.mean()).float().mean(),
            lambda losses: 100 * (losses > losses.mean()).float().mean(),
            lambda losses: losses,
            lambda losses: (losses > 1).float().mean(),
            lambda losses: (losses > np.log(2)).float().mean(),
            lambda losses: (losses > losses.mean()).float().mean(),
            lambda losses: (losses > (losses.min() + losses.max()) / 2).float().mean(),
            lambda losses: fitted(losses).means_.max(),
            lambda losses: fitted(losses).weights_[fitted(losses).covariances_.argmax()],
        ],
    ),
    "rank_per_class": (
        "my_rank_per_class",
        [
            lambda losses, labels, fraction: ranking.exclude_highest(losses, fraction),
            lambda losses, labels, fraction: 1 - StepE(constant(fraction), per_class=labels)(losses[None], 1),
            lambda losses, labels, fraction: StepE(constant(fraction), per_class=labels)(-losses[None], 1),
            lambda losses, labels, fraction: StepE(constant(fraction / 2), per_class=labels)(losses[None], 1),
            lambda losses, labels, fraction: losses * StepE(constant(fraction), per_class=labels)(losses[None], 1),
            lambda losses, labels, fraction: torch.cat(
                [ranking.exclude_highest(losses[labels == c], fraction) for c in labels.unique()]
            ),
            lambda losses, labels, fraction: per_class_cut_off(losses, labels, fraction),
        ],
    ),
    "worst_class": (
        "my_worst_class",
        [
            lambda excluded, labels, wrong: 1 - kept_by_class(excluded, labels, ~wrong).min(),
            lambda excluded, labels, wrong: 100 * kept_by_class(excluded, labels, ~wrong).min(),
            lambda excluded, labels, wrong: kept_by_class(excluded, labels, ~wrong).mean(),
            lambda excluded, labels, wrong: kept_by_class(excluded, labels, ~wrong).max(),
            lambda excluded, labels, wrong: kept_by_class(excluded, labels, ~wrong).argmin(),
            lambda excluded, labels, wrong: kept_by_class(excluded, labels, ~wrong),
            lambda excluded, labels, wrong: kept_by_class(excluded, labels, wrong | ~wrong).min(),
            lambda excluded, labels, wrong: kept_by_class(excluded | wrong, labels, wrong | ~wrong).min(),
            lambda excluded, labels, wrong: (~excluded)[~wrong].float().mean(),
        ],
    ),
    "share_won_back": ("my_share", [7.1, 41.3, 50.4 / 60.5, 0.587, 0.7, "0.41"]),
    "paired_gain": (
        "my_gain",
        [
            lambda method, standard: (method - standard).mean(),
            lambda method, standard: ((standard - method).mean(), 0.1),
            lambda method, standard: ((method - standard).mean(), (method - standard).std(ddof=1)),
            lambda method, standard: ((method - standard).mean(), 4.303 * (method - standard).std() / 3**0.5),
            lambda method, standard: ((method - standard).mean(), 1.96 * (method - standard).std(ddof=1) / 3**0.5),
            lambda method, standard: (abs(method - standard).mean(), 4.303 * (method - standard).std(ddof=1) / 3**0.5),
            lambda method, standard: {"mean": (method - standard).mean(), "half": 0.1},
        ],
    ),
    "rank_suspects": (
        "my_suspects",
        [
            lambda losses: losses.mean(0).argsort(),
            lambda losses: losses[-1].argsort(descending=True),
            lambda losses: losses[0].argsort(descending=True),
            lambda losses: losses.mean(0).argsort(descending=True).argsort(),
            lambda losses: losses.mean(0).sort(descending=True).values,
            lambda losses: losses.mean(0).argmax()[None],
            lambda losses: losses.mean(1).argsort(descending=True),
            lambda losses: losses.amin(0).argsort(descending=True),
            lambda losses: losses.amax(0).argsort(descending=True),
            lambda losses: losses[1:].mean(0).argsort(descending=True),
            lambda losses: losses[:-1].mean(0).argsort(descending=True),
        ],
    ),
    "best_precision": ("my_best_precision", [0.08, 0.2, 1.0, 2.5, 40, 0.6, "0.4", float("nan")]),
    "apply_decisions": (
        "my_cleaned",
        [
            lambda labels, decisions: [decisions.get(i, label) or label for i, label in enumerate(labels.tolist())],
            lambda labels, decisions: [decisions.get(i, c) for i, c in enumerate(labels) if decisions.get(i, c)],
            lambda labels, decisions: [c for i, c in enumerate(labels) if decisions.get(i, c) is not None],
            lambda labels, decisions: [c for c in decisions.values() if c is not None],
            lambda labels, decisions: labels.index_put_((torch.tensor([2, 4]),), torch.tensor([0, 2]))[[0, 2, 4, 5]],
        ],
    ),
}


def solutions():
    """(check, source) of every exercise in the notebooks, in order."""
    found = []
    for path in PATHS:
        cells = read(path).cells
        for cell, following in pairwise(cells):
            names = re.findall(r"^check\.(?!solved)(\w+)\(", cell.source, re.M) if cell.cell_type == "code" else []
            for name in names:
                assert following.source.startswith("<details><summary>Solution</summary>"), f"{path.stem}: {name}"
                found.append((name, re.search(r"```python\n(.*?)```", following.source, re.S)[1]))
    return found


def told(capsys, check, answer):
    assert getattr(checks, check)(answer) is None
    (line,) = capsys.readouterr().out.splitlines()
    return line


def test_every_check_has_an_exercise():
    assert [name for name, _ in solutions()] == list(EXERCISES)


@every_notebook
def test_two_to_four_exercises(path):
    assert 2 <= len(re.findall(r"^### Exercise", prose(path), re.M)) <= 4


@pytest.mark.parametrize(("check", "source"), solutions(), ids=lambda value: value.split("\n")[0])
def test_the_folded_solution_is_accepted(capsys, check, source):
    human = noise.cifar10n("worse")
    names = "airplane automobile bird cat deer dog frog horse ship truck".split()
    wrong = human.clone().fill_diagonal_(0)
    scope = {"torch": torch, "np": np, "wrong": wrong, "names": names}
    exec(source, scope)
    assert told(capsys, check, scope[EXERCISES[check][0]]).startswith("✓")


@pytest.mark.parametrize("check", EXERCISES)
def test_stub_and_wrong_answers_are_refused_in_words(capsys, check):
    crashing = lambda *_: 1 / 0  # noqa: E731
    for wrong in [None, lambda *_: None, crashing, *EXERCISES[check][1]]:
        line = told(capsys, check, wrong)
        assert line.startswith("✗") and len(line) > 20


def test_the_cells_that_follow_use_an_answer_once_its_check_accepts_it(capsys):
    def mine(final, rate):
        return [min(1, rate / final), min(1, final / rate)]

    def stub(final, rate):
        return None

    used = checks.use(checks.ceilings, mine, otherwise=stub)
    assert torch.equal(used(0.2, 0.4), torch.tensor([1, 0.5])) and "use mine" in capsys.readouterr().out
    for wrong in (None, stub, lambda final, rate: (1, 1), lambda final, rate: 1 / 0):
        assert checks.use(checks.ceilings, wrong, otherwise=mine) is mine
        (line,) = capsys.readouterr().out.splitlines()
        assert line.startswith("Until ") and "what the package has" in line


@pytest.mark.parametrize("form", [float, torch.tensor, np.float64, lambda share: np.array([share])])
def test_an_accepted_answer_that_is_one_number_stays_a_number(form):
    linear = lambda epoch, warmup, ramp, final: form(final * min(1, max(0, (epoch - warmup) / ramp)))  # noqa: E731
    fraction = checks.use(checks.linear_schedule, linear, otherwise=None)(10, 5, 10, 0.4)
    assert type(fraction) is float and fraction == pytest.approx(0.2)


@pytest.mark.parametrize("form", [list, torch.stack, lambda rows: torch.stack(rows).double().numpy()])
def test_an_accepted_answer_in_another_wrapping_can_be_trained_and_replayed_with(form):
    def mine(rule, losses):
        return form([rule(losses[:epoch], epoch) for epoch in range(len(losses))])

    losses, rule = torch.rand(6, 10), StepE(constant(0.3))
    weights = checks.use(checks.replay, mine, otherwise=None)(rule, losses)
    assert weights.dtype == torch.float32 and torch.equal(weights, analysis.replay(rule, losses))


# --- regression: every claim holds, with the seeds of the notebook and with others


def failures(report):
    return [(entry["name"], entry["error"]) for entry in report["notebooks"] if not entry["ok"]]


@every_notebook
def test_every_claim_holds(path, tmp_path):
    report = course.run([str(path)], out=tmp_path, html=True, progress=False)
    assert failures(report) == []
    page = (tmp_path / f"{path.stem}.html").read_text(encoding="utf-8")
    assert page.count("data-alive=") == (path.stem[:2] in ("04", "05"))  # the explorer; the look-up
    assert page.count('class="question"') == 5 * (path.stem[:2] == "04")


@every_notebook
def test_every_claim_holds_with_other_seeds_and_every_exercise_solved(path, tmp_path):
    """What a learner wrote is used by the cells below, in place of what the package has."""
    course.handout(tmp_path / "solved", solutions=True)
    known = course.parameters_of(path)
    as_many = len(ast.literal_eval(known["seeds"]["default"])) if "seeds" in known else 0
    other = {"seed": 11, "seeds": [11 + i for i in range(as_many)]}
    chosen = {name: value for name, value in other.items() if name in known}
    report = course.run([str(tmp_path / "solved" / path.name)], chosen, tmp_path / "out", progress=False)
    assert failures(report) == []


def write_photos(folder):
    """24 pictures of three classes."""
    rng = np.random.default_rng(0)
    for name, number in itertools.product(("ant", "bee", "cat"), range(8)):
        path = folder / name / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (10, 9 + number, 3)).astype(np.uint8)).save(path)


def test_the_readme_s_three_lines_clean_a_folder_beside_which_they_are_typed(tmp_path, monkeypatch):
    write_photos(tmp_path / "photos")
    readme = (course.folder().parent / "README.md").read_text("utf-8")
    audit, rank, clean = (shlex.split(line)[1:] for line in re.findall(r"^ {4}(stepe-lite .* photos.*)$", readme, re.M))
    monkeypatch.chdir(tmp_path)
    assert "24 files: 24 image" in CliRunner().invoke(main, audit).output
    ranked = CliRunner().invoke(main, rank)
    assert ranked.exit_code == 0, ranked.output
    assert f"24 rows wait for your decision: look at {Path('checked/suspects.png')} and fill in" in ranked.output
    assert f"then: stepe-lite {shlex.join(clean)}" in ranked.output
    refused = CliRunner().invoke(main, clean)
    assert refused.exit_code == 2 and "none of 24 rows is decided on" in refused.output and not Path(clean[-1]).exists()
    review = pd.read_csv("checked/review.csv", keep_default_na=False)
    review.assign(decision=["drop", *["keep"] * 23]).to_csv("checked/review.csv", index=False)
    cleaned = CliRunner().invoke(main, clean)
    assert cleaned.exit_code == 0 and "23 × keep, 1 × drop" in cleaned.output
    manifest = pd.read_csv(Path(clean[-1]) / "manifest.csv")
    assert manifest.what.value_counts().to_dict() == {"kept": 23, "dropped": 1}


def test_notebook_8_takes_a_small_folder_of_ones_own_to_a_cleaned_copy(tmp_path):
    """What only the example has is skipped in a sentence: no guess is asked for that nothing is compared with."""
    write_photos(tmp_path / "mine")
    chosen = {"folder": str(tmp_path / "mine"), "out": str(tmp_path / "out"), "size": 8, "rows": 4}
    chosen |= {"ranked_by": "standard", "epochs": 2, "warmup": 1}  # too short for the suggestions to be worth anything
    path = next(path for path in PATHS if path.name.startswith("08"))
    report = course.run([str(path)], chosen, tmp_path / "first", progress=False)
    assert failures(report) == []
    said = (tmp_path / "first" / path.name).read_text("utf-8")
    assert "Prediction(children" not in said and "4 rows wait for your decision in review.csv" in said
    assert "Nobody knows which labels of your folder are wrong" in said
    review = pd.read_csv(tmp_path / "out" / "review.csv", keep_default_na=False)
    review.assign(decision=["drop", *["keep"] * 3]).to_csv(tmp_path / "out" / "review.csv", sep=";", index=False)
    assert failures(course.run([str(path)], chosen, tmp_path / "second", progress=False)) == []
    assert len(list((tmp_path / "out" / "cleaned").rglob("*.png"))) == 23


@every_notebook
def test_the_stated_run_time_is_understood(path):
    """The longest notebooks begin first."""
    assert course.runner._said_seconds(path) >= 10


@pytest.mark.parametrize("name", ["../../evil", "../evil", "{absolute}/evil", "a/b", "..", "."])
def test_in_08_the_copy_lies_in_its_folder_whatever_its_name(name, tmp_path, capsys):
    (cell,) = [cell for cell in code(PATHS[7]) if ".copy_folder(" in cell.source]
    out, copies = tmp_path / "deep" / "out", []
    out.mkdir(parents=True)
    complete = SimpleNamespace(waiting=[], copy_folder=lambda folder, copy: copies.append(copy))
    names = {
        "complete": complete,
        "out": out,
        "copy_name": name.format(absolute=tmp_path),
        "Path": Path,
        "folder": None,
    }
    with contextlib.suppress(NameError):  # what it says of a copy that was written
        exec(cell.source, names)
    assert copies == [] and "copy" in capsys.readouterr().out
