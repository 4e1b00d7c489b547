"""Classes of policies: exact or refused when they are loaded; rotary scalings; parts that see."""

import time

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file

import rslib
from docs.studies import architectures as study
from docs.studies.results import read
from rslib.config import SampleConfig
from rslib.decoding import decode, shared_attention
from rslib.decoding.graphs import GraphDecoder
from rslib.errors import DataError, ModelError
from rslib.models import load_policy
from rslib.scoring import reference_logprobs
from tests import small_heads
from tests.small_models import build_tokenizer

# Of each way in which a class can be refused one, and of what runs those that are built in unlike ways.
SAMPLE = (
    *(
        "gemma3",
        "llama4_text",
        "deepseek_v3",
        "gpt_oss",
        "afmoe",
        "opt",
        "modernbert-decoder",
        "phimoe",
        "doge",
    ),
    *("doge", "bert-generation", "diffllama", "lfm2", "gptj"),
)


MEASURED = read("architectures")
same_version = pytest.mark.skipif(
    transformers.__version__ != MEASURED["transformers"],
    reason=f"the table is that of transformers {MEASURED['transformers']}",
)


@pytest.fixture(scope="module")
def rows():
    return {row["model_type"]: row for row in MEASURED["policies"]}


@same_version
@pytest.mark.parametrize("model_type", SAMPLE)
def test_a_sample_of_the_table_comes_out_as_it_stands_there(rows, model_type, tmp_path):
    found = study.trial(model_type, tmp_path / "model")
    assert (found["result"], found.get("why")) == (rows[model_type]["result"], rows[model_type].get("why"))


@pytest.mark.long
@same_version
def test_the_whole_table_comes_out_as_it_stands():
    found = {row["model_type"]: row["result"] for row in study.trials(study.CLASSES)}
    assert found == {row["model_type"]: row["result"] for row in MEASURED["policies"]}


@pytest.mark.long
@pytest.mark.skipif(transformers.__version__ == MEASURED["transformers"], reason="the table says more")
def test_under_another_version_every_class_is_exact_or_refused_too():
    assert {row["result"] for row in study.trials(study.CLASSES)} <= {"exact", "refused", "not built"}


@same_version
def test_every_class_is_exact_or_refused_and_the_page_says_what_the_results_say(rows):
    assert set(rows) == set(study.CLASSES), "run: make architectures"
    results = [row["result"] for row in rows.values()]
    assert set(results) <= {"exact", "refused", "not built"} and results.count("exact") >= 45
    for row in rows.values():
        if row["result"] == "exact":
            assert row["tokens"] == 1 and max(row["logprob"], row["loss"]) <= study.TOLERANCE
    heads = MEASURED["rewards"]
    assert {row["model_type"] for row in heads} == set(small_heads.MODEL_TYPES), "run: make architectures"
    assert {row["result"] for row in heads} <= {"exact", "refused", "not built"}
    assert all(row["reward"] <= small_heads.EXACT for row in heads if row["result"] == "exact")
    assert sum(row["result"] == "exact" for row in heads) >= 110
    assert study.PAGE.read_text(encoding="utf-8") == study.page(MEASURED)


# Rotary scalings --------------------------------------------------------------------------------------

ORIGINAL = 64
LONG = {
    "rope_type": "longrope",
    "rope_theta": 1e4,
    "short_factor": [1.0] * 4,
    "long_factor": [1 + 1.5 * i for i in range(4)],
    "original_max_position_embeddings": ORIGINAL,
}
STATIC = {
    "yarn": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": ORIGINAL},
    "linear": {"rope_type": "linear", "factor": 4.0},
    "llama3": {
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
        "high_freq_factor": 4.0, "original_max_position_embeddings": ORIGINAL,
    },
    "dynamic, whose context is its original length": {"rope_type": "dynamic", "factor": 4.0},
}  # fmt: skip
SHORT, OVERLONG = "Hi", "word " * 70


def drawn(policy, prompts, **options):
    return rslib.sample(policy, prompts, show_progress=False, **{"n": 3, "max_new_tokens": 12} | options)


@pytest.mark.parametrize("arch", ["qwen2", "llama"])
def test_longrope_is_refused_beyond_its_original_length_and_exact_within_it(model_folder, tmp_path, arch):
    folder = model_folder(arch, rope_parameters=LONG)
    with pytest.raises(
        ModelError, match="'longrope' changes the angles of all rows once one passes 64 "
    ) as caught:
        load_policy(folder)
    assert f"context={ORIGINAL})" in caught.value.fix and f"--context {ORIGINAL}" in caught.value.fix
    policy = load_policy(folder, context=ORIGINAL)
    assert policy.context == ORIGINAL
    with pytest.raises(DataError, match="context is 64"):
        drawn(policy, [SHORT, OVERLONG])
    beside = drawn(policy, [SHORT, "word " * 18])
    assert drawn(policy, [SHORT])["token_ids"][:] == beside["token_ids"][:3]
    np.testing.assert_allclose(beside["logprob"][:], reference_logprobs(policy, beside), atol=1e-3)
    policy.save(tmp_path / "saved")
    again = load_policy(tmp_path / "saved")
    assert (again.context, again.fingerprint()) == (ORIGINAL, policy.fingerprint())


@pytest.mark.parametrize("kind", STATIC)
def test_a_scaling_that_is_the_same_at_every_length_stays_exact(model_folder, kind):
    policy = load_policy(model_folder("llama", rope_parameters={"rope_theta": 1e4} | STATIC[kind]))
    alone, beside = drawn(policy, [SHORT]), drawn(policy, [SHORT, OVERLONG])
    assert alone["token_ids"][:] == beside["token_ids"][:3]
    measured = study.compare(policy)
    assert measured["tokens"] == 1 and measured["logprob"] <= study.TOLERANCE


# Parts that see, and what else a folder may hold ---------------------------------------------------------


def llama4_that_sees(folder):
    """A folder as transformers writes a Llama 4: text and vision under one config."""
    part = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2}
    vision = part | {
        "num_hidden_layers": 1, "image_size": 28, "patch_size": 14, "vision_output_dim": 32,
        "projector_input_dim": 32, "projector_output_dim": 32,
    }  # fmt: skip
    text = study.small_config(transformers.Llama4TextConfig)
    config = transformers.Llama4Config(text_config=text.to_dict(), vision_config=vision)
    return study.save_small(folder, transformers.Llama4ForConditionalGeneration, config)


def test_of_a_llama_4_that_sees_the_text_part_is_taken(tmp_path):
    folder = llama4_that_sees(tmp_path / "model")
    assert any("vision" in name for name in load_file(folder / "model.safetensors"))
    policy = load_policy(folder)
    measured = study.compare(policy)
    assert measured["tokens"] == 1 and max(measured["logprob"], measured["loss"]) <= study.TOLERANCE
    policy.save(tmp_path / "saved")
    assert load_policy(tmp_path / "saved").fingerprint() == policy.fingerprint()


def test_a_chunk_of_attention_bounds_the_context(tmp_path):
    config = study.small_config(transformers.Llama4TextConfig, attention_chunk_size=32)
    policy = load_policy(study.save_small(tmp_path / "model", transformers.Llama4ForCausalLM, config))
    assert policy.context == 32


def test_queries_that_are_scaled_by_their_place_are_not_scaled_by_it_in_a_packed_pass(tmp_path):
    """A pass over many rows is longer than the first place that is scaled; no row is."""
    config = study.small_config(transformers.Llama4TextConfig, floor_scale=100, attn_scale=5.0)
    policy = load_policy(study.save_small(tmp_path / "model", transformers.Llama4ForCausalLM, config))
    assert policy.context == 99
    alone = drawn(policy, [SHORT], n=1)
    beside = drawn(policy, [SHORT, *(f"Question {i} is long?" for i in range(12))], n=1)
    assert beside["token_ids"][0] == alone["token_ids"][0]
    np.testing.assert_allclose(reference_logprobs(policy, beside), beside["logprob"][:], atol=1e-3)
    assert study.compare(policy)["logprob"] <= study.TOLERANCE


@pytest.mark.parametrize("model_type", ["gpt_oss", "granite_swa"])
def test_sinks_take_their_weight_in_steps_that_can_be_recorded_too(tmp_path, model_type):
    kind = getattr(transformers, study.CLASSES[model_type])
    folder = study.save_small(
        tmp_path / "model", kind, study.small_config(transformers.CONFIG_MAPPING[model_type])
    )
    policy = load_policy(folder)
    prompts = [policy.encode(text) for text in (SHORT, "What is the capital of France?")]
    rows = {"seeds": range(6), "limits": [16] * 6}
    options = {"config": SampleConfig(), "eos_ids": policy.eos_ids, "context": policy.context}
    with shared_attention(policy.model):
        eager = decode(policy.model, prompts, [0, 0, 0, 1, 1, 1], **rows, **options)
        static = GraphDecoder(policy.model, *options.values(), record=False)(
            prompts, [0, 0, 0, 1, 1, 1], **rows
        )
    torch.testing.assert_close(static.tokens, eager.tokens)
    torch.testing.assert_close(static.logprobs, eager.logprobs, atol=1e-4, rtol=0)


def test_a_fine_tuned_gemma_3_that_sees_is_an_ordinary_folder(tmp_path):
    config = study.small_config(transformers.Gemma3Config)
    kind = transformers.Gemma3ForConditionalGeneration
    policy = load_policy(study.save_small(tmp_path / "model", kind, config))
    responses = drawn(policy, [SHORT, "Why?"], n=1)
    tuned = rslib.finetune(policy, responses, tmp_path / "tuned", epochs=1, show_progress=False)
    again = load_policy(tmp_path / "tuned")
    assert again.fingerprint() == tuned.fingerprint() != policy.fingerprint()


def test_a_layer_that_does_not_tell_of_its_window_is_found_out_at_loading(tmp_path, monkeypatch):
    """The window is longer than every row of the trial, so no row by itself could show it."""
    from transformers.models.mistral.modeling_mistral import MistralAttention

    config = study.small_config(transformers.MistralConfig, sliding_window=100)
    folder = study.save_small(tmp_path / "model", transformers.MistralForCausalLM, config)
    load_policy(folder)
    forward = MistralAttention.forward

    def without_window(self, *args, **options):
        window, self.config.sliding_window = self.config.sliding_window, None
        try:
            return forward(self, *args, **options)
        finally:
            self.config.sliding_window = window

    monkeypatch.setattr(MistralAttention, "forward", without_window)
    with pytest.raises(ModelError, match="shared prefixes change what MistralForCausalLM computes"):
        load_policy(folder)


def test_a_class_whose_own_code_fails_is_refused_with_what_it_said(model_folder, monkeypatch):
    from transformers.models.llama.modeling_llama import LlamaModel

    monkeypatch.setattr(LlamaModel, "forward", lambda self, **options: {}["sin"])
    with pytest.raises(ModelError, match="LlamaForCausalLM does not run here: KeyError: 'sin'"):
        load_policy(model_folder("llama"))


def test_the_trial_at_loading_is_quick():
    load_policy("tiny")
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        load_policy("tiny")
        seconds.append(time.perf_counter() - began)
    assert min(seconds) < 1.0, "0.1 s on an idle machine"


def test_a_tokenizer_that_adds_its_begin_token_beside_the_template_is_read_once(model_folder):
    tokenizer = build_tokenizer(chat_template="{{ bos_token }}{{ messages[0].content }}", add_bos=True)
    policy = load_policy(model_folder("llama", tokenizer=tokenizer))
    assert policy.encode("Hi").count(tokenizer.bos_token_id) == 1
