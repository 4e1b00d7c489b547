"""Profiles: what they say before a download, the pilot, and whole runs from a local copy of the hub.

The copy holds folders of the same architectures under the real hub ids, small and with random weights.
"""

import json
import re
from pathlib import Path

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    LlamaConfig,
    PreTrainedConfig,
    Qwen3Config,
)

import rslib
from autograder.build.release import SOLUTIONS, read
from rslib import profiles
from rslib.__main__ import main
from rslib.config import RunConfig
from rslib.errors import ConfigError, DataError
from rslib.pipeline import planned_prompts
from rslib.profiles import ModelFacts, Profile, _on_paper, pilot, profile, ready
from tests.small_models import build_model_folder, build_tokenizer

# What SmolLM2's instruct models put around a dialogue: ChatML, and a system turn where there is none.
CHATML = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are a helpful AI assistant named SmolLM, "
    "trained by Hugging Face<|im_end|>\n' }}"
    "{% endif %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
SHAPES = {
    "HuggingFaceTB/SmolLM2-135M-Instruct": (LlamaConfig, 576, 1536, 30, 9, 3, 49_152, {}),
    "HuggingFaceTB/SmolLM2-360M-Instruct": (LlamaConfig, 960, 2560, 32, 15, 5, 49_152, {}),
    "HuggingFaceTB/SmolLM2-1.7B-Instruct": (LlamaConfig, 2048, 8192, 24, 32, 32, 49_152, {}),
    "Skywork/Skywork-Reward-V2-Qwen3-0.6B": (Qwen3Config, 1024, 3072, 28, 16, 8, 151_936, {"head_dim": 128}),
    "Skywork/Skywork-Reward-V2-Qwen3-1.7B": (Qwen3Config, 2048, 6144, 28, 16, 8, 151_936, {"head_dim": 128}),
}
"""Hub id -> config class, hidden and inner size, layers, heads, key-value heads, vocabulary, others."""
REAL = [name for name in profiles.names() if name not in ("tiny", "custom")]
FEW = {"limit": 3, "eval_limit": 2, "n": 2, "epochs": 1, "max_new_tokens": 6, "eval_max_new_tokens": 6}


def is_reward_model(hub_id: str) -> bool:
    return "Reward" in hub_id


def config_of(hub_id: str) -> PreTrainedConfig:
    kind, hidden, inner, layers, heads, kv_heads, words, others = SHAPES[hub_id]
    return kind(
        hidden_size=hidden,
        intermediate_size=inner,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        vocab_size=words,
        tie_word_embeddings=True,
        **others | ({"num_labels": 1} if is_reward_model(hub_id) else {}),
    )


@pytest.fixture(scope="module")
def hub_copy(tmp_path_factory) -> Path:
    """A hub cache, laid out as huggingface_hub does, with a small model under every id of the profiles."""
    cache = tmp_path_factory.mktemp("hub")
    tokenizer = build_tokenizer(chat_template=CHATML)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    tokenizer.eos_token, tokenizer.model_max_length = "<|im_end|>", 4096
    for seed, hub_id in enumerate(SHAPES):
        repository = cache / f"models--{hub_id.replace('/', '--')}"
        (repository / "refs").mkdir(parents=True)
        (repository / "refs" / "main").write_text("0" * 40)
        build_model_folder(
            repository / "snapshots" / ("0" * 40),
            "qwen3" if is_reward_model(hub_id) else "llama",
            "reward" if is_reward_model(hub_id) else "policy",
            tokenizer=tokenizer,
            seed=seed,
            max_position_embeddings=4096,
        )
    return cache


@pytest.fixture
def hub(hub_copy, monkeypatch):
    """The local copy in place of the hub's cache; nothing else can be reached."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(hub_copy))


# The data


@pytest.mark.parametrize("name", REAL)
def test_a_card_says_licence_download_memory_and_time_of_every_model(name):
    card = profile(name)
    named = [m for m in (card.config.policy, card.config.reward_model, card.config.judge) if m]
    for model in named:
        facts = card.models[model]
        assert f"{model} ({facts.licence}; {facts.megabytes:,.0f} MB to download once)" in str(card)
    assert f"{card.minutes:g} minutes and {card.memory_gib:g} GiB" in str(card) and card.machine in str(card)


@pytest.mark.parametrize("hub_id", SHAPES)
def test_the_sizes_are_those_of_the_architectures(hub_id):
    auto = AutoModelForSequenceClassification if is_reward_model(hub_id) else AutoModelForCausalLM
    with torch.device("meta"):
        model = auto.from_config(config_of(hub_id))
    assert sum(p.numel() for p in model.parameters()) == profile("tiny").models[hub_id].parameters


def test_every_model_that_a_profile_names_is_known_and_every_known_one_is_named():
    named = {
        getattr(profile(name).config, role) for name in REAL for role in ("policy", "reward_model", "judge")
    }
    assert named - {None} == set(profile("tiny").models) == set(SHAPES)


@pytest.mark.parametrize("name", [n for n in profiles.names() if n != "custom"])
def test_a_profile_trains_and_evaluates_on_prompts_that_are_apart(name):
    slices, heldout = planned_prompts(profile(name).config)
    trained = {text for part in slices for text in part["prompt"][:]}
    assert trained and not trained & set(heldout["prompt"][:])


def test_the_memory_holds_what_full_fine_tuning_needs():
    """Weights, gradients and AdamW's two moments in float32: 16 bytes a parameter, activations on top."""
    for name in REAL:
        card = profile(name)
        assert card.memory_gib > 16 * card.models[card.config.policy].parameters / 2**30


def test_settings_change_single_fields_and_custom_takes_any_models():
    assert profile("t4", n=4).config.n == 4 and profile("t4").config.n == 16
    card = profile("custom", policy="a/b", reward_model="runs/mine")
    assert (card.config.policy, card.config.prompts) == ("a/b", "everyday")
    assert "a/b (see its own card for the licence)" in str(card) and "on paper" not in str(card)


@pytest.mark.parametrize(
    "name, settings, message",
    [
        ("T4", {}, "unknown profile 'T4'"),
        ("t4", {"max_tokens": 3}, "unknown setting 'max_tokens'"),
        ("custom", {}, "names no policy and no reward model"),
        ("custom", {"policy": "tiny"}, "names no reward model"),
    ],
)
def test_what_a_profile_cannot_be_is_refused(name, settings, message):
    with pytest.raises(ConfigError, match=message):
        profile(name, **settings)


# Before a run


def test_the_plan_on_paper_is_what_a_hand_computes():
    """2 prompts x 2 responses, 1 held-out response of 3 arms, 40 + 60 tokens each, models of 10 and 5."""
    settings = {"limit": 2, "eval_limit": 1, "n": 2, "epochs": 3, "max_new_tokens": 40}
    config = profile("custom", policy="p", reward_model="r", eval_samples_per_prompt=1, **settings).config
    card = Profile("x", "", "", 0, 0, config, {"p": ModelFacts(10, ""), "r": ModelFacts(5, "")})
    drawn, weighed = 2 * 10 * (4 + 3), 2 * 10 * 3
    scored, trained = 2 * 5 * (4 + 3), 6 * 10 * 2 * 3 * 2
    assert _on_paper(card, flops_a_second=10.0) == 100 * (drawn + weighed + scored + trained) / 10


def test_nobody_plans_for_models_that_nobody_knows():
    assert _on_paper(profile("custom", policy="a/b", reward_model="c/d"), 1e9) is None


@pytest.mark.parametrize("name", ["t4", "gpu"])
def test_a_long_run_on_a_cpu_is_refused_with_an_estimate_before_anything_is_downloaded(
    name, capsys, tmp_path
):
    """No copy of the hub is there: a download would be another error."""
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    assert main(["run", "--profile", name, "--out", str(tmp_path / "x")]) == 2
    shown = capsys.readouterr()
    assert "Apache-2.0" in shown.out and "on this CPU, on paper: about" in shown.out
    assert f"the profile '{name}' would take about" in shown.err and "--long" in shown.err
    assert not (tmp_path / "x").exists()


def test_a_pilot_that_finds_a_long_run_refuses_it_unless_asked(monkeypatch, tmp_path):
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    monkeypatch.setattr(profiles, "LONG", 0.0)
    card = profile("tiny", prompts=4, eval_prompts=4, n=2, max_new_tokens=4, epochs=1)
    with pytest.raises(ConfigError, match="would take about"):
        ready(card, tmp_path / "x", show=False)
    assert ready(card, tmp_path / "x", long=True, show=False).total > 0


def test_the_pilot_measures_every_stage_and_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = {"prompts": 6, "eval_prompts": 4, "n": 2, "max_new_tokens": 6, "epochs": 1}
    plain = pilot(profile("tiny", **settings).config)
    judged = pilot(profile("tiny", judge="tiny-unbiased", **settings).config)
    for estimate in (plain, judged):
        assert list(estimate.seconds) == ["sample", "score", "fine-tune", "evaluate", "load models"]
        assert all(seconds > 0 for seconds in list(estimate.seconds.values())[:4])
        assert 0 < estimate.tokens <= 6 and estimate.total == sum(estimate.seconds.values())
    assert not list(tmp_path.iterdir())
    assert "about" in str(plain) and "fine-tune" in str(plain)


# Whole runs from the copy of the hub


def test_the_command_runs_a_profile_goes_on_with_it_and_writes_the_report(hub, tmp_path, capsys):
    flags = ["--limit", "3", "--eval-limit", "2", "--n", "2", "--max-new-tokens", "6"]
    command = [
        "run",
        "--profile",
        "smoke",
        *flags,
        "--eval-max-new-tokens",
        "6",
        "--out",
        str(tmp_path / "x"),
    ]
    assert main(command) == 0
    first = capsys.readouterr().out
    assert "269 MB to download once" in first and "pilot on" in first and "flatters selection" in first
    written = (tmp_path / "x" / "report.json").read_bytes()
    assert main(command) == 0
    again = capsys.readouterr().out
    assert "going on with the run" in again and "pilot on" not in again
    assert (tmp_path / "x" / "report.json").read_bytes() == written


def test_a_run_of_profile_gpu_has_its_judge_beside_the_reward(hub, tmp_path):
    card = profile("gpu", **FEW, options={})
    estimate = ready(card, tmp_path / "x", show=False)
    report = rslib.run(card.config, out=tmp_path / "x", show_progress=False)
    arms = report.rounds[0]["arms"]
    assert estimate.total > 0 and all(arm["judge"] is not None for arm in arms.values())
    assert not any("flatters selection" in line for line in report.headlines())


def test_the_template_of_smollm2_frames_the_prompt(hub):
    policy = rslib.load_policy("HuggingFaceTB/SmolLM2-135M-Instruct")
    text = policy.tokenizer.decode(policy.encode("Name a bird."))
    assert text.startswith("<|im_start|>system") and text.endswith(
        "Name a bird.<|im_end|>\n<|im_start|>assistant\n"
    )
    assert [policy.tokenizer.decode([token]) for token in policy.eos_ids] == ["<|im_end|>"]


# The notebook's section on a real model


@pytest.fixture(scope="module")
def real_cells() -> list[str]:
    """The two cells of notebook 04 that run a profile, as learners get them."""
    cells = [
        cell.source for cell in read(SOLUTIONS / "04_fine_tune_on_the_best_of_16.py") if cell.kind == "code"
    ]
    return [source for source in cells if "PROFILE" in source]


def run_cells(cells: list[str], runs: Path, **chosen: object) -> None:
    """The cells as a notebook runs them after its set-up, the form's choices in place."""
    names: dict[str, object] = {"runs": runs}
    for source in cells:
        for name, value in chosen.items():
            source = re.sub(rf"^{name} = .*$", f"{name} = {value!r}", source, flags=re.M)
        exec(compile(source, "cell", "exec"), names)


def test_the_section_says_nothing_while_it_is_off(real_cells, tmp_path, capfd):
    assert len(real_cells) == 2
    run_cells(real_cells, tmp_path)
    assert capfd.readouterr() == ("", "") and not list(tmp_path.iterdir())


def test_the_form_offers_every_profile(real_cells):
    offered = json.loads(re.search(r"@param (\[.*\])", real_cells[0])[1])
    assert offered == ["off", *profiles.names()]


def test_the_section_runs_a_real_model_goes_on_after_a_lost_runtime_and_reports(
    hub, real_cells, tmp_path, capfd
):
    ids = {
        "policy": "HuggingFaceTB/SmolLM2-360M-Instruct",
        "reward_model": "Skywork/Skywork-Reward-V2-Qwen3-0.6B",
    }
    for turn in ("pilot on", "going on with the run"):
        run_cells(real_cells, tmp_path, PROFILE="custom", CUSTOM=ids | FEW | {"options": {}})
        shown = capfd.readouterr()
        assert turn in shown.out and "best-of-2" in shown.out and "flatters selection" in shown.out
        assert shown.err == ""


def test_a_pilot_leaves_out_what_has_no_room_where_the_run_does(tmp_path):
    (tmp_path / "p.txt").write_text("egg " * 300 + "\nHow do I boil an egg?\n")
    settings = {
        "prompts": str(tmp_path / "p.txt"),
        "eval_prompts": 4,
        "n": 2,
        "max_new_tokens": 8,
        "epochs": 1,
    }
    estimate = pilot(RunConfig(**settings, too_long="drop"))
    assert estimate is not None
    with pytest.raises(DataError, match="line 1 of"):
        pilot(RunConfig(**settings))
