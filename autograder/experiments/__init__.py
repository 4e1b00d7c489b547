"""The experiments that calibrate the measured exercises, one module a notebook."""

from __future__ import annotations

import atexit
import tempfile
from pathlib import Path


def temporary_folder(name: str) -> Path:
    """A new folder for what the catalogue of a notebook computes; it goes when the process ends."""
    folder = tempfile.TemporaryDirectory(prefix=f"{name}-")
    atexit.register(folder.cleanup)
    return Path(folder.name)
