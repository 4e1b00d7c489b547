# %% [markdown]
# # 07 · Rejection sampling against RLHF at equal budget
#
# Two roads lead from a reward model to a better policy. Which is better? Everybody has an answer, few have
# a budget, and fewest an interval. In this notebook your own function reads the large arena of this
# repository, then a small one that you run yourself. Sometimes the answer is that two methods cannot be
# told apart, and once it is that neither road mattered as much as the reward that both were given.
#
# You will be able to
#
# - compare methods at a budget that is held equal, and say which budget it is,
# - write an interval that knows of seeds and of prompts, and share an error rate among several claims,
# - say in what rejection sampling is simpler than RLHF, and in what it is not.
#
# About 90 minutes, of which two are computing; 13 points.

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

_cells = np.array([[2.0, 1.0, 3.0], [0.0, -1.0, 1.0]])
compare("error", float(_cells.mean(1).std(ddof=1) / np.sqrt(2)))
print(f"six cells as six measurements: {_cells.std(ddof=1) / np.sqrt(6):.2f}")
print(f"three prompts, with these two seeds: {_cells.mean(0).std(ddof=1) / np.sqrt(3):.2f}")

# %% [markdown]
# Explain before you open: why is the error of the rows nearly twice that of the six cells?
#
# <details><summary>Why</summary>
# The cells of a row share a policy: when seed 2 went badly, it went badly on all three prompts. So there
# are two independent values here, not six.
# </details>
#
# Three numbers answer three questions. To predict another run on other prompts, add both variances: the
# variance of the mean over seeds and the variance of the mean over prompts. With two or three seeds that
# sum is itself a guess, so the factor is Student's and not 1.96.

# %% [markdown]
# ## An interval, and what it says
#
# {{card:7.1}}
#
# First the two functions. Everything below is decided by them.
#
# - `interval(first, second, level)`: two tables of gold, each (S, M), a row for each seed, a column for
#   each prompt, the same in both. Return the difference of the means, first minus second, and the lower
#   and upper end at this level (0.95, say). With one seed the ends are minus and plus infinity.
# - `verdict(low, high)`: what the interval says of the claim that the difference is above 0:
#   `"supported"`, `"contradicted"` or `"not separable"`. An end on 0, or NaN, decides nothing.
#
# <details><summary>Hint</summary>
# <code>student_quantile(tail, degrees)</code> gives Student's t; for 95 % the tail is 0.025. Degrees: the
# seeds minus 1 are cautious; Satterthwaite's are (a + b)² / (a² / (S − 1) + b² / (M − 1)), for variances of
# the mean a over seeds and b over prompts. Where nothing spreads, both variances are 0.
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
    of_seeds, of_prompts = apart.mean(1).var(ddof=1) / seeds, apart.mean(0).var(ddof=1) / prompts
    if of_seeds + of_prompts == 0:
        return mean, mean, mean
    degrees = (of_seeds + of_prompts) ** 2 / (of_seeds**2 / (seeds - 1) + of_prompts**2 / (prompts - 1))
    half = math.sqrt(of_seeds + of_prompts) * student_quantile((1 - level) / 2, degrees)
    return mean, mean - half, mean + half
    ### END SOLUTION


def verdict(low, high):
    """What an interval says of the claim that the difference is above 0."""
    ### BEGIN SOLUTION
    return "supported" if low > 0 else "contradicted" if high < 0 else "not separable"
    ### END SOLUTION

# %% [markdown]
# ## What the large arena found
#
# The large arena of this repository ran every method with eight seeds, chose each method's settings on
# validation prompts, and judged on 200 test prompts. It held three things equal in turn:
# {{arena.json:budgets.responses|,.0f}} *responses*, the *FLOPs* of one round of best-of-16 with those
# responses, or its *seconds*. RS-1 is that one round: draw 16 responses to each prompt, keep the best,
# fine-tune. PPO draws one, takes a step, and draws again.
#
# Which of the three budgets will let PPO win? Write down the verdict that you expect for "PPO has more gold
# than RS-1 at equal FLOPs".

# %% role="predict" name="equal_flops"
guess = ...  # "supported", "contradicted" or "not separable"
### BEGIN SOLUTION
guess = "not separable"
### END SOLUTION
predict("equal_flops", guess)

# %%
arena = given("7.1")
for _claim, (_first, _second) in arena.stored.items():
    print(f"{str(_first.shape):9} {_claim}")

# %% [markdown]
# The result file keeps the mean of each seed and the mean of each prompt, so a cell of these tables is row
# mean + column mean − mean of all. Your interval reads row and column means, so it finds what it would find
# in the full tables. The other claims speak of a *corrected reward*; what that is comes below.
#
# `stored` holds for each claim of `arena.stored` a dict with `difference`, `low`, `high` and `verdict`, from
# your two functions. The claims share the 5 %: with m claims each interval has level 1 − 0.05 / m.

# %% exercise="7.1" role="answer" name="stored"
stored = {}
### BEGIN SOLUTION
for claim, (first, second) in arena.stored.items():
    difference, low, high = interval(first, second, 1 - 0.05 / len(arena.stored))
    stored[claim] = {"difference": difference, "low": low, "high": high, "verdict": verdict(low, high)}
### END SOLUTION

# %%
def _intervals(findings, question, label):
    """A figure: the interval of each claim's difference in gold, and its verdict in words."""
    [panel] = rslib.plots.panels(1, 0.8 + 0.4 * len(findings), None)
    for row, finding in enumerate(findings.values()):
        panel.plot([finding["low"], finding["high"]], [row, row], color="#21558c")
        panel.plot(finding["difference"], row, "o", color="#21558c")
    panel.axvline(0, color="#6b7785", linestyle=":")
    lines = [claim.replace(" than ", "\nthan ").replace(" from ", "\nfrom ") for claim in findings]
    panel.set_yticks(range(len(findings)), lines, fontsize=8)
    panel.invert_yaxis()
    panel.set_xlabel(label)
    text = "; ".join(f"{claim}: {finding['verdict']}" for claim, finding in findings.items())
    rslib.plots.finished([panel], question, text)
    rslib.plots.show(panel)


compare("equal_flops", stored["PPO has more gold than RS-1 at equal FLOPs"]["verdict"])
_intervals(stored, "What is decided, rewarded by tiny?", "difference in gold (points), n = 8 seeds")

# %% [markdown]
# Explain before you open: how can PPO win at equal responses and not at equal FLOPs?
#
# <details><summary>Why</summary>
# A response costs PPO more. The reference, the reward model and the value model read it, and policy and value
# model are both trained on it; RS-1 trains one model, on the best of 16. So the same FLOPs pay for far fewer
# responses in PPO.
# </details>
#
# "PPO is better than rejection sampling" and "they cannot be told apart": both sentences are true, and
# whoever quotes one without its budget has said nothing.
#
# ## How far from the start?
#
# Gold is one axis. The other is how far a policy had to move for it, in nats of KL to the starting policy.

# %%
def _gold_against_kl(points):
    """A figure: gold of each arm at equal FLOPs against its KL, with intervals over seeds."""
    [panel] = rslib.plots.panels(1, 4.2, None)
    for number, (name, at) in enumerate(points.items()):
        x, y = at["kl"], at["gold"]
        errors = {"xerr": [[x["mean"] - x["low"]], [x["high"] - x["mean"]]]}
        errors |= {"yerr": [[y["mean"] - y["low"]], [y["high"] - y["mean"]]]}
        marker, hollow = "os^Dv<>PX*d"[number % 11], "corrected" in name
        face = {"markerfacecolor": "white"} if hollow else {}
        panel.errorbar(x["mean"], y["mean"], **errors, fmt=marker, label=name, capsize=2, **face)
    panel.set_xlabel("KL to the starting policy (nats), equal FLOPs, n = 8 seeds")
    panel.set_ylabel("gold (points)")
    panel.figure.legend(loc="outside right center", fontsize=8, frameon=False)
    best = max((n for n in points if "serving" not in n), key=lambda n: points[n]["gold"]["mean"])
    text = f"Most gold of the tuned policies: {points[best]['gold']['mean']:.2f}, by {best}."
    rslib.plots.finished([panel], "How much gold does each method buy with its KL, rewarded by tiny?", text)
    rslib.plots.show(panel)


_gold_against_kl(arena.points)

# %% [markdown]
# ## The selector is an arm
#
# The hollow marks got another reward. The reward model of this world pays for length: within a prompt one
# more token goes with {{arena.json:correction.tried.0.notes.length_slope|.2f}} points of reward, while gold
# counts facts, reasons and refusals, not tokens. The **length-corrected** reward takes
# {{arena.json:correction.per_token|.2f}} points off per token. That number was chosen on validation prompts,
# among five, by the gold of serving the best of 16; then serving, RS-1 and PPO were given the same corrected
# reward, with the same number of trials of settings and the same budgets as before.

# %%
for _claim, _finding in stored.items():
    if "orrected" in _claim:
        _ends = f"{_finding['difference']:+.2f} [{_finding['low']:+.2f}, {_finding['high']:+.2f}]"
        print(f"{_finding['verdict']:14} {_ends:24} {_claim}")

# %% [markdown]
# Compare two differences: what PPO adds to RS-1 with the same reward, and what the corrected reward adds to
# RS-1 with the same method. The second costs no FLOPs, no model and no new code in the training loop. Before
# a team changes its method, it should look at what the method is asked to follow.
#
# ## A small arena of your own
#
# Six arms start from the same policy with the same prompts: `base`; `best_of_n`, which serves the best of 16
# and trains nothing; `rs1`; `random`, its control, which keeps as many rows at random; `rs1_length`, which
# keeps the best by the corrected reward; and `ppo`. Those that train get one budget in FLOPs, about a third
# of the large arena's, and a ledger stops them when it is spent. Three seeds and 48 prompts judge.
#
# How many of the five claims below will such an arena decide?

# %% role="predict" name="decided"
guess = ...  # how many of five claims will not be "not separable"?
### BEGIN SOLUTION
guess = 2
### END SOLUTION
predict("decided", guess)

# %%
print(f"budget {arena.budget / 1e9:,.0f} GFLOPs, seeds {arena.seeds}, judged on {arena.prompts} prompts")
print("arms:", ", ".join(arena.arms))
for _claim, _pair in arena.claims.items():
    print(f"claim: {_claim:22} {_pair[0]} has more gold than {_pair[1]}")

# %% [markdown]
# - `results`: a list with one dict for each arm and seed: `arm`, `seed`, `policy` (the folder
#   `tuned.path`), `ledger`, and the `gold`, `reward` and `kl` that `arena.judge` gives.
#   `arena.tune(arm, seed, out)` gives a policy and its ledger; take another `out` for every run.
#   `arena.judge(policy, seed, n=1)` gives a dict; the served arm is judged with n = 16.
# - `findings`: for each claim of `arena.claims` what `stored` has, from your rows. Here five claims share
#   the 5 %.
#
# The runs take about a minute and a half on two quiet cores; each that trains prints a line.

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
# First the ledger: did everybody spend alike? *Once* is what the run cost; *each* is what one served response
# costs afterwards, which for best-of-16 is 16 responses written and read.

# %%
def _line(arm):
    """One arm of your arena: means over its seeds, costs, and gold over base by your own interval."""
    mine = [row for row in results if row["arm"] == arm]
    gold, base = ([row["gold"] for row in results if row["arm"] == name] for name in (arm, "base"))
    ends = interval(gold, base, 0.95)
    difference, low, high = map(float, ends.values() if isinstance(ends, dict) else ends)
    means = [np.mean([np.mean(row[name]) for row in mine]) for name in ("gold", "reward", "kl")]
    once, each = mine[0]["ledger"]["flops"] / 1e9, np.mean([row["flops_each"] for row in mine]) / 1e9
    over = "" if arm == "base" else f"{difference:+.2f} [{low:+.2f}, {high:+.2f}] {verdict(low, high)}"
    numbers = "".join(f"{mean:8.2f}" for mean in means)
    return f"{arm:11}{numbers} {once:6,.0f} {each:6.3f} {mine[0]['ledger']['models']:7}  {over}"


compare("decided", sum(finding["verdict"].casefold() != "not separable" for finding in findings.values()))
print("               gold  reward      KL   GFLOPs: once, each  models  gold over base, 95 %")
for _arm in arena.arms:
    print(_line(_arm))
_question = "What do your own runs decide, rewarded by tiny?"
_intervals(findings, _question, "difference in gold (points), n = 3 seeds")

# %% [markdown]
# Explain before you open: where your small arena and the large one say different things, which do you
# believe?
#
# <details><summary>Why</summary>
# "Not separable" from three seeds does not contradict "supported" from eight: the small interval is wider and
# holds both. An arm may even end below base, where the difference is not separable from 0. The learning rates
# were chosen for the large budget, and a high rate on few kept rows can harm. Trust the table with more seeds
# and more prompts, and ask first whether both held the same thing equal.
# </details>
#
# Numbers do not show what a policy says. Here are two prompts and the response of each arm, first seed.
# <details><summary>What to look for</summary>
# Compliments and filler earn reward by their length; gold counts right facts and reasons. Does the corrected
# arm say less?
# </details>

# %%
def _transcripts():
    """What each arm says to the first two judging prompts, in the runs of one seed."""
    rows = [row for row in results if row["seed"] == results[0]["seed"] and row["arm"] != "random"]
    return rslib.browse({row["arm"]: arena.responses(row) for row in rows}, title="What the arms say")


_transcripts()

# %% [markdown]
# ## Simpler in what?
#
# "Rejection sampling is much simpler than RLHF" is the usual argument for it. Simpler in what? In what must
# be in memory, in what has to be tuned, in the code that somebody has to read, in how often the training goes
# back to draw, in whether anything is pushed down, or in how far gold moves with the settings? None of that
# has to be remembered: the engine knows.
#
# Which has more settings that somebody tunes, `"rs1"` or `"rloo"`?

# %% role="predict" name="settings"
guess = ...  # "rs1" or "rloo"
### BEGIN SOLUTION
guess = "rs1"
### END SOLUTION
predict("settings", guess)

# %%
import textwrap


def _in_words(values):
    """Names and values on one line, a number to four digits."""
    texts = {k: f"{v:.4g}" if isinstance(v, float) and v < 1e4 else v for k, v in values.items()}
    return ", ".join(f"{k} {v:,.0f}" if isinstance(v, float) else f"{k} {v}" for k, v in texts.items())


evidence = given("7.2")
_arm, _made, _trials, _coefficients = evidence["rloo"]
compare("settings", max(("rs1", "rloo"), key=lambda name: evidence[name][0].hyper_parameters()))
print("settings of RLOO are the fields of", " and ".join(kind.__name__ for kind in _arm.settings))
for _name in ("memory", "notes", "ledger"):
    print(textwrap.fill(f'run["{_name}"]: {_in_words(_made[0][_name])}', 88))
for _name in ("setting", "means"):
    print(f'trial["{_name}"]: {_in_words(_trials[0].get(_name, {}))}')
print("coefficients of six responses, first token:", *(f"{value:+.2f}" for value in _coefficients[:, 0]))

# %% [markdown]
# Explain before you open: where do the settings of a round come from?
#
# <details><summary>Why</summary>
# A round is two programs, sampling and fine-tuning, and each has settings of its own: temperature, top-p, the
# most tokens, epochs, warm-up. The loop of RLOO samples at temperature 1 and has no field for it.
# </details>
#
# {{card:7.2}}
#
# `describe(arm, runs, trials, coefficients)` returns a dict with
#
# - `models`: the most models that any of its runs held (`run["ledger"]["models"]`),
# - `memory`: the most MiB that any run held beside the libraries (`run["memory"]`: `peak` less `libraries`),
# - `settings`: the number of fields of the dataclasses in `arm.settings` and of names in `arm.more`, without
#   those in `rslib.arena.UNTUNED`, which nobody tunes; a name that two dataclasses share counts twice,
# - `own_lines`, `shared_lines`: lines of code of `arm.own` and of `arm.shared`, by `rslib.arena.code_lines`,
# - `draws`: how often at most a run went to the newest policy for responses: `draws` in a run's `notes`; a
#   run whose notes say nothing drew one pool, so 1,
# - `negatives`: whether any coefficient pushes a token down,
# - `sensitivity`: highest minus lowest gold of the trials that have one (a trial that stopped has no
#   `means`); 0.0 without trials.
#
# It is tried on made-up methods. `methods` holds its answer for each of `evidence`.
#
# <details><summary>Hint</summary>
# <code>dataclasses.fields(kind)</code> lists the fields of a dataclass. An arm that trains nothing has no
# trials and an empty table of coefficients.
# </details>

# %% exercise="7.2" role="answer" name="describe"
import dataclasses

from rslib.arena import UNTUNED, code_lines


def describe(arm, runs, trials, coefficients):
    """What a method asks for, from the engine."""
    ### BEGIN SOLUTION
    names = [field.name for kind in arm.settings for field in dataclasses.fields(kind)] + list(arm.more)
    reached = [trial["means"]["gold"] for trial in trials if "means" in trial]
    return {
        "models": max(run["ledger"]["models"] for run in runs),
        "memory": max(run["memory"]["peak"] - run["memory"]["libraries"] for run in runs),
        "settings": sum(name not in UNTUNED for name in names),
        "own_lines": code_lines(arm.own),
        "shared_lines": code_lines(arm.shared),
        "draws": max(run["notes"].get("draws", 1) for run in runs),
        "negatives": bool((coefficients < 0).any()),
        "sensitivity": max(reached) - min(reached) if reached else 0.0,
    }
    ### END SOLUTION


methods = {}
### BEGIN SOLUTION
methods = {name: describe(*measured) for name, measured in evidence.items()}
### END SOLUTION

# %%
def _simpler_table():
    """The table "simpler in what": your numbers, own and shared lines added, and what goes wrong."""
    print("           models  memory  settings  lines: own + shared  draws  pushes down  gold moves by")
    for name, row in methods.items():
        lines = f"{row['own_lines']:3} + {row['shared_lines']:3} = {row['own_lines'] + row['shared_lines']:3}"
        first = f"{row['models']:6} {row['memory']:7.0f} {row['settings']:9}  {lines:>19}"
        down = "yes" if row["negatives"] else "no"
        print(f"{name:10} {first} {row['draws']:6} {down:>12} {row['sensitivity']:14.2f}")
    print("\nwhat goes wrong, beside the errors of the reward model itself:")
    for name, (arm, *_) in evidence.items():
        print(f"{name:10} {'; '.join(arm.risks) or 'nothing is trained'}")
    print("\nWhat a changed learning rate costs, PPO less RS-1 (one seed, claims of the large arena):")
    for claim in evidence.rate_claims:
        print(f"  {claim['mean']:+.2f} [{claim['low']:+.2f}, {claim['high']:+.2f}] {claim['verdict']}")


_simpler_table()

# %% [markdown]
# Memory is in MiB, lines are code without blank lines and comments, without what all methods use (sampling,
# scoring, the training step). Now say in what RS-1 is simpler than PPO, than RLOO and than serving the best
# of n. For each row write `"simpler"`, `"not simpler"`, `"the same"`, or `"not separable"` where the numbers
# are estimates whose interval leaves the sign open. `lines` are own and shared ones together, for whoever
# maintains a method has to read both.

# %% exercise="7.2" role="answer" name="simpler"
simpler = {
    "ppo": dict.fromkeys(("models", "memory", "settings", "lines", "draws", "negatives", "sensitivity"), ""),
    "rloo": dict.fromkeys(("models", "memory", "settings", "lines", "draws", "negatives"), ""),
    "best_of_n": dict.fromkeys(("models", "settings", "lines", "draws", "negatives"), ""),
}
### BEGIN SOLUTION
for rival, answers in simpler.items():
    for key in answers:
        both = [methods[name] for name in ("rs1", rival)]
        mine, other = (m["own_lines"] + m["shared_lines"] if key == "lines" else m.get(key) for m in both)
        answers[key] = "simpler" if mine < other else "not simpler" if mine > other else "the same"
simpler["ppo"]["sensitivity"] = "not separable"
### END SOLUTION

# %% exercise="7.2" role="check"
check("7.2")

# %% [markdown]
# So the argument holds where teams feel it first: fewer models, less memory, less code to read, one draw,
# and nothing is ever pushed down. It does not hold in every row: a round has two programs to set up, and the
# trials leave open whose gold moves more with the learning rate. Serving the best of n is simpler still, and
# pays at every request.
#
# ## Which sentences survive?
#
# Papers compare, and their sentences travel farther than their tables. The left column says in our words
# what a paper found with its own models and budgets; the next one is what can be tested here. The second
# table holds thirteen differences of this repository's measurements, each with an interval that holds
# together with all the others.

# %% [markdown]
# {{card:7.3}}
#
# For each statement find the row that tests the *second* column: same arms, same thing held equal, in gold
# and not in what was selected for. Write its number and what its interval says: `(4, "supported")`,
# `"contradicted"` or `"not separable"`.
#
# <details><summary>Hint</summary>
# A statement "A is better than B" is tested by A minus B. If the row has it the other way round, turn the
# verdict in your head, not the row.
# </details>

# %%
sheet = given("7.3")
sheet

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
audit = {letter: (number_of[words], answer) for letter, (words, answer) in read.items()}
### END SOLUTION
audit

# %% exercise="7.3" role="check"
check("7.3")

# %% [markdown]
# A sentence that is contradicted here is not false: it may hold for large models, other rewards, other
# budgets. The embedded world is two small transformers. What carries over is how to ask.
#
# Row (h) needs a second look. In notebook 06 you saw PPO without its penalty sink below its start, and the
# interval of that run is about that run. Here five seeds stand behind the row. They ended at
# {{rl.json:results.0.ppo_without_kl.gold|.1f}}, {{rl.json:results.1.ppo_without_kl.gold|.1f}},
# {{rl.json:results.2.ppo_without_kl.gold|.1f}}, {{rl.json:results.3.ppo_without_kl.gold|.1f}} and
# {{rl.json:results.4.ppo_without_kl.gold|.1f}}, from a start at {{rl.json:results.0.base.gold|.1f}}: four
# sank far, one hardly. With seeds so far apart, and thirteen claims that share 5 %, the sign for the *next*
# run stays open. Both sentences are right, each about its own question.
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

# %% [markdown]
# {{card:7.4}}
#
# An answer and its reason, a letter and a digit such as `"B2"`.
#
# <details><summary>Hint</summary>
# Notebook 03 has the probability distribution of best-of-n, notebook 06 what each method puts on a token. Ask
# of each option whose samples it needs, and how often.
# </details>

# %%
sheet = given("7.4")
sheet

# %% exercise="7.4" role="answer"
roads = {"a": "", "b": "", "c": ""}
### BEGIN SOLUTION
chosen = {
    "a": ("They are two different distributions; the", "Of all distributions"),
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
# `make arena` runs the large arena on the embedded world. For models of your own, give both roads the same
# ledger: put folders or hub ids between the quotes, on a machine with a GPU.

# %%
REAL_POLICY, REAL_REWARD_MODEL = "", ""
if REAL_POLICY and REAL_REWARD_MODEL:
    from rslib import load_policy, load_prompts, load_reward_model, rl

    real = load_policy(REAL_POLICY), load_reward_model(REAL_REWARD_MODEL), load_prompts("everyday")
    rl.train(*real, rl.RLOO(), rl.Loop(steps=50, budget=1024, budget_unit="responses"), out=runs / "7-real")

# %% [markdown]
# ## What may be written
#
# The sentences that your function bears out, word for word, from the stored tables and from your own runs:

# %%
for _where, _found in (("the large arena", stored), ("my small arena", findings)):
    print(f"In {_where}:")
    for _claim, _finding in _found.items():
        print(f"  {_finding['verdict']:14} {_claim}")

# %% [markdown]
# ## What you now know
#
# - A comparison names what is held equal: the same two methods get another verdict at another budget.
# - Seeds and prompts both spread, claims share an error rate, and "not separable" is an answer.
# - "Simpler" is several columns, and the reward that a method follows is an arm of its own.

# %%
progress()
