"""Runs a page's shell blocks, one after the other in one shell, as a reader would paste them."""

import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

SECONDS_MAX = 120
CONSOLE_PROGRAM = str(Path(__file__).resolve().parents[1] / "browser/console.mjs")


@dataclass(frozen=True)
class Tour:
    """What a page's blocks need before they run, and what they must print."""

    expected: tuple
    before: str = ""
    # What a program in the background still prints after the last command.
    awaited: tuple = ()
    # Whether the test waits until each command in the background is ready. False: the page's commands do.
    waits: bool = True
    # What must be printed once only.
    once: tuple = ()
    # The page in whose console JavaScript is pasted.
    console: str = ""
    # What the console must print after a block, by the block's first line.
    console_prints: dict = field(default_factory=dict)

    @property
    def languages(self):
        return ("sh", "js") if self.console else ("sh",)


TOURS = {
    "README.md": Tour(
        waits=False,
        expected=(
            r"^\d+-\d+$",  # FCALL's answer
            r'\{"position":"\d+-2"\}',  # the API's answer
            "subscribe +yes", "publish +no",
            r'"members":\[.*"user":"ada"',
        ),
        once=('console: chat: "published while the node was dead"', 'console: chat: "hello from the console"'),
        console="http://127.0.0.1:8080/",
        console_prints={
            'var { connect } = await import("/demo/tidegate.js");': (
                "state: open", r'chat: \{"level":3.2\}', 'chat: "high water"', 'chat: "hello from the console"'),
            "kill -9 $first": (
                "state: waiting", "state: open", 'chat: "published while the node was dead"', "news: something may be missing: reconnected"),
            """export TIDEGATE__AUTH__KEYS='[{ alg = "HS256", secret = "thirty-two bytes or more, at random" }]'""": ("joined: ada",),
        },
    ),
    "docs/protocol/http.md": Tour(
        before="tidegate --set 'rules=[{ pattern = \"chat:*\", history = { size = 100, age = \"10m\" } }]' &\n",
        expected=(r'\{"position":"\d+-1"\}\n', '"text":"high water"', r'"publications":\[\],"position":"\d+-1"'),
    ),
    "docs/RUNS.md": Tour(
        before="tidegate --set broker.url=redis://127.0.0.1:6379 --set 'rules=[{ pattern = \"run:**\", "
        "history = { size = 100, age = \"1h\" }, run = { lease = \"30s\", control = \"run-control:{name}\" } }]' &\n"
        "until redis-cli FUNCTION LIST LIBRARYNAME tidegate | grep -q tidegate; do sleep 0.1; done\n",
        expected=(r"^\d+-4$", r"^33\d{3}$", r'\{"lease_ms":33\d{3}\}', r'\{"position":"\d+-3"\}', '"ended":{"reason":"done"}'),
        console="http://127.0.0.1:8080/",
        console_prints={
            'var source = new EventSource("/sse/run:1");': (
                "EventSource: Hel", "EventSource: lo", "EventSource: !", "EventSource: ended: done"),
            'var { connect } = await import("/demo/tidegate.js");': (
                "client: Hel", "client: lo", "client: !", "client: ended: done"),
            'var socket = new WebSocket("ws://127.0.0.1:8080/ws/run:1?since=first");': (
                "WebSocket: Hel", "WebSocket: lo", "WebSocket: !", "WebSocket: ended: done"),
        },
    ),
    "docs/STREAMS.md": Tour(
        before="tidegate --set 'rules=[{ pattern = \"docs/**\", history = { size = 100, age = \"1h\" }, "
        "run = { lease = \"1m\" }, streams = true }]' &\n",
        expected=("HTTP/1.1 201", "Hello, world", r'\[\{"n":1\},\{"n":2\}\]', "stream-closed: true"),
    ),
    "docs/MIGRATING.md": Tour(
        expected=(r"^1$",),  # PUBLISH's answer: one node has a subscriber
        console="http://127.0.0.1:8080/",
        console_prints={
            'var { connect } = await import("/demo/tidegate.js");': ("subscribed",),
            """redis-cli PUBLISH tidegate:room:1 '{"event":"message","data":{"from":"ada","text":"high water"}}'""": ("ada: high water",),
            'var index = connect("/ws").subscribe("chat:index", ({ data }) => console.log("publication:", data.input));': (
                "subscribed to the index",),
            """curl http://127.0.0.1:9090/api/publish/chat:index -d '{"input":"high water"}'""": ("publication: high water",),
            'var source = new EventSource("/sse/chat:index");': ("open",),
            'redis-cli PUBLISH tidegate:chat:index "low water"': ("event: low water",),
        },
    ),
    "docs/operating/keys.md": Tour(
        before="export API_KEY=0123456789abcdef0123456789abcdef\ntidegate --set internal.api_key=$API_KEY &\n",
        expected=('"disconnected":0',),
    ),
    "docs/CLIENTS.md": Tour(
        before="tidegate --set broker.url=redis://127.0.0.1:6379 &\ntidegate subscribe news --set broker.url=redis://127.0.0.1:6379 &\n",
        expected=(r'"channels":\[\]', "tidegate:news", "subscribe +yes"),
        awaited=("can you hear me",),
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
    return f"until tidegate health --ready --set internal.listen={address} >/dev/null 2>&1; do sleep 0.05; done\n"


CONSOLE = """node "$CONSOLE_PROGRAM" {url} "$SCRATCH/console" &
disown
until [ -S "$SCRATCH/console" ]; do sleep 0.05; done
"""


def in_console(path, file):
    """Sends the file to the console, which fails where it throws or does not print what is expected."""
    return f'curl --silent --show-error --fail-with-body --unix-socket "$SCRATCH/console" http://console/{path} --data-binary @{file}\n'


def steps(blocks, tour, scratch):
    """The commands of all blocks, in order."""
    unused, has_console = dict(tour.console_prints), False
    for number, block in enumerate(blocks):
        if block.language == "js":
            if not has_console:
                yield CONSOLE.format(url=tour.console)
                has_console = True
            file = scratch / f"{number}.js"
            file.write_text(block.text)
            yield in_console("paste", file)
        elif tour.waits:
            for command in commands(block.text):
                yield f"{command}\n{ready(command)}"
        else:
            yield block.text
        for place, pattern in enumerate(unused.pop(block.text.split("\n", 1)[0], ())):
            file = scratch / f"{number}-{place}.pattern"
            file.write_text(pattern)
            yield in_console("prints", file)
    assert not unused, f"no block begins with {', '.join(unused)}"


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
        for command in commands(tour.before):
            script += f"{command}\n{ready(command)}"
        script += "".join(steps(blocks, tour, Path(scratch)))
        for text in tour.awaited:
            script += f"until grep -q '{text}' \"$SCRATCH/output\"; do sleep 0.05; done\n"
        # Nothing in the background may keep the output open.
        script += "set +m\nexit 0\n"
        environment = {**os.environ, "PATH": f"{release}:{os.environ['PATH']}", "SCRATCH": scratch, "CONSOLE_PROGRAM": CONSOLE_PROGRAM}
        with open(Path(scratch, "output"), "w+") as output:
            try:
                ended = subprocess.run([*isolated, "bash", "-c", script], cwd=scratch, env=environment, stdin=subprocess.DEVNULL,
                                       stdout=output, stderr=subprocess.STDOUT, timeout=SECONDS_MAX, check=False)
                end = f"exit code {ended.returncode}" if ended.returncode else None
            except subprocess.TimeoutExpired:
                end = f"not done after {SECONDS_MAX} s"
            output.seek(0)
            printed = output.read()
    assert end is None, f"{end}:\n{printed}"
    for expected in tour.expected:
        assert re.search(expected, printed, re.MULTILINE), f"{expected} is not printed:\n{printed}"
    for once in tour.once:
        assert len(re.findall(once, printed)) == 1, f"{once} is not printed once:\n{printed}"
    return None
