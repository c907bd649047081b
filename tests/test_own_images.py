"""Images as they lie on real desks: converted correctly or refused by name, no file lost, labels as text."""

import io
import itertools
import json
import os
import re
import struct
import time
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps, PngImagePlugin, features

from stepe_lite import Dataset
from stepe_lite.cli import main
from stepe_lite.datasets import audit, folders, images, labels, sheets

W, H = 64, 24
RAMP = np.tile(np.linspace(0, 1, W), (H, 1))
UNEVEN = np.random.default_rng(0).integers(0, 256, (H, W, 3)).astype(np.uint8)
UNEVEN[: H // 2, : W // 2] = 255


def saved(path, picture, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        picture.save(path, **options)
    except (KeyError, OSError) as error:
        pytest.skip(f"this Pillow reads it, but does not write it: {error}")
    return path


def pixels(path, **how):
    return np.asarray(images.read(path, **how)[0]).astype(int)


def smooth(seed=0, size=(W, H)):
    """A picture that survives JPEG."""
    small = np.random.default_rng(seed).integers(0, 256, (6, 8, 3)).astype(np.uint8)
    return Image.fromarray(small).resize(size, Image.Resampling.BICUBIC)


# --- one image


@pytest.mark.parametrize("name", ["deep.png", "deep.tif", "deep.jp2", "deep.pgm"])
def test_16_bits_are_scaled_not_cut(tmp_path, name):
    deep = np.rint(RAMP * 65535).astype(np.uint16)
    if name.endswith("pgm"):
        (tmp_path / name).write_bytes(f"P5 {W} {H} 65535\n".encode() + deep.astype(">u2").tobytes())
    else:
        saved(tmp_path / name, Image.fromarray(deep), **({"irreversible": False} if "jp2" in name else {}))
    found = pixels(tmp_path / name)
    assert np.abs(found - np.rint(deep / 257)[..., None]).max() <= 1
    assert images.read(tmp_path / name)[1].bits == 16


def tiff(path, values, bits, photometric=1, sample_format=1):
    """An uncompressed TIFF written by hand: Pillow writes neither 12 bits nor white as 0."""
    if bits == 12:
        even, odd = values.ravel()[::2].astype(int), values.ravel()[1::2].astype(int)
        content = np.stack([even >> 4, (even & 15) << 4 | odd >> 8, odd & 255], 1).astype(np.uint8).tobytes()
    else:
        content = values.tobytes()
    tags = [(256, W), (257, H), (258, bits), (259, 1), (262, photometric), (273, 8 + 2 + 9 * 12 + 4), (277, 1)]
    tags += [(278, H), (279, len(content))]
    tags = sorted([*tags, (339, sample_format)]) if sample_format != 1 else tags
    start = 8 + 2 + len(tags) * 12 + 4
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, start if tag == 273 else value) for tag, value in tags)
    path.write_bytes(struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + entries + bytes(4) + content)
    return path


def test_12_bits_and_white_as_zero_keep_their_meaning(tmp_path):
    twelve = np.rint(RAMP * 4095).astype(np.uint16)
    found = pixels(tiff(tmp_path / "12.tif", twelve, 12))
    assert np.abs(found[..., 0] - np.rint(RAMP * 255)).max() <= 1
    found = pixels(tiff(tmp_path / "white.tif", np.rint((1 - RAMP) * 65535).astype(np.uint16), 16, photometric=0))
    assert np.abs(found[..., 0] - np.rint(RAMP * 255)).max() <= 1


def test_floats_from_0_to_1_are_scaled_and_others_refused(tmp_path):
    for scale, said in ((1, None), (500, "must lie from 0 to 1"), (-1, "from -1 to -0"), (np.nan, "nan to nan")):
        path = saved(tmp_path / "float.tiff", Image.fromarray((RAMP * scale).astype(np.float32)))
        if said is None:
            assert np.abs(pixels(path)[..., 1] - np.rint(RAMP * 255)).max() == 0
        else:
            with pytest.raises(ValueError, match=said):
                images.read(path)


def test_whole_numbers_without_a_stated_range_are_refused(tmp_path):
    path = saved(tmp_path / "32.tif", Image.fromarray(np.rint(RAMP * 70000).astype(np.int32)))
    with pytest.raises(ValueError, match="from 0 to 70000 without a stated range"):
        images.read(path)
    path = tiff(tmp_path / "signed.tif", np.rint(RAMP * 900).astype(np.int16), 16, sample_format=2)
    with pytest.raises(ValueError, match="from 0 to 900 without a stated range"):
        images.read(path)


@pytest.mark.parametrize("form", ["jpeg", "png", "webp", "tiff"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_turned_upright(tmp_path, form, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 95} if form in ("jpeg", "webp") else {}
    path = saved(tmp_path / f"turned.{form}", smooth(), format=form, exif=exif, **options)
    upright = np.asarray(ImageOps.exif_transpose(Image.open(path)).convert("RGB")).astype(int)
    found, facts = images.read(path)
    assert found.size == (upright.shape[1], upright.shape[0])
    assert np.abs(np.asarray(found).astype(int) - upright).mean() < 1
    assert facts.orientation == orientation
    assert images.read(path, (9, 9))[0].size == (9, 9)


def test_a_damaged_note_of_the_orientation_does_not_stop_an_image(tmp_path):
    path = saved(tmp_path / "a.png", smooth(), exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
    assert np.array_equal(pixels(path), np.asarray(smooth()))


@pytest.mark.parametrize("name", ["a.png", "a.webp", "a.tga", "a.gif", "a.tif", "a.ico"])
def test_what_is_transparent_lies_on_white_or_black(tmp_path, name):
    clear = np.dstack([np.full((H, W), 200), np.zeros((H, W)), np.zeros((H, W)), np.where(RAMP > 0.5, 255, 0)])
    picture = Image.fromarray(clear.astype(np.uint8))
    path = saved(tmp_path / name, picture, **({"lossless": True} if "webp" in name else {}))
    for background, value in images.BACKGROUNDS.items():
        found = pixels(path, background=background)
        assert np.array_equal(found[1, 1], value), background
        assert np.abs(found[1, -2] - (200, 0, 0)).max() <= 2


@pytest.mark.parametrize("name", ["a.png", "a.webp", "a.tif"])
def test_an_image_that_could_be_transparent_but_is_not_is_not_called_so(tmp_path, name):
    opaque = saved(tmp_path / name, smooth().convert("RGBA"))
    assert images.read(opaque)[1].alpha is False
    clear = smooth().convert("RGBA")
    clear.putpixel((0, 0), (1, 2, 3, 254))
    assert images.read(saved(tmp_path / f"clear-{name}", clear))[1].alpha is True


def test_the_transparent_value_of_grey_and_palette_images_counts_too(tmp_path):
    deep = np.where(RAMP > 0.5, 40000, 100).astype(np.uint16)
    path = saved(tmp_path / "deep.png", Image.fromarray(deep), transparency=100)
    assert pixels(path)[0, 0].tolist() == [255] * 3 and abs(pixels(path)[0, -1] - 40000 / 257).max() <= 1
    grey = Image.fromarray(np.where(RAMP > 0.5, 90, 7).astype(np.uint8))
    assert pixels(saved(tmp_path / "grey.png", grey, transparency=7))[0, 0].tolist() == [255] * 3
    palette = smooth().quantize(8)
    first = palette.getpixel((0, 0))
    assert pixels(saved(tmp_path / "p.png", palette, transparency=first), background="black")[0, 0].tolist() == [0] * 3


@pytest.mark.parametrize(
    "name", ["a.gif", "a.jfif", "a.bmp", "a.ppm", "a.qoi", "a.pcx", "a.sgi", "a.JPEG", "a.tiff", "no suffix", "a.dat"]
)
def test_everything_that_pillow_reads_is_an_image_whatever_its_name(tmp_path, name):
    known = {".jfif": "jpeg", ".dat": "png", "": "png"}
    picture = smooth().quantize(64).convert("RGB")
    saved(tmp_path / "x" / name, picture, format=known.get(Path(name).suffix))
    saved(tmp_path / "y" / "b.png", picture)
    data = Dataset.from_folder(tmp_path, progress=False)
    assert data.files == (f"x/{name}", "y/b.png")
    assert (data.images[0].int() - data.images[1].int()).abs().float().mean() < 20


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow reads no AVIF")
def test_avif_is_an_image(tmp_path):
    path = saved(tmp_path / "a.avif", smooth(), quality=95)
    assert np.abs(pixels(path) - np.asarray(smooth()).astype(int)).mean() < 6


def test_of_an_animation_the_first_frame_is_taken(tmp_path):
    frames = [Image.new("RGB", (W, H), colour) for colour in ("red", "lime", "blue")]
    for name in ("a.gif", "a.png", "a.webp", "a.tiff"):
        saved(tmp_path / name, frames[0], save_all=True, append_images=frames[1:])
        assert np.abs(pixels(tmp_path / name)[3, 3] - (255, 0, 0)).max() <= 2, name


# --- files that cannot be read


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def damaged(folder):
    """Pictures that cannot be read, each in its own way: dict name -> words of the reason."""
    folder.mkdir(parents=True, exist_ok=True)
    whole = {}
    for form in ("png", "webp", "tiff", "bmp"):
        buffer = io.BytesIO()
        Image.fromarray(UNEVEN).save(buffer, form)
        whole[form] = buffer.getvalue()
        (folder / f"cut.{form}").write_bytes(whole[form][: len(whole[form]) // 2])
    header = struct.pack(">IIBBBBB", 20_000, 10_000, 8, 2, 0, 0, 0)
    large = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"0")) + chunk(b"IEND", b"")
    (folder / "large.png").write_bytes(large)
    (folder / "empty.webp").write_bytes(b"")
    (folder / "letter.jpg").write_text("<html>not found</html>")
    (folder / "phone.HEIC").write_bytes(b"\0\0\0\x18ftypheic")
    (folder / "drawing.eps").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    text = PngImagePlugin.PngInfo()
    text.add_text("comment", "x" * 3_000_000, zip=True)
    smooth().save(folder / "long text.png", pnginfo=text)
    (folder / "gone.png").symlink_to(folder / "nowhere.png")
    os.mkfifo(folder / "pipe.png")
    return {
        **dict.fromkeys(("cut.png", "cut.webp", "cut.tiff", "cut.bmp", "long text.png"), ""),
        "large.png": "megapixels", "empty.webp": "the file is empty", "letter.jpg": "no image",
        "phone.HEIC": "no image", "drawing.eps": "no image",
        "gone.png": "a link that leads nowhere", "pipe.png": "no regular file",
    }  # fmt: skip


def good(folder, number=3):
    for name in ("cat", "dog"):
        for i in range(number):
            saved(folder / name / f"{name}{i}.png", smooth(i + 10 * (name == "dog")))
    return folder


def test_all_unreadable_files_are_named_in_one_go_with_the_reason(tmp_path):
    reasons = damaged(good(tmp_path) / "cat")
    with pytest.raises(ValueError, match=f"path has {len(reasons)} ") as refusal:
        Dataset.from_folder(tmp_path, progress=False)
    said = str(refusal.value)
    assert "\n" not in said and str(tmp_path) not in said and "skip_unreadable=True" in said
    for name, why in reasons.items():
        assert f"'cat/{name}' (" in said and why in said.split(f"'cat/{name}' (")[1].split("), ")[0], name


def test_skip_unreadable_goes_on_and_lists_what_was_left_out(tmp_path, capsys):
    reasons = damaged(good(tmp_path) / "cat")
    (tmp_path / "dog" / "notes.txt").write_text("on Sunday")
    data = Dataset.from_folder(tmp_path, skip_unreadable=True, progress=False)
    assert data.files == tuple(f"{name}/{name}{i}.png" for name in ("cat", "dog") for i in range(3))
    assert [np.asarray(smooth(i)).transpose(2, 0, 1).tolist() for i in range(3)] == data.images[:3].tolist()
    said = capsys.readouterr().out
    assert f"left out, cannot be read ({len(reasons)}): 'cat/cut.bmp'" in said
    assert "left out, no image (1): 'dog/notes.txt'" in said
    assert f"{tmp_path.name}: 6 images, classes 0 = 'cat' (3), 1 = 'dog' (3)" in said


def test_what_macos_and_jupyter_leave_is_no_image_and_no_class(tmp_path, capsys):
    good(tmp_path)
    (tmp_path / "cat" / "._cat0.png").write_bytes(b"\0\5\x16\7" + bytes(60))
    for folder in ("__MACOSX/cat", ".ipynb_checkpoints", "dog/__MACOSX"):
        saved(tmp_path / folder / "x.png", smooth())
    (tmp_path / "cat" / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    saved(tmp_path / "loose.png", smooth())
    data = Dataset.from_folder(tmp_path, progress=False)
    assert data.classes == ("cat", "dog") and len(data) == 6
    said = capsys.readouterr().out
    assert "left out (6)" in said and "'cat/._cat0.png' (left by macOS)" in said
    assert "'loose.png' (in no class folder)" in said and "'cat/.DS_Store' (hidden)" in said


def test_links_to_folders_are_followed_once(tmp_path):
    good(tmp_path / "real")
    saved(tmp_path / "elsewhere" / "a.png", smooth(99))
    (tmp_path / "real" / "bird").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "real" / "cat" / "loop").symlink_to(tmp_path / "real")
    (tmp_path / "real" / "again").symlink_to(tmp_path / "real" / "dog")
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path)
    found = folders.listing(tmp_path / "real")
    assert [file for file, why in found.items() if not why] == [
        "bird/a.png", *(f"{name}/{name}{i}.png" for name in ("cat", "dog") for i in range(3)),
    ]  # fmt: skip
    assert {file for file, why in found.items() if "read already" in why} == {"again", "bird/back", "cat/loop"}


def test_an_empty_class_folder_is_named_and_there_is_a_way_on(tmp_path, capsys):
    good(tmp_path)
    (tmp_path / "emu").mkdir()
    (tmp_path / "yak").mkdir()
    (tmp_path / "yak" / "notes.txt").write_text("later")
    with pytest.raises(ValueError, match=r"no images of class 'emu', 'yak': delete the empty folder, or .*allow_empty"):
        Dataset.from_folder(tmp_path, progress=False)
    assert Dataset.from_folder(tmp_path, allow_empty=True, progress=False).classes == ("cat", "dog")
    assert "no class (2): 'emu' (a folder without images)" in capsys.readouterr().out


def test_a_test_folder_may_lack_a_class(tmp_path, capsys):
    good(tmp_path / "train"), good(tmp_path / "test")
    saved(tmp_path / "train" / "bird" / "a.png", smooth(50))
    data = Dataset.from_folder(tmp_path / "train", test=tmp_path / "test", progress=False)
    assert data.classes == ("bird", "cat", "dog") and data.test_labels.tolist() == [1] * 3 + [2] * 3
    assert "test: no images of class 'bird'" in capsys.readouterr().out


def test_numbered_classes_are_in_the_order_of_their_numbers(tmp_path, capsys):
    for name in ("10", "9", "100", "x", "1"):
        saved(tmp_path / name / "a.png", smooth())
    assert Dataset.from_folder(tmp_path, progress=False).classes == ("1", "9", "10", "100", "x")
    assert "0 = '1' (1), 1 = '9' (1)" in capsys.readouterr().out


def test_what_is_wrong_with_size_or_test_is_said_before_images_are_read(tmp_path, monkeypatch):
    good(tmp_path / "images")
    table = tmp_path / "images" / "labels.csv"
    table.write_text("file,label\ncat/0.png,cat\ndog/0.png,dog\n")
    read, count = images.read, itertools.count()
    monkeypatch.setattr(images, "read", lambda *args: (next(count), read(*args))[1])
    for size in (0, 32.0, "32", True, (32,), (32, 0), [32, 32]):
        with pytest.raises(ValueError, match=rf"size is {re.escape(repr(size))}, but must be a whole number, at least"):
            Dataset.from_folder(tmp_path / "images", size=size)
        with pytest.raises(ValueError, match=rf"size is {re.escape(repr(size))}, but must be a whole number, at least"):
            Dataset.from_csv(table, size=size)
    with pytest.raises(ValueError, match="the images do not fit in memory: 6 × 3 × 1000000 × 1000000 bytes"):
        Dataset.from_folder(tmp_path / "images", size=10**6)
    with pytest.raises(FileNotFoundError, match=r"test is .*nowhere.*, but must be a folder"):
        Dataset.from_folder(tmp_path / "images", test=tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"test is .*none.csv', which does not exist, but must be a CSV file"):
        Dataset.from_csv(table, test=tmp_path / "none.csv")
    assert next(count) == 0
    # The first file of another size ends it. Reading is slow, so the threads are not through before that is seen.
    monkeypatch.setattr(images, "read", lambda *args: (next(count), time.sleep(0.05), read(*args))[2])
    for number in range(40):
        saved(tmp_path / "images" / "dog" / f"{number}.png", smooth(number, (9, 9 + number)))
    with pytest.raises(ValueError, match="size is None, but the images come in several sizes"):
        Dataset.from_folder(tmp_path / "images", progress=False)
    assert next(count) < 40, "all files were read"


def test_images_that_do_not_fit_in_memory_are_refused_with_the_arithmetic(tmp_path, monkeypatch):
    good(tmp_path)
    monkeypatch.setattr(images, "free_memory", lambda: 20_000)
    with pytest.raises(ValueError, match=r"6 × 3 × 24 × 64 bytes are 0\.0 GB, and 0\.0 GB are free\. Pass size=32"):
        Dataset.from_folder(tmp_path, progress=False)
    assert len(Dataset.from_folder(tmp_path, size=16, progress=False)) == 6


@pytest.mark.skipif(not Path("/proc/meminfo").exists(), reason="only Linux tells")
def test_the_free_memory_is_a_sensible_number():
    assert 10**7 < images.free_memory() < 10**14


def test_a_large_photo_is_scaled_the_same_as_without_the_short_cut(tmp_path):
    path = saved(tmp_path / "photo.jpg", smooth(3, (1600, 1200)), quality=95)
    direct = Image.open(path).convert("RGB").resize((32, 32), Image.Resampling.BILINEAR)
    assert np.abs(pixels(path, size=(32, 32)) - np.asarray(direct).astype(int)).mean() < 1


# --- labels as people have them


@pytest.mark.parametrize(
    ("given", "classes", "wanted"),
    [
        (["b", "a", "b", "c"], ("a", "b", "c"), [1, 0, 1, 2]),
        (np.array(["b", "a", "b", "c"]), ("a", "b", "c"), [1, 0, 1, 2]),
        (pd.Series(["b", "a", "b", "c"], index=[5, 6, 7, 8]), ("a", "b", "c"), [1, 0, 1, 2]),
        (pd.Series([1, 0, 1, 2], index=[5, 6, 7, 8]), ("0", "1", "2"), [1, 0, 1, 2]),
        (pd.Series([1, 0, 1, 2], dtype="Int64"), ("0", "1", "2"), [1, 0, 1, 2]),
        (pd.Series(["1", "10", "9", "9"]), ("1", "9", "10"), [0, 2, 1, 1]),
        (
            pd.Categorical(["low", "high", "low", "high"], categories=["low", "mid", "high"]),
            ("low", "high"),
            [0, 1] * 2,
        ),
        (pd.Series(["x", "y", "x", "y"], dtype="category"), ("x", "y"), [0, 1] * 2),
        ([1.0, 0.0, 1.0, 2.0], ("0", "1", "2"), [1, 0, 1, 2]),
        ([1, 2, 3, 3], ("1", "2", "3"), [0, 1, 2, 2]),
        (torch.tensor([7, 7, 10**12, -1]), ("-1", "7", str(10**12)), [1, 1, 2, 0]),
    ],
    ids=str,
)
def test_labels_of_every_kind_become_indices_with_named_classes(given, classes, wanted, capsys):
    data = Dataset.from_arrays(np.zeros((4, 1, 8, 8), np.uint8), given)
    assert (data.classes, data.labels.tolist()) == (classes, wanted)
    printed = capsys.readouterr().out
    assert printed == ("" if classes == ("0", "1", "2") else f"classes: {labels.told(classes)}\n")


def test_labels_counted_from_one_with_names_and_the_same_for_the_test_set(capsys):
    two = {"images": np.zeros((4, 1, 8, 8), np.uint8), "test_images": np.zeros((2, 1, 8, 8), np.uint8)}
    data = Dataset.from_arrays(**two, labels=[1, 2, 2, 1], test_labels=[2, 1], classes=("cat", "dog"))
    assert (data.labels.tolist(), data.test_labels.tolist()) == ([0, 1, 1, 0], [1, 0])
    assert "counted from 1, so the classes are: 0 = 'cat', 1 = 'dog'" in capsys.readouterr().out
    data = Dataset.from_arrays(**two, labels=list("xyyx"), test_labels=["y", "x"], clean_labels=list("xxyy"))
    assert (data.test_labels.tolist(), data.clean_labels.tolist()) == ([1, 0], [0, 0, 1, 1])
    with pytest.raises(ValueError, match="test_labels has 'z', but must have only 'x', 'y'"):
        Dataset.from_arrays(**two, labels=list("xyyx"), test_labels=["y", "z"])


@given(st.lists(st.integers(-5, 5), min_size=2, max_size=9), st.sampled_from([int, float, str]))
def test_the_class_of_every_sample_is_named_as_it_was_given(numbers, kind):
    if len(set(numbers)) > 1:
        data = Dataset.from_arrays(np.zeros((len(numbers), 1, 8, 8), np.uint8), [kind(number) for number in numbers])
        assert [int(float(data.classes[label])) for label in data.labels] == numbers


def test_channels_last_is_noticed():
    for shape in ((4, 3, 3, 1), (4, 4, 4, 3), (4, 9, 9, 3)):
        if shape[1] != 3 or shape[3] != 1:
            with pytest.raises(ValueError, match="so permute it"):
                Dataset.from_arrays(np.zeros(shape, np.uint8), [0, 1, 0, 1])
    with pytest.warns(UserWarning, match=r"images has shape \(4, 3, 3, 3\), taken as channels first"):
        Dataset.from_arrays(np.zeros((4, 3, 3, 3), np.uint8), [0, 1, 0, 1])


def test_a_noise_function_that_works_in_place_changes_nothing_but_its_result():
    data = Dataset.from_arrays(np.zeros((4, 1, 8, 8), np.uint8), [0, 1, 0, 1])

    def swap(labels, images, k, generator):
        labels.copy_(1 - labels)
        images.fill_(9)
        return labels

    noisy = data.with_noise(swap, seed=0)
    assert noisy.noise_rate == 1 and not noisy.images.any()
    assert data.labels.tolist() == [0, 1, 0, 1] and not data.images.any()


# --- tables of labels


FORMS = {
    "utf-8": ("utf-8", ","), "with a mark": ("utf-8-sig", ";"), "Windows": ("cp1252", ";"), "UTF-16": ("utf-16", "\t"),
    "UTF-16, no mark": ("utf-16-le", ","), "bars": ("utf-8", "|"), "old Mac": ("utf-8", ";"),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_a_table_is_read_whatever_wrote_it(tmp_path, form, capsys):
    encoding, separator = FORMS[form]
    for name in ("käfer 1", "käfer 2", "wurm"):
        saved(tmp_path / "bilder" / f"{name}.png", smooth(len(name)))
    rows = [
        "Nr.;Bild;Art",
        "1;bilder/käfer 1.png;Käfer",
        ";;",
        '2;"bilder\\käfer 2.png"; Käfer',
        "3; bilder/wurm.png;Wurm",
    ]
    end = "\r" if form == "old Mac" else "\r\n"  # so it is called in Excel's list, and so it ends lines
    text = end.join(row.replace(";", separator) for row in rows)
    (tmp_path / "art.csv").write_bytes(text.encode(encoding))
    data = Dataset.from_csv(tmp_path / "art.csv", image="Bild", label="art", progress=False)
    assert (data.classes, data.labels.tolist()) == (("Käfer", "Wurm"), [0, 0, 1])
    assert data.files == ("bilder/käfer 1.png", "bilder/käfer 2.png", "bilder/wurm.png")
    assert data.folder == tmp_path and "classes 0 = 'Käfer' (2), 1 = 'Wurm' (1)" in capsys.readouterr().out
    assert torch.equal(data.images[2], torch.from_numpy(np.asarray(smooth(4))).permute(2, 0, 1))


@pytest.mark.parametrize(
    ("given", "classes"),
    [
        ("1,2,1", "1 2"),
        ("1.0,2.0,1", "1 2"),
        ("001,002,001", "001 002"),
        ("10,9,10", "9 10"),
        ("1.5,2.0,1.5", "1.5 2.0"),
    ],
)
def test_numbers_in_a_table_are_names(tmp_path, given, classes):
    good(tmp_path)
    rows = [f"cat/cat{i}.png,{label}" for i, label in enumerate(given.split(","))]
    (tmp_path / "t.csv").write_text("\n".join(["file,label", *rows]))
    assert Dataset.from_csv(tmp_path / "t.csv", progress=False).classes == tuple(classes.split())


def test_accents_written_apart_are_the_same_name(tmp_path):
    good(tmp_path)
    saved(tmp_path / "cat" / "e\u0301.png", smooth())  # as macOS writes é
    (tmp_path / "t.csv").write_text("file,label\ncat/é.png,a\ncat/cat0.png,b", encoding="utf-8")
    assert Dataset.from_csv(tmp_path / "t.csv", progress=False).files[0] == "cat/e\u0301.png"


def test_a_table_that_is_wrong_is_refused_with_the_line(tmp_path):
    good(tmp_path)
    path = tmp_path / "t.csv"
    for text, said in {
        "file,label\ncat/cat0.png,a\n\ncat/none.png,b\nnone.png,b": r"'cat/none.png' \(there is no such file; line 4\)"
        r", 'none.png' \(there is no such file; line 5\)",
        "file,label\ncat/cat0.png,\n": "t.csv, line 2 has nothing in the column 'label'",
        "file,label\n,a\n": "t.csv, line 2 has nothing in the column 'file'",
        "file,label\ncat/cat0.png,a\ncat/cat0.png,b": "t.csv, line 3 names 'cat/cat0.png' again, after line 2",
        "name,label\ncat/cat0.png,a": r"no column 'file' but \['name', 'label'\]",
        "": "no column 'file'",
        "file,label\ncat/cat0.png,a,b,c": "t.csv, line 2 has 4 cells for 2 columns",
        'file,label\ncat/cat0.png,"' + "x" * 200_000: "t.csv, line 2 is no row of a table",
    }.items():
        path.write_text(text)
        with pytest.raises(ValueError, match=said):
            Dataset.from_csv(path, progress=False)
    path.write_bytes(b"file,label\ncat/cat0.png,a\n\x81\x8d,b")
    with pytest.raises(ValueError, match="whose line 3 is text in no known encoding"):
        Dataset.from_csv(path, progress=False)
    with pytest.raises(FileNotFoundError):
        Dataset.from_csv(tmp_path / "none.csv")
    path.write_text("file,label\ncat/none.png,a\ncat/cat0.png,a\ndog/dog0.png,b")
    assert len(Dataset.from_csv(path, skip_unreadable=True, progress=False)) == 2


def test_a_table_may_have_its_images_elsewhere_and_a_test_table(tmp_path):
    good(tmp_path / "pictures")
    rows = [f"{name}/{name}{i}.png,{name}" for name in ("cat", "dog") for i in range(3)]
    (tmp_path / "train.csv").write_text("\n".join(["file,label", *rows]))
    (tmp_path / "test.csv").write_text("\n".join(["file,label", rows[4]]))
    where = {"root": tmp_path / "pictures", "test": tmp_path / "test.csv", "progress": False}
    data = Dataset.from_csv(tmp_path / "train.csv", **where)
    assert (data.name, data.test_labels.tolist(), len(data)) == ("train", [1], 6)
    assert data.subset(2, seed=0).files == tuple(data.files[i] for i in range(6) if i in _chosen(data))


def _chosen(data):
    part = data.subset(2, seed=0)
    return [i for i in range(6) if any(torch.equal(data.images[i], image) for image in part.images)]


# --- the audit


def crowd(folder):
    """A folder with one of everything; the files that are images."""
    damaged(good(folder) / "cat")
    same = (folder / "cat" / "cat0.png").read_bytes()
    (folder / "dog" / "copy.png").write_bytes(same)
    (folder / "cat" / "Cat1.png").write_bytes((folder / "cat" / "cat1.png").read_bytes())
    saved(folder / "dog" / "again.jpg", smooth(1), quality=80)
    saved(folder / "cat" / "double.webp", smooth(2).resize((2 * W, 2 * H)))
    (folder / "dog" / "notes.txt").write_text("x")
    (folder / "dog" / "._x.png").write_bytes(b"x")
    (folder / "readme.md").write_text("x")
    saved(
        folder / "dog" / "deep" / "turned.jpg", smooth(5), exif=b"Exif\0\0MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\6\0\0"
    )
    return folder


def test_every_file_has_exactly_one_row(tmp_path):
    table = audit.audit(crowd(tmp_path), progress=False)
    there = [
        os.path.relpath(os.path.join(place, file), tmp_path) for place, _, files in os.walk(tmp_path) for file in files
    ]
    assert sorted(table.index) == sorted(there)
    assert table.fate.value_counts().to_dict() == {"image": 11, "unreadable": 12, "skipped": 3}
    assert (
        set(table.why[table.fate != "image"]) - {""} == set(table.why) - {""}
        and (table.why[table.fate == "image"] == "").all()
    )


def test_the_audit_finds_twins_wrong_labels_near_twins_and_names_alike(tmp_path):
    table = audit.audit(crowd(tmp_path), progress=False)
    found = audit.findings(table)
    assert found["two_labels"] == [["cat/cat0.png", "dog/copy.png"]]
    assert (
        found["same"] == [["cat/Cat1.png", "cat/cat1.png"], ["cat/cat0.png", "dog/copy.png"]] or len(found["same"]) == 2
    )
    pairs = {frozenset(pair[:2]) for pair in found["near"]}
    assert pairs == {frozenset(("cat/Cat1.png", "dog/again.jpg")), frozenset(("cat/cat2.png", "cat/double.webp"))}
    assert [pair[:2] for pair in found["near_two_labels"]] == [["cat/Cat1.png", "dog/again.jpg"]]
    assert found["case"] == [["cat/Cat1.png", "cat/cat1.png"]]
    assert found["turned"] == ["dog/deep/turned.jpg"]
    assert found["classes"] == {"cat": 5, "dog": 6}
    row = table.loc["dog/deep/turned.jpg"]
    assert (row.format, row["mode"], row.bits, row.width, row.height, row.orientation, row.alpha) == (
        "JPEG", "RGB", 8, W, H, 6, False,
    )  # fmt: skip


def test_the_command_tells_people_and_programs(tmp_path):
    crowd(tmp_path)
    said = CliRunner().invoke(main, ["audit", str(tmp_path)])
    assert said.exit_code == 0, said.output
    assert "26 files: 12 unreadable, 11 image, 3 skipped" in said.output
    assert "the very same image under two classes: at least one label is wrong (1):\n  cat/cat0.png" in said.output
    assert "cat/pipe.png: no regular file" in said.output
    told = json.loads(CliRunner().invoke(main, ["audit", str(tmp_path), "--json"]).output)
    assert told["findings"] == audit.findings(audit.audit(tmp_path, progress=False))
    assert len(told["files"]) == 26 and told["files"][0]["fate"] in ("image", "unreadable", "skipped")
    wrong = CliRunner().invoke(main, ["audit", str(tmp_path / "nowhere")])
    assert wrong.exit_code == 1 and "nowhere" in wrong.output


def test_the_audit_of_a_table_names_what_is_missing_and_what_is_not_in_it(tmp_path):
    good(tmp_path / "pictures")
    rows = ["file,label", "cat/cat0.png,dog", "cat/cat1.png,cat", "cat/gone.png,cat", "dog/notes.txt,dog"]
    (tmp_path / "pictures" / "dog" / "notes.txt").write_text("x")
    (tmp_path / "t.csv").write_text("\n".join(rows))
    table = audit.audit(tmp_path / "t.csv", root=tmp_path / "pictures", progress=False)
    assert table.fate.value_counts().to_dict() == {"skipped": 4, "image": 2, "missing": 1, "unreadable": 1}
    assert table.why["cat/gone.png"] == "there is no such file; line 4"
    assert table.why["dog/dog1.png"] == "not in the table"
    assert table.label["cat/cat0.png"] == "dog"


def test_a_folder_without_a_single_image_can_be_audited(tmp_path):
    (tmp_path / "a").mkdir()
    assert audit.report(audit.audit(tmp_path, progress=False)).startswith("0 files")
    (tmp_path / "a" / "notes.txt").write_text("x")
    assert "1 skipped" in audit.report(audit.audit(tmp_path, progress=False))


def test_simple_pictures_that_differ_are_no_near_duplicates(tmp_path, digits):
    for number, image in enumerate(digits.images[:300, 0]):
        saved(tmp_path / str(digits.labels[number].item()) / f"{number}.png", Image.fromarray(image.numpy()))
    assert len(audit.findings(audit.audit(tmp_path, progress=False))["near"]) <= 1


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), min_size=1, max_size=5))
def test_a_printable_name_survives_every_table(names):
    for name in names:
        text = sheets.printable(name)
        assert text.isprintable() and sheets.printable(text) == text
