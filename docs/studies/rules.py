"""Which rule to keep a response by: rules of inference time against plain best-of-n, with no training.

    python -m docs.studies.rules WORLD WORLD      docs/results/rules.json; the embedded world first

Pools of 256 responses to validation prompts choose each rule's parameter, for every n and reward model by
mean gold; pools of test prompts judge it, beside plain best-of-n on the same responses, paired by prompt.
Rules that draw are averaged over several draws. The intervals are bootstraps over prompts that share an
intent, 95 %, one by one: of twenty rules that buy nothing one is expected to look as if it did.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from docs.studies.results import DOCS, FIGURES, filled, markdown, measure_rows, read, signed_interval
from docs.studies.worlds import REWARD_MODELS
from rslib import plots
from rslib.evaluation import verdict
from rslib.models import ASSETS, load_policy, load_reward_model
from rslib.more_selectors import minimum_bayes_risk
from rslib.prompts import EMBEDDED, load_prompts
from rslib.sampling import sample
from rslib.scoring import score
from rslib.selection import Pool, selector_of
from rslib.stages import with_gold
from rslib.tables import take
from rslib.theory import paired_interval

if TYPE_CHECKING:
    from datasets import Dataset
    from matplotlib.axes import Axes

SIZES = (4, 16, 64, 256)
PROMPTS, _TUNING_PROMPTS, _DRAWS = 200, 100, 8
"""Test prompts; validation prompts that choose the settings; draws of a rule that draws."""
_LOOKS = (
    ("#222222", "o"),
    ("#21558c", "s"),
    ("#b4552d", "^"),
    ("#4f7a3a", "v"),
    ("#8a6d00", "D"),
    ("#7a3a72", "P"),
    ("#9aa7b5", "X"),
)
"""Colour and marker of best-of-n and of each rule, in order."""
Rule = Callable[[Pool], np.ndarray]
"""A pool -> one row of each prompt."""


def _best_of_first(m: int) -> Rule:
    """Best-of-m: what a tuned n keeps of more responses."""
    return lambda pool: pool.best(np.where(np.array(pool.table["sample_id"][:]) < m, pool.rewards, -np.inf))


def _rules(n: int) -> dict[str, list[tuple[dict[str, Any], Rule]]]:
    """The rules by name, each with its settings that validation chooses from, for pools of n responses."""

    def of(name: str, option: str, values: Sequence[float]) -> list[tuple[dict[str, Any], Rule]]:
        return [({option: value}, partial(selector_of(name), **{option: value})) for value in values]

    smaller = [m for m in (1, 2, 4, 8, 16, 32, 64, 128, 256) if m <= n]
    return {
        "tuned n": [({"n": m}, _best_of_first(m)) for m in smaller],
        "soft best-of-n": of("soft_best_of_n", "temperature", (0.03, 0.1, 0.3, 1.0, 3.0)),
        "best-of-Poisson": of("best_of_poisson", "mu", [m - 1 for m in smaller]),
        "pessimistic": of("pessimistic", "beta", (0.03, 0.1, 0.3, 1.0, 3.0, 10.0)),
        "length-controlled": [({}, selector_of("length_controlled"))],
        "minimum Bayes risk": [({}, minimum_bayes_risk)],
    }


def _gold(table: Dataset, rule: Rule, draws: int) -> np.ndarray:
    """Gold of the response that the rule keeps of each prompt, the mean of several draws, `(M,)`.

    Minimum Bayes risk draws nothing but ties, and is slow: one draw will do.
    """
    values = np.array(table["gold"][:])
    kept = []
    for seed in range(1 if rule is minimum_bayes_risk else draws):
        pool = Pool(table, seed)
        rows = rule(pool)
        kept.append(values[rows[np.argsort(pool.prompts[rows])]])
    return np.mean(kept, axis=0)


def _first(table: Dataset, n: int) -> Dataset:
    """The first n responses of each prompt."""
    return take(table, np.flatnonzero(np.array(table["sample_id"][:]) < n))


def judged_rules(tuning: Dataset, test: Dataset, n: int, draws: int = _DRAWS) -> dict[str, dict[str, Any]]:
    """Each rule on n responses a prompt: the setting that `tuning` chooses, and its gold on `test`.

    Beside it the difference to plain best-of-n on the same responses, `{difference, low, high, verdict}`.
    """
    tuning, test = _first(tuning, n), _first(test, n)
    clusters = np.array(test["intent"][:])[np.unique(Pool(test).prompts, return_index=True)[1]]
    plain = _gold(test, selector_of("best_of_n"), draws)
    results: dict[str, dict[str, Any]] = {"best-of-n": {"gold": round(float(plain.mean()), 3)}}
    for name, settings in _rules(n).items():
        means = [_gold(tuning, rule, draws).mean() for _, rule in settings] if len(settings) > 1 else [0.0]
        setting, rule = settings[int(np.argmax(means))]
        gold = _gold(test, rule, draws)
        low, high = paired_interval(gold, plain, clusters=clusters)
        interval = {
            "difference": round(float((gold - plain).mean()), 3),
            "low": round(low, 3),
            "high": round(high, 3),
        }
        support = {"verdict": verdict(interval, "better", "worse")}
        results[name] = {"setting": setting, "gold": round(float(gold.mean()), 3)} | interval | support
    return results


@lru_cache(maxsize=1)
def _drawn(world: Path) -> list[Dataset]:
    """Responses with gold to validation and to test prompts; all reward models of a world read the same."""
    policy, tables = load_policy(str(world / "tiny-policy")), []
    for seed, (split, count) in enumerate((("validation", _TUNING_PROMPTS), ("test", PROMPTS))):
        responses = sample(policy, load_prompts(EMBEDDED, split, count), n=SIZES[-1], seed=seed + 11)
        tables.append(with_gold(responses))
    return tables


def _pools(world: Path, reward_model: str) -> list[Dataset]:
    """Scored pools with gold of validation and of test prompts, the largest n of responses to each."""
    scorer = load_reward_model(str(world / reward_model))
    return [score(scorer, table) for table in _drawn(world)]


def _over_worlds(rows: Mapping[str, Any], kind: str, name: str, n: str) -> dict[str, Any]:
    """Mean difference to best-of-n over the worlds, and in how many the interval lies above and below 0."""
    results = [cells[kind][n][name] for cells in rows.values() if kind in cells]
    verdicts = [result["verdict"] for result in results]
    mean = float(np.mean([result["difference"] for result in results]))
    counts = {what: verdicts.count(what) for what in ("better", "worse")}
    return {"mean": mean, "worlds": len(results), **counts}


def _names(rows: Mapping[str, Any]) -> list[str]:
    """The rules that were measured beside best-of-n."""
    by_size, order = next(iter(next(iter(rows.values())).values())), list(_rules(1))
    names = [name for name in next(iter(by_size.values())) if name != "best-of-n"]
    return sorted(names, key=lambda name: order.index(name) if name in order else len(order))


def overview(content: Mapping[str, Any]) -> str:
    """Each rule over all worlds, by reward model and n: mean difference, worlds up and down, a verdict."""
    rows, table = content["rows"], []
    for kind in REWARD_MODELS:
        for name in _names(rows):
            cells = [_over_worlds(rows, kind, name, str(n)) for n in SIZES]
            texts = [f"{cell['mean']:+.2f} ({cell['better']} up, {cell['worse']} down)" for cell in cells]
            table.append([f"{name}, {kind}", *texts, _verdict(cells)])
    head = ["gold over best-of-n", *(f"n = {n}" for n in SIZES), "in short"]
    kinds = {kind: sum(kind in cells for cells in rows.values()) for kind in REWARD_MODELS}
    counts = " and ".join(f"{count} with the {kind} reward model" for kind, count in kinds.items())
    note = f"Mean over worlds, {counts}; in brackets, in how many the 95 % interval lies above and below 0."
    return f"{markdown(head, table)}\n\n{note}"


def _verdict(cells: Sequence[Mapping[str, Any]]) -> str:
    """What a row of `overview` says, in words: a rule has to help in every world at the same n."""
    helps = [n for n, cell in zip(SIZES, cells, strict=True) if cell["better"] == cell["worlds"]]
    harms = [n for n, cell in zip(SIZES, cells, strict=True) if cell["worse"] == cell["worlds"]]
    words = [
        f"{what} at n = {', '.join(map(str, ns))}" for what, ns in (("helps", helps), ("harms", harms)) if ns
    ]
    return "; ".join(words) or "buys nothing that every world shows"


def gold_curves(content: Mapping[str, Any]) -> list[Axes]:
    """Gold of the response that each rule keeps, against n, mean over worlds; a panel for a reward model."""
    rows, axes = content["rows"], plots.panels(len(REWARD_MODELS), 4.2, None)
    for panel, kind in zip(axes, REWARD_MODELS, strict=True):
        for name, (colour, marker) in zip(["best-of-n", *_names(rows)], _LOOKS, strict=False):
            gold = [
                np.mean([cells[kind][str(n)][name]["gold"] for cells in rows.values() if kind in cells])
                for n in SIZES
            ]
            width = 2.5 if name == "best-of-n" else 1.2
            panel.plot(SIZES, gold, color=colour, marker=marker, linewidth=width, markersize=5, label=name)
        panel.set(xscale="log", xlabel="responses to a prompt, n (log)", ylabel="gold (points)")
        panel.set_xticks(SIZES, list(map(str, SIZES)), minor=False)
        panel.minorticks_off()
        panel.set_title(f"{kind} reward model", fontsize=9)
    axes[-1].legend(frameon=False, fontsize=7)
    ends = "; ".join(
        f"{name}, {kind}: {_over_worlds(rows, kind, name, str(SIZES[-1]))['mean']:+.2f}"
        for kind in REWARD_MODELS
        for name in _names(rows)
    )
    plots.finished(
        axes, "What is one of n worth by another rule?", f"Over best-of-n at n = {SIZES[-1]}: {ends}."
    )
    return axes


def text(content: Mapping[str, Any]) -> str:
    """The tables of docs/selectors.md: the rules over all worlds, and what each gains in each world."""
    rows = []
    for world, cells in content["rows"].items():
        for kind, by_size in cells.items():
            results = [by_size[str(n)] for n in SIZES]
            gold = [f"{result['best-of-n']['gold']:.2f}" for result in results]
            rows.append([f"{world}, {kind}: gold of best-of-n", *gold])
            rows += [[name, *(_cell(result[name]) for result in results)] for name in _names(content["rows"])]
    head = ["gained over best-of-n", *(f"n = {n}" for n in SIZES)]
    note = (
        f"Gold minus that of plain best-of-n on the same responses to {PROMPTS} test prompts, with its 95 % "
        f"interval over intents; settings chosen by gold on {_TUNING_PROMPTS} validation prompts, "
        "in brackets. Bold: the interval leaves out 0, which one of twenty does where nothing is to be had."
    )
    figure = "![Gold of the response that each rule keeps, against n](figures/rules.svg)"
    return "\n\n".join((overview(content), figure, markdown(head, rows), note))


def _cell(result: Mapping[str, Any]) -> str:
    setting = ", ".join(f"{value:g}" for value in result["setting"].values())
    cell = signed_interval(result) + (f" ({setting})" if setting else "")
    return cell if result["verdict"] == "not separable" else f"**{cell}**"


def main(worlds: Sequence[str]) -> None:
    """Measure the embedded world and the named ones, and write the page's table."""
    folders = {"embedded world": ASSETS} | {f"world {Path(world).name}": Path(world) for world in worlds}

    def measure(world: str, kind: str) -> dict[str, Any]:
        tuning, test = _pools(folders[world], REWARD_MODELS[kind])
        return {str(n): judged_rules(tuning, test, n) for n in SIZES}

    facts = {"prompts": PROMPTS, "tuning_prompts": _TUNING_PROMPTS, "draws": _DRAWS}
    cells = [
        (world, kind)
        for world, folder in folders.items()
        for kind, model in REWARD_MODELS.items()
        if (folder / model).is_dir()
    ]
    measure_rows("rules", cells, measure, facts)
    page, content = DOCS / "selectors.md", read("rules")
    page.write_text(filled(page.read_text(encoding="utf-8"), "rules", text(content)), encoding="utf-8")
    plots.save(gold_curves(content), FIGURES / "rules.svg")


if __name__ == "__main__":
    main(sys.argv[1:])
