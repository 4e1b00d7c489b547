# %% given
BYTES = {"full": (2, 16), "lora": (2, 2.1), "4bit": (0.52, 0.62)}
NAMES = ("serve", "rs", "dpo", "rloo", "ppo")


def memory_gb(parameters, judge, strategy, weights):
    if strategy not in NAMES or weights not in BYTES:
        raise ValueError(f"unknown strategy {strategy} or weights {weights}")
    read, trained = BYTES[weights]
    reference = read * parameters if weights == "full" else 0
    return {
        "serve": read * parameters + read * judge,
        "rs": max(trained * parameters, read * judge),
        "dpo": max(reference + trained * parameters, read * judge),
        "rloo": reference + read * judge + trained * parameters,
        "ppo": reference + read * judge + 2 * trained * parameters,
    }[strategy] / 1e9


def tuning_flops(parameters, judge, tokens, prompts, n, epochs, strategy, weights):
    if n < 1 or strategy not in NAMES:
        raise ValueError("n has to be 1 or more, and the strategy known")
    if strategy == "serve":
        return 0, 0
    train = 6 if weights == "full" else 4
    after = {
        "rs": train * epochs,
        "dpo": 2 * (2 + train * epochs),
        "rloo": n * (2 + train),
        "ppo": n * (4 + 2 * train * epochs),
    }[strategy]
    each = tokens * prompts
    return 2 * n * parameters * each, (2 * n * judge + after * parameters) * each


def cost(drawn, other, peak, hour, drawing=0.1, working=0.4):
    if drawing <= 0 or working <= 0:
        raise ValueError("nothing of the machine is used")
    return (drawn / drawing + other / working) / peak / 3600 * hour


def wait_seconds(parameters, judge, tokens, n, strategy, weights, peak, bandwidth):
    if n < 1:
        raise ValueError("n has to be 1 or more")
    prompt, reply = tokens
    flops, load = 0.4 * peak, BYTES[weights][0] * parameters / bandwidth
    wait = 2 * prompt * parameters / flops
    if strategy != "serve":
        return wait + max(load, 2 * parameters / flops)
    scoring = 2 * n * (prompt + reply) * judge / flops
    return wait + reply * max(load, 2 * n * parameters / flops) + scoring


def break_even_requests(once, serving, tuned):
    if min(once, serving, tuned) < 0:
        raise ValueError("a cost below 0")
    return once / (serving - tuned) if serving > tuned else float("inf")


# %% correct: by cases, in plain Python
def memory_gb(parameters, judge, strategy, weights):
    policy, scorer = parameters / 1e9, judge / 1e9
    match weights:
        case "full":
            read, trained, reference = 2, 16, 2
        case "lora":
            read, trained, reference = 2, 2.1, 0
        case "4bit":
            read, trained, reference = 0.52, 0.62, 0
        case _:
            raise ValueError(weights)
    match strategy:
        case "serve":
            return read * (policy + scorer)
        case "rs" | "dpo":
            extra = reference * policy if strategy == "dpo" else 0
            training, scoring = extra + trained * policy, read * scorer
            return training if training > scoring else scoring
        case "rloo" | "ppo":
            trained_models = 1 + (strategy == "ppo")
            return read * scorer + reference * policy + trained_models * trained * policy
    raise ValueError(strategy)


def cost(drawn, other, peak, hour, drawing=0.1, working=0.4):
    if not (drawing and working):
        raise ValueError("utilisation 0")
    hours = drawn / (peak * drawing * 3600.0) + other / (peak * working * 3600.0)
    return hours * hour


# %% correct: numpy arrays and numpy's numbers
import numpy as np


def tuning_flops(parameters, judge, tokens, prompts, n, epochs, strategy, weights):
    if n < 1 or strategy not in NAMES:
        raise ValueError(n)
    train = {"full": 6, "lora": 4, "4bit": 4}[weights]
    table = {  # drawn, scored, read and trained
        "serve": (0, 0, 0),
        "rs": (2 * n, 2 * n, train * epochs),
        "dpo": (2 * n, 2 * n, 4 + 2 * train * epochs),
        "rloo": (2 * n, 2 * n, 2 * n + train * n),
        "ppo": (2 * n, 2 * n, 4 * n + 2 * n * train * epochs),
    }
    drawn, scored, rest = np.array(table[strategy], float) * tokens * prompts
    return np.array([drawn * parameters, scored * judge + rest * parameters])


def wait_seconds(parameters, judge, tokens, n, strategy, weights, peak, bandwidth):
    if n < 1:
        raise ValueError(n)
    prompt, reply = np.asarray(tokens, float)
    rows, steps = (n, reply) if strategy == "serve" else (1, 1)
    per_step = np.maximum(BYTES[weights][0] / bandwidth, 2 * rows / (0.4 * peak)) * parameters
    scored = 2 * n * (prompt + reply) * judge if strategy == "serve" else 0
    return np.float64(2 * prompt * parameters + scored) / (0.4 * peak) + steps * per_step


# %% correct: torch, in single precision
import torch


def memory_gb(parameters, judge, strategy, weights):
    if strategy not in NAMES or weights not in BYTES:
        raise ValueError(strategy)
    read, trained = torch.tensor(BYTES[weights], dtype=torch.float32)
    policy, scorer = torch.tensor(parameters / 1e9), torch.tensor(judge / 1e9)
    kept = policy * read if weights == "full" else torch.tensor(0.0)
    if strategy == "serve":
        return policy * read + scorer * read
    if strategy in ("rs", "dpo"):
        return torch.maximum(policy * trained + (kept if strategy == "dpo" else 0), scorer * read)
    return kept + scorer * read + (2 if strategy == "ppo" else 1) * policy * trained


def cost(drawn, other, peak, hour, drawing=0.1, working=0.4):
    shares = torch.tensor([drawing, working], dtype=torch.float32)
    if (shares <= 0).any():
        raise ValueError("unused")
    flops = torch.tensor([drawn, other], dtype=torch.float32)
    return (flops / shares).sum() / peak / 3600 * hour


# %% correct: numpy in single precision, whole numbers where they are whole
import numpy as np


def tuning_flops(parameters, judge, tokens, prompts, n, epochs, strategy, weights):
    if n < 1 or strategy not in NAMES:
        raise ValueError(n)
    policy, scorer, each = int(parameters), int(judge), int(tokens) * int(prompts)
    train = 6 - 2 * (weights != "full")
    passes = {"serve": 0, "rs": train * epochs, "dpo": 4 + 2 * train * epochs, "rloo": n * (2 + train)}
    passes["ppo"] = n * (4 + 2 * train * epochs)
    drawn, scored = (0, 0) if strategy == "serve" else (2 * n * policy * each, 2 * n * scorer * each)
    return [np.float32(drawn), np.float32(scored + passes[strategy] * policy * each)]


def break_even_requests(once, serving, tuned):
    if once < 0 or serving < 0 or tuned < 0:
        raise ValueError("negative")
    extra = np.float32(serving) - np.float32(tuned)
    return np.float32(once) / extra if extra > 0 else np.inf


# %% wrong: weights alone | idea: no optimiser | fails at: adds up the models | points: 2.25
def memory_gb(parameters, judge, strategy, weights):
    if strategy not in NAMES or weights not in BYTES:
        raise ValueError
    read = BYTES[weights][0]
    models = {"serve": 1, "rs": 1, "dpo": 2, "rloo": 2, "ppo": 3}[strategy]
    held = models * parameters + (0 if strategy in ("rs", "dpo") else judge)
    return read * held / 1e9


# %% wrong: the trained models alone | idea: no reading | fails at: adds up the models | points: 2.25
def memory_gb(parameters, judge, strategy, weights):
    trained = {"serve": 0, "rs": 1, "dpo": 1, "rloo": 1, "ppo": 2}[strategy]
    return trained * BYTES[weights][1] * parameters / 1e9


# %% wrong: gibibytes | idea: unit | fails at: adds up the models | points: 2.25
_right = memory_gb


def memory_gb(parameters, judge, strategy, weights):
    return _right(parameters, judge, strategy, weights) * 1e9 / 2**30


# %% wrong: bytes | idea: unit | fails at: adds up the models | points: 2.25
_right = memory_gb


def memory_gb(parameters, judge, strategy, weights):
    return _right(parameters, judge, strategy, weights) * 1e9


# %% wrong: everything in memory at once | idea: all at once | fails at: adds up the models | points: 2.25
_right = memory_gb


def memory_gb(parameters, judge, strategy, weights):
    if strategy in ("rs", "dpo"):
        read, trained = BYTES[weights]
        reference = read if strategy == "dpo" and weights == "full" else 0
        return (parameters * (reference + trained) + judge * read) / 1e9
    return _right(parameters, judge, strategy, weights)


# %% wrong: a reference beside the adapters | idea: adapters | fails at: adds up the models | points: 2.25
_right = memory_gb


def memory_gb(parameters, judge, strategy, weights):
    more = 0 if weights == "full" or strategy in ("serve", "rs", "dpo") else BYTES[weights][0]
    return _right(parameters, judge, strategy, weights) + more * parameters / 1e9


# %% wrong: one column for all weights | idea: adapters | fails at: adds up the models | points: 2.25
_right = memory_gb


def memory_gb(parameters, judge, strategy, weights):
    if weights not in BYTES:
        raise ValueError
    return _right(parameters, judge, strategy, "full")


# %% wrong: the policy's size for both | idea: judge size | fails at: adds up the models | points: 2.25
_right = memory_gb


def memory_gb(parameters, judge, strategy, weights):
    return _right(parameters, parameters, strategy, weights)


# %% wrong: PPO without its value model | idea: value model | fails at: adds up the models | points: 2.25
_right = memory_gb


def memory_gb(parameters, judge, strategy, weights):
    return _right(parameters, judge, "rloo" if strategy == "ppo" else strategy, weights)


# %% wrong: a value model that only reads | idea: value model | fails at: adds up the models | points: 2.25
_right = memory_gb


def memory_gb(parameters, judge, strategy, weights):
    read, trained = BYTES.get(weights, (0, 0))
    less = (trained - read) * parameters / 1e9 if strategy == "ppo" else 0
    return _right(parameters, judge, strategy, weights) - less


# %% wrong: no reference in memory | idea: no reference | fails at: adds up the models | points: 2.25
_right = memory_gb


def memory_gb(parameters, judge, strategy, weights):
    less = 2 if weights == "full" and strategy in ("dpo", "rloo", "ppo") else 0
    return _right(parameters, judge, strategy, weights) - less * parameters / 1e9


# %% wrong: no judge in memory | idea: no judge | fails at: adds up the models | points: 2.25
_right = memory_gb


def memory_gb(parameters, judge, strategy, weights):
    return _right(parameters, 0, strategy, weights)


# %% wrong: training is always the fullest | idea: largest stage | fails at: adds up the models | points: 2.25
_right = memory_gb


def memory_gb(parameters, judge, strategy, weights):
    return _right(parameters, 0 if strategy in ("rs", "dpo") else judge, strategy, weights)


# %% wrong: any strategy | idea: silent | fails at: refuses what makes no sense | points: 2.25
_right = memory_gb


def memory_gb(parameters, judge, strategy, weights):
    return _right(parameters, judge, strategy if strategy in NAMES else "rs", weights)


# %% wrong: any weights | idea: silent | fails at: refuses what makes no sense | points: 2.25
_right = memory_gb


def memory_gb(parameters, judge, strategy, weights):
    return _right(parameters, judge, strategy, weights if weights in BYTES else "full")


# %% wrong: a KeyError is no refusal | idea: silent | fails at: refuses what makes no sense | points: 2.25
_right = memory_gb


def memory_gb(parameters, judge, strategy, weights):
    BYTES[weights]
    return _right(parameters, judge, strategy, weights)


# %% wrong: one number | idea: one number | fails at: adds up the passes | points: 2.25
_right = tuning_flops


def tuning_flops(*args):
    return sum(_right(*args))


# %% wrong: turned round | idea: swapped | fails at: adds up the passes | points: 2.25
_right = tuning_flops


def tuning_flops(*args):
    return _right(*args)[::-1]


# %% wrong: scoring is free | idea: no scoring | fails at: adds up the passes | points: 2.25
_right = tuning_flops


def tuning_flops(parameters, judge, *rest):
    return _right(parameters, 0, *rest)


# %% wrong: training alone | idea: no sampling | fails at: adds up the passes | points: 2.25
_right = tuning_flops


def tuning_flops(*args):
    return 0, _right(*args)[1]


# %% wrong: one epoch | idea: epochs | fails at: adds up the passes | points: 2.25
_right = tuning_flops


def tuning_flops(parameters, judge, tokens, prompts, n, epochs, strategy, weights):
    return _right(parameters, judge, tokens, prompts, n, 1, strategy, weights)


# %% wrong: DPO without its factor 2 | idea: one of the pair | fails at: adds up the passes | points: 2.25
_right = tuning_flops


def tuning_flops(parameters, judge, tokens, prompts, n, epochs, strategy, weights):
    drawn, other = _right(parameters, judge, tokens, prompts, n, epochs, strategy, weights)
    scored = 2 * n * judge * tokens * prompts
    return (drawn, scored + (other - scored) / 2) if strategy == "dpo" else (drawn, other)


# %% wrong: DPO trains on one of two | idea: one of the pair | fails at: adds up the passes | points: 2.25
_right = tuning_flops


def tuning_flops(parameters, judge, tokens, prompts, n, epochs, strategy, weights):
    drawn, other = _right(parameters, judge, tokens, prompts, n, epochs, strategy, weights)
    train = 6 if weights == "full" else 4
    less = train * epochs * parameters * tokens * prompts if strategy == "dpo" else 0
    return drawn, other - less


# %% wrong: no reference | fails at: adds up the passes | idea: no reference | points: 2.25
_right = tuning_flops


def tuning_flops(parameters, judge, tokens, prompts, n, epochs, strategy, weights):
    drawn, other = _right(parameters, judge, tokens, prompts, n, epochs, strategy, weights)
    read = {"dpo": 4, "rloo": 2 * n, "ppo": 2 * n}.get(strategy, 0)
    return drawn, other - read * parameters * tokens * prompts


# %% wrong: adapters cost as much | idea: adapters | fails at: adds up the passes | points: 2.25
_right = tuning_flops


def tuning_flops(parameters, judge, tokens, prompts, n, epochs, strategy, weights):
    return _right(parameters, judge, tokens, prompts, n, epochs, strategy, "full")


# %% wrong: RLOO with epochs | idea: every epoch | fails at: adds up the passes | points: 2.25
_right = tuning_flops


def tuning_flops(parameters, judge, tokens, prompts, n, epochs, strategy, weights):
    drawn, other = _right(parameters, judge, tokens, prompts, n, epochs, strategy, weights)
    more = n * (6 if weights == "full" else 4) * (epochs - 1) if strategy == "rloo" else 0
    return drawn, other + more * parameters * tokens * prompts


# %% wrong: trains on all n | idea: trains on all | fails at: adds up the passes | points: 2.25
_right = tuning_flops


def tuning_flops(parameters, judge, tokens, prompts, n, epochs, strategy, weights):
    drawn, other = _right(parameters, judge, tokens, prompts, n, epochs, strategy, weights)
    more = (n - 1) * (6 if weights == "full" else 4) * epochs if strategy == "rs" else 0
    return drawn, other + more * parameters * tokens * prompts


# %% wrong: the best of nothing | idea: silent | fails at: refuses what makes no sense | points: 2.25
_right = tuning_flops


def tuning_flops(parameters, judge, tokens, prompts, n, epochs, strategy, weights):
    return _right(parameters, judge, tokens, prompts, max(n, 1), epochs, strategy, weights)


# %% wrong: seconds for hours | idea: seconds | fails at: turns FLOPs into money | points: 2.5
def cost(drawn, other, peak, hour, drawing=0.1, working=0.4):
    return (drawn / drawing + other / working) / peak * hour


# %% wrong: at its peak | idea: utilisation | fails at: turns FLOPs into money | points: 2.5
def cost(drawn, other, peak, hour, drawing=0.1, working=0.4):
    return (drawn + other) / peak / 3600 * hour


# %% wrong: one share for both | idea: utilisation | fails at: turns FLOPs into money | points: 2.5
def cost(drawn, other, peak, hour, drawing=0.1, working=0.4):
    return (drawn + other) / working / peak / 3600 * hour


# %% wrong: the mean of the two shares | idea: utilisation | fails at: turns FLOPs into money | points: 2.5
def cost(drawn, other, peak, hour, drawing=0.1, working=0.4):
    for share in (drawing, working):
        if share <= 0:
            raise ValueError("a share of nothing")
    return (drawn + other) / ((drawing + working) / 2 * peak) / 3600 * hour


# %% wrong: multiplied by the share | idea: utilisation | fails at: turns FLOPs into money | points: 2.5
def cost(drawn, other, peak, hour, drawing=0.1, working=0.4):
    return (drawn * drawing + other * working) / peak / 3600 * hour


# %% wrong: an hour of sixty seconds | idea: minutes | fails at: turns FLOPs into money | points: 2.5
def cost(drawn, other, peak, hour, drawing=0.1, working=0.4):
    return (drawn / drawing + other / working) / peak / 60 * hour


# %% wrong: a machine that stands still | idea: silent | fails at: refuses what makes no sense | points: 2.5
_right = cost


def cost(drawn, other, peak, hour, drawing=0.1, working=0.4):
    return _right(drawn, other, peak, hour, drawing or 0.1, working or 0.4)


# %% wrong: one share may be 0 | idea: silent | fails at: refuses what makes no sense | points: 2.5
_right = cost


def cost(drawn, other, peak, hour, drawing=0.1, working=0.4):
    return _right(drawn, other, peak, hour, drawing, working or 0.4)


# %% wrong: one after the other | idea: F35 | fails at: waits for the first word | points: 2.5
_right = wait_seconds


def wait_seconds(parameters, judge, tokens, n, strategy, weights, peak, bandwidth):
    wait = _right(parameters, judge, tokens, n, strategy, weights, peak, bandwidth)
    if strategy != "serve":
        return wait
    prompt, reply = tokens
    step = max(BYTES[weights][0] * parameters / bandwidth, 2 * parameters / (0.4 * peak))
    reading = 2 * prompt * parameters + 2 * n * (prompt + reply) * judge
    return reading / (0.4 * peak) + n * reply * step


# %% wrong: FLOPs alone | idea: compute | fails at: waits for the first word | points: 2.5
_right = wait_seconds


def wait_seconds(parameters, judge, tokens, n, strategy, weights, peak, bandwidth):
    return _right(parameters, judge, tokens, n, strategy, weights, peak, 1e99)


# %% wrong: bandwidth alone | idea: bandwidth | fails at: waits for the first word | points: 2.5
def wait_seconds(parameters, judge, tokens, n, strategy, weights, peak, bandwidth):
    prompt, reply = tokens
    load, flops = BYTES[weights][0] * parameters / bandwidth, 0.4 * peak
    if strategy != "serve":
        return 2 * prompt * parameters / flops + load
    return 2 * prompt * parameters / flops + reply * load + 2 * n * (prompt + reply) * judge / flops


# %% wrong: shown before it is scored | idea: no scoring | fails at: waits for the first word | points: 2.5
_right = wait_seconds


def wait_seconds(parameters, judge, *rest):
    return _right(parameters, 0, *rest)


# %% wrong: best-of-n is streamed | idea: stream | fails at: waits for the first word | points: 2.5
_right = wait_seconds


def wait_seconds(parameters, judge, tokens, n, strategy, weights, peak, bandwidth):
    return _right(parameters, judge, tokens, n, "rs", weights, peak, bandwidth)


# %% wrong: the tuned policy is not streamed | idea: stream | fails at: waits for the first word | points: 2.5
_right = wait_seconds


def wait_seconds(parameters, judge, tokens, n, strategy, weights, peak, bandwidth):
    n, judge = (n, judge) if strategy == "serve" else (1, 0)
    return _right(parameters, judge, tokens, n, "serve", weights, peak, bandwidth)


# %% wrong: 4 bits read as 16 | idea: adapters | fails at: waits for the first word | points: 2.5
_right = wait_seconds


def wait_seconds(parameters, judge, tokens, n, strategy, weights, peak, bandwidth):
    return _right(parameters, judge, tokens, n, strategy, "full", peak, bandwidth)


# %% wrong: waits for the best of none | idea: silent | fails at: refuses what makes no sense | points: 2.5
_right = wait_seconds


def wait_seconds(parameters, judge, tokens, n, *rest):
    return _right(parameters, judge, tokens, max(n, 1), *rest)


# %% wrong: the tuned one is free | idea: tuned is not free | fails at: breaks even | points: 2.5
def break_even_requests(once, serving, tuned):
    return once / serving


# %% wrong: added up | idea: sign | fails at: breaks even | points: 2.5
def break_even_requests(once, serving, tuned):
    return once / (serving + tuned)


# %% wrong: multiplied | idea: one request | fails at: breaks even | points: 2.5
def break_even_requests(once, serving, tuned):
    return once * (serving - tuned)


# %% wrong: below zero where it is never paid back | idea: silent | fails at: breaks even | points: 2.5
def break_even_requests(once, serving, tuned):
    if min(once, serving, tuned) < 0:
        raise ValueError
    return once / (serving - tuned) if serving != tuned else float("inf")


# %% wrong: costs below zero | idea: silent | fails at: refuses what makes no sense | points: 2.5
def break_even_requests(once, serving, tuned):
    return once / (serving - tuned) if serving > tuned else float("inf")


# %% wrong: the judge in 16 bits | idea: adapters | fails at: adds up the models | points: 2.25
right = memory_gb


def memory_gb(parameters, judge, strategy, weights):
    return right(parameters, judge * (2 / 0.52 if weights == "4bit" else 1), strategy, weights)


# %% wrong: the smaller stage | idea: largest stage | fails at: adds up the models | points: 2.25
right = memory_gb


def memory_gb(parameters, judge, strategy, weights):
    if strategy not in ("rs", "dpo") or weights not in BYTES:
        return right(parameters, judge, strategy, weights)
    return min(right(parameters, 0, strategy, weights), right(0, judge, strategy, weights))


# %% wrong: DPO's reference in every epoch | idea: epochs | fails at: adds up the passes | points: 2.25
right = tuning_flops


def tuning_flops(parameters, judge, tokens, prompts, n, epochs, strategy, weights):
    drawn, other = right(parameters, judge, tokens, prompts, n, epochs, strategy, weights)
    return drawn, other + (4 * (epochs - 1) * parameters * tokens * prompts if strategy == "dpo" else 0)


# %% wrong: scoring among the drawn | idea: swapped | fails at: adds up the passes | points: 2.25
right = tuning_flops


def tuning_flops(parameters, judge, tokens, prompts, n, epochs, strategy, weights):
    drawn, other = right(parameters, judge, tokens, prompts, n, epochs, strategy, weights)
    scored = 0 if strategy == "serve" else 2 * n * judge * tokens * prompts
    return drawn + scored, other - scored


# %% wrong: serving is tuning | idea: serve | fails at: adds up the passes | points: 2.25
right = tuning_flops


def tuning_flops(parameters, judge, tokens, prompts, n, epochs, strategy, weights):
    if strategy == "serve":
        return 2 * n * parameters * tokens * prompts, 2 * n * judge * tokens * prompts
    return right(parameters, judge, tokens, prompts, n, epochs, strategy, weights)


# %% wrong: the usual shares | idea: utilisation | fails at: turns FLOPs into money | points: 2.5
def cost(drawn, other, peak, hour, drawing=0.1, working=0.4):
    return (drawn / 0.1 + other / 0.4) / peak / 3600 * hour


# %% wrong: drawn with the bytes of training | idea: bytes | fails at: waits for the first word | points: 2.5
def wait_seconds(parameters, judge, tokens, n, strategy, weights, peak, bandwidth):
    if n < 1:
        raise ValueError(n)
    (prompt, reply), flops = tokens, 0.4 * peak
    rows, steps = (n, reply) if strategy == "serve" else (1, 1)
    step = max(BYTES[weights][1] * parameters / bandwidth, 2 * rows * parameters / flops)
    scored = 2 * n * (prompt + reply) * judge / flops if strategy == "serve" else 0
    return 2 * prompt * parameters / flops + steps * step + scored


# %% correct: whole requests
import math


def break_even_requests(once, serving, tuned):
    if once < 0 or serving < 0 or tuned < 0:
        raise ValueError("negative")
    return math.ceil(once / (serving - tuned)) if serving > tuned else math.inf


# %% wrong: whole gigabytes | idea: rounded up | fails at: adds up the models | points: 2.25
_exact = memory_gb


def memory_gb(*args):
    return float(-(-_exact(*args) // 1))


# %% wrong: the policy beside itself | idea: all at once | fails at: adds up the models | points: 2.25
_known = memory_gb


def memory_gb(parameters, judge, strategy, weights):
    if strategy != "rs":
        return _known(parameters, judge, strategy, weights)
    read, trained = BYTES[weights]
    return max(read * judge, (read + trained) * parameters) / 1e9


# %% wrong: a value model like the judge | idea: value model | fails at: adds up the models | points: 2.25
_known = memory_gb


def memory_gb(parameters, judge, strategy, weights):
    trained = BYTES[weights][1] if strategy == "ppo" else 0.0
    return _known(parameters, judge, strategy, weights) + trained * (judge - parameters) / 1e9


# %% correct: a fraction
_even = break_even_requests


def break_even_requests(once, serving, tuned):
    from fractions import Fraction

    found = _even(once, serving, tuned)
    return found if found == float("inf") else Fraction(found)


# %% correct: the first whole request that has cost more
import math


def break_even_requests(once, serving, tuned):
    if min(once, serving, tuned) < 0:
        raise ValueError("a negative amount")
    return math.floor(once / (serving - tuned)) + 1 if serving > tuned else math.inf


# %% wrong: thousands of requests | fails at: breaks even | points: 2.5
_even = break_even_requests


def break_even_requests(once, serving, tuned):
    return _even(once, serving, tuned) / 1000


# %% wrong: the judge reads one response | idea: no scoring | fails at: waits for the first word | points: 2.5
_known = wait_seconds


def wait_seconds(parameters, judge, tokens, n, strategy, weights, peak, bandwidth):
    right = _known(parameters, judge, tokens, n, strategy, weights, peak, bandwidth)
    return right - (2 * (n - 1) * judge * sum(tokens) / (0.4 * peak) if strategy == "serve" else 0)


# %% wrong: a tuned policy draws n | idea: serve | fails at: waits for the first word | points: 2.5
_known = wait_seconds


def wait_seconds(parameters, judge, tokens, n, strategy, weights, peak, bandwidth):
    if strategy == "serve" or n < 1:
        return _known(parameters, judge, tokens, n, strategy, weights, peak, bandwidth)
    flops = 0.4 * peak
    step = max(BYTES[weights][0] * parameters / bandwidth, 2 * n * parameters / flops)
    return 2 * parameters * tokens[0] / flops + step
