"""Which versions of ClickHouse runstep works with: the oldest one, on which all that it ships is tested."""

import re
from typing import Final, NamedTuple


class ServerVersion(NamedTuple):
    """A release of ClickHouse; what follows the second number changes no behaviour that runstep relies on."""

    year: int
    release: int

    def __str__(self) -> str:
        return f"{self.year}.{self.release}"


OLDEST: Final = ServerVersion(25, 8)
"""The oldest supported one. On earlier ones statements of runstep fail, or find nothing without an error."""

ORDERED_VIEWS: Final = ServerVersion(26, 7)
"""From this one on a server writes the two tables one after the other; earlier ones were seen to write both at once."""


def parsed(text: str) -> ServerVersion | None:
    """Return the version that a server names, None where it is not in ClickHouse's form."""
    found = re.match(r"(\d+)\.(\d+)\b", text)
    return ServerVersion(int(found[1]), int(found[2])) if found else None


def is_older(text: str, than: ServerVersion) -> bool:
    """Return whether the server is older; one whose version cannot be read is not."""
    version = parsed(text)
    return version is not None and version < than
