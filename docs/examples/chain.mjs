const {TRESOR_URL: url, TRESOR_UID: uid, TRESOR_PASSWORD: password} = process.env; // NODE_EXTRA_CA_CERTS has the certificate
let chain = {};

async function call(method, path, body) {
  const headers = body ? {...chain, 'content-type': 'application/json'} : chain;
  const answer = await fetch(url + path, {method, headers, body: body && JSON.stringify(body)});
  for (const h of ['access-token', 'client', 'uid']) if (answer.headers.has(h)) chain[h] = answer.headers.get(h);
  if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status}`);
  return answer.json();
}

await call('POST', '/v1/auth/sign_in', {uid, password});
console.log((await call('GET', '/v1/auth/validate_token')).data.role);
console.log((await call('GET', '/v1/types')).items[0].name);
