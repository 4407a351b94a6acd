"""Uids for boxes."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from smc_decode.sandbox import SandboxError
from smc_decode.sandbox import slots as module
from smc_decode.sandbox.slots import PER_PROCESS, UidSlots, available_uids

ALL = "000001ffffffffff"
WHOLE, CONTAINER, ROOTLESS = "0 0 4294967295", "0 100000 65536", "0 1000 1"


def proc(tmp_path: Path, uid_map: str = WHOLE, capabilities: str = ALL) -> Path:
    (tmp_path / "status").write_text(f"Name:\tx\nCapEff:\t{capabilities}\n")
    (tmp_path / "uid_map").write_text(uid_map + "\n")
    return tmp_path


@pytest.fixture
def as_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize(("uid_map", "end"), [(WHOLE, 2**32 - 1), (CONTAINER, 65534)])
def test_uids_are_in_the_mapped_range_and_belong_to_nobody(tmp_path: Path, uid_map: str, end: int) -> None:
    uids = available_uids(proc(tmp_path, uid_map))
    assert len(set(uids)) == PER_PROCESS
    assert 1024 <= min(uids) <= max(uids) < end


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize(("uid_map", "capabilities"), [(ROOTLESS, ALL), (WHOLE, "0000000000000000"), (WHOLE, "80")])
def test_there_are_none_where_the_uid_cannot_be_changed(tmp_path: Path, uid_map: str, capabilities: str) -> None:
    assert available_uids(proc(tmp_path, uid_map, capabilities)) == []


def test_there_are_none_for_an_ordinary_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert available_uids(proc(tmp_path)) == []
    with UidSlots().take() as uid:
        assert uid is None


def test_no_uid_is_given_twice_at_a_time_and_none_is_made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "available_uids", lambda: [5001, 5002, 5003])
    slots = UidSlots()
    for _ in range(2):
        with contextlib.ExitStack() as stack:
            taken = {stack.enter_context(slots.take()) for _ in range(3)}
            assert taken == slots.uids
            with pytest.raises(SandboxError, match="max_parallel"):
                stack.enter_context(slots.take())
