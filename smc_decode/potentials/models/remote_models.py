"""A reward model behind a vLLM server's HTTP API: ``/classify`` and ``/pooling`` (task ``token_classify``)."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from smc_decode.potentials.base import RewardFailure
from smc_decode.potentials.options import RewardConfigError, require

if TYPE_CHECKING:
    import httpx


class RemoteRewardModel:
    """``url``: the server's root, set by the operator. ``api_key_env``: the environment variable with its key.
    ``logits``: leave the head's activation out."""

    def __init__(
        self,
        url: str,
        model: str,
        *,
        api_key_env: str | None = None,
        logits: bool = False,
        timeout: float = 60.0,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.model = model
        self._logits = logits
        headers: dict[str, str] = {}
        if api_key_env is not None:
            if api_key_env not in os.environ:
                raise RewardConfigError(f"the environment variable {api_key_env} is not set")
            headers["Authorization"] = f"Bearer {os.environ[api_key_env]}"
        self._client: httpx.AsyncClient = require("httpx", "remote").AsyncClient(
            base_url=url.rstrip("/"), headers=headers, timeout=timeout, trust_env=False, transport=transport
        )

    async def classify(self, texts: Sequence[str]) -> list[list[float]]:
        answer = await self._post("/classify", {"model": self.model, "input": list(texts), **self._head})
        return [[float(value) for value in item["probs"]] for item in _data(answer, len(texts))]

    async def classify_tokens(self, texts: Sequence[str]) -> list[list[list[float]]]:
        body = {"model": self.model, "input": list(texts), "task": "token_classify", **self._head}
        answer = await self._post("/pooling", body)
        return [[[float(value) for value in row] for row in item["data"]] for item in _data(answer, len(texts))]

    @property
    def _head(self) -> dict[str, Any]:
        return {"use_activation": False} if self._logits else {}

    async def aclose(self) -> None:
        await self._client.aclose()

    async def _post(self, path: str, body: Mapping[str, Any]) -> Any:
        import httpx

        try:
            response = await self._client.post(path, json=body)
            response.raise_for_status()
            return response.json()
        except (httpx.HTTPError, ValueError) as error:
            raise RewardFailure(f"the reward model at {self._client.base_url} failed: {error!r}"[:300]) from error


def _data(answer: Any, count: int) -> list[dict[str, Any]]:
    data = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(data, list) or len(data) != count:
        raise RewardFailure("the reward model's server gave an answer of another form")
    return sorted(data, key=lambda item: int(item["index"]))
