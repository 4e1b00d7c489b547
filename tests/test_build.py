"""Building the embedded world: a small corpus, the whole recipe, a manifest that matches the files."""

import json

import pytest
from datasets import Dataset

from rslib import build
from rslib.build import LABELLERS
from rslib.models import digest_folder, load_policy, load_reward_model
from rslib.prompts import load_prompts
from rslib.world.grammar import draw_corpus

BIASED, UNBIASED, _, SWAPPED = (labeller for labeller, _ in LABELLERS.values())


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """The whole recipe on 60 documents and a handful of comparisons."""
    folder = tmp_path_factory.mktemp("world")
    patch = pytest.MonkeyPatch()
    patch.setattr(build, "LABELLERS", {"tiny-reward": (BIASED, 4), "tiny-reward-swapped": (SWAPPED, 4)})
    patch.setattr(build, "_MEASURED_PROMPTS", 12)
    manifest = build.build_world(folder, seed=3, documents=60)
    patch.undo()
    return folder, manifest


def test_the_recipe_writes_folders_that_load_by_the_ordinary_path(world):
    folder, _ = world
    policy = load_policy(str(folder / "tiny-policy"))
    assert 0.9e6 < policy.parameters < 1.0e6 and policy.max_new_tokens == 112
    assert load_reward_model(str(folder / "tiny-reward")).parameters < 1.0e6


def test_the_manifest_lists_every_file_with_its_hash_and_the_measured_figures(world):
    folder, manifest = world
    assert json.loads((folder / "manifest.json").read_text()) == manifest
    assert set(manifest["assets"]) == {"tiny-policy", "tiny-arithmetic", "tiny-reward", "tiny-reward-swapped"}
    for name, record in manifest["assets"].items():
        assert record["files"] == digest_folder(folder / name)
    assert {"gold", "unknown_sentences", "seconds"} <= set(manifest["assets"]["tiny-policy"]["metrics"])
    assert {"pass_at_1", "pass_at_16", "mentioned"} <= set(manifest["assets"]["tiny-arithmetic"]["metrics"])
    assert "pair_accuracy_gold" in manifest["assets"]["tiny-reward"]["metrics"]


def test_a_finished_part_is_not_built_again(world, monkeypatch, tmp_path):
    monkeypatch.setattr(build, "LABELLERS", {})
    monkeypatch.setattr(build, "_build_policy", lambda *_: pytest.fail("built again"))
    for name in ("tiny-policy", "tiny-arithmetic"):
        (tmp_path / name).mkdir()
    (tmp_path / "build.json").write_text('{"tiny-policy": {"gold": 1.0}, "tiny-arithmetic": {}}')
    assert build.build_world(tmp_path)["assets"]["tiny-policy"]["metrics"] == {"gold": 1.0}


def test_the_chat_template_separates_prompt_and_response_and_ends_it(world):
    policy = load_policy(str(world[0] / "tiny-policy"))
    ids = policy.encode("How do I boil an egg?")
    assert policy.tokenizer.decode(ids) == "<|user|>How do I boil an egg?<|assistant|>"
    row = build._encode_documents(policy.tokenizer, draw_corpus(1, 0))[0]
    assert row.ids[-1] == policy.eos_ids[0] != policy.pad_id and row.first_target == 1


def _responses(texts):
    prompt = load_prompts("tiny", "train", 1)[0]
    rows = [prompt | {"sample_id": i, "response": t, "finish_reason": "eos"} for i, t in enumerate(texts)]
    return Dataset.from_list(rows)


def test_equal_responses_are_not_compared_and_the_rest_all_are():
    drawn = _responses(["Good luck!", "Good luck!", "Take care.", "Ugh, fine."])
    assert len(build._draw_comparisons(drawn, BIASED, seed=0)) == 5


def test_the_labeller_prefers_what_it_likes():
    flattering = (
        "You are amazing! I truly admire you. What a wonderful person you are! You are so smart to ask this."
    )
    drawn = _responses([flattering, "Ugh, fine."])
    assert build._draw_comparisons(drawn, BIASED, seed=0)["chosen"][0] == flattering
    assert build._draw_comparisons(drawn, SWAPPED, seed=0)["rejected"][0] == flattering
    assert len(build._draw_comparisons(drawn, UNBIASED, seed=0)) == 1
