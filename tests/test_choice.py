"""Choice questions: two tiers, shuffled for each learner, each wrong option with its reason."""

from functools import partial

import pytest

from autograder.exercise import ANSWERED, Exercise, Part, Variant
from autograder.handouts.choice import Sheet
from autograder.keys.questions import Option, Question, grade_question
from autograder.verdict import grade
from autograder.work import Work
from rslib.errors import ConfigError
from tests.questions_lint import lint

WRONG = tuple(Option(f"wrong {k}, a longer text", f"F{k:02d}", f"because {k}") for k in (1, 2, 3))
QUESTION = Question("a", "Which?", (Option("right"), *WRONG), (Option("reason"), *WRONG))
SIMPLE = Question("b", "True?", (Option("true"), Option("false", "F01", "no")), fixed=True)
PARTS = tuple(Part(q.id, 0.5, partial(grade_question, q, "answers")) for q in (QUESTION, SIMPLE))
CHOICE = Exercise("9.1", "Choice", 1, 3, ("answers",), PARTS)
ADA = Variant("ada", "", "9.1")


def outcome(said, k=0):
    return grade(CHOICE, Work({"answers": said}, ADA), 0).outcomes[k]


def test_the_key_of_every_learner_passes():
    for learner in map(str, range(50)):
        variant = Variant(learner, "", "9.1")
        said = {"a": QUESTION.label(variant), "b": SIMPLE.label(variant)}
        assert grade(CHOICE, Work({"answers": said}, variant), 0).points == 1


def test_a_right_answer_for_a_wrong_reason_earns_nothing_and_hears_why():
    found = outcome({"a": QUESTION.label(ADA, 0, 2)})
    assert (found.points, found.check, found.idea, found.message) == (
        0,
        "question a: reason",
        "F02",
        "because 2",
    )


def test_a_wrong_answer_hears_the_feedback_of_that_answer():
    found = outcome({"a": QUESTION.label(ADA, 3, 0)})
    assert (found.check, found.idea, found.message) == ("question a: answer", "F03", "because 3")


def test_exactly_one_label_of_sixteen_passes():
    passed = [a + d for a in "ABCD" for d in "1234" if outcome({"a": a + d}).passed]
    assert passed == [QUESTION.label(ADA)]


@pytest.mark.parametrize("said", ["", "B", "22", "Z9", 3, ["B2"], "B2 or C1"])
def test_a_label_that_cannot_be_read_is_a_matter_of_form(said):
    assert outcome({"a": said}).check in ("question a: form", ANSWERED)


def test_case_and_blanks_do_not_matter():
    assert outcome({"a": f" {QUESTION.label(ADA).lower()} "}).passed


def test_fixed_answers_stand_in_the_same_order_for_everybody():
    orders = {tuple(SIMPLE.order(Variant(str(k)))[0]) for k in range(30)}
    assert orders == {(1, 0)}  # false before true


def test_the_sheet_shows_every_option_once_as_text_and_as_html():
    sheet = Sheet("9.1", (QUESTION.asked(), SIMPLE.asked()), ADA)
    for text in (option.text for option in (*QUESTION.answers, *QUESTION.reasons)):
        assert text in repr(sheet) and text in sheet._repr_html_()


def test_the_lint_finds_a_key_that_is_always_longest():
    long = Question("c", "Which?", (Option("the longest option of them all, by far"), *WRONG))
    assert lint([long]) == ["answers: the key is longest in 100% of cases, chance is 25%"]
    assert lint([QUESTION, SIMPLE]) == []


def test_the_lint_finds_a_key_that_is_always_first(monkeypatch):
    monkeypatch.setattr(Question, "order", lambda self, variant: ([0, 1, 2, 3], [0, 1, 2, 3]))
    assert "first in 100%" in lint([QUESTION])[0]


def test_a_wrong_option_without_feedback_is_refused():
    with pytest.raises(ConfigError):
        Question("d", "Which?", (Option("right"), Option("wrong")))


def test_what_learners_have_names_neither_a_key_nor_an_idea():
    asked = QUESTION.asked()
    assert asked.answers == tuple(sorted(o.text for o in QUESTION.answers))
    assert not {"F01", "because 1"} & set(repr(asked).split("'"))


def test_a_label_is_had_by_the_first_words_of_an_option():
    sheet = Sheet("9.1", (QUESTION.asked(), SIMPLE.asked()), ADA)
    said = sheet.labels({"a": ("right", "wrong 2"), "b": ("true",)})
    assert said == {"a": QUESTION.label(ADA, 0, 2), "b": SIMPLE.label(ADA)}
    with pytest.raises(ConfigError, match="3 options begin"):
        sheet.labels({"a": ("wrong", "reason")})
