"""Numbers, intervals and tables as text: for the terminal and for HTML."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence


def signed(value: float, sign: str = "+") -> str:
    """A number with two decimals and its sign, never "-0.00".

    >>> signed(2.314), signed(-0.001), signed(1.5, "")
    ('+2.31', '+0.00', '1.50')
    """
    return f"{round(value, 2) + 0.0:{sign}.2f}"


def ends_text(interval: Mapping[str, float | None], sign: str = "") -> str:
    """The ends of an interval.

    >>> ends_text({"low": 1.0, "high": 2.0}), ends_text({"low": None, "high": None})
    ('[1.00, 2.00]', '[no interval]')
    """
    if interval["low"] is None:
        return "[no interval]"
    return f"[{signed(interval['low'], sign)}, {signed(interval['high'], sign)}]"


def interval_text(interval: Mapping[str, float] | None) -> str:
    """An interval in a table.

    >>> interval_text({"mean": 1.638, "low": 1.45, "high": 1.832}), interval_text(None)
    ('1.64 [1.45, 1.83]', '-')
    """
    if interval is None:
        return "-"
    return f"{signed(interval['mean'], '')} {ends_text(interval)}"


def aligned_table(rows: Sequence[Sequence[str]]) -> str:
    """A text table for a terminal, its columns padded with spaces.

    >>> print(aligned_table([["", "n"], ["pool", "16"]]))
          n
    pool  16
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def html_table(rows: Sequence[Sequence[str]], title: str) -> str:
    """An HTML table with caption and scopes, every cell escaped; first row and first column are headers.

    It has no colours of its own, so that it takes the reader's theme.

    >>> "&lt;b&gt;" in html_table([["", "x"], ["<b>", "1"]], "one row")
    True
    """
    cells = [[_unbroken(html.escape(cell)) for cell in row] for row in rows]
    head = "".join(f'<th scope="col">{cell}</th>' for cell in cells[0])
    body = "\n".join(
        f'<tr><th scope="row">{row[0]}</th>' + "".join(f"<td>{cell}</td>" for cell in row[1:]) + "</tr>"
        for row in cells[1:]
    )
    return (
        f"<table><caption>{html.escape(title)}</caption>\n"
        f"<thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table>"
    )


def _unbroken(cell: str) -> str:
    """Keep an interval on one line where a narrow page wraps its cell."""
    return re.sub(r"\[\S+ \S+\]$", r'<span style="white-space: nowrap">\g<0></span>', cell)
