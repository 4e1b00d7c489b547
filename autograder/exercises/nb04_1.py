"""Exercise 4.1: three selectors on a table of rewards, with ties, cut responses and NaN."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from autograder.checks import assert_inputs_unchanged
from autograder.exercise import RUNS, CheckFailed, Exercise, Misconception, Part, diagnose, require, short
from autograder.work import Work

FORM = "returns pairs and the prompts left out"
BEST = "keeps the highest reward of each prompt"
CUT = "never keeps a cut response"
EMPTY = "leaves a prompt with nothing left out"
LOT = "breaks ties by lot"
SEEDED = "draws from the generator"
NAN = "stops at a reward that is not finite"
NAMED = "names the prompt"
ANY_SIZE = "takes tables of any size"
TOP = "keeps the k best of each prompt"
PICK = "picks k of each prompt at random"

Pairs = list[tuple[int, int]]
Select = Callable[..., tuple[Pairs, list[int]]]
DRAWS = 400
PROMPTS = 14  # of the tables with a reward that is not finite
FEW = 3  # a message may hold a column and a count beside the prompt


def _selector(work: Work, name: str) -> Select:
    """The learner's selector; its result is checked for form and turned into plain integers."""
    function = work.function(name)

    def called(*args: Any) -> tuple[Pairs, list[int]]:
        return _plain(function(*args), name)

    return called


def _plain(found: Any, name: str) -> tuple[Pairs, list[int]]:
    message = (
        f"`{name}` returns two lists: (prompt, column) pairs of whole numbers, and the prompts left out."
    )
    try:
        pairs, left_out = found
        pairs, left_out = [(prompt, column) for prompt, column in pairs], list(left_out)
    except (TypeError, ValueError):
        raise CheckFailed(FORM, message, got=short(found)) from None
    require(all(map(_whole, [*sum(pairs, ()), *left_out])), FORM, message, got=short(found))
    return [(int(prompt), int(column)) for prompt, column in pairs], [int(prompt) for prompt in left_out]


def _whole(value: Any) -> bool:
    try:
        return not isinstance(value, bool) and int(value) == value
    except (TypeError, ValueError):
        return False


def _rewards(rng: np.random.Generator, prompts: int, n: int) -> np.ndarray:
    """Distinct rewards `(M, n)`; prompts differ in level, so that they must not compete with each other."""
    table = rng.permutation(prompts * n).reshape(prompts, n) / 10 + rng.normal(0, 3 * n, size=(prompts, 1))
    return table.round(4) + np.arange(prompts * n).reshape(prompts, n) * 1e-6


def _finished(prompts: int, n: int) -> np.ndarray:
    return np.full((prompts, n), "eos", dtype=object)


def _with_cuts(rng: np.random.Generator, rewards: np.ndarray) -> np.ndarray:
    """Finish reasons: the best of most prompts is cut, others here and there, two wholly."""
    prompts, n = rewards.shape
    reasons = np.where(rng.random((prompts, n)) < 0.2, "length", "eos").astype(object)
    reasons[np.arange(prompts), rewards.argmax(axis=1)] = "length"
    reasons[np.arange(prompts), rewards.argmin(axis=1)] = "eos"
    reasons[rng.choice(prompts, 2, replace=False)] = "length"
    return reasons


def _ranked(rewards: np.ndarray, reasons: np.ndarray, k: int, sign: float = 1.0) -> Pairs:
    """The k highest `sign * rewards` of each prompt among its finished responses."""
    kept = []
    for prompt, row in enumerate(sign * rewards):
        columns = [c for c in np.argsort(-row, kind="stable") if reasons[prompt][c] == "eos"]
        kept += [(prompt, int(c)) for c in columns[:k]]
    return kept


def _gone(reasons: np.ndarray) -> list[int]:
    return [p for p, row in enumerate(reasons) if not (row == "eos").any()]


def _overall(rewards: np.ndarray, count: int) -> Pairs:
    places = np.argsort(-rewards, axis=None)[:count]
    return sorted((int(i) // rewards.shape[1], int(i) % rewards.shape[1]) for i in places)


def _ideas(rewards: np.ndarray, reasons: np.ndarray, k: int) -> list[Misconception]:
    """What the usual mistakes keep, as sorted pairs."""
    prompts, n = rewards.shape
    turned = rewards.reshape(n, prompts).T if prompts * n == rewards.size else rewards
    down = sorted((int(row), column) for column, row in enumerate(rewards.argmax(axis=0)))
    flipped = sorted((column, prompt) for prompt, column in _ranked(rewards, reasons, k))
    whole = _finished(prompts, n)
    return [
        Misconception(
            "F03",
            "These are the lowest rewards: the sign or the order of the sort is turned round.",
            _ranked(rewards, reasons, k, -1.0),
        ),
        Misconception(
            "F03",
            "These are the lowest rewards: the sign or the order of the sort is turned round.",
            _ranked(rewards, whole, k, -1.0),
        ),
        Misconception(
            "F10",
            "The flat index was taken apart the wrong way: these columns belong to other prompts.",
            _ranked(turned, whole, k),
        ),
        Misconception("F10", "Prompt and column changed places in the pairs.", flipped),
        *(
            Misconception("F10", FROM_ONE, _moved(_ranked(rewards, reasons, k), *by))
            for by in ((1, 0), (0, 1), (1, 1))
        ),
        Misconception("F10", "The maximum runs down the columns. A prompt is a row: look at the axis.", down),
        Misconception(
            "F29",
            "These are the highest rewards of the whole table, so some prompts get many rows and "
            "others none. The choice is to be made within each prompt.",
            _overall(rewards, k * prompts),
        ),
        Misconception(
            "F25",
            "A response that was cut at the length limit is among the kept ones.",
            _ranked(rewards, whole, k),
        ),
        Misconception("F02", "Every response is kept, so nothing was selected.", _ranked(rewards, whole, n)),
        Misconception(
            "too few",
            "A prompt with fewer than k finished responses gives all that it has.",
            [pair for pair in _ranked(rewards, reasons, k) if (reasons[pair[0]] == "eos").sum() >= k],
        ),
        Misconception(
            "F04",
            "The kept columns do not depend on the rewards: the first ones are taken.",
            [(p, c) for p in range(prompts) for c in range(min(k, n))],
        ),
    ]


FROM_ONE = "Prompts or columns are counted from 1. Both are counted from 0."


def _moved(pairs: Pairs, down: int, right: int) -> Pairs:
    return [(prompt + down, column + right) for prompt, column in pairs]


def _compare(check: str, got: Pairs, rewards: np.ndarray, reasons: np.ndarray, k: int) -> None:
    diagnose(
        check,
        sorted(got),
        sorted(_ranked(rewards, reasons, k)),
        ideas=[Misconception(i.id, i.message, sorted(i.value)) for i in _ideas(rewards, reasons, k)],
        otherwise="These are not the rows that the rewards ask for.",
        case=f"rewards = {short(rewards)}, finish_reasons = {short(reasons.tolist())}",
    )


def _check_choice(select: Select, rng: np.random.Generator, k: int, check: str) -> None:
    """The right rows on finished tables, and on tables with cut responses."""
    for prompts, n in ((rng.integers(6, 9), 4), (rng.integers(6, 9), 5), (4, rng.integers(6, 9))):
        rewards = _rewards(rng, int(prompts), int(n))
        reasons = _finished(*rewards.shape)
        kept, _ = select(rewards, reasons, np.random.default_rng(int(rng.integers(1_000_000))))
        _compare(check, kept, rewards, reasons, k)
    for _ in range(3):
        rewards = _rewards(rng, int(rng.integers(7, 10)), int(rng.integers(4, 6)))
        reasons = _with_cuts(rng, rewards)
        kept, left_out = select(rewards, reasons, np.random.default_rng(int(rng.integers(1_000_000))))
        _check_numbering(kept, _ranked(rewards, reasons, k), reasons)
        _check_left_out(kept, left_out, reasons)
        _check_no_cut(kept, reasons)
        _compare(CUT, kept, rewards, reasons, k)


def _check_numbering(kept: Pairs, right: Pairs, reasons: np.ndarray) -> None:
    """The right rows under other numbers: counted among what is left, of the prompts or of the columns."""
    finished, prompts = reasons == "eos", sorted({prompt for prompt, _ in right})
    closed_up = sorted((prompts.index(prompt), column) for prompt, column in right)
    counted = sorted((prompt, int(finished[prompt, :column].sum())) for prompt, column in right)
    by_number = (
        (EMPTY, closed_up, "The prompts are counted anew once some are left out. A prompt keeps its number."),
        (CUT, counted, "The columns are counted among the finished responses. A column keeps its number."),
    )
    for check, other, message in by_number:
        told = sorted(kept) == other != sorted(right)
        require(not told, check, message, idea="F10", case=short(reasons.tolist()), got=short(kept))


def _check_left_out(kept: Pairs, left_out: list[int], reasons: np.ndarray) -> None:
    gone = _gone(reasons)
    wrong = [pair for pair in kept if 0 <= pair[0] < len(reasons) and pair[0] in gone]
    message = "Every response to this prompt was cut, and still one of them is kept."
    require(not wrong, EMPTY, message, idea="F25", case=short(reasons.tolist()), got=short(wrong))
    message = "The second list names the prompts of which no response finished, in order, and no others."
    require(sorted(left_out) == gone, EMPTY, message, idea="F25", case=short(reasons.tolist()), got=left_out)


def _check_no_cut(kept: Pairs, reasons: np.ndarray) -> None:
    prompts, n = reasons.shape
    cut = [(p, c) for p, c in kept if 0 <= p < prompts and 0 <= c < n and reasons[p, c] != "eos"]
    message = "A response that was cut at the length limit is among the kept ones."
    require(not cut, CUT, message, idea="F25", case=short(reasons.tolist()), got=short(cut))


def _check_sizes(select: Select, rng: np.random.Generator) -> None:
    one = rng.normal(size=(3, 1))
    kept, gone = select(one, _finished(3, 1), np.random.default_rng(0))
    case = "one response per prompt"
    require(
        sorted(kept) == [(0, 0), (1, 0), (2, 0)] and not gone,
        ANY_SIZE,
        "With n = 1 there is one row to keep.",
        case=case,
        got=kept,
    )
    none = select(np.zeros((0, 4)), _finished(0, 4), np.random.default_rng(0))
    require(
        none == ([], []),
        ANY_SIZE,
        "A table without prompts keeps nothing and leaves nobody out.",
        got=short(none),
    )


def _check_small_gaps(select: Select, rng: np.random.Generator, k: int, check: str) -> None:
    """Rewards a thousandth apart are not tied: no lot, no rounding may turn their order round."""
    rewards = 2 + rng.permuted(np.tile(np.arange(4), (30, 1)), axis=1) / 1000
    reasons = _finished(*rewards.shape)
    kept, _ = select(rewards, reasons, np.random.default_rng(int(rng.integers(1_000_000))))
    message = (
        "Rewards that differ by a thousandth were taken for tied. Rounding, or noise added to break ties, "
        "outweighs the difference."
    )
    right = sorted(kept) == sorted(_ranked(rewards, reasons, k))
    require(right, check, message, idea="blurred", case=f"rewards = {short(rewards)}", got=short(kept))


def _check_lot(draw: Callable[[np.random.Generator], Pairs], columns: Sequence[int]) -> None:
    """Over many draws each of the tied columns of prompt 0 is kept equally often, and a seed fixes the draw.

    False alarm below 1e-6: six standard deviations of a binomial count, for at most five columns.
    """
    rng = np.random.default_rng(20)
    kept = [[c for _, c in draw(rng)] for _ in range(DRAWS)]
    size = len(kept[0])
    share = size / len(columns)
    counts = np.array([sum(c in row for row in kept) for c in columns])
    spread = np.sqrt(DRAWS * share * (1 - share))
    first = " It is always the same column." if (counts == DRAWS).any() else ""
    require(
        (abs(counts - DRAWS * share) <= 6 * spread).all() and counts.sum() == DRAWS * size,
        LOT,
        f"These responses are worth the same, so each must have the same chance.{first} "
        "A rule that goes by position prefers whatever the sampler wrote first.",
        idea="F31",
        case=f"{len(columns)} responses with equal claim, {DRAWS} draws",
        got=f"kept {counts.tolist()} times",
    )


def _check_own_lot(draw: Callable[[np.random.Generator], Pairs]) -> None:
    """40 tied prompts: no lot that is the same whatever seed comes in, and no single lot for all of them."""
    first, other = (sorted(draw(np.random.default_rng(seed))) for seed in (5, 6))
    columns = {prompt: tuple(c for p, c in first if p == prompt) for prompt, _ in first}
    message = (
        "Ties are broken by lot, but every seed gives the same lot: it comes from a generator with a seed of "
        "its own. Draw from `rng`."
    )
    drawn = len(set(columns.values())) > 1
    require(not (drawn and first == other), SEEDED, message, idea="F20", case="40 tied prompts, two seeds")
    message = "One lot is drawn for the whole table: every prompt keeps the same columns. Draw anew for each."
    shared = not drawn and first != other
    require(not shared, LOT, message, idea="one lot", case="40 tied prompts", got=short(first[:4]))


def _check_seeded(draw: Callable[[np.random.Generator], Pairs]) -> None:
    same = sorted(draw(np.random.default_rng(5))) == sorted(draw(np.random.default_rng(5)))
    message = "Two generators with the same seed gave two selections: some chance comes from elsewhere."
    require(same, SEEDED, message, idea="F20", case="the same table twice, rng = default_rng(5) both times")
    other = sorted(draw(np.random.default_rng(5))) != sorted(draw(np.random.default_rng(6)))
    message = "Another seed gives the same selection: the generator that was passed in is not used."
    require(
        other, SEEDED, message, idea="F20", case="rng = default_rng(5) and default_rng(6), 40 tied prompts"
    )


def _check_finite(select: Select, rng: np.random.Generator) -> None:
    for bad in (float("nan"), float("inf"), -float("inf")):
        for reason in ("eos", "length"):
            _check_nan(select, rng, bad, reason)


def _forgiven(held: bool, bad: float) -> str:
    if np.isnan(bad) and held:
        return "The row without a number is the one that was kept: argmax takes the first NaN that it meets."
    if held:
        return "A reward of plus infinity was kept as the best. It is no judgement but a broken number."
    return (
        "A reward that is not a number was passed over in silence. Something is broken before this stage, "
        "and nobody will ever know."
    )


def _check_nan(select: Select, rng: np.random.Generator, bad: float, reason: str) -> None:
    """A reward that is not finite is a ValueError with the number of its prompt, cut or not."""
    rewards = _rewards(rng, PROMPTS, 4)
    prompt, column = int(rng.integers(10, PROMPTS)), int(rng.integers(4))
    rewards[prompt, column] = bad
    reasons = _finished(PROMPTS, 4)
    reasons[prompt, column] = reason
    case = f"rewards ({PROMPTS}, 4), {bad} at prompt {prompt}, column {column}, {reasons[prompt, column]!r}"
    try:
        kept, _ = select(rewards, reasons, np.random.default_rng(1))
    except CheckFailed as wrong:
        if wrong.check != RUNS:
            raise
        _check_error(wrong.__cause__, prompt, case)
        return
    raise CheckFailed(NAN, _forgiven((prompt, column) in kept, bad), idea="F32", case=case)


def _check_error(error: BaseException | None, prompt: int, case: str) -> None:
    message = f"It stopped with {type(error).__name__} where a ValueError is asked for."
    require(isinstance(error, ValueError), NAN, message, idea="F32", case=case, got=short(str(error)))
    message = "The error must say which prompt it is, by its row number, or the search begins at row 0."
    require(_names(str(error), prompt), NAMED, message, idea="F32", case=case, got=short(str(error)))


def _names(text: str, prompt: int) -> bool:
    """Whether a message singles the prompt out: whole numbers, and few that could be prompts."""
    said = {int(number) for number in re.findall(r"(?<![\d.])\d+(?!\d|\.\d)", text)}
    return prompt in said and len(said & set(range(PROMPTS))) <= FEW


def grade_best(work: Work, rng: np.random.Generator) -> None:
    """select_best(rewards, finish_reasons, rng)."""
    select = _selector(work, "select_best")
    _check_choice(select, rng, 1, BEST)
    _check_small_gaps(select, rng, 1, BEST)
    _check_sizes(select, rng)
    _check_own_lot(lambda gen: select(np.ones((40, 4)), _finished(40, 4), gen)[0])
    tied = np.array([[1.0, 3.0, 3.0, 0.5, 3.0]])
    _check_lot(lambda gen: select(tied, _finished(1, 5), gen)[0], (1, 2, 4))
    _check_seeded(lambda gen: select(np.ones((40, 4)), _finished(40, 4), gen)[0])
    _check_finite(select, rng)
    assert_inputs_unchanged(work, "select_best", *_cut_table(rng), np.random.default_rng(0))


def _cut_table(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    rewards = _rewards(rng, 7, 5)
    return rewards, _with_cuts(rng, rewards)


def grade_top_k(work: Work, rng: np.random.Generator) -> None:
    """select_top_k(rewards, finish_reasons, k, rng)."""
    select = _selector(work, "select_top_k")
    for k in (2, 3):
        _check_choice(lambda r, f, gen, k=k: select(r, f, k, gen), rng, k, TOP)
    _check_small_gaps(lambda r, f, gen: select(r, f, 2, gen), rng, 2, TOP)
    _check_sizes(lambda r, f, gen: select(r, f, 2, gen), rng)
    _check_own_lot(lambda gen: select(np.ones((40, 4)), _finished(40, 4), 2, gen)[0])
    tied = np.array([[2.0, 5.0, 2.0, 1.0, 2.0]])  # the 5 is safe; two of the three 2s go with it
    _check_lot(lambda gen: [p for p in select(tied, _finished(1, 5), 3, gen)[0] if p[1] != 1], (0, 2, 4))
    _check_seeded(lambda gen: select(np.ones((40, 4)), _finished(40, 4), 2, gen)[0])
    _check_finite(lambda r, f, gen: select(r, f, 2, gen), rng)
    assert_inputs_unchanged(work, "select_top_k", *_cut_table(rng), 2, np.random.default_rng(0))


def grade_random(work: Work, rng: np.random.Generator) -> None:
    """select_random(finish_reasons, k, rng)."""
    select = _selector(work, "select_random")
    for k in (1, 3):
        reasons = _with_cuts(rng, _rewards(rng, 8, 5))
        kept, left_out = select(reasons, k, np.random.default_rng(int(rng.integers(1_000_000))))
        _check_left_out(kept, left_out, reasons)
        _check_no_cut(kept, reasons)
        wanted = [p for p, row in enumerate(reasons) for _ in range(min(k, int((row == "eos").sum())))]
        message = "Each prompt gives the control as many rows as the best: k, or all where fewer finished."
        require(
            sorted(p for p, _ in kept) == wanted and len(set(kept)) == len(kept),
            PICK,
            message,
            idea="F04",
            case=f"k = {k}, finish_reasons = {short(reasons.tolist())}",
            got=kept,
        )
    _check_own_lot(lambda gen: select(_finished(40, 4), 2, gen)[0])
    _check_lot(lambda gen: select(_finished(1, 5), 2, gen)[0], (0, 1, 2, 3, 4))
    _check_sets(lambda gen: select(_finished(1, 5), 2, gen)[0])
    _check_seeded(lambda gen: select(_finished(40, 4), 2, gen)[0])
    assert_inputs_unchanged(work, "select_random", _cut_table(rng)[1], 2, np.random.default_rng(0))


def _check_sets(draw: Callable[[np.random.Generator], Pairs]) -> None:
    """Each of the ten pairs of five comes up; chance leaves one out in fewer than one of 10^17 checks."""
    rng = np.random.default_rng(21)
    seen = {tuple(sorted(c for _, c in draw(rng))) for _ in range(DRAWS)}
    message = (
        "Some pairs of responses never come up together: a block or a stride is drawn, not two responses."
    )
    got = f"{len(seen)} of 10 pairs"
    require(len(seen) == 10, PICK, message, idea="F31", case=f"two of five, {DRAWS} draws", got=got)


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
