"""Certificates of devices and of the authorities above them, made with OpenSSL's command."""

import hashlib
import itertools
import ssl
import subprocess

import requests

KEYS = {
    "ec": ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"],
    "rsa": ["-newkey", "rsa:2048"],
}
AUTHORITY = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n"
CLIENT = "basicConstraints=critical,CA:FALSE\nextendedKeyUsage=clientAuth\n"


def openssl(*words):
    subprocess.run(["openssl", *words], check=True, capture_output=True)


class Certificate:
    """A certificate with its key, in files as the SDK takes them."""

    def __init__(self, cert_file, key_file):
        self.cert_file = cert_file
        self.key_file = key_file

    @property
    def pem(self):
        return self.cert_file.read_text()

    def thumbprint(self, digest):
        """Of the first certificate in the file, in upper-case hexadecimal."""
        end = "-----END CERTIFICATE-----\n"
        first = self.pem.split(end)[0] + end
        return hashlib.new(digest, ssl.PEM_cert_to_DER_cert(first)).hexdigest().upper()


class Workshop:
    """Makes certificates in a folder of its own."""

    def __init__(self, folder):
        self.folder = folder
        self.numbers = itertools.count(1000)

    def self_signed(self, common_name, kind="ec"):
        """A certificate that only its thumbprint speaks for."""
        made = self._fresh()
        openssl(
            *["req", "-x509", *KEYS[kind], "-nodes", "-days", "2", "-subj", f"/CN={common_name}"],
            *["-keyout", made.key_file, "-out", made.cert_file],
        )
        return made

    def authority(self, common_name, parent=None):
        """An authority that signs devices and proofs, under another if one is given."""
        if parent:
            made = self._signed(parent, common_name, AUTHORITY, "ec")
            return Authority(self, made, made.pem + parent.chain)
        made = self._fresh()
        openssl(
            *["req", "-x509", *KEYS["ec"], "-nodes", "-days", "2", "-subj", f"/CN={common_name}"],
            *["-addext", "keyUsage=critical,keyCertSign,cRLSign"],
            *["-keyout", made.key_file, "-out", made.cert_file],
        )
        return Authority(self, made, "")

    def _fresh(self):
        number = next(self.numbers)
        return Certificate(self.folder / f"{number}.pem", self.folder / f"{number}.key")

    def _signed(self, parent, common_name, extensions, kind):
        made, number = self._fresh(), next(self.numbers)
        request, extension_file = self.folder / f"{number}.csr", self.folder / f"{number}.ext"
        extension_file.write_text(extensions)
        openssl(
            *["req", "-new", *KEYS[kind], "-nodes", "-subj", f"/CN={common_name}"],
            *["-keyout", made.key_file, "-out", request],
        )
        openssl(
            *["x509", "-req", "-in", request, "-days", "1", "-set_serial", str(number)],
            *["-CA", parent.certificate.cert_file, "-CAkey", parent.certificate.key_file],
            *["-extfile", extension_file, "-out", made.cert_file],
        )
        return made


class Authority:
    def __init__(self, workshop, certificate, chain):
        self.workshop = workshop
        self.certificate = certificate
        self.chain = chain
        """What a device must send besides its own certificate."""

    def issue(self, common_name, kind="ec", extensions=CLIENT):
        """A device's certificate with those above it up to the root."""
        made = self.workshop._signed(self, common_name, extensions, kind)
        made.cert_file.write_text(made.pem + self.chain)
        return made


def trust(hub, name, authority):
    """Registers an authority under `name`, and proves that its key is held."""
    path = f"certificates/{name}"
    administer(hub, "PUT", path, {"certificate": authority.certificate.pem})
    code = administer(hub, "POST", f"{path}/verificationCode")["verificationCode"]
    proof = authority.issue(code)
    administer(hub, "POST", f"{path}/verify", {"certificate": proof.pem})


def administer(hub, method, path, body=None):
    """Calls the administration API, which no SDK knows, with a token of the owner's."""
    answer = requests.request(
        method,
        f"https://{hub.host_name}/admin/{path}",
        params={"api-version": "2021-04-12"},
        headers={"Authorization": hub.policy_token("iothubowner")},
        json=body,
        verify=str(hub.ca_file),
        timeout=10,
    )
    assert answer.ok, f"{method} {path}: {answer.status_code} {answer.text}"
    return answer.json() if answer.content else None
