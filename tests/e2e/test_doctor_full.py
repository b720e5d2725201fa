"""`lintel doctor` against the slower apps: registered with ctest when LINTEL_TEST_FULL=1 (scripts/test --full).

LINTEL_WRITE_TABLE=1 writes their rows of docs/doctor.md.
"""
import unittest

from doctor_apps import *  # noqa: F403
from lintel_test import *  # noqa: F403

NEXT = "node_modules/next/dist/bin/next"
PUMA = ("puma", "--quiet", "--bind", "tcp://127.0.0.1:{port}", "--threads", "1:2")
TOMCAT_HOME = "/usr/share/tomcat10"
TOMCAT_ENV = (("CATALINA_HOME", TOMCAT_HOME), ("CATALINA_BASE", "."), ("CATALINA_OPTS", "-Xmx256m -XX:TieredStopAtLevel=1 "
              "-Dorg.apache.tomcat.util.digester.PROPERTY_SOURCE=org.apache.tomcat.util.digester.EnvironmentPropertySource"))
CATALINA = (f"{TOMCAT_HOME}/bin/catalina.sh", "run")


def next_build(*names):
    def build(folder):
        for name in names:
            # What the fix does not change need not be built twice; .next/BUILD_ID is the last file of a build.
            built, source = folder / name / ".next/BUILD_ID", folder / name / "app"
            newest = max(path.stat().st_mtime for path in source.rglob("*"))
            if not built.exists() or built.stat().st_mtime < newest:
                run(["node", NEXT, "build", name], folder, {"NEXT_TELEMETRY_DISABLED": "1"})
    return build


def next_start(name):
    return ("node", NEXT, "start", name, "-H", "127.0.0.1", "-p", "{port}")


def tomcat_base(folder):
    for name in ("logs", "temp", "work"):
        (folder / name).mkdir(exist_ok=True)
    shutil.copy(f"{TOMCAT_HOME}/etc/web.xml", folder / "conf/web.xml")


CASES = [
    Case("Next.js", "next", "Next.js", frozenset({"host-rewritten"}), next_start("shop"), source="shop/app/login/route.js",
         version=lambda: node_version("next"), build=next_build("shop", "plain"), plain=next_start("plain")),
    Case("Tomcat", "tomcat", "Tomcat", frozenset({"scheme-untrusted", "mixed-content", "cookie-without-secure"}), CATALINA,
         version=lambda: debian_version("tomcat10"), source="conf/server.xml", build=tomcat_base, env=TOMCAT_ENV,
         plain=("env", "APP_BASE=plain", *CATALINA), plain_env=TOMCAT_ENV, plain_path="/time.txt"),
    Case("Sinatra, Puma", "sinatra", "Rack (Sinatra)", frozenset({"cookie-without-secure"}), (*PUMA, "config.ru"), source="app.rb",
         version=lambda: f"{debian_version('ruby-sinatra')} (puma {debian_version('puma')})", plain=(*PUMA, "plain.ru"),
         env=(("APP_ENV", "production"), ("RACK_ENV", "production"))),
    Case("Rails, Puma", "rails", "Rails", frozenset({"cookie-without-secure"}), (*PUMA, "config.ru"), source="config.ru",
         version=lambda: f"{debian_version('ruby-railties')} (puma {debian_version('puma')})", plain=(*PUMA, "plain.ru"),
         env=(("RAILS_ENV", "production"),), plain_env=(("RAILS_ENV", "production"),)),
    Case("PHP (php -S)", "php", "PHP", frozenset({"scheme-untrusted", "mixed-content", "cookie-without-secure"}),
         ("php", "-S", "127.0.0.1:{port}", "index.php"), version=lambda: debian_version("php8.2-cli"), source="index.php", places=(("cookie-without-secure", "cookie"),),
         plain=("php", "-S", "127.0.0.1:{port}", "plain.php")),
]


class DoctorFull(DoctorTestCase):
    cases = CASES


DoctorFull.register()

if __name__ == "__main__":
    unittest.main()
