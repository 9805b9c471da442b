"""What is read of a record and kept of an event, and how much of its text is searched for secrets.

Owns the rules that the settings become, and a record's share of the work: it is counted in characters, not in time, so
that a record that is read again becomes the same row. A text that is not searched is not stored. Pure.
"""

import re
import sys
from typing import Final, NamedTuple, Self

from pipeline.config.sections import NormalizeSettings
from pipeline.normalize.bounded_json import MAX_NODES
from pipeline.records import plausible_stamps
from pipeline.redaction import redact, redact_entry

MAX_SEARCHED: Final = 8_388_608
"""What the settings allow by default: a quarter of a minute of work on texts that are made to be slow."""

_GROWTH: Final = 8
"""The texts of a record have at most so many times its bytes: numbers grow most, and errors count twice."""

_WHOLE: Final = re.compile(r"\[redacted:[a-z_]+\]")
"""All that is left of a text whose name says that it is a secret."""

_MARGIN: Final = 1_024
"""A secret that is cut in two is not recognized: more is searched than is kept, and what the cut may have hurt goes."""


class Share:
    """The characters of one record that may still be searched."""

    __slots__ = ("_left",)

    def __init__(self, chars: int) -> None:
        self._left = chars

    def takes(self, chars: int) -> bool:
        """Return whether there is room for so many, and take them."""
        self._left -= chars
        return self._left >= 0


class Rules(NamedTuple):
    """What is read of a record, and kept of an event.

    Attributes:
        content: full, structure or none.
        max_text: characters at which texts are cut.
        max_event_bytes: a record with a larger value is not decoded, but dead-lettered.
        max_event_nodes: nor is one with more JSON nodes.
        max_searched: characters of one record that are searched for secrets.
        share: what is left of them; None where the record is too small to need as many.
        latest_stamp: the latest timestamp of a record that can be true, milliseconds since the epoch.
        read_at: what an event's times are compared with where its record's timestamp cannot be true.
    """

    content: str = "full"
    max_text: int = 8_192
    max_event_bytes: int = 4_194_304
    max_event_nodes: int = MAX_NODES
    max_searched: int = MAX_SEARCHED
    share: Share | None = None
    latest_stamp: int = sys.maxsize
    read_at: int = sys.maxsize

    @classmethod
    def of(cls, kept: NormalizeSettings) -> Self:
        """Return the rules that settings mean."""
        return cls(kept.content, kept.max_text, kept.max_event_bytes, kept.max_event_nodes, kept.max_searched)

    def at(self, now: int) -> "Rules":
        """Return the rules for records that are read at a time, milliseconds since the epoch."""
        return self._replace(latest_stamp=plausible_stamps(now)[1], read_at=now)

    @property
    def unshared_bytes(self) -> int:
        """Size up to which a record needs no share: its texts cannot have more characters than may be searched."""
        return self.max_searched // _GROWTH

    def with_share(self) -> "Rules":
        """Return the rules for one record that is larger."""
        return self._replace(share=Share(self.max_searched))


def takes(share: Share | None, chars: int, anomalies: list[str]) -> bool:
    """Return whether so many characters may be searched; else flag that their text is left out."""
    if share is None or share.takes(chars):
        return True
    if "text_not_searched" not in anomalies:
        anomalies.append("text_not_searched")
    return False


def cleaned(text: str, rules: Rules, anomalies: list[str]) -> str:
    """Return a text without its secrets, cut at `max_text`; '' where the record's share is used up."""
    searched = text[: rules.max_text + _MARGIN]
    if not takes(rules.share, len(searched), anomalies):
        return ""
    return _cut(redact(searched), len(searched) < len(text), rules.max_text, anomalies)


def cleaned_entry(name: str, text: str, rules: Rules, anomalies: list[str]) -> tuple[str, str]:
    """Return the name and the text of an entry of a map, as `cleaned`; a name can say that its text is a secret."""
    searched = text[: rules.max_text + _MARGIN]
    if not takes(rules.share, len(name) + len(searched), anomalies):
        return redact(name), ""
    shown, clean = redact_entry(name, searched)
    is_cut = len(searched) < len(text) and not _WHOLE.fullmatch(clean)
    return shown, _cut(clean, is_cut, rules.max_text, anomalies)


def _cut(clean: str, is_cut: bool, most: int, anomalies: list[str]) -> str:
    if is_cut:
        anomalies.append("text_truncated")
        return clean[:-_MARGIN][:most]
    return bounded(clean, most, anomalies)


def bounded(text: str, most: int, anomalies: list[str]) -> str:
    """Return at most so many characters of a text, flagged where there were more."""
    if len(text) <= most:
        return text
    anomalies.append("text_truncated")
    return text[:most]
