"""The site: it builds offline, every link leads somewhere, it loads nothing, and it gives no answer away."""

import doctest
import itertools
import re
import time
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat
import pytest

from autograder.build.release import NOTEBOOKS, scripts
from docs.site import __main__ as command
from docs.site import notebooks, pages, reference, results
from docs.site.pages import SECRET, SECTIONS
from rslib.errors import ConfigError
from tests.test_docstrings import parse, public_definitions

ROOT = Path(__file__).resolve().parents[1]
REGION = re.compile(r"### BEGIN SOLUTION\n(.*?)### END SOLUTION", flags=re.S)
LINE = 20
"""A line of a solution that has fewer characters says nothing that another could not say."""
LOADED = {"img": "src", "script": "src", "link": "href", "iframe": "src", "source": "src", "object": "data"}


class Parsed(HTMLParser):
    """What the tests ask of a page: its text, its ids, its links, what it loads, pictures without a text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.words, self.ids, self.links, self.loads, self.bare = [], [], [], [], []
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        self.text = "".join(self.words)

    def handle_starttag(self, tag: str, attrs: list) -> None:
        named = dict(attrs)
        self.ids += [named["id"]] if "id" in named else []
        self.links += [named["href"]] if tag == "a" else []
        self.loads += [named.get(LOADED[tag], "")] if tag in LOADED else []
        self.bare += [named] if tag == "img" and not named.get("alt") else []

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def build(out: Path, *options: str) -> dict[str, Parsed]:
    assert command.main(["--out", str(out), *options]) == 0
    return {path.relative_to(out).as_posix(): Parsed(path) for path in out.rglob("*.html")}


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return tmp_path_factory.mktemp("site")


@pytest.fixture(scope="module")
def site(out):
    return build(out, "--no-run")


def leading_nowhere(out, site):
    """Links of a site to a page, a file or a place in a page that is not there."""
    for name, page in site.items():
        for link in page.links:
            url = urlsplit(link)
            if url.scheme in ("http", "https", "mailto"):
                continue
            target = (out / name).parent / unquote(url.path) if url.path else out / name
            inside = target.resolve().relative_to(out.resolve()).as_posix()
            if not target.is_file() or (url.fragment and unquote(url.fragment) not in site[inside].ids):
                yield f"{name}: {link}"


def unquoted(path: Path) -> str:
    """The text of a file, with the quotes of JSON as they were written."""
    return path.read_text(encoding="utf-8").replace('\\"', '"')


def given_away(out, site):
    """Lines of solutions in a page or a file that neither the released notebook nor a handout holds."""
    handouts = "\n".join(map(unquoted, (ROOT / "autograder" / "handouts").glob("*.txt")))
    texts = {name: page.text for name, page in site.items()}
    files = (path for path in (out / "files").rglob("*") if path.is_file())
    texts |= {path.name: unquoted(path) for path in files}
    for script in scripts():
        released = unquoted(NOTEBOOKS / f"{script.stem}.ipynb") + handouts
        regions = REGION.findall(script.read_text(encoding="utf-8"))
        lines = {line.strip() for region in regions for line in region.splitlines()}
        lines = {line for line in lines if len(line) >= LINE and line not in released}
        for line in lines:
            yield from (f"{name}: {line}" for name, text in texts.items() if line in text)


def test_every_link_leads_to_a_page_and_a_place_that_are_there(out, site):
    assert not list(leading_nowhere(out, site))


def test_a_link_that_leads_nowhere_would_be_noticed(tmp_path):
    (tmp_path / "a.html").write_text(
        '<p id="x"></p><a href="b.html">1</a><a href="#y">2</a><a href="#x">3</a>'
    )
    assert list(leading_nowhere(tmp_path, {"a.html": Parsed(tmp_path / "a.html")})) == [
        "a.html: b.html",
        "a.html: #y",
    ]


def test_no_page_loads_anything_from_elsewhere(out, site):
    loads = {load for page in site.values() for load in page.loads}
    assert loads and not [load for load in loads if re.match(r"(https?:)?//", load)]
    assert not re.findall(r"@import|url\(", (out / "style.css").read_text(encoding="utf-8"))
    assert not [name for name, page in site.items() if "<script" in page.source]


def test_no_page_gives_an_answer_of_a_solved_notebook_away(out, site):
    assert not list(given_away(out, site))
    assert not [
        path
        for path in (out / "files").rglob("*")
        if path.relative_to(out / "files").as_posix().startswith(SECRET)
    ]


def test_an_answer_that_is_given_away_would_be_noticed(tmp_path):
    answer = max(REGION.findall(scripts()[1].read_text(encoding="utf-8")), key=len)
    (tmp_path / "a.html").write_text(f"<pre>{answer}</pre>")
    assert list(given_away(tmp_path, {"a.html": Parsed(tmp_path / "a.html")}))


def test_every_public_name_of_the_engine_has_its_entry(site):
    ids = {name for page in site.values() for name in page.ids}
    missing = []
    for path in (ROOT / "rslib").rglob("*.py"):
        module = path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".").removesuffix(".__init__")
        named = [f"{module}.{name}" for name, _ in public_definitions(parse(path))]
        missing += [name for name in named if name not in ids and module != "rslib"]
    assert not missing


def test_every_page_has_language_title_and_viewport_and_each_picture_a_text(site):
    for name, page in site.items():
        assert '<html lang="en">' in page.source and "width=device-width" in page.source, name
        assert re.search(r"<title>[^<]{3,}</title>", page.source), name
        assert not page.bare, name
        assert page.source.count("<h1") == 1, name


def test_no_page_has_the_same_id_twice(site):
    twice = {name: sorted({i for i in page.ids if page.ids.count(i) > 1}) for name, page in site.items()}
    assert not {name: ids for name, ids in twice.items() if ids}


def test_every_page_is_reached_from_the_start(out, site):
    reached, left = set(), ["index.html"]
    while left:
        name = left.pop()
        if name not in reached and name in site:
            reached.add(name)
            targets = ((out / name).parent / urlsplit(link).path for link in site[name].links)
            left += [
                t.resolve().relative_to(out.resolve()).as_posix() for t in targets if t.suffix == ".html"
            ]
    assert reached == set(site) and set(SECTIONS) <= reached


def test_every_notebook_every_guide_and_every_result_has_a_page(site):
    stems = {Path(name).stem for name in site}
    sources = [
        *NOTEBOOKS.glob("*.ipynb"),
        *(ROOT / "docs").glob("*.md"),
        *(ROOT / "docs/results").glob("*.json"),
    ]
    assert {path.stem for path in sources} <= stems


def test_a_folder_that_holds_something_else_is_not_replaced(tmp_path):
    (tmp_path / "letter.txt").write_text("mine")
    with pytest.raises(ConfigError, match="holds something else"):
        command.main(["--no-run", "--out", str(tmp_path)])
    assert (tmp_path / "letter.txt").exists()


@pytest.mark.parametrize("module", [pages, reference, results], ids=lambda module: module.__name__)
def test_the_examples_of_the_builder_hold(module):
    assert doctest.testmod(module).attempted and not doctest.testmod(module).failed


def test_an_example_in_a_docstring_is_shown_as_code_and_a_sign_as_a_sign():
    html = reference.described("Whether a < b.\n\n>>> 1 < 2\nTrue\n", ROOT / "rslib" / "tables.py")
    assert "<p>Whether a &lt; b.</p>" in html
    assert 'class="code pycon"' in html and "True" in html and "blockquote" not in html


def test_what_prints_an_answer_is_left_out_and_figures_and_other_outputs_stay():
    from nbformat import v4

    def cell(source, text, grade_id=""):
        figure = v4.new_output("display_data", {"image/png": "iVBO"})
        known = {"nbgrader": {"grade_id": grade_id, "solution": True}} if grade_id else {}
        outputs = [v4.new_output("stream", text=text), figure]
        return v4.new_code_cell(source, id=text, outputs=outputs, metadata=known)

    cells = [
        cell("guess = 1\npredict('a', guess)", "prediction", "predict_a"),
        cell("print(guess)", "free"),
        cell("def f(x): ...\norder = ['a', 'b']", "answer", "1_1"),
        cell("print(f(2))", "function"),
        cell("result = run(order)\nresult", "told"),
        cell("result", "told-again"),
        cell("result = 3\nprint(result)", "bound-anew"),
        cell("print(result)", "and-free"),
    ]
    shown = notebooks._outputs(v4.new_notebook(cells=cells))
    counts = {name: len(outputs) for name, outputs in shown.items()}
    assert counts == {
        name: 2 for name in ("free", "function", "told", "told-again", "bound-anew", "and-free")
    }
    told = shown["told"]
    assert told[0].text == notebooks.LEFT_OUT and notebooks._is_figure(told[1])


def test_a_printed_sentence_may_be_broken_and_a_row_of_a_printed_table_may_not():
    v4 = pytest.importorskip("nbformat").v4
    output = v4.new_output("stream", text="a <sentence> of words\nrow   1   2")
    shown = notebooks._output(output)
    assert "<span>a &lt;sentence&gt; of words</span>\nrow   1   2" in shown


def test_what_was_printed_in_pieces_is_one_text():
    v4 = pytest.importorskip("nbformat").v4
    pieces = [v4.new_output("stream", text=text) for text in ("n  share\n", "1   0.50\n")]
    (joined,) = notebooks._joined(pieces)
    assert "n  share\n1   0.50" in notebooks._output(joined) and pieces[0].text == "n  share\n"


# In a browser, and with outputs ---------------------------------------------------------------------------

browser = pytest.importorskip("tests.browser")
needs_browser = pytest.mark.skipif(
    not (browser.CHROMIUM and browser.DRIVER), reason="needs chromium and chromedriver"
)
OPENED = "document.querySelectorAll('details').forEach(e => e.open = true)"
WIDE = "return document.scrollingElement.scrollWidth - document.documentElement.clientWidth"
ASKED = "return performance.getEntriesByType('resource').map(e => e.name)"
PALE = """
const number = text => text.match(/[\\d.]+/g).map(Number);
const linear = v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
const light = c => [0.2126, 0.7152, 0.0722].reduce((sum, weight, i) => sum + weight * linear(c[i] / 255), 0);
const ground = e => {
  const c = number(getComputedStyle(e).backgroundColor);
  return c[3] === 0 ? ground(e.parentElement) : c;
};
const pale = {}, walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const e = walker.currentNode.parentElement;
  if (!walker.currentNode.data.trim() || e.closest('.header-anchor') || !e.checkVisibility()) continue;
  const [a, b] = [light(number(getComputedStyle(e).color)), light(ground(e))];
  const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  if (ratio < 4.5) pale[`${e.tagName}.${e.className}`] = ratio;
}
return pale;
"""
"""Contrast as WCAG 2.2 (1.4.3) counts it, of every text that can be seen."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The site with what the solved notebooks show."""
    out = tmp_path_factory.mktemp("whole")
    return out, build(out)


@pytest.mark.long
def test_the_outputs_of_the_solved_notebooks_give_no_answer_away_and_have_texts(whole):
    out, site = whole
    assert not list(given_away(out, site)) and not list(leading_nowhere(out, site))
    figures = [
        name for name, page in site.items() if name.startswith("course/") and "data:image/png" in page.source
    ]
    assert len(figures) >= 7
    assert not [name for name, page in site.items() if str(pages.ROOT) in page.source]
    assert not [name for name, page in site.items() if page.bare]


def faults(driver, address):
    """What is wrong with a page as it is shown: too wide, too pale, foreign addresses, errors."""
    driver.get(address)
    driver.execute_script(OPENED)
    foreign = [name for name in driver.execute_script(ASKED) if not name.startswith(("file:", "data:"))]
    shown = (driver.execute_script(WIDE), driver.execute_script(PALE), foreign, driver.get_log("browser"))
    return [fault for fault in shown if fault]


@pytest.mark.long
@needs_browser
def test_every_page_fits_a_phone_and_a_desk_in_light_and_dark(whole):
    out, site = whole
    wrong = {}
    browser.PICTURES.mkdir(parents=True, exist_ok=True)
    with browser.chromium() as driver:
        for width, scheme in itertools.product((1280, 400), ("light", "dark")):
            browser.emulate(driver, width, scheme)
            for name in sorted(site):
                wrong[name, width, scheme] = faults(driver, f"file://{out}/{name}")
            driver.get(f"file://{out}/index.html")
            driver.save_screenshot(str(browser.PICTURES / f"site_{width}_{scheme}.png"))
    assert not {where: what for where, what in wrong.items() if what}


@pytest.mark.long
@needs_browser
def test_a_page_that_is_too_wide_too_pale_or_asks_elsewhere_would_be_noticed(tmp_path):
    page = tmp_path / "a.html"
    page.write_text(
        '<html style="background: #fff"><body><p style="width: 2000px; color: #999">x</p>'
        '<img src="http://127.0.0.1:9/a.png"></body></html>'
    )
    with browser.chromium() as driver:
        browser.emulate(driver, 400, "light")
        assert len(faults(driver, f"file://{page}")) == 4


def test_a_notebook_that_two_ask_for_at_once_runs_once(monkeypatch, tmp_path):
    """Two runs would meet in its run folders."""
    runs = []

    def execute(script, folder):
        runs.append(script)
        time.sleep(0.3)
        return nbformat.v4.new_notebook()

    monkeypatch.setattr(notebooks, "EXECUTED", tmp_path / "executed")
    monkeypatch.setattr(notebooks.rendering, "execute", execute)
    with ThreadPoolExecutor(2) as threads:
        one, other = threads.map(notebooks.executed, scripts()[:1] * 2)
    assert one == other and len(runs) == 1
