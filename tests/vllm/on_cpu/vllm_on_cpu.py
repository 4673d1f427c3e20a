"""A plugin of vLLM 0.30: on the CPU its weights can be replaced, in place and through a file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


def register() -> None:
    """What vLLM calls in each of its processes."""
    import torch
    from safetensors.torch import load_file
    from vllm.distributed.weight_transfer import base
    from vllm.distributed.weight_transfer.factory import WeightTransferEngineFactory
    from vllm.model_executor.layers import utils
    from vllm.model_executor.model_loader.reload import (
        finalize_layerwise_reload,
        initialize_layerwise_reload,
    )

    def keep_weights(layer: Any, remove_weight: bool) -> None:
        """Compute with the weights of a layer: vLLM packs them for oneDNN and drops them."""
        layer.cpu_linear = torch.nn.functional.linear

    @dataclass
    class Init(base.WeightTransferInitInfo):
        """A file needs no preparation."""

    @dataclass
    class Update(base.WeightTransferUpdateInfo):
        """The safetensors file of new weights, on this machine."""

        path: str

    class Engine(base.WeightTransferEngine):
        """Reads new weights from a file; the engines of vLLM itself need CUDA."""

        init_info_cls, update_info_cls = Init, Update

        def init_transfer_engine(self, init_info: Init) -> None:
            pass

        def start_weight_update(self) -> None:
            initialize_layerwise_reload(self.model)

        def update_weights(self, update_info: Any) -> None:  # the base's waits for an accelerator
            self.receive_weights(self.parse_update_info(update_info))

        def receive_weights(self, update_info: Update) -> None:
            self.model.load_weights(load_file(update_info.path).items())

        def finish_weight_update(self) -> None:
            finalize_layerwise_reload(self.model, self.model_config)

        def shutdown(self) -> None:
            pass

    utils.dispatch_cpu_unquantized_gemm = keep_weights
    if "file" not in WeightTransferEngineFactory._registry:
        WeightTransferEngineFactory.register_engine("file", Engine)
