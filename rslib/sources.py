"""Where prompts come from: files, folders of files, saved data sets, data sets of the hub.

`records_of` gives every row with the place where it stands ("line 3"), or with the error that it is.
"""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rslib.cache import os_errors
from rslib.errors import DataError, StoreError, translate_os_error
from rslib.progress import note

if TYPE_CHECKING:
    from datasets import Dataset

Record = tuple[str, Any]
"""Where a row stands in its source, and the row: a text, messages, a mapping, or a DataError."""
_SPLIT = re.compile(r"(?:^|[-_./])(train|validation|valid|val|dev|test|eval)(?=[-_./]|$)")
_ALSO = {"validation": ("valid", "val", "dev", "eval"), "test": ("eval", "validation", "valid", "val", "dev")}
"""How splits are called in the names of files and folders, and what is taken where one is not there."""
_NO_DATA = re.compile(r"dataset_infos?\.json|README\.\w+|LICENSE.*|requirements\.txt")
"""Files that stand beside the data of a data set."""
_CARRIED = ("prompt_id", "prompt", "reference", "kind", "intent")
"""Columns that are taken from a data set, whose other columns may be large."""


def records_of(source: str, split: str, column: str) -> tuple[list[Record], bool]:
    """The rows of a source by its name, and whether they are the hub's, whose prompts are in "prompt".

    `column` is the one that holds the prompts. A file: .txt (one prompt a line), .jsonl, .json (a list),
    .csv, .tsv, each also as .gz, .bz2, .xz or .zst, or .parquet. A folder: of such files of one kind, also as
    the hub lays them out, or what `Dataset.save_to_disk` wrote. Else "owner/name" is a data set of the hub,
    "owner/name:split" one of its splits (as `datasets.load_dataset` reads it: "train[:1000]" too),
    "owner/name:subset:split" one of a subset. `split` is taken where the name has none.
    Raises StoreError for what is not there, DataError for what cannot be read as a whole.
    """
    if "://" in source:
        fix = "Download it and name the file; a data set of the hub is named owner/name."
        raise StoreError("this is an address, not a file", where=source, fix=fix)
    path = Path(source).expanduser()
    if path.is_dir():
        return _folder(path, split, column), False
    folder, sign, of_split = source.rpartition(":")
    if sign and Path(folder).expanduser().is_dir():
        return _folder(Path(folder).expanduser(), of_split, column), False
    if not path.exists() and _is_hub_id(source):
        return _hub(source, split, column), True
    return list(_file(path, column)), False


def _is_hub_id(source: str) -> bool:
    """Whether a name that is no file can be that of a data set on the hub.

    >>> _is_hub_id("nvidia/HelpSteer2:validation"), _is_hub_id("data/p.jsonl")
    (True, False)
    """
    name = source.split(":")[0]
    parts = re.fullmatch(r"(\w[\w.-]*)/(\w[\w.-]*)", name)
    return bool(parts) and _kind(Path(name)) not in _FILES and not Path(parts[1]).is_dir()


# Files ------------------------------------------------------------------------------------------------


def _kind(path: Path) -> str:
    """The ending that says how to read a file, that of its compression left out."""
    name = path.name.lower()
    return Path(name.removesuffix(_packing(path))).suffix


def _packing(path: Path) -> str:
    """The ending that says how a file is compressed; "" where it is not."""
    ending = path.suffix.lower()
    return ending if ending in _UNPACK else ""


def _file(path: Path, column: str) -> Iterator[Record]:
    with os_errors(path):
        path.stat()
    if _kind(path) not in _FILES:
        what = f"the ending '{_kind(path)}' says not how to read the prompts"
        raise DataError(
            what, where=str(path), fix=f"Use one of {', '.join(_FILES)}; texts also as {', '.join(_UNPACK)}."
        )
    if _kind(path) == ".parquet":
        yield from _read_parquet(path, column)
    else:
        yield from _FILES[_kind(path)](_text(path), str(path))


def _text(path: Path) -> str:
    """The text of a file; bytes that are not UTF-8 become lone surrogates, for which `_mangled` looks."""
    with os_errors(path):
        data = path.read_bytes()
    if packing := _packing(path):
        name, unpack = _UNPACK[packing]
        try:
            data = unpack(data)
        except Exception as err:  # each way has its own
            what = f"the name ends in {packing}, but the file is not {name}, or is cut short"
            what += f" ({_first_line(err)})"
            raise DataError(what, where=str(path), fix="Compress it again, or correct the name.") from err
    marked = data[:2] in (b"\xff\xfe", b"\xfe\xff")
    if marked or b"\0" in data:
        what = "the file is not UTF-8: it "
        what += "begins with the mark of UTF-16" if marked else "holds NUL bytes"
        raise DataError(what, where=str(path), fix="Save it as UTF-8.")
    text = data.decode("utf-8-sig", errors="surrogateescape")
    return text.replace("\r\n", "\n").replace("\r", "\n").rstrip()


def _unpack_zst(data: bytes) -> bytes:
    import pyarrow

    with pyarrow.CompressedInputStream(io.BytesIO(data), "zstd") as stream:
        return stream.read()


_UNPACK: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    ".gz": ("gzip", gzip.decompress),
    ".bz2": ("bzip2", bz2.decompress),
    ".xz": ("xz", lzma.decompress),
    ".zst": ("zstd", _unpack_zst),
}


def _mangled(text: str, where: str) -> DataError | None:
    """The error for a text that has bytes which are not UTF-8; None where it has none."""
    byte = next((ord(c) - 0xDC00 for c in text if 0xDC80 <= ord(c) <= 0xDCFF), None)
    if byte is None:
        return None
    return DataError(f"not UTF-8 (the byte 0x{byte:02x})", where=where, fix="Save the file as UTF-8.")


def _lines(text: str) -> Iterator[tuple[int, str]]:
    # At "\n" alone: str.splitlines would also cut at separators that a prompt may hold.
    return enumerate(text.split("\n") if text else [], start=1)


def _read_txt(text: str, where: str) -> Iterator[Record]:
    for number, line in _lines(text):
        yield f"line {number}", _mangled(line, f"line {number} of {where}") or line


def _read_jsonl(text: str, where: str) -> Iterator[Record]:
    for number, line in _lines(text):
        place = f"line {number} of {where}"
        yield f"line {number}", _mangled(line, place) or _parsed(line, place)


def _read_json(text: str, where: str) -> Iterator[Record]:
    records = _mangled(text, where) or (_parsed(text, where) if text else [])
    if (
        isinstance(records, DataError)
        and text.count("\n")
        and isinstance(_parsed(text.split("\n")[0], ""), dict)
    ):
        yield from _read_jsonl(text, where)  # a line is an object, as many tools write .json
        return
    if isinstance(records, DataError):
        yield "all", records
        return
    if not isinstance(records, list):
        raise DataError(
            "the file does not hold a list", where=where, fix='Write [{"prompt": ...}, ...] or use .jsonl.'
        )
    for number, record in enumerate(records, start=1):
        yield f"item {number}", record


def _read_csv(text: str, where: str, delimiter: str = ",") -> Iterator[Record]:
    # The head says what divides the fields: where a comma is a decimal point, spreadsheets write semicolons.
    delimiter = max(f"{delimiter};\t", key=text.partition("\n")[0].count)
    lines = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=delimiter)
    csv.field_size_limit(1 << 30)
    try:
        head = next(lines, [])
        if len(set(head)) < len(head):
            raise DataError("two columns share a name", where=f"line 1 of {where}", fix="Rename one.")
        for fields in lines:
            line = f"line {lines.line_num}"
            yield line, _csv_record(head, fields, f"{line} of {where}")
    except csv.Error as err:
        line = f"line {lines.line_num} of {where}"
        raise DataError(f"not valid CSV ({err})", where=line, fix="Mend the quotes there.") from err


def _csv_record(head: list[str], fields: list[str], where: str) -> Any:
    if fields and len(fields) != len(head):
        what = f"{len(fields)} fields under {len(head)} column names"
        return DataError(what, where=where, fix="Quote fields that hold a comma.")
    return _mangled("".join(fields), where) or (dict(zip(head, fields, strict=True)) if fields else "")


def _parsed(text: str, where: str) -> Any:
    """The JSON value of a text, or the error that says why it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as err:  # a number of thousands of digits is a ValueError, too
        at = _first_line(err) if isinstance(err, ValueError) else "nested too deep"
        at = f"{err.msg} at line {err.lineno}, column {err.colno}" if hasattr(err, "msg") else at
        fix = "Write one JSON value there, strings in double quotes."
        return DataError(f"not valid JSON ({at})", where=where, fix=fix)


def _read_parquet(path: Path, column: str) -> Iterator[Record]:
    from pyarrow import parquet

    try:
        known = parquet.read_schema(path).names
        rows = parquet.read_table(path, columns=_taken(known, column, str(path))).to_pylist()
    except DataError:
        raise
    except Exception as err:  # Arrow's errors are ValueErrors, OSErrors and more
        if isinstance(err, OSError) and err.errno:
            raise translate_os_error(err, where=str(path)) from err
        what = f"the file cannot be read as Parquet ({_first_line(err)})"
        raise DataError(what, where=str(path), fix="Write it again, or give the prompts as .jsonl.") from err
    for number, row in enumerate(rows):
        yield f"row {number}", row


def _taken(names: list[str], column: str, where: str) -> list[str]:
    """The columns that are read of these."""
    if column not in names:
        fix = f"Name the column of the prompts (--column, column=), one of {', '.join(names)}."
        raise DataError(f"there is no column '{column}'", where=where, fix=fix)
    return [name for name in names if name in (*_CARRIED, column)]


_FILES: dict[str, Callable[..., Iterator[Record]]] = {
    ".txt": _read_txt,
    ".jsonl": _read_jsonl,
    ".ndjson": _read_jsonl,
    ".json": _read_json,
    ".csv": _read_csv,
    ".tsv": partial(_read_csv, delimiter="\t"),
    ".parquet": _read_parquet,
}


# Folders ----------------------------------------------------------------------------------------------


def _folder(path: Path, split: str, column: str) -> list[Record]:
    if (path / "dataset_dict.json").is_file() or (path / "state.json").is_file():
        return _saved(path, split, column)
    files = _of_split(path, _data_files(path), split)
    kinds, parts = sorted({_kind(file) for file in files}), sorted({_subset(path, file) for file in files})
    if len(kinds) != 1 or len(parts) != 1:
        there = f"files of the kinds {', '.join(kinds)}" if kinds else "no prompts that can be read"
        there = there if len(parts) < 2 else f"several sets: {', '.join(parts)}"
        fix = f"Name a file, a folder of files of one kind ({', '.join(_FILES)}), or a saved data set."
        raise DataError(f"the folder holds {there}", where=str(path), fix=fix)
    return [
        (f"{place} of {file.relative_to(path)}", record)
        for file in files
        for place, record in _file(file, column)
    ]


def _data_files(path: Path) -> list[Path]:
    """The files of a folder that may hold prompts; where there are none, those of the folders in it."""
    for pattern in ("*", "*/*", "*/*/*"):
        files = sorted(p for p in path.glob(pattern) if _kind(p) in _FILES and p.is_file())
        files = [p for p in files if p.name[0] != "." and not _NO_DATA.fullmatch(p.name)]
        if files:
            return files
    return []


def _subset(path: Path, file: Path) -> str:
    """The folder that a file lies in, but for those that are called as a split, or "data"."""
    return "/".join(p for p in file.parent.relative_to(path).parts if p != "data" and not _SPLIT.fullmatch(p))


def _of_split(path: Path, files: list[Path], split: str) -> list[Path]:
    """The files of a split where names have one, as the hub's do ("data/train-00000.parquet"); else all."""
    splits = {file: match[1] for file in files if (match := _SPLIT.search(str(file.relative_to(path))))}
    if len(set(splits.values())) < 2:
        return files
    name = _split_of(dict.fromkeys(splits.values()), split, path)
    return [file for file in files if splits.get(file) == name]


def _split_of(there: Collection[str], split: str, path: Path) -> str:
    """The split that is meant, of those that are there. Raises DataError where none can be."""
    for name in (split, *_ALSO.get(split, ())):
        if name in there:
            if name != split:
                note(f"{path}: it has no split '{split}', so '{name}' is read")
            return name
    what = f"the folder has no split '{split}'"
    raise DataError(what, where=str(path), fix=f"Name one, as {path}:SPLIT: {', '.join(there)}.")


def _saved(path: Path, split: str, column: str) -> list[Record]:
    """The rows of what `save_to_disk` of a Dataset or a DatasetDict wrote."""
    from datasets import DatasetDict, load_from_disk

    try:
        table = load_from_disk(str(path))
    except Exception as err:  # Arrow, JSON, the file system: each has its own classes
        what = f"the saved data set cannot be read ({_first_line(err)})"
        raise DataError(what, where=str(path), fix="Save it again with save_to_disk.") from err
    if isinstance(table, DatasetDict):
        table = table[_split_of(table, split, path)]
    return _rows(table, column)


def _rows(table: Dataset, column: str) -> list[Record]:
    names = _taken(table.column_names, column, "the data set")
    return [(f"row {number}", row) for number, row in enumerate(table.select_columns(names).to_list())]


# The hub ----------------------------------------------------------------------------------------------


def _dialogue_before_the_last(text: str) -> list[dict[str, str]]:
    r"""The turns of a dialogue in HH-RLHF's form, its last assistant's turn left out.

    >>> _dialogue_before_the_last("\n\nHuman: Hi\n\nAssistant: Hello!")
    [{'role': 'user', 'content': 'Hi'}]
    """
    turns = _turns(re.split(r"\n\n(Human|Assistant):", text)[1:])
    return turns[:-1] if turns and turns[-1]["role"] == "assistant" else turns


def _marked_turns(text: str) -> str | list[dict[str, str]]:
    r"""A prompt of HelpSteer: a text, or turns that a mark with the speaker's name divides.

    >>> len(_marked_turns("Hi\n<extra_id_1>Assistant\nHello!\n<extra_id_1>User\nWho are you?"))
    3
    """
    first, *later = re.split(r"\s*<extra_id_1>(User|Assistant)\n", text)
    return _turns(["User", first, *later]) if later else text


def _turns(parts: list[str]) -> list[dict[str, str]]:
    """Messages of speakers' names and their texts, one after the other."""
    roles = {"Human": "user", "User": "user", "Assistant": "assistant"}
    pairs = zip(parts[::2], parts[1::2], strict=True)
    return [{"role": roles[name], "content": text.strip()} for name, text in pairs]


@dataclass(frozen=True)
class _HubSet:
    """What is known of a data set: licence, a warning, its splits for training and test, how it is read."""

    licence: str
    warning: str = ""
    splits: Mapping[str, str] = field(default_factory=dict)
    column: str = "prompt"
    read: Callable[[str], Any] = str


_STEER = _HubSet("CC BY 4.0", splits={"test": "validation"}, read=_marked_turns)
_HUB_SETS: dict[str, _HubSet] = {
    "HuggingFaceH4/ultrafeedback_binarized": _HubSet(
        "MIT",
        "many chat models were tuned on it: no measure of what they have not seen",
        {"train": "train_prefs", "test": "test_prefs"},
    ),
    "nvidia/HelpSteer": _STEER,
    "nvidia/HelpSteer2": _STEER,
    "Anthropic/hh-rlhf": _HubSet(
        "MIT",
        "it holds offensive and upsetting texts, and is meant for research on making models less harmful",
        column="chosen",
        read=_dialogue_before_the_last,
    ),
}
"""Data sets that are read by name, beside any other whose column is named."""


def _hub(source: str, split: str, column: str) -> list[Record]:
    name, *parts = re.split(r":(?![^\[]*\])", source)  # not at the colon of train[:1000]
    known = _HUB_SETS.get(name, _HubSet(""))
    split = parts.pop() if parts else known.splits.get(split, split)
    column = known.column if column == "prompt" else column
    if known.licence:
        note(f"{name}: licence {known.licence}" + (f"; {known.warning}" if known.warning else ""))
    rows = _rows(_downloaded(name, parts, split), column)
    for _, row in rows:
        prompt = row.pop(column)
        row["prompt"] = known.read(prompt) if isinstance(prompt, str) else prompt
    return rows


def _downloaded(name: str, subset: list[str], split: str) -> Dataset:
    from datasets import load_dataset

    try:
        return load_dataset(name, *subset, split=split)
    except Exception as err:  # offline, unknown, gated, no such split or subset: each has its own class
        offline = isinstance(err, ConnectionError) or "offline" in f"{type(err).__name__} {err}".lower()
        why = (
            "the hub cannot be reached, and there is no copy here" if offline else "the hub gave no such data"
        )
        fix = (
            "Connect, or unset HF_HUB_OFFLINE; or name a file or a saved data set."
            if offline
            else "Check the name and the split, written NAME:SPLIT or NAME:SUBSET:SPLIT, or name a file."
        )
        what = f"no such file or folder, and {why} ({_first_line(err)})"
        raise StoreError(what, where=f"{name}, split {split}", fix=fix) from err


def _first_line(err: BaseException) -> str:
    return next((line.strip() for line in str(err).splitlines() if line.strip()), type(err).__name__)
