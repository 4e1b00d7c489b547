"""Notebook 01: which orders pass, what bad ones are told, and the matching exercise."""

import itertools
import json
import re
from pathlib import Path

import numpy as np
import pytest

from autograder import exercises
from autograder.build.catalogue import answers
from autograder.exercise import ANSWERED, Variant
from autograder.handouts import choice, ordering
from autograder.handouts import nb01_4 as matching
from autograder.handouts.ordering import CARDS
from autograder.keys import nb01_2, nb01_4
from autograder.keys import ordering as keys
from autograder.keys.ordering import EVERYTHING, KEPT, RIGHT, ContractError, trace
from autograder.verdict import grade
from autograder.work import Work
from rslib.errors import ConfigError
from tests.questions_lint import lint

ORDERING = exercises.find("1.1")
DRAWS = 10_000
SCRIPT = Path(__file__).parents[1] / "solutions" / "01_one_pipeline_in_order.py"


def verdict(order):
    return grade(ORDERING, Work({"order": list(order)}, Variant()), 0)


def runs_as_the_method(order) -> bool:
    try:
        found = trace(order)
    except ContractError:
        return False
    return found.finished and found.trained_on == KEPT and not found.leaked and not found.strangers


# Ordering


def test_every_valid_order_passes_and_there_are_six():
    """The free card is test_base: anywhere after split and before compare."""
    valid = {order for order in itertools.permutations(RIGHT) if runs_as_the_method(order)}
    others = [name for name in RIGHT if name != "test_base"]
    assert valid == {(*others[:at], "test_base", *others[at:]) for at in range(1, 7)}
    assert all(verdict(order).points == ORDERING.points for order in valid)


def test_no_random_permutation_of_all_cards_earns_a_point():
    rng = np.random.default_rng(0)
    assert not any(verdict(rng.permutation(list(CARDS)).tolist()).points for _ in range(DRAWS))


def test_no_random_hand_of_cards_passes():
    rng = np.random.default_rng(1)
    for _ in range(DRAWS):
        hand = rng.permutation(list(CARDS))[: int(rng.integers(5, len(CARDS) + 1))].tolist()
        assert verdict(hand).points < ORDERING.points


def test_luck_with_eight_of_the_eleven_cards_is_below_one_in_a_million():
    ways = 1
    for k in range(len(RIGHT)):
        ways *= len(CARDS) - k
    assert 6 / ways < 1e-6


@pytest.mark.parametrize(
    ("order", "card", "need"),
    [
        ("split score", "score", "responses"),
        ("split sample select", "select", "rewards"),
        ("finetune", "finetune", "responses"),
        ("sample finetune test_tuned", "test_tuned", "held-out prompts"),
        ("split test_tuned", "test_tuned", "tuned policy"),
        ("split sample score select finetune test_tuned compare", "compare", "gold of base"),
        ("split sample score tune_rm", "tune_rm", "kept responses"),
        ("split sample score advantage", "advantage", "value network"),
        ("split sample rewrite", "rewrite", "writing model"),
    ],
)
def test_a_broken_contract_is_named_in_one_sentence(order, card, need):
    with pytest.raises(ContractError) as caught:
        trace(order.split())
    assert (caught.value.card, caught.value.need) == (card, need)
    assert re.fullmatch(r"`\w+` cannot start: [^.]+\.", str(caught.value))


def test_what_is_trained_on_and_what_leaks():
    assert trace(RIGHT).trained_on == KEPT
    assert trace(("sample", "finetune")).trained_on == EVERYTHING
    assert trace(("sample", "split")).leaked and not trace(("split", "sample")).leaked


@pytest.mark.parametrize("order", ["splitt", 3, [1], ["splitt"], ["split", "split"]])
def test_what_is_no_list_of_cards_is_refused(order):
    with pytest.raises(ConfigError):
        trace(order)


def test_a_runnable_bad_order_is_told_its_measured_score():
    for name in ("train_on_all", "sample_before_split"):
        found = verdict(keys.MEASURED[name])
        assert found.points == 1
        assert keys.quoted(name) in found.outcomes[1].message
        assert re.search(r"[+-]\d\.\d\d gold \(", found.outcomes[1].message)


def test_without_the_result_file_the_message_has_no_number(monkeypatch):
    monkeypatch.setattr(keys, "RESULTS", Path("nowhere.json"))
    assert keys.quoted("train_on_all") == ""
    assert verdict(keys.MEASURED["train_on_all"]).points == 1


def test_the_results_say_how_they_were_made_and_carry_intervals():
    content = json.loads(keys.RESULTS.read_text(encoding="utf-8"))
    assert content["command"] == keys.COMMAND
    for name, order in keys.MEASURED.items():
        entry = content["orders"][name]
        assert tuple(entry["order"]) == order
        assert len(entry["runs"]) == len(content["seeds"]) >= 3
        for run in entry["runs"]:
            assert run["gain"]["low"] < run["gain"]["difference"] < run["gain"]["high"]


def test_what_the_notebook_says_of_the_three_runs_holds():
    """Its prose names no more than these files hold: a gain, no gain, and a leak that did no visible harm."""
    orders = json.loads(keys.RESULTS.read_text(encoding="utf-8"))["orders"]
    assert all(run["gain"]["low"] > 0 for run in orders["best_of_n"]["runs"])
    assert all(run["gain"]["low"] < 0 < run["gain"]["high"] for run in orders["train_on_all"]["runs"])
    leak, right = orders["sample_before_split"], orders["best_of_n"]
    assert leak["gain"]["mean"] > 1.6 * right["gain"]["mean"]
    assert leak["fresh"]["mean"] >= leak["gain"]["mean"]


def test_a_misspelt_card_is_told_in_one_line():
    message = verdict(["Split", "sample"]).outcomes[0].message
    assert "Did you mean 'split'?" in message and "\n" not in message


def test_an_order_is_run_for_real_and_kept(tmp_path):
    size = ordering.Size(prompts=2, heldout=4, samples=1)
    first = ordering.run(RIGHT, tmp_path, size=size)
    assert [name for name, _ in first.lines] == list(RIGHT)
    assert first.difference["prompts"] == 4
    assert len(first.tables["kept"]) == 2
    assert repr(ordering.run(RIGHT, tmp_path, size=size)) == repr(first)
    assert "<caption" in first._repr_html_()


@pytest.mark.parametrize(("order", "error"), [(["score"], ContractError), ([], ConfigError)])
def test_an_order_that_cannot_run_computes_nothing(tmp_path, order, error):
    with pytest.raises(error):
        ordering.run(order, tmp_path / "never")
    assert not (tmp_path / "never").exists()


def test_learners_see_the_cards_in_different_orders():
    decks = {ordering.deck(Variant(str(k))).names for k in range(20)}
    assert len(decks) == 20 and all(set(names) == set(CARDS) for names in decks)


def test_an_order_may_be_a_list_or_a_text_with_a_card_a_line():
    text = "\n".join(["", *RIGHT, "# rewrite", "  # tune_rm  ", ""])
    for order in (text, " ".join(RIGHT), ", ".join(RIGHT), tuple(RIGHT)):
        assert grade(ORDERING, Work({"order": order}, Variant()), 0).passed


def test_cards_that_are_all_left_out_are_no_order_yet():
    found = grade(ORDERING, Work({"order": "# split\n# sample\n"}, Variant()), 0)
    assert {o.check for o in found.outcomes} == {ANSWERED}


def test_what_a_learner_starts_from_names_every_card_and_uses_none():
    cell = re.search(
        r'exercise="1.1" role="answer"\n(.*?)### BEGIN', SCRIPT.read_text(encoding="utf-8"), re.DOTALL
    )
    space = {}
    exec(cell[1], space)
    assert ordering.names_of(space["order"]) == []
    assert re.findall(r"^# (\w+)$", space["order"], re.MULTILINE) == sorted(CARDS)


def test_a_run_says_how_far_it_is(tmp_path, capsys):
    ordering.run(RIGHT, tmp_path, size=ordering.Size(prompts=2, heldout=4, samples=1))
    assert "responses" in capsys.readouterr().out


# Four orders that go wrong


@pytest.mark.parametrize("bad", [*nb01_2.BREAKING, *nb01_2.RUNNING], ids=lambda b: b.order)
def test_the_questions_say_what_the_orders_do(bad):
    assert (bad.stop() != "") == (bad in nb01_2.BREAKING)
    assert not runs_as_the_method(bad.names)
    question = bad.question("a")
    assert len({o.text for o in question.answers}) == len({o.text for o in question.reasons}) == 4
    if not bad.stop():
        found = trace(bad.names)
        why = {"all": found.trained_on == EVERYTHING, "leak": found.leaked, "nothing": not found.finished}
        assert [key for key, true in why.items() if true] == [bad.why]


def test_the_pool_gives_no_key_away():
    assert lint(nb01_2.QUESTIONS) == []
    for k in range(60):
        assert lint(nb01_2.drawn(Variant(f"learner {k}", "", "1.2")), learners=50) == [], k


def test_every_learner_gets_two_orders_that_stop_and_two_that_run():
    seen = set()
    for k in range(200):
        found = nb01_2.drawn(Variant(f"learner {k}", "", "1.2"))
        assert [q.id for q in found] == list("abcd")
        assert sum(q.answers[0].text == nb01_2.RUNS for q in found) == 2
        seen |= {q.text for q in found}
    assert len(seen) == len(nb01_2.BREAKING) + len(nb01_2.RUNNING)


@pytest.mark.parametrize("exercise", ["1.2", "1.4"])
def test_random_answers_do_not_pass(exercise):
    found, rng = exercises.find(exercise), np.random.default_rng(2)
    variant = Variant("ada", "", exercise)
    questions = found.given(variant).questions
    for _ in range(2000):
        said = {
            q.id: choice.LETTERS[int(rng.integers(len(q.answers)))] + str(rng.integers(len(q.reasons)) + 1)
            for q in questions
        }
        assert grade(found, Work({found.names[0]: said}, variant), 0).points < found.points


# Matching


def test_every_role_and_number_of_the_lists_is_somebodys():
    roles, counts = zip(*(answer.split("; ") for _, answer in nb01_4.SYSTEMS), strict=True)
    assert set(roles) == set(nb01_4.ROLES)
    assert set(counts) == set(nb01_4.COUNTS)


def test_one_label_means_the_same_for_every_system():
    variant = Variant("ada", "", "1.4")
    for question in nb01_4.QUESTIONS:
        answers, reasons = question.order(variant)
        texts = [question.answers[k].text for k in answers], [question.reasons[k].text for k in reasons]
        lists = matching.matching(variant).lists()
        assert texts == tuple([text for _, text in options] for _, options in lists)


@pytest.mark.parametrize("seed", range(0, 40, 4))
def test_rewards_on_wrong_rows_are_not_taken_for_another_scale(seed, tmp_path):
    [answer] = [a for a in answers("1.3") if a.name == "rewards filed by text"]
    verdict = grade(exercises.find("1.3"), Work(answer.names(), Variant("", "", "1.3"), tmp_path), seed)
    assert "(F09)" in verdict.text() and "(scale)" not in verdict.text()
