"""Files that are whole or not there."""

import os
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def written_beside(path):
    """Give a temporary path in the folder of `path`; rename it to `path` when the block ends well, else remove it."""
    path = Path(path)
    partial = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")  # writers look at the suffix
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
