"""Fine-tuning: what is learned, what is only read, where a response ends, and what lands on disk."""

import json

import pytest
import torch
from datasets import Dataset

from rslib.errors import ConfigError, DataError
from rslib.finetuning import finetune, training_rows
from rslib.models import load_policy
from rslib.sampling import sample

QUICK = {"epochs": 1, "batch_tokens": 128, "show_progress": False}


@pytest.fixture
def policy(model_folder):
    return load_policy(str(model_folder("llama")))


def kept_rows(policy, finish_reason="eos", text="do it now", **extra):
    ids = policy.tokenizer(text, add_special_tokens=False)["input_ids"]
    ids = [*ids, policy.eos_ids[0]] if finish_reason == "eos" else ids
    logprobs = policy.own_logprobs(policy.encode("how do I swim?"), ids).tolist()
    row = {
        "prompt_id": "p0", "prompt": "how do I swim?", "sample_id": 0, "response": text, "token_ids": ids,
        "token_logprobs": logprobs, "logprob": sum(logprobs), "finish_reason": finish_reason,
        "seed": 1, "reward": 0.5,
    }  # fmt: skip
    return Dataset.from_list([row | extra])


def test_the_prompt_is_read_and_the_response_with_its_end_is_learned(policy):
    (row,) = training_rows(policy, kept_rows(policy))
    prompt = policy.encode("how do I swim?")
    assert row.ids[: row.first_target] == prompt
    assert row.ids[-1] in policy.eos_ids
    assert policy.decode(row.ids[row.first_target :]) == "do it now"


def test_a_misspelt_setting_is_refused_with_the_closest_name(policy, tmp_path):
    with pytest.raises(ConfigError, match="lerning_rate(.|\n)*learning_rate"):
        finetune(policy, kept_rows(policy), tmp_path / "tuned", lerning_rate=1e-3)


def test_a_truncated_response_is_never_taught_as_finished(policy):
    (row,) = training_rows(policy, kept_rows(policy, finish_reason="length"))
    assert row.ids[-1] not in policy.eos_ids


def test_text_without_matching_tokens_is_tokenised_anew_with_an_honest_end(policy):
    (ours,) = training_rows(policy, kept_rows(policy))
    (theirs,) = training_rows(policy, kept_rows(policy, token_ids=[7, 7, 7], token_logprobs=[-1.0] * 3))
    assert theirs == ours
    edited = kept_rows(policy, response="do it later")
    assert policy.decode(training_rows(policy, edited)[0].ids).endswith("do it later")


def test_a_row_that_exceeds_the_context_is_named(policy):
    with pytest.raises(DataError, match=r"context(.|\n)*prompt_id 'p0', sample_id 0"):
        training_rows(policy, kept_rows(policy, text="swim " * 400))


def test_an_empty_selection_is_refused(policy, tmp_path):
    with pytest.raises(DataError):
        finetune(policy, kept_rows(policy).select([]), tmp_path / "out", **QUICK)


def test_finetune_leaves_the_policy_alone_and_writes_a_folder_that_loads_to_the_same_weights(
    policy, tmp_path
):
    before = policy.fingerprint()
    tuned = finetune(policy, kept_rows(policy), tmp_path / "tuned", learning_rate=1e-2, **QUICK)
    assert policy.fingerprint() == before != tuned.fingerprint()
    again = load_policy(str(tmp_path / "tuned"))
    assert again.fingerprint() == tuned.fingerprint()
    record = json.loads((tmp_path / "tuned" / "training.json").read_text())
    assert record["parent"] == before and record["rows"] == 1 and len(record["losses"]) == 1


def test_finetuning_makes_the_kept_response_likelier(policy, tmp_path):
    from rslib.scoring import reference_logprobs

    kept = kept_rows(policy)
    tuned = finetune(policy, kept, tmp_path / "t", **(QUICK | {"epochs": 20}), learning_rate=1e-2)
    assert reference_logprobs(tuned, kept)[0] > reference_logprobs(policy, kept)[0] + 1


def test_the_same_call_gives_the_same_checkpoint(policy, tmp_path):
    one, two = (finetune(policy, kept_rows(policy), tmp_path / name, **QUICK) for name in "ab")
    assert one.fingerprint() == two.fingerprint()


def test_rows_that_another_policy_has_drawn_are_refused_unless_told(policy, model_folder, tmp_path):
    drawn = {"n": 2, "max_new_tokens": 8, "show_progress": False}
    own = sample(policy, ["Hi", "What is snow?"], **drawn)
    tuned = finetune(policy, own, tmp_path / "1", learning_rate=1e-3, **QUICK)
    others = load_policy(model_folder("llama", seed=1)), load_policy("tiny"), tuned
    for number, other in enumerate(others):
        rows = sample(other, ["Hi", "What is snow?"], **drawn)
        out = tmp_path / f"of-{number}"
        for kept in (rows, rows.select([1]), Dataset.from_list(rows.to_list())):
            with pytest.raises(ConfigError, match="the rows are by another policy(.|\n)*allow_other_policy"):
                finetune(policy, kept, out, **QUICK)
        assert finetune(policy, rows, out, allow_other_policy=True, **QUICK).path == str(out)
        elsewhere = rows.select_columns(["prompt", "response"])  # text has no policy
        finetune(policy, elsewhere, out, **QUICK)
    edited = Dataset.from_list([own[0] | {"response": "No."}, *own.select([1, 2])])
    finetune(policy, edited, tmp_path / "edited", **QUICK)


def test_the_tuned_policy_takes_no_gradients(policy, tmp_path):
    tuned = finetune(policy, kept_rows(policy), tmp_path / "t", **QUICK)
    assert not any(p.requires_grad for p in tuned.model.parameters())
    assert tuned.model.dtype == torch.float32
