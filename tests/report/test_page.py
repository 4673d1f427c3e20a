"""The report of a run that is written by hand, at several points of its life."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from geovlm.config.schema import RunConfig
from geovlm.errors import ConfigError
from geovlm.report import page as report
from geovlm.report import rendering, tables
from geovlm.run import files
from geovlm.run.folder import RunDir
from tests.report import made

HOSTILE = "<script>alert(1)</script>"


def begun(folder: Path) -> RunDir:
    """A run of one task and one SFT stage that has written its plan and three steps of its log."""
    run = RunDir(folder)
    stages = [{"kind": "sft", "steps": 3}]
    config = RunConfig.model_validate({"tasks": ["xbd/detect"], "stages": stages})
    resolved = {
        "config": config.model_dump(mode="json"),
        "task_names": ["xbd/detect"],
        "stage_folders": config.stage_folders(),
        "world_sizes": {"0": 1},
        "data_roots": {"xbd": "data/xBD"},
        "generated": ["xbd"],
        "left_out": {},
    }
    files.write_json(run.resolved, resolved)
    log = [{"step": step, "loss": 3.0 - step} for step in (1, 2, 3)]
    files.write_text(run.stage(0) / "log.jsonl", "".join(f"{json.dumps(x)}\n" for x in log))
    return run


def scored(run: RunDir, stage: str, *, value: float, completion: str) -> None:
    """Scores and one answer of the task after a stage."""
    image = run.path / "image.png"
    Image.new("RGB", (56, 56)).save(image)
    record: dict[str, Any] = {
        "task": "xbd/detect",
        "sample_id": "pair-1",
        "images": [str(image)],
        "question": "Locate all damaged buildings.",
        "completion": completion,
        "answer": "[1, 2, 30, 40]",
        "target": {"boxes": [[1, 2, 30, 40]]},
        "image_sizes": [[56, 56]],
        "input_sizes": [[56, 56]],
        "profile": "qwen2.5-vl",
        "rewards": {"detection": 0.25, "sbert": None},
    }
    run.write_eval("xbd/detect", stage, [record])
    entry = {
        "n": 17,
        "split": "val",
        "metrics": {"mean_iou": value},
        "ci95": {"mean_iou": [value - 0.1, value + 0.1]},
        "sampled_reward": 1.5,
    }
    run.write_metrics("xbd/detect", stage, primary="mean_iou", entry=entry)


def test_the_table_holds_every_stage_with_its_interval(tmp_path: Path) -> None:
    run = begun(tmp_path)
    scored(run, "base", value=0.125, completion="")
    scored(run, "sft", value=0.7, completion="<think> a </think><answer> [1, 2, 3, 4] </answer>")
    page = report.write(tmp_path).read_text()
    assert '<th scope="row">xbd/detect</th><td>mean_iou</td>' in page
    assert "0.125" in page
    assert "0.700" in page
    assert "0.60–0.80" in page
    assert page.count('<th scope="col" class="n">SFT</th>') == 1
    assert '<rect class="fill" width="70.0%"' in page
    assert '<line class="interval" x1="60.0%" x2="80.0%"' in page


def test_the_report_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    run = begun(tmp_path)
    scored(run, "base", value=0.5, completion="nothing")
    page = report.write(tmp_path).read_text()
    assert 'src="data:image/webp;base64,' in page
    assert 'src="http' not in page
    assert "<link" not in page
    assert "url(http" not in page


@pytest.mark.parametrize(
    "completion",
    [HOSTILE, f"<think> {HOSTILE} </think><answer> {HOSTILE} </answer>"],
    ids=["bare", "framed"],
)
def test_what_a_model_says_is_escaped(tmp_path: Path, completion: str) -> None:
    run = begun(tmp_path)
    scored(run, "base", value=0.5, completion=completion)
    page = report.write(tmp_path).read_text()
    assert page.count("<script") == 1  # the page's own
    assert "&lt;script&gt;alert(1)" in page


def test_a_run_with_only_its_base_evaluated_has_one_column(tmp_path: Path) -> None:
    run = begun(tmp_path)
    scored(run, "base", value=0.5, completion="nothing")
    page = report.write(tmp_path).read_text()
    assert '<th scope="col" class="n">base</th>' in page
    assert '<th scope="col" class="n">SFT</th>' not in page


def test_a_run_without_scores_says_so(tmp_path: Path) -> None:
    begun(tmp_path)
    assert report.write(tmp_path) == tmp_path / "report.html"
    page = (tmp_path / "report.html").read_text()
    assert "Nothing was evaluated yet." in page
    assert "<h3>SFT</h3>" in page


def test_an_image_that_is_gone_is_said(tmp_path: Path) -> None:
    run = begun(tmp_path)
    scored(run, "base", value=0.5, completion="nothing")
    (tmp_path / "image.png").unlink()
    assert "image not found" in report.write(tmp_path).read_text()


def test_tasks_of_one_plugin_get_a_mean() -> None:
    entry = {"n": 4, "split": "val", "ci95": {}, "sampled_reward": 1.0}
    tasks = {
        "xbd/a": {"primary": "f1", "stages": {"base": entry | {"metrics": {"f1": 0.25}}}},
        "xbd/b": {"primary": "f1", "stages": {"base": entry | {"metrics": {"f1": 0.75}}}},
    }
    mean = tables.table({"tasks": tasks})[-1]
    assert mean["name"] == "xbd: mean of 2 tasks"
    assert mean["n"] == 8
    assert mean["cells"]["base"]["value"] == 0.5


def test_a_folder_that_is_no_run_gets_no_report(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not a run folder"):
        report.write(tmp_path)


def gain(difference: float, low: float) -> dict[str, Any]:
    return {"mean_iou": {"difference": difference, "ci95": [low, 0.9], "p": 0.0312}}


def judged(run: RunDir) -> dict[str, Any]:
    """Blind baselines and pair probes of the task."""
    baseline = {"stage": "sft", "n": 9, "model": {"mean_iou": 0.7}}
    probed = {name: {"mean_iou": 0.0625} for name in ("real", "swapped", "same", "shifted")}
    return {
        "blind": {
            "majority": baseline | {"metrics": {"mean_iou": 0.3125}, "gain": gain(0.4, 0.2)},
            "text_only": baseline | {"metrics": {"mean_iou": 0.6875}, "gain": gain(0.01, -0.2)},
            "shuffled": {"stage": "sft", "unavailable": "all samples show the same images"},
        },
        "probes": {
            "stage": "sft",
            "n": 9,
            "metrics": probed,
            "order_sensitivity": 0.25,
            "shift_sensitivity": 0.5,
            "false_alarm_rate": None,
        },
        "choices": {
            "stage": "sft",
            "n": 9,
            "metrics": {name: {"mean_iou": 0.0625} for name in ("real", "permuted")},
            "content": 0.5625,
            "letter": 0.25,
            "neither": 0.1875,
        },
    }


def rescored(run: RunDir, **more: Any) -> None:
    """Replaces the scores after `sft` by themselves and more."""
    entry = run.read_metrics()["tasks"]["xbd/detect"]["stages"]["sft"]
    run.write_metrics("xbd/detect", "sft", primary="mean_iou", entry=entry | more, more=judged(run))


def test_the_best_blind_baseline_stands_in_the_table(tmp_path: Path) -> None:
    run = begun(tmp_path)
    scored(run, "sft", value=0.7, completion="nothing")
    rescored(run)
    (row,) = tables.table(run.read_metrics())
    assert (row["blind"]["name"], row["blind"]["value"]) == ("text only", 0.6875)
    assert row["blind"]["beaten"] is False
    page = report.write(tmp_path).read_text()
    assert "xbd/detect: 1 of 2 beaten" in page
    assert "all samples show the same images" in page
    assert "0.312" in page  # the majority's 0.3125
    assert "Image pairs" in page
    assert "Multiple choice" in page
    assert '<td class="n">0.56</td>' in page  # the share that follows the content
    assert "n 9: model 0.700" in page  # the scores
    assert "(n 9: model 0.70)" in page  # the verdict


def test_a_change_since_the_stage_before_is_shown(tmp_path: Path) -> None:
    run = begun(tmp_path)
    scored(run, "base", value=0.5, completion="nothing")
    scored(run, "sft", value=0.7, completion="nothing")
    rescored(run, change={"against": "base", "metrics": gain(0.2, 0.1)})
    assert tables.table(run.read_metrics())[0]["cells"]["sft"]["change"] == {
        "against": "base",
        "difference": 0.2,
        "ci95": [0.1, 0.9],
        "p": 0.0312,
    }
    assert "+0.200, p 0.031" in report.write(tmp_path).read_text()


def test_broken_health_rules_are_in_the_report(tmp_path: Path) -> None:
    run = begun(tmp_path)
    resolved = run.read_resolved()
    resolved["config"]["stages"] = [{"kind": "grpo"}]
    files.write_json(run.resolved, resolved)
    finding = {"rule": "kl_blowup", "step": 20, "since": 11, "figures": "KL 7", "advice": "wait"}
    files.write_text(run.stage(0) / "health.jsonl", json.dumps(finding) + "\n")
    page = report.write(tmp_path).read_text()
    assert "<strong>kl_blowup</strong>: KL 7." in page


def test_a_metric_that_is_not_defined_is_shown_as_such(tmp_path: Path) -> None:
    run = begun(tmp_path)
    scored(run, "base", value=math.nan, completion="nothing")
    assert run.read_metrics()["tasks"]["xbd/detect"]["stages"]["base"]["metrics"] == {
        "mean_iou": None
    }
    page = report.write(tmp_path).read_text()
    assert '<td class="n">undefined' in page
    assert "xbd/detect, base: &#39;mean_iou&#39; is no finite number" in page


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of a finished run."""
    return report.write(made.run(tmp_path_factory.mktemp("run")).path).read_text()


def test_the_policy_allows_the_script_of_the_page_alone(whole: str) -> None:
    (script,) = re.findall(r"<script>(.*?)</script>", whole, flags=re.S)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', whole)
    assert policy.replace("&#39;", "'").split("; ") == [
        "default-src 'none'",
        "base-uri 'none'",
        "form-action 'none'",
        "img-src data:",
        "style-src 'unsafe-inline'",
        f"script-src 'sha256-{digest}'",
    ]


def test_the_head_of_the_page_has_the_verdict_the_facts_and_the_command(whole: str) -> None:
    head = whole[whole.index("<header>") : whole.index("</header>")]
    assert "<bdi>first-run</bdi>" in head
    assert "30 steps of GRPO changed neither measurably" in head
    assert "2026-12-01 02:50:00 UTC" in head
    assert "--data</span> <span>xbd=PATH/xBD</span>" in head


def test_no_folder_of_the_author_is_in_the_page(whole: str) -> None:
    assert made.HOME not in whole
    assert "PATH/rsvqa is no folder" in whole


def test_the_sections_stand_in_the_order_of_the_contents(whole: str) -> None:
    names = ["verdict", "samples", "scores", "training", "audit", "data", "configuration"]
    assert re.findall(r'<section id="(\w+)">', whole) == names
    assert re.findall(r'<li><a href="#(\w+)">', whole) == names


def test_every_table_has_a_head_and_every_column_a_scope(whole: str) -> None:
    assert whole.count("<table") == whole.count("<thead>") > 2
    assert re.findall(r"<th(?! scope=|ead)", whole) == []


def test_bars_show_every_stage_and_the_baseline_without_images(whole: str) -> None:
    bars = whole[whole.index('<ul class="bars">') :]
    names = re.findall(r'<span class="name">(.*?)</span>', bars)
    assert names == ["base", "SFT", "GRPO", "blind"] * 2


def test_a_curve_has_the_level_of_the_stage_before(whole: str) -> None:
    assert '<figcaption>xbd/refer: accuracy reward <span class="level">SFT 0.62</span>' in whole
    assert "stroke: var(--level)" in whole


def test_boxes_of_every_stage_are_drawn_in_its_own_group(whole: str) -> None:
    drawing = whole[whole.index('<svg class="boxes"') :]
    drawing = drawing[: drawing.index("</svg>")]
    assert re.findall(r'<g class="(\w+)"', drawing) == ["truth", "s0", "s1", "s2"]


def test_a_page_that_is_too_large_loses_pixels_then_samples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = made.run(tmp_path)
    full = len(report.write(run.path).read_bytes())
    monkeypatch.setattr(rendering, "LADDER", ((160, 60), (20, 60), (20, 3)))
    monkeypatch.setattr(rendering, "LIMIT_BYTES", full - 1)
    smaller = report.write(run.path).read_text()
    assert len(smaller.encode()) < full
    assert "Pictures have at most 20 pixels per side" in smaller
    monkeypatch.setattr(rendering, "LIMIT_BYTES", len(smaller.encode()) - 1)
    smallest = report.write(run.path).read_text()
    assert smallest.count('<article class="card"') == 3
    assert "7 chosen samples are left out, to keep this page below 5 MB." in smallest


def test_characters_that_reorder_or_hide_text_are_written_out(tmp_path: Path) -> None:
    page = report.write(made.run(tmp_path, said=["a\u202eb\x1bc\ud800\u200b"] * 5).path)
    assert "a\\u202eb\\x1bc\\ud800\\u200b" in page.read_text(encoding="utf-8")
