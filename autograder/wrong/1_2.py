# %% given
from autograder.keys.questions import given
from autograder.keys.questions import sheet as keys_of

sheet, keys = given("1.2"), keys_of("1.2")
KEY = {q.id: q.label(keys.variant) for q in keys.questions}


def instead(place, answer=0, reason=0):
    question = keys.questions[place]
    return KEY | {question.id: question.label(keys.variant, answer, reason)}


def with_idea(idea, tier):
    """The key with one option of this idea in the first question that has it."""
    for place, question in enumerate(keys.questions):
        for k, option in enumerate(getattr(question, tier)):
            if option.idea == idea:
                return instead(place, **{tier.removesuffix("s"): k})


# %% correct: as it is
what_happens = KEY

# %% correct: in small letters, with blanks
what_happens = {id: f" {label[0].lower()} {label[1]}" for id, label in KEY.items()}

# %% wrong: another card stops in a | idea: contract | fails at: question a: answer | points: 3
what_happens = instead(0, answer=1)

# %% wrong: another card stops in b | idea: contract | fails at: question b: answer | points: 3
what_happens = instead(1, answer=2)

# %% wrong: another card stops in c | idea: contract | fails at: question c: answer | points: 3
what_happens = instead(2, answer=1)

# %% wrong: another card stops in d | idea: contract | fails at: question d: answer | points: 3
what_happens = instead(3, answer=2)

# %% wrong: everything runs | idea: contract | fails at: question b: answer | points: 2
RUNS = {
    q.id: next(k for k, option in enumerate(q.answers) if option.text.startswith("It runs"))
    for q in keys.questions
}
what_happens = {q.id: q.label(keys.variant, answer=RUNS[q.id]) for q in keys.questions}

# %% wrong: a stop for the wrong reason | idea: F02 | fails at: question a: reason | points: 3
what_happens = with_idea("F02", "reasons")

# %% wrong: a leak where nothing is judged | idea: F18 | fails at: question a: reason | points: 3
what_happens = with_idea("F18", "reasons")

# %% wrong: select thought to keep the worst | idea: F03 | fails at: question a: reason | points: 3
what_happens = with_idea("F03", "reasons")

# %% wrong: cards thought to be free | idea: any order | fails at: question c: reason | points: 3
what_happens = with_idea("any order", "reasons")

# %% wrong: a letter without a reason | fails at: question a: form
what_happens = {id: label[0] for id, label in KEY.items()}

# %% correct: a blank between letter and digit, in another order
what_happens = {id: f"{KEY[id][0]} {KEY[id][1]}" for id in reversed(KEY)}

# %% correct: with a note of one's own
what_happens = KEY | {"note": "walked through with a pencil"}


# %% correct: keys in capitals, answers in brackets
what_happens = {id.upper(): f"({label})" for id, label in KEY.items()}


# %% correct: pairs of a letter and a number
what_happens = {id: (label[0], int(label[1])) for id, label in KEY.items()}

# %% correct: a few words behind each label
what_happens = {id: f"{label[0].lower()}{label[1]}: as I read it" for id, label in KEY.items()}


# %% correct: a column of pandas
import pandas as pd

what_happens = pd.Series(KEY)
