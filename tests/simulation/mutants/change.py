"""What a mutant is made of."""

from collections.abc import Callable
from typing import Any, TypeAlias

Change: TypeAlias = tuple[type, str, Callable[..., Any]]
"""A class, the name of a method, and what stands in its place."""
