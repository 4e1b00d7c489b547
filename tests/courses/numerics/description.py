"""Numerics: arrays, random seeds, tolerances, expected exceptions, partial credit by the last expression."""

from tests.courses.cells import MODEL, Course, Student, answer, locked, test, text

NOTEBOOK = [
    text("# Roots and random numbers"),
    locked(
        "setup",
        '''
        import random

        import numpy as np


        class NoConvergence(Exception):
            """Raised when a method does not come to an end."""

            def __init__(self, steps):
                super().__init__(f"no convergence after {steps} steps")
                self.steps = steps
    ''',
    ),
    text("`newton(f, df, x, steps=50)`: a root to 1e-10; `NoConvergence(steps)` if there is none by then."),
    answer(
        "newton",
        """
        def newton(f, df, x, steps=50):
            ### BEGIN SOLUTION
            for _ in range(steps):
                change = f(x) / df(x)
                x = x - change
                if abs(change) < 1e-12:
                    return x
            raise NoConvergence(steps)
            ### END SOLUTION
    """,
    ),
    test(
        "test_newton",
        2,
        """
        assert np.isclose(newton(lambda x: x * x - 2, lambda x: 2 * x, 1.0), 2 ** 0.5, atol=1e-9)
        assert abs(newton(np.cos, lambda x: -np.sin(x), 1.0) - np.pi / 2) < 1e-9
    """,
    ),
    test(
        "test_newton_fails",
        2,
        """
        try:
            newton(lambda x: x * x + 1, lambda x: 2 * x, 0.7, steps=9)
        except NoConvergence as error:
            assert error.steps == 9
            assert "9" in str(error)
        else:
            assert False, "it found a root where there is none"
    """,
    ),
    text(
        "`walk(n)`: n places of a random walk from 0, steps -1 or 1 by `np.random.choice`. "
        "`dice(n)`: n throws by `random.randint`."
    ),
    answer(
        "random",
        """
        ### BEGIN SOLUTION
        def walk(n):
            return np.cumsum(np.random.choice([-1, 1], size=n))

        def dice(n):
            return [random.randint(1, 6) for _ in range(n)]
        ### END SOLUTION
    """,
    ),
    test(
        "test_walk",
        2,
        """
        np.random.seed(7)
        expected = np.cumsum(np.random.choice([-1, 1], size=20))
        np.random.seed(7)
        np.testing.assert_array_equal(walk(20), expected)
    """,
    ),
    test(
        "test_dice",
        1,
        """
        random.seed(3)
        expected = [random.randint(1, 6) for _ in range(8)]
        random.seed(3)
        assert dice(8) == expected
    """,
    ),
    text("`rows_to_one(a)`: each row divided by its sum; a row of zeros stays; a ValueError unless 2-D."),
    answer(
        "rows",
        """
        def rows_to_one(a):
            ### BEGIN SOLUTION
            a = np.asarray(a, dtype=float)
            if a.ndim != 2:
                raise ValueError("two dimensions are needed")
            total = a.sum(axis=1, keepdims=True)
            return np.divide(a, total, out=np.zeros_like(a), where=total != 0)
            ### END SOLUTION
    """,
    ),
    test(
        "test_rows",
        4,
        """
        score = 0
        got = rows_to_one(np.array([[1.0, 3.0], [2.0, 2.0]]))
        if got.shape == (2, 2):
            score += 1
        if np.allclose(got, [[0.25, 0.75], [0.5, 0.5]]):
            score += 1
        with np.errstate(all="ignore"):
            if np.allclose(rows_to_one(np.array([[0.0, 0.0], [1.0, 1.0]])), [[0, 0], [0.5, 0.5]]):
                score += 1.5
        try:
            rows_to_one(np.arange(3))
        except ValueError:
            score += 0.5
        except Exception:
            pass
        score
    """,
    ),
    text("`trapezoid(f, a, b, n)`: the integral by n trapezoids."),
    answer(
        "trapezoid",
        """
        def trapezoid(f, a, b, n):
            ### BEGIN SOLUTION
            x = np.linspace(a, b, n + 1)
            y = np.array([f(value) for value in x])
            return float((b - a) / n * (y.sum() - (y[0] + y[-1]) / 2))
            ### END SOLUTION
    """,
    ),
    test(
        "test_trapezoid",
        3,
        """
        exact = 2.0
        errors = [abs(trapezoid(np.sin, 0, np.pi, n) - exact) for n in (4, 16, 64)]
        ### BEGIN HIDDEN TESTS
        assert abs(trapezoid(lambda x: 3 * x + 1, 0, 2, 1) - 8) < 1e-12
        ### END HIDDEN TESTS
        round(3 * sum(error < limit for error, limit in zip(errors, (0.2, 0.02, 0.001))) / 3, 2)
    """,
    ),
]
IDS = ("newton", "random", "rows", "trapezoid")
COURSE = Course(
    notebooks={"lab/numerics": NOTEBOOK},
    students={
        "model": Student(dict.fromkeys(IDS, MODEL)),
        "recursive": Student(
            {
                "newton": """
                def newton(f, df, x, steps=50, used=0):
                    if used == steps:
                        raise NoConvergence(steps)
                    new = x - f(x) / df(x)
                    return new if abs(new - x) < 1e-13 else newton(f, df, new, steps, used + 1)
            """,
                "random": """
                def walk(n):
                    steps = np.random.choice((-1, 1), n)
                    places = np.zeros(n, dtype=int)
                    here = 0
                    for i, step in enumerate(steps):
                        here += step
                        places[i] = here
                    return places
                from random import randint
                def dice(n):
                    return [] if n == 0 else dice(n - 1) + [randint(1, 6)]
            """,
                "rows": """
                def rows_to_one(a):
                    if np.ndim(a) != 2:
                        raise ValueError(np.ndim(a))
                    out = []
                    for row in a:
                        total = sum(row)
                        out.append([value / total if total else 0.0 for value in row])
                    return np.array(out)
            """,
                "trapezoid": """
                def trapezoid(f, a, b, n):
                    h = (b - a) / n
                    return sum(h * (f(a + i * h) + f(a + (i + 1) * h)) / 2 for i in range(n))
            """,
            }
        ),
        "vectors": Student(
            {
                "newton": """
                    class _Newton:
                        def __init__(self, f, df): self.f, self.df = f, df
                        def __call__(self, x): return x - self.f(x) / self.df(x)
                    def newton(f, df, x, steps=50):
                        step, previous, used = _Newton(f, df), np.inf, 0
                        while abs(previous - x) > 1e-12:
                            if used >= steps: raise NoConvergence(steps)
                            previous, x, used = x, step(x), used + 1
                        return np.float64(x)
                """,
                "random": """
                    walk = lambda n: np.random.choice([-1, 1], size=n).cumsum()
                    dice = lambda n: list(map(lambda _: random.randint(1, 6), range(n)))
                """,
                "rows": """
                    def rows_to_one(a):
                        a = np.array(a, float)
                        if len(a.shape) != 2: raise ValueError
                        s = a.sum(1)
                        s[s == 0] = 1
                        return (a.T / s).T
                """,
                "trapezoid": """
                    def trapezoid(f, a, b, n):
                        x = np.linspace(a, b, n + 1)
                        return np.trapezoid(np.vectorize(f)(x), x)
                """,
            },
            before={"random": "np.random.seed(0); random.seed(0)"},
            after={"trapezoid": "import matplotlib.pyplot as plt\ntrapezoid(np.exp, 0, 1, 100)"},
        ),
        "partly": Student(
            {
                "newton": """
                def newton(f, df, x, steps=50):
                    for _ in range(steps):
                        x = x - f(x) / df(x)
                    return x
            """,
                "random": """
                rng = np.random.default_rng(0)
                def walk(n):
                    return rng.choice([-1, 1], size=n).cumsum()
                def dice(n):
                    return [random.randint(1, 6) for _ in range(n)]
            """,
                "rows": "def rows_to_one(a):\n    return a / a.sum(axis=1)[:, None]",
                "trapezoid": "def trapezoid(f, a, b, n):\n    x = np.linspace(a, b, 11)\n    return np.trapezoid(f(x), x)",
            }
        ),
        "rough": Student(
            {
                "newton": """
                def newton(f, df, x, steps=50):
                    raise NoConvergence(steps)
            """,
                "random": """
                def walk(n):
                    return [sum(np.random.choice([-1, 1], size=n)[:i + 1]) for i in range(n)]
                def dice(n):
                    return [random.choice(range(1, 7)) for _ in range(n)]
            """,
                "rows": "def rows_to_one(a):\n    return a",
                "trapezoid": "def trapezoid(f, a, b, n):\n    return sum(f(a + i * (b - a) / n) for i in range(n)) * (b - a) / n",
            }
        ),
        "raises": Student(
            {
                "newton": "def newton(f, df, x, steps=50):\n    raise ValueError('no root')",
                "random": "def walk(n):\n    return np.random.choice([-1, 1], size=n)\ndice = [1, 2, 3]",
                "rows": "def rows_to_one(a):\n    raise ValueError",
                "trapezoid": "def trapezoid(f, a, b):\n    return 2.0",
            }
        ),
        "blank": Student(),
    },
)
