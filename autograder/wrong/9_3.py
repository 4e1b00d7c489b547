# %% given
import numpy as np


# %% correct: a set for each problem
def keep(prompt_ids, rewards, paths, most):
    seen, rows = {}, []
    for row, (problem, reward, path) in enumerate(zip(prompt_ids, rewards, paths)):
        known = seen.setdefault(problem, set())
        if reward == 1 and path not in known and len(known) < most:
            known.add(path)
            rows.append(row)
    return rows


# %% correct: a dictionary of first rows, then the limit
def keep(prompt_ids, rewards, paths, most):
    first = {}
    for row in range(len(rewards)):
        if rewards[row] > 0.5:
            first.setdefault((prompt_ids[row], paths[row]), row)
    kept = []
    for problem in dict.fromkeys(prompt_ids):
        kept += [row for (p, _), row in first.items() if p == problem][:most]
    return sorted(kept)


# %% correct: an array, with loops over problems
def keep(prompt_ids, rewards, paths, most):
    ids, rewards = np.array(prompt_ids), np.array(rewards, dtype=np.float32)
    kept = []
    for problem in np.unique(ids):
        known = []
        for row in np.flatnonzero((ids == problem) & (rewards == 1)):
            if paths[row] not in known and len(known) < most:
                known.append(paths[row])
                kept.append(row)
    return np.array(sorted(kept), dtype=int)


# %% wrong: a mask of booleans | idea: rows | fails at: keeps what is worth it
def keep(prompt_ids, rewards, paths, most):
    mask = np.zeros(len(rewards), dtype=bool)
    for row in range(len(rewards)):
        mine = [r for r in range(row) if mask[r] and prompt_ids[r] == prompt_ids[row]]
        new = all(paths[r] != paths[row] for r in mine)
        mask[row] = bool(rewards[row]) and new and len(mine) < most
    return mask


# %% correct: pandas
def keep(prompt_ids, rewards, paths, most):
    import pandas as pd

    table = pd.DataFrame({"id": prompt_ids, "reward": rewards, "path": [repr(p) for p in paths]})
    right = table[table.reward == 1].drop_duplicates(["id", "path"])
    return right.groupby("id", sort=False).head(most).index.tolist()


# %% wrong: every row of a new path | idea: F04 | fails at: keeps what is worth it
def keep(prompt_ids, rewards, paths, most):
    seen, rows = {}, []
    for row, (problem, path) in enumerate(zip(prompt_ids, paths)):
        known = seen.setdefault(problem, set())
        if path not in known and len(known) < most:
            known.add(path)
            rows.append(row)
    return rows


# %% wrong: what was refused | idea: F03 | fails at: keeps what is worth it
def keep(prompt_ids, rewards, paths, most):
    seen, rows = {}, []
    for row, (problem, reward, path) in enumerate(zip(prompt_ids, rewards, paths)):
        known = seen.setdefault(problem, set())
        if not reward and path not in known and len(known) < most:
            known.add(path)
            rows.append(row)
    return rows


# %% wrong: repeats stay | idea: F29 | fails at: keeps what is worth it
def keep(prompt_ids, rewards, paths, most):
    count, rows = {}, []
    for row, (problem, reward) in enumerate(zip(prompt_ids, rewards)):
        if reward and count.get(problem, 0) < most:
            count[problem] = count.get(problem, 0) + 1
            rows.append(row)
    return rows


# %% wrong: one set of paths for all problems | idea: across problems | fails at: keeps what is worth it
def keep(prompt_ids, rewards, paths, most):
    seen, count, rows = set(), {}, []
    for row, (problem, reward, path) in enumerate(zip(prompt_ids, rewards, paths)):
        if reward and path not in seen and count.get(problem, 0) < most:
            seen.add(path)
            count[problem] = count.get(problem, 0) + 1
            rows.append(row)
    return rows


# %% wrong: refused paths count as seen | idea: refused first | fails at: keeps what is worth it
def keep(prompt_ids, rewards, paths, most):
    seen, rows = set(), []
    for row, (problem, reward, path) in enumerate(zip(prompt_ids, rewards, paths)):
        if reward and (problem, path) not in seen:
            rows.append(row)
        seen.add((problem, path))
    return rows


# %% wrong: one of each problem | idea: one each | fails at: keeps what is worth it
def keep(prompt_ids, rewards, paths, most):
    first = {}
    for row, (problem, reward) in enumerate(zip(prompt_ids, rewards)):
        if reward:
            first.setdefault(problem, row)
    return list(first.values())


# %% wrong: no limit | idea: no limit | fails at: keeps what is worth it
def keep(prompt_ids, rewards, paths, most):
    first = {}
    for row, (problem, reward, path) in enumerate(zip(prompt_ids, rewards, paths)):
        if reward:
            first.setdefault((problem, path), row)
    return list(first.values())


# %% wrong: the limit of the whole table | idea: limit of all | fails at: keeps what is worth it
def keep(prompt_ids, rewards, paths, most):
    first = {}
    for row, (problem, reward, path) in enumerate(zip(prompt_ids, rewards, paths)):
        if reward:
            first.setdefault((problem, path), row)
    return list(first.values())[:most]


# %% wrong: the limit before the repeats go | idea: limit on responses | fails at: keeps what is worth it
def keep(prompt_ids, rewards, paths, most):
    count, first = {}, {}
    for row, (problem, reward, path) in enumerate(zip(prompt_ids, rewards, paths)):
        if reward and count.get(problem, 0) < most:
            count[problem] = count.get(problem, 0) + 1
            first.setdefault((problem, path), row)
    return list(first.values())


# %% wrong: nothing right raises | fails at: runs
def keep(prompt_ids, rewards, paths, most):
    kept = []
    for problem in dict.fromkeys(prompt_ids):
        right = [r for r in range(len(rewards)) if prompt_ids[r] == problem and rewards[r]]
        first = {}
        for row in right:
            first.setdefault(paths[row], row)
        kept += list(first.values())[:most]
    return sorted(kept) if kept else max(kept)


# %% wrong: refused paths count, within the limit | idea: refused first | fails at: keeps what is worth it
def keep(prompt_ids, rewards, paths, most):
    seen, count, rows = set(), {}, []
    for row, (problem, reward, path) in enumerate(zip(prompt_ids, rewards, paths)):
        new = (problem, path) not in seen
        seen.add((problem, path))
        if reward == 1 and new and count.get(problem, 0) < most:
            count[problem] = count.get(problem, 0) + 1
            rows.append(row)
    return rows


# %% wrong: equations in any order | idea: in any order | fails at: keeps what is worth it
def keep(prompt_ids, rewards, paths, most):
    kept = {}
    for row, (problem, reward, path) in enumerate(zip(prompt_ids, rewards, paths)):
        mine = kept.setdefault(problem, {})
        if reward == 1 and len(mine) < most:
            mine.setdefault(frozenset(path), row)
    return sorted(row for mine in kept.values() for row in mine.values())


# %% wrong: one more than most | idea: no limit | fails at: keeps what is worth it
def keep(prompt_ids, rewards, paths, most):
    kept = {}
    for row, (problem, reward, path) in enumerate(zip(prompt_ids, rewards, paths)):
        mine = kept.setdefault(problem, {})
        if reward == 1 and len(mine) <= most:
            mine.setdefault(path, row)
    return sorted(row for mine in kept.values() for row in mine.values())


# %% wrong: the later ones | idea: later first | fails at: keeps what is worth it
def keep(prompt_ids, rewards, paths, most):
    kept = {}
    for row in reversed(range(len(rewards))):
        mine = kept.setdefault(prompt_ids[row], {})
        if rewards[row] == 1 and len(mine) < most:
            mine.setdefault(paths[row], row)
    return sorted(row for mine in kept.values() for row in mine.values())


# %% wrong: problems that stand together | idea: neighbours | fails at: keeps what is worth it
def keep(prompt_ids, rewards, paths, most):
    rows, now, seen = [], None, set()
    for row, (problem, reward, path) in enumerate(zip(prompt_ids, rewards, paths)):
        now, seen = problem, seen if problem == now else set()
        if reward == 1 and path not in seen and len(seen) < most:
            seen.add(path)
            rows.append(row)
    return rows


# %% wrong: the paths themselves | idea: rows | fails at: keeps what is worth it
def keep(prompt_ids, rewards, paths, most):
    return [path for path, reward in zip(paths, rewards) if reward == 1]


# %% wrong: the shortest paths | idea: later first | fails at: keeps what is worth it
def keep(prompt_ids, rewards, paths, most):
    first = {}
    for row, (problem, reward, path) in enumerate(zip(prompt_ids, rewards, paths)):
        if reward == 1:
            first.setdefault(problem, {}).setdefault(path, row)
    return [row for seen in first.values() for _, row in sorted(seen.items(), key=lambda x: len(x[0]))[:most]]


# %% wrong: a later response takes a path over | idea: later first | fails at: keeps what is worth it
def keep(prompt_ids, rewards, paths, most):
    last = {(p, path): row for row, (p, path) in enumerate(zip(prompt_ids, paths)) if rewards[row] == 1}
    count, rows = {}, []
    for (problem, _), row in last.items():
        count[problem] = count.get(problem, 0) + 1
        if count[problem] <= most:
            rows.append(row)
    return sorted(rows)
