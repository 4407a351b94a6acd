import pytest
from pydantic import ValidationError

from smc_decode import Lookahead, Rejuvenation, SMCConfig
from smc_decode.engines.base import NO_SHAPING


def test_the_contract_of_the_design_is_accepted_as_printed():
    config = SMCConfig(
        n_particles=16,
        block_size=2,
        max_tokens=6,
        target="tempered",
        alpha=2.0,
        proposal_temperature=None,
        resampling="systematic",
        ess_threshold=0.5,
        reward_scale=4.0,
        lookahead=Lookahead(rollouts=0, temperature=None, floor=0.1, reuse=True),
        rejuvenation=Rejuvenation(steps=0, mode="exact"),
        selection="sample",
    )
    assert config.temperature == 0.5


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_particles": 0}, "greater than or equal to 1"),
        ({"alpha": 0.0}, "greater than 0"),
        ({"alpha": float("nan")}, "finite"),
        ({"ess_threshold": 1.5}, "less than or equal to 1"),
        ({"resampling": "best"}, "allowed: chopthin, multinomial, residual, ssp, stratified, systematic"),
        ({"target": "hot"}, "allowed: powered, tempered"),
        ({"particles": 3}, "particles"),
        ({"lookahead": {"rollouts": -1}}, "lookahead.rollouts"),
        ({"lookahead": {"rollout": 1}}, "lookahead.rollout"),
        ({"lookahead": {"rollouts": 1, "min_rollouts": 2}}, "must not exceed"),
        ({"lookahead": {"early_stop": 0.9}}, "early_stop needs rollouts"),
        ({"lookahead": {"rollouts": 1, "choice": "weighted", "floor": 0.0}}, "needs a floor above 0"),
        ({"rejuvenation": {"mode": "exactly"}}, "'exact', 'corrected' or 'paper'"),
        ({"rejuvenation": {"mode": "corrected", "steps": 1}, "target": "powered"}, "inside target='tempered'"),
        ({"proposal_temperature": 0.0}, "needs n_particles=1"),
        ({"top_p": 0.9, "proposal_temperature": 0.7}, "use top_k"),
        ({"presence_penalty": 1.0, "target": "powered"}, "move the logits"),
        ({"bridge": {"alpha": True}}, "needs target='powered'"),
        ({"bridge": {"reward": True}, "lookahead": {"rollouts": 1}}, "cannot be combined"),
    ],
)
def test_a_bad_setting_is_refused_with_its_name_and_what_is_allowed(settings, message):
    with pytest.raises(ValidationError) as caught:
        SMCConfig.model_validate(settings)
    assert message in str(caught.value)


def test_the_proposal_temperature_defaults_to_one_over_alpha():
    assert SMCConfig(alpha=4.0).locally_matched
    assert not SMCConfig(alpha=4.0, proposal_temperature=0.5).locally_matched


def test_an_unshaped_config_has_no_shaping():
    assert SMCConfig().shaping == NO_SHAPING
    assert SMCConfig(top_k=5).shaping.truncates


def test_moves_are_scheduled_by_block_and_never_by_the_population():
    rejuvenation = Rejuvenation(steps=1, every=3)
    assert [rejuvenation.scheduled(block) for block in range(6)] == [False, False, True] * 2
    assert not Rejuvenation(steps=1, when="resampled").scheduled(2)
    assert not Rejuvenation().scheduled(0)
