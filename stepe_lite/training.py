"""The one training loop. Every method that selects samples is a rule in it, so a comparison changes one thing only."""

import math
import time

import pandas as pd
import torch

from .distributed import check_alone
from .history import COLUMNS, Checkpoint, History, Measure, data_digest, describe, printed
from .learner import DEFAULT_EPOCHS, Learner, Settings, check_data, find_device, isolated, seed_torch, takes_settings
from .ledger import Ledger
from .rules import check_keeps_some, check_rule
from .utils import check_flag, seed_for

__all__ = ["History", "Settings", "TrainingDiverged", "fit"]


class TrainingDiverged(RuntimeError):
    """The training loss became NaN or infinite. `history` holds the epochs before."""

    def __init__(self, message, history=None):  # None: on its way from another process it is made anew from args
        super().__init__(message)
        self.history = history


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

    check_alone("fit trains on", "in a loop of your own use Ledger(n, rule, group=…), see the README")
    settings = Settings(**settings)
    check_data(data, validation), check_flag("progress", progress), check_rule(rule)
    # Nobody knows yet how many epochs so many steps are.
    check_keeps_some(rule, len(data), 0 if settings.steps else settings.epochs or DEFAULT_EPOCHS, "samples")
    rule = rule.for_labels(data.labels) if hasattr(rule, "for_labels") else rule
    keeper = None if checkpoint is None else Checkpoint(checkpoint, rule, settings.loss)
    ledger = Ledger(len(data), rule, rescore_every=settings.rescore_every, device=find_device(settings.device))
    learner = Learner(data, model, settings)
    settings = learner.settings
    config = describe(data, model, learner, printed(rule))
    config["validation_digest"] = validation and data_digest(validation)
    log = keeper.restore(config, learner, ledger) if keeper else []
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
            seed_torch(learner.device, seed_for("epoch", settings.seed, epoch))
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
    losses = [
        learner.step(index, ledger.weights[index], (done + (step if by_steps else step / an_epoch)) / length)
        for step, index in enumerate(batches)
    ]
    index, losses = torch.cat(batches), torch.cat(losses)
    ledger.record(index, losses)
    return {"train_loss": losses.mean().item(), "backward_samples": len(index), "steps": len(batches)}
