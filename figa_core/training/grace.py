"""The time that a training which is asked to stop gets to write a checkpoint, before its ranks are killed.

A second signal ends it at once.
"""

_LEAST_S = 60.0
_STEPS = 2
_TIMES_THE_LAST = 2
_BYTES_PER_S = 200_000_000  # of a slow disk


def seconds_to_stop(
    checkpoint_bytes: int, *, last_checkpoint_s: float | None, slowest_step_s: float
) -> float:
    """For the steps under way, and for a checkpoint of so many bytes of all ranks together.

    `last_checkpoint_s` is what the training's last checkpoint took, if that is known.
    """
    last_s = _TIMES_THE_LAST * (last_checkpoint_s or 0.0)
    return max(_LEAST_S, last_s, checkpoint_bytes / _BYTES_PER_S) + _STEPS * slowest_step_s
