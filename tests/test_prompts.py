"""Prompts from lists, tables and files: what they become, and how what is no prompt is refused."""

import bz2
import gzip
import json
import lzma

import numpy as np
import pandas
import pyarrow
import pytest
from datasets import Dataset, DatasetDict

from rslib.errors import DataError, RSError, StoreError
from rslib.prompts import list_rows, load_prompts, read_prompts


def test_a_list_of_texts_becomes_a_table_with_ids_in_order():
    prompts = load_prompts(["What is 2 + 2?", "Name a bird."])
    assert prompts.to_list() == [
        {"prompt_id": "p00000", "prompt": "What is 2 + 2?"},
        {"prompt_id": "p00001", "prompt": "Name a bird."},
    ]


def test_mappings_keep_their_ids_and_further_columns_and_gaps_become_null():
    prompts = load_prompts([{"prompt": "x", "prompt_id": 7, "kind": "safe"}, {"prompt": "y", "intent": "z"}])
    assert prompts["prompt_id"][:] == ["7", "p00001"]
    assert prompts["kind"][:] == ["safe", None] and prompts["intent"][:] == [None, "z"]


def test_a_table_with_ids_passes_unchanged_and_one_without_gets_ids():
    given = Dataset.from_dict({"prompt": ["x", "y"], "kind": ["safe", "unsafe"]})
    named = load_prompts(given)
    assert named["prompt_id"][:] == ["p00000", "p00001"] and named["kind"][:] == ["safe", "unsafe"]
    assert load_prompts(named) is named


CHAT = [{"role": "user", "content": "same"}]


@pytest.mark.parametrize(
    "prompts",
    [
        ["one", "same", "same"],
        ["one", "same", CHAT],
        [{"prompt": "one"}, {"prompt": "same", "kind": "a"}, {"prompt": "same", "kind": "b"}],
        Dataset.from_dict({"prompt": ["one", "same", "same"]}),
        Dataset.from_dict({"prompt": [[{"role": "user", "content": "one"}], CHAT, CHAT]}),
        pandas.DataFrame({"prompt": ["one", "same", "same"]}),
        pandas.Series(["one", "same", "same"]),
        np.array(["one", "same", "same"]),
    ],
)
def test_a_prompt_that_stands_twice_is_refused_wherever_it_comes_from_and_can_be_left_out(prompts, capsys):
    with pytest.raises(DataError, match="the prompt stands twice\n  where: prompts, row 1 and row 2"):
        load_prompts(prompts)
    assert load_prompts(prompts, too_long="drop")["prompt_id"][:] == ["p00000", "p00001"]
    assert "left out: the prompt stands twice" in capsys.readouterr().out


def test_equal_prompts_are_allowed_under_ids_of_their_own():
    rows = [{"prompt": "same", "prompt_id": name} for name in "ab"]
    assert len(load_prompts(rows)) == len(load_prompts(Dataset.from_list(rows))) == 2
    assert len(load_prompts(pandas.DataFrame(rows))) == 2


@pytest.mark.parametrize(
    "prompts, message",
    [
        ([], "there are no prompts"),
        (["fine", "  \n"], r"the prompt is empty\n  where: row 1 of prompts"),
        (["fine", "\u200b"], "the prompt is empty"),
        (["fine", 3], r"not text but int\n  where: row 1"),
        (["fine", None], "not text but NoneType"),
        ({"one", "two"}, "one set, not a list"),
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
        ([{"prompt": "x", "k": 10**30}], "a column holds a number too large"),
        (DatasetDict({"train": Dataset.from_dict({"prompt": ["x"]})}), "DatasetDict is no datasets.Dataset"),
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
        list_rows(prompts).settled()
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
    prompts = load_prompts(tmp_path / name)
    assert prompts["prompt"][:] == ["first prompt", "second prompt"]


def test_a_prompt_of_a_file_keeps_its_name_when_others_are_removed(tmp_path):
    (tmp_path / "p.txt").write_text("one\ntwo\nthree\n")
    before = load_prompts(tmp_path / "p.txt")["prompt_id"][:]
    (tmp_path / "p.txt").write_text("one\nthree\n")
    assert load_prompts(tmp_path / "p.txt")["prompt_id"][:] == [before[0], before[2]]


def test_a_spreadsheets_csv_may_have_semicolons_and_the_marks_of_windows(tmp_path):
    (tmp_path / "p.csv").write_bytes("\ufeffprompt;kind\r\nWhy, then?;a\r\n".encode())
    assert load_prompts(tmp_path / "p.csv")["prompt"][:] == ["Why, then?"]


def test_what_pandas_calls_missing_is_missing():
    table = load_prompts(pandas.DataFrame({"prompt": ["a", "b"], "reference": ["x", float("nan")]}))
    assert table["reference"][:] == ["x", None]
    with pytest.raises(DataError, match="not text but NoneType"):
        load_prompts(pandas.DataFrame({"prompt": ["a", float("nan")]}))


def test_a_csv_file_may_hold_commas_and_line_breaks_in_quotes_and_further_columns(tmp_path):
    (tmp_path / "p.csv").write_text('prompt_id,prompt,kind\nx,"one, two\nthree",safe\n')
    assert load_prompts(tmp_path / "p.csv").to_list() == [
        {"prompt_id": "x", "prompt": "one, two\nthree", "kind": "safe"}
    ]


def test_a_line_separator_inside_a_prompt_does_not_split_it(tmp_path):
    (tmp_path / "p.txt").write_text("one\u2028still one\ntwo\n", encoding="utf-8")
    assert len(load_prompts(tmp_path / "p.txt")) == 2


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
        ("p.jsonl", '{"prompt": "x", "k": ' + "9" * 5000 + "}", "not valid JSON(.|\n)*where: line 1"),
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
        load_prompts(tmp_path / name)


def test_a_file_that_is_not_there_or_not_utf8_is_named(tmp_path):
    with pytest.raises(StoreError, match=r"no such file(.|\n)*nowhere\.txt"):
        load_prompts(tmp_path / "nowhere.txt")
    with pytest.raises(DataError, match="the folder holds no prompts"):
        load_prompts(tmp_path)
    (tmp_path / "latin.txt").write_bytes("déjà vu".encode("latin-1"))
    with pytest.raises(DataError, match="not UTF-8"):
        load_prompts(tmp_path / "latin.txt")


# Rows that cannot be used, by line


def test_every_line_that_cannot_be_used_is_named_in_one_error(tmp_path):
    lines = [b"one", b"", "déjà".encode("latin-1"), b"two", b"one"]
    (tmp_path / "p.txt").write_bytes(b"\n".join(lines))
    with pytest.raises(DataError, match="3 prompts cannot be used") as caught:
        load_prompts(tmp_path / "p.txt")
    text = str(caught.value)
    assert "line 2 of" in text and "the prompt is empty" in text
    assert "line 3 of" in text and "not UTF-8 (the byte 0xe9)" in text
    assert "line 1 and line 5" in text and "the prompt stands twice" in text


def test_such_lines_are_left_out_where_that_is_asked_for(tmp_path, capsys):
    (tmp_path / "p.jsonl").write_text('{"prompt": "a"}\n{"prompt": " "}\n{\n{"prompt": "b"}\n')
    rows = read_prompts(tmp_path / "p.jsonl").settled("drop")
    assert rows.table["prompt"][:] == ["a", "b"] and rows.dropped == 2
    assert capsys.readouterr().out.count("left out: ") == 2
    assert sorted(rows.places.values()) == ["line 1", "line 4"]


def test_prompts_that_differ_in_white_space_alone_are_different_prompts(tmp_path):
    (tmp_path / "p.txt").write_text("Hi\nHi \n Hi\n")
    assert len(load_prompts(tmp_path / "p.txt")) == 3


@pytest.mark.parametrize("escape", ["\\ud83d", "\\udc81"])
def test_half_a_character_is_named_with_its_line(tmp_path, escape):
    (tmp_path / "p.jsonl").write_text('{"prompt": "ok"}\n{"prompt": "half an emoji ' + escape + '"}\n')
    with pytest.raises(DataError, match=r"half a character(.|\n)*line 2 of"):
        load_prompts(tmp_path / "p.jsonl")
    with pytest.raises(DataError, match="half a character"):
        load_prompts(["\ud83d"])


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le"])
def test_utf_16_is_said_to_be_that(tmp_path, encoding):
    (tmp_path / "p.txt").write_bytes("one\ntwo\n".encode(encoding))
    with pytest.raises(DataError, match="not UTF-8: it (begins with the mark of UTF-16|holds NUL bytes)"):
        load_prompts(tmp_path / "p.txt")


# Further sources


def test_compressed_files_are_read_and_what_is_none_is_said_to_be_none(tmp_path):
    (tmp_path / "p.jsonl.gz").write_bytes(gzip.compress(b'{"prompt": "a"}\n'))
    assert load_prompts(tmp_path / "p.jsonl.gz")["prompt"][:] == ["a"]
    for content in (b'{"prompt": "a"}', gzip.compress(b"a" * 99)[:-9]):
        (tmp_path / "q.txt.gz").write_bytes(content)
        with pytest.raises(DataError, match="not gzip, or is cut short"):
            load_prompts(tmp_path / "q.txt.gz")


@pytest.mark.parametrize("ending", [".gz", ".bz2", ".xz", ".zst"])
def test_every_kind_of_compression_is_read_and_what_is_cut_short_is_named(tmp_path, ending):
    lines = b"".join(b'{"prompt": "number %d"}\n' % number for number in range(99))
    pack = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress, ".zst": zst}[ending]
    path = tmp_path / f"p.jsonl{ending}"
    path.write_bytes(pack(lines))
    assert len(load_prompts(path)) == 99
    for content in (pack(lines)[:-9], b"plain"):
        path.write_bytes(content)
        with pytest.raises(DataError, match=f"the name ends in {ending}, but the file is not"):
            load_prompts(path)


def zst(data):
    packed = pyarrow.BufferOutputStream()
    with pyarrow.CompressedOutputStream(packed, "zstd") as stream:
        stream.write(data)
    return packed.getvalue().to_pybytes()


TALK = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": 'What is "snow", a\nlot?'}]


@pytest.mark.parametrize("spell", [json.dumps, str], ids=["JSON", "Python"])
def test_messages_that_a_cell_spells_are_messages(tmp_path, spell):
    pandas.DataFrame({"prompt": [spell(TALK)]}).to_csv(tmp_path / "p.csv", index=False)
    pandas.DataFrame({"prompt": [spell(TALK)]}).to_csv(tmp_path / "p.tsv", index=False, sep="\t")
    pandas.DataFrame({"prompt": [spell(TALK)]}).to_parquet(tmp_path / "p.parquet")
    (tmp_path / "p.jsonl").write_text(json.dumps({"prompt": spell(TALK)}))
    (tmp_path / "p.json").write_text(json.dumps([{"prompt": spell(TALK)}]))
    for name in ("p.csv", "p.tsv", "p.parquet", "p.jsonl", "p.json"):
        assert load_prompts(tmp_path / name)["prompt"][0] == TALK
    assert load_prompts([spell(TALK)])["prompt"][0] == TALK
    ends = [*TALK, {"role": "assistant", "content": "Ice."}]
    with pytest.raises(DataError, match="ends with the assistant's turn"):
        load_prompts([spell(ends)])
    with pytest.raises(DataError, match="neither as JSON nor as Python"):  # as pandas writes an array
        load_prompts(["[{'role': 'user', 'content': 'a'}\n {'role': 'user', 'content': 'b'}]"])
    for text in ("[1, 2]: what is it?", '[{"role": "user"}] is JSON for what?', "[{}]"):
        assert load_prompts([text])["prompt"][:] == [text]


def test_the_folder_of_a_data_set_of_the_hub_is_read_by_split(tmp_path, capsys):
    (tmp_path / "README.md").write_text("# Card")
    (tmp_path / "dataset_infos.json").write_text("{}")
    (tmp_path / ".gitattributes").write_text("")
    rows = {"train": ["a", "b", "c"], "validation": ["d"]}
    (tmp_path / "data").mkdir()
    for split, prompts in rows.items():
        for part in range(len(prompts)):
            table = pandas.DataFrame({"prompt": [prompts[part]], "messages": [TALK]})
            table.to_parquet(tmp_path / "data" / f"{split}-{part:05}-of-{len(prompts):05}.parquet")
    for named in (load_prompts(tmp_path), load_prompts(f"{tmp_path}:train")):
        assert named["prompt"][:] == ["a", "b", "c"]
    assert load_prompts(tmp_path, column="messages", too_long="drop")["prompt"][:] == [TALK]
    capsys.readouterr()
    assert load_prompts(tmp_path, "test")["prompt"][:] == ["d"]
    assert "no split 'test', so 'validation' is read" in capsys.readouterr().out
    with pytest.raises(DataError, match=r"no split 'gold'(.|\n)*:SPLIT: train, validation"):
        load_prompts(f"{tmp_path}:gold")
    with pytest.raises(DataError, match="no column 'text'(.|\n)*data/train-00000"):
        load_prompts(tmp_path, column="text")


def test_folders_called_as_splits_are_splits_and_others_are_sets_of_their_own(tmp_path):
    for name in ("train", "test", "en", "fr"):
        (tmp_path / name[:2] / name).mkdir(parents=True)
    for folder in ("tr/train", "te/test"):
        (tmp_path / folder).rename(tmp_path / folder.partition("/")[2])
        (tmp_path / folder.partition("/")[2] / "0.jsonl").write_text(json.dumps({"prompt": folder}))
    assert load_prompts(tmp_path)["prompt"][:] == ["tr/train"]
    assert load_prompts(tmp_path, "test")["prompt"][:] == ["te/test"]
    for folder in ("en", "fr"):
        (tmp_path / "sets" / folder).mkdir(parents=True)
        (tmp_path / "sets" / folder / "p.txt").write_text(folder)
    with pytest.raises(DataError, match="several sets: en, fr"):
        load_prompts(tmp_path / "sets")
    assert load_prompts(tmp_path / "sets" / "fr")["prompt"][:] == ["fr"]


def test_lines_of_objects_are_read_whatever_the_file_is_called_and_a_home_folder_is_found(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("p.json", "p.ndjson", "p.jsonl"):
        (tmp_path / name).write_text('{"prompt": "a"}\n{"prompt": "b"}\n')
        assert load_prompts(f"~/{name}")["prompt"][:] == ["a", "b"]


def test_a_column_that_no_row_has_is_said_once_with_those_that_are_there(tmp_path):
    pandas.DataFrame({"question": list("abc"), "answer": list("abc")}).to_csv(tmp_path / "p.csv", index=False)
    for way in ("error", "drop"):
        with pytest.raises(DataError) as caught:
            load_prompts(tmp_path / "p.csv", too_long=way)
        assert str(caught.value).count("\n") == 2 and "all 3 rows of" in str(caught.value)
        assert "--column, column=" in str(caught.value) and "found: question, answer" in str(caught.value)


def test_an_address_is_said_to_be_none_of_a_file():
    with pytest.raises(
        StoreError, match=r"an address, not a file(.|\n)*https://a.org/p.jsonl(.|\n)*owner/name"
    ):
        load_prompts("https://a.org/p.jsonl")


TABLE = {"prompt_id": ["x", "y"], "prompt": ["first", "second"], "reference": ["a", "b"], "scores": [1, 2]}


def test_parquet_files_saved_data_sets_and_folders_of_shards_bring_prompts_and_references(tmp_path):
    table = Dataset.from_dict(TABLE)
    (tmp_path / "shards").mkdir()
    for number in range(2):
        table.select([number]).to_parquet(tmp_path / "shards" / f"part-{number}.parquet")
    table.to_parquet(tmp_path / "p.parquet")
    table.save_to_disk(tmp_path / "saved")
    DatasetDict({"train": table, "test": table.select([0])}).save_to_disk(tmp_path / "splits")
    for name in ("p.parquet", "shards", "saved", "splits", "splits:train"):
        prompts = load_prompts(f"{tmp_path / name}")
        assert prompts.to_dict() == {name: TABLE[name] for name in ("prompt_id", "prompt", "reference")}
    assert len(load_prompts(f"{tmp_path / 'splits'}:test")) == 1
    with pytest.raises(DataError, match=r"no split 'dev'(.|\n)*train, test"):
        load_prompts(f"{tmp_path / 'splits'}:dev")
    with pytest.raises(DataError, match="there is no column 'question'"):
        load_prompts(tmp_path / "saved", column="question")


def test_what_is_no_parquet_is_said_to_be_none(tmp_path):
    (tmp_path / "x.parquet").write_bytes(b"PAR1\xff\xfe")
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        load_prompts(tmp_path / "x.parquet")


def test_tables_of_pandas_and_arrays_are_lists_of_prompts():
    pandas = pytest.importorskip("pandas")
    for prompts in (pandas.Series(["a", "b"], index=[5, 5]), np.array(["a", "b"])):
        assert load_prompts(prompts)["prompt"][:] == ["a", "b"]
    assert load_prompts(pandas.DataFrame({"prompt": ["a"], "kind": ["k"]}))["kind"][:] == ["k"]
    talk = [{"role": "user", "content": "Hi"}]
    assert load_prompts(pandas.Series([np.array(talk)]))["prompt"][0] == talk
    with pytest.raises(DataError, match="not a list"):
        load_prompts(np.array("a"))
    with pytest.raises(DataError, match="two columns share a name"):
        load_prompts(pandas.DataFrame([["a", "b"]], columns=["prompt", "prompt"]))
    with pytest.raises(DataError, match="not text but float"):
        load_prompts(pandas.Series(["a", None]).astype(object).where(lambda s: s == "a", float("nan")))


def test_the_column_of_the_prompts_can_be_named(tmp_path):
    (tmp_path / "p.jsonl").write_text('{"question": "a", "prompt": "other", "reference": "r"}\n')
    [row] = load_prompts(tmp_path / "p.jsonl", column="question").to_list()
    assert row["prompt"] == "a" and row["reference"] == "r"
    with pytest.raises(DataError, match=r"no 'text' here(.|\n)*found: question"):
        load_prompts(tmp_path / "p.jsonl", column="text")


# The hub


def hub(monkeypatch, answers):
    """`datasets.load_dataset` replaced by a table of what it was asked for."""
    asked = []

    def load_dataset(*names, split):
        asked.append((*names, split))
        return answers if isinstance(answers, Dataset) else answers()

    monkeypatch.setattr("datasets.load_dataset", load_dataset)
    return asked


def test_a_data_set_of_the_hub_is_read_by_name_split_and_subset(monkeypatch, capsys):
    asked = hub(monkeypatch, Dataset.from_dict({"question": ["a", "a", "b"], "big": ["x"] * 3}))
    prompts = load_prompts("owner/set:main:test[:3]", column="question")
    assert asked == [("owner/set", "main", "test[:3]")]
    assert prompts["prompt"][:] == ["a", "b"] and prompts.column_names == ["prompt_id", "prompt"]
    assert "the prompt stands twice" in capsys.readouterr().out


def test_known_data_sets_say_their_licence_and_have_their_own_splits(monkeypatch, capsys):
    asked = hub(monkeypatch, Dataset.from_dict({"prompt_id": ["i"], "prompt": ["Hi"], "messages": ["x"]}))
    assert load_prompts("HuggingFaceH4/ultrafeedback_binarized")["prompt"][:] == ["Hi"]
    assert asked == [("HuggingFaceH4/ultrafeedback_binarized", "train_prefs")]
    assert "licence MIT; many chat models were tuned on it" in capsys.readouterr().out


def test_hh_rlhf_becomes_conversations_that_end_with_the_humans_turn(monkeypatch, capsys):
    text = "\n\nHuman: Hi\n\nAssistant: Hello!\n\nHuman: Why?\n\nAssistant: Because."
    hub(monkeypatch, Dataset.from_dict({"chosen": [text], "rejected": [text]}))
    [prompt] = load_prompts("Anthropic/hh-rlhf", "test")["prompt"][:]
    assert [message["role"] for message in prompt] == ["user", "assistant", "user"]
    assert prompt[-1]["content"] == "Why?"
    assert "offensive" in capsys.readouterr().out


def test_helpsteers_marked_turns_become_messages(monkeypatch):
    asked = hub(
        monkeypatch,
        Dataset.from_dict({"prompt": ["One.", "Hi\n<extra_id_1>Assistant\nHello!\n<extra_id_1>User\nWhy?"]}),
    )
    prompts = load_prompts("nvidia/HelpSteer2", "test")["prompt"][:]
    assert asked == [("nvidia/HelpSteer2", "validation")]
    assert [len(prompt) for prompt in prompts] == [1, 3]


def test_without_the_hub_a_data_set_is_refused_with_the_reason(monkeypatch):
    def offline():
        raise ConnectionError("Couldn't reach the Hub (OfflineModeIsEnabled)")

    hub(monkeypatch, offline)
    with pytest.raises(StoreError, match=r"the hub cannot be reached(.|\n)*owner/set, split train"):
        load_prompts("owner/set")


def test_whatever_is_passed_as_prompts_the_error_is_one_of_ours():
    for thing in (object(), 3.5, b"bytes", {"prompt": "x"}, [[]], [{}], [{"prompt": {}}], ["x", ["y"]]):
        with pytest.raises(RSError):
            load_prompts(thing)
