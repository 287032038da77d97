from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from letsbe.errors import LetsbeError, Terminated
from letsbe.host import descendants, process_table
from letsbe.host.descendants import kill_marked
from letsbe.host.process_table import MARK
from letsbe.host.processes import Completed, Processes
from letsbe.host.spawning import clean_environment

SH = "/bin/sh"


def sh(script: str, **options: object) -> Completed:
    settings: dict[str, object] = {"changes": False, "timeout_s": 20.0, **options}
    return Processes().run([SH, "-c", script], **settings)  # type: ignore[arg-type]


def alive(text: str) -> list[int]:
    """The processes with this text in their command line."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                words = (entry / "cmdline").read_bytes()
                state = (entry / "stat").read_text().rpartition(") ")[2][0]
            except OSError:
                continue
            if text.encode() in words and state != "Z":
                found.append(int(entry.name))
    return found


def zombies() -> set[str]:
    """The children of this process that have ended and wait to be asked how."""
    children = " ".join(path.read_text() for path in Path("/proc/self/task").glob("*/children")).split()
    return {pid for pid in children if Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] == "Z"}


@pytest.fixture
def nap() -> Iterator[str]:
    """A number of seconds that no other test sleeps; nothing that sleeps it is left at the end."""
    number = f"{os.getpid()}{time.monotonic_ns() % 1_000_000:06}"
    yield number
    for pid in alive(number):
        os.kill(pid, signal.SIGKILL)


#: Ways of a grandchild to get away from whoever started it; each runs the sleep that it is given.
ESCAPES = {
    "in the background": "sleep {nap} &",
    "ignoring signals": "(trap '' TERM HUP INT QUIT; sleep {nap}) &",
    "in a session of its own": "setsid sleep {nap} &",
    "ignoring signals in a session of its own": "(trap '' TERM; setsid sleep {nap}) &",
    "forked twice": "(setsid sleep {nap} &)",
    "forked twice, streams closed": "(setsid sleep {nap} </dev/null >/dev/null 2>&1 &)",
    "forked twice, environment cleared": "(env -i setsid sleep {nap} </dev/null >/dev/null 2>&1 &)",
    "forked twice, environment cleared, with a child": "(env -i setsid sh -c 'sleep {nap} & wait' >/dev/null 2>&1 &)",
    "forked three times": "(setsid sh -c '(env -i setsid sleep {nap} &) ; sleep 0.2' >/dev/null 2>&1 &)",
    "stopped": "(setsid sh -c 'kill -STOP $$; sleep {nap}' >/dev/null 2>&1 &)",
}


@pytest.mark.parametrize("escape", ESCAPES.values(), ids=ESCAPES.keys())
def test_nothing_outlives_the_deadline(escape: str, nap: str) -> None:
    done = sh(f"{escape.format(nap=nap)}\n echo begun; trap '' TERM; sleep {nap}", timeout_s=0.6, kill_grace_s=0.3)
    assert done.timed_out
    assert (done.rc, done.signal) == (None, "SIGKILL")
    assert done.stdout == b"begun\n"
    assert done.duration_ms < 4_000
    assert alive(nap) == []
    assert done.not_killed == []


@pytest.mark.parametrize("escape", ESCAPES.values(), ids=ESCAPES.keys())
def test_nothing_outlives_a_program_that_ends_by_itself(escape: str, nap: str) -> None:
    done = sh(f"{escape.format(nap=nap)}\n echo done; sleep 0.4")
    assert (done.rc, done.stdout, done.timed_out) == (0, b"done\n", False)
    assert done.left_behind >= 1
    assert alive(nap) == []
    assert done.duration_ms < 5_000


#: A program that goes on from process to process, each the orphan of the one before.
HOP = "import os, time\nwhile True:\n  if os.fork(): os._exit(0)\n  os.setsid(); time.sleep(0.002)  # {nap}"


def test_process_that_forks_faster_than_it_is_looked_for_is_caught(nap: str) -> None:
    argv = [sys.executable, "-c", HOP.format(nap=nap)]
    done = Processes().run(argv, changes=False, timeout_s=10.0)
    assert done.rc == 0
    assert done.left_behind >= 1
    time.sleep(0.3)
    assert alive(nap) == []


def test_process_that_no_look_at_all_processes_meets_is_caught(nap: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(descendants.Descendants, "alive", lambda self: set())
    argv = [sys.executable, "-c", HOP.format(nap=nap)]
    done = Processes().run(argv, changes=False, timeout_s=10.0)
    assert (done.rc, done.not_killed) == (0, [])
    time.sleep(0.3)
    assert alive(nap) == []


def test_children_of_a_thread_that_ends_meanwhile_are_not_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, over = threading.Event(), threading.Event()
    children: list[subprocess.Popen[bytes]] = []

    def start_one() -> None:
        children.append(subprocess.Popen(["/bin/sleep", "60"]))
        begun.set()
        over.wait()

    thread = threading.Thread(target=start_one)
    thread.start()
    begun.wait()
    ending = str(thread.native_id)
    asked = process_table._children_of_thread

    def ends_when_asked(name: str) -> list[int]:
        if name == ending:
            over.set()
            while os.path.exists(f"/proc/self/task/{ending}"):
                time.sleep(0.001)
        return asked(name)

    monkeypatch.setattr(process_table, "_children_of_thread", ends_when_asked)
    try:
        assert children[0].pid in process_table.own_children()
    finally:
        children[0].kill()
        children[0].wait()


def test_programs_that_run_at_once_leave_each_other_alone(nap: str, tmp_path: Path) -> None:
    processes = Processes()
    ends: dict[str, Completed] = {}

    def run(name: str, script: str) -> None:
        ends[name] = processes.run([SH, "-c", script], changes=False, timeout_s=20.0)

    over = tmp_path / "over"
    script = f"(env -i setsid sleep 0.5 &) ; until [ -e {over} ]; do sleep 0.1; done; sleep 1; echo slow"
    slow = threading.Thread(target=run, args=("slow", script))
    slow.start()
    for number in range(5):
        run(str(number), f"setsid sleep {nap} & echo {number}")
    over.touch()
    slow.join()
    assert ends["slow"].stdout == b"slow\n"
    assert [ends[str(number)].left_behind for number in range(5)] == [1] * 5
    assert alive(nap) == []


def test_processes_of_the_agent_itself_are_left_alone(nap: str) -> None:
    others = [subprocess.Popen(["/bin/sleep", nap], start_new_session=alone, env={}) for alone in (True, False)]
    done = sh("(env -i setsid sleep 30 >/dev/null 2>&1 &) ; echo done")
    assert done.left_behind == 1
    assert [other.poll() for other in others] == [None, None]
    for other in others:
        other.kill()
        other.wait()


#: Prints its session and whether its child still runs, when a program could not be started.
STARTS_NOTHING = """
import os, subprocess
from letsbe.errors import LetsbeError
from letsbe.host.processes import Processes
other = subprocess.Popen(["/bin/sleep", "60"])
try:
    Processes().run(["/nonexistent"], changes=False, timeout_s=5.0)
except LetsbeError as error:
    print(error.code, os.getsid(0), other.poll())
other.kill()
"""


def test_where_the_agent_s_session_has_no_number_its_other_processes_are_left_alone() -> None:
    """Its leader is outside of the agent's PID namespace, or the kernel itself: then it is 0."""
    command = ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c", STARTS_NOTHING]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["program_missing", "0", "None"]


def test_zombies_of_orphans_are_reaped() -> None:
    before = zombies()
    sh("for n in 1 2 3; do (setsid sleep 0.1 >/dev/null 2>&1 &); done; sleep 0.01")
    assert zombies() <= before


def test_orphans_that_end_meanwhile_are_reaped_meanwhile() -> None:
    count = "n=0; for s in /proc/$PPID/task/*/children; do n=$((n + $(wc -w < $s))); done; echo $n"
    before, after = sh(
        f"for n in 1 2 3 4 5 6 7 8 9; do (setsid true &); done; sleep 0.5; {count}; sleep 1.5; {count}"
    ).stdout.split()
    assert int(before) >= int(after) + 9


def test_sigterm_comes_before_sigkill() -> None:
    began = time.monotonic()
    done = sh("trap 'echo cleaned up; exit 7' TERM; sleep 30 & wait", timeout_s=0.5)
    assert (done.timed_out, done.rc, done.stdout) == (True, 7, b"cleaned up\n")
    assert time.monotonic() - began < 3


def test_child_of_a_shell_that_ends_early_keeps_its_grace() -> None:
    inner = "trap 'sleep 0.7; echo cleaned up; exit' TERM; sleep 30 & wait"
    done = sh(f'sh -c "{inner}" & trap "exit 0" TERM; wait', timeout_s=0.5)
    assert done.timed_out
    assert done.stdout == b"cleaned up\n"


def test_cancel_is_asked_for(nap: str) -> None:
    since = time.monotonic()
    done = sh(f"echo begun; setsid sleep {nap}", cancelled=lambda: time.monotonic() - since > 0.5)
    assert (done.cancelled, done.timed_out, done.stdout) == (True, False, b"begun\n")
    assert alive(nap) == []


@pytest.mark.parametrize("exception", [KeyboardInterrupt, Terminated, LetsbeError("x", "y")])
def test_exception_ends_everything(exception: BaseException, nap: str, tmp_path: Path) -> None:
    def interrupt(*_: object) -> None:
        raise exception

    last_words = f"trap 'echo last words; touch {tmp_path}/cleaned' TERM"
    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.5)
    try:
        with pytest.raises(BaseException) as caught:
            sh(f"(setsid sleep {nap} &); {last_words}; sleep {nap} & wait; sleep 3")
    finally:
        signal.signal(signal.SIGALRM, before)
    assert caught.type in (type(exception), exception)
    assert (tmp_path / "cleaned").exists()
    assert alive(nap) == []


def test_second_interrupt_does_not_wait_for_the_grace(nap: str) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.4, 0.4)
    began = time.monotonic()
    try:
        with pytest.raises(KeyboardInterrupt):
            sh(f"trap '' TERM; (setsid sleep {nap} &); sleep {nap}; sleep {nap}", kill_grace_s=30.0)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert time.monotonic() - began < 5
    assert alive(nap) == []


def test_what_a_killed_agent_left_is_found_by_its_mark_and_kin(nap: str) -> None:
    script = f"setsid sh -c 'env -i sleep {nap} & sleep {nap}' & sleep {nap}"
    code = f"from letsbe.host.processes import Processes; Processes(mark='run-{nap}').run([{SH!r}, '-c', {script!r}], "
    agent = subprocess.Popen([sys.executable, "-c", code + "changes=False, timeout_s=60.0)"])
    until = time.monotonic() + 10
    while len(alive(f"sleep\0{nap}")) < 3 and time.monotonic() < until:
        time.sleep(0.05)
    agent.kill()
    agent.wait()
    assert len(alive(f"sleep\0{nap}")) == 3
    assert kill_marked(f"other-{nap}") == 0
    assert kill_marked(f"run-{nap}") == 5
    assert alive(nap) == []


def test_endless_output_costs_bounded_memory() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    done = sh("echo first; head -c 1073741824 /dev/zero | tr '\\0' x; echo; echo last; echo problem >&2", timeout_s=60)
    assert done.rc == 0
    assert done.stdout.startswith(b"first\nxxxx")
    assert done.stdout.endswith(b"xxxx\nlast\n")
    assert b"\n[%d bytes cut]\n" % done.stdout_cut in done.stdout
    assert done.stdout_cut == (1 << 30) + len(b"first\n\nlast\n") - 65_536
    assert (done.stderr, done.stderr_cut) == (b"problem\n", 0)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 8 * 1024, "KiB"


def test_both_streams_are_kept_apart_and_counted() -> None:
    done = sh("seq 1 20000; seq 1 30000 >&2", output_bytes=2_000)
    sizes = [len("".join(f"{number}\n" for number in range(1, top + 1))) for top in (20_000, 30_000)]
    for text, cut, size in ((done.stdout, done.stdout_cut, sizes[0]), (done.stderr, done.stderr_cut, sizes[1])):
        marker = b"[%d bytes cut]\n" % cut
        assert len(text) - len(marker) + cut == size
        assert len(text) - len(marker) <= 2_000
        numbers = [int(line) for line in text.replace(marker, b"").split()]
        assert numbers[:3] == [1, 2, 3]
        assert numbers[-1] == (20_000 if text is done.stdout else 30_000)
        assert numbers == sorted(numbers), "cut between lines"


def test_output_at_the_limit_is_whole() -> None:
    done = sh("head -c 4096 /dev/zero | tr '\\0' x", output_bytes=4_096)
    assert (done.stdout, done.stdout_cut) == (b"x" * 4_096, 0)


def test_large_input_and_output_do_not_block_each_other() -> None:
    text = b"0123456789abcde\n" * 250_000
    done = Processes().run(
        ["/usr/bin/tee", "/dev/stderr"], changes=False, stdin=text, timeout_s=30.0, output_bytes=len(text)
    )
    assert done.stdout == text
    assert done.stderr == text


def test_input_that_nobody_reads_is_dropped() -> None:
    done = Processes().run(["/bin/true"], changes=False, stdin=b"x" * 1_000_000, timeout_s=10.0)
    assert done.rc == 0
    assert done.duration_ms < 3_000


def test_without_input_there_is_none() -> None:
    assert sh("cat; echo end").stdout == b"end\n"


def test_program_that_closes_its_streams_is_waited_for() -> None:
    done = sh("exec >&- 2>&-; sleep 0.5; exit 4")
    assert done.rc == 4
    assert done.duration_ms >= 500


def test_without_pidfd_the_end_is_noticed_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(pid: int) -> int:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(os, "pidfd_open", missing)
    done = sh("exec >&- 2>&-; sleep 0.3; exit 4")
    assert done.rc == 4
    assert done.duration_ms < 2_000


def test_without_the_list_of_children_they_are_found_too(monkeypatch: pytest.MonkeyPatch, nap: str) -> None:
    """A kernel may be built without it: here its absence is imitated."""
    exists = os.path.exists
    monkeypatch.setattr(descendants.os.path, "exists", lambda path: "children" not in path and exists(path))
    monkeypatch.setattr(process_table, "_children_of_thread", None)
    assert sh(f"(env -i setsid sleep {nap} >/dev/null 2>&1 &) ; echo done").left_behind == 1
    assert alive(nap) == []


def test_survivor_is_named(monkeypatch: pytest.MonkeyPatch, nap: str) -> None:
    """Another user's process can't be signalled: here the kernel's answer is imitated."""
    kill = os.kill

    def forbidden(pid: int, number: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(descendants, "KILL_S", 0.2)
    monkeypatch.setattr(descendants.os, "kill", forbidden)
    done = sh(f"(setsid sleep {nap} >/dev/null 2>&1 &) ; echo done")
    monkeypatch.setattr(descendants.os, "kill", kill)
    assert done.not_killed == alive(nap)
    assert len(done.not_killed) == 1


def test_children_inherit_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LD_PRELOAD_X", "LD_LIBRARY_PATHS", "PYTHONPATH", "BASH_ENV", "ENV", "GIT_DIR", "PATH", "IFS", "FOO"):
        monkeypatch.setenv(name, "/nowhere")
    monkeypatch.setenv("HOME", "/nowhere")
    with open(tmp_path / "open", "wb") as file:
        os.set_inheritable(file.fileno(), True)
        done = sh("env; echo --; ls /proc/self/fd; echo --; umask; echo --; ps -o pid=,sid=,tty= -p $$; pwd", cwd="/")
    environment, descriptors, umask, session = done.stdout.decode().split("--\n")
    variables = dict(line.split("=", 1) for line in environment.splitlines())
    shell_sets = {"PWD", "SHLVL", "_", "OLDPWD"}
    optional = {"USER", "LOGNAME", "TZ", "DOCKER_HOST", "LD_LIBRARY_PATH"}
    assert set(variables) - shell_sets - optional == {"PATH", "LANG", "HOME", MARK}
    assert variables["PATH"] == "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    assert variables["LANG"] == "C.UTF-8"
    assert variables["HOME"] != "/nowhere"
    assert descriptors.split() == ["0", "1", "2", "3"]  # 3: the directory that ls reads
    assert umask.strip() == "0022"
    pid, sid, tty, cwd = session.split()
    assert (sid, tty, cwd) == (pid, "?", "/")


def test_given_variables_and_descriptors_arrive() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"through a pipe")
    os.close(writing)
    done = sh(f'echo "$COLOUR"; cat /proc/self/fd/{reading}', env={"COLOUR": "red $HOME"}, descriptors=[reading])
    os.close(reading)
    assert done.stdout == b"red $HOME\nthrough a pipe"


def test_blocked_and_ignored_signals_are_not_passed_on() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGUSR1})
    try:
        done = sh("grep SigBlk /proc/self/status; grep SigIgn /proc/self/status")
        still = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM, signal.SIGUSR1})
    assert still == {signal.SIGTERM, signal.SIGUSR1}
    blocked, ignored = (int(line.split()[1], 16) for line in done.stdout.splitlines())
    assert blocked == 0
    assert not ignored & 1 << signal.SIGPIPE - 1


def test_exit_code_is_told_though_the_caller_ignored_sigchld() -> None:
    code = (
        "import signal; signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
        "from letsbe.host.processes import Processes\n"
        "print(Processes().run(['/bin/sh', '-c', 'exit 9'], changes=False, timeout_s=9.0).rc)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"9\n"


@pytest.mark.parametrize(
    ("argv", "code", "says"),
    [
        (["/usr/bin/no-such-program"], "program_missing", "not there"),
        (["uptime"], "program_missing", "no absolute path"),
        (["/etc/passwd"], "program_not_started", "may not be executed"),
        (["/usr"], "program_not_started", "may not be executed"),
        (["{here}/plain"], "program_not_started", "no program for this machine"),
        (["{here}/lost"], "program_missing", "its interpreter is not there"),
        (["/bin/echo", "a\0b"], "program_not_started", "NUL"),
        (["/bin/echo", "x" * 200_000], "program_not_started", "too long arguments"),
    ],
    ids=["missing", "relative", "not-executable", "directory", "no-format", "no-interpreter", "nul", "too-long"],
)
def test_start_that_fails_says_why(argv: list[str], code: str, says: str, tmp_path: Path) -> None:
    for name, text in (("plain", "no shebang\n"), ("lost", "#!/no/such/interpreter\n")):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    with pytest.raises(LetsbeError) as caught:
        Processes().run([word.format(here=tmp_path) for word in argv], changes=False, timeout_s=5.0)
    assert caught.value.code == code
    assert says in caught.value.message
    assert caught.value.hint


def test_missing_directory_is_told_as_such(tmp_path: Path) -> None:
    with pytest.raises(LetsbeError, match="working directory") as caught:
        sh("true", cwd=str(tmp_path / "none"))
    assert caught.value.code == "program_not_started"


def test_nothing_is_started_when_the_time_is_over(tmp_path: Path) -> None:
    done = sh(f"touch {tmp_path}/ran", timeout_s=0.0)
    assert (done.timed_out, done.rc) == (True, None)
    assert not (tmp_path / "ran").exists()


def test_check_mode_runs_only_what_reads(tmp_path: Path) -> None:
    checking = Processes(check=True)
    touch = ["/usr/bin/touch", str(tmp_path / "ran")]
    assert checking.run(touch, changes=True, timeout_s=5.0).skipped
    assert not (tmp_path / "ran").exists()
    assert checking.run(["/bin/echo", "x"], changes=False, timeout_s=5.0).stdout == b"x\n"


def test_descriptors_are_given_back() -> None:
    sh("true")
    before = len(os.listdir("/proc/self/fd"))
    for script in ("true", "kill -9 $$", "sleep 30 & echo x"):
        sh(script, stdin=b"x" * 100_000)
    with pytest.raises(LetsbeError):
        Processes().run(["/no/such"], changes=False, timeout_s=1.0)
    assert len(os.listdir("/proc/self/fd")) == before


def test_programs_are_found_in_the_fixed_path_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = tmp_path / "uptime"
    fake.write_text("#!/bin/sh\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    processes = Processes()
    assert processes.which("uptime") in ("/usr/bin/uptime", "/bin/uptime")
    assert processes.which("no-such-program") is None
    link = tmp_path / "link"
    link.symlink_to("/bin/sh")
    assert processes.resolve(str(link)) == os.path.realpath("/bin/sh")
    for name in ("./uptime", "../uptime", "", "/no/such", "/usr/bin", "/etc/passwd", "/bin/sh\0", "up\0time"):
        assert processes.resolve(name) is None


@pytest.mark.parametrize(
    ("change", "guilty"),
    [
        (lambda program: None, None),
        (lambda program: program.chmod(0o757), "program"),
        (lambda program: (program.chmod(0o775), os.chown(program, 0, 1)), "program"),
        (lambda program: os.chown(program, 65534, 0), "program"),
        (lambda program: program.parent.chmod(0o777), ""),
        (lambda program: program.parent.chmod(0o1777), None),
        (lambda program: os.chown(program.parent, 65534, 0), ""),
    ],
    ids=["nobody", "others", "group", "owner", "directory", "sticky-directory", "owner-of-directory"],
)
def test_who_else_could_change_a_program(change: object, guilty: str | None) -> None:
    directory = Path("/usr/local/lib") / f"letsbe-test-{os.getpid()}"
    directory.mkdir()
    try:
        program = directory / "program"
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
        change(program)  # type: ignore[operator]
        expected = None if guilty is None else str(directory / guilty)
        assert Processes().changeable_by_others(str(program)) == expected
    finally:
        subprocess.run(["rm", "-r", directory], check=True)


def test_environment_keeps_what_docker_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///run/other.sock")
    assert clean_environment()["DOCKER_HOST"] == "unix:///run/other.sock"
