"""What users read says what the code does."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

from letsbe.cli.main import COMMANDS, command_name
from letsbe.executors import EXECUTOR_REGISTRY

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = runpy.run_path(str(ROOT / "build" / "reference.py"))


def test_reference_pages_are_what_the_code_says() -> None:
    wanted: dict[Path, str] = REFERENCE["pages"]()
    stale = [
        str(path.relative_to(ROOT)) for path, text in wanted.items() if not path.exists() or path.read_text() != text
    ]
    assert not stale, "run `make docs`"
    extra = [path for path in (ROOT / "docs" / "reference").rglob("*.md") if path not in wanted]
    assert not extra


@pytest.mark.parametrize(
    "page", sorted(ROOT.glob("*.md")) + sorted(ROOT.glob("docs/**/*.md")), ids=lambda path: path.name
)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_readme_names_only_commands_that_exist() -> None:
    known = {*COMMANDS, *map(command_name, EXECUTOR_REGISTRY)}
    text = (ROOT / "README.md").read_text()
    for command in re.findall(r"`letsbe ([a-z][a-z-]+)", text):
        assert command in known, command
