"""Labels as people have them (text, categories, floats from a spreadsheet, counted from 1) as class indices from 0."""

import numbers

import numpy as np
import pandas as pd
import torch

from ..utils import BadInput, as_tensor

SHOWN = 20  # names in a printed list


def in_order(names):
    """The distinct `names`, sorted: whole numbers by their value, then everything else as text."""
    return tuple(sorted(set(names), key=lambda name: (not name.isdecimal(), name.isdecimal() and int(name), name)))


def told(classes, counts=None):
    """Which index is which class, and with `counts` (dict) how many samples it has, as a text for people."""
    pairs = [f"{i} = {name!r}" + (f" ({counts[name]:,})" if counts else "") for i, name in enumerate(classes)]
    return ", ".join(pairs if len(pairs) <= SHOWN else [*pairs[: SHOWN - 2], "…", pairs[-1]])


def encoder(labels, classes=None):
    """How to turn labels such as `labels` into indices: (class names, a function (name, labels) -> int64 tensor (n,)).

    Without `classes`, text is ordered as by `in_order`, categories keep their order, and whole numbers stand for
    themselves, lowest first. With `classes` (k names), text must be among them, and numbers go from 0 to k − 1, or from
    1 to k. Where an index is not simply the number that was given, a line is printed that says what is what.
    """
    values = _flat("labels", labels)
    if len(values) == 0:
        return ("0", "1") if classes is None else class_names(classes), lambda name, these: torch.as_tensor(
            _flat(name, these), dtype=torch.int64
        )
    if values.dtype.kind != "i":
        if classes is None:
            categories = getattr(_categorical(labels), "categories", ())
            present = set(values)
            classes = [str(name) for name in categories if str(name) in present] or in_order(values)
            print(f"classes: {told(classes)}")
        classes = class_names(classes)
        known = {name: index for index, name in enumerate(classes)}
    elif classes is None:
        found = np.unique(values).tolist()
        classes, known = tuple(map(str, found)), {value: index for index, value in enumerate(found)}
        if found != list(range(len(found))):
            print(f"classes: {told(classes)}")
    else:
        classes = class_names(classes)
        first = 1 if values.min() == 1 and values.max() == len(classes) else 0
        known = {index + first: index for index in range(len(classes))}
        if first:
            print(f"labels are counted from 1, so the classes are: {told(classes)}")

    def encode(name, these):
        these = _flat(name, these)
        if len(these) and these.dtype.kind != values.dtype.kind:
            raise BadInput(f"{name} must hold what labels holds, either numbers or text, but one of them has both.")
        strange = [value for value in pd.unique(these).tolist() if value not in known]
        if strange:
            few = ", ".join(map(repr, list(known)[:SHOWN])) + (", …" if len(known) > SHOWN else "")
            raise BadInput(f"{name} has {strange[0]!r}, but must have only {few}.")
        return torch.tensor([known[value] for value in these.tolist()], dtype=torch.int64)

    return classes, encode


def class_names(classes):
    """`classes` as a tuple of names, each once, or ValueError."""
    # A set has no order, and a dict might mean another.
    if isinstance(classes, str | bytes | dict) or not all(hasattr(classes, a) for a in ("__len__", "__getitem__")):
        raise BadInput(f"classes is {classes!r}, but must be a list of names.")
    classes = tuple(classes)
    for index, label in enumerate(classes):
        if not isinstance(label, str):
            raise BadInput(f"classes[{index}] is {label!r}, but must be text.")
        if label in classes[:index]:
            raise BadInput(f"classes has {label!r} twice, at {classes.index(label)} and {index}.")
    return classes


def _categorical(labels):
    labels = getattr(labels, "array", labels)  # of a Series
    return labels if isinstance(labels, pd.Categorical) else None


def _flat(name, labels):
    values = _plain(name, labels)
    if values.ndim != 1:
        raise BadInput(f"{name} has shape {values.shape}, but must be (n,): one label an image.")
    return values


def _plain(name, labels):
    """`labels` as an array of int64, or of text (object); ValueError for anything else."""
    wanted = "must be whole numbers or text, one class a sample"
    categorical = _categorical(labels)
    if categorical is not None and not pd.isna(categorical).any():
        return np.array([str(c) for c in categorical.categories], dtype=object)[categorical.codes]
    if isinstance(labels, torch.Tensor):
        labels = as_tensor(name, labels).detach().cpu().numpy()
    if np.ma.is_masked(labels):
        raise BadInput(f"{name} is masked at {int(np.ma.getmaskarray(labels).argmax())}, but every sample needs one.")
    mixed = isinstance(labels, list | tuple) and any(isinstance(label, str) for label in labels)
    try:
        values = np.asarray(labels, dtype=object if mixed else None)  # else NumPy makes text of the numbers
    except ValueError:
        raise BadInput(f"{name} holds lists of several lengths, but {wanted}.") from None
    missing = pd.isna(values) if values.ndim == 1 else np.zeros(0)
    if missing.any():
        raise BadInput(f"{name} has no label at position {int(missing.argmax())}, but every sample needs one.")
    if values.dtype.kind in "iu" and (values.size == 0 or values.max() < 2**63):
        return values.astype(np.int64)
    if values.dtype.kind == "f":
        if values.size and not (np.isfinite(values) & (values == np.rint(values)) & (abs(values) < 2**53)).all():
            raise BadInput(f"{name} is {values.dtype} with fractions, but {wanted}.")
        return values.astype(np.int64)
    if values.dtype.kind in "OUT":
        if all(isinstance(value, str) for value in values.flat):
            return values.astype(object)
        if all(isinstance(v, numbers.Integral) and not isinstance(v, bool) and abs(v) < 2**63 for v in values.flat):
            return values.astype(np.int64)
        raise BadInput(f"{name} mixes text, numbers or objects, but {wanted}.")
    raise BadInput(f"{name} is {values.dtype}, but {wanted}.")
