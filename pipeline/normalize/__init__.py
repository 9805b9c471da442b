"""From records to rows, by one door, `normalize.py`: pure functions that do no IO, read no clock and write no log."""
