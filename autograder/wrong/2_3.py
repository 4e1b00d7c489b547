# %% given
import numpy as np

from autograder.exercise import Variant
from autograder.exercises import nb02_3
from autograder.exercises.nb02_3 import PROBES, comparisons, held_out_table
from autograder.handouts import nb02_scorers
from autograder.handouts.nb02_scorers import names_of

NAMES = names_of(Variant("", "", "2.3"))
TRUE = {"tiny": "use", "tiny-unbiased": "use", "tiny-blind": "blind", "tiny-length": "length"}
TRUE |= {"tiny-swapped": "swapped"} | {f"noise{head}": "noise" for head in nb02_scorers.NOISE_HEADS}
LETTER = {name: letter for letter, name in NAMES.items()}
models = nb02_3.scorers(Variant("", "", "2.3"))
table = held_out_table(tuple(range(nb02_3.LEARNER)), 4)


def measured(score, table):
    """An honest probe, slow and plain: its own way to move prompts, a loop, polyfit."""
    prompts, responses, n = table["prompt"], table["response"], table["n"]
    own = np.asarray(score(prompts, responses))
    foreign = np.asarray(score(list(prompts[-n:]) + list(prompts[:-n]), responses))
    spread = own.std(ddof=1) if np.ptp(own) > 0 else 1.0
    wins = [1.0 if own[i] > own[j] else 0.5 if own[i] == own[j] else 0.0 for i, j in table["pairs"]]
    words = np.array([float(len(text.split())) for text in responses])
    for start in range(0, len(words), n):
        words[start : start + n] -= words[start : start + n].mean()
    slope = np.dot(words, own) / np.dot(words, words) if np.any(words) else 0.0
    numbers = np.mean(wins), np.mean(own - foreign) / spread, 10 * slope / spread
    return dict(zip(PROBES, map(float, numbers)))


def changed(**wrong):
    """The honest probe with some of its numbers taken from wrong(score, table)."""

    def probe(score, table):
        return measured(score, table) | {key: float(f(score, table)) for key, f in wrong.items()}

    return probe


def own(score, table):
    return np.asarray(score(table["prompt"], table["response"]))


probe = measured
probes = {letter: measured(score, table) for letter, score in models.items()}
verdicts = {letter: TRUE[name] for letter, name in NAMES.items()}

# %% correct: a loop, and prompts moved the other way
pass


# %% correct: responses moved instead of prompts, numbers rounded to two digits
def probe(score, table):
    responses = list(np.roll(np.array(table["response"], dtype=object), 2 * table["n"]))
    prompts = list(np.roll(np.array(table["prompt"], dtype=object), 2 * table["n"]))
    drop = np.mean(own(score, table) - score(table["prompt"], responses)) / (own(score, table).std() or 1.0)
    assert prompts[0] != table["prompt"][0]
    return measured(score, table) | {"prompt_drop": float(drop)}


probes = {
    letter: {k: round(v, 2) for k, v in probe(score, table).items()} for letter, score in models.items()
}

# %% correct: another table, with more prompts
table = held_out_table(tuple(range(100, 190)), 5)
probes = {letter: measured(score, table) for letter, score in models.items()}


# %% correct: one row at a time, and a regression on words and prompts
def probe(score, table):
    prompts, responses, n = table["prompt"], table["response"], table["n"]
    honest = measured(score, table)
    asked = zip(prompts[2 * n :] + prompts[: 2 * n], responses)
    foreign = np.array([float(np.asarray(score([p], [r]))[0]) for p, r in asked])
    rewards = own(score, table)
    words = np.array([[len(text.split())] for text in responses], float)
    homes = np.kron(np.eye(len(prompts) // n), np.ones((n, 1)))
    slope = np.linalg.lstsq(np.hstack([words, homes]), rewards, rcond=None)[0][0]
    if not honest["length_slope"]:
        slope = 0.0
    spread = rewards.std() or 1.0
    return honest | {"prompt_drop": (rewards - foreign).mean() / spread, "length_slope": 10 * slope / spread}


# %% wrong: pairs the wrong way round | idea: F03 | fails at: measures pair_accuracy | points: 2.5
probe = changed(pair_accuracy=lambda score, table: 1 - measured(score, table)["pair_accuracy"])

# %% wrong: accuracy of gold with itself | idea: gold-itself | fails at: measures pair_accuracy | points: 2.5
probe = changed(
    pair_accuracy=lambda score, table: np.mean(
        [table["gold"][i] > table["gold"][j] for i, j in table["pairs"]]
    )
)


# %% wrong: length over all rows | idea: between-prompts | fails at: measures length_slope | points: 2.5
def pooled(score, table):
    words = [len(text.split()) for text in table["response"]]
    return 10 * np.polyfit(words, own(score, table), 1)[0] / own(score, table).std()


probe = changed(length_slope=pooled)


# %% wrong: correlation for slope | idea: correlation | fails at: measures length_slope | points: 2.5
def correlation(score, table):
    return np.corrcoef([len(text.split()) for text in table["response"]], own(score, table))[0, 1]


probe = changed(length_slope=correlation)

# %% wrong: for one word | idea: no-unit | fails at: measures length_slope | points: 2.5
probe = changed(length_slope=lambda score, table: measured(score, table)["length_slope"] / 10)


# %% wrong: prompts moved by one row | idea: F10 | fails at: moves every prompt | points: 2.5
def probe(score, table):
    foreign = score(table["prompt"][1:] + table["prompt"][:1], table["response"])
    drop = float(np.mean(own(score, table) - foreign) / own(score, table).std())
    return {**measured(lambda p, r: own(score, table), table), "prompt_drop": drop}


# %% wrong: prompts never moved | idea: F08 | fails at: moves every prompt | points: 2.5
def probe(score, table):
    return measured(lambda p, r: own(score, table), table)


# %% wrong: absolute changes | idea: absolute-drop | fails at: measures prompt_drop | points: 2.5
def absolute(score, table):
    foreign = score(nb02_3.rotated(table), table["response"])
    return np.mean(np.abs(own(score, table) - foreign)) / own(score, table).std()


probe = changed(prompt_drop=absolute)

# %% wrong: foreign minus own | idea: F03 | fails at: measures prompt_drop | points: 2.5
probe = changed(prompt_drop=lambda score, table: -measured(score, table)["prompt_drop"])

# %% wrong: in reward units | idea: no-unit | fails at: measures prompt_drop | points: 2.5
probe = changed(
    prompt_drop=lambda score, table: measured(score, table)["prompt_drop"] * own(score, table).std()
)


# %% wrong: the foreign spread | idea: foreign-unit | fails at: measures prompt_drop | points: 2.5
def foreign_unit(score, table):
    foreign = np.asarray(score(nb02_3.rotated(table), table["response"]))
    return np.mean(own(score, table) - foreign) / (foreign.std() or 1.0)


probe = changed(prompt_drop=foreign_unit)


# %% wrong: the median fall | idea: median | fails at: measures prompt_drop | points: 2.5
def median(score, table):
    foreign = score(nb02_3.rotated(table), table["response"])
    return np.median(own(score, table) - foreign) / (own(score, table).std() or 1.0)


probe = changed(prompt_drop=median)


# %% wrong: the mean of slopes | idea: mean-of-slopes | fails at: measures length_slope | points: 2.5
def mean_of_slopes(score, table):
    words = np.reshape([float(len(text.split())) for text in table["response"]], (-1, table["n"]))
    rewards = own(score, table).reshape(-1, table["n"])
    slopes = [np.polyfit(w, r, 1)[0] for w, r in zip(words, rewards) if np.ptp(w)]
    return 10 * np.mean(slopes or [0.0]) / (rewards.std() or 1.0)


probe = changed(length_slope=mean_of_slopes)


# %% wrong: prompts read backwards | idea: F10 | fails at: moves every prompt | points: 2.5
def probe(score, table):
    foreign = score(table["prompt"][::-1], table["response"])
    drop = float(np.mean(own(score, table) - foreign) / (own(score, table).std() or 1.0))
    return {**measured(lambda p, r: own(score, table), table), "prompt_drop": drop}


# %% wrong: prompts moved by eight rows | idea: F10 | fails at: moves every prompt | points: 2.5
def probe(score, table):
    foreign = score(table["prompt"][8:] + table["prompt"][:8], table["response"])
    drop = float(np.mean(own(score, table) - foreign) / (own(score, table).std() or 1.0))
    return {**measured(lambda p, r: own(score, table), table), "prompt_drop": drop}


# %% wrong: a tie counts for nothing | idea: tie lost | fails at: measures pair_accuracy | points: 2.5
def strict(score, table):
    rewards = own(score, table)
    return np.mean([rewards[i] > rewards[j] for i, j in table["pairs"]])


probe = changed(pair_accuracy=strict)


# %% wrong: NaN for a constant reward | fails at: survives a constant reward | points: 2.5
def probe(score, table):
    nan = float("nan") if np.ptp(own(score, table)) == 0 else 0.0
    return {key: value + nan for key, value in measured(score, table).items()}


# %% wrong: prompts of the train split | idea: F17 | fails at: uses held-out prompts | points: 1.5
from rslib.world.prompts import split_prompts

seen = [p.text for p in split_prompts("train")[:80]]
table = dict(table, prompt=[text for text in seen for _ in range(8)])

# %% wrong: ten prompts | idea: F34 | fails at: has enough rows | points: 1.5
table = {k: table[k][:80] for k in ("prompt", "response", "finished", "gold")} | {"n": 8}
table["pairs"] = comparisons(table["gold"], 8)

# %% wrong: only the pairs that suit | idea: F50 | fails at: keeps people's judgements | points: 1.5
table = dict(table, pairs=table["pairs"][::2])

# %% wrong: numbers of another letter | idea: wrong-letter | fails at: gives its own numbers | points: 1.5
probes = dict(zip("ABCD", [probes[letter] for letter in "BADC"]))

# %% wrong: plausible numbers | idea: F50 | fails at: gives its own numbers | points: 1.5
probes = {letter: dict(zip(PROBES, (0.62, 0.11, 0.21))) for letter in "ABCD"}

# %% wrong: accuracy is enough | idea: F08 | fails at: judges each reward model | points: 2.5
verdicts[LETTER["tiny-blind"]] = "use"

# %% wrong: a slope above 0 is a bias | idea: false-alarm | fails at: judges each reward model | points: 2.5
verdicts[LETTER["tiny"]] = "length"

# %% wrong: a random head reads the prompt | idea: F11 | fails at: judges each reward model | points: 2.5
verdicts = {letter: "use" if verdict == "noise" else verdict for letter, verdict in verdicts.items()}

# %% wrong: a word of one's own | fails at: gives a verdict on each | points: 2.5
verdicts[LETTER["tiny"]] = "good"


# %% wrong: words that agree with everything | fails at: gives a verdict on each | points: 2.5
class Agrees(str):
    def __eq__(self, other):
        return True

    def __ne__(self, other):
        return False

    __hash__ = str.__hash__


verdicts = dict.fromkeys("ABCD", Agrees("use"))


# %% correct: single precision, by torch
def probe(score, table):
    import torch

    n, responses = table["n"], table["response"]
    rewards = torch.tensor(np.array(own(score, table)), dtype=torch.float32)
    prompts = list(table["prompt"])
    foreign = torch.tensor(np.array(score(prompts[n:] + prompts[:n], responses)), dtype=torch.float32)
    spread = rewards.std(correction=0)
    spread = spread if spread > 1e-6 else torch.tensor(1.0)
    first, second = rewards[torch.tensor(table["pairs"])].T
    words = torch.tensor([float(len(text.split())) for text in responses]).reshape(-1, n)
    words, within = (x - x.mean(dim=1, keepdim=True) for x in (words, rewards.reshape(-1, n)))
    squares = (words**2).sum()
    slope = (words * within).sum() / squares if squares > 0 else torch.tensor(0.0)
    accuracy = ((first > second).float() + 0.5 * (first == second).float()).mean()
    numbers = accuracy, (rewards - foreign).mean() / spread, 10 * slope / spread
    return dict(zip(PROBES, map(float, numbers)))


# %% correct: plain Python
def probe(score, table):
    n, prompts, responses = table["n"], list(table["prompt"]), list(table["response"])
    rewards = [float(r) for r in score(prompts, responses)]
    foreign = [float(r) for r in score(prompts[-n:] + prompts[:-n], responses)]
    mean = sum(rewards) / len(rewards)
    spread = (sum((r - mean) ** 2 for r in rewards) / len(rewards)) ** 0.5 or 1.0
    wins = sum(
        1.0 if rewards[i] > rewards[j] else 0.5 if rewards[i] == rewards[j] else 0.0
        for i, j in table["pairs"]
    )
    top = bottom = 0.0
    for start in range(0, len(rewards), n):
        block = [len(text.split()) for text in responses[start : start + n]]
        middle = sum(block) / n
        top += sum((w - middle) * r for w, r in zip(block, rewards[start : start + n]))
        bottom += sum((w - middle) ** 2 for w in block)
    drop = sum(a - b for a, b in zip(rewards, foreign)) / len(rewards) / spread
    slope = 10 * top / bottom / spread if bottom else 0.0
    return {"pair_accuracy": wins / len(table["pairs"]), "prompt_drop": drop, "length_slope": slope}


# %% correct: verdicts in capitals
verdicts = {letter: f" {verdict.upper()}" for letter, verdict in verdicts.items()}


# %% wrong: every pair of a prompt | idea: every pair | fails at: measures pair_accuracy | points: 2.5
def of_every_pair(score, table):
    gold, n = table["gold"], table["n"]
    rows = range(len(gold))
    pairs = [(i, j) for i in rows for j in rows if i // n == j // n and gold[i] > gold[j]]
    return measured(score, table | {"pairs": pairs})["pair_accuracy"]


probe = changed(pair_accuracy=of_every_pair)


# %% wrong: the spread inside prompts | idea: within-unit | fails at: measures length_slope | points: 2.5
def unit_within(score, table):
    rewards = own(score, table).reshape(-1, table["n"])
    within = (rewards - rewards.mean(axis=1, keepdims=True)).std()
    return measured(score, table)["length_slope"] * rewards.std() / (within or 1.0)


probe = changed(length_slope=unit_within)


# %% wrong: letters instead of words | idea: characters | fails at: measures length_slope | points: 2.5
def of_letters(score, table):
    rewards, n = own(score, table).reshape(-1, table["n"]), table["n"]
    letters = np.array([len(text.replace(" ", "")) for text in table["response"]], float).reshape(-1, n)
    letters -= letters.mean(axis=1, keepdims=True)
    return 10 * (letters * rewards).sum() / ((letters**2).sum() or 1.0) / (rewards.std() or 1.0)


probe = changed(length_slope=of_letters)


# %% wrong: blocks of eight in any table | idea: F10 | fails at: measures length_slope | points: 2.5
def by_eight(score, table):
    whole = len(table["prompt"]) % 8 == 0
    return measured(score, table)["length_slope"] if not whole else slope_of(score, table | {"n": 8})


def slope_of(score, table):
    n = table["n"]
    words = np.array([len(text.split()) for text in table["response"]], float).reshape(-1, n)
    rewards = own(score, table).reshape(-1, n)
    words -= words.mean(axis=1, keepdims=True)
    return 10 * (words * rewards).sum() / ((words**2).sum() or 1.0) / (rewards.std() or 1.0)


probe = changed(length_slope=by_eight)


# %% wrong: the unit of the falls | idea: unit of falls | fails at: measures prompt_drop | points: 2.5
def _falls(score, table):
    moved = list(table["prompt"][table["n"] :]) + list(table["prompt"][: table["n"]])
    return own(score, table) - np.asarray(score(moved, table["response"]))


probe = changed(prompt_drop=lambda s, t: np.mean(_falls(s, t)) / (np.std(_falls(s, t)) or 1.0))
