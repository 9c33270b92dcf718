"""Lines as vLLM 0.32, DeepSpeed 0.19, torch 2.13 and transformers 5.19 wrote them in runs of ours."""

import logging

import pytest

from figa_core.processes.log_lines import LineReader, Message

HEALTHY_VLLM = """\
(MainProcess pid=16161) INFO 11-21 15:51:53 [api_utils.py:286] non-default args: {'runner': 'pooling'}
(MainProcess pid=16161) WARNING 11-21 15:51:53 [arg_utils.py:1945] The global random seed is set to 0. Since \
VLLM_ENABLE_V1_MULTIPROCESSING is set to False, this may affect the random state of the Python process.
(MainProcess pid=12527) WARNING 11-21 08:11:23 [arg_utils.py:3005] This model does not officially support \
disabling chunked prefill. Disabling this manually may cause the engine to crash or produce incorrect outputs.
(MainProcess pid=16161) WARNING 11-21 15:51:54 [vllm.py:1703] Enforce eager set, disabling torch.compile, \
CUDAGraphs, and JIT kernel warmup. This is equivalent to setting -cc.mode=none
(MainProcess pid=16161) WARNING 11-21 15:51:54 [vllm.py:1727] Inductor compilation was disabled by user \
settings, optimizations settings that are only active during inductor compilation will be ignored.
(MainProcess pid=16161) WARNING 11-21 15:51:54 [cpu.py:224] Triton is not installed. triton-cpu is expected.
(MainProcess pid=16161) WARNING 11-21 15:51:54 [vllm.py:725] Model Runner V2 requires Triton; using the V1 \
model runner instead.
/w/.venv-vllm/lib/python3.11/site-packages/vllm/triton_utils/dispatcher.py:138: FutureWarning: \
`torch.distributed.reduce_op` is deprecated, please use `torch.distributed.ReduceOp` instead
  if hasattr(value, "__dict__"):
W1121 15:51:54.706000 16161 .venv-vllm/lib/python3.11/site-packages/torch/_library/triton.py:53] Triton not \
available, find_triton_kernels = []
[W1121 15:51:55.489303212 utils.cpp:68] Warning: NUMA binding: Using MEMBIND policy for memory allocation on \
the NUMA nodes (0). (function init_cpu_memory_env)
(MainProcess pid=16161) WARNING 11-21 15:51:55 [cpu_worker.py:114] libtcmalloc is not found in LD_PRELOAD.
(MainProcess pid=16161) WARNING 11-21 15:51:55 [cpu_worker.py:114] libiomp is not found in LD_PRELOAD.
Loading safetensors checkpoint shards: 100% Completed | 1/1 [00:00<00:00, 138.88it/s]
(MainProcess pid=16161) WARNING 11-21 15:51:57 [cpu_worker.py:140] CPU backend doesn't allow to use \
`torch.set_num_threads` after the thread binding, skip it.
"""

HEALTHY_TRAINING = """\
[2026-11-21 16:54:10,019] [WARNING] [real_accelerator.py:213:get_accelerator] Setting accelerator to CPU. If \
you have GPU or other accelerator, we were unable to detect it.
/w/.venv/lib/python3.11/site-packages/torch/distributed/c10d_logger.py:83: FutureWarning: \
`torch.distributed.all_gather_into_tensor` is deprecated. Please use `torch.distributed.all_gather_single`.
  return func(*args, **kwargs)
Writing model shards: 100%|██████████| 1/1 [00:00<00:00, 317.75it/s]
"""

FAILED_RANKS = """\
[rank1]: Traceback (most recent call last):
[rank0]: Traceback (most recent call last):
[rank1]:   File "/w/figa_core/training/__main__.py", line 85, in <module>
[rank0]:   File "/w/figa_core/training/__main__.py", line 85, in <module>
[rank1]:     sys.exit(main())
[rank1]:              ^^^^^^
[rank0]:     sys.exit(main())
[rank0]:              ^^^^^^
[rank1]: safetensors._safetensors_rust.SafetensorError: Error while deserializing header: header too large
[rank0]: safetensors._safetensors_rust.SafetensorError: Error while deserializing header: header too large
W1121 16:55:49.210000 11552 /w/torch/distributed/elastic/multiprocessing/api.py:1028] Sending process 11556 \
closing signal SIGTERM
E1121 16:55:49.275000 11552 /w/torch/distributed/elastic/multiprocessing/api.py:1002] failed (exitcode: 1) \
local_rank: 1 (pid: 11557) of binary: /w/.venv/bin/python
training ended early: 2 rank(s) failed
"""

FAILED_VLLM = """\
(MainProcess pid=16235) ERROR 11-21 15:52:09 [repo_utils.py:124] Error parsing config for /w/no-model: \
Unrecognized model in /w/no-model. Should have a `model_type` key in its config.json.
Traceback (most recent call last):
  File "/w/figa_core/inference/vllm_worker.py", line 124, in <module>
    main(Path(sys.argv[1]))
pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig
  Value error, Unrecognized model in /w/no-model. Should have a `model_type` key.
    For further information visit https://errors.pydantic.dev/2.14/v/value_error
"""

LOAD_REPORT = """\
[transformers] \x1b[1mLlamaForCausalLM LOAD REPORT\x1b[0m from: /w/model
Key            | Status     |
---------------+------------+-
score.weight   | UNEXPECTED |
lm_head.weight | MISSING    |
"""


def read(text: str) -> list[Message]:
    reader = LineReader()
    messages = [message for line in text.splitlines() for message in reader.read(line)]
    return [*messages, *reader.end()]


@pytest.mark.parametrize("text", [HEALTHY_VLLM, HEALTHY_TRAINING], ids=["vllm", "training"])
def test_a_healthy_child_has_nothing_to_tell(text: str) -> None:
    assert read(text) == []


def test_what_our_own_code_says_is_told() -> None:
    assert read("figa: 24 pairs\nfiga is here\n") == [Message(logging.INFO, "", "24 pairs")]


def test_a_traceback_is_one_message_that_begins_with_the_exception() -> None:
    error, traceback = read(FAILED_VLLM)
    assert error.text.startswith("Error parsing config for /w/no-model: Unrecognized model")
    assert traceback.level == logging.ERROR
    assert traceback.text.splitlines() == [
        "pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig",
        "  Value error, Unrecognized model in /w/no-model. Should have a `model_type` key.",
        "    For further information visit https://errors.pydantic.dev/2.14/v/value_error",
        "Traceback (most recent call last):",
        '  File "/w/figa_core/inference/vllm_worker.py", line 124, in <module>',
        "    main(Path(sys.argv[1]))",
    ]


def test_tracebacks_of_two_ranks_are_told_apart_and_stand_before_what_torchrun_says_of_them() -> None:
    first, second, torchrun = read(FAILED_RANKS)
    assert (first.origin, second.origin) == ("rank1", "rank0")
    assert first.text == second.text
    assert first.text.startswith("safetensors._safetensors_rust.SafetensorError: Error while")
    assert first.text.endswith("^^^^^^")
    assert torchrun == Message(
        logging.ERROR,
        "",
        "failed (exitcode: 1) local_rank: 1 (pid: 11557) of binary: /w/.venv/bin/python",
    )


def test_the_last_of_chained_exceptions_stands_first() -> None:
    text = (
        "Traceback (most recent call last):\n"
        '  File "a.py", line 1, in load\n'
        "KeyError: 'dtype'\n"
        "\n"
        "The above exception was the direct cause of the following exception:\n"
        "\n"
        "Traceback (most recent call last):\n"
        '  File "b.py", line 2, in main\n'
        "ValueError: no dtype\n"
        "and on it goes\n"
    )
    (message,) = read(text)
    lines = message.text.splitlines()
    assert lines[0] == "ValueError: no dtype"
    assert lines.index("KeyError: 'dtype'") < lines.index('  File "b.py", line 2, in main')
    assert "and on it goes" not in lines


def test_a_traceback_in_the_format_of_a_logger_is_one_message_of_its_level() -> None:
    head = "(Worker_TP1 pid=7) {} 11-21 15:52:09 [core.py:1100] "
    lines = ["Traceback (most recent call last):", '  File "a.py", line 1, in f', "ValueError: no"]
    for level in ("ERROR", "WARNING", "INFO"):
        messages = read("\n".join(head.format(level) + line for line in lines))
        told = [Message(getattr(logging, level), "Worker_TP1", "\n".join([lines[2], *lines[:2]]))]
        assert messages == (told if level != "INFO" else [])


def test_a_warning_in_the_midst_of_a_traceback_is_told_by_itself() -> None:
    lines = FAILED_VLLM.splitlines()
    lines.insert(3, "(MainProcess pid=1) WARNING 11-21 15:52:09 [cpu.py:1] It is late.")
    messages = read("\n".join(lines))
    assert [message.text.partition("\n")[0] for message in messages][1:] == [
        "It is late.",
        "pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig",
    ]


def test_a_traceback_is_complete_with_its_exception_and_torn_without() -> None:
    reader = LineReader()
    for line in FAILED_VLLM.splitlines()[1:4]:
        assert list(reader.read(line)) == []
    assert list(reader.pause()) == []
    assert list(reader.read("ValueError: no")) == []
    assert [message.text[:14] for message in reader.pause()] == ["ValueError: no"]
    assert list(reader.end()) == []
    (torn,) = read("\n".join(FAILED_VLLM.splitlines()[1:4]))
    assert torn.text.startswith("Traceback")


def test_weights_that_a_checkpoint_lacks_are_told() -> None:
    assert [message.text for message in read(LOAD_REPORT)] == [
        "LlamaForCausalLM LOAD REPORT from: /w/model",
        "lm_head.weight | MISSING    |",
    ]


@pytest.mark.parametrize(
    ("line", "level", "text"),
    [
        ("TrainingError: step 1: the loss is nan", logging.ERROR, "TrainingError: step 1: the loss is nan"),
        ("Fatal Python error: Aborted", logging.ERROR, "Fatal Python error: Aborted"),
        ("ERROR: no space left", logging.ERROR, "no space left"),
        ("/w/a.py:83: UserWarning: it is slow", logging.WARNING, "UserWarning: it is slow"),
        ("WARNING:root:it is slow", logging.WARNING, "it is slow"),
        ("[WARNING|a.py:83] 2026-11-21 16:54:10,019 >> it is slow", logging.WARNING, "it is slow"),
        ("2026-11-21 16:54:10,019 - WARNING - it is slow", logging.WARNING, "it is slow"),
        ("host:7:9 [0] NCCL WARN it is slow", logging.WARNING, "it is slow"),
        ("[F1121 16:54:10.489303212 a.cpp:68] it is over", logging.ERROR, "it is over"),
    ],
)
def test_other_forms_of_errors_and_warnings_are_known(line: str, level: int, text: str) -> None:
    assert read(line) == [Message(level, "", text)]
