# The settings of the course: `make course` copies this file into the course directory, and the builder of the
# student notebooks reads it, so that a release made with nbgrader is the release that is committed.
c = get_config()  # noqa: F821  (nbgrader defines it when it reads this file)

c.CourseDirectory.course_id = "rslib"

# Legal in a function body and at top level, and nothing that raises before the learner has written anything.
c.ClearSolutions.code_stub = {"python": "...  # your code here"}

# Experiments take minutes on a slow machine; nbgrader's 30 seconds would end them as KeyboardInterrupt.
c.ExecutePreprocessor.timeout = 600

# nbgrader gives 0 points to a test cell with any text on stderr, so a warning of a library would cost them.
c.IgnorePattern.enabled = True
c.IgnorePattern.pattern = ".*"

# `nbgrader autograde` and formgrader's bolt run notebooks outside of any sandbox, so they are refused. For
# notebooks of people whom you trust: c.RefuseUnsandboxed.trust_submissions = True
c.Autograde.exporter_class = "autograder.course.RefuseUnsandboxed"

# What nbgrader does to a submission before it runs it, and one step of the course's own.
c.Autograde.sanitize_preprocessors = [
    "nbgrader.preprocessors.ClearOutput",
    "nbgrader.preprocessors.DeduplicateIds",
    "autograder.course.RestoreChecks",
    "nbgrader.preprocessors.OverwriteKernelspec",
    "nbgrader.preprocessors.OverwriteCells",
    "nbgrader.preprocessors.CheckCellMetadata",
]

# `nbgrader zip_collect`: files named STUDENT_01_name.ipynb, as learning platforms hand them out.
c.FileNameCollectorPlugin.named_regexp = r".*[\\/](?P<student_id>[^\\/]+?)_(?P<file_id>\d\d_[^\\/]+)"
