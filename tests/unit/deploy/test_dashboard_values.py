"""Values of producers in links and variables: Grafana's formats, and what the links make of hostile values."""

import pytest
import yaml

from tests.support.dashboards import Link, follow, links
from tests.support.grafana_formats import Value, filled_in, formatted, with_macros, without_all
from tests.support.hostile_values import HOSTILE, WITH_COMMAS
from tests.support.paths import ROOT

DATASOURCES = ROOT / "deploy" / "grafana" / "provisioning" / "datasources" / "runstep.yml"


@pytest.mark.parametrize(
    ("form", "value", "text"),
    [
        ("singlequote", ["test", "test'2"], "'test','test\\'2'"),
        ("singlequote", "\\' OR 1=1 -- ", "'\\\\' OR 1=1 -- '"),
        ("doublequote", ["test", 'test"2'], '"test","test\\"2"'),
        ("sqlstring", ["test", "test'value2", 'test"value3'], "'test','test''value2','test\\\"value3'"),
        ("sqlstring", "\\", "'\\'"),
        ("percentencode", ["foo()bar BAZ", "test2"], "%7Bfoo%28%29bar%20BAZ%2Ctest2%7D"),
        ("percentencode", "\\' $-_.~!*", "%5C%27%20%24-_.~%21%2A"),
        ("queryparam", "helloAZ%=", "var-server=helloAZ%25%3D"),
        ("queryparam", ["a&b", "c"], "var-server=a%26b&var-server=c"),
        ("customqueryparam", ["api", "database"], "server=api&server=database"),
        ("customqueryparam:p-server:v-", ["mysql&postgres"], "p-server=v-mysql%26postgres"),
        ("csv", ["test", "test2"], "test,test2"),
        ("pipe", ["test", "test2"], "test|test2"),
        ("json", ["test", "12"], '["test","12"]'),
        ("json", "test", "test"),
        ("glob", ["AA", "BB", "C.*"], "{AA,BB,C.*}"),
        ("glob", ["AA"], "AA"),
        ("html", "<script>", "&lt;script&gt;"),
        ("raw", ["12", "13"], "12,13"),
    ],
)
def test_the_formats_are_those_of_grafana(form: str, value: Value, text: str) -> None:
    """Most cases are of Grafana's own tests."""
    assert formatted(value, form, "server") == text


def test_what_is_filled_in_is_not_filled_in_again_but_the_backend_finds_its_macros_there() -> None:
    values = {"a": "$b ${b}", "b": "never"}
    assert filled_in("x ${a:raw} ${unknown}", values.get) == "x $b ${b} ${unknown}"
    assert with_macros("'$__timeFilter(it''s)'", 1, 2) == "'it''s >= toDateTime(1) AND it''s <= toDateTime(2)'"


def test_a_condition_is_left_out_before_its_variable_is_filled_in() -> None:
    sql = "$__conditionalAll(f(a, [${x:raw}]), $x) AND $__conditionalAll(b IN (${y:raw}), $y)"
    assert without_all(sql, {"x": ["$__all"], "y": ["1"]}) == "1=1 AND b IN (${y:raw})"
    assert without_all(sql, {"x": "1", "y": [""]}) == "f(a, [${x:raw}]) AND 1=1"


@pytest.mark.parametrize("value", [*HOSTILE, *WITH_COMMAS])
@pytest.mark.parametrize("link", [pytest.param(link, id=str(link)) for link in links()])
def test_a_click_selects_the_value_and_nothing_else(link: Link, value: str) -> None:
    asked: list[str] = []

    def clicked(name: str) -> str:
        asked.append(name)
        return value

    chosen = follow(link, clicked)
    written = [part.removeprefix("var-").split("=", 1) for part in link.parts if part.startswith("var-")]
    assert sorted(chosen) == sorted({name for name, _ in written})
    assert [text for texts in chosen.values() for text in texts].count(value) == len(asked)


@pytest.mark.parametrize("value", [*HOSTILE, *WITH_COMMAS])
def test_an_exemplar_selects_its_step_and_nothing_else(value: str) -> None:
    sources = yaml.safe_load(DATASOURCES.read_text())["datasources"]
    (destination,) = sources[0]["jsonData"]["exemplarTraceIdDestinations"]
    link = Link("exemplar", "", "", destination["url"].replace("$$", "$"))
    assert follow(link, {"__value.raw": value}.__getitem__) == {"step_id": [value]}
