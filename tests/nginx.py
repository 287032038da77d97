"""An image with this machine's nginx, for stacks that have a reverse proxy."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from tests.engine import IMAGE as BUSYBOX
from tests.engine import docker

IMAGE = "letsbe-test/nginx:1"
#: When what is waited for must have come, in seconds: a limit for broken machines.
LIMIT_S = 30

_DOCKERFILE = f"""FROM {BUSYBOX}
COPY root /
RUN echo root:x:0: >/etc/group && mkdir -p /run /var/log/nginx /var/lib/nginx /etc/nginx
CMD ["nginx", "-g", "daemon off;"]
"""


def build() -> None:
    """Make the image, unless it is there."""
    if docker("image", "ls", "--quiet", IMAGE):
        return
    program = shutil.which("nginx") or "/usr/sbin/nginx"
    linked = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    with tempfile.TemporaryDirectory() as directory:
        Path(directory, "Dockerfile").write_text(_DOCKERFILE)
        for path in [program, *re.findall(r"/\S+", linked)]:
            copy = Path(directory, "root", path.lstrip("/"))
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, copy)
        docker("build", "--quiet", "--tag", IMAGE, directory)


def configuration(*servers: str) -> str:
    """A main file with some lines in its ``http`` block."""
    lines = "\n".join(servers)
    return f"user root; error_log stderr; worker_processes 1; events {{}} http {{ access_log off;\n{lines}\n}}\n"


def loaded(container: str) -> None:
    """Wait until the nginx of a container has loaded its configuration: then it has a worker."""
    until = time.monotonic() + LIMIT_S
    while "nginx: worker process" not in docker("exec", container, "ps"):
        assert time.monotonic() < until, docker("logs", container)


def ask(container: str, expected: str) -> None:
    """Ask the nginx of a container, from within, until its answer, or the status if that is no 200, has some text."""
    command = ["docker", "exec", container, "wget", "-q", "-O-", "http://127.0.0.1/"]
    until = time.monotonic() + LIMIT_S
    while expected not in (told := subprocess.run(command, capture_output=True, text=True, check=False)).stdout:
        if expected in told.stderr:
            return
        assert time.monotonic() < until, told


def moved(container: str, *stranger: str) -> str:
    """Restart a container while another one has its address; gives that one's name, which is to be removed.

    ``stranger``: what the other one runs.
    """
    before = address(container)
    network = docker(
        "inspect", "--format", "{{range $name, $_ := .NetworkSettings.Networks}}{{$name}}{{end}}", container
    )
    docker("stop", "--time", "0", container)
    name = f"{container}-stranger"
    docker("run", "-d", "--name", name, "--network", network.strip(), "--ip", before, BUSYBOX, *stranger)
    docker("start", container)
    assert address(container) != before
    return name


def address(container: str) -> str:
    """A container's address on its one network."""
    form = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
    return docker("inspect", "--format", form, container).strip()
