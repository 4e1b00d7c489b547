"""`python -m autograder report`: what an instructor wants to know of a graded assignment, as one HTML page.

Everything that it shows may come from a submission, so everything is escaped, and the page forbids scripts.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from autograder.grading.pages import document, table
from autograder.grading.plan import asked_for
from rslib.errors import DataError

Z = 1.959964
COMMON, AT_LEAST = 0.3, 5
"""An answer that more than this share of at least so many students gave says nothing about copying."""
ALIKE, FEWEST = 0.8, 3
"""Two students' work is called the same from this share of equal answers on, with so many to compare."""
Record = Mapping[str, Any]


@dataclass(frozen=True)
class Row:
    """One test cell over all students.

    passed: students with all points, of `students`. low, high: Wilson's 95 % interval of the pass rate.
    mean: mean share of its points. discrimination: correlation of the share here with the total elsewhere,
    None where nothing varies or fewer than three were graded. wrong: commonest reason and how often.
    """

    name: str
    students: int
    passed: int
    low: float
    high: float
    mean: float
    discrimination: float | None
    wrong: tuple[str, int]


def wilson(passed: int, of: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share; (0, 1) for no trial.

    >>> tuple(round(end, 3) for end in wilson(3, 3))
    (0.439, 1.0)
    """
    if of == 0:
        return 0.0, 1.0
    share = passed / of
    centre = share + Z**2 / (2 * of)
    half = Z * math.sqrt(share * (1 - share) / of + Z**2 / (4 * of**2))
    return max(0.0, (centre - half) / (1 + Z**2 / of)), min(1.0, (centre + half) / (1 + Z**2 / of))


def correlation(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Pearson's correlation, or None where one of them does not vary or fewer than three are given.

    >>> correlation([0, 1, 1], [1, 3, 3]), correlation([1, 1, 1], [1, 2, 3])
    (1.0, None)
    """
    if len(first) < 3 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return None
    return round(float(np.corrcoef(first, second)[0, 1]), 6)


def rows(records: Sequence[Record]) -> list[Row]:
    """One row for each cell that a program graded, in the order of the notebook."""
    names = dict.fromkeys(n for r in records for n, c in r["cells"].items() if not c["by_hand"])
    table = {n: [_share(r, n) for r in records] for n in names}
    weights = {
        n: max((r["cells"][n]["out_of"] for r in records if n in r["cells"]), default=0.0) for n in names
    }
    tests = []
    for name, shares in table.items():
        others = [sum(weights[o] * table[o][k] for o in table if o != name) for k in range(len(records))]
        passed = sum(share == 1 for share in shares)
        low, high = wilson(passed, len(shares))
        mean, wrong = float(np.mean(shares)), _commonest(records, name)
        tests.append(Row(name, len(shares), passed, low, high, mean, correlation(shares, others), wrong))
    return tests


def _share(record: Record, name: str) -> float:
    cell = record["cells"].get(name, {"points": 0.0, "out_of": 1.0})
    return (cell["points"] or 0.0) / cell["out_of"] if cell["out_of"] else 0.0


def _commonest(records: Sequence[Record], name: str) -> tuple[str, int]:
    """The reason that most students heard at this cell: idea and words of a verdict, else the cell's own."""
    reasons: Counter[str] = Counter()
    for record in records:
        cell = record["cells"].get(name)
        if cell and (cell["points"] or 0.0) < cell["out_of"]:
            reasons[_reason(record, name) or cell["why"] or "no reason was noted"] += 1
    return reasons.most_common(1)[0] if reasons else ("", 0)


def _reason(record: Record, name: str) -> str:
    exercise = name.rpartition(": ")[2].removesuffix("_check").replace("_", ".")
    for verdict in record["verdicts"]:
        for outcome in verdict["outcomes"] if verdict["exercise"] == exercise else ():
            if outcome["check"]:
                idea = f" ({outcome['idea']})" if outcome["idea"] else ""
                return f"{outcome['check']}{idea}: {outcome['message']}"
    return ""


def identical(records: Sequence[Record]) -> list[tuple[str, ...]]:
    """Groups of students whose answers are the same, blanks and comments left out.

    Answers that many gave (COMMON) are not counted; nor are students with fewer than FEWEST left.
    """
    counts = Counter((n, h) for r in records for n, h in r["answers"].items() if h)
    most = max(AT_LEAST, COMMON * len(records))
    mine = {
        r["student"]: {(n, h) for n, h in r["answers"].items() if h and counts[n, h] < most} for r in records
    }
    parent = {student: student for student in mine}

    def root(student: str) -> str:
        while parent[student] != student:
            student = parent[student]
        return student

    for first, second in combinations(sorted(s for s in mine if len(mine[s]) >= FEWEST), 2):
        same = len(mine[first] & mine[second])
        if same >= FEWEST and same >= ALIKE * max(len(mine[first]), len(mine[second])):
            parent[root(second)] = root(first)
    groups: dict[str, list[str]] = {}
    for student in parent:
        groups.setdefault(root(student), []).append(student)
    return sorted(tuple(sorted(group)) for group in groups.values() if len(group) > 1)


def read(folder: Path) -> list[Record]:
    """The records of an assignment. Raises DataError for one that cannot be read."""
    records = []
    for path in sorted(folder.glob("*.json")):
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            record["cells"]  # a record without them is none
            records.append(record)
        except (OSError, ValueError, KeyError, TypeError) as error:
            fix = "Delete it and run `python -m autograder grade` again."
            raise DataError(f"a record that cannot be read: {error}", where=str(path), fix=fix) from None
    return records


# The page ---------------------------------------------------------------------------------------------------


def page(name: str, records: Sequence[Record]) -> str:
    """The whole page."""
    tests = rows(records)
    shares = [r["points"] / r["out_of"] if r["out_of"] else 0.0 for r in records]
    problems = sum(bool(r["problem"]) for r in records)
    sandboxes = ", ".join(sorted({r["isolation"] for r in records}))
    lead = (
        f"{len(records)} submissions, {problems} of them not graded as handed in. Share of points: mean "
        f"{np.mean(shares):.0%}, median {np.median(shares):.0%}. Sandbox: {sandboxes}."
    )
    parts = [
        f"<h1>{escape(name)}</h1><p>{escape(lead)}</p>",
        _figure(_totals, shares, "How the totals spread."),
    ]
    parts.append(
        _figure(_rates, tests, "Pass rate of each test with its 95 % interval, and its discrimination.")
    )
    parts += ["<h2>Tests</h2>", _tests(tests), DISCRIMINATION]
    parts += [
        "<h2>The same work</h2>",
        _groups(identical(records)),
        "<h2>To look at</h2>",
        _to_look_at(records),
    ]
    return document(name, parts)


DISCRIMINATION = (
    "<p>Discrimination is the correlation of a test's points with the points in all other tests. Above 0.3 "
    "the test tells strong from weak students; near 0 it does not; below 0 the strong ones fail it more "
    "often, so look at the test first.</p>"
)


def _tests(rows: Sequence[Row]) -> str:
    body = []
    for row in rows:
        rate = f"{row.passed} of {row.students} ({row.low:.0%} to {row.high:.0%})"
        discrimination = "undefined" if row.discrimination is None else f"{row.discrimination:+.2f}"
        wrong = f"{row.wrong[0]} ({row.wrong[1]})" if row.wrong[1] else "-"
        body.append((row.name, rate, f"{row.mean:.0%}", discrimination, wrong))
    return table(("test", "all points", "mean", "discrimination", "commonest reason (students)"), body)


def _groups(groups: Sequence[Sequence[str]]) -> str:
    if not groups:
        return "<p>No two students handed in the same answers.</p>"
    items = "".join(f"<li>{escape(', '.join(group))}</li>" for group in groups)
    return f"<ul>{items}</ul><p>Equal answers are a reason to ask, not a proof.</p>"


def _to_look_at(records: Sequence[Record]) -> str:
    body = []
    for record in records:
        remarks = [record["problem"], *record["notes"]]
        if record.get("stopped") and not any("stopped early" in note for note in record["notes"]):
            remarks.append(f"Stopped: {record['stopped']}. (The page for students does not say so.)")
        if record["variant"] and record["variant"] != record["student"]:
            remarks.append(f"Worked on the variant of {record['variant']!r}.")
        if any(remarks):
            body.append((record["student"], f"{record['points']:g}", " ".join(filter(None, remarks))))
    return table(("student", "points", "what"), body) if body else "<p>Nothing.</p>"


def _figure(draw: Callable[[Any, Any], None], data: Any, alt: str) -> str:
    """A plot as a picture inside of the page."""
    from matplotlib.figure import Figure

    if not len(data):
        return ""
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    draw(figure, data)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    picture = base64.b64encode(buffer.getvalue()).decode()
    return f"<figure><img alt='{escape(alt)}' src='data:image/png;base64,{picture}'></figure>"


def _totals(figure: Any, shares: Sequence[float]) -> None:
    axes = figure.subplots()
    axes.hist(shares, bins=np.linspace(0, 1, 21), color="#21558c", edgecolor="white")
    axes.set(xlabel="share of all points", ylabel="students", xlim=(0, 1))


def _rates(figure: Any, rows: Sequence[Row]) -> None:
    left, right = figure.subplots(1, 2, sharey=True)
    heights = np.arange(len(rows))[::-1]
    rate = np.array([row.passed / max(1, row.students) for row in rows])
    ends = np.array(
        [[max(0.0, r - row.low), max(0.0, row.high - r)] for r, row in zip(rate, rows, strict=True)]
    )
    left.barh(heights, rate, color="#9ab8d8", xerr=ends.T, ecolor="#222222")
    left.set(xlim=(0, 1), xlabel="all points", yticks=heights, yticklabels=[_plain(row.name) for row in rows])
    known = [
        (y, row.discrimination)
        for y, row in zip(heights, rows, strict=True)
        if row.discrimination is not None
    ]
    right.scatter([value for _, value in known], [y for y, _ in known], color="#21558c")
    right.axvline(0, color="#999999", linewidth=1)
    right.set(xlim=(-1.05, 1.05), xlabel="discrimination")


def _plain(name: str) -> str:
    """A name that matplotlib takes for no formula."""
    return name[:30].replace("$", "\\$")


def main(argv: Sequence[str] | None = None) -> int:
    """Write a page for each graded assignment of a course. Raises DataError where nothing was graded."""
    parser = argparse.ArgumentParser(
        prog="python -m autograder report", description="A page on an assignment."
    )
    parser.add_argument("--course", type=Path, required=True, help="nbgrader course directory")
    parser.add_argument("--assignment", default="", help="name, or its number (default: all)")
    parser.add_argument("--out", type=Path, help="folder for the pages (default: DIR/report)")
    options = parser.parse_args(argv)
    folders = sorted(p.parent for p in (options.course / ".grading").glob("*/*.json"))
    names = [folder for folder in dict.fromkeys(folders) if asked_for(folder.name, options.assignment)]
    if not names:
        fix = "Run `python -m autograder grade SUBMISSIONS --course DIR` first."
        raise DataError("nothing was graded yet", where=str(options.course), fix=fix)
    out = options.out or options.course / "report"
    out.mkdir(parents=True, exist_ok=True)
    for folder in names:
        target = out / f"{folder.name}.html"
        target.write_text(page(folder.name, read(folder)), encoding="utf-8")
        print(target)
    return 0
