# %% given
import numpy as np


def checked(rewards):
    for prompt, row in enumerate(rewards):
        for reward in row:
            if not np.isfinite(reward):
                raise ValueError(f"prompt {prompt}: the reward is {reward}")


def columns_of(reasons, prompt):
    return [c for c in range(len(reasons[prompt])) if reasons[prompt][c] == "eos"]


def select_top_k(rewards, finish_reasons, k, rng):
    checked(rewards)
    kept, left_out = [], []
    for prompt in range(len(rewards)):
        columns = columns_of(finish_reasons, prompt)
        rng.shuffle(columns)
        columns.sort(key=lambda c: -rewards[prompt][c])
        kept.extend((prompt, c) for c in columns[:k])
        if not columns:
            left_out.append(prompt)
    return kept, left_out


def select_best(rewards, finish_reasons, rng):
    return select_top_k(rewards, finish_reasons, 1, rng)


def select_random(finish_reasons, k, rng):
    kept, left_out = [], []
    for prompt in range(len(finish_reasons)):
        columns = columns_of(finish_reasons, prompt)
        if columns:
            chosen = rng.choice(columns, size=min(k, len(columns)), replace=False)
            kept += [(prompt, int(c)) for c in chosen]
        else:
            left_out.append(prompt)
    return kept, left_out


every = select_top_k

# %% correct: loops and lists


# %% correct: vectorised, with a lot as second key
def select_top_k(rewards, finish_reasons, k, rng):
    rewards = np.asarray(rewards, float)
    bad = ~np.isfinite(rewards)
    if bad.any():
        raise ValueError(f"reward of prompt {np.flatnonzero(bad.any(axis=1))[0]} is not finite")
    finished = np.asarray(finish_reasons) == "eos"
    order = np.lexsort((rng.random(rewards.shape), np.where(finished, -rewards, np.inf)), axis=1)
    kept = [(p, int(c)) for p in range(len(rewards)) for c in order[p][: min(k, int(finished[p].sum()))]]
    return kept, [int(p) for p in np.flatnonzero(~finished.any(axis=1))]


def select_random(finish_reasons, k, rng):
    return select_top_k(rng.random(np.asarray(finish_reasons).shape), finish_reasons, k, rng)


# %% correct: the best alone by comparing with the maximum
def select_best(rewards, finish_reasons, rng):
    checked(rewards)
    kept, left_out = [], []
    for prompt, row in enumerate(rewards):
        usable = columns_of(finish_reasons, prompt)
        if not usable:
            left_out.append(prompt)
            continue
        top = max(row[c] for c in usable)
        kept.append((prompt, int(rng.choice([c for c in usable if row[c] == top]))))
    return tuple(kept), tuple(left_out)


# %% correct: noise far below any difference breaks ties; arrays come back
def select_best(rewards, finish_reasons, rng):
    checked(rewards)
    finished = np.asarray(finish_reasons) == "eos"
    blurred = np.where(finished, rewards + 1e-9 * rng.random(np.shape(rewards)), -np.inf)
    some = np.flatnonzero(finished.any(axis=1))
    best = blurred[some].argmax(axis=1)
    return np.stack([some, best], axis=1), np.setdiff1d(np.arange(len(finished)), some)


# %% wrong: large noise | idea: blurred | fails at: keeps the highest reward of each prompt | points: 2
def select_best(rewards, finish_reasons, rng):
    checked(rewards)
    return select_top_k(rewards + 0.01 * rng.random(rewards.shape), finish_reasons, 1, rng)


# %% wrong: rewards rounded | idea: blurred | fails at: keeps the highest reward of each prompt | points: 2
def select_best(rewards, finish_reasons, rng):
    checked(rewards)
    return select_top_k(rewards.round(2), finish_reasons, 1, rng)


# %% wrong: NaN of a cut row | idea: F32 | fails at: stops at a reward that is not finite | points: 2
def select_best(rewards, finish_reasons, rng):
    return select_top_k(np.where(finish_reasons == "eos", rewards, 0.0), finish_reasons, 1, rng)


# %% wrong: minus infinity forgiven | idea: F32 | fails at: stops at a reward that is not finite | points: 2
def select_best(rewards, finish_reasons, rng):
    return select_top_k(np.where(rewards == -np.inf, -1e9, rewards), finish_reasons, 1, rng)


# %% wrong: the error prints the whole table | idea: F32 | fails at: names the prompt | points: 2
def select_best(rewards, finish_reasons, rng):
    if not np.isfinite(rewards).all():
        raise ValueError(f"some reward is not finite: {rewards.tolist()}")
    return select_top_k(rewards, finish_reasons, 1, rng)


# %% wrong: prompts below k vanish | idea: too few | fails at: never keeps a cut response | points: 3
def select_best(rewards, finish_reasons, rng):
    return every(rewards, finish_reasons, 1, rng)


def select_top_k(rewards, finish_reasons, k, rng):
    kept, left_out = every(rewards, finish_reasons, k, rng)
    return [(p, c) for p, c in kept if len(columns_of(finish_reasons, p)) >= k], left_out


# %% wrong: the lowest | idea: F03 | fails at: keeps the highest reward of each prompt | points: 2
def select_best(rewards, finish_reasons, rng):
    return select_top_k(-rewards, finish_reasons, 1, rng)


# %% wrong: flat index turned | idea: F10 | fails at: keeps the highest reward of each prompt | points: 2
def select_best(rewards, finish_reasons, rng):
    checked(rewards)
    prompts, n = rewards.shape
    turned = np.array([[rewards.ravel()[c * prompts + p] for c in range(n)] for p in range(prompts)])
    return select_top_k(turned, finish_reasons, 1, rng)


# %% wrong: pairs turned round | idea: F10 | fails at: keeps the highest reward of each prompt | points: 2
def select_best(rewards, finish_reasons, rng):
    kept, left_out = select_top_k(rewards, finish_reasons, 1, rng)
    return [(c, p) for p, c in kept], left_out


# %% wrong: maxima of columns | idea: F10 | fails at: keeps the highest reward of each prompt | points: 2
def select_best(rewards, finish_reasons, rng):
    checked(rewards)
    return [(int(p), c) for c, p in enumerate(rewards.argmax(axis=0))], []


# %% wrong: best of the table | idea: F29 | fails at: keeps the highest reward of each prompt | points: 2
def select_best(rewards, finish_reasons, rng):
    checked(rewards)
    n = rewards.shape[1]
    return [(int(i) // n, int(i) % n) for i in np.argsort(-rewards, axis=None)[: len(rewards)]], []


# %% wrong: first column | idea: F04 | fails at: keeps the highest reward of each prompt | points: 2
def select_best(rewards, finish_reasons, rng):
    return [(p, 0) for p in range(len(rewards))], []


# %% wrong: cut ones kept | idea: F25 | fails at: leaves a prompt with nothing left out | points: 2
def select_best(rewards, finish_reasons, rng):
    return select_top_k(rewards, np.full(rewards.shape, "eos"), 1, rng)


# %% wrong: cut ones kept, lost reported | idea: F25 | fails at: never keeps a cut response | points: 2
def select_best(rewards, finish_reasons, rng):
    _, left_out = select_top_k(rewards, finish_reasons, 1, rng)
    kept, _ = select_top_k(rewards, np.full(rewards.shape, "eos"), 1, rng)
    return [pair for pair in kept if pair[0] not in left_out], left_out


# %% wrong: lost not reported | idea: F25 | fails at: leaves a prompt with nothing left out | points: 2
def select_best(rewards, finish_reasons, rng):
    return select_top_k(rewards, finish_reasons, 1, rng)[0], []


# %% wrong: ties by index | idea: F31 | fails at: breaks ties at random | points: 2
def select_best(rewards, finish_reasons, rng):
    checked(rewards)
    finished = np.asarray(finish_reasons) == "eos"
    best = np.where(finished, rewards, -np.inf).argmax(axis=1)
    some = finished.any(axis=1)
    return [(p, int(best[p])) for p in np.flatnonzero(some)], list(np.flatnonzero(~some))


# %% wrong: a generator of its own | idea: F20 | fails at: draws from the generator | points: 2
def select_best(rewards, finish_reasons, rng):
    return select_top_k(rewards, finish_reasons, 1, np.random.default_rng())


# %% wrong: argmax keeps NaN | idea: F32 | fails at: stops at a reward that is not finite | points: 2
def select_best(rewards, finish_reasons, rng):
    finished = np.asarray(finish_reasons) == "eos"
    kept = []
    for p in np.flatnonzero(finished.any(axis=1)):
        row = np.where(finished[p], rewards[p], -np.inf)
        tied = np.flatnonzero(np.isnan(row) if np.isnan(row).any() else row == row.max())
        kept.append((int(p), int(rng.choice(tied))))
    return kept, list(np.flatnonzero(~finished.any(axis=1)))


# %% wrong: nanargmax | idea: F32 | fails at: stops at a reward that is not finite | points: 2
def select_best(rewards, finish_reasons, rng):
    return select_top_k(np.nan_to_num(rewards, nan=-1e9, posinf=-1e9), finish_reasons, 1, rng)


# %% wrong: an assertion | idea: F32 | fails at: stops at a reward that is not finite | points: 2
def select_best(rewards, finish_reasons, rng):
    assert np.isfinite(rewards).all(), "not finite"
    return select_top_k(rewards, finish_reasons, 1, rng)


# %% wrong: an error without the prompt | idea: F32 | fails at: names the prompt | points: 2
def select_best(rewards, finish_reasons, rng):
    if not np.isfinite(rewards).all():
        raise ValueError("some reward is not finite")
    return select_top_k(rewards, finish_reasons, 1, rng)


# %% wrong: top k of the whole table | idea: F29 | fails at: keeps the k best of each prompt | points: 3
right = select_top_k


def select_best(rewards, finish_reasons, rng):
    return right(rewards, finish_reasons, 1, rng)


def select_top_k(rewards, finish_reasons, k, rng):
    checked(rewards)
    n = rewards.shape[1]
    return [(int(i) // n, int(i) % n) for i in np.argsort(-rewards, axis=None)[: k * len(rewards)]], []


# %% wrong: the control takes the first k | idea: F31 | fails at: breaks ties at random | points: 3
def select_random(finish_reasons, k, rng):
    reasons = np.asarray(finish_reasons)
    gone = [p for p in range(len(reasons)) if not (reasons[p] == "eos").any()]
    return [(p, c) for p in range(len(reasons)) for c in columns_of(reasons, p)[:k]], gone


# %% wrong: control draws twice | idea: F04 | fails at: picks k of each prompt at random | points: 3
def select_random(finish_reasons, k, rng):
    kept, gone = [], []
    for p in range(len(finish_reasons)):
        columns = columns_of(finish_reasons, p)
        kept += [(p, int(columns[rng.integers(len(columns))])) for _ in range(k) if columns]
        gone += [] if columns else [p]
    return kept, gone


# %% correct: minus infinity in a copy, drawn among the maxima
def select_best(rewards, finish_reasons, rng):
    checked(rewards)
    masked = np.where(finish_reasons == "eos", rewards, -np.inf)
    tied = (masked == masked.max(axis=1, keepdims=True, initial=-np.inf)) & np.isfinite(masked)
    kept = [[p, rng.choice(np.flatnonzero(row))] for p, row in enumerate(tied) if row.any()]
    return np.array(kept, dtype=int).reshape(-1, 2), np.flatnonzero(~tied.any(axis=1))


# %% correct: a heap, with a lot behind each reward
def select_top_k(rewards, finish_reasons, k, rng):
    import heapq

    checked(rewards)
    kept, left_out = [], []
    for prompt, row in enumerate(rewards.tolist()):
        usable = [(row[c], rng.random(), c) for c in columns_of(finish_reasons, prompt)]
        kept += [(prompt, c) for _, _, c in heapq.nlargest(k, usable)]
        left_out += [] if usable else [prompt]
    return kept, left_out


# %% wrong: minus infinity written in | idea: input changed | fails at: leaves its input as it was | points: 2
def select_best(rewards, finish_reasons, rng):
    found = select_top_k(rewards, finish_reasons, 1, rng)
    rewards[finish_reasons != "eos"] = -np.inf
    return found


# %% wrong: a generator with a seed of its own | idea: F20 | fails at: draws from the generator | points: 2
def select_best(rewards, finish_reasons, rng):
    return select_top_k(rewards, finish_reasons, 1, np.random.default_rng(42))


# %% wrong: prompts counted anew | idea: F10 | fails at: leaves a prompt with nothing left out | points: 2
def select_best(rewards, finish_reasons, rng):
    kept, left_out = select_top_k(rewards, finish_reasons, 1, rng)
    return [(place, column) for place, (_, column) in enumerate(kept)], left_out


# %% wrong: columns counted among the finished | idea: F10 | fails at: never keeps a cut response | points: 2
def select_best(rewards, finish_reasons, rng):
    kept, left_out = select_top_k(rewards, finish_reasons, 1, rng)
    return [(p, columns_of(finish_reasons, p).index(c)) for p, c in kept], left_out


# %% wrong: counts from one | idea: F10 | fails at: keeps the highest reward of each prompt | points: 2
def select_best(rewards, finish_reasons, rng):
    kept, left_out = select_top_k(rewards, finish_reasons, 1, rng)
    return [(p + 1, c) for p, c in kept], left_out


# %% wrong: as many columns as rows | fails at: keeps the highest reward of each prompt | points: 2
def select_best(rewards, finish_reasons, rng):
    size = len(rewards)
    return select_top_k(rewards[:, :size], finish_reasons[:, :size], 1, rng)


# %% wrong: plus infinity kept | idea: F32 | fails at: stops at a reward that is not finite | points: 2
def select_best(rewards, finish_reasons, rng):
    return select_top_k(np.nan_to_num(rewards, nan=np.nan, posinf=1e30), finish_reasons, 1, rng)


# %% wrong: one draw for the whole table | idea: one draw | fails at: breaks ties at random | points: 3
def select_random(finish_reasons, k, rng):
    order = rng.permutation(finish_reasons.shape[1])
    usable = [[int(c) for c in order if row[c] == "eos"] for row in finish_reasons]
    kept = [(p, c) for p, columns in enumerate(usable) for c in columns[:k]]
    return kept, [p for p, columns in enumerate(usable) if not columns]


# %% wrong: a block from a random start | idea: F31 | fails at: picks k of each prompt at random | points: 3
def select_random(finish_reasons, k, rng):
    kept, left_out = [], []
    for prompt in range(len(finish_reasons)):
        columns = columns_of(finish_reasons, prompt)
        start = int(rng.integers(max(1, len(columns))))
        kept += [(prompt, (columns * 2)[start + i]) for i in range(min(k, len(columns)))]
        left_out += [] if columns else [prompt]
    return kept, left_out


# %% wrong: among equals, one column too many | idea: F31 | fails at: breaks ties at random | points: 2
def select_best(rewards, finish_reasons, rng):
    kept, left_out = every(rewards, finish_reasons, 1, rng)
    for i, (prompt, column) in enumerate(kept):
        row = rewards[prompt]
        equal = [c for c in columns_of(finish_reasons, prompt) if row[c] == row[column]]
        if len(equal) > 1:
            kept[i] = prompt, min(equal) + int(rng.integers(len(equal) + 1))
    return kept, left_out


# %% wrong: cut ones set to 0 | idea: F25 | fails at: never keeps a cut response | points: 2
def select_best(rewards, finish_reasons, rng):
    checked(rewards)
    masked = np.where(finish_reasons == "eos", rewards, 0.0)
    kept = [(p, int(rng.choice(np.flatnonzero(row == row.max())))) for p, row in enumerate(masked)]
    lost = [p for p, row in enumerate(finish_reasons) if not (row == "eos").any()]
    return [pair for pair in kept if pair[0] not in lost], lost


# %% wrong: best cut, prompt dropped | idea: F25 | fails at: leaves a prompt with nothing left out | points: 2
def select_best(rewards, finish_reasons, rng):
    kept, lost = every(rewards, np.full(rewards.shape, "eos", dtype=object), 1, rng)
    good = [(p, c) for p, c in kept if finish_reasons[p][c] == "eos"]
    return good, lost + [p for p, c in kept if finish_reasons[p][c] != "eos"]


# %% wrong: how many were left out | fails at: returns pairs and the prompts left out | points: 2
def select_best(rewards, finish_reasons, rng):
    kept, lost = every(rewards, finish_reasons, 1, rng)
    return kept, len(lost)


# %% wrong: columns alone | fails at: returns pairs and the prompts left out | points: 2
def select_best(rewards, finish_reasons, rng):
    kept, lost = every(rewards, finish_reasons, 1, rng)
    return [c for _, c in kept], lost


# %% wrong: only cut NaN passes | idea: F32 | fails at: stops at a reward that is not finite | points: 2
def select_best(rewards, finish_reasons, rng):
    for p, row in enumerate(rewards):
        if not np.isfinite(row[finish_reasons[p] == "eos"]).all():
            raise ValueError(f"prompt {p} is broken")
    return every(np.where(finish_reasons == "eos", rewards, -1e9), finish_reasons, 1, rng)


# %% wrong: the pairs alone | fails at: returns pairs and the prompts left out | points: 2
def select_best(rewards, finish_reasons, rng):
    return every(rewards, finish_reasons, 1, rng)[0]


# %% wrong: near is tied | idea: blurred | fails at: keeps the highest reward of each prompt | points: 2
def select_best(rewards, finish_reasons, rng):
    return every(np.floor(np.asarray(rewards) * 10) / 10, finish_reasons, 1, rng)


# %% wrong: put back | idea: F04 | fails at: picks k of each prompt at random | points: 3
def select_random(finish_reasons, k, rng):
    kept, lost = [], []
    for prompt in range(len(finish_reasons)):
        columns = columns_of(finish_reasons, prompt)
        if columns:
            kept += [(prompt, int(c)) for c in rng.choice(columns, size=min(k, len(columns)))]
        else:
            lost.append(prompt)
    return kept, lost


# %% wrong: k in all | idea: F04 | fails at: picks k of each prompt at random | points: 3
def select_random(finish_reasons, k, rng):
    pairs = [(p, c) for p in range(len(finish_reasons)) for c in columns_of(finish_reasons, p)]
    lost = [p for p in range(len(finish_reasons)) if not columns_of(finish_reasons, p)]
    return [pairs[i] for i in rng.choice(len(pairs), size=min(k, len(pairs)), replace=False)], lost


# %% wrong: control draws cut | idea: F25 | fails at: leaves a prompt with nothing left out | points: 3
def select_random(finish_reasons, k, rng):
    kept = [(p, int(c)) for p, row in enumerate(finish_reasons) for c in rng.permutation(len(row))[:k]]
    return kept, []


# %% wrong: k lowest of the top | idea: F03 | fails at: keeps the k best of each prompt | points: 3
def select_top_k(rewards, finish_reasons, k, rng):
    kept, lost = every(-np.asarray(rewards), finish_reasons, k, rng)
    return kept, lost


def select_best(rewards, finish_reasons, rng):
    return every(rewards, finish_reasons, 1, rng)


# %% wrong: one row too many | idea: off by one | fails at: keeps the k best of each prompt | points: 3
def select_top_k(rewards, finish_reasons, k, rng):
    return every(rewards, finish_reasons, k + 1, rng)


def select_best(rewards, finish_reasons, rng):
    return every(rewards, finish_reasons, 1, rng)


# %% correct: the highest value, then rng.choice among its equals
def select_top_k(rewards, finish_reasons, k, rng):
    checked(rewards)
    kept, left_out = [], []
    for prompt in range(len(rewards)):
        left = columns_of(finish_reasons, prompt)
        if not left:
            left_out.append(prompt)
        for _ in range(min(k, len(left))):
            top = max(rewards[prompt][c] for c in left)
            left.remove(column := int(rng.choice([c for c in left if rewards[prompt][c] == top])))
            kept.append((prompt, column))
    return kept, left_out


# %% wrong: first best, then filter | idea: F25 | fails at: leaves a prompt with nothing left out | points: 2
def select_best(rewards, finish_reasons, rng):
    kept, _ = every(rewards, np.full(np.shape(rewards), "eos", dtype=object), 1, rng)
    whole = [(p, c) for p, c in kept if finish_reasons[p][c] == "eos"]
    return whole, [p for p, c in kept if finish_reasons[p][c] != "eos"]


# %% wrong: fewer than k: left out | idea: F25 | fails at: leaves a prompt with nothing left out | points: 3
def select_top_k(rewards, finish_reasons, k, rng):
    kept, _ = every(rewards, finish_reasons, k, rng)
    short = [p for p in range(len(rewards)) if len(columns_of(finish_reasons, p)) < k]
    return [(p, c) for p, c in kept if p not in short], short


# %% wrong: four whatever k is | idea: k | fails at: keeps the highest reward of each prompt | points: 1
def select_top_k(rewards, finish_reasons, k, rng):
    return every(rewards, finish_reasons, 4, rng)


# %% wrong: all of the last tie | idea: k | fails at: keeps the highest reward of each prompt | points: 1
def select_top_k(rewards, finish_reasons, k, rng):
    kept, left_out = every(rewards, finish_reasons, len(rewards[0]) if len(rewards) else k, rng)
    result = []
    for prompt in range(len(rewards)):
        row = [rewards[prompt][c] for p, c in kept if p == prompt]
        result += [(p, c) for p, c in kept if p == prompt and rewards[p][c] >= row[min(k, len(row)) - 1]]
    return result, left_out


# %% wrong: with putting back | idea: F04 | fails at: picks k of each prompt at random | points: 3
def select_random(finish_reasons, k, rng):
    kept, left_out = [], []
    for prompt in range(len(finish_reasons)):
        columns = columns_of(finish_reasons, prompt)
        if columns:
            kept += [(prompt, int(c)) for c in rng.choice(columns, size=min(k, len(columns)))]
        else:
            left_out.append(prompt)
    return kept, left_out


# %% wrong: six digits | idea: blurred | fails at: keeps the highest reward of each prompt | points: 2
def select_best(rewards, finish_reasons, rng):
    checked(rewards)
    return every(np.round(np.asarray(rewards, float), 6), finish_reasons, 1, rng)


# %% wrong: one order of columns for all | idea: one draw | fails at: breaks ties at random | points: 2
def select_best(rewards, finish_reasons, rng):
    checked(rewards)
    order = rng.permutation(len(rewards[0]))
    kept, left_out = [], []
    for prompt in range(len(rewards)):
        columns = [int(c) for c in order if finish_reasons[prompt][c] == "eos"]
        if columns:
            kept.append((prompt, max(columns, key=lambda c: rewards[prompt][c])))
        else:
            left_out.append(prompt)
    return kept, left_out


# %% wrong: nothing finished raises | idea: F25 | fails at: leaves a prompt with nothing left out | points: 2
def select_best(rewards, finish_reasons, rng):
    kept, left_out = every(rewards, finish_reasons, 1, rng)
    if left_out:
        raise ValueError(f"prompt {left_out[0]}: no response finished")
    return kept, left_out


# %% wrong: the first of none | idea: F25 | fails at: leaves a prompt with nothing left out | points: 3
def select_random(finish_reasons, k, rng):
    kept = []
    for prompt in range(len(finish_reasons)):
        columns = rng.permutation(columns_of(finish_reasons, prompt))
        kept += [(prompt, int(columns[0])), *((prompt, int(c)) for c in columns[1:k])]
    return kept, []
