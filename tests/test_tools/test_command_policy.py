from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from letsbe.errors import LetsbeError
from letsbe.tools.command_policy import DEFAULT_RULES, CommandRule, allows_placeholders, find_rule, path_arguments
from letsbe.tools.dangerous_programs import injects_code, starts_others, takes_verb

ROOT = "/opt/letsbe"


def below_root(path: str) -> bool:
    return path.startswith(f"{ROOT}/")


def allows(patterns: list[str], args: list[str]) -> bool:
    try:
        find_rule([CommandRule(program="/usr/bin/x", args=patterns)], ["/usr/bin/x", *args], below_root)
    except LetsbeError as error:
        return error.code != "command_refused"
    return True


@pytest.mark.parametrize(
    ("patterns", "args"),
    [
        ([], []),
        (["-h"], ["-h"]),
        (["-n", "<int>"], ["-n", "0"]),
        (["-n", "<int>"], ["-n", "007"]),
        (["-n<int>"], ["-n20"]),
        (["-<int>"], ["-5"]),
        (["--lines=<int>"], ["--lines=20"]),
        (["--unit=<name>"], ["--unit=nginx.service"]),
        (["status", "<name>"], ["status", "getty@tty1.service"]),
        (["<start|stop>", "<name>"], ["stop", "nginx"]),
        (["--state=<active|failed>"], ["--state=failed"]),
        (["<path>"], [f"{ROOT}/a/b c"]),
        (["--file=<path>"], [f"--file={ROOT}/x"]),
        (["<path>..."], []),
        (["<path>..."], [f"{ROOT}/a", f"{ROOT}/b", f"{ROOT}/c"]),
        (["--keep", "<name>..."], ["--keep", "a"]),
        (["a...b"], ["a...b"]),
        (["literal..."], ["literal..."]),
        (["a <int> b"], ["a <int> b"]),
        (["-c", "echo <hello> $x; rm y"], ["-c", "echo <hello> $x; rm y"]),
    ],
)
def test_allowed(patterns: list[str], args: list[str]) -> None:
    assert allows(patterns, args)


@pytest.mark.parametrize(
    ("patterns", "args"),
    [
        ([], ["x"]),
        ([], [""]),
        (["-h"], []),
        (["-h"], ["-h", "-h"]),
        (["-h"], ["-hx"]),
        (["-h"], ["-H"]),
        (["-h"], ["-h "]),
        (["-h"], ["-h\n"]),
        (["-h"], ["-h\0"]),
        (["-h"], ["\u2010h"]),
        (["<int>"], ["-5"]),
        (["<int>"], ["+5"]),
        (["<int>"], ["5x"]),
        (["<int>"], ["5\n"]),
        (["<int>"], ["٥"]),
        (["<int>"], ["1e3"]),
        (["<int>"], ["1" * 19]),
        (["<int>"], [""]),
        (["-n<int>"], ["-n"]),
        (["-n<int>"], ["-n-5"]),
        (["-n<int>"], ["-n5f"]),
        (["--lines=<int>"], ["--lines", "5"]),
        (["--lines=<int>"], ["--lines=5", "x"]),
        (["<name>"], ["-x"]),
        (["<name>"], ["--help"]),
        (["<name>"], [".hidden"]),
        (["<name>"], ["@file"]),
        (["<name>"], [":x"]),
        (["<name>"], ["a/b"]),
        (["<name>"], ["a b"]),
        (["<name>"], ["a=b"]),
        (["<name>"], ["a;b"]),
        (["<name>"], ["$(x)"]),
        (["<name>"], ["`x`"]),
        (["<name>"], ["a\nb"]),
        (["<name>"], ["nginx\n"]),
        (["<name>"], ["é"]),
        (["<name>"], ["x" * 256]),
        (["--unit=<name>"], ["--unit=-x"]),
        (["--unit=<name>"], ["--unit="]),
        (["<start|stop>"], ["restart"]),
        (["<start|stop>"], ["start|stop"]),
        (["<start|stop>"], ["<start|stop>"]),
        (["<start|stop>"], [""]),
        (["<path>"], ["/etc/shadow"]),
        (["<path>"], [ROOT]),
        (["<path>"], [f"{ROOT}x/y"]),
        (["<path>"], [f"{ROOT}/../etc/shadow"]),
        (["<path>"], [f"{ROOT}/a/.."]),
        (["<path>"], ["relative"]),
        (["<path>"], ["~/x"]),
        (["<path>"], [f"-{ROOT}/x"]),
        (["<path>"], [f"{ROOT}/a\nb"]),
        (["<path>"], [f"{ROOT}/a\0b"]),
        (["<path>"], [f"{ROOT}/a\x1b[2J"]),
        (["<path>"], [f"{ROOT}/{'x' * 4096}"]),
        (["--file=<path>"], ["--file=/etc/shadow"]),
        (["<path>..."], [f"{ROOT}/a", "--checkpoint-action=exec=sh"]),
        (["<path>..."], [f"{ROOT}/a", "/etc/shadow"]),
        (["--keep", "<name>..."], ["a"]),
        (["--keep", "<name>..."], ["--keep", "a", "--delete"]),
        (["<int>", "<name>"], ["a", "1"]),
    ],
)
def test_not_allowed(patterns: list[str], args: list[str]) -> None:
    assert not allows(patterns, args)


def test_first_rule_that_matches_counts() -> None:
    wide = CommandRule(program="/usr/bin/x", args=["<name>"], name="wide")
    narrow = CommandRule(program="/usr/bin/x", args=["a"], name="narrow")
    assert find_rule([narrow, wide], ["/usr/bin/x", "a"], below_root).name == "narrow"
    assert find_rule([narrow, wide], ["/usr/bin/x", "b"], below_root).name == "wide"


def test_refusal_names_the_nearest_rule_and_what_would_have_to_be_allowed() -> None:
    rules = [
        CommandRule(program="/usr/bin/tail", args=["-f"], name="follow"),
        CommandRule(program="/usr/bin/tail", args=["-n", "<int>", "<path>"], name="some lines"),
    ]
    argv = ["/usr/bin/tail", "-n", "5", "/etc/shadow"]
    with pytest.raises(LetsbeError) as caught:
        find_rule(rules, argv, below_root)
    assert "argument 3 is '/etc/shadow' where the rule 'some lines' wants '<path>'" in caught.value.message
    assert caught.value.details == {"argv": argv, "rules": ["follow", "some lines"]}
    allowed = json.loads(caught.value.hint.partition("shell.allow: ")[2])
    rule = msgspec.convert(allowed, CommandRule)
    assert find_rule([rule], argv, below_root) is rule


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ([], "wants more arguments"),
        (["-n", "5", f"{ROOT}/x", "y"], "argument 4 is 'y' where the rule 'r' wants no further argument"),
        (["-n", "x", f"{ROOT}/x"], "argument 2 is 'x' where the rule 'r' wants '<int>'"),
    ],
)
def test_refusal_says_which_argument(args: list[str], says: str) -> None:
    rule = CommandRule(program="/usr/bin/tail", args=["-n", "<int>", "<path>"], name="r")
    with pytest.raises(LetsbeError) as caught:
        find_rule([rule], ["/usr/bin/tail", *args], below_root)
    assert says in caught.value.message


def test_paths_among_arguments() -> None:
    rule = CommandRule(program="/usr/bin/x", args=["<int>", "--file=<path>", "literal", "<path>..."])
    args = ["1", f"--file={ROOT}/a", "literal", f"{ROOT}/b", f"{ROOT}/c"]
    assert path_arguments(rule, args) == {1: f"{ROOT}/a", 3: f"{ROOT}/b", 4: f"{ROOT}/c"}


@pytest.mark.parametrize(
    ("rule", "complaint"),
    [
        ({"program": "tail"}, "matching regex"),
        ({"program": "/usr/bin/tail", "arg": []}, "unknown field"),
        ({"program": "/usr/bin/tail", "args": ["<file>"]}, "unknown placeholder <file>"),
        ({"program": "/usr/bin/tail", "args": ["<a|b*>"]}, "unknown placeholder"),
        ({"program": "/usr/bin/tail", "args": ["<|>"]}, "unknown placeholder"),
        ({"program": "/usr/bin/tail", "args": ["<path>...", "-f"]}, "may only stand last"),
        ({"program": "/usr/bin/tail", "args": ["--<name>"]}, "would match other options too"),
        ({"program": "/usr/bin/tail", "args": ["-<name>"]}, "would match other options too"),
        ({"program": "/usr/bin/grep", "args": ["-n<name>"]}, "would match other options too"),
        ({"program": "/usr/bin/grep", "args": ["-f<path>"]}, "would match other options too"),
        ({"program": "/usr/bin/systemctl", "args": ["<name>", "nginx"]}, "spell out its first argument"),
        ({"program": "/usr/bin/find", "args": ["<path>"]}, "can start other programs"),
        ({"program": "/usr/bin/find", "args": ["<path>", "-name", "x"]}, "can start other programs"),
        ({"program": "/usr/bin/python3.11", "args": ["<path>"]}, "can start other programs"),
        ({"program": "/usr/bin/tar", "args": ["<path>..."]}, "can start other programs"),
        ({"program": "/usr/bin/docker", "args": ["exec", "<name>", "ls"]}, "can start other programs"),
        ({"program": "/usr/bin/git", "args": ["log", "<name>"]}, "can start other programs"),
        ({"program": "/usr/bin/vim.basic", "args": ["<path>"]}, "can start other programs"),
        ({"program": "/usr/bin/sed", "args": ["-n", "1p", "<path>"]}, "can start other programs"),
        ({"program": "/bin/bash", "args": ["<a|b>"]}, "can start other programs"),
        ({"program": "/lib64/ld-linux-x86-64.so.2", "args": ["<path>"]}, "can start other programs"),
        ({"program": "/bin/sh", "stdin": True}, "may run what it reads"),
        ({"program": "/usr/bin/xargs", "args": ["ls"], "stdin": True}, "may run what it reads"),
        ({"program": "/usr/bin/crontab", "args": ["-"], "stdin": True}, "may run what it reads"),
        ({"program": "/usr/bin/df", "env": ["LD_PRELOAD"]}, "LD_PRELOAD can inject code"),
        ({"program": "/usr/bin/df", "env": ["A=B"]}, "matching regex"),
        ({"program": "/usr/bin/df", "env": [""]}, "matching regex"),
    ],
)
def test_rules_that_can_not_stand(rule: dict[str, Any], complaint: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=complaint):
        msgspec.convert(rule, CommandRule)


@pytest.mark.parametrize(
    "rule",
    [
        {"program": "/usr/bin/find", "args": ["/var/log", "-name", "*.gz"]},
        {"program": "/bin/sh", "args": ["-c", "wc -c"], "stdin": True},
        {"program": "/usr/bin/systemctl", "args": ["<restart|reload>", "<nginx|docker>"]},
        {"program": "/usr/bin/journalctl", "args": ["--no-pager", "--unit=<name>", "--lines=<int>"]},
        {"program": "/usr/bin/apt-cache", "args": ["policy", "<name>"]},
        {"program": "/usr/bin/wc", "stdin": True, "env": ["LC_ALL", "DB_PASSWORD"]},
    ],
)
def test_rules_that_can_stand(rule: dict[str, Any]) -> None:
    msgspec.convert(rule, CommandRule)


def test_placeholders_are_refused_for_what_a_program_leads_to() -> None:
    rule = CommandRule(program="/usr/local/bin/report", args=["<name>"])
    assert allows_placeholders(rule, "/usr/local/bin/report")
    assert not allows_placeholders(rule, "/usr/bin/python3.11")
    assert allows_placeholders(CommandRule(program="/usr/local/bin/report", args=["x"]), "/usr/bin/python3.11")


@pytest.mark.parametrize(
    "program",
    "sh bash dash zsh busybox env xargs find tar git docker docker-compose podman kubectl python python3"
    " python3.11 perl perl5.36-x86_64-linux-gnu ruby3.1 node nodejs php8.2 lua5.4 awk gawk mawk sed vi vim"
    " vim.basic vim.tiny nano less more man nsenter unshare chroot sudo su runuser setpriv ssh scp rsync"
    " nc.openbsd curl wget dd cp mv install tee timeout nice nohup setsid stdbuf strace gdb gcc gcc-12 make"
    " systemd-run at crontab apt-get dpkg pip3 npm mysql psql sqlite3 openssl zip unzip ld-linux-x86-64.so.2"
    " ld.so bash-static letsbe".split(),
)
def test_programs_that_start_others(program: str) -> None:
    assert starts_others(f"/usr/bin/{program}")


@pytest.mark.parametrize(
    "program", "df free uptime tail head wc cat grep ls du stat systemctl journalctl sha256sum id date".split()
)
def test_programs_that_do_not(program: str) -> None:
    assert not starts_others(f"/usr/bin/{program}")
    assert takes_verb(program) == (program in ("systemctl", "journalctl"))


@pytest.mark.parametrize(
    "name",
    "PATH LD_PRELOAD LD_LIBRARY_PATH LD_AUDIT BASH_ENV ENV SHELLOPTS IFS PS4 PROMPT_COMMAND PYTHONPATH"
    " PYTHONSTARTUP PERL5LIB PERL5OPT RUBYOPT NODE_OPTIONS GIT_SSH GIT_CONFIG_COUNT PAGER MANPAGER"
    " SYSTEMD_PAGER EDITOR VISUAL LESSOPEN TAR_OPTIONS RSYNC_RSH SSH_ASKPASS JAVA_TOOL_OPTIONS GCONV_PATH"
    " GLIBC_TUNABLES DOCKER_HOST COMPOSE_FILE HOME XDG_CONFIG_HOME RESTIC_PASSWORD_COMMAND"
    " npm_config_script_shell LETSBE_RUN SSLKEYLOGFILE http_proxy_command".split(),
)
def test_variables_that_inject_code(name: str) -> None:
    assert injects_code(name)


@pytest.mark.parametrize(
    "name", "LC_ALL LANG TZ DB_PASSWORD SITE RESTIC_PASSWORD HTTPS_PROXY COLOUR GOOGLE_KEY".split()
)
def test_variables_that_do_not(name: str) -> None:
    assert not injects_code(name)


def test_default_rules_only_read_and_are_closed() -> None:
    for rule in DEFAULT_RULES:
        assert not rule.changes
        assert not rule.env
        assert not rule.stdin
        assert not starts_others(rule.program)
        assert not any("<" in pattern for pattern in rule.args)
