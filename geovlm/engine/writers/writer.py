"""The writer of answers, as evaluations, probes and predictions use it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from geovlm.api import ModelProfile
from geovlm.engine.generation import generate
from geovlm.engine.models.load import Loaded
from geovlm.engine.rows.images import ImageCache
from geovlm.engine.rows.rows import Row


class Expected(NamedTuple):
    """All that a writer will be asked, as far as it is known before the first answer."""

    rows: Sequence[Row]
    cache: ImageCache
    max_new_tokens: int


class Writer(Protocol):
    """Writes answers to rows; a `with` block ends what it has started."""

    @property
    def processor(self) -> Any:
        """The model's processor, as `load.load_reader` returns it."""

    @property
    def profile(self) -> ModelProfile:
        """The model's family, with the pixel limits of its processor."""

    def expect(self, job: Expected) -> None:
        """Learn what will be asked, before the first `complete`; nothing is started yet."""

    def complete(
        self,
        rows: Sequence[Row],
        *,
        cache: ImageCache,
        max_new_tokens: int,
        temperature: float = 0.0,
        seed: int = 0,
    ) -> list[str]:
        """Return one completion per row, see `geovlm.engine.rows.tokens.texts`, in their order.

        Temperature 0 is greedy.
        """

    def close(self) -> None:
        """End what was started, and free its memory."""


@dataclass(frozen=True)
class Transformers:
    """A loaded model."""

    loaded: Loaded

    @property
    def processor(self) -> Any:
        """The model's processor."""
        return self.loaded.processor

    @property
    def profile(self) -> ModelProfile:
        """The model's family."""
        return self.loaded.profile

    def expect(self, job: Expected) -> None:
        """Nothing is to be started."""

    def complete(
        self,
        rows: Sequence[Row],
        *,
        cache: ImageCache,
        max_new_tokens: int,
        temperature: float = 0.0,
        seed: int = 0,
    ) -> list[str]:
        """See `generate.complete`."""
        return generate.complete(
            self.loaded.model,
            self.loaded.processor,
            rows,
            cache=cache,
            max_new_tokens=max_new_tokens,
            temperature=temperature,
            seed=seed,
        )

    def close(self) -> None:
        """Nothing was started."""
