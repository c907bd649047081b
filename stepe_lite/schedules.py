"""Schedules: which fraction of the samples is excluded at each epoch.

A schedule is a pure function of the epoch. It is 0 until `warmup` epochs are over, grows over the next `ramp` epochs
and stays at `final`. Step-E's abstract (W. Du, arXiv 2511.17040) says only "after a brief warm-up, gradually increase";
the shapes and their parameters are ours.

    >>> schedule = linear(warmup=5, ramp=15, final=0.4)
    >>> schedule(5), schedule(20), schedule(59)
    (0.0, 0.4, 0.4)
"""

import math
from dataclasses import dataclass

from .utils import check_choice, check_fraction, check_positive, check_whole

# Progress t in [0, 1] along the ramp -> share of `final` in [0, 1]. `sharpness` bends two of the shapes.
_SHAPES = {
    "constant": lambda t, sharpness: 1.0,
    "linear": lambda t, sharpness: t,
    "cosine": lambda t, sharpness: (1 - math.cos(math.pi * t)) / 2,
    "exponential": lambda t, sharpness: math.expm1(-sharpness * t) / math.expm1(-sharpness),
    "staircase": lambda t, sharpness: math.floor(t * sharpness + 1e-9) / sharpness,
}


@dataclass(frozen=True)
class Schedule:
    """Epoch -> excluded fraction in [0, final]. Build one with `linear`, `cosine`, … rather than directly.

    Schedules are values: they print as the call that makes them, compare with ==, and `plots.schedules` draws them.
    """

    shape: str
    warmup: int
    ramp: int
    final: float
    sharpness: float = 1.0

    def __post_init__(self):
        checked = {
            "shape": check_choice("shape", self.shape, _SHAPES),
            "warmup": check_whole("warmup", self.warmup),
            "ramp": check_whole("ramp", self.ramp),
            "final": check_fraction("fraction" if self.shape == "constant" else "final", self.final),
            "sharpness": check_positive("sharpness", self.sharpness),
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)  # NumPy's numbers become Python's

    def __call__(self, epoch):
        """Excluded fraction at `epoch`: 0-based, and it may lie between two epochs (for drawing)."""
        if check_positive("epoch", epoch, zero_ok=True) < self.warmup:
            return 0.0
        t = min(1.0, (epoch - self.warmup) / self.ramp) if self.ramp else 1.0
        return self.final * _SHAPES[self.shape](t, self.sharpness)

    def __repr__(self):
        if self.shape == "constant":
            return f"constant({self.final}, warmup={self.warmup})"
        extra = {"exponential": f", sharpness={self.sharpness}", "staircase": f", steps={int(self.sharpness)}"}
        ending = extra.get(self.shape, "")
        return f"{self.shape}(warmup={self.warmup}, ramp={self.ramp}, final={self.final}{ending})"


def constant(fraction, warmup=0):
    """Nothing for `warmup` epochs, then `fraction` (in [0, 1)) at once."""
    return Schedule("constant", warmup, 0, fraction)


def linear(warmup, ramp, final):
    """A straight ramp: 0 at epoch `warmup`, `final` (in [0, 1)) from epoch `warmup + ramp` on."""
    return Schedule("linear", warmup, ramp, final)


def cosine(warmup, ramp, final):
    """A smooth ramp: starts and ends slowly (half a cosine wave)."""
    return Schedule("cosine", warmup, ramp, final)


def exponential(warmup, ramp, final, sharpness=3.0):
    """A ramp that rises fast and then saturates: final · (1 − exp(−sharpness·t)) / (1 − exp(−sharpness))."""
    return Schedule("exponential", warmup, ramp, final, sharpness)


def staircase(warmup, ramp, final, steps=4):
    """A ramp in `steps` equal jumps; the last one comes at epoch `warmup + ramp`."""
    return Schedule("staircase", warmup, ramp, final, check_whole("steps", steps, least=1))


def names():
    """The names of the shapes, in the order in which they are taught."""
    return tuple(_SHAPES)
