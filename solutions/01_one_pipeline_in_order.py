# %% [markdown]
# # 01 · One pipeline, in order
#
# You will be able to
# - put the steps of one round of rejection sampling fine-tuning in order, and say which of them must wait
#   for which
# - look at a bad order and name the step that stops, or the number that gets worse
# - write sampling code whose every response can be drawn again, on its own
#
# About 50 minutes, 14 points.

# %% role="setup"

# %% [markdown]
# ## Sixteen tries at one prompt
#
# One policy, one prompt: how to cook rice. The policy draws its words by chance, so sixteen seeds give
# sixteen responses. Some come from a patient cook, some from somebody who has had enough. Here are the
# first four.

# %%
import rslib

policy, reward_model = rslib.load_policy("tiny"), rslib.load_reward_model("tiny")
rice = "How do I cook plain rice?"
sixteen = rslib.sample(policy, [rice], n=16, seed=0, show_progress=False)
for text in sixteen["response"][:4]:
    print("-", text)

# %% [markdown]
# A reward model reads a prompt with a response and gives one number, the reward. For this one, rewards run
# from about −6 to 5.
#
# Commit yourself before you look: how far above the mean reward of the sixteen will the best reward be?

# %% role="predict" name="best_minus_mean"
guess = ...  # a number, such as 1.0
### BEGIN SOLUTION
guess = 3.0
### END SOLUTION
predict("best_minus_mean", guess)

# %%
scored = rslib.score(reward_model, sixteen, show_progress=False)
ranked = sorted(zip(scored["reward"], scored["response"], strict=True), reverse=True)
for reward, text in [*ranked[:3], *ranked[-3:]]:
    print(f"{reward:6.2f}   {text[:125]}")
mean = sum(scored["reward"]) / 16
compare("best_minus_mean", ranked[0][0] - mean)

# %% [markdown]
# Nobody taught the policy anything here. The good response was in it all along, as one of its sixteen
# tries. The whole method is a way to make that try the usual one: **draw several, keep the best, train on
# what was kept.**
#
# Look twice at the winner, though. Is it the most helpful of these, or the one that flatters most? Keep
# that doubt; notebook 03 comes back to it.
#
# The mean reward of what is kept, minus the mean reward of what was drawn, is called the *selection gap*.
# Without a gap there is nothing to learn.

# %% [markdown]
# ## By hand first
#
# Three prompts, four responses to each, twelve rewards. Best-of-4 keeps one response to each prompt.
#
# | prompt | response 0 | response 1 | response 2 | response 3 |
# |---|---:|---:|---:|---:|
# | cook rice | 0.4 | 2.1 | −1.0 | 0.9 |
# | pitch a tent | 3.0 | 3.6 | 2.8 | 3.3 |
# | oil a lock | −2.2 | −3.1 | −0.7 | −1.4 |
#
# Which three are kept? Write the number of the response, 0 to 3, for rice, tent and lock.

# %% role="predict" name="kept"
kept = ...  # a list of three numbers, such as [0, 0, 0]
### BEGIN SOLUTION
kept = [1, 1, 2]
### END SOLUTION
predict("kept", kept)

# %%
import numpy as np

names = ["rice", "tent", "lock"]
rewards = np.array([[0.4, 2.1, -1.0, 0.9], [3.0, 3.6, 2.8, 3.3], [-2.2, -3.1, -0.7, -1.4]])
compare("kept", rewards.argmax(axis=1).tolist())
top_three = rewards.argsort(axis=None)[-3:] // 4  # the rows of the three highest rewards of all
print("the three highest rewards of all belong to", [names[row] for row in top_three])

# %% [markdown]
# The three highest rewards all belong to the tent. Had you kept those, the policy would never hear of rice
# or locks again. A reward of −0.7 for the lock is poor, and it is still the best that this prompt got.
# **Responses compete with those to their own prompt only.**

# %% [markdown]
# ## Eleven cards
#
# One round of the method is eight cards long. Three more cards lie on the table; they were left behind by
# other methods, or by a misunderstanding. You get all eleven, shuffled.
#
# Four words on them. The *base* policy is the one you start from, the *tuned* policy is what training makes
# of it. *Held-out* prompts are kept away from all training. *Gold* is the score that really counts: here a
# program computes it, because it knows what a good response to each prompt holds.

# %%
given("1.1")

# %% [markdown]
# {{card:1.1}}
#
# Write the cards of one round as a list of names, from the first to the last. Leave out the cards that do
# not belong. The round must end with a comparison of the tuned policy with the base policy, on prompts that
# no training has seen.
#
# Your list is not compared with a list of ours. It is **run**, card by card. A card whose needs are not
# there stops the run and says what is missing. There is more than one right order.
#
# <details><summary>Hint</summary>Begin at the end. What does the last card need? Which card makes that, and
# what does that one need? Then ask of each card that is left over: who would ever read what it
# makes?</details>

# %%
# HELPER = True shows buttons that move the cards, and writes a line for the next cell.
from autograder.handouts.ordering_widget import order_helper

HELPER = False

order_helper(given("1.1")) if HELPER else None

# %% exercise="1.1" role="answer"
order = []  # names of cards, such as ["split", ...]
### BEGIN SOLUTION
order = ["split", "sample", "score", "select", "finetune", "test_base", "test_tuned", "compare"]
### END SOLUTION

# %% exercise="1.1" role="check"
check("1.1")

# %% [markdown]
# ## Your order, run
#
# The next cell but one runs your own order on the embedded models: 96 prompts to train on, 100 held out. It
# takes about 20 seconds, and next to none the second time.
#
# **Gold** is the judge. An ideal response scores 10; the base policy stands near
# {{rounds.json:results.*.arms.base.gold.mean|.1f}}. What will one round add?

# %% role="predict" name="gain_in_gold"
guess = ...  # points of gold, such as 0.5
### BEGIN SOLUTION
guess = 1.0
### END SOLUTION
predict("gain_in_gold", guess)

# %%
from autograder.handouts.ordering import run

result = run(order, runs / "order")
if found := result.difference:
    compare("gain_in_gold", found["difference"])
    print(f"95 % interval: {found['low']:+.2f} to {found['high']:+.2f}, {found['prompts']} prompts")
result

# %% [markdown]
# With the right order the interval lies above 0, and it is wide: a hundred prompts are few. Three larger
# runs, with 120 prompts and three seeds, gained {{orders.json:orders.best_of_n.gain.mean|+.2f}} on average,
# from {{orders.json:orders.best_of_n.gain.low|+.2f}} to {{orders.json:orders.best_of_n.gain.high|+.2f}},
# and each of their intervals lies above 0 too. So the gain is real, and its size depends on the draw.
#
# Where it comes from can be seen before any training: in the rewards of what was kept.

# %%
from rslib.evaluation import reward_histogram

tables = result.tables
if tables["kept"]:
    panel = rslib.plots.reward_histogram(reward_histogram(tables["scored"], tables["kept"]))
    pool, best = (np.mean(tables[name]["reward"]) for name in ("scored", "kept"))
    rslib.plots.show(panel, f"The mean reward of the pool is {pool:.2f}, of what was kept {best:.2f}.")

# %% [markdown]
# ## Why this order
#
# Each card asks for something and makes something. Start at `compare` and read upwards: who makes what it
# asks for, and what does that card ask for?

# %%
from autograder.handouts.ordering import CARDS

print(f"{'card':11}   {'asks for':33}   makes")
for card in CARDS.values():
    print(f"{card.name:11}   {' and '.join(card.needs):33}   {card.makes}")

# %% [markdown]
# Most cards have one place only. `test_base` is free: it needs the held-out prompts and a policy that never
# changes, so it may stand anywhere between `split` and `compare`. Six orders pass for that reason.
#
# Three cards lead nowhere. `advantage` asks for a value network, which belongs to PPO, a method of notebook
# 06. `rewrite` takes the reward model for a writer; it can only judge. `tune_rm` runs, and trains the wrong
# model.
#
# The table does not say everything. It would let `finetune` follow `sample` at once, and `sample` come
# before `split`. What happens then?

# %% [markdown]
# ## An order that runs and is worth nothing
#
# `finetune` trains on the responses at hand. Suppose that someone leaves `score` and `select` out. Every
# card still finds what it needs, and no message appears. From the same prompts, the policy is trained on 16
# times as many responses.
#
# What will that add to gold? The run below is a small one, and takes about 20 seconds.

# %% role="predict" name="gain_without_selecting"
guess = ...  # points of gold
### BEGIN SOLUTION
guess = 0.0
### END SOLUTION
predict("gain_without_selecting", guess)

# %%
from autograder.handouts.ordering import Size

unselected = ["split", "sample", "finetune", "test_base", "test_tuned", "compare"]
everything = run(unselected, runs / "everything", size=Size(prompts=24))
compare("gain_without_selecting", everything.difference["difference"])
everything

# %% [markdown]
# Nothing that can be told from chance: the interval holds 0. So did those of three larger runs, whose gains
# were {{orders.json:orders.train_on_all.gain.mean|+.2f}} on average, and
# {{orders.json:orders.train_on_all.fresh.mean|+.2f}} on a second set of prompts. A policy that is trained
# on everything it writes is shown its own average, and stays there.
#
# An order can also look too good. With `sample` before `split`, nothing is held out yet, so the judge's
# prompts are trained on too. In three runs the comparison then showed
# {{orders.json:orders.sample_before_split.gain.mean|+.2f}} on average. Is that a policy that learned twice
# as much, or one that knows the questions? The runs themselves cannot tell.
#
# Prompts that nobody had met could: on those the same policies gained
# {{orders.json:orders.sample_before_split.fresh.mean|+.2f}}. Here the leak did no visible harm, and the
# larger gain goes with twice as many prompts to train on. You know that only because somebody kept fresh
# prompts.

# %% [markdown]
# {{card:1.2}}
#
# Four orders that go wrong, some of them without a sound. For each, a letter: which card stops, or does the
# order run to its end? And a digit: why does it stop, or what is wrong with its number? A right letter with
# a wrong digit earns nothing.
#
# <details><summary>Hint</summary>Walk through the order with a pencil. Under each card write what is there
# after it. Stop at the first card whose needs, in the table above, are not all written down yet.</details>

# %%
given("1.2")

# %% exercise="1.2" role="answer"
what_happens = {"a": "", "b": "", "c": "", "d": ""}  # such as {"a": "B2", ...}
### BEGIN SOLUTION
sheet, RIGHT = given("1.2"), """\
spt sae set sce fie tee ted coe: It stops at `select`. / The card needs rewards
spt sce sae set fie tee ted coe: It stops at `score`. / The card needs responses
spt tee sae sce set ted fie coe: It stops at `test_tuned`. / The card needs a
sae sce set fie tee ted coe: It stops at `test_base`. / The card needs held-out
spt sae sce set tum tee ted coe: It stops at `test_tuned`. / The card needs a
spt sae sce ade set fie tee ted coe: It stops at `advantage`. / The card needs what
spt sae sce set fie ted coe tee: It stops at `compare`. / The card needs two
spt tee sae fie sce set ted coe: It runs to / Every response is
spt sae sce fie set tee ted coe: It runs to / Every response is
sae sce set spt fie tee ted coe: It runs to / The judge's prompts
sae spt tee sce set fie ted coe: It runs to / The judge's prompts
spt sae sce set fie ted: It runs to / No card compares"""
right = dict(line.split(": ") for line in RIGHT.split("\n"))
def short(order):
    return " ".join(card[:2] + card[-1] for card in order.split(" → "))
what_happens = sheet.labels({q.id: right[short(q.text)].split(" / ") for q in sheet.questions})
### END SOLUTION

# %% exercise="1.2" role="check"
check("1.2")

# %% [markdown]
# ## Rows and seeds
#
# Now the first two cards from the inside. `sample` makes one row for each response. For two prompts and n =
# 3:
#
# | prompt | sample_id | response |
# |---|---:|---|
# | cook rice | 0 | Rinse the rice ... |
# | cook rice | 1 | Ugh, fine. ... |
# | cook rice | 2 | Simmer one cup ... |
# | oil a lock | 0 | Use graphite ... |
# | oil a lock | 1 | Thank you for asking ... |
# | oil a lock | 2 | First, clean ... |
#
# M prompts give M × n rows, and row i belongs to prompt i // n. Write i % M there once, and most responses
# stand beside a prompt that they were not written for.

# %% [markdown]
# Each response is drawn with a seed of its own. If all responses to a prompt had one seed, they would be
# copies, and there would be nothing to choose from. If the seed came from the place in the list, a run over
# half of the prompts would draw other responses than the whole one.
#
# So a seed should depend on three things and no others: the seed of the run, the prompt, and the number of
# the response. How do you make one number of three? Adding is not enough: 1 + 11 is 11 + 1. Writing them
# side by side is not enough either: 1 and 11 make "111", and so do 11 and 1. A hash of all three, with
# separators, is.

# %% [markdown]
# {{card:1.3}}
#
# Write both functions. `draw` and `reward` are handed to you; the check hands over its own, with other
# prompts.
#
# <details><summary>Hint</summary>Two loops, prompts outside. For the seed, write the three parts into one
# text with a separator, take `hashlib.sha256(text.encode()).digest()`, and `int.from_bytes(digest[:8],
# "big") >> 1` of it. Python's own hash() will not do: it gives other numbers in every session. For score:
# math.isfinite, and `row | {"reward": r}` makes a row with one more column.</details>

# %% exercise="1.3" role="answer"
import hashlib


def sample_n(draw, prompts, n, seed):
    """Draw n responses to each prompt: a list of rows, n for the first prompt, then n for the second.

    draw(prompt, seed) gives one response; its seed is a whole number, 0 <= seed < 2**63.
    prompts: different texts, perhaps none. n: at least 1. seed: the run's own seed.
    A row is a dict {"prompt": ..., "sample_id": 0 to n - 1, "response": ...}. A response depends on the run's
    seed, its prompt and its sample_id alone: not on the other prompts, their order, or n. It is the same in
    every session, and no two responses of any runs share a seed. Prompts may begin or end with digits.
    """
    ### BEGIN SOLUTION
    rows = []
    for prompt in prompts:
        for sample_id in range(n):
            digest = hashlib.sha256(f"{seed}|{sample_id}|{prompt}".encode()).digest()
            response = draw(prompt, int.from_bytes(digest[:8], "big") >> 1)
            rows.append({"prompt": prompt, "sample_id": sample_id, "response": response})
    return rows
    ### END SOLUTION


# %% exercise="1.3" role="answer" name="score"
import math


def score(reward, rows):
    """A list of the same rows in the same order, each with one more column, "reward".

    rows: as sample_n makes them, perhaps none; several may hold the same response.
    reward(prompt, response) gives a number, higher is better. Raises ValueError when one is NaN or infinite.
    """
    ### BEGIN SOLUTION
    scored = [row | {"reward": reward(row["prompt"], row["response"])} for row in rows]
    if not all(math.isfinite(row["reward"]) for row in scored):
        raise ValueError("a reward is not finite")
    return scored
    ### END SOLUTION


# %% exercise="1.3" role="check"
check("1.3")

# %% [markdown]
# ## Your functions, the embedded models
#
# Nothing in your code knows about models. Hand it a `draw` and a `reward` that do:

# %%
from datasets import Dataset


def draw(prompt, seed):
    return rslib.sample(policy, [prompt], n=1, seed=seed, show_progress=False)["response"][0]


def reward(prompt, response):
    row = {"prompt_id": "p", "sample_id": 0, "prompt": prompt, "response": response}
    return rslib.score(reward_model, Dataset.from_list([row]), show_progress=False)["reward"][0]


for row in score(reward, sample_n(draw, [rice, "How do I fix a flat bike tire?"], n=3, seed=0)):
    print(f"{row['prompt']:30}   {row['sample_id']}   {row['reward']:6.2f}   {row['response'][:60]}")

# %% [markdown]
# `rslib.sample` keeps the same promises, and draws many responses at once. Three of them, tried: the
# prompts turned round, n doubled, and another batch size.

# %%
prompts = rslib.load_prompts("tiny", limit=4)
one = rslib.sample(policy, prompts, n=3, seed=7, show_progress=False)
turned = rslib.sample(policy, prompts.select([3, 2, 1, 0]), n=3, seed=7, show_progress=False)
doubled = rslib.sample(policy, prompts, n=6, seed=7, batch_size=5, show_progress=False)
texts = {(r["prompt_id"], r["sample_id"]): r["response"] for r in one}
for name, table in (("turned round", turned), ("n = 6, batches of 5", doubled)):
    drawn = {(r["prompt_id"], r["sample_id"]): r["response"] for r in table}
    shared = [drawn[key] == text for key, text in texts.items()]
    print(f"{name:20}   {sum(shared)} of {len(texts)} responses as before   {len(set(table['seed']))} seeds")

# %% [markdown]
# The engine makes its seed from the run's seed, the column `prompt_id` and the `sample_id`. A plain list of
# strings gets its ids by place, so give your prompts ids of their own where order may change.

# %% [markdown]
# ## Who does this, and where
#
# Six systems whose papers or repositories say that they drew many and kept some. Each in our words, with
# its source. Two methods of later notebooks are named: PPO follows the reward with gradients, DPO learns
# from pairs of responses.
#
# (a) **WebGPT** (Nakano and others, 2021, arXiv 2112.09332). A policy that imitates people who browse
# writes 64 answers to a question. A reward model picks the one that the reader gets. People preferred it to
# what the human demonstrators wrote in 56 % of comparisons.
#
# (b) **Llama 2-Chat** (Touvron and others, 2023, arXiv 2307.09288). Version after version, the newest
# policy responds K times to each prompt, and the response with the highest reward is trained on. Up to
# version 4 that was all. Then PPO went on from the result. A figure draws the best reward for 1 to 100
# responses, to show what there is to gain; the section that describes the recipe writes K and no number.

# %% [markdown]
# (c) **Llama 3** (Llama team, 2024, arXiv 2407.21783). For each prompt, typically between 10 and 30
# responses of the best policy so far; the one that a reward model likes best goes into the fine-tuning
# data. DPO follows.
#
# (d) **AlpacaFarm** (Dubois and others, 2023, arXiv 2305.14387, and its repository). A testing ground where
# many methods learn from the same preferences. One of them is called expert iteration: 16 responses to a
# prompt, the best by reward, one supervised fine-tuning. PPO and best-of-n without training stand in the
# same table.
#
# (e) **HH-RLHF** (Bai and others, 2022, arXiv 2204.05862, and the card of its data). People chose between
# two responses, in three tranches. For the second helpfulness tranche the responses that they saw had been
# picked by an early reward model, mostly as the best of 16.
#
# (f) **RFT** (Yuan and others, 2023, arXiv 2308.01825, and its repository). A fine-tuned model writes 100
# solutions to each maths problem. Those that end in the right number, and differ from each other, are added
# to the fine-tuning data. LLaMA-7B went from 35.9 to 41.7 % on GSM8K.

# %% [markdown]
# {{card:1.4}}
#
# For each system: a letter for the place in its recipe, and a digit for the number of responses to a
# prompt. Several systems may share a number. "Not stated" is an answer like any other, and sometimes the
# only honest one.
#
# <details><summary>Hint</summary>Two questions decide most of it. Is any policy trained on what was kept?
# And what comes after? A number on a figure's axis is not a setting of a recipe.</details>

# %%
given("1.4")

# %% exercise="1.4" role="answer"
used = {"a": "", "b": "", "c": "", "d": "", "e": "", "f": ""}  # such as {"a": "B2", ...}
### BEGIN SOLUTION
chosen = {
    "a": ("while serving: the", "64"),
    "b": ("fine-tuning, version after", "not stated"),
    "c": ("fine-tuning data for", "10 to 30"),
    "d": ("one round of", "16"),
    "e": ("collecting: better responses", "16"),
    "f": ("fine-tuning on responses", "100"),
}
used = given("1.4").labels(chosen)
### END SOLUTION

# %% exercise="1.4" role="check"
check("1.4")

# %% [markdown]
# The same first three cards, six times: sample, score, select. (For RFT the score is a program that checks
# the result.) What comes next differs. WebGPT pays for 64 responses to every question, for ever. Llama 2
# and 3, AlpacaFarm and RFT pay in training and put the result into the weights. HH-RLHF did neither: it
# gave people better responses to compare.
#
# To run the first three cards on real models, name a policy and a reward model below: folders, or hub ids
# where there is a network. A GPU helps.

# %%
REAL = ""  # such as "HuggingFaceTB/SmolLM2-360M-Instruct"
REAL_REWARD = ""  # such as "Skywork/Skywork-Reward-V2-Qwen3-0.6B"
if REAL and REAL_REWARD:
    responses = rslib.sample(rslib.load_policy(REAL), [rice], n=16, seed=0, max_new_tokens=128)
    best = rslib.select(rslib.score(rslib.load_reward_model(REAL_REWARD), responses), "best_of_n")
    print(best["reward"][0], best["response"][0])

# %% [markdown]
# ## What you now know
# - One round is a chain of needs: held-out prompts, responses, rewards, the best response to each prompt, a
#   tuned copy, a comparison.
# - An order that runs may still be worthless: without selecting nothing moves, and a gain on prompts that
#   were trained on proves little.
# - A response whose seed comes from its run, its prompt and its number alone can be drawn again by anybody,
#   in any batch.

# %%
progress()
