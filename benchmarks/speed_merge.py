"""Speed where sequences agree for a while: rows shared until they part, against vLLM's own ``n=N``.

HumanEval prompts as chats, every 16th problem, answers to their end of at most 256 tokens. Both engines are loaded at
the same time and measured in turns.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from smc_decode import sample
from smc_decode.engines.base import Extend
from smc_decode.engines.vllm.engine import VLLMEngine
from smc_decode.engines.vllm.settings import VLLMSettings
from smc_decode.potentials.catalogue import RewardCatalogue
from smc_decode.potentials.options import RewardRequest
from smc_decode.presets import preset
from smc_decode.sandbox import Sandbox

from .problems import Problem, humaneval
from .prompts import make_prompt
from .speed_bench import Bench
from .speed_cases import Case, Measured
from .speed_plain import Reference

_EVERY, _TOKENS = 16, 256
_BLOCKS = re.compile(r"^vllm:kv_cache_usage_perc\{[^}]*\} (\S+)", re.MULTILINE)


@dataclass(frozen=True)
class Setting:
    """``n`` sequences of each prompt at temperature 1/``alpha``, for ``together`` prompts at a time.

    ``apart``: prompts that are all different, one sequence of each, so that nothing agrees.
    """

    alpha: float
    n: int
    together: int = 1
    apart: bool = False


SETTINGS = {
    "merge-a4-n16": (Setting(4, 16), 1.5),
    "merge-a4-n64": (Setting(4, 64), 3.0),
    "merge-a4-n16-8": (Setting(4, 16, together=8), 2.2),
    "merge-a2-n16": (Setting(2, 16), 1.4),
    "merge-a1-n16": (Setting(1, 16), 0.98),
    "merge-apart": (Setting(1, 16, apart=True), 0.98),
    "merge-a4-n16-16": (Setting(4, 16, together=16), 2.0),
}


def _case(name: str, setting: Setting, least: float) -> Case:
    if setting.apart:
        what = f"{setting.n} different prompts at alpha {setting.alpha:g}"
    else:
        at_a_time = "one request" if setting.together == 1 else f"{setting.together} requests at a time"
        what = f"alpha {setting.alpha:g}, N={setting.n}, {at_a_time}"
    return Case(name, f"tokens a second, {what}, against n={setting.n}", f"≥ {least:g}", lambda x: x >= least)


MERGE_CASES = {name: _case(name, *each) for name, each in SETTINGS.items()} | {
    "merge-smc": Case(
        "merge-smc", "preset smc with rollouts: rows computed of tokens drawn", "≤ 0.35", lambda x: x <= 0.35
    ),
    "merge-blocks": Case(
        "merge-blocks", "KV blocks at the peak, alpha 4, N=64, of what the sequences alone take", "≤ 0.5",
        lambda x: x <= 0.5,
    ),
}  # fmt: skip


def chats(bench: Bench) -> list[tuple[Problem, tuple[int, ...]]]:
    """Every 16th problem with its prompt as a chat."""
    problems = list(humaneval())[::_EVERY]
    return [(each, tuple(make_prompt(each, "chat").encode(bench.raw.tokenizer))) for each in problems]


async def merge_cases(
    bench: Bench, reference: Reference, names: Sequence[str], repeats: int
) -> AsyncIterator[tuple[str, int, Measured]]:
    """Every case ``repeats`` times, in turns; those that count rather than time once."""
    prompts = [prompt for _, prompt in chats(bench)]
    for repeat in range(repeats):
        for name in names:
            if name in SETTINGS:
                yield name, repeat, await _against(bench, reference, prompts, SETTINGS[name][0])
    if "merge-smc" in names:
        yield "merge-smc", 0, await _rows_of_smc(bench)
    if "merge-blocks" in names:
        yield "merge-blocks", 0, await _blocks(bench, prompts)


async def _against(
    bench: Bench, reference: Reference, prompts: Sequence[tuple[int, ...]], setting: Setting
) -> Measured:
    """Tokens a second of all the prompts, ours and the reference's."""
    if setting.apart:
        prompts = [bench.prompt(number) for number in range(setting.n)]
    size = setting.n if setting.apart else setting.together
    groups = [
        [prompts[(i + j) % len(prompts)] for j in range(size)] for i in range(0, max(len(prompts) - size + 1, 1), size)
    ]
    stop = bench.raw.info.eos_token_ids
    n, temperature = 1 if setting.apart else setting.n, 1 / setting.alpha
    before = bench.raw.counters.rows_computed
    ours, drawn, plain = 0.0, 0, []
    for group in groups:
        plain.append(await reference.rate(group, n, _TOKENS, temperature, stop))
        with bench.meter.measure() as spent:
            await asyncio.gather(*(_draw(bench, prompt, n, temperature) for prompt in group))
        ours += spent().seconds
        drawn += spent().work.drawn
    limit = len(plain) / sum(1 / rate for rate in plain)
    rows = bench.raw.counters.rows_computed - before
    more = {"plain": round(limit, 1), "ours": round(drawn / ours, 1), "rows_of_tokens": round(rows / drawn, 3)}
    return Measured(drawn / ours / limit, None, more)


async def _draw(bench: Bench, prompt: Sequence[int], n: int, temperature: float) -> None:
    root = await bench.raw.open(prompt)
    sequences = [await bench.raw.fork(root) for _ in range(n)]
    requests = [
        Extend(sequence, _TOKENS, temperature=temperature, seed=next(bench.seeds), logprobs=False)
        for sequence in sequences
    ]
    async for _ in bench.engine.extend(requests):
        pass


async def _rows_of_smc(bench: Bench) -> Measured:
    """The default preset with two rollouts on the problems, their examples as the reward."""
    config = preset("smc", reward=True, max_tokens=_TOKENS)
    look = config.lookahead if config.lookahead.rollouts else config.lookahead.model_copy(update={"rollouts": 2})
    config = config.model_copy(update={"lookahead": look})
    rows, drawn = 0, 0
    with Sandbox() as sandbox:
        catalogue = RewardCatalogue.default(sandbox=sandbox)
        for problem, prompt in chats(bench):
            asked = RewardRequest(problem.question, None, client_is_local=True)
            potential = catalogue.build("prompt_examples", {}, reward_scale=config.reward_scale, request=asked)
            usage = (await sample(bench.engine, prompt, potential, config, seed=next(bench.seeds))).usage
            rows += usage.computed_rows
            drawn += usage.drawn
        await catalogue.aclose()
    return Measured(rows / drawn, None, {"rows": rows, "drawn": drawn, "rollouts": look.rollouts})


async def _blocks(bench: Bench, prompts: Sequence[tuple[int, ...]]) -> Measured:
    """Cache blocks in use at the peak, of those of an engine that does not merge."""
    alone, merged = [await _peaks(replace(bench.raw.settings, merge=merge), prompts) for merge in (False, True)]
    shares = [ours / theirs for ours, theirs in zip(merged, alone, strict=True)]
    return Measured(sum(shares) / len(shares), None, {"shares": [round(share, 2) for share in shares]})


async def _peaks(settings: VLLMSettings, prompts: Sequence[tuple[int, ...]]) -> list[float]:
    """The largest share of the cache in use, for each prompt."""
    engine = await VLLMEngine.create(replace(settings, metrics=True))
    peaks = []
    try:
        for prompt in prompts:
            peak = [0.0]
            watching = asyncio.ensure_future(_watch(engine, peak))
            requests = [
                Extend(await engine.open(prompt), _TOKENS, temperature=0.25, seed=seed, logprobs=False)
                for seed in range(64)
            ]
            async for _ in engine.extend(requests):
                pass
            watching.cancel()
            with suppress(asyncio.CancelledError):
                await watching
            peaks.append(peak[0])
    finally:
        await engine.shutdown()
    return peaks


async def _watch(engine: VLLMEngine, peak: list[float]) -> None:
    while True:
        found = _BLOCKS.search(await engine.metrics_text())
        if found:
            peak[0] = max(peak[0], float(found[1]))
        await asyncio.sleep(0.02)
