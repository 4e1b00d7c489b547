"""Run folders: every stage leaves checked files behind, so that a run that was cut goes on where it stopped.

Rules, from which everything else follows:

* a file appears whole or not at all (temporary file, fsync, rename), so a kill at any moment harms nothing;
* a stage is addressed by a hash of everything that its result depends on (`key_of`), so a changed setting,
  model, library or line of engine code never meets an old result;
* a table is written in shards whose size does not depend on the batch size, so a resumed run and an
  uninterrupted one do the same arithmetic and end in the same bytes;
* beside each shard stands a record with its sha256, written before the shard: a shard that is there is
  finished, and one that was truncated or edited is named.

Layout of a stage folder: `stage.json` (its key in words), `shard-00000.arrow` (an Arrow stream, as `datasets`
reads it), `shard-00000.json` (rows, bytes, sha256, seconds). A finished checkpoint is a transformers folder
with a `stage.json` inside that lists the sha256 of its files.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rslib import tables
from rslib.errors import RSError, StoreError, os_error_number, translate_os_error
from rslib.progress import Progress, note

if TYPE_CHECKING:
    import pyarrow
    from datasets import Dataset

SHARD_RESPONSES = 512
"""Responses per shard unless told otherwise: one or two seconds of work on a CPU."""
TEMPORARY = ".rslib-tmp"
LIBRARIES = ("torch", "transformers", "tokenizers", "datasets", "pyarrow", "numpy")
PRESENTATION = {"__main__.py", "plots.py", "page.py", "bench.py", "build.py", "calibrate.py"}
"""Modules that show results and cannot change them: an edit there keeps finished stages."""


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


def sha256_of(path: str | Path) -> str:
    """The sha256 (hex) of a file's bytes. Raises StoreError when it cannot be read."""
    with _os_errors(path), open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@cache
def versions() -> dict[str, str]:
    """Versions of rslib, of the libraries that shape a result, and of Python."""
    found = {name: metadata.version(name) for name in LIBRARIES}
    return {"rslib": code_version()} | found | {"python": ".".join(map(str, sys.version_info[:3]))}


@cache
def code_version() -> str:
    """Version of rslib and a hash of its engine's source: an edited engine does not meet old results."""
    from rslib import __version__

    package = Path(__file__).parent
    digest = hashlib.sha256()
    for path in sorted(
        p for p in package.rglob("*") if p.suffix in (".py", ".txt") and p.name not in PRESENTATION
    ):
        digest.update(path.relative_to(package).as_posix().encode() + b"\0" + path.read_bytes())
    return f"{__version__}+{digest.hexdigest()[:12]}"


def atomic_write(path: str | Path, data: bytes | str) -> None:
    """Write a file so that a reader, or a kill, finds the old content or the new one and nothing between.

    Raises StoreError when the folder cannot be written or the disk is full; the old file then stays as it
    was.
    """
    path = Path(path)
    temporary = path.with_name(path.name + TEMPORARY)
    data = data.encode() if isinstance(data, str) else data
    with _os_errors(path):
        if path.is_file() and path.read_bytes() == data:
            return
        try:
            with open(temporary, "wb") as file:
                file.write(data)
                _flush(file)
            os.replace(temporary, path)
            _sync(path.parent)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise


def make_folder(path: str | Path) -> Path:
    """Create a folder and its parents. Raises StoreError when that is refused."""
    with _os_errors(path):
        Path(path).mkdir(parents=True, exist_ok=True)
    return Path(path)


@contextlib.contextmanager
def _os_errors(where: str | Path) -> Iterator[None]:
    """Turn what the operating system refuses, also through a library, into a StoreError naming the place."""
    try:
        yield
    except (RSError, KeyboardInterrupt):
        raise
    except Exception as err:
        if isinstance(err, OSError) or os_error_number(err) is not None:
            raise translate_os_error(err, where=str(where)) from err
        raise


def _flush(file: io.BufferedWriter) -> None:
    file.flush()
    os.fsync(file.fileno())


def _sync(path: Path) -> None:
    """Push a file, or a folder's list of names, to the disk; folders cannot be opened on Windows."""
    if path.is_dir() and os.name == "nt":
        return
    handle = os.open(path, os.O_RDWR if path.is_file() else os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_json(path: str | Path) -> dict[str, Any]:
    """A JSON object from a file. Raises StoreError when it cannot be read or is not JSON."""
    with _os_errors(path):
        text = Path(path).read_bytes()
    try:
        return json.loads(text)
    except ValueError as err:
        fix = "Restore the file, or delete its folder to have the stage redone."
        raise StoreError(f"the record is not valid JSON ({err})", where=str(path), fix=fix) from err


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    atomic_write(path, json.dumps(value, indent=1, default=_plain, ensure_ascii=False) + "\n")


# Tables as bytes ----------------------------------------------------------------------------------


def table_bytes(table: Dataset) -> bytes:
    """The rows as one Arrow stream; the same rows always give the same bytes."""
    import pyarrow

    rows: pyarrow.Table = table.with_format("arrow")[:].combine_chunks()
    sink = io.BytesIO()
    with pyarrow.ipc.new_stream(sink, rows.schema) as writer:
        writer.write_table(rows)
    return sink.getvalue()


def table_from(data: bytes) -> Dataset:
    """The inverse of `table_bytes`."""
    import pyarrow
    from datasets import Dataset
    from datasets.table import InMemoryTable

    with pyarrow.ipc.open_stream(data) as reader:
        return Dataset(InMemoryTable(reader.read_all()), fingerprint=hashlib.sha256(data).hexdigest()[:16])


def cut(table: Dataset, rows: int) -> list[Dataset]:
    """Consecutive parts of at least `rows` rows (the last may be smaller) that never split a prompt's rows.

    An empty table gives one empty part.
    """
    ids = table["prompt_id"][:]  # without [:] each look-up would read the table
    starts = [at for at in range(len(table)) if at == 0 or ids[at] != ids[at - 1]]
    borders = [0]
    for start in starts:
        if start - borders[-1] >= rows:
            borders.append(start)
    return [tables.take(table, range(a, b)) for a, b in zip(borders, [*borders[1:], len(table)], strict=True)]


# The run folder -----------------------------------------------------------------------------------


class RunFolder:
    """One folder that one process works in at a time; use it in a `with` block.

    Entering makes the folder, takes its lock and sweeps away what a killed run left half-written. The lock
    dies with its process, so a stale one is taken over.

    Raises StoreError when the folder cannot be made, or another process works in it.
    """

    def __init__(self, path: str | Path, *, show: bool = True) -> None:
        self.path, self.show = Path(path), show
        self._lock: io.FileIO | None = None

    def __enter__(self) -> RunFolder:
        make_folder(self.path)
        with _os_errors(self.path):
            self._lock = _take_lock(self.path / ".lock")
            for left in self.path.rglob(f"*{TEMPORARY}*"):
                shutil.rmtree(left) if left.is_dir() else left.unlink()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._lock is not None:
            self._lock.close()  # the file stays: removing it would race with the next process
            self._lock = None

    def pin(self, inputs: Mapping[str, Mapping[str, str]], settings: Mapping[str, Any]) -> None:
        """Hold the run to what it was started with, and say which settings differ from last time.

        `inputs` is name -> {"source", "fingerprint"}. A changed fingerprint (an edited prompt file, another
        model) raises StoreError. Changed settings are allowed: they only change which stages have to be
        redone.
        """
        path = self.path / "run.json"
        if path.exists():
            before = read_json(path)
            for name, now in inputs.items():
                _refuse_change(name, before.get("inputs", {}).get(name), now, self.path)
            old = before.get("settings", {}) | {
                f"version of {k}": v for k, v in before.get("versions", {}).items()
            }
            new = json.loads(canonical_json(settings)) | {f"version of {k}": v for k, v in versions().items()}
            for line in _differences(old, new):
                note(
                    f"changed since the last run in {self.path}: {line}; stages that depend on it are redone",
                    self.show,
                )
        _write_json(path, {"inputs": inputs, "settings": settings, "versions": versions()})

    def stage(self, place: str, key: Mapping[str, Any]) -> Stage:
        """The stage at `place` whose result depends on `key`; the folder's name carries the key's hash.

        With `place` "" the stage is the run folder itself.
        """
        key = {"versions": versions()} | dict(key)
        folder = self.path / f"{place}-{key_of(key)[:12]}" if place else self.path
        return Stage(folder, key, show=self.show)


def _refuse_change(name: str, before: Mapping[str, str] | None, now: Mapping[str, str], folder: Path) -> None:
    if not before or before["fingerprint"] == now["fingerprint"]:
        return
    was, is_ = (f"{x['source']} [{x['fingerprint'][:12]}]" for x in (before, now))
    raise StoreError(
        f"{name} changed since this run began: was {was}, is {is_}",
        where=str(folder),
        fix=f"Restore {before['source']} to go on with this run, or start a new one with another --out.",
    )


def _differences(before: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "") -> list[str]:
    """One line per setting that differs, nested settings by dotted name."""
    lines = []
    for name in sorted({*before, *now}):
        old, new = before.get(name), now.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            lines += _differences(old, new, f"{prefix}{name}.")
        elif old != new:
            lines.append(f"{prefix}{name} was {old}, is {new}")
    return lines


def _take_lock(path: Path) -> io.FileIO:
    """Lock the file for this process and write our id into it; the lock dies with the process."""
    file = open(path, "a+b", buffering=0)
    try:
        _lock_file(file)
    except BlockingIOError:
        file.seek(0)
        owner = file.read().decode(errors="replace").strip() or "unknown"
        file.close()
        raise StoreError(
            f"another process (id {owner}) works in this folder",
            where=str(path.parent),
            fix="Wait for it or stop it, or choose another --out.",
        ) from None
    file.truncate(0)
    file.write(f"{os.getpid()}\n".encode())
    return file


def _lock_file(file: io.FileIO) -> None:
    """Take an exclusive lock or raise BlockingIOError; where the file system has no locks, go without."""
    try:
        import fcntl
    except ImportError:  # Windows
        import msvcrt

        file.seek(1 << 20)  # a byte far behind the id, so that others can still read the id
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            raise BlockingIOError from None
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:  # some network drives cannot lock
        return


# A stage ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Outcome:
    """What a stage gave: its table or checkpoint record, the seconds of its work whenever that was done."""

    table: Any
    seconds: float
    cached: bool


class Stage:
    """One stage's folder and the key that its content answers to.

    `key` is everything that the result depends on. Raises StoreError when the folder holds another key's
    result.
    """

    def __init__(self, folder: str | Path, key: Mapping[str, Any], *, show: bool = True) -> None:
        self.folder, self.key, self.show = Path(folder), json.loads(canonical_json(key)), show

    def _claim(self, shards: int) -> None:
        """Write `stage.json`, or check that the one that is there asks for the same thing."""
        record = self.folder / "stage.json"
        if not record.exists():
            make_folder(self.folder)
            _write_json(record, {"key": self.key, "shards": shards})
            return
        self._check_key(read_json(record))

    def _check_key(self, record: Mapping[str, Any]) -> None:
        changed = _differences(record.get("key", {}), self.key)
        if changed:
            raise StoreError(
                f"this folder holds the result of other settings: {'; '.join(changed[:4])}",
                where=str(self.folder),
                fix="Choose another --out, or delete the folder to have the stage redone.",
            )

    def table(
        self, parts: Sequence[Dataset], work: Callable[[Dataset], Dataset], *, label: str, weight: int = 1
    ) -> Outcome:
        """Do `work` on every part whose shard is not there yet; returns the whole table.

        One line is printed when everything was cached. Every part's row counts as `weight` responses in the
        progress line. Raises StoreError naming the shard that was truncated or edited.
        """
        self._claim(len(parts))
        ready = [self._shard(at).exists() for at in range(len(parts))]
        seconds = sum(_read_record(self._shard(at))["seconds"] for at, done in enumerate(ready) if done)
        shards: list[Dataset] = []
        if all(ready):
            shards = [read_shard(self._shard(at)) for at in range(len(parts))]
            note(f"{label}: {sum(map(len, shards))} responses, cached", self.show)
            return Outcome(tables.stack(shards), seconds, cached=True)
        note(f"{label}: going on, {sum(ready)} of {len(parts)} shards are finished", self.show and any(ready))
        with Progress(sum(map(len, parts)) * weight, label, show=self.show) as progress:
            for at, part in enumerate(parts):
                if not ready[at]:
                    seconds += self._fill(at, part, work)
                shards.append(read_shard(self._shard(at)))
                progress.advance(len(part) * weight, cached=ready[at])
        return Outcome(tables.stack(shards), seconds, cached=False)

    def _fill(self, at: int, part: Dataset, work: Callable[[Dataset], Dataset]) -> float:
        began = time.perf_counter()
        table = work(part)
        seconds = round(time.perf_counter() - began, 3)
        write_shard(self._shard(at), table, seconds)
        return seconds

    def _shard(self, at: int) -> Path:
        return self.folder / f"shard-{at:05d}.arrow"

    def checkpoint(self, work: Callable[[Path], Mapping[str, Any]], *, label: str) -> Outcome:
        """Let `work` write a model folder, once; returns what it said about it (a mapping) with its `files`.

        The folder appears whole, with a record of the sha256 of each file. Raises StoreError naming the file
        that was changed or lost since.
        """
        record = self.folder / "stage.json"
        if record.exists():
            found = read_json(record)
            self._check_key(found)
            _check_files(self.folder, found.get("files", {}))
            note(f"{label}: cached", self.show)
            return Outcome(found, found["seconds"], cached=True)
        began = time.perf_counter()
        temporary = self.folder.with_name(self.folder.name + TEMPORARY)
        make_folder(temporary.parent)
        with _os_errors(self.folder):
            said = dict(work(temporary))
            files = {p.relative_to(temporary).as_posix(): sha256_of(p) for p in _files(temporary)}
            seconds = round(time.perf_counter() - began, 3)
            found = said | {"key": self.key, "files": files, "seconds": seconds}
            _write_json(temporary / "stage.json", found)
            for path in [*_files(temporary), temporary]:
                _sync(path)
            os.replace(temporary, self.folder)
            _sync(self.folder.parent)
        return Outcome(found, seconds, cached=False)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _check_files(folder: Path, files: Mapping[str, str]) -> None:
    for name, digest in files.items():
        path = folder / name
        if path.is_file() and sha256_of(path) == digest:
            continue
        what = "was changed after it was written" if path.exists() else "is gone"
        raise StoreError(
            f"checkpoint file {name} {what}",
            where=str(path),
            fix=f"Restore it, or delete the folder {folder} to have the fine-tune redone.",
        )


def write_shard(path: str | Path, table: Dataset, seconds: float = 0.0) -> None:
    """Write the record, then the shard; both atomically, so that a shard that is there is a finished one."""
    path, data = Path(path), table_bytes(table)
    digest = hashlib.sha256(data).hexdigest()
    _write_json(
        path.with_suffix(".json"),
        {"rows": len(table), "bytes": len(data), "sha256": digest, "seconds": seconds},
    )
    atomic_write(path, data)


def read_shard(path: str | Path) -> Dataset:
    """The rows of a shard. Raises StoreError naming it when it was truncated, edited, or lost its record."""
    path = Path(path)
    record = _read_record(path)
    with _os_errors(path):
        data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != record["sha256"]:
        short = len(data) < record["bytes"]
        how = (
            f"was truncated ({len(data)} of {record['bytes']} bytes)"
            if short
            else "was changed after it was written"
        )
        raise _bad_shard(path, how)
    return table_from(data)


def _read_record(shard: Path) -> dict[str, Any]:
    path = shard.with_suffix(".json")
    if not path.exists():
        raise _bad_shard(shard, f"lost its record {path.name}")
    record = read_json(path)
    if not {"rows", "bytes", "sha256", "seconds"} <= record.keys():
        raise _bad_shard(shard, f"has a changed record {path.name}")
    return record


def _bad_shard(path: Path, how: str) -> StoreError:
    return StoreError(
        f"shard {path.name} {how}",
        where=str(path),
        fix="Restore it, or delete that one file and run the same command again: only this shard is redone.",
    )


def read_table(folder: str | Path) -> Dataset:
    """The finished table of a stage folder. Raises StoreError when there is none or it is not finished."""
    folder = Path(folder)
    record = folder / "stage.json"
    if not record.exists():
        raise StoreError(
            "this is not the folder of a stage (it has no stage.json)",
            where=str(folder),
            fix="Name the --out folder of an earlier stage: sample, score or select.",
        )
    shards = [folder / f"shard-{at:05d}.arrow" for at in range(read_json(record).get("shards", 0))]
    missing = [path.name for path in shards if not path.exists()]
    if missing or not shards:
        raise StoreError(
            f"this stage is not finished: {len(missing)} of {len(shards)} shards are missing",
            where=str(folder),
            fix="Run the command that writes this folder again: it goes on where it stopped.",
        )
    return tables.stack([read_shard(path) for path in shards])
