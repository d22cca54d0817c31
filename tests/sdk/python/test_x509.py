"""Devices that prove themselves by certificates (auth.md §5)."""

import uuid

import pytest
from azure.iot.device import X509, IoTHubDeviceClient
from azure.iot.device.exceptions import CredentialError

from certificates import Workshop, trust
from device import Device
from hub import eventually
from test_access import WRONG_KEY, assert_refused

TRANSPORTS = pytest.mark.parametrize("websockets", [False, True], ids=["mqtt", "websocket"])


@pytest.fixture(scope="module")
def workshop(tmp_path_factory):
    return Workshop(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def make_x509_device(hub):
    """Makes device clients that show a certificate and are shut down after the test."""
    made = []

    def make(certificate, device_id, **options):
        client = IoTHubDeviceClient.create_from_x509_certificate(
            X509(cert_file=str(certificate.cert_file), key_file=str(certificate.key_file)),
            hub.host_name,
            device_id,
            server_verification_cert=hub.ca_file.read_text(),
            **options,
        )
        made.append(Device(hub, client=client))
        return made[-1]

    yield make
    for device in made:
        device.close()


def by_thumbprints(registry, primary, secondary):
    device_id = f"x509-{uuid.uuid4()}"
    registry.create_device_with_x509(device_id, primary, secondary, "enabled")
    return device_id


def is_let_in(device):
    try:
        device.connect()
    except CredentialError:
        return False
    device.client.disconnect()
    return True


def assert_served(registry, device, device_id):
    device.connect().receive_messages()
    registry.send_c2d_message(device_id, "hello")
    assert device.next_message().data == b"hello"
    device.client.send_message("telemetry")
    device.client.disconnect()


@TRANSPORTS
def a_certificate_opens_its_device_by_either_thumbprint(
    registry, workshop, make_x509_device, websockets
):
    one, other = workshop.self_signed("anything"), workshop.self_signed("anything else", "rsa")
    for digest, other_digest in (("sha1", "sha256"), ("sha256", "sha1")):
        device_id = by_thumbprints(
            registry, one.thumbprint(digest), other.thumbprint(other_digest).lower()
        )
        for certificate in (one, other):
            device = make_x509_device(certificate, device_id, websockets=websockets)
            assert_served(registry, device, device_id)


@TRANSPORTS
def a_certificate_with_another_thumbprint_is_refused(
    registry, workshop, make_x509_device, websockets
):
    thumbprint = workshop.self_signed("device").thumbprint("sha1")
    device_id = by_thumbprints(registry, thumbprint, thumbprint)
    other = workshop.self_signed("device")
    assert_refused(make_x509_device(other, device_id, websockets=websockets))


@TRANSPORTS
def a_token_does_not_open_a_device_with_certificates(
    hub, registry, workshop, make_device, websockets
):
    thumbprint = workshop.self_signed("device").thumbprint("sha1")
    device_id = by_thumbprints(registry, thumbprint, thumbprint)
    string = f"HostName={hub.host_name};DeviceId={device_id};SharedAccessKey={WRONG_KEY}"
    assert_refused(make_device(string, websockets=websockets))


def a_certificate_does_not_open_a_device_with_keys(workshop, identity, make_x509_device):
    certificate = workshop.self_signed(identity.device_id)
    assert_refused(make_x509_device(certificate, identity.device_id))


@TRANSPORTS
def a_certificate_of_a_trusted_authority_opens_the_device_that_its_subject_names(
    hub, registry, workshop, make_x509_device, websockets
):
    name = f"root-{uuid.uuid4()}"
    root = workshop.authority(name)
    lower = workshop.authority("Between", root)
    device_id = f"x509-{uuid.uuid4()}"
    registry.create_device_with_certificate_authority(device_id, "enabled")

    def device(certificate):
        return make_x509_device(certificate, device_id, websockets=websockets)

    assert_refused(device(root.issue(device_id)))
    trust(hub, name, root)
    # The door asks a few times in a second whom to believe.
    known = root.issue(device_id)
    eventually(lambda: is_let_in(device(known)), "the authority's devices to be believed")
    assert_served(registry, device(root.issue(device_id)), device_id)
    assert_served(registry, device(lower.issue(device_id, "rsa")), device_id)
    assert_refused(device(lower.issue(device_id + "0")))
    assert_refused(device(workshop.self_signed(device_id)))
    assert_refused(device(workshop.authority(name).issue(device_id)))


def a_new_thumbprint_ends_the_connection_of_the_old_certificate(
    registry, workshop, make_x509_device
):
    older, newer = workshop.self_signed("device"), workshop.self_signed("device")
    device_id = by_thumbprints(registry, older.thumbprint("sha256"), older.thumbprint("sha256"))
    device = make_x509_device(older, device_id, connection_retry=False).connect()
    device.await_state(True)
    thumbprint = newer.thumbprint("sha256")
    registry.update_device_with_x509(device_id, "*", thumbprint, thumbprint, "enabled")
    device.await_state(False)
    with pytest.raises(CredentialError):
        device.client.connect()
    assert make_x509_device(newer, device_id).connect().client.connected
