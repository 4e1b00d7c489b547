"""The course's self-check and grading.

In a notebook:

    from autograder import begin, check, compare, given, predict, progress

`check("1.3")` draws fresh inputs, says which wrong idea explains a wrong answer, and counts points; nbgrader
reads the same cell. Nothing here imports nbgrader or ipywidgets unless a function that needs them is called,
so it works where neither is installed.
"""

from autograder.session import begin, check, compare, given, predict, progress

__all__ = ["begin", "check", "compare", "given", "predict", "progress"]
