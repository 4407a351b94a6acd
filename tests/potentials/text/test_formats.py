"""JSON schemas and regular expressions, on whole answers and on prefixes."""

from __future__ import annotations

import pytest

from smc_decode.potentials import PotentialError
from smc_decode.potentials.options import RewardRequestError
from smc_decode.potentials.text.json_schema import JsonSchema, JsonSchemaOptions
from smc_decode.potentials.text.regular_expression import RegularExpression, RegularExpressionOptions
from smc_decode.workers.pool import WorkerPool
from tests.potentials.answers import answer

SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 5},
        "age": {"type": "integer", "maximum": 150},
        "tags": {"type": "array", "items": {"enum": ["red", "blue"]}, "maxItems": 2},
    },
    "required": ["name", "age"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def workers():
    pool = WorkerPool(1)
    yield pool
    pool.close()


async def schema_reward(workers, text, finished, schema=SCHEMA):
    source = JsonSchema(JsonSchemaOptions(schema=schema), workers)
    return (await source.rewards([answer(text, finished)]))[0].value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"name": "Ann", "age": 3}', 1.0),
        ('  ```json\n{"name": "Ann", "age": 3}\n```\n', 1.0),
        ('{"name": "Ann"}', 0.3),
        ('{"name": "Ann", "age": "3"}', 0.3),
        ('{"name": "Ann", "age": 3', 0.0),
        ('{"name": "Ann", "age": 3} and more', 0.0),
        ('{"name": "Ann", "age": NaN}', 0.0),
        ("[" * 100_000, 0.0),
        ("", 0.0),
    ],
    ids=lambda value: str(value)[:24],
)
async def test_whole_answers(workers, text, expected):
    assert await schema_reward(workers, text, True) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", 0.65),
        ('{"na', 0.65),
        ('{"name": "An', 0.65),
        ('{"name": "Ann", "age": 1', 0.65),
        ('{"name": "Ann", "tags": ["re', 0.65),
        ('{"name": 3, ', 0.3),
        ('{"name": "Annabel", ', 0.3),
        ('{"size": 1, ', 0.3),
        ('{"tags": ["red", "blue", "red", ', 0.3),
        ('{"name" 3', 0.0),
        ('{"name": "Ann", "age": 3} x', 0.0),
    ],
)
async def test_prefixes_lose_only_what_cannot_be_mended(workers, text, expected):
    assert await schema_reward(workers, text, False) == pytest.approx(expected)


@pytest.mark.parametrize("schema", [{"type": "strange"}, {"properties": 3}, {"pattern": 1}])
def test_what_is_no_schema_is_refused(workers, schema):
    with pytest.raises(RewardRequestError, match=r"smc\.reward\.params\.schema"):
        JsonSchema(JsonSchemaOptions(schema=schema), workers)


async def test_remote_references_are_never_fetched(workers):
    with pytest.raises(RewardRequestError, match=r"params\.schema.*remote"):
        await schema_reward(workers, "1", True, {"$ref": "http://127.0.0.1:9/schema.json"})


async def test_a_pattern_that_explodes_costs_a_bounded_time(workers):
    schema = {"type": "string", "pattern": "^(a+)+$"}
    source = JsonSchema(JsonSchemaOptions(schema=schema, timeout=0.3), workers)
    assert (await source.rewards([answer('"' + "a" * 40 + 'b"')]))[0].value == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("schema", "text", "expected"),
    [
        ({"multipleOf": 0.01}, "17.49", 1.0),
        ({"multipleOf": 0.1}, "0.35", 0.3),
        ({"multipleOf": 3}, "1e300", 0.3),
        ({"type": "string", "pattern": r"^\p{Lu}\p{Ll}+$"}, '"Élan"', 1.0),
        ({"type": "string", "pattern": r"^\p{Lu}"}, '"élan"', 0.3),
        ({"type": "string", "pattern": r"^\d+$"}, '"12\\n"', 0.3),
        ({"type": "string", "pattern": r"^\d+$"}, '"١٢"', 0.3),
        ({"patternProperties": {r"^\p{L}$": {"type": "integer"}}, "additionalProperties": False}, '{"é": 1}', 1.0),
        ({"patternProperties": {r"^\p{L}$": {"type": "integer"}}, "additionalProperties": False}, '{"1": 1}', 0.3),
        ({"type": "string", "format": "date"}, '"2024-02-29"', 1.0),
        ({"type": "string", "format": "date"}, '"2023-02-29"', 0.3),
        ({"type": "string", "format": "uri"}, '"not a uri"', 0.3),
        ({"type": "string", "format": "date-time"}, '"noon"', 0.3),
    ],
)
async def test_keywords_mean_what_the_standard_says(workers, schema, text, expected):
    assert await schema_reward(workers, text, True, schema) == pytest.approx(expected)


@pytest.mark.parametrize(("schema", "expected"), [({"type": "object"}, 0.3), ({"type": "string"}, 0.65)])
async def test_an_answer_that_is_one_open_quote_is_judged(workers, schema, expected):
    assert await schema_reward(workers, '"', False, schema) == pytest.approx(expected)


async def test_a_number_of_many_digits_is_judged(workers):
    assert await schema_reward(workers, "1" * 6000, True, {"type": "string"}) <= 0.3


async def pattern_reward(workers, text, finished=True, **options):
    source = RegularExpression(RegularExpressionOptions(**options), workers)
    return (await source.rewards([answer(text, finished)]))[0].value


async def test_a_pattern_covers_the_whole_answer(workers):
    assert await pattern_reward(workers, "2024-01-31", pattern=r"\d{4}-\d\d-\d\d") == 1.0
    assert await pattern_reward(workers, "2024-01-31.", pattern=r"\d{4}-\d\d-\d\d") == 0.0
    assert await pattern_reward(workers, " 12 ", pattern=r"\d+", strip=True) == 1.0


async def test_a_prefix_that_can_still_match_is_pending(workers):
    assert await pattern_reward(workers, "2024-0", False, pattern=r"\d{4}-\d\d-\d\d") == 0.5
    assert await pattern_reward(workers, "2024-x", False, pattern=r"\d{4}-\d\d-\d\d") == 0.0
    assert await pattern_reward(workers, "12", False, pattern=r"\d+") == 0.5


async def test_space_that_may_be_left_out_at_the_end_is_no_mismatch(workers):
    assert await pattern_reward(workers, "up\n", False, pattern="up|down", strip=True) == 0.5
    assert await pattern_reward(workers, "u\n", False, pattern="up|down", strip=True) == 0.0
    assert await pattern_reward(workers, "up \n", True, pattern="up|down", strip=True) == 1.0


async def test_what_is_found_at_the_end_only_is_not_found_for_good(workers):
    assert await pattern_reward(workers, "so yes", False, pattern="yes$", match="search") == 0.5
    assert await pattern_reward(workers, "so yes", True, pattern="yes$", match="search") == 1.0


async def test_a_search_is_satisfied_once_it_has_found(workers):
    assert await pattern_reward(workers, "so yes, ", False, pattern="yes", match="search") == 1.0
    assert await pattern_reward(workers, "so ", False, pattern="yes", match="search") == 0.5
    assert await pattern_reward(workers, "so ", True, pattern="yes", match="search") == 0.0


async def test_a_match_that_takes_too_long_is_none(workers):
    assert await pattern_reward(workers, "a" * 60 + "b", pattern="(a|aa)+$", timeout=0.2) == 0.0


async def test_what_is_no_pattern_is_the_requests_error(workers):
    with pytest.raises(PotentialError, match=r"smc\.reward\.params\.pattern"):
        await pattern_reward(workers, "a", pattern="(")
