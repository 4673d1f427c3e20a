"""Declares rewards, metrics, sets of tasks and model profiles of the core, by a plugin's hooks.

The code behind a reward, a metric or a set is imported when one of them is used.
"""

from __future__ import annotations

from collections.abc import Iterable

from geovlm import hookimpl
from geovlm.api import MetricSpec, ModelProfile, RewardSpec, TaskSetSpec
from geovlm.plugins import profiles

PAPER = "arXiv 2509.25026"

REWARDS: tuple[RewardSpec, ...] = (
    RewardSpec(
        name="format/think",
        summary="One well-formed, non-empty think block before the answer.",
        score="geovlm.rewards.paper:format_think",
        formula="1 if exactly one <think>…</think>, first and not empty, else 0",
        source=f"{PAPER}, format reward, its think part",
    ),
    RewardSpec(
        name="format/answer",
        summary="One well-formed, non-empty answer block at the end.",
        score="geovlm.rewards.paper:format_answer",
        formula="1 if exactly one <answer>…</answer>, last and not empty, else 0",
        source=f"{PAPER}, format reward, its answer part",
    ),
    RewardSpec(
        name="recall",
        summary="Share of the true labels that are named (classification).",
        score="geovlm.rewards.paper:recall",
        formula="TP / (TP + FN)",
        source=f"{PAPER}, R_Recall",
    ),
    RewardSpec(
        name="detection",
        summary="Mean over true boxes of the best IoU (detection).",
        score="geovlm.rewards.boxes:detection",
        batched=True,
        formula="(1/N) Σ_i max_j IoU(truth_i, predicted_j)",
        source=f"{PAPER}, R_Detection",
    ),
    RewardSpec(
        name="sbert",
        summary="Cosine of sentence embeddings (captions).",
        score="geovlm.rewards.paper:sbert",
        batched=True,
        formula="max(0, cos(e(answer), e(reference))), best reference",
        source=f"{PAPER}, R_SBERT",
    ),
    RewardSpec(
        name="levenshtein",
        summary="Levenshtein ratio with the nearest reference (captions).",
        score="geovlm.rewards.paper:levenshtein",
        formula="max_r 1 - d(answer, r) / (|answer| + |r|), substitutions cost 2",
        source=f"{PAPER}, Levenshtein similarity ratio",
    ),
    RewardSpec(
        name="jaccard",
        summary="Overlap of word sets (VQA).",
        score="geovlm.rewards.paper:jaccard",
        formula="|A ∩ B| / |A ∪ B|",
        source=f"{PAPER}, Jaccard similarity",
    ),
    RewardSpec(
        name="lmgr",
        summary="Text and boxes of a grounded caption, half and half.",
        score="geovlm.rewards.paper:lmgr",
        batched=True,
        formula="(R_LM + R_Detection) / 2",
        source=f"{PAPER}, R_LMGR; R_LM is undefined there, ours is the Levenshtein ratio",
    ),
    RewardSpec(
        name="hslr",
        summary="Meaning and wording of a caption, half and half.",
        score="geovlm.rewards.paper:hslr",
        batched=True,
        formula="(R_SBERT + R_LM) / 2",
        source=f"{PAPER}, R_HSLR; R_LM is undefined there, ours is the Levenshtein ratio",
    ),
    RewardSpec(
        name="label_f1",
        summary="F1 of label sets, squared: over-listing and the usual labels do not pay.",
        score="geovlm.rewards.robust:label_f1",
        formula="(2 |A ∩ B| / (|A| + |B|))²",
        source="geovlm",
    ),
    RewardSpec(
        name="matched_iou",
        summary="One-to-one matched IoU: extra and missing boxes cost.",
        score="geovlm.rewards.boxes:matched_iou",
        batched=True,
        formula="max over matchings of Σ IoU / max(N, M)",
        source="geovlm; matching by scipy.optimize.linear_sum_assignment",
    ),
    RewardSpec(
        name="labelled_iou",
        summary="One-to-one matched IoU within each label: wrong labels cost too.",
        score="geovlm.rewards.boxes:labelled_iou",
        batched=True,
        formula="Σ_l max over matchings of Σ IoU / Σ_l max(N_l, M_l), labels l",
        source="geovlm; matching by scipy.optimize.linear_sum_assignment",
    ),
    RewardSpec(
        name="exact",
        summary="The one right answer and nothing else.",
        score="geovlm.rewards.robust:exact",
        formula="1 if normalised answer = correct answer, else 0",
        source="geovlm",
    ),
    RewardSpec(
        name="caption_f1",
        summary="Facts stated, or content words shared: templates do not pay.",
        score="geovlm.rewards.robust:caption_f1",
        formula="(facts stated / facts)², else (content-word F1)², best reference",
        source="geovlm",
    ),
    RewardSpec(
        name="change_f1",
        summary="Captions of changes: always stating 'no change' does not pay.",
        score="geovlm.rewards.robust:change_f1",
        gold_is_max=False,
        formula="caption_f1 where something changed; else 1/2 if the answer states no change",
        source="geovlm",
    ),
    RewardSpec(
        name="grounded_f1",
        summary="Caption and boxes of a grounded caption: both or nothing.",
        score="geovlm.rewards.robust:grounded_f1",
        batched=True,
        formula="√(caption_f1 · matched_iou)",
        source="geovlm",
    ),
)

_METRICS = tuple(
    MetricSpec(
        name=name,
        summary=summary,
        counts=f"geovlm.score.metrics:{counts}",
        finish=f"geovlm.score.metrics:{finish}",
    )
    for name, summary, counts, finish in (
        ("accuracy", "Exact answers, overall and by type.", "exact_counts", "accuracies"),
        ("labels", "Multi-label F1, recall, exact sets.", "label_counts", "label_scores"),
        ("detection", "One-to-one box F1 at IoU 0.5.", "box_counts", "box_scores"),
        ("caption", "ROUGE-L, Levenshtein, facts.", "caption_counts", "means"),
        ("change", "Captions of changes, in all and by half.", "change_counts", "change_scores"),
        ("grounding", "Text and boxes together.", "grounding_counts", "means"),
        ("format", "Share of well-formed completions.", "format_counts", "means"),
    )
)
_COCO = MetricSpec(
    name="coco",
    summary="mAP of labelled boxes as COCO defines it, all boxes of one score.",
    counts="geovlm.score.coco:box_counts",
    finish="geovlm.score.coco:box_scores",
)
METRICS: tuple[MetricSpec, ...] = (*_METRICS, _COCO)
TASK_SETS: tuple[TaskSetSpec, ...] = (
    TaskSetSpec(
        name="paper",
        summary=f"The benchmarks in the tables of GeoVLM-R1 ({PAPER}).",
        entries="geovlm.score.published:entries",
    ),
)


@hookimpl
def geovlm_rewards() -> Iterable[RewardSpec]:
    """The rewards of the method and their robust counterparts."""
    return REWARDS


@hookimpl
def geovlm_metrics() -> Iterable[MetricSpec]:
    """The core's corpus metrics."""
    return METRICS


@hookimpl
def geovlm_task_sets() -> Iterable[TaskSetSpec]:
    """The core's sets of tasks."""
    return TASK_SETS


@hookimpl(trylast=True)
def geovlm_model_profile(model_type: str) -> ModelProfile | None:
    """The families that the core knows; last, so that a plugin may override them."""
    return profiles.find(model_type)
