"""What the WSGI and the ASGI middleware share."""
import logging
from functools import lru_cache
from http import HTTPStatus

from ._library import Engine, is_managed

log = logging.getLogger("lintel_forwarded")
managed = lru_cache(maxsize=1024)(is_managed)


def rule_of(trusted, source, accept, hops, client_header, scheme_header, scheme, preset, pass_headers, i_know):
    """The one rule that the keyword arguments of Forwarded describe, or none."""
    trusted = [trusted] if isinstance(trusted, str) else list(trusted)
    wanted = {"source": source, "accept": accept, "hops": hops, "client_header": client_header,
              "scheme_header": scheme_header, "scheme": scheme, "preset": preset}
    rule = {key: value for key, value in wanted.items() if value is not None}
    if not trusted and preset is None:
        if rule or pass_headers:
            raise ValueError(f"trusted: name the peers whose {', '.join(rule) or 'headers'} counts")
        return []
    rule["peers"] = trusted
    if pass_headers:
        rule["pass"] = pass_headers
    if i_know:
        rule["i_know"] = True
    return [rule]


class Policy:
    """The arguments that Forwarded and ForwardedASGI have in common, as an engine.

    `trusted`: addresses, prefixes and "unix" of the peers that may speak for the client; the other keys are those of
    [[trust]]. `rules`: several such blocks as dicts, instead. `served`: host names that are answered ("*.example" too);
    empty: every valid one. `public_ports`: ports that Host may name besides 80, 443 and the server's own.
    """

    def __init__(self, app, trusted=(), source=None, accept=None, hops=None, client_header=None, scheme_header=None,
                 scheme=None, preset=None, pass_headers=(), i_know=False, rules=None, served=(), public_ports=(),
                 emit=()):
        one = rule_of(trusted, source, accept, hops, client_header, scheme_header, scheme, preset, pass_headers, i_know)
        if one and rules is not None:
            raise ValueError("rules: give either rules or trusted and its companions")
        self.app = app
        self.engine = Engine(one if rules is None else rules, served, public_ports, emit)


def answer_of(refused, peer):
    """Logs the refusal; returns status, phrase, headers and body of the answer."""
    log.warning("refused a request of peer %s: %s%s: %s", peer or "unix", refused.code,
                f" in {refused.field}" if refused.field else "", refused.message)
    phrase = HTTPStatus(refused.status).phrase
    body = f"{refused.status} {phrase} ({refused.code})\n{refused.message}\n".encode()
    headers = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body))),
               ("X-Lintel-Error", refused.code)]
    return refused.status, phrase, headers, body
