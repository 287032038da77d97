"""Any bytes as an env file: read or told line by line, never an exception; what is written reads back as it was."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from letsbe.tools.dotenv import parse
from tests.test_tools.test_dotenv import FILES

PLAIN = st.dictionaries(
    st.from_regex(r"[A-Z][A-Z0-9_]{0,8}", fullmatch=True), st.from_regex(r"[a-z0-9/:]{0,12}", fullmatch=True)
)


def test_any_file_is_read_or_told_line_by_line(examples: int) -> None:
    @given(st.one_of(FILES, st.binary(max_size=200)))
    @settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    def run(content: bytes) -> None:
        env = parse(content)
        lines = content.count(b"\n") + content.count(b"\r") + 1
        assert all(1 <= one.line <= lines for one in (*env.statements, *env.problems))

    run()


def test_plain_file_reads_as_it_is_written(examples: int) -> None:
    @given(PLAIN)
    @settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    def run(values: dict[str, str]) -> None:
        env = parse("".join(f"{name}={value}\n" for name, value in values.items()).encode())
        assert env.values == values
        assert not env.problems

    run()
