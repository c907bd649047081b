"""A map of schedules: what training gave for each warm-up, ramp, final fraction and shape, on the digits.

Beside the sliders of notebook 4, which only ask a rule about recorded losses, it says what happened when the network
was trained. The grid was fixed before the first run, and all of it is reported. Each seed has wrong labels, initial
weights and an order of the samples of its own.
"""

import numpy as np
import pandas as pd

from .. import noise, schedules
from ..datasets import load
from ..rules import Everything, KeepOnly, StepE
from ..training import fit
from ..utils import check_whole
from . import maps

SETTINGS = {"dataset": "digits", "noise": "symmetric(0.4)", "model": "mlp", "epochs": 60}
SHAPES = "linear", "cosine", "exponential", "staircase"
WARMUPS = 0, 2, 5, 15, 30  # epochs
RAMPS = 0, 15, 30  # epochs; 0 = all at once, whatever the shape
FINALS = 0.2, 0.4, 0.6, 0.8  # half of the noise rate, the rate, one and a half times, twice
LEVELS = "standard", "oracle by removal"
SEEDS = 5
KEY = "shape", "warmup", "ramp", "final", "seed"
COLUMNS = (*KEY, "accuracy_last", "precision", "recall")
FILE = "schedules.csv"
NEAR = 6  # epochs and points of the fraction, all differences together
ABOUT = "Digits, 40 % symmetric noise, mlp, 60 epochs; mean ± standard deviation over the seeds, last epoch."


def cells(seeds=SEEDS):
    """All runs, one seed after the other: a list of KEY's values; those of LEVELS have no schedule."""
    settings = [(level, None, None, None) for level in LEVELS]
    settings += [
        (shape, warmup, ramp, final)
        for warmup in WARMUPS for ramp in RAMPS for final in FINALS for shape in (SHAPES if ramp else SHAPES[:1])
    ]  # fmt: skip
    return [(*setting, seed) for seed in range(seeds) for setting in settings]


def run(out, seeds=SEEDS, jobs=1, progress=True):
    """Make the runs that are not in the CSV file `out` yet; returns them all. See `maps.record`.

    There are 910, about a second each on one free core.
    """
    wanted = cells(check_whole("seeds", seeds, least=1))
    grid = {"shapes": SHAPES, "warmups": WARMUPS, "ramps": RAMPS, "finals": FINALS}
    settings = SETTINGS | {name: list(values) for name, values in grid.items()}
    maps.record(out, COLUMNS, KEY, wanted, _row, {"command": "stepe-lite map", "settings": settings}, progress, jobs)
    return maps.read(out, COLUMNS)


def _row(cell):
    shape, warmup, ramp, final, seed = cell
    data = load(SETTINGS["dataset"]).with_noise(noise.symmetric(0.4), seed)
    if shape in LEVELS:
        rule = Everything() if shape == LEVELS[0] else KeepOnly(~data.is_mislabeled)
    else:
        rule = StepE(getattr(schedules, shape)(warmup, ramp, final))
    epochs = SETTINGS["epochs"]
    log = fit(data, SETTINGS["model"], rule, epochs=epochs, seed=seed, device="cpu", progress=False).log
    found = {"accuracy_last": log.test_accuracy, "precision": log.precision, "recall": log.recall}
    return dict(zip(KEY, cell)) | {name: column.iloc[-1] for name, column in found.items()}


def summary(runs):
    """A row a setting of the table that `run` returns: shape, warmup, ramp, final, `way` and `said`.

    Standard training is the row of shape "standard": a warm-up that never ends, and a fraction of 0.
    way : where its mean test accuracy lies between standard training (0) and the oracle (1)
    said : mean ± standard deviation over the seeds in words
    """
    by_level = runs[runs["shape"].isin(LEVELS)].groupby("shape").accuracy_last.mean()
    standard, oracle = (by_level[level] for level in LEVELS)
    rows = []
    never = {"warmup": SETTINGS["epochs"], "ramp": 0, "final": 0.0}
    for (shape, warmup, ramp, final), part in runs[runs["shape"] != LEVELS[1]].fillna(never).groupby(list(KEY[:-1])):
        figures = {"test accuracy": part.accuracy_last, "precision": part.precision, "recall": part.recall}
        if shape == LEVELS[0]:
            figures, setting = {"test accuracy": part.accuracy_last}, "nobody excluded: standard training"
        else:
            setting = f"{shape}, warm-up {warmup:g}, ramp {ramp:g}, final {100 * final:.0f} %"
        numbers = [f"{name} {100 * each.mean():.1f} ± {100 * each.std():.1f} %" for name, each in figures.items()]
        rows.append({
            "shape": shape, "warmup": int(warmup), "ramp": int(ramp), "final": final,
            "way": round((part.accuracy_last.mean() - standard) / (oracle - standard), 4),
            "said": f"{', '.join(numbers)} ({setting}, {len(part)} seeds).",
        })  # fmt: skip
    return pd.DataFrame(rows)


def beside(results, data, model, epochs):
    """The `summary` of the map in the folder `results`, if it was made of what is trained here; else None."""
    mine = {"dataset": data.name.partition("+")[0], "noise": data.name.partition("+")[2], "model": model}
    if mine | {"epochs": epochs} != SETTINGS or not (results / FILE).exists():
        return None
    return summary(maps.read(results / FILE, COLUMNS))


def nearest(table, rule):
    """The row of a `summary` that is nearest to a StepE, and in words what differs from it: "" if nothing does.

    An epoch counts as a point of the fraction, another shape as five, if both have a ramp. A rule becomes standard
    training when either its warm-up lasts to the end or its fraction is 0. Where no row is within NEAR, or the rule has
    what no recorded one has, the row is None and the words say why.
    """
    unlike = {"soft weights": rule.soft is not None, "a moving average": rule.momentum > 0}
    unlike |= {"a ranking within each class": rule.per_class is not False}
    asked = rule.schedule
    other = (table["shape"] != asked.shape) & (table.ramp > 0) & (asked.ramp > 0)
    warmup, final = (table.warmup - asked.warmup).abs(), ((100 * table.final).round() - round(100 * asked.final)).abs()
    standard = table["shape"] == LEVELS[0]
    far = (5 * other + warmup + (table.ramp - asked.ramp).abs() + final).mask(standard, np.minimum(warmup, final))
    row = table.loc[far.idxmin()]
    nobody = standard[row.name] and far[row.name] == 0  # is excluded, whatever else is set
    if any(unlike.values()) and not nobody:
        return None, f"with {' and '.join(name for name, given in unlike.items() if given)}"
    if far[row.name] > NEAR:
        return None, f"near this setting, only {grid(table)}"
    pairs = {"warm-up": (row.warmup, asked.warmup), "ramp": (row.ramp, asked.ramp)}
    pairs["final"] = f"{100 * row.final:.0f} %", f"{100 * asked.final:.0f} %"
    pairs["shape"] = (row["shape"], asked.shape) if other[row.name] else ("", "")
    if standard[row.name]:
        nearer = "warm-up" if warmup[row.name] <= final[row.name] else "final"
        pairs = {nearer: pairs[nearer]}
    return row, ", ".join(f"{name} {its} instead of {mine}" for name, (its, mine) in pairs.items() if its != mine)


def grid(table):
    """The settings of a `summary` in words."""
    table = table[table["shape"] != LEVELS[0]]
    settings = table.warmup, table.ramp, (100 * table.final).round().astype(int)
    lists = (", ".join(map(str, sorted(set(values)))) for values in settings)
    return "warm-ups of {}, ramps of {} epochs and final fractions of {} %".format(*lists)


def said(table, rule):
    """What training gave at the setting of a StepE, or the nearest that was recorded, as one line of HTML."""
    row, other = nearest(table, rule)
    if row is None:
        return f"<b>Trained for real:</b> nothing is recorded {other}. Train with these settings to see."
    where = f"Not at this setting; the nearest recorded has {other}" if other else "This setting, recorded"
    way = f"{100 * row.way:.0f} % of the way from standard training to the oracle"
    return f"<b>Trained for real. {where}:</b> {row.said} {way}. {ABOUT}"
