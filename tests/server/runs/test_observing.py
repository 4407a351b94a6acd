"""What can be seen of a server: models, readiness, metrics, stored runs, spans, the page."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from server.runs.store import Traces
from smc_decode.events import Committed
from tests.server.conftest import Client, MakeClient, completion
from tests.server.edge.test_auth import KEYS
from tests.server.toy import SlowEngine

BLOCKS = {"preset": "smc-reward", "n_particles": 3, "block_size": 5, "ess_threshold": 1.0}


async def test_models_lists_the_model_and_its_presets(make_client: MakeClient) -> None:
    client = make_client(served_model_name=("org/toy", "alias"))
    listed = (await client.get("/v1/models")).json()
    assert listed["object"] == "list"
    ids = [model["id"] for model in listed["data"]]
    assert {"org/toy", "org/toy:best-of-n", "alias", "alias:smc"} <= set(ids)
    for name in ids:
        one = await client.get(f"/v1/models/{name}")
        assert one.status_code == 200
        assert one.json()["id"] == name


async def test_ready_says_what_is_there(client: Client) -> None:
    ready = (await client.get("/ready")).json()
    assert ready["status"] == "ready"
    assert "unit_tests" in ready["rewards"]
    assert ready["preset"] == "smc"


async def test_metrics_count_requests_runs_and_tokens(client: Client) -> None:
    await client.post("/v1/completions", json=completion(smc=BLOCKS))
    await client.post("/v1/completions", json=completion(prompt=""))
    text = (await client.get("/metrics")).text
    assert 'smc_http_requests_total{method="POST",route="/v1/completions",status="400"} 1.0' in text
    assert 'smc_runs_total{outcome="finished",preset="smc-reward"} 1.0' in text
    sampled = re.search(r'smc_tokens_total\{account="sampled"\} (\S+)', text)
    assert sampled
    assert float(sampled[1]) > 0
    assert "smc_ess_share_count" in text
    assert "smc_first_commit_seconds_count 1.0" in text
    assert "smc_particle_slots_used 0.0" in text


async def test_the_engines_own_metrics_are_shown_beside_ours_while_it_lives(make_client: MakeClient) -> None:
    class Telling(SlowEngine):
        async def metrics_text(self) -> str:
            await self.health()
            return "# TYPE vllm:num_requests_running gauge\nvllm:num_requests_running 3.0\n"

    engine = Telling(0.0)
    client = make_client(engine)
    assert "\nvllm:num_requests_running 3.0\n" in (await client.get("/metrics")).text
    engine.dead = True
    text = (await client.get("/metrics")).text
    assert "vllm:" not in text
    assert "smc_particle_slots " in text


async def test_unknown_paths_do_not_grow_the_metrics(client: Client) -> None:
    for path in ("/a", "/b", "/c"):
        await client.get(path)
    assert (
        'smc_http_requests_total{method="GET",route="unknown",status="404"} 3.0' in (await client.get("/metrics")).text
    )


async def test_a_stored_run_is_given_back(client: Client) -> None:
    reply = (await client.post("/v1/completions", json=completion(smc={**BLOCKS, "trace": True}))).json()
    run_id = reply["smc"]["trace_id"]
    run = (await client.get(f"/v1/smc/runs/{run_id}")).json()
    assert run["id"] == run_id
    assert run["prompt"] == "abc"
    assert run["result"]["answer"]["text"] == reply["choices"][0]["text"]
    assert run["result"]["log_z"] == reply["smc"]["log_z"]
    lines = (await client.get(f"/v1/smc/runs/{run_id}/events")).text.splitlines()
    kinds = [json.loads(line)["event"] for line in lines]
    assert kinds[0] == "Started"
    assert kinds[-1] == "Finished"
    assert len(kinds) == run["events"]
    sse = await client.get(f"/v1/smc/runs/{run_id}/events", headers={"accept": "text/event-stream"})
    assert sse.text.count("data: ") == len(kinds) + 1


async def test_a_run_is_stored_only_when_asked_for(client: Client, tmp_path: Path) -> None:
    reply = await client.post("/v1/completions", json=completion(smc=BLOCKS))
    assert reply.json()["smc"]["trace_id"] is None
    assert not (tmp_path / "traces").exists()


@pytest.mark.parametrize("run_id", ["run_0", "..%2f..%2fetc%2fpasswd", "run_" + "0" * 32])
async def test_other_ids_are_a_404(client: Client, run_id: str) -> None:
    assert (await client.get(f"/v1/smc/runs/{run_id}")).status_code == 404


async def test_a_stored_run_is_its_keys_alone(make_client: MakeClient) -> None:
    client = make_client(keys=KEYS)
    alice, bob = ({"authorization": f"Bearer sk-{name}"} for name in ("alice", "bob"))
    body = completion(smc={**BLOCKS, "trace": True})
    run_id = (await client.post("/v1/completions", json=body, headers=alice)).json()["smc"]["trace_id"]
    assert (await client.get(f"/v1/smc/runs/{run_id}", headers=alice)).status_code == 200
    assert (await client.get(f"/v1/smc/runs/{run_id}", headers=bob)).status_code == 404


async def test_a_trace_that_cannot_be_written_is_a_warning(make_client: MakeClient, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    client = make_client(trace_dir=tmp_path / "file" / "traces")
    reply = await client.post("/v1/completions", json=completion(smc={**BLOCKS, "trace": True}))
    assert reply.status_code == 200
    assert reply.json()["smc"]["trace_id"] is None
    assert any("could not be stored" in warning for warning in reply.json()["smc"]["warnings"])


async def test_a_full_disk_is_a_warning(make_client: MakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Any, text: str) -> int:
        raise OSError(28, "No space left on device")

    client = make_client()
    import server.runs.store

    real = server.runs.store.os.fdopen

    def fdopen(*args: Any, **kwargs: Any) -> Any:
        file = real(*args, **kwargs)

        class Full:
            write = full
            flush = staticmethod(file.flush)
            close = staticmethod(file.close)

        return Full()

    monkeypatch.setattr(server.runs.store.os, "fdopen", fdopen)
    reply = await client.post("/v1/completions", json=completion(smc={**BLOCKS, "trace": True}))
    assert reply.status_code == 200
    assert any("No space left" in warning for warning in reply.json()["smc"]["warnings"])


def test_the_folder_of_traces_is_bounded(tmp_path: Path) -> None:
    traces = Traces(tmp_path, 4000)
    for _ in range(30):
        trace = traces.begin({"owner": "me", "prompt": "x" * 500}, None)
        assert trace.warning is None
        trace.close()
    sizes = [path.stat().st_size for path in tmp_path.glob("*.jsonl")]
    assert 3 <= len(sizes) <= 9
    too_large = traces.begin({"owner": "me", "prompt": "x" * 5000}, None)
    assert too_large.warning is not None


def test_runs_that_go_on_side_by_side_stay_within_the_bound_together(tmp_path: Path) -> None:
    traces = Traces(tmp_path, 40_000)
    running = [traces.begin({"owner": "bob"}, None) for _ in range(12)]
    for trace in running:
        for _ in range(3):
            trace.read(Committed(0, tuple(range(500))))
    kept = [trace for trace in running if trace.warning is None]
    stored = sum(path.stat().st_size for path in tmp_path.glob("*"))
    assert kept
    assert stored <= 20_000, "half of the bound is one key's share"
    assert all("half of trace_max_bytes" in (trace.warning or "half of trace_max_bytes") for trace in running)


def test_the_runs_of_a_key_that_stores_little_outlive_those_of_one_that_stores_much(tmp_path: Path) -> None:
    traces = Traces(tmp_path, 40_000)

    def store(owner: str) -> str:
        trace = traces.begin({"owner": owner, "prompt": "é" * 1500}, None)
        trace.close()
        return str(trace.id)

    alices = store("alice")
    for owner in ("bob", "eve") * 10:
        store(owner)
    assert list(traces.lines(alices, "alice"))
    again = Traces(tmp_path, 20_000)  # a server that is started anew counts what is there
    for _ in range(3):
        again.begin({"owner": "bob", "prompt": "x" * 3000}, None).close()
    assert sum(path.stat().st_size for path in tmp_path.glob("*")) <= 20_000
    assert list(again.lines(alices, "alice"))


async def test_a_run_is_a_span_below_the_clients(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    sdk = pytest.importorskip("opentelemetry.sdk.trace")
    memory = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter")
    export = pytest.importorskip("opentelemetry.sdk.trace.export")
    exporter = memory.InMemorySpanExporter()
    provider = sdk.TracerProvider()
    provider.add_span_processor(export.SimpleSpanProcessor(exporter))
    monkeypatch.setattr("server.runs.tracing._tracer", provider.get_tracer("test"))
    trace_id = "0af7651916cd43dd8448eb211c80319c"
    headers = {"traceparent": f"00-{trace_id}-b7ad6b7169203331-01"}
    await client.post("/v1/completions", json=completion(smc=BLOCKS), headers=headers)
    (span,) = exporter.get_finished_spans()
    assert f"{span.context.trace_id:032x}" == trace_id
    assert span.attributes["smc.preset"] == "smc-reward"
    assert span.attributes["smc.tokens.sampled"] > 0


async def test_the_page_is_complete_in_itself(client: Client) -> None:
    reply = await client.get("/")
    assert reply.headers["content-type"].startswith("text/html")
    policy = reply.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe-inline" not in policy
    assert not re.findall(r"""(?:src|href)\s*=\s*["']?(?:https?:)?//""", reply.text)
    assert "innerHTML" not in reply.text
    assert "insertAdjacentHTML" not in reply.text


async def test_requests_in_flight_are_seen(make_client: MakeClient) -> None:
    import asyncio

    client = make_client(SlowEngine(0.2))
    running = asyncio.create_task(client.post("/v1/completions", json=completion(smc=BLOCKS)))
    await asyncio.sleep(0.1)
    assert "smc_particle_slots_used 3.0" in (await client.get("/metrics")).text
    await running
