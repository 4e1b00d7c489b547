"""What pages and notebooks name is there: links, anchors, paths, commands with their options, code."""

import argparse
import ast
import doctest
import importlib
import importlib.util
import inspect
import json
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from autograder.build.placeholders import repository
from tests.test_environment import text_files

ROOT = Path(__file__).resolve().parents[1]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
LINKS = ROOT / "docs" / "links.txt"
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
    "optional-dependencies"
]
FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS


@dataclass(frozen=True)
class Page:
    """A text that people read: its file, and its Markdown (of a notebook, the cells of text)."""

    path: Path
    text: str

    @property
    def prose(self) -> str:
        """The text without its fenced blocks."""
        return re.sub(r"^( *)```.*?^\1```", "", self.text, flags=re.M | re.S)

    def blocks(self, language: str) -> list[str]:
        """The fenced blocks of a language, "" for those that name none."""
        found = re.findall(r"^( *)```(\w*)\n(.*?)^\1```$", self.text, flags=re.M | re.S)
        return [
            re.sub(rf"^{indent}", "", code, flags=re.M) for indent, name, code in found if name == language
        ]

    def anchors(self) -> set[str]:
        """The names of the headings in links, as GitHub makes them."""
        headings = re.findall(r"^#{1,6} +(.+?)\s*$", self.prose, flags=re.M)
        plain = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading) for heading in headings]
        return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in plain}


@cache
def page(path: Path) -> Page:
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        cells = [cell["source"] for cell in json.loads(text)["cells"] if cell["cell_type"] == "markdown"]
        text = "\n\n".join("".join(source) for source in cells)
    return Page(path, text)


FILES = {
    *ROOT.glob("*.md"),
    *(ROOT / "docs").rglob("*.md"),
    *ROOT.glob("[a-z]*/README.md"),
    *(ROOT / "notebooks").glob("*.ipynb"),
}
PAGES = [page(path) for path in sorted(FILES) if not path.is_relative_to(ROOT / "build")]
by_page = pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.path.relative_to(ROOT)))


def with_blocks(*languages: str) -> Callable:
    """The pages that hold such blocks, as parameters of a test."""
    some = [p for p in PAGES if any(p.blocks(language) for language in languages)]
    return pytest.mark.parametrize("page", some, ids=lambda p: str(p.path.relative_to(ROOT)))


# Links


def linked(page: Page) -> list[str]:
    """Where the links and pictures of a page lead."""
    text = re.sub(r"`[^`\n]*`", "", page.prose)
    return re.findall(r"\]\(([^)\s]+)[^)]*\)|(?:src|href)=\"([^\"]+)\"|<(https?://[^>]+)>", text)


def targets_of(page: Page) -> list[str]:
    return ["".join(groups) for groups in linked(page)]


@by_page
def test_every_link_leads_to_a_file_and_every_anchor_to_a_heading(page):
    wrong = []
    for link in targets_of(page):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = page.path.parent / name if name else page.path
        known = globals()["page"](target).anchors() if anchor and target.is_file() else {anchor}
        if not target.exists() or anchor not in known:
            wrong.append(link)
    assert not wrong, wrong


def test_every_link_to_elsewhere_is_listed_in_one_place_and_sound():
    """docs/links.txt is what somebody with a network tries before a release; our own address is built."""
    ours = urlsplit(repository()).path
    links = {link for p in PAGES for link in targets_of(p) if "://" in link and ours not in link}
    listed = LINKS.read_text(encoding="utf-8").split()
    assert listed == sorted(links), f"put into {LINKS.name}, sorted: {sorted(links ^ set(listed))}"
    for link in listed:
        parts = urlsplit(link)
        assert parts.scheme == "https" and "." in parts.netloc and parts.geturl() == link, link
        assert not re.search(r"[\s\"'<>`]|[.,;:]$", link), link


@by_page
def test_every_path_in_code_type_exists(page):
    named = re.findall(
        r"`((?:rslib|tests|docs|notebooks|solutions|autograder|\.github)/[\w./-]*)`", page.text
    )
    wrong = [path for path in named if not (ROOT / path).exists()]
    assert not wrong, wrong


# Commands


def make_targets() -> set[str]:
    return {name for line in re.findall(r"^([a-z][a-z -]*):", MAKEFILE, flags=re.M) for name in line.split()}


class AcceptedError(Exception):
    """Raised in place of doing what a command line asks for, once its options are read."""


@pytest.fixture
def only_parsed(monkeypatch):
    """Programs stop where their parser has accepted the command line."""
    read = argparse.ArgumentParser.parse_args

    def parse_args(self, *arguments, **named):
        read(self, *arguments, **named)
        raise AcceptedError

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_args)
    # pip brings setuptools, which insists on its own distutils even where the standard one is loaded.
    monkeypatch.setenv("SETUPTOOLS_USE_DISTUTILS", "stdlib")


def make(words: list[str]) -> None:
    names = [word for word in words if "=" not in word and not word.startswith(".venv/")]
    assert set(names) <= make_targets(), words
    for setting in [word.partition("=")[0] for word in words if "=" in word]:
        assert re.search(rf"^{setting} *\??=", MAKEFILE, flags=re.M), f"the Makefile has no {setting}"


def rslib(words: list[str]) -> None:
    from rslib.__main__ import COMMANDS, FORWARDED, _parse

    command, *options = words
    assert command in (*COMMANDS, *FORWARDED, "--version"), words
    if options and command in COMMANDS:
        _parse(command, options)


def autograder(words: list[str]) -> None:
    from autograder.__main__ import COMMANDS, main

    assert words[0] in COMMANDS, words
    if words[1:]:
        with pytest.raises(AcceptedError):
            main(words)


def program_of_ours(module: str, words: list[str]) -> None:
    spec = importlib.util.find_spec(module)
    assert spec, f"there is no module {module}"
    if not words:
        return
    main = importlib.import_module(f"{module}.__main__" if spec.submodule_search_locations else module).main
    if "Path" in str(next(iter(inspect.signature(main).parameters.values())).annotation):
        inspect.signature(main).bind(*words)  # files to read or write, and no options
        return
    with pytest.raises(AcceptedError):
        main(words)


def pip(words: list[str]) -> None:
    from pip._internal.commands import create_command

    command, *rest = words
    _, what = create_command(command).parse_args(rest)
    for extra in re.findall(r"^(?:\.|rslib-course)\[(.+)\]$", "\n".join([*what, *rest]), flags=re.M):
        assert extra in EXTRAS, extra


def nbgrader(words: list[str]) -> None:
    from nbgrader.apps.nbgraderapp import NbGraderApp

    assert words[0] in NbGraderApp.subcommands, words


def module(words: list[str]) -> None:
    """`python -m NAME ...`; packages of others need only be known."""
    name, *rest = words
    if name in ("rslib", "autograder", "pip"):
        if rest:
            {"rslib": rslib, "autograder": autograder, "pip": pip}[name](rest)
    elif name.split(".")[0] in ("docs", "tests", "autograder"):
        program_of_ours(name, rest)
    else:
        assert name in ("pytest", "venv", "build"), words


def python(words: list[str]) -> None:
    if words[:1] == ["-m"]:
        module(words[1:])
    elif not words[0].startswith("-"):
        assert (ROOT / words[0]).is_file(), words


def not_ours(words: list[str]) -> None:
    """A program that comes from elsewhere; what is said to it is not checked."""


PROGRAMS = {
    "make": make,
    "rslib": rslib,
    "pip": pip,
    "nbgrader": nbgrader,
    **dict.fromkeys(("python", "py"), python),
    **dict.fromkeys(("source", "cd", "git", "apt", "pipx"), not_ours),
    **dict.fromkeys(("conda", "docker", "ray", "vllm", "wsl", "jupyter", "ruff", "pytest"), not_ours),
}


def words_of(line: str) -> list[str]:
    """A command's words; the program without the environment that it lies in, and nothing before it.

    >>> words_of("!OMP_NUM_THREADS=1 .venv/bin/python -m rslib doctor  # which device")
    ['python', '-m', 'rslib', 'doctor']
    """
    line = re.sub(r"\.venv[/\\]+(bin|Scripts)[/\\]+", "", re.sub(r"(^|\s)# .*", "", line))
    words = shlex.split(line.strip().lstrip("!%").replace("\\", "/"))
    while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
        del words[0]
    return words


def commands(page: Page) -> list[list[str]]:
    """The words of every command of a page, in blocks and in code type.

    A block is one of commands where its first line is; then every line has to be a known program's.
    """
    lines = []
    indented = re.findall(r"(?:^ {4}.*\n)+", page.prose + "\n", flags=re.M)
    for block in (*page.blocks(""), *page.blocks("sh"), *page.blocks("bash"), *indented):
        block = re.sub(r"\\\n\s*", " ", block)
        if words_of(block.split("\n")[0])[:1] and words_of(block.split("\n")[0])[0] in PROGRAMS:
            lines += block.split("\n")
    inline = [code for code in re.findall(r"`([^`\n]+)`", page.prose) if is_command(code)]
    parts = [part for line in (*lines, *inline) for part in re.split(r" && | \| ", line)]
    return [words for part in parts if (words := words_of(part))]


def is_command(code: str) -> bool:
    try:
        words = words_of(code)
    except ValueError:  # a quotation mark without its second
        return False
    return len(words) > 1 and words[0] in PROGRAMS and not re.search(r"[|(]", words[1])


WITH_COMMANDS = [p for p in PAGES if commands(p)]


@pytest.mark.parametrize("page", WITH_COMMANDS, ids=lambda p: str(p.path.relative_to(ROOT)))
def test_every_command_that_a_page_shows_is_accepted_by_its_program(page, only_parsed):
    for program, *words in commands(page):
        assert program in PROGRAMS, f"{program}: give it a check in {Path(__file__).name}"
        PROGRAMS[program](words)


def test_an_option_that_no_program_has_is_told(only_parsed):
    for line in (
        "python -m rslib run --polcy tiny",
        "rslib smaple",
        "python -m autograder grade x --corse y",
        "make tset",
        "make test CONSTRAINT=",
        "pip install --no-dep x",
        "pip install '.[corse]'",
        "python -m docs.studies.arena --dcos docs",
        "python tests/hose.py",
        "nbgrader autogrde x",
    ):
        program, *words = words_of(line)
        with pytest.raises((AssertionError, SystemExit)):
            PROGRAMS[program](words)


def test_nobody_is_told_to_install_what_belongs_to_others():
    """`rslib` and `autograder` on PyPI are other people's projects; ours is rslib-course."""
    theirs = re.compile(
        r"(?:install|add)\b[^\n`]*?[\s\"'](?:rslib|autograder)(?:\[|[\"'`]|\s*$|\s+(?:@|==|-|#))", re.M
    )
    for bad in (
        "pip install rslib",
        '%pip install -q "rslib[vllm]"',
        "uv add autograder",
        "pip install 'rslib @ x'",
    ):
        assert theirs.search(bad), bad
    notebooks = [*(ROOT / "notebooks").glob("*.ipynb")]
    texts = [path for path in (*text_files(), *notebooks) if path != Path(__file__)]
    assert not [path.name for path in texts if theirs.search(path.read_text(encoding="utf-8"))]


# Code


@with_blocks("pycon")
def test_the_console_blocks_print_what_they_show(page):
    runner = doctest.DocTestRunner(optionflags=FLAGS, verbose=False)
    scope = {}
    for number, block in enumerate(page.blocks("pycon")):
        runner.run(doctest.DocTestParser().get_doctest(block, scope, f"block {number}", page.path.name, 0))
    assert runner.summarize(verbose=False).failed == 0


def resolved(name: str, known: dict[str, object]) -> object | None:
    """What a dotted name of ours stands for; None for a name of others. AttributeError if it is missing."""
    first, *rest = name.split(".")
    value = known.get(first)
    for part in rest if value is not None else ():
        value = getattr(value, part)
    return value


def imported(tree: ast.Module) -> dict[str, object]:
    """Names that a block imports from our packages."""
    known: dict[str, object] = {}
    for node in ast.walk(tree):
        modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        modules += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if any(module.split(".")[0] in ("rslib", "autograder") for module in modules):
            exec(ast.unparse(node), known)
    return known


@with_blocks("python")
def test_the_code_blocks_call_what_exists_with_arguments_that_it_takes(page):
    known = {}
    for block in page.blocks("python"):
        tree = ast.parse(block)
        known |= imported(tree)
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            try:
                function = resolved(ast.unparse(call.func), known)
            except AttributeError as missing:
                pytest.fail(f"{ast.unparse(call)}: {missing}")
            starred = any(isinstance(a, ast.Starred) for a in call.args) or None in [
                k.arg for k in call.keywords
            ]
            if callable(function) and not starred:
                inspect.signature(function).bind(
                    *call.args, **{word.arg: word.value for word in call.keywords}
                )


RUN_ELSEWHERE = {
    "architecture.md": "test_architecture.py runs each recipe in its module",
    "coming_from.md": "test_coming_from.py runs what stands under Here",
    "browser.md": "a browser alone can run it",
    "grading-any-course.md": "settings, which nbgrader reads with its own name c",
}
READ_AND_RUN = [p for p in PAGES if p.blocks("python") and p.path.name not in RUN_ELSEWHERE]
read_and_run = pytest.mark.parametrize("page", READ_AND_RUN, ids=lambda p: str(p.path.relative_to(ROOT)))


@read_and_run
def test_the_code_blocks_name_nothing_that_the_page_has_not_brought(page):
    """A name is brought by a block of the page, above or in the same one."""
    code = "\n".join(page.blocks("python"))
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "F821", "-"]
    done = subprocess.run(command, input=code, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.long
@read_and_run
def test_the_code_blocks_run_one_after_the_other_as_a_reader_would_run_them(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "__main__"}
    for number, block in enumerate(page.blocks("python"), start=1):
        exec(compile(block, f"{page.path.name}, block {number}", "exec"), names)


def test_the_list_of_commands_shows_exactly_what_is_built():
    done = subprocess.run(["make", "-C", str(ROOT), "-s", "help"], capture_output=True, text=True, timeout=60)
    shown = {line.split()[1] for line in done.stdout.splitlines() if line.startswith("make ")}
    assert shown == make_targets()
