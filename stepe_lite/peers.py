"""Methods that are more than a rule, or that need more than the losses so far."""

import copy
import time
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch

from . import seeding, validate
from .analysis import logits
from .rules import Everything, StepE
from .schedules import linear
from .training import fit


def loss_mixture(losses):
    """Split samples by their losses (n,) alone: a mixture of two normal distributions, fitted by scikit-learn.

    Arazo et al., "Unsupervised Label Noise Modeling and Loss Correction", ICML 2019, use two beta distributions; the
    normal ones, on losses scaled to [0, 1], are those of Li et al., "DivideMix", ICLR 2020.

    Returns (fraction, posterior): the share of samples that rather belong to the distribution of higher mean, an
    estimate of the noise rate that needs no clean label; and its probability for each sample, float32 (n,).
    Raises ValueError for losses that are not finite, or fewer than 2.
    """
    from sklearn.mixture import GaussianMixture

    losses = torch.as_tensor(losses, dtype=torch.float32).cpu()
    if losses.ndim != 1 or len(losses) < 2 or not torch.isfinite(losses).all():
        raise ValueError(f"losses has shape {tuple(losses.shape)}, but must be (n,), finite, with n at least 2.")
    low, high = losses.min(), losses.max()
    if low == high:
        return 0.0, torch.zeros(len(losses))
    scaled = ((losses - low) / (high - low)).numpy()[:, None]
    mixture = GaussianMixture(2, reg_covar=5e-4, random_state=0).fit(scaled)
    posterior = torch.from_numpy(mixture.predict_proba(scaled)[:, mixture.means_[:, 0].argmax()]).float()
    return (posterior > 0.5).float().mean().item(), posterior


def estimate_fraction(data, model, *, warmup, seed=0, **settings):
    """Estimate the noise rate of `data` without clean labels: train on everything for `warmup` epochs, then mix.

    The losses recorded in the last of these epochs go to `loss_mixture`. `data`, `model`, `seed`, `settings` : as for
    `fit`; an nn.Module is trained in place. Returns the fraction, a float in [0, 1).

    How far off it is, on digits after 5 epochs (means over 3 seeds): symmetric noise of 0.1 to 0.4 comes out 0.03 to
    0.05 too high. It breaks
    - where wrong labels agree with each other and are soon learned: a pair flip of 0.4 is taken for 0.2, and
      instance-dependent noise of 0.4 for anything from 0.2 to 0.45;
    - where there is no noise: the two humps are then easy and hard samples, and 0.08 are called wrong;
    - after a warm-up too short for the classes to be learned: after 1 epoch it says 0.65 to 0.9, whatever the noise.
    """
    settings = {"progress": False, **settings, "epochs": validate.whole("warmup", warmup, least=1), "seed": seed}
    return loss_mixture(fit(data, model, Everything(), **settings).losses[-1])[0]


@dataclass(frozen=True)
class EstimatedStepE:
    """Step-E that estimates its final fraction: by `loss_mixture`, from the losses of the last epoch of the warm-up.

    `warmup` (at least 1), `ramp` in epochs, as for `schedules.linear`. No clean label is used.
    """

    warmup: int
    ramp: int

    def __post_init__(self):
        validate.whole("warmup", self.warmup, least=1)
        validate.whole("ramp", self.ramp)

    def __call__(self, losses, epoch):
        if epoch < self.warmup or len(losses) < self.warmup:
            return StepE(linear(self.warmup, self.ramp, final=0.0))(losses, epoch)
        final, _ = loss_mixture(losses[self.warmup - 1])
        return StepE(linear(self.warmup, self.ramp, final))(losses, epoch)


class ConfidentLearning(NamedTuple):
    """What `confident_learning` found.

    issues : bool (n,), the samples whose given label is probably wrong
    probabilities : float32 (n, k), what a network that never saw the sample says about it
    seconds : wall time of everything, the trainings included
    """

    issues: torch.Tensor
    probabilities: torch.Tensor
    seconds: float


def confident_learning(data, model, *, folds=5, seed=0, **settings):
    """Find wrong labels by confident learning (Northcutt, Jiang & Chuang, JAIR 2021) through cleanlab.

    The samples are dealt into `folds` parts, each given class evenly. For each part, `model` is trained on all the
    others and asked about this one. cleanlab compares these out-of-sample probabilities with the given labels; how many
    labels are wrong is its own estimate. Clean labels are not used.

    `data` : Dataset; `model`, `settings` : as for `fit`, an nn.Module is copied for each fold; `seed` : the deal and
    the trainings. Returns a ConfidentLearning. Raises ValueError if a class has fewer samples than there are folds.
    """
    from cleanlab.filter import find_label_issues

    started = time.perf_counter()
    probabilities = torch.zeros(len(data), len(data.classes))
    for train, held_out in _folds(data.labels, folds, seed):
        part = replace(
            data, images=data.images[train], labels=data.labels[train], clean_labels=None, name=f"{data.name} fold",
            test_images=data.test_images[:0], test_labels=data.test_labels[:0],
        )  # fmt: skip
        fresh = copy.deepcopy(model) if isinstance(model, torch.nn.Module) else model
        history = fit(part, fresh, Everything(), seed=seed, **{"progress": False, **settings})
        probabilities[held_out] = logits(history.model, data.images[held_out], like=part.images).softmax(1)
    # n_jobs=1: at this size a pool of processes costs more than it saves
    issues = find_label_issues(data.labels.numpy(), probabilities.numpy(), n_jobs=1)
    return ConfidentLearning(torch.as_tensor(issues), probabilities, time.perf_counter() - started)


def _folds(labels, folds, seed):
    """(training, held-out) indices for each fold; the samples of each given class are spread evenly over the folds."""
    from sklearn.model_selection import StratifiedKFold

    validate.whole("folds", folds, least=2)
    fewest = int(torch.bincount(labels).min())
    if fewest < folds:
        raise ValueError(f"folds is {folds}, but a class has only {fewest} sample(s), and each fold needs one.")
    deal = StratifiedKFold(folds, shuffle=True, random_state=seeding.number("folds", seed))
    for train, held_out in deal.split(labels, labels):
        yield torch.as_tensor(train), torch.as_tensor(held_out)
