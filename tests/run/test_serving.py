"""The server of `geovlm serve`, with a stand-in for vLLM."""

from __future__ import annotations

import http.server
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from geovlm.errors import ConfigError, RunFailedError
from geovlm.run.vllm import serving, tied
from geovlm.run.vllm.serving import Known, Settings

SETTINGS = Settings(
    name="mine",
    host="127.0.0.1",
    port=8001,
    gpus=None,
    memory=None,
    max_model_len=512,
    images=2,
)
KNOWN = Known(
    question="What?",
    prompt_ids=[1, 2, 2, 3],
    ids=[7, 8],
    logprobs=[-0.5, -0.25],
    dtype="float32",
    max_positions=2048,
    settings={"min_pixels": 1},
)
SAME: dict[str, Any] = {
    "prompt_token_ids": [1, 2, 2, 3],
    "choices": [
        {
            "token_ids": [7, 8],
            "logprobs": {"content": [{"logprob": -0.5}, {"logprob": -0.2502}]},
        }
    ],
}


class StandIn(http.server.ThreadingHTTPServer):
    """Answers every request with `reply` and `status`, after `delay_s`."""

    daemon_threads = True
    reply: Any = SAME
    status = 200
    delay_s = 0.0
    asked: dict[str, Any] | None = None


class Handler(http.server.BaseHTTPRequestHandler):
    server: StandIn

    def do_POST(self) -> None:
        self.server.asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        time.sleep(self.server.delay_s)
        body = json.dumps(self.server.reply).encode()
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def stand_in() -> Iterator[StandIn]:
    with StandIn(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "it's.png"
    Image.new("RGB", (28, 28), (10, 20, 30)).save(path)
    return path


def check(server: StandIn, image: Path, *, timeout_s: float = 5.0) -> float:
    url = f"http://127.0.0.1:{server.server_port}"
    return serving.check(url, "mine", known=KNOWN, image=image, timeout_s=timeout_s)


def test_the_first_answer_is_compared_with_transformers(stand_in, image):
    assert check(stand_in, image) == pytest.approx(1e-4)
    asked = stand_in.asked
    assert asked is not None
    assert asked["model"] == "mine"
    assert asked["max_tokens"] == 2
    assert [part["type"] for part in asked["messages"][0]["content"]] == ["image_url", "text"]


def test_another_prompt_is_refused(stand_in, image):
    stand_in.reply = {**SAME, "prompt_token_ids": [1, 2, 2, 2, 3]}
    with pytest.raises(RunFailedError, match="another prompt than transformers: 5 tokens in place"):
        check(stand_in, image)


def test_other_weights_are_refused(stand_in, image):
    logprobs = {"content": [{"logprob": -0.9}, {"logprob": -0.25}]}
    stand_in.reply = {**SAME, "choices": [{"token_ids": [7, 8], "logprobs": logprobs}]}
    with pytest.raises(RunFailedError, match=r"log-probabilities are 0.2 apart per token"):
        check(stand_in, image)


def test_a_refused_image_is_one_line_with_the_reason(stand_in, image):
    stand_in.reply, stand_in.status = {"error": {"message": "no\nimages"}}, 400
    with pytest.raises(RunFailedError, match=r"refuses a question about an image: .*no") as caught:
        check(stand_in, image)
    assert "\n" not in str(caught.value)


def test_a_server_that_hangs_is_given_up(stand_in, image):
    stand_in.delay_s = 1.0
    with pytest.raises(RunFailedError, match=r"did not answer .* within 0.2 s: timed out"):
        check(stand_in, image, timeout_s=0.2)


def test_a_port_that_is_taken_is_named():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port {port} of 127.0.0.1 cannot be taken"):
            serving.require_free("127.0.0.1", port)
    serving.require_free("127.0.0.1", port)


def test_the_command_names_model_address_and_limits(tmp_path):
    argv = serving.command(tmp_path, SETTINGS, known=KNOWN, trust_remote_code=False)
    words = argv[argv.index("serve") :]
    assert words[:2] == ["serve", str(tmp_path)]
    assert words[2:8] == ["--host", "127.0.0.1", "--port", "8001", "--served-model-name", "mine"]
    assert words[-4:] == ["--max-num-batched-tokens", "4096", "--max-model-len", "512"]
    assert "--no-enable-chunked-prefill" in words
    assert argv[3] == str(os.getpid())


def test_the_line_for_curl_is_the_request_about_an_image_file(image):
    line = serving.curl("http://127.0.0.1:1", "mine", question="What's there?", image=image)
    shown = subprocess.run(
        ["bash", "-c", line.replace("curl", "printf '%s\\n'", 1)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    assert shown[0] == "http://127.0.0.1:1/v1/chat/completions"
    assert json.loads(shown[-1]) == serving.body("mine", "What's there?", serving.data_url(image))


def test_the_server_ends_with_a_parent_that_is_killed(tmp_path):
    program = (
        "import os, subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, sys.argv[1], str(os.getpid()), 'SLEEP', '60'])\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(60)\n"
    ).replace("'SLEEP'", "sys.argv[2]")
    sleep = next(str(each) for each in map(Path, ("/bin/sleep", "/usr/bin/sleep")) if each.exists())
    parent = subprocess.Popen(
        [sys.executable, "-c", program, str(Path(tied.__file__)), sleep],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    deadline = time.monotonic() + 20
    while Path(f"/proc/{child}/comm").read_text().strip() != "sleep":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    while Path(f"/proc/{child}").exists() and _state(child) != "Z":
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return "Z"
