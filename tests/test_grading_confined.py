"""What a process that examines a submission reaches of this machine: its own folder, and Python's files."""

import json
import os
import subprocess
import sys

import pytest

from autograder.grading import landlock
from tests import grading

PRELUDE = """
import ctypes, glob, io, json, os, pathlib, shutil, socket, sqlite3, sys, tempfile, zipfile
import numpy as np
from autograder.grading import landlock
from autograder.grading.confined import confine
from autograder.grading.reach import Reach
class Learner:
    lost = ""
    def value(self, request):
        known = request["path"] in ("theirs.txt", "/submission/theirs.txt")
        return known if request["do"] == "exists" else b"theirs" if known else None
private, outside = map(pathlib.Path, sys.argv[1:3])
if sys.argv[3] == "hook":
    landlock.restrict = lambda readable, writable: False
work = private / "work"
work.mkdir()
(work / "data.csv").write_text("a,b\\n1,2\\n")
os.chdir(work)
secret, folder = str(outside / "secret.txt"), str(outside)
reach = Reach(private)
if sys.argv[3] == "landlock":  # the system alone
    landlock.restrict([*reach.apart, *reach.course, "/proc"], reach.private)
else:
    confine([], work, Learner(), reach)
refused = {}
for text in json.load(sys.stdin):
    try:
        refused[text] = repr(eval(text))
    except Exception as error:
        refused[text] = type(error).__name__
print(json.dumps(refused))
"""
PATHS = (
    "secret",
    "pathlib.Path(secret)",
    "os.fsencode(secret)",
    "os.path.relpath(secret)",
    "'/proc/self/root' + secret",
    "type('P', (), {'__fspath__': lambda self: secret})()",
)
DONE = [
    *(f"open({path}).read()" for path in PATHS),
    "io.FileIO(secret).read()",
    "open(secret, 'a').write('x')",
    "os.open(secret, os.O_RDWR)",
    "pathlib.Path(secret).read_text()",
    "pathlib.Path(secret).unlink()",
    "pathlib.Path(folder, 'new').mkdir()",
    "pathlib.Path(folder, 'new').touch()",
    "os.remove(secret)",
    "os.remove('/proc/self/root' + secret)",
    "os.rename(secret, 'mine')",
    "os.rename('data.csv', folder + '/new')",
    "os.link(secret, 'mine')",
    "os.truncate(secret, 0)",
    "os.symlink('x', folder + '/new')",
    "os.symlink(secret, 'door') or open('door').read()",
    "os.mkfifo(folder + '/new')",
    "os.rmdir(folder + '/empty')",
    "os.listdir(folder)",
    "os.scandir(folder)",
    "shutil.rmtree(folder)",
    "shutil.copy(secret, 'mine')",
    "shutil.copy('data.csv', folder)",
    "shutil.move(secret, 'mine')",
    "tempfile.mkdtemp(dir=folder)",
    "zipfile.ZipFile(folder + '/new.zip', 'w')",
    "sqlite3.connect(folder + '/new.db').execute('create table t (a)')",
    "sqlite3.connect('file:' + folder + '/new.db', uri=True).execute('create table t (a)')",
    "np.loadtxt(secret, dtype=str)",
    "np.fromfile(secret, dtype='u1')",
    "np.save(folder + '/new.npy', np.zeros(2))",
    "np.savetxt(folder + '/new.txt', np.zeros(2))",
    "np.memmap(secret)",
    "ctypes.CDLL(secret)",
    "socket.create_connection(('127.0.0.1', 9))",
]
ASKED = [
    "os.chmod(secret, 0)",
    "os.utime(secret)",
    "os.chdir(folder)",
    "os.stat(secret)",
    "os.readlink(folder + '/link')",
    "os.kill(os.getppid(), 0)",
    "os.system('true')",
    "open(1).read()",
    "open('/proc/self/environ').read()",
    "socket.socket(socket.AF_UNIX).connect(folder + '/x')",
    "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', 9))",
]
"""What Landlock does not know of."""
NOTHING = {
    "glob.glob(folder + '/*')": "[]",
    "list(os.walk(folder))": "[]",
    "os.path.exists(secret)": "False",
    "os.path.isdir(folder)": "False",
    "pathlib.Path(secret).exists()": "False",
    "os.access(secret, os.R_OK)": "False",
}
WORKS = {
    "open('data.csv').read()": "'a,b\\n1,2\\n'",
    "open(os.path.abspath('data.csv')).readline()": "'a,b\\n'",
    "open('theirs.txt').read()": "'theirs'",
    "open('/submission/theirs.txt').read()": "'theirs'",
    "os.path.exists('theirs.txt')": "True",
    "os.path.exists('data.csv')": "True",
    "open('own.txt', 'w').write('12')": "2",
    "os.path.getsize('own.txt')": "2",
    "os.rename('own.txt', 'other.txt')": "None",
    "os.remove('other.txt')": "None",
    "shutil.rmtree(tempfile.mkdtemp())": "None",
    "tempfile.TemporaryFile().write(b'12')": "2",
    "tempfile.NamedTemporaryFile().write(b'12')": "2",
    "os.makedirs('a/b') or os.listdir('a')": "['b']",
    "shutil.copytree('a', 'c') and sorted(glob.glob('[ac]'))": "['a', 'c']",
    "np.save('x.npy', np.zeros(2)) or np.load('x.npy').sum()": "np.float64(0.0)",
    "__import__('this') and open(os.devnull, 'w').write('x')": "1",
    "__import__('zoneinfo').ZoneInfo('Europe/Berlin').key": "'Europe/Berlin'",
    "len(__import__('rslib.tables').tables.__file__) > 0": "True",
    "__import__('asyncio').run(__import__('asyncio').sleep(0, 5))": "5",
}


def tried(tmp_path, how, texts):
    """What came of each expression in a confined process, and the files outside as they are then."""
    private, outside = tmp_path / "private", tmp_path / "outside"
    private.mkdir()
    (outside / "empty").mkdir(parents=True)
    (outside / "secret.txt").write_text("secret")
    os.symlink("secret.txt", outside / "link")
    call = [sys.executable, "-c", PRELUDE, str(private), str(outside), how]
    done = subprocess.run(
        call, input=json.dumps(texts), capture_output=True, text=True, env=grading.environment(), timeout=100
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert sorted(path.name for path in outside.iterdir()) == ["empty", "link", "secret.txt"]
    assert (outside / "secret.txt").read_text() == "secret" and (
        outside / "secret.txt"
    ).stat().st_mode & 0o400
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("how", ["both", "hook"])
def test_a_confined_process_neither_reads_nor_changes_what_is_not_its_own(tmp_path, how):
    found = tried(tmp_path, how, [*DONE, *ASKED, *NOTHING])
    strange = {text: came for text, came in found.items() if not came.endswith(("Error", "OutOfReach"))}
    assert {k: v for k, v in strange.items() if k not in NOTHING and v != "NotOutside"} == {}
    assert {text: found[text] for text in NOTHING} == NOTHING


def test_the_system_refuses_the_same_to_code_that_no_hook_sees(tmp_path):
    if not landlock.version():
        pytest.skip("this kernel has no Landlock")
    found = tried(tmp_path, "landlock", DONE)
    assert {text: came for text, came in found.items() if not came.endswith("Error")} == {}


@pytest.mark.parametrize("how", ["both", "hook"])
def test_what_tests_do_with_the_courses_files_and_their_own_goes_on_working(tmp_path, how):
    assert tried(tmp_path, how, list(WORKS)) == WORKS


def test_an_instructors_secrets_in_the_environment_are_not_there_for_tests(monkeypatch):
    from autograder.grading.judge import Judge

    monkeypatch.setenv("SOME_API_KEY", "secret")
    with Judge() as judge, open(f"/proc/{judge.process.pid}/environ", "rb") as environment:
        assert b"SOME_API_KEY" not in environment.read()
