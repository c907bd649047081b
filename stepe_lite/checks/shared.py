"""What every check of an exercise needs: call the learner's code, comment on what comes back, keep the verdict."""

import dis
import functools
import inspect
import linecache
import signal
import threading
import time
import traceback
from contextlib import contextmanager

import numpy as np
import torch

from ..course.claims import show
from ..utils import check_choice

TIME_LIMIT = 10  # seconds that one check may compute; it may wait ten times as long, on a busy machine say
EXERCISES = {}  # exercise, "3.2" = the second of notebook 3 -> its check
verdicts = {}  # exercise -> the latest verdict in this kernel


class Wrong(Exception):
    """The answer is not right; the message says why, to the learner."""

    verdict = "wrong"


class Untouched(Wrong):
    """There is no answer yet: None, or a function as the notebook gives it."""

    verdict = "untouched"


class Failed(Wrong):
    """The learner's code raised, or did not end."""

    verdict = "error"


class _OutOfTime(BaseException):  # not an Exception, which the learner's code may well catch
    pass


def exercise(number):
    """Turn a check that raises `Wrong`, or returns its praise, into one that prints one line and returns nothing.

    `number` names the exercise, "3.2". The verdict is "right", "wrong", "untouched" or "error" (the learner's code
    raised or did not end). It is kept in `verdicts`, and with the line as metadata `stepe_lite_check` of the output:
    {"exercise", "check", "verdict", "sentence"}. `check.judge(answer)` gives (verdict, sentence) and prints nothing.
    """

    def decorate(check):
        def judge(answer):
            try:
                with _time_limit():
                    if answer is None:
                        raise Untouched("The answer is still None. Write yours and run this cell again.")
                    return "right", check(answer)
            except Wrong as wrong:
                return wrong.verdict, str(wrong)
            except _OutOfTime as error:
                return "error", f"Your code was still running after {error} s{_place(error)}. Does its loop end?"
            except (Exception, SystemExit) as error:  # an answer to comment on, not a crash
                return "error", f"Your code raised {type(error).__name__}: {_short(error)}"

        @functools.wraps(check)
        def told(answer):
            verdict, sentence = judge(answer)
            verdicts[number] = verdict
            record = {"exercise": number, "check": check.__name__, "verdict": verdict, "sentence": sentence}
            show(f"{'✓' if verdict == 'right' else '✗'} {sentence}", {"stepe_lite_check": record})

        told.exercise, told.judge = number, judge
        EXERCISES[number] = told
        return told

    return decorate


def solved(notebook):
    """Say how many exercises of `notebook`, a number from 1, are solved: by the latest check of each in this kernel."""
    check_choice("notebook", notebook, sorted({int(number.split(".")[0]) for number in EXERCISES}))
    latest = {number: verdicts.get(number) for number in sorted(EXERCISES) if number.split(".")[0] == str(notebook)}
    right = sum(verdict == "right" for verdict in latest.values())
    marks = {"right": "✓", "untouched": "not begun", None: "not checked"}
    each = ", ".join(f"{number} {marks.get(verdict, '✗')}" for number, verdict in latest.items())
    show(f"Exercises solved: {right} of {len(latest)} ({each})", {"stepe_lite_solved": [right, len(latest)]})


@contextmanager
def _time_limit():
    """Raise _OutOfTime in a block that takes too long: in the main thread, where the system has such signals."""
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    computed, began = time.process_time(), time.monotonic()

    def ring(signum, frame):
        waited = time.monotonic() - began
        if time.process_time() - computed > TIME_LIMIT or waited > 10 * TIME_LIMIT:
            raise _OutOfTime(f"{waited:.0f}")

    handler = signal.signal(signal.SIGALRM, ring)
    timer = signal.setitimer(signal.ITIMER_REAL, 0.2, 0.2)  # again and again: a bare `except:` takes some
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler or signal.SIG_DFL)  # None: not set from Python
        signal.setitimer(signal.ITIMER_REAL, *timer)


def _place(error):
    """Where in the learner's code `error` arose: " (line 2: ...)", or "" if in none of it."""
    steps = [step for step in traceback.walk_tb(error.__traceback__) if not step[0].f_globals.get("__package__")]
    if not steps:
        return ""
    frame, line = steps[-1]
    text = linecache.getline(frame.f_code.co_filename, line, frame.f_globals).strip()
    return f" (line {line}{f': {text}' if text else ''})"


def _short(error):
    """The first and the last line of an error's message: libraries print whole arrays in between."""
    lines = [line if len(line) < 200 else f"{line[:200]} …" for line in str(error).splitlines() if line.strip()]
    return " … ".join(dict.fromkeys(lines[:1] + lines[-1:]))


def call(function, *arguments, when=""):
    """What `function` returns; tensors among the arguments must come out unchanged."""
    if not callable(function):
        raise Wrong(f"The answer is {function!r}, but should be a function.")
    before = [a.clone() if isinstance(a, torch.Tensor) else a for a in arguments]
    try:
        result = function(*arguments)
    except (Exception, SystemExit) as error:
        raise Failed(f"Your function raised {type(error).__name__}{when}{_place(error)}: {_short(error)}") from None
    if result is None:
        if inspect.isfunction(function) and _steps(function) == _steps(lambda: None):
            raise Untouched("The function still returns None. Write yours and run this cell again.")
        raise Wrong(f"Your function returned None{when}. End every branch with `return`.")
    for old, new in zip(before, arguments):
        if isinstance(old, torch.Tensor) and not torch.equal(old, new):
            raise Wrong("Your function changed the tensor it was given. Work on a copy: .clone().")
    return result


def _steps(function):
    return [instruction.opname for instruction in dis.get_instructions(function)]


def tensor(value, shape, what):
    """`value`, which may be a list, an array or a table, as a tensor of that shape; None = any."""
    try:  # np.array: a copy, since pandas hands out arrays that may not be written to, and torch warns of these
        value = value.detach().cpu() if isinstance(value, torch.Tensor) else torch.from_numpy(np.array(value))
    except (TypeError, ValueError, RuntimeError):
        raise Wrong(f"Your function returned {_named(value)}, but should return {what}.") from None
    if shape is not None and value.shape != shape:
        got = f"shape {tuple(value.shape)}" if value.ndim else "one number"
        raise Wrong(f"Your function returned {got} where shape {tuple(shape)} was wanted: {what}.")
    return value


def _named(value):
    """What an answer is that makes no tensor."""
    odd = [entry for entry in _entries(value) if entry is None or isinstance(entry, str)]
    return f"a {type(value).__name__}" + (f" with {odd[0]!r} in it" if odd and odd[0] is not value else "")


def _entries(value):
    if isinstance(value, list | tuple):
        return [entry for each in value for entry in _entries(each)]
    return value.ravel().tolist() if isinstance(value, np.ndarray) else [value]


def number(value, what):
    """`value`, one number in whatever wrapping, as a float."""
    try:
        array = np.array(value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else value)
        if array.size == 1 and not isinstance(array.item(), str | complex):
            return float(array.item())
    except (TypeError, ValueError, RuntimeError):
        pass
    said = repr(value)
    said = said if len(said) < 60 else f"a {type(value).__name__} of several values"
    raise Wrong(f"The answer is {said}, but should be {what}.") from None


def pair(value, what):
    """The two entries of `value`, in their order."""
    if isinstance(value, set | frozenset):
        raise Wrong(f"A set has no order, so no first and second. The answer should be {what}.")
    try:
        first, second = None if isinstance(value, str | dict) else value
    except (TypeError, ValueError):
        raise Wrong(f"The answer is {value!r}, but should be {what}.") from None
    return first, second


def near(value, wanted, tolerance=1e-5):
    """Whether two numbers, or two tensors in every entry, agree. NaN agrees with nothing."""
    return bool(np.all(np.abs(np.asarray(value) - np.asarray(wanted)) <= tolerance))


def recognise(found, wrong_ways, tolerance=1e-5, before=""):
    """Raise Wrong with the message of the first wrong way that leads to `found`, a number or a tensor.

    `wrong_ways`: dict value -> message, or pairs of these where the values are tensors. `tolerance` is absolute for
    values below 1, and relative above. `before` is put before the message.
    """
    for value, message in wrong_ways.items() if isinstance(wrong_ways, dict) else wrong_ways:
        if near(found, value, tolerance * max(1.0, float(np.abs(np.asarray(value)).max()))):
            raise Wrong(before + message)
