"""The form of every notebook: rules that a reader feels, checked on the scripts. They are in rhythm.py."""

import re

import pytest

from autograder import exercises
from autograder.build.release import Cell, read, scripts
from autograder.exercise import Exercise, Part
from tests.rhythm import RULES, Notebook

SCRIPTS = scripts()
DEFINED = tuple(
    Exercise(f"90.{k}", "Twice", 1, 5, ("x",), (Part("p", 2.0, lambda work, rng: None),)) for k in range(1, 5)
)
TASK = '''\
# %% [markdown]
# {{{{card:90.{k}}}}}
#
# <details><summary>Hint</summary>Look again.</details>

# %% exercise="90.{k}" role="answer"
def double{k}(x):
    """Twice x,

    said at length.
    """
    ### BEGIN SOLUTION
    return 2 * x
    ### END SOLUTION

# %% exercise="90.{k}" role="check"
check("90.{k}")

'''
GOOD = (
    """\
# %% [markdown]
# # A toy
# About 40 minutes, 8 points. You will be able to
# - add
# - double
# - stop

# %% role="setup"

# %% [markdown]
# How large is the reward? Papers write "rollout" and *actor*; your answer is a number.

# %% role="predict" name="gap"
guess = ...  # your number
### BEGIN SOLUTION
guess = 4.0
### END SOLUTION
predict("gap", guess)

# %%
compare("gap", 4.2)

"""
    + "".join(TASK.format(k=k) for k in range(1, 5))
    + """\
# %% [markdown]
# ## What you now know
# - to add
# - to double
# - to stop

# %%
progress()
"""
)


def test_the_numbers_of_the_notebooks_are_unique():
    assert len({script.stem[:2] for script in SCRIPTS}) == len(SCRIPTS)


@pytest.mark.parametrize("names", [pytest.param(None, id=", ".join(p.stem for p in SCRIPTS) or "none yet")])
def test_these_notebooks_exist(names):
    assert all(re.fullmatch(r"\d\d_[a-z0-9_]+", script.stem) for script in SCRIPTS)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda p: p.stem)
def test_a_notebook(script, rule):
    number = script.stem[:2]
    wrong = list(RULES[rule](Notebook(number, read(script), exercises.of_notebook(number))))
    assert not wrong, "\n".join(wrong)


def test_points_are_quarters_so_that_their_text_is_exact():
    # nbgrader reads the mark from text; rounded up it would exceed the cell's points and stop the marking.
    for exercise in exercises.EXERCISES.values():
        assert all(part.points > 0 and 4 * part.points % 1 == 0 for part in exercise.parts), exercise.id


# The rules themselves


@pytest.fixture
def broken_by(tmp_path, monkeypatch):
    """broken_by(old, new): the rules that the good notebook breaks after the replacement."""
    monkeypatch.setattr(exercises, "of_notebook", lambda number: tuple(DEFINED) if number == "90" else ())

    def check(old="", new="", number="90"):
        script = tmp_path / "90_toy.py"
        assert old in GOOD
        script.write_text(GOOD.replace(old, new, 1), encoding="utf-8")
        nb = Notebook(number, read(script), DEFINED)
        return {name for name, rule in RULES.items() if list(rule(nb))}

    return check


def test_a_good_notebook_breaks_no_rule(broken_by):
    assert broken_by() == set()


GIVEN = "# %%\nx = 1\n\n"
LONG = "word " * 91
# A rule, and what to replace in the good notebook by what to break it.
BROKEN = [
    ("opens_with_three_bullets_minutes_and_points", "# - stop\n", ""),
    ("opens_with_three_bullets_minutes_and_points", "40 minutes", "long"),
    ("opens_with_three_bullets_minutes_and_points", "8 points", "18 points"),
    ("sets_up_in_the_second_cell", '# %% role="setup"\n\n', ""),
    ("closes_with_what_you_now_know", "# - to stop\n", ""),
    ("closes_with_what_you_now_know", "What you now know", "The end"),
    ("closes_with_what_you_now_know", "\n# %%\nprogress()", ""),
    ("has_few_code_cells_in_a_row", "# %%\ncompare", 2 * GIVEN + "# %%\ncompare"),
    ("has_short_code_cells", 'compare("gap", 4.2)', 'compare("gap", 4.2)\n' + "x = 1\n" * 20),
    ("has_short_paragraphs", "How large", LONG),
    ("has_short_paragraphs", "# - to add", f"# - {LONG}"),
    ("has_its_exercises_in_order", TASK.format(k=4), ""),
    ("gives_every_exercise_a_card_and_a_folded_hint", "<summary>Hint", "<summary>More"),
    ("gives_every_exercise_a_card_and_a_folded_hint", "{{card:90.3}}", "Task"),
    ("compares_every_prediction_later", 'compare("gap"', 'compare("gain"'),
    ("compares_every_prediction_later", 'predict("gap"', 'predict("gain"'),
    ("keeps_to_the_glossary", "reward?", "completion?"),
    ("keeps_to_the_glossary", "reward?", "reward of two Rollouts?"),
    ("is_spelled_in_the_house_way", "How large", "What color"),
    ("is_spelled_in_the_house_way", "How large", "Great! How large"),
    ("is_spelled_in_the_house_way", "How large", "Optimize"),
    ("shows_figures_through_rslib_alone", "compare(", "import matplotlib.pyplot as p\ncompare("),
    ("shows_figures_through_rslib_alone", "compare(", "plt.show()\ncompare("),
    ("installs_and_calls_nothing_by_shell", "compare(", "# !ls\ncompare("),
    ("installs_and_calls_nothing_by_shell", "compare(", "# %pip install x\ncompare("),
]


@pytest.mark.parametrize(
    ("rule", "old", "new"), BROKEN, ids=[f"{rule}-{n}" for n, (rule, *_) in enumerate(BROKEN)]
)
def test_a_broken_rule_is_found(broken_by, rule, old, new):
    assert rule in broken_by(old, new)


def test_every_rule_has_a_case_that_breaks_it():
    assert {rule for rule, *_ in BROKEN} == set(RULES)


def test_a_notebook_has_four_to_seven_exercises_unless_it_is_the_first():
    rule = RULES["has_its_exercises_in_order"]
    cells = [Cell("code", "", "", "check", exercise.id) for exercise in DEFINED[:3]]
    assert list(rule(Notebook("90", cells, DEFINED[:3]))) == ["3 exercises; a notebook has 4 to 7"]
    assert not list(rule(Notebook("00", [], [])))


def test_the_words_of_reinforcement_learning_are_at_home_in_its_notebooks(broken_by):
    assert broken_by("reward?", "critic?", number="06") == set()
    assert broken_by("reward?", "critic?", number="05") == {"keeps_to_the_glossary"}
