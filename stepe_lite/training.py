"""The one training loop. Every method that selects samples is a rule in it, so a comparison changes one thing only."""

import io
import math
import time
from pathlib import Path

import pandas as pd
import torch

from . import analysis, devices, fingerprint, seeding, validate
from .atomic import written_beside
from .batches import Images
from .dataset import Dataset
from .history import History
from .learner import DEFAULT_LR, LR_SCHEDULES, OPTIMIZERS, Learner
from .ledger import Ledger

COLUMNS = (
    "train_loss", "test_accuracy", "validation_accuracy", "excluded_fraction", "precision", "recall",
    "backward_samples", "forward_samples", "steps", "seconds",
)  # fmt: skip


class TrainingDiverged(RuntimeError):
    """The training loss became NaN or infinite. `history` holds the epochs before."""

    def __init__(self, message, history):
        super().__init__(message)
        self.history = history


def fit(
    data,
    model,
    rule,
    *,
    epochs=None,
    steps=None,
    batch_size=128,
    lr=None,
    optimizer="sgd",
    lr_schedule="cosine",
    weight_decay=5e-4,
    seed=0,
    device="auto",
    augment=False,
    rescore_every=1,
    validation=None,
    checkpoint=None,
    progress=True,
):
    """Train `model` on `data` under `rule` and return its History.

    Excluded samples cost no backward pass; they are re-scored by a forward pass every `rescore_every` epochs. Samples
    are ranked by the losses recorded while training on them, without the extra cost of a ranking pass.

    Parameters
    ----------
    data : Dataset; `data.labels` is what is trained on, clean labels serve the log alone
    model : "mlp", "small_cnn", "resnet18", "resnet18-imagenet", an nn.Module (trained in place) or a function
    rule : see `rules`
    epochs, steps : train for so many epochs (default 60), or for so many optimiser steps in however many epochs
    batch_size : largest batch; an epoch is cut into batches of nearly equal size
    lr : learning rate; default 0.05 for "sgd" (Nesterov momentum 0.9), 0.001 for "adam"
    lr_schedule : "cosine" (to 0 over the run) or "constant"
    seed : initial weights, order of samples and augmentation; the same seed gives the same result bit for bit
    device : "auto" (a CUDA GPU if there is one), "cpu", "cuda", … On a GPU: bfloat16 autocast and channels_last.
    augment : random shift and flip of every training image, see `crop_and_flip`
    validation : a held-out Dataset, see `Dataset.split_validation`; only logged
    checkpoint : a file to write after every epoch. If it exists, the run goes on from it, to the identical result.
    progress : show a progress bar

    Raises ValueError or OSError for bad arguments before any work starts, TrainingDiverged if the loss is not finite.
    """
    from tqdm.auto import tqdm

    if checkpoint is not None:
        checkpoint = Path(checkpoint).expanduser()
        validate.folder("the folder of checkpoint", checkpoint.parent)
        if checkpoint.is_dir():
            raise ValueError(f"checkpoint is {str(checkpoint)!r}, which is a folder, but must be a file.")
        if not hasattr(rule, "__dataclass_fields__"):
            raise ValueError(
                f"checkpoint needs a rule that prints as what it is, such as StepE, not {fingerprint.rule(rule)}."
            )
    run = _Run(
        data, model, rule, epochs=epochs, steps=steps, batch_size=batch_size, lr=lr, optimizer=optimizer,
        lr_schedule=lr_schedule, weight_decay=weight_decay, seed=seed, device=device, augment=augment,
        rescore_every=rescore_every, validation=validation,
    )  # fmt: skip
    if checkpoint is not None and checkpoint.exists():
        run.resume(checkpoint)
    unit = "step" if run.by_steps else "epoch"
    bar = tqdm(total=run.length, initial=run.done, unit=unit, disable=not progress, leave=False)
    with devices.isolated(run.learner.device, run.learner.threads), bar:
        while run.done < run.length:
            run.one_epoch()
            if checkpoint is not None:
                run.write(checkpoint)
            bar.set_postfix_str(f"test accuracy {run.log[-1]['test_accuracy']:.3f}", refresh=False)
            bar.update(run.done - bar.n)
    return run.history()


class _Run:
    """One training run: a learner, a ledger, and the position in the run, which is the length of the log."""

    def __init__(self, data, model, rule, *, epochs, steps, batch_size, lr, optimizer, lr_schedule, weight_decay, seed,
                 device, augment, rescore_every, validation):  # fmt: skip
        validate.choice("optimizer", optimizer, OPTIMIZERS)
        validate.choice("lr_schedule", lr_schedule, LR_SCHEDULES)
        if epochs is not None and steps is not None:
            raise ValueError(f"epochs is {epochs} and steps is {steps}, but only one of them can be given.")
        if not isinstance(data, Dataset):
            raise ValueError(f"data is {data!r}, but must be a Dataset, such as load('digits').")
        if validation is not None and not isinstance(validation, Dataset):
            raise ValueError(f"validation is {validation!r}, but must be a Dataset, see Dataset.split_validation.")
        if validation is not None and validation.images.shape[1:] != data.images.shape[1:]:
            raise ValueError(f"validation holds images {tuple(validation.images.shape[1:])}, but data another shape.")
        if not callable(rule) or isinstance(rule, type):
            raise ValueError(f"rule is {rule!r}, but must be a rule such as StepE(schedules.linear(5, 15, 0.4)).")
        self.by_steps = steps is not None
        name, length = ("steps", steps) if self.by_steps else ("epochs", 60 if epochs is None else epochs)
        self.length = validate.whole(name, length, least=1)
        self.batch_size = validate.whole("batch_size", batch_size, least=1, most=len(data))
        self.seed = validate.whole("seed", seed)
        final = getattr(getattr(rule, "schedule", rule), "final", getattr(rule, "fraction", 0))
        if round(final * len(data)) >= len(data):
            raise ValueError(f"final is {final}, which would exclude all {len(data)} samples; choose a smaller one.")
        settings = {
            "lr": DEFAULT_LR[optimizer] if lr is None else validate.positive("lr", lr),
            "weight_decay": validate.positive("weight_decay", weight_decay, zero_ok=True),
            "optimizer": optimizer,
            "lr_schedule": lr_schedule,
            "augment": bool(augment),
        }
        device = devices.find(device)

        rule = rule.for_labels(data.labels) if hasattr(rule, "for_labels") else rule
        self.ledger = Ledger(len(data), rule, rescore_every=rescore_every, device=device)
        self.restart_epoch = getattr(rule, "restart_epoch", None)
        with devices.isolated(device):
            torch.manual_seed(seeding.number("model", self.seed))
            self.learner = Learner(data, model, device, **settings)
        like = self.learner.images
        self.test = Images(data.test_images, device, like), data.test_labels.to(device)
        self.validation = validation and (Images(validation.images, device, like), validation.labels.to(device))
        self.mislabeled = None if data.clean_labels is None else data.is_mislabeled.to(device)
        self.log, self.config = [], {
            "data": data.name, "n": len(data), "data_digest": fingerprint.data(data),
            "rule": fingerprint.rule(rule),
            "model": model if isinstance(model, str) else type(self.learner.net).__name__,
            "network_digest": fingerprint.network(self.learner.net), name: self.length,
            "batch_size": self.batch_size, **settings,
            "seed": self.seed, "device": str(device), "rescore_every": self.ledger.rescore_every,
            "validation_digest": validation and fingerprint.data(validation), "torch": str(torch.__version__),
        }  # fmt: skip

    @property
    def done(self):
        """How many epochs, or steps, are over: of `length`."""
        return sum(row["steps"] for row in self.log) if self.by_steps else len(self.log)

    def one_epoch(self):
        epoch = len(self.log)
        # Each epoch has its own seed, so that a resumed run needs no saved generator.
        torch.manual_seed(seeding.number("epoch", self.seed, epoch))
        if epoch == self.restart_epoch:
            self.learner.restart(self.done / self.length)
        started = time.perf_counter()
        excluded = self.ledger.weights < 0.5
        row = self.train()
        if not math.isfinite(row["train_loss"]):
            message = f"the training loss is {row['train_loss']} at epoch {epoch}: try a smaller learning rate."
            raise TrainingDiverged(message, self.history())
        row["forward_samples"] = self.ledger.end_epoch(score=self.learner.score)
        row["seconds"] = time.perf_counter() - started
        row["test_accuracy"] = self.learner.accuracy(*self.test)
        row["validation_accuracy"] = self.learner.accuracy(*self.validation) if self.validation else math.nan
        row["excluded_fraction"] = excluded.float().mean().item()
        row["precision"], row["recall"] = analysis.precision_recall(excluded, self.mislabeled)
        self.log.append(row)

    def train(self):
        """One pass over the kept samples."""
        self.learner.net.train()
        kept = self.ledger.kept
        order = kept[torch.randperm(len(kept)).to(kept.device)]
        # Nearly equal batches: a last batch of one sample would be a wild step, and BatchNorm refuses it.
        batches = order.tensor_split(math.ceil(len(kept) / self.batch_size))
        an_epoch = len(batches)
        if self.by_steps:
            batches = batches[: self.length - self.done]
        total, samples = 0, 0
        for step, index in enumerate(batches):
            done = (self.done + (step if self.by_steps else step / an_epoch)) / self.length
            loss = self.learner.step(index, self.ledger.weights[index], done)
            self.ledger.record(index, loss)
            total, samples = total + loss.sum(), samples + len(index)
        return {"train_loss": total.item() / samples, "backward_samples": samples, "steps": len(batches)}

    def history(self):
        log = pd.DataFrame(self.log, columns=COLUMNS).rename_axis("epoch")
        weights = self.ledger.weight_history.cpu()
        return History(self.ledger.losses.cpu(), weights, log, self.config, self.learner.net)

    def write(self, path):
        state = {"learner": self.learner.state_dict(), "ledger": self.ledger.state_dict()}
        buffer = io.BytesIO()  # torch.save to a full disk raises a RuntimeError of its own; write_bytes an OSError
        torch.save(state | {"config": self.config, "log": self.log}, buffer)
        with written_beside(path) as partial:
            partial.write_bytes(buffer.getvalue())

    def resume(self, path):
        try:
            state = torch.load(path, map_location=self.learner.device, weights_only=True)
            theirs = state["config"]
        except Exception as error:  # a damaged file raises half a dozen unrelated types
            raise ValueError(f"checkpoint is {str(path)!r}, which is not a whole checkpoint: delete it.") from error
        keys = [key for key in {**self.config, **theirs} if self.config.get(key) != theirs.get(key)]
        if keys:
            different = "; ".join(f"{key} {theirs.get(key)!r}, not {self.config.get(key)!r}" for key in keys)
            raise ValueError(f"checkpoint {str(path)!r} is of another configuration: {different}.")
        self.learner.load_state_dict(state["learner"])
        self.ledger.load_state_dict(state["ledger"])
        self.log = state["log"]
