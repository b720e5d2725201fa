// One ACME directory as the manager uses it. The real one is acme::Client; tests put theirs here.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "acme/client.h"

namespace lintel::acme {

class Issuer {
 public:
  virtual ~Issuer() = default;
  virtual const IssuerSettings& settings() const = 0;
  virtual net::Task<std::expected<Issued, Problem>> obtain(std::vector<std::string> names,
                                                           std::vector<ChallengeType> types, std::string replaces,
                                                           Solver& solver, TimeMs deadline) = 0;
  virtual net::Task<std::expected<RenewalInfo, Problem>> renewal_info(std::string certificate_id, TimeMs deadline) = 0;
  virtual net::Task<std::expected<void, Problem>> revoke(std::string certificate_pem, TimeMs deadline) = 0;
};

using IssuerFactory = std::function<std::shared_ptr<Issuer>(const IssuerSettings&)>;

class ClientIssuer final : public Issuer {
 public:
  ClientIssuer(net::Reactor& reactor, net::BlockingPool& blocking, Storage& storage, IssuerSettings settings)
      : client_(reactor, blocking, storage, std::move(settings)) {}
  const IssuerSettings& settings() const override { return client_.settings(); }
  net::Task<std::expected<Issued, Problem>> obtain(std::vector<std::string> names, std::vector<ChallengeType> types,
                                                   std::string replaces, Solver& solver, TimeMs deadline) override {
    return client_.obtain(std::move(names), std::move(types), std::move(replaces), solver, deadline);
  }
  net::Task<std::expected<RenewalInfo, Problem>> renewal_info(std::string certificate_id, TimeMs deadline) override {
    return client_.renewal_info(std::move(certificate_id), deadline);
  }
  net::Task<std::expected<void, Problem>> revoke(std::string certificate_pem, TimeMs deadline) override {
    return client_.revoke(std::move(certificate_pem), deadline);
  }

 private:
  Client client_;
};

}  // namespace lintel::acme
