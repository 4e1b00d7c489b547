"""Exercise 8.1: memory, computation, money, waiting, and when serving costs more than tuning."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from autograder.checks import Agrees, Corner, Ideas, Refuses, Rng, graded
from autograder.exercise import Exercise, Part, numbers, require
from autograder.exercises import calculator
from autograder.exercises.calculator import DRAWING, TRAINING, WORKING
from autograder.handouts.nb08_prices import READS, STRATEGIES, TRAINED, WEIGHTS

IDEAS = Ideas("""
memory (): Count the models that read and those that are trained, with the bytes of this column.
no optimiser: Gradients and the optimiser are missing: a model that is trained takes more than one that reads.
no reading: The models that only read are missing.
all at once: This strategy works in stages: the reward model is gone when training begins.
all trained: Reference and reward model are never trained.
rounded up / rounded: The number is rounded. Leave it as it comes.
gigabyte (unit): A gigabyte is 1e9 bytes here.
bytes (unit): These are bytes.
float32: The models that read are in bfloat16, 2 bytes.
value model: PPO trains a second model, the value model.
value of the judge's size (value model): PPO's value model is as large as the policy, not as the reward
    model.
drawing beside (all at once): The policy that draws is counted beside the one that is trained. They are one
    model, in two stages.
value untrained (value model): PPO's value model is trained as the policy is.
no reference model (no reference): The reference is in memory beside the policy that is trained.
judge forgotten (no judge): The judge is in memory too: a reward model that scores.
adapters: With adapters the reference is the policy itself, its adapters switched off: no model of its own.
judge in 16 bits (adapters): In this column the judge, too, is held in 0.52 bytes a parameter.
smaller stage (largest stage): The smaller of the two stages is taken. The larger is what must fit.
weights ignored (adapters): This is the column of full fine-tuning.
judge size: The reward model has its own size, the second argument.
judge kept: A program judges here: there is no reward model in memory.
largest stage: A stage that scores with a large reward model can be the fullest moment.
no parameters (): No parameters take no memory.
unknown (silent): An unknown strategy has no memory that anyone knows. Raise a ValueError that says so.
unknown weights (silent): Weights that the table does not name take a memory that nobody knows. Raise a
    ValueError that says so.

passes (): Count the passes of the table: those that draw, and those that read or train.
together (one number): Drawing and the rest are asked for apart: they run at different speeds.
swapped pair (swapped): The two numbers have changed places: what is drawn comes first.
unscored (no scoring): Scoring reads every response once more, at 2.
undrawn (no sampling): Responses are drawn before the training.
epochs: The epochs are not counted.
n: Only one response per prompt is drawn and scored here.
trains on all: One response of a prompt is trained on.
one of the pair / half of the pair: DPO reads and trains on two responses of a prompt, chosen and rejected.
no reference: The reference reads as well.
no value model: The value model works as the policy does.
read by one (no reference): Reference and value model each read every response once.
read every epoch (epochs): DPO's reference reads the pairs once, whatever `epochs` is.
scoring as drawing (swapped): Scoring is counted with the drawing. It reads, so it belongs to the second
    number.
served (serve): Serving tunes nothing: what it draws is paid for at every request, and not here.
every epoch: RLOO takes one step on its responses here, whatever `epochs` is.
backward (adapters): Frozen weights need no gradient of their own: with adapters training costs 4.
prompts: This is one prompt.
scored by policy (judge size): The reward model reads, and has its own size, the second argument.
no prompts (): No prompts cost nothing.
n = 0 (silent): Nobody keeps the best of 0. Raise a ValueError that says so.
unknown method (silent): Nobody knows the passes of an unknown strategy. Raise a ValueError that says so.

money (): Seconds at the share of the peak that each kind of work reaches, hours, money.
seconds: The price is per hour, and these are seconds.
peak (utilisation): No machine reaches its peak: the shares are missing.
one share (utilisation): Drawing runs at a lower share than reading and training.
shares mixed / low share (utilisation): One share stands for both kinds of work. Each takes its time at its
    own, and the two times add up.
shares swapped (utilisation): The two shares have changed places.
cheaper (utilisation): A low share makes it dearer, not cheaper.
own shares (utilisation): The shares are the usual ones, whatever `drawing` and `working` say.
minutes: An hour has 3600 seconds.
price: The price is missing: these are hours.
free (): A machine that costs nothing computes for nothing.
unused (silent): A machine of which nothing is used never ends. Raise a ValueError that says so.

waiting (): The prompt is read, tokens are drawn step by step, and best-of-n is scored before it is shown.
one after the other (F35): The n responses are drawn as one batch: a step reads the weights once for all.
FLOPs alone (compute): A step waits for the weights as well: it takes the longer of the two times.
bandwidth alone (bandwidth): A step also has to compute: it takes the longer of the two times.
sum of both (both): Reading the weights and computing overlap: the longer of the two counts.
not scored (no scoring): Best-of-n is shown only after the reward model has read all n.
whole response (stream): A tuned policy's words are shown as they come: the first one ends the waiting.
first of best (stream): Best-of-n cannot show a word before it knows which response is the best.
bytes of training (bytes): A model that draws is read in the bytes of the first column, not of the second.
prompt not judged (prompt): The judge reads the prompt with each response.
judged once (no scoring): The judge reads all n responses, not one.
batch of the tuned (serve): A tuned policy draws one response, so its step is that of one row.
no prompt (prompt): The prompt is read before the first token is drawn.
at the peak (utilisation): No machine reaches its peak when it computes.
sixteen bits (adapters): In 4 bits a parameter is read in 0.52 bytes.
wait n = 0 (silent): Nobody waits for the best of 0. Raise a ValueError that says so.

even (): Tuning once = requests * what each costs more when it is served.
tuned is not free: The tuned policy also has to answer: the difference counts.
upside down: This is the extra cost of a request by the cost of tuning.
added (sign): The two costs of a request are subtracted, not added.
single request (one request): The cost of tuning is to be divided by the difference.
no round (): What costs nothing has paid itself back at once.
never (silent): Where serving a request costs no more, tuning is never paid back: the answer is infinity.
negative (silent): A cost below 0 makes no sense. Raise a ValueError that says so.
""")
SINGLE = 2e-6
"""What single precision may leave, absolute and relative."""
REFUSES, NOTHING = "refuses what makes no sense", "copes with nothing"
MEMORY, FLOPS, MONEY, WAIT, EVEN = (
    "adds up the models",
    "adds up the passes",
    "turns FLOPs into money",
    "waits for the first word",
    "breaks even",
)


def number(check: str) -> Callable[..., float]:
    """What turns a result into a float; it fails this check where it is no number."""

    def of(result: Any, *_: Any) -> float:
        return _numbers(check, result, 1, "One number is asked for.")[0]

    return of


def pair(result: Any, *_: Any) -> list[float]:
    """The two numbers of a result; it fails the check of passes where it has not two."""
    if not isinstance(result, tuple | list):
        array = numbers(result)
        require(array is None or array.size != 1, FLOPS, IDEAS["together"], got=result)
    return _numbers(FLOPS, result, 2, "Two numbers are asked for: drawn, and read or trained.")


def _numbers(check: str, result: Any, count: int, message: str) -> list[float]:
    if isinstance(result, tuple | list):  # of numpy's or torch's numbers, too
        parts = [numbers(part) for part in result]
        arrays = [part for part in parts if part is not None and part.size == 1]
        array = np.concatenate([part.ravel() for part in arrays]) if len(arrays) == len(parts) > 0 else None
    else:
        array = None if isinstance(result, bool) else numbers(result)
    require(array is not None and array.size == count, check, message, got=result)
    return [float(value) for value in np.ravel(array)]


def told_apart(right: Any, readings: Mapping[str, Any]) -> dict[str, Any]:
    """The readings that differ from the right value: an idea may not matter to a strategy."""
    return {
        name: value for name, value in readings.items() if not np.allclose(value, right, rtol=1e-9, atol=0)
    }


def agrees(check: str, *args: Any, apart: float, of: Callable[..., Any] | None = None) -> Agrees:
    """Agrees as far as single precision does, on inputs that tell all ideas apart."""
    return Agrees(check, *args, tolerance=SINGLE, apart=apart, of=of or number(check))


def costs_nothing(otherwise: str, *args: Any, of: Callable[..., Any] | None = None) -> Corner:
    """The check that the answer is 0."""
    right: Any = [0.0, 0.0] if of is pair else 0.0
    return Corner(NOTHING, args, right, otherwise, tolerance=0.0, of=of or number(NOTHING))


def whole_or_not(result: Any, once: float, serving: float, tuned: float) -> float:
    """The number of requests; the exact one where the result is the whole request before or behind it."""
    value, exact = number(EVEN)(result), calculator.break_even_requests(once, serving, tuned)
    whole = math.isfinite(exact) and value.is_integer() and exact - 1 < value <= exact + 1
    return exact if whole else value


# Memory ---------------------------------------------------------------------------------------------------


def size(rng: Rng, *, strategy: str, weights: str, judge: int = 80) -> tuple[float, float, str, str]:
    """Parameters of the policy and of a reward model below `judge` billions, the strategy and the weights."""
    policy, scorer = rng.integers(2, 80), rng.integers(judge // 4 if judge > 80 else 2, judge)
    return float(policy) * 1e9, float(scorer) * 1e9, strategy, weights


def memory_slips(parameters: float, judge: float, strategy: str, weights: str) -> dict[str, float]:
    """What wrong sums of models give, in gigabytes."""
    right = calculator.memory_gb(parameters, judge, strategy, weights)
    policy, scorer = parameters * READS[weights] / 1e9, judge * READS[weights] / 1e9
    trained, full = parameters * TRAINED[weights] / 1e9, weights == "full"
    models = {"serve": 0, "rs": 1, "dpo": 1, "rloo": 1, "ppo": 2}[strategy]
    reference = policy if strategy in ("dpo", "rloo", "ppo") else 0.0
    beside = scorer if strategy in ("serve", "rloo", "ppo") else 0.0
    staged = strategy in ("rs", "dpo")

    def _held(beside: float) -> float:
        if strategy == "serve":
            return policy + beside
        return max(trained, beside) if staged else models * trained + beside

    readings = {
        "no optimiser": right - models * (trained - policy)
        if not staged
        else policy * models + reference * full,
        "no reading": right if strategy == "dpo" else models * trained,
        "all at once": models * trained + reference * full + scorer,
        "all trained": (models + (reference > 0)) * trained + judge * TRAINED[weights] / 1e9,
        "gigabyte": right * 1e9 / 2**30,
        "bytes": right * 1e9,
        "rounded up": float(math.ceil(right)),
        "rounded": float(round(right)),
        "float32": right + policy * (reference > 0) * full + beside if full else right,
        "value model": right - (trained if strategy == "ppo" else 0.0),
        "value untrained": right - (trained - policy if strategy == "ppo" else 0.0),
        "value of the judge's size": right + (judge * TRAINED[weights] / 1e9 - trained) * (strategy == "ppo"),
        "drawing beside": max(scorer, policy + trained) if strategy == "rs" else right,
        "no reference model": right - reference * full,
        "judge forgotten": right - (beside if full else 0.0),
        "adapters": right if full else max(scorer, trained + reference) if staged else right + reference,
        "judge in 16 bits": _held(beside=2 * judge / 1e9) if weights == "4bit" else right,
        "smaller stage": min(scorer, trained + reference * full) if staged else right,
        "weights ignored": calculator.memory_gb(parameters, judge, strategy, "full"),
        "judge size": calculator.memory_gb(parameters, parameters, strategy, weights),
        "largest stage": trained + reference * full if staged else right,
    }
    return told_apart(right, readings)


def scoring_slips(parameters: float, judge: float, strategy: str, weights: str) -> dict[str, float]:
    """What wrong sums give where the reward model is far larger than the policy."""
    training = calculator.memory_gb(parameters, 0.0, strategy, weights)
    return {"largest stage": training, "all at once": training + judge * READS[weights] / 1e9}


# Computation ----------------------------------------------------------------------------------------------

Sizes = tuple[float, float, float, int, int, int, str, str]


def sizes(rng: Rng, *, strategy: str, weights: str) -> Sizes:
    """Parameters, reward model, tokens, prompts, n, epochs, the strategy and the weights."""
    parameters, judge = (float(rng.integers(2, 60)) * 1e9 for _ in range(2))
    tokens, prompts = float(rng.integers(200, 900)), int(rng.integers(500, 5000))
    n, epochs = int(rng.choice([4, 8, 16])), int(rng.integers(2, 6))
    return parameters, judge, tokens, prompts, n, epochs, strategy, weights


def flops_slips(
    parameters: float,
    judge: float,
    tokens: float,
    prompts: int,
    n: int,
    epochs: int,
    strategy: str,
    weights: str,
) -> dict[str, Any]:
    """What wrong counts of passes give."""
    each, train = parameters * tokens * prompts, TRAINING[weights]
    args = (parameters, judge, tokens, prompts, n, epochs, strategy, weights)
    drawn, other = calculator.tuning_flops(*args)
    scored = 2 * n * judge * tokens * prompts

    def of(**changed: Any) -> tuple[float, float]:
        names = ("parameters", "judge", "tokens", "prompts", "n", "epochs", "strategy", "weights")
        return calculator.tuning_flops(**dict(zip(names, args, strict=True)) | changed)

    readings: dict[str, Any] = {
        "swapped pair": (other, drawn),
        "unscored": (drawn, other - scored),
        "undrawn": (0.0, other),
        "epochs": of(epochs=1),
        "n": of(n=1),
        "backward": of(weights="full"),
        "prompts": (drawn / prompts, other / prompts),
        "scored by policy": of(judge=parameters),
        "scoring as drawing": (drawn + scored, other - scored),
    }
    own = {
        "rs": {"trains on all": (drawn, scored + train * epochs * n * each)},
        "dpo": {
            "one of the pair": (drawn, scored + (4 + train * epochs) * each),
            "half of the pair": (drawn, scored + (2 + train * epochs) * each),
            "no reference": (drawn, other - 4 * each),
            "read every epoch": (drawn, scored + 2 * epochs * (2 + train) * each),
        },
        "rloo": {
            "no reference": (drawn, other - 2 * n * each),
            "every epoch": (drawn, scored + n * (2 + train * epochs) * each),
        },
        "ppo": {
            "read by one": (drawn, other - 2 * n * each),
            "no value model": (drawn, scored + n * (2 + train * epochs) * each),
        },
    }
    if strategy == "serve":
        return {"served": (2 * n * each, scored)}
    return told_apart((drawn, other), readings | own[strategy])


# Money, waiting, and serving against tuning ---------------------------------------------------------------


def machine(rng: Rng) -> tuple[float, float, float, float, float, float]:
    """FLOPs drawn and others, peak, dollars an hour, and the two shares."""
    drawn, other = (float(rng.uniform(1, 9)) * 1e19 for _ in range(2))
    peak, hour = float(rng.integers(2, 10)) * 1e14, float(rng.uniform(1.2, 4))
    return drawn, other, peak, hour, float(rng.uniform(0.05, 0.15)), float(rng.uniform(0.3, 0.5))


def cost_slips(
    drawn: float, other: float, peak: float, hour: float, drawing: float, working: float
) -> dict[str, float]:
    """What wrong units give, and shares that are forgotten or turned."""
    right = calculator.cost(drawn, other, peak, hour, drawing, working)
    readings = {
        "seconds": right * 3600,
        "own shares": calculator.cost(drawn, other, peak, hour),
        "peak": calculator.cost(drawn, other, peak, hour, 1.0, 1.0),
        "one share": calculator.cost(drawn, other, peak, hour, working, working),
        "shares mixed": calculator.cost(drawn, other, peak, hour, *[(drawing + working) / 2] * 2),
        "low share": calculator.cost(drawn, other, peak, hour, drawing, drawing),
        "shares swapped": calculator.cost(drawn, other, peak, hour, working, drawing),
        "cheaper": (drawn * drawing + other * working) / peak / 3600 * hour,
        "minutes": right * 60,
        "price": right / hour,
    }
    return told_apart(right, readings)


def usual(rng: Rng) -> tuple[float, float, float, float]:
    """A machine at its usual shares."""
    return machine(rng)[:4]


def usual_slips(*args: float) -> dict[str, float]:
    """What `cost_slips` gives at the usual shares."""
    return cost_slips(*args, DRAWING, WORKING)


Waiting = tuple[float, float, tuple[float, float], int, str, str, float, float]


def user(rng: Rng, *, strategy: str, weights: str, slow: bool) -> Waiting:
    """A request, on a machine that waits for its weights or (`slow`) for its FLOPs."""
    parameters, judge = (float(rng.uniform(2, 30)) * 1e9 for _ in range(2))
    tokens = float(rng.integers(100, 400)), float(rng.integers(200, 500))
    n, bandwidth = int(rng.choice([8, 16, 32])), float(rng.uniform(1, 4)) * 1e12
    peak = bandwidth * float(rng.uniform(1, 3) if slow else rng.uniform(300, 900))
    return parameters, judge, tokens, n, strategy, weights, peak, bandwidth


def wait_slips(
    parameters: float,
    judge: float,
    tokens: tuple[float, float],
    n: int,
    strategy: str,
    weights: str,
    peak: float,
    bandwidth: float,
) -> dict[str, float]:
    """How long other readings wait."""
    right = calculator.wait_seconds(parameters, judge, tokens, n, strategy, weights, peak, bandwidth)
    (prompt, reply), flops = tokens, WORKING * peak
    served = strategy == "serve"
    rows = n if served else 1
    load, compute = READS[weights] * parameters / bandwidth, 2 * rows * parameters / flops
    step, one = max(load, compute), max(load, 2 * parameters / flops)
    reading, scoring = 2 * prompt * parameters / flops, 2 * n * (prompt + reply) * judge / flops * served
    steps = reply if served else 1
    loaded = 2.0 * parameters / bandwidth
    heavy = TRAINED[weights] * parameters / bandwidth
    readings = {
        "one after the other": reading + n * reply * one + scoring if served else right,
        "FLOPs alone": reading + steps * compute + scoring,
        "bandwidth alone": reading + steps * load + scoring,
        "sum of both": reading + steps * (load + compute) + scoring,
        "not scored": right - scoring,
        "whole response": right if served else reading + reply * step,
        "first of best": reading + one if served else right,
        "no prompt": right - reading,
        "at the peak": (reading + scoring) * WORKING + steps * max(load, compute * WORKING),
        "sixteen bits": reading + steps * max(loaded, compute) + scoring,
        "bytes of training": reading + steps * max(heavy, compute) + scoring,
        "judged once": right - 2 * (n - 1) * (prompt + reply) * judge / flops * served,
        "batch of the tuned": right if served else reading + max(load, 2 * n * parameters / flops),
        "prompt not judged": right - 2 * n * prompt * judge / flops * served,
    }
    return told_apart(right, readings)


def sums(rng: Rng) -> tuple[float, float, float]:
    """Dollars of tuning, of a served request and of a tuned one."""
    tuned = float(rng.uniform(0.2, 2)) / 1e4
    return float(rng.uniform(500, 9000)), tuned * float(rng.uniform(3, 30)), tuned


def even_slips(once: float, serving: float, tuned: float) -> dict[str, float]:
    """What wrong differences give."""
    return {
        "tuned is not free": once / serving,
        "upside down": (serving - tuned) / once,
        "added": once / (serving + tuned),
        "single request": once * (serving - tuned),
    }


# The exercise ---------------------------------------------------------------------------------------------

KINDS = [(strategy, weights) for strategy in STRATEGIES for weights in WEIGHTS]
H100 = (989e12, 3.35e12)
grade_memory = graded(
    "memory_gb",
    IDEAS,
    *(
        agrees(
            MEMORY,
            partial(size, strategy=strategy, weights=weights),
            calculator.memory_gb,
            "memory",
            memory_slips,
            apart=1e-3,
        )
        for strategy, weights in KINDS
    ),
    *(
        agrees(
            MEMORY,
            partial(size, strategy=strategy, weights="full", judge=4000),
            calculator.memory_gb,
            "memory",
            scoring_slips,
            apart=1e-3,
        )
        for strategy in ("rs", "dpo")
    ),
    Corner(MEMORY, (8e9, 0.0, "rloo", "4bit"), 4.96, "judge kept", SINGLE, number(MEMORY)),
    costs_nothing("no parameters", 0, 0, "ppo", "full"),
    Refuses(REFUSES, (7e9, 7e9, "sft", "full"), "unknown"),
    Refuses(REFUSES, (7e9, 7e9, "rs", "8bit"), "unknown weights"),
)
grade_flops = graded(
    "tuning_flops",
    IDEAS,
    *(
        agrees(
            FLOPS,
            partial(sizes, strategy=strategy, weights=weights),
            calculator.tuning_flops,
            "passes",
            flops_slips,
            apart=1e13,
            of=pair,
        )
        for strategy, weights in KINDS
    ),
    costs_nothing("no prompts", 7e9, 7e9, 500.0, 0, 8, 2, "ppo", "full", of=pair),
    *(Refuses(REFUSES, (7e9, 7e9, 500.0, 1000, n, 2, "rs", "full"), "n = 0") for n in (0, -2)),
    Refuses(REFUSES, (7e9, 7e9, 500.0, 1000, 4, 2, "sft", "full"), "unknown method"),
)
grade_cost = graded(
    "cost",
    IDEAS,
    agrees(MONEY, machine, calculator.cost, "money", cost_slips, apart=1e-3),
    agrees(MONEY, usual, calculator.cost, "money", usual_slips, apart=1e-3),
    costs_nothing("free", 3e19, 3e19, 5e14, 0.0),
    *(Refuses(REFUSES, (3e19, 3e19, 5e14, 2.0, *shares), "unused") for shares in ((0.0, 0.4), (0.1, 0.0))),
)
grade_wait = graded(
    "wait_seconds",
    IDEAS,
    *(
        agrees(
            WAIT,
            partial(user, strategy=strategy, weights=weights, slow=slow),
            calculator.wait_seconds,
            "waiting",
            wait_slips,
            apart=1e-6,
        )
        for strategy in ("serve", "rs", "ppo")
        for weights in ("full", "4bit")
        for slow in (False, True)
    ),
    *(
        Refuses(REFUSES, (7e9, 7e9, (200, 300), n, strategy, "full", *H100), "wait n = 0")
        for strategy in ("serve", "rs")
        for n in (0, -2)
    ),
)
grade_even = graded(
    "break_even_requests",
    IDEAS,
    agrees(EVEN, sums, calculator.break_even_requests, "even", even_slips, apart=1e-3, of=whole_or_not),
    costs_nothing("no round", 0.0, 0.002, 0.001, of=whole_or_not),
    *(
        Corner(EVEN, (4000.0, *each), math.inf, "never", 0.0, number(EVEN))
        for each in ((1e-3, 1e-3), (1e-3, 2e-3))
    ),
    *(
        Refuses(REFUSES, costs, "negative")
        for costs in ((-1.0, 0.002, 0.001), (4000.0, 0.002, -0.001), (4000.0, -0.002, 0.001))
    ),
)
EXERCISE = Exercise(
    "8.1",
    "The calculator",
    2,
    25,
    ("memory_gb", "tuning_flops", "cost", "wait_seconds", "break_even_requests"),
    (
        Part("memory", 0.75, grade_memory),
        Part("computation", 0.75, grade_flops),
        Part("money", 0.5, grade_cost),
        Part("waiting", 0.5, grade_wait),
        Part("break-even", 0.5, grade_even),
    ),
)
