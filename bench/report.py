"""The table on the terminal, the chart, and the generated parts of docs/performance.md."""

import html
import re
import sys

from proxies import TITLES

COLOURS = {"lintel": "#0b6e4f", "nginx": "#8a8f98", "haproxy": "#a9adb5", "h2o": "#c3c6cc", "caddy": "#d9dbdf"}
WIDTH = 11


def progress(text):
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def number(row, value):
    return f"{value:.{row['digits']}f}"


def verdict(row):
    """How Lintel's ratio stands to the goal, in words."""
    if "ratio" not in row:
        return ""
    if row["goal"] is None:
        return f"{row['ratio']:.2f}"
    if row["ratio"] <= row["goal"] + 0.005:
        word = "goal met"
    else:
        word = "ahead" if row["ratio"] < 1 else "behind"
    return f"{row['ratio']:.2f} (goal {row['goal']:.2f}: {word})"


def print_row(row, names):
    if not getattr(print_row, "header_shown", False):
        print_row.header_shown = True
        print(f"{'':34}{'':18}" + "".join(f"{TITLES[name]:>{WIDTH}}" for name in names) + "  Lintel / best peer")
    cells = "".join(f"{number(row, row['values'][name]['median']) if name in row['values'] else '–':>{WIDTH}}"
                    for name in names)
    print(f"{row['title']:34}{row['unit']:18}{cells}  {verdict(row)}", flush=True)


def print_footer(result):
    print(f"\nmedian of {result['runs']} runs of {result['seconds']:.0f} s, alternating; lower is better; "
          f"{result['machine']['cpu']}, kernel {result['machine']['kernel']}, OpenSSL {result['machine']['openssl']}")
    if result["busy_elsewhere"] > 0.03:
        print(f"warning: other programs used {result['busy_elsewhere']:.0%} of the proxies' core; "
              "the figures are only good for a look")


def markdown_table(result):
    names = result["names"]
    lines = ["| | | " + " | ".join(f"**{TITLES[name]}**" if name == "lintel" else TITLES[name] for name in names)
             + " | Lintel ÷ best peer | goal |",
             "|---|---|" + "---:|" * (len(names) + 2)]
    for row in result["rows"]:
        cells = [number(row, row["values"][name]["median"]) if name in row["values"] else "–" for name in names]
        ratio = f"{row['ratio']:.2f}" if "ratio" in row else "–"
        goal = f"≤ {row['goal']:.2f}" if row["goal"] is not None else "–"
        lines.append(f"| {row['title']} | {row['unit']} | " + " | ".join(cells) + f" | {ratio} | {goal} |")
    return "\n".join(lines)


def markdown_facts(result):
    versions = ", ".join(f"{TITLES[name]} {version}" for name, version in result["versions"].items())
    machine = result["machine"]
    notes = "; ".join(f"{row['title']}: {row['note']}" for row in result["rows"] if row["note"])
    return (f"Measured {result['date']} at commit {machine['commit']} on {machine['cpu']}, {machine['cores']} cores, "
            f"kernel {machine['kernel']}, OpenSSL {machine['openssl']}: {versions}. Median of {result['runs']} alternating "
            f"runs of {result['seconds']:.0f} seconds. Other programs used {result['busy_elsewhere']:.0%} of the proxies' "
            f"core meanwhile.\n\n{notes}.")


def replace_between(text, name, content):
    pattern = re.compile(rf"(<!-- {name}:begin[^>]*-->\n).*?(<!-- {name}:end -->)", re.S)
    if not pattern.search(text):
        raise SystemExit(f"bench: docs/performance.md has no <!-- {name}:begin --> marker")
    return pattern.sub(lambda match: match.group(1) + content + "\n" + match.group(2), text)


def publish(result, docs):
    page = docs / "performance.md"
    text = page.read_text(encoding="utf-8")
    text = replace_between(text, "bench", f"{markdown_facts(result)}\n\n{markdown_table(result)}")
    page.write_text(text, encoding="utf-8")
    (docs / "performance.svg").write_text(chart(result), encoding="utf-8")
    print(f"bench: wrote {page.name} and performance.svg")


def publish_attacks(result, docs):
    page = docs / "performance.md"
    page.write_text(replace_between(page.read_text(encoding="utf-8"), "attacks", attacks_markdown(result)),
                    encoding="utf-8")
    print(f"bench: wrote {page.name}")


def attack_cell(outcome):
    """CPU seconds · MiB · slowest honest answer; bold when over the budget."""
    if outcome is None:
        return "–"
    slowest = "none answered" if outcome["honest_ms"] is None else f"{outcome['honest_ms']:.0f} ms"
    text = f"{outcome['cpu_s']:.2f} s · {outcome['memory_mib']:.1f} MiB · {slowest}"
    if outcome.get("honest_failed"):
        text += f", {outcome['honest_failed']} failed"
    if outcome.get("alive") is not None:
        text += f" · {outcome['alive']:,} kept"
    if "frames_taken" in outcome and outcome["reached_app"] > 0:
        text += f" · {outcome['reached_app']:,} to the app"
    return text if outcome["within"] else f"**{text}**"


def print_attack(title, outcomes):
    print(title)
    for name, outcome in outcomes.items():
        facts = attack_cell(outcome).strip("*")
        if "frames_taken" in outcome:
            facts += f" · {outcome['frames_taken']:,} frames sent, {outcome['end']}"
        if outcome["honest_why"]:
            facts += f" · honest: {outcome['honest_why'][0][:80]}"
        print(f"  {TITLES[name]:9}{'' if outcome['within'] else 'OVER  '}{facts}", flush=True)


def attacks_markdown(result):
    names = result["names"]
    versions = ", ".join(f"{TITLES[name]} {version}" for name, version in result["versions"].items() if name in names)
    lines = [f"Measured {result['date']} at commit {result['machine']['commit']}: {versions}. Each cell: CPU the proxy spent · "
             "memory it grew by at the peak · the slowest answer an honest client got meanwhile · hostile requests that reached the app, if any. Bold: over the budget "
             f"of {result['budget']['cpu_s']} s, {result['budget']['memory_mib']} MiB and {result['budget']['honest_ms']} ms.",
             "", "| attack | " + " | ".join(TITLES[name] for name in names) + " |", "|---|" + "---|" * len(names)]
    for attack in result["attacks"]:
        cells = [attack_cell(attack["outcomes"].get(name)) for name in names]
        lines.append(f"| {attack['title']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def chart(result):
    """One panel a row, one bar a proxy, lengths relative to the slowest of the row; text stays text."""
    shown = [row for row in result["rows"] if row["values"] and "ratio" in row]
    bar, gap, label, width = 16, 18, 230, 760
    parts, y = [], 46
    for row in shown:
        names = [name for name in result["names"] if name in row["values"]]
        longest = max(row["values"][name]["median"] for name in names) or 1
        parts.append(f'<text x="16" y="{y + 12}" class="title">{html.escape(row["title"])}</text>')
        parts.append(f'<text x="16" y="{y + 28}" class="unit">{html.escape(row["unit"])}</text>')
        for name in names:
            value = row["values"][name]["median"]
            length = max(1.0, (width - label - 150) * value / longest)
            weight = ' class="own"' if name == "lintel" else ""
            parts.append(f'<rect x="{label}" y="{y}" width="{length:.1f}" height="{bar - 3}" rx="2" fill="{COLOURS[name]}"/>')
            parts.append(f'<text x="{label + length + 6:.1f}" y="{y + 11}"{weight}>{TITLES[name]} {number(row, value)}</text>')
            y += bar
        y += gap
    heading = f"Cost of the same work, lower is better · {result['date']} · {result['machine']['cpu']}"
    style = ("text{font:12px system-ui,sans-serif;fill:#333}.title{font-weight:600;fill:#111}.unit{fill:#666}"
             ".own{font-weight:700;fill:#0b6e4f}.head{font-size:14px;font-weight:600;fill:#111}")
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{y}" viewBox="0 0 {width} {y}" role="img" '
            f'aria-label="{html.escape(heading)}">\n<style>{style}</style>\n<rect width="{width}" height="{y}" fill="#fff"/>\n'
            f'<text x="16" y="26" class="head">{html.escape(heading)}</text>\n' + "\n".join(parts) + "\n</svg>\n")
