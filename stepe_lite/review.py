"""Suspicious samples of your own data: a ranked table, your decisions on it, and a cleaned copy.

Nothing here changes what it is given: not the Dataset, not the folder of images, not the table of labels.
"""

import warnings
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

from . import analysis
from .datasets import folders, sheets
from .datasets.labels import class_names
from .history import data_digest
from .learner import check_data
from .utils import BadInput, as_tensor, check_choice, check_whole, expand, written_beside

RANKINGS = ("mean loss", "last loss", "confidence")
_NUMBERS = ("confidence_given", "confidence_suggested", "last_loss", "mean_loss", "times_excluded")
_TEXTS = ("file", "given", "suggested")


class Record(NamedTuple):
    """What a run says about its samples: losses (epochs, n) and bool excluded (epochs, n), on the CPU."""

    losses: torch.Tensor
    excluded: torch.Tensor


def record_of(run):
    """The Record of a History, of a Ledger, or of losses (epochs, n) that you noted yourself (nobody excluded)."""
    losses = as_tensor("run", getattr(run, "losses", run), torch.float32).detach().cpu()
    if losses.ndim != 2 or not len(losses):
        raise BadInput(f"the losses have shape {tuple(losses.shape)}, but must be (epochs, n), one epoch at least.")
    weights = getattr(run, "weight_history", getattr(run, "weights", None))  # a Ledger's, a History's
    return Record(losses, torch.zeros_like(losses, dtype=torch.bool) if weights is None else weights.cpu() < 0.5)


def suspicious(data, run, *, rank_by=None, probabilities=None):
    """All samples, the most suspicious label first: DataFrame, index `sample`.

    data : Dataset; run : one of
        a History of `fit(data, …)`, with any rule;
        a Ledger, or losses (epochs, n), of a training loop of your own;
        what `peers.confident_learning(data, …)` returned
    probabilities : (n, k), what a network says about each sample; by default that of `run`, where it has one. Without
        any, nothing is suggested.
    rank_by : "mean loss" over all epochs, highest first (the default); "last loss", of the last epoch alone;
        "confidence", the probability of the given label, lowest first. That is the default for confident learning,
        whose probabilities come from networks that have not seen the sample, and worth little where they have.

    Columns:
    file : only if the images come from files
    given : the class name in `data`
    suggested : the most probable class
    confidence_given, confidence_suggested : the probabilities of these two classes, in [0, 1]
    last_loss, mean_loss : nats, after the last epoch, and the mean over all epochs
    times_excluded : how many epochs did without the sample; excluded : whether the last one did

    Look at the rows in their order, not only where `suggested` differs: a network reproduces the labels that it has
    trained on, right or wrong, and even an excluded sample may have been learned before. A warning says where that has
    happened. Raises ValueError if `run` is of other data, or has not what `rank_by` needs.
    """
    known = probabilities is not None or hasattr(run, "probabilities")
    rank_by = check_choice(
        "rank_by", rank_by or ("confidence" if hasattr(run, "probabilities") else RANKINGS[0]), RANKINGS
    )
    check_data(data)
    _check_same_data(data, run)
    if known:
        given = run.probabilities if probabilities is None else probabilities
        probabilities = as_tensor("probabilities", given, torch.float32).detach().cpu()
    elif getattr(run, "model", None) is not None:
        probabilities, known = analysis.logits(run.model, data.images, like=data.images).softmax(1), True
    n, k, names = len(data), len(data.classes), np.asarray(data.classes, dtype=object)
    if known and probabilities.shape != (n, k):
        raise BadInput(f"probabilities has shape {tuple(probabilities.shape)}, but must be ({n}, {k}).")
    table = {} if data.files is None else {"file": [sheets.printable(file) for file in data.files]}
    table |= {"given": names[data.labels], "suggested": "", "confidence_given": np.nan, "confidence_suggested": np.nan}
    if known:
        confidence, suggested = probabilities.double().max(1)
        given = probabilities.double().gather(1, data.labels[:, None])[:, 0]
        table |= {"suggested": names[suggested], "confidence_given": given, "confidence_suggested": confidence}
    table |= {"last_loss": np.nan, "mean_loss": np.nan, "times_excluded": 0, "excluded": False}
    if not hasattr(run, "probabilities"):
        losses, excluded = record_of(run)
        if losses.shape[1] != n:
            raise BadInput(f"run is of {losses.shape[1]} samples, but data has {n}.")
        table |= {"last_loss": losses[-1].double(), "mean_loss": losses.double().mean(0)}
        table |= {"times_excluded": excluded.sum(0), "excluded": excluded[-1]}
    table = pd.DataFrame(table, index=pd.RangeIndex(n, name="sample"))
    column = {"confidence": "confidence_given"}.get(rank_by, rank_by.replace(" ", "_"))
    if table[column].isna().all():
        raise BadInput(f"rank_by is {rank_by!r}, but run has no {column}; it can be ranked by what it has.")
    out, differ = table.excluded, table.suggested != table.given
    if known and (out & differ).sum() < out.sum() / 2:
        warnings.warn(
            f"The network agrees with the given label of {(out & ~differ).sum()} of the {out.sum()} excluded samples. "
            "Either many of these are right, or it learned wrong ones before they were excluded. So review the rows by "
            "their rank, whatever is suggested; no ramp, a shorter warm-up or augment make suggestions better.",
            stacklevel=2,
        )
    return table.sort_values(column, ascending=rank_by == "confidence", kind="stable", na_position="first")


@dataclass(eq=False)
class Review:
    """Decisions on the rows of a table, each of which can be taken back.

    table : rows of what `suspicious` returns
    classes : the class names of the data
    log : (sample, class name, or None = drop) for each decision in turn; a later one on the same sample counts
    """

    table: pd.DataFrame
    classes: tuple[str, ...]
    log: list[tuple[int, str | None]] = field(default_factory=list)

    def __post_init__(self):
        if not isinstance(self.table, pd.DataFrame) or "given" not in self.table:
            raise BadInput(f"table is {self.table!r}, but must be rows of what suspicious returns.")
        self.classes = class_names(self.classes)

    @property
    def decisions(self):
        """dict sample -> class name, or None for a sample to be dropped; the latest decision comes last."""
        decided = {}
        for sample, label in self.log:
            decided.pop(sample, None)
            decided[sample] = label
        return decided

    @property
    def waiting(self):
        """The samples without a decision, in the order of the table: list of int."""
        decided = self.decisions
        return [sample for sample in self.table.index if sample not in decided]

    def keep(self, sample):
        """The given label is right."""
        self.relabel(sample, self._given(sample))

    def relabel(self, sample, label):
        """The right label is the class name `label`. Raises ValueError for an unknown sample or class."""
        self._given(sample)
        self.log.append((int(sample), check_choice("label", label, self.classes)))

    def drop(self, sample):
        """No label is right, or nobody can tell."""
        self._given(sample)
        self.log.append((int(sample), None))

    def undo(self):
        """Take the last decision back and return its sample; None if there was no decision."""
        return self.log.pop()[0] if self.log else None

    def as_table(self):
        """The table with `decision` (keep, relabel, drop, or "" where none is made), `label` and `turn` (from 1; 0)."""
        labels = self.decisions
        turns = {sample: turn for turn, sample in enumerate(labels, 1)}
        table = self.table.assign(decision="", label="", turn=0)
        for sample, label in labels.items():
            word = "drop" if label is None else "keep" if label == self._given(sample) else "relabel"
            table.loc[sample, ["decision", "label", "turn"]] = word, label or "", turns[sample]
        return table

    def to_csv(self, path):
        """Write `as_table` to the file `path` so that spreadsheets open it (UTF-8 with a mark, commas).

        An older file there is replaced once the new one is whole.
        """
        table = self.as_table()
        texts = {name: table[name].map(sheets.printable) for name in (*_TEXTS, "label") if name in table}
        with written_beside(path) as partial:
            table.assign(**texts).to_csv(partial, encoding="utf-8-sig")

    @classmethod
    def from_csv(cls, path, classes, files=None):
        """Take up the review that `to_csv` wrote, perhaps changed in a spreadsheet since. `classes`: as in the data.

        In a spreadsheet, change the columns `decision` (keep, relabel, drop) and `label`; a `label` alone will do. What
        spreadsheets make of the rest is understood: other encodings and separators, decimal commas, 14.0 for 14, blank
        rows, 1 for the class "001" (where no other class is the number 1).

        Raises FileNotFoundError, or ValueError with line and column if `path` is no such table, has a decision or label
        that is none, or is of other files than `files` (`data.files`).
        """
        sheet = sheets.read(path, ("sample", "given", "suggested", "decision", "label"))
        rows, decided, classes = {}, [], class_names(classes)
        for row, line in zip(sheet.rows, sheet.lines):
            where = lambda column, line=line: f"{str(path)!r}, line {line}, column {column!r}"  # noqa: E731
            sample = sheets.whole(row["sample"], where("sample"))
            if sample < 0 or sample in rows:
                said = "is negative" if sample < 0 else "stands there more than once"
                raise BadInput(f"{where('sample')}: sample {sample} {said}.")
            given = class_named(row["given"], classes, where("given"))
            suggested = row["suggested"].strip() and class_named(row["suggested"], classes, where("suggested"))
            numbers = {name: sheets.number(row.get(name, ""), where(name)) for name in _NUMBERS}
            excluded = row.get("excluded", "").strip().lower() in ("true", "1", "1.0")
            if files is not None and "file" in row:
                if sample >= len(files) or sheets.printable(files[sample]) != row["file"].strip():
                    raise BadInput(
                        f"{where('file')}, in a review of other files: {row['file']!r} is not sample {sample}."
                    )
            names = {"file": row["file"]} if "file" in row else {}
            rows[sample] = names | {"given": given, "suggested": suggested} | numbers | {"excluded": excluded}
            word, label = row["decision"].strip().lower(), row["label"].strip()
            label = label and class_named(label, classes, where("label"))
            if not word and not label:
                continue
            word = check_choice(where("decision"), word or ("keep" if label == given else "relabel"), _DECISIONS)
            if word != "relabel" and label not in ("", given):
                raise BadInput(f"{where('decision')} is {word!r}, but label is {label!r}, not {given!r}: relabel?")
            if word == "relabel" and not label:
                raise BadInput(f"{where('label')} is empty, but 'relabel' needs a class.")
            turn = sheets.number(row.get("turn", ""), where("turn"))
            decided.append((np.inf if np.isnan(turn) or not turn else turn, sample, word, label or given))
        table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("sample")
        if not rows:
            table = pd.DataFrame(columns=["given", "suggested", *_NUMBERS, "excluded"])
        table["times_excluded"] = table.times_excluded.fillna(0).astype(int)
        review = cls(table, classes)
        for _, sample, word, label in sorted(decided, key=lambda each: each[0]):
            review.drop(sample) if word == "drop" else review.relabel(sample, label)
        return review

    def cleaned(self, data):
        """A new Dataset: `data` with the decided labels, without the dropped samples. Rows without decision stay.

        Raises ValueError if the table is of other data, or if a class would be left without samples.
        """
        check_data(data)
        labels, kept = data.labels.clone(), torch.ones(len(data), dtype=torch.bool)
        for sample, label in self.decisions.items():
            if not 0 <= sample < len(data) or data.classes[data.labels[sample]] != self._given(sample):
                raise BadInput(f"data is {data!r}, where sample {sample} is another than in the reviewed table.")
            kept[sample] = label is not None
            labels[sample] = data.labels[sample] if label is None else data.classes.index(label)
        clean = None if data.clean_labels is None else data.clean_labels[kept]
        name = f"{data.name} reviewed"
        return replace(data, images=data.images[kept], labels=labels[kept], clean_labels=clean, name=name)

    def copy_folder(self, source, destination):
        """Write the cleaned copy of the image folder `source` to the new folder `destination`, see `folders.copy`.

        Raises ValueError if the table has no column `file`, or what `folders.copy` raises.
        """
        folders.copy(source, destination, self._by_file())

    def copy_table(self, source, destination, *, image="file", label="label"):
        """Write the cleaned copy of the CSV file `source`, as `Dataset.from_csv` takes it, to the file `destination`.

        The rows that were decided upon get their new label or are left out; all other rows and columns stay. Raises
        FileExistsError if there is such a file, ValueError if a decided file is not in `source`.
        """
        if expand("destination", destination).exists():
            raise FileExistsError(f"{str(destination)!r} exists already, and nothing is overwritten.")
        rows, decided = sheets.read(source, (image, label)).rows, self._by_file()
        names = [sheets.printable(row[image].strip()) for row in rows]
        strange = [file for file in decided if file not in names]
        if strange:
            raise BadInput(f"source is {str(source)!r}, which has no row for {strange[0]!r}.")
        rows = [row | {label: decided.get(name, row[label])} for row, name in zip(rows, names)]
        with written_beside(destination) as partial:
            pd.DataFrame([row for row in rows if row[label] is not None]).to_csv(
                partial, index=False, encoding="utf-8-sig"
            )

    def _by_file(self):
        if "file" not in self.table:
            raise BadInput('the table has no column "file": the images must come from Dataset.from_folder or from_csv.')
        return {self.table.file[sample]: label for sample, label in self.decisions.items()}

    def _given(self, sample):
        if check_whole("sample", sample) not in self.table.index:
            raise BadInput(f"sample is {sample!r}, which is not in the table of {len(self.table)} rows.")
        return self.table.given[sample]


_DECISIONS = ("keep", "relabel", "drop")


def _check_same_data(data, run):
    """Raise ValueError if a History is of other data; what else `run` may be does not tell."""
    config = getattr(run, "config", {})
    if config.get("n", len(data)) != len(data):
        raise BadInput(f"run is of {config['n']} samples, but data has {len(data)}.")
    if "data_digest" in config and config["data_digest"] != data_digest(data):
        raise BadInput(f"run is of {config['data']}, with other images or labels than {data!r}.")


def class_named(text, classes, where):
    """The class that a text means: as it is, or as a spreadsheet may have changed it, if that can be only one."""

    def number(name):
        try:
            return float(name.strip().replace(",", "."))
        except ValueError:
            return None

    forms = [lambda name: name, sheets.printable, lambda name: name.strip().casefold(), number]
    for form in forms:
        wanted = form(text)
        found = [name for name in classes if form(name) == wanted]
        if wanted is not None and len(found) == 1:
            return found[0]
    return check_choice(where, text, classes)
