"""ASGI middleware (FastAPI, Starlette, Django ASGI, any ASGI app), for HTTP and WebSocket."""
from ._common import Policy, answer_of, managed
from ._library import Fix, Refused

WEBSOCKET = {"http": "ws", "https": "wss"}


def _plain(scheme):
    return {"ws": "http", "wss": "https"}.get(scheme, scheme)


def _peer(scope):
    client = scope.get("client")
    return client[0] or "" if client else ""


def _hosts(headers):
    return [value for name, value in headers if name.lower() == b"host"]


def _is_alias(name):
    """A managed name that is not spelled with hyphens, as no proxy writes it."""
    return (b"_" in name or b"." in name) and managed(name)


async def _refuse(refused, scope, receive, send):
    status, _, headers, body = answer_of(refused, _peer(scope))
    headers = [(name.lower().encode(), value.encode()) for name, value in headers]
    kind = "http.response"
    if scope["type"] == "websocket":
        await receive()
        if "websocket.http.response" not in (scope.get("extensions") or {}):
            await send({"type": "websocket.close", "code": 1008})
            return
        kind = "websocket.http.response"
    await send({"type": kind + ".start", "status": status, "headers": headers})
    await send({"type": kind + ".body", "body": body})


class ProxyFixASGI:
    """lintel_forwarded.ProxyFix for ASGI: `trusted` peers may set client, scheme, Host, server and root_path by the same
    headers and counts. Of any other peer the headers that apps believe are removed."""

    def __init__(self, app, trusted, x_for=1, x_proto=1, x_host=0, x_port=0, x_prefix=0, i_know=False):
        self.app = app
        self.fix = Fix(trusted, x_for, x_proto, x_host, x_port, x_prefix, i_know)

    async def __call__(self, scope, receive, send):
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers = list(scope["headers"])
        peer = _peer(scope)
        if not self.fix.trusts(peer):
            headers = [(name, value) for name, value in headers if not managed(name)]
            await self.app(dict(scope, headers=headers), receive, send)
            return
        headers = [(name, value) for name, value in headers if not _is_alias(name)]
        given = _variables(scope, headers)
        fields = [(name, value) for name, value in headers if name.lower().startswith(b"x-forwarded-")]
        try:
            fixed = self.fix.apply(given, fields)
        except Refused as refused:
            await _refuse(refused, scope, receive, send)
            return
        await self.app(_fixed_scope(scope, headers, given, fixed), receive, send)


def _variables(scope, headers):
    client, server = scope.get("client") or ("", 0), scope.get("server") or ("", None)
    texts = (client[0] or "", str(client[1] or ""), _plain(scope.get("scheme", "http")), (_hosts(headers) or [b""])[0],
             server[0] or "", str(server[1] or ""), scope.get("root_path", ""))
    return [text if isinstance(text, bytes) else text.encode("latin-1", "replace") for text in texts]


def _fixed_scope(scope, headers, given, fixed):
    addr, port, scheme, host, server_name, server_port, root_path = (
        after if after.encode("latin-1") != before else None for before, after in zip(given, fixed))
    changed = dict(scope, headers=headers)
    if addr is not None or port is not None:
        changed["client"] = (fixed.remote_addr, int(fixed.remote_port or 0))
    if scheme is not None:
        changed["scheme"] = WEBSOCKET[scheme] if scope["type"] == "websocket" else scheme
    if host is not None:
        changed["headers"] = [(name, value) for name, value in headers if name.lower() != b"host"]
        changed["headers"].append((b"host", host.encode("latin-1")))
    if server_name is not None or server_port is not None:
        changed["server"] = (fixed.server_name, int(fixed.server_port) if fixed.server_port.isdigit() else None)
    if root_path is not None:
        changed["root_path"] = root_path
    return changed


class ForwardedASGI(Policy):
    """lintel_forwarded.Forwarded for ASGI: client, scheme, Host, server and root_path speak of the client;
    scope["lintel.identity"] has the Identity."""

    async def __call__(self, scope, receive, send):
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        peer, client = _peer(scope), scope.get("client") or ("", 0)
        headers = list(scope["headers"])
        hosts = _hosts(headers)
        try:
            if len(hosts) > 1:
                raise Refused(400, "host-duplicate", "Host", "The request has more than one Host field.")
            identity = self.engine.identify(peer, headers, hosts[0] if hosts else b"",
                                            https=_plain(scope.get("scheme", "http")) == "https",
                                            peer_port=client[1] or 0, local_port=_server_port(scope))
        except Refused as refused:
            await _refuse(refused, scope, receive, send)
            return
        headers = [(name, value) for name, value in headers
                   if name.lower() != b"host" and not self.engine.removes(peer, name)]
        headers.append((b"host", identity.authority.encode()))
        headers += [(name.lower().encode(), value.encode()) for name, value in identity.headers]
        changed = dict(scope, headers=headers, server=(identity.host, identity.port))
        changed["scheme"] = WEBSOCKET[identity.scheme] if scope["type"] == "websocket" else identity.scheme
        changed["lintel.identity"] = identity
        if identity.client:
            changed["client"] = (identity.client, identity.client_port or 0)
        if identity.prefix:
            changed["root_path"] = identity.prefix
        await self.app(changed, receive, send)


def _server_port(scope):
    server = scope.get("server")
    return server[1] or 0 if server else 0
