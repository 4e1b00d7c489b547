"""The courses' own modules and notebooks are data, not tests."""

collect_ignore_glob = ["*/*"]
