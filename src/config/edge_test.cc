// [edge] of the configuration.
#include <gmock/gmock.h>

#include "config/test_support.h"

namespace lintel::config {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

const std::string listeners = "[server]\nhttps = \"127.0.0.1:8443\"\nhttp = []\n";

// `more` begins at line 7.
std::string edge(std::string_view more) {
  return listeners + "[edge]\ndomain = \"T.example.com\"\ntokens = \"tokens.toml\"\n" + std::string(more) + "\n";
}

ParseResult parsed(const std::string& text) {
  const Folder folder;
  folder.write("tokens.toml", "");
  folder.write("edge.pem");
  folder.write("edge.key");
  return parse(text, folder.path());
}

TEST(EdgeTable, makes_a_door_and_a_site_for_all_shares_that_repairs_nothing) {
  const auto result =
      parsed(edge("certificate = { file = \"edge.pem\", key = \"edge.key\" }\ntcp_ports = "
                  "\"20000-20100\"\nhold = \"3s\"\ninterstitial = true\n"
                  "names = { \"Preview.client.com\" = \"laptop\", \"x.org\" = \"ann/app\" }\n"
                  "limits = { shares = 1, agents = 2, requests = 3 }"));
  ASSERT_THAT(lines(result), IsEmpty());
  const Edge& got = result.config->edge;
  EXPECT_TRUE(got.on());
  EXPECT_EQ(got.domain, "t.example.com");
  EXPECT_TRUE(got.tokens_file.ends_with("/tokens.toml"));
  EXPECT_EQ(got.tcp_first, 20'000);
  EXPECT_EQ(got.tcp_last, 20'100);
  EXPECT_EQ(got.hold_ms, 3'000U);
  EXPECT_TRUE(got.interstitial);
  EXPECT_THAT(got.names, ElementsAre(testing::Pair("preview.client.com", "laptop"), testing::Pair("x.org", "ann/app")));
  EXPECT_EQ(got.shares_per_token, 1U);
  EXPECT_EQ(got.agents_per_token, 2U);
  EXPECT_EQ(got.requests_per_token, 3U);

  const Config& config = *result.config;
  ASSERT_EQ(config.sites.size(), 4U);
  EXPECT_EQ(find_site(config, "t.example.com")->edge, EdgeRole::door);
  EXPECT_EQ(find_site(config, "app.t.example.com")->edge, EdgeRole::shares);
  EXPECT_EQ(find_site(config, "preview.client.com")->edge, EdgeRole::shares);
  EXPECT_EQ(find_site(config, "a.b.t.example.com"), nullptr);
  for (const Site& site : config.sites) {
    EXPECT_EQ(site.locations, Locations::off) << "the agent decides about what its app answers";
    EXPECT_EQ(site.security_headers, SecurityHeaders::off);
    EXPECT_EQ(site.hsts.mode, Hsts::Mode::off);
    EXPECT_FALSE(site.cookies_secure);
    EXPECT_TRUE(site.to.empty());
    EXPECT_EQ(site.redirect_http, RedirectHttp::permanent_308);
    EXPECT_EQ(site.certificate, CertificateKind::files);
  }
}

TEST(EdgeTable, own_domains_get_certificates_by_themselves_where_the_terms_are_agreed_to) {
  const auto result =
      parsed(edge("certificate = { file = \"edge.pem\", key = \"edge.key\" }\nnames = { \"x.org\" = \"ann\" }\n[acme]\n"
                  "agree = true"));
  ASSERT_THAT(lines(result), IsEmpty());
  EXPECT_EQ(find_site(*result.config, "x.org")->certificate, CertificateKind::acme);
  EXPECT_EQ(find_site(*result.config, "t.example.com")->certificate, CertificateKind::files);
}

TEST(EdgeTable, by_default_one_wildcard_certificate_by_dns) {
  EXPECT_THAT(
      lines(parsed(edge("[acme]\nagree = true"))),
      ElementsAre(AllOf(HasSubstr("5:10 error: a certificate for \"*.T.example.com\" needs the challenge dns-01"),
                        HasSubstr("weekly limits"), HasSubstr("Certificate Transparency"),
                        HasSubstr("{ file = ..., key = ... }"))));
  const auto result =
      parsed(edge("[acme]\nagree = true\nchallenges = [\"tls-alpn-01\", \"dns-01\"]\ndns_hook = \"/bin/true\""));
  ASSERT_THAT(lines(result), IsEmpty());
  EXPECT_EQ(find_site(*result.config, "app.t.example.com")->certificate, CertificateKind::acme);
}

TEST(EdgeTable, needs_https_a_domain_and_tokens) {
  const auto without = [](std::string_view table) { return lines(parsed(listeners + std::string(table))); };
  EXPECT_THAT(without("[edge]\ntokens = \"tokens.toml\"\n"), ElementsAre("4:1 error: [edge] needs \"domain\""));
  EXPECT_THAT(without("[edge]\ndomain = \"t.example.com\"\ncertificate = \"local\"\n"),
              ElementsAre("4:1 error: [edge] needs \"tokens\""));
  EXPECT_THAT(lines(parsed("[server]\nhttps = []\nhttp = \"127.0.0.1:8080\"\n[edge]\ndomain = \"t.example.com\"\n"
                           "tokens = \"tokens.toml\"\ncertificate = \"local\"\n")),
              testing::Contains(HasSubstr("4:1 error: an edge needs an https listener")));
  EXPECT_THAT(without("[edge]\ndomain = \"localhost\"\ntokens = \"tokens.toml\"\n"),
              ElementsAre(HasSubstr("5:10 error: \"localhost\" is no domain for shares")));
}

TEST(EdgeTable, the_tokens_file_may_come_later_but_must_be_readable) {
  const Folder folder;
  const auto result = parse(edge("certificate = \"local\""), folder.path());
  EXPECT_THAT(lines(result), ElementsAre(HasSubstr("6:10 warning: tokens \"tokens.toml\" is not there yet")));
  ASSERT_NE(result.config, nullptr);
}

TEST(EdgeTable, no_site_may_have_a_name_of_the_edge) {
  const auto with = [](std::string_view host) {
    return lines(parsed(edge("certificate = \"local\"\n[[site]]\nhosts = \"" + std::string(host) +
                             "\"\nto = \"8000\"\ncertificate = \"local\"")));
  };
  for (const char* taken : {"t.example.com", "app.t.example.com", "*.t.example.com", "a.b.t.example.com"}) {
    EXPECT_THAT(with(taken),
                testing::Contains(HasSubstr("9:9 error: \"" + std::string(taken) + "\" is a name of the edge")))
        << taken;
  }
  EXPECT_THAT(with("other.example.com"), IsEmpty());
  EXPECT_THAT(with("nott.example.com"), IsEmpty());
  for (const char* above : {"example.com", "*.example.com"}) {
    EXPECT_THAT(with(above), ElementsAre(AllOf(HasSubstr("5:10 warning: the edge's domain lies under the site"),
                                               HasSubstr("Domain=example.com"))))
        << "a session cookie of the site would be sent to whoever shares";
  }
}

TEST(EdgeTable, own_domains_are_neither_the_edges_nor_a_sites) {
  EXPECT_THAT(lines(parsed(edge("certificate = \"local\"\nnames = { \"x.t.example.com\" = \"ann\" }"))),
              ElementsAre(HasSubstr("is the edge's own")));
  EXPECT_THAT(
      lines(parsed(edge("certificate = \"local\"\nnames = { \"x.org\" = \"ann\" }\n[[site]]\nhosts = \"x.org\"\n"
                        "to = \"8000\"\ncertificate = \"local\""))),
      ElementsAre(HasSubstr("the host \"x.org\" is there twice")));
  EXPECT_THAT(lines(parsed(edge("certificate = \"local\"\nnames = { \"x.org\" = \"a b\" }"))),
              ElementsAre(HasSubstr("is no token's name")));
}

TEST(EdgeTable, values_out_of_range_are_named) {
  const auto with = [](std::string_view line) {
    return lines(parsed(edge("certificate = \"local\"\n" + std::string(line))));
  };
  EXPECT_THAT(with("tcp_ports = \"8000-9000\""),
              ElementsAre("8:1 error: tcp_ports has the port 8443, which the listener \"127.0.0.1:8443\" takes"));
  for (const char* wrong : {"20100-20000", "0-5", "70000", "20000-", "-5", "20000 - 20100", "a"}) {
    EXPECT_THAT(with("tcp_ports = \"" + std::string(wrong) + "\""), ElementsAre(HasSubstr("is no range of ports")));
  }
  EXPECT_THAT(with("tcp_ports = \"20000\""), IsEmpty());
  EXPECT_THAT(with("hold = \"2m\""), ElementsAre(HasSubstr("hold must lie between 0s and 60s")));
  EXPECT_THAT(with("limits = { shares = 0 }"), ElementsAre(HasSubstr("a whole number from 1 to 10000")));
  EXPECT_THAT(with("token = \"x\""),
              ElementsAre(HasSubstr("unknown key \"token\" in [edge]; did you mean \"tokens\"?")));
}

}  // namespace
}  // namespace lintel::config
