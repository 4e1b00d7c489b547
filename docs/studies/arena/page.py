"""docs/arena.md, every number of it from the content of arena.json."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from docs.studies.arena.claims import EQUAL, RISK
from docs.studies.arena.measuring import score_of
from docs.studies.arena.summary import (
    YARDSTICK,
    by_seed,
    measured_arms,
    measured_budgets,
    over_prompts,
    trials_of,
)
from rslib.arena import ARMS, N
from rslib.intervals import CONTRADICTED, OPEN, SUPPORTED, Interval, over_seeds

Content = Mapping[str, Any]
TITLES = {
    "responses": "Equal responses",
    "flops": "Equal FLOPs",
    "cpu_seconds": "Equal seconds",
}
FIGURES = {
    "gold_kl": "Gold and reward of each method against its KL to the starting policy",
    "cost": "Gold of each method against what its run cost",
    "sensitivity": "Gold of every trial by learning rate and second setting",
}
QUALITY = {
    "proxy": "proxy",
    "kl": "KL, nats",
    "length": "length, tokens",
    "truncation_rate": "truncated",
    "unsafe_compliance": "unsafe compliance",
}


def page(content: Content) -> str:
    """The whole page."""
    parts = [*_opening(content), *_claims(content)]
    for unit in measured_budgets(content):
        parts += _budget(content, unit)
    parts += [*_serving(content), *_tuning(content), *_code(content), *_figures(content["summaries"])]
    return "\n\n".join(parts) + "\n"


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table, the first column to the left, the others to the right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def number(value: float, digits: int = 2) -> str:
    """A number with its digits, never "-0.00"; a dash for NaN.

    >>> number(1.234), number(-0.001), number(float("nan")), number(12345.6, 0)
    ('1.23', '0.00', '–', '12,346')
    """
    return "–" if np.isnan(value) else f"{round(value, digits) + 0.0:,.{digits}f}"


def interval_cell(found: Interval, digits: int = 2) -> str:
    """Mean and ends in a table cell."""
    return (
        f"{number(found['mean'], digits)} [{number(found['low'], digits)}, {number(found['high'], digits)}]"
    )


def said(text: str, **values: Any) -> str:
    """A paragraph from a text with line breaks and places for values.

    >>> said("Two   lines, {n}.", n=2)
    'Two lines, 2.'
    """
    return " ".join(text.split()).format(**values)


OPENING = """
    All methods tune the embedded policy on the same training prompts with the same reward model, and are
    judged on {prompts} prompts of the test split, {samples} responses each, with {seeds} seeds. The test
    split was used once. A budget is what one round of best-of-{n} on {reference} prompts costs at the
    engine's default settings: {responses:,.0f} responses, {flops:,.0f} GFLOPs, or {seconds:.1f} seconds.
    FLOPs are counted on paper, 2 per parameter and token read, 6 per parameter and token trained on.
    Seconds are CPU seconds of the run's one thread; on a quiet core they equal wall-clock. Wall-clock
    stands beside them: where it is longer, other processes held the cores. The clock runs for sampling,
    scoring and training, not for evaluation or for saving the state of a run.
"""
FITTING = """
    RS-1, RS-3, the random control and DPO draw prompts until what is left is needed for the fine-tune;
    the online methods stop at the step that ends nearest to the budget. How far each run ended beside
    its budget stands in the last column of the tables of costs.
"""
JUDGING = """
    Each claim is a difference with its interval, and its verdict is computed from the interval alone.
    With {claims} claims each interval has level 1 - {risk:g} / {claims} (Bonferroni), so the chance
    that any of them misses the truth is at most {risk:.0%}. Intervals of gold and reward know of both
    sources of chance, seeds and prompts; those of costs know of seeds alone, and have no width where
    all seeds cost the same.
"""
SERVING = """
    Best-of-{n} serving trains nothing and pays at every prompt: {responses:.0f} responses, {flops:.2f}
    GFLOPs and {milliseconds:.0f} CPU milliseconds for each response that it serves. The FLOPs of one
    training budget are spent after {worth:,.0f} served responses. Its KL in the tables is the upper
    bound log n - (n - 1) / n.
"""
MEMORY = """
    Memory is the most that the process held before its evaluation, less what it held before the models
    were loaded. Models held are those that a step needs at once.
"""
CHOOSING = """
    Every method had the same trials: at equal FLOPs three learning rates (a third of the middle one,
    the middle one, three times it) times two values of a second setting. Where equal responses are
    measured, the three learning rates are tried again there, with the second setting that was best.
    Settings for equal seconds are those found at equal FLOPs. All trials have seed {seed} and are
    judged on {prompts} prompts of the validation split. The best by gold was taken: gold stands for the
    few hundred careful judgements that a team can buy for a choice. What the reward alone would have
    chosen stands beside it, with what that choice loses in gold on the same prompts.
"""
COUNTING = """
    Lines of code are counted without blank lines, comments and docstrings: the method's own, and those that
    it shares with its kin; sampling, scoring and the training step, which all use, are not among them.
    Hyper-parameters are the fields of its settings that shape the tuned policy; the loop of the online
    methods always samples at temperature 1 and has no fields for that.
"""


def _opening(content: Content) -> Iterator[str]:
    plan, limits = content["plan"], content["budgets"]
    yield "# The arena: rejection sampling beside what it replaces"
    yield said(
        """Made by `{command}` from `docs/results/arena.json`; no number below is typed. Device: {device}, one
        thread a run.""",
        command=content["command"],
        device=content["device"],
    )
    yield said(
        OPENING,
        prompts=plan["test_prompts"],
        samples=plan["samples"],
        seeds=len(plan["seeds"]),
        n=N,
        reference=plan["reference_prompts"],
        responses=limits["responses"],
        flops=limits["flops"] / 1e9,
        seconds=limits["cpu_seconds"],
    )
    yield said(FITTING)
    missing = [EQUAL[unit] for unit in TITLES if unit not in measured_budgets(content)]
    if missing:
        yield f"Not measured yet: {' and '.join(missing)}."


def _claims(content: Content) -> Iterator[str]:
    found = content["claims"]
    yield "## What can be said"
    yield said(JUDGING, claims=len(found), risk=RISK)
    rows = [
        [one["claim"], f"**{one['verdict']}**", f"{_difference(one)} {one['unit']}"]
        for verdict in (SUPPORTED, CONTRADICTED, OPEN)
        for one in found
        if one["verdict"] == verdict
    ]
    yield markdown(["claim", "verdict", "difference"], rows)


def _difference(found: Mapping[str, Any]) -> str:
    """The interval of a claim, FLOPs in thousand millions."""
    scale = 1e-9 if found["unit"] == "FLOPs" else 1.0
    text = interval_cell({name: found[name] * scale for name in ("mean", "low", "high")})
    return f"{text} G" if scale != 1.0 else text


def _budget(content: Content, unit: str) -> Iterator[str]:
    arms = measured_arms(content)
    yield f"## {TITLES[unit]}"
    yield markdown(
        ["", "gold [over seeds]", f"gold minus {ARMS[YARDSTICK].label} [over prompts]", *QUALITY.values()],
        [_quality_row(content, arm, unit) for arm in arms],
    )
    heads = ("responses", "tokens drawn", "tokens trained", "GFLOPs", "CPU seconds", "wall-clock, s")
    yield markdown(
        ["", *heads, "peak memory, MiB", "models held", "beside budget"],
        [_cost_row(content, arm, unit) for arm in arms if ARMS[arm].run is not None],
    )


def _quality_row(content: Content, arm: str, unit: str) -> list[str]:
    same = arm == YARDSTICK
    apart = "" if same else interval_cell(over_prompts(content, arm, YARDSTICK, unit))
    means = [number(float(by_seed(content, arm, unit, metric).mean())) for metric in QUALITY]
    return [ARMS[arm].label, interval_cell(over_seeds(by_seed(content, arm, unit, "gold"))), apart, *means]


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
    each = {
        name: by_seed(content, "best_of_n", None, name).mean() / served for name in ("responses", "flops")
    }
    each["cpu_seconds"] = by_seed(content, "best_of_n", None, "cpu_seconds").mean() / served
    yield "## What serving the best of n costs"
    yield said(
        SERVING,
        n=N,
        responses=each["responses"],
        flops=each["flops"] / 1e9,
        milliseconds=each["cpu_seconds"] * 1000,
        worth=content["budgets"]["flops"] / each["flops"],
    )
    yield said(MEMORY)


def _tuning(content: Content) -> Iterator[str]:
    plan = content["plan"]
    yield "## How the settings were chosen"
    yield said(CHOOSING, seed=plan["tuning_seed"], prompts=plan["validation_prompts"])
    for unit in content["chosen"]:
        rows = [_chosen_row(content, arm, unit) for arm in content["chosen"][unit]]
        yield f"Trials at {EQUAL[unit]}:"
        yield markdown(
            [
                "",
                "chosen",
                "edge of the grid",
                "gold of the trials, lowest to highest",
                "reward would choose",
                "and lose",
            ],
            rows,
        )


def _chosen_row(content: Content, arm: str, unit: str) -> list[str]:
    trials = trials_of(content, arm, unit)
    gold = [score_of(one, "gold") for one in trials]
    best, greedy = content["chosen"][unit][arm], content["chosen_by_reward"][unit][arm]
    (lost,) = (max(gold) - score_of(one, "gold") for one in trials if one["setting"] == greedy)
    ends = sorted(one["setting"]["learning_rate"] for one in trials)
    edge = {ends[0]: "lowest", ends[-1]: "highest"}.get(best["learning_rate"], "")
    return [
        ARMS[arm].label,
        setting_text(best),
        edge,
        f"{number(min(gold))} to {number(max(gold))}",
        "the same" if best == greedy else setting_text(greedy),
        number(lost),
    ]


def setting_text(setting: Mapping[str, float]) -> str:
    """A trial's setting in a cell.

    >>> setting_text({"learning_rate": 0.0005, "epochs": 3})
    'learning rate 0.0005, epochs 3'
    """
    return ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in setting.items())


def _code(content: Content) -> Iterator[str]:
    yield "## What a method asks of its readers"
    yield said(COUNTING)
    counts = {arm: content["code"][arm] for arm in measured_arms(content) if arm != "base"}
    names = ("own_lines", "shared_lines", "hyper_parameters")
    rows = [[ARMS[arm].label, *(str(found[name]) for name in names)] for arm, found in counts.items()]
    yield markdown(["", "own lines", "shared lines", "hyper-parameters"], rows)


def _figures(summaries: Mapping[str, str]) -> Iterator[str]:
    yield "## Figures"
    for name, alt in FIGURES.items():
        if name in summaries:
            yield f"![{alt}](figures/arena_{name}.svg)"
            yield summaries[name]
