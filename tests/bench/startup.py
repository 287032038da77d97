"""``letsbe echo``: how long from the call to the answer, beside other ways to pack it and other programs."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WORK = ROOT / "build" / ".work" / "bench"
BINARY_PYTHON = ROOT / "build" / ".venv-binary" / "bin" / "python"
ECHO = ["echo", '{"message":"hi"}']


def pack(*arguments: str, **env: str) -> None:
    """Run PyInstaller below the bench's directory."""
    places = ["--distpath", str(WORK / "dist"), "--workpath", str(WORK / "work"), "--log-level", "ERROR", "--noconfirm"]
    command = [str(BINARY_PYTHON), "-m", "PyInstaller", *places, *arguments]
    cache = {"PYINSTALLER_CONFIG_DIR": str(ROOT / "build" / ".cache")}
    subprocess.run(command, cwd=ROOT, env=os.environ | cache | env, check=True, capture_output=True)


def pack_plain() -> None:
    """The same code as PyInstaller packs it by itself, in a directory and in one file."""
    modules = [".".join(file.relative_to(ROOT).with_suffix("").parts) for file in (ROOT / "letsbe").rglob("*.py")]
    agent = sorted(name.removesuffix(".__init__") for name in modules if not name.startswith("letsbe.orchestrator"))
    hidden = [word for name in agent for word in ("--hidden-import", name)]
    plain = ["--paths", str(ROOT), "--specpath", str(WORK), *hidden, "--exclude-module", "letsbe.orchestrator"]
    entry = str(ROOT / "letsbe" / "__main__.py")
    pack("--onedir", "--name", "plain-onedir", *plain, entry)
    pack("--onefile", "--name", "plain-onefile", *plain, entry)


def pack_onedir() -> None:
    """What letsbe.spec makes, as a directory."""
    pack(str(ROOT / "letsbe.spec"), LETSBE_ONEDIR="1")


def pack_with_driver() -> None:
    """The built file with a cold file of a browser driver's size in it."""
    driver = WORK / "driver.tar.zst"
    driver.write_bytes(os.urandom(40 * 1024 * 1024))
    pack(str(ROOT / "letsbe.spec"), LETSBE_SPEC_COLD=str(driver))
    (WORK / "dist" / "letsbe").rename(WORK / "dist" / "letsbe-with-driver")


def commands() -> dict[str, list[str]]:
    """What is measured, by the words of the table."""
    dist = WORK / "dist"
    return {
        "letsbe, the built file": [str(ROOT / "dist" / "letsbe"), *ECHO],
        "the same code, `python -m letsbe`": [str(BINARY_PYTHON), "-m", "letsbe", *ECHO],
        "the same code, PyInstaller's onedir": [str(dist / "plain-onedir" / "plain-onedir"), *ECHO],
        "the same code, PyInstaller's onefile": [str(dist / "plain-onefile"), *ECHO],
        "letsbe.spec as a onedir": [str(dist / "letsbe-onedir" / "letsbe-onedir"), *ECHO],
        "the built file with a cold file of 40 MB": [str(dist / "letsbe-with-driver"), *ECHO],
        "`python -c pass`": [str(BINARY_PYTHON), "-c", "pass"],
        "`docker compose version`": ["docker", "compose", "version"],
        "`ansible localhost -m ping`": [
            str(ROOT / "build" / ".venv-bench" / "bin" / "ansible"),
            *("localhost", "-m", "ping"),
        ],
    }


def main() -> None:
    """Print the table."""
    WORK.mkdir(parents=True, exist_ok=True)
    pack_plain()
    pack_with_driver()
    pack_onedir()
    measured = commands()
    with tempfile.NamedTemporaryFile(suffix=".json") as report:
        command = ["hyperfine", "--shell=none", "--warmup=3", "--min-runs=20", "--export-json", report.name]
        env = os.environ | {"PYTHONPATH": str(ROOT), "ANSIBLE_LOCALHOST_WARNING": "False"}
        subprocess.run([*command, *map(shlex.join, measured.values())], env=env, check=True, stdout=subprocess.DEVNULL)
        results = json.load(report)["results"]
    ours = results[0]["median"]
    print("| | median | minimum | CPU | the built file is |\n|---|---|---|---|---|")
    for name, result in zip(measured, results, strict=True):
        cpu = result["user"] + result["system"]
        times = f"{result['median'] * 1000:.0f} ms | {result['min'] * 1000:.0f} ms | {cpu * 1000:.0f} ms"
        print(f"| {name} | {times} | {ours / result['median']:.2f} × |")
    print()


if __name__ == "__main__":
    main()
