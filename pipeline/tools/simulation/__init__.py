"""Realistic run-step traffic, made from a seed: what `simulate` and `demo` produce, and what tests compare with.

Pure, except for the producer: no IO, no clock, nothing of the daemon. Each event carries the steps it was made from, so
that a test knows what a correct pipeline must store without reading the bytes.

    traffic        what the traffic is like, and the order in which events are delivered
    runs           one agent run: its steps, their durations and how they end
    wire_forms     the bytes, in the dialects seen on real wires
    tool_calls     tool calls, one maker for each tool type
    failures       families of error messages
    noise          records that are no run step: poison, tombstones, foreign objects
    truth          the value objects
    seeded_random  the source of everything that varies
    producer       sends events to Kafka
"""

from pipeline.tools.simulation.traffic import Traffic, beginning, events
from pipeline.tools.simulation.truth import SimulatedEvent, Step

__all__ = ["SimulatedEvent", "Step", "Traffic", "beginning", "events"]
