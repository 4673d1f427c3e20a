"""`geovlm doctor`, with workers that hang, fail and lie in place of the real one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from geovlm import cli, nano
from geovlm.run import devices, files, launch
from geovlm.run.doctor import machine, smoke
from geovlm.run.process import Outcome
from tests import inside

CPU = smoke.Ranks(2, "cpu")
NO_GPU = {"torch": "2.13.0+cpu", "cuda": None, "gpus": [], "bf16": False}
JOINED = {"devices": NO_GPU, "joined": {"backend": "gloo"}}
REDUCED = JOINED | {"reduced": {"seconds": 0.016, "bytes": 16 << 20}}
WHOLE = REDUCED | {"trained": {"loss": 2.5, "seconds": 1.0, "model": "nano"}}


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch):
    """Let the ranks leave these notes, and the worker end in this way."""

    def use(
        *notes: dict, status: int = 0, error: str = "", late: bool = False, output: str = ""
    ) -> None:
        def execute(argv, *, variables, log: Path, check) -> Outcome:
            for rank, each in enumerate(notes):
                files.write_json(log.parent / f"rank-{rank}.json", each)
            log.write_text(output)
            if late:
                raise TimeoutError
            return Outcome(status, error)

        monkeypatch.setattr(smoke, "execute", execute)

    return use


def row(checks: list[machine.Check], name: str) -> machine.Check:
    (found,) = [each for each in checks if each.check == name]
    return found


def test_ranks_that_agree_are_fine(worker) -> None:
    worker(WHOLE, WHOLE)
    checks = smoke.ranks(CPU, deadline_s=5)
    assert [each.state for each in checks] == ["ok", "ok", "ok"]
    # 16 MiB in 16 ms
    assert row(checks, "all-reduce").found == "2 ranks by gloo: 16 MB in 16.0 ms, 1.05 GB/s"
    assert "the same weights on all ranks" in row(checks, "training step").found


def test_one_rank_has_nothing_to_reduce(worker) -> None:
    worker(WHOLE | {"reduced": {"seconds": None, "bytes": 16 << 20}})
    checks = smoke.ranks(smoke.Ranks(1, "cpu"), deadline_s=5)
    assert row(checks, "all-reduce").found == "one rank: not needed"


def test_a_rank_that_never_joins_is_named_with_a_way_out(worker) -> None:
    worker({"devices": NO_GPU}, {}, status=1, error="rank 0: joining did not end within 5 s")
    found = row(smoke.ranks(CPU, deadline_s=5), "all-reduce")
    assert found.state == "FAIL"
    assert "joining did not end within 5 s" in found.found
    assert "not joined: rank 0, 1" in found.found
    assert "GLOO_SOCKET_IFNAME" in found.fix


def test_a_process_that_cannot_import_is_no_fault_of_the_network(worker) -> None:
    output = (
        "[rank1]: Traceback (most recent call last):\n"
        "[rank1]:   File 'x.py', line 1, in <module>\n"
        "[rank1]: RuntimeError: Failed to import trl because of the following error:\n"
        "[rank1]: cannot import name 'Dataset' from 'datasets'\n"
        "Traceback (most recent call last):\n"
        "subprocess.CalledProcessError: Command '['python']' returned non-zero exit status 1.\n"
    )
    worker({}, {}, status=1, output=output)
    (found,) = smoke.ranks(CPU, deadline_s=5)
    assert (found.check, found.state) == ("start of a stage", "FAIL")
    assert found.found == (
        "RuntimeError: Failed to import trl because of the following error: "
        "cannot import name 'Dataset' from 'datasets'"
    )
    assert "the imports of a stage fail" in found.fix


def test_an_import_that_fails_in_one_rank_is_named_with_its_cause(worker) -> None:
    output = (
        "[rank1]: Traceback (most recent call last):\n"
        "[rank1]: OSError: libmkl_core.so: cannot open shared object file\n"
        "[rank1]: Traceback (most recent call last):\n"
        "[rank1]: ModuleNotFoundError: Could not import module 'PrinterCallback'.\n"
        "[rank0]: Traceback (most recent call last):\n"
        "[rank0]: torch.distributed.DistStoreError: 1/2 clients joined\n"
    )
    worker({"devices": NO_GPU}, {}, status=1, output=output)
    found = smoke.ranks(CPU, deadline_s=5)[-1]
    assert (found.check, found.state) == ("start of a stage", "FAIL")
    assert found.found == (
        "OSError: libmkl_core.so: cannot open shared object file; then ModuleNotFoundError: Could "
        "not import module 'PrinterCallback'."
    )
    assert "GLOO" not in found.fix


def test_one_rank_that_fails_is_no_fault_of_the_network(worker) -> None:
    worker({"devices": NO_GPU}, status=1, error="no memory is left")
    found = row(smoke.ranks(smoke.Ranks(1, "cpu"), deadline_s=5), "all-reduce")
    assert found.state == "FAIL"
    assert "GLOO" not in found.fix


def test_an_all_reduce_that_hangs_is_one_line(worker) -> None:
    worker(JOINED, JOINED, status=1, error="rank 1: all-reduce did not end within 5 s")
    checks = smoke.ranks(CPU._replace(device="cuda"), deadline_s=5)
    found = row(checks, "all-reduce")
    assert (found.state, found.found) == (
        "FAIL",
        "2 ranks by nccl: rank 1: all-reduce did not end within 5 s",
    )
    assert "NCCL_DEBUG=INFO" in found.fix
    assert row(checks, "GPUs").state == "FAIL"


def test_a_worker_that_never_ends_is_one_line(worker) -> None:
    worker(JOINED, JOINED, late=True)
    assert "did not end within 640 s" in row(smoke.ranks(CPU, deadline_s=5), "all-reduce").found


def test_a_training_step_that_fails_says_why(worker) -> None:
    worker(REDUCED, REDUCED, status=1, error="the loss of a training step is nan")
    checks = smoke.ranks(CPU, deadline_s=5)
    assert row(checks, "all-reduce").state == "ok"
    found = row(checks, "training step")
    assert (found.state, found.found) == ("FAIL", "the loss of a training step is nan")


def test_a_gpu_without_bfloat16_fails(worker) -> None:
    old = {"name": "Tesla V100", "bytes": 16 << 30, "capability": "7.0"}
    seen = WHOLE | {"devices": {"torch": "2.13.0", "cuda": "12.8", "gpus": [old], "bf16": False}}
    worker(seen)
    found = row(smoke.ranks(smoke.Ranks(1, "cuda"), deadline_s=5), "GPUs")
    assert (found.state, found.found) == ("FAIL", "Tesla V100, 16 GiB, 7.0: no bfloat16")


@pytest.mark.parametrize(
    ("version", "device", "state", "found"),
    [
        (None, "cuda", "ok", "not installed"),
        ("0.33.0", "cuda", "FAIL", "0.33.0"),
        ("0.31.0", "cpu", "warn", "0.31.0, not tried"),
        ("0.31.0", "cuda", "ok", "0.31.0: text, two images: log-probabilities within 0.01 of"),
    ],
)
def test_vllm_is_tried_where_it_can_be(
    worker, monkeypatch: pytest.MonkeyPatch, version, device, state, found
) -> None:
    monkeypatch.setattr(smoke.installed, "version", lambda name: version)
    monkeypatch.setattr(devices, "visible_gpus", lambda: ["0"])
    parts = [{"name": name, "problem": "", "apart": 0.01} for name in ("text", "two images")]
    worker({"compared": {"parts": parts}})
    (check,) = smoke.vllm(smoke.Ranks(1, device), deadline_s=5)
    assert check.state == state
    assert found in check.found


def test_each_part_of_vllm_that_is_not_in_order_is_a_line(worker, monkeypatch) -> None:
    monkeypatch.setattr(smoke.installed, "version", lambda name: "0.30.0")
    monkeypatch.setattr(smoke.server, "serves_cpu", lambda: True)
    parts = [
        {"name": "text", "problem": "", "apart": 1e-6},
        {"name": "one image", "problem": "row 0: expanded twice", "apart": None},
        {"name": "changed norms", "problem": "0.3 apart", "apart": 0.3},
    ]
    worker({"compared": {"parts": parts}})
    checks = smoke.vllm(smoke.Ranks(1, "cpu"), deadline_s=5)
    assert [(each.check, each.state, each.found) for each in checks] == [
        ("vLLM, one image", "FAIL", "row 0: expanded twice"),
        ("vLLM, changed norms", "FAIL", "0.3 apart"),
        ("vLLM", "ok", "0.30.0: text: log-probabilities within 1e-06 of transformers'"),
    ]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Call `geovlm doctor`; returns (exit status, stdout, stderr)."""
    monkeypatch.setattr(machine, "write_speed", lambda folder: 1e9)
    monkeypatch.setattr(devices, "visible_gpus", list)

    def run(*argv: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as left:
            cli.main(["doctor", "--out", str(tmp_path), *argv])
        captured = capsys.readouterr()
        return int(left.value.code or 0), captured.out, captured.err

    return run


def test_a_sound_machine_ends_with_0(call, worker) -> None:
    worker(WHOLE, WHOLE)
    status, out, _ = call("--processes", "2", "--json")
    found = json.loads(out)
    assert (status, found["ok"]) == (0, True)
    names = [each["check"] for each in found["checks"]]
    assert {"python", "versions", "plugins", "disk", "GPUs", "all-reduce", "vLLM"} <= set(names)


def test_one_failure_ends_with_1_and_a_table(call, worker) -> None:
    worker(REDUCED, REDUCED, status=1, error="broken")
    status, out, _ = call("--processes", "2")
    assert status == 1
    assert "training step\tFAIL\tbroken\t" in out


def test_gpus_that_are_not_there_fail_before_any_worker(call) -> None:
    status, out, _ = call("--gpus", "4")
    assert status == 1
    assert "GPUs\tFAIL\t4 GPUs are asked for and none is visible\tsee nvidia-smi" in out


def test_wrong_versions_are_fixed_before_anything_is_tried(
    call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "_requires", lambda: ["torch>=99"])
    status, out, _ = call()
    assert status == 1
    assert "torch\tFAIL\t" in out
    assert "training step\twarn\tnot tried" in out


def test_a_torchvision_that_does_not_fit_is_fixed_before_anything_is_tried(
    call, monkeypatch: pytest.MonkeyPatch
) -> None:
    reason = "torchvision 0.29.1 does not fit torch 2.13.0"
    monkeypatch.setattr(machine, "torchvision_fault", lambda: reason)
    status, out, _ = call("--processes", "2")
    assert status == 1
    assert f"torchvision\tFAIL\t{reason}\tpip uninstall torchvision, or" in out
    assert "training step\twarn\tnot tried" in out


def test_processes_and_gpus_together_are_refused(call) -> None:
    status, _, err = call("--processes", "2", "--gpus", "2")
    assert status == 2
    assert err.startswith("error: --processes and --gpus are both given")


DETECT = ("doctor", "--model", "nano", "--tasks", "xbd/detect", "--set", "sample.records=8")


def test_the_row_of_a_task_is_shown_as_the_model_gets_it(tmp_path: Path) -> None:
    ended = inside.geovlm(*DETECT, "--json", "--out", tmp_path)
    shown = json.loads(ended.stdout)
    (row,) = shown["rows"]
    assert (ended.returncode, shown["ok"], shown["problems"]) == (0, True, [])
    assert (shown["model_type"], shown["ends"][0]) == ("qwen2_5_vl", "<|im_end|>")
    # two images of 36 tokens: 84 x 84 px in cells of 14 px
    assert [each["tokens"] for each in row["images"]] == [36, 36]
    assert row["prompt"].count("<|image_pad|> x 36") == 2
    assert row["tokens"]["images"] == 72
    assert row["prefill"] == ""
    assert row["target"].startswith("<think> ")
    assert row["target"].endswith("</answer><|im_end|>")
    assert row["boxes"]
    with Image.open(row["picture"]) as picture:
        assert picture.format == "PNG"
    assert row["picture"] == str(tmp_path / "xbd__detect.png")


def test_a_row_is_printed_with_its_parts() -> None:
    ended = inside.geovlm(*DETECT)
    lines = ended.stdout.splitlines()
    assert lines[0] == "family: qwen2_5_vl, profile qwen2.5-vl"
    assert "boxes: input_pixels, x first" in lines
    assert lines[-1] == "ok    all stages read these rows alike"
    assert {"image 1", "image 2", "tokens", "prefill"} <= {each.partition(":")[0] for each in lines}


@pytest.mark.slow
def test_without_tasks_all_installed_ones_are_read() -> None:
    ended = inside.geovlm("doctor", "--model", "nano", "--set", "sample.records=8", "--json")
    shown = json.loads(ended.stdout)
    assert (ended.returncode, shown["problems"]) == (0, [])
    assert {"rsvqa/lr", "xbd/detect"} <= {row["task"] for row in shown["rows"]}


def test_without_any_task_a_built_in_example_is_read() -> None:
    words = ("doctor", "--model", "nano", "--json")
    ended = inside.geovlm(*words, GEOVLM_DISABLE_PLUGINS="*")
    assert [row["task"] for row in json.loads(ended.stdout)["rows"]] == ["doctor"]


def test_a_model_that_is_not_read_alike_ends_with_1(tmp_path: Path) -> None:
    folder = shutil.copytree(nano.path(), tmp_path / "broken")
    template = folder / "chat_template.jinja"
    written = template.read_text(encoding="utf-8")
    template.write_text(written.replace("<|image_pad|>", "<|image_pad|>" * 2), encoding="utf-8")
    ended = inside.geovlm("doctor", "--model", folder, "--tasks", "xbd/count")
    assert ended.returncode == 1
    assert "\nFAIL  qwen2_5_vl, " in f"\n{ended.stdout}"


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("--tasks", "xbd"), "--tasks, --data and --set are for --model"),
        (("--model", "nano", "--processes", "2"), "--model needs no ranks"),
        (("--model", "nano", "--tasks", "nope"), "unknown task 'nope'"),
    ],
    ids=["without model", "ranks", "unknown task"],
)
def test_options_that_do_not_go_together_are_refused(call, words, error) -> None:
    status, _, err = call(*words)
    assert status == 2
    assert error in err


@pytest.mark.slow
def test_two_ranks_on_the_cpu_sum_and_train() -> None:
    checks = smoke.ranks(CPU, deadline_s=400)
    assert [(each.check, each.state) for each in checks] == [
        ("GPUs", "ok"),
        ("all-reduce", "ok"),
        ("training step", "ok"),
    ]
    assert row(checks, "all-reduce").found.startswith("2 ranks by gloo")


@pytest.mark.slow
def test_a_rank_that_hangs_ends_the_check_at_its_deadline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "hanging.py").write_text(
        "import os, sys, time\n"
        "if os.environ['RANK'] == '1': time.sleep(1000)\n"
        "from geovlm.engine.programs import doctor\n"
        "sys.exit(doctor.main())\n"
    )
    before = launch.environment

    def found_by_path(world_size: int, *, on_cpu: bool) -> dict[str, str]:
        variables = before(world_size, on_cpu=on_cpu)
        known = [str(tmp_path), variables.get("PYTHONPATH", "")]
        return variables | {"PYTHONPATH": ":".join(filter(None, known))}

    monkeypatch.setattr(launch, "environment", found_by_path)
    found = row(smoke.ranks(CPU, deadline_s=3, module="hanging"), "all-reduce")
    assert found.state == "FAIL"
    assert "rank 0: joining the other ranks did not end within 3 s" in found.found
    assert "not joined: rank 0, 1" in found.found
