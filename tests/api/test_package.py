"""GET /v1/requests/{id}/package: for whom, when, and for which kinds of requests."""
import json

import pytest

from packages import Package, verify
from tresor_client import ADA, expect_problem

UNKNOWN = "0197c5b0-7b1e-7cc3-98c4-dc0c0c07398f"


@pytest.fixture
def ada(world):
    return world.make_subject(ADA)


@pytest.fixture(scope="module")
def colleague(world):
    return world.make_principal("officer")


def file(client, subject, kind="access", **more):
    return client.post("/v1/requests", {"subject": subject.subject, "kind": kind, **more}).json()


def step(officer, request, name, body):
    return officer.post(f"/v1/requests/{request['id']}/{name}", body, expect=200).json()


def path(request):
    return f"/v1/requests/{request['id']}/package"


@pytest.mark.parametrize("kind", ["access", "portability"])
def test_the_subject_gets_its_package(world, ada, kind, tmp_path):
    request = file(ada, ada, kind, details="alles, bitte")
    answer = ada.get(path(request))
    package = Package(answer.content)
    assert f'filename="tresor-{kind}-' in answer.headers["Content-Disposition"]
    assert package.manifest["request"] == request["id"] and package.manifest["kind"] == kind
    assert package.manifest["subject"] == ada.subject and package.manifest["complete"] is True
    [item] = package.json("records/contact.json")["items"]
    assert item["data"] == ADA
    [shown] = package.json("requests.json")["items"]
    assert shown["id"] == request["id"] and shown["details"] == "alles, bitte"
    assert request["id"] in package.text("index.html")
    verdict = verify(world.vault, tmp_path, package.content)
    assert verdict["ok"] is True and verdict["files"] == len(package.manifest["files"]), verdict


def test_from_receipt_to_the_end(world, ada, colleague):
    """An officer files it, verifies it, fetches the package, fulfils it; the subject can still fetch it then."""
    request = file(world.officer, ada)
    expect_problem(ada.request("GET", path(request)), 409, "conflict")  # not verified yet
    expect_problem(world.officer.request("GET", path(request)), 403, "forbidden")  # nobody's yet
    step(world.officer, request, "verify", {"method": "identity-document"})
    assert Package(world.officer.get(path(request)).content).json("records/contact.json")["items"][0]["data"] == ADA
    expect_problem(colleague.request("GET", path(request)), 403, "forbidden")
    Package(ada.get(path(request)).content)
    step(world.officer, request, "fulfil", {})
    Package(ada.get(path(request)).content)
    expect_problem(world.officer.request("GET", path(request)), 403, "forbidden")
    entries = [a for a in ada.pages(f"/v1/subjects/{ada.subject}/accesses") if a["action"] == "request.package"]
    assert [(e["role"], e["outcome"], e["purpose"]) for e in reversed(entries)] == [
        (role, outcome, request["id"]) for role, outcome in (
            ("subject", "conflict"), ("officer", "forbidden"), ("officer", "ok"), ("officer", "forbidden"), ("subject", "ok"),
            ("subject", "ok"), ("officer", "forbidden"))]


def test_the_officer_exports_within_a_request_only(world, ada, colleague):
    export = f"/v1/subjects/{ada.subject}/export"
    request = file(ada, ada)
    expect_problem(world.officer.request("GET", export), 403, "forbidden")
    step(world.officer, request, "assign", {"officer": world.officer.profile["id"]})
    Package(world.officer.get(export).content)
    expect_problem(colleague.request("GET", export), 403, "forbidden")
    step(world.officer, request, "fulfil", {})
    expect_problem(world.officer.request("GET", export), 403, "forbidden")


def test_how_the_person_signs_in_and_is_written_to(world, ada):
    contact = f"/v1/principals/{ada.profile['id']}/contact"
    request = file(ada, ada)
    [account] = Package(ada.get(path(request)).content).json("information.json")["accounts"]
    assert (account["id"], account["uid"], account["email"]) == (ada.profile["id"], ada.uid, None)
    ada.put(contact, {"email": "zwicky.ada@example.org"}, expect=200)
    package = Package(ada.get(path(request)).content)
    [account] = package.json("information.json")["accounts"]
    assert account["email"] == "zwicky.ada@example.org" and account["email_at"] >= account["created_at"]
    for text in (ada.uid, account["email"]):
        assert text in package.text("index.html")
    step(world.officer, request, "assign", {"officer": world.officer.profile["id"]})
    assert Package(world.officer.get(path(request)).content).json("information.json")["accounts"] == [account]


@pytest.mark.parametrize("kind", ["rectification", "restriction", "erasure"])
def test_other_kinds_have_none(world, ada, kind):
    request = file(ada, ada, kind)
    expect_problem(ada.request("GET", path(request)), 409, "conflict")


def test_refused_ones_have_none(world, ada):
    request = file(ada, ada)
    step(world.officer, request, "assign", {"officer": world.officer.profile["id"]})
    step(world.officer, request, "refuse", {"reason": "manifestly unfounded", "legal_basis": "Art. 26 FADP"})
    expect_problem(ada.request("GET", path(request)), 409, "conflict")


def test_others_do_not_learn_of_it(world, ada):
    request = file(ada, ada)
    nobody = {"id": UNKNOWN}
    for one in (request, nobody, {"id": "x"}):
        expect_problem(world.subject.request("GET", path(one)), 404, "not-found")
    expect_problem(world.service.request("GET", path(request), purpose=world.activity), 403, "forbidden")
    expect_problem(world.operator.request("GET", path(request)), 403, "forbidden")
    expect_problem(world.auditor.request("GET", path(request)), 403, "forbidden")
    expect_problem(world.officer.request("GET", path(nobody)), 404, "not-found")


def test_a_restricted_subject_still_gets_its_data(world, ada):
    service = world.make_service()
    world.grant(ada, service, actions=("read", "export"))
    ada.post(f"/v1/subjects/{ada.subject}/restriction", None, expect=(200, 201, 204))
    package = Package(ada.get(path(file(ada, ada))).content)
    assert package.json("information.json")["restricted_at"]
    answer = service.request("GET", f"/v1/subjects/{ada.subject}/export", purpose=world.activity)
    expect_problem(answer, 409, "subject-restricted")


def test_the_log_holds_no_data(world, ada):
    ada.get(path(file(ada, ada)))
    log = world.vault.server.log()
    assert "Zwicky" not in log and "Kramgasse" not in log
    json.loads(log.splitlines()[-1])
