// The threads of a server: one listens, one for each connection, one keeps house.

#include "eacopy/server.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <exception>
#include <list>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

#include "link_database.h"
#include "server_context.h"
#include "session.h"
#include "socket.h"
#include "store.h"

namespace eacopy {
namespace {

using net::Count;
using net::Log;

constexpr std::chrono::milliseconds kAcceptWait(500);
constexpr std::chrono::minutes kSaveEvery(5);

}  // namespace

class Server::Impl {
 public:
  explicit Impl(const ServerOptions& options) : context_(options) {}
  ~Impl() { Stop(); }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  Status Start(Failure* failure);
  void Stop();

  uint16_t port() const { return port_; }
  net::ServerContext& context() { return context_; }

 private:
  struct Connection {
    net::Socket socket;
    std::thread thread;
    std::atomic<bool> finished{false};
  };

  void Listen();
  void Welcome(net::Socket socket);
  void Reap(bool all);
  void KeepHouse();
  bool Pause(std::chrono::milliseconds time);
  void Sweep(const platform::Directory& directory, const std::string& name);
  void LoadHistory();
  // `stopping`: at once, and without waiting for the device.
  void SaveHistory(bool stopping);

  net::ServerContext context_;
  net::Socket listener_;
  uint16_t port_ = 0;
  std::thread listening_;
  std::thread housekeeping_;
  std::mutex connections_mutex_;
  std::list<Connection> connections_;
  std::mutex stop_mutex_;
  std::condition_variable stop_;
  std::mutex save_mutex_;
  uint64_t saved_changes_ = 0;
  bool stopped_ = false;
};

Status Server::Impl::Start(Failure* failure) {
  failure->root = true;
  const ServerOptions& options = context_.options;
  if (options.shares.empty()) {
    Status status = context_.shares.AddWholeFileSystem();
    if (!status.ok()) return status;
  }
  for (const auto& [name, directory] : options.shares) {
    Status status = context_.shares.Add(name, directory);
    if (!status.ok()) {
      failure->source = directory;
      return status;
    }
  }
  Status status = net::Socket::Listen(options.host, options.port, &listener_, &failure->text);
  if (!status.ok()) {
    failure->source = options.host + ":" + std::to_string(options.port);
    return status;
  }
  port_ = listener_.LocalPort();
  LoadHistory();
  try {
    housekeeping_ = std::thread([this] { KeepHouse(); });
    listening_ = std::thread([this] { Listen(); });
  } catch (const std::system_error& error) {
    return Status::FromErrno(error.code().value(), Operation::kStart);
  }
  context_.log.Write(Log::kInfo, "listening on " + options.host + ", port " + std::to_string(port_));
  return Status();
}

void Server::Impl::Stop() {
  {
    std::lock_guard<std::mutex> lock(stop_mutex_);
    if (stopped_) return;
    stopped_ = true;
    context_.stopping.store(true);
  }
  stop_.notify_all();
  if (listener_.valid()) listener_.Shutdown();
  {
    std::lock_guard<std::mutex> lock(connections_mutex_);
    for (const Connection& connection : connections_) connection.socket.Shutdown();
  }
  if (listening_.joinable()) listening_.join();
  Reap(true);
  if (housekeeping_.joinable()) housekeeping_.join();
  listener_.Close();
  if (port_ != 0) {
    SaveHistory(true);
    context_.log.Write(Log::kInfo, "stopped");
  }
  context_.log.Close();
}

void Server::Impl::Listen() {
  while (!context_.stopping.load()) {
    net::Socket socket;
    Status status = listener_.Accept(kAcceptWait, &socket);
    if (context_.stopping.load()) return;
    Reap(false);
    if (!status.ok()) {
      // Out of descriptors, as a rule: there will be some again when a connection ends.
      Count(&context_.totals.errors);
      context_.log.Write(Log::kError, std::string("cannot take a connection: ") + std::strerror(status.error_number()));
      if (!Pause(std::chrono::milliseconds(200))) return;
    } else if (socket.valid()) {
      try {
        Welcome(std::move(socket));
      } catch (const std::exception& error) {  // no memory, no threads
        Count(&context_.totals.errors);
        context_.log.Write(Log::kError, std::string("cannot serve a connection: ") + error.what());
      }
    }
  }
}

void Server::Impl::Welcome(net::Socket socket) {
  Count(&context_.totals.connections);
  // Every connection needs a few descriptors to work.
  const size_t most = std::max<size_t>(std::min<size_t>(context_.options.max_connections, context_.descriptors / 4), 1);
  if (context_.totals.active_connections.load() >= most) {
    Count(&context_.totals.errors);
    context_.log.Write(Log::kWarning, "refused " + socket.PeerName() + ": there are too many connections");
    size_t sent = 0;
    socket.SendNow(net::VersionMessage(context_), &sent);
    return;
  }
  std::lock_guard<std::mutex> lock(connections_mutex_);
  connections_.emplace_back();
  Connection& connection = connections_.back();
  connection.socket = std::move(socket);
  Count(&context_.totals.active_connections);
  try {
    connection.thread = std::thread([this, &connection] {
      net::ServeConnection(context_, connection.socket);
      connection.socket.Shutdown();
      context_.totals.active_connections.fetch_sub(1);
      connection.finished.store(true);
    });
  } catch (const std::system_error&) {
    context_.totals.active_connections.fetch_sub(1);
    connections_.pop_back();
    throw;
  }
}

// Joins the threads of connections that have ended, or of all.
void Server::Impl::Reap(bool all) {
  std::list<Connection> ended;
  {
    std::lock_guard<std::mutex> lock(connections_mutex_);
    for (auto connection = connections_.begin(); connection != connections_.end();) {
      const auto next = std::next(connection);
      if (all || connection->finished.load()) ended.splice(ended.end(), connections_, connection);
      connection = next;
    }
  }
  for (Connection& connection : ended) {
    if (connection.thread.joinable()) connection.thread.join();
  }
}

// False: the server stops.
bool Server::Impl::Pause(std::chrono::milliseconds time) {
  std::unique_lock<std::mutex> lock(stop_mutex_);
  return !stop_.wait_for(lock, time, [this] { return stopped_; });
}

void Server::Impl::KeepHouse() {
  try {
    if (!context_.shares.whole_file_system()) {
      for (const auto& share : context_.shares.all()) Sweep(*share->root, share->directory);
    }
    auto saved = std::chrono::steady_clock::now();
    while (Pause(std::chrono::milliseconds(500))) {
      net::Place place;
      while (context_.sweeps.Take(&place)) {
        net::OpenDirectories directories(*place.share);
        net::OpenDirectory directory;
        if (directories.Open(place.path, &directory).ok()) Sweep(*directory, place.share->Absolute(place.path));
      }
      if (std::chrono::steady_clock::now() - saved < kSaveEvery) continue;
      SaveHistory(false);
      saved = std::chrono::steady_clock::now();
    }
  } catch (const std::exception& error) {
    context_.log.Write(Log::kError, std::string("housekeeping ended: ") + error.what());
  }
}

// Removes what a server that was killed has left.
void Server::Impl::Sweep(const platform::Directory& directory, const std::string& name) {
  const size_t removed = net::RemoveDeadFiles(directory, context_.stopping);
  if (removed != 0) {
    context_.log.Write(Log::kInfo,
                       "removed " + std::to_string(removed) + " unfinished files that were left in " + name);
  }
}

void Server::Impl::LoadHistory() {
  const std::string& path = context_.options.history_file;
  if (path.empty()) return;
  bool complete = true;
  Status status = net::LoadLinkDatabase(path, net::PathsIn(context_.shares), &context_.history, &complete);
  if (!status.ok()) {
    context_.log.Write(Log::kWarning, "cannot read the history " + path + ": " + std::strerror(status.error_number()));
  } else if (!complete) {
    context_.log.Write(Log::kWarning, "the history " + path + " is damaged: it was read as far as possible");
  }
  saved_changes_ = context_.history.changes();
}

void Server::Impl::SaveHistory(bool stopping) {
  const std::string& path = context_.options.history_file;
  if (path.empty()) return;
  std::lock_guard<std::mutex> lock(save_mutex_);
  const uint64_t changes = context_.history.changes();
  if (changes == saved_changes_) return;
  Status status = net::SaveLinkDatabase(path, net::PathsIn(context_.shares), &context_.history, !stopping,
                                        stopping ? nullptr : &context_.stopping);
  if (status.cancelled()) return;
  if (status.ok()) {
    saved_changes_ = changes;
    return;
  }
  Count(&context_.totals.errors);
  context_.log.Write(Log::kError, "cannot write the history " + path + ": " + std::strerror(status.error_number()));
}

Server::Server(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Server::~Server() = default;

std::unique_ptr<Server> Server::Start(const ServerOptions& options, Failure* failure) {
  auto impl = std::make_unique<Impl>(options);
  failure->status = impl->Start(failure);
  if (!failure->status.ok()) return nullptr;
  return std::unique_ptr<Server>(new Server(std::move(impl)));
}

uint16_t Server::port() const { return impl_->port(); }

ServerStatistics Server::GetStatistics() const { return impl_->context().Statistics(); }

bool Server::WaitLog(int timeout_milliseconds, int* level, std::string* text) {
  return impl_->context().log.Wait(std::chrono::milliseconds(std::max(timeout_milliseconds, 0)), level, text);
}

void Server::Stop() { impl_->Stop(); }

}  // namespace eacopy
