"""The tool that compares another vLLM with the one that the hooks were written for, on sources of the test's own."""

from __future__ import annotations

from tests.engines.vllm_contract import Hook, compare, hooks, signatures


class Files(dict):
    """Sources by path."""

    def read(self, path: str) -> str | None:
        return self.get(path)


OLD = Files({
    "vllm/a.py": "def f(x, y=1): ...\nclass C:\n    def used(self, x): ...\n    def other(self): ...\nVALUE = 3\n",
    "vllm/b.py": "from .a import f\nfrom vllm.a import C as D\n",
    "vllm/sub/__init__.py": "",
    "vllm/sub/inner.py": "",
})  # fmt: skip
USED = {"used"}


def changed(path: str, old: str, new: str) -> list[str]:
    wanted = [Hook("vllm.a", "f"), Hook("vllm.a", "C"), Hook("vllm.a", "VALUE"), Hook("vllm.b", "f")]
    return compare(OLD, Files({**OLD, path: OLD[path].replace(old, new)}), wanted, USED)


def test_what_is_the_same_is_not_told():
    assert changed("vllm/a.py", "f(x, y=1)", "f(x: int, y: int = 1) -> None") == []
    assert changed("vllm/a.py", "def other(self)", "def other(self, z)") == []


def test_another_signature_is_told_with_both_also_through_another_module():
    told = changed("vllm/a.py", "f(x, y=1)", "f(x, z, y=1)")
    assert told == [f"vllm.{module}.f\n    was (x, y=1)\n    is  (x, z, y=1)" for module in "ab"]
    assert changed("vllm/a.py", "used(self, x)", "used(self)") == ["vllm.a.C.used\n    was (self, x)\n    is  (self)"]


def test_what_is_gone_is_told():
    assert changed("vllm/a.py", "def used", "def unused")[0].startswith("vllm.a.C.used(self, x): gone")
    assert changed("vllm/a.py", "VALUE", "OTHER") == ["vllm.a.VALUE: gone"]


def test_modules_are_names_too():
    assert signatures(OLD, Hook("vllm.sub", "inner"), USED) == {"inner": "module"}
    assert signatures(OLD, Hook("vllm.nowhere", "x"), USED) == {}


def test_the_engine_imports_names_of_vllm():
    assert Hook("vllm.v1.sample.sampler", "Sampler") in hooks()
