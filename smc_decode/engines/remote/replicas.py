"""The vLLM servers behind a remote engine: who is up, which one a request goes to, and trying again.

A request's sequences share a :class:`Lease` on one replica, whose prefix cache then holds their common prefix. A new
lease goes to the replica with the least live work; equal ones are told apart by the prompt's beginning, so that prompts
that begin alike meet the same cache. Calls change nothing on a server, and one that is made again with the same seed
draws from the same law, so a call that got no answer is repeated: on the same replica while its ``/health`` answers,
else on another, which computes the prefix anew. A replica that is out comes back when it passes the checks of the start
again: it may have been restarted with another model.

No circuit breaker of a library (purgatory): those count failures and close by the clock, where what matters here
is which replica holds a run's prefix, and whether a server that is back still serves the model that was checked.
"""

from __future__ import annotations

import asyncio
import json
import weakref
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any
from zlib import crc32

import httpx

from smc_decode.backoff import asked_seconds, delay_seconds
from smc_decode.engines.base import EngineError, EngineRequestError
from smc_decode.engines.remote.sessions import FINISH, Finishing, Session
from smc_decode.engines.remote.settings import RemoteSettings
from smc_decode.engines.remote.wire import BadReply

_HEALTH_SECONDS = 5.0
_MAX_MISSES = 2  # time-outs of /health in a row until a replica is out: a busy server answers late
_KEEP_ALIVE = 4.0  # below the 5 s after which vLLM closes an idle connection
_PREFIX = 64  # tokens of a prompt that choose among equal replicas

TransportOf = Callable[[str], httpx.AsyncBaseTransport]
Check = Callable[["Replica"], Awaitable[None]]


class NoAnswer(Exception):
    """A call that got no answer and may be made again. ``suspect``: the replica may be gone."""

    def __init__(self, message: str, *, suspect: bool, wait: float = 0.0) -> None:
        super().__init__(message)
        self.suspect = suspect
        self.wait = wait


class Lease:
    """Sequences that belong together, and the replica that holds their prefix. ``width``: how many go on at once."""

    __slots__ = ("__weakref__", "key", "replica", "session", "width")

    def __init__(self, prompt: Sequence[int]) -> None:
        self.key = crc32(repr(prompt[:_PREFIX]).encode())
        self.replica: Replica | None = None
        self.session = Session()
        self.width = 1


class Replica:
    """One vLLM server."""

    def __init__(self, url: str, settings: RemoteSettings, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self.url = url
        self.up = True
        self.fault = ""
        self.leases: weakref.WeakSet[Lease] = weakref.WeakSet()
        self._settings = settings
        self._most_bytes = settings.max_answer_bytes
        self._seconds = settings.timeout
        self._misses = 0
        self._look: asyncio.Task[None] | None = None
        # Without compression the size of what arrives is the size of what is kept.
        headers = {"accept-encoding": "identity"}
        if settings.api_key is not None:
            headers["authorization"] = f"Bearer {settings.api_key}"
        self._client = httpx.AsyncClient(
            base_url=url,
            headers=headers,
            timeout=httpx.Timeout(settings.timeout, connect=settings.connect_timeout, pool=None),
            limits=httpx.Limits(
                max_connections=settings.connections,
                max_keepalive_connections=settings.connections,
                keepalive_expiry=_KEEP_ALIVE,
            ),
            follow_redirects=False,
            trust_env=False,
            transport=transport,
        )

    @property
    def load(self) -> int:
        return sum(lease.width for lease in self.leases)

    async def get(self, path: str) -> Any:
        return await self._call("GET", path)

    async def post(self, path: str, body: Mapping[str, Any], session: Session | None = None) -> Any:
        """The reply's JSON. ``session``: of the run that asks.

        Raises NoAnswer: try again. EngineRequestError: the server will not do it. EngineError: it cannot.
        """
        return await self._call("POST", path, body, session)

    async def finish(self, session_id: str) -> None:
        """Tell a router that a run is over. Raises httpx.HTTPError."""
        await self._client.post(FINISH, params={"session_id": session_id}, timeout=_HEALTH_SECONDS)

    async def _call(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, session: Session | None = None
    ) -> Any:
        headers = {} if session is None else session.headers(self._settings)
        try:
            async with (
                asyncio.timeout(self._seconds),
                self._client.stream(method, path, json=body, headers=headers) as response,
            ):
                content = await self._read(response)
        except (httpx.ReadTimeout, TimeoutError) as error:
            raise EngineError(
                f"{self.url} did not answer within {self._seconds:g} s: raise engine.timeout, or give it less work"
            ) from error
        except httpx.TransportError as error:
            raise NoAnswer(f"{type(error).__name__}: {error}".rstrip(": "), suspect=True) from error
        if response.status_code == 200:
            if session is not None:
                session.heed(response.headers, self._settings)
            return self._json(content)
        raise self._failure(response, content)

    async def _read(self, response: httpx.Response) -> bytes:
        content = bytearray()
        async for part in response.aiter_bytes():
            content += part
            if len(content) > self._most_bytes:
                raise BadReply(f"{self.url} answered with more than {self._most_bytes} bytes (max_answer_bytes)")
        return bytes(content)

    def _json(self, content: bytes) -> Any:
        try:
            return json.loads(content)
        except (ValueError, RecursionError) as error:
            raise BadReply(f"{self.url} answered with something that is no JSON") from error

    def _failure(self, response: httpx.Response, content: bytes) -> Exception:
        status, said = response.status_code, _said(content)
        if status in (429, 503):
            return NoAnswer(f"busy: status {status}{said}", suspect=status == 503, wait=asked_seconds(response.headers))
        if status in (500, 502, 504):
            return NoAnswer(f"status {status}{said}", suspect=True)
        if status in (400, 413, 422):
            return EngineRequestError(f"vLLM refused the request{said}")
        if status in (401, 403):
            return EngineError(f"{self.url} refused the API key: set engine.api_key_env to a variable that holds it")
        return EngineError(f"{self.url} answered {path_of(response)} with status {status}{said}")

    async def look(self) -> None:
        """Ask for ``/health``, and say in ``up`` what came of it. Many may look; they share one question."""
        if self._look is None or self._look.done():
            self._look = asyncio.create_task(self._ask_health())
        await asyncio.shield(self._look)

    async def _ask_health(self) -> None:
        try:
            async with self._client.stream("GET", "/health", timeout=_HEALTH_SECONDS) as response:
                status = response.status_code
        except httpx.TimeoutException as error:
            self._misses += 1
            if self._misses >= _MAX_MISSES or isinstance(error, httpx.ConnectTimeout):
                self.leave(f"no answer to /health within {_HEALTH_SECONDS:g} s")
        except httpx.HTTPError as error:
            self.leave(f"{type(error).__name__}: {error}".rstrip(": "))
        else:
            self._misses = 0
            if status != 200:
                self.leave(f"/health says {status}")

    def leave(self, fault: str) -> None:
        """Take no more calls until :meth:`enter`."""
        self.up, self.fault = False, fault

    def enter(self) -> None:
        self.up, self.fault, self._misses = True, "", 0

    async def aclose(self) -> None:
        if self._look is not None:
            self._look.cancel()
        await self._client.aclose()


class Replicas:
    """All servers of one engine. ``check`` is what a replica must pass to come back; it raises EngineError."""

    def __init__(self, settings: RemoteSettings, transport_of: TransportOf | None = None) -> None:
        self._settings = settings
        self._all = [Replica(url, settings, transport_of(url) if transport_of else None) for url in settings.urls]
        self._check: Check | None = None
        self._watch: asyncio.Task[None] | None = None
        self._finishing = Finishing(self._all[0].finish) if settings.finish_sessions else None
        self.retried = 0

    def __iter__(self) -> Iterator[Replica]:
        return iter(self._all)

    @property
    def up(self) -> list[Replica]:
        return [replica for replica in self._all if replica.up]

    def lease(self, prompt: Sequence[int]) -> Lease:
        """A lease for sequences that begin with ``prompt``; it ends with the last of them: nothing is to be closed."""
        lease = Lease(prompt)
        if self._finishing is not None:
            weakref.finalize(lease, self._finishing.ended, lease.session).atexit = False
        return lease

    def readmit_by(self, check: Check) -> None:
        self._check = check

    async def call(self, lease: Lease, path: str, body: Mapping[str, Any]) -> Any:
        """POST to the lease's replica, and to others when it fails.

        Raises EngineError when no replica is up, or all tries got no answer; EngineRequestError as Replica.post.
        """
        settings, attempt = self._settings, 0
        while True:
            replica = self._of(lease)
            try:
                return await replica.post(path, body, lease.session)
            except NoAnswer as error:
                if error.suspect:
                    await self._examine(replica)
                if attempt >= settings.retries:
                    raise EngineError(f"{replica.url} gave no answer in {attempt + 1} tries: {error}") from error
                wait = error.wait
            self.retried += 1
            if replica.up:  # else another is asked at once
                await asyncio.sleep(delay_seconds(attempt, settings.backoff, wait))
            attempt += 1

    def _of(self, lease: Lease) -> Replica:
        if lease.replica is not None and lease.replica.up:
            return lease.replica
        up = self.up
        if not up:
            raise EngineError(self._faults())
        chosen = min(up, key=lambda replica: (replica.load, crc32(f"{lease.key}{replica.url}".encode())))
        if lease.replica is not None:
            lease.replica.leases.discard(lease)
        lease.replica = chosen
        chosen.leases.add(lease)
        return chosen

    def _faults(self) -> str:
        said = "; ".join(f"{replica.url}: {replica.fault}" for replica in self._all)
        return f"no vLLM server answers ({said[:500]})"

    async def _examine(self, replica: Replica) -> None:
        await replica.look()
        self._keep_watch()

    def _keep_watch(self) -> None:
        if not all(replica.up for replica in self._all) and (self._watch is None or self._watch.done()):
            self._watch = asyncio.create_task(self._bring_back())

    async def _bring_back(self) -> None:
        """Look at those that are out until all are back."""
        while not all(replica.up for replica in self._all):
            await asyncio.sleep(self._settings.probe_interval)
            await asyncio.gather(*(self._readmit(replica) for replica in self._all if not replica.up))

    async def _readmit(self, replica: Replica) -> None:
        if self._check is None:
            return
        try:
            async with asyncio.timeout(self._settings.timeout):
                await self._check(replica)
        except (EngineError, EngineRequestError, NoAnswer, TimeoutError) as error:
            replica.fault = str(error) or type(error).__name__
        else:
            replica.enter()

    async def health(self) -> None:
        """Look at those that are up. Raises EngineError when none is."""
        await asyncio.gather(*(replica.look() for replica in self.up))
        self._keep_watch()
        if not self.up:
            raise EngineError(self._faults())

    async def aclose(self) -> None:
        if self._finishing is not None:
            await self._finishing.aclose()
        if self._watch is not None:
            self._watch.cancel()
            with suppress(asyncio.CancelledError):
                await self._watch
        for replica in self._all:
            replica.leave("the engine was shut down")
            await replica.aclose()


def path_of(response: httpx.Response) -> str:
    return response.request.url.path


def _said(content: bytes) -> str:
    """What an error body says, in one line, with a colon before it."""
    text = ""
    with suppress(ValueError, RecursionError):
        body = json.loads(content)
        error = body.get("error") if isinstance(body, dict) else None
        told = error.get("message") if isinstance(error, dict) else error
        text = " ".join(str(told).split()) if isinstance(told, str) else ""
    return f": {text[:300]}" if text else ""
