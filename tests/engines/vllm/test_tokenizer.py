"""The Hugging Face tokenizer behind the protocol: no engine is needed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from smc_decode.engines.vllm.tokenizer import HFTokenizer

tokenizers = pytest.importorskip("tokenizers")
transformers = pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer of three words, saved as models are."""
    path = tmp_path_factory.mktemp("model")
    inner = tokenizers.Tokenizer(tokenizers.models.WordLevel({"a": 0, "b": 1, "<unk>": 2, "<end>": 3}, "<unk>"))
    inner.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    made = transformers.PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="<unk>", eos_token="<end>")
    made.chat_template = "{% for message in messages %}{{ message.content }} {% endfor %}"
    made.save_pretrained(path)
    return path


def test_it_spells_tokens_as_the_vocabulary_does(folder: Path) -> None:
    assert HFTokenizer.load(str(folder)).token_strings([0, 3]) == ["a", "<end>"]


def test_it_describes_itself_in_json_without_paths_of_this_machine(folder: Path) -> None:
    described = HFTokenizer.load(str(folder)).describe()
    assert described["eos_token"] == "<end>"
    assert described["chat_template"].startswith("{% for")
    assert described["tokenizer_class"]
    assert str(folder) not in json.dumps(described)
