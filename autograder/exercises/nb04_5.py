"""Exercise 4.5: three rounds with fresh samples, stale samples and replay, and where to stop."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from autograder.calibration import threshold
from autograder.checks import assert_inputs_unchanged
from autograder.exercise import Exercise, Misconception, Part, diagnose, require, same, short
from autograder.exercises.artefacts import (
    AGREES,
    CLAIMS,
    FORM,
    HASH,
    INTERVAL,
    check_evidence,
    check_own_rows,
    check_pool,
    check_rescored,
    hidden_prompts,
    judged,
    loaded,
    memoize,
    off_by,
    some_rows,
)
from autograder.handouts.models import base_policy
from autograder.work import Work
from rslib import evaluation, tables

if TYPE_CHECKING:
    from datasets import Dataset

    from rslib.models import Policy

ROUNDS = 3
FEWEST_PROMPTS, FEWEST_SAMPLES = 48, 8
HIDDEN = 80
LOWEST_UNIQUE = 0.5

STOPS = "stops where the rule says"
POOLS = "hands in a pool for each round"
NEW_PROMPTS = "every round has prompts of its own"
FRESH = "each pool was drawn by the policy before it"
LEARNED = "each round learned the best of its own pool"
STOP_AFTER = "stop_after follows from the panel"

FRESH_ARMS = ("base", "one", "two", "fresh")
"""The policies of rounds 0 to 3."""
COMPARISONS = {
    "reward, fresh against stale": ("fresh", "stale", "reward"),
    "gold, fresh against stale": ("fresh", "stale", "gold"),
    "gold, fresh against round 1": ("fresh", "one", "gold"),
    "gold, replay against fresh": ("replay", "fresh", "gold"),
}
"""What the learner compares: first arm, second arm, column; all arms after round 3 but `one`."""

MEASURES = ("gold", "proxy", "kl", "unique_ratio", "entropy")
"""Columns of the panel that are measured again."""

Panel = Sequence[Mapping[str, Any]]


# The rule -------------------------------------------------------------------------------------------------


def rule(panel: Panel) -> int:
    """The round that the exercise's rule keeps."""
    for before, now in zip(panel, panel[1:], strict=False):
        if not (_rises(before, now) and _alive(panel, now)):
            return int(before["round"])
    return int(panel[-1]["round"])


def _rises(before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    return bool(now["gold"] - before["gold"] > 2 * now["gold_error"])


def _alive(panel: Panel, now: Mapping[str, Any]) -> bool:
    return now["entropy"] >= 0.5 * panel[0]["entropy"] and now["unique_ratio"] >= LOWEST_UNIQUE


def _first(panel: Panel, goes_on: Any) -> int:
    return next((k - 1 for k in range(1, len(panel)) if not goes_on(panel[k - 1], panel[k])), len(panel) - 1)


def _slip_ideas(panel: Panel) -> list[Misconception]:
    """The rule with one thing in it read wrongly."""
    start, gold = panel[0], "A round's gold is compared with round 0's. The round before it is the measure."

    def stops(rises: Any = _rises, alive: Any = _alive) -> int:
        return _first(panel, lambda b, n: rises(b, n) and alive(panel, n))

    def drifts(before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
        return _rises(before, now) and _alive([before], now)

    def up(change: float, now: Mapping[str, Any]) -> bool:
        return bool(change > 2 * now["gold_error"])

    return [
        Misconception(
            "F34",
            "The error of the round before is used. Each row's `gold_error` belongs to its own rise.",
            stops(lambda b, n: up(n["gold"] - b["gold"], b)),
        ),
        Misconception(
            "F34",
            "A rise of exactly two standard errors counts. More than two are asked for.",
            stops(lambda b, n: n["gold"] - b["gold"] >= 2 * n["gold_error"]),
        ),
        Misconception(
            "F32",
            "A gold that is NaN went through as a rise: NaN compares false with everything.",
            stops(lambda b, n: not n["gold"] - b["gold"] <= 2 * n["gold_error"]),
        ),
        Misconception(
            "sign",
            "A fall of gold counts like a rise: the sign of the change is dropped.",
            stops(lambda b, n: up(abs(n["gold"] - b["gold"]), n)),
        ),
        Misconception(
            "F16",
            "The rise of the reward is asked for. Gold has to rise.",
            stops(lambda b, n: up(n["proxy"] - b["proxy"], n)),
        ),
        Misconception("first round", gold, stops(lambda b, n: up(n["gold"] - start["gold"], n))),
        Misconception(
            "F43",
            "Entropy is compared with the round before, so a slow collapse goes unnoticed. Round 0 is "
            "the measure.",
            _first(panel, drifts),
        ),
        Misconception(
            "F43",
            "The unique ratio is not looked at.",
            stops(alive=lambda p, n: _alive(p, n | {"unique_ratio": 1.0})),
        ),
        Misconception(
            "F43", "The entropy is not looked at.", stops(alive=lambda p, n: _alive(p, n | {"entropy": 9.0}))
        ),
        Misconception(
            "off by one",
            "Collapse is looked for in the round that you come from. The round that you go to must be alive.",
            _first(panel, lambda b, n: _rises(b, n) and _alive(panel, b)),
        ),
        Misconception(
            "off by one", "Rounds are counted from 1 here. The base policy is round 0.", rule(panel) + 1
        ),
        Misconception(
            "at the limit",
            "A round exactly at a limit is stopped at. At least half, and at least 0.5, go on.",
            stops(alive=lambda p, n: n["entropy"] > 0.5 * p[0]["entropy"] and n["unique_ratio"] > 0.5),
        ),
    ]


def _rule_ideas(panel: Panel) -> list[Misconception]:
    gold = [row["gold"] for row in panel]
    right = rule(panel)
    rising = [k for k in range(1, len(panel)) if _rises(panel[k - 1], panel[k]) and _alive(panel, panel[k])]
    return [
        Misconception(
            "resumes",
            "The rule stops for good at the first round that fails; a later rise does not count.",
            max(rising, default=0),
        ),
        Misconception(
            "F16",
            "This is the round with the highest reward: what was selected for, not what it is for.",
            int(np.argmax([row["proxy"] for row in panel])),
        ),
        Misconception(
            "F43",
            "A round whose entropy or unique ratio has collapsed is gone through.",
            _first(panel, _rises),
        ),
        Misconception(
            "F34",
            "A rise within two standard errors counts as a rise.",
            _first(panel, lambda b, n: n["gold"] > b["gold"] and _alive(panel, n)),
        ),
        Misconception(
            "F34",
            "The round with the highest gold is taken, separable from the one before or not.",
            int(np.nanargmax(gold)) if np.isfinite(gold).any() else 0,
        ),
        Misconception(
            "off by one",
            "This is the round that broke the rule. The last good one comes before it.",
            min(right + 1, len(panel) - 1),
        ),
        Misconception(
            "F15", "The gold score is not looked at.", _first(panel, lambda b, n: _alive(panel, n))
        ),
        Misconception("F43", "Every round is taken.", len(panel) - 1),
        *_slip_ideas(panel),
    ]


def _panel(rng: np.random.Generator, steps: Sequence[float]) -> list[dict[str, float]]:
    """A healthy panel whose gold moves by `steps` standard errors; the reward peaks before its end."""
    rounds, error = len(steps), float(rng.uniform(0.1, 0.3))
    gold = rng.uniform(1, 3) + error * np.cumsum([0.0, *steps])
    entropy, proxy = rng.uniform(0.4, 0.9), np.sort(rng.uniform(0, 4, rounds + 1))
    if rounds > 2:
        proxy[[-3, -1]] = proxy[[-1, -3]]
    return [
        {
            "round": k,
            "gold": float(gold[k]),
            "gold_error": error if k else 0.0,
            "proxy": float(proxy[k]),
            "kl": 2.5 * k,
            "entropy": float(entropy * rng.uniform(0.6, 1.1) if k else entropy),
            "unique_ratio": float(rng.uniform(0.7, 1.0)),
        }
        for k in range(rounds + 1)
    ]


def _panels(rng: np.random.Generator) -> list[list[dict[str, float]]]:
    """Panels on which the usual mistakes stop at different rounds; the round where things turn is drawn."""
    found = []
    for _ in range(4):
        turn = int(rng.integers(1, 4))
        rise = rng.uniform(3, 8, turn).tolist()
        falls = _panel(rng, [*rise, *[-4.0] * 5])
        falls[-1]["entropy"] *= 0.2
        found += [falls, _panel(rng, [*rise, 1.2, -0.5, 1.5, -4.0, -4.0, -4.0])]
        for name in ("entropy", "unique_ratio"):
            panel = _panel(rng, [*rise, *[5.0] * 4, -4.0])
            for row in panel[turn + 1 :]:
                row[name] = 0.3 * panel[0][name]
            found.append(panel)
        found += [_panel(rng, [*rise, -3.0, 6.0, -4.0, -4.0, -4.0]), _panel(rng, [*rise, 0.0, 0.0])]
    found += [_slow_collapse(rng), _uneven(rng), *_limits(rng)]
    lost = _panel(rng, [5.0] * 4)
    lost[3]["gold"] = float("nan")
    return [
        *found,
        lost,
        _panel(rng, [-5.0, 5.0, 5.0]),
        _panel(rng, []),
        _panel(rng, [6.0]),
        _panel(rng, [5.0] * 4),
    ]


def _slow_collapse(rng: np.random.Generator) -> list[dict[str, float]]:
    """Entropy falls by a third each round: never by half of the round before."""
    panel = _panel(rng, [5.0] * 5)
    for k, row in enumerate(panel):
        row["entropy"] = panel[0]["entropy"] * 0.67**k
    return panel


def _uneven(rng: np.random.Generator) -> list[dict[str, float]]:
    """The third rise is large beside the error of round 2 and small beside its own."""
    panel = _panel(rng, [5.0, 5.0, 4.5, 5.0, -4.0])
    panel[3]["gold_error"] *= 3
    return panel


def _limits(rng: np.random.Generator) -> list[list[dict[str, float]]]:
    """Panels at the limits themselves, in numbers that a float holds exactly."""
    at_error, at_collapse = _panel(rng, [5.0] * 3), _panel(rng, [5.0] * 3)
    for k, row in enumerate(at_error):
        row |= {"gold": 1.0 + k, "gold_error": 0.25 if k < 2 else 0.5}
    at_collapse[0]["entropy"] = 0.5
    at_collapse[1] |= {"entropy": 0.25, "unique_ratio": 0.5}
    return [at_error, at_collapse]


def grade_rule(work: Work, rng: np.random.Generator) -> None:
    """should_stop(panel) on drawn panels; an idea is named only if it explains every answer."""
    function, panels = work.function("should_stop"), _panels(rng)
    got, right = [function(panel) for panel in panels], [rule(panel) for panel in panels]
    wrong = [k for k in range(len(panels)) if not same(got[k], right[k])]
    if wrong:
        ideas = zip(*(_rule_ideas(panel) for panel in panels), strict=True)
        fitting = [i[wrong[0]] for i in ideas if same(got, [one.value for one in i])]
        diagnose(
            STOPS,
            got[wrong[0]],
            right[wrong[0]],
            ideas=fitting,
            case=[
                {k: round(v, 2) if isinstance(v, float) else v for k, v in row.items()}
                for row in panels[wrong[0]]
            ],
            otherwise="Go through the rounds one by one and ask the two questions of each.",
        )
    assert_inputs_unchanged(work, "should_stop", panels[0])


# The rounds -----------------------------------------------------------------------------------------------


@memoize
def learned(before: Policy, after: Policy, pool: Dataset) -> float:
    """How much more likely a round made the best row of each prompt than its other rows, nats per response.

    0 where nothing was tuned, about 0 after tuning on a random pick.
    """
    from rslib.scoring import reference_logprobs

    finished = tables.finish_reasons(pool) == "eos"
    rewards = tables.reward_column(pool)
    usable = [rows[finished[rows]] for rows in tables.groups(pool).values()]
    ranked = [rows[np.argsort(rewards[rows])] for rows in usable if len(rows) > 1]
    table = tables.take(pool, np.concatenate([r[-1:] for r in ranked] + [r[:-1] for r in ranked]))
    change = np.subtract(reference_logprobs(after, table), reference_logprobs(before, table))
    return float(change[: len(ranked)].mean() - change[len(ranked) :].mean())


def _policies(work: Work) -> dict[str, Policy]:
    """The policies that are handed in: `one`, `two`, `fresh` (after rounds 1 to 3), `stale` and `replay`."""
    folders = work.value("fresh", (list, tuple))
    message = f"`fresh` names {ROUNDS} folders, one for each round."
    require(len(folders) == ROUNDS, FORM, message, got=short(folders))
    found = {
        name: loaded(work, path, f"fresh[{k}]")
        for k, (name, path) in enumerate(zip(("one", "two", "fresh"), folders, strict=True))
    }
    return found | {name: loaded(work, work.object(name), name) for name in ("stale", "replay")}


def _pools(work: Work) -> list[Dataset]:
    pools = work.value("pools", (list, tuple))
    require(len(pools) == ROUNDS, POOLS, f"`pools` holds {ROUNDS} tables.", got=f"{len(pools)} tables")
    for pool in pools:
        require(
            hasattr(pool, "column_names") and "logprob" in pool.column_names, POOLS, "These are no pools."
        )
        tables.check_scored(pool)
    return list(pools)


def grade_rounds(work: Work, rng: np.random.Generator) -> None:
    """Three fresh rounds, and two others that went other ways."""
    pools, policies = _pools(work), _policies(work)
    hashes = {"base": base_policy().fingerprint()}
    for name, policy in policies.items():
        twin = [other for other, known in hashes.items() if known == policy.fingerprint()]
        message = (
            f"The policies `{name}` and `{''.join(twin)}` have the same weights: nothing was tuned between."
        )
        require(not twin, HASH, message, idea="F01")
        hashes[name] = policy.fingerprint()
    _check_pools(pools, rng)
    check_own_rows(base_policy(), policies["one"], _best(pools[0]), pools[0], "fresh[0]")
    for k, (before, after) in enumerate((("one", "two"), ("two", "fresh")), start=2):
        _check_fresh(pools[k - 1], policies[before], k, rng)
        found = learned(policies[before], policies[after], pools[k - 1])
        message = f"Round {k} did not make the best rows of its pool more likely than the others."
        got = f"{found:+.1f} nats per response"
        idea = "F03" if found < -1 else "F04"
        require(found >= threshold("4.5", "learned"), LEARNED, message, idea=idea, got=got)


def _best(pool: Dataset) -> Dataset:
    """The best finished row of each prompt of a pool."""
    from rslib.selection import select

    return select(pool, "best_of_n", truncated="drop")


def _check_pools(pools: Sequence[Dataset], rng: np.random.Generator) -> None:
    seen: set[str] = set()
    for number, pool in enumerate(pools, start=1):
        n = min(len(rows) for rows in tables.groups(pool).values())
        require(n >= FEWEST_SAMPLES, POOLS, f"Draw at least {FEWEST_SAMPLES} responses.", idea="F05", got=n)
        again = seen & set(pool["prompt"][:])
        message = f"Round {number} draws for prompts that an earlier round had."
        idea = "F19" if number > 1 and len(again) == len(set(pool["prompt"][:])) else "F20"
        require(not again, NEW_PROMPTS, message, idea=idea, got=f"{len(again)} prompts twice")
        seen |= set(pool["prompt"][:])
        check_pool(pool, FEWEST_PROMPTS, n)
        check_rescored(pool, rng)


def _check_fresh(pool: Dataset, before: Policy, number: int, rng: np.random.Generator) -> None:
    """The stored log-probabilities must be those that the policy before the round gives."""
    rows = some_rows(pool, rng)
    off = {name: off_by(rows, policy) for name, policy in (("own", before), ("base", base_policy()))}
    message = f"The responses of pool {number} were not drawn by the policy of round {number - 1}."
    if off["base"] < 0.1:
        message += " They come from the base policy: stale samples."
    require(off["own"] < 0.1, FRESH, message, idea="F19", got=f"log-probabilities differ by {off['own']:.1f}")


# What the panel says --------------------------------------------------------------------------------------


def _hidden(work: Work, rng: np.random.Generator) -> dict[str, Dataset]:
    rng = work.class_rng(rng, "held out")
    prompts = tables.take(hidden_prompts(rng), range(HIDDEN))
    seed, policies = int(rng.integers(2**31)), _policies(work)
    policies = {"base": base_policy()} | policies
    return {name: judged(policy, prompts, seed) for name, policy in policies.items()}


def measures(table: Dataset) -> dict[str, tuple[float, float]]:
    """Each number of the panel with a standard error."""
    found = evaluation.arm_metrics(table)
    spans = {name: found[name] for name in ("gold", "proxy")} | {"kl": found["intervals"]["kl"]}
    spans["unique_ratio"] = found["intervals"]["unique_ratio"]
    plain = {name: (span["mean"], (span["high"] - span["low"]) / 4) for name, span in spans.items()}
    entropy = found["entropy"] / found["length"]
    return plain | {"entropy": (entropy, 0.04 * entropy)}


def _panel_rows(panel: Panel) -> dict[int, Mapping[str, Any]]:
    """The rows of the learner's panel by round, each with its numbers."""
    rows = {row.get("round"): row for row in panel if isinstance(row, Mapping)}
    message = "`panel` has one row for each of the rounds 0 to 3, with the numbers that the notebook names."
    require(list(rows) == list(range(ROUNDS + 1)), FORM, message, got=short(list(rows)))
    for number, row in rows.items():
        for name in MEASURES:
            said = row.get(name)
            plain = isinstance(said, int | float) and np.isfinite(said)
            require(plain, FORM, message, got=f"round {number}: {name} = {short(said)}")
    return rows


def _check_panel(rows: Mapping[int, Mapping[str, Any]], arm_tables: Mapping[str, Dataset]) -> None:
    for number, arm in enumerate(FRESH_ARMS):
        for name, (ours, error) in measures(arm_tables[arm]).items():
            said = rows[number][name]
            floor = {"unique_ratio": 0.1, "kl": 0.1 + 0.5 * abs(ours)}.get(
                name, 0.0
            )  # kl: a few rare responses
            text = f"Round {number}: `{name}` is another number when the policy is measured again."
            close = abs(said - ours) <= 7 * error + floor
            require(close, AGREES, text, idea="F50", got=f"{said:.2f}")
    for number, pair in enumerate(itertools.pairwise(FRESH_ARMS), start=1):
        error = evaluation.compare(arm_tables[pair[1]], arm_tables[pair[0]])["standard_error"]
        said = rows[number].get("gold_error")
        fits = isinstance(said, int | float) and error / 3 < said < 2 * error
        text = f"Round {number}: `gold_error` is the standard error of the gold gained on the round before."
        require(fits, INTERVAL, text, idea="F34", got=short(said))


def grade_panel(work: Work, rng: np.random.Generator) -> None:
    """The measured table, the decision and the claims."""
    panel, evidence, claims = (
        work.value("panel", list),
        work.value("evidence", dict),
        work.value("claims", dict),
    )
    said = work.value("stop_after", (int, np.integer))
    rows = _panel_rows(panel)
    arm_tables = _hidden(work, rng)
    _check_panel(rows, arm_tables)
    message = "By the rule, this panel stops at another round."
    require(said == rule(panel), STOP_AFTER, message, got=said)
    for name, (first, second, column) in COMPARISONS.items():
        ours = evaluation.compare(arm_tables[first], arm_tables[second], column)
        check_evidence(name, evidence.get(name), ours)
        low, high = evidence[name]["low"], evidence[name]["high"]
        verdict = "higher" if low > 0 else "lower" if high < 0 else "not separable"
        message = f"{name}: the interval of your evidence says something else than the claim."
        require(claims.get(name) == verdict, CLAIMS, message, idea="F34", got=short(claims.get(name)))


EXERCISE = Exercise(
    "4.5",
    "Three rounds, and where to stop",
    3,
    20,
    (
        "should_stop",
        "pools",
        "fresh",
        "stale",
        "replay",
        "panel",
        "stop_after",
        "evidence",
        "claims",
    ),
    (
        Part("the rule", 1, grade_rule),
        Part("the rounds", 2, grade_rounds),
        Part("what the panel says", 2, grade_panel),
    ),
    measured=True,
)
