"""What `runstep top` knows and shows: running daemons, polled over their endpoints.

`addresses` finds the daemons, `sampling` asks them, `counters` turns counters into rates. `board` makes `figures` of
the answers, with a `watched_daemon` for each address and the `partition_owners`. `drawing` turns figures into tables,
`charts` into pictures, and `screen` with its `layout` puts them on a terminal. Everything but addresses, sampling and
screen is pure: it is given the time and does no IO.
"""
