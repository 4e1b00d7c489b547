# %% [markdown]
# # 05 · The flawed-pipeline clinic
#
# A team fine-tuned on the best of 16 and nothing got better. Or everything got better, and it should
# not have. What is broken? In this notebook you read the numbers that runs leave behind, mend another
# team's code, and write the checks that would have rung the bell.
#
# You will be able to
#
# - tell a number of outcome from a number that one stage alone explains,
# - find the flaw of a run from its panel, and let a healthy run go,
# - mend the five flaws that are seen most in public code, and write checks against them.
#
# About 75 minutes, of which one is computing; 13.25 points.

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
# A healthy selection of the best of four cannot have a gap below zero. Two numbers say that something
# is wrong with the *choice*, before any policy was tuned and any gold was counted.
#
# That is the idea of this notebook. Gold and held-out reward are **outcomes**: every stage moves them,
# so they tell that something is wrong and not what. A **probe** asks one stage one question.

# %% [markdown]
# ## One healthy run, one with a defect
#
# Here is the engine's own pipeline, small, once as it is and once with a single defect. One of 36
# defects that it knows was injected: the rewards are computed and then ignored, a random response of
# each prompt is kept. Which number will show it most clearly?

# %% role="predict" name="clearest"
guess = ...  # "gold", "kl", "selection_gap" or "coverage"
### BEGIN SOLUTION
guess = "selection_gap"
### END SOLUTION
predict("clearest", guess)

# %%
import rslib
from rslib.flaws import run_flawed
from rslib.reporting import panel

small = {"prompts": 32, "n": 8, "eval_prompts": 60, "eval_samples_per_prompt": 1, "seed": 3}
healthy = rslib.run(out=runs / "5-healthy", show_progress=False, **small)
broken = run_flawed("random_selection", out=runs / "5-broken", show_progress=False, **small)
print(f"{'':15} {'healthy':>8} {'broken':>8}")
for name in ("gold.best_of_n", "kl.best_of_n", "selection_gap.best_of_n", "coverage"):
    values = [panel(report.rounds[-1])[name] for report in (healthy, broken)]
    print(f"{name.split('.')[0]:15} {values[0]:8.2f} {values[1]:8.2f}")

# %%
compare("clearest", "selection_gap")
entry = healthy.rounds[-1]
gold = {arm: entry["arms"][arm]["gold"] for arm in ("base", "random", "best_of_n")}
for arm, found in gold.items():
    print(f"healthy run, {arm:10} gold {found['mean']:.2f} [{found['low']:.2f}, {found['high']:.2f}]")

# %% [markdown]
# The gap is there or it is not; no interval is needed to read it. Gold needs one, and in runs of this
# size the intervals are wide. A run without any selection may look like a modest success, a healthy one
# like a failure.
#
# How well do outcomes tell flaws apart? We have measured every flaw of this notebook in five seeds.
# Each dot is the gold of one run; the band is what healthy runs reach.

# %%
from autograder.handouts import nb05_panels as measured

rows, [axes] = measured.rows(), rslib.plots.panels(1, 4.6, None)
order = sorted(measured.names(), key=lambda flaw: np.mean([run["gold"] for run in rows[flaw].values()]))
for at, flaw in enumerate(order):
    gold_of = [run["gold"] for run in rows[flaw].values()]
    axes.plot(gold_of, [at] * len(gold_of), "o", color="#21558c", markersize=4)
low, high = measured.span("healthy", "gold")
axes.axvspan(low, high, color="#9aa7b5", alpha=0.4)
axes.set_yticks(range(len(order)), order, fontsize=8)
axes.set_xlabel("gold of the tuned policy (points), n = 5 runs each")
inside = [f for f in order if not measured.apart(f, "healthy", "gold")]
text = f"Gold of {len(inside)} of {len(order)} flaws overlaps with that of healthy runs: {', '.join(inside)}."
rslib.plots.finished([axes], "Which flaws does gold see?", text)
rslib.plots.show(axes)

# %% [markdown]
# Some flaws sink the policy, and gold cries out without saying why. Others leave it where healthy runs
# are. Those are the dangerous ones: nobody looks.
#
# Over all {{signatures.json:classifiers.report and probes.classes|.0f}} kinds of run that we can tell
# apart, a simple classifier that sees outcomes alone names
# {{signatures.json:classifiers.outcome.accuracy|.0%}} of new runs rightly. With the report and its
# probes it is {{signatures.json:classifiers.report and probes.accuracy|.0%}}. You are about to be that
# classifier.

# %% [markdown]
# {{card:5.1}}
#
# Six panels of real runs, each 64 prompts with 16 responses. One is healthy; each of the others has one
# flaw, in a stage of its own: `sample`, `score`, `select`, `train`, `judge`. Name the flaw, and the one
# metric that decides: which no healthy run and no other flaw of the list explains.
#
# A flaw that is found gives half a point. The healthy run gives a whole one: a false alarm stops good
# work. Write `("healthy", "")` for it. These are the flaws and the metrics:

# %%
for flaw, description in measured.described():
    print(f"{flaw:30} {description}")
print()
for metric, (_, meaning) in measured.METRICS.items():
    print(f"{metric:30} {meaning}")

# %%
clinic = given("5.1")
clinic

# %% [markdown]
# <details><summary>Hint</summary>
# Go down a column and mark what lies far outside the healthy range; a little outside is what the fifth
# seed does. Then ask which stage comes first in the pipeline among the marks. What is broken early
# moves all that comes later, and never the other way round.
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
# about a hundred lines, a fake policy and reward, no model. Three flaws are planted in it, of the kinds
# that stand in public repositories: an answer that is stored in the wrong turn, a table that is
# selected and never used, a prompt that is learned, a cut answer that gets an end, rounds that share
# their seeds.
#
# | planted | what the trainer gets |
# |---|---|
# | wrong turn | the response as a question, and nothing to answer |
# | lost selection | every row that was drawn, good and bad |
# | prompt learned | a loss that is mostly about the user's words |
# | end added | half sentences that count as finished |
# | seeds shared | the same responses in every round |
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
# Nobody reads every panel. A check that runs after each pipeline does. It has two ways of being
# useless: to ring never, and to ring always. People switch the second kind off, and then it is the
# first kind.

# %%
examples = given("5.3")
print(len(examples), "runs;", sum(name == "healthy" for name, _ in examples), "of them healthy")
name, run = examples[0]
print(name, {metric: measured.shown(value) for metric, value in run.items()})

# %% role="predict" name="alarms"
guess = ...  # how many of two other healthy runs lie outside the range of these three, in some metric?
### BEGIN SOLUTION
guess = 2
### END SOLUTION
predict("alarms", guess)

# %%
beyond = {seed: measured.outside(rows["healthy"][seed], ("0", "1", "2")) for seed in ("3", "4")}
compare("alarms", sum(bool(found) for found in beyond.values()))
print("seed  metric              lowest of three  highest of three  this run")
for seed, found in beyond.items():
    for metric, value in found.items():
        low, high = map(measured.shown, measured.span("healthy", metric, ("0", "1", "2")))
        print(f"{seed:4}  {metric:18}  {low:>15}  {high:>16}  {measured.shown(value):>8}")

# %% [markdown]
# Three healthy runs do not span what healthy runs do. With 22 metrics a fourth one is outside somewhere
# almost for certain. A check needs room, or better, numbers that seeds do not move at all: counts,
# shares that must be 1, errors that must be 0.

# %% [markdown]
# {{card:5.3}}
#
# `check_run(run)` gets a panel, a dict from metric to number, and returns the list of stages that look
# broken, the most suspicious first: `["score"]`, or `[]` for a healthy run. It is tried on runs that
# you have not seen. For every stage: all healthy runs go free, and the first flag of each flawed run is
# its stage. A value can be `None` where there was nothing to measure.
#
# <details><summary>Hint</summary>
# Ask the stages in the order of the pipeline, each by its own numbers. For sampling: was as much drawn
# as planned, and how much of it is distinct? For scoring: would scoring again give the same?
# </details>

# %% exercise="5.3" role="answer"
def check_run(run):
    """The stages that look broken: of "sample", "score", "select", "train" and "judge"."""
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
# of a prompt are one text. The team tunes the policy on its own favourite words. Does that make it
# better or worse? Exhibit: five runs of it, beside the policies that they began with.

# %% role="predict" name="risen"
guess = ...  # in how many of five runs did gold rise above the base policy's?
### BEGIN SOLUTION
guess = 1
### END SOLUTION
predict("risen", guess)

# %%
greedy = rows["temperature_zero"]
compare("risen", sum(run["gold"] > run["gold_of_base"] for run in greedy.values()))
print("seed   gold of base   gold   reward   selection gap   distinct responses   KL")
for seed, run in greedy.items():
    numbers = (run["gold_of_base"], run["gold"], run["reward"], run["selection_gap"], run["pool_unique"])
    print(f"{seed:>4} " + " ".join(f"{number:11.2f}" for number in numbers) + f" {run['kl']:8.2f}")

# %% [markdown]
# {{card:5.4}}
#
# Three readings, each an answer and its reason: a letter and a digit such as `"B2"`.
#
# <details><summary>Hint</summary>
# Sort the columns of the exhibit first. Which of them follow from the flaw whatever the policy is, and
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
    "c": ("That it can do", "A change that"),
}
readings = sheet.labels(chosen)
### END SOLUTION
readings

# %% exercise="5.4" role="check"
check("5.4")

# %% [markdown]
# ## The same on your own run
#
# Every run of the engine leaves its tables, so the panel can be read of any of them, whatever the
# model. Put the folder of a finished run between the quotes. Without a gold score those columns stay
# empty; the probes need none.

# %%
REAL_RUN = ""
if REAL_RUN:
    from rslib.reporting import Report
    from rslib.store import read_json

    own = panel(Report.from_dict(read_json(f"{REAL_RUN}/report.json")).rounds[-1])
    print("\n".join(f"{name:30} {value}" for name, value in own.items()))

# %% [markdown]
# ## What you now know
#
# - Outcomes say that something is wrong; a number that one stage alone explains says what.
# - Healthy runs scatter. A check rings at what seeds cannot explain, and a false alarm has a price.
# - Greedy self-training can raise or lower the score. What it cannot do is select.

# %%
progress()
