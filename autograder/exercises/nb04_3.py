"""Exercise 4.3: the best of 16, a random pick and everything; graded by sampling the tuned policies anew."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from autograder.calibration import threshold
from autograder.exercise import CheckFailed, Exercise, Part, require, short
from autograder.exercises.artefacts import (
    AGREES,
    FORM,
    INTERVAL,
    SUBSET,
    check_changed,
    check_own_rows,
    check_pool,
    check_rescored,
    ends_of,
    gain,
    is_near,
    judged_arms,
    off_by,
    row_ids,
    some_rows,
    tuned_policies,
)
from autograder.handouts.models import base_policy, judge
from autograder.work import Work
from rslib import evaluation, tables
from rslib.errors import RSError

if TYPE_CHECKING:
    from datasets import Dataset

N = 16
FEWEST_PROMPTS = 96
ARMS = ("best", "random", "all")

IS_BEST = "the best are the best of each prompt"
IS_RANDOM = "the control is a random pick"
IS_ALL = "the third arm has every row"
DRAWN = "the pool was drawn by the policy"
REWARD_HASH = "the reward model did not"
OVER_BASE = "tuning on the best beats the base policy"
OVER_RANDOM = "tuning on the best beats the random pick"


# What was kept --------------------------------------------------------------------------------------------


def _table(work: Work, name: str, arm: str = "") -> Dataset:
    table, label = work.object(name), f"`{name}`{f'[{arm!r}]' if arm else ''}"
    if arm:
        known = isinstance(table, Mapping) and arm in table
        require(known, FORM, f"`{name}` has no entry {arm!r}.", got=short(list(table) if known else table))
        table = table[arm]
    try:
        tables.check_scored(table)
    except (RSError, AttributeError, TypeError) as error:
        raise CheckFailed(FORM, f"{label} is not a scored table: {error}") from None
    return table


def _rows(table: Dataset) -> dict[tuple[str, int], tuple[str, float]]:
    return dict(zip(row_ids(table), zip(table["response"][:], table["reward"][:], strict=True), strict=True))


def _check_drawn(pool: Dataset, rng: np.random.Generator) -> None:
    """The pool's texts are those of its tokens, and the tokens those of the base policy at temperature 1."""
    require({"logprob", "token_ids"} <= set(pool.column_names), DRAWN, "These are no rows of rslib.sample.")
    ids, texts = pool["token_ids"][:], pool["response"][:]
    typed = sum(base_policy().decode(t) != text for t, text in zip(ids, texts, strict=True))
    message = "Responses of the pool are not what their tokens spell: they were edited after drawing."
    require(not typed, DRAWN, message, idea="F27", got=f"{typed} of {len(pool)} rows")
    off = off_by(some_rows(pool, rng), base_policy())
    message = (
        "The base policy gives these responses other log-probabilities: another policy drew them, or the "
        "temperature was not 1."
    )
    require(off < 0.1, DRAWN, message, idea="F19", got=f"log-probabilities differ by {off:.1f} nats")


def _check_subset(arm: str, kept: Dataset, pool: Mapping[tuple[str, int], tuple[str, float]]) -> None:
    rows = _rows(kept)
    foreign = [key for key, row in rows.items() if pool.get(key) != row]
    message = f"Rows of kept[{arm!r}] are not in the pool, or with another text or reward."
    require(not foreign, SUBSET, message, idea="F27", got=short(foreign[:2]))
    require(len(rows) == len(kept), SUBSET, f"kept[{arm!r}] has rows that stand twice.", idea="F27")


def _check_best(kept: Dataset, pool: Dataset) -> None:
    """One finished response per prompt, with the highest reward among the finished ones."""
    rewards, finished = tables.reward_column(pool), tables.finish_reasons(pool) == "eos"
    usable = {prompt: rows[finished[rows]] for prompt, rows in tables.groups(pool).items()}
    usable = {prompt: rewards[rows] for prompt, rows in usable.items() if len(rows)}
    row_of = {row_id: row for row, row_id in enumerate(row_ids(pool))}
    chosen = [row_of[row_id] for row_id in row_ids(kept)]
    got = f"{len(chosen)} rows for {len(usable)} prompts"
    whole = len(chosen) == len(usable) == len(set(kept["prompt_id"][:]))
    message = "One response of each prompt is asked for; some prompts have several and others none."
    require(whole, IS_BEST, message, idea="F02" if len(chosen) == len(pool) else "F29", got=got)
    message = "A response that was cut is among the best."
    require(finished[chosen].all(), IS_BEST, message, idea="F25", got=got)
    of_prompt = [usable[prompt] for prompt in kept["prompt_id"][:]]
    top = np.mean([rewards[row] == others.max() for row, others in zip(chosen, of_prompt, strict=True)])
    low = np.mean([rewards[row] == others.min() for row, others in zip(chosen, of_prompt, strict=True)])
    got = f"the highest reward in {top:.0%} of prompts"
    message = "These are the worst of each prompt: the sign is wrong."
    require(low < 0.9, IS_BEST, message, idea="F03", got=got)
    message = "The kept rows are not the highest of their prompts: does the choice look at the rewards?"
    require(top == 1, IS_BEST, message, idea="F04", got=got)


def _check_random(kept: Dataset, pool: Dataset, best: Dataset) -> None:
    """As many rows of each prompt as the best have, at a mean reward that chance allows (five s.e.)."""
    wanted = {p: len(rows) for p, rows in tables.groups(best).items()}
    message = "The control must have as many rows of each prompt as the best, or it is no control."
    have = {p: len(rows) for p, rows in tables.groups(kept).items()}
    require(have == wanted, IS_RANDOM, message, idea="F49", got=f"{len(kept)} rows for {len(best)}")
    rewards = tables.reward_column(pool)
    groups = {p: rewards[rows] for p, rows in tables.groups(pool).items()}
    drawn = tables.reward_column(kept)
    means = np.array([groups[p].mean() for p in kept["prompt_id"][:]])
    spread = np.sqrt(sum(float(groups[p].var()) for p in kept["prompt_id"][:]))
    z = float((drawn - means).sum() / spread)
    message = "The control's rewards are {} than chance allows: it looked at them."
    require(z < 5.5, IS_RANDOM, message.format("higher"), idea="F49", got=f"{z:.1f} standard errors")
    require(z > -5.5, IS_RANDOM, message.format("lower"), idea="F03", got=f"{z:.1f} standard errors")


def grade_kept(work: Work, rng: np.random.Generator) -> None:
    """The pool and the three selections."""
    pool = _table(work, "pool")
    kept = {arm: _table(work, "kept", arm) for arm in ARMS}
    check_pool(pool, FEWEST_PROMPTS, N)
    check_rescored(pool, rng)
    _check_drawn(pool, rng)
    rows = _rows(pool)
    for arm, table in kept.items():
        _check_subset(arm, table, rows)
    _check_best(kept["best"], pool)
    _check_random(kept["random"], pool, kept["best"])
    finished = int((tables.finish_reasons(pool) == "eos").sum())
    message = "Training on everything means all rows of the pool (cut ones may be left out)."
    got = f"{len(kept['all'])} of {len(pool)} rows"
    require(finished <= len(kept["all"]) <= len(pool), IS_ALL, message, idea="F02", got=got)


# What was tuned, and how good it is -----------------------------------------------------------------------


def grade_tuned(work: Work, rng: np.random.Generator) -> None:
    """Which model was trained."""
    policies = tuned_policies(work, ARMS)
    check_changed(policies)
    fingerprint = getattr(work.object("reward_model"), "fingerprint", None)
    message = "`reward_model` is not the one that was loaded: its weights changed on the way."
    unchanged = callable(fingerprint) and fingerprint() == judge().fingerprint()
    require(unchanged, REWARD_HASH, message, idea="F01")
    pool = _table(work, "pool")
    for arm in ("best", "random"):
        check_own_rows(base_policy(), policies[arm], _table(work, "kept", arm), pool, f"tuned[{arm!r}]")


def grade_gain(work: Work, rng: np.random.Generator) -> None:
    """Gold on hidden prompts, and the learner's numbers beside the grader's."""
    result = work.value("result", dict)
    comparisons = {arm: _comparison(result, arm) for arm in ("base", "random", "all")}
    arms = judged_arms(work, rng, tuned_policies(work, ARMS))
    for arm, check in (("base", OVER_BASE), ("random", OVER_RANDOM)):
        reward, limit = gain(arms["best"], arms[arm], "reward"), threshold("4.3", f"over_{arm}")
        gold = evaluation.compare(arms["best"], arms[arm])
        idea, message = "F04", "On new prompts the gain is no larger than without a selection."
        if reward < -limit / 4:
            idea, message = "F03", "On new prompts the policy got worse: look at which rows were kept."
        got = f"{reward:+.2f} reward, {gold['difference']:+.2f} points of gold"
        require(reward >= limit, check, message, idea=idea, got=got)
        message = "The reward rose, and gold fell separably: what was learned pleases the reward model alone."
        require(gold["high"] > 0, check, message, idea="F16", got=got)
    for arm, comparison in comparisons.items():
        _check_comparison(arm, comparison, evaluation.compare(arms["best"], arms[arm]))


def _comparison(result: Mapping[str, Any], arm: str) -> tuple[float, float, float]:
    """Difference, low and high of a comparison that is handed in."""
    comparison = result.get(arm)
    known = isinstance(comparison, Mapping)
    require(known, FORM, f"`result` has no comparison with {arm!r}.", got=short(comparison))
    return ends_of(comparison, f"result[{arm!r}] needs the numbers difference, low and high.")


def _check_comparison(arm: str, comparison: tuple[float, float, float], ours: Mapping[str, Any]) -> None:
    difference, low, high = comparison
    width = float(ours["high"] - ours["low"])
    message = "An interval lies around its difference, and it is about as wide as 150 prompts make it."
    fits = low < difference < high and width / 3 < high - low < width * 3
    require(fits, INTERVAL, message, idea="F34", got=f"{difference:+.2f} [{low:+.2f}, {high:+.2f}]")
    message = f"Best against {arm}: your policies, measured again, differ by another amount."
    agrees = is_near(difference, high - low, ours)
    require(agrees, AGREES, message, idea="F50", got=f"{difference:+.2f}")


EXERCISE = Exercise(
    "4.3",
    "The best of 16 against its controls",
    3,
    15,
    ("pool", "kept", "tuned", "result", "reward_model"),
    (
        Part("what was kept", 2, grade_kept),
        Part("what was tuned", 1, grade_tuned),
        Part("what it gained", 2, grade_gain),
    ),
    measured=True,
    needs_torch=True,
)
