"""A submission that knows nothing and takes what it can reach: printed are its answers, by strategy.

It imports and reads all that lies beside it, calls what looks as if it knew, and otherwise answers by a rule
that needs no knowledge. It runs as text: in the sandbox, or where a learner's package is installed.

    python -c THIEF '[["ada", ""], ["bob", "salt"]]'
"""

import contextlib
import importlib
import io
import json
import pkgutil
import re
import sys
from pathlib import Path

import autograder
from autograder.exercise import Variant
from autograder.handouts import handout

LIKELY = re.compile(
    r"label|order|answer|right|decisive|solve|key|accept|deciding|flipping|measured|trace|cases"
)
SHEETS = ("1.2", "1.4", "2.1", "3.2", "4.4", "5.4", "7.4", "8.4", "9.6")
CLOSED = ("keys", "wrong", "grading.judge", "grading.grade", "build.catalogue", "build.placeholders")
CLOSED += ("build.release", "build", "calibration")
FOLDERS = ("keys", "exercises", "handouts")
FILES = [p for p in Path(autograder.__file__).parent.rglob("*") if p.suffix in (".py", ".json", ".txt")]
TEXT = "\n".join(p.read_text(encoding="utf-8", errors="replace") for p in FILES)


def imported():
    """Every module of the package that can be imported, also by a guessed name."""
    names = [
        m.name for m in pkgutil.walk_packages(autograder.__path__, "autograder.", onerror=lambda _: None)
    ]
    names += [f"autograder.{name}" for name in CLOSED]
    names += [f"autograder.{p}.nb0{a}_{b}" for p in FOLDERS for a in range(1, 9) for b in range(1, 6)]
    for name in names:
        with contextlib.suppress(BaseException), contextlib.redirect_stdout(io.StringIO()):
            if not name.endswith("__main__"):
                importlib.import_module(name)
    return [module for name, module in sys.modules.items() if name.startswith("autograder")]


MODULES = imported()


def told(*arguments):
    """What functions and methods that look as if they knew say of these arguments."""
    owners = [*MODULES, *arguments]
    for owner in owners:
        for name in [n for n in dir(owner) if LIKELY.search(n.lower())]:
            for given in (arguments, arguments[1:], arguments[:1], ()):
                with contextlib.suppress(BaseException), contextlib.redirect_stdout(io.StringIO()):
                    yield getattr(owner, name)(*given)


def called(question, variant):
    """A label that something says without being told which option is meant."""
    said = [x for x in told(question, variant) if isinstance(x, str) and re.fullmatch("[A-F][1-6]?", x)]
    return said[0] if said else "A1"


def unmarked(options):
    """The option with the fewest ideas of misconceptions beside it in any file."""

    def ideas(option):
        places = [m.end() for m in re.finditer(re.escape(json.dumps(option)[1:-1]), TEXT)]
        return sum(bool(re.match(r".{0,80}[\"']F\d\d[\"']", TEXT[at : at + 120], re.DOTALL)) for at in places)

    return min(options, key=ideas)


def by(rule):
    """Labels of all questions of a sheet by a rule that picks an option."""

    def answers(sheet):
        return {
            q.id: q.label(sheet.variant, rule(q.answers), rule(q.reasons) if q.reasons else "")
            for q in sheet.questions
        }

    return answers


RULES = {
    "called": lambda sheet: {q.id: called(q, sheet.variant) for q in sheet.questions},
    "unmarked": by(unmarked),
    "first in the file": by(lambda options: options[0]),
    "last in the file": by(lambda options: options[-1]),
    "longest": by(lambda options: max(options, key=len)),
    "shortest": by(lambda options: min(options, key=len)),
    "A1": lambda sheet: {q.id: "A1" if q.reasons else "A" for q in sheet.questions},
}


def panels(variant):
    """5.1: a panel that stands somewhere with a name, or what something says of it."""
    from autograder.handouts import nb05_panels as known

    named = [(name, run) for name, runs in known.rows().items() for run in runs.values()]
    named += handout(Variant(variant.student, variant.course, "5.3"))
    found = {}
    for letter, run in handout(variant).runs.items():
        names = [name for name, other in named if other == run]
        odd = list(known.outside(run)) or [""]
        said = [x for x in told(run, variant) if isinstance(x, str) and x in known.names()]
        found[letter] = ((names + said + ["n1"])[0], odd[0])
    return found


def cells(variant):
    """7.3: the cell at each statement's own place, and what its interval says."""
    from autograder.handouts import nb07_3
    from rslib.intervals import verdict_of

    number = {cell: k for k, cell in nb07_3.numbered(variant).items()}
    pairs = zip(nb07_3.STATEMENTS, nb07_3.CELLS, strict=False)
    return {s.id: (number[c], verdict_of(nb07_3.interval(c, nb07_3.LEVEL))) for s, c in pairs}


def teams(variant):
    """8.2: what something says of a team."""
    words = {"serve", "rs", "dpo", "rloo", "ppo"}
    found = {}
    for letter, team in handout(variant).teams.items():
        said = [x for x in told(team) if isinstance(x, set | frozenset) and x & words]
        found[letter] = (sorted(said[0] & words)[0] if said else "rs", "full", "none", "nothing")
    return found


def answers(student, course):
    """{strategy: {exercise: answer}} of a learner."""
    found = {name: {} for name in RULES}
    for exercise in SHEETS:
        sheet = handout(Variant(student, course, exercise))
        for name, rule in RULES.items():
            found[name][exercise] = rule(sheet)
    found["called"] |= {
        "1.1": list(importlib.import_module("autograder.handouts.ordering").CARDS),
        "5.1": panels(Variant(student, course, "5.1")),
        "5.2": handout(Variant(student, course, "5.2")).source,
        "7.3": cells(Variant(student, course, "7.3")),
        "8.2": teams(Variant(student, course, "8.2")),
    }
    found["longest"]["1.1"] = list(handout(Variant(student, course, "1.1")).names)
    return found


def main():
    learners = json.loads(sys.argv[1])
    seen = sorted(m.__name__ for m in MODULES)
    print(json.dumps({"modules": seen, "answers": [answers(*learner) for learner in learners]}))


if __name__ == "__main__":
    main()
