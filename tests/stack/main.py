"""Real nodes behind real load balancers, monitored by a real Prometheus, all with the files of deploy/.

    target/test-tools/venv/bin/python tests/stack/main.py SCRATCH

tests/stack.sh runs it. Prints a line for each check; exits with 1 if one has failed.
"""

import asyncio
import contextlib
import json
import shutil
import signal
import subprocess
import sys
import traceback
from pathlib import Path

import yaml

import compose
import local
import paper
import queries
import seeded
from balancer import STORM_SECONDS, Balancer
from fleet import DRAIN_DELAY, DRAIN_PERIOD, ENVOY, HANDSHAKES_PER_SECOND, NODES, Fleet, until

ROOT = Path(__file__).parents[2]
# A health check detects a drain within 1.5 s (haproxy.cfg) or 2 s (envoy.yaml), on a busy machine a little later.
DETECTED_BEFORE_SECONDS = 0.5
# The clients of each load balancer on the draining node: so few that it would otherwise get all new ones.
STAYING = 3

results = {"passed": 0, "failed": 0, "skipped": 0}


async def check(what, checking):
    """Runs a part and prints the result; the next part runs in any case."""
    try:
        detail = await checking if asyncio.iscoroutine(checking) else checking()
    except Exception as error:
        results["failed"] += 1
        where = next((it for it in reversed(traceback.extract_tb(error.__traceback__)) if "/tests/stack/" in it.filename), None)
        print(f"FAIL  {what}\n      {str(error) if isinstance(error, AssertionError) else repr(error)}{f' ({Path(where.filename).name}:{where.lineno})' if where else ''}", flush=True)
    else:
        results["passed"] += 1
        print(f"ok    {what}{f': {detail}' if detail else ''}", flush=True)


def skip(what, why):
    results["skipped"] += 1
    print(f"skip  {what}: {why}", flush=True)


def expect_none(faults):
    faults = list(faults)
    assert not faults, "\n      ".join(["faults:", *faults])


def succeeds(*command):
    run = subprocess.run([str(it) for it in command], capture_output=True, text=True, cwd=ROOT)
    assert run.returncode == 0, run.stdout + run.stderr


class Written:
    """The input of the checks of files."""

    def __init__(self):
        self.groups = yaml.safe_load((local.DEPLOY / "prometheus/alerts.yml").read_text())["groups"]
        self.tests = yaml.safe_load((local.DEPLOY / "prometheus/alerts_test.yml").read_text())["tests"]
        self.dashboard = json.loads((local.DEPLOY / "grafana/dashboards/tidegate.json").read_text())
        self.runbook_page = (ROOT / "docs/operating/runbooks.md").read_text()
        self.runbooks = (local.DEPLOY / "runbooks").read_text().strip()


async def files(written):
    prometheus = local.DEPLOY / "prometheus"
    for what, command in {
        "promtool check rules": ("promtool", "check", "rules", prometheus / "alerts.yml"),
        "promtool check config": ("promtool", "check", "config", prometheus / "prometheus.yml"),
        "promtool test rules": ("promtool", "test", "rules", prometheus / "alerts_test.yml"),
        "the dashboard is the output of dashboard.py": (sys.executable, local.DEPLOY / "grafana/dashboard.py", "--check"),
    }.items():
        await check(what, asyncio.to_thread(succeeds, *command))
    await check("compose.yaml, its overrides and mounted files", lambda: expect_none(compose.faults()))
    await check("alerts, runbooks and links", lambda: expect_none(paper.runbook_faults(written.groups, written.runbook_page, written.dashboard, written.runbooks)))
    await check("every alert is tested to fire and not to fire", lambda: expect_none(paper.alert_test_faults(written.groups, written.tests)))


async def balancers(fleet):
    kinds = [("haproxy", True, True), ("nginx", False, True), ("envoy", True, False)]
    found = []
    for number, (name, checks_readiness, compares_all) in enumerate(kinds, 1):
        there = ENVOY if name == "envoy" else shutil.which(name)
        if there:
            found.append(Balancer(name, number, await fleet.start_balancer(name), checks_readiness, compares_all))
            await found[-1].finds_all()
        else:
            skip(name, "its package could not be installed here" if name == "envoy" else f"there is no {name}")
    return found


async def each(balancers, what, method):
    """Runs a check for all load balancers concurrently."""
    await asyncio.gather(*(check(f"{it.name}: {what}", method(it)) for it in balancers))


@contextlib.asynccontextmanager
async def client_traffic(balancers):
    """Within it, some clients stay connected, and new ones connect continuously."""
    for it in balancers:
        it.failures.clear()
    tasks = [asyncio.create_task(it.arrive()) for it in balancers]
    tasks += [asyncio.create_task(client.stay_connected()) for it in balancers for client in it.crowd]
    try:
        yield
    finally:
        # Repeatedly, because Python 3.11's `wait_for` may lose a cancellation.
        while tasks:
            for task in tasks:
                task.cancel()
            _, tasks = await asyncio.wait(tasks, timeout=0.2)


async def new_arrivals(balancers, count, node=None):
    """Waits until each load balancer has had this many further new clients, on that node if one is given."""
    since = asyncio.get_running_loop().time()
    for it in balancers:
        enough = lambda: len([arrived for time, arrived in it.arrivals if time > since and arrived == (node or arrived)]) >= count
        try:
            await until(f"{count} new clients of {it.name}{f' on {node}' if node else ''}", enough, 30)
        except AssertionError as error:
            raise AssertionError(f"{error}; {it.failures[:3]}") from None


def expect_no_failures(it):
    assert not it.failures, f"{len(it.failures)} handshakes failed, of more than {len(it.arrivals)}: {it.failures[:3]}"


async def stormed(fleet, balancers):
    """A storm above the nodes' handshake limit. One load balancer after the other, because the limit counts all of them."""
    async with fleet.limited():
        for it in balancers:
            await check(f"{it.name}: in a storm, the nodes admit up to their limit, and the rest gets 503", admitted(it))


async def admitted(it):
    outcomes = await it.storm()
    least = NODES * HANDSHAKES_PER_SECOND * STORM_SECONDS * 0.6
    assert set(outcomes) == {101, 503} and outcomes[101] >= least, f"{dict(outcomes)}, and {least:.0f} should be admitted"
    return f"{outcomes[101]} admitted, {outcomes[503]} refused"


async def drained(fleet, balancers, name_of):
    """SIGTERM to the first node, which restarts afterwards."""
    node = fleet.nodes[0]
    name = name_of[node]
    for it in balancers:
        await it.leave_only(STAYING, name)
    async with client_traffic(balancers):
        await new_arrivals(balancers, 5, name)
        begun = asyncio.get_running_loop().time()
        node.signal(signal.SIGTERM)
        await until(f"{node.name} to exit", lambda: node.process.poll() is not None, DRAIN_DELAY + DRAIN_PERIOD + 15)
        await check("a drained node exits 0", lambda: expect_none([f"{node.process.returncode}"] if node.process.returncode else []))
        await new_arrivals(balancers, 10)

    async def took_no_new(it):
        limit = begun + DRAIN_DELAY - (DETECTED_BEFORE_SECONDS if it.checks_readiness else -0.1)
        late = it.arrived_at(name, limit)
        assert not late, f"{len(late)} clients were sent to it, up to {late[-1] - begun:.1f} s after SIGTERM"
        last = max(it.arrived_at(name, begun), default=begun)
        return f"the last {last - begun:.1f} s after SIGTERM, of {DRAIN_DELAY} s in which it still accepts"

    async def clients_moved(it):
        expect_no_failures(it)
        assert it.closes[1012], f"no connection was closed with 1012: {dict(it.closes)}"
        assert name not in it.by_node(), f"some clients are still on the node: {it.by_node()}"
        return f"{it.closes[1012]} closed with 1012, {len(it.arrivals)} new clients"

    await each(balancers, "a draining node gets no new connections", took_no_new)
    await each(balancers, "other nodes serve the drained node's clients, and no handshake fails", clients_moved)

    node.start()
    await until(f"{node.name} to be ready again", node.ready)
    name_of.update(await names(fleet))
    async with client_traffic(balancers):
        await check("a restarted node gets clients from all load balancers", new_arrivals(balancers, 1, name_of[node]))


async def killed(fleet, balancers):
    """SIGKILL to the second node, which does not restart."""
    async with client_traffic(balancers):
        await new_arrivals(balancers, 5)
        fleet.nodes[1].kill()
        await new_arrivals(balancers, 40)
    async def served(it):
        expect_no_failures(it)
        return f"{len(it.arrivals)} so far"
    await each(balancers, "a node is killed, and no handshake fails", served)


async def names(fleet):
    """The name of each node, from a direct connection."""
    found = {}
    for number, node in enumerate(fleet.nodes):
        direct = Balancer("direct", 250 - number, f"127.0.0.1:{node.public}", True, True)
        client = await direct.client().connect()
        found[node] = client.node
        await client.socket.close()
    return found


async def idle_timeout_is_real(fleet, balancers, name_of):
    """The counterpart of `keeps_idle`: without pings from a stopped node, the load balancer closes the connection."""
    node = fleet.nodes[2]
    name = name_of[node]
    left = {it: [client for client in it.crowd if client.node == name] for it in balancers}
    node.signal(signal.SIGSTOP)
    try:
        async def closes(it):
            assert left[it], f"it has no client on {node.name}"
            for client in left[it]:
                await asyncio.wait_for(client.socket.wait_closed(), local.IDLE_SECONDS + 5)
        await each(balancers, "without pings, its idle timeout closes connections", closes)
    finally:
        node.signal(signal.SIGCONT)


async def alerts_fire(fleet, *expected):
    """`expected` are (alert, node or None)."""
    wanted = {(alert, node and f"127.0.0.1:{node.internal}") for alert, node in expected}
    await until(f"{sorted(alert for alert, _ in wanted)} to fire", lambda: wanted <= fleet.alerts_firing(), 20)


async def watched(fleet, written):
    """After all this traffic, the dashboard's queries return data, and the alerts use existing metrics."""
    scraped = queries.Scraped(fleet)

    def dashboard():
        faults, count = queries.dashboard_faults(written.dashboard, scraped, fleet)
        expect_none(faults)
        return f"{count} queries"

    def alerts():
        faults, count = queries.alert_faults(written.groups, scraped)
        expect_none(faults)
        return f"{count} rules"

    await check("every query of the dashboard has data", dashboard)
    await check("every rule uses metrics and labels that the nodes have", alerts)
    await check("each of these checks finds a seeded fault", lambda: seeded.all_found(written, scraped, fleet))


async def main(scratch):
    written = Written()
    fleet = Fleet(scratch)
    try:
        await asyncio.gather(fleet.start(), files(written))
        await fleet.start_prometheus()
        behind = await balancers(fleet)
        name_of = await names(fleet)
        await each(behind, "new connections go to the node with the fewest", Balancer.spreads)
        await each(behind, "upgrades work, and nodes relay to each other", Balancer.relays)
        await each(behind, "nodes see the client's real address, even with a forged header", Balancer.forwards_addresses)
        await stormed(fleet, behind)
        await each(behind, "idle connections outlive its idle timeout", Balancer.keeps_idle)
        await drained(fleet, behind, name_of)

        fleet.nodes[0].config.write_text("[server]\nlistenn = 1\n")
        fleet.nodes[0].signal(signal.SIGHUP)
        await killed(fleet, behind)
        await check("an alert fires for a dead node", alerts_fire(fleet, ("TidegateNodeDown", fleet.nodes[1])))
        if not queries.pending("TidegateConfigRefused", "tidegate_config_refused"):
            await check("an alert fires for a refused configuration", alerts_fire(fleet, ("TidegateConfigRefused", fleet.nodes[0])))
        async with client_traffic(behind):
            await new_arrivals(behind, 40)
            await watched(fleet, written)
        await idle_timeout_is_real(fleet, behind, name_of)

        fleet.redis.kill()
        await check("an alert fires when Redis is down", alerts_fire(fleet, ("TidegateBrokerDown", fleet.nodes[0])))
    except Exception:
        results["failed"] += 1
        print("FAIL  the preparation of the following checks", flush=True)
        traceback.print_exc(limit=-3)
    finally:
        fleet.close()
    print(", ".join(f"{count} {what}" for what, count in results.items()))
    return 1 if results["failed"] else 0


if __name__ == "__main__":
    # So that stopping this program ends its processes.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(asyncio.run(main(Path(sys.argv[1]))))
