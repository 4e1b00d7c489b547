"""docs/arena.md, every number of it from the content of arena.json."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from docs.studies.arena.claims import CORRECTED, EQUAL, RELATIVES, RISK
from docs.studies.arena.measuring import score_of
from docs.studies.arena.summary import (
    YARDSTICK,
    Content,
    by_seed,
    measured_arms,
    measured_budgets,
    over_prompts,
    trials_of,
)
from docs.studies.results import markdown
from rslib.arena import ARMS, N
from rslib.intervals import CONTRADICTED, OPEN, SUPPORTED, Interval, over_seeds

TITLES = {
    "responses": "Equal responses",
    "flops": "Equal FLOPs",
    "cpu_seconds": "Equal seconds",
}
_FIGURES = {
    "gold_kl": "Gold and reward of each method against its KL to the starting policy",
    "cost": "Gold of each method against what its run cost",
    "sensitivity": "Gold of every trial by learning rate and second setting",
}
_QUALITY = {
    "proxy": "proxy",
    "kl": "KL, nats",
    "length": "length, tokens",
    "truncation_rate": "truncated",
    "unsafe_compliance": "unsafe compliance",
}


def page(content: Content) -> str:
    """The whole page."""
    parts = [*_opening(content), *_claims(content), *_relatives(content), *_corrected(content)]
    for unit in measured_budgets(content):
        parts += _budget(content, unit)
    parts += [*_serving(content), *_tuning(content), *_code(content), *_figures(content["summaries"])]
    return "\n\n".join(parts) + "\n"


def number(value: float, digits: int = 2) -> str:
    """A number with its digits, never "-0.00"; a dash for NaN.

    >>> number(1.234), number(-0.001), number(float("nan")), number(12345.6, 0)
    ('1.23', '0.00', '–', '12,346')
    """
    return "–" if np.isnan(value) else f"{round(value, digits) + 0.0:,.{digits}f}"


def _interval_cell(interval: Interval) -> str:
    """Mean and ends in a table cell."""
    return f"{number(interval['mean'])} [{number(interval['low'])}, {number(interval['high'])}]"


def _paragraph(name: str, **values: Any) -> str:
    """A paragraph of page.txt on one line, with values in its places."""
    paragraphs = Path(__file__).with_name("page.txt").read_text(encoding="utf-8").split("# ")
    (text,) = (text for text in paragraphs if text.startswith(f"{name}\n"))
    return " ".join(text.split()[1:]).format(**values)


def _opening(content: Content) -> Iterator[str]:
    plan, limits = content["plan"], content["budgets"]
    yield "# The arena: rejection sampling beside what it replaces"
    yield _paragraph("made", command=content["command"], device=content["device"])
    yield _paragraph(
        "opening",
        prompts=plan["test_prompts"],
        samples=plan["samples"],
        seeds=len(plan["seeds"]),
        n=N,
        reference=plan["reference_prompts"],
        responses=limits["responses"],
        flops=limits["flops"] / 1e9,
        seconds=limits["cpu_seconds"],
    )
    yield _paragraph("fitting")
    missing = [EQUAL[unit] for unit in TITLES if unit not in measured_budgets(content)]
    if missing:
        yield f"Not measured yet: {' and '.join(missing)}."


def _claims(content: Content) -> Iterator[str]:
    claims = [claim for claim in content["claims"] if "family" not in claim]
    yield "## What can be said"
    yield _paragraph("judging", claims=len(claims), risk=RISK)
    yield _verdicts(claims)


def _verdicts(claims: Sequence[Mapping[str, Any]]) -> str:
    """A table of claims: supported, contradicted, open."""
    rows = [
        [claim["claim"], f"**{claim['verdict']}**", f"{_difference(claim)} {claim['unit']}"]
        for verdict in (SUPPORTED, CONTRADICTED, OPEN)
        for claim in claims
        if claim["verdict"] == verdict
    ]
    return markdown(["claim", "verdict", "difference"], rows)


def _corrected(content: Content) -> Iterator[str]:
    """What taking the length bias off the reward does for every method that is given the corrected one."""
    claims = [claim for claim in content["claims"] if claim.get("family") == CORRECTED]
    if not claims:
        return
    correction, plan = content["correction"], content["plan"]
    (plain, *_) = correction["tried"]
    yield "## The selector is an arm"
    slope = plain["notes"]["length_slope"]
    prompts, seed = plan["validation_prompts"], plan["tuning_seed"]
    yield _paragraph("correction", slope=slope, prompts=prompts, seed=seed)
    rows = [
        [f"{trial['setting']['strength']:g}", f"{trial['per_token']:.4f}"]
        + [number(trial["means"][name]) for name in ("gold", "proxy", "length")]
        for trial in correction["tried"]
    ]
    yield markdown(["strength", "reward off per token", "gold", "proxy", "length, tokens"], rows)
    yield _paragraph("corrected", per_token=correction["per_token"], claims=len(claims), risk=RISK)
    yield from _later(content, corrected=True)
    yield _verdicts(claims)


def _relatives(content: Content) -> Iterator[str]:
    """What the methods that change a term of GRPO or of RAFT, and distillation, reach."""
    claims = [claim for claim in content["claims"] if claim.get("family") == RELATIVES]
    if claims:
        yield "## Relatives of GRPO and RAFT, and distillation"
        yield _paragraph("relatives", n=N)
        yield _paragraph("checkers")
        yield _paragraph("relatives_judged", n=N, claims=len(claims), risk=RISK)
        yield from _later(content, corrected=False)
        yield _verdicts(claims)


def _later(content: Content, *, corrected: bool) -> Iterator[str]:
    """How the arms that were added later were measured: those with the corrected reward, or the others."""
    entries = [
        entry
        for entry in content.get("later", ())
        if any(ARMS[name].corrected for name in entry["arms"]) == corrected
    ]
    if entries:
        calls = "; ".join(f"`{entry['command']}`, rslib {entry['versions']['rslib']}" for entry in entries)
        missing = _unmeasured(content, [name for entry in entries for name in entry["arms"]])
        yield _paragraph("later", calls=calls, missing="; ".join(missing))


def _difference(claim: Mapping[str, Any]) -> str:
    """The interval of a claim, FLOPs in thousand millions."""
    scale = 1e-9 if claim["unit"] == "FLOPs" else 1.0
    text = _interval_cell({name: claim[name] * scale for name in ("mean", "low", "high")})
    return f"{text} G" if scale != 1.0 else text


def _unmeasured(content: Content, arms: Sequence[str]) -> list[str]:
    """Those of the arms that were not measured in a budget, in one phrase a budget."""
    missing = {
        unit: [ARMS[arm].label for arm in arms if arm not in measured_arms(content, unit)]
        for unit in measured_budgets(content)
    }
    return [f"{' and '.join(labels)} at {EQUAL[unit]}" for unit, labels in missing.items() if labels]


def _budget(content: Content, unit: str) -> Iterator[str]:
    arms = measured_arms(content, unit)
    yield f"## {TITLES[unit]}"
    yield markdown(
        ["", "gold [over seeds]", f"gold minus {ARMS[YARDSTICK].label} [over prompts]", *_QUALITY.values()],
        [_quality_row(content, arm, unit) for arm in arms],
    )
    heads = ("responses", "tokens drawn", "tokens trained", "GFLOPs", "CPU seconds", "wall-clock, s")
    yield markdown(
        ["", *heads, "peak memory, MiB", "models held", "beside budget"],
        [_cost_row(content, arm, unit) for arm in arms if ARMS[arm].run is not None],
    )


def _quality_row(content: Content, arm: str, unit: str) -> list[str]:
    same = arm == YARDSTICK
    apart = "" if same else _interval_cell(over_prompts(content, arm, YARDSTICK, unit))
    means = [number(float(by_seed(content, arm, unit, metric).mean())) for metric in _QUALITY]
    return [ARMS[arm].label, _interval_cell(over_seeds(by_seed(content, arm, unit, "gold"))), apart, *means]


def _cost_row(content: Content, arm: str, unit: str) -> list[str]:
    def mean(metric: str, digits: int, scale: float = 1.0) -> str:
        return number(float(by_seed(content, arm, unit, metric).mean()) * scale, digits)

    beside = by_seed(content, arm, unit, "overshoot") * 100
    return [
        ARMS[arm].label,
        mean("responses", 0),
        mean("sampled_tokens", 0),
        mean("trained_tokens", 0),
        mean("flops", 0, 1e-9),
        mean("cpu_seconds", 1),
        mean("seconds", 1),
        mean("memory", 0),
        mean("models", 0),
        f"{beside.min():+.0f} to {beside.max():+.0f} %",
    ]


def _serving(content: Content) -> Iterator[str]:
    if "best_of_n" not in measured_arms(content):
        return
    served = content["plan"]["test_prompts"] * content["plan"]["samples"]
    costs = ("responses", "flops", "cpu_seconds")
    each = {name: by_seed(content, "best_of_n", None, name).mean() / served for name in costs}
    yield "## What serving the best of n costs"
    yield _paragraph(
        "serving",
        n=N,
        responses=each["responses"],
        flops=each["flops"] / 1e9,
        milliseconds=each["cpu_seconds"] * 1000,
        worth=content["budgets"]["flops"] / each["flops"],
    )
    yield _paragraph("memory")


def _tuning(content: Content) -> Iterator[str]:
    plan = content["plan"]
    yield "## How the settings were chosen"
    yield _paragraph("choosing", seed=plan["tuning_seed"], prompts=plan["validation_prompts"])
    for unit in content["chosen"]:
        rows = [_chosen_row(content, arm, unit) for arm in content["chosen"][unit]]
        yield f"Trials at {EQUAL[unit]}:"
        gold = "gold of the trials, lowest to highest"
        yield markdown(["", "chosen", "edge of the grid", gold, "reward would choose", "and lose"], rows)


def _chosen_row(content: Content, arm: str, unit: str) -> list[str]:
    trials = trials_of(content, arm, unit)
    gold = [score_of(trial, "gold") for trial in trials]
    best, greedy = content["chosen"][unit][arm], content["chosen_by_reward"][unit][arm]
    (lost,) = (max(gold) - score_of(trial, "gold") for trial in trials if trial["setting"] == greedy)
    ends = sorted(trial["setting"]["learning_rate"] for trial in trials)
    edge = {ends[0]: "lowest", ends[-1]: "highest"}.get(best["learning_rate"], "")
    return [
        ARMS[arm].label,
        _setting_text(best),
        edge,
        f"{number(min(gold))} to {number(max(gold))}",
        "the same" if best == greedy else _setting_text(greedy),
        number(lost),
    ]


def _setting_text(setting: Mapping[str, float]) -> str:
    """A trial's setting in a cell.

    >>> _setting_text({"learning_rate": 0.0005, "epochs": 3})
    'learning rate 0.0005, epochs 3'
    """
    return ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in setting.items())


def _code(content: Content) -> Iterator[str]:
    yield "## What a method asks of its readers"
    yield _paragraph("counting")
    counts = {arm: content["code"][arm] for arm in measured_arms(content) if arm != "base"}
    names = ("own_lines", "shared_lines", "hyper_parameters")
    rows = [[ARMS[arm].label, *(str(count[name]) for name in names)] for arm, count in counts.items()]
    yield markdown(["", "own lines", "shared lines", "hyper-parameters"], rows)


def _figures(summaries: Mapping[str, str]) -> Iterator[str]:
    yield "## Figures"
    for name, alt in _FIGURES.items():
        if name in summaries:
            yield f"![{alt}](figures/arena_{name}.svg)"
            yield summaries[name]
