"""The memory that a training needs on each rank, from its settings and the model's files, without torch.

Of the weights, gradients and optimizer it says what DeepSpeed 0.19 allocates (arXiv 1910.02054, §5, counts
the same without the buffers), of the activations what a Llama-shaped layer keeps for its backward pass.
Activations and logits are upper bounds: micro-batches of `tokens_per_batch` tokens, each with a weight.

Sizes are in bytes. P is the number of weights, n that of ranks.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from figa_core.config.optimization import OptimizerKind
from figa_core.config.training import DType, TrainingConfig
from figa_core.config.values import TOKENS_MAX
from figa_core.models.config_json import sections
from figa_core.models.safetensors import Tensor
from figa_core.training.optimizer_size import state_bytes
from figa_core.training.quantized import BYTES_PER_WEIGHT
from figa_core.training.room import checkpoint_bytes
from figa_core.training.step_size import MOST_PAIRS
from figa_core.training.zero_stage import stage_in_use

Place = Literal["device", "host", "disk"]

_WIDTH: dict[DType, int] = {"float32": 4, "bfloat16": 2}
_BUCKET = 20_000_000  # elements; `engine.zero_config` sets it
_LIVE = 1_000_000_000  # elements; DeepSpeed's default of stage3_max_live_parameters
_PROCESS = {"cpu": 400_000_000, "gpu": 900_000_000}  # interpreter and libraries; CUDA's context


@dataclass(frozen=True, slots=True)
class ModelShape:
    """What a model's memory depends on.

    Attributes:
        parameters, largest: the number of weights, and of the largest tensor's.
        width, inner, vocabulary, layers: of the hidden states, of a layer's MLP (of all experts that a token
            uses), of the head, and the number of layers.
        keys: the width of all keys of a token, equal to `width` without grouped heads.
        edges: rows and columns of all matrices: an update of LoRA has so many weights for each of its rank.
        quantizable: the weights of the matrices within the layers.
    """

    parameters: int
    largest: int
    width: int
    inner: int
    vocabulary: int
    layers: int
    keys: int
    edges: int = 0
    quantizable: int = 0


@dataclass(frozen=True, slots=True)
class Setup:
    """The settings that decide. `ranks` are those of all `nodes`.

    `weighted_share`: the most tokens of a micro-batch that have a weight; None if it is not known. `live`: so
    many weights ZeRO-3 keeps gathered until their next use.
    """

    ranks: int
    stage: int
    dtype: DType
    tokens_per_batch: int
    recompute: bool
    optimizer_at: Place = "device"
    weights_at: Place = "device"
    kind: Literal["cpu", "gpu"] = "gpu"
    rounds: bool = False
    weighted_share: float | None = None
    lora_rank: int | None = None
    optimizer: OptimizerKind = "adamw"
    quantize: bool = False
    nodes: int = 1
    live: int = _LIVE

    @property
    def ranks_of_node(self) -> int:
        """Those that share a machine's memory."""
        return -(-self.ranks // self.nodes)


@dataclass(frozen=True, slots=True)
class RankMemory:
    """Bytes of one rank's device by part.

    Attributes:
        weights: this rank's, and what ZeRO-3 gathers of the others.
        gradients: summed in float32; ZeRO-1 keeps all of them.
        optimizer: float32 masters and the optimizer's states.
        buffers: of DeepSpeed, for gradients under way.
        update: what the optimizer's step takes beyond the memory of the activations, which are gone by then.
        process: the interpreter with its libraries, or CUDA's context.
    """

    weights: int
    gradients: int
    optimizer: int
    activations: int
    logits: int
    buffers: int
    update: int
    process: int

    @property
    def total(self) -> int:
        """The sum of all parts."""
        return sum(getattr(self, each.name) for each in fields(self))

    @property
    def least(self) -> int:
        """What is held whatever the data: weights, gradients and optimizer."""
        return self.weights + self.gradients + self.optimizer


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """Of one rank: `device`, and bytes in the `host` and on `disk` for what is offloaded there.

    Where the device is the CPU, what is offloaded to the host stays on the device. `loading` is the most host
    memory while the model is read. `checkpoint` is the disk space of one, of all ranks.
    """

    device: RankMemory
    host: int
    disk: int
    loading: int
    checkpoint: int

    @property
    def host_peak(self) -> int:
        """The most host memory at once: what is offloaded gets its place when the model has been read."""
        return max(self.loading, self.host)


def model_shape(config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> ModelShape:
    """From config.json and the headers of the weights (`weight_files.read_weights`)."""
    width = _number(config, ("hidden_size", "n_embd", "d_model"), 0)
    heads = _number(config, ("num_attention_heads", "n_head"), 1)
    key_heads = _number(config, ("num_key_value_heads",), heads)
    head_width = _number(config, ("head_dim",), width // max(heads, 1))
    experts = _number(config, ("num_experts_per_tok",), 1)
    inner = _number(config, ("moe_intermediate_size", "intermediate_size", "n_inner", "ffn_dim"), 4 * width)
    vocabulary = _number(config, ("vocab_size",), 0)
    sizes = [_elements(tensor) for tensor in tensors.values()]
    return ModelShape(
        parameters=sum(sizes),
        largest=max(sizes, default=0),
        width=width,
        inner=inner * max(experts, 1),
        vocabulary=vocabulary,
        layers=_number(config, ("num_hidden_layers", "n_layer", "num_layers"), 0),
        keys=key_heads * head_width,
        edges=sum(sum(tensor.shape) for tensor in tensors.values() if len(tensor.shape) == 2),
        quantizable=sum(
            _elements(tensor)
            for tensor in tensors.values()
            if len(tensor.shape) == 2 and vocabulary not in tensor.shape
        ),
    )


def setup_of(
    training: TrainingConfig,
    *,
    kind: Literal["cpu", "gpu"],
    checkpoint_dtype: str,
    max_length: int = TOKENS_MAX,
    weighted_tokens: int | None = None,
) -> Setup:
    """The settings of a training on devices of this kind, as the training itself would read them.

    `max_length` is that of a sequence in tokens: a micro-batch has no more than two for each pair of a step.
    `weighted_tokens` are the most of a micro-batch that have a weight, if that is known.
    """
    zero = training.deepspeed.zero_optimization
    recompute = training.activation_checkpointing
    pairs = MOST_PAIRS if training.pairs_per_step == "auto" else training.pairs_per_step
    tokens = min(training.tokens_per_batch, 2 * max_length * -(-pairs // training.ranks))
    return Setup(
        ranks=training.ranks,
        nodes=training.nodes,
        stage=stage_in_use(training),
        dtype=training.dtype,
        tokens_per_batch=tokens,
        recompute=kind == "gpu" if recompute == "auto" else recompute,
        optimizer_at=_place(zero.get("offload_optimizer")),
        weights_at=_place(zero.get("offload_param")) if training.zero_stage == 3 else "device",
        kind=kind,
        rounds=training.dtype not in ("float32", checkpoint_dtype),
        lora_rank=training.lora.rank,
        optimizer=training.optimizer.kind,
        quantize=training.lora.quantize,
        weighted_share=None if weighted_tokens is None else min(weighted_tokens / tokens, 1.0),
        live=_live(zero.get("stage3_max_live_parameters")),
    )


def memory_plan(shape: ModelShape, setup: Setup) -> MemoryPlan:
    """The plan of one rank."""
    ranks, width, trained = setup.ranks, _WIDTH[setup.dtype], _trained(shape, setup)
    count = shape.parameters + (0 if setup.lora_rank is None else trained)
    part = -(-trained // ranks)
    weights = width * (-(-count // ranks) if setup.stage == 3 else count)
    if setup.quantize:
        weights -= round((width - BYTES_PER_WEIGHT) * shape.quantizable)
    gathered = width * min(count, setup.live) if setup.stage == 3 and ranks > 1 else 0
    optimizer = 4 * part + state_bytes(setup.optimizer, part)
    at = {"device": 0, "host": 0, "disk": 0}
    weights_at, optimizer_at = _at(setup.weights_at, setup), _at(setup.optimizer_at, setup)
    at[weights_at] += weights
    on_device = at["device"]
    at[optimizer_at] += optimizer
    activations, logits = _activations(shape, setup), _logits(shape, setup)
    device = RankMemory(
        weights=on_device + gathered,
        gradients=_gradients(trained, setup),
        optimizer=optimizer if optimizer_at == "device" else 0,
        activations=activations,
        logits=logits,
        # On the CPU memory that was never written to takes no place.
        buffers=4 * (min(_BUCKET, trained) if setup.kind == "cpu" else _BUCKET),
        update=max(_update(part, setup) - activations - logits, 0),
        process=_PROCESS[setup.kind],
    )
    return MemoryPlan(
        device=device,
        host=at["host"],
        disk=at["disk"],
        loading=_loading(shape, setup),
        checkpoint=checkpoint_bytes(trained, dtype=setup.dtype, stage=setup.stage, kind=setup.optimizer),
    )


def _trained(shape: ModelShape, setup: Setup) -> int:
    """Weights that are trained; with LoRA at most so many, as if every matrix got an update."""
    if setup.lora_rank is None:
        return shape.parameters
    return min(shape.parameters, setup.lora_rank * shape.edges)


def _gradients(count: int, setup: Setup) -> int:
    if setup.stage == 1:
        return (4 if setup.dtype == "float32" else 4 + 2) * count
    return 4 * -(-count // setup.ranks)


def _update(part: int, setup: Setup) -> int:
    """The gradients of this rank's part once more, in one piece."""
    return 4 * part if setup.optimizer_at == "device" else 0


def _activations(shape: ModelShape, setup: Setup) -> int:
    """What a layer keeps of each token: the inputs of its norms twice in float32, of its projections and of
    its attention, and four times the width of its MLP. With checkpointing: each layer's input, and one layer.
    """
    width = _WIDTH[setup.dtype]
    of_token = 2 * 2 * 4 * shape.width + width * (6 * shape.width + 2 * shape.keys + 4 * shape.inner)
    kept = width * shape.width * shape.layers + of_token if setup.recompute else of_token * shape.layers
    return setup.tokens_per_batch * kept


def _logits(shape: ModelShape, setup: Setup) -> int:
    """In the model's dtype with their gradient, and their log-probabilities in float32 with theirs."""
    width = _WIDTH[setup.dtype]
    of_token = 12 if width == 4 else 2 * width + 12
    share = 1.0 if setup.weighted_share is None else setup.weighted_share
    return round(setup.tokens_per_batch * share) * shape.vocabulary * of_token


def _loading(shape: ModelShape, setup: Setup) -> int:
    """The weights in float32, and once more those that are trained and would be rounded."""
    if setup.stage == 3 and setup.weights_at != "disk":
        return 4 * (-(-shape.parameters // setup.ranks) + shape.largest)
    if setup.quantize:  # read one by one, each quantized on the GPU before the next
        return 4 * shape.largest
    return 4 * (shape.parameters + (_trained(shape, setup) if setup.rounds else 0))


def _at(place: Place, setup: Setup) -> Place:
    """Where it is on devices of this kind."""
    return "device" if setup.kind == "cpu" and place == "host" else place


def _live(setting: Any) -> int:
    return int(setting) if isinstance(setting, int | float) else _LIVE


def _place(offload: Any) -> Place:
    device = offload.get("device") if isinstance(offload, dict) else None
    return {"cpu": "host", "nvme": "disk"}.get(str(device), "device")  # pyright: ignore[reportReturnType]


def _number(config: Mapping[str, Any], names: tuple[str, ...], otherwise: int) -> int:
    for section in reversed(sections(dict(config))):
        for name in names:
            value = section.get(name)
            if isinstance(value, int) and not isinstance(value, bool) and value > 0:
                return value
    return otherwise


def _elements(tensor: Tensor) -> int:
    size = 1
    for length in tensor.shape:
        size *= length
    return size
