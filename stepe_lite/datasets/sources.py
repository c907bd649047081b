"""Data sets by name, and the files behind them: where they are looked for, whether they are whole, how to get them."""

import functools
import gzip
import hashlib
import os
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from ..utils import check_choice, expand, scratch_folder, written_beside
from .dataset import Dataset

HUMAN_URL = "https://github.com/UCSC-REAL/cifar-10-100n/raw/main/data/"
_DEBIAN = Path("/usr/share/datasets/fashion-mnist")  # where Debian's package dataset-fashion-mnist puts it
# Name -> its key in the label files of CIFAR-N.
_HUMAN_KEYS = {
    "cifar10n-aggre": "aggre_label",
    "cifar10n-random1": "random_label1",
    "cifar10n-random2": "random_label2",
    "cifar10n-random3": "random_label3",
    "cifar10n-worse": "worse_label",
    "cifar100n": "noisy_label",
}
_SIZE_MB = {"fashion-mnist": 53, "cifar10": 186, "cifar100": 186}  # on disk

# Path under the data folder -> algorithm:hash. Images: torchvision's own MD5s (Fashion-MNIST: of the unpacked files).
# Human labels: SHA-256 of the files that the authors of CIFAR-N publish.
_FASHION = {
    "FashionMNIST/raw/train-images-idx3-ubyte": "md5:f4a8712d7a061bf5bd6d2ca38dc4d50a",
    "FashionMNIST/raw/train-labels-idx1-ubyte": "md5:9018921c3c673c538a1fc5bad174d6f9",
    "FashionMNIST/raw/t10k-images-idx3-ubyte": "md5:8181f5470baa50b63fa0f6fddb340f0a",
    "FashionMNIST/raw/t10k-labels-idx1-ubyte": "md5:15d484375f8d13e6eb1aabb0c3f46965",
}
_HUMAN = {
    "cifar10": {"CIFAR-10_human.pt": "sha256:873e69c39cb9b5e97fb6bae2d60bb59b38a5cbc31d2b868f7903dcb2b9dd2310"},
    "cifar100": {"CIFAR-100_human.pt": "sha256:bd2d80409754d420292d622e15e25248ba21e37d27429efac49c8da723f44394"},
}


class MissingData(FileNotFoundError):
    """Files of a data set are missing; the message says which, where they were looked for and how to get them."""


class DamagedData(OSError):
    """A file of a data set is damaged or cut short; the message shows the hash."""


def names():
    """Every name that `load` takes."""
    return ("digits", "fashion-mnist", "cifar10", "cifar100", *_HUMAN_KEYS)


def load(name="digits", root=None, download=False):
    """Load a data set by name, see `names()`.

    `root` is a folder with the files as torchvision and the CIFAR-N authors ship them. Without it, or where it lacks
    them, $STEPE_LITE_DATA and a per-user cache are looked through. `download=True` fetches what is missing into the
    first of these. Raises ValueError for an unknown name, `MissingData` where files are missing (it says which,
    and how to get them), `DamagedData` where a file's hash is wrong.
    """
    check_choice("name", name, names())
    if name == "digits":
        return _digits()
    folder = find(name, root, download)
    images_of = base(name)
    data = _torchvision(images_of, folder, name)
    if name == images_of:
        return data
    human = read_human_labels(folder, images_of)
    if not np.array_equal(human["clean_label"], data.labels.numpy()):
        raise DamagedData(f"the clean labels in {folder} differ from torchvision's, so the orders do not match.")
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


def _torchvision(images_of, folder, name):
    train, test = (reader(images_of)(folder, train=part, download=False) for part in (True, False))
    images, test_images = (_channels_first(torch.as_tensor(part.data)) for part in (train, test))
    labels, test_labels = (torch.as_tensor(part.targets).long() for part in (train, test))
    return Dataset(images, labels, labels, test_images, test_labels, tuple(train.classes), name)


def _channels_first(images):
    return images[:, None] if images.ndim == 3 else images.permute(0, 3, 1, 2).contiguous()


def base(name):
    """The data set whose images `name` uses: cifar10n-worse -> cifar10."""
    return name.split("-")[0].removesuffix("n") if name.startswith("cifar") else name


def reader(base):
    """torchvision's class for the images of `base`."""
    from torchvision import datasets

    return {"fashion-mnist": datasets.FashionMNIST, "cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}[base]


def needed(name):
    """Files of data set `name`: dict of path under the data folder -> "algorithm:hash". Digits needs none."""
    if name == "digits":
        return {}
    images_of = base(name)
    if images_of == "fashion-mnist":
        return dict(_FASHION)
    cifar = reader(images_of)
    listed = [*cifar.train_list, *cifar.test_list, (cifar.meta["filename"], cifar.meta["md5"])]
    images = {f"{cifar.base_folder}/{file}": f"md5:{md5}" for file, md5 in listed}
    return images | (_HUMAN[images_of] if name != images_of else {})


def cache():
    """The per-user folder for downloads; None where nobody knows the user's home."""
    from platformdirs import user_cache_path

    path = user_cache_path("stepe_lite")
    return None if str(path).startswith("~") else path


def places(root=None):
    """The folders to look in, best first: root, $STEPE_LITE_DATA, the per-user cache."""
    named = {"root": root, "$STEPE_LITE_DATA": os.environ.get("STEPE_LITE_DATA"), "the per-user cache": cache()}
    return [expand(name, path) for name, path in named.items() if path]


def check(folder, name):
    """State of each file of `name` in `folder`: dict path -> "ok", "missing" or "damaged: …" with both hashes."""
    states = {}
    for path, known in needed(name).items():
        algorithm, expected = known.split(":")
        if not (folder / path).is_file():
            states[path] = "missing"
        else:
            status = (folder / path).stat()
            found = _hash(folder / path, algorithm, status.st_mtime_ns, status.st_size)
            states[path] = "ok" if found == expected else f"damaged: its {algorithm} is {found}, expected {expected}"
    return states


@functools.cache
def _hash(path, algorithm, *_):
    """The hash of a file; what follows (its time and size) says when it must be computed anew."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def find(name, root=None, download=False):
    """The folder that holds all files of `name`, each with the right hash. See `datasets.load` for what it raises."""
    tried = places(root)
    for folder in tried:
        if all((folder / path).is_file() for path in needed(name)):
            try:
                return _whole(folder, name)
            except DamagedData:
                if not download:
                    raise
    if name == "fashion-mnist" and _DEBIAN.is_dir() and cache():
        return _unpack_debian(cache())
    if not download or not tried:
        raise MissingData(_missing(name, tried))
    fetch(name, tried[0])
    return _whole(tried[0], name)


def fetch(name, folder):
    """Download the files of `name` into `folder` (images by torchvision, human labels by pooch) and check them."""
    import pooch

    images_of = base(name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        missing = {path for path, state in check(folder, name).items() if state != "ok"}
        labels = _HUMAN[images_of] if name != images_of else {}
        # Into a folder beside, then renamed: an interrupted download leaves no half a file under its name.
        with scratch_folder(folder) as beside:
            if any(path not in labels for path in missing):
                reader(images_of)(beside, download=True)
            for path in labels.keys() & missing:
                pooch.retrieve(HUMAN_URL + path, known_hash=labels[path], fname=path, path=beside, progressbar=True)
            for path in missing:
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                (beside / path).replace(folder / path)
    except (OSError, RuntimeError, ValueError) as error:
        raise MissingData(f"the download of {name} failed ({error}). {_missing(name, [folder])}") from error


def read_human_labels(folder, base):
    """The CIFAR-N label file in `folder` for `base` ("cifar10" or "cifar100"): dict of name -> int array (50000,).

    The files are pickles, and a pickle can name any function to be run. torch's restricted unpickler is told the four
    NumPy names that these files use (its own harmless ones it knows); a file with any other is refused: DamagedData.
    """
    import _codecs

    (path,) = _HUMAN[base]
    allowed = [
        (np.ndarray, "numpy.ndarray"),
        (np.dtype, "numpy.dtype"),
        (np._core.multiarray._reconstruct, "numpy.core.multiarray._reconstruct"),
        (_codecs.encode, "_codecs.encode"),
        type(np.dtype("int64")),
    ]
    try:
        with torch.serialization.safe_globals(allowed):
            return torch.load(folder / path, weights_only=True)
    except Exception as error:  # an unpickler that is refused or cut short raises half a dozen unrelated types
        whose = f"{folder / path} is not the file of arrays that the authors of CIFAR-N publish"
        raise DamagedData(
            f"{whose}; nothing in it was run ({type(error).__name__}). Delete it and get it again."
        ) from error


def _unpack_debian(folder):
    """Unpack Debian's .gz files into `folder` as torchvision expects them, if they are whole."""
    for path, known in _FASHION.items():
        packed = _DEBIAN / f"{Path(path).name}.gz"
        try:
            content = gzip.decompress(packed.read_bytes())
        except (EOFError, zlib.error, OSError) as error:
            raise DamagedData(f"{packed} cannot be unpacked ({error}).") from error
        found = hashlib.md5(content).hexdigest()
        if f"md5:{found}" != known:
            raise DamagedData(f"{packed} is damaged: unpacked, its md5 is {found}, expected {known[4:]}.")
        try:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            with written_beside(folder / path) as partial:
                partial.write_bytes(content)
        except OSError as error:
            raise OSError(
                f"fashion-mnist lies packed in {_DEBIAN} and cannot be unpacked into {folder} ({error.strerror}): "
                "let $XDG_CACHE_HOME name a folder that can be written to."
            ) from error
    return folder


def _whole(folder, name):
    """`folder`, once every file of `name` in it has the right hash; else DamagedData."""
    for path, state in check(folder, name).items():
        if state != "ok":
            raise DamagedData(f"{folder / path} is {state}. Delete it and get it again: {_command(name)}")
    return folder


def _command(name):
    return f"stepe-lite data {name} --download"


def _missing(name, tried):
    files = ", ".join(needed(name))
    return (
        f"{name} needs these files ({_SIZE_MB[base(name)]} MB): {files}. Looked in {', '.join(map(str, tried))}. "
        f"Get them with: {_command(name)}. Or copy them there by hand; $STEPE_LITE_DATA may name another folder."
    )
