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
    HASH,
    INTERVAL,
    SUBSET,
    check_own_rows,
    check_pool,
    check_rescored,
    gain,
    hidden_prompts,
    judged,
    loaded,
    off_by,
    some_rows,
)
from autograder.handouts.models import base_policy, judge
from autograder.work import Work
from rslib import evaluation, tables
from rslib.errors import RSError

if TYPE_CHECKING:
    from datasets import Dataset

    from rslib.models import Policy

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


def _table(work: Work, name: str, key: str = "") -> Dataset:
    found = work.object(name)
    if key:
        known = isinstance(found, Mapping) and key in found
        require(known, FORM, f"`{name}` has no entry {key!r}.", got=short(list(found) if known else found))
        found = found[key]
    try:
        tables.check_scored(found)
    except (RSError, AttributeError, TypeError) as error:
        told = f"`{name}`{f'[{key!r}]' if key else ''} is not a scored table: {error}"
        raise CheckFailed(FORM, told) from None
    return found


def _rows(table: Dataset) -> dict[tuple[str, int], tuple[str, float]]:
    columns = (table[name][:] for name in ("prompt_id", "sample_id", "response", "reward"))
    return {(p, s): (text, reward) for p, s, text, reward in zip(*columns, strict=True)}


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


def check_best(kept: Dataset, pool: Dataset, check: str = IS_BEST) -> None:
    """One finished response per prompt, with the highest reward among the finished ones."""
    keys = list(zip(pool["prompt_id"][:], pool["sample_id"][:], strict=True))
    rewards = tables.reward_column(pool)
    finished = tables.finish_reasons(pool) == "eos"
    place = {key: row for row, key in enumerate(keys)}
    chosen = [place[key] for key in zip(kept["prompt_id"][:], kept["sample_id"][:], strict=True)]
    groups = tables.groups(pool)
    usable = {prompt: rows[finished[rows]] for prompt, rows in groups.items() if finished[rows].any()}
    got = f"{len(chosen)} rows for {len(usable)} prompts"
    whole = len(chosen) == len(usable) and len(set(kept["prompt_id"][:])) == len(usable)
    message = "One response of each prompt is asked for; some prompts have several and others none."
    require(whole, check, message, idea="F02" if len(chosen) == len(pool) else "F29", got=got)
    require(finished[chosen].all(), check, "A response that was cut is among the best.", idea="F25", got=got)
    _check_highest(np.array(chosen), rewards, usable, keys, check)


def _check_highest(
    chosen: np.ndarray, rewards: np.ndarray, usable: Mapping[str, np.ndarray], keys: list, check: str
) -> None:
    highest = {prompt: rewards[rows].max() for prompt, rows in usable.items()}
    lowest = {prompt: rewards[rows].min() for prompt, rows in usable.items()}
    prompts = [keys[row][0] for row in chosen]
    top = np.mean([rewards[row] == highest[p] for row, p in zip(chosen, prompts, strict=True)])
    low = np.mean([rewards[row] == lowest[p] for row, p in zip(chosen, prompts, strict=True)])
    got = f"the highest reward in {top:.0%} of prompts"
    require(low < 0.9, check, "These are the worst of each prompt: the sign is wrong.", idea="F03", got=got)
    message = "The kept rows are not the highest of their prompts: does the choice look at the rewards?"
    require(top == 1, check, message, idea="F04", got=got)


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
    check_best(kept["best"], pool)
    _check_random(kept["random"], pool, kept["best"])
    finished = int((tables.finish_reasons(pool) == "eos").sum())
    message = "Training on everything means all rows of the pool (cut ones may be left out)."
    got = f"{len(kept['all'])} of {len(pool)} rows"
    require(finished <= len(kept["all"]) <= len(pool), IS_ALL, message, idea="F02", got=got)


# What was tuned, and how good it is -----------------------------------------------------------------------


def _arms(work: Work) -> dict[str, Policy]:
    found = work.value("tuned", dict)
    for arm in ARMS:
        require(arm in found, FORM, f"`tuned` has no entry {arm!r}.", got=short(list(found)))
    return {arm: loaded(work, found[arm], f"tuned[{arm!r}]") for arm in ARMS}


def grade_tuned(work: Work, rng: np.random.Generator) -> None:
    """Which model was trained."""
    hashes = {"base": base_policy().fingerprint()}
    arms = _arms(work)
    for arm, policy in arms.items():
        same = [other for other, known in hashes.items() if known == policy.fingerprint()]
        message = (
            f"tuned[{arm!r}] has the very weights of {same[0] if same else ''}: the optimiser got another "
            "model, or the wrong folder is named."
        )
        require(not same, HASH, message, idea="F01")
        hashes[arm] = policy.fingerprint()
    mine = getattr(work.object("reward_model"), "fingerprint", None)
    message = "`reward_model` is not the one that was loaded: its weights changed on the way."
    unchanged = callable(mine) and mine() == judge().fingerprint()
    require(unchanged, REWARD_HASH, message, idea="F01")
    pool = _table(work, "pool")
    for arm in ("best", "random"):
        check_own_rows(base_policy(), arms[arm], _table(work, "kept", arm), pool, f"tuned[{arm!r}]")


def _measured(work: Work, rng: np.random.Generator) -> dict[str, Dataset]:
    rng = work.class_rng(rng, "held out")
    prompts, seed = hidden_prompts(rng), int(rng.integers(2**31))
    return {arm: judged(p, prompts, seed) for arm, p in ({"base": base_policy()} | _arms(work)).items()}


def grade_gain(work: Work, rng: np.random.Generator) -> None:
    """Gold on hidden prompts, and the learner's numbers beside the grader's."""
    result = work.value("result", dict)
    numbers = {arm: _numbers(result, arm) for arm in ("base", "random", "all")}
    arm_tables = _measured(work, rng)
    for arm, check in (("base", OVER_BASE), ("random", OVER_RANDOM)):
        found, limit = gain(arm_tables["best"], arm_tables[arm], "reward"), threshold("4.3", f"over_{arm}")
        gold = evaluation.compare(arm_tables["best"], arm_tables[arm])
        idea, message = "F04", "On new prompts the gain is no larger than without a selection."
        if found < -limit / 4:
            idea, message = "F03", "On new prompts the policy got worse: look at which rows were kept."
        got = f"{found:+.2f} reward, {gold['difference']:+.2f} points of gold"
        require(found >= limit, check, message, idea=idea, got=got)
        message = "The reward rose, and gold fell separably: what was learned pleases the reward model alone."
        require(gold["high"] > 0, check, message, idea="F16", got=got)
    for arm, said in numbers.items():
        _check_numbers(arm, said, evaluation.compare(arm_tables["best"], arm_tables[arm]))


def _numbers(result: Mapping[str, Any], arm: str) -> tuple[float, float, float]:
    """Difference, low and high of a comparison that is handed in."""
    said = result.get(arm)
    require(isinstance(said, Mapping), FORM, f"`result` has no comparison with {arm!r}.", got=short(said))
    numbers = [said.get(key) for key in ("difference", "low", "high")]
    plain = all(isinstance(v, int | float | np.number) and np.isfinite(v) for v in numbers)
    message = f"result[{arm!r}] needs the numbers difference, low and high."
    require(plain, INTERVAL, message, idea="F34", got=short(dict(said)))
    difference, low, high = map(float, numbers)
    return difference, low, high


def _check_numbers(arm: str, said: tuple[float, float, float], ours: Mapping[str, Any]) -> None:
    difference, low, high = said
    width = float(ours["high"] - ours["low"])
    message = "An interval lies around its difference, and it is about as wide as 150 prompts make it."
    fits = low < difference < high and width / 3 < high - low < width * 3
    require(fits, INTERVAL, message, idea="F34", got=f"{difference:+.2f} [{low:+.2f}, {high:+.2f}]")
    off = abs(difference - ours["difference"])
    message = f"Best against {arm}: your policies, measured again, differ by another amount."
    allowed = 5 * np.hypot(ours["standard_error"], (high - low) / 4)
    require(off <= allowed, AGREES, message, idea="F50", got=f"{difference:+.2f}")


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
)
