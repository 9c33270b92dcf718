"""Best of n by reward, then supervised fine-tuning (RAFT without its iterations, arXiv 2304.06767)."""

from figa_core.training.objectives.sft import Sft


class SftBest(Sft):
    """Mean NLL of the tokens of each prompt's sample with the highest reward.

    It needs several samples of each prompt, and a shard set with their best (`weighting/best.py`). A prompt
    counts once, however many of its samples were revised.
    """

    name, label = "sft_best", "SFT on the best sample"
    answers = ("best",)
