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


# %% wrong: system prompt | idea: F26 | fails at: stores the answer as the assistant's turn | points: 2
def conversation(row):
    return [
        {"role": "system", "content": row["prompt"]},
        {"role": "assistant", "content": decode(row["tokens"])},
    ]


# %% wrong: end not learned | idea: F24 | fails at: learns an end only where the response finished
def example(stored, finish_reason):
    asked, answered = map(encode, turns(stored))
    end = [END] if finish_reason == "eos" else []
    return asked + answered + end, [IGNORED] * len(asked) + answered + [IGNORED] * len(end)


# %% wrong: masked with 0 | idea: F22 | fails at: learns the response alone | points: 2
def example(stored, finish_reason):
    asked, answered = map(encode, turns(stored))
    end = [END] if finish_reason == "eos" else []
    return asked + answered + end, [0] * len(asked) + answered + end


# %% wrong: the response in front | idea: order | fails at: learns the response alone | points: 2
def example(stored, finish_reason):
    asked, answered = map(encode, turns(stored))
    end = [END] if finish_reason == "eos" else []
    return answered + asked + end, answered + [IGNORED] * len(asked) + end


# %% wrong: a random seed | idea: unseeded | fails at: draws anew in every round | points: 2
import random


def seed_of(run_seed, number):
    return random.randrange(10**9)


# %% wrong: the seed of the sum | idea: shared | fails at: draws anew in every round | points: 2
def seed_of(run_seed, number):
    return 1_000 * (run_seed + number)


# %% wrong: one text | idea: F26 | fails at: stores the answer as the assistant's turn | points: 2
def conversation(row):
    return [{"role": "assistant", "content": row["prompt"] + decode(row["tokens"])}]


# %% wrong: a round trains on two of each | idea: F04 | fails at: trains on what was kept
def one_round(policy, reward_of, prompts, n, run_seed, number):
    scored = score(draw(policy, prompts, n, seed_of(run_seed, number)), reward_of)
    kept = keep_best(scored) + keep_best(scored)
    return batch([example(conversation(row), row["finish_reason"]) for row in kept])


# %% correct: seeds far apart, turns by name, the mask by multiplication
def seed_of(run_seed, number):
    return int(f"{run_seed}{number:04d}000")


def conversation(row):
    return [
        dict(role="user", content=row["prompt"]),
        dict(role="assistant", content="".join(map(chr, row["tokens"]))),
    ]


def example(stored, finish_reason):
    prompt = [ord(letter) for letter in stored[0]["content"]]
    response = [ord(letter) for letter in stored[1]["content"]] + [END] * (finish_reason == "eos")
    return prompt + response, [IGNORED] * len(prompt) + response


# %% correct: numpy arrays of labels, seeds of numpy
import numpy as np


def seed_of(run_seed, number):
    return int(np.random.SeedSequence([run_seed, number]).generate_state(1)[0])


def example(stored, finish_reason):
    asked, answered = map(encode, turns(stored))
    ids = np.array(asked + answered + [END] * (finish_reason == "eos"))
    return ids.tolist(), np.where(np.arange(len(ids)) < len(asked), IGNORED, ids).tolist()


# %% wrong: no prompt among the ids | idea: no prompt | fails at: learns the response alone | points: 2
def example(stored, finish_reason):
    answered = encode(turns(stored)[1]) + ([END] if finish_reason == "eos" else [])
    return answered, list(answered)


# %% wrong: labels for the next token | idea: shifted | fails at: learns the response alone | points: 2
right = example


def example(stored, finish_reason):
    ids, labels = right(stored, finish_reason)
    return ids, labels[1:] + [IGNORED]


# %% wrong: labels first | idea: order | fails at: learns the response alone | points: 2
right = example


def example(stored, finish_reason):
    return right(stored, finish_reason)[::-1]


# %% wrong: the last of equals | idea: broken | fails at: leaves what was right
def keep_best(rows):
    best = {}
    for row in rows:
        if row["reward"] >= best.get(row["prompt"], row)["reward"]:
            best[row["prompt"]] = row
    return list(best.values())


# %% wrong: padding is learned | idea: broken | fails at: leaves what was right
def batch(examples):
    longest = max(len(ids) for ids, _ in examples)
    padded = [[part + [PADDING] * (longest - len(part)) for part in pair] for pair in examples]
    return [ids for ids, _ in padded], [labels for _, labels in padded]


# %% correct: seeds of a hash, labels by role, functions written anew that were right
import hashlib


def seed_of(run_seed, number):
    return int(hashlib.sha256(f"{run_seed}/{number}".encode()).hexdigest()[:12], 16)


def example(stored, finish_reason):
    ids, labels = [], []
    for turn in stored:
        for token in encode(turn["content"]):
            ids.append(token)
            labels.append(token if turn["role"] == "assistant" else IGNORED)
    end = [END] * (finish_reason != "length")
    return ids + end, labels + end


def keep_best(rows):
    prompts = list(dict.fromkeys(row["prompt"] for row in rows))
    of = {prompt: [row for row in rows if row["prompt"] == prompt] for prompt in prompts}
    return [max(of[prompt], key=lambda row: row["reward"]) for prompt in prompts]


# %% wrong: seeds of rounds overlap | idea: F20 | fails at: draws anew in every round | points: 2
def seed_of(run_seed, number):
    return 100_000 * run_seed + number


# %% wrong: the last token of the answer is lost | idea: cut | fails at: trains on what was kept | points: 0
def conversation(row):
    asked = {"role": "user", "content": row["prompt"]}
    return [asked, {"role": "assistant", "content": decode(row["tokens"][:-1])}]


# %% wrong: run 0 has one seed | idea: F20 | fails at: draws anew in every round | points: 2
mend("mask", "role")


def seed_of(run_seed, number):
    return 100_000 * run_seed * (number + 1)


# %% wrong: rounds take turns with two seeds | idea: F20 | fails at: draws anew in every round | points: 2
mend("mask", "role")


def seed_of(run_seed, number):
    return 100_000 * run_seed + 50_000 * (number % 2)
