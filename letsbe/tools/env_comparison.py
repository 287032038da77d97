"""An env file against what declares its keys: the stacks that use it, or an example beside it."""

from __future__ import annotations

import os.path

from msgspec import Struct

from letsbe.tools.compose_stack import STEERING_PREFIXES, Stack
from letsbe.tools.dotenv import EnvFile


class Missing(Struct, frozen=True, kw_only=True):
    """A key that is declared and not set; ``required`` when compose won't go on without it."""

    key: str
    required: bool = False
    services: list[str] = []


class Comparison(Struct, frozen=True, kw_only=True):
    """What is missing and what is unused, and the files that say so."""

    sources: list[str]
    missing: list[Missing]
    unused: list[str]
    problems: list[str] = []


def example_names(path: str) -> list[str]:
    """Where an example of an env file is looked for: ``.env.example`` beside ``.env``, ``app.env.dist``, ..."""
    directory, name = os.path.split(path)
    names = [f"{name}.{suffix}" for suffix in ("example", "sample", "dist", "template")]
    names += [f"example{name}" if name.startswith(".") else f"example.{name}", ".env.example"]
    return [os.path.join(directory, found) for found in dict.fromkeys(names) if found != name]


def against_example(env: EnvFile, source: str, example: EnvFile) -> Comparison:
    """Keys of the example that the file lacks, and the other way round."""
    declared = list(example.by_key())
    present = list(env.by_key())
    return Comparison(
        sources=[source],
        missing=[Missing(key=key) for key in declared if key not in present],
        unused=[key for key in present if key not in declared],
    )


def against_stacks(env: EnvFile, path: str, stacks: list[Stack]) -> Comparison:
    """What the compose files need from the file and it does not set, and what it sets for nobody.

    Nothing is missing from a file that is read by ``env_file`` only: that declares no keys. Nothing in one is unused.
    """
    present = env.by_key()
    missing: dict[str, Missing] = {}
    named = {name for statement in env.statements for name in statement.refers}
    for stack in stacks:
        for service in stack.services:
            if path not in service.scopes:
                continue
            for variable in service.variables:
                named.add(variable.name)
                kind = variable.operator[-1:]
                if variable.name in present or kind in ("-", "+"):
                    continue
                known = missing.get(variable.name, Missing(key=variable.name))
                missing[variable.name] = Missing(
                    key=known.key,
                    required=known.required or kind == "?",
                    services=list(dict.fromkeys([*known.services, service.name])),
                )
    read_whole = any(stack.reading(path) for stack in stacks)
    return Comparison(
        sources=[file for stack in stacks for file in stack.files],
        missing=sorted(missing.values(), key=lambda one: one.key),
        unused=[] if read_whole else [key for key in present if key not in named and not _steers(key)],
        problems=[problem for stack in stacks for problem in stack.problems],
    )


def _steers(key: str) -> bool:
    return key.startswith(STEERING_PREFIXES)
