"""Which token an insert carries when it is sent again, so that an OK never stands for rows that are not there.

A table without replicas writes an insert's token down before its rows. A server that is killed in between comes back
with the token and without the rows, and answers the same insert with OK (measured on 26.7: 1 of some 500 inserts that
`kill -9` cut off). So the OK of a repeated insert counts only if the server lived from the first attempt on; otherwise
the rows are sent under another token, and what is there twice then is one row by its key. No IO.
"""

import math
from collections.abc import Callable

from pipeline.errors import ErrorClass


class InsertTokens:
    """The tokens of one batch's inserts; those of the batch before are forgotten. For the writer's thread."""

    def __init__(self) -> None:
        """Begin without a batch."""
        self._batch = ""
        self._renewals: dict[str, int] = {}
        self._doubtful_since: dict[str, float] = {}

    def name(self, token: str) -> str:
        """Return what to call the insert with this token now. What is in front of the first `/` names its batch."""
        batch = token.partition("/")[0]
        if batch != self._batch:
            self._batch, self._renewals, self._doubtful_since = batch, {}, {}
        renewals = self._renewals.get(token, 0)
        return f"{token}+{renewals}" if renewals else token

    def failed(self, token: str, began: float, error_class: ErrorClass) -> None:
        """Note that an attempt failed which began at that second; what has a known answer leaves no doubt."""
        if error_class is ErrorClass.UNKNOWN:
            # It may be a failure between the token and the rows, which the server outlives.
            self._doubtful_since[token] = -math.inf
        elif error_class is ErrorClass.AMBIGUOUS:
            self._doubtful_since.setdefault(token, began)

    def doubtful_since(self, token: str) -> float | None:
        """Return the second at which its first attempt of unknown outcome began; None if there was none."""
        return self._doubtful_since.get(token)

    def renewed(self, token: str, lived_since: Callable[[float], bool]) -> bool:
        """Return whether the OK for the insert is no proof; it has another name then, and is to be sent again.

        Args:
            token: the insert's.
            lived_since: whether the server has lived from that second on, and knows no insert whose rows it lost.
        """
        began = self.doubtful_since(token)
        if began is None or lived_since(began):
            return False
        self.renew(token)
        return True

    def renew(self, token: str) -> None:
        """Give the insert another name: what the server remembers of the former one may not be there."""
        self._renewals[token] = self._renewals.get(token, 0) + 1
        self._doubtful_since.pop(token, None)
