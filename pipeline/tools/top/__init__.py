"""What `runstep top` knows and shows: running daemons, asked over their endpoints again and again.

`addresses` finds whom to ask, `sampling` asks, `counters` makes rates of what only grows, `board` makes `figures` of it
all, `partitions` among them; `drawing` turns figures into tables, `charts` into pictures, and `screen` puts them on a
terminal. Everything but addresses, sampling and screen is pure: it is given the time and does no IO.
"""
