"""Tables and columns of pandas and datasets: their columns, kinds and labels, each checked.

It is imported where one of the two is; datasets imports pandas itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from autograder.grading.inside.frames import WireError
from autograder.grading.inside.kinds import ZONE, Kind, add, only, parts

COLUMN, TABLE = 500, 2500
"""Plain parts that making a column, a table costs as much time as."""
ARROW = re.compile(
    r"null|bool|u?int(?:8|16|32|64)|float(?:16|32|64)|(?:large_)?(?:string|binary)|date(?:32|64)"
    r"|(?:time(?:32|64)|timestamp|duration)\[(?:s|ms|us|ns)\]"
)
"""Kinds of the values in a column of a Dataset."""
FORMATS = (None, "numpy", "torch", "pandas")


# pandas -----------------------------------------------------------------------------------------------------


def _column(values: Any) -> Any:
    """The values of a column or index: an array of numpy's, or (kind, what it is made of)."""
    kind = values.dtype
    if isinstance(kind, np.dtype):
        return values.to_numpy()
    if isinstance(kind, pd.CategoricalDtype):
        codes = values.codes if hasattr(values, "codes") else values.cat.codes.to_numpy()
        return "category", np.asarray(codes), kind.categories, bool(kind.ordered)
    if isinstance(kind, pd.DatetimeTZDtype):
        moments = values.array.tz_convert("UTC").tz_localize(None)
        return "zone", np.asarray(moments), _zone_name(kind.tz)
    if isinstance(kind, pd.StringDtype):
        return "text", values.to_numpy(dtype=object), kind.storage, kind.na_value is pd.NA
    array = values.array
    if type(array) in (pd.arrays.IntegerArray, pd.arrays.FloatingArray, pd.arrays.BooleanArray):
        return "holes", np.array(array._data), np.array(array._mask)
    raise WireError("a pandas column of a kind that does not cross")


def _zone_name(zone: Any) -> str:
    name = str(zone)
    if not ZONE.fullmatch(name) or name.startswith("dateutil"):
        raise WireError("a time zone that does not cross")
    return name


def _of_column(packed: Any) -> Any:
    """The values again."""
    if type(packed) is np.ndarray:
        return packed
    made: dict[Any, Callable[..., Any]] = {
        "category": _categories,
        "zone": _zoned,
        "text": _texts,
        "holes": _holes,
    }
    name, *rest = only(packed, tuple)
    if name not in made:
        raise WireError("a column of no known kind")
    return made[name](*rest)


def _categories(codes: Any, categories: Any, ordered: Any) -> Any:
    return pd.Categorical.from_codes(only(codes, np.ndarray), categories, ordered=only(ordered, bool))


def _zoned(naive: Any, zone: Any) -> Any:
    return pd.DatetimeIndex(only(naive, np.ndarray)).tz_localize("UTC").tz_convert(_zone_name(zone)).array


def _texts(values: Any, storage: Any, missing: Any) -> Any:
    kind = pd.StringDtype(only(storage, str), na_value=pd.NA if missing else np.nan)
    return pd.array(only(values, np.ndarray), dtype=kind)


def _holes(data: Any, mask: Any) -> Any:
    makers = {"b": pd.arrays.BooleanArray, "f": pd.arrays.FloatingArray}
    return makers.get(only(data, np.ndarray).dtype.kind, pd.arrays.IntegerArray)(data, only(mask, np.ndarray))


def _index(values: Any) -> Any:
    if isinstance(values, pd.RangeIndex):
        return "range", (values.start, values.stop, values.step), values.name
    if isinstance(values, pd.MultiIndex):
        levels = [_index(values.get_level_values(k)) for k in range(values.nlevels)]
        return "levels", levels, list(values.names)
    every = getattr(values, "freqstr", None)
    return "index", _column(values), values.name, every


def _of_index(packed: Any) -> Any:
    form, *rest = only(packed, tuple)
    if form == "range":
        start, stop, step = parts(rest[0], int, int, int)
        return pd.RangeIndex(start, stop, step, name=rest[1])
    if form == "levels":
        return pd.MultiIndex.from_arrays([_of_index(level) for level in only(rest[0], list)], names=rest[1])
    values, name, every = rest
    made = pd.Index(_of_column(values), name=name, copy=False, tupleize_cols=False)
    if every is not None and len(only(every, str)) < 20:
        made = type(made)(made, freq=every)
    return made


def _of_series(packed: Any) -> Any:
    values, index, name = only(packed, tuple)
    return pd.Series(_of_column(values), index=index, name=name)


def _of_frame(packed: Any) -> Any:
    columns, names, index = only(packed, tuple)
    table = pd.DataFrame(dict(enumerate(map(_of_column, only(columns, list)))), index=index)
    table.columns = names
    return table


def _frame(table: Any) -> Any:
    return [_column(table.iloc[:, k]) for k in range(table.shape[1])], table.columns, table.index


def _stamp(value: Any) -> Any:
    naive = value if value.tz is None else value.tz_convert("UTC").tz_localize(None)
    return naive.to_datetime64(), None if value.tz is None else _zone_name(value.tz)


def _of_stamp(packed: Any) -> Any:
    moment, zone = parts(packed, np.datetime64, (str, type(None)))
    stamp = pd.Timestamp(moment)
    return stamp if zone is None else stamp.tz_localize("UTC").tz_convert(_zone_name(zone))


def add_pandas() -> None:
    """Have the kinds of pandas known."""
    add(
        Kind("pandas.DataFrame", pd.DataFrame, _frame, _of_frame, TABLE),
        Kind("pandas.Series", pd.Series, lambda v: (_column(v), v.index, v.name), _of_series, COLUMN),
        Kind("pandas.Index", pd.Index, _index, _of_index, COLUMN),
        Kind("pandas.Categorical", pd.Categorical, _column, _of_column, COLUMN),
        Kind(
            "pandas.array",
            pd.api.extensions.ExtensionArray,
            lambda v: _column(pd.Series(v)),
            _of_column,
            COLUMN,
        ),
        Kind("pandas.Timestamp", pd.Timestamp, _stamp, _of_stamp),
        Kind(
            "pandas.Timedelta",
            pd.Timedelta,
            lambda v: v.to_timedelta64(),
            lambda v: pd.Timedelta(only(v, np.timedelta64)),
        ),
        Kind("pandas.NaT", type(pd.NaT), lambda v: None, lambda v: pd.NaT),
        Kind("pandas.NA", type(pd.NA), lambda v: None, lambda v: pd.NA),
    )


# datasets ---------------------------------------------------------------------------------------------------


def _feature(feature: Any) -> Any:
    """The kind of a column, in plain words. Raises WireError for pictures, sound and the like."""
    import datasets

    if type(feature) is datasets.Value:
        return ["value", feature.dtype]
    if type(feature) is datasets.ClassLabel:
        return ["label", list(feature.names)]
    if type(feature) in (datasets.List, datasets.LargeList):
        return [type(feature).__name__, _feature(feature.feature), getattr(feature, "length", -1)]
    if isinstance(feature, Mapping):
        return ["fields", [[name, _feature(inner)] for name, inner in feature.items()]]
    raise WireError("a Dataset with a column of a kind that does not cross")


def _of_feature(packed: Any) -> Any:
    import datasets

    form, *rest = only(packed, list)
    if form == "value" and ARROW.fullmatch(only(rest[0], str)):
        return datasets.Value(rest[0])
    if form == "label":
        return datasets.ClassLabel(names=[only(name, str) for name in rest[0]])
    if form == "List":
        return datasets.List(_of_feature(rest[0]), length=only(rest[1], int))
    if form == "LargeList":
        return datasets.LargeList(_of_feature(rest[0]))
    if form == "fields":
        return {only(name, str): _of_feature(inner) for name, inner in rest[0]}
    raise WireError("a Dataset with a column of no known kind")


def _dataset(table: Any) -> Any:
    plain = table.with_format(None)
    columns = [[name, plain[name][:]] for name in plain.column_names]
    shown = table.format
    chosen = None if sorted(shown["columns"]) == sorted(plain.column_names) else shown["columns"]
    if shown["format_kwargs"] or shown["output_all_columns"]:
        raise WireError("a Dataset with a format of its own does not cross")
    return columns, _feature(table.features), shown["type"], chosen


def _of_dataset(packed: Any) -> Any:
    import datasets

    columns, features, form, chosen = parts(packed, list, list, (str, type(None)), (list, type(None)))
    if form not in FORMATS:
        raise WireError("a Dataset of no known format")
    made = datasets.Dataset.from_dict(
        {only(name, str): only(values, list) for name, values in columns},
        features=datasets.Features(_of_feature(features)),
    )
    return made.with_format(form, columns=chosen) if form or chosen else made


def add_datasets() -> None:
    """Have the kinds of datasets known."""
    import datasets

    add(
        Kind("datasets.Dataset", datasets.Dataset, _dataset, _of_dataset, TABLE),
        Kind(
            "datasets.DatasetDict", datasets.DatasetDict, dict, lambda v: datasets.DatasetDict(only(v, dict))
        ),
    )
