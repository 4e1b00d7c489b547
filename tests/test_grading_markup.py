"""What a learner wrote is text in every page that shows it: formgrader, nbgrader's feedback, our feedback.

The pages are made by nbconvert itself. The elements and attributes of a page with attacks must be those of
the same page with harmless words; a browser that opens it must run nothing.
"""

import base64
import struct
import time
import zlib
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import nbgrader
import pytest
import soupsieve
from nbconvert.exporters import HTMLExporter
from traitlets.config import Config

from autograder.grading import doctor
from autograder.grading.inside import outputs
from autograder.grading.pages import as_typed, feedback, typed
from tests import markup

TEMPLATES = Path(nbgrader.__file__).parent / "server_extensions" / "formgrader" / "templates"
HARMLESS = "def words(x):\n    return 'harmless' + str(1.5)  # words"
NAMES = ("base_url", "submission_id", "notebook_id", "assignment_id", "notebook_path", "student")
FORMGRADER = dict.fromkeys(NAMES, "x") | {"index": 0, "total": 1, "last_name": "", "first_name": ""}
FEEDBACK = {"nbgrader": {"notebook": "hw", "score": 1.0, "max_score": 2.0, "late_penalty": 0.0}}
CELL = {"points": 1.0, "out_of": 2.0, "by_hand": False, "where": "hw/c1"}


def test_the_doctor_finds_that_pages_can_be_made():
    assert doctor.no_pages() == ""


def test_the_doctor_says_what_to_do_where_patterns_are_misread(monkeypatch):
    """As Python 3.11.2 does with soupsieve 3: the first character of every selector is invalid."""
    monkeypatch.setattr(soupsieve.css_parser.SelectorPattern, "match", lambda *_: None)
    soupsieve.purge()
    said = doctor.no_pages()
    assert said.startswith("SelectorSyntaxError with Python") and "pip install 'soupsieve<3'" in said


def exporter(template, css=()):
    settings = Config()
    settings.HTMLExporter.template_name = template
    settings.HTMLExporter.extra_template_basedirs = [str(TEMPLATES)]
    settings.HTMLExporter.extra_template_paths = list(css)
    return HTMLExporter(config=settings)


@pytest.fixture(scope="module")
def pages():
    """A function: the three pages of a notebook, by name."""
    css = TEMPLATES.parent / "static" / "node_modules" / "bootstrap" / "dist" / "css"
    made = {"formgrader": exporter("formgrade"), "nbgrader's feedback": exporter("feedback", [str(css)])}
    given = {"formgrader": FORMGRADER, "nbgrader's feedback": FEEDBACK}

    def render(nb, told=("",)):
        for cell in nb.cells:
            if known := cell.metadata.get("nbgrader"):
                known |= {"score": 1.0, "comment": None}
        found = {name: one.from_notebook_node(nb, given[name])[0] for name, one in made.items()}
        cells = {text: CELL | {"why": text} for text in told}
        record = {"points": 1.0, "out_of": 2.0, "problem": told[0], "notes": list(told), "cells": cells}
        return found | {"our feedback": feedback(record, nb, told[0])}

    return render


class Elements(HTMLParser):
    """Every element of a page with its attributes, and every comment, counted; colours of code apart."""

    def __init__(self, page):
        super().__init__(convert_charrefs=True)
        self.found = Counter()
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attributes):
        coloured = tag == "span" and {name for name, _ in attributes} <= {"class"}
        self.found[tag, "" if coloured else str(attributes)] += not coloured

    def handle_comment(self, data):
        self.found["a comment", data[:40]] += 1

    def handle_decl(self, decl):
        self.found["a declaration", decl[:40]] += 1

    def handle_pi(self, data):
        self.found["an instruction", data[:40]] += 1


def strange(pages, texts):
    """By page: the elements that are there more or less often than with harmless texts."""
    words = [f"{HARMLESS} {k}" for k in range(len(texts))]
    plain = pages(markup.graded(words), words)
    made = pages(markup.graded(texts), texts)
    return {name: differing(page, plain[name]) for name, page in made.items()}


def differing(one, other):
    return dict(Elements(one).found - Elements(other).found) | dict(
        Elements(other).found - Elements(one).found
    )


NOTHING = {"formgrader": {}, "nbgrader's feedback": {}, "our feedback": {}}


@pytest.mark.parametrize("start", range(0, len(markup.PAYLOADS), 16))
def test_no_text_of_a_learner_adds_an_element_or_an_attribute(pages, start):
    assert strange(pages, markup.PAYLOADS[start : start + 16]) == NOTHING


@pytest.mark.parametrize("seed", range(2))
def test_no_payload_with_pieces_of_markup_put_into_it_adds_one(pages, seed):
    assert strange(pages, [markup.mutated(1000 * seed + k) for k in range(12)]) == NOTHING


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 130))
def test_no_payload_of_a_longer_search_adds_one(pages, seed):
    assert strange(pages, [markup.mutated(1000 * seed + k, 30) for k in range(40)]) == NOTHING


@pytest.mark.parametrize("text", [t for t in markup.TAGS if "<\\" not in t and t.isprintable()])
def test_the_comparison_sees_markup_that_is_let_through(pages, text):
    shown = [nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(t)]) for t in (text, HARMLESS)]
    assert differing(*(pages(nb)["formgrader"] for nb in shown))


@pytest.mark.parametrize("text", [*markup.PAYLOADS, "", "\n", "&amp;#60; \\\\ a_b *c*", "é ü 日本"])
def test_a_text_is_read_back_as_it_was_typed(text):
    clean = text.encode("utf-8", "replace").decode()
    assert typed(as_typed(clean)) == clean


LONG = 120_000
WORST = {
    "attributes": "a." * (LONG // 2),
    "blank lines": " \n" * (LONG // 2),
    "brackets": "[" * LONG,
    "emphasis": "*a _b " * (LONG // 6),
    "backticks": "`" * LONG,
    "tags": "<a " * (LONG // 3),
    "a magic": "%%perl\n" + "s{" * (LONG // 2),
    "quotes": "> " * (LONG // 2),
    "dollars": "$" * LONG,
}


def seconds(texts):
    """Processor seconds that nbgrader's formgrader needs for a notebook with these texts everywhere."""
    made, nb, start = exporter("formgrade"), markup.graded(texts), time.process_time()
    made.from_notebook_node(nb, FORMGRADER)
    return time.process_time() - start


@pytest.mark.parametrize("kind", ["attributes", "blank lines"])
def test_a_notebook_that_is_made_to_be_slow_is_shown_in_seconds(kind):
    assert seconds([WORST[kind]] * 4) < 20


@pytest.mark.slow
@pytest.mark.parametrize("kind", sorted(WORST))
def test_every_kind_of_notebook_that_is_made_to_be_slow_is_shown_in_seconds(kind):
    assert seconds([WORST[kind]] * 100) < 20


def test_what_is_left_out_of_a_long_notebook_is_told_in_its_cells():
    nb = markup.graded(["word " * 30_000] * 3)
    shown = [typed(cell.source) for cell in nb.cells]
    assert sum(map(len, shown)) < 300_000
    assert all("the rest was left out" in text for text in shown[2:])


def png(width, height, more=b""):
    """A PNG that says that it has so many pixels."""
    parts = (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)), (b"teXt", more), (b"IEND", b"")
    chunks = (struct.pack(">I", len(d)) + t + d + struct.pack(">I", zlib.crc32(t + d)) for t, d in parts)
    return base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"".join(chunks)).decode()


def shown(data):
    """What is kept of an output with this data."""
    [output] = outputs.kept([{"output_type": "display_data", "data": data}], 1000, 10**6)
    return output["data"]


def test_a_picture_is_kept_as_base64_of_a_png_whatever_else_its_bytes_are():
    script = png(10, 10, b"<script>window.acted=1</script>")
    assert shown({"image/png": script}) == {"image/png": script}
    assert "image/png" not in shown({"image/png": base64.b64encode(b"<script>").decode()})


@pytest.mark.parametrize("size", [(60_000, 60_000), (0, 5), (2**32 - 1, 1)])
def test_a_picture_that_would_fill_a_browsers_memory_is_left_out_and_named(size):
    assert shown({"image/png": png(*size), "text/plain": "x"}) == {"text/plain": outputs.LARGE}


@pytest.mark.parametrize("kind", ["text/html", "image/svg+xml", "application/javascript", "text/latex"])
def test_an_output_of_another_kind_is_left_out_and_named(kind):
    assert shown({kind: "<b>"}) == {"text/plain": outputs.UNKNOWN}
    assert shown({kind: "<b>", "text/plain": "a frame"}) == {"text/plain": "a frame"}


def test_a_picture_that_the_instructors_markdown_carries_is_shown(pages):
    carried = {"a.png": {"image/png": png(1, 1)}}
    nb = markup.graded(["x"], markup.cell(0, "markdown", "plain", "![a](attachment:a.png)", carried))
    assert f'src="data:image/png;base64,{png(1, 1)}"' in pages(nb)["formgrader"]


# In a browser -----------------------------------------------------------------------------------------------

browser = pytest.importorskip("tests.browser")
needs_browser = pytest.mark.skipif(
    not (browser.CHROMIUM and browser.DRIVER), reason="needs chromium and chromedriver"
)
ACTED = "return window.acted === 1"


def acted(driver, path, page):
    """Whether a page that is opened from a file runs a script of a learner, also when a link is pressed."""
    path.write_text(page, encoding="utf-8", errors="replace")
    driver.get(path.as_uri())
    driver.execute_script("document.querySelectorAll('[href^=\"javascript\" i]').forEach(e => e.click())")
    return bool(driver.execute_script(ACTED))


@needs_browser
def test_a_browser_runs_nothing_of_a_learners_on_any_page(pages, tmp_path):
    made = pages(markup.graded(markup.PAYLOADS), markup.PAYLOADS)
    with browser.chromium() as driver:
        assert [name for name, page in made.items() if acted(driver, tmp_path / "page.html", page)] == []


@pytest.mark.long
@needs_browser
def test_a_browser_runs_these_where_markdown_is_let_through(tmp_path):
    let_through = exporter("classic")
    with browser.chromium() as driver:
        for text in (markup.TAGS[0], markup.TAGS[4], *markup.TAGS[19:21], markup.WRITTEN[0]):
            nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(text)])
            assert acted(driver, tmp_path / "page.html", let_through.from_notebook_node(nb)[0]), text
