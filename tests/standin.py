"""A stand-in for an OpenAI-compatible chat endpoint on loopback, which answers as a test says."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from PIL import Image

MODEL = "stand-in"


@dataclass
class Response:
    """What the endpoint sends back."""

    body: bytes
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    hang: bool = False
    """True: nothing is sent until the server ends."""
    cut: bool = False
    """True: the connection ends in the middle of the body."""


def said(text: str | None, *, finish: str = "stop", **message: Any) -> Response:
    """Return an answer of 10 tokens to a prompt of 100."""
    choice = {"message": {"role": "assistant", "content": text, **message}, "finish_reason": finish}
    usage = {"prompt_tokens": 100, "completion_tokens": 10}
    return Response(
        json.dumps({"model": f"{MODEL}-1", "choices": [choice], "usage": usage}).encode()
    )


def error(status: int, message: str, **headers: str) -> Response:
    """Return an error in OpenAI's form."""
    body = json.dumps({"error": {"message": message, "code": "some_code"}}).encode()
    return Response(body, status, headers)


@dataclass
class Asked:
    """One request, as the endpoint reads it."""

    path: str
    authorization: str | None
    body: dict[str, Any]

    @property
    def images(self) -> list[Image.Image]:
        """The images, in order."""
        parts = [part for part in self.body["messages"][0]["content"] if "image_url" in part]
        files = [base64.b64decode(part["image_url"]["url"].partition(",")[2]) for part in parts]
        return [Image.open(io.BytesIO(file)) for file in files]

    @property
    def question(self) -> str:
        """The text, which is the last part."""
        return str(self.body["messages"][0]["content"][-1]["text"])


def seen(question: str, images: list[Image.Image]) -> str:
    """Return a name for a question about these pixels, in this order."""
    digest = hashlib.sha256(question.encode())
    for image in images:
        digest.update(f"{image.size}".encode() + image.convert("RGB").tobytes())
    return digest.hexdigest()


@dataclass
class StandIn:
    """A running endpoint."""

    url: str
    asked: list[Asked]
    """All requests so far, in the order in which they came."""


@contextmanager
def serving(answer: Callable[[Asked], Response]) -> Iterator[StandIn]:
    """Serve `POST /v1/chat/completions` by a function, and `GET /v1/models`."""
    over = threading.Event()
    asked: list[Asked] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._send(Response(json.dumps({"data": [{"id": MODEL}]}).encode()))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            one = Asked(self.path, self.headers.get("Authorization"), body)
            asked.append(one)
            wrong = self.path != "/v1/chat/completions"
            self._send(Response(b"<html>not here</html>", 404) if wrong else answer(one))

        def _send(self, response: Response) -> None:
            if response.hang:
                over.wait(10)
                self.close_connection = True
                return
            self.send_response(response.status)
            self.send_header("Content-Length", str(len(response.body)))
            for name, value in response.headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            half = len(response.body) // 2
            self.wfile.write(response.body[:half] if response.cut else response.body)
            self.close_connection = response.cut

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield StandIn(f"http://127.0.0.1:{server.server_address[1]}/v1", asked)
    finally:
        over.set()
        server.shutdown()
        server.server_close()
        thread.join()
