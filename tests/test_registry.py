"""Registries: names, lookups, and packages that add to them."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from smc_decode.registry import BrokenPlugin, Registry, RegistryError, UnknownName

GROUP = "smc_decode.test_things"


def install(folder: Path, name: str, entry_points: str, **modules: str) -> None:
    """A package as pip would leave it in ``folder``: its modules and its metadata."""
    for module, source in modules.items():
        (folder / f"{module}.py").write_text(source)
    info = folder / f"{name}-1.5.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.5\n")
    (info / "entry_points.txt").write_text(entry_points)


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_a_registered_thing_is_found_by_its_name() -> None:
    things: Registry[type] = Registry("thing")

    @things.register("one")
    class One: ...

    assert things["one"] is One
    assert list(things) == ["one"]
    assert "one" in things
    assert len(things) == 1


@pytest.mark.parametrize("name", ["three", "", None, 7, ["one"]])
def test_an_unknown_name_is_answered_with_the_names_there_are(name: object) -> None:
    things: Registry[type] = Registry("thing", lazy={"two": "fractions:Fraction"})
    things.register("one")(int)
    assert name not in things
    with pytest.raises(UnknownName, match=r"unknown thing .*; allowed: one, two"):
        things[name]  # type: ignore[index]


def test_a_taken_name_is_refused_unless_it_is_replaced_on_purpose() -> None:
    things: Registry[type] = Registry("thing", lazy={"two": "fractions:Fraction"})
    things.register("one")(int)
    things.register("one")(int)
    for name in ("one", "two"):
        with pytest.raises(RegistryError, match="registered already"):
            things.register(name)(float)
    things.register("one", replace=True)(float)
    assert things["one"] is float


def test_a_removed_thing_is_gone() -> None:
    things: Registry[type] = Registry("thing")
    things.register("one")(int)
    things.remove("one")
    things.remove("one")
    assert "one" not in things


def test_a_thing_of_another_type_is_refused() -> None:
    things: Registry[int] = Registry("number", valid=lambda thing: isinstance(thing, int))
    with pytest.raises(RegistryError, match="'x' is no number"):
        things.register("one")("x")


def test_lazy_built_ins_are_imported_at_the_first_lookup_only(packages: Path) -> None:
    (packages / "late_thing.py").write_text("def thing(): ...")
    things: Registry[object] = Registry("thing", lazy={"late": "late_thing:thing"})
    assert "late" in things
    assert list(things) == ["late"]
    assert "late_thing" not in sys.modules
    assert things["late"] is sys.modules["late_thing"].thing


def test_an_installed_package_adds_its_things_without_being_imported_before(packages: Path) -> None:
    install(packages, "Good_Plugin", f"[{GROUP}]\nmine = good_plugin:thing\n", good_plugin="def thing(): return 3")
    things: Registry[object] = Registry("thing", group=GROUP)
    assert list(things) == ["mine"]
    assert "good_plugin" not in sys.modules
    assert things["mine"] is sys.modules["good_plugin"].thing


def test_an_entry_point_may_name_a_module_whose_decorators_do_the_rest(packages: Path) -> None:
    source = "from tests.test_registry import SHARED\n@SHARED.register('decorated')\ndef thing(): ..."
    install(packages, "decorating", f"[{GROUP}]\ndecorated = decorating_plugin\n", decorating_plugin=source)
    SHARED.refresh()
    assert SHARED["decorated"] is sys.modules["decorating_plugin"].thing


SHARED: Registry[object] = Registry("thing", group=GROUP)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("broken_plugin:thing", "cannot be imported: ZeroDivisionError"),
        ("leaving_plugin:thing", "cannot be imported: SystemExit"),
        ("no_such_module_here:thing", "cannot be imported: ModuleNotFoundError"),
        ("number_plugin:missing", "cannot be imported: AttributeError"),
        ("number_plugin:thing", "cannot be used: 3 is no thing"),
        ("number_plugin", "cannot be used: .* is no thing"),
    ],
)
def test_a_broken_plugin_is_named_and_takes_no_other_along(packages: Path, value: str, said: str) -> None:
    install(
        packages,
        "fragile",
        f"[{GROUP}]\nfragile = {value}\n",
        broken_plugin="1 / 0",
        leaving_plugin="raise SystemExit(3)",
        number_plugin="thing = 3",
    )
    install(packages, "sound", f"[{GROUP}]\nsound = sound_plugin:thing\n", sound_plugin="def thing(): ...")
    things: Registry[object] = Registry("thing", group=GROUP)
    with pytest.raises(BrokenPlugin, match=rf"thing 'fragile' \({value} of the package fragile 1.5\) {said}"):
        things.check("fragile")
    assert things.check("sound") == "sound"
    assert list(things) == ["fragile", "sound"]


def test_a_malformed_file_of_one_package_takes_no_other_along(packages: Path) -> None:
    install(packages, "mangled", f"[{GROUP}]\nnot a line\n")
    install(packages, "upright", f"[{GROUP}]\nupright = upright_plugin:thing\n", upright_plugin="def thing(): ...")
    things: Registry[object] = Registry("thing", group=GROUP)
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always")  # how malformed it is to Python differs between versions
        assert "upright" in things
    assert things.check("upright")


def test_no_package_changes_what_a_built_in_name_means(packages: Path) -> None:
    install(packages, "taker", f"[{GROUP}]\none = os:getcwd\ntwo = os:getcwd\n")
    things: Registry[object] = Registry("thing", group=GROUP, lazy={"two": "fractions:Fraction"})
    things.register("one")(int)
    assert things["one"] is int
    assert things["two"].__name__ == "Fraction"  # type: ignore[attr-defined]


def test_of_two_packages_with_one_name_the_first_is_taken_with_a_warning(packages: Path) -> None:
    install(packages, "first", f"[{GROUP}]\nsame = os:getcwd\n")
    install(packages, "second", f"[{GROUP}]\nsame = os:getpid\n")
    things: Registry[object] = Registry("thing", group=GROUP)
    with pytest.warns(RuntimeWarning, match=r"'same' of the package (first|second) is left out; (first|second) offers"):
        assert "same" in things


def test_a_package_that_was_installed_meanwhile_is_seen_after_a_refresh(packages: Path) -> None:
    things: Registry[object] = Registry("thing", group=GROUP)
    assert "later" not in things
    install(packages, "later", f"[{GROUP}]\nlater = os:getcwd\n")
    assert "later" not in things
    things.refresh()
    assert "later" in things


def test_defining_a_registry_looks_at_no_package() -> None:
    script = (
        "from importlib import metadata\n"
        "from smc_decode.registry import Registry\n"
        "def refuse(*a, **k): raise AssertionError('packages were read')\n"
        "metadata.distributions = metadata.entry_points = refuse\n"
        "r = Registry('thing', group='smc_decode.x', lazy={'late': 'json:loads'})\n"
        "r.register('one')(int)\n"
        "r['one'], r['late'], 'one' in r\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
