# %% given
from autograder import given
from autograder.exercise import Variant
from autograder.exercises.calculator import USE as tools
from autograder.exercises.nb08_3 import truths
from autograder.handouts import nb08_2
from autograder.handouts.nb08_2 import dollars, rows, short_number, teams
from autograder.keys.nb08_2 import acceptable

even, desk, known = nb08_2.even, given("8.2"), teams(Variant("", "", "8.2"))
decisions = {k: (min(acceptable(team)), "", "", "") for k, team in known.items()}
letter = next(k for k, team in known.items() if "rs" in acceptable(team))
team = known[letter]
numbers = truths(team, "rs")
EVEN = short_number(numbers["break_even_requests"])
NEVER = EVEN == "never"

TEXT = """We advise one round of rejection sampling: draw {n} responses to each of your prompts, keep the
best by your reward model, fine-tune on what was kept. It fits your machine: at its fullest moment it takes
{memory} GB. The first year comes to {dollars}, within your limit; people and labels are most of it.

Why not serve the best of {n}? Your users would wait until the last response is judged. The round breaks
even at {even} requests. PPO would hold two trained models and needs somebody to run its loop. DPO is close
in cost and trains on pairs.

Measure it on prompts that were in neither pool, with gold or careful judges beside the reward, against a
random pick from the same responses, and with intervals. If the gain over that control has 0 in its interval,
stop: then the reward model is the part to work on. What would change this advice: users who wait, or weights
that may not be touched. Then serve the best of a few."""


def written(text=TEXT, **changed):
    """A memo with its numbers, or with some of them replaced."""
    shown = {"n": team.n, "memory": f"{numbers['memory_gb']:,.1f}", "even": EVEN}
    return text.format(**(shown | {"dollars": f"${numbers['dollars']:,.0f}"} | changed))


memo = written()
cited = {"team": letter, "strategy": "rs"} | numbers

# %% correct: rounded numbers, capitals
memo = written().replace(",", "")
rounded = {k: float(f"{v:.3g}") for k, v in numbers.items()}
cited = {"team": letter.upper(), "strategy": "RS"} | rounded

# %% correct: words for the units
memo = written().replace(" GB", " gigabytes").replace("$", "USD ")

# %% correct: thousands as people write them
memo = written(dollars=f"${numbers['dollars'] / 1000:.1f}k")

# %% correct: the task's own price, a saving, and several cards
memo = written() + (
    " This assumes $3 an hour. That saves $83,903 a year. Three cards of 80 GB would do as well, at $2.8k a "
    "month. A consultant would take $77,777."
)

# %% correct: notes with bullets
memo = f"""Advice: best-of-{team.n}, one round of fine-tuning.

- Memory: {numbers["memory_gb"]:.0f} GB of the {team.trainer.gigabytes:g} GB that you have
- Money: about {numbers["dollars"] / 1000:.0f} thousand dollars in year one, of which people
  {dollars(rows(team, tools)["rs"].people)}
- Break-even with serving: {EVEN}

Deciding limit: your users want the first word at once, and the best of {team.n} has none before the judge
is done. PPO (four models at once; ten weeks of an engineer) and RLOO (six weeks) are more than you need. DPO
is the runner-up, three weeks. Before you ship: 500 prompts that nobody trained on, two arms, best and random,
blind judges, a 95 % interval for the difference. Ship when its lower end is above zero. Stop when reward
rises and judges do not follow: the reward model is then being pleased instead of the customer. I would change
my mind if somebody forbade new weights, or if you asked for ten more wins in a hundred than the pilot had."""

# %% correct: a letter to the founder
memo = f"""Dear founder, train once and be done with it. With rejection sampling the model writes {team.n}
responses to each of your 20,000 prompts, your judge picks the best, and the model learns from those. Your
engineer needs two weeks. You will spend {dollars(numbers["dollars"])} in the first year, most of it on
people and labels and next to nothing on computing. It needs {numbers["memory_gb"]:.1f} gigabytes of memory,
and you have {team.trainer.gigabytes:g}. You asked whether you could rather let the model write {team.n}
times for each customer. You could, and it would be ready sooner; but your customers would sit before an empty
screen, and the two ways cost the same after {EVEN} requests{" (it never pays)" if NEVER else ""}. The
heavier methods, PPO and RLOO, want somebody who has done it before. Do not believe me: ask for a test on
questions that were not used, in which people choose blindly between the tuned model and one that was trained
on random picks. If the difference could be zero, spend the money on a better judge. If your customers turn
out to be patient, write me again."""

# %% correct: exact figures and a comparison of sizes
every = ", ".join(f"{name} {row.gigabytes:.1f} GB" for name, row in rows(team, tools).items())
memo = (
    written() + f" For comparison, at their fullest moment: {every}. Your budget is {dollars(team.budget)}."
)

# %% correct: conditions and what-ifs
memo = written() + (
    " If the price of a machine doubled, the year would cost no more than $500 on top. With 4-bit weights a "
    "70 B model would need 43 GB. At ten times the requests we would look again."
)

# %% correct: other cases, and sums of some items
taken = rows(team, tools)["rs"]
memo = written() + (
    f" Labels and people cost {dollars(taken.labels + taken.people)} in all. With twice the wage the "
    f"break-even would be 123 M requests. With a quarter more it is {1.25 * taken.gigabytes:.0f} GB at its "
    "peak. The best of 4 would break even at 14.9 M requests."
)

# %% correct: a report with headings and a table
memo = f"""## Recommendation
Rejection sampling: one round, best of {team.n}, then plain supervised fine-tuning.

## Numbers
| item | value |
|---|---|
| peak memory | {numbers["memory_gb"]:.1f} GB (machine: {team.trainer.gigabytes:g} GB) |
| first year, total cost | {dollars(numbers["dollars"])} (budget {dollars(team.budget)}) |
| break-even against serving | {EVEN} requests |

## Why this one
The first word has to come at once, and serving the best of {team.n} shows none before all are judged. That
limit decides; without it serving would do. PPO and RLOO keep everything in memory together and take an
engineer six to ten weeks. DPO takes a week more than this and won about as often in the pilot.

## Before you believe it
Take prompts that no stage has seen. Compare with a control that was trained on a random response of each
prompt. Let people judge without knowing which is which, and report a 95 % interval. A higher reward alone
proves nothing: the policy may have learned what the reward model likes.

## What would change my mind
Users who accept to wait, a ban on new weights, or an aim ten wins higher."""

# %% correct: numbers of numpy
import numpy as np

cited = {"team": letter, "strategy": "rs"} | {k: np.float32(v) for k, v in numbers.items()}

# %% wrong: another memory | idea: contradiction | fails at: has the calculator's numbers | points: 0.5
cited = cited | {"memory_gb": 7 * numbers["memory_gb"]}

# %% wrong: another year | idea: contradiction | fails at: has the calculator's numbers | points: 0.5
cited = cited | {"dollars": numbers["dollars"] - rows(team, tools)["rs"].people}

# %% wrong: another break-even | idea: contradiction | fails at: has the calculator's numbers | points: 0.5
cited = cited | {"break_even_requests": 1.0}

# %% wrong: serving's numbers | idea: contradiction | fails at: has the calculator's numbers | points: 0.5
cited = {"team": letter, "strategy": "rs"} | truths(team, "serve") | {"memory_gb": numbers["memory_gb"]}

# %% wrong: the text says another size | idea: not said | fails at: says what it cites | points: 0.5
memo = written(memory=f"{7 * numbers['memory_gb']:,.1f}")

# %% wrong: the text says another sum | idea: not said | fails at: says what it cites | points: 0.5
memo = written(dollars=f"${31 * numbers['dollars']:,.0f}")

# %% wrong: the text says no break-even | idea: not said | fails at: says what it cites | points: 0.5
memo = written().replace(f"The round breaks\neven at {EVEN} requests.", "The round pays.")

# %% wrong: a unit of another size | idea: not said | fails at: says what it cites | points: 0.5
memo = written().replace(" GB", " MB")

# %% wrong: once right | idea: contradiction | fails at: has the calculator's numbers | points: 0.5
memo = written() + f" So the peak memory is {9.7 * numbers['memory_gb']:.1f} GB."

# %% wrong: two totals | idea: contradiction | fails at: has the calculator's numbers | points: 0.5
memo = written() + f" All told it is ${13.7 * numbers['dollars']:,.0f}."

# %% wrong: two lines | idea: length | fails at: keeps its length | points: 1
memo = f"Rejection sampling: {numbers['memory_gb']:,.1f} GB, ${numbers['dollars']:,.0f}, "
memo += f"break-even at {EVEN} requests."

# %% wrong: a novel | idea: length | fails at: keeps its length | points: 1
memo = written() + " And so on." * 200

# %% wrong: no name | idea: not said | fails at: names the strategy | points: 1
memo = written().replace("rejection sampling", "the method").replace("best of", "first of")

# %% wrong: a misfit | idea: choice | fails at: advises what fits | points: 1
wrong = next((k, s) for k, t in known.items() for s in ("ppo", "serve") if not {s, "none"} & acceptable(t))
values = truths(known[wrong[0]], wrong[1])
shown = short_number(values["break_even_requests"])
memo = written(memory=f"{values['memory_gb']:.1f}", dollars=f"${values['dollars']:,.0f}", even=shown)
cited = {"team": wrong[0], "strategy": wrong[1]} | values

# %% wrong: no such team | fails at: cites three numbers
cited = cited | {"team": "z"}

# %% wrong: numbers as text | fails at: cites three numbers | points: 0.5
cited = cited | {"dollars": "a few"}

# %% wrong: NaN | fails at: cites three numbers | points: 0.5
cited = cited | {"memory_gb": float("nan")}

# %% correct: the cited numbers as texts
cited = cited | {
    "memory_gb": f"{numbers['memory_gb']:.2f} GB",
    "dollars": f"${numbers['dollars']:,.0f}",
    "break_even_requests": "never" if NEVER else f"{numbers['break_even_requests']:,.0f}",
}

# %% wrong: a month of it | idea: contradiction | fails at: has the calculator's numbers | points: 0.5
cited = cited | {"dollars": numbers["dollars"] / 12}
memo = written(dollars=f"${numbers['dollars'] / 12:,.0f}")

# %% correct: the team's letter in brackets
memo, cited = written(), {"team": f"({letter})", "strategy": "rs"} | numbers

# %% wrong: euros | idea: not said | fails at: says what it cites | points: 0.5
memo, cited = (
    written(dollars=f"{numbers['dollars']:,.0f} euros"),
    {"team": letter, "strategy": "rs"} | numbers,
)
