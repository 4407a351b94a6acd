"""Counts for docs/api.md, "Documents that keep to a schema": the JSON Schema test suite against our two halves.

    python scripts/schema_suite.py JSON-Schema-Test-Suite/tests/draft2020-12

Every instance of the suite is written as JSON and fed to the grammar, byte by byte, and to the check of documents.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from server.openai.body import _whole  # noqa: E402  (2.0 is 2, as in requests)
from smc_decode.engines.vllm.inside.grammar import GrammarCompiler  # noqa: E402
from smc_decode.workers.schemas import json_answer, problem  # noqa: E402


def bytes_tokenizer(folder: str) -> Any:
    """A tokenizer of bytes, saved in ``folder``."""
    import tokenizers
    import transformers

    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {**{letter: index for index, letter in enumerate(alphabet)}, "<end>": 256}
    inner = tokenizers.Tokenizer(tokenizers.models.BPE(vocabulary, []))
    inner.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = tokenizers.decoders.ByteLevel()
    inner.add_special_tokens(["<end>"])
    made = transformers.PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<end>")
    made.save_pretrained(folder)
    return made


def cases(folder: Path) -> Iterator[tuple[str, Any, list[Any]]]:
    """(file, schema, tests) of the suite; schemas that are true or false cannot be asked for."""
    for path in sorted(folder.glob("*.json")):
        for case in json.loads(path.read_text(encoding="utf-8")):
            if isinstance(case["schema"], dict):
                yield path.stem, _whole(case["schema"]), case["tests"]


def main(folder: Path) -> None:
    counts: Counter[str] = Counter()
    where: dict[str, Counter[str]] = {}
    with tempfile.TemporaryDirectory() as place:
        tokenizer = bytes_tokenizer(place)
        compiler = GrammarCompiler(place, None, False, 288)
        for name, schema, tests in cases(folder):
            counts["schemas"] += 1
            if problem(schema):
                _count(counts, where, "schemas that the check refuses", name)
                continue
            try:
                compiler.compile({"json_schema": schema})
            except ValueError:
                _count(counts, where, "schemas that the grammar refuses", name)
                continue
            for test in tests:
                text = json.dumps(test["data"], ensure_ascii=False)
                drawn = _drawn(compiler.compile({"json_schema": schema}).deep_copy(), tokenizer, text)
                answer = json_answer(text, True, False, schema)
                passes = answer["state"] != "none" and not answer["violations"]
                kind = "valid" if test["valid"] else "invalid"
                counts[f"{kind} documents"] += 1
                for what, holds in (("the grammar", drawn), ("the check", passes), ("both", drawn and passes)):
                    if not holds and kind == "valid":
                        _count(counts, where, f"valid documents that {what} refuses", name)
                    if holds and kind == "invalid":
                        _count(counts, where, f"invalid documents that {what} takes", name)
    for what, count in sorted(counts.items()):
        print(f"{count:5}  {what}", *(f"{name} {n}" for name, n in where.get(what, Counter()).most_common(8)))


def _drawn(matcher: Any, tokenizer: Any, text: str) -> bool:
    ids = tokenizer.encode(text, add_special_tokens=False)
    return matcher.validate_tokens(ids) == len(ids) and matcher.consume_tokens(ids) and matcher.is_accepting()


def _count(counts: Counter[str], where: dict[str, Counter[str]], what: str, name: str) -> None:
    counts[what] += 1
    where.setdefault(what, Counter())[name] += 1


if __name__ == "__main__":
    main(Path(sys.argv[1]))
