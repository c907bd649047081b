"""One run of training, epoch by epoch: what `fit` does once its arguments are there."""

import io
import math
import time

import pandas as pd
import torch

from . import analysis, devices, fingerprint, losses, seeding, validate
from .atomic import written_beside
from .batches import Images
from .datasets import Dataset
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


class Run:
    """One training run: a learner, a ledger, and the position in the run, which is the length of the log."""

    def __init__(self, data, model, rule, *, epochs, steps, batch_size, lr, optimizer, lr_schedule, weight_decay, seed,
                 device, augment, rescore_every, validation, loss):  # fmt: skip
        validate.choice("optimizer", optimizer, OPTIMIZERS)
        validate.choice("lr_schedule", lr_schedule, LR_SCHEDULES)
        if not isinstance(augment, bool) and augment != "flip":  # "False" and 1 are no answers
            raise ValueError(f'augment is {augment!r}, but must be False, True (shift and flip) or "flip".')
        if epochs is not None and steps is not None:
            raise ValueError(f"epochs is {epochs} and steps is {steps}, but only one of them can be given.")
        if not isinstance(data, Dataset):
            raise ValueError(f"data is {data!r}, but must be a Dataset, such as load('digits').")
        if validation is not None and not isinstance(validation, Dataset):
            raise ValueError(f"validation is {validation!r}, but must be a Dataset, see Dataset.split_validation.")
        if validation is not None and validation.images.shape[1:] != data.images.shape[1:]:
            raise ValueError(f"validation holds images {tuple(validation.images.shape[1:])}, but data another shape.")
        self.by_steps = steps is not None
        name, length = ("steps", steps) if self.by_steps else ("epochs", 60 if epochs is None else epochs)
        self.length = validate.whole(name, length, least=1)
        batch_size = min(128, len(data)) if batch_size is None else batch_size
        self.batch_size = validate.whole("batch_size", batch_size, least=1, most=len(data))
        self.seed = validate.whole("seed", seed)
        self.check_fraction(rule, len(data), "samples")
        settings = {
            "lr": DEFAULT_LR[optimizer] if lr is None else validate.positive("lr", lr),
            "weight_decay": validate.positive("weight_decay", weight_decay, zero_ok=True),
            "optimizer": optimizer,
            "lr_schedule": lr_schedule,
            "augment": augment,
            "loss": losses.check(loss),
        }
        device = devices.find(device)

        rule = rule.for_labels(data.labels) if hasattr(rule, "for_labels") and not isinstance(rule, type) else rule
        self.ledger = Ledger(len(data), rule, rescore_every=rescore_every, device=device)
        self.ledger.weights  # noqa: B018  asks the rule: if it gives no weights, nothing has begun yet
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
            "batch_size": self.batch_size, **settings, "loss": fingerprint.rule(loss),
            "seed": self.seed, "device": str(device), "rescore_every": self.ledger.rescore_every,
            "validation_digest": validation and fingerprint.data(validation), "torch": str(torch.__version__),
        }  # fmt: skip

    def check_fraction(self, rule, n, what):
        """Raise ValueError if `rule` would exclude all of `n` `what` at some epoch, as far as its fields tell."""
        schedule = getattr(rule, "schedule", None)
        values = {"fraction": getattr(rule, "fraction", 0), "final": getattr(schedule, "final", 0)}
        if callable(schedule):
            values |= {f"schedule({epoch})": schedule(epoch) for epoch in range(min(self.length, 10_000))}
        for name, value in values.items():
            if round(validate.fraction(name, value) * n) >= n:
                raise ValueError(f"{name} is {value}, which would exclude all {n} {what}; choose a smaller one.")

    @property
    def done(self):
        """How many epochs, or steps, are over: of `length`."""
        return sum(row["steps"] for row in self.log) if self.by_steps else len(self.log)

    def to_the_end(self, checkpoint=None, progress=False):
        """All epochs that are missing; `checkpoint`, if that is a path, is written after each. Returns the History."""
        from tqdm.auto import tqdm

        unit = "step" if self.by_steps else "epoch"
        bar = tqdm(total=self.length, initial=self.done, unit=unit, disable=not progress, leave=False)
        with devices.isolated(self.learner.device, self.learner.threads), bar:
            while self.done < self.length:
                self.one_epoch()
                if checkpoint is not None:
                    self.write(checkpoint)
                bar.set_postfix_str(f"test accuracy {self.log[-1]['test_accuracy']:.3f}", refresh=False)
                bar.update(self.done - bar.n)
        self.learner.net.eval()
        return self.history()

    def one_epoch(self):
        epoch = len(self.log)
        # Each epoch has its own seed, so that a resumed run needs no saved generator.
        torch.manual_seed(seeding.number("epoch", self.seed, epoch))
        if epoch == self.restart_epoch:
            self.learner.restart(self.done / self.length)
        started = time.perf_counter()
        row = self.train()
        excluded = self.ledger.weights < 0.5  # asked after train(): co-teaching decides while it trains
        if not math.isfinite(row["train_loss"]):
            message = f"the training loss is {row['train_loss']} at epoch {epoch}: try a smaller learning rate."
            raise TrainingDiverged(message, self.history())
        row["forward_samples"] += self.ledger.end_epoch(score=self.learner.score)
        row["seconds"] = time.perf_counter() - started
        row["test_accuracy"] = self.learner.accuracy(*self.test)
        row["validation_accuracy"] = self.learner.accuracy(*self.validation) if self.validation else math.nan
        row["excluded_fraction"] = excluded.float().mean().item()
        row["precision"], row["recall"] = analysis.precision_recall(excluded, self.mislabeled)
        self.log.append(row)

    def train(self):
        """One pass over the kept samples. Returns the first entries of the epoch's row of the log."""
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
        counts = {"backward_samples": samples, "forward_samples": 0, "steps": len(batches)}
        return {"train_loss": total.item() / samples} | counts

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
