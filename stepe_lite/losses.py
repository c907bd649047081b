"""Losses: from logits (b, k) and labels int64 (b,) to one loss a sample, (b,). `fit(…, loss=…)` takes any of these.

Cross-entropy grows without bound as a network comes to disbelieve a label, so a wrong label that resists gets the
largest gradient. A bounded loss stops pulling at labels that the network finds impossible.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from .utils import BadInput, check_fraction, check_positive


@dataclass(frozen=True)
class CrossEntropy:
    """−log p of the given label, in nats. `smoothing` in [0, 1) spreads that share of the label over all classes."""

    smoothing: float = 0.0

    def __post_init__(self):
        check_fraction("smoothing", self.smoothing)

    def __call__(self, logits, labels):
        return F.cross_entropy(logits, labels, reduction="none", label_smoothing=self.smoothing)


cross_entropy = CrossEntropy()


@dataclass(frozen=True)
class GeneralizedCrossEntropy:
    """(1 − p^q) / q, between cross-entropy (q → 0) and the mean absolute error (q = 1); at most 1 / q.

    Zhang & Sabuncu, "Generalized Cross Entropy Loss for Training Deep Neural Networks with Noisy Labels", NeurIPS 2018,
    who take q = 0.7. `q` above 0, at most 1.
    """

    q: float = 0.7

    def __post_init__(self):
        if check_positive("q", self.q) > 1:
            raise BadInput(f"q is {self.q!r}, but must be a number above 0 and at most 1.")

    def __call__(self, logits, labels):
        log_p = -F.cross_entropy(logits, labels, reduction="none")
        return (1 - (self.q * log_p).exp()) / self.q


def check(loss):
    """Return `loss` if it can be called, or raise ValueError."""
    if not callable(loss) or isinstance(loss, type):
        raise BadInput(f"loss is {loss!r}, but must be a function such as losses.cross_entropy.")
    return loss


def check_result(loss, result, n):
    """Raise ValueError unless `result`, what `loss` gives for n samples, is one number a sample, with a gradient."""
    shape = tuple(result.shape) if isinstance(result, torch.Tensor) else type(result).__name__
    if shape != (n,):
        raise BadInput(
            f'loss gives {shape} for {n} samples, but must give one loss a sample, ({n},): reduction="none".'
        )
    if not result.requires_grad:
        raise BadInput("loss gives numbers without a gradient, so that nothing can be learned: is there a detach()?")
