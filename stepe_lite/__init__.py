"""Step-E, and how to learn with noisy labels: a small package behind a course of notebooks.

from stepe_lite import fit, load, noise, schedules, StepE
data = load("digits").with_noise(noise.symmetric(0.4), seed=0)
history = fit(data, "mlp", StepE(schedules.linear(warmup=5, ramp=15, final=0.4)), epochs=60, seed=0)
"""

from importlib import import_module

__version__ = "0.2.0"

# Where each public name lives. It is imported when it is used, so that the command's help need not wait for torch.
_HOME = {
    "datasets": "Dataset load", "history": "History", "ledger": "Ledger", "training": "TrainingDiverged fit",
    "rules": "Everything KeepOnly LossTruncation OneShotFilter RandomExclusion SelfPaced StepE",
}  # fmt: skip
_HOME = {name: module for module, names in _HOME.items() for name in names.split()}
_MODULES = ("analysis", "experiments", "losses", "models", "noise", "peers", "plots", "review", "rules", "schedules")
__all__ = [*_HOME, "losses", "models", "noise", "schedules"]


def __getattr__(name):
    if name in _HOME:
        return getattr(import_module(f".{_HOME[name]}", __name__), name)
    if name in _MODULES:
        return import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *_HOME, *_MODULES})
