"""What answers say of what is hidden: look-ups, replayed outcomes, lists, masks and the accesses a subject sees."""
import base64
import json
import uuid

import pytest

from tresor_client import expect_problem

LOOKUP = "/v1/lookup"


def records(subject):
    return f"/v1/subjects/{subject.subject}/records"


def record(subject, number=0):
    return f"{records(subject)}/{subject.records[number]}"


def grants(subject):
    return f"/v1/subjects/{subject.subject}/grants"


def register(world, data):
    """A subject without a principal: (its id, its record's)."""
    made = world.service.post("/v1/subjects", {"records": [{"type": "contact", "data": data}]}).json()
    return made["id"], made["records"][0]["id"]


def withdraw(subject, grant):
    subject.delete(f"{grants(subject)}/{grant['id']}")


def query(phone, **more):
    return {"type": "contact", "field": "/phone", "value": phone, **more}


def hits(answer):
    return [i["subject"] for i in answer.json()["items"]]


def accesses(subject, action):
    return [a for a in subject.pages(f"/v1/subjects/{subject.subject}/accesses", limit=100) if a["action"] == action]


def type_name():
    return "t" + uuid.uuid4().hex[:12]


@pytest.fixture
def phone():
    return "+41 " + uuid.uuid4().hex


# ---- a look-up is asked anew each time ----

def test_a_look_up_with_the_same_key_obeys_a_withdrawal(world, phone):
    subject, service, key = world.make_subject({"name": "Withdrawn", "phone": phone}), world.make_service(), uuid.uuid4().hex
    grant = world.grant(subject, service)

    def ask():
        return service.post(LOOKUP, query(phone), expect=200, purpose=world.activity, key=key)

    for number in (1, 2):
        answer = ask()
        assert hits(answer) == [subject.subject] and "Idempotency-Replayed" not in answer.headers
        assert len(accesses(subject, "record.lookup")) == number  # each disclosure is seen
    withdraw(subject, grant)
    answer = ask()
    assert hits(answer) == [] and "Idempotency-Replayed" not in answer.headers
    assert len(accesses(subject, "record.lookup")) == 2
    assert [e["outcome"] for e in world.auditor.pages("/v1/audit", limit=100) if e.get("request") == answer.headers["X-Request-Id"]] \
        == ["ok"]


def test_a_look_up_with_the_same_key_finds_nothing_of_a_deleted_subject(world, phone):
    subject, service, key = world.make_subject({"name": "Erased", "phone": phone}), world.make_service(), uuid.uuid4().hex
    world.grant(subject, service)
    for client, purpose in ((service, world.activity), (world.officer, None)):
        assert hits(client.post(LOOKUP, query(phone), expect=200, purpose=purpose, key=key)) == [subject.subject]
    subject.delete(f"/v1/subjects/{subject.subject}", last=True, expect=200)
    for client, purpose in ((service, world.activity), (world.officer, None)):
        answer = client.post(LOOKUP, query(phone), expect=200, purpose=purpose, key=key)
        assert answer.json() == {"items": [], "next": None}


def test_a_lost_look_up_is_asked_anew_too(world, phone):
    subject, service, key = world.make_subject({"name": "Lost", "phone": phone}), world.make_service(), uuid.uuid4().hex
    grant = world.grant(subject, service)
    head = {**service.credentials(), "Idempotency-Key": key, "Access-Purpose": world.activity}
    lost = service.raw("POST", LOOKUP, json_body=query(phone), headers=head)
    assert hits(lost) == [subject.subject]
    withdraw(subject, grant)
    again = service.raw("POST", LOOKUP, json_body=query(phone), headers=head)
    assert again.status_code == 200 and hits(again) == []
    service.take(again)
    service.get("/v1/types")


# ---- a look-up's next page ----

def test_next_of_a_look_up_says_nothing_of_hidden_hits(world, phone):
    """That more people have this number is just what a service may not learn."""
    seen, service = world.make_subject({"name": "Seen", "phone": phone}), world.make_service()
    world.grant(seen, service)

    def ask(**more):
        return service.post(LOOKUP, query(phone, **more), expect=200, purpose=world.activity).json()

    assert ask(limit=1)["next"] is None
    for _ in range(3):
        register(world, {"name": "Hidden", "phone": phone})
        answer = ask(limit=1)
        assert [i["subject"] for i in answer["items"]] == [seen.subject] and answer["next"] is None
        assert ask()["next"] is None
    # A hit that may be seen is found behind the hidden ones.
    last = world.make_subject({"name": "Seen too", "phone": phone})
    world.grant(last, service)
    first = ask(limit=1)
    assert [i["subject"] for i in first["items"]] == [seen.subject] and first["next"] is not None
    second = ask(limit=1, after=first["next"])
    assert [i["subject"] for i in second["items"]] == [last.subject] and second["next"] is None
    # Nor for the subject itself, and for who sees all there is a next page.
    own = seen.post(LOOKUP, query(phone, limit=1), expect=200).json()
    assert [i["subject"] for i in own["items"]] == [seen.subject] and own["next"] is None
    assert world.officer.post(LOOKUP, query(phone, limit=1), expect=200).json()["next"] is not None


def test_a_look_ups_cursor_is_sealed_for_its_principal(world, phone):
    made = [register(world, {"name": "Cursor", "phone": phone}) for _ in range(3)]
    first = world.officer.post(LOOKUP, query(phone, limit=1), expect=200).json()
    again = world.officer.post(LOOKUP, query(phone, limit=1), expect=200).json()
    cursor = first["next"]
    opened = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    assert len(opened) >= 16 + 28  # a nonce and a tag
    assert cursor != again["next"]
    for identifier in (i for pair in made for i in pair):
        assert uuid.UUID(identifier).bytes not in opened and identifier not in cursor
    other = world.make_principal("officer")
    damaged = cursor[:-2] + ("A" if cursor[-2] != "A" else "B") + cursor[-1]
    plain = base64.urlsafe_b64encode(uuid.UUID(made[0][1]).bytes).decode().rstrip("=")
    for client, after in ((other, cursor), (world.subject, cursor), (world.officer, damaged), (world.officer, plain),
                          (world.officer, cursor + "AAAA"), (world.officer, cursor[:-4]), (world.officer, "")):
        answer = client.request("POST", LOOKUP, query(phone, after=after))
        if after == "" and answer.status_code == 422:
            continue
        expect_problem(answer, 400, "bad-request", pointer="/after")
    rest = world.officer.post(LOOKUP, query(phone, limit=100, after=cursor), expect=200)
    assert sorted(hits(rest) + [first["items"][0]["subject"]]) == sorted(subject for subject, _ in made)


# ---- stored outcomes ----

def test_a_stored_outcome_is_not_shown_under_other_grants(world):
    """The answer to a PATCH holds the record: whoever may not read it any more does not get it by repeating."""
    subject, service = world.make_subject({"name": "Stored", "age": 1, "notes": "very secret"}), world.make_service()
    world.officer.request("PUT", "/v1/types/aside", {"type": "object"}, expect=(200, 201))
    grant = world.grant(subject, service, actions=["read", "write"])
    world.grant(subject, service, types=["aside"], actions=["read", "write"])
    key = uuid.uuid4().hex

    def patch():
        return service.request("PATCH", record(subject), {"data": {"age": 2}}, purpose=world.activity, key=key,
                               content_type="application/merge-patch+json")

    first = patch()
    assert first.status_code == 200 and first.json()["data"]["notes"] == "very secret"
    second = patch()
    assert second.json() == first.json() and second.headers["Idempotency-Replayed"] == "true"
    withdraw(subject, grant)
    answer = patch()
    expect_problem(answer, 403, "no-grant")
    assert "very secret" not in answer.text and "ETag" not in answer.headers
    narrow = world.grant(subject, service, actions=["read", "write"], fields=["/age"])
    answer = patch()
    expect_problem(answer, 403, "no-grant")
    assert "very secret" not in answer.text
    withdraw(subject, narrow)
    assert subject.get(record(subject)).json()["version"] == 2
    # The subject's own outcomes do not depend on grants.
    key = uuid.uuid4().hex
    own = [subject.request("PATCH", record(subject), {"data": {"age": 3}}, key=key, content_type="application/merge-patch+json")
           for _ in range(2)]
    assert own[0].json() == own[1].json() and own[1].headers["Idempotency-Replayed"] == "true"


def test_a_post_is_not_answered_again_after_the_withdrawal(world):
    subject, service, key = world.make_subject(), world.make_service(), uuid.uuid4().hex
    keep = world.grant(subject, service, actions=["write"])
    more = world.grant(subject, service, actions=["read"])
    body = {"type": "contact", "data": {"name": "Posted"}}
    first = service.post(records(subject), body, purpose=world.activity, key=key)
    assert first.json()["data"] == body["data"]
    withdraw(subject, more)
    expect_problem(service.request("POST", records(subject), body, purpose=world.activity, key=key), 403, "no-grant")
    withdraw(subject, keep)
    expect_problem(service.request("POST", records(subject), body, purpose=world.activity, key=key), 403, "no-grant")
    assert len(subject.pages(records(subject))) == 1


def test_outcomes_about_a_subjects_principal_go_with_the_subject(world):
    """They hold its uid, its name and a one-time password."""
    subject = world.make_subject({"name": "Gone"})
    body = {"uid": world.name("second"), "role": "subject", "subject": subject.subject, "name": "Erika Muster"}
    made, reset = uuid.uuid4().hex, uuid.uuid4().hex
    first = world.operator.post("/v1/principals", body, key=made)
    where = f"/v1/principals/{first.json()['id']}"
    assert world.operator.post("/v1/principals", body, key=made).headers["Idempotency-Replayed"] == "true"
    change = world.operator.patch(where, {"reset_password": True, "name": "Erika Mustermann"}, key=reset)
    assert "password" in change.json()
    assert world.operator.patch(where, {"reset_password": True, "name": "Erika Mustermann"}, key=reset).json() == change.json()
    subject.delete(f"/v1/subjects/{subject.subject}", last=True, expect=200)
    answer = world.operator.request("POST", "/v1/principals", body, key=made)
    expect_problem(answer, 422, "validation-failed", pointer="/subject")
    assert "Erika" not in answer.text and "Idempotency-Replayed" not in answer.headers
    answer = world.operator.request("PATCH", where, {"reset_password": True, "name": "Erika Mustermann"}, key=reset,
                                    content_type="application/merge-patch+json")
    expect_problem(answer, 404, "not-found")
    assert "Erika" not in answer.text and "Idempotency-Replayed" not in answer.headers


# ---- what a subject sees of its own way in ----

def test_a_subject_sees_what_is_done_to_its_principals(world):
    """A reset of the password is how an operator could take its place."""
    subject = world.make_subject({"name": "Watched"})
    body = {"uid": world.name("second"), "role": "subject", "subject": subject.subject}
    other = world.operator.post("/v1/principals", body).json()
    where = f"/v1/principals/{other['id']}"
    world.operator.patch(where, {"name": "Somebody"})
    world.operator.patch(where, {"reset_password": True})
    world.operator.delete(where)
    operator = world.operator.profile["id"]
    for action, outcomes in (("principal.create", ["ok", "ok"]), ("principal.update", ["ok", "ok"]), ("principal.delete", ["ok"])):
        seen = accesses(subject, action)
        assert [a["outcome"] for a in seen] == outcomes, (action, seen)
        assert all(a["principal"] == operator and a["role"] == "operator" for a in seen)
    entries = [e for e in world.auditor.pages(f"/v1/audit?subject={subject.subject}", limit=100) if e["action"] == "principal.delete"]
    assert len(entries) == 1
    # Of those that concern no subject nothing is shown to anybody.
    service = world.make_service()
    world.operator.patch(f"/v1/principals/{service.id}", {"name": "Other name"})
    assert len(accesses(subject, "principal.update")) == 2


# ---- lists say nothing of what is not shown ----

def test_a_services_list_of_grants_says_nothing_of_others(world):
    subject, service, other = world.make_subject(), world.make_service(), world.make_service()
    for _ in range(3):
        world.grant(subject, other)
    for limit in ("", "?limit=1", "?limit=2"):
        assert service.get(grants(subject) + limit).json() == {"items": [], "next": None}
    mine = world.grant(subject, service)
    world.grant(subject, other)
    for limit in ("", "?limit=1", "?limit=2"):
        assert service.get(grants(subject) + limit).json() == {"items": [mine], "next": None}
    second = world.grant(subject, service)
    first = service.get(grants(subject) + "?limit=1").json()
    assert len(first["items"]) == 1 and first["next"] is not None
    assert sorted(g["id"] for g in service.pages(grants(subject), limit=1)) == sorted((mine["id"], second["id"]))
    assert len(subject.pages(grants(subject), limit=1)) == 6


def test_a_services_list_of_records_says_nothing_of_other_types(world):
    world.officer.request("PUT", "/v1/types/aside", {"type": "object"}, expect=(200, 201))
    subject, service = world.make_subject(), world.make_service()
    world.grant(subject, service)

    def hide(count=1):
        for number in range(count):
            subject.post(records(subject), {"type": "aside", "data": {"n": number}})

    def listed(limit):
        return service.get(records(subject) + limit, purpose=world.activity).json()

    for _ in range(2):
        for limit in ("", "?limit=1", "?limit=2"):
            assert listed(limit) == {"items": [], "next": None}
        hide(2)
    shown = []
    for _ in range(3):
        shown.append(subject.post(records(subject), {"type": "contact", "data": {"name": "Shown"}}).json()["id"])
        hide(3)
    # Pages are full though hidden records lie between.
    first = listed("?limit=2")
    assert [r["id"] for r in first["items"]] == shown[:2] and first["next"] is not None
    second = listed("?limit=2&after=" + first["next"])
    assert [r["id"] for r in second["items"]] == shown[2:] and second["next"] is None
    assert [r["id"] for r in listed("?limit=3")["items"]] == shown and listed("?limit=3")["next"] is None
    assert len(subject.pages(records(subject), limit=5)) == 16


# ---- masks ----

def test_a_masked_view_hides_what_the_present_schema_does_not_describe(world):
    """The record is older than the schema: its number still has the name that the mask was on."""
    name = type_name()
    old = {"type": "object", "properties": {"ahv": {"type": "string", "x-mask": "last4"}, "n": {"type": "string"},
                                            "list": {"type": "array"}, "open": {"type": "object"}}}
    world.officer.put(f"/v1/types/{name}", old, expect=201)
    data = {"ahv": "756.1234.5678.97", "n": "x", "list": ["756.1"], "open": {"ahv": "756.2"}, "more": {"ahv": "756.3"}}
    subject, masked, plain = world.make_subject(data, type_name=name), world.make_service(), world.make_service()
    world.grant(subject, masked, types=[name], masked=True)
    world.grant(subject, plain, types=[name])

    def views(service):
        one = service.get(record(subject), purpose=world.activity).json()
        several = service.get(records(subject), purpose=world.activity).json()["items"][0]
        version = service.get(record(subject) + "/versions", purpose=world.activity).json()["items"][0]
        assert one["data"] == several["data"] == version["data"] and one["partial"] == several["partial"] == version["partial"]
        return one["data"], one["partial"]

    hidden = {"list": [None], "open": {"ahv": None}, "more": None}
    assert views(masked) == ({"ahv": "…8.97", "n": "x", **hidden}, True)
    new = json.loads(json.dumps(old).replace('"ahv"', '"ahv_number"'))
    world.officer.put(f"/v1/types/{name}", new)
    assert views(masked) == ({"ahv": None, "n": "x", **hidden}, True)
    assert views(plain) == (data, False) and subject.get(record(subject)).json()["data"] == data
    # A type without any mask has nothing to hide.
    world.officer.put(f"/v1/types/{name}", {"type": "object", "properties": {"n": {"type": "string"}}})
    assert views(masked)[0] == data


def test_a_masked_grant_below_a_masked_member_shows_nothing(world):
    name = type_name()
    world.officer.put(f"/v1/types/{name}", {"type": "object", "properties": {"a": {"x-mask": "initial"}, "n": {"type": "string"}}},
                      expect=201)
    subject = world.make_subject({"a": "Zebra", "n": "x"}, {"a": {"b": "Zebra"}, "n": "x"}, type_name=name)
    service = world.make_service()
    world.grant(subject, service, types=[name], masked=True, fields=["/a/b"])
    for number in (0, 1):
        answer = service.get(record(subject, number), purpose=world.activity)
        assert answer.json()["data"] == {} and answer.json()["partial"] is True
    assert [r["data"] for r in service.get(records(subject), purpose=world.activity).json()["items"]] == [{}, {}]
    world.grant(subject, service, types=[name], masked=True, fields=["/a"])
    assert [service.get(record(subject, n), purpose=world.activity).json()["data"] for n in (0, 1)] == [{"a": "Z."}, {"a": None}]


# ---- how many grants count ----

def test_the_65th_live_grant_for_one_grantee_and_activity_is_refused(world):
    """More than can be looked at would leave out some, and with them what they allow."""
    subject, service = world.make_subject({"name": "Many", "age": 5}), world.make_service()
    made = [world.grant(subject, service, fields=["/age"]) for _ in range(64)]
    body = {"grantee": service.id, "types": ["contact"], "actions": ["read"], "activity": world.activity}
    expect_problem(subject.request("POST", grants(subject), body), 409, "conflict")
    assert len(subject.pages(grants(subject), limit=100)) == 64
    # For another purpose, grantee or subject there is room.
    world.grant(subject, service, activity=world.make_activity("Another"))
    world.grant(subject, world.make_service())
    world.grant(world.make_subject(), service)
    withdraw(subject, made[10])
    world.grant(subject, service, fields=["/name"])
    assert service.get(record(subject), purpose=world.activity).json()["data"] == {"name": "Many", "age": 5}
    expect_problem(subject.request("POST", grants(subject), body), 409, "conflict")
