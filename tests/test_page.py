"""The page and the text that a reader sees: complete, self-contained, and safe against what a model wrote."""

import json
import re
from html.parser import HTMLParser

import pytest
from fake_tables import arms, pool_and_kept

from rslib import page as rs_page
from rslib import reporting
from rslib.errors import DataError, StoreError
from rslib.formatting import METRICS
from rslib.reporting import Report

EVIL = "<script>alert(1)</script> & \x1b[31mred"


@pytest.fixture(scope="module")
def run():
    pool, kept = pool_and_kept(20, 8)
    provenance = {"parent": "ab" * 32, "seconds": {"sample": 1.5}}
    found = reporting.round_entry(1, arms(20), n=8, pool=pool, kept=kept, provenance=provenance)
    found["transcripts"][0]["arms"]["base"]["response"] = EVIL
    found["transcripts"][0]["prompt"] = EVIL
    return Report([found], {"policy": "<i>tiny</i>"})


@pytest.fixture(scope="module")
def page(run):
    return rs_page._html_page(run)


class Page(HTMLParser):
    """Collects tags and attributes, and checks that they are closed in order."""

    VOID = {"meta", "img", "hr", "br", "input", "wbr"}

    def __init__(self):
        super().__init__()
        self.open, self.tags = [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def parsed(page):
    reader = Page()
    reader.feed(page)
    assert reader.open == []
    return reader.tags


def test_the_page_loads_nothing_from_outside_and_runs_nothing(page):
    for tag, attributes in parsed(page):
        assert tag not in ("script", "link", "iframe", "object")
        assert all(not name.startswith("on") for name in attributes)
        assert attributes.get("src", "data:").startswith("data:") and "href" not in attributes
    assert "default-src 'none'" in page
    assert not re.search(r"url\(|@import", page)


def test_what_a_model_wrote_is_escaped_in_the_page_and_in_the_terminal(page, run):
    assert "<script>alert" not in page and "&lt;script&gt;alert" in page and "<i>tiny" not in page
    text = rs_page.terminal_text(run)
    assert "\x1b" not in text and r"\x1b[31mred" in text


def test_every_image_has_alt_text_and_every_table_caption_and_scopes(page):
    tags = parsed(page)
    images = [attributes for tag, attributes in tags if tag == "img"]
    assert len(images) == 5 and all(len(image["alt"]) > 40 for image in images)
    assert sum(tag == "table" for tag, _ in tags) == sum(tag == "caption" for tag, _ in tags) >= 3
    assert all(attributes.get("scope") in ("row", "col") for tag, attributes in tags if tag == "th")


def test_the_page_holds_claims_table_transcripts_glossary_and_provenance(page, run):
    for claim in run.headlines():
        assert claim in page
    for text in (
        "random-of-8",
        "best-of-8",
        "selection gap",
        "Before and after",
        "ab" * 32,
        "seconds.sample",
    ):
        assert text in page
    assert all(name.replace("_", " ") in page for name in METRICS)
    assert page.count('class="said"') == 3 * 4


def test_the_page_follows_the_readers_theme_and_width(page):
    assert "prefers-color-scheme: dark" in page and 'name="viewport"' in page


def test_the_page_can_be_rebuilt_from_report_json(page, run, tmp_path):
    again = Report.from_dict(json.loads(run.to_json()))
    assert rs_page._html_page(again) == page
    assert rs_page.write_html(again, tmp_path / "report.html").read_text(encoding="utf-8") == page


def test_report_json_is_sorted_and_refuses_nan(run):
    content = json.loads(run.to_json())
    assert list(content) == sorted(content) and content["rounds"][0]["arms"]["best_of_n"]["gold"]["low"] > 0
    with pytest.raises(DataError, match="not finite"):
        Report(run.rounds, {"x": float("inf")}).to_json()


def test_a_folder_that_is_not_there_is_a_store_error(run, tmp_path):
    with pytest.raises(StoreError):
        rs_page.write_html(run, tmp_path / "missing" / "report.html")


def test_an_evaluation_alone_makes_a_page_without_a_selection(tmp_path):
    tables = {"base": arms(8)["base"], "tuned": arms(8)["best_of_n"]}
    alone = Report([reporting.round_entry(1, tables, n=16)])
    page = rs_page._html_page(alone)
    parsed(page)
    assert page.count("<img") == 2 and "What selection did" not in page


def test_one_prompt_alone_makes_a_page_without_figures():
    alone = {name: table.select(range(4)) for name, table in arms(8).items()}
    page = rs_page._html_page(Report([reporting.round_entry(1, alone, n=16)]))
    assert "<img" not in page and "A figure is left out: no interval for" in page


def test_several_rounds_stand_one_after_the_other(run):
    page = rs_page._html_page(Report([*run.rounds, {**run.rounds[0], "round": 2}]))
    assert "<h2>Round 1</h2>" in page and "<h2>Round 2</h2>" in page
    assert "Round 2: best-of-8 beats" in page


def test_terminal_text_keeps_its_width(run):
    table = len(run.text_table().splitlines())
    lines = rs_page.terminal_text(run, width=80).splitlines()
    shown = lines[lines.index("Before and after (response 0 to prompts fixed in advance):") :]
    assert table and all(len(line) <= 80 for line in shown)
