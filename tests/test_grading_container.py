"""The container fallback. A stand-in for docker runs the command of the container as a plain process."""

import os
import stat
import sys

import pytest

from autograder.grading import container
from autograder.grading.container import Containers
from autograder.grading.inside.isolate import Limits
from rslib.errors import ConfigError
from tests import grading, hostile

DOCKER = """#!{python}
import os, pathlib, subprocess, sys, tempfile
words = sys.argv[1:]
if words[:2] == ["image", "inspect"]:
    sys.exit(words[2] != "course-image")
if words[0] != "run":
    sys.exit(0)
if words[-2] == "-c":
    print(os.path.exists({log!r} + ".keys"))
    sys.exit(0)
with open({log!r}, "a") as log:
    log.write(repr(words) + "\\n")
place = words.index("course-image")
root = pathlib.Path(tempfile.mkdtemp())
for name in ("course", "submission", "tmp"):
    (root / name).mkdir()
def there(text):
    for name in ("/course", "/submission", "/tmp/settings"):
        text = text.replace(name, f"{{root}}{{name}}")
    return text
env = {{"PATH": os.environ["PATH"]}}
for flag, value in zip(words, words[1:place]):
    if flag == "--env":
        name, _, said = value.partition("=")
        env[name] = there(said)
    elif flag == "--volume":
        source, target, _ = value.split(":")
        target = pathlib.Path(there(target))
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(source)
call = [{python!r}, *words[place + 2:]]
sys.exit(subprocess.run(call, env=env, cwd=root / "submission").returncode)
"""


@pytest.fixture
def docker(tmp_path, monkeypatch):
    folder = tmp_path / "bin"
    folder.mkdir()
    program, log = folder / "docker", tmp_path / "docker.log"
    program.write_text(DOCKER.format(python=sys.executable, log=str(log)))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return log


@pytest.mark.long
def test_a_course_is_graded_in_containers(docker, tmp_path):
    wrong = next(a for a in hostile.ATTACKS if a.name == "agrees_object")
    root = grading.course(tmp_path / "course", hostile.HONEST[0], wrong)
    done = grading.grade(root, "--container", "course-image", *grading.QUICK)
    assert done.returncode == 0, done.stderr
    found = {name: (r["points"], r["isolation"]) for name, r in grading.records(root).items()}
    assert found == {"honest_plain": (6.0, "container"), "agrees_object": (0.0, "container")}, done.stdout
    assert len(docker.read_text().splitlines()) == 3  # the instructor's own comes first


def test_the_container_has_no_network_no_rights_and_bounds():
    limits = Limits()
    words = Containers(("numpy",), "course-image", "podman").command("x", limits, 1)
    text = " ".join(words)
    for flag in ("--network none", "--read-only", "--cap-drop ALL", "no-new-privileges", "--ipc private"):
        assert flag in text
    assert f"--memory {limits.memory}" in text and f"--pids-limit {limits.processes}" in text
    mounts = [words[k + 1] for k, word in enumerate(words) if word == "--volume"]
    assert mounts and all(mount.endswith(":ro") for mount in mounts)
    assert not [m for m in mounts if "wrong" in m or "solutions" in m or "source" in m]


def test_an_image_that_nobody_has_is_refused_in_a_sentence(docker):
    assert container.engine("course-image") == "docker"
    with pytest.raises(ConfigError, match="no container engine here has the image"):
        container.engine("another")


def test_an_image_that_holds_the_keys_is_refused(docker):
    docker.with_name(docker.name + ".keys").touch()
    with pytest.raises(ConfigError, match="holds the keys"):
        container.engine("course-image")
