"""What is installed is said in one way: pyproject, constraints, environment.yml and the workflows agree."""

import os
import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
# conda-forge's name -> the name that pip knows
CONDA_NAMES = {"pytorch": "torch", "matplotlib-base": "matplotlib", "python-build": "build"}


def read_requirements(path: Path) -> dict[str, SpecifierSet]:
    lines = [line.split("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines()]
    parsed = [Requirement(line) for line in lines if line]
    assert len({r.name for r in parsed}) == len(parsed), f"{path.name} names a package twice"
    return {r.name: r.specifier for r in parsed}


def declared(*extras: str) -> dict[str, SpecifierSet]:
    """Packages of the core and of the given extras with the floors of the metadata."""
    lines = [*PROJECT["dependencies"], *(line for extra in extras for line in EXTRAS[extra])]
    return {r.name: r.specifier for r in map(Requirement, lines)}


CONSTRAINTS = read_requirements(ROOT / "constraints.txt")
COLAB = read_requirements(ROOT / ".github" / "constraints-colab.txt")


def conda_environment() -> dict[str, str]:
    listed = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    assert listed["channels"] == ["conda-forge"]
    pairs = [re.fullmatch(r"([a-z0-9-]+)(.*)", line).groups() for line in listed["dependencies"]]
    return {CONDA_NAMES.get(name, name): ranges for name, ranges in pairs}


def test_the_metadata_keeps_floors_for_torch_numpy_and_matplotlib():
    for name, specifier in declared().items():
        caps = {part.operator for part in specifier} - {">="}
        assert not caps or name in ("transformers", "datasets"), f"{name} has an upper cap in pyproject.toml"
    assert str(declared()["torch"]) == ">=2.10"
    assert str(CONSTRAINTS["torch"]) == "<2.14,>=2.11"


def test_everything_that_make_installs_has_a_bounded_range_in_the_constraints():
    assert set(CONSTRAINTS) == set(declared("dev", "course"))
    for name, specifier in CONSTRAINTS.items():
        assert {">=", "<"} == {part.operator for part in specifier}, f"{name}: give it a floor and a cap"


def test_the_constraints_lie_within_the_metadata():
    for name, allowed in declared("dev", "course").items():
        floor = next(part.version for part in CONSTRAINTS[name] if part.operator == ">=")
        assert allowed.contains(floor), f"{name}: the constraint's floor {floor} is outside {allowed}"


def test_the_conda_environment_equals_pyproject_and_constraints():
    conda = conda_environment()
    assert set(conda) - {"python", "pip"} == set(CONSTRAINTS)
    for name, specifier in CONSTRAINTS.items():
        assert SpecifierSet(conda[name]) == specifier, f"environment.yml: {name}"
    floor = PROJECT["requires-python"]
    assert conda["python"] == f"{floor},<3.14"


def test_the_workflows_test_the_same_pythons_that_the_metadata_names():
    named = [c.split(" :: ")[-1] for c in PROJECT["classifiers"] if "Python ::" in c]
    assert WORKFLOWS["pull-request.yml"]["test"]["strategy"]["matrix"]["python"] == named


def test_the_hosted_versions_meet_the_metadata():
    for name, specifier in COLAB.items():
        pinned = next(iter(specifier)).version
        assert declared()[name].contains(pinned), f"{name} {pinned} of the hosted runtime is refused"
    assert set(COLAB) == set(declared())


def test_what_colab_carries_is_said_in_one_place_and_holds_no_grader():
    lines = (ROOT / ".github" / "requirements-colab.txt").read_text(encoding="utf-8").splitlines()
    named = [line for line in lines if not line.startswith("#")]
    assert named[0] == "-r constraints-colab.txt"
    others = {r.name: str(r.specifier) for r in map(Requirement, named[1:])}
    assert not others.keys() & {*COLAB, "nbgrader", "jupyterlab", "trl"}
    assert all(specifier.startswith("==") for specifier in others.values())


WORKFLOWS = {
    path.name: yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"]
    for path in (ROOT / ".github/workflows").glob("*.yml")
}
CONDA_LINE = "conda env create -f environment.yml && conda activate rslib && pip install --no-deps -e ."


def runs(job: dict) -> list[str]:
    return [step["run"] for step in job["steps"] if "run" in step]


@pytest.mark.parametrize("name", sorted(WORKFLOWS))
def test_workflows_run_only_commands_of_the_makefile_and_the_package(name):
    commands = [command for job in WORKFLOWS[name].values() for command in runs(job)]
    assert commands
    ours = r"make [a-z-]+( CONSTRAINTS=\S*)?$|\.venv/bin/python -m rslib |python -m tests\.outside$"
    assert all(re.match(ours, command) or command in CONDA_LINE for command in commands)


def test_each_way_to_install_is_tried_up_to_the_first_exercise():
    pull, weekly = WORKFLOWS["pull-request.yml"], WORKFLOWS["newest.yml"]
    assert runs(pull["wheel"]) == ["make try-wheel"]
    assert pull["wheel"]["strategy"] == pull["test"]["strategy"]
    assert runs(WORKFLOWS["colab.yml"]["wheel"]) == [
        "make try-wheel CONSTRAINTS=.github/constraints-colab.txt"
    ]
    assert runs(WORKFLOWS["colab.yml"]["notebooks"]) == ["make colab"]
    assert runs(weekly["conda"]) == [CONDA_LINE.split(" && ")[-1], "python -m tests.outside"]
    assert weekly["conda"]["steps"][1]["with"]["environment-file"] == "environment.yml"


def test_the_readme_and_the_file_itself_say_the_same_of_conda():
    for name in ("README.md", "environment.yml"):
        assert CONDA_LINE in (ROOT / name).read_text(encoding="utf-8"), name
    listed = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    assert listed["name"] == CONDA_LINE.split("conda activate ")[1].split()[0]


def test_continuous_integration_runs_the_test_command_of_the_readme():
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert script.read_text(encoding="utf-8").strip().splitlines()[-2:] == ["make test-long", "make test"]


def test_the_version_stands_in_one_place():
    import rslib

    assert "version" in PROJECT["dynamic"]
    assert f"## [{rslib.__version__}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == rslib.__version__


def test_changelog_and_citation_agree_on_the_day_of_the_release():
    newest = re.search(
        r"^## \[(.+?)\] - (.+)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), flags=re.M
    )
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert newest[1] == citation["version"]
    assert newest[2] == str(citation.get("date-released", "unreleased"))
    assert citation["license"] == PROJECT["license"]


def text_files() -> list[Path]:
    """Texts of the repository that people read or tools execute (not what a run or an environment wrote)."""
    left_out = (".venv", ".git/", "runs", "build", "dist", "rslib/assets")
    tops = [p for p in ROOT.iterdir() if not (p.name + "/").startswith(left_out)]
    found = [p for top in tops for p in ([top] if top.is_file() else top.rglob("*"))]
    kinds = {".md", ".toml", ".txt", ".yml", ".yaml", ".cff", ".py"}
    return [p for p in found if p.suffix in kinds or p.name == "Makefile"]


def test_the_address_of_the_repository_stands_in_one_place():
    address = PROJECT["urls"]["Repository"].removeprefix("https://")
    holders = [p for p in text_files() if address in p.read_text(encoding="utf-8")]
    assert [p.name for p in holders] == ["pyproject.toml"]


def test_the_files_that_the_package_needs_are_packed():
    tool = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    assert {"py.typed", "page.html", "assets/**", "world/*.txt"} <= set(tool["package-data"]["rslib"])
    assert (ROOT / "rslib" / "py.typed").exists()


def test_the_ignored_folders_are_not_tracked_sources():
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").split()
    assert {".venv*/", "runs/", "__pycache__/"} <= set(ignored)
