"""Folders that appear whole or not at all."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from safetensors import SafetensorError

from rslib.errors import StoreError, translate_os_error
from rslib.store import make_folder


@contextlib.contextmanager
def replaced_folder(folder: str | Path) -> Iterator[Path]:
    """A fresh folder that takes the place of `folder` when the block ends well; on an error nothing changes.

    Raises StoreError when the disk is full or read-only, or when `folder` holds anything but a model.
    """
    target = Path(folder).expanduser().resolve()
    new, old = (target.with_name(f".{target.name}.{word}") for word in ("new", "old"))
    try:
        _refuse_foreign(target)
        make_folder(target.parent)
        if old.exists() and not target.exists():  # a kill came between the two renames below
            old.rename(target)
        for leftover in (new, old):
            shutil.rmtree(leftover, ignore_errors=True)
        new.mkdir()
        yield new
        if target.exists():
            target.rename(old)
        new.rename(target)
        shutil.rmtree(old, ignore_errors=True)
    except (OSError, SafetensorError) as err:
        raise translate_os_error(err, where=str(target)) from err
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _refuse_foreign(target: Path) -> None:
    empty = not target.exists() or (target.is_dir() and not any(target.iterdir()))
    if not empty and not (target / "config.json").is_file():
        what = "there is something here that is not a model, and saving would delete it"
        raise StoreError(what, where=str(target), fix="Choose another folder, or empty this one.")
