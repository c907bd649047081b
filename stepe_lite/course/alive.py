"""What a page needs to be alive where no kernel runs: recorded losses and samples as JSON, arrays in it as base64.

A widget shows it as an output of a type of its own beside what JupyterLab shows, `pages` makes HTML of it, and rule.js
and pages.js work with it.
"""

import base64

import numpy as np
import torch

from ..utils import generator_for

EXPLORER, LOOKUP = (f"application/vnd.stepe-lite.{kind}+json" for kind in ("explorer", "lookup"))
LARGEST = 800_000  # losses, or pixels, in a page; of more samples, evenly spaced ones


def run_of(losses, labels, is_mislabeled):
    """A run for rule.js: `losses` (epochs, n), given `labels` (n,) below 256, `is_mislabeled` bool (n,)."""
    n = min(losses.shape[1], LARGEST // max(1, len(losses)))
    chosen = np.linspace(0, losses.shape[1] - 1, n).astype(int)
    chance = torch.rand(n, generator=generator_for("random exclusion", 0))  # as rules.RandomExclusion
    order = chance.argsort(descending=True, stable=True)
    return {
        "losses": _base64(halves(np.asarray(losses)[:, chosen])),
        "labels": _base64(np.asarray(labels)[chosen].astype(np.uint8)),
        "wrong": _base64(np.asarray(is_mislabeled)[chosen].astype(np.uint8)),
        "random": _base64(order.numpy().astype(np.uint16)),
    }


def halves(losses):
    """`losses` (epochs, n), at least 0, as float16 that rank as they do: what rounding would tie goes a step up.

    So a hard rule without a moving average excludes the same samples as on the losses themselves.
    """
    found = np.empty(losses.shape, np.float16)
    for row, half in zip(np.asarray(losses, dtype=np.float32), found):
        order = np.argsort(row, kind="stable")
        values = row[order]
        rank = np.cumsum(np.r_[False, values[1:] != values[:-1]])
        codes = (values.clip(0, 65504) + 0.0).astype(np.float16).view(np.uint16).astype(np.int64)
        codes = np.maximum.accumulate(codes - rank) + rank
        half[order] = codes.clip(max=0x7BFF).astype(np.uint16).view(np.float16)  # at most the largest finite number
        half[np.isnan(row)] = np.nan
    return found


def sample_data(data, history, table, sample):
    """The look-up of a sample for pages.js, or None if there is too much of it for a page."""
    if data.images.numel() > LARGEST or history.losses.numel() > LARGEST:
        return None
    rounded = table.round(3)
    return {
        "images": _base64(data.images.numpy()),
        "size": list(data.images.shape[1:]),
        "losses": _base64(history.losses.numpy().astype(np.float16)),
        "highest": 1.3 * float(np.nanmax(history.losses.numpy())),
        "excluded": _base64(np.packbits(history.excluded.numpy())),
        "columns": {name: rounded[name].tolist() for name in rounded},
        "order": list(rounded),
        "sample": sample,
    }


def recorded(folder):
    """The recorded runs on human labels in `folder`, for rule.js: dict name -> run."""
    found = {}
    for path in sorted(folder.glob("cpu_*.npz")):
        with np.load(path, allow_pickle=False) as kept:
            labels, losses = kept["labels"], kept["losses"]
            name = path.stem.removeprefix("cpu_").partition("_")[0]
            said = f"human labels: {name} ({len(labels):,} images, {len(losses)} epochs)"
            found[said] = run_of(losses, labels, labels != kept["clean_labels"])
    return found


def _base64(array):
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()
