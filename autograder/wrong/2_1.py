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

# %% correct: a blank between letter and digit
answers = {name: f"{label[0]} {label[1]}" for name, label in choose().items()}

# %% correct: a tab around, more keys than asked for
answers = {name: f"\t{label}\n" for name, label in choose().items()} | {"note": "see exhibit 3"}

# %% wrong: all rows, with their rewards | idea: F02 | fails at: question a: answer | points: 5
answers = choose(a=(2, 0))

# %% wrong: the reward's gradient | idea: F37 | fails at: question a: reason | points: 5
answers = choose(a=(0, 1))

# %% wrong: the reward model is worth improving | idea: F01 | fails at: question a: reason | points: 5
answers = choose(a=(0, 2))

# %% wrong: a small learning rate hides | idea: F46 | fails at: question b: answer | points: 5
answers = choose(b=(3, 0))

# %% wrong: the lowest was kept | idea: F03 | fails at: question b: answer | points: 5
answers = choose(b=(2, 0))

# %% wrong: one random response | idea: F04 | fails at: question c: answer | points: 5
answers = choose(c=(1, 0))

# %% wrong: a negative mean deserves nothing | idea: F30 | fails at: question c: reason | points: 5
answers = choose(c=(0, 2))

# %% wrong: both products stay better | idea: F35 | fails at: question d: answer | points: 5
answers = choose(d=(2, 0))

# %% wrong: every first option | idea: F01 | fails at: question a: answer
answers = dict.fromkeys("abcdef", "A1")


# %% correct: in brackets, with a full stop
answers = {id: f"({label})." for id, label in choose().items()}


# %% correct: pairs of a letter and a number
answers = {id: (label[0], int(label[1])) for id, label in choose().items()}

# %% correct: a few words behind each label
answers = {id: f"{label} keep the best" for id, label in choose().items()}

# %% correct: because
answers = {id: f"{label[0]} because {label[1]}" for id, label in choose().items()}
