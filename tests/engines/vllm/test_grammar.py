"""The compile step of grammars and their masks, without an engine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

llguidance = pytest.importorskip("llguidance")
pytest.importorskip("xgrammar")
tokenizers = pytest.importorskip("tokenizers")
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from smc_decode.engines.vllm.inside.grammar import GrammarCompiler, whole_match  # noqa: E402

EOS, VOCAB = 256, 288


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer of bytes."""
    path = tmp_path_factory.mktemp("bytes")
    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    model = tokenizers.models.BPE({**{c: i for i, c in enumerate(alphabet)}, "<end>": EOS}, [])
    inner = tokenizers.Tokenizer(model)
    inner.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = tokenizers.decoders.ByteLevel()
    inner.add_special_tokens(["<end>"])
    transformers.PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<end>").save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def compiler(folder: Path) -> GrammarCompiler:
    return GrammarCompiler(str(folder), None, False, VOCAB)


@pytest.fixture(scope="module")
def ids(folder: Path) -> Any:
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    return lambda text: tokenizer.encode(text, add_special_tokens=False)


def allowed(compiler: GrammarCompiler, specification: dict[str, Any], answer: list[int], output: Any = ()) -> set[int]:
    logits = torch.zeros(VOCAB)
    compiler.mask(specification, answer, list(output)).apply(logits)
    return {i for i, value in enumerate(logits.tolist()) if value == 0.0}


def takes(compiler: GrammarCompiler, ids: Any, specification: dict[str, Any], text: str) -> bool:
    """Whether the model could write the text and end."""
    written = ids(text)
    steps = [*written, EOS]
    return all(token in allowed(compiler, specification, written[:n]) for n, token in enumerate(steps))


ONE = {"json_schema": {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"],
                       "additionalProperties": False}}  # fmt: skip


def test_a_mask_leaves_what_the_schema_allows_and_at_the_end_only_the_end(compiler: GrammarCompiler, ids: Any) -> None:
    assert takes(compiler, ids, ONE, '{"a":12}')
    assert takes(compiler, ids, ONE, '{ "a": 12 }')
    assert not takes(compiler, ids, ONE, '{"a":"b"}')
    assert allowed(compiler, ONE, ids('{"a":12}')) >= {EOS}
    assert not allowed(compiler, ONE, ids('{"a":12}')) & set(ids("{a1"))


def test_a_mask_goes_on_after_what_was_drawn_before(compiler: GrammarCompiler, ids: Any) -> None:
    text = ids('{"a":1')
    for cut in range(len(text) + 1):
        assert allowed(compiler, ONE, text[:cut], text[cut:]) == allowed(compiler, ONE, text)
    mask = compiler.mask(ONE, text[:3], (output := text[3:4]))
    for token in text[4:]:
        mask.apply(torch.zeros(VOCAB))
        output.append(token)
    logits = torch.zeros(VOCAB)
    mask.apply(logits)
    assert {i for i, value in enumerate(logits.tolist()) if value == 0.0} == allowed(compiler, ONE, text)


def test_what_has_left_the_grammar_is_left_alone(compiler: GrammarCompiler, ids: Any) -> None:
    assert allowed(compiler, ONE, ids("[")) == set(range(VOCAB))


def test_any_json_object_and_nothing_else(compiler: GrammarCompiler, ids: Any) -> None:
    form = {"json_object": True}
    assert takes(compiler, ids, form, '{"a": [1, {"b": null}]}')
    assert not takes(compiler, ids, form, "[1]")


@pytest.mark.parametrize(
    ("schema", "document"),
    [
        ({"type": "string", "pattern": "b", "maxLength": 3}, "abc"),
        ({"properties": {"a": {"type": "integer"}}}, {"a": 1, "z": 2}),
        ({"type": "array", "uniqueItems": True, "items": {"type": "integer"}}, [1, 2]),
        ({"type": "integer", "not": {"const": 3}}, 4),
        ({"oneOf": [{"type": "string"}, {"type": "integer"}]}, 4),
        ({"type": "object", "required": ["a"]}, {"a": 1}),
        ({"$defs": {"n": {"type": "integer"}}, "$ref": "#/$defs/n", "maximum": 5}, 4),
    ],
)
def test_valid_documents_can_be_written_whatever_of_the_schema_is_left_to_others(
    compiler: GrammarCompiler, ids: Any, schema: dict[str, Any], document: Any
) -> None:
    assert takes(compiler, ids, {"json_schema": schema}, json.dumps(document))
    assert takes(compiler, ids, {"json_schema": json.dumps(schema)}, json.dumps(document))


@pytest.mark.parametrize(
    "schema", [{"$ref": "http://elsewhere.test/schema"}, {"type": "nothing"}, {"allOf": [False]}, {"$ref": "#/$defs/a"}]
)
def test_what_is_no_grammar_is_a_value_error(compiler: GrammarCompiler, schema: Any) -> None:
    with pytest.raises(ValueError, match="cannot be used"):
        compiler.compile({"json_schema": schema})
    with pytest.raises(ValueError, match="cannot be used"):
        compiler.compile({"regex": "("})


@pytest.mark.parametrize(
    ("pattern", "text", "other"),
    [
        ("a+", "aa", "b"),
        ("^a+$", "aa", "^a$"),
        ("^a$|^b$", "b", "ab"),
        (r"\^a\$", "^a$", "a"),
        ("[^a$]", "b", "a"),
        (r"(a\/b|\{x\}|é)", "a/b", "é{x}"),
        ("", "", "a"),
    ],
)
def test_patterns_are_for_the_whole_answer(
    compiler: GrammarCompiler, ids: Any, pattern: str, text: str, other: str
) -> None:
    assert takes(compiler, ids, {"regex": pattern}, text)
    assert not takes(compiler, ids, {"regex": pattern}, other)


def test_anchors_elsewhere_are_refused() -> None:
    for pattern in ("a^b", "a$b", "(^a)b", "(a$)"):
        with pytest.raises(ValueError, match="leave it out"):
            whole_match(pattern)
