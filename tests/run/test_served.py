"""Requests to an endpoint, and everything that it may answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from geovlm.config.served import ServedConfig
from geovlm.errors import ConfigError, DataError
from geovlm.run.served import faults, limits, request
from geovlm.run.served.cache import FILE, AnswerCache
from geovlm.run.served.client import Client
from geovlm.run.served.faults import EndpointError
from geovlm.run.served.reply import Reply, completion
from geovlm.run.served.request import Request
from tests.standin import MODEL, Asked, Response, StandIn, error, said, serving

KEY = "sk-geovlm-0123456789abcdef"
SHARP = Image.linear_gradient("L").convert("RGB").resize((20, 30))
GREY = Image.new("RGB", (40, 10), (128, 128, 128))


def settings(url: str = "http://127.0.0.1:9/v1", **changed: object) -> ServedConfig:
    quick = {"timeout_s": 60, "backoff_s": 0.001, "retries": 2}
    return ServedConfig.model_validate({"base_url": url, **quick, **changed})


def question(used: ServedConfig, *, text: str = "What?", seed: int = 3) -> Request:
    return request.make(
        MODEL,
        question=text,
        images=[SHARP, GREY],
        settings=used,
        max_tokens=64,
        temperature=0.0,
        seed=seed,
    )


def ask(used: ServedConfig, **how: bool) -> Reply:
    async def once() -> Reply:
        async with Client(used) as client:
            return await client.ask(question(used), **how)

    return asyncio.run(once())


def refused(answer: Callable[[Asked], Response], **changed: object) -> tuple[str, StandIn]:
    """Return the line of an error, and what was asked until then."""
    with serving(answer) as server, pytest.raises(EndpointError) as caught:
        ask(settings(server.url, **changed))
    assert "\n" not in str(caught.value)
    return str(caught.value), server


def in_turn(*responses: Response) -> Callable[[Asked], Response]:
    left = list(responses)
    return lambda _: left.pop(0)


def test_a_request_holds_both_images_in_order_then_the_question() -> None:
    with serving(lambda _: said("yes")) as server:
        assert ask(settings(server.url)).text == "yes"
    (asked,) = server.asked
    first, second = asked.images
    assert first.format == "PNG"
    assert first.tobytes() == SHARP.tobytes()
    assert second.size == (40, 10)
    assert asked.question == "What?"
    rest = {key: asked.body[key] for key in asked.body.keys() - {"messages"}}
    assert rest == {"model": MODEL, "max_tokens": 64, "temperature": 0.0, "seed": 3}


def test_jpeg_has_the_quality_asked_for() -> None:
    files = [
        request.encoded(SHARP, settings=settings(image_format="jpeg", jpeg_quality=quality))
        for quality in (20, 95)
    ]
    assert [file[:2] for file in files] == [b"\xff\xd8"] * 2
    assert len(files[0]) < len(files[1])


def test_parameters_are_added_left_out_and_renamed() -> None:
    used = settings(
        parameters={"reasoning_effort": "low"},
        omit=["temperature", "seed"],
        max_tokens_key="max_completion_tokens",
        image_detail="high",
    )
    body = question(used).body()
    assert body["messages"][0]["content"][0]["image_url"]["detail"] == "high"
    assert set(body) == {"model", "messages", "max_completion_tokens", "reasoning_effort"}


def test_the_key_of_a_request_is_its_content_not_its_address() -> None:
    one, other = question(settings()), question(settings("https://elsewhere.example/v1"))
    assert one.key() == other.key()
    different = {
        question(settings(), text="Why?").key(),
        question(settings(), seed=4).key(),
        question(settings(image_format="jpeg")).key(),
        question(settings(image_format="jpeg", jpeg_quality=50)).key(),
        question(settings(parameters={"top_p": 0.5})).key(),
        one.key(),
    }
    assert len(different) == 6


@pytest.mark.parametrize(
    ("message", "cut", "expected"),
    [
        ({"content": "<answer> a </answer>"}, False, "<answer> a </answer>"),
        (
            {"content": "<answer> a </answer>", "reasoning_content": "So."},
            False,
            "<think>So.</think><answer> a </answer>",
        ),
        ({"content": "<answer> a </answer>", "reasoning": "So."}, False,
         "<think>So.</think><answer> a </answer>"),
        ({"content": "<think> b </think>c", "reasoning": "So."}, False, "<think> b </think>c"),
        ({"content": "So. </think><answer> a </answer>"}, False,
         "<think>So. </think><answer> a </answer>"),
        ({"content": None, "reasoning": "So and"}, True, "<think>So and"),
        ({"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}, False, "ab"),
        ({"content": None}, False, ""),
    ],
)  # fmt: skip
def test_a_completion_has_the_grammar_of_answers(
    message: dict[str, object], cut: bool, expected: str
) -> None:
    assert completion(message, cut=cut) == expected


def test_refusals_and_cut_answers_are_told_apart() -> None:
    answers = [
        said(None, refusal="I cannot help with that."),
        said("", finish="content_filter"),
        said("<think> and", finish="length"),
        said("  "),
        Response(b'{"error": {"message": "filtered", "code": "content_filter"}}', 400),
    ]
    with serving(in_turn(*answers)) as server:
        found = [ask(settings(server.url)) for _ in answers]
    assert [each.refused for each in found] == [True, True, False, False, True]
    assert [each.cut for each in found] == [False, False, True, False, False]
    assert [each.empty for each in found] == [False, False, False, True, False]
    assert found[0].text == ""


def test_a_busy_server_is_asked_again() -> None:
    busy = [error(429, "slow down"), error(503, "loading model")]
    with serving(in_turn(*busy, said("yes"))) as server:
        assert ask(settings(server.url)).text == "yes"
    assert len(server.asked) == 3


def test_retry_after_takes_the_place_of_the_backoff() -> None:
    with serving(in_turn(error(429, "slow", Retry_After="0.05"), said("yes"))) as server:
        began = time.monotonic()
        ask(settings(server.url, backoff_s=60))
        assert 0.05 <= time.monotonic() - began < 30  # half of the longest backoff


def test_a_wait_of_hours_is_not_waited_for() -> None:
    line, server = refused(lambda _: error(429, "tomorrow", Retry_After="7200"))
    assert "it asks to wait 7200 s" in line
    assert len(server.asked) == 1


def test_attempts_end() -> None:
    line, server = refused(lambda _: error(500, "out of memory"))
    assert line == f"{server.url}/chat/completions: HTTP 500: out of memory, 3 times"
    assert len(server.asked) == 3


def test_the_backoff_doubles_and_has_jitter() -> None:
    client = Client(settings(backoff_s=1.0))
    waits = [client._wait(faults.Fault("", again=True), n) for n in (1, 2, 3, 20)]
    for wait, longest in zip(waits, (1, 2, 4, 60), strict=True):
        assert longest / 2 <= wait <= longest


def test_no_server_is_one_line() -> None:
    with serving(lambda _: said("yes")) as server:
        url = server.url
    with pytest.raises(EndpointError, match=r"no server answers at .*is the server up\?"):
        ask(settings(url), patient=False)


def test_a_hang_ends_within_the_time() -> None:
    began = time.monotonic()
    line, _ = refused(lambda _: Response(b"", hang=True), timeout_s=0.1, retries=1)
    assert time.monotonic() - began < 30
    assert "did not answer within 0.1 s, 2 times" in line


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        (error(401, f"Incorrect API key provided: {KEY}."), "does not accept the key: HTTP 401"),
        (error(404, f"The model `{MODEL}` does not exist"), f"has no model '{MODEL}'"),
        (Response(b"<html>nginx</html>", 404), "it often ends in /v1"),
        (error(301, ""), "give the final address"),
        (error(400, "this model does not support image input"), "does the model take images?"),
        (error(400, "use 'max_completion_tokens' instead"),
         "--set served.max_tokens_key=max_completion_tokens"),
        (error(400, "'temperature' does not support 0.0"), 'served.omit=["temperature"]'),
        (Response(b"<!doctype html>", headers={"Content-Type": "text/html"}), "web page"),
        (Response(b'{"choices": [{"mess'), "JSON that ends too early"),
        (Response(b'{"choices": []}'), "answers without a message"),
        (Response(b'{"error": {"message": "no credits", "code": 402}}'), "no credits"),
        (said("x" * 1000).__class__(said("x" * 1000).body, cut=True), "the connection broke"),
    ],
)  # fmt: skip
def test_what_is_no_answer_is_one_line_that_says_so(
    response: Response, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    line, server = refused(lambda _: response, retries=0)
    assert expected in line
    assert KEY not in line
    assert server.asked[0].authorization == f"Bearer {KEY}"


def test_a_wrong_model_is_shown_the_models_there_are() -> None:
    with serving(lambda _: error(404, "model stand-inn not found")) as server:
        used = settings(server.url)

        async def once() -> Reply:
            async with Client(used) as client:
                made = question(used)
                return await client.ask(Request(
                    model="stand-inn", question=made.question, images=made.images,
                    settings=used, parameters={},
                ))  # fmt: skip

        with pytest.raises(EndpointError, match=f"did you mean '{MODEL}'"):
            asyncio.run(once())


def test_a_used_up_quota_is_not_waited_for() -> None:
    body = b'{"error": {"message": "you exceeded your quota", "code": "insufficient_quota"}}'
    line, server = refused(lambda _: Response(body, 429))
    assert "the quota of the key is used up" in line
    assert len(server.asked) == 1


def test_without_a_key_none_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with serving(lambda _: said("yes")) as server:
        ask(settings(server.url))
    assert server.asked[0].authorization is None


def test_a_variable_that_is_named_must_be_there() -> None:
    with pytest.raises(ConfigError, match="has no variable GEOVLM_NO_SUCH_KEY"):
        Client(settings(api_key_env="GEOVLM_NO_SUCH_KEY"))


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"base_url": "localhost:8000"}, "is not an address"),
        ({"base_url": f"https://me:{KEY}@host/v1"}, "no user, password or query"),
        ({"base_url": f"https://host/v1?key={KEY}"}, "no user, password or query"),
        ({"api_key_env": KEY}, "never the key itself"),
        ({"cost_limit": 1}, "needs input_price and output_price"),
        ({"parameters": {"messages": []}}, "cannot be set"),
    ],
)
def test_settings_that_cannot_work_are_refused(changed: dict[str, object], expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        settings(**changed)


def test_the_rate_of_requests_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(limits.asyncio, "sleep", sleep)
    pace = limits.Pace(per_minute=60)

    async def three() -> None:
        for _ in range(3):
            await pace.wait()

    asyncio.run(three())
    assert slept == pytest.approx([1, 2], abs=0.5)


def a_reply(**changed: object) -> Reply:
    given = {"text": "yes", "finish": "stop", "refused": False, "model": MODEL}
    return Reply(**{**given, "prompt_tokens": 1000, "completion_tokens": 50, **changed})


def test_the_limits_count_tokens_and_money() -> None:
    priced = settings(input_price=2.5, output_price=10, cost_limit=0.005)
    budget = limits.Budget(priced)
    budget.spend(a_reply())
    assert budget.over() is None  # (1000 * 2.5 + 50 * 10) / 1e6 = 0.003
    budget.spend(a_reply())
    assert budget.over() == "0.006 by the prices given, served.cost_limit is 0.005"
    tokens = limits.Budget(settings(token_limit=1050))
    tokens.spend(a_reply())
    assert tokens.over() == "1,050 tokens, served.token_limit is 1,050"


def test_answers_are_kept_by_key(tmp_path: Path) -> None:
    cache = AnswerCache(tmp_path / "served")
    assert cache.get("a") is None
    assert not (tmp_path / "served").exists()
    cache.put("a", a_reply(finish="length"))
    assert AnswerCache(tmp_path / "served").get("a") == a_reply(finish="length")
    assert cache.get("b") is None


def test_a_file_that_is_no_cache_is_named(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("answers" * 100)
    with pytest.raises(DataError, match="the cache of answers cannot be used"):
        AnswerCache(tmp_path).get("a")
