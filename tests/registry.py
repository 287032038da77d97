"""A registry of images on loopback, for tests of pulling: Debian's ``docker-registry``, which engines take unencrypted.

Images are made from the local busybox, push and pull are real, a tag can be moved, and a registry can be stopped.
"""

from __future__ import annotations

import subprocess
import time
import urllib.error
import urllib.request
import uuid
from pathlib import Path

from tests.engine import IMAGE, docker
from tests.ports import free_port

_CONFIG = """version: 0.1
log: {{level: error}}
storage: {{filesystem: {{rootdirectory: {storage}}}, delete: {{enabled: true}}}}
http: {{addr: "127.0.0.1:{port}"}}
"""


class Registry:
    """A registry that keeps its images in a directory. Repositories have names of their own in each one."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None
        self._made: set[str] = set()
        directory.mkdir(parents=True, exist_ok=True)

    def start(self) -> None:
        """Serve, at the same port as before; returns when it answers."""
        config = self.directory / "config.yml"
        config.write_text(_CONFIG.format(storage=self.directory / "storage", port=self.port))
        log = (self.directory / "log").open("ab")
        self._process = subprocess.Popen(["docker-registry", "serve", str(config)], stdout=log, stderr=log)
        log.close()
        for _ in range(400):
            try:
                with urllib.request.urlopen(f"http://{self.address}/v2/", timeout=5):
                    return
            except (urllib.error.URLError, OSError):
                assert self._process.poll() is None, (self.directory / "log").read_text()
                time.sleep(0.025)
        raise AssertionError("the registry does not answer")

    def stop(self) -> None:
        """Serve no more; what was pushed stays."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def repository(self, name: str = "app") -> str:
        """The reference, without a tag, of a repository that nobody else uses."""
        return f"{self.address}/{name}-{uuid.uuid4().hex[:8]}"

    def push(self, reference: str, *lines: str) -> str:
        """Build an image from busybox and Dockerfile lines and push it; gives its id.

        The engine is left as it was, without the new image: pulling is up to the test.
        """
        before = docker("image", "inspect", "--format", "{{.Id}}", reference, check=False).strip()
        image = self.build(reference, *lines)
        docker("push", "--quiet", reference)
        docker("image", "rm", "--force", image)
        if before:
            docker("tag", before, reference)
        return image

    def build(self, reference: str, *lines: str) -> str:
        """Build an image from busybox and Dockerfile lines under a local tag; gives its id."""
        # A label of its own: two images of the same lines shall not be the same.
        text = "\n".join([f"FROM {IMAGE}", f"LABEL letsbe-test={uuid.uuid4().hex}", *lines, ""])
        built = subprocess.run(
            ["docker", "build", "--quiet", "--tag", reference, "-"],
            input=text.encode(),
            env={"DOCKER_BUILDKIT": "0", "PATH": "/usr/bin:/bin:/usr/sbin:/sbin"},
            capture_output=True,
            check=False,
        )
        assert built.returncode == 0, built.stderr.decode()
        image = built.stdout.decode().strip()
        self._made.add(image)
        return image

    def close(self) -> None:
        """Stop, and take away the images that were made here, as far as nothing uses them."""
        self.stop()
        found = docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}").splitlines()
        tags = [tag for tag in found if tag.startswith(f"{self.address}/") and not tag.endswith(":<none>")]
        for image in (*tags, *self._made):
            docker("image", "rm", "--force", image, check=False)
