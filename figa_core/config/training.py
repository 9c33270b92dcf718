"""How models are trained on the revisions, and how they are judged."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from figa_core.config.decisions import Always, Within, judgement, models, nothing
from figa_core.config.deepspeed import DeepSpeedConfig
from figa_core.config.harness import HarnessConfig
from figa_core.config.optimization import (
    CheckpointsConfig,
    HeldOutConfig,
    LoraConfig,
    OptimizerConfig,
    ScheduleConfig,
)
from figa_core.config.pairwise import PairwiseJudgeConfig
from figa_core.config.rendezvous import RendezvousConfig
from figa_core.config.section import EMPTY_IS_A_VALUE, Section
from figa_core.config.values import TOKENS_MAX, Name, ObjectiveName, function_spec

Scheme = Literal["levenshtein", "bag_of_words", "reward_scaled", "llm_graded", "llm_binary"]
DType = Literal["float32", "bfloat16"]
Negatives = Literal["all", "unique"]
PreferenceBeta = Annotated[float, Field(gt=0)] | Literal["auto"]
LearningRate = Annotated[float, Field(gt=0)] | Literal["auto"]
Epochs = Annotated[int, Field(ge=1, le=1_000_000)] | Literal["auto"]
PairsPerStep = Annotated[int, Field(ge=1)] | Literal["auto"]
PrefixSharing = bool | Literal["auto"]
Recomputing = bool | Literal["auto"]

_SEED_MAX = 2**32 - 1  # a training takes the upper half of a 64-bit seed from it


class WeightingConfig(Section):
    """How edits become token classes."""

    scheme: Scheme = models(
        "levenshtein",
        "levenshtein: edited tokens; bag_of_words: tokens that the other side lacks; "
        "reward_scaled: levenshtein, each pair by its share of the reward gained; llm_graded: each changed "
        "word of Ỹ by an LLM's score ([grader]); llm_binary: those that an LLM says matter.",
        Always(),
    )
    max_length: int = models(
        1024, "Longest training sequence (prompt and response), in tokens.", Always(), ge=8, le=TOKENS_MAX
    )
    pairs_per_shard: int = nothing(10_000, "Pairs of one Parquet file.", ge=1)


class LossConfig(Section):
    """The objective and its token weights (paper eq. 6–8)."""

    objective: ObjectiveName = models(
        "figa",
        "figa; unlikelihood; sft and dft_reference on the references; sft_revised and dft on the revisions; "
        "dpo, apo_zero, simpo, rrhf and coh on revision and response; sft_best on a prompt's best sample.",
        Always(),
    )
    alpha: float = models(1.0, "Weight of inserted, substituted and end-of-turn tokens of Ỹ.", Always(), ge=0)
    beta: float = models(
        0.5, "Weight of deleted and substituted tokens of Ŷ, counted negative.", Always(), ge=0
    )
    gamma: float = models(
        0.3,
        "Weight of the unchanged tokens of Ỹ, which holds them where they are. At 0 (the paper's formula) a "
        "model that is trained for longer than it needs to learn the edits loses the rest.",
        Always(at_first=0.0),
        ge=0,
    )
    negative_nll_max: float | None = models(
        0.6,
        'A negative token counts while its NLL is at most this; "none" for the bare formula.',
        Always(),
        gt=0,
    )
    gamma_fade_tokens: float | None = models(
        None,
        'γ falls with the distance to the nearest edit, to 1/e after this many tokens; "none" for the same γ '
        "everywhere.",
        gt=0,
    )
    kl_weight: float = models(
        0.0,
        "κ: weight of the KL divergence from the base model at each unchanged token of Ỹ. The base model's "
        "probabilities are computed once, before the training.",
        ge=0,
    )
    negatives: Negatives = models(
        "all", "unique: a token of Ŷ counts as negative only if Ỹ does not contain it anywhere."
    )
    preference_beta: PreferenceBeta = models(
        "auto", "β of dpo, apo_zero and simpo; auto: the value of the method's paper (0.1, 0.1 and 2)."
    )
    preference_margin: float = models(1.0, "γ of simpo, in units of the reward.", ge=0)


class TrainingConfig(Section):
    """How the training runs; ZeRO stage, ranks and batch size change speed, not the result."""

    learning_rate: LearningRate = models(
        1e-5,
        "The highest of the training (see schedule); auto: three rates that fit the model's size are tried "
        "for a tenth of the steps, and the best on held-out pairs is taken.",
        Always(),
    )
    epochs: Epochs = models(
        3,
        "Passes over the pairs, unless max_steps says less; auto: as few as make 24 updates, from one for "
        "large data to three for small.",
        Always(),
    )
    max_steps: int | None = models(
        None,
        'At most this many optimizer steps; "none" for as many as the epochs take.',
        Always(),
        ge=1,
        le=2**31 - 1,
    )
    pairs_per_step: PairsPerStep = models(
        128,
        "Pairs of one optimizer step, over all ranks; auto: at most 128, and fewer for small "
        "data, for enough updates.",
        Always(),
    )
    tokens_per_batch: int = nothing(8192, "Token budget of one forward pass.", ge=64)
    prefix_sharing: PrefixSharing = nothing(
        "auto",
        "Run what answers have in common at their beginning, such as the prompt, once for all of them; auto: "
        "unless the model has dropout, which the answers would then share.",
    )
    activation_checkpointing: Recomputing = nothing(
        "auto",
        "Keep only the input of each layer and run it again in the backward pass: much less memory, up to a "
        "third more time; auto: on a GPU.",
    )
    zero_stage: Literal[1, 2, 3] = nothing(2, "DeepSpeed ZeRO: 3 also splits the weights over the ranks.")
    processes: int = nothing(1, "Ranks on each node (torchrun --nproc_per_node).", ge=1, le=1024)
    nodes: int = nothing(1, "Machines that train together; see rendezvous.", ge=1, le=1024)
    dtype: DType = models("bfloat16", "Of weights and gradients.", Always())
    checkpoint_steps: int = nothing(100, "Optimizer steps between checkpoints.", ge=1)
    seed: int = models(0, "Of the order of the pairs.", Always(), ge=0, le=_SEED_MAX)
    checkpoints: CheckpointsConfig = nothing(CheckpointsConfig(), "Which checkpoints are kept.")
    schedule: ScheduleConfig = models(ScheduleConfig(), "The learning rate over the steps.")
    optimizer: OptimizerConfig = models(OptimizerConfig(), "The optimizer, and clipping of gradients.")
    deepspeed: DeepSpeedConfig = nothing(DeepSpeedConfig(), "Keys that are added to DeepSpeed's settings.")
    held_out: HeldOutConfig = models(HeldOutConfig(), "Pairs that are kept apart and judge the training.")
    lora: LoraConfig = models(LoraConfig(), "Training of small updates instead of all weights (LoRA).")
    rendezvous: RendezvousConfig = nothing(RendezvousConfig(), "Where several nodes meet.")

    @property
    def ranks(self) -> int:
        """Those of all nodes."""
        return self.nodes * self.processes


class EvaluationConfig(Section):
    """How base and trained models are judged, on held-out prompts only."""

    max_prompts: int = judgement(500, "Most held-out prompts used.", Always("evaluation_prompts"), ge=1)
    temperature: float = judgement(0.0, "Of the evaluated responses.", Always("evaluation_temperature"), ge=0)
    verifier: Annotated[str | None, AfterValidator(function_spec)] = judgement(
        None,
        "'module:function' taking (messages, text), returning 0 to 1; \"none\" for no verifier.",
        EMPTY_IS_A_VALUE,
        Always(),
    )
    reward: Name | None = judgement(
        None, 'One of [[rewards]], or "combined"; "none" for that of [admission].', Within("scorer")
    )
    baselines: tuple[ObjectiveName, ...] = models(
        (), "Objectives trained and judged beside the main one.", Always()
    )
    judge: PairwiseJudgeConfig = judgement(
        PairwiseJudgeConfig(), "An LLM that compares the answers of trained models with the base's."
    )
    harness: HarnessConfig = judgement(HarnessConfig(), "Benchmarks by lm-eval.")
