"""The fate of every file: what is read and how, what is not and why, and which images are there more than once."""

import hashlib
from collections import Counter

import numpy as np
import pandas as pd

from ..utils import check_flag, check_positive, expand
from . import folders, images, labels, sheets

SIDE = 16  # thumbnails of SIDE × SIDE grey pixels are compared
_SHOWN = 20  # lines of one finding


def audit(path, *, image="file", label="label", root=None, near=0.99, progress=True):
    """Look at every file of an image folder, or of a CSV file's folder, without training: a table, a row a file.

    path : a folder with one sub-folder a class, or a CSV file as for `Dataset.from_csv` with `image`, `label`, `root`
    near : two images are near duplicates if their thumbnails (16 × 16, grey) correlate at least so much

    Index `file`, relative to the folder. Columns:
    fate : "image", "unreadable" (a picture by its name, or named in the table), "skipped" or "missing" (only for CSV)
    why : the reason, where it is no image
    label : its class; "" where it has none
    format, mode, bits, width, height, orientation, alpha : as stored, see `datasets.images.Facts`
    same_as : the first file with the very same bytes, "" if there is none before it
    near : the most similar other image, "" if none is similar enough; similarity : their correlation

    `findings` makes lists of it. Nothing is changed or written.
    """
    check_positive("near", near), check_flag("progress", progress)
    path = expand("path", path)
    if not path.exists():
        raise FileNotFoundError(
            f"path is {str(path)!r}, which does not exist, but must be a folder of images, or a CSV file."
        )
    if path.is_dir():
        top, found = path, folders.listing(path)
        places = {file: path / file for file in found}
        known = {file: folders.class_of(file) for file, why in found.items() if not why}
        skipped, lines = {file: why for file, why in found.items() if why}, {}
    else:
        places, known, lines = sheets.files_and_labels(path, image, label, root)
        known = dict(zip(places, known))
        top = path.parent if root is None else expand("root", root)
        others = {file: top / file for file in folders.listing(top)}
        named = {place.resolve() for place in places.values()}
        skipped = {file: "not in the table" for file, place in others.items() if place.resolve() not in named}
    looked = images.in_threads(_look, [places[file] for file in known], "auditing" if progress else None)
    rows = {}
    for file, (why, facts, thumbnail) in zip(known, looked):
        fate = "image" if facts else "unreadable" if lines or images.is_picture(file) else "skipped"
        if lines and not facts:
            fate, why = "unreadable" if places[file].exists() else "missing", f"{why}; line {lines[file]}"
        rows[file] = {"fate": fate, "why": why, "label": known[file], **(facts._asdict() if facts else {})}
        rows[file]["thumbnail"] = thumbnail
    rows |= {file: {"fate": "skipped", "why": why, "label": ""} for file, why in skipped.items()}
    columns = ["fate", "why", "label", *images.Facts._fields, "thumbnail"]
    table = pd.DataFrame.from_dict(rows, orient="index", columns=columns).rename_axis("file")
    table = table.astype({name: "Int64" for name in ("bits", "width", "height", "orientation")})
    table["same_as"] = _same(table, {file: places.get(file, top / file) for file in rows})
    table["near"], table["similarity"] = _near(table, near)
    return table.drop(columns="thumbnail")


def findings(table):
    """What a table of `audit` says, as plain data: dict with counts and lists of file names.

    files : counts by fate; classes : images by class, in order; kinds : images by (format, mode, bits)
    unreadable, skipped, missing : file -> why
    turned : images that carry an orientation; transparent : with transparent parts
    same : groups of files with the very same bytes; two_labels : those of them with more than one class, so at least
    one label is wrong; near : (file, file, similarity); near_two_labels : those with two classes
    case : groups of names that differ in upper and lower case alone
    """
    kept = table[table.fate == "image"]
    twins = {}
    for file, first in kept.same_as.items():
        twins.setdefault(first or file, []).append(file)
    same = [group for group in twins.values() if len(group) > 1]
    label = kept.label.to_dict()
    pairs = {tuple(sorted(pair)): float(s) for *pair, s in kept[["near", "similarity"]].itertuples() if pair[1]}
    near = [[*pair, round(s, 4)] for pair, s in sorted(pairs.items(), key=lambda item: -item[1])]
    cases = {}
    for file in table.index:
        for depth in range(1, file.count("/") + 2):
            part = "/".join(file.split("/")[:depth])
            cases.setdefault(part.casefold(), {})[part] = None
    why = {fate: table.why[table.fate == fate].to_dict() for fate in ("unreadable", "missing", "skipped")}
    counts = Counter(kept.label)
    return {
        "files": {fate: int(n) for fate, n in table.fate.value_counts().items()},
        "classes": {name: counts[name] for name in labels.in_order(kept.label)},
        "kinds": {
            " ".join(map(str, kind)): int(n) for kind, n in kept.groupby(["format", "mode", "bits"]).size().items()
        },
        **why,
        "turned": kept.index[kept.orientation > 1].tolist(),
        "transparent": kept.index[kept.alpha == True].tolist(),  # noqa: E712
        "same": same,
        "two_labels": [group for group in same if len({label[file] for file in group}) > 1],
        "near": near,
        "near_two_labels": [pair for pair in near if label[pair[0]] != label[pair[1]]],
        "case": [list(group) for group in cases.values() if len(group) > 1],
    }


def report(table):
    """`findings` as a text for people."""
    found = findings(table)
    said = [f"{len(table):,} files: {', '.join(f'{n:,} {fate}' for fate, n in found['files'].items())}"]
    said += [f"classes: {labels.told(found['classes'], found['classes'])}"] if found["classes"] else []
    said += [f"stored as: {', '.join(f'{n:,} × {kind} bit' for kind, n in found['kinds'].items())}"]
    said += [f"{len(found[name]):,} {words}" for name, words in _WORDS.items() if found[name]]
    titles = {
        "missing": "missing", "unreadable": "unreadable", "skipped": "skipped",
        "two_labels": "the very same image under two classes: at least one label is wrong",
        "same": "the very same image more than once", "near_two_labels": "nearly the same image under two classes",
        "near": "nearly the same image", "case": "names that differ in upper and lower case alone",
    }  # fmt: skip
    for name in ("same", "near"):  # what lies in two classes is listed above
        found[name] = [group for group in found[name] if group not in found[_IN_TWO[name]]]
    for name, title in titles.items():
        items = [f"{file}: {why}" for file, why in found[name].items()] if name in _REASONS else found[name]
        shown = [item if isinstance(item, str) else "  =  ".join(map(str, item)) for item in items[:_SHOWN]]
        shown += [f"and {len(items) - _SHOWN:,} more"] if len(items) > _SHOWN else []
        said += [f"{title} ({len(items):,}):", *(f"  {sheets.printable(line)}" for line in shown)] if items else []
    return "\n".join(said)


_IN_TWO = {"same": "two_labels", "near": "near_two_labels"}
_REASONS = ("missing", "unreadable", "skipped")
_WORDS = {"turned": "with an orientation to be applied", "transparent": "with transparent parts"}


def _look(path):
    """(why, facts, thumbnail) of one file; facts is None where it is no image."""
    from PIL import Image

    try:
        image, facts = images.read(path)
    except ValueError as error:
        return str(error), None, None
    pixels = np.asarray(image.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX), dtype=np.float32).ravel()
    pixels -= pixels.mean()
    return "", facts, pixels / max(float(np.linalg.norm(pixels)), 1e-6)


def _same(table, places):
    """For each row the first file with the same bytes, "" where that is itself or it is no image."""
    kept = table.index[table.fate == "image"]
    sizes = {file: places[file].stat().st_size for file in kept}
    count = Counter(sizes.values())
    twins = [file for file in kept if count[sizes[file]] > 1]

    def digest(file):
        with open(places[file], "rb") as opened:
            return hashlib.file_digest(opened, "sha256").digest()

    first, same = {}, {}
    for file, key in zip(twins, images.in_threads(digest, twins)):
        same[file] = first.setdefault(key, file)
    return ["" if same.get(file, file) == file else same[file] for file in table.index]


def _near(table, least):
    """(near, similarity): for each row the most similar image with other bytes, if it is similar enough."""
    kept = table.index[(table.fate == "image") & (table.same_as == "")]
    near, similarity = pd.Series("", table.index), pd.Series(np.nan, table.index)
    if len(kept) > 1:
        thumbnails = np.stack(table.thumbnail[kept].to_list())
        step = max(1, 20_000_000 // len(kept))  # 80 MB of similarities at a time
        for start in range(0, len(kept), step):
            rows = thumbnails[start : start + step] @ thumbnails.T
            rows[np.arange(len(rows)), np.arange(start, start + len(rows))] = -1
            best, at = rows.max(1), rows.argmax(1)
            similar = best >= least
            near[kept[start : start + step][similar]] = kept[at[similar]]
            similarity[kept[start : start + step][similar]] = best[similar]
    return near, similarity
