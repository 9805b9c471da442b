"""Quotas of a broker: how fast the clients of a name may read."""

from typing import Any

from kafka.protocol.admin import AlterClientQuotasRequest


def set_quota(admin: Any, client_id: str, **limits: float | None) -> None:
    """Set or, with None, lift limits such as `consumer_byte_rate`; the admin client has no public way."""
    entry = AlterClientQuotasRequest.EntryData
    changes = [entry.OpData(key=key, value=limit or 0.0, remove=limit is None) for key, limit in limits.items()]
    entity = [entry.EntityData(entity_type="client-id", entity_name=client_id)]
    request = AlterClientQuotasRequest(entries=[entry(entity=entity, ops=changes)], validate_only=False)
    answer = admin._manager.run(admin._manager.send, request)
    assert [found.error_code for found in answer.entries] == [0], answer
