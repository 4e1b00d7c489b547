"""Whole runs of real families: each template, LoRA, a tokenizer shared with the reward model, kills."""

import json
import random
import time
from functools import partial

import pytest
from transformers import Phi3Config

from rslib import run
from rslib.models import load_policy
from rslib.pipeline import report_hash
from tests import small_models
from tests.small_models import CHAT_TEMPLATE, build_model_folder, build_tokenizer
from tests.test_kill import fork, kill_when

FAMILIES = ("llama", "qwen2", "qwen3", "gemma3", "phi3", "gpt2")
SEED = 20261127
"""Draws the moments of the kills."""
THINKING = CHAT_TEMPLATE.replace(
    "{% if add_generation_prompt %}<|assistant|>{% endif %}",
    "{% if add_generation_prompt %}<|assistant|>{% if enable_thinking is defined and not enable_thinking %}"
    "<think>\n\n</think>\n\n{% endif %}{% endif %}",
)
"""As Qwen3's: with thinking off it closes an empty thought."""
LINES = ["How do I bake bread?", "Name a capital.", "Sum 12 and 30.", "What is yeast?", "Say hello."]
SETTINGS = {
    "n": 3, "rounds": 2, "epochs": 1, "eval_samples_per_prompt": 1, "max_new_tokens": 6,
    "eval_max_new_tokens": 6, "shard_responses": 4, "device": "cpu",
}  # fmt: skip
ROADS = [
    (family, template, shared, lora)
    for family in FAMILIES
    for template in (True, False)
    for shared in (True, False)
    for lora in (4, None)
]
QUICK = [("qwen3", True, False, 4), ("gpt2", False, True, 4)]


@pytest.fixture
def road(tmp_path, monkeypatch):
    """Settings of a run of this family: folders with random weights, and files of prompts."""
    pytest.importorskip("peft", reason="LoRA needs the extra peft")

    def settings(family, template, shared, lora):
        phi3 = (Phi3Config, {k: v for k, v in small_models.CONFIGS["llama"][1].items() if k != "head_dim"})
        monkeypatch.setitem(small_models.CONFIGS, "phi3", phi3)
        text = (THINKING if family == "qwen3" else CHAT_TEMPLATE) if template else None
        tokenizer = build_tokenizer(chat_template=text, add_bos=family == "llama" and not template)
        other = tokenizer if shared else build_tokenizer(chat_template=None if template else CHAT_TEMPLATE)
        policy = build_model_folder(tmp_path / "policy", family, tokenizer=tokenizer)
        judge = "llama" if family == "phi3" else family
        reward_model = build_model_folder(tmp_path / "reward", judge, "reward", tokenizer=other)
        for name, lines in (("train.txt", LINES[:4]), ("test.txt", LINES[4:])):
            (tmp_path / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
        models = {"policy": str(policy), "reward_model": str(reward_model), "lora": lora}
        prompts = {"prompts": str(tmp_path / "train.txt"), "eval_prompts": str(tmp_path / "test.txt")}
        return SETTINGS | models | prompts

    return settings


def whole_run(settings, out):
    """A run from end to end, once more from its folder, and the next policy loaded as a plain folder."""
    report = run(out=out, show_progress=False, **settings)
    content = json.loads((out / "report.json").read_text())
    born = {
        path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file() and "lock" not in path.name
    }
    again = run(out=out, show_progress=False, **settings)
    assert again.to_json() == report.to_json()
    assert {path: path.stat().st_mtime_ns for path in born} == born, "a resumed run did work anew"
    assert content["report_hash"] == report_hash(content)
    for entry in content["rounds"]:
        for arm, fingerprint in entry["provenance"]["child"].items():
            place = entry["provenance"]["places"][f"finetune-{arm}"]
            folder = out / place
            assert load_policy(folder, device="cpu").fingerprint() == fingerprint
            assert not list(folder.glob("adapter*"))
    return content


@pytest.mark.parametrize(("family", "template", "shared", "lora"), QUICK)
def test_a_family_goes_the_whole_road_and_its_folders_load(road, tmp_path, family, template, shared, lora):
    whole_run(road(family, template, shared, lora), tmp_path / "run")


@pytest.mark.long
@pytest.mark.parametrize(("family", "template", "shared", "lora"), [r for r in ROADS if r not in QUICK])
def test_every_family_goes_the_whole_road(road, tmp_path, family, template, shared, lora):
    whole_run(road(family, template, shared, lora), tmp_path / "run")


@pytest.mark.long
@pytest.mark.parametrize("lora", [4, None])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_run_killed_at_random_moments_ends_with_the_report_of_one_that_was_left_alone(
    road, tmp_path, family, lora
):
    draw = random.Random(f"{SEED} {family} {lora}")
    settings = road(family, draw.random() < 0.5, draw.random() < 0.5, lora)
    options = [f"--{k.replace('_', '-')}={v}" for k, v in settings.items() if v is not None]
    began = time.monotonic()
    whole = whole_run(settings, tmp_path / "whole")
    usual = time.monotonic() - began
    kills = 0
    for _ in range(4):
        moment = time.monotonic() + draw.uniform(0.1, usual)
        kills += kill_when(tmp_path / "killed", options, fork, partial(_past, moment))
    process = fork(tmp_path / "killed", options)
    process.join()
    assert process.exitcode == 0 and kills
    killed = json.loads((tmp_path / "killed" / "report.json").read_text())
    assert killed["report_hash"] == whole["report_hash"]
    assert (tmp_path / "killed" / "report.html").exists()


def _past(moment):
    return time.monotonic() > moment
