"""Exercise 4.3: the best of 16 against controls; graded from tables and by sampling the policies anew."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from autograder.calibration import threshold
from autograder.exercise import Exercise, Part, require, short
from autograder.exercises.artefacts import (
    FORM,
    SUBSET,
    check_changed,
    check_columns,
    check_compared,
    check_own_rows,
    check_pool,
    check_rescored,
    gain,
    judged_arms,
    judged_tables,
    mistyped,
    off_by,
    row_ids,
    some_rows,
    tuned_policies,
)
from autograder.handouts.models import base_policy, judge
from autograder.work import Work
from rslib import evaluation, tables

if TYPE_CHECKING:
    from datasets import Dataset

    from rslib.models import Policy

N = 16
FEWEST_PROMPTS = 96
ARMS = ("best", "random", "top", "all")
OTHERS = ("base", "random", "top", "all")
"""What the best is compared with."""
TOP = 4

IS_BEST = "the best are the best of each prompt"
IS_RANDOM = "the control is a random pick"
IS_TOP = "the third arm has the four best"
IS_ALL = "the last arm has every row"
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
    check_columns(label, table)
    return table


def _rows(table: Dataset) -> dict[tuple[str, int], tuple[str, float]]:
    return dict(zip(row_ids(table), zip(table["response"][:], table["reward"][:], strict=True), strict=True))


def _check_drawn(pool: Dataset, rng: np.random.Generator) -> None:
    """The pool's texts are those of its tokens, and the tokens those of the base policy at temperature 1."""
    require({"logprob", "token_ids"} <= set(pool.column_names), DRAWN, "These are no rows of rslib.sample.")
    typed = mistyped(pool, base_policy())
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


def _check_top(kept: Dataset, pool: Dataset) -> None:
    """The four highest rewards among the finished responses of each prompt, all where fewer finished."""
    rewards, finished = tables.reward_column(pool), tables.finish_reasons(pool) == "eos"
    groups = {prompt: rows[finished[rows]] for prompt, rows in tables.groups(pool).items()}
    wanted = {prompt: np.sort(rewards[rows])[-TOP:] for prompt, rows in groups.items() if len(rows)}
    have = {prompt: np.sort(tables.reward_column(kept)[rows]) for prompt, rows in tables.groups(kept).items()}
    got = f"{len(kept)} rows of {len(have)} prompts"
    counts = {p: len(r) for p, r in have.items()} == {p: len(r) for p, r in wanted.items()}
    message = f"kept['top'] has {TOP} rows of each prompt, all where fewer finished."
    require(counts, IS_TOP, message, idea="F29", got=got)
    message = f"The rows of kept['top'] are not the {TOP} highest of their prompts."
    right = all(np.allclose(have[prompt], wanted[prompt]) for prompt in wanted)
    require(right, IS_TOP, message, idea="F04", got=got)


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
    _check_top(kept["top"], pool)
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
    """The learner's tables and comparisons, which cost little to check; then hidden prompts."""
    result = work.value("result", dict)
    policies = {"base": base_policy()} | tuned_policies(work, ARMS)
    known = judged_tables(work, policies, rng)
    for arm in OTHERS:
        require(arm in result, FORM, f"`result` has no comparison with {arm!r}.", got=short(list(result)))
        check_compared(f"best against {arm}", result[arm], known, "best", arm)
    _check_hidden(work, rng, {arm: policies[arm] for arm in ("best", "random")})


def _check_hidden(work: Work, rng: np.random.Generator, policies: Mapping[str, Policy]) -> None:
    """On prompts that the learner has not seen the best beats the base policy and the random pick."""
    arms = judged_arms(work, rng, {"base": base_policy()} | policies)
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


EXERCISE = Exercise(
    "4.3",
    "The best of 16 against its controls",
    3,
    15,
    ("pool", "kept", "tuned", "tables", "result", "reward_model"),
    (
        Part("what was kept", 2, grade_kept),
        Part("what was tuned", 1, grade_tuned),
        Part("what it gained", 2, grade_gain),
    ),
    measured=True,
    seconds=25,
    needs_torch=True,
)
