"""Right answers: which option, which order, which flaw, and what is told of wrong ones.

Neither the process that runs a submission nor the package that a class gets has this folder.
"""
