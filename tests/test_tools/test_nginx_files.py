"""nginx configurations put together from files in memory."""

from __future__ import annotations

import pytest

from letsbe.tools import nginx_files
from letsbe.tools.nginx_files import Directive, Loaded, Tree, load

MAIN = "/etc/nginx/nginx.conf"


def tree(files: dict[str, str], links: dict[str, str] | None = None, known: str = "/etc/nginx") -> Tree:
    found = Tree()
    found.add(known, {path: text.encode() for path, text in files.items()}, links or {})
    return found


def passes(directives: list[Directive]) -> list[tuple[str, str, int]]:
    """What is passed to where, with file and line, in order."""
    found: list[tuple[str, str, int]] = []
    for one in directives:
        found += [(one.args[0], one.file, one.line)] if one.name == "proxy_pass" else passes(one.block)
    return found


def loaded(files: dict[str, str], links: dict[str, str] | None = None) -> Loaded:
    return load(tree(files, links), MAIN)


def test_an_include_gives_way_to_what_is_in_it_where_it_stands() -> None:
    found = loaded(
        {
            MAIN: "http {\n  include part.conf;\n  server { proxy_pass http://c; }\n}",
            "/etc/nginx/part.conf": "# first\nserver {\n  include 'more/a.conf';\n  proxy_pass http://b;\n}\n",
            "/etc/nginx/more/a.conf": "proxy_pass http://a;",
        }
    )
    assert passes(found.directives) == [
        ("http://a", "/etc/nginx/more/a.conf", 1),
        ("http://b", "/etc/nginx/part.conf", 4),
        ("http://c", MAIN, 3),
    ]
    assert [one.name for one in found.directives[0].block] == ["server", "server"]
    assert (found.errors, found.missing) == ([], set())


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("conf.d/*.conf", ["a", "b"]),
        ("/etc/nginx/conf.d/*.conf", ["a", "b"]),
        ("conf.d/?.co*", ["a", "b"]),
        ("conf.d/[!a].conf", ["b"]),
        ("conf.d/*", ["a", "b", "bak"]),
        ("conf.d/.*", ["hidden"]),
        ("*/b.conf", ["b"]),
        ("conf.d/../conf.d/a.conf", ["a"]),
        ("none.d/*.conf", []),
    ],
)
def test_a_pattern_fits_what_the_shell_s_would(pattern: str, names: list[str]) -> None:
    files = {"b.conf": "b", "a.conf": "a", "a.bak": "bak", ".x.conf": "hidden"}
    found = loaded(
        {MAIN: f"include {pattern};", **{f"/etc/nginx/conf.d/{k}": f"proxy_pass {v};" for k, v in files.items()}}
    )
    assert sorted(one[0] for one in passes(found.directives)) == names
    assert (found.errors, found.missing) == ([], set())


@pytest.mark.parametrize(
    "links",
    [
        {"/etc/nginx/sites-enabled/app": "/etc/nginx/sites-available/app"},
        {"/etc/nginx/sites-enabled/app": "../sites-available/app"},
        {"/etc/nginx/sites-enabled": "sites-available"},
        {"/etc/nginx/sites-enabled": "hop", "/etc/nginx/hop": "/etc/nginx/sites-available/"},
    ],
    ids=["absolute", "relative", "directory", "twice"],
)
def test_links_lead_to_files(links: dict[str, str]) -> None:
    files = {MAIN: "http { include sites-enabled/*; }", "/etc/nginx/sites-available/app": "proxy_pass http://a;"}
    found = loaded(files, links)
    assert passes(found.directives) == [("http://a", "/etc/nginx/sites-enabled/app", 1)]


@pytest.mark.parametrize(
    ("files", "links", "error"),
    [
        ({MAIN: "include nginx.conf; proxy_pass x;"}, {}, f"{MAIN} includes itself"),
        ({MAIN: "include a; proxy_pass x;", "/etc/nginx/a": "include b;", "/etc/nginx/b": "include a;"}, {}, "itself"),
        ({MAIN: "include a; proxy_pass x;"}, {"/etc/nginx/a": "b", "/etc/nginx/b": "a"}, "/etc/nginx/a is not there"),
        ({MAIN: "include gone; proxy_pass x;"}, {}, "/etc/nginx/gone is not there"),
        ({MAIN: "include /*/x; proxy_pass x;"}, {}, "may be anywhere"),
        ({MAIN: "include a; proxy_pass x;", "/etc/nginx/a": "server { proxy_pass y;"}, {}, 'expecting "}"'),
        ({MAIN: "include a; proxy_pass x;", "/etc/nginx/a": "} proxy_pass y;"}, {}, 'unexpected "}"'),
        ({MAIN: "include a; proxy_pass x;", "/etc/nginx/a": "root 'y;"}, {}, "unexpected end of file"),
    ],
    ids=["itself", "circle", "circle of links", "not there", "anywhere", "open", "closed", "quoted"],
)
def test_what_is_spoilt_loses_nothing_else(files: dict[str, str], links: dict[str, str], error: str) -> None:
    found = loaded(files, links)
    assert [one[0] for one in passes(found.directives)] == ["x"]
    assert len(found.errors) == 1
    assert error in found.errors[0]


def test_files_are_not_included_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    deep = {f"/etc/nginx/{number}": f"include {number + 1}; proxy_pass {number};" for number in range(40)}
    found = loaded({MAIN: "include 0;", **deep})
    assert len(passes(found.directives)) == nginx_files.MAX_DEPTH - 1
    assert "too deep" in found.errors[0]
    monkeypatch.setattr(nginx_files, "MAX_FILES", 5)
    many = loaded({MAIN: "include a; " * 10, "/etc/nginx/a": "proxy_pass x;"})
    assert len(passes(many.directives)) == 4
    monkeypatch.setattr(nginx_files, "MAX_BYTES", 50)
    large = loaded({MAIN: "include a; include b;", "/etc/nginx/a": "#" * 50, "/etc/nginx/b": "proxy_pass x;"})
    assert [error.split()[0] for error in large.errors] == ["/etc/nginx/a", "/etc/nginx/b"]


def test_what_is_not_known_yet_is_asked_for() -> None:
    found = tree({MAIN: "include /data/sites/*/x.conf; include /opt/one.conf; include l;"}, {"/etc/nginx/l": "/srv/l"})
    assert load(found, MAIN).missing == {"/data/sites/.", "/opt/one.conf", "/srv/l"}
    found.add("/data/sites", {"/data/sites/a/x.conf": b"proxy_pass a;"}, {})
    found.add("/opt/one.conf", {}, {"/opt/one.conf": "two.conf"})
    found.add("/srv/l", {}, {})
    assert load(found, MAIN).missing == {"/opt/two.conf"}
    found.add("/opt/two.conf", {"/opt/two.conf": b"proxy_pass b;"}, {})
    whole = load(found, MAIN)
    assert [one[0] for one in passes(whole.directives)] == ["a", "b"]
    assert (whole.missing, whole.errors) == (set(), ["/etc/nginx/l is not there"])


def test_a_main_file_that_is_not_known_is_asked_for() -> None:
    assert load(Tree(), MAIN).missing == {MAIN}
