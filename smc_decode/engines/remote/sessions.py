"""What tells a router in front of vLLM servers that requests belong together, so that they meet one prefix cache.

One anonymous id a run, in the headers that routers read: ``x-session-id`` (vllm-router, Ray Serve), and others by name.
llm-d gives a token with its first answer, which is sent back. ``X-data-parallel-rank`` pins a run to one engine of a
server that has several. Where a router has ``POST /finish_session`` it is told when a run's last sequence is gone.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from zlib import crc32

import httpx

from smc_decode.engines.remote.settings import RemoteSettings

_MAX_TOKEN = 4096
FINISH = "/finish_session"

Finish = Callable[[str], Awaitable[None]]


class Session:
    """The id of one run, and what the router said of it. ``used``: a request was made with it."""

    __slots__ = ("id", "token", "used")

    def __init__(self) -> None:
        self.id = uuid.uuid4().hex
        self.token: str | None = None
        self.used = False

    def headers(self, settings: RemoteSettings) -> dict[str, str]:
        """For the run's next request."""
        self.used = True
        headers = dict.fromkeys(settings.session_headers, self.id)
        if self.token is not None and settings.session_token_header is not None:
            headers[settings.session_token_header] = self.token
        if settings.data_parallel_size is not None:
            headers["x-data-parallel-rank"] = str(crc32(self.id.encode()) % settings.data_parallel_size)
        return headers

    def heed(self, headers: Mapping[str, str], settings: RemoteSettings) -> None:
        """Keep the token of an answer, if it is one."""
        token = headers.get(settings.session_token_header or "")
        if token and len(token) <= _MAX_TOKEN and token.isascii() and token.isprintable():
            self.token = token


class Finishing:
    """Tells the router of sessions that have ended, beside whatever else goes on; what comes of it changes nothing."""

    def __init__(self, finish: Finish) -> None:
        self._finish = finish
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()

    def ended(self, session: Session) -> None:
        """The last of a session's sequences is gone. May be called from anywhere."""
        if session.used:
            with suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._tell, session.id)

    def _tell(self, session_id: str) -> None:
        task = self._loop.create_task(self._told(session_id))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _told(self, session_id: str) -> None:
        with suppress(httpx.HTTPError):
            await self._finish(session_id)

    async def aclose(self) -> None:
        """Wait for what is on its way."""
        await asyncio.gather(*self._tasks, return_exceptions=True)
