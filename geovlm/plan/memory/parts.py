"""What decides about the memory of a stage, and the parts that it falls into; plain numbers."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

GIB = 2**30
Parallel = Literal["ddp", "fsdp2", "zero2", "zero3"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Stack:
    """A pile of equal transformer layers."""

    layers: int
    width: int
    """Of the residual stream."""
    inner: int
    """Of the feed-forward layer; of all experts that a token visits."""
    gated: bool
    """Whether two projections go into the feed-forward layer."""
    keys_width: int
    """Heads of keys x their size; less than `width` when grouped."""
    parameters: int

    def kept(self, element: int, *, adapters: bool = False, dropout: bool = False) -> int:
        """Return the bytes that one layer keeps per token for its backward pass.

        Two norms keep their input in float32 and their result (2 x (4 + e) w), the linear layers
        their inputs (2 e w and e w in front of the output), attention q, k, v, its result and the
        copy of it in order (5 e w: keys are expanded), the feed-forward layer four values of its
        inner width when gated, two otherwise. Frozen linear layers keep no input, but adapters on
        them do: under dropout each its own copy, with a mask (one byte on a GPU).

        Args:
            element: bytes of a value.
            adapters: whether the layer is frozen under adapters.
            dropout: whether these drop inputs.
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
        """Return the bytes that one layer needs per token while it is computed, keeping nothing."""
        return (4 + 4 * element) * self.width + 3 * element * self.inner


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelShape:
    """What of a model decides about memory; `engine.programs.shape` reads it from a config."""

    parameters: int
    vision_parameters: int
    """Below the profile's `vision_module`."""
    quantizable: int
    """Weights in the decoder's linear layers, which `lora.quantize` makes 4-bit."""
    text: Stack
    vision: Stack
    vocabulary: int
    adapter_weights: int
    """Weights of adapters of rank 1 on the configured targets, else on the profile's."""
    adapter_weights_vision: int
    """Weights of adapters of rank 1 on the vision tower's linear layers."""
    patches_per_cell: float
    """Patches that the vision tower reads per cell of the profile's `size_factor`."""
    tokens_per_cell: int
    """Visual tokens per such cell."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Adapter:
    """Low-rank adapters in place of full fine-tuning."""

    rank: int
    dropout: bool = True
    vision: bool = False
    """Also on the vision tower."""
    quantized: bool = False
    """The decoder's linear layers are 4-bit."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """What one process does in one stage."""

    kind: Literal["sft", "probe", "grpo", "eval"]
    batch: int
    """Rows per forward and backward pass; none are made by `probe` and `eval`."""
    cells: int
    """Cells of image per row, the longest: visual tokens for the Qwen families."""
    prompt_tokens: int
    """Of the longest row, visual ones included; with the answer in SFT."""
    answer_tokens: int
    """Longest completion; in SFT the part of the row that is learned."""
    generated: int = 0
    """Rows that are generated at a time."""
    accumulates: bool = True
    """Whether gradients of earlier passes are there while a later one is made."""
    checkpointing: bool = False
    optimizer: str = "adamw_torch_fused"
    reference: bool = False
    """Whether the KL term needs a reference model; adapters are switched off instead."""
    whole_logits: bool = False
    """Whether the loss needs all logits at once, as label smoothing does."""
    vllm_share: float = 0.0
    """Share of the GPU that a colocated vLLM takes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Placement:
    """Where the stage runs."""

    device: Literal["cuda", "cpu"] = "cuda"
    processes: int = 1
    parallel: Parallel = "ddp"
    memory: float = 80 * GIB
    """Bytes of one GPU, or of the machine for each of its processes."""
    gather_for_generation: bool = True
    """Whether sharded weights are made whole to generate: TRL's `ds3_gather_for_generation`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """Bytes on the fullest GPU, by part. Training and generation take turns."""

    weights: float = 0.0
    """With adapters, and with the layers that sharding has gathered."""
    gradients: float = 0.0
    """With DDP's buckets."""
    optimizer: float = 0.0
    reference: float = 0.0
    vllm: float = 0.0
    activations: float = 0.0
    logits: float = 0.0
    """Of the training step."""
    cache: float = 0.0
    """Keys and values of the rows that are generated."""
    generation: float = 0.0
    """All else of generation: gathered weights, the first pass, the last token's logits."""
    context: float = 0.0
    """CUDA and what the allocator cannot use."""
    accumulates: bool = True
    """As in `Work`: else gradients come as activations go."""

    @property
    def total(self) -> float:
        """Bytes at the peak: the parts that stay, and the larger of training and generation."""
        stays = self.weights + self.optimizer + self.reference + self.vllm + self.context
        passes = self.gradients, self.activations
        trains = (sum(passes) if self.accumulates else max(passes)) + self.logits
        return stays + max(trains, self.cache + self.generation)

    def parts(self) -> dict[str, float]:
        """Return the parts that are not zero, bytes."""
        values = asdict(self)
        del values["accumulates"]
        return {name: value for name, value in values.items() if value}
