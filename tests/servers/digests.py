"""What a download must be, by the SHA-256 of each file: `digests.txt` has the recorded ones.

After a version in `downloads` was changed, `python -m tests.servers.digests` fetches everything again and records it.
"""

import hashlib
import tempfile
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Final

from tests.servers.cache import ServerUnavailable, cache_dir, progress

RECORDED: Final = Path(__file__).parent / "digests.txt"


def verify(files: Iterable[Path], source: str) -> None:
    """Check that files are what was recorded under their names.

    Raises:
        ServerUnavailable: one is another, or was never recorded.
    """
    for file in files:
        digest, expected = sha256(file), _recorded().get(file.name)
        if expected is None:
            raise ServerUnavailable(
                f"{file.name} of {source} has no recorded hash; if its version was changed on purpose, record it with: "
                "python -m tests.servers.digests"
            )
        if digest != expected:
            raise ServerUnavailable(
                f"{file.name} of {source} is not the recorded file: its SHA-256 is {digest}, not {expected}. Delete it "
                "from ~/.m2/repository, if it is there, and run again; if it differs again, find out who has changed it"
            )


def sha256(file: Path) -> str:
    """Return the hash of a file, in hexadecimal."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


@cache
def _recorded() -> dict[str, str]:
    lines = RECORDED.read_text(encoding="utf-8").splitlines()
    return {name: digest for digest, name in (line.split("  ") for line in lines)}


def main() -> None:
    """Fetch everything again and record what came."""
    from tests.servers.downloads import fetched_jars, fetched_libchdb  # noqa: PLC0415 - it verifies with this module

    with tempfile.TemporaryDirectory(dir=cache_dir()) as folder:
        files = [*fetched_jars(Path(folder) / "kafka"), fetched_libchdb(Path(folder) / "clickhouse")]
        lines = [f"{sha256(file)}  {file.name}\n" for file in files]
    RECORDED.write_text("".join(sorted(lines, key=lambda line: line.split("  ")[1])), encoding="utf-8")
    progress(f"{len(lines)} hashes are in {RECORDED}")


if __name__ == "__main__":
    main()
