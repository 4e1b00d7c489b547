"""Prompts that are conversations: what is accepted, what policies and reward models read, what is shown."""

import pytest
from datasets import Dataset

import rslib
from rslib import export, page, tables
from rslib.errors import DataError, ModelError
from rslib.finetuning import training_rows
from rslib.models import load_policy, load_reward_model
from rslib.prompts import load_prompts
from tests.small_models import build_tokenizer

CHATML = (
    "{% for m in messages %}<|user|>{{ m.role }}\n{{ m.content }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
TALK = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Hello!"},
    {"role": "user", "content": "Why <b>so</b>?"},
]


def loaded(model_folder, template=CHATML):
    tokenizer = build_tokenizer(chat_template=template)
    policy = load_policy(model_folder("llama", tokenizer=tokenizer))
    return policy, load_reward_model(model_folder("llama", "reward", tokenizer=tokenizer))


@pytest.fixture(scope="module")
def models(model_folder):
    return loaded(model_folder)


def test_texts_and_conversations_stand_in_one_table_as_messages():
    prompts = load_prompts(["One.", TALK])
    assert prompts["prompt"][:] == [[{"role": "user", "content": "One."}], TALK]
    assert tables.column_kind(prompts, "prompt") == "messages"
    assert load_prompts(prompts).to_list() == prompts.to_list()


def test_content_parts_of_text_are_joined_and_other_fields_left_out():
    parts = [{"type": "text", "text": "Two "}, {"type": "text", "text": "parts."}]
    message = {"role": "user", "content": parts, "tool_calls": None, "name": None}
    assert load_prompts([[message]])["prompt"][0] == [{"role": "user", "content": "Two parts."}]


USER = {"role": "user", "content": "Hi"}


@pytest.mark.parametrize(
    ("talk", "message"),
    [
        ([], "the conversation is empty"),
        ([{"role": "assistant", "content": "Hello"}, USER], "begins with the assistant's turn"),
        ([USER, {"role": "assistant", "content": "Hello"}], "ends with the assistant's turn"),
        ([{"role": "system", "content": "Be brief."}], "ends with the system's turn"),
        ([USER, {"role": "system", "content": "x"}, USER], "a system turn is not the first"),
        ([{"role": "tool", "content": "x"}, USER], "the role is 'tool'"),
        ([{"role": "developer", "content": "x"}, USER], "the role is 'developer'"),
        ([USER, {"role": "assistant", "content": "x", "tool_calls": [1]}, USER], "has tool_calls"),
        ([{"role": "user", "content": " "}], "the user's turn is empty"),
        ([{"role": "user", "content": None}], "not text but NoneType"),
        ([{"role": "user", "content": 3}], "not text but int"),
        ([{"role": "user", "content": [{"type": "image", "url": "x"}]}], "of type 'image', not text"),
        ([{"from": "human", "value": "Hi"}], "a message has the fields from, value"),
        ([{"role": "user", "content": "\ud83d"}], "half a character"),
    ],
)
def test_what_no_policy_can_be_given_is_refused_with_its_row(talk, message):
    with pytest.raises(DataError, match=message) as caught:
        load_prompts([[USER], talk])
    assert "row 1 of prompts" in caught.value.where and caught.value.fix


def test_messages_that_are_not_in_a_list_of_their_own_are_told_so():
    with pytest.raises(DataError, match="into a list of their own"):
        load_prompts([USER, USER])


def test_the_policy_and_the_reward_model_read_what_the_template_makes_of_the_conversation(models):
    policy, reward_model = models
    wanted = policy.tokenizer.apply_chat_template(TALK, add_generation_prompt=True, return_dict=True)
    assert policy.encode(TALK) == wanted["input_ids"]
    dialogue = [*TALK, {"role": "assistant", "content": "So."}]
    wanted = reward_model.tokenizer.apply_chat_template(dialogue, return_dict=True)
    assert reward_model.encode(TALK, "So.") == wanted["input_ids"]


def test_a_conversation_goes_the_whole_road(models, tmp_path):
    policy, reward_model = models
    prompts = load_prompts(["Name a bird.", TALK], system="Be brief.")
    assert [talk[0]["role"] for talk in prompts["prompt"][:]] == ["system", "system"]
    responses = rslib.sample(policy, prompts, n=2, max_new_tokens=6, show_progress=False)
    scored = rslib.score(reward_model, responses, show_progress=False)
    assert scored["prompt"][2:] == [TALK, TALK]
    kept = rslib.select(scored, "best_of_n")
    for row, record in zip(training_rows(policy, kept), kept, strict=True):
        assert row.ids[: row.first_target] == policy.encode(record["prompt"])
    assert export.to_trl_sft(kept, truncated="drop").column_names == ["prompt", "completion"]
    pairs = export.best_worst_pairs(scored, margin=-0.0)
    assert export.to_trl_preference(pairs)["prompt"][-1] == TALK
    report = rslib.evaluate(
        policy, baseline=policy, reward_model=reward_model, prompts=prompts, show_progress=False
    )
    html = page.write_html(report, tmp_path / "report.html").read_text()
    assert "Why &lt;b&gt;so&lt;/b&gt;?" in html and "Why <b>" not in html
    assert "Be brief." in page.terminal_text(report)


def test_the_order_of_a_messages_fields_and_further_ones_do_not_change_the_table():
    turned = [[{"content": m["content"], "role": m["role"], "id": 1} for m in TALK]]
    assert tables.fingerprint(load_prompts(turned)) == tables.fingerprint(load_prompts([TALK]))


def test_without_a_template_one_users_turn_is_a_text_and_more_is_refused(model_folder):
    policy, reward_model = loaded(model_folder, template=None)
    assert policy.encode([USER]) == policy.encode("Hi")
    assert reward_model.encode([USER], "x") == reward_model.encode("Hi", "x")
    for encode in (policy.encode, lambda talk: reward_model.encode(talk, "x")):
        with pytest.raises(ModelError, match="no chat template, and a prompt is a conversation"):
            encode(TALK)


def test_a_template_that_passes_over_a_turn_is_refused(model_folder):
    only_last = build_tokenizer(chat_template="<|user|>{{ messages[-1].content }}<|assistant|>")
    with pytest.raises(ModelError, match="the chat template leaves out a system's turn"):
        load_policy(model_folder("llama", tokenizer=only_last)).encode(TALK)
    with pytest.raises(ModelError, match="the chat template leaves out a user's turn"):
        load_reward_model(model_folder("llama", "reward", tokenizer=only_last))


def test_a_reward_model_that_does_not_read_the_response_or_rates_all_alike_is_refused(model_folder, tmp_path):
    deaf = build_tokenizer(chat_template="<|user|>{{ messages[0].content }}<|assistant|>")
    with pytest.raises(ModelError, match="the chat template leaves out the response"):
        load_reward_model(model_folder("llama", "reward", tokenizer=deaf))
    model = load_reward_model(model_folder("llama", "reward"))
    model.model.score.weight.data.zero_()
    model.save(tmp_path / "zero")
    with pytest.raises(ModelError, match="all rewards are the same"):
        load_reward_model(tmp_path / "zero")


def test_a_template_that_looks_for_parts_in_a_text_is_refused_and_one_that_shouts_is_not(model_folder):
    parts = "<|user|>{% for part in messages[0].content %}{{ part.text }}{% endfor %}<|assistant|>"
    with pytest.raises(ModelError, match="the chat template leaves out a user's turn"):
        load_policy(model_folder("llama", tokenizer=build_tokenizer(chat_template=parts)))
    loud = build_tokenizer(chat_template="<|user|>{{ messages[0].content | upper }}<|assistant|>")
    policy = load_policy(model_folder("llama", tokenizer=loud))
    assert policy.encode("Hi") == policy.encode("HI")


def test_the_column_of_a_data_set_may_hold_messages():
    table = Dataset.from_dict({"prompt_id": ["a"], "prompt": [TALK]})
    assert load_prompts(table)["prompt"][0] == TALK
