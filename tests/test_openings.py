"""What stands between a prompt and a response: a template that hides some of it there is refused at load."""

import json
import shutil

import pytest
from datasets import Dataset

from rslib.errors import ConfigError, ModelError
from rslib.finetuning import finetune
from rslib.models import load_policy
from rslib.prompts import load_prompts
from rslib.sources import records_of

TURN = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
OPEN = "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
CHANNEL = (
    "{% for m in messages %}<|start|>{{ m.role }}{% if m.role == 'assistant' %}<|channel|>final{% endif %}"
    "<|message|>{{ m.content }}<|end|>{% endfor %}{% if add_generation_prompt %}<|start|>assistant{% endif %}"
)
SPACED = (
    "{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content }} [/INST]"
    "{% else %} {{ m.content }}</s>{% endif %}{% endfor %}"
)


@pytest.fixture
def with_template(model_folder, tmp_path):
    def load(template):
        folder = tmp_path / "policy"
        shutil.copytree(model_folder("llama"), folder)
        (folder / "chat_template.jinja").write_text(template)
        return load_policy(str(folder))

    return load


@pytest.mark.parametrize(("template", "between"), [(TURN, "im_start"), (CHANNEL, "channel")])
def test_words_before_a_response_that_no_prompt_ends_with_are_refused(with_template, template, between):
    with pytest.raises(
        ModelError, match=rf"writes '<\|{between}.*before a response, and not behind a prompt"
    ):
        with_template(template)


@pytest.mark.parametrize("template", [TURN + OPEN, SPACED])
def test_an_opened_turn_and_a_space_are_fine(with_template, template):
    assert with_template(template).encode("Hello.")


def test_a_policy_is_never_tuned_into_its_own_folder(with_template):
    policy = with_template(TURN + OPEN)
    with pytest.raises(ConfigError, match="would overwrite the one that it starts from"):
        finetune(policy, Dataset.from_list([{"prompt": "Hi", "response": "Hello."}]), policy.path)


def test_a_folder_of_files_that_are_named_by_split_gives_the_split_that_is_asked_for(tmp_path):
    for name in ("train-00000-of-00002", "train-00001-of-00002", "test-00000-of-00001"):
        (tmp_path / f"{name}.jsonl").write_text(f'{{"prompt": "from {name}"}}\n')
    asked = {split: records_of(str(tmp_path), split, "prompt")[0] for split in ("train", "test")}
    assert [len(records) for records in asked.values()] == [2, 1]
    with pytest.raises(Exception, match="no split 'validation'"):
        records_of(str(tmp_path), "validation", "prompt")
    (tmp_path / "test-00000-of-00001.jsonl").unlink()
    assert len(records_of(str(tmp_path), "validation", "prompt")[0]) == 2  # one split alone is the whole


def test_settings_of_generate_that_are_not_applied_are_named(with_template, capsys, tmp_path):
    policy = with_template(TURN + OPEN)
    assert "sampled without" not in capsys.readouterr().out
    path = tmp_path / "policy" / "generation_config.json"
    settings = json.loads(path.read_text()) if path.is_file() else {}
    path.write_text(json.dumps(settings | {"repetition_penalty": 1.1, "no_repeat_ngram_size": 0}))
    load_policy(policy.path)
    assert "sampled without the repetition_penalty of its generation_config" in capsys.readouterr().out


def test_a_way_with_long_prompts_that_does_not_exist_is_refused():
    with pytest.raises(ConfigError, match="unknown value of too_long 'cut'"):
        load_prompts(["Hello."], too_long="cut")
