"""Results kept in files: their keys, files that appear whole or not at all, and the memory of costly calls.

That memory is off until `use`, or the environment variable RSLIB_RESULTS, names a folder. An entry's file is
named by one hash of the call and masked with another: who lists a folder learns nothing of what was computed,
and who can read an entry could have made the same call. Nothing here is needed for a result to be right: an
entry that is missing, damaged, or of another version of the engine or its libraries is computed anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

from rslib.errors import RSError, StoreError, os_error_number, translate_os_error

LIBRARIES = ("torch", "transformers", "tokenizers", "datasets", "pyarrow", "numpy")
LEAVES = (
    "__main__.py",
    "browser.py",
    "build.py",
    "doctor.py",
    "page.py",
    "plots.py",
    "profiles.py",
    "slider.py",
)
"""Files, by their path in the package, that no stage can run: an edit there keeps finished stages.

All others count, new ones too. tests/test_layers.py holds that no file that counts imports one of these.
"""
TEMPORARY = ".rslib-tmp"
"""Part of the name of whatever is half-written."""
READ = "RSLIB_RESULTS"
"""Environment variable: a folder whose entries are read, where `use` was not called."""
_DIGEST = 32
"""Bytes of the checksum at the head of an entry."""
_Result = TypeVar("_Result")


# Keys: everything that a result depends on -----------------------------------------------------------


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces; dataclasses become objects. Equal values give equal text.

    >>> canonical_json({"b": 1, "a": (1, 2)})
    '{"a":[1,2],"b":1}'
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=_plain, ensure_ascii=False)


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    return str(value)


def key_of(value: Any) -> str:
    """The sha256 (hex) of `value` as canonical JSON.

    >>> key_of({"n": 16})[:12] == key_of(dict(n=16))[:12]
    True
    """
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


@cache
def versions() -> dict[str, str]:
    """Versions of rslib, of the libraries that shape a result, and of Python."""
    libraries = {name: metadata.version(name) for name in LIBRARIES}
    return {"rslib": _code_version()} | libraries | {"python": ".".join(map(str, sys.version_info[:3]))}


@cache
def _code_version() -> str:
    """Version of rslib and a hash of its engine's source: an edited engine does not meet old results."""
    from rslib import __version__

    return f"{__version__}+{_source_hash(Path(__file__).parent)[:12]}"


def _source_hash(package: Path) -> str:
    """The sha256 (hex) of the code and word lists below `package`, with their paths, LEAVES left out."""
    digest = hashlib.sha256()
    files = {p.relative_to(package).as_posix(): p for p in package.rglob("*") if p.suffix in (".py", ".txt")}
    for name in sorted(files.keys() - set(LEAVES)):
        digest.update(name.encode() + b"\0" + files[name].read_bytes())
    return digest.hexdigest()


# Files that appear whole or not at all ---------------------------------------------------------------


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


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a file of indented JSON, whole or not at all; dataclasses become objects."""
    atomic_write(path, json.dumps(value, indent=1, default=_plain, ensure_ascii=False) + "\n")


# Results of costly calls -----------------------------------------------------------------------------


_Folders = tuple[tuple[Path, ...], Path | None]
"""Those that are read, and the one that is written."""
_CHOSEN: list[_Folders] = []


def _folders() -> _Folders:
    named = os.environ.get(READ)
    return _CHOSEN[-1] if _CHOSEN else ((Path(named),) if named else (), None)


def use(read: Sequence[str | Path] = (), write: str | Path | None = None) -> None:
    """From now on read entries of these folders, and write new ones into `write` (None: nowhere)."""
    _CHOSEN[:] = [(tuple(map(Path, read)), Path(write) if write is not None else None)]


@contextlib.contextmanager
def off() -> Iterator[None]:
    """In this block every call is computed, and none is kept."""
    _CHOSEN.append(((), None))
    try:
        yield
    finally:
        _CHOSEN.pop()


def recalled(
    kind: str,
    facts: Callable[[], Any],
    compute: Callable[[], _Result],
    encode: Callable[[_Result], bytes],
    decode: Callable[[bytes], _Result],
) -> _Result:
    """The result of `compute`, read from a folder if the same call left it there.

    kind: of the call. facts: all that its result depends on, as JSON or dataclasses; asked for only where a
    folder is in use. Calls within `compute` are not kept by themselves.
    """
    readable, writable = _folders()
    if not readable and writable is None:
        return compute()
    key = key_of({"kind": kind, "facts": facts(), "versions": versions()})
    name, mask = (hashlib.sha256(f"{word} {key}".encode()).hexdigest() for word in ("name", "mask"))
    for folder in readable:
        content = _opened(folder / name, mask)
        if content is not None:
            return decode(content)
    with off():
        result = compute()
    if writable is not None:
        _keep(writable / name, mask, encode(result))
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
