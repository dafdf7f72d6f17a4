"""HTTP manners: methods, negotiation, limits, and JSON that is none."""
import os
import re
import signal
import socket
import ssl
import subprocess
import threading
import time

import pytest
import requests

from roles import TABLE
from tresor_client import TIME, UUID7, Anonymous, Wire, World, expect_problem, free_port, session_of

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
PATHS = sorted({row.path for row in TABLE})
SOME_ID = "0197c5b0-7b1e-7cc3-98c4-dc0c0c07398f"


def filled(path):
    return re.sub(r"\{name\}", "contact", re.sub(r"\{(?!name)[a-z]+\}", SOME_ID, path))


def methods_of(path):
    return {row.method for row in TABLE if row.path == path}


def allow(answer):
    return {m.strip() for m in answer.headers["Allow"].split(",")}


# ---- methods and paths ----

@pytest.mark.parametrize("path", PATHS)
def test_options(anonymous, path):
    answer = anonymous.raw("OPTIONS", filled(path))
    assert answer.status_code == 204 and answer.content == b""
    wanted = methods_of(path) | {"OPTIONS"} | ({"HEAD"} if "GET" in methods_of(path) else set())
    assert allow(answer) == wanted


@pytest.mark.parametrize("path", PATHS)
def test_other_methods_are_405_with_allow(anonymous, path):
    """Without credentials too: the path and the method are looked at first."""
    for method in set(METHODS) - methods_of(path) | {"PROPFIND", "FOO"}:
        with Wire(anonymous.vault) as wire:
            answer = wire.ask(method, filled(path))
        assert answer is not None, method
        if answer.status_code in (400, 501) and method in ("PROPFIND", "FOO"):
            continue  # the HTTP parser knows no such method
        assert answer.status_code == 405, (method, answer.status_code)
        assert methods_of(path) <= allow(answer)
        if path.startswith("/auth/"):
            assert answer.json()["success"] is False
        else:
            assert answer.json()["type"] == "urn:tresor:problem:method-not-allowed"


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/", "/v2/types", "/v1/types/", "/v1/types/contact/", "/v1//types", "/V1/types", "/v1/Types",
                                  "/v1/types/a/b", "/v1/subjects/x/records/y/z", "/auth", "/auth/sign_up", "/openapi.yaml", "/index.html",
                                  "/v1/subjects//records", "/%2e%2e/etc/passwd", "/..%2f..%2fetc/passwd", "/v1/types;x=1/contact", "/metrics"])
def test_unknown_paths(anonymous, path):
    for method in ("GET", "POST"):
        with Wire(anonymous.vault) as wire:
            answer = wire.ask(method, path, {"Content-Type": "application/json"} if method == "POST" else (), b"{}" if method == "POST" else None)
        assert answer.status_code == 404, (method, path, answer.status_code)
        if path.startswith("/auth/"):
            assert answer.json()["success"] is False
        else:
            assert answer.json()["type"] == "urn:tresor:problem:not-found"


def test_percent_encoding(world):
    """%63 is c: the same path. An encoded slash is not a slash; bad encodings are refused."""
    assert world.officer.request("GET", "/v1/types/contac%74", expect=200, check=False).json()["name"] == "contact"
    with Wire(world.vault) as wire:
        for path in ("/v1/types%2Fcontact", "/v1/types/%zz", "/v1/types/%", "/v1/types/%0", "/v1/types/%00", "/v1/types/%ff%fe"):
            head = world.officer.credentials()
            answer = wire.ask("GET", path, head)
            assert answer.status_code in (400, 401, 404), (path, answer.status_code)
            if answer.headers.get("access-token"):
                world.officer.token = answer.headers["access-token"]
            if answer.headers.get("Connection", "").lower() == "close":
                wire.close()
                wire.__init__(world.vault)


@pytest.mark.parametrize("path", ["/v1/about", "/healthz", "/readyz", "/openapi.json"])
def test_head_of_public_routes(anonymous, path):
    get, head = anonymous.raw("GET", path), anonymous.raw("HEAD", path)
    assert head.status_code == 200 and head.content == b""
    assert head.headers["Content-Length"] == get.headers["Content-Length"] == str(len(get.content))
    assert head.headers["Content-Type"] == get.headers["Content-Type"]


def test_head_of_others(world):
    for path in ("/v1/types", "/v1/types/contact", f"/v1/subjects/{world.subject.subject}/records/{world.subject.records[0]}"):
        get = world.subject.get(path)
        head = world.subject.request("HEAD", path, expect=200)
        assert head.content == b"" and head.headers.get("ETag") == get.headers.get("ETag")
        assert head.headers["Content-Length"] == str(len(get.content))
    head = world.subject.request("HEAD", "/v1/types/none-such", expect=404)
    assert head.content == b""


# ---- negotiation ----

@pytest.mark.parametrize("accept", ["*/*", "application/*", "application/json", "application/problem+json", "text/html, */*;q=0.1",
                                    "application/json;q=0.5, text/html", "APPLICATION/JSON", "application/json; charset=utf-8", ""])
def test_accept_that_admits_json(world, accept):
    with Wire(world.vault) as wire:
        answer = wire.ask("GET", "/v1/types", {**world.officer.credentials(), "Accept": accept})
    world.officer.token = answer.headers["access-token"]
    assert answer.status_code == 200, (accept, answer.text)


@pytest.mark.parametrize("accept", ["text/html", "image/*", "application/xml", "application/json;q=0", "*/*;q=0", "text/html;q=1, application/jsonx"])
def test_accept_that_does_not(world, accept):
    answer = world.officer.request("GET", "/v1/types", accept=accept)
    expect_problem(answer, 406, "not-acceptable")


def test_no_accept_at_all(world):
    with Wire(world.vault) as wire:
        answer = wire.ask("GET", "/v1/types", world.officer.credentials())
    world.officer.token = answer.headers["access-token"]
    assert answer.status_code == 200


@pytest.mark.parametrize("kind", ["application/json", "application/json; charset=utf-8", "application/json;charset=UTF-8", "Application/JSON",
                                  'application/json; charset="utf-8"'])
def test_content_types_that_are_taken(world, kind):
    world.service.request("POST", "/v1/subjects", data=b"{}", content_type=kind, expect=201)


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/jsonx",
                                  "application/json; charset=iso-8859-1", "application/x-ndjson", "json", "/", "application/merge-patch+json"])
def test_content_types_that_are_not(world, kind):
    expect_problem(world.service.request("POST", "/v1/subjects", data=b"{}", content_type=kind), 415, "unsupported-media-type")


def test_a_body_without_a_content_type(world):
    answer = world.service.request("POST", "/v1/subjects", data=b"{}")
    expect_problem(answer, 415, "unsupported-media-type")


def test_a_body_where_none_is_described(world):
    for method, path in (("GET", "/v1/types"), ("DELETE", "/v1/types/contact")):
        answer = world.officer.request(method, path, {"x": 1})
        expect_problem(answer, 400, "bad-request")
    world.officer.get("/v1/types/contact")


def test_no_body_where_one_is_needed(world):
    answer = world.service.request("POST", "/v1/subjects")
    assert answer.status_code in (400, 415), answer.text
    answer = world.service.request("POST", "/v1/subjects", data=b"", content_type="application/json")
    assert answer.status_code == 400, answer.text


def test_compressed_bodies_are_refused(world):
    answer = world.service.request("POST", "/v1/subjects", data=b"{}", content_type="application/json", headers={"Content-Encoding": "gzip"})
    expect_problem(answer, 415, "unsupported-media-type")


# ---- bodies ----

MALFORMED = {
    "empty": b"", "space": b"  ", "open": b"{", "open string": b'{"a', "open array": b"[", "trailing comma": b'{"a":1,}', "single quotes": b"{'a':1}",
    "no quotes": b"{a:1}", "comment": b"{} // x", "two values": b"{} {}", "trailing text": b"{}x", "nan": b'{"a":NaN}', "infinity": b'{"a":Infinity}',
    "plus": b'{"a":+1}', "leading zero": b'{"a":01}', "dot": b'{"a":1.}', "hex": b'{"a":0x1}', "True": b'{"a":True}', "bom": b"\xef\xbb\xbf{}",
    "utf-16": '{"a":1}'.encode("utf-16"), "duplicate": b'{"records":[],"records":[]}', "duplicate by escape": b'{"records":[],"\\u0072ecords":[]}',
    "bad utf-8": b'{"a":"\xff"}', "overlong": b'{"a":"\xc0\x80"}', "surrogate in utf-8": b'{"a":"\xed\xa0\x80"}', "cut utf-8": b'{"a":"\xe2\x82"}',
    "beyond unicode": b'{"a":"\xf4\x90\x80\x80"}', "lone surrogate": b'{"a":"\\ud800"}', "wrong pair": b'{"a":"\\ud800\\ud800"}', "nul": b'{"a":"\\u0000"}',
    "raw nul": b'{"a":"\x00"}', "raw control": b'{"a":"\n"}', "bad escape": b'{"a":"\\x"}', "short escape": b'{"a":"\\u12"}', "nul after": b"{}\x00",
    "nul in a key": b'{"\\u0000":1}', "deep": b"[" * 1000, "deep and closed": b"[" * 500 + b"]" * 500, "long number": b'{"a":' + b"1" * 2000 + b"}",
    "form feed": b"{}\x0c", "minus": b'{"a":-}', "exponent": b'{"a":1e}', "nbsp": b"\xc2\xa0{}",
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_bodies(world, name):
    with Wire(world.vault) as wire:
        head = {**world.service.credentials(), "Content-Type": "application/json"}
        answer = wire.ask("POST", "/v1/subjects", head, MALFORMED[name])
        world.service.token = answer.headers["access-token"]
        assert answer.status_code == 400, (name, answer.text)
        wanted = {"malformed-body"} | ({"bad-request"} if name in ("empty",) else set())
        assert answer.json()["type"].rsplit(":", 1)[1] in wanted
        answer = wire.ask("GET", "/healthz")  # the connection is still good
        assert answer.status_code == 200


@pytest.mark.parametrize("body, pointer", [(b'{"records":[{"type":"contact","type":"x"}]}', "/records/0/type"), (b'{"a":{"b":[1,2,"\xff"]}}', "/a/b/2"),
                                           (b'{"a~b":{"c/d":tru}}', "/a~0b/c~1d")])
def test_malformed_bodies_name_the_place(world, body, pointer):
    answer = world.service.request("POST", "/v1/subjects", data=body, content_type="application/json")
    expect_problem(answer, 400, "malformed-body", pointer)


def test_body_too_large(world):
    body = b'{"records":[' + b" " * 1100000 + b"]}"
    answer = world.service.request("POST", "/v1/subjects", data=body, content_type="application/json")
    expect_problem(answer, 413, "content-too-large")
    answer = world.service.request("POST", "/v1/subjects", data=iter([body]), content_type="application/json")  # chunked
    expect_problem(answer, 413, "content-too-large")
    with Wire(world.vault) as wire:  # announced only: the answer does not wait for it
        lines = [f"{k}: {v}" for k, v in {**world.service.credentials(), "Content-Type": "application/json", "Content-Length": str(10**15)}.items()]
        wire.send(("POST /v1/subjects HTTP/1.1\r\nHost: x\r\n" + "\r\n".join(lines) + "\r\n\r\n").encode())
        answer = wire.answer()
        assert answer.status_code == 413
        world.service.token = answer.headers["access-token"]
    world.service.post("/v1/subjects", {})


def test_chunked_bodies(world):
    world.service.request("POST", "/v1/subjects", data=iter([b'{"rec', b'ords":', b"[]}"]), content_type="application/json", expect=201)


# ---- headers ----

def test_header_fields_too_large(world):
    with Wire(world.vault) as wire:
        answer = wire.ask("GET", "/v1/about", {"X-Big": "a" * 200000})
    assert answer is not None and answer.status_code in (413, 431), answer and answer.status_code
    assert answer.status_code == 431
    assert answer.json()["type"] == "urn:tresor:problem:headers-too-large"
    with Wire(world.vault) as wire:
        answer = wire.ask("GET", "/v1/about", [(f"X-{n}", "a") for n in range(2000)])
    assert answer is None or answer.status_code == 431
    assert Anonymous(world.vault).raw("GET", "/v1/about").status_code == 200


def test_credentials_sent_twice(world):
    """Which one would count? Neither: refused."""
    head = [*world.officer.credentials().items(), ("access-token", world.auditor.token)]
    with Wire(world.vault) as wire:
        answer = wire.ask("GET", "/v1/types", head)
    assert answer.status_code in (400, 401), answer.status_code
    assert answer.headers.get("access-token") is None
    world.officer.get("/v1/types")
    world.auditor.get("/v1/types")


def test_a_header_sent_twice(world):
    head = [*world.service.credentials().items(), ("Access-Purpose", world.activity), ("Access-Purpose", SOME_ID)]
    with Wire(world.vault) as wire:
        answer = wire.ask("GET", f"/v1/subjects/{world.subject.subject}", head)
    world.service.token = answer.headers["access-token"]
    assert answer.status_code in (400, 403), answer.text


def test_unknown_query_parameters(world):
    for query, name in (("x=1", "x"), ("limit=1&x=1", "x"), ("Limit=1", "Limit"), ("%6cimit=1&y", "y"), ("=1", ""), ("limit", "limit"), ("a%ff=1", None)):
        answer = world.officer.request("GET", "/v1/types?" + query)
        expect_problem(answer, 400, "bad-request", parameter=name if name else None)
    world.officer.request("GET", "/v1/types?%6cimit=1", expect=200)
    world.officer.request("GET", "/v1/types?", expect=200)
    expect_problem(world.officer.request("POST", "/v1/activities?x=1", {"name": "n", "purpose": "p"}), 400, "bad-request", parameter="x")
    expect_problem(Anonymous(world.vault).raw("GET", "/v1/about?x=1"), 400, "bad-request", parameter="x")


def test_every_answer_has_the_headers_of_a_careful_server(world):
    for answer in (world.officer.get("/v1/types"), Anonymous(world.vault).raw("GET", "/v1/about"), Anonymous(world.vault).raw("GET", "/nowhere"),
                   Anonymous(world.vault).raw("GET", "/v1/types")):
        head = answer.headers
        assert UUID7.fullmatch(head["X-Request-Id"])
        assert head["X-Content-Type-Options"] == "nosniff" and head["Referrer-Policy"] == "no-referrer"
        assert "max-age=" in head["Strict-Transport-Security"] and "default-src 'none'" in head["Content-Security-Policy"]
        assert head["Cache-Control"] == "no-store" and "Date" in head
        assert "civetweb" not in str(head).lower()
    ids = {Anonymous(world.vault).raw("GET", "/healthz").headers["X-Request-Id"] for _ in range(10)}
    assert len(ids) == 10


def test_keep_alive_and_pipelining(world):
    with Wire(world.vault) as wire:
        for _ in range(50):
            assert wire.ask("GET", "/healthz").status_code == 200
        answer = wire.ask("GET", "/healthz", {"Connection": "close"})
        assert answer.status_code == 200 and wire.closed()
    with Wire(world.vault) as wire:
        answer = wire.ask("GET", "/healthz", version="HTTP/1.0")
        assert answer.status_code == 200 and wire.closed()


@pytest.mark.parametrize("raw", [b"\r\n\r\n", b"GET\r\n\r\n", b"GET /\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\x00\x01\x02\r\n\r\n", b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
                                 b"GET /v1/about HTTP/1.1\r\n: x\r\n\r\n", b"GET http://[::1 HTTP/1.1\r\nHost: x\r\n\r\n", b"A" * 5000 + b"\r\n\r\n",
                                 b"POST /v1/auth/sign_in HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
                                 b"POST /v1/auth/sign_in HTTP/1.1\r\nHost: x\r\nContent-Length: 5x\r\n\r\nhello",
                                 b"POST /v1/auth/sign_in HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}\n",
                                 b"POST /v1/auth/sign_in HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                                 b"POST /v1/auth/sign_in HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
                                 b"POST /v1/auth/sign_in HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n{}",
                                 b"POST /v1/auth/sign_in HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: gzip\r\n\r\n{}",
                                 b"GET /v1/about HTTP/1.1\r\nHost: x\r\nX: a\r\n b\r\n\r\n", b"get /v1/about HTTP/1.1\r\nHost: x\r\n\r\n"])
def test_requests_that_are_none(vault, raw):
    """A 4xx (or 501, 505) or a closed connection; never 2xx from a broken frame, never 500; and the server serves on."""
    with Wire(vault, timeout=40) as wire:
        wire.send(raw)
        try:
            answer = wire.answer()
        except (TimeoutError, socket.timeout, ssl.SSLError, requests.exceptions.RequestException):
            answer = None
        if answer is not None:
            folded = b"X: a\r\n b" in raw
            assert 400 <= answer.status_code < 500 or answer.status_code in (501, 505) or folded and answer.status_code == 200, answer.status_code
    assert Anonymous(vault).raw("GET", "/healthz").status_code == 200


def test_no_request_is_smuggled(vault):
    """Two lengths: the connection is not used any further."""
    with Wire(vault) as wire:
        wire.send(b"POST /v1/auth/sign_in HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"
                  b"0\r\n\r\nGET /v1/about HTTP/1.1\r\nHost: x\r\n\r\n")
        first = wire.answer()
        assert first is None or first.status_code == 400, first.status_code
        assert wire.closed()


# ---- system ----

def test_about(anonymous):
    body = anonymous.raw("GET", "/v1/about").json()
    assert set(body) == {"name", "version", "api", "time", "vault", "signing_keys"} and TIME.fullmatch(body["time"])
    assert anonymous.raw("GET", "/healthz").json() == {"status": "ok"} and anonymous.raw("GET", "/readyz").json() == {"status": "ready"}


METRICS_PORT = free_port()


@pytest.mark.flags("--metrics-listen", f"127.0.0.1:{METRICS_PORT}")
def test_metrics(fresh_vault):
    session_of(fresh_vault, "auditor")
    http = requests.Session()
    http.trust_env = False
    base = f"http://127.0.0.1:{METRICS_PORT}"
    answer = http.get(base + "/metrics", timeout=30)
    assert answer.status_code == 200 and answer.headers["Content-Type"].startswith("text/plain")
    samples = [line for line in answer.text.splitlines() if line and not line.startswith("#")]
    assert samples
    for line in samples:
        assert re.fullmatch(r'[a-zA-Z_:][a-zA-Z0-9_:]*(\{[^}]*\})? -?[0-9.e+]+(nan|inf)?', line, re.I), line
    typed = {line.split()[2] for line in answer.text.splitlines() if line.startswith("# TYPE")}
    assert typed and all(name.startswith("tresor_") or name.startswith("process_") for name in typed)
    assert http.get(base + "/healthz", timeout=30).status_code == 200 and http.get(base + "/readyz", timeout=30).status_code == 200
    assert http.get(base + "/v1/about", timeout=30).status_code == 404
    assert Anonymous(fresh_vault).raw("GET", "/metrics").status_code == 404


def offer(vault, **changes):
    context = vault.tls()
    for name, value in changes.items():
        setattr(context, name, value)
    with socket.create_connection(("127.0.0.1", vault.port), timeout=20) as plain:
        with context.wrap_socket(plain, server_hostname="localhost") as secured:
            return secured.version(), secured.cipher()[0], secured.getpeercert(True)


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
def test_tls(vault):
    """1.2 and 1.3 with AEAD suites only; the certificate passes strict checks for 127.0.0.1 and localhost."""
    assert offer(vault)[0] == "TLSv1.3"
    version, cipher, _ = offer(vault, maximum_version=ssl.TLSVersion.TLSv1_2)
    assert version == "TLSv1.2" and ("GCM" in cipher or "POLY1305" in cipher)
    context = vault.tls()
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    with socket.create_connection(("127.0.0.1", vault.port), timeout=20) as plain:
        context.wrap_socket(plain, server_hostname="127.0.0.1").close()
    for ciphers in ("ECDHE-ECDSA-AES256-SHA384", "AES256-SHA", "ECDHE-ECDSA-AES128-SHA"):
        context = vault.tls()
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.set_ciphers(ciphers + ":@SECLEVEL=0")
        except ssl.SSLError:
            continue
        with pytest.raises((ssl.SSLError, ConnectionError)):
            with socket.create_connection(("127.0.0.1", vault.port), timeout=20) as plain:
                context.wrap_socket(plain, server_hostname="localhost").close()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises((ssl.SSLError, ConnectionError)):
        with socket.create_connection(("127.0.0.1", vault.port), timeout=20) as plain:
            context.wrap_socket(plain, server_hostname="localhost").close()


def test_plain_http_on_the_tls_port_is_no_way_in(vault):
    with socket.create_connection(("127.0.0.1", vault.port), timeout=30) as plain:
        plain.sendall(b"GET /v1/about HTTP/1.1\r\nHost: x\r\n\r\n")
        try:
            got = plain.recv(4096)
        except ConnectionError:
            got = b""
    assert b"200 OK" not in got and b"tresor" not in got
    assert Anonymous(vault).raw("GET", "/healthz").status_code == 200


@pytest.mark.concurrency
def test_tls_reload(fresh_vault):
    """SIGHUP takes a new certificate without a restart; a broken one is refused and the old one stays."""
    vault = fresh_vault
    keep = Anonymous(vault)
    assert keep.raw("GET", "/healthz").status_code == 200
    before = offer(vault)[2]
    cert, key = vault.data / "tls.pem", vault.data / "tls.key"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "3", "-subj", "/CN=localhost",
                    "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", str(key) + ".new", "-out", str(cert) + ".new"],
                   check=True, capture_output=True)
    os.replace(str(key) + ".new", key)
    os.replace(str(cert) + ".new", cert)
    vault.server.process.send_signal(signal.SIGHUP)
    deadline = time.monotonic() + 20
    while True:
        try:
            if offer(vault)[2] != before:
                break
        except ssl.SSLError:
            pass  # still the old certificate, which the new file does not vouch for
        assert time.monotonic() < deadline, "the certificate is not taken"
        time.sleep(0.1)
    good = offer(vault)[2]
    text = cert.read_text()
    cert.write_text("not a certificate")
    lines = len(vault.server.lines)
    vault.server.process.send_signal(signal.SIGHUP)
    deadline = time.monotonic() + 20
    while len(vault.server.lines) == lines and time.monotonic() < deadline:
        time.sleep(0.1)  # it says so in its log
    cert.write_text(text)
    assert offer(vault)[2] == good
    assert vault.server.alive()


@pytest.mark.concurrency
def test_sigterm_drains(fresh_vault):
    """What runs is answered; what has not begun is turned away; the exit code is 0."""
    world = World(fresh_vault)
    wire = Wire(fresh_vault)
    head = {**world.service.credentials(), "Content-Type": "application/json", "Content-Length": "2"}
    wire.send(("POST /v1/subjects HTTP/1.1\r\nHost: x\r\n" + "".join(f"{k}: {v}\r\n" for k, v in head.items()) + "\r\n{").encode())
    idle = Wire(fresh_vault)
    assert idle.ask("GET", "/healthz").status_code == 200
    stopper = threading.Thread(target=fresh_vault.stop)
    stopper.start()
    deadline = time.monotonic() + 20
    refused = False
    while not refused and time.monotonic() < deadline:
        try:
            with Wire(fresh_vault, timeout=5) as other:
                answer = other.ask("GET", "/readyz")
                refused = answer is None or answer.status_code == 503
        except (OSError, ssl.SSLError):
            refused = True
    assert refused, "it still takes new work"
    wire.send(b"}")
    answer = wire.answer()
    assert answer is not None and answer.status_code == 201, answer and answer.text
    stopper.join(60)
    assert not stopper.is_alive() and fresh_vault.server.process.returncode == 0


def test_who_sends_far_too_much_still_gets_the_answer(vault):
    """A close with unread input would be a reset, which takes the answer away from a client that is still sending."""
    for _ in range(10):
        answer = Anonymous(vault).raw("POST", "/v1/auth/sign_in", data=b"[" * 3000000, headers={"Content-Type": "application/json"})
        expect_problem(answer, 413, "content-too-large")


@pytest.mark.flags("--threads", "1000")
def test_each_of_many_threads_serves(fresh_vault):
    """As many connections at once as one address may have threads: OpenSSL keeps generators for each among the secrets."""
    context, wires = fresh_vault.tls(), []
    try:
        for n in range(700):
            plain = socket.create_connection(("127.0.0.1", fresh_vault.port), timeout=60)
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            wires.append(context.wrap_socket(plain, server_hostname="localhost"))
            wires[n].sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert wires[n].recv(1024).startswith(b"HTTP/1.1 200 "), n
    finally:
        for wire in wires:
            wire.close()


@pytest.mark.concurrency
@pytest.mark.flags("--threads", "8", "--request-timeout-ms", "1500", "--idle-timeout-ms", "1500")
def test_slow_and_idle_peers_do_not_hold_the_server(fresh_vault):
    """More half-open and silent connections than threads; a good client is served soon all the same."""
    plain = [socket.create_connection(("127.0.0.1", fresh_vault.port), timeout=30) for _ in range(20)]
    try:
        began = time.monotonic()
        answer = Anonymous(fresh_vault).raw("GET", "/healthz", timeout=60)
        assert answer.status_code == 200
        print(f"served after {time.monotonic() - began:.1f} s beside 20 silent peers and 8 threads")
    finally:
        for one in plain:
            one.close()
    wires = []
    try:
        for _ in range(6):
            wire = Wire(fresh_vault)
            wire.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: ")
            wires.append(wire)
        assert Anonymous(fresh_vault).raw("GET", "/healthz", timeout=60).status_code == 200
        answer = wires[0].answer()
        assert answer is None or answer.status_code == 408
    finally:
        for wire in wires:
            wire.close()


@pytest.mark.flags("--request-timeout-ms", "1000")
def test_a_body_that_does_not_come(fresh_vault):
    service = World(fresh_vault).service
    with Wire(fresh_vault) as wire:
        head = {**service.credentials(), "Content-Type": "application/json", "Content-Length": "100"}
        wire.send(("POST /v1/subjects HTTP/1.1\r\nHost: x\r\n" + "".join(f"{k}: {v}\r\n" for k, v in head.items()) + "\r\n{").encode())
        answer = wire.answer()
        assert answer is None or answer.status_code == 408
        if answer is not None:
            assert answer.json()["type"] == "urn:tresor:problem:request-timeout"
            assert wire.closed()
    assert Anonymous(fresh_vault).raw("GET", "/healthz").status_code == 200


@pytest.mark.flags("--rate-per-minute", "30")
def test_requests_per_minute(fresh_vault):
    """Sign-in and the change of password count too, so well below 30 reads are left."""
    auditor = session_of(fresh_vault, "auditor")
    for number in range(40):
        answer = auditor.request("GET", "/v1/auth/validate_token")
        if answer.status_code == 429:
            break
    expect_problem(answer, 429, "rate-limited")
    assert int(answer.headers["Retry-After"]) >= 1 and number >= 20
