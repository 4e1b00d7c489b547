"""How learning platforms name what they let an instructor download: whose it is, which attempt, which file.

Sources: Canvas, `lib/content_zipper.rb` (`NAME[_LATE]_USER_FILE_own name`, `anon_ID` where names are hidden,
`_text.html` and `_link.html` for what was typed); Moodle, `mod/assign/classes/downloader.php`
(`FULL NAME_NUMBER_assignsubmission_file[_]`, a folder or the beginning of a file's name; an underscore of a
name is a space there; the number is the participant's in this assignment); Blackboard, as nbgrader's
`zip_collect` reads it (`ASSIGNMENT_USERNAME_attempt_YYYY-MM-DD-hh-mm-ss_own name`, and a receipt `....txt`);
Brightspace, `USER-SUBMISSION - NAME - Mon D, YYYY hmm[ AM] - own name`, or a folder of the first three parts.

Everything before the student's own file name is the platform's and is read from the left, so that no file
name can pretend to be somebody else's.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

CANVAS = re.compile(
    r"(?:(?P<who>.*?)_)??(?P<late>LATE_)?(?P<number>\d+|anon_[A-Za-z0-9]+)_"
    r"(?:(?P<attempt>\d+)_(?P<rest>.+)|(?P<typed>(?:text|link)\.html))",
    re.DOTALL,
)
MOODLE = re.compile(
    r"(?P<who>.+?)(?:_(?P<number>\d+))?_assignsubmission_(?:file|onlinetext)(?:_(?P<rest>.*))?", re.DOTALL
)
BLACKBOARD = re.compile(
    r"(?P<before>.+?)_attempt_(?P<attempt>\d{4}(?:-\d\d){5})(?:_(?P<rest>.+)|(?P<receipt>\.txt))", re.DOTALL
)
BRIGHTSPACE = re.compile(
    r"(?P<number>\d+)-\d+ - (?P<who>.+?) - (?P<attempt>[^-]*?\b\d{4}\b[^-]*?)(?: - (?P<rest>.+))?", re.DOTALL
)
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


@dataclass(frozen=True)
class Name:
    """What a platform's name of a file or folder says.

    student: a readable id, which holds the platform's number. number: the platform's, or "". attempt: a later
    one is larger. rest: the file's own name, "" for a folder. note: a sentence on what the platform says
    besides, or "". whole: what tells two people without a number apart. receipt: no file of the student's.
    """

    student: str
    number: str = ""
    attempt: tuple[str | int, ...] = ()
    rest: str = ""
    note: str = ""
    whole: str = ""
    receipt: bool = False

    @property
    def key(self) -> str:
        """The same for all that one person handed in, and for nobody else's."""
        return self.number or self.whole or self.student


def readable(name: str) -> str:
    r"""A person's name as a part of an id: letters with their marks, digits, spaces, - ' . alone.

    >>> readable("O\u2019Brien,  Zoe\u0308 (\U0001f389)"), readable("\U0001f389")
    ("O'Brien Zoë", 'student')
    """
    text = unicodedata.normalize("NFC", name.replace("\u2019", "'"))
    letters = "".join(c if unicodedata.category(c)[0] in "LMN" or c in "-'. _" else " " for c in text[:400])
    return " ".join(letters.split()).strip("-'. _")[:40].rstrip("-'. _") or "student"


def canvas(name: str) -> Name | None:
    """Whose a file of Canvas's download is.

    >>> name = canvas("smithjohn_LATE_12345_67890_ps1-2.ipynb")
    >>> name.student, name.attempt, name.rest, name.note
    ('smithjohn_12345', (67890,), 'ps1-2.ipynb', 'Canvas marks it as late.')
    >>> canvas("evil_1_2_alice_3_4_ps1.ipynb").student, canvas("anon_x7Qa1_9_a.ipynb").student
    ('evil_1', 'anon_x7Qa1')
    """
    match = CANVAS.fullmatch(name[:1000])
    if match is None or (match["who"] is None and not match["number"].startswith("anon_")):
        return None
    number = match["number"]
    student = number if number.startswith("anon_") else f"{readable(match['who'])}_{number}"
    rest = match["typed"] or match["rest"]
    note = "Canvas marks it as late." if match["late"] else ""
    return Name(student, number, (int(match["attempt"] or 0),), rest, note)


def moodle(name: str) -> Name | None:
    """Whose a folder or a file of Moodle's download is.

    >>> moodle("Ada Lovelace_7_assignsubmission_file_").student
    'Ada Lovelace_7'
    >>> moodle("Ada_7_assignsubmission_file_a.py").rest
    'a.py'
    """
    match = MOODLE.fullmatch(name[:1000])
    if match is None:
        return None
    number = match["number"] or ""
    student = f"{readable(match['who'])}_{number}".rstrip("_")
    return Name(student, number, rest=match["rest"] or "", whole=match["who"])


def blackboard(name: str) -> Name | None:
    """Whose a file of Blackboard's download is; the student is what stands after the last underscore.

    >>> blackboard("ps1_alovelace_attempt_2026-11-20-14-03-22_problem1.ipynb").student
    'alovelace'
    >>> blackboard("ps1_alovelace_attempt_2026-11-20-14-03-22.txt").rest
    ''
    """
    match = BLACKBOARD.fullmatch(name)
    if match is None:
        return None
    before = match["before"]
    student = readable(before.rpartition("_")[2])
    receipt = match["receipt"] is not None
    return Name(student, "", (match["attempt"],), match["rest"] or "", whole=before, receipt=receipt)


def brightspace(name: str) -> Name | None:
    """Whose a file or a folder of Brightspace's download is.

    >>> name = brightspace("12345-67890 - Ada Lovelace - Nov 20, 2026 203 PM - problem1.ipynb")
    >>> name.student, name.attempt, name.rest
    ('Ada Lovelace_12345', ('2026-11-20 14:03',), 'problem1.ipynb')
    """
    match = BRIGHTSPACE.fullmatch(name)
    if match is None:
        return None
    student, moment = f"{readable(match['who'])}_{match['number']}", _moment(match["attempt"])
    odd = "" if moment[:1].isdigit() else f"The time {moment[:40]!r} was read as a text, which may not sort."
    return Name(student, match["number"], (moment,), match["rest"] or "", odd)


def _moment(text: str) -> str:
    """Brightspace's time in an order that sorts, or as it is where it is written in another language.

    >>> _moment("Oct 1, 2025 1222 AM"), _moment("Nov 20, 2026 1403")
    ('2025-10-01 00:22', '2026-11-20 14:03')
    """
    match = re.fullmatch(r"([A-Za-z]{3})\w* (\d{1,2}), (\d{4}) (\d{1,2})(\d\d)(?: ([AP])M)?", text.strip())
    if match is None or match[1].lower() not in MONTHS:
        return text.strip()
    hour = int(match[4]) % 12 + (12 if match[6] == "P" else 0) if match[6] else int(match[4])
    month = MONTHS.index(match[1].lower()) + 1
    return f"{match[3]}-{month:02}-{int(match[2]):02} {hour:02}:{match[5]}"


READERS: dict[str, Callable[[str], Name | None]] = {
    "Moodle": moodle,
    "Brightspace": brightspace,
    "Blackboard": blackboard,
    "Canvas": canvas,
}
"""By platform, the ones that cannot be mistaken first."""
