"""Is an installation good for the course? Try it in an empty folder, far from this repository.

    python -m tests.outside PYTHON       PYTHON has the package installed; `make try-wheel` does all of it

Every step is a command of the README: a run, the first screen's lines, the notebooks copied, and exercise 1.1
reached in them, without an answer and with one. Exit code 0 if all of them work.
"""

import doctest
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RUN = "run --policy tiny --n 4 --prompts 16 --eval-prompts 16 --out runs/first"
OWN_SETTINGS = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "AUTOGRADER_RUNS")
"""Variables that would lead an installation back to this repository."""


def readme_lines() -> str:
    """The statements of the README's first screen as a program that fails where another result stands."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    block = re.search(r"^```pycon\n(.*?)^```$", text, flags=re.M | re.S)[1]
    lines = ["import ast"]
    for example in doctest.DocTestParser().get_examples(block):
        if example.want:
            lines.append(
                f"assert ({example.source.split('  #')[0].strip()}) == ast.literal_eval({example.want!r})"
            )
        else:
            lines.append(example.source.strip())
    return "\n".join(lines)


class Outside:
    """Commands of one installation, run in one empty folder."""

    def __init__(self, python: Path, folder: Path) -> None:
        self.python, self.folder = python, folder
        kept = {name: value for name, value in os.environ.items() if name not in OWN_SETTINGS}
        self.environment = kept | {
            "PATH": f"{python.parent}{os.pathsep}{kept.get('PATH', '')}",
            "HF_HUB_OFFLINE": "1",
        }

    def run(self, *command: str, expected: int = 0) -> str:
        """What a command prints. Raises AssertionError where it ends with another exit code."""
        start = time.monotonic()
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=900
        )
        print(f"{time.monotonic() - start:5.0f} s  {' '.join(command)[:90]}".splitlines()[0], flush=True)
        assert done.returncode == expected, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def module(self, *command: str, expected: int = 0) -> str:
        """What `python -m ...` prints."""
        return self.run(str(self.python), "-m", *command, expected=expected)


def up_to_the_first_exercise(notebook: Path, *, answered: bool) -> None:
    """Leave out all that follows the check of exercise 1.1; answer it if that is asked for."""
    content = json.loads(notebook.read_text(encoding="utf-8"))
    ids = [cell["id"] for cell in content["cells"]]
    cells = content["cells"] = content["cells"][: ids.index("1_1_check") + 1]
    solution = (ROOT / "solutions" / f"{notebook.stem}.py").read_text(encoding="utf-8")
    cell = re.search(r'^# %% exercise="1.1" role="answer"\n(.*?)^# %%', solution, flags=re.M | re.S)[1]
    if answered:
        cells[ids.index("1_1")]["source"] = re.sub(r"^\s*### (BEGIN|END) SOLUTION\n", "", cell, flags=re.M)
    notebook.write_text(json.dumps(content), encoding="utf-8")


def try_installation(python: Path, folder: Path) -> None:
    """Raise AssertionError where an installation cannot do what the README promises."""
    outside = Outside(python, folder)
    where = outside.run(str(python), "-c", "import rslib, autograder; print(rslib.__file__)")
    print(f"rslib is {where.strip()}")
    outside.run("rslib", *RUN.split())
    assert json.loads((folder / "runs/first/report.json").read_text())["rounds"]
    outside.run(str(python), "-c", readme_lines())
    outside.module("autograder", "notebooks", "course")
    first = folder / "course" / "01_one_pipeline_in_order.ipynb"
    for answered in (False, True):
        up_to_the_first_exercise(first, answered=answered)
        panel = outside.module("autograder", "check", str(first), expected=1)
        reached, possible = re.search(r"^1\.1.*?([\d.]+) of ([\d.]+)", panel, flags=re.M).groups()
        assert reached == (possible if answered else "0"), panel


def main(python: Path) -> None:
    """Try an installation in a new folder."""
    with tempfile.TemporaryDirectory() as folder:
        try_installation(python.absolute(), Path(folder))


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else sys.executable))
