"""Data sets: what a Dataset accepts and does, and how files are found, checked, fetched and refused."""

import contextlib
import functools
import gzip
import hashlib
import http.server
import os
import pickle
import re
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import torchvision
from click.testing import CliRunner
from PIL import Image
from sklearn.datasets import load_digits

from stepe_lite import Dataset, datasets, load, noise
from stepe_lite.cli import main
from stepe_lite.datasets import DamagedData, MissingData, sources

NOISE_RATES = {  # share of labels that differ from the clean ones
    "cifar10n-aggre": 0.09010,
    "cifar10n-random1": 0.17234,
    "cifar10n-random2": 0.18122,
    "cifar10n-random3": 0.17640,
    "cifar10n-worse": 0.40208,
    "cifar100n": 0.40200,
}


def pixels(n, c=1, h=8, w=8):
    return torch.arange(n * c * h * w).reshape(n, c, h, w).to(torch.uint8)


def cats_and_dogs(**changes):
    """A data set of four training and two test images, with some of its parts changed."""
    parts = {
        "images": pixels(4),
        "labels": torch.tensor([0, 1, 0, 1]),
        "clean_labels": torch.tensor([0, 1, 1, 1]),
        "test_images": pixels(2),
        "test_labels": torch.tensor([0, 1]),
        "classes": ("cat", "dog"),
        "name": "pets",
    }
    return Dataset(**parts | changes)


# Digits


def test_digits_are_1297_training_and_500_test_images(digits):
    assert digits.images.shape == (1297, 1, 8, 8) and digits.test_images.shape == (500, 1, 8, 8)
    assert digits.images.dtype == torch.uint8 and digits.labels.dtype == torch.int64
    assert (digits.images.min(), digits.images.max()) == (0, 255)
    assert digits.classes == tuple("0123456789")
    assert digits.noise_rate == 0
    assert set(digits.test_labels.bincount().tolist()) <= {48, 49, 50, 51, 52}


def test_digits_are_those_of_scikit_learn_each_once(digits):
    both = torch.cat([digits.images, digits.test_images]).flatten(1)
    labels = torch.cat([digits.labels, digits.test_labels])
    original = load_digits()
    scaled = np.rint(original.data / 16 * 255).astype(int)
    assert sorted(zip(both.tolist(), labels.tolist())) == sorted(zip(scaled.tolist(), original.target.tolist()))


def test_digits_are_the_default_and_the_same_every_time(digits):
    again = load()
    assert torch.equal(again.images, digits.images) and torch.equal(again.test_labels, digits.test_labels)
    assert repr(again) == (
        "Dataset(digits: 1,297 training and 500 test images 1×8×8, 10 classes, 0.0% of the labels wrong)"
    )


# What a Dataset accepts


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": torch.tensor([0, 1, 0])}, r"labels has shape \(3,\), but must be \(4,\): one label an image"),
        ({"labels": torch.tensor([[0], [1], [0], [1]])}, r"labels has shape \(4, 1\), but must be \(4,\)"),
        ({"labels": torch.tensor([0, -1, 0, 1])}, "labels goes from -1 to 1, but must lie from 0 to 1"),
        ({"labels": torch.tensor([0, 1, 2, 1])}, "labels goes from 0 to 2, but must lie from 0 to 1"),
        ({"labels": torch.tensor([0.0, 1, 0, 1])}, "labels is torch.float32, but must be whole numbers"),
        ({"labels": torch.tensor([0, 0, 0, 0])}, r"labels has no samples of class 'dog' \(1\): every class needs one"),
        ({"clean_labels": torch.tensor([0, 1])}, r"clean_labels has shape \(2,\), but must be \(4,\)"),
        ({"clean_labels": torch.tensor([0, 1, 0, 7])}, "clean_labels goes from 0 to 7, but must lie from 0 to 1"),
        ({"test_labels": torch.tensor([0])}, r"test_labels has shape \(1,\), but must be \(2,\)"),
        ({"test_labels": torch.tensor([0, 3])}, "test_labels goes from 0 to 3, but must lie from 0 to 1"),
        ({"images": pixels(4).float()}, "images is torch.float32, but must be uint8 with values from 0 to 255"),
        ({"images": pixels(4)[:, 0]}, r"images has shape \(4, 8, 8\), but must be \(n, channels, height, width\)"),
        ({"images": pixels(4, 8, 8, 3)}, r"images has shape \(4, 8, 8, 3\): .*so permute it"),
        ({"test_images": pixels(2).int()}, "test_images is torch.int32, but must be uint8"),
        ({"test_images": pixels(2, h=9)}, r"test_images are \(1, 9, 8\) each, but must be \(1, 8, 8\)"),
        ({"classes": ("cat",)}, r"classes has 1 name\(s\), but at least 2 are needed"),
        ({"images": pixels(4).to_sparse()}, "images is torch.sparse_coo on cpu, but must be an ordinary tensor on the"),
        ({"test_images": pixels(2).to("meta")}, "test_images is torch.strided on meta, but must be an ordinary tensor"),
    ],
)
def test_parts_that_do_not_fit_together_are_refused_in_one_sentence(changes, message):
    with pytest.raises(ValueError, match=message) as refusal:
        cats_and_dogs(**changes)
    assert "\n" not in str(refusal.value)


def test_clean_labels_and_test_images_may_be_missing():
    data = cats_and_dogs(clean_labels=None, test_images=pixels(0), test_labels=torch.zeros(0, dtype=torch.int64))
    assert repr(data) == "Dataset(pets: 4 training and 0 test images 1×8×8, 2 classes)"


# What a Dataset does


def test_wrong_labels_are_those_that_differ_from_the_clean_ones():
    data = cats_and_dogs()
    assert data.is_mislabeled.tolist() == [False, False, True, False]
    assert data.noise_rate == 0.25
    assert data.transition.tolist() == [[1, 0], [1 / 3, 2 / 3]]
    assert "25.0% of the labels wrong" in repr(data)


@pytest.mark.parametrize(
    "question",
    [
        lambda data: data.is_mislabeled,
        lambda data: data.noise_rate,
        lambda data: data.transition,
        lambda data: data.cleaned(),
        lambda data: data.without_mislabeled(),
    ],
)
def test_without_clean_labels_nothing_is_said_about_wrong_ones(question):
    with pytest.raises(ValueError, match="the clean labels of pets are unknown"):
        question(cats_and_dogs(clean_labels=None))


def test_cleaned_has_all_samples_and_without_mislabeled_the_right_ones():
    data = cats_and_dogs()
    assert data.cleaned().labels.tolist() == [0, 1, 1, 1]
    assert torch.equal(data.cleaned().images, data.images)
    remaining = data.without_mislabeled()
    assert remaining.labels.tolist() == [0, 1, 1]
    assert torch.equal(remaining.images, data.images[[0, 1, 3]])
    assert data.cleaned().noise_rate == remaining.noise_rate == 0


def test_with_noise_on_labels_of_unknown_quality_takes_them_as_clean():
    noisy = cats_and_dogs(clean_labels=None).with_noise(noise.pair_flip(0.5), seed=0)
    assert noisy.clean_labels.tolist() == [0, 1, 0, 1]
    assert noisy.name == "pets+pair_flip(0.5)"


def numbered(n):
    """A data set whose images say which sample they are, and so do the labels."""
    number = torch.arange(n)
    images = torch.stack([number // 256, number % 256], dim=1).view(n, 1, 1, 2).to(torch.uint8)
    test = {"test_images": images[:3], "test_labels": [0, 1, 2]}
    return Dataset.from_arrays(images, number % 7, clean_labels=number % 5, **test)


def numbers(data):
    """Which samples of `numbered` these are; checks that images and labels have stayed together."""
    high, low = data.images.flatten(1).long().T
    number = high * 256 + low
    assert torch.equal(data.labels, number % 7) and torch.equal(data.clean_labels, number % 5)
    return number.tolist()


def test_a_subset_is_random_in_the_old_order_and_the_test_set_stays_whole():
    data = numbered(1000)
    part = data.subset(200, seed=1)
    assert len(part) == len(set(numbers(part))) == 200
    assert numbers(part) == sorted(numbers(part))
    assert numbers(part) == numbers(data.subset(200, seed=1)) != numbers(data.subset(200, seed=2))
    assert len(part.test_labels) == 3
    assert numbers(data.subset(1000, seed=0)) == numbers(data)


def test_a_validation_set_is_held_out_of_the_training_set():
    train, validation = numbered(1001).split_validation(0.25, seed=0)
    assert (len(train), len(validation)) == (751, 250)
    assert sorted(numbers(train) + numbers(validation)) == list(range(1001))


def test_a_validation_set_is_as_noisy_as_the_training_set(digits):
    # The same seed for both: they must not pick the same samples.
    train, validation = digits.with_noise(noise.symmetric(0.4), seed=0).split_validation(0.4, seed=0)
    assert train.noise_rate == pytest.approx(0.4, abs=0.06)
    assert validation.noise_rate == pytest.approx(0.4, abs=0.06)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda data: data.subset(0, seed=0), "n is 0, but must be a whole number, from 1 to 4"),
        (lambda data: data.subset(5, seed=0), "n is 5, but must be a whole number, from 1 to 4"),
        (lambda data: data.subset(2, seed=-1), "seed is -1"),
        (lambda data: data.split_validation(1.0, seed=0), "fraction is 1.0, but must be a number from 0"),
        (lambda data: data.split_validation(0.0, seed=0), "the number of validation samples is 0"),
        (lambda data: data.split_validation(0.5, seed=None), "seed is None"),
        (lambda data: data.cleaned().with_noise(noise.symmetric(0.5), seed=0.5), "seed is 0.5"),
        (lambda data: data.cleaned().with_noise(lambda *_: None, seed=0), "model gives NoneType, but must give the"),
    ],
)
def test_a_bad_argument_of_a_method_is_named_with_what_is_allowed(call, message):
    with pytest.raises(ValueError, match=message):
        call(cats_and_dogs())


# Your own data


def test_from_arrays_takes_numpy_arrays_and_lists():
    labels = [2, 0, 1, 1]
    data = Dataset.from_arrays(pixels(4).numpy(), labels, clean_labels=np.array(labels, dtype=np.uint8))
    assert data.labels.tolist() == labels and data.labels.dtype == torch.int64
    assert data.classes == ("0", "1", "2")
    assert data.noise_rate == 0
    assert len(data.test_labels) == 0


def test_from_arrays_takes_a_test_set_and_names():
    data = Dataset.from_arrays(
        pixels(4), [0, 1, 0, 1], classes=["cat", "dog"], test_images=pixels(2).numpy(), test_labels=[1, 0], name="pets"
    )
    assert (data.classes, data.name, data.test_labels.tolist()) == (("cat", "dog"), "pets", [1, 0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"labels": [0.0, 1.5, 0.0, 1.0]}, "labels is float64 with fractions, but must be whole numbers or text"),
        ({"labels": [True, False, True, False]}, "labels is bool, but must be whole numbers or text"),
        ({"labels": [0j, 1, 0, 1]}, "labels is complex128, but must be whole numbers or text"),
        ({"labels": np.ma.masked_array([0, 1, 0, 1], [0, 0, 1, 0])}, "labels is masked at 2, but every sample needs"),
        ({"labels": ["cat", 1, "cat", "dog"]}, "labels mixes text, numbers or objects"),
        ({"labels": [["cat"], ["dog"]]}, r"labels has shape \(2, 1\), but must be \(n,\): one label an image"),
        ({"labels": ["cat", None, "cat", "dog"]}, "labels has no label at position 1, but every sample needs one"),
        ({"labels": pd.Categorical(["cat", None, "cat", "dog"])}, "labels has no label at position 1"),
        ({"labels": ["cat", "dgo", "cat", "dog"], "classes": ("cat", "dog")}, "labels has 'dgo', but must have only"),
        ({"labels": [10**30, 1, 0, 1]}, "labels mixes text, numbers or objects"),
        ({"labels": [0, 1, 0, 1], "classes": [10, 20]}, r"classes\[0\] is 10, but must be text"),
        ({"labels": [0, 1, 0, 1], "classes": ("cat", "cat")}, "classes has 'cat' twice, at 0 and 1"),
        ({"labels": [0, 1, 0, 1], "classes": "ab"}, "classes is 'ab', but must be a list of names"),
        ({"labels": [0, 1, 0, 1], "classes": {"a", "b"}}, "classes is {.*}, but must be a list of names"),
        ({"labels": [0, 1, 0, 1], "classes": {"a": 1, "b": 0}}, "classes is {.*}, but must be a list of names"),
        ({"labels": torch.tensor([0, 1, 0, 1]).to_sparse()}, "labels is sparse, but must be numbers"),
        ({"labels": [0, 1, 0, 1], "images": pixels(4).to_sparse()}, "images is sparse, but must be numbers"),
        ({"labels": [0, 1, 0, 1], "images": pixels(4).to("meta")}, "images is on the device meta, but must be numbers"),
        ({"labels": [0, 1, 0, 1], "images": np.ma.masked_less(pixels(4).numpy(), 9)}, "images is masked, but every pi"),
        ({"labels": [0, 1, 0, 1], "name": Path("pets")}, r"name is PosixPath\('pets'\), but must be text"),
        ({"labels": [0, 1, 0, 1], "clean_labels": ["a", "b", "a", "b"]}, "clean_labels must hold what labels holds"),
        ({"labels": [0, 1, 0]}, r"labels has shape \(3,\), but must be \(4,\)"),
        ({"labels": [0, 2, 0, 2], "classes": "abc".split("b")}, "labels has 2, but must have only 0, 1"),
        ({"labels": [0, 1, 0, 1], "classes": list("abc")}, r"labels has no samples of class 'c' \(2\)"),
        ({"labels": [0, 1, 0, 1], "images": pixels(4).numpy() / 255}, "images is torch.float64, but must be uint8"),
        ({"labels": [0, 1, 0, 1], "clean_labels": [0.5] * 4}, "clean_labels is float64 with fractions"),
        ({"labels": [0, 1, 0, 1], "test_labels": [0]}, "test_images and test_labels belong together"),
    ],
)
def test_from_arrays_names_the_bad_argument(arguments, message):
    with pytest.raises(ValueError, match=message):
        Dataset.from_arrays(**{"images": pixels(4), **arguments})


def save_images(folder, size=(8, 8), **colours):
    """A folder with a sub-folder for each class and in it one image for each of the colours."""
    for name, shades in colours.items():
        (folder / name).mkdir(parents=True)
        for number, shade in enumerate(shades):
            Image.new("RGB", size, shade).save(folder / name / f"{number}.png")
    return folder


RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def test_from_folder_reads_a_sub_folder_a_class(tmp_path):
    folder = save_images(tmp_path / "colours", warm=[RED], cold=[BLUE, GREEN])
    data = Dataset.from_folder(folder)
    assert (data.classes, data.labels.tolist(), data.name) == (("cold", "warm"), [0, 0, 1], "colours")
    assert data.images.shape == (3, 3, 8, 8)
    assert data.images[:, :, 4, 4].tolist() == [list(BLUE), list(GREEN), list(RED)]
    assert data.clean_labels is None and len(data.test_labels) == 0


def test_from_folder_makes_grey_images_rgb_and_scales_them_to_one_size(tmp_path):
    save_images(tmp_path, warm=[RED], cold=[BLUE])
    Image.new("L", (30, 20), 128).save(tmp_path / "cold" / "grey.png")
    data = Dataset.from_folder(tmp_path, size=16)
    assert data.images.shape == (3, 3, 16, 16)
    assert data.images[1].unique().tolist() == [128]


@pytest.mark.parametrize("size", [(8, 8), (12, 8)], ids=str)
def test_from_folder_takes_a_second_folder_as_test_set(tmp_path, size):
    train = save_images(tmp_path / "train", size, warm=[RED, RED], cold=[BLUE])
    test = save_images(tmp_path / "test", size, warm=[RED], cold=[BLUE])
    data = Dataset.from_folder(train, test=test)
    assert data.test_images.shape == (2, 3, size[1], size[0])
    assert data.test_labels.tolist() == [0, 1]


def test_from_folder_explains_what_is_wrong(tmp_path):
    train = save_images(tmp_path / "train", warm=[RED], cold=[BLUE])
    with pytest.raises(FileNotFoundError, match=r"nowhere.*does not exist.*must be a folder with one sub-folder of"):
        Dataset.from_folder(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"test has the class 'hot', but path has only 'cold', 'warm'"):
        Dataset.from_folder(train, test=save_images(tmp_path / "test", hot=[RED]))
    with pytest.raises(ValueError, match="size is 0, but must be a whole number, at least 1"):
        Dataset.from_folder(train, size=0)
    Image.new("RGB", (30, 20)).save(train / "warm" / "larger.png")
    with pytest.raises(ValueError, match=r"images come in several sizes \(8×8, 30×20\): pass size=32, say"):
        Dataset.from_folder(train)
    with pytest.raises(FileNotFoundError, match=r"test is .*nowhere.*must be a folder with one sub-folder of images"):
        Dataset.from_folder(train, size=8, test=tmp_path / "nowhere")
    test = save_images(tmp_path / "larger", (9, 9), warm=[RED])
    with pytest.raises(ValueError, match=r"test_images are \(3, 9, 9\) each, but must be \(3, 8, 8\)"):  # not bent
        Dataset.from_folder(save_images(tmp_path / "even", warm=[RED], cold=[BLUE]), test=test)
    (train / "warm" / "broken.png").write_text("no image")
    with pytest.raises(ValueError, match=r"path has 1 file\(s\) that cannot be read: 'warm/broken.png' \(no image in"):
        Dataset.from_folder(train, size=8)


def test_from_folder_passes_over_hidden_folders(tmp_path):
    folder = save_images(tmp_path / "train", warm=[RED], cold=[BLUE])
    (folder / ".ipynb_checkpoints").mkdir()
    assert Dataset.from_folder(folder).classes == ("cold", "warm")
    assert Dataset.from_folder(folder).files == ("cold/0.png", "warm/0.png")


# Files that are missing or damaged


@pytest.fixture
def no_debian(monkeypatch, tmp_path):
    monkeypatch.setattr(sources, "_DEBIAN", tmp_path / "no such package")


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("digit", "digits"), ("fashion_mnist", "fashion-mnist"), ("CIFAR10", "cifar10"), ("cifar-100n", "cifar100n")],
)
def test_an_unknown_name_offers_the_closest(typed, meant):
    with pytest.raises(ValueError, match=f"name is '{typed}', but must be one of .*Did you mean '{meant}'"):
        load(typed)


@pytest.mark.usefixtures("no_debian")
@pytest.mark.parametrize("name", datasets.names()[1:])
def test_missing_files_are_listed_with_size_places_and_command(name, tmp_path, monkeypatch):
    monkeypatch.setenv("STEPE_LITE_DATA", str(tmp_path / "shared"))
    with pytest.raises(MissingData) as missing:
        load(name, root=tmp_path / "mine")
    message = str(missing.value)
    assert all(file in message for file in sources.needed(name))
    assert re.search(r"\(\d+ MB\)", message)
    assert all(str(place) in message for place in (tmp_path / "mine", tmp_path / "shared", sources.cache()))
    assert f"stepe-lite data {name} --download" in message
    assert "by hand" in message


def test_files_are_looked_for_in_root_then_in_the_environments_folder_then_in_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("STEPE_LITE_DATA", str(tmp_path / "shared"))
    assert sources.places(tmp_path / "mine") == [tmp_path / "mine", tmp_path / "shared", sources.cache()]
    monkeypatch.delenv("STEPE_LITE_DATA")
    assert sources.places() == [sources.cache()]


def test_looking_for_files_makes_no_folders(tmp_path):
    with pytest.raises(MissingData):
        load("cifar10", root=tmp_path / "mine")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def false_fashion(tmp_path, no_debian):
    """A folder with four files of the right names and the wrong contents."""
    for path in sources.needed("fashion-mnist"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(b"cut short")
    return tmp_path


def test_a_damaged_file_is_named_with_both_hashes(false_fashion):
    found, expected = hashlib.md5(b"cut short").hexdigest(), "f4a8712d7a061bf5bd6d2ca38dc4d50a"
    message = f"train-images-idx3-ubyte is damaged: its md5 is {found}, expected {expected}"
    with pytest.raises(DamagedData, match=message):
        load("fashion-mnist", root=false_fashion)


def test_check_tells_whole_missing_and_damaged_files_apart(false_fashion):
    images, labels, *others = sources.needed("fashion-mnist")
    (false_fashion / labels).unlink()
    states = sources.check(false_fashion, "fashion-mnist")
    assert states[images].startswith("damaged: its md5 is ")
    assert states[labels] == "missing"
    assert len(states) == 2 + len(others)
    assert sources.check(false_fashion, "digits") == {}


def test_a_download_does_not_pass_off_damaged_files_as_whole(false_fashion, monkeypatch):
    monkeypatch.setattr(torchvision.datasets.FashionMNIST, "mirrors", [])  # nowhere to download from
    with pytest.raises((DamagedData, MissingData)):
        sources.find("fashion-mnist", false_fashion, download=True)


# Fashion-MNIST as Debian packs it


@pytest.mark.skipif(not sources._DEBIAN.is_dir(), reason="Debian's package dataset-fashion-mnist is not installed")
def test_fashion_mnist_comes_from_debians_package_whole_and_one_byte_less_is_noticed():
    data = load("fashion-mnist")
    assert data.images.shape == (60000, 1, 28, 28) and data.test_images.shape == (10000, 1, 28, 28)
    assert data.labels.bincount().tolist() == [6000] * 10
    assert data.classes[0] == "T-shirt/top"
    assert set(sources.check(sources.cache(), "fashion-mnist").values()) == {"ok"}

    longest = sources.cache() / "FashionMNIST/raw/train-images-idx3-ubyte"
    os.truncate(longest, longest.stat().st_size - 1)
    with pytest.raises(DamagedData, match="train-images-idx3-ubyte is damaged: its md5 is"):
        load("fashion-mnist")


@pytest.mark.parametrize("end", [None, -9], ids=["wrong", "cut short"])
def test_damaged_files_of_debians_package_are_refused(tmp_path, monkeypatch, end):
    content = gzip.compress(b"not the images" * 99)[:end]
    for path in sources.needed("fashion-mnist"):
        (tmp_path / f"{path.rsplit('/')[-1]}.gz").write_bytes(content)
    monkeypatch.setattr(sources, "_DEBIAN", tmp_path)
    with pytest.raises(DamagedData, match="train-images-idx3-ubyte"):
        load("fashion-mnist")
    assert [path for path in sources.cache().rglob("*") if path.is_file()] == []


def test_a_cache_that_cannot_be_written_to_is_named_and_the_list_goes_on(tmp_path, monkeypatch):
    packed = tmp_path / "packed"
    packed.mkdir()
    content = {path: path.encode() for path in sources.needed("fashion-mnist")}
    known = {path: f"md5:{hashlib.md5(text).hexdigest()}" for path, text in content.items()}
    for path, text in content.items():
        (packed / f"{path.rsplit('/')[-1]}.gz").write_bytes(gzip.compress(text))
    (tmp_path / "file").write_text("where a folder should be")
    monkeypatch.setattr(sources, "_FASHION", known)
    monkeypatch.setattr(sources, "_DEBIAN", packed)
    monkeypatch.setattr(sources, "cache", lambda: tmp_path / "file" / "cache")
    with pytest.raises(OSError, match=r"lies packed in .*packed and cannot be unpacked into .*file"):
        load("fashion-mnist")
    for command in ("data", "doctor"):
        done = CliRunner().invoke(main, [command])
        assert "cannot be unpacked into" in done.output and "cifar100n" in done.output, done.output
    monkeypatch.setattr(sources, "cache", lambda: None)  # no home
    with pytest.raises(MissingData, match="fashion-mnist needs these files"):
        load("fashion-mnist")


def test_without_a_home_there_is_no_cache():
    code = """if True:
        import pathlib, platformdirs
        platformdirs.user_cache_path = lambda name: pathlib.Path("~/.cache") / name
        from stepe_lite.datasets import sources
        assert sources.cache() is None and sources.places("mine") == [pathlib.Path("mine")]
    """
    environment = {name: value for name, value in os.environ.items() if name != "STEPE_LITE_DATA"}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)


def test_a_file_is_hashed_once_until_it_changes(tmp_path, monkeypatch, no_debian):
    opened = []
    digest = hashlib.file_digest
    monkeypatch.setattr(hashlib, "file_digest", lambda file, name: opened.append(file.name) or digest(file, name))
    for path in sources.needed("cifar10"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(path.encode())
    states = [sources.check(tmp_path, name) for name in ("cifar10", "cifar10n-worse", "cifar10n-aggre")]
    assert len(opened) == len(set(opened)) == len(sources.needed("cifar10"))
    (tmp_path / path).write_bytes(b"longer than it was before")
    assert sources.check(tmp_path, "cifar10")[path] != states[0][path] and len(opened) == len(set(opened)) + 1


# Human labels: a pickle runs nothing


class Marker:
    """What an attacker would pickle: unpickling it makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def saved_by_torch(path, marker):
    torch.save({"clean_label": Marker(marker)}, path)


def plain_pickle(path, marker):
    path.write_bytes(pickle.dumps(Marker(marker), protocol=2))


def zip_made_by_hand(path, marker):
    """A zip as torch writes it around the opcodes for os.system("touch …")."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", f"cos\nsystem\n(Vtouch {marker}\ntR.")
        archive.writestr("archive/version", "3\n")


def among_allowed_names(path, marker):
    """The same through eval, after a NumPy name that is allowed."""
    with zipfile.ZipFile(path, "w") as archive:
        code = f"open({str(marker)!r}, 'w')"
        archive.writestr("archive/data.pkl", f"cnumpy\nndarray\n0cbuiltins\neval\n(V{code}\ntR.")
        archive.writestr("archive/version", "3\n")


malicious = pytest.mark.parametrize("write", [saved_by_torch, plain_pickle, zip_made_by_hand, among_allowed_names])


@malicious
def test_a_label_file_with_any_other_name_in_it_is_refused_and_nothing_runs(tmp_path, write):
    write(tmp_path / "CIFAR-10_human.pt", tmp_path / "marker")
    with pytest.raises((pickle.UnpicklingError, DamagedData)):
        sources.read_human_labels(tmp_path, "cifar10")
    assert not (tmp_path / "marker").exists()


@malicious
def test_these_files_do_run_something_where_they_are_trusted(tmp_path, write):
    write(tmp_path / "labels.pt", tmp_path / "marker")
    with contextlib.suppress(RuntimeError):  # a plain pickle is no checkpoint of torch's, but then it has already run
        torch.load(tmp_path / "labels.pt", weights_only=False)
    assert (tmp_path / "marker").exists()


# Downloads


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A folder that is served over HTTP in place of the address of the human labels."""
    folder = tmp_path / "server"
    folder.mkdir()
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as web:
        threading.Thread(target=web.serve_forever, args=(0.01,), daemon=True).start()
        monkeypatch.setattr(sources, "HUMAN_URL", f"http://127.0.0.1:{web.server_port}/")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        yield folder
        web.shutdown()


class NoImages(torchvision.datasets.CIFAR10):
    """CIFAR-10 without the images: a download of it does nothing."""

    def __init__(self, *args, **options):
        pass


@pytest.mark.parametrize("served", [b"something else", None], ids=["a wrong file", "no file"])
def test_a_wrong_download_is_refused_and_nothing_half_written_is_left(server, tmp_path, monkeypatch, served):
    monkeypatch.setattr(sources, "reader", lambda base: NoImages)
    if served:
        (server / "CIFAR-10_human.pt").write_bytes(served)
    with pytest.raises((DamagedData, MissingData), match=r"SHA256 hash|404") as refusal:
        load("cifar10n-worse", root=tmp_path / "mine", download=True)
    assert "cifar10n-worse" in str(refusal.value)
    assert list((tmp_path / "mine").iterdir()) == []


def test_a_download_into_a_place_that_cannot_be_a_folder_says_so(tmp_path):
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(MissingData, match=r"the download of cifar10 failed .*taken"):
        load("cifar10", root=tmp_path / "taken", download=True)


@pytest.mark.cifar
def test_human_labels_are_downloaded_and_checked(server, tmp_path, cifar_folder):
    (server / "CIFAR-10_human.pt").symlink_to(cifar_folder / "CIFAR-10_human.pt")
    (tmp_path / "cifar-10-batches-py").symlink_to(cifar_folder / "cifar-10-batches-py")
    sources.fetch("cifar10n-worse", tmp_path)
    assert set(sources.check(tmp_path, "cifar10n-worse").values()) == {"ok"}


@pytest.mark.cifar
def test_label_files_that_are_cut_short_are_refused_with_their_hash(tmp_path, cifar_folder):
    (tmp_path / "cifar-10-batches-py").symlink_to(cifar_folder / "cifar-10-batches-py")
    content = (cifar_folder / "CIFAR-10_human.pt").read_bytes()[:-1]
    (tmp_path / "CIFAR-10_human.pt").write_bytes(content)
    found = hashlib.sha256(content).hexdigest()
    with pytest.raises(DamagedData, match=f"CIFAR-10_human.pt is damaged: its sha256 is {found}"):
        load("cifar10n-aggre", root=tmp_path)


# The real CIFAR and CIFAR-N files


@pytest.fixture(scope="module", params=NOISE_RATES)
def human(request, cifar_folder):
    """Each data set with human labels in turn."""
    return load(request.param, root=cifar_folder)


@functools.cache
def of_torchvision(folder, k):
    reader = {10: torchvision.datasets.CIFAR10, 100: torchvision.datasets.CIFAR100}[k]
    return reader(folder, train=True)


@pytest.mark.cifar
def test_human_labels_have_the_published_noise_rate(human):
    assert human.noise_rate == pytest.approx(NOISE_RATES[human.name], abs=5e-6)
    assert (len(human), len(human.test_labels)) == (50000, 10000)


@pytest.mark.cifar
def test_clean_labels_classes_and_images_are_those_of_torchvision(human, cifar_folder):
    theirs = of_torchvision(cifar_folder, len(human.classes))
    assert human.clean_labels.tolist() == theirs.targets
    assert human.classes == tuple(theirs.classes)
    assert np.array_equal(human.images[::1000].permute(0, 2, 3, 1), theirs.data[::1000])


@pytest.mark.cifar
@pytest.mark.parametrize("human", [name for name in NOISE_RATES if name.startswith("cifar10n")], indirect=True)
def test_the_matrices_in_the_package_are_those_of_the_files(human):
    assert torch.equal(noise.cifar10n(human.name.removeprefix("cifar10n-")), human.transition)
