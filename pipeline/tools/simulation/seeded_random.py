"""The seeded source of everything that varies in the traffic."""

import binascii
from bisect import bisect
from collections.abc import Sequence
from itertools import accumulate
from random import Random
from typing import Generic, TypeVar

_BASE62 = bytes.maketrans(b"+/", b"Qz")

T = TypeVar("T")


class SeededRandom(Random):
    """A `random.Random` that also makes ids as the services do. One for each stream; not for several threads."""

    def token(self) -> str:
        """Return 24 base62 characters, the tail of every id on the wire."""
        return (
            binascii.b2a_base64(self.getrandbits(144).to_bytes(18, "little"), newline=False)
            .translate(_BASE62)
            .decode("ascii")
        )

    def between(self, least: int, most: int) -> int:
        """Return a whole number from `least` to `most`; a third of what `randint` costs."""
        return least + int(self.random() * (most - least + 1))

    def guid(self) -> str:
        """Return a GUID in its dashed form."""
        digits = self.randbytes(16).hex()
        return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


class Weighted(Generic[T]):
    """A choice among values of unequal weight, with the sums computed once."""

    def __init__(self, weights: Sequence[tuple[T, float]]) -> None:
        self._values = [value for value, weight in weights if weight > 0]
        self._sums = list(accumulate(weight for _, weight in weights if weight > 0))

    def pick(self, rng: SeededRandom) -> T:
        """Return one of the values."""
        return self._values[bisect(self._sums, rng.random() * self._sums[-1])]
