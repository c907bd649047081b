"""The review of suspicious samples: who is listed, decisions and undo, the CSV file, and cleaned copies."""

import os
import shutil
import subprocess
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from stepe_lite import Dataset, History, Ledger, StepE, fit, noise, plots, schedules
from stepe_lite.cli import main
from stepe_lite.datasets import folders, sheets
from stepe_lite.datasets.audit import audit
from stepe_lite.review import Review, class_named, suspicious

CLASSES = ("ant", "bee", "cat")
GIVEN = ["bee", "ant", "cat", "cat", "bee"]
SAMPLES = [7, 2, 9, 0, 4]


def table(files=False):
    """Five rows, in an order that is not that of the samples."""
    names = {"file": [f"{label}/{sample}.png" for label, sample in zip(GIVEN, SAMPLES)]} if files else {}
    return pd.DataFrame(
        names
        | {
            "given": GIVEN,
            "suggested": ["ant", "cat", "bee", "cat", "ant"],
            "confidence_given": [1 / 3, 0.1, 0.0, 1.0, np.nan],
            "confidence_suggested": [2 / 3, 0.9, 1.0, 1.0, np.nan],
            "last_loss": [9.0, 1e-12, 3.0, 0.1, np.nan],
            "mean_loss": [8.0, 7.1, 6.0, 0.3, 0.2],
            "times_excluded": [5, 4, 3, 2, 1],
            "excluded": [True, True, False, True, False],
        },
        index=pd.Index(SAMPLES, name="sample"),
    )


decisions = st.lists(st.tuples(st.sampled_from(SAMPLES), st.sampled_from([*CLASSES, None])), max_size=12)


def decide(review, made):
    for sample, label in made:
        review.drop(sample) if label is None else review.relabel(sample, label)
    return review


# --- the table


@pytest.fixture(scope="module")
def run(digits):
    noisy = digits.subset(300, seed=0).with_noise(noise.symmetric(0.1), seed=0)
    return noisy, fit(noisy, "mlp", StepE(schedules.linear(3, 5, 0.2)), epochs=20, progress=False)


def test_the_table_lists_all_samples_by_mean_loss(run):
    data, history = run
    found = suspicious(data, history)
    assert sorted(found.index) == list(range(300)) and found.index.name == "sample"
    assert set(found.index[found.excluded]) == set((history.weights[-1] == 0).nonzero().flatten().tolist())
    np.testing.assert_allclose(found.mean_loss, history.losses.mean(0)[found.index], rtol=1e-5)
    assert found.mean_loss.is_monotonic_decreasing
    assert found.times_excluded.tolist() == (history.weights[:, found.index] == 0).sum(0).tolist()
    assert found.given.tolist() == [data.classes[label] for label in data.labels[found.index]]
    assert data.is_mislabeled[found.index[:20]].float().mean() > 0.8


def test_suggestion_and_confidence_are_what_the_network_says_in_evaluation_mode(run):
    data, history = run
    network = torch.nn.Sequential(torch.nn.Dropout(0.9), history.model).train()
    found = suspicious(data, replace(history, model=network))
    pixels = data.images.float()
    normal = (pixels - pixels.mean()) / pixels.std(correction=0)
    with torch.no_grad():
        says = history.model(normal).softmax(1)[found.index]
    assert found.suggested.tolist() == [data.classes[c] for c in says.argmax(1)]
    np.testing.assert_allclose(found.confidence_suggested, says.amax(1), atol=1e-4)
    at_given = says.gather(1, data.labels[found.index][:, None])[:, 0]
    np.testing.assert_allclose(found.confidence_given, at_given, atol=1e-4)
    assert network.training


def test_file_names_come_along(tmp_path):
    data = Dataset.from_folder(make_folder(tmp_path / "mine"), progress=False)
    found = suspicious(data, torch.arange(10.0)[None])
    assert found.columns[0] == "file"
    assert found.file.tolist() == [data.files[i] for i in found.index] == list(reversed(data.files))


def test_no_table_for_other_data(run):
    data, history = run
    with pytest.raises(ValueError, match="run is of 300 samples, but data has 299"):
        suspicious(data.subset(299, seed=0), history)
    for other in (replace(data, images=255 - data.images), replace(data, labels=data.clean_labels)):
        with pytest.raises(ValueError, match="with other images or labels than Dataset"):
            suspicious(other, history)


def test_without_a_network_nothing_is_suggested_and_the_ranking_stays(run, tmp_path):
    data, history = run
    history.save(tmp_path / "run.npz")
    found = suspicious(data, History.load(tmp_path / "run.npz"))
    assert found.index.tolist() == suspicious(data, history).index.tolist()
    assert set(found.suggested) == {""} and found.confidence_given.isna().all()
    with pytest.raises(ValueError, match="rank_by is 'confidence', but run has no confidence_given"):
        suspicious(data, history.losses, rank_by="confidence")
    with pytest.raises(ValueError, match=r"rank_by is 'mean', but must be one of .* Did you mean 'mean loss'"):
        suspicious(data, history, rank_by="mean")


def test_it_takes_a_ledger_losses_and_out_of_sample_probabilities(run):
    data, history = run
    ledger = Ledger(300, StepE(schedules.constant(0.2, warmup=1)))
    for losses in history.losses:
        ledger.record(torch.arange(300), losses)
        ledger.end_epoch()
    for own in (ledger, history.losses, history.losses.numpy()):
        found = suspicious(data, own)
        assert found.index.tolist() == suspicious(data, history).index.tolist()
    assert suspicious(data, ledger).excluded.sum() == 60 and not suspicious(data, history.losses).excluded.any()
    with pytest.raises(ValueError, match=r"the losses have shape \(300,\), but must be \(epochs, n\)"):
        suspicious(data, history.losses[0])
    probabilities = torch.rand(300, 10, generator=torch.Generator().manual_seed(0)).softmax(1)
    found = suspicious(data, SimpleNamespace(probabilities=probabilities))
    given = probabilities.gather(1, data.labels[:, None])[:, 0]
    assert found.index.tolist() == given.argsort(stable=True).tolist() and found.mean_loss.isna().all()
    assert found.suggested.tolist() == [data.classes[c] for c in probabilities.argmax(1)[found.index]]
    mixed = suspicious(data, ledger, probabilities=probabilities)
    assert mixed.index.tolist() == suspicious(data, ledger).index.tolist()
    assert mixed.suggested.equals(found.suggested[mixed.index])
    with pytest.raises(ValueError, match=r"probabilities has shape \(10, 300\), but must be \(300, 10\)"):
        suspicious(data, ledger, probabilities=probabilities.T)


def test_a_warning_says_where_the_network_has_learned_the_excluded_labels(run):
    data, history = run
    parrot = torch.nn.functional.one_hot(data.labels, 10).float()
    with pytest.warns(UserWarning, match="agrees with the given label of 60 of the 60 excluded samples"):
        found = suspicious(data, history, probabilities=parrot)
    assert found.index.tolist() == suspicious(data, history).index.tolist()


# --- decisions


def test_keep_relabel_and_drop():
    review = Review(table(), CLASSES)
    review.keep(9)
    review.relabel(7, "ant")
    review.drop(4)
    assert review.decisions == {9: "cat", 7: "ant", 4: None}
    assert review.waiting == [2, 0]
    found = review.as_table()
    assert found.decision.tolist() == ["relabel", "", "keep", "", "drop"]
    assert found.label.tolist() == ["ant", "", "cat", "", ""]
    assert found.turn.tolist() == [2, 0, 1, 0, 3]
    assert "decision" not in review.table


def test_what_is_no_row_or_no_class_is_refused_and_not_noted():
    review = Review(table(), CLASSES)
    for wrong in (lambda: review.keep(1), lambda: review.drop(1), lambda: review.relabel(1, "ant")):
        with pytest.raises(ValueError, match="sample is 1, which is not in the table of 5 rows"):
            wrong()
    with pytest.raises(ValueError, match=r"label is 'an', but must be one of 'ant', 'bee', 'cat'. Did you mean 'ant'"):
        review.relabel(7, "an")
    assert review.log == []


@given(decisions, decisions)
def test_undo_restores_what_was_before(first, later):
    review = decide(Review(table(), CLASSES), first)
    before, waiting = review.decisions, review.waiting
    decide(review, later)
    undone = [review.undo() for _ in later]
    assert undone == [sample for sample, _ in reversed(later)]
    assert (list(review.decisions.items()), review.waiting) == (list(before.items()), waiting)


def test_the_latest_decision_on_a_sample_counts_and_comes_last():
    review = decide(Review(table(), CLASSES), [(7, "ant"), (2, None), (7, "cat")])
    assert list(review.decisions.items()) == [(2, None), (7, "cat")]


def test_undo_without_a_decision_does_nothing():
    assert Review(table(), CLASSES).undo() is None


# --- the CSV file


@pytest.mark.parametrize("files", [False, True])
@given(made=decisions)
def test_a_review_can_be_written_and_taken_up_again(tmp_path_factory, files, made):
    path = tmp_path_factory.mktemp("csv") / "review.csv"
    review = decide(Review(table(files), CLASSES), made)
    review.to_csv(path)
    again = Review.from_csv(path, CLASSES)
    pd.testing.assert_frame_equal(again.as_table(), review.as_table())
    assert list(again.decisions.items()) == list(review.decisions.items())
    assert [again.undo() for _ in review.decisions] == list(reversed(review.decisions))


def test_class_and_file_names_that_look_like_something_else_survive(tmp_path):
    names = ("1", "None", "nan", "a,b", 'say "x"')
    odd = table(files=True).assign(given=list(names), suggested=list(reversed(names)))
    odd.loc[7, "file"] = "1/line\nbreak.png"
    review = Review(odd, names)
    for sample, label in zip(SAMPLES, reversed(names)):
        review.relabel(sample, label)
    review.to_csv(tmp_path / "odd.csv")
    review.table.loc[7, "file"] = "1/line\\nbreak.png"  # in a table a line break is typed
    pd.testing.assert_frame_equal(Review.from_csv(tmp_path / "odd.csv", names).as_table(), review.as_table())


def test_a_spreadsheet_may_add_decisions(tmp_path):
    Review(table(), CLASSES).to_csv(tmp_path / "review.csv")
    rows = pd.read_csv(tmp_path / "review.csv", dtype=str, keep_default_na=False)
    rows.loc[0, ["decision", "label", "turn"]] = ["relabel", "cat", ""]
    rows.loc[3, "decision"] = "drop"
    rows.to_csv(tmp_path / "changed.csv", index=False)
    assert Review.from_csv(tmp_path / "changed.csv", CLASSES).decisions == {7: "cat", 0: None}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16", "utf-16-le"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_what_spreadsheets_make_of_a_review_is_understood(tmp_path, encoding, separator):
    classes = ("Amsel", "Käfer", "cat")
    review = Review(table(files=True).replace({"ant": "Amsel", "bee": "Käfer"}), classes)
    review.relabel(7, "cat"), review.drop(4)
    review.to_csv(tmp_path / "review.csv")
    rows = pd.read_csv(tmp_path / "review.csv", dtype=str, keep_default_na=False)
    rows["mean_loss"] = rows.mean_loss.str.replace(".", ",") if separator != "," else rows.mean_loss
    rows["sample"] += ".0"
    rows["turn"] += ".0"
    rows["excluded"] = rows.excluded.str.upper()
    rows.loc[2, ["decision", "label"]] = " Keep ", ""
    rows.loc[3, "label"] = "KÄFER"  # no decision: it means relabel
    text = rows.to_csv(index=False, sep=separator, lineterminator="\r\n")
    head, *lines = text.splitlines()
    blank = separator * head.count(separator)
    text = "\r\n".join(["sep=" + separator, head, blank, *lines[:2], "", *lines[2:], blank, blank])
    (tmp_path / "changed.csv").write_bytes(text.encode(encoding))
    again = Review.from_csv(tmp_path / "changed.csv", classes)
    assert again.decisions == {7: "cat", 4: None, 9: "cat", 0: "Käfer"}
    pd.testing.assert_frame_equal(again.table, review.table)


def test_classes_that_a_spreadsheet_takes_for_numbers_are_known_where_only_one_is_meant(tmp_path):
    classes = ("001", "002", "1e3")
    review = Review(table().replace({"ant": "001", "bee": "002", "cat": "1e3"}), classes)
    review.relabel(9, "001")
    review.to_csv(tmp_path / "review.csv")
    text = (tmp_path / "review.csv").read_text("utf-8-sig")
    changed = text.replace("001", "1").replace("002", "2.0").replace("1e3", "1000")
    (tmp_path / "review.csv").write_text(changed)
    assert Review.from_csv(tmp_path / "review.csv", classes).decisions == {9: "001"}
    pd.testing.assert_frame_equal(Review.from_csv(tmp_path / "review.csv", classes).table, review.table)
    with pytest.raises(
        ValueError, match="line 2, column 'suggested' is '1', but must be one of '001', '01', '2', '1000'"
    ):
        Review.from_csv(tmp_path / "review.csv", ("001", "01", "2", "1000"))


def test_a_review_that_a_converter_took_for_windows_text_is_understood(tmp_path):
    """LibreOffice without a screen takes UTF-8 for code page 1252, the mark included, and writes that as UTF-8."""
    review = Review(table().replace({"ant": "Käfer", "bee": "Š, Á"}), ("Käfer", "Š, Á", "cat"))
    review.relabel(7, "Š, Á"), review.keep(9)
    review.to_csv(tmp_path / "review.csv")
    raw = (tmp_path / "review.csv").read_bytes()
    letters = [bytes([byte]).decode("cp1252", "ignore") or chr(byte) for byte in raw]
    (tmp_path / "review.csv").write_text("".join(letters), "utf-8-sig", newline="")
    again = Review.from_csv(tmp_path / "review.csv", review.classes)
    assert again.decisions == review.decisions and again.table.given.tolist() == review.table.given.tolist()


@pytest.mark.skipif(shutil.which("soffice") is None, reason="no LibreOffice (Debian: libreoffice-calc-nogui)")
def test_a_review_survives_libreoffice_calc(tmp_path):
    classes = ("001", "Käfer", "ça, va; bien")
    names = {"ant": "001", "bee": "Käfer", "cat": "ça, va; bien"}
    review = Review(table(files=True).replace(names), classes)
    review.table.loc[9, "file"] = "cat/-1+2 = 3, \r\n.png"
    review.relabel(7, "ça, va; bien"), review.drop(4), review.keep(9)
    review.to_csv(tmp_path / "review.csv")
    plain, windows, utf16 = "44,34,76", "59,34,ANSI", "9,34,UTF16"
    for filters in (plain, windows, utf16):
        for target in ("ods", f"csv:Text - txt - csv (StarCalc):{filters}"):
            source = "review.csv" if target == "ods" else "review.ods"
            folder = tmp_path if target == "ods" else tmp_path / "back"
            subprocess.run(
                ["soffice", f"-env:UserInstallation=file://{tmp_path}/profile", "--headless",
                 "--infilter=Text - txt - csv (StarCalc):44,34,76" if target == "ods" else "--nologo",  # as it guesses
                 "--convert-to", target, "--outdir", folder, tmp_path / source],
                check=True, capture_output=True, timeout=300,
            )  # fmt: skip
        again = Review.from_csv(tmp_path / "back" / "review.csv", classes)
        assert list(again.decisions.items()) == list(review.decisions.items()), filters
        assert again.table.given.tolist() == review.table.given.tolist()
        assert again.table.file.tolist() == [sheets.printable(file) for file in review.table.file]
        np.testing.assert_allclose(again.table.mean_loss, review.table.mean_loss, rtol=1e-3)


def test_a_file_name_that_is_no_text_survives_review_and_copy(tmp_path):
    odd = b"cat/\xff \r\n.png".decode("utf-8", "surrogateescape")
    for file in (odd, "cat/b.png", "dog/c.png"):
        path = tmp_path / "mine" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4), 9).save(path)
    data = Dataset.from_folder(tmp_path / "mine", progress=False)
    review = Review(suspicious(data, torch.ones(1, 3)), data.classes)
    review.relabel(data.files.index(odd), "dog")
    review.to_csv(tmp_path / "review.csv")
    again = Review.from_csv(tmp_path / "review.csv", data.classes, data.files)
    again.copy_folder(tmp_path / "mine", tmp_path / "new")
    assert sorted(os.listdir(tmp_path / "new" / "dog")) == sorted([odd[4:], "c.png"])


def test_the_cleaned_copy_of_a_table_keeps_all_other_rows_and_columns(tmp_path):
    make_folder(tmp_path)
    rows = [f"{CLASSES[label]}/{i}.png;{CLASSES[label]};n{i}" for i, label in enumerate(animals().labels)]
    (tmp_path / "t.csv").write_text("\n".join(["Datei;Art;Notiz", *rows]), encoding="utf-16")
    data = Dataset.from_csv(tmp_path / "t.csv", image="Datei", label="Art", progress=False)
    review = Review(suspicious(data, torch.ones(1, 10)), data.classes)
    review.relabel(3, "cat"), review.drop(8)
    review.copy_table(tmp_path / "t.csv", tmp_path / "new.csv", image="Datei", label="Art")
    wanted = [row.replace(";bee;n3", ";cat;n3") for row in rows if ";n8" not in row]
    assert (tmp_path / "new.csv").read_text("utf-8-sig").splitlines() == [
        row.replace(";", ",") for row in ["Datei;Art;Notiz", *wanted]
    ]
    again = Dataset.from_csv(tmp_path / "new.csv", image="Datei", label="Art", progress=False)
    assert again.labels.tolist() == review.cleaned(data).labels.tolist()
    with pytest.raises(FileExistsError):
        review.copy_table(tmp_path / "t.csv", tmp_path / "new.csv", image="Datei", label="Art")
    (tmp_path / "t.csv").write_text("file,label\nant/1.png,ant")
    with pytest.raises(ValueError, match=r"has no row for 'bee/3.png'"):
        review.copy_table(tmp_path / "t.csv", tmp_path / "newer.csv")


def test_the_cleaned_copy_holds_every_file_whatever_it_is(tmp_path):
    source = make_folder(tmp_path / "mine")
    extra = {
        "readme.md": b"x",
        "ant/cut.png": b"\x89PNG",
        "ant/._1.png": b"m",
        "__MACOSX/ant/._1.png": b"m",
        "bee/.hidden/x": b"h",
        "cat/deep/film.gif": b"GIF89a",
        "manifest.csv": b"older",
        "bee/photo.HEIC": b"h",
    }
    for name, content in extra.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(content)
    (source / "zebra").mkdir()
    os.mkfifo(source / "cat" / "pipe")
    review = decide(Review(table(files=True), CLASSES), [(7, "ant"), (9, None)])
    review.copy_folder(source, tmp_path / "new")
    copied = contents(tmp_path / "new")
    assert {name: copied[name] for name in extra} == extra
    assert "ant/7.png" in copied and "bee/7.png" not in copied and "cat/9.png" not in copied
    manifest = pd.read_csv(tmp_path / "new" / "manifest_2.csv", keep_default_na=False).set_index("file")
    assert len(manifest) == len(manifest.index.unique()) == 11 + len(extra) + 1
    assert manifest.what[["bee/7.png", "cat/9.png", "cat/pipe"]].tolist() == [
        "now ant", "dropped", "not copied: no regular file",
    ]  # fmt: skip
    assert (manifest.what == "copied").sum() == len(manifest) - 3
    assert (tmp_path / "new" / "zebra").is_dir()


def test_what_is_no_review_is_refused(tmp_path):
    review = Review(table(), CLASSES)
    review.relabel(7, "cat")
    review.to_csv(tmp_path / "review.csv")
    with pytest.raises(ValueError, match="line 2, column 'label' is 'cat', but must be one of 'ant', 'bee'"):
        Review.from_csv(tmp_path / "review.csv", ("ant", "bee"))
    text = (tmp_path / "review.csv").read_text("utf-8-sig")
    for old, new, said in (
        ("relabel", "rename", "line 2, column 'decision' is 'rename', but must be one of 'keep', 'relabel', 'drop'"),
        ("relabel,cat", "keep,cat", "line 2, column 'decision' is 'keep', but label is 'cat', not 'bee'"),
        ("relabel,cat", "drop,cat", "line 2, column 'decision' is 'drop', but label is 'cat', not 'bee'"),
        ("relabel,cat", "relabel,", "line 2, column 'label' is empty, but 'relabel' needs a class"),
        ("\n9,", "\n-1,", "line 4, column 'sample': sample -1 is negative"),
        ("\n9,", "\n9.5,", "line 4, column 'sample' is '9.5', but must be a whole number"),
        ("\n9,", "\n1e999,", "line 4, column 'sample' is '1e999', but must be a whole number"),
        ("8.0,5", "eight,5", "line 2, column 'mean_loss' is 'eight', but must be a number"),
        ("decision", "decided", r"has no column 'decision' but \['sample', 'given'"),
        ("relabel,cat,1", "relabel,cat,1,more", "line 2 has 13 cells for 12 columns"),
    ):
        assert old in text
        (tmp_path / "review.csv").write_text(text.replace(old, new))
        with pytest.raises(ValueError, match=said):
            Review.from_csv(tmp_path / "review.csv", CLASSES)
    with pytest.raises(FileNotFoundError):
        Review.from_csv(tmp_path / "nowhere.csv", CLASSES)


def test_a_sample_that_stands_twice_is_refused(tmp_path):
    Review(table(), CLASSES).to_csv(tmp_path / "review.csv")
    lines = (tmp_path / "review.csv").read_text("utf-8-sig").splitlines()
    (tmp_path / "review.csv").write_text("\n".join([*lines, lines[1]]))
    with pytest.raises(ValueError, match="line 7, column 'sample': sample 7 stands there more than once"):
        Review.from_csv(tmp_path / "review.csv", CLASSES)


@pytest.mark.filterwarnings("ignore:The network agrees")
def test_soft_weights_below_one_half_count_as_excluded(digits):
    data = digits.subset(300, seed=0).with_noise(noise.symmetric(0.1), seed=0)
    history = fit(data, "mlp", StepE(schedules.constant(0.2, 1), soft=0.5), epochs=3, progress=False)
    found = suspicious(data, history)
    assert found.excluded.sum() == 60 and (found.times_excluded[found.excluded] >= 1).all()


def test_a_review_of_other_files_is_refused(tmp_path):
    Review(table(files=True), CLASSES).to_csv(tmp_path / "review.csv")
    files = [""] * 10
    for sample, label in zip(SAMPLES, GIVEN):
        files[sample] = f"{label}/{sample}.png"
    assert len(Review.from_csv(tmp_path / "review.csv", CLASSES, files).table) == len(SAMPLES)
    for changed in (files[1:], files[:-1], ["ant/new.png", *files]):
        with pytest.raises(ValueError, match=r"a review of other files: '.*' is not sample"):
            Review.from_csv(tmp_path / "review.csv", CLASSES, changed)


# --- a cleaned Dataset


def animals():
    """Ten samples whose labels agree with the table; image i is i everywhere."""
    labels = torch.tensor([2, 0, 0, 1, 1, 2, 0, 1, 2, 2])
    images = torch.arange(10, dtype=torch.uint8).view(10, 1, 1, 1).expand(10, 1, 4, 4).clone()
    return Dataset.from_arrays(images, labels, classes=CLASSES, clean_labels=labels.flip(0), name="animals")


@given(decisions)
def test_the_cleaned_data_have_the_decided_labels_and_the_original_stays_as_it_is(made):
    data, review = animals(), decide(Review(table(), CLASSES), made)
    cleaned, decided = review.cleaned(data), review.decisions
    wanted = {i: decided.get(i, CLASSES[data.labels[i]]) for i in range(10)}
    wanted = {i: label for i, label in wanted.items() if label is not None}
    assert cleaned.images[:, 0, 0, 0].tolist() == list(wanted)
    assert [CLASSES[label] for label in cleaned.labels] == list(wanted.values())
    assert cleaned.clean_labels.tolist() == data.clean_labels[list(wanted)].tolist()
    assert data.labels.tolist() == animals().labels.tolist() and len(data) == 10


def test_other_data_than_the_reviewed_are_refused():
    review = Review(table(), CLASSES)
    review.drop(9)
    with pytest.raises(ValueError, match="sample 9 is another than in the reviewed table"):
        review.cleaned(animals().subset(9, seed=0))
    with pytest.raises(ValueError, match="sample 9 is another than in the reviewed table"):
        review.cleaned(replace(animals(), labels=torch.tensor([2, 0, 0, 1, 1, 2, 0, 1, 2, 1])))


def test_a_class_that_would_be_empty_is_refused():
    data = Dataset.from_arrays(torch.zeros(2, 1, 4, 4, dtype=torch.uint8), [0, 1], classes=CLASSES[:2])
    review = Review(table().rename(index={2: 0, 0: 2}), CLASSES[:2])
    review.drop(0)
    with pytest.raises(ValueError, match="labels has no samples of class 'ant'"):
        review.cleaned(data)


# --- a cleaned folder


def make_folder(folder):
    """Ten images whose classes agree with the table, and a file that is no image; image i is all i."""
    for i, label in enumerate(animals().labels):
        path = folder / CLASSES[label] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4), i).save(path)
    (folder / "ant" / "notes.txt").write_text("none")
    return folder


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_files_are_in_the_order_of_the_images(tmp_path):
    data = Dataset.from_folder(make_folder(tmp_path / "mine"), progress=False)
    files = list(data.files)
    assert files == [
        f"{c}/{i}.png" for c, numbers in (("ant", "126"), ("bee", "347"), ("cat", "0589")) for i in numbers
    ]
    assert [f"{data.classes[c]}/{image[0, 0, 0]}.png" for c, image in zip(data.labels, data.images)] == files


@given(decisions)
def test_the_copied_folder_is_right_and_the_original_untouched(tmp_path_factory, made):
    place = tmp_path_factory.mktemp("folders")
    source = make_folder(place / "mine")
    before = contents(source)
    review = decide(Review(table(files=True), CLASSES), made)
    review.copy_folder(source, place / "cleaned")
    wanted = {}
    for file, image in before.items():
        label = (
            review.decisions.get(int(file[4]))
            if file.endswith("png") and int(file[4]) in review.decisions
            else file[:3]
        )
        if file.endswith("png") and label is not None:
            wanted[label + file[3:]] = image
    wanted["ant/notes.txt"] = before["ant/notes.txt"]
    copied = contents(place / "cleaned")
    manifest = pd.read_csv(place / "cleaned" / "manifest.csv", keep_default_na=False).set_index("file")
    assert copied.pop("manifest.csv") and copied == wanted
    assert sorted(manifest.index) == sorted(before) and set(manifest.place) - {""} == set(wanted)
    assert all(copied[row.place] == before[row.Index] for row in manifest.itertuples() if row.place)
    assert contents(source) == before
    assert sorted(path.name for path in place.iterdir()) == ["cleaned", "mine"]


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["1.png", "1_2.png", "A.png", "a.png", "d/1.png"])),
             unique=True, min_size=1),
    st.lists(st.sampled_from(["a", "b", "c", None]), min_size=15, max_size=15),
)  # fmt: skip
def test_no_two_images_go_to_the_same_place(names, labels):
    files = [f"{label}/{name}" for label, name in names] + ["a/stay.png", "b/stay.png", "c/stay.png"]
    decided = dict(zip(files[:-3], labels))
    places = folders._places(dict.fromkeys(files, ""), "abc", decided)
    assert set(places) == {file for file in files if decided.get(file, "") is not None}
    for file, place in places.items():
        assert place.split("/")[0] == decided.get(file, file[0])
        assert place == file or decided[file] != file[0]
    moved = [place.casefold() for file, place in places.items() if place != file]
    stayed = {place.casefold() for file, place in places.items() if place == file}
    assert len(set(moved)) == len(moved) and not stayed & set(moved)


def test_nothing_is_overwritten_and_nothing_half_written_stays(tmp_path, monkeypatch):
    source = make_folder(tmp_path / "mine")
    (tmp_path / "there").mkdir()
    with pytest.raises(FileExistsError, match="there' exists already, and nothing is overwritten"):
        folders.copy(source, tmp_path / "there", {})
    with pytest.raises(ValueError, match="which lies in source"):
        folders.copy(source, source / "cleaned", {})

    def full(*_):
        raise OSError("no space left")

    monkeypatch.setattr(folders.shutil, "copy2", full)
    with pytest.raises(OSError, match="no space left"):
        folders.copy(source, tmp_path / "cleaned", {})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "there"]


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ({"ant/5.png": "bee"}, "source has no image 'ant/5.png', which was decided on"),
        ({"ant/1.png": "../bee"}, "label is '../bee', but must be one of 'ant', 'bee', 'cat'"),
        ({f"ant/{i}.png": None for i in (1, 2, 6)}, "class 'ant' would be left without images"),
    ],
)
def test_labels_that_do_not_fit_the_folder_are_refused_before_anything_is_written(tmp_path, labels, said):
    make_folder(tmp_path / "mine")
    with pytest.raises(ValueError, match=said):
        folders.copy(tmp_path / "mine", tmp_path / "cleaned", labels)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_the_pictures_of_the_suspects_are_the_files_with_their_names(tmp_path):
    for name in ("ant", "bee"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (40, 20), "red").save(tmp_path / name / "wide photograph.png")
    data = Dataset.from_folder(tmp_path, size=8, progress=False)
    figure = plots.suspects(data, suspicious(data, torch.rand(3, 2)))
    first = figure.axes[0]
    assert first.images[0].get_array().shape[:2] == (20, 40)  # not the square that the network sees
    assert "wide photograph.png" in first.texts[0].get_text()


def test_a_word_far_from_all_that_are_allowed_gets_no_hint():
    with pytest.raises(ValueError, match=r"'boat', but must be one of 'car', 'cat', 'ship'\.$"):
        class_named("boat", ("car", "cat", "ship"), "the class")


def test_a_review_without_files_cannot_be_copied(tmp_path):
    with pytest.raises(ValueError, match=r'no column "file": the images must come from'):
        Review(table(), CLASSES).copy_folder(make_folder(tmp_path / "mine"), tmp_path / "cleaned")


def test_the_command_copies_by_the_review_alone(tmp_path):
    source, review = make_folder(tmp_path / "mine"), Review(table(files=True), CLASSES)
    sample = review.table.index[0]
    review.drop(sample)
    review.to_csv(tmp_path / "review.csv")
    review.copy_folder(source, tmp_path / "wanted")
    clean = lambda *given: CliRunner().invoke(main, ["clean", *map(str, given)])  # noqa: E731
    result = clean(source, tmp_path / "review.csv", tmp_path / "cleaned")
    assert result.exit_code == 0 and "1 × drop; the copy is in" in result.output
    assert contents(tmp_path / "cleaned") == contents(tmp_path / "wanted")
    again = clean(source, tmp_path / "review.csv", tmp_path / "cleaned")
    assert again.exit_code == 1 and "exists already" in again.output
    missing = clean(tmp_path / "fotos", tmp_path / "review.csv", tmp_path / "x")
    assert missing.exit_code == 1 and "does not exist, but must be a folder with one sub-folder" in missing.output
    other = clean(tmp_path, tmp_path / "review.csv", tmp_path.parent / "x")
    assert other.exit_code == 2 and f"of another folder: {review.table.file.iloc[0]!r} is not in" in other.output
    assert "review is 'nowhere.csv', which does not exist" in clean(source, "nowhere.csv", tmp_path / "x").output
    Review(table(files=True), CLASSES).to_csv(tmp_path / "open.csv")
    undecided = clean(source, tmp_path / "open.csv", tmp_path / "x")
    assert undecided.exit_code == 2 and "in which none of" in undecided.output and not (tmp_path / "x").exists()


def test_images_in_no_sub_folder_and_a_folder_that_is_not_there_are_told(tmp_path):
    folder = make_folder(tmp_path / "mine")
    with pytest.raises(ValueError, match="must hold a sub-folder of images for each class, not the images"):
        Dataset.from_folder(folder / "bee", progress=False)
    with pytest.raises(FileNotFoundError, match="fotos', which does not exist, but must be a folder"):
        audit(tmp_path / "fotos", progress=False)
