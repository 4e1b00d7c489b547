# %% given
from autograder.keys.questions import given
from autograder.keys.questions import sheet as keys_of

sheet, keys = given("8.4"), keys_of("8.4")


def choose(**changed):
    """The keys of all questions, with the options of some replaced: a=(answer, reason) of the source."""
    return {q.id: q.label(keys.variant, *changed.get(q.id, (0, 0))) for q in keys.questions}


# %% correct: every key
advice = choose()

# %% correct: lower case and spaces
advice = {name: f" {label.lower()} " for name, label in choose().items()}

# %% wrong: the small policy alone | idea: F35 | fails at: question a: answer | points: 2
advice = choose(a=(1, 0))

# %% wrong: samples must be its own | idea: F19 | fails at: question a: reason | points: 2
advice = choose(a=(0, 1))

# %% wrong: a reward model first | idea: F37 | fails at: question b: answer | points: 2
advice = choose(b=(1, 0))

# %% wrong: a check cannot be fooled | idea: F16 | fails at: question b: reason | points: 2
advice = choose(b=(0, 3))

# %% wrong: more responses | idea: F13 | fails at: question c: answer | points: 2
advice = choose(c=(2, 0))

# %% wrong: the same law | idea: F38 | fails at: question c: reason | points: 2
advice = choose(c=(0, 1))

# %% wrong: letters without reasons | fails at: question a: form
advice = {name: label[0] for name, label in choose().items()}

# %% correct: sentences
advice = {id: f"I would say answer {label[0]}, reason {label[1]}." for id, label in choose().items()}

# %% correct: lists of two texts
advice = {id: [label[0].lower(), label[1]] for id, label in choose().items()}
