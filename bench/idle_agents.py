"""Many idle agents on one edge, in one process: each dials, is welcomed, and from then on only acknowledges SETTINGS and
answers PING. Usage: idle_agents.py ADDRESS PORT DOMAIN COUNT CONNECTIONS; the token comes on the first line of stdin.
Prints {"ready": N}; ends when stdin does, and prints how many connections are still there."""

import asyncio
import base64
import json
import secrets
import ssl
import sys

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS, PING, ACK = 4, 6, 1
AT_ONCE = 16  # handshakes


def frame(kind, flags, payload=b""):
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + bytes(4) + payload


def encode(message):
    return base64.urlsafe_b64encode(json.dumps(message).encode()).decode().rstrip("=")


def decode(text):
    return json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))


class Agents:
    def __init__(self, address, port, domain, token):
        self.address, self.port, self.domain, self.token = address, port, domain, token
        self.alive, self.problems = 0, set()
        self.context = ssl.create_default_context()
        self.context.check_hostname, self.context.verify_mode = False, ssl.CERT_NONE
        self.context.minimum_version = ssl.TLSVersion.TLSv1_3
        self.context.set_alpn_protocols(["http/1.1"])
        self.places, self.tasks = asyncio.Semaphore(AT_ONCE), []

    async def connection(self, hello):
        """One connection until it is welcomed: the Welcome."""
        async with self.places:
            reader, writer = await asyncio.open_connection(self.address, self.port, ssl=self.context, server_hostname=self.domain)
            writer.write((f"GET /.well-known/lintel/agent HTTP/1.1\r\nHost: {self.domain}:{self.port}\r\nConnection: Upgrade\r\n"
                          f"Upgrade: lintel-tunnel/1\r\nAuthorization: Bearer {self.token}\r\nLintel-Hello: {encode(hello)}\r\n\r\n"
                          ).encode())
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        if not head.startswith("HTTP/1.1 101"):
            raise OSError(head[:200])
        fields = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
        writer.write(frame(SETTINGS, 0))
        self.tasks.append(asyncio.create_task(self.answer(reader, writer)))
        return decode(next(value for name, value in fields.items() if name.lower() == "lintel-welcome"))

    async def answer(self, reader, writer):
        self.alive += 1
        try:
            await reader.readexactly(len(PREFACE))
            while True:
                head = await reader.readexactly(9)
                payload = await reader.readexactly(int.from_bytes(head[:3], "big"))
                if head[3] in (SETTINGS, PING) and not head[4] & ACK:
                    writer.write(frame(head[3], ACK, payload if head[3] == PING else b""))
        except (asyncio.IncompleteReadError, OSError) as error:
            self.problems.add(f"{type(error).__name__}: {error}")
        finally:
            self.alive -= 1

    async def agent(self, number, connections):
        hello = {"version": 1, "kind": "http", "agent": secrets.token_hex(8), "name": f"idle-{number}", "session": "",
                 "generation": 0, "secret": "", "pool": False, "software": "bench/1"}
        try:
            welcome = await self.connection(hello)
            hello.update(session=welcome["session"], secret=welcome["secret"], name=welcome["name"])
            for _ in range(connections - 1):
                await self.connection(hello)
        except (OSError, asyncio.IncompleteReadError) as error:
            self.problems.add(f"{type(error).__name__}: {error}")


async def main():
    address, port, domain, count, connections = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4]), int(sys.argv[5])
    agents = Agents(address, port, domain, sys.stdin.readline().strip())
    await asyncio.gather(*(agents.agent(number, connections) for number in range(count)))
    report = lambda key: print(json.dumps({key: agents.alive, "problems": sorted(agents.problems)[:3]}), flush=True)
    report("ready")
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    report("alive")

asyncio.run(main())
