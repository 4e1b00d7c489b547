"""The arena: rejection sampling beside what it replaces, each method under the same budget.

    python -m docs.studies.arena --docs docs      measure (finished runs are kept), then write the page

All methods get the same training prompts, the same reward model and the same evaluation. A ledger ends each
run when its budget is spent; the verdict depends on what is held equal, so there are three kinds of budget:
responses, FLOPs and seconds. What a run costs is what one round of best-of-16 on 96 prompts costs.

    cell       one run with its evaluation, in a process of its own
    measuring  the cells: reference, trials, finals; resumable
    summary    from cells to one content: intervals, the chosen settings, the claims
    page       docs/arena.md from that content

The methods and one run of each within a budget are in `rslib.arena`.
"""
