"""What was handed in, and by whom: trees, downloads of learning platforms, zips, and names that deceive."""

import io
import os
import unicodedata
import zipfile

import pytest

from autograder.grading import intake

NAMES = {"01": ["01"], "02": ["02"]}
PS1 = {"ps1": ["problem1"]}


def put(root, *names):
    """Files whose content is their own name."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return root


def zipped(*names, **more):
    """Bytes of a zip whose files hold their own names, or what `more` says."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, more.get(name, name))
        for name, content in more.items():
            if name not in names:
                archive.writestr(name, content)
    return buffer.getvalue()


def read(root, notebooks=PS1, **options):
    return intake.find(root, notebooks, **options)


def graded(found):
    """The content that counts, by student and notebook; a reason where there is none."""
    return {
        (one.student, name): one.problem or file.read().decode()
        for one in found.submissions
        for name, file in (one.files or {"": None}).items()
        if file is not None or one.problem
    }


def told(found):
    """All sentences and names that a person is shown."""
    texts = [*found.strays, *found.strays.values(), *found.warnings]
    for one in found.submissions:
        texts += [one.problem, *one.notes, *one.extras]
    return "\n".join(texts)


def students(found):
    return {one.student for one in found.submissions}


# One student cannot be another ------------------------------------------------------------------------------

ALICE = "alice/01/01.ipynb"
TREE_ATTACKS = [
    "evil/01/alice_01-99.ipynb",
    "evil/01/alice_LATE_1_2_01-99.ipynb",
    "evil/01/Alice_7_assignsubmission_file_01.ipynb",
    "evil/01/Alice_7_assignsubmission_file_/01.ipynb",
    "evil/01/ps_alice_attempt_2026-11-20-14-03-22_01.ipynb",
    "evil/01/12-34 - alice - Nov 20, 2026 203 PM - 01.ipynb",
    "evil/01/alice/01/01.ipynb",
    "evil/01/alice/01.ipynb",
    "evil/01/../01/alice_01.ipynb",
    "evil/alice/01/01.ipynb",
    "evil/alice_01-99.ipynb",
    "evil/submitted/alice/01/01.ipynb",
    "evil/Alice_7_assignsubmission_file_/01.ipynb",
    "alice_01-99.ipynb",
    "alice_1_2_01-99.ipynb",
    "Alice_7_assignsubmission_file_/01.ipynb",
    "01/alice/01.ipynb",
    "evil/01/01/alice/01/01.ipynb",
    "evil/02/alice_01-99.ipynb",
    "evil/01/alice_01-99.ipynb.zip",
]


@pytest.mark.parametrize("attack", TREE_ATTACKS)
def test_in_a_tree_the_folder_is_the_student_and_nothing_else_is(tmp_path, attack):
    put(tmp_path, ALICE, "bob/01/01.ipynb", attack)
    found = read(tmp_path, NAMES)
    assert graded(found)["alice", "01"] == ALICE
    assert students(found) <= {"alice", "bob", "evil"}
    assert attack.rpartition("/")[2] in told(found) or graded(found).get(("evil", "01"))


@pytest.mark.parametrize("attack", TREE_ATTACKS[:13])
def test_a_tree_of_one_student_is_no_way_to_another(tmp_path, attack):
    found = read(put(tmp_path, attack, "evil/02/02.ipynb"), NAMES)
    assert students(found) == {"evil"}


@pytest.mark.parametrize(
    "inner",
    [
        "alice/01/01.ipynb",
        "../alice/01/01.ipynb",
        "../../alice/01/01.ipynb",
        "/alice/01/01.ipynb",
        "..\\..\\alice\\01\\01.ipynb",
        "alice_01-99.ipynb",
        "submitted/alice/01/01.ipynb",
        "Alice_7_assignsubmission_file_/01.ipynb",
    ],
)
def test_a_zip_of_a_student_stays_his_own(tmp_path, inner):
    put(tmp_path, ALICE, "evil/01/x")
    (tmp_path / "evil/01/work.zip").write_bytes(zipped(inner))
    found = read(tmp_path, NAMES)
    assert graded(found)["alice", "01"] == ALICE and students(found) == {"alice", "evil"}
    assert "evil" in students(found)


def test_a_nested_zip_of_a_student_stays_his_own(tmp_path):
    put(tmp_path, ALICE, "evil/01/x")
    deep = zipped(**{"alice/01/01.ipynb": "forged"})
    (tmp_path / "evil/01/work.zip").write_bytes(zipped(**{"alice.zip": deep}))
    found = read(tmp_path, NAMES)
    assert graded(found) == {("alice", "01"): ALICE, ("evil", "01"): "forged"}


@pytest.mark.parametrize("link", ["evil", "evil/01", "evil/01/01.ipynb"])
def test_a_link_to_another_students_work_is_told(tmp_path, link):
    put(tmp_path, ALICE)
    target = tmp_path.joinpath("alice", *link.split("/")[1:])
    (tmp_path / link).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / link).symlink_to(target)
    found = read(tmp_path, NAMES)
    assert graded(found)["alice", "01"] == ALICE and "link" in told(found)
    assert not any(student == "evil" and text == ALICE for (student, _), text in graded(found).items())


def test_a_second_name_of_another_students_file_is_told(tmp_path):
    put(tmp_path, ALICE)
    (tmp_path / "evil/01").mkdir(parents=True)
    os.link(tmp_path / ALICE, tmp_path / "evil/01/01.ipynb")
    assert "second name" in told(read(tmp_path, NAMES))


FORGED = [
    ("alice_1_10_problem1.ipynb", "evil_2_20_alice_1_99_problem1.ipynb"),
    ("alice_1_10_problem1.ipynb", "evil_2_20_alice_problem1-99.ipynb"),
    ("alice_1_10_problem1.ipynb", "evil_2_20_.._alice_1_99_problem1.ipynb"),
    (
        "Alice_1_assignsubmission_file_/problem1.ipynb",
        "Evil_2_assignsubmission_file_/alice_problem1-99.ipynb",
    ),
    (
        "Alice_1_assignsubmission_file_/problem1.ipynb",
        "Evil_2_assignsubmission_file_/Alice_1_assignsubmission_file_/problem1.ipynb",
    ),
    (
        "Alice_1_assignsubmission_file_problem1.ipynb",
        "Evil_2_assignsubmission_file_Alice_1_assignsubmission_file_problem1.ipynb",
    ),
    (
        "ps1_alice_attempt_2026-01-01-00-00-00_problem1.ipynb",
        "ps1_evil_attempt_2026-01-01-00-00-00_ps1_alice_attempt_2027-01-01-00-00-00_problem1.ipynb",
    ),
    (
        "1-5 - Alice - Nov 20, 2026 203 PM - problem1.ipynb",
        "2-5 - Evil - Nov 20, 2026 203 PM - 1-5 - Alice - Nov 21, 2026 203 PM - problem1.ipynb",
    ),
    ("alice/problem1.ipynb", "evil/alice_problem1-99.ipynb"),
    ("alice/problem1.ipynb", "evil/alice/problem1.ipynb"),
    ("alice/problem1.ipynb", "alice_problem1-99.ipynb"),
]


@pytest.mark.parametrize(("hers", "forged"), FORGED)
def test_in_a_download_the_platforms_part_of_a_name_is_the_student(tmp_path, hers, forged):
    found = read(put(tmp_path, hers, forged))
    mine = {student: text for (student, _), text in graded(found).items() if "lice" in student}
    assert list(mine.values()) == [hers], (mine, told(found))
    assert len(students(found)) == 2 or forged in found.strays


@pytest.mark.parametrize(("hers", "forged"), FORGED)
def test_a_zip_of_a_download_is_read_as_the_folder_is(tmp_path, hers, forged):
    put(tmp_path / "folder", hers, forged)
    (tmp_path / "all.zip").write_bytes(zipped(hers, forged))
    assert graded(read(tmp_path / "all.zip")) == graded(read(tmp_path / "folder"))


@pytest.mark.parametrize(
    ("one", "other"),
    [("alice", "Alice"), ("zo\u00eb", "zoe\u0308"), ("o'brien", "o\u2019brien"), ("a b", "a  b")],
)
def test_two_spellings_of_one_id_are_kept_apart_and_told(tmp_path, one, other):
    found = read(put(tmp_path, f"{one}/01/01.ipynb", f"{other}/01/01.ipynb"), NAMES)
    assert students(found) == {one, other} and "spelling" in told(found)


@pytest.mark.parametrize(
    "name",
    ["alice.", "alice ", " alice", "ali\u200bce", "\u202ealice", "-alice", "ali\nce", "a" * 65, "ali*ce"],
)
def test_a_name_that_is_no_id_is_told_and_nobody_elses(tmp_path, name):
    found = read(put(tmp_path, ALICE, f"{name}/01/01.ipynb"), NAMES)
    assert students(found) == {"alice"} and any(name in stray for stray in found.strays)


def test_a_mix_is_read_by_the_form_of_most_and_the_rest_is_told(tmp_path):
    found = read(put(tmp_path, "a/ps1/problem1.ipynb", "b/ps1/problem1.ipynb", "c_1_2_problem1.ipynb"))
    assert students(found) == {"a", "b"} and "c_1_2_problem1.ipynb" in found.strays


def test_the_folder_submitted_may_be_named_itself_or_lie_alone_in_what_is_named(tmp_path):
    put(tmp_path / "course" / "submitted", ALICE, "bob/01/01.ipynb")
    (tmp_path / "all.zip").write_bytes(zipped(f"submitted/{ALICE}", "submitted/bob/01/01.ipynb"))
    for where in (tmp_path / "course", tmp_path / "course" / "submitted", tmp_path / "all.zip"):
        assert students(read(where, NAMES)) == {"alice", "bob"}


def test_assignments_that_are_not_graded_now_are_passed_over(tmp_path):
    put(tmp_path, ALICE, "alice/02/02.ipynb")
    found = read(tmp_path, {"01": ["01"]}, others={"02"})
    assert graded(found) == {("alice", "01"): ALICE} and not found.strays


# Everybody, once --------------------------------------------------------------------------------------------

PEOPLE = [
    "\u0905\u0928\u0940\u0924\u093e \u0936\u0930\u094d\u092e\u093e",
    unicodedata.normalize("NFD", "Zo\u00eb Fran\u00e7ois"),
    "Sine\u0301ad O\u2019Brien",
    "Smith, John (Jack)",
    "\U0001f389 Party",
    "\u200f\u05d3\u05d5\u05d3",
    "\u674e\u660e",
    "x" * 150,
    "\U0001f389",
]


@pytest.mark.parametrize("person", PEOPLE, ids=ascii)
def test_names_of_people_come_through_and_numbers_tell_them_apart(tmp_path, person):
    names = [f"{person}_{number}_assignsubmission_file_/problem1.ipynb" for number in (7, 8)]
    found = read(put(tmp_path, *names))
    assert sorted(graded(found).values()) == sorted(names)
    for one in found.submissions:
        assert one.student.endswith(f"_{one.number}") and len(one.student.encode()) < 200
        assert one.student.isprintable() and one.platform == "Moodle"


SAME = {
    "Canvas": ["smithjohn_{}_67890_problem1.ipynb", "smithjohn_LATE_{}_67999_problem1-2.ipynb"],
    "Moodle": ["John Smith_{}_assignsubmission_file_/problem1.ipynb"],
    "Brightspace": [
        "{}-9 - John Smith - Nov 20, 2026 1103 AM - problem1.ipynb",
        "{}-9 - John Smith - Nov 20, 2026 203 PM - problem1.ipynb",
    ],
}


@pytest.mark.parametrize("platform", SAME)
def test_two_people_of_one_name_are_two_and_ids_stay_when_a_later_attempt_comes(tmp_path, platform):
    first = [SAME[platform][0].format(number) for number in (12345, 23456)]
    later = [SAME[platform][-1].format(number) for number in (12345, 23456)]
    before = students(read(put(tmp_path / "a", *first)))
    after = read(put(tmp_path / "b", *first, *later))
    assert len(before) == 2 and students(after) == before
    assert sorted(graded(after).values()) == sorted(later)
    assert len(set(first + later)) == 2 or all("the one that counts" in told(after) for _ in before)


def test_a_later_attempt_is_known_by_its_number_and_not_by_the_order_of_letters(tmp_path):
    found = read(put(tmp_path, "a_1_9_problem1.ipynb", "a_1_10_problem1.ipynb"))
    assert graded(found) == {("a_1", "problem1"): "a_1_10_problem1.ipynb"}
    assert "attempt 10" in told(found)


def test_blackboards_attempts_receipts_and_people(tmp_path):
    put(
        tmp_path,
        "ps1_ada_attempt_2026-11-20-14-03-22_problem1.ipynb",
        "ps1_ada_attempt_2026-11-20-14-03-22.txt",
        "ps1_ada_attempt_2026-11-21-14-03-22_problem1.ipynb",
        "ps1_ada_attempt_2026-11-21-14-03-22_helper.py",
        "ps1_ada_attempt_2026-11-20-14-03-22_old.py",
        "ps1_bob_attempt_2026-11-21-14-03-22.txt",
        "ps1_b_lee_attempt_2026-11-21-14-03-22_problem1.ipynb",
        "ps1_c_lee_attempt_2026-11-21-14-03-22_problem1.ipynb",
    )
    found = read(tmp_path)
    assert graded(found)["ada", "problem1"] == "ps1_ada_attempt_2026-11-21-14-03-22_problem1.ipynb"
    assert [list(one.extras) for one in found.submissions if one.student == "ada"] == [["helper.py"]]
    assert len(students(found)) == 4 and "bob" in students(found)
    assert [one.problem for one in found.submissions if one.student == "bob"] != [""]


def test_canvas_without_names_and_typed_text(tmp_path):
    found = read(put(tmp_path, "anon_x7Qa1_9_problem1.ipynb", "leeann_5_text.html", "LATE_anon_y_3_a.pdf"))
    by = {one.student: one.problem for one in found.submissions}
    assert by.keys() == {"anon_x7Qa1", "leeann_5", "anon_y"}
    assert "text.html" in by["leeann_5"] and "a.pdf" in by["anon_y"] and not by["anon_x7Qa1"]


OWN_NAMES = [
    "problem1 (1).ipynb",
    "problem1-Copy1.ipynb",
    "Copy of problem1.ipynb",
    "Kopie von problem1.ipynb",
    "Copia de problem1.ipynb",
    "Копия problem1.ipynb",
    "problem1 - Copy.ipynb",
    "problem1 copy 2.ipynb",
    "Problem1.ipynb",
    "problem1.ipynb.txt",
    "problem1-1.ipynb",
]


@pytest.mark.parametrize("name", OWN_NAMES)
@pytest.mark.parametrize("front", ["ada/ps1/", "ada/", "Ada_7_assignsubmission_file_/", "ada_1_2_"])
def test_copies_are_taken_and_told(tmp_path, front, name):
    found = read(put(tmp_path, front + name))
    assert list(graded(found).values()) == [front + name] and name in told(found)


@pytest.mark.parametrize(
    "name", ["problem12.ipynb", "aproblem1.ipynb", "problem1.py", "problem1.pdf", "x.html"]
)
@pytest.mark.parametrize("front", ["ada/ps1/", "ada/", "Ada_7_assignsubmission_file_/", "ada_1_2_"])
def test_what_is_no_notebook_of_the_assignment_leaves_a_blank_that_says_so(tmp_path, front, name):
    [one] = read(put(tmp_path, front + name)).submissions
    assert not one.files and name in one.problem and "problem1.ipynb" in one.problem


@pytest.mark.parametrize("front", ["ada/ps1/", "ada/", "Ada_7_assignsubmission_file_/", "ada_1_2_"])
@pytest.mark.parametrize("name", ["work.zip", "problem1.ipynb.zip"])
@pytest.mark.parametrize("inner", ["problem1.ipynb", "work/problem1.ipynb", "Copy of problem1.ipynb"])
def test_a_notebook_in_a_zip_is_taken(tmp_path, front, name, inner):
    put(tmp_path, front + name)
    folder = inner.rpartition("/")[0]
    (tmp_path / (front + name)).write_bytes(zipped(inner, **{f"{folder}/helper.py".lstrip("/"): "x"}))
    [one] = read(tmp_path).submissions
    assert one.files["problem1"].read().decode() == inner and list(one.extras) == ["helper.py"]


def test_a_notebook_whose_name_is_another_ones_with_a_number_is_not_a_copy_of_it(tmp_path):
    found = read(
        put(tmp_path, "ada/ps1/problem1.ipynb", "ada/ps1/problem1_2.ipynb"),
        {"ps1": ["problem1", "problem1_2"]},
    )
    assert graded(found) == {
        ("ada", "problem1"): "ada/ps1/problem1.ipynb",
        ("ada", "problem1_2"): "ada/ps1/problem1_2.ipynb",
    }


def test_beside_its_very_name_a_copy_does_not_count_and_is_told(tmp_path):
    found = read(put(tmp_path, "ada/ps1/problem1.ipynb", "ada/ps1/problem1-Copy9.ipynb"))
    assert graded(found)["ada", "problem1"] == "ada/ps1/problem1.ipynb" and "Of 2 files" in told(found)
