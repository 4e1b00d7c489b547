# %% given
from autograder.keys.questions import given
from autograder.keys.questions import sheet as keys_of

sheet, keys = given("2.1"), keys_of("2.1")


def choose(**changed):
    """The keys of all questions, with the options of some replaced: a=(answer, reason) of the source."""
    return {q.id: q.label(keys.variant, *changed.get(q.id, (0, 0))) for q in keys.questions}


# %% correct: every key
answers = choose()

# %% correct: lower case and spaces
answers = {name: f" {label.lower()} " for name, label in choose().items()}

# %% wrong: the reward model is fine-tuned | idea: F01 | fails at: question a: answer | points: 5
answers = choose(a=(1, 0))

# %% wrong: all rows are worth keeping | idea: F02 | fails at: question a: reason | points: 5
answers = choose(a=(0, 3))

# %% wrong: PPO's machinery | idea: F36 | fails at: question a: answer | points: 5
answers = choose(a=(3, 0))

# %% wrong: a gap of 2.31 from one response per prompt | idea: F05 | fails at: question b: answer | points: 5
answers = choose(b=(1, 0))

# %% wrong: equal means can only be chance | idea: F04 | fails at: question c: reason | points: 5
answers = choose(c=(0, 1))

# %% wrong: serving for training | idea: F35 | fails at: question d: answer | points: 5
answers = choose(d=(1, 1))

# %% wrong: the reward model writes | idea: F37 | fails at: question d: reason | points: 5
answers = choose(d=(0, 3))

# %% wrong: a gradient through the reward | idea: F37 | fails at: question e: answer | points: 5
answers = choose(e=(1, 1))

# %% wrong: accept-reject sampling of the textbook | idea: F40 | fails at: question f: answer | points: 5
answers = choose(f=(2, 2))

# %% wrong: below zero is rejected | idea: F30 | fails at: question f: answer | points: 5
answers = choose(f=(1, 1))

# %% wrong: letters without reasons | fails at: question a: form
answers = {name: label[0] for name, label in choose().items()}
