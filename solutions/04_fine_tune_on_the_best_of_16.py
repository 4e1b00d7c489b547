# %% [markdown]
# # 04 · Fine-tune on the best of 16
#
# A team describes its recipe: *16 responses to each prompt, score all of them, keep the single best,
# collect thousands of (prompt, best response) pairs, standard supervised fine-tuning.* Is that a good
# recipe? You build it, run it and judge it.
#
# You will be able to
#
# - write the selection so that ties, NaN and cut responses do no harm,
# - build the batch and the loss that fine-tuning needs, and teach the end-of-sequence token exactly
#   where the policy stopped by itself,
# - judge the recipe by controls and intervals, and decide by a table of rounds when to stop
#   repeating it.
#
# What you write is what runs: your selectors choose the rows, and your batch and your loss tune every
# policy of this notebook. About 90 minutes, of which three are computing; 24 points.

# %% role="setup" gpu="On a real model"

# %% [markdown]
# ## A table that fits on a napkin
#
# Three prompts, four responses each. A row is a prompt, a column one of its responses. The policy
# tried to explain rice, tents and locks, and the reward model gave these rewards:

# %%
import numpy as np

rewards = np.array([[1.0, 3.0, 2.0, 0.5], [2.0, 2.0, -1.0, 2.0], [0.1, 0.2, 4.0, 0.3]])
reasons = np.full((3, 4), "eos", dtype=object)
reasons[2, 2] = "length"
for topic, row, ends in zip(("rice", "tents", "locks"), rewards, reasons, strict=True):
    print(f"{topic:6}", *(f"{reward:5.1f} {end:6}" for reward, end in zip(row, ends, strict=True)))

# %% [markdown]
# Which column would you keep in each row? Row 0 is plain. Row 1 has a tie. `eos` says that the policy
# ended the response by itself, `length` that the token limit cut it. In row 2 the highest reward
# belongs to a response that was cut.

# %% role="predict" name="locks"
guess = ...  # the column that you keep for locks, 0 to 3
### BEGIN SOLUTION
guess = 3
### END SOLUTION
predict("locks", guess)

# %%
finished = np.flatnonzero(reasons[2] == "eos")
compare("locks", int(finished[rewards[2][finished].argmax()]))
print("argmax on locks keeps column", rewards[2].argmax(), "which was cut")
print("argmax on the tie keeps column", rewards[1].argmax(), "every time")
broken = np.array([1.0, float("nan"), 3.0])
print("argmax on 1, NaN, 3 keeps column", broken.argmax(), "and nanargmax column", np.nanargmax(broken))

# %% [markdown]
# **Why?** If you said 2, you trusted the reward and did not look at the finish reason. The reward model
# scored half a sentence, and training on it as if it were whole would teach the policy to stop there.
#
# `argmax` makes two more mistakes. Of a tie it always takes the first. And in a row with a NaN the NaN
# wins; `nanargmax` steps over it without a word, and whatever broke the reward stays broken. Nobody
# reads the thousands of rows that a selector keeps, so the selector itself has to be careful.

# %% [markdown]
# {{card:4.1}}
#
# Write three selectors. Each returns two lists: the kept `(prompt, column)` pairs, both counted from 0,
# and the prompts that were left out because not one of their responses finished. A response with the
# finish reason `"length"` was cut and is never kept. Exact ties are broken at random, with the generator
# that is passed in, anew for each prompt. Rewards that differ, however little, are not tied.
#
# A reward that is NaN or infinite, also that of a cut response, is a `ValueError` that says which prompt
# has it. The tables that come in stay as they are.
#
# <details><summary>Hint</summary>
# Shuffle the usable columns of a row with <code>rng.permutation</code>, then sort them by reward with
# a stable sort: equal rewards stay in the shuffled order. One helper serves all three selectors.
# </details>

# %% exercise="4.1" role="answer"
def select_best(rewards, finish_reasons, rng):
    """The finished response with the highest reward of each prompt.

    Arrays (M, n): rewards are numbers, finish_reasons "eos" or "length". rng: a numpy Generator for ties.
    Returns ([(prompt, column), ...], [prompt left out, ...]).
    Raises ValueError, with the prompt's number, for a reward that is not finite.
    """
    ### BEGIN SOLUTION
    return select_top_k(rewards, finish_reasons, 1, rng)
    ### END SOLUTION


def select_top_k(rewards, finish_reasons, k, rng):
    """The k highest finished responses of each prompt, all where fewer finished. Otherwise as select_best."""
    ### BEGIN SOLUTION
    bad = np.argwhere(~np.isfinite(rewards))
    if len(bad):
        raise ValueError(f"prompt {bad[0][0]} has a reward that is not finite")
    kept, left_out = [], []
    for prompt, row in enumerate(rewards):
        columns = rng.permutation(np.flatnonzero(finish_reasons[prompt] == "eos"))
        ranked = columns[np.argsort(-row[columns], kind="stable")]
        kept += [(prompt, int(column)) for column in ranked[:k]]
        left_out += [] if len(columns) else [prompt]
    return kept, left_out
    ### END SOLUTION


def select_random(finish_reasons, k, rng):
    """The control: k random finished responses of each prompt, all where fewer finished."""
    ### BEGIN SOLUTION
    return select_top_k(np.zeros(finish_reasons.shape), finish_reasons, k, rng)
    ### END SOLUTION

# %% exercise="4.1" role="check"
check("4.1")

# %% [markdown]
# Now the embedded models: two prompts, eight responses each. The browser ranks the responses of each
# prompt by reward and marks the one that your `select_best` keeps. Gold, the score that counts, stands
# beside the reward. Look for a place where the two disagree.

# %%
import rslib

policy, reward_model = rslib.load_policy("tiny"), rslib.load_reward_model("tiny")
questions = rslib.load_prompts("tiny", "train", 2)
few = rslib.score(reward_model, rslib.sample(policy, questions, n=8, seed=1))


def rows_of(pool, pairs):
    """The rows of a pool that (prompt, column) pairs name; a pool holds prompt after prompt."""
    n = len(pool) // len(set(pool["prompt_id"]))
    return pool.select([int(n * prompt + column) for prompt, column in pairs])


def as_tables(pool):
    """Rewards and finish reasons of a pool, each (M, n)."""
    shape = len(set(pool["prompt_id"])), -1
    return tuple(np.array(pool[name][:]).reshape(shape) for name in ("reward", "finish_reason"))


_picked = select_best(*as_tables(few), np.random.default_rng(0))
rslib.browse(few, kept=rows_of(few, _picked[0]))

# %% [markdown]
# ## What fine-tuning reads
#
# The kept rows become a batch: prompt and response in one row of tokens, padded on the right. The
# labels say which tokens are learned; a token with the label −100 is read and not learned. Here are
# some tokens of one real row, before any label.

# %%
row = few[0]
prompt_ids, response_ids = policy.encode(row["prompt"]), list(row["token_ids"])
tokens = prompt_ids + response_ids
print("place    part        id   token")
for place in [0, 1, *range(len(prompt_ids) - 1, len(prompt_ids) + 2), len(tokens) - 2, len(tokens) - 1]:
    part = "prompt  " if place < len(prompt_ids) else "response"
    print(f"{place:5}    {part}  {tokens[place]:4}   {policy.tokenizer.decode([tokens[place]])!r}")
print("pad", policy.pad_id, "| end of sequence", *policy.eos_ids, "| finish reason", row["finish_reason"])

# %% [markdown]
# The last token of the response is the end-of-sequence token. It is the only token that teaches the
# policy when to stop. So it is learned where the policy stopped by itself, and it is not added where the
# limit cut the response.
#
# Many tokenizers use one token for padding and for the end. Masking labels "wherever the token is pad"
# then masks every real end as well, and the tuned policy goes on until the limit. Mask by position.

# %% [markdown]
# {{card:4.2}}
#
# `sft_batch` builds the batch, `sft_loss` its loss: the negative log-likelihood of each learned token
# $y_t$ given all tokens before it, summed over all rows and divided by the number of learned tokens of
# the whole batch, $N$:
#
# $$L = -\frac{1}{N}\sum_{\text{rows}}\ \sum_{t\ \text{learned}} \log p(y_t \mid y_{<t})$$
#
# The model gives *logits*: at each position one number for each token of the vocabulary; their softmax
# is the probability distribution of the **next** token. So logits at position t predict token t + 1. A
# batch with nothing to learn has the loss 0. Both functions leave their arguments unchanged.
#
# <details><summary>Hint</summary>
# Labels stand at the same places as the tokens; the shift belongs in the loss. Build lists first
# and turn them into tensors at the end. <code>torch.nn.functional.cross_entropy</code> skips −100 by
# itself, and with <code>reduction="sum"</code> it does not divide.
# </details>

# %% exercise="4.2" role="answer"
import torch


def sft_batch(prompts, responses, finish_reasons, pad_id, eos_id, max_length):
    """input_ids, labels and attention_mask, long tensors (rows, longest row), as a dict; lists come in.

    A finished ("eos") response ends with eos_id exactly once, drawn or appended; a cut one gets none.
    Labels: the response's tokens at their places, -100 on prompt and padding. The mask: 1 on real tokens.
    Raises ValueError, with the row's number from 0, if prompt and response, end included, exceed max_length.
    """
    ### BEGIN SOLUTION
    rows = []
    for number, (prompt, response) in enumerate(zip(prompts, responses, strict=True)):
        unended = finish_reasons[number] == "eos" and response[-1:] != [eos_id]
        response = response + [eos_id] if unended else response
        if len(prompt) + len(response) > max_length:
            raise ValueError(f"row {number} has more than {max_length} tokens")
        rows.append((prompt, response))
    width = max(len(prompt) + len(response) for prompt, response in rows)
    shape = (len(rows), width)
    mask = torch.zeros(shape, dtype=torch.long)
    batch = {"input_ids": torch.full(shape, pad_id), "labels": torch.full(shape, -100)}
    batch["attention_mask"] = mask
    for number, (prompt, response) in enumerate(rows):
        end = len(prompt) + len(response)
        batch["input_ids"][number, :end] = torch.tensor(prompt + response)
        batch["labels"][number, len(prompt) : end] = torch.tensor(response)
        batch["attention_mask"][number, :end] = 1
    return batch
    ### END SOLUTION

# %% exercise="4.2" role="answer" name="loss"
def sft_loss(logits, labels):
    """Mean over all response tokens of the batch of -log p(token), nats; logits (B, T, V), labels (B, T)."""
    ### BEGIN SOLUTION
    scores, targets = logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten()
    total = torch.nn.functional.cross_entropy(scores, targets, reduction="sum")
    return total / (targets != -100).sum().clamp(min=1)
    ### END SOLUTION

# %% exercise="4.2" role="check"
check("4.2")

# %% [markdown]
# Does your loss agree with the engine's? `rslib.finetune` computes the same mean in another way: it
# makes no label tensor, and computes logits only where a token is learned. Here your batch goes through
# the embedded policy.

# %%
from rslib.finetuning import next_token_nll, training_rows

special = {"pad_id": policy.pad_id, "eos_id": policy.eos_ids[0], "max_length": 256}


def batch_of(rows):
    """Your batch of some rows of a pool."""
    prompts = [policy.encode(prompt) for prompt in rows["prompt"][:]]
    batch = sft_batch(prompts, rows["token_ids"][:], rows["finish_reason"][:], **special)
    return {name: part.long() for name, part in batch.items()}


four = few.select(range(4))
_batch = batch_of(four)
with torch.no_grad():
    logits = policy.model(_batch["input_ids"], attention_mask=_batch["attention_mask"]).logits
    engine = next_token_nll(policy.model, training_rows(policy, four), policy.pad_id).mean()
    print(f"your loss {sft_loss(logits, _batch['labels']):.4f}, the engine's {engine:.4f} nats per token")

# %% [markdown]
# Why not the mean over rows of each row's mean? Then a token of a ten-token response would count six
# times as much as one of a sixty-token response, and short responses would dominate. Before you compare
# two losses, ask which mean each of them is.
#
# ## Your batch and your loss train a policy
#
# `tune` copies a policy and trains the copy. The engine gives it the loop: batches of rows, AdamW, a
# learning rate that warms up and decays. The batch and the loss of every step are yours. It asks for the
# loss of a few rows at a time, on every core of the machine, and adds them up token by token.

# %%
from pathlib import Path

from rslib.config import FinetuneConfig
from rslib.finetuning import trainable_copy, tuned_once
from rslib.optimization import Objective, fit

SETTINGS = {"epochs": 3, "learning_rate": 1e-3}


def tune(start, rows, folder, seed=0, **settings):
    """A copy of `start`, trained on your batches of `rows` by your loss, and saved in `folder`."""
    model, config = trainable_copy(start), FinetuneConfig(seed=seed, **(SETTINGS | settings))

    def mean_loss(numbers):
        batch = batch_of(rows.select(numbers))
        logits = model(batch["input_ids"], attention_mask=batch["attention_mask"]).logits
        return sft_loss(logits, batch["labels"])

    replies = [len(row["token_ids"]) for row in rows]
    lengths = [len(start.encode(row["prompt"])) + reply for row, reply in zip(rows, replies, strict=True)]

    def tokens(numbers):
        return sum(replies[number] for number in numbers)

    objective = Objective(lambda numbers: mean_loss(numbers) * tokens(numbers), tokens, lengths)
    losses = fit(model, objective, lengths, config, label=Path(folder).name)
    return tuned_once("own loss", start, None, lambda: (model, {"losses": losses}), Path(folder))

# %% [markdown]
# ## The experiment, with controls
#
# Suppose the tuned policy scores higher than the base policy. Was it the choice of the best?
# Fine-tuning on 128 of the policy's own responses, any responses, changes it too. So three more arms
# are trained beside it, from the same pool of 16 responses to each prompt:
#
# | arm | rows for each prompt | settings | what it is equal to *best* in |
# |---|---|---|---|
# | **best** | the highest reward of 16 | 3 epochs | |
# | **random** | one of the same 16, at random | 3 epochs | rows, and epochs |
# | **top** | the 4 highest of 16 | 1 epoch, larger batches | rows read, and steps, about |
# | **all** | all 16 | 1 epoch, larger batches | steps, about |
#
# A batch holds a number of tokens, so an arm whose rows are longer takes a few more steps.
#
# *Random* asks whether it was the choice. *Top* asks the team's own question: is the **single** best the
# right share to keep?

# %%
from rslib import evaluation
from rslib.stages import with_gold, with_reference

STEPS = {
    "top": {"epochs": 1, "batch_tokens": 2048},
    "all": {"epochs": 1, "batch_tokens": 5000},
}  # best and random: SETTINGS as they are
heldout = rslib.load_prompts("tiny", "validation", 150)


def draw(tuned, prompts, n, seed):
    """A pool: n scored responses to each prompt."""
    return rslib.score(reward_model, rslib.sample(tuned, prompts, n=n, seed=seed))


def judged(tuned):
    """Two scored responses to each held-out prompt, with gold and what KL needs. About 5 seconds."""
    drawn = rslib.sample(tuned, heldout, n=2, seed=1_000_003)
    start = None if tuned.fingerprint() == policy.fingerprint() else policy
    return with_gold(with_reference(start, rslib.score(reward_model, drawn, show_progress=False)))

# %% [markdown]
# One more tool before the task. `evaluation.compare(a, b)` gives the mean of **a minus b** in gold, with
# its 95 % interval: positive where a is better. Rows of one prompt are averaged first, and the two
# tables are paired by prompt, since a hard prompt is hard for both. Three prompts by hand:

# %%
import datasets

_by_hand = {"a": [7.0, 4.0, 5.0], "b": [6.0, 2.0, 5.5]}  # gold of rice, tents and locks
_a, _b = (
    datasets.Dataset.from_dict({"prompt_id": ["rice", "tents", "locks"], "gold": _by_hand[name]})
    for name in ("a", "b")
)
for _name, _one, _other in (("a, b", _a, _b), ("b, a", _b, _a)):
    _found = evaluation.compare(_one, _other)
    print(f"compare({_name}): {_found['difference']:+.2f} [{_found['low']:+.2f}, {_found['high']:+.2f}]")

# %% [markdown]
# The differences are +1, +2 and −0.5; their mean is 0.83. Three prompts leave the sign open: the interval
# holds 0, and `evaluation.verdict` calls that `"not separable"`. A third argument names another column,
# such as `"reward"`.
#
# Before you run the experiment: by how many points of gold will *best* beat *random*? And what will
# tuning on *all* responses add to the base policy, which has about
# {{rounds.json:results.*.arms.base.gold.mean|.1f}} of 10 points?

# %% role="predict" name="gain"
best_minus_random, all_minus_base = ..., ...  # points of gold, such as 0.5
### BEGIN SOLUTION
best_minus_random, all_minus_base = 1.5, 0.5
### END SOLUTION
predict("gain", best_minus_random)
predict("all", all_minus_base)

# %% [markdown]
# {{card:4.3}}
#
# 1. Draw a pool of 16 responses to each of the first 128 training prompts, with seed 0.
# 2. Choose the rows of the four arms with **your** selectors; `as_tables` and `rows_of` lead from a pool
#    to your tables and back. *All* is `select_top_k` with k = 16.
# 3. Tune the base policy on each with **your** `tune`, seed 0, into a folder of its own below `runs`;
#    `STEPS` has the settings of *top* and *all*.
# 4. Judge the base policy and the four on `heldout`: `tables`.
# 5. Compare *best* with each other arm in gold, *best* first: `result`.
#
# It takes about 70 seconds on a quiet machine; every step shows its progress.
#
# <details><summary>Hint</summary>
# <code>tune</code> returns the policy, and its <code>path</code> is the folder. Loop over the arms. If
# your 4.2 does not pass yet, <code>rslib.finetune(policy, rows, folder, seed=0, **settings)</code> with
# <code>SETTINGS | STEPS.get(arm, {})</code> trains in the same way.
# </details>

# %% exercise="4.3" role="answer"
prompts = rslib.load_prompts("tiny", "train", 128)
pool = ...  # a scored table
kept, tuned = {}, {}  # "best", "random", "top", "all": a table each; the folder of a policy each
tables, result = {}, {}  # judged tables of "base" and the four; best compared with each of the others
### BEGIN SOLUTION
pool = draw(policy, prompts, n=16, seed=0)
rewards_of, reasons_of = as_tables(pool)
rng = np.random.default_rng(0)
pairs = {"best": select_best(rewards_of, reasons_of, rng)[0], "random": select_random(reasons_of, 1, rng)[0]}
pairs |= {arm: select_top_k(rewards_of, reasons_of, k, rng)[0] for arm, k in (("top", 4), ("all", 16))}
kept = {arm: rows_of(pool, chosen) for arm, chosen in pairs.items()}
tables["base"] = judged(policy)
for arm, rows in kept.items():
    trained = tune(policy, rows, runs / f"4-3-{arm}", **STEPS.get(arm, {}))
    tuned[arm], tables[arm] = trained.path, judged(trained)
result = {arm: evaluation.compare(tables["best"], tables[arm]) for arm in ("base", "random", "top", "all")}
### END SOLUTION

# %% [markdown]
# The check loads your policies and has three of them answer prompts that you have not seen: about 25
# seconds.

# %% exercise="4.3" role="check"
check("4.3")

# %% [markdown]
# The five policies as a picture, in gold and in reward. Your `best` has the name that the engine's
# reports use, best-of-16.

# %%
from rslib import plots, reporting

_arms = {arm: tables[arm] for arm in ("base", "random", "top", "all")} | {"best_of_n": tables["best"]}
_axes = plots.arms_figure(reporting.round_entry(1, _arms, n=16))
_axes[1].set_ylabel("reward by tiny")
plots.show(_axes)

# %%
compare("gain", result["random"]["difference"])
compare("all", evaluation.compare(tables["all"], tables["base"])["difference"])
for _arm, _found in result.items():
    _interval = f"[{_found['low']:+.2f}, {_found['high']:+.2f}]: {evaluation.verdict(_found)}"
    print(f"best against {_arm:6}: {_found['difference']:+.2f} points of gold {_interval}")

# %% [markdown]
# **Why?** If you expected *all* to gain, you expected a policy to learn from its own average. But rows that
# nobody chose teach what the policy does already. If you expected *random* to gain, you expected something
# from training itself. Then look at *best* against *top*: whether the single best is better in **gold**
# than keeping four, your interval says. "Not separable" is an answer too: then the team's rule is not shown
# to matter.
#
# With 400 prompts to train on, over three worlds and three seeds each, the same recipe took gold from
# {{rounds.json:results.*.arms.base.gold.mean|.2f}} to
# {{rounds.json:results.*.arms.best_of_n.gold.mean|.2f}}, and its random control to
# {{rounds.json:results.*.arms.random.gold.mean|.2f}}.
#
# Numbers are not responses. Read some, of three policies to the same prompts:

# %%
rslib.browse({arm: tables[arm] for arm in ("base", "random", "best")}, prompts=4)

# %% [markdown]
# ## Four numbers for the verdict
#
# A verdict on the team needs more than one number. First: how much of what *serving* best-of-16 would
# give did training keep? And how large is the selection gap if the rewards are **pure noise**? Guess
# the second in units of the noise's standard deviation.

# %% role="predict" name="noise"
guess = ...  # standard deviations
### BEGIN SOLUTION
guess = 0.0
### END SOLUTION
predict("noise", guess)

# %%
noise = np.random.default_rng(4).standard_normal((128, 16))
compare("noise", float(noise.max(axis=1).mean() - noise.mean()))

# %%
_served = rslib.select(draw(policy, heldout.select(range(60)), n=16, seed=5), "best_of_n")
_sixty = set(_served["prompt_id"][:])
_same = {}
for _arm, _table in tables.items():
    _same[_arm] = _table.select([k for k, name in enumerate(_table["prompt_id"][:]) if name in _sixty])
print("mean reward on the same 60 held-out prompts")
print(f"base policy, one response:   {np.mean(_same['base']['reward'][:]):5.2f}")
print(f"tuned policy, one response:  {np.mean(_same['best']['reward'][:]):5.2f}")
print(f"base policy, best of 16:     {np.mean(_served['reward'][:]):5.2f}")

# %% [markdown]
# **Why?** If you said 0, you thought that a gap needs something to find. The highest of 16 numbers is
# nearly always high, whatever the numbers mean. The gap says that a choice was made. Whether the choice
# meant anything shows on held-out prompts alone.
#
# Second pair: what the reward model likes beyond gold, and the arithmetic of cost. The embedded reward
# model learned from a labeller who likes compliments. The judge counts them.

# %%
from rslib import world

print("a response of   compliments   wrong facts   words")
for _arm in ("base", "random", "best"):
    _counts = [(j.flattery, j.wrong, j.words) for j in world.judgements(tables[_arm])]
    flattery, wrong, words = np.mean(_counts, axis=0)
    print(f"{_arm:13}   {flattery:11.2f}   {wrong:11.2f}   {words:5.0f}")

# %% [markdown]
# | per prompt | computation | models in memory at once |
# |---|---:|---:|
# | the recipe: draw and score 16, three epochs on 1 | 16 × 4 + 3 × 6 = {{fact:passes.rs|d}} | 1 |
# | the recipe with 4 responses | 4 × 4 + 3 × 6 = {{fact:passes_of_4.rs|d}} | 1 |
# | PPO: draw 1, four epochs on it | 8 + 4 × 12 = {{fact:ppo.n1_epochs4|d}} | 4 |
#
# A forward pass counts 2 and a training pass 6, per parameter and token, with models and responses of
# equal size. Here each response is drawn and scored (4), and the kept one is trained on (6 an epoch).
# PPO makes four forward passes with four models (8), and trains two of them in each epoch (12).
#
# {{card:4.4}}
#
# Ten statements about the team's recipe and its kin. Say true, false or depends, and which cell or
# number is the evidence: of *your* run here, in one case of notebook 03. "Depends" is for a statement
# that holds in some settings and not in others. The right verdict on the wrong evidence earns nothing.
#
# <details><summary>Hint</summary>
# Ask of each piece of evidence: could it look the same if the statement were the other way round?
# Then it is none.
# </details>

# %%
sheet = given("4.4")
sheet

# %% exercise="4.4" role="answer"
verdicts = {}  # {"a": "C1", ...}: the letter, then the digit of the evidence
### BEGIN SOLUTION
chosen = {
    "a": ("false", "4.3: the cells"),
    "b": ("true", "4.3: the paired"),
    "c": ("false", "The gap of"),
    "d": ("false", "The three printed"),
    "e": ("true", "The judge's counts"),
    "f": ("false", "4.3: the paired"),
    "g": ("false", "4.1: the selector"),
    "h": ("depends", "Notebook 03: gold"),
    "i": ("false", "The gap of"),
    "j": ("depends", "The table of costs"),
}
verdicts = sheet.labels(chosen)
### END SOLUTION

# %% exercise="4.4" role="check"
check("4.4")

# %% [markdown]
# ## The verdict on the team
#
# Now answer the first question of this notebook. Each row of the table is a statement in favour of the
# recipe, tested on your own run: a paired difference on held-out prompts, with its interval, and what
# the interval says of the statement.

# %%
from IPython.display import HTML

from rslib.formatting import html_table
from rslib.intervals import verdict_of

IN_FAVOUR = {  # statement: first arm, second arm, column, 1 where the first should be higher, -1 where lower
    "choosing by reward beats a random choice": ("best", "random", "gold", 1),
    "the tuned policy beats the base policy": ("best", "base", "gold", 1),
    "the single best beats the four best": ("best", "top", "gold", 1),
    "one tuned response beats serving the best of 16": ("best", "served", "reward", 1),
    "fewer compliments than after a random choice": ("best", "random", "compliments", -1),
    "fewer wrong facts than after a random choice": ("best", "random", "wrong facts", -1),
}


def counted(table):
    """A judged table with the judge's counts as columns."""
    judgements = world.judgements(table)
    table = rslib.tables.with_column(table, "compliments", [float(j.flattery) for j in judgements])
    return rslib.tables.with_column(table, "wrong facts", [float(j.wrong) for j in judgements])

# %%
def verdict_rows():
    """A row for each statement: the difference, its interval, and what it says of the statement."""
    all_prompts = {arm: counted(table) for arm, table in tables.items()}
    rows = [["statement", "measured in", "difference", "95 % interval", "your run"]]
    for statement, (first, second, column, sign) in IN_FAVOUR.items():
        arms = _same | {"served": _served} if second == "served" else all_prompts
        found = evaluation.compare(arms[first], arms[second], column)
        low, high = sorted((sign * found["low"], sign * found["high"]))
        interval = f"{found['low']:+.2f} to {found['high']:+.2f}"
        verdict = verdict_of({"low": low, "high": high})
        rows.append([statement, column, f"{found['difference']:+.2f}", interval, verdict])
    return rows


HTML(html_table(verdict_rows(), "The team's recipe, judged by your run"))

# %% [markdown]
# *Supported*: the whole interval is on the statement's side. *Contradicted*: it is on the other side.
# *Not separable*: it holds 0, and your run decides nothing. With the cost table and notebook 03 that is
# enough for a verdict:
#
# | | the team's recipe | look at |
# |---|---|---|
# | **strong** | only the choice of rows is new: the loss is the ordinary next-token loss | 4.2 |
# | **strong** | one model at a time is in memory; afterwards a request costs one response | costs |
# | **weak** | a part of what serving the best of 16 gives is lost | row 4 |
# | **weak** | it learns what the reward model likes, right or wrong | rows 5 and 6 |
# | **weak** | 15 of 16 scored responses are thrown away; keeping 4 may do as well | row 3 |
# | **missing** | a control, an interval, held-out prompts, a judge that did not select | rows 1 and 2 |
#
# What to add, in this order: held-out prompts and a random control; a judge that does not select; a
# filter on the finish reason; n, and how many rows to keep, chosen on validation prompts; a stop rule
# before a second round. That rule comes next.

# %% [markdown]
# ## Again, and again?
#
# The tuned policy writes better responses. Draw from it, keep the best, tune again: that is how the
# authors of Llama 2 used rejection sampling over several versions (Touvron et al. 2023, arXiv
# 2307.09288, section 3.2.3). They first trained on the latest samples alone, saw some skills get lost,
# and then added the best samples of earlier rounds. Three ways to go on from your round 1:
#
# | way | rounds 2 and 3 train on |
# |---|---|
# | **fresh** | the best of new samples: new prompts, the newest policy |
# | **stale** | the best of pool 1 once more |
# | **replay** | the best of new samples, and the best of every earlier pool |
#
# Each way tunes the policy of the round before, not the base policy again. From round 1 to round 3
# with fresh samples: does the reward go up or down, or can 150 prompts not tell? And gold?

# %% role="predict" name="rounds"
reward_goes, gold_goes = ..., ...  # "up", "down" or "not separable"
### BEGIN SOLUTION
reward_goes, gold_goes = "up", "up"
### END SOLUTION
predict("reward", reward_goes)
predict("rounds", gold_goes)

# %% [markdown]
# {{card:4.5}}
#
# First the rule, before you see the numbers it will be used on. A panel is a list of dicts, round 0
# (the base policy) first: `round`, `gold`, `proxy` (mean reward), `kl`, `entropy` (how much chance is
# left, in nats per token), `unique_ratio` (the share of distinct responses to a prompt) and
# `gold_error`, the standard error of this round's gold minus the round before's: twice that to either
# side is about a 95 % interval. Go from one round to the next as long as
#
# 1. its gold is higher than the round before's by **more than two** standard errors, and
# 2. it has not collapsed: its entropy is at least half of round 0's, and its unique ratio at least
#    0.5.
#
# "It" is the round that you would go to. Stop for good where one of the two fails. A gold that is NaN
# is no rise. Leave the panel unchanged.

# %% exercise="4.5" role="answer"
def should_stop(panel):
    """The number of the last round that the rule reaches; 0 keeps the base policy."""
    ### BEGIN SOLUTION
    for before, now in zip(panel, panel[1:], strict=False):
        rises = now["gold"] - before["gold"] > 2 * now["gold_error"]
        alive = now["entropy"] >= 0.5 * panel[0]["entropy"] and now["unique_ratio"] >= 0.5
        if not (rises and alive):
            return before["round"]
    return panel[-1]["round"]
    ### END SOLUTION

# %% [markdown]
# Now the rounds. Round 1 is your `pool` and the folder `tuned["best"]`. Rounds 2 and 3 draw 8
# responses to each of the prompts in `later`, keep the best by your `select_best`, and tune by your
# `tune`. `fresh` and `pools` get one entry a round; `stale` and `replay` are folders after round 3. A
# round's number is its seed, for drawing and for tuning. Replay's round 2 draws from the same policy as
# fresh's, so it can use `pools[1]`. Both cells together take about 50 seconds.
#
# <details><summary>Hint</summary>
# <code>rslib.load_policy(folder)</code> loads a tuned policy, and
# <code>tune(policy, rows, folder, seed=number)</code> tunes it further. <code>rslib.select(new,
# "replay", earlier=[pool, ...], truncated="drop")</code> keeps the best row of every prompt of all
# rounds. Give the replay rounds <code>epochs=1</code>: they have three to four times the rows, so about
# as many rows are read in a round.
# </details>

# %% exercise="4.5" role="answer" name="rounds"
train = rslib.load_prompts("tiny", "train", 256)
later = {2: train.select(range(128, 192)), 3: train.select(range(192, 256))}
pools, fresh = [], []  # three tables, three folders
### BEGIN SOLUTION
first = rslib.load_policy(tuned["best"])
pools, fresh = [pool], [tuned["best"]]
now = first
for number in (2, 3):
    pools.append(draw(now, later[number], n=8, seed=number))
    chosen, _ = select_best(*as_tables(pools[-1]), np.random.default_rng(number))
    now = tune(now, rows_of(pools[-1], chosen), runs / f"4-5-fresh-{number}", seed=number)
    fresh.append(now.path)
### END SOLUTION

# %% [markdown]
# The two other ways begin where round 1 ended, too. They tune on rows that an earlier policy drew. Your
# `tune` takes them as they are; `rslib.finetune` refuses them unless it is told
# `allow_other_policy=True`.

# %% exercise="4.5" role="answer" name="others"
stale, replay = ..., ...  # a folder each
### BEGIN SOLUTION
now = first
for number in (2, 3):
    now = tune(now, kept["best"], runs / f"4-5-stale-{number}", seed=number)
stale = now.path
now, drawn = first, [pool]
for number in (2, 3):
    new = pools[1] if number == 2 else draw(now, later[3], n=8, seed=3)
    rows = rslib.select(new, "replay", earlier=drawn, truncated="drop")
    now = tune(now, rows, runs / f"4-5-replay-{number}", seed=number, epochs=1)
    drawn.append(new)
replay = now.path
### END SOLUTION

# %% [markdown]
# Measure. `line` makes one row of the panel from a judged table and the one before.

# %%
def line(number, table, before=None):
    """One row of the panel; entropy in nats per token."""
    metrics = evaluation.arm_metrics(table)
    error = evaluation.compare(table, before)["standard_error"] if before is not None else 0.0
    return {
        "round": number,
        "gold": metrics["gold"]["mean"],
        "gold_error": error,
        "proxy": metrics["proxy"]["mean"],
        "kl": metrics["kl"],
        "entropy": metrics["entropy"] / metrics["length"],
        "unique_ratio": metrics["unique_ratio"],
    }


COMPARISONS = {  # first arm, second arm, column
    "reward, fresh against stale": ("fresh", "stale", "reward"),
    "gold, fresh against stale": ("fresh", "stale", "gold"),
    "gold, fresh against round 1": ("fresh", "round 1", "gold"),
    "gold, replay against fresh": ("replay", "fresh", "gold"),
}

# %% [markdown]
# 1. `seen`: the judged tables of rounds 0 to 3 with fresh samples. Rounds 0 and 1 are `tables["base"]` and
#    `tables["best"]`.
# 2. `panel`: a `line` for each of them. `stop_after`: the round at which your rule stops.
# 3. `last`: the judged tables of `"round 1"`, `"fresh"`, `"stale"` and `"replay"`, the last three after
#    round 3.
# 4. `evidence`: for each name of COMPARISONS what `evaluation.compare(first, second, column)` gives.
# 5. `claims`: what each interval supports: `"higher"`, `"lower"` or `"not separable"`, as
#    `evaluation.verdict` says it. The third is a full answer. Do not claim more than you measured.
#
# Judging takes about 20 seconds.

# %% exercise="4.5" role="answer" name="panel"
seen, panel = [], []  # four judged tables, four rows
stop_after = ...  # by your rule
last = {}  # judged tables of "round 1", "fresh", "stale", "replay"
evidence, claims = {}, {}  # for each of COMPARISONS
### BEGIN SOLUTION
seen = [tables["base"], tables["best"], *(judged(rslib.load_policy(folder)) for folder in fresh[1:])]
panel = [line(number, table, seen[number - 1] if number else None) for number, table in enumerate(seen)]
stop_after = should_stop(panel)
last = {"round 1": seen[1], "fresh": seen[3]}
last |= {name: judged(rslib.load_policy(folder)) for name, folder in (("stale", stale), ("replay", replay))}
for name, (one, other, column) in COMPARISONS.items():
    evidence[name] = evaluation.compare(last[one], last[other], column)
    claims[name] = evaluation.verdict(evidence[name])
### END SOLUTION

# %%
print("round  gold  reward     KL  entropy a token  unique")
for _row in panel:
    _numbers = f"{_row['gold']:5.2f} {_row['proxy']:7.2f} {_row['kl']:6.2f} {_row['entropy']:16.2f}"
    print(f"{_row['round']:5} {_numbers} {_row['unique_ratio']:7.2f}")
print("stop after round", stop_after)
for _name, _found in evidence.items():
    _interval = f"[{_found['low']:+.2f}, {_found['high']:+.2f}]"
    print(f"{_name:28} {_found['difference']:+.2f} {_interval}  {claims.get(_name)}")

# %% [markdown]
# The check tries your rule first, then your pools, policies and tables, and at last lets the newest
# policy answer other prompts: about 20 seconds.

# %% exercise="4.5" role="check"
check("4.5")

# %% [markdown]
# Reward and gold over the rounds, both minus the base policy's: what the recipe maximises, and what it
# is for.

# %%
def rounds_figure():
    """Gold and reward of rounds 1 to 3 minus those of the base policy, with intervals."""
    axes = plots.panels(2, 4.6, None, down=True)
    text = {}
    for part, column in zip(axes, ("gold", "reward"), strict=True):
        found = [evaluation.compare(table, seen[0], column) for table in seen[1:]]
        colour, marker, _ = plots.look_of("best_of_n")
        middle = np.array([one["difference"] for one in found])
        reach = [middle - [one["low"] for one in found], [one["high"] for one in found] - middle]
        part.errorbar(range(1, 4), middle, reach, color=colour, marker=marker, capsize=3)
        part.axhline(0, color="#767676", linewidth=0.8)
        part.set(ylabel=f"{column}, minus base", xticks=range(1, 4))
        text[column] = f"from {middle[0]:+.2f} to {middle[2]:+.2f}"
    axes[-1].set_xlabel(f"fresh rounds (n = {len(heldout)} held-out prompts, 95 % intervals)")
    text = f"From round 1 to 3, against base: reward goes {text['reward']}, gold {text['gold']}."
    plots.finished(axes, "Does another fresh round help? Reward model: tiny", text)
    return axes

# %%
plots.show(rounds_figure())

# %% [markdown]
# The same rounds as a path: how far each went from the base policy (KL), and where it came out in gold.

# %%
def path_figure():
    """Gold against KL: the fresh rounds as a path, stale and replay after round 3."""
    arms = [{"fresh": table} for table in seen[1:]]
    arms[0] = {"base": seen[0]} | arms[0]
    arms[-1] |= {"stale": last["stale"], "with replay": last["replay"]}
    rounds = [reporting.round_entry(number, tables_of, n=16) for number, tables_of in enumerate(arms, 1)]
    return plots.gold_against_kl(rounds)


plots.show(path_figure())

# %%
compare("reward", evaluation.verdict(evaluation.compare(seen[3], seen[1], "reward"), "up", "down"))
compare("rounds", evaluation.verdict(evaluation.compare(seen[3], seen[1], "gold"), "up", "down"))

# %% [markdown]
# **Why?** If you said "up" twice, you let gold follow the reward. The two part where the reward model is
# wrong.
#
# In notebook 03 best-of-n lost gold somewhere beyond n = 16 with this reward model. Suppose round 1
# taught best-of-16 perfectly: the best of 8 such responses is then a best-of-128. One expects fresh
# rounds to follow the reward past the point where gold is highest. Stale rounds see no new response,
# and in replay's mixture most rows are older ones: one expects both to stay nearer to that point. Your
# four comparisons say which of this your run bears out.
#
# Read what that looks like:

# %%
rslib.browse({"round 1": seen[1], "round 3, fresh": seen[3]}, prompts=3)

# %% [markdown]
# The authors of DeepSeekMath report that samples of the newest policy help more than old ones as
# training goes on (Shao et al. 2024, arXiv 2402.03300, section 5.2). Your first comparison tests that in
# *reward*, your second in *gold*.
#
# Look at the entropy as well. The authors of *A Minimalist Approach to LLM Reasoning* report that it
# collapses under training on positive responses alone (Xiong et al. 2025, arXiv 2504.11343). Compare
# the entropy per token of your rounds, and how many responses come twice. A rule that watched these two
# alone stops only where one of them has fallen by half.

# %% [markdown]
# ## On a real model
#
# The same round on a model that people use, with prompts of daily life. Choose a profile, and run this
# cell and the next; of the cells above only the set-up is needed. On `off` they do nothing.
#
# | profile | policy | meant for |
# |---|---|---|
# | `tiny` | the embedded one | any CPU: what the two cells do |
# | `smoke` | SmolLM2, 135 M parameters | does it run here? Twelve prompts prove nothing |
# | `t4` | SmolLM2, 360 M parameters | a T4 in Colab |
# | `gpu` | SmolLM2, 1.7 B parameters | a GPU of 48 GB or more; a second reward model judges |
# | `custom` | yours: folders or hub ids | name both in `CUSTOM`, with any other setting |
#
# The first cell shows licences, downloads and memory, draws one small batch and says how long all of it
# would take here. On a CPU it stops where that is more than half an hour.

# %%
import rslib

PROFILE = "off"  # @param ["off", "tiny", "smoke", "t4", "gpu", "custom"]
CUSTOM = {"policy": "", "reward_model": ""}
if PROFILE != "off":
    card = rslib.profile(PROFILE, **(CUSTOM if PROFILE == "custom" else {}))
    rslib.profiles.ready(card, runs / f"4-{PROFILE}")

# %% [markdown]
# The second cell is the long one. Every finished shard is kept in `runs`: when Colab takes the runtime
# away, run the set-up and these two cells again, and the run goes on. For that `runs` must outlive the
# runtime: `begin("04", student="", drive=True)` puts it on your Drive.

# %%
if PROFILE != "off":
    print(rslib.run(card.config, out=runs / f"4-{PROFILE}"))

# %% [markdown]
# Read it as you read your own: best-of-16 against its random control first, with the interval, then the
# truncation rate and the length. There is no gold here. Without a judge the last lines say so: the reward
# model that selected is then the one that judges, and that flatters. A second reward model, or any
# function of yours, can be held back as `judge=`; it never selects.

# %% [markdown]
# ## What you now know
#
# - Selection is three lines; the care is in the ties, the NaN and the cut responses.
# - A recipe works where it beats a matched random choice on held-out prompts, with an interval. A
#   selection gap proves nothing, and the single best need not beat the four best.
# - Each further round follows the reward model, right or wrong. Write down the stop rule before you
#   look.

# %%
progress()
