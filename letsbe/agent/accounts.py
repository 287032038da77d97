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
    programs = Processes()
    if useradd := programs.which("useradd"):
        where = ["--prefix", machine.prefix] if machine.prefix else []
        flags = ["--system", "--user-group", "--no-create-home", "--home-dir", STATE_DIR]
        return [useradd, *where, *flags, "--shell", "/usr/sbin/nologin", USER]
    _refuse_prefix(machine, "useradd")
    if adduser := programs.which("adduser"):
        return [adduser, "-S", "-D", "-H", "-h", STATE_DIR, "-s", "/sbin/nologin", USER]  # busybox's
    raise LetsbeError("user_missing", f"neither useradd nor adduser is there to make the user {USER}", hint=_BY_HAND)


def _membership(machine: Convergence) -> list[str]:
    programs = Processes()
    if usermod := programs.which("usermod"):
        where = ["--prefix", machine.prefix] if machine.prefix else []
        return [usermod, *where, "--append", "--groups", DOCKER_GROUP, USER]
    _refuse_prefix(machine, "usermod")
    if addgroup := programs.which("addgroup"):
        return [addgroup, USER, DOCKER_GROUP]  # busybox's
    raise LetsbeError("user_missing", f"no usermod to put {USER} into the group {DOCKER_GROUP}", hint=_BY_HAND)


_BY_HAND = f"Make the user {USER} by hand, or install with --user root."


def _refuse_prefix(machine: Convergence, program: str) -> None:
    if machine.prefix:
        raise LetsbeError("user_missing", f"no {program} to make {USER} below {machine.prefix}", hint=_BY_HAND)


def _fields(machine: Convergence, database: str, name: str) -> list[str]:
    """The entry of ``name`` in /etc/passwd or /etc/group; empty when it has none."""
    lines = (machine.read(database) or b"").decode("utf-8", "replace").splitlines()
    return next((line.split(":") for line in lines if line.startswith(f"{name}:")), [])
