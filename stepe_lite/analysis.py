"""Who was excluded, was it right, and what kind of error was it?

Tables of a Dataset and the History of a run on it. Where the clean labels are unknown, what needs them raises
ValueError; `logits` and `margins` never need them.
"""

import math

import numpy as np
import pandas as pd
import torch

from .learner import Images, check_data, in_parts
from .rules import as_losses, check_rule
from .utils import BadInput, as_tensor, check_whole


def precision_recall(excluded, is_mislabeled):
    """Precision (mislabeled among excluded) and recall (excluded among mislabeled) of an exclusion.

    `excluded`, `is_mislabeled` : bool (n,). NaN where undefined, or where `is_mislabeled` is None: unknown.
    """
    if is_mislabeled is None:
        return math.nan, math.nan
    excluded = _mask("excluded", excluded)
    is_mislabeled = _mask("is_mislabeled", is_mislabeled, len(excluded))
    caught, out, wrong = (x.sum().item() for x in (excluded & is_mislabeled, excluded, is_mislabeled))
    return caught / out if out else math.nan, caught / wrong if wrong else math.nan


def ceilings(final, noise_rate):
    """The highest possible (precision, recall) where a share `final` is excluded and `noise_rate` is mislabeled."""
    return min(1, noise_rate / final), min(1, final / noise_rate)


def replay(rule, losses):
    """The weights that `rule` gives at every epoch to recorded `losses` (epochs, n): float32 (epochs, n).

    On the losses of a run with this very rule they are the weights of that run. On those of another run they are a
    "what if" and no training: there, no loss reacts to the exclusion.
    """
    losses = as_losses(losses)
    check_rule(rule)
    return torch.stack([rule(losses[:epoch], epoch) for epoch in range(len(losses))]) if len(losses) else losses


def outcome(weights, is_mislabeled):
    """A row an epoch of what `weights` (epochs, n) do to samples of which those in `is_mislabeled` bool (n,) are wrong.

    A sample is excluded where its weight is below 0.5. Columns:
    clean, mislabeled : excluded samples that are rightly and wrongly labelled, as shares of all samples
    precision, recall : mislabeled among excluded, excluded among mislabeled; NaN where undefined
    weight_clean, weight_mislabeled : mean weights; NaN where there is no such sample
    """
    weights = as_losses(weights, "weights")
    excluded, is_mislabeled = weights < 0.5, _mask("is_mislabeled", is_mislabeled, weights.shape[1])
    rows = [
        {
            "clean": (out & ~is_mislabeled).double().mean().item(),
            "mislabeled": (out & is_mislabeled).double().mean().item(),
            **dict(zip(("precision", "recall"), precision_recall(out, is_mislabeled))),
            "weight_clean": row[~is_mislabeled].double().mean().item(),
            "weight_mislabeled": row[is_mislabeled].double().mean().item(),
        }
        for row, out in zip(weights, excluded)
    ]
    return pd.DataFrame(rows).rename_axis("epoch")


def first_exclusion(excluded):
    """The first epoch (0-based) without each sample: int64 (n,); −1 = it was never out. `excluded` bool (epochs, n)."""
    return torch.where(excluded.any(0), excluded.int().argmax(0), -1)


def never_back(excluded, start):
    """Of the samples excluded at the last epoch, the share that was excluded at every epoch from `start` on.

    `excluded` bool (epochs, n). NaN if none is excluded at the last epoch.
    """
    out = excluded[-1].sum().item()
    return excluded[start:].all(0).sum().item() / out if out else math.nan


def sample_table(data, history):
    """One row a sample: what happened to it during the run.

    given, clean : class names, `clean` only where the clean labels are known
    is_mislabeled : bool, likewise
    outcome : likewise, at the last epoch: a mislabeled sample is "caught" or "missed", a clean one "kept" or "lost"
    excluded : bool, at the last epoch
    first_excluded : the first epoch (0-based) that did without it, −1 = it was never excluded
    came_back : how many times it was excluded at one epoch and trained on at the next
    flip_flops : how many times it was excluded *again* after it had come back
    last_loss : nats, after the last epoch
    mean_loss : nats, mean over all epochs
    """
    _check_same_samples(data, history)
    if len(history.losses) == 0:
        raise BadInput("history has no finished epoch, so there is nothing to tell of any sample.")
    excluded, names = history.excluded.numpy(), np.asarray(data.classes)
    before = np.vstack([np.zeros_like(excluded[:1]), excluded[:-1]])  # nobody is excluded before the first epoch
    table = {"given": names[data.labels]}
    if data.clean_labels is not None:
        wrong = data.is_mislabeled.numpy()
        outcome = np.select([wrong & excluded[-1], wrong, excluded[-1]], ["caught", "missed", "lost"], "kept")
        table |= {"clean": names[data.clean_labels], "is_mislabeled": wrong, "outcome": outcome}
    table |= {
        "excluded": excluded[-1],
        "first_excluded": first_exclusion(history.excluded).numpy(),
        "came_back": (before & ~excluded).sum(0),
        "flip_flops": np.maximum((~before & excluded).sum(0) - 1, 0),
        "last_loss": history.losses[-1].numpy(),
        "mean_loss": history.losses.mean(0).numpy(),
    }
    return pd.DataFrame(table).rename_axis("sample")


def by_class(data, excluded):
    """One row a *given* class, for `excluded` bool (n,), such as `history.excluded[-1]`.

    samples, mislabeled, excluded : counts
    precision, recall : of the exclusion, within the class; NaN where undefined
    retention : share of its rightly labelled samples that are kept
    """
    check_data(data)
    excluded, wrong = _mask("excluded", excluded, len(data)), data.is_mislabeled
    rows = []
    for label in range(len(data.classes)):
        out, bad = excluded[data.labels == label], wrong[data.labels == label]
        precision, recall = precision_recall(out, bad)
        retention = (~out[~bad]).double().mean().item()  # the mean of nothing is NaN
        rows.append((len(out), bad.sum().item(), out.sum().item(), precision, recall, retention))
    columns = ["samples", "mislabeled", "excluded", "precision", "recall", "retention"]
    return pd.DataFrame(rows, columns=columns, index=pd.Index(data.classes, name="given"))


def by_pair(data, excluded):
    """One row an error that occurs, clean → given: how many such samples there are and how many were caught.

    `excluded` bool (n,). Columns mislabeled, caught, missed (counts) and recall; the most missed first.
    """
    check_data(data)
    excluded, wrong = _mask("excluded", excluded, len(data)), data.is_mislabeled.numpy()
    names = np.asarray(data.classes)
    errors = pd.DataFrame({
        "clean": names[data.clean_labels][wrong], "given": names[data.labels][wrong], "caught": excluded.numpy()[wrong],
    })  # fmt: skip
    pairs = errors.groupby(["clean", "given"]).caught.agg(mislabeled="size", caught="sum")
    pairs["missed"] = pairs.mislabeled - pairs.caught
    pairs["recall"] = pairs.caught / pairs.mislabeled
    return pairs.sort_values("missed", ascending=False, kind="stable")


def detection_curves(scores, is_mislabeled):
    """How well scores rank the mislabeled samples first, whatever the threshold.

    `scores` : dict name -> numbers (n,), higher = more suspicious; `is_mislabeled` bool (n,).
    Returns (table, curves): a DataFrame with the columns `average_precision` and `roc_auc`, a row a score; and a dict
    name -> {"precision", "recall", "false_alarms", "caught"}, arrays along the threshold: precision against recall, and
    the ROC curve's axes, the shares of the clean and of the mislabeled samples above it.
    Raises ValueError if there is no mislabeled or no clean sample, or if a score is not finite.
    """
    from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

    if not isinstance(scores, dict):
        raise BadInput(f"scores is {scores!r}, but must be a dict name -> numbers (n,).")
    wrong = _mask("is_mislabeled", is_mislabeled).numpy()
    if wrong.all() or not wrong.any():
        raise BadInput("is_mislabeled is the same for all samples, but both kinds are needed to tell them apart.")
    rows, curves = {}, {}
    for name, score in scores.items():
        score = as_tensor(f"scores[{name!r}]", score).numpy()
        if score.shape != wrong.shape or not np.isfinite(score).all():
            raise BadInput(f"scores[{name!r}] has shape {score.shape}, but must be {wrong.shape}, all of it finite.")
        rows[name] = average_precision_score(wrong, score), roc_auc_score(wrong, score)
        precision, recall, _ = precision_recall_curve(wrong, score)
        false_alarms, caught, _ = roc_curve(wrong, score)
        curves[name] = {"precision": precision, "recall": recall, "false_alarms": false_alarms, "caught": caught}
    return pd.DataFrame.from_dict(rows, orient="index", columns=["average_precision", "roc_auc"]), curves


def logits(model, images, like, batch_size=1024):
    """What `model` says about `images`: float32 (n, k) on the CPU, evaluation mode, no augmentation.

    `images` uint8 (n, c, h, w); `like` uint8, the images that `model` was trained on: they give the normalisation.
    """
    if not isinstance(model, torch.nn.Module):
        raise BadInput(f"model is {model!r}, but must be a network, such as history.model after fit.")
    for name, value in (("images", images), ("like", like)):
        if getattr(value, "dtype", None) != torch.uint8 or value.ndim != 4:
            raise BadInput(f"{name} must be a uint8 tensor (n, c, h, w), such as data.images.")
    check_whole("batch_size", batch_size, least=1)
    device = next(model.parameters()).device
    batches = Images(images, device, Images(like, device))
    index = torch.arange(len(images), device=device)
    return in_parts(model, lambda part: model(batches[part]).float().cpu(), index, batch_size)


def margins(model, data):
    """Margin of each given label, float32 (n,): its logit minus the highest logit of any other class.

    Negative = the network would rather say another class. `model` must have been trained on the images of `data`.
    """
    check_data(data)
    return margin(logits(model, data.images, data.images), data.labels)


def margin(logits, labels):
    """The logit of each given label minus the highest logit of any other class: float (n,).

    logits : float (n, k); labels : int64 (n,)
    """
    given = labels[:, None]
    return logits.gather(1, given)[:, 0] - logits.scatter(1, given, -torch.inf).amax(1)


def _mask(name, mask, n=None):
    mask = as_tensor(name, mask)
    if mask.dtype != torch.bool or mask.shape != (mask.numel() if n is None else n,):
        like = "(n,)" if n is None else f"({n},)"
        shape = f"{mask.dtype} {tuple(mask.shape)}"
        raise BadInput(f"{name} is {shape}, but must be bool {like}, such as history.excluded[-1].")
    return mask


def _check_same_samples(data, history):
    check_data(data)
    if getattr(history, "losses", None) is None:
        raise BadInput(f"history is {history!r}, but must be what fit returns.")
    if history.losses.shape[1] != len(data):
        raise BadInput(f"history is of {history.losses.shape[1]} samples, but data has {len(data)}.")
