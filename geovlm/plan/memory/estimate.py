"""Estimates the memory that a stage takes on each of its GPUs, from plain numbers.

It counts what the engine does with TRL 1.16: weights in bfloat16 on a GPU and in float32 on the
CPU, AdamW in the type of the weights, `generate` of transformers, and TRL's fused head, which
computes the logits in tiles of 4096 tokens x 32768 words, never the whole [tokens, vocabulary].

Activations follow the count of Korthikanti et al. 2022 (arXiv 2205.05198, section 4.1), redone for
RMSNorm in float32, grouped keys and gated feed-forward layers, without their term in tokens
squared: the attention of PyTorch keeps no scores. tests/engine/test_memory.py compares the estimate
with the peak of training steps on the CPU, benchmarks/gpu.py with that on one GPU.
"""

from __future__ import annotations

from geovlm.plan.memory.parts import GIB, Adapter, Estimate, ModelShape, Placement, Work

TILE_TOKENS, TILE_WORDS = 4096, 32768
"""Tile of TRL 1.16's fused head: `trl/kernels/chunked_logprob.py`, `trl/trainer/utils.py`."""
NF4_BYTES = 0.5 + 8 / 64 / 8 + 4 / (64 * 256)
"""Bytes per weight: 4 bits, an 8-bit scale per 64 weights, a 32-bit one per 256 scales
(2305.14314)."""
CONTEXT_BYTES = 1.0 * GIB
"""CUDA context, libraries and their work space; an assumption."""
FRAGMENTED = 0.05
"""Share of all other parts that the allocator cannot use; an assumption."""
ZERO3_LIVE = 1_000_000_000
"""Number of parameters that ZeRO-3 keeps gathered: DeepSpeed's `stage3_max_live_parameters`."""


def estimate(
    shape: ModelShape,
    work: Work,
    placement: Placement,
    *,
    adapter: Adapter | None = None,
    freeze_vision: bool = False,
) -> Estimate:
    """Return the memory of a stage on each GPU; without an adapter, of full fine-tuning."""
    on_gpu = placement.device == "cuda"
    e = 2 if on_gpu else 4
    trains = work.kind in ("sft", "grpo")
    counted = adapter if trains else None
    trained = trained_parameters(shape, counted, freeze_vision=freeze_vision) if trains else 0
    found = _static(shape, work, placement, adapter=counted, trained=trained, element=e)
    found.vllm = work.vllm_share * placement.memory
    found.accumulates = work.accumulates
    if work.reference and adapter is None:
        sharded = placement.parallel in ("fsdp2", "zero3")
        found.reference = shape.parameters * e / (placement.processes if sharded else 1)
    if trains:
        found.activations = _activations(
            shape, work, adapter=adapter, frozen=freeze_vision, element=e
        )
        head = adapter is None
        found.logits = _logits(shape, work, head_trained=head, element=e, on_gpu=on_gpu)
    if work.generated and not work.vllm_share:
        found.cache, found.generation = _generation(
            shape, work, placement, trained=trained, element=e
        )
    if not on_gpu:
        return found
    found.context = CONTEXT_BYTES + FRAGMENTED * (found.total - found.vllm)
    return found


def trained_parameters(shape: ModelShape, adapter: Adapter | None, *, freeze_vision: bool) -> int:
    """Return the number of weights that training changes."""
    if adapter is not None:
        vision = shape.adapter_weights_vision if adapter.vision else 0
        of_an_expert = max(1, adapter.rank // shape.experts_visited)
        experts = of_an_expert * shape.adapter_weights_experts
        return adapter.rank * (shape.adapter_weights + vision) + experts
    frozen = shape.vision_parameters if freeze_vision else 0
    return shape.parameters - shape.other_parameters - frozen


def _static(
    shape: ModelShape,
    work: Work,
    placement: Placement,
    *,
    adapter: Adapter | None,
    trained: int,
    element: int,
) -> Estimate:
    """Return the parts that stay during training.

    Adapters are float32 (peft), bfloat16 on 4-bit weights (TRL). FSDP2 makes all trained weights
    float32 (accelerate) and gathers two layers at a time; ZeRO keeps float32 copies of them in the
    optimiser.
    """
    n = placement.processes
    quantized = adapter is not None and adapter.quantized
    base = shape.parameters * element - quantized * shape.quantizable * (element - NF4_BYTES)
    own = element
    if adapter is not None:
        own = 4 if not quantized else min(element, 2)
        base += trained * own
    states = _states(work.optimizer)
    eight_bit = "8bit" in work.optimizer
    per_weight = states * (1 if eight_bit else own)
    if n == 1 or placement.parallel == "ddp":
        buckets = 2 if n > 1 else 1
        return Estimate(base, trained * own * buckets, trained * per_weight)
    layer = shape.text.parameters / max(1, shape.text.layers)
    if placement.parallel == "fsdp2":
        per_weight = states * (1 if eight_bit else 4)
        rest = shape.parameters - shape.text.parameters - shape.vision.parameters
        weights = (base + trained * (4 - own)) / n + (2 * layer + rest) * element
        return Estimate(weights, 4 * trained / n, trained * per_weight / n)
    optimizer = trained * (4 + 4 * states) / n
    if placement.parallel == "zero2":
        return Estimate(base, trained * own / n + shape.text.width**2 * own, optimizer)
    live = min(shape.parameters, ZERO3_LIVE) * element
    return Estimate(base / n + live, trained * own / n, optimizer)


def _states(optimizer: str) -> int:
    """Return the number of values that an optimiser keeps per weight; unknown ones as AdamW."""
    if optimizer.startswith(("sgd", "adafactor")):
        return 0
    return 1 if optimizer.startswith(("lion", "paged_lion", "rmsprop", "adagrad")) else 2


def _activations(
    shape: ModelShape, work: Work, *, adapter: Adapter | None, frozen: bool, element: int
) -> float:
    """Return the bytes that the forward pass keeps and that one layer's backward pass adds.

    With checkpointing each layer keeps its input only, and one layer at a time is computed again. A
    vision tower without trained weights keeps nothing.
    """
    tokens = work.batch * (work.prompt_tokens + (work.answer_tokens if work.kind == "grpo" else 0))
    experts = shape.experts_adapted if adapter is not None else 0
    patches = work.batch * work.cells * shape.patches_per_cell
    dropout = adapter is not None and adapter.dropout and not experts
    in_graph = not frozen if adapter is None else adapter.vision
    total = worst = 0.0
    for stack, n, grows, adapted in (
        (shape.text, tokens, True, adapter is not None),
        (shape.vision, patches, in_graph, adapter is not None and adapter.vision),
    ):
        kept = stack.kept(element, adapters=adapter is not None, dropout=dropout and adapted)
        passing = stack.passing(element) * n
        if grows and work.checkpointing:
            total += stack.layers * stack.width * element * n
            passing += kept * n
        elif grows:
            total += stack.layers * kept * n
        worst = max(worst, passing)
    return total + worst + _merged(shape, experts, work=work, element=element)


def _merged(shape: ModelShape, experts: int, *, work: Work, element: int) -> float:
    """Return the bytes of fused experts with their adapters added.

    peft 0.21 makes them in every forward pass of a layer, for all experts, and keeps them for the
    backward pass, which adds a gradient of the same size for one layer.
    """
    layer = experts * element / max(1, shape.text.layers)
    return layer + (layer if work.checkpointing else experts * element)


def _logits(
    shape: ModelShape, work: Work, *, head_trained: bool, element: int, on_gpu: bool
) -> float:
    """Return the bytes of logits in the training step, with their gradient.

    That is one tile in the type of the weights. Without Triton (on the CPU) every position is
    scored, with eight float32 values per value of the tile. A trained head collects its gradient in
    float32.
    """
    whole = work.prompt_tokens + (work.answer_tokens if work.kind == "grpo" else 0)
    scored = work.batch * (work.answer_tokens if on_gpu else whole)
    if work.whole_logits:
        # float32 logits, their log-probabilities and the gradient, in addition to the bfloat16 ones
        return work.batch * whole * shape.vocabulary * (element + 3 * 4.0)
    tokens = min(scored, TILE_TOKENS)
    tile = tokens * TILE_WORDS * element
    spread = 0 if on_gpu else 8 * tokens * min(shape.vocabulary, TILE_WORDS) * 4
    head = shape.vocabulary * shape.text.width * 4 if head_trained else 0
    return float(tile + spread + head + scored * shape.text.width * 4)


def _generation(
    shape: ModelShape, work: Work, placement: Placement, *, trained: int, element: int
) -> tuple[float, float]:
    """Return the cache and the other bytes that generation adds.

    The cache is rows x tokens x layers x 2 x width of the keys; in transformers it grows by copies,
    one layer at a time. The rest is the larger of the first pass and of a later one, whose keys are
    expanded to all heads.
    """
    rows = work.generated
    length = rows * (work.prompt_tokens + work.answer_tokens)
    per_layer = 2 * length * shape.text.keys_width * element
    cache = per_layer * (shape.text.layers + 1.0)
    patches = rows * work.cells * shape.patches_per_cell
    first = max(
        rows * work.prompt_tokens * shape.text.passing(element),
        patches * shape.vision.passing(element),
    )
    later = 2 * length * shape.text.width * element
    words = rows * shape.vocabulary * 3 * 4  # logits, their scores, the probabilities
    whole = 0.0
    sharded = placement.processes > 1 and placement.parallel in ("fsdp2", "zero3")
    if sharded and trained and placement.gather_for_generation:
        whole = float(shape.parameters * element)
    return cache, max(first, later) + words + whole
