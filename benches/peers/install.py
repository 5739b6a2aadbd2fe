"""Installs the peers from the registries into a cache, and finds what is installed."""

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "longhaul" / "peers"

NODE = CACHE / "node"
PYTHON = CACHE / "python"
RUST = CACHE / "rust"


def run(*command, **options):
    print("+", *command, file=sys.stderr)
    subprocess.run([str(part) for part in command], check=True, stdout=sys.stderr, **options)


def current(source, copy):
    return copy.is_file() and copy.read_bytes() == source.read_bytes()


def node():
    """The packages of package.json. Their drivers are copied beside them, where Node looks."""
    source, copy = HERE / "package.json", NODE / "package.json"
    if not (current(source, copy) and (NODE / ".complete").exists()):
        shutil.rmtree(NODE, ignore_errors=True)
        NODE.mkdir(parents=True)
        shutil.copy(source, copy)
        # No package here needs a script at its installation; one of them only counts its users.
        run("npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock", cwd=NODE)
        (NODE / ".complete").touch()
    for driver in (HERE / "drivers").glob("*.mjs"):
        shutil.copy(driver, NODE)


def python():
    source, copy = HERE / "requirements.txt", PYTHON / "requirements.txt"
    if not current(source, copy):
        run(sys.executable, "-m", "venv", "--clear", PYTHON)
        run(PYTHON / "bin/pip", "install", "--quiet", "--requirement", source)
        shutil.copy(source, copy)


def rust(peer):
    """Builds a handler from a copy, so that nothing is written beside the sources."""
    for name in ("restate", "dbos"):
        # Both, because they share a file.
        ignored = shutil.ignore_patterns("target")
        shutil.copytree(HERE / name, RUST / name, dirs_exist_ok=True, ignore=ignored)
    environment = {**os.environ, "CARGO_TARGET_DIR": str(RUST / "target")}
    run("cargo", "build", "--release", "--locked", "--quiet", cwd=RUST / peer, env=environment)


def restate():
    node()
    rust("restate")


def dbos_rust():
    rust("dbos")


def restate_program():
    """The server itself, not the script that starts it."""
    machine = {"x86_64": "x64", "aarch64": "arm64"}[platform.machine()]
    system = platform.system().lower()
    return NODE / f"node_modules/@restatedev/restate-server-{system}-{machine}/bin/restate-server"


def redis():
    if shutil.which("redis-server") is None:
        sudo = [] if os.geteuid() == 0 else ["sudo"]
        # The level tells Debian not to start the server it installs.
        apt = [*sudo, "env", "DEBIAN_FRONTEND=noninteractive", "RUNLEVEL=1", "apt-get"]
        run(*apt, "update", "-qq")
        run(*apt, "install", "-y", "-qq", "--no-install-recommends", "redis-server")


def postgres():
    """`scripts/postgres` installs it at its first start."""


def bullmq():
    node()
    redis()


def longhaul():
    if "LONGHAUL_BIN" not in os.environ:
        run("cargo", "build", "--release", "--quiet", cwd=REPOSITORY)


def longhaul_program():
    """`LONGHAUL_BIN`, or the release build of this repository."""
    target = Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target"))
    return Path(os.environ.get("LONGHAUL_BIN", target / "release/longhaul"))
