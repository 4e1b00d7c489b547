"""Puts odd answers to the checks: `python -m tests.fuzz` writes docs/results/odd_answers.json.

    python -m tests.fuzz 4.1 6.4 --answers 2000     these exercises alone

An answer is a fault of ours where a check crashes, says no sentence, shows an address or a traceback, writes
on standard error, reads an endless iterator, or takes longer than PATIENCE. What was counted is kept, so a
run that was stopped goes on where it stood; `--anew` forgets an exercise's counts first.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import io
import json
import re
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from autograder import checks, exercises
from autograder.build import catalogue
from autograder.exercise import ANSWERED, LONGEST, RUNS, Exercise, Variant
from autograder.verdict import OURS, Outcome, Verdict, grade
from autograder.work import Work
from docs.studies.results import RESULTS, read, write
from tests.odd_answers import Endless, drawn

MANY, SEED = 2000, 20261128
DRAWS = 20
"""So many seeds draw the inputs of a check."""
PATIENCE = 60
"""Seconds that a check of an odd answer may take."""
NOT_SAID = re.compile(r"0x[0-9a-f]{6,}|Traceback \(most recent|/site-packages/|File \"/")


class Measured(Work):
    """Work whose policies are measured on the same prompts each time, as for a class."""

    def class_rng(self, rng: np.random.Generator, purpose: str) -> np.random.Generator:
        """One generator a purpose."""
        return np.random.default_rng([SEED, len(purpose)])


def _once(drawn_apart: Callable[..., tuple]) -> Callable[..., tuple]:
    """Inputs that are dear to draw are drawn once for each state of a generator."""
    results: dict[tuple, tuple] = {}

    def called(draw: Any, right: Any, ideas: Any, rng: np.random.Generator, apart: float) -> tuple:
        key = draw, right, apart, str(rng.bit_generator.state)
        if key not in results:
            results[key] = drawn_apart(draw, right, ideas, rng, apart), rng.bit_generator.state
        inputs, rng.bit_generator.state = results[key]
        return copy.deepcopy(inputs)

    return called


checks.drawn_apart = _once(checks.drawn_apart)


class Hang(BaseException):
    """A check took longer than PATIENCE."""


def _stop(*_: Any) -> None:
    raise Hang


@contextlib.contextmanager
def _limited() -> Iterator[None]:
    before = signal.signal(signal.SIGALRM, _stop)
    signal.alarm(PATIENCE)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@cache
def right_names(exercise_id: str) -> dict[str, Any]:
    """The names of a right answer; what an experiment makes is made once."""
    answer = next(answer for answer in catalogue.answers(exercise_id) if answer.correct)
    space = answer.names()
    return {name: space[name] for name in exercises.EXERCISES[exercise_id].names if name in space}


class Noted(dict):
    """Names that note which of them are looked at."""

    def get(self, name: str, default: Any = None) -> Any:
        """As of a dict."""
        self.looked_at = getattr(self, "looked_at", set()) | {name}
        return super().get(name, default)


@cache
def read_by(exercise_id: str) -> list[set[str]]:
    """The names that each part looks at in the right answer."""
    exercise, looked_at = exercises.find(exercise_id), []
    for part in exercise.parts:
        names = Noted(right_names(exercise_id))
        verdict_on(replace(exercise, parts=(part,)), names, 0)
        looked_at.append(names.looked_at)
    return looked_at


def with_odd_parts(exercise: Exercise, names: Mapping[str, Any]) -> Exercise:
    """The exercise without parts that look at right names alone: what is odd is what they are asked about."""
    right = right_names(exercise.id)
    odd = {name for name in exercise.names if names.get(name) is not right.get(name)}
    parts = [
        part for part, looked_at in zip(exercise.parts, read_by(exercise.id), strict=True) if looked_at & odd
    ]
    return replace(exercise, parts=tuple(parts) or exercise.parts)


def verdict_on(exercise: Exercise, names: Mapping[str, Any], seed: int) -> Verdict:
    """The verdict, in a folder of this process's."""
    return grade(exercise, Measured(names, Variant("", "", exercise.id), Path(_folder().name)), seed)


@cache
def _folder() -> tempfile.TemporaryDirectory:
    return tempfile.TemporaryDirectory(prefix="fuzz-")


def answer_of(exercise: Exercise, seed: int) -> dict[str, Any]:
    """The odd answer with this seed."""
    return drawn(exercise.names, np.random.default_rng([SEED, seed]), right_names(exercise.id))


def judged(exercise: Exercise, seed: int) -> tuple[Verdict | None, list[str]]:
    """The verdict on an odd answer, and its faults."""
    names, errors, endless = answer_of(exercise, seed), io.StringIO(), Endless.read
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(errors):
        asked = with_odd_parts(exercise, names)
        try:
            with _limited():
                verdict = verdict_on(asked, names, seed % DRAWS)
        except Hang:
            return None, [f"still at work after {PATIENCE} seconds"]
    faults = [fault for outcome in verdict.outcomes for fault in faults_of(outcome)]
    faults += [f"on standard error: {errors.getvalue()[:300]}"] if errors.getvalue() else []
    faults += ["an endless iterator was read"] if Endless.read > endless else []
    _shown(verdict)
    return verdict, faults


def _shown(verdict: Verdict) -> None:
    """Every form of a verdict can be made, and sent."""
    for text in (verdict.text(), verdict._repr_html_(), json.dumps(verdict.to_dict(), ensure_ascii=False)):
        text.encode()


def faults_of(outcome: Outcome) -> Iterator[str]:
    """What is wrong with what a part says."""
    said = [outcome.message, outcome.case, outcome.expected, outcome.got]
    if outcome.check == OURS:
        yield f"{outcome.title}: crashed: {outcome.message}"
    if not outcome.passed and len(outcome.message.split()) < 3:
        yield f"{outcome.title}, {outcome.check}: no sentence: {outcome.message!r}"
    if len(longest := max(said, key=len)) > LONGEST:
        yield f"{outcome.title}, {outcome.check}: {len(longest)} characters: {longest[:200]}"
    if match := NOT_SAID.search("\n".join(said)):
        yield f"{outcome.title}, {outcome.check}: {match.group()} in {said}"


def outcome_of(verdict: Verdict | None) -> str:
    """What an odd answer came to: its first part that failed."""
    if verdict is None:
        return "hangs"
    check = next((o.check for o in verdict.outcomes if not o.passed), "")
    return {"": "passes", ANSWERED: "is no answer", RUNS: "raises"}.get(check, "fails a check")


def count(exercise: Exercise, answers: int, anew: bool, record: str = "odd_answers") -> None:
    """Put the answers that are still missing to an exercise, and keep what became of all."""
    row: dict[str, Any] = {} if anew else read(record).get(exercise.id, {})
    counts, faults = Counter(row.get("outcomes", {})), row.get("faults", [])
    first, shown = row.get("answers", 0), time.monotonic()
    for seed in range(first, answers):
        start = time.monotonic()
        verdict, more = judged(exercise, seed)
        counts[outcome_of(verdict)] += 1
        faults += [f"seed {seed}: {fault}" for fault in more]
        if time.monotonic() - start > 5 or more:
            print(f"{exercise.id} seed {seed}: {time.monotonic() - start:.1f} s {more}"[:2000], flush=True)
        if seed == answers - 1 or time.monotonic() - shown > 20:
            shown = time.monotonic()
            row = {"answers": seed + 1, "outcomes": dict(sorted(counts.items())), "faults": faults}
            write(record, read(record) | {exercise.id: row})
    print(f"{exercise.id}: {row}"[:300], flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Count, and say where the counts are."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("exercises", nargs="*", default=list(exercises.EXERCISES), help="default: all")
    parser.add_argument("--answers", type=int, default=MANY, help="of each exercise, default: 2000")
    parser.add_argument("--anew", action="store_true", help="forget what was counted before")
    options = parser.parse_args(argv)
    for id in options.exercises:
        count(exercises.find(id), options.answers, options.anew)
    print(f"{RESULTS / 'odd_answers.json'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
