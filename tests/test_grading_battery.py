"""Over 170 hostile and 35 honest submissions behind walls: nothing stolen, seen, written or left."""

import os
import subprocess
from pathlib import Path

import pytest

from tests import grading, hostile

pytestmark = [grading.needs_walls, pytest.mark.long]
EVERYBODY = [*hostile.ATTACKS, *hostile.HONEST]
BY_NAME = {attack.name: attack for attack in EVERYBODY}
SLOW = "honest_torch"
"""Imports torch itself, which on a busy machine takes longer than the battery allows for a cell."""


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    root = grading.course(tmp_path_factory.mktemp("battery"), *(a for a in EVERYBODY if a.name != SLOW))
    done = grading.grade(root, "--workers", "2", *grading.QUICK)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    BY_NAME[SLOW].write(root / "patient")
    patient = grading.grade(root, submissions=root / "patient")
    assert patient.returncode == 0, patient.stdout[-2000:] + patient.stderr[-4000:]
    (root / "said").write_text(done.stdout)
    assert not grading.left_processes(root)
    return root


@pytest.fixture(scope="module")
def records(course):
    return grading.records(course)


def texts(course, student):
    """All that a student may get to see, and what an instructor opens."""
    found = [course / ".grading" / "hw" / f"{student}.json"]
    found += [
        p for step in ("autograded", "feedback") for p in (course / step / student).rglob("*") if p.is_file()
    ]
    return "".join(p.read_text(encoding="utf-8") for p in found)


def test_the_battery_is_large_and_its_names_are_different():
    assert len(hostile.ATTACKS) >= 60
    assert len(BY_NAME) == len(EVERYBODY)
    assert {"steal", "harm", "leak", "resource", "script"} == {a.kind for a in hostile.ATTACKS}


def test_every_submission_has_a_result(records):
    assert records.keys() == BY_NAME.keys()
    assert all(record["state"] == "scored" for record in records.values())


@pytest.mark.parametrize("name", BY_NAME)
def test_nobody_gets_other_points_than_his_own(records, name):
    record = records[name]
    told = {cell: said["why"] for cell, said in record["cells"].items()}
    assert record["points"] == BY_NAME[name].points, (record["problem"], record["notes"], told)


def test_the_gradebook_agrees_with_the_journal_and_knows_no_manual_score(course, records):
    grades, _ = grading.gradebook(course)
    found = {(student, cell): auto for student, _, cell, auto, *_ in grades}
    expected = {(s, c): said["points"] for s, r in records.items() for c, said in r["cells"].items()}
    assert found == expected
    assert all(manual is None and extra is None for *_, manual, extra, _ in grades)


@pytest.mark.parametrize("name", BY_NAME)
def test_no_hidden_test_and_no_script_reaches_anybody(course, name):
    found = texts(course, name)
    assert hostile.CANARY not in found and hostile.SECRET not in found
    assert "<script" not in found.lower() or "&lt;script" in found.lower() or name.startswith("script")
    for page in (course / "feedback" / name).rglob("*.html"):
        assert "<script" not in page.read_text(encoding="utf-8").lower()


def test_every_wrong_or_unreadable_submission_is_told_why(records):
    for name, record in records.items():
        told = record["problem"] or any(cell["why"] for cell in record["cells"].values()) or record["notes"]
        assert told or BY_NAME[name].kind == "honest", name


def test_nothing_is_written_outside_of_the_course(course):
    for top in ("/tmp", "/dev/shm", "/var/tmp", "/run", str(Path.home()), str(course.parent), "/"):
        assert not list(Path(top).glob(f"{hostile.MARKER}*")), top
    assert not [p for p in course.rglob(f"{hostile.MARKER}*")]
    planted = ("sitecustomize.py", "usercustomize.py", f"{hostile.MARKER}.pth")
    assert not [p for name in planted for p in (grading.ROOT / "autograder").rglob(name)]


def test_feedback_is_small_whatever_was_printed(course):
    sizes = {p.parent.parent.name: p.stat().st_size for p in course.glob("feedback/*/hw/*.html")}
    assert max(sizes.values()) < 12_000_000, max(sizes, key=sizes.get)


def test_a_second_run_has_nothing_to_do(course):
    before = grading.gradebook(course)
    done = grading.grade(course, "--workers", "2", *grading.QUICK)
    assert f"0 graded, {len(EVERYBODY) - 1} as before" in done.stdout
    assert grading.gradebook(course) == before


# Without walls ----------------------------------------------------------------------------------------------

LOOSE = [a for a in EVERYBODY if a.kind in ("steal", "leak", "honest", "script")]
TAMPER = """
import glob, os, sqlite3
for path in glob.glob({course!r} + '/gradebook.db'):
    base = sqlite3.connect(path, timeout=2)
    base.execute('update grade set manual_score = 99')
    base.commit()
for path in glob.glob({course!r} + '/.grading/*/*.json'):
    text = open(path).read().replace('"points": 0.0', '"points": 2.0')
    open(path, 'w').write(text)
"""


@pytest.mark.skipif(
    os.getuid() == 0, reason="one payload mounts, so without walls it runs as an ordinary user"
)
def test_without_walls_points_and_gradebook_hold(tmp_path):
    tamper = hostile.Attack("tampers", "steal", extra=(TAMPER.format(course=str(tmp_path)),))
    root = grading.course(tmp_path, tamper, *LOOSE)
    done = grading.grade(root, "--workers", "2", *grading.QUICK, "--trust-submissions", "--isolation", "none")
    assert done.returncode == 0 and "WARNING" in done.stderr and not grading.left_processes(root)
    expected = {a.name: a.points for a in [tamper, *LOOSE]}
    assert {name: r["points"] for name, r in grading.records(root).items()} == expected
    assert all(r["isolation"] == "none" for r in grading.records(root).values())
    grades, _ = grading.gradebook(root)
    assert all(row[4] is None for row in grades)


def test_strangers_are_refused_without_walls_and_a_sentence_names_the_way_out(tmp_path):
    root = grading.course(tmp_path, hostile.HONEST[0])
    path = os.pathsep.join(
        p for p in os.environ["PATH"].split(os.pathsep) if not (Path(p) / "bwrap").exists()
    )
    done = grading.grade(root, PATH=path)
    assert done.returncode == 2 and "bubblewrap" in done.stderr and "--trust-submissions" in done.stderr
    assert not (root / "gradebook.db").exists()


def test_trust_says_what_is_unprotected_and_notes_it_on_every_grade(tmp_path):
    root = grading.course(tmp_path, hostile.HONEST[0])
    done = grading.grade(root, "--trust-submissions", "--isolation", "none")
    assert done.returncode == 0, done.stderr
    assert "files" in done.stderr and "network" in done.stderr
    [record] = grading.records(root).values()
    assert (record["points"], record["isolation"]) == (hostile.AUTOMATIC, "none")


def test_the_doctor_finds_every_wall_standing():
    call = [grading.command(Path())[0], "-m", "autograder", "doctor"]
    done = subprocess.run(call, capture_output=True, text=True, env=grading.environment(), timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "NO " not in done.stdout
