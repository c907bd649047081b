"""One image file, or thousands, as upright 8-bit RGB: converted correctly or refused by name, never bent in silence."""

import functools
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from ..utils import BadInput, check_choice, check_flag, check_whole

BACKGROUNDS = {"white": (255, 255, 255), "black": (0, 0, 0)}
# Formats that Pillow leaves to other programs (one of them runs what is in the file), or only knows by name.
_NOT_OURS = {"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"}
# Pictures by their names that Pillow cannot read: to be told, not passed over.
_OTHER_PICTURES = (
    ".arw .cr2 .cr3 .dcm .dng .emf .eps .exr .heic .heif .jxl .nef .orf .raf .raw .rw2 .svg .svgz .wmf .xcf"
)
# EXIF's orientation -> the number of Pillow's Image.Transpose that turns the image upright.
_UPRIGHT = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}
_LISTED = 20  # names in one sentence


class Facts(NamedTuple):
    """How a file stores its image. orientation : EXIF's 1 to 8, 1 = upright; alpha : whether parts are transparent."""

    format: str
    mode: str
    bits: int
    width: int
    height: int
    orientation: int
    alpha: bool


def read(path, size=None, background="white"):
    """The image at `path` as (PIL image in RGB, Facts); the first one of an animation or of several pages.

    16 bits and whatever else has a stated range are scaled to 0 to 255, floats from 0 to 1 as well; the orientation
    that a camera notes is applied; what is transparent lies on `background` ("white" or "black"). `size` = (width,
    height) scales the image. Raises ValueError with the reason, without the name, where that cannot be done.
    """
    from PIL import Image

    try:
        _check_file(path)
        with Image.open(path, formats=_formats()) as image:
            facts = _facts(image)
            if size is not None:
                image.draft(None, (2 * max(size),) * 2)  # a JPEG is decoded smaller, at least twice as large
            image.load()
            turn = _UPRIGHT.get(_orientation(image))  # asked again: of a TIFF, Pillow has done it by now
            image, see_through = _eight_bits(image, facts, background)
            facts = facts._replace(alpha=see_through)
        image = image if turn is None else image.transpose(turn)
        if size is not None and image.size != size:
            image = image.resize(size, Image.Resampling.BILINEAR)
        return image, facts
    except Exception as error:  # a damaged file makes Pillow raise a dozen unrelated types
        raise BadInput(_reason(error)) from error


def is_picture(name):
    """Whether a file says by its name that it is a picture."""
    from PIL import Image

    suffix = Path(name).suffix.lower()
    return suffix in _OTHER_PICTURES.split() or Image.registered_extensions().get(suffix) in _formats()


def in_threads(work, items, label=None):
    """`work(item)` for each item, in order: an iterator. On all cores, for Pillow decodes outside Python's lock.

    `label` : what the progress bar is called; None = no bar.
    """
    from tqdm.auto import tqdm

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    parts = (items[start : start + 8] for start in range(0, len(items), 8))  # handing over costs time, too
    with (
        ThreadPoolExecutor(cores) as pool,
        tqdm(desc=label, total=len(items), disable=label is None, leave=False) as bar,
    ):
        try:
            for part in pool.map(lambda part: [work(item) for item in part], parts):
                yield from part
                bar.update(len(part))
        finally:
            pool.shutdown(cancel_futures=True)


def read_all(paths, *, what, lines=None, size=None, background="white", skip_unreadable=False, progress=True):
    """All images among the files `paths` (dict name -> path): (images uint8 (m, 3, h, w), the names of these m).

    what : the argument that they come from, for the sentences
    lines : where a table names the files, name -> its line; then all of them must be pictures
    size : scale to size × size pixels; None = they all have one size
    skip_unreadable : go on without pictures that cannot be read, and print their names

    Raises ValueError at the first image of another size, if pictures cannot be read (all of them in one sentence), or,
    before they are read, if the tensor does not fit in memory. Files that are no pictures, by name and content, are
    printed.
    """
    check_choice("background", background, BACKGROUNDS)
    check_flag("skip_unreadable", skip_unreadable), check_flag("progress", progress)
    wanted = None if size is None else (check_whole("size", size, least=1),) * 2
    if wanted:
        check_memory(len(paths), wanted)
    images, kept, refused, other = None, [], {}, None

    def load(name):
        try:
            return np.asarray(read(paths[name], wanted, background)[0])
        except ValueError as error:
            return str(error)

    for name, pixels in zip(paths, in_threads(load, list(paths), f"reading {what}" if progress else None)):
        if isinstance(pixels, str):
            refused[name] = f"{pixels}; line {lines[name]}" if lines else pixels
            continue
        if images is None:
            check_memory(len(paths), pixels.shape[:2])
            images = torch.empty(len(paths), 3, *pixels.shape[:2], dtype=torch.uint8)
        if pixels.shape[:2] != images.shape[2:]:
            other = pixels.shape[:2]
            break  # an error raised here would keep the threads reading
        images.numpy()[len(kept)] = pixels.transpose(2, 0, 1)
        kept.append(name)
    if other:
        few = ", ".join(f"{w}×{h}" for h, w in (images.shape[2:], other))
        raise BadInput(f"size is None, but the images come in several sizes ({few}): pass size=32, say.")
    unreadable = {name: why for name, why in refused.items() if lines or is_picture(name)}
    if unreadable and not skip_unreadable:
        raise BadInput(
            f"{what} has {len(unreadable)} file(s) that cannot be read: {listed(unreadable)}. Mend or delete them, or "
            "pass skip_unreadable=True to go on without them."
        )
    tell("left out, cannot be read", unreadable)
    tell("left out, no image", {name: why for name, why in refused.items() if name not in unreadable})
    return torch.empty(0, 3, 1, 1, dtype=torch.uint8) if images is None else images[: len(kept)], kept


def check_memory(n, shape):
    """Raise ValueError with the arithmetic unless `n` images of `shape` (height, width) fit in the free memory."""
    needed, free = n * 3 * shape[0] * shape[1], free_memory()
    if free is not None and needed > free:
        raise BadInput(
            f"the images do not fit in memory: {n:,} × 3 × {shape[0]} × {shape[1]} bytes are {needed / 1e9:.1f} GB, "
            f"and {free / 1e9:.1f} GB are free. Pass size=32 ({n * 3072 / 1e9:.1f} GB), or train in a loop of your "
            "own, with a Ledger: it keeps no images."
        )


def free_memory():
    """Bytes of free memory, as far as the system tells (Linux: within the limits of a container); else None."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = 1024 * next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))
        limit, used = (Path("/sys/fs/cgroup", f"memory.{name}") for name in ("max", "current"))
        if limit.is_file() and limit.read_text().strip().isdigit():
            free = min(free, int(limit.read_text()) - int(used.read_text()))
        return free
    except (OSError, StopIteration, ValueError):
        return None


def listed(reasons):
    """A dict name -> reason as a text; where it is long, without the rest."""
    some = [f"{name!r} ({why})" for name, why in list(reasons.items())[:_LISTED]]
    return ", ".join(some) + (f" and {len(reasons) - _LISTED} more" if len(reasons) > _LISTED else "")


def tell(title, reasons):
    """Print a line where there is something to tell."""
    if reasons:
        print(f"{title} ({len(reasons)}): {listed(reasons)}")


@functools.cache
def _formats():
    """The names of the formats that are tried, the frequent ones first."""
    from PIL import Image

    Image.init()
    frequent = ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"]
    return [*frequent, *(name for name in Image.ID if name not in _NOT_OURS | set(frequent))]


def _check_file(path):
    """Raise ValueError unless there is a file with something in it: opening a named pipe would wait for ever."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        raise BadInput("a link that leads nowhere" if os.path.islink(path) else "there is no such file") from None
    if not stat.S_ISREG(found.st_mode):
        raise BadInput("no regular file")
    if found.st_size == 0:
        raise BadInput("the file is empty")


def _facts(image):
    raw = str(image.tile[0][3]) if image.tile else ""  # how the file stores its numbers
    bits = 16 if ";16" in raw or image.mode.startswith("I;16") else {"1": 1, "I": 32, "F": 32}.get(image.mode, 8)
    if image.format == "TIFF" and image.mode.startswith("I;16"):
        bits = image.tag_v2.get(258, (16,))[0]  # 12 bits come in 16
    elif image.format in ("PNG", "PPM") and image.mode == "I":  # these know no 32 bits; Pillow scales PPM to 16
        bits = 16
    return Facts(image.format, image.mode, bits, *image.size, _orientation(image), image.has_transparency_data)


def _orientation(image):
    try:
        noted = image.getexif().get(0x0112, 1)
    except Exception:  # the notes of a camera may be damaged where the image is not
        return 1
    return noted if noted in range(1, 9) else 1


def _eight_bits(image, facts, background):
    """A loaded image in RGB, 8 bits a channel, and whether parts of it were transparent."""
    from PIL import Image

    if image.mode[0] in "IF":
        values = np.asarray(image)
        low, high, top = values.min(), values.max(), 2**facts.bits - 1
        if image.mode == "F":
            top = 1
        elif (facts.format, image.mode) == ("TIFF", "I") or facts.format not in ("PNG", "PPM", "TIFF", "JPEG2000"):
            raise BadInput(f"whole numbers from {low} to {high} without a stated range: save it with 8 or 16 bits")
        if not 0 <= low <= high <= top:  # NaN is caught as well
            raise BadInput(f"its numbers go from {low:g} to {high:g}, but must lie from 0 to {top}")
        scaled = np.rint(values.astype(np.float64) * (255 / top)).astype(np.uint8)
        if facts.format == "TIFF" and image.tag_v2.get(262) == 0:  # 0 is white; Pillow turns only 8 bits round
            scaled = 255 - scaled
        hidden = image.info.get("transparency")
        grey = Image.fromarray(scaled)
        if isinstance(hidden, int):
            grey.putalpha(Image.fromarray(np.where(values == hidden, 0, 255).astype(np.uint8)))
        image = grey
    see_through = False
    if image.has_transparency_data:
        image, under = image.convert("RGBA"), Image.new("RGBA", image.size, BACKGROUNDS[background])
        see_through = image.getchannel("A").getextrema()[0] < 255  # not only a channel for it
        under.alpha_composite(image)
        image = under
    return image.convert("RGB"), see_through


def _reason(error):
    """Why a file cannot be read, as part of a sentence."""
    from PIL import Image, UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):
        return "no image in a format that Pillow reads"
    if isinstance(error, Image.DecompressionBombError):
        return "more megapixels than Pillow opens, for fear of a decompression bomb"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
