"""From finished runs to the content of docs/results/arena.json, and from that to rows and differences."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from docs.studies.arena.measuring import BUDGETS, Plan, budgets_of, chosen, chosen_correction
from rslib.arena import ARMS, code_lines
from rslib.cache import versions
from rslib.errors import DataError
from rslib.evaluation import compare
from rslib.intervals import Interval, over_both, over_seeds
from rslib.prompts import EMBEDDED, load_prompts

if TYPE_CHECKING:
    from datasets import Dataset

Content = Mapping[str, Any]
_LEDGER = ("responses", "sampled_tokens", "trained_tokens", "flops", "cpu_seconds", "seconds", "models")
YARDSTICK = "rs1"
"""The arm that all others are compared with in the tables."""


def content_of(results: Mapping[str, Sequence[dict[str, Any]]], plan: Plan, command: str) -> dict[str, Any]:
    """Everything that the page needs: all runs, and each prompt's gold and reward, averaged over the seeds.

    Trials keep the gold of each prompt, as comparisons of settings need it.
    """
    finals, trials = results["finals"], results["trials"]
    groups: dict[str, list[dict[str, Any]]] = {}
    for result in finals:
        groups.setdefault(key_of(result["trial"]["arm"], result["trial"]["unit"]), []).append(result)
    return {
        "command": command,
        "versions": versions(),
        "device": results["reference"][0]["device"],
        "plan": dataclasses.asdict(plan),
        "budgets": {unit: budget["limit"] for unit, budget in budgets_of(results["reference"]).items()},
        "chosen": chosen(trials),
        "chosen_by_reward": chosen(trials, "proxy"),
        "correction": {
            "per_token": chosen_correction(results["corrections"]),
            "tried": [
                _short(result) | {"per_token": result["trial"]["per_token"]}
                for result in results["corrections"]
            ],
        },
        "reference": [_short(result) for result in results["reference"]],
        "trials": [_short(result, without=("proxy",)) for result in trials],
        "finals": [_short(result) for result in finals],
        "prompts": {
            key: {name: _pooled(members, name) for name in ("gold", "proxy")}
            for key, members in groups.items()
        },
        "code": {
            name: {
                "hyper_parameters": arm.hyper_parameters(),
                "own_lines": code_lines(arm.own),
                "shared_lines": code_lines(arm.shared),
            }
            for name, arm in ARMS.items()
        },
    }


def joined(before: Content, added: Content) -> dict[str, Any]:
    """A content with the arms of a later one, whose budgets are the same; what both have is the later's.

    `later` says of each time which arms were added and what they were measured with. Raises DataError where a
    budget that both hold differs: the arms would not have spent alike.
    """
    for unit in ("responses", "flops"):
        if before["budgets"][unit] != added["budgets"][unit]:
            what = f"a budget of {added['budgets'][unit]:g} {unit} beside {before['budgets'][unit]:g}"
            raise DataError(what, where="arena", fix="Measure all arms anew, or add them with the same plan.")
    arms = set(added["plan"]["arms"])
    lists = {
        name: [row for row in before[name] if row["arm"] not in arms] + list(added[name])
        for name in ("trials", "finals")
    }
    settings = {
        name: {unit: before[name][unit] | added[name].get(unit, {}) for unit in before[name]}
        for name in ("chosen", "chosen_by_reward")
    }
    known = set(before["plan"]["arms"]) | arms
    plan = before["plan"] | {"arms": [name for name in ARMS if name in known]}
    entry = {name: added[name] for name in ("command", "versions")} | {"arms": added["plan"]["arms"]}
    later = [*(e for e in before.get("later", ()) if not arms & set(e["arms"])), entry]
    fresh = {"code": added["code"]}
    if added["correction"]["tried"]:
        fresh["correction"] = added["correction"]
    prompts = before["prompts"] | added["prompts"]
    return dict(before) | lists | settings | fresh | {"plan": plan, "prompts": prompts, "later": later}


def _short(result: dict[str, Any], without: Sequence[str] = ("gold", "proxy")) -> dict[str, Any]:
    """A result as the file holds it; `without`: the metrics whose values of single prompts are left out."""
    trial = {name: result["trial"][name] for name in ("stage", "arm", "unit", "limit", "seed", "setting")}
    left_out = ("trial", "device", *without)
    return trial | {name: value for name, value in result.items() if name not in left_out}


def _pooled(members: Sequence[dict[str, Any]], name: str) -> list[float]:
    means = np.mean([result[name] for result in members], axis=0)
    return [round(float(value), 4) for value in means]


def key_of(arm: str, unit: str | None) -> str:
    """Where the values of an arm in a budget stand; arms without training have one entry for all budgets.

    >>> key_of("rs1", "flops"), key_of("base", "flops")
    ('rs1 flops', 'base')
    """
    return f"{arm} {unit}" if unit and ARMS[arm].run is not None else arm


# Reading it -----------------------------------------------------------------------------------------------


def runs_of(content: Content, arm: str, unit: str | None) -> list[dict[str, Any]]:
    """The finals of an arm in a budget, by seed."""
    unit = unit if ARMS[arm].run is not None else None
    runs = [run for run in content["finals"] if (run["arm"], run["unit"]) == (arm, unit)]
    return sorted(runs, key=lambda run: run["seed"])


def _value_of(run: Mapping[str, Any], metric: str) -> float:
    """One number of a run: of its evaluation, its ledger or its memory; None is NaN."""
    if metric in _LEDGER:
        return float(run["ledger"][metric])
    if metric == "memory":
        return float(run["memory"]["peak"] - run["memory"]["libraries"])
    if metric == "overshoot":
        return float(run["ledger"][run["unit"]] / run["limit"] - 1)
    value = run["means"][metric]
    return float("nan") if value is None else float(value)


def by_seed(content: Content, arm: str, unit: str | None, metric: str) -> np.ndarray:
    """The values of a metric (S,)."""
    return np.array([_value_of(run, metric) for run in runs_of(content, arm, unit)])


def difference(
    content: Content, first: str, second: str, unit: str, metric: str, level: float = 0.95
) -> Interval:
    """Mean of `first` minus mean of `second` in one kind of budget, paired by seed.

    Gold and proxy depend on the prompts as well, and are paired by prompt too; what a run costs does not.
    """
    apart = by_seed(content, first, unit, metric) - by_seed(content, second, unit, metric)
    if metric not in ("gold", "proxy"):
        return over_seeds(apart, level)
    pair = paired(*(content["prompts"][key_of(arm, unit)][metric] for arm in (first, second)), "test")
    return over_both(apart, pair["standard_error"], pair["clusters"], level)


def over_prompts(content: Content, first: str, second: str, unit: str) -> Interval:
    """Gold of `first` minus gold of `second` in a budget, paired by prompt, pooled over seeds."""
    pair = paired(*(content["prompts"][key_of(arm, unit)]["gold"] for arm in (first, second)), "test")
    return {"mean": pair["difference"], "low": pair["low"], "high": pair["high"]}


def trials_of(content: Content, arm: str, unit: str) -> list[dict[str, Any]]:
    """The trials of a method at a budget."""
    return [trial for trial in content["trials"] if (trial["arm"], trial["unit"]) == (arm, unit)]


def measured_arms(content: Content, unit: str | None = None) -> list[str]:
    """The arms of the plan, in the order of the tables; with a budget, those that were measured in it."""
    arms = [name for name in ARMS if name in content["plan"]["arms"]]
    return [name for name in arms if unit is None or runs_of(content, name, unit)]


def added_later(content: Content) -> list[str]:
    """The arms that were measured on another day than the first, in the order of the tables."""
    names = {name for entry in content.get("later", ()) for name in entry["arms"]}
    return [name for name in ARMS if name in names]


def measured_budgets(content: Content) -> list[str]:
    """The kinds of budget of the plan, in the order of the page."""
    return [unit for unit in BUDGETS if unit in content["plan"]["budgets"]]


def paired(first: Sequence[float], second: Sequence[float], split: str) -> dict[str, float]:
    """What `evaluation.compare` says of two lists of values, one for each of the first prompts of a split."""
    return compare(*(_as_table(values, split) for values in (first, second)), "value")


def _as_table(values: Sequence[float], split: str) -> Dataset:
    table = load_prompts(EMBEDDED, split, len(values))
    return table.select_columns(["prompt_id", "intent", "kind"]).add_column("value", list(values))
