"""The consumer group: its members, who has which partition, what is committed, what Kafka still holds.

Reads only; joins and commits nothing.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any, Final, NamedTuple

from kafka import KafkaAdminClient
from kafka.admin import OffsetSpec
from kafka.errors import KafkaError
from kafka.structs import TopicPartition

from pipeline.config import KafkaSettings, Settings
from pipeline.errors import SourceUnavailable
from pipeline.kafka.client import client_options, connect
from pipeline.tools.checks.finding import Finding, bad, fine, guarded, warning
from pipeline.tools.checks.kafka_access import cause_of, described_group, other_kind
from pipeline.tools.checks.quotas import quota_findings
from pipeline.tools.checks.topic_settings import topic_findings
from pipeline.tools.checks.transactions import transaction_findings

_MAX_LISTED: Final = 12
_STABLE: Final = "Stable"
_OTHERS: Final = "choose another kafka.group_id for one of the two"


class _Place(NamedTuple):
    """A partition: the offsets that Kafka holds, the end not included, and the group's next one (-1: none)."""

    partition: TopicPartition
    start: int
    end: int
    committed: int


def group_findings(settings: Settings) -> Iterator[Finding]:
    """Yield what may keep the group from making progress, partition by partition, and the topics' own limits.

    For use after `kafka_findings` found that Kafka answers; its findings are not repeated.
    """
    kafka = settings.kafka
    try:
        admin = connect(KafkaAdminClient, **client_options(kafka))
    except SourceUnavailable:
        return
    with closing(admin):
        yield from _allowed("group", _group(admin, kafka), f"grant READ and DESCRIBE on group {kafka.group_id}")
        yield from _allowed("transactions", transaction_findings(admin, kafka), "grant DESCRIBE and READ on the topics")
        yield from quota_findings(admin, kafka)
        yield from _allowed("topic settings", topic_findings(admin, settings), "grant DESCRIBE_CONFIGS on the topics")


def _allowed(subject: str, findings: Iterator[Finding], fix: str) -> Iterator[Finding]:
    try:
        yield from guarded(subject, findings, (KafkaError,))
    except KafkaError as error:
        yield warning(subject, f"unknown: {cause_of(error)}", fix)


def _group(admin: Any, kafka: KafkaSettings) -> Iterator[Finding]:
    described = described_group(admin, kafka.group_id)
    numbers = {
        topic["name"]: [part["partition_index"] for part in topic["partitions"]]
        for topic in admin.describe_topics(list(kafka.topics))
        if not topic["error_code"]
    }
    partitions = [TopicPartition(topic, number) for topic, parts in numbers.items() for number in parts]
    committed = admin.list_group_offsets([kafka.group_id])[kafka.group_id]
    places = _places(admin, partitions, committed)
    members, subject = described["members"], f"group {kafka.group_id}"
    yield from guarded(subject, _strangers(kafka, members, committed))
    # Of a group of another kind `kafka_findings` has already reported that its members are not shown.
    if members or not other_kind(admin, kafka):
        yield from guarded(subject, _owners(kafka, described["group_state"], members, places))
    for place in places:
        yield from guarded(f"partition {place.partition.topic}/{place.partition.partition}", _lost(place, kafka))
    yield from guarded("lag", _lags(places))


def _places(admin: Any, partitions: Sequence[TopicPartition], committed: Mapping[TopicPartition, Any]) -> list[_Place]:
    if not partitions:
        return []
    starts = admin.list_partition_offsets(dict.fromkeys(partitions, OffsetSpec.EARLIEST))
    ends = admin.list_partition_offsets(dict.fromkeys(partitions, OffsetSpec.LATEST), isolation_level="read_committed")
    return [
        _Place(part, starts[part].offset, ends[part].offset, committed[part].offset if part in committed else -1)
        for part in partitions
    ]


def _strangers(
    kafka: KafkaSettings, members: Sequence[Any], committed: Mapping[TopicPartition, Any]
) -> Iterator[Finding]:
    """Yield members of other programs: Kafka would assign them partitions that they cannot use."""
    subject, own, named = f"group {kafka.group_id}", set(kafka.topics), set()
    for member in members:
        foreign = sorted(set((member["member_metadata"] or {}).get("topics", ())) - own)
        if foreign:
            named.update(foreign)
            yield bad(subject, f"{_name(member)} reads {', '.join(foreign)} in it: another program", _OTHERS)
        elif member["client_id"] != kafka.client_id:
            detail = f"member {_name(member)} has another name than kafka.client_id = {kafka.client_id}"
            yield warning(
                subject, detail, f"nothing, if kafka.client_id is just not the same everywhere; else {_OTHERS}"
            )
    past = sorted({part.topic for part, found in committed.items() if found.offset >= 0} - own - named)
    if past:
        detail = f"has committed offsets of {', '.join(past)}, which these settings do not read"
        yield warning(subject, detail, f"nothing, if they once did; else {_OTHERS}")


def _owners(kafka: KafkaSettings, state: str, members: Sequence[Any], places: Sequence[_Place]) -> Iterator[Finding]:
    subject = f"group {kafka.group_id}"
    owned: dict[TopicPartition, str] = {}
    for member in members[:_MAX_LISTED]:
        held = (member["member_assignment"] or {}).get("assigned_partitions", ())
        owned |= {TopicPartition(each["topic"], number): "" for each in held for number in each["partitions"]}
        texts = [f"{each['topic']} {', '.join(map(str, sorted(each['partitions'])))}" for each in held]
        yield fine(subject, f"{_name(member)} has {'; '.join(texts) or 'no partition'}")
    if len(members) > _MAX_LISTED:
        yield fine(subject, f"and {len(members) - _MAX_LISTED} more members")
    elif not members:
        yield from _no_members(subject, places)
    elif state != _STABLE:
        fix = "wait a minute; if it lasts, members come and go: look at their logs, and at kafka.session_timeout"
        yield warning(subject, f"is rebalancing ({state})", fix)
    elif ownerless := [place.partition for place in places if place.partition not in owned]:
        yield bad(subject, f"no member reads {_listed(ownerless)}", "restart one member, so that the group rebalances")


def _no_members(subject: str, places: Sequence[_Place]) -> Iterator[Finding]:
    waiting = sum(_lag(place) for place in places)
    if waiting:
        fix = "start `runstep run`; where it runs already, correct kafka.group_id"
        yield bad(subject, f"has no members, and {_records(waiting)} waiting", fix)
    else:
        yield warning(subject, "has no members", "start `runstep run`")


def _lost(place: _Place, kafka: KafkaSettings) -> Iterator[Finding]:
    topic, number = place.partition
    subject = f"partition {topic}/{number}"
    policy = f"kafka.on_lost_offsets = {kafka.on_lost_offsets!r} says what the daemon does"
    if 0 <= place.committed < place.start:
        lost = place.start - place.committed
        detail = f"Kafka has dropped {lost:,} offsets that were not read, {place.committed} to {place.start - 1}"
        yield bad(subject, detail, f"they are gone; {policy}; raise retention.ms of {topic}")
    elif place.committed > place.end:
        detail = f"committed is {place.committed}, but the topic ends at {place.end}: truncated, or recreated"
        yield bad(subject, detail, f"{policy}; the ledger shows what was stored of the old offsets")


def _lags(places: Sequence[_Place]) -> Iterator[Finding]:
    by_topic: defaultdict[str, list[_Place]] = defaultdict(list)
    for place in places:
        by_topic[place.partition.topic].append(place)
    for topic, own in by_topic.items():
        total, worst = sum(map(_lag, own)), max(own, key=_lag)
        text = f"{_records(total)} not committed yet"
        if total:
            where = f"next {worst.committed}" if worst.committed >= 0 else "nothing committed"
            text += f"; most in partition {worst.partition.partition}: {_lag(worst):,} ({where}, end {worst.end})"
        yield fine(f"lag {topic}", text)


def _lag(place: _Place) -> int:
    return max(place.end - max(place.committed, place.start), 0)


def _records(number: int) -> str:
    return f"{number:,} record{' is' if number == 1 else 's are'}"


def _name(member: Mapping[str, Any]) -> str:
    return f"{member['client_id']} on {str(member['client_host']).lstrip('/')}"


def _listed(partitions: Sequence[TopicPartition]) -> str:
    shown = ", ".join(f"{topic}/{number}" for topic, number in partitions[:_MAX_LISTED])
    more = len(partitions) - _MAX_LISTED
    return f"{shown} and {more} more" if more > 0 else shown
