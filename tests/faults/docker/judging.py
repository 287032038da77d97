"""Asking letsbe and a plain command about a case, and holding them to what stands there."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import msgspec
import pytest

from letsbe.agent.caller import this_caller
from letsbe.agent.outcomes import Request
from letsbe.agent.runner import Runner
from letsbe.protocol import Outcome
from tests.agents import program
from tests.bad_engines import BadEngine
from tests.faults.docker.case import Case, Has, Json, Peer, Row, Says, filled
from tests.faults.docker.scene import Scene

#: What may take how long, in seconds: limits for broken machines, never waited for.
FOLLOWED_S = 60
ANSWERED_S = 120
#: Of one text in the printed table, in characters, and of one list.
MOST_SHOWN = 60
MOST_LISTED = 4


def judge(scene: Scene, case: Case) -> Row:
    """The row of a case; asserts that both say what stands there, and that nothing else is touched."""
    names = scene.names(case.name)
    with ExitStack() as stack:
        engine = stack.enter_context(case.engine(scene.agent.base)) if case.engine else None
        if case.peer.first:
            _ask_peer(scene, case.peer, names, engine)
        before = scene.machine(case.name)
        outcomes = _ask_all(scene, case, names, engine)
        told = [_told(says, outcome, names) for says, outcome in zip(case.says, outcomes, strict=True)]
        after = scene.machine(case.name)
        for kind in before.keys() - case.touches:
            assert after[kind] == before[kind], kind
        for outcome in outcomes:
            _require_no_secrets(scene, outcome)
        if case.left is not None:
            case.left(scene, case.name)
        if not case.peer.first:
            _ask_peer(scene, case.peer, names, engine)
    return _row(case, told)


def _ask_all(scene: Scene, case: Case, names: Json, engine: BadEngine | None) -> list[Outcome]:
    """In this process unless other cases are judged beside; with an engine that hangs, all at once."""
    if engine is not None and engine.apart:
        with ThreadPoolExecutor(len(case.says)) as pool:
            return list(pool.map(lambda says: _ask_program(scene, says, names, engine), case.says))
    if case.alone:
        return [_ask_program(scene, says, names, BadEngine()) for says in case.says]
    with pytest.MonkeyPatch.context() as patched:
        for name, value in (engine.environment if engine else {}).items():
            patched.setenv(name, value)
        return [_ask(scene, says, names) for says in case.says]


def _ask(scene: Scene, says: Says, names: Json) -> Outcome:
    payload = filled(says.payload, names)
    if says.during is not None:
        return _follow(scene, says, payload, names["service"])
    return scene.agent.run(says.task, payload, timeout_s=says.timeout_s, diff=True)


def _ask_program(scene: Scene, says: Says, names: Json, engine: BadEngine) -> Outcome:
    """As a process of its own, which runs beside others."""
    limit = [] if says.timeout_s is None else ["--timeout", str(says.timeout_s)]
    done = subprocess.run(
        [*engine.prefix, *program(), says.task.lower().replace("_", "-"), "-", "--diff", *limit],
        input=json.dumps(filled(says.payload, names)).encode(),
        env=scene.agent.environment(engine.environment),
        capture_output=True,
        timeout=ANSWERED_S,
        check=False,
    )
    assert done.stdout, done.stderr.decode()
    outcome = msgspec.json.decode(done.stdout, type=Outcome)
    assert (done.returncode == 0) is outcome.success
    return outcome


def _follow(scene: Scene, says: Says, payload: Json, service: str) -> Outcome:
    """Show what comes until all that is expected has come, as Ctrl-C ends it; ``data.lines`` is what was shown."""
    lines: list[Any] = []
    runner = Runner(scene.agent.config, origin="local", caller=this_caller())
    happens = threading.Thread(target=says.during, args=(scene, service))

    def show(line: Any) -> None:
        lines.append(msgspec.to_builtins(line))
        if len(lines) == 1:
            happens.start()
        if len(lines) == len(says.expected):
            raise KeyboardInterrupt

    runner.on_live = show
    outcome = runner.run(Request(type=says.task, payload=payload, timeout_s=FOLLOWED_S))
    happens.join()
    return msgspec.structs.replace(outcome, data={**outcome.data, "lines": lines})


def _ask_peer(scene: Scene, peer: Peer, names: Json, engine: BadEngine | None) -> None:
    done = subprocess.run(
        [*(engine.prefix if engine else ()), *(filled(word, names) for word in shlex.split(peer.command))],
        cwd=scene.stack.directory,
        env={**os.environ, "COMPOSE_ANSI": "never", **(engine.environment if engine else {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=ANSWERED_S,
        check=False,
    )
    assert done.stdout.decode(errors="replace") == Has(peer.says)
    assert peer.ends_with(done.returncode), done.returncode


def _told(says: Says, outcome: Outcome, names: Json) -> str:
    code = outcome.error.code if outcome.error else None
    assert (outcome.status, code, outcome.changed) == (says.status, says.code, says.changed), outcome
    assert outcome.error is None or outcome.error.hint
    found = says.part(outcome, names)
    assert found == filled(says.expected, names)
    if code and isinstance(found, str):  # the error's own message
        return code
    return f"{code} {shown(found)}" if code else shown(found)


def _row(case: Case, told: list[str]) -> Row:
    """The row for the printed table; tasks that say the same share the words."""
    alike: dict[str, list[str]] = {}
    for says, words in zip(case.says, told, strict=True):
        alike.setdefault(words, []).append(says.task)
    letsbe = "; ".join(f"{', '.join(tasks)}: {words}" for words, tasks in alike.items())
    rc = f" (exit code {case.peer.rc})" if case.peer.rc else ""
    peer = case.peer.shown or re.sub(r"\\(.)|[\^$]", r"\1", case.peer.says)
    return Row(case.name, letsbe, f"{case.peer.command}: {peer}{rc}")


def _require_no_secrets(scene: Scene, outcome: Outcome) -> None:
    """Not in the outcome, nor in the agent's journal and log."""
    places = {"outcome": msgspec.json.encode(outcome)}
    for path in [*scene.agent.state_dir.glob("state.db*"), scene.agent.log_file]:
        if path.exists():
            places[path.name] = path.read_bytes()
    for kind, secret in scene.secrets.items():
        assert not [place for place, text in places.items() if secret.encode() in text], (outcome.type, kind)


def shown(found: Any) -> str:
    """A part of an outcome in a few words."""
    if isinstance(found, dict):
        return " ".join(f"{key}={shown(value)}" for key, value in found.items())
    if isinstance(found, list):
        few = found if len(found) <= MOST_LISTED else [*found[:2], f"... {len(found)} in all"]
        return ", ".join(map(shown, few)) or "nothing"
    if isinstance(found, tuple):
        return " ".join(map(shown, found))
    text = repr(found).strip("'")
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}…"
