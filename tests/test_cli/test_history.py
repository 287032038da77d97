"""What `letsbe history` shows a person."""

from __future__ import annotations

from tests.agents import Agent


def test_the_list_fits_a_narrow_terminal_with_ids_that_can_be_used(agent: Agent) -> None:
    for number in range(3):
        agent.run("FILE_WRITE", {"path": f"{agent.root}/{number}", "content": "x"})
    shown = agent.cli("history", "--output", "text", env={"COLUMNS": "80"}).stdout.decode()
    header, *rows = shown.splitlines()
    assert header.split() == ["when", "type", "status", "changed", "id", "who"]
    assert len(rows) == 3
    for row in rows:
        _, _, task_type, status, changed, run_id, *who = row.split()
        assert (task_type, status, changed, who[0]) == ("FILE_WRITE", "succeeded", "yes", "local")
        assert agent.json("undo", run_id)["success"]
