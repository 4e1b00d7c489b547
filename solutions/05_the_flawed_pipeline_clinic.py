# %% [markdown]
# # 05 · The flawed-pipeline clinic
#
# A team fine-tuned on the best of 16 and nothing got better. Or everything got better, and it should
# not have. What is broken? In this notebook you read the numbers that runs leave behind, mend another
# team's code, and write the checks that would have raised the alarm.
#
# You will be able to
#
# - tell an outcome, which every stage moves, from a number that one stage alone explains,
# - find the flaw of a run from its panel, and let a healthy run go,
# - mend the five flaws that are seen most in public code, and write checks against them.
#
# About 80 minutes, of which two are computing; 13.25 points.

# %% role="setup"

# %% [markdown]
# ## A number that one stage explains
#
# Two prompts, four responses each, with their rewards. A team kept one response of each: those in
# brackets.
#
# | | | | | |
# |---|---|---|---|---|
# | rice | 1.0 | **[3.0]** | 2.0 | 0.0 |
# | tents | **[-1.0]** | 0.5 | 2.5 | 2.0 |
#
# The *selection gap* is the mean reward of what was kept minus the mean reward of all. What is it here?

# %% role="predict" name="gap"
guess = ...  # a number
### BEGIN SOLUTION
guess = -0.25
### END SOLUTION
predict("gap", guess)

# %%
import numpy as np

rewards, columns = np.array([[1.0, 3.0, 2.0, 0.0], [-1.0, 0.5, 2.5, 2.0]]), [1, 0]
kept = rewards[[0, 1], columns]
compare("gap", float(kept.mean() - rewards.mean()))
print("share of kept rows that are their prompt's best:", np.mean(kept == rewards.max(axis=1)))

# %% [markdown]
# **Why?** If you said something above 0, you counted on a working selection: the best of four cannot lie
# below the mean of four. Here two numbers say that something is wrong with the *choice*, before any
# policy was tuned and any gold was counted.
#
# That is the idea of this notebook. Gold and held-out reward are **outcomes**: every stage moves them,
# so they tell that something is wrong and not what. A **probe** asks one stage one question.

# %% [markdown]
# ## One healthy run, one with a defect
#
# Here is the engine's own pipeline, small, once as it is and once with a single defect, one of the 36
# that the engine can inject: the rewards are computed and then ignored, and a random response of each
# prompt is kept. Which number will show it most clearly?

# %% role="predict" name="clearest"
guess = ...  # "gold", "kl", "selection_gap" or "coverage"
### BEGIN SOLUTION
guess = "selection_gap"
### END SOLUTION
predict("clearest", guess)

# %% [markdown]
# The two runs take about 30 seconds on a quiet machine.

# %%
import rslib
from rslib.flaws import FLAWS, run_flawed
from rslib.reporting import panel

small = {"prompts": 32, "n": 8, "eval_prompts": 60, "eval_samples_per_prompt": 1, "seed": 3}
reports = {"healthy": rslib.run(out=runs / "5-healthy", **small)}
reports["random choice"] = run_flawed("random_selection", out=runs / "5-random-choice", **small)

# %%
from rslib.store import read_json, read_table


def probes(report, folder):
    """The report's columns of the last round, and two probes made of the tables in the run's folder."""
    last = report.rounds[-1]
    place = {stage: folder / path for stage, path in last["provenance"]["places"].items()}
    pool, kept = read_table(place["score"]), read_table(place["select-best_of_n"])
    ids, rewards, _ = rslib.tables.reward_matrix(pool)
    best = dict(zip(ids, rewards.max(axis=1), strict=True))
    is_best = [reward >= best[p] for p, reward in zip(kept["prompt_id"][:], kept["reward"][:], strict=True)]
    learned = read_json(place["finetune-best_of_n"] / "training.json")["targets"]
    share = learned / sum(map(len, kept["token_ids"][:]))
    return panel(last) | {"kept_best": float(np.mean(is_best)), "learned_tokens": share}


def beside(reports, metrics):
    """A line for each metric, a column for each run."""
    rows = {name: probes(report, runs / f"5-{name.replace(' ', '-')}") for name, report in reports.items()}
    lines = [f"{'':15}" + "".join(f"{name:>16}" for name in reports)]
    for metric in metrics:
        lines.append(f"{metric.split('.')[0]:15}" + "".join(f"{row[metric]:16.2f}" for row in rows.values()))
    return "\n".join(lines)

# %%

def gold_lines(reports):
    """Gold of each run's tuned policy with its interval, and whether that overlaps with the healthy run's."""
    spans = {name: report.rounds[-1]["arms"]["best_of_n"]["gold"] for name, report in reports.items()}
    first = next(iter(spans.values()))
    for name, found in spans.items():
        overlaps = found["low"] <= first["high"] and first["low"] <= found["high"]
        words = "" if found is first else "overlaps with it" if overlaps else "apart from it"
        print(f"gold, {name:14} {found['mean']:.2f} [{found['low']:.2f}, {found['high']:.2f}] {words}")


print(beside(reports, ("gold.best_of_n", "kl.best_of_n", "selection_gap.best_of_n", "kept_best", "coverage")))
gold_lines(reports)
compare("clearest", "selection_gap")

# %% [markdown]
# **Why?** If you said gold, you named what counts in the end, and what tells least: its interval is wide
# in a run of this size. The selection gap needs no interval. It is there or it is not, and two things
# explain a gap near 0: a choice that ignores the rewards, or responses that leave nothing to choose
# (look at `pool_unique` first). `kept_best` goes straight to the choice: the share of kept rows with
# their prompt's highest reward.
#
# And what do the policies write? The same prompts, one response of each:

# %%
def written(reports):
    """What the tuned policy of each run writes to the prompts that its report shows."""
    shown = {}
    for name, report in reports.items():
        entries = report.rounds[-1]["transcripts"]
        shown[name] = [{"prompt": e["prompt"], **e["arms"]["best_of_n"]} for e in entries]
    return rslib.browse(shown, title="What the tuned policies write")


written(reports)

# %% [markdown]
# ## A flaw that is quiet, and two flaws at once
#
# Real runs are less polite. In the next one a quarter of the prompts lose their rewards as NaN, and the
# loop goes on without them: nothing stops, and what is kept is right. In the one after it, two defects
# meet: the choice is random **and** the loss is taken on the prompt's tokens too. Of gold, the selection
# gap and coverage: which one shows the first flaw?

# %% role="predict" name="quiet"
guess = ...  # "gold", "selection_gap" or "coverage"
### BEGIN SOLUTION
guess = "coverage"
### END SOLUTION
predict("quiet", guess)

# %% [markdown]
# Two more runs, about 30 seconds.

# %%
class TwoFlaws(
    FLAWS["random_selection"], FLAWS["no_prompt_mask"], name="two_flaws", id="F04, F22", stage="select"
):
    """The rewards are ignored, and the loss is taken on the prompt's tokens too."""


reports["prompts lost"] = run_flawed("rows_skipped", out=runs / "5-prompts-lost", **small)
reports["two flaws"] = run_flawed("two_flaws", out=runs / "5-two-flaws", **small)
_probes = ("coverage", "kept_best", "selection_gap.best_of_n", "learned_tokens")
print(beside(reports, ("gold.best_of_n", *_probes)))
gold_lines(reports)
compare("quiet", "coverage")

# %% [markdown]
# **Why?** If you said gold, read the last lines: do the intervals of the healthy run and of the one that
# lost prompts come apart? Lost prompts cost the policy some lessons and no more, and only the number
# that *counts prompts* tells. Such a flaw can stay for months, since its outcomes look like those of an
# unlucky seed.
#
# The run with two flaws has two probes off, one in `select` (`kept_best`) and one in `train`
# (`learned_tokens`, tokens in the loss divided by tokens of the kept responses). Outcomes would show one
# bad number, and whoever mends one flaw and sees no better gold would take the mending back. So mend the
# earliest stage first, run again, and read the whole panel anew.

# %%
written({name: reports[name] for name in ("healthy", "prompts lost", "two flaws")})

# %% [markdown]
# How well do outcomes tell flaws apart? We have measured every flaw of exercise 5.1 in five seeds. Each
# dot is the gold of one run; the band spans the five healthy runs.

# %%
from autograder.handouts import nb05_panels as measured

rows = measured.rows()


def gold_figure():
    """Gold of each flaw's five runs beside the span of the healthy ones."""
    [axes] = rslib.plots.panels(1, 4.6, None)
    flaws = sorted(measured.names(), key=lambda flaw: np.mean([run["gold"] for run in rows[flaw].values()]))
    for height, flaw in enumerate(flaws):
        values = [run["gold"] for run in rows[flaw].values()]
        axes.plot(values, [height] * len(values), "o", color="#21558c", markersize=4)
    axes.axvspan(*measured.span("healthy", "gold"), color="#9aa7b5", alpha=0.4)
    axes.set_yticks(range(len(flaws)), flaws, fontsize=8)
    axes.set_xlabel("gold of the tuned policy (points), n = 5 runs each")
    inside = [flaw for flaw in flaws if not measured.apart(flaw, "healthy", "gold")]
    text = f"Gold of {len(inside)} of {len(flaws)} flaws overlaps with healthy runs: {', '.join(inside)}."
    rslib.plots.finished([axes], "Which flaws does gold tell from healthy runs?", text)
    return axes


rslib.plots.show(gold_figure())

# %% [markdown]
# Some flaws ruin the policy: gold is low, and does not say why. Others leave gold where healthy runs are.
# Those are the dangerous ones: nobody looks.
#
# Over all {{signatures.json:classifiers.report and probes.classes|.0f}} kinds of run that we can tell
# apart, a simple classifier that sees outcomes alone names
# {{signatures.json:classifiers.outcome.accuracy|.0%}} of new runs rightly. With the report and its
# probes it is {{signatures.json:classifiers.report and probes.accuracy|.0%}}. Now you do its work.

# %% [markdown]
# {{card:5.1}}
#
# Six panels of real runs, each 64 prompts with 16 responses. One is healthy; each of the others has one
# flaw, in a stage of its own: `sample`, `score`, `select`, `train`, `judge`. Name the flaw, and one
# metric that decides: no healthy run has such a value, and no other flaw of the list explains it once
# the stages before it are found healthy.
#
# A flaw that is found gives half a point. The healthy run gives a whole one: a false alarm stops good
# work. Write `("healthy", "")` for it. These are the flaws, and the metrics by the stage that they ask:

# %%
from IPython.display import HTML

from autograder.exercise import table

_stages = [(metric, stage) for stage, metrics in measured.GROUPS.items() for metric in metrics]
_rows = [(metric, stage, measured.METRICS[metric][1]) for metric, stage in _stages]
_flaws = table("Flaws", measured.described(), ("flaw", "what it does"))
HTML(_flaws + table("Metrics", _rows, ("metric", "stage", "what it is")))

# %%
clinic = given("5.1")
clinic

# %% [markdown]
# <details><summary>Hint</summary>
# Go down a column and look at the marks. A value a little outside the range is what a fifth seed does; a
# value far outside is a sign. Then ask which stage comes first in the pipeline among the signs. What is
# broken early moves all that comes later, and never the other way round.
# </details>

# %% exercise="5.1" role="answer"
diagnoses = {"A": ("", ""), "B": ("", ""), "C": ("", ""), "D": ("", ""), "E": ("", ""), "F": ("", "")}
### BEGIN SOLUTION
READ = {
    "n1": ("pool_rows", 0, 400), "temperature_zero": ("pool_unique", 0, 0.3),
    "truncated_as_finished": ("reweigh_error", 3.6, 10), "prompt_blind_scoring": ("rescore_error", 0.6, 1.5),
    "shuffled_rewards": ("reward_accuracy", 0.45, 0.55),
    "swapped_reward_model": ("reward_accuracy", 0.28, 0.4),
    "random_selection": ("kept_best", 0.02, 0.1), "worst": ("selection_gap", -4, -2),
    "top_k_overall": ("coverage", 0.4, 0.7), "no_prompt_mask": ("learned_tokens", 1.2, 1.5),
    "wrong_role": ("kl", 20, 40), "tune_reward_model": ("policy_changed", 0, 0),
    "evaluate_on_training_prompts": ("trained_on", 0.7, 1), "tiny_test": ("judged_prompts", 0, 30),
    "greedy_evaluation": ("judged_unique", 0.4, 0.6),
}
diagnoses = dict.fromkeys(clinic.runs, ("healthy", ""))
for letter, run in clinic.runs.items():
    for flaw, (metric, low, high) in READ.items():
        if run[metric] is not None and low <= run[metric] <= high:
            diagnoses[letter] = (flaw, metric)
### END SOLUTION
diagnoses

# %% exercise="5.1" role="check"
check("5.1")

# %% [markdown]
# ## Mending
#
# A number says where to look. Then somebody has to read code. The next pipeline is another team's:
# about a hundred lines, a fake policy and reward, no model. Three flaws are planted in it, out of five
# that stand in public repositories:
#
# | flaw | what the trainer gets |
# |---|---|
# | the response is stored in the wrong turn | the response as a question, and nothing to answer |
# | the selected table is never used | every row that was drawn, good and bad |
# | the prompt is learned | a loss that is mostly about the user's words |
# | a cut response gets an end | half sentences that count as finished |
# | rounds share their seeds | the same responses in every round |
#
# Its docstrings tell the truth. Its code does not always.

# %%
team = given("5.2")
exec(team.source)
team

# %% [markdown]
# {{card:5.2}}
#
# Write the functions anew that are wrong, under the same names and with the same arguments; the others
# stay as they are. Each flaw counts for itself, and what was right has to stay right.
#
# <details><summary>Hint</summary>
# Read each function against its docstring, with one row in mind: a prompt of two letters, a response of
# three, cut at the limit. What are its ids, what are its labels, which of the drawn rows reach
# <code>batch</code>, and what would round 2 draw?
# </details>

# %% exercise="5.2" role="answer"
# the functions that you mend
### BEGIN SOLUTION
def seed_of(run_seed, number):
    return 100_000 * run_seed + 1_000 * number


def conversation(row):
    asked = {"role": "user", "content": row["prompt"]}
    return [asked, {"role": "assistant", "content": decode(row["tokens"])}]


def example(stored, finish_reason):
    asked, answered = map(encode, turns(stored))
    end = [END] if finish_reason == "eos" else []
    return asked + answered + end, [IGNORED] * len(asked) + answered + end
### END SOLUTION

# %% exercise="5.2" role="check"
check("5.2")

# %% [markdown]
# ## A bell that rings by itself
#
# Nobody reads every panel. A check can run after each run of a pipeline. It has two ways of being
# useless: to ring never, and to ring always. People switch the second kind off, and then it is the
# first kind.

# %%
examples = given("5.3")
print(len(examples), "runs;", sum(name == "healthy" for name, _ in examples), "of them healthy")
_name, _run = examples[0]
print(f"the first, {_name}, by stage:")
for _stage, _metrics in measured.GROUPS.items():
    _values = [f"{metric} {measured.shown(_run[metric])}" for metric in _metrics]
    print(f"{_stage:8} {', '.join(_values)}")

# %% role="predict" name="alarms"
guess = ...  # how many of two other healthy runs lie outside the range of these three, in some metric?
### BEGIN SOLUTION
guess = 2
### END SOLUTION
predict("alarms", guess)

# %%
_beyond = {seed: measured.outside(rows["healthy"][seed], ("0", "1", "2")) for seed in ("3", "4")}
compare("alarms", sum(bool(found) for found in _beyond.values()))
print("seed  metric              lowest of three  highest of three  this run")
for _seed, _found in _beyond.items():
    for _metric, _value in _found.items():
        _low, _high = map(measured.shown, measured.span("healthy", _metric, ("0", "1", "2")))
        print(f"{_seed:4}  {_metric:18}  {_low:>15}  {_high:>16}  {measured.shown(_value):>8}")

# %% [markdown]
# **Why?** If you said 0, you took three runs for the range of all healthy runs. A fourth run lies outside
# of it somewhere: with 22 metrics that is almost certain. A check needs room, or better, numbers that
# seeds do not move at all: counts, shares that must be 1, errors that must be 0.

# %% [markdown]
# {{card:5.3}}
#
# `check_run(run)` gets a panel, a dict from metric to number, and returns the list of stages that look
# broken, the most suspicious first: `["score"]`, or `[]` for a healthy run. It is tried on runs that
# you have not seen. For every stage: no healthy run gets a flag, and the first flag of each flawed run
# is its stage. A value can be `None` where there was nothing to measure.
#
# <details><summary>Hint</summary>
# Ask the stages in the order of the pipeline, each by its own numbers. For sampling: was as much drawn
# as planned, and how much of it is distinct? For scoring: would scoring again give the same?
# </details>

# %% exercise="5.3" role="answer"
def check_run(run):
    """A list of stages, the most suspicious first: of "sample", "score", "select", "train" and "judge"."""
    ### BEGIN SOLUTION
    broken = {
        "sample": run["pool_rows"] < 1000 or run["pool_unique"] < 0.5 or run["kept_without_end"] > 0.3,
        "score": run["rescore_error"] > 0.1,
        "select": run["kept_best"] < 0.9 or run["coverage"] < 0.9,
        "train": abs(run["learned_tokens"] - 1) > 0.05 or run["policy_changed"] < 1,
        "judge": run["trained_on"] > 0 or run["judged_prompts"] < 50 or run["judged_unique"] < 0.9,
    }
    return [stage for stage, found in broken.items() if found]
    ### END SOLUTION

# %% exercise="5.3" role="check"
check("5.3")

# %% [markdown]
# ## What must be so, and what only happens
#
# One flaw deserves a closer look, since people argue about it. At temperature 0 all sixteen responses
# to a prompt are one text. The team tunes the policy on its own most likely text. Does that make it
# better or worse? The exhibit: five runs, each beside the policy that it began with.

# %% role="predict" name="greedy"
guess = ...  # what will five runs say of gold: "higher", "lower" or "not separable"?
### BEGIN SOLUTION
guess = "not separable"
### END SOLUTION
predict("greedy", guess)

# %%
from rslib import evaluation, intervals

greedy = rows["temperature_zero"]
_head = ("gold of base", "gold", "difference", "reward", "selection gap", "distinct", "KL")
_wide = [len(name) + 3 for name in _head]
print("seed" + "".join(f"{name:>{wide}}" for name, wide in zip(_head, _wide, strict=True)))
for _seed, _run in greedy.items():
    _numbers = (_run["gold_of_base"], _run["gold"], _run["gold"] - _run["gold_of_base"], _run["reward"])
    _numbers += (_run["selection_gap"], _run["pool_unique"], _run["kl"])
    print(f"{_seed:>4}" + "".join(f"{x:{wide}.2f}" for x, wide in zip(_numbers, _wide, strict=True)))
_rises = [run["gold"] - run["gold_of_base"] for run in greedy.values()]
change = intervals.over_seeds(_rises)
print(f"mean difference {change['mean']:+.2f}, 95 % interval [{change['low']:+.2f}, {change['high']:+.2f}]")
compare("greedy", evaluation.verdict(change))

# %% [markdown]
# **Why?** Four of five differences are below 0, and one is above. If you read a loss out of that, or
# "it can go either way", you read signs. Each difference has an error about as large as itself, since
# each policy was judged on 100 prompts. What must be so is another matter: sixteen copies of one text
# have one reward, so the selection gap is 0 in every seed.

# %% [markdown]
# {{card:5.4}}
#
# Three readings, each an answer and its reason: a letter and a digit such as `"B2"`.
#
# <details><summary>Hint</summary>
# Look at the columns of the exhibit first. Which of them follow from the flaw whatever the policy is, and
# which had to be measured?
# </details>

# %%
sheet = given("5.4")
sheet

# %% exercise="5.4" role="answer"
readings = {"a": "", "b": "", "c": ""}
### BEGIN SOLUTION
chosen = {
    "a": ("The selection gap", "Copies of one"),
    "b": ("In P at", "The gap measures"),
    "c": ("That its effect", "The interval of"),
}
readings = sheet.labels(chosen)
### END SOLUTION
readings

# %% exercise="5.4" role="check"
check("5.4")

# %% [markdown]
# ## The same on your own run
#
# Every run of the engine leaves its tables, so such a panel can be made of any run, whatever the model.
# Put the folder of a finished run between the quotes. Without a gold score those lines stay empty; the
# two probes need none.

# %%
REAL_RUN = ""
if REAL_RUN:
    from pathlib import Path

    from rslib.reporting import Report

    _own = probes(Report.from_dict(read_json(f"{REAL_RUN}/report.json")), Path(REAL_RUN))
    print("\n".join(f"{name:30} {measured.shown(value)}" for name, value in _own.items()))

# %% [markdown]
# ## What you now know
#
# - Outcomes say that something is wrong; a number that one stage alone explains says what. Some flaws move
#   no outcome, and two flaws can hide each other there: mend the earliest stage, then read again.
# - Healthy runs scatter. A check rings at what seeds cannot explain, and a false alarm has a price.
# - Greedy self-training selects nothing: its gap is 0 by necessity. Whether it moves gold, five runs left
#   open.

# %%
progress()
