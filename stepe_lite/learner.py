"""A network that learns from indices: settings, images, device; one training step, one scoring, one test."""

import copy
import inspect
import math
import warnings
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn
from torch.optim.swa_utils import AveragedModel, update_bn

from . import losses, models
from .datasets import Dataset
from .utils import BadInput, check_choice, check_fraction, check_positive, check_whole, find_device, seed_for

# fused: one call for all weights, which small networks feel.
OPTIMIZERS = {
    "sgd": partial(torch.optim.SGD, momentum=0.9, nesterov=True, fused=True),
    "adam": partial(torch.optim.Adam, fused=True),
}
DEFAULT_LR = {"sgd": 0.05, "adam": 0.001}
DEFAULT_EPOCHS = 60
LR_SCHEDULES = {"cosine": lambda done: (1 + math.cos(math.pi * done)) / 2, "constant": lambda done: 1.0}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How to train, whatever the method. Raises ValueError for a setting that is not allowed.

    epochs, steps : train for so many epochs (default 60), or for so many optimiser steps in however many epochs
    batch_size : largest batch, by default 128, or n where that is less; an epoch is cut into nearly equal batches
    lr : learning rate; default 0.05 for "sgd" (Nesterov momentum 0.9), 0.001 for "adam"
    lr_schedule : "cosine" (to 0 over the run) or "constant"
    average : None, or the share of the run, in [0, 1), after which the weights at the end of every epoch are averaged:
        stochastic weight averaging (Izmailov et al., UAI 2018). The network, and the last row of the log, are then
        those of the average, with BatchNorm's statistics measured anew.
    seed : initial weights, order of samples and augmentation; the same seed gives the same result bit for bit
    device : "auto" (a CUDA GPU if there is one), "cpu", "cuda", …
    threads : on a CPU; default: torch's number, or 1 for a network under a million weights, which gains little from a
        second one and loses much where that is busy. Another number rounds differently.
    precision : "float32" (a GPU may round the inputs of convolutions to TF32, torch's default) or "bfloat16" (autocast;
        losses stay float32), which pays where the arithmetic takes the time: on a CPU without AVX-512 it is several
        times slower, and with "resnet18-imagenet" on 32×32 images an H100 took 1.2 times as long.
    augment : True = shift and flip every training image at random, "flip" = flip alone, False = neither
    rescore_every : excluded samples get a fresh loss at the end of every so-many-th epoch
    loss : what is minimised, and what samples are ranked by, see `losses`
    """

    epochs: int | None = None
    steps: int | None = None
    batch_size: int | None = None
    lr: float | None = None
    optimizer: str = "sgd"
    lr_schedule: str = "cosine"
    weight_decay: float = 5e-4
    average: float | None = None
    seed: int = 0
    device: str = "auto"
    threads: int | None = None
    precision: str = "float32"
    augment: bool | str = False
    rescore_every: int = 1
    loss: Callable = field(default=losses.cross_entropy)

    def __post_init__(self):
        allowed = {"optimizer": OPTIMIZERS, "lr_schedule": LR_SCHEDULES, "augment": AUGMENTATIONS}
        for name, choices in (allowed | {"precision": ("float32", "bfloat16")}).items():
            object.__setattr__(self, name, check_choice(name, getattr(self, name), choices))
        if self.epochs is not None and self.steps is not None:
            raise BadInput(f"epochs is {self.epochs} and steps is {self.steps}, but only one of them can be given.")
        checks = dict.fromkeys(("epochs", "steps", "batch_size", "rescore_every"), partial(check_whole, least=1))
        checks["threads"] = partial(check_whole, least=1, most=1024)
        checks |= {"seed": check_whole, "lr": check_positive, "average": check_fraction}
        checks["weight_decay"] = partial(check_positive, zero_ok=True)
        for name, check in checks.items():
            value = getattr(self, name)
            if value is not None or name in ("seed", "rescore_every", "weight_decay"):
                object.__setattr__(self, name, check(name, value))  # NumPy's numbers become Python's
        losses.check(self.loss)

    def complete(self, n, net_size):
        """The same settings for `n` samples and a network of `net_size` weights, with every default filled in."""
        check_whole("batch_size", self.batch_size or 1, least=1, most=n)
        device = find_device(self.device)
        slow = device.type == "cpu" and not torch.ops.mkldnn._is_mkldnn_bf16_supported()
        if slow and self.precision == "bfloat16":
            warnings.warn("precision is 'bfloat16', which is several times slower without AVX-512.", stacklevel=4)
        return replace(
            self,
            epochs=DEFAULT_EPOCHS if self.epochs is self.steps is None else self.epochs,
            batch_size=self.batch_size or min(128, n),
            lr=self.lr or DEFAULT_LR[self.optimizer],
            device=str(device),
            threads=self.threads or (1 if net_size < 1_000_000 else torch.get_num_threads()),
        )

    def as_config(self):
        """The settings as plain values, for a log or a file: the loss as it prints, None left out."""
        return {name: value for name, value in asdict(self).items() if value is not None} | {"loss": repr(self.loss)}

    @classmethod
    def from_config(cls, config):
        """The settings in the config of a History. Raises ValueError if it was trained with a loss of one's own."""
        known = {repr(loss): loss for loss in (losses.cross_entropy,)}
        loss = known[check_choice("the loss of this history", config["loss"], known)]
        names = {name for name in cls.__dataclass_fields__ if name in config}
        return cls(**{name: config[name] for name in names} | {"loss": loss})


def takes_settings(function):
    """Let `function(…, **settings)` show the fields of `Settings` as its arguments, in help and on the Tab key."""
    own = [p for p in inspect.signature(function).parameters.values() if p.kind is not p.VAR_KEYWORD]
    function.__signature__ = inspect.Signature([*own, *inspect.signature(Settings).parameters.values()])
    return function


def check_data(data, validation=None):
    """Raise ValueError unless `data` is a Dataset, and `validation` None or one with images of the same shape."""
    for name, given in (("data", data), ("validation", validation)):
        if not isinstance(given, Dataset) and (name == "data" or given is not None):
            raise BadInput(f"{name} is {given!r}, but must be a Dataset, such as load('digits').")
    if validation is not None and validation.images.shape[1:] != data.images.shape[1:]:
        raise BadInput(f"validation holds images {tuple(validation.images.shape[1:])}, but data another shape.")


class Images:
    """Images that become network input when they are needed.

    `images` uint8 (n, c, h, w) go to the device once. `Images[index]` is a float32 batch with mean 0 and standard
    deviation 1 a channel, measured on `like` (the training images), so test images are normalised like training ones.
    """

    def __init__(self, images, device, like=None):
        self.pixels = images.to(device)
        if like is None:
            # A histogram of the 256 values gives the exact moments without a float copy of the whole data set.
            counts = torch.stack(
                [torch.bincount(channel.flatten(), minlength=256) for channel in images.transpose(0, 1)]
            )
            share, values = counts.double() / counts.sum(1, keepdim=True), torch.arange(256.0, dtype=torch.float64)
            mean = share @ values
            std = (share @ values**2 - mean**2).clamp(min=0).sqrt()
            std[std < 1e-6] = 1  # a constant channel: divide by 1, not by 0
            self.mean, self.std = (m.float().view(1, -1, 1, 1).to(device) for m in (mean, std))
        else:
            self.mean, self.std = like.mean, like.std
        # So few are normalised once and for all, which a small network feels.
        self._ready = (self.pixels - self.mean) / self.std if images.numel() < 1_000_000 else None

    def __len__(self):
        return len(self.pixels)

    def __getitem__(self, index):
        return (self.pixels[index] - self.mean) / self.std if self._ready is None else self._ready[index]


def flip(batch):
    """Augment a batch (b, c, h, w): mirror half of the images, left to right."""
    mirrored = torch.rand(len(batch), 1, 1, 1, device=batch.device) < 0.5
    return torch.where(mirrored, batch.flip(3), batch)


def crop_and_flip(batch):
    """Augment a batch (b, c, h, w): shift each image by up to h // 8 and w // 8 pixels (mirrored border), flip half."""
    b, _, h, w = batch.shape
    y, x = h // 8, w // 8
    padded = F.pad(batch, (x, x, y, y), mode="reflect")
    down, right = (torch.randint(0, 2 * pad + 1, (b, 1), device=batch.device) for pad in (y, x))
    rows = down + torch.arange(h, device=batch.device)
    columns = right + torch.arange(w, device=batch.device)
    each = torch.arange(b, device=batch.device).view(b, 1, 1)
    return flip(padded[each, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2))


AUGMENTATIONS = {False: lambda batch: batch, "flip": flip, True: crop_and_flip}


class Learner:
    """The network for `data`, its optimiser and the training images, under `settings`, which it completes.

    Convolutions run in channels_last memory, on a CPU 1.7 times as fast.
    """

    def __init__(self, data, model, settings, purpose="model"):
        device = find_device(settings.device)
        with isolated(device):
            seed_torch(device, seed_for(purpose, settings.seed))
            self.net = models.build(model, data).to(device)
        self.settings = settings = settings.complete(len(data), sum(p.numel() for p in self.net.parameters()))
        self.device, self.loss = device, settings.loss
        self.images, self.labels = Images(data.images, device), data.labels.to(device)
        convolves = any(isinstance(module, nn.Conv2d) for module in self.net.modules())
        self._autocast = torch.autocast(device.type, torch.bfloat16, enabled=settings.precision == "bfloat16")
        self._memory = torch.channels_last if convolves else torch.contiguous_format
        self.net = self.net.to(memory_format=self._memory)
        # Without gradients. On a CPU, the large arrays of many images at once would go back to the system each time.
        self.at_once = 64 if convolves and device.type == "cpu" else 1024
        self._check_network(len(data.classes))
        self.optimizer = OPTIMIZERS[settings.optimizer](
            self.net.parameters(), lr=settings.lr, weight_decay=settings.weight_decay
        )
        self._average = None if settings.average is None else AveragedModel(self.net)

    def _check_network(self, classes):
        """Raise ValueError unless the network takes the images, gives a logit for each class and learns by the loss."""
        if not any(parameter.requires_grad for parameter in self.net.parameters()):
            raise BadInput("model has no weights that can be trained: there are none, or all are frozen.")
        two, training = torch.arange(min(2, len(self.images)), device=self.device), self.net.training
        self.net.eval()
        try:
            logits = self._forward(self.images[two])
            shape = tuple(logits.shape)
        except (RuntimeError, TypeError, AttributeError, ValueError) as error:
            size = tuple(self.images.pixels.shape[1:])
            raise BadInput(f"model cannot take these images of {size}: {str(error).splitlines()[0]}.") from error
        finally:
            self.net.train(training)
        if len(shape) != 2 or shape[1] < classes:
            raise BadInput(
                f"model gives {shape} for {len(two)} images, but must give a logit for each of {classes} classes."
            )
        if not logits.requires_grad:
            raise BadInput("model gives logits without a gradient, so that it cannot learn: is there a detach() in it?")
        losses.check_result(self.loss, self.loss(logits, self.labels[two]), len(two))
        if self.settings.batch_size < 3:  # an odd number of samples then has a batch of one
            try:
                copy.deepcopy(self.net).train()(self.images[two[:1]])
            except ValueError as error:
                raise BadInput(
                    f"batch_size is {self.settings.batch_size}, but must be at least 3 for this network: its BatchNorm "
                    "cannot train on a batch of one sample."
                ) from error

    def signature(self):
        """What the network, not yet trained, gives for two images and fixed random numbers: float32 on the CPU.

        Networks that print alike and have the same weights, but another activation say, are told apart by it.
        """
        before = copy.deepcopy(self.net.state_dict())  # BatchNorm counts what it sees
        two, logits = torch.arange(min(2, len(self.images)), device=self.device), []
        with isolated(self.device), torch.no_grad():
            for training in (False, True):
                seed_torch(self.device, 0)
                self.net.train(training)
                logits.append(self._forward(self.images[two]))
        self.net.load_state_dict(before)
        return torch.stack(logits).float().cpu()

    def step(self, index, weights, done):
        """One optimiser step on the samples `index` (b,), weighted by `weights` (b,); returns their losses (b,)."""
        loss = self.losses(index)
        self.descend(loss, weights * (1 / len(index)), done)
        return loss.detach()

    def losses(self, index):
        """Losses (b,) of the samples `index` (b,), augmented if so set, with what a backward pass needs."""
        if not self.net.training:
            self.net.train()
        return self._losses(AUGMENTATIONS[self.settings.augment](self.images[index]), index)

    def descend(self, loss, weights, done):
        """One optimiser step down the sum of `weights` (b,) times `loss` (b,), when the share `done` is over."""
        share = LR_SCHEDULES[self.settings.lr_schedule](done)
        for group in self.optimizer.param_groups:
            group["lr"] = self.settings.lr * share
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward(weights)
        self.optimizer.step()

    def end_epoch(self, done):
        """After an epoch: average the weights, if so set. At the end of the run the network becomes the average."""
        if self._average is None or done <= self.settings.average:
            return
        self._average.update_parameters(self.net)
        if done == 1:
            self.net.load_state_dict(self._average.module.state_dict())
            order = torch.randperm(len(self.images), device=self.device)
            # Nearly equal batches, as in training: BatchNorm takes none of a single sample.
            batches = order.tensor_split(math.ceil(len(order) / self.settings.batch_size))
            update_bn((self.images[part] for part in batches), self.net)

    def score(self, index):
        """Losses (m,) of the samples `index` (m,) in evaluation mode, which leaves BatchNorm's statistics alone."""
        return in_parts(self.net, lambda part: self._losses(self.images[part], part), index, self.at_once)

    def accuracy(self, images, labels):
        """Share of `images` (an `Images`) that get their label, in evaluation mode; NaN where there are none."""
        if len(images) == 0:
            return math.nan
        everyone = torch.arange(len(images), device=self.device)
        right = in_parts(self.net, lambda i: self._forward(images[i]).argmax(1) == labels[i], everyone, self.at_once)
        return right.sum().item() / len(images)

    def state_dict(self):
        """What a checkpoint needs."""
        average = self._average and self._average.state_dict()
        return {"net": self.net.state_dict(), "optimizer": self.optimizer.state_dict(), "average": average}

    def load_state_dict(self, state):
        """Go on where `state_dict()` was taken."""
        self.net.load_state_dict(state["net"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self._average is not None:
            self._average.load_state_dict(state["average"])

    def _forward(self, batch):
        with self._autocast:
            return self.net(batch.contiguous(memory_format=self._memory)).float()

    def _losses(self, batch, index):
        return self.loss(self._forward(batch), self.labels[index])


@torch.no_grad()
def in_parts(net, function, index, size):
    """`function(part)` for parts of `index` of at most `size`, put together: `net` in evaluation mode meanwhile."""
    training = net.training
    net.eval()
    try:
        return torch.cat([function(part) for part in index.split(size)])
    finally:
        net.train(training)


def seed_torch(device, seed):
    """Start torch's random numbers on `device` anew."""
    # torch.manual_seed also notes a seed for GPUs that nobody uses, with a stack trace: 0.7 ms, as long as a batch.
    (torch.default_generator if device.type == "cpu" else torch).manual_seed(seed)


@contextmanager
def isolated(device, threads=None):
    """Leave the caller's random numbers and thread count as they were; on a GPU, deterministic convolutions only."""
    before, devices = torch.get_num_threads(), [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices), torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True):
        torch.set_num_threads(threads or before)
        try:
            yield
        finally:
            torch.set_num_threads(before)
