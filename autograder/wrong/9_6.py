# %% given
from autograder.keys.questions import given
from autograder.keys.questions import sheet as keys_of

sheet, keys = given("9.6"), keys_of("9.6")


def choose(**changed):
    """The keys of all questions, with the options of some replaced: a=(answer, reason) of the source."""
    return {q.id: q.label(keys.variant, *changed.get(q.id, (0, 0))) for q in keys.questions}


# %% correct: every key
conclusions = choose()

# %% correct: lower case and spaces
conclusions = {name: f" {label.lower()} " for name, label in choose().items()}

# %% correct: a blank between letter and digit, and another entry
conclusions = {name: f"{label[0]} {label[1]}" for name, label in choose().items()} | {"note": "done"}

# %% wrong: a vote finds the truth | idea: F35 | fails at: question a: answer | points: 2.25
conclusions = choose(a=(1, 0))

# %% wrong: a vote is an average | idea: F42 | fails at: question a: answer | points: 2.25
conclusions = choose(a=(2, 0))

# %% wrong: pass@k in service | idea: F16 | fails at: question a: reason | points: 2.25
conclusions = choose(a=(0, 3))

# %% wrong: all right teaches nobody | idea: F29 | fails at: question b: answer | points: 2.25
conclusions = choose(b=(1, 0))

# %% wrong: rewards for advantages | idea: F06 | fails at: question b: answer | points: 2.25
conclusions = choose(b=(2, 0))

# %% wrong: divided by nothing | idea: F32 | fails at: question b: reason | points: 2.25
conclusions = choose(b=(0, 1))

# %% wrong: imitation is safe | idea: F16 | fails at: question c: answer | points: 2.25
conclusions = choose(c=(1, 0))

# %% wrong: only the budget | idea: F33 | fails at: question c: answer | points: 2.25
conclusions = choose(c=(2, 0))

# %% wrong: the penalty decides | idea: F37 | fails at: question c: reason | points: 2.25
conclusions = choose(c=(0, 1))

# %% wrong: all of pass@8 | idea: F38 | fails at: question d: answer | points: 2.25
conclusions = choose(d=(1, 0))

# %% wrong: the policy checks | idea: F01 | fails at: question d: reason | points: 2.25
conclusions = choose(d=(0, 1))

# %% wrong: letters without reasons | fails at: question a: form
conclusions = {name: label[0] for name, label in choose().items()}

# %% correct: a letter and a number apart
conclusions = {id: (label[0], int(label[1])) for id, label in choose().items()}

# %% correct: because
conclusions = {id: f"{label[0]} because {label[1]}" for id, label in choose().items()}
