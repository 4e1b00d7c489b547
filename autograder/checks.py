r"""Checks of a learner's function as data: what is drawn, what is right, what each wrong idea would give.

    Agrees      on drawn inputs the function gives the right value; a wrong one is named by its idea
    Corner      likewise on one fixed input
    Finite      the result holds no NaN and no infinity
    Refuses     the function answers with a ValueError
    Unchanged   the function leaves its arguments as they are
    Quick       a small case takes too little time for a list of every subset, or of every sequence

`graded("f", IDEAS, *checks)` is the `grade` of a part: its checks in their order. Any function of (learner,
rng) is a check too. Ideas stand in a block of text, each with a name, its id in brackets, and its message;
names with " / " between them share both:

    swapped (F03): The sign is swapped: this loss falls when the rejected response gets
        the higher reward.
"""

from __future__ import annotations

import contextlib
import copy
import importlib
import io
import itertools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from autograder.exercise import (
    ANSWERED,
    RUNS,
    UNREADABLE,
    CheckFailed,
    Grade,
    Misconception,
    diagnose,
    numbers,
    require,
    same,
    short,
)
from autograder.work import TimedOut, Work
from rslib.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

Rng = np.random.Generator
Inputs = tuple | Callable[[Rng], tuple]
"""Arguments of the learner's function, or what draws them."""
IDEA = re.compile(r"^(\S.*?)(?: \(([^()]*)\))?: (.+(?:\n[ \t]+.+)*)", re.MULTILINE)
MOST_DRAWS = 10_000
TIMED = 0.1
"""More processor seconds than this for a small case are spent on listing every subset, or every sequence."""
NEAR = Misconception(
    "near",
    "This is near the right value and not equal to it. Is it drawn at random, rounded, or is a small "
    "constant added? The short formula is exact.",
    None,
)


# Ideas ----------------------------------------------------------------------------------------------------


class Ideas:
    r"""The misconceptions of an exercise, read from a block of text; the module says how one is written.

    Without brackets the first name is the id as well; `()` stands for a mistake that is only technical.

    >>> ideas = Ideas("sum / total: The sum.\nturned (F03): The sign is\n    turned.\nother (): No mean.")
    >>> ideas["turned"].id, ideas["turned"].message, ideas["other"].id, ideas["total"].id
    ('F03', 'The sign is turned.', '', 'sum')
    >>> [(idea.id, idea.value) for idea in ideas.of({"sum": 6, "turned": -2})]
    [('sum', 6), ('F03', -2)]
    """

    def __init__(self, text: str) -> None:
        self._known = {
            name: Misconception(names.split(" / ")[0] if id is None else id, " ".join(message.split()), None)
            for names, id, message in (match.groups() for match in IDEA.finditer(text))
            for name in names.split(" / ")
        }

    def __getitem__(self, name: str) -> Misconception:
        return self._known[name]

    def of(self, values: Mapping[str, Any]) -> list[Misconception]:
        """The ideas of these names with the values that they give, in order."""
        return [Misconception(self[name].id, self[name].message, value) for name, value in values.items()]

    def filled(self, name: str, /, **words: Any) -> Misconception:
        """The idea with `{words}` of its message filled in."""
        return Misconception(self[name].id, self[name].message.format(**words), None)


# The learner's function -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Learner:
    """A function of the learner's, called like one, with the ideas that explain its wrong values."""

    work: Work
    name: str
    function: Callable[..., Any]
    ideas: Ideas

    def __call__(self, *args: Any) -> Any:
        """What the function returns. CheckFailed for whatever it raises, "endless" if it was stopped."""
        try:
            return self.function(*args)
        except CheckFailed as failed:
            if not isinstance(failed.__cause__, TimedOut):
                raise
        idea = self.ideas["endless"]
        raise CheckFailed("comes to an end", idea.message, idea=idea.id, case=self.call(args))

    def call(self, args: tuple) -> str:
        """A call as text, for messages."""
        return f"{self.name}({', '.join(map(short, args))})"


Check = Callable[[Learner, Rng], None]


def graded(name: str, ideas: Ideas, *checks: Check, seconds: float | None = None) -> Grade:
    """The `grade` of a part: the learner's function `name` goes through the checks in their order.

    seconds: processor seconds after which a call is stopped, and fails with the idea "endless"; by default
    it may go on.
    """

    def grade(work: Work, rng: Rng) -> None:
        learner = Learner(work, name, work.function(name, seconds), ideas)
        for check in checks:
            check(learner, rng)

    return grade


def graded_by(module: str, name: str) -> Grade:
    """The `grade` of this name in a module of `exercises` that needs torch; it is imported when it marks."""

    def grade(work: Work, rng: Rng) -> None:
        getattr(importlib.import_module(f"autograder.exercises.{module}"), name)(work, rng)

    return grade


def in_turn(*grades: Grade) -> Grade:
    """The `grade` of a part with several functions: one after the other."""

    def grade(work: Work, rng: Rng) -> None:
        for of_function in grades:
            of_function(work, rng)

    return grade


def _as_it_came(result: Any, *_: Any) -> Any:
    """What a check compares where nothing else is said: the result itself."""
    return result


def drawn_apart(
    draw: Callable[[Rng], tuple],
    right: Callable[..., Any],
    ideas: Callable[..., list[Misconception]],
    rng: Rng,
    apart: float,
) -> tuple:
    """Inputs on which the right value and those of different ideas are more than `apart` from each other.

    draw: draws inputs. right, ideas: the right value and the misconceptions of inputs; ideas of one message
    are one.
    Raises ConfigError where no such inputs are found.
    """
    for _ in range(MOST_DRAWS):
        inputs = draw(rng)
        readings = [Misconception("right", "", right(*inputs)), *ideas(*inputs)]
        pairs = itertools.combinations(readings, 2)
        if all(_distance(a.value, b.value) > apart for a, b in pairs if a.message != b.message):
            return inputs
    raise ConfigError(f"no inputs on which all readings differ by {apart}", fix="Draw larger inputs.")


def _distance(first: Any, second: Any) -> float:
    """The largest difference of two values of numbers; infinite where their shapes or their NaN differ.

    >>> _distance([1.0, 2.0], [1.0, 2.5]), _distance(1.0, [1.0]), _distance(float("nan"), float("nan"))
    (0.5, inf, 0.0)
    """
    left, right = numbers(first), numbers(second)
    if left is None or right is None or left.shape != right.shape:
        return float("inf")
    gaps = np.where(np.isnan(left) & np.isnan(right) | (left == right), 0.0, np.abs(left - right))
    return float(np.where(np.isnan(gaps), np.inf, gaps).max(initial=0.0))


def _inputs(args: Inputs, rng: Rng) -> tuple:
    return args(rng) if callable(args) else args


# Checks ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Agrees:
    """On `count` drawn inputs the function gives the right value.

    check: the check's name. draw: draws the arguments. right: the right value of arguments. otherwise: name
    of the idea for a value that no other explains. slips: name of idea -> the value that it gives, of
    arguments. tolerance: absolute and relative. apart: how far the values of different ideas, and the right
    one, lie from each other; inputs are drawn until they do. of: turns (result, *arguments) into what is
    compared. reveal: False where the right value is itself the answer. again: name of the idea for a result
    that a second call changes; by default there is one call. near: what lies as near as this to the right
    value, absolute and relative, may be drawn at random or rounded, and is told so. turned: name of the idea
    for a wrong value that changes where the first argument, a list, is put in another order.
    """

    check: str
    draw: Callable[[Rng], tuple]
    right: Callable[..., Any]
    otherwise: str
    slips: Callable[..., Mapping[str, Any]] = lambda *_: {}
    count: int = 1
    tolerance: float = 1e-5
    apart: float = 0.0
    of: Callable[..., Any] = _as_it_came
    reveal: bool = True
    again: str = ""
    near: float = 0.0
    turned: str = ""

    def __call__(self, learner: Learner, rng: Rng) -> None:
        """Compare the values of `count` inputs."""
        for _ in range(self.count):
            args = self._drawn(learner.ideas, rng)
            result, right = self._called(learner, args), self.right(*args)
            diagnose(
                self.check,
                result,
                right,
                ideas=learner.ideas.of(self.slips(*args)),
                otherwise=self._unexplained(learner, args, result, right),
                tolerance=self.tolerance,
                case=learner.call(args),
                reveal=self.reveal,
            )

    def _called(self, learner: Learner, args: tuple) -> Any:
        """What is compared; CheckFailed where a second call is asked for and returns something else."""
        result = self.of(learner(*args), *args)
        if self.again:
            second = self.of(learner(*args), *args)
            got, case = f"{short(result)}, then {short(second)}", f"{learner.call(args)}, twice"
            require(same(result, second, 1e-5), self.check, learner.ideas[self.again], case=case, got=got)
        return result

    def _unexplained(self, learner: Learner, args: tuple, result: Any, right: Any) -> Misconception:
        """The idea for a value that no slip explains."""
        if same(result, right, self.near):
            return NEAR
        if self.turned and not same(result, right, self.tolerance):
            first, *others = args
            mixed = [*first[1::2], *first[::2]]  # turned round alone, neighbours stay neighbours
            other = self.of(learner(mixed, *others), mixed, *others)
            if not same(result, other, self.tolerance):
                return learner.ideas[self.turned]
        return learner.ideas[self.otherwise]

    def _drawn(self, ideas: Ideas, rng: Rng) -> tuple:
        if not self.apart:
            return self.draw(rng)
        return drawn_apart(self.draw, self.right, lambda *args: ideas.of(self.slips(*args)), rng, self.apart)


class Corner(Agrees):
    """Agrees on one input, whose right value is given."""

    def __init__(
        self,
        check: str,
        args: Inputs,
        right: Any,
        otherwise: str,
        tolerance: float = 1e-5,
        of: Callable[..., Any] = _as_it_came,
    ) -> None:
        draw = partial(_inputs, args)
        super().__init__(check, draw, lambda *_: right, otherwise, tolerance=tolerance, of=of)


@dataclass(frozen=True)
class Finite:
    """No NaN and no infinity comes back. otherwise: name of the idea that leads to one."""

    check: str
    args: Inputs
    otherwise: str
    of: Callable[..., Any] = _as_it_came

    def __call__(self, learner: Learner, rng: Rng) -> None:
        """Look for NaN and infinity."""
        args = _inputs(self.args, rng)
        result = numbers(self.of(learner(*args), *args))
        finite = result is not None and np.isfinite(result).all()
        require(finite, self.check, learner.ideas[self.otherwise], case=learner.call(args), got=result)


@dataclass(frozen=True)
class Refuses:
    """A ValueError is the right answer. otherwise: name of the idea of what went through."""

    check: str
    args: Inputs
    otherwise: str

    def __call__(self, learner: Learner, rng: Rng) -> None:
        """Ask for the ValueError."""
        args = _inputs(self.args, rng)
        idea, case = learner.ideas[self.otherwise], learner.call(args)
        require(refuses(learner, *args), self.check, idea, case=case, expected="ValueError")


def refuses(function: Callable[..., Any], *args: Any) -> bool:
    """Whether the learner's function answers with a ValueError.

    An error of another kind is no refusal, nor is None; what another check has to say is raised.
    """
    try:
        function(*args)
    except CheckFailed as failed:
        if failed.check not in (RUNS, ANSWERED):
            raise
        return isinstance(failed.__cause__, ValueError)
    return False


@dataclass(frozen=True)
class Unchanged:
    """The function leaves its arguments as they are."""

    args: Inputs

    def __call__(self, learner: Learner, rng: Rng) -> None:
        """Compare the arguments after a call; outside of a check the learner's function gets no copies."""
        args, function = _inputs(self.args, rng), learner.work.object(learner.name)
        mine = copy.deepcopy(args)
        with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(Exception):
            function(*mine)
        pairs = enumerate(zip(mine, args, strict=True), 1)
        changed = [(number, after) for number, (after, before) in pairs if not _alike(after, before)]
        message = (
            f"`{learner.name}` changes what it was given, and whoever reads that table next finds another "
            "one. Work on a copy."
        )
        got = "".join(f"argument {number} afterwards: {short(after)}" for number, after in changed[:1])
        check, case = "leaves its input as it was", learner.call(args)
        require(not changed, check, message, idea="input changed", case=case, got=got)


def _alike(first: Any, second: Any) -> bool:
    """Equal in content; arrays and tensors number by number. A generator is there to be drawn from."""
    if isinstance(first, np.random.Generator):
        return True
    if hasattr(first, "shape"):
        return np.array_equal(np.asarray(first), np.asarray(second))
    return repr(first) == repr(second)


@dataclass(frozen=True)
class Quick:
    """A small case takes so little time that a large one ends. otherwise: name of the idea of a long list."""

    check: str
    args: Inputs
    otherwise: str

    def __call__(self, learner: Learner, rng: Rng) -> None:
        """Measure a call's processor seconds; in doubt, it runs twice."""
        args = _inputs(self.args, rng)

        def seconds() -> float:
            start = learner.work.processor_seconds()
            learner(*args)
            return learner.work.processor_seconds() - start

        first = seconds()
        slow = first > 10 * TIMED or (first > TIMED and seconds() > TIMED)
        require(not slow, self.check, learner.ideas[self.otherwise], case=f"{learner.call(args)}, timed")


def as_list(result: Any, *_: Any) -> Any:
    """A list of numbers, whatever kind of number they are."""
    values = [numbers(v) for v in result] if isinstance(result, list | tuple) else None
    if values is None or any(v is None or v.size != 1 for v in values):
        return result
    return [float(v.reshape(())) for v in values]


# Tensors --------------------------------------------------------------------------------------------------


def tensor(values: Any) -> Tensor:
    """Values as float32, what the engine trains in."""
    import torch

    return torch.tensor(np.asarray(values), dtype=torch.float32)


def as_tensor(result: Any, check: str, shape: tuple[int, ...] | None = None) -> Tensor:
    """The learner's result as a tensor of the asked shape; an array or a list will do."""
    import torch

    try:
        values = result if isinstance(result, torch.Tensor) else torch.as_tensor(np.asarray(result, float))
        plain = not values.is_complex() and values.detach().double().numpy() is not None
    except UNREADABLE:
        plain = False
    require(plain, check, "A tensor of numbers is asked for.", got=short(result))
    fits = shape is None or tuple(values.shape) == shape
    message = f"The result has the shape {tuple(values.shape)}; {shape} is asked for."
    require(fits, check, message, idea="shape")
    return values


def read_tensor(check: str, like: int | None = 0) -> Callable[..., Tensor]:
    """What turns a result into a tensor without gradient, of the shape of argument number `like`, if any."""

    def of(result: Any, *args: Any) -> Tensor:
        return as_tensor(result, check, None if like is None else tuple(args[like].shape)).detach()

    return of


def tensor_agrees(
    check: str, *args: Any, like: int | None = 0, tolerance: float = 1e-4, **options: Any
) -> Agrees:
    """Agrees with these arguments and options, on a tensor as `read_tensor` reads it; ideas lie apart."""
    defaults = {"of": read_tensor(check, like), "apart": 20 * tolerance}
    return Agrees(check, *args, tolerance=tolerance, **(defaults | options))
