"""The map from the topic's items to exercises says what is there."""

from autograder import exercises
from autograder.handouts.items import ITEMS


def existing():
    return exercises.EXERCISES


def test_the_eight_items_are_there():
    assert list(ITEMS) == [f"S{k}" for k in range(1, 9)]


def test_every_item_has_a_graded_exercise_that_runs():
    for item, (title, ids) in ITEMS.items():
        graded = [existing()[id] for id in ids if id in existing()]
        assert title and graded, item
        assert all(found.points > 0 and found.parts for found in graded), item


def test_every_exercise_of_the_course_belongs_to_an_item_and_none_is_made_up():
    named = {id for _, ids in ITEMS.values() for id in ids}
    assert named == set(existing())
