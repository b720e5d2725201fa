// What is known about frameworks and platforms: data/frameworks/*.toml and data/platforms/*.toml, compiled in.
#pragma once

#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/embedded.h"
#include "base/errors.h"
#include "doctor/exchange.h"
#include "doctor/finding.h"

namespace lintel::doctor {

// One sign by which a framework is recognised.
struct Fingerprint {
  enum class Kind : uint8_t { header, cookie, body } kind = Kind::header;
  std::string name;      // of the header; a cookie's name, "*" at its end matches any rest
  std::string contains;  // in the header's value or the body; empty: its presence is enough
  unsigned weight = 0;   // of 100
  std::string source;
};

struct Fix {
  std::vector<FindingId> findings;
  std::string file;
  std::vector<std::string> lines;  // with {placeholders} that a platform fills
  std::string note, verify, source;
};

// May a forwarded host be what the app calls itself, once its scheme is right?
enum class ForwardedHost : uint8_t {
  never,
  opt_in,       // by a setting of its own, which nothing behind Lintel needs
  with_scheme,  // by the same setting as the scheme
  always,       // from anybody
};

struct Framework {
  std::string file;             // "flask.toml"
  std::string name;             // "Flask"
  bool is_server = false;       // decides the scheme for the framework behind it
  bool ignores_server = false;  // has a setting of its own that is better than the server's
  bool suppresses_secure_cookies = false;
  ForwardedHost forwarded_host = ForwardedHost::never;
  std::string reads;                   // what it reads by default, one sentence
  std::string source;                  // of `reads`
  std::vector<std::string> probes;     // paths that say something about the scheme
  std::vector<std::string> try_paths;  // for --path, when nothing was seen
  std::vector<Fingerprint> fingerprints;
  std::vector<Fix> fixes;
  const Fix* fix(FindingId id) const;
};

struct Platform {
  std::string file;
  std::string name;   // "heroku"
  std::string title;  // "Heroku"
  std::string sends;  // what it sends, one sentence
  std::string where;  // of its own configuration
  std::vector<std::string> configure;
  std::string note, source;
  std::map<std::string, std::string> values;           // placeholder -> text
  std::map<std::string, std::string> framework_notes;  // by Framework::file without ".toml"
};

class Database {
 public:
  // The compiled-in files. A file that does not parse is a defect that a unit test finds: it ends the program.
  static const Database& embedded();
  static Outcome<Database> parse(std::span<const EmbeddedFile> frameworks, std::span<const EmbeddedFile> platforms);

  const std::vector<Framework>& frameworks() const { return frameworks_; }
  const std::vector<Platform>& platforms() const { return platforms_; }
  const Framework& general() const;  // advice for frameworks that are not known
  const Platform* platform(std::string_view name) const;
  std::string platform_names() const;  // "aws-alb, caddy, …"

 private:
  std::vector<Framework> frameworks_;
  std::vector<Platform> platforms_;
};

// Which framework and which server in front of it an app's answers show. Pointers into the database.
struct Recognised {
  const Framework* framework = nullptr;
  const Framework* server = nullptr;
  FrameworkGuess guess;
};
// Adds up signs; feed it every answer. Cheap for an answer without signs.
class Recogniser {
 public:
  explicit Recogniser(const Database& database) : database_(&database), seen_(database.frameworks().size()) {}
  void add(const Answer& answer);
  void add_field(std::string_view name, std::string_view value);
  Recognised result() const;

 private:
  struct Signs {
    unsigned weight = 0;
    std::vector<const Fingerprint*> counted;
    std::vector<std::string> evidence;
  };
  void count(size_t framework, const Fingerprint& sign, std::string evidence);
  const Database* database_;
  std::vector<Signs> seen_;
};

// For whom advice is given.
struct Situation {
  const Recognised& app;
  const Platform* platform = nullptr;  // null: behind Lintel
  std::string public_name{};           // empty: not known
};
Advice advise(const Database& database, const Situation& situation, FindingId id);

// data/frameworks/*.toml and data/platforms/*.toml.
std::span<const EmbeddedFile> framework_files() noexcept;
std::span<const EmbeddedFile> platform_files() noexcept;

}  // namespace lintel::doctor
