"""Prompts from lists, tables and files: what they become, and how what is no prompt is refused."""

import pytest
from datasets import Dataset, DatasetDict

from rslib.errors import DataError, RSError, StoreError
from rslib.prompts import _read_prompts, as_prompts


def test_a_list_of_texts_becomes_a_table_with_ids_in_order():
    prompts = as_prompts(["What is 2 + 2?", "Name a bird."])
    assert prompts.to_list() == [
        {"prompt_id": "p00000", "prompt": "What is 2 + 2?"},
        {"prompt_id": "p00001", "prompt": "Name a bird."},
    ]


def test_mappings_keep_their_ids_and_further_columns_and_gaps_become_null():
    prompts = as_prompts([{"prompt": "x", "prompt_id": 7, "kind": "safe"}, {"prompt": "y", "intent": "z"}])
    assert prompts["prompt_id"][:] == ["7", "p00001"]
    assert prompts["kind"][:] == ["safe", None] and prompts["intent"][:] == [None, "z"]


def test_a_table_with_ids_passes_unchanged_and_one_without_gets_ids():
    given = Dataset.from_dict({"prompt": ["x", "y"], "kind": ["safe", "unsafe"]})
    named = as_prompts(given)
    assert named["prompt_id"][:] == ["p00000", "p00001"] and named["kind"][:] == ["safe", "unsafe"]
    assert as_prompts(named) is named


def test_equal_prompts_are_allowed_under_different_ids():
    assert len(as_prompts(["same", "same"])) == 2


@pytest.mark.parametrize(
    "prompts, message",
    [
        ([], "there are no prompts"),
        (["fine", "  \n"], r"the prompt is empty\n  where: row 1 of prompts"),
        (["fine", 3], r"not text but int\n  where: row 1"),
        (["fine", None], "not text but NoneType"),
        ("just one", "one str, not a list"),
        (7, "one int, not a list"),
        (None, "one NoneType, not a list"),
        ([{"text": "x"}], r"no 'prompt' here(.|\n)*found: text"),
        (
            [{"prompt": "x", "prompt_id": "a"}, {"prompt": "y", "prompt_id": "a"}],
            "'a' stands twice(.|\n)*row 0 and row 1",
        ),
        ([{"prompt": "x", "reward": 1.0}], "a column 'reward', which a later stage writes"),
        ([{"prompt": "x", "k": 1}, {"prompt": "y", "k": "one"}], "a column mixes types"),
        (DatasetDict({"train": Dataset.from_dict({"prompt": ["x"]})}), "a DatasetDict is not a table"),
        (Dataset.from_dict({"prompt_id": [], "prompt": []}), "empty"),
        (Dataset.from_dict({"prompt_id": ["a", "a"], "prompt": ["x", "y"]}), "'a' stands twice"),
        (Dataset.from_dict({"prompt_id": ["a", "b"], "prompt": ["x", " "]}), "the prompt is empty(.|\n)*'b'"),
        (Dataset.from_dict({"prompt_id": ["a"], "prompt": [["x"]]}), "column 'prompt' holds list of text"),
        (
            Dataset.from_dict({"prompt_id": ["a", None], "prompt": ["x", "y"]}),
            "'prompt_id' is missing in 1 rows",
        ),
    ],
)
def test_what_is_no_table_of_prompts_is_refused_with_its_place(prompts, message):
    with pytest.raises(DataError, match=message) as caught:
        as_prompts(prompts)
    assert caught.value.where and caught.value.fix


FILES = {
    "p.txt": "first prompt\nsecond prompt\n\n",
    "p.jsonl": '{"prompt": "first prompt"}\n"second prompt"\n',
    "p.json": '[{"prompt": "first prompt"}, "second prompt"]',
    "p.csv": 'prompt\nfirst prompt\n"second prompt"\n',
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_prompts_are_read_from_every_kind_of_file(tmp_path, name, ending, mark):
    (tmp_path / name).write_bytes((mark + FILES[name].replace("\n", ending)).encode())
    prompts = _read_prompts(tmp_path / name)
    assert prompts["prompt"][:] == ["first prompt", "second prompt"]
    assert prompts["prompt_id"][:] == ["p00000", "p00001"]


def test_a_csv_file_may_hold_commas_and_line_breaks_in_quotes_and_further_columns(tmp_path):
    (tmp_path / "p.csv").write_text('prompt_id,prompt,kind\nx,"one, two\nthree",safe\n')
    assert _read_prompts(tmp_path / "p.csv").to_list() == [
        {"prompt_id": "x", "prompt": "one, two\nthree", "kind": "safe"}
    ]


def test_a_line_separator_inside_a_prompt_does_not_split_it(tmp_path):
    (tmp_path / "p.txt").write_text("one\u2028still one\ntwo\n", encoding="utf-8")
    assert len(_read_prompts(tmp_path / "p.txt")) == 2


@pytest.mark.parametrize(
    "name, text, message",
    [
        ("p.txt", "", "there are no prompts"),
        ("p.txt", "\n \n", "there are no prompts"),
        ("p.txt", "one\n\nthree\n", r"the prompt is empty\n  where: line 2 of .*p\.txt"),
        ("p.jsonl", '{"prompt": "x"}\n{"prompt": }\n', "not valid JSON(.|\n)*where: line 2"),
        ("p.jsonl", '{"prompt": "x"}\n\n{"prompt": "y"}\n', "not valid JSON(.|\n)*where: line 2"),
        ("p.jsonl", '{"prompt": "x"}\n{"prompt": ""}\n', "empty\n  where: line 2"),
        (
            "p.jsonl",
            '{"prompt": "x", "prompt_id": "a"}\n{"prompt": "y"}\n{"prompt": "z", "prompt_id": "a"}\n',
            "'a' stands twice(.|\n)*line 1 and line 3",
        ),
        ("p.json", '{"prompt": "x"}', "does not hold a list"),
        ("p.json", '["x"', "not valid JSON"),
        ("p.json", "[]", "there are no prompts"),
        ("p.csv", "prompt\n", "there are no prompts"),
        ("p.csv", "text\nx\n", "no 'prompt' here"),
        ("p.csv", "prompt,kind\nx\n", "1 fields under 2 column names(.|\n)*line 2"),
        ("p.csv", "prompt\nx\n\ny\n", "the prompt is empty(.|\n)*line 3"),
        ("p.csv", 'prompt\n"x\n', "not valid CSV"),
        ("p.csv", "prompt,prompt\nx,y\n", "two columns share a name"),
        ("p.yaml", "x", "'.yaml' says not how"),
    ],
)
def test_a_bad_prompt_file_is_refused_with_its_line(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=message):
        _read_prompts(tmp_path / name)


def test_a_file_that_is_not_there_or_not_utf8_is_named(tmp_path):
    with pytest.raises(StoreError, match=r"no such file(.|\n)*nowhere\.txt"):
        _read_prompts(tmp_path / "nowhere.txt")
    with pytest.raises(StoreError, match="a folder, not a file"):
        _read_prompts(tmp_path)
    (tmp_path / "latin.txt").write_bytes("déjà vu".encode("latin-1"))
    with pytest.raises(DataError, match="not UTF-8"):
        _read_prompts(tmp_path / "latin.txt")


def test_whatever_is_passed_as_prompts_the_error_is_one_of_ours():
    for thing in (object(), 3.5, b"bytes", {"prompt": "x"}, [[]], [{}], [{"prompt": {}}], ["x", ["y"]]):
        with pytest.raises(RSError):
            as_prompts(thing)
