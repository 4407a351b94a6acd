from smc_decode import SMCConfig, sample
from smc_decode.engines import EngineRequestError, TableEngine
from smc_decode.sampler.stop_strings import StopStrings
from smc_decode.sampler.trajectory import Trajectory


class Letters:
    """Token v is the v-th letter; two letters a token for the upper half, so that a stop may end inside one."""

    PIECES = ("", "a", "b", "ab", "ba")

    def encode(self, text, *, add_special_tokens=True):
        return [self.PIECES.index(c) for c in text]

    def decode(self, token_ids, *, skip_special_tokens=True):
        return "".join(self.PIECES[t] for t in token_ids)

    def apply_chat_template(self, messages, **kwargs):
        raise NotImplementedError


def path(*tokens):
    return Trajectory(tuple(tokens), (-1.0,) * len(tokens), log_potential=None)


def test_a_path_ends_at_the_token_that_completes_the_stop_string():
    cut, changed = StopStrings(("bb",), Letters()).apply(path(1, 3, 4, 1, 1))
    assert (cut.token_ids, cut.finish_reason, changed) == ((1, 3, 4), "stop", True)
    assert len(cut.logprobs) == 3


def test_the_earliest_of_several_stop_strings_counts():
    assert StopStrings(("bb", "aa"), Letters()).apply(path(1, 1, 2, 2))[0].token_ids == (1, 1)


def test_a_stop_string_at_the_very_end_ends_the_sequence_without_a_cut():
    cut, changed = StopStrings(("ba",), Letters()).apply(path(1, 2, 1))
    assert (cut.token_ids, cut.finish_reason, changed) == ((1, 2, 1), "stop", False)


def test_text_without_a_stop_string_is_left_alone():
    original = path(1, 1, 1)
    assert StopStrings(("bb",), Letters()).apply(original) == (original, False)


def test_stop_strings_need_a_tokenizer():
    import pytest

    with pytest.raises(EngineRequestError, match="stop_token_ids"):
        StopStrings(("a",), None)


async def test_a_stop_string_may_span_blocks_and_nothing_is_kept_behind_it():
    engine = TableEngine(lambda tokens: [-9.0, 0.0, 0.0, 0.0, 0.0], 5, 0, tokenizer=Letters())
    config = SMCConfig(n_particles=32, block_size=2, max_tokens=12, stop=("bab",))
    result = await sample(engine, (), None, config, seed=0)
    stopped = [p for p in result.particles if p.finish_reason == "stop"]
    assert stopped
    for particle in result.particles:
        holds = "bab" in Letters().decode(particle.token_ids)
        assert holds == (particle.finish_reason == "stop")
        assert "bab" not in Letters().decode(particle.token_ids[:-1])


def test_stop_strings_are_looked_for_in_what_is_read_of_a_text():
    def after_the_first_b(text):
        return text.partition("b")[2]

    cut, _ = StopStrings(("aa",), Letters(), after_the_first_b).apply(path(1, 1, 2, 1, 1, 1))
    assert cut.token_ids == (1, 1, 2, 1, 1)
