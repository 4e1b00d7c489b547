"""The run report for readers: one self-contained HTML page, and the text `make demo` prints.

    write_html(report, path), terminal_text(report)

Everything is made from the Report alone, so a page can be rebuilt from its report.json. What a model wrote is
escaped everywhere: as HTML in the page, control characters in the terminal.
"""

from __future__ import annotations

import base64
import html
import os
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rslib import plots
from rslib.errors import DataError
from rslib.formatting import html_table, interval_text, signed
from rslib.metrics import METRICS, arm_label
from rslib.reporting import Report, caption, table_rows
from rslib.store import atomic_write

if TYPE_CHECKING:
    from matplotlib.axes import Axes

STYLE = """
:root { color-scheme: light dark; --ink: #1d1f23; --soft: #5b616b; --line: #d5d8dd; --page: #ffffff;
  --card: #f4f5f7; --mark: #1c5a9c; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e7e9ec; --soft: #a5abb5; --line: #3c414a; --page: #16181c;
    --card: #20242a; --mark: #86bbe8; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem 1rem 4rem; max-width: 56rem; background: var(--page); color: var(--ink);
  font: 1rem/1.55 system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
h1 { font-size: 1.6rem; line-height: 1.25; }
h2 { margin-top: 2.5rem; font-size: 1.25rem; }
h3 { margin-top: 2rem; font-size: 1.05rem; }
.claims { padding: 0; list-style: none; }
.claims li { padding: .5rem .8rem; margin: .4rem 0; background: var(--card);
  border-left: .25rem solid var(--mark); }
.wide { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .92rem; }
caption { text-align: left; color: var(--soft); padding-bottom: .4rem; }
th, td { text-align: left; padding: .3rem .9rem .3rem 0; border-bottom: 1px solid var(--line);
  white-space: nowrap; }
tbody th { font-weight: 500; }
@media (max-width: 40rem) { td, tbody th { white-space: normal; } }
figure { margin: 1.5rem 0; }
figure img { width: 100%; max-width: 39rem; height: auto; display: block; background: #fff;
  border-radius: .4rem; }
figcaption { color: var(--soft); font-size: .92rem; margin-top: .4rem; }
.said { margin: .6rem 0; padding: .6rem .9rem; background: var(--card); border-radius: .4rem; }
.said p { margin: 0; white-space: pre-wrap; overflow-wrap: anywhere; }
.said .who { color: var(--soft); font-size: .88rem; }
dt { font-weight: 600; }
dd { margin: 0 0 .5rem; color: var(--soft); overflow-wrap: anywhere; }
details { margin: 1rem 0; }
summary { cursor: pointer; }
"""

# The page runs no script and loads nothing: what a model wrote stays text even if an escape were missing.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def write_html(report: Report, path: str | os.PathLike[str]) -> Path:
    """Write the report as one HTML page without outside files, whole or not at all; returns the path.

    Raises StoreError when the folder cannot be written.
    """
    atomic_write(Path(path), html_page(report))
    return Path(path)


def html_page(report: Report) -> str:
    """The page's text: claims; per round table, figures, selection, transcripts; glossary; settings."""
    sections = [part for entry in report.rounds for part in _round_parts(entry)]
    if any(arm["kl"] is not None for entry in report.rounds for arm in entry["arms"].values()):
        sections += ["<h2>Distance and gain</h2>", _figure(plots.gold_against_kl, report.rounds)]
    body = [
        "<h1>Did keeping the best responses make the policy better?</h1>",
        _claims(report.headlines()),
        *sections,
        _glossary(),
        _facts("Settings", report.settings),
    ]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        f"<title>Rejection sampling report</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(part for part in body if part)
        + "\n</main>\n</body>\n</html>\n"
    )


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
    label = html.escape(title)
    return (
        f'<div class="wide" role="region" tabindex="0" aria-label="{label}">{html_table(rows, title)}</div>'
    )


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
    return (
        f'<figure><img alt="{summary}" src="data:image/svg+xml;base64,{image}">'
        f"<figcaption>{summary}</figcaption></figure>"
    )


def _claims(sentences: Sequence[str]) -> str:
    return '<ul class="claims">' + "".join(f"<li>{html.escape(text)}</li>" for text in sentences) + "</ul>"


def _said(who: str, text: str) -> str:
    return f'<div class="said"><p class="who">{html.escape(who)}</p><p>{html.escape(text)}</p></div>'


def _transcript(entry: Mapping[str, Any], shown: Mapping[str, Any]) -> str:
    parts = [_said(f"prompt ({shown['kind']})" if shown["kind"] else "prompt", shown["prompt"])]
    for name in entry["order"]:
        said = shown["arms"][name]
        parts.append(_said(f"{arm_label(name, entry['n'])}: {_scores(said)}", said["response"]))
    return f"<section>{''.join(parts)}</section><hr>"


def _scores(said: Mapping[str, Any]) -> str:
    """Reward, gold where known, and whether the response was cut off."""
    parts = [f"reward {signed(said['reward'])}"]
    parts += [f"gold {said['gold']:+.1f}"] if said["gold"] is not None else []
    parts += ["cut off"] if said["finish_reason"] == "length" else []
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


def printable(text: str) -> str:
    r"""`text` with control characters made visible: a response must not be able to drive the terminal.

    >>> print(printable("red: \x1b[31m"))
    red: \x1b[31m
    """
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)


def terminal_text(report: Report, width: int = 100) -> str:
    """What `make demo` prints at the end: the table, the claims, and the transcripts of the last round."""
    lines = [report.text_table(), "", *report.headlines()]
    if report.rounds:
        entry = report.rounds[-1]
        lines += ["", "Before and after (response 0 to prompts fixed in advance):"]
        for shown in entry["transcripts"]:
            lines += ["", *_wrapped("prompt", shown["prompt"], width)]
            for name in entry["order"]:
                said = shown["arms"][name]
                text = f"{said['response']}  [{_scores(said)}]"
                lines += _wrapped(arm_label(name, entry["n"]), text, width)
    return "\n".join(lines)


def _wrapped(who: str, text: str, width: int) -> list[str]:
    """Lines of at most `width`, the speaker in a left margin."""
    start = f"  {who:<13} "
    return textwrap.wrap(
        printable(text),
        width,
        initial_indent=start,
        subsequent_indent=" " * len(start),
        break_on_hyphens=False,
    )
