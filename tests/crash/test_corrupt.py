"""A byte flipped in a database or in its write-ahead log: the start is refused and the file named, or what needs the page answers
storage-corrupt; never a wrong answer. TRESOR_CORRUPT_ROUNDS flips in each kind of page of each database.
"""
import os
import random
import shutil

import pytest

import plain_files
from tresor_client import ADA, Client, Server, Vault, World, run_tresor

ROUNDS = int(os.environ.get("TRESOR_CORRUPT_ROUNDS", "6"))
DATABASES = ("vault.db", "keys.db", "audit.db")
PAGE, FRAME, HEAD = 4096, 24 + 4096, 32
BODY = PAGE - 48  # of a page in the clear; the first one lacks the salt's 16 bytes
FIRST = BODY - 16
KINDS = {2: "inner", 5: "inner", 10: "leaf", 13: "leaf"}  # of B-trees; else an overflow page, or a free one
pytestmark = pytest.mark.skipif(not plain_files.there(), reason="the tools showkeys and plainpages are not built")


# ---- what is asked, and what is right ----

class Asker:
    """A session that goes on in copies of the folder."""

    def __init__(self, client):
        self.client, self.state = client, None

    def keep(self):
        self.state = (self.client.client, self.client.token)

    def on(self, vault):
        other = Client(vault, self.client.uid, self.client.password)
        other.client, other.token = self.state
        return other


class Source:
    """A folder, the sessions into it, and what they are answered."""

    def __init__(self, vault, world):
        subject = world.subject
        records = f"/v1/subjects/{subject.subject}/records"
        self.vault, self.subject = vault, subject
        self.askers = {name: Asker(getattr(world, name)) for name in ("subject", "service", "officer", "operator", "auditor")}
        self.questions = [
            ("subject", "GET", records + "?limit=100", None), ("subject", "GET", f"{records}/{subject.records[0]}", None),
            ("subject", "GET", f"{records}/{subject.records[0]}/versions", None),
            ("subject", "GET", f"/v1/subjects/{subject.subject}/grants", None), ("service", "GET", records + "?limit=100", None),
            ("officer", "POST", "/v1/lookup", {"type": "contact", "field": "/email", "value": ADA["email"]}),
            ("officer", "GET", "/v1/activities", None), ("officer", "GET", "/v1/types/contact", None),
            ("operator", "GET", "/v1/principals?limit=100", None), ("auditor", "GET", "/v1/audit?limit=50", None),
            ("subject", "POST", records, {"type": "contact", "data": {"name": "Written after"}}),
        ]
        self.purpose, self.records = world.activity, records
        self.right = {}
        for question in self.questions[:-1]:
            answer = self.ask(self.askers[question[0]].client, question)
            assert answer.status_code == 200, answer.text
            self.right[question[:3]] = answer.json()

    def ask(self, client, question):
        name, method, path, body = question
        head = client.credentials()
        if name == "service":
            head["Access-Purpose"] = self.purpose
        answer = client.raw(method, path, headers=head, json_body=body, check=False)
        if "access-token" in answer.headers:
            client.token = answer.headers["access-token"]
        return answer

    def keep(self, folder):
        for asker in self.askers.values():
            asker.keep()
        shutil.copytree(self.vault.data, folder)
        self.folder = folder
        return self


def make(vault):
    world = World(vault)
    subject = world.subject
    world.grant(subject)
    path = f"/v1/subjects/{subject.subject}/records"
    lines = "".join('{"type":"contact","subject":"%s","data":{"name":"Person %d","notes":"%s"}}\n' % (subject.subject, n, chr(97 + n % 26) * 900)
                    for n in range(60))
    world.grant(subject, actions=("write",))
    assert all(r["status"] == 201 for r in world.service.imports(lines.encode(), purpose=world.activity))
    long = subject.post(path, {"type": "contact", "data": {"name": "Long", "notes": "x" * 20000}}).json()
    subject.patch(f"{path}/{subject.records[0]}", {"data": {"phone": "1"}})
    subject.delete(f"{path}/{long['id']}")  # its pages are free now
    subject.post(path, {"type": "contact", "data": {"name": "Long", "notes": "y" * 15000}})
    for n in range(400):  # so that keys.db has inner pages too
        if n % 50 == 0:
            lines = b"".join(b'{"type":"contact","data":{"name":"Other %d"}}\n' % (n + i) for i in range(50))
            assert all(r["status"] == 201 for r in world.service.imports(lines))
    return world


@pytest.fixture(scope="module")
def sources(vault, tmp_path_factory):
    """The folder after a clean stop, and as a kill left it."""
    folder = tmp_path_factory.mktemp("sources")
    world = make(vault)
    vault.restart()
    clean = Source(vault, world)
    vault.stop()
    clean.keep(folder / "clean")
    vault.start()
    for n in range(12):
        world.service.post("/v1/subjects", {"records": [{"type": "contact", "data": {"name": f"Late {n}"}}]})
    killed = Source(vault, world)
    vault.server.kill()
    killed.keep(folder / "killed")
    vault.start()
    return {"clean": clean, "killed": killed}


# ---- damage ----

def pages_of(source, database, kind):
    """The numbers, from 0, of its pages of this kind."""
    clear = plain_files.plain(source.folder / database, plain_files.keys_of(source.folder)[database])
    bodies = [clear[FIRST + n * BODY] for n in range((len(clear) - FIRST) // BODY)]
    return [n for n, first in enumerate(bodies, 1) if KINDS.get(first, "other") == kind]


def flip(path, at, rng):
    with open(path, "r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ (1 << rng.randrange(8))]))


def copy_of(source, folder):
    vault = Vault.__new__(Vault)
    shutil.copytree(source.folder, folder)
    vault.binary, vault.data, vault.credentials, vault.secrets = source.vault.binary, folder, source.vault.credentials, []
    vault.server = Server(folder)
    return vault


def check_answer(source, question, answer, troubled):
    """Right, or a named error. A session whose answer was lost to damage may be refused from then on."""
    name = f"{question[1]} {question[2]}: {answer.status_code} {answer.text[:300]}"
    if answer.status_code >= 500:
        assert answer.headers["Content-Type"] == "application/problem+json", name
        assert answer.json()["type"].rsplit(":", 1)[1] in ("storage-corrupt", "storage-error"), name
        return True
    if answer.status_code == 401 and troubled:
        return True
    if question[1:3] == ("POST", source.records):
        assert answer.status_code == 201, name
    else:
        assert answer.status_code == 200 and answer.json() == source.right[question[:3]], name
    return False


def look_at(source, vault, database):
    """"refused", "named" in an answer, or "unseen"."""
    try:
        vault.server.start()
    except AssertionError:
        said = vault.server.log() + vault.server.errors()
        assert vault.server.process.returncode not in (0, None) and vault.server.process.returncode > 0, said
        assert database in said, said
        checked = run_tresor("serve", "--check", "--data", vault.data)
        assert checked.returncode != 0 and database in checked.stdout + checked.stderr, checked.stdout
        return "refused"
    clients = {name: asker.on(vault) for name, asker in source.askers.items()}
    troubled = {name: False for name in clients}
    for question in source.questions:
        answer = source.ask(clients[question[0]], question)
        troubled[question[0]] |= check_answer(source, question, answer, troubled[question[0]])
    assert vault.server.alive(), vault.server.errors()
    vault.server.kill()
    verified = run_tresor("audit", "verify", "--data", vault.data)
    if verified.returncode == 0:
        return "named" if any(troubled.values()) else "unseen"
    said = verified.stdout + verified.stderr
    assert database in said or (database == "audit.db" and "the audit log" in said), said
    return "named"


def damaged(source, tmp_path, database, file, at, rng):
    vault = copy_of(source, tmp_path / "damaged")
    flip(vault.data / file, at, rng)
    try:
        return look_at(source, vault, database)
    except AssertionError as fault:
        raise AssertionError(f"{file}, byte {at}: {fault}") from fault
    finally:
        if vault.server.alive():
            vault.server.kill()
        shutil.rmtree(vault.data)


# ---- the tests ----

def test_untouched_copies_answer_rightly(sources, tmp_path):
    for name, source in sources.items():
        vault = copy_of(source, tmp_path / name)
        assert look_at(source, vault, "") == "unseen"


@pytest.mark.parametrize("database", DATABASES)
@pytest.mark.parametrize("kind", ["first", "inner", "leaf", "other"])
def test_a_damaged_page(sources, tmp_path, database, kind):
    source, rng = sources["clean"], random.Random(f"{database} {kind}")
    pages = [0] if kind == "first" else pages_of(source, database, kind)
    if not pages and kind == "other":
        pytest.skip(f"{database} has no such page")
    assert pages, "every database has an inner page and a leaf beside its first one"
    seen = []
    for _ in range(ROUNDS):
        at = rng.choice(pages) * PAGE + rng.randrange(PAGE)
        seen.append(damaged(source, tmp_path, database, database, at, rng))
    print(f"{database}, {kind} pages: {len(pages)}; {', '.join(sorted(seen))}")
    if kind == "first":
        assert set(seen) == {"refused"}


@pytest.mark.parametrize("database", DATABASES)
def test_a_damaged_log(sources, tmp_path, database):
    """In its midst: the newest commit's frames may be what a power cut left of it."""
    source, rng = sources["killed"], random.Random(database)
    file = database + "-wal"
    content = (source.folder / file).read_bytes()
    salts = content[16:24]
    frames = [n for n in range((len(content) - HEAD) // FRAME) if content[HEAD + n * FRAME + 8:][:8] == salts]
    commits = [n for n in frames if content[HEAD + n * FRAME + 4:][:4] != bytes(4)]
    assert len(commits) > 6
    end = HEAD + (commits[-5] + 1) * FRAME
    places = [rng.randrange(HEAD, end) for _ in range(ROUNDS)] + [rng.randrange(HEAD)] * (ROUNDS > 1)
    seen = [damaged(source, tmp_path, database, file, at, rng) for at in places]
    print(f"{file}: {', '.join(seen)}")
    assert set(seen) == {"refused"}
