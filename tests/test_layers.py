"""The house rule of the engine: a module imports only from layers above its own, and errors have one tree."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from rslib.cache import LEAVES

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "rslib"

# Row by row, top to bottom. A module may import from the rows before its own, never from its own or a later.
ROWS = (
    {"errors"},
    {"cache", "tables", "progress", "formatting", "messages"},
    {"config", "theory", "store", "sources", "code_facts", "checkers"},
    {"ledger", "reuse", "reward_functions"},
    {"world", "decoding"},
    {"models", "prompts"},
    {"vllm_backend", "optimization", "lengths"},
    {"sampling", "scoring", "selection", "finetuning", "evaluation"},
    {"reward_modeling", "stages", "inputs", "export", "reporting", "intervals", "more_selectors"},
    {"pipeline", "rl"},
    {"flaws", "arena", "cluster", "profiles"},
    {"plots", "browser", "build", "doctor"},
    {"page", "slider"},
    {"__main__"},
)
FORBIDDEN = {"nbgrader", "trl", "autograder", "docs"}
HEAVY = {"torch", "transformers", "datasets", "matplotlib"}
# Built-in exceptions that a protocol asks for, and the function that may raise them (None: any).
PROTOCOL = {
    "AttributeError": "__getattr__",
    "ArgumentTypeError": "_option",  # argparse turns it into its own message
    "BlockingIOError": "_lock_file",  # Windows' refusal gets the common name; the caller translates it
    "SystemExit": None,
    "KeyboardInterrupt": None,
}


def module_name(path: Path) -> str:
    """`rslib/world/judge.py` is part of `world`; `rslib/store.py` is `store`."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return parts[0]


def sources() -> list[Path]:
    return sorted(p for p in PACKAGE.rglob("*.py") if p != PACKAGE / "__init__.py")


@cache
def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def absolute_imports(path: Path, tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Every imported module of a file with its line, function-level and relative imports included."""
    package = ["rslib", *path.relative_to(PACKAGE).parts[:-1]]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (base, node.module or "") if part)
            if module == "rslib":  # `from rslib import theory` names modules or the public façade
                yield from ((f"rslib.{alias.name}", node.lineno) for alias in node.names)
            else:
                yield module, node.lineno
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module") and node.args:
            if isinstance(node.args[0], ast.Constant):
                yield str(node.args[0].value), node.lineno


def row_of(module: str) -> int | None:
    return next((number for number, row in enumerate(ROWS) if module in row), None)


def inner_imports(path: Path) -> Iterator[tuple[str, int]]:
    """The rslib modules that a file imports, itself left out."""
    own = module_name(path)
    for target, line in absolute_imports(path, parse(path)):
        parts = target.split(".")
        if parts[0] == "rslib" and len(parts) > 1 and parts[1] != own and parts[1] != "__version__":
            yield parts[1], line


def test_every_module_of_the_engine_has_a_row():
    unplaced = {module_name(p) for p in sources()} - set().union(*ROWS)
    assert not unplaced, f"give these modules a row in {__file__}: {sorted(unplaced)}"


@pytest.mark.parametrize("path", sources(), ids=lambda p: str(p.relative_to(ROOT)))
def test_a_module_imports_only_from_the_rows_above_its_own(path):
    own = module_name(path)
    wrong = []
    for target, line in inner_imports(path):
        if row_of(target) is None or row_of(target) >= row_of(own):
            wrong.append(f"line {line}: {own} (row {row_of(own)}) imports {target} (row {row_of(target)})")
    assert not wrong, "\n".join(wrong)


def test_pipeline_does_not_know_reward_modeling_and_flaws_sits_above_pipeline():
    assert "reward_modeling" not in {m for m, _ in imports_of("pipeline")}
    assert row_of("flaws") > row_of("pipeline")


def test_what_code_version_leaves_out_is_imported_by_nothing_that_it_counts():
    """So no stage can run it, and an edit there cannot change a result."""
    leaves = {name.removesuffix(".py") for name in LEAVES}
    assert all((PACKAGE / name).is_file() for name in LEAVES)
    counted = [path for path in sources() if module_name(path) not in leaves]
    wrong = [
        f"{path.name}, line {line}: imports {target}"
        for path in counted
        for target, line in inner_imports(path)
        if target in leaves
    ]
    assert not wrong, "\n".join(wrong)


def imports_of(module: str) -> list[tuple[str, int]]:
    return [found for path in sources() if module_name(path) == module for found in inner_imports(path)]


def test_the_imports_form_no_cycle():
    edges = {module_name(p): set() for p in sources()}
    for path in sources():
        edges[module_name(path)] |= {target for target, _ in inner_imports(path) if target in edges}
    done: set[str] = set()
    while free := {m for m, needs in edges.items() if m not in done and needs <= done}:
        done |= free
    assert done == set(edges), f"these modules import each other in a circle: {sorted(set(edges) - done)}"


@pytest.mark.parametrize("path", sources(), ids=lambda p: str(p.relative_to(ROOT)))
def test_the_engine_never_imports_graders_or_oracles(path):
    roots = {(target.split(".")[0], line) for target, line in absolute_imports(path, parse(path))}
    wrong = [f"line {line}: {name}" for name, line in roots if name in FORBIDDEN]
    assert not wrong, "\n".join(wrong)


def test_the_world_needs_no_torch():
    paths = [p for p in sources() if module_name(p) == "world"]
    used = {target.split(".")[0] for p in paths for target, _ in absolute_imports(p, parse(p))}
    assert not used & {"torch", "transformers", "matplotlib"}


def test_the_package_itself_imports_nothing_heavy():
    tree = parse(PACKAGE / "__init__.py")
    eager = [n for n in tree.body if isinstance(n, (ast.Import, ast.ImportFrom))]
    assert not HEAVY & {ast.unparse(n).split()[1].split(".")[0] for n in eager}


@cache
def error_names() -> set[str]:
    classes = (n for n in parse(PACKAGE / "errors.py").body if isinstance(n, ast.ClassDef))
    return {node.name for node in classes}


@cache
def error_factories() -> set[str]:
    """Functions annotated to return an error of the tree (`unknown_name(...) -> ConfigError`)."""
    names = set()
    for path in sources():
        for node in ast.walk(parse(path)):
            if isinstance(node, ast.FunctionDef) and node.returns is not None:
                if ast.unparse(node.returns).strip("'\"").split(".")[-1] in error_names():
                    names.add(node.name)
    return names


def raises(tree: ast.Module) -> Iterator[tuple[ast.Raise, str, set[str]]]:
    """Each raise with the function it stands in and the names that `except ... as` has bound around it."""

    def visit(node: ast.AST, function: str, caught: set[str]) -> Iterator[tuple[ast.Raise, str, set[str]]]:
        for child in ast.iter_child_nodes(node):
            inner, bound = function, caught
            if isinstance(child, ast.FunctionDef):
                inner = child.name
            if isinstance(child, ast.ExceptHandler) and child.name:
                bound = caught | {child.name}
            if isinstance(child, ast.Raise):
                yield child, function, bound
            yield from visit(child, inner, bound)

    yield from visit(tree, "", set())


def raised_name(node: ast.Raise) -> str:
    target = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
    return ast.unparse(target).split(".")[-1] if target is not None else ""


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT)))
def test_every_raise_uses_the_error_tree(path):
    known = error_names() | error_factories()
    wrong = []
    for node, function, caught in raises(parse(path)):
        name = raised_name(node)
        protocol = name in PROTOCOL and PROTOCOL[name] in (None, function)
        if name and name not in known | caught and not protocol:
            wrong.append(f"line {node.lineno}: raise {name}")
    assert not wrong, "\n".join(wrong)


def test_all_errors_share_one_base_and_carry_what_where_and_what_to_do():
    from rslib import errors

    for name in error_names():
        error = getattr(errors, name)("n is 0", where="somewhere", fix="Use n >= 1.")
        assert isinstance(error, errors.RSError)
        assert str(error).splitlines() == ["n is 0", "  where: somewhere", "  what to do: Use n >= 1."]


def test_nothing_in_the_packages_imports_the_studies():
    paths = [p for folder in ("rslib", "autograder") for p in (ROOT / folder).rglob("*.py")]
    wrong = [
        f"{path.relative_to(ROOT)} line {node.lineno}"
        for path in paths
        for node in ast.walk(parse(path))
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for name in (
            [node.module or ""] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
        )
        if name.split(".")[0] == "docs"
    ]
    assert not wrong, "\n".join(wrong)


# Of docs/studies, likewise: a study is what stands in its row, and none imports another but for its page.
STUDIES = (
    {"results", "arena"},  # the package alone: its docstring
    {
        "arena.trial",
        "rl",
        "worlds",
        "signatures",
        "grading",
        "bench",
        "scale",
        "architectures",
        "same_marks",
    },
    {"arena.measuring", "rules", "rl_flaws", "scaling", "cpu_time", "gpu", "verifiable"},
    {"arena.summary", "profiles"},
    {"arena.claims", "arena.notebook"},
    {"arena.figures", "arena.page"},
    {"arena.__main__", "tables", "one_page"},
)


def test_a_study_imports_only_from_the_rows_above_its_own():
    folder = ROOT / "docs" / "studies"
    row = {name: number for number, names in enumerate(STUDIES) for name in names}
    wrong = []
    for path in sorted(folder.rglob("*.py")):
        name = study_of(".".join(path.relative_to(folder).with_suffix("").parts).removesuffix(".__init__"))
        if name == "__init__":
            continue
        assert name in row, f"give {name} a row"
        targets = {study_of(target) for target in studies_imported(path)} - {name}
        wrong += [f"{path.name} imports {t}" for t in targets if t in row and row[t] >= row[name]]
    assert not wrong, "\n".join(wrong)


def study_of(module: str) -> str:
    """The study that a module belongs to; the arena's modules are laid out one by one."""
    return module if module.startswith("arena") else module.split(".")[0]


def studies_imported(path: Path) -> Iterator[str]:
    """Modules of docs/studies that a file of it imports, as `arena.claims`, and the names that it takes."""
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("docs.studies"):
            base = node.module.removeprefix("docs.studies").removeprefix(".")
            yield base
            yield from (f"{base}.{alias.name}".lstrip(".") for alias in node.names)


def test_studies_are_neither_packed_nor_part_of_what_a_result_depends_on(tmp_path):
    """An edit of any file of docs/studies leaves cached stages valid: the key's hash reads rslib alone."""
    import tomllib

    from rslib import cache

    packed = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    assert packed["packages"]["find"]["include"] == ["rslib*", "autograder*"]
    repository = tmp_path / "copy"
    for folder in ("rslib", "docs/studies"):
        for source in (ROOT / folder).rglob("*.py"):
            target = repository / source.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(source.read_bytes())
    before = cache._source_hash(repository / "rslib")
    for study in (repository / "docs" / "studies").rglob("*.py"):
        study.write_text("raise SystemExit\n")
    assert cache._source_hash(repository / "rslib") == before
    (repository / "rslib" / "arena.py").write_text("raise SystemExit\n")
    assert cache._source_hash(repository / "rslib") != before
