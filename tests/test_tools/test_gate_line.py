"""Command lines of SSH clients: what is understood, and what hostile ones come to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from letsbe.errors import LetsbeError
from letsbe.tools.gate_line import MAX_BYTES, GateLine, parse, split


@pytest.mark.parametrize(
    ("line", "meaning"),
    [
        ("echo", GateLine(command="echo")),
        ("letsbe echo", GateLine(command="echo")),
        ("/usr/local/bin/letsbe echo -", GateLine(command="echo", payload="-")),
        ("./letsbe echo", GateLine(command="echo")),
        ("letsbe letsbe", GateLine(command="letsbe")),
        ("""echo '{"message": "a b"}'""", GateLine(command="echo", payload='{"message": "a b"}')),
        (r"echo {\"message\":1}", GateLine(command="echo", payload='{"message":1}')),
        ("echo '{}' --check", GateLine(command="echo", payload="{}", check=True)),
        ("echo --diff --check '{}'", GateLine(command="echo", payload="{}", check=True, diff=True)),
        ("echo --timeout 30 -", GateLine(command="echo", payload="-", timeout_s=30.0)),
        ("echo --timeout=0.5", GateLine(command="echo", timeout_s=0.5)),
        ("echo --lock-wait=0", GateLine(command="echo")),
        ("echo --lock-wait 86400 -", GateLine(command="echo", payload="-", lock_wait_s=86_400.0)),
        ("echo '$(id) `id` ; | & > * # é'", GateLine(command="echo", payload="$(id) `id` ; | & > * # é")),
        ("echo '{}'>/tmp/x", GateLine(command="echo", payload="{}>/tmp/x")),
        ("echo '{}';id", GateLine(command="echo", payload="{};id")),
        ("echo $(id)", GateLine(command="echo", payload="$(id)")),
        ("echo #", GateLine(command="echo", payload="#")),
        ("echo ''", GateLine(command="echo", payload="")),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_understood(line: str, meaning: GateLine) -> None:
    assert parse(split(line.encode())) == meaning


@pytest.mark.parametrize(
    ("line", "code", "told"),
    [
        (b"", "usage", "names no task type"),
        (b"   ", "usage", "names no task type"),
        (b"letsbe", "usage", "names no task type"),
        (b"echo '{}' ; rm -rf /", "usage", "more than one payload"),
        (b"echo '{}' && id", "usage", "more than one payload"),
        (b"echo '{}' | sh", "usage", "more than one payload"),
        (b"echo '{}' > /etc/passwd", "usage", "more than one payload"),
        (b'echo {"message": "hi"}', "usage", "more than one payload"),
        (b"echo - -", "usage", "more than one payload"),
        (b"echo '{}", "usage", "no closing quotation"),
        (b'echo "', "usage", "no closing quotation"),
        (b"echo \\", "usage", "no escaped character"),
        (b"echo '{}'\nid", "usage", "control character (U+000A) at 9"),
        (b"echo '{}'\rid", "usage", "U+000D"),
        (b"echo\0id", "usage", "U+0000"),
        (b"echo\t'{}'", "usage", "U+0009"),
        (b"echo '{\"message\": \"\x1b[2J\"}'", "usage", "U+001B"),
        ("echo '\x9b2J'".encode(), "usage", "U+009B"),
        (b"echo \x7f", "usage", "U+007F"),
        (b"echo '\xff'", "usage", "not UTF-8 at byte 6"),
        (b"echo '\xed\xa0\x80'", "usage", "not UTF-8"),
        (b"echo \xc0\xaf", "usage", "not UTF-8"),
        (b"echo '" + b"x" * MAX_BYTES + b"'", "usage", "65543 bytes"),
        (b"echo @/etc/shadow", "gate_refused", "payload file"),
        (b"echo '@/etc/shadow'", "gate_refused", "payload file"),
        (b"echo --config /tmp/evil.yml", "gate_refused", "--config"),
        (b"echo --config=/tmp/evil.yml", "gate_refused", "--config"),
        (b"echo --output text", "gate_refused", "--output"),
        (b"echo --message hi", "gate_refused", "--message"),
        (b"echo -v", "gate_refused", "-v"),
        (b"echo -h", "gate_refused", "-h"),
        (b"echo --help", "gate_refused", "--help"),
        (b"echo --check=1", "gate_refused", "--check"),
        (b"echo --chec", "gate_refused", "--chec"),
        (b"echo --no-check", "gate_refused", "--no-check"),
        (b"echo -- '{}'", "gate_refused", "the option --"),
        (b"echo '--x y'", "gate_refused", "this option"),
        (b"echo '-secret value'", "gate_refused", "this option"),
        (b"echo --timeout", "usage", "--timeout is not followed by seconds"),
        (b"echo --timeout=", "usage", "--timeout"),
        (b"echo --timeout 0", "usage", "--timeout"),
        (b"echo --timeout 86401", "usage", "--timeout"),
        (b"echo --timeout nan", "usage", "--timeout"),
        (b"echo --timeout inf", "usage", "--timeout"),
        (b"echo --timeout 1e3", "usage", "--timeout"),
        (b"echo --timeout 1_0", "usage", "--timeout"),
        (b"echo --timeout -5", "usage", "--timeout"),
        ("echo --timeout ٣".encode(), "usage", "--timeout"),
        (b"echo --lock-wait --check", "usage", "--lock-wait"),
        (b"echo --check --check", "usage", "given twice"),
        (b"echo --timeout 3 --timeout=4", "usage", "given twice"),
    ],
    ids=lambda value: repr(value)[:40] if isinstance(value, bytes) else "",
)  # fmt: skip
def test_refused(line: bytes, code: str, told: str) -> None:
    with pytest.raises(LetsbeError) as refused:
        parse(split(line))
    assert refused.value.code == code
    assert told in refused.value.message
    assert refused.value.hint
    assert "secret" not in refused.value.message + refused.value.hint


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_line_is_understood_or_refused(line: bytes) -> None:
    try:
        words = split(line)
        assert parse(words).command == words[0]
    except LetsbeError as error:
        if error.code not in ("usage", "gate_refused"):
            raise


@pytest.mark.parametrize("filling", [b"'", b"\\", b" a", b'"a" '], ids=["quotes", "backslashes", "words", "quoted"])
def test_long_lines_are_refused_as_well(filling: bytes) -> None:
    with pytest.raises(LetsbeError):
        parse(split(b"echo " + filling * (65_000 // len(filling)) + b" -- x"))
