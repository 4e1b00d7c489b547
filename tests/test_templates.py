"""Chat templates of real families: thinking off, the token that ends a turn, the date, what is refused."""

import datetime
import json
import shutil

import pytest
from datasets import Dataset

import rslib
from rslib.errors import ConfigError, ModelError
from rslib.finetuning import training_rows
from rslib.models import load_policy, load_reward_model, templates
from tests.small_models import CHAT_TEMPLATE, build_tokenizer

OPENED = "{% if add_generation_prompt %}assistant: {% endif %}"
CHATML = (
    "{% for m in messages %}<|user|>{{ m.role }}\n{{ m.content }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|user|>assistant\n{% endif %}"
)
OFF = "enable_thinking is defined and not enable_thinking"
EMPTY = "<think>\n\n</think>\n\n"
THINKING_OFF = {
    "Qwen3": "{% if add_generation_prompt and " + OFF + " %}" + EMPTY + "{% endif %}",
    "SmolLM3": "{% if add_generation_prompt and not enable_thinking %}<think>\n\n</think>\n{% endif %}",
    "GLM-4.5": "{% if add_generation_prompt %}{{ '<think></think>' if " + OFF + " else '' }}{% endif %}",
    "DeepSeek-V3.1": "{% if add_generation_prompt %}{{ '<think>' if thinking else '</think>' }}{% endif %}",
    "Seed-OSS": "{% if add_generation_prompt and thinking_budget == 0 %}<seed:think></seed:think>{% endif %}",
}
THINKING_STAYS = {
    "DeepSeek-R1": "{% if add_generation_prompt %}<think>\n{% endif %}",
    "Magistral": "{% if add_generation_prompt %}[THINK]{% endif %}",
    "Command A": "{% if add_generation_prompt %}<|START_THINKING|>{% endif %}",
    "closed and opened again": "{% if add_generation_prompt %}<think></think><think>{% endif %}",
}


def policy_with(model_folder, template, arch="llama", **options):
    return load_policy(model_folder(arch, tokenizer=build_tokenizer(chat_template=template), **options))


@pytest.mark.parametrize("family", THINKING_OFF)
def test_a_template_that_closes_an_empty_thought_is_taken(model_folder, family):
    policy = policy_with(model_folder, CHATML + THINKING_OFF[family], arch="qwen3")
    text = policy.tokenizer.decode(policy.encode("Hi"))
    assert text.startswith("<|user|>user\nHi<|end|>\n<|user|>assistant\n")
    assert text.rstrip().endswith(("</think>", "</seed:think>"))
    assert len(rslib.sample(policy, ["Hi"], n=1, show_progress=False)) == 1


@pytest.mark.parametrize("family", THINKING_STAYS)
def test_a_template_that_leaves_a_thought_open_is_refused_when_it_is_loaded(model_folder, family):
    with pytest.raises(ModelError, match="leaves it open"):
        policy_with(model_folder, CHATML + THINKING_STAYS[family])


def test_the_words_of_a_prompt_are_no_thought_of_the_template(model_folder):
    policy = policy_with(model_folder, CHATML + THINKING_OFF["Qwen3"])
    for prompt in ("What is <think>?", "<think>", "  [THINK] \n"):
        policy.encode(prompt)


# The end of a turn ------------------------------------------------------------------------------------

PAD, BOS, USER, ASSISTANT, END = range(5)
ENDS = {
    # template, eos ids of generation_config, of config, token that ends a turn
    "Llama 3: the turn's end is not the first": (CHATML, [PAD, BOS, END], PAD, END),
    "Gemma: the turn's end is not the tokenizer's": (
        CHATML.replace("<|end|>", "<|assistant|>"),
        [END, ASSISTANT],
        END,
        ASSISTANT,
    ),
    "Phi-3: an end of turn, then the end of all": (
        CHATML.replace("<|end|>\n", "<|assistant|>\n")
        + "{% if not add_generation_prompt %}{{ eos_token }}{% endif %}",
        [END, ASSISTANT],
        END,
        ASSISTANT,
    ),
    "Zephyr: eos and a newline": (CHATML, END, END, END),
    "GLM-4: the next user's turn ends it": (
        "{% for m in messages %}{{ '<|user|>' if m.role == 'user' else '<|assistant|>' }}{{ m.content }}"
        "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}",
        [BOS, USER],
        BOS,
        USER,
    ),
    "no end in the template: the tokenizer's": (
        "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}" + OPENED,
        [PAD, END],
        PAD,
        END,
    ),
    "no end and a tokenizer that disagrees: the first of generate's": (
        "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}" + OPENED,
        [BOS, PAD],
        PAD,
        BOS,
    ),
    "no template: the tokenizer's": (None, [PAD, END], PAD, END),
    "generate does not know the template's end": (CHATML, BOS, BOS, END),
    "a list in the config alone": (CHATML, None, [PAD, END], END),
    "Mistral: contents are stripped": (
        CHATML.replace("m.content", "(' ' + m.content | trim)"),
        [PAD, END],
        PAD,
        END,
    ),
    "a template that wants turns to alternate and knows no system": (
        "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
        "{{ raise_exception('roles must alternate') }}{% endif %}{{ m.content }}<|end|>{% endfor %}",
        [PAD, END],
        PAD,
        END,
    ),
    "a template that takes no answers": (
        "{% for m in messages %}{% if m.role == 'assistant' %}{{ raise_exception('no answers') }}{% endif %}"
        "{{ m.content }}{% endfor %}",
        [PAD, END],
        PAD,
        END,
    ),
}


@pytest.mark.parametrize("kind", ENDS)
def test_text_from_elsewhere_is_taught_the_token_that_ends_a_turn(model_folder, tmp_path, kind):
    template, generation, config, end = ENDS[kind]
    tokenizer = build_tokenizer(chat_template=template)
    folder = shutil.copytree(model_folder("qwen2", tokenizer=tokenizer), tmp_path / "model")
    for name, ids in (("generation_config.json", generation), ("config.json", config)):
        path = folder / name
        path.write_text(json.dumps(json.loads(path.read_text()) | {"eos_token_id": ids}))
    policy = load_policy(folder)
    rows = Dataset.from_list([{"prompt": "Hi", "response": "Hello."}, {"prompt": "Ho", "response": "Yes."}])
    assert [row.ids[-1] for row in training_rows(policy, rows)] == [end, end]
    assert policy.end_id == end and end in policy.eos_ids, "what is taught is also what ends a response"
    policy.save(tmp_path / "saved")
    assert load_policy(tmp_path / "saved").fingerprint() == policy.fingerprint()


def test_a_cut_response_is_taught_no_end_and_one_that_has_its_end_no_second(model_folder):
    policy = policy_with(model_folder, CHATML)
    assert policy.encode_response("Yes.", ended=False)[-1] != END
    assert policy.encode_response("Yes.<|end|>").count(END) == 1


# The date ---------------------------------------------------------------------------------------------

DATED = "Today is {{ strftime_now('%d %B %Y') }}.\n" + CHAT_TEMPLATE


class Tomorrow(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return datetime.datetime(2031, 5, 6)


def test_a_template_prints_the_same_date_on_every_day(model_folder, monkeypatch):
    today = policy_with(model_folder, DATED)
    from transformers.utils import chat_template_utils

    monkeypatch.setattr(chat_template_utils, "datetime", Tomorrow)
    tomorrow = policy_with(model_folder, DATED)
    assert today.encode("Hi") == tomorrow.encode("Hi") and today.fingerprint() == tomorrow.fingerprint()
    assert "26 July 2024" in tomorrow.tokenizer.decode(tomorrow.encode("Hi"))


def test_another_date_is_another_policy_only_where_it_is_printed(model_folder):
    dated, plain = (
        model_folder("llama", tokenizer=build_tokenizer(chat_template=t)) for t in (DATED, CHAT_TEMPLATE)
    )
    other = load_policy(dated, date="2026-11-27")
    assert "27 November 2026" in other.tokenizer.decode(other.encode("Hi"))
    assert other.fingerprint() != load_policy(dated).fingerprint()
    assert load_policy(plain, date="2026-11-27").fingerprint() == load_policy(plain).fingerprint()
    with pytest.raises(ConfigError, match="no date"):
        load_policy(dated, date="yesterday")


def test_what_is_tuned_keeps_the_date_it_was_tuned_with_unless_told(model_folder, tmp_path):
    tokenizer = build_tokenizer(chat_template=DATED)
    policy = load_policy(model_folder("llama", tokenizer=tokenizer), date="2026-11-27")
    rows = rslib.sample(policy, ["Hi"], n=2, max_new_tokens=4, show_progress=False)
    rslib.finetune(policy, rows, tmp_path / "tuned", epochs=1, show_progress=False)
    tuned = load_policy(tmp_path / "tuned")
    assert tuned.printed_date == "2026-11-27" and tuned.encode("Hi") == policy.encode("Hi")
    assert load_policy(tmp_path / "tuned", date="2025-01-01").printed_date == "2025-01-01"
    tuned.save(tmp_path / "again")
    assert load_policy(tmp_path / "again").fingerprint() == tuned.fingerprint()
    small = {"n": 2, "epochs": 1, "max_new_tokens": 4, "eval_samples_per_prompt": 1, "eval_limit": 1}
    reward_model = model_folder("llama", "reward", tokenizer=tokenizer)
    for number, (date, printed) in enumerate(((None, "2026-11-27"), ("2025-01-01", "2025-01-01"))):
        asked = small | {"policy": tmp_path / "tuned", "reward_model": reward_model, "date": date}
        (tmp_path / "p.txt").write_text("Hi\nWho?\n")
        prompts = {"prompts": tmp_path / "p.txt", "eval_prompts": tmp_path / "p.txt"}
        report = rslib.run(out=tmp_path / f"run-{number}", **prompts, **asked, show_progress=False)
        assert report.settings["policy"]["date"] == printed
        child = report.rounds[0]["provenance"]["places"]["finetune-best_of_n"]
        assert load_policy(tmp_path / f"run-{number}" / child).printed_date == printed


def test_a_date_whose_format_is_computed_is_refused(model_folder):
    with pytest.raises(ModelError, match="computes how it prints"):
        policy_with(model_folder, "{% set f = '%Y' %}{{ strftime_now(f) }}" + CHAT_TEMPLATE)


def test_a_reward_model_prints_that_date_too(model_folder):
    folder = model_folder("llama", "reward", tokenizer=build_tokenizer(chat_template=DATED))
    judge = load_reward_model(folder)
    assert "26 July 2024" in judge.tokenizer.decode(judge.encode("Hi", "Yes."))


def test_a_template_in_the_file_of_a_model_that_sees_is_read(model_folder, tmp_path):
    folder = shutil.copytree(model_folder("llama"), tmp_path / "model")
    (folder / "chat_template.jinja").unlink()
    assert load_policy(folder).tokenizer.chat_template is None
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": CHAT_TEMPLATE}))
    assert load_policy(folder).encode("Hi") == load_policy(model_folder("llama")).encode("Hi")


def test_a_template_that_renders_nothing_is_refused(model_folder):
    with pytest.raises(ModelError, match="leaves out a user's turn"):
        policy_with(model_folder, "{# nothing #}")


def test_a_template_that_draws_at_random_is_refused(model_folder):
    with pytest.raises(ModelError, match="the same prompt otherwise each time"):
        policy_with(
            model_folder, "{{ range(99999) | random }}{{ range(99999) | random }}{{ messages[0].content }}"
        )


def test_a_tokenizer_with_several_templates_is_read_by_its_default(model_folder):
    tokenizer = build_tokenizer(chat_template=DATED)
    tokenizer.chat_template = {"default": DATED, "rag": "{{ raise_exception('not this one') }}"}
    assert templates.prints_date(tokenizer)
    policy = load_policy(model_folder("llama", tokenizer=tokenizer))
    assert policy.end_id == END
