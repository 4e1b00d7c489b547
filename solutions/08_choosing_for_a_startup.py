# %% [markdown]
# # 08 · Choosing a strategy for a startup
#
# Seven notebooks of methods, and now somebody asks: *what should we do?* They have a model, a machine,
# a budget, users who wait, and a reward model that they trust on Tuesdays. There is no best method.
# There is one that fits their limits, and a number that would change your mind.
#
# You will be able to
#
# - compute memory, computation and money of every strategy of this course on one page,
# - say which limit decides for a team, and which change would flip the advice,
# - write it down so that a founder can act on it and a colleague can check it.
#
# About 70 minutes, next to none of it computing; 10.5 points, and 5 by hand for the memo.

# %% role="setup" gpu="Capstone, if you have a GPU"

# %% [markdown]
# ## One model, one napkin
#
# A policy of 7 billion parameters. In bfloat16 a parameter takes 2 bytes. To train it with Adam there
# are its gradient (2 bytes) and, in float32, a copy of it and two moments (12 bytes). How many
# gigabytes does fine-tuning take at its fullest moment, activations left out?

# %% role="predict" name="gigabytes"
guess = ...  # GB (1e9 bytes)
### BEGIN SOLUTION
guess = 112
### END SOLUTION
predict("gigabytes", guess)

# %%
compare("gigabytes", 7 * (2 + 2 + 12))
print("read only, such as a reference or a reward model:", 7 * 2, "GB")

# %% [markdown]
# Eight times what it takes to read it. So what a strategy needs is a matter of how many models are
# *trained*, and how many others are in memory beside them at the same moment. Rejection sampling works
# in stages: it draws, then it scores, then it trains, and each stage has its model alone.
#
# | strategy | read only | trained | passes for each prompt, in FLOPs per parameter and token |
# |---|---|---|---|
# | `serve` | policy, reward model | none | nothing is tuned |
# | `rs` | none at the fullest moment | policy | n × (2 draw + 2 score) + 6 × epochs |
# | `dpo` | reference | policy | n × (2 + 2) + 2 responses × (2 reference + 6 × epochs) |
# | `rloo` | reference, reward model | policy | n × (2 + 2 + 2 reference + 6) |
# | `ppo` | reference, reward model | policy, values | n × (2 + 2 + 2 reference + 2 values + 12 × epochs) |
#
# A pass that reads or draws costs 2 FLOPs per parameter and token, one that trains costs 6. Everything
# is multiplied by the parameters, the tokens of a response with its prompt, and the prompts.

# %% [markdown]
# {{card:8.1}}
#
# Four functions.
#
# - `memory_gb(parameters, strategy)`: GB at the fullest moment, by the table and the bytes above.
# - `training_flops(parameters, tokens, prompts, n, epochs, strategy)`: of tuning once.
# - `cost(flops, peak_flops, utilisation, price_per_hour)`: money. Of a machine's peak only a share is
#   reached.
# - `break_even_requests(prompts, n, epochs)`: after how many requests serving the best of n has cost
#   more than one round of `rs`. A request costs 2 + 2 for each of n responses; the tuned policy draws
#   one, at 2.
#
# An unknown strategy, n below 1 and a utilisation of 0 are a `ValueError`.
#
# <details><summary>Hint</summary>
# Two small dicts, one of models and one of passes, are the table in code. Parameters and tokens cancel
# in the break-even.
# </details>

# %% exercise="8.1" role="answer" name="size"
def memory_gb(parameters, strategy):
    """Gigabytes at the fullest moment. Raises ValueError for an unknown strategy."""
    ### BEGIN SOLUTION
    models = {"serve": (2, 0), "rs": (0, 1), "dpo": (1, 1), "rloo": (2, 1), "ppo": (2, 2)}
    if strategy not in models:
        raise ValueError(f"unknown strategy {strategy!r}")
    reading, trained = models[strategy]
    return parameters * (2 * reading + 16 * trained) / 1e9
    ### END SOLUTION


def training_flops(parameters, tokens, prompts, n, epochs, strategy):
    """FLOPs of tuning once. Raises ValueError for n below 1."""
    ### BEGIN SOLUTION
    if n < 1:
        raise ValueError("there is no best of fewer than one response")
    dpo, ppo = 4 * n + 2 * (2 + 6 * epochs), n * (8 + 12 * epochs)
    passes = {"serve": 0, "rs": 4 * n + 6 * epochs, "dpo": dpo, "rloo": 12 * n, "ppo": ppo}
    return parameters * tokens * prompts * passes[strategy]
    ### END SOLUTION

# %% exercise="8.1" role="answer" name="money"
def cost(flops, peak_flops, utilisation, price_per_hour):
    """What the computation costs. Raises ValueError for a utilisation of 0."""
    ### BEGIN SOLUTION
    if utilisation <= 0:
        raise ValueError("a machine of which nothing is used never ends")
    return flops / (peak_flops * utilisation) / 3600 * price_per_hour
    ### END SOLUTION


def break_even_requests(prompts, n, epochs):
    """Requests after which serving the best of n has cost more than one round of rejection sampling."""
    ### BEGIN SOLUTION
    return prompts * (4 * n + 6 * epochs) / (4 * n - 2)
    ### END SOLUTION

# %% exercise="8.1" role="check"
check("8.1")

# %% [markdown]
# ## When does serving stop being cheap?
#
# Serving the best of 16 needs no training. It is ready today, and it is the strongest policy of this
# course at small n. It has one drawback: it is paid for again at every request. Before you run the
# cell: for 5,000 prompts, best of 16 and three epochs, after how many requests has the round of `rs`
# paid for itself?

# %% role="predict" name="requests"
guess = ...  # requests
### BEGIN SOLUTION
guess = 6600
### END SOLUTION
predict("requests", guess)

# %%
import numpy as np

import rslib

compare("requests", float(break_even_requests(5000, 16, 3)))
requests, sizes = np.logspace(2, 7, 60), (7e9, 500, 5000, 16, 3)
[panel] = rslib.plots.panels(1, 3.4, None)
for strategy, style in (("serve", ":"), ("rs", "-"), ("dpo", "--"), ("ppo", "-.")):
    each = 7e9 * 500 * (64 if strategy == "serve" else 2)
    flops = training_flops(*sizes, strategy) + requests * each
    panel.plot(requests, [cost(f, 1e15, 0.4, 3.0) for f in flops], style, label=strategy)
panel.set(xscale="log", yscale="log", xlabel="requests in a year (7 B parameters)", ylabel="dollars a year")
panel.legend(frameon=False)
even = break_even_requests(5000, 16, 3)
text = f"Serving the best of 16 is the cheapest below {even:,.0f} requests and the dearest above a million."
rslib.plots.finished([panel], "What does a year cost?", text)
rslib.plots.show(panel)

# %% [markdown]
# Look at the sizes of the sums as well. For a model of this size a round costs a few dollars of
# computation; so does PPO. What such a team pays for is the people who can run it, and the machine in
# which it fits. That is why the next exercise has limits and not only prices.

# %% [markdown]
# {{card:8.2}}
#
# Six teams, with their limits. `memory` is in GB of one machine; `slowest` is how many responses a user
# may wait for, drawn one after the other; `rl` is whether anybody can run a reinforcement learning
# loop, which `rloo` and `ppo` need; `trains` is whether weights may be changed at all, which everything
# but `serve` needs. A year's cost (one accelerator of 1e15 FLOPs a second at 40 %, 3 dollars an hour,
# 500 tokens) has to stay within `budget`.
#
# **Acceptable** is what breaks no limit and costs at most 1.25 times the cheapest of those, or `none`.
# Give for each team an acceptable strategy, a *limit* without which the acceptable strategies would be
# others (`memory`, `budget`, `latency`, `weights`, `skill`, or `none`), and a *change* that makes all
# of them unacceptable.

# %%
from autograder.handouts.nb08_2 import CHANGES, yearly_cost

for name, (meaning, _) in CHANGES.items():
    print(f"{name:15} {meaning}")
desk = given("8.2")
desk

# %% [markdown]
# <details><summary>Hint</summary>
# A small function that lists the broken limits of a strategy answers all three questions: call it with
# the team as it is, with one limit taken away, and after each change.
# </details>

# %% exercise="8.2" role="answer"
decisions = {letter: ("", "", "") for letter in desk.teams}
### BEGIN SOLUTION
from dataclasses import replace

RL = ("rloo", "ppo")
FREE = {"memory": 1e9, "budget": 1e12, "slowest": 10**9, "trains": True, "rl": True}


def fitting(team):
    dollars = {name: yearly_cost(team, name) for name in ("serve", "rs", "dpo", *RL)}
    for name in list(dollars):
        small = memory_gb(team.parameters, name) <= team.memory and dollars[name] <= team.budget
        able = team.n <= team.slowest if name == "serve" else team.trains and (name not in RL or team.rl)
        dollars = dollars if small and able else {k: d for k, d in dollars.items() if k != name}
    return {name for name, d in dollars.items() if d <= 1.25 * min(dollars.values())} or {"none"}


for letter, team in desk.teams.items():
    now, names = fitting(team), ("memory", "budget", "latency", "weights", "skill", "none")
    frees = [fitting(replace(team, **{key: value})) != now for key, value in FREE.items()]
    flips = [key for key, (_, change) in CHANGES.items() if not fitting(change(team)) & now]
    decisions[letter] = (min(now), names[(*frees, True).index(True)], (*flips, "nothing")[0])
### END SOLUTION
decisions

# %% exercise="8.2" role="check"
check("8.2")

# %% [markdown]
# ## Write it down
#
# {{card:8.3}}
#
# Choose one of your six teams and write it a memo of 120 to 400 words, for a founder who has not taken
# this course: what you advise, the limit that decides, why not the others, what to measure before
# believing it, and the number at which you would advise something else.
#
# Cite three numbers of your calculator: the memory in GB, the dollars of the year, and the break-even
# in requests. They go into `cited` too. A machine compares text, `cited` and calculator; a person reads
# the rest (docs/memo_rubric.md in the repository).
#
# <details><summary>Hint</summary>
# <code>yearly_cost(team, strategy)</code> is the sum of 8.2, and <code>team.prompts</code>,
# <code>team.n</code> and <code>team.epochs</code> are what the break-even needs.
# </details>

# %% exercise="8.3" role="answer"
cited = {"team": "", "strategy": "", "memory_gb": None, "dollars": None, "break_even_requests": None}
memo = ""
### BEGIN SOLUTION
letter = next(letter for letter, (strategy, *_) in decisions.items() if strategy == "rs")
team = desk.teams[letter]
cited = {"team": letter, "strategy": "rs", "memory_gb": memory_gb(team.parameters, "rs")}
cited["dollars"] = yearly_cost(team, "rs")
cited["break_even_requests"] = break_even_requests(team.prompts, team.n, team.epochs)
size, dollars, even = (cited[name] for name in ("memory_gb", "dollars", "break_even_requests"))
memo = f"""We advise one round of rejection sampling: draw several responses to each of your prompts, keep
the best by your reward model, and fine-tune on what was kept. It fits your machine: at its fullest moment it
takes {size:.0f} GB. Training and a year of serving come to ${dollars:.2f}. Users of yours wait for one
response and not for sixteen, so serving the best of many is out, and it would be paid at every request: the
round has paid for itself after {even:.0f} requests. PPO would hold two trained models and needs somebody who
can run its loop. DPO costs little more. Measure the gain on fresh prompts with careful judges, beside a
random pick of the same responses, with an interval. If that has zero in it, work on the reward model. If
users may wait, serve the best of a few instead."""
### END SOLUTION

# %% exercise="8.3" role="check"
check("8.3")

# %% [markdown] exercise="8.3" role="memo"
# **For the reader of the memo.** The text is the value of `memo` in the answer cell above. Five
# criteria with four levels each, as in the rubric: the limit that decides, the rivals, the evidence
# asked for, what would change the advice, the reader.

# %% [markdown]
# ## What no calculator knows
#
# The calculator counts. It does not know how good a policy will be: that you measured. In the embedded
# world, from 400 prompts, in gold and in seconds of one core:
#
# | | gold | seconds |
# |---|---|---|
# | base | {{rl.json:results.*.base.gold|.1f}} | |
# | one round of best-of-16 | {{rl.json:results.*.rs.gold|.1f}} | {{rl.json:results.*.rs.cpu_seconds|.0f}} |
# | DPO | {{rl.json:results.*.dpo.gold|.1f}} | {{rl.json:results.*.dpo.cpu_seconds|.0f}} |
# | RLOO | {{rl.json:results.*.rloo.gold|.1f}} | {{rl.json:results.*.rloo.cpu_seconds|.0f}} |
# | PPO, with looks at gold | {{rl.json:results.*.ppo.gold|.1f}} | {{rl.json:results.*.ppo.cpu_seconds|.0f}} |
#
# Nor does it know what a large model elsewhere, a program that checks answers, or growing traffic are
# worth. Those are the next three.

# %% [markdown]
# {{card:8.4}}
#
# Three situations, each an answer and its reason: a letter and a digit such as `"B2"`.
#
# <details><summary>Hint</summary>
# Ask of each: which weights change, by whose text, and who pays for it at every request?
# </details>

# %%
sheet = given("8.4")
sheet

# %% exercise="8.4" role="answer"
advice = {"a": "", "b": "", "c": ""}
### BEGIN SOLUTION
chosen = {
    "a": ("Draw and select with the large", "Selected text can"),
    "b": ("Rejection sampling with", "The reward has"),
    "c": ("Tune one round", "Serving costs n"),
}
advice = sheet.labels(chosen)
### END SOLUTION
advice

# %% exercise="8.4" role="check"
check("8.4")

# %% [markdown]
# ## Capstone, if you have a GPU
#
# The whole course in five lines, on a model of your own: local folders or hub ids of a policy and a
# reward model between the quotes. The report that it prints has the base policy, a random control and
# the best of n side by side. Read it as you read the panels of the clinic before you believe it.

# %%
REAL_POLICY, REAL_REWARD_MODEL, PROMPTS, HELD_OUT = "", "", "", ""
if REAL_POLICY and REAL_REWARD_MODEL and PROMPTS:
    models = {"policy": REAL_POLICY, "reward_model": REAL_REWARD_MODEL}
    print(rslib.run(prompts=PROMPTS, n=16, eval_prompts=HELD_OUT, out=runs / "8-real", **models))

# %% [markdown]
# ## The end of the course
#
# You can draw, score, select and tune, and say what each stage should leave behind. You can tell a gain
# from its control, see over-optimisation coming, find the flaw of a run, write PPO, compare methods at
# equal budget and choose one for a reason. Which exercise belongs to which item of the topic:

# %%
from autograder.handouts.items import ITEMS

for item, (title, exercises) in ITEMS.items():
    print(f"{item}  {title:52} {', '.join(exercises)}")

# %% [markdown]
# To read on: *The N implementation details of RLHF with PPO* (Huang et al. 2024), *Llama 2* section 3.2
# (arXiv 2307.09288), *Back to basics* (RLOO, arXiv 2402.14740), *DeepSeekMath* section 5.2 (arXiv
# 2402.03300), and *Scaling laws for reward model overoptimization* (arXiv 2210.10760). All measured
# results of the course are on one page: docs/one_page.md in the repository.

# %% [markdown]
# ## What you now know
#
# - A strategy is chosen by the limit that decides, and the advice names the number that would change
#   it.
# - Trained models decide the memory, requests decide the bill, and neither says how good the policy is.
# - Evidence is a control, an interval, prompts of its own, and a judge that did not select.

# %%
progress()
