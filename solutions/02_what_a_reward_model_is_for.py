# %% [markdown]
# # 02 · What a reward model is for
#
# About 60 minutes, 15 points. At the end you will be able to
#
# - put a reward model to its most direct use, and say which weights change;
# - write the loss that reward models are trained with, and the accuracy that they are trusted for;
# - find out which of four reward models may be used, with three probes.

# %% role="setup" gpu="The same call on a real model"

# %% [markdown]
# ## A team, two models
#
# A team owns a **policy** that answers questions about rice, tents and locks, and a **reward model** that
# they trust. They want a policy that people like better. They have a script for ordinary fine-tuning, and
# no wish to build anything more complicated. What should they do with the reward model?
#
# Look at what they own first. Both are transformers of the same size. They differ in the last layer.

# %%
import numpy as np
import torch

import rslib

policy = rslib.load_policy("tiny")
reward_model = rslib.load_reward_model("tiny")
print("policy:      ", policy.model.get_output_embeddings().out_features, "numbers, one for each token")
print("reward model:", reward_model.model.score.out_features, "number, for a prompt with its response")

# %% [markdown]
# One number. This model cannot write a word of a response, improve one, or say what is wrong with it. It
# can only be asked about a response that exists. So the policy has to write several. Here are the rewards
# of three prompts with four responses each, made up so that you can work by hand.
#
# | prompt | response 0 | 1 | 2 | 3 |
# |---|---|---|---|---|
# | How do I cook plain rice? | -1 | **2** | 0 | 1 |
# | How do I pitch a tent? | -3 | **-2** | -4 | -3 |
# | How do I fix a sticking lock? | 0 | 0 | **3** | -1 |
#
# Keep the best of each row. How far above the mean of all twelve is the mean of the three that were kept?
# That difference is the **selection gap**.

# %% role="predict" name="gap_by_hand"
gap = ...  # a number
### BEGIN SOLUTION
gap = 1.67
### END SOLUTION
predict("gap_by_hand", gap)

# %%
rewards = np.array([[-1, 2, 0, 1], [-3, -2, -4, -3], [0, 0, 3, -1]])
compare("gap_by_hand", float(rewards.max(axis=1).mean() - rewards.mean()))
for name, changed in (("as they are", rewards), ("plus 100", rewards + 100), ("times 10", rewards * 10)):
    print(f"{name:12}  kept per prompt: {changed.argmax(axis=1)}")

# %% [markdown]
# The tent's best response has reward -2 and is kept all the same. Add 100 to every reward, or multiply by
# 10: the same three responses stay. Only the **order within a prompt** is used. A reward of -2 is neither
# bad nor good by itself, because a reward has no zero. If you guessed 2 or more, you may have taken the
# three highest rewards of all twelve, or the highest reward itself: the gap compares two means.
#
# ## Which weights change?
#
# Now the real thing, small: 96 prompts, 16 responses each, the best one kept, one fine-tuning with the
# ordinary loss. Before it runs, commit yourself: whose weights will be different afterwards? Write
# `"policy"`, `"reward model"`, `"both"` or `"neither"`.

# %% role="predict" name="changed"
changed = ...  # one of the four
### BEGIN SOLUTION
changed = "policy"
### END SOLUTION
predict("changed", changed)

# %%
# About 20 seconds on two quiet cores.
before = policy.fingerprint()[:8], reward_model.fingerprint()[:8]
prompts = rslib.load_prompts("tiny", split="train", limit=96)
scored = rslib.score(reward_model, rslib.sample(policy, prompts, n=16, seed=2))
kept = rslib.select(scored, "best_of_n")
tuned = rslib.finetune(policy, kept, out=runs / "tuned")
after = tuned.fingerprint()[:8], reward_model.fingerprint()[:8]
print(f"drawn {len(scored)}, kept {len(kept)}")
moved = []
print("model         before    after")
for name, old, new in zip(("policy", "reward model"), before, after, strict=True):
    print(f"{name:12}  {old}  {new}  {'changed' if old != new else 'the same to the last digit'}")
    moved += [name] if old != new else []
compare("changed", " and ".join(moved))

# %% [markdown]
# The reward model was asked 1,536 times and learned nothing from it. Its answers decided which 96 rows were
# kept, the rows went into the ordinary next-token loss, and the loss changed the policy. If you wrote
# "both" or "reward model", ask which weights an optimiser was given: only those can change.
#
# Now switch the reward model off. Nobody scores anything from here on, and each prompt gets responses as a
# user would get them. A program that knows every fact of this small world judges them: the **gold** score,
# at most 10. On held-out prompts the base policy has about
# {{rounds.json:results.*.arms.base.gold.mean|.1f}} on average. How many points will the tuned
# one have gained?

# %% role="predict" name="gain_in_gold"
gain = ...  # points
### BEGIN SOLUTION
gain = 1.0
### END SOLUTION
predict("gain_in_gold", gain)

# %%
# About 5 seconds.
from rslib.theory import bootstrap_interval
from rslib.world.gold import gold_scores

heldout = rslib.load_prompts("tiny", split="validation", limit=150)
gold = {}
for name, arm in (("base", policy), ("tuned", tuned)):
    gold[name] = gold_scores(rslib.sample(arm, heldout, n=2, seed=3)).reshape(-1, 2).mean(axis=1)
gold["difference"] = gold["tuned"] - gold["base"]
print(f"mean gold [95 % interval], {len(heldout)} prompts")
for name, values in gold.items():
    low, high = bootstrap_interval(values)
    print(f"{name:10}  {values.mean():6.2f}  [{low:.2f}, {high:.2f}]")
compare("gain_in_gold", float(gold["difference"].mean()))
difference = {"mean": values.mean(), "low": low, "high": high}
print(rslib.evaluation.claim(difference, "The tuned policy", "the base policy"))

# %% [markdown]
# Read the printed sentence: a single response, drawn without the reward model. What the choice taught is
# now in the weights. With 400 prompts, over three worlds and three seeds each, gold went from
# {{rounds.json:results.*.arms.base.gold.mean|.2f}} to
# {{rounds.json:results.*.arms.best_of_n.gold.mean|.2f}}. With the same number of rows picked at random it
# was
# {{rounds.json:results.*.arms.random.gold.mean|.2f}}.
#
# ## Six teams
#
# Six teams had the same two models. The exhibits are pages of their logs, made up for you.
#
# **Exhibit 1.** After a run of 400 prompts.
#
# | policy, before, after | reward model, before, after | selection gap | KL to the base | change in gold |
# |---|---|---|---|---|
# | `4be1c7` `4be1c7` | `90c7aa` `d2a41f` | 2.31 | 0 | 0.00 |
#
# **Exhibit 2.** After another one.
#
# | prompts | rows drawn | mean reward of these | rows fine-tuned on | mean reward of those |
# |---|---|---|---|---|
# | 400 | 6,400 | -0.4173 | 6,400 | -0.4173 |

# %% [markdown]
# **Exhibit 3.** Two products, since their launch.
#
# | product | responses to a request | reward model | hash of the policy |
# |---|---|---|---|
# | Oak | 1 | off | not the base's |
# | Elm | 16, the best sent | on | the base's |
#
# **Exhibit 4.** A sketch on a whiteboard.
#
# ```
# prompts -> policy -> responses -> reward model -> rewards
#               ^          |                           |
#               |          +-------> select <----------+
#               |                      |
#               +--- fine-tune <-- kept rows
# ```
#
# **Exhibit 5.** The rewards of four responses to *How do I fix a sticking lock?*
#
# | response 1 | response 2 | response 3 | response 4 |
# |---|---|---|---|
# | -3.1 | -2.4 | -4.0 | -2.9 |

# %% [markdown]
# {{card:2.1}}
#
# Each question takes an answer and the reason for it. Write a letter and a digit, such as `"B2"`. A right
# answer for a wrong reason earns nothing.
#
# <details><summary>Hint</summary>Ask three things of each team. What was left out? Whose weights did an
# optimiser touch? What is still there when the reward model is switched off?</details>

# %%
sheet = given("2.1")
sheet

# %% exercise="2.1" role="answer"
answers = {"a": "", "b": "", "c": "", "d": "", "e": "", "f": ""}
### BEGIN SOLUTION
chosen = {
    "a": ("Draw several responses to each prompt, keep", "A choice among"),
    "b": ("The optimiser was", "The policy has"),
    "c": ("To leave responses", "As many rows"),
    "d": ("Oak's, and not", "One team's choice"),
    "e": ("The choice of", "Multiply every reward"),
    "f": ("Response 2, and", "The order of"),
}
answers = sheet.labels(chosen)
### END SOLUTION
answers

# %% exercise="2.1" role="check"
check("2.1")

# %% [markdown]
# ## Where the number comes from
#
# Nobody can say that a response about rice is worth 2.3. But show people two responses and they can say
# which one they like better. Bradley and Terry (1952) turned such comparisons into numbers: give each
# response a reward $r$, and let the first be preferred with probability
#
# $$P = \sigma(r_1 - r_2) = \frac{1}{1 + e^{-(r_1 - r_2)}}.$$
#
# With rewards 1 and 0 that is 0.73. What is it with rewards 101 and 100?

# %% role="predict" name="101_against_100"
probability = ...  # between 0 and 1
### BEGIN SOLUTION
probability = 0.73
### END SOLUTION
predict("101_against_100", probability)

# %%
print("chosen  rejected  P(chosen is preferred)")
for first, second in ((0.0, 0.0), (1.0, 0.0), (3.0, 0.0), (0.0, 3.0), (101.0, 100.0)):
    print(f"{first:6.0f}  {second:8.0f}  {1 / (1 + np.exp(second - first)):.3f}")
compare("101_against_100", float(1 / (1 + np.exp(100.0 - 101.0))))

# %% [markdown]
# The same 0.73: only the difference of two rewards counts, and comparisons say nothing about a zero. A
# guess near 1 took the size of the rewards for their difference. Exhibit 5 holds four negative rewards;
# they are as good as any others.
#
# Training makes the comparisons that were seen likely. For each pair, the loss is minus the logarithm of
# the probability that the model gave to what people chose. It is small where the chosen response has the
# higher reward, log 2 for a tie, and it grows with the difference where the order is wrong.

# %% [markdown]
# {{card:2.2}}
#
# Write the loss, then the number by which people decide whether to trust the result. Both see pairs: entry
# k of `chosen` belongs to entry k of `rejected`.
#
# <details><summary>Hint</summary>In float32 the sigmoid of -300 is exactly 0. `torch.nn.functional` has the
# logarithm of the sigmoid as one function, and softplus as another. For the accuracy, NaN is the only
# number that does not equal itself.</details>


# %% exercise="2.2" role="answer"
def bt_loss(chosen: torch.Tensor, rejected: torch.Tensor) -> torch.Tensor:
    """The Bradley-Terry loss of a batch in nats: one number, the mean over its pairs.

    Finite for any finite rewards, also where they differ by hundreds, and with a gradient to train on.
    Raises ValueError when the shapes differ or there are no pairs.
    """
    ### BEGIN SOLUTION
    if chosen.shape != rejected.shape or chosen.numel() == 0:
        raise ValueError(f"shapes {tuple(chosen.shape)} and {tuple(rejected.shape)} are no batch of pairs")
    return torch.nn.functional.softplus(rejected - chosen).mean()
    ### END SOLUTION


# %% exercise="2.2" role="answer" name="b"
def pair_accuracy(chosen: np.ndarray, rejected: np.ndarray) -> float:
    """The share of pairs whose chosen response has the higher reward; equal rewards count one half.

    Raises ValueError when a reward is NaN or there are no pairs.
    """
    ### BEGIN SOLUTION
    if len(chosen) == 0 or np.isnan(chosen).any() or np.isnan(rejected).any():
        raise ValueError("there are no pairs, or a reward is NaN")
    return float(np.mean((chosen > rejected) + 0.5 * (chosen == rejected)))
    ### END SOLUTION


# %% exercise="2.2" role="check"
check("2.2")

# %% [markdown]
# ## Comparisons that no model has seen
#
# A reward model is trusted for pairs that it was not trained on. The next cell makes such a table: 80
# prompts of the validation split, 8 responses each, and the gold score in the place of people. Two
# responses to one prompt are a *clear pair* where gold differs by at least 3.

# %%
# About 5 seconds.
N = 8
drawn = rslib.sample(policy, rslib.load_prompts("tiny", split="validation", limit=80), n=N, seed=4)
gold = gold_scores(drawn).tolist()
rows = range(len(gold))
table = {
    "n": N,
    "prompt": drawn["prompt"][:],
    "response": drawn["response"][:],
    "finished": [reason == "eos" for reason in drawn["finish_reason"][:]],
    "gold": gold,
    "pairs": [(i, j) for i in rows for j in rows[i - i % N : i - i % N + N] if gold[i] - gold[j] >= 3],
}
print(f"{len(gold)} responses, {len(table['pairs'])} clear pairs. The first clear pair, chosen and rejected:")
rslib.browse(drawn.select(table["pairs"][0]), title="A clear pair")

# %% [markdown]
# Bradley-Terry says more than an order. The further apart two rewards are, the more probable is the choice
# of the higher one. So a good reward model should be right more often where people see a large difference.
# Where gold differs by less than one point, what share of pairs will `tiny` order as gold does?
#
# The next cell asks your own `pair_accuracy`, prompt by prompt.

# %% role="predict" name="close_pairs"
close = ...  # a share
### BEGIN SOLUTION
close = 0.6
### END SOLUTION
predict("close_pairs", close)

# %%
# About 3 seconds.
scored = rslib.score(reward_model, drawn)
reward_by_prompt, gold_by_prompt = np.reshape(scored["reward"][:], (-1, N)), np.reshape(gold, (-1, N))
apart = gold_by_prompt[:, :, None] - gold_by_prompt[:, None, :]
bins = [(0, 1), (1, 3), (3, 5), (5, 8), (8, 20)]
points = []
for low, high in bins:
    shares = []
    for rewards_of, gaps in zip(reward_by_prompt, apart, strict=True):
        chosen_rows, rejected_rows = np.nonzero((gaps > low) & (gaps <= high))
        if len(chosen_rows):
            shares.append(float(pair_accuracy(rewards_of[chosen_rows], rewards_of[rejected_rows])))
    points.append((float(np.mean(shares)), *bootstrap_interval(shares)))
compare("close_pairs", points[0][0])

# %%
[panel] = rslib.plots.panels(1, 3.4, None)
middle, low, high = np.array(points).T
positions = np.arange(len(bins))
panel.errorbar(positions, middle, yerr=[middle - low, high - middle], fmt="D", color="#1c5a9c", capsize=3)
panel.axhline(0.5, color="#767676", linestyle="--")
panel.text(positions[-1] + 0.2, 0.51, "a coin", ha="right", color="#767676")
panel.set_xticks(positions, [f"{a} to {b}" for a, b in bins])
panel.set_xlabel("difference in gold of the two responses")
panel.set_ylabel(f"share ordered as gold does, n = {len(apart)} prompts")
panel.set_title("Is tiny right more often where gold differs more?", loc="left")
rslib.plots.show(
    panel,
    f"The share of pairs that tiny orders as gold does goes from {middle[0]:.2f} for differences up to 1 to "
    f"{middle[-1]:.2f} for differences above 8; bars are 95 % intervals over {len(apart)} prompts.",
)

# %% [markdown]
# Read the first point and its interval against the dashed line: where people themselves would hesitate, a
# reward model has little to go by. If your guess was higher, you may have had the accuracy over all pairs
# in mind. An accuracy means nothing without the pairs that it was measured on. From here on, only clear
# pairs count.
#
# ## An accuracy is not enough
#
# Two questions stay open after a good accuracy. Does the model read the **prompt** at all? And does it
# reward **length**? For the first, show each response under the prompt of another one. Here are the rewards
# of four responses, under their own prompt and under a foreign one.
#
# | | response 0 | 1 | 2 | 3 |
# |---|---|---|---|---|
# | own prompt | 2 | 1 | 0 | 3 |
# | foreign prompt | 1 | 1 | 0 | 0 |
#
# The mean fall, divided by the standard deviation of the rewards under their own prompts (1.12), is the
# **prompt drop**. Work it out.

# %% role="predict" name="drop_by_hand"
drop = ...  # a number
### BEGIN SOLUTION
drop = 0.89
### END SOLUTION
predict("drop_by_hand", drop)

# %%
compare("drop_by_hand", float((1 + 0 + 0 + 3) / 4 / np.std([2, 1, 0, 3])))
_panel = rslib.plots.length_against_reward(scored)
_panel.set_ylabel("reward by tiny")
rslib.plots.show(_panel)

# %% [markdown]
# If you got 1, you left out the unit: rewards have none, so the fall is divided by their standard
# deviation.
#
# The figure asks the second question of `tiny`: does the reward rise with length? In this world an
# additional word is worth nothing by itself, and within a prompt the slope of gold on length is close to 0.
# So what you see is a taste of the people who labelled the comparisons, and the reward model has learned it
# too.
#
# A reward model need not be perfect to be of use, but it must be judged by more than one number. Your turn:
# four reward models without names.

# %%
models = given("2.3")
for letter, model in models.items():
    two = ["Rinse the rice until the water is clear.", "Ugh, fine."]
    fact, grumble = model(["How do I cook plain rice?"] * 2, two)
    print(f"{letter}  a fact: {fact:6.2f}  a grumble: {grumble:6.2f}")

# %% [markdown]
# {{card:2.3}}
#
# `models["A"](prompts, responses)` gives an array of rewards. Write `probe`, run it on all four with your
# table, and give a verdict on each.
#
# | verdict | what the probes show |
# |---|---|
# | `"use"` | it orders most clear pairs as gold does, and its reward falls under a foreign prompt |
# | `"blind"` | not one reward changes under a foreign prompt, to the last digits |
# | `"length"` | it rewards length, and little else |
# | `"swapped"` | it prefers the response with the lower gold |
# | `"noise"` | its order has nothing to do with gold, nor with length |

# %% [markdown]
# The check runs your `probe` on made-up rewards, measures your numbers again, and draws 40 prompts that you
# have not seen (about 10 seconds). A verdict without its numbers earns nothing.
#
# <details><summary>Hint</summary>Rows stand in blocks of `n` with one prompt, so move the prompts by a
# whole block. For the slope, reshape words and rewards to (prompts, n), take each prompt's mean off both,
# then divide the sum of products by the sum of squared words. An untrained reward model also reacts to the
# prompt, but at random: look at its accuracy, not at its drop.</details>


# %% exercise="2.3" role="answer"
def probe(score, table: dict) -> dict[str, float]:
    """Three probes of `score(prompts, responses) -> rewards` on a table with n rows a prompt, in order.

    pair_accuracy: share of table["pairs"], (chosen row, rejected row), in the right order; a tie is a half.
    prompt_drop: mean fall of the reward when each response stands under another prompt of the table, in
    standard deviations of the rewards. length_slope: what ten more words pay within a prompt, in that unit;
    words are split at blanks, and one slope holds for all prompts.
    Where all rewards are equal: 0.5, 0 and 0. Where all responses are equally long, the slope is 0.
    """
    ### BEGIN SOLUTION
    prompts, n = list(table["prompt"]), table["n"]
    rewards = np.asarray(score(prompts, table["response"]))
    foreign = np.asarray(score(prompts[n:] + prompts[:n], table["response"]))
    spread = rewards.std() or 1.0
    chosen, rejected = rewards[np.array(table["pairs"])].T
    words = np.reshape([len(text.split()) for text in table["response"]], (-1, n))
    words, within = (a - a.mean(axis=1, keepdims=True) for a in (words, rewards.reshape(-1, n)))
    slope = (words * within).sum() / ((words**2).sum() or 1.0)
    return {
        "pair_accuracy": float(np.mean((chosen > rejected) + 0.5 * (chosen == rejected))),
        "prompt_drop": float((rewards - foreign).mean() / spread),
        "length_slope": float(10 * slope / spread),
    }
    ### END SOLUTION


# %% [markdown]
# Before you run it: of your four, how many have a pair accuracy above 0.65? And how many of those would you
# use?

# %% role="predict" name="accurate"
accurate = ...  # 0 to 4
### BEGIN SOLUTION
accurate = 2
### END SOLUTION
predict("accurate", accurate)

# %% exercise="2.3" role="answer" name="b"
# About 15 seconds.
probes = {}  # for each letter what `probe` returns
### BEGIN SOLUTION
probes = {letter: probe(score, table) for letter, score in models.items()}
### END SOLUTION

# %%
for letter, numbers in probes.items():
    print(letter, "  ".join(f"{name} {value:6.3f}" for name, value in numbers.items()))
compare("accurate", sum(numbers["pair_accuracy"] > 0.65 for numbers in probes.values()))

# %% [markdown]
# Read it row by row. Which numbers could a coin have given? Which could only come from a model that was
# never shown the prompt? If you expected every accurate model to be usable, compare the drops of those
# whose accuracy is high.

# %% exercise="2.3" role="answer" name="c"
verdicts = {"A": "", "B": "", "C": "", "D": ""}
### BEGIN SOLUTION
for letter, measured in probes.items():
    if measured["pair_accuracy"] < 0.4:
        verdicts[letter] = "swapped"
    elif abs(measured["prompt_drop"]) < 1e-6:
        verdicts[letter] = "blind"
    elif measured["length_slope"] > 0.5:
        verdicts[letter] = "length"
    else:
        verdicts[letter] = "use" if measured["pair_accuracy"] > 0.65 else "noise"
### END SOLUTION
verdicts

# %% exercise="2.3" role="check"
check("2.3")

# %% [markdown]
# One of your four was shown an empty prompt every time. Its weights are, to the last digit, those of
# another one of the four, which may be used. Its accuracy alone would have let it pass: much of what people
# like about a response shows without the prompt. Whether the response is about rice does not.
#
# Does that matter? Let each of the four choose the best of 8 from your table, and see the gold of what they
# choose. Which letter will win?

# %% role="predict" name="best_chooser"
best = ...  # a letter
### BEGIN SOLUTION
best = max(probes, key=lambda letter: probes[letter]["pair_accuracy"])
### END SOLUTION
predict("best_chooser", best)

# %%
gains = {}
for letter, score in models.items():
    best_rows = score(table["prompt"], table["response"]).reshape(-1, N).argmax(axis=1)
    gain = gold_by_prompt[np.arange(len(best_rows)), best_rows] - gold_by_prompt.mean(axis=1)
    gains[letter] = (float(gain.mean()), *bootstrap_interval(gain))
compare("best_chooser", max(gains, key=lambda letter: gains[letter][0]))
[panel] = rslib.plots.panels(1, 3.2, None)
middle, low, high = np.array(list(gains.values())).T
panel.errorbar(range(4), middle, yerr=[middle - low, high - middle], fmt="D", color="#1c5a9c", capsize=3)
panel.axhline(0, color="#767676", linestyle="--")
panel.text(3.3, 0.1, "a random response", ha="right", color="#767676")
panel.set_xticks(range(4), list(gains))
panel.set_xlim(-0.4, 3.4)
panel.set_ylabel(f"gain in gold, n = {len(gold_by_prompt)} prompts")
panel.set_title("What does best-of-8 gain with each reward model?", loc="left")
listed = ", ".join(f"{k} {v[0]:+.1f} [{v[1]:+.1f}, {v[2]:+.1f}]" for k, v in gains.items())
rslib.plots.show(panel, f"Mean gain in gold of best-of-8, with 95 % intervals: {listed}.")

# %%
def _gold_of_choice(letter):
    """Gold of the response that a reward model chooses for each prompt."""
    rows = models[letter](table["prompt"], table["response"]).reshape(-1, N).argmax(axis=1)
    return gold_by_prompt[np.arange(len(rows)), rows]


for first in models:
    for second in (letter for letter in models if letter > first):
        gap = _gold_of_choice(first) - _gold_of_choice(second)
        low, high = bootstrap_interval(gap)
        print(rslib.evaluation.claim({"mean": gap.mean(), "low": low, "high": high}, first, second))

# %% [markdown]
# Find the blind one and its twin in this list. A pleasant manner raises gold whatever was asked, so the
# blind one gains too, and gold on 80 prompts may or may not separate the two. The prompt drop told them
# apart without any gold. Outside of this small world there is no gold, and the probes are all that you
# have.
#
# A reward model that you may use still has a limit: chosen among hundreds of responses, its taste for
# length and compliments may win. Notebook 03 looks for that point.
#
# ## How much evidence?
#
# Comparisons cost money. Three pairs, all three in the right order: an accuracy of 1. Would you let that
# model choose your training data? A gate should ask how low the accuracy could be.

# %% [markdown]
# {{card:2.4}}
#
# For a share $p$ of $n$ pairs, Wilson's interval has the lower end
#
# $$\frac{p + \frac{z^2}{2n} - z\sqrt{\frac{p(1-p)}{n} + \frac{z^2}{4n^2}}}{1 + \frac{z^2}{n}}$$
#
# with $z = 1.96$.
#
# Write the gate that opens when this end lies above a floor, and count the pairs that open it: any number
# of them, also one of which the accuracy is no whole share.
#
# <details><summary>Hint</summary>For three of three the lower end is 0.44. The lower end rises with n, so
# the second function can try n = 1, 2, 3 and so on.</details>


# %% exercise="2.4" role="answer"
def gate(accuracy: float, pairs: int, floor: float = 0.6) -> tuple[float, bool]:
    """The lower end of Wilson's 95 % interval of an accuracy over so many pairs; is it above `floor`?"""
    ### BEGIN SOLUTION
    z = 1.96
    half = z * np.sqrt(accuracy * (1 - accuracy) / pairs + z**2 / (4 * pairs**2))
    lower = float((accuracy + z**2 / (2 * pairs) - half) / (1 + z**2 / pairs))
    return lower, lower > floor
    ### END SOLUTION


def pairs_needed(accuracy: float, floor: float = 0.6) -> int:
    """The fewest pairs that open the gate at this accuracy. ValueError if it is not above the floor."""
    ### BEGIN SOLUTION
    if accuracy <= floor:
        raise ValueError("no number of pairs shows that")
    pairs = 1
    while not gate(accuracy, pairs, floor)[1]:
        pairs += 1
    return pairs
    ### END SOLUTION


# %% exercise="2.4" role="check"
check("2.4")

# %% [markdown]
# Now your gate decides about your four. Once with all pairs of the table, as if each were independent of
# the others, and once with as many pairs as there are prompts.

# %%
prompts_in_table = len(table["prompt"]) // table["n"]
print("     accuracy   all pairs                  one pair a prompt")
for letter in models:
    share = probes[letter]["pair_accuracy"]
    ends = [gate(share, count) for count in (len(table["pairs"]), prompts_in_table)]
    words = [f"from {low:.2f}: {'open' if is_open else 'closed'}" for low, is_open in ends]
    print(f"{letter}    {share:8.2f}   {words[0]:24}   {words[1]}")

# %% [markdown]
# The formula takes every pair as independent. Your table has hundreds of pairs and only 80 prompts, and
# pairs of one prompt agree with each other. That is why the plots above resample prompts. Count prompts
# when you plan, or the gate opens too early. And look at the blind one: a gate on accuracy alone lets it
# through.
#
# ## The same call on a real model
#
# Put a name between the quotes if you have a GPU, or patience: `Skywork/Skywork-Reward-V2-Qwen3-0.6B` is a
# Bradley-Terry reward model under Apache-2.0. The call is the one that you used for `A` to `D`. Your
# `probe` works with it too, once you have a table of comparisons.

# %%
REAL = ""
if REAL:
    from autograder.handouts.nb02_scorers import Scorer
    from rslib.doctor import PLAIN_PAIR

    prompt, right, wrong = PLAIN_PAIR
    print(prompt, Scorer(rslib.load_reward_model(REAL))([prompt, prompt], [right, wrong]), sep="\n")

# %% [markdown]
# The right response should have the higher reward. On another pair, from its own model card, the pull
# request that added such reward models to SGLang (sgl-project/sglang, 17992) lists 7.875 for the right
# response and 0.945 for the wrong one with transformers. One pair is no gate, as you know now. It does tell
# you that the weights arrived and the template fits.

# %% [markdown]
# ## What you now know
#
# - The most direct use of a reward model is to choose: draw several responses, keep the best, fine-tune the
#   policy on them with the ordinary loss. The reward model's weights stay as they are.
# - It learns from comparisons, so its rewards have an order and differences, and no zero.
# - Accuracy on held-out pairs is the first probe and not the last: ask about the prompt and about length,
#   and ask how many pairs there were.

# %%
progress()
