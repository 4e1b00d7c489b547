"""What of a cell's outputs is kept: plain text and pictures, up to a limit. Used on both sides of the pipe.

A learner's process applies it so as not to send what would be thrown away; the grader applies it again,
because a learner's process can be made to send anything.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Mapping
from typing import Any

OUTPUTS = 60
"""Outputs that one cell may leave; streams that follow each other are one."""
PNG = b"\x89PNG\r\n\x1a\n"
PIXELS = 20_000_000
"""Of a picture: a browser needs four bytes of memory for each, however small the file is."""
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
ANSI = re.compile(r"\x1b\[[0-9;]{0,20}[A-Za-z]|\x1b")
CUT = "\n[... the rest was left out]"
UNKNOWN = "[left out: an output that is neither text nor a picture in PNG]"
LARGE = "[left out: a picture that is no PNG, or too large]"


def clean(text: Any, limit: int) -> str:
    r"""Text without control and direction marks, colour codes or lone surrogates, cut at `limit` characters.

    >>> clean("a\x1b[31mb\x00", 10), clean("abc", 2)
    ('ab', 'ab\n[... the rest was left out]')
    """
    whole = (
        text if isinstance(text, str) else "".join(map(str, text)) if isinstance(text, list) else str(text)
    )
    cut = whole[: limit + 1]
    cut = CONTROL.sub("", ANSI.sub("", cut)).encode("utf-8", "replace").decode("utf-8")
    return cut[:limit] + (CUT if len(whole) > limit else "")


def picture(content: Any, limit: int) -> str:
    """Base64 of a PNG of at most `limit` bytes and PIXELS, or "".

    >>> picture("no picture", 100)
    ''
    """
    if not isinstance(content, str) or len(content) > 4 * limit // 3 + 4:
        return ""
    try:
        raw = base64.b64decode(content, validate=False)
    except (binascii.Error, ValueError):
        return ""
    width, height = (int.from_bytes(raw[k : k + 4], "big") for k in (16, 20))
    fits = raw.startswith(PNG) and raw[12:16] == b"IHDR" and 0 < width * height <= PIXELS
    return base64.b64encode(raw).decode() if fits else ""


def kept(
    outputs: Iterable[Any], text_limit: int, image_limit: int, most: int = OUTPUTS
) -> list[dict[str, Any]]:
    """Outputs in nbformat's form, made anew from those of a submission: streams, errors, plain text and PNGs.

    text_limit: characters of all text together. image_limit: bytes of all pictures together. most: outputs.
    """
    shown: list[dict[str, Any]] = []
    for output in outputs:
        if len(shown) >= min(most, OUTPUTS) or text_limit <= 0:
            shown.append(_stream("stdout", CUT.strip()))
            break
        new = _one(output, text_limit, image_limit) if isinstance(output, Mapping) else None
        if new is None:
            continue
        text, image = size([new])
        text_limit, image_limit = text_limit - text, image_limit - image
        _add(shown, new)
    return shown


def size(outputs: Iterable[Mapping[str, Any]]) -> tuple[int, int]:
    """Characters of text and of pictures in outputs.

    >>> size([{"text": "ab"}, {"data": {"image/png": "AAAA", "text/plain": "c"}}])
    (3, 4)
    """
    text = image = 0
    for output in outputs:
        text += sum(map(len, _texts(output)))
        image += len(output.get("data", {}).get("image/png", ""))
    return text, image


def _texts(output: Mapping[str, Any]) -> list[str]:
    plain = output.get("data", {}).get("text/plain", "")
    return [output.get("text", ""), plain, output.get("evalue", ""), *output.get("traceback", [])]


def _add(outputs: list[dict[str, Any]], new: dict[str, Any]) -> None:
    last = outputs[-1] if outputs else {}
    if new["output_type"] == "stream" == last.get("output_type") and new["name"] == last["name"]:
        last["text"] += new["text"]
    else:
        outputs.append(new)


def _stream(name: str, text: str) -> dict[str, Any]:
    return {"output_type": "stream", "name": name, "text": text}


def _one(output: Mapping[str, Any], text: int, image: int) -> dict[str, Any] | None:
    kind = output.get("output_type")
    if kind == "stream":
        return _stream(
            "stderr" if output.get("name") == "stderr" else "stdout", clean(output.get("text"), text)
        )
    if kind == "error":
        lines = output.get("traceback")
        trace = "\n".join(map(str, lines[:200])) if isinstance(lines, list) else ""
        name, value = clean(output.get("ename"), 200), clean(output.get("evalue"), min(text, 2000))
        return {"output_type": "error", "ename": name, "evalue": value, "traceback": [clean(trace, text)]}
    if kind not in ("display_data", "execute_result") or not isinstance(output.get("data"), Mapping):
        return None
    data, shown = output["data"], {}
    if "text/plain" in data:
        shown["text/plain"] = clean(data["text/plain"], text)
    if png := picture(data.get("image/png"), image):
        shown["image/png"] = png
    elif "image/png" in data:
        shown["text/plain"] = LARGE
    shown = shown or {"text/plain": UNKNOWN}
    new: dict[str, Any] = {"output_type": kind, "data": shown, "metadata": {}}
    return new | {"execution_count": None} if kind == "execute_result" else new
