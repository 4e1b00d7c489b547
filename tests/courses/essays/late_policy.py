"""A point for each hour, at most the marks there are; half of them from the third day on."""

from nbgrader.plugins import BasePlugin


class HourByHour(BasePlugin):
    def late_submission_penalty(self, student_id, score, total_seconds_late):
        hours = total_seconds_late / 3600
        return score / 2 if hours >= 48 else min(score, round(hours, 1))
