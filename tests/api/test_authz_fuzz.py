"""Random principals, routes, ids, purposes and grants: nothing outside the table of DESIGN.md section 3 ever answers 2xx.

The oracle is this file's own: what the document and roles.py allow a role, and a model of grants and officers' requests that the
test itself keeps. A seed (TRESOR_AUTHZ_SEED) repeats a run; TRESOR_AUTHZ_EXAMPLES is the number of requests.
"""
import collections
import json
import os
import random
import re
import time
import uuid
from datetime import datetime, timedelta, timezone

import pytest

from roles import TABLE
from tresor_client import CONTRACT, Client

EXAMPLES = int(os.environ.get("TRESOR_AUTHZ_EXAMPLES", "5000"))
SEED = int(os.environ.get("TRESOR_AUTHZ_SEED", str(random.SystemRandom().randrange(1 << 32))))
UNKNOWN = "0197c5b0-7b1e-7cc3-98c4-dc0c0c07398f"
NOTE = {"type": "object", "properties": {"text": {"type": "string", "x-index": True}}}
MERGE = "application/merge-patch+json"
SUBJECT = "/v1/subjects/{id}"
REFUSAL = {"reason": "manifestly unfounded", "legal_basis": "GDPR Art. 12(5)"}
# What would end a session, a person, or the test's own world: only sent where it must be refused.
ENDING = {("DELETE", "/auth/sign_out"), ("DELETE", "/v1/auth/sign_out"), ("DELETE", SUBJECT), ("PUT", "/v1/auth/password"),
          ("DELETE", "/v1/principals/{id}"), ("PATCH", "/v1/principals/{id}"), ("POST", "/v1/auth/lanes"), ("PUT", "/v1/types/{name}"),
          ("DELETE", "/v1/types/{name}"), ("PUT", "/v1/activities/{id}"), ("DELETE", "/v1/activities/{id}"),
          ("POST", "/v1/subjects/{id}/restriction"), ("DELETE", SUBJECT + "/records/{rid}"), ("POST", "/v1/keys/rotate"),
          ("POST", "/v1/requests"), ("POST", SUBJECT + "/grants"), ("DELETE", SUBJECT + "/grants/{gid}"),
          ("POST", SUBJECT + "/holds"), ("POST", "/v1/principals"), ("POST", "/v1/subjects"), ("POST", "/v1/activities"),
          ("POST", "/v1/incidents")} | {("POST", f"/v1/requests/{{id}}/{step}") for step in ("verify", "assign", "extend", "refuse", "fulfil")}
ACTION = {("GET", SUBJECT): {"read", "write", "export"}, ("GET", SUBJECT + "/export"): {"export"}}
for _method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
    for _path in ("/records", "/records/{rid}", "/records/{rid}/versions"):
        ACTION[_method, SUBJECT + _path] = {"read"} if _method == "GET" else {"write"}

Grant = collections.namedtuple("Grant", "id subject grantee activity types actions expires")
Case = collections.namedtuple("Case", "kind role client")


class Model:
    """The world that is asked, and what is true of it."""

    def __init__(self, world, rng):
        self.world, self.rng = world, rng
        world.officer.put("/v1/types/note", NOTE, expect=(200, 201))
        self.activities = [world.activity, world.make_activity("Billing"), world.make_activity("Ended")]
        world.officer.delete(f"/v1/activities/{self.activities[2]}")
        self.people = [self.person(i) for i in range(3)]
        self.gone = self.person(9)
        self.services = [world.make_service(may_register=True), world.make_service(), world.make_service()]
        self.officers = [world.officer, world.make_principal("officer")]
        self.grants, self.withdrawn, self.warrants, self.requests = [], [], [], []
        self.record_types = {r: t for p in [*self.people, self.gone] for r, t in zip(p.records, ("contact", "note"))}
        self.requests_of = {}
        self.cases = [Case("live", role, c) for role, clients in (
            ("subject", self.people), ("service", self.services), ("officer", self.officers), ("operator", [world.operator]),
            ("auditor", [world.auditor])) for c in clients]
        self.principals = [c.id for c in (*self.people, *self.services, self.officers[1])]
        self.cases += self.dead()
        for _ in range(8):
            self.change()

    def person(self, number):
        made = self.world.service.post("/v1/subjects", {"records": [
            {"type": "contact", "data": {"name": f"Person {number}"}}, {"type": "note", "data": {"text": f"note {number}"}}]}).json()
        client = self.world.make_principal("subject", subject=made["id"])
        client.subject, client.records = made["id"], [r["id"] for r in made["records"]]
        return client

    def dead(self):
        """Callers that are nobody (any more): disabled, deleted, erased, signed out, with somebody else's name, or none at all."""
        world = self.world
        disabled, deleted, out = world.make_service(), world.make_principal("officer"), world.make_service()
        for one in (disabled, deleted, out, self.gone):
            one.get("/v1/types")
        world.operator.patch(f"/v1/principals/{disabled.id}", {"disabled": True})
        world.operator.delete(f"/v1/principals/{deleted.id}")
        out.delete("/v1/auth/sign_out", expect=(200, 204), last=True)
        self.gone.delete(f"/v1/subjects/{self.gone.subject}", expect=200, last=True)
        stolen = Client(world.vault, world.operator.uid)
        stolen.client, stolen.token = "A" * 22, "B" * 43
        made = world.operator.post("/v1/principals", {"uid": world.name("fresh"), "role": "officer"}).json()
        fresh = Client(world.vault, made["uid"], made["password"])
        fresh.sign_in()
        return [Case("dead", role, c) for role, c in (("service", disabled), ("officer", deleted), ("service", out), ("operator", stolen),
                                                       ("subject", self.gone))] + [Case("initial", "officer", fresh)]

    # ---- what changes while the requests go on ----

    def change(self):
        rng = self.rng
        kind = rng.choice(("grant", "grant", "withdraw", "file", "close"))
        if kind == "grant":
            person, service = rng.choice(self.people), rng.choice(self.services)
            actions = rng.sample(("read", "write", "export"), rng.randint(1, 2))
            types = rng.choice((["contact"], ["note"], ["contact", "note"]))
            activity = rng.choice(self.activities[:2])
            expires = datetime.now(timezone.utc) + timedelta(seconds=rng.choice((1, 3600)))
            made = self.world.grant(person, service, types=types, actions=actions, activity=activity,
                                    expires=expires.strftime("%Y-%m-%dT%H:%M:%S.") + f"{expires.microsecond // 1000:03d}Z")
            self.grants.append(Grant(made["id"], person.subject, service.id, activity, set(types), set(actions), expires.timestamp()))
        elif kind == "withdraw" and self.grants:
            grant = self.grants.pop(rng.randrange(len(self.grants)))
            person = next(p for p in self.people if p.subject == grant.subject)
            person.delete(f"/v1/subjects/{grant.subject}/grants/{grant.id}", expect=(200, 204))
            self.withdrawn.append(grant)
        elif kind == "file" and len(self.warrants) < 3:
            person, officer = rng.choice(self.people), rng.choice(self.officers)
            what = rng.choice(("access", "rectification", "restriction"))
            made = self.world.officer.post("/v1/requests", {"subject": person.subject, "kind": what}).json()["id"]
            officer.post(f"/v1/requests/{made}/verify", {"method": "known-contact"}, expect=200)
            self.requests_of[made] = person.subject
            self.warrants.append((made, person.subject, officer, what))
        elif kind == "close" and self.warrants:
            one = rng.choice(self.warrants)
            one[2].post(f"/v1/requests/{one[0]}/refuse", REFUSAL, expect=200)
            self.warrants.remove(one)

    # ---- the oracle ----

    def live(self, service, subject, purpose):
        """Its grants that count now; None when that changes in this very moment."""
        now, found = time.time(), []
        for g in self.grants:
            if (g.grantee, g.subject, g.activity) != (service.id, subject, purpose):
                continue
            if abs(g.expires - now) < 1.5:
                return None
            if g.expires > now:
                found.append(g)
        return found

    def may(self, case, row, ids, purpose, body):
        """May this answer 2xx?"""
        if case.kind == "dead":
            return False
        described = CONTRACT.find(row.method, row.path)[1]["x-tresor-roles"]
        assert set(described) == set(row.may.split()) or row.public, row.path
        if not row.allows(case.role):
            return False
        if case.kind == "initial" and not row.path.startswith(("/auth/", "/v1/auth/")):
            return False
        own = getattr(case.client, "subject", None)
        if row.path == "/v1/auth/sessions/{client}":
            return ids["client"] == case.client.client
        if row.path.startswith(SUBJECT):
            return self.may_subject(case, row, ids, purpose, own)
        if row.path == "/v1/principals/{id}/contact":
            mine = getattr(case.client, "id", None) == ids["id"]
            return mine if case.role == "subject" else ids["id"] not in [p.id for p in [*self.people, self.gone]]
        if row.path.startswith("/v1/requests/{id}") and case.role == "subject":
            return self.requests_of.get(ids["id"]) == own
        if (row.method, row.path) == ("POST", "/v1/requests") and case.role == "subject":
            return body["subject"] == own
        if (row.method, row.path) == ("POST", "/v1/subjects"):
            return case.client is self.services[0]
        if row.path == "/v1/lookup" and case.role == "service":
            return purpose in self.activities[:2]
        if row.path == "/v1/import":
            return purpose in self.activities[:2] or (purpose is None and case.client is self.services[0])
        return True

    def may_subject(self, case, row, ids, purpose, own):
        if case.role == "subject":
            return ids["id"] == own
        if case.role == "officer":
            if "/holds" in row.path:
                return True
            kinds = {"restriction"} if row.path.endswith("/restriction") else \
                {"access", "rectification", "restriction"} if row.method == "GET" else {"rectification"}
            return any(s == ids["id"] and o is case.client and k in kinds for _, s, o, k in self.warrants)
        if "/grants" in row.path:
            known = [g for g in self.grants + self.withdrawn if g.id == ids.get("gid")]
            return "gid" not in ids or any((g.grantee, g.subject) == (case.client.id, ids["id"]) for g in known)
        grants = self.live(case.client, ids["id"], purpose)
        if grants is None:
            return None
        kind = self.record_types.get(ids.get("rid"))
        return any(g.actions & ACTION[row.method, row.path] and (kind is None or kind in g.types) for g in grants)

    # ---- what is asked ----

    def ids(self, row):
        rng = self.rng
        subjects = [p.subject for p in (*self.people, self.gone)]
        records = list(self.record_types)
        grants = [g.id for g in self.grants + self.withdrawn] or [UNKNOWN]
        pools = {"id": subjects if row.path.startswith("/v1/subjects") else
                 list(self.requests_of) or [UNKNOWN] if row.path.startswith("/v1/requests") else
                 self.activities if row.path.startswith("/v1/activities") else
                 self.principals + [p.id for p in (*self.people, self.gone)] if row.path.startswith("/v1/principals") else [UNKNOWN],
                 "rid": records, "gid": grants, "hid": [UNKNOWN], "name": ["contact", "note", "none"], "version": ["1", "2", "99"],
                 "client": [c.client.client for c in self.cases if c.client.client]}
        every = [*subjects, *records, *grants, *self.activities, *self.principals, *self.requests_of]
        return {name: rng.choice(pools[name]) if rng.random() < 0.85 else rng.choice([UNKNOWN, str(uuid.uuid4()), rng.choice(every), "x"])
                for name in re.findall(r"\{(\w+)\}", row.path)}

    def body(self, row, ids):
        rng, key = self.rng, (row.method, row.path)
        subject = rng.choice([*(p.subject for p in self.people), self.gone.subject, UNKNOWN])
        kind = self.record_types.get(ids.get("rid"), rng.choice(("contact", "note")))
        data = {"name": "x"} if kind == "contact" else {"text": "x"}
        bodies = {
            ("POST", SUBJECT + "/records"): {"type": kind, "data": data}, ("PUT", SUBJECT + "/records/{rid}"): {"data": data},
            ("PATCH", SUBJECT + "/records/{rid}"): {"data": data},
            ("POST", SUBJECT + "/grants"): {"grantee": rng.choice(self.services).id, "types": ["contact"], "actions": ["read"],
                                            "activity": self.activities[0]},
            ("POST", SUBJECT + "/holds"): {"reason": "r", "basis": "b"}, ("POST", "/v1/subjects"): {},
            ("POST", "/v1/lookup"): {"type": "note", "field": "/text", "value": f"note {rng.randrange(3)}"},
            ("POST", "/v1/requests"): {"subject": subject, "kind": "access"},
            ("POST", "/v1/principals"): {"uid": self.world.name("p"), "role": "auditor"}, ("PATCH", "/v1/principals/{id}"): {"name": "n"},
            ("PUT", "/v1/principals/{id}/contact"): {"email": "someone@example.org"}, ("POST", "/v1/auth/lanes"): {"count": 1},
            ("PUT", "/v1/auth/password"): {"current_password": "wrong, wrong", "password": "another password"},
            ("PUT", "/v1/types/{name}"): {"type": "object"}, ("POST", "/v1/activities"): {"name": "n", "purpose": "p"},
            ("PUT", "/v1/activities/{id}"): {"name": "n", "purpose": "p"},
            ("POST", "/v1/requests/{id}/verify"): {"method": "known-contact"},
            ("POST", "/v1/requests/{id}/assign"): {"officer": self.officers[1].id},
            ("POST", "/v1/requests/{id}/extend"): {"days": 1, "reason": "r"},
            ("POST", "/v1/requests/{id}/refuse"): REFUSAL, ("POST", "/v1/requests/{id}/fulfil"): {},
        }
        return bodies.get(key, row.body)

    def ask(self, log):
        rng = self.rng
        if rng.random() < 0.03:
            self.change()
        case = rng.choice(self.cases)
        row = rng.choice([r for r in TABLE if not r.public])
        if rng.random() < 0.5:  # most rows are for one role: look closely where several may
            row = rng.choice([r for r in TABLE if r.conditional])
        ids = self.ids(row)
        purpose = rng.choice([None, *self.activities, UNKNOWN, *self.activities[:2] * 2])
        body = self.body(row, ids)
        if row.path == "/v1/import":
            line = {"type": "note", "data": {"text": "i"}, "subject": rng.choice(self.people).subject}
            body = json.dumps(line).encode() + b"\n"
        before = self.may(case, row, ids, purpose, body)
        if before is not False and (row.method, row.path) in ENDING:
            return
        if row.path == "/v1/auth/sessions/{client}" and before:
            return
        more = {"purpose": purpose} if purpose else {}
        if isinstance(body, bytes):
            more.update(data=body, content_type=row.media)
        elif body is not None:
            more.update(json_body=body, content_type=MERGE if row.method == "PATCH" else None)
        path = re.sub(r"\{(\w+)\}", lambda m: ids[m[1]], row.path)
        answer = case.client.request(row.method, path, **more)
        after = self.may(case, row, ids, purpose, body)
        told = f"seed {SEED}: {case.kind} {case.role} {row.method} {path} purpose={purpose} {body}: {answer.status_code} {answer.text[:300]}"
        self.judge(case, row, ids, purpose, before, after, answer, told)
        log.append((answer, case, told))

    def judge(self, case, row, ids, purpose, before, after, answer, told):
        assert answer.status_code < 500, told
        if case.kind == "dead":
            assert answer.status_code == 401, told
        else:
            assert answer.status_code != 401, told
        if before is False and after is False:
            assert answer.status_code in (401, 403, 404), told
            if case.kind != "dead" and not row.allows(case.role):
                assert answer.status_code == 403, told
        if answer.ok and answer.headers.get("Content-Type", "").startswith("application/json") and answer.content:
            self.judge_content(case, row, ids, purpose, answer.json(), told)
        if answer.ok and row.path == "/v1/import":
            line = json.loads(answer.content.splitlines()[0])
            subject = json.loads(answer.request.body)["subject"]
            grants = self.live(case.client, subject, purpose)
            if line["status"] < 300 and grants is not None:
                assert any("write" in g.actions and "note" in g.types for g in grants), told

    def judge_content(self, case, row, ids, purpose, content, told):
        """A list shows nobody else's things either."""
        items, own = content.get("items"), getattr(case.client, "subject", None)
        if row.path == "/v1/lookup" and case.role != "officer":
            for hit in items:
                if case.role == "subject":
                    assert hit["subject"] == own, told
                    continue
                grants = self.live(case.client, hit["subject"], purpose)
                assert grants is None or any(g.actions & {"read"} and "note" in g.types for g in grants), told
        if row.path == "/v1/requests" and items is not None and case.role == "subject":
            assert all(one["subject"] == own for one in items), told
        if row.path == SUBJECT + "/grants" and items is not None and case.role == "service":
            assert all(one["grantee"] == case.client.id for one in items), told
        if row.path == SUBJECT + "/records" and items is not None and case.role == "service":
            grants = self.live(case.client, ids["id"], purpose)
            seen = {one["type"] for one in items}
            assert grants is None or seen <= set().union(*(g.types for g in grants if "read" in g.actions)), told


def test_nothing_outside_the_table(world):
    model = Model(world, random.Random(SEED))
    log = []
    for _ in range(EXAMPLES):
        model.ask(log)
    statuses = collections.Counter(answer.status_code for answer, _, _ in log)
    assert sum(n for s, n in statuses.items() if s < 300) > EXAMPLES // 50, statuses  # it is not all refused
    entries = {e["request"]: e for e in world.auditor.pages("/v1/audit", limit=100) if e.get("request")}
    for answer, case, told in log:
        entry = entries.get(answer.headers["X-Request-Id"])
        if case.kind == "dead" and entry is None:
            continue  # nobody sent it: refusals of that kind are counted, not logged one by one
        assert entry is not None, told
        if answer.status_code >= 400 and answer.headers["Content-Type"] == "application/problem+json":
            assert entry["outcome"] == answer.json()["type"].rsplit(":", 1)[1], told
        elif answer.ok:
            refused = json.loads(answer.content).get("type") if "/v1/import" in told and b'"status":2' not in answer.content else None
            assert entry["outcome"] == (refused.rsplit(":", 1)[1] if refused else "ok"), told
