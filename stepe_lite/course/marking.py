"""Marking submissions: answers are taken from a notebook in a fresh kernel, and judged by checks imported anew.

Whatever a notebook prints, redefines or puts into the package changes no verdict. But its code runs with all the rights
of whoever marks, and a function that sets out to deceive the process that it runs in can do so: this is no sandbox.
"""

import concurrent.futures
import multiprocessing
import os
import secrets
import signal
import tempfile
import time
from pathlib import Path

from ..utils import BadInput, check_flag, check_positive, check_whole, end_with_parent
from . import claims, runner, submissions

VERDICTS = ("right", "wrong", "untouched", "error")


def mark(paths, timeout=300, jobs=1, progress=True):
    """Judge each exercise in the notebooks at `paths`: a DataFrame `learner`, `exercise`, `verdict`, `sentence`.

    Runs other people's code. The verdict is right, wrong (`sentence` is that of the check), untouched or error (the
    answer's code raised or did not end, or a cell that it needs did). All exercises of a notebook of the course are
    listed of which a submission has at least one; a learner is called by the file's name.

    An answer is the argument of the last call of its check, wherever in the notebook, or else the variable that the
    course's own notebook checks. Only the cells that it needs are executed, in their order: those that bind or change
    a name that it uses, and so on for these; all cells, where a name is missing then. Where a cell does not end, or
    kills the kernel, the answers that do not need it are judged in another one. `timeout`: seconds for a kernel;
    `jobs`: how many submissions are marked at a time, each in a process of its own, in an empty folder.
    """
    import pandas as pd
    from tqdm.auto import tqdm

    check_positive("timeout", timeout)
    check_whole("jobs", jobs, least=1), check_flag("progress", progress)
    paths = [Path(path) for path in paths]
    for path in paths:
        if not path.is_file():
            raise BadInput(f"notebook is {str(path)!r}, but must be a file.")
    if len(set(paths)) < len(paths):
        raise BadInput("notebooks has a file more than once.")
    stems = [path.stem for path in paths]
    learners = [path.stem if stems.count(path.stem) == 1 else str(path) for path in paths]
    course = [submissions.checks_in(submissions.code_of(path)) for path in runner.chosen_paths()]
    rows, tasks = [], []
    for learner, path in zip(learners, paths):
        try:
            cells = submissions.code_of(path)
        except BadInput as error:
            rows.append((learner, "", "error", str(error)))
            continue
        answers = submissions.answers_in(cells, course)
        if not answers:
            rows.append((learner, "", "error", "No exercise of the course was found in it."))
        for exercise in [exercise for exercise, answer in answers.items() if answer is None]:
            del answers[exercise]
            rows.append((learner, exercise, "untouched", "The notebook neither checks nor defines an answer."))
        tasks += [(learner, (cells, answers))] if answers else []
    bar = tqdm(total=len(tasks), unit="notebook", disable=not progress)
    before = multiprocessing.active_children()
    pool = concurrent.futures.ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), _begin)
    try:
        futures = {pool.submit(_judge, *task, timeout): (learner, task[1]) for learner, task in tasks}
        for future in concurrent.futures.as_completed(futures):
            learner, answers = futures[future]
            if failed := future.exception():  # of the process that marks, not of an answer
                marks = dict.fromkeys(answers, ("error", f"Not marked: {failed!r}"))
            else:
                marks = future.result()
            rows += [(learner, exercise, *mark) for exercise, mark in marks.items()]
            bar.update()
    except BaseException:
        for child in set(multiprocessing.active_children()) - set(before):
            child.terminate()  # its kernel ends when it has no parent
        raise
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        bar.close()
    order = {learner: at for at, learner in enumerate(learners)}
    rows.sort(key=lambda row: (order[row[0]], row[1]))
    return plain(pd.DataFrame(rows, columns=["learner", "exercise", "verdict", "sentence"]))


def plain(marks):
    """`marks`, whose words learners chose, with what not every terminal or spreadsheet bears as it is typed."""
    from ..datasets.sheets import printable

    def typed(words):
        return printable(words.encode("utf-8", "backslashreplace").decode())

    return marks.assign(learner=marks.learner.map(typed), sentence=marks.sentence.map(typed))


def text(marks):
    """The table learner × exercise of what `mark` returns, and the sentence of each answer that is not right."""
    table = marks.pivot(index="learner", columns="exercise", values="verdict").reindex(marks.learner.unique())
    rest = marks[marks.verdict.isin(["wrong", "error"])]
    lines = [f"{row.learner} {row.exercise} {row.verdict}: {row.sentence}" for row in rest.itertuples()]
    return "\n".join([table.fillna("").rename_axis(index=None, columns=None).to_string(), *lines])


def _begin():
    """What a process that marks does first."""
    end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that started it
    os.environ[claims.VARIABLE] = "collect"


QUIET = """\
def _stepe_lite_quiet():  # an endless loop that prints would fill the memory of the process that listens
    import os, sys
    sys.stdout = sys.stderr = open(os.devnull, "w")
_stepe_lite_quiet()
"""

TAKE = """\
def _stepe_lite_take(answer):
    import sys
    is_package = lambda name: name.split(".")[0] == "stepe_lite"
    theirs = {{name: sys.modules.pop(name) for name in list(sys.modules) if is_package(name)}}
    sys.path.insert(0, {place!r})
    from IPython.display import display
    from stepe_lite.checks import {check} as check
    try:
        answer = answer()
    except BaseException as error:
        verdict = "error", f"{{type(error).__name__}}: {{error}}"
    else:
        verdict = check.judge(answer)
    display({{"text/plain": ""}}, raw=True, metadata={{{token!r}: verdict}})
    for name in filter(is_package, list(sys.modules)):
        del sys.modules[name]
    sys.modules.update(theirs)
    sys.path.remove({place!r})
_stepe_lite_take(lambda: ({expression}))
"""


def _judge(cells, answers, timeout):
    """dict exercise -> (verdict, sentence) for the `answers` in the code `cells`, see `submissions.answers_in`."""
    needed = {exercise: submissions.cells_needed(cells, *answer) for exercise, answer in answers.items()}
    marks, missing = _judge_with(cells, answers, needed, timeout)
    if missing:  # a name, perhaps bound in a way that `_names` does not see
        again = {exercise: answers[exercise] for exercise in missing}
        marks |= _judge_with(cells, again, {exercise: range(len(cells)) for exercise in again}, timeout)[0]
    return marks


def _judge_with(cells, answers, needed, timeout):
    """The same, with the cells that each answer needs, and also the exercises for which a name was missing."""
    marks, missing, pending = {}, set(), dict(answers)
    while pending:
        began, failed = _execute(cells, pending, needed, timeout)
        errors = {step: f"{output.ename}: {output.evalue}" for step, output in began if "ename" in output}
        for exercise, (at, _) in pending.items():
            verdicts = [output.verdict for step, output in began if step == exercise and "verdict" in output]
            if not verdicts:
                continue
            # The last is the one at the end, but what was right in its place was right.
            verdict, sentence = next((each for each in verdicts if each[0] == "right"), verdicts[-1])
            causes = {step: text for step, text in errors.items() if step in needed[exercise]}
            if verdict == "error" and "NameError" in str([sentence, *causes.values()]):
                missing |= {exercise}
            if sentence.startswith("NameError") and causes:  # no answer, since a cell failed: its own, if it did
                sentence = causes.get(at, list(causes.values())[-1])
            marks[exercise] = verdict, sentence
        pending = {exercise: answer for exercise, answer in pending.items() if exercise not in marks}
        stuck = began[-1][0] if began else None  # what was running when the kernel died, or time was over
        late = f"The answer, or a cell that it needs, was still running after {timeout:g} s."
        said = late if "Timeout" in str(failed) else f"No verdict came back: {failed}."
        lost = [exercise for exercise in pending if stuck in (None, exercise) or stuck in needed[exercise]]
        for exercise in lost or list(pending):
            marks[exercise] = "error", said
            del pending[exercise]
    return marks, missing


def _execute(cells, answers, needed, timeout):
    """Execute what `answers` need in a new kernel.

    Returns what was begun, in order, as pairs of a step (the number of a cell, the exercise that is judged, or None)
    and an output ({} where there is none; the marker's own have `verdict`), and what stopped it, or None.
    """
    import nbformat
    from nbformat.v4 import new_code_cell, new_notebook

    from ..checks.shared import EXERCISES

    place, tokens = str(Path(__file__).resolve().parents[2]), {exercise: secrets.token_hex(16) for exercise in answers}
    takes = {
        exercise: TAKE.format(
            place=place, check=EXERCISES[exercise].__name__, token=tokens[exercise], expression=expression
        )
        for exercise, (_, expression) in answers.items()
    }
    steps = [(None, QUIET)]
    for cell in sorted(set().union(*(needed[exercise] for exercise in answers))):
        steps += [(cell, cells[cell]), *((each, takes[each]) for each, (at, _) in answers.items() if at == cell)]
    steps += [step for step in takes.items() if step != steps[-1]]  # bound only further down, perhaps
    with tempfile.TemporaryDirectory(prefix="stepe-lite-") as folder:
        given, done, inside = Path(folder, "given.ipynb"), Path(folder, "done.ipynb"), Path(folder, "inside")
        inside.mkdir()
        sources = [new_code_cell(source) for _, source in steps]
        nbformat.write(new_notebook(cells=sources, metadata=runner.METADATA), given)
        done.touch()
        end = time.monotonic() + timeout
        failed = runner.by_papermill(
            given, done, {}, inside, False, allow_errors=True, timeout_func=lambda cell: max(1, end - time.monotonic())
        )
        executed = [cell for cell in nbformat.read(done, as_version=4).cells if cell.cell_type == "code"]
    began = []
    for (step, _), cell in zip(steps, executed, strict=True):
        if not cell.metadata.get("papermill", {}).get("start_time"):
            break
        for output in cell.outputs or [nbformat.NotebookNode()]:
            token = tokens.get(step)
            if token in output.get("metadata", {}):
                output.verdict = output.metadata[token]
            began.append((step, output))
    return began, failed
