"""Waits between tries."""

from __future__ import annotations

import httpx
import pytest

from smc_decode.backoff import MAX_SECONDS, asked_seconds, delay_seconds


@pytest.mark.parametrize(
    ("said", "seconds"),
    [("3", 3.0), ("0.5", 0.5), ("-1", 0.0), ("nan", 0.0), ("Wed, 21 Oct 2026 07:28:00 GMT", 0.0), ("", 0.0)],
)
def test_a_retry_after_header_is_read_as_seconds_and_anything_else_as_none(said: str, seconds: float) -> None:
    assert asked_seconds(httpx.Headers({"Retry-After": said})) == seconds


def test_without_the_header_nothing_is_asked() -> None:
    assert asked_seconds(httpx.Headers()) == 0.0


def test_waits_double_with_half_of_them_left_to_chance() -> None:
    for attempt in range(4):
        assert 0.1 * 2**attempt <= delay_seconds(attempt, 0.2) <= 0.2 * 2**attempt


def test_a_wait_is_at_least_what_the_server_asks_and_never_longer_than_the_most() -> None:
    assert delay_seconds(0, 0.2, asked=4.0) == 4.0
    assert delay_seconds(0, 0.2, asked=float("inf")) == MAX_SECONDS
    assert delay_seconds(30, 0.2) == MAX_SECONDS
