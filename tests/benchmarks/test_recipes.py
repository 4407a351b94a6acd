from pathlib import Path

import pytest

from benchmarks.methods import plan
from benchmarks.settings import SettingsError, read_recipe
from benchmarks.suites import BENCHMARKS

RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.toml"))


def test_there_is_a_recipe_for_each_model_and_benchmark():
    assert len(RECIPES) >= 9


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_can_be_run_as_it_is(path):
    settings = read_recipe(path)
    assert settings.benchmark in BENCHMARKS
    specs = {method.spec for method in plan(settings.methods, settings.particles, settings.budgets)}
    assert set(settings.published) <= specs
    assert all(0 < figure <= 100 for figure in settings.published.values())


def test_a_recipe_with_an_unknown_key_names_it(tmp_path):
    path = tmp_path / "x.toml"
    path.write_text('benchmark = "humaneval"\nmethods = ["smc"]\nparticels = 4\n')
    with pytest.raises(SettingsError, match="particels"):
        read_recipe(path)
