// angular-token 7 (Angular's HttpClient), unchanged, from sign-in to sign-out.
import assert from 'node:assert/strict';
import {createRequire} from 'node:module';
import {assertSameUser, given, openPage, replay, run} from './page.mjs';

const window = openPage();
Object.assign(globalThis, {window, document: window.document, localStorage: window.localStorage,
  XMLHttpRequest: window.XMLHttpRequest});
const require = createRequire(import.meta.url);
const {HttpClient, HttpXhrBackend} = require('@angular/common/http');
const {AngularTokenService, ɵb: Interceptor} = require('angular-token');

// Angular's own wiring (HttpClientModule, AngularTokenModule) without the compiler: the interceptor before the XHR backend.
// The cookie that XSRF protection would look for does not exist here.
function newPage() {
  const backend = new HttpXhrBackend({build: () => new window.XMLHttpRequest()});
  let interceptor;
  const http = new HttpClient({handle: (request) => interceptor.intercept(request, backend)});
  const service = new AngularTokenService(http, {apiBase: given.url}, 'browser', null, null);
  interceptor = new Interceptor(service);
  return {http, service};
}

let {http, service} = newPage();
const settled = (observable) => new Promise((resolve, reject) => observable.subscribe(resolve, reject));
const refused = (observable) => settled(observable).then(() => assert.fail('was not refused'), (answer) => answer);
const stored = () => ({'access-token': localStorage.getItem('accessToken'), client: localStorage.getItem('client'),
  uid: localStorage.getItem('uid'), expiry: localStorage.getItem('expiry')});
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

// The client subscribes to its own requests without an error handler; rxjs reports that on a timer.
process.on('uncaughtException', () => {});

await run([
  ['start without credentials', async () => assert.equal(service.userSignedIn(), false)],
  ['wrong password', async () => {
    const answer = await refused(service.signIn({login: given.uid, password: 'not the password'}));
    assert.equal(answer.status, 401);
    assert.equal(answer.error.success, false);
    assert.equal(answer.error.errors.length, 1);
    assert.equal(service.userSignedIn(), false);
  }],
  ['sign in', async () => {
    const answer = await settled(service.signIn({login: given.uid, password: given.password}));
    assertSameUser(answer.body.data);
    assertSameUser(service.currentUserData);
    assert.equal(service.userSignedIn(), true);
    assert.equal(service.currentAuthData.tokenType, 'Bearer');
  }],
  ['validate', async () => assertSameUser((await rotates(() => settled(service.validateToken()))).data)],
  ['call with the rotated token', async () => {
    const records = `${given.url}/v1/subjects/${given.subject}/records`;
    const answer = await rotates(() => settled(http.get(records)));
    assert.ok(Array.isArray(answer.items));
  }],
  ['an error brings the next token too', async () => {
    const unknown = `${given.url}/v1/subjects/${given.subject}/records/01890000-0000-7000-8000-000000000000`;
    const answer = await rotates(() => refused(http.get(unknown)));
    assert.equal(answer.status, 404);
    assert.equal(answer.error.type, 'urn:tresor:problem:not-found');
  }],
  ['a new page goes on with the stored token', async () => {
    ({http, service} = newPage());
    assertSameUser((await rotates(() => settled(service.validateToken()))).data);
  }],
  ['sign out', async () => {
    used.push(stored());
    const answer = await settled(service.signOut());
    assert.equal(answer.success, true);
    assert.equal(service.userSignedIn(), false);
    assert.equal(stored()['access-token'], null);
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
