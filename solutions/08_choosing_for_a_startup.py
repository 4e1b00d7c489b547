# %% [markdown]
# # 08 · Choosing a strategy for a startup
#
# Seven notebooks of methods, and now somebody asks: *what should we do?* They have a model, a machine, a
# budget, users who wait, and a reward model that they only half trust. There is no best method. There is
# one that fits their limits, and a number that would change your mind.
#
# You will be able to
#
# - compute memory, computation, dollars and waiting time of every strategy of this course on one page,
# - say which limit decides for a team, and which change would flip the advice,
# - write it down so that a founder can act on it and a colleague can check it.
#
# About 90 minutes, next to none of it computing; 10.5 points, and 5 by hand for the memo.

# %% role="setup" gpu="Capstone, if you have a GPU"

# %% [markdown]
# ## What is counted with
#
# A calculation for a budget is as good as its inputs. Here are all of them, each with its source. Where it
# says *our assumption*, put in your own number; further down you will see which of them matter.

# %%
from autograder.handouts.nb08_prices import Facts

Facts()

# %% [markdown]
# ## One model, three ways to hold it
#
# A policy of 7 B (7 billion) parameters. In bfloat16 a parameter takes 2 bytes. To train it with Adam there
# are its gradient (2 bytes) and, in float32, a copy of it and two moments (12 bytes). How many gigabytes
# do weights, gradients and optimiser take together?

# %% role="predict" name="gigabytes"
guess = ...  # GB (1e9 bytes)
### BEGIN SOLUTION
guess = 112
### END SOLUTION
predict("gigabytes", guess)

# %%
compare("gigabytes", 7 * (2 + 2 + 12))
print("only read, such as a reference or a reward model:", 7 * 2, "GB")

# %% [markdown]
# **Explain why.** Before you open the next line: which part of the 112 GB did you forget, or count twice?
#
# <details><summary>What makes the difference</summary>
# The weights themselves are an eighth. Three quarters are what Adam keeps in float32. So whoever trains few
# weights saves nearly all of it, and that is what LoRA does.
# </details>
#
# **LoRA** freezes the weights and trains adapters, thin matrices beside them, with well under 1 % as many
# parameters. **4-bit** (QLoRA) also stores the frozen weights in 4 bits. In bytes a parameter:
#
# | `weights` | a model that reads or draws | a model that is trained | FLOPs to train |
# |---|---:|---:|---:|
# | `full` | 2 | 16 | 6 |
# | `lora` | 2 | 2.1 | 4 |
# | `4bit` | 0.52 | 0.62 | 4 |
#
# The last column is per parameter and token; reading or drawing costs 2. A frozen weight passes the
# gradient on and needs none of its own, which saves 2 of 6.

# %% [markdown]
# ## Five strategies
#
# `serve` gives users the best of n and tunes nothing; `rs` is one round of rejection sampling fine-tuning;
# `dpo`, `rloo` and `ppo` are those of notebook 06. Every one draws n responses to a prompt and lets a judge
# score them: a reward model, or a program with 0 parameters. What is in memory at once, and what is computed
# for each prompt:
#
# | strategy | only read | trained | passes, in FLOPs per parameter and token |
# |---|---|---|---|
# | `serve` | policy, judge | none | 0 |
# | `rs` | the judge, alone | policy, alone | n × (2 draw + 2 score) + 6 × epochs |
# | `dpo` | the judge, alone; reference | policy | n × (2 draw + 2 score) + 2 × (2 reference + 6 × epochs) |
# | `rloo` | reference, judge | policy | n × (2 draw + 2 score + 2 reference + 6) |
# | `ppo` | reference, judge | policy, values | n × (2 draw + 2 score + 4 read + 12 × epochs) |

# %% [markdown]
# How to read it:
#
# - `rs` and `dpo` work in stages: they score first, with the judge alone in memory, and train afterwards
#   (`dpo` with its reference beside the policy). The larger of the two stages is what must fit.
# - `rloo` and `ppo` draw, score and train in one loop, so everything is in memory at the same moment. PPO's
#   value model is as large as the policy and is trained like it; the 4 are the reading of reference and
#   value model. `rloo` trains once on what it has drawn, whatever `epochs` says.
# - With adapters the reference is the policy itself, its adapters switched off: it takes no memory of its
#   own. It still has to read.
# - Scoring counts the judge's parameters, everything else the policy's. With adapters each 6 is a 4, and the
#   12 is an 8.
# - `dpo` trains on the best and the worst of n. It can also be trained on labelled pairs directly, without
#   drawing and without a judge (Rafailov et al. 2023).
# - Left out: a sampling engine of its own, which holds one more copy of the policy; and that engines read a
#   prompt once for its n responses, where we count it n times.

# %% [markdown]
# {{card:8.1}}
#
# Five functions. Their arguments are numbers and two words, `strategy` and `weights`.
#
# - `memory_gb(parameters, judge, strategy, weights)`: GB at the fullest moment, by the tables above.
# - `tuning_flops(parameters, judge, tokens, prompts, n, epochs, strategy, weights)`: the FLOPs of tuning
#   once, as a pair: those of drawing, and all others. `tokens` are those of a prompt with its response.
# - `cost(drawn, other, peak, hour, drawing=0.1, working=0.4)`: dollars. Drawing reaches the share `drawing`
#   of a machine's peak (FLOPs a second), everything else the share `working`; the machine costs `hour`
#   dollars an hour.
# - `break_even_requests(once, serving, tuned)`: requests after which serving the best of n has cost more.
#   Tuning costs `once` dollars more to set up, and a request costs `serving` or `tuned` dollars. Infinity
#   (`math.inf`) where it never does.

# %% [markdown]
# - `wait_seconds(parameters, judge, tokens, n, strategy, weights, peak, bandwidth)`: seconds until a user
#   sees the first word. `tokens` is a pair: of the prompt, and of a response.
#
# The waiting, in FLOPs a second $f = 0.4 \cdot \text{peak}$, with $P$ parameters of the policy, $J$ of the
# judge and $b$ bytes a parameter that is read:
#
# $$\text{read} = \frac{2 P \cdot \text{prompt}}{f} \qquad
# \text{step}(m) = \max\left(\frac{b P}{\text{bandwidth}}, \frac{2 P m}{f}\right)$$
#
# A step draws one token for each of m responses: it fetches every weight once, for all of them, and waits
# for the fetching or for the computing, whichever takes longer. A tuned policy draws one response and shows
# its words as they come: it waits for $\text{read} + \text{step}(1)$. Best-of-n can show nothing before all
# n are drawn, together, and the judge has read them:
#
# $$\text{read} + \text{response} \cdot \text{step}(n) + \frac{2 J n\,(\text{prompt} + \text{response})}{f}$$

# %% [markdown]
# A `ValueError` is right for: an unknown strategy or unknown weights in `memory_gb`; n below 1 or an
# unknown strategy in `tuning_flops`; a share of 0 in `cost`; n below 1 in `wait_seconds`; a negative amount
# in `break_even_requests`.
#
# <details><summary>Hint</summary>
# Three small dicts are the tables in code: bytes by weights, and one with an entry for each strategy in
# <code>memory_gb</code> and in <code>tuning_flops</code>. The reference takes memory only where
# <code>weights == "full"</code>. In <code>wait_seconds</code> write <code>step</code> as a function of m.
# </details>

# %% exercise="8.1" role="answer" name="size"
BYTES = {"full": (2, 16), "lora": (2, 2.1), "4bit": (0.52, 0.62)}


def memory_gb(parameters, judge, strategy, weights):
    """Gigabytes at the fullest moment: a number. ValueError for an unknown strategy or unknown weights."""
    ### BEGIN SOLUTION
    if strategy not in ("serve", "rs", "dpo", "rloo", "ppo") or weights not in BYTES:
        raise ValueError(f"unknown strategy {strategy!r} or weights {weights!r}")
    reads, trained = BYTES[weights]
    policy, scorer, tuned = reads * parameters, reads * judge, trained * parameters
    reference = policy if weights == "full" else 0
    staged = {"serve": policy + scorer, "rs": max(tuned, scorer), "dpo": max(reference + tuned, scorer)}
    loops = {"rloo": reference + scorer + tuned, "ppo": reference + scorer + 2 * tuned}
    return (staged | loops)[strategy] / 1e9
    ### END SOLUTION


# %% exercise="8.1" role="answer" name="passes"
def tuning_flops(parameters, judge, tokens, prompts, n, epochs, strategy, weights):
    """Two numbers: FLOPs of drawing, and all others, of tuning once. ValueError for n < 1."""
    ### BEGIN SOLUTION
    if n < 1 or strategy not in ("serve", "rs", "dpo", "rloo", "ppo"):
        raise ValueError(f"n is {n}, the strategy {strategy!r}")
    train = 6 if weights == "full" else 4
    after = {"serve": 0, "rs": train * epochs, "dpo": 2 * (2 + train * epochs), "rloo": n * (2 + train)}
    after["ppo"] = n * (2 + 2 + 2 * train * epochs)
    drawn, scored = (0, 0) if strategy == "serve" else (2 * n * parameters, 2 * n * judge)
    texts = tokens * prompts
    return drawn * texts, (scored + after[strategy] * parameters) * texts
    ### END SOLUTION


def cost(drawn, other, peak, hour, drawing=0.1, working=0.4):
    """Dollars of these FLOPs: a number. ValueError for a share of 0."""
    ### BEGIN SOLUTION
    if drawing <= 0 or working <= 0:
        raise ValueError("a machine of which nothing is used never ends")
    return (drawn / drawing + other / working) / peak / 3600 * hour
    ### END SOLUTION

# %% [markdown]
# The last two: what users feel, and when serving stops being cheap.

# %% exercise="8.1" role="answer" name="users"
def wait_seconds(parameters, judge, tokens, n, strategy, weights, peak, bandwidth):
    """Seconds until the first word: a number. tokens: (prompt, response). ValueError for n < 1."""
    ### BEGIN SOLUTION
    if n < 1:
        raise ValueError("nobody waits for the best of none")
    (prompt, reply), flops = tokens, 0.4 * peak
    rows, steps, scored = (n, reply, n * (prompt + reply)) if strategy == "serve" else (1, 1, 0)
    step = max(BYTES[weights][0] * parameters / bandwidth, 2 * parameters * rows / flops)
    return 2 * parameters * prompt / flops + steps * step + 2 * judge * scored / flops
    ### END SOLUTION


def break_even_requests(once, serving, tuned):
    """Requests after which serving has cost more, or math.inf. ValueError for a negative amount."""
    ### BEGIN SOLUTION
    if min(once, serving, tuned) < 0:
        raise ValueError("an amount below 0")
    return once / (serving - tuned) if serving > tuned else float("inf")
    ### END SOLUTION

# %% exercise="8.1" role="check"
check("8.1")

# %% [markdown]
# ## Where does the money go?
#
# From here on **your** functions fill the tables. The first team is a shop with a support bot: policy and
# reward model of 8 B each on one H100, 20,000 comparisons bought at one dollar, 20,000 prompts, the best of
# 16, three epochs, 1 M requests in the first year. Four items make the bill: `labels` for the reward model,
# `people` who set the strategy up, `tuning`, and `serving`. Which is the largest for a round of `rs`?

# %% role="predict" name="largest_item"
guess = ...  # "labels", "people", "tuning" or "serving"
### BEGIN SOLUTION
guess = "tuning"
### END SOLUTION
predict("largest_item", guess)

# %%
from autograder.handouts.nb08_2 import Sheet, Team, calculator_of, dollars, even, rows
from autograder.handouts.nb08_prices import MACHINES, PRICES, STRATEGIES

# Run this cell again whenever you change a function of 8.1.
tools = calculator_of(memory_gb, tuning_flops, cost, wait_seconds, break_even_requests)
_h100, _wins = MACHINES["one H100"], (70, 64, 62, 66, 68)
shop = Team("A support bot", 8e9, 8e9, 20_000, 1.0, _h100, _h100, 1e6, 2.0, True, True, _wins, 60, 100_000)
if tools:
    _row, _items = rows(shop, tools)["rs"], ("labels", "people", "tuning", "serving")
    _bill = {name: getattr(_row, name) for name in _items}
    compare("largest_item", max(_bill, key=_bill.get))
Sheet(shop, tools) if tools else None

# %%
import rslib

if tools:
    _items = {"labels": "", "people": "//", "tuning": "xx", "serving": ".."}
    _shades, _table = ("#1c5a9c", "#5a9ad2", "#7a7a7a", "#d8690c"), rows(shop, tools)
    [_panel] = rslib.plots.panels(1, 3.2, None)
    _left = [0.0] * len(STRATEGIES)
    for (_item, _hatch), _shade in zip(_items.items(), _shades, strict=True):
        _sums = [getattr(_table[name], _item) for name in STRATEGIES]
        _style = {"hatch": _hatch, "edgecolor": "white"}
        _panel.barh(STRATEGIES, _sums, left=_left, color=_shade, label=_item, **_style)
        _left = [a + b for a, b in zip(_left, _sums, strict=True)]
    _panel.set(xlabel="the first year (8 B parameters, 1 M requests); tuning is too little to see")
    _panel.xaxis.set_major_formatter(lambda value, _: dollars(value))
    _panel.invert_yaxis()
    _panel.legend(framealpha=1, edgecolor="none")
    _text = "; ".join(f"{name} {dollars(total)}" for name, total in zip(STRATEGIES, _left, strict=True))
    rslib.plots.finished([_panel], "Where does the money of the first year go?", f"In all: {_text}.")
    rslib.plots.show(_panel)

# %% [markdown]
# **Explain why.** Your guess and the table: what makes one item hundreds of times another?
#
# <details><summary>What makes the difference</summary>
# Tuning an 8 B policy once takes hours of one machine at a few dollars an hour. The labels take a person
# half a minute or more each, and an engineer's weeks are paid whether machines run or not. PPO's computation
# costs more than that of <code>rs</code>, and both are small beside the weeks in which somebody makes it run.
# </details>
#
# So *cheaper by computation* decides little for a model of this size. The labels are the same for every
# strategy, which is why 8.2 has limits besides prices. Two things are left out. A machine of your own that
# stands ready all year costs 8,760 hours, whoever asks: here only the hours in use are billed, as a host
# bills them. And labels wear out: when the product changes, some have to be bought again.

# %% [markdown]
# ## When does serving stop being cheap?
#
# Serving the best of 16 needs no tuning and is ready first; how good it is you measured in notebook 07. But
# its sixteen responses are paid for at every request, while a round of `rs` is paid once. For the shop: after
# how many requests has the round paid for itself, people included?

# %% role="predict" name="requests"
guess = ...  # requests
### BEGIN SOLUTION
guess = 35_000
### END SOLUTION
predict("requests", guess)

# %%
from dataclasses import replace

import numpy as np

from autograder.handouts.nb08_2 import request, short_number

if tools:
    compare("requests", f"{short_number(even(shop, tools))} requests")

# %%
if tools:
    _even, _many = even(shop, tools), np.logspace(4, 9, 60)
    [_panel] = rslib.plots.panels(1, 3.6, None)
    _table, _styles = rows(shop, tools), (":", "-", "--", (0, (5, 1, 1, 1)), "-.")
    for _style, (_name, _row) in zip(_styles, _table.items(), strict=True):
        _sums = _row.people + _row.tuning + _many * request(shop, _name, tools)
        _panel.plot(_many, _sums, linestyle=_style, label=_name)
    _panel.axvline(_even, color="#7a7a7a", linewidth=0.8)
    _panel.annotate(f" break-even: {short_number(_even)}", (_even, 2e5), fontsize=9)
    _axes = {"xlabel": "requests in the year (8 B, best of 16)", "ylabel": "dollars without labels"}
    _panel.set(xscale="log", yscale="log", **_axes)
    _panel.xaxis.set_major_formatter(lambda value, _: short_number(value))
    _panel.yaxis.set_major_formatter(lambda value, _: dollars(value))
    _panel.legend(frameon=False)
    _text = f"Without labels, serve costs less than rs up to {short_number(_even)} requests."
    rslib.plots.finished([_panel], "Which strategy is the cheapest?", _text)
    rslib.plots.show(_panel)

# %% [markdown]
# **Explain why.** If you were off by a factor of a hundred: what had you left out?
#
# <details><summary>What makes the difference</summary>
# By computation alone the round has paid for itself within tens of thousands of requests: the third line
# of the next table. The extra week of an engineer costs as much as millions of requests to the best of 16.
# </details>
#
# Which assumption carries the conclusion? Change one at a time, and run the cell with your own.

# %%
from IPython.display import HTML

from autograder.exercise import table

if tools:
    _slow, _dear = replace(PRICES, drawing=0.02), replace(_h100, hour=6.0)
    _equal = replace(PRICES, weeks=tuple((name, 1.0) for name in STRATEGIES))
    _cases = {
        "as assumed": (shop, PRICES),
        "an engineer's week at $8,000": (shop, replace(PRICES, week=8000.0)),
        "rs takes no more weeks than serve": (shop, _equal),
        "an H100 at $6 an hour": (replace(shop, trainer=_dear, server=_dear), PRICES),
        "drawing at 2 % of the peak, few users at a time": (shop, _slow),
        "the best of 4": (replace(shop, n=4), PRICES),
    }
    _rows = [(what, short_number(even(team, tools, prices))) for what, (team, prices) in _cases.items()]
    _even_table = table("When has the round paid for itself?", _rows, ("assumption", "requests"))
HTML(_even_table) if tools else None

# %% [markdown]
# ## How long does a user wait?
#
# A response of 300 tokens from the shop's 8 B policy takes one H100 about a second and a half. How many
# times as long does the best of 16 take, until it can be shown?
#
# Every second here is a lower bound: the whole bandwidth is used, nobody else is served, and there is no
# network. Trust the ratios, and measure the seconds on your own engine.

# %% role="predict" name="times_as_long"
guess = ...  # 1 would be as long
### BEGIN SOLUTION
guess = 16
### END SOLUTION
predict("times_as_long", guess)

# %%
def _waits(machine, n, strategy="serve", size=8e9, weights="full"):
    pair = (PRICES.prompt, PRICES.reply)
    return tools.wait_seconds(size, size, pair, n, strategy, weights, machine.peak, machine.bandwidth)


if tools:
    compare("times_as_long", float(_waits(_h100, 16) / _waits(_h100, 1)))
    _cases = (("one H100", 8e9, "full"), ("one L4", 8e9, "4bit"), ("a phone", 1e9, "4bit"))
    _rows, _ns = [], (1, 4, 16, 64)
    for _name, _size, _weights in _cases:
        _first = _waits(MACHINES[_name], 1, "rs", _size, _weights)
        _times = [_waits(MACHINES[_name], n, size=_size, weights=_weights) for n in _ns]
        _what = f"{_name}, {short_number(_size)}, {_weights}"
        _rows.append((_what, f"{_first:.2f}", *(f"{seconds:.1f}" for seconds in _times)))
    _head = ("machine, policy, weights", "tuned", *(f"best of {n}" for n in _ns))
    _wait_table = table("Seconds until the first word", _rows, _head)
HTML(_wait_table) if tools else None

# %% [markdown]
# **Explain why.** What is shared by the sixteen, and what is not?
#
# <details><summary>What makes the difference</summary>
# A step of drawing waits for the weights to arrive from memory, and they arrive once for all sixteen. Only
# the judge's reading grows with n. On a phone the arithmetic is the slower part, so there n does count.
# </details>
#
# So *sixteen times the work* is not *sixteen times the wait*, on a machine with arithmetic to spare. What
# users notice is another thing: a tuned policy shows its first word at once, and best-of-n shows nothing
# until the judge has read the last response. And a busy server has no arithmetic to spare: there the
# sixteen displace fifteen other users, which is what the price counts.

# %% [markdown]
# ## Your turn to advise
#
# {{card:8.2}}
#
# Six stories, with the limits of each. All have 20,000 prompts and draw 16 responses; `rs`, `dpo` and `ppo`
# train three epochs. A strategy **fits** if it breaks no limit: the machine holds 1.25 times what
# `memory_gb` says, the weights may change (everything but `serve` changes them), somebody can run an RL loop
# (for `rloo` and `ppo`), the first word comes in time, the pilot has the wins asked for, and the first year
# with labels and people is within budget.
#
# **Acceptable** is what fits and costs at most 1.25 times the
# cheapest that fits.
#
# Each pilot compared 1,000 responses of a strategy with today's policy, so its wins are known to about 3 of
# 100. Take them as they are.
#
# Give for each team four words, `(strategy, weights, limit, change)`:

# %% [markdown]
# - an acceptable **strategy**, or `"none"` where nothing fits;
# - its **weights**: the first of `full`, `lora`, `4bit` that fits the machine; with `"none"`, `"none"`;
# - a **limit** without which the set of acceptable strategies would be another, or `"none"` where no single
#   limit does that;
# - a **change** after which nothing that is acceptable now is acceptable any more. Where nothing fits now:
#   a change after which something does. `"nothing"` where none of the changes does that.

# %%
from autograder.handouts.nb08_2 import CHANGES, Choices, larger

desk = given("8.2")
desk

# %%
Choices()

# %% [markdown]
# The table of the first team, by your functions; `rows(team, tools)` has the same numbers for your code.

# %%
Sheet(desk.teams["a"], tools) if tools else None

# %% [markdown]
# <details><summary>Hint</summary>
# A small function that returns the acceptable strategies of a team answers all of it: call it with the team
# as it is, with one limit taken away (<code>replace(team, budget=float("inf"))</code>; for memory
# <code>larger(team, float("inf"))</code>), and with <code>change(team)</code> for each
# <code>_, change</code> in <code>CHANGES.values()</code>.
# </details>

# %% exercise="8.2" role="answer"
decisions = {letter: ("", "", "", "") for letter in desk.teams}
### BEGIN SOLUTION
def fitting(team):
    cheap = {}
    for name, row in rows(team, tools).items():
        allowed = name == "serve" or team.trains and (name not in ("rloo", "ppo") or team.rl)
        good = row.weights and row.wait <= team.wait and row.wins >= team.needed
        cheap |= {name: row.total} if allowed and good and row.total <= team.budget else {}
    return {name for name, total in cheap.items() if total <= 1.25 * min(cheap.values())} or {"none"}


free = {"permission": {"trains": True}, "skill": {"rl": True}, "latency": {"wait": 1e9}}
free |= {"quality": {"needed": 0}, "budget": {"budget": 1e12}}
for letter, team in desk.teams.items():
    now, without = fitting(team), {"memory": fitting(larger(team, float("inf")))}
    without |= {limit: fitting(replace(team, **fields)) for limit, fields in free.items()}
    limits = [limit for limit, names in without.items() if names != now]
    flips = [name for name, (_, change) in CHANGES.items() if not fitting(change(team)) & now]
    weights = {name: row.weights for name, row in rows(team, tools).items()} | {"none": "none"}
    decisions[letter] = (min(now), weights[min(now)], (*limits, "none")[0], (*flips, "nothing")[0])
### END SOLUTION
decisions

# %% exercise="8.2" role="check"
check("8.2")

# %% [markdown]
# ## Write it down
#
# {{card:8.3}}
#
# Choose one of your six teams and write it a memo of 120 to 400 words, for a founder who has not taken this
# course: what you advise, the limit that decides, why not the others, what to measure before believing it,
# and the number at which you would advise something else.
#
# Cite three numbers of your calculator for the strategy that you advise: the memory in GB, the dollars of
# the first year, and the break-even in requests of serving against `rs`. They go into `cited` too. Say any
# other number as you like; the machine compares these three alone. Round as people do: `$28,113`, `$28.1k`
# and 28 thousand dollars are the same. Where the break-even is infinite, write *never*. A person reads the
# rest (docs/memo_rubric.md in the repository).
#
# <details><summary>Hint</summary>
# <code>rows(team, tools)["rs"]</code> has <code>gigabytes</code> and <code>total</code>, and
# <code>even(team, tools)</code> is the break-even.
# </details>

# %% exercise="8.3" role="answer"
cited = {"team": "", "strategy": "", "memory_gb": None, "dollars": None, "break_even_requests": None}
memo = ""
### BEGIN SOLUTION
letter, (strategy, *_) = next(item for item in decisions.items() if item[1][0] in ("rs", "dpo", "serve"))
team = desk.teams[letter]
row, names = rows(team, tools)[strategy], {"rs": "one round of rejection sampling", "dpo": "DPO"}
numbers = {"memory_gb": row.gigabytes, "dollars": row.total, "break_even_requests": even(team, tools)}
cited = {"team": letter, "strategy": strategy} | numbers
memo = f"""We advise {names.get(strategy, "serving the best of 16 as it is")}. It takes {row.gigabytes:.1f} GB
at its fullest moment, which your machine has. The first year comes to {dollars(row.total)}; labels and
engineers are nearly all of it, and the computation is small. A round of tuning breaks even with serving the
best of 16 at {short_number(even(team, tools))} requests. PPO and RLOO take an engineer weeks longer and
somebody who has run such a loop, and your pilot shows no win that is worth it. Measure before you believe
it: on prompts that were in neither pool, by people or a judge that selected nothing, against a random pick
of the same responses, with an interval. If that interval has zero in it, work on the reward model, which may
have learned to like compliments. What would change this advice: users who wait longer or less long than
today, weights that may not be changed, ten more wins asked for, or a hundred times the requests. Then
compute again; it takes an afternoon."""
### END SOLUTION

# %% exercise="8.3" role="check"
check("8.3")

# %% [markdown] exercise="8.3" role="memo"
# **For the reader of the memo.** The text is the value of `memo` in the answer cell above. Five
# criteria with four levels each, as in the rubric: the limit that decides, the rivals, the evidence
# asked for, what would change the advice, the reader.

# %% [markdown]
# ## Who decided how
#
# Published recipes, with what their papers say and do not say:
#
# | system | what was chosen | responses to a prompt |
# |---|---|---|
# | WebGPT (arXiv 2112.09332) | serving the best of n | 64 for its best model |
# | Llama 2-Chat (2307.09288) | rejection sampling up to V4, then PPO on top | not stated |
# | Llama 3 (2407.21783) | rejection sampling, then DPO | 10 to 30 |
# | AlpacaFarm (2305.14387) | PPO, best-of-n, expert iteration side by side | 16 for expert iteration |
# | RFT (2308.01825) | sampling checked by a program, fine-tuning | 100 |
#
# - **WebGPT**: readers waited for the best of 64. Dollars: not stated.
# - **Llama 2-Chat**: the 70B alone drew and selected; the smaller models learned from its samples.
# - **Llama 3**: for large models DPO took less compute than PPO. Engineers' time: not stated.
# - **AlpacaFarm**: simulated labels, about 45 times cheaper than people's.
# - **RFT**: no reward model and no labels. Dollars: not stated.

# %% [markdown]
# The choice follows what a team has: readers who wait, one large model and several small ones, a checker.
# Engineer-weeks are not stated in any of the five, which is why ours are an assumption.
#
# ## What no calculator knows
#
# The calculator counts. It does not know how good a policy will be: that you measured. In the embedded
# world, from 400 prompts, as means over five seeds, each method at its own settings (so not at equal
# budgets: notebook 07 has those):
#
# | | gold | seconds of one core |
# |---|---:|---:|
# | base | {{rl.json:results.*.base.gold|.1f}} | |
# | one round of best-of-16 | {{rl.json:results.*.rs.gold|.1f}} | {{rl.json:results.*.rs.cpu_seconds|.0f}} |
# | DPO | {{rl.json:results.*.dpo.gold|.1f}} | {{rl.json:results.*.dpo.cpu_seconds|.0f}} |
# | RLOO | {{rl.json:results.*.rloo.gold|.1f}} | {{rl.json:results.*.rloo.cpu_seconds|.0f}} |
# | PPO, with looks at gold | {{rl.json:results.*.ppo.gold|.1f}} | {{rl.json:results.*.ppo.cpu_seconds|.0f}} |
#
# Nor does it know what a large model elsewhere, a program that checks results, or growing traffic are
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
    "c": ("Tune one round", "Serving pays"),
}
advice = sheet.labels(chosen)
### END SOLUTION
advice

# %% exercise="8.4" role="check"
check("8.4")

# %% [markdown]
# ## Capstone, if you have a GPU
#
# The whole course on a model that people use. Choose a profile; `off` does nothing.
#
# | profile | policy | meant for |
# |---|---|---|
# | `smoke` | SmolLM2, 135 M parameters | does it run here? Twelve prompts prove nothing |
# | `t4` | SmolLM2, 360 M parameters | a T4 in Colab |
# | `gpu` | SmolLM2, 1.7 B parameters | a GPU of 48 GB or more; a second reward model judges |
# | `custom` | yours: folders or hub ids | name both in `CUSTOM`, with any other setting |
#
# The first cell shows licences, downloads and memory, draws one small batch and says how long all of it
# would take here. On a CPU it stops where that is more than half an hour.

# %%
import rslib

PROFILE = "off"  # @param ["off", "smoke", "t4", "gpu", "custom"]
CUSTOM = {"policy": "", "reward_model": ""}
if PROFILE != "off":
    _card = rslib.profile(PROFILE, **(CUSTOM if PROFILE == "custom" else {}))
    rslib.profiles.ready(_card, runs / f"8-{PROFILE}")

# %% [markdown]
# The second cell is the long one; if it is cut off, run the set-up and these two again, and the run goes
# on. Its report has the base policy, a random control and the best of n side by side. Read it as you read
# the panels of the clinic before you believe it, and hold what it took against your calculator.

# %%
if PROFILE != "off":
    print(rslib.run(_card.config, out=runs / f"8-{PROFILE}"))

# %% [markdown]
# ## The end of the course
#
# You can draw, score, select and tune, and say what each stage should leave behind. You can tell a gain
# from its control, see over-optimisation coming, find the flaw of a run, write PPO, compare methods at
# equal budget and choose one for a reason. Which exercise belongs to which item of the topic:

# %%
from IPython.display import HTML

from autograder.exercise import table
from autograder.handouts.items import ITEMS

_rows = [(item, title, ", ".join(exercises)) for item, (title, exercises) in ITEMS.items()]
HTML(table("The topic and its exercises", _rows, ("item", "what it is about", "exercises")))

# %% [markdown]
# To read on: *The N implementation details of RLHF with PPO* (Huang et al. 2024), *Llama 2* section 3.2
# (arXiv 2307.09288), *Back to basics* (RLOO, arXiv 2402.14740), *DeepSeekMath* section 5.2 (arXiv
# 2402.03300), and *Scaling laws for reward model overoptimization* (arXiv 2210.10760). All measured
# results of the course are on one page: docs/one_page.md in the repository.

# %% [markdown]
# ## What you now know
#
# - A strategy is chosen by the limit that decides, and the advice names the number that would change it.
# - Trained models decide the memory, labels and people the bill, and streaming what a user feels; none of
#   them says how good the policy is.
# - Evidence is a control, an interval, prompts of its own, and a judge that did not select.

# %%
progress()
