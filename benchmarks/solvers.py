"""Who solves a problem: an engine in this process, or a server of the project elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Protocol

import httpx
import numpy as np

from smc_decode.answers.selection import select
from smc_decode.config import SMCConfig
from smc_decode.engines.base import Engine
from smc_decode.errors import AllParticlesDead
from smc_decode.events import Event, Finished, Progress
from smc_decode.potentials.catalogue import RewardCatalogue
from smc_decode.potentials.options import RewardRequest
from smc_decode.presets import PRESETS
from smc_decode.result import SMCResult, Usage
from smc_decode.sampler.run import run

from .accounting import Account, Trace, run_numbers
from .methods import Method
from .prompts import Prompt, without_stop


@dataclass(frozen=True)
class RewardSpec:
    """A reward of the catalogue and what it is told of the problem."""

    name: str
    params: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """One member of the final population (of a server: a returned choice)."""

    text: str
    weight: float
    reward: float | None
    tokens: int
    finish: str | None


@dataclass(frozen=True)
class Outcome:
    """What came of a problem. ``answers`` is the population, whose ``chosen``-th is the answer (None: no answer).
    ``rules``: what each selection rule would take, as weights over the population."""

    answers: Sequence[Answer]
    chosen: int | None
    account: Account
    numbers: Mapping[str, Any]
    rules: Mapping[str, Sequence[float]] = field(default_factory=dict)
    failure: str = ""


class SolverError(RuntimeError):
    """The engine or the server cannot work; nothing is known of the problem."""


class Solver(Protocol):
    """Solves one problem by one method."""

    async def solve(
        self, prompt: Prompt, method: Method, reward: RewardSpec | None, *, seed: int, max_tokens: int, extractor: str
    ) -> Outcome: ...

    async def close(self) -> None: ...


class EngineSolver:
    """The sampler on an engine in this process."""

    def __init__(self, engine: Engine, catalogue: RewardCatalogue | None) -> None:
        if engine.tokenizer is None:
            raise SolverError("benchmarks need an engine with a tokenizer")
        self._engine = engine
        self._tokenizer = engine.tokenizer
        self._catalogue = catalogue

    async def solve(
        self, prompt: Prompt, method: Method, reward: RewardSpec | None, *, seed: int, max_tokens: int, extractor: str
    ) -> Outcome:
        reward = reward if PRESETS[method.preset].uses_reward else None
        config = method.config(reward=reward is not None, max_tokens=max_tokens, stop=prompt.stop, extractor=extractor)
        request = RewardRequest("" if prompt.messages else prompt.text, prompt.messages)
        potential = None
        if reward is not None:
            if self._catalogue is None:
                raise SolverError("this run has no rewards")
            potential = self._catalogue.build(
                reward.name, reward.params, reward_scale=config.reward_scale, request=request
            )
        trace, usage, start = Trace(), Usage(), time.perf_counter()
        events = run(
            self._engine, prompt.encode(self._tokenizer), potential, config, seed=seed, prompt_text=request.prompt_text
        )
        try:
            async with aclosing(events):
                async for event in events:
                    trace.see(event)
                    usage = _usage_after(event, usage)
                    if isinstance(event, Finished):
                        return self._outcome(event.result, config, trace, start, prompt, extractor)
        except AllParticlesDead as error:
            account = Account.of(usage, 0, time.perf_counter() - start)
            return Outcome((), None, account, {"ess": trace.ess, "rewards": trace.rewards}, failure=str(error))
        raise SolverError("the run ended without a result")

    def _outcome(
        self, result: SMCResult, config: SMCConfig, trace: Trace, start: float, prompt: Prompt, extractor: str
    ) -> Outcome:
        answers = [
            Answer(
                without_stop(self._tokenizer.decode(particle.token_ids), prompt.stop),
                particle.weight,
                particle.reward,
                len(particle.token_ids),
                particle.finish_reason,
            )
            for particle in result.particles
        ]
        chosen = next(
            (i for i, particle in enumerate(result.particles) if particle.token_ids == result.answer.token_ids), None
        )
        account = Account.of(result.usage, len(result.answer.token_ids), time.perf_counter() - start)
        return Outcome(answers, chosen, account, run_numbers(result, trace), self._rules(result, config, extractor))

    def _rules(self, result: SMCResult, config: SMCConfig, extractor: str) -> dict[str, list[float]]:
        particles = result.particles
        weights = [particle.weight for particle in particles]
        best = max((_rank(p.reward), p.weight) for p in particles if p.weight > 0)
        tied = [p.weight > 0 and (_rank(p.reward), p.weight) == best for p in particles]
        voting = config.model_copy(update={"selection": "vote", "extractor": extractor})
        voted = select(particles, voting, 1, np.random.default_rng(0), self._tokenizer.decode)[0]
        return {
            "sample": weights,
            "best": [each / sum(tied) for each in tied],
            "vote": [float(particle is voted) for particle in particles],
        }

    async def close(self) -> None:
        if self._catalogue is not None:
            await self._catalogue.aclose()
        await self._engine.shutdown()


def _usage_after(event: Event, usage: Usage) -> Usage:
    return event.usage if isinstance(event, Progress) else usage


def _rank(reward: float | None) -> float:
    return float("-inf") if reward is None else reward


class ServerSolver:
    """A server of the project, through its OpenAI endpoint. Only the answer comes back, not the population."""

    def __init__(
        self, base_url: str, model: str | None = None, api_key: str = "none", client: httpx.AsyncClient | None = None
    ) -> None:
        headers = {"Authorization": f"Bearer {api_key}"}
        self._client = client or httpx.AsyncClient(base_url=base_url.rstrip("/") + "/", headers=headers, timeout=None)
        self._model = model

    async def model(self) -> str:
        """The name of the server's model: the one that was asked for, or its first."""
        if self._model is None:
            listed = await self._json("GET", "models")
            self._model = str(listed["data"][0]["id"])
        return self._model

    async def solve(
        self, prompt: Prompt, method: Method, reward: RewardSpec | None, *, seed: int, max_tokens: int, extractor: str
    ) -> Outcome:
        reward = reward if PRESETS[method.preset].uses_reward else None
        body: dict[str, Any] = {"model": await self.model(), "max_tokens": max_tokens, "seed": seed}
        body["smc"] = {"preset": method.preset, **method.fields(), "reward": None}
        if reward is not None:
            body["smc"]["reward"] = {"name": reward.name, "params": dict(reward.params)}
        if prompt.stop:
            body["stop"] = list(prompt.stop)
        route = "completions" if prompt.messages is None else "chat/completions"
        body |= {"prompt": prompt.text} if prompt.messages is None else {"messages": list(prompt.messages)}
        start = time.perf_counter()
        try:
            reply = await self._json("POST", route, body)
        except _AllDead as error:
            return Outcome((), None, Account.of({}, 0, time.perf_counter() - start), {}, failure=str(error))
        choice, usage, numbers = reply["choices"][0], reply["usage"], reply.get("smc", {})
        text = choice["text"] if prompt.messages is None else choice["message"]["content"] or ""
        answer = Answer(
            text, choice.get("weight", 1.0), choice.get("reward"), usage["completion_tokens"], choice["finish_reason"]
        )
        account = Account.of(usage.get("smc", {}), usage["completion_tokens"], time.perf_counter() - start)
        shown = {
            "log_z": numbers.get("log_z"),
            "ess": numbers.get("ess", []),
            "resampled": numbers.get("resampled", []),
            "acceptance": numbers.get("acceptance_rate"),
            "blocks": numbers.get("blocks"),
        }
        return Outcome([answer], 0, account, shown)

    async def _json(self, verb: str, route: str, body: Mapping[str, Any] | None = None) -> Any:
        try:
            reply = await self._client.request(verb, route, json=body)
        except httpx.HTTPError as error:
            raise SolverError(f"the server cannot be reached: {error}") from error
        if reply.is_success:
            return reply.json()
        try:
            said = reply.json()["error"]
        except (ValueError, KeyError, TypeError):
            said = {"message": reply.text[:500]}
        if said.get("code") == "all_particles_dead":
            raise _AllDead(said["message"])
        raise SolverError(f"the server answered {reply.status_code}: {said['message']}")

    async def close(self) -> None:
        await self._client.aclose()


class _AllDead(Exception):
    pass
