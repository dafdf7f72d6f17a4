"""Principals: made, read, changed and deleted by operators."""
import uuid

import pytest

from tresor_client import TIME, UUID7, Client, expect_problem

PATH = "/v1/principals"


def test_create_and_read(world):
    uid = world.name("nurse")
    made = world.operator.post(PATH, {"uid": uid, "name": "Nurse Ü. Zoë", "role": "service", "may_register": True})
    body = made.json()
    password = body.pop("password")
    assert len(password) >= 16
    assert UUID7.fullmatch(body["id"]) and TIME.fullmatch(body["created_at"])
    assert body == {"id": body["id"], "uid": uid, "name": "Nurse Ü. Zoë", "role": "service", "subject": None, "may_register": True,
                    "disabled": False, "password_initial": True, "created_at": body["created_at"],
                    "updated_at": body["created_at"], "version": 1}
    assert made.headers["Location"] == f"{PATH}/{body['id']}" and made.headers["ETag"] == '"1"'
    read = world.operator.get(made.headers["Location"])
    assert read.json() == body and read.headers["ETag"] == '"1"'
    Client(world.vault, uid, password).sign_in()


def test_a_name_is_not_needed(world):
    body = world.operator.post(PATH, {"uid": world.name("x"), "role": "auditor"}).json()
    assert body["name"] == "" and body["may_register"] is False


@pytest.mark.parametrize("body, pointer", [
    ({}, None), ([], ""), ({"role": "auditor"}, None), ({"uid": "a"}, None), ({"uid": "", "role": "auditor"}, "/uid"),
    ({"uid": " a", "role": "auditor"}, "/uid"), ({"uid": "a ", "role": "auditor"}, "/uid"),
    ({"uid": "a\nb", "role": "auditor"}, "/uid"), ({"uid": "a\n", "role": "auditor"}, "/uid"),
    ({"uid": "a\u0085b", "role": "auditor"}, "/uid"), ({"uid": "jürg@example.org", "role": "auditor"}, "/uid"), ({"uid": "a" * 255, "role": "auditor"}, "/uid"),
    ({"uid": 7, "role": "auditor"}, "/uid"), ({"uid": "u", "role": "root"}, "/role"), ({"uid": "u", "role": None}, "/role"),
    ({"uid": "u", "role": "auditor", "name": "n" * 201}, "/name"), ({"uid": "u", "role": "auditor", "name": "a\tb"}, "/name"),
    ({"uid": "u", "role": "auditor", "may_register": True}, "/may_register"),
    ({"uid": "u", "role": "service", "may_register": "yes"}, "/may_register"),
    ({"uid": "u", "role": "subject"}, None), ({"uid": "u", "role": "subject", "subject": "x"}, "/subject"),
    ({"uid": "u", "role": "subject", "subject": "0197c5b0-7b1e-7cc3-98c4-dc0c0c07398f"}, "/subject"),
    ({"uid": "u", "role": "service", "subject": "0197c5b0-7b1e-7cc3-98c4-dc0c0c07398f"}, "/subject"),
    ({"uid": "u", "role": "auditor", "password": "chosen by the operator"}, None)])
def test_create_body(world, body, pointer):
    before = world.operator.pages(PATH)
    expect_problem(world.operator.request("POST", PATH, body), 422, "validation-failed", pointer)
    assert world.operator.pages(PATH) == before


def test_uid_is_unique(world):
    uid = world.name("twice")
    world.operator.post(PATH, {"uid": uid, "role": "auditor"})
    expect_problem(world.operator.request("POST", PATH, {"uid": uid, "role": "service"}), 409)


@pytest.mark.parametrize("uid", ["a", "a b", "u" * 254, "O'Neil; DROP TABLE principals --", "../../etc/passwd", "%00"])
def test_uids_of_any_sort(world, uid):
    uid = uid if len(uid) == 254 else uid + world.name("")
    made = world.operator.post(PATH, {"uid": uid, "role": "auditor"}).json()
    assert world.operator.get(f"{PATH}/{made['id']}").json()["uid"] == uid
    assert uid in [p["uid"] for p in world.operator.pages(PATH, limit=100)]


def test_list_pages(world):
    made = {world.operator.post(PATH, {"uid": world.name("page"), "role": "auditor"}).json()["id"] for _ in range(7)}
    everyone = world.operator.pages(PATH)
    for limit in (1, 3, 100):
        assert world.operator.pages(PATH, limit=limit) == everyone
    assert made <= {p["id"] for p in everyone} and len({p["id"] for p in everyone}) == len(everyone)
    assert all("password" not in p for p in everyone)


def test_patch(world):
    made = world.operator.post(PATH, {"uid": world.name("patched"), "role": "service", "name": "Old"})
    path = made.headers["Location"]
    answer = world.operator.patch(path, {"name": "New", "may_register": True}, match='"1"')
    body = answer.json()
    assert (body["name"], body["may_register"], body["version"]) == ("New", True, 2) and answer.headers["ETag"] == '"2"'
    assert "password" not in body
    assert body["updated_at"] >= body["created_at"]
    expect_problem(world.operator.request("PATCH", path, {"name": "Newer"}, match='"1"'), 412, "precondition-failed")
    assert world.operator.get(path).json() == body
    for bad in ({}, {"role": "operator"}, {"uid": "x"}, {"name": 1}, {"disabled": "yes"}, {"reset_password": False}, {"more": 1}, []):
        expect_problem(world.operator.request("PATCH", path, bad, content_type="application/merge-patch+json"), 422)
    auditor = world.operator.post(PATH, {"uid": world.name("aud"), "role": "auditor"}).headers["Location"]
    expect_problem(world.operator.request("PATCH", auditor, {"may_register": True}), 422, pointer="/may_register")


def test_reset_password(world):
    service = world.make_service()
    old = service.password
    answer = world.operator.patch(f"{PATH}/{service.id}", {"reset_password": True}).json()
    assert answer["password"] != old and answer["password_initial"] is True
    expect_problem(service.request("GET", "/v1/types"), 401, "token-invalid")
    service.sign_in(expect=401)
    service.password = answer["password"]
    service.sign_in()
    assert "password" not in world.operator.get(f"{PATH}/{service.id}").json()


def test_delete(world):
    service = world.make_service()
    path = f"{PATH}/{service.id}"
    expect_problem(world.operator.request("DELETE", path, match='"77"'), 412)
    world.operator.delete(path, match="*")
    expect_problem(service.request("GET", "/v1/types"), 401, "token-invalid")
    service.sign_in(expect=401)
    expect_problem(world.operator.request("GET", path), 404, "not-found")
    expect_problem(world.operator.request("DELETE", path), 404)
    world.operator.post(PATH, {"uid": service.uid, "role": "service"})  # the name is free again


def test_the_last_operator_stays(world):
    me = world.operator.profile["id"]
    for method, body in (("PATCH", {"disabled": True}), ("DELETE", None)):
        expect_problem(world.operator.request(method, f"{PATH}/{me}", body), 409, "conflict")
    other = world.make_principal("operator")
    other.patch(f"{PATH}/{other.id}", {"name": "The other"})
    world.operator.patch(f"{PATH}/{other.id}", {"disabled": True})
    expect_problem(world.operator.request("DELETE", f"{PATH}/{me}"), 409, "conflict")  # a disabled one does not count
    world.operator.delete(f"{PATH}/{other.id}")


@pytest.mark.parametrize("wrong", ["x", "0", "0197c5b0-7b1e-7cc3-98c4-dc0c0c07398", "0197C5B0-7B1E-7CC3-98C4-DC0C0C07398F",
                                   "%30", "..", "a" * 300])
def test_ids_that_are_none(world, wrong):
    answer = world.operator.request("GET", f"{PATH}/{wrong}", check=False)
    assert answer.status_code in (400, 404), answer.text
    expect_problem(world.operator.request("GET", f"{PATH}/{uuid.uuid4()}"), 404, "not-found")
