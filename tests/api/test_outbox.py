"""Notices are sent: signed webhooks and mails, to servers that answer, fail, hang and answer late."""
import base64
import datetime
import re
import time
import types

import pytest
import requests
from cryptography import x509

import plain_files
from receivers import Mails, Webhooks, check_message
from tresor_client import ADA, expect_problem, run_tresor
from tresor_fixtures import _running

TIMEOUT_MS = 1500
SECRET = re.compile(r"whsec_[A-Za-z0-9+/]{43}=")


@pytest.fixture(scope="module")
def hooks(tmp_path_factory):
    server = Webhooks(tmp_path_factory.mktemp("hooks"))
    yield server
    server.close()


@pytest.fixture(scope="module")
def namesake(tmp_path_factory, hooks):
    """Whoever vouches for `hooks` vouches for it too, under another name than that of the URL."""
    server = Webhooks(tmp_path_factory.mktemp("namesake"), names=[x509.DNSName("elsewhere.example")])
    with open(hooks.cert, "ab") as bundle:
        bundle.write(server.cert.read_bytes())
    yield server
    server.close()


@pytest.fixture(scope="module")
def mails(tmp_path_factory):
    server = Mails(tmp_path_factory.mktemp("mails"))
    yield server
    server.close()


def flags(hooks, mails, folder):
    password = folder / "smtp-password"
    password.write_text(mails.PASSWORD + "\n")
    return ("--outbox-ca", hooks.cert, "--outbox-timeout-ms", TIMEOUT_MS, "--outbox-tries", 2, "--smtp-url", mails.url,
            "--smtp-from", "vault@tresor.example", "--smtp-user", mails.USER, "--smtp-password-file", password, "--smtp-ca",
            mails.cert, "--controller", "Klinik Sonnenberg, Zürich", "--metrics-listen", "127.0.0.1:0")


@pytest.fixture(scope="module")
def vault(tmp_path_factory, hooks, namesake, mails):
    folder = tmp_path_factory.mktemp("vault")
    yield from _running(folder, *flags(hooks, mails, folder), "--outbox-allow", "127.0.0.1, ::1")


@pytest.fixture(scope="module")
def ada(world):
    return world.make_subject(ADA)


def contact(principal):
    return f"/v1/principals/{principal.id}/contact"


def set_webhook(world, principal, url, expect=200):
    answer = world.operator.put(contact(principal), {"webhook": {"url": url}}, expect=expect).json()
    return answer["webhook"]["secret"] if expect == 200 else answer


def recipient(world, ada, url=None):
    """A service that is granted Ada's data; with its webhook's secret."""
    service = types.SimpleNamespace(
        id=world.operator.post("/v1/principals", {"uid": world.name("service"), "role": "service"}).json()["id"])
    world.grant(ada, service)
    service.secret = set_webhook(world, service, url) if url else None
    return service


def tell(world, ada):
    """A cause: Ada objects to what the grants are for, and all grantees are told. Answers the request's id."""
    request = world.officer.post("/v1/requests", {"subject": ada.subject, "kind": "objection", "activities": [world.activity]}).json()["id"]
    world.officer.post(f"/v1/requests/{request}/verify", {"method": "in-person"}, expect=200)
    world.officer.post(f"/v1/requests/{request}/fulfil", {}, expect=200)
    return request


def notices_to(world, principal, state=None):
    query = f"?state={state}" if state else ""
    return [n for n in world.operator.pages("/v1/notices" + query, limit=100) if n["recipient"] == principal.id]


def wait_for(world, principal, wanted, seconds=30):
    """Its only notice, once wanted(notice)."""
    until = time.monotonic() + seconds
    while True:
        found = notices_to(world, principal)
        assert len(found) <= 1, found
        if found and wanted(found[0]):
            return found[0]
        assert time.monotonic() < until, found
        time.sleep(0.1)


def is_sent(notice):
    return notice["state"] == "sent"


def is_dead(notice):
    return notice["state"] == "dead"


# ---- contacts ----

def test_contact_of_a_service(world):
    service = world.make_service()
    path = contact(service)
    expect_problem(world.operator.request("GET", path), 404, "not-found")
    expect_problem(world.operator.request("DELETE", path), 404, "not-found")
    made = world.operator.put(path, {"webhook": {"url": "https://clinic.example/tresor?a=b"}}).json()
    secret = made["webhook"].pop("secret")
    assert SECRET.fullmatch(secret) and len(base64.b64decode(secret[6:])) == 32
    assert made == {"webhook": {"url": "https://clinic.example/tresor?a=b"}, "updated_at": made["updated_at"]}
    assert world.operator.get(path).json() == made
    again = world.operator.put(path, {"webhook": {"url": "https://clinic.example/tresor?a=b"}}).json()
    assert again["webhook"]["secret"] != secret  # rotated
    world.operator.put(path, {"email": "privacy@clinic.example"})
    read = world.operator.get(path).json()
    assert read == {"email": "privacy@clinic.example", "updated_at": read["updated_at"]}
    world.operator.delete(path)
    expect_problem(world.operator.request("GET", path), 404, "not-found")
    expect_problem(world.operator.request("GET", "/v1/principals/0197c5b0-7b1e-7cc3-98c4-dc0c0c07398f/contact"), 404)


def test_contact_goes_with_its_principal(world):
    service = world.make_service()
    set_webhook(world, service, "https://clinic.example/")
    world.operator.delete(f"/v1/principals/{service.id}")
    expect_problem(world.operator.request("GET", contact(service)), 404, "not-found")


def test_contact_of_a_person_is_its_own(world, ada):
    other = world.subject
    ada.put(contact(ada), {"email": "ada@quellenhof.example"})
    assert ada.get(contact(ada)).json()["email"] == "ada@quellenhof.example"
    for asker in (world.operator, other):
        for method, body in (("GET", None), ("PUT", {"email": "x@y.example"}), ("DELETE", None)):
            expect_problem(asker.request(method, contact(ada), body), 403, "forbidden")
    expect_problem(ada.request("PUT", contact(world.service), {"email": "x@y.example"}), 403, "forbidden")
    expect_problem(ada.request("PUT", contact(ada), {"webhook": {"url": "https://ada.example/"}}), 422, "validation-failed", "/webhook")
    assert ada.get(contact(ada)).json()["email"] == "ada@quellenhof.example"
    ada.delete(contact(ada))
    expect_problem(ada.request("GET", contact(ada)), 404)


@pytest.mark.parametrize("address", [
    "", "a", "a@", "@b.example", "a@b", "a b@c.example", "a@b..example", ".a@b.example", "a.@b.example", "a@-b.example", "a@b-.example",
    "a@b.example\nBcc: c@d.example", "a@b.example\r\nDATA", "\"a\"@b.example", "a@[127.0.0.1]", "a@127.0.0.1", "a@b.example>", "<a@b.example",
    "a,b@c.example", "jürg@example.org", "a@exämple.org", "a" * 65 + "@b.example", "a@" + "b" * 64 + ".example", "a@b@c.example"])
def test_addresses_that_are_none(world, address):
    answer = world.operator.request("PUT", contact(world.service), {"email": address})
    expect_problem(answer, 422, "validation-failed", "/email")


@pytest.mark.parametrize("url", [
    "", "x", "http://clinic.example/", "ftp://clinic.example/", "https://", "https:///x", "https://user:pw@clinic.example/",
    "https://clinic.example/#x", "https://clinic.example/a b", "https://clinic.example/\n", "file:///etc/passwd", "gopher://x/",
    "https://clinic.example/" + "x" * 500, "https://10.1.2.3/", "https://192.168.1.1/", "https://169.254.169.254/latest/meta-data",
    "https://[fe80::1]/", "https://[fd00:ec2::254]/", "https://[::ffff:10.0.0.1]/", "https://0.0.0.0/", "https://0x0a010203/",
    "https://167838211/", "https://224.0.0.1/", "https://127.0.0.2/"])
def test_urls_that_are_refused(world, url):
    answer = world.operator.request("PUT", contact(world.service), {"webhook": {"url": url}})
    expect_problem(answer, 422, "validation-failed", "/webhook/url")


@pytest.mark.parametrize("body, pointer", [
    ({}, None), ({"email": "a@b.example", "webhook": {"url": "https://c.example/"}}, None), ({"webhook": {}}, None), ({"email": None}, "/email"),
    ({"webhook": {"url": "https://c.example/", "secret": "whsec_" + "A" * 43 + "="}}, None), ({"phone": "1"}, None)])
def test_bodies_that_are_none(world, body, pointer):
    expect_problem(world.operator.request("PUT", contact(world.service), body), 422, "validation-failed", pointer)


# ---- webhooks ----

def test_a_signed_webhook(world, ada, hooks):
    service = recipient(world, ada, hooks.url("/signed", "localhost"))
    request = tell(world, ada)
    message = hooks.wait_for("/signed")[0]
    data = check_message(message, service.secret, "objection")
    assert data == {"notice": message.id, "subject": ada.subject, "request": request, "details": {"activities": [world.activity]}}
    notice = wait_for(world, service, is_sent)
    assert notice == {"id": message.id, "state": "sent", "kind": "objection", "recipient": service.id, "subject": ada.subject,
                      "request": request, "created_at": message.json["timestamp"], "attempts": 1, "next_at": None,
                      "sent_at": notice["sent_at"], "problem": None}
    shown = world.officer.get(f"/v1/requests/{request}").json()["notices"]
    assert [(n["id"], n["sent_at"]) for n in shown] == [(message.id, notice["sent_at"])]
    assert [n for n in world.officer.pages("/v1/notices?state=sent", limit=100) if n["id"] == message.id] == [notice]
    entries = [e for e in world.auditor.pages(f"/v1/audit?subject={ada.subject}", limit=100) if e["action"] == "notice.sent"
               and e["records"] == [message.id]]
    assert [(e["records"], e["purpose"], e["outcome"]) for e in entries] == [([message.id], request, "ok")]
    assert any(e["action"] == "notice.sent" for e in ada.pages(f"/v1/subjects/{ada.subject}/accesses", limit=100))
    text = message.body.decode() + str(message.headers)
    assert not any(word in text for word in (ADA["name"], ADA["email"], ada.uid))


def test_the_new_secret_signs(world, ada, hooks):
    service = recipient(world, ada, hooks.url("/rotated"))
    service.secret = set_webhook(world, service, hooks.url("/rotated"))
    tell(world, ada)
    check_message(hooks.wait_for("/rotated")[0], service.secret, "objection")


def test_failures(world, ada, hooks):
    """What fails once is tried again, under the same id; twice (outbox_tries), it is dead; and an operator has it tried anew."""
    hooks.behave.update({"/again": [503, 204], "/closed": ["close", 204], "/dead": [500], "/gone": [410],
                         "/moved": [(302, {"Location": hooks.url("/elsewhere")})]})
    services = {path: recipient(world, ada, hooks.url(path)) for path in ("/again", "/closed", "/dead", "/gone", "/moved")}
    tell(world, ada)
    waiting = wait_for(world, services["/again"], lambda n: n["attempts"] == 1)
    assert waiting["state"] == "waiting" and waiting["problem"] == "http-503" and waiting["next_at"]
    gone = wait_for(world, services["/gone"], is_dead)
    assert gone["attempts"] == 1 and gone["problem"] == "http-410" and gone["next_at"] is None
    for path in ("/again", "/closed"):
        first, second = hooks.wait_for(path, 2)
        assert first.id == second.id and first.body == second.body
        check_message(second, services[path].secret, "objection")
        assert wait_for(world, services[path], is_sent)
    first, second = hooks.of("/again")
    assert second.at - first.at > 3.5 and first.headers["webhook-timestamp"] != second.headers["webhook-timestamp"]
    assert notices_to(world, services["/again"])[0]["attempts"] == 2
    lost = [gone["id"]]
    for path, problem in (("/dead", "http-500"), ("/moved", "http-302")):
        dead = wait_for(world, services[path], is_dead)
        lost.append(dead["id"])
        assert dead["attempts"] == 2 and dead["problem"] == problem
    assert hooks.of("/elsewhere") == []
    assert notices_to(world, services["/gone"], "dead") == [gone]
    entries = [e["records"] for e in world.auditor.pages(f"/v1/audit?subject={ada.subject}", limit=100) if e["action"] == "notice.dead"]
    assert sorted(entries) == sorted([one] for one in lost)
    path = f"/v1/notices/{gone['id']}/retry"
    expect_problem(world.officer.request("POST", path), 403)
    hooks.behave["/gone"] = [200]
    again = world.operator.post(path, None, expect=200).json()
    assert again["state"] == "waiting" and again["attempts"] == 0 and again["problem"] is None
    assert wait_for(world, services["/gone"], is_sent)["id"] == gone["id"]
    assert len({m.id for m in hooks.of("/gone")}) == 1
    expect_problem(world.operator.request("POST", path), 409, "conflict")
    expect_problem(world.operator.request("POST", "/v1/notices/0197c5b0-7b1e-7cc3-98c4-dc0c0c07398f/retry"), 404)
    expect_problem(world.operator.request("GET", "/v1/notices?state=lost"), 400, "bad-request")


def test_who_hangs_keeps_no_other_waiting(world, ada, hooks):
    hooks.behave["/hang"] = ["hang"]
    hooks.behave["/late"] = [("late", TIMEOUT_MS / 2000)]
    hooks.behave["/flood"] = ["flood"]
    hanging = [recipient(world, ada, hooks.url("/hang")) for _ in range(3)]
    late, flood, quick = (recipient(world, ada, hooks.url(path)) for path in ("/late", "/flood", "/quick"))
    tell(world, ada)
    check_message(hooks.wait_for("/quick")[0], quick.secret, "objection")
    for service in (quick, late, flood):
        assert wait_for(world, service, is_sent)["attempts"] == 1
    for service in hanging:
        assert wait_for(world, service, lambda n: n["problem"])["problem"] == "timeout"
    assert len(hooks.of("/late")) == 1


def test_retry_after_is_heeded(world, ada, hooks):
    hooks.behave["/busy"] = [(503, {"Retry-After": "3600"})]
    service = recipient(world, ada, hooks.url("/busy"))
    tell(world, ada)
    notice = wait_for(world, service, lambda n: n["problem"])
    assert minutes(notice["next_at"]) - minutes(notice["created_at"]) >= 59


def minutes(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp() / 60


def test_a_server_that_nobody_vouches_for(world, ada, tmp_path):
    stranger = Webhooks(tmp_path, "stranger")
    try:
        service = recipient(world, ada, stranger.url("/"))
        tell(world, ada)
        assert wait_for(world, service, lambda n: n["problem"])["problem"] == "tls"
        assert stranger.got == []
    finally:
        stranger.close()


def test_a_server_with_another_name(world, ada, namesake):
    service = recipient(world, ada, namesake.url("/"))
    tell(world, ada)
    assert wait_for(world, service, lambda n: n["problem"])["problem"] == "tls"
    assert namesake.got == []


def test_without_a_contact_it_waits_for_one(world, ada, hooks):
    service = recipient(world, ada)
    tell(world, ada)
    notice = wait_for(world, service, lambda n: n["problem"])
    assert notice["problem"] == "no-contact" and notice["state"] == "waiting" and notice["attempts"] == 0
    assert 29 * 1440 < minutes(notice["next_at"]) - minutes(notice["created_at"]) <= 30 * 1440
    service.secret = set_webhook(world, service, hooks.url("/found"))
    check_message(hooks.wait_for("/found")[0], service.secret, "objection")
    assert wait_for(world, service, is_sent)["attempts"] == 1


# ---- mail ----

def test_a_mail(world, ada, mails):
    service = recipient(world, ada)
    world.operator.put(contact(service), {"email": "privacy@clinic.example"})
    tell(world, ada)
    mail = mails.wait_to("privacy@clinic.example")[0]
    notice = wait_for(world, service, is_sent)
    assert mail.sender == "vault@tresor.example" and mail["From"] == "vault@tresor.example" and mail["To"] == "privacy@clinic.example"
    assert mail["Message-ID"] == f"<{notice['id']}@tresor.example>" and mail["Auto-Submitted"] == "auto-generated"
    assert mail.get_content_type() == "text/plain" and mail.get_content_charset() == "utf-8" and mail["Date"].datetime
    text = mail.get_content()
    assert f"Subject: {ada.subject}\n" in text and "Klinik Sonnenberg, Zürich" in text and notice["id"] in text
    assert not any(word in mail.raw.decode() + text for word in (ADA["name"], ADA["email"], ada.uid))
    assert all(len(line) <= 78 for line in mail.raw.decode("ascii").splitlines())


def test_mail_servers_that_fail(world, ada, mails):
    mails.replies.update({"nobody@clinic.example": ["550 no such mailbox"], "later@clinic.example": ["451 later", "250 OK"],
                          "hang@clinic.example": [(30, "250 OK")], "late@clinic.example": [(TIMEOUT_MS / 3000, "250 OK")]})
    services = {name: recipient(world, ada) for name in ("nobody", "later", "hang", "late", "quick")}
    for name, service in services.items():
        world.operator.put(contact(service), {"email": f"{name}@clinic.example"})
    tell(world, ada)
    dead = wait_for(world, services["nobody"], is_dead)
    assert dead["problem"] == "smtp-550" and dead["attempts"] == 1
    for name in ("late", "quick"):
        assert wait_for(world, services[name], is_sent)["attempts"] == 1
    assert wait_for(world, services["hang"], lambda n: n["problem"])["problem"] == "timeout"
    notice = wait_for(world, services["later"], lambda n: n["problem"] or is_sent(n))
    if not is_sent(notice):
        assert notice["problem"] == "smtp-451" and notice["state"] == "waiting"
        world.operator.request("POST", f"/v1/notices/{notice['id']}/retry", expect=(200, 409))
    assert wait_for(world, services["later"], is_sent)["id"] == notice["id"]
    assert [m["Message-ID"] for m in mails.wait_to("later@clinic.example")] == [f"<{notice['id']}@tresor.example>"]


# ---- what is at rest, what is logged, what is counted ----

@pytest.mark.skipif(not plain_files.there(), reason="the tools showkeys and plainpages are not built")
def test_sealed_at_rest(world, vault, ada, hooks):
    """Not even under the database's own encryption is an address, a URL or a secret plain."""
    service = world.make_service()
    secret = set_webhook(world, service, "https://sealed-at-rest.example/")
    ada.put(contact(ada), {"email": "ada.sealed@at-rest.example"})
    vault.restart()
    vault.stop()
    pages = plain_files.plain(vault.data / "vault.db", plain_files.keys_of(vault.data)["vault.db"])
    vault.start()
    assert service.id.replace("-", "").encode() not in pages and len(pages) > 10000
    for text in (b"sealed-at-rest", b"ada.sealed", secret.encode(), secret[6:].encode(), base64.b64decode(secret[6:])):
        assert text not in pages
    assert ada.get(contact(ada)).json()["email"] == "ada.sealed@at-rest.example"
    log = vault.server.log() + vault.server.errors()
    assert not any(word in log for word in ("whsec_", "@clinic.example", "ada.sealed", "/signed", "mail server's own"))


def test_metrics(world, vault, ada):
    service = recipient(world, ada)
    tell(world, ada)
    wait_for(world, service, lambda n: n["problem"])
    port = next(int(re.search(r'"port":(\d+)', line)[1]) for line in reversed(vault.server.lines) if '"listener":"metrics"' in line)
    text = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=30).text
    value = {name: int(number) for name, number in re.findall(r"^tresor_outbox_(\w+) (\d+)$", text, re.M)}
    states = [n["state"] for n in world.operator.pages("/v1/notices", limit=100)]
    assert value["waiting"] == states.count("waiting") > 0 and value["dead"] == states.count("dead")
    assert set(value) == {"waiting", "dead", "sent_total", "oldest_seconds"}


# ---- requests that are due ----

def test_officers_are_told_what_is_due(world, vault, ada, hooks):
    """Once that the date comes near, once that it is past; the assignee, else all who can be reached."""
    assigned, other = world.make_principal("officer"), world.make_principal("officer")
    secrets = {p.id: set_webhook(world, p, hooks.url("/officer/" + p.id)) for p in (assigned, other)}
    def ago(days):
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - days * 86400))
    made = {days: world.officer.post("/v1/requests", {"subject": ada.subject, "kind": "access", "received_at": ago(days)}).json()
            for days in (10, 26, 40)}
    world.officer.post(f"/v1/requests/{made[26]['id']}/verify", {"method": "in-person"}, expect=200)
    world.officer.post(f"/v1/requests/{made[26]['id']}/assign", {"officer": assigned.id}, expect=200)
    vault.restart()  # the sweep runs at the start, and every minute
    near = hooks.wait_for("/officer/" + assigned.id, 2)
    told = {m.json["type"]: check_message(m, secrets[assigned.id], m.json["type"][7:])["details"] for m in near}
    assert told["tresor.request-due"] == {"request": made[26]["id"], "kind": "access", "due_at": made[26]["due_at"]}
    assert told["tresor.request-overdue"] == {"request": made[40]["id"], "kind": "access", "due_at": made[40]["due_at"]}
    assert [m.json["type"] for m in hooks.wait_for("/officer/" + other.id)] == ["tresor.request-overdue"]
    vault.restart()
    assert len(hooks.of("/officer/" + assigned.id)) == 2 and len(hooks.of("/officer/" + other.id)) == 1
    for request in made.values():
        assert world.officer.get(f"/v1/requests/{request['id']}").json()["notices"] == []


# ---- the end, and settings ----

def test_it_ends_while_a_receiver_hangs(world, vault, ada, hooks):
    hooks.behave["/end"] = ["hang", 204]
    service = recipient(world, ada, hooks.url("/end"))
    tell(world, ada)
    hooks.wait_for("/end")
    began = time.monotonic()
    vault.stop()
    assert time.monotonic() - began < 15
    vault.start()
    first, second = hooks.wait_for("/end", 2)
    assert first.id == second.id and wait_for(world, service, is_sent)


def test_addresses_are_checked_when_connecting(world, vault, ada, hooks):
    """A name leads to the vault's own machine, and nothing is allowed: nothing gets there."""
    whole = vault.server.flags
    at = whole.index("--outbox-allow")
    vault.server.flags = whole[:at] + whole[at + 2:]
    vault.restart()
    try:
        service = recipient(world, ada, hooks.url("/rebound", "localhost"))
        expect_problem(world.operator.request("PUT", contact(service), {"webhook": {"url": hooks.url("/")}}), 422)
        tell(world, ada)
        notice = wait_for(world, service, lambda n: n["problem"])
        assert notice["problem"] == "address-refused" and hooks.of("/rebound") == []
    finally:
        vault.server.flags = whole
        vault.restart()


@pytest.mark.parametrize("setting, value", [
    ("outbox-allow", "10.0.0.0/33"), ("outbox-allow", "not a host!"), ("smtp-url", "http://127.0.0.1"), ("smtp-from", "nobody"),
    ("smtp-from", "a@b.example\nx")])
def test_settings_that_are_wrong(vault, setting, value):
    given = {"smtp-url": "smtp://127.0.0.1:25", "smtp-from": "a@b.example", setting: value}
    done = run_tresor("serve", "--check", "--data", vault.data, *(f"--{k}={v}" for k, v in given.items()))
    assert done.returncode != 0 and setting.replace("-", "_") in done.stdout, done.stdout
