"""nbgrader's own `quickstart` course; its notebooks come from the installed nbgrader."""

from tests.courses.cells import MODEL, Course, Student

IDS = (
    "squares",
    "sum_of_squares",
    "sum_of_squares_equation",
    "sum_of_squares_application",
    "part-a",
    "part-b",
)
COURSE = Course(
    notebooks={},
    example="ps1",
    students={
        "model": Student(dict.fromkeys(IDS, MODEL)),
        "loops": Student(
            {
                "squares": """
                    def squares(n):
                        if not n >= 1:
                            raise ValueError("too small")
                        out, i = [], 1
                        while i <= n:
                            out.append(i * i)
                            i += 1
                        return out
                """,
                "sum_of_squares": """
                    from functools import reduce
                    sum_of_squares = lambda n: reduce(lambda a, b: a + b, squares(n))
                """,
                "sum_of_squares_equation": "$1 + 4 + \\dots + n^2$",
                "part-a": "Fibonacci.",
            },
            after={"squares": "squares(3)"},
        ),
        "numpy": Student(
            {
                "squares": """
                import numpy as np
                def squares(n):
                    if n < 1:
                        raise ValueError(n)
                    return (np.arange(1, n + 1) ** 2).tolist()
            """,
                "sum_of_squares": "def sum_of_squares(n):\n    return int(np.sum(squares(n)))",
                "sum_of_squares_application": "print(sum_of_squares(4))",
            }
        ),
        "formula": Student(
            {  # does not call squares
                "squares": MODEL,
                "sum_of_squares": "def sum_of_squares(n):\n    return n * (n + 1) * (2 * n + 1) // 6",
            }
        ),
        "wrong": Student(
            {
                "squares": "def squares(n):\n    return [i ** 2 for i in range(n)]",
                "sum_of_squares": "def sum_of_squares(n):\n    return sum(squares(n + 1))",
            }
        ),
        "blank": Student(),
    },
)
