"""Lists the public names: those that a plugin may import.

`tools/public_api.py` compares their signatures, and those of all commands, with the released ones.
Names that are not listed here may change in any version.
"""

from __future__ import annotations

from collections.abc import Mapping

from geovlm import api, hookspecs

NAMES: Mapping[str, tuple[str, ...]] = {
    "geovlm": ("hookimpl",),
    "geovlm.api": tuple(api.__all__),
    "geovlm.hookspecs": tuple(name for name in vars(hookspecs) if name.startswith("geovlm_")),
    "geovlm.answers": (
        "INSTRUCTION",
        "MAX_CHARS",
        "answer_text",
        "choice",
        "frame",
        "has_answer",
        "has_think",
        "labels",
        "named_choices",
        "normalise",
        "number",
        "says_unchanged",
        "think_text",
        "words",
    ),
    "geovlm.boxes": (
        "Box",
        "HasSizes",
        "Match",
        "corners",
        "drop_angle",
        "enclosing",
        "from_frame",
        "geochat_box",
        "input_size",
        "iou",
        "match",
        "overlap",
        "parse",
        "rotated_iou",
        "strip",
        "target_boxes",
        "to_frame",
        "write",
    ),
    "geovlm.errors": (
        "ConfigError",
        "DataError",
        "DatasetNotFoundError",
        "GeoVLMError",
        "MetricError",
        "PluginUnavailableError",
        "RewardError",
        "RunFailedError",
        "UnknownNameError",
    ),
    "geovlm.files": (
        "Images",
        "csv_rows",
        "find",
        "json_array",
        "json_lines",
        "json_members",
        "keep",
        "listed",
        "read_json",
        "read_text",
        "saved_columns",
        "saved_folders",
        "saved_rows",
        "table_batches",
    ),
    "geovlm.raster": ("image_size", "open_image", "open_window"),
    "geovlm.scenes": (
        "COVERS",
        "DAMAGES",
        "DISASTERS",
        "Item",
        "KINDS",
        "ROOFS",
        "Scene",
        "compose",
        "cover_map",
        "render",
    ),
    "geovlm.testing": ("parametrize_with_checks",),
}
"""Module -> its public names."""
