"""What the report's numbers are, and that each comes with an honest interval."""

import json
import math

import numpy as np
import pytest
from datasets import Dataset
from fake_tables import arms, best_rows, pool_and_kept, scored

from rslib import evaluation, formatting, reporting
from rslib.errors import ConfigError, DataError, RewardError
from rslib.formatting import METRICS
from rslib.reporting import Report


@pytest.fixture(scope="module")
def entry():
    pool, kept = pool_and_kept()
    return reporting.round_entry(1, arms(), n=16, pool=pool, kept=kept, provenance={"prompts": "ab"})


def by_hand():
    """Two prompts, two responses each: every mean can be checked in the head."""
    return Dataset.from_list(
        [
            row("a", 0, "x y", reward=1.0, gold=2.0, logprob=-3.0, reference=-4.0, tokens=[5, 6, 3]),
            row(
                "a", 1, "x y", reward=3.0, gold=4.0, logprob=-1.0, reference=-1.0, tokens=[5], reason="length"
            ),
            row(
                "b", 0, "x", reward=5.0, gold=0.0, logprob=-2.0, reference=-5.0, tokens=[5, 3], complied=True
            ),
            row(
                "b", 1, "z", reward=7.0, gold=2.0, logprob=-2.0, reference=-2.0, tokens=[5, 3], complied=False
            ),
        ]
    )


def row(prompt, sample, text, *, reward, gold, logprob, reference, tokens, reason="eos", complied=None):
    return {
        "prompt_id": prompt,
        "prompt": f"prompt {prompt}",
        "sample_id": sample,
        "response": text,
        "reward": reward,
        "gold": gold,
        "logprob": logprob,
        "reference_logprob": reference,
        "token_ids": tokens,
        "finish_reason": reason,
        "complied": complied,
    }


def test_metrics_equal_what_a_hand_computes():
    found = evaluation.arm_metrics(by_hand())
    assert found["proxy"]["mean"] == 4.0 and found["gold"]["mean"] == 2.0
    assert found["kl"] == 1.0 and found["entropy"] == 2.0
    assert found["length"] == 2.0 and found["words"] == 1.5
    assert found["truncation_rate"] == 0.25 and found["unique_ratio"] == 0.75
    assert found["unsafe_compliance"] == 0.5 and found["selection_gap"] == 0.0
    assert (found["prompts"], found["responses"], found["clusters"]) == (2, 4, 2)


def test_every_field_of_the_report_is_explained_and_nothing_else_is(entry):
    judged = by_hand().add_column("judge", [1.0, 2.0, 3.0, 4.0])
    used = set(entry["arms"]["base"]) | set(evaluation.arm_metrics(judged))
    used |= {field for panel in entry["panel"].values() for field in panel}
    used |= set(entry["comparisons"][0]["gold"])
    assert used == set(METRICS)


def test_one_prompt_alone_has_means_and_no_interval():
    alone = {name: table.select(range(4)) for name, table in arms().items()}
    report = Report([reporting.round_entry(1, alone, n=16)])
    assert report.rounds[0]["arms"]["base"]["gold"]["low"] is None
    assert "[no interval]" in report.text_table() and report.to_json()
    assert all("not separable" in text for text in report.headlines())


def test_every_metric_of_an_arm_has_an_interval_around_its_mean(entry):
    plain = {"prompts", "responses", "clusters", "intervals"}
    for arm in entry["arms"].values():
        for name in set(arm) - plain:
            found = reporting.arm_interval(arm, name)
            assert found["low"] <= found["mean"] <= found["high"], name


def test_a_metric_that_the_data_do_not_offer_is_none_and_never_zero():
    table = by_hand().remove_columns(["gold", "reference_logprob", "complied", "token_ids", "finish_reason"])
    found = evaluation.arm_metrics(table)
    for name in ("gold", "kl", "unsafe_compliance", "length", "truncation_rate"):
        assert found[name] is None, name
    assert formatting.interval_text(reporting.arm_interval(found, "kl")) == "-"


def test_prompts_of_one_intent_are_resampled_together():
    table = scored(60, 4, intents=6)
    together = evaluation.arm_metrics(table)
    apart = evaluation.arm_metrics(table.remove_columns("intent"))
    assert (together["clusters"], apart["clusters"]) == (6, 60)
    # Intents differ by 1 point (sd), responses within them by 1: ignoring the intents is overconfident.
    assert width(together["gold"]) > 1.5 * width(apart["gold"])


def width(found):
    return found["high"] - found["low"]


def test_a_difference_between_kinds_is_no_error_since_their_shares_are_fixed():
    """200 draws of 30 safe and 10 unsafe prompts, 10 points apart: the error is that of the noise alone."""
    unsafe = np.arange(40) < 10
    columns = {
        "prompt_id": [f"p{i}" for i in range(40)],
        "prompt": ["q"] * 40,
        "kind": np.where(unsafe, "unsafe", "safe").tolist(),
        "response": ["a"] * 40,
        "sample_id": [0] * 40,
    }
    draws = []
    for seed in range(200):
        reward = np.random.default_rng(seed).normal(size=40) + 10 * unsafe
        table = Dataset.from_dict(columns | {"reward": reward})
        draws.append(evaluation.arm_metrics(table, seed=seed)["proxy"])
    covered = np.mean([found["low"] <= 2.5 <= found["high"] for found in draws])
    assert covered > 0.84  # at a level of 0.95, fewer have a probability of 1e-9
    assert np.mean([width(found) for found in draws]) < 1.2 * 2 * 1.96 / np.sqrt(40)


def test_a_paired_difference_is_sharper_than_two_separate_intervals():
    tables = arms()
    paired = evaluation.compare(tables["best_of_n"], tables["base"], "gold")
    separate = [evaluation.arm_metrics(tables[name])["gold"] for name in ("best_of_n", "base")]
    assert paired["difference"] == pytest.approx(separate[0]["mean"] - separate[1]["mean"])
    assert width(paired) < 0.7 * math.hypot(*(width(found) for found in separate))


def test_the_interval_of_a_difference_agrees_with_its_standard_error():
    found = evaluation.compare(arms()["best_of_n"], arms()["base"])
    assert found["z"] == pytest.approx(found["difference"] / found["standard_error"])
    assert width(found) == pytest.approx(2 * 1.96 * found["standard_error"], rel=0.25)


def test_an_arm_compared_with_itself_differs_by_exactly_nothing():
    table = scored()
    found = evaluation.compare(table, table, "reward")
    assert (found["difference"], found["low"], found["high"]) == (0.0, 0.0, 0.0)
    assert found["standard_error"] == 0.0 and found["z"] is None


def test_row_order_does_not_change_a_comparison():
    tables = arms()
    mixed = tables["base"].shuffle(seed=3)
    straight = evaluation.compare(tables["best_of_n"], tables["base"])
    assert evaluation.compare(tables["best_of_n"], mixed) == pytest.approx(straight)


def test_compliance_is_compared_over_unsafe_prompts_only():
    tables = arms()
    found = evaluation.compare(tables["best_of_n"], tables["base"], "complied")
    assert found["prompts"] == 10 and found["difference"] < -0.2


def test_comparing_different_prompts_is_refused_by_name():
    with pytest.raises(DataError, match="one arm only") as caught:
        evaluation.compare(scored(6), scored(5))
    assert "p00005" in str(caught.value)


def test_a_missing_gold_value_is_named_and_not_averaged_away():
    table = by_hand().remove_columns("gold").add_column("gold", [1.0, math.nan, 2.0, 3.0])
    with pytest.raises(DataError, match="1 of 4 values") as caught:
        evaluation.arm_metrics(table)
    assert "prompt 'a'" in str(caught.value)


def test_responses_without_finite_rewards_are_refused():
    with pytest.raises(DataError, match="no reward column"):
        evaluation.arm_metrics(by_hand().remove_columns("reward"))
    with pytest.raises(RewardError):
        table = by_hand().remove_columns("reward").add_column("reward", [1.0, math.inf, 2.0, 3.0])
        evaluation.arm_metrics(table)


def test_the_gap_is_the_kept_mean_minus_the_pool_mean_whatever_was_kept():
    pool, kept = pool_and_kept()
    rewards = np.array(pool["reward"])
    top_overall = pool.select(np.argsort(-rewards)[:40].tolist())
    for rows in (kept["best_of_n"], top_overall):
        found = evaluation.selection_gap(pool, rows)
        assert found["mean"] == pytest.approx(np.mean(rows["reward"]) - rewards.mean())
        assert 0 < found["low"] < found["mean"] < found["high"]


def test_keeping_everything_is_a_gap_of_exactly_zero():
    pool, _ = pool_and_kept(10, 4)
    found = evaluation.selection_gap(pool, pool)
    assert found == pytest.approx({"mean": 0.0, "low": 0.0, "high": 0.0}, abs=1e-12)


def test_rows_from_outside_the_pool_are_refused():
    with pytest.raises(DataError, match="not in the pool"):
        evaluation.selection_gap(scored(4), scored(6))


def test_identical_responses_leave_their_signature():
    one = scored(8, 1)
    pool = Dataset.from_list([{**line, "sample_id": k} for line in one for k in range(4)])
    panel = evaluation.selection_panel(pool, best_rows(pool, 4))
    assert panel["pool_unique_ratio"] == 0.25 and panel["decidable_fraction"] == 0.0
    assert panel["kept_reward"] == pytest.approx(panel["pool_reward"])
    assert panel["reward_length_correlation"] is None and panel["coverage"] == 1.0


def test_one_response_per_prompt_leaves_nothing_to_decide():
    for n, share in ((1, 0.0), (2, 1.0)):
        assert evaluation.selection_panel(scored(5, n), scored(5, n))["decidable_fraction"] == share


def test_a_reward_that_is_length_correlates_with_length():
    table = scored(20, 4)
    lengths = [float(len(tokens)) for tokens in table["token_ids"]]
    paid = table.remove_columns("reward").add_column("reward", lengths)
    assert evaluation.reward_length_correlation(paid) == pytest.approx(1.0)


def test_chosen_and_rejected_stand_side_by_side_with_their_warnings():
    pool, kept = pool_and_kept(20, 4)
    cut = pool.remove_columns("finish_reason").add_column("finish_reason", ["length", "eos"] * 40)
    found = evaluation.selection_table(cut, best_rows(cut, 4))
    assert [group["rows"] for group in found["rows"].values()] == [20, 60]
    assert found["rows"]["chosen"]["reward"]["mean"] > found["rows"]["rejected"]["reward"]["mean"]
    assert any("rejected responses are truncated" in text for text in found["warnings"])
    healthy = evaluation.selection_table(pool, kept["best_of_n"])
    assert set(healthy["rows"]) == {"chosen", "rejected"} and healthy["warnings"] == []


def test_best_of_one_is_the_mean_and_best_of_all_is_the_maximum():
    pool, _ = pool_and_kept(20, 8)
    rewards = np.array(pool["reward"]).reshape(20, 8)
    table = evaluation.best_of_n_table(pool)
    means = [line["proxy"]["mean"] for line in table["rows"]]
    assert [line["n"] for line in table["rows"]] == [1, 2, 4, 8]
    assert means[0] == pytest.approx(rewards.mean()) and means[-1] == pytest.approx(
        rewards.max(axis=1).mean()
    )
    assert means == sorted(means)


def test_over_optimisation_is_found_against_the_peak():
    table = evaluation.best_of_n_table(exploitable(40, 64))
    last = table["rows"][-1]
    assert 1 < table["peak_n"] < 64
    assert last["below_peak"]["high"] < 0 and last["proxy"]["mean"] > table["rows"][0]["proxy"]["mean"]


def exploitable(prompts, n):
    """One response in 20 cheats: a reward of +6 for a gold of -6."""
    rng = np.random.default_rng(8)
    pool = scored(prompts, n, seed=9).remove_columns("reward")
    cheat = rng.random(len(pool)) < 0.05
    gold = np.array(pool["gold"]) - 6 * cheat
    rewards = (np.array(pool["gold"]) + 6 * cheat).tolist()
    return pool.remove_columns("gold").add_column("gold", gold.tolist()).add_column("reward", rewards)


def test_a_pool_without_gold_has_a_reward_curve_and_no_peak():
    table = evaluation.best_of_n_table(scored(6, 4).remove_columns("gold"))
    assert table["peak_n"] is None and table["rows"][0]["gold"] is None


def test_an_n_larger_than_the_pool_is_refused():
    with pytest.raises(ConfigError, match="n is 5"):
        evaluation.best_of_n_table(scored(3, 4), [1, 5])


def test_the_histogram_counts_every_response_once():
    pool, kept = pool_and_kept()
    found = evaluation.reward_histogram(pool, kept["best_of_n"])
    for name in ("pool", "kept"):
        assert sum(share["mean"] for share in found[name]) == pytest.approx(1.0)
        assert len(found[name]) == len(found["edges"]) - 1


def test_transcript_prompts_are_the_first_of_each_kind_and_then_seeded():
    table = scored(40, 4)
    chosen = reporting._transcript_prompts(table, seed=5)
    assert chosen[:2] == ["p00000", "p00003"] and len(set(chosen)) == 3
    assert chosen == reporting._transcript_prompts(scored(40, 4, seed=99), seed=5)
    assert chosen != reporting._transcript_prompts(table, seed=6)
    assert reporting._transcript_prompts(table.select(range(4))) == ["p00000"]


def test_a_transcript_is_response_zero_and_never_the_best():
    tables = arms(8)
    shown = reporting._transcripts(
        {name: table.shuffle(seed=1) for name, table in tables.items()}, ["p00003"]
    )
    assert shown[0]["arms"]["base"]["response"] == tables["base"]["response"][12]
    assert shown[0]["kind"] == "unsafe" and set(shown[0]["arms"]) == set(tables)
    with pytest.raises(DataError, match="no response 0"):
        reporting._transcripts(tables, ["p00099"])


def test_headlines_say_what_the_intervals_say(entry):
    claims = Report([entry]).headlines()
    assert claims[0].startswith("best-of-16 beats random-of-16 by +2.")
    assert any(text.startswith("random-of-16 is not separable from base") for text in claims)
    assert any("complies with unsafe prompts less often than base" in text for text in claims)


def claim_of(low, high, metric="gold"):
    found = {"difference": (low + high) / 2, "low": low, "high": high}
    return reporting._arm_claim({"n": 4}, {"first": "best_of_n", "second": "random", metric: found}, metric)


def test_a_claim_is_worded_by_its_interval_alone():
    assert claim_of(2.0, 2.6) == "best-of-4 beats random-of-4 by +2.30 gold [+2.00, +2.60]."
    assert claim_of(-0.1, 0.3) == "best-of-4 is not separable from random-of-4: +0.10 gold [-0.10, +0.30]."
    assert claim_of(-0.3, -0.1) == "best-of-4 falls behind random-of-4 by -0.20 gold [-0.30, -0.10]."
    assert claim_of(2.0, 2.6, "proxy").endswith("by +2.30 reward [+2.00, +2.60].")
    assert "not separably more or less often" in claim_of(-0.1, 0.1, "unsafe_compliance")


def test_more_reward_for_less_gold_is_called_over_optimisation():
    base, tuned = scored(gold=3.0, seed=1), scored(gold=1.0, seed=2, reward_bias=0.5)
    claims = Report([reporting.round_entry(1, {"base": base, "tuned": tuned}, n=16)]).headlines()
    assert "Over-optimisation: tuned gains reward and loses gold." in claims


def test_without_gold_the_report_says_who_judges():
    tables = {name: table.remove_columns(["gold", "complied"]) for name, table in arms().items()}
    report = Report([reporting.round_entry(1, tables, n=16)])
    assert any("is also the judge" in text for text in report.headlines())
    assert "gold" not in report.text_table() and "unsafe" not in report.text_table()


def test_a_report_survives_json_and_keeps_the_order_of_its_arms(entry):
    report = Report([entry], {"n": 16})
    again = Report.from_dict(json.loads(report.to_json()))
    assert again.to_json() == report.to_json() and repr(again) == repr(report)
    assert "base" in report.text_table().splitlines()[1].split()[0]
    with pytest.raises(DataError, match="rounds"):
        Report.from_dict({"round": 1})


def test_a_report_refuses_nan_and_says_where(entry):
    report = Report([{**entry, "provenance": {"seconds": [1.0, math.nan]}}])
    with pytest.raises(DataError, match=r"rounds\[0\]\.provenance\.seconds\[1\]"):
        report.to_json()


def test_the_same_tables_give_the_same_bytes(entry):
    pool, kept = pool_and_kept()
    again = reporting.round_entry(1, arms(), n=16, pool=pool, kept=kept, provenance={"prompts": "ab"})
    assert Report([again]).to_json() == Report([entry]).to_json()


def test_the_terminal_table_is_aligned(entry):
    lines = Report([entry]).text_table().splitlines()
    start = lines[1].index("best-of-16")
    assert all(line[start - 1] == " " and line[start] != " " for line in lines[1:])


def test_the_notebook_table_has_caption_and_scopes_and_no_colours(entry):
    page = Report([entry])._repr_html_()
    assert "<caption" in page and 'scope="col"' in page and 'scope="row"' in page
    assert "color" not in page and "background" not in page
    assert "<b>stir" not in formatting.html_table([["", "x"], ["<b>stir", "<b>stir"]], "<b>stir")


def test_kept_rows_without_their_pool_are_refused():
    with pytest.raises(DataError, match="without their pool"):
        reporting.round_entry(1, arms(4), n=4, kept={"random": scored(4, 1)})
