"""What every check of an exercise needs: to call the learner's code, and to comment on whatever comes back."""

import functools

import numpy as np
import torch


class Wrong(Exception):
    """The answer is not right; the message says why, to the learner."""


def exercise(check):
    """Turn a check that raises `Wrong`, or returns its praise, into one that prints one line and returns nothing."""

    @functools.wraps(check)
    def told(answer):
        try:
            if answer is None:
                raise Wrong("The answer is still None. Write yours and run this cell again.")
            print(f"✓ {check(answer)}")
        except Wrong as wrong:
            print(f"✗ {wrong}")
        except Exception as error:  # whatever the learner's code raises is an answer to comment on, not a crash
            print(f"✗ Your code raised {type(error).__name__}: {_short(error)}")

    return told


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
    except Exception as error:
        raise Wrong(f"Your function raised {type(error).__name__}{when}: {_short(error)}") from None
    if result is None:
        raise Wrong(f"Your function returned None{when}. Write it, and end every branch with `return`.")
    for old, new in zip(before, arguments):
        if isinstance(old, torch.Tensor) and not torch.equal(old, new):
            raise Wrong("Your function changed the tensor it was given. Work on a copy: .clone().")
    return result


def tensor(value, shape, what):
    """`value`, which may be a list, an array or a table, as a tensor of that shape."""
    try:
        value = value if isinstance(value, torch.Tensor) else torch.as_tensor(np.asarray(value))
    except (TypeError, ValueError, RuntimeError):
        raise Wrong(f"Your function returned a {type(value).__name__}, but should return {what}.") from None
    if value.shape != shape:
        shapes = f"shape {tuple(value.shape)} where {tuple(shape)} was wanted"
        if value.ndim == 0:
            shapes = f"one number where {tuple(shape)} was wanted (a `return` inside a loop ends it?)"
        raise Wrong(f"Your function returned {shapes}: {what}.")
    return value


def number(value, what):
    """`value` as a float."""
    try:
        return float("not a number" if isinstance(value, str) else value)
    except (TypeError, ValueError, RuntimeError):
        said = repr(value)
        said = said if len(said) < 60 else f"a {type(value).__name__} of several values"
        raise Wrong(f"The answer is {said}, but should be {what}.") from None


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
