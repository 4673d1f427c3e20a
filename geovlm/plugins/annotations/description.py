"""Describes a user's annotations: the table `[dataset]` of a TOML file.

`geovlm data add` writes such a file; nothing is converted or copied, the annotations stay where
they are. `docs/your-data.md` explains every key.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from geovlm.boxes.labels import unreadable
from geovlm.errors import ConfigError, DataError
from geovlm.files import records as files
from geovlm.files import text

Format: TypeAlias = Literal[
    "coco",
    "yolo",
    "voc",
    "geojson",
    "gpkg",
    "shp",
    "labelstudio",
    "folders",
    "csv",
    "jsonl",
    "json",
    "parquet",
    "datasets",
]
Kind: TypeAlias = Literal["detect", "refer", "ground", "vqa", "classify", "caption", "mcq"]
_CHOICES: dict[str, tuple[str, ...]] = {
    "format": get_args(Format),
    "task": get_args(Kind),
    "boxes": ("xyxy", "xywh", "norm1"),
    "choices": ("given", "shuffled"),
    "ask": ("each", "all"),
    "empty_windows": ("balanced", "all"),
}
GEOREFERENCED = frozenset({"geojson", "gpkg", "shp"})
"""Formats over scenes, which are cut into windows."""
NEED_LABELS = frozenset({"detect"})
"""Tasks that ask about labels."""
TABLES = frozenset({"csv", "jsonl", "json", "parquet", "datasets"})
"""Formats with rows and columns."""
USED: Mapping[str, frozenset[str]] = {
    "columns": TABLES | GEOREFERENCED | {"labelstudio"},
    "group_by": TABLES | GEOREFERENCED | {"labelstudio"},
    "boxes": TABLES,
    **dict.fromkeys(("bands", "tile", "overlap", "empty_windows"), GEOREFERENCED),
    "choices": frozenset({"mcq"}),
    "ask": frozenset({"detect"}),
    "labels": frozenset({"detect", "classify", "vqa"}),
}
"""Key -> the formats or tasks that use it, for keys that not all do."""
NAME = re.compile(r"[a-z][a-z0-9_]*")
"""Names of data sets."""
_SPLIT = re.compile(r"\d+/\d+/\d+|given")


@dataclass(frozen=True, kw_only=True, slots=True)
class Description:
    """The table `[dataset]`: where the annotations lie, and what is asked about them."""

    name: str
    """Name of data set and task: lower-case letters, digits and underscores."""
    source: str
    """Annotation file or folder, relative to the TOML file."""
    format: str
    """Format of the source, one of `Format`."""
    task: str
    """Question that is asked about each image, one of `Kind`."""
    folder: Path
    """Folder of the TOML file, from which paths start; a copy has that of the original."""
    images: str = ""
    """Folder of the images, relative to the TOML file; default: that of the source."""
    labels: tuple[str, ...] = ()
    """Labels that are asked for, or possible answers; records of others are left out. `detect` has
    at least one; elsewhere none means that any answer may be right."""
    question: str = ""
    """The question; `{label}`, `{labels}`, `{phrase}`, `{question}` (the row's own) and `{box}`
    stand for what the sample has. Default: the row's own, else that of the task."""
    columns: Mapping[str, str | tuple[str, ...]] = field(default_factory=dict)
    """Contents of a row of a table, such as `question` -> name of its column, or names."""
    boxes: str = "xyxy"
    """Numbers of a box in a table: corners in pixels (`xyxy`), a corner, width and height in pixels
    (`xywh`), or corners as shares of the image (`norm1`)."""
    ask: str = "each"
    """Questions of `detect` about an image: one for `each` label, or one for `all` of them, whose
    answer names the label of each box."""
    choices: str = "given"
    """Order of the choices of a question: as `given`, or `shuffled` per sample by `seed`."""
    bands: tuple[str, ...] = ()
    """Bands of a scene that are shown: three, or one for grey, by name or number. Default: those of
    a picture."""
    tile: int = 0
    """Side of the windows of a scene, pixels; 0: whole scenes."""
    overlap: int = 0
    """Pixels that neighbouring windows share at least; below `tile`."""
    empty_windows: str = "balanced"
    """Windows without objects: `balanced`, per scene at most as many as hold one, or `all`."""
    group_by: str = "image"
    """Records that stay together in one split: `image`, or a key of `Record.extra`."""
    reasoning: str = "auto"
    """`auto`: derived from boxes where these are the answer, else answers alone; `none`: answers
    alone; `tags`: what the row's answer has in `<think>` tags; else a column that holds it."""
    split: str = "80/10/10"
    """Shares of training, validation and test, or `given`: the source says it."""
    seed: int = 0
    """Seed of the split."""
    summary: str = ""
    licence: str = ""
    citation: str = ""
    homepage: str = ""

    def column(self, role: str, default: str = "") -> str:
        """Return the column of a role, the first of several, or else a default."""
        value = self.columns.get(role, default)
        return value if isinstance(value, str) else value[0]

    @property
    def shares(self) -> tuple[int, int, int]:
        """Shares of training, validation and test; zeros where the source gives the split."""
        if self.split == "given":
            return (0, 0, 0)
        return _shares(self.split)


@lru_cache(maxsize=16)
def _shares(split: str) -> tuple[int, int, int]:
    train, val, test = map(int, split.split("/"))
    return (train, val, test)


def read(path: Path) -> Description:
    """Return the description in a TOML file.

    Raises:
        ConfigError: the file cannot be read, has no table `[dataset]`, or keys are wrong; names
            file and keys.
    """
    try:
        return parse(text.read_text(path), path)
    except DataError as error:
        raise ConfigError(str(error.args[0]), hint=error.hint) from error


def parse(source: str, path: Path) -> Description:
    """Return the description in the text of a TOML file; errors as `read`."""
    try:
        table = files.parse_toml(source, path)
    except DataError as error:
        raise ConfigError(str(error.args[0]), hint=error.hint) from error
    own = table.get("dataset")
    if not isinstance(own, dict):
        raise ConfigError(f"{path} has no table [dataset]", hint="'geovlm data add' writes one")
    problems = list(_problems(own))
    if problems:
        raise ConfigError(f"{path}: {'; '.join(problems)}")
    values: dict[str, Any] = {key: _frozen(value) for key, value in own.items()}
    folder = origin(table).parent if "copy" in table else path.absolute().parent
    return Description(folder=folder, **values)


def origin(table: Mapping[str, Any]) -> Path:
    """Return the file of which a table with `[copy]` is a copy."""
    copy = table["copy"]
    return Path(str(copy.get("of", "")) if isinstance(copy, Mapping) else "")


def check(draft: Description) -> None:
    """Refuse a draft whose values are wrong, or with keys that have no use for it; not its labels.

    Raises:
        ConfigError: names the keys.
    """
    values = {f.name: _thawed(getattr(draft, f.name)) for f in dataclasses.fields(draft)}
    del values["folder"]
    if draft.task in NEED_LABELS:
        values["labels"] = values["labels"] or ["label"]
    problems = list(_problems(values))
    if problems:
        raise ConfigError("; ".join(problems), hint="see 'geovlm data add --help'")


def _problems(table: Mapping[str, Any]) -> Iterator[str]:
    fields = {f.name: f for f in dataclasses.fields(Description) if f.name != "folder"}
    for name in table.keys() - fields.keys():
        near = difflib.get_close_matches(name, fields, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(fields)}"
        yield f"there is no key dataset.{name}; {hint}"
    for name, known in fields.items():
        if name not in table:
            if known.default is known.default_factory is dataclasses.MISSING:
                yield f"dataset.{name} is missing"
            continue
        value, wanted = table[name], str(known.type)
        if not _fits(value, wanted):
            lists = "a table of texts" if wanted.startswith("Mapping") else "a list of texts"
            kind = _WANTED.get(wanted, lists)
            yield f"dataset.{name} must be {kind}, is {value!r:.60}"
        elif name in _CHOICES and value not in _CHOICES[name]:
            yield f"dataset.{name} must be one of {', '.join(_CHOICES[name])}, is {value!r}"
        elif name == "name" and not NAME.fullmatch(value):
            yield f"dataset.name {value!r} must have lower-case letters, digits and _ only"
        elif name == "split" and not _is_split(value):
            yield f"dataset.split must be like 80/10/10 or given, is {value!r}"
    yield from _tile_problems(table)
    if table.get("task") in NEED_LABELS and not table.get("labels"):
        yield "dataset.labels is missing or empty: name at least one label"
    if table.get("ask") == "all":
        yield from _unreadable(table)
    yield from unused(table)


def unused(values: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for each key that the format or the task of a description does not use."""
    defaults = {f.name: f.default for f in dataclasses.fields(Description)}
    for name, users in USED.items():
        value = values.get(name)
        if not value or value == defaults[name]:
            continue
        own = values.get("task" if users & set(get_args(Kind)) else "format")
        if own not in users:
            yield f"dataset.{name} is for {', '.join(sorted(users))} only, not for {own}"
    if values.get("reasoning", "auto") not in ("auto", "none"):
        if values.get("format") not in TABLES:
            yield "dataset.reasoning names a column, and the source has none: auto or none"
        elif values.get("task") == "detect":
            yield "dataset.reasoning must be auto or none for detect: a row is several samples"


def _unreadable(table: Mapping[str, Any]) -> Iterator[str]:
    """Yield why a question for all labels cannot be asked, or its answers not be read back."""
    labels, question = table.get("labels", []), table.get("question", "")
    if isinstance(labels, list) and all(isinstance(each, str) for each in labels):
        why = unreadable(labels)
        if why:
            yield f"dataset.labels cannot be told apart in an answer: {why}"
    if isinstance(question, str) and "{label}" in question:
        yield "dataset.question has {label} and ask is 'all': write {labels}"


def _tile_problems(table: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong with the windows of scenes."""
    tile, overlap = table.get("tile", 0), table.get("overlap", 0)
    if isinstance(tile, int) and isinstance(overlap, int) and overlap and overlap >= tile:
        yield f"dataset.overlap must be below dataset.tile, is {overlap}"


def _frozen(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _frozen(each) for key, each in value.items()}
    return tuple(value) if isinstance(value, list) else value


def _thawed(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _thawed(each) for key, each in value.items()}
    return list(value) if isinstance(value, tuple) else value


_WANTED = {"str": "a text", "int": "a whole number"}


def _fits(value: Any, wanted: str) -> bool:
    if wanted.startswith("Mapping"):
        parts = value.values() if isinstance(value, dict) else (None,)
        return all(_fits(part, "str") or _fits(part, "tuple") for part in parts)
    if wanted == "int":
        return isinstance(value, int) and not isinstance(value, bool) and value >= 0
    if wanted == "str":
        return isinstance(value, str)
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _is_split(value: str) -> bool:
    if not _SPLIT.fullmatch(value):
        return False
    return value == "given" or sum(map(int, value.split("/"))) > 0
