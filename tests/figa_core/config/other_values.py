"""The shortest valid settings, and another value for every one of them. A new setting needs a line here."""

from typing import Any

from figa_core.config import PipelineConfig

NEEDED = {
    "workspace": {"path": "w"},
    "prompts": {"path": "p"},
    "generation": {"model": "g"},
    "reward": {"model": "r"},
    "revision": {"model": "m"},
}
OTHERS: dict[str, dict[str, Any]] = {
    "workspace": {"path": "another", "name": "another", "note": "a note", "lease_timeout_s": 3.0},
    "prompts": {
        "path": "another",
        "prompt_field": "question",
        "reference_field": None,
        "type_field": "kind",
        "system_prompt": "Be brief.",
        "held_out_share": 0.25,
        "max_prompt_tokens": 100,
        "limit": 7,
    },
    "generation": {
        "model": "another",
        "engine": "transformers",
        "samples_per_prompt": 2,
        "temperature": 0.5,
        "top_p": 0.9,
        "max_tokens": 64,
        "seed": 3,
        "rows_per_shard": 10,
        "gpu_memory_share": 0.5,
        "workers": 2,
        "thinking": "cut",
        "chat_template_kwargs": {"reasoning_effort": "low"},
    },
    "reward": {
        "model": "another",
        "engine": "vllm",
        "max_length": 256,
        "tokens_per_batch": 128,
        "gpu_memory_share": 0.5,
        "plain_template": True,
        "label": 1,
        "chat_template": "reward.jinja",
    },
    "generation.vllm": {"tensor_parallel": 2, "data_parallel": 3},
    "reward.vllm": {"tensor_parallel": 2, "data_parallel": 3},
    "generation.sampling": {"top_k": 20, "min_p": 0.05, "repetition_penalty": 1.1, "stop": ["\n\n"]},
    "generation.server": {
        "urls": ["http://127.0.0.1:8000"],
        "managed": True,
        "model": "served",
        "api_key_env": "KEY",
        "api_key_secret": "a-key",
        "max_in_flight": 8,
        "timeout_s": 10,
        "patience_s": 5,
    },
    "reward.server": {
        "urls": ["http://127.0.0.1:8001"],
        "managed": True,
        "model": "served",
        "api_key_env": "KEY",
        "api_key_secret": "a-key",
        "max_in_flight": 8,
        "timeout_s": 10,
        "patience_s": 5,
    },
    "storage": {"artifacts": "s3://bucket/assistant", "database_on_network": True},
    "filter": {
        "response_reward_below": "q0.7",
        "reference_reward_above": 2,
        "reward_gap_above": -1.5,
        "samples_kept": "all",
        "reward": "facts",
    },
    "revision": {
        "base_url": "http://127.0.0.1:1/v1",
        "model": "another",
        "api_key_env": "KEY",
        "api_key_secret": "a-key",
        "requests_per_minute": 10,
        "tokens_per_minute": 1000,
        "max_concurrency": 2,
        "max_attempts": 3,
        "timeout_s": 5,
        "temperature": None,
        "max_tokens": 99,
    },
    "revision_prompt": {
        "with_reference": "a.jinja",
        "without_reference": "b.jinja",
        "structured_output": False,
        "leave_out": ["stream"],
        "max_edit_share": 0.5,
        "asked_again_max": 2,
    },
    "revision_batches": {
        "rows": 10,
        "failed_share_max": 0.5,
        "refused_share_max": 0.5,
        "drain_s": 1,
        "shared_limit": "limits",
    },
    "spending": {
        "budget_usd": 3,
        "prices": {"m": {"usd_per_million_prompt_tokens": 1, "usd_per_million_completion_tokens": 2}},
    },
    "admission": {"reward_gain_above": None, "reward": "facts"},
    "weighting": {"scheme": "bag_of_words", "max_length": 512, "pairs_per_shard": 20},
    "grader": {
        "model": "another",
        "base_url": "http://127.0.0.1:1/v1",
        "api_key_env": "KEY",
        "api_key_secret": "a-key",
        "requests_per_minute": 10,
        "tokens_per_minute": 1000,
        "max_concurrency": 2,
        "temperature": 0.5,
        "max_tokens": 99,
        "template": "c.jinja",
        "fallback_share_max": 0.5,
    },
    "loss": {
        "objective": "unlikelihood",
        "alpha": 0.9,
        "beta": 0.4,
        "gamma": 0.2,
        "negative_nll_max": None,
        "gamma_fade_tokens": 8,
        "kl_weight": 0.2,
        "negatives": "unique",
        "preference_beta": 0.3,
        "preference_margin": 0.5,
    },
    "training": {
        "learning_rate": 0.001,
        "epochs": 2,
        "max_steps": 9,
        "pairs_per_step": "auto",
        "tokens_per_batch": 100,
        "activation_checkpointing": True,
        "prefix_sharing": False,
        "zero_stage": 3,
        "processes": 2,
        "nodes": 2,
        "dtype": "float32",
        "checkpoint_steps": 5,
        "seed": 4,
    },
    "evaluation.judge": {"model": "judge", "rubric": "Is it kind?", "temperature": 0.5, "max_tokens": 99},
    "evaluation.judge.endpoint": {
        "base_url": "http://elsewhere/v1",
        "api_key_env": "ANOTHER_KEY",
        "api_key_secret": "another",
        "requests_per_minute": 7,
        "tokens_per_minute": 700,
        "max_concurrency": 7,
    },
    "training.checkpoints": {"kept": 3},
    "training.schedule": {"kind": "linear", "warmup_share": 0.2},
    "training.optimizer": {
        "kind": "adamw_cpu",
        "beta1": 0.8,
        "beta2": 0.99,
        "epsilon": 1e-6,
        "weight_decay": 0.1,
        "gradient_norm_max": 1.0,
    },
    "training.deepspeed": {
        "zero_optimization": {"offload_optimizer": {"device": "cpu"}},
        "aio": {"block_size": 1048576},
        "comms_logger": {"enabled": True},
        "flops_profiler": {"enabled": True},
        "wall_clock_breakdown": True,
        "memory_breakdown": True,
    },
    "training.rendezvous": {"address": "gpu1:29500", "wait_s": 60},
    "training.held_out": {"share": 0.2, "every_steps": 3, "result": "best", "patience": 2},
    "training.lora": {
        "rank": 8,
        "alpha": 4.0,
        "dropout": 0.1,
        "target_modules": ["q_proj"],
        "quantize": True,
        "merge": True,
    },
    "alarms": {
        "unchanged_nll_rise": 0.3,
        "kl_from_base_excess": None,
        "end_of_turn_share": 0.2,
        "stops": ["end_of_turn"],
    },
    "evaluation": {
        "max_prompts": 11,
        "temperature": 0.3,
        "verifier": "module:function",
        "reward": "facts",
        "baselines": ["sft", "sft_revised"],
    },
    "compare": {
        "methods": ["figa", {"objective": "figa", "gamma": 1.0}],
        "seeds": [0],
        "learning_rates": [1e-4],
        "sweep_seeds": 1,
        "curve_steps": [2],
        "pairs": [32, "all"],
        "validation_share": 0.5,
        "against": "first",
        "keep_models": "all",
    },
    "tracking": {"to": ["tensorboard", "mlflow"], "project": "another"},
}
"""A value other than the default for every field of every section, and of the tables within sections."""


def config_of(settings: dict[str, dict[str, Any]]) -> PipelineConfig:
    given: dict[str, dict[str, Any]] = {
        section: {**NEEDED.get(section, {})}
        for section in PipelineConfig.model_fields
        if section != "rewards"
    }
    for name, fields in settings.items():
        *outer, table = name.split(".")
        inside = given
        for each in outer:
            inside = inside.setdefault(each, {})
        inside[table] = {**inside.get(table, {}), **fields}
    return PipelineConfig.model_validate(given)
