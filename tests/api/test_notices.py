"""Notices to recipients (Art. 19 GDPR): they reach exactly the services that got the subject's data, once each."""
import json
import threading

import pytest

from tresor_client import ADA, TIME, UUID7, expect_problem


@pytest.fixture
def ada(world):
    return world.make_subject(ADA)


@pytest.fixture(scope="module")
def services(world):
    """Enough of them for every part that a service can play."""
    return [world.make_service(may_register=True) for _ in range(9)]


def records(subject):
    return f"/v1/subjects/{subject.subject}/records"


def record(subject):
    return f"{records(subject)}/{subject.records[0]}"


def lookup(client, world, value):
    body = {"type": "contact", "field": "/email", "value": value}
    return client.post("/v1/lookup", body, expect=200, purpose=world.activity).json()["items"]


def request_of(world, subject, kind, **more):
    request = world.officer.post("/v1/requests", {"subject": subject.subject, "kind": kind, **more}).json()
    world.officer.post(f"/v1/requests/{request['id']}/verify", {"method": "in-person"}, expect=200)
    return request


def fulfil(world, request, expect=200):
    return world.officer.post(f"/v1/requests/{request['id']}/fulfil", {}, expect=expect).json()


def notices(world, request):
    return world.officer.get(f"/v1/requests/{request['id']}").json()["notices"]


def told(found, kind):
    """The recipients; each once, and every notice of this kind."""
    who = [n["recipient"] for n in found]
    assert len(who) == len(set(who)), "a recipient was told twice"
    for notice in found:
        assert set(notice) == {"id", "kind", "recipient", "created_at", "sent_at"}
        assert notice["kind"] == kind and UUID7.fullmatch(notice["id"]) and TIME.fullmatch(notice["created_at"])
        assert notice["sent_at"] is None
    return set(who)


def disclose(world, subject, services):
    """What gets the data and what does not. Answers the ids of those that got them."""
    reader, lister, historian, finder, patcher, exporter, writer, refused, elsewhere = services
    purpose = world.activity
    for service in (reader, lister, historian, finder, patcher):
        world.grant(subject, service, actions=["read", "write"])
    world.grant(subject, exporter, actions=["export"])
    world.grant(subject, writer, actions=["write"])
    other = world.make_subject(ADA)
    world.grant(other, elsewhere)
    for _ in range(3):
        reader.get(record(subject), purpose=purpose)
    lister.pages(records(subject), limit=1, purpose=purpose)
    historian.get(record(subject) + "/versions", purpose=purpose)
    assert subject.subject in [hit["subject"] for hit in lookup(finder, world, ADA["email"])]
    patcher.patch(record(subject), {"data": {"age": 70}}, purpose=purpose)
    exporter.get(f"/v1/subjects/{subject.subject}/export", purpose=purpose)
    # These get nothing: what they wrote they had, and what was refused was not seen.
    writer.post(records(subject), {"type": "contact", "data": {"name": "Written"}}, purpose=purpose)
    writer.imports(json.dumps({"type": "contact", "data": {"name": "I"}, "subject": subject.subject}).encode(), purpose=purpose)
    writer.get(f"/v1/subjects/{subject.subject}", purpose=purpose)
    writer.get(f"/v1/subjects/{subject.subject}/grants")
    expect_problem(refused.request("GET", record(subject), purpose=purpose), 403, "no-grant")
    assert subject.subject not in [hit["subject"] for hit in lookup(refused, world, ADA["email"])]
    elsewhere.get(record(other), purpose=purpose)
    subject.get(record(subject))
    return {s.id for s in (reader, lister, historian, finder, patcher, exporter)}


def test_rectification(world, ada, services):
    got = disclose(world, ada, services)
    request = request_of(world, ada, "rectification")
    world.officer.patch(record(ada), {"data": {"age": 71}})
    done = fulfil(world, request)
    assert done["state"] == "fulfilled" and done["result"]["recipients"] == len(got)
    assert told(done["notices"], "rectification") == got
    assert told(notices(world, request), "rectification") == got
    fulfil(world, request, expect=409)
    assert notices(world, request) == done["notices"]


def test_restriction(world, ada, services):
    got = disclose(world, ada, services)
    request = request_of(world, ada, "restriction")
    done = fulfil(world, request)
    assert told(done["notices"], "restriction") == got and done["result"]["recipients"] == len(got)


def test_an_officer_restricts_then_fulfils(world, ada, services):
    got = disclose(world, ada, services)
    request = request_of(world, ada, "restriction")
    world.officer.post(f"/v1/subjects/{ada.subject}/restriction", None, expect=200)
    assert told(notices(world, request), "restriction") == got
    done = fulfil(world, request)
    assert told(done["notices"], "restriction") == got and done["result"]["recipients"] == len(got)  # nobody twice


def test_erasure(world, ada, services):
    got = disclose(world, ada, services)
    request = request_of(world, ada, "erasure")
    done = fulfil(world, request)
    assert done["state"] == "fulfilled" and told(done["notices"], "erasure") == got


def test_erasure_by_the_subject(world, ada, services):
    got = disclose(world, ada, services)
    request = ada.delete(f"/v1/subjects/{ada.subject}", expect=200, last=True).json()["request"]
    assert told(notices(world, {"id": request}), "erasure") == got


def test_nobody_to_tell(world, ada):
    request = request_of(world, ada, "rectification")
    done = fulfil(world, request)
    assert done["notices"] == [] and done["result"]["recipients"] == 0


def test_other_kinds_tell_nobody(world, ada, services):
    disclose(world, ada, services)
    for kind in ("access", "portability"):
        request = request_of(world, ada, kind)
        assert fulfil(world, request)["notices"] == []


def test_removed_and_disabled_services_are_told(world, ada):
    gone, disabled = world.make_service(), world.make_service()
    for service in (gone, disabled):
        world.grant(ada, service)
        service.get(record(ada), purpose=world.activity)
    world.operator.delete(f"/v1/principals/{gone.id}")
    world.operator.patch(f"/v1/principals/{disabled.id}", {"disabled": True})
    done = fulfil(world, request_of(world, ada, "rectification"))
    assert told(done["notices"], "rectification") == {gone.id, disabled.id}


# ---- objection ----

def test_objection_withdraws_by_activity(world, ada, services):
    marketing, research, kept = (world.make_activity(name) for name in ("Marketing", "Research", "Care"))
    one, two, three, four = services[:4]
    withdrawn = [world.grant(ada, one, activity=marketing), world.grant(ada, one, activity=marketing, fields=["/name"]),
                 world.grant(ada, two, activity=research)]
    others = [world.grant(ada, three, activity=kept), world.grant(ada, one, activity=kept)]
    before = world.grant(ada, four, activity=marketing)
    ada.delete(f"/v1/subjects/{ada.subject}/grants/{before['id']}")
    before = ada.get(f"/v1/subjects/{ada.subject}/grants/{before['id']}").json()
    other = world.make_subject(ADA)
    of_other = world.grant(other, one, activity=marketing)
    one.get(record(ada), purpose=marketing)
    three.get(record(ada), purpose=kept)  # got data, but nothing is withdrawn from it
    done = fulfil(world, request_of(world, ada, "objection", activities=[marketing, research]))
    assert told(done["notices"], "objection") == {one.id, two.id}
    assert done["result"]["grants"] == 3
    now = {g["id"]: g for g in ada.pages(f"/v1/subjects/{ada.subject}/grants")}
    assert all(TIME.fullmatch(now[g["id"]]["withdrawn_at"] or "") for g in withdrawn)
    assert [now[g["id"]] for g in (*others, before)] == [*others, before]
    assert other.get(f"/v1/subjects/{other.subject}/grants/{of_other['id']}").json() == of_other
    expect_problem(one.request("GET", record(ada), purpose=marketing), 403, "no-grant")
    expect_problem(two.request("GET", record(ada), purpose=research), 403, "no-grant")
    one.get(record(ada), purpose=kept)
    one.get(record(other), purpose=marketing)


def test_objection_with_nothing_to_withdraw(world, ada):
    done = fulfil(world, request_of(world, ada, "objection", activities=[world.make_activity("Unused")]))
    assert done["notices"] == [] and done["result"]["grants"] == 0


# ---- both at once ----

@pytest.mark.concurrency
def test_who_reads_meanwhile_is_told_too(world, services):
    """Reads while the restriction is fulfilled: whoever got the data before it, in the log's order, is told."""
    for _ in range(5):
        ada = world.make_subject(ADA)
        for service in services:
            world.grant(ada, service)
        request = request_of(world, ada, "restriction")
        start = threading.Barrier(len(services) + 1)
        seen = {}

        def read(service):
            start.wait()
            answer = service.request("GET", record(ada), purpose=world.activity, expect=(200, 409))
            seen[service.id] = answer.status_code == 200

        threads = [threading.Thread(target=read, args=(service,)) for service in services]
        for thread in threads:
            thread.start()
        start.wait()
        done = fulfil(world, request)
        for thread in threads:
            thread.join()
        assert told(done["notices"], "restriction") == {who for who, got in seen.items() if got}
