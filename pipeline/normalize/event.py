"""A run-step event, and the quick way to read one that has nothing odd: msgspec, twice as fast as pydantic.

Owns what counts as plain: known fields and no others, of the types and words that they should have, with values nested
as deep as those of the APIs. What is not plain is not judged here, but by pydantic in `decode.py`; what is plain would
pass there, too, and become the same event. Remembers how many values were odd; used by the owner's thread only.
"""

from typing import Any, Final, Literal, NamedTuple

import msgspec

from schemas.vocabulary import STATUSES, STEP_TYPES
from schemas.wire import Step


class RunStepEvent(NamedTuple):
    """A validated run step.

    Attributes:
        step: its fields.
        dialect: the form it came in.
        name: the event's name, '' if none.
        anomalies: what was repaired to make it valid.
        unknown: the fields that are not known; None if none.
    """

    step: Step
    dialect: str
    name: str = ""
    anomalies: tuple[str, ...] = ()
    unknown: dict[str, Any] | None = None


def _json(depth: int) -> Any:
    """Return the type of JSON values that are nested at most so deep.

    A type that takes any value would take 900 levels, where pydantic and `bounded_json.py` reject more than 200.
    """
    scalar: Any = str | int | float | bool | None
    values = scalar
    for _ in range(depth):
        values = scalar | list[values] | dict[str, values]  # type: ignore[valid-type]  # made at run time
    return values


_STAMP: Final = _json(0)
_PLAIN: Final = {
    "type": Literal[tuple(STEP_TYPES)] | None,
    "status": Literal[tuple(STATUSES)] | None,
    "created_at": _STAMP,
    "completed_at": _STAMP,
    "failed_at": _STAMP,
    "cancelled_at": _STAMP,
    "expired_at": _STAMP,
    "expires_at": _STAMP,
    "last_error": _json(3),
    "step_details": _json(8),
    "usage": _json(3),
    "metadata": _json(3),
}
"""Fields of which less is plain than `Step` may hold."""


def _plain_step(rename: Literal["camel"] | None = None) -> Any:
    fields = [(field.name, _PLAIN.get(field.name, field.type), field.default) for field in msgspec.structs.fields(Step)]
    return msgspec.defstruct("PlainStep", fields, bases=(Step,), rename=rename, forbid_unknown_fields=True, gc=False)


_SnakeStep: Final = _plain_step()
_Envelope: Final = msgspec.defstruct(
    "PlainEnvelope", [("event", str), ("data", _SnakeStep)], forbid_unknown_fields=True, gc=False
)
_decoders: Final = {
    "snake_case": msgspec.json.Decoder(_SnakeStep).decode,
    "camel_case": msgspec.json.Decoder(_plain_step("camel")).decode,
    "envelope": msgspec.json.Decoder(_Envelope).decode,
}


_MOST_ODD: Final = 64
_odd: Final = dict.fromkeys(_decoders, 0)
"""Values in a row that were odd, by form."""


def plain_event(value: bytes, form: str) -> RunStepEvent | None:
    """Return the event of a value in a common form, None if something about it is odd.

    Where every value is odd, as when an API has got a new field, few of them are tried.
    """
    odd = _odd[form]
    if odd > _MOST_ODD and odd % _MOST_ODD:
        _odd[form] = odd + 1
        return None
    try:
        found: Any = _decoders[form](value)
    except (msgspec.DecodeError, UnicodeDecodeError):  # the second one from versions before 0.23
        _odd[form] = odd + 1
        return None
    _odd[form] = 0
    return RunStepEvent(found.data, form, found.event) if form == "envelope" else RunStepEvent(found, form)
