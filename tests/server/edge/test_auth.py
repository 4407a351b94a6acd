"""Keys where others can reach the server, and loopback names where there are none."""

from __future__ import annotations

from pathlib import Path

import pytest

from server.edge.auth import Keys, read_keys
from server.settings import ConfigError, ServerSettings
from tests.server.conftest import MakeClient, completion

KEYS = Keys({"alice": "sk-alice", "bob": "sk-bob"})


async def test_with_keys_the_api_needs_one(make_client: MakeClient) -> None:
    client = make_client(keys=KEYS)
    for headers in ({}, {"authorization": "Basic sk-alice"}, {"authorization": "Bearer sk-eve"}):
        for path in ("/v1/models", "/metrics"):
            reply = await client.get(path, headers=headers)
            assert reply.status_code == 401
            assert reply.json()["error"]["code"] == "invalid_api_key"
            assert reply.headers["www-authenticate"] == "Bearer"
        reply = await client.post("/v1/completions", json=completion(), headers=headers)
        assert reply.status_code == 401
    ok = await client.post("/v1/completions", json=completion(), headers={"authorization": "Bearer sk-alice"})
    assert ok.status_code == 200


async def test_a_missing_key_is_told_before_a_wrong_body(make_client: MakeClient) -> None:
    assert (await make_client(keys=KEYS).post("/v1/completions", content=b"{")).status_code == 401


async def test_probes_need_no_key_but_learn_little(make_client: MakeClient) -> None:
    client = make_client(keys=KEYS)
    assert (await client.get("/health")).json() == {"status": "ok"}
    assert (await client.get("/ready")).json() == {"status": "ready"}
    known = await client.get("/ready", headers={"authorization": "Bearer sk-bob"})
    assert known.json()["engine"]["name"] == "table"
    assert (await client.get("/")).status_code == 200


async def test_without_keys_only_loopback_hosts_are_answered(make_client: MakeClient) -> None:
    client = make_client(allowed_hosts=("proxy.example",))
    for host, status in (("evil.example", 400), ("localhost:8000", 200), ("[::1]:80", 200), ("proxy.example", 200)):
        assert (await client.get("/v1/models", headers={"host": host})).status_code == status


async def test_tests_of_the_client_are_refused_behind_a_proxy(make_client: MakeClient) -> None:
    client = make_client()
    reward = {"name": "unit_tests", "params": {"test": "def check(f): pass", "entry_point": "f"}}
    body = completion(smc={"preset": "best-of-n", "reward": reward})
    reply = await client.post("/v1/completions", json=body, headers={"x-forwarded-for": "10.0.0.9"})
    assert reply.status_code == 400


def test_keys_come_from_a_file_and_the_environment(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text("# ours\nalice sk-1\n\nsk-2\n")
    keys = read_keys(ServerSettings(api_key_file=path), {"SMC_DECODE_API_KEY": "sk-3, sk-4"})
    owners = [keys.owner(key) for key in ("sk-1", "sk-2", "sk-3", "sk-4")]
    assert owners[0] == "alice"
    assert all(owner is not None and owner.startswith("key-") for owner in owners[1:])
    assert len(set(owners)) == 4
    assert [keys.owner(key) for key in ("sk-5", "")] == [None, None]


def test_a_key_without_a_name_keeps_its_owner_when_lines_before_it_go(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text("sk-1\nsk-2\n")
    before = read_keys(ServerSettings(api_key_file=path), {})
    path.write_text("sk-2\n")
    after = read_keys(ServerSettings(api_key_file=path), {})
    assert before.owner("sk-2") == after.owner("sk-2")
    assert "sk-2" not in str(after.owner("sk-2"))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("alice sk-1\nalice sk-2\n", "line 2: the name 'alice' is there twice"),
        ("alice sk-1\nbob sk-1\n", "another owner's too"),
        ("anonymous sk-1\n", "the server's own"),
        ("key-0123456789abcdef sk-1\n", "the server's own"),
    ],
)
def test_owners_that_could_be_taken_for_another_are_refused(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "keys").write_text(text)
    with pytest.raises(ConfigError, match=says):
        read_keys(ServerSettings(api_key_file=tmp_path / "keys"), {})


def test_another_address_than_loopback_needs_keys() -> None:
    with pytest.raises(ConfigError, match="API keys are needed"):
        read_keys(ServerSettings(host="0.0.0.0"), {})
    assert read_keys(ServerSettings(host="0.0.0.0"), {"SMC_DECODE_API_KEY": "k"})


def test_a_file_without_keys_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("# none\n")
    for path in (tmp_path / "keys", tmp_path / "missing"):
        with pytest.raises(ConfigError, match="api_key_file"):
            read_keys(ServerSettings(api_key_file=path), {})
