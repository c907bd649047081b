"""A network that learns from indices: what one training step, one scoring and one test are."""

import copy
import math
from functools import partial

import torch
from torch import nn

from . import models
from .batches import AUGMENTATIONS, Images

# fused: one call for all weights, which small networks feel.
OPTIMIZERS = {
    "sgd": partial(torch.optim.SGD, momentum=0.9, nesterov=True, fused=True),
    "adam": partial(torch.optim.Adam, fused=True),
}
DEFAULT_LR = {"sgd": 0.05, "adam": 0.001}
LR_SCHEDULES = {"cosine": lambda done: (1 + math.cos(math.pi * done)) / 2, "constant": lambda done: 1.0}


class Learner:
    """The network for `data` on `device`, its optimiser and the training images.

    Convolutions run in channels_last memory, on a CPU 1.7 times as fast; on a GPU also under bfloat16 autocast.
    Losses are always float32.
    """

    def __init__(self, data, model, device, *, optimizer, lr, lr_schedule, weight_decay, augment, loss):
        self.device, self.augment, self.loss = device, augment, loss
        self.images, self.labels = Images(data.images, device), data.labels.to(device)
        self.net = models.build(model, data).to(device)
        convolves = any(isinstance(module, nn.Conv2d) for module in self.net.modules())
        self._memory = torch.channels_last if convolves else torch.contiguous_format
        self.net = self.net.to(memory_format=self._memory)
        # Without gradients. On a CPU, the large arrays of many images at once would go back to the system each time.
        self._at_once = 64 if convolves and device.type == "cpu" else 1024
        self._check_outputs(len(data.classes))
        self._new_optimizer = lambda: OPTIMIZERS[optimizer](self.net.parameters(), lr=lr, weight_decay=weight_decay)
        self._lr_at = lambda done: lr * LR_SCHEDULES[lr_schedule](done)
        self.optimizer, self._began_at = self._new_optimizer(), 0.0
        self._fresh = copy.deepcopy(self.net.state_dict())
        # Matrices this small cost more to share among threads than to multiply: ten times more on a busy machine.
        small = sum(p.numel() for p in self.net.parameters()) < 1_000_000
        self.threads = 1 if small and not convolves else None

    @torch.no_grad()
    def _check_outputs(self, classes):
        """Raise ValueError unless the network takes the images and gives a logit for each class."""
        two, training = torch.arange(min(2, len(self.images)), device=self.device), self.net.training
        self.net.eval()
        try:
            shape = tuple(self._forward(self.images[two]).shape)
        except (RuntimeError, TypeError, AttributeError, ValueError) as error:
            size = tuple(self.images.pixels.shape[1:])
            raise ValueError(f"model cannot take these images of {size}: {str(error).splitlines()[0]}.") from error
        self.net.train(training)
        if len(shape) != 2 or shape[1] < classes:
            raise ValueError(
                f"model gives {shape} for {len(two)} images, but must give a logit for each of {classes} classes."
            )

    def restart(self, done):
        """Go back to the initial weights when the share `done` of the run is over; the learning rate starts again."""
        self.net.load_state_dict(self._fresh)
        self.optimizer, self._began_at = self._new_optimizer(), done

    def step(self, index, weights, done):
        """One optimiser step on the samples `index` (b,), weighted by `weights` (b,); returns their losses (b,)."""
        loss = self.losses(index)
        self.descend((weights * loss).mean(), done)
        return loss.detach()

    def losses(self, index):
        """Losses (b,) of the samples `index` (b,), augmented if so set, with what a backward pass needs."""
        return self._losses(AUGMENTATIONS[self.augment](self.images[index]), index)

    def descend(self, loss, done):
        """One optimiser step down the number `loss`, when the share `done` of the run is over."""
        for group in self.optimizer.param_groups:
            group["lr"] = self._lr_at((done - self._began_at) / (1 - self._began_at))
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()

    @torch.no_grad()
    def score(self, index):
        """Losses (m,) of the samples `index` (m,) in evaluation mode, which leaves BatchNorm's statistics alone."""
        self.net.eval()
        return torch.cat([self._losses(self.images[part], part) for part in index.split(self._at_once)])

    @torch.no_grad()
    def accuracy(self, images, labels):
        """Share of `images` (an `Images`) that get their label, in evaluation mode; NaN where there are none."""
        if len(images) == 0:
            return math.nan
        self.net.eval()
        everyone = torch.arange(len(images), device=self.device)
        right = sum((self._forward(images[i]).argmax(1) == labels[i]).sum() for i in everyone.split(self._at_once))
        return right.item() / len(images)

    def state_dict(self):
        return {
            "net": self.net.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "began_at": self._began_at,
            "fresh": self._fresh,
        }

    def load_state_dict(self, state):
        self.net.load_state_dict(state["net"])
        self.optimizer.load_state_dict(state["optimizer"])
        self._began_at, self._fresh = state["began_at"], state["fresh"]

    def _forward(self, batch):
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            return self.net(batch.contiguous(memory_format=self._memory)).float()

    def _losses(self, batch, index):
        return self.loss(self._forward(batch), self.labels[index])
