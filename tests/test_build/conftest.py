"""The built file, its probe, and bare Debian roots to run them in."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get("LETSBE_TEST_CACHE") or Path.home() / ".cache" / "letsbe-test")
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"

#: Bytes of a browser driver, about.
DRIVER_SIZE = 40 * 1024 * 1024


@pytest.fixture(scope="session")
def letsbe_binary() -> Path:
    """The built file: that of LETSBE_BINARY, else dist/letsbe, built when it is not there."""
    binary = Path(os.environ.get("LETSBE_BINARY") or ROOT / "dist" / "letsbe")
    if not binary.exists():
        subprocess.run([ROOT / "build" / "binary"], check=True)
    return binary


@pytest.fixture(scope="session")
def pack_probe(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Packs probe.py as the agent is packed, with more cold files if wanted; gives the file made."""
    python = ROOT / "build" / ".venv-binary" / "bin" / "python"
    if not python.exists():
        subprocess.run([ROOT / "build" / "venv", "binary"], check=True)

    def pack(*cold: Path) -> Path:
        work = tmp_path_factory.mktemp("probe")
        env = os.environ | {
            "LETSBE_SPEC_ENTRY": str(Path(__file__).with_name("probe.py")),
            "LETSBE_SPEC_COLD": " ".join(map(str, cold)),
            "PYINSTALLER_CONFIG_DIR": str(ROOT / "build" / ".cache"),
        }
        command: list[str | Path] = [
            python,
            "-m",
            "PyInstaller",
            "--log-level",
            "ERROR",
            "--distpath",
            work,
            "--workpath",
            work / "work",
        ]
        subprocess.run([*command, ROOT / "letsbe.spec"], env=env, check=True, capture_output=True)
        return work / "letsbe"

    return pack


@pytest.fixture(scope="session")
def probe(pack_probe: Callable[..., Path]) -> Path:
    """The packed probe."""
    return pack_probe()


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of a browser driver's size that can't be compressed."""
    file = tmp_path_factory.mktemp("driver") / "driver.tar.zst"
    file.write_bytes(os.urandom(DRIVER_SIZE))
    return file


class BareRoot:
    """A minimal Debian, made once and kept in the cache, under a fresh layer of this test's own.

    A command sees it in a mount namespace of its own, with a /proc: both are gone when it ends.
    """

    SCRIPT = (
        'mount -t overlay overlay -o "$1" "$2" && mount -t proc proc "$2/proc" && cd / && root=$2 && user=$3 && '
        'shift 3 && exec chroot --userspec="$user:$user" "$root" "$@"'
    )

    def __init__(self, release: str, work: Path) -> None:
        lower = CACHE / "roots" / release
        if not lower.exists():
            _bootstrap(release, lower)
        self.changes, self.root = work / "changes", work / "root"
        for directory in (self.changes, self.root, work / "overlay"):
            directory.mkdir(mode=0o755)
        work.chmod(0o755)
        self.layers = f"lowerdir={lower},upperdir={self.changes},workdir={work}/overlay"

    def install(self, program: Path) -> None:
        """Put a program at /usr/local/bin/letsbe."""
        target = self.changes / "usr" / "local" / "bin" / "letsbe"
        target.parent.mkdir(parents=True)
        subprocess.run(["install", "--mode=755", program, target], check=True)

    def run(self, *argv: str, user: int = 0) -> subprocess.CompletedProcess[str]:
        """Run a command there."""
        arguments = ["sh", self.layers, str(self.root), str(user), *argv]
        env = {"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "HOME": "/nonexistent"}
        command = ["unshare", "--mount", "sh", "-c", self.SCRIPT, *arguments]
        return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)


@pytest.fixture
def bare_root(request: pytest.FixtureRequest, tmp_path: Path) -> BareRoot:
    """A minimal Debian of the release that the parameter names."""
    return BareRoot(request.param, tmp_path)


def _bootstrap(release: str, root: Path) -> None:
    wanted = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", "Component: main"]
    mirrors = subprocess.check_output(wanted, text=True).split()
    mirror = next(uri for uri in mirrors if uri.rstrip("/").endswith("/debian"))
    root.parent.mkdir(parents=True, exist_ok=True)
    partial = root.with_suffix(".partial")
    subprocess.run(["rm", "-rf", partial], check=True)
    source = f"deb [signed-by={KEYRING}] {mirror} {release} main"
    command: list[str | Path] = ["mmdebstrap", "--quiet", "--variant=minbase", release, partial, source]
    subprocess.run(command, check=True, capture_output=True)
    partial.rename(root)
