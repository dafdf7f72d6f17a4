"""What notices are sent to: a real HTTPS server and a real SMTP server on loopback, which fail, hang and answer late when told to."""
import asyncio
import base64
import datetime
import email
import email.policy
import hashlib
import hmac
import http.server
import ipaddress
import json
import socket
import ssl
import threading
import time

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tresor_client import UUID7


LOCAL = (x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1")))


def certificate(folder, name="receiver", names=LOCAL):
    """A self-signed certificate; (certificate, key)."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.utcnow()
    made = (x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
            .serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(days=2))
            .not_valid_after(now + datetime.timedelta(days=200))
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True).sign(key, hashes.SHA256()))
    paths = folder / f"{name}.pem", folder / f"{name}.key"
    paths[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                           serialization.NoEncryption()))
    return paths


def signature(secret, headers, body):
    """As a receiver computes it."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    text = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, text, hashlib.sha256).digest()).decode()


class Waiting:
    def __init__(self):
        self.changed = threading.Condition()
        self.got = []

    def take(self, item):
        with self.changed:
            self.got.append(item)
            self.changed.notify_all()

    def wait(self, wanted, seconds=30):
        """Until wanted(self.got) is true; answers it."""
        with self.changed:
            assert self.changed.wait_for(lambda: wanted(self.got), seconds), f"did not come: {len(self.got)} came: {self.got[-3:]}"
            return wanted(self.got)


class Message:
    def __init__(self, path, headers, body):
        self.path, self.headers, self.body = path, headers, body
        self.id = headers["webhook-id"]
        self.json = json.loads(body)
        self.at = time.time()


class Webhooks(Waiting):
    """Takes messages at any path. `behave[path]` is a list of what the next ones do, the last for good: a status, a
    (status, headers) pair, "hang", "close", "flood", or a number of seconds to wait as ("late", seconds)."""

    def __init__(self, folder, name="receiver", names=LOCAL):
        super().__init__()
        self.cert, key = certificate(folder, name, names)
        self.behave = {}
        self.released = threading.Event()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.cert, key)
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self):
                self.request.settimeout(60)
                self.request.do_handshake()
                super().setup()

            def do_POST(self):
                outer.answer(self, self.rfile.read(int(self.headers["Content-Length"])))

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads, request_queue_size = True, 128

            def get_request(self):  # the handshake is the handler's: one that hangs holds up no other
                connection, address = self.socket.accept()
                return context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False), address

            def handle_error(self, *_):
                pass

        self.server = Server(("127.0.0.1", 0), Handler)
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def url(self, path, host="127.0.0.1"):
        return f"https://{host}:{self.port}{path}"

    def next_step(self, path):
        with self.changed:
            steps = self.behave.get(path, [204])
            return steps.pop(0) if len(steps) > 1 else steps[0]

    def answer(self, handler, body):
        step = self.next_step(handler.path)
        status, headers = step if isinstance(step, tuple) and step[0] != "late" else (step, {})
        self.take(Message(handler.path, dict(handler.headers.items()), body))
        if step == "hang":
            self.released.wait(60)
            handler.close_connection = True
            return
        if step == "close":
            handler.close_connection = True
            return
        if isinstance(step, tuple) and step[0] == "late":
            time.sleep(step[1])
            status = 204
        if step == "flood":
            status = 200
            headers = {"Content-Length": str(10 ** 9)}
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        if step == "flood":
            handler.end_headers()
            while True:
                handler.wfile.write(b"x" * 65536)
        if status != 204:
            handler.send_header("Content-Length", "0")
        handler.end_headers()

    def of(self, path):
        with self.changed:
            return [m for m in self.got if m.path == path]

    def wait_for(self, path, count=1, seconds=30):
        return self.wait(lambda got: [m for m in got if m.path == path][count - 1:] and [m for m in got if m.path == path], seconds)

    def close(self):
        self.released.set()
        self.server.shutdown()
        self.server.server_close()


class Mails(Waiting):
    """A mail server with STARTTLS, which it insists on, and a login. `replies[address]` is a list of replies to RCPT, the last for good;
    a number before one is how many seconds it takes."""

    USER, PASSWORD = "tresor", "the mail server's own password"

    def __init__(self, folder):
        super().__init__()
        self.cert, key = certificate(folder, "mail")
        self.replies = {}
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.cert, key)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.controller = Controller(self, hostname="127.0.0.1", port=self.port, tls_context=context, require_starttls=True,
                                     auth_required=True, authenticator=self.check, auth_require_tls=True)
        self.controller.start()
        self.url = f"smtp://127.0.0.1:{self.port}"

    def check(self, server, session, envelope, mechanism, data):
        good = isinstance(data, LoginPassword) and data.login == self.USER.encode() and data.password == self.PASSWORD.encode()
        return AuthResult(success=good)

    async def handle_RCPT(self, server, session, envelope, address, options):
        steps = self.replies.get(address, ["250 OK"])
        reply = steps.pop(0) if len(steps) > 1 else steps[0]
        if isinstance(reply, tuple):
            await asyncio.sleep(reply[0])
            reply = reply[1]
        if reply.startswith("250"):
            envelope.rcpt_tos.append(address)
        return reply

    async def handle_DATA(self, server, session, envelope):
        assert session.ssl is not None
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        message.raw, message.recipients, message.sender = envelope.content, envelope.rcpt_tos, envelope.mail_from
        self.take(message)
        return "250 taken"

    def wait_to(self, address, count=1, seconds=30):
        return self.wait(lambda got: [m for m in got if m.recipients == [address]][count - 1:]
                         and [m for m in got if m.recipients == [address]], seconds)

    def close(self):
        self.controller.stop()


def check_message(message, secret, kind):
    """A webhook as the standard and the document say; answers its data."""
    assert UUID7.fullmatch(message.id) and message.headers["Content-Type"] == "application/json"
    assert abs(int(message.headers["webhook-timestamp"]) - message.at) < 10
    assert message.headers["webhook-signature"] == signature(secret, message.headers, message.body)
    assert set(message.json) == {"type", "timestamp", "data"} and message.json["type"] == "tresor." + kind
    assert set(message.json["data"]) == {"notice", "subject", "request", "details"}
    assert message.json["data"]["notice"] == message.id
    return message.json["data"]
