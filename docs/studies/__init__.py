"""What was measured: a program for each study, its page and its results file. Not part of the packages."""
