"""What `tresor call` does when answers are lost: the session goes on, and nothing happens twice.

The faults come from cli_tools.Gate, which stands between `tresor call` and the server with the server's own certificate.
"""
import json
import threading
import time

import pytest

from cli_tools import Gate, Person, behind, gate, operator, wait_until  # noqa: F401


@pytest.mark.parametrize("faults", [["lose"], ["refuse"], ["lose", "lose", "refuse"], ["cut"]])
def test_a_lost_answer_to_a_write_is_recovered_without_a_second_effect(behind, gate, faults):
    uid = "lost-" + "-".join(faults)
    gate.faults.extend(faults)
    done = behind.call("POST", "/v1/principals", "--json", json.dumps({"uid": uid, "role": "service"}))
    if faults == ["cut"]:  # a part was printed: it is for the caller to repeat
        assert done.returncode == 1 and "repeat the call" in done.stderr
        done = behind.call("POST", "/v1/principals", "--json", json.dumps({"uid": uid, "role": "service"}))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["uid"] == uid
    assert len(set(gate.keys())) == 1 and (faults == ["cut"] or len(set(gate.tokens())) == 1)
    found = behind.principals(uid)
    assert [p["id"] for p in found] == [json.loads(done.stdout)["id"]]
    assert "pending" not in behind.state()


def test_a_lost_answer_to_a_read_is_recovered(behind, gate):
    gate.faults.extend(["lose", "lose"])
    assert behind.get("/v1/principals")["items"]
    assert gate.answered == [200, 200, 200]


def kill_when_sent(person, gate, *args):
    """Start a call, let the server do it, and kill the call before it has the answer."""
    gate.faults.append("hold")
    before = len(gate.answered)
    process = person.start(*args)
    try:
        wait_until(lambda: len(gate.answered) > before, "the server's answer")
    finally:
        process.kill()
        process.communicate(timeout=30)
    assert person.has_pending()


def test_a_killed_write_is_recovered_by_repeating_it(behind, gate):
    args = ("POST", "/v1/principals", "--json", '{"uid":"killed","role":"service"}')
    kill_when_sent(behind, gate, *args)
    refused = behind.call("GET", "/v1/principals", check=1)  # it would use up what can still be recovered
    assert "repeat that very call" in refused.stderr and "POST /v1/principals" in refused.stderr and refused.stdout == ""
    assert len(gate.seen) == 1
    done = behind.call(*args, check=0)
    assert json.loads(done.stdout)["uid"] == "killed"
    assert len(set(gate.keys())) == 1 and len(set(gate.tokens())) == 1
    assert len(behind.principals("killed")) == 1


def test_after_a_killed_read_the_next_call_just_works(behind, gate):
    kill_when_sent(behind, gate, "GET", "/v1/principals")
    done = behind.call("POST", "/v1/principals", "--json", '{"uid":"after-read","role":"service"}', check=0)
    assert json.loads(done.stdout)["uid"] == "after-read"
    assert len(gate.seen) == 3 and gate.keys()[0] == gate.keys()[1] != gate.keys()[2]


def make_older(person, seconds):
    """As if the pending call had been sent earlier."""
    state = person.state()
    state["pending"]["at"] = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(time.time() - seconds))
    person.session.write_text(json.dumps(state))


def test_an_answer_lost_for_good_says_what_to_do_and_does_not_happen_twice(behind, gate):
    args = ("POST", "/v1/principals", "--json", '{"uid":"for-good","role":"service"}')
    kill_when_sent(behind, gate, *args)
    make_older(behind, 60)
    done = behind.call("GET", "/v1/types", check=1)
    assert "sign in again" in done.stderr and "token sign-in" in done.stderr
    assert "access-token" not in behind.state()
    behind.url = behind.vault.url
    behind.sign_in()
    behind.url = gate.url
    done = behind.call(*args, "--include", check=0)
    assert "idempotency-replayed: true" in done.stdout.lower()
    assert gate.keys()[0] == gate.keys()[-1] and len(behind.principals("for-good")) == 1


def test_a_call_that_never_arrived_is_no_loss(behind, gate):
    """Killed before the server saw it: the token is still good, which the next call finds out."""
    gate.faults.append("hold")
    forward, arrived = gate.forward, threading.Event()

    def stuck(head, body):
        arrived.set()
        time.sleep(0.1)
        raise OSError

    gate.forward = stuck
    process = behind.start("POST", "/v1/principals", "--json", '{"uid":"never","role":"service"}')
    assert arrived.wait(30)
    process.kill()
    process.communicate(timeout=30)
    gate.forward = forward
    make_older(behind, 60)
    assert behind.principals("never") == []
    assert "pending" not in behind.state()


def test_calls_ride_out_a_restart_of_the_server(fresh_vault, tmp_path):
    """kill -9 under a call: it is tried again until the server is back, with one effect."""
    person = Person(fresh_vault, tmp_path)
    person.sign_in()
    gate = Gate(fresh_vault)
    try:
        person.url = gate.url
        gate.faults.append("lose")
        call = person.start("POST", "/v1/principals", "--json", '{"uid":"restarted","role":"service"}')
        wait_until(lambda: gate.answered, "the server's answer")
        fresh_vault.server.kill()
        fresh_vault.server.start()
        out, err = call.communicate(timeout=120)
        assert call.returncode == 0, err
        assert json.loads(out)["uid"] == "restarted" and len(person.principals("restarted")) == 1
    finally:
        gate.close()


def test_a_lost_answer_to_an_import_imports_once(vault, behind, gate, tmp_path):
    officer = Person(vault, tmp_path, "officer")
    officer.sign_in()
    officer.call("PUT", "/v1/types/note", "--json", '{"type":"object"}', check=0)
    made = behind.call("POST", "/v1/principals", "--json", '{"uid":"importer","role":"service","may_register":true}', check=0)
    importer = Person(vault, tmp_path, "importer")
    importer.credentials.write_text(made.stdout)
    importer.sign_in()
    assert json.loads(importer.credentials.read_text())["password_initial"] is False
    lines = tmp_path / "lines.ndjson"
    lines.write_text("".join(json.dumps({"n": n}) + "\n" for n in range(300)))
    importer.url = gate.url
    gate.faults.append("lose")
    done = importer.call("POST", "/v1/import?type=note", "--data-file", lines, check=0)
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert [r["line"] for r in results] == list(range(1, 301)) and {r["status"] for r in results} == {201}
    auditor = Person(vault, tmp_path, "auditor")
    auditor.sign_in()
    imported, page = [], "/v1/audit?order=desc&limit=100"
    for _ in range(4):
        answer = auditor.get(page)
        imported += [record for e in answer["items"] if e["action"] == "record.import" for record in e.get("records", [])]
        page = f"/v1/audit?order=desc&limit=100&after={answer['next']}"
    assert len(imported) == len(set(imported)) == 300 and set(imported) == {r["record"] for r in results}
