"""Claims: the numbers that the text of a notebook states, measured each time it runs."""

import math
import numbers
import os

from ..utils import BadInput

# "collect": `run` reads the claims from the outputs, so a broken one need not stop the kernel
VARIABLE = "STEPE_LITE_CLAIMS"


class ClaimBroken(AssertionError):
    """A measured value lies outside the band that the text states."""


def claim(text, value, above=None, below=None):
    """State a number of the text together with the band it must lie in; print one line with the measured value.

    `above`, `below`: the open band, at least one of them. A broken claim prints a line with ✗. It raises ClaimBroken
    where the environment variable CI is set, so that `papermill` alone fails there; a learner who changes parameters
    goes on.
    """
    if above is None and below is None:
        raise BadInput(f"claim {text!r} has no band: pass above, below or both.")
    value = _number("value", value)
    above, below = (None if n is None else _number(name, n) for name, n in (("above", above), ("below", below)))
    # Written so that NaN, which compares as False, breaks every claim.
    holds = bool((above is None or value > above) and (below is None or value < below))
    band = " and ".join(
        f"{word} {limit:g}" for word, limit in (("above", above), ("below", below)) if limit is not None
    )
    line = f"{'✓' if holds else '✗'} {text}: {value:.4g} ({'' if holds else 'expected '}{band})"
    record = {
        "text": text,
        "value": value if math.isfinite(value) else None,
        "above": above,
        "below": below,
        "holds": holds,
    }
    show(line, {"stepe_lite_claim": record})
    if not holds and os.environ.get("CI") and os.environ.get(VARIABLE) != "collect":
        raise ClaimBroken(line)


def tell(text):
    """Print `text`, which `stepe-lite run` repeats at its end: what to do next, for who has not opened the notebook."""
    show(text, {"stepe_lite_told": True})


def _number(name, value):
    try:
        if isinstance(value, numbers.Complex) and not isinstance(value, numbers.Real):
            raise TypeError  # NumPy's would lose a part
        return float(value)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise BadInput(f"{name} is {value!r}, but must be a number.") from None


def show(line, metadata):
    """Print `line`; in a notebook, with `metadata` on its output, for whoever reads the executed copy."""
    try:
        from IPython import get_ipython
        from IPython.display import display
    except ImportError:
        return print(line)
    if get_ipython() is None:
        return print(line)
    display({"text/plain": line}, raw=True, metadata=metadata)
