"""Forms of ``--output`` that some task types offer beside text and JSON."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from letsbe.protocol import Outcome

#: Task type -> name of a form -> module in this package with ``render(outcome)``, which gives the whole text.
FORMS = {"HEALTHCHECK": {"junit": "health_junit", "prometheus": "health_prometheus"}}


def further_forms(task_type: str) -> tuple[str, ...]:
    """The names of a task type's own forms."""
    return tuple(FORMS.get(task_type, ()))


def rendered(outcome: Outcome, form: str) -> str:
    """An outcome in one of its type's own forms; one that failed with nothing to tell as well."""
    text: str = import_module(f"letsbe.cli.{FORMS[outcome.type][form]}").render(outcome)
    return text
