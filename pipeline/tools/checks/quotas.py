"""Quotas: how fast the brokers let this client read.

Reads only.
"""

from collections.abc import Iterator
from typing import Any

from kafka.errors import KafkaError

from pipeline.config import KafkaSettings
from pipeline.kafka.connection_internals import client_quotas
from pipeline.tools.checks.finding import Finding, fine
from pipeline.tools.checks.kafka_access import cause_of


def quota_findings(admin: Any, kafka: KafkaSettings) -> Iterator[Finding]:
    """Yield the limits for `kafka.client_id`; those of a user alone, and of brokers by default, are not looked up.

    To be limited is no fault. Whether it slows the daemon down the daemon says itself.
    """
    subject = f"quota of {kafka.client_id}"
    try:
        limits = [f"{key} {value:,.0f}" for key, value in client_quotas(admin, kafka.client_id)]
    except KafkaError as error:
        yield fine(subject, f"unknown: {cause_of(error)}; DESCRIBE_CONFIGS on the cluster shows it")
        return
    yield fine(subject, f"set to {', '.join(limits)}" if limits else "none is set for this client id")
