// Connecting, and what the connections of a job share; see remote_job.h.

#include "remote_job.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>
#include <utility>
#include <vector>

#include "../file_copy.h"
#include "../ranges.h"
#include "share.h"

namespace eacopy {
namespace net {

using std::chrono::milliseconds;

namespace {

constexpr size_t kMaxGreeting = 4096;
// A server at a loopback address that answers sooner is on this machine, and no tunnel to another.
constexpr std::chrono::milliseconds kNear{1};

Status NoServer(int error_number = EPROTO) { return Status::Of(Kind::kNetwork, Operation::kConnect, error_number); }

Status NotProved() { return Status::Of(Kind::kPermissionDenied, Operation::kAuthenticate, EACCES); }

// Something of the session's set-up failed: nothing was begun, whatever it was. Only a server that speaks, but not as
// the protocol has it, is told of as such.
Status WhileConnecting(const Status& status) {
  if (status.cancelled() || status.ok() || status.kind() == Kind::kClient) return status;
  if (status.operation() != Operation::kSend && status.operation() != Operation::kReceive) return status;
  const Kind kind = status.kind() == Kind::kTimeout ? Kind::kTimeout : Kind::kNetwork;
  return Status::Of(kind, Operation::kConnect, status.error_number());
}

// A server that hangs up instead of an answer has refused a proof.
bool HungUp(const Status& status) {
  return status.kind() == Kind::kNetwork && (status.error_number() == ECONNRESET || status.error_number() == EPIPE);
}

// Between the names of a path that has the system's own separator, that one is put.
std::string Join(const std::string& directory, std::string_view name) {
  if (name.empty()) return directory;
  std::string path = directory;
  const bool native = path.find(platform::kSeparator) != std::string::npos;
  const char separator = native ? platform::kSeparator : '/';
  if (!path.empty() && path.back() != separator && path.back() != '/') path += separator;
  const size_t begin = path.size();
  path += name;
  std::replace(path.begin() + static_cast<std::ptrdiff_t>(begin), path.end(), '/', separator);
  return path;
}

}  // namespace

// The first task of a job, and those that it starts for more connections.
class RemoteJob::LaneTask : public Task {
 public:
  LaneTask(RemoteJob& remote, uint32_t index) : remote_(remote), index_(index) {}

  void Run(Worker& worker) override {
    {
      std::lock_guard<std::mutex> lock(remote_.mutex_);
      if (remote_.lanes_closed_) return;
      ++remote_.lanes_running_;
    }
    if (!remote_.stopping()) remote_.lane_(worker, index_);
    std::lock_guard<std::mutex> lock(remote_.mutex_);
    --remote_.lanes_running_;
    remote_.lane_ended_.notify_all();
  }

 private:
  RemoteJob& remote_;
  const uint32_t index_;
};

void RemoteJob::SetItem(bool tree, std::string source, std::string destination) {
  tree_ = tree;
  source_ = std::move(source);
  destination_ = std::move(destination);
}

std::string RemoteJob::SourcePath(std::string_view path) const { return Join(source_, path); }

std::string RemoteJob::DestinationPath(std::string_view path) const { return Join(destination_, path); }

std::string RemoteJob::server() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return server_;
}

Status RemoteJob::WithDestinationState(Status status, const std::string& destination) const {
  platform::FileInfo info;
  if (remote.push) {
    status.set_destination_state(DestinationState::kUnknown);
  } else if (platform::GetInfo(platform::Directory::Paths(), destination.c_str(), false, &info).ok()) {
    status.set_destination_state(DestinationState::kOld);
  } else {
    status.set_destination_state(DestinationState::kAbsent);
  }
  return status;
}

void RemoteJob::Fail(Worker& worker, const Status& status, std::string_view path, std::string text) {
  failed_.store(true, std::memory_order_relaxed);
  std::string destination = DestinationPath(path);
  const Status told = WithDestinationState(status, destination);
  job.Fail(worker, told, SourcePath(path), std::move(destination), false, std::move(text));
}

void RemoteJob::FailWhole(Worker& worker, const Status& status, std::string text) {
  if (stopping_.exchange(true) && !status.cancelled()) return;  // another connection has told
  failed_.store(true, std::memory_order_relaxed);
  if (status.cancelled() || job.cancelled()) return;
  job.Fail(worker, WithDestinationState(status, destination_), source_, destination_, true, std::move(text));
}

bool RemoteJob::AskFilter(std::string_view path, const platform::Listing& names, std::vector<uint8_t>* leave_out) {
  leave_out->assign(names.size(), 0);
  std::unique_lock<std::mutex> lock(mutex_);
  FilterRequest request;
  request.ticket = next_ticket_++;
  request.directory = SourcePath(path);
  request.names = names.names();
  request.count = names.size();
  const uint64_t ticket = request.ticket;
  filters_[ticket] = leave_out;
  job.events().AddFilter(std::move(request));
  while (filters_.count(ticket) != 0 && !stopping()) filter_answered_.wait_for(lock, milliseconds(40));
  return filters_.erase(ticket) == 0;
}

void RemoteJob::AnswerFilter(uint64_t ticket, const uint8_t* leave_out) {
  std::lock_guard<std::mutex> lock(mutex_);
  const auto asked = filters_.find(ticket);
  if (asked == filters_.end()) return;
  std::copy(leave_out, leave_out + asked->second->size(), asked->second->begin());
  filters_.erase(asked);
  filter_answered_.notify_all();
}

void RemoteJob::TellFile(std::string_view path, uint64_t size) {
  if (job.options().want_progress) job.events().AddProgress(true, size, size, SourcePath(path));
}

bool RemoteJob::CanRetry(const Status& status, uint32_t tries) const {
  return job.options().strategy == Strategy::kRetry && tries < job.options().retry_count && status.retryable() &&
         status.kind() != Kind::kUnsupported && status.operation() != Operation::kAuthenticate;
}

bool RemoteJob::WaitBeforeRetry() const {
  const auto until =
      std::chrono::steady_clock::now() + std::chrono::duration_cast<std::chrono::steady_clock::duration>(
                                             std::chrono::duration<double>(std::min(job.options().retry_delay, 1e9)));
  while (!stopping()) {
    const auto now = std::chrono::steady_clock::now();
    if (now >= until) return true;
    std::this_thread::sleep_for(std::min<std::chrono::steady_clock::duration>(until - now, milliseconds(20)));
  }
  return false;
}

void RemoteJob::StartLanes(uint32_t count, std::function<void(Worker&, uint32_t)> lane) {
  std::vector<std::unique_ptr<Task>> tasks;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    lane_ = std::move(lane);
    while (count-- != 0) tasks.push_back(std::make_unique<LaneTask>(*this, ++lanes_made_));
  }
  job.scheduler().Push(std::move(tasks));
}

void RemoteJob::WaitForLanes() {
  std::unique_lock<std::mutex> lock(mutex_);
  lanes_closed_ = true;
  lane_ended_.wait(lock, [this] { return lanes_running_ == 0; });
}

Patience RemoteJob::MakePatience() const {
  Patience patience;
  const double longest = 1e9;
  patience.silence = milliseconds(static_cast<int64_t>(1000 * std::max(0.001, std::min(remote.timeout, longest))));
  patience.cancelled = job.cancel_flag();
  return patience;
}

Status RemoteJob::Connect(Worker& worker, uint32_t index, const std::string& net_directory, Session* out,
                          std::string* text) {
  text->clear();
  const Patience patience = MakePatience();
  Socket socket;
  Status status = Socket::Connect(remote.host, remote.port, patience, &socket, text);
  if (!status.ok()) {
    if (status.cancelled()) return status;
    // Whatever it is that is wrong with the network, there is no server.
    const Kind kind = status.kind() == Kind::kTimeout ? Kind::kTimeout : Kind::kNetwork;
    return Status::Of(kind, Operation::kConnect, status.error_number());
  }
  Session session;
  session.channel = std::make_unique<ClientChannel>(std::move(socket), patience, *worker.counters, job.throttle());
  std::string transcript;
  status = Greet(&session, &transcript, text);
  if (status.ok()) {
    status = session.extended ? SetUpExtended(&session, index, std::move(transcript), text)
                              : SetUpPlain(&session, index, net_directory, text);
  }
  if (!status.ok()) {
    if (!status.cancelled() && status.operation() == Operation::kNone) {
      // The place is refused, without a word of what was tried there.
      return Status::Of(status.kind(), remote.push ? Operation::kOpenDestination : Operation::kOpenSource,
                        status.error_number());
    }
    return WhileConnecting(status);
  }
  WorkerCounters::Add(worker.counters->directories_created, session.made);
  *out = std::move(session);
  return Status();
}

// The server speaks first: its version, and what it can.
Status RemoteJob::Greet(Session* session, std::string* transcript, std::string* text) {
  ClientChannel& channel = *session->channel;
  Status status = channel.Need(wire::kHeaderSize);
  if (!status.ok()) {
    if (HungUp(status)) *text = "it hung up";
    return status;
  }
  const uint32_t size = LoadNumber<uint32_t>(channel.bytes().data());
  wire::Version version;
  if (size < 20 || size > kMaxGreeting || channel.bytes()[4] != 0) {
    *text = "it is no EACopy server";
    return NoServer();
  }
  status = channel.Need(size);
  if (!status.ok()) return status;
  const std::string_view bytes = channel.bytes().substr(0, size);
  if (!wire::DecodeVersion(bytes, &version)) {
    *text = "it is no EACopy server";
    return NoServer();
  }
  if (version.protocol_version != wire::kProtocolVersion) {
    *text = "it speaks version " + std::to_string(version.protocol_version) + " of the protocol, and this is " +
            std::to_string(wire::kProtocolVersion);
    return NoServer();
  }
  transcript->assign(bytes.data(), bytes.size());
  channel.Consume(size);
  session->flags = version.flags;
  session->extended = (version.flags & wire::kExtended) != 0 && !remote.plain;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    server_ = version.info;
  }
  if (!remote.token.empty() && (!session->extended || (version.flags & wire::kTokenRequired) == 0)) {
    *text = "the server does not know of tokens, or has none";
    return NotProved();
  }
  if (remote.token.empty() && (version.flags & wire::kTokenRequired) != 0) {
    *text = "the server asks for a token";
    return NotProved();
  }
  return Status();
}

Status RemoteJob::SetUpExtended(Session* session, uint32_t index, std::string transcript, std::string* text) {
  ClientChannel& channel = *session->channel;
  Message message;
  auto receive = [&](MessageType wanted) {
    Status status = channel.Receive(&message, text);
    if (status.ok() && message.type != wanted) return Violation();
    return status;
  };

  Hello hello;
  hello.capabilities = kFileCapabilities;
  if (ZstdAvailable()) hello.capabilities |= kCapabilityZstd;
  if (ZstdAvailable() && remote.delta != DeltaMode::kNever) hello.capabilities |= kCapabilityDelta | kCapabilityPatches;
  platform::RandomBytes(hello.nonce.data(), hello.nonce.size());
  std::string sent;
  EncodeHello(&sent, hello);
  transcript += sent;
  channel.messages() += sent;
  const auto asked = std::chrono::steady_clock::now();
  Status status = receive(MessageType::kWelcome);
  const auto answered = std::chrono::steady_clock::now() - asked;
  if (!status.ok()) return status;
  Hello welcome;
  if (!DecodeWelcome(message.payload, &welcome)) return Violation();
  if (welcome.version != kDialectVersion) {
    *text = "it speaks another version of the extended dialect";
    return NoServer();
  }
  transcript.append(message.payload.data() - kMessageHeader, message.payload.size() + kMessageHeader);
  session->capabilities = welcome.capabilities & hello.capabilities;
  if ((session->capabilities & kCapabilityZstd) == 0) session->capabilities &= ~uint32_t{kCapabilityDelta};
  const bool unasked = remote.delta == DeltaMode::kAuto && remote.reference.empty();
  if (unasked && channel.socket().PeerIsLoopback() && answered < kNear)
    session->capabilities &= ~uint32_t{kCapabilityDelta};
  if ((session->capabilities & kCapabilityDelta) == 0) session->capabilities &= ~uint32_t{kCapabilityPatches};
  session->advised = welcome.connections;

  if (!remote.token.empty()) {
    EncodeProof(&channel.messages(), MessageType::kProof, ClientProof(remote.token, transcript));
    status = receive(MessageType::kProofAccepted);
    if (HungUp(status)) {
      *text = "the server did not accept the token";
      return NotProved();
    }
    if (!status.ok()) return status;
    Sha256Digest proof;
    if (!DecodeProof(message.payload, &proof)) return Violation();
    if (!EqualInConstantTime(proof, ServerProof(remote.token, transcript))) {
      *text = "the server does not know the token";
      return NotProved();
    }
  }

  Open open;
  open.connection_index = index;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    open.secret = secret_;
  }
  open.flags = static_cast<uint8_t>(remote.push ? kOpenWrite | (tree_ ? kOpenTree : 0) : 0);
  open.directory = remote.directory;
  EncodeOpen(&channel.messages(), open);
  status = channel.Receive(&message, text);
  bool proving = false;
  if (status.ok() && message.type == MessageType::kProve) {
    Prove prove;
    if (!DecodeProve(message.payload, &prove)) return Violation();
    Secret secret{};
    if (!ReadSecurityFile(prove.guid, prove.path, &secret)) {
      *text = "the server's proof file cannot be read from here: " + wire::SecurityFileName(prove.guid);
    }
    proving = true;
    EncodeSecret(&channel.messages(), secret);
    {
      std::lock_guard<std::mutex> lock(mutex_);
      secret_ = secret;
    }
    std::string told;
    status = channel.Receive(&message, &told);
    if (!told.empty()) *text = told;
  }
  if (HungUp(status) && (proving || open.secret != Secret{})) return NotProved();
  if (!status.ok()) return status;
  if (message.type != MessageType::kOpened || !DecodeOpened(message.payload, &session->what, &session->made))
    return Violation();
  if ((session->capabilities & kCapabilityZstd) != 0) channel.UseZstd(remote.push ? remote.level : 0);
  return Status();
}

Status RemoteJob::SetUpPlain(Session* session, uint32_t index, const std::string& net_directory, std::string* text) {
  ClientChannel& channel = *session->channel;
  wire::Environment environment;
  environment.connection_index = index == 0 ? 1 : index;
  environment.net_directory = net_directory;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    const bool proves = (session->flags & wire::kUseSecurityFile) != 0;
    if (!proves && secret_ == Secret{}) platform::RandomBytes(secret_.data(), secret_.size());
    environment.secret = secret_;
  }
  if (!wire::EncodeEnvironment(&channel.messages(), environment)) {
    return Status::Of(Kind::kEncoding, Operation::kConnect, EILSEQ);
  }
  if ((session->flags & wire::kUseSecurityFile) == 0 || environment.secret != Secret{}) {
    return channel.Pump(milliseconds(0), false);
  }
  Status status = channel.Need(16);
  if (!status.ok()) {
    if (HungUp(status)) *text = "the server does not serve " + net_directory;
    return status;
  }
  Guid guid;
  std::memcpy(guid.data(), channel.bytes().data(), guid.size());
  channel.Consume(guid.size());
  Secret secret{};
  const bool read = ReadSecurityFile(guid, std::string_view(), &secret);
  PutArray(&channel.messages(), secret);
  status = channel.Pump(milliseconds(0), false);
  if (!read) {
    *text = "the server's proof file cannot be read from here: " + wire::SecurityFileName(guid);
    return NotProved();
  }
  std::lock_guard<std::mutex> lock(mutex_);
  secret_ = secret;
  return status;
}

bool RemoteJob::ReadSecurityFile(const Guid& guid, std::string_view told, Secret* secret) const {
  const std::string name = wire::SecurityFileName(guid);
  std::vector<std::string> paths;
  if (!remote.local_directory.empty()) {
    paths.push_back(Join(remote.local_directory, name));
    // What was asked for may be a file, and its directory is the session's.
    const std::string& local = remote.local_directory;
    paths.push_back(Join(local.substr(0, local.size() - std::strlen(BaseName(local.c_str()))), name));
  }
  // Nobody makes us read anything but such a file.
  const std::string end = "/" + name;
  if (told.size() > end.size() && IsAbsolute(told) && told.substr(told.size() - end.size()) == end &&
      told.find('\0') == std::string_view::npos) {
    paths.emplace_back(told);
  }
  for (const std::string& path : paths) {
    platform::Handle file;
    platform::FileInfo info;
    if (!platform::OpenSource(platform::Directory::Paths(), path.c_str(), false, &file, &info).ok()) continue;
    if (info.type != platform::FileType::kRegular || info.size != secret->size()) continue;
    size_t got = 0;
    auto* bytes = reinterpret_cast<char*>(secret->data());
    if (platform::ReadRange(file, Operation::kRead, 0, bytes, secret->size(), &got).ok() && got == secret->size()) {
      return true;
    }
    *secret = Secret{};
  }
  return false;
}

Status AskFirst(RemoteJob& remote, Worker& worker, const std::string& net_directory, Session* session,
                const std::function<Status(Session*)>& ask) {
  for (uint32_t tries = 0;; ++tries) {
    Status status = ask(session);
    if (HungUp(status)) status = Status::Of(Kind::kNetwork, Operation::kConnect, status.error_number());
    if (status.ok() || !remote.CanRetry(status, tries) || !remote.WaitBeforeRetry()) return status;
    WorkerCounters::Add(worker.counters->retries, 1);
    std::string text;
    status = remote.Connect(worker, 0, net_directory, session, &text);
    if (!status.ok()) return status;
  }
}

bool NetDirectoryOf(const RemoteJob& remote, std::string* net_directory, std::string* rest) {
  std::string path = remote.remote.directory;
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  rest->clear();
  // A tree that is pushed is the directory; of anything else only the server knows what it is, but its parent is one.
  if (!(remote.remote.push && remote.tree())) {
    const size_t slash = path.rfind('/');
    if (slash != std::string::npos && slash != 0) {
      if (!wire::ToWirePath(path.substr(slash + 1), rest)) return false;
      path.resize(slash);
    }
  }
  if (!wire::ToWirePath(path, net_directory)) return false;
  if (net_directory->empty() || net_directory->back() != '\\') *net_directory += '\\';
  return true;
}

namespace {

class RemoteTask : public Task {
 public:
  explicit RemoteTask(RemoteJob& remote) : remote_(remote) {}

  void Run(Worker& worker) override {
    if (remote_.job.cancelled()) return;
    std::string net_directory, rest, text;
    const bool sayable = NetDirectoryOf(remote_, &net_directory, &rest);
    Session session;
    Status status;
    for (uint32_t tries = 0;; ++tries) {
      status = remote_.Connect(worker, 0, net_directory, &session, &text);
      if (status.ok() || !remote_.CanRetry(status, tries) || !remote_.WaitBeforeRetry()) break;
      WorkerCounters::Add(worker.counters->retries, 1);
    }
    if (!status.ok()) {
      remote_.FailWhole(worker, status, text);
    } else if (remote_.remote.delta == DeltaMode::kAlways && (session.capabilities & kCapabilityDelta) == 0) {
      remote_.FailWhole(worker, Status::Of(Kind::kUnsupported, Operation::kConnect, ENOTSUP),
                        ZstdAvailable() ? "the server makes no deltas; leave it to delta='auto' whether to use them"
                                        : "deltas need zstd, which is not here");
    } else if (session.extended) {
      (remote_.remote.push ? Push : Pull)(remote_, worker, std::move(session));
    } else if (!sayable) {
      remote_.FailWhole(worker, Status::Of(Kind::kEncoding, Operation::kConnect, EILSEQ),
                        "the server's protocol cannot say this path");
    } else {
      (remote_.remote.push ? PushPlain : PullPlain)(remote_, worker, std::move(session));
    }
    if (remote_.failed()) remote_.job.EndItemWithFailure();
  }

 private:
  RemoteJob& remote_;
};

}  // namespace

std::unique_ptr<Task> MakeRemoteTask(RemoteJob& remote) { return std::make_unique<RemoteTask>(remote); }

}  // namespace net
}  // namespace eacopy
