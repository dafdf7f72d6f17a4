// An S3 store for tests: s3rver keeps the objects; this front serves TLS, checks every Signature Version 4 by itself, knows what s3rver does not
// (ending and listing uploads in parts), and fails when it is told to.
//
//   node serve.mjs FOLDER BUCKET CERT KEY   prints {"port","control"}; both on 127.0.0.1; ends with its standard input
//
// The control port, plain HTTP: POST /faults [{mode, times, method, match}], of which the first that fits a request is played: "503", "429", "hang"
// (until the connection ends), "cut" (in the middle of the body, sent or received); times is how often, -1 always. POST /versions {on}: answers as a
// bucket with versions. POST /page {size}: so many names on a page of a list. GET /log: the requests, with what came of each. DELETE /log.
import {createHash, createHmac, timingSafeEqual} from 'node:crypto';
import {readFileSync} from 'node:fs';
import {rm} from 'node:fs/promises';
import http from 'node:http';
import https from 'node:https';
import path from 'node:path';
import S3rver from 's3rver';

const ACCESS = 'S3RVER', SECRET = 'S3RVER';
const [folder, bucket, cert, key] = process.argv.slice(2);
const state = {faults: [], log: [], uploads: new Map(), versions: false, page: 0};

const sha256 = bytes => createHash('sha256').update(bytes).digest('hex');
const hmac = (secret, text) => createHmac('sha256', secret).update(text).digest();
const xml = text => String(text).replace(/[<>&"]/g, c => `&#${c.charCodeAt(0)};`);

// ---- Signature Version 4 (AWS General Reference) ----
const encode = text => encodeURIComponent(text).replace(/[!'()*]/g, c => '%' + c.charCodeAt(0).toString(16).toUpperCase());

function fault(request, body) { // what is wrong with the signature, or null
    const given = /^AWS4-HMAC-SHA256 Credential=([^/]+)\/(\d{8})\/([^/]+)\/s3\/aws4_request, *SignedHeaders=([^,]+), *Signature=([0-9a-f]{64})$/
        .exec(request.headers.authorization ?? '');
    if (!given) return 'AccessDenied';
    const [, access, day, region, signed, signature] = given;
    if (access !== ACCESS) return 'InvalidAccessKeyId';
    const names = signed.split(';'), time = request.headers['x-amz-date'] ?? '';
    for (const name of Object.keys(request.headers).filter(n => n === 'host' || n.startsWith('x-amz-')))
        if (!names.includes(name)) return 'AccessDenied';
    if (names.some(name => !(name in request.headers))) return 'SignatureDoesNotMatch';
    if (request.headers['x-amz-content-sha256'] !== sha256(body)) return 'XAmzContentSHA256Mismatch';
    const at = Date.parse(time.replace(/^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/, '$1-$2-$3T$4:$5:$6Z'));
    if (!(Math.abs(Date.now() - at) < 900000) || !time.startsWith(day)) return 'RequestTimeTooSkewed';
    const url = new URL(request.url, 'http://x');
    const query = [...url.searchParams].map(([n, v]) => `${encode(n)}=${encode(v)}`).sort().join('&');
    const canonical = [request.method, decodeURIComponent(url.pathname).split('/').map(encode).join('/'), query,
        ...names.map(n => `${n}:${request.headers[n].trim().replace(/ +/g, ' ')}`), '', signed,
        request.headers['x-amz-content-sha256']].join('\n');
    const scope = `${day}/${region}/s3/aws4_request`;
    const secret = [region, 's3', 'aws4_request'].reduce(hmac, hmac('AWS4' + SECRET, day));
    const wanted = hmac(secret, ['AWS4-HMAC-SHA256', time, scope, sha256(canonical)].join('\n'));
    return timingSafeEqual(wanted, Buffer.from(signature, 'hex')) ? null : 'SignatureDoesNotMatch';
}

// ---- answers ----
function refuse(response, status, code) {
    const text = `<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>${code}</Code><Message>told to</Message></Error>`;
    response.writeHead(status, {'content-type': 'application/xml', 'content-length': Buffer.byteLength(text)});
    response.end(text);
}

function listUploads(response, prefix) {
    const all = [...state.uploads].filter(([, name]) => name.startsWith(prefix))
        .map(([id, name]) => `<Upload><Key>${xml(name)}</Key><UploadId>${id}</UploadId></Upload>`);
    response.writeHead(200, {'content-type': 'application/xml'});
    response.end(`<ListMultipartUploadsResult><IsTruncated>false</IsTruncated>${all.join('')}</ListMultipartUploadsResult>`);
}

async function endUpload(response, id) {
    if (!state.uploads.delete(id)) return refuse(response, 404, 'NoSuchUpload');
    await rm(path.join(folder, bucket, '._S3rver_uploads', id), {recursive: true, force: true});
    response.writeHead(204);
    response.end();
}

// Of the names that s3rver lists, a page.
function cutPage(text) {
    const all = text.match(/<Contents>.*?<\/Contents>/gs) ?? [];
    if (!state.page || all.length <= state.page) return Buffer.from(text);
    const last = /<Key>(.*?)<\/Key>/.exec(all[state.page - 1])[1];
    for (const one of all.slice(state.page)) text = text.replace(one, '');
    return Buffer.from(text.replace('<IsTruncated>false', `<NextContinuationToken>${Buffer.from(last).toString('base64')}</NextContinuationToken><IsTruncated>true`));
}

function pass(request, body, response, cut, done) {
    const url = new URL(request.url, 'http://x');
    const listed = request.method === 'GET' && url.searchParams.has('list-type');
    const token = url.searchParams.get('continuation-token');
    if (token) { // s3rver's own needs an OpenSSL of the past
        url.searchParams.delete('continuation-token');
        url.searchParams.set('start-after', Buffer.from(token, 'base64').toString());
    }
    const headers = {...request.headers};
    delete headers.expect;
    const inner = http.request({host: '127.0.0.1', port: store.port, method: request.method, path: url.pathname + url.search, headers}, answer => {
        const parts = [];
        answer.on('data', part => parts.push(part));
        answer.on('end', () => {
            const bytes = listed ? cutPage(Buffer.concat(parts).toString()) : Buffer.concat(parts);
            const name = decodeURIComponent(url.pathname).split('/').slice(2).join('/');
            if (answer.statusCode === 200 && url.searchParams.has('uploads'))
                state.uploads.set(/<UploadId>([^<]+)/.exec(bytes.toString())[1], name);
            if (answer.statusCode === 200 && request.method === 'POST') state.uploads.delete(url.searchParams.get('uploadId'));
            const head = {...answer.headers};
            if (listed) head['content-length'] = bytes.length;
            if (state.versions && request.method === 'PUT') head['x-amz-version-id'] = 'v' + state.log.length;
            response.writeHead(answer.statusCode, head);
            done(answer.statusCode);
            if (!cut) return response.end(bytes);
            response.write(bytes.subarray(0, bytes.length / 2));
            setImmediate(() => response.destroy());
        });
    });
    inner.on('error', () => response.destroy());
    inner.end(body);
}

function chooseFault(request) {
    const one = state.faults.find(f => f.times !== 0 && (!f.method || f.method === request.method) && (!f.match || request.url.includes(f.match)));
    if (one && one.times > 0) one.times--;
    return one?.mode;
}

// ---- the front ----
const front = https.createServer({cert: readFileSync(cert), key: readFileSync(key)}, (request, response) => {
    const mode = chooseFault(request);
    const entry = {method: request.method, url: request.url, fault: mode ?? null, bytes: 0, status: null};
    const parts = [];
    state.log.push(entry);
    if (mode === 'hang') return;
    request.on('error', () => {});
    request.on('data', part => {
        parts.push(part);
        entry.bytes += part.length;
        if (mode === 'cut') request.destroy();
    });
    request.on('end', async () => {
        const body = Buffer.concat(parts), url = new URL(request.url, 'http://x');
        response.on('finish', () => { entry.status = response.statusCode; });
        const wrong = fault(request, body);
        if (wrong) return refuse(response, 403, wrong);
        if (mode === '503') return refuse(response, 503, 'SlowDown');
        if (mode === '429') return refuse(response, 429, 'TooManyRequests');
        if (request.method === 'GET' && url.searchParams.has('uploads')) return listUploads(response, url.searchParams.get('prefix') ?? '');
        if (request.method === 'DELETE' && url.searchParams.has('uploadId')) return endUpload(response, url.searchParams.get('uploadId'));
        pass(request, body, response, mode === 'cut', status => { entry.status = status; });
    });
});

// ---- control ----
const control = http.createServer((request, response) => {
    const parts = [];
    request.on('data', part => parts.push(part));
    request.on('end', () => {
        const body = parts.length ? JSON.parse(Buffer.concat(parts)) : null;
        if (request.url === '/faults') state.faults = body;
        else if (request.url === '/versions') state.versions = body.on;
        else if (request.url === '/page') state.page = body.size;
        else if (request.method === 'DELETE') state.log = [];
        response.end(JSON.stringify(request.method === 'GET' ? {log: state.log, uploads: [...state.uploads.values()]} : {}));
    });
});

const store = {server: new S3rver({address: '127.0.0.1', port: 0, silent: true, directory: folder, vhostBuckets: false, configureBuckets: [{name: bucket}]})};
store.port = (await store.server.run()).port;
const listen = server => new Promise(done => server.listen(Number(process.env.FAKE_S3_PORT ?? 0) * (server === front), '127.0.0.1', () => done(server.address().port)));
console.log(JSON.stringify({port: await listen(front), control: await listen(control)}));
process.stdin.on('end', () => process.exit(0)).resume();
