"""Arrays and numbers of numpy, tensors of torch: their bytes, with a kind and a shape that are checked."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np

from autograder.grading.inside.frames import MAX_BYTES, MAX_NODES, WireError
from autograder.grading.inside.kinds import LEAVE, TYPES, Kind, add, bounded_shape, only

DTYPE = re.compile(
    r"[<>|=]?(?:[biufc]\d{1,2}|[SUV]\d{1,8}|[mM]8(?:\[\d{0,6}(?:as|fs|ps|ns|us|ms|s|m|h|D|W|M|Y)\])?)"
)
"""Names of numpy's kinds that cross; a structured one is a list of named kinds."""
TENSORS = (
    *("float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool"),
    *("complex64", "complex128"),
)
DEVICE = re.compile(r"(cpu|cuda|mps|meta)(:\d{1,2})?")


# numpy ------------------------------------------------------------------------------------------------------


def dtype_of(description: Any) -> np.dtype:
    """A kind of array from its description, or WireError: a submission's words are not shown.

    >>> dtype_of([["x", "<f8"], ["y", "<i4", [2]]]).names
    ('x', 'y')
    """
    if isinstance(description, str) and DTYPE.fullmatch(description):
        dtype = np.dtype(description)
    elif isinstance(description, list) and 0 < len(description) <= 100:
        dtype = np.dtype([_field(field) for field in description])
    else:
        raise WireError("an array of no known kind")
    if dtype.itemsize > MAX_BYTES:
        raise WireError("an array that is too large")
    return dtype


def _field(field: Any) -> tuple[Any, ...]:
    name, kind, *shape = field
    if len(only(name, str)) > 100:
        raise WireError("an array of no known kind")
    inner = dtype_of(kind)
    return (name, inner, *(bounded_shape(dimensions, inner.itemsize, MAX_BYTES) for dimensions in shape[:1]))


def description_of(dtype: np.dtype) -> Any:
    """What `dtype_of` makes the same kind of. Raises WireError where there is no such description."""
    if dtype.names is None:
        description: Any = dtype.str
    else:
        description = [_described_field(name, dtype.fields[name][0]) for name in dtype.names]
    if dtype_of(description) != dtype or dtype.metadata:
        raise WireError("an array of a kind that does not cross")
    return description


def _described_field(name: str, dtype: np.dtype) -> list[Any]:
    if dtype.subdtype is None:
        return [name, description_of(dtype)]
    base, shape = dtype.subdtype
    return [name, description_of(base), list(shape)]


def array_node(to: Any, value: Any, depth: int) -> Any:
    """Numbers and texts as bytes, objects one by one; a single number as itself."""
    array, single = np.asarray(value), isinstance(value, np.generic)
    if (
        single
        and array.dtype.kind in "iub"
        or (array.dtype.str in ("<f8", "<f4") and single and np.isfinite(value))
    ):
        return {"N": value.item(), "dt": array.dtype.str}
    node = {"sh": list(array.shape), "x": single}
    if array.dtype.kind == "O":
        return node | {"A": [to.node(item, depth) for item in array.ravel().tolist()], "dt": "|O"}
    return node | {"a": to.blob(array.tobytes()), "dt": description_of(array.dtype)}


def decode_array(of: Any, node: dict[str, Any], depth: int) -> Any:
    """The array of a node's bytes."""
    kind, raw = dtype_of(node["dt"]), of.blob(node["a"])
    shape = bounded_shape(node["sh"], kind.itemsize, MAX_BYTES)
    if len(raw) != math.prod(shape) * kind.itemsize:
        raise WireError("an array whose bytes do not fit its shape")
    if not raw:
        array = np.zeros(shape, kind)
    elif kind.kind == "b":  # a truth value of 2 would count twice
        array = np.frombuffer(raw, np.uint8).astype(bool).reshape(shape)
    else:
        _check_texts(raw, kind)
        array = np.frombuffer(raw, kind).reshape(shape).copy()
    return array[()] if node.get("x") and not array.shape else array


def _check_texts(raw: bytes, kind: np.dtype) -> None:
    """Texts in an array hold letters that there are; a text within a record is checked when it is read."""
    if kind.kind == "U" and np.frombuffer(raw, kind.byteorder.replace("=", "<") + "u4").max() > 0x10FFFF:
        raise WireError("a text of no letters")


def decode_objects(of: Any, node: dict[str, Any], depth: int) -> Any:
    """An array of objects."""
    items = of.items(node["A"], depth)
    shape = bounded_shape(node["sh"], 8, MAX_BYTES)
    if len(items) != math.prod(shape) or node["dt"] != "|O":
        raise WireError("an array whose parts do not fit its shape")
    array = np.empty(len(items), dtype=object)
    for index, item in enumerate(items):
        array[index] = item
    return array.reshape(shape)


def decode_number(of: Any, node: dict[str, Any], depth: int) -> Any:
    """A single number of numpy's."""
    kind = dtype_of(node["dt"])
    if kind.kind not in "biuf" or type(node["N"]) not in (bool, int, float):
        raise WireError("a number of no known kind")
    return kind.type(node["N"])


def _masked(value: Any) -> Any:
    data, mask, fill = value
    if type(data) is not np.ndarray or type(mask) not in (bool, np.bool_, np.ndarray):
        raise WireError("a masked array of no data")
    return np.ma.MaskedArray(data, mask=mask, fill_value=fill)


def _refused(words: str) -> Any:
    def pack(value: Any) -> Any:
        raise WireError(words)

    return pack


def add_numpy() -> None:
    """Have numpy's kinds known."""
    TYPES.update({kind.__name__: kind for kind in np.sctypeDict.values() if kind.__module__ == "numpy"})
    add(
        Kind("numpy.dtype", np.dtype, description_of, dtype_of),
        Kind("numpy.ma", np.ma.MaskedArray, lambda v: (v.data, v.mask, v.fill_value), _masked, 50),
        Kind("numpy.masked", type(np.ma.masked), lambda v: None, lambda v: np.ma.masked),
        Kind("numpy.matrix", np.matrix, np.asarray, lambda v: only(v, np.ndarray).view(np.matrix)),
        Kind(
            "numpy.recarray", np.recarray, _refused("a numpy.recarray does not cross"), _refused("a recarray")
        ),
        Kind("numpy.record", np.record, _refused("a numpy.record does not cross"), _refused("a record")),
    )


# torch ------------------------------------------------------------------------------------------------------


def tensor_of(raw: bytes, name: str, shape: tuple[int, ...]) -> Any:
    """The tensor with these bytes. Raises WireError where they do not fit."""
    import torch

    if name not in TENSORS:
        raise WireError("a tensor of an unknown kind")
    kind = getattr(torch, name)
    shape = bounded_shape(shape, kind.itemsize, MAX_BYTES)
    if len(raw) != math.prod(shape) * kind.itemsize:
        raise WireError("a tensor whose bytes do not fit its shape")
    if not raw:
        return torch.empty(shape, dtype=kind)
    if name == "bool":  # a truth value of 2 would count twice
        return torch.frombuffer(bytearray(raw), dtype=torch.uint8).reshape(shape) != 0
    return torch.frombuffer(bytearray(raw), dtype=kind).reshape(shape)


def bytes_of(tensor: Any) -> tuple[bytes, str, tuple[int, ...]]:
    """What `tensor_of` makes the tensor of again; its gradient is left behind."""
    import torch

    plain = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous()
    # An empty tensor may have a stride of 0, and no view as bytes.
    raw = plain.reshape(-1).view(torch.uint8).numpy().tobytes() if plain.numel() else b""
    return raw, str(plain.dtype).removeprefix("torch."), tuple(plain.shape)


def tensor_node(to: Any, value: Any, depth: int = 0) -> Any:
    """A tensor by value; one that carries a gradient also by reference, so that it can be followed."""
    import torch

    kind = str(value.dtype).removeprefix("torch.")
    if value.layout is not torch.strided or kind not in TENSORS or value.device.type == "meta":
        raise WireError("a sparse, quantised or empty tensor does not cross")
    raw, name, shape = bytes_of(value)
    node = {"T": to.blob(raw), "dt": name, "sh": list(shape)}
    if isinstance(value, torch.nn.Parameter):
        return node | {"p": value.requires_grad}
    return node | {"g": to.keep(value)["o"]} if value.requires_grad else node


def decode_tensor(of: Any, node: dict[str, Any], depth: int) -> Any:
    """The tensor of a node."""
    import torch

    tensor = tensor_of(of.blob(node["T"]), node["dt"], node["sh"])
    if "p" in node:
        return torch.nn.Parameter(tensor, requires_grad=node["p"] is True)
    return tensor if node.get("g") is None else of.refer({"tensor": tensor, "g": node["g"]}, of)


def _torch_kind(name: Any) -> Any:
    import torch

    if only(name, str) not in TENSORS:
        raise WireError("a tensor of an unknown kind")
    return getattr(torch, name)


def _torch_kind_name(kind: Any) -> Any:
    name = str(kind).removeprefix("torch.")
    return name if name in TENSORS else LEAVE


def _device(name: Any) -> Any:
    import torch

    if not DEVICE.fullmatch(only(name, str)):
        raise WireError("a device of no known name")
    return torch.device(name)


def _size(value: Any) -> Any:
    import torch

    return torch.Size(only(n, int) for n in only(value, list)[:MAX_NODES])


def add_torch() -> None:
    """Have torch's kinds known."""
    import torch

    add(
        Kind("torch.Size", torch.Size, list, _size),
        Kind("torch.dtype", torch.dtype, _torch_kind_name, _torch_kind),
        Kind("torch.device", torch.device, str, _device),
    )
