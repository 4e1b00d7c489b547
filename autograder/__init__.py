"""The course's self-check and grading.

In a notebook:

    from autograder import begin, check, compare, given, predict, progress

`check("1.3")` draws fresh inputs, says which wrong idea explains a wrong answer, and counts points; nbgrader
reads the same cell. Nothing here imports nbgrader or ipywidgets unless a function that needs them is called,
so it works where neither is installed.
"""

import os
import sys

# `python -m` puts the current folder first on the path. In a folder of students' files their csv.py would be
# imported in place of Python's, with the instructor's rights. While -m finds its module, argv is "-m".
if sys.argv[:1] == ["-m"] and sys.path[:1] == [os.getcwd()] != [os.path.dirname(os.path.dirname(__file__))]:
    del sys.path[0]

from autograder.session import begin, check, compare, given, predict, progress

__all__ = ["begin", "check", "compare", "given", "predict", "progress"]
