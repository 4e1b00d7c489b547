"""The pipe between a learner's process and the grader's: exact values, and nothing forged."""

import json
import math
import os
import threading
from pathlib import PurePosixPath

import numpy as np
import pytest
import torch

from autograder.grading.inside.frames import HEADER, Channel, Gone, Late, WireError, parsed
from autograder.grading.inside.wire import Decoder, Encoder


def refuse(value, *_):
    raise WireError("a reference")


def crossed(value):
    """A value after it went through JSON and bytes."""
    to = Encoder(refuse)
    text = json.dumps(to.node(value)).encode()
    return Decoder(to.blobs, refuse).value(parsed(text))


PLAIN = [
    None,
    True,
    0,
    -(2**70),
    1.5,
    "ü",
    b"\x00",
    (1, (2,)),
    {1, 2},
    frozenset({3}),
    {"a": {1: None}},
    2j,
    range(3),
    ...,
    list(range(100)),
    [float(k) for k in range(100)],
    [[k] * k for k in range(40)],
    [True] * 40,
    [1, 2.0] * 20,
    PurePosixPath("a/b"),
    [[], *[[1]] * 40],
]


@pytest.mark.parametrize("value", PLAIN, ids=lambda v: repr(v)[:30])
def test_plain_values_come_back_equal_and_of_their_exact_type(value):
    found = crossed(value)
    assert found == value and type(found) is type(value)
    if isinstance(value, list):
        assert [type(x) for x in found] == [type(x) for x in value]


def test_nan_and_infinity_come_back():
    found = crossed([math.nan, math.inf, -math.inf])
    assert math.isnan(found[0]) and found[1:] == [math.inf, -math.inf]
    assert np.isnan(crossed(np.float32("nan")))


ARRAYS = [
    np.arange(6.0).reshape(2, 3),
    np.float32(1.5),
    np.int64(3),
    np.bool_(True),
    np.array(["a", "bc"]),
    np.zeros((0, 4)),
]


@pytest.mark.parametrize("value", ARRAYS, ids=repr)
def test_arrays_and_numpy_numbers_keep_kind_shape_and_content(value):
    found = crossed(value)
    assert np.array_equal(found, value) and found.dtype == value.dtype and type(found) is type(value)


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16, torch.int64, torch.bool])
def test_tensors_keep_kind_shape_and_content(kind):
    value = torch.ones(2, 3).to(kind)
    found = crossed(value)
    assert torch.equal(found, value) and found.dtype == kind


def test_what_is_shared_stays_shared_and_a_learners_subclass_becomes_what_it_derives_from():
    row = {"a": 1}
    found = crossed([row, row, {"a": 1}])
    assert found[0] is found[1] and found[0] is not found[2]

    class Sly(int):
        def __eq__(self, other):
            return True

        __hash__ = None

    assert type(crossed(Sly(3))) is int and crossed(Sly(3)) != 4


def endless():
    found = []
    found.append(found)
    return found


def deep(levels):
    found = []
    for _ in range(levels):
        found = [found]
    return found


@pytest.mark.parametrize(
    "make", [lambda: deep(1000), lambda: 10**5000, lambda: [str(k) for k in range(1_100_000)]]
)
def test_what_is_too_deep_or_too_large_is_refused_by_the_writer(make):
    with pytest.raises(WireError):
        Encoder(refuse).node(make())


FORGED = [
    {"a": 0, "dt": "O", "sh": [1]},
    {"a": 0, "dt": "<f8", "sh": [10**12]},
    {"a": 5, "dt": "<f8", "sh": [1]},
    {"a": 0, "dt": "<f8", "sh": [-1]},
    {"a": 0, "dt": "<f8", "sh": "x"},
    {"T": 0, "dt": "qint8", "sh": [1]},
    {"T": 0, "dt": "float32", "sh": [3]},
    {"d": [[[1], 2]]},
    {"d": 3},
    {"d": [[1]]},
    {"s": [[1]]},
    {"=": 0},
    {"=": "x"},
    {"l": 0, "dt": "O"},
    {"R": 0, "n": 0, "dt": "<i8"},
    {"N": 1, "dt": "O"},
    {"N": "x", "dt": "<i8"},
    {"r": [1, 2, 0]},
    {"b": -1},
    {"b": True},
    {"c": [1]},
    {"o": 1, "k": "object"},
    {"A": [1], "dt": "<U1", "sh": [1]},
    [{"=": 0}],
    {"a": 0, "dt": "<f8" * 1000, "sh": [1]},
    {"unknown": 1},
]


@pytest.mark.parametrize("node", FORGED, ids=lambda n: json.dumps(n)[:40])
def test_a_forged_value_is_a_wire_error_and_nothing_else(node):
    with pytest.raises(WireError):
        Decoder([b"x" * 8], refuse).value(node)


def test_a_value_that_unfolds_without_end_is_refused_quickly():
    node = [0]
    to = Encoder(refuse)
    value = [0]
    for _ in range(35):
        value = [value, value]
    node = to.node(value)
    with pytest.raises(WireError):
        Decoder([], refuse).value(node)


@pytest.fixture
def pipe():
    reader, writer = os.pipe()
    yield reader, writer
    for end in (reader, writer):
        try:
            os.close(end)
        except OSError:
            pass


@pytest.mark.parametrize(
    "content",
    [
        HEADER.pack(2**32 - 1, 0),
        HEADER.pack(2, 65535),
        HEADER.pack(2, 1) + b"\xff" * 8,
        HEADER.pack(3, 0) + b"{{{",
        HEADER.pack(60_000, 0) + b"[" * 60_000,
        HEADER.pack(4, 0) + b"\xff\xfe\x00\x01",
    ],
)
def test_a_forged_frame_is_refused_before_it_costs_memory(pipe, content):
    threading.Thread(target=lambda: os.write(pipe[1], content), daemon=True).start()
    with pytest.raises(WireError):
        Channel(*pipe).receive(5)


def test_half_a_frame_is_late_and_a_closed_pipe_is_gone(pipe):
    os.write(pipe[1], HEADER.pack(100, 0) + b"{")
    with pytest.raises(Late):
        Channel(*pipe).receive(0.2)
    os.close(pipe[1])
    with pytest.raises(Gone):
        Channel(*pipe).receive(5)
