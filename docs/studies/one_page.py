"""Write docs/one_page.md, the course's measured results on one printable page: `make tables`.

Every number comes from docs/results/; a sentence whose file has not been measured yet is left out.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from docs.studies import rl, worlds
from docs.studies.results import DOCS, markdown, mean_and_range, read, signed_interval
from rslib.cache import atomic_write

PAGE = DOCS / "one_page.md"
_HEAD = """# What was measured, on one page

Rejection sampling fine-tuning on the embedded world of this repository: two small transformers, a reward
model with a known defect, and an exact gold score. Sizes of effects belong to this world
([limits.md](limits.md)); the mechanisms are what to take home. Made from [results](results/README.md) by
`make tables`.
"""


def _one_round(content: dict[str, Any]) -> Iterator[str]:
    """Best-of-16, its control and the base policy."""
    cells = content["results"]
    gold = {arm: mean_and_range([c["arms"][arm]["gold"]["mean"] for c in cells]) for arm in cells[0]["arms"]}
    yield (
        f"**One round works, and its control does not.** Gold rises from {gold['base']} to "
        f"{gold['best_of_n']}; a random pick of the same 16 responses ends at {gold['random']} (mean and "
        f"range of {len(cells)} runs). Best-of-16 stands at least "
        f"{min(worlds.z_scores(cells, 'best_of_n', 'random')):.0f} standard errors above that control. "
        "*Notebooks 01 and 04.*"
    )


def _over_optimisation(content: dict[str, Any]) -> Iterator[str]:
    """Where gold turns while the reward goes on."""
    cells = content["results"]
    last = [cell["biased"]["rows"][-1] for cell in cells]
    falls = mean_and_range([row["below_peak"]["difference"] for row in last])
    flat = mean_and_range([cell["unbiased"]["rows"][-1]["below_peak"]["difference"] for cell in cells])
    yield (
        f"**The reward keeps rising, gold turns.** In {len(cells)} trained worlds gold peaks at n = "
        f"{worlds.peaks(cells)}; at n = {last[0]['n']} it stands {falls} against the peak, while the "
        "reward still climbs. With a "
        f"reward model of unbiased labels the difference is {flat}. *Notebook 03.*"
    )


def _flaws(content: dict[str, Any]) -> Iterator[str]:
    """How far numbers tell flaws apart."""
    outcome, probed = (content["classifiers"][name] for name in ("outcome", "report and probes"))
    yield (
        f"**A flaw is seen in its own number, seldom in the score.** Of {len(content['rows'])} kinds of run, "
        f"healthy ones among them, the outcome columns alone name {outcome['accuracy']:.0%} of held-out runs "
        f"rightly; the whole report with its probes names {probed['accuracy']:.0%}. *Notebook 05, "
        "[signatures.md](signatures.md).*"
    )


def _reinforcement(content: dict[str, Any]) -> Iterator[str]:
    """Gold and KL of each method, and PPO without its penalty."""
    cells = list(content["results"].values())
    columns = ("gold", "reward", "kl")
    rows = [
        [candidate.label, *(mean_and_range([cell[name][column] for cell in cells]) for column in columns)]
        for name, candidate in rl.CANDIDATES.items()
    ]
    yield (
        "**PPO gets there as well, held by its KL penalty.** With looks at held-out gold it "
        f"reaches the round of best-of-16 in {rl.reached(cells)} of {len(cells)} seeds. Without the penalty "
        f"gold ends below the base policy in {rl.without_kl(cells, 'gold', -1)} of {len(cells)}, at the "
        "highest reward of all. *Notebook 06, [rl.md](rl.md).*"
    )
    yield markdown(["", "gold", "reward", "KL, nats"], rows)


_GOLD = re.compile(r"(.+) has more gold than (RS-1|its random control) at equal (.+)")


def _arena(content: dict[str, Any]) -> Iterator[str]:
    """How many claims the intervals decide, and the rivals of one round at every budget."""
    counts = Counter(claim["verdict"] for claim in content["claims"])
    verdicts = ", ".join(f"{count} {verdict}" for verdict, count in counts.most_common())
    yield (
        f"**At equal budget it depends on which.** Of {len(content['claims'])} claims about the methods, "
        f"{verdicts}, with {len(content['plan']['seeds'])} seeds and intervals that hold together. "
        "Differences in gold, with the verdict on the claim that the first has more: "
        "*Notebook 07, [arena.md](arena.md).*"
    )
    cells: dict[str, dict[str, str]] = {}
    for claim in content["claims"]:
        if match := _GOLD.fullmatch(claim["claim"]):
            text = f"{claim['mean']:+.2f} [{claim['low']:+.2f}, {claim['high']:+.2f}] {claim['verdict']}"
            cells.setdefault(f"{match[1]} - {match[2]}", {})[match[3]] = text
    budgets = list(next(iter(cells.values())))
    rows = [[name, *(row.get(budget, "") for budget in budgets)] for name, row in cells.items()]
    yield markdown(["", *(f"equal {budget}" for budget in budgets)], rows)


def _program(content: dict[str, Any]) -> Iterator[str]:
    """Rejection sampling and GRPO with a program as the judge."""
    rows, asked = content["rows"], content["differences"]

    def mean(arm: str, name: str) -> str:
        return mean_and_range([row[name] for row in rows[arm].values()])

    def gain(arm: str, other: str) -> str:
        answer = asked[f"pass@1: {arm} over {other}"]
        return f"{signed_interval(answer, 'mean')}, {answer['verdict']}"

    right, group, fooled = "right responses", "GRPO", ", fooled checker"
    yield (
        "**A program as the judge is learned to the letter.** On sums, three rounds of rejection sampling "
        f"move pass@1 from {mean('base', 'pass_at_1')} to {mean(right, 'pass_at_1')}; the difference to the "
        f"same tuning on random responses is {gain(right, 'random responses')}, to GRPO at equal samples "
        f"{gain(right, group)}. pass@16 is {mean('base', 'pass_at_16')} before, {mean(right, 'pass_at_16')} "
        f"after rejection sampling and {mean(group, 'pass_at_16')} after GRPO. With a checker that accepts "
        f"several numbers, these stand in {mean(right + fooled, 'several_numbers')} of the last lines after "
        f"rejection sampling and in {mean(group + fooled, 'several_numbers')} after GRPO, by which pass@1 is "
        f"{mean(group + fooled, 'pass_at_1')}. *Notebook 09, [verifiable.md](verifiable.md).*"
    )


_PARTS = {
    "rounds": _one_round,
    "best_of_n": _over_optimisation,
    "signatures": _flaws,
    "rl": _reinforcement,
    "arena": _arena,
    "verifiable": _program,
}


def rendered() -> str:
    """The whole page."""
    contents = {name: read(name) for name in _PARTS}
    texts = [text for name, part in _PARTS.items() if contents[name] for text in part(contents[name])]
    return "\n\n".join([_HEAD.strip(), *texts]) + "\n"


if __name__ == "__main__":
    atomic_write(PAGE, rendered())
