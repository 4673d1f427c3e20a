from __future__ import annotations

import pytest

from geovlm.engine.stage import spread
from geovlm.errors import ConfigError


def sizes(trainer: dict[str, int]) -> tuple[int, int]:
    return trainer["per_device_train_batch_size"], trainer["gradient_accumulation_steps"]


def test_as_many_processes_as_before_change_nothing() -> None:
    assert spread({"learning_rate": 1.0}, before=2, processes=2) == {"learning_rate": 1.0}


def test_more_processes_take_smaller_batches_fewer_accumulate_more() -> None:
    trainer = {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 1}
    assert sizes(spread(trainer, before=1, processes=2)) == (4, 1)
    assert sizes(spread(trainer, before=2, processes=1)) == (8, 2)
    # 24 rows, 12 on each of two: the largest divisor that is at most 8
    assert sizes(spread(trainer, before=3, processes=2)) == (6, 2)


def test_what_is_not_given_is_that_of_the_trainer() -> None:
    assert sizes(spread({}, before=1, processes=4)) == (2, 1)


def test_a_generation_keeps_its_rows() -> None:
    trainer = {"per_device_train_batch_size": 8, "steps_per_generation": 4}
    # 8 x 2 x 4 rows before; 8 x 1 x 8 after
    assert spread(trainer, before=2, processes=1)["steps_per_generation"] == 8


def test_processes_that_cannot_share_a_step_are_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        spread({"per_device_train_batch_size": 4}, before=1, processes=3, where="stage 0-sft")
    assert str(caught.value) == (
        "stage 0-sft was started with 4 rows per step, which 3 processes cannot share evenly "
        "(resume on so many processes: 1, 2, 4)"
    )
