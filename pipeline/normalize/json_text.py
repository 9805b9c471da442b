"""Any JSON value as compact JSON text.

Owns the one way in which values become text for the tables, so that `extra_fields`, metadata and details read alike.
"""

import json
from typing import Final

from pydantic_core import to_json

_UNPRINTABLE: Final = '"[unprintable]"'


def json_text(value: object) -> str:
    """Return `value` as compact, valid JSON; what JSON has no word for (NaN, Infinity) becomes a string.

    Never raises: lone surrogates are kept as escapes, and what nests too deep for either encoder is `"[unprintable]"`.
    """
    try:
        return to_json(value, inf_nan_mode="strings").decode()
    except (ValueError, RecursionError):
        return _slow_json_text(value)


def _slow_json_text(value: object) -> str:
    try:
        # A second pass, because json.dumps writes NaN bare.
        strict = json.loads(json.dumps(value, default=str), parse_constant=str)
        return json.dumps(strict, separators=(",", ":"))
    except (ValueError, RecursionError):
        return _UNPRINTABLE
