"""Inside the engine's process: grammars that go on where the last block ended.

vLLM's own structured output starts its automaton anew with every request. Here the automaton is fed the answer so
far, so that it is right after any fork or rewind.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import torch
from cachetools import LRUCache  # vLLM brings it

_MAX_GRAMMARS = 64


class GrammarMask:
    """The automaton of one row, and its mask on the logits."""

    def __init__(self, matcher: Any, answer: list[int], output: list[int], vocab_size: int) -> None:
        import xgrammar

        self._matcher = matcher
        self._output = output
        self._read = 0
        self._bitmask = xgrammar.allocate_token_bitmask(1, vocab_size)
        self._apply_bitmask = xgrammar.apply_token_bitmask_inplace
        self._feed(answer)

    def _feed(self, tokens: list[int]) -> None:
        for token in tokens:
            if self._matcher.is_terminated() or not self._matcher.accept_token(token):
                break

    def apply(self, logits: torch.Tensor) -> None:
        """Mask one row of logits in place. After the grammar's end nothing is masked: only EOS could lead there."""
        self._feed(self._output[self._read :])
        self._read = len(self._output)
        if self._matcher.is_terminated():
            return
        self._matcher.fill_next_token_bitmask(self._bitmask)
        if (
            not self._bitmask.any()
        ):  # a grammar that nothing satisfies: leave the model alone rather than draw from nothing
            return
        self._apply_bitmask(logits.unsqueeze(0), self._bitmask.to(logits.device))


class GrammarCompiler:
    """Compiles grammar specifications for the model's vocabulary, each once."""

    def __init__(self, tokenizer: str, revision: str | None, trust_remote_code: bool, vocab_size: int) -> None:
        self._tokenizer = tokenizer
        self._revision = revision
        self._trust_remote_code = trust_remote_code
        self._vocab_size = vocab_size
        self._compiler: Any = None
        self._compiled: LRUCache[str, Any] = LRUCache(_MAX_GRAMMARS)

    def compile(self, specification: dict[str, Any]) -> Any:
        """Raises ValueError for a specification that is no grammar."""
        key = json.dumps(specification, sort_keys=True, default=str)
        if key not in self._compiled:
            self._compiled[key] = self._compile(specification)
        return self._compiled[key]

    def _compile(self, specification: dict[str, Any]) -> Any:
        compiler = self._grammar_compiler()
        try:
            if "json_schema" in specification:
                schema = specification["json_schema"]
                return compiler.compile_json_schema(schema if isinstance(schema, str) else json.dumps(schema))
            if "regex" in specification:
                return compiler.compile_regex(specification["regex"])
            return compiler.compile_builtin_json_grammar()
        except Exception as error:
            raise ValueError(f"the grammar cannot be used: {error}") from error

    def _grammar_compiler(self) -> Any:
        if self._compiler is None:
            import xgrammar
            from transformers import AutoTokenizer

            tokenizer = AutoTokenizer.from_pretrained(
                self._tokenizer, revision=self._revision, trust_remote_code=self._trust_remote_code
            )
            info = xgrammar.TokenizerInfo.from_huggingface(tokenizer, vocab_size=self._vocab_size)
            self._compiler = xgrammar.GrammarCompiler(info, max_threads=1, cache_enabled=False)
        return self._compiler

    def mask(self, specification: dict[str, Any], answer: list[int], output: list[int]) -> GrammarMask:
        import xgrammar

        return GrammarMask(xgrammar.GrammarMatcher(self.compile(specification)), answer, output, self._vocab_size)


@cache
def _compiler(tokenizer: str, revision: str | None, trust_remote_code: bool, vocab_size: int) -> GrammarCompiler:
    return GrammarCompiler(tokenizer, revision, trust_remote_code, vocab_size)


def grammar_compiler(model_config: Any) -> GrammarCompiler:
    """This process's compiler for a model."""
    return _compiler(
        model_config.tokenizer,
        model_config.tokenizer_revision,
        model_config.trust_remote_code,
        model_config.get_vocab_size(),
    )
