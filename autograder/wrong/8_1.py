# %% given
KNOWN = {"serve": (2, 0), "rs": (0, 1), "dpo": (1, 1), "rloo": (2, 1), "ppo": (2, 2)}


def memory_gb(parameters, strategy):
    if strategy not in KNOWN:
        raise ValueError(f"unknown strategy {strategy}")
    reading, trained = KNOWN[strategy]
    return parameters * (2 * reading + 16 * trained) / 1e9


def training_flops(parameters, tokens, prompts, n, epochs, strategy):
    if n < 1 or strategy not in KNOWN:
        raise ValueError("n has to be 1 or more")
    per_prompt = {
        "serve": 0,
        "rs": 4 * n + 6 * epochs,
        "dpo": 4 * n + 12 * epochs + 4,
        "rloo": 12 * n,
        "ppo": n * (8 + 12 * epochs),
    }
    return parameters * tokens * prompts * per_prompt[strategy]


def cost(flops, peak_flops, utilisation, price_per_hour):
    if utilisation <= 0:
        raise ValueError("nothing of the machine is used")
    return flops / peak_flops / utilisation / 3600 * price_per_hour


def break_even_requests(prompts, n, epochs):
    return prompts * (4 * n + 6 * epochs) / (4 * n - 2)


# %% correct: by cases
def memory_gb(parameters, strategy):
    billions = parameters / 1e9
    match strategy:
        case "serve":
            return 2 * billions + 2 * billions
        case "rs":
            return 16 * billions
        case "dpo":
            return 18 * billions
        case "rloo":
            return 20 * billions
        case "ppo":
            return 36 * billions
    raise ValueError(strategy)


def cost(flops, peak_flops, utilisation, price_per_hour):
    assert price_per_hour >= 0
    if not utilisation:
        raise ValueError("utilisation 0")
    hours = flops / (peak_flops * utilisation * 3600.0)
    return hours * price_per_hour


# %% correct: passes with names, numpy numbers
import numpy as np

DRAW, SCORE, READ, TRAIN = 2, 2, 2, 6


def training_flops(parameters, tokens, prompts, n, epochs, strategy):
    if n < 1:
        raise ValueError(n)
    token = {
        "serve": 0,
        "rs": n * (DRAW + SCORE) + epochs * TRAIN,
        "dpo": n * (DRAW + SCORE) + 2 * READ + 2 * epochs * TRAIN,
        "rloo": n * (DRAW + SCORE + READ + TRAIN),
        "ppo": n * (DRAW + SCORE + READ + READ + epochs * (TRAIN + TRAIN)),
    }[strategy]
    return np.float64(parameters) * tokens * prompts * token


def break_even_requests(prompts, n, epochs):
    once = n * (DRAW + SCORE) + epochs * TRAIN
    return np.float64(prompts * once) / (n * (DRAW + SCORE) - DRAW)


# %% wrong: weights alone | idea: no optimiser | fails at: adds up the models | points: 2.25
def memory_gb(parameters, strategy):
    return 2 * sum(KNOWN[strategy]) * parameters / 1e9


# %% wrong: the trained models alone | idea: no reading | fails at: adds up the models | points: 2.25
def memory_gb(parameters, strategy):
    return 16 * KNOWN[strategy][1] * parameters / 1e9


# %% wrong: everything is trained | idea: all trained | fails at: adds up the models | points: 2.25
def memory_gb(parameters, strategy):
    return 16 * sum(KNOWN[strategy]) * parameters / 1e9


# %% wrong: gibibytes | idea: unit | fails at: adds up the models | points: 2.25
def memory_gb(parameters, strategy):
    reading, trained = KNOWN[strategy]
    return parameters * (2 * reading + 16 * trained) / 2**30


# %% wrong: any strategy | idea: silent | fails at: refuses what makes no sense | points: 2.25
def memory_gb(parameters, strategy):
    reading, trained = KNOWN.get(strategy, (0, 0))
    return parameters * (2 * reading + 16 * trained) / 1e9


# %% wrong: scoring is free | idea: no scoring | fails at: adds up the passes | points: 2
_right = training_flops


def training_flops(parameters, tokens, prompts, n, epochs, strategy):
    drawn = 0 if strategy == "serve" else 2 * n
    return _right(parameters, tokens, prompts, n, epochs, strategy) - drawn * parameters * tokens * prompts


# %% wrong: training alone | idea: no sampling | fails at: adds up the passes | points: 2
_right = training_flops


def training_flops(parameters, tokens, prompts, n, epochs, strategy):
    drawn = 0 if strategy == "serve" else 4 * n
    return _right(parameters, tokens, prompts, n, epochs, strategy) - drawn * parameters * tokens * prompts


# %% wrong: one epoch | idea: epochs | fails at: adds up the passes | points: 2
_right = training_flops


def training_flops(parameters, tokens, prompts, n, epochs, strategy):
    return _right(parameters, tokens, prompts, n, 1, strategy)


# %% wrong: the best of nothing | idea: silent | fails at: refuses what makes no sense | points: 2
def training_flops(parameters, tokens, prompts, n, epochs, strategy):
    per_prompt = {
        "serve": 0,
        "rs": 4 * n + 6 * epochs,
        "dpo": 4 * n + 12 * epochs + 4,
        "rloo": 12 * n,
        "ppo": n * (8 + 12 * epochs),
    }
    return parameters * tokens * prompts * per_prompt[strategy]


# %% wrong: seconds for hours | idea: seconds | fails at: turns FLOPs into money | points: 2.5
def cost(flops, peak_flops, utilisation, price_per_hour):
    if not utilisation:
        raise ValueError
    return flops / peak_flops / utilisation * price_per_hour


# %% wrong: at its peak | idea: utilisation | fails at: turns FLOPs into money | points: 2.5
def cost(flops, peak_flops, utilisation, price_per_hour):
    if not utilisation:
        raise ValueError
    return flops / peak_flops / 3600 * price_per_hour


# %% wrong: a machine that stands still | idea: silent | fails at: refuses what makes no sense | points: 2.5
def cost(flops, peak_flops, utilisation, price_per_hour):
    return flops / max(peak_flops * utilisation, 1.0) / 3600 * price_per_hour


# %% wrong: the tuned one is free | idea: tuned is not free | fails at: breaks even | points: 2.25
def break_even_requests(prompts, n, epochs):
    return prompts * (4 * n + 6 * epochs) / (4 * n)


# %% wrong: unscored requests | idea: no scoring | fails at: breaks even | points: 2.25
def break_even_requests(prompts, n, epochs):
    return prompts * (4 * n + 6 * epochs) / (2 * n - 2) if n > 1 else float("inf")


# %% wrong: a prompt for a round | idea: one request | fails at: breaks even | points: 2.25
def break_even_requests(prompts, n, epochs):
    return (4 * n + 6 * epochs) / (4 * n - 2)
