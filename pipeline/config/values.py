"""The kinds of values that settings have, and the base of every section."""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

MODEL_CONFIG = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, use_attribute_docstrings=True)
"""Frozen, no unknown keys, and no value in an error message: it could be a secret."""


def split_commas(value: Any) -> Any:
    """Turn `a, b` into `a` and `b`; anything but text is left to the validation."""
    if isinstance(value, str):
        return tuple(part for part in (part.strip() for part in value.split(",")) if part)
    return value


Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Bytes = Annotated[int, Field(ge=1024)]
CommaList = Annotated[tuple[str, ...], BeforeValidator(split_commas)]
NumberList = Annotated[tuple[float, ...], BeforeValidator(split_commas)]


class Section(BaseModel):
    """A group of settings; the docstring under each field is its description in the README."""

    model_config = MODEL_CONFIG
