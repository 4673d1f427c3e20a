"""The vLLM server of a stage: its place, command and health; the server itself is a stand-in."""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
import pytest

from geovlm.config import load
from geovlm.errors import ConfigError, RunFailedError
from geovlm.run import files, launch
from geovlm.run.folder import RunDir
from geovlm.run.vllm import extension, fitness, stage
from geovlm.run.vllm import server as vllm_server
from geovlm.run.vllm.server import Placement

STAND_IN = """
import http.server, sys, time
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
    def log_message(self, *args): pass
print("loading", flush=True)
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def served(*overrides: str, **values):
    sets = ("stages.2.generation=vllm-server", *overrides)
    loaded = load.load(None, overrides=sets, **{"gpus": 8, **values})
    return loaded.model_copy(update={"device": "cuda"})


def test_the_gpus_that_training_leaves_free_serve():
    assert vllm_server.placement(served("stages.2.processes=4"), 2) == Placement(0, (4, 5, 6, 7))
    assert vllm_server.placement(served("stages.2.processes=4"), 0) is None
    named = served("stages.2.processes=4", "stages.2.vllm.gpus=[6, 7]")
    assert vllm_server.placement(named, 2) == Placement(0, (6, 7))
    elsewhere = served("stages.2.vllm.url=http://10.0.0.5:8000")
    assert vllm_server.placement(elsewhere, 2) is None


def test_the_first_machine_without_ranks_serves_where_machine_0_is_full():
    run = served("stages.2.processes=8", machines=3)
    assert vllm_server.placement(run, 2) == Placement(1, tuple(range(8)))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ((), r"stages\.2: all 8 GPUs train, none is left for the vLLM server"),
        (
            ("stages.2.processes=4", "stages.2.vllm.gpus=[3]"),
            r"vllm.gpus \[3\]: 4, 5, 6, 7 are free",
        ),
        (
            ("stages.2.processes=4", "stages.2.vllm.gpus=[8]"),
            r"vllm.gpus \[8\]: 4, 5, 6, 7 are free",
        ),
        (("stages.2.vllm.gpus=[0]",), r"vllm.gpus \[0\]: none is free"),
    ],
)
def test_a_server_without_a_gpu_is_refused(overrides, message):
    with pytest.raises(ConfigError, match=message):
        vllm_server.placement(served(*overrides), 2)


def test_vllm_that_is_not_installed_is_one_line_with_the_extra(monkeypatch):
    monkeypatch.setattr(vllm_server.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"needs vLLM, which is missing.*'geovlm\[vllm\]'"):
        vllm_server.check(served("stages.2.processes=4"))
    cpu = load.load(None, overrides=["device=cpu", "stages.2.generation=vllm-colocate"])
    with pytest.raises(ConfigError, match="'vllm-colocate' needs GPUs, or vLLM for the CPU"):
        vllm_server.check(cpu)
    vllm_server.check(load.load(None, overrides=["device=cpu"]))


def test_vllm_serves_the_cpu_where_its_plugin_is_installed(monkeypatch):
    monkeypatch.setattr(vllm_server.importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(vllm_server.metadata, "entry_points", lambda **_: ("on_cpu",))
    chosen = ("device=cpu", "stages.2.generation=vllm-server", "stages.2.processes=2")
    cpu = load.load(None, overrides=chosen)
    vllm_server.check(cpu)
    assert vllm_server.placement(cpu, 2) == Placement(0, ())
    argv = vllm_server.command("m", cpu, cpu.stages[2].vllm, gpus=0)
    assert argv[argv.index("--dtype") + 1] == "float32"
    assert argv[argv.index("--weight-transfer-config") + 1] == '{"backend": "file"}'
    assert "--gpu-memory-utilization" not in argv
    variables = vllm_server.environment([], ())
    assert variables["VLLM_CPU_KVCACHE_SPACE"] == "2"


def test_four_bits_are_not_handed_to_vllm(monkeypatch):
    monkeypatch.setattr(vllm_server.importlib.util, "find_spec", lambda name: object())
    vllm_server.check(served("stages.2.processes=4", "lora.r=4"))
    with pytest.raises(ConfigError, match=r"'vllm-server' and lora\.quantize 'nf4'"):
        vllm_server.check(served("stages.2.processes=4", "lora.quantize=nf4"))


def test_continuous_batching_says_why_it_cannot_be():
    with pytest.raises(
        ConfigError, match="continuous batching is refused by TRL for models with images"
    ):
        load.load(None, overrides=["stages.2.generation=paged"])
    with pytest.raises(ConfigError, match="it is the stage's: 'generation'"):
        load.load(None, overrides=["stages.2.trainer.use_vllm=true"])
    with pytest.raises(ConfigError, match=r"unknown key 'stages\.2\.vllm\.gpu'.*'gpus'"):
        load.load(None, overrides=["stages.2.vllm.gpu=1"])


def test_the_command_is_the_one_of_trl(monkeypatch):
    from trl.scripts import vllm_serve

    monkeypatch.setattr(vllm_serve, "is_vllm_available", lambda min_version: True)
    theirs = vllm_serve.build_command(
        vllm_serve.ScriptArguments(model="m", port=8123, tensor_parallel_size=4, max_model_len=99)
    )
    run = served("stages.2.processes=4", "stages.2.vllm.port=8123", machines=2)
    settings = run.stages[2].vllm.model_copy(update={"max_model_len": 99})
    ours = vllm_server.command("m", run, settings, gpus=4)
    ours.remove("-P")
    at = ours.index("--worker-extension-cls")  # ours alone: it says which weights the server has
    assert ours[at + 1] == "geovlm.run.vllm.extension.Weights"
    del ours[at : at + 2]
    assert set(ours) <= set(theirs)
    assert ours[:5] == theirs[:5]
    assert ours[-6:] == theirs[-6:]
    assert "--enable-scale-out" in ours


def test_a_server_beside_the_trainer_is_not_reached_from_other_machines():
    one, two = served("stages.2.processes=4"), served("stages.2.processes=4", machines=2)
    for run, host in ((one, "127.0.0.1"), (two, "0.0.0.0")):
        argv = vllm_server.command("m", run, run.stages[2].vllm, gpus=4)
        assert argv[argv.index("--host") + 1] == host


def test_the_server_leaves_images_at_the_size_that_the_run_gives_them():
    run = served("stages.2.processes=4", "min_pixels=784", "max_pixels=200704")
    argv = vllm_server.command("m", run, run.stages[2].vllm, gpus=4)
    limits = json.loads(argv[argv.index("--mm-processor-kwargs") + 1])
    # 32 x (root of 200 x 200,704, plus 32): a strip 200 times as long as high, one cell high
    assert limits == {"min_pixels": 1, "max_pixels": 32 * (6335 + 32)}
    bare = vllm_server.command("m", served(), served().stages[2].vllm, gpus=1)
    assert "--mm-processor-kwargs" not in bare


def test_the_server_sees_its_gpus_and_not_the_ranks_around_it(monkeypatch):
    monkeypatch.setenv("RANK", "3")
    variables = vllm_server.environment(["a", "b", "c", "d"], (2, 3))
    assert variables["CUDA_VISIBLE_DEVICES"] == "c,d"
    assert variables["VLLM_SERVER_DEV_MODE"] == "1"
    assert "RANK" not in variables


def stand_in(folder: Path, code: str, port: int, timeout_s: float = 60.0):
    return vllm_server.serving(
        [sys.executable, "-c", code, str(port)],
        variables={},
        port=port,
        log=folder / "vllm.txt",
        timeout_s=timeout_s,
    )


def test_a_server_lives_as_long_as_its_stage(tmp_path):
    port = launch.free_port()
    with stand_in(tmp_path, STAND_IN, port) as alive:
        alive()
        assert fitness.answers(f"http://127.0.0.1:{port}")
        with pytest.raises(RunFailedError, match=f"another program has port {port}"):
            stand_in(tmp_path, STAND_IN, port).__enter__()
    assert not fitness.answers(f"http://127.0.0.1:{port}")
    assert (tmp_path / "vllm.txt").read_text() == "loading\n"


def test_a_port_that_is_taken_is_named_before_the_server_starts(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other:  # it speaks no HTTP
        port = other.getsockname()[1]
        with (
            pytest.raises(RunFailedError, match=f"another program has port {port}, which"),
            stand_in(tmp_path, STAND_IN, port),
        ):
            pass
        with pytest.raises(ConfigError, match=rf"port {port}, which .*stages\.2\.vllm\.port"):
            fitness.check_servers(served(f"stages.2.vllm.port={port}"))
    assert not (tmp_path / "vllm.txt").exists()


def test_what_a_killed_server_leaves_behind_is_ended(tmp_path):
    code = (
        "import os, signal, subprocess, sys; "
        "left = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']); "
        "print(left.pid, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    with (
        pytest.raises(RunFailedError, match=r"ended with exit status -9: \d+"),
        stand_in(tmp_path, code, launch.free_port()),
    ):
        pass
    left = int((tmp_path / "vllm.txt").read_text())
    assert not psutil.pid_exists(left) or psutil.Process(left).status() == psutil.STATUS_ZOMBIE


def test_a_server_that_ends_is_reported_with_its_last_line(tmp_path):
    code = "import sys; print('out of memory'); sys.exit(3)"
    with (
        pytest.raises(RunFailedError, match="ended with exit status 3: out of memory"),
        stand_in(tmp_path, code, launch.free_port()),
    ):
        pass


def test_a_server_that_dies_during_the_stage_is_noticed(tmp_path):
    code = STAND_IN.replace(
        "print(", "import threading, os; threading.Timer(3, lambda: os._exit(9)).start(); print("
    )
    with stand_in(tmp_path, code, launch.free_port()) as alive:
        deadline = time.monotonic() + 30
        with pytest.raises(RunFailedError, match="the vLLM server ended with exit status 9"):
            while time.monotonic() < deadline:
                alive()
                time.sleep(0.1)


def test_a_server_that_does_not_answer_in_time_is_ended(tmp_path):
    code = "import time; time.sleep(100)"
    with (
        pytest.raises(RunFailedError, match="did not answer on port"),
        stand_in(tmp_path, code, launch.free_port(), timeout_s=1.0),
    ):
        pass
    assert not [p for p in psutil.Process().children() if "time.sleep(100)" in p.cmdline()]


@pytest.fixture
def fake():
    """A server that tells its settings: (url, settings)."""
    settings = {
        "model_config": {"logprobs_mode": "processed_logprobs"},
        "weight_transfer_config": {"backend": "nccl"},
        "parallel_config": {"worker_extension_cls": "geovlm.run.vllm.extension.Weights"},
    }
    told: dict = {"vllm_config": settings}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = self.path == "/health" or ("hidden" not in told and "server_info" in self.path)
            self.send_response(200 if known else 404)
            self.end_headers()
            self.wfile.write(json.dumps(told).encode())

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}", told
    server.shutdown()


def test_a_server_of_the_user_must_be_fit_for_training(fake):
    url, told = fake
    run = served(f"stages.2.vllm.url={url}")
    fitness.check_servers(run)
    told["vllm_config"]["parallel_config"]["worker_extension_cls"] = ""
    with pytest.raises(ConfigError, match="cannot say which weights it has"):
        fitness.check_servers(run)
    told["vllm_config"]["parallel_config"]["worker_extension_cls"] = extension.CLASS
    told["vllm_config"]["model_config"]["logprobs_mode"] = "raw_logprobs"
    with pytest.raises(ConfigError, match="has --logprobs-mode raw_logprobs"):
        fitness.check_servers(run)
    told["vllm_config"]["weight_transfer_config"] = None
    with pytest.raises(ConfigError, match=r"accepts no new weights .*--weight-transfer-config"):
        fitness.check_servers(run)
    told["hidden"] = True
    with pytest.raises(ConfigError, match="does not report its settings"):
        fitness.check_servers(run)
    with pytest.raises(
        ConfigError, match=r"no vLLM server answers at http://127\.0\.0\.1:1/health"
    ):
        fitness.refuse_unfit("http://127.0.0.1:1")
    with pytest.raises(ConfigError, match="is not an address"):
        fitness.refuse_unfit("10.0.0.5:8000")


def test_a_stage_finds_the_server_that_was_started_for_it(tmp_path, monkeypatch):
    port = launch.free_port()
    run = served("stages.2.processes=4", f"stages.2.vllm.port={port}")
    directory = RunDir(tmp_path)
    files.write_json(directory.resolved, {"stage_folders": run.stage_folders()})
    directory.stage(2).mkdir(parents=True)
    models = []

    def command(model, *_, **__):
        models.append(model)
        return [sys.executable, "-c", STAND_IN, str(port)]

    monkeypatch.setattr(vllm_server, "command", command)
    monkeypatch.setattr(stage.devices, "visible_gpus", lambda: list("01234567"))
    with stage.serve(directory, config=run, index=2, heartbeat=None) as server:
        assert server.variables == {"GEOVLM_VLLM_URL": f"http://127.0.0.1:{port}"}
        server.check()
    assert [Path(model).name for model in models] == ["weights"]
    with stage.serve(directory, config=run, index=0, heartbeat=None) as none:
        assert none.variables == {}


def test_a_stage_begins_with_the_latest_trained_weights(tmp_path):
    run = served("model=Qwen/Some")
    directory = RunDir(tmp_path)
    files.write_json(directory.resolved, {"stage_folders": run.stage_folders()})
    assert stage.start_weights(directory, config=run, index=2) == "Qwen/Some"
    (directory.stage(0) / "model").mkdir(parents=True)
    begins = stage.start_weights(directory, config=run, index=2)
    assert begins == str(directory.stage(0) / "model")
