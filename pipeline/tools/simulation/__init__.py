"""Realistic run-step traffic, made from a seed: what `simulate` and `demo` produce and what tests are judged by.

Pure: no IO, no clock, nothing of the daemon. Each event carries the truth that was meant when it was made, so that a
test can say what a correct pipeline must answer without reading the bytes.

    traffic   what the traffic is like, and the order in which events are delivered
    runs      one agent run: its steps, how long they take and how they end
    wire      the bytes, in the dialects seen on real wires
    tools     tool calls, one maker a tool type
    failures  families of error messages
    noise     records that are no run step: poison, tombstones, foreign objects
    truth     the value objects
"""

from pipeline.tools.simulation.traffic import Traffic, beginning, events
from pipeline.tools.simulation.truth import SimulatedEvent, Step

__all__ = ["SimulatedEvent", "Step", "Traffic", "beginning", "events"]
