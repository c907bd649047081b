"""Models of label noise, and the measurement of it.

A noise model is made here and applied by `Dataset.with_noise(model, seed)`; it sees training data only. Rates are
stated with the own class excluded: `symmetric(0.4)` gives 40 % wrong labels. (Where a text allows a flip back to the
own class, its rate r means r − r/k wrong labels for k classes.) The matrices for `asymmetric` are in `transitions`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch

from . import validate
from .transitions import cifar10n, transition_matrix, uneven_classes

__all__ = [
    "NoiseModel", "asymmetric", "cifar10n", "instance_dependent", "pair_flip", "symmetric", "transition_matrix",
    "uneven_classes",
]  # fmt: skip


@dataclass(frozen=True, eq=False)
class NoiseModel:
    """A named way of making labels wrong: `model(labels, images, k, generator) -> labels`, all of them new tensors.

    `labels` int64 (n,), `images` uint8 (n, c, h, w), `k` classes, `generator` a seeded torch.Generator.
    """

    name: str
    flip: Callable = field(repr=False)

    def __call__(self, labels, images, k, generator):
        return self.flip(labels, images, k, generator)

    def __repr__(self):
        return self.name


def symmetric(rate):
    """Exactly round(rate · n) labels become one of the k − 1 other classes, each equally likely."""
    validate.fraction("rate", rate)

    def flip(labels, images, k, generator):
        at = _chosen(len(labels), rate, generator)
        shift = torch.randint(1, k, (len(at),), generator=generator)
        return labels.index_put((at,), (labels[at] + shift) % k)

    return NoiseModel(f"symmetric({rate})", flip)


def pair_flip(rate):
    """Exactly round(rate · n) labels become the next class: 0 → 1, 1 → 2, …, k − 1 → 0."""
    validate.fraction("rate", rate)

    def flip(labels, images, k, generator):
        at = _chosen(len(labels), rate, generator)
        return labels.index_put((at,), (labels[at] + 1) % k)

    return NoiseModel(f"pair_flip({rate})", flip)


def asymmetric(matrix, name=None):
    """Labels follow a transition matrix: `matrix` (k, k), row = clean class, column = given class, rows sum to 1.

    The samples of each class are dealt out by largest remainders, so every count is within 1 of the matrix. `name` is
    how the model prints; None = "asymmetric" with its mean rate.
    """
    matrix = torch.as_tensor(np.asarray(matrix), dtype=torch.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"matrix has shape {tuple(matrix.shape)}, but must be square (k, k).")
    if not (matrix >= 0).all() or not torch.allclose(matrix.sum(1), torch.ones(len(matrix), dtype=matrix.dtype)):
        raise ValueError("matrix must have entries of at least 0 and rows that sum to 1.")
    matrix = matrix / matrix.sum(1, keepdim=True)  # exactly 1, or a large class is dealt one sample too many

    def flip(labels, images, k, generator):
        if k != len(matrix):
            raise ValueError(f"matrix is for {len(matrix)} classes, but the data set has {k}.")
        given = labels.clone()
        for clean in range(k):
            members = (labels == clean).nonzero().squeeze(1)
            share = matrix[clean] * len(members)
            counts = share.floor().long()
            counts[(share - counts).argsort(descending=True, stable=True)[: len(members) - counts.sum()]] += 1
            order = torch.randperm(len(members), generator=generator)
            given[members[order]] = torch.arange(k).repeat_interleave(counts)
        return given

    return NoiseModel(name or f"asymmetric({1 - matrix.diag().mean():.3g})", flip)


def instance_dependent(rate):
    """Noise that depends on the image: Algorithm 2 of Xia et al., "Part-dependent Label Noise", NeurIPS 2020.

    Each image draws its own flip rate from a normal distribution (mean `rate`, standard deviation 0.1) cut to [0, 1];
    a random linear map per class, applied to the pixels, says which other classes it is mistaken for. The measured
    rate is near `rate`, not exactly it; below 0.2 the cut at 0 makes it larger (0.1 gives about 0.13). We standardise
    the pixels first; the paper leaves the scaling open.
    """
    validate.fraction("rate", rate)

    def flip(labels, images, k, generator):
        if rate == 0:
            return labels.clone()
        n, pixels = len(labels), images.flatten(1).float()
        pixels = (pixels - pixels.mean()) / pixels.std().clamp(min=1)
        rates = torch.nn.init.trunc_normal_(torch.empty(n), rate, 0.1, 0.0, 1.0, generator=generator)
        given = labels.clone()
        for clean in range(k):  # a class at a time: the map of 100 CIFAR classes at once would need 120 MB
            members = (labels == clean).nonzero().squeeze(1)
            towards = pixels[members] @ torch.randn(pixels.shape[1], k, generator=generator)
            towards[:, clean] = -torch.inf
            chances = rates[members, None] * towards.softmax(1)
            chances[:, clean] = 1 - rates[members]
            if len(members):
                given[members] = torch.multinomial(chances, 1, generator=generator).squeeze(1)
        return given

    return NoiseModel(f"instance_dependent({rate})", flip)


def _chosen(n, rate, generator):
    return torch.randperm(n, generator=generator)[: round(rate * n)]
