# %% given
from autograder import given
from autograder.keys.nb05_2 import PLANTED, PLANTS, SOURCE

exec(given("5.2").source, globals())


def mend(*names):
    """The team's code with these flaws mended and the learner's others left in."""
    text = SOURCE
    for name in PLANTED:
        if name not in names:
            text = text.replace(PLANTS[name].healthy, PLANTS[name].flawed)
    exec(text, globals())


mend(*PLANTED)


# %% correct: the three functions, in other words
def seed_of(run_seed, number):
    return (run_seed * 997 + number) * 1000


def conversation(row):
    said = decode(row["tokens"])
    return [{"role": role, "content": text} for role, text in (("user", row["prompt"]), ("assistant", said))]


def example(stored, finish_reason):
    asked, answered = (encode(text) for text in turns(stored))
    if finish_reason != "length":
        answered.append(END)
    return asked + answered, [IGNORED for _ in asked] + answered


def one_round(policy, reward_of, prompts, n, run_seed, number):
    rows = keep_best(score(draw(policy, prompts, n, seed_of(run_seed, number)), reward_of))
    return batch([example(conversation(row), row["finish_reason"]) for row in rows])


# %% correct: cut rows are left out as well, arrays come back
import numpy as np

_whole = keep_best


def keep_best(rows):
    return _whole([row for row in rows if row["finish_reason"] == "eos"])


def one_round(policy, reward_of, prompts, n, run_seed, number):
    scored = score(draw(policy, prompts, n, seed_of(run_seed, number)), reward_of)
    made = [example(conversation(row), row["finish_reason"]) for row in keep_best(scored)]
    return tuple(np.array(part) for part in batch(made))


# %% wrong: nothing is mended | idea: left | fails at: is mended
mend()

# %% wrong: the mask alone | idea: left | fails at: is mended | points: 1
mend("mask")

# %% wrong: the seed is left | idea: left | fails at: is mended | points: 2
mend("mask", "role")

# %% wrong: mask and seed are left | idea: left | fails at: is mended | points: 1
mend("role")


# %% wrong: nothing is learned | idea: mask | fails at: learns the response alone | points: 2
def example(stored, finish_reason):
    asked, answered = map(encode, turns(stored))
    end = [END] if finish_reason == "eos" else []
    return asked + answered + end, [IGNORED] * (len(asked) + len(answered)) + end


# %% wrong: the mask a token late | idea: F22 | fails at: learns the response alone | points: 2
def example(stored, finish_reason):
    asked, answered = map(encode, turns(stored))
    ids = asked + answered + ([END] if finish_reason == "eos" else [])
    return ids, [IGNORED] * (len(asked) - 1) + ids[len(asked) - 1 :]


# %% wrong: two assistants | idea: F26 | fails at: stores the answer as the assistant's turn | points: 2
def conversation(row):
    return [
        {"role": "assistant", "content": row["prompt"]},
        {"role": "assistant", "content": decode(row["tokens"])},
    ]


# %% wrong: turns exchanged | idea: F26 | fails at: stores the answer as the assistant's turn | points: 2
def conversation(row):
    return [
        {"role": "user", "content": decode(row["tokens"])},
        {"role": "assistant", "content": row["prompt"]},
    ]


# %% wrong: a seed from the clock | idea: unseeded | fails at: draws anew in every round | points: 2
def seed_of(run_seed, number):
    import time

    return time.time_ns()


# %% wrong: the round alone | idea: shared | fails at: draws anew in every round | points: 2
def seed_of(run_seed, number):
    return 1_000 * number


# %% wrong: rounds a step apart, less than n | idea: F20 | fails at: draws anew in every round | points: 2
def seed_of(run_seed, number):
    return 100_000 * run_seed + number


# %% wrong: the end goes with the mask | idea: F24 | fails at: learns an end only where the response finished
def example(stored, finish_reason):
    asked, answered = map(encode, turns(stored))
    return asked + answered, [IGNORED] * len(asked) + answered


# %% wrong: every response gets an end | idea: F25 | fails at: learns an end only where the response finished
def example(stored, finish_reason):
    asked, answered = map(encode, turns(stored))
    return asked + answered + [END], [IGNORED] * len(asked) + answered + [END]


# %% wrong: all rows go to the trainer | idea: F27 | fails at: trains on what was kept
def one_round(policy, reward_of, prompts, n, run_seed, number):
    scored = score(draw(policy, prompts, n, seed_of(run_seed, number)), reward_of)
    return batch([example(conversation(row), row["finish_reason"]) for row in scored])


# %% wrong: the first of each prompt | idea: F04 | fails at: trains on what was kept
def keep_best(rows):
    return list({row["prompt"]: row for row in reversed(rows)}.values())[::-1]
