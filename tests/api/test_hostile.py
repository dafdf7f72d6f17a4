"""Thousands of hostile bodies, headers and paths over kept-open connections: always a 4xx that says what is wrong, never a 500,
never an effect, and a server that serves on.

What a body is worth is decided twice: by the server, and by python3-jsonschema with the schemas of openapi/openapi.yaml.
"""
import base64
import json
import os
import ssl
import time

import jsonschema
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tresor_client import CONTRACT, Anonymous, Client, Wire

EXAMPLES = int(os.environ.get("TRESOR_EXAMPLES", "400"))
SETTINGS = settings(max_examples=EXAMPLES, deadline=None, database=None, print_blob=True,
                    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture,
                                           HealthCheck.filter_too_much])
SOME_ID = "0197c5b0-7b1e-7cc3-98c4-dc0c0c07398f"
REFUSALS = {400, 401, 403, 404, 405, 406, 408, 409, 412, 413, 414, 415, 422, 431}


class Caller:
    """A session over one connection, opened anew where the server closed it (it may, after a broken frame)."""

    def __init__(self, world, of):
        self.world, self.of = world, of
        self.client, self.wire, self.at = None, None, 0
        self.sign_in()

    def sign_in(self):
        self.client = Client(self.world.vault, self.of.uid, self.of.password)
        self.client.sign_in()

    def send(self, method, target, headers=(), body=None):
        """`headers` and `target` as bytes; the answer, or None when the connection was closed without one."""
        if self.wire is not None and time.monotonic() - self.at > 5:  # the server closes idle connections
            self.wire.close()
            self.wire = None
        if self.wire is None:
            self.wire = Wire(self.world.vault)
        self.at = time.monotonic()
        head = [b"%s %s HTTP/1.1" % (method, target), b"Host: 127.0.0.1"]
        head += [f"{k}: {v}".encode() for k, v in self.client.credentials().items()]
        head += list(headers)
        if body is not None:
            head.append(b"Content-Length: %d" % len(body))
        try:
            self.wire.send(b"\r\n".join(head) + b"\r\n\r\n" + (body or b""))
            answer = self.wire.answer(method.decode("latin-1"))
        except (OSError, ssl.SSLError):
            answer = None
        if answer is None or (answer.headers.get("Connection") or "").lower() == "close":
            self.wire.close()
            self.wire = None
        token = answer.headers.get("access-token") if answer is not None else None
        if token:
            self.client.token = token
        elif answer is None or answer.status_code == 401:
            self.sign_in()
        assert self.world.vault.server.alive(), self.world.vault.server.errors()[-5000:]
        return answer


@pytest.fixture(scope="module")
def callers(world):
    return {name: Caller(world, getattr(world, name)) for name in ("operator", "officer", "auditor", "service", "subject")}


@pytest.fixture(scope="module", autouse=True)
def serves_on(world, callers):
    """After it all: the vault holds what it held, plus what was answered with 201; the log verifies."""
    record = f"/v1/subjects/{world.subject.subject}/records/{world.subject.records[0]}"
    before = world.subject.get(record).json()
    yield
    assert Anonymous(world.vault).raw("GET", "/healthz").status_code == 200
    assert world.subject.get(record).json() == before
    for line in world.vault.server.lines:
        assert isinstance(json.loads(line), dict), "the log is not JSON lines"
    code, verdict = world.vault.verify_audit()
    assert code == 0 and verdict["ok"] is True


def check_refusal(answer, context):
    assert answer.status_code in REFUSALS, (answer.status_code, answer.text[:300], context)
    body = json.loads(answer.content)
    if "success" in body:
        assert body["success"] is False and body["errors"]
    else:
        assert body["status"] == answer.status_code and body["type"].startswith("urn:tresor:problem:"), context


# ---- bodies ----

texts = st.text(max_size=30) | st.sampled_from(["", "contact", SOME_ID, "read", "/name", "x" * 300, "\u0000", "2030-01-01T00:00:00Z"])
leaves = st.none() | st.booleans() | st.integers() | st.integers(-2, 40) | st.floats(allow_nan=False, allow_infinity=False) | texts
trees = st.recursive(leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4), max_leaves=12)


def routes():
    """(role, method, path, media, schema, a good body) for each JSON body of the API."""
    grant = {"grantee": SOME_ID, "types": ["contact"], "actions": ["read"], "activity": SOME_ID, "fields": ["/name"], "masked": True,
             "expires": "2099-01-01T00:00:00Z"}
    activity = {"name": "n", "purpose": "p", "recipients": ["r"], "transfers": [{"country": "DE", "safeguard": "s"}]}
    table = [("operator", "POST", "/v1/principals", {"uid": "hostile", "role": "subject", "subject": SOME_ID, "name": "n"}),
             ("operator", "PATCH", "/v1/principals/" + SOME_ID, {"name": "n", "disabled": True}),
             ("auditor", "POST", "/v1/auth/lanes", {"count": 99}), ("auditor", "PUT", "/v1/auth/password", {"current_password": "x", "password": "y" * 12}),
             ("service", "POST", "/v1/subjects", {"records": [{"type": "nothing", "data": {"name": "x"}}]}),
             ("subject", "POST", "/v1/subjects/{me}/records", {"type": "nothing", "data": {"name": "x"}}),
             ("subject", "PUT", "/v1/subjects/{me}/records/" + SOME_ID, {"data": {"name": "x"}}),
             ("subject", "PATCH", "/v1/subjects/{me}/records/" + SOME_ID, {"data": {"name": None}}),
             ("subject", "POST", "/v1/subjects/{me}/grants", grant), ("officer", "PUT", "/v1/activities/" + SOME_ID, activity),
             ("officer", "POST", "/v1/lookup", {"type": "contact", "field": "/none", "value": 1, "limit": 3})]
    out = []
    for role, method, path, good in table:
        _, operation = CONTRACT.find(method, path.replace("{me}", SOME_ID))
        content = operation["requestBody"]["content"]
        media = next(iter(content))
        out.append((role, method, path, media, content[media]["schema"], good))
    return out


ROUTES = routes()
VALIDATORS = {}


def described(schema, value):
    key = json.dumps(schema, sort_keys=True)
    if key not in VALIDATORS:
        VALIDATORS[key] = jsonschema.Draft202012Validator({"allOf": [schema], "components": CONTRACT.document["components"]})
    return VALIDATORS[key].is_valid(value)


@st.composite
def spoiled(draw, value):
    """A good body with one thing changed: a member replaced, added, renamed or removed, somewhere in it."""
    value = json.loads(json.dumps(value))
    places = []

    def walk(node):
        if isinstance(node, dict):
            places.extend((node, k) for k in node)
            places.append((node, None))
            for inner in node.values():
                walk(inner)
        elif isinstance(node, list):
            places.extend((node, i) for i in range(len(node)))
            for inner in node:
                walk(inner)

    walk(value)
    node, key = draw(st.sampled_from(places))
    if key is None:
        node[draw(texts)] = draw(trees)
    elif draw(st.booleans()) or isinstance(node, list):
        node[key] = draw(trees)
    else:
        del node[key]
    return value


@pytest.mark.parametrize("route", ROUTES, ids=[f"{r[1]} {r[2]}" for r in ROUTES])
@given(data=st.data())
@settings(SETTINGS, max_examples=max(30, EXAMPLES // 4))
def test_json_bodies(world, callers, route, data):
    """None of the good bodies can succeed (they name things that do not exist), so nothing may."""
    role, method, path, media, schema, good = route
    value = data.draw(st.one_of(trees, spoiled(good), st.just(good)))
    body = json.dumps(value, ensure_ascii=data.draw(st.booleans())).encode("utf-8", "surrogatepass")
    answer = callers[role].send(method.encode(), path.replace("{me}", world.subject.subject).encode(), [b"Content-Type: " + media.encode()], body)
    assert answer is not None, body
    if answer.status_code < 300:  # only what the schema takes, and only where the good body changes little
        assert described(schema, value), (answer.status_code, body)
        assert path in ("/v1/auth/lanes", "/v1/subjects", "/v1/principals", "/v1/lookup") or method == "PATCH", (path, body)
        return
    check_refusal(answer, body)
    if not described(schema, value):
        assert answer.status_code in (400, 409, 422), (answer.status_code, body)  # 409: too many sessions stands before nothing
    elif answer.status_code == 422:
        problem = json.loads(answer.content)
        assert problem["type"] == "urn:tresor:problem:validation-failed"


@given(body=st.one_of(st.binary(max_size=200), st.binary(max_size=60).map(lambda b: b'{"records":[' + b), st.text(max_size=80).map(lambda t: t.encode("utf-8", "surrogatepass")),
                      st.lists(st.sampled_from([b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\", b"\\u", b"d800", b"1", b"-", b"e", b".", b"true", b"null", b" ", b"\xff", b"\x00",
                                                b"\xe2\x82\xac", b'"a"']), max_size=40).map(b"".join)))
@example(body=b"[" * 100000)
@example(body=b'{"a":' * 20000 + b"1" + b"}" * 20000)
@example(body=b"[" + b"0," * 300000 + b"0]")
@example(body=b'{"records":[' + b",".join(b'{"type":"contact","data":{"name":"%d"}}' % n for n in range(2000)) + b"]}")
@SETTINGS
def test_bytes_as_bodies(callers, body):
    answer = callers["service"].send(b"POST", b"/v1/subjects", [b"Content-Type: application/json"], body)
    assert answer is not None
    try:
        value = json.loads(body.decode("utf-8"), parse_constant=lambda _: 1 / 0)
    except (ValueError, RecursionError, ZeroDivisionError):
        assert answer.status_code in (400, 415), (answer.status_code, body)
        return check_refusal(answer, body)
    if answer.status_code != 201:
        return check_refusal(answer, body)
    assert described(CONTRACT.document["paths"]["/v1/subjects"]["post"]["requestBody"]["content"]["application/json"]["schema"], value)


@given(lines=st.lists(st.one_of(st.binary(max_size=60).map(lambda b: b.replace(b"\n", b"")), trees.map(lambda t: json.dumps(t).encode()),
                                spoiled({"type": "contact", "data": {"name": 1}, "subject": SOME_ID}).map(lambda t: json.dumps(t).encode())), max_size=8),
       query=st.sampled_from([b"", b"?type=contact"]))
@settings(SETTINGS, max_examples=max(30, EXAMPLES // 2))
def test_import_lines(callers, lines, query):
    body = b"\n".join(lines)
    answer = callers["service"].send(b"POST", b"/v1/import" + query, [b"Content-Type: application/x-ndjson"], body)
    assert answer is not None
    if answer.status_code != 200:
        return check_refusal(answer, body)
    for text in answer.content.splitlines():
        result = json.loads(text)
        CONTRACT.validate({"$ref": "#/components/schemas/ImportResult"}, result, "import")
        assert result["status"] in (201, 400, 403, 413, 422), (result, body)
        if result["status"] == 201:
            value = json.loads(lines[result["line"] - 1])
            assert "name" in (value if query else value["data"])


@given(schema=st.one_of(trees, spoiled({"type": "object", "properties": {"a": {"type": "string", "pattern": "a+", "x-mask": "hide"},
                                                                        "b": {"$ref": "#/$defs/c", "minimum": 1, "items": {"enum": [1]}}},
                                        "required": ["a"], "$defs": {"c": {"anyOf": [True, {"not": {}}]}}, "x-history": 3})))
@settings(SETTINGS, max_examples=max(30, EXAMPLES // 2))
def test_schemas(callers, schema):
    """A type either compiles or is refused with a place; and then any data is decided by it."""
    body = json.dumps(schema).encode()
    answer = callers["officer"].send(b"PUT", b"/v1/types/hostile", [b"Content-Type: application/json"], body)
    assert answer is not None
    if answer.status_code not in (200, 201):
        return check_refusal(answer, body)
    jsonschema.Draft202012Validator.check_schema(schema)
    for data in ({}, {"a": "aaa"}, {"b": 1}):
        body = json.dumps({"records": [{"type": "hostile", "data": data}, {"type": "none-such", "data": {}}]}).encode()
        answer = callers["service"].send(b"POST", b"/v1/subjects", [b"Content-Type: application/json"], body)
        assert answer is not None and answer.status_code == 422, answer and answer.text  # never stored: the second is wrong


@pytest.mark.parametrize("pattern", [r"(a+)+$", r"(a|a)*b", r"^(([a-z])+.)+[A-Z]([a-z])+$", r"(x+x+)+y", r"(?=(a+))a*b\1", r"((a{0,100}){0,100}){0,100}b"])
def test_no_pattern_holds_a_thread(world, callers, pattern):
    """Either refused, or matched within a bound; the server answers others meanwhile."""
    body = json.dumps({"type": "object", "properties": {"a": {"type": "string", "pattern": pattern}}}).encode()
    answer = callers["officer"].send(b"PUT", b"/v1/types/slow", [b"Content-Type: application/json"], body)
    if answer.status_code not in (200, 201):
        return check_refusal(answer, body)
    body = json.dumps({"records": [{"type": "slow", "data": {"a": "a" * 50000 + "!"}}, {"type": "none-such", "data": {}}]}).encode()
    answer = callers["service"].send(b"POST", b"/v1/subjects", [b"Content-Type: application/json"], body)
    assert answer is not None and answer.status_code == 422


# ---- headers, paths, queries ----

visible = st.characters(blacklist_characters="\r\n", max_codepoint=255)
header_names = st.sampled_from(["access-token", "client", "uid", "Authorization", "Access-Purpose", "Idempotency-Key", "If-Match", "If-None-Match", "Accept",
                                "Content-Type", "Content-Length", "Transfer-Encoding", "Expect", "Host", "Connection", "Range", "Cookie", "Upgrade",
                                "X-HTTP-Method-Override", "X-Forwarded-For", "Content-Encoding", "TE", "Trailer"])


@given(headers=st.lists(st.tuples(header_names | st.text("abcXYZ-_0123", min_size=1, max_size=12), st.text(visible, max_size=60)), max_size=5),
       method=st.sampled_from([b"GET", b"DELETE", b"PUT", b"PATCH", b"POST", b"HEAD", b"OPTIONS"]),
       path=st.sampled_from([b"/v1/types", b"/v1/types/none-such", b"/v1/activities/" + SOME_ID.encode(), b"/v1/about"]))
@SETTINGS
def test_headers(callers, headers, method, path):
    lines = [f"{k}: {v}".encode("latin-1") for k, v in headers]
    answer = callers["officer"].send(method, path, lines)
    if answer is not None and answer.status_code >= 300 and answer.status_code != 304:
        assert answer.status_code in REFUSALS | {417, 501, 505}, (answer.status_code, answer.text[:300])
    if answer is None or any(k.lower() in ("content-length", "transfer-encoding", "expect", "connection", "upgrade") for k, _ in headers):
        if callers["officer"].wire is not None:  # the two sides may count the bytes of the frame differently
            callers["officer"].wire.close()
            callers["officer"].wire = None


segments = st.one_of(st.sampled_from(["v1", "types", "subjects", "records", "grants", "auth", "principals", "..", ".", "", "%2e", "%2f", "%00", "%", "%zz", SOME_ID,
                                      SOME_ID.upper(), "contact", "a" * 2000, "*", "~", "ü", "versions", "import", "lookup"]), st.text(max_size=12))


@given(parts=st.lists(segments, max_size=7), query=st.one_of(st.none(), st.text(max_size=30), st.sampled_from(["limit=1", "after=%ff", "limit=%", "&&&", "=", "a=1&a=1"])),
       method=st.sampled_from([b"GET", b"HEAD", b"OPTIONS"]))
@SETTINGS
def test_paths(callers, parts, query, method):
    target = "/" + "/".join(parts) + ("?" + query if query is not None else "")
    target = target.encode("utf-8", "surrogatepass")
    for bad in (b" ", b"\r", b"\n"):
        target = target.replace(bad, b"+")
    answer = callers["auditor"].send(method, target)
    if answer is not None:
        assert answer.status_code in REFUSALS | {200, 204, 304}, (answer.status_code, target)


@given(value=st.one_of(st.text(visible, max_size=80), st.binary(max_size=60).map(lambda b: base64.b64encode(b).decode()),
                       trees.map(lambda t: base64.b64encode(json.dumps(t).encode()).decode())))
@SETTINGS
def test_bearer_credentials(callers, world, value):
    """No credentials but what was guessed: 401, or a broken header."""
    caller = callers["auditor"]
    if caller.wire is None or time.monotonic() - caller.at > 5:
        caller.wire = Wire(world.vault)
    caller.at = time.monotonic()
    try:
        caller.wire.send(b"GET /v1/types HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + value.encode("latin-1") + b"\r\n\r\n")
        answer = caller.wire.answer()
    except (OSError, ssl.SSLError):
        answer = None
    if answer is None or (answer.headers.get("Connection") or "").lower() == "close":
        caller.wire.close()
        caller.wire = None
    assert answer is None or answer.status_code in (400, 401), (answer.status_code, value)
    assert answer is None or answer.headers.get("access-token") is None


@given(data=st.binary(max_size=300))
@settings(SETTINGS, max_examples=max(30, EXAMPLES // 4))
def test_bytes_as_requests(world, data):
    with Wire(world.vault) as wire:
        try:
            wire.send(data + b"\r\n\r\n")
            answer = wire.answer()
        except (OSError, ssl.SSLError):
            answer = None
    assert answer is None or 400 <= answer.status_code < 506 and answer.status_code not in (500, 502, 503, 504), answer.status_code
    assert world.vault.server.alive()
