"""Nothing is written where a repeated insert would be stored twice: the sink finds out as it connects, and says why."""

from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from pipeline.clickhouse import ClickHouseSink
from pipeline.config import ClickHouseSettings
from pipeline.errors import ErrorClass, SinkUnavailable
from tests.servers.addresses import ClickHouseAddress
from tests.servers.clickhouse import ClickHouseServer
from tests.support.faulty_proxy import FaultyProxy, drops_settings
from tests.support.sink_setup import ROWS, build, counts, failing, settings_for

TARGETS = ("run_steps", "run_step_ledger")


@pytest.fixture
def made(clickhouse: ClickHouseAddress, database: str) -> ClickHouseSettings:
    settings = settings_for(clickhouse, database)
    build(settings)
    return settings


def probing(sink: ClickHouseSink) -> SinkUnavailable:
    with pytest.raises(SinkUnavailable) as caught:
        sink.probe()
    return caught.value


@pytest.mark.parametrize("change", ["MODIFY SETTING {window} = 0", "RESET SETTING {window}"])
@pytest.mark.parametrize("table", TARGETS)
def test_a_table_without_a_window_gets_nothing_until_it_has_one(
    made: ClickHouseSettings, clickhouse: ClickHouseAddress, table: str, change: str
) -> None:
    place, window = f"{made.database}.{table}", "non_replicated_deduplication_window"
    clickhouse.query(f"ALTER TABLE {place} {change.format(window=window)}")
    with closing(ClickHouseSink(lambda: made)) as sink:
        for error in (probing(sink), failing(sink)):
            assert error.error_class is ErrorClass.ENVIRONMENT
            assert place in str(error)
            assert f"ALTER TABLE {place} MODIFY SETTING {window} = 1000" in str(error)
        assert counts(clickhouse, made.database) == (0, 0)
        clickhouse.query(str(probing(sink)).partition("; ")[2])
        for _ in range(2):
            sink.insert(ROWS, "token")
    assert counts(clickhouse, made.database) == (10, 10)


def test_a_window_that_is_taken_away_is_noticed_by_the_next_probe(
    made: ClickHouseSettings, clickhouse: ClickHouseAddress
) -> None:
    with closing(ClickHouseSink(lambda: made)) as sink:
        sink.probe()
        clickhouse.query(
            f"ALTER TABLE {made.database}.run_steps MODIFY SETTING non_replicated_deduplication_window = 0"
        )
        assert f"{made.database}.run_steps" in str(probing(sink))


def test_who_does_not_require_it_is_warned_once(made: ClickHouseSettings, clickhouse: ClickHouseAddress) -> None:
    clickhouse.query(f"ALTER TABLE {made.database}.run_steps MODIFY SETTING non_replicated_deduplication_window = 0")
    lenient = made.model_copy(update={"require_deduplication": False})
    with closing(ClickHouseSink(lambda: lenient)) as sink, capture_logs() as logs:
        sink.probe()
        sink.insert(ROWS, "token")
        sink.probe()
    assert counts(clickhouse, made.database) == (10, 10)
    (warning,) = logs
    assert warning["log_level"] == "warning"
    assert f"{made.database}.run_steps" in warning["cause"]


USERS = """
<clickhouse>
  <profiles>
    <overridable><async_insert>1</async_insert><insert_deduplicate>0</insert_deduplicate></overridable>
    <fixed><async_insert>1</async_insert><constraints><async_insert><const/></async_insert></constraints></fixed>
    <agreeing><async_insert>0</async_insert><constraints><async_insert><const/></async_insert></constraints></agreeing>
    <bounded><constraints><max_partitions_per_insert_block><min>1</min></max_partitions_per_insert_block></constraints>
    </bounded>
    <readonly><readonly>1</readonly></readonly>
  </profiles>
  <users>
    {users}
    <bare><password/><networks><ip>::/0</ip></networks><profile>default</profile><quota>default</quota>
      <grants>
        <query>GRANT INSERT ON runsteps.run_step_ingest</query><query>GRANT SELECT ON runsteps.run_step_ledger</query>
      </grants>
    </bare>
  </users>
</clickhouse>
"""
PROFILES = ("overridable", "fixed", "agreeing", "bounded", "readonly")
USER = """<{name}><password/><networks><ip>::/0</ip></networks><profile>{name}</profile><quota>default</quota>
<grants><query>GRANT ALL ON *.*</query></grants></{name}>"""


@pytest.fixture(scope="module")
def server() -> Iterator[ClickHouseServer]:
    """A server with a user for each profile, and one who sees only what it needs."""
    users = USERS.format(users="".join(USER.format(name=name) for name in PROFILES))
    with ClickHouseServer(users=users) as started:
        build(settings_for(started.address))
        yield started


def sink_as(server: ClickHouseServer, user: str) -> ClickHouseSink:
    settings = ClickHouseSettings(url=SecretStr(f"http://{user}@127.0.0.1:{server.http_port}"))
    return ClickHouseSink(lambda: settings)


@pytest.mark.parametrize(
    ("user", "named"),
    [("fixed", "async_insert"), ("bounded", "max_partitions_per_insert_block"), ("readonly", "async")],
)
def test_a_profile_that_forbids_a_setting_of_ours_is_named_before_anything_is_written(
    server: ClickHouseServer, user: str, named: str
) -> None:
    before = counts(server.address)
    with closing(sink_as(server, user)) as sink:
        for error in (probing(sink), failing(sink)):
            assert error.error_class is ErrorClass.ENVIRONMENT
            assert named in str(error)
            assert "profile" in str(error)
    assert counts(server.address) == before


@pytest.mark.parametrize("user", ["overridable", "agreeing"])
def test_a_profile_that_lets_us_have_our_way_is_no_obstacle(server: ClickHouseServer, user: str) -> None:
    before = counts(server.address)
    with closing(sink_as(server, user)) as sink, capture_logs() as logs:
        sink.probe()
        for _ in range(2):
            sink.insert(ROWS, f"token of {user}")
    assert counts(server.address) == (before[0] + 10, before[1] + 10)
    assert logs == []


def test_a_user_who_does_not_see_the_table_goes_on_with_one_warning(server: ClickHouseServer) -> None:
    before = counts(server.address)
    with closing(sink_as(server, "bare")) as sink, capture_logs() as logs:
        sink.probe()
        sink.insert(ROWS, "token of bare")
        sink.probe()
    assert counts(server.address) == (before[0] + 10, before[1] + 10)
    (warning,) = logs
    assert "unknown whether runsteps.run_steps" in warning["cause"]
    assert "GRANT SHOW TABLES, SHOW COLUMNS ON runsteps.*" in warning["cause"]


def test_a_window_by_the_servers_configuration_is_a_window(clickhouse_factory: Callable[..., ClickHouseServer]) -> None:
    window = "non_replicated_deduplication_window"
    server = clickhouse_factory(config=f"<merge_tree><{window}>7</{window}></merge_tree>")
    settings = settings_for(server.address)
    build(settings)
    server.query(f"ALTER TABLE runsteps.run_steps RESET SETTING {window}")
    with closing(ClickHouseSink(lambda: settings)) as sink:
        for _ in range(2):
            sink.insert(ROWS, "token")
    assert counts(server.address) == (10, 10)


def test_a_proxy_that_drops_settings_is_noticed(server: ClickHouseServer) -> None:
    before = counts(server.address)
    with FaultyProxy(server.address) as proxy, proxy.faulty(drops_settings, everything=True):
        behind = ClickHouseSettings(url=SecretStr(proxy.url), compression="none")
        with closing(ClickHouseSink(lambda: behind)) as sink:
            error = failing(sink)
    assert error.error_class is ErrorClass.ENVIRONMENT
    assert "insert_deduplication_token" in str(error)
    assert "proxy" in str(error)
    assert counts(server.address) == before
