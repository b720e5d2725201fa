// docs/configuration.md against the parser, both ways: a key, type or default that only one of them knows is found, and
// so is an example that the parser does not accept.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <sstream>

#include "config/test_support.h"

namespace lintel::config {
namespace {

struct Row {
  std::string table, key, type, default_value, example, applied;
};

std::string text_of(const std::string& file) {
  std::ifstream in(file);
  EXPECT_TRUE(in.good()) << file << " (the working directory must be the source folder)";
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

std::string code(std::string cell) {
  cell.erase(0, cell.find_first_not_of(' '));
  cell.erase(cell.find_last_not_of(' ') + 1);
  if (cell.size() >= 2 && cell.front() == '`' && cell.back() == '`') cell = cell.substr(1, cell.size() - 2);
  return cell;
}

std::vector<Row> documented() {
  std::vector<Row> rows;
  std::istringstream in(text_of("docs/configuration.md"));
  std::string table;
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("### ")) table = line == "### Top level" ? "" : code(line.substr(4));
    if (!line.starts_with("| `")) continue;
    std::vector<std::string> cells;
    std::istringstream parts(line.substr(1));
    for (std::string cell; std::getline(parts, cell, '|');) cells.push_back(code(cell));
    EXPECT_EQ(cells.size(), 6U) << line;
    if (cells.size() == 6) rows.push_back({table, cells[0], cells[1], cells[2], cells[3], cells[4]});
  }
  return rows;
}

TEST(Documentation, has_exactly_the_keys_of_the_parser) {
  std::vector<std::string> in_docs, in_parser;
  const auto line = [](auto table, auto key, auto type, auto value, bool available) {
    std::ostringstream text;
    text << '[' << table << "] " << key << " : " << type << " = " << value << (available ? "" : " (later)");
    return text.str();
  };
  for (const Row& row : documented()) {
    in_docs.push_back(line(row.table, row.key, row.type, row.default_value, row.applied != "later"));
    EXPECT_THAT(row.applied, testing::AnyOf("reload", "restart", "on change", "later")) << row.key;
  }
  for (const KeyInfo& key : known_keys()) {
    in_parser.push_back(line(key.table, key.key, key.type, key.default_value, key.available));
  }
  EXPECT_THAT(in_docs, testing::UnorderedElementsAreArray(in_parser));
}

// The file that holds `row`'s example where it belongs, with the rest that a site needs.
std::string file_with(const Row& row) {
  std::map<std::string, std::string> site = {{"hosts", "hosts = [\"example.com\"]"},
                                             {"to", "to = \"8000\""},
                                             {"certificate", "certificate = \"self-signed\""}};
  std::string top, server, route;
  const std::string key = row.example.substr(0, row.example.find(' '));
  if (row.table.empty()) {
    top = row.example.starts_with('[') ? "" : row.example;
    if (row.example == "[acme]") route = row.example;
    if (row.example == "[edge]")
      route = "[edge]\ndomain = \"t.example.com\"\ntokens = \"t.toml\"\ncertificate = \"local\"";
    if (row.example == "[[trust]]") route = "[[trust]]\npeers = [\"10.0.0.2\"]\nsource = \"x-forwarded\"";
  } else if (row.table.starts_with("edge")) {
    route = "[edge]\n" + row.example + "\n";
    for (const char* line :
         {"domain = \"t.example.com\"\n", "tokens = \"tokens.toml\"\n", "certificate = \"local\"\n"}) {
      if (!std::string_view(line).starts_with(key)) route += line;
    }
  } else if (row.table.starts_with("server")) {
    server = row.example;
  } else if (row.table == "site.to.tls") {
    site["to"] = "to = { url = \"https://app.internal\", " + row.example + " }";
  } else if (row.table.starts_with("site.route")) {
    route = "[[site.route]]\n" + std::string(row.key == "strip_prefix" ? "path = \"/app/*\"\n" : "") + row.example;
  } else if (row.table.starts_with("site")) {
    if (row.example == "[[site.route]]") {
      route = row.example;
    } else {
      site[key] = row.example;
    }
  } else {
    const bool is_trust = row.table == "trust";
    const std::map<std::string, std::string> rest = {
        {"peers", "source = \"x-forwarded\"\n"}, {"preset", ""}, {"source", "peers = [\"10.0.0.2\"]\n"}};
    const auto found = rest.find(row.key);
    const std::string others =
        found != rest.end() ? found->second : "peers = [\"10.0.0.2\"]\nsource = \"x-forwarded\"\n";
    route = is_trust ? "[[trust]]\n" + others + row.example : "[acme]\n" + row.example;
  }
  std::string text = top + "\n[server]\n" + server + "\n[[site]]\n";
  for (const auto& [name, line] : site) text += line + "\n";
  return text + route + "\n";
}

TEST(Documentation, examples_are_what_the_parser_accepts) {
  const Folder folder;
  for (const char* name : {"example.pem", "example.key", "internal-ca.pem", "lintel.pem", "lintel.key", "edge.pem",
                           "edge.key", "hmac.txt", "clients.pem"}) {
    folder.write(name);
  }
  folder.write("users.txt", "ann:$2y$05$ay4WV8iA5euXIlDB2P0dqu8a/ggb4w3V30Big0bBGU.T7OEQeCBe2\n");
  for (const Row& row : documented()) {
    const std::string text = file_with(row);
    const auto result = parse(text, folder.path());
    std::vector<std::string> errors;
    for (const Diagnostic& one : result.diagnostics) {
      if (one.severity == Diagnostic::Severity::error) errors.push_back(one.message);
    }
    const bool asks_for_nothing = row.table == "site.limits" || row.key == "metrics";
    if (row.applied == "later" && !asks_for_nothing) {
      EXPECT_THAT(errors, testing::ElementsAre(testing::HasSubstr("known, but not available"))) << text;
    } else {
      EXPECT_THAT(errors, testing::IsEmpty()) << text;
    }
  }
}

TEST(Documentation, first_example_is_a_whole_file) {
  const std::string page = text_of("docs/configuration.md");
  const size_t begin = page.find("```toml\n") + 8;
  std::string text = page.substr(begin, page.find("```", begin) - begin);
  const Folder folder;
  folder.write("example.pem");
  folder.write("example.key");
  for (size_t at = text.find("/etc/lintel/"); at != std::string::npos; at = text.find("/etc/lintel/")) {
    text.replace(at, 12, folder.path() + "/");
  }
  EXPECT_THAT(lines(parse(text)), testing::IsEmpty());
}

}  // namespace
}  // namespace lintel::config
