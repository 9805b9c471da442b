"""Charts made of block characters: sparklines, and areas with a scale."""

from collections.abc import Sequence
from typing import Final

from rich.color import Color
from rich.style import Style
from rich.text import Text

from pipeline.text import count

_BLOCKS: Final = " ▁▂▃▄▅▆▇█"
_LEVELS: Final = len(_BLOCKS) - 1
_STEPS: Final = (1.0, 2.0, 3.0, 5.0, 10.0)


def sparkline(values: Sequence[float], width: int) -> str:
    """Return the values as one line; each column shows the largest of those that share it.

    The highest block is not used, so that adjacent lines stay apart.
    """
    columns = _columns(values, width)
    highest = max(columns, default=0.0)
    if not highest:
        return "▁" * len(columns)
    return "".join(_BLOCKS[max(1, round(value / highest * (_LEVELS - 1)))] for value in columns)


def area(values: Sequence[float], width: int, height: int, colours: tuple[str, str]) -> Text:
    """Return the last values as an area under a curve, the newest at the right, its scale at the left.

    Args:
        values: not negative, the oldest first; one column each.
        width: in columns, the scale among them.
        height: in lines.
        colours: as #rrggbb, at the foot and at the top.
    """
    top = scale(max(values, default=0.0))
    label = max(len(count(top)), 1)
    room = max(width - label - 2, 1)
    shown = [0.0] * (room - len(values[-room:])) + list(values[-room:])
    levels = [min(value / top, 1.0) * height * _LEVELS for value in shown]
    picture = Text(no_wrap=True)
    for line in reversed(range(height)):
        name = count(top) if line == height - 1 else "0" if line == 0 else ""
        picture.append(f"{name:>{label}} ", style="dim")
        picture.append("▏", style="dim")
        cells = "".join(_cell(level - line * _LEVELS, is_foot=line == 0) for level in levels)
        picture.append(cells, style=_between(colours, line / max(height - 1, 1)))
        if line:
            picture.append("\n")
    return picture


def scale(highest: float) -> float:
    """Return the next round number that is not below."""
    if highest <= 1:
        return 1.0
    magnitude = 10.0 ** (len(str(int(highest))) - 1)
    return next(step * magnitude for step in (*_STEPS, 20.0) if step * magnitude >= highest)


def _columns(values: Sequence[float], width: int) -> list[float]:
    if len(values) <= width:
        return list(values)
    return [max(values[len(values) * i // width : len(values) * (i + 1) // width]) for i in range(width)]


def _cell(level: float, *, is_foot: bool) -> str:
    if level <= 0:
        return " "
    # A small value is not drawn as none.
    return _BLOCKS[min(max(round(level), 1 if is_foot else 0), _LEVELS)]


def _between(colours: tuple[str, str], share: float) -> Style:
    foot, top = (Color.parse(colour).get_truecolor() for colour in colours)
    mixed = (round(low + (high - low) * share) for low, high in zip(foot, top, strict=True))
    return Style(color=Color.from_rgb(*mixed))
