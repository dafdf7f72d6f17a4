"""The header fields that OWASP's REST and secure-headers lists ask for are on every answer: every route, every refusal, what is no
HTTP at all, and the metrics' own listener."""
import http.client
import json
import uuid

import pytest

from cli_tools import wait_until
from roles import TABLE
from tresor_client import Anonymous, Wire

ALWAYS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Permitted-Cross-Domain-Policies": "none",
}
STRICT_TRANSPORT = "max-age=63072000; includeSubDomains"
POWERS = ("camera", "geolocation", "microphone", "payment", "usb")
TELLS = ("Server", "X-Powered-By", "X-AspNet-Version", "Via", "Access-Control-Allow-Origin")
# A page of ours may loosen the policy for its own style sheet: what it must say all the same.
PAGES = {"/docs", "/console/", "/console"}


def check(headers, name, tls=True, own_policy=False):
    for field, value in ALWAYS.items():
        given = headers.get(field)
        if own_policy and field in ("Content-Security-Policy", "Cache-Control"):
            assert given, f"{name}: no {field}"
        else:
            assert given == value, f"{name}: {field}: {given}"
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy and "unsafe" not in policy, f"{name}: {policy}"
    assert headers.get("Strict-Transport-Security") == (STRICT_TRANSPORT if tls else None), f"{name}: Strict-Transport-Security"
    for power in POWERS:
        assert f"{power}=()" in headers.get("Permissions-Policy", ""), f"{name}: Permissions-Policy lacks {power}"
    for field in TELLS:
        assert field not in headers, f"{name}: {field}: {headers[field]}"


def fill(path):
    for part in ("{id}", "{rid}", "{gid}", "{hid}", "{client}", "{seq}", "{version}", "{name}"):
        path = path.replace(part, "contact" if part == "{name}" else str(uuid.uuid4()))
    return path


def test_every_route_without_credentials_and_by_each_role(world, anonymous):
    roles = [world.operator, world.officer, world.auditor, world.service, world.subject]
    for row in TABLE:
        if row.path.endswith("sign_out"):
            continue  # ends the session that the next routes need
        path = fill(row.path)
        check(anonymous.raw(row.method, path, check=False).headers, f"{row.method} {path}", own_policy=path in PAGES)
        for client in roles:
            if not row.allows({world.operator: "operator", world.officer: "officer", world.auditor: "auditor",
                               world.service: "service", world.subject: "subject"}[client]):
                continue
            answer = client.request(row.method, path, {"anything": True} if row.body else None, check=False)
            check(answer.headers, f"{row.method} {path} -> {answer.status_code}", own_policy=path in PAGES)


@pytest.mark.parametrize("method,path,status", [
    ("GET", "/v1/about", 200), ("HEAD", "/v1/about", 200), ("OPTIONS", "/v1/about", 204), ("GET", "/healthz", 200),
    ("GET", "/openapi.json", 200), ("GET", "/nothing", 404), ("DELETE", "/v1/about", 405), ("BREW", "/v1/about", 405)])
def test_answers_of_each_kind(anonymous, method, path, status):
    answer = anonymous.raw(method, path, check=False)
    assert answer.status_code == status
    check(answer.headers, f"{method} {path}")


def test_pages_in_html_keep_their_own_policy(world):
    answer = world.officer.get("/v1/activities?format=html")
    check(answer.headers, "the register", own_policy=True)


@pytest.mark.parametrize("bytes_sent,status", [
    (b"GET http:/\r\n\r\n", 400), (b"\x16\x03\x01\r\n\r\n", 400), (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 40000 + b"\r\n\r\n", 431),
    (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n", 400)])
def test_what_is_refused_before_the_api_sees_it(vault, bytes_sent, status):
    with Wire(vault) as wire:
        wire.send(bytes_sent)
        answer = wire.answer()
    assert answer.status_code == status
    check(answer.headers, repr(bytes_sent[:20]))


@pytest.mark.flags("--metrics-listen", "127.0.0.1:0")
def test_the_metrics_too(fresh_vault):
    wait_until(lambda: '"listener":"metrics"' in fresh_vault.server.log(), "the listener of the metrics")
    port = next(entry["port"] for entry in map(json.loads, fresh_vault.server.lines) if entry.get("listener") == "metrics")
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    for path, status in (("/metrics", 200), ("/nothing", 404)):
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        assert answer.status == status
        check(answer.headers, path, tls=False)
    connection.close()
    check(Anonymous(fresh_vault).raw("GET", "/healthz").headers, "/healthz")
