# %% [markdown]
# # 01 · One pipeline, in order
#
# You will be able to
# - put the steps of one round of rejection sampling fine-tuning in order, and say which of them must wait
#   for which
# - look at a bad order and name the step that stops, or the number that gets worse
# - write sampling code whose every response can be drawn again, on its own
#
# About 55 minutes, 15 points.

# %% role="setup"

# %% [markdown]
# ## Sixteen tries at one prompt
#
# One policy, one prompt: how to cook rice. The policy draws its words by chance, so sixteen seeds give
# sixteen responses. Some sound like a patient cook, some like a cook who has had enough. Here are the first
# four.

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
compare("best_minus_mean", max(scored["reward"]) - sum(scored["reward"]) / 16)
rslib.browse(scored, title="All sixteen, ranked by the reward model")

# %% [markdown]
# If your guess was too low, you took the sixteen for much alike. They are not: the policy can write the
# best one and the worst one, and chance decides which you get.
#
# Nobody taught the policy anything here. It could already write the good response, in one of sixteen tries.
# The whole method is a way to make that try the usual one: **draw several, keep the best, train on what was
# kept.**
#
# Look twice at the first row, though. *Gold* is what a response is really worth; in this small world a
# program computes it. Is the response with the highest reward also the one with the highest gold, and what
# does it contain besides advice? Keep that doubt; notebook 03 comes back to it.
#
# The mean reward of what is kept, minus the mean reward of what was drawn, is called the *selection gap*.
# Without a gap there is nothing to learn.

# %% [markdown]
# ## By hand first
#
# Three prompts, four responses to each, twelve rewards. Best-of-4 keeps one response to each prompt.
#
# | prompt | response 0 | 1 | 2 | 3 |
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
#
# If you wrote something else for the lock, ask whether you looked for a good response or for the best of
# its row. Selection needs the second only.

# %% [markdown]
# ## Eleven cards
#
# One round of the method has eight steps, here called cards. Three more cards belong to other methods, or
# to a misunderstanding. You get all eleven, shuffled.
#
# Four words on them. The *base* policy is the one you start from, the *tuned* policy is what training makes
# of it. *Held-out* prompts are kept away from all training. *Gold* is the score that really counts: here a
# program computes it, because it knows what a good response to each prompt holds.

# %%
given("1.1")

# %% [markdown]
# {{card:1.1}}
#
# The cell below names every card, one a line, each behind a `#`. Take the `#` away from those that belong
# to one round, and put their lines in order, from the first card to the last: Alt+↑ and Alt+↓ move a line.
# What stands behind a `#` does not count. The round must end with a comparison of the tuned policy with
# the base policy, on prompts that no training has seen.
#
# Your order is not compared with one of ours. It is **run**, card by card. A card whose needs are not
# there stops the run and says what is missing. There is more than one right order.
#
# <details><summary>Hint</summary>Begin at the end. What does the last card need? Which card makes that, and
# what does that one need? Then ask of each card that is left over: who would ever read what it
# makes?</details>

# %% exercise="1.1" role="answer"
order = """
# advantage
# compare
# finetune
# rewrite
# sample
# score
# select
# split
# test_base
# test_tuned
# tune_rm
"""
### BEGIN SOLUTION
order = ["split", "sample", "score", "select", "finetune", "test_base", "test_tuned", "compare"]
### END SOLUTION

# %% exercise="1.1" role="check"
check("1.1")

# %% [markdown]
# ## Your order, run
#
# The next cell but one runs your own order on the embedded models: 96 prompts to train on, 100 held out. It
# takes about 20 seconds on two quiet cores, and next to none the second time.
#
# **Gold** is the judge. An ideal response scores 10; the base policy has about
# {{rounds.json:results.*.arms.base.gold.mean|.1f}} on average. What will one round add?

# %% role="predict" name="gain_in_gold"
guess = ...  # points of gold, such as 0.5
### BEGIN SOLUTION
guess = 1.0
### END SOLUTION
predict("gain_in_gold", guess)

# %%
from autograder.handouts.ordering import run
from rslib.errors import RSError

result = None
try:
    result = run(order, runs / "order")
except RSError as stopped:  # no card yet, or one that lacks what it needs
    print(stopped)
if result and result.difference:
    compare("gain_in_gold", result.difference["difference"])
    print(rslib.evaluation.claim(result.difference, "The tuned policy", "the base policy"))
result

# %% [markdown]
# With the method's order and a hundred prompts the interval is wide. Three larger runs, with 120 prompts
# and three seeds, gained {{orders.json:orders.best_of_n.gain.mean|+.2f}} on average, from
# {{orders.json:orders.best_of_n.gain.low|+.2f}} to {{orders.json:orders.best_of_n.gain.high|+.2f}}, and
# each of their intervals lies above 0. So there is a gain, and its size depends on the draw.
#
# If you guessed more, you may have expected the tuned policy to write the best of sixteen each time. It is
# shown those responses and learns a part of what sets them apart. Where the gain comes from can be seen
# before any training: in the rewards of what was kept.

# %%
from rslib.evaluation import reward_histogram

if result and result.tables["kept"]:
    pool_table, kept_table = result.tables["scored"], result.tables["kept"]
    panel = rslib.plots.reward_histogram(reward_histogram(pool_table, kept_table))
    panel.set_xlabel("reward by tiny")
    pool_mean, kept_mean = (np.mean(table["reward"]) for table in (pool_table, kept_table))
    rslib.plots.show(panel, f"Mean reward by tiny: the pool {pool_mean:.2f}, what was kept {kept_mean:.2f}.")
else:
    print("Nothing was kept: the cell above says what your order lacks.")

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
# Most cards have one place only. `test_base` may stand anywhere between `split` and `compare`: it needs the
# held-out prompts and the base policy, which never changes. So six orders pass.
#
# Three cards do not belong. `advantage` asks for a value network, which belongs to PPO, a method of
# notebook 06. `rewrite` asks a reward model to write; it can only judge. `tune_rm` runs, and trains the
# wrong model.
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
# What will that add to gold? The run below is a small one, and takes about 20 seconds on two quiet cores.

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
print(rslib.evaluation.claim(everything.difference, "Trained on everything, the policy", "the base policy"))
everything

# %% [markdown]
# In three larger runs the interval held 0 each time: the gains were
# {{orders.json:orders.train_on_all.gain.mean|+.2f}} on average, and
# {{orders.json:orders.train_on_all.fresh.mean|+.2f}} on a second set of prompts. A policy that is trained
# on everything it writes is shown its own average, and stays there. If you expected a gain, you expected
# training to help by itself. What helps is what was left out.
#
# An order can also look too good. With `sample` before `split`, nothing is held out yet, so the judge's
# prompts are trained on too. In three runs the comparison then showed
# {{orders.json:orders.sample_before_split.gain.mean|+.2f}} on average. Is that a policy that learned twice
# as much, or one that knows the questions? The runs themselves cannot tell.
#
# We then tested the same policies on prompts that were in neither set. There they gained
# {{orders.json:orders.sample_before_split.fresh.mean|+.2f}}, about as much: in this world the leak inflated
# nothing. The larger gain goes with twice as many prompts to train on. You know that only because somebody
# kept fresh prompts.

# %% [markdown]
# {{card:1.2}}
#
# Four orders that go wrong, some of them without any message. For each, a letter: which card stops, or does
# the order run to its end? And a digit: why does it stop, or what is wrong with its number? A right letter
# with a wrong digit earns nothing.
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
# M prompts give M × n rows, and row i belongs to prompt i // n. With i % M instead, most responses would
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
# Your code knows nothing about models. Hand it a `draw` and a `reward` that do, and keep the best of each
# prompt: that is sampling, scoring and selecting, with your own two functions. About 5 seconds.

# %%
from datasets import Dataset


def draw(prompt, seed):
    return rslib.sample(policy, [prompt], n=1, seed=seed, show_progress=False)["response"][0]


def reward(prompt, response):
    row = {"prompt_id": "p", "sample_id": 0, "prompt": prompt, "response": response}
    return rslib.score(reward_model, Dataset.from_list([row]), show_progress=False)["reward"][0]


rows = sample_n(draw, [rice, "How do I fix a flat bike tire?"], n=4, seed=0)
rows = score(reward, rows)
blocks = [range(k, k + 4) for k in range(0, len(rows), 4)]  # the rows of a prompt stand together
best = [max(block, key=lambda row: rows[row]["reward"]) for block in blocks]
rslib.browse(rows, kept=best, title="Your best of 4")

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
# Eight systems that drew several responses and kept some. Each in our words, with its source. Two methods
# of later notebooks are named: PPO follows the reward with gradients, DPO learns from pairs of responses.
#
# (a) **WebGPT** (Nakano and others, 2021, arXiv 2112.09332). A policy that imitates people who browse
# writes 64 answers to a question. A reward model picks the one that the reader gets. People preferred it to
# what the human demonstrators wrote in 56 % of comparisons.
#
# (b) **Llama 2-Chat 70B** (Touvron and others, 2023, arXiv 2307.09288). Version after version, the newest
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

# %% [markdown]
# (f) **RFT** (Yuan and others, 2023, arXiv 2308.01825, and its repository). A fine-tuned model writes 100
# solutions to each maths problem. Those that end in the right number, and differ from each other, are added
# to the fine-tuning data. LLaMA-7B went from 35.9 to 41.7 % on GSM8K.
#
# (g) **The smaller Llama 2-Chat models** (the same paper). Only the 70B model drew several responses and
# had them ranked. The smaller ones were fine-tuned on what had been selected from it, which, as the authors
# write, distils its abilities into them.
#
# (h) **DeepSeek-R1** (DeepSeek-AI, 2025, arXiv 2501.12948). After a first stage of RL the policy writes
# several solutions to each problem, and only correct ones are kept, as judged by rules or by another model:
# about 600,000. The base model is fine-tuned on these and on 200,000 other examples, for two epochs, and a
# second stage of RL follows. The section that describes this says "multiple responses" for each prompt, and
# gives no number.

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
used = dict.fromkeys("abcdefgh", "")  # such as {"a": "B2", ...}
### BEGIN SOLUTION
chosen = {
    "a": ("while serving: the", "64"),
    "b": ("fine-tuning, version after", "not stated"),
    "c": ("fine-tuning data for", "between 10"),
    "d": ("one round of", "16"),
    "e": ("collecting: better responses", "16"),
    "f": ("fine-tuning on responses", "100"),
    "g": ("fine-tuning on what", "not stated"),
    "h": ("fine-tuning between", "not stated"),
}
used = given("1.4").labels(chosen)
### END SOLUTION

# %% exercise="1.4" role="check"
check("1.4")

# %% [markdown]
# The same first three cards, eight times: sample, score, select. (For RFT and DeepSeek-R1 the score is a
# check of the result.) What comes next differs. WebGPT pays for 64 responses to every question. HH-RLHF
# gave people better responses to compare. The other six pay in training and put the result into the
# weights.
#
# How the idea spread, with its names (of each paper the first author):
#
# | year | name | what is new | source |
# |---|---|---|---|
# | 2021 | best-of-n, "rejection sampling" | a reward model picks for the reader | WebGPT, arXiv 2112.09332 |
# | 2022 | STaR | keep reasoning that ends in the right answer, tune, repeat | Zelikman, arXiv 2203.14465 |
# | 2022 | FeedME | fine-tune on responses that people rated 7 of 7 | OpenAI's model list, as quoted then |
# | 2023 | RAFT | the best by reward, round after round, in place of PPO | Dong, arXiv 2304.06767 |
# | 2023 | RFT | many different right solutions to each problem | Yuan, arXiv 2308.01825 |
# | 2023 | ReST | sample once ("grow"), filter and tune often ("improve") | Gulcehre, arXiv 2308.08998 |
# | 2025 | DeepSeek-R1 | one stage between two stages of RL | arXiv 2501.12948 |

# %% [markdown]
# FeedME is how OpenAI's list described models that were offered as InstructGPT, text-davinci-002 among
# them: there people did the selecting. The InstructGPT paper itself (Ouyang and others, 2022, arXiv
# 2203.02155) describes PPO with a reward model.
#
# Libraries came and went too. Hugging Face's TRL gained a best-of-n sampler in 2023 (pull request 326),
# presented as a way to better output without RL; in October 2025 it was deprecated, since few used it (pull
# request 4291). The method needs no library of its own: `generate`, a reward model and a fine-tuning script
# are enough.
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
# - An order that runs may still be worthless: without selecting, none of our runs gained separably, and a
#   gain on prompts that were trained on proves little.
# - A response whose seed comes from its run, its prompt and its number alone can be drawn again by anybody,
#   in any batch.

# %%
progress()
