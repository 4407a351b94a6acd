"""Process and outcome reward models and the generative verifier, with stand-ins for the models."""

from __future__ import annotations

import json
import math

import httpx
import pytest

from smc_decode.engines.base import EngineError, EngineInfo
from smc_decode.potentials import Prefix, RewardFailure
from smc_decode.potentials.models.judges import fill, without_special_tokens
from smc_decode.potentials.models.outcome_reward import OutcomeReward, OutcomeRewardOptions
from smc_decode.potentials.models.process_reward import ProcessReward, ProcessRewardOptions, aggregate
from smc_decode.potentials.models.remote_models import RemoteRewardModel
from smc_decode.potentials.models.verifier import Verifier, VerifierOptions
from smc_decode.potentials.options import RewardConfigError, RewardRequest, RewardRequestError, validate
from tests.potentials.answers import answer

REQUEST = RewardRequest("What is 2 + 2?")


class StepModel:
    """Scores a step by the digit that it ends in: ``... 7`` has 0.7."""

    def __init__(self, separator="<extra_0>"):
        self.separator = separator
        self.texts: list[str] = []

    async def classify_tokens(self, texts):
        self.texts += texts
        tables = []
        for text in texts:
            steps = text.rpartition("assistant\n")[2].split(self.separator)[:-1]
            scores = [int(step.strip()[-1]) / 10 for step in steps]
            tables.append([[1 - score, score] for score in scores])
        return tables


def prm(model, **options):
    return ProcessReward(ProcessRewardOptions(model="prm", **options), REQUEST, model)


async def values(source, *texts, finished=True):
    return [round(reward.value, 6) for reward in await source.rewards([answer(text, finished) for text in texts])]


@pytest.mark.parametrize(
    ("how", "expected"), [("min", 0.5), ("product", 0.9 * 0.5 * 0.8), ("last", 0.8), ("mean", 2.2 / 3)]
)
async def test_steps_are_put_together(how, expected):
    assert await values(prm(StepModel(), aggregate=how), "a 9\n\nb 5\n\nc 8") == [pytest.approx(expected, abs=1e-6)]
    assert aggregate([], how, 0.5) == 0.5


async def test_only_complete_steps_of_a_prefix_are_scored():
    source = prm(StepModel())
    assert await values(source, "a 9\n\nb", finished=False) == [0.9]
    assert await values(source, "a", finished=False) == [0.5]


async def test_a_prefix_without_a_new_step_costs_nothing():
    model = StepModel()
    source = prm(model)
    await values(source, "a 9\n\nb 5\n\nc", finished=False)
    assert len(model.texts) == 1
    await values(source, "a 9\n\nb 5\n\nc and", "a 9\n\nb 5\n\nd", finished=False)
    assert len(model.texts) == 1
    await values(source, "a 9\n\nb 5\n\nc 7\n\n", "a 9\n\nb 5\n\nd 6\n\n", finished=False)
    assert len(model.texts) == 3


async def test_the_prompt_has_the_models_form_and_no_smuggled_tokens():
    model = StepModel()
    await values(prm(model), "step <|im_end|><extra_0> 9\n\nb 5")
    assert model.texts[0].endswith("assistant\nstep  9<extra_0>b 5<extra_0><|im_end|><|endoftext|>")
    assert "What is 2 + 2?" in model.texts[0]


async def test_a_value_head_is_read_at_the_end_of_each_step():
    class ValueModel:
        def __init__(self):
            self.texts = []

        async def classify_tokens(self, texts):
            self.texts += texts
            return [[[0.0], [int(text[-1]) / 10]] for text in texts]

    model = ValueModel()
    source = prm(model, head="value", aggregate="product")
    assert await values(source, "a 9\n\nb 5") == [pytest.approx(0.45)]
    assert [text[-3:] for text in model.texts] == ["a 9", "b 5"]


async def test_a_step_that_repeats_the_question_is_read_in_the_assistants_turn():
    class ValueModel(StepModel):
        async def classify_tokens(self, texts):
            self.texts += texts
            return [[[0.5]] for _ in texts]

    model = ValueModel()
    await values(prm(model, head="value"), "What is 2 + 2?\n\nFour.")
    assert all(text.count("What is 2 + 2?") == 2 for text in model.texts)
    assert [text.rpartition("assistant\n")[2] for text in model.texts] == ["What is 2 + 2?", "What is 2 + 2?\n\nFour."]


async def test_a_model_that_scores_other_steps_fails():
    class Wrong(StepModel):
        async def classify_tokens(self, texts):
            return [[[0.5, 0.5]] * 7 for _ in texts]

    with pytest.raises(RewardFailure, match="7 scores for 1 steps"):
        await values(prm(Wrong()), "a 9")


@pytest.mark.parametrize("row", [[], [0.1, math.nan], [0.2, 3.0]])
async def test_scores_that_are_no_probabilities_fail(row):
    class Wrong(StepModel):
        async def classify_tokens(self, texts):
            return [[row] for _ in texts]

    with pytest.raises(RewardFailure):
        await values(prm(Wrong()), "a 9")


class WholeModel:
    def __init__(self, scale=1.0):
        self.calls: list[list[str]] = []
        self.scale = scale

    async def classify(self, texts):
        self.calls.append(list(texts))
        return [[self.scale * (0.9 if "four" in text else 0.1)] for text in texts]


async def test_an_outcome_model_scores_a_batch_in_one_call():
    model = WholeModel()
    source = OutcomeReward(OutcomeRewardOptions(model="orm"), REQUEST, model)
    assert await values(source, "four", "five", "four") == [0.9, 0.1, 0.9]
    assert [len(call) for call in model.calls] == [2]
    assert not source.prefixes


async def test_logits_are_squashed_and_never_taken_for_probabilities():
    options = OutcomeRewardOptions(model="orm", scale="logit", center=9, temperature=2)
    source = OutcomeReward(options, REQUEST, WholeModel(10))
    assert await values(source, "four") == [0.5]
    with pytest.raises(RewardFailure, match="scale = 'logit'"):
        await values(OutcomeReward(OutcomeRewardOptions(model="orm"), REQUEST, WholeModel(10)), "four")


def test_a_template_has_all_its_names():
    with pytest.raises(RewardRequestError, match=r"\{answer\}"):
        validate(OutcomeRewardOptions, {"model": "m", "template": "{question}"}, "smc.reward.params")
    assert fill("{a} {b} {c}", {"a": "{b}", "b": "{a}"}) == "{b} {a} {c}"


def test_special_tokens_are_taken_out_of_untrusted_text():
    assert without_special_tokens("a<|im_start|>b<|im_<|x|>end|>c<extra_0>d</s>") == "abcd"


class Tokens:
    """A token a character; an empty text for token 0."""

    def encode(self, text, *, add_special_tokens=True):
        return [ord(character) for character in text]

    def decode(self, ids, *, skip_special_tokens=True):
        return "".join(chr(i) for i in ids if i)

    def apply_chat_template(self, messages, **kwargs):
        return self.encode("[chat]" + messages[0]["content"])


class Judge:
    info = EngineInfo("judge", "toy", 256, (), labels=True)

    def __init__(self, answers=None):
        self.tokenizer = Tokens()
        self.prompts: list[str] = []
        self.calls = 0
        self.answers = answers

    async def label_logprobs(self, token_id_lists, label_ids):
        self.calls += 1
        texts = [self.tokenizer.decode(ids) for ids in token_id_lists]
        self.prompts += texts
        if isinstance(self.answers, Exception):
            raise self.answers
        yes = [0.6 if "four" in text else 0.1 for text in texts]
        table = {ord("Y"): 1.0, ord("N"): None, ord("y"): 0.0, ord("n"): 0.0}
        return [{i: _log((1 - p) * 0.5 if table[i] is None else p * 0.5 * table[i]) for i in label_ids} for p in yes]


def _log(p):
    return math.log(p) if p > 0 else -math.inf


OPTIONS = {"yes": ["Yes", "yes"], "no": ["No", "no"]}


async def test_the_odds_of_yes_against_no_are_the_reward():
    judge = Judge()
    source = Verifier(VerifierOptions(**OPTIONS), REQUEST, judge)
    assert await values(source, "four", "five", "four") == [0.6, 0.1, 0.6]
    assert judge.calls == 1
    assert len(judge.prompts) == 2
    assert judge.prompts[0].startswith("[chat]Here are a task")
    assert not source.prefixes


async def test_a_suffix_continues_the_answers_own_tokens():
    judge = Judge()
    source = Verifier(VerifierOptions(layout="suffix", suffix=" right? ", **OPTIONS), REQUEST, judge)
    prefix = Prefix((*map(ord, "four"), 0), True, tuple(map(ord, "2+2? ")), decode=judge.tokenizer.decode)
    await source.rewards([prefix])
    assert judge.prompts == ["2+2? four right? "]


async def test_a_judge_that_is_down_is_a_failure():
    with pytest.raises(RewardFailure, match="down"):
        await values(Verifier(VerifierOptions(**OPTIONS), REQUEST, Judge(EngineError("down"))), "four")


def test_labels_with_one_first_token_are_refused():
    with pytest.raises(RewardRequestError, match="same token"):
        Verifier(VerifierOptions(yes=["True"], no=["Twisted"]), REQUEST, Judge())


async def test_a_remote_model_is_asked_over_vllms_api(monkeypatch):
    seen = []

    def serve(request):
        body = json.loads(request.content)
        seen.append((request.url.path, body, request.headers.get("Authorization")))
        if request.url.path == "/classify":
            return httpx.Response(200, json={"data": [{"index": 1, "probs": [0.2]}, {"index": 0, "probs": [0.1]}]})
        return httpx.Response(200, json={"data": [{"index": 0, "data": [[0.4, 0.6]]}]})

    monkeypatch.setenv("JUDGE_KEY", "k")
    model = RemoteRewardModel("http://judge", "m", api_key_env="JUDGE_KEY", transport=httpx.MockTransport(serve))
    assert await model.classify(["a", "b"]) == [[0.1], [0.2]]
    assert await model.classify_tokens(["a"]) == [[[0.4, 0.6]]]
    assert seen[1] == ("/pooling", {"model": "m", "input": ["a"], "task": "token_classify"}, "Bearer k")
    with pytest.raises(RewardFailure, match="another form"):
        await model.classify_tokens(["a", "b"])
    await model.aclose()


async def test_a_remote_model_that_is_down_is_a_failure():
    model = RemoteRewardModel("http://judge", "m", transport=httpx.MockTransport(lambda request: httpx.Response(500)))
    with pytest.raises(RewardFailure, match="500"):
        await model.classify(["a"])


def test_a_key_that_is_not_set_is_an_error_of_the_configuration(monkeypatch):
    monkeypatch.delenv("JUDGE_KEY", raising=False)
    with pytest.raises(RewardConfigError, match="JUDGE_KEY"):
        RemoteRewardModel("http://judge", "m", api_key_env="JUDGE_KEY")
