"""The uid and the name of a data subject: the operator and the person see them; no file tells them."""
import shutil
import uuid

import pytest

import plain_files
from tresor_client import Anonymous, Client, expect_problem

NAME = "Wilhelmina Unmistakable"


def person(world, uid=None, name=NAME):
    """A data subject with a principal of its own; signed in."""
    subject = world.service.post("/v1/subjects", {"records": []}, key=uuid.uuid4().hex).json()["id"]
    uid = uid or f"Wilhelmina.Uid-{uuid.uuid4().hex[:8]}@Example.org"
    client = world.make_principal("subject", subject=subject, uid=uid, name=name)
    client.subject = subject
    return client


def create(world, uid, role="service", **more):
    return world.operator.request("POST", "/v1/principals", {"uid": uid, "role": role, "name": "", **more})


def test_answers_are_as_before(world):
    someone = person(world)
    mine = next(p for p in world.operator.pages("/v1/principals", limit=7) if p["uid"] == someone.uid)
    assert mine["name"] == NAME and mine["role"] == "subject" and mine["subject"] == someone.subject
    read = world.operator.get(f"/v1/principals/{mine['id']}")
    assert read.json() == mine
    told = someone.get("/v1/auth/validate_token").json()["data"]
    assert told["uid"] == someone.uid and told["name"] == NAME
    for uid in (someone.uid.lower(), someone.uid.upper()):
        again = Client(world.vault, uid, someone.password)
        answer = again.raw("POST", "/v1/auth/sign_in", json_body={"uid": uid, "password": someone.password})
        assert answer.status_code == 200 and answer.headers["uid"] == someone.uid
    renamed = world.operator.request("PATCH", f"/v1/principals/{mine['id']}", {"name": "Wilhelmina the Second"}, match=read.headers["ETag"],
                                     headers={"Content-Type": "application/merge-patch+json"}, expect=200)
    assert renamed.json()["name"] == "Wilhelmina the Second" and renamed.json()["uid"] == someone.uid
    assert world.operator.get(f"/v1/principals/{mine['id']}").json()["name"] == "Wilhelmina the Second"
    someone.request("PUT", "/v1/auth/password", {"current_password": someone.password, "password": "another long password"}, expect=204)
    someone.password = "another long password"
    someone.sign_in()
    assert someone.profile["name"] == "Wilhelmina the Second"


def test_a_uid_is_one_principals(world):
    someone, clinic = person(world), world.name("Clinic@")
    create(world, clinic).raise_for_status()
    for uid in (someone.uid, someone.uid.lower(), someone.uid.upper(), clinic.upper()):
        expect_problem(create(world, uid), 409, "conflict")
        expect_problem(create(world, uid, "subject", subject=someone.subject), 409, "conflict")
    unknown = create(world, world.name("u"), "subject", subject=str(uuid.uuid4()))
    expect_problem(unknown, 422, "validation-failed")
    assert create(world, "s:" + "A" * 43).status_code == 422  # the form of what is stored
    assert create(world, world.name("s:")).status_code == 201


@pytest.mark.skipif(not plain_files.there(), reason="the tools showkeys and plainpages are not built")
def test_what_the_files_tell(fresh_vault, tmp_path):
    from tresor_client import World
    world = World(fresh_vault)
    someone = person(world)
    clinic = world.name("visible-clinic")
    create(world, clinic).raise_for_status()
    needles = [NAME.encode().lower(), someone.uid.encode().lower(), b"wilhelmina"]
    fresh_vault.server.stop()
    found = b""
    for name, content in plain_files.contents(fresh_vault.data):
        found += content if clinic.encode() in content else b""
        for needle in needles:
            assert needle not in content.lower(), f"{needle} in {name}"
    assert found  # the pages were decrypted, and hold what is in the clear

    # A thief of an old vault.db, today's keyring and today's keys.db, after the erasure.
    old = tmp_path / "old.db"
    shutil.copy(fresh_vault.data / "vault.db", old)
    fresh_vault.server.start()
    someone.sign_in()
    someone.request("DELETE", f"/v1/subjects/{someone.subject}", expect=200, last=True)
    listed = world.operator.pages("/v1/principals", limit=100)
    assert someone.uid not in [p["uid"] for p in listed] and clinic in [p["uid"] for p in listed]
    answer = Anonymous(fresh_vault).raw("POST", "/v1/auth/sign_in", json_body={"uid": someone.uid, "password": someone.password})
    expect = Anonymous(fresh_vault).raw("POST", "/v1/auth/sign_in", json_body={"uid": "nobody@example.org", "password": someone.password})
    assert answer.status_code == expect.status_code == 401
    assert {**answer.json(), "instance": ""} == {**expect.json(), "instance": ""}
    assert person(world, uid=someone.uid).uid == someone.uid  # free again
    fresh_vault.server.stop()
    keys = plain_files.keys_of(fresh_vault.data)
    assert f"data.{uuid.UUID(someone.subject).hex.upper()}" not in keys
    pages = plain_files.plain(old, keys["vault.db"])
    assert uuid.UUID(someone.subject).bytes in pages  # the row itself is there
    for needle in needles:
        assert needle not in pages.lower()
    fresh_vault.server.start()
