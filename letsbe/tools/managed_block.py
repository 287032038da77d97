"""A block that is managed inside a file that is otherwise somebody else's: between two marker comments."""

from __future__ import annotations

from letsbe.errors import LetsbeError

#: File name endings whose comments do not begin with ``#``: what stands before and after a marker.
_COMMENTS: dict[str, tuple[str, str]] = {
    **dict.fromkeys((".js", ".ts", ".go", ".c", ".h", ".java", ".php", ".jsonc", ".json5", ".scss"), ("// ", "")),
    **dict.fromkeys((".html", ".htm", ".xml", ".svg", ".md"), ("<!-- ", " -->")),
    **dict.fromkeys((".css",), ("/* ", " */")),
    **dict.fromkeys((".sql", ".lua"), ("-- ", "")),
    **dict.fromkeys((".vim",), ('" ', "")),
    **dict.fromkeys((".zone", ".asm"), ("; ", "")),
}


def markers(path: str, block_id: str) -> tuple[bytes, bytes]:
    """The lines that begin and end a block, in the comment style that the file's name tells (``#`` by default)."""
    name = path.rpartition("/")[2]
    opening, closing = _COMMENTS.get(name[name.rfind(".") :].lower() if "." in name else "", ("# ", ""))
    begin, end = (f"{opening}{word} letsbe {block_id}{closing}".encode() for word in ("BEGIN", "END"))
    return begin, end


def with_block(content: bytes, path: str, block_id: str, body: bytes) -> bytes:
    """The content with the block in it: in its place when it is there, else at the end.

    ``body`` gets a final newline if it has none; an empty one removes the block with its markers. Every other byte
    stays; the block's lines end as the file's first line does. Raises ``block_broken`` when the markers do not pair,
    and ``invalid_payload`` when the body holds one.
    """
    begin, end = markers(path, block_id)
    lines = _lines(content)
    if any(line.strip() in (begin, end) for line in body.splitlines()):
        raise LetsbeError(
            "invalid_payload",
            f"the content holds the marker of block {block_id} - at $.content",
            hint="Give only what is to stand between the markers.",
            details={"path": "$.content"},
        )
    starts = [number for number, line in enumerate(lines) if line.strip() == begin]
    stops = [number for number, line in enumerate(lines) if line.strip() == end]
    if (len(starts), len(stops)) not in ((0, 0), (1, 1)) or starts > stops:
        raise LetsbeError(
            "block_broken",
            f"{path}: markers of block {block_id} do not pair: begin in line {_named(starts)}, end in {_named(stops)}",
            hint=f"Mend the file by hand: one `{begin.decode()}` and after it one `{end.decode()}`.",
        )
    line_end = b"\r\n" if lines and lines[0].endswith(b"\r\n") else b"\n"
    block = b"".join(line + line_end for line in (begin, *_body_lines(body), end)) if body else b""
    if starts:
        return b"".join([*lines[: starts[0]], block, *lines[stops[0] + 1 :]])
    if content and block and not content.endswith(b"\n"):
        content += line_end
    return content + block


def _lines(content: bytes) -> list[bytes]:
    """Only a newline ends a line: a lone carriage return is content."""
    *whole, last = content.split(b"\n")
    return [line + b"\n" for line in whole] + ([last] if last else [])


def _body_lines(body: bytes) -> list[bytes]:
    return [line.removesuffix(b"\r") for line in body.removesuffix(b"\n").split(b"\n")]


def _named(numbers: list[int]) -> str:
    return ", ".join(str(number + 1) for number in numbers) or "none"
