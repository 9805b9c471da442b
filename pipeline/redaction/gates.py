r"""A gate: a search that only says whether there may be a secret, 2 to 50 times as fast as `re`.

Owns how a gate is made. It is the search of pydantic's core, which runs in one pass whatever the pattern, at about 2 ns
a character. Its syntax is that of Rust's regex: no lookaround, and `\w`, `\d` and `\b` are Unicode.
"""

from collections.abc import Callable

from pydantic_core import SchemaValidator, core_schema


def gate(pattern: str) -> Callable[[str], bool]:
    """Return the search for a pattern in a text without lone surrogates."""
    return SchemaValidator(core_schema.str_schema(pattern=pattern)).isinstance_python
