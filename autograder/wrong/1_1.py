# %% correct: base is measured at the very start
order = ["split", "test_base", "sample", "score", "select", "finetune", "test_tuned", "compare"]

# %% correct: base is measured last of all, in a tuple
order = ("split", "sample", "score", "select", "finetune", "test_tuned", "test_base", "compare")

# %% correct: base is measured while rewards are at hand
order = ["split", "sample", "score", "test_base", "select", "finetune", "test_tuned", "compare"]

# %% wrong: selects before it scores | idea: contract | fails at: every card finds what it needs
order = ["split", "sample", "select", "score", "finetune", "test_base", "test_tuned", "compare"]

# %% wrong: scores before it samples | idea: contract | fails at: every card finds what it needs
order = ["split", "score", "sample", "select", "finetune", "test_base", "test_tuned", "compare"]

# %% wrong: all eleven cards, as they came | idea: form | fails at: is a list of cards
order = ["split", "sample", "score", "advantage", "select", "rewrite", "finetune"]
order += ["tune_rm", "test_base", "test_tuned", "compare"]

# %% wrong: a value network computes advantages | idea: F36 | fails at: every card finds what it needs
order = ["split", "sample", "score", "advantage", "finetune", "test_base", "test_tuned", "compare"]

# %% wrong: the reward model writes the final text | idea: F37 | fails at: every card finds what it needs
order = ["split", "sample", "score", "select", "rewrite", "finetune", "test_base", "test_tuned", "compare"]

# %% wrong: tunes the reward model, not the policy | idea: F01 | fails at: every card finds what it needs
order = ["split", "sample", "score", "select", "tune_rm", "test_base", "test_tuned", "compare"]

# %% wrong: tunes the reward model as well | idea: F01 | fails at: holds cards of this method only | points: 1
order = ["split", "sample", "score", "select", "tune_rm", "finetune", "test_base", "test_tuned", "compare"]

# %% wrong: nothing is selected | idea: F02 | fails at: trains on what was kept | points: 1
order = ["split", "sample", "score", "finetune", "test_base", "test_tuned", "compare"]

# %% wrong: trains first, selects later | idea: F02 | fails at: trains on what was kept | points: 1
order = ["split", "test_base", "sample", "finetune", "score", "select", "test_tuned", "compare"]

# %% wrong: samples before the split | idea: F18 | fails at: keeps the held-out prompts unseen | points: 1
order = ["sample", "split", "score", "select", "finetune", "test_base", "test_tuned", "compare"]

# %% wrong: no prompts are held out | idea: contract | fails at: every card finds what it needs
order = ["sample", "score", "select", "finetune", "test_base", "test_tuned", "compare"]

# %% wrong: stops after fine-tuning | idea: F15 | fails at: ends with a comparison
order = ["split", "sample", "score", "select", "finetune"]

# %% wrong: a card that does not exist | idea: form | fails at: is a list of cards
order = ["split", "sample", "reward", "select", "finetune", "test_base", "test_tuned", "compare"]

# %% wrong: a card stands twice | idea: form | fails at: is a list of cards
order = ["split", "sample", "score", "select", "select", "finetune", "test_base", "test_tuned", "compare"]

# %% wrong: trains first, splits late | idea: F02 | fails at: trains on what was kept | points: 1
order = ["sample", "split", "finetune", "score", "select", "test_base", "test_tuned", "compare"]

# %% correct: a text, one card a line
order = """
split
sample
score
select
# advantage
finetune
test_base
test_tuned
compare
# rewrite
# tune_rm
"""

# %% correct: names with commas, base measured after the choice
order = "split, sample, score, select, test_base, finetune, test_tuned, compare"

# %% wrong: every card in the order of the alphabet | idea: form | fails at: is a list of cards
order = "advantage compare finetune rewrite sample score select split test_base test_tuned tune_rm"

# %% wrong: tests before it splits | idea: contract | fails at: every card finds what it needs
order = "test_base split sample score select finetune test_tuned compare"

# %% wrong: tests before it tunes | idea: contract | fails at: every card finds what it needs
order = "split sample score select test_base test_tuned finetune compare"

# %% wrong: compares before both are measured | idea: contract | fails at: every card finds what it needs
order = "split sample score select finetune test_base compare test_tuned"

# %% wrong: the base policy is never measured | idea: contract | fails at: every card finds what it needs
order = "split sample score select finetune test_tuned compare"

# %% wrong: no fine-tuning at all | idea: contract | fails at: every card finds what it needs
order = "split sample score select test_base test_tuned compare"

# %% wrong: nothing is scored or selected | idea: F02 | fails at: trains on what was kept | points: 1
order = "split sample finetune test_base test_tuned compare"

# %% wrong: measures both and does not compare | idea: F15 | fails at: ends with a comparison
order = "split sample score select finetune test_base test_tuned"

# %% wrong: descriptions for names | idea: form | fails at: is a list of cards
order = ["set some prompts aside", "sample", "score"]


# %% correct: a note behind two cards
order = """
split        # first, or nothing is held out
sample
score
select
finetune
test_base
test_tuned
compare      # the end
"""


# %% correct: capital letters
order = "Split\nSample\nScore\nSelect\nFinetune\nTest_base\nTest_tuned\nCompare"


# %% correct: numbered lines
order = """
1. split
2. sample
3. score
4. select
5. finetune
6. test_tuned
7. test_base
8. compare
"""

# %% correct: arrows on one line
order = "split -> sample -> score -> test_base -> select -> finetune -> test_tuned -> compare"
