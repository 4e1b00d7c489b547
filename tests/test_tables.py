"""The tables that travel: what each stage accepts, how it refuses the rest, and what is exported."""

import math
import re
import time

import numpy as np
import pyarrow
import pytest
from datasets import Dataset, DatasetDict
from datasets.table import InMemoryTable

from rslib import tables
from rslib.errors import DataError, RewardError
from rslib.prompts import load_prompts


def response(prompt="a", sample_id=0, **changes):
    row = {
        "prompt_id": prompt,
        "prompt": f"prompt {prompt}",
        "sample_id": sample_id,
        "response": f"response {prompt} {sample_id}",
        "token_ids": [5, 6, 3],
        "token_logprobs": [-0.5, -0.25, -1.0],
        "logprob": -1.75,
        "finish_reason": "eos",
        "seed": 11 + sample_id,
        "reward": 0.5 * sample_id,
    }
    return row | changes


def table(*rows):
    return Dataset.from_list(list(rows) or [response(p, s) for p in "ab" for s in range(3)])


def without(rows, name):
    return rows.remove_columns([name])


# Checks


def test_whole_tables_pass_every_check_also_after_selecting_and_shuffling():
    for rows in (table(), table().select([4, 1]), table().shuffle(seed=0)):
        tables.check_responses(rows)
        tables.check_scored(rows)
        tables.check_selected(rows)


def test_responses_from_elsewhere_need_only_ids_and_texts():
    names = list(tables.REQUIRED["responses"])
    tables.check_responses(table().select_columns(names))
    tables.check_selected(table().select_columns(["prompt", "response"]))


def test_select_before_score_is_told_to_run_score_first():
    with pytest.raises(DataError, match="no reward column: run score first"):
        tables.check_scored(without(table(), "reward"))


def test_score_before_sample_is_told_to_run_sample_first():
    with pytest.raises(DataError, match="no response column: run sample first"):
        tables.check_responses(load_prompts(["x"]).add_column("sample_id", [0]))


@pytest.mark.parametrize("name", ["prompt_id", "prompt", "sample_id"])
def test_a_missing_column_is_named_with_those_that_are_there(name):
    with pytest.raises(DataError, match=f"no column '{name}'(.|\n)*columns .*response"):
        tables.check_responses(without(table(), name))


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"finish_reason": "stop"}, "neither 'eos' nor 'length'"),
        ({"token_logprobs": [-0.5, -0.25]}, "differ in length"),
        ({"token_logprobs": [-0.5, 0.25, -1.5]}, "not a finite number <= 0"),
        ({"token_logprobs": [-0.5, math.nan, -1.0]}, "not a finite number <= 0"),
        ({"token_logprobs": [-0.5, -math.inf, -1.0]}, "not a finite number <= 0"),
        ({"logprob": -1.7}, "not the sum"),
        ({"logprob": math.nan}, "not the sum"),
        ({"prompt": "another prompt"}, "differs from an earlier row"),
        ({"sample_id": 0}, "stands twice"),
        ({"response": None}, "'response' is missing in 1 rows"),
        ({"token_ids": None}, "'token_ids' is missing in 1 rows"),
    ],
)
def test_a_broken_row_is_refused_with_its_number_and_name(changes, message):
    rows = [response("a", 0), response("b", 0), response("b", 1) | changes]
    with pytest.raises(DataError, match=message) as caught:
        tables.check_responses(table(*rows))
    assert "row 2" in caught.value.where and caught.value.fix


@pytest.mark.parametrize(
    "name, values, message",
    [
        ("sample_id", ["0", "1"], "'sample_id' holds text, not integer"),
        ("reward", ["0.5", "1"], "'reward' holds text, not number"),
        ("reward", [True, False], "'reward' holds bool, not number"),
        ("token_ids", [[0.5], [1.5]], "'token_ids' holds list of numbers, not list of integers"),
        ("token_ids", ["a b", "c"], "'token_ids' holds text"),
        ("prompt_id", [1, 2], "'prompt_id' holds integer, not text"),
    ],
)
def test_a_column_of_the_wrong_type_is_refused(name, values, message):
    rows = tables.with_column(table(response("a", 0), response("b", 0)), name, values)
    with pytest.raises(DataError, match=re.escape(message)):
        tables.check_scored(rows)


def test_whole_numbers_pass_as_rewards_and_empty_lists_as_tokens():
    rows = table(response("a", 0, reward=1, token_ids=[], token_logprobs=[], logprob=0.0))
    tables.check_scored(rows)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, None])
def test_a_reward_that_is_not_finite_is_counted_and_the_first_is_named(bad):
    rows = table(response("a", 0), response("a", 1, reward=bad), response("b", 7, reward=bad))
    for check in (tables.check_scored, tables.check_selected):
        with pytest.raises(RewardError, match="2 of 3 values of 'reward'") as caught:
            check(rows)
        assert "prompt_id 'a', sample_id 1" in caught.value.where
        assert "on_nan='drop'" in caught.value.fix
    tables.check_scored(rows, finite=False)


def test_the_same_sample_of_two_rounds_is_no_duplicate():
    rows = table(response("a", 0, round=0), response("a", 0, round=1))
    tables.check_scored(rows)


@pytest.mark.parametrize("thing", [None, [], {"response": ["x"]}, DatasetDict()])
def test_what_is_no_table_is_refused_as_such(thing):
    for check in (tables.check_responses, tables.check_scored, tables.check_selected):
        with pytest.raises(DataError, match="is no datasets.Dataset"):
            check(thing)


def test_an_empty_table_is_refused():
    with pytest.raises(DataError, match="empty"):
        tables.check_scored(table().select([]))


# Reading


def test_groups_follow_the_first_row_of_each_prompt_and_may_be_ragged_and_mixed():
    rows = table(response("b", 0), response("a", 0), response("b", 1), response("b", 2))
    found = tables.groups(rows)
    assert list(found) == ["b", "a"]
    assert [rows.tolist() for rows in found.values()] == [[0, 2, 3], [1]]


def test_the_reward_matrix_holds_one_line_a_prompt_and_says_whence_it_comes():
    rows = table().shuffle(seed=3)
    prompt_ids, rewards, places = tables.reward_matrix(rows)
    assert rewards.shape == places.shape == (2, 3) and rewards.dtype == float
    for prompt_id, line in zip(prompt_ids, places, strict=True):
        assert set(np.array(rows["prompt_id"])[line]) == {prompt_id}
    np.testing.assert_array_equal(np.array(rows["reward"])[places], rewards)


def test_a_ragged_table_has_no_reward_matrix_and_the_error_names_two_prompts():
    with pytest.raises(DataError, match=r"between 2 and 3 responses\n  where: prompt_id 'b' and 'a'"):
        tables.reward_matrix(table().select(range(5)))


def test_a_missing_finish_reason_counts_as_finished():
    assert set(tables.finish_reasons(without(table(), "finish_reason"))) == {"eos"}


# Making tables


def test_a_new_column_or_rows_taken_leave_standard_error_empty(capfd):
    rows = table().select([5, 0, 2])
    replaced = tables.with_column(rows, "reward", [1.0, 2.0, 3.0])
    assert replaced["reward"][:] == [1.0, 2.0, 3.0] and replaced["sample_id"][:] == [2, 0, 2]
    assert tables.take(rows, [2, 0]).to_list() == [rows[2], rows[0]]
    assert tables.stack([rows, replaced]).num_rows == 6
    assert capfd.readouterr().err == ""


def test_a_column_of_the_wrong_length_and_tables_that_do_not_fit_are_refused():
    with pytest.raises(DataError, match="2 values for 6 rows"):
        tables.with_column(table(), "gold", [1.0, 2.0])
    with pytest.raises(DataError, match="do not fit together"):
        tables.stack([table(), tables.with_column(table(), "reward", ["a"] * 6)])


# Fingerprints


def test_the_fingerprint_is_the_same_in_every_process_on_every_machine_and_in_every_release():
    # If it changes, the cached stages of all earlier runs are done again: say so in the changelog.
    assert tables.fingerprint(table()) == "41fc2c845af4936f37adb393895413668c7b33b6fdd2fc46bbb4f6b11f05fada"


def test_the_fingerprint_does_not_depend_on_storage(tmp_path):
    rows = table()
    same = [
        rows.select(range(6)),
        rows.select_columns(rows.column_names[::-1]),
        Dataset.from_list(rows.to_list()),
        tables.stack([rows.select(range(2)), rows.select(range(2, 6))]),
        Dataset(InMemoryTable(rows.data.table.slice(0, 6))),
        Dataset.from_dict(rows.to_dict()).cast_column("sample_id", pyarrow_feature("int16")),
    ]
    assert {tables.fingerprint(other) for other in same} == {tables.fingerprint(rows)}
    sliced = rows.data.table.slice(2, 3)
    assert tables.fingerprint(Dataset(InMemoryTable(sliced))) == tables.fingerprint(rows.select([2, 3, 4]))


def pyarrow_feature(name):
    from datasets import Value

    return Value(name)


CHANGES = {
    "a float in its last bit": {"reward": float(np.nextafter(0.0, 1.0))},
    "a text": {"response": "response a 0 "},
    "a token": {"token_ids": [5, 6, 4]},
    "a seed": {"seed": 12},
    "nothing for a text": {"response": None},
    "an empty list for a list": {"token_ids": []},
    "nan": {"reward": math.nan},
    "null": {"reward": None},
}


def test_any_change_of_the_contents_changes_the_fingerprint():
    rows = [response("a", 0), response("a", 1)]
    found = {"before": tables.fingerprint(table(*rows))}
    for name, change in CHANGES.items():
        found[name] = tables.fingerprint(table(rows[0] | change, rows[1]))
    found["another order of rows"] = tables.fingerprint(table(*rows[::-1]))
    found["a column less"] = tables.fingerprint(without(table(*rows), "seed"))
    found["a column renamed"] = tables.fingerprint(table(*rows).rename_column("seed", "sead"))
    assert len(set(found.values())) == len(found), found


def test_texts_and_lists_cannot_be_cut_elsewhere_unnoticed():
    def of(values):
        return tables.fingerprint(Dataset.from_dict({"x": values}))

    assert of(["ab", "c"]) != of(["a", "bc"])
    assert of([[1, 2], [3]]) != of([[1], [2, 3]])
    assert of([["a"], ["b", None]]) != of([["a"], ["b", ""]])
    assert of([None, ""]) != of(["", None])
    assert of([1, 2]) != of([1.0, 2.0])
    assert of([True, False]) != of([False, True])
    assert of([{"u": 1, "v": "a"}, {"u": 2, "v": "a"}]) != of([{"u": 1, "v": "a"}, {"u": 2, "v": "b"}])


def test_minus_zero_is_zero_and_all_nans_are_one():
    odd = np.frombuffer(np.array([0x7FF8000000000001], dtype="<u8").tobytes(), dtype="<f8")
    one = Dataset(InMemoryTable(pyarrow.table({"x": np.array([-0.0, odd[0]])})))
    two = Dataset(InMemoryTable(pyarrow.table({"x": np.array([0.0, math.nan])})))
    assert tables.fingerprint(one) == tables.fingerprint(two)


def test_6400_responses_are_checked_and_fingerprinted_in_less_than_half_a_second():
    rng = np.random.default_rng(0)
    rows = table(
        *(
            response(f"p{i // 16}", i % 16, token_ids=ids.tolist(), token_logprobs=[-0.1] * 30, logprob=-3.0)
            for i, ids in enumerate(rng.integers(0, 1500, (6400, 30)))
        )
    )
    for function in (tables.fingerprint, tables.check_scored):
        assert min(seconds(function, rows) for _ in range(3)) < 0.5  # the machine may be busy


def seconds(function, rows):
    began = time.perf_counter()
    function(rows)
    return time.perf_counter() - began


def test_every_column_of_the_stages_is_described_and_in_the_glossary():
    from pathlib import Path

    glossary = (Path(__file__).parents[1] / "docs" / "glossary.md").read_text(encoding="utf-8")
    columns = glossary.split("## Columns of the tables")[1]
    assert set().union(*tables.REQUIRED.values()) <= set(tables.COLUMNS)
    assert all(f"| {name} |" in columns for name in tables.COLUMNS)
