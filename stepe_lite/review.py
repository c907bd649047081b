"""Suspicious samples of your own data: a ranked table, your decisions on it, and a cleaned copy.

Nothing here changes what it is given: not the Dataset, not the folder of images.
"""

from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
import torch

from . import analysis, validate
from .atomic import written_beside
from .datasets import folders

_NUMBERS = ["confidence_given", "confidence_suggested", "last_loss", "mean_loss"]


def suspicious(data, history, files=None):
    """The samples that the last epoch excluded, the most suspicious first: DataFrame, index `sample`.

    file : only if `files` (n names, see `datasets.image_files`) are given
    given : the class name in `data`
    suggested : what the trained network says, in evaluation mode. Where it agrees with `given`, little is suspicious.
    confidence_given, confidence_suggested : its probabilities of these two classes, in [0, 1]
    last_loss, mean_loss : nats, after the last epoch, and the mean over all epochs; ranked by `mean_loss`
    times_excluded : how many epochs did without the sample

    Only excluded samples are listed: a network reproduces the labels that it trains on, right or wrong. The excluded
    ones it has trained on early in the run, not at the end. `history` comes from `fit(data, …)`.

    Raises ValueError if `history` is of other data, or has no model because it was loaded from a file.
    """
    if history.model is None:
        raise ValueError("history has no model, so no label can be suggested: History.load does not bring it back.")
    samples = analysis.sample_table(data, history)
    if files is not None and len(files) != len(data):
        raise ValueError(f"files has {len(files)} names, but there are {len(data)} samples.")
    probabilities = analysis.logits(history.model, data.images, like=data.images).softmax(1).double()
    confidence, suggested = probabilities.max(1)
    table = pd.DataFrame({
        **({} if files is None else {"file": files}),
        "given": samples.given,
        "suggested": np.asarray(data.classes)[suggested],
        "confidence_given": probabilities.gather(1, data.labels[:, None])[:, 0],
        "confidence_suggested": confidence,
        "last_loss": samples.last_loss.astype(float),
        "mean_loss": samples.mean_loss.astype(float),
        "times_excluded": history.excluded.sum(0),
    })  # fmt: skip
    return table[history.excluded[-1].numpy()].sort_values(
        "mean_loss", ascending=False, kind="stable", na_position="first"
    )


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
        self.log.append((int(sample), validate.choice("label", label, self.classes)))

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
        """Write `as_table` to the file `path`. An older file there is replaced once the new one is whole."""
        with written_beside(path) as partial:
            self.as_table().to_csv(partial)

    @classmethod
    def from_csv(cls, path, classes, files=None):
        """Take up the review that `to_csv` wrote, perhaps changed in a spreadsheet since. `classes`: as in the data.

        In a spreadsheet, change the columns `decision` and, for "relabel", `label`; keep commas between the columns.

        Raises FileNotFoundError, or ValueError if `path` is no such table, has a decision or label that is none, or is
        of other files than `files` (as for `suspicious`).
        """
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8")
        missing = {"sample", "given", "suggested", *_NUMBERS, "times_excluded", "decision", "label", "turn"} - {*table}
        if missing:
            hint = " Are there semicolons between the columns? They must be commas." if ";" in table.columns[0] else ""
            raise ValueError(
                f"path is {str(path)!r}, which is no table of Review.to_csv: no column {min(missing)!r}.{hint}"
            )
        number = {name: lambda text: float(text or "nan") for name in _NUMBERS}
        number |= {"sample": int, "times_excluded": int, "turn": lambda text: int(text or 0)}
        table = table.assign(**{name: table[name].map(read) for name, read in number.items()}).set_index("sample")
        if table.index.has_duplicates:
            twice = table.index[table.index.duplicated()][0]
            raise ValueError(f"path is {str(path)!r}, which has sample {twice} more than once.")
        review = cls(table.drop(columns=["decision", "label", "turn"]), tuple(classes))
        for row in table[table.decision != ""].sort_values("turn", kind="stable").itertuples():
            name = f"sample {row.Index} in {str(path)!r}: "
            if validate.choice(f"{name}decision", row.decision, ("keep", "relabel", "drop")) == "drop":
                review.drop(row.Index)
                continue
            if row.decision == "keep" and row.label not in ("", row.given):
                raise ValueError(f"{name}decision is 'keep', but label is {row.label!r}, not {row.given!r}: relabel?")
            label = row.given if row.decision == "keep" else row.label
            review.relabel(row.Index, validate.choice(f"{name}label", label, classes))
        if files is not None:
            for sample, file in review.table.get("file", pd.Series(dtype=str)).items():
                if sample >= len(files) or files[sample] != file:
                    raise ValueError(
                        f"path is {str(path)!r}, a review of other files: {file!r} is not sample {sample}."
                    )
        return review

    def cleaned(self, data):
        """A new Dataset: `data` with the decided labels, without the dropped samples. Rows without decision stay.

        Raises ValueError if the table is of other data, or if a class would be left without samples.
        """
        labels, kept = data.labels.clone(), torch.ones(len(data), dtype=torch.bool)
        for sample, label in self.decisions.items():
            if sample >= len(data) or data.classes[data.labels[sample]] != self._given(sample):
                raise ValueError(f"data is {data!r}, where sample {sample} is another than in the reviewed table.")
            kept[sample] = label is not None
            labels[sample] = data.labels[sample] if label is None else data.classes.index(label)
        clean = None if data.clean_labels is None else data.clean_labels[kept]
        name = f"{data.name} reviewed"
        return replace(data, images=data.images[kept], labels=labels[kept], clean_labels=clean, name=name)

    def copy_folder(self, source, destination):
        """Write the cleaned copy of the image folder `source` to the new folder `destination`, see `folders.copy`.

        Raises ValueError if the table has no column `file`, or what `folders.copy` raises.
        """
        if "file" not in self.table:
            raise ValueError('the table has no column "file": pass files=datasets.image_files(folder) to suspicious.')
        folders.copy(source, destination, {self.table.file[i]: label for i, label in self.decisions.items()})

    def _given(self, sample):
        if sample not in self.table.index:
            raise ValueError(f"sample is {sample!r}, which is not in the table of {len(self.table)} rows.")
        return self.table.given[sample]
