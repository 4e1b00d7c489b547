"""The pages say what is true: blocks run, commands and paths exist, tables are in sync with the results."""

import ast
import doctest
import inspect
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from docs.studies import one_page, results, tables

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
PAGES = sorted({*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *ROOT.glob("[a-z]*/README.md")})
STAGES = ("sample", "score", "select", "finetune", "evaluate")
by_page = pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))


def blocks(language: str, text: str = README) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.M | re.S)


def targets() -> set[str]:
    """Targets of the Makefile."""
    return {name for line in re.findall(r"^([a-z][a-z -]*):", MAKEFILE, flags=re.M) for name in line.split()}


def commands(text: str = README) -> list[list[str]]:
    """Arguments of every `python -m rslib ...` in a text, in blocks and inline code, comments left out."""
    found = re.findall(r"(?:python|\\python) -m rslib ([^`\n#]+)", text)
    return [shlex.split(line.strip()) for line in found]


WITH_COMMANDS = [page for page in PAGES if commands(page.read_text(encoding="utf-8"))]


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


def test_the_console_blocks_print_what_they_show():
    assert blocks("pycon")
    flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    runner = doctest.DocTestRunner(optionflags=flags, verbose=False)
    scope = {}
    for number, block in enumerate(blocks("pycon")):
        runner.run(doctest.DocTestParser().get_doctest(block, scope, f"block {number}", "README.md", 0))
    assert runner.summarize(verbose=False).failed == 0


def test_the_road_calls_functions_that_exist_with_arguments_that_they_take():
    import rslib

    code = next(block for block in blocks("python") if "rslib.finetune" in block)
    calls = [n for n in ast.walk(ast.parse(code)) if isinstance(n, ast.Call)]
    named = {ast.unparse(call.func).removeprefix("rslib."): call for call in calls}
    assert set(STAGES) <= set(named)
    for name, call in named.items():
        signature = inspect.signature(getattr(rslib, name))
        signature.bind(*call.args, **{word.arg: word.value for word in call.keywords})


def test_the_stages_stand_in_the_order_in_which_they_run():
    road = next(block for block in blocks("python") if "rslib.finetune" in block)
    places = [road.index(f"rslib.{stage}(") for stage in STAGES]
    assert places == sorted(places)


@by_page
def test_every_make_target_that_a_page_names_exists(page):
    named = re.findall(r"(?:`|^)make ([a-z][a-z-]*)", page.read_text(encoding="utf-8"), flags=re.M)
    assert set(named) <= targets()


def test_the_list_of_commands_shows_exactly_what_is_built():
    done = subprocess.run(["make", "-C", str(ROOT), "-s", "help"], capture_output=True, text=True, timeout=60)
    shown = {line.split()[1] for line in done.stdout.splitlines() if line.startswith("make ")}
    assert shown == targets()


def test_the_commands_table_has_a_line_without_make_for_each_daily_target():
    table = README.split("## Commands")[1]
    rows = re.findall(r"^\| `make ([a-z-]+)` \|[^|]*\| (.+) \|$", table, flags=re.M)
    parts = {"clean", "help", "lint", "measure", "tables"}  # parts of others
    assert {name for name, _ in rows} == targets() - parts
    assert all(".venv\\Scripts\\" in line for _, line in rows)


@by_page
def test_every_link_of_a_page_leads_to_a_file(page):
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.S)
    linked = re.findall(r"\]\(([^)#]+)[^)]*\)", text) + re.findall(r'src="([^"]+)"', text)
    wrong = [to for to in linked if "://" not in to and not (page.parent / to).exists()]
    assert not wrong, wrong


@by_page
def test_every_path_in_code_type_exists(page):
    text = page.read_text(encoding="utf-8")
    named = re.findall(r"`((?:rslib|tests|docs|notebooks|solutions|autograder|\.github)/[\w./-]*)`", text)
    wrong = [path for path in named if not (ROOT / path).exists()]
    assert not wrong, wrong


@pytest.mark.parametrize("page", WITH_COMMANDS, ids=lambda p: p.name)
def test_every_command_that_a_page_shows_is_accepted(page):
    from rslib.__main__ import COMMANDS, FORWARDED, _parse

    for command, *options in commands(page.read_text(encoding="utf-8")):
        assert command in (*COMMANDS, *FORWARDED, "--version"), f"{page.name}: python -m rslib {command}"
        if options and command in COMMANDS:
            _parse(command, options)  # an unknown option ends the test


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
    assert one_page.rendered() == one_page.PAGE.read_text(encoding="utf-8"), "run: make tables"
