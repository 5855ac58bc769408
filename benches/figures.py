#!/usr/bin/env python3
"""Runs the benches and writes their figures into `README.md` beside this file.

    python3 benches/figures.py

It takes about ten minutes, and needs valgrind and a machine that does nothing else: times are
ratios within one run, but a busy machine spreads them.
"""

import datetime
import json
import pathlib
import platform
import re
import subprocess

BENCHES = pathlib.Path(__file__).parent
CRITERION = BENCHES.parent / "target" / "criterion"

# How the manual calls what the bench `events` measures.
LAYERS = {
    "bare": "no layer",
    "keep_alive": "keepalive",
    "keep_alive+shutdown": "keepalive and shutdown",
    "registry": "registry",
    "keep_alive+rotation": "rotation",
    "event_ids": "ids",
    "all five, one value": "all five",
}
PEER = "axum Sse with KeepAlive"
SIZES = {"64": "64 B", "256": "256 B", "4096": "4 KiB", "65536": "64 KiB"}


def bench(name, *arguments, features=()):
    features = ["--features", ",".join(features)] if features else []
    command = ["cargo", "bench", "-q", "-p", "tower-sse-benches", *features, "--bench", name]
    done = subprocess.run([*command, "--", *arguments], cwd=BENCHES.parent, text=True, check=True,
                          stdout=subprocess.PIPE)
    return done.stdout


def table(first, columns, rows):
    lines = [f"| {first} | {' | '.join(columns)} |", "| --- |" + " --- |" * len(columns)]
    return "\n".join(lines + [f"| {name} | {' | '.join(cells)} |" for name, cells in rows])


def ratio(value):
    return f"{value:.2g}" if value < 0.095 else f"{value:.2f}"


def events():
    bench("events", "^one/", "--warm-up-time", "0.5", "--measurement-time", "2")

    def time(size, name):
        # Criterion makes names of folders of what has no place in them.
        folder = CRITERION / f"one_{size}" / re.sub(r"[?\"/\\*<>:|^]", "_", name)
        return json.loads((folder / "new" / "estimates.json").read_text())["median"]["point_estimate"]

    rows = [(word, [ratio(time(size, name) / time(size, PEER)) for size in SIZES])
            for name, word in LAYERS.items()]
    return table("layers", SIZES.values(), rows)


def fanout():
    output = bench("fanout", "loopback")
    found = re.findall(r"^loopback/(\d+), (\w+)\s+\d+\s+\d+\s+([\d.]+)x", output, re.M)
    ratios = {(clients, pace): share for clients, pace, share in found}
    clients = dict.fromkeys(clients for clients, _, _ in found)
    rows = [(f"{int(n):,}", [ratios[n, "live"], ratios[n, "burst"]]) for n in clients]
    return table("clients", ["one event at a time", "64 events at once"], rows)


def output_of(name, *arguments, features=()):
    return "```text\n" + bench(name, *arguments, features=features).strip("\n") + "\n```"


def machine():
    cpu = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    rustc = subprocess.run(["rustc", "--version"], text=True, stdout=subprocess.PIPE).stdout.split()[1]
    cores = len(re.findall(r"^processor", pathlib.Path("/proc/cpuinfo").read_text(), re.M))
    date = datetime.date.today().isoformat()
    return f"{date}, {cores} cores of {cpu[1] if cpu else platform.processor()}, Linux, Rust {rustc}"


README = """# Costs

Times differ with the machine, so they are ratios within one run: 0.5 is half of the time of axum's `Sse`
with `KeepAlive`, on the same events. What does not differ, instructions and memory, is checked by
`tests/run`.

| bench | what it measures | checked |
| --- | --- | --- |
| `instructions` | instructions a frame, by callgrind | yes |
| `memory` | heap of an idle stream and its connection, and in a drain | yes |
| `log` | heap of what a log in memory keeps | yes |
| `followers` | heap and allocations of a hub's followers | yes |
| `topics` | what a topic costs among few and among many | yes |
| `events` | time an event, against axum's `Sse` | |
| `fanout` | time an event and a client, against Tokio's `broadcast` with axum's `Sse`, over sockets | |
| `waking` | time to reach 100,000 streams | |
| `crossover` | one frame or two, over a socket | |

`python3 benches/figures.py` made what follows, on {machine}.

## Time for an event

{events}

## One event to many clients

The server's processor time for an event and a client, over sockets of the loopback, against Tokio's
`broadcast` through axum's `Sse` with `KeepAlive`. Most of what a single event costs is the system's.

{fanout}

## Instructions

{instructions}

## Memory

{memory}

{followers}

{log}

## Topics

{topics}

## Waking

{waking}
"""


def main():
    figures = {
        "machine": machine(),
        "events": events(),
        "fanout": fanout(),
        "instructions": output_of("instructions", features=("metrics", "tracing")),
        "memory": output_of("memory"),
        "log": output_of("log"),
        "followers": output_of("followers"),
        "topics": output_of("topics"),
        "waking": output_of("waking"),
    }
    (BENCHES / "README.md").write_text(README.format(**figures))


if __name__ == "__main__":
    main()
