"""Objects: classes of students, subclasses of the instructor's, dataclasses, operators, iteration, contexts."""

from tests.courses.cells import MODEL, Course, Student, answer, locked, test, text

NOTEBOOK = [
    text("# Classes"),
    locked(
        "base",
        '''
        from abc import ABC, abstractmethod


        class Shape(ABC):
            """Something with an area."""

            made = 0

            def __init__(self, name):
                self.name = name
                Shape.made += 1

            @abstractmethod
            def area(self):
                """The area."""

            def describe(self):
                return f"{self.name}: {self.area():.1f}"
    ''',
    ),
    text("`Square(side)` and `Circle(radius)` are Shapes; a square has a settable property `side`."),
    answer(
        "shapes",
        """
        ### BEGIN SOLUTION
        import math

        class Square(Shape):
            def __init__(self, side):
                super().__init__("square")
                self.side = side

            @property
            def side(self):
                return self._side

            @side.setter
            def side(self, value):
                if value < 0:
                    raise ValueError("negative")
                self._side = value

            def area(self):
                return self._side ** 2

        class Circle(Shape):
            def __init__(self, radius):
                super().__init__("circle")
                self.radius = radius

            def area(self):
                return math.pi * self.radius ** 2
        ### END SOLUTION
    """,
    ),
    test(
        "test_shapes",
        2,
        """
        before = Shape.made
        shapes = [Square(2), Circle(1)]
        assert Shape.made == before + 2
        assert all(isinstance(shape, Shape) for shape in shapes)
        assert issubclass(Circle, Shape) and not issubclass(Circle, Square)
        assert [shape.describe() for shape in shapes] == ["square: 4.0", "circle: 3.1"]
    """,
    ),
    test(
        "test_property",
        1,
        """
        square = Square(3)
        square.side = 5
        assert square.area() == 25
        try:
            square.side = -1
        except ValueError:
            pass
        else:
            raise AssertionError("a negative side was taken")
        assert isinstance(Square.side, property)
    """,
    ),
    text("`Vector(x, y)`: a dataclass with +, -, scalar `*` from both sides, `abs`, equality, hash."),
    answer(
        "vector",
        """
        ### BEGIN SOLUTION
        from dataclasses import dataclass

        @dataclass(frozen=True)
        class Vector:
            x: float
            y: float

            def __add__(self, other):
                return Vector(self.x + other.x, self.y + other.y)

            def __sub__(self, other):
                return self + other * -1

            def __mul__(self, factor):
                return Vector(self.x * factor, self.y * factor)

            __rmul__ = __mul__

            def __abs__(self):
                return (self.x ** 2 + self.y ** 2) ** 0.5
        ### END SOLUTION
    """,
    ),
    test(
        "test_vector",
        3,
        """
        import dataclasses
        a, b = Vector(3, 4), Vector(1, -1)
        assert a + b == Vector(4, 3) and a - b == Vector(2, 5)
        assert 2 * a == a * 2 == Vector(6, 8)
        assert abs(a) == 5
        assert a != b and a != (3, 4)
        assert len({a, Vector(3, 4), b}) == 2
        ### BEGIN HIDDEN TESTS
        assert dataclasses.is_dataclass(Vector)
        assert repr(b) == "Vector(x=1, y=-1)"
        ### END HIDDEN TESTS
    """,
    ),
    text("`Playlist(*songs)`: iteration, `len`, `in`, indexing with slices, `append`, and `shuffled(rng)`."),
    answer(
        "playlist",
        """
        class Playlist:
            ### BEGIN SOLUTION
            def __init__(self, *songs):
                self.songs = list(songs)

            def __len__(self):
                return len(self.songs)

            def __iter__(self):
                return iter(self.songs)

            def __contains__(self, song):
                return song in self.songs

            def __getitem__(self, index):
                return Playlist(*self.songs[index]) if isinstance(index, slice) else self.songs[index]

            def append(self, song):
                self.songs.append(song)
                return self
            ### END SOLUTION
    """,
    ),
    test(
        "test_playlist",
        2,
        """
        songs = Playlist("a", "b", "c")
        songs.append("d")
        assert len(songs) == 4 and "b" in songs and "z" not in songs
        assert list(songs) == ["a", "b", "c", "d"] and [s.upper() for s in songs][0] == "A"
        assert songs[-1] == "d" and list(songs[1:3]) == ["b", "c"]
        assert isinstance(songs[:2], Playlist)
        with_index = dict(enumerate(songs))
        assert with_index[2] == "c"
        assert bool(Playlist()) is False
    """,
    ),
    text("`recording(log)`: a context manager that notes `in` and `out` in the list, also after an error."),
    answer(
        "context",
        """
        ### BEGIN SOLUTION
        from contextlib import contextmanager

        @contextmanager
        def recording(log):
            log.append("in")
            try:
                yield log
            finally:
                log.append("out")
        ### END SOLUTION
    """,
    ),
    test(
        "test_context",
        2,
        """
        log = []
        with recording(log) as same:
            same.append("work")
        assert log == ["in", "work", "out"]
        try:
            with recording(log):
                raise KeyError("x")
        except KeyError:
            pass
        else:
            raise AssertionError("the error was swallowed")
        assert log[-2:] == ["in", "out"]
    """,
    ),
]
IDS = ("shapes", "vector", "playlist", "context")
COURSE = Course(
    notebooks={"oop/classes": NOTEBOOK},
    students={
        "model": Student(dict.fromkeys(IDS, MODEL)),
        "plain_classes": Student(
            {
                "shapes": """
                    class Square(Shape):
                        def __init__(self, side):
                            Shape.__init__(self, name="square")
                            self._set(side)
                        def _get(self):
                            return self.__side
                        def _set(self, value):
                            if value < 0:
                                raise ValueError
                            self.__side = value
                        side = property(_get, _set)
                        def area(self):
                            return self.side * self.side

                    class Circle(Shape):
                        PI = 3.14159
                        def __init__(self, radius=1.0):
                            super(Circle, self).__init__("circle")
                            self.r = radius
                        def area(self): return self.PI * self.r * self.r
                """,
                "vector": """
                    import dataclasses as d, operator, math
                    @d.dataclass(eq=True, unsafe_hash=True, slots=True)
                    class Vector:
                        x: int = 0
                        y: int = 0
                        def _map(self, f, other): return type(self)(f(self.x, other.x), f(self.y, other.y))
                        def __add__(self, o): return self._map(operator.add, o)
                        def __sub__(self, o): return self._map(operator.sub, o)
                        def __mul__(self, k): return Vector(k * self.x, k * self.y)
                        def __rmul__(self, k): return self * k
                        def __abs__(self): return math.hypot(self.x, self.y)
                """,
                "playlist": """
                    class Playlist(list):
                        def __init__(self, *songs):
                            super().__init__(songs)
                        def __getitem__(self, i):
                            got = super().__getitem__(i)
                            return Playlist(*got) if type(i) is slice else got
                """,
                "context": """
                    class recording:
                        def __init__(self, log):
                            self.log = log
                        def __enter__(self):
                            self.log.append("in")
                            return self.log
                        def __exit__(self, *error):
                            self.log.append("out")
                            return False
                """,
            },
            after={"shapes": "Square(3).describe()", "vector": "Vector(1, 2) + Vector(3, 4)"},
        ),
        "clever": Student(
            {
                "shapes": """
                class Named(Shape):
                    def __init_subclass__(cls, **kw):
                        super().__init_subclass__(**kw)
                        cls.label = cls.__name__.lower()
                    def __init__(self):
                        super().__init__(self.label)
                class Square(Named):
                    def __init__(self, side):
                        super().__init__(); self.side = side
                    @property
                    def side(self): return self.__dict__["side"]
                    @side.setter
                    def side(self, v):
                        if v < 0: raise ValueError(f"side {v}")
                        self.__dict__["side"] = v
                    area = lambda self: self.side ** 2
                import numpy as np
                class Circle(Named):
                    def __init__(self, r): super().__init__(); self.r = r
                    def area(self): return np.pi * np.square(self.r)
            """,
                "vector": """
                from dataclasses import make_dataclass
                _ns = {
                    "__add__": lambda s, o: Vector(s.x + o.x, s.y + o.y),
                    "__sub__": lambda s, o: Vector(s.x - o.x, s.y - o.y),
                    "__mul__": lambda s, k: Vector(s.x * k, s.y * k),
                    "__rmul__": lambda s, k: s * k,
                    "__abs__": lambda s: abs(complex(s.x, s.y)),
                }
                Vector = make_dataclass("Vector", ["x", "y"], namespace=_ns, frozen=True)
            """,
                "playlist": """
                from collections.abc import MutableSequence
                class Playlist(MutableSequence):
                    def __init__(self, *s): self._s = [*s]
                    def __len__(self): return len(self._s)
                    def __getitem__(self, i):
                        return self._s[i] if isinstance(i, int) else Playlist(*self._s[i])
                    def __setitem__(self, i, v): self._s[i] = v
                    def __delitem__(self, i): del self._s[i]
                    def insert(self, i, v): self._s.insert(i, v)
            """,
                "context": """
                from contextlib import ExitStack, contextmanager
                @contextmanager
                def recording(log):
                    with ExitStack() as stack:
                        log.append("in")
                        stack.callback(log.append, "out")
                        yield log
            """,
            }
        ),
        "partly": Student(
            {  # no base class; a mutable vector; no slices
                "shapes": """
                class Square:
                    def __init__(self, side): self.side = side
                    def area(self): return self.side ** 2
                class Circle(Shape):
                    def __init__(self, r):
                        super().__init__("circle"); self.r = r
                    def area(self): return 3.14 * self.r ** 2
            """,
                "vector": """
                class Vector:
                    def __init__(self, x, y): self.x, self.y = x, y
                    def __eq__(self, o): return (self.x, self.y) == (o.x, o.y)
                    def __add__(self, o): return Vector(self.x + o.x, self.y + o.y)
            """,
                "playlist": """
                class Playlist:
                    def __init__(self, *songs): self.songs = list(songs)
                    def __len__(self): return len(self.songs)
                    def __getitem__(self, i): return self.songs[i]
                    def append(self, s): self.songs += [s]
            """,
                "context": """
                class recording:
                    def __init__(self, log): self.log = log
                    def __enter__(self): self.log.append("in"); return self.log
                    def __exit__(self, *e): self.log.append("out")
            """,
            }
        ),
        "abstract": Student(
            {
                "shapes": "class Square(Shape):\n    pass\nclass Circle(Shape):\n    pass",
                "vector": "from collections import namedtuple\nVector = namedtuple('Vector', 'x y')",
                "playlist": "def Playlist(*songs):\n    return list(songs)",
                "context": """
                class recording:
                    def __init__(self, log): self.log = log
                    def __enter__(self): self.log.append("in"); return self.log
                    def __exit__(self, *e): self.log.append("out"); return True
            """,
            }
        ),
        "blank": Student(),
    },
)
