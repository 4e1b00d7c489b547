"""Measure the engine beside its peers on the same work: `python -m docs.studies.bench`.

Rules: ours and the peers run in one process, in turn, on the same prompts, with the same lengths forced upon
all, after a warm-up. The figure is the median over rounds of peer seconds / our seconds, with its range.
Before anything is timed, results are compared: same greedy tokens, same scores, same loss.
"""
