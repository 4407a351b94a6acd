"""What a reward is asked for: the request it belongs to, its options, and errors that name the field at fault."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from smc_decode.answers.thinking import Thinking
from smc_decode.potentials.accounts import Account
from smc_decode.validation import field_names, problem_of

Finite = Annotated[float, Field(allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class Options(BaseModel):
    """Base of every source's options. Unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class RewardRequestError(ValueError):
    """The request asks for a reward that cannot be given. ``param`` is the dotted field at fault, ``code`` the API's
    name for what is wrong."""

    def __init__(self, message: str, param: str, code: str = "invalid_value") -> None:
        super().__init__(message)
        self.param = param
        self.code = code


class RewardConfigError(ValueError):
    """The operator's configuration of rewards is wrong; the message names the table and the key."""


class MissingExtra(ImportError):
    """An optional dependency of a reward is not installed; the message names the extra."""


@dataclass(frozen=True)
class RewardRequest:
    """The request that a reward is built for. ``messages`` is None for a completion; ``client_is_local``: the client is
    on this machine's loopback; ``continues``: the answer goes on with the last message (``continue_final_message``);
    ``thinking``: how texts of a model that thinks aloud are taken apart, None: rewards look at all of them;
    ``account``: what pays for its rewards."""

    prompt_text: str = ""
    messages: Sequence[Mapping[str, Any]] | None = None
    client_is_local: bool = True
    continues: bool = False
    thinking: Thinking | None = None
    account: Account = field(default_factory=Account, compare=False)

    @property
    def task(self) -> str:
        """What the user asked: the last user message's text, or the prompt."""
        for message in reversed(self.messages or ()):
            if message.get("role") == "user":
                return text_of(message.get("content"))
        return self.prompt_text

    @property
    def continues_assistant(self) -> bool:
        """Whether the answer continues a message that the client began for the assistant."""
        return self.continues and bool(self.messages) and (self.messages or ())[-1].get("role") == "assistant"

    @property
    def lead(self) -> str:
        """What the assistant's message begins with already, as the client wrote it; rewards judge the whole message, or
        what of it is no thought."""
        written = text_of((self.messages or ())[-1].get("content")) if self.continues_assistant else ""
        return written if self.thinking is None else Thinking(self.thinking.tags).final(written)


def text_of(content: object) -> str:
    """The text of a message's content, which is a string or a list of parts."""
    if isinstance(content, str):
        return content
    if isinstance(content, Sequence):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, Mapping))
    return ""


def option_names(model: type[BaseModel]) -> list[str]:
    """The options' names as users write them."""
    return field_names(model)


OptionsT = TypeVar("OptionsT", bound=BaseModel)


def validate(model: type[OptionsT], values: Mapping[str, Any], where: str) -> OptionsT:
    """``values`` as ``model``. Raises RewardRequestError whose ``param`` is ``where.field``."""
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        problem = problem_of(error, model, where)
        raise RewardRequestError(str(problem), problem.place) from None


def require(module: str, extra: str = "rewards") -> ModuleType:
    """Import an optional dependency. Raises MissingExtra with the command that installs it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        name = module.partition(".")[0]
        raise MissingExtra(
            f"this reward needs {name}, which is not installed: pip install 'smc-decode[{extra}]'"
        ) from error
