"""Data sets by name. `load("digits")` is embedded in scikit-learn; the others are read from files, see `files`."""

from dataclasses import replace

import numpy as np
import torch

from . import files
from .dataset import Dataset
from .utils import check_choice

# Name -> its key in the label files of CIFAR-N.
_HUMAN_KEYS = {
    "cifar10n-aggre": "aggre_label",
    "cifar10n-random1": "random_label1",
    "cifar10n-random2": "random_label2",
    "cifar10n-random3": "random_label3",
    "cifar10n-worse": "worse_label",
    "cifar100n": "noisy_label",
}


def names():
    """Every name that `load` takes."""
    return ("digits", "fashion-mnist", "cifar10", "cifar100", *_HUMAN_KEYS)


def load(name="digits", root=None, download=False):
    """Load a data set by name, see `names()`.

    `root` is a folder with the files as torchvision and the CIFAR-N authors ship them. Without it, or where it lacks
    them, $STEPE_LITE_DATA and a per-user cache are looked through. `download=True` fetches what is missing into the
    first of these. Raises ValueError for an unknown name, `files.MissingData` where files are missing (it says which,
    and how to get them), `files.DamagedData` where a file's hash is wrong.
    """
    check_choice("name", name, names())
    if name == "digits":
        return _digits()
    folder = files.find(name, root, download)
    base = files.base(name)
    data = _torchvision(base, folder, name)
    if name == base:
        return data
    human = files.read_human_labels(folder, base)
    if not np.array_equal(human["clean_label"], data.labels.numpy()):
        raise files.DamagedData(f"the clean labels in {folder} differ from torchvision's, so the orders do not match.")
    return replace(data, labels=torch.as_tensor(human[_HUMAN_KEYS[name]]).long())


def _digits():
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    # 0 to 16 becomes 0 to 255. The split is one of ours: stratified, always the same, 500 test images.
    images = torch.from_numpy(np.rint(digits.images * (255 / 16)).astype(np.uint8))[:, None]
    labels = torch.from_numpy(digits.target).long()
    train, test = train_test_split(np.arange(len(labels)), test_size=500, stratify=digits.target, random_state=0)
    classes = tuple(str(c) for c in range(10))
    return Dataset(images[train], labels[train], labels[train], images[test], labels[test], classes, "digits")


def _torchvision(base, folder, name):
    reader = files.reader(base)
    train, test = (reader(folder, train=part, download=False) for part in (True, False))
    images, test_images = (_channels_first(torch.as_tensor(part.data)) for part in (train, test))
    labels, test_labels = (torch.as_tensor(part.targets).long() for part in (train, test))
    return Dataset(images, labels, labels, test_images, test_labels, tuple(train.classes), name)


def _channels_first(images):
    return images[:, None] if images.ndim == 3 else images.permute(0, 3, 1, 2).contiguous()
