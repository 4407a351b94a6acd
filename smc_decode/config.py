"""What a run is asked to do: SMCConfig and its parts. Validation errors name the field and the allowed values."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from smc_decode.laws.targets import TARGETS
from smc_decode.shaping import (
    SHAPING_FIELDS,
    AdditivePenalty,
    Finite,
    MinP,
    MinTokens,
    RepetitionPenalty,
    Shaping,
    TopK,
    TopP,
    matched,
)

RejuvenationMode = Literal["exact", "corrected", "paper"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Lookahead(_Part):
    """Estimates of a prefix's future, L^ (docs/method.md, "Lookahead"). Off at ``rollouts=0``.

    ``temperature`` None: the proposal's. ``horizon`` None: rollouts run to the end. ``floor`` in units of the
    potential's scale. ``reuse``: a rollout becomes the next block, where that is exact (rollouts drawn at the
    proposal temperature). ``choice``: which rollout (``uniform``, or ``weighted`` by its value).
    ``min_rollouts``: draw only so many where they agree to within ``agreement`` (relative spread).
    ``early_stop``: end the run when one answer holds this share of the anytime posterior. ``recycle``: the weighted
    rollouts of every block are answers of the final population (where that is exact: :attr:`SMCConfig.recycles`).
    ``start``: rollouts (and, where a prefix's value is taken back later, resampling) begin at the end of the block
    nearest to this share of an answer's length: of the median of earlier passes, else of ``max_tokens``
    (docs/method.md, "Late lookahead").
    """

    rollouts: int = Field(0, ge=0, le=64)
    temperature: Finite | None = Field(None, gt=0, le=10)
    horizon: int | None = Field(None, ge=1)
    floor: Finite = Field(0.1, ge=0)
    reuse: bool = True
    choice: Literal["uniform", "weighted"] = "uniform"
    min_rollouts: int | None = Field(None, ge=1)
    agreement: Finite = Field(0.1, ge=0)
    early_stop: Finite | None = Field(None, gt=0, le=1)
    recycle: bool = True
    start: Finite = Field(0.0, ge=0, lt=1)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.min_rollouts is not None and self.min_rollouts > max(self.rollouts, 1):
            raise ValueError("min_rollouts must not exceed rollouts")
        if self.choice == "weighted" and self.floor == 0:
            raise ValueError("choice 'weighted' needs a floor above 0: a rollout of value 0 could never be chosen")
        if self.early_stop is not None and self.rollouts == 0:
            raise ValueError("early_stop needs rollouts of at least 1: it reads the rollouts' answers")
        if self.early_stop is not None and self.horizon is not None:
            raise ValueError("early_stop needs complete rollouts: leave horizon out")
        return self


class Rejuvenation(_Part):
    """Metropolis-Hastings suffix regeneration (docs/method.md, "Rejuvenation"). Off at ``steps=0``.

    ``when``: ``always``, after every ``every``-th block, which is exact; ``resampled``, only where the population was
    just resampled, which is cheaper but biased at finite N, since the trigger depends on what is moved. ``move``: the
    kernel, by the name that it is registered under. ``recycle``: after the last block both ends of every move are
    answers of the final population, by its acceptance probability (:attr:`SMCConfig.recycles_moves`).
    ``window``: moves cut only within the last so many blocks, so that what is before them can be shown; None: anywhere.
    ``mode`` ``paper`` moves duplicates with a reward below
    ``reward_threshold`` only. ``rungs`` and ``lowest`` are the ladder of the move ``exchange``: how many targets, and
    the level of the softest, between 0 (the model itself) and 1 (the requested one).
    """

    steps: int = Field(0, ge=0, le=1000)
    mode: RejuvenationMode = "exact"
    move: str = "suffix"
    when: Literal["always", "resampled"] = "always"
    every: int = Field(1, ge=1)
    reward_threshold: Finite = 0.5
    recycle: bool = True
    window: int | None = Field(None, ge=1)
    rungs: int = Field(4, ge=1, le=64)
    lowest: Finite = Field(0.25, ge=0, le=1)

    @field_validator("move")
    @classmethod
    def _known_move(cls, name: str) -> str:
        from smc_decode.sampler.moves import MOVES  # the sampler reads configurations

        return MOVES.check(name)

    def scheduled(self, block: int) -> bool:
        """Whether moves follow ``block`` (from 0) whatever the population looks like."""
        return self.steps > 0 and self.when == "always" and (block + 1) % self.every == 0


class Bridge(_Part):
    """Adaptive bridging: the first blocks aim at a softer target, which is raised by bisection of the ESS and
    ends exactly at the requested one (docs/method.md, "Bridging"). Off when both parts are off."""

    alpha: bool = False
    reward: bool = False
    ess: Finite = Field(0.7, gt=0, lt=1)


class SMCConfig(_Part):
    """One run. Defaults: Target I at alpha 1 with systematic resampling and no lookahead or moves.

    ``first_pass_size``: draw the population in independent passes, first so many particles, then as many again as
    there are by then, up to ``n_particles`` (docs/method.md, "Growing passes"); None: all at once. ``later_passes``:
    ``doubling``, or one of all the ``rest``.
    ``stop_at_reward``: end the run at the first complete answer with at least this reward, between blocks and between
    passes: a search mode, which saves the tokens of whatever is easy (docs/method.md, "Stopping at a reward").
    ``draft_draws``: begin draws like earlier ones of the run with the right probability, rather than draw the same
    tokens again: the same law for fewer tokens (docs/method.md, "Drafts"). Without effect where the engine cannot.
    ``proposal_draws``: ``systematic`` spreads the draws from each prefix evenly over what q gives, each alone still by
    q: less variance at no cost (docs/method.md, "Systematic draws"). Without effect where the engine cannot.
    ``max_total_tokens`` counts drawn tokens, ``max_total_rows`` those that the model ran for; neither is exceeded.
    """

    n_particles: int = Field(16, ge=1, le=4096)
    block_size: int = Field(32, ge=1)
    max_tokens: int = Field(512, ge=1)
    target: str = "tempered"
    alpha: Finite = Field(1.0, gt=0)
    proposal_temperature: Finite | None = Field(None, ge=0, le=10)
    resampling: str = "systematic"
    ess_threshold: Finite = Field(0.5, ge=0, le=1)
    reward_scale: Finite = 4.0
    lookahead: Lookahead = Lookahead()
    rejuvenation: Rejuvenation = Rejuvenation()
    bridge: Bridge = Bridge()
    selection: str = "sample"
    extractor: str = "tokens"
    n_sweeps: int = Field(1, ge=1, le=100)
    first_pass_size: int | None = Field(None, ge=1)
    later_passes: Literal["doubling", "rest"] = "doubling"
    stop_at_reward: Finite | None = None
    draft_draws: bool = True
    proposal_draws: Literal["independent", "systematic"] = "independent"
    max_total_tokens: int | None = Field(None, ge=1)
    max_total_rows: int | None = Field(None, ge=1)
    deadline_s: Finite | None = Field(None, gt=0)

    # The fields of Shaping, flat.
    top_k: TopK = 0
    top_p: TopP = 1.0
    min_p: MinP = 0.0
    repetition_penalty: RepetitionPenalty = 1.0
    presence_penalty: AdditivePenalty = 0.0
    frequency_penalty: AdditivePenalty = 0.0
    logit_bias: dict[int, Finite] = Field(default_factory=dict)
    min_tokens: MinTokens = 0
    ignore_eos: bool = False
    grammar: dict[str, object] | None = None

    stop_token_ids: tuple[int, ...] = ()
    stop: tuple[str, ...] = ()

    @field_validator("resampling")
    @classmethod
    def _known_scheme(cls, name: str) -> str:
        from smc_decode.laws.resampling import SCHEMES

        return SCHEMES.check(name)

    @field_validator("extractor")
    @classmethod
    def _known_extractor(cls, name: str) -> str:
        from smc_decode.answers.extractors import check_extractor

        return check_extractor(name)

    @field_validator("target")
    @classmethod
    def _known_target(cls, name: str) -> str:
        return TARGETS.check(name)

    @field_validator("selection")
    @classmethod
    def _known_selection(cls, name: str) -> str:
        from smc_decode.answers.selection import SELECTIONS  # which reads configurations

        return SELECTIONS.check(name)

    @model_validator(mode="before")
    @classmethod
    def _renamed(cls, values: Any) -> Any:
        """Names of before, for configurations that still have them."""
        if isinstance(values, Mapping) and "first_pass" in values:
            warnings.warn("first_pass is now first_pass_size", DeprecationWarning, stacklevel=2)
            values = {"first_pass_size" if key == "first_pass" else key: value for key, value in values.items()}
        return values

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.proposal_temperature == 0 and self.n_particles > 1:
            raise ValueError("proposal_temperature 0 is greedy decoding: it needs n_particles=1")
        if self.extractor == "behaviour" and self.lookahead.early_stop is not None:
            raise ValueError("lookahead.early_stop compares texts: use another extractor than 'behaviour'")
        if self.first_pass_size is not None and self.n_sweeps > 1:
            raise ValueError("first_pass_size and n_sweeps cannot be combined: a sweep needs one whole population")
        if self.proposal_draws == "systematic" and self.n_sweeps > 1:
            raise ValueError(
                "n_sweeps needs proposal_draws='independent': a sweep holds one particle and draws the others"
            )
        if self.first_pass_size is not None and (self.bridge.alpha or self.bridge.reward):
            raise ValueError("first_pass_size and bridge cannot be combined: each pass would need a bridge of its own")
        if self.bridge.alpha and self.target != "powered":
            raise ValueError("bridge.alpha needs target='powered' (the tempered base has no alpha to bridge)")
        if (self.bridge.alpha or self.bridge.reward) and self.lookahead.rollouts:
            raise ValueError("bridge and lookahead cannot be combined: a rollout's value is of the final target")
        if self.rejuvenation.mode == "corrected" and self.rejuvenation.steps and self.target != "tempered":
            raise ValueError("rejuvenation.mode 'corrected' is a Target II move inside target='tempered'")
        return self

    @model_validator(mode="after")
    def _check_shaping(self) -> Self:
        shaping = self.shaping
        if (
            shaping.truncates
            and self.temperature > 0.0
            and not self.locally_matched
            and (self.top_p < 1 or self.min_p > 0)
        ):
            raise ValueError(
                "top_p and min_p cut at the proposal's temperature, so the target would not know the cut: "
                "leave proposal_temperature out (it is then 1/alpha), or use top_k"
            )
        greedy = self.temperature == 0.0
        if shaping.reweights and not greedy and (self.target == "powered" or not self.locally_matched):
            raise ValueError(
                "penalties, logit_bias, min_tokens and ignore_eos move the logits, and the engine then gives no "
                "base log-probability for it: use target='tempered' without proposal_temperature"
            )
        return self

    @model_validator(mode="after")
    def _check_exchange(self) -> Self:
        """Its particles are chains, each with a target of its own."""
        if not self.exchanges:
            return self
        moves = self.rejuvenation
        if self.ess_threshold > 0 or self.lookahead.rollouts or self.n_passes > 1:
            raise ValueError(
                "rejuvenation.move 'exchange' runs chains: it needs ess_threshold=0, and neither lookahead nor "
                "first_pass_size nor n_sweeps"
            )
        if moves.mode != "exact" or moves.when != "always" or moves.every != 1:
            raise ValueError("rejuvenation.move 'exchange' has no other mode, when or every than the defaults")
        if self.bridge.alpha or self.bridge.reward or self.temperature == 0.0:
            raise ValueError("rejuvenation.move 'exchange' cannot be combined with bridge or greedy decoding")
        return self

    @property
    def exchanges(self) -> bool:
        """Whether particles are chains on a ladder of targets."""
        return self.rejuvenation.steps > 0 and self.rejuvenation.move == "exchange"

    def first_lookahead(self, length: int | None = None) -> int:
        """The first block (from 0) that rollouts follow, where answers have so many tokens; None: ``max_tokens``."""
        wanted = self.lookahead.start * (self.max_tokens if length is None else length)
        return max(0, math.floor(wanted / self.block_size + 0.5) - 1)

    @property
    def pass_sizes(self) -> list[int]:
        """How many particles each pass has: all, or ``first_pass_size`` and then doublings of what is there (or the
        rest)."""
        if self.first_pass_size is None:
            return [self.n_particles]
        sizes: list[int] = []
        while (there := sum(sizes)) < self.n_particles:
            more = self.n_particles if there and self.later_passes == "rest" else there or self.first_pass_size
            sizes.append(min(more, self.n_particles - there))
        return sizes

    @property
    def n_passes(self) -> int:
        """How many passes there are at most, conditional ones included."""
        return len(self.pass_sizes) + self.n_sweeps - 1

    @property
    def recycles(self) -> bool:
        """Whether rollouts are answers of the final population.

        Not with a horizon, which leaves them incomplete; not where a conditional pass needs a particle's own path; and
        not in ``paper`` mode, which is as published.
        """
        published = self.rejuvenation.steps > 0 and self.rejuvenation.mode == "paper"
        look = self.lookahead
        return look.recycle and look.rollouts > 0 and look.horizon is None and self.n_sweeps == 1 and not published

    @property
    def recycles_moves(self) -> bool:
        """Whether the ends of the last moves are answers of the final population: where weights stay as they are and
        the target is not raised any more."""
        moves = self.rejuvenation
        plain = moves.mode == "exact" and moves.move == "suffix" and not (self.bridge.alpha or self.bridge.reward)
        return moves.recycle and moves.steps > 0 and plain and self.n_sweeps == 1

    @property
    def temperature(self) -> float:
        """The proposal temperature tau: ``proposal_temperature``, or 1/alpha."""
        return 1.0 / self.alpha if self.proposal_temperature is None else self.proposal_temperature

    @property
    def rollout_temperature(self) -> float:
        """The temperature that rollouts are drawn at: the proposal's, unless there is one of their own."""
        own = self.lookahead.temperature
        return self.temperature if own is None else own

    @property
    def locally_matched(self) -> bool:
        """Whether tau = 1/alpha (Target I's increments are then exactly psi)."""
        return self.matches(self.temperature)

    def matches(self, temperature: float) -> bool:
        """Whether a proposal at this temperature is p^alpha, normalised."""
        return matched(self.alpha, temperature)

    @property
    def shaping(self) -> Shaping:
        """What reshapes the model's law, in the target and in the proposal alike."""
        return Shaping(**{name: getattr(self, name) for name in SHAPING_FIELDS})
