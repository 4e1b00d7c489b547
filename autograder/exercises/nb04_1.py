"""Exercise 4.1: three selectors on a table of rewards, with ties, cut responses and NaN."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from autograder.checks import Ideas, Learner, Rng, Unchanged, graded
from autograder.exercise import (
    RUNS,
    UNREADABLE,
    CheckFailed,
    Exercise,
    Part,
    diagnose,
    require,
    short,
    words_of,
)

IDEAS = Ideas("""
rows (): These are not the rows that the rewards ask for.
lowest (F03): These are the lowest rewards: the sign or the order of the sort is turned round.
lowest of all (F03): These are the lowest rewards: the sign or the order of the sort is turned round.
flat index (F10): The flat index was taken apart the wrong way: these columns belong to other prompts.
flipped (F10): Prompt and column changed places in the pairs.
prompts from 1 (F10): Prompts are counted from 1. Both prompts and columns are counted from 0.
columns from 1 (F10): Columns are counted from 1. Both prompts and columns are counted from 0.
both from 1 (F10): Prompts and columns are counted from 1. Both are counted from 0.
down the columns (F10): The maximum runs down the columns. A prompt is a row: look at the axis.
whole table (F29): These are the highest rewards of the whole table, so some prompts get many rows and others
    none. The choice is to be made within each prompt.
cut (F25): A response that was cut at the length limit is among the kept ones.
everything (F02): Every response is kept, so nothing was selected.
one too many (off by one): One row more than k is kept of each prompt.
another number (k): The highest rewards of each prompt are kept, but not as many as were asked for.
with the ties (k): Of rewards that tie, more than k of a prompt are kept. As many as are missing are drawn.
too few: A prompt with fewer than k finished responses gives all that it has.
first ones (F04): The kept columns do not depend on the rewards: the first ones are taken.
blurred: Rewards that differ a little were taken for tied. Rounding, a tolerance, or noise added to break ties
    outweighs the difference.
prompts anew (F10): The prompts are counted anew once some are left out. A prompt keeps its number.
columns anew (F10): The columns are counted among the finished responses. A column keeps its number.
kept of nothing (F25): Every response to this prompt was cut, and still one of them is kept.
dropped (F25): A prompt was left out, and some of its responses finished. First leave out what was cut, then
    choose; where fewer than k finished, keep all of them.
no error (F25): It stopped with {error} at a table where all responses to a prompt were cut. That is no
    error: such a prompt goes into the second list, and the others keep their best.
left out (F25): The second list names the prompts of which no response finished, in order, and no others.
one response (): With n = 1 there is one row to keep.
no prompts (): A table without prompts keeps nothing and leaves nobody out.

by position (F31): These responses are worth the same, so each must have the same chance.{always} A rule that
    goes by position prefers whatever the sampler wrote first.
own seed (F20): Ties are broken at random, but every seed breaks them in the same way: the chance comes from a
    generator with a seed of its own. Draw from `rng`.
one draw: Chance is drawn once for the whole table: every prompt keeps the same columns. Draw anew for each.
other chance (F20): Two generators with the same seed gave two selections: some chance comes from elsewhere.
unused (F20): Another seed gives the same selection: the generator that was passed in is not used.
twice (F04): A response is kept twice. Draw without putting back.
count (F04): Each prompt gives the control as many rows as the best: k, or all where fewer finished.
blocks (F31): Some pairs of responses never come up together: a block or a stride is drawn, not two responses.

NaN kept (F32): The row without a number is the one that was kept: argmax takes the first NaN that it meets.
infinity kept (F32): A reward of plus infinity was kept as the best. It is no judgement but a broken number.
passed over (F32): A reward that is not a number was passed over in silence. Something is broken before this
    stage, and nobody will ever know.
other error (F32): It stopped with {error} where a ValueError is asked for.
unnamed (F32): The error must say which prompt it is, by its number, counted from 0, or the search begins at
    the top.
""")
FORM = "returns pairs and the prompts left out"
BEST, TOP = "keeps the highest reward of each prompt", "keeps the k best of each prompt"
CUT, EMPTY = "never keeps a cut response", "leaves a prompt with nothing left out"
TIES, SEEDED = "breaks ties at random", "draws from the generator"
NAN, NAMED = "stops at a reward that is not finite", "names the prompt"
ANY_SIZE, PICK = "takes tables of any size", "picks k of each prompt at random"
Pairs = list[tuple[int, int]]
Select = Callable[..., tuple[Pairs, list[int]]]
Draw = Callable[[np.random.Generator], Pairs]
DRAWS = 400
MOST = 10_000
"""More rows than a table of a check has."""
PROMPTS = 14  # of the tables with a reward that is not finite
FEW = 3  # a message may hold a column and a count beside the prompt


def selector(learner: Learner, k: int) -> Select:
    """The learner's selector of tables and a generator; its result is checked for form and made plain."""

    def select(*args: Any) -> tuple[Pairs, list[int]]:
        *tables, rng = args
        passed = () if learner.name == "select_best" else (k,)
        return _plain(learner(*tables, *passed, rng), learner.name)

    return select


def _plain(result: Any, name: str) -> tuple[Pairs, list[int]]:
    message = (
        f"`{name}` returns two lists: (prompt, column) pairs of whole numbers, and the prompts left out."
    )
    try:
        pairs, left_out = result
        pairs, left_out = ([*itertools.islice(rows, MOST)] for rows in (pairs, left_out))  # may have no end
        pairs = [(prompt, column) for prompt, column in pairs]
    except UNREADABLE:
        raise CheckFailed(FORM, message, got=short(result)) from None
    require(all(map(_whole, [*sum(pairs, ()), *left_out])), FORM, message, got=result)
    return [(int(prompt), int(column)) for prompt, column in pairs], [int(prompt) for prompt in left_out]


def _whole(value: Any) -> bool:
    try:
        return not isinstance(value, bool) and int(value) == value
    except UNREADABLE:
        return False


# Tables ---------------------------------------------------------------------------------------------------


def some_rewards(rng: Rng, prompts: int, n: int) -> np.ndarray:
    """Distinct rewards `(M, n)`; prompts differ in level, so that they must not compete with each other."""
    table = rng.permutation(prompts * n).reshape(prompts, n) / 10 + rng.normal(0, 3 * n, size=(prompts, 1))
    return table.round(4) + np.arange(prompts * n).reshape(prompts, n) * 1e-6


def finished(prompts: int, n: int) -> np.ndarray:
    """Finish reasons of responses that all came to their end."""
    return np.full((prompts, n), "eos", dtype=object)


def with_cuts(rng: Rng, rewards: np.ndarray) -> np.ndarray:
    """Finish reasons: the best of most prompts is cut, others here and there, two wholly."""
    prompts, n = rewards.shape
    reasons = np.where(rng.random((prompts, n)) < 0.2, "length", "eos").astype(object)
    reasons[np.arange(prompts), rewards.argmax(axis=1)] = "length"
    reasons[np.arange(prompts), rewards.argmin(axis=1)] = "eos"
    reasons[rng.choice(prompts, 2, replace=False)] = "length"
    return reasons


def cut_table(rng: Rng) -> tuple[np.ndarray, np.ndarray]:
    """Rewards (7, 5) and finish reasons, some of them cut."""
    rewards = some_rewards(rng, 7, 5)
    return rewards, with_cuts(rng, rewards)


def _seeded(rng: Rng) -> np.random.Generator:
    return np.random.default_rng(int(rng.integers(1_000_000)))


# Which rows -----------------------------------------------------------------------------------------------


def ranked(rewards: np.ndarray, reasons: np.ndarray, k: int, sign: float = 1.0) -> Pairs:
    """The k highest `sign * rewards` of each prompt among its finished responses, as sorted pairs."""
    pairs = []
    for prompt, row in enumerate(sign * rewards):
        columns = [c for c in np.argsort(-row, kind="stable") if reasons[prompt][c] == "eos"]
        pairs += [(prompt, int(c)) for c in columns[:k]]
    return sorted(pairs)


def slips(rewards: np.ndarray, reasons: np.ndarray, k: int) -> dict[str, Pairs]:
    """What the usual mistakes keep, as sorted pairs."""
    prompts, n = rewards.shape
    whole, right = finished(prompts, n), ranked(rewards, reasons, k)
    turned = rewards.reshape(n, prompts).T
    highest = np.argsort(-rewards, axis=None)[: k * prompts]
    enough = (reasons == "eos").sum(axis=1) >= k
    values = {
        "lowest": ranked(rewards, reasons, k, -1.0),
        "lowest of all": ranked(rewards, whole, k, -1.0),
        "flat index": ranked(turned, whole, k),
        "flipped": [(column, prompt) for prompt, column in right],
        "prompts from 1": [(prompt + 1, column) for prompt, column in right],
        "columns from 1": [(prompt, column + 1) for prompt, column in right],
        "both from 1": [(prompt + 1, column + 1) for prompt, column in right],
        "down the columns": [(int(row), column) for column, row in enumerate(rewards.argmax(axis=0))],
        "whole table": [(int(i) // n, int(i) % n) for i in highest],
        "cut": ranked(rewards, whole, k),
        "everything": ranked(rewards, whole, n),
        "one too many": ranked(rewards, reasons, k + 1),
        "too few": [pair for pair in right if enough[pair[0]]],
        "first ones": [(p, c) for p in range(prompts) for c in range(min(k, n))],
    }
    return {name: sorted(pairs) for name, pairs in values.items()}


def _compare(check: str, kept: Pairs, rewards: np.ndarray, reasons: np.ndarray, k: int) -> None:
    case = f"rewards = {short(rewards)}, finish_reasons = {short(reasons.tolist())}"
    most = max(Counter(prompt for prompt, _ in kept).values(), default=0)
    others = slips(rewards, reasons, k) | {"another number": ranked(rewards, reasons, most)}
    right, ideas = ranked(rewards, reasons, k), IDEAS.of(others)
    diagnose(check, sorted(kept), right, ideas=ideas, otherwise=IDEAS["rows"], case=case)


def check_choice(select: Select, rng: Rng, k: int, check: str) -> None:
    """The right rows on finished tables, and on tables with cut responses."""
    for prompts, n in ((rng.integers(6, 9), 5), (rng.integers(6, 9), 4), (4, rng.integers(6, 9))):
        rewards = some_rewards(rng, int(prompts), int(n))
        reasons = finished(*rewards.shape)
        kept, _ = select(rewards, reasons, _seeded(rng))
        _compare(check, kept, rewards, reasons, k)
    for _ in range(3):
        rewards = some_rewards(rng, int(rng.integers(7, 10)), int(rng.integers(4, 6)))
        reasons = with_cuts(rng, rewards)
        kept, left_out = _with_prompts_cut(select, rewards, reasons, _seeded(rng))
        _check_numbering(kept, ranked(rewards, reasons, k), reasons)
        _check_left_out(kept, left_out, reasons)
        _check_no_cut(kept, reasons)
        _compare(CUT, kept, rewards, reasons, k)


def _with_prompts_cut(select: Select, *args: Any) -> tuple[Pairs, list[int]]:
    """What a selector makes of tables where some prompts have nothing finished; CheckFailed if it stops."""
    try:
        return select(*args)
    except CheckFailed as failed:
        if failed.check != RUNS or not isinstance(failed.__cause__, ValueError | IndexError):
            raise
        idea = IDEAS.filled("no error", error=type(failed.__cause__).__name__)
        raise CheckFailed(EMPTY, idea.message, idea=idea.id, case=failed.case, got=failed.message) from failed


def _check_numbering(kept: Pairs, right: Pairs, reasons: np.ndarray) -> None:
    """The right rows under other numbers: counted among what is left, of the prompts or of the columns."""
    ends, prompts = reasons == "eos", sorted({prompt for prompt, _ in right})
    closed_up = sorted((prompts.index(prompt), column) for prompt, column in right)
    counted = sorted((prompt, int(ends[prompt, :column].sum())) for prompt, column in right)
    for check, other, idea in ((EMPTY, closed_up, "prompts anew"), (CUT, counted, "columns anew")):
        renumbered = sorted(kept) == other != right
        require(not renumbered, check, IDEAS[idea], case=short(reasons.tolist()), got=short(kept))


def _check_left_out(kept: Pairs, left_out: list[int], reasons: np.ndarray) -> None:
    gone, case = np.flatnonzero((reasons != "eos").all(axis=1)).tolist(), short(reasons.tolist())
    wrong = [pair for pair in kept if pair[0] in gone]
    require(not wrong, EMPTY, IDEAS["kept of nothing"], case=case, got=short(wrong))
    finished_ones = set(range(len(reasons))) - set(gone)
    idea = "dropped" if finished_ones & set(left_out) else "left out"
    require(sorted(left_out) == gone, EMPTY, IDEAS[idea], case=case, got=left_out)


def _check_no_cut(kept: Pairs, reasons: np.ndarray) -> None:
    prompts, n = reasons.shape
    cut = [(p, c) for p, c in kept if 0 <= p < prompts and 0 <= c < n and reasons[p, c] != "eos"]
    require(not cut, CUT, IDEAS["cut"], case=short(reasons.tolist()), got=short(cut))


def check_small_gaps(select: Select, rng: Rng, k: int, check: str) -> None:
    """Rewards that differ a little are not tied: no chance, no rounding may turn their order round.

    Single precision tells them apart.
    """
    for base, gap in ((2.0, 1e-3), (1.0, 2e-7)):
        rewards = base + gap * rng.permuted(np.tile(np.arange(1, 5), (30, 1)), axis=1)
        reasons = finished(*rewards.shape)
        kept, _ = select(rewards, reasons, _seeded(rng))
        right = sorted(kept) == ranked(rewards, reasons, k)
        case = f"30 prompts with the rewards {base:g} + {gap:g}, 2, 3 and 4 times {gap:g}, shuffled"
        require(right, check, IDEAS["blurred"], case=case, got=short(kept))


def check_ties_counted(select: Select, rng: Rng, k: int, check: str) -> None:
    """Where all rewards tie, k of each prompt are kept and no more."""
    kept, _ = select(np.ones((3, 5)), finished(3, 5), _seeded(rng))
    counts = [sum(prompt == p for p, _ in kept) for prompt in range(3)]
    require(max(counts) <= k, check, IDEAS["with the ties"], case="5 equal rewards", got=short(kept))


def check_sizes(select: Select, rng: Rng) -> None:
    """One response a prompt, and no prompt."""
    kept, gone = select(rng.normal(size=(3, 1)), finished(3, 1), np.random.default_rng(0))
    right = sorted(kept) == [(0, 0), (1, 0), (2, 0)] and not gone
    require(right, ANY_SIZE, IDEAS["one response"], case="one response per prompt", got=kept)
    none = select(np.zeros((0, 4)), finished(0, 4), np.random.default_rng(0))
    require(none == ([], []), ANY_SIZE, IDEAS["no prompts"], got=short(none))


# Chance ---------------------------------------------------------------------------------------------------


def check_ties(draw: Draw, columns: Sequence[int]) -> None:
    """Over many draws each of the tied columns of prompt 0 is kept equally often.

    False alarm below 1e-6: six standard deviations of a binomial count, for at most five columns.
    """
    rng = np.random.default_rng(20)
    kept = [[c for _, c in draw(rng)] for _ in range(DRAWS)]
    size = len(kept[0])
    share = size / len(columns)
    counts = np.array([sum(c in row for row in kept) for c in columns])
    spread = np.sqrt(DRAWS * share * (1 - share))
    fair = (abs(counts - DRAWS * share) <= 6 * spread).all() and counts.sum() == DRAWS * size
    always = " It is always the same column." if (counts == DRAWS).any() else ""
    idea = IDEAS.filled("by position", always=always)
    case, got = f"{len(columns)} responses with equal claim, {DRAWS} draws", f"kept {counts.tolist()} times"
    require(fair, TIES, idea, case=case, got=got)


def check_own_draw(draw: Draw) -> None:
    """40 tied prompts: no choice that is the same under every seed, and no single one for all of them."""
    first, other = (sorted(draw(np.random.default_rng(seed))) for seed in (5, 6))
    columns = {prompt: tuple(c for p, c in first if p == prompt) for prompt, _ in first}
    drawn = len(set(columns.values())) > 1
    require(not (drawn and first == other), SEEDED, IDEAS["own seed"], case="40 tied prompts, two seeds")
    shared = not drawn and first != other
    require(not shared, TIES, IDEAS["one draw"], case="40 tied prompts", got=short(first[:4]))


def check_seeded(draw: Draw) -> None:
    """The same seed, the same rows; another seed, others."""
    first, again, other = (sorted(draw(np.random.default_rng(seed))) for seed in (5, 5, 6))
    case = "the same table twice, rng = default_rng(5) both times"
    require(first == again, SEEDED, IDEAS["other chance"], case=case)
    case = "rng = default_rng(5) and default_rng(6), 40 tied prompts"
    require(first != other, SEEDED, IDEAS["unused"], case=case)


def check_sets(draw: Draw) -> None:
    """Each of the ten pairs of five comes up; chance leaves one out in fewer than one of 10^17 checks."""
    rng = np.random.default_rng(21)
    seen = {tuple(sorted(c for _, c in draw(rng))) for _ in range(DRAWS)}
    case = f"two of five, {DRAWS} draws"
    require(len(seen) == 10, PICK, IDEAS["blocks"], case=case, got=f"{len(seen)} of 10 pairs")


# Rewards that are not finite ------------------------------------------------------------------------------


def check_finite(select: Select, rng: Rng) -> None:
    """NaN and both infinities, in a finished response and in one that was cut."""
    for bad in (float("nan"), float("inf"), -float("inf")):
        for reason in ("eos", "length"):
            _check_nan(select, rng, bad, reason)


def _check_nan(select: Select, rng: Rng, bad: float, reason: str) -> None:
    """A reward that is not finite is a ValueError with the number of its prompt, cut or not."""
    rewards, reasons = some_rewards(rng, PROMPTS, 4), finished(PROMPTS, 4)
    prompt, column = int(rng.integers(10, PROMPTS)), int(rng.integers(4))
    rewards[prompt, column], reasons[prompt, column] = bad, reason
    case = f"rewards ({PROMPTS}, 4), {bad} at prompt {prompt}, column {column}, {reason!r}"
    try:
        kept, _ = select(rewards, reasons, np.random.default_rng(1))
    except CheckFailed as failed:
        if failed.check != RUNS:
            raise
        error, text = failed.__cause__, words_of(failed.__cause__)
        other = IDEAS.filled("other error", error=type(error).__name__)
        require(isinstance(error, ValueError), NAN, other, case=case, got=short(text))
        require(_names(text, prompt), NAMED, IDEAS["unnamed"], case=case, got=short(text))
        return
    idea = "passed over" if (prompt, column) not in kept else "NaN kept" if np.isnan(bad) else "infinity kept"
    require(False, NAN, IDEAS[idea], case=case)


def _names(text: str, prompt: int) -> bool:
    """Whether a message singles the prompt out: whole numbers, and few that could be prompts."""
    numbers = {int(number) for number in re.findall(r"(?<![\d.])\d+(?!\d|\.\d)", text)}
    return prompt in numbers and len(numbers & set(range(PROMPTS))) <= FEW


# The exercise ---------------------------------------------------------------------------------------------


def check_ranked(
    learner: Learner, rng: Rng, *, check: str, ks: Sequence[int], tied: Sequence[float], kept: int
) -> None:
    """A selector of the highest rewards, that keeps each of `ks`, or `kept` of rewards of which some tie."""
    for k in ks:
        check_choice(selector(learner, k), rng, k, check)
    select, equal = selector(learner, ks[0]), (np.ones((40, 4)), finished(40, 4))
    check_small_gaps(select, rng, ks[0], check)
    check_ties_counted(select, rng, ks[0], check)
    check_own_draw(lambda generator: select(*equal, generator)[0])
    _check_tied(selector(learner, kept), tied)
    check_seeded(lambda generator: select(*equal, generator)[0])
    check_finite(select, rng)
    check_sizes(select, rng)


def _check_tied(select: Select, rewards: Sequence[float]) -> None:
    """Chance among the rewards that occur more than once; what is higher is kept in any case."""
    [worth] = {reward for reward in rewards if rewards.count(reward) > 1}
    table = np.array([rewards]), finished(1, len(rewards))
    higher = {column for column, reward in enumerate(rewards) if reward > worth}

    def draw(generator: np.random.Generator) -> Pairs:
        return [pair for pair in select(*table, generator)[0] if pair[1] not in higher]

    check_ties(draw, [column for column, reward in enumerate(rewards) if reward == worth])


def check_random(learner: Learner, rng: Rng) -> None:
    """select_random(finish_reasons, k, rng): as many finished rows of each prompt, at random."""
    for k in (1, 3):
        reasons = with_cuts(rng, some_rewards(rng, 8, 5))
        kept, left_out = _with_prompts_cut(selector(learner, k), reasons, _seeded(rng))
        _check_left_out(kept, left_out, reasons)
        _check_no_cut(kept, reasons)
        right = [p for p, row in enumerate(reasons) for _ in range(min(k, int((row == "eos").sum())))]
        good = sorted(p for p, _ in kept) == right
        case = f"k = {k}, finish_reasons = {short(reasons.tolist())}"
        require(len(set(kept)) == len(kept), PICK, IDEAS["twice"], case=case, got=kept)
        require(good, PICK, IDEAS["count"], case=case, got=kept)
    many, five = (
        lambda generator, shape=shape: selector(learner, 2)(finished(*shape), generator)[0]
        for shape in ((40, 4), (1, 5))
    )
    check_own_draw(many)
    check_ties(five, range(5))
    check_sets(five)
    check_seeded(many)


grade_best = graded(
    "select_best",
    IDEAS,
    partial(check_ranked, check=BEST, ks=(1,), tied=[1.0, 3.0, 3.0, 0.5, 3.0], kept=1),
    Unchanged(lambda rng: (*cut_table(rng), _seeded(rng))),
)
grade_top_k = graded(
    "select_top_k",
    IDEAS,
    partial(check_ranked, check=TOP, ks=(2, 3), tied=[2.0, 5.0, 2.0, 1.0, 2.0], kept=3),
    Unchanged(lambda rng: (*cut_table(rng), 2, _seeded(rng))),
)
grade_random = graded(
    "select_random",
    IDEAS,
    check_random,
    Unchanged(lambda rng: (cut_table(rng)[1], 2, _seeded(rng))),
)
EXERCISE = Exercise(
    "4.1",
    "Three selectors",
    2,
    15,
    ("select_best", "select_top_k", "select_random"),
    (
        Part("select_best", 2, grade_best),
        Part("select_top_k", 1, grade_top_k),
        Part("select_random", 1, grade_random),
    ),
)
