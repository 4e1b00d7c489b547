"""Grading strangers' notebooks: intake, walls, tests outside of them, gradebook, feedback."""
