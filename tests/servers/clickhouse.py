"""A real ClickHouse 26.7 with HTTP and native ports, users and grants, started in half a second."""

import sys
from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree as ET

from tests.servers.addresses import ClickHouseAddress
from tests.servers.downloads import libchdb
from tests.servers.process import free_port
from tests.servers.server import Home, Server

PROCESS = Path(__file__).with_name("clickhouse_process.py")
NO_USERS = "<clickhouse/>"
OPEN_TO_ALL = """
<default>
  <password/><networks><ip>::/0</ip></networks><profile>default</profile><quota>default</quota>
  <access_management>1</access_management>
</default>
"""


class ClickHouseServer(Server):
    """One server: `url`, `http_port`, `tcp_port`; user `default` has no password.

    It is the server's local mode with listeners: tables, users, grants and native protocol are the real ones; it has no
    HTTPS, Keeper, ON CLUSTER, users made by SQL, nor a reload of users (a restart reads them again).

    Args:
        users: a users.xml, as path or text. The user, profile and quota `default` are added when it has none.
        config: XML elements for the server's configuration, such as `<remote_servers>…`.
        environment: variables for `from_env` in either of them.
        home: where it lives; a temporary folder by default.
    """

    name = "clickhouse"

    def __init__(
        self,
        *,
        users: Path | str | None = None,
        config: str = "",
        environment: Mapping[str, str] | None = None,
        home: Home | None = None,
    ) -> None:
        super().__init__(home)
        self.users = users
        self.config = config
        self.environment = dict(environment or {})
        self.http_port = free_port()
        self.tcp_port = free_port()
        self.url = f"http://127.0.0.1:{self.http_port}"

    @property
    def address(self) -> ClickHouseAddress:
        """Where clients find it."""
        return ClickHouseAddress(self.url, self.tcp_port)

    def query(self, sql: str, *, user: str = "", password: str = "", **settings: str) -> str:
        """Run one statement; see `ClickHouseAddress.query`."""
        return self.address.query(sql, user=user, password=password, **settings)

    def _command(self) -> list[str]:
        data, users, config = (self.folder / name for name in ("data", "users.xml", "config.xml"))
        users.write_text(complete_users(self.users))
        config.write_text(
            "<clickhouse><listen_host>127.0.0.1</listen_host>"
            f"<users_config>{users}</users_config>{self.config}</clickhouse>"
        )
        options = [f"--path={data}", f"--config-file={config}", "--listen_host=127.0.0.1"]
        ports = [f"--http_port={self.http_port}", f"--tcp_port={self.tcp_port}"]
        variables = [f"{key}={value}" for key, value in self.environment.items()]
        program = [sys.executable, "-I", "-S", str(PROCESS), str(libchdb())]
        return ["env", *variables, *program, *options, *ports]

    def _ready(self) -> bool:
        try:
            return self.query("SELECT 1") == "1\n"
        except OSError:
            return False


def complete_users(given: Path | str | None) -> str:
    """Return a users.xml that has the user, profile and quota `default` beside what was given."""
    text = given.read_text() if isinstance(given, Path) else given or NO_USERS
    root = ET.fromstring(text)  # noqa: S314 - a file of this project
    for section, default in (("profiles", "<default/>"), ("quotas", "<default/>"), ("users", OPEN_TO_ALL)):
        element = root.find(section)
        if element is None:
            element = ET.SubElement(root, section)
        if element.find("default") is None:
            element.append(ET.fromstring(default))  # noqa: S314 - the text above
    return ET.tostring(root, encoding="unicode")
