"""Declarations of the built-in metrics, whose code is imported when one of them is used."""

from __future__ import annotations

from geovlm.api import MetricSpec

SPECS: tuple[MetricSpec, ...] = (
    MetricSpec(
        name="accuracy",
        summary="Exact answers, overall and by type.",
        compute="geovlm.metrics:accuracy",
        counts="geovlm.metrics:_exact",
        finish="geovlm.metrics:_accuracy",
    ),
    MetricSpec(
        name="labels",
        summary="Multi-label F1, recall, exact sets.",
        compute="geovlm.metrics:labels",
        counts="geovlm.metrics:_labels",
        finish="geovlm.metrics:_label_scores",
    ),
    MetricSpec(
        name="detection",
        summary="One-to-one box F1 at IoU 0.5.",
        compute="geovlm.metrics:detection",
        counts="geovlm.metrics:_detection",
        finish="geovlm.metrics:_box_scores",
    ),
    MetricSpec(
        name="caption",
        summary="ROUGE-L, Levenshtein, facts.",
        compute="geovlm.metrics:caption",
        counts="geovlm.metrics:_caption",
        finish="geovlm.metrics:_means",
    ),
    MetricSpec(
        name="grounding",
        summary="Text and boxes together.",
        compute="geovlm.metrics:grounding",
        counts="geovlm.metrics:_grounding",
        finish="geovlm.metrics:_means",
    ),
    MetricSpec(
        name="format",
        summary="Share of well-formed completions.",
        compute="geovlm.metrics:format_rate",
        counts="geovlm.metrics:_format",
        finish="geovlm.metrics:_means",
    ),
)
