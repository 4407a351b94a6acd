"""Where the vLLM servers are that a remote engine works with, and how it talks to them. Plain data."""

from __future__ import annotations

import os
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator

Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]
HeaderName = Annotated[str, Field(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}$")]


class RemoteSettings(BaseModel):
    """The keys of ``[engine]`` with ``kind = "remote"``.

    Attributes:
        urls: roots of ``vllm serve`` instances of one and the same model, such as ``http://10.0.0.5:8000``.
        model: its name there; None: the first that ``/v1/models`` lists.
        tokenizer: folder or Hugging Face name of the model's tokenizer; None: where the servers have the model from.
        trust_remote_code: run the tokenizer repository's own code.
        api_key_env: the environment variable with the servers' API key; None: ``VLLM_API_KEY``, where it is set.
        max_model_len: most tokens of prompt and answer; None: what the servers say.
        max_logprobs: what the servers' ``--max-logprobs`` allows (20 by default).
        vocab_size, eos_token_ids: None: from the model's configuration, beside the tokenizer.
        timeout: seconds that one call may take, waiting in the server's queue included.
        connect_timeout: seconds until a server counts as unreachable.
        retries: further tries of a call that got no answer, on the same replica or another.
        backoff: seconds before the first of them; doubled each time, with jitter.
        connections: most connections to one replica; further calls wait.
        probe_interval: seconds between looks at a replica that is out.
        bundle: send draws of one prefix as one request with ``n``, where the servers give each of them noise of its own
            (which is tried at the start).
        max_answer_bytes: a longer answer is refused.
        session_headers: headers that carry one anonymous id a run, for a router in front (docs/deploy.md).
        session_token_header: a header of answers whose value is sent back with the run's next requests; None: none.
        finish_sessions: tell the router with ``POST /finish_session`` when a run is over.
        data_parallel_size: engines of one server (``vllm serve --data-parallel-size``): each run is pinned to one of
            them by ``X-data-parallel-rank``; None: the server chooses for each request.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    urls: tuple[str, ...] = Field(min_length=1, max_length=256)
    model: str | None = None
    tokenizer: str | None = None
    trust_remote_code: bool = False
    api_key_env: str | None = None
    max_model_len: int | None = Field(None, gt=1)
    max_logprobs: int = Field(20, ge=1, le=1000)
    vocab_size: int | None = Field(None, gt=1)
    eos_token_ids: tuple[int, ...] | None = None
    timeout: Seconds = 300.0
    connect_timeout: Seconds = 5.0
    retries: int = Field(3, ge=0, le=20)
    backoff: Annotated[float, Field(ge=0, le=60)] = 0.2
    connections: int = Field(256, ge=1, le=10_000)
    probe_interval: Seconds = 5.0
    bundle: bool = True
    max_answer_bytes: int = Field(64 << 20, ge=1 << 16)
    session_headers: tuple[HeaderName, ...] = Field(("x-session-id",), max_length=16)
    session_token_header: HeaderName | None = "x-session-token"
    finish_sessions: bool = False
    data_parallel_size: int | None = Field(None, ge=1, le=65_536)

    @field_validator("urls", "session_headers", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @field_validator("urls")
    @classmethod
    def _roots(cls, urls: tuple[str, ...]) -> tuple[str, ...]:
        roots = tuple(dict.fromkeys(_root(url) for url in urls))
        if len(roots) < len(urls):
            raise ValueError("the same address twice: name each replica once")
        return roots

    @field_validator("api_key_env")
    @classmethod
    def _is_set(cls, name: str | None) -> str | None:
        if name is not None and not os.environ.get(name):
            raise ValueError(f"the environment variable {name} is not set")
        return name

    @property
    def api_key(self) -> str | None:
        return os.environ.get(self.api_key_env or "VLLM_API_KEY") or None


def _root(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{url!r} must be an http:// or https:// address")
    if parts.username or parts.password:
        raise ValueError("an address must hold no password: put the key into an environment variable (api_key_env)")
    if parts.query or parts.fragment:
        raise ValueError(f"{url!r} must be the root of a server, without query")
    return url.rstrip("/").removesuffix("/v1").rstrip("/")
