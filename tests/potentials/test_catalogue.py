"""The catalogue: names, the operator's file, and what a request may set."""

from __future__ import annotations

import pytest

from smc_decode.potentials.catalogue import RewardCatalogue
from smc_decode.potentials.options import RewardConfigError, RewardRequest, RewardRequestError
from tests.potentials.answers import FakeSandbox, answer, report

PROMPT = "def f(x):\n"
TEST = "def check(candidate):\n    assert candidate(1) == 1\n"


def catalogue(config=None, **keywords):
    sandbox = keywords.pop("sandbox", FakeSandbox(lambda source: report(1, 1)))
    return RewardCatalogue.from_toml(config or {}, sandbox=sandbox, **keywords)


def build(made, name="unit_tests", params=None, local=True):
    return made.build(name, params, reward_scale=4.0, request=RewardRequest(PROMPT, None, local))


async def test_a_request_gets_a_potential_by_name():
    potential = build(catalogue(), params={"test": TEST})
    evaluation = (await potential.evaluate([answer("    return x\n")]))[0]
    assert evaluation.log_value == pytest.approx(4.0)
    assert evaluation.reward == pytest.approx(1.0)
    assert potential.kind == "telescoping"


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(RewardRequestError, match=r"unknown reward 'nope'; allowed: .*unit_tests") as caught:
        build(catalogue(), "nope")
    assert caught.value.param == "smc.reward.name"


def test_an_unknown_parameter_lists_the_allowed_ones():
    with pytest.raises(RewardRequestError, match="allowed: test, tests") as caught:
        build(catalogue(), params={"tset": TEST})
    assert caught.value.param == "smc.reward.params.tset"


def test_a_parameter_that_the_operator_keeps_is_refused():
    with pytest.raises(RewardRequestError, match="operator"):
        build(catalogue(), params={"test": TEST, "timeout": 100})


def test_test_source_is_taken_from_local_clients_only_unless_allowed():
    with pytest.raises(RewardRequestError, match="--allow-client-tests") as caught:
        build(catalogue(), params={"test": TEST}, local=False)
    assert caught.value.param == "smc.reward.params.test"
    build(catalogue(allow_client_tests=True), params={"test": TEST}, local=False)
    build(catalogue(), "prompt_examples", local=False)


@pytest.mark.parametrize(
    ("name", "params", "param"),
    [
        ("unit_tests", {"prompt": "def f(x):\n"}, "prompt"),
        ("prompt_examples", {"prompt": "def f(x):\n"}, "prompt"),
        ("stdin_tests", {"cases": [{"stdout": "1"}], "answer": "continuation"}, "answer"),
    ],
)
def test_text_that_becomes_code_is_taken_as_tests_are(name, params, param):
    with pytest.raises(RewardRequestError, match="--allow-client-tests") as caught:
        build(catalogue(), name, params=params, local=False)
    assert caught.value.param == f"smc.reward.params.{param}"


def test_a_message_with_a_script_is_no_code_of_the_clients():
    build(catalogue(), "stdin_tests", params={"cases": [{"stdout": "1"}], "answer": "message"}, local=False)


def test_the_operator_sets_defaults_limits_and_what_is_open(tmp_path):
    path = tmp_path / "server.toml"
    path.write_text(
        """
        [server]
        port = 1
        [rewards.tests]
        source = "unit_tests"
        description = "Ours"
        timeout = 2.0
        syntax_weight = 0.1
        [rewards.tests.allow]
        params = ["test", "timeout"]
        [rewards.tests.limits]
        timeout = { min = 0.5, max = 5 }
        """
    )
    made = catalogue(path)
    potential = build(made, "tests", {"test": TEST, "timeout": 4})
    assert potential.source.options.timeout == 4
    assert potential.source.options.syntax_weight == 0.1
    with pytest.raises(RewardRequestError, match="at most 5"):
        build(made, "tests", {"test": TEST, "timeout": 6})
    with pytest.raises(RewardRequestError, match="allowed: test, timeout"):
        build(made, "tests", {"test": TEST, "syntax_weight": 0.5})
    info = next(info for info in made.infos() if info.name == "tests")
    assert info.description == "Ours"
    assert info.params["properties"]["timeout"]["maximum"] == 5
    assert info.params["properties"]["timeout"]["default"] == 2.0
    assert set(info.params["properties"]) == {"test", "timeout"}


def test_built_in_names_can_be_left_out():
    made = catalogue({"rewards": {"builtins": False, "sure": {"source": "confidence"}}})
    assert made.names == ["sure"]


@pytest.mark.parametrize(
    ("table", "match"),
    [
        ({"a": {"source": "nope"}}, r"rewards\.a\.source is 'nope'; allowed: .*unit_tests"),
        ({"a": {}}, r"rewards\.a\.source"),
        ({"a": 1}, r"rewards\.a must be a table"),
        ({"a": {"source": "unit_tests", "tiemout": 1}}, r"rewards\.a\.tiemout is unknown; allowed: .*timeout"),
        ({"a": {"source": "unit_tests", "timeout": -1}}, r"rewards\.a\.timeout"),
        ({"a": {"source": "unit_tests", "allow": {"params": ["x"]}}}, r"rewards\.a\.allow\.params: x"),
        ({"a": {"source": "unit_tests", "limits": {"x": {"max": 1}}}}, r"rewards\.a\.limits\.x"),
        ({"builtins": "no"}, r"rewards\.builtins"),
    ],
)
def test_an_error_in_the_file_names_its_place(table, match):
    with pytest.raises(RewardConfigError, match=match):
        catalogue({"rewards": table})


def test_a_file_that_is_no_toml_says_where(tmp_path):
    path = tmp_path / "bad.toml"
    path.write_text("[rewards\n")
    with pytest.raises(RewardConfigError, match=r"bad\.toml"):
        RewardCatalogue.from_toml(path)


def test_what_is_not_available_is_listed_with_the_reason():
    made = RewardCatalogue.default()
    info = next(info for info in made.infos() if info.name == "unit_tests")
    assert not info.available
    assert "sandbox" in info.reason
    with pytest.raises(RewardRequestError, match="not available here"):
        build(made, params={"test": TEST})


async def test_scores_are_shared_between_requests():
    sandbox = FakeSandbox(lambda source: report(1, 1))
    made = catalogue(sandbox=sandbox)
    for _ in range(2):
        await build(made, params={"test": TEST}).evaluate([answer("    return x\n")])
    assert len(sandbox.sources) == 1
    await made.aclose()
    await made.aclose()


def test_every_built_in_reward_is_listed_with_what_a_request_may_set():
    names = {info.name for info in catalogue().infos()}
    assert names == {
        "unit_tests", "prompt_examples", "stdin_tests", "arithmetic", "confidence", "self_consistency", "json_schema",
        "regex", "reasoning_gym", "verifier", "ensemble",
    }  # fmt: skip
    schema = next(info for info in catalogue().infos() if info.name == "json_schema")
    assert schema.params["required"] == ["schema"]
    assert schema.available


@pytest.mark.parametrize(
    ("table", "key"),
    [
        ({"source": "http", "url": "http://x"}, "url"),
        ({"source": "function", "function": "a:b"}, "function"),
        ({"source": "prm", "model": "m"}, "model"),
        ({"source": "ensemble", "members": {"a": 1}}, "weights"),
    ],
)
def test_addresses_models_and_functions_can_never_be_opened_to_requests(table, key):
    with pytest.raises(RewardConfigError, match="operator's only"):
        catalogue({"rewards": {"a": {**table, "allow": {"params": [key]}}}})


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ({"source": "function", "function": "no_such_module:f"}, "cannot be loaded"),
        ({"source": "http", "url": "http://x", "api_key_env": "NOT_SET_ANYWHERE"}, "NOT_SET_ANYWHERE"),
        ({"source": "prm"}, "named no model"),
    ],
)
def test_what_the_operator_has_not_finished_is_not_available(table, reason):
    made = catalogue({"rewards": {"a": table}})
    info = next(info for info in made.infos() if info.name == "a")
    assert not info.available
    assert reason in info.reason


async def test_a_process_reward_model_that_was_handed_in_is_used():
    class Model:
        async def classify_tokens(self, texts):
            return [[[0.2, 0.8]] * text.count("<extra_0>") for text in texts]

    made = catalogue({"rewards": {"prm": {"source": "prm", "model": "m"}}}, models={"m": Model()})
    potential = build(made, "prm", {"aggregate": "product"})
    evaluation = (await potential.evaluate([answer("a\n\nb")]))[0]
    assert evaluation.reward == pytest.approx(0.64)


@pytest.mark.parametrize(
    ("name", "params", "refused"),
    [
        ("unit_tests", {"test": TEST}, "test"),
        ("unit_tests", {"tests": ["assert f(1)"], "prompt": "x"}, "test"),
        ("prompt_examples", {"prompt": "def f(x):\n"}, "prompt"),
        ("stdin_tests", {"cases": [{"stdout": "1"}], "answer": "continuation"}, "answer"),
        ("stdin_tests", {"cases": [{"stdout": "1"}], "answer": "message"}, None),
        ("prompt_examples", {"prompt": None}, None),
    ],
)
def test_what_brings_code_is_taken_from_local_clients_only(name, params, refused):
    if refused is None:
        build(catalogue(), name, params, local=False)
    else:
        with pytest.raises(RewardRequestError, match=f"{refused}.* brings code"):
            build(catalogue(), name, params, local=False)
    build(catalogue(), name, params)
