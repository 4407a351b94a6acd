"""A reward for every smc-decode on the machine: `pip install ./examples/plugin`, and a server lists it and takes it."""

from collections.abc import Sequence

from pydantic import Field

from smc_decode.potentials import Kind, Options, Prefix, Reward, RewardSource


class PolitenessOptions(Options):
    words: tuple[str, ...] = Field(("please", "thank you"), min_length=1)


class Politeness(RewardSource):
    def __init__(self, options: PolitenessOptions, name: str) -> None:
        self.name = name
        self.words = options.words

    async def rewards(self, batch: Sequence[Prefix]) -> list[Reward]:
        found = [[word for word in self.words if word in prefix.text.lower()] for prefix in batch]
        return [Reward(len(words) / len(self.words), {"found": words}) for words in found]


KIND = Kind(
    "share of polite words that the answer has",
    PolitenessOptions,
    lambda options, context: Politeness(options, context.name),
    request_params=("words",),
)
