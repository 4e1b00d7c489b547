# %% given
from autograder.keys.questions import given
from autograder.keys.questions import sheet as keys_of

sheet, keys = given("4.4"), keys_of("4.4")
QUESTIONS = {q.id: q for q in keys.questions}
KEY = {q.id: q.label(keys.variant) for q in keys.questions}


def said(id, verdict=None, evidence=0):
    """The key, with another verdict or evidence for one statement."""
    question = QUESTIONS[id]
    answer = [o.text for o in question.answers].index(verdict) if verdict else 0
    return KEY | {id: question.label(keys.variant, answer, evidence)}


# %% correct: as it is
verdicts = KEY

# %% correct: in small letters, in another order
verdicts = {id: f" {KEY[id].lower()} " for id in reversed(KEY)}

# %% correct: the letter, a blank, the digit
verdicts = {id: f"{label[0]} {label[1]}" for id, label in KEY.items()}

# %% wrong: a value network | idea: F36 | fails at: question a: answer | points: 4.5
verdicts = said("a", "true")

# %% wrong: kept rewards as evidence | idea: F15 | fails at: question b: reason | points: 4.5
verdicts = said("b", evidence=1)

# %% wrong: base as the control | idea: F49 | fails at: question b: reason | points: 4.5
verdicts = said("b", evidence=2)

# %% wrong: the gap proves it | idea: F11 | fails at: question c: answer | points: 4.5
verdicts = said("c", "true")

# %% wrong: training equals serving | idea: F35 | fails at: question d: answer | points: 4.5
verdicts = said("d", "true")

# %% wrong: errors stay outside | idea: F16 | fails at: question e: answer | points: 4.5
verdicts = said("e", "false")

# %% wrong: all rows | idea: F02 | fails at: question f: answer | points: 4.5
verdicts = said("f", "depends")

# %% wrong: more is always better | idea: F13 | fails at: question h: answer | points: 4.5
verdicts = said("h", "true")

# %% wrong: no held-out prompts | idea: F15 | fails at: question i: answer | points: 4.5
verdicts = said("i", "true")

# %% wrong: memory taken for computation | idea: F33 | fails at: question j: reason | points: 4.5
verdicts = said("j", evidence=1)


# %% correct: keys in capitals
verdicts = {id.upper(): label for id, label in KEY.items()}


# %% correct: pairs of a letter and a number
verdicts = {id: (label[0], int(label[1])) for id, label in KEY.items()}

# %% correct: a few words behind each label
verdicts = {id: f"{label}, by my run" for id, label in KEY.items()}
