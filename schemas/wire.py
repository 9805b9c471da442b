"""The wire models: a run step as producers send it, in the forms A to G of `schemas/README.md`.

Owns which keys are read and what makes an object a run step: `id` and `run_id` are non-empty strings, and `object` does
not name another type. Every other value is `Any`: `pipeline.normalize` repairs or flags it, and rejects none of them.
TypedDicts, since a validator that fills a plain dict is twice as fast as one that builds a model.
Both key cases become the same snake_case keys, and those the fields of a `Step`: only the decoder knows the difference.
"""

from typing import Annotated, Any, Final, Literal, Required, TypeAlias

from msgspec import Meta, Struct
from pydantic import AliasChoices, ConfigDict, Field, StringConstraints, with_config
from typing_extensions import TypedDict

MAX_ID: Final = 512
"""Longest id in characters; the longest seen on a wire has 45."""

Identifier: TypeAlias = Annotated[
    str, StringConstraints(strict=True, min_length=1, max_length=MAX_ID), Meta(min_length=1, max_length=MAX_ID)
]
OptionalIdentifier: TypeAlias = (
    Annotated[str, StringConstraints(strict=True, max_length=MAX_ID), Meta(max_length=MAX_ID)] | None
)
"""Each with its bounds twice: for pydantic, and for msgspec."""

ObjectName: TypeAlias = Literal["thread.run.step", ""] | None
"""Servers are known that send an empty object name (hal-9100), or none."""


@with_config(ConfigDict(extra="allow"))
class RunStep(TypedDict, total=False):
    """A run step with snake_case keys: REST, SDK dumps, and the `data` of stream events (A, B, C, F, G)."""

    id: Required[Identifier]
    run_id: Required[Identifier]
    object: ObjectName
    thread_id: OptionalIdentifier
    assistant_id: OptionalIdentifier
    type: str | None
    status: str | None
    created_at: Required[Any]
    completed_at: Any
    failed_at: Any
    cancelled_at: Any
    expired_at: Any
    expires_at: Any
    last_error: Any
    step_details: Any
    usage: Any
    metadata: Any


def _either(camel: str, snake: str) -> Any:
    return Field(validation_alias=AliasChoices(camel, snake))


@with_config(ConfigDict(extra="allow"))
class CamelRunStep(TypedDict, total=False):
    """A run step with camelCase keys, as the Azure JavaScript SDKs write it (D, E).

    Some servers mix both key cases in one object: each field has both names.
    """

    id: Required[Identifier]
    run_id: Required[Annotated[Identifier, _either("runId", "run_id")]]
    object: ObjectName
    thread_id: Annotated[OptionalIdentifier, _either("threadId", "thread_id")]
    assistant_id: Annotated[OptionalIdentifier, _either("assistantId", "assistant_id")]
    type: str | None
    status: str | None
    created_at: Required[Annotated[Any, _either("createdAt", "created_at")]]
    completed_at: Annotated[Any, _either("completedAt", "completed_at")]
    failed_at: Annotated[Any, _either("failedAt", "failed_at")]
    cancelled_at: Annotated[Any, _either("cancelledAt", "cancelled_at")]
    expired_at: Annotated[Any, _either("expiredAt", "expired_at")]
    expires_at: Annotated[Any, _either("expiresAt", "expires_at")]
    last_error: Annotated[Any, _either("lastError", "last_error")]
    step_details: Annotated[Any, _either("stepDetails", "step_details")]
    usage: Any
    metadata: Any


class Envelope(TypedDict):
    """A stream event as one JSON object: the event's name beside its data (G)."""

    event: str
    data: RunStep


class Step(Struct, gc=False):
    """The fields of a run step, whichever form it came in; None stands for null and for a field that was not sent."""

    id: Identifier
    run_id: Identifier
    created_at: Any
    object: ObjectName = None
    thread_id: OptionalIdentifier = None
    assistant_id: OptionalIdentifier = None
    type: str | None = None
    status: str | None = None
    completed_at: Any = None
    failed_at: Any = None
    cancelled_at: Any = None
    expired_at: Any = None
    expires_at: Any = None
    last_error: Any = None
    step_details: Any = None
    usage: Any = None
    metadata: Any = None


KNOWN_FIELDS: Final = frozenset(Step.__struct_fields__)
"""Top-level keys after decoding; whatever else is there goes to `extra_fields`."""
