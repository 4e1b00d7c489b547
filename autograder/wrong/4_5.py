# %% given
import numpy as np

from autograder.build.catalogue import reference
from autograder.exercises import find
from autograder.experiments.nb04 import SETTINGS as _SETTINGS
from autograder.experiments.nb04 import quick
from autograder.handouts.models import base_policy, judge
from rslib import evaluation
from rslib.stages import with_gold, with_reference

rslib = quick()
runs = rslib.folder
policy, reward_model = base_policy(), judge()
SETTINGS = {name: _SETTINGS[name] for name in ("epochs", "learning_rate")}
heldout = rslib.load_prompts("tiny", "validation", 80)


def draw(tuned, prompts, n, seed):
    return rslib.score(reward_model, rslib.sample(tuned, prompts, n=n, seed=seed))


def judged(tuned):
    drawn = rslib.sample(tuned, heldout, n=2, seed=1_000_003)
    start = None if tuned.fingerprint() == policy.fingerprint() else policy
    return with_gold(with_reference(start, rslib.score(reward_model, drawn)))


def tune(start, rows, folder="", seed=0, **settings):
    return rslib.finetune(start, rows, folder, seed=seed, **(SETTINGS | settings))


def rows_of(pool, pairs):
    n = len(pool) // len(set(pool["prompt_id"]))
    return pool.select([n * prompt + column for prompt, column in pairs])


def as_tables(pool):
    shape = len(set(pool["prompt_id"])), -1
    return tuple(np.array(pool[name][:]).reshape(shape) for name in ("reward", "finish_reason"))


_written = reference(find("4.1")).names()
select_best, select_top_k = _written["select_best"], _written["select_top_k"]
select_random = _written["select_random"]


pool = draw(policy, rslib.load_prompts("tiny", "train", 128), n=16, seed=0)
kept = {"best": rslib.select(pool, "best_of_n", truncated="drop")}
tuned = {"best": tune(policy, kept["best"]).path}
tables = {"base": judged(policy), "best": judged(rslib.load_policy(tuned["best"]))}
COMPARISONS = {
    "reward, fresh against stale": ("fresh", "stale", "reward"),
    "gold, fresh against stale": ("fresh", "stale", "gold"),
    "gold, fresh against round 1": ("fresh", "round 1", "gold"),
    "gold, replay against fresh": ("replay", "fresh", "gold"),
}


def line(number, table, before=None):
    found = evaluation.arm_metrics(table)
    error = evaluation.compare(table, before)["standard_error"] if before is not None else 0.0
    return {
        "round": number,
        "gold": found["gold"]["mean"],
        "gold_error": error,
        "proxy": found["proxy"]["mean"],
        "kl": found["kl"],
        "entropy": found["entropy"] / found["length"],
        "unique_ratio": found["unique_ratio"],
    }


def rises(before, now):
    return now["gold"] > before["gold"] + 2 * now["gold_error"]


def lives(panel, now):
    return now["entropy"] >= panel[0]["entropy"] / 2 and now["unique_ratio"] >= 0.5


def reach(panel, goes_on):
    at = 0
    while at + 1 < len(panel) and goes_on(panel[at], panel[at + 1]):
        at += 1
    return at


def should_stop(panel):
    return reach(panel, lambda before, now: rises(before, now) and lives(panel, now))


def rounds(selector="best_of_n", drawn_by_base=False):
    """Pools and policies of rounds 2 and 3."""
    pools, policies = [pool], [rslib.load_policy(tuned["best"])]
    train = rslib.load_prompts("tiny", "train", 256)
    for number in (2, 3):
        asked = train.select(range(64 * number, 64 * number + 64))
        pools.append(draw(policy if drawn_by_base else policies[-1], asked, n=8, seed=number))
        rows = rslib.select(pools[-1], selector, truncated="drop")
        policies.append(rslib.finetune(policies[-1], rows, "", seed=number, **SETTINGS))
    return pools, policies


def repeated(times):
    now = rslib.load_policy(tuned["best"])
    for number in range(2, 2 + times):
        now = rslib.finetune(now, kept["best"], "", seed=number, **SETTINGS)
    return now


def stated(seen, last):
    """Panel, evidence and claims of judged tables."""
    panel = [line(k, table, seen[k - 1] if k else None) for k, table in enumerate(seen)]
    evidence = {name: evaluation.compare(last[a], last[b], c) for name, (a, b, c) in COMPARISONS.items()}
    return panel, evidence, {name: evaluation.verdict(found) for name, found in evidence.items()}


def measured(policies, stale, replay):
    """Judged tables of the rounds and of the ends, and what they say."""
    seen = [tables["base"], *(judged(one) for one in policies)]
    last = {"round 1": seen[1], "fresh": seen[3], "stale": judged(stale), "replay": judged(replay)}
    return seen, last, *stated(seen, last)


pools, policies = rounds()
fresh = [one.path for one in policies]
replayed = rslib.select(pools[2], "replay", earlier=pools[:2], truncated="drop")
one, two = repeated(2), tune(policies[1], replayed, epochs=1)
stale, replay = one.path, two.path
seen, last, panel, evidence, claims = measured(policies, one, two)
stop_after = should_stop(panel)

# %% correct: a loop that counts up


# %% correct: from the end, with numpy
def should_stop(panel):
    fails = [not (rises(a, b) and lives(panel, b)) for a, b in zip(panel, panel[1:])]
    return int(np.argmax(fails)) if any(fails) else len(panel) - 1


stop_after = np.int64(stop_after)
fresh = tuple(fresh)


# %% correct: step by step, with a recursion
def should_stop(panel, at=0):
    if at + 1 == len(panel):
        return float(at)
    before, now = panel[at], panel[at + 1]
    if np.isnan(now["gold"]) or not rises(before, now) or not lives(panel, now):
        return float(at)
    return should_stop(panel, at + 1)


# %% wrong: entropy against the round before | idea: F43 | fails at: stops where the rule says | points: 4
def should_stop(panel):
    return reach(panel, lambda before, now: rises(before, now) and lives([before], now))


# %% wrong: the error of the round before | idea: F34 | fails at: stops where the rule says | points: 4
def should_stop(panel):
    return reach(panel, lambda a, b: b["gold"] - a["gold"] > 2 * a["gold_error"] and lives(panel, b))


# %% wrong: two errors exactly | idea: F34 | fails at: stops where the rule says | points: 4
def should_stop(panel):
    return reach(panel, lambda a, b: b["gold"] - a["gold"] >= 2 * b["gold_error"] and lives(panel, b))


# %% wrong: NaN goes through | idea: F32 | fails at: stops where the rule says | points: 4
def should_stop(panel):
    return reach(panel, lambda a, b: not b["gold"] - a["gold"] <= 2 * b["gold_error"] and lives(panel, b))


# %% wrong: above the limits only | idea: at the limit | fails at: stops where the rule says | points: 4
def should_stop(panel):
    def lives(now):
        return now["entropy"] > panel[0]["entropy"] / 2 and now["unique_ratio"] > 0.5

    return reach(panel, lambda before, now: rises(before, now) and lives(now))


# %% wrong: gold against round 0 | idea: first round | fails at: stops where the rule says | points: 4
def should_stop(panel):
    return reach(panel, lambda before, now: rises(panel[0], now) and lives(panel, now))


# %% wrong: the reward rises | idea: F16 | fails at: stops where the rule says | points: 4
def should_stop(panel):
    return reach(panel, lambda a, b: b["proxy"] - a["proxy"] > 2 * b["gold_error"] and lives(panel, b))


# %% wrong: a fall counts | idea: sign | fails at: stops where the rule says | points: 4
def should_stop(panel):
    return reach(panel, lambda a, b: abs(b["gold"] - a["gold"]) > 2 * b["gold_error"] and lives(panel, b))


# %% wrong: rounds counted from one | idea: off by one | fails at: stops where the rule says | points: 4
def should_stop(panel):
    return 1 + reach(panel, lambda a, b: rises(a, b) and lives(panel, b))


# %% wrong: eats the panel | idea: input changed | fails at: leaves its input as it was | points: 4
def should_stop(panel):
    stop = reach(panel, lambda a, b: rises(a, b) and lives(panel, b))
    panel.clear()
    return stop


# %% wrong: the highest reward | idea: F16 | fails at: stops where the rule says | points: 4
def should_stop(panel):
    return int(np.argmax([row["proxy"] for row in panel]))


# %% wrong: the highest gold | idea: F34 | fails at: stops where the rule says | points: 4
def should_stop(panel):
    return int(np.nanargmax([row["gold"] for row in panel]))


# %% wrong: the last round | idea: F43 | fails at: stops where the rule says | points: 4
def should_stop(panel):
    return len(panel) - 1


# %% wrong: any rise | idea: F34 | fails at: stops where the rule says | points: 4
def should_stop(panel):
    return reach(panel, lambda before, now: now["gold"] > before["gold"] and lives(panel, now))


# %% wrong: collapse is not looked at | idea: F43 | fails at: stops where the rule says | points: 4
def should_stop(panel):
    return reach(panel, rises)


# %% wrong: one round too far | idea: off by one | fails at: stops where the rule says | points: 4
def should_stop(panel):
    return min(len(panel) - 1, 1 + reach(panel, lambda a, b: rises(a, b) and lives(panel, b)))


# %% wrong: gold is not looked at | idea: F15 | fails at: stops where the rule says | points: 4
def should_stop(panel):
    return reach(panel, lambda before, now: lives(panel, now))


# %% wrong: goes on behind a dip | idea: resumes | fails at: stops where the rule says | points: 4
def should_stop(panel):
    good = [k for k in range(1, len(panel)) if rises(panel[k - 1], panel[k]) and lives(panel, panel[k])]
    return max(good, default=0)


# %% wrong: stale pools | idea: F19 | fails at: each pool was drawn by the policy before it | points: 3
pools, policies = rounds(drawn_by_base=True)
fresh = [one.path for one in policies]
seen, last, panel, evidence, claims = measured(policies, one, two)
stop_after = should_stop(panel)

# %% wrong: the first pool again | idea: F19 | fails at: every round has prompts of its own | points: 3
pools = [pool, pool, pool]

# %% wrong: nothing tuned in round 3 | idea: F01 | fails at: the policy changed | points: 1
fresh = [*fresh[:2], fresh[1]]

# %% wrong: typed panel | idea: F50 | fails at: the panel is that of the judged tables | points: 3
panel = [row | {"gold": 2.0 * row["round"] + 2.0} for row in panel]
stop_after = should_stop(panel)

# %% wrong: another stop | fails at: stop_after follows from the panel | points: 3
stop_after = 3

# %% wrong: claims too much | idea: F34 | fails at: the claims follow from the evidence | points: 3
claims = claims | {"gold, fresh against round 1": "higher"}

# %% wrong: typed evidence | idea: F50 | fails at: the comparisons are those of the judged tables | points: 3
evidence = evidence | {"gold, fresh against stale": {"difference": 3.0, "low": 2.3, "high": 3.7}}

# %% wrong: round 2 is typed | idea: F50 | fails at: the panel is that of the judged tables | points: 3
panel = [row | ({"gold": row["gold"] + 4} if row["round"] == 2 else {}) for row in panel]
stop_after = should_stop(panel)

# %% wrong: the error of one response | idea: F34 | fails at: every difference has its interval | points: 3
panel = [row | {"gold_error": 12 * row["gold_error"]} for row in panel]
stop_after = should_stop(panel)

# %% wrong: the opposite claims | idea: F34 | fails at: the claims follow from the evidence | points: 3
turned = {"higher": "lower", "lower": "higher", "not separable": "higher"}
claims = {name: turned[claim] for name, claim in claims.items()}

# %% wrong: nothing is separable | idea: F34 | fails at: the claims follow from the evidence | points: 3
claims = dict.fromkeys(claims, "not separable")

# %% wrong: one folder for fresh and stale | idea: F01 | fails at: the policy changed | points: 1
stale = fresh[2]

# %% wrong: round 1 learned other rows | idea: F18 | fails at: each policy learned its own rows | points: 1
elsewhere = tune(policy, rslib.select(pools[1], "best_of_n", truncated="drop"))
fresh = [elsewhere.path, *fresh[1:]]

# %% wrong: all in reward | idea: F16 | fails at: the comparisons are those of the judged tables | points: 3
evidence = {name: evaluation.compare(last[a], last[b], "reward") for name, (a, b, _) in COMPARISONS.items()}
claims = {name: evaluation.verdict(found) for name, found in evidence.items()}

# %% wrong: turned | idea: sign | fails at: the comparisons are those of the judged tables | points: 3
evidence = {name: evaluation.compare(last[b], last[a], c) for name, (a, b, c) in COMPARISONS.items()}
claims = {name: evaluation.verdict(found) for name, found in evidence.items()}

# %% wrong: against base | idea: F49 | fails at: the comparisons are those of the judged tables | points: 3
evidence = {name: evaluation.compare(last[a], seen[0], c) for name, (a, _, c) in COMPARISONS.items()}
claims = {name: evaluation.verdict(found) for name, found in evidence.items()}

# %% wrong: ends swapped | idea: F49 | fails at: each judged table was drawn by its policy | points: 3
last = last | {"stale": last["replay"], "replay": last["stale"]}
panel, evidence, claims = stated(seen, last)

# %% wrong: rounds swapped | idea: F49 | fails at: each judged table was drawn by its policy | points: 3
seen = [seen[0], seen[2], seen[1], seen[3]]
panel, evidence, claims = stated(seen, last)
stop_after = should_stop(panel)

# %% wrong: gold as reward | idea: F50 | fails at: the panel is that of the judged tables | points: 3
panel = [row | {"proxy": row["gold"]} for row in panel]

# %% wrong: entropy of a response | idea: F50 | fails at: the panel is that of the judged tables | points: 3
panel = [row | {"entropy": evaluation.arm_metrics(t)["entropy"]} for row, t in zip(panel, seen)]
stop_after = should_stop(panel)

# %% wrong: best of two | idea: F21 | fails at: each judged table was drawn by its policy | points: 3
seen = [rslib.select(table, "best_of_n") for table in seen]
panel, evidence, claims = stated(seen, last)
stop_after = should_stop(panel)

# %% correct: claims in other letters, numbers of numpy
claims = {name: claim.upper() for name, claim in claims.items()}
panel = [{name: np.float32(value) for name, value in row.items()} for row in panel]

# %% correct: rounded to two decimals, the interval by hand
evidence = {
    name: {
        "difference": round(found["difference"], 2),
        "low": found["difference"] - 1.96 * found["standard_error"],
        "high": found["difference"] + 1.96 * found["standard_error"],
    }
    for name, found in evidence.items()
}
claims = {name: evaluation.verdict(found) for name, found in evidence.items()}


# %% wrong: the errors of two rounds | idea: F34 | fails at: stops where the rule says | points: 4
def should_stop(panel):
    def clear(before, now):
        return now["gold"] - before["gold"] > 2 * np.hypot(before["gold_error"], now["gold_error"])

    return reach(panel, lambda before, now: clear(before, now) and lives(panel, now))


# %% wrong: half of round 0's unique ratio | idea: F43 | fails at: stops where the rule says | points: 4
def should_stop(panel):
    def halved(now):
        return all(now[name] >= panel[0][name] / 2 for name in ("entropy", "unique_ratio"))

    return reach(panel, lambda before, now: rises(before, now) and halved(now))


# %% wrong: entropy of at least 0.5 | idea: F43 | fails at: stops where the rule says | points: 4
def should_stop(panel):
    return reach(panel, lambda a, b: rises(a, b) and b["entropy"] >= 0.5 and b["unique_ratio"] >= 0.5)


# %% wrong: one of the two will do | idea: F43 | fails at: stops where the rule says | points: 4
def should_stop(panel):
    return reach(panel, lambda before, now: rises(before, now) or lives(panel, now))


# %% wrong: the row instead of its number | idea: form | fails at: stops where the rule says | points: 4
def should_stop(panel):
    return panel[reach(panel, lambda before, now: rises(before, now) and lives(panel, now))]


# %% wrong: waits for a clear fall | idea: F34 | fails at: stops where the rule says | points: 4
def should_stop(panel):
    def goes_on(before, now):
        return now["gold"] - before["gold"] > -2 * now["gold_error"] and lives(panel, now)

    return reach(panel, goes_on)


# %% wrong: errors over base | idea: F34 | fails at: every difference has its interval | points: 3
panel = [line(k, table, seen[0] if k else None) for k, table in enumerate(seen)]
stop_after = should_stop(panel)

# %% wrong: an older last table | idea: F49 | fails at: each judged table was drawn by its policy | points: 3
last = last | {"fresh": seen[2]}

# %% wrong: two of the last tables | fails at: hands in tables, folders and numbers | points: 3
last = {name: last[name] for name in ("stale", "replay")}


# %% wrong: skips what fails | idea: resumes | fails at: stops where the rule says | points: 4
def should_stop(panel):
    best = panel[0]
    for row in panel[1:]:
        best = row if rises(best, row) and lives(panel, row) else best
    return best["round"]


# %% wrong: the highest that lives | idea: F34 | fails at: stops where the rule says | points: 4
def should_stop(panel):
    living = [row for row in panel if lives(panel, row) and row["gold"] == row["gold"]]
    return max(living, key=lambda row: row["gold"])["round"] if living else 0


# %% wrong: errors added up | idea: first round | fails at: stops where the rule says | points: 4
def should_stop(panel):
    total, reached = 0.0, 0
    for row in panel[1:]:
        total += row["gold_error"]
        if not (row["gold"] - panel[0]["gold"] > 2 * total and lives(panel, row)):
            break
        reached = row["round"]
    return reached


# %% wrong: half a nat lost | idea: F43 | fails at: stops where the rule says | points: 4
def should_stop(panel):
    def lives(now):
        return panel[0]["entropy"] - now["entropy"] <= 0.5 and now["unique_ratio"] >= 0.5

    return reach(panel, lambda before, now: rises(before, now) and lives(now))


# %% wrong: a limit of KL | fails at: stops where the rule says | points: 4
def should_stop(panel):
    return reach(panel, lambda a, b: rises(a, b) and b["kl"] <= 5 and b["unique_ratio"] >= 0.5)


# %% wrong: 1.96 errors | idea: F34 | fails at: stops where the rule says | points: 4
def should_stop(panel):
    return reach(panel, lambda a, b: b["gold"] - a["gold"] > 1.96 * b["gold_error"] and lives(panel, b))


# %% wrong: one error | idea: F34 | fails at: stops where the rule says | points: 4
def should_stop(panel):
    return reach(panel, lambda a, b: b["gold"] - a["gold"] > b["gold_error"] and lives(panel, b))
