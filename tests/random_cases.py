"""Random models and configurations of everything that docs/method.md, section 13, calls exact."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from smc_decode.laws.resampling import SCHEMES
from tests.enumeration import Model, Tokens

LETTERS = "abcdefgh"


class Letters:
    """A tokenizer of single letters, for stop strings."""

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        return [LETTERS.index(letter) for letter in text]

    def decode(self, token_ids: Any, *, skip_special_tokens: bool = True) -> str:
        return "".join(LETTERS[token] for token in token_ids)

    def apply_chat_template(self, messages: Any, **kwargs: Any) -> list[int]:
        raise NotImplementedError


@dataclass(frozen=True)
class ShapedModel(Model):
    """A toy model with what cuts its law and ends its sequences; an R of 0 at a block's end is final."""

    top_p: float = 1.0
    min_p: float = 0.0
    stop_token_ids: tuple[int, ...] = ()
    stop: tuple[str, ...] = ()

    def complete(self, tokens: Tokens) -> bool:
        if super().complete(tokens) or (tokens and tokens[-1] in self.stop_token_ids):
            return True
        text = Letters().decode(tokens)
        return any(stop in text for stop in self.stop)

    def log_potential(self, tokens: Tokens) -> float:
        if self.kind == "telescoping" and self.log_psi is not None:
            values = [self.log_psi(tokens[:end], self.complete(tokens[:end])) for end in self.boundaries(tokens)]
            return -math.inf if -math.inf in values else values[-1]
        return super().log_potential(tokens)

    def log_transition(self, tokens: Tokens, token: int) -> float:
        powered = self.alpha * self.logprobs(tokens)
        law = np.exp(powered - np.logaddexp.reduce(powered))
        keep = law > 0.0
        if self.min_p > 0.0:
            keep &= law >= self.min_p * law.max()
        if self.top_k:
            keep &= law >= np.sort(law)[-min(self.top_k, len(law))]
        if self.top_p < 1.0:
            left = np.where(keep, law, 0.0)
            left /= left.sum()
            order = np.argsort(-left, kind="stable")
            before = np.cumsum(left[order]) - left[order]
            keep &= left >= left[order[np.flatnonzero(before < self.top_p)[-1]]]
        kept = np.where(keep, powered, -np.inf)
        if self.target == "tempered":
            kept = kept - np.logaddexp.reduce(kept)
        return float(kept[token])


@dataclass(frozen=True)
class Case:
    """One configuration to be checked. ``log_scale``: what the potential declares of itself."""

    number: int
    model: ShapedModel
    settings: dict[str, Any]
    n_draws: int = 1
    log_scale: float | None = None
    features: tuple[str, ...] = field(default=(), compare=False)


def _model(g: random.Random, number: int) -> ShapedModel:
    """Logits and potentials are noise by the prefix, of a size at which a thousand runs see one percent."""
    vocab_size = g.randint(2, 4)
    max_tokens = g.randint(2, 4)
    while vocab_size**max_tokens > 100:
        max_tokens -= 1
    size, zeros = g.choice([0.3, 0.6, 1.0]), g.choice([0.0, 0.0, 0.0, 0.15])
    bias, eos = g.gauss(-0.4, 0.8), g.random() < 0.7
    kind, psi_size, dead = (
        g.choice(["product", "telescoping", "terminal"]),
        g.choice([0.2, 0.4, 0.6]),
        g.choice([0.0, 0.0, 0.1]),
    )
    psis: dict[tuple[Tokens, bool], float] = {}

    def logits(tokens: Tokens) -> np.ndarray:
        noise = np.random.default_rng([number, 1, len(tokens), *tokens])
        values = noise.normal(size=vocab_size) * size
        if eos:
            values[0] += bias
        hard = noise.random(vocab_size) < zeros
        return values if hard.all() else np.where(hard, -np.inf, values)

    def log_psi(tokens: Tokens, finished: bool) -> float:
        if (tokens, finished) not in psis:
            noise = np.random.default_rng([number, 2, int(finished), len(tokens), *tokens])
            value = float(noise.normal() * psi_size)
            psis[tokens, finished] = -math.inf if noise.random() < dead else value
        return psis[tokens, finished]

    return ShapedModel(
        f"random-{number}",
        logits,
        vocab_size,
        max_tokens,
        g.randint(1, 3),
        eos=0 if eos else None,
        target=g.choice(["tempered", "powered"]),
        alpha=g.choice([0.5, 0.8, 1.0, 1.5, 2.0]),
        kind=kind,
        log_psi=log_psi,
    )


def _shaped(g: random.Random, model: ShapedModel, settings: dict[str, Any]) -> ShapedModel:
    if g.random() < 0.35:
        settings["proposal_temperature"] = round(g.uniform(0.7, 1.3), 2)
    cut = g.random()
    if cut < 0.12:
        settings["top_k"] = g.randint(1, model.vocab_size)
    elif cut < 0.2 and "proposal_temperature" not in settings:
        settings["top_p"] = round(g.uniform(0.5, 0.95), 2)
    elif cut < 0.28 and "proposal_temperature" not in settings:
        settings["min_p"] = round(g.uniform(0.05, 0.4), 2)
    if g.random() < 0.12:
        settings["stop_token_ids"] = (g.randrange(model.vocab_size),)
    if g.random() < 0.1:
        settings["stop"] = ("".join(g.choice(LETTERS[: model.vocab_size]) for _ in range(g.randint(1, 2))),)
    names = ("top_k", "top_p", "min_p", "stop_token_ids", "stop")
    return replace(model, **{name: settings[name] for name in names if name in settings})


def _lookahead(g: random.Random) -> dict[str, Any]:
    rollouts = g.randint(1, 3)
    look: dict[str, Any] = {
        "rollouts": rollouts,
        "floor": g.choice([0.01, 0.1, 1.0]),
        "reuse": g.random() < 0.75,
        "choice": g.choice(["uniform", "weighted"]),
        "recycle": g.random() < 0.8,
    }
    if g.random() < 0.2:
        look["temperature"] = g.choice([0.7, 1.0])
    if g.random() < 0.25:
        look["horizon"] = g.randint(1, 4)
    if g.random() < 0.25:
        look["start"] = g.choice([0.4, 0.6, 0.8])
    if g.random() < 0.3:
        look |= {"min_rollouts": g.randint(1, rollouts), "agreement": g.choice([0.0, 0.1, 0.5])}
    return look


def random_case(number: int) -> Case:
    """The case of that number; the same one each time."""
    g = random.Random(number)
    model = _model(g, number)
    settings: dict[str, Any] = {
        "n_particles": g.choice([1, 2, 2, 3, 4]),
        "resampling": g.choice(sorted(SCHEMES)),
        "ess_threshold": g.choice([0.0, 0.5, 0.9, 1.0, 1.0]),
        "draft_draws": g.random() < 0.75,
    }
    model = _shaped(g, model, settings)
    if g.random() < 0.65:
        settings["lookahead"] = _lookahead(g)
    if g.random() < 0.5:
        settings["rejuvenation"] = {"steps": g.choice([1, 1, 2]), "every": g.randint(1, 3)}
        if number % 3 == 0:
            settings["rejuvenation"]["window"] = g.randint(1, 3)
        if model.target == "tempered" and g.random() < 0.35:
            settings["rejuvenation"]["mode"] = "corrected"
    passes = g.random()
    if passes < 0.2:
        settings["n_sweeps"] = 2
    elif passes < 0.4:
        settings["first_pass_size"] = g.randint(1, 3)
        settings["later_passes"] = g.choice(["doubling", "rest"])
    if passes >= 0.2 and g.random() < 0.5:
        settings["proposal_draws"] = "systematic"
    looks, moves = "lookahead" in settings, "rejuvenation" in settings
    known = looks and (moves or g.random() < 0.5)
    case = Case(number, model, settings, n_draws=g.choice([1, 1, 3]))
    return replace(case, features=features_of(case), log_scale=_log_scale(model) if known else None)


def _log_scale(model: ShapedModel) -> float | None:
    values = [model.log_potential(tokens) for tokens, _ in model.sequences()]
    top = max(values, default=-math.inf)
    return top if top > -math.inf else None


def features_of(case: Case) -> tuple[str, ...]:
    """What the table of results counts the case under."""
    settings, model = case.settings, case.model
    look, moves = settings.get("lookahead", {}), settings.get("rejuvenation", {})
    said = {
        f"target {model.target}": True,
        f"potential {model.kind}": True,
        f"resampling {settings['resampling']}": True,
        "proposal_temperature": "proposal_temperature" in settings,
        "top_k, top_p or min_p": bool({"top_k", "top_p", "min_p"} & settings.keys()),
        "stop tokens and strings": bool({"stop_token_ids", "stop"} & settings.keys()),
        "one particle": settings["n_particles"] == 1,
        "drafts": settings["draft_draws"] and bool(look or moves),
        "rollouts": bool(look),
        "rollouts reused": bool(look) and look["reuse"],
        "rollouts chosen by value": bool(look) and look["choice"] == "weighted",
        "rollouts recycled": bool(look) and look["recycle"] and "horizon" not in look and "n_sweeps" not in settings,
        "rollouts at a temperature of their own": "temperature" in look,
        "rollouts that begin late": "start" in look,
        "rollouts with a horizon": "horizon" in look,
        "adaptive rollouts": "min_rollouts" in look,
        "moves, exact": bool(moves) and "mode" not in moves,
        "moves, corrected": "mode" in moves,
        "rollouts and moves": bool(look and moves),
        "conditional sweeps": "n_sweeps" in settings,
        "growing passes": "first_pass_size" in settings,
        "systematic draws": "proposal_draws" in settings,
        "several draws": case.n_draws > 1,
    }
    return tuple(name for name, is_so in said.items() if is_so)
