"""Essays and deadlines: answers that a person marks, task cells, the course's own late penalty, its timeout."""

from tests.courses.cells import (
    MODEL,
    Course,
    Student,
    answer,
    code_by_hand,
    essay,
    locked,
    plain,
    task,
    test,
    text,
)

ESSAYS = [
    text("# Sampling"),
    locked("rules", "Hand in by the due date. Late work costs a point for each hour.", "markdown"),
    essay("why", 4, "Because a large sample need not be a random one."),
    code_by_hand("sketch", 3, "def bootstrap(data, draws):\n    return [data] * draws"),
    task("diagram", 5, "Draw the sampling frame; put your picture and notes below this cell."),
    answer(
        "share",
        """
        def share(sample, value):
            ### BEGIN SOLUTION
            return sum(item == value for item in sample) / len(sample)
            ### END SOLUTION
    """,
    ),
    test(
        "test_share",
        3,
        """
        assert share([1, 1, 2, 3], 1) == 0.5
        ### BEGIN HIDDEN TESTS
        assert share("banana", "a") == 0.5
        ### END HIDDEN TESTS
    """,
    ),
    answer(
        "spread",
        "def spread(sample):\n    ### BEGIN SOLUTION\n    return max(sample) - min(sample)\n    ### END SOLUTION",
    ),
    test("test_spread", 2, "assert spread([3, 9, 5]) == 6"),
]
SECOND = [
    answer(
        "median",
        """
        def median(sample):
            ### BEGIN SOLUTION
            ordered, middle = sorted(sample), len(sample) // 2
            return ordered[middle] if len(sample) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
            ### END SOLUTION
    """,
    ),
    test("test_median", 2, "assert median([5, 1, 3]) == 3"),
    test("test_median_even", 2, "assert median([5, 1, 3, 2]) == 2.5"),
    plain("print('end')"),
    essay("robust", 2, "An outlier moves the mean, not the median."),
]
PLUGIN = '''
"""A point for each hour, at most the marks there are; half of them from the third day on."""

from nbgrader.plugins import BasePlugin


class HourByHour(BasePlugin):
    def late_submission_penalty(self, student_id, score, total_seconds_late):
        hours = total_seconds_late / 3600
        return score / 2 if hours >= 48 else min(score, round(hours, 1))
'''
CONFIG = """
import os
import sys

sys.path.append(os.getcwd())
c.CourseDirectory.course_id = "sampling"
c.AssignLatePenalties.plugin_class = "late_policy.HourByHour"
c.ExecutePreprocessor.timeout = 3
c.ClearSolutions.code_stub = {"python": "# your code\\nraise NotImplementedError"}
c.ClearSolutions.text_stub = "*Your answer*"
"""
ALL = ("why", "sketch", "share", "spread", "median", "robust")
DONE = dict.fromkeys(ALL, MODEL)
COURSE = Course(
    notebooks={"essay/sampling": ESSAYS, "essay2/median": SECOND},
    files={"late_policy.py": PLUGIN},
    config=CONFIG,
    due={"essay": "2026-03-02 12:00:00 UTC", "essay2": "2026-03-09 23:59:00 Europe/Berlin"},
    students={
        "model": Student(DONE, late={"essay": "2026-03-02 11:59:59 UTC"}),
        "in_berlin": Student(  # 13:30 there is 12:30 UTC, half an hour late; the second in time
            {
                "why": "Weil groß nicht zufällig heißt.",
                "sketch": "import random\nbootstrap = lambda d, n: [random.choices(d, k=len(d)) for _ in range(n)]",
                "share": "from collections import Counter\ndef share(s, v):\n    return Counter(s)[v] / len(s)",
                "spread": "import numpy as np\ndef spread(s):\n    return np.ptp(np.array(s))",
                "median": "import statistics\nmedian = statistics.median",
                "robust": "…",
            },
            late={"essay": "2026-03-02 13:30:00 Europe/Berlin", "essay2": "2026-03-09 22:58:00 UTC"},
            after={"diagram": "# my notes on the picture"},
        ),
        "in_oregon": Student(  # two hours and six minutes late; the second three days
            {
                "share": "def share(sample, value):\n    return list(sample).count(value) / len(sample)",
                "spread": "def spread(sample):\n    a, *_, b = sorted(sample)\n    return b - a",
                "median": "import pandas as pd\ndef median(sample):\n    return pd.Series(sample).median()",
                "why": "Samples can be biased.",
            },
            late={
                "essay": "2026-03-02 06:06:00.5 America/Los_Angeles",
                "essay2": "2026-03-12 23:59:00 +0100",
            },
        ),
        "few_points": Student(  # later than there are points to lose
            {
                "spread": MODEL,
                "share": "def share(s, v):\n    return 0",
                "median": "def median(s):\n    return sorted(s)[len(s) // 2]",
            },
            late={"essay": "2026-03-03 12:00:00 UTC", "essay2": "2026-03-10 10:00:00 CET"},
        ),
        "endless": Student(
            {
                "share": "def share(sample, value):\n    while True:\n        pass",
                "spread": MODEL,
                "median": "import time\ndef median(sample):\n    time.sleep(1 if len(sample) % 2 else 60)\n    return sorted(sample)[1]",
            }
        ),
        "one_only": Student({"share": MODEL, "why": "x"}, absent=("essay2",)),
        "blank": Student(late={"essay": "2026-03-02 14:00:00 UTC"}),
    },
)
