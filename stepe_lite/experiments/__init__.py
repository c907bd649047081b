"""Many methods, data sets and seeds: the plan, the runs, the tables."""

from .plan import MAIN, METHODS, PAPER, PRESETS, RECIPES, methods, runs_of
from .runs import Run, RunFailed, failures, grid_run, make, provenance, result
from .tables import collect, compare, gain, logs, paired_difference, percent, save, summary, table, text

__all__ = [
    "MAIN", "METHODS", "PAPER", "PRESETS", "RECIPES", "Run", "RunFailed", "collect", "compare", "failures", "gain",
    "grid_run", "logs", "make", "methods", "paired_difference", "percent", "provenance", "result", "runs_of", "save",
    "summary", "table", "text",
]  # fmt: skip
