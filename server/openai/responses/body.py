"""The body of ``POST /v1/responses``. Every field has a stated behaviour (docs/api.md)."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, field_validator, model_validator

from ..types import Body, Int64, Label, Number

_STORED = "nothing is stored here"


class FunctionTool(Body):
    type: Literal["function"]
    name: str = Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class ToolName(Body):
    type: Literal["function"]
    name: str


class AllowedTools(Body):
    type: Literal["allowed_tools"]
    mode: Literal["auto", "required"]
    tools: list[ToolName] = Field(min_length=1)


class TextFormat(Body):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, populate_by_name=True)

    type: Literal["text", "json_object", "json_schema"]
    name: str | None = Field(None, pattern=r"^[a-zA-Z0-9_-]{1,64}$")
    description: str | None = None
    schema_: dict[str, Any] | None = Field(None, alias="schema")
    strict: bool | None = None

    @model_validator(mode="after")
    def _check_format(self) -> Self:
        whole = self.name is not None and self.schema_ is not None
        if self.type == "json_schema" and not whole:
            raise ValueError("a format of type 'json_schema' needs name and schema")
        if self.type != "json_schema" and (self.name is not None or self.schema_ is not None):
            raise ValueError("name and schema go with type 'json_schema', and with no other")
        return self


class TextOptions(Body):
    format: TextFormat | None = None
    verbosity: Literal["low", "medium", "high"] | None = None


class Reasoning(Body):
    effort: Literal["none", "minimal", "low", "medium", "high", "xhigh"] | None = None
    summary: Literal["auto", "concise", "detailed"] | None = None
    generate_summary: Literal["auto", "concise", "detailed"] | None = None


class ResponseStreamOptions(Body):
    include_obfuscation: bool | None = None  # without effect: the stream is not padded


class ResponsesBody(Body):
    """``POST /v1/responses``."""

    model: str
    input: str | list[dict[str, Any]]
    instructions: str | None = None
    max_output_tokens: int | None = Field(None, ge=1)
    temperature: Number | None = Field(None, ge=0, le=2)
    top_p: Number | None = Field(None, ge=0, le=1)
    top_logprobs: int | None = Field(None, ge=0, le=20)
    text: TextOptions | None = None
    tools: list[FunctionTool] | None = Field(None, max_length=128)
    tool_choice: Literal["none", "auto", "required"] | ToolName | AllowedTools | None = None
    parallel_tool_calls: bool | None = None
    reasoning: Reasoning | None = None
    include: list[str] | None = None
    stream: bool | None = None
    stream_options: ResponseStreamOptions | None = None

    # Accepted without effect: they say nothing of the answer.
    metadata: dict[Annotated[str, Field(max_length=64)], Label] | None = Field(None, max_length=16)
    user: str | None = None
    service_tier: Literal["auto", "default", "flex", "scale", "priority"] | None = None
    safety_identifier: str | None = Field(None, max_length=64)
    prompt_cache_key: str | None = None
    prompt_cache_retention: Literal["in_memory", "in-memory", "24h"] | None = None
    prompt_cache_options: dict[str, Any] | None = None
    max_tool_calls: int | None = Field(None, ge=1)

    # Refused, but for the value that means nothing.
    store: bool | None = None
    background: bool | None = None
    truncation: Literal["auto", "disabled"] | None = None
    previous_response_id: str | None = None
    conversation: str | dict[str, Any] | None = None
    prompt: dict[str, Any] | None = None
    context_management: list[Any] | None = None
    background_options: dict[str, Any] | None = None
    moderation: dict[str, Any] | None = None
    image: dict[str, Any] | None = None
    access_programs: dict[str, Any] | None = None

    # vLLM's
    seed: Int64 | None = None
    stop: str | list[str] | None = None
    top_k: int | None = Field(None, ge=-1)
    min_p: Number | None = Field(None, ge=0, le=1)
    repetition_penalty: Number | None = Field(None, gt=0)
    presence_penalty: Number | None = Field(None, ge=-2, le=2)
    frequency_penalty: Number | None = Field(None, ge=-2, le=2)
    chat_template_kwargs: dict[str, Any] | None = None

    smc: dict[str, Any] | None = None

    @property
    def with_logprobs(self) -> bool:
        return "message.output_text.logprobs" in (self.include or ()) or bool(self.top_logprobs)

    @field_validator("input", mode="before")
    @classmethod
    def _check_input(cls, value: object) -> object:
        """A union's own errors would speak of each of its members."""
        if isinstance(value, str) or (isinstance(value, list) and all(isinstance(each, dict) for each in value)):
            return value
        raise ValueError("input must be a string, or a list of items, each an object")

    @field_validator("tools", mode="before")
    @classmethod
    def _check_tools(cls, value: object) -> object:
        for tool in value if isinstance(value, list) else ():
            kind = tool.get("type") if isinstance(tool, dict) else None
            if isinstance(kind, str) and kind != "function":
                raise ValueError(
                    f"tools of type {kind!r} are not run here: give function tools, whose calls the client answers"
                )
        return value

    @field_validator("include")
    @classmethod
    def _check_include(cls, value: list[str] | None) -> list[str] | None:
        unknown = sorted(set(value or ()) - _INCLUDABLE)
        if unknown:
            raise ValueError(f"include: {unknown[0]!r} is not known; allowed: {', '.join(sorted(_INCLUDABLE))}")
        return value

    @model_validator(mode="after")
    def _check_refused(self) -> Self:
        for name, reason in _REFUSED.items():
            if getattr(self, name) not in (None, False):
                raise ValueError(f"{name} is not supported: {reason}")
        if self.truncation == "auto":
            raise ValueError("truncation 'auto' is not supported: nothing of a conversation is dropped in silence")
        if self.stream_options is not None and not self.stream:
            raise ValueError("stream_options needs stream: true")
        return self


_INCLUDABLE = frozenset(
    {
        "message.output_text.logprobs",
        # Of what answers here never hold.
        "reasoning.encrypted_content",
        "message.input_image.image_url",
        "file_search_call.results",
        "web_search_call.results",
        "web_search_call.action.sources",
        "computer_call_output.output.image_url",
        "code_interpreter_call.outputs",
    }
)
_REFUSED = {
    "store": f"{_STORED}; leave it out, or send false",
    "previous_response_id": f"{_STORED}, so send the items of the conversation in input",
    "conversation": f"{_STORED}, so send the items of the conversation in input",
    "prompt": f"{_STORED}, so send its text in instructions or input",
    "background": f"{_STORED}, so a response cannot be fetched later; use stream: true for a long one",
    "background_options": f"{_STORED}, so a response cannot be fetched later",
    "context_management": "nothing of a conversation is dropped or summarised here; send less of it",
    "moderation": "nothing is moderated here",
    "image": "images are neither read nor made here",
    "access_programs": "there are none here",
}
