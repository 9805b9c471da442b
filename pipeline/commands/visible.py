"""Text that producers sent, made fit for a terminal."""

from typing import Final

_PICTURES: Final = {code: 0x2400 + code for code in range(32) if chr(code) not in "\n\t"} | {
    0x7F: 0x2421,
    0x9B: 0xFFFD,
}


def visible(text: str) -> str:
    """Return the text with control characters as their pictures: no escape sequence may reach the terminal."""
    return text.translate(_PICTURES)
