"""Folders of images, one sub-folder a class: read as tensors, listed, and copied with other labels."""

import itertools
import shutil
from pathlib import Path, PurePosixPath

import torch

from .. import validate
from ..atomic import folder_beside


def read(path, size=None):
    """All images of a folder with one sub-folder a class: (images uint8 (n, 3, h, w), labels int64 (n,), class names).

    `size` as for `Dataset.from_folder`, or (height, width). Sub-folders whose name begins with a dot are no classes.
    Raises FileNotFoundError if there is no such folder, or where a class has no images; ValueError if an image cannot
    be read, or if the images differ in size and `size` is None.
    """
    from torchvision.transforms import v2

    if size is not None and not isinstance(size, tuple):
        size = (validate.whole("size", size, least=1),) * 2
    resize = [] if size is None else [v2.Resize(size, antialias=True)]
    folder, transform = _image_folder(path), v2.Compose([v2.PILToTensor(), *resize])
    images = []
    for file in _files(folder):
        try:
            images.append(transform(folder.loader(Path(folder.root, file))))
        except OSError as error:  # Pillow's UnidentifiedImageError is one
            raise ValueError(f"path has an image that cannot be read: {file!r} ({error}).") from error
    if len({image.shape for image in images}) > 1:
        shapes = sorted({f"{image.shape[2]}×{image.shape[1]}" for image in images})
        raise ValueError(
            f"size is None, but the images come in {len(shapes)} sizes ({', '.join(shapes[:3])}): pass size=32, say."
        )
    return torch.stack(images), torch.tensor(folder.targets), folder.classes


def image_files(folder):
    """The images of a folder with one sub-folder a class, in the order of `Dataset.from_folder`: list of "class/name".

    Raises FileNotFoundError if there is no such folder, or where a class has no images.
    """
    return _files(_image_folder(folder))


def _files(folder):
    return [Path(path).relative_to(folder.root).as_posix() for path, _ in folder.imgs]


def _image_folder(path):
    from torchvision.datasets import ImageFolder

    class Visible(ImageFolder):
        def find_classes(self, directory):  # Jupyter leaves folders called .ipynb_checkpoints
            classes, _ = super().find_classes(directory)
            classes = [name for name in classes if not name.startswith(".")]
            return classes, {name: number for number, name in enumerate(classes)}

    path = Path(path).expanduser()
    if not path.is_dir():
        raise FileNotFoundError(f"path is {str(path)!r}, but must be a folder with one sub-folder of images a class.")
    return Visible(path)


def copy(source, destination, labels):
    """Copy the image folder `source` to the new folder `destination`, where some images get another class.

    `labels` : dict "class/name" -> class name, or None = left out. All other images are copied as they are. An image
    whose name is taken in its new class gets a number. Files that are no images are not copied. `source` is only read,
    and the copy appears under its name only when it is whole.

    Raises FileExistsError if `destination` exists, ValueError if it lies in `source`, if `labels` names an image that
    is not there or a class that is none, or if a class would be left without images.
    """
    source, destination = Path(source).expanduser(), Path(destination).expanduser()
    if destination.resolve().is_relative_to(source.resolve()):
        raise ValueError(f"destination is {str(destination)!r}, which lies in source; choose a folder beside it.")
    places = _places(image_files(source), labels)
    with folder_beside(destination) as partial:
        for old, new in places.items():
            (partial / new).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source / old, partial / new)


def _places(files, labels):
    """Where each file goes: dict "class/name" -> "class/name", without the dropped ones. No two go to one place.

    Files that stay in their class keep their names.
    """
    strange = set(labels) - set(files)
    if strange:
        raise ValueError(f"source has no image {min(strange)!r}, which labels names.")
    classes = sorted({_class_of(file) for file in files})
    for label in set(labels.values()) - {None}:
        validate.choice("label", label, classes)
    staying = [file for file in files if labels.get(file, _class_of(file)) == _class_of(file)]
    places = {file: file for file in staying}
    taken = {file.casefold() for file in staying}  # some file systems do not tell A.png from a.png
    for file, label in labels.items():
        if label is None or file in places:
            continue
        inside = PurePosixPath(label, *PurePosixPath(file).parts[1:])
        names = (inside.with_stem(f"{inside.stem}_{number}") for number in itertools.count(2))
        place = next(str(name) for name in itertools.chain([inside], names) if str(name).casefold() not in taken)
        places[file] = place
        taken.add(place.casefold())
    empty = set(classes) - {_class_of(place) for place in places.values()}
    if empty:
        raise ValueError(f"class {min(empty)!r} would be left without images: keep one, or drop the class by hand.")
    return places


def _class_of(file):
    return PurePosixPath(file).parts[0]
