"""Responses to read: an HTML table for notebooks and pages, and the same as text.

    browse(rows)                          every response, ranked within its prompt
    browse(rows, kept=selected)           which of them selection kept
    browse({"base": one, "PPO": other})   several policies, prompt by prompt

No script and no outside file; text that a model wrote is escaped, and nothing of it is cut: the rest of a
long response is folded.
"""

from __future__ import annotations

import html
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rslib import world
from rslib.config import require
from rslib.errors import DataError
from rslib.formatting import aligned_table, printable, signed
from rslib.messages import frozen, shown

if TYPE_CHECKING:
    from datasets import Dataset

    Table = Dataset | Sequence[Mapping[str, Any]]

_MARKS = {  # what the judge counts a sentence as -> (how it is called, helps or harms)
    "correct": ("right fact", "good"),
    "refusals": ("refusal", "good"),
    "reasons": ("reason", "good"),
    "alternatives": ("alternative", "good"),
    "flattery": ("compliment", "odd"),
    "filler": ("filler", "odd"),
    "evasive": ("evasive", "odd"),
    "repeats": ("repeated", "odd"),
    "wrong": ("wrong fact", "bad"),
    "compliance": ("unsafe help", "bad"),
    "rude": ("rude", "bad"),
    "needless": ("needless refusal", "bad"),
}
_FOLD_FROM = 280  # characters: about three lines of a wide page
_LEAD = 160
_ROWS = 24  # of a prompt; of more, as of 128, the rest is folded
_BARS = {"reward": "#4a86c5", "gold": "#b8860b"}  # 3 to 1 or more against white and against black


def browse(
    rows: Table | Mapping[str, Table],
    *,
    kept: Table | Sequence[int] | None = None,
    gold: bool = True,
    prompts: int | None = None,
    title: str = "Responses",
) -> ResponseBrowser:
    """The responses as an object that a notebook shows as a table, grouped by prompt; `str()` gives text.

    `rows` needs `prompt` and `response`; it may have `reward`, `gold`, `token_ids`, `finish_reason`,
    `prompt_id`, `sample_id`. A mapping of names to tables sets several policies side by side. Within a prompt
    rows stand by reward, highest first (equal ones share a rank, NaN comes last); without rewards as they
    came. `kept` is a table of kept rows, or their numbers in `rows`. For prompts of the embedded world, gold
    and the kind of each sentence are looked up; `gold=False` leaves both out. `prompts` shows the first so
    many prompts only, and the caption says of how many.

    Raises DataError for rows without a prompt or a response, or for none; ConfigError if prompts < 1.

    >>> print(browse([{"prompt": "Hi", "response": "Hello.", "reward": 1.5}]))
    Responses: 1 response to 1 prompt, by reward
    <BLANKLINE>
    Hi
    rank  reward  response
    1     +1.50   Hello.
    """
    require(prompts is None or prompts >= 1, f"prompts is {prompts}", "browse", "Show at least one prompt.")
    records = list(_records(rows, gold))
    if kept is not None:
        _mark_kept(records, list(kept))
    groups: dict[Any, list[dict[str, Any]]] = {}
    for record in records:
        groups.setdefault(frozen(record["prompt"]), []).append(record)
    ranked = [_ranked(group) for group in groups.values()]
    return ResponseBrowser(title, ranked[:prompts], len(ranked))


def _records(rows: Table | Mapping[str, Table], gold: bool) -> Iterator[dict[str, Any]]:
    """Each row as what is shown of it: prompt, response, and where they are known the rest."""
    tables = rows if isinstance(rows, Mapping) else {None: rows}
    if not any(len(table) for table in tables.values()):
        raise DataError("no responses to show", where="browse", fix="Pass a table of responses with rows.")
    for name, table in tables.items():
        for number, row in enumerate(table):
            for column in ("prompt", "response"):
                if row.get(column) is None:
                    where = f"browse, row {number}"
                    raise DataError(f"no {column}", where=where, fix=f"Each row needs its {column}.")
            yield _record(row, name, gold)


def _record(row: Mapping[str, Any], policy: str | None, gold: bool) -> dict[str, Any]:
    prompt, response, tokens = row["prompt"], str(row["response"]), row.get("token_ids")
    known = gold and isinstance(prompt, str) and world.knows(prompt)
    score = row.get("gold")
    if score is None and known:
        score = world.judge(prompt, response, row.get("finish_reason") != "length").gold
    return {
        "key": (row.get("prompt_id", frozen(prompt)), row.get("sample_id", response)),
        "policy": policy,
        "prompt": prompt,
        "response": response,
        "reward": _as_number(row.get("reward")),
        "gold": _as_number(score) if gold else None,
        "tokens": None if tokens is None else len(tokens),
        "cut": row.get("finish_reason") == "length",
        "sentences": _sentences(prompt, response) if known else [(response, "")],
        "kept": None,
    }


def _sentences(prompt: str, response: str) -> list[tuple[str, str]]:
    """Each sentence with its kind; a refusal of a harmless prompt is a kind of its own: it costs gold."""
    kinds = world.sentence_kinds(prompt, response)
    if world.judge(prompt, response).unsafe_prompt:
        return kinds
    return [(sentence, "needless" if kind == "refusals" else kind) for sentence, kind in kinds]


def _as_number(value: Any) -> float | None:
    return None if value is None else float(value)


def _mark_kept(records: Sequence[dict[str, Any]], kept: Sequence[Any]) -> None:
    """Write into each record whether it was kept: by row number, or by (prompt_id, sample_id)."""
    by_number = all(not isinstance(entry, Mapping) for entry in kept)
    chosen = set(map(int, kept)) if by_number else {_record(row, None, False)["key"] for row in kept}
    for number, record in enumerate(records):
        record["kept"] = (number if by_number else record["key"]) in chosen


def _ranked(group: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of a prompt, highest reward first, each with its rank; without rewards as they came."""
    rewards = [record["reward"] for record in group]
    if all(reward is None for reward in rewards):
        return [record | {"rank": None} for record in group]
    known = [_rounded(reward) for reward in rewards if _finite(reward)]
    last_is_nan = sorted(group, key=lambda r: -r["reward"] if _finite(r["reward"]) else math.inf)
    return [
        record
        | {
            "rank": 1 + sum(other > _rounded(record["reward"]) for other in known)
            if _finite(record["reward"])
            else None
        }
        for record in last_is_nan
    ]


def _rounded(reward: float) -> float:
    """Without the last bits, in which one text differs from itself when it is scored in another batch."""
    return float(f"{reward:.6g}")


def _finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


@dataclass(frozen=True)
class ResponseBrowser:
    """What `browse` returns: `groups` holds the shown rows prompt by prompt, `total` counts all prompts."""

    title: str
    groups: list[list[dict[str, Any]]]
    total: int

    def columns(self) -> list[str]:
        """The columns that at least one row has a value for, `response` last."""
        names = ["policy", "rank", "reward", "gold", "tokens", "kept"]
        rows = [record for group in self.groups for record in group]
        return [name for name in names if any(row[name] is not None for row in rows)] + ["response"]

    def caption(self) -> str:
        """How many responses to how many prompts are shown, and in which order."""
        count, prompts = sum(map(len, self.groups)), len(self.groups)
        of = f" of {self.total}" if self.total > prompts else ""
        order = "by reward" if "rank" in self.columns() else "in the order of the table"
        plural = "" if prompts == 1 and not of else "s"
        many = f"{count:,} response{'' if count == 1 else 's'}"
        return f"{self.title}: {many} to {prompts}{of} prompt{plural}, {order}"

    def __str__(self) -> str:
        columns, parts = self.columns(), [printable(self.caption())]
        for group in self.groups:
            rows = [columns, *([_cell_text(record, name) for name in columns] for record in group)]
            parts += ["", printable(shown(group[0]["prompt"])), aligned_table(rows)]
        return "\n".join(parts)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        ends = {name: _ends(self.groups, name) for name in _BARS}
        groups = "".join(
            _group_html(group, self.columns(), ends, is_open=number == 0)
            for number, group in enumerate(self.groups)
        )
        style = Path(__file__).with_suffix(".css").read_text(encoding="utf-8")
        return (  # the classes tell MathJax to leave "$3 and $5" alone
            f'<style>{style}</style><section class="rs-browse tex2jax_ignore mathjax_ignore" '
            f'aria-label="{_escaped(self.title)}"><p>{_escaped(self.caption())}</p>{groups}</section>'
        )


def _escaped(text: str) -> str:
    return html.escape(printable(text))


def _cell_text(record: Mapping[str, Any], name: str) -> str:
    """A cell as text, full and on one line."""
    value = record[name]
    if name == "response":
        return printable(value.replace("\n", "\\n")) + (
            " [cut off by the token limit]" if record["cut"] else ""
        )
    if value is None:
        return "-"
    if name == "kept":
        return "yes" if value else "no"
    return signed(value) if name in _BARS else printable(str(value))


def _ends(groups: Iterable[Iterable[Mapping[str, Any]]], name: str) -> tuple[float, float]:
    """The axis that all bars of a column share; 0 lies on it."""
    values = [record[name] for group in groups for record in group if _finite(record[name])]
    return min([0.0, *values]), max([0.0, *values])


def _group_html(
    group: Sequence[Mapping[str, Any]],
    columns: Sequence[str],
    ends: Mapping[str, tuple[float, float]],
    *,
    is_open: bool,
) -> str:
    """One prompt, which unfolds into the table of its responses; the first one is unfolded."""
    prompt = _escaped(shown(group[0]["prompt"]))
    count = f"{len(group)} response{'s' if len(group) > 1 else ''}"
    if group[0]["kept"] is not None:
        count += f", {sum(record['kept'] for record in group)} kept"
    rows = [_row_html(record, columns, ends) for record in group]
    table = _table_html(rows[:_ROWS], columns, f"{count} to: <bdi>{prompt}</bdi>")
    if rest := rows[_ROWS:]:
        caption = f"{len(rest)} more to: <bdi>{prompt}</bdi>"
        folded = _table_html(rest, columns, caption)
        table += f"<details><summary>{len(rest)} more responses, in this order</summary>{folded}</details>"
    return (
        f"<details{' open' * is_open}><summary><bdi>{prompt}</bdi> <small>({count})</small></summary>"
        f"{table}</details>"
    )


def _table_html(rows: Sequence[str], columns: Sequence[str], caption: str) -> str:
    head = "".join(f'<th scope="col" role="columnheader">{name}</th>' for name in columns)
    return (
        f'<table role="table"><caption>{caption}</caption>'
        f'<thead role="rowgroup"><tr role="row">{head}</tr></thead>'
        f'<tbody role="rowgroup">{"".join(rows)}</tbody></table>'
    )


def _row_html(
    record: Mapping[str, Any], columns: Sequence[str], ends: Mapping[str, tuple[float, float]]
) -> str:
    cells = []
    for name in columns:
        text = html.escape(_cell_text(record, name))
        if name == "response":
            text = _response_html(record)
        elif name in _BARS and _finite(record[name]):
            text = f"{text}{_bar(record[name], *ends[name], _BARS[name])}"
        header = name == columns[0] and name != "response"
        tag, role = ("th", 'scope="row" role="rowheader"') if header else ("td", 'role="cell"')
        cells.append(f'<{tag} {role} class="{name}" data-name="{name}">{text}</{tag}>')
    return f'<tr role="row"{" class=kept" if record["kept"] else ""}>{"".join(cells)}</tr>'


def _bar(value: float, low: float, high: float, colour: str) -> str:
    """A bar from 0 to `value` on the axis from `low` to `high`; the number beside it says the same."""
    width = (high - low) or 1.0
    start, end = sorted(100 * (x - low) / width for x in (0.0, value))
    stops = f"transparent {start:.1f}%, {colour} {start:.1f}%, {colour} {end:.1f}%, transparent {end:.1f}%"
    return (
        f'<span class="bar" aria-hidden="true" style="background: linear-gradient(to right, {stops})"></span>'
    )


def _response_html(record: Mapping[str, Any]) -> str:
    """The full text with its marks; of a long one the rest is folded behind its beginning."""
    lead, rest = _folded(record["sentences"])
    text = f"<bdi>{_marked(lead)}</bdi>"
    if rest:
        more = f"<small>(… {sum(len(sentence) for sentence, _ in rest):,} more characters)</small>"
        text = f"<details><summary>{text} {more}</summary><bdi>{_marked(rest)}</bdi></details>"
    return text + ("<p><small>[cut off by the token limit]</small></p>" if record["cut"] else "")


def _folded(sentences: Sequence[tuple[str, str]]) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """The beginning that is shown and the rest that is folded: whole sentences, else whole words.

    >>> _folded([("Short.", "")])
    ([('Short.', '')], [])
    """
    ends = list(itertools.accumulate(len(sentence) for sentence, _ in sentences))
    if not ends or ends[-1] <= _FOLD_FROM:
        return list(sentences), []
    whole = max(1, sum(end <= _LEAD for end in ends))
    lead, rest = list(sentences[:whole]), list(sentences[whole:])
    text, kind = lead[-1]
    if ends[whole - 1] > _FOLD_FROM:
        cut = text.rfind(" ", 0, _LEAD) + 1 or _LEAD
        lead, rest = [(text[:cut], kind)], [(text[cut:], kind), *rest]
    return lead, rest


def _marked(sentences: Iterable[tuple[str, str]]) -> str:
    """Sentences as HTML, each kind that `_MARKS` knows marked by a colour and by its name."""
    parts = []
    for sentence, kind in sentences:
        text = _escaped(sentence)
        if kind in _MARKS:
            name, worth = _MARKS[kind]
            gap = text[: len(text) - len(text.lstrip())]
            text = f'{gap}<mark class="{worth}">{text.lstrip()}</mark> <small>({name})</small>'
        parts.append(text)
    return "".join(parts)
