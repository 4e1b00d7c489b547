# %% given
from autograder import given
from autograder.exercise import Variant
from autograder.exercises import calculator
from autograder.handouts import nb08_2
from autograder.handouts.nb08_2 import STRATEGIES, teams
from autograder.keys.nb08_2 import acceptable, deciding, flipping

memory_gb, CHANGES, yearly_cost = calculator.memory_gb, nb08_2.CHANGES, nb08_2.yearly_cost
desk = given("8.2")
found = teams(Variant("", "", "8.2"))


def decide(**changed):
    """An acceptable answer for every team, with some entries replaced: a=(strategy, limit, change)."""
    right = {k: tuple(min(part(t)) for part in (acceptable, deciding, flipping)) for k, t in found.items()}
    return right | changed


def one_with(part, *values):
    """The first team of which this holds, and the rest of its answer."""
    letter = next(k for k, team in found.items() if part(team) == set(values))
    return letter, decide()[letter]


decisions = decide()

# %% correct: the last of what is acceptable, capitals, lists
decisions = {
    k: [f" {max(part(team)).upper()} " for part in (acceptable, deciding, flipping)]
    for k, team in found.items()
}

# %% correct: one after the other
decisions = {}
for letter, team in found.items():
    fitting = [s for s in (*STRATEGIES, "none") if s in acceptable(team)]
    decisions[letter] = (fitting[0], sorted(deciding(team))[0], sorted(flipping(team))[0])

# %% wrong: PPO for everybody | idea: budget | fails at: fits the limits
decisions = {k: ("ppo", *rest) for k, (_, *rest) in decide().items()}

# %% wrong: gives up on a team that can be served | idea: gives up | fails at: fits the limits | points: 2.5
letter, (_, *rest) = one_with(acceptable, "serve")
decisions = decide(**{letter: ("none", *rest)})

# %% wrong: tuning where the memory is not there | idea: memory | fails at: fits the limits | points: 2.5
letter, (_, *rest) = one_with(acceptable, "serve")
decisions = decide(**{letter: ("rs", *rest)})

# %% wrong: users wait for sixteen responses | idea: F35 | fails at: fits the limits | points: 2.5
letter, (_, *rest) = one_with(acceptable, "rs")
decisions = decide(**{letter: ("serve", *rest)})

# %% wrong: another limit | idea: limit | fails at: names the limit | points: 2.5
letter, (strategy, _, change) = one_with(deciding, "skill")
decisions = decide(**{letter: (strategy, "memory", change)})

# %% wrong: a change that changes nothing | idea: flip | fails at: flips | points: 2.5
letter, (strategy, limit, _) = one_with(deciding, "skill")
decisions = decide(**{letter: (strategy, limit, "memory x 4")})

# %% wrong: a strategy of one's own | fails at: names a strategy, a limit and a change | points: 2.5
decisions = decide(a=("distil", "memory", "nothing"))

# %% wrong: strategies alone | fails at: names a strategy, a limit and a change
decisions = {k: answer[0] for k, answer in decide().items()}
