"""Subjects and their records, as the subject itself sees them."""
import json
import uuid

import pytest

from tresor_client import ADA, TIME, UUID7, Client, World, expect_problem


@pytest.fixture(scope="module")
def free(world):
    """A type that takes any object."""
    world.officer.put("/v1/types/free", {"type": "object", "x-history": 3}, expect=201)
    return "free"


def records(client):
    return f"/v1/subjects/{client.subject}/records"


def test_register(world):
    answer = world.service.post("/v1/subjects", {"records": [{"type": "contact", "data": ADA}, {"type": "contact", "data": {"name": "B"}}]})
    body = answer.json()
    assert UUID7.fullmatch(body["id"]) and TIME.fullmatch(body["created_at"]) and body["restricted"] is False
    assert answer.headers["Location"] == f"/v1/subjects/{body['id']}"
    assert [(r["type"], r["version"]) for r in body["records"]] == [("contact", 1)] * 2
    assert world.service.post("/v1/subjects", {}).json()["records"] == []


def test_registering_is_all_or_nothing(world):
    auditor = world.auditor
    before = auditor.get("/v1/audit?order=desc&limit=1").json()["items"][0]["seq"]
    answer = world.service.request("POST", "/v1/subjects", {"records": [{"type": "contact", "data": {"name": "Good"}},
                                                                        {"type": "contact", "data": {"name": 1}}]})
    expect_problem(answer, 422, "validation-failed", "/records/1/data/name")
    answer = world.service.request("POST", "/v1/subjects", {"records": [{"type": "none-such", "data": {}}]})
    expect_problem(answer, 422, "validation-failed", "/records/0/type")
    found = world.officer.post("/v1/lookup", {"type": "contact", "field": "/name", "value": "Good"}, expect=200).json()
    assert found["items"] == []
    done = [e for e in auditor.pages("/v1/audit") if e["seq"] > before and e["action"] == "subject.create"]
    assert [e["outcome"] for e in done] == ["validation-failed"] * 2


@pytest.mark.parametrize("body, pointer", [
    ([], ""), ({"more": 1}, None), ({"records": {}}, "/records"), ({"records": [{}]}, "/records/0"),
    ({"records": [{"type": "contact"}]}, "/records/0"), ({"records": [{"type": "Contact", "data": {}}]}, "/records/0/type"),
    ({"records": [{"type": "contact", "data": []}]}, "/records/0/data"),
    ({"records": [{"type": "contact", "data": {"name": "x"}, "id": "y"}]}, None),
    ({"records": [{"type": "contact", "data": {"name": "x"}}] * 101}, "/records")])
def test_register_body(world, body, pointer):
    expect_problem(world.service.request("POST", "/v1/subjects", body), 422, "validation-failed", pointer)


def test_the_life_of_a_record(world):
    subject = world.make_subject()
    made = subject.post(records(subject), {"type": "contact", "data": ADA})
    record = made.json()
    assert record == {"id": record["id"], "subject": subject.subject, "type": "contact", "version": 1,
                      "created_at": record["created_at"], "updated_at": record["created_at"], "updated_by": subject.id,
                      "data": ADA, "partial": False}
    where = made.headers["Location"]
    assert where == f"{records(subject)}/{record['id']}" and made.headers["ETag"] == '"1"'
    read = subject.get(where)
    assert read.json() == record and read.headers["ETag"] == '"1"'
    replaced = subject.put(where, {"data": {"name": "Ada"}}).json()
    assert (replaced["version"], replaced["data"], replaced["created_at"]) == (2, {"name": "Ada"}, record["created_at"])
    assert subject.get(where).json() == replaced
    patched = subject.patch(where, {"data": {"email": "ada@example.net", "address": {"city": "Thun"}}}).json()
    assert patched["data"] == {"name": "Ada", "email": "ada@example.net", "address": {"city": "Thun"}}
    subject.delete(where)
    expect_problem(subject.request("GET", where), 404, "not-found")
    expect_problem(subject.request("PUT", where, {"data": {"name": "x"}}), 404, "not-found")
    expect_problem(subject.request("DELETE", where), 404, "not-found")
    assert subject.get(records(subject)).json()["items"] == []


def test_read_subject(world):
    body = world.subject.get(f"/v1/subjects/{world.subject.subject}").json()
    assert set(body) == {"id", "created_at", "restricted", "retention"} and body["restricted"] is False


@pytest.mark.parametrize("target, patch, result", [  # RFC 7396, appendix A, as far as the data is an object
    ({"a": "b"}, {"a": "c"}, {"a": "c"}), ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}), ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}), ({"a": ["b"]}, {"a": "c"}, {"a": "c"}), ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}), ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}), ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}})])
def test_merge_patch(world, free, target, patch, result):
    made = world.subject.post(records(world.subject), {"type": free, "data": target})
    where = made.headers["Location"]
    assert world.subject.patch(where, {"data": patch}).json()["data"] == result
    assert world.subject.get(where).json()["data"] == result
    again = world.subject.request("PATCH", where, {"data": {}}, content_type="application/json", expect=200)
    assert again.json()["data"] == result


def test_patch_that_makes_it_invalid(world):
    where = world.subject.post(records(world.subject), {"type": "contact", "data": ADA}).headers["Location"]
    expect_problem(world.subject.request("PATCH", where, {"data": {"name": None}}), 422, "validation-failed")
    expect_problem(world.subject.request("PATCH", where, {"data": {"age": "old"}}), 422, "validation-failed", "/data/age")
    assert world.subject.get(where).json()["version"] == 1


@pytest.mark.parametrize("data, pointer", [
    ({}, "/data"), ({"name": 1}, "/data/name"), ({"name": "x", "birthday": "13 October"}, "/data/birthday"),
    ({"name": "x", "birthday": "2023-02-29"}, "/data/birthday"), ({"name": "x", "phones": ["1", 2]}, "/data/phones/1"),
    ({"name": "x", "unknown": 1}, None), ({"name": "x", "age": 1.5}, "/data/age"), ({"name": "x", "address": []}, "/data/address"),
    ({"name": "x", "address": {"street": 1}}, "/data/address/street")])
def test_invalid_data(world, data, pointer):
    body = expect_problem(world.subject.request("POST", records(world.subject), {"type": "contact", "data": data}), 422,
                          "validation-failed", pointer)
    assert body["pointer"].startswith("/data")
    where = f"{records(world.subject)}/{world.subject.records[0]}"
    expect_problem(world.subject.request("PUT", where, {"data": data}), 422, "validation-failed", pointer)


def test_unknown_type(world):
    expect_problem(world.subject.request("POST", records(world.subject), {"type": "none-such", "data": {}}), 422,
                   "validation-failed", "/type")


def test_if_match(world):
    where = world.subject.post(records(world.subject), {"type": "contact", "data": {"name": "v1"}}).headers["Location"]
    subject = world.subject
    for wrong in ('"2"', '"0"', 'W/"1"', '"x"', '"2", "3"'):
        for method, body in (("PUT", {"data": {"name": "v2"}}), ("PATCH", {"data": {"name": "v2"}}), ("DELETE", None)):
            expect_problem(subject.request(method, where, body, match=wrong), 412, "precondition-failed")
    assert subject.get(where).json()["data"] == {"name": "v1"}
    assert subject.put(where, {"data": {"name": "v2"}}, match='"1"').headers["ETag"] == '"2"'
    assert subject.patch(where, {"data": {"name": "v3"}}, match='"1" , "2"').headers["ETag"] == '"3"'
    subject.get(where, expect=304, headers={"If-None-Match": '"3"'})
    subject.get(where, expect=304, headers={"If-None-Match": '"1", W/"3"'})
    subject.get(where, expect=304, headers={"If-None-Match": "*"})
    subject.get(where, expect=200, headers={"If-None-Match": '"2"'})
    subject.delete(where, match='"3"')
    missing = f"{records(subject)}/{uuid.uuid4()}"
    expect_problem(subject.request("PUT", missing, {"data": {"name": "x"}}, match="*"), 404)


@pytest.mark.parametrize("wrong", ["1", "'1'", '"1', "abc", '"1",,"2', "*, *"])
def test_if_match_that_is_none(world, wrong):
    """Either refused by name or simply not equal; it never lets the write through."""
    where = f"{records(world.subject)}/{world.subject.records[0]}"
    answer = world.subject.request("PUT", where, {"data": {"name": "x"}}, match=wrong)
    assert answer.status_code in (400, 412), answer.text


def test_versions(world):
    subject = world.subject
    where = subject.post(records(subject), {"type": "contact", "data": {"name": "v1"}}).headers["Location"]
    for number in range(2, 8):
        subject.put(where, {"data": {"name": f"v{number}"}})
    body = subject.get(where + "/versions").json()
    assert body["next"] is None
    assert [v["version"] for v in body["items"]] == [7, 6, 5, 4]  # the present one and x-history: 3
    assert [v["data"]["name"] for v in body["items"]] == ["v7", "v6", "v5", "v4"]
    assert all(v["updated_by"] == subject.id and v["partial"] is False and TIME.fullmatch(v["updated_at"]) for v in body["items"])
    expect_problem(subject.request("GET", f"{records(subject)}/{uuid.uuid4()}/versions"), 404)
    subject.delete(where)
    expect_problem(subject.request("GET", where + "/versions"), 404)


def test_no_history_kept(world):
    world.officer.put("/v1/types/forgetful", {"type": "object", "x-history": 0}, expect=201)
    subject = world.subject
    where = subject.post(records(subject), {"type": "forgetful", "data": {"n": 1}}).headers["Location"]
    subject.put(where, {"data": {"n": 2}})
    assert [v["version"] for v in subject.get(where + "/versions").json()["items"]] == [2]


NUMBERS = ["0", "-0", "0.0", "1.0", "1.10", "100", "1e2", "1E+2", "1e-7", "0.1", "123456789012345678901234567890",
           "-9007199254740993", "3.141592653589793238462643383279502884197", "1e400", "1e-400", "0.30000000000000004",
           "9223372036854775808", "12345678901234567890.123456789012345678901234567890e-10"]


@pytest.mark.parametrize("number", NUMBERS)
def test_numbers_come_back_digit_for_digit(world, free, number):
    subject = world.subject
    body = f'{{"type":"{free}","data":{{"n":{number},"list":[{number}]}}}}'
    made = subject.request("POST", records(subject), data=body.encode(), content_type="application/json", expect=201)
    wanted = f'"data":{{"n":{number},"list":[{number}]}}'
    assert wanted in made.text
    where = made.headers["Location"]
    assert wanted in subject.get(where).text
    subject.patch(where, {"data": {"other": True}})
    assert f'"n":{number}' in subject.get(where).text
    assert f'"n":{number}' in subject.get(where + "/versions").text


TEXTS = ["", " ", "Zürich", "名前", "🗝️ key", "\u202eright to left", "a\u0301 and á", "\ufeff", "\u2028\u2029", "\\ \" / \b\f\n\r\t", "\x01\x1f",
         "\x7f", "\U0010ffff", "' OR 1=1; --", "<script>alert(1)</script>", "%s%n%x", "../../../etc/passwd", "a" * 20000]


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_texts_come_back(world, free, text):
    subject = world.subject
    for member in (text, "plain"):
        where = subject.post(records(subject), {"type": free, "data": {member: text, "list": [text]}}).headers["Location"]
        assert subject.get(where).json()["data"] == {member: text, "list": [text]}
    escaped = json.dumps({"type": free, "data": {"x": text}}).encode()  # with \\u escapes
    made = subject.request("POST", records(subject), data=escaped, content_type="application/json", expect=201)
    assert made.json()["data"] == {"x": text}


def test_order_of_members_is_kept(world, free):
    body = f'{{"type":"{free}","data":{{"z":1,"a":{{"y":[],"b":{{}}}},"m":null}}}}'
    made = world.subject.request("POST", records(world.subject), data=body.encode(), content_type="application/json", expect=201)
    assert '"data":{"z":1,"a":{"y":[],"b":{}},"m":null}' in made.text
    assert '"data":{"z":1,"a":{"y":[],"b":{}},"m":null}' in world.subject.get(made.headers["Location"]).text


def test_big_record(world, free):
    """Just under the limit of 1 MiB goes in and out; over it is 413 and changes nothing."""
    subject = world.subject
    data = {"text": "ß" * 500000}
    where = subject.post(records(subject), {"type": free, "data": data}).headers["Location"]
    assert subject.get(where).json()["data"] == data
    count = len(subject.pages(records(subject)))
    answer = subject.request("POST", records(subject), {"type": free, "data": {"text": "a" * 1048576}})
    expect_problem(answer, 413, "content-too-large")
    assert len(subject.pages(records(subject))) == count
    subject.delete(where)


def test_a_wide_and_a_deep_record(world, free):
    subject = world.subject
    wide = {f"member-{n}": n for n in range(5000)}
    where = subject.post(records(subject), {"type": free, "data": wide}).headers["Location"]
    assert subject.get(where).json()["data"] == wide

    def nested(depth):
        value = 1
        for _ in range(depth):
            value = [value]
        return {"deep": value}

    where = subject.post(records(subject), {"type": free, "data": nested(50)}).headers["Location"]
    assert subject.get(where).json()["data"] == nested(50)
    for depth in (64, 100, 5000):
        text = b'{"type":"free","data":{"deep":' + b"[" * depth + b"]" * depth + b"}}"
        answer = subject.request("POST", records(subject), data=text, content_type="application/json")
        expect_problem(answer, 400, "malformed-body")


def test_list_pages_and_filters(world, free):
    subject = world.make_subject({"name": "first"})
    made = []
    for number in range(11):
        kind, data = (free, {"n": number}) if number % 2 else ("contact", {"name": f"n{number}"})
        made.append(subject.post(records(subject), {"type": kind, "data": data}).json()["id"])
    everything = subject.pages(records(subject))
    assert len(everything) == 12 and {r["id"] for r in everything} == {subject.records[0], *made}
    for limit in (1, 4, 12, 100):
        assert subject.pages(records(subject), limit=limit) == everything
    some = subject.pages(records(subject) + f"?type={free}", limit=2)
    assert [r["type"] for r in some] == [free] * 5
    assert some == [r for r in everything if r["type"] == free]
    assert subject.get(records(subject) + "?type=unknown-type").json() == {"items": [], "next": None}


def test_a_page_is_stable_while_others_write(world, free):
    """What was there at the start is seen exactly once, though records come and go between the pages."""
    subject = world.make_subject(*[{"name": f"n{n}"} for n in range(10)])
    seen, after = [], None
    for turn in range(100):
        answer = subject.get(records(subject) + "?limit=3" + (f"&after={after}" if after else "")).json()
        seen += [r["id"] for r in answer["items"]]
        subject.post(records(subject), {"type": free, "data": {"turn": turn}})
        after = answer["next"]
        if after is None or turn > 20:
            break
    assert [i for i in seen if i in subject.records] == subject.records
    assert len(seen) == len(set(seen))


@pytest.mark.parametrize("query, name", [("limit=0", "limit"), ("limit=101", "limit"), ("limit=-1", "limit"), ("limit=x", "limit"),
                                         ("limit=", "limit"), ("limit=1&limit=2", "limit"), ("limit=1.0", "limit"),
                                         ("limit=%31%30%30%30", "limit"), ("after=nonsense", "after"), ("after=", "after"),
                                         ("after=" + "A" * 600, "after"), ("type=Not%20A%20Type", "type"), ("colour=red", "colour"),
                                         ("limit=99999999999999999999", "limit"), ("=x", "query")])
def test_queries(world, query, name):
    expect_problem(world.subject.request("GET", f"{records(world.subject)}?{query}"), 400, "bad-request", parameter=name)


def test_a_cursor_of_another_list(world):
    subject = world.make_subject(*[{"name": f"n{n}"} for n in range(3)])
    after = subject.get(records(subject) + "?limit=1").json()["next"]
    answer = world.operator.request("GET", f"/v1/principals?after={after}")
    assert answer.status_code in (200, 400)
    other = world.subject.request("GET", f"{records(world.subject)}?after={after}")
    assert other.status_code in (200, 400)
    if other.status_code == 200:
        assert all(r["subject"] == world.subject.subject for r in other.json()["items"])


def test_a_record_of_another_subject_under_ones_own_path(world):
    other = world.make_subject({"name": "Other"})
    expect_problem(world.subject.request("GET", f"{records(world.subject)}/{other.records[0]}"), 404, "not-found")
    for method, body in (("PUT", {"data": {"name": "stolen"}}), ("PATCH", {"data": {"name": "stolen"}}), ("DELETE", None)):
        expect_problem(world.subject.request(method, f"{records(world.subject)}/{other.records[0]}", body), 404, "not-found")
    assert other.get(f"{records(other)}/{other.records[0]}").json()["data"] == {"name": "Other"}


def test_a_subject_deletes_itself(world):
    subject = world.make_subject({"name": "Going Away", "email": "going@example.org"})
    second = Client(world.vault, subject.uid, subject.password)
    second.sign_in()
    world.grant(subject)
    path = f"/v1/subjects/{subject.subject}"
    subject.request("DELETE", path, last=True, expect=200)
    expect_problem(subject.request("GET", path), 401, "token-invalid")
    expect_problem(second.request("GET", path), 401, "token-invalid")
    second.sign_in(expect=401)
    expect_problem(world.service.request("GET", path, purpose=world.activity), 403)
    found = world.officer.post("/v1/lookup", {"type": "contact", "field": "/email", "value": "going@example.org"}, expect=200).json()
    assert found["items"] == []
    expect_problem(world.operator.request("GET", f"/v1/principals/{subject.id}"), 404)


def test_everything_is_there_after_a_restart(fresh_vault):
    world = World(fresh_vault)
    where = f"{records(world.subject)}/{world.subject.records[0]}"
    before = world.subject.get(where).json()
    types, people = world.officer.pages("/v1/types"), world.operator.pages("/v1/principals")
    fresh_vault.restart()
    assert world.subject.get(where).json() == before
    assert world.officer.pages("/v1/types") == types and world.operator.pages("/v1/principals") == people
