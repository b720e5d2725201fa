"""testssl.sh (Debian package) against a served site, and what counts as a finding."""
import json
import re
import subprocess

# What a certificate of a private authority implies: nobody logs it, and it names nowhere to ask for its revocation.
PRIVATE_AUTHORITY = re.compile(r"cert_chain_of_trust|cert_revocation|cert_crlDistributionPoints|cert_ocspURL|OCSP_stapling|"
                               r"certificate_transparency|DNS_CAArecord|cert_mustStaple|cert_validityPeriod|"
                               r"cert_extlifeSpan|overall_grade|grade_cap|cert_eTLS")
WORSE_THAN_LOW = ("MEDIUM", "HIGH", "CRITICAL", "FATAL")


def run(port, host, ca_file, folder, *checks, seconds):
    """(findings as dictionaries, the text)."""
    out = folder / "testssl.json"
    done = subprocess.run(["testssl", "--add-ca", ca_file, "--color", "0", "--quiet", "--warnings", "off", "--jsonfile",
                           str(out), "--ip", "127.0.0.1", *checks, f"https://{host}:{port}"], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=seconds, check=False, cwd=folder)
    assert out.exists(), done.stdout + done.stderr
    return json.loads(out.read_text()), done.stdout


def bad(findings):
    return [(one["id"], one["severity"], one["finding"]) for one in findings
            if one["severity"] in WORSE_THAN_LOW and not PRIVATE_AUTHORITY.match(one["id"])]
