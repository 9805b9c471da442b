"""Texts that make a pattern work hardest, generated from the pattern itself, and what a character of them costs.

Owns how a hostile text is made (near matches of each part of a pattern, repeated) and how cost is measured without a
clock on the wall: in processor time, the best of several runs, as a multiple of a plain search on the same machine.
"""

import importlib
import random
import re
import time
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any, Final, NamedTuple

_parser: Final = importlib.import_module("re._parser")
_ops: Final = importlib.import_module("re._constants")

LENGTH: Final = 4_096
_LONGEST: Final = 64
_TURNS: Final = 3
_TRIED_AGAIN: Final = 4
_PROBES: Final = "a1A-_.:@/ \"'\\=+,z9"
_REPEATS: Final = (_ops.MAX_REPEAT, _ops.MIN_REPEAT, _ops.POSSESSIVE_REPEAT)
_RESOLUTION: Final = 20e-6

Fill = tuple[str, str]
"""What stands first, and what is repeated after it."""


class Costs(NamedTuple):
    """What the dearest text costs.

    Attributes:
        relative: processor time of a character, as a multiple of what a plain search takes for one.
        growth: how many times as long a text of four times the length takes: 4 where time is linear, 16 where it
            grows with the square.
        fill: the text.
    """

    relative: float
    growth: float
    fill: Fill


def searches(module: ModuleType) -> Iterator[tuple[str, re.Pattern[str], Callable[[str], Any]]]:
    """Yield name, pattern and use of each pattern that a module holds, compiled or as a bound method."""
    for name, value in vars(module).items():
        pattern = getattr(value, "__self__", value)
        if isinstance(pattern, re.Pattern):
            use = _run(pattern.search if value is pattern else value)
            if isinstance(pattern.pattern, bytes):
                yield name, re.compile(pattern.pattern.decode(), pattern.flags), _on_bytes(use)
            else:
                yield name, pattern, use


def _on_bytes(use: Callable[..., Any]) -> Callable[[str], Any]:
    return lambda text: use(text.encode())


def _run(use: Callable[..., Any]) -> Callable[[str], Any]:
    if use.__name__ == "sub":
        return lambda text: use("", text)
    if use.__name__ == "finditer":
        return lambda text: list(use(text))
    return use


def fills(pattern: re.Pattern[str], drawn: int = 20) -> list[Fill]:
    """Return texts of a pattern's own alphabet, always the same: near matches of its parts, and random ones."""
    tree = _parser.parse(pattern.pattern, pattern.flags)
    made = set()
    whole = [_match(tree, turn, long=False) for turn in range(_TURNS)]
    for part in _parts(tree):
        for long in (False, True):
            for turn in range(_TURNS):
                text = _match(part, turn, long=long)
                if text:
                    made |= {("", text), (whole[turn], text), ("", text[:-1] or text)}
                    made |= {("", text + sign) for sign in "! ."}
    draw = random.Random(1)
    signs = sorted({sign for _, text in made for sign in text})
    texts = sorted(text for _, text in made if len(text) <= _LONGEST)
    for _ in range(drawn):
        made |= {("", "".join(draw.choices(signs, k=draw.randint(2, 6)))), ("", "".join(draw.choices(texts, k=2)))}
    return sorted(made)


def text_of(fill: Fill, length: int) -> str:
    """Return so many characters of a fill, with a sign at the end that no pattern wants."""
    first, unit = fill
    return first + (unit * (length // len(unit) + 1))[:length] + "\x00"


def dearest(use: Callable[[str], Any], candidates: list[Fill]) -> Costs:
    """Return the costs of the fill that `use` is slowest on."""
    ranked = sorted(candidates, key=lambda fill: _seconds(use, text_of(fill, LENGTH), 1), reverse=True)
    fill = max(ranked[:_TRIED_AGAIN], key=lambda fill: _seconds(use, text_of(fill, LENGTH), 3))
    plain = _seconds(re.compile("[ab]c").findall, "ax" * 20_000, 5) / 40_000
    whole = _seconds(use, text_of(fill, LENGTH), 5)
    quarter = _seconds(use, text_of(fill, LENGTH // 4), 5)
    growth = max(whole, _RESOLUTION) / max(quarter, _RESOLUTION)
    return Costs(whole / LENGTH / plain, growth, fill)


def _seconds(use: Callable[[str], Any], text: str, runs: int) -> float:
    """Return the processor time of the fastest run."""
    best = float("inf")
    for _ in range(runs):
        started = time.process_time()
        use(text)
        best = min(best, time.process_time() - started)
    return best


def _parts(tree: Any) -> Iterator[Any]:
    """Yield a parsed pattern and everything inside of it that is repeated, grouped or looked ahead for."""
    yield tree
    for op, argument in tree:
        for inner in _inside(op, argument):
            yield from _parts(inner)


def _inside(op: Any, argument: Any) -> list[Any]:
    if op is _ops.BRANCH:
        return list(argument[1])
    if op is _ops.SUBPATTERN:
        return [argument[3]]
    if op is _ops.ATOMIC_GROUP:
        return [argument]
    if op in _REPEATS:
        return [argument[2]]
    return [argument[1]] if op in (_ops.ASSERT, _ops.ASSERT_NOT) else []


def _match(tree: Any, turn: int, *, long: bool) -> str:
    """Return a text that a parsed pattern matches, but for what it looks ahead or behind for; `turn` chooses which."""
    return "".join(_match_one(op, argument, turn, long=long) for op, argument in tree)


def _match_one(op: Any, argument: Any, turn: int, *, long: bool) -> str:
    if op is _ops.LITERAL:
        return chr(argument)
    if op is _ops.IN:
        signs = _signs(argument)
        return signs[turn % len(signs)]
    if op in _REPEATS:
        low, high, body = argument
        times = min(int(high), _LONGEST) if long else max(low, 1)
        return "".join(_match(body, turn + number, long=long and times < _LONGEST // 4) for number in range(times))
    if op in (_ops.AT, _ops.ASSERT, _ops.ASSERT_NOT):
        return ""
    inner = _inside(op, argument)
    return _match(inner[turn % len(inner)], turn // len(inner), long=long) if inner else '"'


def _signs(items: list[Any]) -> str:
    """Return characters that a set of a pattern holds, of as many kinds as it has."""
    found = "".join(sign for sign in _PROBES if _holds(items, sign))
    return found or "".join(chr(code) for code in range(0x3000) if _holds(items, chr(code)))[:3]


def _holds(items: list[Any], sign: str) -> bool:
    found = False
    for op, argument in items:
        if op is _ops.LITERAL:
            found |= ord(sign) == argument
        elif op is _ops.RANGE:
            found |= argument[0] <= ord(sign) <= argument[1]
        elif op is _ops.CATEGORY:
            found |= _of_category(argument, sign)
    return found is not (items[0][0] is _ops.NEGATE)


def _of_category(category: Any, sign: str) -> bool:
    name = str(category).removeprefix("CATEGORY_")
    kind = name.removeprefix("NOT_")
    within = {"DIGIT": sign.isdigit(), "SPACE": sign.isspace(), "WORD": sign.isalnum() or sign == "_"}[kind]
    return within is (kind == name)
