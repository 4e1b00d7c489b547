"""The state of a run between two steps, in one file beside its folder; it appears whole or not at all."""

from __future__ import annotations

import io
import pickle
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from rslib.errors import StoreError
from rslib.store import atomic_write, key_of, make_folder


@dataclass(frozen=True)
class State:
    """The file `.NAME.state` beside the folder NAME."""

    path: Path

    @classmethod
    def of(cls, out: str | Path) -> State:
        """The state that belongs to a run's folder."""
        target = Path(out).expanduser().resolve()
        return cls(target.with_name(f".{target.name}.state"))

    def write(self, key: dict[str, Any], content: dict[str, Any]) -> None:
        """Replace the file. Raises StoreError when the disk refuses."""
        make_folder(self.path.parent)
        buffer = io.BytesIO()
        torch.save({"key": key_of(key), "content": content}, buffer)
        atomic_write(self.path, buffer.getvalue())

    def read(self, key: dict[str, Any]) -> dict[str, Any] | None:
        """What the last step left, or None. Raises StoreError for another run's state or a damaged file."""
        if not self.path.exists():
            return None
        fix = "Delete it to begin anew, or choose another folder."
        try:
            found = torch.load(self.path, weights_only=True)
        except (pickle.UnpicklingError, zipfile.BadZipFile, EOFError, RuntimeError, KeyError) as error:
            raise StoreError("this state cannot be read", where=str(self.path), fix=fix) from error
        if found["key"] != key_of(key):
            raise StoreError("a run with other settings left its state here", where=str(self.path), fix=fix)
        return found["content"]

    def discard(self) -> None:
        """Delete the file, now that the result is written."""
        self.path.unlink(missing_ok=True)
