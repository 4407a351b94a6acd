"""Which of vLLM's names that the engine reaches into have changed in another version.

    pip install remotezip
    python -m tests.engines.vllm_contract 0.33.0

Reads the Python files of that version's wheel from the package index, a few of them at a time and without installing
it, and compares them with the installed vLLM: every name that ``smc_decode/engines/vllm`` and its neighbours import,
and of each class the methods that they call or override. Exit status 1 where something changed. By hand, not in CI.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

ROOT = Path(__file__).parents[2] / "smc_decode"
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True, order=True)
class Hook:
    """A name of vLLM's that ours imports, and where."""

    module: str
    name: str


class Sources(Protocol):
    """Python files of one vLLM."""

    def read(self, path: str) -> str | None: ...


class Installed:
    """The vLLM of this environment, which is not imported."""

    def __init__(self) -> None:
        spec = importlib.util.find_spec("vllm")
        if spec is None or not spec.submodule_search_locations:
            raise SystemExit("vLLM is not installed here: there is nothing to compare with")
        self._root = Path(spec.submodule_search_locations[0]).parent

    def read(self, path: str) -> str | None:
        file = self._root / path
        return file.read_text(encoding="utf-8") if file.is_file() else None


class Wheel:
    """A wheel on the index, of which only what is asked for is fetched."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self._names = set(archive.namelist())

    def read(self, path: str) -> str | None:
        return self._archive.read(path).decode() if path in self._names else None


def hooks(root: Path = ROOT) -> list[Hook]:
    """What our modules import from vLLM."""
    found = set()
    for file in root.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "vllm":
                found |= {Hook(node.module or "", alias.name) for alias in node.names}
    return sorted(found)


def attributes(root: Path = ROOT) -> set[str]:
    """Every attribute and method name that our modules near vLLM use or define."""
    found: set[str] = set()
    for file in (root / "engines").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute):
                found.add(node.attr)
            elif isinstance(node, FUNCTIONS):
                found.add(node.name)
    return found


def signatures(sources: Sources, hook: Hook, used: set[str], depth: int = 3) -> dict[str, str]:
    """The signature of a function, or of a class's methods that are used, by name. Empty: the name is not there."""
    path = hook.module.replace(".", "/")
    text = sources.read(f"{path}.py")
    package = text is None
    text = sources.read(f"{path}/__init__.py") if package else text
    if text is None:
        submodule = sources.read(f"{path}/{hook.name}.py") or sources.read(f"{path}/{hook.name}/__init__.py")
        return {} if submodule is None else {hook.name: "module"}
    tree = ast.parse(text)
    for node in _top(tree):
        if isinstance(node, FUNCTIONS) and node.name == hook.name:
            return {hook.name: _signature(node)}
        if isinstance(node, ast.ClassDef) and node.name == hook.name:
            return {hook.name: "class"} | {
                f"{hook.name}.{each.name}": _signature(each)
                for each in node.body
                if isinstance(each, FUNCTIONS) and (each.name in used or each.name == "__init__")
            }
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and hook.name in _targets(node):
            return {hook.name: "value"}
        if isinstance(node, ast.ImportFrom) and depth and any((a.asname or a.name) == hook.name for a in node.names):
            return signatures(sources, Hook(_absolute(node, hook.module, package), hook.name), used, depth - 1)
    submodule = sources.read(f"{path}/{hook.name}.py")
    return {} if submodule is None else {hook.name: "module"}


def _top(tree: ast.Module) -> Iterator[ast.stmt]:
    for node in tree.body:
        yield node
        if isinstance(node, (ast.If, ast.Try)):
            yield from node.body
            yield from node.orelse


def _targets(node: ast.Assign | ast.AnnAssign) -> set[str]:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    return {target.id for target in targets if isinstance(target, ast.Name)}


def _absolute(node: ast.ImportFrom, module: str, package: bool) -> str:
    if not node.level:
        return node.module or ""
    parts = module.split(".")
    base = parts[: len(parts) - node.level + package]
    return ".".join([*base, *([node.module] if node.module else [])])


def _signature(node: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    """Names, order and defaults of the parameters; annotations may change as they like."""
    copy = ast.parse(ast.unparse(ast.FunctionDef(
        name=node.name, args=node.args, body=[ast.Pass()], decorator_list=[], lineno=1, type_params=[],
    ))).body[0]  # fmt: skip
    assert isinstance(copy, ast.FunctionDef)
    for argument in ast.walk(copy.args):
        if isinstance(argument, ast.arg):
            argument.annotation = None
    return f"({ast.unparse(copy.args)})"


def compare(old: Sources, new: Sources, wanted: list[Hook], used: set[str]) -> list[str]:
    """A line for each name that is gone or has another signature."""
    lines = []
    for hook in wanted:
        before, after = signatures(old, hook, used), signatures(new, hook, used)
        where = f"{hook.module}.{hook.name}"
        if not before:
            lines.append(f"{where}: not found in the installed vLLM")
        elif not after:
            lines.append(f"{where}: gone")
        else:
            for name, signature in before.items():
                if name not in after:
                    lines.append(f"{hook.module}.{name}{signature}: gone")
                elif after[name] != signature:
                    lines.append(f"{hook.module}.{name}\n    was {signature}\n    is  {after[name]}")
    return lines


def wheel_url(version: str) -> str:
    """Where pip would get vLLM's wheel from."""
    command = [
        sys.executable, "-m", "pip", "install", "--dry-run", "--no-deps", "--ignore-installed", "--quiet",
        "--only-binary=:all:", "--report", "-", f"vllm=={version}",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"pip finds no wheel of vLLM {version}: {done.stderr.strip().splitlines()[-1:]}")
    report: dict[str, Any] = json.loads(done.stdout)
    return str(report["install"][0]["download_info"]["url"])


def main(version: str) -> int:
    """Print what changed; the exit status."""
    from remotezip import RemoteZip  # type: ignore[import-not-found]

    used, wanted = attributes(), hooks()
    with RemoteZip(wheel_url(version)) as archive:
        lines = compare(Installed(), Wheel(archive), wanted, used)
    print("\n".join(lines) or "nothing changed")
    print(f"{len(wanted)} names of vLLM {version} looked at, {len(lines)} changes")
    return 1 if lines else 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit("usage: python -m tests.engines.vllm_contract VERSION")
    raise SystemExit(main(sys.argv[1]))
