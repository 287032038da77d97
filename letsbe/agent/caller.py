"""Who asks for a run."""

from __future__ import annotations

import os

from msgspec import Struct

from letsbe.agent.config import Origin


class Caller(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the journal writes down about who asked.

    ``ssh_connection`` is sshd's: client address and port, server address and port. The gate adds ``ssh_user``, the
    account that was logged in to, ``ssh_key``, the fingerprint of the client's key, and as ``requested_by`` the name
    that a certificate gives its holder.
    """

    uid: int
    sudo_user: str | None = None
    ssh_connection: str | None = None
    ssh_user: str | None = None
    ssh_key: str | None = None
    requested_by: str | None = None

    @property
    def name(self) -> str:
        """Who it is in one line: the account behind sudo, the key and address of an SSH client, the user's number."""
        over_ssh = " ".join(filter(None, (self.ssh_key, self.ssh_connection)))
        return self.sudo_user or self.requested_by or over_ssh or f"uid {self.uid}"


def this_caller(requested_by: str | None = None) -> Caller:
    """The person or program behind this process, as far as the environment tells."""
    return Caller(
        uid=os.getuid(),
        sudo_user=os.environ.get("SUDO_USER"),
        ssh_connection=os.environ.get("SSH_CONNECTION"),
        requested_by=requested_by,
    )


def this_origin() -> Origin:
    """``ssh`` when the process was started by sshd for a command without a terminal, else ``local``.

    A person's interactive login is local: what they may do is decided by the account that they have.
    """
    over_ssh = "SSH_CONNECTION" in os.environ and "SSH_TTY" not in os.environ
    return "ssh" if over_ssh else "local"
