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

import hashlib
import io
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import compress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rslib import tables
from rslib.cache import (
    TEMPORARY,
    atomic_write,
    canonical_json,
    key_of,
    make_folder,
    os_errors,
    read_json,
    sha256_of,
    sync,
    versions,
    write_json,
)
from rslib.errors import StoreError
from rslib.progress import Progress, note

if TYPE_CHECKING:
    import pyarrow
    from datasets import Dataset


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
    borders = [0]
    for row in range(1, len(table)):
        if ids[row] != ids[row - 1] and row - borders[-1] >= rows:
            borders.append(row)
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
        if (self.path / "config.json").is_file() and not (self.path / ".lock").is_file():
            fix = "Choose another folder for --out: a model's own stays as it is."
            raise StoreError("this is the folder of a model", where=str(self.path), fix=fix)
        make_folder(self.path)
        with os_errors(self.path):
            self._lock = _take_lock(self.path / ".lock")
            # Nobody else works here now, so whatever is half-written was left by a process that died.
            for leftover in self.path.rglob(f"*{TEMPORARY}*"):
                shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._lock is not None:
            self._lock.close()  # the file stays: removing it would race with the next process
            self._lock = None

    def record_inputs(self, inputs: Mapping[str, Mapping[str, str]], settings: Mapping[str, Any]) -> None:
        """Hold the run to what it was started with, and say which settings differ from last time.

        `inputs` is name -> {"source", "fingerprint"}. A changed fingerprint (an edited prompt file, another
        model) raises StoreError. Changed settings are allowed: they only change which stages are redone.
        """
        path = self.path / "run.json"
        if path.exists():
            before = read_json(path)
            for name, now in inputs.items():
                _refuse_change(name, before.get("inputs", {}).get(name), now, self.path)
            old = _with_versions(before.get("settings", {}), before.get("versions", {}))
            new = _with_versions(json.loads(canonical_json(settings)), versions())
            for line in _differences(old, new):
                text = (
                    f"changed since the last run in {self.path}: {line}; stages that depend on it are redone"
                )
                note(text, self.show)
        write_json(path, {"inputs": inputs, "settings": settings, "versions": versions()})

    def stage(self, name: str, key: Mapping[str, Any]) -> Stage:
        """The stage `name` whose result depends on `key`; its folder is called by both: NAME-HASH.

        With the name "" the stage is the run folder itself.
        """
        key = {"versions": versions()} | dict(key)
        folder = self.path / f"{name}-{key_of(key)[:12]}" if name else self.path
        return Stage(folder, key, show=self.show)


def _with_versions(settings: Mapping[str, Any], libraries: Mapping[str, str]) -> dict[str, Any]:
    return dict(settings) | {f"version of {name}": version for name, version in libraries.items()}


def _refuse_change(name: str, before: Mapping[str, str] | None, now: Mapping[str, str], folder: Path) -> None:
    if not before or before["fingerprint"] == now["fingerprint"]:
        return
    old, new = (f"{x['source']} [{x['fingerprint'][:12]}]" for x in (before, now))
    what = f"{name} changed since this run began: was {old}, is {new}"
    fix = f"Restore {before['source']} to go on with this run, or start a new one with another --out."
    raise StoreError(what, where=str(folder), fix=fix)


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
        fix = "Wait for it or stop it, or choose another --out."
        what = f"another process (id {owner}) works in this folder"
        raise StoreError(what, where=str(path.parent), fix=fix) from None
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


def in_turn(
    work: Callable[[Dataset], Dataset], parts: Mapping[int, Dataset]
) -> Iterator[tuple[int, Dataset, float]]:
    """Each part's number, the table that `work` makes of it, and the seconds that took, one after another."""
    for number, part in parts.items():
        began = time.perf_counter()
        table = work(part)
        yield number, table, round(time.perf_counter() - began, 3)


class Stage:
    """One stage's folder and the key that its content answers to.

    `key` is everything that the result depends on. Raises StoreError when the folder holds another key's
    result.
    """

    def __init__(self, folder: str | Path, key: Mapping[str, Any], *, show: bool = True) -> None:
        self.folder, self.key, self.show = Path(folder), json.loads(canonical_json(key)), show

    def table(
        self,
        parts: Sequence[Dataset],
        work: Callable[[Dataset], Dataset],
        *,
        label: str,
        weight: int = 1,
        each: Callable[..., Iterator[tuple[int, Dataset, float]]] = in_turn,
    ) -> tuple[Dataset, float]:
        """The whole table, and the seconds its work took whenever it was done; what has no shard is done now.

        One line is printed when everything was cached. Every part's row counts as `weight` responses in the
        progress line. `each` is called as `in_turn` and may give the parts in any order; a part's shard is
        written when it comes. Raises StoreError naming the shard that was truncated or edited.
        """
        self._check_or_write_key(len(parts))
        # A shard is written after its record and whole, so one that is there is finished: its seconds count.
        paths = [self.folder / _shard_name(number) for number in range(len(parts))]
        finished = [path.exists() for path in paths]
        seconds = sum(_read_record(path)["seconds"] for path in compress(paths, finished))
        shards = {number: read_shard(path) for number, path in enumerate(paths) if finished[number]}
        if all(finished):
            note(f"{label}: {sum(map(len, shards.values()))} responses, cached", self.show)
            return tables.stack(list(shards.values())), seconds
        if any(finished):
            note(f"{label}: going on, {sum(finished)} of {len(parts)} shards are finished", self.show)
        pending = {number: part for number, part in enumerate(parts) if not finished[number]}
        with Progress(sum(map(len, parts)) * weight, label, show=self.show) as progress:
            progress.advance(sum(map(len, compress(parts, finished))) * weight, cached=True)
            for number, table, spent in each(work, pending):
                write_shard(paths[number], table, spent)
                # A new shard too is read from its file: resumed or not, a run sees the same rows.
                shards[number] = read_shard(paths[number])
                seconds += spent
                progress.advance(len(parts[number]) * weight)
        return tables.stack([shards[n] for n in range(len(parts))]), seconds

    def checkpoint(self, work: Callable[[Path], Mapping[str, Any]], *, label: str) -> dict[str, Any]:
        """The record of a model folder that `work` writes, once: what it returned, `files`, `seconds`.

        The folder appears whole, with a record of the sha256 of each file. Raises StoreError naming the file
        that was changed or lost since.
        """
        record_path = self.folder / "stage.json"
        if record_path.exists():
            record = read_json(record_path)
            self._check_key(record)
            _check_files(self.folder, record.get("files", {}))
            note(f"{label}: cached", self.show)
            return record
        began = time.perf_counter()
        # Where the stage is the run folder itself, what is half-written stands in it, under its lock.
        half_written = self.folder / "model" if self.folder.exists() else self.folder
        temporary = half_written.with_name(half_written.name + TEMPORARY)
        make_folder(temporary.parent)
        with os_errors(self.folder):
            facts = dict(work(temporary))
            files = {p.relative_to(temporary).as_posix(): sha256_of(p) for p in _files(temporary)}
            seconds = round(time.perf_counter() - began, 3)
            record = facts | {"key": self.key, "files": files, "seconds": seconds}
            write_json(temporary / "stage.json", record)
            # Everything reaches the disk before the folder gets its name, and the name before we go on.
            for path in [*_files(temporary), temporary]:
                sync(path)
            _move_folder(temporary, self.folder)
            sync(self.folder.parent)
        return record

    def _check_or_write_key(self, shards: int) -> None:
        """Write `stage.json`, or check that the one that is there asks for the same thing."""
        path = self.folder / "stage.json"
        if path.exists():
            return self._check_key(read_json(path))
        make_folder(self.folder)
        write_json(path, {"key": self.key, "shards": shards})

    def _check_key(self, record: Mapping[str, Any]) -> None:
        if changed := _differences(record.get("key", {}), self.key):
            what = f"this folder holds the result of other settings: {'; '.join(changed[:4])}"
            fix = "Choose another --out, or delete the folder to have the stage redone."
            raise StoreError(what, where=str(self.folder), fix=fix)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _move_folder(source: Path, target: Path) -> None:
    """Give a folder its name; where that is taken, its files go there one by one, stage.json as the last."""
    if not target.exists():
        os.replace(source, target)
        return
    for path in sorted(_files(source), key=lambda path: path.name == "stage.json"):
        make_folder((target / path.relative_to(source)).parent)
        os.replace(path, target / path.relative_to(source))
    shutil.rmtree(source)
    sync(target)


def _check_files(folder: Path, files: Mapping[str, str]) -> None:
    for name, digest in files.items():
        path = folder / name
        if path.is_file() and sha256_of(path) == digest:
            continue
        what = f"checkpoint file {name} " + (
            "was changed after it was written" if path.exists() else "is gone"
        )
        fix = f"Restore it, or delete the folder {folder} to have the fine-tune redone."
        raise StoreError(what, where=str(path), fix=fix)


# Shards -------------------------------------------------------------------------------------------


def _shard_name(number: int) -> str:
    return f"shard-{number:05d}.arrow"


def write_shard(path: str | Path, table: Dataset, seconds: float = 0.0) -> None:
    """Write the record, then the shard; both atomically, so that a shard that is there is a finished one."""
    path, data = Path(path), table_bytes(table)
    digest = hashlib.sha256(data).hexdigest()
    record = {"rows": len(table), "bytes": len(data), "sha256": digest, "seconds": seconds}
    write_json(path.with_suffix(".json"), record)
    atomic_write(path, data)


def read_shard(path: str | Path) -> Dataset:
    """The rows of a shard. Raises StoreError naming it when it was truncated, edited, or lost its record."""
    path = Path(path)
    record = _read_record(path)
    with os_errors(path):
        data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() == record["sha256"]:
        return table_from(data)
    if len(data) < record["bytes"]:
        raise _bad_shard(path, f"was truncated ({len(data)} of {record['bytes']} bytes)")
    raise _bad_shard(path, "was changed after it was written")


def _read_record(shard: Path) -> dict[str, Any]:
    path = shard.with_suffix(".json")
    if not path.exists():
        raise _bad_shard(shard, f"lost its record {path.name}")
    record = read_json(path)
    if not {"rows", "bytes", "sha256", "seconds"} <= record.keys():
        raise _bad_shard(shard, f"has a changed record {path.name}")
    return record


def _bad_shard(path: Path, how: str) -> StoreError:
    fix = "Restore it, or delete that one file and run the same command again: only this shard is redone."
    return StoreError(f"shard {path.name} {how}", where=str(path), fix=fix)


def read_table(folder: str | Path) -> Dataset:
    """The finished table of a stage folder. Raises StoreError when there is none or it is not finished."""
    folder = Path(folder)
    record = folder / "stage.json"
    if not record.exists():
        what = "this is not the folder of a stage (it has no stage.json)"
        fix = "Name the --out folder of an earlier stage: sample, score or select."
        raise StoreError(what, where=str(folder), fix=fix)
    shards = [folder / _shard_name(number) for number in range(read_json(record).get("shards", 0))]
    missing = [path.name for path in shards if not path.exists()]
    if missing or not shards:
        what = f"this stage is not finished: {len(missing)} of {len(shards)} shards are missing"
        fix = "Run the command that writes this folder again: it goes on where it stopped."
        raise StoreError(what, where=str(folder), fix=fix)
    return tables.stack([read_shard(path) for path in shards])
