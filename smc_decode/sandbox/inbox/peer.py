"""What checker and runner have in common: each may ask the other to do something with an object, and wait."""

from .errors import Errors, arguments, attributes, lineage, make, message_of
from .session import Session

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .channel import Channel


class Peer:
    """One end of a conversation about objects. Frames are `("do", number, operation, arguments)` and the answers to it:
    `("value", number, value, output)`, `("stop", number)`, `("raised", number, lineage, arguments, attributes, message,
    origin)`, `("rejected", number, why)` and `("timeout", number)`. While one side waits it may be asked itself.

    `open_interfaces`: objects of the other side may also be asked what a string or a set could be asked.
    """

    open_interfaces = True

    def __init__(self, channel: "Channel", first_number: int, library: bool) -> None:
        self.channel = channel
        self.session = Session(self, first_number, library)
        self.errors = Errors(self.session.classes)

    def is_theirs(self, value: object) -> bool:
        """Whether a value stands for an object of the other side."""
        return self.session.is_theirs(value)

    def ask(self, op: str, *args: "Any") -> object:
        """Have the other side do `op`, and give the result or raise what it raised."""
        raise NotImplementedError

    def raised(self, number: int, error: BaseException, origin: object) -> tuple[object, ...]:
        """The answer that says that `error` was raised. `origin`: the object that it is on the other side, if any."""
        kinds = lineage(type(error), self.session.classes)
        return ("raised", number, kinds, arguments(error), attributes(error), message_of(error), origin)

    def without_details(self, answer: tuple[object, ...]) -> tuple[object, ...]:
        """A `raised` answer for errors whose arguments cannot be sent."""
        return (*answer[:3], None, (), answer[5], None)

    def error_of(self, kinds: object, args: object, fields: object, message: str) -> BaseException:
        """The exception that an answer tells of. Raises ValueError for what is none."""
        return make(self.errors.class_of(kinds), args, fields, message)
