"""Packs a prompt and all its completions into one sequence.

The rows of a group differ in their completions only, and with images the prompt is most of a row.
Here a group is one sequence: the prompt, then every completion, which does not attend to the
others. A completion's positions continue those of the prompt, as in a row of its own, so the
log-probabilities and gradients are those of `GRPOTrainer`; the vision tower sees each image once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from geovlm.config.checkpoint import partial_layers

_MASKED = ("sdpa", "eager")
"""Attention that takes a mask per pair of tokens; others take one per row."""
_PIXELS = "pixel_values"
_GRIDS = "image_grid_thw"
_BY_ROW = ("pixel_attention_mask",)
"""Fields of families that pad the tiles of all images of a row; their pixels are by row too."""
_COUNTS = ("num_images", "num_tiles")
"""Numbers of images and of tiles of every row, which TRL counts."""
_KINDS = "mm_token_type_ids"
FIELDS = {_PIXELS, _GRIDS, _KINDS, *_COUNTS, *_BY_ROW}
"""Fields that `split` divides, of those that TRL passes for images."""


class Row(NamedTuple):
    """One prompt with one completion."""

    prompt: Tensor
    """Token ids, int64, shape (P,), without padding."""
    kinds: Tensor | None
    """Kind of each token of the prompt (0 text, 1 image), shape (P,)."""
    completion: Tensor
    """Token ids, int64, shape (C,), without padding."""
    columns: Tensor
    """Positions of the completion's tokens among the columns of completions, shape (C,)."""
    images: Mapping[str, Tensor]
    """Fields of its images: pixels, and grids (time, height, width) in patches or a mask."""


def split(
    input_ids: Tensor,
    attention_mask: Tensor,
    *,
    n_completion: int,
    mm_token_type_ids: Tensor | None = None,
    **images: Any,
) -> list[Row]:
    """Return the rows of a batch: prompts padded on the left, completions on the right.

    Shapes: `input_ids`, `attention_mask` (0 for padding) and `mm_token_type_ids` (B, P +
    n_completion). `images` are some of `FIELDS`; rows have one image each without `num_images`.
    """
    n_prompt = input_ids.size(1) - n_completion
    of_rows = _images(images, n_rows=len(input_ids))
    rows = []
    for i, kept in enumerate(attention_mask.bool()):
        columns = kept[n_prompt:].nonzero().squeeze(1)
        kinds = None if mm_token_type_ids is None else mm_token_type_ids[i, :n_prompt]
        rows.append(
            Row(
                prompt=input_ids[i, :n_prompt][kept[:n_prompt]],
                kinds=None if kinds is None else kinds[kept[:n_prompt]],
                completion=input_ids[i, n_prompt + columns],
                columns=columns,
                images=of_rows[i],
            )
        )
    return rows


def _images(fields: Mapping[str, Any], *, n_rows: int) -> list[dict[str, Tensor]]:
    """Return every row's part of the fields of images: none of rows without an image."""
    pixels, grids = fields.get(_PIXELS), fields.get(_GRIDS)
    if pixels is None:
        return [{} for _ in range(n_rows)]
    counts = list(fields.get("num_images") or [1] * n_rows)
    by_row = {name: fields[name].split(1) for name in _BY_ROW if fields.get(name) is not None}
    if grids is not None:
        by_row[_GRIDS] = grids.split(counts)
        sizes = [int(grid.prod(dim=-1).sum()) for grid in by_row[_GRIDS]]
    else:
        sizes = [1] * n_rows if by_row else list(fields.get("num_tiles") or counts)
    by_row[_PIXELS] = pixels.split(sizes)
    return [
        {name: parts[i] for name, parts in by_row.items()} if counts[i] else {}
        for i in range(n_rows)
    ]


def grouped(rows: Sequence[Row]) -> list[list[int]]:
    """Return the positions of rows with the same prompt and images, in order of appearance."""
    alike: dict[tuple[int, ...], list[list[int]]] = {}
    groups = []
    for i, row in enumerate(rows):
        same_text = alike.setdefault(tuple(row.prompt.tolist()), [])
        group = next((group for group in same_text if _same_images(rows[group[0]], row)), None)
        if group is None:
            group = []
            same_text.append(group)
            groups.append(group)
        group.append(i)
    return groups


def _same_images(one: Row, other: Row) -> bool:
    return one.images.keys() == other.images.keys() and all(
        torch.equal(one.images[name], other.images[name])
        for name in one.images  # pixels last
    )


class Packed(NamedTuple):
    """Groups as sequences."""

    inputs: dict[str, Tensor]
    """Arguments of the model; `shift_labels` marks the scored tokens."""
    rows: Tensor
    """Row of every scored token, in the order of the sequences, shape (tokens,)."""
    columns: Tensor
    """Column of every scored token, same shape."""

    def unpack(self, values: Tensor, shape: tuple[int, int]) -> Tensor:
        """Return values per packed token as values per row and column; 0 where there is none."""
        scored = self.inputs["shift_labels"] != -100
        return values.new_zeros(shape).index_put((self.rows, self.columns), values[scored])


def refusal(model: Any) -> str:
    """Return why the completions of a packed row would not be apart; empty if they are.

    A recurrent layer, as in Qwen3.5, carries the state of one completion into the next; a window,
    as in Gemma 3, is measured along the packed row.
    """
    decoder = model.config.get_text_config()
    kind = decoder._attn_implementation
    if kind not in _MASKED:
        return f"its attention ({kind}) takes no mask per pair of tokens"
    why = partial_layers(decoder.to_dict())
    if why:
        return why
    if getattr(decoder, "output_router_logits", False):
        return "the auxiliary loss of its experts counts the tokens of every row"
    return ""


def refusal_of(model: Any, fields: Mapping[str, Any]) -> str:
    """Return why a batch with these fields of images cannot be packed; empty if it can."""
    given = {name for name, value in fields.items() if value is not None}
    if given - FIELDS:
        return f"this family is also given {', '.join(sorted(given - FIELDS))}"
    if _GRIDS in given and not (_KINDS in given and hasattr(model.base_model, "get_rope_index")):
        return "the positions of its image tokens are not known"
    return ""


def pack(rows: Sequence[Row], *, model: Any) -> Packed:
    """Put the completions of every group behind their prompt.

    The model tells the positions of image tokens, if it has a `get_rope_index`.
    """
    groups = [[rows[i] for i in group] for group in grouped(rows)]
    firsts = [group[0] for group in groups]
    sequences = [
        _sequence(group, positions)
        for group, positions in zip(groups, _prompt_positions(firsts, model=model), strict=True)
    ]
    owners = pad_sequence([each.owners for each in sequences], batch_first=True, padding_value=-1)
    places = pad_sequence([each.positions.T for each in sequences], batch_first=True)
    places = places.permute(2, 0, 1)
    inputs = {
        "input_ids": pad_sequence([each.ids for each in sequences], batch_first=True),
        "shift_labels": pad_sequence(
            [each.labels for each in sequences], batch_first=True, padding_value=-100
        ),
        "attention_mask": _mask(owners, dtype=model.dtype),
        "position_ids": places if len(places) == 3 else places[0],
    }
    for name in {name: None for row in firsts for name in row.images}:
        inputs[name] = torch.cat([row.images[name] for row in firsts if name in row.images])
    if firsts[0].kinds is not None:
        kinds = torch.zeros_like(inputs["input_ids"])
        for number, row in enumerate(firsts):
            if row.kinds is not None:
                kinds[number, : len(row.kinds) - 1] = row.kinds[:-1]
        inputs["mm_token_type_ids"] = kinds
    order = [i for group in grouped(rows) for i in group]
    return Packed(
        inputs,
        rows=torch.cat([torch.full_like(rows[i].columns, i) for i in order]),
        columns=torch.cat([rows[i].columns for i in order]),
    )


class _Sequence(NamedTuple):
    ids: Tensor
    labels: Tensor
    """The token that is scored at each place, or -100."""
    owners: Tensor
    """0 for the prompt, else the number of the completion."""
    positions: Tensor
    """Shape (axes, length)."""


def _sequence(group: Sequence[Row], positions: Tensor) -> _Sequence:
    """Return a prompt with its completions.

    The prompt's last token predicts the first token of every completion, so each of them brings its
    own copy of it, and leaves out its own last token, which predicts nothing. `positions` are those
    of the prompt's tokens, shape (axes, P).
    """
    prompt, last = group[0].prompt[:-1], group[0].prompt[-1:]
    parts = [_Sequence(prompt, torch.full_like(prompt, -100), 0 * prompt, positions[:, :-1])]
    for number, row in enumerate(group, start=1):
        n = len(row.completion)
        parts.append(
            _Sequence(
                ids=torch.cat([last, row.completion])[:n],
                labels=row.completion,
                owners=torch.full_like(row.completion, number),
                positions=positions[:, -1:] + torch.arange(n, device=last.device),
            )
        )
    return _Sequence(*(torch.cat(each, dim=-1) for each in zip(*parts, strict=True)))


def _prompt_positions(rows: Sequence[Row], *, model: Any) -> list[Tensor]:
    """Return the positions of every prompt's tokens: shape (3, P) with images, else (1, P)."""
    if not hasattr(model, "get_rope_index") or rows[0].kinds is None:
        return [torch.arange(len(row.prompt), device=row.prompt.device)[None] for row in rows]
    grids = [row.images[_GRIDS] for row in rows if _GRIDS in row.images]
    ids = pad_sequence([row.prompt for row in rows], batch_first=True)
    places, _ = model.get_rope_index(
        ids,
        mm_token_type_ids=pad_sequence(
            [row.kinds for row in rows if row.kinds is not None], batch_first=True
        ),
        image_grid_thw=torch.cat(grids) if grids else None,
        attention_mask=pad_sequence(
            [torch.ones_like(row.prompt) for row in rows], batch_first=True
        ),
    )
    return [places[:, i, : len(row.prompt)] for i, row in enumerate(rows)]


def _mask(owners: Tensor, *, dtype: torch.dtype) -> Tensor:
    """Return what is added to the attention's scores, shape (sequences, 1, L, L).

    `owners` are those of `_Sequence`, and -1 for padding.
    """
    length = owners.size(1)
    query, key = owners[:, :, None], owners[:, None, :]
    earlier = torch.ones(length, length, dtype=torch.bool, device=owners.device).tril()
    visible = earlier & ((key == 0) | (key == query))
    mask = torch.zeros(visible.shape, dtype=dtype, device=owners.device)
    return mask.masked_fill(~visible, torch.finfo(dtype).min)[:, None]
