"""First year: tests that delete, replace and mock names, read what was printed and how it was written."""

from tests.courses.cells import MODEL, Course, Student, answer, locked, test, text

NOTEBOOK = [
    text("# Loops and functions"),
    locked("setup", "import math"),
    text("`cubes(n)`: the cubes of 1 to n; a ValueError below 1."),
    answer(
        "cubes",
        """
        def cubes(n):
            ### BEGIN SOLUTION
            if n < 1:
                raise ValueError("n must be at least 1")
            return [i ** 3 for i in range(1, n + 1)]
            ### END SOLUTION
    """,
    ),
    test(
        "test_cubes",
        1,
        """
        assert cubes(1) == [1]
        assert cubes(4) == [1, 8, 27, 64]
        for wrong in (0, -3):
            try:
                cubes(wrong)
            except ValueError:
                pass
            else:
                raise AssertionError("no ValueError for %d" % wrong)
    """,
    ),
    text("`sum_of_cubes(n)` calls `cubes`."),
    answer(
        "sum_of_cubes",
        """
        def sum_of_cubes(n):
            ### BEGIN SOLUTION
            return sum(cubes(n))
            ### END SOLUTION
    """,
    ),
    test(
        "test_sum_of_cubes",
        1,
        """
        assert sum_of_cubes(3) == 36
        kept = cubes
        del cubes
        try:
            sum_of_cubes(2)
        except NameError:
            pass
        else:
            raise AssertionError("sum_of_cubes does not use cubes")
        finally:
            cubes = kept
    """,
    ),
    test(
        "test_sum_replaced",
        1,
        """
        asked, kept = [], cubes
        def cubes(n):
            asked.append(n)
            return [100, n]
        try:
            assert sum_of_cubes(5) == 105 and asked == [5]
        finally:
            cubes = kept
    """,
    ),
    text("`ask_age()` asks with `input` until it gets a whole number, and returns it."),
    answer(
        "ask_age",
        """
        def ask_age():
            ### BEGIN SOLUTION
            while True:
                given = input("Your age? ")
                if given.isdigit():
                    return int(given)
                print("A number, please.")
            ### END SOLUTION
    """,
    ),
    test(
        "test_ask_age",
        2,
        """
        from unittest.mock import patch
        with patch("builtins.input", side_effect=["x", "4 2", "42"]) as asked:
            assert ask_age() == 42
        assert asked.call_count == 3
        with patch("builtins.input", return_value="7"):
            assert ask_age() == 7
    """,
    ),
    text("`triangle(height)` prints a triangle of stars and returns nothing."),
    answer(
        "triangle",
        """
        def triangle(height):
            ### BEGIN SOLUTION
            for width in range(1, height + 1):
                print("*" * width)
            ### END SOLUTION
    """,
    ),
    test(
        "test_triangle",
        2,
        r"""
        import io
        from contextlib import redirect_stdout
        seen = io.StringIO()
        with redirect_stdout(seen):
            result = triangle(3)
        assert result is None
        assert seen.getvalue() == "*\n**\n***\n"
        ### BEGIN HIDDEN TESTS
        with redirect_stdout(io.StringIO()) as empty:
            triangle(0)
        assert empty.getvalue() == ""
        ### END HIDDEN TESTS
    """,
    ),
    text("`countdown(n)`: the list n, n-1 ... 0, without a loop: the function calls itself."),
    answer(
        "countdown",
        """
        def countdown(n):
            ### BEGIN SOLUTION
            return [0] if n == 0 else [n] + countdown(n - 1)
            ### END SOLUTION
    """,
    ),
    test(
        "test_countdown",
        2,
        """
        import ast, inspect, textwrap
        assert countdown(3) == [3, 2, 1, 0]
        tree = ast.parse(textwrap.dedent(inspect.getsource(countdown)))
        loops = (ast.For, ast.While, ast.ListComp, ast.GeneratorExp)
        assert not any(isinstance(part, loops) for part in ast.walk(tree)), "a loop"
        calls = [part.func.id for part in ast.walk(tree)
                 if isinstance(part, ast.Call) and isinstance(part.func, ast.Name)]
        assert "countdown" in calls and "range" not in calls
    """,
    ),
    text("`area(radius)` of a circle, by `math.pi`."),
    answer(
        "area",
        "def area(radius):\n    ### BEGIN SOLUTION\n    return math.pi * radius ** 2\n    ### END SOLUTION",
    ),
    test(
        "test_area",
        1,
        """
        from unittest import mock
        assert abs(area(2) - 12.566370614359172) < 1e-9
        with mock.patch.object(math, "pi", 3):
            assert area(2) == 12, "math.pi is not used"
    """,
    ),
]
IDS = ("cubes", "sum_of_cubes", "ask_age", "triangle", "countdown", "area")
COURSE = Course(
    notebooks={"week1/functions": NOTEBOOK},
    students={
        "model": Student(dict.fromkeys(IDS, MODEL)),
        "loops": Student(
            {
                "cubes": """
                    def cubes(n):
                        if n <= 0:
                            raise ValueError
                        result = []
                        i = 1
                        while i <= n:
                            result.append(i * i * i)
                            i += 1
                        return result
                """,
                "sum_of_cubes": """
                    def sum_of_cubes(n):
                        total = 0
                        for c in cubes(n):
                            total += c
                        return total
                """,
                "ask_age": """
                    def ask_age():
                        try:
                            return int(input())
                        except ValueError:
                            return ask_age()
                """,
                "triangle": r"""
                    import sys
                    def triangle(height):
                        sys.stdout.write("".join("*" * (i + 1) + "\n" for i in range(height)))
                """,
                "countdown": """
                    def countdown(n):
                        if n < 0:
                            return []
                        rest = countdown(n - 1)
                        rest.insert(0, n)
                        return rest
                """,
                "area": "def area(r): return r * r * math.pi",
            },
            before={"sum_of_cubes": "cubes(3)"},
            after={"ask_age": "# ask_age()", "triangle": "triangle(4)"},
        ),
        "short": Student(
            {
                "cubes": """
                def _check(n):
                    if n < 1: raise ValueError(f"{n} is too small")
                    return n
                cubes = lambda n: list(map(lambda i: pow(i, 3), range(1, _check(n) + 1)))
            """,
                "sum_of_cubes": "sum_of_cubes = lambda n: sum(cubes(n))",
                "ask_age": """
                import builtins
                def ask_age():
                    text = ""
                    while not text.isnumeric():
                        text = builtins.input("age: ")
                    return int(text)
            """,
                "triangle": r"""
                def triangle(height):
                    if height:
                        print(*("*" * k for k in range(1, height + 1)), sep="\n")
            """,
                "countdown": """
                def countdown(n):
                    if n == 0:
                        return [0]
                    return [n, *countdown(n - 1)]
            """,
                "area": "from math import pow as power\narea = lambda radius: math.pi * power(radius, 2)",
            }
        ),
        "own_way": Student(
            {  # right numbers, by the way that is not asked for
                "cubes": """
                import numpy as np
                def cubes(n):
                    assert n >= 1, "too small"
                    return [int(i) for i in np.arange(1, n + 1) ** 3]
            """,
                "sum_of_cubes": "def sum_of_cubes(n):\n    return (n * (n + 1) // 2) ** 2",
                "ask_age": "def ask_age():\n    return int(input('age'))",
                "triangle": "def triangle(height):\n    for i in range(height):\n        print('*' * (i + 1))",
                "countdown": "def countdown(n):\n    return list(range(n, -1, -1))",
                "area": "def area(radius):\n    return 3.141592653589793 * radius ** 2",
            }
        ),
        "returns": Student(
            {  # returns what should be printed, prints what should be returned
                "cubes": "def cubes(n):\n    print([i ** 3 for i in range(1, n + 1)])",
                "sum_of_cubes": "def sum_of_cubes(n):\n    return sum(cubes(n) or [])",
                "ask_age": "age = 42\ndef ask_age():\n    return age",
                "triangle": r"""
                def triangle(height):
                    return "\n".join("*" * i for i in range(height + 1))
            """,
                "countdown": "def countdown(n):\n    return [] if n < 0 else [n] + [m for m in countdown(n - 1)]",
                "area": "def area(radius):\n    print(radius)\n    return math.pi * radius * radius",
            }
        ),
        "broken": Student(
            {
                "cubes": "def cubes(n)\n    return []",
                "sum_of_cubes": "1 / 0",
                "ask_age": "age = input('How old?')\ndef ask_age():\n    return int(age)",
                "triangle": MODEL,
                "area": MODEL,
            }
        ),
        "blank": Student(),
    },
)
