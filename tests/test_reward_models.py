"""Reward models of every kind: exact against their own class, or refused with what was found."""

import json
import shutil

import numpy as np
import pytest
import torch
import transformers
from datasets import Dataset
from safetensors.torch import load_file, save_file

import rslib
from rslib import load_policy, load_reward_model, score
from rslib.__main__ import main
from rslib.errors import ConfigError, DataError, ModelError
from rslib.reward_modeling import train_reward_model
from tests.small_heads import (
    SPECIAL,
    TEXTS,
    own_rewards,
    pair_tokenizer,
    responses,
    small_reward_model,
    verdict,
)
from tests.small_models import VOCABULARY, build_tokenizer, full_logits

DECODERS = ("llama", "qwen3", "gpt2", "gemma2", "opt", "gemma3", "gpt_oss")
BY_THEMSELVES = ("bloom", "falcon", "modernbert-decoder", "qwen3_next")
ENCODERS = ("bert", "deberta", "deberta-v2", "roberta", "modernbert", "xlnet", "funnel")
BOTH = ("t5", "bart", "t5gemma")


@pytest.fixture(scope="session")
def folder_of(tmp_path_factory):
    """`folder_of(model_type, chat=True, **settings)`: a small reward model, built once a session."""
    built = {}

    def build(model_type, chat=True, **settings):
        key = repr((model_type, chat, sorted(settings.items())))
        if key not in built:
            tokenizer = build_tokenizer() if chat else pair_tokenizer()
            folder = tmp_path_factory.mktemp(model_type) / "reward"
            built[key] = small_reward_model(model_type, folder, tokenizer, **settings)
        return built[key]

    return build


@pytest.fixture
def changed(folder_of, tmp_path):
    """`changed(weights=None, **config)`: a copy with other weights or another config."""

    def change(weights=None, **config):
        folder = shutil.copytree(folder_of("qwen2"), tmp_path / "changed", dirs_exist_ok=True)
        if weights is not None:
            held = load_file(folder / "model.safetensors")
            weights(held)
            save_file(held, folder / "model.safetensors", metadata={"format": "pt"})
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | config))
        return folder

    return change


def rewards(reward_model, table=None):
    return np.array(
        score(reward_model, responses() if table is None else table, show_progress=False)["reward"]
    )


def refused(folder, *words, **options):
    with pytest.raises(ModelError) as caught:
        load_reward_model(folder, **options)
    for word in words:
        assert word in str(caught.value), (word, str(caught.value))
    assert caught.value.where and caught.value.fix
    return caught.value


# Exact against the class itself -----------------------------------------------------------------------


@pytest.mark.parametrize("chat", [True, False], ids=["chat", "plain"])
@pytest.mark.parametrize("model_type", [*DECODERS, *BY_THEMSELVES, *ENCODERS, *BOTH])
def test_rewards_are_those_of_the_class_itself_on_each_row_alone(folder_of, model_type, chat):
    folder = folder_of(model_type, chat)
    reward_model = load_reward_model(folder)
    wanted = own_rewards(folder, pair=reward_model.paired)
    assert np.ptp(wanted) > 1e-3
    np.testing.assert_allclose(rewards(reward_model), wanted, atol=2e-5)
    np.testing.assert_allclose(rewards(reward_model, responses().select([3])), wanted[3], atol=2e-5)
    assert reward_model.shared is (model_type in DECODERS)


def test_an_encoder_reads_prompt_and_response_as_a_pair(folder_of):
    reward_model = load_reward_model(folder_of("bert", False))
    (row,) = reward_model.inputs_many([("Hi", "One.")])
    assert row["input_ids"].count(4) == 2 and set(row["token_type_ids"]) == {0, 1}
    assert load_reward_model(folder_of("llama", False)).encode("Hi", "One.").count(4) == 1


@pytest.mark.parametrize("model_type", ["llama", "gpt2", "opt", "bloom", "gemma3", "qwen3_next"])
@pytest.mark.parametrize("chat", [True, False], ids=["chat", "plain"])
@pytest.mark.parametrize("pad", [4, None, -1, 999], ids=["end", "none", "minus one", "beyond"])
def test_where_pad_is_the_end_or_nothing_the_reward_is_read_where_the_class_reads_it(
    tmp_path, model_type, chat, pad
):
    tokenizer = build_tokenizer(pad_token="<|end|>") if chat else pair_tokenizer()
    settings = {"pad_token_id": pad}
    if model_type == "gemma3":  # its text part names the pad token
        settings = {"text_config": SPECIAL["gemma3"]["text_config"] | settings}
    try:
        folder = small_reward_model(model_type, tmp_path, tokenizer, **settings)
    except AssertionError:
        pytest.skip("torch has no embedding with such a pad token")
    reward_model = load_reward_model(folder)
    np.testing.assert_allclose(rewards(reward_model), own_rewards(folder, pair=False), atol=2e-5)


def test_equal_responses_that_end_in_the_pad_token_are_read_within_what_they_share(tmp_path):
    folder = small_reward_model("llama", tmp_path, build_tokenizer(pad_token="<|end|>"), pad_token_id=4)
    same = Dataset.from_list([dict(responses()[0], sample_id=number) for number in range(3)])
    np.testing.assert_allclose(
        rewards(load_reward_model(folder), same), own_rewards(folder, pair=False)[[0, 0, 0]], atol=2e-5
    )


def test_a_rotary_embedding_that_depends_on_the_length_is_computed_for_each_row(tmp_path):
    factors = {"short_factor": [1.0] * 4, "long_factor": [4.0] * 4, "original_max_position_embeddings": 16}
    rope = {"rope_type": "longrope", "rope_theta": 1e4, "factor": 16.0} | factors
    folder = small_reward_model("llama", tmp_path, build_tokenizer(), rope_parameters=rope)
    reward_model = load_reward_model(folder)
    lengths = [len(reward_model.encode(*texts)) for texts in TEXTS]
    assert min(lengths) < 16 < max(lengths) < reward_model.context
    np.testing.assert_allclose(rewards(reward_model), own_rewards(folder, pair=False), atol=2e-5)
    assert reward_model.shared is False


def test_a_rotary_embedding_that_remembers_the_longest_row_is_used_up_to_its_original_length(tmp_path):
    rope = {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 4.0, "original_max_position_embeddings": 64}
    folder = small_reward_model("llama", tmp_path, build_tokenizer(), rope_parameters=rope)
    assert load_reward_model(folder).context == 64


def test_a_reward_model_trained_from_a_policy_whose_pad_is_its_end_is_scored_as_it_was_trained(
    model_folder, tmp_path
):
    policy = load_policy(
        model_folder("llama", tokenizer=build_tokenizer(pad_token="<|end|>"), pad_token_id=4)
    )
    pairs = Dataset.from_list([{"prompt": "Hi", "chosen": "One.", "rejected": "Two."}] * 4)
    trained = train_reward_model(policy, pairs, tmp_path / "trained", show_progress=False)
    table = Dataset.from_list(
        [
            {"prompt_id": "a", "prompt": "Hi", "sample_id": i, "response": r}
            for i, r in enumerate(("One.", "Two."))
        ]
    )
    good, bad = rewards(trained, table)
    assert good > bad
    np.testing.assert_allclose(
        rewards(load_reward_model(tmp_path / "trained"), table), [good, bad], atol=1e-6
    )


def test_roberta_leaves_the_first_positions_of_its_table_free(folder_of):
    reward_model = load_reward_model(folder_of("roberta", False))
    assert reward_model.context == 255
    assert np.isfinite(rewards(reward_model, long_row(reward_model, 255))).all()
    with pytest.raises(DataError, match="context is 255"):
        rewards(reward_model, long_row(reward_model, 256))


def long_row(reward_model, length):
    response = "42" * 400
    while len(reward_model.encode("Hi", response)) > length:
        response = response[:-1]
    assert len(reward_model.encode("Hi", response)) == length
    return Dataset.from_list([{"prompt_id": "a", "prompt": "Hi", "sample_id": 0, "response": response}])


# Several labels ---------------------------------------------------------------------------------------

LABELS = {"num_labels": 3, "id2label": {0: "helpfulness", 1: "verbosity", 2: "safety"}}


@pytest.mark.parametrize("model_type", ["llama", "bert", "t5"])
def test_several_labels_are_weighed_as_the_user_says(folder_of, model_type):
    folder = folder_of(model_type, **LABELS)
    refused(folder, "3 labels (helpfulness, verbosity, safety)", "weights={'helpfulness': 1.0}")
    by_name = load_reward_model(folder, weights={"verbosity": -0.5, "helpfulness": 2.0})
    in_order = load_reward_model(folder, weights=[2.0, -0.5, 0.0])
    logits = [full_logits(by_name.model, by_name.encode(*texts)) for texts in TEXTS]
    wanted = [float(row[0] * 2.0 - row[1] * 0.5) for row in logits]
    np.testing.assert_allclose(rewards(by_name), wanted, atol=1e-5)
    assert by_name.fingerprint() == in_order.fingerprint()
    assert load_reward_model(folder, weights=[0, 0, 1]).fingerprint() != by_name.fingerprint()
    behind = load_reward_model(f"{folder}:verbosity=-0.5, helpfulness=2")
    assert behind.fingerprint() == by_name.fingerprint()


def test_a_run_and_the_commands_take_weights_behind_the_name(folder_of, tmp_path, capsys):
    folder = folder_of("llama", **LABELS)
    named = f"{folder}:helpfulness=2,safety=-1"
    small = {"n": 2, "epochs": 1, "max_new_tokens": 4, "eval_samples_per_prompt": 1, "prompts": 2}
    asked = small | {"eval_prompts": 2, "judge": f"{folder}:safety=1", "show_progress": False}
    report = rslib.run(reward_model=named, out=tmp_path / "run", **asked)
    weighed = load_reward_model(folder, weights={"helpfulness": 2, "safety": -1})
    assert report.settings["reward_model"] == {"name": named, "fingerprint": weighed.fingerprint()}
    drawn = ["sample", "--prompts", "2", "--n", "2", "--max-new-tokens", "4", "--out", str(tmp_path / "s")]
    assert main([*drawn, "--reward", named]) == 0
    assert f"--reward-model {named}" in capsys.readouterr().out
    for wrong, said in (("helpfull=1", "Did you mean 'helpfulness'"), ("safety=much", "no number")):
        scored = ["score", str(tmp_path / "s"), "--reward", f"{folder}:{wrong}", "--out", str(tmp_path / "r")]
        assert main(scored) == 2
        assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    "weights", [{"helpfullness": 1.0}, [1.0], [0, 0, 0], [1, float("nan"), 0], "abc", {"safety": "1"}, {}, 3]
)
def test_weights_that_are_none_are_refused_with_the_labels(folder_of, weights):
    with pytest.raises(ConfigError, match="helpfulness"):
        load_reward_model(folder_of("llama", **LABELS), weights=weights)


def test_a_classifier_of_two_labels_is_no_reward_model_until_it_is_said_what_they_count(folder_of):
    folder = folder_of("roberta", num_labels=2, problem_type="single_label_classification")
    refused(folder, "2 labels (LABEL_0, LABEL_1)")
    assert np.isfinite(rewards(load_reward_model(folder, weights=[-1, 1]))).all()


# Refused, with what was found --------------------------------------------------------------------------


def renamed(**names):
    def change(weights):
        for old, new in names.items():
            weights[new] = weights.pop(old.replace("__", "."))

    return change


def two_layers(weights):
    weights.pop("score.weight")
    weights |= {"score.0.weight": torch.ones(32, 32), "score.2.weight": torch.ones(1, 32)}


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (renamed(score__weight="value_head.weight"), "value_head.weight"),
        (renamed(score__weight="v_head.summary.weight"), "v_head.summary.weight"),
        (two_layers, "score.0.weight, score.2.weight"),
        (renamed(score__weight="regression_layer.weight"), "regression_layer.weight"),
    ],
    ids=["OpenRLHF", "TRL", "two layers", "ArmoRM"],
)
def test_a_head_of_another_class_is_named(changed, change, word):
    error = refused(
        changed(change), f"the weights hold {word}, which Qwen2ForSequenceClassification leaves out"
    )
    assert "score.weight is missing" in error.what and "not a policy" not in str(error)


def test_a_bias_that_the_class_would_leave_out_is_named(changed):
    refused(changed(lambda w: w.update({"score.bias": torch.ones(1)})), "hold score.bias", "leaves out")


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (
            {
                "architectures": ["LlamaForRewardModelWithGating"],
                "auto_map": {
                    "AutoModelForSequenceClassification": "modeling_gating.LlamaForRewardModelWithGating"
                },
            },
            ("LlamaForRewardModelWithGating", "modeling_gating.py"),
        ),
        (
            {
                "architectures": ["Qwen2ForRewardModel"],
                "auto_map": {"AutoModel": "some/where--modeling_qwen2_rm.Qwen2ForRewardModel"},
            },
            ("Qwen2ForRewardModel", "modeling_qwen2_rm.py"),
        ),
        (
            {"model_type": "internlm2", "architectures": ["InternLM2ForRewardModel"]},
            ("InternLM2ForRewardModel",),
        ),
        ({"architectures": ["LlamaForScore"]}, ("LlamaForScore", "transformers does not have")),
    ],
    ids=["gating", "own file", "own type", "own class"],
)
def test_a_class_that_transformers_does_not_have_is_named_and_never_run(changed, config, words):
    refused(changed(**config), *words)


def test_code_beside_a_class_of_transformers_does_not_matter(changed):
    folder = changed(auto_map={"AutoModelForCausalLM": "modeling_phi3.Phi3ForCausalLM"})
    assert np.isfinite(rewards(load_reward_model(folder))).all()


def test_a_base_model_is_none_whatever_it_is_built_of(tmp_path):
    kinds = {"bert": transformers.BertForMaskedLM, "roberta": transformers.RobertaForMaskedLM}
    for model_type, kind in kinds.items():
        folder = small_reward_model(model_type, tmp_path / model_type, build_tokenizer())
        kind.from_pretrained(folder).save_pretrained(folder)
        refused(folder, "base language model", "classifier", "would be random")


def test_a_model_without_a_class_that_scores_is_refused_by_its_type(tmp_path):
    config = transformers.MambaConfig(
        vocab_size=VOCABULARY, hidden_size=16, num_hidden_layers=1, state_size=4
    )
    transformers.MambaForCausalLM(config).save_pretrained(tmp_path)
    build_tokenizer().save_pretrained(tmp_path)
    refused(tmp_path, "a mamba model is not supported as reward model")


def test_attention_that_remembers_rows_before_and_random_attention_are_refused(tmp_path):
    blocks = small_reward_model("big_bird", tmp_path / "a", build_tokenizer(), attention_type="block_sparse")
    refused(blocks, "depends on the rows before", "original_full")
    random = small_reward_model("yoso", tmp_path / "b", build_tokenizer(), use_expectation=False)
    refused(random, "YosoForSequenceClassification")


def test_a_class_that_fails_on_text_is_refused_with_its_own_words(tmp_path):
    folder = small_reward_model("xmod", tmp_path, build_tokenizer(), default_language=None)
    refused(folder, "XmodForSequenceClassification fails on a dialogue", "language")


def test_a_reward_model_is_told_from_a_policy_in_both_directions(folder_of, model_folder):
    refused(model_folder("llama"), "base language model, not a reward model: score.weight is missing")
    with pytest.raises(ModelError, match="this is a reward model, not a policy"):
        load_policy(folder_of("qwen2"))


@pytest.mark.long
@pytest.mark.parametrize("chat", [True, False], ids=["chat", "plain"])
def test_every_class_that_can_be_built_is_exact_or_refused(tmp_path, chat):
    from tests.small_heads import MODEL_TYPES

    tokenizer = build_tokenizer() if chat else pair_tokenizer()
    rows = [verdict(model_type, tmp_path / model_type, tokenizer) for model_type in MODEL_TYPES]
    assert [row for row in rows if row["result"] == "wrong"] == []
    assert sum(row["result"] == "exact" for row in rows) >= 110
