"""Which errors are the same fault: a hash of the message with everything masked that differs from case to case.

Owns what is masked (ids, hosts, numbers, delays, names in quotes, the advice at the end) and what is kept because it
distinguishes faults: HTTP statuses, second-level codes, API versions that look like dates, names of models.
"""

import re
from hashlib import blake2b
from typing import Final

_HYPHENS_OF_GUID: Final = 4
_MAX_CHARS: Final = 4096
"""Characters that are looked at; what comes later in a message does not distinguish faults."""

_redacted: Final = re.compile(r"\[redacted:[a-z_]+\]").sub
_web: Final = re.compile(r"""https?://[^\s"'<>]*[^\s"'<>.,;:!?)\]]""").sub
_url: Final = re.compile(r"""[a-z][a-z0-9+.-]{1,20}://[^\s"'<>]*[^\s"'<>.,;:!?)\]]""", re.IGNORECASE).sub
_resource: Final = re.compile(r"""/subscriptions/[^\s'"`]+""", re.IGNORECASE).sub
_guid: Final = re.compile(
    r"\b(?:[A-Za-z]{2,16}[_-])?[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}\b"
).sub
_organization: Final = re.compile(
    r"\b(in organization )(?:<id>|[`'\"]?(?=[^\s`'\"]*[A-Z0-9*_-])[^\s`'\",]+[`'\"]?)|[`'\"]?\borg[-_][\w*…-]+[`'\"]?"
).sub
_id: Final = re.compile(
    r"\b(?:req|request|sess|session|run|step|thread|asst|assistant|agent|msg|message|call|toolu|file|vs|vsf|proj|user|"
    r"item|resp|conv|chatcmpl(?:-tool)?|ft|ftjob|batch|evt|event|chunk|upload|cntr|trace|span|conn|org)"
    r"[-_](?=[A-Za-z]{0,40}[0-9A-Z])[A-Za-z0-9]+(?:\.{3}|…)?"
    r"|\b0x[0-9a-fA-F]+\b"
    r"|\b(?=[a-f]*[0-9])(?=[0-9]*[a-f])[0-9a-f]{8,}\b"
    r"|\b(?=[A-Za-z]*[0-9])(?=[0-9]*[A-Za-z])[A-Za-z0-9]{20,}\b"
).sub
_host: Final = re.compile(
    # One start in a row of labels, and each label is taken whole: else every hyphen and every dot would begin anew.
    r"(?<![\w-])(?<![\w-]\.)(?:[\w-]++\.)*[a-z0-9-]++\."
    r"(?:(?:com|net|org|io|ai|dev|app|cloud|local|internal|svc|lan|cn|eu|us|uk|de)\b(?::\d+)?"
    r"|[a-z][a-z0-9-]*+:\d{2,5}\b)|\blocalhost(?::\d+)?\b"
    r"|\b\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}\b(?::\d+)?",
    re.IGNORECASE,
).sub
_quoted: Final = re.compile(r"(?<![\w])(['\"`])([\w.:@-]{1,128})\1(?!\w)").sub
_number: Final = re.compile(r"(?<![\w-])(?<![\w]\.)\d(?:[\w.,:-]*\w)?%?", re.ASCII).sub
_seconds: Final = re.compile(r"<n> (second|minute|hour|day|token|request)s\b").sub

_is_parameter: Final = re.compile(r"[a-z_]+(?:\[\w*\]|\.[a-z_]+)*").fullmatch
_is_model: Final = re.compile(
    r"(?:ft:)?(?:gpt|chatgpt|o[134]|text|davinci|claude|llama|gemini|gemma|mistral|mixtral|codestral|qwen|deepseek|phi|"
    r"command|grok|whisper|tts|dall-e|model-router)(?:[-.][\w.:-]*)?",
    re.IGNORECASE,
).fullmatch
_is_class: Final = re.compile(r"[A-Za-z_.]+(?:Error|Exception|Timeout)").fullmatch
_is_quantity: Final = re.compile(
    # Possessive throughout: with plain repeats, a hundred digits before a letter would take exponential time to fail.
    r"(?:\d[\d,]*+(?:\.\d++)*+(?:ms|us|ns|[smhdkKMx%]|[KMG]i?B|st|nd|rd|th)?+)++|[\d.,:TZ-]+"
).fullmatch
_is_status: Final = re.compile(r"[1-5]\d\d").fullmatch
_before_status_backwards: Final = re.compile(
    # From the number to the left, so that a look ends where the words do: a search would start at each character.
    r"[ :=]{1,3}(?:ptth|sutats|edoc|rorre)| :|\(|\Z|[^.\d]{1,40}edoc sutats",
    re.IGNORECASE,
).match
_after_status: Final = re.compile(r"\s?\(|\)|\s?:|[.,;]?$|[.,;]? [A-Z]|\s[a-z]*\s?error").match
_before_version: Final = re.compile(r"version[ :=]{1,3}\Z", re.IGNORECASE).search
_is_date: Final = re.compile(r"\d{4}-\d\d-\d\d").fullmatch

_sentences: Final = re.compile(r"(?<=[.!?)])\s+(?=[(A-Z])").split
_is_advice: Final = re.compile(
    r"\(?(?:sorry about that|you can retry|please (?:try|retry|contact|include|go here|visit|see)|\(?include session|"
    r"try again in|visit |we recommend|for more information|to learn more|for instructions|for free account|"
    r"need more tokens|upgrade )",
    re.IGNORECASE,
).match


def fingerprint(text: str) -> str:
    """Return 16 hexadecimal digits that are the same for every message of one fault; '' for no text.

    Args:
        text: a message from which secrets have been redacted already.
    """
    if not text:
        return ""
    return blake2b(masked(text).encode("utf-8", "replace"), digest_size=8).hexdigest()


def masked(text: str) -> str:
    """Return the message as it is hashed: in lower case, what varies replaced by `<id>`, `<n>`, `<url>` and so on."""
    text = (
        text[:_MAX_CHARS].replace("\N{RIGHT SINGLE QUOTATION MARK}", "'").replace("\N{LEFT SINGLE QUOTATION MARK}", "'")
    )
    if "[redacted:" in text:
        text = _redacted("<secret>", text)
    if "://" in text:
        text = _web("<url>", text)  # a literal beginning makes it ten times as fast
        if "://" in text:
            text = _url("<url>", text)
    if "/subscriptions/" in text:
        text = _resource("<resource>", text)
    if text.count("-") >= _HYPHENS_OF_GUID:
        text = _guid("<id>", text)
    if "org" in text:
        text = _organization(_masked_organization, text)
    text = _host("<host>", _id("<id>", text))
    text = _number(_masked_number, _quoted(_masked_quote, text))
    text = _without_advice(text)
    return _seconds(r"<n> \1", " ".join(text.split()).lower()).replace("error while processing", "error processing")


def _masked_organization(found: re.Match[str]) -> str:
    return f"{found[1] or ''}<id>"


def _masked_quote(found: re.Match[str]) -> str:
    """Mask a name in quotes, but for those that distinguish faults: parameters, models, classes of exceptions."""
    name = found[2]
    if _is_parameter(name) or _is_model(name) or _is_class(name):
        return found[0]
    return f"{found[1]}<id>{found[1]}"


def _masked_number(found: re.Match[str]) -> str:
    token, text = found[0], found.string
    before = text[max(0, found.start() - 64) : found.start()]
    if _is_status(token) and _before_status_backwards(before[::-1]) and _after_status(text, found.end()):
        return token
    if _is_date(token) and _before_version(before):
        return token
    return "<n>" if _is_quantity(token) else token


def _without_advice(text: str) -> str:
    """Drop the sentences that say what to do: their wording changes while the fault stays the same."""
    said = [sentence for sentence in _sentences(text.strip()) if not _is_advice(sentence)]
    return " ".join(said) if said else text
