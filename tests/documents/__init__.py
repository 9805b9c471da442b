"""The generated blocks of the documents, and how documents are read by their tests.

`blocks` lists every block and its page, `tables` and `scenarios` make the text from the code, `example` the row of the
README, `pages` reads Markdown. `make docs` (`python -m tests.documents`) writes all blocks; `tests/unit/docs` fails
where one is missing or stale.
"""
