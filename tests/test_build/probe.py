"""Packed in the agent's place, exactly as it is: shows what the built file's process sees.

probe.py modules ARGUMENT...   run letsbe with these arguments; then, on standard error, the modules and files it had
probe.py import                import what is packed; print what fails
probe.py sweep                 remove orphans; print them
probe.py hold                  print the unpack directory, then wait for standard input's end
probe.py unpack NAME TARGET    unpack a cold entry
probe.py leave CODE            end with a thread and an exit function still to run
probe.py certificates          print the file of certificates that requests uses
"""

import atexit
import os
import sys
from typing import Any

import msgspec

#: Where the agent's libraries are entered. Below them are modules for other systems, which nothing imports here.
LIBRARIES = [
    "click",
    "msgspec",
    "requests",
    "yaml",
    "structlog",
    "rich.console",
    "rich.table",
]
LIBRARIES += ["cryptography.x509", "cryptography.hazmat.primitives.asymmetric.ed25519"]


def packed_modules() -> list[str]:
    """The agent's own modules, every extension module that waits in the archive, and the libraries."""
    import pyimod02_importers  # type: ignore[import-not-found] # PyInstaller's

    from letsbe.frozen.archive import Archive

    own = [name for name in pyimod02_importers.pyz_archive.toc if name.startswith("letsbe.")]
    index = Archive().read("cold-index").decode().splitlines()
    return sorted([*own, *(line.partition("\t")[0] for line in index), *LIBRARIES])


def import_everything() -> dict[str, str]:
    """Module -> error, for those that can't be imported."""
    from importlib import import_module

    failed = {}
    for name in packed_modules():
        try:
            import_module(name)
        except Exception as error:
            failed[name] = f"{type(error).__name__}: {error}"
    return failed


def report_at_exit() -> None:
    """Modules and unpacked files, as JSON on standard error."""
    home: str = sys._MEIPASS  # type: ignore[attr-defined]
    files = [os.path.relpath(os.path.join(at, name), home) for at, _, names in os.walk(home) for name in names]
    seen = {"modules": sorted(sys.modules), "files": sorted(files)}
    sys.stderr.buffer.write(msgspec.json.encode(seen))  # msgspec, since json would be one more module


def end(code: str) -> None:
    """Leave as the agent does, in the middle of things."""
    import threading
    import time

    from letsbe.frozen import leave

    def write_late() -> None:
        time.sleep(0.2)
        print("thread", flush=True)

    threading.Thread(target=write_late).start()
    atexit.register(print, "exit function")
    print("main")
    leave(int(code) if code.isdigit() else code)


def main() -> None:
    """Do what the first argument says."""
    mode, arguments = sys.argv[1], sys.argv[2:]
    result: Any = None
    if mode == "modules":
        from letsbe.cli.main import main as letsbe

        atexit.register(report_at_exit)
        sys.argv[1:] = arguments
        letsbe()
    elif mode == "import":
        result = import_everything()
    elif mode == "sweep":
        from letsbe.frozen import sweep_orphans

        result = sweep_orphans()
    elif mode == "hold":
        print(sys._MEIPASS, flush=True)  # type: ignore[attr-defined]
        sys.stdin.read()
        return
    elif mode == "unpack":
        from letsbe.frozen.archive import Archive

        Archive().unpack(*arguments)
    elif mode == "leave":
        end(arguments[0])
    elif mode == "certificates":
        from requests.utils import DEFAULT_CA_BUNDLE_PATH

        result = DEFAULT_CA_BUNDLE_PATH
    print(msgspec.json.encode(result).decode())


main()
