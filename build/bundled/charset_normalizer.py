"""Stands in for charset-normalizer in the built file.

requests imports it for text of servers that don't name its encoding. It takes 8 ms and ten libraries to do so, which an
idle poll every minute has no use for; what remains to guess today is UTF-8 or not.
"""

__version__ = "3.0.0"  # of the interface that requests wants


def detect(text: bytes) -> dict[str, str]:
    """The encoding that ``text`` is likely in."""
    try:
        text.decode()
    except UnicodeDecodeError:
        return {"encoding": "cp1252"}
    return {"encoding": "utf-8"}
