"""letsbe-orchestrator: the reference orchestrator. Never part of the agent's file."""
