"""Stands in for the module of this name on the main line until both meet: its names, from the present modules."""

from pathlib import Path

from .atomic import folder_beside, written_beside
from .seeding import generator as generator_for
from .validate import choice as check_choice
from .validate import fraction as check_fraction
from .validate import whole as check_whole

__all__ = [
    "BadInput",
    "check_choice",
    "check_fraction",
    "check_whole",
    "expand",
    "folder_beside",
    "generator_for",
    "written_beside",
]


class BadInput(ValueError):
    """Something that was passed is not allowed; the message is one sentence for whoever passed it."""


def expand(name, path):
    return Path(path).expanduser()
