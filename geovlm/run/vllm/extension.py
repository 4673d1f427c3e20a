"""Lets a vLLM server of GeoVLM report on its weights: `--worker-extension-cls`."""

from __future__ import annotations

from typing import Any

from geovlm.run.vllm import weights

CLASS = f"{__name__}.Weights"
"""Value of `--worker-extension-cls`."""
METHOD = "geovlm_weights"


class Weights:
    """Becomes a base of each worker of a server; see vLLM's `worker_extension_cls`."""

    model_runner: Any

    def geovlm_weights(self, *sent: str) -> dict[str, Any]:
        """Return `geovlm.run.vllm.weights.Held` of this worker, for the names that were sent."""
        return weights.held(self.model_runner, sent)._asdict()
