"""What leaves the road: preference pairs, and rows in the formats of TRL's trainers."""

import doctest
import math
from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset

from rslib import export
from rslib.errors import ConfigError, DataError, RewardError
from rslib.export import best_and_worst, best_worst_pairs
from rslib.selection import SELECTORS, pool_of

HAND = [[1.0, 3.0, 2.0], [5.0, 4.0, 0.0]]


def scored(rewards, **columns):
    """A scored table from rewards `(M, n)`; prompts p0, p1, ..."""
    return pool_of(rewards, **columns).table


def test_pairs_are_the_best_and_the_worst_of_each_prompt(capsys):
    pairs = best_worst_pairs(scored([*HAND, [7.0, 7.0, 7.0]]))
    assert pairs.to_list() == [
        {
            "prompt_id": "p0",
            "prompt": "prompt 0",
            "chosen": "response 1",
            "rejected": "response 0",
            "chosen_reward": 3.0,
            "rejected_reward": 1.0,
        },
        {
            "prompt_id": "p1",
            "prompt": "prompt 1",
            "chosen": "response 3",
            "rejected": "response 5",
            "chosen_reward": 5.0,
            "rejected_reward": 0.0,
        },
    ]
    assert "1 of 3 prompts have no preference" in capsys.readouterr().out
    assert export.to_trl_preference(pairs).column_names == ["prompt", "chosen", "rejected"]


def test_pairs_need_a_margin_and_finite_rewards():
    assert best_worst_pairs(scored(HAND), margin=2.5)["prompt_id"][:] == ["p1"]
    with pytest.raises(DataError, match="no prompt's rewards differ"):
        best_worst_pairs(scored(np.ones((2, 2))))
    with pytest.raises(RewardError, match="1 of 2"):
        best_worst_pairs(scored([[1.0, math.nan]]))


def test_pairs_are_the_rows_that_dpo_trains_on_with_all_their_columns():
    table = scored([*HAND, [7.0, 7.0, 7.0]])
    chosen, rejected = best_and_worst(table, show=False)
    assert chosen.column_names == rejected.column_names == table.column_names
    assert chosen["response"][:] == best_worst_pairs(table)["chosen"][:]
    assert rejected["response"][:] == best_worst_pairs(table)["rejected"][:]


@pytest.mark.parametrize("margin", [-1.0, math.nan, math.inf, "1"])
def test_a_margin_is_a_finite_number_from_0(margin):
    with pytest.raises(ConfigError, match="margin is"):
        best_worst_pairs(scored(HAND), margin=margin)


def test_the_sft_export_is_prompt_and_completion_as_messages():
    assert export.to_trl_sft(scored([[1.0]])).to_list() == [
        {
            "prompt": [{"role": "user", "content": "prompt 0"}],
            "completion": [{"role": "assistant", "content": "response 0"}],
        }
    ]


def test_truncated_responses_are_not_exported_as_finished():
    rows = scored([[1.0, 2.0]], finish_reason=["eos", "length"])
    with pytest.raises(DataError, match="1 of 2 responses are truncated(.|\n)*sample_id 1"):
        export.to_trl_sft(rows)
    assert len(export.to_trl_sft(rows, truncated="drop")) == 1
    with pytest.raises(DataError, match="truncated is 'keep'"):
        export.to_trl_sft(rows, truncated="keep")


def test_the_preference_export_is_prompt_chosen_and_rejected_as_messages():
    pairs = Dataset.from_list([{"prompt": "x", "chosen": "good", "rejected": "bad", "chosen_reward": 1.0}])
    assert export.to_trl_preference(pairs).to_list() == [
        {
            "prompt": [{"role": "user", "content": "x"}],
            "chosen": [{"role": "assistant", "content": "good"}],
            "rejected": [{"role": "assistant", "content": "bad"}],
        }
    ]
    with pytest.raises(DataError, match="no column 'rejected'"):
        export.to_trl_preference(pairs.remove_columns("rejected"))


def test_the_page_of_the_selectors_names_all_of_them_and_its_example_runs():
    page = Path(__file__).parents[1] / "docs" / "selectors.md"
    named = [
        line.split("`")[1] for line in page.read_text(encoding="utf-8").splitlines() if line[:3] == "| `"
    ]
    assert sorted(named) == sorted(SELECTORS)
    assert doctest.testfile(str(page), module_relative=False).failed == 0
