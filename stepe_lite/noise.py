"""Models of label noise, and the measurement of it.

A noise model is made here and applied by `Dataset.with_noise(model, seed)`; it sees training data only. Rates are
stated with the own class excluded: `symmetric(0.4)` gives 40 % wrong labels. (Where a text allows a flip back to the
own class, its rate r means r − r/k wrong labels for k classes.)
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch

from .utils import BadInput, as_tensor, check_choice, check_fraction, check_positive, check_whole, seed_for

_MOST_CLASSES = 10_000  # a matrix of k × k takes 800 MB then


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
    check_fraction("rate", rate)

    def flip(labels, images, k, generator):
        at = _chosen(len(labels), rate, generator)
        shift = torch.randint(1, k, (len(at),), generator=generator)
        return labels.index_put((at,), (labels[at] + shift) % k)

    return NoiseModel(f"symmetric({rate})", flip)


def pair_flip(rate):
    """Exactly round(rate · n) labels become the next class: 0 → 1, 1 → 2, …, k − 1 → 0."""
    check_fraction("rate", rate)

    def flip(labels, images, k, generator):
        at = _chosen(len(labels), rate, generator)
        return labels.index_put((at,), (labels[at] + 1) % k)

    return NoiseModel(f"pair_flip({rate})", flip)


def asymmetric(matrix, name=None):
    """Labels follow a transition matrix: `matrix` (k, k), row = clean class, column = given class, rows sum to 1.

    The samples of each class are dealt out by largest remainders, so every count is within 1 of the matrix. `name` is
    how the model prints; None = "asymmetric" with its mean rate.
    """
    matrix = as_tensor("matrix", matrix, torch.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise BadInput(f"matrix has shape {tuple(matrix.shape)}, but must be square (k, k).")
    if not (matrix >= 0).all() or not torch.allclose(matrix.sum(1), torch.ones(len(matrix), dtype=matrix.dtype)):
        raise BadInput("matrix must have entries of at least 0 and rows that sum to 1.")
    matrix = matrix / matrix.sum(1, keepdim=True)  # exactly 1, or a large class is dealt one sample too many

    def flip(labels, images, k, generator):
        if k != len(matrix):
            raise BadInput(f"matrix is for {len(matrix)} classes, but the data set has {k}.")
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


def uneven_classes(k, rate, spread, *, zeros=0.0, seed=0):
    """A random transition matrix, float64 tensor (k, k): every class has its own noise rate and its own confusions.

    Use it as `asymmetric(uneven_classes(10, 0.4, 0.2, seed=1))`; another seed is another matrix. After the generator of
    random noise matrices in cleanlab (Northcutt, Jiang & Chuang, "Confident Learning", JAIR 2021), which fixes the
    trace and draws the rest from Dirichlet distributions. Here the rates are drawn from a beta distribution, so that
    their spread can be chosen, too; their places among the other classes are Dirichlet(1, …, 1), as there.

    rate : mean of the classes' noise rates, own class excluded, in [0, 1); met exactly
    spread : standard deviation of the rates between classes, at least 0 and below sqrt(rate · (1 − rate)); met within
        a tenth or so for 10 classes, better for more. 0 = the same rate for all
    zeros : each class is never mistaken for this share of the other classes, rounded; at least one of them is left

    Every rate is below 1, but one above ½ leaves a class that most of its samples are not called by. Nothing keeps a
    matrix from that: people's errors have such classes, too (some of CIFAR-100N's are).
    """
    from scipy.stats import beta

    check_whole("k", k, least=2, most=_MOST_CLASSES)
    check_fraction("rate", rate)
    check_positive("spread", spread, zero_ok=True)
    check_fraction("zeros", zeros)
    widest = (rate * (1 - rate)) ** 0.5
    if spread and spread >= widest:
        raise BadInput(f"spread is {spread!r}, but must be below {widest:.3g} = sqrt(rate · (1 − rate)).")
    random = np.random.default_rng(seed_for("uneven classes", seed))
    rates = np.full(k, float(rate))
    if spread > 1e-9:  # below it, the quantiles are not numbers any more
        strength = (widest / max(spread, 1e-6 * widest)) ** 2 - 1  # scipy has no quantiles beyond
        ranks = (random.permutation(k) + random.random(k)) / k  # one rate from each k-th of the distribution
        rates = beta.ppf(ranks, rate * strength, (1 - rate) * strength).clip(max=1 - 1e-6)
        mean = rates.mean()  # to the wanted mean by shrinking all rates, or all kept shares: both stay in [0, 1]
        rates = rates * rate / mean if mean > rate else 1 - (1 - rates) * (1 - rate) / (1 - mean)
    matrix = np.diag(1 - rates)
    left = max(1, k - 1 - round(zeros * (k - 1)))
    for clean in range(k):
        others = random.permutation(np.delete(np.arange(k), clean))[:left]
        matrix[clean, others] = rates[clean] * random.dirichlet(np.ones(left))
    return torch.from_numpy(matrix)


def instance_dependent(rate):
    """Noise that depends on the image: Algorithm 2 of Xia et al., "Part-dependent Label Noise", NeurIPS 2020.

    Each image draws its own flip rate from a normal distribution (mean `rate`, standard deviation 0.1) cut to [0, 1];
    a random linear map per class, applied to the pixels, says which other classes it is mistaken for. The measured
    rate is near `rate`, not exactly it; below 0.2 the cut at 0 makes it larger (0.1 gives about 0.13). We standardise
    the pixels first; the paper leaves the scaling open.
    """
    check_fraction("rate", rate)

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


def transition_matrix(clean, given, k):
    """Measured noise: float64 tensor (k, k), row = clean class, column = given class, each row a share of its class.

    `clean`, `given`: int (n,) in [0, k). The row of a class without samples is NaN.
    """
    clean, given = as_tensor("clean", clean), as_tensor("given", given)
    check_whole("k", k, least=1, most=_MOST_CLASSES)
    for name, labels in (("clean", clean), ("given", given)):
        if labels.shape != clean.shape or labels.ndim != 1:
            raise BadInput(f"{name} has shape {tuple(labels.shape)}, but must be (n,) with the n of clean.")
        if (
            labels.is_floating_point()
            or labels.is_complex()
            or (len(labels) and not 0 <= labels.min() <= labels.max() < k)
        ):
            raise BadInput(f"{name} must hold whole numbers from 0 to {k - 1}.")
    counts = torch.bincount(clean.long() * k + given.long(), minlength=k * k).reshape(k, k).double()
    return counts / counts.sum(1, keepdim=True)


def cifar10n(name):
    """The noise that people made on CIFAR-10: the measured matrix of "aggre", "random1|2|3" or "worse", (10, 10).

    Counted from the label files of Wei et al., "Learning with Noisy Labels Revisited", ICLR 2022 (CC BY-NC 4.0): of
    5,000 training images a class, how many were given each label. Use it as `asymmetric(cifar10n("worse"))`; no
    download is needed. Class order: airplane, automobile, bird, cat, deer, dog, frog, horse, ship, truck.
    """
    counts = _CIFAR10N[check_choice("name", name, _CIFAR10N)]
    return torch.tensor([[int(c) for c in row.split()] for row in counts.splitlines()], dtype=torch.float64) / 5000


def _chosen(n, rate, generator):
    return torch.randperm(n, generator=generator)[: round(rate * n)]


# Rows: clean class; columns: given class; counts out of 5,000.
_CIFAR10N = {
    "aggre": """\
4715   28   73    2    4    1    2    1  159   15
52 4740    1    2    0    0    0    1   23  181
80   62 4655   32   42   28   34    8   44   15
99   86  219 4126   32  287   44    8   49   50
91   82  188   75 4156  104   24  188   56   36
52   38  107  258   21 4460    7   20   19   18
64   54  133  100   43   26 4501    0   54   25
31   13   27   23   50   57    0 4776   17    6
52   40    4    3    1    0    3    0 4869   28
78  366    0    0    0    0    1    1   57 4497""",
    "random1": """\
4242  137  147   43   34   47   41   32  204   73
71 4233   23   44   29   23   25   24   43  485
107   76 4200  107  136  101  115   76   50   32
79   76  220 3715   94  542  120   79   36   39
74   76  149   96 3800  252   93  385   44   31
70   54  118  409   83 4117   50   63   19   17
75   70  193  179   98  113 4135   60   50   27
74   59   37   45  103  118   36 4475   31   22
149  148   36   31   35   30   33   34 4397  107
80  629   23   25   33   40   27   27   47 4069""",
    "random2": """\
4211  129  186   35   42   41   47   30  203   76
79 4156   30   59   39   34   26   32   28  517
118   88 4174  113  134  115  105   65   46   42
94   87  209 3689  112  526  133   54   45   51
104   76  156   90 3762  253   99  373   51   36
75   59  109  429   89 4032   66   81   24   36
69   81  194  156  103  136 4128   60   45   28
72   45   61   51  113  143   45 4412   39   19
169  148   45   29   42   40   24   44 4367   92
83  628   35   43   43   35   26   32   67 4008""",
    "random3": """\
4242  138  163   38   42   50   36   36  193   62
91 4214   33   55   30   31   23   25   20  478
106   76 4213   92  126  108  132   70   51   26
92   72  198 3722  115  509  135   61   52   44
85   67  194   96 3709  291  103  387   42   26
62   57  124  404   82 4099   59   60   28   25
87   79  170  169  115  125 4127   55   44   29
74   45   45   39  101  140   52 4458   26   20
155  160   45   28   36   35   32   47 4366   96
93  610   38   55   33   38   23   26   54 4030""",
    "worse": """\
3251  328  359   96   97  114   94   83  423  155
215 2961   76  132   87   77   68   68   79 1237
277  183 3160  229  297  238  249  166  118   83
198  172  396 2436  213 1028  235  119  106   97
197  163  350  201 2441  532  195  758  105   58
165  141  264  915  202 2901  137  147   61   67
190  191  420  379  254  288 2968  143  102   65
199  140  121  110  256  309  115 3608   87   55
409  364  109   72  105   93   82  109 3417  240
208 1410   87  103   88   88   60   72  131 2753""",
}
