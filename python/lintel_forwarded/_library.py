"""The C interface of liblintel_forwarded.so (lintel_forwarded.h) by ctypes. Use the classes of the package instead."""
import ctypes
import os
import pathlib
from array import array
from itertools import accumulate
from typing import NamedTuple, Optional

ABI = 1
(ERROR, FIELD, MESSAGE, CLIENT, SCHEME, HOST, AUTHORITY, PREFIX, REMOTE_ADDR, REMOTE_PORT, URL_SCHEME, HTTP_HOST,
 SERVER_NAME, SERVER_PORT, SCRIPT_NAME) = range(15)
TRUSTED, CLIENT_HIDDEN, CLIENT_PORT, PORT = range(4)
ROW_CELLS, ANSWER_CELLS = 12, 9


class Text(ctypes.Structure):
    _fields_ = [("data", ctypes.c_char_p), ("size", ctypes.c_size_t)]


class ResultText(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("size", ctypes.c_size_t)]


class Field(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("name_size", ctypes.c_size_t),
                ("value", ctypes.c_char_p), ("value_size", ctypes.c_size_t)]


class ResultField(ctypes.Structure):
    _fields_ = [("name", ResultText), ("value", ResultText)]


class Request(ctypes.Structure):
    _fields_ = [("peer", Text), ("peer_port", ctypes.c_uint16), ("local_port", ctypes.c_uint16),
                ("https", ctypes.c_int), ("host", Text), ("fields", ctypes.POINTER(Field)),
                ("field_count", ctypes.c_size_t)]


class Variables(ctypes.Structure):
    _fields_ = [(name, Text) for name in ("remote_addr", "remote_port", "url_scheme", "http_host", "server_name",
                                          "server_port", "script_name")]


def _load():
    path = os.environ.get("LINTEL_FORWARDED_LIBRARY") or str(
        pathlib.Path(__file__).with_name("liblintel_forwarded.so"))
    library = ctypes.CDLL(path)
    pointer, number, size = ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t
    signatures = {
        "version": (ctypes.c_char_p,),
        "abi": (number,),
        "options_new": (pointer,),
        "options_free": (None, pointer),
        "options_add": (number, pointer, ctypes.c_char_p, ctypes.c_char_p),
        "options_error": (ctypes.c_char_p, pointer),
        "engine_new": (pointer, pointer),
        "engine_free": (None, pointer),
        "identify": (pointer, pointer, ctypes.POINTER(Request)),
        "removes": (number, pointer, Text, Text),
        "is_managed": (number, Text),
        "fix_new": (pointer, pointer),
        "fix_free": (None, pointer),
        "fix_apply": (pointer, pointer, ctypes.POINTER(Variables), ctypes.POINTER(Field), size),
        "fix_trusts": (number, pointer, Text),
        "fix_rows": (size, pointer, ctypes.c_char_p, pointer, size, pointer, size, pointer),
        "result_free": (None, pointer),
        "result_status": (number, pointer),
        "result_text": (ResultText, pointer, number),
        "result_number": (number, pointer, number),
        "result_headers": (size, pointer),
        "result_header": (ResultField, pointer, size),
    }
    for name, (result, *arguments) in signatures.items():
        function = getattr(library, "lintel_forwarded_" + name)
        function.restype, function.argtypes = result, arguments
        setattr(library, name, function)
    if library.abi() != ABI:
        raise ImportError(f"{path} has interface {library.abi()}, this package needs {ABI}")
    return library


_c = _load()


def version() -> str:
    return _c.version().decode()


def _text(value: bytes) -> Text:
    return Text(value, len(value))


def _string(text) -> str:
    return ctypes.string_at(text.data, text.size).decode("latin-1")


def _fields(pairs):
    array_of = (Field * len(pairs))()
    for field, (name, value) in zip(array_of, pairs):
        field.name, field.name_size, field.value, field.value_size = name, len(name), value, len(value)
    return array_of


def is_managed(name: bytes) -> bool:
    """Is this a header that only a trusted proxy may set, in any spelling?"""
    return _c.is_managed(_text(name)) != 0


class Refused(Exception):
    """The request must not be served: answer with `status` and, as X-Lintel-Error, `code`."""

    def __init__(self, status: int, code: str, field: str, message: str):
        super().__init__(f"{code}: {field}: {message}" if field else f"{code}: {message}")
        self.status, self.code, self.field, self.message = status, code, field, message


class Identity(NamedTuple):
    """Who the client is. `peer` is whom the socket is connected to."""
    client: str
    client_port: Optional[int]
    client_hidden: bool
    scheme: str
    host: str
    authority: str
    port: int
    prefix: str
    peer: str
    trusted: bool
    headers: tuple  # of (name, value): what an app is to get in place of the removed ones


class Fixed(NamedTuple):
    """What ProxyFix says; None where it changes nothing."""
    remote_addr: str
    remote_port: str
    url_scheme: str
    http_host: str
    server_name: str
    server_port: str
    script_name: str
    trusted: bool
    client_hidden: bool


def _options(pairs):
    options = _c.options_new()
    if not options:
        raise MemoryError
    for key, value in pairs:
        if _c.options_add(options, key.encode(), str(value).encode()) != 0:
            message = _c.options_error(options).decode()
            _c.options_free(options)
            raise ValueError(message)
    return options


def _made(make, pairs):
    options = _options(pairs)
    try:
        made = make(options)
        if not made:
            raise ValueError(_c.options_error(options).decode() or "out of memory")
        return made
    finally:
        _c.options_free(options)


def _as_list(value):
    return [value] if isinstance(value, str) else list(value)


class _Result:
    """A result for the length of a with block; raises Refused."""

    def __init__(self, handle):
        if not handle:
            raise MemoryError
        self.handle = handle

    def __enter__(self):
        status = _c.result_status(self.handle)
        if status != 200:
            refused = Refused(status, self.text(ERROR), self.text(FIELD), self.text(MESSAGE))
            _c.result_free(self.handle)
            raise refused
        return self

    def __exit__(self, *_):
        _c.result_free(self.handle)

    def text(self, which):
        return _string(_c.result_text(self.handle, which))

    def number(self, which):
        return _c.result_number(self.handle, which)

    def headers(self):
        lines = (_c.result_header(self.handle, i) for i in range(_c.result_headers(self.handle)))
        return tuple((_string(line.name), _string(line.value)) for line in lines)


RULE_KEYS = ("source", "hops", "client_header", "scheme_header", "scheme", "preset")


class Engine:
    """The trust engine. Immutable; any thread may use it.

    `rules`: dicts with the keys of [[trust]] (peers, source, accept, hops, client_header, scheme_header, scheme, preset,
    pass, i_know); the first whose peers match decides.
    """

    def __init__(self, rules=(), served=(), public_ports=(), emit=()):
        pairs = []
        for rule in rules:
            pairs.append(("rule", ""))
            for key, value in rule.items():
                if key in ("peers", "pass"):
                    pairs += [(key, item) for item in _as_list(value)]
                elif key == "accept":
                    pairs += [(key, item) for item in _as_list(value)] or [(key, "")]
                elif key == "i_know":
                    pairs.append((key, "true" if value else "false"))
                elif key in RULE_KEYS:
                    pairs.append((key, value))
                else:
                    raise ValueError(f"unknown key {key!r} of a rule")
        pairs += [("served", name) for name in _as_list(served)]
        pairs += [("public_port", port) for port in public_ports]
        pairs += [("emit", name) for name in _as_list(emit)]
        self._handle = _made(_c.engine_new, pairs)

    def __del__(self):
        if getattr(self, "_handle", None):
            _c.engine_free(self._handle)

    def identify(self, peer: str, fields, host: bytes, https=False, peer_port=0, local_port=0) -> Identity:
        """`fields`: pairs of bytes in order. Raises Refused."""
        fields = list(fields)
        lines = _fields(fields)
        request = Request(_text(peer.encode("latin-1", "replace")), peer_port, local_port, bool(https), _text(host),
                          lines, len(fields))
        with _Result(_c.identify(self._handle, ctypes.byref(request))) as result:
            return Identity(result.text(CLIENT), result.number(CLIENT_PORT) or None,
                            bool(result.number(CLIENT_HIDDEN)), result.text(SCHEME), result.text(HOST),
                            result.text(AUTHORITY), result.number(PORT), result.text(PREFIX), peer,
                            bool(result.number(TRUSTED)), result.headers())

    def removes(self, peer: str, name: bytes) -> bool:
        """Must a line of this name be removed before the app reads the request?"""
        return _c.removes(self._handle, _text(peer.encode("latin-1", "replace")), _text(name)) != 0


class Fix:
    """Werkzeug's ProxyFix with a peer check and validation. Immutable; any thread may use it."""

    def __init__(self, trusted, x_for=1, x_proto=1, x_host=0, x_port=0, x_prefix=0, i_know=False):
        pairs = [("trusted", peer) for peer in _as_list(trusted)]
        pairs += [("x_for", x_for), ("x_proto", x_proto), ("x_host", x_host), ("x_port", x_port),
                  ("x_prefix", x_prefix), ("i_know", "true" if i_know else "false")]
        self._handle = _made(_c.fix_new, pairs)

    def __del__(self):
        if getattr(self, "_handle", None):
            _c.fix_free(self._handle)

    def trusts(self, peer: str) -> bool:
        return _c.fix_trusts(self._handle, _text(peer.encode("latin-1", "replace"))) != 0

    def apply(self, variables, fields) -> Fixed:
        """`variables`: seven bytes, remote_addr first, as in Fixed; `fields`: pairs of bytes. Raises Refused."""
        fields = list(fields)
        given = Variables(*map(_text, variables))
        with _Result(_c.fix_apply(self._handle, ctypes.byref(given), _fields(fields), len(fields))) as result:
            texts = [result.text(which) for which in range(REMOTE_ADDR, SCRIPT_NAME + 1)]
            return Fixed(*texts, bool(result.number(TRUSTED)), bool(result.number(CLIENT_HIDDEN)))

    def apply_rows(self, cells) -> list:
        """Many recorded requests at once. `cells`: 12 bytes per request, the seven variables, then the values of
        X-Forwarded-For, -Proto, -Host, -Port and -Prefix. Returns 9 strings per request: the variables, the error's code
        and the field that it concerns, both "" when there is none."""
        rows, rest = divmod(len(cells), ROW_CELLS)
        if rest:
            raise ValueError(f"{ROW_CELLS} cells are needed for each request")
        text = b"".join(cells)
        ends = array("I", accumulate(map(len, cells)))
        # The seven variables at most twice over (HTTP_HOST and its parts), and a code and a field for each row.
        room = 4 * len(text) + 64 * rows + 64
        out, out_ends = ctypes.create_string_buffer(room), array("I", bytes(4 * rows * ANSWER_CELLS))
        done = _c.fix_rows(self._handle, text, ends.buffer_info()[0], rows, out, room, out_ends.buffer_info()[0])
        if done != rows:
            raise MemoryError
        answer = ctypes.string_at(out, out_ends[-1] if rows else 0).decode("latin-1")
        begin, result = 0, []
        for end in out_ends:
            result.append(answer[begin:end])
            begin = end
        return result
