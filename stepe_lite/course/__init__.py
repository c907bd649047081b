"""The course as a whole: running its notebooks, their claims, their pages."""

from .claims import ClaimBroken, claim, tell
from .editions import handout
from .marking import mark
from .runner import digest, find, folder, parameters_of, run, value_of

__all__ = [
    "ClaimBroken", "claim", "digest", "find", "folder", "handout", "mark", "parameters_of", "run", "tell", "value_of",
]  # fmt: skip
