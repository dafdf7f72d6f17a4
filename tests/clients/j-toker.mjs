// j-toker 0.0.6 (jQuery), unchanged, from sign-in to sign-out.
import assert from 'node:assert/strict';
import {createRequire} from 'node:module';
import {assertSameUser, given, openPage, replay, run} from './page.mjs';

// jQuery and its plug-ins look for a page when they load.
const window = openPage();
Object.assign(globalThis, {window, document: window.document});
const require = createRequire(import.meta.url);
const $ = require('jquery');
require('j-toker');

const settled = (promise) => new Promise((resolve, reject) => promise.then(resolve, reject));
// (What jQuery rejects with is a promise itself, so it is wrapped.)
const refused = async (promise) => {
  const {answer} = await new Promise((resolve) => promise.then(() => resolve({}), (why) => resolve({answer: why})));
  assert.ok(answer, 'was not refused');
  return {status: answer.status, reason: answer.reason, body: answer.data ?? answer.responseJSON};
};
const stored = () => $.auth.retrieveData('authHeaders');
const configure = () => $.auth.configure({apiUrl: given.url, storage: 'localStorage'});
const used = [];

// Do something that makes one request, and see that it used up the token and brought another.
async function rotates(action) {
  const before = stored();
  used.push(before);
  const result = await action();
  const after = stored();
  assert.notEqual(after['access-token'], before['access-token']);
  assert.equal(after.client, before.client);
  assert.equal(after.uid, given.uid);
  assert.ok(Number(after.expiry) > Date.now() / 1000);
  return result;
}

await run([
  ['start without credentials', async () => {
    const answer = await refused(configure());
    assert.match(answer.reason, /no token found/);
  }],
  ['wrong password', async () => {
    const answer = await refused($.auth.emailSignIn({email: given.uid, password: 'not the password'}));
    assert.equal(answer.body.success, false);
    assert.equal(answer.body.errors.length, 1);
    assert.equal(stored(), null);
  }],
  ['sign in', async () => {
    const answer = await settled($.auth.emailSignIn({email: given.uid, password: given.password}));
    assertSameUser(answer.data);
    assertSameUser($.auth.user);
    assert.equal(stored()['token-type'], 'Bearer');
  }],
  ['validate', async () => assertSameUser(await rotates(() => settled($.auth.validateToken())))],
  ['call with the rotated token', async () => {
    const answer = await rotates(() => settled($.getJSON(`${given.url}/v1/subjects/${given.subject}/records`)));
    assert.ok(Array.isArray(answer.items));
  }],
  ['an error brings the next token too', async () => {
    const unknown = `${given.url}/v1/subjects/${given.subject}/records/01890000-0000-7000-8000-000000000000`;
    const answer = await rotates(() => refused($.getJSON(unknown)));
    assert.equal(answer.status, 404);
    assert.equal(answer.body.type, 'urn:tresor:problem:not-found');
  }],
  ['a new page goes on with the stored token', async () => {
    const kept = stored();
    $.auth.reset();
    window.localStorage.setItem('authHeaders', JSON.stringify(kept));
    await settled(configure());
    assertSameUser($.auth.user);
    assert.notEqual(stored()['access-token'], kept['access-token']);
  }],
  ['sign out', async () => {
    used.push(stored());
    const answer = await settled($.auth.signOut());
    assert.equal(answer.success, true);
    assert.equal(stored(), null);
  }],
  ['no used token works', async () => {
    for (const credentials of used) {
      const answer = await replay('/auth/validate_token', credentials);
      assert.equal(answer.status, 401);
      assert.equal(answer.body.success, false);
      assert.ok(answer.body.errors.length > 0);
    }
  }],
]);
