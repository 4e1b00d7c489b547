"""The arena: rejection sampling beside what it replaces, each method under the same budget.

    python -m docs.studies.arena --docs docs      measure (finished runs are kept), then write the page

All methods get the same training prompts, the same reward model and the same evaluation. A ledger ends each
run when its budget is spent; the verdict depends on what is held equal, so there are three kinds of budget:
responses, FLOPs and seconds. What a run costs is what one round of best-of-16 on 96 prompts costs.

    trial      one run with its evaluation, in a process of its own
    measuring  all runs: reference, trials of settings, finals; resumable
    summary    from runs to one content, and its differences with their intervals
    claims     what is said of the arena, and whether the intervals bear it out
    figures    the figures of that content
    page       docs/arena.md from that content; its paragraphs are page.txt
    notebook   what notebook 07 reads of it

The methods and one run of each within a budget are in `rslib.arena`.
"""
