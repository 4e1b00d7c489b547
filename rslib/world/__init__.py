"""The embedded world: prompts, a grammar of responses, a known gold score. No torch."""

from rslib.world.gold import Judgement, gold_scores, judge, judgements, sentence_kinds
from rslib.world.prompts import knows, load_prompts

__all__ = ["Judgement", "gold_scores", "judge", "judgements", "knows", "load_prompts", "sentence_kinds"]
