"""The disk space a training needs is estimated beforehand."""

from figa_core.training.room import training_bytes


def test_a_short_training_needs_one_checkpoint_and_a_long_one_four() -> None:
    def room(steps: int) -> int:
        return training_bytes(1000, dtype="float32", exported_bytes=4000, steps=steps, checkpoint_steps=100)

    assert room(1) == room(100) == 16_000 + 4000
    assert room(101) == 2 * 16_000 + 4000
    assert room(201) == 3 * 16_000 + 4000
    assert room(301) == room(10_000) == 4 * 16_000 + 4000
