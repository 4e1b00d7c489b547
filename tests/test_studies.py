"""What the studies of checkers and of rules make of their measurements, on tables whose answer is known."""

import numpy as np
import pytest
from datasets import Dataset

from docs.studies import rules, verifiable
from docs.studies.results import read

SEEDS = ("0", "1", "2")


def arm(share, several=0.1):
    """The stored figures of an arm: 40 problems whose shares of right responses lie about this one."""
    spread = np.tile([-0.05, 0.05], 20)
    figures = dict.fromkeys(
        ("pass_at_1", "pass_at_16", "sound_of_right", "entropy", "all_right", "all_wrong"), share
    )
    return figures | {"by_problem": (share + spread).tolist(), "several_numbers": several, "rounds": []}


def rows(**shares):
    return {name: {seed: arm(share) for seed in SEEDS} for name, share in shares.items()}


def test_a_gain_is_supported_contradicted_or_not_separable_by_its_interval():
    table = rows(base=0.3, better=0.4, same=0.3)
    assert verifiable.gained(table, "better", "base", SEEDS)["verdict"] == "supported"
    assert verifiable.gained(table, "base", "better", SEEDS)["verdict"] == "contradicted"
    assert verifiable.gained(table, "same", "base", SEEDS)["verdict"] == "not separable"


def test_the_rows_that_are_kept_are_right_and_differ_in_their_equations_within_a_problem():
    texts = ["1 + 2 = 3\nThe answer is 3.", "2 + 1 = 3\nThe answer is 3.", "1 + 1 = 2\nThe answer is 2."]
    scored = Dataset.from_list(
        [
            {"prompt_id": problem, "response": texts[k], "reward": float(k != 2)}
            for problem in ("a", "b")
            for k in (2, 0, 0, 1)
        ]
    )
    assert verifiable.right_paths(scored).tolist() == [1, 3, 5, 7]
    assert verifiable.right_paths(scored, most=1).tolist() == [1, 5]


def test_the_page_has_a_line_for_every_arm_and_every_round():
    drawn = [{"pass_at_1": 0.2 + k / 10, "all_wrong": 0.39, "kept": 100 + k} for k in range(2)]
    table = {name: {seed: arm(0.3) | {"rounds": drawn} for seed in SEEDS} for name in verifiable.ARMS}
    page = verifiable.text({"rows": table})
    assert all(f"| {name} |" in page and f"| {name}, third 2 |" in page for name in verifiable.ARMS)
    assert "| not separable |" in page and "| supported |" not in page
    assert "| GRPO, third 2 | 0.300 | 0.610 |" in page  # pass@8: what is left by prompts with none right


# Rules of inference time


def pool(seed, prompts=12, n=16):
    """Rewards that are gold plus noise: best-of-n is what there is to gain."""
    rng = np.random.default_rng(seed)
    gold = rng.normal(size=(prompts, n))
    rewards = gold + 0.1 * rng.normal(size=gold.shape)
    return Dataset.from_list(
        [
            {
                "prompt_id": f"p{m}",
                "prompt": f"Prompt {m}?",
                "intent": m // 2,
                "sample_id": i,
                "response": " ".join(["word"] * int(rng.integers(1, 9))),
                "token_ids": [1] * int(rng.integers(1, 9)),
                "reward": float(rewards[m, i]),
                "gold": float(gold[m, i]),
            }
            for m in range(prompts)
            for i in range(n)
        ]
    )


def test_with_a_reward_model_that_is_right_every_rule_is_judged_on_the_same_responses_and_none_helps():
    results = rules.judged_rules(pool(0), pool(1), n=16, draws=2)
    assert results["tuned n"]["setting"] == {"n": 16} and results["tuned n"]["difference"] == 0
    assert not any(result.get("verdict") == "better" for result in results.values())
    assert results["minimum Bayes risk"]["verdict"] == "worse"


def cell(difference, verdict):
    return {"setting": {}, "gold": 1.0, "difference": difference, "low": 0.0, "high": 0.0, "verdict": verdict}


@pytest.mark.parametrize(
    ("verdicts", "words"),
    [
        (["better", "better"], "helps at n = 4, 16, 64, 256"),
        (["better", "not separable"], "buys nothing that every world shows"),
        (["worse", "worse"], "harms at n = 4, 16, 64, 256"),
    ],
)
def test_a_rule_helps_where_every_world_shows_it_and_else_buys_nothing(verdicts, words):
    rows = {
        f"world {k}": {
            kind: {str(n): {"best-of-n": {"gold": 1.0}, "a rule": cell(0.5, verdict)} for n in rules.SIZES}
            for kind in rules.REWARD_MODELS
        }
        for k, verdict in enumerate(verdicts)
    }
    page = rules.overview({"rows": rows})
    assert (
        page.count(words) == len(rules.REWARD_MODELS)
        and "2 with the biased reward model and 2 with the unbiased" in page
    )


def test_the_columns_stand_in_the_order_of_n_however_the_file_sorts_them():
    by_size = {
        str(n): {"best-of-n": {"gold": float(n)}, "a rule": cell(0.0, "not separable")}
        for n in sorted(rules.SIZES, key=str)
    }
    page = rules.text({"rows": {"world": dict.fromkeys(rules.REWARD_MODELS, by_size)}})
    assert "| world, biased: gold of best-of-n | 4.00 | 16.00 | 64.00 | 256.00 |" in page


PAGES = [
    ("rules", rules.text, "selectors.md"),
    ("verifiable", verifiable.text, "verifiable.md"),
    ("variants", verifiable.variants_text, "verifiable.md"),
]


@pytest.mark.parametrize(("name", "make", "page"), PAGES)
def test_the_committed_page_is_made_from_the_committed_results(name, make, page):
    assert make(read(name)).strip() in (rules.DOCS / page).read_text(encoding="utf-8")
