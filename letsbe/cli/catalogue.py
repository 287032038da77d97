"""``letsbe executors`` and ``letsbe schema``"""

from __future__ import annotations

import click

from letsbe.cli.options import output_option
from letsbe.executors import EXECUTOR_REGISTRY, executor_class


@click.command()
def executors(output: str) -> int:
    """List the task types."""
    from letsbe.cli.output import console, is_text, write_json

    kinds = [executor_class(name) for name in EXECUTOR_REGISTRY]
    rows = [
        {
            "type": kind.type,
            "summary": (kind.__doc__ or "").partition("\n")[0],
            "changes": kind.changes,
            "rerun_safe": kind.rerun_safe,
            "schema_version": kind.schema_version,
            "needs": list(kind.needs),
            "better_with": list(kind.better_with),
        }
        for kind in kinds
    ]
    if not is_text(output):
        write_json(rows)
        return 0
    from letsbe.cli.draw import draw_value

    shown = [{"type": row["type"], "changes": row["changes"], "": row["summary"]} for row in rows]
    console().print(draw_value(shown))
    return 0


@click.command()
@click.argument("task_type", metavar="TYPE")
@click.option("--data", is_flag=True, help="The schema of what it gives rather than of what it takes.")
def schema(task_type: str, data: bool) -> int:
    """Print the JSON Schema of a task type's payload."""
    from letsbe.agent.schema import data_schema, payload_schema
    from letsbe.cli.output import write_json

    name = task_type.upper().replace("-", "_")
    write_json(data_schema(name) if data else payload_schema(name))
    return 0


executors.params.append(output_option())
