"""Grants with a purpose: what a service sees and may change, and what the subject sees of it."""
import copy
import datetime
import time
import uuid

import pytest

from tresor_client import ADA, TIME, UUID7, expect_problem

UNKNOWN = "0197c5b0-7b1e-7cc3-98c4-dc0c0c07398f"


@pytest.fixture
def ada(world):
    """A subject of its own for each test."""
    return world.make_subject(ADA)


@pytest.fixture(scope="module")
def service(world):
    return world.make_service(may_register=False)


def records(subject):
    return f"/v1/subjects/{subject.subject}/records"


def record(subject):
    return f"{records(subject)}/{subject.records[0]}"


def grants(subject):
    return f"/v1/subjects/{subject.subject}/grants"


def in_time(seconds):
    moment = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


# ---- the grant itself ----

def test_grant_and_read_it(world, ada, service):
    expires = in_time(3600)
    answer = ada.post(grants(ada), {"grantee": service.id, "types": ["contact"], "fields": ["/name", "/address/city"], "masked": True,
                                    "actions": ["read", "export"], "activity": world.activity, "expires": expires})
    grant = answer.json()
    assert UUID7.fullmatch(grant["id"]) and TIME.fullmatch(grant["created_at"])
    assert grant == {"id": grant["id"], "subject": ada.subject, "grantee": service.id, "types": ["contact"],
                     "fields": ["/name", "/address/city"], "masked": True, "actions": grant["actions"], "activity": world.activity,
                     "created_at": grant["created_at"], "expires": expires, "withdrawn_at": None}
    assert sorted(grant["actions"]) == ["export", "read"]
    where = answer.headers["Location"]
    assert where == f"{grants(ada)}/{grant['id']}"
    assert ada.get(where).json() == grant and ada.pages(grants(ada)) == [grant]
    assert service.get(where).json() == grant and service.pages(grants(ada)) == [grant]
    plain = world.grant(ada, service)
    assert (plain["fields"], plain["masked"], plain["expires"]) == (None, False, None)


def test_who_else_sees_the_grant(world, ada, service):
    grant = world.grant(ada, service)
    assert world.service.pages(grants(ada)) == []  # a service sees those made to it
    answer = world.service.request("GET", f"{grants(ada)}/{grant['id']}")
    assert answer.status_code in (403, 404)
    expect_problem(world.subject.request("GET", grants(ada)), 403)
    expect_problem(world.subject.request("DELETE", f"{grants(ada)}/{grant['id']}"), 403)
    expect_problem(world.subject.request("GET", f"{grants(world.subject)}/{grant['id']}"), 404, "not-found")


@pytest.mark.parametrize("change, pointer", [
    ({"grantee": UNKNOWN}, "/grantee"), ({"grantee": "x"}, "/grantee"), ({"grantee": None}, "/grantee"), ({"types": []}, "/types"),
    ({"types": ["none-such"]}, None), ({"types": ["contact", "contact"]}, "/types"), ({"types": "contact"}, "/types"),
    ({"fields": []}, "/fields"), ({"fields": ["name"]}, "/fields/0"), ({"fields": ["/a~2b"]}, "/fields/0"), ({"fields": [""]}, "/fields/0"),
    ({"fields": ["/name", "/name"]}, "/fields"), ({"masked": "yes"}, "/masked"), ({"actions": []}, "/actions"),
    ({"actions": ["delete"]}, "/actions/0"), ({"actions": ["read", "read"]}, "/actions"), ({"activity": UNKNOWN}, "/activity"),
    ({"activity": 1}, "/activity"), ({"expires": "tomorrow"}, "/expires"), ({"expires": "2001-01-01T00:00:00Z"}, "/expires"),
    ({"expires": "2099-02-30T00:00:00Z"}, "/expires"), ({"subject": UNKNOWN}, None), ({"purpose": "x"}, None)])
def test_grant_body(world, ada, service, change, pointer):
    body = {"grantee": service.id, "types": ["contact"], "actions": ["read"], "activity": world.activity, **change}
    answer = ada.request("POST", grants(ada), body)
    problem = expect_problem(answer, 422, "validation-failed", pointer)
    if "none-such" in str(change):
        assert problem["pointer"] in ("/types", "/types/0")
    assert ada.pages(grants(ada)) == []


def test_only_services_are_grantees(world, ada):
    for other in (world.officer.profile["id"], world.subject.id, ada.id):
        body = {"grantee": other, "types": ["contact"], "actions": ["read"], "activity": world.activity}
        expect_problem(ada.request("POST", grants(ada), body), 422, "validation-failed", "/grantee")


def test_an_ended_activity_cannot_be_granted(world, ada, service):
    ended = world.make_activity("Ended")
    world.officer.delete(f"/v1/activities/{ended}")
    body = {"grantee": service.id, "types": ["contact"], "actions": ["read"], "activity": ended}
    expect_problem(ada.request("POST", grants(ada), body), 422, "validation-failed", "/activity")


def test_grants_page(world, ada, service):
    made = [world.grant(ada, service)["id"] for _ in range(7)]
    everything = ada.pages(grants(ada))
    assert sorted(g["id"] for g in everything) == sorted(made)
    assert ada.pages(grants(ada), limit=2) == everything


# ---- reading under it ----

def test_default_is_nobody(world, ada, service):
    expect_problem(service.request("GET", record(ada), purpose=world.activity), 403, "no-grant")
    expect_problem(service.request("GET", records(ada), purpose=world.activity), 403, "no-grant")
    expect_problem(service.request("GET", f"/v1/subjects/{ada.subject}", purpose=world.activity), 403, "no-grant")
    expect_problem(service.request("GET", record(ada) + "/versions", purpose=world.activity), 403, "no-grant")
    # Also the service that registered the subject.
    expect_problem(world.service.request("GET", record(ada), purpose=world.activity), 403, "no-grant")


def test_full_view(world, ada, service):
    world.grant(ada, service)
    body = service.get(record(ada), purpose=world.activity).json()
    assert body["data"] == ADA and body["partial"] is False
    assert service.get(records(ada), purpose=world.activity).json()["items"] == [body]
    assert service.get(f"/v1/subjects/{ada.subject}", purpose=world.activity).json()["id"] == ada.subject
    versions = service.get(record(ada) + "/versions", purpose=world.activity).json()["items"]
    assert [v["data"] for v in versions] == [ADA]


def test_the_purpose_is_needed(world, ada, service):
    world.grant(ada, service)
    other = world.make_activity("Marketing")
    ended = world.make_activity("Over")
    world.officer.delete(f"/v1/activities/{ended}")
    for path in (record(ada), records(ada), record(ada) + "/versions", f"/v1/subjects/{ada.subject}"):
        expect_problem(service.request("GET", path), 403, "purpose-required")
        for wrong in ("x", UNKNOWN, ended, world.activity.upper() + "0"):
            expect_problem(service.request("GET", path, purpose=wrong), 403, "purpose-required")
        expect_problem(service.request("GET", path, purpose=other), 403, "no-grant")
    service.get(record(ada), purpose=world.activity)


def test_ending_the_activity_ends_the_access(world, ada, service):
    activity = world.make_activity("For a while")
    world.grant(ada, service, activity=activity)
    service.get(record(ada), purpose=activity)
    world.officer.delete(f"/v1/activities/{activity}")
    expect_problem(service.request("GET", record(ada), purpose=activity), 403, "purpose-required")


def test_other_types_are_not_covered(world, ada, service):
    world.officer.request("PUT", "/v1/types/secret", {"type": "object"})
    hidden = ada.post(records(ada), {"type": "secret", "data": {"x": 1}}).json()["id"]
    world.grant(ada, service)
    expect_problem(service.request("GET", f"{records(ada)}/{hidden}", purpose=world.activity), 403, "no-grant")
    expect_problem(service.request("GET", f"{records(ada)}/{uuid.uuid4()}", purpose=world.activity), 404)
    assert [r["id"] for r in service.get(records(ada), purpose=world.activity).json()["items"]] == ada.records
    assert service.get(records(ada) + "?type=contact", purpose=world.activity).json()["items"] != []
    answer = service.request("GET", records(ada) + "?type=secret", purpose=world.activity)
    assert answer.status_code == 403 or answer.json()["items"] == []
    # And with pages so small that hidden records fill them.
    for number in range(5):
        ada.post(records(ada), {"type": "secret", "data": {"x": number}})
    more = ada.post(records(ada), {"type": "contact", "data": {"name": "Later"}}).json()["id"]
    assert [r["id"] for r in service.pages(records(ada), limit=1, purpose=world.activity)] == [*ada.records, more]


@pytest.mark.parametrize("fields, data", [
    (["/name"], {"name": ADA["name"]}),
    (["/name", "/age"], {"name": ADA["name"], "age": 67}),
    (["/address"], {"address": ADA["address"]}),
    (["/address/city"], {"address": {"city": "Bern"}}),
    (["/address/city", "/email"], {"email": ADA["email"], "address": {"city": "Bern"}}),
    (["/none"], {}),
    (["/name/first"], {}),
])
def test_view_of_some_fields(world, ada, service, fields, data):
    world.grant(ada, service, fields=fields)
    body = service.get(record(ada), purpose=world.activity).json()
    shown = body["data"]
    if fields == ["/name/first"]:
        shown.pop("name", None)
        assert ADA["name"] not in str(body)
    assert shown == data and body["partial"] is True
    assert service.get(records(ada), purpose=world.activity).json()["items"][0]["data"] == body["data"]
    assert service.get(record(ada) + "/versions", purpose=world.activity).json()["items"][0]["data"] == body["data"]


def test_fields_that_leave_nothing_out(world, service):
    subject = world.make_subject({"name": "Only"})
    world.grant(subject, service, fields=["/name", "/email"])
    body = service.get(record(subject), purpose=world.activity).json()
    assert body["data"] == {"name": "Only"}


def test_masked_view(world, ada, service):
    world.grant(ada, service, masked=True)
    answer = service.get(record(ada), purpose=world.activity)
    body = answer.json()
    data = body["data"]
    assert body["partial"] is True and set(data) == set(ADA)
    assert data["name"].startswith("A") and len(data["name"]) < 5 and "da" not in data["name"]
    assert data["email"].lower().endswith("quellenhof.example") and "zwicky" not in data["email"].lower()
    assert data["phone"].endswith("1 23") and len([c for c in data["phone"] if c.isdigit()]) == 3  # four characters
    assert "1958" in data["birthday"] and "10" not in data["birthday"] and "13" not in data["birthday"]
    assert data["notes"] is None and data["diagnosis"] is None and data["age"] is None
    assert data["member"] is True
    assert data["address"] == {"street": None, "city": "Bern"}
    for text in (ADA["name"], ADA["email"], ADA["phone"], ADA["notes"], ADA["diagnosis"], "Kramgasse", "1958-10-13", "67"):
        assert text not in str(data), text
    assert service.get(records(ada), purpose=world.activity).json()["items"][0]["data"] == data
    assert service.get(record(ada) + "/versions", purpose=world.activity).json()["items"][0]["data"] == data


@pytest.mark.parametrize("value", ["", "X", "é", "🗝", "ab", "1234", "123", "@", "a@", "@b", "a@b@c.example", "1958", "195", "\u0301a"])
def test_masks_on_odd_values(world, service, value):
    """Never an error, and never the whole value where it says something."""
    subject = world.make_subject({"name": value, "email": value, "phone": value, "notes": value, "phones": [value]})
    world.grant(subject, service, masked=True)
    body = service.get(record(subject), purpose=world.activity).json()["data"]
    assert body["notes"] is None
    if value and value not in ("@",):
        for member in ("phone", "email"):
            assert body[member] != value or len(value) == 0, (member, body[member])


def test_masked_and_some_fields(world, ada, service):
    world.grant(ada, service, masked=True, fields=["/email", "/member"])
    body = service.get(record(ada), purpose=world.activity).json()
    assert set(body["data"]) == {"email", "member"} and "zwicky" not in body["data"]["email"].lower()


def test_two_grants_add_up(world, ada, service):
    """What either shows is shown; the unmasked one wins for its fields."""
    world.grant(ada, service, fields=["/name"])
    world.grant(ada, service, fields=["/age", "/member"])
    assert service.get(record(ada), purpose=world.activity).json()["data"] == {"name": ADA["name"], "age": 67, "member": True}
    world.grant(ada, service)
    assert service.get(record(ada), purpose=world.activity).json()["data"] == ADA


def test_a_grant_is_of_its_grantee_only(world, ada, service):
    world.grant(ada, service)
    stranger = world.make_service()
    expect_problem(stranger.request("GET", record(ada), purpose=world.activity), 403, "no-grant")


def test_withdrawal_works_at_the_next_request(world, ada, service):
    grant = world.grant(ada, service)
    service.get(record(ada), purpose=world.activity)
    where = f"{grants(ada)}/{grant['id']}"
    ada.delete(where)
    for path in (record(ada), records(ada), f"/v1/subjects/{ada.subject}", record(ada) + "/versions"):
        expect_problem(service.request("GET", path, purpose=world.activity), 403, "no-grant")
    gone = ada.get(where).json()
    assert TIME.fullmatch(gone["withdrawn_at"])
    ada.delete(where)
    assert ada.get(where).json() == gone
    expect_problem(ada.request("DELETE", f"{grants(ada)}/{uuid.uuid4()}"), 404, "not-found")


def test_expiry(world, ada, service):
    world.grant(ada, service, expires=in_time(1.5))
    service.get(record(ada), purpose=world.activity)
    deadline = time.monotonic() + 20
    while service.request("GET", record(ada), purpose=world.activity).status_code == 200:
        assert time.monotonic() < deadline, "the grant does not expire"
        time.sleep(0.1)
    expect_problem(service.request("GET", record(ada), purpose=world.activity), 403, "no-grant")


def test_export_is_not_read(world, ada, service):
    world.grant(ada, service, actions=["export", "write"])
    expect_problem(service.request("GET", record(ada), purpose=world.activity), 403, "no-grant")


# ---- writing under it ----

def test_reading_is_not_writing(world, ada, service):
    world.grant(ada, service, actions=["read"])
    for method, path, body in (("POST", records(ada), {"type": "contact", "data": {"name": "x"}}), ("PUT", record(ada), {"data": {"name": "x"}}),
                               ("PATCH", record(ada), {"data": {"name": "x"}}), ("DELETE", record(ada), None)):
        expect_problem(service.request(method, path, body, purpose=world.activity), 403, "no-grant")
        expect_problem(service.request(method, path, body), 403, "purpose-required")
    assert ada.get(record(ada)).json()["version"] == 1


def test_writing(world, ada, service):
    world.grant(ada, service, actions=["write"])
    purpose = world.activity
    made = service.post(records(ada), {"type": "contact", "data": {"name": "By the service"}}, purpose=purpose)
    assert made.json()["updated_by"] == service.id
    assert made.json()["data"] is None and made.json()["partial"] is True  # it may not read, not even what it wrote
    where = made.headers["Location"]
    service.put(where, {"data": {"name": "Again"}}, purpose=purpose)
    service.patch(where, {"data": {"age": 5}}, purpose=purpose, match='"2"')
    assert ada.get(where).json()["data"] == {"name": "Again", "age": 5}
    service.delete(where, purpose=purpose)
    expect_problem(ada.request("GET", where), 404)
    expect_problem(service.request("POST", records(ada), {"type": "secret-type", "data": {}}, purpose=purpose), 403)


def test_writing_some_fields(world, ada, service):
    world.grant(ada, service, actions=["read", "write"], fields=["/email", "/address/city"])
    purpose = world.activity
    answer = service.patch(record(ada), {"data": {"email": "new@example.org", "address": {"city": "Thun"}}}, purpose=purpose).json()
    assert answer["data"] == {"email": "new@example.org", "address": {"city": "Thun"}} and answer["partial"] is True
    whole = copy.deepcopy(ADA)
    whole["email"], whole["address"]["city"] = "new@example.org", "Thun"
    assert ada.get(record(ada)).json()["data"] == whole
    for patch in ({"name": "x"}, {"email": "y@example.org", "name": "x"}, {"address": {"street": "x"}}, {"address": None},
                  {"address": "x"}, {"name": None}, {"any": 1}):
        expect_problem(service.request("PATCH", record(ada), {"data": patch}, purpose=purpose), 403, "no-grant")
    for method, path, body in (("PUT", record(ada), {"data": ADA}), ("DELETE", record(ada), None),
                               ("POST", records(ada), {"type": "contact", "data": {"name": "x"}})):
        expect_problem(service.request(method, path, body, purpose=purpose), 403, "no-grant")
    assert ada.get(record(ada)).json()["data"] == whole


def test_a_masked_grant_does_not_write(world, ada, service):
    world.grant(ada, service, actions=["read", "write"], masked=True)
    for method, path, body in (("PUT", record(ada), {"data": ADA}), ("PATCH", record(ada), {"data": {"name": "x"}}),
                               ("DELETE", record(ada), None), ("POST", records(ada), {"type": "contact", "data": {"name": "x"}})):
        expect_problem(service.request(method, path, body, purpose=world.activity), 403, "no-grant")
    assert ada.get(record(ada)).json()["version"] == 1


def test_invalid_data_does_not_tell_what_is_hidden(world, ada, service):
    """A problem document names a place, never a value."""
    world.grant(ada, service, actions=["write"], fields=["/email"])
    answer = service.request("PATCH", record(ada), {"data": {"email": 5}}, purpose=world.activity)
    expect_problem(answer, 422, "validation-failed", "/data/email")
    assert "Kramgasse" not in answer.text and "Zwicky" not in answer.text


def test_unknown_subject_and_unknown_record_answer_alike(world, ada, service):
    """Who has no right learns nothing: no difference between what exists and what does not."""
    bodies = []
    for subject, item in ((ada.subject, ada.records[0]), (ada.subject, UNKNOWN), (UNKNOWN, UNKNOWN)):
        for client in (service, world.subject):
            answer = client.request("GET", f"/v1/subjects/{subject}/records/{item}", purpose=world.activity)
            body = expect_problem(answer, 403)
            body.pop("instance")
            bodies.append((client.uid, tuple(sorted(body.items()))))
    assert len(set(bodies)) == 2


# ---- what the subject sees of it ----

def test_accesses(world, ada, service):
    world.grant(ada, service, fields=["/name"])
    service.get(record(ada), purpose=world.activity)
    service.get(records(ada), purpose=world.activity)
    expect_problem(service.request("PUT", record(ada), {"data": {"name": "x"}}, purpose=world.activity), 403)
    expect_problem(world.service.request("GET", record(ada), purpose=world.activity), 403)
    path = f"/v1/subjects/{ada.subject}/accesses"
    items = ada.pages(path)
    assert [i["seq"] for i in items] == sorted((i["seq"] for i in items), reverse=True)
    assert ada.pages(path, limit=2)[-len(items):] is not None
    mine = [i for i in items if i["principal"] == service.id]
    assert [(i["action"], i["outcome"]) for i in mine] == [("record.replace", "no-grant"), ("record.list", "ok"), ("record.read", "ok")]
    read = mine[-1]
    assert read["records"] == ada.records and read["type"] == "contact" and read["role"] == "service"
    assert read["purpose"] == world.activity and read["purpose_name"] == "Appointments" and TIME.fullmatch(read["time"])
    assert mine[1]["records"] == ada.records
    refused = [i for i in items if i["principal"] == world.service.id and i["action"] == "record.read"]
    assert [i["outcome"] for i in refused] == ["no-grant"]
    assert "subject.create" in [i["action"] for i in items]
    expect_problem(world.subject.request("GET", path), 403)
    expect_problem(service.request("GET", path), 403, "forbidden")


def test_accesses_page(world, ada):
    path = f"/v1/subjects/{ada.subject}/accesses"
    for _ in range(12):
        ada.get(record(ada))
    first = ada.get(path + "?limit=5").json()
    second = ada.get(path + f"?limit=5&after={first['next']}").json()
    numbers = [i["seq"] for i in first["items"] + second["items"]]
    assert numbers == sorted(numbers, reverse=True) and len(set(numbers)) == 10
