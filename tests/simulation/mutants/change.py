"""What a mutant is made of."""

from collections.abc import Callable
from types import ModuleType
from typing import Any, TypeAlias

Change: TypeAlias = tuple[type | ModuleType, str, Callable[..., Any]]
"""A class or a module, the name of a function of it, and what stands in its place."""
