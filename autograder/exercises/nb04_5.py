"""Exercise 4.5: three rounds with fresh samples, stale samples and replay, and where to stop."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from autograder.calibration import threshold
from autograder.checks import Ideas, Learner, Unchanged, graded
from autograder.exercise import CheckFailed, Exercise, Misconception, Part, diagnose, require, same, short
from autograder.exercises.artefacts import (
    AGREES,
    FORM,
    INTERVAL,
    check_changed,
    check_claims,
    check_columns,
    check_judged,
    check_own_rows,
    check_pool,
    check_rescored,
    judged_arms,
    loaded,
    memoize,
    off_by,
    plain_number,
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
PANEL = "the panel is that of the judged tables"
STOP_AFTER = "stop_after follows from the panel"

FRESH_ARMS = ("base", "one", "two", "fresh")
"""The policies of rounds 0 to 3."""
COMPARISONS = {
    "reward, fresh against stale": ("fresh", "stale", "reward"),
    "gold, fresh against stale": ("fresh", "stale", "gold"),
    "gold, fresh against round 1": ("fresh", "one", "gold"),
    "gold, replay against fresh": ("replay", "fresh", "gold"),
}
"""What the learner compares: first arm, second arm, column; all after round 3 but `one`."""
LAST = {"round 1": "one", "fresh": "fresh", "stale": "stale", "replay": "replay"}
"""What the learner's `last` calls the policies that are compared."""

MEASURES = ("gold", "proxy", "kl", "unique_ratio", "entropy")
"""Columns of the panel that are measured again."""

Row = Mapping[str, Any]
Panel = Sequence[Row]
IDEAS = Ideas("""
rule (): Go through the rounds one by one and ask the two questions of each.
resumes: The rule stops for good at the first round that fails; a later rise does not count.
resumes above (resumes): A round that fails is skipped, and a later one that beats the best gold so far is
    taken. The rule stops for good.
healthy highest (F34): Of the rounds that have not collapsed, the one with the highest gold is taken. Each
    step has to be a clear rise of its own.
errors added (first round): Gold is compared with round 0's, with the errors of all rounds so far put
    together. The round before is the measure, with its own error.
lost half a nat (F43): The entropy may fall by 0.5 here. It is to be at least half of round 0's.
not asked (): The answer changes with `{name}`, and the rule does not ask for it.
highest reward (F16): This is the round with the highest reward: what was selected for, not what it is for.
collapsed (F43): A round whose entropy or unique ratio has collapsed is gone through.
clear fall (F34): Only a fall beyond two standard errors stops here. Where there is no rise beyond them, stop.
any rise (F34): A rise within two standard errors counts as a rise.
highest gold (F34): The round with the highest gold is taken, separable from the one before or not.
one too far (off by one): This is the round that broke the rule. The last good one comes before it.
no gold (F15): The gold score is not looked at.
every round (F43): Every round is taken.
error before (F34): The error of the round before is used. Each row's `gold_error` belongs to its own rise.
both errors (F34): The errors of two rounds are put together. `gold_error` is that of the rise already.
1.96 errors (F34): A rise of 1.96 standard errors counts. More than two are asked for.
one error (F34): A rise of more than one standard error counts. More than two are asked for.
two errors (F34): A rise of exactly two standard errors counts. More than two are asked for.
NaN (F32): A gold that is NaN went through as a rise: NaN compares false with everything.
a fall (sign): A fall of gold counts like a rise: the sign of the change is dropped.
reward rises (F16): The rise of the reward is asked for. Gold has to rise.
first round: A round's gold is compared with round 0's. The round before it is the measure.
slow collapse (F43): Entropy is compared with the round before, so a slow collapse goes unnoticed. Round 0 is
    the measure.
no unique ratio (F43): The unique ratio is not looked at.
no entropy (F43): The entropy is not looked at.
round before (off by one): Collapse is looked for in the round that you come from. The round that you go to
    must be alive.
from 1 (off by one): Rounds are counted from 1 here. The base policy is round 0.
base's share (F43): The unique ratio is held against half of round 0's. It is to be at least 0.5.
fixed entropy (F43): The entropy is held against 0.5. It is to be at least half of round 0's.
one of two (F43): The rule goes on as long as one of its two questions is answered yes. It needs both.
no number (form): `should_stop` returns the number of a round, such as 2.
at the limit: A round exactly at a limit is stopped at. At least half, and at least 0.5, go on.
""")


# The rule -------------------------------------------------------------------------------------------------


def rule(panel: Panel) -> int:
    """The round that the exercise's rule keeps."""
    return int(
        panel[_last(panel, lambda before, now: _rises(before, now) and _alive(panel[0], now))]["round"]
    )


def _last(panel: Panel, goes_on: Callable[[Row, Row], Any]) -> int:
    """The place of the row at which going on from one to the next ends."""
    steps = itertools.pairwise(panel)
    return next((k for k, (before, now) in enumerate(steps) if not goes_on(before, now)), len(panel) - 1)


def _rises(before: Row, now: Row) -> bool:
    return _separable(now["gold"] - before["gold"], now)


def _separable(change: float, row: Row) -> bool:
    return bool(change > 2 * row["gold_error"])


def _alive(start: Row, now: Row) -> bool:
    return now["entropy"] >= 0.5 * start["entropy"] and now["unique_ratio"] >= LOWEST_UNIQUE


def _half_of_base(start: Row, now: Row) -> bool:
    """Whether entropy and unique ratio are each at least half of round 0's."""
    return all(now[name] >= 0.5 * start[name] for name in ("entropy", "unique_ratio"))


def slips(panel: Panel) -> dict[str, int]:
    """Where the rule stops with one thing in it read wrongly."""
    start, gold, last = panel[0], [row["gold"] for row in panel], len(panel) - 1
    rising = [k for k, (b, n) in enumerate(itertools.pairwise(panel), 1) if _rises(b, n) and _alive(start, n)]

    def stop(rises: Callable[[Row, Row], bool] = _rises, alive: Callable[[Row, Row], bool] = _alive) -> int:
        return _last(panel, lambda before, now: rises(before, now) and alive(start, now))

    return {
        "resumes": max(rising, default=0),
        "resumes above": _above_the_best(panel),
        "healthy highest": max(
            (k for k, row in enumerate(panel) if _alive(start, row) and row["gold"] == row["gold"]),
            key=lambda k: gold[k],
            default=0,
        ),
        "errors added": _above_the_base(panel),
        "lost half a nat": stop(
            alive=lambda s, n: n["entropy"] >= s["entropy"] - 0.5 and n["unique_ratio"] >= LOWEST_UNIQUE
        ),
        "one error": stop(lambda b, n: n["gold"] - b["gold"] > n["gold_error"]),
        "1.96 errors": stop(lambda b, n: n["gold"] - b["gold"] > 1.96 * n["gold_error"]),
        "highest reward": int(np.argmax([row["proxy"] for row in panel])),
        "collapsed": _last(panel, _rises),
        "any rise": stop(lambda b, n: n["gold"] > b["gold"]),
        "clear fall": stop(lambda b, n: n["gold"] - b["gold"] > -2 * n["gold_error"]),
        "highest gold": int(np.nanargmax(gold)) if np.isfinite(gold).any() else 0,
        "one too far": min(rule(panel) + 1, last),
        "no gold": stop(lambda b, n: True),
        "every round": last,
        "error before": stop(lambda b, n: _separable(n["gold"] - b["gold"], b)),
        "both errors": stop(
            lambda b, n: n["gold"] - b["gold"] > 2 * np.hypot(b["gold_error"], n["gold_error"])
        ),
        "base's share": stop(alive=lambda s, n: _alive(s, n) or _half_of_base(s, n)),
        "fixed entropy": stop(alive=lambda s, n: n["entropy"] >= 0.5 and n["unique_ratio"] >= LOWEST_UNIQUE),
        "one of two": _last(panel, lambda b, n: _rises(b, n) or _alive(start, n)),
        "two errors": stop(lambda b, n: n["gold"] - b["gold"] >= 2 * n["gold_error"]),
        "NaN": stop(lambda b, n: not n["gold"] - b["gold"] <= 2 * n["gold_error"]),
        "a fall": stop(lambda b, n: _separable(abs(n["gold"] - b["gold"]), n)),
        "reward rises": stop(lambda b, n: _separable(n["proxy"] - b["proxy"], n)),
        "first round": stop(lambda b, n: _separable(n["gold"] - start["gold"], n)),
        "slow collapse": _last(panel, lambda b, n: _rises(b, n) and _alive(b, n)),
        "no unique ratio": stop(alive=lambda s, n: _alive(s, n | {"unique_ratio": 1.0})),
        "no entropy": stop(alive=lambda s, n: _alive(s, n | {"entropy": 9.0})),
        "round before": _last(panel, lambda b, n: _rises(b, n) and _alive(start, b)),
        "from 1": rule(panel) + 1,
        "at the limit": stop(
            alive=lambda s, n: n["entropy"] > 0.5 * s["entropy"] and n["unique_ratio"] > LOWEST_UNIQUE
        ),
    }


def _above_the_best(panel: Panel) -> int:
    """The last round that beats the best gold so far clearly and is alive; the others are skipped."""
    reached = 0
    for k, row in enumerate(panel):
        reached = k if _rises(panel[reached], row) and _alive(panel[0], row) else reached
    return reached


def _above_the_base(panel: Panel) -> int:
    """Where the rule ends if gold is held against round 0's, with the errors of all rounds so far."""
    errors = [sum(row["gold_error"] for row in panel[1 : k + 1]) for k in range(len(panel))]
    places = range(1, len(panel))
    rises = [panel[k]["gold"] - panel[0]["gold"] > 2 * errors[k] for k in places]
    fails = (k - 1 for k in places if not (rises[k - 1] and _alive(panel[0], panel[k])))
    return next(fails, len(panel) - 1)


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


def panels(rng: np.random.Generator) -> list[list[dict[str, float]]]:
    """Panels on which the usual mistakes stop at different rounds; the round where things turn is drawn."""
    drawn = [panel for _ in range(4) for panel in _turning(rng, int(rng.integers(1, 4)))]
    lost = _panel(rng, [5.0] * 4)
    lost[3]["gold"] = float("nan")
    slow = _panel(rng, [5.0] * 5)  # entropy falls by a third each round: never by half of the round before
    for k, row in enumerate(slow):
        row["entropy"] = slow[0]["entropy"] * 0.67**k
    uneven = _panel(rng, [5.0, 5.0, 4.5, 5.0, -4.0])  # a rise beside a small error before, a large one now
    uneven[3]["gold_error"] *= 3
    few = _panel(rng, [5.0] * 3)  # fewer than half are distinct, and more than half of round 0's share
    few[0]["unique_ratio"], few[2]["unique_ratio"] = 0.8, float(rng.uniform(0.42, 0.48))
    almost, waver = [5.0, 1.98, 5.0, -4.0], [5.0, 1.0, -5.0]
    small = [5.0, 2.4, 5.0, -4.0]  # a rise above two errors, and below two of both rounds together
    steps: tuple[list[float], ...] = (almost, waver, small, [-5.0, 5.0, 5.0], [], [6.0], [5.0] * 4)
    return [*drawn, slow, uneven, few, *_limits(rng), lost, *(_panel(rng, step) for step in steps)]


def _turning(rng: np.random.Generator, turn: int) -> list[list[dict[str, float]]]:
    """Panels that rise up to a round, and then fall, waver, collapse, dip or stand still."""
    rise = rng.uniform(3, 8, turn).tolist()
    falls = _panel(rng, [*rise, *[-4.0] * 5])
    falls[-1]["entropy"] *= 0.2
    collapses = [_panel(rng, [*rise, *[5.0] * 4, -4.0]) for _ in range(2)]
    for panel, name in zip(collapses, ("entropy", "unique_ratio"), strict=True):
        for row in panel[turn + 1 :]:
            row[name] = 0.3 * panel[0][name]
    others = ([1.2, -0.5, 1.5, -4.0, -4.0, -4.0], [-3.0, 6.0, -4.0, -4.0, -4.0], [0.0, 0.0])
    return [falls, *collapses, *(_panel(rng, [*rise, *steps]) for steps in others)]


def _limits(rng: np.random.Generator) -> list[list[dict[str, float]]]:
    """Panels at the limits themselves, in numbers that a float holds exactly."""
    at_error, at_collapse = _panel(rng, [5.0] * 3), _panel(rng, [5.0] * 3)
    for k, row in enumerate(at_error):
        row |= {"gold": 1.0 + k, "gold_error": 0.25 if k < 2 else 0.5}
    at_collapse[0]["entropy"] = 0.5
    at_collapse[1] |= {"entropy": 0.25, "unique_ratio": 0.5}
    return [at_error, at_collapse]


def _told(panel: Panel) -> str:
    """What the rule reads of a panel, round after round."""
    names = ("gold", "gold_error", "entropy", "unique_ratio")
    return "; ".join(f"{name} {' '.join(f'{row[name]:.2f}' for row in panel)}" for name in names)


def check_rule(should_stop: Learner, rng: np.random.Generator) -> None:
    """should_stop(panel) on drawn panels; an idea is named only if it explains every answer."""
    drawn = panels(rng)
    answers, right = [should_stop(panel) for panel in drawn], [rule(panel) for panel in drawn]
    for answer in answers:
        number = not isinstance(answer, bool | np.bool_) and plain_number(answer) is not None
        require(number, STOPS, IDEAS["no number"], got=short(answer))
    wrong = next((k for k in range(len(drawn)) if not same(answers[k], right[k])), None)
    if wrong is None:
        return
    readings = [slips(panel) for panel in drawn]
    fitting = {
        name: value
        for name, value in readings[wrong].items()
        if same(answers, [reading[name] for reading in readings])
    }
    ideas, otherwise = IDEAS.of(fitting), IDEAS["rule"] if fitting else _unexplained(should_stop, drawn)
    diagnose(STOPS, answers[wrong], right[wrong], ideas=ideas, otherwise=otherwise, case=_told(drawn[wrong]))


def _unexplained(should_stop: Learner, drawn: Sequence[Panel]) -> Misconception:
    """The idea for answers that no slip explains: does a column count that the rule does not ask for?"""
    for name in ("kl", "proxy"):
        for panel in drawn:
            same_panel = [dict(row) | {name: 0.0} for row in panel]
            if not same(should_stop(panel), should_stop(same_panel)):
                return IDEAS.filled("not asked", name=name)
    return IDEAS["rule"]


grade_rule = graded("should_stop", IDEAS, check_rule, Unchanged(lambda rng: (_panel(rng, [5.0] * 4),)))


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
    named = zip(FRESH_ARMS[1:], folders, strict=True)
    rounds = {arm: loaded(work, folder, f"fresh[{k}]") for k, (arm, folder) in enumerate(named)}
    return rounds | {name: loaded(work, work.object(name), name) for name in ("stale", "replay")}


def _pools(work: Work) -> list[Dataset]:
    pools = work.value("pools", (list, tuple))
    require(len(pools) == ROUNDS, POOLS, f"`pools` holds {ROUNDS} tables.", got=f"{len(pools)} tables")
    for number, pool in enumerate(pools):
        weighed = {"logprob", "token_ids"} <= set(getattr(pool, "column_names", ()))
        require(weighed, POOLS, "These are no pools.")
        check_columns(f"pools[{number}]", pool, "logprob")
    return list(pools)


def grade_rounds(work: Work, rng: np.random.Generator) -> None:
    """Three fresh rounds, and two others that went other ways."""
    pools, policies = _pools(work), _policies(work)
    check_changed(policies)
    _check_pools(pools, rng)
    check_own_rows(base_policy(), policies["one"], _best(pools[0]), pools[0], "fresh[0]")
    for k, (before, after) in enumerate((("one", "two"), ("two", "fresh")), start=2):
        _check_fresh(pools[k - 1], policies[before], k, rng)
        nats = learned(policies[before], policies[after], pools[k - 1])
        message = f"Round {k} did not make the best rows of its pool more likely than the others."
        got, idea = f"{nats:+.1f} nats per response", "F03" if nats < -1 else "F04"
        require(nats >= threshold("4.5", "learned"), LEARNED, message, idea=idea, got=got)


def _best(pool: Dataset) -> Dataset:
    """The best finished row of each prompt of a pool."""
    from rslib.selection import select

    return select(pool, "best_of_n", truncated="drop")


def _check_pools(pools: Sequence[Dataset], rng: np.random.Generator) -> None:
    seen: set[str] = set()
    for number, pool in enumerate(pools, start=1):
        n = min(len(rows) for rows in tables.groups(pool).values())
        require(n >= FEWEST_SAMPLES, POOLS, f"Draw at least {FEWEST_SAMPLES} responses.", idea="F05", got=n)
        prompts = set(pool["prompt"][:])
        message = f"Round {number} draws for prompts that an earlier round had."
        idea, got = "F19" if prompts <= seen else "F20", f"{len(seen & prompts)} prompts twice"
        require(not seen & prompts, NEW_PROMPTS, message, idea=idea, got=got)
        seen |= prompts
        check_pool(pool, FEWEST_PROMPTS, n)
        check_rescored(pool, rng)


def _check_fresh(pool: Dataset, before: Policy, number: int, rng: np.random.Generator) -> None:
    """The stored log-probabilities must be those that the policy before the round gives."""
    rows = some_rows(pool, rng)
    off, off_base = off_by(rows, before), off_by(rows, base_policy())
    message = f"The responses of pool {number} were not drawn by the policy of round {number - 1}."
    if off_base < 0.1:
        message += " They come from the base policy: stale samples."
    require(off < 0.1, FRESH, message, idea="F19", got=f"log-probabilities differ by {off:.1f}")


# What the panel says --------------------------------------------------------------------------------------


def _judged(work: Work, policies: Mapping[str, Policy], rng: np.random.Generator) -> dict[str, Dataset]:
    """The learner's judged tables by arm: `seen` of rounds 0 to 3, `last` of the policies after round 3."""
    seen, last = work.object("seen"), work.object("last")
    message = f"`seen` is a list of the judged tables of rounds 0 to {ROUNDS}."
    listed = isinstance(seen, list | tuple) and len(seen) == ROUNDS + 1
    require(listed, FORM, message, got=short(seen))
    message = f"`last` is a dict with the judged tables of {', '.join(LAST)}."
    require(isinstance(last, Mapping), FORM, message, got=short(last))
    for name in LAST:
        require(name in last, FORM, f"`last` has no entry {name!r}.", got=short(list(last)))
    handed = {f"seen[{k}]": (arm, table) for k, (arm, table) in enumerate(zip(FRESH_ARMS, seen, strict=True))}
    handed |= {f"last[{name!r}]": (arm, last[name]) for name, arm in LAST.items()}
    known, checked = {"base": base_policy()} | dict(policies), set()
    for name, (arm, table) in handed.items():
        if (arm, id(table)) not in checked:  # the tables of two rounds stand in `seen` and in `last`
            check_judged(name, table, arm, known, rng)
        checked.add((arm, id(table)))
    return {arm: table for arm, table in reversed(handed.values())}


def measures(table: Dataset) -> dict[str, float]:
    """Each number of the panel."""
    metrics = evaluation.arm_metrics(table)
    plain = {name: metrics[name]["mean"] for name in ("gold", "proxy")}
    plain |= {name: metrics[name] for name in ("kl", "unique_ratio")}
    return plain | {"entropy": metrics["entropy"] / metrics["length"]}


def _panel_rows(panel: Panel) -> list[dict[str, float]]:
    """The learner's panel, one row for each round, as plain numbers."""
    message = "`panel` has one row for each of the rounds 0 to 3, with the numbers that the notebook names."
    form = len(panel) == ROUNDS + 1 and all(isinstance(row, Mapping) for row in panel)
    require(form, FORM, message, got=f"{len(panel)} rows")
    rows = []
    for number, row in enumerate(panel):
        plain = {name: plain_number(row.get(name)) for name in ("round", *MEASURES, "gold_error")}
        gaps = [name for name, value in plain.items() if value is None]
        require(not gaps, FORM, message, got=f"round {number}: no number for {', '.join(gaps)}")
        require(plain["round"] == number, FORM, message, got=f"round {short(row.get('round'))}")
        rows.append(plain)
    return rows


def _check_panel(rows: Sequence[Mapping[str, float]], arms: Mapping[str, Dataset]) -> None:
    """The numbers of the panel are those of the judged tables, to two decimals."""
    ours = [measures(arms[arm]) for arm in FRESH_ARMS]
    for number, row in enumerate(rows):
        for name in MEASURES:
            value = row[name]
            other = next((k for k, m in enumerate(ours) if abs(value - m[name]) <= 0.0051), None)
            message = f"Round {number}: `{name}` is not what your judged table gives"
            message += f"; it is the number of round {other}." if other is not None else "."
            close = abs(value - ours[number][name]) <= 0.0051
            require(close, PANEL, message, idea="F50", got=f"{value:.2f}")
    for number, (before, now) in enumerate(itertools.pairwise(FRESH_ARMS), start=1):
        error, over_base = (
            evaluation.compare(arms[now], arms[arm])["standard_error"] for arm in (before, "base")
        )
        value = rows[number]["gold_error"]
        message = (
            f"Round {number}: `gold_error` is the standard error of the gold gained on the round before."
        )
        if math.isclose(value, over_base, rel_tol=5e-3) and not math.isclose(value, error, rel_tol=5e-3):
            message += " This is that of the gold gained on the base policy."
            raise CheckFailed(INTERVAL, message, idea="F34", got=short(value))
        require(error / 2 < value < 2 * error, INTERVAL, message, idea="F34", got=short(value))


def grade_panel(work: Work, rng: np.random.Generator) -> None:
    """The measured table, the decision and the claims: what costs nothing to check comes first."""
    panel, evidence = work.value("panel", (list, tuple)), work.value("evidence", dict)
    claims, stop_after = work.value("claims", dict), plain_number(work.object("stop_after"))
    rows = _panel_rows(panel)
    message = "By the rule, this panel stops at another round."
    require(stop_after == rule(rows), STOP_AFTER, message, got=stop_after)
    policies = _policies(work)
    arms = _judged(work, policies, rng)
    _check_panel(rows, arms)
    check_claims(COMPARISONS, arms, evidence, claims)
    _check_again(work, rng, {"fresh": policies["fresh"]}, arms["fresh"])


def _check_again(
    work: Work, rng: np.random.Generator, policies: Mapping[str, Policy], table: Dataset
) -> None:
    """The last fresh policy, sampled anew on other prompts, has about the reward of the judged table."""
    anew = judged_arms(work, rng, policies, HIDDEN)["fresh"]
    spans = [evaluation.arm_metrics(one)["proxy"] for one in (table, anew)]
    allowed = 5 * np.hypot(*((span["high"] - span["low"]) / 4 for span in spans))
    message = "The last fresh policy, sampled anew, has another reward: was `seen[3]` chosen among several?"
    got = f"{spans[0]['mean']:.2f}"
    require(abs(spans[0]["mean"] - spans[1]["mean"]) <= allowed, AGREES, message, idea="F15", got=got)


EXERCISE = Exercise(
    "4.5",
    "Three rounds, and where to stop",
    3,
    20,
    (
        *("should_stop", "pools", "fresh", "stale", "replay"),
        *("seen", "last", "panel", "stop_after", "evidence", "claims"),
    ),
    (
        Part("the rule", 1, grade_rule),
        Part("the rounds", 2, grade_rounds),
        Part("what the panel says", 2, grade_panel),
    ),
    measured=True,
    seconds=25,
    needs_torch=True,
)
