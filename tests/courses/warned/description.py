"""Warnings: stock nbgrader gives nothing for a test cell with text on stderr, whatever it says."""

from tests.courses.cells import MODEL, Course, Student, answer, locked, test

NOTEBOOK = [
    locked("setup", "import sys\nimport warnings\n\nimport numpy as np"),
    answer(
        "mean",
        "def mean(values):\n    ### BEGIN SOLUTION\n    return sum(values) / len(values)\n    ### END SOLUTION",
    ),
    test("test_mean", 2, "assert mean([1, 2, 3]) == 2"),
    answer(
        "root",
        "def root(x):\n    ### BEGIN SOLUTION\n    return x ** 0.5 if x >= 0 else float('nan')\n    ### END SOLUTION",
    ),
    test("test_root", 1, "assert root(4) == 2"),
    test(
        "test_root_negative",
        1,
        "with warnings.catch_warnings():\n    warnings.simplefilter('ignore')\n    assert np.isnan(root(-1))",
    ),
]
COURSE = Course(
    notebooks={"ps/warned": NOTEBOOK},
    students={
        "model": Student({"mean": MODEL, "root": MODEL}),
        "quiet_half": Student({"mean": MODEL, "root": "def root(x):\n    return x / 2"}),
        "warns": Student(
            twin="model",
            answers={
                "mean": "def mean(values):\n    warnings.warn('use numpy')\n    return np.mean(values)",
                "root": "def root(x):\n    return np.sqrt(np.float64(x))",
            },
        ),
        "prints_errors": Student(
            twin="model",
            answers={
                "mean": "def mean(values):\n    print('mean of', values, file=sys.stderr)\n    return sum(values) / len(values)",
                "root": "import logging\nlogging.warning('here')\ndef root(x):\n    return np.emath.sqrt(x) if x >= 0 else np.nan",
            },
        ),
        "logs": Student(
            twin="quiet_half",
            answers={
                "mean": "import logging\ndef mean(values):\n    logging.getLogger('hw').error('%s', values)\n    return sum(values) / 3",
                "root": "def root(x):\n    sys.stderr.write('')\n    return x / 2",
            },
        ),
        "blank": Student(),
    },
)
