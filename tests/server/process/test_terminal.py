"""What ``smc-decode run`` shows of an answer."""

from __future__ import annotations

from server.process.terminal import lines_of_tests


def test_tests_are_shown_by_name_with_what_became_of_them():
    detail = {"tests": [{"name": f"test_{status}", "status": status} for status in ("passed", "failed", "open")]}
    lines = lines_of_tests(detail)
    assert [line.plain for line in lines] == ["✓ test_passed", "✗ test_failed", "… test_open"]
    assert [str(line.style) for line in lines] == ["green", "red", "yellow"]
    assert lines_of_tests({}) == []
