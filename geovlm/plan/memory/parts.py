"""Holds the numbers that determine a stage's memory, and the parts of the estimate."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

GIB = 2**30


@dataclass(frozen=True, kw_only=True, slots=True)
class Stack:
    """Equal transformer layers, one after the other."""

    layers: int
    width: int
    """Width of the residual stream."""
    inner: int
    """Width of the feed-forward layer, summed over the experts that a token visits."""
    gated: bool
    """True if the feed-forward layer has two input projections."""
    keys_width: int
    """Number of key heads x their size; less than `width` if keys are grouped."""
    parameters: int

    def kept(self, element: int, *, adapters: bool = False, dropout: bool = False) -> int:
        """Return the bytes that one layer keeps per token for its backward pass.

        Two norms keep their input in float32 and their result (2 x (4 + e) w), the linear layers
        their inputs (2 e w and e w in front of the output), attention q, k, v, its result and the
        copy of it in order (5 e w: keys are expanded), the feed-forward layer four values of its
        inner width if gated, else two. Frozen linear layers keep no input, but adapters on
        them do: under dropout each its own copy, with a mask (one byte on a GPU).

        `element` is the bytes of a value; under `adapters` the layer is frozen.
        """
        w, e = self.width, element
        copies = 4 if self.gated else 2
        if not adapters:
            return 2 * (4 + e) * w + 3 * e * w + 5 * e * w + copies * e * self.inner
        if dropout:
            mask = 1 if e == 2 else e
            own = (e + mask) * (6 * w + self.inner) + (copies - 1) * e * self.inner
        else:
            own = 3 * e * w + copies * e * self.inner
        return 2 * 4 * w + 5 * e * w + own

    def passing(self, element: int) -> int:
        """Return the bytes per token that one layer needs while it is computed, and then frees."""
        return (4 + 4 * element) * self.width + 3 * element * self.inner


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelShape:
    """Sizes of a model; `geovlm.engine.programs.shape` reads them from its config."""

    parameters: int
    vision_parameters: int
    """Parameters of the vision tower."""
    quantizable: int
    """Weights of the decoder's linear layers, which `lora.quantize` makes 4-bit."""
    text: Stack
    vision: Stack
    vocabulary: int
    adapter_weights: int
    """Weights of adapters of rank 1 on the linear layers that are targets."""
    adapter_weights_vision: int
    """Weights of adapters of rank 1 on the vision tower's linear layers."""
    patches_per_cell: float
    """Patches that the vision tower reads per cell of the profile's `size_factor`."""
    tokens_per_cell: int
    """Visual tokens per such cell."""
    adapter_weights_experts: int = 0
    """Weights of adapters of rank 1 on the fused experts that are targets."""
    adapted: int = 0
    """Weights in the decoder's layers that have an adapter."""
    experts: int = 0
    """Weights of fused experts, which `lora.quantize` leaves in 16 bits."""
    experts_adapted: int = 0
    """Those of them that have an adapter."""
    experts_visited: int = 1
    """Number of experts that a token visits."""
    other_parameters: int = 0
    """Parameters of towers for other inputs, such as audio, which are never trained."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Adapter:
    """Low-rank adapters in place of full fine-tuning."""

    rank: int
    dropout: bool = True
    vision: bool = False
    """True if the vision tower has adapters too."""
    quantized: bool = False
    """True if the decoder's linear layers are 4-bit."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """Rows and tokens of one process in one stage."""

    kind: Literal["sft", "probe", "grpo", "eval"]
    batch: int
    """Rows per forward and backward pass; 0 for `probe` and `eval`."""
    cells: int
    """Image cells of the longest row; in the Qwen families the same as visual tokens."""
    prompt_tokens: int
    """Tokens of the longest row, with visual ones; in SFT with the answer."""
    answer_tokens: int
    """Tokens of the longest completion; in SFT of the part of the row that is learned."""
    generated: int = 0
    """Rows that are generated at a time."""
    accumulates: bool = True
    """True if gradients of earlier passes are kept during a later one."""
    checkpointing: bool = False
    optimizer: str = "adamw_torch_fused"
    reference: bool = False
    """True if the KL term needs a reference model; adapters are switched off instead."""
    whole_logits: bool = False
    """True if the loss needs all logits at once, as label smoothing does."""
    vllm_share: float = 0.0
    """Share of the GPU that a colocated vLLM takes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Placement:
    """Device and processes of a stage."""

    device: Literal["cuda", "cpu"] = "cuda"
    processes: int = 1
    parallel: str = "ddp"
    """One of `geovlm.config.stages.SCHEMES`."""
    memory: float = 80 * GIB
    """Bytes of one GPU; on the CPU, of the machine per process."""
    gather_for_generation: bool = True
    """True if sharded weights are gathered to generate: TRL's `ds3_gather_for_generation`."""


@dataclass(slots=True)
class Estimate:
    """Bytes on the fullest GPU, by part; training and generation alternate."""

    weights: float = 0.0
    """Weights, with adapters and with the layers that sharding has gathered."""
    gradients: float = 0.0
    """Gradients, with DDP's buckets."""
    optimizer: float = 0.0
    reference: float = 0.0
    vllm: float = 0.0
    activations: float = 0.0
    logits: float = 0.0
    """Logits of the training step."""
    cache: float = 0.0
    """Keys and values of the generated rows."""
    generation: float = 0.0
    """Other parts of generation: gathered weights, the first pass, the last token's logits."""
    context: float = 0.0
    """CUDA, and memory that the allocator cannot use."""
    accumulates: bool = True
    """As in `Work`; if false, gradients appear while activations are freed."""

    @property
    def total(self) -> float:
        """Bytes at the peak: the parts that stay, and the larger of training and generation."""
        stays = self.weights + self.optimizer + self.reference + self.vllm + self.context
        passes = self.gradients, self.activations
        trains = (sum(passes) if self.accumulates else max(passes)) + self.logits
        return stays + max(trains, self.cache + self.generation)

    def parts(self) -> dict[str, float]:
        """Return the parts that are not zero, bytes."""
        parts = asdict(self).items()
        return {name: value for name, value in parts if value and name != "accumulates"}
