"""The rules of scripts/lint that clang-format and clang-tidy do not know. Prints file:line: message; exit 1 on errors.

Errors: layering of #include, file length, forbidden words, `co_await` not alone, skipped tests.
Reports only: functions over the habitual length, because now and then one long switch reads better than two halves.
"""
import ast
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
FILE_LINES = 600
FUNCTION_LINES = 70

# What each layer may include, besides itself. Everything below is spelt out, so that a new edge is a decision.
BELOW = {
    "base": set(),
    "http": {"base"},
    "forwarded": {"base"},
    "tls": {"base"},
    "net": {"base", "tls"},
    "fetch": {"base", "http", "tls", "net"},
    "acme": {"base", "http", "tls", "net", "fetch"},
    "config": {"base", "forwarded"},
    "import": {"base", "forwarded", "config"},
    "observe": {"base", "http"},
    "proxy": {"base", "http", "forwarded", "tls", "net", "config", "observe"},
}
# config for its toml.h: the doctor's data files are TOML.
BELOW["doctor"] = {"base", "http", "forwarded", "tls", "net", "config"}
# Shares: the edge's registry and the agent. fetch for what an agent asks by itself.
BELOW["tunnel"] = BELOW["proxy"] | {"proxy", "fetch"}
# What `lintel serve` is beside the data plane: certificates by themselves, reload, the admin socket, metrics.
BELOW["serve"] = BELOW["proxy"] | {"proxy", "fetch", "acme", "tunnel"}
BELOW["dev"] = BELOW["proxy"] | {"proxy", "doctor"}
# `lintel share`: what dev does for an app, with an agent instead of a listener; serve for the
# certificates of sealed shares.
BELOW["share"] = BELOW["dev"] | BELOW["serve"] | {"dev", "serve"}
BELOW["cli"] = BELOW["share"] | BELOW["serve"] | {"share", "serve", "import"}

# Split, so that this file does not find itself.
FORBIDDEN = [re.compile(pattern) for pattern in (
    r"\bTO" r"DO\b", r"\bFIX" r"ME\b", r"\bX" r"XX\b", r"\bHA" r"CK\b",
    r"(^|[^A-Za-z0-9_.])/(wo" r"rk|fa" r"rm|ro" r"ot|ho" r"me)/[a-z.]", r"\.\./sha" r"red", r"\.lib" r"rary\b")]
SKIPPED = [re.compile(pattern) for pattern in (
    r"GTEST_" r"SKIP", r"\bDISABLED" r"_", r"unittest\.sk" r"ip", r"\bskip" r"Test\(", r"pytest\.mark\.sk" r"ip")]

TEXT = {".cc", ".h", ".py", ".js", ".mjs", ".ts", ".md", ".toml", ".txt", ".cmake", ".json", ".html", ".yml", ".sh", ""}
CODE = {".cc", ".h", ".py", ".js", ".mjs", ".ts"}
CO_AWAIT = re.compile(r"^(co_return |auto&{0,2} \[[\w, ]+\] = |((static |const )*[\w:<>,*& ]+[&* ])?[\w\[\].>\-()*]+ = )?co_await [^{}?]*;$")
LAMBDA = re.compile(r"\[[^\]]*\]\s*(\(|\{|mutable)")


def files():
    for folder in ("src", "tests", "fuzz", "bench", "docs", "examples", "scripts", ".ci", "packaging", "cmake", "data",
                   "library", "python"):
        for path in sorted((ROOT / folder).rglob("*")):
            if not path.is_file() or path.suffix not in TEXT or "corpus" in path.parts or "node_modules" in path.parts:
                continue
            if "__pycache__" not in path.parts and "out" not in path.parts:
                yield path
    yield from sorted(p for p in ROOT.iterdir() if p.is_file() and p.suffix in TEXT and not p.name.startswith(".git"))


def without_comments(text):
    """C++ text with comments and string contents blanked, lines kept."""
    pattern = re.compile(r'//[^\n]*|/\*.*?\*/|R"(\w*)\(.*?\)\1"|"(\\.|[^"\\\n])*"', re.S)

    def blank(match):
        found = match.group(0)
        return re.sub(r"[^\n]", " ", found) if found.startswith("/") else '""' + "\n" * found.count("\n")
    return pattern.sub(blank, text)


def check_includes(name, text):
    parts = pathlib.PurePath(name).parts
    if parts[0] != "src" or len(parts) < 3:
        return
    layer = parts[1]
    for number, line in enumerate(text.splitlines(), 1):
        match = re.match(r'#include "(\w+)/', line)
        if not match or match.group(1) == layer:
            continue
        if layer not in BELOW:
            yield number, f"layer {layer} is not in scripts/lint_rules.py"
        elif match.group(1) not in BELOW[layer]:
            yield number, f"layer {layer} may not include {match.group(1)}"


def check_co_await(text):
    clean = without_comments(text)
    start = 0
    for end in re.finditer(r"[;{}]", clean):
        # A statement ends at ';'; a '{' or '}' before it belongs to a block, or to braces inside the expression.
        if end.group(0) == ";":
            statement = clean[start:end.end()]
            if re.search(r"(?<!operator )\bco_await\b", statement):
                joined = " ".join(statement.split())
                joined = re.sub(r"^(?:(?:if|while|for) \((?:[^()]|\([^()]*\))*\) |else |case [\w:]+: |default: )+", "", joined)
                if not CO_AWAIT.match(joined) or LAMBDA.search(joined):
                    yield clean[:start + statement.index("co_await")].count("\n") + 1, f"co_await must stand alone: {joined[:100]}"
            start = end.end()
        elif not re.search(r"(?<!operator )\bco_await\b", clean[start:end.start()]):
            start = end.end()


def long_cpp_functions(text):
    lines = without_comments(text).splitlines()
    begin = None
    for index, line in enumerate(lines):
        if begin is None:
            head = re.match(r"^( {0,2})(?! )(?!namespace|class|struct|enum|union|extern|template|#|\}).*\{$", line)
            if head and ("(" in line or line.strip() == "{" or line.startswith("    ")):
                begin, indent = index, head.group(1)
        elif line.startswith(indent + "}"):
            if index - begin + 1 > FUNCTION_LINES:
                yield begin + 1, f"function of {index - begin + 1} lines (habit: {FUNCTION_LINES})"
            begin = None


def long_python_functions(text):
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            size = node.end_lineno - node.lineno + 1
            if size > FUNCTION_LINES:
                yield node.lineno, f"function {node.name} of {size} lines (habit: {FUNCTION_LINES})"


def errors_of(path, name, text):
    lines = text.splitlines()
    if path.suffix in CODE and len(lines) > FILE_LINES:
        yield 1, f"{len(lines)} lines (at most {FILE_LINES}: is one idea in it?)"
    for number, line in enumerate(lines, 1):
        for pattern in FORBIDDEN + SKIPPED:
            if pattern.search(line):
                yield number, f"forbidden: {pattern.search(line).group(0)}"
    if path.suffix in (".cc", ".h"):
        yield from check_includes(name, text)
        yield from check_co_await(text)


def main():
    failed = False
    for path in files():
        name = str(path.relative_to(ROOT))
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        for number, message in errors_of(path, name, text):
            print(f"{name}:{number}: error: {message}")
            failed = True
        long_functions = {".cc": long_cpp_functions, ".h": long_cpp_functions, ".py": long_python_functions}
        for number, message in long_functions.get(path.suffix, lambda _: ())(text):
            print(f"{name}:{number}: note: {message}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
