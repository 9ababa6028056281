"""Runs a page's shell blocks, one after the other in one shell, as a reader would paste them."""

import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

SECONDS_MAX = 90


@dataclass(frozen=True)
class Tour:
    """What a page's blocks need before they run, and what they must print."""

    expected: tuple
    before: str = ""


TOURS = {
    "README.md": Tour(expected=(
        '"text":"high water"', '"text":"the tide is in"', '"data":{"level":3.2}',  # the subscriber
        r"\d+-\d+\n",  # FCALL's answer
        r"eyJ[\w-]+\.[\w-]+\.[\w-]+\n",
        "subscribe +yes", "publish +no",
    )),
    "docs/operating/keys.md": Tour(
        before="export API_KEY=0123456789abcdef0123456789abcdef\ntidegate --set internal.api_key=$API_KEY &\n",
        expected=('"disconnected":0',),
    ),
}

# A network of its own, so that the ports that the pages name are free, and an end of all processes with the shell.
ISOLATED = ["unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]

LOOPBACK_UP = """python3 -c '
import fcntl, socket, struct
fcntl.ioctl(socket.socket(), 0x8914, struct.pack("16sh", b"lo", 0x1 | 0x40))  # SIOCSIFFLAGS: IFF_UP, IFF_RUNNING
'
"""

REDIS = """redis-server --save '' --appendonly no --dir "$SCRATCH" >/dev/null &
disown
until redis-cli ping >/dev/null 2>&1; do sleep 0.05; done
"""


def commands(text):
    """Its commands, each with the lines that it goes on in."""
    return [command for command in re.sub(r"\\\n\s*", "", text).splitlines() if command.strip()]


def ready(command):
    """Waits for what the command started in the background, as a reader does without knowing."""
    if not command.rstrip().endswith("&"):
        return ""
    if " subscribe " in command:
        channel = re.search(r" subscribe (\S+)", command)[1]
        return f'until [ "$(redis-cli PUBSUB NUMSUB tidegate:{channel} | tail -n 1)" -gt 0 ]; do sleep 0.05; done\n'
    internal = re.search(r"internal\.listen=(\S+)", command)
    address = internal[1] if internal else "127.0.0.1:9090"
    until = f"until tidegate health --ready --set internal.listen={address} >/dev/null 2>&1; do sleep 0.05; done\n"
    if "history=" in command:
        # Other rules hold a moment later, on all nodes and in Redis at once.
        until += 'until [ -n "$(redis-cli FCALL tidegate_publish 1 tidegate:chat:before 0)" ]; do sleep 0.05; done\n'
    return until


def isolation():
    """How to run a command in a network of its own, or None where that is not allowed."""
    for more in ([], ["--map-root-user"]):
        if subprocess.run([*ISOLATED, *more, "true"], stderr=subprocess.DEVNULL, check=False).returncode == 0:
            return [*ISOLATED, *more]
    return None


def take(binary, blocks, tour):
    isolated = isolation() if shutil.which("unshare") else None
    if not isolated:
        return "no network namespace can be made here"
    with tempfile.TemporaryDirectory() as scratch:
        # Where the pages have it after `cargo build --release`, which is not run: the tests have a binary.
        release = Path(scratch, "target/release")
        release.mkdir(parents=True)
        release.joinpath("tidegate").symlink_to(binary)
        release.joinpath("cargo").symlink_to("/bin/true")
        script = LOOPBACK_UP + REDIS + "set -em\n"
        for command in [*commands(tour.before), *(each for block in blocks for each in commands(block.text))]:
            script += f"{command}\n{ready(command)}"
        # Nothing in the background may keep the output open.
        script += "set +m\nexit 0\n"
        environment = {**os.environ, "PATH": f"{release}:{os.environ['PATH']}", "SCRATCH": scratch}
        with open(Path(scratch, "output"), "w+") as output:
            done = subprocess.run([*isolated, "bash", "-c", script], cwd=scratch, env=environment, stdin=subprocess.DEVNULL,
                                  stdout=output, stderr=subprocess.STDOUT, timeout=SECONDS_MAX, check=False)
            output.seek(0)
            printed = output.read()
    assert done.returncode == 0, f"exit code {done.returncode}:\n{printed}"
    for expected in tour.expected:
        assert re.search(expected, printed), f"{expected} is not printed:\n{printed}"
    return None
