"""testssl.sh (Debian's package) looks at the server from outside: nothing of severity LOW or above that a server can avoid.

All its tests take minutes; tests/run sets TRESOR_TESTSSL=quick, which leaves the old attacks and the list of ciphers out.
"""
import json
import os
import shutil
import subprocess

import pytest

from tresor_client import Server

TOOL = shutil.which("testssl") or shutil.which("testssl.sh")
pytestmark = [pytest.mark.skipif(TOOL is None, reason="testssl.sh is not installed"), pytest.mark.timeout(900),
              pytest.mark.shipped]
QUICK = os.environ.get("TRESOR_TESTSSL") == "quick"
TESTS = ["--protocols", "--server-defaults", "--headers"] if QUICK else []
GRAVE = ("LOW", "MEDIUM", "HIGH", "CRITICAL")
# Findings that are not the server's to avoid, each with the reason. Nothing else may be found.
REVIEWED = {
    "DNS_CAArecord": "the zone of the host's name has that record, not the host",
    "engine_problem": "of the OpenSSL that testssl runs with",
    "scanTime": "how long it took",
    "HTTP_status_code": "it asks for text/*, and what is here is JSON: 406",
}


def openssl(*args, cwd):
    subprocess.run(["openssl", *args], cwd=cwd, check=True, capture_output=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A CA, and a certificate of the server by it, as a real one would be: with a place where revocations are."""
    folder = tmp_path_factory.mktemp("ca")
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "ca.key", "-out", "ca.pem",
            "-days", "3650", "-subj", "/CN=CA of the test", "-addext", "keyUsage=critical,keyCertSign,cRLSign", cwd=folder)
    (folder / "extensions").write_text(
        "subjectAltName=DNS:localhost,IP:127.0.0.1\nbasicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n"
        "extendedKeyUsage=serverAuth\ncrlDistributionPoints=URI:http://127.0.0.1:9/ca.crl\n")
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "server.key", "-out", "server.csr",
            "-subj", "/CN=localhost", cwd=folder)
    openssl("x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "90", "-extfile",
            "extensions", "-out", "server.pem", cwd=folder)
    return folder


def test_nothing_of_low_severity_or_above(fresh_vault, folder, tmp_path):
    fresh_vault.stop()
    server = Server(fresh_vault.data, "--tls-cert", folder / "server.pem", "--tls-key", folder / "server.key")
    server.start()
    try:
        report = tmp_path / "report.json"
        done = subprocess.run(
            [TOOL, *TESTS, "--ip", "one", "--warnings", "off", "--quiet", "--color", "0", "--add-ca", folder / "ca.pem",
             "--jsonfile", report, f"https://localhost:{server.port}/v1/about"],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=880)
        assert report.exists(), done.stdout[-2000:] + done.stderr[-2000:]
        findings = json.loads(report.read_text())
    finally:
        server.stop()
    looked_at = {f["id"] for f in findings}
    assert {"TLS1_2", "TLS1_3", "cert_chain_of_trust", "HSTS_time"} <= looked_at, looked_at
    grave = {f["id"]: f"{f['severity']}: {f['finding']}" for f in findings
             if (f["severity"] in GRAVE or f["severity"] == "WARN") and f["id"].split()[0] not in REVIEWED}
    assert grave == {}
