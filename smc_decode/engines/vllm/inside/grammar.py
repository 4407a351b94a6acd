"""Inside the engine's process: grammars that go on where the last block ended.

vLLM's own structured output starts its automaton anew with every request. Here the automaton is fed the answer so
far, so that it is right after any fork or rewind. The grammars are llguidance's: it holds more of JSON Schema than
others, and names what it does not hold, which is then left to whoever checks the document (docs/api.md).
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import torch
from cachetools import LRUCache  # vLLM brings it

_MAX_GRAMMARS = 64
_JSON = {"type": "object"}
_OPTIONS = {"lenient": True, "coerce_one_of": True, "whitespace_flexible": True}
"""Keywords that llguidance does not hold are left out: its documents are then a superset."""


class GrammarMask:
    """The automaton of one row, and its mask on the logits."""

    def __init__(self, matcher: Any, answer: list[int], output: list[int], vocab_size: int) -> None:
        import llguidance.torch
        import xgrammar

        self._matcher = matcher
        self._output = output
        self._read = 0
        self._bitmask = xgrammar.allocate_token_bitmask(1, vocab_size)
        self._fill_bitmask = llguidance.torch.fill_next_token_bitmask
        self._apply_bitmask = xgrammar.apply_token_bitmask_inplace
        self._feed(answer)

    def _feed(self, tokens: list[int]) -> None:
        if tokens and not self._matcher.is_error():
            self._matcher.consume_tokens(tokens)

    def apply(self, logits: torch.Tensor) -> None:
        """Mask one row of logits in place. At the grammar's end only EOS is left; an answer that has left the grammar,
        or a grammar that nothing satisfies, leaves the model alone rather than draw from nothing."""
        self._feed(self._output[self._read :])
        self._read = len(self._output)
        if self._matcher.is_error():
            return
        self._fill_bitmask(self._matcher, self._bitmask, 0)
        if self._bitmask.any():
            self._apply_bitmask(logits.unsqueeze(0), self._bitmask.to(logits.device))


class GrammarCompiler:
    """Compiles grammar specifications for the model's vocabulary, each once."""

    def __init__(self, tokenizer: str, revision: str | None, trust_remote_code: bool, vocab_size: int) -> None:
        self._tokenizer = tokenizer
        self._revision = revision
        self._trust_remote_code = trust_remote_code
        self._vocab_size = vocab_size
        self._vocabulary: Any = None
        self._compiled: LRUCache[str, Any] = LRUCache(_MAX_GRAMMARS)

    def compile(self, specification: dict[str, Any]) -> Any:
        """A matcher at its beginning. Raises ValueError for a specification that is no grammar."""
        key = json.dumps(specification, sort_keys=True, default=str)
        if key not in self._compiled:
            self._compiled[key] = self._compile(specification)
        return self._compiled[key]

    def _compile(self, specification: dict[str, Any]) -> Any:
        from llguidance import LLMatcher

        grammar = llguidance_grammar(specification)
        wrong, told = LLMatcher.validate_grammar_with_warnings(grammar)
        if wrong:
            raise ValueError(f"the grammar cannot be used: {' '.join(told)[:500]}")
        return LLMatcher(self._llguidance_vocabulary(), grammar, log_level=0)

    def _llguidance_vocabulary(self) -> Any:
        if self._vocabulary is None:
            import llguidance.hf
            from transformers import AutoTokenizer

            tokenizer = AutoTokenizer.from_pretrained(
                self._tokenizer, revision=self._revision, trust_remote_code=self._trust_remote_code
            )
            self._vocabulary = llguidance.hf.from_tokenizer(tokenizer, n_vocab=self._vocab_size)
        return self._vocabulary

    def mask(self, specification: dict[str, Any], answer: list[int], output: list[int]) -> GrammarMask:
        return GrammarMask(self.compile(specification).deep_copy(), answer, output, self._vocab_size)


def llguidance_grammar(specification: dict[str, Any]) -> str:
    """The specification in llguidance's own form. Raises ValueError."""
    from llguidance import LLMatcher

    if "regex" in specification:
        grammar: str = LLMatcher.grammar_from_regex(whole_match(specification["regex"]))
        return grammar
    schema = specification.get("json_schema", _JSON)
    try:
        schema = json.loads(schema) if isinstance(schema, str) else schema
        grammar = LLMatcher.grammar_from_json_schema(json.dumps(schema), overrides=_OPTIONS)
    except (ValueError, TypeError, RecursionError) as error:
        raise ValueError(f"the grammar cannot be used: {error}") from error
    return grammar


def whole_match(pattern: str) -> str:
    """A pattern that the whole answer has to match, without the anchors that say so: llguidance takes them for text.

    Raises ValueError for an anchor elsewhere than around a whole alternative.
    """
    kept: list[str] = []
    depth, in_class, start = 0, False, True
    position = 0
    while position < len(pattern):
        size = 2 if pattern[position] == "\\" else 1
        mark = pattern[position : position + size]
        position += size
        if in_class:
            in_class = mark != "]"
        elif (mark == "^" and start and depth == 0) or (
            mark == "$" and depth == 0 and (position == len(pattern) or pattern[position] == "|")
        ):
            continue
        elif mark in "^$":
            raise ValueError(f"the grammar cannot be used: the {mark} in {pattern!r:.200} stands inside: leave it out")
        else:
            in_class = mark == "["
            depth += (mark == "(") - (mark == ")")
        kept.append(mark)
        start = mark == "|" and depth == 0
    return "".join(kept)


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
