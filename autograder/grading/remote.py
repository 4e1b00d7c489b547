"""The learner's values as the tests see them: exact data, and stand-ins that ask over the pipe.

A stand-in never lets the learner's process see what it is compared with: no operator between a stand-in and
plain data crosses. A function that returns an object whose `==` is always true therefore gains nothing.
"""

from __future__ import annotations

import contextlib
import enum
import functools
import io
import math
import operator
import os
import pickle
import shutil
import sys
import time
import types
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import numpy as np

from autograder.exercise import Variant
from autograder.grading import bounds, standins
from autograder.grading.inside import kinds, objects, processes
from autograder.grading.inside.arrays import bytes_of, tensor_of
from autograder.grading.inside.frames import Channel, Gone, Late, WireError
from autograder.grading.inside.objects import TESTS, write_back
from autograder.grading.inside.outputs import clean
from autograder.grading.inside.wire import Decoder, Encoder
from autograder.grading.standins import RemoteError, RemoteObject
from autograder.grading.uses import Uses
from autograder.work import Work
from rslib import errors

if TYPE_CHECKING:
    from autograder.grading.both_sides import Files

CALL_SECONDS = 60.0
"""Seconds after which a call is stopped; one that does not heed that ends the whole submission."""
GRACE = 5.0
"""Seconds that a cell may take to notice that its time is over."""
BIGGEST_MODEL = 64 << 20
SAID = 100_000
"""Characters that one call may print."""
ACTS = ("call", "operate", "attribute", "assign")
"""Requests that run something of the learner's."""


LIVE: dict[str, Callable[..., Any]] = {
    "enter": lambda target: target.__enter__(),
    "exit": lambda target, *error: bool(target.__exit__(*error)),
    "iter": lambda target: [value for _, value in zip(range(100_000), target, strict=False)],
    "setitem": operator.setitem,
    "delitem": operator.delitem,
    "getitem": operator.getitem,
    "contains": operator.contains,
    "next": next,
    "len": len,
}
"""Operators of ours that the learner's code may use on an object of a test, or on a mock."""
OF_MOCKS = frozenset({*dir(mock.MagicMock()), *dir(mock.AsyncMock())})
"""What mocks have of their own: it sets them up and tells of their calls, and is for the test alone."""


OVER = "this object of a test is no longer there: the test cell that handed it out is over"


class Lost(errors.RSError):
    """The learner's process is gone, or does not answer: nothing more can be asked of it."""


class Remote:
    """The learner's process, from outside."""

    def __init__(self, channel: Channel, call_seconds: float = CALL_SECONDS) -> None:
        self.channel, self.call_seconds = channel, call_seconds
        self.lives: list[Callable[..., Any]] = []
        self.former = 0  # objects of ours that were handed out before this test cell
        self.serves = True  # but not between two test cells
        self.named: dict[int, Any] = {}  # of the former ones, what tests left in names of the notebook
        self.left: Mapping[str, Any] = {}
        self.ends = math.inf
        self.asked: frozenset[str] = frozenset()
        self.classes: dict[int, type] = {}
        self.known = objects.Known(RemoteObject)
        self.space: Mapping[str, Any] = {}
        self.exits = False
        self.graph: tuple[list[Any], list[int]] = [], []
        self.pid = 0
        self.salt: int | None = None
        self.lost = ""
        self.before: Callable[[], None] | None = None
        self.after: Callable[[Mapping[str, Any]], None] | None = None
        self.stdin: str | None = None
        self.files: Files | None = None
        self.uses = Uses()

    def ask(
        self, request: Mapping[str, Any], args: Any = None, seconds: float | None = None
    ) -> tuple[dict[str, Any], Decoder, list[Any]]:
        """Send a request, answer its callbacks: the reply, what decodes it, the tensors that had gradients.

        Raises the learner's exception (an exact builtin or engine one), or Lost.
        """
        leaves: list[Any] = []
        acts = request["do"] in ACTS
        if acts and self.before:
            self.before()
        if acts and self.files:
            self.files.push(args)
        if acts and args is None and self.known.changed():
            self.ask({"do": "sync"}, ())
        more: dict[str, Any] = {"stdin": self.stdin, "seconds": self.call_seconds} if acts else {}
        more |= {"gone": self.known.unused()} if acts else {}
        blobs = [self._pickled(args, leaves)] if args is not None else []
        reply, parts = self._exchange(more | dict(request), blobs, seconds or self.call_seconds + GRACE)
        if acts:
            _print(reply)
        if acts and self.after:
            self.after(reply)
        if acts and self.files:
            self.files.pull()
        if "error" in reply:
            if request.get("name") == "next" and reply["error"][:1] == [["builtins", "StopIteration"]]:
                raise StopIteration
            raise self._raised(reply, Decoder(parts, self.refer, self.known, self.uses.arrived))
        return reply, Decoder(parts, self.refer, self.known, self.uses.arrived), leaves

    def _exchange(
        self, request: dict, blobs: list[bytes], seconds: float
    ) -> tuple[dict[str, Any], list[bytes]]:
        """One request and its reply. After a failure the pipe is of no use: what comes is out of step."""
        if self.lost:
            raise Lost(self.lost)
        before, self.ends = self.ends, min(self.ends, time.monotonic() + seconds)
        try:
            self.channel.send(request, blobs, seconds)
            while True:
                reply, parts = self.channel.receive(self._left())
                if not isinstance(reply, dict):
                    raise WireError("a reply of no form")
                if "callback" not in reply:
                    return reply, parts
                self._call_back(reply, parts, seconds)
        except WireError as error:
            reasons = {Gone: "its process ended", Late: f"it gave no answer within {seconds:g} seconds"}
            self.lost = reasons.get(type(error), "it sent what cannot be read")
            raise Lost(self.lost) from error
        finally:
            self.ends = before

    def _left(self) -> float:
        """Seconds that the request under way still has, the call-backs of it included. Raises Late."""
        left = self.ends - time.monotonic()
        if left <= 0:
            raise Late("no answer in time")
        return left

    @contextlib.contextmanager
    def serving(self) -> Iterator[None]:
        """Objects of ours that are handed out in the block answer in the block, and not after it."""
        self._forget()
        self.serves = True
        try:
            yield
        finally:
            self.serves = False
            self._forget()

    def _forget(self) -> None:
        left = {id(value) for value in self.left.values()}
        self.named |= {k: x for k, x in enumerate(self.lives, self.former) if id(x) in left}
        self.former += len(self.lives)
        self.lives.clear()

    def send(self, request: Mapping[str, Any], blobs: list[bytes]) -> None:
        """Send a request with raw parts; what is answered is of no interest. Raises Lost."""
        self._exchange(dict(request), blobs, self.call_seconds)

    def value(self, request: Mapping[str, Any], args: Any = None) -> Any:
        """The value of the reply to a request."""
        reply, decoder, _ = self.ask(request, args)
        value = decoder.value(reply.get("value"))
        decoder.rest(reply)
        return value

    def learn(self) -> None:
        """Tell the learner's process which classes the instructor's statements defined here."""
        if names := self.known.learn(self.space):
            self.ask({"do": "classes", "names": names})

    def run(self, source: str, seconds: float) -> tuple[list[Any], bool]:
        """Run a cell: its outputs as the learner's process tells them, and whether it raised."""
        return self.run_test(source, seconds, value=False)[:2]

    def run_test(self, source: str, seconds: float, value: bool = True) -> tuple[list[Any], bool, Any]:
        """Run a cell as `run`, and the value of its last expression too, if that is asked for."""
        asked = {"do": "run", "seconds": seconds, "source": source, "value": value}
        reply, decoder, _ = self.ask(asked, seconds=seconds + GRACE)
        outputs = reply.get("outputs")
        value = decoder.value(reply.get("value"))
        decoder.rest(reply)
        return (outputs if isinstance(outputs, list) else []), bool(reply.get("raised")), value

    def names(self, names: Sequence[str], plain: bool = False) -> dict[str, Any]:
        """Those of the names that the notebook defines, with their values.

        plain: objects of a class of the learner's that derives from a plain type become plain.
        """
        reply, decoder, _ = self.ask({"do": "get", "names": list(names), "plain": plain})
        values = reply.get("values")
        values = values if isinstance(values, dict) else {}
        defined = {name: decoder.value(values[name]) for name in names if name in values}
        decoder.rest(reply)
        return defined

    def call(self, reference: int, args: tuple, options: dict, *, back: bool, **conditions: Any) -> Any:
        """Call an object of the learner's. `back`: what it does to its arguments happens to ours."""
        request = {"do": "call", "o": reference, "back": back, "salt": self.salt}
        reply, decoder, inputs = self.ask(request | conditions, (args, options))
        _advance(args, reply.get("states"))
        leaves = reply.get("leaves")
        self.graph = inputs, [n for n in leaves if type(n) is int] if isinstance(leaves, list) else []
        value = decoder.value(reply.get("value"))
        decoder.arrived = lambda _: None  # what was an argument is ours
        after = decoder.value(reply.get("after")) if back else None
        decoder.rest(reply)
        if isinstance(after, list) and len(after) == 2:
            write_back([list(args), options], [list(after[0]), after[1]])
        same = reply.get("same")
        if back and type(same) is int and 0 <= same < len(args) and type(args[same]) is type(value):
            return args[same]  # a test may ask whether it got its own list back, or a copy
        return value

    def processor_seconds(self) -> float:
        """Processor seconds of the learner's process, as the kernel counts them; of the clock without it."""
        with contextlib.suppress(IndexError):
            fields = processes.stat(self.pid)
            return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        return time.monotonic()

    def _call_back(self, reply: Mapping[str, Any], parts: Sequence[bytes], seconds: float) -> None:
        """Call an object of ours with the learner's data; an exception of it goes back as one.

        What the request has left of its `seconds` is the object's time.
        """
        decoder, left = Decoder(parts, self.refer, self.known, self.uses.arrived), self._left()
        index = reply["callback"]
        _print(reply)
        if type(index) is not int or not 0 <= index < self.former + len(self.lives):
            raise WireError("a callback to nothing")
        try:
            target = self.named.get(index) if index < self.former else self.lives[index - self.former]
            if target is None or not self.serves:
                raise RuntimeError(OVER)
            message = f"functions of the test that the notebook calls took more than {seconds:g} seconds"
            with bounds.patience(left), bounds.wait(left, message):
                content = self._pickled(self._of_ours(target, reply, decoder), [])
            self.channel.send({"value": True}, [content], self._left())
        except (WireError, Lost):
            raise
        except Exception as error:
            self.channel.send({"raise": True}, [pickle.dumps(_sendable(error))], self._left())

    def _of_ours(self, target: Any, reply: Mapping[str, Any], decoder: Decoder) -> Any:
        """The result of a call, or what an object shows whose class a test cell defines, or of a mock."""
        name = reply.get("attribute")
        args, options = decoder.value(reply["args"]) if name is None else ((), {})
        decoder.rest(reply)
        if name is None and "operate" not in reply:
            return target(*args, **options)
        mocked = isinstance(target, mock.NonCallableMock)
        if not mocked and type(target).__module__ not in (TESTS, "unittest.mock"):
            raise AttributeError("no such attribute")
        if name is None:
            return LIVE[reply["operate"]](target, *args)
        if not isinstance(name, str) or name.startswith("_") or (mocked and name in OF_MOCKS):
            raise AttributeError("no such attribute")
        return getattr(target, name)

    def _pickled(self, value: Any, leaves: list[Any]) -> bytes:
        """A value in pickle's form: the number of the instructor's objects in it, their parts, the value.

        The innermost come first: an object that is a key of a dict must be whole by then.
        """
        lives, inner = len(self.lives), _Pickler(io.BytesIO(), self, [])
        inner.dump(value)
        for shared in self.known.changed():
            inner.dump(shared)
        for shared in inner.objects:  # it grows
            inner.dump((objects.content_of(shared), objects.state_of(shared)))
        del self.lives[lives:]
        buffer = io.BytesIO()
        pickler = _Pickler(buffer, self, leaves)
        pickler.dump(len(inner.objects))
        for shared in reversed(inner.objects):
            pickler.dump((shared, objects.content_of(shared), objects.state_of(shared)))
            self.known.note(shared)
        pickler.dump(value)
        return buffer.getvalue()

    def refer(self, node: Mapping[str, Any], decoder: Decoder) -> Any:
        """The stand-in for a reference in a frame that `decoder` reads."""
        if "tensor" in node:
            return _with_gradient(self, node["tensor"], node["g"])
        decoder.count(20)  # a class or a function is made for it
        reference, kind = node.get("o"), node.get("k")
        if type(reference) is not int:
            raise WireError("a reference to nothing")
        if kind == "function":
            return standins.function(self, reference, node)
        if kind == "class":
            return self._class(reference, node)
        if kind == "model":
            return RemoteModel(self, reference)
        return self._object(reference, node, decoder)

    def _class(self, reference: int, node: Mapping[str, Any]) -> type:
        """One class here for each of theirs, so that isinstance works."""
        if reference not in self.classes:
            if len(self.classes) > 1000:
                raise WireError("more than a thousand classes")
            self.classes[reference] = standins.new_class(self, reference, node)
        return self.classes[reference]

    def _object(self, reference: int, node: Mapping[str, Any], decoder: Decoder) -> Any:
        of = node.get("of")
        theirs = isinstance(of, dict) and of.get("k") == "class"
        kind = self.refer(of, decoder) if theirs else RemoteObject
        return standins.new_object(self, reference, node, kind, decoder.value(node.get("v")))

    def given_class(self, name: str) -> type | None:
        """A class that the instructor's own cells define under this name, or None."""
        defined = self.space.get(name)
        ours = (
            isinstance(defined, type)
            and defined.__module__ == TESTS
            and not hasattr(defined, "_reference_of_class")
        )
        return defined if ours else None

    def assign(self, reference: int, name: str, values: list[Any]) -> None:
        """Give an attribute of an object of theirs a value, or without one take it away."""
        self.ask({"do": "assign", "o": reference, "name": name}, values)

    def _raised(self, reply: Mapping[str, Any], decoder: Decoder, depth: int = 0) -> Exception:
        """The learner's exception, and that which it came of."""
        args: list[Any] = []
        theirs = None
        with contextlib.suppress(WireError):
            args = list(decoder.value(reply.get("args") or []))
        if isinstance(of := reply.get("of"), dict) and of.get("k") == "class":
            theirs = self.refer(of, decoder)
        error = standins.rebuilt(self, reply, args, theirs)
        with contextlib.suppress(WireError):
            facts = decoder.value(reply.get("facts"))
            names = [name for name in facts or () if isinstance(name, str) and not name.startswith("_")]
            error.__dict__.update({name: facts[name] for name in names})
        cause = reply.get("cause")
        if isinstance(cause, dict) and "error" in cause and depth < 3:
            error.__cause__ = self._raised(cause, decoder, depth + 1)
        with contextlib.suppress(WireError):
            decoder.rest(reply if depth == 0 else {})
        return error


def _print(reply: Mapping[str, Any]) -> None:
    """What the learner's code printed: a test may look at it."""
    for name, stream in (("said", sys.stdout), ("errors", sys.stderr)):
        if isinstance(reply.get(name), str) and reply[name]:
            stream.write(clean(reply[name], SAID))


class _Pickler(pickle.Pickler):
    """Sends plain values by content, callables of ours by reference, the learner's own values back."""

    def __init__(self, buffer: io.BytesIO, remote: Remote, leaves: list[Any]) -> None:
        super().__init__(buffer)
        self.remote, self.leaves = remote, leaves
        self.objects: list[Any] = []
        self.seen: set[int] = set()

    def persistent_id(self, value: Any) -> Any:
        """A mark for what does not cross by content; None for the rest."""
        if isinstance(value, RemoteObject | types.FunctionType) and hasattr(value, "_reference"):
            return "mine", value._reference
        if isinstance(value, type) and "_reference_of_class" in vars(value):
            return "mine", value._reference_of_class
        if type(value).__module__ == "torch" and getattr(value, "requires_grad", False):
            self.leaves.append(value)
            return "leaf", value.detach(), value.is_leaf
        known = self.remote.known
        if isinstance(value, type) and known.classes.get(value.__qualname__) is value:
            return "class", value.__qualname__
        if known.is_own(value) and _crosses(value, known):
            return self._own(value, known)
        if _is_live(value):
            self.remote.lives.append(value)
            acts = type(value).__module__ in (TESTS, "unittest.mock")
            return "live", self.remote.former + len(self.remote.lives) - 1, _shown(value), acts
        return None

    def _own(self, value: Any, known: objects.Known) -> tuple[Any, ...]:
        """A mark for an object of a class of the instructor's; its parts are sent apart."""
        name, number = type(value).__qualname__, None
        if isinstance(value, enum.Enum):
            return "member", name, objects.member_name(value)
        content = None
        number = known.number(value)
        if number not in self.seen:
            self.seen.add(number)
            self.objects.append(value)
            fixed = objects.base_of(type(value)) in objects.VALUES
            content = objects.content_of(value) if fixed else None
        return "own", name, number, content

    def reducer_override(self, value: Any) -> Any:
        """Tensors as bytes, as torch's own way needs shared memory; made plainer, what cannot be pickled."""
        if type(value).__module__ == "torch" and type(value).__name__ == "Tensor":
            return tensor_of, bytes_of(value)
        if isinstance(value, kinds.UNPICKLED):
            kind = kinds.BY_TYPE[type(value)]
            return kinds.again, (kind.name, kind.pack(value))
        if isinstance(value, tuple) and type(value).__module__ == "__main__":
            return kinds.named_tuple, (type(value).__name__, value._fields, tuple(value))
        return NotImplemented


def _crosses(value: Any, known: objects.Known) -> bool:
    """Whether all that an object of the instructor's holds would come back as it is, or can be called."""
    if isinstance(value, enum.Enum) or id(value) in known.numbers:
        return True
    try:
        Encoder(functools.partial(_stays, known)).node([objects.content_of(value), objects.state_of(value)])
    except WireError:
        return False
    return True


def _stays(known: objects.Known, value: Any) -> None:
    if not (callable(value) or known.is_own(value) or isinstance(value, RemoteObject)):
        raise WireError("an object that holds what cannot cross")


def _is_live(value: Any) -> bool:
    """Whether a value acts, and so stays here: a callable that nobody can import by its name.

    >>> _is_live(len), _is_live(np.mean), _is_live(lambda: 1)
    (False, False, True)
    """
    if type(value).__module__ in (TESTS, "unittest.mock"):
        return True
    if not callable(value) or isinstance(value, type | np.ufunc):
        return False
    if type(value).__module__.startswith("datasets.features"):  # a column's kind is data that can be called
        return False
    home, name = (
        sys.modules.get(getattr(value, "__module__", None) or "builtins"),
        getattr(value, "__qualname__", ""),
    )
    return home is None or getattr(home, name, None) is not value


def _shown(value: Any) -> str:
    """How a live object shows itself: its own words, but for one that a test cell made."""
    return type(value).__name__ if type(value).__module__ == TESTS else repr(value)[:200]


def _sendable(error: Exception) -> Exception:
    """The exception itself where the other side knows its class, else one with its words."""
    known = type(error).__module__ in ("builtins", errors.__name__)
    return error if known else RuntimeError(str(error))


# Changes, generators, gradients, tables, models -------------------------------------------------------------


def _advance(args: Sequence[Any], states: Any) -> None:
    """Generators among the arguments stand where the learner's function left its copies."""
    for item in states if isinstance(states, list) else []:
        with contextlib.suppress(TypeError, ValueError, KeyError, IndexError, OverflowError):
            index, state = item
            generator = args[index].bit_generator
            if state["bit_generator"] == generator.state["bit_generator"]:
                generator.state = state


def _with_gradient(remote: Remote, value: Any, reference: Any) -> Any:
    """A tensor whose gradient is asked for where its graph is."""
    import torch

    inputs, places = remote.graph

    class Through(torch.autograd.Function):
        """Forward the learner's values; backward ask for the gradients."""

        @staticmethod
        def forward(ctx: Any, *tensors: Any) -> Any:
            return value.clone()

        @staticmethod
        def backward(ctx: Any, given: Any) -> Any:
            request = {"do": "backward", "o": reference, "inputs": places}
            gradients = remote.value(request, (given.detach(),))
            return tuple(_fitting(g, t) for g, t in zip(gradients, inputs, strict=True))

    if type(reference) is not int or not inputs or len(inputs) != len(places):
        return value.requires_grad_() if value.is_floating_point() else value
    return Through.apply(*inputs)


def _fitting(gradient: Any, tensor: Any) -> Any:
    """A gradient of the shape and kind of its tensor, or None."""
    fits = getattr(gradient, "shape", None) == tensor.shape
    return gradient.to(tensor.dtype) if fits else None


class RemoteModel:
    """A model of the learner's; its weights are fetched when somebody asks for its fingerprint."""

    def __init__(self, remote: Remote, reference: int) -> None:
        self._remote, self._reference = remote, reference

    def fingerprint(self) -> str:
        """The fingerprint of the embedded reward model with these weights; "" if they do not fit it."""
        import copy

        from rslib.models import load_reward_model

        weights = self._remote.value({"do": "weights", "o": self._reference})
        ours = copy.deepcopy(load_reward_model("tiny"))
        known = ours.model.state_dict()
        fits = isinstance(weights, dict) and weights.keys() == known.keys()
        if not fits or any(getattr(weights[k], "shape", None) != known[k].shape for k in known):
            return ""
        ours.model.load_state_dict(weights)
        return ours.fingerprint()


class RemoteWork(Work):
    """A learner's work in another process. Graders use it as they use `Work`."""

    def __init__(
        self,
        remote: Remote,
        names: Sequence[str],
        variant: Variant,
        folder: Path,
        class_seed: int | None = None,
    ) -> None:
        self.remote, self.class_seed = remote, class_seed
        self.folders: dict[str, Path] = {}
        super().__init__(remote.names(names, plain=True), variant, folder)

    def function(self, name: str, patience: float | None = None) -> Callable[..., Any]:
        """As `Work.function`; patience is kept where the function runs."""
        reference = getattr(self._names.get(name), "_reference", None)
        if reference is None:
            return super().function(name)

        def called(*args: Any, **options: Any) -> Any:
            return self.remote.call(reference, args, options, back=False, patience=patience, plain=True)

        return Work({name: called}, self.variant, self.folder).function(name)

    @contextlib.contextmanager
    def other_session(self, salt: int) -> Iterator[None]:
        """As `Work.other_session`, in the learner's process."""
        self.remote.salt = salt
        try:
            yield
        finally:
            self.remote.salt = None

    def processor_seconds(self) -> float:
        """As `Work.processor_seconds`, of the learner's process."""
        return self.remote.processor_seconds()

    def class_rng(self, rng: np.random.Generator, purpose: str) -> np.random.Generator:
        """As `Work.class_rng`: from a secret of the course, so that equal policies are measured once."""
        if self.class_seed is None:
            return super().class_rng(rng, purpose)
        return np.random.default_rng([self.class_seed, zlib.crc32(purpose.encode())])

    def model_folder(self, path: str | Path) -> Path:
        """A folder with the embedded policy's files and the learner's weights; they are checked on loading.

        Anything else that lies in the learner's folder is not looked at. Each is fetched once.
        """
        from rslib.models import POLICIES

        if str(path) in POLICIES:
            return Path(path)
        if str(path) not in self.folders:
            target = self.folder / f"model-{len(self.folders)}"
            self.folders[str(path)] = self._fetched(str(path), target)
        return self.folders[str(path)]

    def _fetched(self, path: str, target: Path) -> Path:
        """`target`, filled as `model_folder` says if the learner's folder holds a model of a model's size."""
        from rslib.models import ASSETS, POLICIES

        try:
            weights = self.remote.value({"do": "file", "path": f"{path}/model.safetensors"})
        except (OSError, ValueError, RemoteError, TypeError):
            return target  # which is not there, as the learner's is not
        if not isinstance(weights, bytes) or len(weights) > BIGGEST_MODEL:
            return target
        shutil.copytree(ASSETS / POLICIES["tiny"], target)
        (target / "model.safetensors").write_bytes(weights)
        return target
