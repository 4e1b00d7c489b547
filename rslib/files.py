"""Files that appear whole or not at all, and what the operating system refuses, said in our words."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rslib.errors import RSError, StoreError, os_error_number, translate_os_error

TEMPORARY = ".rslib-tmp"
"""Part of the name of whatever is half-written."""


@contextlib.contextmanager
def os_errors(where: str | Path) -> Iterator[None]:
    """Turn what the operating system refuses, also through a library, into a StoreError naming the place."""
    try:
        yield
    except (RSError, KeyboardInterrupt):
        raise
    except Exception as err:
        if isinstance(err, OSError) or os_error_number(err) is not None:
            raise translate_os_error(err, where=str(where)) from err
        raise


def make_folder(path: str | Path) -> Path:
    """Create a folder and its parents. Raises StoreError when that is refused."""
    with os_errors(path):
        Path(path).mkdir(parents=True, exist_ok=True)
    return Path(path)


def atomic_write(path: str | Path, data: bytes | str) -> None:
    """Write a file so that a reader, or a kill, finds the old content or the new one and nothing between.

    Raises StoreError when the folder cannot be written or the disk is full; the old file then stays as it
    was.
    """
    path = Path(path)
    temporary = path.with_name(path.name + TEMPORARY)
    data = data.encode() if isinstance(data, str) else data
    with os_errors(path):
        # What is there already keeps its time of writing: a resumed run can show that it redid nothing.
        if path.is_file() and path.read_bytes() == data:
            return
        try:
            # The bytes reach the disk before the name does: after a power cut no name stands for half a file.
            with open(temporary, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
            sync(path.parent)
        except BaseException:  # Ctrl-C too must not leave half a file behind
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise


def sync(path: Path) -> None:
    """Push a file, or a folder's list of names, to the disk; folders cannot be opened on Windows."""
    if path.is_dir() and os.name == "nt":
        return
    handle = os.open(path, os.O_RDWR if path.is_file() else os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sha256_of(path: str | Path) -> str:
    """The sha256 (hex) of a file's bytes. Raises StoreError when it cannot be read."""
    with os_errors(path), open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_json(path: str | Path) -> dict[str, Any]:
    """A JSON object from a file. Raises StoreError when it cannot be read or is not JSON."""
    with os_errors(path):
        text = Path(path).read_bytes()
    try:
        return json.loads(text)
    except ValueError as err:
        fix = "Restore the file, or delete its folder to have the stage redone."
        raise StoreError(f"the record is not valid JSON ({err})", where=str(path), fix=fix) from err
