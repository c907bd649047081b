"""What is compared, as plain data: the one table of methods, how to train (recipes), which runs to make (presets).

A run is one (data set, recipe, method, seed). A recipe says how to train, the same for every method. Warm-up and ramp
are ours: a fifth of the epochs before any exclusion, then three tenths to the final fraction, the true noise rate.
Nothing in a recipe was chosen by looking at a method that selects samples.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from ..learner import DEFAULT_EPOCHS, check_data
from ..rules import (
    Everything,
    KeepOnly,
    LossTruncation,
    OneShotFilter,
    RandomExclusion,
    SelfPaced,
    StepE,
    check_schedule,
)
from ..utils import BadInput, check_choice

HELD_OUT = 0.1  # share of the (noisy) training samples that early stopping is decided on
GREY = "#7F7F7F"  # what is no rival: controls and oracles


@dataclass(frozen=True)
class Method:
    """A row of the comparison: what it hands to `fit`, what it is called on the command line, how it is drawn.

    make : (data, schedule, seed, settings) -> dict of those arguments of `fit` in which it differs from standard
        training on `data` under `settings`; `schedule` brings warm-up, ramp and final fraction
    """

    option: str
    make: Callable
    colour: str
    dashed: bool = False
    clean_labels: bool = False  # does it need them?


def _ruled(rule):
    return lambda data, schedule, seed, settings: {"rule": rule(schedule, seed)}


def _early_stopped(data, schedule, seed, settings):
    training, validation = data.split_validation(HELD_OUT, seed)
    return {"data": training, "validation": validation}


def _equal_steps(data, schedule, seed, settings):
    """As many optimiser steps as Step-E makes: it has fewer samples an epoch."""
    if settings.get("steps"):
        return {}  # then all make as many
    size = settings.get("batch_size") or min(128, len(data))
    # At epoch 0 there are no losses, so nobody is excluded, whatever the schedule says.
    fractions = [schedule(epoch) if epoch else 0 for epoch in range(settings.get("epochs") or DEFAULT_EPOCHS)]
    kept = [len(data) - round(fraction * len(data)) for fraction in fractions]
    return {"epochs": None, "steps": sum(math.ceil(n / size) for n in kept)}


def _estimated(schedule, seed):
    from ..peers import EstimatedStepE

    return EstimatedStepE(max(1, schedule.warmup), schedule.ramp)


METHODS = {
    "standard": Method("standard", lambda *_: {}, "#000000"),
    "standard, early-stopped": Method("early-stopped", _early_stopped, GREY, dashed=True),
    "standard, averaged weights": Method("averaged", lambda *_: {"average": 0.5}, "#000000", dashed=True),
    "standard, equal steps": Method("equal-steps", _equal_steps, GREY, dashed=True),
    "loss truncation": Method("loss-truncation", _ruled(lambda s, seed: LossTruncation(s.final)), "#E69F00"),
    "loss truncation, warm-up": Method(  # Step-E without the ramp
        "loss-truncation-warmup", _ruled(lambda s, seed: LossTruncation(s.final, s.warmup)), "#E69F00", dashed=True
    ),
    "self-paced": Method("self-paced", _ruled(lambda s, seed: SelfPaced(s)), "#CC79A7"),
    "one-shot": Method("one-shot", _ruled(lambda s, seed: OneShotFilter(s.final, max(1, s.warmup))), "#56B4E9"),
    "Step-E": Method("step-e", _ruled(lambda s, seed: StepE(s)), "#009E73"),
    "Step-E, estimated fraction": Method("step-e-estimated", _ruled(_estimated), "#882255"),
    "Step-E, half the ramp": Method(
        "step-e-half-ramp", _ruled(lambda s, seed: StepE(replace(s, ramp=s.ramp // 2))), "#009E73", dashed=True
    ),
    "Step-E, moving average": Method(
        "step-e-average", _ruled(lambda s, seed: StepE(s, momentum=0.5)), "#117733"
    ),
    "Step-E, soft": Method("step-e-soft", _ruled(lambda s, seed: StepE(s, soft=0.5)), "#999933"),
    "Step-E, per class": Method("step-e-per-class", _ruled(lambda s, seed: StepE(s, per_class=True)), "#332288"),
    "random exclusion": Method("random", _ruled(RandomExclusion), GREY, dashed=True),
    "oracle by removal": Method(
        "oracle-removal", lambda data, *_: {"rule": KeepOnly(~data.is_mislabeled)}, GREY, dashed=True, clean_labels=True
    ),
    "oracle by clean labels": Method(
        "oracle-clean", lambda data, *_: {"data": data.cleaned()}, GREY, dashed=True, clean_labels=True
    ),
}  # fmt: skip
# The rows of the paper's comparison, and of ours on the digits.
PAPERS = (
    "standard", "loss truncation", "self-paced", "one-shot", "Step-E", "oracle by removal", "oracle by clean labels",
)  # fmt: skip
MAIN = (*PAPERS[:2], "loss truncation, warm-up", *PAPERS[2:5], "random exclusion", *PAPERS[5:])


def methods(data, schedule, seed=0, names=MAIN, settings=None):
    """What `fit` is given for each method in `names`: dict name -> dict of arguments, with `data` and `rule`.

    All have the final fraction of `schedule`, and its warm-up and ramp where they have one. `seed` is for the random
    control and the held-out split, `settings` what else `fit` will be given. The two oracles see the clean labels, and
    are left out where these are unknown: by removal, only the rightly labelled samples; by clean labels, all of them.
    """
    check_data(data)
    if isinstance(names, str) or not hasattr(names, "__iter__"):
        raise BadInput(f"names is {names!r}, but must be a list of methods, such as MAIN.")
    if settings is not None and not isinstance(settings, dict):
        raise BadInput(f"settings is {settings!r}, but must be a dict of what fit takes.")
    check_schedule(schedule)
    found = {}
    for name in names:
        method = METHODS[check_choice("method", name, METHODS)]
        if data.clean_labels is not None or not method.clean_labels:
            plain = {"data": data, "rule": Everything()} | (settings or {})
            found[name] = plain | method.make(data, schedule, seed, settings or {})
    return found


# Settings of `fit`, and: subset = so many samples of the training set, the same for every seed, or with subset_by_seed
# others for each, so that an interval covers them, too; warmup, ramp in epochs.
RECIPES = {
    "smoke": {
        "model": "small_cnn", "subset": 1_000, "epochs": 5, "warmup": 1, "ramp": 2,
        "batch_size": 128, "lr": 0.05, "weight_decay": 5e-4, "augment": False,
    },
    "small_cnn": {
        "model": "small_cnn", "subset": 10_000, "epochs": 20, "warmup": 4, "ramp": 6,
        "batch_size": 128, "lr": 0.05, "weight_decay": 5e-4, "augment": False,
    },
    "resnet18-cifar": {
        "model": "resnet18", "subset": None, "epochs": 40, "warmup": 8, "ramp": 12,
        "batch_size": 128, "lr": 0.05, "weight_decay": 5e-4, "augment": True,
    },
}  # fmt: skip
# The paper's level is that of the ImageNet stem. How long, and how augmented? Named by that: epochs, augmentation.
# `calibrate` says which comes near it in an hour of one core (notebooks/results/calibrate.csv): 30 epochs with crops
# and flips. 100 epochs, as in KlemenVovk/noisy-labels, are long enough to memorise, and want a GPU.
RECIPES |= {
    f"resnet18-{epochs}-{name}": {
        "model": "resnet18-imagenet", "subset": None, "epochs": epochs, "warmup": epochs // 5,
        "ramp": 3 * epochs // 10, "batch_size": 256, "lr": 0.05, "weight_decay": 5e-4, "augment": augment,
        "precision": "float32",  # as on a CPU, so that a GPU changes no more than the rounding
    }
    for epochs, name, augment in ((24, "flip", "flip"), (30, "crop", True), (100, "crop", True))
}  # fmt: skip

# The network and the images of `cpu`, and less or more time before the first exclusion.
RECIPES |= {
    f"small_cnn-warmup-{warmup}": RECIPES["small_cnn"] | {"warmup": warmup, "subset_by_seed": True}
    for warmup in (1, 2, 4)
}

# methods: groups, each made for every data set and seed before the next begins.
_CPU = tuple(name for name in METHODS if name != "standard, averaged weights")
PRESETS = {
    "smoke": {"datasets": ("cifar10n-worse",), "recipes": ("smoke",), "methods": (tuple(METHODS),), "seeds": (0,)},
    "cpu": {
        "datasets": ("cifar10n-worse", "cifar100n", "cifar10n-aggre"),
        "recipes": ("small_cnn",), "methods": (_CPU,), "seeds": (0, 1, 2),
    },
    "calibrate": {
        "datasets": ("cifar100n", "cifar10n-aggre"),
        "recipes": ("resnet18-24-flip", "resnet18-30-crop"),
        "methods": (("standard", "oracle by clean labels"),), "seeds": (0,),
    },
    "paper": {
        "datasets": ("cifar100n", "cifar10n-aggre"), "recipes": ("resnet18-30-crop",), "seeds": (0, 1, 2),
        "methods": (
            PAPERS,
            ("loss truncation, warm-up", "standard, early-stopped", "standard, averaged weights",
             "Step-E, moving average", "random exclusion"),
        ),
    },
    "paper-long": {
        "datasets": ("cifar100n",), "recipes": ("resnet18-100-crop",), "methods": (PAPERS,), "seeds": (0, 1, 2),
    },
    "cifar-stem": {
        "datasets": ("cifar100n", "cifar10n-aggre", "cifar10n-worse"),
        "recipes": ("resnet18-cifar",), "methods": (tuple(METHODS),), "seeds": (0, 1, 2),
    },
    "cifar-ramp": {
        "datasets": ("cifar10n-worse", "cifar100n"), "seeds": (0, 1, 2),
        "recipes": tuple(name for name in RECIPES if name.startswith("small_cnn-warmup")),
        "methods": (("loss truncation, warm-up", "Step-E, half the ramp", "Step-E"),),
    },
}  # fmt: skip

# Test accuracy in %, as text: W. Du, arXiv 2511.17040, abstract. ResNet-18, three seeds; "oracle" is not defined there.
PAPER = {
    "cifar100n": {"standard": "43.3 ± 0.7", "Step-E": "50.4 ± 0.9", "oracle by clean labels": "60.5 ± 0.2"},
    "cifar10n-aggre": {"standard": "83.9", "Step-E": "85.3", "oracle by clean labels": "85.9"},
}


def runs_of(preset):
    """Every run of a preset, as a list of (data set, recipe, method, seed), in the order in which they are made."""
    chosen = PRESETS[check_choice("preset", preset, PRESETS)]
    return [
        (dataset, recipe, method, seed)
        for group in chosen["methods"]
        for dataset in chosen["datasets"]
        for seed in chosen["seeds"]
        for method in group
        for recipe in chosen["recipes"]
    ]
