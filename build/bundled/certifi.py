"""Stands in for certifi in the built file: the system's store is the one that an administrator keeps up to date."""


def where() -> str:
    """The path of the system's bundle of certificates."""
    return "/etc/ssl/certs/ca-certificates.crt"


def contents() -> str:
    """The bundle's text."""
    with open(where(), encoding="ascii") as file:
        return file.read()
