// What both clients run in: a page of jsdom's whose origin is the server, and a list of steps whose outcomes go to stdout
// as JSON. The test (test_clients.py) gives TRESOR_URL, TRESOR_UID, TRESOR_PASSWORD, TRESOR_SUBJECT and, in
// NODE_EXTRA_CA_CERTS, the server's own certificate.
import assert from 'node:assert/strict';
import {JSDOM} from 'jsdom';

export const given = {
  url: process.env.TRESOR_URL,
  uid: process.env.TRESOR_UID,
  password: process.env.TRESOR_PASSWORD,
  subject: process.env.TRESOR_SUBJECT,
};

// A page as a browser has it: same origin as the API, cookies and localStorage, no scripts of its own.
export function openPage() {
  return new JSDOM('<!doctype html><title>client</title>', {url: `${given.url}/`, pretendToBeVisual: true}).window;
}

// A request beside the client, with the headers given: what somebody who kept an old token would send.
export async function replay(path, credentials) {
  const response = await fetch(given.url + path, {headers: credentials});
  return {status: response.status, body: await response.json()};
}

export function assertSameUser(user) {
  assert.equal(user.uid, given.uid);
  assert.equal(user.email, given.uid);
  assert.equal(user.role, 'subject');
}

// Run the steps in order. A failed one ends the run, as the next ones stand on it.
export async function run(steps) {
  const outcomes = [];
  for (const [name, step] of steps) {
    try {
      await step();
      outcomes.push({step: name, ok: true});
    } catch (error) {
      outcomes.push({step: name, ok: false, why: String(error?.stack ?? JSON.stringify(error))});
      break;
    }
  }
  process.stdout.write(JSON.stringify(outcomes) + '\n', () => process.exit(0));
}
