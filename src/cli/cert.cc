// lintel cert new | list | show (cert_acme.cc has renew and revoke)
#include <fmt/format.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <ctime>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/limits.h"
#include "base/log.h"
#include "cli/cert_acme.h"
#include "cli/commands.h"
#include "cli/report.h"
#include "cli/tool.h"
#include "config/config.h"
#include "serve/admin_client.h"
#include "tls/local_ca.h"
#include "tls/x509_build.h"

namespace lintel::cli {
namespace {

using tls::LocalCa;

struct NewOptions {
  std::vector<std::string> names;
  unsigned days = limits::local_leaf_days;
  std::string key = "ecdsa";
  std::string folder = ".";
  bool force = false;
  bool json = false;
};

std::string date_of(int64_t unix_s) {
  const time_t time = unix_s;
  std::tm parts = {};
  gmtime_r(&time, &parts);
  char text[32];
  const size_t size = std::strftime(text, sizeof text, "%Y-%m-%d %H:%M UTC", &parts);
  return {text, size};
}

std::string joined(const std::vector<std::string>& all) {
  std::string text;
  for (const auto& one : all) text += (text.empty() ? "" : ", ") + log::escape(one);
  return text;
}

void print_object(const nlohmann::json& object) {
  fmt::print("{}\n", object.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
}

// "*.app.test" -> "_wildcard.app.test" and "::1" -> "__1", as mkcert and people's file systems like it.
std::string file_stem(std::string name) {
  if (name.starts_with("*.")) name.replace(0, 1, "_wildcard");
  std::ranges::replace(name, ':', '_');
  std::ranges::transform(name, name.begin(),
                         [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  return name;
}

Outcome<void> refuse_to_overwrite(const std::vector<std::string>& files, bool force) {
  for (const auto& file : files) {
    if (force || access(file.c_str(), F_OK) != 0) continue;
    return fail(ErrorCode::usage, fmt::format("cannot write {}: it exists already; use --force to replace it, or --out "
                                              "for another folder",
                                              log::escape(file)));
  }
  return {};
}

Outcome<nlohmann::json> make_certificate(const NewOptions& options) {
  if (auto caller = become_caller(); !caller) return std::unexpected(caller.error());
  auto ca = LocalCa::open(LocalCa::default_folder());
  if (!ca) return std::unexpected(ca.error());
  tls::LeafRequest request;
  request.names = options.names;
  request.days = options.days;
  request.key = options.key == "rsa" ? tls::KeyKind::rsa : tls::KeyKind::ecdsa;
  auto pem = (*ca)->issue_pem(request);
  if (!pem) return std::unexpected(pem.error());
  auto parsed = tls::parse_certificate(pem->certificate, pem->key, options.names[0]);
  if (!parsed) return std::unexpected(parsed.error());
  const std::string stem = options.folder + "/" + file_stem((*parsed)->names[0]);
  const std::string certificate_file = stem + ".pem", key_file = stem + "-key.pem";
  if (auto free = refuse_to_overwrite({certificate_file, key_file}, options.force); !free) {
    return std::unexpected(free.error());
  }
  // The key first: a certificate without its key is of no use to anybody.
  auto written = write_file_atomically(key_file, pem->key, 0600);
  OPENSSL_cleanse(pem->key.data(), pem->key.size());
  if (written) written = write_file_atomically(certificate_file, pem->certificate, 0644);
  if (!written) return std::unexpected(written.error());
  return nlohmann::json{{"certificate", certificate_file},
                        {"key", key_file},
                        {"names", (*parsed)->names},
                        {"not_after_unix_s", (*parsed)->not_after_unix_s}};
}

int run_new(const NewOptions& options) {
  auto made = make_certificate(options);
  if (!made) return report(made.error());
  if (options.json) {
    print_object(*made);
    return 0;
  }
  fmt::print("certificate: {}\nkey:         {}\nnames:       {}\nexpires:     {}\n",
             log::escape((*made)["certificate"].get<std::string>()), log::escape((*made)["key"].get<std::string>()),
             joined((*made)["names"].get<std::vector<std::string>>()),
             date_of((*made)["not_after_unix_s"].get<int64_t>()));
  return 0;
}

std::string name_text(const X509_NAME* name) {
  const std::unique_ptr<BIO, decltype(&BIO_free_all)> bio(BIO_new(BIO_s_mem()), BIO_free_all);
  X509_NAME_print_ex(bio.get(), name, 0, XN_FLAG_ONELINE & ~ASN1_STRFLGS_ESC_MSB);
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &data);
  return {data, static_cast<size_t>(size)};
}

std::string serial_text(const X509* certificate) {
  BIGNUM* number = ASN1_INTEGER_to_BN(X509_get0_serialNumber(certificate), nullptr);
  char* hex = BN_bn2hex(number);
  std::string text = hex != nullptr ? hex : "";
  OPENSSL_free(hex);
  BN_free(number);
  return text;
}

std::string key_text(X509* certificate) {
  EVP_PKEY* key = X509_get0_pubkey(certificate);
  if (key == nullptr) return "unknown";
  return fmt::format("{} {} bits", EVP_PKEY_get0_type_name(key), EVP_PKEY_get_bits(key));
}

std::string fingerprint_text(const X509* certificate) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  X509_digest(certificate, EVP_sha256(), digest, &size);
  std::string text;
  for (unsigned i = 0; i < size; ++i) text += fmt::format("{:02x}", digest[i]);
  return text;
}

nlohmann::json facts_of(const tls::Certificate& certificate, const std::string& file) {
  nlohmann::json facts = {{"file", file},
                          {"names", certificate.names},
                          {"subject", name_text(X509_get_subject_name(certificate.leaf))},
                          {"issuer", name_text(X509_get_issuer_name(certificate.leaf))},
                          {"serial", serial_text(certificate.leaf)},
                          {"public_key", key_text(certificate.leaf)},
                          {"sha256", fingerprint_text(certificate.leaf)},
                          {"not_before_unix_s", certificate.not_before_unix_s},
                          {"not_after_unix_s", certificate.not_after_unix_s},
                          {"expired", certificate.not_after_unix_s <= std::time(nullptr)},
                          {"self_signed", certificate.self_signed}};
  return facts;
}

// The first certificate of a PEM file; its key is not needed.
Outcome<tls::CertificatePtr> read_certificate(const std::string& file) {
  auto text = read_whole_file(file, "certificate", limits::pem_file_bytes);
  if (!text) return std::unexpected(text.error());
  const std::unique_ptr<BIO, decltype(&BIO_free_all)> bio(BIO_new_mem_buf(text->data(), static_cast<int>(text->size())),
                                                          BIO_free_all);
  tls::X509Ptr leaf(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr));
  if (leaf == nullptr) {
    return fail(ErrorCode::certificate_invalid,
                fmt::format("cannot show {}: there is no certificate in it; give a PEM file", log::escape(file)));
  }
  return tls::assemble(std::move(leaf), nullptr, {});
}

void print_facts(const nlohmann::json& facts) {
  const auto text = [&](const char* field) { return log::escape(facts[field].get<std::string>()); };
  fmt::print("file:        {}\n", text("file"));
  fmt::print("names:       {}\n", joined(facts["names"].get<std::vector<std::string>>()));
  fmt::print("subject:     {}\nissuer:      {}\nserial:      {}\n", text("subject"), text("issuer"), text("serial"));
  fmt::print("public key:  {}\nsha256:      {}\n", text("public_key"), text("sha256"));
  fmt::print("valid:       {} to {}{}\n", date_of(facts["not_before_unix_s"].get<int64_t>()),
             date_of(facts["not_after_unix_s"].get<int64_t>()), facts["expired"].get<bool>() ? " (expired)" : "");
}

// A name means the file that `cert new` writes for it.
int run_show(const std::string& file_or_name, const std::string& folder, const std::string& config, bool json) {
  std::string file = file_or_name;
  if (access(file.c_str(), F_OK) != 0) {
    if (const std::string named = folder + "/" + file_stem(file_or_name) + ".pem"; access(named.c_str(), F_OK) == 0) {
      file = named;
    } else if (const std::string obtained = obtained_file(config, file_or_name); !obtained.empty()) {
      file = obtained;
    }
  }
  auto certificate = read_certificate(file);
  if (!certificate) return report(certificate.error());
  const auto facts = facts_of(**certificate, file);
  if (json) {
    print_object(facts);
  } else {
    print_facts(facts);
  }
  return facts["expired"].get<bool>() ? 1 : 0;
}

// Certificates of the folder that have a key beside them, and the local CA's own.
std::vector<nlohmann::json> certificates_in(const std::string& folder) {
  namespace fs = std::filesystem;
  std::vector<std::string> files;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder, ignored)) {
    const std::string file = entry.path().string();
    if (!file.ends_with(".pem") || file.ends_with("-key.pem")) continue;
    if (fs::exists(file.substr(0, file.size() - 4) + "-key.pem", ignored)) files.push_back(file);
  }
  std::ranges::sort(files);
  std::vector<nlohmann::json> all;
  for (const auto& file : files) {
    if (auto certificate = read_certificate(file)) all.push_back(facts_of(**certificate, file));
  }
  return all;
}

// Those that the server of `config` has obtained.
int run_list_obtained(const std::string& config, bool json) {
  const auto list = obtained_certificates(config);
  if (!list) return report(list.error());
  if (json) {
    print_object(nlohmann::json{{"certificates", *list}});
  } else if (list->empty()) {
    fmt::print("No certificate has been obtained yet.\n");
  } else {
    print_obtained(*list);
  }
  return 0;
}

int run_list(const std::string& folder, bool json) {
  std::error_code ignored;
  if (!std::filesystem::is_directory(folder, ignored)) {
    return report({ErrorCode::not_found,
                   fmt::format("cannot list {}: there is no such folder; name it with --out", log::escape(folder))});
  }
  const auto all = certificates_in(folder);
  if (json) {
    print_object(nlohmann::json{{"certificates", all}});
    return 0;
  }
  if (all.empty()) {
    fmt::print("No certificate with its key in {}. Make one: lintel cert new my-app.localhost\n", log::escape(folder));
    return 0;
  }
  for (const auto& one : all) {
    fmt::print("{}  {}{}  {}\n", log::escape(one["file"].get<std::string>()),
               one["expired"].get<bool>() ? "expired " : "expires ", date_of(one["not_after_unix_s"].get<int64_t>()),
               joined(one["names"].get<std::vector<std::string>>()));
  }
  return 0;
}

void add_new(CLI::App* cert, int& exit_code) {
  const auto options = std::make_shared<NewOptions>();
  CLI::App* command = cert->add_subcommand("new", "Make a certificate for names, signed by the local CA");
  command->add_option("NAME", options->names, "Host names, wildcards (*.app.test) or IP addresses")->required();
  command->add_option("--days", options->days, "How long it is valid")
      ->check(CLI::Range(1U, limits::local_leaf_days))
      ->capture_default_str();
  command->add_option("--key", options->key, "Kind of key")
      ->check(CLI::IsMember({"ecdsa", "rsa"}))
      ->capture_default_str();
  command->add_option("--out", options->folder, "Folder to write to")->type_name("DIR")->capture_default_str();
  command->add_flag("--force", options->force, "Replace files that exist");
  command->add_flag("--json", options->json, "One JSON object on stdout, for programs");
  command->footer(
      "Writes NAME.pem (certificate and chain) and NAME-key.pem (only its owner may read it).\n"
      "Exit code: 0 written, 2 the name or an option is not possible, 3 the files cannot be written.\n"
      "Example: lintel cert new my-app.test localhost 127.0.0.1 --days 30");
  command->callback([options, &exit_code] { exit_code = run_new(*options); });
}

}  // namespace

void add_cert(CLI::App& app, int& exit_code) {
  CLI::App* cert = app.add_subcommand("cert", "Make and inspect certificates");
  cert->require_subcommand(1);
  cert->footer("Example: lintel cert new my-app.test");
  add_new(cert, exit_code);

  struct Shown {
    std::string file, folder = ".", config;
    bool json = false;
  };
  const auto shown = std::make_shared<Shown>();
  CLI::App* list = cert->add_subcommand("list", "The certificates of a folder, or those that the server has obtained");
  list->add_option("--out", shown->folder, "The folder")->type_name("DIR")->capture_default_str();
  list->add_option("-c,--config", shown->config, "Instead: what the server of this configuration has obtained")
      ->type_name("FILE");
  list->add_flag("--json", shown->json, "One JSON object on stdout, for programs");
  list->footer(
      "Of a folder: certificates that have their key beside them. Where /etc/lintel/lintel.toml is there or a "
      "server\nruns, the obtained ones are shown unless --out names a folder.\n"
      "Example: lintel cert list --out certificates\nExample: lintel cert list -c lintel.toml");
  list->callback([shown, list, &exit_code] {
    const std::string admin = config::Config().admin.substr(std::string_view("unix:").size());
    const bool serves_here =
        ::access(default_file, R_OK) == 0 || serve::ask_admin(admin, "GET", "/status", 2'000).has_value();
    const bool production = serves_here && list->count("--out") == 0;
    exit_code = production || !shown->config.empty() ? run_list_obtained(shown->config, shown->json)
                                                     : run_list(shown->folder, shown->json);
  });

  CLI::App* show = cert->add_subcommand("show", "What is in a certificate");
  show->add_option("FILE", shown->file, "A PEM file, or a name: of `cert new`, or of a server's certificate")
      ->required();
  show->add_option("-c,--config", shown->config, "The server's configuration (default /etc/lintel/lintel.toml)")
      ->type_name("FILE");
  show->add_option("--out", shown->folder, "Folder to look for names in")->type_name("DIR")->capture_default_str();
  show->add_flag("--json", shown->json, "One JSON object on stdout, for programs");
  show->footer("Exit code: 0 it is valid now, 1 it has expired.\nExample: lintel cert show my-app.test.pem");
  show->callback([shown, &exit_code] { exit_code = run_show(shown->file, shown->folder, shown->config, shown->json); });
  add_cert_acme(cert, exit_code);
}

}  // namespace lintel::cli
