"""The model's own tokenizer, behind the Tokenizer protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from smc_decode.engines.base import EngineRequestError

_PATHS = frozenset(
    {"vocab_file", "merges_file", "tokenizer_file", "special_tokens_map_file", "name_or_path", "chat_template_file"}
)


class HFTokenizer:
    """A Hugging Face tokenizer: text to ids and back, and the model's chat template. Safe to share between tasks."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer

    @classmethod
    def load(cls, model: str, *, trust_remote_code: bool = False) -> HFTokenizer:
        """From a folder or a Hugging Face name. Blocks (and imports transformers)."""
        from transformers import AutoTokenizer

        local = Path(model).is_dir()
        return cls(AutoTokenizer.from_pretrained(model, trust_remote_code=trust_remote_code, local_files_only=local))

    @property
    def eos_token_id(self) -> int | None:
        value: int | None = self._tokenizer.eos_token_id
        return value

    @property
    def size(self) -> int:
        """Number of tokens, the added ones included."""
        return len(self._tokenizer)

    @property
    def has_chat_template(self) -> bool:
        return bool(self._tokenizer.chat_template)

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        return list(self._tokenizer.encode(text, add_special_tokens=add_special_tokens))

    def decode(self, token_ids: Sequence[int], *, skip_special_tokens: bool = True) -> str:
        return str(
            self._tokenizer.decode(
                list(token_ids), skip_special_tokens=skip_special_tokens, clean_up_tokenization_spaces=False
            )
        )

    @property
    def chat_template(self) -> str:
        """The model's own, or all of them where it has several by name; '' for none."""
        own = self._tokenizer.chat_template
        return "\n".join(own.values()) if isinstance(own, dict) else own or ""

    def token_strings(self, token_ids: Sequence[int]) -> list[str]:
        """How the vocabulary spells each token."""
        return list(self._tokenizer.convert_ids_to_tokens(list(token_ids)))

    def describe(self) -> dict[str, Any]:
        """What its ``tokenizer_config.json`` says, in JSON's types, without paths of this machine."""
        config = {key: value for key, value in self._tokenizer.init_kwargs.items() if key not in _PATHS}
        described: dict[str, Any] = _plain(config)
        described["tokenizer_class"] = type(self._tokenizer).__name__
        if self.has_chat_template:
            described["chat_template"] = _plain(self._tokenizer.chat_template)
        return described

    def apply_chat_template(self, messages: Sequence[Mapping[str, Any]], **kwargs: Any) -> list[int]:
        """Token ids of a conversation by the model's template.

        ``add_generation_prompt`` is True unless the last message is to be continued; other keyword arguments reach
        the template. Raises EngineRequestError when the model has no template, or it refuses the messages.
        """
        if not self.has_chat_template:
            raise EngineRequestError("the model has no chat template: use the completions endpoint for it")
        kwargs.setdefault("add_generation_prompt", not kwargs.get("continue_final_message", False))
        try:
            ids = self._tokenizer.apply_chat_template(
                [dict(message) for message in messages], tokenize=True, return_dict=False, **kwargs
            )
        except Exception as error:  # templates raise whatever they like
            raise EngineRequestError(f"the model's chat template cannot take these messages: {error}") from error
        return list(ids)


def _plain(value: Any) -> Any:
    """``value`` in JSON's types: an added token is its text."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if hasattr(value, "content"):
        return str(value.content)
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return str(value)
