"""Runs the programs of docs/PUBLISHING.md: each language publishes to and listens beside a client of a node, on a Redis.

A section has three programs in this order: one publishes, one listens with SUBSCRIBE, one reads with XREAD. They name ports, so
each language runs in a network namespace of its own: this file, as a program, is what runs there.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import shell

PAGE = "docs/PUBLISHING.md"
LINES_MAX = 14
SECONDS_MAX = 240
BUILD_SECONDS_MAX = 600
ROLES = ("publish", "listen", "read")

ROOT = Path(__file__).resolve().parents[2]
MODULES = ROOT / "tests/snippets/services"
TOOLS = ROOT / "target/test-tools"
JARS = TOOLS / "java"

# Language of the block: the file that holds a program, the command that runs it, and the programs that this needs.
LANGUAGES = {
    "python": ("{role}.py", [str(TOOLS / "venv/bin/python"), "{file}"], ["python3"]),
    "js": ("{role}.mjs", ["node", "{file}"], ["node"]),
    "go": ("{role}/main.go", ["{folder}/bin/{role}"], ["go"]),
    "php": ("{role}.php", ["php", "{file}"], ["php"]),
    "ruby": ("{role}.rb", ["ruby", "{file}"], ["ruby"]),
    "java": ("{role}.java", ["java", "-cp", f"{JARS}/*:{{folder}}", "{name}"], ["javac", "mvn"]),
    "sh": ("{role}.sh", ["bash", "{file}"], []),
}

SHIPPED, DELIVERED = '{"state":"shipped"}', '{"state":"delivered"}'


def of_section(blocks, language):
    return [block for block in blocks if block.language == language]


def write(folder, language, blocks):
    """The programs as files, with what the language needs beside them."""
    name, _, _ = LANGUAGES[language]
    for role, block in zip(ROLES, blocks, strict=True):
        file = folder / name.format(role=role)
        file.parent.mkdir(exist_ok=True)
        file.write_text(block.text)
    if language == "js":
        (folder / "node_modules").symlink_to(MODULES / "node_modules")
    if language == "go":
        for file in ("go.mod", "go.sum"):
            shutil.copy(MODULES / file, folder)
        # Not optimized: the first build on a machine compiles the standard library too, and takes half as long so.
        build = ["go", "build", "-mod=mod", "-gcflags=all=-N -l", "-ldflags=-s -w", "-o", "bin/", "./..."]
        run_build(build, folder)
    if language == "java":
        run_build(["javac", "-cp", f"{JARS}/*", "-d", ".", *(name.format(role=role) for role in ROLES)], folder)


def run_build(command, folder):
    built = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=BUILD_SECONDS_MAX, check=False)
    assert built.returncode == 0, built.stderr


def missing(language):
    """Why the programs cannot run on this machine, or None."""
    for program in LANGUAGES[language][2]:
        if not shutil.which(program):
            return f"{program} is not installed"
    return None


def take(binary, blocks):
    """Yields (language, fault or None, reason of being skipped or None) for each language."""
    isolated = shell.isolation() if shutil.which("unshare") else None

    def one(language):
        mine = of_section(blocks, language)
        long = [str(block) for block in mine if len([line for line in block.text.splitlines() if line.strip()]) > LINES_MAX]
        if long:
            return language, f"more than {LINES_MAX} lines: {', '.join(long)}", None
        why_not = missing(language) if isolated else "no network namespace can be made here"
        if why_not:
            return language, None, why_not
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            (folder / "tidegate").symlink_to(binary)
            (folder / "tidegate.toml").write_text(of_section(blocks, "toml")[0].text)
            try:
                write(folder, language, mine)
                done = subprocess.run([*isolated, sys.executable, __file__, language, scratch], stdin=subprocess.DEVNULL,
                                      stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=SECONDS_MAX, check=False)
            except (AssertionError, ValueError, subprocess.SubprocessError) as error:
                return language, str(error), None
        return language, done.stdout if done.returncode else None, None

    known = [language for language in LANGUAGES if of_section(blocks, language)]
    with ThreadPoolExecutor(2) as pool:
        yield from pool.map(one, known)


class Lines:
    """The lines that a stream has had so far."""

    def __init__(self, stream, keep=lambda line: line):
        self.lines = []
        self.thread = threading.Thread(target=self.collect, args=(stream, keep), daemon=True)
        self.thread.start()

    def collect(self, stream, keep):
        for line in stream:
            kept = keep(line.decode(errors="replace").rstrip("\n"))
            if kept is not None:
                self.lines.append(kept)


def until(what, holds):
    deadline = time.monotonic() + 60
    while not holds():
        if time.monotonic() > deadline:
            raise SystemExit(f"gave up waiting until {what}")
        time.sleep(0.02)


def redis(*arguments):
    return subprocess.run(["redis-cli", *arguments], stdout=subprocess.PIPE, text=True, check=False).stdout


def start_servers(folder):
    subprocess.Popen(["redis-server", "--save", "", "--appendonly", "no", "--dir", folder], stdout=subprocess.DEVNULL)
    until("Redis answers", lambda: "PONG" in redis("PING"))
    subprocess.Popen(["tidegate", "--config", f"{folder}/tidegate.toml", "--set", "broker.url=redis://127.0.0.1:6379"],
                     stderr=open(f"{folder}/node.log", "w"))
    until("the node is ready", lambda: subprocess.run(["tidegate", "health", "--ready"], capture_output=True, check=False).returncode == 0)


def event_data(line):
    return line.removeprefix("data: ") if line.startswith("data: ") else None


def publish_bytes(url):
    """A publication that is not UTF-8, as a client may send one."""
    urllib.request.urlopen(urllib.request.Request(url, b"\xff\xfe", {"Content-Type": "application/octet-stream"}))


def event_stream(channel):
    return Lines(urllib.request.urlopen(f"http://127.0.0.1:8080/sse/{channel}"), event_data)


def inside(language, folder):
    """In the namespace: the language's three programs, and a client of the node that reads both channels."""
    subprocess.run(["bash", "-c", shell.LOOPBACK_UP], check=True)
    os.environ["PATH"] = f"{folder}:{os.environ['PATH']}"
    start_servers(folder)
    name, command, _ = LANGUAGES[language]

    def start(role):
        arguments = [part.format(role=role, name=role.capitalize(), folder=folder, file=f"{folder}/{name.format(role=role)}") for part in command]
        return subprocess.Popen(arguments, cwd=folder, stdout=subprocess.PIPE)

    def publish():
        output, _ = start("publish").communicate(timeout=60)
        return re.search(r"\d+-\d+", output.decode())[0]

    clients = {channel: event_stream(channel) for channel in ("news", "order:17")}
    listener, reader = Lines(start("listen").stdout), Lines(start("read").stdout)
    until("the program is subscribed to news", lambda: int(redis("PUBSUB", "NUMSUB", "tidegate:news").split()[-1]) >= 2)
    until("the program reads the stream", lambda: "blocked_clients:1" in redis("INFO", "clients"))

    # A program goes on after bytes that are no text.
    readers = {"news": [listener, clients["news"]], "order:17": [reader, clients["order:17"]]}
    for channel, both in readers.items():
        publish_bytes(f"http://127.0.0.1:9090/api/publish/{channel}")
        for one in both:
            until(f"the bytes on {channel} arrive", lambda one=one: one.lines)
            one.lines.clear()

    position = publish()
    assert publish() == position, "the idempotency key did not hold"
    # What a node publishes has a header line in Redis.
    urllib.request.urlopen("http://127.0.0.1:9090/api/publish/news", data=b"low water")
    news = ["the tide is in", "the tide is in", "low water"]
    until("the listening program printed it all", lambda: len(listener.lines) >= len(news))
    until("the reading program printed it all", lambda: len(reader.lines) >= 3)
    until("the node's clients got it all", lambda: all(len(client.lines) >= 3 for client in clients.values()))

    assert listener.lines == news, listener.lines
    assert reader.lines[0] == f"{position} {SHIPPED}", reader.lines
    assert [line.split(" ")[1] for line in reader.lines] == [SHIPPED, DELIVERED, DELIVERED], reader.lines
    assert clients["news"].lines == news, clients["news"].lines
    assert clients["order:17"].lines == [SHIPPED, DELIVERED, DELIVERED], clients["order:17"].lines


if __name__ == "__main__":
    inside(*sys.argv[1:])
