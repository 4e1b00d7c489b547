# %% [markdown]
# # 09 · When a program is the judge
#
# Where answers can be checked, no reward model is needed. A program says whether an answer is right: sample, keep what it accepts, fine-tune, and perhaps again.
#
# You will be able to
#
# - write a checker that formatting cannot fool, and say what a careless one teaches,
# - measure pass@k and the majority's answer from one pool, each with its interval,
# - run a round of rejection sampling with a checker beside its controls and GRPO, and say what an interval
#   allows you to say.
#
# About 85 minutes, of which three are computing; 13.5 points.

# %% role="setup" gpu="The same calls on a real model"

# %% [markdown]
# ## Four responses to one problem
#
# *Start with 37. a) Add 5. b) Subtract 2. What is the result?* Here are the last lines of four responses:
#
# | response | last line | right? |
# |---|---|---|
# | A | The answer is 40. | yes |
# | B | The answer is 41. | no |
# | C | #### 40 | yes |
# | D | The answer is 39 or 40 or 41. | it depends on who checks |
#
# A checker that looks for the text *40* in the last line accepts A, C and D. One that wants exactly one
# number accepts A and C.

# %% role="predict" name="fooled"
guess = ...  # a policy learns from the first checker: which of A, B, C, D becomes likelier than A in the end?
### BEGIN SOLUTION
guess = "D"
### END SOLUTION
predict("fooled", guess)

# %%
compare("fooled", "D")
print("D is accepted whenever one of its numbers is right: on hard problems that is oftener than for A.")

# %% [markdown]
# If you guessed A or C: both are accepted when they are right, D also when the policy is not sure. Whatever
# a checker accepts more often is what training on it makes likelier. So the checker comes first.

# %% [markdown]
# {{card:9.1}}
#
# Write `check_answer(response, reference)`. It returns True if the response's answer is the reference.
#
# - The answer stands in the last line that is not empty, behind one of the markers `The answer is`,
#   `Answer:` and `####`, in small or capital letters.
# - Behind the marker there is exactly one number; words, a currency sign or a full stop may stand around
#   it. Two numbers are no answer.
# - Numbers are compared by value: `14`, `14.0`, and `1,400` for 1400; a minus belongs to its number. The
#   reference is a text too.
# - Any text may come: without an answer the result is False.
#
# <details><summary>Hint</summary>
# Cut the line at the marker with <code>re.split(..., flags=re.IGNORECASE)</code>, take what stands behind
# it, find all numbers there, and count them before you compare.
# </details>

# %% exercise="9.1" role="answer"
import re


def check_answer(response, reference):
    """Whether the response's last line gives one answer, equal to the reference.

    response, reference: texts. True or False; never an error.
    """
    ### BEGIN SOLUTION
    lines = [line for line in response.splitlines() if line.strip()]
    parts = re.split(r"the answer is|answer:|####", lines[-1] if lines else "", flags=re.IGNORECASE)
    if len(parts) < 2:
        return False
    numbers = re.findall(r"-?\$?\d[\d,]*(?:\.\d+)?", parts[-1])
    values = [float(number.replace(",", "").replace("$", "")) for number in numbers]
    return values == [float(reference.replace(",", ""))]
    ### END SOLUTION

# %% exercise="9.1" role="check"
check("9.1")

# %% [markdown]
# ## A policy that does sums
#
# `tiny-arithmetic` has 0.6 million parameters. It was trained on worked solutions with mistakes in them,
# mostly where a step crosses a ten; one solution in twenty ends with several numbers. `rslib.score` takes
# your function in place of a reward model and calls it once for each response.

# %%
import numpy as np

import rslib
from rslib.world import arithmetic


def checked(prompt, response, reference):
    return float(check_answer(response, reference))


start = rslib.load_policy("tiny-arithmetic")
problems = arithmetic.load_problems("train", 200)
pool = rslib.score(checked, rslib.sample(start, problems, n=8, seed=1))
few = pool.select([row for row in range(24) if row % 8 < 4])
rslib.browse(few, title="The first four of eight")

# %% role="predict" name="pass"
guess = ...  # a third of the responses is right, and 8 are drawn for each problem: pass@8 is about ...
### BEGIN SOLUTION
guess = 0.7
### END SOLUTION
predict("pass", guess)

# %%
rewards = np.array(pool["reward"][:]).reshape(len(problems), 8)
share, any_right = rewards.mean(), (rewards.max(1) == 1).mean()
print(f"right responses {share:.0%}, problems with at least one of 8 right {any_right:.0%}")
print(f"if all problems were equally hard, 8 would find a right one in {1 - (1 - share) ** 8:.0%} of them")
compare("pass", any_right)

# %% [markdown]
# Problems are not equally hard: some are right in most responses, others in none of eight. So
# $1 - (1 - p)^8$ with the mean p promises too much. The share of problems with a right response among k is
# called **pass@k**: best-of-k on rewards of 0 and 1.

# %% [markdown]
# {{card:9.2}}
#
# Three functions.
#
# - `pass_at_k(correct, k)`: `correct` (M, N) holds 0 and 1. Of each problem, the share of all subsets of k
#   of its N responses that hold at least one right one: with c right ones
#   $1 - \binom{N-c}{k} / \binom{N}{k}$. M numbers. N may be several hundred: count the subsets, do not list
#   them. A ValueError unless 1 ≤ k ≤ N.
# - `majority_right(answers, references)`: `answers` are M lists of numbers or None (no answer). 1 where the
#   most frequent answer is the reference, else 0; tied answers share, so one right among two gives 0.5.
#   None never wins, and where nobody answers the value is 0.
# - `interval(values)`: mean, low and high, 1.96 standard errors of the mean to both sides; the standard
#   deviation is that of a sample (M − 1). Values may be negative: they can be differences of two policies.
#   A ValueError for one value alone.
#
# <details><summary>Hint</summary>
# <code>math.comb(a, b)</code> is 0 where b is larger than a. <code>collections.Counter</code> counts votes.
# </details>

# %% exercise="9.2" role="answer" name="estimators"
import math
from collections import Counter


def pass_at_k(correct, k):
    """Of each row of 0 and 1 (M, N) the chance that k of its N hold a 1: M numbers."""
    ### BEGIN SOLUTION
    rows = np.asarray(correct, dtype=int)
    size = rows.shape[1]
    if not 1 <= k <= size:
        raise ValueError(f"k must be 1 to {size}, not {k}")
    return np.array([1 - math.comb(size - int(c), k) / math.comb(size, k) for c in rows.sum(1)])
    ### END SOLUTION


def majority_right(answers, references):
    """1, 0 or a share for each of M lists of answers: whether its most frequent one is the reference."""
    ### BEGIN SOLUTION
    values = []
    for row, reference in zip(answers, references, strict=True):
        votes = Counter(answer for answer in row if answer is not None)
        top = [answer for answer, count in votes.items() if count == max(votes.values())]
        values.append((reference in top) / len(top) if top else 0.0)
    return np.array(values)
    ### END SOLUTION

# %% exercise="9.2" role="answer" name="interval"
def interval(values):
    """(mean, low, high) of values (M,), at 95 %."""
    ### BEGIN SOLUTION
    values = np.asarray(values, dtype=float)
    if len(values) < 2:
        raise ValueError("one value says nothing about the spread")
    half = 1.96 * values.std(ddof=1) / math.sqrt(len(values))
    return values.mean(), values.mean() - half, values.mean() + half
    ### END SOLUTION

# %% exercise="9.2" role="check"
check("9.2")

# %% [markdown]
# Your estimators on the pool. The majority needs no checker: it is what a served model can do without
# knowing the reference.

# %%
answers = [arithmetic.conclusion(text) for text in pool["response"]]
answers = [answers[8 * m : 8 * m + 8] for m in range(len(problems))]
_references = [int(reference) for reference in problems["reference"]]
_rows = {f"pass@{k}": interval(pass_at_k(rewards, k)) for k in (1, 2, 4, 8)}
_rows["majority of 8"] = interval(majority_right(answers, _references))
_picture, _names = rslib.plots.panels(1, 3.2, None)[0], list(_rows)
for _name, (mean, low, high) in _rows.items():
    print(f"{_name:14} {mean:.2f} [{low:.2f}, {high:.2f}]")
    _picture.errorbar(_name, mean, [[mean - low], [high - mean]], fmt="o", color="#21558c", capsize=4)
_picture.set(ylabel="share of 200 problems", ylim=(0, 1))
_picture.set(xlabel="from 8 responses to each (95 % over problems)")
_text = f"pass@8 is {_rows['pass@8'][0]:.2f}, the majority is right in {_rows['majority of 8'][0]:.2f}."
rslib.plots.finished([_picture], "How often is one of k right?", _text)
rslib.plots.show(_picture)

# %% [markdown]
# Between pass@1 and pass@8 lies what a selector could gain: that is what fine-tuning on right responses
# moves into the policy. The majority gets part of it at 8 times the price of a request.
#
# ## What is worth training on
#
# A right response is worth a row. A second one that writes the same equations teaches what the first did,
# and an easy problem with eight right responses should not outweigh a hard one with a single one.

# %% [markdown]
# {{card:9.3}}
#
# Write `keep(prompt_ids, rewards, paths, most)`. All three lists have one entry a response. A reward is 1
# where the response is right and 0 where it is not; a path is the tuple of equations in the order in which
# the response writes them. Return the numbers of the rows to train on (0 is the first): right ones, each path
# once within its problem, and at most `most` rows of a problem. Of several candidates, the earlier rows are
# kept.
#
# <details><summary>Hint</summary>
# Go through the rows once, with a set of paths for each problem. Put a path into the set only when you
# keep its row.
# </details>

# %% exercise="9.3" role="answer"
def keep(prompt_ids, rewards, paths, most):
    """Row numbers: right, different within their problem, at most `most` of a problem; the earlier first."""
    ### BEGIN SOLUTION
    seen, rows = {}, []
    for row, (problem, reward, path) in enumerate(zip(prompt_ids, rewards, paths, strict=True)):
        known = seen.setdefault(problem, set())
        if reward == 1 and path not in known and len(known) < most:
            known.add(path)
            rows.append(row)
    return rows
    ### END SOLUTION

# %% exercise="9.3" role="check"
check("9.3")

# %%
paths = [arithmetic.equations(text) for text in pool["response"]]
rows = keep(pool["prompt_id"][:], pool["reward"][:], paths, 4)
_right = int(sum(pool["reward"]))
_sound = np.mean([arithmetic.sound(pool["response"][int(row)]) for row in rows])
print(f"{len(pool)} responses, {_right} right, {len(rows)} kept; {_sound:.0%} of these by true equations")

# %% [markdown]
# The last number is the price of judging by the answer alone: some kept responses come to the right number
# by a wrong equation, and two slips that cancel are trained on as if they were a solution.
#
# ## Problems that teach nothing
#
# A group method (RLOO, GRPO) compares the responses to a problem with each other. Where all are right or all
# are wrong there is nothing to compare. Rejection sampling has the same gap on one side: a problem without a
# right response gives no row.

# %% role="predict" name="silent"
guess = ...  # a problem is right with chance 0.9: in which share of groups of 8 is there nothing to compare?
### BEGIN SOLUTION
guess = 0.43
### END SOLUTION
predict("silent", guess)

# %%
compare("silent", 0.9**8 + 0.1**8)

# %% [markdown]
# {{card:9.4}}
#
# Three functions.
#
# - `advantages(rewards)`: GRPO's, for rewards (M, n): minus the row's mean, over the row's standard deviation
#   (n − 1). Where all rewards of a row are equal, all its advantages are 0.
# - `silent(p, n)`: the chance that n responses, each right with chance p, are all right or all wrong. p is
#   a number or an array.
# - `groups_drawn(p, n)`: *dynamic sampling* draws groups of a problem until one is mixed. How many groups is
#   that on average, the mixed one included? Infinite where no group is ever mixed.
#
# <details><summary>Hint</summary>
# If a trial succeeds with chance q, it takes 1 / q trials on average.
# </details>

# %% exercise="9.4" role="answer"
def advantages(rewards):
    """Advantages (M, n) of rewards (M, n), each row its own group."""
    ### BEGIN SOLUTION
    rewards = np.asarray(rewards, dtype=float)
    spread = rewards.std(1, ddof=1, keepdims=True)
    return (rewards - rewards.mean(1, keepdims=True)) / np.where(spread > 0, spread, 1.0)
    ### END SOLUTION


def silent(p, n):
    """The chance of a group of n without a difference, for a chance p (a number or an array)."""
    ### BEGIN SOLUTION
    return np.asarray(p, dtype=float) ** n + (1 - np.asarray(p, dtype=float)) ** n
    ### END SOLUTION


def groups_drawn(p, n):
    """The mean number of groups of n until one is mixed; infinite for p = 0 and p = 1."""
    ### BEGIN SOLUTION
    with np.errstate(divide="ignore"):
        return 1 / (1 - silent(p, n))
    ### END SOLUTION

# %% exercise="9.4" role="check"
check("9.4")

# %%
_still = (np.abs(advantages(rewards)).max(1) == 0).mean()
print(f"groups of 8 without a difference: {_still:.0%} of {len(rewards)} problems")
_ps = np.linspace(0.01, 0.99, 99)
_picture = rslib.plots.panels(1, 3.2, None)[0]
for _n, _colour in ((4, "#9aa7b5"), (8, "#21558c"), (16, "#b4552d")):
    _picture.plot(_ps, groups_drawn(_ps, _n), color=_colour, label=f"n = {_n}")
_picture.set(xlabel="chance p that a response is right", ylabel="groups drawn (log)", yscale="log")
_picture.set_yticks([1, 2, 5, 10, 20], ["1", "2", "5", "10", "20"], minor=False)
_picture.minorticks_off()
_picture.legend()
_text = f"At p = 0.5 about one group is drawn, at p = 0.95 with n = 8 it is {groups_drawn(0.95, 8):.1f}."
rslib.plots.finished([_picture], "What does a mixed group of n responses cost?", _text)
rslib.plots.show(_picture)

# %% [markdown]
# As the policy gets better, more groups are silent, and dynamic sampling pays for each useful group with
# several others. Rejection sampling needs no mixed group: one right response is a row. But
# most right responses belong to easy problems, which is why your `keep` takes only some of each.

# %% [markdown]
# ## One round, its controls, and GRPO
#
# Fine-tuning changes a policy even when nothing was selected: it sharpens. So the question is not whether
# tuning on right responses helps, but whether it helps more than tuning on as many random ones, or on all.
# And does it help as much as GRPO, which reads the same 0 and 1? All four arms start from 1,600
# responses: three from those of the pool, GRPO from its own, drawn in 4 steps of 50 problems × 8.

# %% role="predict" name="control"
guess = ...  # pass@1 of the policy tuned on as many random responses, minus that of the start
### BEGIN SOLUTION
guess = 0.0
### END SOLUTION
predict("control", guess)

# %% [markdown]
# {{card:9.5}}
#
# Two functions, and then the cells below run your round with them.
#
# - `arms(prompt_ids, rewards, paths, most, seed)`: the row numbers of three training sets in a dict.
#   `"right"`: what your `keep` gives. `"random"`: as many rows of the table, each at most once, drawn by the
#   seed and without a look at the rewards. `"all"`: every row.
# - `compared(first, second)`: shares of right responses (M,) of two policies on the same M problems. A dict
#   with `difference`, `low` and `high` of first minus second by your `interval`, paired by problem, and
#   `verdict`, what they say of the sentence "first is right more often": `"supported"`, `"contradicted"` or
#   `"not separable"`.
#
# The check draws anew from your four policies, on problems that you have not seen.
#
# <details><summary>Hint</summary>
# <code>np.random.default_rng(seed).permutation(len(rewards))</code> is every row once, in an order of chance.
# Subtract the shares problem by problem before you ask for an interval.
# </details>

# %% exercise="9.5" role="answer"
def arms(prompt_ids, rewards, paths, most, seed):
    """{"right": ..., "random": ..., "all": ...}: row numbers of a table with one entry a response."""
    ### BEGIN SOLUTION
    right = keep(prompt_ids, rewards, paths, most)
    order = np.random.default_rng(seed).permutation(len(rewards))
    return {"right": right, "random": order[: len(right)], "all": range(len(rewards))}
    ### END SOLUTION


def compared(first, second):
    """{"difference", "low", "high", "verdict"} of first minus second, shares (M,) of the same problems."""
    ### BEGIN SOLUTION
    difference, low, high = interval(np.asarray(first) - np.asarray(second))
    verdict = "supported" if low > 0 else "contradicted" if high < 0 else "not separable"
    return {"difference": difference, "low": low, "high": high, "verdict": verdict}
    ### END SOLUTION

# %% [markdown]
# The round: three tunings on your sets, and GRPO on fresh draws. `checked` is your checker; the exact one
# of the world judges on problems that nobody was tuned on. About a minute, with progress.

# %%
from rslib import rl

heldout = arithmetic.load_problems("validation", 150)
_loop = {"prompts_per_step": 50, "minibatch": 100, "learning_rate": 5e-4, "kl_coefficient": 0.0}
_loop = rl.Loop(steps=4, n=8, normalise_rewards=False, missing_eos_penalty=0.0, **_loop)


def shares(policy):
    """The share of right responses to each of 150 validation problems, 4 responses each."""
    drawn = rslib.sample(policy, heldout, n=4, seed=1_000_003)
    scored = rslib.score(arithmetic.correct, drawn, show_progress=False)
    return np.array(scored["reward"][:]).reshape(-1, 4).mean(1)


_sets, tuned = arms(pool["prompt_id"][:], pool["reward"][:], paths, 4, 0), {}
for _arm, _rows in _sets.items():
    tuned[_arm] = str(runs / f"9-{_arm}")
    _kept = pool.select([int(row) for row in _rows])
    rslib.finetune(start, _kept, tuned[_arm], seed=0, epochs=2)
tuned["GRPO"] = str(runs / "9-GRPO")
_trained = rl.train(start, checked, problems, rl.GRPO(), _loop, out=tuned["GRPO"])

# %%
QUESTIONS = {
    "right over start": ("right", "start"),
    "random over start": ("random", "start"),
    "right over random": ("right", "random"),
    "right over all": ("right", "all"),
    "right over GRPO": ("right", "GRPO"),
}
measured = {"start": shares(start)}
measured |= {arm: shares(rslib.load_policy(folder)) for arm, folder in tuned.items()}
evidence = {name: compared(measured[a], measured[b]) for name, (a, b) in QUESTIONS.items()}
for _name, _finding in evidence.items():
    _ends = f"{_finding['difference']:+.3f} [{_finding['low']:+.3f}, {_finding['high']:+.3f}]"
    print(f"{_name:18} {_ends:25} {_finding['verdict']}")

# %% exercise="9.5" role="check"
check("9.5")

# %% [markdown]
# Each interval is over problems: it says what other problems might have shown of *these* policies. Another
# seed would have tuned others, and one run says nothing about that.

# %%
compare("control", float((measured["random"] - measured["start"]).mean()))

# %% [markdown]
# What does the difference to your guess say? Random rows are what the policy writes itself, so one might
# expect no change at all. The second line says what tuning on so few rows did in your run, and that is part
# of both tunings. *Right over random* takes it out: what is left is the choice of the checker.
#
# Two things to look for in the responses below, which the tuned policy wrote: last lines with several
# numbers, which your checker refused, and sums whose equations are true.

# %%
_drawn = rslib.sample(rslib.load_policy(tuned["right"]), heldout.select(range(4)), n=3, seed=5)
rslib.browse(rslib.score(arithmetic.correct, _drawn, show_progress=False), title="After the tuning")

# %% [markdown]
# ## Longer runs, and a careless checker
#
# Both roads once more, measured beforehand: 400 problems, 9,600 responses, five seeds. Each road was taken
# twice: by the exact checker, and by one that accepts a last line in which the reference stands *among*
# other numbers. The exact one judges, on new problems. Few of these have a single step, so the start is right
# less often there than in your pool.
#
# | learned from | pass@1 | pass@16 | last lines with several numbers |
# |---|---:|---:|---:|
# | nothing: the start | {{verifiable.json:rows.base.*.pass_at_1|.2f}} | {{verifiable.json:rows.base.*.pass_at_16|.2f}} | {{verifiable.json:rows.base.*.several_numbers|.0%}} |
# | right responses | {{verifiable.json:rows.right responses.*.pass_at_1|.2f}} | {{verifiable.json:rows.right responses.*.pass_at_16|.2f}} | {{verifiable.json:rows.right responses.*.several_numbers|.0%}} |
# | GRPO | {{verifiable.json:rows.GRPO.*.pass_at_1|.2f}} | {{verifiable.json:rows.GRPO.*.pass_at_16|.2f}} | {{verifiable.json:rows.GRPO.*.several_numbers|.0%}} |
# | right responses, careless checker | {{verifiable.json:rows.right responses, fooled checker.*.pass_at_1|.2f}} | {{verifiable.json:rows.right responses, fooled checker.*.pass_at_16|.2f}} | {{verifiable.json:rows.right responses, fooled checker.*.several_numbers|.0%}} |
# | GRPO, careless checker | {{verifiable.json:rows.GRPO, fooled checker.*.pass_at_1|.2f}} | {{verifiable.json:rows.GRPO, fooled checker.*.pass_at_16|.2f}} | {{verifiable.json:rows.GRPO, fooled checker.*.several_numbers|.0%}} |

# %% [markdown]
# - {{claim:verifiable.json:differences.pass@1: right responses over GRPO|not separable|By the exact checker the two could not be told apart in pass@1.}}
# - {{claim:verifiable.json:differences.pass@16: GRPO over right responses|supported|In pass@16 GRPO stands higher: more problems have at least one right response among 16.}}
# - {{claim:verifiable.json:differences.several numbers: GRPO, fooled checker over right responses, fooled checker|supported|By the careless checker GRPO writes several numbers more often than rejection sampling does.}}
# - {{claim:verifiable.json:differences.pass@1: GRPO, fooled checker over GRPO|contradicted|It ends with fewer right answers than by the exact checker,}}
#   while the careless one was content: to it {{verifiable.json:rows.GRPO, fooled checker.*.rounds.0.pass_at_1|.0%}} of the first third of that run's
#   responses were right and {{verifiable.json:rows.GRPO, fooled checker.*.rounds.2.pass_at_1|.0%}} of the last.
#
# Why the two roads differ is a question of 9.6.

# %% [markdown]
# ## From here to RL
#
# Each method reads the same 0 and 1 and differs in what it does with the responses that are not right.
#
# | method | draws | learns from |
# |---|---|---|
# | STaR, RFT | all before the tuning | right responses |
# | RAFT | before every step | right responses |
# | RAFT++ | before every few steps | right responses, their ratio clipped |
# | Reinforce-Rej | before every step | all, but for problems that are all right or none right |
# | GRPO | before every few steps | all, beside those of their group |
# | GRPO with dynamic sampling | until each group is mixed | all of the mixed groups |
#
# Their sources: STaR (Zelikman et al. 2022, arXiv 2203.14465), RFT (Yuan et al. 2023, arXiv 2308.01825),
# RAFT (Dong et al. 2023, arXiv 2304.06767), RAFT++ and Reinforce-Rej (Xiong et al. 2025, arXiv
# 2504.11343), GRPO (Shao et al. 2024, arXiv 2402.03300), dynamic sampling (DAPO, Yu et al. 2025, arXiv
# 2503.14476). All of them are coefficients of `rslib.rl`, and `rl.train` takes your checker in place of a
# reward model.

# %% [markdown]
# ## What does it come to?
#
# {{card:9.6}}
#
# Four questions, each an answer and its reason: a letter and a digit such as `"B2"`.
#
# <details><summary>Hint</summary>
# Ask of each: who knows the reference, and when? What does one group, one vote or one row contribute?
# </details>

# %%
sheet = given("9.6")
sheet

# %% exercise="9.6" role="answer"
conclusions = {"a": "", "b": "", "c": "", "d": ""}
### BEGIN SOLUTION
chosen = {
    "a": ("pass@k goes to 1, and majority@k to 0", "One right response"),
    "b": ("GRPO nothing", "A group's mean"),
    "c": ("Lines that pass", "What counts is"),
    "d": ("A pass@1 nearer", "The checker needs"),
}
conclusions = sheet.labels(chosen)
### END SOLUTION
conclusions

# %% exercise="9.6" role="check"
check("9.6")

# %% [markdown]
# ## The same calls on a real model
#
# On a machine with a GPU, put the folder or hub id of a policy that was tuned to follow instructions between
# the quotes. The checker is yours, the problems are the world's.

# %%
REAL_POLICY = ""
if REAL_POLICY:
    _real = rslib.load_policy(REAL_POLICY)
    _asked = arithmetic.load_problems("test", 50)
    _drawn = rslib.sample(_real, _asked, n=8, max_new_tokens=200, seed=0)
    _right = np.array(rslib.score(checked, _drawn)["reward"][:]).reshape(50, 8)
    for k in (1, 8):
        print(f"pass@{k}: {np.round(interval(pass_at_k(_right, k)), 2)} (mean, low, high)")

# %% [markdown]
# ## What you now know
#
# - A checker is a reward: what it accepts too easily is what the policy learns.
# - pass@k says what a selector could find, the majority what a served model can use without a reference.
# - A problem that is all right or all wrong teaches a group method nothing; one without a right response
#   teaches rejection sampling nothing.

# %%
progress()
