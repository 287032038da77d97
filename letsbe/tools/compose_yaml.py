"""Compose files as data: what their strings, lists and maps say before compose resolves anything."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from letsbe.tools.interpolation import TemplateError, Variable, variables


class ComposeYamlError(ValueError):
    """A compose file that is no YAML map; the message holds its line, not its text."""


def load(content: bytes) -> dict[str, Any]:
    """A compose file as a map; tags that only compose knows (``!reset``) are read as if they were not there."""
    import yaml

    class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
        pass

    def untagged(loader: Any, _suffix: str, node: Any) -> Any:
        if isinstance(node, yaml.MappingNode):
            return loader.construct_mapping(node, deep=True)
        if isinstance(node, yaml.SequenceNode):
            return loader.construct_sequence(node, deep=True)
        return loader.construct_scalar(node)

    Loader.add_multi_constructor("!", untagged)
    try:
        found = yaml.load(content, Loader)  # noqa: S506 - a subclass of the safe loader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}: " if mark else ""
        raise ComposeYamlError(f"{where}{error.problem or 'not YAML'}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ComposeYamlError(f"not YAML: {type(error).__name__}") from None
    if not isinstance(found, dict):
        raise ComposeYamlError("not a map at the top")
    return found


def interpolated(node: Any) -> list[Variable]:
    """Every variable that the strings below a node name. Map keys are not interpolated by compose."""
    found: dict[Variable, None] = {}
    for text in _strings(node, set()):
        if "$" in text:
            try:
                found.update(dict.fromkeys(variables(text)))
            except TemplateError:
                continue  # compose says so better than we could
    return list(found)


def passed_through(node: Any) -> list[str]:
    """The names without a value in an ``environment`` or ``args``: they get theirs from compose's environment."""
    if isinstance(node, dict):
        return [str(name) for name, value in node.items() if value is None]
    return [item for item in as_list(node) if isinstance(item, str) and "=" not in item and "$" not in item]


def as_list(node: Any) -> list[Any]:
    """A list, a single thing as a list of one, nothing as an empty one."""
    if node is None:
        return []
    return node if isinstance(node, list) else [node]


def as_map(node: Any) -> dict[Any, Any]:
    """A map; empty for anything else."""
    return node if isinstance(node, dict) else {}


def _strings(node: Any, seen: set[int]) -> Iterator[str]:
    """The strings below a node, each shared part once: aliases can make it exponentially large, or endless."""
    if isinstance(node, str):
        yield node
    elif isinstance(node, (dict, list)) and id(node) not in seen:
        seen.add(id(node))
        for item in node.values() if isinstance(node, dict) else node:
            yield from _strings(item, seen)
