"""Answers which sizes and tokens a model's processor makes of images.

`python -m geovlm.engine.programs.sizes` reads lines of JSON on standard input: the request, then a
question per line, which it answers by a line. `geovlm.plan.sizes` starts it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

from transformers import AutoConfig

from geovlm.engine.models import limits, sizes
from geovlm.engine.models.processor import load_processor
from geovlm.engine.programs.main import run
from geovlm.files.jsontext import dumps


def main() -> int:
    """Answer until standard input ends; returns the exit status."""
    return run(lambda _: answer(json.loads(sys.stdin.readline())), argv=())


def answer(request: dict[str, Any]) -> None:
    """Load the processor of the request and answer the questions on standard input.

    Raises:
        ConfigError: the processor cannot be loaded, or has no such limit as is requested.
    """
    answers = reader(request)
    for line in sys.stdin:
        print(dumps(answers(json.loads(line))), flush=True)


def reader(request: dict[str, Any]) -> Callable[[dict[str, Any]], Any]:
    """Load the processor of the request; returns the function that answers a question.

    Raises:
        ConfigError: as `answer`.
    """
    source, trusted = request["source"], request["trust_remote_code"]
    processor = load_processor(
        source,
        trust_remote_code=trusted,
        min_pixels=request["min_pixels"],
        max_pixels=request["max_pixels"],
        cache_patches=False,
    )
    config = AutoConfig.from_pretrained(source, trust_remote_code=trusted)
    counted = sizes.counter(processor, config)

    def answered(question: dict[str, Any]) -> Any:
        match question:
            case {"tokens": given}:
                return counted([(width, height) for width, height in given])
            case {"seen": [width, height]}:
                return sizes.seen_size(processor, (width, height))
            case _:
                return limits.areas(processor.image_processor)  # type: ignore[attr-defined]

    return answered


if __name__ == "__main__":
    sys.exit(main())
