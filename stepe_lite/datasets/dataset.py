"""What a data set is here: tensors, with the clean labels where these are known."""

import copy
import warnings
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from ..noise import NoiseModel, transition_matrix
from ..utils import BadInput, as_tensor, check_fraction, check_whole, generator_for
from . import folders, sheets
from .labels import class_names, encoder


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """A training set whose labels may be wrong, and a clean test set. All fields are tensors on the CPU.

    images : uint8 (n, c, h, w), 0 to 255
    labels : int64 (n,) in [0, k): as given, maybe wrong; what training sees
    clean_labels : int64 (n,), or None where nobody knows them
    test_images, test_labels : the same types, always clean; zero samples where there is no test set
    classes : the k class names
    name : what it is called in tables
    files, folder : only where the images come from files: their names (n,), relative to that folder; else None

    Raises ValueError in one sentence where the parts do not fit together.
    """

    images: torch.Tensor
    labels: torch.Tensor
    clean_labels: torch.Tensor | None
    test_images: torch.Tensor
    test_labels: torch.Tensor
    classes: tuple[str, ...]
    name: str
    # Not of __init__: `dataclasses.replace` with other images forgets them.
    files: tuple[str, ...] | None = field(default=None, init=False)
    folder: Path | None = field(default=None, init=False)

    def __post_init__(self):
        if not isinstance(self.name, str):
            raise BadInput(f"name is {self.name!r}, but must be text.")
        object.__setattr__(self, "name", str(self.name))  # NumPy's text would make a checkpoint unreadable
        object.__setattr__(self, "classes", class_names(self.classes))
        if len(self.classes) < 2:
            raise BadInput(f"classes has {len(self.classes)} name(s), but at least 2 are needed.")
        known = () if self.clean_labels is None else ("clean_labels",)
        for name in ("images", "labels", "test_images", "test_labels", *known):
            if not isinstance(getattr(self, name), torch.Tensor):
                kind = type(getattr(self, name)).__name__
                raise BadInput(f"{name} is a {kind}, but must be a tensor; Dataset.from_arrays takes arrays.")
        for name, images in (("images", self.images), ("test_images", self.test_images)):
            _check_images(name, images)
        if self.test_images.shape[1:] != self.images.shape[1:]:
            ours, theirs = tuple(self.images.shape[1:]), tuple(self.test_images.shape[1:])
            raise BadInput(f"test_images are {theirs} each, but must be {ours} as the training images are.")
        self._check_labels("labels", self.labels, len(self.images))
        self._check_labels("test_labels", self.test_labels, len(self.test_images))
        if self.clean_labels is not None:
            self._check_labels("clean_labels", self.clean_labels, len(self.images))
        empty = (torch.bincount(self.labels, minlength=len(self.classes)) == 0).nonzero().flatten().tolist()
        if empty:
            raise BadInput(
                f"labels has no samples of class {self.classes[empty[0]]!r} ({empty[0]}): every class needs one."
            )

    def _check_labels(self, name, labels, n):
        if labels.dtype != torch.int64:
            raise BadInput(f"{name} is {labels.dtype}, but must be whole numbers (int64), one class index a sample.")
        if labels.shape != (n,):
            raise BadInput(f"{name} has shape {tuple(labels.shape)}, but must be ({n},): one label an image.")
        if n and not 0 <= labels.min() <= labels.max() < len(self.classes):
            low, high = labels.min().item(), labels.max().item()
            raise BadInput(f"{name} goes from {low} to {high}, but must lie from 0 to {len(self.classes) - 1}.")

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
            raise BadInput(f"model is {model!r}, but must be a noise model such as noise.symmetric(0.4).")
        if self.clean_labels is not None and self.is_mislabeled.any():
            raise BadInput(f"{self.name} has {self.noise_rate:.1%} wrong labels already: call .cleaned() first.")
        # Clones: a noise function of your own may change what it is given.
        noisy = model(self.labels.clone(), self.images.clone(), len(self.classes), generator_for("noise", seed))
        if not isinstance(noisy, torch.Tensor):
            raise BadInput(f"model gives {type(noisy).__name__}, but must give the noisy labels: a tensor int64 (n,).")
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
        check_whole("n", n, least=1, most=len(self))
        chosen = torch.randperm(len(self), generator=generator_for("subset", seed))[:n]
        return self._take(chosen.sort().values, f"{self.name}[{n}]")

    def split_validation(self, fraction, seed):
        """Hold out round(fraction · n) random training samples: two data sets, (training, validation).

        The validation labels are as noisy as the training labels. That is the point: it is all one has in practice.
        """
        m = round(check_fraction("fraction", fraction) * len(self))
        check_whole("the number of validation samples", m, least=1, most=len(self) - 1)
        order = torch.randperm(len(self), generator=generator_for("validation", seed))
        train, held_out = order[m:].sort().values, order[:m].sort().values
        return self._take(train, f"{self.name} training"), self._take(held_out, f"{self.name} validation")

    def _take(self, index, name):
        clean = None if self.clean_labels is None else self.clean_labels[index]
        files = None if self.files is None else tuple(self.files[i] for i in index.tolist())
        return self._changed(
            images=self.images[index], labels=self.labels[index], clean_labels=clean, files=files, name=name
        )

    def _changed(self, **fields):
        """A copy without the checks: a part of a valid set is valid, and unlike a new set it may lack a class."""
        part = copy.copy(self)
        for name, value in fields.items():
            object.__setattr__(part, name, value)
        return part

    def _known_clean_labels(self):
        if self.clean_labels is None:
            raise BadInput(f"the clean labels of {self.name} are unknown, so it cannot be said which labels are wrong.")
        return self.clean_labels

    @classmethod
    def from_arrays(
        cls, images, labels, *, classes=None, clean_labels=None, test_images=None, test_labels=None, name="arrays"
    ):
        """Your own data: arrays or tensors with the shapes given at `Dataset`.

        `labels` : whole numbers (floats too, if whole), text, or a pandas Categorical, one a sample. `classes` : the
        class names; numbers then go from 0 to k − 1, or from 1 to k. Without it the names are the labels themselves:
        numbers in their order, categories in theirs, text sorted (whole numbers first). Where a class index is not
        simply the number that you gave, the order is printed.
        """
        if (test_images is None) != (test_labels is None):
            raise BadInput("test_images and test_labels belong together, but only one of them was given.")
        classes, encode = encoder(labels, classes)
        images, labels = _images("images", images), encode("labels", labels)
        return cls(
            images,
            labels,
            None if clean_labels is None else encode("clean_labels", clean_labels),
            images[:0] if test_images is None else _images("test_images", test_images),
            labels[:0] if test_labels is None else encode("test_labels", test_labels),
            classes,
            name,
        )

    @classmethod
    def from_folder(cls, path, *, size=None, test=None, allow_empty=False, **reading):
        """Your own images: one sub-folder a class. All that Pillow reads is an image, whatever its name.

        size : scale every image to size × size pixels, stretched if it is not square; None = they all have one size
        test : a second such folder with clean labels; it may lack some of the classes
        allow_empty : sub-folders without images are no classes
        background : "white" (the default) or "black", what transparent parts lie on
        skip_unreadable : True = go on without pictures that cannot be read
        progress : False = no progress bar

        Classes are sorted: whole numbers by their value, then text. They are printed, and so is what is left out and
        why; `datasets.audit` tells more. Images become upright RGB, 8 bits a channel; an animation gives its first
        frame. `files` are the names "class/name" of the images.

        Raises FileNotFoundError if there is no such folder; ValueError, with all their names, if pictures cannot be
        read, if they differ in size and `size` is None, or if they do not fit in memory.
        """
        if test is not None:
            folders.listing(test, "test")  # is it there? Reading `path` may take minutes
        read = folders.read(path, what="path", size=size, allow_empty=allow_empty, **reading)
        tested = None
        if test is not None:
            tested = folders.read(test, what="test", size=size, allow_empty=True, **reading)
        return cls._from_files(read, tested, path)

    @classmethod
    def from_csv(cls, path, *, image="file", label="label", root=None, size=None, test=None, **reading):
        """Your own images, named in a CSV file with their labels: one row an image, a header above.

        image, label : the columns with the file's name and its label (text or numbers)
        root : the folder that the names start from, by default the one of the CSV file
        test : a second such CSV file with clean labels, and the same columns and root

        The rest as for `from_folder`. Encoding and separator are found out. A file that is missing is named with its
        line; `skip_unreadable=True` goes on without it.
        """
        if test is not None:
            sheets.read(test, (image, label), "test")  # is it there? Reading the images may take minutes
        read = folders.read_table(path, image, label, root, what="path", size=size, **reading)
        tested = None
        if test is not None:
            tested = folders.read_table(test, image, label, root, what="test", size=size, **reading)
        return cls._from_files(read, tested, path)

    @classmethod
    def _from_files(cls, read, tested, path):
        index = {name: number for number, name in enumerate(read.classes)}
        strange = [] if tested is None else [name for name in tested.classes if name not in index]
        if strange:
            raise BadInput(f"test has the class {strange[0]!r}, but path has only {', '.join(map(repr, index))}.")
        lacking = [] if tested is None else [repr(name) for name in index if name not in tested.classes]
        if lacking:
            print(f"test: no images of class {', '.join(lacking)}, so nothing is known of it")
        labels, test_labels = (
            torch.tensor([index[name] for name in each.labels] if each else [], dtype=torch.int64)
            for each in (read, tested)
        )
        test_images = read.images[:0] if tested is None else tested.images
        data = cls(read.images, labels, None, test_images, test_labels, read.classes, Path(path).expanduser().stem)
        return data._changed(files=tuple(read.files), folder=read.root)


def _check_images(name, images):
    if images.layout != torch.strided or images.device.type != "cpu":
        raise BadInput(f"{name} is {images.layout} on {images.device}, but must be an ordinary tensor on the CPU.")
    if images.dtype != torch.uint8:
        raise BadInput(f"{name} is {images.dtype}, but must be uint8 with values from 0 to 255.")
    if images.ndim != 4 or images.shape[1] == 0:
        hint = " (channels last? permute them)" if images.ndim == 4 else ""
        raise BadInput(f"{name} has shape {tuple(images.shape)}, but must be (n, channels, height, width){hint}.")
    _, c, h, w = images.shape
    if c > 4 >= w or (c == h != w and w in (3, 4)):
        raise BadInput(
            f"{name} has shape {tuple(images.shape)}: it must be (n, channels, height, width), so permute it."
        )
    if c == h == w > 1 and len(images):
        warnings.warn(
            f"{name} has shape {tuple(images.shape)}, taken as channels first. Permute it if that is wrong.",
            stacklevel=5,
        )


def _images(name, images):
    if np.ma.is_masked(images):
        raise BadInput(f"{name} is masked, but every pixel needs its number.")
    if isinstance(images, torch.Tensor):
        return as_tensor(name, images).cpu()
    try:
        return torch.as_tensor(np.array(images))  # yours stay yours
    except (TypeError, ValueError, RuntimeError):
        raise BadInput(f"{name} is a {type(images).__name__}, but must be an array (n, c, h, w) of uint8.") from None
