"""LoRA and gradient checkpointing: what is trained, what is saved, and that the policy stays as it was."""

import copy
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors import safe_open

from rslib import run
from rslib.__main__ import main
from rslib.config import FinetuneConfig, LoraSettings, RunConfig
from rslib.errors import BudgetError, ConfigError
from rslib.finetuning import TokenRow, finetune_rows, language_model_objective, trained
from rslib.models import load_policy
from rslib.optimization import Adapted, _epoch_batches, _forget_activations, fit
from rslib.rl.dpo import finetune_dpo
from tests.small_models import full_logits

peft = pytest.importorskip("peft", reason="LoRA needs the extra peft")
CONFIG = FinetuneConfig(learning_rate=1e-2, epochs=4, batch_tokens=64, warmup_steps=0, lora=4)
TINY = {"n": 2, "prompts": 3, "eval_prompts": 2, "eval_samples_per_prompt": 1, "epochs": 1}
TINY |= {"max_new_tokens": 6, "eval_max_new_tokens": 6, "show_progress": False}


def some_rows(count=9, seed=0):
    rng = np.random.default_rng(seed)
    return [TokenRow(rng.integers(5, 60, size=rng.integers(4, 14)).tolist(), 2) for _ in range(count)]


def state(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


@pytest.mark.parametrize("arch", ["llama", "gpt2", "gemma2"])
def test_the_losses_are_those_of_a_plain_loop_with_peft_and_the_merged_model_says_the_same(
    model_folder, arch
):
    policy, rows = load_policy(str(model_folder(arch)), device="cpu"), some_rows()
    before = state(policy.model)
    merged, losses = trained(policy, rows, CONFIG, show_progress=False)
    assert all(torch.equal(before[name], value) for name, value in policy.model.state_dict().items())
    assert all(weight.requires_grad and weight.grad is None for weight in policy.model.parameters())
    assert set(merged.state_dict()) == set(before) and not hasattr(merged, "peft_config")

    theirs = peft.get_peft_model(
        copy.deepcopy(policy.model), peft.LoraConfig(r=4, lora_alpha=32, target_modules="all-linear")
    )
    ours = Adapted(policy.model, CONFIG.lora, CONFIG.seed)
    drawn = {name: value for name, value in ours.model.state_dict().items() if "lora_" in name}
    result = theirs.base_model.model.load_state_dict(drawn, strict=False)
    assert drawn and not result.unexpected_keys
    weights = [weight for weight in theirs.parameters() if weight.requires_grad]
    batches = _epoch_batches([len(row.ids) for row in rows], CONFIG)
    adamw = torch.optim.AdamW(weights, lr=1e-2, betas=(0.9, 0.95), weight_decay=CONFIG.weight_decay)
    cosine = torch.optim.lr_scheduler.LambdaLR(
        adamw, lambda step: 0.5 * (1 + np.cos(np.pi * step / len(batches)))
    )
    plain = []
    for batch in batches:
        ids = [rows[i].ids for i in batch]
        width = max(map(len, ids))
        full = torch.tensor([row + [0] * (width - len(row)) for row in ids])
        labels = torch.tensor([[-100] * 2 + row[2:] + [-100] * (width - len(row)) for row in ids])
        loss = theirs(input_ids=full, labels=labels, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        adamw.step()
        cosine.step()
        adamw.zero_grad()
        plain.append(float(loss))
    assert losses == pytest.approx(plain, rel=2e-4)
    assert losses[-1] < losses[0] - 0.1
    logits = full_logits(merged, rows[0].ids)
    torch.testing.assert_close(
        logits, full_logits(theirs.base_model.model, rows[0].ids), rtol=1e-2, atol=1e-2
    )

    again = Adapted(policy.model, CONFIG.lora, CONFIG.seed)
    fit_on(again.model, policy, rows)
    adapter_logits = full_logits(again.model, rows[0].ids)
    torch.testing.assert_close(full_logits(again.merged(), rows[0].ids), adapter_logits, rtol=1e-4, atol=1e-4)


def fit_on(model, policy, rows):
    objective = language_model_objective(model, rows, policy.pad_id)
    return fit(model, objective, [len(row.ids) for row in rows], CONFIG, show_progress=False)


def test_the_optimizer_holds_the_adapters_alone_in_float32(model_folder):
    policy = load_policy(str(model_folder("llama")), device="cpu", dtype="bfloat16")
    adapted = Adapted(policy.model, LoraSettings(4), seed=0)
    assert {w.dtype for w in adapted.adapters} == {torch.float32}
    others = [w for w in adapted.model.parameters() if not w.requires_grad]
    assert {w.dtype for w in others} == {torch.bfloat16}
    assert sum(w.numel() for w in adapted.adapters) < sum(w.numel() for w in others) / 4
    assert len(adapted.adapters) == 2 * 7 * 2  # A and B of seven layers in each of two blocks, no head


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("lora", [4, None])
def test_a_tuned_folder_has_the_dtype_of_its_start_and_loads_to_the_policy_that_was_returned(
    model_folder, tmp_path, dtype, lora
):
    start = load_policy(str(model_folder("llama")), device="cpu")
    start.model.to(getattr(torch, dtype))
    start.save(tmp_path / "start")
    policy = load_policy(tmp_path / "start", device="cpu", dtype=dtype)
    tuned = finetune_rows(policy, some_rows(), tmp_path / "tuned", config=replace(CONFIG, lora=lora))
    stored = {"float32": "F32", "bfloat16": "BF16", "float16": "F16"}[dtype]
    with safe_open(tmp_path / "tuned" / "model.safetensors", "pt") as file:
        assert {file.get_slice(name).get_dtype() for name in file.keys()} == {stored}
    again = load_policy(tmp_path / "tuned", device="cpu", dtype=dtype)
    assert again.fingerprint() == tuned.fingerprint() != policy.fingerprint()
    ids = some_rows()[0].ids
    assert torch.equal(full_logits(again.model, ids), full_logits(tuned.model, ids))
    on_cpu = load_policy(tmp_path / "tuned", device="cpu")
    assert on_cpu.device.dtype == torch.float32 and on_cpu.device.stored == policy.device.stored


def test_a_second_round_starts_from_the_merged_model_and_the_same_call_finds_its_folder(
    model_folder, tmp_path
):
    policy = load_policy(str(model_folder("qwen2", tie_word_embeddings=True)), device="cpu")
    first = finetune_rows(policy, some_rows(), tmp_path / "a", config=CONFIG, show_progress=False)
    second = finetune_rows(first, some_rows(seed=1), tmp_path / "b", config=CONFIG, show_progress=False)
    assert load_policy(tmp_path / "b", device="cpu").fingerprint() == second.fingerprint()
    head, embeddings = second.model.get_output_embeddings(), second.model.get_input_embeddings()
    assert head.weight is embeddings.weight
    weights = (tmp_path / "b" / "model.safetensors").stat()
    again = finetune_rows(first, some_rows(seed=1), tmp_path / "b", config=CONFIG, show_progress=False)
    assert again.fingerprint() == second.fingerprint()
    assert (tmp_path / "b" / "model.safetensors").stat().st_ino == weights.st_ino


def test_the_experts_of_a_mixture_and_a_rank_above_every_width_are_merged_too(tmp_path):
    from transformers import MixtralConfig

    from tests.small_models import CONFIGS, build_model_folder

    CONFIGS["mixtral"] = (MixtralConfig, CONFIGS["llama"][1] | {"num_local_experts": 4})
    try:
        folder = build_model_folder(tmp_path / "start", "mixtral")
    finally:
        del CONFIGS["mixtral"]
    policy = load_policy(folder, device="cpu")
    config = replace(CONFIG, lora=100, epochs=1)
    tuned = finetune_rows(policy, some_rows(), tmp_path / "tuned", config=config, show_progress=False)
    assert load_policy(tmp_path / "tuned", device="cpu").fingerprint() == tuned.fingerprint()
    old, new = policy.model.state_dict(), tuned.model.state_dict()
    changed = {name for name in old if not torch.equal(old[name], new[name])}
    assert any("experts" in name for name in changed) and any("q_proj" in name for name in changed)


@pytest.mark.parametrize("wrong", [0, -1, "16", 1.5, True, LoraSettings])
def test_a_rank_that_is_none_is_refused_at_once(wrong):
    for kind in (FinetuneConfig, RunConfig):
        with pytest.raises(ConfigError, match="rank"):
            kind(lora=wrong)


@pytest.mark.parametrize(
    "settings", [{"alpha": 0}, {"alpha": float("nan")}, {"layers": "q_proj"}, {"layers": [1]}]
)
def test_other_lora_settings_are_checked_too(settings):
    with pytest.raises(ConfigError, match=next(iter(settings))):
        LoraSettings(**settings)


def test_layers_by_name_and_layers_that_are_not_there(model_folder):
    policy = load_policy(str(model_folder("llama")), device="cpu")
    assert len(Adapted(policy.model, LoraSettings(4, layers=("q_proj", "v_proj")), 0).adapters) == 8
    with pytest.raises(ConfigError, match="cannot be adapted"):
        Adapted(policy.model, LoraSettings(4, layers=("nope",)), 0)


@pytest.mark.parametrize("layer", ["lm_head", "embed_tokens"])
def test_tied_weights_are_not_adapted_since_the_merged_model_would_be_another(model_folder, layer):
    policy = load_policy(str(model_folder("qwen2", tie_word_embeddings=True)), device="cpu")
    with pytest.raises(ConfigError, match="is the weight of another layer too"):
        Adapted(policy.model, LoraSettings(4, layers=(layer, "q_proj")), 0)
    untied = load_policy(str(model_folder("qwen2")), device="cpu")
    assert len(Adapted(untied.model, LoraSettings(4, layers=(layer,)), 0).adapters) == 2


def test_adapters_that_memory_does_not_hold_are_a_budget_error(model_folder):
    policy = load_policy(str(model_folder("llama")), device="cpu")
    with pytest.raises(BudgetError, match="rank 50000000000000 do not fit"):
        Adapted(policy.model, LoraSettings(50_000_000_000_000), 0)


def test_without_peft_lora_is_refused_before_anything_is_done(monkeypatch, tmp_path):
    import importlib.util

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"needs the package peft(.|\n)*rslib-course\[peft\]"):
        run(out=tmp_path / "run", lora=16, **TINY)
    assert not (tmp_path / "run").exists()


def test_adapters_take_ten_times_the_learning_rate_unless_one_is_given():
    assert FinetuneConfig(lora=16).for_model(1_000_000).learning_rate == 5e-3
    assert FinetuneConfig(lora=16).for_model(400_000_000).learning_rate == 1e-4
    assert FinetuneConfig(lora=16, learning_rate=3e-5).for_model(1_000_000).learning_rate == 3e-5
    assert FinetuneConfig(lora=np.int64(8)) == FinetuneConfig(lora=LoraSettings(8))


def test_methods_that_train_all_weights_refuse_lora(tmp_path):
    with pytest.raises(ConfigError, match="DPO trains all weights"):
        finetune_dpo(load_policy("tiny"), None, tmp_path, config=FinetuneConfig(lora=4))


def test_a_run_with_lora_says_so_and_one_with_another_rank_redoes_its_fine_tune(tmp_path, capsys):
    report = run(out=tmp_path, lora=4, **TINY)
    assert report.settings["config"]["finetune"]["lora"] == {"rank": 4, "alpha": 32.0, "layers": ()}
    again = run(out=tmp_path, lora=LoraSettings(4), **TINY)
    assert again.to_json() == report.to_json()
    run(out=tmp_path, lora=8, **TINY | {"show_progress": True})
    shown = capsys.readouterr().out
    assert "lora.rank was 4, is 8" in shown and "weights are trained, the others are frozen" in shown
    tuned = list((tmp_path / "round-1").glob("finetune-best_of_n-*"))
    assert len(tuned) == 2 and len(list((tmp_path / "round-1").glob("sample-*"))) == 1
    assert not [path for folder in tuned for path in folder.glob("adapter*")]


def test_lora_by_command(tmp_path, capsys):
    options = [
        f"--{name.replace('_', '-')}={value}" for name, value in TINY.items() if name != "show_progress"
    ]
    assert main(["run", *options, "--lora", "4", "--gradient-checkpointing", "--out", str(tmp_path)]) == 0
    finetune = json.loads((tmp_path / "report.json").read_text())["settings"]["config"]["finetune"]
    assert finetune["lora"]["rank"] == 4 and finetune["gradient_checkpointing"] is True
    for wrong in ("0", "-3"):
        assert main(["run", *options, "--lora", wrong, "--out", str(tmp_path / "x")]) == 2
    assert "Use a whole number >= 1" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["finetune", "--lora", "many", "--out", str(tmp_path / "x")])


# Gradient checkpointing


@pytest.mark.parametrize("arch", ["llama", "gpt2", "gemma3"])
@pytest.mark.parametrize("lora", [4, None])
def test_gradient_checkpointing_changes_no_loss(model_folder, arch, lora):
    policy, rows = load_policy(str(model_folder(arch)), device="cpu"), some_rows()
    losses = []
    for checkpointed in (False, True):
        config = replace(CONFIG, lora=lora, gradient_checkpointing=checkpointed)
        model, history = trained(policy, rows, config, show_progress=False)
        assert not any("forward" in vars(module) for module in model.modules())
        losses.append(history)
    assert losses[1] == pytest.approx(losses[0], rel=1e-6)


def test_gradient_checkpointing_keeps_a_third_of_the_activations_or_less(model_folder):
    policy, rows = load_policy(str(model_folder("llama")), device="cpu"), some_rows()
    policy.model.requires_grad_(True)
    objective, kept = language_model_objective(policy.model, rows, policy.pad_id), []

    def bytes_kept():
        kept.clear()
        with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.nbytes) or t, lambda t: t):
            objective.loss_sum(list(range(9)))
        return sum(kept)

    without = bytes_kept()
    _forget_activations(policy.model)
    assert bytes_kept() < without / 3


def test_weights_with_names_of_their_own_are_saved_as_they_came(model_folder, tmp_path):
    """A folder in shards, with tied weights stored once, is loaded, tuned and found again."""
    policy = load_policy(str(model_folder("gemma2")), device="cpu")
    policy.model.save_pretrained(tmp_path / "shards", max_shard_size="20KB")
    policy.tokenizer.save_pretrained(tmp_path / "shards")
    shards = load_policy(tmp_path / "shards", device="cpu")
    tuned = finetune_rows(shards, some_rows(), tmp_path / "tuned", config=CONFIG, show_progress=False)
    assert load_policy(tmp_path / "tuned", device="cpu").fingerprint() == tuned.fingerprint()
