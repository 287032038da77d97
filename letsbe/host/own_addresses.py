"""The addresses of this machine, in this process's network namespace."""

from __future__ import annotations

from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_address

Address = IPv4Address | IPv6Address


def own_addresses() -> set[Address]:
    """All of them, from the kernel's ``/proc/net/fib_trie`` and ``/proc/net/if_inet6``."""
    found: set[Address] = set()
    with suppress(OSError), open("/proc/net/fib_trie", encoding="ascii") as table:
        found |= local_in(table.read())
    with suppress(OSError), open("/proc/net/if_inet6", encoding="ascii") as table:
        found |= {ip_address(bytes.fromhex(line.split()[0])) for line in table if line.strip()}
    return found


def local_in(fib_trie: str) -> set[Address]:
    """The addresses in a dump of the routing tree whose whole address is the machine's own."""
    found: set[Address] = set()
    address = ""
    for line in fib_trie.splitlines():
        word = line.strip()
        if word.startswith("|-- "):
            address = word[4:]
        elif word == "/32 host LOCAL":
            found.add(ip_address(address))
    return found
