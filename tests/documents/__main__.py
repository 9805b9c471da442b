"""`make docs`: write every generated block into its page."""

import sys

from tests.documents.blocks import BLOCKS, spliced
from tests.support.paths import ROOT


def main() -> None:
    """Write the blocks, and print the pages that changed."""
    for page, blocks in BLOCKS.items():
        path = ROOT / page
        before = text = path.read_text(encoding="utf-8")
        for name, make in blocks.items():
            text = spliced(text, name, make())
        if text != before:
            path.write_text(text, encoding="utf-8")
            sys.stdout.write(f"{page} written\n")


if __name__ == "__main__":
    main()
