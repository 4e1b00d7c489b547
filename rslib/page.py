"""The run report for readers: one self-contained HTML page, and the text `make demo` prints.

    write_html(report, path), terminal_text(report)

Everything is made from the Report alone, so a page can be made again from its report.json, in page.html.
What a model wrote is escaped everywhere: as HTML in the page, control characters in the terminal. The page
runs no script and loads nothing, as its policy says: that would stay text even if an escape were missing.
"""

from __future__ import annotations

import base64
import html
import os
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

from rslib import plots
from rslib.cache import atomic_write
from rslib.errors import DataError
from rslib.formatting import METRICS, arm_label, html_table, interval_text, printable, signed
from rslib.reporting import Report, caption, table_rows

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def write_html(report: Report, path: str | os.PathLike[str]) -> Path:
    """Write the report as one HTML page without outside files, whole or not at all; returns the path.

    Raises StoreError when the folder cannot be written.
    """
    atomic_write(Path(path), _html_page(report))
    return Path(path)


def _html_page(report: Report) -> str:
    """The page's text: claims; per round table, figures, selection, transcripts; glossary; settings."""
    sections = [part for entry in report.rounds for part in _round_parts(entry)]
    if any(arm["kl"] is not None for entry in report.rounds for arm in entry["arms"].values()):
        sections += ["<h2>Distance and gain</h2>", _figure(plots.gold_against_kl, report.rounds)]
    claims = "".join(f"<li>{html.escape(text)}</li>" for text in report.headlines())
    body = [
        "<h1>Did keeping the best responses make the policy better?</h1>",
        f'<ul class="claims">{claims}</ul>',
        *sections,
        _glossary(),
        _facts("Settings", report.settings),
    ]
    frame = Template(Path(__file__).with_suffix(".html").read_text(encoding="utf-8"))
    return frame.substitute(body="\n".join(part for part in body if part))


def _round_parts(entry: Mapping[str, Any]) -> Iterator[str]:
    """The parts of one round, in reading order; what a round does not have is left out."""
    yield f"<h2>Round {entry['round']}</h2>"
    yield _table(table_rows(entry), caption(entry))
    yield _figure(plots.arms_figure, entry)
    yield f"<h3>Before and after, round {entry['round']}</h3>"
    yield (
        "<p>Prompts chosen by a fixed rule before any response was read: the first of each kind, then by "
        "seed. Always response 0, never the best one.</p>"
    )
    yield from (_transcript(entry, shown) for shown in entry["transcripts"])
    yield f"<h3>What selection did, round {entry['round']}</h3>" if entry["selection"] else ""
    if entry["best_of_n"]:
        yield _figure(plots.best_of_n_curve, entry["best_of_n"])
    if entry["histogram"]:
        yield _figure(plots.reward_histogram, entry["histogram"])
    if entry["selection"]:
        yield _figure(plots.selection_figure, entry["selection"])
        yield _table(_selection_rows(entry["selection"]), "Chosen and other responses: mean [95 % interval]")
    if entry["panel"]:
        yield _table(_panel_rows(entry), "The signature of the selection, over the whole pool")
    yield _facts(f"Provenance of round {entry['round']}", entry["provenance"])


def _table(rows: Sequence[Sequence[str]], title: str) -> str:
    """A table that scrolls by itself where the page is narrower, by keyboard too."""
    region = f'role="region" tabindex="0" aria-label="{html.escape(title)}"'
    return f'<div class="wide" {region}>{html_table(rows, title)}</div>'


def _selection_rows(selection: Mapping[str, Any]) -> list[list[str]]:
    metrics = {"reward": "reward", "length": "length (tokens)", "truncation_rate": "truncation rate"}
    rows = [["", "rows", *metrics.values()]]
    for name in plots.ROW_LOOKS:
        if name in selection["rows"]:
            group = selection["rows"][name]
            rows.append([name, f"{group['rows']:,}", *(interval_text(group[metric]) for metric in metrics)])
    return rows


def _panel_rows(entry: Mapping[str, Any]) -> list[list[str]]:
    arms = [name for name in entry["order"] if name in entry["panel"]]
    rows = [["", *(arm_label(name, entry["n"]) for name in arms)]]
    for metric in (name for name in METRICS if name in entry["panel"][arms[0]]):
        values = [entry["panel"][name][metric] for name in arms]
        rows.append([metric.replace("_", " "), *(_number(value) for value in values)])
    return rows


def _number(value: float | int | None) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:.2f}"


def _figure(draw: Callable[[Any], Axes | Sequence[Axes]], content: Any) -> str:
    """A figure as an image inside the page: its own document, so that two figures cannot share ids.

    A figure whose estimates have no interval (one prompt alone) is left out, and the page says so.
    """
    try:
        axes = draw(content)
    except DataError as error:
        return f"<p>A figure is left out: {html.escape(error.what)}.</p>"
    image = base64.b64encode(plots.rendered(axes, "svg")).decode()
    summary = html.escape(plots.summary_of(axes))
    shown = f'<img alt="{summary}" src="data:image/svg+xml;base64,{image}">'
    return f"<figure>{shown}<figcaption>{summary}</figcaption></figure>"


def _turn(who: str, text: str) -> str:
    return f'<div class="said"><p class="who">{html.escape(who)}</p><p>{html.escape(text)}</p></div>'


def _prompt_turns(shown: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The prompt of a transcript as (who, text): a text, or each turn of a conversation."""
    if isinstance(shown["prompt"], str):
        return [(f"prompt ({shown['kind']})" if shown["kind"] else "prompt", shown["prompt"])]
    return [(message["role"], message["content"]) for message in shown["prompt"]]


def _transcript(entry: Mapping[str, Any], shown: Mapping[str, Any]) -> str:
    parts = [_turn(who, text) for who, text in _prompt_turns(shown)]
    for name in entry["order"]:
        response = shown["arms"][name]
        parts.append(_turn(f"{arm_label(name, entry['n'])}: {_scores(response)}", response["response"]))
    return f"<section>{''.join(parts)}</section><hr>"


def _scores(response: Mapping[str, Any]) -> str:
    """Reward, gold where known, and whether the response was cut off."""
    parts = [f"reward {signed(response['reward'])}"]
    parts += [f"gold {response['gold']:+.1f}"] if response["gold"] is not None else []
    parts += ["cut off"] if response["finish_reason"] == "length" else []
    return ", ".join(parts)


def _glossary() -> str:
    items = "".join(
        f"<dt>{html.escape(name.replace('_', ' '))} ({html.escape(unit)})</dt><dd>{html.escape(text)}</dd>"
        for name, (unit, text) in METRICS.items()
    )
    return f"<h2>What the numbers mean</h2><details><summary>All metrics</summary><dl>{items}</dl></details>"


def _facts(title: str, facts: Mapping[str, Any]) -> str:
    """Nested facts as a folded table of dotted names; nothing when there are none."""
    rows = [["name", "value"], *([name, text] for name, text in _flat(facts))]
    if len(rows) == 1:
        return ""
    return f"<details><summary>{html.escape(title)}</summary>{_table(rows, title)}</details>"


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """(dotted name, text) of every leaf of nested dicts.

    >>> list(_flat({"a": {"b": 1}, "c": [2, 3]}))
    [('a.b', '1'), ('c', '2, 3')]
    """
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flat(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, (list, tuple)):
        yield name, ", ".join(str(item) for item in value)
    else:
        yield name, str(value)


def terminal_text(report: Report, width: int = 100) -> str:
    """What `make demo` prints at the end: the table, the claims, and the transcripts of the last round."""
    lines = [report.text_table(), "", *report.headlines()]
    if report.rounds:
        entry = report.rounds[-1]
        lines += ["", "Before and after (response 0 to prompts fixed in advance):"]
        for shown in entry["transcripts"]:
            lines.append("")
            for who, text in _prompt_turns(shown | {"kind": None}):
                lines += _wrapped(who, text, width)
            for name in entry["order"]:
                response = shown["arms"][name]
                text = f"{response['response']}  [{_scores(response)}]"
                lines += _wrapped(arm_label(name, entry["n"]), text, width)
    return "\n".join(lines)


def _wrapped(who: str, text: str, width: int) -> list[str]:
    """Lines of at most `width`, the speaker in a left margin."""
    start = f"  {who:<13} "
    indents = {"initial_indent": start, "subsequent_indent": " " * len(start)}
    return textwrap.wrap(printable(text), width, break_on_hyphens=False, **indents)
