"""Look-up by exact value through the blind index."""
import pytest

from tresor_client import expect_problem

PATH = "/v1/lookup"


def ask(client, field, value, type_name="contact", **more):
    body = {"type": type_name, "field": field, "value": value, **more.pop("body", {})}
    return client.post(PATH, body, expect=more.pop("expect", 200), **more)


def found(client, field, value, **more):
    return [(i["subject"], i["record"]) for i in ask(client, field, value, **more).json()["items"]]


@pytest.fixture(scope="module")
def person(world):
    return world.make_subject({"name": "Straßer Élodie", "email": "Elodie@Example.ORG", "phone": "+41 79 000 11 22", "age": 41,
                               "member": False, "phones": ["111", "222"], "notes": "n", "balance": 1.5})


def key(subject, number=0):
    return (subject.subject, subject.records[number])


def test_by_each_kind_of_value(world, person):
    for field, value in (("/name", "Straßer Élodie"), ("/email", "Elodie@Example.ORG"), ("/phone", "+41 79 000 11 22"), ("/age", 41),
                         ("/phones/*", "111"), ("/phones/*", "222")):
        assert key(person) in found(world.officer, field, value), field
    assert key(person) in [k for k in found(world.officer, "/member", False, body={"limit": 100})]
    for field, value in (("/name", "Straßer"), ("/phone", "+41 79 000 11 2"), ("/age", 42), ("/age", "41"), ("/phones/*", "333"),
                         ("/phone", "+41790001122"), ("/phones/*", "11"), ("/name", ""), ("/phone", 41)):
        assert key(person) not in found(world.officer, field, value), (field, value)


def test_ignore_case(world, person):
    for value in ("elodie@example.org", "ELODIE@EXAMPLE.ORG", "eLoDiE@eXaMpLe.OrG"):
        assert found(world.officer, "/email", value) == [key(person)]
    assert key(person) in found(world.officer, "/name", "sTRAßER ÉLODIE")
    upper = world.make_subject({"name": "x", "phone": "ABC"})
    assert found(world.officer, "/phone", "ABC") == [key(upper)]
    assert found(world.officer, "/phone", "abc") == []


def test_equal_numbers_are_equal(world):
    subject = world.make_subject()
    text = '{"type":"contact","data":{"name":"n","age":1.0e3}}'
    made = subject.request("POST", f"/v1/subjects/{subject.subject}/records", data=text.encode(), content_type="application/json",
                           expect=201).json()["id"]
    for number in ("1000", "1000.0", "1e3", "10E+2"):
        body = f'{{"type":"contact","field":"/age","value":{number}}}'.encode()
        answer = world.officer.request("POST", PATH, data=body, content_type="application/json", expect=200).json()
        assert answer["items"] == [{"subject": subject.subject, "record": made}], number


def test_the_index_follows_the_record(world):
    subject = world.make_subject({"name": "Index", "phone": "one", "phones": ["x", "x", "y"]})
    where = f"/v1/subjects/{subject.subject}/records/{subject.records[0]}"
    assert found(world.officer, "/phones/*", "x") == [key(subject)]  # once, though it is there twice
    subject.put(where, {"data": {"name": "Index", "phone": "two"}})
    assert found(world.officer, "/phone", "one") == [] and found(world.officer, "/phone", "two") == [key(subject)]
    assert found(world.officer, "/phones/*", "x") == []
    subject.patch(where, {"data": {"phone": "three"}})
    assert found(world.officer, "/phone", "two") == [] and found(world.officer, "/phone", "three") == [key(subject)]
    subject.delete(where)
    assert found(world.officer, "/phone", "three") == []


def test_pages(world):
    keys = [key(world.make_subject({"name": "Same", "phone": "shared number"})) for _ in range(7)]
    items, after = [], None
    for _ in range(20):
        body = {"limit": 2, **({"after": after} if after else {})}
        answer = ask(world.officer, "/phone", "shared number", body=body).json()
        assert len(answer["items"]) <= 2
        items += [(i["subject"], i["record"]) for i in answer["items"]]
        after = answer["next"]
        if after is None:
            break
    assert sorted(items) == sorted(keys)


def test_a_subject_finds_its_own_only(world, person):
    other = world.make_subject({"name": "Straßer Élodie", "phone": "+41 79 000 11 22"})
    assert found(other, "/phone", "+41 79 000 11 22") == [key(other)]
    assert found(person, "/phone", "+41 79 000 11 22") == [key(person)]
    assert found(person, "/phone", "nobody's") == []


def test_a_service_finds_what_its_grants_cover(world, person):
    service, purpose = world.make_service(), world.activity
    value = "+41 79 000 11 22"
    body = {"type": "contact", "field": "/phone", "value": value}
    expect_problem(service.request("POST", PATH, body), 403, "purpose-required")
    answer = service.request("POST", PATH, body, purpose=purpose)
    assert answer.status_code == 403 or answer.json()["items"] == []
    for denied in ({"actions": ["write"]}, {"fields": ["/name"]}, {"masked": True}, {"activity": world.make_activity("Other")}):
        world.grant(person, service, **denied)
        answer = service.request("POST", PATH, body, purpose=purpose)
        assert answer.status_code == 403 or answer.json()["items"] == [], denied
    grant = world.grant(person, service, fields=["/phone"])
    assert found(service, "/phone", value, purpose=purpose) == [key(person)]
    person.delete(f"/v1/subjects/{person.subject}/grants/{grant['id']}")
    answer = service.request("POST", PATH, body, purpose=purpose)
    assert answer.status_code == 403 or answer.json()["items"] == []


@pytest.mark.parametrize("change, pointer", [
    ({"type": "none-such"}, "/type"), ({"type": 1}, "/type"), ({"field": "/notes"}, "/field"), ({"field": "/none"}, "/field"),
    ({"field": "phone"}, "/field"), ({"field": "/phones/0"}, "/field"), ({"field": ""}, "/field"), ({"value": None}, "/value"),
    ({"value": ["x"]}, "/value"), ({"value": {}}, "/value"), ({"limit": 0}, "/limit"), ({"limit": 101}, "/limit"),
    ({"after": 1}, "/after"), ({"more": 1}, None)])
def test_body(world, change, pointer):
    body = {"type": "contact", "field": "/phone", "value": "x", **change}
    expect_problem(world.officer.request("POST", PATH, body), 422, "validation-failed", pointer)


def test_a_cursor_that_is_none(world):
    answer = world.officer.request("POST", PATH, {"type": "contact", "field": "/phone", "value": "x", "after": "nonsense"})
    assert answer.status_code in (400, 422), answer.text


def test_each_subject_that_is_disclosed_is_logged(world):
    subjects = [world.make_subject({"name": "Logged", "phone": "logged number"}) for _ in range(2)]
    answer = ask(world.officer, "/phone", "logged number")
    entries = world.auditor.pages("/v1/audit")
    mine = [e for e in entries if e.get("request") == answer.headers["X-Request-Id"]]
    assert sorted(e["subject"] for e in mine) == sorted(s.subject for s in subjects)
    assert all(e["action"] == "record.lookup" and e["outcome"] == "ok" for e in mine)
    none = ask(world.officer, "/phone", "found by nobody")
    mine = [e for e in world.auditor.pages("/v1/audit") if e.get("request") == none.headers["X-Request-Id"]]
    assert len(mine) == 1 and "subject" not in mine[0]
