"""Checks of the first stage before anything trains, and the messages of errors."""

from __future__ import annotations

import dataclasses
import gc
import subprocess
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest

from geovlm.engine import checks, failures, worker
from geovlm.engine.stage import Stage
from geovlm.engine.training import vllm
from geovlm.errors import ConfigError, DataError
from geovlm.run import files
from geovlm.run.folder import RunDir
from tests.engine.test_sharded import with_records


def first_stage(folder: Path, *overrides: str, images: bool = True) -> Stage:
    """The first of three stages, as the worker has it; see `with_records`."""
    made = with_records(folder, *overrides, images=images)
    sizes = {str(index): 1 for index in range(3)}
    folders = {"stage_folders": made.config.stage_folders()}
    files.write_json(made.run.resolved, folders | {"world_sizes": sizes})
    return dataclasses.replace(made, index=0)


def test_a_row_without_images_is_named_before_the_first_stage(tmp_path: Path) -> None:
    made = first_stage(tmp_path, images=False)
    name = made.records["xbd", "train"][1].id + "/count"
    with pytest.raises(DataError, match=rf"sample '{name}' of task 'xbd/count' has no image"):
        checks.check(made)
    checks.check(first_stage(tmp_path / "with"))


def test_an_image_too_large_for_vllm_is_named_before_the_first_stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = first_stage(tmp_path, "stages.2.generation=vllm-colocate")
    checks.check(made)
    monkeypatch.setattr(vllm, "COLOCATED_TOKENS", 3)
    name = made.records["xbd", "train"][0].id + "/count"
    with pytest.raises(ConfigError, match=rf"sample '{name}' of task 'xbd/count' has an image of"):
        checks.check(made)


TIMED_OUT = "[/src/gloo/unbound_buffer.cc:129] Timed out waiting 20000ms for recv operation"


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    run = RunDir(tmp_path)
    files.write_json(run.resolved, {"stage_folders": ["0-sft"], "config": {"timeout_s": 20}})
    return run


def test_a_rank_says_for_which_stage_it_waited_and_what_to_do(
    run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "4")
    said = failures.explain(RuntimeError(f"{TIMED_OUT}\nmore"), run, stage="0")
    assert said == (
        "error: rank 1 of 4: another rank of stage 0-sft did not answer within 20 s: Timed out "
        "waiting 20000ms for recv operation (where one hangs, go on with --resume; where one has "
        "more to do, set a longer timeout_s)"
    )
    said = failures.explain(RuntimeError("Connection closed by peer"), run, stage="0")
    assert said == "rank 1 of 4: another rank is gone"
    assert failures.explain(RuntimeError("shapes differ"), run, stage="0") is None


def test_a_single_process_has_no_rank_and_waits_for_nobody(
    run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    assert failures.who() == ""
    assert failures.explain(RuntimeError(TIMED_OUT), run, stage="0") is None
    full = failures.explain(OSError(28, "No space left on device"), run, stage="0")
    assert full is not None
    assert full.startswith(f"error: {run.path} cannot be written: ")


def test_a_stage_does_not_import_bitsandbytes_without_a_use_for_it(tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes", reason="the extra qlora is not installed")
    code = (
        "import sys; from pathlib import Path; from geovlm.run.folder import RunDir\n"
        "from geovlm.engine.worker import lean_imports\n"
        "with lean_imports(RunDir(Path(sys.argv[1]))):\n"
        "    import geovlm.engine.work\n"
        "assert 'bitsandbytes' not in sys.modules\n"
        "from bitsandbytes.optim import AdamW8bit  # a plugin's own use\n"
    )
    run = RunDir(tmp_path)
    files.write_json(run.resolved, {"config": {}})
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, timeout=200)


def test_a_stage_with_a_use_for_bitsandbytes_can_import_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "bitsandbytes", raising=False)
    run = RunDir(tmp_path)
    for config, hidden in [({}, True), ({"lora": {"quantize": "nf4"}}, False)]:
        files.write_json(run.resolved, {"config": config})
        with worker.lean_imports(run):
            assert ("bitsandbytes" in sys.modules) == hidden
        assert "bitsandbytes" not in sys.modules


class Ring:
    """Refers to itself, so that only the collector frees it."""

    def __init__(self) -> None:
        self.me = self


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    yield
    gc.unfreeze()


@pytest.mark.parametrize("enabled", [True, False])
def test_collections_skip_what_was_imported_and_nothing_else(enabled: bool, tmp_path: Path) -> None:
    (gc.enable if enabled else gc.disable)()
    try:
        with pytest.raises(ImportError), worker.lean_imports(RunDir(tmp_path)):
            assert not gc.isenabled()
            kept = weakref.ref(Ring())
            raise ImportError
        assert gc.isenabled() == enabled
    finally:
        gc.enable()
    later = weakref.ref(Ring())
    gc.collect()
    assert kept() is not None
    assert later() is None
