"""The user that the agent runs as."""

from __future__ import annotations

from msgspec import Struct

from letsbe.agent.convergence import Convergence
from letsbe.agent.layout import STATE_DIR, USER
from letsbe.errors import LetsbeError
from letsbe.host.processes import Processes

#: Its members may talk to the Docker engine, which makes them as powerful as root.
DOCKER_GROUP = "docker"


class Account(Struct, frozen=True):
    """A user of the target machine."""

    name: str
    uid: int
    gid: int


def find(machine: Convergence, name: str) -> Account | None:
    """The user of a name: from the files below the prefix, or else from wherever the machine keeps its users."""
    if name == "root":
        return Account("root", 0, 0)
    if not machine.prefix:
        import pwd

        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            return None
        return Account(name, entry.pw_uid, entry.pw_gid)
    fields = _fields(machine, "/etc/passwd", name)
    return Account(name, int(fields[2]), int(fields[3])) if len(fields) > 3 else None


def ensure(machine: Convergence, name: str) -> Account | None:
    """The user to run as: root, or the ``letsbe`` user, in the docker group when there is one.

    None when check mode left it unmade.
    """
    if name not in ("root", USER):
        raise LetsbeError("usage", f"user {name!r} is neither root nor {USER}", hint="Choose one of the two.")
    account = find(machine, name)
    if name == "root":
        return account
    if account is None:
        machine.run(_creation(machine), f"system user {USER}", hint=_BY_HAND)
        account = find(machine, USER)
        if account is None and not machine.check:
            raise LetsbeError("user_missing", f"user {USER} was made but can't be found", hint="Look into /etc/passwd.")
    docker = _fields(machine, "/etc/group", DOCKER_GROUP)
    if docker and USER not in docker[-1].split(","):
        machine.run(_membership(machine), f"{USER} into the group {DOCKER_GROUP}", hint=_BY_HAND)
    return account


def _creation(machine: Convergence) -> list[str]:
    flags = ["--system", "--user-group", "--no-create-home", "--home-dir", STATE_DIR, "--shell", "/usr/sbin/nologin"]
    return [*_program(machine, "useradd"), *flags, USER]


def _membership(machine: Convergence) -> list[str]:
    return [*_program(machine, "usermod"), "--append", "--groups", DOCKER_GROUP, USER]


def _program(machine: Convergence, name: str) -> list[str]:
    """A program of Debian's passwd package, told on which machine to work."""
    program = Processes().which(name)
    if program is None:
        raise LetsbeError("user_missing", f"there is no {name} to set up the user {USER}", hint=_BY_HAND)
    return [program, "--prefix", machine.prefix] if machine.prefix else [program]


_BY_HAND = f"Install the passwd package or make the user {USER} by hand, or install with --user root."


def _fields(machine: Convergence, database: str, name: str) -> list[str]:
    """The entry of ``name`` in /etc/passwd or /etc/group; empty when it has none."""
    lines = (machine.read(database) or b"").decode("utf-8", "replace").splitlines()
    return next((line.split(":") for line in lines if line.startswith(f"{name}:")), [])
