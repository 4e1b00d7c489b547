# %% given
import dataclasses

from autograder import given
from autograder.exercise import Variant
from autograder.exercises import calculator
from autograder.handouts import nb08_2
from autograder.handouts.nb08_prices import STRATEGIES
from autograder.keys.nb08_2 import acceptable, broken, deciding, flipping, weights_of

tools, desk, replace = calculator.USE, given("8.2"), dataclasses.replace
CHANGES, larger, rows = nb08_2.CHANGES, nb08_2.larger, nb08_2.rows
known = nb08_2.teams(Variant("", "", "8.2"))


def right(team, pick=min):
    """An answer that gets all points."""
    strategy = pick(acceptable(team))
    return strategy, weights_of(team, strategy), pick(deciding(team)), pick(flipping(team))


def decide(**changed):
    """An acceptable answer for every team, with some answers replaced."""
    return {k: right(team) for k, team in known.items()} | changed


def first(holds):
    """The first letter and team of which this holds."""
    return next((k, team) for k, team in known.items() if holds(team))


def breaking(limit):
    """Right answers, but for one team's strategy, which breaks this limit before any other of the list."""
    for letter, team in known.items():
        for strategy in STRATEGIES:
            if next((name for name in nb08_2.LIMITS if name in broken(team, strategy)), "") == limit:
                return decide(**{letter: (strategy, "full", *right(team)[2:])})


def nothing_fits(team):
    return acceptable(team) == {"none"}


decisions = decide()

# %% correct: the last of what is acceptable, capitals, lists
decisions = {k: [f" {word.upper()} " for word in right(team, max)] for k, team in known.items()}

# %% correct: one after the other
decisions = {}
for letter, team in known.items():
    fitting = [s for s in (*STRATEGIES, "none") if s in acceptable(team)]
    words = fitting[0], weights_of(team, fitting[0]), sorted(deciding(team))[0], sorted(flipping(team))[0]
    decisions[letter] = words

# %% correct: read off the tables that the learner's functions fill
decisions = {}
for letter, team in known.items():
    sheet = nb08_2.Sheet(team, tools)
    order = sorted(acceptable(team), key=lambda s: sheet.rows[s].total if s in sheet.rows else 0)
    weights = sheet.rows[order[0]].weights if order[0] in sheet.rows else "none"
    decisions[letter] = (order[0], weights, max(deciding(team)), max(flipping(team)))

# %% correct: numpy's strings
import numpy as np

decisions = {k: tuple(np.array(right(team))) for k, team in known.items()}

# %% wrong: gives up on a team that can be served | idea: gives up | fails at: fits the limits | points: 2.5
letter, team = first(lambda team: not nothing_fits(team))
decisions = decide(**{letter: ("none", "none", *right(team)[2:])})

# %% wrong: tuning where no weights may change | idea: F01 | fails at: fits the limits | points: 2.5
decisions = breaking("permission")

# %% wrong: users wait for all n | idea: F35 | fails at: fits the limits | points: 2.5
decisions = breaking("latency")

# %% wrong: RL where nobody can run it | idea: F36 | fails at: fits the limits | points: 2.5
decisions = breaking("skill")

# %% wrong: too few wins | idea: quality | fails at: fits the limits | points: 2.5
decisions = breaking("quality")

# %% wrong: over the budget | idea: budget | fails at: fits the limits | points: 2.5
decisions = breaking("budget")

# %% wrong: the dearest that fits | idea: dearer | fails at: fits the limits | points: 2.5
letter, team = first(lambda team: any(not broken(team, s) and s not in acceptable(team) for s in STRATEGIES))
strategy = next(s for s in STRATEGIES if not broken(team, s) and s not in acceptable(team))
decisions = decide(**{letter: (strategy, weights_of(team, strategy), *right(team)[2:])})

# %% wrong: all weights where they do not fit | idea: memory | fails at: holds the weights | points: 2.5
letter, team = first(lambda team: right(team)[1] in ("lora", "4bit"))
decisions = decide(**{letter: (right(team)[0], "full", *right(team)[2:])})

# %% wrong: 4 bits where more fits | idea: smaller than needed | fails at: holds the weights | points: 2.5
letter, team = first(lambda team: right(team)[1] in ("full", "lora"))
decisions = decide(**{letter: (right(team)[0], "4bit", *right(team)[2:])})

# %% wrong: weights of nothing | idea: weights | fails at: holds the weights | points: 2.5
letter, team = first(nothing_fits)
decisions = decide(**{letter: ("none", "full", *right(team)[2:])})

# %% wrong: another limit | idea: limit | fails at: names the limit | points: 2.5
letter, team = first(lambda team: "latency" in deciding(team))
limit = next(name for name in nb08_2.LIMITS if name not in deciding(team))
decisions = decide(**{letter: (*right(team)[:2], limit, right(team)[3])})

# %% wrong: no limit where one decides | idea: limit | fails at: names the limit | points: 2.5
letter, team = first(lambda team: "none" not in deciding(team))
decisions = decide(**{letter: (*right(team)[:2], "none", right(team)[3])})

# %% wrong: a limit where none decides | idea: limit | fails at: names the limit | points: 2.5
letter, team = first(lambda team: deciding(team) == {"none"})
decisions = decide(**{letter: (*right(team)[:2], "budget", right(team)[3])})

# %% wrong: a change that changes nothing | idea: flip | fails at: flips | points: 2.5
letter, team = first(lambda team: not nothing_fits(team))
change = next(name for name in nb08_2.CHANGES if name not in flipping(team))
decisions = decide(**{letter: (*right(team)[:3], change)})

# %% wrong: nothing helps, where something does | idea: flip | fails at: flips | points: 2.5
letter, team = first(lambda team: nothing_fits(team) and flipping(team) != {"nothing"})
decisions = decide(**{letter: (*right(team)[:3], "nothing")})

# %% wrong: a change after which still nothing fits | idea: flip | fails at: flips | points: 2.5
letter, team = first(nothing_fits)
change = next(name for name in nb08_2.CHANGES if name not in flipping(team) and name != "nothing")
decisions = decide(**{letter: (*right(team)[:3], change)})

# %% wrong: a strategy of one's own | fails at: names a strategy, weights, a limit and a change | points: 2.5
decisions = decide(a=("distil", "full", "memory", "nothing"))

# %% wrong: three words | fails at: names a strategy, weights, a limit and a change
decisions = {k: answer[:3] for k, answer in decide().items()}

# %% wrong: strategies alone | fails at: names a strategy, weights, a limit and a change
decisions = {k: answer[0] for k, answer in decide().items()}


# %% wrong: without the quarter on top | idea: memory | fails at: fits the limits | points: 2.5
def _tight(team):
    fits = (s for s in STRATEGIES if broken(team, s) == {"memory"} and not broken(larger(team, 1.25), s))
    return next(fits, None)


_letter, _team = first(_tight)
decisions = decide(**{_letter: (_tight(_team), "4bit", *right(_team)[2:])})

# %% wrong: labels free of charge | idea: labels | fails at: flips | points: 2.5
decisions = {k: right(replace(team, label=0.0)) for k, team in known.items()}

# %% correct: a text with commas for each team, 4-bit and memory*4
decisions = {
    k: ", ".join(four).replace("4bit", "4-bit").replace(" x ", "*").replace(" / ", "/")
    for k, four in decide().items()
}

# %% correct: a dict for each team, None where nothing fits
_names = ("strategy", "weights", "limit", "change")
decisions = {
    k: {name: None if word == "none" else word for name, word in zip(_names, four, strict=True)}
    for k, four in decide().items()
}
