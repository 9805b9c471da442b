"""The HTTP endpoints on real sockets: what they answer, and where they listen."""

import gzip
import json
import socket
import time

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from structlog.testing import capture_logs

from pipeline.config import HttpSettings
from pipeline.endpoints import Endpoints
from pipeline.errors import ConfigError
from tests.support.endpoints_rig import fetch, serving

OPENMETRICS = "application/openmetrics-text;version=1.0.0"


@pytest.fixture(autouse=True)
def quiet():
    """Keep the server's threads from writing to the stdout that pytest is swapping."""
    with capture_logs():
        yield


@pytest.fixture
def ask(serve):
    address = serve()
    return lambda target, method="GET", **headers: fetch(address, target, method, **headers)


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST:9464",
        "127.0.0.1",
        "127.0.0.1:9464",
        "[::1]:9464",
        "10.0.0.1",
        "runstep.localhost:80",
    ],
)
def test_a_request_to_this_machine_is_answered(ask, host):
    assert ask("/status", Host=host)[0] == 200


@pytest.mark.parametrize(
    "host",
    ["rebound.example", "rebound.example:9464", "127.0.0.1.example", "localhost.example", "[", "", "a b", "1.2.3"],
)
def test_a_page_in_a_browser_cannot_read_the_loopback_interface_by_a_name_of_its_own(ask, host):
    for page in ("/status", "/metrics", "/healthz"):
        status, _, body = ask(page, Host=host)
        assert status == 421
        assert b"localhost" in body
        assert b"running" not in body


def test_a_name_is_answered_where_others_may_ask(serve):
    _, port = serve(bind="0.0.0.0:0")
    assert fetch(("127.0.0.1", port), "/status", Host="pod-1.runstep.svc")[0] == 200


class TestPages:
    """What is answered."""

    def test_metrics_are_text_by_default(self, ask):
        status, headers, body = ask("/metrics")
        assert (status, headers["Content-Type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
        families = {family.name for family in parse_text(body.decode())}
        assert {"runstep_steps", "runstep_build_info", "process_open_fds"} <= families
        assert b"run_1" not in body

    def test_openmetrics_has_exemplars(self, ask):
        status, headers, body = ask("/metrics", Accept=f"{OPENMETRICS},text/plain;version=0.0.4;q=0.5")
        assert status == 200
        assert headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
        samples = [sample for family in parse_openmetrics(body.decode()) for sample in family.samples]
        (exemplar,) = [sample.exemplar for sample in samples if sample.exemplar]
        assert exemplar.labels == {"run_id": "run_1", "step_id": "step_1"}

    def test_metrics_are_compressed_where_the_client_asks(self, ask):
        _, headers, body = ask("/metrics", accept_encoding="br, gzip")
        assert headers["Content-Encoding"] == "gzip"
        assert b"runstep_steps_total" in gzip.decompress(body)
        _, headers, _ = ask("/metrics", Accept_Encoding="gzip;q=0")
        assert headers["Content-Encoding"] is None

    @pytest.mark.parametrize("accept", ["", "nonsense", "application/openmetrics-text;version=new", ";;;,,="])
    def test_whatever_a_client_accepts_it_gets_metrics(self, ask, accept):
        status, _, body = ask("/metrics", Accept=accept)
        assert status == 200
        assert b"runstep_steps_total" in body

    def test_health_is_ok_or_the_cause(self, ask, health):
        assert ask("/healthz")[::2] == (200, b"ok\n")
        health.cause = "no progress for 61 s"
        assert ask("/healthz")[::2] == (503, b"no progress for 61 s\n")

    def test_readiness_is_ok_or_all_causes(self, ask, health):
        assert ask("/readyz")[::2] == (200, b"ok\n")
        health.causes = ["not a member of the group", "ClickHouse: connection refused"]
        assert ask("/readyz")[::2] == (503, b"not a member of the group\nClickHouse: connection refused\n")

    def test_status_is_json(self, ask, health):
        health.state = {"state": "waiting", "causes": ["é"]}
        status, headers, body = ask("/status?pretty=1")
        assert (status, headers["Content-Type"]) == (200, "application/json")
        assert json.loads(body) == {"state": "waiting", "causes": ["é"]}

    @pytest.mark.parametrize("path", ["/healthz", "/readyz", "/status"])
    def test_a_fault_in_the_report_is_an_answer_and_not_the_end(self, ask, health, path):
        health.cause = health.causes = health.state = ValueError("password=hunter2")
        for _ in range(3):
            status, _, body = ask(path)
            assert status == 500
            assert b"ValueError" in body
            assert b"hunter2" not in body
        assert ask("/metrics")[0] == 200

    def test_a_fault_in_a_collector_is_an_answer(self, ask, registry):
        class Broken:
            def collect(self):
                raise KeyError("x")

        registry.register(Broken())
        status, _, body = ask("/metrics")
        assert (status, body) == (500, b"/metrics failed with KeyError; the log has the details.\n")
        assert ask("/healthz")[0] == 200

    def test_the_index_names_every_page(self, ask):
        status, _, body = ask("/")
        assert status == 200
        for line in body.decode().splitlines()[1:]:
            assert ask(line.split()[0])[0] == 200

    def test_an_unknown_page_names_those_there_are(self, ask):
        status, headers, body = ask("/metric<script>")
        assert status == 404
        assert headers["Content-Type"].startswith("text/plain")
        assert b"/metrics" in body
        assert b"script" not in body

    @pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "BREW"])
    def test_other_methods_are_not_allowed(self, ask, method):
        status, headers, body = ask("/metrics", method)
        assert (status, headers["Allow"]) == (405, "GET, HEAD")
        assert body == b"Only GET and HEAD are possible here.\n"

    @pytest.mark.parametrize("path", ["/metrics", "/healthz", "/nothing"])
    def test_head_is_get_without_the_body(self, ask, path):
        status, _, body = ask(path)
        head_status, head_headers, head_body = ask(path, "HEAD")
        assert (head_status, head_body) == (status, b"")
        assert int(head_headers["Content-Length"]) == pytest.approx(len(body), abs=200)  # memory and time move on

    def test_no_version_is_shown(self, ask):
        for target in ("/", "/nothing"):
            _, headers, _ = ask(target)
            assert headers["Server"] is None
            assert headers["Connection"] == "close"

    def test_requests_are_logged_for_debugging_only(self, ask):
        with capture_logs() as logs:
            ask("/metrics")
            ask("/nothing")
        assert {line["log_level"] for line in logs} == {"debug"}


class TestAddress:
    """Where they listen."""

    @pytest.mark.parametrize(
        ("bind", "client"),
        [("127.0.0.1:0", "127.0.0.1"), ("localhost:0", "localhost"), ("[::1]:0", "::1"), (":0", "127.0.0.1")],
    )
    def test_forms_of_an_address(self, serve, bind, client):
        if "::" in bind and not has_ipv6():
            pytest.skip("this host has no IPv6")
        _, port = serve(bind=bind)
        assert port > 0
        assert fetch((client, port), "/healthz")[0] == 200

    def test_an_ipv6_address_is_written_in_brackets(self, registry, health):
        if not has_ipv6():
            pytest.skip("this host has no IPv6")
        with serving(registry, health, bind="[::1]:0") as endpoints:
            host, port = endpoints.address
            assert (host, endpoints.place) == ("::1", f"[::1]:{port}")
        with serving(registry, health) as endpoints:
            assert endpoints.place == f"127.0.0.1:{endpoints.address[1]}"

    def test_a_port_that_is_taken_is_a_setting_that_is_wrong(self, serve):
        host, port = serve()
        with pytest.raises(ConfigError, match=rf"http\.bind = '127\.0\.0\.1:{port}'.*another process.*another port"):
            serve(bind=f"{host}:{port}")
        assert fetch((host, port), "/healthz")[0] == 200

    @pytest.mark.parametrize(
        "bind", ["", "9464", "::1:9464", "[::1]", "127.0.0.1:", "127.0.0.1:http", "127.0.0.1:65536", "http://x:1"]
    )
    def test_what_is_no_address_is_refused(self, serve, bind):
        with pytest.raises(ConfigError, match=r"http\.bind"):
            serve(bind=bind)

    @pytest.mark.parametrize("bind", ["no-such-host.invalid:0", "192.0.2.1:0"])
    def test_an_address_that_is_not_ours_is_refused(self, serve, bind):
        with pytest.raises(ConfigError, match=r"http\.bind"):
            serve(bind=bind)

    def test_closing_frees_the_port_and_may_be_done_twice(self, registry, health):
        endpoints = Endpoints(HttpSettings(bind="127.0.0.1:0"), registry, health)
        endpoints.close()
        endpoints.start()
        address = endpoints.address
        endpoints.close()
        endpoints.close()
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(address, timeout=1)


def has_ipv6():
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


def test_prometheus_reads_values_and_exemplars(serve, prometheus):
    """The real one, which takes exemplars from OpenMetrics only."""
    host, port = serve()
    began = time.time()
    prometheus.scrape(f"{host}:{port}", "endpoints")
    prometheus.wait_for_scrape("endpoints")
    prometheus.forget("endpoints")
    bucket = 'runstep_step_duration_seconds_bucket{job="endpoints",type="tool_calls",le="10.0"}'
    assert prometheus.value(f"sum({bucket})") == 1
    (series,) = prometheus.query_exemplars(bucket, began - 3_600, time.time() + 3_600)
    assert [exemplar["labels"] for exemplar in series["exemplars"]] == [{"run_id": "run_1", "step_id": "step_1"}]
