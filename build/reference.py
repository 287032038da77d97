"""Write docs/reference/, and the lists of task types in README.md and for the orchestrator's pages, from the code.

``python build/reference.py`` writes the pages; ``tests/test_docs.py`` fails when they are not what this would write.
"""

from __future__ import annotations

import ast
import inspect
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import msgspec

from letsbe.agent.config import Config
from letsbe.agent.schema import data_schema, payload_schema
from letsbe.cli.executor_command import ExecutorCommand
from letsbe.cli.main import COMMANDS, command_name, letsbe
from letsbe.errors import FATES, fate
from letsbe.executors import EXECUTOR_REGISTRY, executor_class

ROOT = Path(__file__).resolve().parent.parent
PAGES = ROOT / "docs" / "reference"
NOTE = "<!-- Generated from the code by build/reference.py: edit the code, then run `make docs`. -->\n\n"


def pages() -> dict[Path, str]:
    """Every generated page, by its path."""
    written = {PAGES / "executors.md": executors_page()}
    written |= {PAGES / "executors" / f"{command_name(name)}.md": executor_page(name) for name in EXECUTOR_REGISTRY}
    written[PAGES / "commands.md"] = commands_page()
    written[PAGES / "configuration.md"] = configuration_page()
    written[PAGES / "errors.md"] = errors_page()
    written[ROOT / "README.md"] = readme()
    written[ROOT / "letsbe" / "orchestrator" / "pages" / "task_types.json"] = task_types()
    return written


def executors_page() -> str:
    """The list of task types."""
    lines = [
        "# Task types\n",
        "| type | subcommand | changes things | safe to run again | what it does |",
        "|---|---|---|---|---|",
    ]
    for name in EXECUTOR_REGISTRY:
        kind = executor_class(name)
        sub = command_name(name)
        first = (kind.__doc__ or "").partition("\n")[0]
        changes, rerun = _yes(kind.changes), _yes(kind.rerun_safe)
        lines.append(f"| [{name}](executors/{sub}.md) | `letsbe {sub}` | {changes} | {rerun} | {first} |")
    return NOTE + "\n".join(lines) + "\n"


def readme() -> str:
    """README.md with the task types of the code between its two marks."""
    before, begin, rest = (ROOT / "README.md").read_text().partition("<!-- task types: begin -->\n")
    _, end, after = rest.partition("<!-- task types: end -->\n")
    lines = ["| type | what it does |", "|---|---|"]
    for name in EXECUTOR_REGISTRY:
        first = (executor_class(name).__doc__ or "").partition("\n")[0]
        lines.append(f"| [{name}](docs/reference/executors/{command_name(name)}.md) | {first} |")
    return before + begin + "\n".join(lines) + "\n" + end + after


def task_types() -> str:
    """The task types as the orchestrator's pages need them to make forms, one a line: it may import no executor."""
    kinds = {name: executor_class(name) for name in EXECUTOR_REGISTRY}
    lines = [
        f"{json.dumps(name)}: "
        + json.dumps(
            {
                "summary": (kind.__doc__ or "").partition("\n")[0],
                "changes": kind.changes,
                "schema_version": kind.schema_version,
                "schema": payload_schema(name),
            }
        )
        for name, kind in kinds.items()
    ]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def executor_page(name: str) -> str:
    """One task type: what it takes, what it gives, its help."""
    kind = executor_class(name)
    example = json.dumps(kind.example).replace("{root}", "/opt/letsbe")
    parts = [
        f"# {name}\n",
        inspect.cleandoc(kind.__doc__ or "") + "\n",
        f"    letsbe {command_name(name)} '{example}'\n",
    ]
    if kind.needs:
        parts.append(f"Needs: {', '.join(kind.needs)}.\n")
    if kind.better_with:
        parts.append(f"Does less without: {', '.join(kind.better_with)}.\n")
    if kind.not_idempotent:
        parts.append(f"A second identical run may change things again: {kind.not_idempotent}\n")
    parts += ["## Takes\n", _fields(payload_schema(name)), "## Gives (`data`)\n", _fields(data_schema(name))]
    parts += ["## Command line\n", _help(ExecutorCommand(command_name(name), name), command_name(name))]
    return NOTE + "\n".join(parts)


def commands_page() -> str:
    """The commands that are no executors."""
    parts = ["# Commands\n", _help(letsbe, "")]
    context = click.Context(letsbe, info_name="letsbe")
    for name in sorted(COMMANDS):
        command = letsbe.get_command(context, name)
        assert command is not None
        parts += [f"## {name}\n", _help(command, name)]
    return NOTE + "\n".join(parts)


def configuration_page() -> str:
    """Every key of the configuration file."""
    schema = msgspec.json.schema(Config)
    lines = [
        "# Configuration\n",
        "`/etc/letsbe/letsbe.yml`, another by `--config` or `LETSBE_CONFIG`. Every key is optional; an unknown one is",
        "an error that names its line. The file and its directory must not be writable by others.\n",
        "| key | type | default | meaning |",
        "|---|---|---|---|",
        *_rows(schema, schema["$defs"], "", Config()),
    ]
    for name in ("TrustedKey", "CommandRule"):
        definition = schema["$defs"][name]
        lines += [f"\n## {name}\n", definition["description"], "", _field_table(definition, schema["$defs"]).rstrip()]
    return NOTE + "\n".join(lines) + "\n"


def errors_page() -> str:
    """Every error code that the agent's code raises."""
    codes: dict[str, set[str]] = {code: set() for code in FATES}
    for path, code in raised_codes():
        codes.setdefault(code, set()).add(path)
    lines = [
        "# Error codes\n",
        "`error.code` in an outcome, the status and exit code that it leads to, and where it is raised.\n",
    ]
    lines += ["| code | status | exit code | raised in |", "|---|---|---|---|"]
    for code in sorted(codes):
        end = fate(code)
        lines.append(f"| `{code}` | {end.status} | {end.exit_code} | {', '.join(sorted(codes[code])) or '-'} |")
    return NOTE + "\n".join(lines) + "\n"


def raised_codes() -> Iterator[tuple[str, str]]:
    """(module, code) of every error that the agent's code makes with a literal code."""
    for path in sorted((ROOT / "letsbe").rglob("*.py")):
        if "orchestrator" in path.parts:
            continue
        module = ".".join(path.relative_to(ROOT / "letsbe").with_suffix("").parts)
        calls = (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call))
        yield from ((module, code) for call in calls if (code := _code_in(call)) is not None)


def _code_in(call: ast.Call) -> str | None:
    """The code in ``LetsbeError("code", ...)``, ``ErrorInfo(code="code")`` or a subclass's ``super().__init__``."""
    words = {"LetsbeError": call.args[:1], "ErrorInfo": [word.value for word in call.keywords if word.arg == "code"]}
    named = words.get(getattr(call.func, "id", ""), [])
    if isinstance(call.func, ast.Attribute) and ast.unparse(call.func) == "super().__init__":
        named = call.args[:1]
    value = getattr(named[0], "value", None) if named else None
    return value if isinstance(value, str) else None


def _rows(schema: dict[str, Any], definitions: dict[str, Any], prefix: str, default: Any) -> Iterator[str]:
    target = definitions[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
    for name, field in target["properties"].items():
        key = f"{prefix}{name}"
        value = getattr(default, name)
        nested = field.get("$ref", "").rpartition("/")[2]
        if isinstance(value, msgspec.Struct):
            about = definitions[nested].get("description", "") if nested else ""
            yield f"| `{key}` |  |  | {about} |"
            yield from _rows(field, definitions, f"{key}.", value)
        else:
            shown = json.dumps(msgspec.to_builtins(value))
            yield f"| `{key}` | {_type(field, definitions)} | `{shown}` | {_description(field)} |"


def _fields(schema: dict[str, Any]) -> str:
    definitions = schema.get("$defs", {})
    text = _field_table(schema, definitions)
    for name, definition in definitions.items():
        text += f"\n### {name}\n\n{definition.get('description', '')}\n\n{_field_table(definition, definitions)}"
    return text


def _field_table(schema: dict[str, Any], definitions: dict[str, Any]) -> str:
    if "properties" not in schema:
        return ""
    required = schema.get("required", [])
    lines = ["| field | type | default | meaning |", "|---|---|---|---|"]
    for name, field in schema["properties"].items():
        default = "required" if name in required else f"`{json.dumps(field['default'])}`" if "default" in field else ""
        lines.append(f"| `{name}` | {_type(field, definitions)} | {default} | {_description(field)} |")
    return "\n".join(lines) + "\n"


def _description(field: dict[str, Any]) -> str:
    """A field's description, whichever side of ``| None`` it was put on."""
    places = [field, *field.get("anyOf", [])]
    return _cell(next((place["description"] for place in places if "description" in place), ""))


def _type(field: dict[str, Any], definitions: dict[str, Any]) -> str:
    if "anyOf" in field:
        return " or ".join(_type(option, definitions) for option in field["anyOf"])
    if "$ref" in field:
        return field["$ref"].rpartition("/")[2]
    if "enum" in field:
        return " \\| ".join(f"`{json.dumps(value)}`" for value in field["enum"])
    kind = field.get("type", "any")
    if isinstance(kind, list):
        kind = " or ".join(kind)
    if kind == "array":
        return f"list of {_type(field.get('items') or {}, definitions)}"
    if kind == "object" and isinstance(field.get("additionalProperties"), dict):
        return f"map of {_type(field['additionalProperties'], definitions)}"
    return f"{kind}{_bounds(field)}"


def _bounds(field: dict[str, Any]) -> str:
    low, high = field.get("minimum", field.get("minLength")), field.get("maximum", field.get("maxLength"))
    if low is None and high is None:
        return ""
    return f" ({'' if low is None else low}..{'' if high is None else high})"


def _help(command: click.Command, name: str) -> str:
    if isinstance(command, ExecutorCommand):
        command.show_all_flags()
    context = click.Context(letsbe, info_name="letsbe", terminal_width=100, **letsbe.context_settings)
    if name:
        context = click.Context(command, info_name=name, parent=context)
    return "```text\n" + command.get_help(context) + "\n```\n"


def _cell(text: str) -> str:
    """Text that a table's cell can hold; ``<int>`` would be taken for a tag outside of code."""
    parts = text.replace("\n", " ").replace("|", "\\|").split("`")
    return "`".join(part if number % 2 else part.replace("<", "&lt;") for number, part in enumerate(parts))


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def main() -> None:
    """Write the pages, and remove those of what no longer exists."""
    wanted = pages()
    for path in [*PAGES.rglob("*.md")]:
        if path not in wanted:
            path.unlink()
    for path, text in wanted.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


if __name__ == "__main__":
    main()
