"""OpenTelemetry spans around requests' runs. Without an SDK they cost next to nothing and go nowhere."""

from __future__ import annotations

from opentelemetry import propagate, trace

from smc_decode.events import Event
from smc_decode.result import SMCResult

from .plan import Plan
from .request import Origin

_tracer = trace.get_tracer("smc_decode")


class Spans:
    """A span for every run, a child of the span that the client's ``traceparent`` header names."""

    def begin(self, plan: Plan, origin: Origin) -> RunSpan:
        attributes = {
            "gen_ai.operation.name": "text_completion" if plan.prompt.messages is None else "chat",
            "gen_ai.request.model": origin.model,
            "gen_ai.usage.input_tokens": len(plan.prompt.token_ids),
            "smc.preset": plan.preset,
            "smc.n_particles": plan.config.n_particles,
            "smc.block_size": plan.config.block_size,
        }
        context = propagate.extract(dict(origin.headers))
        # A run may end in another context than it began in (a stream that is closed), so the span is not made current.
        kind = trace.SpanKind.INTERNAL
        return RunSpan(_tracer.start_span("smc.run", context=context, kind=kind, attributes=attributes))


class RunSpan:
    """The span of one run, which its result is written to."""

    def __init__(self, span: trace.Span) -> None:
        self._span = span

    def read(self, event: Event) -> None:
        """Nothing: a span tells of the whole run."""

    def finished(self, result: SMCResult) -> None:
        usage = result.usage
        self._span.set_attributes(
            {
                "smc.blocks": result.blocks,
                "smc.resamplings": sum(result.resampled),
                "smc.stopped": result.stopped,
                "smc.tokens.sampled": usage.sampled,
                "smc.tokens.rollout": usage.rollout,
                "smc.tokens.mh": usage.mh,
                "gen_ai.usage.output_tokens": usage.answer,
            }
        )
        if result.log_z is not None:
            self._span.set_attribute("smc.log_z", result.log_z)

    def ended(self, outcome: str, error: Exception | None) -> None:
        if error is not None:
            self._span.record_exception(error)
            self._span.set_status(trace.StatusCode.ERROR, str(error))
        self._span.end()
