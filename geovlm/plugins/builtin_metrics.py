"""Declarations of the built-in metrics, whose code is imported when one of them is used."""

from __future__ import annotations

from geovlm.api import MetricSpec

SPECS: tuple[MetricSpec, ...] = (
    MetricSpec(
        name="accuracy",
        summary="Exact answers, overall and by type.",
        compute="geovlm.score.metrics:accuracy",
        counts="geovlm.score.metrics:_exact",
        finish="geovlm.score.metrics:_accuracy",
    ),
    MetricSpec(
        name="labels",
        summary="Multi-label F1, recall, exact sets.",
        compute="geovlm.score.metrics:labels",
        counts="geovlm.score.metrics:_labels",
        finish="geovlm.score.metrics:_label_scores",
    ),
    MetricSpec(
        name="detection",
        summary="One-to-one box F1 at IoU 0.5.",
        compute="geovlm.score.metrics:detection",
        counts="geovlm.score.metrics:_detection",
        finish="geovlm.score.metrics:_box_scores",
    ),
    MetricSpec(
        name="caption",
        summary="ROUGE-L, Levenshtein, facts.",
        compute="geovlm.score.metrics:caption",
        counts="geovlm.score.metrics:_caption",
        finish="geovlm.score.metrics:_means",
    ),
    MetricSpec(
        name="grounding",
        summary="Text and boxes together.",
        compute="geovlm.score.metrics:grounding",
        counts="geovlm.score.metrics:_grounding",
        finish="geovlm.score.metrics:_means",
    ),
    MetricSpec(
        name="format",
        summary="Share of well-formed completions.",
        compute="geovlm.score.metrics:format_rate",
        counts="geovlm.score.metrics:_format",
        finish="geovlm.score.metrics:_means",
    ),
)
