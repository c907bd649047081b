"""What a training run leaves behind: its record, and while it runs its checkpoint."""

import hashlib
import io
import json
import math
import re
import weakref
from dataclasses import dataclass, fields, is_dataclass

import numpy as np
import pandas as pd
import torch

from . import analysis
from .learner import Images
from .utils import BadInput, check_file, check_folder, expand, written_beside

COLUMNS = (
    "train_loss", "test_accuracy", "validation_accuracy", "excluded_fraction", "precision", "recall",
    "backward_samples", "forward_samples", "steps", "seconds",
)  # fmt: skip


@dataclass(eq=False, repr=False)
class History:
    """The record of one run of `fit`.

    losses : float32 (epochs, n), the last known loss of every sample after each epoch
    weights : float32 (epochs, n), the weights that each epoch was trained with; 0 = not trained on
    log : DataFrame, a row an epoch:
        train_loss : mean loss of the samples trained on
        test_accuracy, validation_accuracy : in [0, 1], after the epoch; NaN without such a set. Validation is noisy.
        excluded_fraction : share of samples with a weight below 0.5
        precision, recall : mislabeled among excluded, excluded among mislabeled; NaN where undefined or unknown
        backward_samples, forward_samples : trained on, and only re-scored
        steps : optimiser steps
        seconds : training, re-scoring and ranking, without the accuracies
    config : dict of all that determines the run
    model : the trained network; None after `load`
    """

    losses: torch.Tensor
    weights: torch.Tensor
    log: pd.DataFrame
    config: dict
    model: torch.nn.Module | None = None

    def __repr__(self):
        last = f", last test accuracy {self.log.test_accuracy.iloc[-1]:.3f}" if len(self.log) else ""
        return f"History({self.config['rule']} on {self.config['data']}, {len(self.log)} epochs{last})"

    @property
    def excluded(self):
        """bool (epochs, n): weight below 0.5, which for a hard rule is weight 0."""
        return self.weights < 0.5

    def save(self, path):
        """Write losses, weights, log and config to one .npz file at `path` (the model is not in it)."""
        text = {"log": json.dumps(self.log.to_dict("list")), "config": json.dumps(self.config)}
        with written_beside(path) as partial, open(partial, "wb") as file:
            np.savez_compressed(file, losses=self.losses.numpy(), weights=self.weights.numpy(), **text)

    @classmethod
    def load(cls, path):
        """Read what `save` wrote. Raises FileNotFoundError, or ValueError if `path` is not such a file."""
        path = expand("path", path)
        try:
            with np.load(path, allow_pickle=False) as file:
                losses, weights = torch.from_numpy(file["losses"]), torch.from_numpy(file["weights"])
                log, config = json.loads(str(file["log"])), json.loads(str(file["config"]))
            log = pd.DataFrame(log, columns=COLUMNS).rename_axis("epoch")
            if not (losses.shape == weights.shape == (len(log), losses.shape[1]) and {"rule", "data"} <= set(config)):
                raise BadInput("its parts do not fit together")
        except FileNotFoundError:
            raise
        except Exception as error:  # a damaged zip file raises half a dozen unrelated types
            raise BadInput(f"path is {str(path)!r}, which is not a whole file written by History.save.") from error
        return cls(losses, weights, log, config)


class Measure:
    """The second half of an epoch's row: what the network does on the test set, and whom the weights exclude."""

    def __init__(self, data, validation, learner):
        device, like = learner.device, learner.images
        self.learner = learner
        self.test = Images(data.test_images, device, like), data.test_labels.to(device)
        self.validation = validation and (Images(validation.images, device, like), validation.labels.to(device))
        self.mislabeled = None if data.clean_labels is None else data.is_mislabeled.to(device)

    def __call__(self, weights):
        excluded = weights < 0.5
        precision, recall = analysis.precision_recall(excluded, self.mislabeled)
        return {
            "test_accuracy": self.learner.accuracy(*self.test),
            "validation_accuracy": self.learner.accuracy(*self.validation) if self.validation else math.nan,
            "excluded_fraction": excluded.float().mean().item(),
            "precision": precision,
            "recall": recall,
        }


def describe(data, model, learner, rule):
    """The config of a History: everything that determines the run, as plain values."""
    return {
        "data": data.name, "n": len(data), "shape": list(data.images.shape[1:]), "data_digest": data_digest(data),
        "rule": rule, "model": str(model) if isinstance(model, str) else type(learner.net).__name__,
        "network_digest": network_digest(learner.net), **learner.settings.as_config(), "torch": str(torch.__version__),
    }  # fmt: skip


def data_digest(dataset):
    """What tells two Datasets apart: all images and labels, also those that are only scored with."""
    digest = hashlib.sha256()
    for name in ("images", "labels", "clean_labels", "test_images", "test_labels"):
        part = getattr(dataset, name)
        digest.update(b"" if part is None else part.contiguous().numpy())
    return digest.hexdigest()[:16]


def network_digest(net):
    """What tells two networks apart: the architecture, and the present weights."""
    digest = hashlib.sha256(repr(net).encode())
    for name, value in net.state_dict().items():
        digest.update(name.encode() + value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def printed(thing):
    """How a rule or a loss prints, without the address that plain objects print: it differs in every process."""
    return re.sub(r" at 0x[0-9a-f]+", "", repr(thing))


def identity(name, thing):
    """Text that is the same for equal values alone: of dataclasses, tensors and plain values, all that is in them.

    Raises ValueError for anything else, a function say, or a class made within one, which may hold what the function
    was given: two of them can print alike and be different.
    """
    kind = type(thing)
    if is_dataclass(thing) and kind is not type and "<locals>" not in kind.__qualname__:
        held = {field.name: getattr(thing, field.name) for field in fields(thing)} | getattr(thing, "__dict__", {})
        parts = [f"{part}={identity(name, value)}" for part, value in held.items()]
        return f"{kind.__module__}.{kind.__qualname__}({', '.join(parts)})"
    if isinstance(thing, np.generic):
        thing = thing.item()
    if isinstance(thing, torch.Tensor | np.ndarray):
        array = np.ascontiguousarray(thing.detach().cpu().numpy() if isinstance(thing, torch.Tensor) else thing)
        if array.dtype != object:
            return f"array({array.dtype}, {array.shape}, {hashlib.sha256(array.tobytes()).hexdigest()})"
    if isinstance(thing, tuple | list):
        return f"{type(thing).__name__}({', '.join(identity(name, each) for each in thing)})"
    if isinstance(thing, dict):
        return f"dict({', '.join(f'{key!r}: {identity(name, each)}' for key, each in thing.items())})"
    if thing is None or type(thing) in (bool, int, float, str):
        return repr(thing)
    raise BadInput(
        f"checkpoint needs a {name} that can be told from every other, a dataclass of numbers such as StepE(…) or "
        f"losses.cross_entropy, not {printed(thing)}."
    )


# The weights that a network of the user's own had when a run began: afterwards it has others.
_STARTS = weakref.WeakKeyDictionary()


class StaleCheckpoint(BadInput):
    """The checkpoint is damaged, or of another configuration."""


class Checkpoint:
    """The file from which a run goes on, with all that tells this run from others: `config`, the rule, the loss."""

    def __init__(self, path, rule, loss):
        self.path = check_file("checkpoint", path)
        self.config = {"rule identity": identity("rule", rule), "loss identity": identity("loss", loss)}
        check_folder("the folder of checkpoint", self.path.parent)

    def write(self, state):
        """Put `state`, a dict of what torch.save takes, into the file, which is whole at any time."""
        buffer = io.BytesIO()  # torch.save to a full disk raises a RuntimeError of its own; write_bytes an OSError
        torch.save(state | {"config": self.config, "signature": self.signature}, buffer)
        with written_beside(self.path) as partial, open(partial, "wb") as file:
            # torch reads an archive without verifying its checksums, so there is one of our own.
            file.write(hashlib.sha256(buffer.getbuffer()).digest())
            file.write(buffer.getbuffer())

    def restore(self, config, learner, ledger):
        """Bring `learner` and `ledger` to where the file was written. Returns the log; without a file, an empty one.

        The network may be one that the interrupted run has trained already. Raises ValueError for a damaged file, or
        one of another run.
        """
        self.config |= config
        self.signature = learner.signature()
        starts = _STARTS.setdefault(learner.net, set())
        starts.add(config["network_digest"])
        if not self.path.exists():
            return []
        damaged = f"checkpoint is {str(self.path)!r}, which is not a whole checkpoint: delete it."
        content = memoryview(self.path.read_bytes())
        try:
            if hashlib.sha256(content[32:]).digest() != content[:32]:
                raise BadInput("its checksum is wrong")
            state = torch.load(io.BytesIO(content[32:]), map_location=learner.device, weights_only=True)
            theirs, signature = dict(state["config"]), state["signature"].cpu()
        except Exception as error:  # a damaged file raises half a dozen unrelated types
            raise StaleCheckpoint(damaged) from error
        if theirs.get("network_digest") in starts - {config["network_digest"]}:
            self.config["network_digest"], self.signature = theirs["network_digest"], signature
        keys = [key for key in {**self.config, **theirs} if self.config.get(key) != theirs.get(key)]
        if keys:
            different = "; ".join(f"{key} {theirs.get(key)!r}, not {self.config.get(key)!r}" for key in keys)
            raise StaleCheckpoint(f"checkpoint {str(self.path)!r} is of another configuration: {different}.")
        # Not to the bit, for another machine may go on.
        if not torch.allclose(signature, self.signature, rtol=1e-3, atol=1e-3, equal_nan=True):
            raise StaleCheckpoint(
                f"checkpoint {str(self.path)!r} is of another configuration: its model acts otherwise."
            )
        try:
            learner.load_state_dict(state["learner"])
            ledger.load_state_dict(state["ledger"])
            if len(state["log"]) != ledger.epoch or any(row.keys() != set(COLUMNS) for row in state["log"]):
                raise BadInput("its parts do not fit together")
        except (LookupError, TypeError, AttributeError, ValueError, RuntimeError) as error:  # of another version, say
            raise StaleCheckpoint(damaged) from error
        return state["log"]
