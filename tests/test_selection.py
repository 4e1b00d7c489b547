"""What each selector keeps: by hand, by properties that hold for every input, by the chances that it states.

Statistical tests fix their seeds and state the false-alarm rate that they would have with a random seed.
"""

import math

import numpy as np
import pytest
from datasets import Dataset

from rslib import more_selectors, selection, tables, theory
from rslib.errors import ConfigError, DataError, RewardError
from rslib.evaluation import selection_gap, selection_panel
from rslib.more_selectors import reference_responses
from rslib.prompts import load_prompts
from rslib.selection import SELECTORS, pool_of, select, selector_of


def scored(rewards, **columns):
    """A scored table from rewards `(M, n)`; prompts p0, p1, ..."""
    return pool_of(rewards, **columns).table


def noisy(prompts=30, n=8, seed=0, ties=False):
    rng = np.random.default_rng(seed)
    rewards = rng.integers(0, 3, (prompts, n)).astype(float) if ties else rng.normal(size=(prompts, n))
    texts = [
        f"text {number} " + "word " * int(rng.integers(1, 9)) for number in rng.integers(0, 6, prompts * n)
    ]
    return scored(rewards, response=texts, second=rng.normal(size=prompts * n).tolist())


def earlier_round():
    return noisy(20, seed=9)


OPTIONS = {
    "top_k_per_prompt": {"k": 3},
    "unique": {"k": 3},
    "top_fraction": {"fraction": 0.2},
    "threshold": {"minimum": 0.3},
    "percentile": {"percentile": 70},
    "random_overall": {"count": 25},
    "acceptance": {"beta": 0.5},
    "soft_best_of_n": {"temperature": 0.5},
    "best_of_poisson": {"mu": 2.0},
    "pessimistic": {"beta": 0.5},
    "self_consistency": {"conclusions": "response"},
    "ensemble": {"rewards": ["reward", "second"]},
    "replay": {"earlier": [earlier_round()]},
    "reference": {
        "references": Dataset.from_dict(
            {"prompt_id": ["p3", "p4"], "response": ["good", "bad"], "reward": [99.0, -99.0]}
        )
    },
}
every_selector = pytest.mark.parametrize("name", sorted(SELECTORS))


def keep(table, name, **options):
    return select(table, name, **(OPTIONS.get(name, {}) | options))


def keys(table):
    """(prompt_id, sample_id, round) of each row."""
    rounds = table["round"][:] if "round" in table.column_names else [0] * len(table)
    return list(zip(table["prompt_id"][:], table["sample_id"][:], rounds, strict=True))


def kept_ids(table, name="best_of_n", **options):
    return [key[:2] for key in keys(select(table, name, **options))]


# Every selector


@every_selector
def test_kept_rows_are_rows_of_the_pool_each_once_in_prompt_order(name):
    table = noisy(ties=True)
    kept = keep(table, name)
    assert len(set(keys(kept))) == len(kept) > 0
    if name not in ("replay", "reference"):
        assert kept.column_names == table.column_names
        rows = {key: row for key, row in zip(keys(table), table, strict=True)}
        assert all(rows[key] == row for key, row in zip(keys(kept), kept, strict=True))
    order = list(dict.fromkeys(table["prompt_id"][:]))
    places = [order.index(prompt_id) for prompt_id in kept["prompt_id"][:]]
    assert places == sorted(places)


@every_selector
def test_permuting_prompts_permutes_the_result(name, capsys):
    table = noisy(ties=True)
    groups = list(tables.groups(table).values())
    order = np.random.default_rng(1).permutation(len(groups))
    moved = keep(tables.take(table, np.concatenate([groups[i] for i in order])), name)
    before = keep(table, name)
    assert sorted(keys(moved)) == sorted(keys(before))
    if name != "replay":  # whose first prompts are those of the earlier round
        wanted = [f"p{i}" for i in order if f"p{i}" in before["prompt_id"][:]]
        assert list(dict.fromkeys(moved["prompt_id"][:])) == wanted


@every_selector
@pytest.mark.parametrize("ties", [True, False])
def test_shuffling_all_rows_keeps_the_same_responses(name, ties):
    table = noisy(ties=ties)
    assert sorted(keys(keep(table.shuffle(seed=5), name))) == sorted(keys(keep(table, name)))


@every_selector
def test_the_same_seed_keeps_the_same_rows(name):
    table = noisy(ties=True)
    assert keys(keep(table, name, seed=3)) == keys(keep(table, name, seed=3))


WHOLE_POOL = {"top_fraction", "random_overall", "ensemble", "length_controlled"}


@pytest.mark.parametrize("name", sorted(set(SELECTORS) - WHOLE_POOL))
def test_a_prompt_does_not_depend_on_the_prompts_beside_it(name):
    table = noisy(ties=True)
    groups = tables.groups(table)
    part = [f"p{i}" for i in range(3, 30, 4)] + ["p4"]
    alone = keep(tables.take(table, np.concatenate([groups[one] for one in part])), name)
    together = [key for key in keys(keep(table, name)) if key[0] in part]
    assert [key for key in sorted(keys(alone)) if key[0] in part] == sorted(together)


@every_selector
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_nan_or_infinite_reward_is_never_kept_silently(name, bad, capsys):
    rewards = np.random.default_rng(2).normal(size=(30, 8))
    rewards[7, 0] = rewards[7, 3] = bad
    table = scored(rewards, second=rewards[::-1].ravel().clip(-9, 9).tolist())
    if name == "ensemble":
        table = tables.with_column(table, "second", [0.0] * 240)
    with pytest.raises(RewardError, match="2 of 24[0-9]|2 of 400"):
        keep(table, name)
    kept = keep(table, name, on_nan="drop")
    assert np.isfinite(np.array(kept["reward"])).all()
    assert "dropped 2 of" in capsys.readouterr().out


@every_selector
def test_a_pool_of_one_row_keeps_that_row(name):
    table = scored([[1.0]], second=[0.0])
    if name in ("reference", "replay", "decidable"):
        return  # larger pools by design, or nothing to decide
    options = {"random_overall": {"count": 1}}.get(name, {})
    assert kept_ids(table, name, **(OPTIONS.get(name, {}) | options)) == [("p0", 0)]


@every_selector
def test_every_selector_says_what_it_does_with_ties(name):
    assert "tie" in selector_of(name).__doc__.lower()


RANK_ONLY = ["best_of_n", "worst", "top_k_per_prompt", "unique", "top_fraction", "percentile", "decidable"]


@pytest.mark.parametrize("name", [*RANK_ONLY, "random", "random_overall", "all"])
def test_a_monotone_change_of_the_rewards_changes_nothing(name):
    table = noisy(ties=True)
    values = np.array(table["reward"])
    for changed in (3 * values - 100, np.exp(values), values**3):
        moved = tables.with_column(table, "reward", changed)
        assert keys(keep(moved, name)) == keys(keep(table, name))


def test_negating_the_rewards_swaps_best_and_worst():
    for ties in (False, True):
        table = noisy(ties=ties)
        negated = tables.with_column(table, "reward", -np.array(table["reward"]))
        assert keys(select(negated, "best_of_n")) == keys(select(table, "worst"))
        assert keys(select(negated, "worst")) == keys(select(table, "best_of_n"))


# Ties


def test_ties_are_broken_uniformly_and_anew_for_each_seed():
    # 3000 prompts whose three responses all tie: chi-square with 2 degrees of freedom exceeds 27.63 with
    # probability exp(-27.63 / 2) = 1e-6.
    table = scored(np.zeros((3000, 3)))
    for seed in (0, 1):
        counts = np.bincount(select(table, seed=seed)["sample_id"][:], minlength=3)
        assert ((counts - 1000) ** 2 / 1000).sum() < 27.63
    assert kept_ids(table, seed=0) != kept_ids(table, seed=1)


def test_a_fixed_lot_decides_between_two_responses_whatever_else_is_in_the_pool():
    table = scored([[5.0, 5.0, 1.0, 1.0]])
    assert kept_ids(table) == kept_ids(table.select([1, 0])) == kept_ids(table.select([0, 1, 3]))


def test_the_random_control_is_independent_of_how_ties_are_broken():
    # With one shared lot they would agree always; by chance they agree for 1000 of 3000 prompts. The bounds
    # are 5 standard deviations (26 each): false-alarm rate 6e-7.
    table = scored(np.zeros((3000, 3)))
    same = sum(a == b for a, b in zip(kept_ids(table), kept_ids(table, "random"), strict=True))
    assert abs(same - 1000) < 130


# Selectors by hand

HAND = [[1.0, 3.0, 2.0], [5.0, 4.0, 0.0]]


@pytest.mark.parametrize(
    "name, options, samples",
    [
        ("best_of_n", {}, [("p0", 1), ("p1", 0)]),
        ("worst", {}, [("p0", 0), ("p1", 2)]),
        ("top_k_per_prompt", {"k": 2}, [("p0", 1), ("p0", 2), ("p1", 0), ("p1", 1)]),
        ("top_k_per_prompt", {"k": 9}, [(p, s) for p in ("p0", "p1") for s in range(3)]),
        ("top_fraction", {"fraction": 0.5}, [("p0", 1), ("p1", 0), ("p1", 1)]),
        ("top_fraction", {"fraction": 1.0}, [(p, s) for p in ("p0", "p1") for s in range(3)]),
        ("top_fraction", {"fraction": 0.01}, [("p1", 0)]),
        ("threshold", {"minimum": 4}, [("p1", 0), ("p1", 1)]),
        ("percentile", {"percentile": 0}, [(p, s) for p in ("p0", "p1") for s in range(3)]),
        ("percentile", {"percentile": 50}, [("p0", 1), ("p0", 2), ("p1", 0), ("p1", 1)]),
        ("percentile", {"percentile": 51}, [("p0", 1), ("p1", 0)]),
        ("percentile", {"percentile": 40, "round": 3, "rise": 30}, [("p0", 1), ("p1", 0)]),
        ("decidable", {"tolerance": 2.5}, [("p1", 0)]),
        ("all", {}, [(p, s) for p in ("p0", "p1") for s in range(3)]),
        ("acceptance", {"beta": 1e-4}, [("p0", 1), ("p1", 0)]),
        ("acceptance", {"beta": 1e9}, [(p, s) for p in ("p0", "p1") for s in range(3)]),
        ("soft_best_of_n", {"temperature": 1e-4}, [("p0", 1), ("p1", 0)]),
    ],
)
def test_on_a_table_that_fits_on_a_thumb_each_selector_keeps_what_a_hand_would(name, options, samples):
    assert kept_ids(scored(HAND), name, **options) == samples


def test_best_of_n_equals_the_loop_that_defines_it():
    table = noisy(50, 16)
    for prompt_id, rows in tables.groups(table).items():
        best = max(rows, key=lambda row: table[int(row)]["reward"])
        assert (prompt_id, table[int(best)]["sample_id"]) in kept_ids(table)


def test_prompts_may_have_different_numbers_of_responses():
    ragged = scored(HAND).select([1, 2, 4, 3, 5])
    assert kept_ids(ragged) == [("p0", 1), ("p1", 0)]
    assert kept_ids(ragged, "top_k_per_prompt", k=3) == [
        ("p0", 1),
        ("p0", 2),
        ("p1", 1),
        ("p1", 0),
        ("p1", 2),
    ]


def test_equal_texts_count_once_for_unique():
    table = scored([[3.0, 3.0, 2.0, 1.0]], response=["same", "same", "other", "third"])
    kept = select(table, "unique", k=3)
    assert sorted(kept["response"][:]) == ["other", "same", "third"]
    assert len(select(table, "unique", k=9)) == 3


def test_the_same_text_of_two_prompts_is_not_the_same_response():
    assert len(select(scored([[1.0], [2.0]], response=["same", "same"]), "unique", k=1)) == 2


def test_the_top_fraction_lets_easy_prompts_crowd_out_hard_ones():
    easy_and_hard = scored(np.random.default_rng(3).normal(size=(50, 16)) + np.arange(50)[:, None] / 5)
    kept = select(easy_and_hard, "top_fraction", fraction=1 / 16)
    assert len(kept) == 50
    assert selection_panel(easy_and_hard, kept)["coverage"] < 0.6


def test_a_fraction_that_is_a_whole_number_of_rows_keeps_exactly_that_many():
    table = scored(np.random.default_rng(4).normal(size=(10, 3)))
    for percent in range(10, 101, 10):
        assert len(select(table, "top_fraction", fraction=percent / 100)) == 3 * percent // 10


def test_the_random_control_has_one_row_a_prompt_or_as_many_as_the_table_that_it_controls():
    table = noisy()
    assert [key[0] for key in kept_ids(table, "random")] == [f"p{i}" for i in range(30)]
    kept = select(table, "threshold", minimum=0.5)
    control = select(table, "random", like=kept)
    assert control["prompt_id"][:] == kept["prompt_id"][:]
    assert keys(control) != keys(kept)
    with pytest.raises(ConfigError, match="count is 241"):
        select(table, "random_overall", count=241)


def test_random_picks_have_no_selection_gap():
    # The gap of 4000 independent picks of variance 1 has a standard error below 1 / sqrt(4000): 5 of them,
    # false-alarm rate 6e-7.
    table = scored(np.random.default_rng(5).normal(size=(4000, 4)))
    assert abs(selection_gap(table, select(table, "random"))["mean"]) < 5 / math.sqrt(4000)
    best = selection_gap(table, select(table))["mean"]
    assert best == pytest.approx(1.03, abs=0.06)  # the mean of the largest of four normal numbers


# Distributions


def test_acceptance_keeps_each_row_with_the_stated_probability_so_the_kept_follow_the_tilted_optimum():
    # Four fixed rewards, 4000 prompts. Each count is binomial; 5.3 standard deviations, three counts:
    # false-alarm rate 4e-7.
    rewards, beta, prompts = np.array([0.0, 0.5, 1.0, 1.5]), 0.7, 4000
    kept = select(scored(np.tile(rewards, (prompts, 1))), "acceptance", beta=beta)
    counts = np.bincount(kept["sample_id"][:], minlength=4)
    chance = np.exp((rewards - 1.5) / beta)
    assert counts[3] == prompts
    spread = np.sqrt(prompts * chance * (1 - chance))[:3]
    assert (np.abs(counts - prompts * chance)[:3] < 5.3 * spread).all()
    np.testing.assert_allclose(chance / chance.sum(), theory.tilted_optimum([0.25] * 4, rewards, beta))


def test_soft_best_of_n_draws_by_softmax():
    # Chi-square with 2 degrees of freedom exceeds 27.63 with probability 1e-6.
    rewards, temperature = np.array([0.0, 1.0, 2.0]), 0.8
    kept = select(scored(np.tile(rewards, (4000, 1))), "soft_best_of_n", temperature=temperature)
    expected = 4000 * theory.tilted_optimum([1 / 3] * 3, rewards, temperature)
    counts = np.bincount(kept["sample_id"][:], minlength=3)
    assert ((counts - expected) ** 2 / expected).sum() < 27.63


def test_soft_best_of_n_draws_without_replacement():
    table = noisy()
    assert len(set(kept_ids(table, "soft_best_of_n", temperature=1.0, k=8))) == len(table)


# Ensembles and length


def members(**columns):
    return scored([[0.0] * len(next(iter(columns.values())))], **columns)


@pytest.mark.parametrize(
    "combine, options, best",
    [
        ("mean", {}, 2),
        ("min", {}, 1),
        ("uncertainty", {"penalty": 0.0}, 2),
        ("uncertainty", {"penalty": 2.0}, 1),
    ],
)
def test_an_ensemble_can_trust_the_mean_or_distrust_disagreement(combine, options, best):
    table = members(a=[-2.0, 1.0, 5.0, -4.0], b=[-2.0, 1.0, -0.5, 1.5])
    assert kept_ids(table, "ensemble", rewards=["a", "b"], combine=combine, **options) == [("p0", best)]


def test_members_of_an_ensemble_have_no_common_unit():
    table = noisy()
    scaled = tables.with_column(table, "second", 1000 * np.array(table["second"]) + 7)
    for combine in ("mean", "min", "uncertainty", "vote"):
        options = {"rewards": ["reward", "second"], "combine": combine}
        assert kept_ids(table, "ensemble", **options) == kept_ids(scaled, "ensemble", **options)


def test_a_vote_is_the_share_of_members_that_rank_a_response_first_and_ties_split_it():
    table = members(a=[3.0, 1.0, 3.0], b=[0.0, 5.0, 1.0], c=[9.0, 0.0, 0.0])
    votes = more_selectors._combined_rewards(selection.Pool(table), ["a", "b", "c"], "vote", penalty=1.0)
    np.testing.assert_allclose(votes, [0.5, 1 / 3, 1 / 6])
    kept = more_selectors.ensemble(selection.Pool(table), rewards=["a", "b", "c"], combine="vote")
    assert kept.tolist() == [0]


def test_bad_ensembles_are_refused():
    table = noisy()
    for rewards in (["reward"], ["reward", "reward"], "reward"):
        with pytest.raises(ConfigError, match="at least two"):
            select(table, "ensemble", rewards=rewards)
    with pytest.raises(ConfigError, match="Did you mean 'mean'"):
        select(table, "ensemble", rewards=["reward", "second"], combine="means")
    with pytest.raises(DataError, match="no column 'third'"):
        select(table, "ensemble", rewards=["reward", "third"])
    holed = tables.with_column(table, "second", [math.nan] + [0.0] * 239)
    with pytest.raises(RewardError, match="1 of 240 values of 'second'"):
        select(holed, "ensemble", rewards=["reward", "second"])


def test_length_control_takes_out_a_reward_for_length_alone():
    rng = np.random.default_rng(6)
    lengths, quality = rng.integers(1, 60, (200, 16)), rng.normal(size=(200, 16))
    tokens = [[1] * int(length) for length in lengths.ravel()]
    table = scored(quality + 0.2 * lengths, token_ids=tokens, quality=quality.ravel().tolist())
    plain, controlled = select(table), select(table, "length_controlled")
    assert np.mean(controlled["quality"]) > 1.6 > 0.9 > np.mean(plain["quality"])
    mean_length = np.mean([len(ids) for ids in controlled["token_ids"]])
    assert mean_length == pytest.approx(lengths.mean(), abs=5 * lengths.std() / math.sqrt(200))


def test_length_within_prompts_is_not_misled_by_prompts_that_ask_for_more():
    rng = np.random.default_rng(7)
    asked = np.repeat(np.arange(50)[:, None], 8, axis=1)
    lengths = asked + rng.integers(1, 4, (50, 8))
    tokens = [[1] * int(length) for length in lengths.ravel()]
    table = scored(10.0 * asked - 3.0 * lengths, token_ids=tokens)
    within = np.mean([len(ids) for ids in select(table, "length_controlled")["token_ids"]])
    over = np.mean([len(ids) for ids in select(table, "length_controlled", within=False)["token_ids"]])
    assert over < within  # over the pool, length looks rewarded, so short responses are favoured once more


# Larger pools


def test_a_reference_competes_and_the_count_of_kept_ones_is_printed(capsys):
    prompts = load_prompts(
        [{"prompt_id": f"p{i}", "prompt": f"prompt {i}", "reference": f"good {i}"} for i in range(2)]
    )
    references = tables.with_column(reference_responses(prompts), "reward", [2.5, 9.0])
    tables.check_scored(references)
    kept = select(scored(HAND), "reference", references=references)
    assert kept["response"][:] == ["response 1", "good 1"] and kept["is_reference"][:] == [False, True]
    assert kept["sample_id"][:] == [1, -1] and kept["prompt"][1] == "prompt 1"
    assert "a reference response is kept for 1 of 2 prompts" in capsys.readouterr().out


def test_bad_references_are_refused():
    with pytest.raises(ConfigError, match="'references' is missing"):
        select(scored(HAND), "reference")
    row = {"prompt_id": "p9", "response": "x", "reward": 1.0}
    with pytest.raises(DataError, match="1 references are for prompts outside the pool(.|\n)*'p9'"):
        select(scored(HAND), "reference", references=Dataset.from_list([row]))
    del row["reward"]
    with pytest.raises(DataError, match="no column 'reward'"):
        select(scored(HAND), "reference", references=Dataset.from_list([row]))
    with pytest.raises(DataError, match="no column 'reference'"):
        reference_responses(load_prompts(["x"]))


def test_replay_keeps_the_best_of_all_rounds_and_no_text_twice():
    first = scored([[9.0, 1.0], [0.0, 1.0]], response=["a", "b", "c", "d"])
    last = scored([[9.0, 2.0], [3.0, 2.0]], response=["a", "e", "f", "g"])
    kept = select(last, "replay", earlier=[first], k=2)
    assert sorted(kept["response"][:]) == ["a", "e", "f", "g"]
    assert select(last, "replay", earlier=[first])["response"][1] == "f"
    assert set(kept["round"][:]) <= {0, 1}


def test_replay_brings_back_prompts_that_the_last_round_did_not_have():
    renamed = tables.with_column(scored(HAND), "prompt_id", ["q0"] * 3 + ["q1"] * 3)
    assert select(renamed, "replay", earlier=[scored(HAND)])["prompt_id"][:] == ["p0", "p1", "q0", "q1"]


def test_replay_without_earlier_rounds_is_refused():
    for earlier in ([], scored(HAND)):
        with pytest.raises(DataError, match="not a list"):
            select(scored(HAND), "replay", earlier=earlier)


# The stage's own options


def test_truncated_responses_can_be_left_out_and_prompts_without_any_other_are_counted(capsys):
    reasons = ["eos", "length", "eos", "length", "length", "length"]
    table = scored(HAND, finish_reason=reasons)
    assert kept_ids(table) == [("p0", 1), ("p1", 0)]
    assert kept_ids(table, truncated="drop") == [("p0", 2)]
    assert capsys.readouterr().out == (
        "select: dropped 4 of 6 responses cut at the length limit; 1 prompts have none left\n"
    )
    with pytest.raises(DataError, match="all 6 responses are cut"):
        select(scored(HAND, finish_reason=["length"] * 6), truncated="drop")


def test_when_every_reward_is_nan_dropping_is_an_error():
    with pytest.raises(DataError, match="all 2 responses are without a finite reward"):
        select(scored([[math.nan, math.nan]]), on_nan="drop")


def test_a_healthy_selection_prints_nothing(capfd):
    for name in sorted(set(SELECTORS) - {"reference"}):
        keep(noisy(), name, on_nan="drop", truncated="drop")
    assert capfd.readouterr() == ("", "")


def test_select_before_score_fails_and_says_what_to_run():
    with pytest.raises(DataError, match="no reward column: run score first"):
        select(scored(HAND).remove_columns("reward"))


def test_an_unknown_selector_is_refused_with_the_closest_name():
    with pytest.raises(ConfigError, match="unknown selector 'best_ofn'(.|\n)*Did you mean 'best_of_n'"):
        select(scored(HAND), "best_ofn")


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("top_k_per_prompt", {"kk": 2}, "unknown option 'kk'(.|\n)*Options of 'top_k_per_prompt': k"),
        ("top_k_per_prompt", {}, "the option 'k' is missing"),
        ("best_of_n", {"k": 2}, "unknown option 'k'(.|\n)*none"),
        ("replay", {}, "'earlier' is missing(.|\n)*Options of 'replay': k, earlier"),
        ("top_k_per_prompt", {"k": 0}, "k is 0"),
        ("top_k_per_prompt", {"k": 1.5}, "k is 1.5"),
        ("top_k_per_prompt", {"k": "2"}, "k is '2'"),
        ("top_fraction", {"fraction": 0}, "fraction is 0(.|\n)*> 0 and <= 1"),
        ("top_fraction", {"fraction": 1.1}, "fraction is 1.1"),
        ("threshold", {"minimum": math.nan}, "minimum is nan"),
        ("percentile", {"percentile": 101}, "percentile is 101(.|\n)*>= 0 and <= 100"),
        ("percentile", {"percentile": 50, "rise": -1}, "rise is -1"),
        ("acceptance", {"beta": 0}, "beta is 0"),
        ("soft_best_of_n", {"temperature": math.inf}, "temperature is inf"),
        ("decidable", {"tolerance": -1}, "tolerance is -1"),
        ("best_of_n", {"on_nan": "ignore"}, "unknown value of on_nan 'ignore'"),
        ("best_of_n", {"truncated": "drops"}, "Did you mean 'drop'"),
    ],
)
def test_a_bad_option_is_refused_with_what_is_allowed(name, options, message):
    with pytest.raises(ConfigError, match=message):
        select(scored(HAND), name, **options)


def test_a_selector_that_keeps_nothing_is_an_error_with_the_range_of_the_rewards():
    with pytest.raises(DataError, match=r"kept none of 6 rows\n  where: rewards from 0 to 5"):
        select(scored(HAND), "threshold", minimum=6)
    with pytest.raises(DataError, match="kept none"):
        select(scored(np.ones((3, 4))), "decidable")


# Statistics


def test_the_statistics_of_a_selection_can_be_counted_by_hand():
    table = scored(HAND, response=["a", "a", "b", "a", "c", "d"], finish_reason=["eos", "length"] * 3)
    kept = select(table, "top_fraction", fraction=0.5)
    assert selection_gap(table, kept)["mean"] == pytest.approx(4.0 - 2.5)
    assert (tables.finish_reasons(kept) == "length").mean() == pytest.approx(2 / 3)
    panel = selection_panel(table, kept)
    assert panel["pool_unique_ratio"] == pytest.approx(5 / 6) and panel["coverage"] == 1.0
    assert selection_panel(table, select(table, "threshold", minimum=5))["coverage"] == 0.5


# Rules of inference time


def shares(name, rewards, draws, **options):
    """How often each of the rewards (n,) is kept, over as many prompts that share them."""
    rewards = np.tile(np.asarray(rewards, dtype=float), (draws, 1))
    kept = [sample_id for _, sample_id in kept_ids(scored(rewards), name, **options)]
    return np.bincount(kept, minlength=rewards.shape[1]) / draws


def assert_distribution(observed, distribution, draws):
    """Each share within 5.5 standard errors: a false alarm in less than 1e-6 of all seeds, for 8 shares."""
    np.testing.assert_array_less(
        abs(observed - distribution), 5.5 * np.sqrt(distribution * (1 - distribution) / draws) + 1e-12
    )


def test_pessimism_draws_rows_by_the_optimum_of_its_objective():
    rewards = [0.0, 1.0, 1.0, 3.0]
    distribution = theory.pessimistic_optimum(np.full(4, 0.25), rewards, beta=2.0)
    assert_distribution(shares("pessimistic", rewards, 4000, beta=2.0), distribution, 4000)
    assert shares("pessimistic", rewards, 50, beta=0.01).tolist() == [0, 0, 0, 1]


def test_best_of_poisson_keeps_the_best_of_so_many_drawn_rows():
    rewards, mu = [0.0, 1.0, 1.0, 3.0, 2.0], 1.5
    distribution = [theory.best_of_poisson_estimate([rewards], mu, [row])[0] for row in np.eye(5)]
    assert_distribution(shares("best_of_poisson", rewards, 4000, mu=mu), np.array(distribution), 4000)
    assert_distribution(shares("best_of_poisson", rewards, 4000, mu=0), np.full(5, 0.2), 4000)


def test_self_consistency_keeps_the_best_of_the_most_frequent_answer_and_draws_between_frequent_ones():
    table = scored([[1.0, 2.0, 9.0, 8.0], [1.0, 2.0, 9.0, 8.0]], conclusion=[4, 4, 5, 6, 6, 5, 5, 5])
    assert kept_ids(table, "self_consistency") == [("p0", 1), ("p1", 2)]
    tied = scored(np.tile([0.0, 0.0, 5.0, 5.0], (2000, 1)), conclusion=["a", "a", "b", "b"] * 2000)
    kept = np.array([sample_id for _, sample_id in kept_ids(tied, "self_consistency")])
    assert_distribution(np.array([(kept < 2).mean()]), np.array([0.5]), 2000)
    with pytest.raises(DataError, match="no column 'conclusion'"):
        select(noisy(), "self_consistency")


def test_minimum_bayes_risk_agrees_with_every_pair_counted_by_hand():
    table, words = noisy(12, 6), lambda text: text.split()
    for prompt_id, sample_id in kept_ids(table, "minimum_bayes_risk"):
        rows = [words(row["response"]) for row in table if row["prompt_id"] == prompt_id]

        def gain(i, rows=rows):
            common = [sum(min(rows[i].count(w), other.count(w)) for w in set(rows[i])) for other in rows]
            return sum(
                2 * c / (len(rows[i]) + len(o))
                for k, (c, o) in enumerate(zip(common, rows, strict=True))
                if k != i
            )

        assert gain(sample_id) == pytest.approx(max(map(gain, range(len(rows)))))
    assert len(select(scored([[1.0]], response=[""]), "minimum_bayes_risk")) == 1
