"""Hubs, service clients and devices for the tests."""

import os
import uuid

import pytest
from azure.iot.hub import IoTHubRegistryManager

from device import Device
from hub import Hub


@pytest.fixture(scope="session")
def trusted(tmp_path_factory):
    """The file of certificate authorities that the service SDK trusts.

    Its HTTPS half is `requests`, its AMQP half OpenSSL: each reads an environment variable.
    """
    bundle = tmp_path_factory.mktemp("trust") / "authorities.pem"
    bundle.touch()
    os.environ["REQUESTS_CA_BUNDLE"] = str(bundle)
    os.environ["SSL_CERT_FILE"] = str(bundle)
    return bundle


def started(name, root, trusted, settings=None, environment=None):
    hub = Hub(name, root, settings, environment)
    hub.start()
    with trusted.open("a") as bundle:
        bundle.write(hub.ca_file.read_text())
    return hub


@pytest.fixture(scope="session")
def hub(tmp_path_factory, trusted):
    """The hub that most tests share; each test has devices of its own."""
    quick = {
        "queue.feedback.flush_interval": "200ms",
        "queue.lock_duration": "5s",
        "amqp.token_grace": "1s",
    }
    hub = started("python.downlink.test", tmp_path_factory.mktemp("hub"), trusted, quick)
    yield hub
    assert hub.stop() == 0


@pytest.fixture
def doomed_hub(tmp_path, trusted):
    """A hub that one test may kill."""
    hub = started("python-durability.downlink.test", tmp_path, trusted)
    yield hub
    hub.stop()


@pytest.fixture(scope="session")
def registry(hub):
    """The SDK's registry manager with all rights, as its samples use it."""
    manager = IoTHubRegistryManager.from_connection_string(hub.policy("iothubowner"))
    yield manager
    # Left open, it would not hear the hub say goodbye, which waits for an answer.
    manager.amqp_svc_client.disconnect_sync()


@pytest.fixture
def identity(registry):
    """A new device with keys chosen by the hub."""
    return registry.create_device_with_sas(f"device-{uuid.uuid4()}", "", "", "enabled")


@pytest.fixture
def make_device(hub):
    """Makes device clients that are shut down after the test."""
    made = []

    def make(identity_or_string, at=hub, **options):
        string = identity_or_string
        if not isinstance(string, str):
            string = at.device_string(identity_or_string)
        made.append(Device(at, string, **options))
        return made[-1]

    yield make
    for device in made:
        device.close()


@pytest.fixture
def keep():
    """Closes after the test what it is given."""
    kept = []

    def keep(client):
        kept.append(client)
        return client

    yield keep
    for client in reversed(kept):
        client.close()
