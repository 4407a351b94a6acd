"""The request bodies of OpenAI's completions and chat completions, and vLLM's extensions that its clients send.

Every field has a stated behaviour (docs/api.md): honoured, accepted without effect, or refused where it is given
another value than the one that means "nothing".
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from .messages import Message, NamedTool, Prediction, Tool
from .structured import ResponseFormat, StructuredFields
from .types import Body, Int64, Label, Number, TokenId

MAX_STOP = 64


class StreamOptions(Body):
    include_usage: bool | None = None
    include_obfuscation: bool | None = None  # without effect: the stream is not padded
    continuous_usage_stats: bool | None = None  # vLLM's: usage so far in every chunk


class SamplingBody(StructuredFields):
    """Fields that both operations share."""

    model: str
    n: int | None = Field(None, ge=1, le=128)
    temperature: Number | None = Field(None, ge=0, le=2)
    top_p: Number | None = Field(None, ge=0, le=1)
    max_tokens: int | None = Field(None, ge=0)
    stop: str | list[str] | None = None
    seed: Int64 | None = None
    presence_penalty: Number | None = Field(None, ge=-2, le=2)
    frequency_penalty: Number | None = Field(None, ge=-2, le=2)
    logit_bias: dict[str, Annotated[Number, Field(ge=-100, le=100)]] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    user: str | None = None

    # vLLM's
    top_k: int | None = Field(None, ge=-1)
    min_p: Number | None = Field(None, ge=0, le=1)
    repetition_penalty: Number | None = Field(None, gt=0)
    stop_token_ids: list[TokenId] | None = None
    ignore_eos: bool | None = None
    min_tokens: int | None = Field(None, ge=0)
    return_token_ids: bool | None = None
    bad_words: list[Annotated[str, Field(min_length=1)]] | None = Field(None, max_length=128)
    skip_special_tokens: bool | None = None
    include_stop_str_in_output: bool | None = None
    truncate_prompt_tokens: int | None = Field(None, ge=-1)

    smc: dict[str, Any] | None = None

    @property
    def draws(self) -> int:
        """``n``: how many answers are drawn from the final particles."""
        return 1 if self.n is None else self.n

    @property
    def stop_strings(self) -> tuple[str, ...]:
        return () if self.stop is None else (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)

    @property
    def include_usage(self) -> bool:
        return self.stream_options is not None and self.stream_options.include_usage is True

    @property
    def running_usage(self) -> bool:
        return self.stream_options is not None and self.stream_options.continuous_usage_stats is True

    @property
    def limit(self) -> int | None:
        """The most tokens of an answer that the request sets."""
        return self.max_tokens or None

    @property
    def least_particles(self) -> int:
        return 1

    @model_validator(mode="after")
    def _check_vllm(self) -> Self:
        if self.skip_special_tokens is False:
            raise ValueError(
                "skip_special_tokens cannot be false: rewards and stop strings read the text without special tokens; "
                "return_token_ids shows them"
            )
        if self.truncate_prompt_tokens == 0:
            raise ValueError("truncate_prompt_tokens must be at least 1, or -1 for as many as fit")
        return self

    @model_validator(mode="after")
    def _check_sampling(self) -> Self:
        if len(self.stop_strings) > MAX_STOP:
            raise ValueError(f"stop holds {len(self.stop_strings)} strings: at most {MAX_STOP} are allowed")
        if "" in self.stop_strings:
            raise ValueError("stop holds an empty string, which would end every answer at once: leave it out")
        if self.stream_options is not None and not self.stream:
            raise ValueError("stream_options needs stream: true")
        return self


class CompletionBody(SamplingBody):
    """``POST /v1/completions``."""

    prompt: str | list[str] | list[TokenId] | list[list[TokenId]]
    best_of: int | None = Field(None, ge=0, le=20)
    echo: bool | None = None
    logprobs: int | None = Field(None, ge=0, le=5)
    suffix: str | None = None
    add_special_tokens: bool | None = None

    @property
    def least_particles(self) -> int:
        return self.best_of or 1

    @field_validator("prompt", mode="before")
    @classmethod
    def _check_shape(cls, value: object) -> object:
        """A union's own errors would speak of each of its members."""
        if isinstance(value, list):
            kinds = {type(each) for each in value}
            ids = all(type(one) is int and one >= 0 for each in value if isinstance(each, list) for one in each)
            if kinds == {int} and min(value) >= 0:
                return value
            if kinds <= {str} or (kinds == {list} and ids):
                return value
        elif isinstance(value, str):
            return value
        raise ValueError("prompt must be a string, a list of strings, a list of token ids, or a list of such lists")

    @model_validator(mode="after")
    def _check_completion(self) -> Self:
        if self.best_of and self.best_of < self.draws:
            raise ValueError(f"best_of ({self.best_of}) must not be less than n ({self.draws})")
        if self.suffix:
            raise ValueError("suffix is not supported: text cannot be inserted before it; leave it out")
        if self.max_tokens == 0 and not self.echo:
            raise ValueError("max_tokens 0 scores the prompt and needs echo: true; else give max_tokens of at least 1")
        return self


class ChatBody(SamplingBody):
    """``POST /v1/chat/completions``."""

    messages: list[Message] = Field(min_length=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    logprobs: bool | None = None
    top_logprobs: int | None = Field(None, ge=0, le=20)
    response_format: ResponseFormat | None = None
    tools: list[Tool] | None = Field(None, max_length=128)
    tool_choice: Literal["none", "auto", "required"] | NamedTool | None = None
    parallel_tool_calls: bool | None = None
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh"] | None = None
    """Handed to the chat template, as vLLM does; templates that do not know it are not changed by it."""

    # Accepted without effect: they say nothing of the answer.
    metadata: dict[Annotated[str, Field(max_length=64)], Label] | None = Field(None, max_length=16)
    store: bool | None = None
    service_tier: Literal["auto", "default", "flex", "scale", "priority"] | None = None
    safety_identifier: str | None = Field(None, max_length=64)
    prompt_cache_key: str | None = None
    prompt_cache_retention: Literal["in_memory", "in-memory", "24h"] | None = None
    prediction: Prediction | None = None
    verbosity: Literal["low", "medium", "high"] | None = None

    # Refused, but for the value that means nothing.
    modalities: list[Literal["text"]] | None = None
    audio: None = None
    web_search_options: None = None
    functions: None = None
    function_call: None = None

    # vLLM's
    chat_template_kwargs: dict[str, Any] | None = None
    add_generation_prompt: bool | None = None
    continue_final_message: bool | None = None

    @property
    def limit(self) -> int | None:
        return self.max_completion_tokens if self.max_completion_tokens is not None else self.max_tokens

    @model_validator(mode="after")
    def _check_chat(self) -> Self:
        if self.top_logprobs is not None and not self.logprobs:
            raise ValueError("top_logprobs needs logprobs: true")
        if self.max_tokens is not None and self.max_completion_tokens not in (None, self.max_tokens):
            raise ValueError("max_tokens and max_completion_tokens differ: give one of them")
        if self.max_tokens == 0:
            raise ValueError("max_tokens must be at least 1")
        if self.continue_final_message and self.add_generation_prompt:
            raise ValueError("continue_final_message needs add_generation_prompt: false")
        if self.tool_choice in ("required",) and not self.tools:
            raise ValueError("tool_choice needs tools")
        if isinstance(self.tool_choice, NamedTool):
            names = [tool.function.name for tool in self.tools or ()]
            if self.tool_choice.function.name not in names:
                raise ValueError(f"tool_choice names a function that is not in tools: {', '.join(names) or 'none'}")
        return self
