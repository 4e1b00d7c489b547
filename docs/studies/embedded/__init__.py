"""How the embedded models are made, from nothing: `make world`, or `python -m docs.studies.embedded`.

grammar    the corpus of the policy
sums       the corpus of the policy of arithmetic
recipe     tokenizers, policies, samples, labels by a biased labeller, reward models, the manifest
"""
