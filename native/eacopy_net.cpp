// The C ABI over the network service: translates types, owns the memory that crosses, and lets no exception out.

#include "eacopy_net.h"

#include <cerrno>
#include <exception>
#include <memory>
#include <string>
#include <utility>

#include "abi.h"
#include "eacopy/server.h"

namespace {

static_assert(EAC_DELTA_ALWAYS == static_cast<int>(eacopy::DeltaMode::kAlways));
static_assert(EAC_LINK_NEVER == static_cast<int>(eacopy::LinkMode::kNever));

std::string Bytes(const uint8_t* data, size_t size) {
  return data == nullptr ? std::string() : std::string(reinterpret_cast<const char*>(data), size);
}

std::string Text(const char* text) { return text == nullptr ? std::string() : std::string(text); }

eacopy::Remote FromC(const eac_remote& c) {
  eacopy::Remote remote;
  remote.host = Text(c.host);
  remote.port = c.port;
  remote.push = c.push != 0;
  remote.plain = c.plain != 0;
  remote.level = c.level;
  remote.timeout = c.timeout;
  remote.directory = Text(c.directory);
  remote.local_directory = Text(c.local_directory);
  remote.token = Bytes(c.token, c.token_size);
  remote.delta = static_cast<eacopy::DeltaMode>(c.delta);
  remote.reference = Text(c.reference);
  return remote;
}

eacopy::ServerOptions FromC(const eac_server_options& c) {
  eacopy::ServerOptions options;
  options.host = Text(c.host);
  options.port = c.port;
  options.thread_count = c.thread_count == 0 ? 1 : c.thread_count;
  options.max_connections = c.max_connections;
  options.idle_timeout = c.idle_timeout;
  for (size_t i = 0; i < c.share_count; ++i) {
    options.shares.emplace_back(Text(c.shares[i].name), Text(c.shares[i].directory));
  }
  options.token = Bytes(c.token, c.token_size);
  options.link_mode = static_cast<eacopy::LinkMode>(c.link_mode);
  options.link_min_size = c.link_min_size;
  options.link_by_name = c.link_by_name != 0;
  options.use_hash = c.use_hash != 0;
  options.security_file = c.security_file != 0;
  options.compression = c.compression != 0;
  options.delta = c.delta != 0;
  options.history_size = c.history_size;
  options.history_file = Text(c.history_file);
  return options;
}

}  // namespace

struct eac_server {
  std::unique_ptr<eacopy::Server> server;
  std::string line;  // of the log
};

extern "C" {

eac_job* eac_job_new_remote(const eac_options* options, const eac_remote* remote) {
  try {
    return std::make_unique<eac_job>(eacopy::FromC(*options), FromC(*remote)).release();
  } catch (const std::exception&) {
    return nullptr;
  }
}

const char* eac_job_server(eac_job* job) {
  try {
    job->server = job->job.Server();
    return job->server.c_str();
  } catch (const std::exception&) {
    return "";
  }
}

eac_server* eac_server_start(const eac_server_options* options, eac_error** error) {
  *error = nullptr;
  eacopy::Failure failure;
  try {
    auto server = std::make_unique<eac_server>();
    server->server = eacopy::Server::Start(FromC(*options), &failure);
    if (server->server != nullptr) return server.release();
  } catch (const std::exception&) {
    failure.status = eacopy::Status::FromErrno(ENOMEM, eacopy::Operation::kStart);
  }
  try {
    *error = eacopy::ToC(std::move(failure));
  } catch (const std::exception&) {
    // Out of memory: there is no error to tell it with either.
  }
  return nullptr;
}

uint16_t eac_server_port(eac_server* server) { return server->server->port(); }

void eac_server_get_statistics(eac_server* server, eac_server_statistics* statistics) {
  const eacopy::ServerStatistics sum = server->server->GetStatistics();
  statistics->connections = sum.connections;
  statistics->active_connections = sum.active_connections;
  statistics->bytes_sent = sum.bytes_sent;
  statistics->bytes_received = sum.bytes_received;
  statistics->files_sent = sum.files_sent;
  statistics->files_received = sum.files_received;
  statistics->files_linked = sum.files_linked;
  statistics->files_skipped = sum.files_skipped;
  statistics->bytes_linked = sum.bytes_linked;
  statistics->bytes_skipped = sum.bytes_skipped;
  statistics->errors = sum.errors;
  statistics->history_size = sum.history_size;
  statistics->uptime = sum.uptime;
}

int eac_server_wait_log(eac_server* server, int timeout_milliseconds, int* level, const char** text) {
  try {
    if (!server->server->WaitLog(timeout_milliseconds, level, &server->line)) return 0;
    *text = server->line.c_str();
    return 1;
  } catch (const std::exception&) {
    return 0;
  }
}

void eac_server_stop(eac_server* server) {
  try {
    server->server->Stop();
  } catch (const std::exception&) {
    // The history could not be saved for want of memory; all else has been done by then.
  }
}

void eac_server_free(eac_server* server) { delete server; }

}  // extern "C"
