"""What the measurements share: programs pinned to one core, their CPU time by the scheduler's account, and wrk's load.

Only ratios from one run mean anything: machines are shared, and absolute figures drift. So both sides of a comparison run
at once, take turns under load, and every figure is a median over rounds with its spread.
"""

import hashlib
import http.client
import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# What is measured has a core of its own; load and upstream share the other.
MEASURED_CORE, OTHER_CORE = 0, 1

NUMBER = "106540352242922"
CALLER_KEY = "a-caller-of-the-load-test"


class Unmeasurable(Exception):
    """Something is missing, or answered what it must not: there is no figure then."""


def need(*programs):
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        raise Unmeasurable(f"missing: {', '.join(missing)}; on Debian: apt-get install {' '.join(missing)}")
    if (os.cpu_count() or 1) < 2:
        raise Unmeasurable("two cores are needed: one for what is measured, one for the load")


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def build(*arguments):
    """Builds in release mode, and returns the folder of the programs."""
    subprocess.run(["cargo", "build", "--release", "--locked", *arguments], cwd=ROOT, check=True)
    metadata = subprocess.run(
        ["cargo", "metadata", "--no-deps", "--format-version", "1"], cwd=ROOT, check=True, capture_output=True
    )
    return Path(json.loads(metadata.stdout)["target_directory"]) / "release"


class Program:
    """A program under way, pinned to a core. Ended when the `with` ends."""

    def __init__(self, name, command, *, core, port, env=None, folder):
        self.name = name
        self.port = port
        self._log = open(Path(folder) / f"{name}.log", "wb")
        self._process = subprocess.Popen(
            ["taskset", "--cpu-list", str(core), *map(str, command)],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            env={**os.environ, **(env or {})},
        )

    def __enter__(self):
        deadline = time.monotonic() + 20
        while True:
            if self._process.poll() is not None:
                raise Unmeasurable(f"{self.name} ended at once: {self._tail()}")
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return self
            except OSError:
                if time.monotonic() > deadline:
                    raise Unmeasurable(f"{self.name} does not listen: {self._tail()}") from None
                time.sleep(0.05)

    def __exit__(self, *_):
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()

    def _tail(self):
        self._log.flush()
        return Path(self._log.name).read_text(errors="replace")[-500:]

    def _processes(self):
        todo, all_of_it = [self._process.pid], []
        while todo:
            pid = todo.pop()
            all_of_it.append(pid)
            for children in Path(f"/proc/{pid}/task").glob("*/children"):
                todo.extend(map(int, children.read_text().split()))
        return all_of_it

    def cpu_ns(self):
        """Nanoseconds on a core so far, over all threads of the process tree."""
        threads = (task for pid in self._processes() for task in Path(f"/proc/{pid}/task").iterdir())
        return sum(int((task / "schedstat").read_text().split()[0]) for task in threads)

    def rss_kib(self):
        """What the process tree has in memory now."""
        return sum(
            int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) for pid in self._processes()
        )


def wrk(url, *, seconds, connections, script=None, headers=None):
    """Loads `url` for `seconds`, and returns how many answers came. Any that is no success is an error."""
    command = ["taskset", "--cpu-list", str(OTHER_CORE), "wrk", "-t1", f"-c{connections}", f"-d{seconds}s"]
    for name, value in (headers or {}).items():
        command += ["-H", f"{name}: {value}"]
    if script:
        command += ["-s", str(script)]
    told = subprocess.run([*command, url], check=True, capture_output=True, text=True).stdout
    faults = re.findall(r"Non-2xx.*|Socket errors.*", told)
    if faults:
        raise Unmeasurable(f"{url}: {'; '.join(faults)}")
    return int(re.search(r"(\d+) requests in", told)[1])


def cpu_per_request(program, load):
    """CPU time of `program` for each answer of `load`, in microseconds."""
    before = program.cpu_ns()
    done = load()
    return (program.cpu_ns() - before) / done / 1000


def interleaved(sides, rounds):
    """Measures every side once a round, in turn and in changing order. The first round only warms up."""
    measured = {name: [] for name in sides}
    for round_number in range(rounds + 1):
        order = list(sides) if round_number % 2 == 0 else list(reversed(list(sides)))
        for name in order:
            value = sides[name]()
            if round_number:
                measured[name].append(value)
    return measured


def table(measured, unit, against):
    """Prints medians with their spread, and each side's ratio to `against`: round by round, then the median of those."""
    print(f"\n| | {unit}, median (least to most) | × {against}, median (least to most) |\n|---|---|---|")
    for name, values in measured.items():
        ratios = [value / other for value, other in zip(values, measured[against], strict=True)]
        print(
            f"| {name} | {statistics.median(values):.1f} ({min(values):.1f} to {max(values):.1f}) "
            f"| {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}) |"
        )


def request(port, method, path, body=None, headers=None):
    """One exchange. Returns the answer's JSON, or its bytes if it is something else."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request(method, path, body, {"Authorization": f"Bearer {CALLER_KEY}", **(headers or {})})
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    if answer.status != 200:
        raise Unmeasurable(f"{method} {path}: {answer.status} {content[:300]!r}")
    is_json = answer.headers.get_content_type() == "application/json"
    return json.loads(content) if is_json else content


def upload(port, content, mime_type):
    """Uploads a medium, and returns its id."""
    boundary = "the-load-test-has-no-such-line"
    fields = {"messaging_product": "whatsapp", "type": mime_type}
    form = "".join(
        f'--{boundary}\r\ncontent-disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in fields.items()
    )
    form += f'--{boundary}\r\ncontent-disposition: form-data; name="file"; filename="medium"\r\n'
    form += f"content-type: {mime_type}\r\n\r\n"
    body = form.encode() + content + f"\r\n--{boundary}--\r\n".encode()
    headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    return request(port, "POST", f"/v23.0/{NUMBER}/media", body, headers)["id"]


def media_url(port, media):
    """The URL of a medium, as the metadata call gives it: good for five minutes."""
    return request(port, "GET", f"/v23.0/{media}?phone_number_id={NUMBER}")["url"]


def target_of(url):
    """The path and query of a URL."""
    parts = urllib.parse.urlsplit(url)
    return parts.path + (f"?{parts.query}" if parts.query else "")


POLICIES = f"""
[[number]]
phone_number_id = "{NUMBER}"
storage = {{ mode = "no_storage" }}

[[caller]]
name = "loadtest"
key_sha256 = "{hashlib.sha256(CALLER_KEY.encode()).hexdigest()}"
numbers = ["{NUMBER}"]
may = ["send", "media", "read"]
"""


class Bench:
    """A folder, an emulator as upstream, and gateways before it. Everything ends with the `with`."""

    def __init__(self):
        self._folder = tempfile.TemporaryDirectory(prefix="curfew-peers-")
        self.folder = Path(self._folder.name)
        # nginx's worker is another user where its master is root.
        self.folder.chmod(0o711)
        self._programs = []

    def __enter__(self):
        (self.folder / "policies.toml").write_text(POLICIES)
        return self

    def __exit__(self, *_):
        for program in reversed(self._programs):
            program.__exit__()
        self._folder.cleanup()

    def start(self, name, command, *, core, port, env=None):
        program = Program(name, command, core=core, port=port, env=env, folder=self.folder)
        self._programs.append(program)
        return program.__enter__()

    def emulator(self, curfew):
        port = free_port()
        listen = f"127.0.0.1:{port}"
        policies = self.folder / "policies.toml"
        return self.start(
            "emulator", [curfew, "emulator", "--listen", listen, "--policies", policies], core=OTHER_CORE, port=port
        )

    def gateway(self, name, binary, upstream):
        """A gateway with one worker thread, as the peers have one worker."""
        port, admin_port = free_port(), free_port()
        origin = f"http://127.0.0.1:{upstream.port}"
        config = self.folder / f"{name}.toml"
        config.write_text(
            f'listen = "127.0.0.1:{port}"\nadmin_listen = "127.0.0.1:{admin_port}"\npolicies = "policies.toml"\n'
            f'[upstream]\ngraph = "{origin}"\nmedia = ["{origin}"]\ntoken = {{ env = "CURFEW_GRAPH_TOKEN" }}\n'
        )
        env = {"CURFEW_GRAPH_TOKEN": "token-of-the-load-test", "TOKIO_WORKER_THREADS": "1"}
        return self.start(name, [binary, "run", "--config", config], core=MEASURED_CORE, port=port, env=env)


def main(measure):
    """Runs a measurement, and says in one line why there is none."""
    try:
        measure()
    except Unmeasurable as reason:
        sys.exit(f"cannot measure: {reason}")
