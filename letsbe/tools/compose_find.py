"""Finding the stacks that use an env file: beside it, above it, and elsewhere below its root."""

from __future__ import annotations

import os.path
from collections.abc import Iterator

from letsbe.tools.compose_load import FILE_NAMES, Tree, read_stack
from letsbe.tools.compose_stack import Stack

#: How far below the root stacks are looked for, and in how many directories at most.
MAX_DEPTH = 3
MAX_DIRECTORIES = 300


def stacks_using(path: str, root: str, tree: Tree) -> list[Stack]:
    """The stacks with a part for an env file, the nearest first.

    A stack in the file's directory or above it is read as a whole; one elsewhere below ``root`` only when one of its
    files names the env file, or its ``.env`` is a symlink to it.
    """
    own = tree.canonical(path)
    near = list(dict.fromkeys([*_upwards(os.path.dirname(path), root), *_upwards(os.path.dirname(own), root)]))
    found: list[Stack] = []
    for directory in near:
        _add(found, read_stack(directory, tree), own)
    for directory, files in _downwards(root, tree):
        if directory not in near and _may_use(directory, files, own, tree):
            _add(found, read_stack(directory, tree), own)
    return found


def stacks_below(root: str, tree: Tree) -> list[Stack]:
    """The stacks in the directories below a root, the nearest first, as far as they are looked for."""
    with_files = (directory for directory, files in _downwards(root, tree) if any(n in files for n in FILE_NAMES))
    return [stack for directory in with_files if (stack := read_stack(directory, tree)) is not None]


def _add(found: list[Stack], stack: Stack | None, path: str) -> None:
    if stack is not None and stack.uses(path):
        found.append(stack)


def _upwards(directory: str, root: str) -> Iterator[str]:
    while directory == root or directory.startswith(f"{root.rstrip('/')}/"):
        yield directory
        if directory == root:
            return
        directory = os.path.dirname(directory)


def _downwards(root: str, tree: Tree) -> Iterator[tuple[str, list[str]]]:
    """Directories below the root, the nearest first, with the names of their files. Hidden ones are passed over."""
    level = [root]
    seen = 0
    for _ in range(MAX_DEPTH):
        below: list[str] = []
        for directory in level:
            if seen == MAX_DIRECTORIES:
                return
            seen += 1
            files, directories = tree.names(directory)
            yield directory, files
            below += [os.path.join(directory, name) for name in directories if not name.startswith(".")]
        level = below


def _may_use(directory: str, files: list[str], path: str, tree: Tree) -> bool:
    if not any(name in files for name in FILE_NAMES):
        return False
    if ".env" in files and tree.canonical(os.path.join(directory, ".env")) == path:
        return True
    name = os.path.basename(path).encode()
    texts = (tree.read(os.path.join(directory, file)) for file in files if file.endswith((".yml", ".yaml")))
    return any(name in text for text in texts if text is not None)
