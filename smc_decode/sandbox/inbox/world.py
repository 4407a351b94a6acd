"""What a test and the program share beside objects, where the test names it: printed output, input, random numbers."""

import builtins
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .candidate import Candidate


class World:
    """The checker's part. `mentions`: all names in the tests.

    `output`: they look at what is printed. `input`: they put something in the place of `input` or of standard input.
    `random`: they seed the generator of the module `random`, which is then one for both sides.
    """

    def __init__(self, mentions: set[str]) -> None:
        self.output = bool(mentions & {"stdout", "redirect_stdout"})
        self.input = bool(mentions & {"input", "stdin"})
        self.random = {"random", "seed"} <= mentions
        self._stdout = sys.stdout

    def begin(self, candidate: "Candidate") -> None:
        """The program has been loaded."""
        if self.input:
            candidate.ask("take_input", _read)

    def before(self, candidate: "Candidate") -> None:
        """The program is about to be asked something."""
        if self.random and "random" in sys.modules:
            candidate.ask("set_random", sys.modules["random"].getstate())

    def after(self, candidate: "Candidate") -> None:
        """It has answered."""
        if self.random and "random" in sys.modules:
            sys.modules["random"].setstate(candidate.ask("get_random"))

    def write(self, output: str) -> None:
        """The program has printed something."""
        if output and sys.stdout is not self._stdout:
            sys.stdout.write(output)


def _read(*prompt: object) -> str:
    """What `input` is in the test at this moment."""
    return builtins.input(*prompt)


def take_input(read: "Any") -> None:
    """In the runner: have the test read what the program reads."""
    builtins.input = lambda *prompt: read(*prompt)


def set_random(state: "Any") -> None:
    import random

    random.setstate(state)


def get_random() -> object:
    import random

    return random.getstate()


RUNNERS = {"take_input": take_input, "set_random": set_random, "get_random": get_random}
