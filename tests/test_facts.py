"""The table of facts that notebooks share: no two of them count by themselves."""

import re
from pathlib import Path

import pytest

from autograder.build.placeholders import expand
from autograder.exercises import calculator, facts
from rslib.errors import ConfigError

SOLUTIONS = sorted((Path(__file__).resolve().parents[1] / "solutions").glob("*.py"))
ROW = re.compile(r"^# \| `(\w+)` \|.*\| ([^|]*×[^|]*) \|$", re.MULTILINE)


def formulas():
    """(notebook, method, formula) of each table row that begins with a method and ends in passes."""
    texts = ((path.name, path.read_text(encoding="utf-8")) for path in SOLUTIONS)
    rows = [(name, *row.groups()) for name, text in texts for row in ROW.finditer(text)]
    return [row for row in rows if row[1] in facts.RESIDENT]


def test_ppo_costs_8_and_12_an_epoch_for_each_response_and_a_round_4_a_response_and_6_an_epoch():
    assert [facts.passes("ppo", n=1, epochs=e) for e in (1, 4)] == [20, 56]
    assert [facts.passes("rs", n=n, epochs=3) for n in (4, 16)] == [34, 82]


def test_an_unknown_method_is_refused():
    with pytest.raises(ConfigError, match="sft"):
        facts.passes("sft")


@pytest.mark.parametrize("method", facts.RESIDENT)
def test_the_calculator_counts_what_the_table_of_facts_counts(method):
    for n, epochs in ((1, 1), (4, 2), (16, 3)):
        counted = sum(calculator.tuning_flops(1, 1, 1, 1, n, epochs, method, "full"))
        assert counted == facts.passes(method, n, epochs)


def test_every_formula_in_a_table_of_a_notebook_counts_what_the_table_of_facts_counts():
    assert formulas()
    for notebook, method, formula in formulas():
        plain = re.sub(r"[a-z]{2,}", "", formula.replace("×", "*").replace("epochs", "E"))
        for n, epochs in ((4, 1), (16, 3)):
            value = eval(plain, {"n": n, "E": epochs})
            assert value == facts.passes(method, n, epochs), f"{notebook}: {method}: {formula}"


def test_no_cell_counts_the_passes_of_ppo_by_itself():
    for path in SOLUTIONS:
        code = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
        if not path.name.startswith("08"):  # whose exercise is to write the count
            assert not [line for line in code if re.search(r"(8|10) \+ 12 \*", line)], path.name


def test_prose_reads_the_table_of_facts():
    assert expand("{{fact:passes.rs|d}} {{fact:round_of_400.flops|,d}}", "a test") == "82 32,800"
    with pytest.raises(ConfigError):
        expand("{{fact:passes.sft|d}}", "a test")
