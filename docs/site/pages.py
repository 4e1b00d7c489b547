"""A page of the site: Markdown to HTML, links between files made links between pages, the frame."""

from __future__ import annotations

import base64
import io
import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape, unescape
from pathlib import Path
from urllib.parse import urlsplit

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from matplotlib import rc_context
from matplotlib.font_manager import FontProperties
from matplotlib.mathtext import math_to_image
from mdit_py_plugins.anchors import anchors_plugin
from mdit_py_plugins.dollarmath import dollarmath_plugin
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name
from pygments.util import ClassNotFound

from autograder.build.placeholders import ROOT
from rslib.errors import DataError

STYLE = Path(__file__).with_name("style.css")
SECTIONS = {
    "index.html": "Start",
    "course/index.html": "Course",
    "guides/index.html": "Guides",
    "api/index.html": "Reference",
    "results/index.html": "Results",
    "guides/glossary.html": "Glossary",
    "guides/coming_from.html": "Coming from",
}
"""What stands in the bar on top of every page."""
SECRET = ("solutions/", "autograder/keys/", "autograder/wrong/")
"""Folders of which the site holds nothing."""
SHORT = 12
"""Characters of an entry that needs no room in a table on a phone."""
_CELL = re.compile(r"<(td|th scope=.row.)([^>]*)>(.*?)</(t[hd])>", flags=re.S)
_LINK = re.compile(r'\b(href|src)="([^"]+)"')


@dataclass(frozen=True)
class Page:
    """One page: its address, its title, its body, the file that it was made of, its group in the menu."""

    path: str
    title: str
    body: str
    source: Path
    group: str = ""

    @property
    def section(self) -> str:
        """The address of the section's first page."""
        return f"{self.path.split('/')[0]}/index.html" if "/" in self.path else self.path


def highlighted(code: str, language: str) -> str:
    """Code with its words in classes; plain where the language is unknown."""
    try:
        lexer = get_lexer_by_name(language)
    except ClassNotFound:
        lexer = get_lexer_by_name("text")
    return highlight(code, lexer, HtmlFormatter(cssclass=f"code {language}", wrapcode=True))


def rendered(text: str, source: Path, tags: bool = True) -> str:
    """The HTML of a Markdown text, in which HTML `tags` may stand; `source` is the file that holds the text.

    Addresses of files are made paths from the root of the repository (`repo:docs/x.md`), for `write`.
    """
    html = roomy(_markdown(tags).render(text))
    return _LINK.sub(lambda link: f'{link[1]}="{_from_root(link[2], source)}"', html)


def _from_root(address: str, source: Path) -> str:
    if urlsplit(address).scheme or address.startswith("#"):
        return address
    path, _, anchor = address.partition("#")
    whole = Path(os.path.normpath(source.parent / path)).relative_to(ROOT).as_posix()
    return f"repo:{whole}" + (f"#{anchor}" if anchor else "")


def _markdown(tags: bool) -> MarkdownIt:
    markdown = MarkdownIt("commonmark", {"html": tags}).enable("table")
    markdown.use(anchors_plugin, max_level=4, permalink=True, permalinkSymbol="#")
    markdown.use(dollarmath_plugin, renderer=_formula, allow_digits=False, allow_space=False)
    markdown.add_render_rule("fence", _fence)
    markdown.add_render_rule("table_open", lambda *_: '<div class="scroll" tabindex="0"><table>')
    markdown.add_render_rule("table_close", lambda *_: "</table></div>")
    return markdown


def _fence(self: RendererHTML, tokens: Sequence[Token], index: int, options: object, env: object) -> str:
    return highlighted(tokens[index].content, tokens[index].info.partition(" ")[0] or "text")


def roomy(html: str) -> str:
    """The HTML with the class `long` on each cell below a table's head whose text needs room on a phone.

    >>> roomy("<td>two words</td><td>a sentence of several words</td>")
    '<td>two words</td><td class="long">a sentence of several words</td>'
    """
    return _CELL.sub(lambda cell: cell[0] if _is_short(cell[3]) else _long(cell), html)


def _is_short(content: str) -> bool:
    """Whether a cell's text is short, or one word, which cannot be broken."""
    text = unescape(re.sub("<.*?>", "", content)).strip()
    return len(text) <= SHORT or len(text.split()) == 1


def _long(cell: re.Match) -> str:
    return f'<{cell[1]} class="long"{cell[2]}>{cell[3]}</{cell[4]}>'


def _formula(tex: str, options: dict[str, bool]) -> str:
    """A formula as a picture with its TeX as text: drawn here, so that the reader's browser loads nothing."""
    tex = " ".join(tex.split())  # a long formula may stand on several lines
    for plain in (r"\\big", r"\\Big", r"\\bigl", r"\\bigr"):  # a picture's brackets have one size
        tex = re.sub(plain + r"(?![a-z])", "", tex)
    picture, size = io.BytesIO(), FontProperties(size=18 if options["display_mode"] else 12)
    with rc_context({"savefig.transparent": True}):
        depth = math_to_image(f"${tex}$", picture, size, dpi=72, format="svg")
    data = base64.b64encode(picture.getvalue()).decode()
    shift = "" if options["display_mode"] else f' style="vertical-align:-{depth / 12:.2f}em"'
    image = f'<img class="formula" alt="{escape(tex)}"{shift} src="data:image/svg+xml;base64,{data}">'
    return f'<p class="scroll" tabindex="0">{image}</p>' if options["display_mode"] else image


def title_of(text: str) -> str:
    """The first heading of a Markdown text, without its marks."""
    return re.sub(r"[`*]", "", re.search(r"^# (.+)$", text, flags=re.M)[1])


def part_of(source: Path, heading: str) -> str:
    """What stands below a heading of the second level, up to the next one."""
    return source.read_text(encoding="utf-8").split(f"\n## {heading}\n")[1].split("\n## ")[0]


# The frame ------------------------------------------------------------------------------------------------


def write(pages: Sequence[Page], out: Path) -> None:
    """Write every page and what they show. Raises DataError for a link that leads nowhere."""
    addresses = {page.source.relative_to(ROOT).as_posix(): page.path for page in pages}
    shutil.copyfile(STYLE, _made(out / "style.css"))
    (out / ".nojekyll").touch()  # else GitHub Pages leaves out what begins with _
    for page in pages:
        html = _LINK.sub(lambda link, page=page: _site_link(link, page, addresses, out), framed(page, pages))
        _made(out / page.path).write_text(html, encoding="utf-8")


def _made(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _site_link(link: re.Match, page: Page, addresses: dict[str, str], out: Path) -> str:
    kind, _, address = link[2].partition(":")
    name, _, anchor = address.partition("#")
    if kind == "repo":
        target = addresses.get(name) or addresses.get(f"{name}/README.md") or _copied(name, page, out)
    elif kind == "file":
        target = _copied(name, page, out)
    else:
        return link[0]
    return f'{link[1]}="{relative(target, page.path)}{"#" + anchor if anchor else ""}"'


def _copied(name: str, page: Page, out: Path) -> str:
    """The address of a file that is no page: a copy of it."""
    if not (ROOT / name).is_file() or name.startswith(SECRET):
        raise DataError(f"{page.source}: the site has no {name}", fix="Link to a page or a file beside it.")
    shutil.copyfile(ROOT / name, _made(out / "files" / name))
    return f"files/{name}"


def relative(target: str, path: str) -> str:
    """The address of a page as another page links to it.

    >>> relative("api/index.html", "guides/gpu.html")
    '../api/index.html'
    """
    return os.path.relpath(target, Path(path).parent)


def framed(page: Page, pages: Sequence[Page]) -> str:
    """The whole HTML of a page."""
    bar = "".join(
        _entry(path, name, page, path in (page.path, page.section)) for path, name in SECTIONS.items()
    )
    return FRAME.format(
        title=escape(page.title if page.path == "index.html" else f"{page.title} - rslib"),
        style=relative("style.css", page.path),
        bar=bar,
        body=page.body,
        menu=_menu(page, pages),
    )


def _entry(path: str, name: str, page: Page, current: bool) -> str:
    mark = ' aria-current="page"' if current else ""
    return f'<li><a href="{relative(path, page.path)}"{mark}>{escape(name)}</a></li>'


def _menu(page: Page, pages: Sequence[Page]) -> str:
    """The pages of the section under the names of their groups; nothing where the page is alone."""
    siblings = [other for other in pages if other.section == page.section]
    if len(siblings) == 1:
        return ""
    groups = {other.group: [] for other in siblings}
    for other in siblings:
        groups[other.group].append(_entry(other.path, other.title, page, other is page))
    lists = (f"<h2>{escape(name)}</h2><ul>{''.join(items)}</ul>" for name, items in groups.items())
    return MENU.format("".join(lists).replace("<h2></h2>", ""))


MENU = '<aside><nav aria-label="Pages of this section" id="menu">{}</nav></aside>'
FRAME = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="{style}">
</head>
<body>
<a class="skip" href="#text">To the text</a>
<header><nav aria-label="Sections"><ul>{bar}</ul></nav></header>
<div class="columns">
<main id="text">
{body}
</main>
{menu}
</div>
<footer><p>Code under Apache-2.0, prose and figures under CC BY 4.0.
No page asks the network for anything.</p></footer>
</body>
</html>
"""
