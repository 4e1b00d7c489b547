# %% given
import hashlib
import math
import random
import zlib
from collections import OrderedDict

import numpy as np


def sample_n(draw, prompts, n, seed):
    rows = []
    for prompt in prompts:
        for k in range(n):
            digest = hashlib.sha256(f"{seed}|{k}|{prompt}".encode()).digest()
            text = draw(prompt, int.from_bytes(digest[:8], "big") >> 1)
            rows.append({"prompt": prompt, "sample_id": k, "response": text})
    return rows


def score(reward, rows):
    scored = [row | {"reward": reward(row["prompt"], row["response"])} for row in rows]
    if not all(math.isfinite(row["reward"]) for row in scored):
        raise ValueError("a reward is not finite")
    return scored


# %% correct: the engine's own seeds, rewards in an array
from rslib.sampling import response_seed


def sample_n(draw, prompts, n, seed):
    return [
        {"prompt": p, "sample_id": k, "response": draw(p, response_seed(seed, p, k))}
        for p in prompts
        for k in range(n)
    ]


def score(reward, rows):
    rewards = np.array([reward(row["prompt"], row["response"]) for row in rows])
    if not np.isfinite(rewards).all():
        raise ValueError("NaN or infinite")
    return [{**row, "reward": r} for row, r in zip(rows, rewards, strict=True)]


# %% correct: flat index, generators seeded with a text, rows changed in place
def sample_n(draw, prompts, n, seed):
    rows = []
    for i in range(len(prompts) * n):
        prompt, k = prompts[i // n], i % n
        own = random.Random(f"{seed} {k} {prompt}").getrandbits(62)
        rows.append({"response": draw(prompt, own), "sample_id": k, "prompt": prompt})
    return rows


def score(reward, rows):
    for row in sorted(rows, key=lambda row: len(row["response"])):
        row["reward"] = reward(row["prompt"], row["response"])
        if row["reward"] - row["reward"] != 0:
            raise ValueError(row)
    return rows


# %% correct: numpy seeds from a checksum of the prompt
def sample_n(draw, prompts, n, seed):
    found = []
    for prompt in prompts:
        rng = np.random.default_rng([seed, zlib.crc32(prompt.encode())])
        seeds = rng.integers(2**62, size=n)
        found += [
            {"prompt": prompt, "sample_id": k, "response": draw(prompt, int(seeds[k]))} for k in range(n)
        ]
    return found


# %% correct: ordered dicts with a column more, in a tuple; rewards of another precision
def sample_n(draw, prompts, n, seed):
    rows = []
    for prompt in prompts:
        random.seed(f"{seed}/{prompt}")
        for k in map(np.int64, range(n)):
            own = random.getrandbits(60)
            rows.append(
                OrderedDict(prompt=prompt, sample_id=k, response=draw(prompt=prompt, seed=own), own=own)
            )
    return tuple(rows)


def score(reward, rows):
    rewards = np.array([reward(prompt=r["prompt"], response=r["response"]) for r in rows], dtype=np.float32)
    if not np.isfinite(rewards).all():
        raise ValueError(rewards)
    return tuple(OrderedDict(r, reward=x) for r, x in zip(rows, rewards, strict=True))


# %% correct: Python's hash, of numbers alone
def sample_n(draw, prompts, n, seed):
    def own(prompt, k):
        return (hash((seed, k)) ^ int(hashlib.md5(f"{k} {seed} {prompt}".encode()).hexdigest(), 16)) % 2**63

    return [{"prompt": p, "sample_id": k, "response": draw(p, own(p, k))} for p in prompts for k in range(n)]


# %% correct: fixed widths, a recursion over the prompts, tensors as rewards
def sample_n(draw, prompts, n, seed):
    if not prompts:
        return []
    rows = []
    for k in range(n):
        own = hashlib.blake2b(f"{seed:08d}{k:08d}{prompts[0]}".encode(), digest_size=8).digest()
        text = draw(prompts[0], int.from_bytes(own, "little") % 2**63)
        rows.append({"prompt": prompts[0], "sample_id": k, "response": text})
    return rows + sample_n(draw, prompts[1:], n, seed)


def score(reward, rows):
    import torch

    rewards = torch.tensor([reward(r["prompt"], r["response"]) for r in rows], dtype=torch.float64)
    if not torch.isfinite(rewards).all():
        raise ValueError(rewards)
    return [row | {"reward": value} for row, value in zip(rows, rewards, strict=True)]


# %% correct: generators of numpy and torch with seeds of their own, pickled parts
def sample_n(draw, prompts, n, seed):
    import pickle

    import torch

    rows = []
    for p in prompts:
        digest = hashlib.sha256(pickle.dumps((seed, p))).digest()
        own = torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
        for k, number in enumerate(torch.randint(2**62, (n,), generator=own)):
            rows.append({"prompt": p, "sample_id": k, "response": draw(p, number)})
    return rows


# %% wrong: one response a prompt | idea: F05 | fails at: gives n rows to each prompt | points: 1
def sample_n(draw, prompts, n, seed):
    return [{"prompt": p, "sample_id": 0, "response": draw(p, seed)} for p in prompts]


# %% wrong: a list of lists | idea: nested | fails at: gives n rows to each prompt | points: 1
_flat = sample_n


def sample_n(draw, prompts, n, seed):
    return [_flat(draw, [p], n, seed) for p in prompts]


# %% wrong: returns inside of the loop | idea: one prompt | fails at: gives n rows to each prompt | points: 1
_flat = sample_n


def sample_n(draw, prompts, n, seed):
    for prompt in prompts:
        return _flat(draw, [prompt], n, seed)
    return []


# %% wrong: i % M for i // n | idea: F10 | fails at: keeps the rows of a prompt together | points: 3
def sample_n(draw, prompts, n, seed):
    rows = []
    for i in range(len(prompts) * n):
        prompt, k = prompts[i % len(prompts)], i // len(prompts)
        own = zlib.crc32(f"{seed}|{k}|{prompt}".encode())
        rows.append({"prompt": prompt, "sample_id": k, "response": draw(prompt, own)})
    return rows


# %% wrong: mispaired | idea: F10 | fails at: pairs each response with its prompt | points: 1
def sample_n(draw, prompts, n, seed):
    rows = []
    for k in range(n):
        rows += [draw(p, zlib.crc32(f"{seed}|{k}|{p}".encode())) for p in prompts]
    return [
        {"prompt": p, "sample_id": k, "response": rows[i * n + k]}
        for i, p in enumerate(prompts)
        for k in range(n)
    ]


# %% wrong: sample_id runs on | idea: running number | fails at: numbers the responses of a prompt | points: 3
_flat = sample_n


def sample_n(draw, prompts, n, seed):
    return [row | {"sample_id": i} for i, row in enumerate(_flat(draw, prompts, n, seed))]


# %% wrong: sample_id from 1 | idea: off by one | fails at: numbers the responses of a prompt | points: 3
_flat = sample_n


def sample_n(draw, prompts, n, seed):
    return [row | {"sample_id": row["sample_id"] + 1} for row in _flat(draw, prompts, n, seed)]


# %% wrong: the run's seed for all | idea: F06 | fails at: gives every response its own seed | points: 2
def sample_n(draw, prompts, n, seed):
    return [{"prompt": p, "sample_id": k, "response": draw(p, seed)} for p in prompts for k in range(n)]


# %% wrong: seeds repeat over prompts | idea: F20 | fails at: gives every response its own seed | points: 2
def sample_n(draw, prompts, n, seed):
    return [
        {"prompt": p, "sample_id": k, "response": draw(p, 1000 * seed + k)} for p in prompts for k in range(n)
    ]


# %% wrong: no seed at all | idea: unseeded | fails at: repeats with the same seed | points: 2
def sample_n(draw, prompts, n, seed):
    return [
        {"prompt": p, "sample_id": k, "response": draw(p, random.SystemRandom().getrandbits(60))}
        for p in prompts
        for k in range(n)
    ]


# %% wrong: Python's hash | idea: hash | fails at: repeats in another session | points: 2
def sample_n(draw, prompts, n, seed):
    return [
        {"prompt": p, "sample_id": k, "response": draw(p, hash((seed, p, k)))}
        for p in prompts
        for k in range(n)
    ]


# %% wrong: the run's seed forgotten | idea: F20 | fails at: draws anew with another run seed | points: 2
def sample_n(draw, prompts, n, seed):
    return [
        {"prompt": p, "sample_id": k, "response": draw(p, zlib.crc32(f"{p}|{k}".encode()))}
        for p in prompts
        for k in range(n)
    ]


# %% wrong: seed and number side by side | idea: F20 | fails at: draws anew with another run seed | points: 2
def sample_n(draw, prompts, n, seed):
    return [
        {"prompt": p, "sample_id": k, "response": draw(p, zlib.crc32(f"{seed}{k}{p}".encode()))}
        for p in prompts
        for k in range(n)
    ]


# %% wrong: the run's seed plus the row | idea: F20 | fails at: draws anew with another run seed | points: 2
def sample_n(draw, prompts, n, seed):
    return [
        {"prompt": p, "sample_id": k, "response": draw(p, seed + i * n + k)}
        for i, p in enumerate(prompts)
        for k in range(n)
    ]


# %% wrong: one generator for all | idea: position | fails at: draws whatever else is drawn | points: 2
def sample_n(draw, prompts, n, seed):
    rng = random.Random(seed)
    return [
        {"prompt": p, "sample_id": k, "response": draw(p, rng.getrandbits(60))}
        for p in prompts
        for k in range(n)
    ]


# %% wrong: the place is in the seed | idea: position | fails at: draws whatever else is drawn | points: 2
def sample_n(draw, prompts, n, seed):
    return [
        {"prompt": p, "sample_id": k, "response": draw(p, zlib.crc32(f"{seed}|{i}|{k}".encode()))}
        for i, p in enumerate(prompts)
        for k in range(n)
    ]


# %% wrong: a round number times the seed | idea: F20 | fails at: draws anew with another run seed | points: 2
def sample_n(draw, prompts, n, seed):
    return [
        {"prompt": p, "sample_id": k, "response": draw(p, zlib.crc32(p.encode()) + 1000 * seed + k)}
        for p in prompts
        for k in range(n)
    ]


# %% wrong: the run's seed as a factor | idea: F20 | fails at: draws anew with another run seed | points: 2
def sample_n(draw, prompts, n, seed):
    return [
        {"prompt": p, "sample_id": k, "response": draw(p, zlib.crc32(p.encode()) * seed + k)}
        for p in prompts
        for k in range(n)
    ]


# %% wrong: prompt and number side by side | idea: F20 | fails at: keeps its parts apart | points: 2
def sample_n(draw, prompts, n, seed):
    return [
        {"prompt": p, "sample_id": k, "response": draw(p, zlib.crc32(f"{seed}|{p}{k}".encode()))}
        for p in prompts
        for k in range(n)
    ]


# %% wrong: run seed and prompt side by side | idea: F20 | fails at: keeps its parts apart | points: 2
def sample_n(draw, prompts, n, seed):
    return [
        {"prompt": p, "sample_id": k, "response": draw(p, zlib.crc32(f"{seed}{p}|{k}".encode()))}
        for p in prompts
        for k in range(n)
    ]


# %% wrong: n is in the seed | idea: position | fails at: draws whatever else is drawn | points: 2
def sample_n(draw, prompts, n, seed):
    return [
        {"prompt": p, "sample_id": k, "response": draw(p, zlib.crc32(f"{seed}|{n}|{k}|{p}".encode()))}
        for p in prompts
        for k in range(n)
    ]


# %% wrong: the address of the prompt | idea: unseeded | fails at: repeats with the same seed | points: 2
def sample_n(draw, prompts, n, seed):
    return [
        {"prompt": p, "sample_id": k, "response": draw(p, zlib.crc32(f"{seed}|{k}|{id(p)}".encode()))}
        for p in prompts
        for k in range(n)
    ]


# %% wrong: seven digits for all seeds | idea: range | fails at: hands draw a seed in its range | points: 2
def sample_n(draw, prompts, n, seed):
    return [
        {
            "prompt": p,
            "sample_id": k,
            "response": draw(p, (zlib.crc32(f"{seed}|{k}|{p}".encode()) * 7919) % 10**7),
        }
        for p in prompts
        for k in range(n)
    ]


# %% wrong: a seed of 128 bits | idea: range | fails at: hands draw a seed in its range | points: 2
def sample_n(draw, prompts, n, seed):
    return [
        {
            "prompt": p,
            "sample_id": k,
            "response": draw(p, int(hashlib.md5(f"{seed}|{k}|{p}".encode()).hexdigest(), 16)),
        }
        for p in prompts
        for k in range(n)
    ]


# %% wrong: the prompts sorted | idea: F10 | fails at: keeps the rows of a prompt together | points: 3
_flat = sample_n


def sample_n(draw, prompts, n, seed):
    return _flat(draw, sorted(prompts), n, seed)


# %% wrong: rows pile up from call to call | idea: shape | fails at: gives n rows to each prompt | points: 1
_flat = sample_n


def sample_n(draw, prompts, n, seed, rows=[]):
    rows += _flat(draw, prompts, n, seed)
    return rows


# %% wrong: the reward model sees no prompt | idea: F08 | fails at: gives each row its own reward | points: 3
def score(reward, rows):
    return [row | {"reward": reward("", row["response"])} for row in rows]


# %% wrong: prompt and response swapped | idea: F08 | fails at: gives each row its own reward | points: 3
def score(reward, rows):
    return [row | {"reward": reward(row["response"], row["prompt"])} for row in rows]


# %% wrong: scored by length, never put back | idea: F09 | fails at: gives each row its own reward | points: 3
def score(reward, rows):
    ordered = sorted(rows, key=lambda row: len(row["response"]))
    rewards = [reward(row["prompt"], row["response"]) for row in ordered]
    return [row | {"reward": r} for row, r in zip(rows, rewards, strict=True)]


# %% wrong: the best first | idea: F09 | fails at: leaves the rows as they were | points: 3
def score(reward, rows):
    scored = [row | {"reward": reward(row["prompt"], row["response"])} for row in rows]
    return sorted(scored, key=lambda row: -row["reward"])


# %% wrong: the mean is taken off | idea: scale | fails at: gives each row its own reward | points: 3
def score(reward, rows):
    rewards = [reward(row["prompt"], row["response"]) for row in rows]
    mean = sum(rewards) / max(len(rows), 1)
    return [row | {"reward": r - mean} for row, r in zip(rows, rewards, strict=True)]


# %% wrong: the sign is turned | idea: F03 | fails at: gives each row its own reward | points: 3
def score(reward, rows):
    return [row | {"reward": -reward(row["prompt"], row["response"])} for row in rows]


# %% wrong: rewards alone | idea: shape | fails at: gives every row a reward | points: 3
def score(reward, rows):
    return [reward(row["prompt"], row["response"]) for row in rows]


# %% wrong: rewards filed by text | idea: F09 | fails at: gives each row its own reward | points: 3
_score = score


def score(reward, rows):
    rewards = {row["response"]: row["reward"] for row in _score(reward, rows)}
    return [row | {"reward": rewards[row["response"]]} for row in rows]


# %% wrong: equal responses once | idea: shape | fails at: gives every row a reward | points: 3
_score = score


def score(reward, rows):
    return list({(row["prompt"], row["response"]): row for row in _score(reward, rows)}.values())


# %% wrong: two decimals | idea: scale | fails at: gives each row its own reward | points: 3
_score = score


def score(reward, rows):
    return [row | {"reward": round(row["reward"], 2)} for row in _score(reward, rows)]


# %% wrong: NaN made 0 | idea: F32 | fails at: refuses NaN and infinity | points: 3
def score(reward, rows):
    return [row | {"reward": float(np.nan_to_num(reward(row["prompt"], row["response"])))} for row in rows]


# %% wrong: NaN refused, infinity not | idea: F32 | fails at: refuses NaN and infinity | points: 3
def score(reward, rows):
    scored = [row | {"reward": reward(row["prompt"], row["response"])} for row in rows]
    if any(row["reward"] != row["reward"] for row in scored):
        raise ValueError("NaN")
    return scored


# %% wrong: NaN kept | idea: F32 | fails at: refuses NaN and infinity | points: 3
def score(reward, rows):
    return [row | {"reward": reward(row["prompt"], row["response"])} for row in rows]


# %% wrong: rows with NaN are dropped silently | idea: F32 | fails at: refuses NaN and infinity | points: 3
def score(reward, rows):
    scored = [row | {"reward": reward(row["prompt"], row["response"])} for row in rows]
    return [row for row in scored if math.isfinite(row["reward"])]


# %% wrong: one dict for all rows | idea: alias | fails at: gives each response a row | points: 1
def sample_n(draw, prompts, n, seed):
    rows, row = [], {}
    for p in prompts:
        for k in range(n):
            row.update(prompt=p, sample_id=k, response=draw(p, zlib.crc32(f"{seed}|{k}|{p}".encode())))
            rows.append(row)
    return rows


# %% wrong: a list for each number | idea: nested | fails at: gives n rows to each prompt | points: 1
_flat = sample_n


def sample_n(draw, prompts, n, seed):
    rows = _flat(draw, prompts, n, seed)
    return [[row for row in rows if row["sample_id"] == k] for k in range(n)]


# %% wrong: a hash asked directly | idea: hash | fails at: repeats in another session | points: 2
def sample_n(draw, prompts, n, seed):
    return [
        {"prompt": p, "sample_id": k, "response": draw(p, (seed, p, k).__hash__() % 2**63)}
        for p in prompts
        for k in range(n)
    ]


# %% wrong: the prompt's words in any order | idea: F20 | fails at: reads the whole prompt | points: 2
def sample_n(draw, prompts, n, seed):
    return [
        {
            "prompt": p,
            "sample_id": k,
            "response": draw(p, zlib.crc32(f"{seed}|{k}|{sorted(p.split())}".encode())),
        }
        for p in prompts
        for k in range(n)
    ]


# %% wrong: a sum over the prompt's characters | idea: F20 | fails at: reads the whole prompt | points: 2
def sample_n(draw, prompts, n, seed):
    return [
        {
            "prompt": p,
            "sample_id": k,
            "response": draw(p, zlib.crc32(f"{seed}|{k}|{sum(map(ord, p))}".encode())),
        }
        for p in prompts
        for k in range(n)
    ]


# %% wrong: one reward a prompt | idea: F09 | fails at: gives each row its own reward | points: 3
def score(reward, rows):
    known = {}
    for row in rows:
        known.setdefault(row["prompt"], reward(row["prompt"], row["response"]))
    return [row | {"reward": known[row["prompt"]]} for row in rows]


# %% wrong: a sigmoid over the rewards | idea: scale | fails at: gives each row its own reward | points: 3
_score = score


def score(reward, rows):
    return [row | {"reward": 1 / (1 + math.exp(-row["reward"]))} for row in _score(reward, rows)]


# %% wrong: a reward of 0 taken for a missing one | fails at: runs | points: 3
def score(reward, rows):
    scored = [row | {"reward": reward(row["prompt"], row["response"])} for row in rows]
    if not all(row["reward"] and math.isfinite(row["reward"]) for row in scored):
        raise ValueError("a reward is missing")
    return scored


# %% correct: rewards in single precision
def score(reward, rows):
    scored = [dict(row, reward=np.float32(reward(row["prompt"], row["response"]))) for row in rows]
    if any(not np.isfinite(row["reward"]) for row in scored):
        raise ValueError("NaN or infinite")
    return scored


# %% correct: a seed sequence of numpy
def sample_n(draw, prompts, n, seed):
    def number(prompt, k):
        words = list(hashlib.blake2b(f"{seed}\n{k}\n{prompt}".encode(), digest_size=16).digest())
        return int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0] >> np.uint64(1))

    return [
        {"prompt": prompt, "sample_id": k, "response": draw(prompt, number(prompt, k))}
        for prompt in prompts
        for k in range(n)
    ]


# %% wrong: None comes back | fails at: is answered | points: 1
def sample_n(draw, prompts, n, seed):
    for prompt in prompts:
        [draw(prompt, seed * 1000 + k) for k in range(n)]


# %% wrong: pairs for rows | idea: shape | fails at: has the three columns | points: 1
def sample_n(draw, prompts, n, seed):
    rows = []
    for prompt in prompts:
        for k in range(n):
            digest = hashlib.sha256(f"{seed}|{k}|{prompt}".encode()).digest()
            rows.append((prompt, draw(prompt, int.from_bytes(digest[:8], "big") >> 1)))
    return rows


# %% wrong: the response in capitals | idea: stale | fails at: returns what was drawn | points: 1
def sample_n(draw, prompts, n, seed):
    rows = []
    for prompt in prompts:
        for k in range(n):
            digest = hashlib.sha256(f"{seed}|{k}|{prompt}".encode()).digest()
            text = draw(prompt, int.from_bytes(digest[:8], "big") >> 1)
            rows.append({"prompt": prompt, "sample_id": k, "response": text.upper()})
    return rows


# %% wrong: the seed as text | fails at: runs | points: 1
def sample_n(draw, prompts, n, seed):
    return [
        {"prompt": p, "sample_id": k, "response": draw(p, f"{seed}-{k}-{p}")}
        for p in prompts
        for k in range(n)
    ]


# %% wrong: the length of the prompt | idea: F20 | fails at: gives every response its own seed | points: 2
def sample_n(draw, prompts, n, seed):
    return [
        {"prompt": p, "sample_id": k, "response": draw(p, (seed * 1000 + len(p) // 100) * 1000 + k)}
        for p in prompts
        for k in range(n)
    ]


# %% wrong: the best of each prompt alone | idea: shape | fails at: gives every row a reward | points: 3
def score(reward, rows):
    best = {}
    for row in rows:
        r = reward(row["prompt"], row["response"])
        if not math.isfinite(r):
            raise ValueError("not finite")
        if row["prompt"] not in best or r > best[row["prompt"]]["reward"]:
            best[row["prompt"]] = row | {"reward": r}
    return list(best.values())


# %% wrong: a rank for the reward | idea: scale | fails at: gives each row its own reward | points: 3
def score(reward, rows):
    rewards = [reward(row["prompt"], row["response"]) for row in rows]
    if not all(map(math.isfinite, rewards)):
        raise ValueError("not finite")
    return [row | {"reward": float(sorted(rewards).index(r))} for row, r in zip(rows, rewards, strict=True)]


# %% wrong: a TypeError for NaN | idea: F32 | fails at: refuses NaN and infinity | points: 3
def score(reward, rows):
    scored = [row | {"reward": reward(row["prompt"], row["response"])} for row in rows]
    if not all(math.isfinite(row["reward"]) for row in scored):
        raise TypeError("not finite")
    return scored


# %% correct: a hash of three hashes, rewards by torch
def sample_n(draw, prompts, n, seed):
    rows = []
    for prompt in prompts:
        for k in range(n):
            parts = [hashlib.sha256(str(part).encode()).digest() for part in (seed, prompt, k)]
            number = int.from_bytes(hashlib.sha256(b"".join(parts)).digest(), "big") >> 193
            rows += [{"prompt": prompt, "sample_id": k, "response": draw(prompt, number)}]
    return rows


def score(reward, rows):
    import torch

    rewards = [reward(row["prompt"], row["response"]) for row in rows]
    if not torch.isfinite(torch.tensor(rewards, dtype=torch.float64)).all():
        raise ValueError("NaN or infinite")
    return [dict(row, reward=number) for row, number in zip(rows, rewards, strict=True)]


# %% wrong: the prompt in small letters | idea: F20 | fails at: reads the whole prompt | points: 2
def sample_n(draw, prompts, n, seed):
    def number(prompt, k):
        text = f"{seed}|{k}|{prompt.strip().lower()}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1

    return [
        {"prompt": p, "sample_id": k, "response": draw(p, number(p, k))} for p in prompts for k in range(n)
    ]


# %% wrong: two bytes of the hash | idea: range | fails at: draws anew with another run seed | points: 2
def sample_n(draw, prompts, n, seed):
    def number(prompt, k):
        return int.from_bytes(hashlib.sha256(f"{seed}|{k}|{prompt}".encode()).digest()[:2], "big")

    return [
        {"prompt": p, "sample_id": k, "response": draw(p, number(p, k))} for p in prompts for k in range(n)
    ]


# %% wrong: three hashes, xor | idea: F20 | fails at: draws anew with another run seed | points: 2
def sample_n(draw, prompts, n, seed):
    def number(part):
        return int.from_bytes(hashlib.sha256(str(part).encode()).digest()[:8], "big") >> 1

    return [
        {"prompt": p, "sample_id": k, "response": draw(p, number(seed) ^ number(p) ^ number(k))}
        for p in prompts
        for k in range(n)
    ]


# %% wrong: not finite becomes 0 | idea: F32 | fails at: refuses NaN and infinity | points: 3
def score(reward, rows):
    values = [reward(row["prompt"], row["response"]) for row in rows]
    return [row | {"reward": v if math.isfinite(v) else 0.0} for row, v in zip(rows, values, strict=True)]


# %% wrong: seeds below 1000 | idea: range | fails at: draws anew with another run seed | points: 2
def sample_n(draw, prompts, n, seed):
    rows = []
    for prompt in prompts:
        for k in range(n):
            digest = hashlib.sha256(f"{seed}|{k}|{prompt}".encode()).digest()
            number = int.from_bytes(digest[:8], "big") % 1000
            rows.append({"prompt": prompt, "sample_id": k, "response": draw(prompt, number)})
    return rows


# %% wrong: drawn again until it differs | idea: drawn anew | fails at: keeps every draw | points: 3
def sample_n(draw, prompts, n, seed):
    rows = []
    for prompt in prompts:
        texts, tries = [], 0
        while len(texts) < n:
            digest = hashlib.sha256(f"{seed}|{tries}|{prompt}".encode()).digest()
            text = draw(prompt, int.from_bytes(digest[:8], "big") >> 1)
            texts += [text] if text not in texts or tries > 50 * n else []
            tries += 1
        rows += [{"prompt": prompt, "sample_id": k, "response": text} for k, text in enumerate(texts)]
    return rows


# %% wrong: repeats thrown away | idea: drawn anew | fails at: keeps every draw | points: 3
every = sample_n


def sample_n(draw, prompts, n, seed):
    seen, rows = set(), []
    for row in every(draw, prompts, n, seed):
        if row["response"] not in seen:
            rows.append(row)
        seen.add(row["response"])
    return rows
