"""Text that others sent (producers, brokers, daemons), made fit for a terminal."""

from typing import Final

_PICTURES: Final = {
    **{code: 0x2400 + code for code in range(32) if chr(code) not in "\n\t"},
    0x7F: 0x2421,
    # They begin escape sequences, too, and have no pictures.
    **dict.fromkeys(range(0x80, 0xA0), 0xFFFD),
}
_BREAK: Final = "\u240a"


def visible(text: str) -> str:
    """Return the text with control characters as their pictures: no escape sequence may reach the terminal."""
    return text.translate(_PICTURES)


def visible_line(text: str) -> str:
    """Return the text visible and on one line: no line below it may look as if it were ours."""
    return visible(text).replace("\n", _BREAK)
