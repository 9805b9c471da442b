"""Credentials and e-mail addresses, taken out of text before it is stored, logged or put into a header.

`redacting.py` is the door. Each other file owns a kind of secret: what is known by its form (`known_forms.toml`), by
the name before it, by its place in a request or an address. All of them keep JSON valid: what is replaced never holds
a quote or half an escape that belongs to the document.
"""

from pipeline.redaction.redacting import redact, redact_entry

__all__ = ["redact", "redact_entry"]
