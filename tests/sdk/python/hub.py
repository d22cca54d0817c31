"""A Downlink process of one suite: its address, its data, its life and its death."""

import base64
import hashlib
import hmac
import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from urllib.parse import quote

PATIENCE = 15.0
"""Seconds a test waits for something that should come soon."""

HOSTS = Path(__file__).parent.parent / "hosts.txt"


def eventually(probe, what, patience=PATIENCE):
    """Asks `probe` again until it returns something truthy."""
    end = time.monotonic() + patience
    while True:
        answer = probe()
        if answer:
            return answer
        assert time.monotonic() < end, f"waited {patience} s for {what}"
        time.sleep(0.02)


def address_of(name):
    """The loopback address that `name` has in tests/sdk/hosts.txt."""
    for line in HOSTS.read_text().splitlines():
        if line.endswith(f" {name}"):
            return line.split(" ")[0]
    raise LookupError(f"{name} is not in {HOSTS.name}")


class Hub:
    def __init__(self, host_name, root, settings=None, environment=None):
        self.host_name = host_name
        self.address = address_of(host_name)
        self.settings = settings or {}
        self.environment = environment or {}
        self.data = root / host_name
        self.log = root / f"{host_name}.log"
        self.process = None
        self.facts = None

    def start(self):
        """Starts the server and waits until it has said where it is."""
        connect = self.data / "connect.json"
        connect.unlink(missing_ok=True)
        command = [os.environ["DOWNLINK_BIN"], "dev", "--data", str(self.data)]
        command += ["--host", self.host_name, "--listen", self.address]
        command += ["--grpc-port", "0", "--metrics-port", "0"]
        for key, value in self.settings.items():
            command += ["--set", f"{key}={value}"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.log.parent,
                env={**os.environ, **self.environment},
            )
        self.facts = eventually(lambda: self._read(connect), f"{self.host_name} to start")
        for port in ("mqtts", "amqps", "https"):
            number = self.facts["ports"][port]
            eventually(lambda: self._accepts(number), f"port {number} of {self.host_name}")

    def log_lines(self):
        """What the server has logged, each of its processes if it has several."""
        logs = [self.log, *self.data.glob("*.log")]
        return [line for log in logs for line in log.read_text().splitlines()]

    def stop(self):
        """Asks the server to end, and returns its exit code."""
        return self._end(signal.SIGTERM)

    def kill(self):
        """Ends the server without a warning."""
        code = self._end(signal.SIGKILL)
        # A hub of several processes is gone a moment after the one that started them.
        for port in ("mqtts", "amqps", "https"):
            number = self.facts["ports"][port]
            eventually(lambda: not self._accepts(number), f"port {number} to close")
        return code

    @property
    def ca_file(self):
        return (self.data.parent / self.facts["caFile"]).resolve()

    def policy(self, name):
        """The connection string of a shared access policy."""
        return self.facts["policies"][name]

    def policy_token(self, name, seconds=3600):
        """A token of a shared access policy for the whole hub."""
        parts = dict(part.split("=", 1) for part in self.policy(name).split(";"))
        expiry = int(time.time()) + seconds
        key = base64.b64decode(parts["SharedAccessKey"])
        signed = f"{quote(self.host_name, safe='')}\n{expiry}".encode()
        digest = hmac.new(key, signed, hashlib.sha256).digest()
        signature = quote(base64.b64encode(digest), safe="")
        return (
            f"SharedAccessSignature sr={quote(self.host_name, safe='')}&sig={signature}"
            f"&se={expiry}&skn={parts['SharedAccessKeyName']}"
        )

    def device_string(self, device):
        """The connection string of an identity the registry has answered with."""
        key = device.authentication.symmetric_key.primary_key
        return f"HostName={self.host_name};DeviceId={device.device_id};SharedAccessKey={key}"

    def _read(self, connect):
        code = self.process.poll()
        assert code is None, f"the server ended with {code}:\n{self.log.read_text()[-2000:]}"
        try:
            return json.loads(connect.read_text())
        except (OSError, ValueError):
            return None

    def _accepts(self, port):
        try:
            socket.create_connection((self.address, port), timeout=5).close()
        except OSError:
            return False
        return True

    def _end(self, with_signal):
        if self.process.poll() is None:
            self.process.send_signal(with_signal)
        return self.process.wait(timeout=PATIENCE)
