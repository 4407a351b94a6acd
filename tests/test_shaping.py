import math

import pytest

from smc_decode.config import SMCConfig
from smc_decode.shaping import NO_SHAPING, SHAPING_FIELDS, Shaping, matched


def test_every_field_of_shaping_is_a_flat_field_of_the_configuration_with_the_same_default():
    config = SMCConfig()
    assert config.shaping == NO_SHAPING
    assert {name: getattr(config, name) for name in SHAPING_FIELDS} == {
        name: getattr(NO_SHAPING, name) for name in SHAPING_FIELDS
    }


OUT_OF_RANGE = [
    {"top_k": -1},
    {"top_p": 0.0},
    {"top_p": math.nan},
    {"min_p": 1.25},
    {"repetition_penalty": 0.0},
    {"repetition_penalty": math.inf},
    {"presence_penalty": -2.5},
    {"frequency_penalty": 2.5},
    {"logit_bias": {3: math.inf}},
    {"min_tokens": -4},
]


@pytest.mark.parametrize("values", OUT_OF_RANGE, ids=str)
def test_a_value_out_of_range_is_refused_by_name_in_a_shaping_and_in_a_configuration(values):
    with pytest.raises(ValueError, match=next(iter(values))):
        Shaping(**values).check()
    with pytest.raises(ValueError, match=next(iter(values))):
        SMCConfig(**values)


def test_values_in_range_pass():
    Shaping(top_k=5, top_p=1.0, min_p=0.0, presence_penalty=-2, logit_bias={0: -7.5}, grammar={"regex": "a"}).check()


def test_a_shaping_says_which_of_its_fields_ask_for_something():
    assert NO_SHAPING.used() == frozenset()
    assert Shaping(top_k=5, ignore_eos=True, logit_bias={1: 1.0}).used() == {"top_k", "ignore_eos", "logit_bias"}


def test_ignoring_the_end_moves_no_logits_but_is_another_target():
    assert not Shaping(ignore_eos=True).moves_logits
    assert Shaping(ignore_eos=True).reweights
    assert Shaping(min_tokens=1).moves_logits


@pytest.mark.parametrize(
    ("alpha", "temperature", "shaping", "expected"),
    [
        (3.0, 1 / 3, NO_SHAPING, True),
        (3.0, 0.3333333333, NO_SHAPING, True),
        (3.0, 0.333333, NO_SHAPING, False),
        (1.0, 0.0, NO_SHAPING, False),
        (2.0, 0.5, Shaping(top_k=4, top_p=0.9), True),
        (2.0, 0.5, Shaping(logit_bias={1: 2.0}), False),
        (2.0, 0.5, Shaping(frequency_penalty=0.1), False),
    ],
)
def test_a_proposal_is_matched_at_the_reciprocal_of_alpha_where_no_logits_move(alpha, temperature, shaping, expected):
    assert matched(alpha, temperature, shaping) is expected


def test_a_configuration_uses_the_same_tolerance():
    assert SMCConfig(alpha=3.0, proposal_temperature=0.3333333333).locally_matched
    assert not SMCConfig(alpha=3.0, proposal_temperature=0.333333).locally_matched
