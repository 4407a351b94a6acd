"""What a replica in somebody else's cluster does, as far as it needs no cluster."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import ValidationError

from smc_decode.serving.arguments import Arguments
from smc_decode.serving.asgi import Fronted
from smc_decode.serving.scaling import SLOTS, by_slots


async def hello(scope: Any, receive: Any, send: Any) -> None:
    headers = [(b"X-Request-Id", b"ours"), (b"content-type", b"text/plain")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"hello"})


async def ask(app: Fronted, client: Any, *headers: tuple[bytes, bytes]) -> list[Any]:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request"}

    await app({"type": "http", "client": client, "headers": list(headers)}, receive, send)
    return sent


@pytest.mark.parametrize("client", [("127.0.0.1", 1), ("::1", 1), ("127.0.0.9", 1)])
async def test_without_keys_clients_on_this_machine_are_let_in(client: Any) -> None:
    start, body = await ask(Fronted(hello, open_to_others=False), client)
    assert start["status"] == 200
    assert body["body"] == b"hello"


@pytest.mark.parametrize("client", [("10.0.0.7", 1), ("fe80::1", 1), ("unknown", 1), None])
async def test_without_keys_others_get_an_error_that_says_what_to_do(client: Any) -> None:
    start, body = await ask(Fronted(hello, open_to_others=False), client)
    assert start["status"] == 401
    assert b"api_key_file" in body["body"]
    assert (await ask(Fronted(hello, open_to_others=True), client))[0]["status"] == 200


async def test_a_request_that_the_proxy_has_named_gets_one_id() -> None:
    app = Fronted(hello, open_to_others=True)
    named = await ask(app, None, (b"x-request-id", b"theirs"))
    assert [name for name, _ in named[0]["headers"]] == [b"content-type"]
    assert (await ask(app, None))[0]["headers"][0] == (b"X-Request-Id", b"ours")


async def test_what_is_no_request_goes_through() -> None:
    seen = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["type"])

    await Fronted(app, open_to_others=False)({"type": "lifespan"}, None, None)  # type: ignore[arg-type]
    assert seen == ["lifespan"]


async def test_the_work_that_goes_on_is_drained_before_the_application_ends() -> None:
    order = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        order.append((await receive())["type"])
        order.append((await receive())["type"])

    messages = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])

    async def receive() -> Any:
        return next(messages)

    async def drain() -> bool:
        order.append("drained")
        return True

    await Fronted(app, open_to_others=False, drain=drain)({"type": "lifespan"}, receive, None)  # type: ignore[arg-type]
    assert order == ["lifespan.startup", "drained", "lifespan.shutdown"]


def context(running: int, figures: dict[str, float | None], target: float = 0.5) -> Any:
    return SimpleNamespace(
        current_num_replicas=running,
        aggregated_metrics={SLOTS: figures} if figures else {},
        config=SimpleNamespace(target_ongoing_requests=target),
    )


@pytest.mark.parametrize(
    ("running", "figures", "wanted"),
    [
        (2, {"a": 1.0, "b": 1.0}, 4),
        (2, {"a": 0.5, "b": 0.5}, 2),
        (4, {"a": 0.1, "b": 0.1, "c": 0.0, "d": None}, 1),
        (3, {}, 3),
        (0, {}, 1),
        (2, {"a": 0.0, "b": 0.0}, 1),
    ],
)
def test_replicas_grow_and_shrink_with_the_slots_in_use(running: int, figures: Any, wanted: int) -> None:
    assert by_slots(context(running, figures)) == (wanted, {})


def test_arguments_are_checked() -> None:
    assert Arguments.model_validate({"replicas": "2", "num_gpus": 1}).replicas == 2
    with pytest.raises(ValidationError, match="max_replicas"):
        Arguments(replicas=3, max_replicas=2)
    with pytest.raises(ValidationError, match="extra"):
        Arguments.model_validate({"replica": 2})
