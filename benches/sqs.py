#!/usr/bin/env python3
"""Measures a four-node network over SQS: requests, propagation under a flood, and throughput without loss.

Uses only the built program and the endpoint that the standard AWS environment names, such as an emulator:
    AWS_ENDPOINT_URL_SQS=http://127.0.0.1:4566 AWS_REGION=us-east-1 AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test \
        benches/sqs.py --record benches/record/MACHINE/DATE-sqs.md
Parts: requests, flood, throughput and idle (16 minutes, the back-off of statuses included). Mean and extremes over
nodes; times are from the nodes' own logs, all on one machine and so on one clock.
"""
import argparse, datetime, json, os, pathlib, shutil, statistics, subprocess, sys, tempfile, time

ROOT = pathlib.Path(__file__).resolve().parent.parent
NODES = 4
SETTLED_S = 5 * (2**6 - 1) + 330  # statuses after 5, 10, ... 160 and then every 300 s


class Network:
    """Four nodes in a directory of their own, with queues of their own."""

    def __init__(self, program, transport, difficulty):
        self.program, self.transport = program, transport
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="quarry-bench-"))
        self.prefix = f"bench-{os.getpid()}-{time.time_ns() % 10**9}-"
        self.run("init", "--open", "--balance", "1000000.00", "--difficulty", str(difficulty))
        self.nodes = [self.start(str(id), "--backend", "cpu", "--threads", "1") for id in range(NODES)]
        self.wait(lambda: all(self.status(id) for id in range(NODES)), 120, "the nodes to start")
        known = lambda id: len((self.status(id) or {"peers": []})["peers"]) == NODES - 1
        self.wait(lambda: all(known(id) for id in range(NODES)), 120, "the nodes to find each other")

    def arguments(self, *arguments):
        common = ["--dir", str(self.dir), "--transport", self.transport, "--queue-prefix", self.prefix]
        return [self.program, *arguments, *common]

    def run(self, *arguments):
        result = subprocess.run(self.arguments(*arguments), capture_output=True, text=True)
        if result.returncode:
            sys.exit(f"{arguments}: {result.stderr}")
        return result.stdout

    def start(self, *arguments):
        name = arguments[0] if arguments[0] == "generate" else f"node{arguments[0]}"
        log = open(self.dir / f"{name}.log", "a")
        command = self.arguments(*arguments) + ["--log-format", "json"]
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def status(self, id):
        result = subprocess.run(
            self.arguments("status", "--node", str(id), "--json"), capture_output=True, text=True
        )
        return json.loads(result.stdout) if result.returncode == 0 else None

    def statuses(self):
        return [self.status(id) for id in range(NODES)]

    def requests(self):
        return [it["usage"]["requests"] for it in self.statuses()]

    def wait(self, is_done, patience_s, what):
        started = time.monotonic()
        while not is_done():
            if patience_s < time.monotonic() - started:
                sys.exit(f"waited {patience_s} s in vain for {what}; see {self.dir}")
            time.sleep(0.25)

    def at_rest(self):
        statuses = self.statuses()
        return all(statuses) and all(it["mempool"] == 0 and it["tip"] == statuses[0]["tip"] for it in statuses)

    def generate(self, rate, count):
        """Runs a generator to its end; answers how many transactions it has sent and how long that took."""
        started = time.monotonic()
        generator = self.start("generate", "--rate", str(rate), "--count", str(count))
        if generator.wait():
            sys.exit(f"the generator has failed; see {self.dir}")
        end = [line for line in self.log("generate") if line["fields"].get("message") == "generator stops"][-1]
        return end["fields"]["count"] - end["fields"]["unsent"], time.monotonic() - started

    def log(self, name):
        for line in open(self.dir / f"{name}.log"):
            if line.startswith("{"):
                yield json.loads(line)

    def stop(self):
        """Stops all; answers how many transactions each node's chain holds, every rule checked."""
        for node in self.nodes:
            node.terminate()
        for node in self.nodes:
            node.wait()
        verify = lambda id: json.loads(self.run("verify", "--node", str(id), "--json"))["transactions"]
        mined = [verify(id) for id in range(NODES)]
        if self.transport == "sqs":
            self.run("queues", "delete", "--nodes", str(NODES), "--yes")
        shutil.rmtree(self.dir)
        return mined


def percentile(values, share):
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def measure_requests(options, say):
    say("## Requests per node and transaction\n")
    say("| offered tx/s | transactions | blocks | per node and transaction | min..max of nodes | by kind (all nodes) |")
    say("|---|---|---|---|---|---|")
    for rate in options.rates:
        network = Network(options.program, "sqs", options.difficulty)
        network.generate(rate, max(10, rate * 5))  # caches, listings and the first blocks
        network.wait(network.at_rest, 120, "rest")
        before = network.requests()
        mined_before = sum(it["counters"].get("blocks_mined", 0) for it in network.statuses())
        count, _ = network.generate(rate, rate * options.seconds)
        network.wait(network.at_rest, 300, "rest")
        blocks = sum(it["counters"].get("blocks_mined", 0) for it in network.statuses()) - mined_before
        kinds = [
            {kind: now[kind] - then.get(kind, 0) for kind in now} for then, now in zip(before, network.requests())
        ]
        mined = network.stop()
        each = [sum(kind.values()) / count for kind in kinds]
        total = {kind: sum(it.get(kind, 0) for it in kinds) for kind in sorted({k for it in kinds for k in it})}
        text = ", ".join(f"{kind} {number}" for kind, number in total.items() if number)
        say(f"| {rate} | {count} | {blocks} | **{statistics.mean(each):.3f}** | {min(each):.3f}..{max(each):.3f} | {text} |")
        assert len(set(mined)) == 1, mined
    say("")


def measure_flood(options, say):
    network = Network(options.program, "sqs", options.difficulty)
    network.generate(50, 50)
    network.wait(network.at_rest, 120, "rest")
    started = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None).isoformat()
    begin = time.monotonic()
    count, took = network.generate("max", options.flood)
    network.wait(network.at_rest, 600, "the end of the flood")
    lasted = time.monotonic() - begin
    first = {}
    for id in range(NODES):
        for line in network.log(f"node{id}"):
            block = line["fields"].get("hash")
            if block and started <= line["timestamp"].rstrip("Z"):
                key = line["fields"]["message"] == "mined a block"
                at = datetime.datetime.fromisoformat(line["timestamp"].rstrip("Z")).timestamp()
                first.setdefault(block, {}).setdefault(id, (at, key))
    delays = []
    for arrivals in first.values():
        mined = [at for at, is_mined in arrivals.values() if is_mined]
        if mined:
            delays += [at - mined[0] for at, is_mined in arrivals.values() if not is_mined]
    mined = network.stop()
    say("## Blocks during a flood\n")
    say(f"{count} transactions offered at once (sent within {took:.1f} s, all mined after {lasted:.1f} s; a")
    say(f"message carries as many as fit), {len(first)} blocks seen,")
    say(f"{len(delays)} arrivals at other nodes: p50 {percentile(delays, 0.5):.3f} s,")
    say(f"**p99 {percentile(delays, 0.99):.3f} s**, max {max(delays):.3f} s. Mined in the end: {mined}.\n")


def measure_throughput(options, say):
    say(f"## {options.throughput} tx/s offered for {options.seconds} s\n")
    say("| transport | offered | sending took | until all were mined | mined, by node | lost |\n|---|---|---|---|---|---|")
    for transport in ("sqs", "local"):
        network = Network(options.program, transport, options.difficulty)
        started = time.monotonic()
        count, took = network.generate(options.throughput, options.throughput * options.seconds)
        network.wait(network.at_rest, 900, "rest")
        rest = time.monotonic() - started
        mined = network.stop()
        lost = count - min(mined)
        say(f"| {transport} | {count} | {took:.1f} s | {rest:.1f} s | {mined} | **{lost}** |")
    say("")


def measure_idle(options, say):
    network = Network(options.program, "sqs", options.difficulty)
    network.generate(10, 10)
    network.wait(network.at_rest, 120, "rest")
    time.sleep(SETTLED_S)
    before, started = network.requests(), time.monotonic()
    time.sleep(options.idle_minutes * 60)
    after, elapsed = network.requests(), time.monotonic() - started
    days = [
        (sum(now.values()) - sum(then.values())) * 86_400 / elapsed for then, now in zip(before, after)
    ]
    network.stop()
    say("## An idle node's day\n")
    say(f"Extrapolated from {elapsed / 60:.1f} minutes, {SETTLED_S / 60:.0f} minutes after the last block:")
    say(f"**{statistics.mean(days):.0f} requests** ({min(days):.0f}..{max(days):.0f}).\n")
    rounds = 86_400 // 300
    polls, listings, owner = 86_400 // 20, 86_400 // 300, 86_400 // 600
    # Each round a status to each peer, and a reply to who was asked; each is sent, received and deleted by somebody.
    messages = rounds * (NODES - 1) + rounds
    total = polls + listings + owner + 3 * messages
    say(f"By arithmetic at most {total}: {polls} polls of 20 s; {rounds} rounds of {NODES - 1} statuses and a reply,")
    say(f"that is {messages} messages sent and as many received (which may cost a poll each) and deleted;")
    say(f"{listings} listings; {owner} looks at the owner tag.\n")


PARTS = {
    "requests": measure_requests,
    "flood": measure_flood,
    "throughput": measure_throughput,
    "idle": measure_idle,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=list(PARTS), help=", ".join(PARTS))
    parser.add_argument("--program", default=str(ROOT / "target/release/node"))
    parser.add_argument("--record", help="write the Markdown here, too")
    parser.add_argument("--difficulty", type=int, default=6)
    parser.add_argument("--rates", type=int, nargs="+", default=[1, 10, 100, 1000])
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--flood", type=int, default=10_000)
    parser.add_argument("--throughput", type=int, default=1000)
    parser.add_argument("--idle-minutes", type=float, default=10)
    options = parser.parse_args()
    lines = []

    def say(text):
        print(text, flush=True)
        lines.append(text)
        if options.record:
            pathlib.Path(options.record).write_text("\n".join(lines) + "\n")

    cpu = next((it for it in open("/proc/cpuinfo") if it.startswith("model name")), ": unknown").split(":")[1]
    place = os.environ.get("AWS_ENDPOINT_URL_SQS") or os.environ.get("AWS_ENDPOINT_URL") or "Amazon SQS"
    say("# A network of four nodes over SQS\n")
    say(f"{datetime.date.today()}, {os.cpu_count()} CPUs ({cpu.strip()}), load {os.getloadavg()[0]:.1f} at the start.")
    say(f"Endpoint: {place}. Command: `benches/sqs.py {' '.join(sys.argv[1:])}`. Nodes mine with one CPU thread each,")
    say(f"{options.difficulty} leading zeros.\n")
    for part in options.parts:
        PARTS[part](options, say)


main()
