"""Record types."""
import copy
import json

import pytest

from tresor_client import CONTACT, DATA, TIME, expect_problem


def path(name):
    return f"/v1/types/{name}"


def test_put_read_replace_delete(world):
    made = world.officer.put(path("letter"), {"type": "object", "title": "A letter"}, expect=201)
    body = made.json()
    assert body == {"name": "letter", "version": 1, "created_at": body["created_at"], "updated_at": body["created_at"],
                    "schema": {"type": "object", "title": "A letter"}}
    assert TIME.fullmatch(body["created_at"]) and made.headers["ETag"] == '"1"'
    for reader in (world.subject, world.service, world.operator, world.auditor):
        assert reader.get(path("letter")).json() == body
    answer = world.officer.put(path("letter"), {"type": "object"}, expect=200)
    assert answer.json()["version"] == 2 and answer.headers["ETag"] == '"2"'
    world.officer.delete(path("letter"))
    expect_problem(world.officer.request("GET", path("letter")), 404, "not-found")
    expect_problem(world.officer.request("DELETE", path("letter")), 404, "not-found")


def test_preconditions(world):
    world.officer.put(path("cond"), {"type": "object"}, expect=201, headers={"If-None-Match": "*"})
    for headers in ({"If-None-Match": "*"}, {"If-Match": '"7"'}, {"If-Match": '"7", "8"'}, {"If-Match": 'W/"1"'}):
        expect_problem(world.officer.request("PUT", path("cond"), {"type": "object"}, headers=headers), 412, "precondition-failed")
    expect_problem(world.officer.request("DELETE", path("cond"), match='"9"'), 412, "precondition-failed")
    expect_problem(world.officer.request("PUT", path("absent"), {"type": "object"}, match="*"), 412, "precondition-failed")
    world.officer.put(path("cond"), {"type": "object"}, match='"9", "1"')
    world.officer.put(path("cond"), {"type": "object"}, match="*")
    world.officer.get(path("cond"), expect=304, headers={"If-None-Match": '"3"'})
    world.officer.get(path("cond"), expect=200, headers={"If-None-Match": '"2"'})
    world.officer.delete(path("cond"), match='"3"')


def test_list(world):
    for number in range(5):
        world.officer.put(path(f"list-{number}"), {"type": "object"}, expect=201)
    items = world.auditor.pages("/v1/types")
    assert all("schema" not in i for i in items)
    assert {f"list-{n}" for n in range(5)} <= {i["name"] for i in items}
    for limit in (1, 2):
        assert world.auditor.pages("/v1/types", limit=limit) == items


@pytest.mark.parametrize("name", ["A", "1a", "a" * 65, "a.b", "a b", "ä", "-a", "_a", "a/b"])
def test_names(world, name):
    answer = world.officer.request("PUT", "/v1/types/" + name.replace(" ", "%20").replace("ä", "%C3%A4"), {"type": "object"},
                                   check=False)
    assert answer.status_code in (400, 404), answer.text
    expect_problem(answer, answer.status_code)


def test_longest_name(world):
    world.officer.put(path("a" + "b" * 63), {"type": "object"}, expect=201)


@pytest.mark.parametrize("schema, pointer", [
    ([], ""), ("x", ""), (True, ""), ({}, None), ({"type": "string"}, None), ({"type": ["object", "null"]}, None),
    ({"type": "object", "properties": []}, "/properties"), ({"type": "object", "propertees": {}}, "/propertees"),
    ({"type": "object", "properties": {"a": {"typo": 1}}}, "/properties/a/typo"),
    ({"type": "object", "properties": {"a": {"type": "strin"}}}, "/properties/a/type"),
    ({"type": "object", "properties": {"a": {"pattern": "("}}}, "/properties/a/pattern"),
    ({"type": "object", "properties": {"a": {"$ref": "https://example.org/x.json"}}}, "/properties/a/$ref"),
    ({"type": "object", "properties": {"a": {"$ref": "#/$defs/none"}}}, "/properties/a/$ref"),
    ({"type": "object", "minProperties": -1}, "/minProperties"),
    ({"type": "object", "required": "a"}, "/required"),
    ({"type": "object", "properties": {"a": {"type": "string", "x-index": "yes"}}}, "/properties/a/x-index"),
    ({"type": "object", "properties": {"a": {"type": "object", "x-index": True}}}, "/properties/a/x-index"),
    ({"type": "object", "properties": {"a": {"type": "string", "x-mask": "blur"}}}, "/properties/a/x-mask"),
    ({"type": "object", "properties": {"a": {"type": "string", "x-sensitive": "money"}}}, "/properties/a/x-sensitive"),
    ({"type": "object", "x-maks": "hide"}, "/x-maks"), ({"type": "object", "x-history": -1}, "/x-history"), ({"type": "object", "x-history": 1001}, "/x-history"),
    ({"type": "object", "x-history": 1.5}, "/x-history"), ({"type": "object", "x-retention": "ten years"}, "/x-retention"),
    ({"type": "object", "properties": {"a": {"type": "string", "x-history": 3}}}, "/properties/a/x-history"),
    ({"type": "object", "properties": {"a": {"type": "string", "x-retention": "P1Y"}}}, "/properties/a/x-retention")])
def test_schemas_that_are_none(world, schema, pointer):
    text = json.dumps(schema).encode()
    answer = world.officer.request("PUT", path("wrong"), data=text, content_type="application/json")
    expect_problem(answer, 422, "validation-failed", pointer)
    expect_problem(world.officer.request("GET", path("wrong")), 404)


def test_schema_comes_back_as_it_was(world):
    schema = {"type": "object", "title": "Ü",
              "properties": {"b": {"const": 1.10}, "a": {"enum": [None, "x", 1e2]}}, "$defs": {"d": {"type": "null"}}}
    text = '{"type":"object","properties":{"b":{"const":1.10},"a":{"enum":[null,"x",1e2,123456789012345678901234567890]}}}'
    world.officer.put(path("exact"), schema, expect=201)
    assert world.officer.get(path("exact")).json()["schema"] == schema
    world.officer.request("PUT", path("exact"), data=text.encode(), content_type="application/json", expect=200)
    assert text in world.officer.get(path("exact")).text


def test_in_use(world):
    schema = copy.deepcopy(CONTACT)
    expect_problem(world.officer.request("DELETE", path("contact")), 409, "conflict")
    schema["properties"]["tags"]["items"]["x-index"] = True
    expect_problem(world.officer.request("PUT", path("contact"), schema), 409, "conflict")
    schema = copy.deepcopy(CONTACT)
    del schema["properties"]["email"]["x-index"]
    expect_problem(world.officer.request("PUT", path("contact"), schema), 409, "conflict")
    schema = copy.deepcopy(CONTACT)
    schema["properties"]["email"]["x-index"] = True
    expect_problem(world.officer.request("PUT", path("contact"), schema), 409, "conflict")
    schema = copy.deepcopy(CONTACT)
    schema["properties"]["title"] = {"type": "string"}
    world.officer.put(path("contact"), schema)
    world.subject.post(f"/v1/subjects/{world.subject.subject}/records", {"type": "contact", "data": {"name": "N", "title": "Dr"}})
    world.officer.put(path("contact"), CONTACT)


def test_index_may_change_while_not_in_use(world):
    world.officer.put(path("unused"), {"type": "object", "properties": {"a": {"type": "string"}}}, expect=201)
    world.officer.put(path("unused"), {"type": "object", "properties": {"a": {"type": "string", "x-index": True}}})


def test_a_type_is_free_once_its_records_are_gone(world):
    world.officer.put(path("passing"), {"type": "object"}, expect=201)
    subject = world.make_subject({}, type_name="passing")
    expect_problem(world.officer.request("DELETE", path("passing")), 409, "conflict")
    subject.delete(f"/v1/subjects/{subject.subject}/records/{subject.records[0]}")
    world.officer.delete(path("passing"))


def test_the_legislators_type_is_taken(world):
    world.officer.put(path("legislator"), json.loads((DATA / "types" / "legislator.json").read_text()), expect=201)


def test_activities(world):
    path = "/v1/activities"
    body = {"name": "Billing", "purpose": "To bill", "controller": "Clinic Ltd", "legal_basis": "Art. 6(1)(b) GDPR",
            "categories_of_subjects": ["patients"], "categories_of_data": ["contact", "health"], "recipients": ["insurers"],
            "retention": "10 years", "security_measures": "encrypted", "transfers": [{"country": "DE"}, {"country": "US", "safeguard": "SCC"}],
            "place_of_storage": "Bern"}
    made = world.officer.post(path, body)
    whole = made.json()
    assert whole == {**body, "id": whole["id"], "version": 1, "created_at": whole["created_at"], "updated_at": whole["created_at"],
                     "ended_at": None}
    where = made.headers["Location"]
    assert where == f"{path}/{whole['id']}"
    for reader in (world.subject, world.service, world.operator, world.auditor, world.officer):
        assert reader.get(where).json() == whole
    expect_problem(world.officer.request("PUT", where, {"name": "B", "purpose": "P"}, match='"2"'), 412)
    changed = world.officer.put(where, {"name": "B", "purpose": "P"}, match='"1"').json()
    assert (changed["name"], changed["version"], "controller" in changed) == ("B", 2, False)
    world.officer.get(where, expect=304, headers={"If-None-Match": '"2"'})
    world.officer.delete(where)
    ended = world.officer.get(where).json()
    assert TIME.fullmatch(ended["ended_at"])
    expect_problem(world.officer.request("PUT", where, {"name": "B", "purpose": "P"}), 409, "conflict")
    world.officer.delete(where)
    assert world.officer.get(where).json()["ended_at"] == ended["ended_at"]
    assert whole["id"] in [a["id"] for a in world.auditor.pages(path, limit=2)]
    expect_problem(world.officer.request("GET", path + "/0197c5b0-7b1e-7cc3-98c4-dc0c0c07398f"), 404, "not-found")


@pytest.mark.parametrize("body, pointer", [
    ({}, None), ({"name": "x"}, None), ({"name": "", "purpose": "p"}, "/name"), ({"name": "n" * 201, "purpose": "p"}, "/name"),
    ({"name": "n", "purpose": 1}, "/purpose"), ({"name": "n", "purpose": "p", "recipients": "x"}, "/recipients"),
    ({"name": "n", "purpose": "p", "recipients": [1]}, "/recipients/0"), ({"name": "n", "purpose": "p", "id": "x"}, None),
    ({"name": "n", "purpose": "p", "transfers": [{}]}, "/transfers/0"),
    ({"name": "n", "purpose": "p", "transfers": [{"country": "DE", "x": 1}]}, None),
    ({"name": "n", "purpose": "p", "recipients": ["r"] * 65}, "/recipients")])
def test_activity_body(world, body, pointer):
    expect_problem(world.officer.request("POST", "/v1/activities", body), 422, "validation-failed", pointer)
