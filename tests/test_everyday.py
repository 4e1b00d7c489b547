"""The 300 prompts of our own: complete, original among each other, and split once and for all."""

import hashlib
import re
from collections import Counter
from itertools import combinations

import pytest

import rslib
from rslib import world
from rslib.config import RunConfig
from rslib.errors import ConfigError
from rslib.pipeline import planned_prompts
from rslib.prompts import EVERYDAY

SIZES = {"train": 200, "validation": 40, "test": 60}
KINDS = {"explain", "write", "rewrite", "plan", "compare", "list", "advise", "summarise"}
SPLITS = {split: rslib.load_prompts(EVERYDAY, split) for split in SIZES}
TEXTS = {text: split for split, table in SPLITS.items() for text in table["prompt"][:]}


def shared(first: str, second: str) -> float:
    """The share of pairs of neighbouring words that two texts have in common (Jaccard)."""
    left, right = (set(zip(words, words[1:], strict=False)) for words in map(words_of, (first, second)))
    return len(left & right) / len(left | right)


def words_of(text: str) -> list[str]:
    return re.findall(r"[a-z0-9']+", text.lower())


def test_the_splits_have_their_sizes_and_every_text_stands_once():
    assert {split: len(table) for split, table in SPLITS.items()} == SIZES
    assert len(TEXTS) == sum(SIZES.values())
    ids = [name for table in SPLITS.values() for name in table["prompt_id"][:]]
    assert len(set(ids)) == len(ids)


def test_the_splits_are_fixed():
    """A prompt that moves between splits would make old results look better or worse than they are."""
    digest = {
        split: hashlib.sha256("\n".join(sorted(t["prompt"][:])).encode()).hexdigest()[:12]
        for split, t in SPLITS.items()
    }
    assert digest == {"train": "637735110b55", "validation": "cfc2883f6125", "test": "8b40e10010ae"}


def test_no_prompt_is_nearly_another():
    near = [pair for pair in combinations(TEXTS, 2) if shared(*pair) > 0.3]
    assert not near
    assert shared("Give me five names for a cat.", "Give me five names for a dog.") > 0.3


def test_every_split_holds_every_kind_in_the_same_shares_and_so_do_its_first_rows():
    for split, table in SPLITS.items():
        kinds = Counter(table["kind"][:])
        assert set(kinds) == KINDS
        assert all(abs(count / len(table) - 1 / 8) < 0.03 for count in kinds.values()), split
        assert set(table["kind"][:8]) == KINDS


def test_prompts_are_plain_sentences_of_a_length_that_any_model_can_take():
    for text in TEXTS:
        assert 5 <= len(words_of(text)) <= 90, text
        assert text.isascii() or not re.search(r"[^\x00-\x7féèêüöäßç]", text), text
        assert "{" not in text and text[0].isupper() and text[-1] in '.?!"', text


def test_the_embedded_world_knows_none_of_them():
    assert not any(world.knows(text) for text in TEXTS)


def test_an_unknown_split_is_refused_with_the_closest_known_one():
    with pytest.raises(ConfigError, match="unknown split 'testing'.*\n.*\n.*Did you mean 'test'"):
        rslib.load_prompts(EVERYDAY, "testing")


def test_a_limit_keeps_the_first_rows():
    assert rslib.load_prompts(EVERYDAY, "test", 9)["prompt"][:] == SPLITS["test"]["prompt"][:9]


def test_a_run_on_them_is_evaluated_on_their_own_test_split():
    (first, second), heldout = planned_prompts(RunConfig(prompts=EVERYDAY, rounds=2))
    assert {*first["prompt"][:], *second["prompt"][:]} == set(SPLITS["train"]["prompt"][:])
    assert heldout["prompt"][:] == SPLITS["test"]["prompt"][:]


def test_a_run_can_take_the_first_few_alone():
    (only,), heldout = planned_prompts(RunConfig(prompts=EVERYDAY, limit=6, eval_limit=4))
    assert sorted(only["prompt_id"][:]) == sorted(SPLITS["train"]["prompt_id"][:6])
    assert heldout["prompt_id"][:] == SPLITS["test"]["prompt_id"][:4]
    with pytest.raises(ConfigError, match="the limit of prompts is 500"):
        planned_prompts(RunConfig(prompts=EVERYDAY, limit=500))
