"""The served model's tokenizer and vocabulary, loaded here: only small files, never weights.

Text is made and read in the middle of answers, so asking the servers for it would cost a round trip each time.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smc_decode.engines.base import EngineError, Tokenizer
from smc_decode.engines.remote.settings import RemoteSettings
from smc_decode.engines.vllm.tokenizer import HFTokenizer


@dataclass(frozen=True, slots=True)
class Vocabulary:
    tokenizer: Tokenizer
    size: int
    eos_token_ids: tuple[int, ...]


async def load_vocabulary(settings: RemoteSettings, root: str) -> Vocabulary:
    """``root``: where the servers have the model from. Raises EngineError with what to set."""
    source = settings.tokenizer or root
    try:
        return await asyncio.to_thread(_load, settings, source)
    except ImportError as error:
        raise EngineError(f"the package transformers is needed for the tokenizer: {error}") from error
    except Exception as error:
        where = "engine.tokenizer" if settings.tokenizer else "the servers' own path"
        raise EngineError(
            f"no tokenizer at {source!r} ({where}): {' '.join(str(error).split())[:300]}. Set engine.tokenizer to a "
            "folder or Hugging Face name; only the tokenizer's files are needed"
        ) from error


def _load(settings: RemoteSettings, source: str) -> Vocabulary:
    # A path of the servers' that is no folder here must not be taken for a name on the hub.
    if source.startswith(("/", "./", "../", "~")):
        source = str(Path(source).expanduser())
        if not Path(source).is_dir():
            raise FileNotFoundError("there is no such folder on this machine")
    tokenizer = HFTokenizer.load(source, trust_remote_code=settings.trust_remote_code)
    config = _json(source, "config.json")
    text = config.get("text_config")
    sizes = [config.get("vocab_size"), text.get("vocab_size") if isinstance(text, dict) else None, tokenizer.size]
    # A model's output layer is often padded beyond its tokenizer.
    size = settings.vocab_size or max(each for each in sizes if isinstance(each, int))
    eos = settings.eos_token_ids
    if eos is None:
        told = _json(source, "generation_config.json").get("eos_token_id", config.get("eos_token_id"))
        listed = told if isinstance(told, list) else [told]
        eos = tuple(dict.fromkeys(each for each in (*listed, tokenizer.eos_token_id) if isinstance(each, int)))
    return Vocabulary(tokenizer, size, eos)


def _json(source: str, name: str) -> dict[str, Any]:
    """A file of the model's repository; empty where there is none."""
    from transformers.utils import cached_file

    try:
        path = cached_file(source, name)
        value = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError):
        return {}
    return value if isinstance(value, dict) else {}
