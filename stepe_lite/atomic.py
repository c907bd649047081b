"""Files and folders that are whole or not there."""

import os
import shutil
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def written_beside(path):
    """Give a temporary path in the folder of `path`; rename it to `path` when the block ends well, else remove it."""
    path = Path(path).expanduser()
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{str(path)!r} cannot be written: there is no folder {str(path.parent)!r}.")
    partial = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")  # writers look at the suffix
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def folder_beside(path):
    """Give a new folder beside `path`; rename it to `path` when the block ends well, else remove it.

    Raises FileExistsError if there is something at `path` already.
    """
    path = Path(path)
    if path.exists():
        raise FileExistsError(f"{str(path)!r} exists already, and nothing is overwritten: choose another name.")
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    partial.mkdir(parents=True)
    try:
        yield partial
        partial.rename(path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
