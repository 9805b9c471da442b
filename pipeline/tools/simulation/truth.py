"""A simulated event, and the steps that it was made from."""

from collections.abc import Mapping
from typing import NamedTuple


class Step(NamedTuple):
    """The state of a step in one event; times are milliseconds since the epoch.

    `error_family` names the template of the message: messages of one family differ only in what a fingerprint masks.
    """

    thread_id: str
    run_id: str
    step_id: str
    assistant_id: str
    type: str
    status: str
    dialect: str
    created_at: int
    ended_at: int | None = None
    expires_at: int | None = None
    error_family: str = ""
    error_code: str = ""
    error_message: str = ""
    error_category: str = ""
    error_retryable: bool | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    tool_types: tuple[str, ...] = ()
    tool_names: tuple[str, ...] = ()
    tool_call_ids: tuple[str, ...] = ()
    message_id: str = ""
    metadata: Mapping[str, str] = {}
    anomalies: tuple[str, ...] = ()


class SimulatedEvent(NamedTuple):
    """One Kafka record to produce, and the outcome it must have.

    `at` is the second (since the epoch, on the simulated time line) at which it is delivered. `kind` is the lifecycle
    word (`created`, `in_progress`, `delta`, `completed`, ...), `page`, `poison` or `foreign`; `outcome` and `reason`
    are the ledger's words. `steps` is empty unless the record is stored.
    """

    key: bytes | None
    value: bytes | None
    at: float
    kind: str
    outcome: str
    reason: str = ""
    steps: tuple[Step, ...] = ()
    repeated: bool = False
