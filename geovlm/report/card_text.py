"""Writes the text of a model card, section by section."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geovlm.config.model import NANO
from geovlm.report import tables

if TYPE_CHECKING:
    from geovlm.config.model import ModelFacts
    from geovlm.config.schema import RunConfig
    from geovlm.plugins.registry import Registry

FRAMES: Mapping[str, str] = {
    "input_pixels": "pixels of the image as the model sees it, after the processor's resize",
    "norm1000": "thousandths of the image's width and height",
    "norm100": "hundredths of the image's width and height",
    "norm1": "shares of the image's width and height, from 0 to 1",
}
"""Frame of a model family's boxes -> its description in a sentence."""
ORDERS: Mapping[str, str] = {"xyxy": "[x0, y0, x1, y1]", "yxyx": "[y0, x0, y1, x1]"}
"""Order of a box's numbers -> a box as a model writes it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CardFacts:
    """Everything that the card states."""

    name: str
    """Name of the folder."""
    stage: str
    """The exported stage: `sft`, `grpo`, …"""
    config: RunConfig
    registry: Registry
    task_names: Sequence[str]
    generated: Sequence[str]
    """Names of the data sets whose generated samples were used."""
    model: ModelFacts
    """Facts about the exported weights."""
    dtype: str
    metrics: Mapping[str, Any]
    """Content of `metrics.json`."""
    environment: Mapping[str, Any]
    """Content of `environment.json`."""
    stages: Sequence[Mapping[str, Any]]
    """`kind`, `steps` and `seconds` of every stage up to the exported one."""
    question: str
    """A question of the evaluation, as the model received it."""
    images: int
    """Number of images of that question."""
    compared: int
    """Number of samples that were answered equally after reloading."""
    classes: Sequence[str]
    """Classes of transformers with which the folder was reloaded."""

    @property
    def kinds(self) -> list[str]:
        """Kinds of training, in order: `sft`, `grpo`."""
        return list(dict.fromkeys(each["kind"] for each in self.stages if each["kind"] != "probe"))

    def entry(self, task: str) -> Mapping[str, Any] | None:
        """Return the scores of a task after the exported stage."""
        found: Mapping[str, Any] = self.metrics["tasks"].get(task, {"stages": {}})
        return found["stages"].get(self.stage)


def sections(facts: CardFacts, *, base: str | None, licence: Mapping[str, str]) -> Iterator[str]:
    """Yield the sections in order, Markdown.

    `base` is the hub name of the model that training started from, if it has one; `licence` has
    `license`, `license_name` and `license_link` of the weights, as far as known.
    """
    if base:
        origin = f"[{base}](https://huggingface.co/{base})"
    elif facts.config.model == NANO:
        origin = "GeoVLM's built-in model `nano`"
    else:
        origin = f"A local model, `{Path(facts.config.model).name}`"
    tasks = len(facts.task_names)
    yield f"# {facts.name}"
    yield (
        f"{origin}, post-trained on {tasks} Earth-observation task{'s' * (tasks > 1)} by GeoVLM "
        f"{facts.environment['geovlm']}: {', then '.join(kind.upper() for kind in facts.kinds)}."
    )
    if facts.generated:
        yield (
            f"**Trained and scored on generated samples ({', '.join(facts.generated)}), not on "
            "real images.** It shows that the software works; it has no other use."
        )
    yield from ("## Use", _snippet(facts), _answers(facts))
    yield from ("## Tasks and data", _tasks(facts))
    yield from ("## Scores", _scores(facts))
    yield from ("## Training", _training(facts))
    yield from ("## Licences", _licences(facts, licence))
    yield from ("## Limits", _limits(facts))


def _snippet(facts: CardFacts) -> str:
    files = ", ".join(f'"{name}"' for name in ("before.png", "after.png")[-facts.images :])
    if facts.images == 1:
        files = '"image.png"'
    return f"""```python
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

folder = {json.dumps(facts.name)}  # where this file lies
processor = AutoProcessor.from_pretrained(folder)
model = AutoModelForImageTextToText.from_pretrained(folder, dtype="auto")
images = [Image.open(path).convert("RGB") for path in ({files},)]
question = {json.dumps(facts.question, ensure_ascii=False)}
content = [*({{"type": "image"}} for _ in images), {{"type": "text", "text": question}}]
messages = [{{"role": "user", "content": content}}]
prompt = processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
inputs = processor(
    text=[prompt], images=[images], add_special_tokens=False, return_tensors="pt"
).to(model.device)
output = model.generate(**inputs)
print(processor.decode(output[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))
```"""


def _answers(facts: CardFacts) -> str:
    lines = [
        f"It answers {_form(facts)}. The generation config decodes greedily, as for the scores "
        "below; with vLLM use `temperature=0` for the same answers.",
        "`AutoProcessor` needs torchvision for most families.",
    ]
    if facts.model.profile is not None:
        frame = facts.model.profile.box_frame
        order = ORDERS[facts.model.profile.box_order]
        if frame is not None:
            lines.append(f"Boxes are `{order}` in {FRAMES[frame]}.")
        for name in facts.task_names:
            low = (facts.entry(name) or {}).get("pixels", {}).get("min", 0)
            if low > facts.model.profile.min_pixels:
                lines.append(
                    f"Enlarge images of `{name}` to at least {low:,} pixels first, as in training."
                )
    return " ".join(lines)


def _form(facts: CardFacts) -> str:
    """Return the form of the answers, and the tasks whose form is another."""
    alone = [n for n in facts.task_names if facts.registry.task(n).reasoning == "none"]
    if len(alone) == len(facts.task_names):
        return "`<answer> … </answer>`"
    whole = "`<think> … </think><answer> … </answer>`"
    names = ", ".join(f"`{name}`" for name in alone)
    return f"{whole}, and `<answer> … </answer>` alone to {names}" if alone else whole


def _tasks(facts: CardFacts) -> str:
    rows = []
    for name in facts.task_names:
        spec = facts.registry.task(name)
        dataset = facts.registry.dataset(spec.dataset)
        made = "generated, in the layout of " * (dataset.name in facts.generated)
        named = dataset.name
        if dataset.homepage.startswith(("http://", "https://")):
            named = f"[{named}]({dataset.homepage})"
        rows.append((f"`{name}`", spec.summary, f"{made}{named}"))
    return _table(("task", "question", "data"), rows)


def _scores(facts: CardFacts) -> str:
    rows = []
    for name in facts.task_names:
        entry = facts.entry(name)
        if entry is None:
            continue
        task = facts.metrics["tasks"][name]
        base = task["stages"].get("base", {}).get("metrics", {})
        for metric, value in entry["metrics"].items():
            low, high = entry["ci95"].get(metric, (None, None))
            rows.append(
                (
                    f"`{name}` v{entry['task_version']}",
                    f"**{metric}**" if metric == task["primary"] else metric,
                    _number(base.get(metric)),
                    _number(value),
                    "" if low is None else f"{low:.3f}..{high:.3f}",
                    entry["n"],
                    entry["split"],
                    entry["seed"],
                )
            )
    if not rows:
        return "None: the run evaluated nothing after this stage."
    head = ("task", "metric", "before", "this model", "95 %", "n", "split", "seed")
    return (
        f"{_table(head, rows)}\n\nPrimary metrics are bold; answers are greedy; the intervals are "
        "bootstrapped. Scores of other task versions or splits cannot be compared with these."
    )


def _training(facts: CardFacts) -> str:
    config, lora = facts.config, facts.config.lora
    how = "full fine-tuning"
    if lora is not None:
        how = f"LoRA (r = {lora.r}, alpha = {lora.alpha:g}), merged into the weights"
    rows = [
        (index, each["kind"], each["steps"], f"{each['seconds']:,.0f}")
        for index, each in enumerate(facts.stages)
    ]
    packages = facts.environment["packages"]
    versions = ", ".join(f"{name} {version}" for name, version in packages.items())
    settings = [
        {"kind": stage.kind, **getattr(stage, "trainer", {})}
        for stage in config.stages[: len(facts.stages)]
    ]
    return (
        f"{_table(('stage', 'kind', 'steps or prompts', 'seconds'), rows)}\n\n"
        f"{how[0].upper()}{how[1:]}; {config.rewards} rewards; seed {config.seed}; weights in "
        f"{facts.dtype}. Trainer arguments:\n\n```json\n{json.dumps(settings, indent=1)}\n```\n\n"
        f"Made with GeoVLM {facts.environment['geovlm']}, Python {facts.environment['python']}, "
        f"{versions}. After reloading with {_names(facts.classes)}, {facts.compared} held-out "
        "samples were answered exactly as before."
    )


def _licences(facts: CardFacts, own: Mapping[str, str]) -> str:
    named = own.get("license_name", own["license"])
    link = f" ({own['license_link']})" if "license_link" in own else ""
    lines = [f"- Weights: {named}{link}, the same as the base model."]
    for name in dict.fromkeys(facts.registry.task(name).dataset for name in facts.task_names):
        spec = facts.registry.dataset(name)
        unused = " (only generated samples were used)" * (name in facts.generated)
        lines.append(f"- Data, {name}: licence {spec.licence}{unused}; citation {spec.citation}")
    return "\n".join(lines)


def _limits(facts: CardFacts) -> str:
    lines = [
        "- The scores hold for the splits named above. Other sensors, resolutions, regions or "
        "wordings of the question were not measured.",
        "- Answers may be wrong and sound certain; reasoning before them is not evidence.",
    ]
    blind = [
        f"`{each['task']}`"
        for each in tables.baselines(facts.metrics)
        if each["value"] is not None and each["stage"] == facts.stage and not each["beaten"]
    ]
    if blind:
        lines.append(
            "- Not clearly above a baseline that does not look at the images: "
            f"{', '.join(dict.fromkeys(blind))}."
        )
    lines.append("- The reload check used transformers; vLLM was not tried.")
    return "\n".join(lines)


def _names(classes: Sequence[str]) -> str:
    return " and ".join([", ".join(classes[:-1]), classes[-1]] if len(classes) > 1 else classes)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _table(head: Sequence[object], rows: Sequence[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    cells = ([str(cell).replace("|", "\\|").replace("\n", " ") for cell in line] for line in lines)
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)
