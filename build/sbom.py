"""Print the CycloneDX list of what is in the built file: what was packed, not what the build environment holds."""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import platform
import subprocess
import sys
import sysconfig
from collections.abc import Iterable
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any

Component = dict[str, Any]
ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    """``sbom.py CONTENTS PROGRAM``: CONTENTS is the spec's list of packed source files."""
    contents, program = Path(sys.argv[1]), Path(sys.argv[2])
    sources = {Path(file) for file in json.loads(contents.read_text())}
    components = sorted(components_of(sources), key=lambda component: component["name"].lower())
    built = int(os.environ.get("SOURCE_DATE_EPOCH", "0"))
    document = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "timestamp": datetime.datetime.fromtimestamp(built, datetime.UTC).isoformat(),
            "component": {
                "type": "application",
                "bom-ref": "letsbe",
                "name": "letsbe",
                "version": own_version(),
                "hashes": [{"alg": "SHA-256", "content": hashlib.sha256(program.read_bytes()).hexdigest()}],
            },
        },
        "components": components,
    }
    json.dump(document, sys.stdout, indent=1)


def own_version() -> str:
    """The version that letsbe/__init__.py states."""
    namespace: dict[str, str] = {}
    exec((ROOT / "letsbe" / "__init__.py").read_text(), namespace)
    return namespace["__version__"]


def components_of(sources: set[Path]) -> list[Component]:
    """One component for each distribution, the interpreter, and each system library that a source file is of.

    SystemExit when a file is of none of them: a list that leaves something out is worse than none.
    """
    owners = {Path(str(dist.locate_file(file))): dist for dist in distributions() for file in dist.files or ()}
    found: dict[str, Component] = {}
    for source in sources:
        if dist := owners.get(source):
            found[dist.name] = python_package(dist)
        elif is_of_interpreter(source):
            found["python"] = interpreter()
        elif not source.is_relative_to(ROOT):
            component = debian_package(source)
            found[component["name"]] = component
    found["pyinstaller"] = python_package(Distribution.from_name("pyinstaller"))  # its loader starts the file
    return list(found.values())


def is_of_interpreter(source: Path) -> bool:
    """Whether a file is of the standard library, or the interpreter as a shared library."""
    own = {Path(sysconfig.get_path(name, vars={"base": sys.base_prefix})) for name in ("stdlib", "platstdlib")}
    return source.name.startswith("libpython") or any(map(source.is_relative_to, own))


def interpreter() -> Component:
    """CPython itself."""
    version = platform.python_version()
    return component("python", version, f"pkg:generic/python@{version}", ["PSF-2.0"])


def python_package(dist: Distribution) -> Component:
    """A distribution; what its wheel says was linked into it stands below it."""
    licences = [dist.metadata[field] for field in ("License-Expression", "License") if field in dist.metadata][:1]
    made = component(dist.name, dist.version, f"pkg:pypi/{dist.name.lower()}@{dist.version}", licences)
    boms = [Path(str(dist.locate_file(file))) for file in dist.files or () if ".dist-info/sboms/" in str(file)]
    inner = [entry for bom in boms for entry in json.loads(bom.read_text()).get("components", [])]
    if inner:
        made["components"] = [plain(entry, made["bom-ref"]) for entry in inner]
    return made


def plain(entry: Component, parent: str) -> Component:
    """A component of a wheel's own list, under a reference that is unique in ours."""
    kept = {key: entry[key] for key in ("type", "name", "version", "purl", "licenses") if key in entry}
    return kept | {"bom-ref": f"{parent}/{entry.get('purl', entry['name'])}"}


def debian_package(library: Path) -> Component:
    """The package that a shared library of this system is of."""
    for name in dict.fromkeys([library, library.resolve(), Path("/", *library.resolve().parts[2:])]):
        owner = subprocess.run(["dpkg-query", "--search", str(name)], capture_output=True, text=True)
        owners = [line for line in owner.stdout.splitlines() if not line.startswith("diversion ")]
        if owners:
            package = owners[0].partition(":")[0]
            break
    else:
        raise SystemExit(f"build/sbom.py: {library} is of no distribution and no Debian package")
    shown = ["dpkg-query", "--show", "--showformat=${Package} ${Version} ${Architecture}\\n", package]
    _, version, architecture = subprocess.check_output(shown, text=True).splitlines()[0].split()
    return component(package, version, f"pkg:deb/debian/{package}@{version}?arch={architecture}", [])


def component(name: str, version: str, purl: str, licences: Iterable[str]) -> Component:
    """A library, with the licence expressions that it states."""
    made: Component = {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}
    stated = [licence for licence in licences if licence and "\n" not in licence]
    if stated:
        made["licenses"] = [{"license": {"name": licence}} for licence in stated]
    return made


if __name__ == "__main__":
    main()
