"""Tool calls as step_details hold them, one maker for each tool type, and how long such a call takes.

A call is made in the snake_case of the REST wire; `wire_forms` turns it into what the camelCase SDKs leave of it.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from pydantic_core import to_json

from pipeline.tools.simulation.seeded_random import SeededRandom, Weighted


class Tool(NamedTuple):
    """A tool type: how often it is met, how long a call takes (log-normal: median seconds, spread), its payload."""

    type: str
    weight: float
    median: float
    spread: float
    payload: Callable[[SeededRandom], Mapping[str, Any]]


_FUNCTIONS: Final = (
    "get_order_status",
    "fetch_weather",
    "create_ticket",
    "lookup_customer",
    "search_catalogue",
    "refund_payment",
    "schedule_meeting",
)
_MCP_TOOLS: Final = (("search_issues", "github"), ("web_search", "tavily"), ("run_query", "warehouse"))
_CITIES: Final = ("Lima", "Oslo", "Köln", "東京", "New York", "São Paulo")
_SNIPPET: Final = "Deliveries ordered before noon leave the warehouse on the same day; returns are free for 30 days."
_CODE: Final = "import pandas as pd\nframe = pd.read_csv('orders.csv')\nprint(frame.groupby('region').total.sum())"


def _function(rng: SeededRandom) -> dict[str, Any]:
    arguments = to_json({"order_id": rng.between(10_000, 99_999), "city": rng.choice(_CITIES)}).decode()
    output = to_json({"status": "shipped", "eta_days": rng.between(1, 9)}).decode()
    return {"function": {"name": rng.choice(_FUNCTIONS), "arguments": arguments, "output": output}}


def _mcp(rng: SeededRandom) -> dict[str, Any]:
    name, server = rng.choice(_MCP_TOOLS)
    arguments = to_json({"query": f"open items {rng.between(1, 999)}"}).decode()
    return {"name": name, "server_label": server, "arguments": arguments, "output": '{"results":[]}'}


def _code_interpreter(rng: SeededRandom) -> dict[str, Any]:
    logs = f"north    {rng.between(100, 9999)}\nsouth    {rng.between(100, 9999)}\n"
    return {"code_interpreter": {"input": _CODE, "outputs": [{"type": "logs", "logs": logs}]}}


def _file_search(rng: SeededRandom) -> dict[str, Any]:
    ranking = {"ranker": "default_2024_08_21", "score_threshold": 0.0}
    found = {"file_id": f"file-{rng.token()[:22]}", "file_name": "delivery_terms.md", "score": round(rng.random(), 6)}
    content = [{"type": "text", "text": _SNIPPET}]
    return {"file_search": {"ranking_options": ranking, "results": [{**found, "attributes": {}, "content": content}]}}


def _requested(key: str, url: str) -> Callable[[SeededRandom], dict[str, Any]]:
    return lambda rng: {key: {"requesturl": f"{url}?q={rng.between(1, 99_999)}"}}


def _connected_agent(rng: SeededRandom) -> dict[str, Any]:
    ids = {"run_id": f"run_{rng.token()}", "thread_id": f"thread_{rng.token()}"}
    return {
        "connected_agent": {"name": "billing_agent", "arguments": '{"task":"explain invoice"}', "output": "", **ids}
    }


def _deep_research(rng: SeededRandom) -> dict[str, Any]:
    return {"deep_research": {"input": f"Compare suppliers in region {rng.between(1, 40)}", "output": _SNIPPET}}


def _browser(rng: SeededRandom) -> dict[str, Any]:
    step = {"last_step_result": "ok", "current_state": "results", "next_step": "done"}
    return {"browser_automation": {"input": f"open order {rng.between(1, 9999)}", "output": "done", "steps": [step]}}


FUNCTION: Final = Tool("function", 40, 1.8, 1.0, _function)
CODE_INTERPRETER: Final = Tool("code_interpreter", 16, 6.0, 0.8, _code_interpreter)
FILE_SEARCH: Final = Tool("file_search", 18, 2.4, 0.5, _file_search)
MCP: Final = Tool("mcp", 10, 3.0, 0.9, _mcp)

OPENAI_TOOLS: Final = (FUNCTION, CODE_INTERPRETER, FILE_SEARCH)
FOUNDRY_TOOLS: Final = (
    *OPENAI_TOOLS,
    MCP,
    Tool("bing_grounding", 10, 3.6, 0.5, _requested("bing_grounding", "https://api.bing.microsoft.com/v7.0/search")),
    Tool("openapi", 5, 1.4, 0.7, _requested("openapi", "https://api.example.com/rates")),
    Tool("azure_ai_search", 6, 1.6, 0.5, lambda rng: {"azure_ai_search": {"input": f"q{rng.between(1, 99)}"}}),
    Tool("connected_agent", 3, 12.0, 0.6, _connected_agent),
    Tool("browser_automation", 1, 45.0, 0.6, _browser),
    Tool("deep_research", 1, 150.0, 0.6, _deep_research),
)
JS_TOOLS: Final = (FUNCTION, CODE_INTERPRETER)

CHOICES: Final = {
    "openai": Weighted([(tool, tool.weight) for tool in OPENAI_TOOLS]),
    "specification": Weighted([(tool, tool.weight) for tool in OPENAI_TOOLS]),
    "foundry": Weighted([(tool, tool.weight) for tool in FOUNDRY_TOOLS]),
    "js_assistants": Weighted([(tool, tool.weight) for tool in JS_TOOLS]),
    "js_agents": Weighted([(tool, tool.weight) for tool in OPENAI_TOOLS]),
}
"""The tools that runs of each flavour call; the JavaScript SDK of the Assistants API knows only two."""


def call(rng: SeededRandom, tool: Tool) -> dict[str, Any]:
    """Return a call of that tool as the REST wire shows it once it is done."""
    return {"id": f"call_{rng.token()}", "type": tool.type, **tool.payload(rng)}


def name_of(made: Mapping[str, Any]) -> str:
    """Return the function's or MCP tool's own name, and the type for built-in tools."""
    kind: str = made["type"]
    if kind == "function":
        return str(made["function"]["name"])
    if kind == "mcp":
        return str(made["name"])
    return kind
