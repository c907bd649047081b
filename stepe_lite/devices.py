"""Where training runs: which device, and what of the process it must leave as it was."""

from contextlib import contextmanager

import torch


def find(name):
    """The torch.device called `name`; "auto" = a CUDA GPU if there is one. Raises ValueError if it cannot be used."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f'device is {name!r}, which cannot be used here: {reason}. Try "auto" or "cpu".') from None
    return device


@contextmanager
def isolated(device, threads=None):
    """Leave the caller's random numbers and thread count as they were; on a GPU, deterministic convolutions only."""
    before, devices = torch.get_num_threads(), [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices), torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True):
        torch.set_num_threads(threads or before)
        try:
            yield
        finally:
            torch.set_num_threads(before)
