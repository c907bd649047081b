"""Step-E, and how to learn with noisy labels: a small package behind a course of notebooks.

from stepe_lite import fit, load, noise, schedules, StepE
data = load("digits").with_noise(noise.symmetric(0.4), seed=0)
history = fit(data, "mlp", StepE(schedules.linear(warmup=5, ramp=15, final=0.4)), epochs=60, seed=0)
"""

from . import losses, models, noise, schedules
from .datasets import Dataset, load
from .history import History
from .ledger import Ledger
from .rules import (
    Everything,
    KeepOnly,
    LossTruncation,
    OneShotFilter,
    RandomExclusion,
    SelfPaced,
    StepE,
)
from .training import TrainingDiverged, fit

__version__ = "0.1.0"
__all__ = [
    "Dataset", "Everything", "History", "KeepOnly", "Ledger", "LossTruncation", "OneShotFilter", "RandomExclusion",
    "SelfPaced", "StepE", "TrainingDiverged", "fit", "load", "losses", "models", "noise", "schedules",
]  # fmt: skip
