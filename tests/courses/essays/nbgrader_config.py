c = get_config()  # noqa
import os
import sys

sys.path.append(os.getcwd())
c.CourseDirectory.course_id = "sampling"
c.AssignLatePenalties.plugin_class = "late_policy.HourByHour"
c.ExecutePreprocessor.timeout = 3
c.ClearSolutions.code_stub = {"python": "# your code\nraise NotImplementedError"}
c.ClearSolutions.text_stub = "*Your answer*"
