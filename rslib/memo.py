"""Results of costly calls, kept in folders by all that decides them, so that the same work is done once.

Off until `use`, or the environment variable RSLIB_RESULTS, names a folder. An entry's file is named by one
hash of the call and masked with another: who lists a folder learns nothing of what was computed, and who can
read an entry could have made the same call. Nothing here is needed for a result to be right: an entry that is
missing, damaged, or of another version of the engine or its libraries is computed anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from rslib.store import key_of, versions

READ = "RSLIB_RESULTS"
"""Environment variable: a folder whose entries are read, where `use` was not called."""
_DIGEST = 32
"""Bytes of the checksum at the head of an entry."""
Found = TypeVar("Found")


@dataclass(frozen=True)
class _Folders:
    read: tuple[Path, ...] = ()
    write: Path | None = None


_CHOSEN: list[_Folders] = []


def _folders() -> _Folders:
    named = os.environ.get(READ)
    return _CHOSEN[-1] if _CHOSEN else _Folders((Path(named),) if named else ())


def use(read: Sequence[str | Path] = (), write: str | Path | None = None) -> None:
    """From now on read entries of these folders, and write new ones into `write` (None: nowhere)."""
    _CHOSEN[:] = [_Folders(tuple(map(Path, read)), Path(write) if write is not None else None)]


@contextlib.contextmanager
def off() -> Iterator[None]:
    """In this block every call is computed, and none is kept."""
    _CHOSEN.append(_Folders())
    try:
        yield
    finally:
        _CHOSEN.pop()


def recalled(
    kind: str,
    facts: Callable[[], Any],
    compute: Callable[[], Found],
    encode: Callable[[Found], bytes],
    decode: Callable[[bytes], Found],
) -> Found:
    """The result of `compute`, read from a folder if the same call left it there.

    kind: of the call. facts: all that its result depends on, as JSON or dataclasses; asked for only where a
    folder is in use. Calls within `compute` are not kept by themselves.
    """
    folders = _folders()
    if not folders.read and folders.write is None:
        return compute()
    key = key_of({"kind": kind, "facts": facts(), "versions": versions()})
    name, mask = (hashlib.sha256(f"{word} {key}".encode()).hexdigest() for word in ("name", "mask"))
    for folder in folders.read:
        content = _opened(folder / name, mask)
        if content is not None:
            return decode(content)
    with off():
        result = compute()
    if folders.write is not None:
        _keep(folders.write / name, mask, encode(result))
    return result


def _masked(content: bytes, mask: str) -> bytes:
    """The content, or the masked content, turned into the other."""
    stream = hashlib.shake_256(mask.encode()).digest(len(content))
    return (int.from_bytes(content, "big") ^ int.from_bytes(stream, "big")).to_bytes(len(content), "big")


def _opened(path: Path, mask: str) -> bytes | None:
    """An entry's content; None where there is none, or it is damaged."""
    try:
        plain = _masked(path.read_bytes(), mask)
    except OSError:
        return None
    content = plain[_DIGEST:]
    return content if hashlib.sha256(content).digest() == plain[:_DIGEST] else None


def _keep(path: Path, mask: str, content: bytes) -> None:
    """Write an entry whole or not at all; a folder that cannot be written costs time, and no result."""
    new = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            new.write_bytes(_masked(hashlib.sha256(content).digest() + content, mask))
            new.replace(path)
        finally:
            new.unlink(missing_ok=True)


def trim(folder: str | Path, most: int) -> None:
    """Delete the oldest entries of a folder until at most this many bytes are left.

    An entry that somebody else deletes meanwhile, or that cannot be deleted, is passed over.
    """
    entries, total = [], 0
    for path in Path(folder).glob("*"):
        with contextlib.suppress(OSError):
            status = path.stat()
            entries.append((status.st_mtime, status.st_size, path))
    for _, size, path in sorted(entries, reverse=True):
        total += size
        if total > most:
            with contextlib.suppress(OSError):
                path.unlink()
