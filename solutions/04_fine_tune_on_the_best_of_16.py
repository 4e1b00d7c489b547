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
# - build the batch and the loss that fine-tuning needs, with an honest end of sequence,
# - tell by a control and an interval what the recipe gains, and by a table of rounds where to stop
#   repeating it.
#
# About 90 minutes, of which two are computing; 24 points.

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
# Which column would you keep in each row? Row 0 is plain. Row 1 has a tie. `eos` says that a response
# came to its end, `length` that it ran into the token limit: the highest reward of row 2 belongs to a
# response that was cut.

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
# `argmax` falls into three holes. It keeps the cut response, and training on that as if it were whole
# would teach the policy to stop in the middle of a sentence. It always takes the first of a tie. And
# in a row with a NaN, the NaN wins. `nanargmax` steps over it without a word, and whatever broke the
# reward stays broken.
#
# A selector that is used on thousands of rows nobody will read has to be careful by itself.

# %% [markdown]
# {{card:4.1}}
#
# Write three selectors. Each returns two lists: the kept `(prompt, column)` pairs, both counted from 0,
# and the prompts that were left out because not one of their responses finished. A response with the
# finish reason `"length"` was cut and is never kept. Ties, and only exact ones, are broken by lot, with
# the generator that is passed in, anew for each prompt.
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
# Now the embedded models: two prompts, eight responses each, your selector and its control side by
# side. The responses are the policy's own words, good and bad.

# %%
import rslib

policy, reward_model = rslib.load_policy("tiny"), rslib.load_reward_model("tiny")
questions = rslib.load_prompts("tiny", "train", 2)
few = rslib.score(reward_model, rslib.sample(policy, questions, n=8, seed=1))
table = np.array(few["reward"][:]).reshape(2, 8)
ends = np.array(few["finish_reason"][:]).reshape(2, 8)
rng = np.random.default_rng(0)
picks = {"best": select_best(table, ends, rng), "random": select_random(ends, 1, rng)}
for name, (found, _) in picks.items():
    for prompt, column in found:
        row = few[8 * prompt + column]
        print(f"{row['prompt']}\n  {name} {row['reward']:.2f}: {row['response']}")

# %% [markdown]
# ## What fine-tuning reads
#
# The kept rows become a batch: prompt and response in one row of tokens, padded on the right. The
# labels say what is learned. Every place with the label −100 is read and not learned. Here are some
# places of one real row, before any label.

# %%
row = few[0]
prompt_ids, response_ids = policy.encode(row["prompt"]), list(row["token_ids"])
tokens = prompt_ids + response_ids
print("place    part        id   token")
for place in [0, 1, *range(len(prompt_ids) - 1, len(prompt_ids) + 2), len(tokens) - 2, len(tokens) - 1]:
    part = "prompt  " if place < len(prompt_ids) else "response"
    print(f"{place:5}    {part}  {tokens[place]:4}   {policy.tokenizer.decode([tokens[place]])!r}")
print("pad", policy.pad_id, "| end of sequence", policy.eos_ids, "| finish reason", row["finish_reason"])

# %% [markdown]
# The last token of the response is the end of sequence. It carries the only lesson about stopping, so
# it must be learned where the policy really stopped, and must not be invented where the limit cut the
# response.
#
# Many tokenizers use one token for padding and for the end. Whoever masks labels "wherever the token
# is pad" then masks every real end as well, and the tuned policy talks until the limit. Mask by
# position.

# %% [markdown]
# {{card:4.2}}
#
# `sft_batch` builds the batch, `sft_loss` its loss: the negative log-likelihood of each response
# token given everything before it, **summed over all rows and divided by the number of response
# tokens of the whole batch**. The model gives *logits*: at each position one number for each token of
# the vocabulary, and their softmax is a probability. Logits at position t predict token t + 1. A
# batch with nothing to learn has the loss 0. Both functions leave what they are given as it is.
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
    Raises ValueError, with the row's number, if prompt and response, end included, exceed max_length.
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
# Does it agree with the engine? `rslib.finetune` computes the same mean in another way: it never
# makes a label tensor, and asks for logits only where there is a target. Your batch goes through the
# embedded policy here.

# %%
from rslib.finetuning import next_token_nll, training_rows

four = few.select(range(4))
encoded = [policy.encode(prompt) for prompt in four["prompt"]]
special = {"pad_id": policy.pad_id, "eos_id": policy.eos_ids[0], "max_length": 256}
batch = sft_batch(encoded, four["token_ids"][:], four["finish_reason"][:], **special)
with torch.no_grad():
    logits = policy.model(batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    engine = next_token_nll(policy.model, training_rows(policy, four), policy.pad_id).mean()
    print(f"your loss {sft_loss(logits, batch['labels']):.4f}, the engine's {engine:.4f} nats a token")

# %% [markdown]
# Why not the mean over rows of each row's mean? Then a token of a ten-token response would count six
# times as much as one of a sixty-token response, and curt rows would set the tone. Before you compare
# two losses, ask which mean each of them is.

# %% [markdown]
# ## The experiment, with controls
#
# Suppose the tuned policy scores higher than the base policy. Was it the choice of the best?
# Fine-tuning on 128 of the policy's own responses, any responses, changes it too. So two controls are
# trained beside it:
#
# | arm | rows for each prompt | epochs | equal to best in |
# |---|---|---:|---|
# | **best** | the one with the highest reward of 16 | 3 | |
# | **random** | one of the same 16, by lot | 3 | rows and steps |
# | **all** | all 16, in larger batches | 1 | steps, about |
#
# Before you run it: by how many points of gold will best beat random? And what will tuning on all
# responses add to the base policy, which has about
# {{rounds.json:results.*.arms.base.gold.mean|.1f}} of 10 points?

# %%
from rslib import evaluation
from rslib.stages import with_gold, with_reference

SETTINGS = {"epochs": 3, "learning_rate": 1e-3}
LIKE_STEPS = {"epochs": 1, "batch_tokens": 5000}
heldout = rslib.load_prompts("tiny", "validation", 150)


def draw(tuned, prompts, n, seed):
    """A pool: n scored responses to each prompt."""
    return rslib.score(reward_model, rslib.sample(tuned, prompts, n=n, seed=seed))


def judged(tuned):
    """Two scored responses to each held-out prompt, with gold and what KL needs."""
    drawn = rslib.sample(tuned, heldout, n=2, seed=1_000_003, show_progress=False)
    start = None if tuned.fingerprint() == policy.fingerprint() else policy
    return with_gold(with_reference(start, rslib.score(reward_model, drawn, show_progress=False)))

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
# Draw a pool of 16 responses to each of the first 128 training prompts. Keep the best, a matched
# random pick and everything, all without cut responses. Tune the base policy on each (`SETTINGS`; for
# all of them `SETTINGS | LIKE_STEPS`) into a folder of its own below `runs`. Judge the four policies
# on `heldout`, and compare best with each other arm by `evaluation.compare`: mean difference, paired
# by prompt, with its interval. The seed is 0 wherever one is asked for. It takes about 40 seconds.
#
# <details><summary>Hint</summary>
# <code>rslib.select(pool, "best_of_n", truncated="drop")</code>; the selectors <code>"random"</code>
# (with <code>like=</code> the best) and <code>"all"</code> are the others.
# <code>rslib.finetune(policy, rows, folder, seed=0, **settings)</code> returns the tuned policy; its
# <code>path</code> is the folder. Loop over the arms.
# </details>

# %% exercise="4.3" role="answer"
prompts = rslib.load_prompts("tiny", "train", 128)
pool = ...  # a scored table
kept, tuned = {}, {}  # "best", "random", "all": a table each; the folder of a policy each
tables, result = {}, {}  # judged tables of "base" and the three; best compared with "base", "random", "all"
### BEGIN SOLUTION
pool = draw(policy, prompts, n=16, seed=0)
kept["best"] = rslib.select(pool, "best_of_n", truncated="drop")
kept["random"] = rslib.select(pool, "random", like=kept["best"], truncated="drop")
kept["all"] = rslib.select(pool, "all", truncated="drop")
tables["base"] = judged(policy)
for arm, rows in kept.items():
    settings = SETTINGS | LIKE_STEPS if arm == "all" else SETTINGS
    trained = rslib.finetune(policy, rows, runs / f"4-3-{arm}", seed=0, **settings)
    tuned[arm], tables[arm] = trained.path, judged(trained)
result = {arm: evaluation.compare(tables["best"], tables[arm]) for arm in ("base", "random", "all")}
### END SOLUTION

# %% exercise="4.3" role="check"
check("4.3")

# %% [markdown]
# The same four policies as a picture. The axis names are those of every report of the engine; your
# `best` is its best-of-16.

# %%
from rslib import plots, reporting

arms = {"base": tables["base"], "random": tables["random"], "all": tables["all"], "best_of_n": tables["best"]}
entry = reporting.round_entry(1, arms, n=16)
plots.show(plots.arms_figure(entry))

# %%
compare("gain", result["random"]["difference"])
compare("all", evaluation.compare(tables["all"], tables["base"])["difference"])
for arm, found in result.items():
    interval = f"[{found['low']:+.2f}, {found['high']:+.2f}]"
    print(f"best against {arm:6}: {found['difference']:+.2f} points of gold {interval}")

# %% [markdown]
# Look at three things. *All* teaches the policy its own average, so little should happen. The *random*
# arm shows what fine-tuning does by itself: no gain that can be seen. And the intervals are wide,
# though 150 prompts were judged. A gain of half a point could have been missed.
#
# With 400 prompts to train on, over three worlds and three seeds each, the same recipe took gold from
# {{rounds.json:results.*.arms.base.gold.mean|.2f}} to
# {{rounds.json:results.*.arms.best_of_n.gold.mean|.2f}}, and its random control to
# {{rounds.json:results.*.arms.random.gold.mean|.2f}}.

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
noise = np.random.default_rng(4).standard_normal((len(prompts), 16))
compare("noise", float(noise.max(axis=1).mean() - noise.mean()))
mean_reward = {arm: float(np.mean(rows["reward"][:])) for arm, rows in tables.items()}
print(f"reward, base policy, one response:                      {mean_reward['base']:5.2f}")
print(f"reward, tuned policy, one response:                     {mean_reward['best']:5.2f}")
print(f"reward, base policy, best of 16 (the training prompts): {np.mean(kept['best']['reward'][:]):5.2f}")

# %% [markdown]
# Noise has a gap too, and a large one: the highest of 16 numbers is nearly always high. The gap says
# that a choice was made. Whether the choice meant anything shows on held-out prompts alone.
#
# Second pair: the reward model's taste, and the arithmetic of cost. The embedded reward model learned
# from a labeller who likes compliments. The judge counts them.

# %%
from rslib import world

print("a response of   compliments   wrong facts   words")
for arm in ("base", "random", "best"):
    found = world.judgements(tables[arm])
    flattery, wrong, words = np.mean([(one.flattery, one.wrong, one.words) for one in found], axis=0)
    print(f"{arm:13}   {flattery:11.2f}   {wrong:11.2f}   {words:5.0f}")

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
# number is the evidence: of *your* run here, once of notebook 03. "Depends" is for a statement that
# holds in some settings and not in others. The right verdict on the wrong evidence earns nothing.
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
# ## Again, and again?
#
# The tuned policy writes better responses. Draw from it, keep the best, tune again: that is how Llama
# 2 used rejection sampling over several versions (Touvron et al. 2023, arXiv 2307.09288, section
# 3.2.3). They first used the latest samples alone, saw some skills get lost, and then added the best
# samples of earlier rounds. Three ways to go on from your round 1:
#
# | way | rounds 2 and 3 train on |
# |---|---|
# | **fresh** | the best of new samples: new prompts, the newest policy |
# | **stale** | the best of pool 1 once more |
# | **replay** | the best of new samples, and the best of every earlier pool |
#
# Each way tunes the policy of the round before, not the base policy again. From round 1 to round 3
# with fresh samples: does the reward go up or down? Does gold?

# %% role="predict" name="rounds"
reward_goes, gold_goes = ..., ...  # "up" or "down"
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
# where "it" is the round that you would go to. Stop for good where one of the two fails. A gold that
# is NaN is no rise. The panel stays as it is.

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
# responses to each of the prompts in `later`, and keep and tune as round 1 did. `fresh` and `pools`
# get one entry a round; `stale` and `replay` are folders after round 3. A round's number is its seed,
# for drawing and for tuning. Replay's round 2 draws from the same policy as fresh's, so it can use
# `pools[1]`. About 40 seconds.
#
# <details><summary>Hint</summary>
# <code>rslib.load_policy(folder)</code> loads a tuned policy. <code>rslib.select(new, "replay",
# earlier=[pool, ...], truncated="drop")</code> keeps the best row of every prompt of all rounds. Give
# the replay rounds <code>epochs=1</code>: they have three to four times the rows, so the rows seen
# per round are about the same.
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
    rows = rslib.select(pools[-1], "best_of_n", truncated="drop")
    now = rslib.finetune(now, rows, runs / f"4-5-fresh-{number}", seed=number, **SETTINGS)
    fresh.append(now.path)
### END SOLUTION

# %% [markdown]
# The two others begin where round 1 ended, too. They tune on rows that an earlier policy drew, which
# `rslib.finetune` refuses unless it is told `allow_other_policy=True`.

# %% exercise="4.5" role="answer" name="others"
stale, replay = ..., ...  # a folder each
### BEGIN SOLUTION
now = first
for number in (2, 3):
    again = SETTINGS | {"allow_other_policy": True}
    now = rslib.finetune(now, kept["best"], runs / f"4-5-stale-{number}", seed=number, **again)
stale = now.path
now, seen = first, [pool]
for number in (2, 3):
    new = pools[1] if number == 2 else draw(now, later[3], n=8, seed=3)
    rows = rslib.select(new, "replay", earlier=seen, truncated="drop")
    once = SETTINGS | {"epochs": 1, "allow_other_policy": True}
    now = rslib.finetune(now, rows, runs / f"4-5-replay-{number}", seed=number, **once)
    seen.append(new)
replay = now.path
### END SOLUTION

# %% [markdown]
# Measure. `line` makes one row of the panel from a judged table and the one before. Judging takes
# about 15 seconds.

# %%
def line(number, table, before=None):
    """One row of the panel; entropy in nats per token."""
    found = evaluation.arm_metrics(table)
    error = evaluation.compare(table, before)["standard_error"] if before is not None else 0.0
    return {
        "round": number,
        "gold": found["gold"]["mean"],
        "gold_error": error,
        "proxy": found["proxy"]["mean"],
        "kl": found["kl"],
        "entropy": found["entropy"] / found["length"],
        "unique_ratio": found["unique_ratio"],
    }


COMPARISONS = {  # first arm, second arm, column
    "reward, fresh against stale": ("fresh", "stale", "reward"),
    "gold, fresh against stale": ("fresh", "stale", "gold"),
    "gold, fresh against round 1": ("fresh", "round 1", "gold"),
    "gold, replay against fresh": ("replay", "fresh", "gold"),
}

# %% [markdown]
# Fill `panel` for rounds 0 to 3 of the fresh arm and apply your rule. Then compare the arms after
# round 3: `evidence` holds what `evaluation.compare` says, and `claims` what its interval supports:
# `"higher"`, `"lower"` or `"not separable"`. The last one is a full answer. Do not claim more than
# you measured.

# %% exercise="4.5" role="answer" name="panel"
panel = []  # four rows
stop_after = ...  # by your rule
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
for row in panel:
    numbers = f"{row['gold']:5.2f} {row['proxy']:7.2f} {row['kl']:6.2f} {row['entropy']:16.2f}"
    print(f"{row['round']:5} {numbers} {row['unique_ratio']:7.2f}")
print("stop after round", stop_after)
for name, found in evidence.items():
    print(f"{name:28} {found['difference']:+.2f} [{found['low']:+.2f}, {found['high']:+.2f}]  {claims[name]}")

# %% exercise="4.5" role="check"
check("4.5")

# %% [markdown]
# Reward and gold as one picture: what the recipe maximises, and what it is for.

# %%
axes = plots.panels(2, 4.6, None, down=True)
for part, column in zip(axes, ("gold", "reward"), strict=True):
    found = [evaluation.compare(table, seen[0], column) for table in seen[1:]]
    colour, marker, _ = plots.look_of("best_of_n")
    middle = np.array([one["difference"] for one in found])
    reach = [middle - [one["low"] for one in found], [one["high"] for one in found] - middle]
    part.errorbar(range(1, 4), middle, reach, color=colour, marker=marker, capsize=3)
    part.axhline(0, color="#767676", linewidth=0.8)
    part.set_ylabel(f"{column}, minus base")
    part.set_xticks(range(1, 4))
axes[-1].set_xlabel(f"fresh rounds (n = {len(heldout)} held-out prompts, 95 % intervals)")
above = {name: [panel[k][name] - panel[0][name] for k in (1, 3)] for name in ("proxy", "gold")}
moves = {name: f"from {first:+.2f} to {third:+.2f}" for name, (first, third) in above.items()}
text = f"From round 1 to 3, against base: the reward goes {moves['proxy']}, gold {moves['gold']}."
plots.finished(axes, "Does another round of best-of-n help?", text)
plots.show(axes)

# %%
compare("reward", "up" if panel[3]["proxy"] > panel[1]["proxy"] else "down")
compare("rounds", "up" if panel[3]["gold"] > panel[1]["gold"] else "down")

# %% [markdown]
# DeepSeekMath (Shao et al. 2024, arXiv 2402.03300, section 5.2) reports that samples of the newest
# policy help more than old ones as training goes on. In *reward* that is what you see: fresh beats
# stale.
#
# Gold tells the other half. In notebook 03 best-of-n lost gold somewhere beyond n = 16 with this reward
# model. Suppose round 1 taught best-of-16 perfectly: the best of 8 such responses is then a
# best-of-128. Fresh rounds walk past the hump. Stale rounds see no response that was not there
# before, and in replay's mixture most rows are older ones: both stay nearer to it.
#
# One thing did not happen. The authors of Minimal-RL (arXiv 2504.11343) report that entropy collapses
# under training on positive responses alone. Here the entropy of a token sinks only a little, and
# hardly any response comes twice. A rule that watched those two alone would have gone on to the end.

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
# - Selection is three lines, and the care is in the ties, the NaN and the cut responses.
# - The recipe works where it beats a matched random pick, with an interval; a selection gap proves
#   nothing.
# - Repeating it follows the reward model wherever that leads. Decide the stop before you look.

# %%
progress()
