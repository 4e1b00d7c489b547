"""Loading models: every trap of real checkpoints is refused with a reason, or made harmless."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer
from transformers import logging as transformers_logging

import rslib.models as rs
from rslib import doctor as rs_doctor
from rslib.errors import BudgetError, ConfigError, ModelError, StoreError, translate_os_error
from rslib.models import PromptBlindRewardModel, checks, loading
from tests.small_models import ARCHITECTURES, CHAT_TEMPLATE, VOCABULARY, build_tokenizer

PROMPT, RESPONSE = "How do I bake a loaf of bread?", "Mix flour and water."


@pytest.fixture
def broken(model_folder, tmp_path):
    """A private copy of a good folder, to be damaged."""

    def copy(kind: str = "policy", **overrides) -> Path:
        return shutil.copytree(model_folder("llama", kind, **overrides), tmp_path / "model")

    return copy


def refused(load, folder, *words) -> ModelError:
    with pytest.raises(ModelError) as caught:
        load(folder)
    for word in words:
        assert word in str(caught.value)
    assert caught.value.where and caught.value.fix
    return caught.value


def edit_json(path: Path, **changes) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def edit_weights(folder: Path, change) -> None:
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


# One path for every model


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_every_architecture_loads_in_float32_on_the_cpu_and_its_head_equals_the_models_own(
    model_folder, arch
):
    policy = rs.load_policy(model_folder(arch), device="cpu")
    assert policy.model.dtype == policy.device.dtype == torch.float32
    assert (policy.context, policy.max_new_tokens, policy.eos_ids, policy.pad_id) == (256, 24, (4,), 0)
    assert policy.parameters == sum(p.numel() for p in policy.model.parameters())
    ids = torch.randint(0, VOCABULARY, (3, 40), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = policy.model(input_ids=ids).logits
        logits = rs.logits_from_hidden(policy.model, rs.hidden_states(policy.model, ids))
    torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["Granite", "Cohere"])
def test_scaled_heads_equal_the_models_own(name):
    import transformers

    scale = {"logits_scaling": 7.0} if name == "Granite" else {"logit_scale": 0.3}
    config = getattr(transformers, f"{name}Config")(
        vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=1, num_attention_heads=2,
        initializer_range=0.3, pad_token_id=0, **scale,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        model = getattr(transformers, f"{name}ForCausalLM")(config).eval()
    ids = torch.arange(20).reshape(2, 10)
    with torch.no_grad():
        expected = model(input_ids=ids).logits
        logits = rs.logits_from_hidden(model, rs.hidden_states(model, ids))
    torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_a_reward_does_not_depend_on_padding_or_its_side(model_folder, arch):
    """Pooling by position and transformers' pooling by pad id agree, because pad is never the end."""
    judge = rs.load_reward_model(model_folder(arch, "reward"), device="cpu")
    rows = [judge.encode(PROMPT, RESPONSE), judge.encode("Hi", "Yes. " * 9)]
    longest = max(map(len, rows))
    with torch.no_grad():
        alone = torch.tensor([float(judge.model(input_ids=torch.tensor([row])).logits) for row in rows])
        by_position = [
            float(
                rs.rewards_from_hidden(judge.model, rs.hidden_states(judge.model, torch.tensor([row])))[0, -1]
            )
            for row in rows
        ]
        for left in (False, True):
            fill = [[judge.pad_id] * (longest - len(row)) for row in rows]
            ids = torch.tensor([f + r if left else r + f for r, f in zip(rows, fill, strict=True)])
            ones = [[1] * len(row) for row in rows]
            mask = torch.tensor(
                [[0] * len(f) + o if left else o + [0] * len(f) for o, f in zip(ones, fill, strict=True)]
            )
            position_ids = (mask.cumsum(-1) - 1).clamp(min=0)
            batch = judge.model(input_ids=ids, attention_mask=mask, position_ids=position_ids).logits[:, 0]
            torch.testing.assert_close(batch, alone, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(torch.tensor(by_position), alone, rtol=1e-4, atol=1e-5)


def test_the_embedded_names_load_and_the_blind_one_reads_no_prompt():
    policy = rs.load_policy("tiny", device="cpu")
    assert policy.decode(policy.encode(PROMPT)) == PROMPT
    seeing, blind = (rs.load_reward_model(name, device="cpu") for name in ("tiny", "tiny-blind"))
    assert not isinstance(seeing, PromptBlindRewardModel) and isinstance(blind, PromptBlindRewardModel)
    assert blind.encode(PROMPT, RESPONSE) == blind.encode("", RESPONSE) == seeing.encode("", RESPONSE)
    assert seeing.encode(PROMPT, RESPONSE) != seeing.encode("", RESPONSE)
    assert blind.fingerprint() != seeing.fingerprint()


def test_attention_is_sdpa_except_where_the_architecture_has_none(model_folder):
    # Gemma 2 caps its scores; sdpa would leave that out, in versions of transformers that let it be chosen.
    for arch, expected in (("llama", "sdpa"), ("gemma2", "eager")):
        policy = rs.load_policy(model_folder(arch), device="cpu")
        assert policy.model.config._attn_implementation == expected


def test_a_checkpoint_in_half_precision_is_loaded_in_the_dtype_that_was_chosen(broken):
    folder = broken()
    edit_weights(folder, lambda w: w.update({k: v.half() for k, v in w.items()}))
    edit_json(folder / "config.json", dtype="float16")
    assert rs.load_policy(folder, device="cpu").model.dtype == torch.float32
    asked = rs.load_policy(folder, device="cpu", dtype="bfloat16")
    assert asked.model.dtype == torch.bfloat16 and "asked for" in asked.device.why


def test_sharded_weights_are_the_same_model(model_folder, tmp_path):
    whole = rs.load_policy(model_folder("llama"), device="cpu")
    whole.model.save_pretrained(tmp_path, max_shard_size="20KB")
    whole.tokenizer.save_pretrained(tmp_path)
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    assert rs.load_policy(tmp_path, device="cpu").fingerprint() == whole.fingerprint()
    next(tmp_path.glob("*.safetensors")).unlink()
    refused(rs.load_policy, tmp_path, "a weight file is missing", "model-0000")


def test_several_end_tokens_are_taken_as_generate_takes_them(broken):
    folder = broken()
    edit_json(folder / "generation_config.json", eos_token_id=[4, 2, 9999])
    assert rs.load_policy(folder).eos_ids == (4, 2)
    edit_json(folder / "generation_config.json", eos_token_id=9999, max_new_tokens=None)
    edit_json(folder / "config.json", eos_token_id=9999)
    policy = rs.load_policy(folder)
    assert policy.eos_ids == (4,), "neither config names a token of the vocabulary, the tokenizer does"
    assert policy.max_new_tokens == 256


# Device and dtype


@pytest.mark.parametrize(
    ("native", "dtype", "word"), [(True, torch.bfloat16, "natively"), (False, torch.float16, "emulates")]
)
def test_bfloat16_is_chosen_only_where_the_gpu_computes_it(monkeypatch, native, dtype, word):
    """A T4 answers True to is_bf16_supported() and False without emulation."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(
        torch.cuda, "is_bf16_supported", lambda including_emulation=True: native or including_emulation
    )
    chosen = rs.pick_device()
    assert (chosen.name, chosen.dtype) == ("cuda", dtype) and word in chosen.why
    assert rs.pick_device(dtype="float32").dtype == torch.float32


@pytest.fixture
def gpu(monkeypatch):
    """Pretends that there is a GPU which computes bfloat16, or only emulates it."""

    def pretend(native: bool) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        supported = lambda including_emulation=True: native or including_emulation  # noqa: E731
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)

    return pretend


@pytest.mark.parametrize(
    ("stored", "native", "dtype"),
    [
        ("float32", True, torch.float32),
        ("float32", False, torch.float32),
        ("float16", True, torch.float16),
        ("float16", False, torch.float16),
        ("bfloat16", True, torch.bfloat16),
        ("bfloat16", False, torch.float16),
    ],
)
def test_on_a_gpu_the_dtype_is_the_checkpoints_where_the_gpu_computes_it(gpu, broken, stored, native, dtype):
    gpu(native)
    folder = broken()
    edit_weights(folder, lambda w: w.update({k: v.to(getattr(torch, stored)) for k, v in w.items()}))
    edit_json(folder / "config.json", dtype=None)  # then the weights decide, as in transformers
    chosen = loading.device_for(folder, None, None)
    assert (chosen.name, chosen.dtype, chosen.stored) == ("cuda", dtype, getattr(torch, stored))
    edit_json(folder / "config.json", dtype=stored)
    assert loading.device_for(folder, "auto", "auto") == chosen
    assert loading.device_for(folder, None, "float32").dtype == torch.float32
    on_cpu = loading.device_for(folder, "cpu", None)
    assert (on_cpu.dtype, on_cpu.stored) == (torch.float32, chosen.stored)


def test_the_embedded_models_are_packed_in_float16_and_run_in_float32_everywhere(gpu):
    gpu(native=True)
    assert loading.device_for(rs.ASSETS / "tiny-policy", None, None).dtype == torch.float32


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"device": "cpuu"}, "'cpu'"),
        ({"device": "cpu:3"}, "'cpu'"),
        ({"dtype": "float61"}, "float16"),
    ],
)
def test_an_unknown_device_or_dtype_is_named_with_the_nearest(options, word):
    with pytest.raises(ConfigError, match=word):
        rs.pick_device(**options)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_device_that_is_not_there_is_refused():
    with pytest.raises(ConfigError, match="no cuda device"):
        rs.load_policy("tiny", device="cuda")


# Names and folders


@pytest.mark.parametrize("name", ["./nope", "/nope/model", "runs/x/policy", "tests/nope", "nope\\model"])
def test_a_missing_folder_says_so(name):
    error = refused(rs.load_policy, name, "no such model folder", "Embedded: tiny")
    assert error.what == "no such model folder", "what looks like a path is not asked for at the hub"


def test_a_misspelt_embedded_name_is_answered_with_the_nearest():
    refused(rs.load_policy, "tinny", "no such model folder", "Did you mean 'tiny'?")
    refused(rs.load_reward_model, "tiny-lenght", "Did you mean 'tiny-length'?")


def test_a_hub_id_that_cannot_be_reached_is_a_model_error():
    error = refused(rs.load_policy, "nobody-here/no-such-model", "the hub gave no such model")
    assert error.where == "nobody-here/no-such-model"


def test_a_hub_id_is_downloaded_once_and_then_read_from_the_cache(model_folder, monkeypatch, capsys):
    import huggingface_hub

    cache, calls = [], []

    def snapshot(hub_id, *, local_files_only, **options):
        calls.append(local_files_only)
        if local_files_only and not cache:
            raise FileNotFoundError(hub_id)
        cache.append(hub_id)
        return str(model_folder("llama"))

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    first, second = rs.load_policy("org/model"), rs.load_policy("org/model")
    assert calls == [True, False, True], "the second load does not ask the hub"
    assert first.name == second.name == "org/model"
    assert capsys.readouterr().out.count("downloading org/model") == 1


def test_a_file_is_not_a_folder(broken):
    refused(rs.load_policy, broken() / "config.json", "this is a file")


@pytest.mark.parametrize(
    ("file", "word"),
    [
        ("config.json", "config.json"),
        ("tokenizer.json", "tokenizer"),
        ("model.safetensors", "model.safetensors"),
    ],
)
def test_a_folder_without_a_part_is_refused(broken, file, word):
    folder = broken()
    (folder / file).unlink()
    refused(rs.load_policy, folder, word, str(folder))


@pytest.mark.parametrize("file", ["config.json", "tokenizer.json", "generation_config.json"])
def test_a_file_that_is_not_json_is_refused(broken, file):
    folder = broken()
    (folder / file).write_text("{ not json")
    refused(rs.load_policy, folder, str(folder))


@pytest.mark.parametrize("content", [b"", b"x" * 5000, "half", "header"])
def test_damaged_weights_are_named(broken, content):
    path = broken() / "model.safetensors"
    whole = path.read_bytes()
    path.write_bytes({"half": whole[: len(whole) // 2], "header": whole[:50]}.get(content, content))
    refused(rs.load_policy, path.parent, "damaged", "model.safetensors")


def test_pickled_weights_are_never_loaded(broken):
    folder = broken()
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    refused(rs.load_policy, folder, "pickled")


@pytest.mark.parametrize("kind", ["policy", "reward", "head"])
def test_an_adapter_is_merged_into_its_model(model_folder, tmp_path, kind):
    """Also one that brings the head with which its base, a language model, becomes a reward model."""
    peft = pytest.importorskip("peft")
    base, folder = model_folder("llama", "reward" if kind == "reward" else "policy"), tmp_path / "it's"
    load, task = (rs.load_policy, "CAUSAL_LM") if kind == "policy" else (rs.load_reward_model, "SEQ_CLS")
    auto = AutoModelForCausalLM if kind == "policy" else AutoModelForSequenceClassification
    settings = peft.LoraConfig(r=2, task_type=task, target_modules=["q_proj"], init_lora_weights=False)
    adapted = peft.get_peft_model(auto.from_pretrained(base, num_labels=1), settings).eval()
    adapted.peft_config["default"].base_model_name_or_path = str(base)
    adapted.save_pretrained(folder)
    merged, ids = load(folder), torch.tensor([[5, 6, 7]])
    wanted = adapted(input_ids=ids).logits
    torch.testing.assert_close(merged.model(input_ids=ids).logits, wanted)
    assert kind == "head" or not torch.allclose(load(base).model(input_ids=ids).logits, wanted)
    merged.save(tmp_path / "saved")
    assert load(tmp_path / "saved").fingerprint() == merged.fingerprint()
    shutil.copytree(base, folder, dirs_exist_ok=True)
    refused(load, folder, "adapter beside the weights of its base model")


def test_an_adapter_that_cannot_be_merged_into_its_model_is_refused(model_folder, tmp_path):
    peft = pytest.importorskip("peft")

    def adapter(name, base=None, of="llama", **settings):
        kind = settings.pop("kind", peft.LoraConfig)(task_type="CAUSAL_LM", **settings)
        whole = model_folder(of, **({"tie_word_embeddings": True} if name == "tied" else {}))
        adapted = peft.get_peft_model(rs.load_policy(whole).model, kind)
        adapted.peft_config["default"].base_model_name_or_path = str(base or whole)
        adapted.save_pretrained(tmp_path / name)
        return tmp_path / name

    random = {"r": 2, "init_lora_weights": False}
    other = adapter("other", base=model_folder("gpt2"), target_modules=["q_proj"], **random)
    refused(rs.load_policy, other, "cannot be merged: NoMatchingPeftModuleError")
    layers = adapter(
        "layers", base=model_folder("llama", num_hidden_layers=1), target_modules=["q_proj"], **random
    )
    refused(rs.load_policy, layers, "not of this model: 2 weights differ")
    tied = adapter("tied", target_modules=["lm_head"], **random)
    refused(rs.load_policy, tied, "acts otherwise than beside them")
    prompts = adapter("prompts", kind=peft.PromptTuningConfig, num_virtual_tokens=2)
    refused(rs.load_policy, prompts, "the adapter changes no weights")
    gone = adapter("gone", base="/nowhere/x", target_modules=["q_proj"], **random)
    refused(rs.load_policy, gone, "the model of this adapter, '/nowhere/x', is not there")
    (layers / "adapter_model.safetensors").rename(layers / "adapter_model.bin")
    refused(rs.load_policy, layers, "no adapter_model.safetensors")


@pytest.mark.parametrize(
    "method, settings, said",
    [
        ("gptq", {"bits": 4}, "(gptq)"),
        ("awq", {"bits": 4}, "(awq)"),
        ("bitsandbytes", {"load_in_4bit": True}, "(bitsandbytes in 4 bit)"),
        ("bitsandbytes", {"load_in_8bit": True}, "(bitsandbytes in 8 bit)"),
        ("fp8", {"weight_block_size": [128, 128]}, "(fp8)"),
        ("mxfp4", {}, "(mxfp4)"),
        ("compressed-tensors", {"format": "int-quantized"}, "(compressed-tensors)"),
        ("something-new", {}, "(something-new)"),
    ],
)
@pytest.mark.parametrize("kind", ["policy", "reward"])
def test_quantised_weights_are_refused_with_what_to_take(broken, kind, method, settings, said):
    folder, load = broken(kind), {"policy": rs.load_policy, "reward": rs.load_reward_model}[kind]
    for part in ({}, {"text_config": None}):
        stored = {"quantization_config": {"quant_method": method} | settings}
        stored = {"text_config": stored} if part else stored
        edit_json(folder / "config.json", **stored)
        way = "dequantiz" if method in ("bitsandbytes", "fp8", "mxfp4", "compressed-tensors") else "made from"
        refused(load, folder, "quantised", said, "float32, bfloat16 or float16", way)
        edit_json(folder / "config.json", quantization_config=None)


def test_gguf_is_refused_whatever_is_named_and_harmless_beside_whole_weights(broken, tmp_path):
    folder = broken()
    (folder / "model-q4.gguf").write_bytes(b"GGUF")
    assert rs.load_policy(folder).context
    alone = tmp_path / "gguf alone"
    alone.mkdir()
    (folder / "model-q4.gguf").rename(alone / "model-q4.gguf")
    for named in (alone, alone / "model-q4.gguf"):
        refused(rs.load_policy, named, "quantised (GGUF)", "gguf_file=")


@pytest.mark.parametrize("name", [None, 7, ["tiny"]])
@pytest.mark.parametrize("load", [rs.load_policy, rs.load_reward_model])
def test_a_name_that_is_no_text_is_refused(load, name):
    refused(load, name, f"not by a {type(name).__name__}")


def test_without_the_hub_a_model_is_refused_with_what_to_do_whether_by_name_or_address(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for name in ("some/model", "https://huggingface.co/some/model"):
        refused(rs.load_policy, name, "where: some/model", "Connect, or unset HF_HUB_OFFLINE")


@pytest.mark.parametrize("kind", ["policy", "reward"])
@pytest.mark.parametrize("place", ["from_pretrained", "to", "forward"])
def test_memory_that_runs_out_anywhere_in_loading_is_a_budget_error(model_folder, monkeypatch, kind, place):
    import transformers

    def full(*args, **options):
        raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")

    name = {"policy": "LlamaForCausalLM", "reward": "LlamaForSequenceClassification"}[kind]
    load = {"policy": rs.load_policy, "reward": rs.load_reward_model}[kind]
    folder = model_folder("llama", kind)
    monkeypatch.setattr(getattr(transformers, name), place, full)
    with pytest.raises(BudgetError, match="memory ran out"):
        load(folder)


def test_remote_code_is_never_run(broken, tmp_path):
    folder, trace = broken(), tmp_path / "ran"
    code = f"open({str(trace)!r}, 'w')\nfrom transformers import LlamaConfig as C, LlamaForCausalLM as M\n"
    (folder / "own.py").write_text(code)
    edit_json(
        folder / "config.json",
        model_type="own",
        auto_map={"AutoConfig": "own.C", "AutoModelForCausalLM": "own.M"},
    )
    refused(rs.load_policy, folder, "config cannot be read")
    assert not trace.exists()


# Weights


def test_a_base_language_model_is_refused_as_reward_model(model_folder):
    error = refused(rs.load_reward_model, model_folder("llama"), "base language model", "score.weight")
    assert "random" in error.fix


def test_a_reward_model_is_refused_as_policy(model_folder):
    refused(rs.load_policy, model_folder("llama", "reward"), "this is a reward model")


def drop(weights):
    weights.pop("model.layers.1.mlp.up_proj.weight")


def add(weights):
    weights["model.layers.7.mlp.up_proj.weight"] = torch.zeros(2, 2)


def cut(weights):
    weights["model.norm.weight"] = torch.zeros(5)


@pytest.mark.parametrize(
    ("change", "word"), [(drop, "missing"), (add, "left over"), (cut, "of another shape")]
)
@pytest.mark.parametrize("kind", ["policy", "reward"])
def test_weights_that_do_not_fit_are_named(broken, change, word, kind):
    folder = broken(kind)
    edit_weights(folder, change)
    load = rs.load_policy if kind == "policy" else rs.load_reward_model
    refused(load, folder, "1 " + word, "model.")


def test_constants_that_old_checkpoints_stored_are_no_weights(model_folder, tmp_path):
    folder = shutil.copytree(model_folder("gpt2"), tmp_path / "model")
    old = {
        "transformer.h.0.attn.masked_bias": torch.tensor(-1e4),
        "transformer.h.0.attn.bias": torch.ones(1, 1, 8, 8),
    }
    edit_weights(folder, lambda w: w.update(old))
    assert rs.load_policy(folder).fingerprint() == rs.load_policy(model_folder("gpt2")).fingerprint()


def test_weights_with_nan_are_refused(broken):
    folder = broken()
    edit_weights(folder, lambda w: w["model.norm.weight"].fill_(float("nan")))
    refused(rs.load_policy, folder, "not finite", "damaged or diverged")


def test_an_overflow_of_float16_is_refused_with_the_way_out(broken):
    folder = broken()
    edit_weights(folder, lambda w: w["lm_head.weight"].fill_(6e4))
    rs.load_policy(folder, dtype="float32")
    refused(
        lambda path: rs.load_policy(path, dtype="float16"), folder, "float16 overflowed", 'dtype="float32"'
    )


def test_check_finite_passes_numbers_and_stops_nan_and_infinity():
    rs.check_finite(torch.tensor([1.0, -3e38]), "here")
    for bad in (float("nan"), float("inf"), float("-inf")):
        with pytest.raises(ModelError, match="not finite"):
            rs.check_finite(torch.tensor([0.0, bad]), "here")


# Architectures


def save_other(model, folder: Path) -> Path:
    model.save_pretrained(folder)
    build_tokenizer().save_pretrained(folder)
    return folder


SMALL_BERT = {
    "vocab_size": 328, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
    "intermediate_size": 16,
}  # fmt: skip


SMALL = {
    "Bert": SMALL_BERT,
    "Pegasus": {"vocab_size": 328, "d_model": 16, "decoder_layers": 1, "decoder_attention_heads": 2},
    "Falcon": SMALL_BERT,
    "Mamba": {"vocab_size": 328, "hidden_size": 16, "num_hidden_layers": 1, "state_size": 4},
}


@pytest.mark.parametrize("name", SMALL)
def test_what_is_no_decoder_with_replaceable_attention_is_refused_as_policy(name, tmp_path):
    """An encoder, an encoder-decoder, a decoder with its own attention, a recurrent model."""
    import transformers

    config = getattr(transformers, f"{name}Config")(**SMALL[name])
    folder = save_other(transformers.AutoModelForCausalLM.from_config(config), tmp_path)
    edit_json(folder / "config.json", is_encoder_decoder=name == "Pegasus")
    refused(rs.load_policy, folder, f"a {name.lower()} model is not supported as policy")


def test_a_head_that_the_engine_does_not_know_is_refused(model_folder):
    class Doubled(type(rs.load_policy(model_folder("llama")).model)):
        def forward(self, **inputs):
            found = super().forward(**inputs)
            found.logits = 2 * found.logits
            return found

    policy = rs.load_policy(model_folder("llama"))
    policy.model.__class__ = Doubled
    with pytest.raises(ModelError, match="head of this architecture"):
        loading._probe_policy(policy)


# Padding


def test_a_pad_id_without_a_row_is_not_taken(model_folder, tmp_path):
    """Old configs write -1 for none."""
    for kind, load in (("policy", rs.load_policy), ("reward", rs.load_reward_model)):
        without = model_folder("llama", kind, tokenizer=build_tokenizer(pad_token=None))
        folder = shutil.copytree(without, tmp_path / kind)
        edit_json(folder / "config.json", pad_token_id=-1)
        loaded = load(folder)
        assert 0 <= loaded.pad_id < loaded.model.get_input_embeddings().num_embeddings


# Prompts as tokens


def test_a_policy_reads_the_template_up_to_where_the_response_begins(model_folder):
    policy = rs.load_policy(model_folder("llama"))
    assert policy.tokenizer.decode(policy.encode(PROMPT)) == f"<|user|>{PROMPT}<|assistant|>"
    assert policy.encode_many([PROMPT, "Hi"]) == [policy.encode(PROMPT), policy.encode("Hi")]
    assert policy.encode_many([]) == []
    ids = policy.tokenizer(RESPONSE)["input_ids"]
    assert policy.decode([*ids, 4]) == RESPONSE and policy.decode([]) == ""


def test_a_reward_model_reads_both_turns(model_folder):
    judge = rs.load_reward_model(model_folder("llama", "reward"))
    text = judge.tokenizer.decode(judge.encode(PROMPT, RESPONSE))
    assert text == f"<|user|>{PROMPT}<|assistant|>{RESPONSE}<|end|>"


def test_a_doubled_begin_token_is_kept_once(model_folder):
    template = "{{ bos_token }}{{ bos_token }}" + CHAT_TEMPLATE
    tokenizer = build_tokenizer(chat_template=template, add_bos=True)
    policy = rs.load_policy(model_folder("llama", tokenizer=tokenizer))
    judge = rs.load_reward_model(model_folder("llama", "reward", tokenizer=tokenizer))
    for ids in (policy.encode(PROMPT), judge.encode(PROMPT, RESPONSE)):
        assert ids[0] == 1 and ids.count(1) == 1


def test_without_a_template_the_text_is_taken_as_it_is(model_folder):
    tokenizer = build_tokenizer(chat_template=None, add_bos=True)
    policy = rs.load_policy(model_folder("gpt2", tokenizer=tokenizer))
    judge = rs.load_reward_model(model_folder("gpt2", "reward", tokenizer=tokenizer))
    assert policy.tokenizer.decode(policy.encode(PROMPT)) == f"<|bos|>{PROMPT}"
    assert judge.tokenizer.decode(judge.encode(PROMPT, RESPONSE)) == f"<|bos|>{PROMPT}{RESPONSE}"


def test_a_tokenizer_that_closes_every_text_does_not_end_the_prompt(model_folder):
    from tokenizers import processors

    tokenizer = build_tokenizer(chat_template=None)
    closing = processors.TemplateProcessing(single="$A <|end|>", special_tokens=[("<|end|>", 4)])
    tokenizer.backend_tokenizer.post_processor = closing
    policy = rs.load_policy(model_folder("llama", tokenizer=tokenizer))
    assert policy.tokenizer(PROMPT)["input_ids"][-1] == 4 and policy.encode(PROMPT)[-1] != 4


def test_a_thinking_template_is_refused_when_the_policy_is_loaded(model_folder):
    tokenizer = build_tokenizer(
        chat_template=CHAT_TEMPLATE.replace("%}<|assistant|>{%", "%}<|assistant|><think>{%")
    )
    refused(rs.load_policy, model_folder("llama", tokenizer=tokenizer), "<think>", "thinking")


def test_a_template_whose_thinking_can_be_switched_off_is_taken_without(model_folder):
    switch = "{% if enable_thinking is not defined or enable_thinking %}<think>{% endif %}"
    policy = rs.load_policy(
        model_folder("llama", tokenizer=build_tokenizer(chat_template=CHAT_TEMPLATE + switch))
    )
    assert "<think>" not in policy.tokenizer.decode(policy.encode(PROMPT))
    policy.encode("What does <think> mean?")  # the word may stand in a prompt


def test_a_template_that_fails_is_a_model_error(model_folder):
    tokenizer = build_tokenizer(chat_template="{{ raise_exception('no user turns') }}")
    refused(rs.load_policy, model_folder("llama", tokenizer=tokenizer), "template failed", "no user turns")


def test_a_tokenizer_of_another_model_is_noticed_before_the_embedding_is(model_folder):
    folder = model_folder("llama", vocab_size=100)
    refused(rs.load_policy, folder, "outside the model's vocabulary of 100")


# Fingerprints


def test_the_fingerprint_survives_saving_and_tells_every_change(model_folder, tmp_path):
    policy = rs.load_policy(model_folder("llama"))
    before = policy.fingerprint()
    policy.save(tmp_path / "copy")
    assert rs.load_policy(tmp_path / "copy").fingerprint() == before
    policy.tokenizer(["a", "b c d"], padding=True, truncation=True)
    policy.model.set_attn_implementation("eager")
    assert policy.fingerprint() == before, "use must not change it"
    with torch.no_grad():
        policy.model.lm_head.weight[3, 3] += 1e-6
    changed = {
        before,
        policy.fingerprint(),
        rs.load_policy(model_folder("llama"), dtype="bfloat16").fingerprint(),
    }
    policy.tokenizer.chat_template += " "
    changed.add(policy.fingerprint())
    policy.model.config.rope_parameters["rope_theta"] = 5.0
    changed.add(policy.fingerprint())
    policy.eos_ids = (4, 2)
    changed.add(policy.fingerprint())
    assert len(changed) == 6


def test_another_process_loads_in_silence_and_finds_the_same_fingerprint(model_folder):
    folder, base = model_folder("gemma3"), model_folder("llama")
    code = f"""
import rslib.models as rs
from rslib import doctor as rs_doctor
print(rs.load_policy({str(folder)!r}, device="cpu").fingerprint())
try:
    rs.load_reward_model({str(base)!r})
except rs.loading.ModelError:
    rs.load_policy("tiny").encode("word " * 2000)
"""
    done = subprocess.run(
        [sys.executable, "-W", "default", "-c", code], capture_output=True, text=True, cwd=ROOT
    )
    assert done.stderr == ""
    assert done.stdout.split() == [rs.load_policy(folder, device="cpu").fingerprint()]


ROOT = Path(__file__).resolve().parents[1]


def test_loading_leaves_the_users_logging_as_it_was(model_folder, capfd):
    transformers_logging.set_verbosity_info()
    try:
        rs.load_policy(model_folder("llama"))
        with pytest.raises(ModelError):
            rs.load_reward_model(model_folder("llama"))
        assert transformers_logging.get_verbosity() == transformers_logging.INFO
        assert transformers_logging.is_progress_bar_enabled()
    finally:
        transformers_logging.set_verbosity_warning()
    assert capfd.readouterr().err == ""


# Saving


def test_a_saved_policy_is_an_ordinary_folder_that_replaces_the_old_one(model_folder, tmp_path):
    policy = rs.load_policy(model_folder("qwen3"))
    target = tmp_path / "runs" / "policy"
    policy.save(target)
    (target / "stale.txt").write_text("old")
    policy.save(target)
    assert not (target / "stale.txt").exists()
    assert [path.name for path in target.parent.iterdir()] == ["policy"], "nothing temporary is left"
    model = AutoModelForCausalLM.from_pretrained(target, dtype="float32")
    assert torch.equal(model.lm_head.weight, policy.model.lm_head.weight.cpu())
    assert AutoTokenizer.from_pretrained(target)(PROMPT) == policy.tokenizer(PROMPT)
    assert rs.load_policy(target).max_new_tokens == policy.max_new_tokens


@pytest.mark.parametrize(
    "err",
    [
        OSError(28, "No space left on device"),
        SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
    ],
)
def test_a_full_disk_leaves_the_old_model_and_says_what_to_do(model_folder, tmp_path, err):
    policy = rs.load_policy(model_folder("llama"))
    policy.save(tmp_path / "policy")

    def fail(folder):
        (folder / "model.safetensors").write_bytes(b"half")
        raise err

    policy.tokenizer.save_pretrained = fail
    with pytest.raises(StoreError, match="no disk space left") as caught:
        policy.save(tmp_path / "policy")
    assert "Free some space" in caught.value.fix and str(tmp_path) in caught.value.where
    assert [path.name for path in tmp_path.iterdir()] == ["policy"]
    rs.load_policy(tmp_path / "policy")


def test_a_folder_that_cannot_be_made_is_a_store_error(model_folder, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError):
        rs.load_policy(model_folder("llama")).save(tmp_path / "file" / "policy")


def test_saving_never_deletes_what_is_not_a_model(model_folder, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(StoreError, match="saving would delete it"):
        rs.load_policy(model_folder("llama")).save(tmp_path)
    assert (tmp_path / "thesis.tex").exists()


def test_a_kill_between_the_two_renames_loses_nothing(tmp_path):
    old = tmp_path / ".policy.old"
    old.mkdir()
    (old / "config.json").write_text("{}")
    with pytest.raises(RuntimeError), rs.replaced_folder(tmp_path / "policy"):
        raise RuntimeError
    assert (tmp_path / "policy" / "config.json").exists()


@pytest.mark.parametrize(
    ("number", "words"), [(30, "Change its permissions"), (13, "permissions"), (122, "space")]
)
def test_what_the_system_refuses_becomes_a_store_error_with_a_way_out(number, words):
    error = translate_os_error(OSError(number, "refused"), where="runs/x")
    assert isinstance(error, StoreError) and words in error.fix and error.where == "runs/x"


# The manifest and the doctor


@pytest.fixture
def own_assets(model_folder, tmp_path, monkeypatch):
    """An assets folder with one policy and its manifest, in place of the embedded one."""
    shutil.copytree(model_folder("llama"), tmp_path / "tiny-policy")
    shutil.copytree(model_folder("llama", "reward"), tmp_path / "tiny-reward")
    folders = ("tiny-policy", "tiny-reward")
    listed = {name: {"files": rs.digest_folder(tmp_path / name)} for name in folders}
    (tmp_path / "manifest.json").write_text(json.dumps({"assets": listed}))
    monkeypatch.setattr(checks, "ASSETS", tmp_path)
    for module in (checks, rs_doctor):
        monkeypatch.setattr(module, "MANIFEST", tmp_path / "manifest.json")
    return tmp_path


def test_an_embedded_file_that_was_changed_is_named(own_assets):
    assert rs.verify_assets() == []
    rs.load_policy("tiny")
    path = own_assets / "tiny-policy" / "config.json"
    edit_json(path, rms_norm_eps=0.5)
    (own_assets / "tiny-policy" / "chat_template.jinja").unlink()
    refused(
        rs.load_policy,
        "tiny",
        "tiny-policy/config.json was changed",
        "tiny-policy/chat_template.jinja is missing",
    )
    assert len(rs.verify_assets("tiny-policy")) == 2
    assert rs.verify_assets("tiny-reward") == []
    (own_assets / "tiny-policy" / "extra.json").write_text("{}")
    assert "tiny-policy/extra.json does not belong there" in rs.verify_assets("tiny-policy")
    by_name = {check.name: check for check in rs_doctor.doctor()}
    assert not by_name["files of tiny-policy"].ok and not by_name["policy tiny"].ok
    assert by_name["files of tiny-reward"].ok


def test_the_doctor_says_device_dtype_and_why_versions_and_memory():
    by_name = {check.name: check for check in rs_doctor.doctor(device="cpu")}
    assert "float32" in by_name["device"].detail and "asked for" in by_name["device"].detail
    assert torch.__version__.startswith(by_name["torch"].detail)  # its build may be left out
    assert {"python", "transformers", "datasets", "numpy", "memory", "disk"} <= by_name.keys()
    assert by_name["policy tiny"].ok and "fingerprint" in by_name["policy tiny"].detail


@pytest.mark.parametrize(
    ("scale", "sentence"), [(0.0, "all rewards are the same"), (1e-7, "every response gets the same reward")]
)
def test_the_doctor_finds_a_reward_model_that_is_constant_and_one_that_is_missing(broken, scale, sentence):
    folder = broken("reward")
    edit_weights(folder, lambda w: w["score.weight"].mul_(scale))
    constant, missing = (rs_doctor.doctor(reward=name)[-1] for name in (folder, "./nope"))
    assert not constant.ok and sentence in constant.detail
    assert not missing.ok and "no such model folder" in missing.detail
