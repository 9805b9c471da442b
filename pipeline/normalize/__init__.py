"""From a validated event to a row: pure functions that do no IO, read no clock and write no log."""
