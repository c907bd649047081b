"""The checks of the exercises: what they say to the answers that readers gave, and the verdict that they keep."""

import threading
import time
import warnings

import numpy as np
import pandas as pd
import pytest
import torch

from stepe_lite import checks, ranking, schedules
from stepe_lite.checks import shared


def told(capsys, check, answer):
    assert getattr(checks, check)(answer) is None
    (line,) = capsys.readouterr().out.splitlines()
    return line


def patient(patience):
    def stop(accuracy):
        best = 0
        for epoch in range(len(accuracy)):
            if accuracy[epoch] > accuracy[best]:
                best = epoch
            if epoch - best >= patience:
                break
        return best

    return stop


def truncation(count):
    def rule(losses, epoch):
        weights = torch.ones(losses.shape[1])
        if epoch >= 3:
            weights[losses[-1].argsort(descending=True)[: count(0.4 * losses.shape[1])]] = 0
        return weights

    return rule


def last_m(losses, fraction):
    weights, m = torch.ones(len(losses)), round(fraction * len(losses))
    weights[losses.argsort(stable=True)[-m:]] = 0
    return weights


def last_m_per_class(losses, labels, fraction):
    weights = torch.ones(len(losses))
    for c in labels.unique():
        weights[labels == c] = last_m(losses[labels == c], fraction)
    return weights


def cosine_of(angle):
    return lambda e, w, r, f: f * (1 - np.cos(angle(min(1, max(0, (e - w) / r))))) / 2


def forced_ones(rule, losses):
    rows = [torch.ones(losses.shape[1])] + [rule(losses[:e], e) for e in range(1, len(losses))]
    return torch.stack(rows)


def shifted(labels, rate, k, places, shift):
    return labels.index_put((places,), (labels[places] + shift) % k)


def first_or_last(place):
    def answer(labels, rate, k):
        m = round(rate * len(labels))
        places = torch.arange(len(labels))[place(m)]
        return shifted(labels, rate, k, places, torch.randint(1, k, (m,)))

    return answer


def one_wrong_class_each(labels, rate, k):
    """A shift that depends on the class alone."""
    places = torch.randperm(len(labels))[: round(rate * len(labels))]
    return shifted(labels, rate, k, places, 1 + (labels[places] * 7) % (k - 1))


def with_places_of_the_class(losses, labels, fraction):
    weights = torch.ones(len(losses))
    for c in labels.unique():
        of_class = losses[labels == c]
        weights[of_class.topk(round(fraction * len(of_class))).indices] = 0
    return weights


def in_a_copy(losses, labels, fraction):
    weights = torch.ones(len(losses))
    for c in labels.unique():
        of_class = losses[labels == c]
        weights[labels == c][of_class.topk(round(fraction * len(of_class))).indices] = 0
    return weights


def kept_of_the_mislabeled(excluded, labels, is_mislabeled):
    members = [is_mislabeled & (labels == c) for c in labels.unique()]
    return min((~excluded)[each].float().mean().item() for each in members if each.any())


SAID = [
    ("rank_per_class", with_places_of_the_class, "places within a class"),
    ("rank_per_class", in_a_copy, "change a copy"),
    ("worst_class", kept_of_the_mislabeled, "of the mislabeled"),
    ("early_stopping_epoch", patient(2), "rises again"),
    ("early_stopping_epoch", patient(10), "rises again"),
    ("early_stopping_epoch", lambda accuracy: len(accuracy) - 1 - np.argmax(accuracy[::-1]), "Take the first"),
    ("early_stopping_epoch", lambda accuracy: accuracy.max(), "the accuracy"),
    ("exclude_highest", last_m, "m = 0"),
    ("rank_per_class", last_m_per_class, "m = 0"),
    ("cosine_schedule", cosine_of(lambda t: 2 * np.pi * t), "whole turn"),
    ("cosine_schedule", cosine_of(lambda t: t), "half a turn"),
    ("cosine_schedule", cosine_of(lambda t: 180 * t), "radians"),
    ("cosine_schedule", lambda e, w, r, f: schedules.cosine(w, r, f)(e + 1), "one epoch ahead"),
    ("cosine_schedule", lambda e, w, r, f: schedules.cosine(w, r, f)(e - 1), "one epoch late"),
    ("cosine_schedule", lambda e, w, r, f: schedules.linear(w, r, f)(e), "straight"),
    ("linear_schedule", lambda e, w, r, f: schedules.linear(w, r, 1)(e) if f < 1 else f, "multiply it by final"),
    ("replay", lambda rule, losses: torch.stack([rule(losses[:e], e) > 0.5 for e in range(9)]), "as they are"),
    ("replay", forced_ones, "At epoch 0"),
    ("ceilings", lambda final, rate: min(1, rate / final), "a pair"),
    ("most_confused", {"cat", "dog"}, "no order"),
    ("most_confused", {"automobile", "truck"}, "no order"),
    ("most_confused", "truck", "two class names"),
    ("paired_gain", lambda method, standard: {0.1, 0.2}, "no order"),
    ("symmetric", lambda labels, rate, k: [None if i == 3 else c for i, c in enumerate(labels.tolist())], "with None"),
    ("margin", lambda logits, labels: ["?"] * len(labels), "with '?'"),
    ("apply_decisions", lambda labels, decisions: [decisions.get(i, c) for i, c in enumerate(labels)], "with None"),
    ("symmetric", first_or_last(lambda m: slice(m)), "at random"),
    ("symmetric", first_or_last(lambda m: slice(-m, None)), "at random"),
    ("symmetric", one_wrong_class_each, "equally likely"),
    ("transition_matrix", lambda c, g, k: pd.crosstab(c.numpy(), g.numpy(), normalize="index"), "shape (4, 3)"),
    ("rank_suspects", lambda losses: losses.mean(0) * torch.nan, "look like losses"),
]


@pytest.mark.parametrize(("check", "answer", "words"), SAID, ids=[f"{check}-{words}" for check, _, words in SAID])
def test_a_wrong_answer_gets_the_sentence_that_fits(capsys, check, answer, words):
    line = told(capsys, check, answer)
    assert line.startswith("✗") and words in line, line
    assert "loop" not in line


@pytest.mark.parametrize("count", [int, round, np.ceil], ids=lambda of: of.__name__)
def test_a_share_may_be_rounded_as_one_likes_where_the_text_leaves_it_open(capsys, count):
    assert told(capsys, "truncation_rule", truncation(lambda share: int(count(share)))).startswith("✓")


RIGHT = [
    ("margin", lambda logits, labels: pd.Series(
        logits.gather(1, labels[:, None])[:, 0] - logits.scatter(1, labels[:, None], -torch.inf).amax(1))),
    ("exclude_highest", lambda losses, fraction: pd.Series(losses.numpy()).rank(ascending=False, method="first")
     > round(fraction * len(losses))),
    ("exclude_highest", lambda losses, fraction: list(ranking.exclude_highest(losses, fraction))),
    ("exclude_highest", lambda losses, fraction: ranking.exclude_highest(losses, fraction).requires_grad_()),
    ("memorised_share", lambda losses: pd.Series([(losses < np.log(2)).float().mean().item()])),
    ("relative_cost", torch.tensor([0.7333], requires_grad=True)),
    ("most_confused", np.array(["truck", "automobile"])),
    ("most_confused", ["Truck", "automobile "]),
    ("early_stopping_epoch", lambda accuracy: list(accuracy).index(max(accuracy))),
]  # fmt: skip


@pytest.mark.parametrize(("check", "answer"), RIGHT, ids=[f"{at}-{check}" for at, (check, _) in enumerate(RIGHT)])
def test_any_wrapping_of_the_right_answer_is_right_and_nothing_warns(capsys, check, answer):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        line = told(capsys, check, answer)
    assert line.startswith("✓"), line


# --- the learner's code fails


def endless(losses, fraction):
    while True:
        losses = losses + 1


def endless_and_deaf(losses, fraction):
    while True:
        for _ in range(1000):
            try:
                losses = losses + 1
            except Exception:
                losses = losses - 1


@pytest.mark.parametrize("answer", [endless, endless_and_deaf], ids=lambda answer: answer.__name__)
def test_an_endless_loop_ends_with_a_sentence(capsys, monkeypatch, answer):
    monkeypatch.setattr(shared, "TIME_LIMIT", 0.3)
    line = told(capsys, "exclude_highest", answer)
    assert (
        line.startswith("✗ Your code was still running after ")
        and "s (line " in line
        and line.endswith("Does its loop end?")
    )


def test_waiting_ends_with_a_sentence_too(capsys, monkeypatch):
    monkeypatch.setattr(shared, "TIME_LIMIT", 0.05)
    line = told(capsys, "exclude_highest", lambda losses, fraction: time.sleep(1000))
    assert line.startswith("✗ Your code was still running after ") and "time.sleep(1000)" in line


def test_after_the_time_limit_nothing_rings_any_more(capsys, monkeypatch):
    import signal

    monkeypatch.setattr(shared, "TIME_LIMIT", 0.2)
    told(capsys, "exclude_highest", endless)
    told(capsys, "relative_cost", 0.6)
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


def test_a_check_works_in_a_thread_too(capsys):
    thread = threading.Thread(target=checks.relative_cost, args=(0.7333,))
    thread.start()
    thread.join()
    assert capsys.readouterr().out.startswith("✓")


def helper(values):
    return values[10_000]


def by_helper(losses, fraction):
    order = losses.argsort()
    return helper(order)


@pytest.mark.parametrize(
    "answer, words",
    [
        (by_helper, "return values[10_000]): "),
        (lambda losses, fraction: losses.reshape(7, 7, 7), "losses.reshape(7, 7, 7)"),
        (lambda losses, fraction: exit(), "SystemExit"),
    ],
    ids=["helper", "torch", "exit"],
)
def test_the_line_that_failed_is_told(capsys, answer, words):
    line = told(capsys, "exclude_highest", answer)
    assert line.startswith("✗ Your function raised ") and "(line " in line and words in line, line


# --- verdicts


def unfinished(losses, fraction):
    weights = torch.ones(len(losses))
    weights[0] = 0


def stub(losses, fraction):
    """What it does."""
    return None


@pytest.mark.parametrize(
    "answer, verdict",
    [
        (None, "untouched"),
        (stub, "untouched"),
        (unfinished, "wrong"),
        (lambda losses, fraction: losses, "wrong"),
        (ranking.exclude_highest, "right"),
        (lambda losses, fraction: 1 / 0, "error"),
        (0.5, "wrong"),
    ],
)
def test_the_verdict_is_kept(capsys, answer, verdict):
    checks.exclude_highest(answer)
    assert shared.verdicts["3.2"] == verdict
    assert checks.exclude_highest.judge(answer)[0] == verdict
    assert len(capsys.readouterr().out.splitlines()) == 1  # `judge` is silent


def test_solved_counts_the_latest_verdict_of_each_exercise(capsys, monkeypatch):
    monkeypatch.setattr(shared, "verdicts", {})
    checks.solved(3)
    checks.relative_cost(0.7333)
    checks.exclude_highest(None)
    checks.margin(None)  # of another notebook
    checks.solved(3)
    checks.exclude_highest(ranking.exclude_highest)
    checks.relative_cost(0.7)
    checks.solved(3)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("Exercises")]
    assert lines == [
        "Exercises solved: 0 of 3 (3.1 not checked, 3.2 not checked, 3.3 not checked)",
        "Exercises solved: 1 of 3 (3.1 not checked, 3.2 not begun, 3.3 ✓)",
        "Exercises solved: 1 of 3 (3.1 not checked, 3.2 ✓, 3.3 ✗)",
    ]


def test_solved_refuses_a_notebook_without_exercises():
    with pytest.raises(ValueError, match=r"notebook is 9, but must be one of 1, 2"):
        checks.solved(9)
