"""Policies and certificate authorities through the calls of README.md and docs/administration.md, as they stand there."""

import json
import os
import subprocess
from pathlib import Path

import pytest
import requests
from azure.iot.hub import IoTHubRegistryManager
from azure.iot.hub.models import CloudToDeviceMethod
from msrest.exceptions import HttpOperationError

from hub import eventually

ROOT = Path(__file__).parents[3]
VERSION = {"api-version": "2021-04-12"}


def program(page, name):
    """The block of a page that begins with `# name`."""
    for block in (ROOT / page).read_text().split("```sh\n"):
        if block.startswith(f"# {name}\n"):
            return block.split("```")[0]
    raise LookupError(f"{page} has no block {name}")


def run(text, folder, hub, token=""):
    """Runs a program of a page and returns the lines it has printed."""
    environment = {
        **os.environ,
        "SERVICE_CONNECTION_STRING": hub.policy("iothubowner"),
        "DOWNLINK_CA": str(hub.ca_file),
        "TOKEN": token,
    }
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


@pytest.fixture
def administer(hub):
    """Makes one administrative call and returns its answer."""

    def call(method, path, body=None, policy="iothubowner"):
        return requests.request(
            method,
            f"https://{hub.host_name}/admin/{path}",
            params=VERSION,
            headers={"Authorization": hub.policy_token(policy)},
            json=body,
            verify=str(hub.ca_file),
            timeout=30,
        )

    return call


def the_policy_of_the_readme_reboots_trucks_and_does_nothing_else(
    hub, registry, administer, make_device, tmp_path
):
    made, rotated = map(json.loads, run(program("README.md", "administer.sh"), tmp_path, hub))
    assert made["secondaryKey"] == rotated["secondaryKey"]
    assert made["primaryKey"] != rotated["primaryKey"]

    for device_id in ("truck-1", "gate-1"):
        identity = registry.create_device_with_sas(device_id, "", "", "enabled")
        device = make_device(identity).connect()
        device.answer_methods(lambda request: (200, {"did": request.name}))

    def call(key, device_id, method):
        string = f"HostName={hub.host_name};SharedAccessKeyName=trucks;SharedAccessKey={key}"
        manager = IoTHubRegistryManager.from_connection_string(string)
        asked = CloudToDeviceMethod(method_name=method, connect_timeout_in_seconds=10)
        return manager.invoke_device_method(device_id, asked)

    def reboots(key):
        try:
            return call(key, "truck-1", "reboot").payload == {"did": "reboot"}
        except HttpOperationError as refusal:
            assert refusal.response.status_code == 401
            return False

    eventually(lambda: reboots(rotated["primaryKey"]), "the new key to count")
    assert not reboots(made["primaryKey"])
    for device_id, method in (("gate-1", "reboot"), ("truck-1", "erase")):
        with pytest.raises(HttpOperationError) as refusal:
            call(rotated["primaryKey"], device_id, method)
        assert refusal.value.response.status_code == 401
        assert refusal.value.response.headers["iothub-errorcode"] == "IotHubUnauthorizedAccess"

    assert administer("DELETE", "policies/trucks").status_code == 204
    eventually(lambda: not reboots(rotated["primaryKey"]), "the policy to be gone")


def an_authority_is_verified_by_the_program_of_its_page(hub, administer, tmp_path):
    subprocess.run(
        "openssl req -x509 -newkey rsa:2048 -nodes -keyout authority.key -out authority.pem"
        " -days 30 -subj '/CN=Plant 7' -addext keyUsage=critical,keyCertSign",
        shell=True,
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    page = program("docs/administration.md", "authority.sh")
    run(page, tmp_path, hub, hub.policy_token("iothubowner"))
    plant = administer("GET", "certificates/plant").json()
    assert (plant["isVerified"], plant["subject"]) == (True, "CN=Plant 7")
    assert administer("DELETE", "certificates/plant").status_code == 204


def only_who_administers_the_hub_is_let_near(administer):
    for policy in ("service", "device", "registryRead", "registryReadWrite"):
        for method, path in (("GET", "policies"), ("DELETE", "certificates/plant")):
            refused = administer(method, path, policy=policy)
            assert refused.status_code == 401
            assert refused.headers["iothub-errorcode"] == "IotHubUnauthorizedAccess"
    refused = administer("DELETE", "policies/iothubowner")
    assert refused.headers["iothub-errorcode"] == "InvalidOperation"
