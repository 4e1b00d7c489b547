"""The readme's first screen, its road and its tables; pages in sync with the results."""

import doctest
import re
from pathlib import Path

from docs.studies import one_page, results, tables
from tests.test_docs import make_targets

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
STAGES = ("sample", "score", "select", "finetune", "evaluate")


def blocks(language: str, text: str = README) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.M | re.S)


def test_the_first_screen_shows_sentence_picture_true_output_and_two_commands():
    screen = README.split("\n## ")[0]
    assert len(screen.splitlines()) <= 45
    assert "five_stages.svg" in screen and "```pycon" in screen
    assert {"make demo", "make test"} <= set(re.findall(r"^(make \w+)", screen, flags=re.M))


def test_the_picture_has_a_text_for_those_who_do_not_see_it():
    text = re.search(r'five_stages\.svg"[^>]*alt="([^"]+)"', README).group(1)
    svg = (ROOT / "docs/figures/five_stages.svg").read_text(encoding="utf-8")
    for stage in ("sample", "score", "select", "fine-tune", "evaluate"):
        assert stage in text.lower() and stage in svg
    assert "<title" in svg and "<desc" in svg and "prefers-color-scheme: dark" in svg


def test_the_stages_stand_in_the_order_in_which_they_run():
    road = next(block for block in blocks("python") if "rslib.finetune" in block)
    places = [road.index(f"rslib.{stage}(") for stage in STAGES]
    assert places == sorted(places)


def test_the_commands_table_has_a_line_without_make_for_each_daily_target():
    table = README.split("## Commands")[1]
    rows = re.findall(r"^\| `make ([a-z-]+)` \|[^|]*\| (.+) \|$", table, flags=re.M)
    parts = {"clean", "colab", "help", "lint", "measure", "tables", "try-wheel"}  # parts of others
    assert {name for name, _ in rows} == make_targets() - parts
    assert all(".venv\\Scripts\\" in line for _, line in rows)


def test_the_metrics_page_lists_exactly_the_numbers_of_the_report():
    from rslib.formatting import METRICS

    page = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([a-z_]+) \| ([^|]+) \| ([^|]+) \|$", page, flags=re.M)
    rows = [row for row in rows if row[0] != "name"]
    assert {name: unit for name, unit, _ in rows} == {name: unit for name, (unit, _) in METRICS.items()}
    assert len(rows) == len(METRICS)


def test_the_tables_of_the_pages_are_made_from_the_results():
    assert doctest.testmod(results).failed == 0
    assert tables.readme(README) == README, "run: make tables"
    rl = tables.RL.read_text(encoding="utf-8")
    assert tables.rl_page(rl) == rl, "run: make tables"
    scale = tables.SCALE.read_text(encoding="utf-8")
    assert tables.scale_page(scale) == scale, "run: make tables"
    assert one_page.rendered() == one_page.PAGE.read_text(encoding="utf-8"), "run: make tables"
