"""kill -9 over every route that changes something, all of them at once, TRESOR_KILL_ROUTES_ROUNDS times: afterwards each change is there
wholly or not at all, an answered one is there, and who lost the answer gets it by asking again, with the change there once.

What does it for a route is a row of ROUTES: it makes what the call needs, and gives the call and how to look at what it changes.
"""
import collections
import os
import queue
import random
import threading
import time
import uuid

import pytest
import requests

from tresor_client import ADA, CONTACT, CONTRACT, Client, Vault, World

ROUNDS = int(os.environ.get("TRESOR_KILL_ROUTES_ROUNDS", "20"))
LOST = (requests.exceptions.ConnectionError, requests.exceptions.ChunkedEncodingError, requests.exceptions.ReadTimeout)
MERGE = "application/merge-patch+json"

UNKILLED = {("POST", "/v1/notices/{id}/retry")}  # needs a notice that was given up

# look() gives what is there; `done` is what it gives once the call has run. `again`: what the same request is answered after it ran.
Call = collections.namedtuple("Call", "client method path body look done again media", defaults=((200, 201, 202, 204), None))
ROUTES = {}
READS = {("POST", "/v1/lookup"), ("POST", "/v1/snapshots/{id}/verify"), ("POST", "/v1/snapshots/drill")}
ELSEWHERE = {  # killed in a test of its own
    ("POST", "/v1/keys/rotate"): "test_rotation.py", ("DELETE", "/v1/keys/{version}"): "test_rotation.py",
    ("POST", "/v1/snapshots"): "test_shipping.py",
}


def route(method, path):
    def add(make):
        ROUTES[method, path] = make
        return make
    return add


class Scene:
    """A world, and what this round's calls work on. Each call has a session of its own; what is looked at, another one."""

    def __init__(self, world):
        self.world = world
        self.lanes = {name: iter(getattr(world, name).lanes(16)) for name in ("officer", "operator", "service", "subject")}
        self.subject = world.subject.subject
        self.records = f"/v1/subjects/{self.subject}/records"

    def lane(self, name):
        return next(self.lanes[name])

    def word(self):
        return uuid.uuid4().hex[:12]


def status(client, path):
    return lambda: client.request("GET", path).status_code


def member(client, path, *names):
    def look():
        value = client.get(path).json()
        for name in names:
            value = value.get(name)
        return value
    return look


def count(client, path, wanted):
    return lambda: sum(wanted(item) for item in client.pages(path, limit=100))


def found(officer, email):
    return lambda: len(officer.post("/v1/lookup", {"type": "contact", "field": "/email", "value": email}, expect=200).json()["items"])


def enters(vault, uid, password):
    """0 or 1."""
    def look():
        answer = Client(vault, uid).raw("POST", "/v1/auth/sign_in", json_body={"uid": uid, "password": password})
        assert answer.status_code in (200, 401)
        return int(answer.status_code == 200)
    return look


def sessions(client, wanted=lambda item: True):
    return lambda: sum(wanted(item) for item in client.get("/v1/auth/sessions").json()["items"])


# ---- sessions ----

def sign_in(path):
    def make(scene):
        who = scene.world.make_service()
        look = sessions(who)
        # Without credentials there is nothing to ask again by: it is one more session.
        return Call(Client(scene.world.vault, who.uid), "POST", path, {"uid": who.uid, "password": who.password}, look, look() + 1)
    return make


def sign_out(path):
    def make(scene):
        who = scene.world.make_service()
        other = who.lanes(1)[0]
        return Call(other, "DELETE", path, None, sessions(who, lambda item: item["client"] == other.client), 0, again=(200, 401))
    return make


for prefix in ("", "/v1"):
    route("POST", prefix + "/auth/sign_in")(sign_in(prefix + "/auth/sign_in"))
    route("DELETE", prefix + "/auth/sign_out")(sign_out(prefix + "/auth/sign_out"))


@route("DELETE", "/v1/auth/sessions/{client}")
def end_session(scene):
    who = scene.world.make_service()
    other, caller = who.lanes(2)
    return Call(caller, "DELETE", f"/v1/auth/sessions/{other.client}", None, sessions(who, lambda item: item["client"] == other.client), 0)


@route("POST", "/v1/auth/lanes")
def lanes(scene):
    who = scene.world.make_service()
    caller, look = who.lanes(1)[0], sessions(who)
    return Call(caller, "POST", "/v1/auth/lanes", {"count": 3}, look, look() + 3)


@route("PUT", "/v1/auth/password")
def password(scene):
    who, new = scene.world.make_service(), "another password " + uuid.uuid4().hex
    old = enters(scene.world.vault, who.uid, who.password)
    now = enters(scene.world.vault, who.uid, new)
    return Call(who, "PUT", "/v1/auth/password", {"current_password": who.password, "password": new}, lambda: (old(), now()), (0, 1))


# ---- principals ----

@route("POST", "/v1/principals")
def make_principal(scene):
    uid, look = scene.word(), scene.world.operator
    return Call(scene.lane("operator"), "POST", "/v1/principals", {"uid": uid, "role": "service"},
                count(look, "/v1/principals", lambda item: item["uid"] == uid), 1)


def principal(scene):
    made = scene.world.operator.post("/v1/principals", {"uid": scene.word(), "role": "service", "name": "Before"}).json()
    return f"/v1/principals/{made['id']}"


@route("PATCH", "/v1/principals/{id}")
def rename_principal(scene):
    path = principal(scene)
    return Call(scene.lane("operator"), "PATCH", path, {"name": "After"}, member(scene.world.operator, path, "name"), "After", media=MERGE)


@route("DELETE", "/v1/principals/{id}")
def remove_principal(scene):
    path = principal(scene)
    return Call(scene.lane("operator"), "DELETE", path, None, status(scene.world.operator, path), 404)


# ---- types and activities ----

@route("PUT", "/v1/types/{name}")
def put_type(scene):
    path = "/v1/types/t" + scene.word()
    return Call(scene.lane("officer"), "PUT", path, CONTACT, status(scene.world.officer, path), 200)


@route("DELETE", "/v1/types/{name}")
def remove_type(scene):
    path = "/v1/types/t" + scene.word()
    scene.world.officer.put(path, CONTACT, expect=201)
    return Call(scene.lane("officer"), "DELETE", path, None, status(scene.world.officer, path), 404)


@route("POST", "/v1/activities")
def make_activity(scene):
    name = scene.word()
    return Call(scene.lane("officer"), "POST", "/v1/activities", {"name": name, "purpose": "p"},
                count(scene.world.officer, "/v1/activities", lambda item: item["name"] == name), 1)


@route("PUT", "/v1/activities/{id}")
def put_activity(scene):
    path = f"/v1/activities/{scene.world.make_activity('Before')}"
    return Call(scene.lane("officer"), "PUT", path, {"name": "After", "purpose": "p"}, member(scene.world.officer, path, "name"), "After")


@route("DELETE", "/v1/activities/{id}")
def end_activity(scene):
    path = f"/v1/activities/{scene.world.make_activity('Ends')}"
    look = member(scene.world.officer, path, "ended_at")
    return Call(scene.lane("officer"), "DELETE", path, None, lambda: look() is not None, True)


# ---- subjects and records ----

@route("POST", "/v1/subjects")
def make_subject(scene):
    email = scene.world.name("new")
    return Call(scene.lane("service"), "POST", "/v1/subjects", {"records": [{"type": "contact", "data": {"name": "New", "email": email}}] * 2},
                found(scene.world.officer, email), 2)


@route("POST", "/v1/import")
def imports(scene):
    email = scene.world.name("imported")
    return Call(scene.lane("service"), "POST", "/v1/import", b'{"type":"contact","data":{"name":"I","email":"%s"}}\n' % email.encode() * 20,
                found(scene.world.officer, email), 20, media="application/x-ndjson")


@route("DELETE", "/v1/subjects/{id}")
def remove_subject(scene):
    who = scene.world.make_subject(ADA)
    return Call(who, "DELETE", f"/v1/subjects/{who.subject}", None, enters(scene.world.vault, who.uid, who.password), 0, again=(200, 202, 401))


def record(scene):
    made = scene.world.subject.post(scene.records, {"type": "contact", "data": {"name": "Before", "notes": "n" * 6000}}).json()
    return f"{scene.records}/{made['id']}"


def content(scene, path):
    def look():
        body = scene.world.subject.get(path).json()
        return body["version"], body["data"]["name"], len(body["data"].get("notes", ""))
    return look


@route("POST", "/v1/subjects/{id}/records")
def make_record(scene):
    name = scene.word()
    return Call(scene.lane("subject"), "POST", scene.records, {"type": "contact", "data": {"name": name}},
                count(scene.world.subject, scene.records, lambda item: item["data"]["name"] == name), 1)


@route("PUT", "/v1/subjects/{id}/records/{rid}")
def put_record(scene):
    path = record(scene)
    return Call(scene.lane("subject"), "PUT", path, {"data": {"name": "After"}}, content(scene, path), (2, "After", 0))


@route("PATCH", "/v1/subjects/{id}/records/{rid}")
def patch_record(scene):
    path = record(scene)
    return Call(scene.lane("subject"), "PATCH", path, {"data": {"name": "After"}}, content(scene, path), (2, "After", 6000), media=MERGE)


@route("DELETE", "/v1/subjects/{id}/records/{rid}")
def remove_record(scene):
    path = record(scene)
    return Call(scene.lane("subject"), "DELETE", path, None, status(scene.world.subject, path), 404)


# ---- grants, holds, restriction ----

def grant_body(scene, activity):
    return {"grantee": scene.world.service.id, "types": ["contact"], "actions": ["read"], "activity": activity}


@route("POST", "/v1/subjects/{id}/grants")
def make_grant(scene):
    path, activity = f"/v1/subjects/{scene.subject}/grants", scene.world.make_activity("For a grant")
    return Call(scene.lane("subject"), "POST", path, grant_body(scene, activity),
                count(scene.world.subject, path, lambda item: item["activity"] == activity), 1)


@route("DELETE", "/v1/subjects/{id}/grants/{gid}")
def withdraw(scene):
    path = f"/v1/subjects/{scene.subject}/grants"
    made = scene.world.subject.post(path, grant_body(scene, scene.world.make_activity("Withdrawn"))).json()
    look = member(scene.world.subject, f"{path}/{made['id']}", "withdrawn_at")
    return Call(scene.lane("subject"), "DELETE", f"{path}/{made['id']}", None, lambda: look() is not None, True)


@route("POST", "/v1/subjects/{id}/holds")
def make_hold(scene):
    path, title = f"/v1/subjects/{scene.world.make_subject(ADA).subject}/holds", scene.word()  # whom nobody erases meanwhile
    return Call(scene.lane("officer"), "POST", path, {"title": title, "legal_basis": "Art. 958f CO"},
                count(scene.world.officer, path, lambda item: item["title"] == title), 1)


@route("DELETE", "/v1/subjects/{id}/holds/{hid}")
def lift_hold(scene):
    path, title = f"/v1/subjects/{scene.world.make_subject(ADA).subject}/holds", scene.word()  # whom nobody erases meanwhile
    made = scene.world.officer.post(path, {"title": title, "legal_basis": "Art. 958f CO"}).json()
    return Call(scene.lane("officer"), "DELETE", f"{path}/{made['id']}", None,
                count(scene.world.officer, path, lambda item: item["title"] == title and item["lifted_at"] is None), 0)


@route("POST", "/v1/subjects/{id}/restriction")
def restrict(scene):
    who = scene.world.make_subject(ADA)
    look = member(who.lanes(1)[0], f"/v1/subjects/{who.subject}", "restricted")
    return Call(who, "POST", f"/v1/subjects/{who.subject}/restriction", None, look, True)


@route("DELETE", "/v1/subjects/{id}/restriction")
def unrestrict(scene):
    who = scene.world.make_subject(ADA)
    who.post(f"/v1/subjects/{who.subject}/restriction", None, expect=(200, 201))
    look = member(who.lanes(1)[0], f"/v1/subjects/{who.subject}", "restricted")
    return Call(who, "DELETE", f"/v1/subjects/{who.subject}/restriction", None, look, False)


# ---- requests ----

@route("POST", "/v1/requests")
def make_request(scene):
    subject = scene.world.service.post("/v1/subjects", {"records": []}).json()["id"]
    return Call(scene.lane("officer"), "POST", "/v1/requests", {"subject": subject, "kind": "access", "details": "All"},
                count(scene.world.officer, f"/v1/requests?subject={subject}", lambda item: True), 1)


def request_step(name, body, done, *names, verified=True):
    @route("POST", "/v1/requests/{id}/" + name)
    def make(scene):
        officer = scene.world.officer
        subject = scene.world.service.post("/v1/subjects", {"records": []}).json()["id"]
        made = officer.post("/v1/requests", {"subject": subject, "kind": "access", "details": "All"}).json()
        path = f"/v1/requests/{made['id']}"
        if verified:
            officer.post(path + "/verify", {"method": "in-person"}, expect=200)
        colleague = scene.world.colleague.id
        sent, then = ({"officer": colleague}, colleague) if name == "assign" else (body, done)
        return Call(scene.lane("officer"), "POST", f"{path}/{name}", sent, member(officer, path, *names), then)


request_step("verify", {"method": "in-person"}, "verified", "state", verified=False)
request_step("assign", None, None, "assignee")
request_step("extend", {"reason": "Much of it"}, "extended", "state")
request_step("refuse", {"reason": "r", "legal_basis": "l"}, "refused", "state")
request_step("fulfil", {}, "fulfilled", "state")


# ---- incidents and contacts ----

def incident(scene):
    made = scene.world.officer.post("/v1/incidents", {"title": scene.word(), "kind": "disclosure"}).json()
    return f"/v1/incidents/{made['id']}"


@route("POST", "/v1/incidents")
def make_incident(scene):
    title = scene.word()
    return Call(scene.lane("officer"), "POST", "/v1/incidents", {"title": title, "kind": "disclosure"},
                count(scene.world.officer, "/v1/incidents", lambda item: item["title"] == title), 1)


@route("PATCH", "/v1/incidents/{id}")
def change_incident(scene):
    path = incident(scene)
    return Call(scene.lane("officer"), "PATCH", path, {"effects": "none"}, member(scene.world.officer, path, "effects"), "none", media=MERGE)


@route("POST", "/v1/incidents/{id}/notify")
def notify(scene):
    path = incident(scene)
    look = member(scene.world.officer, path, "notifications")
    return Call(scene.lane("officer"), "POST", path + "/notify", {"subjects": [scene.subject], "title": "t", "text": "x"}, lambda: len(look()), 1)


@route("PUT", "/v1/principals/{id}/contact")
def put_contact(scene):
    who = scene.world.make_subject(ADA)
    path = f"/v1/principals/{who.id}/contact"
    return Call(who, "PUT", path, {"email": "a@quellenhof.example"}, status(who.lanes(1)[0], path), 200)


@route("DELETE", "/v1/principals/{id}/contact")
def remove_contact(scene):
    who = scene.world.make_subject(ADA)
    path = f"/v1/principals/{who.id}/contact"
    who.request("PUT", path, {"email": "a@quellenhof.example"}, expect=(200, 201))
    return Call(who, "DELETE", path, None, status(who.lanes(1)[0], path), 404)


# ---- snapshots ----

@route("DELETE", "/v1/snapshots/{id}")
def remove_snapshot(scene):
    operator = scene.world.operator
    made = operator.post("/v1/snapshots", {"kind": "full"}, expect=201).json()
    path = f"/v1/snapshots/{made['id']}"
    return Call(scene.lane("operator"), "DELETE", path, None, status(operator, path), 404)


# ---- the test ----

def send(call, key, head):
    more = {"data": call.body} if isinstance(call.body, bytes) else {"json_body": call.body}
    return call.client.raw(call.method, call.path, headers={**head, "Idempotency-Key": key}, content_type=call.media, timeout=60, **more)


class Try(threading.Thread):
    """One call, once, and what came of it."""

    def __init__(self, name, call, wait, faults):
        super().__init__()
        self.name_of, self.call, self.wait, self.faults = name, call, wait, faults
        self.key, self.answer = uuid.uuid4().hex, None
        self.head = call.client.credentials() if call.client.token else {}
        self.before = call.look()
        assert self.before != call.done, name

    def run(self):
        threading.Event().wait(self.wait)
        try:
            self.answer = send(self.call, self.key, self.head)
        except LOST:
            pass
        except Exception as fault:  # handed to the test's own thread
            self.faults.put((self.name_of, fault))

    def check(self):
        """"answered", "done" though not answered, or "absent"."""
        after, name = self.call.look(), self.name_of
        if self.answer is not None:
            assert self.answer.status_code in (200, 201, 202, 204), f"{name}: {self.answer.status_code} {self.answer.text}"
            assert after == self.call.done, f"{name}: answered, but there is {after!r}, not {self.call.done!r}"
            return "answered"
        assert after in (self.before, self.call.done), f"{name}: neither wholly there nor not at all: {after!r}"
        again = send(self.call, self.key, self.head)
        assert again.status_code in self.call.again, f"{name}, asked again: {again.status_code} {again.text}"
        if self.head or after == self.before:
            assert self.call.look() == self.call.done, f"{name}: asked again, there is {self.call.look()!r}"
        return "done" if after == self.call.done else "absent"


def changing_routes():
    return {(method, path) for method, path, _, _ in CONTRACT.operations if method not in ("GET", "HEAD")}


def test_every_changing_route_is_killed():
    """A new route needs a row here, or a test of its own that kills it."""
    assert changing_routes() == set(ROUTES) | READS | set(ELSEWHERE) | UNKILLED


@pytest.fixture
def world(tmp_path):
    backup = tmp_path / "backup"
    backup.mkdir()
    vault = Vault(tmp_path, "--backup-dir", backup, "--backup-every-s", "0", "--backup-drill-every-s", "0",
                  "--token-recovery-ms", "600000").start()  # to look at all of it takes its time
    world = World(vault)
    world.colleague = world.make_principal("officer")
    yield world
    if vault.server.alive():
        vault.stop()


def kill_at(rng, number, tries):
    """In every other round while some have just begun and others have not, however fast the machine is."""
    begins = sorted(one.wait for one in tries)
    middle = begins[rng.randrange(len(begins) // 4, 3 * len(begins) // 4)]
    return rng.uniform(0.02, 0.5) if number % 2 else middle + rng.uniform(0, 0.03)


@pytest.mark.timeout(3600)
def test_kill_over_every_change(world):
    rng, tally, began = random.Random(20260401), collections.Counter(), time.monotonic()
    for number in range(ROUNDS):
        scene, faults = Scene(world), queue.Queue()
        tries = [Try(name, make(scene), rng.uniform(0, 0.2), faults) for name, make in ROUTES.items()]
        for one in tries:
            one.start()
        threading.Event().wait(kill_at(rng, number, tries))
        world.vault.server.kill()
        for one in tries:
            one.join(90)
            assert not one.is_alive()
        assert faults.empty(), faults.get()
        code, verdict = world.vault.verify_audit()
        assert code == 0 and verdict["ok"] is True, f"round {number}: {verdict}"
        world.vault.start()
        for one in tries:
            tally[one.check()] += 1
    print(f"{ROUNDS} kills over {len(ROUTES)} routes in {time.monotonic() - began:.0f} s: {dict(tally)}")
    assert tally["answered"] and tally["absent"]
