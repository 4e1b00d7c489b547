"""The tables that travel between stages: their columns, their checks, and their fingerprint.

    prompts    prompt_id, prompt, and any further columns, which every later table carries along
    responses  + sample_id, response, token_ids, token_logprobs, logprob, finish_reason, seed
    scored     + reward
    selected   rows of a scored table

Every table is a `datasets.Dataset`. `COLUMNS` says what each column holds. Responses from elsewhere need
only prompt_id, prompt, sample_id and response; what else they bring is checked as strictly as our own.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np

from rslib.errors import DataError, RewardError

if TYPE_CHECKING:
    import pyarrow
    from datasets import Dataset

COLUMNS: dict[str, tuple[str, str]] = {
    "prompt_id": ("text", "unique name of a prompt"),
    "prompt": ("text or messages", "what the policy is asked to respond to; see `rslib.messages`"),
    "sample_id": ("integer", "which of the prompt's responses, from 0"),
    "response": ("text", "what the policy wrote, without special tokens"),
    "token_ids": ("list of integers", "the tokens drawn, a drawn end-of-sequence token included"),
    "token_logprobs": ("list of numbers", "log-probability of each token at temperature 1, nats"),
    "logprob": ("number", "their sum, nats"),
    "finish_reason": ("text", "'eos': the policy ended the response; 'length': the limit did"),
    "seed": ("integer", "the response's own seed"),
    "reward": ("number", "the reward model's number, finite"),
}
"""Column -> (type, meaning)."""

REQUIRED: dict[str, tuple[str, ...]] = {
    "prompts": ("prompt_id", "prompt"),
    "responses": ("prompt_id", "prompt", "sample_id", "response"),
    "scored": ("prompt_id", "prompt", "sample_id", "response", "reward"),
    "selected": ("prompt", "response"),
}
"""Stage -> the columns that its table cannot do without."""

_FINISH_REASONS = ("eos", "length")
_MISSING = {
    "reward": ("no reward column: run score first", "Call score(reward_model, responses), then select."),
    "response": ("no response column: run sample first", "Call sample(policy, prompts)."),
}


# A table as arrays -------------------------------------------------------------------------------------


class TableRows:
    """The columns of a table as arrays, one entry a row, and the prompt of each row; see `rows_of`.

    `arrow` is the whole table, `size` its number of rows.
    """

    def __init__(self, table: Dataset) -> None:
        self.arrow = _arrow(table)
        self.size = self.arrow.num_rows

    def __contains__(self, name: str) -> bool:
        return name in self.arrow.column_names and self.arrow[name].null_count < self.size

    def column(self, name: str) -> pyarrow.ChunkedArray:
        """The column in Arrow's form. Raises DataError when there is none."""
        if name not in self.arrow.column_names:
            where = f"columns {', '.join(self.arrow.column_names)}"
            raise DataError(f"no column '{name}'", where=where, fix=f"The table needs '{name}'.")
        return self.arrow[name]

    def values(self, name: str) -> list:
        """The column as a list. Raises DataError when there is none."""
        return self.column(name).to_pylist()

    def numbers(self, name: str, *, gaps: bool = False) -> np.ndarray | None:
        """The column as float64 `(rows,)`; None when absent or all null; null is NaN where `gaps` allow.

        Raises DataError for other values that are missing, NaN or infinite.
        """
        if name not in self:
            return None
        column = self.arrow[name]
        values = column.cast("float64").to_numpy()
        allowed = column.is_null().to_numpy() if gaps else np.zeros(self.size, dtype=bool)
        bad = np.flatnonzero(~np.isfinite(values) & ~allowed)
        if bad.size:
            where = f"column '{name}', first at prompt '{self.values('prompt_id')[bad[0]]}'"
            what = f"{bad.size} of {self.size} values are missing, NaN or infinite"
            raise DataError(
                what, where=where, fix="A mean over them would be meaningless: mend or drop these rows."
            )
        return values

    def lists(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """A list column as (length of each row, all values one after the other)."""
        column = self.arrow[name].combine_chunks()
        values = column.flatten().to_numpy(zero_copy_only=False).astype(float)
        return np.asarray(column.value_lengths()), values

    @cached_property
    def _prompts(self) -> tuple[np.ndarray, list[str]]:
        """Number of each row's prompt, and the prompt_ids by number."""
        encoded = self.column("prompt_id").combine_chunks().dictionary_encode("encode")
        return encoded.indices.to_numpy().astype(np.int64), encoded.dictionary.to_pylist()

    @property
    def prompt(self) -> np.ndarray:
        """Number of each row's prompt, int `(rows,)`, from 0 in the order of `prompt_ids`."""
        return self._prompts[0]

    @property
    def prompt_ids(self) -> list[str]:
        """The M prompt_ids in the order of their first row."""
        return self._prompts[1]

    @cached_property
    def keys(self) -> list[tuple]:
        """What names each row: prompt_id, sample_id, and round where the table has that column."""
        names = [name for name in ("prompt_id", "sample_id", "round") if name in self.arrow.column_names]
        return list(zip(*map(self.values, names), strict=True))

    @cached_property
    def lengths(self) -> np.ndarray | None:
        """Tokens of each response, float `(rows,)`; None without the column `token_ids`."""
        from pyarrow import compute

        if "token_ids" not in self:
            return None
        return compute.list_value_length(self.arrow["token_ids"]).to_numpy().astype(float)

    @cached_property
    def words(self) -> np.ndarray:
        """Words of each response, split at white space, float `(rows,)`."""
        return np.array([len(text.split()) for text in self.values("response")], dtype=float)

    def prompt_means(self, values: np.ndarray) -> np.ndarray:
        """Mean of `values (rows,)` over each prompt's rows `(M,)`; NaN rows do not count; NaN if all are."""
        known = ~np.isnan(values)
        sums = np.bincount(self.prompt, np.where(known, values, 0.0), len(self.prompt_ids))
        counts = np.bincount(self.prompt, known, len(self.prompt_ids))
        return np.divide(sums, counts, out=np.full(len(counts), np.nan), where=counts > 0)

    def row_name(self, row: int) -> str:
        """Which row this is, for an error: its number, and its prompt_id and sample_id where it has them."""
        names = [name for name in ("prompt_id", "sample_id") if name in self.arrow.column_names]
        return ", ".join([f"row {row}", *(f"{name} {self.arrow[name][row].as_py()!r}" for name in names)])


_ROWS: WeakKeyDictionary[Dataset, TableRows] = WeakKeyDictionary()


def rows_of(table: Dataset) -> TableRows:
    """The table as arrays, made once and kept while the table lives."""
    if table not in _ROWS:
        _ROWS[table] = TableRows(table)
    return _ROWS[table]


# Checks ------------------------------------------------------------------------------------------------


def check_responses(table: Dataset) -> None:
    """Raise DataError, naming the first bad row, unless `table` is a responses table.

    Checked: columns and types; no nulls; each (prompt_id, sample_id) once (and `round`, where there is that
    column); one prompt text per prompt_id; and, where the columns are there, finish_reason "eos" or
    "length", one finite log-probability <= 0 per token, and logprob their sum.
    """
    check_columns(table, "responses")
    _check_rows(rows_of(table))


def check_scored(table: Dataset, *, finite: bool = True) -> None:
    """Raise unless `table` is a responses table whose `reward` is finite in every row.

    `finite=False` leaves rewards that are missing, NaN or infinite to the caller.

    Raises DataError ("no reward column: run score first") and as `check_responses`; RewardError with the
    count and the first prompt_id and sample_id for rewards that are missing, NaN or infinite.
    """
    check_columns(table, "scored")
    _check_rows(rows_of(table))
    if finite:
        finite_column(table)


def check_selected(table: Dataset) -> None:
    """Raise unless `table` can be fine-tuned on: rows with prompt and response, rewards finite if present.

    Kept rows of several rounds may share (prompt_id, sample_id). Raises DataError or RewardError.
    """
    check_columns(table, "selected")
    if "reward" in table.column_names:
        finite_column(table)


def finite_column(table: Dataset, name: str = "reward") -> np.ndarray:
    """As `reward_column`, all values finite. Raises RewardError with how many are not, and the first."""
    values = reward_column(table, name)
    bad = np.flatnonzero(~np.isfinite(values))
    if bad.size:
        raise nonfinite_error(table, bad, name)
    return values


def reward_column(table: Dataset, name: str = "reward") -> np.ndarray:
    """The column as float64 `(rows,)`; null becomes NaN. DataError when it is absent or no number."""
    if name not in table.column_names:
        what, fix = _MISSING.get(name, (f"no column '{name}'", "Name a column that the table has."))
        raise DataError(what, where=f"columns {', '.join(table.column_names)}", fix=fix)
    if column_kind(table, name) not in ("number", "integer", "nothing"):
        raise _wrong_type(name, "number", table)
    return rows_of(table).arrow[name].cast("float64").to_numpy()


def nonfinite_error(table: Dataset, bad: np.ndarray, name: str = "reward") -> RewardError:
    """The error for the rows `bad` whose reward is missing, NaN or infinite: how many, and the first one."""
    return RewardError(
        f"{len(bad)} of {len(table)} values of '{name}' are missing, NaN or infinite",
        where=rows_of(table).row_name(int(bad[0])),
        fix="A NaN compares false with everything, so 'keep the best' could keep it. Check the reward "
        "model's dtype (float16 overflows at 65504), or drop these rows with select(..., on_nan='drop').",
    )


def check_columns(table: Dataset, stage: str) -> None:
    """Raise DataError unless the columns of `stage` are there, of the types of COLUMNS, and not empty."""
    require_table(table, stage)
    names = table.column_names
    for name in REQUIRED[stage]:
        if name not in names:
            what, fix = _MISSING.get(name, (f"no column '{name}'", f"The {stage} table needs it."))
            raise DataError(what, where=f"{stage} table with the columns {', '.join(names)}", fix=fix)
    if not len(table):
        fix = "Check the stage before this one."
        raise DataError(f"the {stage} table is empty", where=f"the {stage} table", fix=fix)
    for name in names:
        if name in COLUMNS and not _fits(column_kind(table, name), COLUMNS[name][0]):
            raise _wrong_type(name, COLUMNS[name][0], table)
    known = [name for name in names if name in COLUMNS and name != "reward"]
    # Rows from elsewhere may be fine-tuned on without token_ids and the like.
    _check_nulls(table, REQUIRED[stage] if stage == "selected" else known, stage)


def require_table(table: Any, stage: str) -> None:
    """Raise DataError unless `table` is a `datasets.Dataset`."""
    from datasets import Dataset

    if not isinstance(table, Dataset):
        raise DataError(
            f"a {type(table).__module__}.{type(table).__name__} is no datasets.Dataset",
            where=f"the {stage} table",
            fix="Pass a datasets.Dataset; of several splits pass one.",
        )


def _check_nulls(table: Dataset, names: Sequence[str], stage: str) -> None:
    for name in names:
        column = rows_of(table).arrow[name]
        if column.null_count:
            row = int(np.flatnonzero(column.is_null().to_numpy())[0])
            raise DataError(
                f"'{name}' is missing in {column.null_count} rows",
                where=f"{stage} table, row {row}",
                fix="Fill it in or drop these rows.",
            )


def _check_rows(rows: TableRows) -> None:
    """What `check_responses` says of single rows."""
    seen: set[tuple] = set()
    prompt_of: dict[str, str] = {}
    for row, (key, prompt) in enumerate(zip(rows.keys, rows.values("prompt"), strict=True)):
        if key in seen:
            fix = "Each response needs a sample_id of its own within its prompt."
            raise DataError("this response stands twice", where=rows.row_name(row), fix=fix)
        seen.add(key)
        if prompt_of.setdefault(key[0], prompt) != prompt:
            fix = "Responses may be paired with the wrong prompt; build the table again from the prompts."
            raise DataError(
                "the prompt differs from an earlier row of its prompt_id",
                where=rows.row_name(row),
                fix=fix,
            )
    _check_row_values(rows)


def _check_row_values(rows: TableRows) -> None:
    """finish_reason, token_logprobs and logprob of every row, where the table has these columns."""
    have = set(rows.arrow.column_names)
    if "finish_reason" in have:
        wrong = np.array([reason not in _FINISH_REASONS for reason in rows.values("finish_reason")])
        _refuse(rows, wrong, "finish_reason is neither 'eos' nor 'length'", "Use one of these two.")
    if "token_logprobs" not in have:
        return
    lengths, values = rows.lists("token_logprobs")
    row_of = np.repeat(np.arange(rows.size), lengths)
    bad = np.bincount(row_of, ~(np.isfinite(values) & (values <= 1e-3)), rows.size) > 0
    _refuse(rows, bad, "a token log-probability is not a finite number <= 0", "Sample these prompts again.")
    if "token_ids" in have:
        differ = rows.lists("token_ids")[0] != lengths
        _refuse(rows, differ, "token_logprobs and token_ids differ in length", "Give one number per token.")
    if "logprob" in have:
        total = rows.arrow["logprob"].cast("float64").to_numpy()
        apart = ~(np.abs(total - np.bincount(row_of, values, rows.size)) <= 1e-3 + 1e-4 * lengths)
        _refuse(rows, apart, "logprob is not the sum of token_logprobs", "Compute it again.")


def _refuse(rows: TableRows, bad: np.ndarray, what: str, fix: str) -> None:
    if bad.any():
        more = f" ({int(bad.sum())} of {len(bad)} rows)"
        raise DataError(what + more, where=rows.row_name(int(bad.argmax())), fix=fix)


def _wrong_type(name: str, wanted: str, table: Dataset) -> DataError:
    return DataError(
        f"column '{name}' holds {column_kind(table, name)}, not {wanted}",
        where=f"table with the columns {', '.join(table.column_names)}",
        fix=f"Convert it: {COLUMNS.get(name, ('', 'a number is needed'))[1]}.",
    )


def column_kind(table: Dataset, name: str) -> str:
    """What a column holds, in the words of COLUMNS; Arrow's own word for anything else."""
    return _arrow_kind(table.features.arrow_schema.field(name).type)


def _arrow_kind(arrow: pyarrow.DataType) -> str:
    from pyarrow import types

    if types.is_list(arrow) or types.is_large_list(arrow) or types.is_fixed_size_list(arrow):
        if types.is_struct(arrow.value_type) and {"role", "content"} <= {f.name for f in arrow.value_type}:
            return "messages"
        inner = _arrow_kind(arrow.value_type)
        return f"list of {inner}s" if inner in ("integer", "number") else f"list of {inner}"
    names = {"integer": types.is_integer, "number": types.is_floating, "nothing": types.is_null}
    text = types.is_string(arrow) or types.is_large_string(arrow)
    return "text" if text else next((name for name, test in names.items() if test(arrow)), str(arrow))


def _fits(kind: str, wanted: str) -> bool:
    """Integers pass for numbers and empty lists for any list; nulls are left to the null check."""
    if kind in (*wanted.split(" or "), "nothing") or (
        wanted.startswith("list") and kind == "list of nothing"
    ):
        return True
    return kind.replace("integer", "number") == wanted


# Reading tables ----------------------------------------------------------------------------------------


def groups(table: Dataset) -> dict[str, np.ndarray]:
    """prompt_id -> the rows of that prompt, ascending; prompts in the order of their first row.

    Works for ragged tables and for rows in any order. Raises DataError without the column `prompt_id`.
    """
    rows = rows_of(table)
    order = np.argsort(rows.prompt, kind="stable")
    borders = np.cumsum(np.bincount(rows.prompt, minlength=len(rows.prompt_ids)))[:-1]
    return dict(zip(rows.prompt_ids, np.split(order, borders), strict=True))


def reward_matrix(scored: Dataset) -> tuple[list[str], np.ndarray, np.ndarray]:
    """(prompt_ids, rewards float64 `(M, n)`, row_index int `(M, n)`): one line a prompt, rows in table order.

    Raises DataError when the prompts have different numbers of responses (use `groups` then), and as
    `check_scored`.
    """
    check_scored(scored)
    rows_of_prompt = groups(scored)
    sizes = {prompt_id: len(rows) for prompt_id, rows in rows_of_prompt.items()}
    if len(set(sizes.values())) > 1:
        few, many = min(sizes, key=sizes.get), max(sizes, key=sizes.get)
        raise DataError(
            f"the prompts have between {sizes[few]} and {sizes[many]} responses",
            where=f"prompt_id {few!r} and {many!r}",
            fix="Draw as many for each, or use tables.groups.",
        )
    rows = np.stack(list(rows_of_prompt.values()))
    return list(rows_of_prompt), reward_column(scored)[rows], rows


def finish_reasons(table: Dataset) -> np.ndarray:
    """The column `finish_reason` as text `(rows,)`; "eos" throughout where the table has no such column."""
    if "finish_reason" not in table.column_names:
        return np.full(len(table), "eos")
    return np.array(rows_of(table).values("finish_reason"), dtype=str)


def fingerprint(table: Dataset) -> str:
    """sha256 (hex) of a table's column names and contents in row order.

    The same on every machine and whatever the chunking, the order of the columns, or the width of integer
    and float types. Floats count to the last bit, except that -0.0 equals 0.0 and all NaNs are one; a null
    is neither NaN nor an empty text or list.
    """
    digest = hashlib.sha256()
    arrow = rows_of(table).arrow
    for name in sorted(arrow.column_names):
        digest.update(f"{name!r}:".encode())
        _feed(digest, arrow.column(name).combine_chunks())
    return digest.hexdigest()


def _feed(digest: Any, values: Any) -> None:
    """Hash an Arrow array: kind, length, nulls, then values; lists and structs by their parts."""
    from pyarrow import compute, types

    if types.is_dictionary(values.type):
        values = values.dictionary_decode()
    kind = _arrow_kind(values.type)
    kind = next((word for word in ("list", "struct") if kind.startswith(word)), kind)
    kind = "list" if kind == "messages" else kind
    digest.update(f"{kind} {len(values)} ".encode())
    digest.update(np.packbits(values.is_null().to_numpy(zero_copy_only=False)).tobytes())
    if types.is_struct(values.type):
        for field in sorted(field.name for field in values.type):
            digest.update(f"{field!r}:".encode())
            _feed(digest, values.field(field))
        return
    if kind == "list":
        digest.update(compute.list_value_length(values).fill_null(0).to_numpy().astype("<i8").tobytes())
        _feed(digest, values.flatten())
        return
    digest.update(_value_bytes(kind, values))


def _value_bytes(kind: str, values: Any) -> bytes:
    """The values of a flat array; a null counts as 0 or an empty text."""
    if kind == "text":
        texts = [text.encode() for text in values.fill_null("").to_pylist()]
        return np.array([len(text) for text in texts], dtype="<i8").tobytes() + b"".join(texts)
    if kind == "integer":
        return values.fill_null(0).to_numpy().astype("<i8").tobytes()
    if kind == "number":
        numbers = values.fill_null(0).to_numpy().astype("<f8") + 0.0  # turns -0.0 into 0.0
        numbers[np.isnan(numbers)] = np.nan
        return numbers.tobytes()
    if kind == "nothing":  # nulls alone: their number is all there is to know
        return b""
    # Booleans, dates and the like are few: their JSON will do.
    return b"".join(json.dumps(v, sort_keys=True, default=str).encode() + b";" for v in values.to_pylist())


def _arrow(table: Dataset) -> pyarrow.Table:
    """The table as Arrow, with a `select` or `sort` applied to it carried out."""
    if table._indices is None:  # `with_format` would copy the whole description of the table first
        return table.data.table
    return table.with_format("arrow")[:]


def take(table: Dataset, rows: Sequence[int] | np.ndarray) -> Dataset:
    """The rows in the given order, as a table of its own.

    `Dataset.select` keeps the whole table and a list of rows; adding a column to that shows a progress bar
    on standard error.
    """
    return _own(table, rows_of(table).arrow.take(np.asarray(rows, dtype=np.int64)))


def with_column(table: Dataset, name: str, values: Sequence[Any] | np.ndarray) -> Dataset:
    """The table with a further column, or with the column of that name replaced; one value per row.

    Raises DataError when there are more or fewer values than rows.
    """
    if len(values) != len(table):
        what = f"{len(values)} values for {len(table)} rows"
        raise DataError(what, where=f"column '{name}'", fix="Give one value per row.")
    kept = table.select_columns([other for other in table.column_names if other != name])
    return _own(kept, _arrow(kept)).add_column(name, values)


def stack(tables: Sequence[Dataset]) -> Dataset:
    """The rows of all tables one below the other; a column that a table lacks is null there.

    Raises DataError when a column has different types.
    """
    from datasets import concatenate_datasets

    try:
        return concatenate_datasets([_own(table, _arrow(table)) for table in tables])
    except ValueError as err:
        fix = "Convert the column, or drop it, so that all tables agree."
        raise DataError(f"the tables do not fit together ({err})", where="stack", fix=fix) from err


def _own(like: Dataset, arrow: pyarrow.Table) -> Dataset:
    from datasets import Dataset, DatasetInfo
    from datasets.table import InMemoryTable

    # Without a fingerprint of ours, `datasets` pickles the whole table to make one.
    mark = os.urandom(8).hex()
    return Dataset(InMemoryTable(arrow), info=DatasetInfo(features=like.features), fingerprint=mark)
