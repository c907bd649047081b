"""What the grids of the experiments consist of, as plain data.

A run is one (data set, recipe, method, seed). A recipe says how to train, the same for every method; a preset says
which runs to make. Warm-up and ramp are ours: a fifth of the epochs before any exclusion, then three tenths to the
final fraction. Nothing in a recipe was chosen by looking at Step-E.

The recipes of "paper" stand as they were written down, not yet measured. What the paper leaves open in them is to be
settled by "calibrate", which trains no method that selects samples: take the recipe whose standard training and
clean-label oracle come nearest to the figures in `PAPER`, and keep its table.
"""

from . import validate

# Settings of `fit`, and: subset = so many samples of the training set, the same for every seed; warmup, ramp in epochs.
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
RECIPES |= {
    f"resnet18-{epochs}-{name}": {
        "model": "resnet18-imagenet", "subset": None, "epochs": epochs, "warmup": epochs // 5,
        "ramp": 3 * epochs // 10, "batch_size": 256, "lr": 0.05, "weight_decay": 5e-4, "augment": augment,
    }
    for epochs, name, augment in ((24, "flip", "flip"), (30, "crop", True))
}  # fmt: skip

METHODS = (
    "standard",
    "standard, early-stopped",
    "standard, equal steps",
    "loss truncation",
    "loss truncation, warm-up",
    "self-paced",
    "one-shot",
    "Step-E",
    "Step-E, estimated fraction",
    "Step-E, half the ramp",
    "Step-E, moving average",
    "Step-E, soft",
    "Step-E, per class",
    "random exclusion",
    "oracle by removal",
    "oracle by clean labels",
)

PRESETS = {
    "smoke": {"datasets": ("cifar10n-worse",), "recipes": ("smoke",), "methods": METHODS, "seeds": (0,)},
    "cpu": {
        "datasets": ("cifar10n-worse", "cifar100n", "cifar10n-aggre"),
        "recipes": ("small_cnn",), "methods": METHODS, "seeds": (0, 1, 2),
    },
    "calibrate": {
        "datasets": ("cifar100n", "cifar10n-aggre"),
        "recipes": tuple(name for name in RECIPES if RECIPES[name]["model"] == "resnet18-imagenet"),
        "methods": ("standard", "oracle by clean labels"), "seeds": (0,),
    },
    "paper": {
        "datasets": ("cifar100n", "cifar10n-aggre"),
        "recipes": ("resnet18-24-flip",), "methods": METHODS, "seeds": (0, 1, 2),
    },
    "gpu": {
        "datasets": ("cifar100n", "cifar10n-aggre", "cifar10n-worse"),
        "recipes": ("resnet18-cifar",), "methods": METHODS, "seeds": (0, 1, 2),
    },
}  # fmt: skip

# Test accuracy in %, as text: W. Du, arXiv 2511.17040, abstract. ResNet-18, three seeds; "oracle" is not defined there.
PAPER = {
    "cifar100n": {"standard": "43.3 ± 0.7", "Step-E": "50.4 ± 0.9", "oracle by clean labels": "60.5 ± 0.2"},
    "cifar10n-aggre": {"standard": "83.9", "Step-E": "85.3", "oracle by clean labels": "85.9"},
}


def runs_of(preset):
    """Every run of a preset, as a list of (data set, recipe, method, seed), in the order in which they are made."""
    chosen = PRESETS[validate.choice("preset", preset, PRESETS)]
    return [
        (dataset, recipe, method, seed)
        for dataset in chosen["datasets"]
        for seed in chosen["seeds"]
        for method in chosen["methods"]
        for recipe in chosen["recipes"]
    ]
