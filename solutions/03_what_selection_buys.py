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
print("; ".join(f"best of {a} and {b} is {max(a, b)}" for a, b in pairs))
compare("rice_best_of_2", float(np.mean([max(pair) for pair in pairs])))
for prompt, row in rewards.items():
    means = [np.mean([max(s) for s in itertools.combinations(row, n)]) for n in (1, 2, 3, 4)]
    print(f"{prompt:14}", "  ".join(f"n = {n}: {m:.2f}" for n, m in enumerate(means, start=1)))

# %% [markdown]
# Six pairs, six maxima, one mean. That is the whole definition: **all subsets of n, the best of each, the
# mean of those.** If you guessed 4, you took the best of all four; a guess of 2.5 selects nothing. The
# answer lies between, because a pair often misses the best response.
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
# Hidden inputs: pools of 5 to 8 with and without ties, all equal, n = 1, n = N, n > N, an empty pool, NaN,
# lists and arrays, scores that differ a little, and 2,000 scores, too many for listing their subsets.
#
# <details><summary>Hint</summary>
#
# Sort upwards. The score at rank k (from 1) is the best of a subset if the other n − 1 members come from
# the k − 1 below it. How many such subsets are there, and how many subsets in all? `math.comb` counts
# both. For 2,000 scores each count has hundreds of digits, and such a number times a float overflows:
# divide one count by the other first, `math.comb(k - 1, n - 1) / math.comb(N, n)`, then multiply.
#
# For ties, first replace each value by the mean of its tie.
# </details>


# %% exercise="3.1" role="answer"
def best_of_n_mean(scores, n, values=None):
    """Expected value of the best of n of these N responses, drawn without replacement; a float.

    `scores` choose; `values` are averaged (the scores themselves unless given). Tied scores share equally.
    Leaves its inputs as they are. Raises ValueError unless 1 <= n <= N, and for a NaN in either.

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
# Your function and the engine's should agree to the last digits.
#
# Then the three short cuts are compared on 2,000 pools of 16 scores from a bell curve, with n = 8. There
# the right answer is known. Before you run it: which one is wrong on average, and which one is merely
# noisy?

# %%
def _best_of_n(*args):
    """Your estimator as a float: a fraction, or a tensor of one number, is right too."""
    return float(best_of_n_mean(*args))


pool_of_12 = np.random.default_rng(0).normal(size=12)
engine = rslib.theory.best_of_n_estimate(pool_of_12, 5)[0]
print(f"yours {_best_of_n(pool_of_12, 5):.12f}   engine {engine:.12f}")

rng = np.random.default_rng(1)
pools, n = rng.normal(size=(2000, 16)), 8
truth = rng.normal(size=(200_000, n)).max(axis=1).mean()
ways = {
    "the first n": [p[:n].max() for p in pools],
    "put back": [np.sort(p) @ np.diff((np.arange(17) / 16) ** n) for p in pools],
    "every subset": [_best_of_n(p, n) for p in pools],
}
for name, values in ways.items():
    error = np.std(values) / math.sqrt(len(values))
    print(f"{name:13} off by {np.mean(values) - truth:+.3f} ± {2 * error:.3f}, spread {np.std(values):.2f}")

# %% [markdown]
# *Put back* is too low: the same response can be drawn twice, and a repeat is a wasted draw. That is a
# **bias**, and more pools do not remove it. *The first n* is right on average, and its spread is larger,
# because half of the pool was paid for and ignored. Counting every subset is right on average, and
# steadier.

# %% [markdown]
# ## The probability distribution of best-of-n
#
# So far we had a pool. Now suppose that we know the policy itself: a few responses, and how probable each
# is. That list of probabilities is the policy's *probability distribution*. Best-of-n returns responses
# too, so it has a probability distribution of its own, and that can be computed exactly.
#
# Let $F(r)$ be the chance that one draw has a reward of at most $r$. All n draws have a reward of at most
# $r$ with chance $F(r)^n$. So best-of-n turns $F$ into $F^n$. Nothing else about the rewards matters: only
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
# **Why it matters:** from these probabilities follow the gain of best-of-n, its KL and its win rate,
# exactly.
#
# First the code. Write `best_of_n_distribution(probs, rewards, n)`: how probable each response is after
# best-of-n.
# Ties are broken at random among the n draws, so responses with equal rewards share what their reward gets,
# in proportion to their own probabilities. Six questions follow further down, and one check for both.
#
# Hidden inputs: small sets compared with every sequence of n draws, ties, one response alone, a
# probability of 0, n = 1, n = 4,000, NaN; and rules such as "exp(r) for r changes nothing".
#
# <details><summary>Hint</summary>
#
# The chance that the best of n has exactly the reward r is F(r)ⁿ − F(below r)ⁿ. Several responses with the
# reward r share it: each gets the part that its probability has in the sum of theirs. The sum may be 0.
# </details>


# %% exercise="3.2" role="answer"
def best_of_n_distribution(probs, rewards, n):
    """Probability of each response, in the order of the input, after best-of-n: a list or array.

    Leaves its inputs as they are. Raises ValueError if n < 1, and for NaN among the rewards.

    >>> best_of_n_distribution([0.5, 0.25, 0.25], [0, 1, 1], 2)  # worst only if both draws are the first
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
# The usual formula is log n − (n − 1)/n. At n = 1024 it says 5.93. Now here is a reward model that only
# says *passed* (1, for 30 % of responses) or *failed* (0). What is the KL of best-of-1024?

# %% role="predict" name="kl_of_pass_or_fail"
guess = ...  # nats
### BEGIN SOLUTION
guess = 5.93
### END SOLUTION
predict("kl_of_pass_or_fail", guess)

# %%
kl, many = rslib.theory.kl_divergence, np.full(2000, 1 / 2000)
print("   n   log n - (n-1)/n   no two equal   passed or failed")
for n in (1, 4, 16, 64, 256, 1024):
    distinct = kl(best_of_n_distribution(many, np.arange(2000), n), many)
    passed = kl(best_of_n_distribution([0.7, 0.3], [0, 1], n), [0.7, 0.3])
    print(f"{n:4}   {math.log(n) - (n - 1) / n:15.2f}   {distinct:12.2f}   {passed:16.2f}")
compare("kl_of_pass_or_fail", passed)

# %% [markdown]
# If you guessed 5.93, you took the formula for an equation. It is an **upper bound** (Beirami and others,
# 2024, arXiv 2401.01879). Once one draw has passed, further draws change nothing, and the KL stops at
# log(1/0.3). The bound is reached only where no two rewards tie and no response is likely enough to be
# drawn twice: with 2,000 responses and 1,024 draws, the middle column already falls a little short.
#
# The same paper bounds the *win rate*, how often best-of-n has a higher reward than one fresh response: at
# most n/(n + 1). That is 16/17 = 0.94 for 16. From 16 to 1024 at most 6 points are left to gain, and the
# cost grows with n: n responses for each request.
#
# RLHF, mostly with an algorithm called PPO (notebook 06), aims at something else. It maximises mean reward
# minus β times KL. The best probability distribution for that is $p\,e^{r/\beta}$, scaled to sum to 1. Let
# both start from the same policy and move by the same KL. Which has the higher mean reward, and which wins
# more often?

# %%
r = np.sort(np.random.default_rng(2).normal(size=2000))
p = np.full(len(r), 1 / len(r))
for n in (4, 16):
    best = np.array(best_of_n_distribution(p, r, n))
    low, high = 0.05, 50.0
    for _ in range(60):  # bisection for the beta whose distribution has the KL of best-of-n
        beta = math.sqrt(low * high)
        tilted = rslib.theory.tilted_optimum(p, r, beta)
        low, high = (beta, high) if kl(tilted, p) > kl(best, p) else (low, beta)
    wins = [float(q @ (np.cumsum(p) - p / 2)) for q in (best, tilted)]
    print(f"n = {n:2}, KL {kl(best, p):.2f}:  best-of-n  reward {best @ r:.3f}, win rate {wins[0]:.3f}")
    print(f"{'':16}  exp(r/β)   reward {tilted @ r:.3f}, win rate {wins[1]:.3f}")

# %% [markdown]
# Two probability distributions with the same KL, and each is best at what it aims for: $p\,e^{r/\beta}$ has
# the higher mean reward, best-of-n the higher win rate. So **PPO's optimum is not best-of-n**. The first
# depends on the scale of the rewards, the second only on their order.
#
# Two papers say how near they are. Yang and others (2024, arXiv 2404.01730) show that the two come to the
# same for ever longer responses, if the policy has no memory and the reward is linear. Gui, Gârbacea and
# Veitch (2024, arXiv 2406.00832) show that among distributions of this family best-of-n is essentially the
# best in win rate for its KL.

# %% [markdown]
# Llama 2's authors (Touvron and others, 2023, arXiv 2307.09288, section 3.2.3) name two more differences.
# *Breadth*: rejection sampling looks at K responses per prompt, PPO at one. *Depth*: PPO's responses come
# from the policy after its last step, rejection sampling's from the policy at the start of the round.
#
# One last rule before the questions. Select the best of 16, let a policy learn the result perfectly, and
# select the best of 16 once more. Which single best-of-n gives the same? Your function can tell: hand it
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
# | `tiny` | likes compliments and hardly minds an irrelevant fact |
# | `tiny-unbiased` | has neither taste |
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
# The pool takes about 15 seconds, its two scorings about 15 more, on a quiet machine. `stored` keeps them
# in the folder `runs`, so a second run is quick. Each learner has a seed of their own, and the check draws
# some of your rows again.

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
# Read before you count. Here is the prompt where best-of-128 by `tiny` loses most against best-of-16. The
# table ranks all its 128 responses by reward, with gold beside it; the two that would be kept are marked.


# %%
def by_prompt(table, column):
    """A column of a pool as an array: one line per prompt, one number per response."""
    rows = np.stack(list(rslib.tables.groups(table).values()))
    return np.array(table[column][:])[rows]


reward, gold = by_prompt(scored["tiny"], "reward"), by_prompt(scored["tiny"], "gold")
intents = by_prompt(pool, "intent")[:, 0]  # prompts that ask for the same thing share one
line = np.arange(len(reward))
few, every = reward[:, :16].argmax(axis=1), reward.argmax(axis=1)
worst = int((gold[line, every] - gold[line, few]).argmin())
one_prompt = rslib.tables.take(scored["tiny"], list(rslib.tables.groups(pool).values())[worst])
for n, k in ((16, few[worst]), (128, every[worst])):
    print(f"best of {n:3}: reward {reward[worst, k]:.2f}, gold {gold[worst, k]:.1f}")
rslib.browse(one_prompt, kept=[int(few[worst]), int(every[worst])], title="All responses, ranked by tiny")

# %% [markdown]
# {{card:3.3}}
#
# **Why it matters:** a team that watches the reward alone never sees this happen.
#
# Fill `curves` with your own estimator: for each reward model, `reward` and `gold` of the best of n *by
# reward*, averaged over the prompts, one number for each n of `ns`. The next cell draws your numbers. Then
# you read three things off the picture, and one check grades it all.
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
from autograder.handouts.nb03_given import in_floats, row_of


def _lines_of(name, column):
    """Your estimator, prompt by prompt, `(len(ns), prompts)`: what the bands are made of."""
    lines = list(zip(by_prompt(scored[name], "reward"), by_prompt(scored[name], column), strict=True))
    return np.array([[_best_of_n(r, n, v) for r, v in lines] for n in ns])


def _band_of(name, column):
    """Lower and upper ends of the 95 % interval over intents, for each n."""
    return np.array(
        [rslib.theory.bootstrap_interval(row, clusters=intents) for row in _lines_of(name, column)]
    ).T


_curves = in_floats(curves, scored, ("reward", "gold"))
bands = {name: {column: _band_of(name, column) for column in _curves[name]} for name in scored}

# %%
axes, looks = rslib.plots.panels(2, 3.6, None), {"reward": ("#4a86c5", "o"), "gold": ("#b8860b", "D")}
for panel, name in zip(axes, scored, strict=True):
    for column, (colour, marker) in looks.items():
        panel.fill_between(ns, *bands[name][column], color=colour, alpha=0.2, linewidth=0)
        panel.plot(ns, _curves[name][column], color=colour, marker=marker, label=column)
    panel.set(xscale="log", xlabel=f"n, best of n by {name}", ylim=(-4, 10))
    panel.set_title(f"reward model: {name}", fontsize=10)
    panel.set_xticks(ns, ns)
    panel.minorticks_off()
axes[0].set_ylabel(f"reward, gold (points); {len(prompts)} prompts")
axes[1].legend(frameon=False, loc="upper left", fontsize=9)
ends = [f"{c} {v[0]:.2f} to {v[-1]:.2f} by {m}" for m in scored for c, v in _curves[m].items()]
text = f"Best of n on {len(prompts)} unsafe prompts, n = 1 to {ns[-1]}: " + ", ".join(ends) + "; 95 % bands."
rslib.plots.finished(axes, "What does more choice do to reward, and to gold?", text)
rslib.plots.show(axes)

# %% [markdown]
# Both panels show the same 6,144 responses; only the reward model differs. In each, follow the reward
# first. It can only climb. Then follow gold. Where it turns while the reward still climbs, people speak of
# **over-optimisation**: the more responses there are to choose from, the better the choice fits the reward
# model's errors.
#
# Is a fall real, or the luck of these prompts? Take it prompt by prompt: gold of the best of 128 minus gold
# of the best of n*. That gives 48 differences, their mean, and an interval for the mean. Where the interval
# reaches 0 the two cannot be told apart, and saying so is the right answer.

# %% [markdown]
# Some of the 48 prompts ask for the same thing in other words. They share an *intent*, and their gold
# scores rise and fall together. So resample intents, not prompts: `rslib.theory.paired_interval(a, b,
# clusters=intents)` does that for two rows with one number per prompt, and returns the two ends of the
# interval. `a - b` is positive where `a` is higher.

# %% [markdown]
# The second half of 3.3. For each reward model:
#
# - `n_star[name]`: the n at which gold is highest. Every n that your data cannot tell from it is accepted.
# - `fall[name]`: three numbers, `(difference, low, high)`: gold of the best of 128 minus gold of the best
#   of your `n_star[name]`, the mean over the prompts, and the ends of its 95 % interval. Where `n_star` is
#   128, all three are 0.
# - `no_hump`: a list of the reward models whose interval reaches 0. It may hold none, one or both.
#
# `best_of_n_mean` gives one number per prompt, so both rows come from your own function. (A peak that is
# found and judged on the same prompts is a little flattered. `rslib.evaluation.best_of_n_table` finds it on
# one half of the intents, judges it on the other, and then the other way round. The check takes its number
# too.)

# %% exercise="3.3" role="answer" name="b"
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
# Your curves, with your n* and your fall: choose n with the arrow keys, and watch both numbers.


# %%
def _slider_of(name):
    """Your curves of one reward model on one axis, with n to choose."""
    rows = [{"n": n} for n in ns]
    for key, column in (("proxy", "reward"), ("gold", "gold")):
        for row, mean, low, high in zip(rows, _curves[name][column], *bands[name][column], strict=True):
            row[key] = {"mean": mean, "low": low, "high": high}
    rows[-1]["below_peak"] = _falls[name]
    table = {"rows": rows, "peak_n": n_star[name], "prompts": len(prompts), "pool_size": ns[-1]}
    return rslib.slider.best_of_n_slider(table, reward=f"reward by {name}", start=n_star[name])


_falls = {name: row_of(fall[name]) for name in scored}
compare("n_star_of_tiny", n_star["tiny"])
for name in scored:
    if n_star[name] == 128:
        print(f"By {name}, gold is highest at the largest n, 128.")
    else:
        print(rslib.evaluation.claim(_falls[name], f"By {name}, best of 128", f"best of {n_star[name]}"))

# %%
_slider_of("tiny")

# %%
_slider_of("tiny-unbiased")

# %% [markdown]
# If you predicted 128, you trusted the reward: as long as it climbs, more seems better. If you predicted a
# smaller n, you expected the reward model to have errors that a wide choice finds. The difference between
# your guess and n* says how much of the reward you took for quality.
#
# Not every reward model has such a turn. We picked unsafe prompts because they show it most clearly here.
# On test prompts of *all* kinds, in three separately trained worlds, gold under the biased labeller's model
# was highest at n = {{best_of_n.json:results.0.biased.peak_n|d}},
# {{best_of_n.json:results.1.biased.peak_n|d}} and {{best_of_n.json:results.2.biased.peak_n|d}}. Against
# that peak, world by world:
#
# - {{claim:best_of_n.json:results.0.biased.rows.8.below_peak|Best of 256|the best n}}
# - {{claim:best_of_n.json:results.1.biased.rows.8.below_peak|Best of 256|the best n}}
# - {{claim:best_of_n.json:results.2.biased.rows.8.below_peak|Best of 256|the best n}}

# %% [markdown]
# Under the unbiased labeller's model:
#
# - {{claim:best_of_n.json:results.0.unbiased.rows.8.below_peak|Best of 256|the best n}}
# - {{claim:best_of_n.json:results.1.unbiased.rows.8.below_peak|Best of 256|the best n}}
# - {{claim:best_of_n.json:results.2.unbiased.rows.8.below_peak|Best of 256|the best n}}
#
# And on unsafe prompts alone, 33 to 40 of them in a world, under the biased labeller's model:
#
# - {{claim:best_of_n.json:results.0.biased_unsafe.rows.8.below_peak|Best of 256|the best n}}
# - {{claim:best_of_n.json:results.1.biased_unsafe.rows.8.below_peak|Best of 256|the best n}}
# - {{claim:best_of_n.json:results.2.biased_unsafe.rows.8.below_peak|Best of 256|the best n}}
#
# So where the turn comes, and whether so few prompts can show it, depends on the world.
#
# Others found the same turn. Cobbe and others (2021, arXiv 2110.14168) chose among solutions of maths
# problems with a learned "verifier": accuracy rose up to 400 samples, then fell, and they used 100. Gao,
# Schulman and Hilton (2022, arXiv 2210.10760) fitted the shape of the gold curve as a function of √KL.
#
# So n is a setting like any other. It is chosen on validation prompts, and by something that is not the
# reward model.

# %% [markdown]
# ## Who pays, and how often
#
# The difference between the mean reward of what is kept and of what was drawn is the *selection gap*.
# Best-of-n **serving** earns it with every request and pays n responses for it, each time; no weight of the
# policy changes. Rejection sampling **fine-tuning** pays once and teaches it to the policy. After that, one
# response per request is enough: no reinforcement learning, only a next-token loss on kept responses.
#
# A rough bill, in parameters times tokens: 2 for writing a response, 2 for reading it with a reward model
# of the policy's size, 6 for training on it once. The recipe trains for {{fact:team.epochs|d}} epochs.
#
# | | once | each request |
# |---|---:|---:|
# | serving best-of-16 | 0 | 16 × 4 = {{fact:request.best_of_n|d}} |
# | one round on 400 prompts, then serving | 400 × (64 + 3 × 6) = {{fact:round_of_400.flops|,d}} | 2 |
#
# A request costs 62 less after the round, so the round is paid for after about
# {{fact:round_of_400.break_even|.0f}} requests: by computation alone, for 400 prompts. Notebook 08 adds
# more prompts and the people.
#
# What the round does not carry over is the whole gap: a fine-tuned policy reaches a part of it. How large a
# part is the subject of notebook 04.

# %% [markdown]
# Who pays which way? What the papers say, and "not stated" where they give no number:
#
# | system | the choice is paid | n | source |
# |---|---|---|---|
# | WebGPT | with each request | 64 | Nakano and others, 2021, arXiv 2112.09332 |
# | "verifiers" for GSM8K | with each request | 100 | Cobbe and others, 2021, arXiv 2110.14168 |
# | RAFT | once a round | 32 in one of its runs | Dong and others, 2023, arXiv 2304.06767 |
# | Llama 2-Chat 70B | once a version | not stated | Touvron and others, 2023, arXiv 2307.09288 |
# | AlpacaFarm, expert iteration | once | 16 | Dubois and others, 2023, arXiv 2305.14387 |
# | RFT | once | 100 | Yuan and others, 2023, arXiv 2308.01825 |
# | Llama 3 | once a round | typically 10 to 30 | Llama team, 2024, arXiv 2407.21783 |
# | DeepSeek-R1 | once, between two stages of RL | not stated | DeepSeek-AI, 2025, arXiv 2501.12948 |

# %% [markdown]
# Two details are worth keeping. Llama 2 drew and selected with its 70B model only; the smaller models were
# fine-tuned on what the 70B model had written, so the price of n was paid once for all sizes. And for
# WebGPT, OpenAI reports that best-of-64 did better than its policy trained with RL (Hilton and Gao, 2022,
# *Measuring Goodhart's law*).
#
# None of these numbers is a recommendation for you. They were chosen with other reward models, and you have
# just seen how much n* depends on that.

# %% [markdown]
# ## The temperature decides what there is to choose from
#
# At a low temperature the policy repeats itself, and the best of sixteen copies is a copy. At a high one
# the responses differ, and most of them are worse. Llama 2's authors drew two curves against n (their
# figure 7): the reward of the *best* of n grows, that of the *median* of n stays about flat, and the space
# between them is what selection can gain. Their best temperature moved as the policy was trained: 1.2 to
# 1.3 for the RLHF model at 10 to 100 samples.
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
# function is given. It does for the middle rank what yours does for the highest. For n = 1 and n = 2 the
# median is the mean, so these two points of its curve are the mean reward of the pool.

# %%
task = given("3.4")
first, judge = validation.select(range(32)), rslib.load_reward_model("tiny")
rewards_at, gold_at, first_of = {}, {}, {}


def pool_at(t):
    """32 responses to each prompt at temperature t, with their rewards."""
    return rslib.score(judge, rslib.sample(policy, first, n=32, temperature=t, seed=task["seed"]))


for t in task["temperatures"]:
    table = stored(f"temperature-{t}-{task['seed']}", pool_at, t)
    table = rslib.tables.with_column(table, "gold", rslib.world.gold_scores(table))
    rewards_at[t], gold_at[t] = by_prompt(table, "reward"), by_prompt(table, "gold")
    different = np.mean([len(set(row)) for row in by_prompt(table, "response")])
    print(f"temperature {t}: {different:.1f} different responses of 32")
    first_of[f"temperature {t}"] = table.select([0])


# %%
def median_of_n(scores, n):
    """Expected median of n of these N scores, over all subsets."""
    size, middles = len(scores), {(n + 1) // 2, n // 2 + 1}  # one middle, or two that share
    total = 0.0
    for k, score in enumerate(sorted(scores), start=1):  # is the k-th lowest of all the j-th of the subset?
        ways = sum(math.comb(k - 1, j - 1) * math.comb(size - k, n - j) for j in middles)
        total += score * ways / len(middles) / math.comb(size, n)
    return float(total)


rslib.browse(first_of, prompts=1, title="The first response at each temperature")

# %% [markdown]
# {{card:3.4}}
#
# **Why it matters:** n and temperature belong together. A temperature that nobody varied is a guess.
#
# Fill `sweep[t]["max"]` and `sweep[t]["median"]` for every temperature: lists with one number for each n
# of `task["ns"]`, means over the prompts of `rewards_at[t]`. Then set `best_temperature`, the one with
# the highest mean reward of best-of-16.
#
# The check compares your numbers with those of your own `rewards_at`, and draws the responses to two of the
# prompts again (about 5 seconds). A temperature that your rewards cannot tell from the best is accepted.
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


# %% [markdown]
# Your numbers, drawn: the points are those of `sweep`, and the intervals come from your function and the
# given one, prompt by prompt.

# %%
_COLOURS = ("#440154", "#3b528b", "#21918c", "#3a9a4a", "#a68a00")


def _by_prompt_of(which):
    """For each temperature the best, or median, of n of every prompt, `(len(ns), 32)`."""
    function = {"max": _best_of_n, "median": median_of_n}[which]
    return {t: np.array([[function(row, n) for row in r] for n in task["ns"]]) for t, r in rewards_at.items()}


_sweep = in_floats(sweep, task["temperatures"], ("max", "median"))
axes, by_prompt_of = rslib.plots.panels(2, 3.8, None), {k: _by_prompt_of(k) for k in ("max", "median")}
for panel, (which, by_n) in zip(axes, by_prompt_of.items(), strict=True):
    for t, colour, marker in zip(task["temperatures"], _COLOURS, "osD^v", strict=True):
        low, high = np.array([rslib.theory.bootstrap_interval(row) for row in by_n[t]]).T
        mean = np.array(_sweep[t][which])
        bars = np.clip([mean - low, high - mean], 0, None)
        panel.errorbar(task["ns"], mean, bars, color=colour, marker=marker, label=t)
    panel.set(xscale="log", xlabel="n (32 prompts, 95 % intervals)", ylim=(-3, 5))
    panel.set_title({"max": "best of n", "median": "median of n"}[which], fontsize=10)
    panel.set_xticks(task["ns"], task["ns"])
    panel.minorticks_off()

# %%
axes[0].set_ylabel("reward by tiny")
axes[1].legend(title="temperature", frameon=False, fontsize=8, loc="upper left", ncols=2)
at16 = {t: _sweep[t]["max"][task["ns"].index(16)] for t in _sweep}
text = "Best of 16 by tiny: " + ", ".join(f"{v:.2f} at temperature {t}" for t, v in at16.items()) + "; "
middle = [x for both in _sweep.values() for x in both["median"]]
text += f"all medians lie between {min(middle):.2f} and {max(middle):.2f}."
rslib.plots.finished(axes, "Which temperature is worth choosing from, by tiny?", text)
rslib.plots.show(axes)
print("temperature   best: 32 against 1          median: 32 against 1")
for t in _sweep:
    changes = [by_n[t][-1] - by_n[t][0] for by_n in by_prompt_of.values()]
    ends = [rslib.theory.bootstrap_interval(change) for change in changes]
    cells = [f"{c.mean():+.2f} [{a:+.2f}, {b:+.2f}]" for c, (a, b) in zip(changes, ends, strict=True)]
    print(f"{t:11}   {cells[0]:26}   {cells[1]}")

# %% [markdown]
# Read the two columns below the figure. Where an interval lies above 0, more responses raise that curve;
# where it lies below 0, they lower it. The best can only rise. The median of many is not the mean of the
# pool: where a few good responses pull the mean up, the curve starts at the mean and falls to the pool's
# median. So "the median stays flat" describes Llama 2's figure, and not every pool.
#
# One more column. We chose the temperature by the reward. What would gold have chosen?

# %%
compare("best_temperature", best_temperature)
print("temperature   reward of best-of-16   gold of one   gold of best-of-16   against your choice, in gold")
golden = {t: [_best_of_n(r, 16, g) for r, g in zip(rewards_at[t], gold_at[t], strict=True)] for t in _sweep}
for t in _sweep:
    gap = np.subtract(golden[t], golden[best_temperature])
    low, high = rslib.theory.bootstrap_interval(gap)
    words = rslib.evaluation.verdict({"difference": gap.mean(), "low": low, "high": high})
    words = "your choice" if t == best_temperature else words
    row = f"{t:11}   {at16[t]:20.2f}   {gold_at[t].mean():11.2f}   {np.mean(golden[t]):18.2f}"
    print(f"{row}   {gap.mean():+.2f} [{low:+.2f}, {high:+.2f}]: {words}")

# %% [markdown]
# If your guess was higher than what the reward chose, you expected variety to pay; if it was lower, you
# expected odd responses to cost. The reward model sees only a part of that cost. Look for a temperature
# whose best-of-16 has nearly the reward of your choice and, in the last column, separably less gold: there
# the reward model forgives what gold does not. It is the same lesson as with n: whatever is tuned by the
# reward model alone is tuned to its errors as well.

# %% [markdown]
# ## The same calls on a real model
#
# The same calls work with larger models. On a machine with a GPU, put the folder or hub id of a policy and
# of a reward model between the quotes, and the curve is drawn the same way. There is no gold score then:
# people, or a second reward model, have to judge.

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
# - Best-of-n is measured from one pool by counting every subset; log n − (n − 1)/n bounds its KL, and
#   serving it costs n responses for each request.
# - More choice helps only as far as the reward model is right: its reward climbs on where gold may turn.
# - n and temperature are settings. Choose them on validation prompts, and not by the reward model alone.

# %%
progress()
