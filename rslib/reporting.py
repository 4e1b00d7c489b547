"""The report of a run: its rounds, claims in words, text tables and transcripts.

    round_entry(number, arms, n=16, pool=, kept=, ...) -> dict   one entry of the report's `rounds`
    Report(rounds, settings)             headlines, text_table, to_dict, from_dict, to_json

What the numbers are is `evaluation`'s matter; how they are called is `formatting`'s.
"""

from __future__ import annotations

import html
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from rslib.errors import DataError
from rslib.evaluation import (
    NO_GAP,
    arm_metrics,
    best_of_n_table,
    claim,
    comparisons,
    reward_histogram,
    selection_gap,
    selection_panel,
    selection_table,
    verdict,
)
from rslib.formatting import LABELS, aligned_table, arm_label, ends_text, html_table, interval_text, signed

if TYPE_CHECKING:
    from datasets import Dataset

# A round ------------------------------------------------------------------------------------------------


def round_entry(
    number: int,
    arms: Mapping[str, Dataset],
    *,
    n: int,
    pool: Dataset | None = None,
    kept: Mapping[str, Dataset] | None = None,
    provenance: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """One entry of the report's `rounds`: arms, comparisons, the selection and its signature, transcripts.

    `arms` are the held-out scored responses by arm name, the baseline first. `pool` is the training pool
    that was selected from, `kept` what each arm was fine-tuned on, the arm of interest last. Without a
    pool (an evaluation alone) the fields about selection are None. `n` is the pool's responses per prompt.

    Raises RewardError and DataError as the functions that it calls; DataError when `kept` comes without
    `pool`.
    """
    kept = dict(kept or {})
    if kept and pool is None:
        raise DataError("kept rows without their pool", where="round_entry", fix="Pass pool= as well.")
    gaps = {name: NO_GAP if pool is not None else None for name in arms}
    gaps |= {name: selection_gap(pool, table, seed=seed) for name, table in kept.items()}
    chosen = next(reversed(kept.values()), None)
    shown = _transcript_prompts(next(iter(arms.values())), seed=seed)
    return {
        "round": number,
        "n": n,
        "order": list(arms),
        "arms": {name: arm_metrics(table, gap=gaps[name], seed=seed) for name, table in arms.items()},
        "comparisons": comparisons(arms, seed=seed),
        "panel": {name: selection_panel(pool, table) for name, table in kept.items()},
        "selection": selection_table(pool, chosen, seed=seed) if chosen is not None else None,
        "histogram": reward_histogram(pool, chosen, seed=seed) if chosen is not None else None,
        "best_of_n": best_of_n_table(pool, seed=seed) if pool is not None else None,
        "transcripts": _transcripts(arms, shown),
        "provenance": dict(provenance or {}),
    }


def arms_in_order(entry: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The arms of a round, baseline first: JSON sorts the keys, `order` keeps the order."""
    return {name: entry["arms"][name] for name in entry["order"]}


def arm_interval(arm: Mapping[str, Any], metric: str) -> dict[str, float] | None:
    """The `{mean, low, high}` of a metric of an arm, wherever it is kept; None when it is unknown."""
    return arm[metric] if metric in ("gold", "proxy") else arm["intervals"].get(metric)


def panel(entry: Mapping[str, Any]) -> dict[str, float | None]:
    """The report's columns of one round, flat: `gold.base`, ..., and those of the selection.

    `gold_width.best_of_n` is the width of the 95 % interval of gold.
    """
    row: dict[str, float | None] = {}
    for arm in entry["order"]:
        metrics = {name: value for name, value in entry["arms"][arm].items() if name != "intervals"}
        for name, value in metrics.items():
            row[f"{name}.{arm}"] = value["mean"] if isinstance(value, Mapping) else value
    arm = entry["order"][-1]
    gold = entry["arms"][arm]["gold"]
    return row | {f"gold_width.{arm}": gold["high"] - gold["low"]} | entry["panel"][arm]


# Transcripts --------------------------------------------------------------------------------------------

_SHOWN = 3
"""Prompts whose transcripts are shown."""


def _transcript_prompts(prompts: Dataset, *, seed: int = 0) -> list[str]:
    """The prompt ids whose transcripts are shown, chosen before any response is read.

    The rule: the first prompt of each `kind` in table order (no `kind`: the first prompt), then prompts
    drawn by `seed` from the rest, until there are _SHOWN; fewer when the table is shorter. Repeated ids
    count once.
    """
    ids = list(prompts["prompt_id"])
    kinds = prompts["kind"] if "kind" in prompts.column_names else [""] * len(ids)
    by_kind: dict[Any, str] = {}
    for prompt_id, kind in zip(ids, kinds, strict=True):
        by_kind.setdefault(kind, prompt_id)
    first = list(by_kind.values())
    rest = [prompt_id for prompt_id in dict.fromkeys(ids) if prompt_id not in first]
    drawn = np.random.default_rng(seed).permutation(len(rest))
    return (first + [rest[position] for position in drawn])[:_SHOWN]


def _transcripts(arms: Mapping[str, Dataset], prompt_ids: Sequence[str]) -> list[dict[str, Any]]:
    """What each arm says to each prompt: always the response with sample_id 0, never the best one.

    `[{prompt_id, prompt, kind, arms: {name: {response, reward, gold, finish_reason}}}, ...]`.
    Raises DataError when an arm has no response 0 for a prompt.
    """
    shown = {name: _first_responses(name, table, prompt_ids) for name, table in arms.items()}
    some = next(iter(shown.values()))
    return [
        {
            "prompt_id": prompt_id,
            "prompt": some[prompt_id]["prompt"],
            "kind": some[prompt_id].get("kind"),
            "arms": {
                name: {
                    key: rows[prompt_id].get(key) for key in ("response", "reward", "gold", "finish_reason")
                }
                for name, rows in shown.items()
            },
        }
        for prompt_id in prompt_ids
    ]


def _first_responses(arm: str, table: Dataset, prompt_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """prompt_id -> the row with sample_id 0."""
    keys = zip(table["prompt_id"][:], table["sample_id"][:], strict=True)
    first_row = {prompt_id: row for row, (prompt_id, sample_id) in enumerate(keys) if sample_id == 0}
    for prompt_id in prompt_ids:
        if prompt_id not in first_row:
            what = f"arm '{arm}' has no response 0 to prompt '{prompt_id}'"
            raise DataError(what, where="transcripts", fix="Evaluate every arm on the same prompts.")
    return {prompt_id: table[first_row[prompt_id]] for prompt_id in prompt_ids}


# Claims in words ----------------------------------------------------------------------------------------


def _arm_claim(entry: Mapping[str, Any], comparison: Mapping[str, Any], metric: str) -> str:
    """One sentence about one paired difference of two arms, worded by its interval and by nothing else."""
    first, second = (arm_label(comparison[side], entry["n"]) for side in ("first", "second"))
    difference = comparison[metric]
    if metric != "unsafe_compliance":
        return claim(
            difference, first, second, {"proxy": "reward", "judge": "by the judge"}.get(metric, metric)
        )
    more = {"higher": "more often than", "lower": "less often than"}
    than = more.get(verdict(difference), "not separably more or less often than")
    numbers = f"{signed(difference['difference'])} {ends_text(difference, '+')}"
    return f"{first} complies with unsafe prompts {than} {second}: {numbers}."


_JUDGES = ("gold", "judge", "proxy")
"""What a claim is about: the first of these that both arms have."""


def _entry_headlines(entry: Mapping[str, Any]) -> Iterator[str]:
    """The claims of one round, the last arm first: about gold, else the judge, else the reward; caveats."""
    for comparison in reversed(entry["comparisons"]):
        metric = next(name for name in _JUDGES if name in comparison)
        yield _arm_claim(entry, comparison, metric)
        if "unsafe_compliance" in comparison and comparison["second"] == entry["order"][0]:
            yield _arm_claim(entry, comparison, "unsafe_compliance")
        if (verdict(comparison["proxy"]), verdict(comparison[metric])) == ("higher", "lower"):
            arm = arm_label(comparison["first"], entry["n"])
            lost = "gold" if metric == "gold" else "by the judge"
            yield f"Over-optimisation: {arm} gains reward and loses {lost}."
    if any(not comparison.keys() & {"gold", "judge"} for comparison in entry["comparisons"]):
        yield "No gold score here: the reward model that selected is also the judge; that flatters selection."
    yield from (entry["selection"] or {}).get("warnings", [])
    check = entry["provenance"].get("logprobs")
    if check and not check["agree"]:
        off = f"differ from the policy's own by more than {check['tolerance']:g} nats a token"
        yield f"Stored log-probabilities {off}: distrust the KL."


# Tables and the report ----------------------------------------------------------------------------------


def table_rows(entry: Mapping[str, Any]) -> list[list[str]]:
    """The before/after table of one round as text cells: a header row, then one row per known metric."""
    arms = arms_in_order(entry)
    rows = [["", *(arm_label(name, entry["n"]) for name in arms)]]
    for metric, label in LABELS.items():
        cells = [interval_text(arm_interval(arm, metric)) for arm in arms.values()]
        if any(cell != "-" for cell in cells):
            rows.append([label, *cells])
    return rows


def caption(entry: Mapping[str, Any]) -> str:
    """What the table's numbers are: how many prompts and responses, and which intervals."""
    arm = entry["arms"][entry["order"][0]]
    unit = "prompts" if arm["clusters"] == arm["prompts"] else f"{arm['clusters']} intents"
    each = arm["responses"] / arm["prompts"]
    return (
        f"Round {entry['round']}: {arm['prompts']} held-out prompts x {each:g} responses; "
        f"mean [95 % interval, bootstrap over {unit}]"
    )


@dataclass
class Report:
    """What a run showed: one entry of `round_entry` per round, and the settings that it ran under.

    It prints itself as a plain text table in a terminal and as an HTML table in a notebook.
    """

    rounds: list[dict[str, Any]]
    settings: dict[str, Any] = field(default_factory=dict)

    def headlines(self) -> list[str]:
        """The claims of all rounds, each derived from a paired 95 % interval."""
        sentences = []
        for entry in self.rounds:
            start = f"Round {entry['round']}: " if len(self.rounds) > 1 else ""
            sentences += [start + sentence for sentence in _entry_headlines(entry)]
        return sentences

    def text_table(self) -> str:
        """The before/after table of every round, columns aligned for a terminal."""
        return "\n\n".join(f"{caption(entry)}\n{aligned_table(table_rows(entry))}" for entry in self.rounds)

    def to_dict(self) -> dict[str, Any]:
        """The content of `report.json` as plain dicts and lists; `headlines` is there for readers only."""
        return {"headlines": self.headlines(), "rounds": self.rounds, "settings": self.settings}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Report:
        """The report that `to_dict` gave; headlines are derived anew. Raises DataError without `rounds`."""
        if not isinstance(content.get("rounds"), list):
            raise DataError(
                "no list 'rounds' in the report", where="Report.from_dict", fix="Pass to_dict's content."
            )
        return cls(rounds=content["rounds"], settings=dict(content.get("settings", {})))

    def to_json(self) -> str:
        """`to_dict` as JSON text with sorted keys. Raises DataError for NaN or infinity."""
        content = self.to_dict()
        bad = next(_not_finite(content, "report"), None)
        if bad:
            raise DataError(
                f"{bad} is not finite", where="Report.to_json", fix="A report holds numbers or null only."
            )
        return json.dumps(content, sort_keys=True, indent=1, ensure_ascii=False) + "\n"

    def __repr__(self) -> str:
        return "\n".join([self.text_table(), "", *self.headlines()])

    def _repr_html_(self) -> str:
        claims = "".join(f"<p>{html.escape(sentence)}</p>" for sentence in self.headlines())
        return "".join(html_table(table_rows(entry), caption(entry)) for entry in self.rounds) + claims


def _not_finite(value: Any, path: str) -> Iterator[str]:
    """The paths of all floats in nested dicts and lists that are NaN or infinite."""
    if isinstance(value, float) and not math.isfinite(value):
        yield path
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _not_finite(inner, f"{path}.{key}")
    elif isinstance(value, (list, tuple)):
        for position, inner in enumerate(value):
            yield from _not_finite(inner, f"{path}[{position}]")
