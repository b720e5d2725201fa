// share.toml: what `lintel share -c` and a share that runs as a service make public. Paths in it are relative to the
// file.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/errors.h"
#include "base/ip.h"
#include "config/config.h"
#include "share/session.h"

namespace lintel::share {

struct FileShare {
  std::string target;  // "5000", "http://127.0.0.1:5000", "tcp://127.0.0.1:5432"
  std::string edge;    // "t.example.com", "t.example.com:8443"
  std::string name;    // "" = a random one
  std::string token_file, ca_file;
  bool pool = false;
  bool sealed = false, agree = false;  // to the terms of the issuer of a sealed share's certificate
  bool index = false;                  // search engines may index it
  unsigned legs = limits::share_legs_default_count;
  std::string password_file;
  std::vector<IpPrefix> allow;
  uint64_t expires_after_ms = 0;  // 0 = never
  std::string host_header;
  std::string oidc_issuer, oidc_client_id, oidc_client_secret_file;
  std::vector<std::string> oidc_allow;
  int line = 0;  // of its [[share]]
};

struct ShareFile {
  std::vector<FileShare> shares;                // in the order of the file; empty when there is an error
  std::vector<config::Diagnostic> diagnostics;  // in file order
};
// As run_session() takes it, without edge and token. Errors: usage; or a secret's file cannot be read.
Outcome<ShareOptions> to_options(FileShare from);

ShareFile read_share_file(const std::string& file);
// `folder`: where relative paths begin.
ShareFile parse_share_file(std::string_view text, const std::string& name, const std::string& folder);

}  // namespace lintel::share
