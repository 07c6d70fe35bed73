"""Starts the object stores and databases that the tests use, runs a command beside them, and stops them after it.

    servers.py [COMMAND [ARGUMENT]...]

The command finds their addresses in its environment, and its exit status is handed on. Without a command, the
addresses are printed and the servers run until the end of standard input, or a signal. All of them listen on 127.0.0.1
only, start empty but for the bucket or container `asof-test`, and forget everything when they stop.

tests/servers/start, which calls this, has seen to it that they are installed.
"""

import base64
import ctypes
import datetime
import email.utils
import hashlib
import hmac
import ipaddress
import os
import random
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

HERE = Path(__file__).resolve().parent
BUCKET = "asof-test"
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SECONDS_TO_START = 60
SECONDS_TO_STOP = 5

# Not a secret: the account that Azurite's documentation gives, built into every client.
AZURE_ACCOUNT = "devstoreaccount1"
AZURE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
AZURE_VERSION = "2023-11-03"

# Whatever proxy the machine has, this one does not go through it.
LOOPBACK = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class CannotStart(Exception):
    pass


class Server:
    def __init__(self, name, variable, port, command, prepare=lambda address: None):
        self.name = name
        self.variable = variable
        self.port = port
        self.address = f"http://127.0.0.1:{port}"
        self.command = command
        self.prepare = prepare
        self.process = None

    # Whom the server runs as, if not as whoever starts it.
    user = None

    def variables(self):
        """What the command is told of it."""
        return {self.variable: self.address}

    def fill(self, folder):
        """Makes what the server finds in its folder."""

    def start(self, scratch):
        folder = scratch / self.name
        folder.mkdir()
        self.fill(folder)
        self.log = folder / "log"
        try:
            with self.log.open("wb") as log:
                self.process = subprocess.Popen(
                    self.command,
                    cwd=folder,
                    env={**os.environ, "TMPDIR": str(folder), "PYTHONUNBUFFERED": "1"},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    user=self.user,
                    # Ctrl-C is for the command. The servers are stopped when that has ended.
                    start_new_session=True,
                    preexec_fn=end_with_parent,
                )
        except OSError as error:
            raise CannotStart(f"{self.name}: {error}") from error

    def wait_for_answer(self, deadline):
        while True:
            if self.process.poll() is not None:
                raise CannotStart(f"{self.name} ended with status {self.process.returncode}{self.log_tail()}")
            if self.answers():
                return
            if time.monotonic() > deadline:
                raise CannotStart(f"{self.name} did not answer in {SECONDS_TO_START} s{self.log_tail()}")
            time.sleep(0.05)

    def answers(self):
        try:
            LOOPBACK.open(self.address, timeout=5).close()
        except urllib.error.HTTPError:
            # An answer too: nobody has signed this request.
            pass
        except OSError:
            return False
        return True

    def make_bucket(self):
        try:
            self.prepare(self.address)
        except OSError as error:
            raise CannotStart(f"{self.name} made no {BUCKET}: {error}{self.log_tail()}") from error

    def log_tail(self):
        lines = self.log.read_text(errors="replace").splitlines()[-30:]
        return "; the end of its log:" + "".join(f"\n    {line}" for line in lines)


class Database(Server):
    """A server of the system's packages, with the database, the user and the password `asof`."""

    # It refuses to run as root.
    user = "nobody" if os.geteuid() == 0 else None

    def __init__(self, name, variable, port, command, address):
        super().__init__(name, variable, port, command)
        self.address = address

    def run(self, *words, **environment):
        done = subprocess.run(
            words,
            cwd=self.folder,
            env={**os.environ, "TMPDIR": str(self.folder), **environment},
            capture_output=True,
            text=True,
            user=self.user,
        )
        if done.returncode != 0:
            raise CannotStart(f"{self.name}: {words[0]} failed: {done.stdout}{done.stderr}")

    def fill(self, folder):
        self.folder = folder
        if self.user:
            shutil.chown(folder, self.user)
        self.certify()
        self.install()

    def answers(self):
        # A server listens before it serves.
        try:
            self.ask("SELECT 1")
        except CannotStart:
            return False
        return True

    def certify(self):
        """Makes a certificate for 127.0.0.1, which is its own authority."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "asof-test")])
        host = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        now = datetime.datetime.now(datetime.timezone.utc)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName([host]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )
        pem = serialization.Encoding.PEM
        self.certificate = self.folder / "certificate.pem"
        self.certificate.write_bytes(certificate.public_bytes(pem))
        key_file = self.folder / "key.pem"
        key_file.touch(mode=0o600)
        key_file.write_bytes(
            key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        )
        if self.user:
            shutil.chown(key_file, self.user)

    def variables(self):
        return {**super().variables(), f"{self.variable}_CA": str(self.certificate)}


class Postgres(Database):
    def __init__(self, port):
        self.bin = sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1]
        settings = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "fsync": "off",
            "ssl": "on",
            "ssl_cert_file": "../certificate.pem",
            "ssl_key_file": "../key.pem",
        }
        super().__init__(
            "postgres",
            "ASOF_TEST_POSTGRES",
            port,
            [
                str(self.bin / "postgres"),
                *("-D", "data", "-p", str(port)),
                *(f"--{name}={value}" for name, value in settings.items()),
            ],
            f"postgres://asof@127.0.0.1:{port}/asof",
        )

    def install(self):
        password = self.folder / "password"
        password.write_text("asof")
        self.run(
            str(self.bin / "initdb"),
            *("-D", "data", "-U", "asof", "-A", "scram-sha-256", "--pwfile", str(password)),
            *("-N", "-E", "UTF8", "--locale=C.UTF-8"),
        )

    def ask(self, sql):
        self.run(
            *(str(self.bin / "psql"), "-h", "127.0.0.1", "-p", str(self.port)),
            *("-U", "asof", "-d", "postgres", "-c", sql),
            PGPASSWORD="asof",
        )

    def make_bucket(self):
        self.ask("CREATE DATABASE asof")


class MariaDb(Database):
    def __init__(self, port):
        super().__init__(
            "mariadb",
            "ASOF_TEST_MARIADB",
            port,
            [
                "mariadbd",
                *("--no-defaults", "--socket=socket", "--pid-file=pid"),
                *("--bind-address=127.0.0.1", f"--port={port}", "--skip-name-resolve"),
                "--character-set-server=utf8mb4",
                *("--skip-log-bin", "--innodb-flush-log-at-trx-commit=0"),
                "--innodb-buffer-pool-size=32M",
            ],
            f"mysql://asof@127.0.0.1:{port}/asof",
        )

    def install(self):
        # It takes a relative path from where its programs are.
        data = f"--datadir={self.folder}/data"
        self.command += [data, f"--ssl-cert={self.certificate}", f"--ssl-key={self.folder}/key.pem"]
        self.run(
            *("mariadb-install-db", "--no-defaults", data),
            *("--auth-root-authentication-method=normal", "--skip-test-db"),
        )

    def ask(self, sql):
        place = str(self.folder / "data" / "socket")
        self.run("mariadb", "--no-defaults", "-S", place, "-u", "root", "-e", sql)

    def make_bucket(self):
        self.ask(
            "CREATE DATABASE asof; CREATE USER asof@'127.0.0.1' IDENTIFIED BY 'asof';"
            "GRANT ALL ON *.* TO asof@'127.0.0.1' WITH GRANT OPTION"
        )


def end_with_parent():
    """Runs in the new process: the kernel is to kill it should this one be killed before it can."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


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


def all_servers():
    node_modules = Path(os.environ["ASOF_TEST_NODE"]) / "node_modules" / ".bin"
    s3, azure, gcs, s3rver, postgres, mariadb = free_ports(6)
    return [
        Server(
            "moto",
            "ASOF_TEST_S3",
            s3,
            [sys.executable, str(HERE / "moto_s3.py"), "-H", "127.0.0.1", "-p", str(s3)],
            make_s3_bucket,
        ),
        Server(
            "azurite",
            "ASOF_TEST_AZURE",
            azure,
            [
                str(node_modules / "azurite-blob"),
                "--inMemoryPersistence",
                "--disableTelemetry",
                "--silent",
                *("--blobHost", "127.0.0.1"),
                *("--blobPort", str(azure)),
            ],
            make_azure_container,
        ),
        Server(
            "fake_gcs",
            "ASOF_TEST_GCS",
            gcs,
            [sys.executable, str(HERE / "fake_gcs.py"), str(gcs), BUCKET],
        ),
        Server(
            "s3rver",
            "ASOF_TEST_S3RVER",
            s3rver,
            [
                str(node_modules / "s3rver"),
                *("--directory", "data"),
                *("--address", "127.0.0.1"),
                *("--port", str(s3rver)),
                "--no-vhost-buckets",
                *("--configure-bucket", BUCKET),
            ],
        ),
        Postgres(postgres),
        MariaDb(mariadb),
    ]


def put(url, headers):
    # Without a body urllib sends no length, which Azurite wants.
    request = urllib.request.Request(url, method="PUT", headers={"Content-Length": "0", **headers})
    LOOPBACK.open(request, timeout=30).close()


def make_s3_bucket(address):
    put(f"{address}/{BUCKET}", {})


def make_azure_container(address):
    date = email.utils.formatdate(usegmt=True)
    to_sign = "\n".join(
        [
            "PUT",
            # Eleven standard headers, all of them empty.
            *[""] * 11,
            f"x-ms-date:{date}",
            f"x-ms-version:{AZURE_VERSION}",
            # The account stands in the path too, since it is not in the host's name.
            f"/{AZURE_ACCOUNT}/{AZURE_ACCOUNT}/{BUCKET}",
            "restype:container",
        ]
    )
    digest = hmac.new(base64.b64decode(AZURE_KEY), to_sign.encode(), hashlib.sha256).digest()
    put(
        f"{address}/{AZURE_ACCOUNT}/{BUCKET}?restype=container",
        {
            "x-ms-date": date,
            "x-ms-version": AZURE_VERSION,
            "Authorization": f"SharedKey {AZURE_ACCOUNT}:{base64.b64encode(digest).decode()}",
        },
    )


def start_all(servers, scratch):
    # At the same time: most of the wait is Python and node loading their modules.
    for server in servers:
        server.start(scratch)
    deadline = time.monotonic() + SECONDS_TO_START
    for server in servers:
        server.wait_for_answer(deadline)
        server.make_bucket()


def report_lost(servers):
    """Says why tests may have found nobody at an address."""
    for server in servers:
        if server.process.poll() is not None:
            print(f"tests/servers: {server.name} ended before the tests did{server.log_tail()}", file=sys.stderr)


def stop_all(servers):
    # It takes no time to speak of, and an impatient second Ctrl-C must not cut it short.
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    running = [server for server in servers if server.process]
    for server in running:
        server.process.terminate()
    deadline = time.monotonic() + SECONDS_TO_STOP
    for server in running:
        try:
            server.process.wait(max(0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            server.process.kill()
            server.process.wait()


class Command:
    """What runs beside the servers, once it does. A signal is for it then, and until it does ends everything."""

    process = None

    def signalled(self, number, _frame):
        if self.process is None:
            raise SystemExit(128 + number)
        if self.process.poll() is None:
            self.process.send_signal(number)

    def run(self, words, addresses):
        try:
            self.process = subprocess.Popen(words, env={**os.environ, **addresses})
        except OSError as error:
            raise CannotStart(f"{words[0]}: {error.strerror}") from error
        status = self.process.wait()
        return status if status >= 0 else 128 - status


def main():
    command = Command()
    for number in SIGNALS:
        # Whoever started this with a signal ignored (nohup does) wants it ignored.
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, command.signalled)

    words = sys.argv[1:]
    servers = []
    with tempfile.TemporaryDirectory(prefix="asof-test-servers-", ignore_cleanup_errors=True) as scratch:
        # Databases run as somebody else, who has to find their folders.
        os.chmod(scratch, 0o711)
        try:
            servers = all_servers()
            start_all(servers, Path(scratch))
            addresses = {}
            for server in servers:
                addresses |= server.variables()
            if words:
                status = command.run(words, addresses)
                report_lost(servers)
                return status
            for variable, address in addresses.items():
                print(f"export {variable}={shlex.quote(address)}", flush=True)
            sys.stdin.read()
            return 0
        except CannotStart as error:
            print(f"tests/servers: {error}", file=sys.stderr)
            return 1
        finally:
            stop_all(servers)


if __name__ == "__main__":
    sys.exit(main())
