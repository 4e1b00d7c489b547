"""Frames over a pipe: a header of JSON and raw byte strings. What is too large, or no frame, is a WireError.

Sentences here are fixed: a learner's process chooses what it sends, and no part of that may reach feedback.
"""

from __future__ import annotations

import json
import os
import re
import select
import struct
import time
from collections.abc import Sequence
from typing import Any

from rslib.errors import RSError

HEADER = struct.Struct(">IH")
LENGTH = struct.Struct(">Q")
HELLO = b"+"
"""The first byte that a learner's process sends, before it runs anything."""
MAX_HEADER = 24 << 20
"""Bytes of JSON in one frame: a list costs the reader about thirty times what it costs the writer."""
MAX_BYTES = 96 << 20
"""Raw bytes in one frame."""
MAX_BLOBS = 20_000
MAX_DEPTH = 40
MAX_NODES = 1_000_000


class WireError(RSError):
    """A frame or a value that cannot cross."""


class Gone(WireError):
    """The other side closed the pipe."""


class Late(WireError):
    """No whole frame came in time."""


class Channel:
    """Frames over a pair of file descriptors: a header of JSON, then raw byte strings."""

    def __init__(self, reader: int, writer: int, *, limited: bool = True) -> None:
        self.reader, self.writer, self.limited = reader, writer, limited

    def send(self, content: Any, blobs: Sequence[bytes] = (), seconds: float | None = None) -> None:
        """Write one frame. Raises Gone if nobody reads, Late if nobody reads within `seconds`."""
        text = json.dumps(content).encode()
        lengths = b"".join(LENGTH.pack(len(blob)) for blob in blobs)
        deadline = None if seconds is None else time.monotonic() + seconds
        for part in (HEADER.pack(len(text), len(blobs)) + lengths + text, *blobs):
            self._write(memoryview(part), deadline)

    def _write(self, part: memoryview, deadline: float | None) -> None:
        while part:
            self._wait(self.writer, deadline, select.POLLOUT)
            try:
                part = part[os.write(self.writer, part[: 1 << 16]) :]
            except OSError as error:
                raise Gone("the pipe was closed") from error

    def receive(self, seconds: float | None = None) -> tuple[Any, list[bytes]]:
        """The next frame: its JSON and its raw parts. Raises Gone, Late, or WireError for a forged one."""
        deadline = None if seconds is None else time.monotonic() + seconds
        size, count = HEADER.unpack(self._read(HEADER.size, deadline))
        if self.limited and (size > MAX_HEADER or count > MAX_BLOBS):
            raise WireError("a message that is too large")
        lengths = struct.unpack(f">{count}Q", self._read(count * LENGTH.size, deadline))
        if self.limited and sum(lengths) > MAX_BYTES:
            raise WireError("a message that is too large")
        text = self._read(size, deadline)
        blobs = [self._read(length, deadline) for length in lengths]
        return parsed(text), blobs

    def _read(self, size: int, deadline: float | None) -> bytes:
        parts = []
        while size:
            self._wait(self.reader, deadline, select.POLLIN)
            try:
                part = os.read(self.reader, min(size, 1 << 20))
            except OSError as error:
                raise Gone("the pipe was closed") from error
            if not part:
                raise Gone("the pipe was closed")
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def _wait(self, descriptor: int, deadline: float | None, event: int) -> None:
        left = None if deadline is None else deadline - time.monotonic()
        poll = select.poll()
        poll.register(descriptor, event)
        if left is not None and (left <= 0 or not poll.poll(1000 * left)):
            raise Late("no whole message came in time")
        if left is None:
            poll.poll()


STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)


def parsed(text: bytes) -> Any:
    """Untrusted JSON, or WireError; two million nodes at the most.

    >>> parsed(b'{"a": [1]}')
    {'a': [1]}
    """
    if _marks(text) > 2 * MAX_NODES and _marks(STRING.sub(b"", text)) > 2 * MAX_NODES:
        raise WireError("a message of too many parts")
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise WireError("a message that is no JSON") from error


def _marks(text: bytes) -> int:
    return sum(map(text.count, (b",", b"[", b"{")))
