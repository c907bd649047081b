"""Seeds that do not meet: one stream of random numbers for each purpose.

Without this, `data.with_noise(model, seed=0).split_validation(0.1, seed=0)` would draw the same random order twice, and
hold out exactly those samples that it has just mislabeled.
"""

import zlib

import numpy as np
import torch

from . import validate


def number(purpose, seed, *more):
    """A 32-bit seed that depends on `purpose` (text) and on the whole numbers `seed`, `more`."""
    entropy = [validate.whole("seed", seed), *more, zlib.crc32(purpose.encode())]
    return int(np.random.SeedSequence(entropy).generate_state(1)[0])


def generator(purpose, seed):
    """A torch.Generator on the CPU, seeded by `number`."""
    return torch.Generator().manual_seed(number(purpose, seed))
