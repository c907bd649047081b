"""The one training loop. Every method that selects samples is a rule in it, so a comparison changes one thing only."""

import copy
import hashlib
import math
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F

from . import models, validate
from .batches import Images, crop_and_flip
from .history import History, written_beside
from .ledger import Ledger

OPTIMIZERS = {
    "sgd": lambda parameters, lr, decay: torch.optim.SGD(parameters, lr, momentum=0.9, nesterov=True, weight_decay=decay),
    "adam": lambda parameters, lr, decay: torch.optim.Adam(parameters, lr, weight_decay=decay),
}
DEFAULT_LR = {"sgd": 0.05, "adam": 0.001}


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
    model : "mlp", "small_cnn", "resnet18", "resnet18-imagenet", an nn.Module (trained in place) or a function giving one
    rule : see `rules`
    epochs, steps : train for so many epochs (default 60), or for so many optimiser steps, however many epochs that takes
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
    run = _Run(**locals())
    if checkpoint is not None and Path(checkpoint).exists():
        run.resume(checkpoint)
    with _isolated_randomness(run.device), _progress(run, progress) as bar:
        while not run.finished:
            run.one_epoch()
            if checkpoint is not None:
                run.write(checkpoint)
            bar.set_postfix_str(f"test accuracy {run.log[-1]['test_accuracy']:.3f}", refresh=False)
            bar.update(run.log[-1]["steps"] if run.steps else 1)
    return run.history()


class _Run:
    """The parts of one training run and its position in it."""

    def __init__(self, data, model, rule, epochs, steps, batch_size, lr, optimizer, lr_schedule, weight_decay, seed,
                 device, augment, rescore_every, validation, checkpoint, progress):  # fmt: skip
        validate.choice("optimizer", optimizer, OPTIMIZERS)
        validate.choice("lr_schedule", lr_schedule, ("cosine", "constant"))
        if epochs is not None and steps is not None:
            raise ValueError(f"epochs is {epochs} and steps is {steps}, but only one of them can be given.")
        if not callable(rule):
            raise ValueError(f"rule is {rule!r}, but must be a rule such as StepE(schedules.linear(5, 15, 0.4)).")
        self.epochs = validate.whole("epochs", 60 if epochs is None else epochs, least=1) if steps is None else None
        self.steps = None if steps is None else validate.whole("steps", steps, least=1)
        self.batch_size = validate.whole("batch_size", batch_size, least=1, most=len(data))
        self.lr = DEFAULT_LR[optimizer] if lr is None else validate.positive("lr", lr)
        self.lr_schedule, self.weight_decay = lr_schedule, validate.positive("weight_decay", weight_decay, zero_ok=True)
        self.seed, self.augment, self.optimizer_name = validate.whole("seed", seed), bool(augment), optimizer
        if hasattr(rule, "schedule") and round(getattr(rule.schedule, "final", 0) * len(data)) >= len(data):
            raise ValueError(f"final is {rule.schedule.final}, which would exclude all {len(data)} samples.")
        if checkpoint is not None:
            validate.folder("the folder of checkpoint", Path(checkpoint).parent)
        self.device = _device(device)

        rule = rule.for_labels(data.labels) if hasattr(rule, "for_labels") else rule
        self.ledger = Ledger(len(data), rule, rescore_every=rescore_every, device=self.device)
        self.restart_epoch = getattr(rule, "restart_epoch", None)
        self.images, self.labels = Images(data.images, self.device), data.labels.to(self.device)
        self.mislabeled = None if data.clean_labels is None else data.is_mislabeled.to(self.device)
        self.test = Images(data.test_images, self.device, self.images), data.test_labels.to(self.device)
        self.validation = None
        if validation is not None:
            self.validation = Images(validation.images, self.device, self.images), validation.labels.to(self.device)
        with _isolated_randomness(self.device):
            torch.manual_seed(self.seed)
            self.net = models.build(model, data).to(self.device)
        if self.device.type == "cuda":
            self.net = self.net.to(memory_format=torch.channels_last)
        self.fresh = None if self.restart_epoch is None else copy.deepcopy(self.net.state_dict())
        self.begin()
        self.log, self.config = [], self.describe(data, model, rule, validation)

    def begin(self):
        """A new optimiser, and a learning-rate schedule that covers what is left of the run."""
        self.optimizer = OPTIMIZERS[self.optimizer_name](self.net.parameters(), self.lr, self.weight_decay)
        self.began_at = 0.0

    def describe(self, data, model, rule, validation):
        return {
            "data": data.name, "n": len(data), "data_digest": _digest(data), "rule": repr(rule),
            "model": model if isinstance(model, str) else type(self.net).__name__,
            "parameters": sum(p.numel() for p in self.net.parameters()),
            "epochs": self.epochs, "steps": self.steps, "batch_size": self.batch_size, "lr": self.lr,
            "optimizer": self.optimizer_name, "lr_schedule": self.lr_schedule, "weight_decay": self.weight_decay,
            "seed": self.seed, "device": str(self.device), "augment": self.augment,
            "rescore_every": self.ledger.rescore_every,
            "validation_digest": None if validation is None else _digest(validation), "torch": torch.__version__,
        }  # fmt: skip

    @property
    def steps_done(self):
        return sum(row["steps"] for row in self.log)

    @property
    def finished(self):
        return len(self.log) >= self.epochs if self.steps is None else self.steps_done >= self.steps

    def one_epoch(self):
        epoch = len(self.log)
        # Each epoch has its own seed, so a resumed run needs no saved generator, and a rule cannot shift the next epoch.
        torch.manual_seed(int(np.random.SeedSequence([self.seed, epoch]).generate_state(1)[0]))
        if epoch == self.restart_epoch:
            self.net.load_state_dict(self.fresh)
            self.begin()
            self.began_at = epoch / self.epochs if self.steps is None else self.steps_done / self.steps
        started = time.perf_counter()
        excluded = self.ledger.weights < 0.5
        train_loss, backward_samples, steps = self.train(epoch)
        if not math.isfinite(train_loss):
            message = f"the training loss is {train_loss} at epoch {epoch}: try a smaller lr than {self.lr:g}."
            raise TrainingDiverged(message, self.history())
        forward_samples = self.ledger.end_epoch(score=self.score)
        seconds = time.perf_counter() - started
        self.log.append({
            "train_loss": train_loss, "test_accuracy": self.accuracy(*self.test),
            "validation_accuracy": self.accuracy(*self.validation) if self.validation else math.nan,
            "excluded_fraction": excluded.float().mean().item(), **self.precision_recall(excluded),
            "backward_samples": backward_samples, "forward_samples": forward_samples,
            "steps": steps, "seconds": seconds,
        })  # fmt: skip

    def train(self, epoch):
        """One pass over the kept samples: mean loss, number of samples, number of steps."""
        self.net.train()
        kept = self.ledger.kept
        order = kept[torch.randperm(len(kept)).to(self.device)]
        # Nearly equal batches: a last batch of one sample would be a wild step, and BatchNorm refuses it.
        batches = order.tensor_split(math.ceil(len(kept) / self.batch_size))
        if self.steps is not None:
            batches = batches[: self.steps - self.steps_done]
        total, samples = torch.zeros((), device=self.device), 0
        for step, index in enumerate(batches):
            self.set_lr(epoch, step, len(batches))
            batch = self.images[index]
            loss = self.losses(crop_and_flip(batch) if self.augment else batch, index)
            self.ledger.record(index, loss)
            self.optimizer.zero_grad(set_to_none=True)
            (self.ledger.weights[index] * loss).mean().backward()
            self.optimizer.step()
            total += loss.detach().sum()
            samples += len(index)
        return total.item() / samples, samples, len(batches)

    def set_lr(self, epoch, step, steps):
        if self.lr_schedule == "constant":
            return
        done = (epoch + step / steps) / self.epochs if self.steps is None else (self.steps_done + step) / self.steps
        left = (done - self.began_at) / (1 - self.began_at)
        for group in self.optimizer.param_groups:
            group["lr"] = self.lr * (1 + math.cos(math.pi * left)) / 2

    def forward(self, batch):
        if self.device.type == "cuda":
            batch = batch.contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            return self.net(batch).float()

    def losses(self, batch, index):
        return F.cross_entropy(self.forward(batch), self.labels[index], reduction="none")

    @torch.no_grad()
    def score(self, index):
        """Losses (m,) of the samples `index` (m,) in evaluation mode, which leaves BatchNorm's statistics alone."""
        self.net.eval()
        return torch.cat([self.losses(self.images[part], part) for part in index.split(1024)])

    @torch.no_grad()
    def accuracy(self, images, labels):
        if len(images) == 0:
            return math.nan
        self.net.eval()
        everyone = torch.arange(len(images), device=self.device)
        right = sum((self.forward(images[i]).argmax(1) == labels[i]).sum() for i in everyone.split(1024))
        return right.item() / len(images)

    def precision_recall(self, excluded):
        if self.mislabeled is None:
            return {"precision": math.nan, "recall": math.nan}
        caught, out, wrong = (x.sum().item() for x in (excluded & self.mislabeled, excluded, self.mislabeled))
        return {"precision": caught / out if out else math.nan, "recall": caught / wrong if wrong else math.nan}

    def history(self):
        log = pd.DataFrame(self.log).rename_axis("epoch")
        return History(self.ledger.losses.cpu(), self.ledger.weight_history.cpu(), log, self.config, self.net)

    def write(self, path):
        state = {
            "config": self.config, "log": self.log, "net": self.net.state_dict(), "began_at": self.began_at,
            "optimizer": self.optimizer.state_dict(), "ledger": self.ledger.state_dict(), "fresh": self.fresh,
        }  # fmt: skip
        with written_beside(path) as partial:
            torch.save(state, partial)

    def resume(self, path):
        try:
            state = torch.load(path, map_location=self.device, weights_only=True)
            theirs = state["config"]
        except Exception as error:  # a damaged file raises half a dozen unrelated types
            raise ValueError(f"checkpoint is {str(path)!r}, which is not a whole checkpoint: delete it.") from error
        different = [f"{key} {theirs.get(key)!r} ≠ {ours!r}" for key, ours in self.config.items() if theirs.get(key) != ours]
        if different:
            raise ValueError(f"checkpoint {str(path)!r} is of another configuration ({'; '.join(different)}).")
        self.net.load_state_dict(state["net"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.ledger.load_state_dict(state["ledger"])
        self.log, self.fresh, self.began_at = state["log"], state["fresh"], state["began_at"]


def _device(name):
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f'device is {name!r}, which cannot be used here ({reason}); "auto" and "cpu" always can.') from None
    return device


def _digest(data):
    digest = hashlib.sha256(data.labels.numpy().tobytes())
    digest.update(data.images.contiguous().numpy())
    return digest.hexdigest()[:16]


@contextmanager
def _isolated_randomness(device):
    """Leave the caller's random numbers as they were, and take only deterministic convolutions on a GPU."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices), torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True):
        yield


def _progress(run, shown):
    from tqdm.auto import tqdm

    total, unit = (run.steps, "step") if run.steps else (run.epochs, "epoch")
    done = run.steps_done if run.steps else len(run.log)
    return tqdm(total=total, initial=done, unit=unit, disable=not shown, leave=False)
