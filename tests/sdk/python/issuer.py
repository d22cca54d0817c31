"""The OpenID Connect server of tests/sdk/oidc, and credentials that it gives tokens to."""

import json
import subprocess
import time
import urllib.parse
import urllib.request
from pathlib import Path

from azure.core.credentials import AccessToken

from hub import PATIENCE, eventually

PROGRAM = Path(__file__).parent.parent / "oidc" / "issuer.mjs"
SERVICE = "https://iothubs.azure.net"
"""The audience that the SDKs' tokens have at the original service."""


class Issuer:
    def __init__(self, folder):
        self.folder = folder
        self.process = None
        self.facts = None

    def start(self):
        """Starts an issuer on a free port; it would end with its standard input."""
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                ["node", str(PROGRAM), str(self.folder)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
            )
        self.facts = json.loads(eventually(self._read, "the issuer to start"))
        return self

    def stop(self):
        self.process.stdin.close()
        self.process.wait(timeout=PATIENCE)

    @property
    def settings(self):
        """Settings of a hub that trusts this issuer."""
        return self.folder / "oidc.toml"

    def rotate(self):
        """Makes new keys; the old ones are no longer published."""
        urllib.request.urlopen(self.facts["rotate"], data=b"", timeout=PATIENCE).close()

    def credential(self, client, resource=SERVICE):
        """A credential, as the SDK takes it, of one of the issuer's clients."""
        return Credential(self.facts, client, resource)

    def _read(self):
        assert self.process.poll() is None, (self.folder / "log").read_text()
        facts = self.folder / "issuer.json"
        return facts.exists() and facts.read_text()


class Credential:
    """What a user writes to bring tokens of his own issuer: the SDK's scope is not it."""

    def __init__(self, facts, client, resource):
        self.address = facts["token"]
        self.form = {
            "grant_type": "client_credentials",
            "client_id": client,
            "client_secret": facts["secret"],
            "resource": resource,
        }
        self.given = []

    def get_token(self, *_scopes, **_options):
        data = urllib.parse.urlencode(self.form).encode()
        with urllib.request.urlopen(self.address, data=data, timeout=PATIENCE) as answer:
            body = json.load(answer)
        token = AccessToken(body["access_token"], int(time.time()) + body["expires_in"])
        self.given.append(token)
        return token


class Fixed:
    """A credential that always has the same token, and says that it lasts."""

    def __init__(self, token):
        self.token = token

    def get_token(self, *_scopes, **_options):
        return AccessToken(self.token, int(time.time()) + 3600)
