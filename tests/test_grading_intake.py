"""What was handed in, and by whom: trees, downloads of learning platforms, zips, and names that deceive."""

import csv
import io
import os
import random
import unicodedata
import zipfile

import pytest
from nbgrader.utils import parse_utc

from autograder.grading import intake, roster
from autograder.grading.run import _digest
from rslib.errors import DataError
from tests import grading, hostile

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


def content(one, name):
    """What counts as a notebook, or why nothing does."""
    try:
        return one.problem or one.files[name].read().decode()
    except intake.Unreadable as error:
        return str(error)


def graded(found):
    """The content that counts, by student and notebook; "" for a submission without any."""
    return {
        (one.student, name): content(one, name) for one in found.submissions for name in one.files or [""]
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
    ["alice.", "alice ", " alice", "ali\u200bce", "\u202ealice", "-alice", "ali\nce", "a" * 101, "ali*ce"],
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
    put(tmp_path / "course", "source/01/01.ipynb", "release/01/01.ipynb", "nbgrader_config.py")
    assert students(read(tmp_path / "course", NAMES)) == {"alice", "bob"}


@pytest.mark.parametrize(
    "names",
    [
        ("class/ada/01/01.ipynb", "class/bob/01/01.ipynb"),
        ("class/ada/01/01.ipynb",),
        ("class/ada/01.ipynb", "class/bob/01.ipynb"),
        ("class/ada_01.ipynb",),
        ("class/ada_1_2_01.ipynb",),
        ("class/1-2 - Ada - Nov 20, 2026 203 PM/01.ipynb", "class/index.html"),
    ],
)
def test_a_folder_that_holds_a_class_is_not_taken_for_one_student(tmp_path, names):
    (tmp_path / "all.zip").write_bytes(zipped(*names))
    for where in (put(tmp_path / "in", *names), tmp_path / "all.zip"):
        with pytest.raises(DataError, match="one folder"):
            read(where, NAMES)


def test_a_zip_in_canvas_whose_name_can_be_read_in_two_ways_is_told(tmp_path):
    forged = "alice_1_999_x_2_20_work.zip"  # of somebody who calls himself alice_1_999_x
    put(tmp_path, "alice_1_10_work.zip", forged)
    (tmp_path / "alice_1_10_work.zip").write_bytes(zipped(**{"problem1.ipynb": "hers"}))
    (tmp_path / forged).write_bytes(zipped(**{"problem1.ipynb": "his"}))
    found = read(tmp_path)
    assert graded(found) == {("alice_1", "problem1"): "hers"} and forged in found.strays


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
    assert one.files["problem1"].read().decode() == inner and "helper.py" in one.extras


def test_a_copy_without_a_students_name_makes_nobody(tmp_path):
    names = ("Copy of problem1.ipynb", "Kopie von problem1.ipynb", "problem1 (1).ipynb", "ada problem1.ipynb")
    found = read(put(tmp_path, *names))
    assert students(found) == {"ada"} and set(names[:3]) == set(found.strays)


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


PIECES = [
    "ada",
    "Bob",
    "ps1",
    "problem1.ipynb",
    "problem1 (1).ipynb",
    "x.pdf",
    "w.zip",
    "timestamp.txt",
    "d",
    "\U0001f389",
]
FRONTS = [
    "",
    "ada/",
    "ada/ps1/",
    "Ada_7_assignsubmission_file_/",
    "ada_1_2_",
    "ps1_ada_attempt_2026-11-20-14-03-22_",
]
FRONTS += [
    "1-2 - Ada - Nov 20, 2026 203 PM/",
    "1-2 - Ada - Nov 20, 2026 203 PM - ",
    "ada_",
    "submitted/ada/ps1/",
]


@pytest.mark.parametrize("seed", range(30))
def test_everything_that_was_handed_in_is_in_a_list(tmp_path, seed):
    rng = random.Random(seed)
    names = set()
    for _ in range(rng.randint(1, 8)):
        front = rng.choice(FRONTS if seed % 2 else FRONTS[seed % len(FRONTS) :][:2])
        names.add(front + "/".join(rng.choices(PIECES, k=rng.randint(1, 3))))
    names = {name for name in names if not any(other.startswith(f"{name}/") for other in names)}
    found = read(put(tmp_path, *sorted(names)))
    listed, texts = set(graded(found).values()), told(found)
    listed |= {file.read().decode() for one in found.submissions for file in one.extras.values()}
    for name in names - listed:
        *folders, own = name.split("/")
        for front in FRONTS if not folders else ():
            own = own.removeprefix(front)
        another = own.startswith("problem1") and "the one that counts" in texts
        folder = any(part.endswith(".ipynb") for part in folders)
        assert own in texts or another or folder or own == "timestamp.txt", name


# Damaged and hostile zips -----------------------------------------------------------------------------------


def bomb():
    """A zip of 60 MB of zeros that says it holds 1000 bytes."""
    content = zipped(**{"problem1.ipynb": bytes(60_000_000)})
    return content.replace((60_000_000).to_bytes(4, "little"), (1000).to_bytes(4, "little"))


def locked():
    """A zip whose entry is marked as protected by a password."""
    content = bytearray(zipped("problem1.ipynb"))
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(mark) + place] |= 1
    return bytes(content)


def twice():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("problem1.ipynb", "first")
        archive.writestr("problem1.ipynb", "second")
    return buffer.getvalue()


def linked():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        link = zipfile.ZipInfo("problem1.ipynb")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    return buffer.getvalue()


def crowded():
    """More files than are looked at, and the notebook among the last."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for k in range(3000):
            archive.writestr(f"f{k}", "")
        archive.writestr("problem1.ipynb", "last")
    return buffer.getvalue()


def wide():
    """A table of contents of more than 16 MB."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for k in range(290):
            archive.writestr(f"{k}" + "x" * 60_000, "")
    return buffer.getvalue()


def deep():
    content = zipped("problem1.ipynb")
    for _ in range(8):
        content = zipped(**{"a.zip": content})
    return content


def strange():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("problem1.ipynb", "x")
    return buffer.getvalue()


WHOLE = zipped(**{"problem1.ipynb": os.urandom(5000)})
DAMAGED = {
    "empty": b"",
    "text": b"no zip",
    "no end": WHOLE[:-30],
    "half": WHOLE[: len(WHOLE) // 2],
    "garbled": WHOLE[:60] + bytes(3000) + WHOLE[3060:],
    "bomb": bomb(),
    "locked": locked(),
    "twice": None,
    "link": linked(),
    "crowded": crowded(),
    "wide": wide(),
    "deep": deep(),
    "strange": strange(),
    "upwards": zipped("../../problem1.ipynb"),
    "absolute": zipped("/problem1.ipynb"),
    "endless": WHOLE[:-6] + b"\xff\xff\xff\x7f\x00\x00",
    "no files": zipped(),
}


@pytest.mark.parametrize("kind", DAMAGED)
@pytest.mark.parametrize(
    "name", ["evil/ps1/work.zip", "evil_2_20_work.zip", "Evil_2_assignsubmission_file_/a.zip", "evil.zip"]
)
def test_a_damaged_zip_of_a_student_is_told_and_the_others_are_graded(tmp_path, kind, name):
    honest = name.replace("evil", "ada").replace("Evil_2", "Ada_1").replace("_2_20", "_1_10")
    honest = honest.rpartition("/")[0] + "/problem1.ipynb" if "/" in name else "ada_1_10_problem1.ipynb"
    honest = "ada_problem1.ipynb" if name == "evil.zip" else honest
    put(tmp_path, name, honest)
    (tmp_path / name).write_bytes(twice() if kind == "twice" else DAMAGED[kind])
    found = read(tmp_path)
    marks = {one.student[:3].lower(): content(one, "problem1") for one in found.submissions}
    assert marks["ada"] == honest and marks["evi"].endswith((".", ":", "zip", "BadZipFile")), marks
    assert len(marks["evi"]) > 20


@pytest.mark.parametrize("kind", ["empty", "text", "no end", "half", "wide"])
def test_a_damaged_zip_of_a_class_is_refused_in_a_sentence(tmp_path, kind):
    (tmp_path / "all.zip").write_bytes(DAMAGED[kind])
    with pytest.raises(DataError, match="zip"):
        read(tmp_path / "all.zip")


@pytest.mark.parametrize("kind", ["garbled", "bomb", "locked", "link", "strange", "upwards", "absolute"])
def test_a_damaged_entry_in_the_zip_of_a_class_is_one_students_alone(tmp_path, kind):
    bad = DAMAGED[kind].replace(b"problem1.ipynb", b"evil_2_3.ipynb") if kind != "garbled" else None
    (tmp_path / "all.zip").write_bytes(
        zipped("ada_1_2_problem1.ipynb", **{"evil_2_3_w.zip": bad or DAMAGED[kind]})
    )
    assert graded(read(tmp_path / "all.zip"))["ada_1", "problem1"] == "ada_1_2_problem1.ipynb"


def test_names_in_a_zip_without_the_flag_for_utf_8_are_read_as_utf_8(tmp_path):
    content = zipped("Zo\u00eb_7_assignsubmission_file_/problem1.ipynb")
    flags = bytearray(content)
    for mark, place in ((b"PK\x03\x04", 7), (b"PK\x01\x02", 9)):
        flags[flags.index(mark) + place] &= ~8
    (tmp_path / "all.zip").write_bytes(bytes(flags))
    assert students(read(tmp_path / "all.zip")) == {"Zo\u00eb_7"}


def test_a_student_with_thousands_of_files_costs_nobody_else_anything(tmp_path):
    put(tmp_path, ALICE, "evil/01/01.ipynb")
    for k in range(1500):
        (tmp_path / "evil" / "01" / f"0{k}").touch()
    found = read(tmp_path, NAMES)
    assert graded(found)["alice", "01"] == ALICE
    assert graded(found)["evil", "01"] == "evil/01/01.ipynb" and "more than" in told(found)


# A student's own files --------------------------------------------------------------------------------------


@pytest.mark.parametrize("front", ["ada/ps1/", "ada/", "Ada_7_assignsubmission_file_/"])
def test_a_students_ordinary_files_stay_beside_his_notebook(tmp_path, front):
    names = ["problem1.ipynb", "helper.py", "data/table.csv", "other.ipynb", "problem1-Copy1.ipynb"]
    put(tmp_path, *[front + name for name in names])
    [one] = read(tmp_path).submissions
    assert sorted(one.extras) == ["data/table.csv", "helper.py", "other.ipynb"]
    assert one.extras["data/table.csv"].read().decode() == f"{front}data/table.csv"


def test_extras_are_ordinary_files_with_plain_names_within_bounds(tmp_path):
    front = tmp_path / "ada" / "ps1"
    put(front, "problem1.ipynb", ".hidden", "-rf", "~x", "a\nb.py", "\u202egpj.py", "a/b/c/d/e.py", "ok.py")
    (front / "link.py").symlink_to("/etc/passwd")
    os.mkfifo(front / "pipe")
    os.truncate(front / "ok.py", 1000)
    (front / "large.bin").touch()
    os.truncate(front / "large.bin", intake.MAX_FILE + 1)
    put(front, *[f"many{k}.txt" for k in range(150)])
    [one] = read(tmp_path).submissions
    assert len(one.extras) <= intake.MAX_EXTRAS and "ok.py" not in {".hidden", "-rf"} & one.extras.keys()
    assert (
        not {".hidden", "-rf", "~x", "a\nb.py", "\u202egpj.py", "link.py", "pipe", "large.bin"}
        & one.extras.keys()
    )
    assert all("/" not in name for name in one.extras) and "Left out" in told(read(tmp_path))


def test_extras_count_in_the_digest_of_a_submission(tmp_path):
    put(tmp_path, "ada/ps1/problem1.ipynb", "ada/ps1/helper.py")
    [before] = read(tmp_path).submissions
    first = _digest(before)
    (tmp_path / "ada/ps1/helper.py").write_text("another")
    [after] = read(tmp_path).submissions
    assert _digest(after) != first


def test_a_tree_of_thousands_of_folders_ends_and_is_told(tmp_path):
    put(tmp_path, ALICE, "evil/01/01.ipynb")
    for k in range(1200):
        (tmp_path / "evil" / "01" / f"d{k}" / "d").mkdir(parents=True)
    found = read(tmp_path, NAMES)
    assert graded(found)["alice", "01"] == ALICE and "left out" in told(found)


def test_a_zip_of_zips_is_one_for_each_student(tmp_path):
    zips = {f"{who}.zip": zipped(**{"w/problem1.ipynb": who, "w/helper.py": who}) for who in ("ada", "bob")}
    (tmp_path / "all.zip").write_bytes(zipped(**zips))
    found = read(tmp_path / "all.zip")
    assert graded(found) == {("ada", "problem1"): "ada", ("bob", "problem1"): "bob"}
    assert {one.extras["helper.py"].read().decode() for one in found.submissions} == {"ada", "bob"}


def test_a_later_attempt_without_the_notebook_is_told(tmp_path):
    front = "ps1_ada_attempt_2026-11-2{}-14-03-22_"
    found = read(put(tmp_path, front.format(0) + "problem1.ipynb", front.format(1) + "report.pdf"))
    assert list(graded(found).values()) == [front.format(0) + "problem1.ipynb"]
    assert "A later attempt holds no problem1.ipynb" in told(found)


def test_a_student_whose_folder_cannot_be_read_is_told(tmp_path, monkeypatch):
    put(tmp_path, ALICE, "eve/01/01.ipynb")
    scan = os.scandir

    def refuse(path):
        if str(path).endswith("eve"):
            raise PermissionError(13, "Permission denied")
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert any("eve: A folder could not be read" in text for text in read(tmp_path, NAMES).warnings)


# Times ------------------------------------------------------------------------------------------------------

TIMES = [
    ("2015-02-02 15:58:23.948203 America/Los_Angeles", "2015-02-02T23:58:23.948203", ""),
    ("2015-02-02 15:58:23.948203 CET", "2015-02-02T14:58:23.948203", ""),
    ("2015-02-02 15:58:23.948203 UTC", "2015-02-02T15:58:23.948203", ""),
    ("2015-02-02 15:58:23", "2015-02-02T15:58:23", ""),
    ("2015-02-02T15:58:23Z", "2015-02-02T15:58:23", ""),
    ("2015-02-02 15:58:23-08:00", "2015-02-02T23:58:23", ""),
    ("2015-02-02 15:58:23.948203 -0800", "2015-02-02T23:58:23.948203", "own programs"),
    ("2015-02-02 15:58:23 +05:30", "2015-02-02T10:28:23", "own programs"),
    ("2015-02-02 15:58:23 -03", "2015-02-02T18:58:23", "own programs"),
    ("2015-02-02 15:58:23 +0000", "2015-02-02T15:58:23", ""),
    ("2015-02-02 15:58:23 Atlantis/City", "2015-02-02T15:58:23", "not known"),
    ("2015-02-02 15:58:23 ../../etc/passwd", None, "zone"),
    ("tomorrow-ish", None, "no time"),
    ("", None, "no time"),
    ("9" * 300, None, "no time"),
]


@pytest.mark.parametrize(("text", "expected", "why"), TIMES)
def test_the_collectors_time_is_nbgraders_own_reading_or_a_named_problem(tmp_path, text, expected, why):
    put(tmp_path, "ada/ps1/problem1.ipynb")
    (tmp_path / "ada/ps1/timestamp.txt").write_text(text)
    found = read(tmp_path)
    [one] = found.submissions
    assert (one.when and one.when.isoformat()) == expected and not one.problem and not one.extras
    assert bool(found.warnings) is bool(why) and why in told(found)
    if expected:
        assert (one.when == parse_utc(text)) is (why != "own programs")


# The same person again --------------------------------------------------------------------------------------


def journal(*rows):
    keys = ("student", "assignment", "platform", "number")
    return [dict(zip(keys, row, strict=True)) for row in rows]


def test_a_number_that_was_graded_before_keeps_its_id(tmp_path):
    found = read(put(tmp_path, "doejane_12_99_problem1.ipynb"))
    roster.settle(found.submissions, journal(("smithjane_12", "ps0", "Canvas", "12")), None, {})
    assert students(found) == {"smithjane_12"}


def test_moodles_numbers_are_of_one_assignment_and_a_worksheet_tells_who_is_who(tmp_path):
    front = "Identifier,Full name,Email address,Grade,Last modified (grade)\n"
    (tmp_path / "sheet.csv").write_text(
        front + "Participant 93,Ada,ada@uni.org,,-\nParticipant 7,Bob,bob@uni.org,,-\n"
    )
    put(
        tmp_path / "in",
        "Ada_93_assignsubmission_file_/problem1.ipynb",
        "Bob_7_assignsubmission_file_/problem1.ipynb",
    )
    found = read(tmp_path / "in")
    before = journal(("Ada_7", "ps0", "Moodle", "7"))
    roster.settle(found.submissions, before, roster.read(tmp_path / "sheet.csv"), {"Ada_7": "ada@uni.org"})
    assert students(found) == {"Ada_7", "Bob_7"}


def test_receipts_of_blackboard_tell_usernames_with_an_underscore(tmp_path):
    front = "ps1_{}_attempt_2026-11-21-14-03-22"
    for user in ("b_lee", "c_lee"):
        put(tmp_path, f"{front.format(user)}_problem1.ipynb")
        (tmp_path / f"{front.format(user)}.txt").write_text(f"Name: Lee ({user})\nAssignment: ps1\n")
    (tmp_path / "ps1_eve_attempt_2026-11-21-14-03-22.txt").write_text("Name: Eve (b_lee)\n")
    assert students(read(tmp_path)) == {"b_lee", "c_lee", "eve"}


# A whole run ------------------------------------------------------------------------------------------------

LIST = """Student,ID,SIS User ID,SIS Login ID,Section,hw (77)
"Smith, John",23456,u2,jsmith,Lab 1,
"Smith, John",34567,u3,jsmith2,Lab 2,
"Ghost, G",45678,u4,ghost,Lab 2,
"""


@pytest.mark.long
@grading.needs_walls
def test_a_download_of_canvas_is_graded_and_goes_back_with_its_ids(tmp_path):
    right, wrong = (hostile.Attack("x", kind).notebook() for kind in ("honest", "steal"))
    work = {
        "smithjohn_23456_67890_hw.ipynb": wrong,
        "smithjohn_LATE_23456_67999_hw-2.ipynb": right,
        "smithjohn_34567_67891_Copy of hw.ipynb": wrong,
        "evil_5_67892_smithjohn_34567_99999_hw.ipynb": right,
        "zed_6_67893_<img src=x onerror=alert(1)>.pdf": b"%PDF",
        "readme.txt": b"?",
    }
    (tmp_path / "all.zip").write_bytes(zipped(**work))
    (tmp_path / "roster.csv").write_text(LIST)
    course = hostile.write_course(tmp_path / "course")
    done = grading.grade(course, "--roster", str(tmp_path / "roster.csv"), submissions=tmp_path / "all.zip")
    assert done.returncode == 0, done.stderr
    rows = {row[1]: row for row in csv.reader((course / "canvas.csv").open())}
    assert rows["ID"] == ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", "hw (77)"]
    assert [rows[k][-1] for k in ("23456", "34567", "45678", "5", "6")] == ["6.0", "0.0", "", "0.0", "0.0"]
    assert "readme.txt" in done.stdout and "evil_5 is not in the roster" in done.stdout
    assert not (course / "submitted").exists()
    pages = {path.parts[-3]: path.read_text() for path in course.glob("feedback/*/hw/hw.html")}
    assert "67999" in pages["smithjohn_23456"] and "late" in pages["smithjohn_23456"]
    assert "<img src=x" not in pages["zed_6"] and "onerror" in pages["zed_6"]


@grading.needs_walls
def test_a_tree_stays_as_it_is_and_feedback_finds_its_way_into_the_exchange(tmp_path):
    course = grading.course(tmp_path, hostile.Attack("alice", "honest"))
    folder = course / "submitted" / "alice" / "hw"
    (folder / "timestamp.txt").write_text("2026-11-20 14:03:22.000000 UTC")
    (folder / "submission_secret.txt").write_text("s" * 64)
    evil = course / "submitted" / "evil" / "hw"
    evil.mkdir(parents=True)
    (evil / "alice_hw-99.ipynb").write_bytes(hostile.Attack("evil", "steal").notebook())
    before = {path: path.read_bytes() for path in (course / "submitted").rglob("*") if path.is_file()}
    done = grading.grade(course)
    assert done.returncode == 0, done.stderr
    assert before == {path: path.read_bytes() for path in (course / "submitted").rglob("*") if path.is_file()}
    records = grading.records(course)
    assert records.keys() == {"alice", "evil"} and records["alice"]["points"] == hostile.AUTOMATIC
    assert "alice_hw-99.ipynb" in records["evil"]["problem"]
    for step in ("autograded", "feedback"):
        assert (course / step / "alice" / "hw" / "submission_secret.txt").read_text() == "s" * 64
        assert (
            (course / step / "alice" / "hw" / "timestamp.txt").read_text().startswith("2026-11-20T14:03:22")
        )
