"""A prompt computed once for all its completions.

The rows of a group differ in their completions only, and with images the prompt is most of a row.
Here a group is one sequence: the prompt, then every completion behind it, each blind to the others.
A completion's positions go on from the prompt's, as in a row of its own, so the log-probabilities
and gradients are those of `GRPOTrainer`; the vision tower sees each image once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence


class Row(NamedTuple):
    """One prompt with one completion."""

    prompt: Tensor
    """Token ids, int64, shape (P,), without padding."""
    kinds: Tensor | None
    """Kind of each token of the prompt (0 text, 1 image), shape (P,)."""
    completion: Tensor
    """Token ids, int64, shape (C,), without padding."""
    columns: Tensor
    """Where the completion's tokens are among the columns of completions, shape (C,)."""
    pixels: Tensor | None
    """Patches of its images, one below the other."""
    grids: Tensor | None
    """(time, height, width) of every image in patches, shape (images, 3)."""


def split(
    input_ids: Tensor,
    attention_mask: Tensor,
    *,
    n_completion: int,
    pixel_values: Tensor | None = None,
    image_grid_thw: Tensor | None = None,
    num_images: Sequence[int] | None = None,
    mm_token_type_ids: Tensor | None = None,
    **_: None,
) -> list[Row]:
    """Return the rows of a batch: prompts padded on the left, completions on the right.

    Args:
        input_ids: shape (B, P + n_completion).
        attention_mask: same shape, 0 for padding.
        n_completion: columns of completions.
        pixel_values: patches of all images of the batch.
        image_grid_thw: shape (images, 3).
        num_images: images of each row; by default one each.
        mm_token_type_ids: same shape as `input_ids`.
    """
    n_prompt = input_ids.size(1) - n_completion
    pixels: Sequence[Tensor | None] = [None] * len(input_ids)
    grids: Sequence[Tensor | None] = [None] * len(input_ids)
    if pixel_values is not None and image_grid_thw is not None:
        counts = list(num_images) if num_images is not None else [1] * len(input_ids)
        of_rows = image_grid_thw.split(counts)
        pixels = pixel_values.split([int(grid.prod(dim=-1).sum()) for grid in of_rows])
        grids = of_rows
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
                pixels=pixels[i],
                grids=grids[i],
            )
        )
    return rows


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
    if one.pixels is None or other.pixels is None or one.grids is None or other.grids is None:
        return one.pixels is other.pixels
    return torch.equal(one.grids, other.grids) and torch.equal(one.pixels, other.pixels)


class Packed(NamedTuple):
    """Groups as sequences."""

    inputs: dict[str, Tensor]
    """Arguments of the model."""
    source: tuple[Tensor, Tensor]
    """Sequence and position of every scored token."""
    target: tuple[Tensor, Tensor]
    """Row and column of the same tokens."""

    def unpack(self, values: Tensor, shape: tuple[int, int]) -> Tensor:
        """Return values per packed token as values per row and column; 0 where there is none."""
        return values.new_zeros(shape).index_put(self.target, values[self.source])


def pack(rows: Sequence[Row], *, model: Any) -> Packed:
    """Put the completions of every group behind their prompt.

    The prompt's last token predicts the first token of every completion, so each of them brings its
    own copy of it.

    Args:
        rows: of one batch.
        model: the one that tells the positions of image tokens (`get_rope_index`), if it has any.
    """
    groups = grouped(rows)
    positions = _prompt_positions([rows[group[0]] for group in groups], model=model)
    ids, labels, owners, places = [], [], [], []
    source: list[list[Tensor]] = [[], []]
    target: list[list[Tensor]] = [[], []]
    for number, (group, known) in enumerate(zip(groups, positions, strict=True)):
        first = rows[group[0]]
        prompt, last = first.prompt[:-1], first.prompt[-1:]
        own_ids, own_places = [prompt], [known[:, :-1]]
        own_labels, own_owners = [torch.full_like(prompt, -100)], [torch.zeros_like(prompt)]
        length = len(prompt)
        for copy, i in enumerate(group, start=1):
            row, n = rows[i], len(rows[i].completion)
            steps = torch.arange(n, device=prompt.device)
            own_ids.append(torch.cat([last, row.completion])[:n])
            own_places.append(known[:, -1:] + steps)
            own_labels.append(row.completion)
            own_owners.append(torch.full_like(row.completion, copy))
            source[0].append(torch.full_like(steps, number))
            source[1].append(length + steps)
            target[0].append(torch.full_like(steps, i))
            target[1].append(row.columns)
            length += n
        ids.append(torch.cat(own_ids))
        labels.append(torch.cat(own_labels))
        owners.append(torch.cat(own_owners))
        places.append(torch.cat(own_places, dim=1).T)
    position_ids = pad_sequence(places, batch_first=True).permute(2, 0, 1)
    inputs = {
        "input_ids": pad_sequence(ids, batch_first=True),
        "shift_labels": pad_sequence(labels, batch_first=True, padding_value=-100),
        "attention_mask": _mask(
            pad_sequence(owners, batch_first=True, padding_value=-1), dtype=model.dtype
        ),
        "position_ids": position_ids if len(position_ids) == 3 else position_ids[0],
    }
    firsts = [rows[group[0]] for group in groups]
    if any(row.pixels is not None for row in firsts):
        inputs["pixel_values"] = torch.cat([row.pixels for row in firsts if row.pixels is not None])
        inputs["image_grid_thw"] = torch.cat([row.grids for row in firsts if row.grids is not None])
    if firsts[0].kinds is not None:
        kinds = torch.zeros_like(inputs["input_ids"])
        for number, row in enumerate(firsts):
            if row.kinds is not None:
                kinds[number, : len(row.kinds) - 1] = row.kinds[:-1]
        inputs["mm_token_type_ids"] = kinds
    return Packed(
        inputs,
        source=(torch.cat(source[0]), torch.cat(source[1])),
        target=(torch.cat(target[0]), torch.cat(target[1])),
    )


def _prompt_positions(rows: Sequence[Row], *, model: Any) -> list[Tensor]:
    """Return the positions of every prompt's tokens: shape (3, P) with images, else (1, P)."""
    if not hasattr(model, "get_rope_index") or rows[0].kinds is None:
        return [torch.arange(len(row.prompt), device=row.prompt.device)[None] for row in rows]
    grids = [row.grids for row in rows if row.grids is not None]
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

    Args:
        owners: for each token, 0 for the prompt, the completion's number, or -1 for padding.
        dtype: of the model.
    """
    length = owners.size(1)
    asked, seen = owners[:, :, None], owners[:, None, :]
    earlier = torch.ones(length, length, dtype=torch.bool, device=owners.device).tril()
    visible = earlier & ((seen == 0) | (seen == asked))
    mask = torch.zeros(visible.shape, dtype=dtype, device=owners.device)
    return mask.masked_fill(~visible, torch.finfo(dtype).min)[:, None]
