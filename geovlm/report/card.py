"""Writes the model card of an exported folder: metadata for the hub, and its text."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from geovlm.config.model import hub_name, source
from geovlm.report.card_text import CardFacts, sections

PIPELINE = "image-text-to-text"


def write(facts: CardFacts) -> str:
    """Return README.md: a YAML block and Markdown.

    Raises:
        ValueError: huggingface_hub cannot read the card back.
    """
    from huggingface_hub import ModelCard

    base = hub_name(facts.config.model)
    licence = base_licence(facts.config.model, revision=facts.config.revision)
    body = "\n\n".join(sections(facts, base=base, licence=licence))
    metadata = _metadata(facts, base=base, licence=licence)
    return str(ModelCard(f"---\n{metadata}\n---\n\n{body}\n"))


def base_licence(model: str, *, revision: str | None) -> dict[str, str]:
    """Return `license` of a model's card, with `license_name` and `license_link` if given.

    If its card is not on this machine, the licence is `other`.
    """
    from huggingface_hub import ModelCard, try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    named = hub_name(model)
    if named is not None:
        try:
            cached = try_to_load_from_cache(named, "README.md", revision=revision)
        except HFValidationError:  # the relative path of a folder that is gone
            cached = None
        path = Path(cached) if isinstance(cached, str) else None
    else:
        path = Path(source(model)).expanduser() / "README.md"
    fields: dict[str, Any] = {}
    if path is not None and path.is_file():
        fields = ModelCard.load(path, ignore_metadata_errors=True).data.to_dict()
    names = ("license", "license_name", "license_link")
    found = {name: str(fields[name]) for name in names if fields.get(name)}
    if "license" in found:
        return found
    link = {"license_link": f"https://huggingface.co/{named}"} if named is not None else {}
    return {"license": "other", "license_name": "that-of-the-base-model", **link}


def _metadata(facts: CardFacts, *, base: str | None, licence: Mapping[str, Any]) -> str:
    from huggingface_hub import EvalResult, ModelCardData

    specs = [facts.registry.task(name) for name in facts.task_names]
    results = []
    for spec in specs:
        entry = facts.entry(spec.name)
        if entry is not None and entry["metrics"].get(spec.primary_metric) is not None:
            results.append(
                EvalResult(
                    task_type=PIPELINE,
                    task_name=spec.name,
                    dataset_type=_slug(spec.dataset),
                    dataset_name=spec.dataset + " (generated)" * (spec.dataset in facts.generated),
                    dataset_split=entry["split"],
                    metric_type=spec.primary_metric,
                    metric_name=spec.primary_metric,
                    metric_value=round(entry["metrics"][spec.primary_metric], 4),
                    metric_args={"n": entry["n"], "seed": entry["seed"]},
                )
            )
    data = ModelCardData(
        base_model=base,
        datasets=sorted({_slug(spec.dataset) for spec in specs}),
        language="en",
        library_name="transformers",
        pipeline_tag=PIPELINE,
        tags=["geovlm", "earth-observation", "remote-sensing", *facts.kinds],
        model_name=facts.name,
        eval_results=results or None,
        **licence,
    )
    return str(data.to_yaml())


def _slug(dataset: str) -> str:
    """Return a data set's name without `/`, which on the hub separates an account from a name."""
    return dataset.replace("/", "-")
