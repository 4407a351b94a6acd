"""Ray Serve: a deployment of whole replicas, each a server with its own engine.

    serve run smc_decode.serving.ray:build config=server.toml replicas=2

A replica is the application of ``smc-decode serve``, so that routes, streams, errors and limits are the same. What
Serve must be told so that they stay the same is in :func:`build`: its own queue would hide our 429, and its own time
limit would cut answers that ours lets finish. docs/deploy.md has what was tried.

This is the one place of the library that needs the server. It is loaded by name when a replica starts (``server`` in a
checkout, ``smc_decode_server`` in an installation), so that importing the library never does.

No ``from __future__ import annotations`` here: Ray Serve reads the annotation of the builder's parameter as it stands,
and takes a string for none, so that arguments would arrive as a dict that nobody has checked.
"""

import importlib
from typing import Any

from ray import serve
from ray.serve.config import AutoscalingConfig, AutoscalingPolicy, BackpressureConfig, RequestRouterConfig
from ray.util import metrics

from smc_decode.serving.arguments import Arguments
from smc_decode.serving.asgi import Fronted
from smc_decode.serving.scaling import SLOTS, by_slots

SHUTDOWN_SECONDS = 60.0
"""What an engine may take to end, after the last request."""
RETRY_SECONDS = 5.0
"""What a client should wait that Serve itself refused."""
_AFFINITY = "ray.serve.experimental.consistent_hash_router.ConsistentHashRouter"


def build(args: Arguments) -> serve.Application:
    """The application of ``serve run``. Raises ConfigError: the configuration cannot be used."""
    settings = _settings(args)
    server = settings.server
    # More than ours admits: a request too many is our 429 with Retry-After, not a place in a queue that nobody sees.
    ours = server.particle_slots + server.queue_length
    options: dict[str, Any] = {
        "max_ongoing_requests": 2 * ours,
        "max_queued_requests": 2 * ours,
        # What Serve refuses itself should be tried again later too; its 503 is for a server that is down.
        "backpressure_config": BackpressureConfig(status_code=429, retry_after_s=RETRY_SECONDS),
        # Past it Serve ends the process as it is: nothing is cancelled, and no client is told.
        "graceful_shutdown_timeout_s": server.request_timeout_s + server.drain_timeout_s + SHUTDOWN_SECONDS,
        "health_check_period_s": 10.0,
        "ray_actor_options": {"num_cpus": args.num_cpus, "num_gpus": args.num_gpus},
    }
    if args.sticky:
        options["request_router_config"] = RequestRouterConfig(request_router_class=_AFFINITY)
    if args.max_replicas is None:
        options["num_replicas"] = args.replicas
    else:
        policy = AutoscalingPolicy(policy_function=by_slots)
        options["autoscaling_config"] = AutoscalingConfig(
            min_replicas=args.replicas, max_replicas=args.max_replicas, target_ongoing_requests=args.target_slots,
            policy=policy,
        )  # fmt: skip
    deployment: Any = serve.deployment(name="smc-decode")(serve.ingress()(Replica))
    return deployment.options(**options).bind(args)


class Replica:
    """One server. Serve makes it, asks whether it is well, and ends it when no request is left."""

    async def __init__(self, args: Arguments) -> None:  # type: ignore[misc]  # Serve awaits it
        settings = _settings(args)
        loading, app, auth = _server("process.loading"), _server("app"), _server("edge.auth")
        _server("edge.logs").configure_logging(settings.server)
        keys = auth.read_keys(settings.server)
        console = importlib.import_module("rich.console").Console(stderr=True)
        loaded = await loading.load(settings, console)
        self._app = app.create_app(
            loaded.engine,
            loaded.catalogue,
            settings.server.model_copy(update={"served_model_name": loaded.names(settings)}),
            presets=settings.presets,
            keys=keys,
            sandbox=loaded.sandbox,
        )
        self._state = self._app.state
        self._asgi = Fronted(self._app, open_to_others=bool(keys), drain=self._state.lifecycle.drain)
        tags = {"replica": serve.get_replica_context().replica_id.unique_id}
        self._gauges = {
            name: metrics.Gauge(f"smc_decode_{name}", description=text, tag_keys=("replica",))
            for name, text in (
                ("requests_running", "Requests that hold particle slots."),
                ("requests_waiting", "Requests in the queue."),
                (SLOTS, "Share of the particle slots that requests hold."),
            )
        }
        for gauge in self._gauges.values():
            gauge.set_default_tags(tags)

    def __serve_build_asgi_app__(self) -> Fronted:
        return self._asgi

    async def check_health(self) -> None:
        """Raises RuntimeError when the engine is gone: Serve then replaces the replica."""
        self._tell()
        fault = await self._state.lifecycle.check()
        if fault is not None:
            raise RuntimeError(fault)

    def record_autoscaling_stats(self) -> dict[str, float]:
        self._tell()
        return {SLOTS: self._slots}

    @property
    def _slots(self) -> float:
        admission = self._state.admission
        return float(admission.used / admission.capacity)

    def _tell(self) -> None:
        admission = self._state.admission
        self._gauges["requests_running"].set(admission.running)
        self._gauges["requests_waiting"].set(admission.waiting)
        self._gauges[SLOTS].set(self._slots)


def _settings(args: Arguments) -> Any:
    return _server("settings").load_settings(args.config)


def _server(module: str) -> Any:
    """A module of the server, by the name that it has here."""
    for package in ("smc_decode_server", "server"):
        try:
            return importlib.import_module(f"{package}.{module}")
        except ModuleNotFoundError as error:
            if not (error.name or "").startswith(package):
                raise
    raise ModuleNotFoundError("the server is not installed: pip install 'smc-decode[ray]'", name="smc_decode_server")
