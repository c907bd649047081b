"""What a training run leaves behind."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from .atomic import written_beside


@dataclass(eq=False, repr=False)
class History:
    """The record of one run of `fit`.

    losses : float32 (epochs, n), the last known loss of every sample after each epoch
    weights : float32 (epochs, n), the weights that each epoch was trained with; 0 = excluded
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
        path = Path(path).expanduser()
        text = {"log": json.dumps(self.log.to_dict("list")), "config": json.dumps(self.config)}
        with written_beside(path) as partial, open(partial, "wb") as file:
            np.savez_compressed(file, losses=self.losses.numpy(), weights=self.weights.numpy(), **text)

    @classmethod
    def load(cls, path):
        """Read what `save` wrote. Raises FileNotFoundError, or ValueError if `path` is not such a file."""
        try:
            with np.load(Path(path).expanduser(), allow_pickle=False) as file:
                losses, weights = torch.from_numpy(file["losses"]), torch.from_numpy(file["weights"])
                log, config = json.loads(str(file["log"])), json.loads(str(file["config"]))
        except FileNotFoundError:
            raise
        except Exception as error:  # a damaged zip file raises half a dozen unrelated types
            raise ValueError(f"path is {str(path)!r}, which is not a whole file written by History.save.") from error
        return cls(losses, weights, pd.DataFrame(log).rename_axis("epoch"), config)
