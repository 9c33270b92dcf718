"""The tables of `[training]`: checkpoints, the learning rate, the optimizer, held-out pairs, and LoRA."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from figa_core.config.decisions import models, nothing
from figa_core.config.section import Section

ScheduleKind = Literal["constant", "linear", "cosine"]
OptimizerKind = Literal["adamw", "adamw_cpu", "adamw_8bit"]
ResultStep = Literal["last", "best"]
LoraAlpha = Annotated[float, Field(gt=0)] | Literal["auto"]

ALL_LINEAR = "all-linear"


def _as_list(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


def _in_one_order(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted(set(names)))


_Names = Annotated[
    tuple[Annotated[str, Field(min_length=1)], ...], BeforeValidator(_as_list), AfterValidator(_in_one_order)
]


class CheckpointsConfig(Section):
    """Checkpoints that a training goes on from; `training.checkpoint_steps` says how often one is written."""

    kept: int = nothing(
        2,
        "Newest checkpoints that are kept while the training runs. Beside them the last one is kept before "
        "each step that the training may go back to.",
        ge=1,
        le=1_000_000,
    )


class ScheduleConfig(Section):
    """The learning rate over the steps; `training.learning_rate` is its highest value."""

    kind: ScheduleKind = models(
        "constant",
        "constant; linear: falls to 0 on a straight line; cosine: falls to 0 on half a cosine wave.",
    )
    warmup_share: float = models(
        0.0, "Share of the steps over which the rate first rises from 0.", ge=0, le=1
    )


class OptimizerConfig(Section):
    """AdamW, and the clipping of gradients before it."""

    kind: OptimizerKind = models(
        "adamw",
        "adamw: PyTorch's; adamw_cpu: DeepSpeed's, which is faster where the optimizer is offloaded to "
        "the CPU (deepspeed.zero_optimization), and is compiled for minutes at its first use; adamw_8bit: "
        "bitsandbytes', whose two moments take 2 bytes of each weight instead of 8; rounding them changes "
        "the steps by about 1 %, and on a CPU its update takes about 30 times as long.",
    )
    beta1: float = models(0.9, "Decay of the mean of the gradients.", ge=0, lt=1)
    beta2: float = models(0.999, "Decay of the mean of their squares.", ge=0, lt=1)
    epsilon: float = models(
        1e-8,
        "ε is added to the root of the squares' mean: a larger one makes steps smaller where gradients are "
        "small.",
        gt=0,
    )
    weight_decay: float = models(
        0.0, "Of matrices, per unit of the learning rate; vectors (biases, norms) have none.", ge=0
    )
    gradient_norm_max: float | None = models(
        None, 'A gradient with a larger norm is scaled down to this norm; "none" for no clipping.', gt=0
    )


class HeldOutConfig(Section):
    """Pairs that are kept apart from the training and judge it while it runs."""

    share: float = models(0.0, "Share of the pairs that is kept apart; 0 for none.", ge=0, le=0.5)
    every_steps: int = models(
        10, "Steps between two looks at these pairs; there is one after the last step too.", ge=1
    )
    result: ResultStep = models(
        "last",
        "The trained model is that of the last step, or of the one with the lowest loss on these pairs.",
    )
    patience: int | None = models(
        None,
        'The training ends after so many looks in a row without a lower loss; "none" for all its steps.',
        ge=1,
    )


class LoraConfig(Section):
    """LoRA (arXiv 2106.09685): the model's weights stay as they are, and an update B·A of low rank is trained
    for each of the chosen matrices.
    """

    rank: int | None = models(
        None,
        'Rank of the updates, usually 8 to 64; "none" trains all weights. LoRA usually needs a learning_rate '
        "about ten times that of training all weights.",
        ge=1,
        le=65_536,
    )
    alpha: LoraAlpha = models(
        "auto", "The updates are scaled by alpha / rank; auto: alpha is twice the rank."
    )
    dropout: float = models(0.0, "Of the updates' inputs, in training.", ge=0, lt=1)
    target_modules: _Names = models(
        (ALL_LINEAR,),
        "Names of the modules with an update, such as q_proj; all-linear: every linear layer but the output "
        "layer.",
        min_length=1,
    )
    quantize: bool = models(
        False,
        "Keep the model's own weights in 4 bits while the updates are trained (QLoRA, arXiv 2305.14314): a "
        "quarter of their memory in bfloat16, and slower steps. The result is judged and used with the whole "
        "weights. Needs an NVIDIA GPU, and ZeRO stage 1 or 2.",
    )
    merge: bool = models(
        False,
        "The result is a whole model, with the updates added to its weights, not an adapter directory.",
    )

    @property
    def scaled_by(self) -> float:
        """`alpha`, settled."""
        return 2.0 * (self.rank or 1) if isinstance(self.alpha, str) else self.alpha
