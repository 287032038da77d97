"""The tables as version 1 made them, with an agent that has polled and a task that it has finished."""

from __future__ import annotations

import json

from sqlalchemy import Connection, text

from letsbe.orchestrator.auth import token_hash
from tests.test_orchestrator.fake_agent import outcome

AGENT = "019ab000-0000-7000-8000-0000000000aa"
TASK = "019ab000-0000-7000-8000-000000000001"
TOKEN = "lba_of_version_1"

#: Where the two databases differ.
WORDS = {
    "sqlite": {"double": "DOUBLE", "serial": "INTEGER", "bytes": "BLOB"},
    "postgresql": {"double": "DOUBLE PRECISION", "serial": "BIGSERIAL", "bytes": "BYTEA"},
}

TABLES = """
CREATE TABLE agents (
    agent_id VARCHAR(36) NOT NULL,
    fingerprint VARCHAR(64) NOT NULL,
    public_key VARCHAR(64) NOT NULL,
    hostname VARCHAR(255) NOT NULL,
    version VARCHAR(64) NOT NULL,
    executors JSON NOT NULL,
    labels JSON NOT NULL,
    registered_at {double} NOT NULL,
    last_seen_at {double},
    capabilities_digest VARCHAR(64) NOT NULL,
    inventory_digest VARCHAR(64) NOT NULL,
    outbox_depth INTEGER NOT NULL,
    hold JSON,
    CONSTRAINT pk_agents PRIMARY KEY (agent_id)
);
CREATE INDEX ix_agents_hostname ON agents (hostname);
CREATE TABLE enrolments (
    token_hash VARCHAR(64) NOT NULL,
    created_at {double} NOT NULL,
    expires_at {double} NOT NULL,
    labels JSON NOT NULL,
    used_at {double},
    used_by VARCHAR(36),
    CONSTRAINT pk_enrolments PRIMARY KEY (token_hash)
);
CREATE TABLE schema_info (
    version INTEGER NOT NULL,
    CONSTRAINT pk_schema_info PRIMARY KEY (version)
);
CREATE TABLE agent_tokens (
    token_hash VARCHAR(64) NOT NULL,
    agent_id VARCHAR(36) NOT NULL,
    enrolment_hash VARCHAR(64) NOT NULL,
    issued_at {double} NOT NULL,
    confirmed_at {double},
    CONSTRAINT pk_agent_tokens PRIMARY KEY (token_hash),
    CONSTRAINT fk_agent_tokens_agent_id FOREIGN KEY(agent_id) REFERENCES agents (agent_id) ON DELETE CASCADE
);
CREATE INDEX ix_agent_tokens_enrolment_hash ON agent_tokens (enrolment_hash);
CREATE INDEX ix_agent_tokens_agent_id ON agent_tokens (agent_id);
CREATE TABLE tasks (
    seq {serial} NOT NULL,
    task_id VARCHAR(36) NOT NULL,
    agent_id VARCHAR(36) NOT NULL,
    type VARCHAR(64) NOT NULL,
    state VARCHAR(16) NOT NULL,
    check_only BOOLEAN NOT NULL,
    created_at {double} NOT NULL,
    not_before {double} NOT NULL,
    expires_at {double} NOT NULL,
    timeout_s INTEGER NOT NULL,
    requested_by VARCHAR(200) NOT NULL,
    attempt_id VARCHAR(36),
    lease_until {double},
    cancel_requested_at {double},
    finished_at {double},
    status VARCHAR(16),
    progress JSON,
    envelope_bytes INTEGER NOT NULL,
    envelope TEXT NOT NULL,
    CONSTRAINT pk_tasks PRIMARY KEY (seq),
    CONSTRAINT uq_tasks_task_id UNIQUE (task_id),
    CONSTRAINT fk_tasks_agent_id FOREIGN KEY(agent_id) REFERENCES agents (agent_id)
);
CREATE INDEX ix_tasks_state_agent_id_seq ON tasks (state, agent_id, seq);
CREATE TABLE results (
    task_id VARCHAR(36) NOT NULL,
    received_at {double} NOT NULL,
    body {bytes} NOT NULL,
    CONSTRAINT pk_results PRIMARY KEY (task_id),
    CONSTRAINT fk_results_task_id FOREIGN KEY(task_id) REFERENCES tasks (task_id) ON DELETE CASCADE
);
INSERT INTO schema_info VALUES (1)
"""

ROWS = (
    "INSERT INTO agents VALUES (:agent, 'f', 'k', 'web-1', '1.0.0', :executors, '{}', 0, 1, '', '', 0, NULL)",
    "INSERT INTO agent_tokens VALUES (:token, :agent, 'e', 0, 1)",
    "INSERT INTO tasks (task_id, agent_id, type, state, check_only, created_at, not_before, expires_at, timeout_s,"
    " requested_by, attempt_id, finished_at, status, envelope_bytes, envelope) VALUES (:task, :agent, 'ECHO',"
    " 'finished', false, 0, 0, 100, 60, 'alice', :task, 10, 'succeeded', 2, '{}')",
    "INSERT INTO results VALUES (:task, 10, :body)",
)


def make_version_1(connection: Connection) -> None:
    """Make it, in a database without tables."""
    for statement in TABLES.format(**WORDS[connection.dialect.name]).split(";"):
        connection.exec_driver_sql(statement)
    values = {
        "agent": AGENT,
        "task": TASK,
        "token": token_hash(TOKEN),
        "executors": '{"ECHO": 1}',
        "body": json.dumps(outcome(TASK)).encode(),
    }
    for row in ROWS:
        statement = text(row)
        connection.execute(statement, {name: values[name] for name in statement._bindparams})
