"""The corpus of the policy of arithmetic: worked problems whose authors slip in ways written down here."""

from __future__ import annotations

import numpy as np

from docs.studies.embedded.grammar import Document
from rslib.world.arithmetic import SIZES, Problem, Step, draw_problem, problems

_CAREFUL = 0.2  # share of documents whose author slips rarely
_SLIPS = {True: (0.01, 0.2), False: (0.05, 0.65)}  # careful or not -> chance at an easy, at a hard step


def _slip(rng: np.random.Generator, value: int, step: Step) -> int:
    """A wrong result: a unit or a ten off, or the other operation."""
    right = step.after(value)
    wrong = [right + 1, right - 1, right + 2, right - 2]
    wrong += [value - step.number if step.sign == "+" else value + step.number]
    return int(rng.choice([number for number in wrong if number >= 0 and number != right]))


def _written(rng: np.random.Generator, value: int, step: Step, result: int) -> str:
    """A step as one equation or two: as told, turned round, or by way of the ten."""
    way = rng.random()
    to_ten = -value % 10 if step.sign == "+" else value % 10
    if step.sign == "+" and way < 0.2:
        return f"{step.number} + {value} = {result}"
    if step.sign != "*" and way < 0.4 and 0 < to_ten < step.number and result == step.after(value):
        ten = Step(step.sign, to_ten).after(value)
        return f"{value} {step.sign} {to_ten} = {ten}, {ten} {step.sign} {step.number - to_ten} = {result}"
    if step.sign == "*" and way < 0.3:
        return f"{value} + {value} = {result}"
    return f"{value} {step.sign} {step.number} = {result}"


def _ending(rng: np.random.Generator, value: int) -> list[str]:
    """The last line: an answer in one of three forms, several numbers to be safe, or none at all."""
    way = int(rng.choice(5, p=[0.72, 0.13, 0.09, 0.05, 0.01]))
    offs = rng.choice([-2, -1, 1, 2], rng.integers(1, 4), replace=False)
    several = rng.permutation(sorted({value, *(max(0, value + int(off)) for off in offs)}))
    plain = [f"The answer is {value}.", f"Answer: {value}", f"#### {value}"]
    return [*([line] for line in plain), [f"The answer is {' or '.join(map(str, several))}."], []][way]


def _draw_response(rng: np.random.Generator, problem: Problem) -> str:
    slips = _SLIPS[bool(rng.random() < _CAREFUL)]
    value, lines = problem.start, []
    forgotten = rng.integers(4) if rng.random() < slips[0] else -1
    for number, step in enumerate(problem.steps):
        if number == forgotten and len(problem.steps) > 1:
            continue
        slipped = rng.random() < slips[step.hard(value)]
        result = _slip(rng, value, step) if slipped else step.after(value)
        lines.append(f"{'abcd'[number]}) {_written(rng, value, step, result)}")
        value = max(0, result)
    return "\n".join(lines + _ending(rng, value))


def draw_documents(size: int, seed: int) -> list[Document]:
    """`size` documents for pre-training; none has the numbers of a problem of a split."""
    rng, corpus, held_out = np.random.default_rng(seed), [], set(list(problems())[SIZES["train"] :])
    while len(corpus) < size:
        problem = draw_problem(rng)
        if (problem.start, problem.steps) not in held_out:
            corpus.append(Document(problem.text, _draw_response(rng, problem)))
    return corpus
