"""Receipts: signed by the key that GET /v1/about gives, checked here by openssl and by `tresor request verify`."""
import json

import pytest

import signed
from tresor_client import ADA, TIME, Anonymous, expect_problem, run_tresor

FACTS = {"vault", "request", "subject", "kind", "received_at", "verified_at", "extended_until", "fulfilled_at", "result", "articles", "issued_at"}


def about(vault):
    return Anonymous(vault).raw("GET", "/v1/about").json()


def file_request(world, subject, kind, **more):
    """A request that the officer filed, verified and took."""
    made = world.officer.post("/v1/requests", {"subject": subject.subject, "kind": kind, **more}, expect=201).json()
    world.officer.post(f"/v1/requests/{made['id']}/verify", {"method": "in-person"}, expect=200)
    return made["id"]


def fulfil(world, subject, kind, expect=200, **more):
    request = file_request(world, subject, kind, **more)
    world.officer.post(f"/v1/requests/{request}/fulfil", {}, expect=expect)
    return request


def receipt_of(world, request):
    return world.officer.get(f"/v1/requests/{request}/receipt", expect=200)


def check(text, keys, tmp_path, code=0):
    """What the command line says about it, without a network."""
    (tmp_path / "keys.json").write_text(json.dumps(keys))
    (tmp_path / "receipt.json").write_text(text)
    done = run_tresor("request", "verify", tmp_path / "receipt.json", "--keys", tmp_path / "keys.json", check=code)
    return json.loads(done.stdout)


# ---- the key ----

def test_about_gives_the_key(world):
    answer = about(world.vault)
    [key] = answer["signing_keys"]["keys"]
    assert set(key) == {"kty", "crv", "alg", "use", "kid", "x"}  # and no "d"
    assert (key["kty"], key["crv"], key["alg"], key["use"]) == ("OKP", "Ed25519", "EdDSA", "sig")
    assert key["kid"] == signed.thumbprint(key["x"]) and len(signed.unb64(key["x"])) == 32


def test_the_key_stays(fresh_vault):
    before = about(fresh_vault)
    fresh_vault.server.stop()
    fresh_vault.server.start()
    after = about(fresh_vault)
    assert after["signing_keys"] == before["signing_keys"] and after["vault"] == before["vault"]


# ---- receipts ----

@pytest.mark.parametrize("kind", ["access", "portability", "rectification", "restriction"])
def test_every_fulfilment_has_one(world, tmp_path, kind):
    subject = world.make_subject(ADA)
    request = file_request(world, subject, kind, details="Please, for Ada Lovelace.")
    expect_problem(world.officer.request("GET", f"/v1/requests/{request}/receipt"), 404, "not-found")  # nothing is done yet
    world.officer.post(f"/v1/requests/{request}/fulfil", {}, expect=200)
    answer, keys = receipt_of(world, request), about(world.vault)
    assert answer.headers["Content-Type"].startswith("application/json")
    tree = answer.json()
    assert set(tree) == {"receipt", "jws"} and set(tree["receipt"]) == FACTS
    payload = signed.verified(tree["jws"], keys["signing_keys"], signed.RECEIPT, tmp_path)
    assert payload.decode() in answer.text  # exactly these bytes
    facts = json.loads(payload)
    assert facts == tree["receipt"]
    stated = world.officer.get(f"/v1/requests/{request}").json()
    assert facts["request"] == request and facts["subject"] == subject.subject and facts["kind"] == kind
    assert facts["vault"] == keys["vault"] and facts["received_at"] == stated["received_at"]
    assert facts["verified_at"] == stated["verification"]["at"] and facts["extended_until"] is None
    assert TIME.fullmatch(facts["fulfilled_at"]) and facts["fulfilled_at"] == stated["closed_at"]
    assert any(a.startswith("FADP Art.") for a in facts["articles"]) and any(a.startswith("GDPR Art.") for a in facts["articles"])
    for personal in ("Lovelace", ADA["name"], ADA["email"], "Please"):
        assert personal not in answer.text
    assert check(answer.text, keys, tmp_path)["receipt"] == facts
    assert check(answer.text.replace(f'"kind":"{kind}"', '"kind":"erasure"'), keys, tmp_path, 10)["ok"] is False
    # The subject gets the same; it does not change.
    assert subject.get(f"/v1/requests/{request}/receipt").text == answer.text
    assert receipt_of(world, request).text == answer.text


def test_nobody_else_sees_it(world):
    subject, other = world.make_subject(ADA), world.make_subject(ADA)
    request = fulfil(world, subject, "access")
    for who in (other, world.service, world.auditor, world.operator):
        assert who.request("GET", f"/v1/requests/{request}/receipt").status_code in (403, 404)


def test_a_refused_request_has_none(world):
    request = file_request(world, world.make_subject(ADA), "access")
    world.officer.post(f"/v1/requests/{request}/refuse", {"reason": "Asked yesterday.", "legal_basis": "FADP Art. 26(1)(c)"}, expect=200)
    expect_problem(world.officer.request("GET", f"/v1/requests/{request}/receipt"), 404, "not-found")


def test_the_receipt_of_an_erasure_outlives_the_person(world, tmp_path):
    subject, keys = world.make_subject(ADA), about(world.vault)
    request = fulfil(world, subject, "erasure")
    answer = receipt_of(world, request)
    facts = json.loads(signed.verified(answer.json()["jws"], keys["signing_keys"], signed.RECEIPT, tmp_path))
    assert facts["kind"] == "erasure" and facts["result"]["records"] == 1 and facts["subject"] == subject.subject
    assert check(answer.text, keys, tmp_path)["ok"] is True


def test_who_erases_oneself_takes_the_receipt_along(world, tmp_path):
    """Nobody can sign in any more to get it later."""
    subject, keys = world.make_subject(ADA), about(world.vault)
    answer = subject.request("DELETE", f"/v1/subjects/{subject.subject}", expect=200, last=True)
    assert set(answer.json()) == {"request", "receipt", "jws"}
    assert check(answer.text, keys, tmp_path)["receipt"] == answer.json()["receipt"]
    assert receipt_of(world, answer.json()["request"]).json()["jws"] == answer.json()["jws"]


def test_with_the_server_at_hand(world, tmp_path):
    request = fulfil(world, world.make_subject(ADA), "access")
    (tmp_path / "r.json").write_text(receipt_of(world, request).text)
    done = run_tresor("request", "verify", tmp_path / "r.json", "--url", world.vault.url, "--ca", world.vault.ca, check=0)
    assert json.loads(done.stdout)["receipt"]["request"] == request
