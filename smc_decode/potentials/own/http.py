"""A reward service behind HTTP, at an address that the operator sets; clients never name one.

``POST url`` with ``{"prompt", "answers": [{"text", "finished"}], "params"}`` gives ``{"rewards": [r, ...]}``,
each r a number in [0, 1] or ``{"value", "detail"}``. Scoring changes nothing, so a call is repeated after a
time-out, a lost connection and 429, 502, 503 or 504, unless ``idempotent`` is false: then only when it certainly
was not received. After ``breaker_failures`` failures in a row the service is left alone for ``breaker_seconds``,
and requests fail at once.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from smc_decode.backoff import asked_seconds, delay_seconds
from smc_decode.potentials.base import Prefix, Reward, RewardFailure, RewardSource
from smc_decode.potentials.cache import gather
from smc_decode.potentials.declaration import Kind, Resources
from smc_decode.potentials.function import as_reward
from smc_decode.potentials.options import Finite, Options, RewardConfigError, RewardRequest, require

if TYPE_CHECKING:
    import httpx

REPEATABLE = frozenset({429, 502, 503, 504})
MAX_ANSWER_BYTES = 8 << 20


class ServiceOptions(Options):
    """``api_key_env``: the environment variable whose value is sent as a bearer token. ``parallel``: calls at a time.
    ``retries`` after the first try, ``backoff`` seconds before the first of them, doubled each time. All are the
    operator's."""

    url: str = Field(max_length=2000)
    headers: dict[str, str] = Field(default_factory=dict)
    api_key_env: str | None = None
    parallel: int = Field(4, ge=1, le=64)
    timeout: Finite = Field(10.0, gt=0, le=600)
    retries: int = Field(2, ge=0, le=10)
    backoff: Finite = Field(0.2, ge=0, le=10)
    idempotent: bool = True
    breaker_failures: int = Field(5, ge=1)
    breaker_seconds: Finite = Field(30.0, gt=0)

    @field_validator("url")
    @classmethod
    def _is_http(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("must be an http:// or https:// address")
        return url


class HTTPOptions(ServiceOptions):
    """``batch_size``: answers in one call. ``params`` are handed on to the service."""

    params: dict[str, Any] = Field(default_factory=dict)
    batch_size: int = Field(32, ge=1, le=1024)
    judge_prefixes: bool = False
    cacheable: bool = True


class CircuitBreaker:
    """Closed until ``failures`` failures in a row; then open for ``seconds``, after which one call tries again."""

    def __init__(self, failures: int, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = failures
        self._seconds = seconds
        self._clock = clock
        self._failures = 0
        self._open_until = 0.0

    def check(self) -> None:
        """Raises RewardFailure while the circuit is open."""
        if self._failures >= self._limit:
            wait = self._open_until - self._clock()
            if wait > 0:
                raise RewardFailure(f"the reward service failed {self._failures} times; next try in {wait:.0f} s")
            self._open_until = self._clock() + self._seconds  # this call is the one that tries

    def succeeded(self) -> None:
        self._failures = 0

    def failed(self) -> None:
        self._failures += 1
        if self._failures >= self._limit:
            self._open_until = self._clock() + self._seconds


class RewardService:
    """The client of one service, shared by all requests of one reward. ``path``: what is asked of it, below ``url``.

    Raises RewardConfigError.
    """

    def __init__(
        self, options: ServiceOptions, transport: httpx.AsyncBaseTransport | None = None, *, path: str = ""
    ) -> None:
        headers = dict(options.headers)
        if options.api_key_env is not None:
            key = os.environ.get(options.api_key_env)
            if not key:
                raise RewardConfigError(f"the environment variable {options.api_key_env} is not set")
            headers["Authorization"] = f"Bearer {key}"
        self.options = options
        self._url = f"{options.url.rstrip('/')}{path}" if path else options.url
        self.breaker = CircuitBreaker(options.breaker_failures, options.breaker_seconds)
        self._places = asyncio.Semaphore(options.parallel)
        self._client: httpx.AsyncClient = require("httpx", "remote").AsyncClient(
            headers=headers, timeout=options.timeout, follow_redirects=False, trust_env=False, transport=transport
        )

    async def score(self, body: Mapping[str, Any]) -> Any:
        """The service's answer. Raises RewardFailure when there is none after all tries."""
        options = self.options
        async with self._places:
            for attempt in range(options.retries + 1):
                self.breaker.check()
                try:
                    answer = await self._post(body)
                except _Again as error:
                    self.breaker.failed()
                    if attempt == options.retries:
                        raise RewardFailure(f"the reward service failed: {error}") from error
                    await asyncio.sleep(delay_seconds(attempt, options.backoff, error.wait))
                except RewardFailure:
                    self.breaker.failed()
                    raise
                else:
                    self.breaker.succeeded()
                    return answer
        raise RewardFailure("the reward service failed")

    async def _post(self, body: Mapping[str, Any]) -> Any:
        import httpx

        try:
            async with (
                asyncio.timeout(self.options.timeout),
                self._client.stream("POST", self._url, json=body) as got,
            ):
                if got.status_code in REPEATABLE and self.options.idempotent:
                    raise _Again(f"status {got.status_code}", asked_seconds(got.headers))
                if got.status_code != 200:
                    raise RewardFailure(f"the reward service answered with status {got.status_code}")
                content = bytearray()
                async for part in got.aiter_bytes():
                    content += part
                    if len(content) > MAX_ANSWER_BYTES:
                        raise RewardFailure(f"the reward service's answer has more than {MAX_ANSWER_BYTES} bytes")
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise _Again(f"no connection: {type(error).__name__}") from error
        except (httpx.HTTPError, TimeoutError) as error:
            if self.options.idempotent:
                raise _Again(type(error).__name__) from error
            raise RewardFailure(f"the reward service failed: {type(error).__name__}") from error
        try:
            return httpx.Response(200, content=bytes(content)).json()
        except (ValueError, RecursionError) as error:
            raise RewardFailure("the reward service's answer is no JSON") from error

    async def aclose(self) -> None:
        await self._client.aclose()


class _Again(Exception):
    """The call may be repeated, after ``wait`` seconds at least."""

    def __init__(self, message: str, wait: float = 0.0) -> None:
        super().__init__(message)
        self.wait = wait


class HTTPReward(RewardSource):
    """The reward source."""

    def __init__(
        self, options: HTTPOptions, request: RewardRequest, service: RewardService, *, name: str = "http"
    ) -> None:
        self.name = name
        self.options = options
        self.prefixes = options.judge_prefixes
        self.cacheable = options.cacheable
        self._service = service
        self._task = request.task

    async def rewards(self, batch: Sequence[Prefix]) -> list[Reward]:
        size = self.options.batch_size
        chunks = [batch[start : start + size] for start in range(0, len(batch), size)]
        return [reward for rewards in await gather(map(self._chunk, chunks)) for reward in rewards]

    async def _chunk(self, prefixes: Sequence[Prefix]) -> list[Reward]:
        answers = [{"text": prefix.text, "finished": prefix.finished} for prefix in prefixes]
        body = {"prompt": self._task, "answers": answers, "params": self.options.params}
        answer = await self._service.score(body)
        rewards = answer.get("rewards") if isinstance(answer, Mapping) else None
        if not isinstance(rewards, list) or len(rewards) != len(prefixes):
            raise RewardFailure(f"reward {self.name!r}: the service must answer with {len(prefixes)} rewards")
        return [self._reward(reward) for reward in rewards]

    def _reward(self, reward: object) -> Reward:
        if isinstance(reward, Mapping):
            reward = (reward.get("value"), reward.get("detail") or {})
        try:
            service = f"the service of {self.name!r}"
            return as_reward(reward, service, service)
        except ValueError as error:  # the service is at fault, not the request
            raise RewardFailure(str(error)) from error


def no_key(resources: Resources, options: Mapping[str, Any]) -> str:
    """``missing`` of what asks a service."""
    key = options.get("api_key_env")
    return f"the environment variable {key} is not set" if key and key not in os.environ else ""


KIND = Kind(
    "A reward service of the operator's",
    HTTPOptions,
    lambda options, context: HTTPReward(
        options, context.request, context.shared("service", lambda: RewardService(options)), name=context.name
    ),
    request_params=("params",),
    operator_only=tuple(name for name in HTTPOptions.model_fields if name not in ("params", "judge_prefixes")),
    missing=no_key,
    builtin=False,
)
