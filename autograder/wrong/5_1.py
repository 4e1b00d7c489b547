# %% given
from autograder import given
from autograder.exercise import Variant
from autograder.handouts import nb05_panels as measured
from autograder.keys.nb05_1 import cases
from autograder.keys.nb05_panels import decisive

variant, clinic = Variant("", "", "5.1"), given("5.1")


def diagnose(**changed):
    """The right answer, with the entries of some stages (or of the healthy panel) replaced."""
    found = {}
    for letter, case in cases(variant).items():
        stage = case.flaw if case.flaw == "healthy" else measured.stage_of(case.flaw)
        metric = "" if case.flaw == "healthy" else sorted(decisive(case.flaw))[0]
        found[letter] = changed.get(stage, (case.flaw, metric))
    return found


def flaw_in(stage):
    """This learner's flaw in a stage."""
    return next(case.flaw for case in cases(variant).values() if case.flaw in measured.STAGES[stage])


diagnoses = diagnose()

# %% correct: lists, capitals and blanks
diagnoses = {letter: [f" {word.upper()} " for word in pair] for letter, pair in diagnose().items()}

# %% correct: the last of the metrics that decide, the healthy one as a word
diagnoses = {
    letter: (flaw, sorted(decisive(flaw))[-1]) if metric else flaw
    for letter, (flaw, metric) in diagnose().items()
}

# %% correct: the metric of the stage itself, where the stages before it are healthy
OF_STAGE = measured.GROUPS
diagnoses = {
    letter: (flaw, [m for m in OF_STAGE[measured.stage_of(flaw)] if m in decisive(flaw)][-1])
    if metric
    else (flaw, "")
    for letter, (flaw, metric) in diagnose().items()
}

# %% wrong: all are healthy | idea: missed | fails at: panel: flaw
diagnoses = dict.fromkeys("ABCDEF", ("healthy", ""))

# %% wrong: called a tiny test | idea: F34 | fails at: spares the healthy | points: 2.5
diagnoses = diagnose(healthy=("tiny_test", "judged_prompts"))

# %% wrong: called a random selection | idea: F34 | fails at: spares the healthy | points: 2.5
diagnoses = diagnose(healthy=("random_selection", "kept_best"))

# %% wrong: a random selection for the sampling flaw | idea: F04 | fails at: panel: flaw | points: 3
diagnoses = diagnose(sample=("random_selection", "kept_best"))

# %% wrong: the worst for the training flaw | idea: F03 | fails at: panel: flaw | points: 3
diagnoses = diagnose(train=("worst", "selection_gap"))

# %% wrong: one response for the scoring flaw | idea: F05 | fails at: panel: flaw | points: 3
diagnoses = diagnose(score=("n1", "pool_rows"))

# %% wrong: the wrong model for the selection flaw | idea: F01 | fails at: panel: flaw | points: 3
diagnoses = diagnose(select=("tune_reward_model", "policy_changed"))

# %% wrong: gold decides everything | idea: metric | fails at: panel: metric | points: 1
diagnoses = {letter: (flaw, "gold") for letter, (flaw, _) in diagnose().items()}

# %% wrong: no metric for the selection | idea: metric | fails at: panel: metric | points: 3
diagnoses = diagnose(select=(flaw_in("select"), ""))

# %% wrong: one training flaw is not seen | idea: missed | fails at: panel: flaw | points: 3
diagnoses = diagnose(train=("healthy", ""))

# %% wrong: a name that is not on the list | fails at: names a flaw and a metric | points: 2
diagnoses = diagnose(judge=("overfitting", "gold"))

# %% wrong: numbers for names | fails at: names a flaw and a metric
diagnoses = dict.fromkeys("ABCDEF", (1, 2))

# %% wrong: stages for flaws | fails at: names a flaw and a metric
diagnoses = {
    letter: (measured.stage_of(flaw), metric) if metric else (flaw, "")
    for letter, (flaw, metric) in diagnose().items()
}

# %% wrong: metric first | fails at: names a flaw and a metric
diagnoses = {letter: (metric, flaw) for letter, (flaw, metric) in diagnose().items()}

# %% wrong: reward decides | idea: metric | fails at: panel: metric | points: 1
diagnoses = {letter: (flaw, "reward") for letter, (flaw, _) in diagnose().items()}

# %% wrong: one called healthy | idea: missed | fails at: panel: flaw | points: 3
diagnoses = diagnose(judge=("healthy", "gold"))

# %% wrong: training prompts for a judge | idea: F01 | fails at: panel: flaw | points: 3
diagnoses = diagnose(judge=("tune_reward_model", "policy_changed"))

# %% wrong: descriptions | fails at: names a flaw and a metric
diagnoses = {letter: ("the rewards are ignored", "kept_best") for letter in "ABCDEF"}

# %% wrong: length decides | idea: metric | fails at: panel: metric | points: 1
diagnoses = {letter: (flaw, "length") for letter, (flaw, _) in diagnose().items()}

# %% wrong: one flaw for all | idea: F03 | fails at: panel: flaw
diagnoses = dict.fromkeys("ABCDEF", ("worst", "selection_gap"))

# %% correct: blanks for underscores, and None as the healthy run's metric
diagnoses = {
    letter: (flaw.replace("_", " "), metric.replace("_", " ") or None)
    for letter, (flaw, metric) in diagnose().items()
}

# %% wrong: the worst for a random pick, by the gap | idea: F03 | fails at: panel: flaw | points: 3
diagnoses = diagnose(
    select=("worst" if flaw_in("select") != "worst" else "random_selection", "selection_gap")
)

# %% wrong: prompt-blind for another fault of the rewards | idea: F08 | fails at: panel: flaw | points: 3
diagnoses = diagnose(
    score=(
        "prompt_blind_scoring" if flaw_in("score") != "prompt_blind_scoring" else "shuffled_rewards",
        "prompt_effect",
    )
)

# %% correct: texts with a comma, hyphens for underscores
diagnoses = {letter: ", ".join(pair).replace("_", "-") for letter, pair in diagnose().items()}

# %% correct: a dict for each panel, NaN for no metric
diagnoses = {
    letter: {"metric": metric or float("nan"), "flaw": flaw} for letter, (flaw, metric) in diagnose().items()
}
