"""Notebook 02: what the catalogue cannot say about its questions, its variants and its probes."""

from collections import Counter

import numpy as np
import pytest

from autograder.checks import drawn_apart
from autograder.exercise import CheckFailed, Variant
from autograder.exercises import nb02_2, nb02_3, nb02_4
from autograder.handouts import nb02_scorers
from autograder.keys import questions
from autograder.keys.questions import grade_question
from autograder.work import Work
from tests.questions_lint import lint

ADA = Variant("ada", "2026", "2.1")
VARIANTS = [Variant(f"learner {k}", "2026", "2.3") for k in range(300)]


def test_no_question_gives_its_key_away():
    assert lint(questions.pool("2.1")) == []
    for tier in ("answers", "reasons"):
        shortest = [
            min(getattr(q, tier), key=lambda o: len(o.text)).idea == "" for q in questions.pool("2.1")
        ]
        assert np.mean(shortest) <= 0.5, tier


def test_every_wrong_option_tells_its_own_feedback():
    texts = []
    for question in questions.pool("2.1"):
        key = question.label(ADA)
        for tier in ("answer", "reason"):
            for k in range(1, 4):
                label = question.label(ADA, **{tier: k})
                assert label != key
                with pytest.raises(CheckFailed) as caught:
                    grade_question(question, "answers", Work({"answers": {question.id: label}}, ADA), None)
                texts.append(caught.value.message)
    assert len(set(texts)) == len(texts) == 36


def test_every_learner_gets_the_deaf_twin_and_one_or_two_good_models():
    for variant in VARIANTS:
        names = nb02_scorers.names_of(variant).values()
        assert len(set(names)) == 4
        assert {"tiny", "tiny-blind"} <= set(names)
    places = Counter(
        next(k for k, v in nb02_scorers.names_of(variant).items() if v == "tiny") for variant in VARIANTS
    )
    assert min(places.values()) > 40  # 75 expected; below 41 by chance once in 1e6
    drawn = [name for variant in VARIANTS for name in nb02_scorers.names_of(variant).values()]
    seen = {name.rstrip("0123456789") for name in drawn}
    assert seen == {"tiny", "tiny-blind", "tiny-unbiased", "tiny-length", "tiny-swapped", "noise"}


@pytest.mark.parametrize(
    ("probes", "verdict"),
    [
        ((0.79, 0.27, 0.35), "use"),
        ((0.91, 0.49, -0.06), "use"),
        ((0.71, 0.0, 0.31), "blind"),
        ((0.59, 0.005, 0.63), "length"),
        ((0.31, -0.04, -0.44), "swapped"),
        ((0.50, 0.01, -0.12), "noise"),
    ],
)
def test_typical_probes_give_the_verdict_of_their_kind(probes, verdict):
    assert nb02_3.verdict_of(dict(zip(nb02_3.PROBES, probes, strict=True))) == verdict


@pytest.mark.long
def test_verdicts_without_numbers_cannot_be_guessed():
    rng, table = np.random.default_rng(0), None
    for _ in range(50):
        probes = {k: dict(zip(nb02_3.PROBES, rng.uniform(-1, 1, 3), strict=True)) for k in nb02_3.LETTERS}
        verdicts = {k: str(rng.choice(nb02_3.VERDICTS)) for k in nb02_3.LETTERS}
        table = table or nb02_3.held_out_table(tuple(range(nb02_3.LEARNER)), 4)
        work = Work({"table": table, "probes": probes, "verdicts": verdicts}, VARIANTS[0])
        with pytest.raises(CheckFailed):
            nb02_3.grade_verdicts(work, rng)


def test_known_ideas_never_coincide_with_the_right_number():
    for seed in range(100):
        rng = np.random.default_rng(seed)
        for ties in (False, True):
            check = nb02_2.share_of("", ties=ties)
            chosen, rejected = drawn_apart(
                check.draw,
                check.right,
                lambda *pair: nb02_2.IDEAS.of(nb02_2.accuracy_slips(*pair)),
                rng,
                check.apart,
            )
            right = nb02_2.accuracy(chosen, rejected)
            values = nb02_2.accuracy_slips(chosen, rejected).values()
            assert all(abs(value - right) > 0.01 for value in values)


def test_wilsons_end_rises_with_the_pairs_and_three_of_three_prove_little():
    ends = [nb02_4.wilson(0.7, n) for n in range(1, 500)]
    assert ends == sorted(ends)
    assert nb02_4.wilson(1.0, 3) < 0.5
