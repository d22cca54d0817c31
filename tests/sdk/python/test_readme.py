"""The sample on the front page, run as it stands there."""

import os
import subprocess
import sys
from pathlib import Path

README = Path(__file__).parents[3] / "README.md"


def extract(name, folder):
    """Writes the block of the README that begins with `# name` to a file of that name."""
    for block in README.read_text().split("```python\n"):
        if block.startswith(f"# {name}\n"):
            file = folder / name
            file.write_text(block.split("```")[0])
            return file
    raise LookupError(f"the README has no block {name}")


def start(name, folder, hub):
    environment = {
        **os.environ,
        "DEVICE_CONNECTION_STRING": hub.facts["device"]["connectionString"],
        "SERVICE_CONNECTION_STRING": hub.policy("service"),
        "DOWNLINK_CA": str(hub.ca_file),
        "REQUESTS_CA_BUNDLE": str(hub.ca_file),
        "SSL_CERT_FILE": str(hub.ca_file),
    }
    return subprocess.Popen(
        [sys.executable, extract(name, folder)], stdout=subprocess.PIPE, text=True, env=environment
    )


def the_sample_of_the_readme_does_what_it_says(hub, tmp_path):
    device = start("device.py", tmp_path, hub)
    try:
        assert device.stdout.readline() == "device is ready\n"
        back_end = start("backend.py", tmp_path, hub)
        output, _ = back_end.communicate(timeout=60)
        assert back_end.returncode == 0
        assert output.splitlines() == [
            "reboot answered 200 {'rebooting': True}",
            "the device reports interval 30",
        ]
        heard = {device.stdout.readline().strip() for _ in range(3)}
        assert heard == {
            "message command-1: open the window (color red)",
            "reboot in 3 s",
            "desired interval 30",
        }
    finally:
        device.kill()
        device.communicate()
