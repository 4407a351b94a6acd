"""What a side keeps of each object that crosses the wall."""

from . import replicas

TYPE_CHECKING = False
if TYPE_CHECKING:
    pass


class Entry:
    """A shared object. `at_home`: it is ours, the other side has a proxy. `parts`: of a container, as last sent."""

    __slots__ = ("alias", "at_home", "fields", "kind", "number", "object", "parts")

    def __init__(
        self,
        number: int,
        shared: object,
        kind: "replicas.Kind | None" = None,
        at_home: bool = False,
        fields: bool = False,
    ) -> None:
        self.number = number
        self.object = shared
        self.kind = kind
        self.at_home = at_home
        self.fields = fields  # an instance of a class that both sides know: its attributes are its parts
        self.parts: tuple[object, ...] = ()
        self.alias = 0  # identity of another object that stands for the same

    @property
    def is_container(self) -> bool:
        return self.kind is not None or self.fields

    def read(self) -> tuple[object, ...]:
        if self.kind is not None:
            return self.kind.read(self.object)
        attributes = object.__getattribute__(self.object, "__dict__")
        return (*attributes.keys(), *attributes.values())

    def write(self, parts: tuple[object, ...]) -> None:
        if self.kind is not None:
            self.kind.write(self.object, parts)
        else:
            write_fields(self.object, parts)
        self.parts = self.read()


def is_of_attributes(value: object, cls: type) -> bool:
    """Whether an instance is nothing but its attributes."""
    return replicas.base_of(cls) is None and not isinstance(value, BaseException) and hasattr(value, "__dict__")


def write_fields(instance: object, parts: tuple[object, ...]) -> None:
    """Set an instance's attributes, but none that would hide what its class can do."""
    half = len(parts) // 2
    names, cls = parts[:half], type(instance)
    for name in names:
        if type(name) is not str or callable(getattr(cls, name, None)):
            raise ValueError("no attribute of an instance")
    attributes = object.__getattribute__(instance, "__dict__")
    attributes.clear()
    attributes.update(zip(names, parts[half:], strict=True))
