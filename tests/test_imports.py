"""`import stepe_lite` needs torch, numpy and pandas alone; training on arrays of one's own also tqdm, its bar."""

import importlib
import subprocess
import sys

LATER = (
    "matplotlib", "seaborn", "IPython", "ipywidgets", "papermill", "sklearn", "scipy", "torchvision", "nbformat",
    "pooch", "platformdirs", "cleanlab", "click",
)  # fmt: skip

BLOCK = f"""
import sys
from importlib.machinery import ModuleSpec

class Block:
    def find_spec(self, name, path=None, target=None):
        return ModuleSpec(name, self) if name.split(".")[0] in {LATER} else None

    def create_module(self, spec):
        raise ImportError(spec.name + " is blocked")

    def exec_module(self, module):
        pass

sys.meta_path.insert(0, Block())
"""

TRAIN = """
import numpy as np
from stepe_lite import Dataset, StepE, fit, schedules
rng = np.random.default_rng(0)
data = Dataset.from_arrays(rng.integers(0, 256, (20, 1, 4, 4), dtype=np.uint8), np.arange(20) % 2)
print(fit(data, "mlp", StepE(schedules.constant(0.4)), epochs=2, batch_size=20, progress=False))
"""


def run(code):
    return subprocess.run([sys.executable, "-c", BLOCK + code], capture_output=True, text=True, timeout=200)


def test_importing_and_training_work_without_the_packages_that_only_some_functions_use():
    done = run(TRAIN)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("History(StepE(")


# Where each public name is imported from.
NAMES = {
    "datasets": "Dataset load names",
    "noise": "symmetric pair_flip asymmetric instance_dependent transition_matrix",
    "schedules": "constant linear cosine exponential staircase",
    "rules": "Everything StepE LossTruncation SelfPaced OneShotFilter RandomExclusion KeepOnly",
    "ledger": "Ledger",
    "training": "fit History",
    "models": "mlp small_cnn resnet18",
    "peers": "co_teaching confident_learning loss_mixture",
    "losses": "GeneralizedCrossEntropy",
    "course": "claim run",
    "cli": "main",
}


def test_public_names_are_where_the_readme_and_the_notebooks_look_for_them():
    for module, names in NAMES.items():
        there = importlib.import_module(f"stepe_lite.{module}")
        assert [name for name in names.split() if not hasattr(there, name)] == [], module


def test_the_block_blocks():
    assert "click is blocked" in run("import click").stderr
