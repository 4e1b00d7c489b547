"""What is installed: one wheel with all that it needs and no solutions, good far from the repository."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import nbformat
import pytest

from autograder.build import placeholders
from autograder.build.release import SETUP
from tests.outside import Outside, try_installation

ROOT = Path(__file__).resolve().parents[1]
MEGABYTES = 12
LEFT_OUT = shutil.ignore_patterns(".*", "build", "dist", "runs", "tests", "docs", "*.egg-info", "__pycache__")


def built(source: Path, out: Path, *options: str) -> None:
    """Wheel and sdist of a folder, made without network."""
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), *options, str(source)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=out.parent, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def dist(tmp_path_factory) -> Path:
    """What `make wheel` writes, from a copy of the sources: dist/ in the folder of the copy."""
    folder = tmp_path_factory.mktemp("wheel")
    shutil.copytree(ROOT, folder / "source", ignore=LEFT_OUT, symlinks=True)
    built(folder / "source", folder / "dist")
    return folder / "dist"


def contents(wheel: Path) -> dict[str, int]:
    """The checksum of each file of a wheel, but for its own list of them."""
    with zipfile.ZipFile(wheel) as packed:
        return {
            info.filename: info.CRC for info in packed.infolist() if not info.filename.endswith("/RECORD")
        }


def test_wheel_and_sdist_are_small_enough_to_upload(dist):
    sizes = {path.name: path.stat().st_size / 1e6 for path in dist.iterdir()}
    assert set(sizes) == {placeholders.wheel(), placeholders.wheel().split("-py3")[0] + ".tar.gz"}
    assert max(sizes.values()) <= MEGABYTES, sizes


def test_the_wheel_holds_each_file_of_both_packages_but_what_serves_a_clone_alone(dist):
    def kept(path: Path) -> bool:
        return path.is_file() and "__pycache__" not in path.parts

    packages = {
        path.relative_to(ROOT).as_posix()
        for name in ("rslib", "autograder")
        for path in (ROOT / name).rglob("*")
        if kept(path)
    }
    clone_alone = {name for name in packages if name.startswith(("autograder/wrong/", "autograder/build/"))}
    packed = {
        name
        for name in contents(dist / placeholders.wheel())
        if name.split("/")[0] in ("rslib", "autograder")
    }
    assert packed == packages - clone_alone - {"autograder/README.md"}


def test_the_wheel_carries_the_committed_notebooks_and_no_solution(dist):
    with zipfile.ZipFile(dist / placeholders.wheel()) as packed:
        notebooks = {Path(n).name: packed.read(n) for n in packed.namelist() if n.endswith(".ipynb")}
        texts = [packed.read(name) for name in packed.namelist() if name.endswith((".py", ".txt", ".ipynb"))]
    assert notebooks == {path.name: path.read_bytes() for path in (ROOT / "notebooks").glob("*.ipynb")}
    assert not [text for text in texts if b"BEGIN SOLUTION\n" in text]


def test_the_sdist_builds_the_wheel_that_the_sources_build(dist):
    """`build` makes the wheel out of the sdist; this one comes from the folder."""
    built(dist.parent / "source", dist.parent / "direct", "--wheel")
    name = placeholders.wheel()
    assert contents(dist.parent / "direct" / name) == contents(dist / name)


def environment(folder: Path) -> Path:
    """A new environment with all packages of this one but ours, as links; returns its Python."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    python = folder / "bin" / "python"
    inside = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True,
        text=True,
    )
    for path in Path(sysconfig.get_path("purelib")).iterdir():
        if not re.match(r"(__editable__.*)?rslib|__pycache__", path.name):
            (Path(inside.stdout.strip()) / path.name).symlink_to(path)
    return python


@pytest.mark.long
def test_an_installed_wheel_reaches_the_first_exercise_far_from_the_repository(dist, tmp_path):
    python = environment(tmp_path / "environment")
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    Outside(python, folder).module(
        "pip", "install", "-q", "--no-deps", "--no-index", str(dist / placeholders.wheel())
    )
    try_installation(python, folder)


COLAB = """
import json, sys, types
from IPython.core.interactiveshell import InteractiveShell
sys.modules["google.colab"] = types.ModuleType("google.colab")
shell = InteractiveShell.instance()
sys.modules["builtins"].get_ipython = lambda: shell
result = shell.run_cell(open("cell.py").read())
result.raise_error()
print(shell.user_ns["check"].__code__.co_filename)
"""


def test_the_set_up_cell_of_the_first_notebook_installs_an_uploaded_wheel(dist, tmp_path):
    python = environment(tmp_path / "environment")
    notebook = nbformat.read(ROOT / "notebooks" / "01_one_pipeline_in_order.ipynb", as_version=4)
    cell = next(cell.source for cell in notebook.cells if cell.id == "setup")
    assert placeholders.install_cell() in cell and SETUP.splitlines()[2] in cell
    runtime = tmp_path / "content"
    runtime.mkdir()
    shutil.copy(dist / placeholders.wheel(), runtime)
    (runtime / "cell.py").write_text(cell, encoding="utf-8")
    settings = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [python, "-c", COLAB], capture_output=True, text=True, cwd=runtime, env=settings, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert str(tmp_path / "environment") in done.stdout.splitlines()[-1]
