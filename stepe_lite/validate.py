"""One clear sentence for every bad argument, raised before any work starts."""

import difflib
import math
import numbers
import tempfile
from pathlib import Path


def choice(name, value, allowed):
    """Return `value` if it is one of `allowed`; else raise ValueError and offer the closest match."""
    allowed = list(allowed)
    if value in allowed:
        return value
    typed, known = str(value).lower(), {str(a).lower(): a for a in allowed}
    close = [a for a in known if typed and a.startswith(typed)] or difflib.get_close_matches(
        typed, known, n=1, cutoff=0.4
    )
    hint = f" Did you mean {known[close[0]]!r}?" if close else ""
    raise ValueError(f"{name} is {value!r}, but must be one of {', '.join(map(repr, allowed))}.{hint}")


def fraction(name, value):
    """Return `value` as a float in [0, 1), or raise."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not 0 <= value < 1:
        raise ValueError(f"{name} is {value!r}, but must be a number from 0 up to (not including) 1.")
    return float(value)


def whole(name, value, least=0, most=None):
    """Return `value` as an int in [least, most], or raise."""
    ok = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not ok or value < least or (most is not None and value > most):
        limit = f"at least {least}" if most is None else f"from {least} to {most}"
        raise ValueError(f"{name} is {value!r}, but must be a whole number, {limit}.")
    return int(value)


def positive(name, value, zero_ok=False):
    """Return `value` as a finite float above 0 (or at least 0), or raise."""
    real = isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)
    if not real or value < 0 or (value == 0 and not zero_ok):
        raise ValueError(f"{name} is {value!r}, but must be a finite number {'of at least' if zero_ok else 'above'} 0.")
    return float(value)


def folder(name, path):
    """Make sure that the folder `path` exists and can be written to; return it as a Path, or raise OSError."""
    path = Path(path).expanduser()
    try:
        path.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path).close()
    except OSError as error:
        reason = error.strerror or error
        raise type(error)(f"{name} is {str(path)!r}, but must be a folder that can be written to ({reason}).") from None
    return path
