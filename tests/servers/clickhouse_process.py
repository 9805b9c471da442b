"""The ClickHouse server's process: loads the library and runs its local mode with listeners, until it is killed.

A script for `python -I -S`: the library's path, then the arguments of `clickhouse local`.
"""

import ctypes
import sys

# The query starts the listeners and then never ends; its own limits would end it.
SERVE = (
    "SYSTEM START LISTEN HTTP; SYSTEM START LISTEN TCP; "
    "SELECT sleepEachRow(3) FROM numbers(1000000) FORMAT Null SETTINGS max_block_size=1, "
    "function_sleep_max_microseconds_per_block=100000000, max_execution_time=0"
)


def main() -> int:
    """Serve until killed."""
    library = ctypes.CDLL(sys.argv[1])
    words = [b"clickhouse", *(word.encode() for word in sys.argv[2:]), f"--query={SERVE}".encode()]
    library.chdb_query_cmdline.restype = ctypes.c_void_p
    library.chdb_query_cmdline(len(words), (ctypes.c_char_p * len(words))(*words))
    return 1


if __name__ == "__main__":
    raise SystemExit(main())
