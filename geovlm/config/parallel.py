"""How a stage is spread over processes, and what generates in GRPO."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt

Generation = Literal["transformers", "vllm-colocate", "vllm-server"]
SCHEMES = ("ddp", "fsdp2", "zero2", "zero3")
"""What `parallel` may be called, beside the path of an accelerate configuration."""
OWNED = {
    "use_vllm": "it is the stage's: 'generation'",
    "vllm_mode": "it is the stage's: 'generation'",
    "vllm_server_base_url": "it is the stage's: 'vllm.url'",
    "vllm_server_host": "it is the stage's: 'vllm.url'",
    "vllm_server_port": "it is the stage's: 'vllm.port'",
    "vllm_gpu_memory_utilization": "it is the stage's: 'vllm.memory'",
    "vllm_max_model_length": "it is the stage's: 'vllm.max_model_len'",
    "use_transformers_continuous_batching": "TRL refuses it for models that see",
    "use_transformers_paged": "TRL refuses it for models that see",
    "fsdp": "it is the stage's: 'parallel'",
    "fsdp_config": "it is the stage's: 'parallel'",
    "deepspeed": "it is the stage's: 'parallel'",
}
"""Trainer arguments that are settings of the stage, and which."""


def _scheme(value: str) -> str:
    if value in SCHEMES or value.endswith((".yaml", ".yml")):
        return value
    raise ValueError(f"{value!r} is none of {', '.join(SCHEMES)}, nor a .yaml file of accelerate")


Parallel = Annotated[str, AfterValidator(_scheme)]


class VllmConfig(BaseModel):
    """vLLM, with `generation` "vllm-colocate" or "vllm-server"; untested, see docs/launch.md."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    url: str | None = None
    """A server that runs already, such as http://10.0.0.5:8000; default: the run starts one."""
    gpus: list[Annotated[int, Field(ge=0)]] | None = None
    """GPUs of the server that the run starts, numbered from 0 among those of its machine; default:
    those that the stage's processes leave free."""
    port: Annotated[int, Field(ge=1, le=65535)] = 8000
    """Of the server that the run starts."""
    memory: Annotated[float, Field(gt=0.0, le=1.0)] | None = None
    """Share of a GPU's memory that vLLM takes; default: 0.3 beside the trainer, 0.9 alone."""
    max_model_len: PositiveInt | None = None
    """Longest prompt with its answer, tokens; default: what the model takes."""
    start_timeout_s: PositiveFloat = 600.0
    """Seconds until the server that the run starts has to answer."""
