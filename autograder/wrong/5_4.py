# %% given
from autograder.keys.questions import given
from autograder.keys.questions import sheet as keys_of

sheet, keys = given("5.4"), keys_of("5.4")


def choose(**changed):
    """The keys of all questions, with the options of some replaced: a=(answer, reason) of the source."""
    return {q.id: q.label(keys.variant, *changed.get(q.id, (0, 0))) for q in keys.questions}


# %% correct: every key
readings = choose()

# %% correct: lower case and spaces
readings = {name: f" {label.lower()} " for name, label in choose().items()}

# %% wrong: gold must fall | idea: outcome | fails at: question a: answer | points: 2
readings = choose(a=(1, 2))

# %% wrong: gold must stay | idea: no change | fails at: question a: answer | points: 2
readings = choose(a=(2, 1))

# %% wrong: copies have a best one | idea: F06 | fails at: question a: reason | points: 2
readings = choose(a=(0, 3))

# %% wrong: gold finds the defect | idea: F15 | fails at: question b: answer | points: 2
readings = choose(b=(1, 1))

# %% wrong: more responses mend it | idea: F13 | fails at: question b: answer | points: 2
readings = choose(b=(2, 0))

# %% wrong: a large gap is a bad reward model | idea: F11 | fails at: question b: reason | points: 2
readings = choose(b=(0, 2))

# %% wrong: four of five are below 0 | idea: F34 | fails at: question c: answer | points: 2
readings = choose(c=(1, 0))

# %% wrong: both were seen | idea: F34 | fails at: question c: answer | points: 2
readings = choose(c=(2, 0))

# %% wrong: no gap, so no change | idea: signal for outcome | fails at: question c: answer | points: 2
readings = choose(c=(3, 0))

# %% wrong: no gap, and signs | idea: signal for outcome | fails at: question c: answer | points: 2
readings = choose(c=(3, 1))

# %% wrong: repeated text costs gold | idea: outcome | fails at: question c: reason | points: 2
readings = choose(c=(0, 1))

# %% wrong: a fixed point in expectation | idea: no change | fails at: question c: reason | points: 2
readings = choose(c=(0, 2))

# %% wrong: the reward must rise | idea: F06 | fails at: question a: answer | points: 2
readings = choose(a=(3, 3))

# %% wrong: greedy text is worse text | idea: outcome | fails at: question a: reason | points: 2
readings = choose(a=(0, 2))

# %% wrong: an unlucky run | idea: F34 | fails at: question b: answer | points: 2
readings = choose(b=(3, 3))

# %% correct: a reason behind a word
readings = {name: f"{label[0]}, reason: {label[1]}" for name, label in choose().items()}

# %% correct: pairs of letter and digit
readings = {name: label.strip() for name, label in choose().items()}

# %% wrong: probability as the judge | idea: F06 | fails at: question c: reason | points: 2
readings = choose(c=(0, 3))

# %% wrong: letters without reasons | fails at: question a: form
readings = {name: label[0] for name, label in choose().items()}

# %% correct: the words of the sheet between letter and digit
readings = {id: f"{label[0]}, because {label[1]}" for id, label in choose().items()}
