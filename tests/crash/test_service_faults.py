"""Each call that changes the data folder of a vault that serves fails in turn, the databases' and the keyring's: a named error or it
did not matter; the vault goes on with what it has answered and nothing else, opens again, and an erasure that has begun is finished.
"""
import collections

import pytest

from cli_tools import wait_until
from failing import FAULTS, FLAGS, Control, is_named
from tresor_client import ADA, Vault, World

MOST = 90  # what goes on in the background is seen too: there need be no end


class Served:
    def __init__(self, folder, library):
        backup = folder / "backup"
        backup.mkdir()
        self.vault = Vault(folder, *FLAGS, "--backup-dir", backup)
        self.control = Control(folder, library, self.vault.data.resolve())
        self.vault.server.env.update(self.control.env)
        self.world = World(self.vault.start())
        self.names = [ADA["name"]]
        self.victim = None

    def send(self, client, method, path, body=None):
        """The answer. A refusal carries a token too: the same one, when not even the refusal could be kept."""
        answer = client.raw(method, path, headers=client.credentials(), json_body=body)
        if answer.status_code >= 500:
            is_named(answer)
        if answer.headers.get("access-token", client.token) != client.token:
            client.take(answer)
        return answer

    def create(self, number):
        subject, name = self.world.subject, f"record {number}"
        answer = self.send(subject, "POST", f"/v1/subjects/{subject.subject}/records", {"type": "contact", "data": {**ADA, "name": name}})
        self.names += [name] if answer.ok else []
        return answer

    def rotate(self, number):
        return self.send(self.world.operator, "POST", "/v1/keys/rotate")

    def erase(self, number):
        """A person's own erasure; who was refused is there still."""
        answer = self.send(self.victim, "DELETE", f"/v1/subjects/{self.victim.subject}")
        self.victim = None if answer.ok else self.victim
        return answer

    def goes_on(self):
        """All that was answered is there, and nothing that was refused."""
        subject = self.world.subject
        there = [r["data"]["name"] for r in subject.pages(f"/v1/subjects/{subject.subject}/records", limit=100)]
        assert there == self.names
        if self.victim:
            there = self.send(self.victim, "GET", f"/v1/subjects/{self.victim.subject}").status_code
            assert there in (200, 401)  # its key is destroyed before the rest fails: then it is finished all the same
            self.victim = self.victim if there == 200 else None


@pytest.mark.parametrize("what", ["create", "rotate", "erase"])
@pytest.mark.parametrize("fault", FAULTS)
def test_each_change_fails_once(fail_at, tmp_path, fault, what):
    served = Served(tmp_path, fail_at)
    outcomes, failed, number = collections.Counter(), 1, 0
    while failed and number < MOST:
        number += 1
        if what == "erase" and not served.victim:
            served.victim = served.world.make_subject()
        served.control.fail(number, FAULTS[fault])
        answer = getattr(served, what)(number)
        _, failed = served.control.stop()
        outcomes[answer.status_code] += 1
        assert answer.ok or failed
        served.goes_on()
    assert outcomes[503] + outcomes[507] >= 2
    wait_until(lambda: served.world.officer.pages("/v1/requests?open=true", limit=100) == [], "the erasures")
    served.vault.stop()
    served.vault.server.env = {}
    served.vault.start()
    served.goes_on()
    assert served.vault.verify_audit()[0] == 0
    served.vault.stop()
    print(number, dict(outcomes))
