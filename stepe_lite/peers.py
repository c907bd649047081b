"""Methods that are more than a rule, or that need more than the losses so far."""

import copy
import math
import time
from dataclasses import dataclass, replace
from typing import NamedTuple

import pandas as pd
import torch

from .analysis import logits
from .history import COLUMNS, History, Measure, describe
from .learner import Learner, Settings, check_data, isolated, seed_torch, takes_settings
from .ranking import exclude_highest
from .rules import Everything, StepE, as_losses, check_keeps_some, check_schedule
from .schedules import linear
from .training import TrainingDiverged, fit
from .utils import BadInput, as_tensor, check_flag, check_whole, seed_for


def loss_mixture(losses):
    """Split samples by their losses (n,) alone: a mixture of two normal distributions, fitted by scikit-learn.

    Arazo et al., "Unsupervised Label Noise Modeling and Loss Correction", ICML 2019, use two beta distributions; the
    normal ones, on losses scaled to [0, 1], are those of Li et al., "DivideMix", ICLR 2020.

    Returns (fraction, posterior): the share of samples that rather belong to the distribution of higher mean, an
    estimate of the noise rate that needs no clean label; and its probability for each sample, float32 (n,).
    Raises ValueError for losses that are not finite, or fewer than 2.
    """
    from sklearn.mixture import GaussianMixture

    losses = as_tensor("losses", losses, torch.float32).cpu()
    if losses.ndim != 1 or len(losses) < 2 or not torch.isfinite(losses).all():
        raise BadInput(f"losses has shape {tuple(losses.shape)}, but must be (n,), finite, with n at least 2.")
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
    - after a warm-up too short for the classes to be learned: after 1 epoch it says 0.5 to 0.8, whatever the noise.
    """
    if "epochs" in settings:
        raise BadInput("epochs is given, but the training takes `warmup` epochs.")
    settings = {"progress": False, **settings, "epochs": check_whole("warmup", warmup, least=1), "seed": seed}
    return loss_mixture(fit(data, model, Everything(), **settings).losses[-1])[0]


@dataclass(frozen=True)
class EstimatedStepE:
    """Step-E that estimates its final fraction: by `loss_mixture`, from the losses of the last epoch of the warm-up.

    `warmup` (at least 1), `ramp` in epochs, as for `schedules.linear`. No clean label is used.
    """

    warmup: int
    ramp: int

    def __post_init__(self):
        check_whole("warmup", self.warmup, least=1)
        check_whole("ramp", self.ramp)

    def __call__(self, losses, epoch):
        losses = as_losses(losses)
        if check_whole("epoch", epoch) < self.warmup or len(losses) < self.warmup:
            return StepE(linear(self.warmup, self.ramp, final=0.0))(losses, epoch)
        known = losses[self.warmup - 1]
        final, _ = loss_mixture(known[torch.isfinite(known)])
        return StepE(linear(self.warmup, self.ramp, final))(losses, epoch)


@takes_settings
def co_teaching(data, model, schedule, *, progress=True, **settings):
    """Co-teaching (Han et al., NeurIPS 2018): two networks, each trained on what the *other* finds easy.

    In each batch, each network names the fraction `schedule(epoch)` of highest loss; the other one does not train on
    these. The authors' schedule is `schedules.linear(0, 10, noise_rate)`. The ranking is batch by batch, not over all
    samples, and it saves little: both networks make a forward pass on everything.

    `model` is a name, or a function that makes a network; `settings` as for `fit`, without steps and averages. Returns
    the History of the first network: its losses, and as weights what it trained on. `backward_samples` and
    `forward_samples` count both networks, `steps` those of one. Raises ValueError for bad arguments, TrainingDiverged
    if the loss is not finite.
    """
    from tqdm.auto import tqdm

    if isinstance(model, torch.nn.Module):
        raise BadInput("model is a network, but co-teaching needs two: pass a name, or a function that makes one.")
    settings = Settings(**settings)
    if settings.steps is not None or settings.average is not None:
        raise BadInput("steps and average are not there for co-teaching: pass epochs.")
    check_schedule(schedule), check_flag("progress", progress)
    check_data(data)
    first, second = Learner(data, model, settings), Learner(data, model, settings, purpose="second model")
    settings, n = first.settings, len(data)
    parts = -(-n // settings.batch_size)
    check_keeps_some(schedule, n // parts, settings.epochs, "samples of a batch")
    measure, losses, weights, log = Measure(data, None, first), [], [], []
    config = describe(data, model, first, f"co_teaching({schedule})")
    latest = torch.full((n,), torch.nan, device=first.device)

    def history():
        table = pd.DataFrame(log, columns=COLUMNS).rename_axis("epoch")
        rows = (torch.stack(each).cpu() if each else torch.empty(0, n) for each in (losses, weights))
        return History(*rows, table, config, first.net)

    with isolated(first.device, settings.threads):
        for epoch in tqdm(range(settings.epochs), unit="epoch", disable=not progress, leave=False):
            seed_torch(first.device, seed_for("epoch", settings.seed, epoch))
            started, fraction, total, kept = time.perf_counter(), schedule(epoch), 0, torch.zeros_like(latest)
            for step, index in enumerate(torch.randperm(n).to(first.device).tensor_split(parts)):
                mine, theirs = first.losses(index), second.losses(index)
                for_them, for_me = (exclude_highest(each.detach(), fraction) for each in (mine, theirs))
                done = (epoch + step / parts) / settings.epochs
                first.descend(mine, for_me / for_me.sum(), done)
                second.descend(theirs, for_them / for_them.sum(), done)
                latest[index], kept[index] = mine.detach(), for_me
                total += mine.detach()[for_me > 0].sum()
            trained = int(kept.sum())
            counts = {"backward_samples": 2 * trained, "forward_samples": 2 * (n - trained), "steps": parts}
            if not math.isfinite(total.item()):
                message = f"the training loss is {total.item()} at epoch {epoch}: try a smaller learning rate."
                raise TrainingDiverged(message, history())
            row = {"train_loss": total.item() / trained, "seconds": time.perf_counter() - started} | counts
            log.append(row | measure(kept))
            losses.append(latest.clone())
            weights.append(kept)
    first.net.eval()
    return history()


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

    check_whole("folds", folds, least=2)
    fewest = int(torch.bincount(labels).min())
    if fewest < folds:
        raise BadInput(f"folds is {folds}, but a class has only {fewest} sample(s), and each fold needs one.")
    deal = StratifiedKFold(folds, shuffle=True, random_state=seed_for("folds", seed))
    for train, held_out in deal.split(labels, labels):
        yield torch.as_tensor(train), torch.as_tensor(held_out)
