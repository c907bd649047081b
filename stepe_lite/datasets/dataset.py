"""What a data set is here: tensors, with the clean labels where these are known."""

import copy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from .. import seeding, validate
from ..noise import NoiseModel, transition_matrix
from . import folders


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """A training set whose labels may be wrong, and a clean test set. All fields are tensors on the CPU.

    images : uint8 (n, c, h, w), 0 to 255
    labels : int64 (n,) in [0, k): as given, maybe wrong; what training sees
    clean_labels : int64 (n,), or None where nobody knows them
    test_images, test_labels : the same types, always clean; zero samples where there is no test set
    classes : the k class names
    name : what it is called in tables

    Raises ValueError in one sentence where the parts do not fit together.
    """

    images: torch.Tensor
    labels: torch.Tensor
    clean_labels: torch.Tensor | None
    test_images: torch.Tensor
    test_labels: torch.Tensor
    classes: tuple[str, ...]
    name: str

    def __post_init__(self):
        if len(self.classes) < 2:
            raise ValueError(f"classes has {len(self.classes)} name(s), but at least 2 are needed.")
        known = () if self.clean_labels is None else ("clean_labels",)
        for name in ("images", "labels", "test_images", "test_labels", *known):
            if not isinstance(getattr(self, name), torch.Tensor):
                kind = type(getattr(self, name)).__name__
                raise ValueError(f"{name} is a {kind}, but must be a tensor; Dataset.from_arrays takes arrays.")
        for name, images in (("images", self.images), ("test_images", self.test_images)):
            _check_images(name, images)
        if self.test_images.shape[1:] != self.images.shape[1:]:
            ours, theirs = tuple(self.images.shape[1:]), tuple(self.test_images.shape[1:])
            raise ValueError(f"test_images are {theirs} each, but must be {ours} as the training images are.")
        self._check_labels("labels", self.labels, len(self.images))
        self._check_labels("test_labels", self.test_labels, len(self.test_images))
        if self.clean_labels is not None:
            self._check_labels("clean_labels", self.clean_labels, len(self.images))
        empty = (torch.bincount(self.labels, minlength=len(self.classes)) == 0).nonzero().flatten().tolist()
        if empty:
            raise ValueError(
                f"labels has no samples of class {self.classes[empty[0]]!r} ({empty[0]}): every class needs one."
            )

    def _check_labels(self, name, labels, n):
        if labels.dtype != torch.int64:
            raise ValueError(f"{name} is {labels.dtype}, but must be whole numbers (int64), one class index a sample.")
        if labels.shape != (n,):
            raise ValueError(f"{name} has shape {tuple(labels.shape)}, but must be ({n},): one label an image.")
        if n and not 0 <= labels.min() <= labels.max() < len(self.classes):
            low, high = labels.min().item(), labels.max().item()
            raise ValueError(f"{name} goes from {low} to {high}, but must lie from 0 to {len(self.classes) - 1}.")

    def __len__(self):
        return len(self.labels)

    def __repr__(self):
        shape = "×".join(map(str, self.images.shape[1:]))
        wrong = "" if self.clean_labels is None else f", {self.noise_rate:.1%} of the labels wrong"
        sizes = f"{len(self):,} training and {len(self.test_labels):,} test images {shape}"
        return f"Dataset({self.name}: {sizes}, {len(self.classes)} classes{wrong})"

    @property
    def is_mislabeled(self):
        """bool (n,): where the given label differs from the clean one. Raises ValueError if those are unknown."""
        return self.labels != self._known_clean_labels()

    @property
    def noise_rate(self):
        """Measured share of wrong labels, in [0, 1]."""
        return self.is_mislabeled.double().mean().item()

    @property
    def transition(self):
        """Measured transition matrix (k, k), see `noise.transition_matrix`."""
        return transition_matrix(self._known_clean_labels(), self.labels, len(self.classes))

    def with_noise(self, model, seed):
        """The same data with wrong labels, for example `with_noise(noise.symmetric(0.4), seed=0)`.

        The present labels become the clean ones. Same seed, same labels. The test set is not touched.
        """
        without_rate = getattr(model, "__module__", "") == NoiseModel.__module__ and not isinstance(model, NoiseModel)
        if not callable(model) or without_rate:
            raise ValueError(f"model is {model!r}, but must be a noise model such as noise.symmetric(0.4).")
        if self.clean_labels is not None and self.is_mislabeled.any():
            raise ValueError(f"{self.name} has {self.noise_rate:.1%} wrong labels already: call .cleaned() first.")
        noisy = model(self.labels, self.images, len(self.classes), seeding.generator("noise", seed))
        self._check_labels("the noisy labels", noisy, len(self))
        return self._changed(labels=noisy, clean_labels=self.labels, name=f"{self.name}+{model!r}")

    def cleaned(self):
        """All samples with their clean labels: the data of the clean-label oracle."""
        return self._changed(labels=self._known_clean_labels(), name=f"{self.name} cleaned")

    def without_mislabeled(self):
        """Only the samples whose label is right: the data of the oracle by removal."""
        return self._take((~self.is_mislabeled).nonzero().flatten(), f"{self.name} without mislabeled")

    def subset(self, n, seed):
        """A random subset of n training samples, in their old order. The test set stays whole."""
        validate.whole("n", n, least=1, most=len(self))
        chosen = torch.randperm(len(self), generator=seeding.generator("subset", seed))[:n]
        return self._take(chosen.sort().values, f"{self.name}[{n}]")

    def split_validation(self, fraction, seed):
        """Hold out round(fraction · n) random training samples: two data sets, (training, validation).

        The validation labels are as noisy as the training labels. That is the point: it is all one has in practice.
        """
        m = round(validate.fraction("fraction", fraction) * len(self))
        validate.whole("the number of validation samples", m, least=1, most=len(self) - 1)
        order = torch.randperm(len(self), generator=seeding.generator("validation", seed))
        train, held_out = order[m:].sort().values, order[:m].sort().values
        return self._take(train, f"{self.name} training"), self._take(held_out, f"{self.name} validation")

    def _take(self, index, name):
        clean = None if self.clean_labels is None else self.clean_labels[index]
        return self._changed(images=self.images[index], labels=self.labels[index], clean_labels=clean, name=name)

    def _changed(self, **fields):
        """A copy without the checks: a part of a valid set is valid, and unlike a new set it may lack a class."""
        part = copy.copy(self)
        for name, value in fields.items():
            object.__setattr__(part, name, value)
        return part

    def _known_clean_labels(self):
        if self.clean_labels is None:
            raise ValueError(
                f"the clean labels of {self.name} are unknown, so it cannot be said which labels are wrong."
            )
        return self.clean_labels

    @classmethod
    def from_arrays(
        cls, images, labels, *, classes=None, clean_labels=None, test_images=None, test_labels=None, name="arrays"
    ):
        """Your own data: arrays or tensors with the shapes given at `Dataset`.

        `labels` may be any whole-number type. `classes` defaults to "0", "1", …, the largest label.
        """
        images, labels = _images(images), _labels("labels", labels)
        if (test_images is None) != (test_labels is None):
            raise ValueError("test_images and test_labels belong together, but only one of them was given.")
        if classes is None:
            classes = [str(c) for c in range(max(2, int(labels.max()) + 1 if len(labels) else 0))]
        return cls(
            images,
            labels,
            None if clean_labels is None else _labels("clean_labels", clean_labels),
            images[:0] if test_images is None else _images(test_images),
            labels[:0] if test_labels is None else _labels("test_labels", test_labels),
            tuple(classes),
            name,
        )

    @classmethod
    def from_folder(cls, path, *, size=None, test=None):
        """Your own images: one sub-folder a class, as torchvision's ImageFolder reads them, in its (sorted) order.

        `size`: scale every image to size × size pixels; None = they all have the same size already. `test`: a second
        such folder with clean labels. Images become RGB.
        """
        images, labels, classes = folders.read(path, size)
        test_images, test_labels = images[:0], labels[:0]
        if test is not None:
            test_images, test_labels, test_classes = folders.read(test, tuple(images.shape[-2:]))
            if test_classes != classes:
                raise ValueError(f"test has the classes {test_classes}, but must have those of path, {classes}.")
        return cls(images, labels, None, test_images, test_labels, tuple(classes), Path(path).name)


def _check_images(name, images):
    if images.dtype != torch.uint8:
        raise ValueError(f"{name} is {images.dtype}, but must be uint8 with values from 0 to 255.")
    if images.ndim != 4 or images.shape[1] == 0:
        hint = " (channels last? permute them)" if images.ndim == 4 else ""
        raise ValueError(f"{name} has shape {tuple(images.shape)}, but must be (n, channels, height, width){hint}.")
    if images.shape[1] > 4 >= images.shape[3]:
        raise ValueError(
            f"{name} has shape {tuple(images.shape)}: it must be (n, channels, height, width), so permute it."
        )


def _images(images):
    try:
        return images if isinstance(images, torch.Tensor) else torch.as_tensor(np.array(images))  # yours stay yours
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(f"images is a {type(images).__name__}, but must be an array (n, c, h, w) of uint8.") from None


def _labels(name, labels):
    try:
        labels = torch.as_tensor(labels.copy() if isinstance(labels, np.ndarray) else labels)
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(
            f"{name} must be whole numbers, one class index a sample, but it holds text or objects."
        ) from None
    if labels.is_floating_point() or labels.dtype == torch.bool:
        raise ValueError(f"{name} is {labels.dtype}, but must be whole numbers, one class index a sample.")
    return labels.long()
