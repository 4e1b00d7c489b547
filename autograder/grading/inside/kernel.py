"""The learner's process: runs cells as IPython does and answers the grader's requests, one at a time.

Everything here can be taken over by the cells that it runs. So it decides nothing: it returns outputs and
values, and whoever receives them treats them as untrusted.
"""

from __future__ import annotations

import asyncio
import builtins
import contextlib
import dataclasses
import functools
import importlib
import inspect
import io
import operator
import os
import pickle
import random
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from IPython.core.displayhook import DisplayHook
from IPython.core.displaypub import DisplayPublisher
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from autograder.grading.inside import arrays, objects
from autograder.grading.inside.frames import HELLO, Channel, WireError
from autograder.grading.inside.isolate import Limits
from autograder.grading.inside.kinds import LIKE, base_of
from autograder.grading.inside.outputs import clean, kept
from autograder.grading.inside.wire import Encoder
from autograder.work import limited, other_session

ARITHMETIC = ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor")
OPERATORS = {
    name: getattr(operator, name)
    for name in ("getitem", "setitem", "delitem", "contains", "eq", "lt", "le", "gt", "ge")
    + ("neg", "pos", "abs", "invert", "and_", "or_", *ARITHMETIC[:8], "xor")
}
OPERATORS |= {kind.__name__: kind for kind in (len, str, repr, format, bool, float, int, hash, next)}
OPERATORS |= {
    "iter": lambda values: list(_some(values)),
    "reversed": lambda values: list(_some(reversed(values))),
    "enter": lambda value: value.__enter__(),
    "exit": lambda value, kind: bool(value.__exit__(kind, kind and kind(), None)),
}
for _word in ARITHMETIC:
    _plain = getattr(operator, f"{_word}_" if _word in ("and", "or") else _word)
    OPERATORS[f"r{_word}"] = lambda value, other, _plain=_plain: _plain(other, value)
    OPERATORS[f"i{_word}"] = getattr(operator, f"i{_word}")
FIGURES = ("gcf", "gca", "get_fignums", "fignum_exists", "close")
"""Functions of pyplot that find or close figures."""
FETCHED = 64 << 20
"""Bytes of the largest file that is handed in."""


class Recorder(DisplayPublisher):
    """Collects what cells show."""

    def publish(self, data: Any, metadata: Any = None, source: Any = None, **options: Any) -> None:
        """Called by `display`."""
        self.shell.outputs.append({"output_type": "display_data", "data": dict(data)})

    def clear_output(self, wait: bool = False) -> None:
        """What was shown so far is dropped."""
        self.shell.outputs.clear()


class Results(DisplayHook):
    """Collects the value of a cell's last expression; keeps no history of it."""

    def write_output_prompt(self) -> None:
        """No prompt is printed."""

    def write_format_data(self, format_dict: Any, md_dict: Any = None) -> None:
        """Called with the value in every form that it has."""
        self.shell.outputs.append({"output_type": "execute_result", "data": dict(format_dict)})

    def finish_displayhook(self) -> None:
        """Nothing was printed, so no line is ended."""


class Shell(InteractiveShell):
    """IPython without history file, terminal and colours; outputs go into a list."""

    display_pub_class = Recorder
    displayhook_class = Results

    def __init__(self, **options: Any) -> None:
        self.outputs: list[dict[str, Any]] = []
        super().__init__(**options)
        self.display_pub.shell = self

    def _showtraceback(self, etype: Any, evalue: Any, stb: Any) -> None:
        with contextlib.suppress(Exception):
            text = str(evalue)
            self.outputs.append(
                {"output_type": "error", "ename": etype.__name__, "evalue": text, "traceback": list(stb)}
            )

    def enable_gui(self, gui: Any = None) -> None:
        """There is no screen."""


def make_shell() -> Shell:
    """The shell of the process; made before the fork, so that no learner waits for it."""
    settings = Config()
    settings.HistoryManager.enabled = False
    settings.InteractiveShell.colors = "nocolor" if _new_colours() else "NoColor"
    return Shell.instance(config=settings)


def _new_colours() -> bool:
    import IPython

    return IPython.version_info[0] >= 9


class Stream(io.TextIOBase):
    """stdout or stderr of the cells: pieces of text in the order of all outputs, up to a limit a cell."""

    def __init__(self, shell: Shell, name: str, limit: int) -> None:
        self.shell, self.name, self.limit, self.left = shell, name, limit, limit

    def write(self, text: str) -> int:
        """Keep what there is room for; say that all was written."""
        if self.left > 0 and text:
            part = {"output_type": "stream", "name": self.name, "text": text[: self.left]}
            outputs = self.shell.outputs
            if outputs and outputs[-1].get("name") == self.name:
                outputs[-1]["text"] += part["text"]
            else:
                outputs.append(part)
        self.left -= len(text)
        return len(text)

    def writable(self) -> bool:
        """It is."""
        return True


class Kernel:
    """One learner's process: its shell, the values that the grader holds references to, the pipe."""

    def __init__(self, shell: Shell, channel: Channel, limits: Limits) -> None:
        self.shell, self.channel, self.limits = shell, channel, limits
        self.objects: list[Any] = []
        self.places: dict[int, int] = {}
        self.course_classes: frozenset[str] = frozenset()  # names of the course's classes
        self.shared = objects.Shared(step=-1)
        self.to, self.leaves = self.encoder(), []
        self.printed: list[tuple[io.StringIO, io.StringIO]] = []
        self.attributes: dict[tuple[str, str], Any] = {}
        self.builtins = {name: getattr(builtins, name) for name in ("input", "print", "open")}
        self.streams = [Stream(shell, name, limits.outputs) for name in ("stdout", "stderr")]

    def serve(self) -> None:
        """Answer until the grader hangs up."""
        sys.stdout, sys.stderr = self.streams
        while True:
            self.answer(*self.channel.receive())

    def answer(self, request: Any, blobs: list[bytes]) -> None:
        """Do one thing and send what came of it, or the error."""
        self.shared.forget(request.get("gone", ()))
        self.to, self.leaves = self.encoder(request.get("plain") is True), []
        to, more = self.to, {}
        try:
            with self.conditions(request, more):
                reply = getattr(self, f"do_{request['do']}")(request, blobs, to)
                reply |= to.rest()
        except BaseException as error:  # exits and interrupts of a learner's function are answers too
            self.to = to = self.encoder()
            reply = self.told(error)
            reply |= to.rest()
        self.channel.send(more | reply, to.blobs)

    def encoder(self, plain: bool = False) -> Encoder:
        """What encodes a reply."""
        return Encoder(self.keep, self.course_classes, self.shared, plain)

    def keep(self, value: Any) -> dict[str, Any]:
        """A reference to a value that cannot cross, with what the grader may know of it."""
        index = self.places.setdefault(id(value), len(self.objects))
        if index == len(self.objects):
            self.objects.append(value)
        return {"o": index} | self.described(value)

    def described(self, value: Any) -> dict[str, Any]:
        """Kind and name of an object, its class, the parameters of a function."""
        facts = {"k": _kind(value), "name": clean(getattr(value, "__name__", type(value).__name__), 200)}
        facts["calls"] = callable(value)
        if type(value).__module__ == "__main__" and facts["k"] == "object":
            facts["of"] = self.keep(type(value))
        if facts["k"] == "class" and issubclass(value, BaseException):
            facts["family"] = _family(value)
        elif facts["k"] == "class":
            facts["bases"] = [kind.__name__ for kind in value.__mro__[1:] if kind.__module__ == "__main__"]
            facts |= _described_class(value)
        elif hasattr(type(value), "__next__"):
            facts["next"] = True
        if type(value).__name__ in LIKE:
            facts["like"] = type(value).__name__
        if type(value).__module__.startswith("matplotlib."):
            facts["type"] = [type(value).__module__, type(value).__name__]
        facts["awaited"] = inspect.iscoroutinefunction(value)
        with contextlib.suppress(Exception):
            facts["doc"] = clean(value.__doc__ or "", 2000)
            facts["params"] = [
                [p.name, p.kind.value, p.default is not p.empty, _default(p.default)]
                for p in list(inspect.signature(value).parameters.values())[:50]
            ]
        return facts

    def told(self, error: BaseException, depth: int = 0) -> dict[str, Any]:
        """An exception: the family of its class, what it says, its arguments where they are data."""
        facts = {"error": _family(type(error)), "text": _text(error), "args": []}
        with contextlib.suppress(Exception):
            facts["args"] = [self.to.node(arg) for arg in error.args[:20]]
        with contextlib.suppress(Exception):
            facts["facts"] = self.to.node({k: v for k, v in vars(error).items() if _default(v) is not None})
        if type(error).__module__ == "__main__" and isinstance(error, Exception):
            facts |= {"of": self.keep(type(error)), "o": self.keep(error)["o"]}
        if error.__cause__ is not None and depth < 3:
            facts["cause"] = self.told(error.__cause__, depth + 1)
        return facts

    # Requests ---------------------------------------------------------------------------------------------

    def do_run(self, request: Any, blobs: list[bytes], to: Encoder) -> Any:
        """Run a cell; its outputs, and whether it raised."""
        for stream in self.streams:
            stream.left = self.limits.outputs
        self.shell.outputs.clear()
        with alarm(request["seconds"]), terminal(self.shell, self.limits.outputs):
            result = self.shell.run_cell(request["source"], store_history=True)
        if "matplotlib.pyplot" in sys.modules:  # in a notebook, figures end with the cell that drew them
            with contextlib.suppress(Exception):
                sys.modules["matplotlib.pyplot"].close("all")
        shown = kept(self.shell.outputs, self.limits.outputs, self.limits.images)
        self.shell.outputs.clear()
        value = to.node_or(result.result, self.keep) if request.get("value") else None
        return {"outputs": shown, "raised": not result.success, "value": value}

    def do_get(self, request: Any, blobs: list[bytes], to: Encoder) -> Any:
        """The variables of these names that exist."""
        space, values = self.shell.user_ns, {}
        for name in request["names"]:
            if name in space:
                values[name] = to.node_or(space[name], self.keep)
        return {"values": values}

    def do_classes(self, request: Any, blobs: list[bytes], to: Encoder) -> Any:
        """Objects of the course's classes of these names cross by content from now on."""
        self.course_classes = frozenset(request["names"])
        return {}

    def do_sync(self, request: Any, blobs: list[bytes], to: Encoder) -> Any:
        """Have objects of the course's classes be what the grader made of them."""
        self.loads(blobs[0])
        return {}

    def do_call(self, request: Any, blobs: list[bytes], to: Encoder) -> Any:
        """Call an object with the grader's arguments."""
        args, options = self.loads(blobs[0])
        function = self.objects[request["o"]]
        result = function(*args, **options)
        if request.get("awaited"):
            result = asyncio.run(result)
        reply = {"value": to.node(result), "states": _states(args), "leaves": self.leaves}
        reply["same"] = next((index for index, arg in enumerate(args) if arg is result), None)
        if request.get("back"):
            reply["after"] = to.node_or([args, options], lambda value: None)
        return reply

    def do_operate(self, request: Any, blobs: list[bytes], to: Encoder) -> Any:
        """One of the OPERATORS on an object, and perhaps a second thing."""
        function = OPERATORS[request["name"]]
        return {"value": to.node(function(self.objects[request["o"]], *self.loads(blobs[0])))}

    def do_attribute(self, request: Any, blobs: list[bytes], to: Encoder) -> Any:
        """An attribute of an object."""
        return {"value": to.node(getattr(self.objects[request["o"]], request["name"]))}

    def do_content(self, request: Any, blobs: list[bytes], to: Encoder) -> Any:
        """What an object of a class that derives from a plain type holds."""
        value = self.objects[request["o"]]
        return {"value": to.node(objects.content_of(value))}

    def do_assign(self, request: Any, blobs: list[bytes], to: Encoder) -> Any:
        """Give an attribute of an object a value, or take it away."""
        target, values = self.objects[request["o"]], self.loads(blobs[0])
        for value in values:
            plain = isinstance(value, Live) and isinstance(target, type)
            setattr(target, request["name"], _as_function(value) if plain else value)
        if not values:
            delattr(target, request["name"])
        return {}

    def do_put(self, request: Any, blobs: list[bytes], to: Encoder) -> Any:
        """Give names of the notebook other values, or take them away."""
        self.shell.user_ns.update(zip(request["names"], self.loads(blobs[0]), strict=True))
        for name in request["gone"]:
            self.shell.user_ns.pop(name, None)
        return {}

    def do_builtins(self, request: Any, blobs: list[bytes], to: Encoder) -> Any:
        """Put objects of the grader's in the place of some builtins, and all others back."""
        values = self.builtins | dict(zip(request["names"], self.loads(blobs[0]), strict=True))
        for name, value in values.items():
            setattr(builtins, name, value)
        return {}

    def do_module(self, request: Any, blobs: list[bytes], to: Encoder) -> Any:
        """Give an attribute of a module another value, or the one that it had."""
        module, name = importlib.import_module(request["module"]), request["name"]
        before = self.attributes.setdefault((request["module"], name), getattr(module, name, None))
        setattr(module, name, *(self.loads(blobs[0]) or [before]))
        return {}

    def do_seed(self, request: Any, blobs: list[bytes], to: Encoder) -> Any:
        """Bring the generators of numbers to where the grader's are."""
        python_state, numpy_state, torch_state = self.loads(blobs[0])
        random.setstate(python_state)
        np.random.set_state(numpy_state)
        if torch_state is not None and "torch" in sys.modules:
            torch = sys.modules["torch"]
            torch.set_rng_state(torch.from_numpy(torch_state))
        return {}

    def do_pyplot(self, request: Any, blobs: list[bytes], to: Encoder) -> Any:
        """The functions that tell the current figure."""
        import matplotlib.pyplot

        return {"value": to.node({name: getattr(matplotlib.pyplot, name) for name in FIGURES})}

    def do_close(self, request: Any, blobs: list[bytes], to: Encoder) -> Any:
        """Close all figures, as the end of a cell does."""
        sys.modules["matplotlib.pyplot"].close("all")
        return {}

    def do_backward(self, request: Any, blobs: list[bytes], to: Encoder) -> Any:
        """Gradients of a tensor that was returned, for the inputs of the call that made it."""
        import torch

        inputs = [self.objects[index] for index in request["inputs"]]
        (given,) = self.loads(blobs[0])
        gradients = torch.autograd.grad(
            self.objects[request["o"]], inputs, given, retain_graph=True, allow_unused=True
        )
        return {"value": [None if g is None else arrays.tensor_node(to, g.detach()) for g in gradients]}

    def do_file(self, request: Any, blobs: list[bytes], to: Encoder) -> Any:
        """The bytes of a file that the learner names."""
        path = Path(request["path"])
        if not path.is_file() or path.stat().st_size > FETCHED:
            raise FileNotFoundError(f"{path.name} is missing, or larger than {FETCHED >> 20} MB")
        return {"value": to.node(path.read_bytes())}

    def do_exists(self, request: Any, blobs: list[bytes], to: Encoder) -> Any:
        """Whether there is an ordinary file of this name."""
        return {"value": Path(request["path"]).is_file()}

    def do_write(self, request: Any, blobs: list[bytes], to: Encoder) -> Any:
        """Files for the work folder: the learner's own, then the course's, which are read-only."""
        for (name, mode), content in zip(request["files"], blobs, strict=True):
            path = Path(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            path.write_bytes(content)
            path.chmod(mode)
        return {}

    def do_files(self, request: Any, blobs: list[bytes], to: Encoder) -> Any:
        """Files that a test made, under the paths that they have there."""
        if not os.path.lexists(request["work"]):  # the test's working folder is this one
            os.makedirs(os.path.dirname(request["work"]), exist_ok=True)
            os.symlink(os.getcwd(), request["work"])
        for name in request["gone"]:
            if os.path.isfile(name):
                os.remove(name)
        for name in request["folders"]:
            os.makedirs(name, exist_ok=True)
        return self.do_write({"files": [(name, 0o644) for name in request["files"]]}, blobs, to)

    def do_tree(self, request: Any, blobs: list[bytes], to: Encoder) -> Any:
        """What lies under a path: bytes by relative path, None for folders and for what is large."""
        top = Path(request["path"])
        paths = [top, *(_some(top.rglob("*")) if top.is_dir() else ())]
        contents = {}
        for path in (path for path in paths if path.exists()):
            name = "" if path == top else path.relative_to(top).as_posix() + "/" * path.is_dir()
            small = path.is_file() and path.stat().st_size <= FETCHED >> 6
            contents[name] = path.read_bytes() if small else None
        return {"value": to.node(contents)}

    def do_import(self, request: Any, blobs: list[bytes], to: Encoder) -> Any:
        """A module of the learner's, and the names in it that are for others."""
        module = importlib.import_module(request["name"])
        names = getattr(module, "__all__", [name for name in vars(module) if not name.startswith("_")])
        return {"value": to.node([module, list(names)])}

    def do_weights(self, request: Any, blobs: list[bytes], to: Encoder) -> Any:
        """The weights of a model."""
        weights = self.objects[request["o"]].model.state_dict().items()
        nodes = [[name, arrays.tensor_node(to, tensor.detach())] for name, tensor in weights]
        return {"value": {"d": nodes}}

    def do_session(self, request: Any, blobs: list[bytes], to: Encoder) -> Any:
        """Whose variant the notebook asked for."""
        session = sys.modules.get("autograder.session")
        return {"value": str(session.whose()) if session else ""}

    # Arguments --------------------------------------------------------------------------------------------

    def loads(self, content: bytes) -> Any:
        """The grader's arguments; what stays with the grader becomes a function that asks it."""
        reader = pickle.Unpickler(io.BytesIO(content))
        reader.persistent_load = self.persistent
        for _ in range(reader.load()):
            value, parts, state = reader.load()
            objects.fill(value, parts)
            objects.set_state(value, state)
            self.shared.note(value)
        return reader.load()

    def persistent(self, mark: Any) -> Any:
        """A value of the learner's that comes back, a tensor to differentiate by, or a live object."""
        kind, *rest = mark
        if kind == "class":
            return self.class_of(*rest)
        if kind == "member":
            return objects.member(self.class_of(rest[0]), rest[1])
        if kind == "own":
            return self.own_object(*rest)
        if kind == "mine":
            return self.objects[rest[0]]
        if kind == "leaf":
            tensor, plain = rest[0].requires_grad_(), rest[1]
            self.leaves.append(self.keep(tensor)["o"])
            return tensor if plain else tensor * 1.0  # a result may be changed in place, a leaf may not
        index, name, acts = rest
        return (LiveObject if acts else Live)(self, index, name)

    def class_of(self, name: str) -> type:
        """The class that the notebook has under a qualified name of the course's."""
        first, *more = name.split(".")
        return functools.reduce(getattr, more, self.shell.user_ns[first])

    def own_object(self, name: str, number: int, content: Any) -> Any:
        """An object of a class of the course's; the one that came before under this number."""
        if number not in self.shared.objects:
            self.shared.keep(number, objects.bare(self.class_of(name), content))
        return self.shared.objects[number]

    @contextlib.contextmanager
    def conditions(self, request: Any, more: dict[str, Any]) -> Iterator[None]:
        """Patience, keyboard and hashes as the request says; what is printed goes into `more`."""
        if "stdin" not in request:  # nothing of the learner's runs
            yield
            return
        typed = None if request["stdin"] is None else io.StringIO(request["stdin"])
        with contextlib.ExitStack() as stack:
            self.printed.append((io.StringIO(), io.StringIO()))
            stack.callback(lambda: more.update(self.said(), typed=typed.tell() if typed else 0))
            stack.enter_context(contextlib.redirect_stdout(self.printed[-1][0]))
            stack.enter_context(contextlib.redirect_stderr(self.printed[-1][1]))
            if typed:
                stack.callback(setattr, sys, "stdin", sys.stdin)
                sys.stdin = typed
            if request.get("salt") is not None:
                stack.enter_context(other_session(request["salt"]))
            stack.enter_context(alarm(request["seconds"], "the call"))
            if request.get("patience"):
                stack.enter_context(limited(request["patience"]))
            yield

    def said(self, last: bool = True) -> dict[str, str]:
        """What was printed since the request, or since somebody last asked; `last`: the request is done."""
        if not self.printed:
            return {}
        texts = [stream.getvalue()[: self.limits.outputs] for stream in self.printed[-1]]
        for stream in self.printed.pop() if last else self.printed[-1]:
            stream.seek(0)
            stream.truncate()
        return dict(zip(("said", "errors"), texts, strict=True))


class Live:
    """A function or an object of the grader's: using it asks the grader, who answers with data."""

    def __init__(self, kernel: Kernel, index: int, name: str) -> None:
        self._ask = lambda content: _callback(kernel, index, content)
        self._name = name

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Call it where it lives."""
        return self._ask(lambda to: {"args": to.node([list(args), dict(options)])})

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return self._ask(lambda to: {"attribute": name})

    def __repr__(self) -> str:
        return self._name


class LiveObject(Live):
    """An object whose class a test defines, or a mock: some operators ask the grader too."""

    def __bool__(self) -> bool:
        return True

    def __iter__(self) -> Iterator[Any]:
        return iter(self._operate("iter"))

    def __exit__(self, *error: Any) -> Any:
        return self._operate("exit", None, None, None)

    def _operate(self, name: str, *args: Any) -> Any:
        return self._ask(lambda to: {"operate": name, "args": to.node([list(args), {}])})


for _name in ("enter", "next", "len", "getitem", "setitem", "delitem", "contains"):
    setattr(LiveObject, f"__{_name}__", lambda self, *args, _name=_name: self._operate(_name, *args))


def _as_function(value: Live) -> Callable[..., Any]:
    """A function that calls a live object: as a class's attribute it gets the instance."""
    return lambda *args, **options: value(*args, **options)


def _callback(kernel: Kernel, index: int, content: Callable[[Encoder], dict[str, Any]]) -> Any:
    to = kernel.encoder()
    message = {"callback": index} | content(to) | to.rest()
    kernel.channel.send(message | kernel.said(last=False), to.blobs)
    while True:
        reply, blobs = kernel.channel.receive()
        if "do" not in reply:
            break
        kernel.answer(reply, blobs)
    if "raise" in reply:
        raise pickle.loads(blobs[0])
    return kernel.loads(blobs[0])


def _described_class(value: type) -> dict[str, Any]:
    """The plain type that a class adds to and which operators it defines; the fields of a dataclass."""
    facts: dict[str, Any] = {"base": base_of(value)}
    if facts["base"]:
        defined = [name for kind in value.__mro__ if kind.__module__ == "__main__" for name in vars(kind)]
        facts["own"] = [name.strip("_") for name in defined if name.startswith("__")]
    if dataclasses.is_dataclass(value):
        frozen = value.__dataclass_params__.frozen
        facts["fields"] = {"names": [field.name for field in dataclasses.fields(value)], "frozen": frozen}
    return facts


def _is(value: Any, module: str, name: str) -> bool:
    return type(value).__module__ == module and type(value).__qualname__ == name


def _kind(value: Any) -> str:
    """What the grader makes of an object: a function, a class, a module, a model, or an object."""
    if _is(value, "rslib.models.loaded", "Policy") or _is(value, "rslib.models.rewards", "RewardModel"):
        return "model"
    if isinstance(value, type):
        return "class"
    if inspect.ismodule(value):
        return "module"
    routine = inspect.isroutine(value) and not set(getattr(value, "__dict__", ())) - {"__wrapped__"}
    return "function" if routine or isinstance(value, functools.partial) else "object"


def _family(kind: type) -> list[list[str]]:
    """Module and name of a class and of those that it comes from."""
    return [[str(base.__module__), str(base.__name__)] for base in kind.__mro__][:12]


def _default(value: Any) -> Any:
    """The default of a parameter, if it is plain data."""
    return value if type(value) in (bool, int, float, str) else None


def _text(error: BaseException) -> str:
    try:
        return clean(str(error), 4000)
    except BaseException:
        return ""


def _some(values: Any) -> Iterator[Any]:
    for count, value in enumerate(values):
        if count >= 100_000:
            raise ValueError("more than 100,000 values")
        yield value


def _states(args: Any) -> list[Any]:
    """Where the generators among the arguments stand after the call."""
    return [
        [index, _plain_state(arg.bit_generator.state)]
        for index, arg in enumerate(args)
        if isinstance(arg, np.random.Generator)
    ]


def _plain_state(state: Any) -> Any:
    return {k: _plain_state(v) for k, v in state.items()} if isinstance(state, dict) else state


@contextlib.contextmanager
def alarm(seconds: float, what: str = "the cell") -> Iterator[None]:
    """Raise TimeoutError in the block when its time is over."""

    def ring(signum: int, frame: Any) -> None:
        raise TimeoutError(f"{what} was stopped after {seconds:g} seconds")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def terminal(shell: Shell, limit: int) -> Iterator[None]:
    """Text that programs write to the terminal itself becomes output of the cell."""
    start = os.lseek(1, 0, os.SEEK_END)
    try:
        yield
    finally:
        text = os.pread(1, limit, start)
        os.ftruncate(1, 0)
        os.lseek(1, 0, os.SEEK_SET)
        if text:
            written = text.decode("utf-8", "replace")
            shell.outputs.append({"output_type": "stream", "name": "stdout", "text": written})


def run(shell: Shell, channel: Channel, limits: Limits, seed: int) -> None:
    """Become the learner's process: seeds of its own, terminal in a file, then serve."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(seed)
    descriptor = os.open("/tmp", os.O_TMPFILE | os.O_RDWR, 0o600)
    for target in (1, 2):
        os.dup2(descriptor, target)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.path.insert(0, "")  # as in a notebook: modules beside it
    os.write(channel.writer, HELLO)  # the kernel of the system adds which process it is
    with contextlib.suppress(WireError):
        Kernel(shell, channel, limits).serve()
    os._exit(0)
