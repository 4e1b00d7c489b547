# %% given
from autograder.keys.nb01_4 import COUNTS, ROLES
from autograder.keys.questions import given
from autograder.keys.questions import sheet as keys_of

sheet, keys = given("1.4"), keys_of("1.4")
QUESTIONS = {q.id: q for q in keys.questions}
KEY = {q.id: q.label(keys.variant) for q in keys.questions}


def said(id, role="", count=""):
    """The key, with another role or number for one system."""
    question = QUESTIONS[id]
    answer = [o.text for o in question.answers].index(ROLES[role][0]) if role else 0
    reason = [o.text for o in question.reasons].index(COUNTS[count][0]) if count else 0
    return KEY | {id: question.label(keys.variant, answer, reason)}


# %% correct: as it is
used = KEY

# %% correct: in small letters, in another order
used = {id: KEY[id].lower() for id in reversed(KEY)}

# %% wrong: WebGPT was fine-tuned on the best | idea: F35 | fails at: question a: answer | points: 3.5
used = said("a", role="compared")

# %% wrong: the axis of a figure taken for the recipe | idea: n | fails at: question b: reason | points: 3.5
used = said("b", count="100")

# %% wrong: Llama 2 went on with DPO | idea: role | fails at: question b: answer | points: 3.5
used = said("b", role="then_dpo")

# %% wrong: Llama 3 put PPO on top | idea: role | fails at: question c: answer | points: 3.5
used = said("c", role="then_ppo")

# %% wrong: expert iteration happens while serving | idea: F35 | fails at: question d: answer | points: 3.5
used = said("d", role="serving")

# %% wrong: HH-RLHF was fine-tuned on the best | idea: role | fails at: question e: answer | points: 3.5
used = said("e", role="compared")

# %% wrong: a reward model chose the paths of RFT | idea: role | fails at: question f: answer | points: 3.5
used = said("f", role="compared")

# %% wrong: everything with 16 | idea: n | fails at: question a: reason | points: 1
used = {id: said(id, count="16")[id] for id in KEY}

# %% correct: with blanks around, in capitals
used = {id: f" {label.upper()} " for id, label in KEY.items()}

# %% wrong: the smaller models drew for themselves | idea: role | fails at: question g: answer | points: 3.5
used = said("g", role="then_ppo")

# %% wrong: the smaller models were served best-of-n | idea: F35 | fails at: question g: answer | points: 3.5
used = said("g", role="serving")

# %% wrong: a number for the smaller models | idea: n | fails at: question g: reason | points: 3.5
used = said("g", count="100")

# %% wrong: R1 is RFT by another name | idea: role | fails at: question h: answer | points: 3.5
used = said("h", role="checked")

# %% wrong: R1 goes on with DPO | idea: role | fails at: question h: answer | points: 3.5
used = said("h", role="then_dpo")

# %% wrong: R1's 600,000 taken for a number per prompt | idea: n | fails at: question h: reason | points: 3.5
used = said("h", count="100")

# %% wrong: HH-RLHF served the best of 16 | idea: F35 | fails at: question e: answer | points: 3.5
used = said("e", role="serving")

# %% wrong: RFT goes on with DPO | idea: role | fails at: question f: answer | points: 3.5
used = said("f", role="then_dpo")


# %% correct: a comma and a blank between
used = {id: f"{label[0]}, {label[1]}" for id, label in KEY.items()}


# %% correct: pairs of a letter and a number
used = {id: [label[0], int(label[1])] for id, label in KEY.items()}

# %% correct: a few words behind each label
used = {id: f"{label} (by the text)" for id, label in KEY.items()}


# %% correct: a column of pandas
import pandas as pd

used = pd.Series(KEY)
