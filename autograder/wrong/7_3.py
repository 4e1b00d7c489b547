# %% given
from autograder import given
from autograder.exercise import Variant
from autograder.handouts.nb07_3 import VERDICTS, numbered
from autograder.keys.nb07_3 import CELLS, TESTED_BY, measured

sheet = given("7.3")
NUMBER = {cell: number for number, cell in numbered(Variant("", "", "7.3")).items()}


def answers(**changed):
    """The right answers, with the cell or the verdict of some statements replaced: a=(cell's key, None)."""
    found = {}
    for id, name in TESTED_BY.items():
        cell, verdict = changed.get(id, (None, None))
        found[id] = (NUMBER[CELLS[cell or name]], verdict or measured(CELLS[name]))
    return found


def another(id):
    """A verdict that is not the measured one of this statement."""
    right = measured(CELLS[TESTED_BY[id]])
    return next(verdict for verdict in VERDICTS if verdict != right)


audit = answers()

# %% correct: lists, capitals and blanks
audit = {id: [number, f" {verdict.upper()} "] for id, (number, verdict) in answers().items()}

# %% correct: numpy numbers
import numpy as np

audit = {id: (np.int64(number), verdict) for id, (number, verdict) in answers().items()}

# %% wrong: the reward for gold | idea: F16 | fails at: points at the evidence | points: 1.75
audit = answers(a=("best_of_n/ppo/proxy/flops", None))

# %% wrong: without an equal budget | idea: F33 | fails at: points at the evidence | points: 1.75
audit = answers(b=("ppo/rs/gold/", None))

# %% wrong: a budget where none is held | idea: F33 | fails at: points at the evidence | points: 1.75
audit = answers(c=("ppo/rs1/gold/flops", None))

# %% wrong: the reward of the rounds | idea: F16 | fails at: points at the evidence | points: 1.75
audit = answers(d=("rs3/rs1/proxy/cpu_seconds", None))

# %% wrong: the reward without the penalty | idea: F16 | fails at: points at the evidence | points: 1.75
audit = answers(h=("ppo_without_kl/base/reward/", None))

# %% wrong: another verdict on b | idea: F34 | fails at: reads the interval | points: 1.75
audit = answers(b=(None, another("b")))

# %% wrong: models are not separable | idea: F34 | fails at: reads the interval | points: 1.75
audit = answers(f=(None, "not separable"))

# %% wrong: a verdict of one's own | fails at: names a row and a verdict | points: 1.75
audit = answers(e=(None, "probably"))

# %% wrong: verdicts alone | fails at: names a row and a verdict
audit = {id: verdict for id, (_, verdict) in answers().items()}

# %% correct: capitals, and a list for a pair
audit = {id: [number, f" {verdict.capitalize()} "] for id, (number, verdict) in answers().items()}

# %% correct: more than was asked for
audit = answers() | {"i": (1, "supported")}

# %% wrong: the row above | idea: evidence | fails at: points at the evidence | points: 1.75
audit = answers(e=("ppo/dpo/models/responses", None))

# %% wrong: the models for the FLOPs | idea: evidence | fails at: points at the evidence | points: 1.75
audit = answers(f=("ppo/dpo/flops/responses", None))

# %% wrong: RS-1 against its control | idea: evidence | fails at: points at the evidence | points: 1.75
audit = answers(d=("rs1/random/gold/cpu_seconds", None))

# %% wrong: DPO's cost for its gold | idea: evidence | fails at: points at the evidence | points: 1.75
audit = answers(g=("ppo/dpo/flops/responses", None))

# %% wrong: a wide interval contradicts | idea: F34 | fails at: reads the interval | points: 1.75
audit = answers(h=(None, "contradicted"))

# %% wrong: the middle decides | idea: F34 | fails at: reads the interval | points: 1.75
audit = answers(c=(None, "supported"))

# %% wrong: a lower arm supports | idea: F34 | fails at: reads the interval | points: 1.75
audit = answers(d=(None, "supported"))

# %% wrong: serving is not separable | idea: F34 | fails at: reads the interval | points: 1.75
audit = answers(a=(None, "not separable"))

# %% wrong: no such row | fails at: names a row and a verdict | points: 1.75
audit = answers() | {"b": (99, "supported")}

# %% wrong: a text for the row | fails at: names a row and a verdict | points: 1.75
audit = answers() | {"g": ("the fourth", "supported")}

# %% correct: texts for the rows, hyphens
audit = {id: (str(number), verdict.replace(" ", "-")) for id, (number, verdict) in answers().items()}

# %% wrong: the row's verdict turned once too often | idea: F34 | fails at: reads the interval | points: 1.75
audit = answers(a=(None, "contradicted"))

# %% wrong: computation for the models held | idea: evidence | fails at: points at the evidence | points: 1.75
audit = answers(f=("ppo/dpo/flops/responses", None))

# %% correct: a text for each statement
audit = {id: f"row {number}: {verdict}" for id, (number, verdict) in answers().items()}

# %% correct: a dict for each statement, underscores
audit = {
    id: {"verdict": verdict.replace(" ", "_"), "row": number} for id, (number, verdict) in answers().items()
}
