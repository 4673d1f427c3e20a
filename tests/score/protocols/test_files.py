"""Prediction files with damage, wrong names and unknown protocols; intervals; the command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from geovlm.cli import main
from geovlm.errors import DataError, UnknownNameError
from geovlm.score.protocols import catalogue, records, scoring

ROW = {"answer": "yes", "annotation": "yes", "vqa_type": "presence"}


def run(capsys: pytest.CaptureFixture, *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(["score", *arguments])
    printed = capsys.readouterr()
    return int(ended.value.code or 0), printed.out, printed.err


def test_broken_lines_are_counted_by_reason(score) -> None:
    made = score("earthdial/vqa", ROW, "", "{broken", "[1]", {"answer": "yes"})
    assert (made.n, made.lines) == (1, 4)
    assert made.skipped == {
        "line is not JSON": 1,
        "line is not a JSON object": 1,
        "no field 'annotation' or 'caption0'": 1,
    }


def test_bytes_that_are_no_text_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_bytes(json.dumps(ROW).encode() + b"\n\xff\xfe\x00\n")
    made = scoring.score(records.read(path), catalogue.find("earthdial/vqa"), resamples=100)
    assert made.skipped == {"line is not JSON": 1}


@pytest.mark.parametrize("form", ["utf-8-sig", "utf-16"])
def test_a_file_may_begin_with_a_byte_order_mark(tmp_path: Path, form: str) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text(f"{json.dumps(ROW)}\n{json.dumps(ROW)}\n", encoding=form)
    assert (len(records.read(path).records), records.read(path).skipped) == (2, {})


def test_a_file_that_holds_no_text_is_called_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(DataError, match="is a pointer of Git LFS"):
        records.read(path)


def test_wrong_fields_name_what_is_missing_and_what_fits(score) -> None:
    row = {"answer": "[[1, 2, 3, 4, 0]]", "gt_bbox": "[[1, 2, 3, 4, 0]]", "size_group": "small"}
    with pytest.raises(DataError) as caught:
        score("earthdial/vqa", row)
    message = str(caught.value)
    assert "'annotation or caption0', 'vqa_type'" in message
    assert "--protocol earthdial/refer fits" in message


def test_fields_that_fit_nothing_point_to_the_list(score) -> None:
    with pytest.raises(DataError, match="geovlm score --protocols"):
        score("earthdial/vqa", {"prediction": "yes", "label": "yes"})


def test_a_file_without_one_usable_line_says_why(score) -> None:
    with pytest.raises(DataError, match="field 'annotation' is null"):
        score("earthdial/vqa", ROW | {"annotation": None})


def test_an_absent_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no prediction file"):
        records.read(tmp_path / "absent.jsonl")


def test_an_unknown_protocol_gets_the_nearest_name() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'earthdial/refer'"):
        catalogue.find("earthdial/refr")


def test_the_last_part_of_a_name_is_recognised() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'geochat/bench'"):
        catalogue.find("bench")


def test_every_protocol_states_its_rules_and_source() -> None:
    stated = [
        (each.published_rule, each.strict_rule, each.source)
        for each in catalogue.PROTOCOLS.values()
    ]
    assert all(all(parts) for parts in stated)


def test_intervals_hold_their_score(score) -> None:
    rows = [ROW | {"answer": answer} for answer in ("yes", "no") * 50]
    made = score("earthdial/vqa", *rows)
    low, high = made.ci95["published"]["presence"]
    assert low < made.published["presence"] < high
    # 100 coin flips: 0.5 +- 1.96 * 0.05, give or take the 100 resamples
    assert high - low == pytest.approx(0.2, abs=0.06)
    assert made.resampled == "row"


def test_answers_about_one_image_are_resampled_together(score) -> None:
    rows = [
        ROW | {"answer": answer, "image": f"{image}.png"}
        for image, answer in enumerate(("yes", "no") * 10)
        for _ in range(10)
    ]
    made = score("earthdial/vqa", *rows)
    low, high = made.ci95["published"]["presence"]
    assert made.resampled == "image"
    assert high - low > 0.3  # 20 images, not 200 rows: 2 * 1.96 * 0.11


def test_the_same_seed_gives_the_same_interval(score) -> None:
    rows = [ROW | {"answer": answer} for answer in ("yes", "no", "yes") * 10]
    assert score("earthdial/vqa", *rows).ci95 == score("earthdial/vqa", *rows).ci95


def test_the_command_prints_json(write, capsys) -> None:
    code, out, _ = run(capsys, str(write(ROW, ROW)), "--protocol", "earthdial/vqa", "--json")
    made = json.loads(out)
    assert code == 0
    assert (made["protocol"], made["n"], made["skipped"]) == ("earthdial/vqa", 2, {})
    assert made["published"] == {"presence": 1.0, "average": 1.0}
    assert made["strict"]["accuracy"] == 1.0
    assert made["ci95"]["published"]["presence"] == [1.0, 1.0]


def test_the_command_prints_both_columns(write, capsys) -> None:
    path = write(ROW | {"answer": "yes, no"}, ROW | {"answer": "no"})
    code, out, err = run(capsys, str(path), "--protocol", "earthdial/vqa")
    header, presence = out.splitlines()[:2]
    assert code == 0
    assert header.split("\t") == ["score", "published", "95 %", "strict", "95 %", "of"]
    cells = presence.split("\t")
    assert (cells[0], cells[1], cells[3], cells[5]) == ("presence", "0.5000", "0.0000", "2")
    assert "token recall" in err


def test_the_task_of_a_run_names_the_protocol(write, own, capsys) -> None:
    row = own("xbd/detect", "[0, 0, 10, 10]", boxes=[[0, 0, 10, 10]])
    code, out, _ = run(capsys, str(write(row)), "--json")
    assert code == 0
    assert json.loads(out)["protocol"] == "earthdial/xbd_detect"


def test_a_file_that_names_no_task_needs_a_protocol(write, capsys) -> None:
    code, _, err = run(capsys, str(write(ROW)))
    assert code == 2
    assert "choose one with --protocol; its fields fit earthdial/vqa" in err


def test_an_unknown_protocol_ends_with_two(write, capsys) -> None:
    code, _, err = run(capsys, str(write(ROW)), "--protocol", "vqua")
    assert code == 2
    assert err.startswith("error: unknown protocol 'vqua'")
    assert len(err.splitlines()) == 1


def test_protocols_are_listed(capsys) -> None:
    code, out, _ = run(capsys, "--protocols", "--json")
    assert code == 0
    assert {row["name"] for row in json.loads(out)} == set(catalogue.PROTOCOLS)
