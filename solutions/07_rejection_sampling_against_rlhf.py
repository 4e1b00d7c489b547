# %% [markdown]
# # 07 · Rejection sampling against RLHF at equal budget
#
# Two roads lead from a reward model to a better policy. Which is better? Everybody has an answer, few
# have a budget, and fewest an interval. In this notebook you run both roads on your own machine, under
# one ledger, and say what your runs bear out. Sometimes the answer will be that they cannot be told
# apart.
#
# You will be able to
#
# - compare methods at a budget that is held equal, and say what it is,
# - write an interval that knows of seeds and of prompts, and share an error rate among several claims,
# - audit published sentences by a measurement, and answer "not separable" where that is so.
#
# About 90 minutes, of which one is computing; 12.5 points.

# %% role="setup" gpu="The same on a real model"

# %% [markdown]
# ## Two seeds and three prompts
#
# Two methods were run with two seeds each and judged on the same three prompts. Gold, first minus
# second:
#
# | | prompt 1 | prompt 2 | prompt 3 |
# |---|---|---|---|
# | seed 1 | 2.0 | 1.0 | 3.0 |
# | seed 2 | 0.0 | −1.0 | 1.0 |
#
# The mean of the six is 1. If each cell were a measurement of its own, the standard error would be
# 0.58. But a third seed would move a whole row. What is the standard error of the two row means?

# %% role="predict" name="error"
guess = ...  # standard deviation of the two row means, over the root of 2
### BEGIN SOLUTION
guess = 1.0
### END SOLUTION
predict("error", guess)

# %%
import numpy as np

import rslib

apart = np.array([[2.0, 1.0, 3.0], [0.0, -1.0, 1.0]])
compare("error", float(apart.mean(1).std(ddof=1) / np.sqrt(2)))
print(f"six cells as six measurements: {apart.std(ddof=1) / np.sqrt(6):.2f}")
print(f"three prompts, with these two seeds: {apart.mean(0).std(ddof=1) / np.sqrt(3):.2f}")

# %% [markdown]
# Three numbers, for three questions. The cells of a row share a policy, those of a column share a
# prompt. Who asks how *another run* would do, on *other prompts*, needs both kinds of spread: the
# variance of the mean over seeds plus the variance of the mean over prompts. And with two or three
# seeds that spread is itself a guess, so the factor is Student's and not 1.96.

# %% [markdown]
# ## The arena
#
# Seven arms start from the same policy, with the same reward model and prompts: base, best of 16 at
# serving, a random control, RS-1 (one round of rejection sampling), DPO, RLOO and PPO. Those that train
# get one budget in FLOPs, and a ledger that stops them when it is spent. Settings are those that the
# big arena's trials chose.
#
# It is small, so that it runs in a minute. Before it does: which claims will such an arena be able to
# decide?

# %% role="predict" name="decided"
guess = ...  # how many of five claims will not be "not separable"?
### BEGIN SOLUTION
guess = 1
### END SOLUTION
predict("decided", guess)

# %%
arena = given("7.1")
print(f"budget {arena.budget:.2g} FLOPs, seeds {arena.seeds}, judged on {arena.prompts} prompts")
print("arms:", ", ".join(arena.arms))
for claim, pair in arena.claims.items():
    print(f"claim: {claim:20} {pair[0]} has more gold than {pair[1]}")

# %% [markdown]
# {{card:7.1}}
#
# - `interval(first, second, level)`: tables of gold (S, M), a row for each seed. Return the difference
#   of the means, and the lower and upper end at this level. With one seed the ends are minus and plus
#   infinity.
# - `verdict(low, high)`: `"supported"`, `"contradicted"` or `"not separable"`. An end on 0, or NaN,
#   decides nothing.
# - `results`: a list with one dict for each arm and seed: `arm`, `seed`, `policy` (its folder),
#   `ledger`, and the `gold`, `reward` and `kl` that `arena.judge` gives.
# - `findings`: for each claim `difference`, `low`, `high`, `verdict`. There are five claims; share the
#   5 % among them.
#
# <details><summary>Hint</summary>
# <code>arena.tune(arm, seed, out)</code> gives a policy and its ledger,
# <code>arena.judge(policy, seed, n=1)</code> its numbers; the served arm is judged with n = 16.
# <code>student_quantile(tail, degrees)</code> gives Student's t. As degrees the seeds minus 1 are cautious;
# Satterthwaite's are (a + b)² / (a² / (S − 1) + b² / (M − 1)), for variances a over seeds and b over
# prompts.
# </details>

# %% exercise="7.1" role="answer" name="reading"
import math

from rslib.theory import student_quantile


def interval(first, second, level):
    """(difference, low, high) of two tables of gold (S, M), over seeds and prompts."""
    ### BEGIN SOLUTION
    apart = np.asarray(first, dtype=float) - np.asarray(second, dtype=float)
    seeds, prompts = apart.shape
    mean = float(apart.mean())
    if seeds == 1:
        return mean, -math.inf, math.inf
    one, two = apart.mean(1).var(ddof=1) / seeds, apart.mean(0).var(ddof=1) / prompts
    if one + two == 0:
        return mean, mean, mean
    degrees = (one + two) ** 2 / (one**2 / (seeds - 1) + two**2 / (prompts - 1))
    half = math.sqrt(one + two) * student_quantile((1 - level) / 2, degrees)
    return mean, mean - half, mean + half
    ### END SOLUTION


def verdict(low, high):
    """What an interval says of the claim that the difference is above 0."""
    ### BEGIN SOLUTION
    return "supported" if low > 0 else "contradicted" if high < 0 else "not separable"
    ### END SOLUTION

# %% exercise="7.1" role="answer" name="runs"
results, findings = [], {}
### BEGIN SOLUTION
for arm in arena.arms:
    for seed in arena.seeds:
        tuned, ledger = arena.tune(arm, seed, runs / f"7-{arm}-{seed}")
        row = {"arm": arm, "seed": seed, "policy": str(tuned.path), "ledger": ledger}
        results.append(row | arena.judge(tuned, seed, n=16 if arm == "best_of_n" else 1))


def gold_of(arm):
    return np.array([row["gold"] for row in results if row["arm"] == arm])


for claim, (first, second) in arena.claims.items():
    difference, low, high = interval(gold_of(first), gold_of(second), 1 - 0.05 / len(arena.claims))
    findings[claim] = {"difference": difference, "low": low, "high": high, "verdict": verdict(low, high)}
### END SOLUTION

# %% exercise="7.1" role="check"
check("7.1")

# %% [markdown]
# First the ledger: did everybody spend alike? Then the five differences, each with the interval that
# holds together with the other four.

# %%
compare("decided", sum(found["verdict"] != "not separable" for found in findings.values()))
print("arm         gold   reward     KL   GFLOPs  responses  models")
for arm in arena.arms:
    mine = [row for row in results if row["arm"] == arm]
    gold, reward, kl = (np.mean([np.mean(row[name]) for row in mine]) for name in ("gold", "reward", "kl"))
    ledger = mine[0]["ledger"]
    costs = f"{ledger['flops'] / 1e9:8.0f} {ledger['responses']:10} {ledger['models']:7}"
    print(f"{arm:10} {gold:5.2f} {reward:8.2f} {kl:6.2f} {costs}")

# %%
[panel] = rslib.plots.panels(1, 3.0, None)
for at, found in enumerate(findings.values()):
    panel.plot([found["low"], found["high"]], [at, at], color="#21558c")
    panel.plot(found["difference"], at, "o", color="#21558c")
panel.axvline(0, color="#6b7785", linestyle=":")
panel.set_yticks(range(len(findings)), findings)
panel.set_xlabel(f"difference in gold (points), 99 % intervals, n = {len(arena.seeds)} seeds")
text = "; ".join(f"{claim}: {found['verdict']}" for claim, found in findings.items())
rslib.plots.finished([panel], "What do your own runs decide?", text)
rslib.plots.show(panel)

# %% [markdown]
# Few claims survive so small an arena, and that is a finding. Three seeds say little of how seeds
# spread. The arena of the repository has eight seeds, 200 test prompts and three kinds of equal budget;
# there PPO has more gold than one round of rejection sampling for the same *responses*, and cannot be
# told from it for the same *FLOPs*. Both sentences are true, and whoever quotes one without its budget
# has said nothing.

# %% [markdown]
# ## What a method asks of you
#
# Gold is one column. Another is what must be in memory, what has to be tuned, how much code there is to
# read, whether anything is pushed down, and how far gold moves when the settings do. None of that has
# to be remembered: the engine knows.

# %% role="predict" name="settings"
guess = ...  # which has more settings that somebody tunes: "rs1" or "ppo"?
### BEGIN SOLUTION
guess = "ppo"
### END SOLUTION
predict("settings", guess)

# %%
evidence = given("7.2")
arm, made, trials, coefficients = evidence["ppo"]
compare("settings", max(("rs1", "ppo"), key=lambda name: evidence[name][0].hyper_parameters()))
print("settings of PPO live in", [kind.__name__ for kind in arm.settings], "and", list(arm.more))
print("a run:", made[0]["ledger"])
print("a trial:", {name: trials[0][name] for name in ("setting", "means") if name in trials[0]})
print("coefficients of six responses, first token:", coefficients[:, 0])

# %% [markdown]
# {{card:7.2}}
#
# `describe(arm, runs, trials, coefficients)` returns a dict with
#
# - `models`: the most models that any of its runs held,
# - `settings`: how many fields of the dataclasses in `arm.settings`, and of `arm.more`, somebody tunes:
#   not those named in `rslib.arena.UNTUNED`,
# - `lines`: lines of code of `arm.own`, by `rslib.arena.code_lines`,
# - `negatives`: whether any coefficient pushes a token down,
# - `sensitivity`: highest minus lowest gold of the trials that have one (a trial that stopped has no
#   `means`); 0.0 without trials.
#
# It is tried on made-up methods. `methods` holds its answer for each of `evidence`.
#
# <details><summary>Hint</summary>
# <code>dataclasses.fields(kind)</code> lists the fields of a dataclass.
# An arm that trains nothing has no trials and
# an empty table of coefficients.
# </details>

# %% exercise="7.2" role="answer"
import dataclasses

from rslib.arena import UNTUNED, code_lines


def describe(arm, runs, trials, coefficients):
    """What a method asks for, from the engine."""
    ### BEGIN SOLUTION
    names = [field.name for kind in arm.settings for field in dataclasses.fields(kind)] + list(arm.more)
    gold = [trial["means"]["gold"] for trial in trials if "means" in trial]
    return {
        "models": max(run["ledger"]["models"] for run in runs),
        "settings": sum(name not in UNTUNED for name in names),
        "lines": code_lines(arm.own),
        "negatives": bool((coefficients < 0).any()),
        "sensitivity": max(gold) - min(gold) if gold else 0.0,
    }
    ### END SOLUTION


methods = {}
### BEGIN SOLUTION
methods = {name: describe(*found) for name, found in evidence.items()}
### END SOLUTION

# %% exercise="7.2" role="check"
check("7.2")

# %%
print("method      models  settings  lines  pushes down  gold moves by")
for name, row in methods.items():
    numbers = f"{row['models']:6} {row['settings']:9} {row['lines']:6} {str(row['negatives']):>12}"
    print(f"{name:10} {numbers} {row['sensitivity']:12.2f}")

# %% [markdown]
# ## Which sentences survive?
#
# Papers compare, and their sentences travel farther than their tables. Here are eight of them in our
# words, and thirteen differences of the repository's own measurements, each with an interval that holds
# together with all the others.

# %%
sheet = given("7.3")
sheet

# %% [markdown]
# {{card:7.3}}
#
# For each statement give the number of the cell that tests it, same arms, same thing held equal, in
# gold and not in what was selected for, and what the interval says: `(4, "supported")`,
# `"contradicted"` or `"not separable"`.
#
# <details><summary>Hint</summary>
# A statement "A is better than B" is tested by A minus B. If the cell has it the other way round, turn
# the verdict in your head, not the cell.
# </details>

# %% exercise="7.3" role="answer"
audit = {letter: (0, "") for letter in "abcdefgh"}
### BEGIN SOLUTION
number_of = {words: number for number, words in sheet.cells.items()}
read = {
    "a": ("best-of-16 serving minus PPO: gold, equal FLOPs", "supported"),
    "b": ("PPO minus RS-1: gold, equal FLOPs", "not separable"),
    "c": ("PPO minus RS-1: gold, no equal budgets", "not separable"),
    "d": ("RS-3 minus RS-1: gold, equal seconds", "contradicted"),
    "e": ("PPO minus DPO: FLOPs spent, equal responses", "supported"),
    "f": ("PPO minus DPO: models held, equal responses", "supported"),
    "g": ("PPO minus DPO: gold, equal FLOPs", "supported"),
    "h": ("PPO without KL minus base: gold, no equal budgets", "not separable"),
}
audit = {letter: (number_of[words], verdict) for letter, (words, verdict) in read.items()}
### END SOLUTION
audit

# %% exercise="7.3" role="check"
check("7.3")

# %% [markdown]
# A sentence that does not survive is not false. It may hold for large models, other rewards, other
# budgets; what was found is that *this* measurement does not bear it out, or bears out the contrary.
# The embedded world is two small transformers. What carries over is how to ask.
#
# | the interval | what may be written |
# |---|---|
# | lies above 0 | supported, at this budget, in this world |
# | lies below 0 | contradicted, at this budget, in this world |
# | has 0 in it | not separable; how wide it is says what more runs could find |

# %% [markdown]
# ## Two roads, one reward model
#
# Last, three questions that no table answers alone.

# %%
sheet = given("7.4")
sheet

# %% [markdown]
# {{card:7.4}}
#
# An answer and its reason, a letter and a digit such as `"B2"`.
#
# <details><summary>Hint</summary>
# Notebook 03 has the law of best-of-n, notebook 06 what each method puts on a token. Ask of each option
# whose samples it needs, and how often.
# </details>

# %% exercise="7.4" role="answer"
roads = {"a": "", "b": "", "c": ""}
### BEGIN SOLUTION
chosen = {
    "a": ("They are two different laws; the", "Of all laws"),
    "b": ("Rejection sampling explores", "PPO draws anew"),
    "c": ("PPO goes on", "A second round"),
}
roads = sheet.labels(chosen)
### END SOLUTION
roads

# %% exercise="7.4" role="check"
check("7.4")

# %% [markdown]
# ## The same on a real model
#
# `make arena` runs the big arena on the embedded world. For models of your own, give both
# roads the same ledger: put folders or hub ids between the quotes, on a machine with a GPU.

# %%
REAL_POLICY, REAL_REWARD_MODEL = "", ""
if REAL_POLICY and REAL_REWARD_MODEL:
    from rslib import load_policy, load_prompts, load_reward_model, rl

    real = load_policy(REAL_POLICY), load_reward_model(REAL_REWARD_MODEL), load_prompts("everyday")
    rl.train(*real, rl.RLOO(), rl.Loop(steps=50, budget=1024, budget_unit="responses"), out=runs / "7-real")

# %% [markdown]
# ## What you now know
#
# - A comparison names what is held equal. At equal responses, FLOPs and seconds the same methods rank
#   differently.
# - Seeds and prompts both spread, claims share an error rate, and "not separable" is an answer.
# - What a method costs in memory, settings and code can be read from the engine.

# %%
progress()
