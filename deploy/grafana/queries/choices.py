"""How the SQL of the boards reads what a reader chose: as data, whatever characters it has.

Producers choose ids, names of tools and types, and a link puts them into variables. Grafana's formats for SQL escape
quotes, but not backslashes, which ClickHouse reads as escapes. Percent-encoding leaves letters, digits and `-_.~%`:
nothing that ends a literal, and nothing that the plugin takes for a macro.
"""


def value(variable: str) -> str:
    """Return the SQL of a text box's content."""
    return f"decodeURLComponent('${{{variable}:percentencode}}')"


def values(variable: str) -> str:
    """Return the SQL of what is chosen in a list, an array.

    Grafana joins the values to `{one,two}`. A value with a comma is in the array whole only if it is the only one; its
    parts are there, too.
    """
    # A negative length leaves out the end: here the brace.
    joined = f"substring({value(variable)}, 2, -1)"
    return f"arrayConcat(splitByChar(',', {joined}), [{joined}])"
