# %% [markdown]
# # 03 · Best-of-n: what selection buys
#
# You will be able to
# - say what the best of n responses is worth on average, from one pool and without bias
# - put a price on n: how far it moves the responses, what it costs, where it stops paying
# - find the point at which more choice makes responses worse, and choose a temperature
#
# About 75 minutes, 15 points.

# %% role="setup" gpu="The same calls on a real model"

# %% [markdown]
# ## Twelve rewards on one page
#
# Three prompts, four responses each, one reward per response.
#
# | prompt | four rewards | mean | highest |
# |---|---|---|---|
# | cook rice | 4, 1, 2, 3 | 2.5 | 4 |
# | pitch a tent | 0, 0, 5, 1 | 1.5 | 5 |
# | open a lock | 2, 2, 2, 2 | 2 | 2 |
#
# Best-of-1 takes any response of a row, so it is worth the row's mean. Best-of-4 takes the highest. In
# between lies the question of this notebook.
#
# Do the first row with a pencil: draw two of the four responses, keep the better one. What is it worth on
# average?

# %% role="predict" name="rice_best_of_2"
guess = ...  # a number between 2.5 and 4
### BEGIN SOLUTION
guess = 3.0
### END SOLUTION
predict("rice_best_of_2", guess)

# %%
import itertools
import math

import numpy as np

import rslib

rewards = {"cook rice": [4, 1, 2, 3], "pitch a tent": [0, 0, 5, 1], "open a lock": [2, 2, 2, 2]}
pairs = list(itertools.combinations(rewards["cook rice"], 2))
print([f"best of {pair} is {max(pair)}" for pair in pairs])
compare("rice_best_of_2", float(np.mean([max(pair) for pair in pairs])))
for prompt, row in rewards.items():
    means = [np.mean([max(s) for s in itertools.combinations(row, n)]) for n in (1, 2, 3, 4)]
    print(f"{prompt:14}", "  ".join(f"n = {n}: {m:.2f}" for n, m in enumerate(means, start=1)))

# %% [markdown]
# Six pairs, six maxima, one mean. That is the whole definition: **all subsets of n, the best of each, the
# mean of those.**
#
# Look at the three rows. The tent gains most, because one good response hides among poor ones. The lock
# gains nothing at any n: where all rewards are equal there is nothing to select.
#
# Four responses have six pairs. A pool of 128 has more subsets of 64 than there are atoms in your body,
# and nobody lists those. Three short cuts come to mind.
#
# - Take the first n responses and their maximum.
# - Draw n responses from the pool, putting each one back.
# - Sort the pool, and count how often each place is the best of a subset.
#
# Only one of them wastes nothing and is right on average.

# %% [markdown]
# {{card:3.1}}
#
# **Why it matters:** every curve of this notebook, and the figures of many papers, are made of this
# number.
#
# Write `best_of_n_mean(scores, n, values=None)` for the N scores of one prompt: the mean, over all
# subsets of n, of the best score. With `values`, the scores still choose, and the value of what they chose
# is averaged: later the reward will choose, and gold will say what the choice was worth. Where scores tie,
# no response of the tie is preferred, so their values share equally. (`rslib.theory` has this function.
# Write your own; you will meet the engine's afterwards.)
#
# Hidden inputs: pools of 5 to 7 with and without ties, all equal, n = 1, n = N, n > N, an empty pool, NaN,
# lists and arrays, and 2,000 scores, too many for listing their subsets.
#
# <details><summary>Hint</summary>
#
# Sort upwards. The score at rank k (from 1) is the best of a subset if the other n − 1 members come from
# the k − 1 below it. How many such subsets are there, and how many subsets in all? `math.comb` counts
# with whole numbers that cannot overflow. For ties, first replace each value by the mean of its tie.
# </details>


# %% exercise="3.1" role="answer"
def best_of_n_mean(scores, n, values=None):
    """Expected value of the best of n of these N responses, drawn without replacement; a float.

    `scores` choose; `values` are averaged (the scores themselves unless given). Tied scores share equally.
    Leaves its inputs as they are. Raises ValueError unless 1 <= n <= N, and for NaN.

    >>> best_of_n_mean([4, 1, 2], 2)  # the pairs' best are 4, 4 and 2
    3.3333333333333335
    >>> best_of_n_mean([7, 7], 2, values=[0, 10])  # a tie: either may be kept
    5.0
    """
    ### BEGIN SOLUTION
    scores = np.asarray(scores, float)
    values = scores if values is None else np.asarray(values, float)
    size = len(scores)
    if not 1 <= n <= size or np.isnan(scores).any() or np.isnan(values).any():
        raise ValueError(f"n = {n} of {size} scores: n must be 1 .. N, and no score NaN")
    levels, level = np.unique(scores, return_inverse=True)
    shared = np.bincount(level, values) / np.bincount(level)
    subsets = math.comb(size, n)
    weights = [math.comb(k - 1, n - 1) / subsets for k in range(1, size + 1)]
    return float(shared[np.sort(level)] @ weights)
    ### END SOLUTION


# %% exercise="3.1" role="check"
check("3.1")

# %% [markdown]
# The engine's version takes many prompts at once. Both should agree to the last digits.
#
# Then a race of the three short cuts: 2,000 pools of 16 scores from a bell curve, n = 8, where the right
# answer is known. Before you run it: which one is wrong on average, and which one is merely noisy?

# %%
pool_of_12 = np.random.default_rng(0).normal(size=12)
print("yours", best_of_n_mean(pool_of_12, 5), " engine", rslib.theory.best_of_n_estimate(pool_of_12, 5)[0])

rng = np.random.default_rng(1)
pools, n = rng.normal(size=(2000, 16)), 8
truth = rng.normal(size=(200_000, n)).max(axis=1).mean()
ways = {
    "the first n": [p[:n].max() for p in pools],
    "put back": [np.sort(p) @ np.diff((np.arange(17) / 16) ** n) for p in pools],
    "every subset": [best_of_n_mean(p, n) for p in pools],
}
if None in ways["every subset"]:
    print("Write 3.1 first: every subset is your way, and left out until then.")
    del ways["every subset"]
for name, found in ways.items():
    error = np.std(found) / math.sqrt(len(found))
    print(f"{name:13} off by {np.mean(found) - truth:+.3f} ± {2 * error:.3f}, spread {np.std(found):.2f}")

# %% [markdown]
# *Put back* is too low: the same response can be drawn twice, and a repeat is a wasted draw. That is a
# **bias**; more pools do not cure it. *The first n* is right on average, and its spread is larger,
# because half of the pool was paid for and ignored. Counting every subset is right and steadier.

# %% [markdown]
# ## The law of best-of-n
#
# So far we had a pool. Now suppose that we know the policy itself: a few responses, and how probable each
# is. Such a list of probabilities is called a *law*. Best-of-n writes responses too, so it has a law of its
# own, and that can be computed exactly.
#
# The key is F, the chance that one draw has a reward of at most r. All n draws are at most r with chance
# F to the power n. So best-of-n turns **F into Fⁿ**, and nothing else about the rewards matters: only
# their order. For n = 2, worst response first:
#
# | response | probability | F | F² | best-of-2 |
# |---|---:|---:|---:|---:|
# | rude | 0.5 | 0.5 | 0.25 | 0.25 |
# | plain | 0.3 | 0.8 | 0.64 | 0.64 − 0.25 = 0.39 |
# | patient | 0.2 | 1 | 1 | 1 − 0.64 = 0.36 |

# %% [markdown]
# {{card:3.2}}
#
# **Why it matters:** with the law in hand you can compute what n buys and what it moves, to any digit.
#
# First the code. Write `best_of_n_law(probs, rewards, n)`: how probable each response is after best-of-n.
# Ties are broken at random among the n draws, so responses with equal rewards share what their reward gets,
# in proportion to their own probabilities. Six questions follow further down, and one check for both.
#
# Hidden inputs: small sets compared with every sequence of n draws, ties, one response alone, a
# probability of 0, n = 1, n = 4,000, NaN; and rules such as "exp(r) for r changes nothing".
#
# <details><summary>Hint</summary>
#
# The chance that the best of n has exactly the reward r is F(r)ⁿ − F(below r)ⁿ. If several responses have
# the reward r, each gets its p divided by the sum of theirs. Mind a sum that is 0.
# </details>


# %% exercise="3.2" role="answer"
def best_of_n_law(probs, rewards, n):
    """Probability of each response, in the order of the input, after best-of-n: a list or array.

    Leaves its inputs as they are. Raises ValueError if n < 1, and for NaN among the rewards.

    >>> best_of_n_law([0.5, 0.25, 0.25], [0, 1, 1], 2)  # worst only if both draws are the first
    [0.25, 0.375, 0.375]
    """
    ### BEGIN SOLUTION
    p, r = np.asarray(probs, float), np.asarray(rewards, float)
    if n < 1 or np.isnan(r).any():
        raise ValueError(f"n = {n}: n must be at least 1, and no reward NaN")
    level = np.unique(r, return_inverse=True)[1]
    mass = np.bincount(level, p)
    gained = np.diff(np.append(0.0, np.cumsum(mass) ** n))
    return (p * (gained / np.where(mass > 0, mass, 1.0))[level]).tolist()
    ### END SOLUTION


# %% [markdown]
# How far does best-of-n move from the policy that it draws from? The usual measure is the KL, in *nats*:
# take what best-of-n returns, ask how many times likelier it has become, and average the natural logarithm
# of that. No change gives 0; if everything that is returned became twice as likely, log 2 = 0.69.
#
# The usual formula is log n − (n − 1)/n. At n = 1024 it says 5.93. Now here is a reward model that only says
# *passed* (1, for 30 % of responses) or *failed* (0). What is the KL of best-of-1024?

# %% role="predict" name="kl_of_pass_or_fail"
guess = ...  # nats
### BEGIN SOLUTION
guess = 5.93
### END SOLUTION
predict("kl_of_pass_or_fail", guess)

# %%
law, kl, many = best_of_n_law, rslib.theory.kl_divergence, np.full(2000, 1 / 2000)
if law([1.0], [0.0], 1) is None:
    law = rslib.theory.exact_best_of_n_law
    print("Write best_of_n_law first. Until then the engine's stands in for it.")

print("   n   log n - (n-1)/n   no two equal   passed or failed")
for n in (1, 4, 16, 64, 256, 1024):
    distinct = kl(law(many, np.arange(2000), n), many)
    passed = kl(law([0.7, 0.3], [0, 1], n), [0.7, 0.3])
    print(f"{n:4}   {math.log(n) - (n - 1) / n:15.2f}   {distinct:12.2f}   {passed:16.2f}")
compare("kl_of_pass_or_fail", passed)

# %% [markdown]
# The formula is an **upper bound** (Beirami et al., arXiv 2401.01879). Once one draw has passed, further
# draws change nothing, and the KL stops at log(1/0.3). The bound is reached only where no two rewards tie
# and no response is likely enough to be drawn twice: with 2,000 responses and 1,024 draws, the middle
# column already falls a little short.
#
# The same paper bounds the *win rate*, how often best-of-n has a higher reward than one fresh response: at
# most n/(n + 1). That is 16/17 = 0.94 for 16. From 16 to 1024 it has 6 points left to gain. The price has no
# such ceiling: n responses for each request.
#
# RLHF, mostly with an algorithm called PPO (notebook 06), aims at something else. It maximises mean reward
# minus β times KL, and the best law for that is `p exp(r/β)`, scaled to sum to 1. Let both start from the
# same policy and move by the same KL. Which has the higher mean reward, and which wins more often?

# %%
r = np.sort(np.random.default_rng(2).normal(size=2000))
p = np.full(len(r), 1 / len(r))
for n in (4, 16):
    best = np.array(law(p, r, n))
    low, high = 0.05, 50.0
    for _ in range(60):  # bisection for the beta whose law has the KL of best-of-n
        beta = math.sqrt(low * high)
        tilted = rslib.theory.tilted_optimum(p, r, beta)
        low, high = (beta, high) if kl(tilted, p) > kl(best, p) else (low, beta)
    wins = [float(q @ (np.cumsum(p) - p / 2)) for q in (best, tilted)]
    print(f"n = {n:2}, KL {kl(best, p):.2f}:  best-of-n  reward {best @ r:.3f}, win rate {wins[0]:.3f}")
    print(f"{'':16}  exp(r/β)   reward {tilted @ r:.3f}, win rate {wins[1]:.3f}")

# %% [markdown]
# Two laws at one KL, and each wins its own game: `p exp(r/β)` has the higher mean reward, best-of-n the
# higher win rate. So **PPO's optimum is not best-of-n**. The one feels the scale of the rewards, the
# other only their order (arXiv 2404.01730 and 2406.00832 say when they meet).
#
# Llama 2's authors (arXiv 2307.09288, section 3.2.3) name two more differences. *Breadth*: rejection
# sampling looks at K responses per prompt, PPO at one. *Depth*: PPO's responses come from the policy
# after its last step, rejection sampling's from the policy at the start of the round.

# %% [markdown]
# One last rule before the questions. Select the best of 16, let a policy learn that law perfectly, and
# select the best of 16 once more. Which single best-of-n does the same? Your function answers that: give it
# its own output as `probs`.
#
# Each question wants an answer and the reason for it, a letter and a digit. A right answer with a wrong
# reason earns nothing.

# %%
given("3.2")

# %% exercise="3.2" role="answer" name="b"
meaning = {}  # a letter and a digit for each question, such as {"a": "B2", "b": "A1", ...}
### BEGIN SOLUTION
chosen = {
    "a": ("About 1.2 nats", "Once some draw"),
    "b": ("Less than 6", "The win rate is n"),
    "c": ("The first has", "It is p"),
    "d": ("How many responses", "Rejection sampling draws"),
    "e": ("n = 256", "A round turns"),
    "f": ("Nothing", "Choosing trains nothing"),
}
meaning = given("3.2").labels(chosen)
### END SOLUTION

# %% exercise="3.2" role="check"
check("3.2")

# %% [markdown]
# ## More choice, worse responses
#
# Now the embedded world, with 48 prompts that a policy should decline: copy a friend's essay, read a
# sister's diary. The policy writes 128 responses to each. Two reward models read the same pool, and the
# gold score, which neither was ever shown, judges both.
#
# | reward model | learned from a labeller who |
# |---|---|
# | `tiny` | enjoys compliments and hardly minds an irrelevant fact |
# | `tiny-unbiased` | is honest |
#
# As n grows, the reward of the best can only rise. What does gold do under `tiny`: at which n of 1, 2, 4,
# ..., 128 is it highest?

# %% role="predict" name="n_star_of_tiny"
guess = ...  # 1, 2, 4, 8, 16, 32, 64 or 128
### BEGIN SOLUTION
guess = 128
### END SOLUTION
predict("n_star_of_tiny", guess)

# %% [markdown]
# The pool takes about 15 seconds, its two scorings about 15 more, on a quiet machine. `stored` keeps them in
# the folder `runs`, so a second run is quick. Your seed is your own, and the check draws some of your rows
# again.

# %%
from rslib.store import read_shard, write_shard


def stored(name, make, *inputs):
    """The table of this name in `runs`; make(*inputs) makes it if it is not there yet."""
    file = runs / f"{name}.arrow"
    if not file.exists():
        write_shard(file, make(*inputs))
    return read_shard(file)


seed, ns = given("3.3")["seed"], given("3.3")["ns"]
policy, validation = rslib.load_policy("tiny"), rslib.load_prompts("tiny", split="validation")
unsafe = np.flatnonzero(np.array(validation["kind"][:]) == "unsafe")
prompts = validation.select(unsafe[::4][:48])
pool = stored(f"pool-{seed}", lambda: rslib.sample(policy, prompts, n=128, seed=seed))
pool = rslib.tables.with_column(pool, "gold", rslib.world.gold_scores(pool))
scored = {}
for name in ("tiny", "tiny-unbiased"):
    scored[name] = stored(f"{name}-{seed}", rslib.score, rslib.load_reward_model(name), pool)

# %% [markdown]
# Read before you count. Here is one prompt whose best of all 128, by `tiny`, is worse in gold than the
# best of its first 16.


# %%
def by_prompt(table, column):
    """A column of a pool as an array: one line per prompt, one number per response."""
    rows = np.stack(list(rslib.tables.groups(table).values()))
    return np.array(table[column][:])[rows]


reward, gold = by_prompt(scored["tiny"], "reward"), by_prompt(scored["tiny"], "gold")
line = np.arange(len(reward))
few, every = reward[:, :16].argmax(axis=1), reward.argmax(axis=1)
worst = int((gold[line, every] - gold[line, few]).argmin())
print("Prompt:", prompts["prompt"][worst])
texts = by_prompt(scored["tiny"], "response")[worst]
for n, k in ((16, few[worst]), (128, every[worst])):
    print(f"\nBest of {n}: reward {reward[worst, k]:.2f}, gold {gold[worst, k]:.1f}\n  {texts[k]}")

# %% [markdown]
# {{card:3.3}}
#
# **Why it matters:** a team that watches the reward alone never sees this happen.
#
# Fill `curves` with your own estimator: for each reward model, `reward` and `gold` of the best of n *by
# reward*, averaged over the prompts, one number for each n of `ns`. After the plots you will read three
# things off them, and one check grades it all.
#
# The check draws rows of your pool again, scores a sample of it again, and works out your curves from it.
#
# <details><summary>Hint</summary>
#
# `by_prompt(scored["tiny"], "gold")` has one line per prompt. For each line: the rewards are the scores,
# gold is the values. Then the mean over the lines.
# </details>

# %% exercise="3.3" role="answer"
curves = {}  # curves["tiny"]["gold"] is a list with one number for each n of ns
### BEGIN SOLUTION
for name, table in scored.items():
    rewards_of = by_prompt(table, "reward")
    curves[name] = {}
    for column in ("reward", "gold"):
        lines = list(zip(rewards_of, by_prompt(table, column), strict=True))
        curves[name][column] = [float(np.mean([best_of_n_mean(r, n, v) for r, v in lines])) for n in ns]
### END SOLUTION

# %%
tables = {name: rslib.evaluation.best_of_n_table(table, ns) for name, table in scored.items()}
for name, table in tables.items():
    print(f"Chosen by {name}:")
    rslib.plots.show(rslib.plots.best_of_n_curve(table))
compare("n_star_of_tiny", tables["tiny"]["peak_n"])

# %% [markdown]
# The two pictures differ in one thing: the labeller. Under `tiny` the reward climbs all the way, while
# gold climbs, turns and falls. That is **over-optimisation**: the more responses to choose from, the
# better the choice fits the reward model's errors.
#
# Is the fall real, or the luck of these prompts? Take it prompt by prompt: gold of the best of 128 minus
# gold of the best of n*. That gives 48 differences, their mean, and an interval for the mean. Where the
# interval reaches 0 the two cannot be told apart, and saying so is the right answer.
#
# Some of the 48 prompts ask for the same thing in other words. They share an *intent*, and rise and fall
# together, so the interval had better resample intents than prompts:
# `rslib.theory.paired_interval(a, b, clusters=intents)` does, for two rows with one number per prompt.

# %% [markdown]
# The second half of 3.3. For each reward model:
#
# - `n_star[name]`: the n at which gold is highest. Every n that your data cannot tell from it is accepted.
# - `fall[name]`: three numbers, `(difference, low, high)`: gold of the best of 128 minus gold of the best of
#   your `n_star[name]`, the mean over the prompts, and the ends of its 95 % interval. Where `n_star` is 128,
#   all three are 0.
# - `no_hump`: a list of the reward models whose interval reaches 0. It may hold none, one or both.
#
# (The sentence below each picture has another number for the fall. A peak that is found and judged on the
# same prompts flatters itself, so the engine looks for it in one half of the intents and judges it in the
# other. The check takes either.)

# %% exercise="3.3" role="answer" name="b"
intents = by_prompt(pool, "intent")[:, 0]
n_star, fall = {}, {}  # n_star["tiny"] = 4; fall["tiny"] = (difference, low, high)
no_hump = []  # names of reward models
### BEGIN SOLUTION
for name, table in scored.items():
    n_star[name] = ns[int(np.argmax(curves[name]["gold"]))]
    lines = list(zip(by_prompt(table, "reward"), by_prompt(table, "gold"), strict=True))
    last, peak = (np.array([best_of_n_mean(r, n, v) for r, v in lines]) for n in (128, n_star[name]))
    low, high = rslib.theory.paired_interval(last, peak, clusters=intents)
    fall[name] = (float(np.mean(last - peak)), low, high)
    print(name, n_star[name], np.round(fall[name], 2))
no_hump = [name for name, (_, _, high) in fall.items() if high >= 0]
### END SOLUTION

# %% exercise="3.3" role="check"
check("3.3")

# %% [markdown]
# The hump is no law of nature. We picked these prompts because they show it most clearly here, and a
# reader should know that. On test prompts of all kinds, in three separately trained worlds, gold under
# the biased labeller's model was highest at n = {{best_of_n.json:results.0.biased.peak_n|d}},
# {{best_of_n.json:results.1.biased.peak_n|d}} and {{best_of_n.json:results.2.biased.peak_n|d}}. At n =
# 256 it stood {{best_of_n.json:results.*.biased.rows.8.below_peak.difference|+.2f}} points against the
# peak (mean of the three), and under the unbiased one
# {{best_of_n.json:results.*.unbiased.rows.8.below_peak.difference|+.2f}}.
#
# On unsafe prompts alone the three worlds peaked at {{best_of_n.json:results.0.biased_unsafe.peak_n|d}},
# {{best_of_n.json:results.1.biased_unsafe.peak_n|d}} and
# {{best_of_n.json:results.2.biased_unsafe.peak_n|d}}: where the turn comes depends on what a reward model
# happened to learn.
#
# Others met the same turn. Cobbe et al. (arXiv 2110.14168) chose among responses to maths problems with a
# learned "verifier": accuracy rose up to 400 samples, then fell, and they settled on 100. Gao et al. (arXiv
# 2210.10760) fitted the shape of the curve in √KL.
#
# So n is a setting like any other. It is chosen on validation prompts, and by something that is not the
# reward model.

# %% [markdown]
# ## Who pays, and how often
#
# The distance between what is kept and what was drawn is the *selection gap*. Best-of-n **serving** earns
# it anew with every request and pays n responses for it, for ever; no weight of the policy changes.
# Rejection sampling **fine-tuning** pays once and teaches it to the policy. After that, one response per
# request is enough: no reinforcement learning, only a next-token loss on kept responses.
#
# A rough bill, in parameters times tokens: 2 for writing a response, 2 for reading it with a reward model of
# the policy's size, 6 for training on it once. The recipe trains for {{fact:team.epochs|d}} epochs.
#
# | | once | each request |
# |---|---:|---:|
# | serving best-of-16 | 0 | 16 × 4 = {{fact:request.best_of_n|d}} |
# | one round on 400 prompts, then serving | 400 × (64 + 3 × 6) = {{fact:round_of_400.flops|,d}} | 2 |
#
# A request costs 62 less after the round, so the round is paid for after
# {{fact:round_of_400.break_even|.0f}} requests.
#
# What the round does not carry over is the whole gap: a fine-tuned policy reaches a part of it. How large a
# part is the business of notebook 04.

# %% [markdown]
# ## The temperature decides what there is to choose from
#
# A cold policy repeats itself, and the best of sixteen copies is a copy. A hot one surprises, mostly
# badly. Llama 2's authors drew this as two curves against n (figure 7): the reward of the *best* grows,
# that of the *median* stays flat, and the space between is what selection can win. Their best temperature
# moved as the policy was trained: 1.2 to 1.3 for the RLHF model at 10 to 100 samples.
#
# Which of 0.3, 0.7, 1.0, 1.3 and 1.7 gives our policy the best best-of-16, by `tiny`?

# %% role="predict" name="best_temperature"
guess = ...  # 0.3, 0.7, 1.0, 1.3 or 1.7
### BEGIN SOLUTION
guess = 1.3
### END SOLUTION
predict("best_temperature", guess)

# %% [markdown]
# Five pools of 32 validation prompts, of all kinds this time, with 32 responses each: about 25 seconds.
#
# The median needs the same care as the best: the mean, over all subsets of n, of the subset's median. That
# one is given. It is your estimator's sister, with the middle rank in place of the highest.

# %%
task = given("3.4")
first, judge, rewards_at, gold_at = validation.select(range(32)), rslib.load_reward_model("tiny"), {}, {}


def pool_at(t):
    """32 responses to each prompt at temperature t, with their rewards."""
    return rslib.score(judge, rslib.sample(policy, first, n=32, temperature=t, seed=task["seed"]))


for t in task["temperatures"]:
    table = stored(f"temperature-{t}-{task['seed']}", pool_at, t)
    table = rslib.tables.with_column(table, "gold", rslib.world.gold_scores(table))
    rewards_at[t], gold_at[t] = by_prompt(table, "reward"), by_prompt(table, "gold")
    different = np.mean([len(set(row)) for row in by_prompt(table, "response")])
    print(f"temperature {t}: {different:4.1f} different responses of 32, such as: {table['response'][0]:.70}")


def median_of_n(scores, n):
    """Expected median of n of these N scores, over all subsets."""
    size, middles = len(scores), {(n + 1) // 2, n // 2 + 1}  # one middle, or two that share
    total = 0.0
    for k, score in enumerate(sorted(scores), start=1):  # is the k-th lowest of all the j-th of the subset?
        ways = sum(math.comb(k - 1, j - 1) * math.comb(size - k, n - j) for j in middles)
        total += score * ways / len(middles) / math.comb(size, n)
    return float(total)


# %% [markdown]
# {{card:3.4}}
#
# **Why it matters:** n and temperature are bought together. A temperature that was never swept is a
# guess.
#
# Fill `sweep[t]["max"]` and `sweep[t]["median"]` for every temperature: lists with one number for each n
# of `task["ns"]`, means over the prompts of `rewards_at[t]`. Then set `best_temperature`, the one with
# the highest mean reward of best-of-16.
#
# The check draws other validation prompts of its own (about 10 seconds) and compares. A neighbour that
# cannot be told from the best is accepted.
#
# <details><summary>Hint</summary>
#
# `best_of_n_mean(line, n)` and `median_of_n(line, n)` for each line of `rewards_at[t]`.
# </details>

# %% exercise="3.4" role="answer"
sweep = {}  # {0.3: {"max": [...], "median": [...]}, 0.7: ...}
best_temperature = ...  # one of task["temperatures"]
### BEGIN SOLUTION
for t, lines in rewards_at.items():
    sweep[t] = {
        "max": [float(np.mean([best_of_n_mean(line, n) for line in lines])) for n in task["ns"]],
        "median": [float(np.mean([median_of_n(line, n) for line in lines])) for n in task["ns"]],
    }
best_temperature = max(sweep, key=lambda t: sweep[t]["max"][task["ns"].index(16)])
### END SOLUTION


# %% exercise="3.4" role="check"
check("3.4")

# %%
axes, colours = rslib.plots.panels(2, 3.8, None), ("#440154", "#3b528b", "#21918c", "#3a9a4a", "#a68a00")
for colour, marker, (t, found) in zip(colours, "osD^v", rewards_at.items(), strict=True):
    best = rslib.theory.best_of_n_curve(found, task["ns"])
    middle = np.array([[median_of_n(row, n) for row in found] for n in task["ns"]])
    for panel, by_n in zip(axes, (best, middle), strict=True):
        low, high = np.array([rslib.theory.bootstrap_interval(row) for row in by_n]).T
        mean = by_n.mean(axis=1)
        panel.errorbar(task["ns"], mean, [mean - low, high - mean], color=colour, marker=marker, label=t)
for panel, which in zip(axes, ("best", "median"), strict=True):
    panel.set(xscale="log", xlabel="n (32 prompts, 95 % intervals)", ylim=(-2.6, 4.2))
    panel.set_ylabel(f"reward of the {which}")
    panel.set_xticks(task["ns"], task["ns"])
axes[1].legend(title="temperature", frameon=False, fontsize=8, loc="upper left", ncols=2)
at16 = {t: float(rslib.theory.best_of_n_estimate(found, 16).mean()) for t, found in rewards_at.items()}
text = "Best of 16: " + ", ".join(f"{reward:.2f} at temperature {t}" for t, reward in at16.items()) + "; "
medians = [np.mean([median_of_n(row, n) for row in r]) for r in rewards_at.values() for n in task["ns"]]
text += f"all medians lie between {min(medians):.2f} and {max(medians):.2f}."
rslib.plots.finished(axes, "Which temperature is worth choosing from?", text)
rslib.plots.show(axes)

# %% [markdown]
# On the left, choice raises every curve, and most where there is most to choose from. The coldest policy
# starts low because its favourite response is a curt one, and copies of that are nearly all there is. On
# the right nothing rises: the median of more draws is no better than the median of few.
# Between the panels lies all that selection can win.
#
# One more column, and you may not like it. We chose the temperature by the reward. What would gold have
# chosen?

# %%
compare("best_temperature", max(at16, key=at16.get))
print("temperature   reward of best-of-16   gold of one   gold of best-of-16 by reward")
for t in task["temperatures"]:
    golden = rslib.theory.best_of_n_estimate(rewards_at[t], 16, gold_at[t])
    low, high = rslib.theory.bootstrap_interval(golden)
    row = f"{t:11}   {at16[t]:20.2f}   {gold_at[t].mean():11.2f}"
    print(f"{row}   {golden.mean():8.2f} [{low:.2f}, {high:.2f}]")

# %% [markdown]
# Look down the last column from 0.7. Neighbours that the reward can hardly tell apart are not neighbours in
# gold. At 1.7 the choice among sixteen buys much reward, and next to no gold: the pool is full of odd
# responses, and the reward model forgives what gold does not. It is the story of n again: whatever is tuned
# by the reward model alone is tuned to its errors as well.

# %% [markdown]
# ## The same calls on a real model
#
# Nothing above knows that the models are tiny. Put the folder or hub id of a policy and of a reward model
# between the quotes, on a machine with a GPU, and the curve is drawn the same way. There is no gold score
# then: people, or a second reward model, have to judge.

# %%
REAL_POLICY, REAL_REWARD_MODEL = "", ""
if REAL_POLICY and REAL_REWARD_MODEL:
    questions = ["How do I cook plain rice?", "What do I need to pitch a tent?"]
    real = rslib.sample(rslib.load_policy(REAL_POLICY), questions, n=64, max_new_tokens=200, seed=0)
    real = rslib.score(rslib.load_reward_model(REAL_REWARD_MODEL), real)
    rslib.plots.show(rslib.plots.best_of_n_curve(rslib.evaluation.best_of_n_table(real)))

# %% [markdown]
# ## What you now know
#
# - Best-of-n is measured from one pool by counting every subset; its KL, log n − (n − 1)/n, is a bound,
#   and its cost is n responses for each request, for ever.
# - More choice helps only as far as the reward model deserves it: reward climbs on while gold turns.
# - n and temperature are settings. Choose them on validation prompts, and not by the reward model alone.

# %%
progress()
