"""Rows of the table, and how sides are timed in turns."""

import math
import statistics
from time import process_time

COLUMNS = ("what", "setting", "unit", "median", "low", "high", "repeats", "bound")


def row(what, setting, unit, values, bound=math.nan):
    """One row of the table: a dict of COLUMNS. `bound` is what arithmetic promises, where it promises something."""
    told = (what, setting, unit, statistics.median(values), min(values), max(values), len(values), bound)
    return dict(zip(COLUMNS, told))


def seconds(function, *arguments):
    """The seconds that this process computes in `function(*arguments)`."""
    began = process_time()
    function(*arguments)
    return process_time() - began


def in_turns(sides, repeats):
    """Call every side `repeats` times, in turns: {name: [what it returned, …]}. `sides` : {name: function}.

    Every other round goes backwards, so that a machine that grows slower, or faster, favours nobody.
    """
    returned = {name: [] for name in sides}
    for repeat in range(repeats):
        for name in sides if repeat % 2 == 0 else reversed(sides):
            returned[name].append(sides[name]())
    return returned


def ratios(one, other, repeats):
    """`repeats` quotients of what `one()` and `other()` return."""
    returned = in_turns({"one": one, "other": other}, repeats)
    return [a / b for a, b in zip(returned["one"], returned["other"])]
