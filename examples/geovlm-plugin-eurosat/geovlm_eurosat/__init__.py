"""Declares the GeoVLM plugin for land use of EuroSAT tiles; each hook once, nothing heavy."""

from __future__ import annotations

from geovlm import hookimpl
from geovlm.api import DatasetSpec, MetricSpec, ModelProfile, RewardSpec, TaskSpec


@hookimpl
def geovlm_datasets():
    """The RGB release: 27,000 JPEG tiles of 64 px, 10 m per pixel, ten classes."""
    yield DatasetSpec(
        name="eurosat",
        summary="27,000 Sentinel-2 RGB tiles of 64 px in ten classes of land use; split by hash.",
        splits=("train", "val", "test"),
        load="geovlm_eurosat.data:load",
        make_sample="geovlm_eurosat.data:make_sample",
        folders=("EuroSAT", "EuroSAT_RGB", "eurosat", "2750"),
        licence="MIT",
        homepage="https://github.com/phelber/EuroSAT",
        citation="Helber et al., EuroSAT, IEEE JSTARS 2019, doi 10.1109/JSTARS.2019.2918242",
        size_gb=0.1,
    )


@hookimpl
def geovlm_tasks():
    """One question; the paper's classification reward and our graded one train half and half."""
    yield TaskSpec(
        name="eurosat",
        summary="Which of ten classes of land use does the tile show?",
        dataset="eurosat",
        prompt="geovlm_eurosat.data:prompt",
        blank="geovlm_eurosat.data:blank",
        rewards={
            "paper": {"recall": 0.5, "eurosat/group": 0.5},
            "robust": {"exact": 1.0},
        },
        metrics=("accuracy", "eurosat/groups", "format"),
        primary_metric="accuracy",
        max_answer_tokens=64,
    )


@hookimpl
def geovlm_rewards():
    """A reward that gives half for another class of the right group."""
    yield RewardSpec(
        name="eurosat/group",
        summary="1 for the right class, 0.5 for another one of its group, else 0.",
        score="geovlm_eurosat.scoring:group",
        formula="1 if c = c*, else 0.5 [group(c) = group(c*)]; several classes: 0",
    )


@hookimpl
def geovlm_metrics():
    """The share of answers of the right group."""
    yield MetricSpec(
        name="eurosat/groups",
        summary="group_accuracy: share of answers that name one class, of the right group.",
        compute="geovlm_eurosat.scoring:groups",
    )


@hookimpl
def geovlm_model_profile(model_type):
    """GLM-4.1V, which the core does not know: boxes in thousandths, patches of 14 px in pairs.

    The limits are half of those in transformers' `Glm4vImageProcessor`, which counts an image as
    two frames.
    """
    if model_type == "glm4v":
        return ModelProfile(
            name="glm-4.1v",
            model_types=("glm4v",),
            box_frame="norm1000",
            min_pixels=112 * 112 // 2,
            max_pixels=28 * 28 * 7500,
        )
    return None


@hookimpl
def geovlm_commands(app):
    """`geovlm eurosat-split`: the split as a table, for other tools to use the same."""
    from geovlm_eurosat.commands import split

    app.command("eurosat-split")(split)


@hookimpl
def geovlm_callbacks(stage):
    """Note the pace of every stage that trains on EuroSAT."""
    if "eurosat" in stage.tasks:
        from geovlm_eurosat.callbacks import Pace

        yield Pace(stage.output)
