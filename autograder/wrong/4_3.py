# %% given
import numpy as np

from autograder.build.catalogue import reference
from autograder.exercises import find
from autograder.experiments.nb04 import SETTINGS as _SETTINGS
from autograder.experiments.nb04 import quick
from autograder.handouts.models import base_policy, judge
from rslib import evaluation
from rslib.stages import with_gold, with_reference
from rslib.tables import with_column

rslib = quick()
runs = rslib.folder
policy, reward_model = base_policy(), judge()
SETTINGS = {name: _SETTINGS[name] for name in ("epochs", "learning_rate")}
STEPS = {"top": {"epochs": 1, "batch_tokens": 2048}, "all": {"epochs": 1, "batch_tokens": 5000}}
OTHERS = ("base", "random", "top", "all")
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
kept["random"] = rslib.select(pool, "random", like=kept["best"], truncated="drop")
kept["top"] = rslib.select(pool, "top_k_per_prompt", k=4, truncated="drop")
kept["all"] = rslib.select(pool, "all", truncated="drop")


def compared(tables, column="gold"):
    """Best against every other arm."""
    return {arm: evaluation.compare(tables["best"], tables[arm], column) for arm in OTHERS}


def outcome(kept):
    """Folders, judged tables and comparisons of the arms tuned on these rows."""
    made = {arm: tune(policy, rows, **STEPS.get(arm, {})) for arm, rows in kept.items()}
    sets = {"base": judged(policy)} | {arm: judged(one) for arm, one in made.items()}
    return {arm: one.path for arm, one in made.items()}, sets, compared(sets)


tuned, tables, result = outcome(kept)

# %% correct: the same, by a function

# %% correct: only the numbers, folders as paths
from pathlib import Path

KEYS = ("difference", "low", "high")
result = {arm: {key: float(found[key]) for key in KEYS} for arm, found in result.items()}
tuned = {arm: Path(folder) for arm, folder in tuned.items()}

# %% correct: rows chosen and compared by hand, in numpy
rewards = np.array(pool["reward"][:]).reshape(-1, 16)
ended = np.array(pool["finish_reason"][:]).reshape(-1, 16) == "eos"
order = np.argsort(np.where(ended, -rewards, np.inf), axis=1)
kept = kept | {"best": pool.select((16 * np.arange(len(order)) + order[:, 0]).tolist())}


def _means(table, column):
    return {
        p: np.mean([v for q, v in zip(table["prompt_id"][:], table[column][:]) if p == q])
        for p in set(table["prompt_id"][:])
    }


def _by_hand(first, second):
    one, other = _means(first, "gold"), _means(second, "gold")
    gaps = np.array([one[p] - other[p] for p in one])
    half = 1.96 * gaps.std(ddof=1) / np.sqrt(len(gaps))
    return {"difference": round(gaps.mean(), 2), "low": gaps.mean() - half, "high": gaps.mean() + half}


result = {arm: _by_hand(tables["best"], tables[arm]) for arm in OTHERS}

# %% correct: numbers of numpy in single precision, tables in a list of pairs made a dict
result = {
    arm: {k: np.float32(found[k]) for k in ("difference", "low", "high")} for arm, found in result.items()
}
tables = dict(list(tables.items()))

# %% wrong: reward judges | idea: F16 | fails at: the comparisons are those of the judged tables | points: 3
result = compared(tables, "reward")

# %% wrong: turned | idea: sign | fails at: the comparisons are those of the judged tables | points: 3
result = {arm: evaluation.compare(tables[arm], tables["best"]) for arm in OTHERS}

# %% wrong: reward, turned | idea: F16 | fails at: the comparisons are those of the judged tables | points: 3
result = {arm: evaluation.compare(tables[arm], tables["best"], "reward") for arm in OTHERS}

# %% wrong: arms swapped | idea: F49 | fails at: each judged table was drawn by its policy | points: 3
tables = tables | {"best": tables["random"], "random": tables["best"]}
result = compared(tables)

# %% wrong: another arm | idea: F49 | fails at: the comparisons are those of the judged tables | points: 3
result = result | {arm: evaluation.compare(tables["random"], tables[arm]) for arm in ("base", "all")}

# %% wrong: gold = reward | idea: F16 | fails at: each judged table was drawn by its policy | points: 3
tables = {arm: with_column(table, "gold", np.array(table["reward"][:])) for arm, table in tables.items()}
result = compared(tables)

# %% wrong: training prompts | idea: F18 | fails at: each judged table was drawn by its policy | points: 3
_train = rslib.load_prompts("tiny", "train", 80)


def _on_training(tuned):
    start = None if tuned.fingerprint() == policy.fingerprint() else policy
    drawn = rslib.sample(tuned, _train, n=2, seed=1_000_003)
    return with_gold(with_reference(start, rslib.score(reward_model, drawn)))


tables = {"base": _on_training(policy)} | {a: _on_training(rslib.load_policy(f)) for a, f in tuned.items()}
result = compared(tables)

# %% wrong: base as best | idea: F49 | fails at: each judged table was drawn by its policy | points: 3
tables = tables | {"best": tables["base"]}
result = compared(tables)

# %% wrong: best of two | idea: F21 | fails at: each judged table was drawn by its policy | points: 3
tables = {arm: rslib.select(table, "best_of_n") for arm, table in tables.items()}
result = compared(tables)

# %% wrong: an interval of one response | idea: F34 | fails at: every difference has its interval | points: 3
result = {
    arm: found | {"low": found["difference"] - 8.0, "high": found["difference"] + 8.0}
    for arm, found in result.items()
}

# %% wrong: the four worst as the top | idea: F04 | fails at: the third arm has the four best | points: 3
_low = np.argsort(
    np.where(
        np.array(pool["finish_reason"][:]).reshape(-1, 16) == "eos",
        np.array(pool["reward"][:]).reshape(-1, 16),
        np.inf,
    ),
    axis=1,
)[:, :4]
kept = kept | {"top": pool.select((16 * np.arange(len(_low))[:, None] + _low).ravel().tolist())}

# %% wrong: the single best as the top | idea: F29 | fails at: the third arm has the four best | points: 3
kept = kept | {"top": kept["best"]}

# %% wrong: the worst | idea: F03 | fails at: the best are the best of each prompt | points: 1
kept = kept | {"best": rslib.select(pool, "worst", truncated="drop")}
tuned, tables, result = outcome(kept)

# %% wrong: a random pick as the best | idea: F04 | fails at: the best are the best of each prompt | points: 1
kept = kept | {"best": rslib.select(pool, "random", seed=7, truncated="drop")}
tuned, tables, result = outcome(kept)

# %% wrong: nothing was tuned | idea: F01 | fails at: the policy changed | points: 2
policy.save(runs / "copy")
tuned = tuned | {"best": str(runs / "copy")}

# %% wrong: the reward model's folder | idea: F01 | fails at: hands in tables, folders and numbers | points: 2
reward_model.save(runs / "reward")
tuned = tuned | {"best": str(runs / "reward")}

# %% wrong: one policy for two arms | idea: F01 | fails at: the policy changed | points: 2
tuned = tuned | {"best": tuned["random"]}

# %% wrong: folders exchanged | idea: F18 | fails at: each policy learned its own rows | points: 2
tuned = tuned | {"best": tuned["all"], "all": tuned["best"]}

# %% wrong: tuned on other prompts | idea: F18 | fails at: each policy learned its own rows | points: 4
others = rslib.load_prompts("tiny", "train", 256).select(range(128, 256))
elsewhere = rslib.select(draw(policy, others, n=16, seed=0), "best_of_n", truncated="drop")
tuned, tables, result = outcome(kept | {"best": elsewhere})

# %% wrong: typed numbers | idea: F50 | fails at: the comparisons are those of the judged tables | points: 3
result = {arm: {"difference": 6.0, "low": 5.4, "high": 6.6} for arm in result}

# %% wrong: no interval | idea: F34 | fails at: every difference has its interval | points: 3
result = {arm: {"difference": found["difference"]} for arm, found in result.items()}

# %% wrong: everything is the best | idea: F02 | fails at: the best are the best of each prompt | points: 3
kept = kept | {"best": pool.select(range(len(pool)))}

# %% wrong: the best of the table | idea: F29 | fails at: the best are the best of each prompt | points: 3
kept = kept | {"best": rslib.select(pool, "top_fraction", fraction=1 / 16, truncated="drop")}

# %% wrong: the control is the best | idea: F49 | fails at: the control is a random pick | points: 2
kept = kept | {"random": kept["best"]}

# %% wrong: rewards of noise | idea: F50 | fails at: stored rewards are what the reward model says | points: 3
pool = with_column(pool, "reward", np.random.default_rng(0).normal(size=len(pool)))

# %% wrong: rewards moved | idea: F09 | fails at: stored rewards are what the reward model says | points: 3
pool = with_column(pool, "reward", np.roll(pool["reward"][:], 1))

# %% wrong: kept from another pool | idea: F27 | fails at: kept rows come from the pool | points: 2
pool = draw(policy, rslib.load_prompts("tiny", "train", 128), n=16, seed=1)

# %% wrong: responses typed into the pool | idea: F27 | fails at: the pool was drawn by the policy | points: 2
best_row = int(np.argmax(pool["reward"][:]))
texts = pool["response"][:]
typed = [texts[best_row] + " " * (k % 2) if k % 16 == 0 else text for k, text in enumerate(texts)]
pool = rslib.score(reward_model, with_column(pool, "response", typed))
kept = {"best": rslib.select(pool, "best_of_n", truncated="drop")}
kept["random"] = rslib.select(pool, "random", like=kept["best"], truncated="drop")
kept["top"] = rslib.select(pool, "top_k_per_prompt", k=4, truncated="drop")
kept["all"] = rslib.select(pool, "all", truncated="drop")

# %% wrong: drawn by the tuned policy | idea: F19 | fails at: the pool was drawn by the policy | points: 2
pool = draw(rslib.load_policy(tuned["best"]), rslib.load_prompts("tiny", "train", 128), n=16, seed=0)
kept = {"best": rslib.select(pool, "best_of_n", truncated="drop")}
kept["random"] = rslib.select(pool, "random", like=kept["best"], truncated="drop")
kept["top"] = rslib.select(pool, "top_k_per_prompt", k=4, truncated="drop")
kept["all"] = rslib.select(pool, "all", truncated="drop")

# %% wrong: two separate samples | idea: F34 | fails at: every difference has its interval | points: 3
result = {}
for arm in OTHERS:
    first, second = (np.array(tables[name]["gold"][:]) for name in ("best", arm))
    half = 1.96 * (first.var(ddof=1) / len(first) + second.var(ddof=1) / len(second)) ** 0.5
    middle = first.mean() - second.mean()
    result[arm] = {"difference": middle, "low": middle - half, "high": middle + half}
