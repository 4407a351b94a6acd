"""A vLLM server of the test's own: its HTTP routes over a table of next-token laws, with faults to order."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from typing import Any

import httpx
import numpy as np
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from smc_decode.engines.remote.engine import RemoteEngine, RemoteSettings

Law = Callable[[tuple[int, ...]], Any]
Fault = Callable[[], Response | Exception | None]
NAME = "fake"


class FakeTokenizer:
    """One token a character, modulo the vocabulary."""

    def __init__(self, vocab_size: int) -> None:
        self._size = vocab_size

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        return [ord(c) % self._size for c in text]

    def decode(self, token_ids: Sequence[int], *, skip_special_tokens: bool = True) -> str:
        return "".join(chr(ord("a") + token) for token in token_ids)

    def apply_chat_template(self, messages: Sequence[Any], **kwargs: Any) -> list[int]:
        return self.encode("".join(message["content"] for message in messages))


class FakeVLLM:
    """``law`` sees the tokens after the first, which stands for the prompt; ``eos`` ends a completion.

    ``weighs``: has the logits processor that tells log q and log z. ``faults``: what the next completions do instead;
    ``tamper`` changes a reply; ``seen`` are all bodies. ``apart``: each of ``n`` sequences has noise of its own.
    """

    def __init__(
        self,
        law: Law,
        vocab_size: int,
        eos: int | None = 0,
        *,
        mode: str = "raw_logprobs",
        length: int = 4096,
        weighs: bool = False,
    ) -> None:
        self._law = law
        self._eos = eos
        self._laws: dict[tuple[int, ...], np.ndarray] = {}
        self.vocab_size = vocab_size
        self.mode = mode
        self.weighs = weighs
        self.apart = True
        self.max_logprobs = 20
        self.up = True
        self.length = length
        self.key: str | None = None
        self.seen: list[dict[str, Any]] = []
        self.faults: list[Any] = []
        self.tamper: Callable[[dict[str, Any]], Any] = lambda reply: reply
        self.gate: asyncio.Event | None = None
        self.working = 0
        self.tokenizer = FakeTokenizer(vocab_size)
        self.app = Starlette(
            routes=[
                Route("/health", self._health),
                Route("/v1/models", self._models),
                Route("/tokenize", self._tokenize, methods=["POST"]),
                Route("/v1/completions", self._completions, methods=["POST"]),
            ]
        )

    @property
    def drawn(self) -> list[dict[str, Any]]:
        """Bodies of the completions that draw for a run."""
        return [body for body in self.seen if "prompt_logprobs" not in body]

    def forget(self) -> None:
        """What was asked so far: the engine's checks."""
        self.seen.clear()

    async def _health(self, request: Request) -> Response:
        return Response(status_code=200 if self.up else 503)

    async def _models(self, request: Request) -> Response:
        return JSONResponse({"data": [{"id": NAME, "root": "/models/fake", "max_model_len": self.length}]})

    async def _tokenize(self, request: Request) -> Response:
        body = await request.json()
        text = body["prompt"] if "prompt" in body else body["messages"][0]["content"]
        return JSONResponse({"tokens": self.tokenizer.encode(text)})

    async def _completions(self, request: Request) -> Response:
        body = await request.json()
        if self.key is not None and request.headers.get("authorization") != f"Bearer {self.key}":
            return JSONResponse({"error": "Unauthorized"}, 401)
        self.seen.append(body)
        if self.faults:
            fault = self.faults.pop(0)
            if isinstance(fault, Exception):
                raise fault
            return fault
        if max(body["prompt"]) >= self.vocab_size:
            return JSONResponse({"error": {"message": "Token id is out of vocabulary"}}, 400)
        if (body.get("logprobs") or 0) > self.max_logprobs:
            return JSONResponse({"error": {"message": "Requested sample logprobs of 20, greater than max"}}, 400)
        self.working += 1
        try:
            if self.gate is not None:
                await self.gate.wait()
        finally:
            self.working -= 1
        seeds = [body["seed"] + i * self.apart if "seed" in body else None for i in range(body.get("n", 1))]
        choices = [self._choice({**body, "seed": seed}, index) for index, seed in enumerate(seeds)]
        reply = {"choices": choices, "usage": {"prompt_tokens_details": {"cached_tokens": 1}}}
        made = self.tamper(reply)
        return made if isinstance(made, Response) else JSONResponse(made)

    def _logprobs(self, tokens: tuple[int, ...]) -> np.ndarray:
        if tokens not in self._laws:
            law = np.asarray(self._law(tokens), dtype=float)
            self._laws[tokens] = law - np.logaddexp.reduce(law)
        return self._laws[tokens]

    def _choice(self, body: dict[str, Any], index: int = 0) -> dict[str, Any]:
        prompt: list[int] = body["prompt"]
        choice: dict[str, Any] = {"index": index, "text": ""}
        if (top := body.get("prompt_logprobs")) is not None:
            rows: list[Any] = [None]
            for i in range(1, len(prompt)):
                law = self._logprobs(tuple(prompt[1:i]))
                ids = dict.fromkeys([prompt[i], *np.argsort(-law)[:top].tolist()])
                rows.append({str(t): {"logprob": _clamped(law[t]), "rank": 1, "decoded_token": "?"} for t in ids})
            choice["prompt_logprobs"] = rows
        noise = np.random.default_rng(body.get("seed"))
        tokens: list[int] = []
        told: list[float] = []
        tops: list[dict[str, float]] = []
        reason = "length"
        stops = set(body.get("stop_token_ids", ()))
        if not body.get("ignore_eos") and self._eos is not None:
            stops.add(self._eos)
        for _ in range(body["max_tokens"]):
            law = self._logprobs((*prompt[1:], *tokens))
            processed = _processed(law, body, len(tokens), stops)
            token = int(noise.choice(self.vocab_size, p=np.exp(processed)))
            shown = law if self.mode == "raw_logprobs" else processed
            wanted = body.get("logprob_token_ids") or np.argsort(-shown)[: body.get("logprobs") or 0].tolist()
            tokens.append(token)
            told.append(_clamped(shown[token]))
            tops.append({f"token_id:{t}": _clamped(shown[t]) for t in dict.fromkeys([token, *wanted])})
            asked = body.get("vllm_xargs", {})
            if self.weighs and "smc_labels" in asked:
                others = [t for t in range(len(asked["smc_labels"]) + 1) if t != token]
                tops[-1] = {
                    f"token_id:{t}": _clamped(law[v]) for t, v in zip(others, asked["smc_labels"], strict=False)
                }
            if self.weighs and "smc_columns" in asked:
                powered = asked.get("smc_alpha", 1.0) * law[processed > -np.inf]
                values = {"q": processed[token], "z": np.logaddexp.reduce(powered)}
                others = [t for t in range(3) if t != token]
                tops[-1] = {f"token_id:{token}": law[token]}
                tops[-1] |= {f"token_id:{t}": values[c] for t, c in zip(others, asked["smc_columns"], strict=False)}
            if token in stops:
                reason = "stop"
                break
        if body.get("logprobs") is not None:
            choice["logprobs"] = {"token_logprobs": told, "top_logprobs": tops}
        return choice | {"token_ids": tokens, "finish_reason": reason}


def _processed(law: np.ndarray, body: dict[str, Any], drawn: int, stops: set[int]) -> np.ndarray:
    """The law that a token is drawn from."""
    logits = law.copy()
    for token, bias in (body.get("logit_bias") or {}).items():
        logits[int(token)] += bias
    if drawn < body.get("min_tokens", 0):
        logits[list(stops)] = -np.inf
    if body["temperature"] == 0:
        best = np.full(len(law), -np.inf)
        best[int(np.argmax(logits))] = 0.0
        return best
    logits = logits / body["temperature"]
    if body["top_k"]:
        logits[logits < np.sort(logits)[-body["top_k"]]] = -np.inf
    return logits - np.logaddexp.reduce(logits)


def _clamped(value: float) -> float:
    return -9999.0 if value == -math.inf else float(value)


class Network(httpx.AsyncBaseTransport):
    """The way to one fake server, which can be cut."""

    def __init__(self, server: FakeVLLM) -> None:
        self.server = server
        self._inner = httpx.ASGITransport(app=server.app, raise_app_exceptions=True)
        self.cut = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self.cut:
            raise httpx.ConnectError("connection refused", request=request)
        return await self._inner.handle_async_request(request)


class Router(httpx.AsyncBaseTransport):
    """A router before fake servers: by the session's id where a request has one, else each in turn.

    ``headers``: of all completions; ``finished``: sessions that it was told of; ``token``: what it gives with answers.
    """

    def __init__(self, *servers: FakeVLLM, header: str = "x-session-id", token: str | None = None) -> None:
        self.networks = [Network(server) for server in servers]
        self.headers: list[httpx.Headers] = []
        self.finished: list[str] = []
        self.told = asyncio.Event()
        self._header = header
        self._token = token
        self._sessions: dict[str, int] = {}
        self._turn = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/finish_session":
            self.finished.append(request.url.params["session_id"])
            self.told.set()
            return httpx.Response(200)
        self._turn += 1
        chosen = self._turn % len(self.networks)
        session = request.headers.get(self._header)
        if request.url.path == "/v1/completions":
            self.headers.append(request.headers)
            if session is not None:
                chosen = self._sessions.setdefault(session, len(self._sessions) % len(self.networks))
        response = await self.networks[chosen].handle_async_request(request)
        if self._token is not None:
            response.headers["x-session-token"] = self._token
        return response


class Fleet:
    """Fake servers at http://one, http://two..., and an engine before them."""

    def __init__(self, *servers: FakeVLLM, **settings: Any) -> None:
        names = ("one", "two", "three")
        self.servers = servers
        self.networks = {f"http://{name}": Network(server) for name, server in zip(names, servers, strict=False)}
        first = servers[0]
        values = {"urls": list(self.networks), "vocab_size": first.vocab_size, "backoff": 0.0, "probe_interval": 0.01}
        values["bundle"] = False  # most tests count requests: one a draw
        values["eos_token_ids"] = () if first._eos is None else (first._eos,)
        self.settings = RemoteSettings(**(values | settings))

    def network(self, name: str) -> Network:
        return self.networks[f"http://{name}"]

    async def engine(self) -> RemoteEngine:
        engine = await RemoteEngine.create(
            self.settings, tokenizer=self.servers[0].tokenizer, transport_of=self.networks.__getitem__
        )
        for server in self.servers:
            server.forget()
        return engine
