"""Marks go back: files for Canvas and Moodle, read here by those systems' own documented rules."""

import csv
import datetime
import io
import os
import re
import shutil
import sys
from pathlib import Path

import pytest
from nbgrader.api import Gradebook

from autograder.grading import exports, roster
from rslib.errors import DataError

CANVAS = """\
Student,ID,SIS User ID,SIS Login ID,Section,ps1 (9876),Final Score
,,,,,Manual Posting,
    Points Possible,,,,,10.00,(read only)
"Lovelace, Ada",12345,u1,ada@uni.org,Lab 1,,90
"Smith, John",23456,u2,jsmith,Lab 1,,
"Smith, John",34567,u3,jsmith2,Lab 2,,
"=cmd|x, Absent",45678,u4,absent,Lab 2,3,
"""
MOODLE = """\
Identifier,Full name,Email address,Status,Grade,Maximum Grade,Grade can be changed,\
Last modified (submission),Last modified (grade),Feedback comments
Participant 7,Ada Lovelace,ada@uni.org,Submitted for grading,,"{}",Yes,"20 Nov 2026, 2:03 PM",-,
Participant 8,John Smith,john1@uni.org,No submission,,"{}",Yes,-,-,"=1+1"
Participant 9,John Smith,john2@uni.org,Submitted for grading,,"{}",Yes,-,-,
"""


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    """A gradebook's file in which ps1 is of 10 points; nbgrader takes a second to make one."""
    path = tmp_path_factory.mktemp("empty") / "gradebook.db"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
        with Gradebook(f"sqlite:///{path}") as book:
            book.add_assignment("ps1", duedate="2026-11-20 12:00:00 UTC")
            book.add_notebook("problem1", "ps1")
            book.add_grade_cell("test", "problem1", "ps1", max_score=10, cell_type="code")
    return path


@pytest.fixture
def gradebook(empty, tmp_path):
    shutil.copy(empty, tmp_path)
    with Gradebook(f"sqlite:///{tmp_path / 'gradebook.db'}") as book:
        yield book


def add(book, student, score, penalty=0.0):
    book.update_or_create_student(student)
    book.add_submission("ps1", student, timestamp=datetime.datetime(2026, 11, 20, 13))
    grade = book.find_grade("test", "problem1", "ps1", student)
    grade.auto_score, grade.needs_manual_grade = score, False
    book.find_submission_notebook("problem1", "ps1", student).late_submission_penalty = penalty
    book.db.commit()


def record(student, platform="", number=""):
    return {"student": student, "assignment": "ps1", "platform": platform, "number": number}


def listed(tmp_path, text, name="roster.csv"):
    (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return roster.read(tmp_path / name)


def canvas_import(path, known):
    """What Canvas takes from a file: {id: {assignment: grade}}, points possible; by its importer's rules."""
    rows = list(csv.reader(path.open(encoding="utf-8", newline="")))
    head = rows[0]
    assert "Student" in head[0] and "ID" in head[1]
    assert re.match(r"SIS\s+User\s+ID", head[2]) and re.match(r"SIS\s+Login\s+ID", head[3])
    assert "Section" in head[4]
    grades, possible, strangers = {}, {}, []
    for row in rows[1:]:
        assert len(row) == len(head)
        marks = dict(zip(head[5:], row[5:], strict=True))
        if "Points Possible" in row[0]:
            possible = marks
            continue
        by_id = [i for i, (sis, login) in known.items() if row[1] == i]
        by_sis = [i for i, (sis, login) in known.items() if row[2] == sis or row[3] == login]
        if by_id or by_sis:
            grades[(by_id or by_sis)[0]] = marks
        else:
            strangers.append(row[0])
    return grades, possible, strangers


KNOWN = {
    "12345": ("u1", "ada@uni.org"),
    "23456": ("u2", "jsmith"),
    "34567": ("u3", "jsmith2"),
    "45678": ("u4", "absent"),
}


def test_canvas_gets_its_own_ids_both_smiths_and_the_absent(tmp_path, gradebook):
    records = [
        record(f"{n}_{k}", "Canvas", k)
        for n, k in (("lovelaceada", "12345"), ("smithjohn", "23456"), ("smithjohn", "34567"))
    ]
    for one, score in zip(records, (9.0, 4.0, 6.5), strict=True):
        add(gradebook, one["student"], score)
    people = listed(tmp_path, CANVAS)
    paths, warnings = exports.export(tmp_path, gradebook, records, people)
    assert [path.name for path in paths] == ["results.csv", "canvas.csv"]
    grades, possible, strangers = canvas_import(paths[1], KNOWN)
    assert grades == {
        "12345": {"ps1 (9876)": "9.0"},
        "23456": {"ps1 (9876)": "4.0"},
        "34567": {"ps1 (9876)": "6.5"},
        "45678": {"ps1 (9876)": ""},
    }
    assert possible == {"ps1 (9876)": "10.0"} and not strangers
    assert warnings == ["1 of the roster handed in nothing; their marks are empty, not 0."]
    ada = gradebook.find_student("lovelaceada_12345")
    assert (ada.first_name, ada.last_name, ada.email, ada.lms_user_id) == (
        "Ada",
        "Lovelace",
        "ada@uni.org",
        "12345",
    )


def test_without_a_roster_the_numbers_of_file_names_are_used(tmp_path, gradebook):
    add(gradebook, "smithjohn_23456", 4.0)
    add(gradebook, "jdoe", 2.0)
    paths, _ = exports.export(
        tmp_path, gradebook, [record("smithjohn_23456", "Canvas", "23456"), record("jdoe")]
    )
    rows = list(csv.reader(paths[1].open()))
    assert rows[0] == ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", "ps1"]
    assert rows[2:] == [["jdoe", "", "", "jdoe", "", "2.0"], ["smithjohn_23456", "23456", "", "", "", "4.0"]]


def test_a_submitted_tree_is_matched_by_login_and_doubt_is_told(tmp_path, gradebook):
    for student in ("JSmith", "u3", "ada", "smith"):
        add(gradebook, student, 1.0)
    paths, warnings = exports.export(tmp_path, gradebook, [], listed(tmp_path, CANVAS))
    grades, _, strangers = canvas_import(paths[1], KNOWN)
    assert [grades[k]["ps1 (9876)"] for k in ("12345", "23456", "34567")] == ["1.0"] * 3
    assert strangers == ["smith"] and any("smith is not in the roster" in text for text in warnings)


def test_two_students_are_never_one_person_of_the_roster(tmp_path, gradebook):
    for student in ("jsmith", "u2"):
        add(gradebook, student, 1.0)
    paths, warnings = exports.export(tmp_path, gradebook, [], listed(tmp_path, CANVAS))
    rows = {row[0]: row for row in csv.reader(paths[1].open())}
    assert rows["jsmith"][1] == rows["u2"][1] == "" and len(warnings) == 3


def test_late_penalties_count_and_no_score_is_negative(tmp_path, gradebook):
    add(gradebook, "a", 9.0, penalty=2.5)
    add(gradebook, "b", 1.0, penalty=3.0)
    paths, _ = exports.export(tmp_path, gradebook, [])
    assert [row[-1] for row in csv.reader(paths[1].open())][2:] == ["6.5", "0.0"]
    rows = list(csv.DictReader(paths[0].open()))
    assert [(r["raw_score"], r["late_submission_penalty"], r["score"]) for r in rows] == [
        ("9.0", "2.5", "6.5"),
        ("1.0", "3.0", "0.0"),
    ]


@pytest.mark.parametrize("maximum", ["10.00", "100.00", "100,00"])
def test_moodles_worksheet_comes_back_with_grades_out_of_its_maximum(tmp_path, gradebook, maximum):
    add(gradebook, "Ada Lovelace_7", 9.0)
    add(gradebook, "John Smith_9", 4.5)
    records = [record("Ada Lovelace_7", "Moodle", "7"), record("John Smith_9", "Moodle", "9")]
    people = listed(tmp_path, MOODLE.format(*[maximum] * 3))
    paths, warnings = exports.export(tmp_path, gradebook, records, people, ["ps1"])
    rows = list(csv.DictReader(paths[2].open(encoding="utf-8", newline="")))
    assert {"Identifier", "Grade", "Last modified (grade)"} <= rows[0].keys()
    grades = {int(row["Identifier"][len("Participant") :]): row["Grade"] for row in rows}
    expected = {"10.00": ("9.00", "4.50"), "100.00": ("90.00", "45.00"), "100,00": ("90,00", "45,00")}[
        maximum
    ]
    assert grades == {7: expected[0], 8: "", 9: expected[1]}
    assert all(row["Last modified (grade)"] == "-" and row["Maximum Grade"] == maximum for row in rows)
    assert rows[1]["Feedback comments"] == "'=1+1"
    assert any("scaled" in text for text in warnings) is (maximum != "10.00")
    assert gradebook.find_student("John Smith_9").email == "john2@uni.org"


def test_without_a_worksheet_moodles_numbers_of_file_names_make_one(tmp_path, gradebook):
    add(gradebook, "Ada Lovelace_7", 9.0)
    paths, _ = exports.export(tmp_path, gradebook, [record("Ada Lovelace_7", "Moodle", "7")])
    [row] = csv.DictReader(paths[2].open())
    assert (row["Identifier"], row["Full name"], row["Grade"]) == ("Participant 7", "Ada Lovelace", "9.00")
    assert row["Last modified (grade)"] == "-" and row["Maximum Grade"] == "10.00"


def test_a_plain_list_adds_those_who_are_missing_to_the_gradebook(tmp_path, gradebook):
    add(gradebook, "ada", 9.0)
    people = listed(tmp_path, "id;first_name;last_name;email\nada;Ada;Lovelace;a@b.c\nbob;Bob;;\n")
    paths, _ = exports.export(tmp_path, gradebook, [], people)
    assert gradebook.find_student("ada").last_name == "Lovelace"
    assert gradebook.find_student("bob").first_name == "Bob"
    assert [row[5] for row in csv.reader(paths[1].open())][2:] == ["9.0", ""]


@pytest.mark.parametrize(
    "text", ["=1+1", "+1+1", "-1+cmd|' /C calc'!A0", "@SUM(1)", "\t=1", " =1", "\uff1d1", "-x", "\r=1"]
)
def test_no_cell_is_a_formula(tmp_path, gradebook, text):
    add(gradebook, text, 1.0)
    paths, _ = exports.export(tmp_path, gradebook, [])
    for path in paths:
        for row in csv.reader(io.StringIO(path.read_bytes().decode(), newline="")):
            assert not any(cell.strip()[:1] in tuple("=+-@\uff1d") for cell in row), row


def test_a_name_of_the_roster_holds_no_markup_for_formgrader(tmp_path, gradebook):
    """Students choose their names in some platforms, and formgrader's pages take names for HTML."""
    add(gradebook, "ada", 6.0)
    people = """id,first_name,last_name,email,lms_user_id
ada,<img src=x onerror=alert(1)>Ada,"O'Neil $\\href{javascript:1}{x}$",ada@uni.org,1
eve,Ève,&lt;script&gt;,"""
    exports.export(tmp_path, gradebook, [record("ada")], listed(tmp_path, people))
    names = " / ".join(f"{s.first_name} {s.last_name}" for s in gradebook.students)
    assert not set(names) & set('<>&"$\\{}`')
    assert "img src=x onerror=alert(1) Ada O'Neil" in names and "Ève" in names


def test_nobody_is_the_row_of_points(tmp_path, gradebook):
    add(gradebook, "Points Possible", 1.0)
    paths, _ = exports.export(tmp_path, gradebook, [])
    _, possible, strangers = canvas_import(paths[1], {})
    assert possible == {"ps1": "10.0"} and strangers == ["Points possible"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_a_roster_is_known_by_its_header_in_any_encoding(tmp_path, encoding):
    people = listed(tmp_path, CANVAS.replace("Ada", "Zo\u00eb").encode(encoding))
    assert people.kind == "Canvas" and people.people[0].first_name == "Zo\u00eb" and len(people.people) == 4


@pytest.mark.parametrize("content", ["", "a,b\n1,2\n", "id,id\n1,2\n", "\x00\x01", 'Student,ID\nx,1\n"open'])
def test_what_is_no_roster_is_refused_with_what_would_be(tmp_path, content):
    with pytest.raises(DataError, match="roster") as error:
        listed(tmp_path, content)
    assert "nbgrader db student import" in str(error.value)


def test_a_roster_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        roster.read(tmp_path / "none.csv")


def test_what_the_import_would_change_in_canvas_is_told(tmp_path, gradebook):
    add(gradebook, "jsmith", 1.0)
    for text, why in (
        (CANVAS.replace("10.00", "100.00"), "100.00 points in Canvas"),
        (CANVAS.replace("ps1 ", "p "), "new"),
    ):
        _, warnings = exports.export(tmp_path, gradebook, [], listed(tmp_path, text))
        assert any(why in warning for warning in warnings)
