"""Write the site: `python -m docs.site`, or `make site`.

python -m docs.site                      build/site, with what the solved notebooks show (they are run once)
python -m docs.site --no-run --out x     the notebooks as students get them, without outputs: seconds
"""

from __future__ import annotations

import argparse
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from autograder.build.placeholders import ROOT
from autograder.build.release import NOTEBOOKS, scripts
from docs.site import notebooks, pages, reference, results
from docs.site.pages import Page
from docs.studies.results import DOCS
from rslib.errors import ConfigError

GROUPS = {
    "Begin": "README colab prompts glossary coming_from",
    "The engine": "prompts metrics selectors world limits gpu scale",
    "For a class": "instructor grading-any-course memo_rubric",
}
"""The guides by group, in their order; those that no group names stand under "The project"."""
MEASURED = "one_page architectures arena rl signatures log"
"""The pages of docs/ that stand with the results."""

_NOTE = (
    "<p>The pages show the notebooks as they are handed out, with what they show when they have run. "
    "Your cells stand empty, and what would print their answers is left out.</p>"
)


def all_pages(run: bool) -> Iterator[Page]:
    """Every page of the site, in the order of its menus; `run` asks for the notebooks' outputs."""
    start = Path(__file__).with_name("index.md")
    yield Page("index.html", "rslib: rejection sampling fine-tuning", _html(start), start)
    yield from _course(run)
    yield from _guides()
    yield from reference.pages()
    first, *files = results.pages()
    yield first
    yield from (_guide(DOCS / f"{name}.md", "results", "In words and figures") for name in MEASURED.split())
    yield from files


def _html(source: Path) -> str:
    return pages.rendered(source.read_text(encoding="utf-8"), source)


def _course(run: bool) -> Iterator[Page]:
    """The course's table of contents out of the README, then one page a notebook."""
    readme = ROOT / "README.md"
    body = f"<h1>The course</h1>{_NOTE}" + pages.rendered(pages.part_of(readme, "The course"), readme)
    yield Page("course/index.html", "The course", body, NOTEBOOKS / "README.md")
    yield from (notebooks.page(script, run) for script in scripts())


def _guides() -> Iterator[Page]:
    sources = {path.stem: path for path in [*ROOT.glob("*.md"), *sorted(DOCS.glob("*.md"))]}
    named = {name: group for group, names in GROUPS.items() for name in names.split()}
    rest = {name: "The project" for name in sources if name not in named and name not in MEASURED.split()}
    made = [_guide(sources[name], "guides", group) for name, group in (named | rest).items()]
    text = "# Guides\n"
    for group in (*GROUPS, "The project"):
        listed = [page for page in made if page.group == group]
        text += f"\n## {group}\n" + "".join(
            f"- [{p.title}]({p.source}). {_opening(p.source)}\n" for p in listed
        )
    yield Page("guides/index.html", "Guides", pages.rendered(text, ROOT / "README.md"), Path(__file__))
    yield from made


def _opening(source: Path) -> str:
    """The first sentence of a Markdown file's text, without its links."""
    text = re.sub(r"^```.+?^```", "", source.read_text(encoding="utf-8"), flags=re.M | re.S)
    paragraph = re.search(r"^(?:\w|`\w).+?(?=\n\n)", text, flags=re.M | re.S)
    sentence = re.split(r"(?<=\.) ", paragraph[0].replace("\n", " "))[0]
    return re.sub(r"\[([^]]+)\]\([^)]*\)", r"\1", sentence)


def _guide(source: Path, folder: str, group: str) -> Page:
    title = pages.title_of(source.read_text(encoding="utf-8"))
    return Page(f"{folder}/{source.stem.lower()}.html", title, _html(source), source, group)


def main(argv: Sequence[str] | None = None) -> int:
    """Build the site. Raises ConfigError for a folder that holds something else."""
    parser = argparse.ArgumentParser(prog="python -m docs.site", description="The documentation as a site.")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "site", help="default: build/site")
    parser.add_argument("--no-run", action="store_true", help="notebooks as handed out, without outputs")
    options = parser.parse_args(argv)
    if options.out.exists() and any(options.out.iterdir()) and not (options.out / pages.STYLE.name).exists():
        raise ConfigError(f"{options.out} holds something else", fix="Name a new folder: --out FOLDER.")
    made = list(all_pages(run=not options.no_run))
    shutil.rmtree(options.out, ignore_errors=True)
    pages.write(made, options.out)
    print(f"{len(made)} pages in {options.out}; open {options.out / 'index.html'} in a browser.")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
