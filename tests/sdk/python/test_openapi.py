"""The description that a hub serves is true: requests made from it are answered as it promises.

Schemathesis makes the requests, right and wrong ones, for every call that back-ends make.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from conftest import started

SECONDS = 35
"""How long requests are made, whatever the number of calls."""

CHECKS = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "missing_required_header",
    "unsupported_method",
    "allow_header_conformance",
    "use_after_free",
    "ignored_auth",
]

NOT_CALLED = [
    # They end the token that the calls are made with.
    "putPolicy",
    "deletePolicy",
    "regeneratePolicyKeys",
    # They are answered without an end.
    "watchTwin",
    "watchTwinOfModule",
]


EXCEPTIONS = """
# What is deleted is what was stated for the device; the limits that hold for it then are still there.
[[operations]]
include-operation-id = ["getDeviceLimits", "deleteDeviceLimits"]
checks.use_after_free.enabled = false
"""


@pytest.fixture(scope="module")
def described(tmp_path_factory, trusted):
    """A hub of its own, since whatever can be changed will be."""
    hub = started("python-openapi.downlink.test", tmp_path_factory.mktemp("openapi"), trusted)
    yield hub
    assert hub.stop() == 0


def address(hub, path):
    return f"https://{hub.host_name}:{hub.facts['ports']['https']}{path}"


def test_the_description_and_its_page_need_no_credential(described):
    answer = requests.get(address(described, "/openapi.json"), timeout=10)
    assert answer.status_code == 200
    document = answer.json()
    assert document["openapi"].startswith("3.1")
    assert "/devices/{id}" in document["paths"]
    page = requests.get(address(described, "/docs"), timeout=10)
    assert page.headers["content-type"].startswith("text/html")
    for part in ("/docs/page.js", "/docs/page.css"):
        assert part in page.text
        assert requests.get(address(described, part), timeout=10).status_code == 200


def test_the_page_runs_in_a_browser_without_a_foreign_script(described):
    page = requests.get(address(described, "/docs"), timeout=10)
    assert "default-src 'none'" in page.headers["content-security-policy"]


@pytest.mark.skipif(
    "split-hub" in os.environ["DOWNLINK_BIN"],
    reason="the doors are the same in both forms, and one minute is enough",
)
def test_requests_made_from_the_description_are_answered_as_it_promises(described, tmp_path):
    report = tmp_path / "report.json"
    command = [str(Path(sys.executable).with_name("schemathesis")), "run"]
    command += [address(described, "/openapi.json")]
    command += ["--header", f"Authorization: {described.policy_token('iothubowner')}"]
    command += ["--tls-verify", os.environ["REQUESTS_CA_BUNDLE"]]
    command += ["--checks", ",".join(CHECKS), "--exclude-tag", "devices"]
    for operation in NOT_CALLED:
        command += ["--exclude-operation-id", operation]
    command += ["--max-time", str(SECONDS), "--request-timeout", "20", "--seed", "7"]
    (tmp_path / "schemathesis.toml").write_text(EXCEPTIONS)
    command += ["--generation-database", "none", "--warnings", "off", "--no-color"]
    command += ["--report", "json", "--report-json-path", str(report)]
    run = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=4 * SECONDS, check=False
    )
    assert run.returncode == 0, run.stdout[-20000:] + run.stderr[-2000:]
    assert json.loads(report.read_text())
