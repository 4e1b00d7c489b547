"""Hints are run as code: an answer that does what the hint says, and no more, gets all points."""

import hashlib
import math
from pathlib import Path

import numpy as np
import pytest

from autograder import exercises
from autograder.build.release import read, scripts
from autograder.exercise import Variant
from autograder.verdict import grade
from autograder.work import Work


def hint(exercise: str) -> str:
    """The text of an exercise's hint."""
    [script] = [path for path in scripts() if path.stem[:2] == exercises.find(exercise).notebook]
    cells = [cell.source for cell in read(script) if cell.kind == "markdown"]
    at = next(n for n, cell in enumerate(cells) if f"{{{{card:{exercise}}}}}" in cell)
    return " ".join(next(cell for cell in cells[at:] if "<summary>Hint" in cell).split())


def points_short(exercise: str, tmp_path: Path, **names) -> float:
    found = exercises.find(exercise)
    verdict = grade(found, Work(names, Variant("", "", exercise), tmp_path), 11)
    return verdict.out_of - verdict.points


def test_the_hint_of_1_3_makes_seeds_and_rewarded_rows(tmp_path):
    text = hint("1.3")
    for words in (
        "sha256(text.encode()).digest()",
        'int.from_bytes(digest[:8], "big") >> 1',
        'row | {"reward": r}',
    ):
        assert words in text

    def sample_n(draw, prompts, n, seed):
        rows = []
        for prompt in prompts:
            for sample_id in range(n):
                text = f"{seed}/{sample_id}/{prompt}"
                digest = hashlib.sha256(text.encode()).digest()
                response = draw(prompt, int.from_bytes(digest[:8], "big") >> 1)
                rows.append({"prompt": prompt, "sample_id": sample_id, "response": response})
        return rows

    def score(reward, rows):
        scored = []
        for row in rows:
            r = reward(row["prompt"], row["response"])
            if not math.isfinite(r):
                raise ValueError("not finite")
            scored.append(row | {"reward": r})
        return scored

    assert points_short("1.3", tmp_path, sample_n=sample_n, score=score) == 0


def test_the_hint_of_2_2_is_true_of_float32(tmp_path):
    torch = pytest.importorskip("torch")
    assert "In float32 the sigmoid of -300 is exactly 0" in hint("2.2")
    assert float(torch.sigmoid(torch.tensor(-300.0))) == 0.0

    def bt_loss(chosen, rejected):
        if chosen.shape != rejected.shape or not len(chosen):
            raise ValueError("no pairs")
        return -torch.nn.functional.logsigmoid(chosen - rejected).mean()

    def pair_accuracy(chosen, rejected):
        if not len(chosen) or (chosen != chosen).any() or (rejected != rejected).any():
            raise ValueError("NaN does not equal itself")
        return ((chosen > rejected) + 0.5 * (chosen == rejected)).mean()

    assert points_short("2.2", tmp_path, bt_loss=bt_loss, pair_accuracy=pair_accuracy) == 0


def test_the_hint_of_2_4_tries_one_pair_after_another(tmp_path):
    assert "For three of three the lower end is 0.44" in hint("2.4")

    def gate(accuracy, pairs, floor=0.6):
        z = 1.96
        half = z * math.sqrt(accuracy * (1 - accuracy) / pairs + z**2 / (4 * pairs**2))
        lower = (accuracy + z**2 / (2 * pairs) - half) / (1 + z**2 / pairs)
        return lower, lower > floor

    def pairs_needed(accuracy, floor=0.6):
        if accuracy <= floor:
            raise ValueError("never")
        n = 1
        while not gate(accuracy, n, floor)[1]:
            n += 1
        return n

    assert round(gate(1.0, 3)[0], 2) == 0.44
    assert points_short("2.4", tmp_path, gate=gate, pairs_needed=pairs_needed) == 0


def test_the_hint_of_3_1_copes_with_two_thousand_scores(tmp_path):
    quotient = "math.comb(k - 1, n - 1) / math.comb(N, n)"
    assert quotient in hint("3.1")
    with pytest.raises(OverflowError):  # what the hint warns of
        0.5 * math.comb(2000, 600)

    def best_of_n_mean(scores, n, values=None):
        values = scores if values is None else values
        N = len(scores)
        if not 1 <= n <= N or any(x != x for x in (*scores, *values)):
            raise ValueError("no such n, or NaN")
        tied = {
            s: [v for t, v in zip(scores, values, strict=True) if t == s] for s in set(map(float, scores))
        }
        shared = [sum(tied[s]) / len(tied[s]) for s in sorted(map(float, scores))]
        return sum(
            eval(quotient, {"math": math, "k": k, "n": n, "N": N}) * v for k, v in enumerate(shared, 1)
        )

    assert points_short("3.1", tmp_path, best_of_n_mean=best_of_n_mean) == 0


def test_the_hint_of_3_2_is_the_difference_of_two_powers(tmp_path):
    assert "F(r)ⁿ − F(below r)ⁿ" in hint("3.2")

    def best_of_n_distribution(probs, rewards, n):
        if n < 1 or np.isnan(rewards).any():
            raise ValueError("no draw, or NaN")
        result = []
        for p, r in zip(probs, rewards, strict=True):
            upto = sum(q for q, other in zip(probs, rewards, strict=True) if other <= r)
            below = sum(q for q, other in zip(probs, rewards, strict=True) if other < r)
            together = sum(q for q, other in zip(probs, rewards, strict=True) if other == r)
            result.append((upto**n - below**n) * p / together if together else 0.0)
        return result

    found = exercises.find("3.2")
    work = Work({"best_of_n_distribution": best_of_n_distribution}, Variant("", "", "3.2"), tmp_path)
    code = [o for o in grade(found, work, 11).outcomes if not o.title.startswith("question")]
    assert len(code) == 2 and all(outcome.passed for outcome in code)
