# %% given
from autograder import given
from autograder.exercise import Variant
from autograder.handouts import nb06_panels as measured
from autograder.keys.nb06_panels import cases, decisive

variant, clinic = Variant("", "", "6.5"), given("6.5")


def diagnose(**changed):
    """The right answer, with the entries of some stages (or of the healthy panel) replaced."""
    answer = {}
    for letter, case in cases(variant).items():
        if case.flaw == "healthy":
            answer[letter] = changed.get("healthy", ("healthy", ""))
        else:
            stage = next(name for name, flaws in measured.STAGES.items() if case.flaw in flaws)
            answer[letter] = changed.get(stage, (case.flaw, sorted(decisive(case.flaw))[0]))
    return answer


def flaw_in(stage):
    """This learner's flaw in a stage."""
    return next(case.flaw for case in cases(variant).values() if case.flaw in measured.STAGES[stage])


def other_in(stage):
    """A flaw of a stage that is not this learner's."""
    return next(flaw for flaw in measured.STAGES[stage] if flaw != flaw_in(stage))


found_flaws = diagnose()

# %% correct: lists, capitals and blanks
found_flaws = {letter: [f" {word.upper()} " for word in pair] for letter, pair in diagnose().items()}

# %% correct: the last of the metrics that decide, the healthy one as a word
found_flaws = {
    letter: (flaw, sorted(decisive(flaw))[-1]) if metric else flaw
    for letter, (flaw, metric) in diagnose().items()
}

# %% correct: title case
found_flaws = {letter: tuple(word.title() for word in pair) for letter, pair in diagnose().items()}

# %% wrong: all are healthy | idea: missed | fails at: panel: flaw
found_flaws = dict.fromkeys("ABCDEF", ("healthy", ""))

# %% wrong: the healthy one accused | idea: F34 | fails at: spares the healthy | points: 2.5
found_flaws = diagnose(healthy=("no_penalty", "kl_price"))

# %% wrong: no penalty for the flaw of the draw | idea: no_penalty | fails at: panel: flaw | points: 3
found_flaws = diagnose(draw=("no_penalty", "kl_price"))

# %% wrong: a detached loss for the flaw of the reward | idea: detached | fails at: panel: flaw | points: 3
found_flaws = diagnose(reward=("detached", "policy_changed"))

# %% wrong: stale ones for the KL | idea: stale_logprobs | fails at: panel: flaw | points: 3
found_flaws = diagnose(kl=("stale_logprobs", "first_ratio"))

# %% wrong: a masked end for the advantages | idea: end_masked | fails at: panel: flaw | points: 3
found_flaws = diagnose(advantage=("end_masked", "learned_tokens"))

# %% wrong: the template for the flaw of the loss | idea: no_chat_template | fails at: panel: flaw | points: 3
found_flaws = diagnose(loss=("no_chat_template", "template_tokens"))

# %% wrong: gold decides everything | idea: metric | fails at: panel: metric | points: 1
found_flaws = {letter: (flaw, "gold") for letter, (flaw, _) in diagnose().items()}

# %% wrong: no metric for the loss | idea: metric | fails at: panel: metric | points: 3
found_flaws = diagnose(loss=(flaw_in("loss"), ""))

# %% wrong: one flaw is not seen | idea: missed | fails at: panel: flaw | points: 3
found_flaws = diagnose(reward=("healthy", ""))

# %% wrong: a name that is not on the list | fails at: names a flaw and a metric | points: 2
found_flaws = diagnose(kl=("entropy collapse", "entropy"))

# %% wrong: numbers for names | fails at: names a flaw and a metric
found_flaws = dict.fromkeys("ABCDEF", (1, 2))

# %% wrong: four panels called healthy | idea: missed | fails at: panel: flaw | points: 1
found_flaws = diagnose(draw="healthy", reward="healthy", kl="healthy")

# %% correct: None as the healthy run's metric
found_flaws = diagnose(healthy=("healthy", None))
