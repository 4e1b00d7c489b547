"""Exercise 2.3: three probes of a reward model, and a verdict on four of them.

Learners get four reward models without names, two of which are the same network: `tiny`, and `tiny` that is
shown an empty prompt. The other two are drawn from a second good one and three bad ones, so that one or two
of four are fit for use. Every variant needs the same three probes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import combinations
from typing import Any

import numpy as np

import rslib
from autograder import calibration
from autograder.exercise import (
    ANSWERED,
    CheckFailed,
    Exercise,
    Misconception,
    Part,
    diagnose,
    require,
    same,
    short,
)
from autograder.handouts.nb02_scorers import LETTERS, scorers
from autograder.work import Work
from rslib.world.gold import gold_scores, judge
from rslib.world.prompts import all_prompts

PROBES = ("pair_accuracy", "prompt_drop", "length_slope")
VERDICTS = ("use", "blind", "length", "swapped", "noise")
CLEAR = 3.0
"""Two responses are compared where people are of one mind: their gold scores differ by this or more."""
LEARNER, HIDDEN, DRAWS = 80, 40, 8
"""Prompts of the learner's table and of the grader's own; responses to each."""
ROUNDED = 0.006
"""Numbers typed with two digits are right."""

Score = Callable[[Sequence[str], Sequence[str]], np.ndarray]
Table = Mapping[str, Any]


def comparisons(gold: Sequence[float], n: int) -> list[tuple[int, int]]:
    """(chosen row, rejected row) for every clear pair of responses to one prompt; n rows a prompt, in order.

    >>> comparisons([5.0, 1.0, 9.0, 8.0], 2)
    [(0, 1)]
    """
    rows = range(len(gold))
    return [(i, j) for i in rows for j in rows[i - i % n : i - i % n + n] if gold[i] - gold[j] >= CLEAR]


@lru_cache(maxsize=8)
def held_out_table(prompts: tuple[int, ...], seed: int) -> dict[str, Any]:
    """The notebook's table of comparisons, from these rows of the validation split with 8 responses each."""
    chosen = rslib.load_prompts("tiny", split="validation").select(list(prompts))
    drawn = rslib.sample(rslib.load_policy("tiny"), chosen, n=DRAWS, seed=seed, show_progress=False)
    gold = gold_scores(drawn).tolist()
    texts = {"prompt": drawn["prompt"][:], "response": drawn["response"][:]}
    return {"n": DRAWS, **texts, "finished": [r == "eos" for r in drawn["finish_reason"][:]]} | {
        "gold": gold,
        "pairs": comparisons(gold, DRAWS),
    }


def rotated(table: Table) -> list[str]:
    """For every row the prompt of the next block of rows."""
    prompts = list(table["prompt"])
    return prompts[table["n"] :] + prompts[: table["n"]]


def measured(score: Score, table: Table) -> dict[str, float]:
    """The three probes, as the exercise defines them; a constant reward gives 0.5, 0 and 0."""
    rewards = np.asarray(score(table["prompt"], table["response"]))
    foreign = np.asarray(score(rotated(table), table["response"]))
    return {
        "pair_accuracy": order_probe(rewards, table),
        "prompt_drop": float(np.mean(rewards - foreign) / (rewards.std() or 1.0)),
        "length_slope": length_probe(rewards, table),
    }


def order_probe(rewards: np.ndarray, table: Table) -> float:
    """Share of the table's pairs whose chosen row has the higher reward; a tie counts one half."""
    chosen, rejected = rewards[np.array(table["pairs"])].T
    return float(np.mean((chosen > rejected) + 0.5 * (chosen == rejected)))


def length_probe(rewards: np.ndarray, table: Table) -> float:
    """Slope of reward on words within prompts, in standard deviations per ten words; 0 if nothing varies."""
    words, centred = _centred(_words(table), table["n"]), _centred(rewards, table["n"])
    varying = float((words**2).sum())
    return 10 * float((words * centred).sum()) / varying / (rewards.std() or 1.0) if varying else 0.0


def _words(table: Table) -> np.ndarray:
    return np.array([len(text.split()) for text in table["response"]], float)


def _centred(values: np.ndarray, n: int) -> np.ndarray:
    by_prompt = np.asarray(values, float).reshape(-1, n)
    return (by_prompt - by_prompt.mean(axis=1, keepdims=True)).ravel()


def verdict_of(probes: Mapping[str, float]) -> str:
    """The verdict that the probes of a table of this size support; the limits are calibrated."""
    if 1 - probes["pair_accuracy"] >= calibration.threshold("2.3", "swapped"):
        return "swapped"
    if abs(probes["prompt_drop"]) < 1e-6:
        return "blind"
    if probes["length_slope"] >= calibration.threshold("2.3", "length"):
        return "length"
    return "use" if probes["pair_accuracy"] >= calibration.threshold("2.3", "usable") else "noise"


def pooled(own: Mapping[str, float], other: Mapping[str, float]) -> dict[str, float]:
    """The probes of the learner's table and of the hidden one together, weighted by their prompts."""
    return {key: (LEARNER * own[key] + HIDDEN * other[key]) / (LEARNER + HIDDEN) for key in PROBES}


# Part 1: the function, on reward functions that the grader makes up.


class _Recorder:
    """A made-up reward function that notes what it is asked: `own`, less `drop` under a foreign prompt."""

    def __init__(self, table: Table, own: np.ndarray, drop: np.ndarray) -> None:
        self.prompts = list(table["prompt"])
        self.row = {text: k for k, text in enumerate(table["response"])}
        self.own, self.drop = own, drop
        self.asked: list[tuple[int, str]] = []

    def __call__(self, prompts: Sequence[str], responses: Sequence[str]) -> np.ndarray:
        rows = [self.row[text] for text in responses]
        self.asked += list(zip(rows, prompts, strict=True))
        foreign = np.array([prompt != self.prompts[row] for row, prompt in zip(rows, prompts, strict=True)])
        return self.own[rows] - foreign * self.drop[rows]

    def again(self) -> _Recorder:
        """The same reward function, asked nothing yet."""
        return _Recorder({"prompt": self.prompts, "response": list(self.row)}, self.own, self.drop)

    def stayed(self) -> int:
        """How many rows were never asked under another prompt of the table."""
        moved = {row for row, prompt in self.asked if prompt in self.prompts and prompt != self.prompts[row]}
        return len(self.own) - len(moved)


def grade_probe(work: Work, rng: np.random.Generator) -> None:
    """The probe function on made-up rewards, a constant one and responses of one length."""
    probe = work.function("probe")
    for _ in range(2):
        table, recorder = _made_up(rng)
        got = _three(probe(recorder, table))
        _check_made_up(got, table, recorder)
    for n in (3, 4, 5, 9, 11, 4, 5, 3):  # a shuffle of the blocks leaves one at home in two of three cases
        table, recorder = _drawn(rng, n)
        probe(recorder, table)
        _check_moved(recorder, _case(table))
    _check_degenerate(probe, rng)


def _three(got: Any) -> dict[str, float]:
    require(
        isinstance(got, dict) and set(got) == set(PROBES),
        "returns the three probes",
        f"`probe` returns a dict with the keys {', '.join(PROBES)}.",
        got=got,
    )
    return got


def _made_up(rng: np.random.Generator) -> tuple[dict[str, Any], _Recorder]:
    """A small table and a made-up reward on which the known wrong readings differ from the right one."""
    while True:
        table, recorder = _drawn(rng, int(rng.integers(3, 6)))
        right, ideas = measured(recorder.again(), table), _ideas(table, recorder)
        far = all(abs(idea.value - right[key]) > 0.08 for key in PROBES for idea in ideas[key])
        if far and all(map(_told_apart, ideas.values())):
            return table, recorder


def _told_apart(ideas: Sequence[Misconception]) -> bool:
    """Whether no value would be told under another idea's name."""
    pairs = ((a, b) for a, b in combinations(ideas, 2) if a.id != b.id)
    return not any(same(a.value, b.value, 0.025) for a, b in pairs)


def _drawn(rng: np.random.Generator, n: int) -> tuple[dict[str, Any], _Recorder]:
    """A reward that depends on gold, on words, on the prompt and on chance; n rows a prompt."""
    blocks = int(rng.integers(7, 10))
    rows = blocks * n
    words = rng.integers(3, 9, rows) + np.repeat(rng.permutation(blocks) * 3, n)
    gold = rng.integers(-9, 10, rows).astype(float)
    level = np.repeat(rng.normal(0, 1.5, blocks), n)
    own = rng.uniform(0.15, 0.3) * words + 0.15 * gold + level + rng.normal(0, 0.5, rows)
    table = {
        "n": n,
        "prompt": [f"question {k // n}" for k in range(rows)],
        "response": [_text(k, int(count), rng) for k, count in enumerate(words)],
        "finished": [True] * rows,
        "gold": gold.tolist(),
        "pairs": comparisons(gold.tolist(), n),
    }
    return table, _Recorder(table, own, rng.normal(1.2, 2.5, rows))


def _text(row: int, words: int, rng: np.random.Generator) -> str:
    """A text of so many words, different for each row."""
    return " ".join([f"r{row}", *("lo" * int(k) for k in rng.integers(1, 3, words - 1))])


def _check_made_up(got: Mapping[str, Any], table: Table, recorder: _Recorder) -> None:
    case = _case(table)
    expected = measured(recorder.again(), table)
    ideas = _ideas(table, recorder)
    for key, tolerance, otherwise in (
        ("pair_accuracy", 1e-9, "Not the share of table['pairs'] whose chosen row has the higher reward."),
        ("length_slope", 0.02, "Not the slope within prompts, in standard deviations per ten words."),
    ):
        diagnose(
            f"measures {key}",
            got[key],
            expected[key],
            ideas=ideas[key],
            otherwise=otherwise,
            tolerance=tolerance,
            case=case,
        )
    _check_moved(recorder, case)
    diagnose(
        "measures prompt_drop",
        got["prompt_drop"],
        expected["prompt_drop"],
        ideas=ideas["prompt_drop"],
        otherwise="Not the mean fall of the reward under a foreign prompt, in standard deviations.",
        tolerance=0.02,
        case=case,
    )


def _case(table: Table) -> str:
    return f"a made-up reward on {len(table['prompt']) // table['n']} prompts, {table['n']} responses each"


def _check_moved(recorder: _Recorder, case: str) -> None:
    """Every response was scored under the prompt of others."""
    stayed = recorder.stayed()
    require(
        stayed < len(recorder.own),
        "moves every prompt",
        "No response was scored under a foreign prompt, so nothing tells whether prompts are read.",
        idea="F08",
        case=case,
    )
    require(
        stayed == 0,
        "moves every prompt",
        f"{stayed} of {len(recorder.own)} responses were never scored under the prompt of other "
        "responses. Rows come in blocks of table['n'] with one prompt: a shift by one row, or a shuffle, "
        "leaves some at home.",
        idea="F10",
        case=case,
    )


def _ideas(table: Table, recorder: _Recorder) -> dict[str, list[Misconception]]:
    own, drop, spread = recorder.own, recorder.drop, recorder.own.std()
    return {
        "pair_accuracy": [
            Misconception(
                "F03",
                "The pairs are read the wrong way round: the first row is the chosen one.",
                1 - order_probe(own, table),
            ),
            Misconception(
                "F08", "These rewards were taken under foreign prompts.", order_probe(own - drop, table)
            ),
            Misconception("gold-itself", "Gold agrees with itself. Compare the rewards.", 1.0),
        ],
        "prompt_drop": [
            Misconception(
                "F03",
                "The sign is turned: the reward under the own prompt comes first.",
                -drop.mean() / spread,
            ),
            Misconception(
                "no-unit", "Divide by the standard deviation of the rewards: they have no unit.", drop.mean()
            ),
            Misconception(
                "absolute-drop",
                "The mean absolute change is large for a random head too. Whether the right prompt is worth "
                "more shows in the mean with its sign.",
                np.abs(drop).mean() / spread,
            ),
            Misconception(
                "foreign-unit",
                "The unit is the spread of the rewards under their own prompts, not under foreign ones.",
                drop.mean() / (own - drop).std(),
            ),
            Misconception(
                "median", "This is the median fall. The mean is asked for.", np.median(drop) / spread
            ),
        ],
        "length_slope": _slope_ideas(table, own),
    }


def _slope_ideas(table: Table, own: np.ndarray) -> list[Misconception]:
    words, right = _words(table), length_probe(own, table)
    within_words, within = _centred(words, table["n"]), _centred(own, table["n"])
    characters = _centred(np.array([len(text) for text in table["response"]], float), table["n"])
    slopes = [np.polyfit(w, r, 1)[0] for w, r in _blocks(words, own, table["n"]) if np.ptp(w)]
    return [
        Misconception(
            "mean-of-slopes",
            "This is the mean of the prompts' own slopes. A prompt whose responses are nearly equally long "
            "then says as much as any. One slope is asked for, over all rows.",
            10 * float(np.mean(slopes)) / own.std(),
        ),
        Misconception(
            "between-prompts",
            "Take each prompt's mean off first, from words and rewards. Otherwise a prompt that asks for "
            "more words and is liked more looks like a bias.",
            10 * float(np.polyfit(words, own, 1)[0]) / own.std(),
        ),
        Misconception(
            "correlation",
            "This is a correlation. A slope says how much ten words pay.",
            float(np.corrcoef(within_words, within)[0, 1]),
        ),
        Misconception(
            "correlation",
            "This is a correlation over all rows. A slope says how much ten words pay.",
            float(np.corrcoef(words, own)[0, 1]),
        ),
        Misconception(
            "no-unit",
            "Divide by the standard deviation of the rewards: they have no unit.",
            right * own.std(),
        ),
        Misconception("no-unit", "This is for one word; ten are asked for.", right / 10),
        Misconception(
            "characters",
            "Count words, not characters.",
            10 * float((characters * within).sum() / (characters**2).sum()) / own.std(),
        ),
        Misconception(
            "turned-regression",
            "This is words per reward; reward per word is asked for.",
            10 * float((within_words * within).sum() / (within**2).sum()) / own.std(),
        ),
    ]


def _blocks(words: np.ndarray, rewards: np.ndarray, n: int) -> Iterable[tuple[np.ndarray, np.ndarray]]:
    """The words and the rewards of each prompt."""
    return zip(words.reshape(-1, n), rewards.reshape(-1, n), strict=True)


def _check_degenerate(probe: Callable[..., Any], rng: np.random.Generator) -> None:
    table, recorder = _made_up(rng)
    pairs = table["pairs"]
    table["pairs"] = pairs[: len(pairs) - 1 + len(pairs) % 2]  # odd: no coin gives one half
    flat = _Recorder(table, np.full(len(recorder.own), 1.5), np.zeros(len(recorder.own)))
    diagnose(
        "survives a constant reward",
        _three(probe(flat, table)),
        {"pair_accuracy": 0.5, "prompt_drop": 0.0, "length_slope": 0.0},
        otherwise="A broken reward model can give one number to all. The docstring says what to return.",
        tolerance=1e-9,
        case="every reward is 1.5",
    )
    even = dict(table, response=[f"row{k} two words" for k in range(len(recorder.own))])
    got = _three(probe(_Recorder(even, recorder.own, recorder.drop), even))
    diagnose(
        "survives responses of one length",
        got["length_slope"],
        0.0,
        otherwise="Where all are equally long, length explains nothing. The docstring says what to return.",
        tolerance=1e-9,
        case="every response has three words",
    )


# Part 2: the learner's numbers, measured again on the learner's own table.


def grade_numbers(work: Work, rng: np.random.Generator) -> None:
    """The table is what it should be, and the probes are those of the learner's models on it."""
    table = checked_table(work)
    said = _said(work)
    models = scorers(work.variant)
    found = {letter: measured(models[letter], table) for letter in LETTERS}
    for letter in LETTERS:
        for key in PROBES:
            _check_number(
                said, found, letter, key, _room(models[letter], table) if key == "prompt_drop" else 0.0
            )


def checked_table(work: Work) -> dict[str, Any]:
    """The learner's table, its gold scores judged anew. CheckFailed if it is none."""
    table = work.value("table", dict)
    missing = {"n", "prompt", "response", "finished", "gold", "pairs"} - table.keys()
    require(
        not missing,
        "is the held-out table",
        f"`table` lacks {', '.join(sorted(missing))}: run its cell again.",
    )
    homes = {all_prompts()[text].split if text in all_prompts() else "unknown" for text in table["prompt"]}
    require(
        homes == {"validation"},
        "uses held-out prompts",
        "The table's prompts must come from the validation split: the reward models were trained on prompts "
        "of the train split, and the test split is for reports.",
        idea="F17",
        got=sorted(homes),
    )
    prompts = len(set(table["prompt"]))
    require(
        prompts >= LEARNER and len(table["prompt"]) == prompts * table["n"] and table["n"] >= DRAWS,
        "has enough rows",
        f"Use at least {LEARNER} prompts with {DRAWS} or more responses each: the probes of a small table "
        "are mostly chance.",
        idea="F34",
        got=f"{prompts} prompts, {len(table['prompt'])} rows",
    )
    rows = zip(table["prompt"], table["response"], table["finished"], strict=True)
    gold = [judge(prompt, response, bool(done)).gold for prompt, response, done in rows]
    same_pairs = {tuple(map(int, pair)) for pair in table["pairs"]} == set(comparisons(gold, table["n"]))
    require(
        np.allclose(gold, table["gold"]) and same_pairs,
        "keeps people's judgements",
        "The gold scores or the pairs of `table` are not those of its responses. Run the cell that builds "
        "it again.",
        idea="F50",
    )
    return table


def _said(work: Work) -> dict[str, dict[str, float]]:
    """The learner's probes: a finite number for each letter and probe."""
    said = work.value("probes", dict)
    for letter in LETTERS:
        mine = said.get(letter)
        numbers = [mine.get(key) for key in PROBES] if isinstance(mine, dict) else [None]
        if not all(isinstance(v, float | int | np.number) and np.isfinite(v) for v in numbers):
            message = f"`probes[{letter!r}]` needs a finite number for each of {', '.join(PROBES)}."
            raise CheckFailed(ANSWERED, message, got=short(mine))
    return said


def _room(score: Score, table: Table) -> float:
    """How far two ways of moving the prompts may lie apart: five standard errors of the drop."""
    rewards = np.asarray(score(table["prompt"], table["response"]))
    fall = (rewards - score(rotated(table), table["response"])).reshape(-1, table["n"]).mean(axis=1)
    return float(5 * fall.std(ddof=1) / np.sqrt(len(fall)) / (rewards.std() or 1.0))


def _check_number(
    said: Mapping[str, Any], found: Mapping[str, Any], letter: str, key: str, room: float
) -> None:
    got, right = float(said[letter][key]), found[letter][key]
    if abs(got - right) <= ROUNDED + room:
        return
    case = f"reward model {letter}, {key}"
    ideas = [
        (
            "F03",
            "This is the number with its sense turned: chosen and rejected, or own and foreign, changed "
            "places.",
            1 - right if key == "pair_accuracy" else -right,
        )
    ]
    ideas += [
        ("wrong-letter", "This is the number of another letter.", found[o][key])
        for o in LETTERS
        if o != letter
    ]
    for idea, message, value in ideas:
        if abs(got - value) <= ROUNDED:
            raise CheckFailed("gives its own numbers", message, idea=idea, case=case, got=f"{got:.3f}")
    message = "Measured again on your table, this reward model gives another number. Probe the whole table."
    raise CheckFailed("gives its own numbers", message, idea="F50", case=case, got=f"{got:.3f}")


# Part 3: the verdicts, on prompts that the learner has not seen as well.


def grade_verdicts(work: Work, rng: np.random.Generator) -> None:
    """The verdicts follow from the probes of both tables; a verdict without its numbers earns nothing."""
    grade_numbers(work, rng)
    verdicts = work.value("verdicts", dict)
    for letter in LETTERS:
        require(
            type(verdicts.get(letter)) in (str, np.str_) and str(verdicts[letter]) in VERDICTS,
            "gives a verdict on each",
            f"`verdicts[{letter!r}]` is one of {', '.join(map(repr, VERDICTS))}.",
            got=verdicts.get(letter),
        )
    table, models = work.value("table", dict), scorers(work.variant)
    hidden = _hidden(int(rng.integers(2**31)))
    for letter in LETTERS:
        shown = pooled(measured(models[letter], table), measured(models[letter], hidden))
        _check_verdict(letter, verdicts[letter], verdict_of(shown))


def validation_size() -> int:
    """Prompts in the validation split."""
    return sum(prompt.split == "validation" for prompt in all_prompts().values())


def _hidden(seed: int) -> dict[str, Any]:
    rows = np.random.default_rng(seed).choice(np.arange(LEARNER, validation_size()), HIDDEN, replace=False)
    return held_out_table(tuple(rows.tolist()), seed)


TELL = {
    "blind": (
        "F08",
        "Look at how its reward changes when every response stands under a foreign prompt, to the last "
        "digit. A good accuracy does not show that the prompt was read.",
    ),
    "length": (
        "F12",
        "Compare its slope with the slopes of the others, and ask what its accuracy would be if it only "
        "counted words. That it hardly minds a foreign prompt follows from what it pays for.",
    ),
    "swapped": (
        "F03",
        "Look at which side of one half its accuracy lies, and how far. No coin is wrong so often.",
    ),
    "noise": (
        "F11",
        "Put an interval around its accuracy. What can a reward model select if it orders pairs like a coin?",
    ),
    "use": (
        "false-alarm",
        "A probe is not failed because it is not perfect: it orders most clear pairs as people do, and "
        "it minds a foreign prompt. What it pays for length is a reason to watch it, not to shut it out.",
    ),
}


def _check_verdict(letter: str, said: str, shown: str) -> None:
    if said != shown:
        idea, message = TELL[shown]
        raise CheckFailed(
            "judges each reward model",
            message,
            idea=idea,
            case=f"reward model {letter}",
            got=f"verdict {said!r}",
        )


EXERCISES = (
    Exercise(
        "2.3",
        "Which of four may be used?",
        3,
        15,
        ("probe", "table", "probes", "verdicts"),
        (
            Part("the probe", 1.5, grade_probe),
            Part("the numbers", 1.0, grade_numbers),
            Part("the verdicts", 1.5, grade_verdicts),
        ),
        given=scorers,
        measured=True,
    ),
)
