"""Exercise 2.3: three probes of a reward model, and a verdict on four of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

import rslib
from autograder.calibration import threshold
from autograder.checks import Agrees, Ideas, Learner, Rng, graded
from autograder.exercise import ANSWERED, UNREADABLE, CheckFailed, Exercise, Part, require, short
from autograder.handouts.nb02_scorers import LETTERS, scorers
from autograder.work import Work
from rslib.world.gold import gold_scores, judge
from rslib.world.prompts import all_prompts

IDEAS = Ideas("""
accuracy (): Not the share of table['pairs'] whose chosen row has the higher reward.
every pair: All pairs of a prompt are counted. The pairs of table['pairs'] are asked for.
wrong way round (F03): The pairs are read the wrong way round: the first row is the chosen one.
under foreign prompts (F08): These rewards were taken under foreign prompts.
tie lost: A tie counts as a loss here. The docstring says what a tie is.
tie won: A tie counts as a win here. The docstring says what a tie is.
tie dropped: Ties are left out of the count here. The docstring says what a tie is.
gold-itself: Gold agrees with itself. Compare the rewards.

drop (): Not the mean fall of the reward under a foreign prompt, in standard deviations.
turned drop (F03): The sign is turned: the reward under the own prompt comes first.
drop without unit (no-unit): Divide by the standard deviation of the rewards: they have no unit.
absolute-drop: The mean absolute change is large for a random head too. Whether the right prompt is worth more
    shows in the mean with its sign.
within-unit / within-unit of slopes: The unit is the spread inside the prompts. The standard deviation of all
    rewards is asked for.
unit of falls: The unit is the spread of the falls. The standard deviation of the rewards is asked for.
one row (F10): Moved by one row, most responses keep their own prompt: rows come in blocks of table['n'].
foreign-unit: The unit is the spread of the rewards under their own prompts, not under foreign ones.
median: This is the median fall. The mean is asked for.
never moved (F08): No response was scored under a foreign prompt, so nothing tells whether prompts are read.
some stayed (F10): {stayed} of {rows} responses were never scored under the prompt of other responses. Rows
    come in blocks of table['n'] with one prompt: a shift by one row, or a shuffle, leaves some at home.

slope (): Not the slope within prompts, in standard deviations per ten words.
mean-of-slopes: This is the mean of the prompts' own slopes. A prompt whose responses are nearly equally long
    then says as much as any. One slope is asked for, over all rows.
between-prompts: Take each prompt's mean off first, from words and rewards. Otherwise a prompt that asks for
    more words and is liked more looks like a bias.
correlation: This is a correlation. A slope says how much ten words pay.
correlation over all (correlation): This is a correlation over all rows. A slope says how much ten words pay.
slope without unit (no-unit): Divide by the standard deviation of the rewards: they have no unit.
blocks of eight (F10): Blocks of 8 rows are taken. table['n'] says how many rows a prompt has.
for one word (no-unit): This is for one word; ten are asked for.
characters / letters: Count words, not characters.
turned-regression / turned, without unit: This is words per reward; reward per word is asked for.

constant reward (): A broken reward model can give one number to all. The docstring says what to return.
one length (): Where all are equally long, length explains nothing. The docstring says what to return.

held out (F17): The table's prompts must come from the validation split: the reward models were trained on
    prompts of the train split, and the test split is for reports.
few rows (F34): Use at least {prompts} prompts with {draws} or more responses each: the probes of a small
    table are mostly chance.
judgements (F50): The gold scores or the pairs of `table` are not those of its responses. Run the cell that
    builds it again.
turned number (F03): This is the number with its sense turned: chosen and rejected, or own and foreign,
    changed places.
wrong-letter: This is the number of another letter.
another number (F50): Measured again on your table, this reward model gives another number. Probe the whole
    table.

blind (F08): Look at how its reward changes when every response stands under a foreign prompt, to the last
    digit. A good accuracy does not show that the prompt was read.
length (F12): Compare its slope with the slopes of the others, and ask what its accuracy would be if it only
    counted words. That it hardly minds a foreign prompt follows from what it pays for.
swapped (F03): Look at which side of one half its accuracy lies, and how far. No coin is wrong so often.
noise (F11): Put an interval around its accuracy. What can a reward model select if it orders pairs like a
    coin?
use (false-alarm): A probe is not failed because it is not perfect: it orders most clear pairs as people do,
    and it minds a foreign prompt. What it pays for length is a reason to watch it, not to shut it out.
""")
PROBES = ("pair_accuracy", "prompt_drop", "length_slope")
VERDICTS = ("use", "blind", "length", "swapped", "noise")
CLEAR = 3.0
"""Two responses are compared where people are of one mind: their gold scores differ by this or more."""
LEARNER, HIDDEN, DRAWS = 80, 40, 8
"""Prompts of the learner's table and of the grader's own; responses to each."""
SINGLE = 1e-5
"""Single precision is enough for what is computed on made-up rewards."""
ROUNDED = 0.006
"""Numbers typed with two digits are right."""

Score = Callable[[Sequence[str], Sequence[str]], np.ndarray]
Table = Mapping[str, Any]


# Measuring ------------------------------------------------------------------------------------------------


def comparisons(gold: Sequence[float], n: int, least: float = CLEAR) -> list[tuple[int, int]]:
    """(chosen row, rejected row) for every clear pair of responses to one prompt; n rows a prompt, in order.

    least: the difference in gold from which on a pair is clear.

    >>> comparisons([5.0, 1.0, 9.0, 8.0], 2)
    [(0, 1)]
    """
    rows = range(len(gold))
    return [(i, j) for i in rows for j in rows[i - i % n : i - i % n + n] if gold[i] - gold[j] >= least]


@lru_cache(maxsize=8)
def held_out_table(prompts: tuple[int, ...], seed: int) -> dict[str, Any]:
    """The notebook's table of comparisons, from these rows of the validation split with 8 responses each."""
    chosen = rslib.load_prompts("tiny", split="validation").select(list(prompts))
    drawn = rslib.sample(rslib.load_policy("tiny"), chosen, n=DRAWS, seed=seed, show_progress=False)
    gold = gold_scores(drawn).tolist()
    return {
        "n": DRAWS,
        "prompt": drawn["prompt"][:],
        "response": drawn["response"][:],
        "finished": [reason == "eos" for reason in drawn["finish_reason"][:]],
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
    if 1 - probes["pair_accuracy"] >= threshold("2.3", "swapped"):
        return "swapped"
    if abs(probes["prompt_drop"]) < 1e-6:
        return "blind"
    if probes["length_slope"] >= threshold("2.3", "length"):
        return "length"
    return "use" if probes["pair_accuracy"] >= threshold("2.3", "usable") else "noise"


# The function, on reward functions that the grader makes up -----------------------------------------------


class Recorder:
    """A made-up reward function that notes its calls: `rewards`, less `drops` under a foreign prompt."""

    def __init__(self, table: Table, rewards: np.ndarray, drops: np.ndarray) -> None:
        self.prompts = list(table["prompt"])
        self.row = {text: k for k, text in enumerate(table["response"])}
        self.rewards, self.drops = rewards, drops
        self.asked: list[tuple[int, str]] = []

    def __repr__(self) -> str:
        return "a made-up reward"

    def __call__(self, prompts: Sequence[str], responses: Sequence[str]) -> np.ndarray:
        """The reward of each response under its prompt, `(rows,)`."""
        rows = [self.row[text] for text in responses]
        self.asked += list(zip(rows, prompts, strict=True))
        foreign = np.array([prompt != self.prompts[row] for row, prompt in zip(rows, prompts, strict=True)])
        return self.rewards[rows] - foreign * self.drops[rows]

    def stayed(self) -> int:
        """How many rows were never asked under another prompt of the table."""
        moved = {row for row, prompt in self.asked if prompt in self.prompts and prompt != self.prompts[row]}
        return len(self.rewards) - len(moved)


Case = tuple[Recorder, dict[str, Any]]
"""The arguments of `probe`."""


def made_up(rng: Rng, n: int = 0) -> Case:
    """A reward that depends on gold, words, prompt and chance; n rows a prompt, by default three to five."""
    blocks, n = int(rng.integers(7, 10)), n or int(rng.integers(3, 6))
    rows = blocks * n
    words = rng.integers(3, 9, rows) + np.repeat(rng.permutation(blocks) * 3, n)
    gold = rng.integers(-9, 10, rows).astype(float)
    level = np.repeat(rng.normal(0, 1.5, blocks), n)
    rewards = rng.uniform(0.15, 0.3) * words + 0.15 * gold + level + rng.normal(0, 0.5, rows)
    table = {
        "n": n,
        "prompt": [f"question {k // n}" for k in range(rows)],
        "response": [_text(k, int(count), rng) for k, count in enumerate(words)],
        "finished": [True] * rows,
        "gold": gold.tolist(),
        "pairs": comparisons(gold.tolist(), n),
    }
    return Recorder(table, rewards, rng.normal(1.2, 2.5, rows)), table


def _text(row: int, words: int, rng: Rng) -> str:
    """A text of so many words, different for each row."""
    return " ".join([f"r{row}", *("lo" * int(k) for k in rng.integers(1, 3, words - 1))])


def constant_reward(rng: Rng) -> Case:
    """One reward for all, and an odd number of pairs: no coin gives one half."""
    recorder, table = made_up(rng)
    pairs = table["pairs"]
    table["pairs"] = pairs[: len(pairs) - 1 + len(pairs) % 2]
    rows = len(recorder.rewards)
    return Recorder(table, np.full(rows, 1.5), np.zeros(rows)), table


def equal_lengths(rng: Rng) -> Case:
    """Responses of three words each."""
    recorder, table = made_up(rng)
    table["response"] = [f"row{k} two words" for k in range(len(recorder.rewards))]
    return Recorder(table, recorder.rewards, recorder.drops), table


def three_probes(result: Any, *_: Any) -> dict[str, float]:
    """The learner's three probes."""
    message = f"`probe` returns a dict with the keys {', '.join(PROBES)}."
    complete = isinstance(result, dict) and set(result) == set(PROBES)
    require(complete, "returns the three probes", message, got=result)
    return result


def accuracy_slips(recorder: Recorder, table: Table) -> dict[str, float]:
    """What wrong readings of the pairs give."""
    every_pair = comparisons(table["gold"], table["n"], 1e-9)
    return {
        "wrong way round": 1 - order_probe(recorder.rewards, table),
        "under foreign prompts": order_probe(recorder.rewards - recorder.drops, table),
        "gold-itself": 1.0,
        "every pair": order_probe(recorder.rewards, table | {"pairs": every_pair}),
    }


def tied_rewards(rng: Rng) -> Case:
    """Rewards on few levels, so that many pairs tie."""
    recorder, table = made_up(rng)
    return Recorder(table, 1.5 * np.round(recorder.rewards / 1.5), recorder.drops), table


def tie_slips(recorder: Recorder, table: Table) -> dict[str, float]:
    """What ties count where they count as something else than one half."""
    chosen, rejected = recorder.rewards[np.array(table["pairs"])].T
    won, lost = np.mean(chosen > rejected), np.mean(chosen < rejected)
    return {"tie lost": won, "tie won": 1 - lost, "tie dropped": won / (won + lost)}


def drop_slips(recorder: Recorder, table: Table) -> dict[str, float]:
    """What wrong signs, units and means give for the drop."""
    drops, spread = recorder.drops, recorder.rewards.std()
    return {
        "turned drop": -drops.mean() / spread,
        "drop without unit": drops.mean(),
        "absolute-drop": np.abs(drops).mean() / spread,
        "within-unit": drops.mean() / _centred(recorder.rewards, table["n"]).std(),
        "foreign-unit": drops.mean() / (recorder.rewards - drops).std(),
        "median": np.median(drops) / spread,
        "unit of falls": drops.mean() / drops.std(),
        "one row": drops[table["n"] - 1 :: table["n"]].sum() / len(drops) / spread,
    }


def slope_slips(recorder: Recorder, table: Table) -> dict[str, float]:
    """What wrong regressions give."""
    rewards, n, spread = recorder.rewards, table["n"], recorder.rewards.std()
    words, right = _words(table), length_probe(rewards, table)
    within_words, within = _centred(words, n), _centred(rewards, n)
    characters = _centred(np.array([len(text) for text in table["response"]]), n)
    letters = _centred(np.array([len(text.replace(" ", "")) for text in table["response"]]), n)
    prompts = zip(words.reshape(-1, n), rewards.reshape(-1, n), strict=True)
    slopes = [np.polyfit(w, r, 1)[0] for w, r in prompts if np.ptp(w)]
    eight = {"blocks of eight": length_probe(rewards, table | {"n": 8})} if len(rewards) % 8 == 0 else {}
    return eight | {
        "mean-of-slopes": 10 * np.mean(slopes) / spread,
        "between-prompts": 10 * np.polyfit(words, rewards, 1)[0] / spread,
        "correlation": np.corrcoef(within_words, within)[0, 1],
        "correlation over all": np.corrcoef(words, rewards)[0, 1],
        "slope without unit": right * spread,
        "for one word": right / 10,
        "within-unit of slopes": right * spread / within.std(),
        "letters": 10 * (letters * within).sum() / (letters**2).sum() / spread,
        "turned, without unit": 10 * (within_words * within).sum() / (within**2).sum(),
        "characters": 10 * (characters * within).sum() / (characters**2).sum() / spread,
        "turned-regression": 10 * (within_words * within).sum() / (within**2).sum() / spread,
    }


def measures(
    key: str,
    otherwise: str,
    slips: Callable[..., dict[str, float]],
    tolerance: float,
    draw: Callable[[Rng], Case] = made_up,
) -> Agrees:
    """The check of one probe on two made-up rewards."""
    return Agrees(
        f"measures {key}",
        draw,
        lambda *case: measured(*case)[key],
        otherwise,
        slips,
        count=2,
        tolerance=tolerance,
        apart=0.08,  # four times the tolerance: no idea's value passes for another's
        of=lambda result, *_: three_probes(result)[key],
    )


def moves_every_prompt(probe: Learner, rng: Rng) -> None:
    """Every response is scored under the prompt of others."""
    for n in (3, 4, 5, 9, 11, 4, 5, 3):  # a shuffle of the blocks leaves one at home in two of three cases
        recorder, table = made_up(rng, n)
        probe(recorder, table)
        stayed, rows = recorder.stayed(), len(recorder.rewards)
        idea = IDEAS.filled("some stayed" if stayed < rows else "never moved", stayed=stayed, rows=rows)
        case = f"{recorder} on {rows // n} prompts, {n} responses each"
        require(not stayed, "moves every prompt", idea, case=case)


# The learner's numbers, measured again on the learner's own table -----------------------------------------


def grade_numbers(work: Work, rng: Rng) -> None:
    """The table is what it should be, and the probes are those of the learner's models on it."""
    table = checked_table(work)
    answers, models = _answers(work), scorers(work.variant)
    right = {letter: measured(models[letter], table) for letter in LETTERS}
    for letter in LETTERS:
        for key in PROBES:
            room = _room(models[letter], table) if key == "prompt_drop" else 0.0
            _check_number(float(answers[letter][key]), right, letter, key, room)


def checked_table(work: Work) -> dict[str, Any]:
    """The learner's table, its gold scores judged anew. CheckFailed if it is none."""
    table = work.value("table", dict)
    missing = {"n", "prompt", "response", "finished", "gold", "pairs"} - table.keys()
    message = f"`table` lacks {', '.join(sorted(missing))}: run its cell again."
    require(not missing, "is the held-out table", message)
    try:
        _check_table(table)
    except UNREADABLE:
        message = "`table` holds something else than the notebook's cell made: run it again."
        raise CheckFailed("is the held-out table", message, got=short(table)) from None
    return table


def _check_table(table: dict[str, Any]) -> None:
    splits = {all_prompts()[text].split if text in all_prompts() else "unknown" for text in table["prompt"]}
    require(splits == {"validation"}, "uses held-out prompts", IDEAS["held out"], got=sorted(splits))
    prompts, rows = len(set(table["prompt"])), len(table["prompt"])
    enough = prompts >= LEARNER and rows == prompts * table["n"] and table["n"] >= DRAWS
    idea = IDEAS.filled("few rows", prompts=LEARNER, draws=DRAWS)
    require(enough, "has enough rows", idea, got=f"{prompts} prompts, {rows} rows")
    columns = zip(table["prompt"], table["response"], table["finished"], strict=True)
    gold = [judge(prompt, response, bool(done)).gold for prompt, response, done in columns]
    same_pairs = {tuple(map(int, pair)) for pair in table["pairs"]} == set(comparisons(gold, table["n"]))
    kept = np.allclose(gold, table["gold"]) and same_pairs
    require(kept, "keeps people's judgements", IDEAS["judgements"])


def _answers(work: Work) -> dict[str, dict[str, float]]:
    """The learner's probes: a finite number for each letter and probe."""
    answers = work.value("probes", dict)
    for letter in LETTERS:
        answer = answers.get(letter)
        numbers = [answer.get(key) for key in PROBES] if isinstance(answer, dict) else [None]
        if not all(isinstance(v, float | int | np.number) and np.isfinite(v) for v in numbers):
            message = f"`probes[{letter!r}]` needs a finite number for each of {', '.join(PROBES)}."
            raise CheckFailed(ANSWERED, message, got=short(answer))
    return answers


def _room(score: Score, table: Table) -> float:
    """How far two ways of moving the prompts may lie apart: five standard errors of the drop."""
    rewards = np.asarray(score(table["prompt"], table["response"]))
    fall = (rewards - score(rotated(table), table["response"])).reshape(-1, table["n"]).mean(axis=1)
    return float(5 * fall.std(ddof=1) / np.sqrt(len(fall)) / (rewards.std() or 1.0))


def _check_number(
    got: float, right: Mapping[str, Mapping[str, float]], letter: str, key: str, room: float
) -> None:
    """One number of the learner's; right: all of them by letter and probe."""
    expected = right[letter][key]
    turned = 1 - expected if key == "pair_accuracy" else -expected
    others = [right[other][key] for other in LETTERS if other != letter]
    idea = "wrong-letter" if any(abs(got - other) <= ROUNDED for other in others) else "another number"
    idea = "turned number" if abs(got - turned) <= ROUNDED else idea
    agrees, case = abs(got - expected) <= ROUNDED + room, f"reward model {letter}, {key}"
    require(agrees, "gives its own numbers", IDEAS[idea], case=case, got=f"{got:.3f}")


# The verdicts, on prompts that the learner has not seen as well -------------------------------------------


def grade_verdicts(work: Work, rng: Rng) -> None:
    """The verdicts follow from the probes of both tables; a verdict without its numbers earns nothing."""
    grade_numbers(work, rng)
    answers = work.value("verdicts", dict)
    verdicts = {letter: _word(answers.get(letter)) for letter in LETTERS}
    for letter, word in verdicts.items():
        message = f"`verdicts[{letter!r}]` is one of {', '.join(map(repr, VERDICTS))}."
        require(word in VERDICTS, "gives a verdict on each", message, got=answers.get(letter))
    table, hidden = work.value("table", dict), _hidden(int(rng.integers(2**31)))
    for letter, score in scorers(work.variant).items():
        probes, again = measured(score, table), measured(score, hidden)
        weighted = {key: np.average([probes[key], again[key]], weights=[LEARNER, HIDDEN]) for key in PROBES}
        right, got = verdict_of(weighted), f"verdict {verdicts[letter]!r}"
        agrees, case = verdicts[letter] == right, f"reward model {letter}"
        require(agrees, "judges each reward model", IDEAS[right], case=case, got=got)


def _word(answer: Any) -> str:
    """A learner's word in small letters; "" for what is no plain text."""
    return str(answer).strip().casefold() if type(answer) in (str, np.str_) else ""


def validation_size() -> int:
    """Prompts in the validation split."""
    return sum(prompt.split == "validation" for prompt in all_prompts().values())


def _hidden(seed: int) -> dict[str, Any]:
    rows = np.random.default_rng(seed).choice(np.arange(LEARNER, validation_size()), HIDDEN, replace=False)
    return held_out_table(tuple(rows.tolist()), seed)


# The exercise ---------------------------------------------------------------------------------------------

BROKEN = {"pair_accuracy": 0.5, "prompt_drop": 0.0, "length_slope": 0.0}
"""The probes of a constant reward."""
EXERCISE = Exercise(
    "2.3",
    "Which of four may be used?",
    3,
    15,
    ("probe", "table", "probes", "verdicts"),
    (
        Part(
            "the probe",
            1.5,
            graded(
                "probe",
                IDEAS,
                measures("pair_accuracy", "accuracy", accuracy_slips, tolerance=SINGLE),
                measures("pair_accuracy", "accuracy", tie_slips, tolerance=SINGLE, draw=tied_rewards),
                measures("length_slope", "slope", slope_slips, tolerance=0.02),
                moves_every_prompt,
                measures("prompt_drop", "drop", drop_slips, tolerance=0.02),
                Agrees(
                    "survives a constant reward",
                    constant_reward,
                    lambda *_: BROKEN,
                    "constant reward",
                    tolerance=SINGLE,
                    of=three_probes,
                ),
                Agrees(
                    "survives responses of one length",
                    equal_lengths,
                    lambda *_: 0.0,
                    "one length",
                    tolerance=SINGLE,
                    of=lambda result, *_: three_probes(result)["length_slope"],
                ),
            ),
        ),
        Part("the numbers", 1.0, grade_numbers),
        Part("the verdicts", 1.5, grade_verdicts),
    ),
    given=scorers,
    measured=True,
    seconds=6,
    needs_torch=True,
)
