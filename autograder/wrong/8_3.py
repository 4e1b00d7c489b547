# %% given
from autograder import given
from autograder.exercise import Variant
from autograder.exercises import calculator
from autograder.exercises.nb08_3 import truths
from autograder.handouts import nb08_2
from autograder.handouts.nb08_2 import teams
from autograder.keys.nb08_2 import acceptable

memory_gb, break_even_requests = calculator.memory_gb, calculator.break_even_requests
yearly_cost = nb08_2.yearly_cost
desk, found = given("8.2"), teams(Variant("", "", "8.2"))
decisions = {k: (min(acceptable(team)), "", "") for k, team in found.items()}
letter = next(k for k, team in found.items() if acceptable(team) == {"rs"})
team = found[letter]
numbers = truths(team, "rs")

TEXT = """We advise one round of rejection sampling: draw {n} responses to each of your prompts, keep the
best by your reward model, fine-tune on what was kept. It fits your machine: at its fullest moment it takes
{memory:,.0f} GB. Training and a year of serving come to ${dollars:,.2f}, within your limit.

Why not serve the best of {n}? Your users do not wait for so many responses, and it would have to be paid at
every request, while the round is paid once: it has paid for itself after {even:,.0f} requests. PPO would hold
two trained models and needs somebody to run its loop. DPO is close in cost and needs a reference in memory.

Measure it on prompts that were in neither pool, with gold or careful judges beside the reward, against a
random pick from the same responses, and with intervals. If the gain over that control has 0 in its interval,
stop: then the reward model is the part to work on. What would change this advice: users who wait, or weights
that may not be touched. Then serve the best of a few."""


def written(text=TEXT, **changed):
    """A memo with its numbers, or with some of them replaced."""
    memory, dollars, even = (numbers[name] for name in ("memory_gb", "dollars", "break_even_requests"))
    return text.format(**({"n": team.n, "memory": memory, "dollars": dollars, "even": even} | changed))


memo = written()
cited = {"team": letter, "strategy": "rs"} | numbers

# %% correct: rounded numbers, without commas
memo = written().replace(",", "")
cited = {"team": letter.upper(), "strategy": "RS"} | {k: float(f"{v:.3g}") for k, v in numbers.items()}

# %% correct: words for the units
memo = written().replace(" GB", " gigabytes").replace("$", "") + " All sums are in dollars."

# %% wrong: another memory | idea: contradiction | fails at: has the calculator's numbers | points: 0.5
cited = cited | {"memory_gb": 7 * numbers["memory_gb"]}

# %% wrong: other GB | idea: contradiction | fails at: has the calculator's numbers | points: 1
memo = written(memory=7 * numbers["memory_gb"])

# %% wrong: the text says another sum | idea: not said | fails at: says what it cites
memo = written(dollars=31 * numbers["dollars"])

# %% wrong: a sum | idea: contradiction | fails at: has the calculator's numbers | points: 1
memo = written() + " A consultant would take $77,777."

# %% wrong: two lines | idea: length | fails at: keeps its length | points: 1
memo = f"Rejection sampling: {numbers['memory_gb']:,.0f} GB, ${numbers['dollars']:,.2f}, "
memo += f"{numbers['break_even_requests']:,.0f} requests."

# %% wrong: no name | idea: not said | fails at: names the strategy | points: 1
memo = written().replace("rejection sampling", "the method").replace("best of", "first of")

# %% wrong: a misfit | idea: choice | fails at: advises what fits | points: 1
values = truths(team, "serve")
memo = written(memory=values["memory_gb"], dollars=values["dollars"])
cited = {"team": letter, "strategy": "serve"} | values

# %% wrong: no such team | fails at: cites three numbers
cited = cited | {"team": "z"}

# %% wrong: numbers as text | fails at: cites three numbers | points: 0.5
cited = cited | {"dollars": "a few"}
