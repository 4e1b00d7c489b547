# %% given
from autograder.keys.questions import given
from autograder.keys.questions import sheet as keys_of

sheet, keys = given("7.4"), keys_of("7.4")


def choose(**changed):
    """The keys of all questions, with the options of some replaced: a=(answer, reason) of the source."""
    return {q.id: q.label(keys.variant, *changed.get(q.id, (0, 0))) for q in keys.questions}


# %% correct: every key
roads = choose()

# %% correct: lower case and spaces
roads = {name: f" {label.lower()} " for name, label in choose().items()}

# %% wrong: PPO's optimum is best-of-n | idea: F38 | fails at: question a: answer | points: 2
roads = choose(a=(1, 1))

# %% wrong: KL as an equality | idea: F39 | fails at: question a: reason | points: 2
roads = choose(a=(0, 3))

# %% wrong: depth is the tail | idea: F40 | fails at: question b: answer | points: 2
roads = choose(b=(1, 2))

# %% wrong: equal numbers are all | idea: F33 | fails at: question b: answer | points: 2
roads = choose(b=(2, 0))

# %% wrong: a safe start | idea: F16 | fails at: question c: answer | points: 2
roads = choose(c=(1, 0))

# %% wrong: PPO is always better | idea: F33 | fails at: question c: reason | points: 2
roads = choose(c=(0, 2))

# %% wrong: letters without reasons | fails at: question a: form
roads = {name: label[0] for name, label in choose().items()}

# %% correct: by the words of the options
texts = {q.id: (q.answers[0].text, q.reasons[0].text) for q in keys.questions}
roads = sheet.labels(texts)

# %% correct: more than was asked for
roads = choose() | {"d": "A1"}

# %% wrong: more mean reward for best-of-n | idea: F38 | fails at: question a: answer | points: 2
roads = choose(a=(2, 0))

# %% wrong: an optimum that nobody reaches | idea: F38 | fails at: question a: answer | points: 2
roads = choose(a=(3, 0))

# %% wrong: both keep high rewards | idea: F38 | fails at: question a: reason | points: 2
roads = choose(a=(0, 1))

# %% wrong: no gradient, no loss | idea: F37 | fails at: question a: reason | points: 2
roads = choose(a=(0, 2))

# %% wrong: rates and penalties | idea: F46 | fails at: question b: answer | points: 2
roads = choose(b=(3, 0))

# %% wrong: tokens against responses | idea: F36 | fails at: question b: reason | points: 2
roads = choose(b=(0, 1))

# %% wrong: memory makes breadth | idea: F33 | fails at: question b: reason | points: 2
roads = choose(b=(0, 3))

# %% wrong: the reward model was fitted | idea: F01 | fails at: question c: answer | points: 2
roads = choose(c=(2, 0))

# %% wrong: the clip keeps near the start | idea: F39 | fails at: question c: reason | points: 2
roads = choose(c=(0, 1))

# %% correct: a letter and a number apart
roads = {id: (label[0], int(label[1])) for id, label in choose().items()}
