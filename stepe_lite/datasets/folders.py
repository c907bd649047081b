"""Folders of images, one sub-folder a class: every file listed, and copied with other labels."""

import itertools
import os
import shutil
from collections import Counter
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import pandas as pd
import torch

from ..utils import BadInput, check_choice, check_flag, expand, folder_beside
from . import images, labels, sheets

MANIFEST = "manifest.csv"


def listing(path, what="path"):
    """Every file below the folder `path`, in order: dict "class/…/name" -> why it is no image, or "" if it may be one.

    Links to folders are followed, each folder once. Raises FileNotFoundError if there is no such folder.
    """
    root = expand("path", path)
    if not root.is_dir():
        fault = "is no folder" if root.exists() else "does not exist"
        raise FileNotFoundError(
            f"{what} is {str(path)!r}, which {fault}, but must be a folder with one sub-folder of images a class."
        )
    found, links, roots = {}, [], [Path(os.path.realpath(root))]

    def visit(folder, prefix):
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            raise type(error)(f"the folder {prefix!r} in {str(path)!r} cannot be opened ({error.strerror}).") from None
        for entry in entries:
            name = prefix + entry.name
            if not entry.is_dir():
                found[name] = _no_image(name)
            elif entry.is_symlink():
                links.append(name)
            else:
                visit(entry.path, f"{name}/")

    visit(root, "")
    for name in links:  # it grows while we go
        real = Path(os.path.realpath(root / name))
        if any(real.is_relative_to(seen) or seen.is_relative_to(real) for seen in roots):
            found[name] = "a link to a folder that is read already"
        else:
            roots.append(real)
            visit(root / name, f"{name}/")
    return dict(sorted(found.items(), key=lambda item: item[0].split("/")))


def classes_of(path):
    """The class names of the image folder `path`, in order: its sub-folders that are not hidden."""
    names = [entry.name for entry in os.scandir(expand("path", path)) if entry.is_dir()]
    return labels.in_order(name for name in names if not name.startswith(".") and name != "__MACOSX")


def class_of(file):
    return file.split("/")[0]


class Read(NamedTuple):
    """images uint8 (n, 3, h, w), class name and file of each; all class names; the folder that the files are in."""

    images: torch.Tensor
    labels: list[str]
    files: list[str]
    classes: tuple[str, ...]
    root: Path


def read(path, *, what, allow_empty=False, **how):
    """The images of a folder with one sub-folder a class: a Read, files "class/…/name"; `how` as `images.read_all`.

    Prints the classes, and what is left out with the reason.
    """
    check_flag("allow_empty", allow_empty)
    root, found = expand(what, path), listing(path, what)
    candidates = {file: root / file for file, why in found.items() if not why}
    if not candidates and any(images.is_picture(file) for file in found):
        raise BadInput(f"{what} is {str(path)!r}, but must hold a sub-folder of images for each class, not the images.")
    pixels, files = images.read_all(candidates, what=what, **how)
    classes, given = classes_of(root), [class_of(file) for file in files]
    empty = [name for name in classes if name not in given]
    if empty and not allow_empty:
        raise BadInput(
            f"{what} has no images of class {', '.join(map(repr, empty))}: delete the empty folder, or pass "
            "allow_empty=True to go on without the class."
        )
    images.tell("left out", {file: why for file, why in found.items() if why})
    images.tell("no class", {name: "a folder without images" for name in empty})
    return _told(what, Read(pixels, given, files, tuple(name for name in classes if name not in empty), root))


def read_table(path, image, label, root, *, what, **how):
    """The images that a CSV file names, as `read`. See `Dataset.from_csv`."""
    paths, given, lines = sheets.files_and_labels(path, image, label, root)
    given = dict(zip(paths, given))
    pixels, files = images.read_all(paths, what=what, lines=lines, **how)
    given = [given[file] for file in files]
    root = expand("root", path if root is None else root)
    return _told(what, Read(pixels, given, files, labels.in_order(given), root if root.is_dir() else root.parent))


def _told(what, read):
    name = read.root.name if what == "path" else what
    print(f"{name}: {len(read.files):,} images, classes {labels.told(read.classes, Counter(read.labels))}")
    return read


def copy(source, destination, decided):
    """Copy the folder `source` to the new folder `destination`, where some images get another class.

    `decided` : dict "class/name" -> class name, or None = left out. Every other file is copied as it is, image or not.
    An image whose name is taken in its new class gets a number. The copy also gets a table, manifest.csv: a row a file
    of `source`, where it is now and what happened to it: kept as decided, now of another class, dropped, or copied.
    `source` is only read, and the copy appears under its name only when it is whole.

    Raises FileExistsError if `destination` exists, ValueError if it lies in `source`, if `decided` names an image that
    is not there or a class that is none, or if a class would be left without images.
    """
    source, destination = expand("source", source), expand("destination", destination)
    if destination.resolve().is_relative_to(source.resolve()):
        raise BadInput(f"destination is {str(destination)!r}, which lies in source; choose a folder beside it.")
    files = listing(source)
    real = {sheets.printable(file): file for file in files} | {file: file for file in files}
    strange = [file for file in decided if file not in real]
    if strange:
        raise BadInput(f"source has no image {strange[0]!r}, which was decided on.")
    reviewed = {real[file]: label for file, label in decided.items()}
    places = _places(files, classes_of(source), reviewed)
    left = {class_of(place) for file, place in places.items() if not files[file] and images.is_picture(file)}
    empty = {class_of(real[file]) for file in decided} - left
    if empty:
        raise BadInput(f"class {min(empty)!r} would be left without images: keep one, or drop the class by hand.")
    rows = []
    with folder_beside(destination) as partial:
        for file in files:
            place = places.get(file)
            stays = "kept" if file in reviewed else "copied"
            what = "dropped" if place is None else stays if place == file else f"now {class_of(place)}"
            if place is not None and not (source / file).is_file():
                place, what = None, f"not copied: {files[file] or 'no regular file'}"
            if place is not None:
                (partial / place).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source / file, partial / place)
            rows.append((sheets.printable(file), "" if place is None else sheets.printable(place), what))
        for name in classes_of(source):
            (partial / name).mkdir(exist_ok=True)  # where it was empty
        table = pd.DataFrame(rows, columns=["file", "place", "what"])
        table.to_csv(
            partial / _numbered(MANIFEST, {file.casefold() for file in files}), index=False, encoding="utf-8-sig"
        )


def _places(files, classes, decided):
    """Where each file goes: dict "class/name" -> "class/name", without the dropped ones. No two go to one place.

    Files that stay in their class keep their names.
    """
    for label in set(decided.values()) - {None}:
        check_choice("label", label, classes)
    moving = {file for file in decided if decided[file] not in (None, class_of(file))}
    places = {file: file for file in files if file not in moving and decided.get(file, "") is not None}
    taken = {file.casefold() for file in places}  # some file systems do not tell A.png from a.png
    for file in [file for file in decided if file in moving]:
        places[file] = _numbered(str(PurePosixPath(decided[file], *PurePosixPath(file).parts[1:])), taken)
        taken.add(places[file].casefold())
    return places


def _numbered(name, taken):
    """`name`, with a number where it is in `taken` (lower case)."""
    path = PurePosixPath(name)
    names = itertools.chain([path], (path.with_stem(f"{path.stem}_{number}") for number in itertools.count(2)))
    return next(str(each) for each in names if str(each).casefold() not in taken)


def _no_image(name):
    """Why the file `name` is no image, "" if it may be one."""
    *folders, last = name.split("/")
    if "__MACOSX" in folders or last.startswith("._"):
        return "left by macOS"
    if any(part.startswith(".") for part in (*folders, last)):
        return "hidden"
    return "" if folders else "in no class folder"
