"""The one training loop. Every method that selects samples is a rule in it, so a comparison changes one thing only."""

import inspect
import math
import time

import pandas as pd
import torch

from . import analysis
from .datasets import Dataset
from .history import COLUMNS, Checkpoint, History, data_digest, network_digest, printed
from .learner import Images, Learner, Settings, find_device, isolated
from .ledger import Ledger
from .schedules import Schedule
from .utils import BadInput, check_fraction, seed_for

__all__ = ["History", "Settings", "TrainingDiverged", "fit"]


class TrainingDiverged(RuntimeError):
    """The training loss became NaN or infinite. `history` holds the epochs before."""

    def __init__(self, message, history):
        super().__init__(message)
        self.history = history


def takes_settings(function):
    """Let `function(…, **settings)` show the fields of `Settings` as its arguments, in help and on the Tab key."""
    own = [p for p in inspect.signature(function).parameters.values() if p.kind is not p.VAR_KEYWORD]
    function.__signature__ = inspect.Signature([*own, *inspect.signature(Settings).parameters.values()])
    return function


@takes_settings
def fit(data, model, rule, *, validation=None, checkpoint=None, progress=True, **settings):
    """Train `model` on `data` under `rule` and return its History.

    What the rule gives weight 0 costs no backward pass; it is re-scored by a forward pass every `rescore_every` epochs.
    Samples are ranked by the losses recorded while training on them, without the extra cost of a ranking pass.

    Parameters
    ----------
    data : Dataset; `data.labels` is what is trained on, clean labels serve the log alone
    model : "mlp", "small_cnn", "resnet18", "resnet18-imagenet", an nn.Module (trained in place) or a function
    rule : see `rules`
    validation : a held-out Dataset, see `Dataset.split_validation`; only logged
    checkpoint : a file to write after every epoch. If it exists, the run goes on from it, to the identical result.
    progress : show a progress bar
    settings : epochs or steps, batch_size, lr, optimizer, seed, … as for `learner.Settings`

    Raises ValueError or OSError for bad arguments before any work starts, TrainingDiverged if the loss is not finite.
    """
    from tqdm.auto import tqdm

    settings = Settings(**settings)
    check_arguments(data, validation)
    # Nobody knows yet how many epochs so many steps are.
    check_keeps_some(rule, len(data), 0 if settings.steps else settings.epochs or 60, "samples")
    rule = rule.for_labels(data.labels) if hasattr(rule, "for_labels") and not isinstance(rule, type) else rule
    keeper = checkpoint and Checkpoint(checkpoint, rule, settings.loss)
    ledger = Ledger(len(data), rule, rescore_every=settings.rescore_every, device=find_device(settings.device))
    learner = Learner(data, model, settings)
    settings = learner.settings
    log, config = [], describe(data, model, learner, printed(rule))
    config["validation_digest"] = validation and data_digest(validation)
    if keeper and (state := keeper.read(config, learner.net, learner.device)):
        learner.load_state_dict(state["learner"])
        ledger.load_state_dict(state["ledger"])
        log = state["log"]
    measure = Measure(data, validation, learner)

    def history():
        table = pd.DataFrame(log, columns=COLUMNS).rename_axis("epoch")
        return History(ledger.losses.cpu(), ledger.weight_history.cpu(), table, config, learner.net)

    name, length = ("epoch", settings.epochs) if settings.steps is None else ("step", settings.steps)
    done = len(log) if settings.steps is None else sum(row["steps"] for row in log)
    bar = tqdm(total=length, initial=done, unit=name, disable=not progress, leave=False)
    with isolated(learner.device, settings.threads), bar:
        while done < length:
            epoch, started = len(log), time.perf_counter()
            # Each epoch has its own seed, so that a resumed run needs no saved generator.
            torch.manual_seed(seed_for("epoch", settings.seed, epoch))
            if epoch == getattr(rule, "restart_epoch", None):
                learner.restart(done / length)
            row = train_epoch(learner, ledger, done, length)
            if not math.isfinite(row["train_loss"]):
                message = f"the training loss is {row['train_loss']} at epoch {epoch}: try a smaller learning rate."
                raise TrainingDiverged(message, history())
            done += 1 if settings.steps is None else row["steps"]
            weights = ledger.weights
            row["forward_samples"] = ledger.end_epoch(learner.score, size=learner.at_once, last=done >= length)
            learner.end_epoch(done / length)
            row["seconds"] = time.perf_counter() - started
            log.append(row | measure(weights))
            if keeper:
                keeper.write({"learner": learner.state_dict(), "ledger": ledger.state_dict(), "log": log})
            bar.set_postfix_str(f"test accuracy {log[-1]['test_accuracy']:.3f}", refresh=False)
            bar.update(done - bar.n)
    learner.net.eval()
    return history()


def train_epoch(learner, ledger, done, length):
    """One pass over the samples with a weight, cut short where the steps end: the first entries of the epoch's row.

    `done` of `length` : epochs, or steps where `learner.settings.steps` is given.
    """
    by_steps = learner.settings.steps is not None
    batches = ledger.batches(learner.settings.batch_size).parts()
    an_epoch = len(batches)
    if by_steps:
        batches = batches[: length - done]
    total, samples = 0, 0
    for step, index in enumerate(batches):
        share = (done + (step if by_steps else step / an_epoch)) / length
        loss = learner.step(index, ledger.weights[index], share)
        ledger.record(index, loss)
        total, samples = total + loss.sum(), samples + len(index)
    return {"train_loss": total.item() / samples, "backward_samples": samples, "steps": len(batches)}


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
        "data": data.name, "n": len(data), "data_digest": data_digest(data), "rule": rule,
        "model": model if isinstance(model, str) else type(learner.net).__name__,
        "network_digest": network_digest(learner.net), **learner.settings.as_config(), "torch": str(torch.__version__),
    }  # fmt: skip


def check_arguments(data, validation=None):
    """Raise ValueError unless `data` is a Dataset, and `validation` None or one with images of the same shape."""
    for name, given in (("data", data), ("validation", validation)):
        if not isinstance(given, Dataset) and (name == "data" or given is not None):
            raise BadInput(f"{name} is {given!r}, but must be a Dataset, such as load('digits').")
    if validation is not None and validation.images.shape[1:] != data.images.shape[1:]:
        raise BadInput(f"validation holds images {tuple(validation.images.shape[1:])}, but data another shape.")


def check_keeps_some(rule, n, epochs, what):
    """Raise ValueError if `rule` would exclude all of `n` `what` in one of its `epochs`, as far as its fields tell.

    A schedule does as well as a rule.
    """
    schedule = getattr(rule, "schedule", rule if isinstance(rule, Schedule) else None)
    values = {"fraction": getattr(rule, "fraction", 0), "final": getattr(schedule, "final", 0)}
    if callable(schedule):
        values |= {f"schedule({epoch})": schedule(epoch) for epoch in range(min(epochs, 10_000))}
    for name, value in values.items():
        if round(check_fraction(name, value) * n) >= n:
            raise BadInput(f"{name} is {value}, which would exclude all {n} {what}; choose a smaller one.")
