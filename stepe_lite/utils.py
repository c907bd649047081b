"""What every module needs: a sentence for a bad argument, seeds that do not meet, files that are whole or absent."""

import difflib
import errno
import math
import multiprocessing
import multiprocessing.connection
import numbers
import os
import re
import secrets
import shutil
import socket
import tempfile
import threading
import time
import zlib
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import torch

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


class BadInput(ValueError):
    """Something that was passed is not allowed; the message is one sentence for whoever passed it."""

    def __init__(self, message):
        super().__init__(re.sub(r"\s*\n\s*", " ", message))  # arrays print over many lines


# Arguments: each check returns the value, or raises BadInput (OSError for a folder) before any work starts.


def check_choice(name, value, allowed):
    """The one of `allowed` that `value` is, a NumPy text say; the sentence offers the closest match."""
    allowed = list(allowed)
    plain = isinstance(value, str | numbers.Number) and not isinstance(value, bool)  # 1 is not True
    for a in allowed:
        if value is a or (plain and not isinstance(a, bool) and value == a):
            return a
    typed, known = str(value).lower(), {str(a).lower(): a for a in allowed}
    close = [a for a in known if typed and a.startswith(typed)] or difflib.get_close_matches(typed, known, n=1)
    hint = f" Did you mean {known[close[0]]!r}?" if close else ""
    raise BadInput(f"{name} is {value!r}, but must be one of {', '.join(map(repr, allowed))}.{hint}")


def check_flag(name, value):
    """`value`, which must be True or False: neither 1 nor "no" is either."""
    if not isinstance(value, bool):
        raise BadInput(f"{name} is {value!r}, but must be True or False.")
    return value


def check_fraction(name, value):
    """`value` as a float in [0, 1)."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not 0 <= value < 1:
        raise BadInput(f"{name} is {value!r}, but must be a number from 0 up to (not including) 1.")
    return float(value)


def check_whole(name, value, least=0, most=None):
    """`value` as an int in [least, most], of at most 63 bits."""
    ok = isinstance(value, numbers.Integral) and not isinstance(value, bool) and value < 2**63
    if not ok or value < least or (most is not None and value > most):
        limit = f"at least {least}" if most is None else f"from {least} to {most}"
        raise BadInput(f"{name} is {value!r}, but must be a whole number, {limit}.")
    return int(value)


def check_positive(name, value, zero_ok=False):
    """`value` as a finite float above 0 (or at least 0)."""
    real = isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)
    if not real or value < 0 or (value == 0 and not zero_ok):
        raise BadInput(f"{name} is {value!r}, but must be a finite number {'of at least' if zero_ok else 'above'} 0.")
    return float(value)


def find_device(name):
    """The torch.device called `name`; "auto" = a CUDA GPU if there is one. Raises ValueError if it cannot be used."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.ones(1, device=device).item()  # "meta" has no numbers
    except (RuntimeError, AssertionError, TypeError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise BadInput(f'device is {name!r}, which cannot be used here: {reason}. Try "auto" or "cpu".') from None
    return device


def as_tensor(name, value, dtype=None):
    """`value`, numbers in a tensor, an array or lists, as a tensor.

    A Series whose index is not 0, 1, 2, … is refused: by place, or by index? Both are right for somebody. So is what
    would lose a part: a masked array, complex numbers.
    """
    if isinstance(value, pd.Series | pd.DataFrame):
        if not np.array_equal(value.index, np.arange(len(value))):
            kind = type(value).__name__
            raise BadInput(f"{name} is a {kind} with an index of its own: pass its to_numpy(), in the samples' order.")
        value = value.to_numpy()
    if np.ma.is_masked(value):
        raise BadInput(f"{name} is masked at {int(np.ma.getmaskarray(value).argmax())}, but must have every number.")
    if isinstance(value, np.ndarray) and not value.flags.writeable:
        value = value.copy()  # else torch warns, and the data of a Series are not for writing
    tensor = isinstance(value, torch.Tensor)
    if tensor and (value.layout != torch.strided or value.is_meta):
        kind = "on the device meta" if value.is_meta else "sparse"
        raise BadInput(f"{name} is {kind}, but must be numbers, in an ordinary tensor, an array or a list.")
    if value.is_complex() if tensor else isinstance(value, np.ndarray) and np.iscomplexobj(value):
        raise BadInput(f"{name} is complex, but must be real numbers.")
    try:
        return torch.as_tensor(value, dtype=dtype)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise BadInput(f"{name} is {_short(value)}, but must be numbers, in a tensor, an array or a list.") from None


def _short(value):
    said = repr(value)
    return said if len(said) < 80 and "\n" not in said else f"a {type(value).__name__}"


def check_folder(name, path):
    """`path` as a Path to a folder that exists now and can be written to."""
    path = expand(name, path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path).close()
    except OSError as error:
        reason = error.strerror or error
        raise type(error)(f"{name} is {str(path)!r}, but must be a folder that can be written to ({reason}).") from None
    return path


def expand(name, path):
    """`path` as a Path, with ~ filled in."""
    if not isinstance(path, str | os.PathLike) or "\0" in str(path):
        raise BadInput(f"{name} is {path!r}, but must be a path.")
    try:
        return Path(path).expanduser()
    except RuntimeError as error:  # ~ of nobody: an unknown user, or neither $HOME nor an entry for this one
        raise BadInput(f"{name} is {str(path)!r}, but must be a path: {error}") from None


def check_file(name, path):
    """`path` as a Path to no folder and no named pipe, which would be waited for for ever; a file may be missing."""
    path = expand(name, path)
    if path.exists() and not path.is_file():
        what = "a folder" if path.is_dir() else "no regular file"
        raise BadInput(f"{name} is {str(path)!r}, which is {what}, but must be a file.")
    return path


# Seeds. Without a stream for each purpose, `data.with_noise(model, seed=0).split_validation(0.1, seed=0)` would draw
# the same random order twice, and hold out exactly those samples that it has just mislabeled.


def seed_for(purpose, seed, *more):
    """A 32-bit seed that depends on `purpose` (text) and on the whole numbers `seed`, `more`."""
    entropy = [check_whole("seed", seed), *more, zlib.crc32(purpose.encode())]
    return int(np.random.SeedSequence(entropy).generate_state(1)[0])


def generator_for(purpose, seed):
    """A torch.Generator on the CPU, seeded by `seed_for`."""
    return torch.Generator().manual_seed(seed_for(purpose, seed))


# Files. A partial file has a name that nobody can foretell and that says whose it is, so that it is cleared away when
# that process was killed.


@contextmanager
def written_beside(path):
    """Give an empty file in the folder of `path`; rename it to `path` when the block ends well, else remove it."""
    path = expand("path", path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{str(path)!r} cannot be written: there is no folder {str(path.parent)!r}.")
    partial = _partial(path, f"{path.stem}", path.suffix)  # writers look at the suffix
    try:
        os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        if path.exists():
            partial.chmod(path.stat().st_mode & 0o777)
        yield partial
        partial.replace(path)
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        said = f"the disk is full ({error.strerror}), and what was there before is kept"
        raise OSError(error.errno, said, str(path)) from error
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def folder_beside(path):
    """Give a new folder beside `path`; rename it to `path` when the block ends well, else remove it.

    Raises FileExistsError if there is something at `path` already.
    """
    path = expand("path", path)
    if path.exists():
        raise FileExistsError(f"{str(path)!r} exists already, and nothing is overwritten: choose another name.")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = _partial(path, path.name, "")
    partial.mkdir()
    try:
        yield partial
        partial.rename(path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def end_with_parent():
    """Let this process, which another one has started, end when that one does, even if it is killed."""

    def watch():
        multiprocessing.connection.wait([multiprocessing.parent_process().sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def scratch_folder(folder):
    """A new folder in `folder` for as long as the block takes; what killed processes left of theirs is removed."""
    scratch = _partial(Path(folder) / "scratch", "scratch", "")
    scratch.mkdir()
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@contextmanager
def only_one(name, path):
    """Hold the file `path` as long as the block takes. Raises OSError if another process, or thread, holds it.

    `name` : what it stands for, as the sentence says it. The system lets go of it however this process ends.
    """
    from filelock import FileLock, Timeout

    try:
        with FileLock(path, timeout=0):
            yield
    except Timeout:
        raise OSError(f"{name}, which another process is writing: wait for it, or choose another.") from None


def _partial(path, stem, suffix):
    """A new name beside `path` for its unfinished self; what killed processes left of the same one is removed."""
    host = re.sub(r"\W", "", socket.gethostname())
    for old in path.parent.glob(f".{_literal(stem)}.*.partial{_literal(suffix)}"):
        if (of := re.search(r"\.(\w*)-(\d+)-[0-9a-f]{8}\.partial", old.name)) and _is_over(old, of, host):
            shutil.rmtree(old, ignore_errors=True) if old.is_dir() else old.unlink(missing_ok=True)
    return path.with_name(f".{stem}.{host}-{os.getpid()}-{secrets.token_hex(4)}.partial{suffix}")


def _literal(text):
    return re.sub(r"([*?[])", r"[\1]", text)  # to glob


def _is_over(old, of, host):
    try:
        if of[1] != host:
            return time.time() - old.lstat().st_mtime > 86_400  # another machine's process: nobody here can ask
        os.kill(int(of[2]), 0)
    except (ProcessLookupError, FileNotFoundError):
        return True
    except OSError:  # alive, and somebody else's
        return False
    return False
