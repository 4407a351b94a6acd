"""A real server process: clients that vanish, signals, a dying engine, and errors at the start."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import httpx
import pytest

from tests.server.conftest import completion

ROOT = Path(__file__).resolve().parents[3]
POPULATION = {"preset": "smc-reward", "n_particles": 16, "block_size": 4}
LONG = {"model": "toy", "prompt": "abc", "max_tokens": 400, "smc": POPULATION}


class Server:
    """A server in a process of its own. ``log``: what it writes to its standard error, which nobody reads meanwhile: a
    pipe would be full after some hundred requests, and the server would wait for a reader."""

    def __init__(self, process: subprocess.Popen[str], url: str, banner: list[str], log: IO[str]) -> None:
        self.process, self.url, self.banner, self._log = process, url, banner, log

    def errors(self) -> str:
        """What it has written to its standard error so far."""
        self._log.seek(0)
        return self._log.read()

    def metric(self, name: str) -> float:
        text = httpx.get(f"{self.url}/metrics").text
        found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
        return float(found[1]) if found else 0.0

    def until(self, name: str, value: float, seconds: float = 10.0) -> float:
        """Seconds until the metric has the value."""
        began = time.monotonic()
        while self.metric(name) != value:
            assert time.monotonic() - began < seconds, f"{name} is {self.metric(name)}, not {value}"
            time.sleep(0.02)
        return time.monotonic() - began


Start = Callable[..., Server]


def start_server(*arguments: str, seconds: float = 0.05) -> Server:
    command = [sys.executable, "-m", "server.cli", "serve", "--port", "0", *arguments]
    log = tempfile.TemporaryFile("w+")  # noqa: SIM115 (it lives as long as the server)
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=log, text=True)
    banner = []
    assert process.stdout is not None
    for line in process.stdout:
        banner.append(line.rstrip("\n"))
        if line.startswith("try"):
            break
    found = re.search(r"http://127\.0\.0\.1:\d+", "\n".join(banner))
    server = Server(process, found[0] if found else "", banner, log)
    assert found, server.errors()
    return server


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("config") / "smc.toml"
    path.write_text(
        '[server]\nserved_model_name = ["toy"]\ndrain_timeout_s = 20\n'
        '[engine]\nkind = "tests.server.toy:create"\nseconds = 0.05\n'
    )
    return path


@contextlib.contextmanager
def running(*arguments: str) -> Iterator[Server]:
    server = start_server(*arguments)
    try:
        yield server
    finally:
        server.process.kill()
        server.process.communicate()


@pytest.fixture(scope="module")
def server(config: Path) -> Iterator[Server]:
    with running("--config", str(config)) as started:
        yield started


def test_the_banner_says_what_was_started_in_eight_lines(server: Server) -> None:
    assert len(server.banner) == 8
    text = "\n".join(server.banner)
    for word in ("smc-decode", "toy", "unit_tests", "curl", "/metrics"):
        assert word in text


def test_the_line_of_the_banner_works_when_pasted(server: Server) -> None:
    line = server.banner[-1].removeprefix("try").strip()
    reply = subprocess.run(["bash", "-c", f"{line} -s"], capture_output=True, text=True, timeout=60)
    if reply.returncode == 127:
        pytest.skip("curl is not installed")
    assert '"chat.completion"' in reply.stdout


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_vanishes_ends_its_work_within_a_second(server: Server, stream: bool) -> None:
    async with httpx.AsyncClient(base_url=server.url, timeout=30) as client:
        task = asyncio.create_task(client.post("/v1/completions", json={**LONG, "stream": stream}))
        await asyncio.to_thread(server.until, "smc_requests_running", 1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert await asyncio.to_thread(server.until, "smc_requests_running", 0) < 1.0
    assert server.metric("smc_particle_slots_used") == 0


async def test_two_hundred_clients_that_vanish_leave_nothing_behind(server: Server) -> None:
    limits = httpx.Limits(max_connections=200)
    async with httpx.AsyncClient(base_url=server.url, timeout=30, limits=limits) as client:
        bodies = [{**LONG, "stream": bool(i % 2)} for i in range(200)]
        tasks = [asyncio.create_task(client.post("/v1/completions", json=body)) for body in bodies]
        await asyncio.to_thread(server.until, "smc_requests_running", 16)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for name in ("smc_requests_running", "smc_requests_waiting", "smc_particle_slots_used"):
        await asyncio.to_thread(server.until, name, 0)
    assert httpx.post(f"{server.url}/v1/completions", json=completion()).status_code == 200


def test_bytes_that_are_no_http_do_not_disturb_it(server: Server) -> None:
    host, port = server.url.removeprefix("http://").split(":")
    for junk in (
        b"\x00" * 100,
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /v1/completions HTTP/1.1\r\nContent-Length: 5\r\n\r\n",
    ):
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(junk)
    assert httpx.get(f"{server.url}/health").status_code == 200


def test_half_a_request_is_not_waited_for(config: Path, tmp_path: Path) -> None:
    path = tmp_path / "smc.toml"
    limits = "receive_timeout_s = 0.3\nmax_header_bytes = 4096\nmax_connections = 4\n"
    path.write_text(config.read_text().replace("[server]\n", f"[server]\n{limits}"))
    with running("--config", str(path)) as server:
        host, port = server.url.removeprefix("http://").split(":")
        whole = b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
        head = b"POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        for sent, status in (
            (b"", 408),
            (b"GET /health HT", 408),
            (whole + b"GET /hea", 408),
            (head + b"Content-Length: 50\r\n\r\n{", 408),
            (b"GET /health HTTP/1.1\r\nX: " + b"x" * 8000, 400),
        ):
            with socket.create_connection((host, int(port)), timeout=20) as connection:
                connection.sendall(sent)
                reply = b"".join(iter(lambda c=connection: c.recv(65536), b""))
            assert f"HTTP/1.1 {status} ".encode() in reply, (sent, reply)
            assert b'"error": {' in reply or b'"error":{' in reply
        held = [socket.create_connection((host, int(port)), timeout=20) for _ in range(4)]
        with socket.create_connection((host, int(port)), timeout=20) as connection:
            assert b'"too_many_connections"' in b"".join(iter(lambda: connection.recv(65536), b""))
        for each in held:
            each.close()
        assert httpx.get(f"{server.url}/health").status_code == 200


def malformed(number: int) -> bytes:
    """A request's body with a few of its bytes changed, lost, repeated or moved."""
    rng = random.Random(number)
    smc = {"preset": "smc-reward", "n_particles": 2, "block_size": 4, "reward": {"name": "regex", "params": {}}}
    body = bytearray(json.dumps({**LONG, "max_tokens": 8, "stop": ["x"], "seed": 1, "smc": smc}).encode())
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(body))
        until = min(len(body), at + rng.randint(1, 8))
        match rng.randrange(5):
            case 0:
                body[at] = rng.randrange(256)
            case 1:
                del body[at:until]
            case 2:
                body[at:at] = body[at:until] * rng.randint(1, 50)
            case 3:
                body[at:until] = rng.choice((b"null", b"1e999", b"-1", b"[[[", b'"\\ud800"', b"true", b"{}"))
            case _:
                body = body[:at] or bytearray(b"{")
    return bytes(body)


async def test_a_thousand_malformed_requests_are_all_answered() -> None:
    paths = ("/v1/completions", "/v1/chat/completions")
    headers = {"content-type": "application/json"}
    # Nobody reads what it logs here, and a full pipe would stop it.
    with running("--engine", "tests.server.toy:create", "--log-level", "error") as server:
        limits = httpx.Limits(max_connections=50)
        async with httpx.AsyncClient(base_url=server.url, headers=headers, timeout=120, limits=limits) as client:
            replies = await asyncio.gather(*(client.post(paths[i % 2], content=malformed(i)) for i in range(1000)))
            for name in ("smc_requests_running", "smc_requests_waiting", "smc_particle_slots_used"):
                await asyncio.to_thread(server.until, name, 0)
            assert (await client.post("/v1/completions", json=completion())).status_code == 200
    for reply in replies:
        assert reply.status_code in (200, 400, 404, 422, 429), reply.text
        if reply.status_code != 200:
            assert set(reply.json()["error"]) == {"message", "type", "param", "code"}
    assert sum(reply.status_code == 400 for reply in replies) > 500


async def test_sigterm_under_load_answers_everyone(tmp_path: Path) -> None:
    path = tmp_path / "smc.toml"
    path.write_text(
        '[server]\nserved_model_name = ["toy"]\ndrain_timeout_s = 1\nparticle_slots = 64\n'
        '[engine]\nkind = "tests.server.toy:create"\nseconds = 0.05\n'
    )
    with running("--config", str(path)) as server:
        limits = httpx.Limits(max_connections=40)
        async with httpx.AsyncClient(base_url=server.url, timeout=60, limits=limits) as client:
            # Half of them are too long for the second that the server waits.
            bodies = [
                {**LONG, "max_tokens": 400 if i % 4 < 2 else 8, "stream": bool(i % 2), "seed": i} for i in range(32)
            ]
            tasks = [asyncio.create_task(client.post("/v1/completions", json=body)) for body in bodies]
            await asyncio.to_thread(server.until, "smc_requests_running", 4)
            server.process.send_signal(signal.SIGTERM)
            replies = await asyncio.gather(*tasks)
        assert await asyncio.to_thread(server.process.wait, 20) == 0
        errors = server.errors()
    stopped = 0
    for reply in replies:
        if "text/event-stream" in reply.headers["content-type"]:
            assert reply.text.endswith("data: [DONE]\n\n")
        elif reply.status_code == 200:
            assert reply.json()["choices"]
        else:
            assert reply.status_code == 503
        stopped += "server_stopped" in reply.text or "server_draining" in reply.text
    assert stopped >= 8
    assert "Traceback" not in errors


async def test_sigterm_finishes_what_is_running_and_refuses_what_is_new(config: Path) -> None:
    with running("--config", str(config)) as server:
        body = {**LONG, "max_tokens": 80, "smc": {**LONG["smc"], "n_particles": 2}}  # type: ignore[dict-item]
        async with httpx.AsyncClient(base_url=server.url, timeout=60) as client:
            tasks = [
                asyncio.create_task(client.post("/v1/completions", json={**body, "stream": stream}))
                for stream in (False, True)
            ]
            await asyncio.to_thread(server.until, "smc_requests_running", 2)
            server.process.send_signal(signal.SIGTERM)
            while (await client.get("/health")).status_code == 200:
                await asyncio.sleep(0.02)
            refused = await client.post("/v1/completions", json=body)
            assert refused.status_code == 503
            assert refused.json()["error"]["code"] == "server_draining"
            whole, streamed = await asyncio.gather(*tasks)
        assert whole.status_code == 200
        assert whole.json()["choices"]
        assert streamed.text.endswith("data: [DONE]\n\n")
        assert '"error"' not in streamed.text
        assert await asyncio.to_thread(server.process.wait, 20) == 0


@pytest.mark.parametrize("busy", [False, True])
async def test_ctrl_c_is_clean(config: Path, busy: bool) -> None:
    with running("--config", str(config)) as server:
        task = None
        async with httpx.AsyncClient(base_url=server.url, timeout=60) as client:
            if busy:
                task = asyncio.create_task(client.post("/v1/completions", json=LONG))
                await asyncio.to_thread(server.until, "smc_requests_running", 1)
                server.process.send_signal(signal.SIGINT)
                while (await client.get("/health")).status_code == 200:
                    await asyncio.sleep(0.02)
            server.process.send_signal(signal.SIGINT)
            await asyncio.to_thread(server.process.wait, 20)
            if task is not None:
                assert (await task).json()["error"]["code"] == "server_stopped"
        errors = server.errors()
        assert "Traceback" not in errors


def test_the_process_exits_with_an_error_when_the_engine_dies_and_it_was_told_to(tmp_path: Path) -> None:
    path = tmp_path / "smc.toml"
    path.write_text('[server]\nexit_on_engine_death = true\n[engine]\nkind = "tests.server.toy:mortal"\n')
    with running("--config", str(path)) as server:
        reply = httpx.post(f"{server.url}/v1/completions", json={"model": "toy", "prompt": "abc", "max_tokens": 4})
        assert reply.status_code == 503
        assert httpx.get(f"{server.url}/health").status_code == 503
        assert server.process.wait(20) == 1


@pytest.mark.parametrize("command", [("serve", "--port", "0"), ("run", "hi")])
def test_a_judge_that_cannot_be_loaded_ends_the_start_and_names_its_table(tmp_path: Path, command: tuple[str]) -> None:
    path = tmp_path / "smc.toml"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        judge = f'source = "verifier"\nmodel = "m"\nurl = "http://127.0.0.1:{taken.getsockname()[1]}"\n'
        path.write_text(f'[engine]\nkind = "tests.server.toy:create"\n[rewards.judge]\n{judge}')
        line = one_line(cli(*command, "--config", str(path)))
    assert "rewards.judge: the judge m at http://127.0.0.1" in line


def cli(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "server.cli", *arguments]
    env = {**os.environ, **environment}
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, env=env)


def one_line(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    (line,) = [line for line in lines if not line.startswith("loading")]
    assert line.startswith("error: ")
    return line


def test_a_port_in_use_is_one_line_that_says_what_to_do(server: Server) -> None:
    port = server.url.rpartition(":")[2]
    line = one_line(cli("serve", "--port", port, "--engine", "tests.server.toy:create"))
    assert "--port" in line


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("serve", "--host", "0.0.0.0", "--engine", "tests.server.toy:create"), "API keys"),
        (("serve", "--engine", "nonsense"), "module:function"),
        (("serve", "--engine", "no.such:thing"), "no.such"),
        (("serve", "--engine", "tests.server.toy:create", "--preset", "magic"), "best-of-n"),
        (("serve", "--config", "/does/not/exist.toml"), "cannot read"),
        (("serve", "--log-format", "xml"), "log_format"),
        (("serve", "--model", "/does/not exist"), "no model"),
        (("trace", "run_nothing"), "no stored run"),
        (("run", "--engine", "tests.server.toy:create", "--smc", "{", "hi"), "not JSON"),
        (("run", "--engine", "tests.server.toy:create", "--smc", '{"n_particle": 1}', "hi"), "n_particles"),
    ],
)
def test_mistakes_at_the_start_are_one_line(arguments: tuple[str, ...], says: str, monkeypatch: Any) -> None:
    monkeypatch.delenv("SMC_DECODE_API_KEY", raising=False)
    assert says in one_line(cli(*arguments))


def test_a_model_that_the_hub_does_not_have_is_one_line(server: Server) -> None:
    line = one_line(cli("serve", "--port", "0", "--model", "no-such/model", HF_ENDPOINT=server.url, HF_HUB_OFFLINE="0"))
    assert "no-such/model" in line
    line = one_line(cli("serve", "--port", "0", "--model", "no-such/model", HF_HUB_OFFLINE="1"))
    assert "cache" in line


def test_run_shows_an_answer_and_its_cost() -> None:
    done = cli("run", "--engine", "tests.server.toy:create", "--seed", "1", "-n", "4", "--max-tokens", "30", "hi")
    assert done.returncode == 0, done.stderr
    assert "answer" in done.stdout
    assert "tokens drawn" in done.stdout


def test_config_show_prints_what_a_config_file_may_hold(config: Path, tmp_path: Path) -> None:
    done = cli("config", "show", "--config", str(config))
    again = tmp_path / "again.toml"
    again.write_text(done.stdout)
    assert cli("config", "show", "--config", str(again)).stdout == done.stdout
    assert tomllib.loads(done.stdout)["server"]["served_model_name"] == ["toy"]


def test_config_show_prints_tables_in_arrays_as_toml(tmp_path: Path) -> None:
    path = tmp_path / "smc.toml"
    path.write_text('[[rewards.both.of]]\nname = "regex"\n[[rewards.both.of]]\nname = "confidence"\n')
    told = tomllib.loads(cli("config", "show", "--config", str(path)).stdout)
    assert told["rewards"]["both"]["of"] == [{"name": "regex"}, {"name": "confidence"}]


def test_the_command_line_goes_before_the_environment_and_that_before_the_file(config: Path) -> None:
    environment = {"SMC_DECODE_SERVER__DRAIN_TIMEOUT_S": "7", "SMC_DECODE_ENGINE__SECONDS": "0.1"}
    told = tomllib.loads(cli("config", "show", "--config", str(config), **environment).stdout)
    assert (told["server"]["drain_timeout_s"], told["server"]["served_model_name"]) == (7, ["toy"])
    assert told["engine"] == {"kind": "tests.server.toy:create", "seconds": "0.1"}
    line = one_line(cli("config", "show", SMC_DECODE_SERVER__DRIAN="7"))
    assert "server.drian is unknown" in line


def test_doctor_and_rewards_tell_what_is_there(config: Path) -> None:
    done = cli("doctor", "--config", str(config))
    assert "sandbox" in done.stdout
    assert "unit_tests" in cli("rewards").stdout
