"""Brokers that the configured servers name, and that are not reached at the address by which they are named.

The servers in the settings only tell where the brokers are. All records come from those other addresses, which each
broker makes known about itself (`advertised.listeners`). Used by the thread that has the client.
"""

import time
from collections.abc import Collection
from typing import Any, Final

from kafka.errors import KafkaError

from pipeline.kafka.causes import explained
from pipeline.kafka.connection_internals import reach, unconnected

MAX_TRIED: Final = 3
"""Brokers that are tried; one setting is wrong on all of them as a rule."""
FIX: Final = "correct advertised.listeners of the brokers, or let this host reach what it names"


def unreachable(client: Any, known: Collection[str], seconds: float) -> str:
    """Try the brokers without a connection; return who is not reached, by which address and why; empty if all are.

    Args:
        client: a consumer or an admin client, which knows the brokers.
        known: addresses that are right: those of the settings, and those that were reached before. A broker that goes
            by one of them is just away.
        seconds: for all of them together.
    """
    deadline = time.monotonic() + seconds
    causes = []
    for broker in [broker for broker in unconnected(client) if broker.address not in known][:MAX_TRIED]:
        try:
            reach(client, broker, max(int((deadline - time.monotonic()) * 1000), 1))
        except KafkaError as error:
            why = explained(str(error) or type(error).__name__)
            causes.append(f"broker {broker.name} calls itself {broker.address}, and from here {why}")
    return "; ".join(dict.fromkeys(causes))
