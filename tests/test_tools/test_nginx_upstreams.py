"""Which names nginx looks up once."""

from __future__ import annotations

import pytest

from letsbe.tools.nginx_files import Tree, load
from letsbe.tools.nginx_upstreams import MAIN_FILES, Upstreams, main_files, reload_words, upstreams


def named(text: str) -> Upstreams:
    tree = Tree()
    tree.add("/etc/nginx", {"/etc/nginx/nginx.conf": text.encode()}, {})
    return upstreams(load(tree, "/etc/nginx/nginx.conf").directives)


@pytest.mark.parametrize(
    ("directive", "shown"),
    [
        ("proxy_pass http://app:9000;", "app:9000"),
        ("proxy_pass http://app;", "app:80"),
        ("proxy_pass https://App/path/;", "app:443"),
        ('proxy_pass "http://app:9000/a b";', "app:9000"),
        ("proxy_pass http://[2001:db8::1]:81/;", "[2001:db8::1]:81"),
        ("proxy_pass app:5432;", "app:5432"),
        ("fastcgi_pass php:9000;", "php:9000"),
        ("uwsgi_pass uwsgi://app:3031;", "app:3031"),
        ("scgi_pass app:4000;", "app:4000"),
        ("grpc_pass grpc://app;", "app:80"),
        ("grpc_pass grpcs://app;", "app:443"),
        ("memcached_pass cache:11211;", "cache:11211"),
    ],
)
def test_a_name_without_variables_is_looked_up_once(directive: str, shown: str) -> None:
    found = named(f"http {{\n server {{ location / {{\n {directive} }} }} }}")
    assert [(one.shown, one.file, one.line) for one in found.once] == [(shown, "/etc/nginx/nginx.conf", 3)]
    assert not found.others


@pytest.mark.parametrize(
    "directive",
    [
        "set $up http://app:9000; proxy_pass $up;",
        "proxy_pass http://$host:9000;",
        "proxy_pass http://app:9000$request_uri;",
        "fastcgi_pass $backend;",
    ],
)
def test_with_a_variable_it_is_looked_up_for_each_request(directive: str) -> None:
    assert named(f"http {{ server {{ {directive} }} }}") == Upstreams(once=[], others=True)


@pytest.mark.parametrize(
    "directive",
    ["proxy_pass http://unix:/run/app.sock:/path;", "fastcgi_pass unix:/run/php.sock;", "proxy_set_header Host app;"],
)
def test_sockets_in_the_file_system_are_nobody_s_address(directive: str) -> None:
    assert named(f"http {{ server {{ {directive} }} }}") == Upstreams(once=[], others=False)


def test_a_group_is_its_servers_and_no_name_itself() -> None:
    found = named(
        """
        http {
          upstream backend {
            least_conn;
            server app-1:9000 weight=2; server app-2; server unix:/run/x.sock;
            server app-3:9000 resolve; server app-4:9000 down; server 192.0.2.7:81;
          }
          server { location / { proxy_pass http://backend/; } if ($a) { proxy_pass http://Backend; } }
        }
        stream { upstream db { server pg:5432; } server { listen 1; proxy_pass db; } }
        """
    )
    assert [one.shown for one in found.once] == ["app-1:9000", "app-2:80", "192.0.2.7:81", "pg:5432"]
    assert found.others


def test_what_is_named_twice_is_told_where_it_is_named_first() -> None:
    found = named("proxy_pass http://app:1;\nproxy_pass http://app:1/x;\nproxy_pass http://app:2;")
    assert [(one.shown, one.line) for one in found.once] == [("app:1", 1), ("app:2", 3)]


@pytest.mark.parametrize(
    ("title", "files", "reload"),
    [
        ("nginx -g daemon off;", list(MAIN_FILES), "nginx -s reload"),
        ("/sbin/nginx -c /srv/nginx.conf", ["/srv/nginx.conf"], "/sbin/nginx -c /srv/nginx.conf -s reload"),
        ("nginx -c/config/nginx.conf -g daemon off;", ["/config/nginx.conf"], "nginx -c /config/nginx.conf -s reload"),
        ("nginx -c own.conf", ["/etc/nginx/own.conf"], "nginx -c own.conf -s reload"),
        ("nginx -p /srv/ -c own.conf", ["/srv/own.conf"], "nginx -p /srv/ -c own.conf -s reload"),
        ("openresty -p /srv", ["/srv/conf/nginx.conf", *MAIN_FILES], "openresty -p /srv -s reload"),
        ("", list(MAIN_FILES), "nginx -s reload"),
    ],
)
def test_the_command_line_tells_where_the_configuration_is(title: str, files: list[str], reload: str) -> None:
    assert main_files(title.split()) == files
    assert reload_words(title.split()) == reload.split()
