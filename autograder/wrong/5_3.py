# %% given
from autograder import given

seen = given("5.3")


def check_run(run):
    if run["pool_rows"] < 1000 or run["pool_unique"] < 0.5 or run["kept_without_end"] > 0.3:
        return ["sample"]
    if run["rescore_error"] > 0.1 or run["reward_accuracy"] < 0.6:
        return ["score"]
    if run["kept_best"] < 0.9:
        return ["select"]
    if not 0.9 < run["learned_tokens"] < 1.1 or not run["policy_changed"]:
        return ["train"]
    if run["trained_on"] > 0 or run["judged_prompts"] < 50 or run["judged_unique"] < 0.9:
        return ["judge"]
    return []


# %% correct: one question after the other


# %% correct: a list of questions, all answers in order
QUESTIONS = [
    ("sample", lambda r: r["pool_rows"] != 1024 or r["pool_unique"] < 0.3 or r["reweigh_error"] > 0.1),
    ("score", lambda r: r["rescore_error"] > 0.2 or r["prompt_effect"] == 0),
    ("select", lambda r: r["kept_best"] < 0.95 or r["coverage"] < 0.95),
    ("train", lambda r: abs(r["learned_tokens"] - 1) > 0.05 or r["policy_changed"] < 1),
    ("judge", lambda r: r["trained_on"] > 0.01 or r["judged_prompts"] < 90 or r["judged_unique"] < 0.8),
]


def check_run(run):
    return [stage for stage, is_broken in QUESTIONS if is_broken(run)]


# %% correct: ranges of the healthy runs with room, stage by stage, a tuple comes back
healthy = [run for name, run in seen if name == "healthy"]
OWN = {
    "sample": ("pool_rows", "pool_unique", "kept_without_end"),
    "score": ("rescore_error",),
    "select": ("kept_best", "coverage"),
    "train": ("learned_tokens", "policy_changed"),
    "judge": ("trained_on", "judged_prompts", "judged_unique"),
}


def check_run(run):
    for stage, metrics in OWN.items():
        for metric in metrics:
            known = [one[metric] for one in healthy]
            room = 0.08 + 0.05 * max(known)
            if run[metric] is None or not min(known) - room <= run[metric] <= max(known) + room:
                return (stage,)
    return ()


# %% wrong: no flag ever | idea: F05 | fails at: finds what is wrong in sample
def check_run(run):
    return []


# %% wrong: every flag always | idea: F34 | fails at: raises no false alarm
def check_run(run):
    return ["sample", "score", "select", "train", "judge"]


# %% wrong: whatever lies beyond the healthy runs seen | idea: F34 | fails at: raises no false alarm
healthy = [run for name, run in seen if name == "healthy"]


def check_run(run):
    for metric, value in run.items():
        known = [one[metric] for one in healthy]
        if value is None or not min(known) <= value <= max(known):
            return ["judge"]
    return []


# %% wrong: gold alone | idea: F05 | fails at: finds what is wrong in sample
def check_run(run):
    return [] if run["gold"] > 2.2 else ["train"]


# %% wrong: from the end of the pipeline | idea: F05 | fails at: finds what is wrong in sample | points: 2.25
_first = check_run


def check_run(run):
    if run["selection_gap"] < 3:
        return ["select"]
    return _first(run)


# %% wrong: scoring is not probed | idea: F08 | fails at: finds what is wrong in score | points: 3
def check_run(run):
    if run["pool_rows"] < 1000 or run["pool_unique"] < 0.5 or run["kept_without_end"] > 0.3:
        return ["sample"]
    if run["kept_best"] < 0.9:
        return ["select"]
    if not 0.9 < run["learned_tokens"] < 1.1:
        return ["train"]
    if run["trained_on"] > 0 or run["judged_prompts"] < 50 or run["judged_unique"] < 0.9:
        return ["judge"]
    return []


# %% wrong: the sign of the gap alone | idea: F04 | fails at: finds what is wrong in select | points: 3
_first = check_run


def check_run(run):
    flags = _first(run)
    return [] if flags == ["select"] and run["selection_gap"] > -1 else flags


# %% wrong: only too many learned tokens | idea: F26 | fails at: finds what is wrong in train | points: 3
_first = check_run


def check_run(run):
    flags = _first(run)
    return [] if flags == ["train"] and run["learned_tokens"] <= 1 else flags


# %% wrong: a test of any size will do | idea: F34 | fails at: finds what is wrong in judge | points: 3
_first = check_run


def check_run(run):
    return [] if run["judged_prompts"] < 50 else _first(run)


# %% wrong: the missing accuracy stops it | fails at: runs | points: 3
def check_run(run):
    if run["rescore_error"] > 0.1 or run["reward_accuracy"] < 0.6:
        return ["score"]
    if run["kept_best"] < 0.9:
        return ["select"]
    if not 0.9 < run["learned_tokens"] < 1.1 or not run["policy_changed"]:
        return ["train"]
    if run["trained_on"] > 0 or run["judged_prompts"] < 50 or run["judged_unique"] < 0.9:
        return ["judge"]
    return []


# %% wrong: names of flaws for names of stages | fails at: returns a list of stages
def check_run(run):
    return ["n1"] if run["pool_rows"] < 1000 else ["healthy"]


# %% wrong: a word for a list | fails at: returns a list of stages
def check_run(run):
    return "sample"


# %% wrong: absolute gold | idea: F05 | fails at: finds what is wrong in sample
def check_run(run):
    return ["judge"] if run["gold"] < 2 else []


# %% wrong: one string for each run | fails at: returns a list of stages
def check_run(run):
    return {"sample": run["pool_rows"] < 1000}


# %% wrong: true and false | fails at: returns a list of stages
def check_run(run):
    return run["kept_best"] < 0.9


# %% wrong: no brackets for healthy | fails at: is answered
_first = check_run


def check_run(run):
    return _first(run) or None


# %% wrong: healthy as a word | fails at: returns a list of stages
_first = check_run


def check_run(run):
    return _first(run) or ["healthy"]


# %% wrong: the last stage first | idea: F05 | fails at: finds what is wrong in sample | points: 0.75
_first = check_run


def check_run(run):
    flags = ["judge"] if run["gold"] < 2.2 else []
    return flags + _first(run)


# %% wrong: exactly the mean | idea: F34 | fails at: raises no false alarm
healthy = [run for name, run in seen if name == "healthy"]


def check_run(run):
    off = abs(run["gold"] - sum(r["gold"] for r in healthy) / 3) > 0.05
    return ["train"] if off else []


# %% wrong: KL says training | idea: F05 | fails at: finds what is wrong in sample | points: 1.5
_first = check_run


def check_run(run):
    return ["train"] if run["kl"] > 2 or run["kl"] < 0.8 else _first(run)


# %% wrong: coverage is not asked | idea: F29 | fails at: finds what is wrong in select | points: 3
_first = check_run


def check_run(run):
    return [] if run["coverage"] < 0.9 else _first(run)


# %% wrong: training prompts are fine | idea: F18 | fails at: finds what is wrong in judge | points: 3
_first = check_run


def check_run(run):
    return [] if run["trained_on"] > 0 else _first(run)


# %% correct: the largest distance in numpy, by stage
import numpy as np

OWN_METRICS = {
    "sample": ("pool_rows", "pool_unique", "kept_without_end"),
    "score": ("rescore_error",),
    "select": ("kept_best", "coverage"),
    "train": ("learned_tokens", "policy_changed"),
    "judge": ("trained_on", "judged_prompts", "judged_unique"),
}


def check_run(run):
    normal = {
        m: np.mean([r[m] for name, r in seen if name == "healthy"]) for ms in OWN_METRICS.values() for m in ms
    }
    off = {
        stage: max(
            abs(np.float32(np.nan if run[m] is None else run[m]) - normal[m]) / (0.1 + 0.1 * normal[m])
            for m in ms
        )
        for stage, ms in OWN_METRICS.items()
    }
    return [stage for stage, distance in off.items() if not distance <= 1]


# %% correct: a set of the first stage that is broken
rule = check_run


def check_run(run):
    return set(rule(run))


# %% correct: the nearest of the runs that were given
SHARES = {"coverage": 0.1, "kept_best": 0.2, "learned_tokens": 0.1, "policy_changed": 0.3, "trained_on": 0.3}
WIDTHS = {"pool_rows": 100, "pool_unique": 0.1, "reweigh_error": 0.5, "rescore_error": 0.3, **SHARES}
WIDTHS |= {"judged_prompts": 10, "judged_unique": 0.1, "selection_gap": 1.0}


def far(one, other):
    return sum(abs((one[key] or 0.0) - (other[key] or 0.0)) / width for key, width in WIDTHS.items())


def check_run(run):
    from autograder.handouts.nb05_panels import STAGES

    name = min(seen, key=lambda pair: far(pair[1], run))[0]
    return [stage for stage, flaws in STAGES.items() if name in flaws]


# %% wrong: every stage, always | idea: F34 | fails at: raises no false alarm
def check_run(run):
    return ["sample", "score", "select", "train", "judge"]


# %% wrong: gold says whether, the rest says where | idea: F05 | fails at: finds what is wrong in sample
def check_run(run):
    if run["gold"] > 2.3:
        return []
    if run["selection_gap"] < 2:
        return ["select"]
    if run["kl"] > 5:
        return ["train"]
    return ["sample"] if run["pool_rows"] < 1000 or run["pool_unique"] < 0.5 else ["score"]


# %% wrong: what has no value is broken | idea: F06 | fails at: finds what is wrong in sample | points: 3
_sound = check_run


def check_run(run):
    if run["pool_rows"] == 1024 and run["reward_accuracy"] is None:
        return ["score"]
    return _sound({**run, "reward_accuracy": run["reward_accuracy"] or 1.0})


# %% correct: an array of texts
_list = check_run


def check_run(run):
    import numpy as np

    return np.array(_list({**run, "reward_accuracy": run["reward_accuracy"] or 1.0}), dtype=str)


# %% wrong: one after the other | fails at: returns a list of stages
_list = check_run


def check_run(run):
    yield from _list(run)


# %% wrong: the stage as a text | fails at: returns a list of stages
_list = check_run


def check_run(run):
    return "".join(_list(run))


# %% wrong: healthy as a flag | fails at: returns a list of stages
_flags_of = check_run


def check_run(run):
    return _flags_of(run) or ["healthy"]
