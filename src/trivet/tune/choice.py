"""One value for every lever of a search: a mapping that can be a key."""

from collections.abc import Iterator, Mapping

Value = bool | int | float | str


class Choice(Mapping[str, Value]):
    """Immutable; equal and hashed by its content, whatever the order of its levers."""

    __slots__ = ("_hash", "_values")

    def __init__(self, values: Mapping[str, Value]) -> None:
        self._values = dict(values)
        self._hash = hash(self.key)

    @property
    def key(self) -> tuple[tuple[str, str], ...]:
        """Sorted pairs of lever and value as text: the order in which ties are broken, the same in every process."""
        return tuple(sorted((name, repr(value)) for name, value in self._values.items()))

    def with_(self, **values: Value) -> "Choice":
        return Choice({**self._values, **values})

    def __getitem__(self, name: str) -> Value:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        # By text, as the key: True and 1 are equal in Python, and are not the same value of a lever.
        return isinstance(other, Choice) and self.key == other.key

    def __repr__(self) -> str:
        return f"Choice({self._values!r})"

    def told(self) -> str:
        """`threads=2 max_batch_size=8`, in the order of the space."""
        return " ".join(f"{name}={value}" for name, value in self._values.items())
