"""Every choice question of the course: nothing gives the key away, every wrong option says why."""

import re

import pytest

from autograder import exercises, handouts
from autograder.exercise import Variant
from autograder.handouts import choice
from autograder.handouts.choice import Sheet
from autograder.keys import questions
from autograder.keys.questions import EXERCISES, parse, sheet
from autograder.verdict import grade
from autograder.work import Work
from rslib.errors import ConfigError
from tests.questions_lint import lint


def shown(student: str = "") -> dict[str, Sheet]:
    """The sheets of questions that the course hands out, by exercise."""
    choices = (e for e in exercises.EXERCISES.values() if e.given is not None and not e.measured)
    found = {e.id: e.given(Variant(student, "", e.id)) for e in choices}
    return {id: sheet for id, sheet in found.items() if isinstance(sheet, Sheet)}


SHEETS = {id: sheet(id) for id in EXERCISES}
"""The same with their keys."""
each = pytest.mark.parametrize("id", SHEETS)


def test_over_the_whole_course_the_key_is_neither_first_nor_longest():
    assert lint([q for sheet in SHEETS.values() for q in sheet.questions]) == []


@each
def test_within_an_exercise_the_key_is_neither_first_nor_longest(id):
    """A small exercise may have one long key more than chance: the share is of few questions."""
    questions = SHEETS[id].questions
    if len(questions) >= 4:
        assert lint(questions) == []


@each
def test_every_wrong_option_is_told_its_own_feedback(id):
    exercise, sheet = exercises.find(id), SHEETS[id]
    for k, question in enumerate(sheet.questions):
        for tier, options in (("answer", question.answers), ("reason", question.reasons)):
            for chosen in range(1, len(options)):
                said = {question.id: question.label(sheet.variant, **{tier: chosen})}
                outcome = grade(exercise, Work({exercise.names[0]: said}, sheet.variant), 0).outcomes[k]
                assert (outcome.message, outcome.idea) == (options[chosen].feedback, options[chosen].idea)
                assert outcome.points == 0


@each
def test_texts_and_feedback_differ_and_are_sentences(id):
    for question in SHEETS[id].questions:
        for options in (question.answers, question.reasons):
            assert len({o.text for o in options}) == len(options)
            for option in options[1:]:
                assert len(option.feedback.split()) >= 5, option.feedback
                assert re.search(r"[.?]$", option.feedback), option.feedback


@each
def test_a_feedback_never_quotes_the_key(id):
    for question in SHEETS[id].questions:
        for options in (question.answers, question.reasons):
            assert all(options[0].text not in o.feedback for o in options[1:] if len(options[0].text) > 12)


@each
def test_learners_see_different_orders(id):
    orders = {repr(shown(str(k))[id]) for k in range(5)}
    assert len(orders) > 1


def test_the_learners_file_is_the_keys_file_without_keys():
    assert choice.content() == questions.content(), "run: python -m autograder.keys.questions"


def test_every_sheet_of_questions_has_its_keys():
    assert shown().keys() == SHEETS.keys()


@each
def test_what_is_shown_is_what_is_marked(id):
    for student in ("", "ada", "bob"):
        keyed = sheet(id, Variant(student, "", id)).questions
        assert [q.asked() for q in keyed] == list(shown(student)[id].questions)


def test_what_given_hands_out_is_what_the_exercise_says():
    for exercise in exercises.EXERCISES.values():
        variant = Variant("ada", "2026", exercise.id)
        handed = handouts.handout(variant)
        assert (handed is None) == (exercise.given is None), exercise.id
        assert handed is None or repr(handed) == repr(exercise.given(variant)), exercise.id


@pytest.mark.parametrize(
    "text",
    [
        "## Why?\n= Yes\n- No\n  F01: Look again.\n",
        "## a. Why?\n- No\n  F01: Look again.\n= Yes\n",
        "## a. Why?\n= Yes\n= No\n",
        "## a. Why?\n= Yes\n- No\n",
        "## a. Why?\n= Yes\n- No\n   F01: Look again.\n",
        "## a. Why?\n= Yes\n- No\n  Look again.\n",
        "## a. Why?\n= Yes\n- No\n  F01: Look again.\na word that stands nowhere\n",
        "## a. Why?\n= Yes\n- No\n  F01: Look again.\nbecause\n- No\n  F01: Look again.\n",
    ],
)
def test_a_text_with_a_line_that_does_not_belong_there_is_refused(text):
    with pytest.raises(ConfigError, match="question"):
        parse(text)
