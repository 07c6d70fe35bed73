"""Starts a Spark cluster on loopback, runs a command beside it, and stops the cluster after it.

    cluster.py COMMAND [ARGUMENT]...

tests/spark/start, which calls this with the Python that has pyspark, says what the command is given. The command's
exit status is handed on. Whatever ends this, the processes of the cluster end too.

Each process of the cluster leads a session of its own, except the executors. An executor is a child of the worker that
it runs on, so a test finds one in /proc: `CoarseGrainedExecutorBackend` is a word of /proc/PID/cmdline, and the parent
in /proc/PID/stat (the second field after the last `)`) is the process id in worker1.pid or worker2.pid. When it is
killed, the master lets the worker start another one.
"""

import ctypes
import importlib.util
import json
import os
import platform
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SECONDS_TO_START = 120
SECONDS_TO_STOP = 5
WORKERS = 2
LINES_OF_LOG = 30

# Tests are short: the first compiler of the JVM is enough, and leaves more of few cores to the tests.
JAVA_OPTIONS = "-XX:+UseSerialGC -XX:TieredStopAtLevel=1"
# With Debian's package musl on a machine of glibc, snappy-java takes its library for musl, which does not load there.
MUSL = Path("/lib/ld-musl-x86_64.so.1")
SNAPPY = "org/xerial/snappy/native/Linux/x86_64/libsnappyjava.so"

# Whatever proxy the machine has, this one does not go through it.
LOOPBACK = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class CannotStart(Exception):
    pass


class Cluster:
    def __init__(self, run):
        self.run = run
        self.processes = {}
        self.master_port, self.page_port, self.connect_port = free_ports(3)
        self.spark = Path(importlib.util.find_spec("pyspark").submodule_search_locations[0])
        # The settings of whoever starts this are not for the tests.
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith(("SPARK_", "HADOOP_"))}
        self.environment |= {
            "SPARK_HOME": str(self.spark),
            "SPARK_LOCAL_IP": "127.0.0.1",
            "SPARK_LOCAL_HOSTNAME": "127.0.0.1",
            "PYSPARK_PYTHON": sys.executable,
            "TMPDIR": str(self.folder("tmp")),
            "SPARK_CONF_DIR": str(self.folder("conf")),
            "SPARK_LOCAL_DIRS": str(self.folder("local")),
            "SPARK_WORKER_DIR": str(self.folder("work")),
        }
        self.java_options = JAVA_OPTIONS
        if MUSL.exists() and platform.libc_ver()[0] == "glibc":
            self.java_options += self.snappy_for_glibc()

    def snappy_for_glibc(self):
        [jar] = (self.spark / "jars").glob("snappy-java-*.jar")
        with zipfile.ZipFile(jar) as content:
            library = Path(content.extract(SNAPPY, self.folder("snappy")))
        return f" -Dorg.xerial.snappy.lib.path={library.parent} -Dorg.xerial.snappy.lib.name={library.name}"

    def folder(self, name):
        path = self.run / name
        path.mkdir(exist_ok=True)
        return path

    def variables(self):
        """What the command is told of it."""
        return {
            "ASOF_TEST_SPARK_REMOTE": f"sc://127.0.0.1:{self.connect_port}",
            "ASOF_TEST_SPARK_RUN": str(self.run),
            "ASOF_TEST_SPARK_CONNECT": str(HERE / "connect"),
        }

    def start(self):
        # At the same time: who comes early tries again until the master is there.
        self.start_daemon("master", "master.Master", "--host", "127.0.0.1", "--port", self.master_port, "--webui-port", self.page_port)
        for number in range(1, WORKERS + 1):
            place = ("--host", "127.0.0.1", "--port", 0, "--webui-port", 0)
            size = ("--cores", 1, "--memory", "1g")
            self.start_daemon(f"worker{number}", "worker.Worker", *place, *size, self.master())
        # The Connect server does not try for long, so it waits until there is somebody to run its jobs.
        self.wait_until(lambda: self.state()["aliveworkers"] == WORKERS, f"{WORKERS} workers")
        self.start_connect()
        self.wait_until(lambda: accepts(self.connect_port), "a Connect server that accepts connections")
        self.wait_until(lambda: self.state()["coresused"] == WORKERS, "an executor on each worker")

    def master(self):
        return f"spark://127.0.0.1:{self.master_port}"

    def start_daemon(self, name, program, *arguments):
        # These settings are for the daemons alone: such a small heap would be too small for the Connect server.
        environment = {"SPARK_DAEMON_MEMORY": "256m", "SPARK_DAEMON_JAVA_OPTS": f"-Dspark.master.rest.enabled=false {JAVA_OPTIONS}"}
        self.start_process(name, [self.spark / "bin/spark-class", f"org.apache.spark.deploy.{program}", *arguments], environment)

    def start_connect(self):
        settings = {
            "spark.connect.grpc.binding.address": "127.0.0.1",
            "spark.connect.grpc.binding.port": self.connect_port,
            "spark.cores.max": WORKERS,
            "spark.driver.bindAddress": "127.0.0.1",
            "spark.driver.host": "127.0.0.1",
            "spark.executor.cores": 1,
            "spark.executor.extraJavaOptions": self.java_options,
            "spark.executor.memory": "600m",
            "spark.sql.shuffle.partitions": 4,
            "spark.sql.warehouse.dir": self.run / "warehouse",
            "spark.ui.enabled": "false",
        }
        command = [self.spark / "bin/spark-submit", "--class", "org.apache.spark.sql.connect.service.SparkConnectServer"]
        command += ["--name", "asof-test", "--master", self.master(), "--driver-memory", "1g", "--driver-java-options", self.java_options]
        for name, value in settings.items():
            command += ["--conf", f"{name}={value}"]
        self.start_process("connect", [*command, "spark-internal"], {})

    def start_process(self, name, command, environment):
        with self.log(name).open("ab") as log:
            process = subprocess.Popen(
                list(map(str, command)),
                cwd=self.run,
                env=self.environment | environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Ctrl-C is for the command. The cluster is stopped when that has ended.
                start_new_session=True,
                preexec_fn=end_with_parent,
            )
        self.processes[name] = process
        # Spark's scripts end with `exec`, so this is the process id of the JVM.
        new = self.run / f"{name}.pid.new"
        new.write_text(f"{process.pid}\n")
        new.rename(self.run / f"{name}.pid")

    def start_connect_if_wanted(self):
        """A test asks for it by a file, which tests/spark/connect makes."""
        wanted = self.run / "connect.wanted"
        if wanted.exists():
            kill(self.processes["connect"])
            wanted.unlink()
            self.start_connect()

    def wait_until(self, holds, what):
        while not holds():
            for name, process in self.processes.items():
                if process.poll() is not None:
                    raise CannotStart(f"{name} ended with status {process.returncode}{self.log_tails()}")
            if time.monotonic() > self.deadline:
                raise CannotStart(f"there were not, in {SECONDS_TO_START} s: {what}{self.log_tails()}")
            time.sleep(0.1)

    deadline = float("inf")

    def state(self):
        """What the master says of itself."""
        try:
            with LOOPBACK.open(f"http://127.0.0.1:{self.page_port}/json/", timeout=5) as answer:
                return json.load(answer)
        except OSError:
            return {"aliveworkers": 0, "coresused": 0}

    def log(self, name):
        return self.run / f"{name}.log"

    def log_tails(self):
        text = ""
        for name in self.processes:
            lines = self.log(name).read_text(errors="replace").splitlines()[-LINES_OF_LOG:]
            text += f"\nthe end of {name}.log:" + "".join(f"\n    {line}" for line in lines)
        return text

    def stop(self):
        # It does not take long, and an impatient second Ctrl-C must not cut it short.
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        # Connect first: it takes its executors with it.
        for process in reversed(self.processes.values()):
            process.terminate()
        deadline = time.monotonic() + SECONDS_TO_STOP
        for process in self.processes.values():
            try:
                process.wait(max(0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                pass
            kill(process)


def kill(process):
    """Kills a process of the cluster and its executors, if it has some."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


def end_with_parent():
    """Runs in the new process: the kernel is to kill it should this one be killed before it can."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


def accepts(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError:
        return False
    return True


def free_ports(count):
    """Not those that the kernel gives out (bind to port 0): it may give one to a client before its server has it."""
    found = []
    for port in random.sample(range(20000, 32000), 1000):
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        found.append(port)
        if len(found) == count:
            return found
    raise CannotStart("there are no free ports")


class Command:
    """What runs beside the cluster, once it does. A signal is for it then, and until it does ends everything."""

    process = None

    def signalled(self, number, _frame):
        if self.process is None:
            raise SystemExit(128 + number)
        if self.process.poll() is None:
            self.process.send_signal(number)

    def run(self, words, variables, between):
        try:
            self.process = subprocess.Popen(words, env=os.environ | variables)
        except OSError as error:
            raise CannotStart(f"{words[0]}: {error.strerror}") from error
        while (status := self.process.poll()) is None:
            between()
            time.sleep(0.05)
        return status if status >= 0 else 128 - status


def main():
    command = Command()
    for number in SIGNALS:
        # Whoever started this with a signal ignored (nohup does) wants it ignored.
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, command.signalled)

    with tempfile.TemporaryDirectory(prefix="asof-test-spark-", ignore_cleanup_errors=True) as run:
        cluster = Cluster(Path(run))
        cluster.deadline = time.monotonic() + SECONDS_TO_START
        try:
            cluster.start()
            return command.run(sys.argv[1:], cluster.variables(), cluster.start_connect_if_wanted)
        except CannotStart as error:
            print(f"tests/spark: {error}", file=sys.stderr)
            return 1
        finally:
            cluster.stop()


if __name__ == "__main__":
    sys.exit(main())
