"""The main job in a real browser, with the keyboard alone: log in, give a task, read its outcome, log out."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Error, Page, sync_playwright

from tests.agents import Agent
from tests.orchestrator_fixture import Orchestrator
from tests.test_agent.conftest import connect
from tests.test_orchestrator.fake_agent import outcome, registered
from tests.test_orchestrator.visitor import PASSWORD

QUIET = [
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-quic",
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One Chromium for all of it."""
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=QUIET)
        yield started
        started.close()


@pytest.fixture(scope="module")
def host(paged: Orchestrator, tmp_path_factory: pytest.TempPathFactory) -> Agent:
    """A real agent that has registered."""
    agent = Agent(tmp_path_factory.mktemp("host"))
    connect(agent, paged)
    assert agent.cli("poll").returncode == 0
    return agent


class Complaints(list[str]):
    """What a browser complained of, and what it asked for elsewhere, while a page was looked at."""

    def listen(self, page: Page, url: str) -> None:
        page.on("console", lambda message: self._note(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: self._note(f"error: {error}"))
        page.on("requestfailed", lambda request: self._note(f"failed: {request.url} {request.failure}"))
        page.on("request", lambda request: request.url.startswith(url + "/") or self.append(f"sent: {request.url}"))

    def _note(self, text: str) -> None:
        # A network interface of another test came or went: Chromium gives up what it was just loading.
        if "ERR_NETWORK_CHANGED" not in text:
            self.append(text)


def arrive(page: Page) -> None:
    """Wait for the page that was asked for, and ask again when the network changed meanwhile."""
    for _ in range(20):
        page.wait_for_timeout(150)
        page.wait_for_load_state()
        if not page.url.startswith("chrome-error:"):
            return
        page.reload()


def go(page: Page, url: str) -> None:
    """Open an address."""
    with suppress(Error):
        page.goto(url)
    arrive(page)


def enter(page: Page) -> None:
    """Press Enter, on what leads somewhere."""
    page.keyboard.press("Enter")
    arrive(page)


def opened(browser: Browser, paged: Orchestrator, complaints: Complaints, **context: object) -> Page:
    """A page of a fresh profile, on the orchestrator's first page."""
    page = browser.new_context(ignore_https_errors=True, java_script_enabled=False, **context).new_page()  # type: ignore[arg-type]
    complaints.listen(page, paged.url)
    go(page, paged.url)
    return page


def tab_to(page: Page, name: str) -> None:
    """Press Tab until what has the focus is called ``name``; fail when a round has not met it."""
    target = page.locator("a, button, input, select, textarea, summary").and_(page.get_by_text(name, exact=True))
    labelled = page.get_by_label(name, exact=True)
    for _ in range(80):
        page.keyboard.press("Tab")
        focused = page.locator(":focus")
        if focused.count() and (focused.and_(target).count() or focused.and_(labelled).count()):
            assert focused.evaluate("element => getComputedStyle(element).outlineStyle") == "solid"
            return
    raise AssertionError(f"no way to {name!r} by Tab")


def log_in(page: Page) -> None:
    page.keyboard.type(PASSWORD)  # the field has the focus already
    enter(page)
    page.wait_for_selector("h1:has-text('Agents')")


def test_the_main_job_with_the_keyboard_alone(browser: Browser, paged: Orchestrator, host: Agent) -> None:
    complaints = Complaints()
    page = opened(browser, paged, complaints)
    log_in(page)
    page.keyboard.press("Tab")
    assert page.locator(":focus").inner_text() == "To the content"
    enter(page)
    tab_to(page, paged.agents()[0].hostname)
    enter(page)
    tab_to(page, "New task")
    tab_to(page, "New task")
    enter(page)
    tab_to(page, "Task type")
    page.keyboard.type("ECHO")
    enter(page)
    if page.locator("h1").inner_text() == "New task":
        tab_to(page, "Go on")
        enter(page)
    tab_to(page, "message")
    page.keyboard.type("by keyboard")
    tab_to(page, "Timeout")
    page.keyboard.press("Control+a")
    page.keyboard.type("soon")
    enter(page)
    assert "Nothing was submitted" in page.get_by_role("alert").inner_text()
    tab_to(page, "Timeout")
    assert page.get_by_label("message", exact=True).input_value() == "by keyboard"
    page.keyboard.press("Control+a")
    page.keyboard.type("1m")
    tab_to(page, "Sign and submit")
    enter(page)
    page.wait_for_selector("text=Signed and queued")
    assert host.cli("poll").returncode == 0
    page.wait_for_selector("text=succeeded", timeout=20_000)  # the page loads itself anew
    assert "by keyboard" in page.locator("main").inner_text()
    tab_to(page, "Log out")
    enter(page)
    page.wait_for_selector("h1:has-text('Log in')")
    go(page, f"{paged.url}/tasks")
    assert page.locator("h1").inner_text() == "Log in"
    assert [complaint for complaint in complaints if "400" not in complaint] == []
    page.context.close()


def test_nothing_sticks_out_on_a_phone_in_the_dark(browser: Browser, paged: Orchestrator, host: Agent) -> None:
    complaints = Complaints()
    views = {
        "light": {"width": 1280, "height": 900},
        "dark": {"width": 1280, "height": 900},
        "phone": {"width": 360, "height": 740},
    }
    paths = pages_to_look_at(paged, host)
    for name, size in views.items():
        page = opened(browser, paged, complaints, viewport=size, color_scheme="light" if name == "light" else "dark")
        photograph(page, name, "login")
        log_in(page)
        for title, path in paths.items():
            go(page, paged.url + path)
            photograph(page, name, title)
            assert page.evaluate("document.documentElement.scrollWidth") <= size["width"], (name, title)
        page.context.close()
    assert complaints == []


def pages_to_look_at(paged: Orchestrator, host: Agent) -> dict[str, str]:
    """One page of each kind, with something on it."""
    busy = registered(paged, "a-host-with-a-long-name.berlin.example.com")
    task = paged.submit("FILE_WRITE", {"path": "/opt/letsbe/x"}, agent=busy.agent_id)
    diff = "--- /opt/letsbe/x\n+++ /opt/letsbe/x\n@@ -1,2 +1,2 @@\n one\n-two\n+zwei\n"
    steps = [{"id": f"step-{n}", "status": "succeeded", "duration_ms": n * 7, "changed": n % 2 == 0} for n in range(4)]
    data = {
        "path": "/opt/letsbe/x",
        "sha256": "ab" * 32,
        "diff": diff,
        "steps": steps,
        "log": "a line\n" * 40,
        "n": {"a": {"b": [1, 2]}},
    }
    error = {"code": "write_failed", "message": "/opt/letsbe/x: no space left on device", "hint": "Free some space."}
    told = outcome(
        task, type="FILE_WRITE", status="failed", success=False, error=error, warnings=["kept 3 of 4"], data=data
    )
    busy.result(*busy.take(), told)
    waiting = paged.submit("ECHO", agent=busy.agent_id)
    busy.poll(max_tasks=0, hold={"reason": "disk swap", "until": "2026-12-01T10:00:00Z"}, outbox_depth=3)
    return {
        "agents": "/",
        "agent": f"/agents/{busy.agent_id}",
        "tasks": "/tasks",
        "failed": f"/tasks/{task}",
        "waiting": f"/tasks/{waiting}?payload=true",
        "cancel": f"/tasks/{waiting}/cancel",
        "choose": "/submit",
        "shell": f"/submit/{busy.agent_id}/SHELL",
        "inspect": f"/submit/{busy.agent_id}/FILE_INSPECT",
        "discover": f"/submit/{busy.agent_id}/SERVICE_DISCOVER",
    }


def photograph(page: Page, view: str, title: str) -> None:
    """Keep a picture to look at where ``LETSBE_PICTURES`` names a directory."""
    if directory := os.environ.get("LETSBE_PICTURES"):
        page.screenshot(path=str(Path(directory) / f"{view}-{title}.png"), full_page=True)
