// Looking at what the history and the destination hold, and making links and copies of it on the server.

#include "known_files.h"

#include <algorithm>
#include <cerrno>
#include <utility>
#include <vector>

#include "../monitor.h"
#include "../temporary.h"
#include "wire.h"

namespace eacopy {
namespace net {

using platform::FileInfo;
using platform::FileType;

namespace {

class StopMonitor : public Monitor {
 public:
  explicit StopMonitor(const std::atomic<bool>* stopping) : Monitor(stopping) {}
  void Advance(uint64_t /*bytes*/) override {}
};

bool SameStamp(const FileInfo& a, const FileInfo& b) {
  return a.type == b.type && a.id == b.id && a.size == b.size && a.modified.seconds == b.modified.seconds &&
         a.modified.nanoseconds == b.modified.nanoseconds;
}

}  // namespace

std::string_view KnownFiles::KeyOf(std::string_view path) const {
  return context_.options.link_by_name ? NameOf(path) : path;
}

bool KnownFiles::IsEqual(const FileInfo& info, const OfferedFile& file) const {
  if (info.type != FileType::kRegular || info.size != file.size) return false;
  return file.exact_time ? IsSameTime(info.modified, file.metadata.mtime, 1)
                         : wire::FileTimeFromTimestamp(info.modified) == file.file_time;
}

// Whether what is remembered is still true.
bool KnownFiles::Look(Found* found) {
  found->name = std::string(NameOf(found->file.path));
  if (!directories_.Open(ParentOf(found->file.path), &found->parent).ok()) return false;
  if (!platform::GetInfo(*found->parent, found->name.c_str(), false, &found->info).ok()) return false;
  return found->info.type == FileType::kRegular && found->info.size == found->file.size &&
         wire::FileTimeFromTimestamp(found->info.modified) == found->file.mtime;
}

// Opens it, if it is what was looked at.
bool KnownFiles::OpenFound(Found* found, OlderVersion* older) {
  if (!Look(found)) return false;
  return older->Open(*found->parent, found->name.c_str(), false).ok() && SameStamp(older->info(), found->info);
}

bool KnownFiles::OpenOlder(const OfferedFile& file, OlderVersion* older) {
  for (Remembered& known : context_.history.FindName(share_.number, NameOf(file.path), file.size)) {
    Found found;
    found.file = std::move(known);
    OlderVersion opened;
    if (found.file.path == file.full_path || !OpenFound(&found, &opened) || !opened.IsLike(file.size)) continue;
    *older = std::move(opened);
    return true;
  }
  return false;
}

bool KnownFiles::Knows(std::string_view name, uint64_t size) const {
  const std::vector<Remembered> found = context_.history.FindName(share_.number, name, size);
  return std::any_of(found.begin(), found.end(), [size](const Remembered& file) { return file.size == size; });
}

bool KnownFiles::OpenReference(std::string_view name, std::string_view except, const ReferenceDigest& reference,
                               OlderVersion* older) {
  std::vector<Remembered> candidates(1);
  if (!context_.history.FindDigest(share_.number, reference.md5, reference.size, &candidates[0])) candidates.clear();
  for (Remembered& known : context_.history.FindName(share_.number, name, reference.size)) {
    const bool may_be = known.size == reference.size && (!known.has_md5() || known.md5 == reference.md5);
    if (may_be) candidates.push_back(std::move(known));
  }
  for (Remembered& known : candidates) {
    Found found;
    found.file = std::move(known);
    OlderVersion opened;
    if (found.file.path == except || !OpenFound(&found, &opened) || !opened.Compare(reference, &context_.stopping).ok())
      continue;
    *older = std::move(opened);
    return true;
  }
  return false;
}

// Whether it is in all things what is offered, so that one file can serve for both.
bool KnownFiles::MayLink(const Found& found, const OfferedFile& file) const {
  const LinkMode mode = context_.options.link_mode;
  if (mode != LinkMode::kAuto && mode != LinkMode::kHard) return false;
  if (!IsEqual(found.info, file)) return false;
  if (file.metadata.mode != kUnknownMode && file.metadata.mode != found.info.mode) return false;
  if (!file.compare_attributes) return true;
  std::string attributes;
  ReadAttributesAt(*found.parent, found.name.c_str(), &attributes);
  return EqualAttributes(attributes, file.metadata.attributes);
}

Status KnownFiles::Decide(const OfferedFile& file, const OpenDirectory& parent, bool new_parent, Decision* decision,
                          uint32_t* existing_mode) {
  *decision = Decision::kSend;
  *existing_mode = kUnknownMode;
  const bool links = context_.options.link_mode != LinkMode::kNever && file.size >= context_.options.link_min_size;
  Found found;
  bool known = links && context_.history.Find(share_.number, KeyOf(file.path), file.file_time, file.size, &found.file);
  if (known && found.file.path == file.full_path) {
    known = false;
    new_parent = false;  // it came a moment ago
  }
  known = known && Look(&found) && IsEqual(found.info, file);
  const bool clones =
      known && context_.options.link_mode != LinkMode::kHard && !context_.clone_refusals.Contains(found.info.id.device);
  if (known && !clones && MayLink(found, file)) {
    // The usual case: there is nothing in the way.
    bool exists = false;
    if (Link(found, file, parent, false, &exists)) {
      *decision = Decision::kLinked;
      CountLinked(file, found.file.has_md5() ? &found.file.md5 : nullptr);
      return Status();
    }
    if (exists) new_parent = false;
  }
  const std::string name(NameOf(file.path));
  FileInfo there;
  if (!new_parent && platform::GetInfo(*parent, name.c_str(), false, &there).ok()) {
    if (there.type == FileType::kDirectory) return Status::FromErrno(EISDIR, Operation::kOpenDestination);
    if (there.type == FileType::kRegular) *existing_mode = ModeOf(there);
    if (IsEqual(there, file)) {
      bool done = file.metadata.mode == kUnknownMode || file.metadata.mode == there.mode;
      if (!done) {
        Status status = SetMode(file, parent, there, &done);
        if (!status.ok()) return status;
      }
      if (done) {
        *decision = Decision::kSkipped;
        CountSkipped(file, nullptr);
        return Status();
      }
    }
  }
  if (known && LinkOrCopy(found, file, parent)) {
    *decision = Decision::kLinked;
    CountLinked(file, found.file.has_md5() ? &found.file.md5 : nullptr);
  }
  return Status();
}

Status KnownFiles::DecideByDigest(const OfferedFile& file, const OpenDirectory& parent, const Md5Digest& md5,
                                  Decision* decision) {
  *decision = Decision::kSend;
  if (context_.options.link_mode == LinkMode::kNever || file.size < context_.options.link_min_size) return Status();
  Found found;
  if (md5 == Md5Digest{} || !context_.history.FindDigest(share_.number, md5, file.size, &found.file)) return Status();
  if (found.file.path == file.full_path || !Look(&found) || !LinkOrCopy(found, file, parent)) return Status();
  *decision = Decision::kLinked;
  CountLinked(file, &md5);
  return Status();
}

bool KnownFiles::Link(const Found& found, const OfferedFile& file, const OpenDirectory& parent, bool replace,
                      bool* exists) {
  const std::string name(NameOf(file.path));
  const std::string made = replace ? TemporaryName() : name;
  const Status status = platform::MakeHardLink(*found.parent, found.name.c_str(), *parent, made.c_str());
  if (!status.ok()) {
    *exists = status.error_number() == EEXIST;
    return false;
  }
  // The name may have been given to another file since it was looked at, or the file been written to.
  FileInfo linked;
  bool good = platform::GetInfo(*parent, made.c_str(), false, &linked).ok() && SameStamp(linked, found.info);
  if (good && replace) good = platform::Rename(*parent, made.c_str(), name.c_str()).ok();
  // Renaming one name of a file to another of the same file does nothing, and leaves both.
  if (!good || replace) platform::RemoveFile(*parent, made.c_str());
  return good && (!file.metadata.durable || platform::Sync(*parent).ok());
}

// A clone, or a copy of the data, made on the server. False: what is remembered cannot be used.
bool KnownFiles::CopyHere(const Found& found, const OfferedFile& file, const OpenDirectory& parent, bool clone_only) {
  platform::Handle source;
  FileInfo info;
  if (!platform::OpenSource(*found.parent, found.name.c_str(), false, &source, &info).ok()) return false;
  if (!SameStamp(info, found.info)) return false;
  TemporaryFile copy;
  if (!copy.Create(parent, 0600).ok()) return false;
  Options options;
  options.reflink = clone_only ? Reflink::kAlways : Reflink::kAuto;
  StopMonitor monitor(&context_.stopping);
  const platform::DataRequest request{source, info, copy.handle(), nullptr, options, 1, scratch_, monitor};
  Method method = Method::kReadWrite;
  uint64_t size = 0;
  Status status = platform::CopyData(request, &method, &size);
  if (!status.ok()) {
    if (clone_only && status.kind() == Kind::kUnsupported) context_.clone_refusals.Add(found.info.id.device);
    return false;
  }
  // What was copied must be what was looked at.
  if (size != file.size || !platform::GetInfo(source, &info).ok() || !SameStamp(info, found.info)) return false;
  copy.SetSize(size);
  NewMetadata metadata = file.metadata;
  if (metadata.mode == kUnknownMode && platform::kHasModes) metadata.mode = found.info.mode & 0777;
  return copy.Finish(std::string(NameOf(file.path)).c_str(), metadata).ok();
}

bool KnownFiles::LinkOrCopy(const Found& found, const OfferedFile& file, const OpenDirectory& parent) {
  const LinkMode mode = context_.options.link_mode;
  const bool clones = mode != LinkMode::kHard && !context_.clone_refusals.Contains(found.info.id.device);
  if (clones && CopyHere(found, file, parent, true)) return true;
  bool exists = false;
  if (MayLink(found, file) && Link(found, file, parent, true, &exists)) return true;
  return CopyHere(found, file, parent, false);
}

// Gives the destination, which has the right content, the right mode. *done stays false when the content must be sent.
Status KnownFiles::SetMode(const OfferedFile& file, const OpenDirectory& parent, const FileInfo& info, bool* done) {
  const std::string name(NameOf(file.path));
  platform::Handle handle;
  FileInfo opened;
  if (!platform::OpenSource(*parent, name.c_str(), false, &handle, &opened).ok() || !SameStamp(opened, info)) {
    return Status();
  }
  if (opened.links == 1) {
    *done = TakesMode(handle, file.metadata.mode);
    return Status();
  }
  // Its other names keep the mode they have.
  Found found;
  found.parent = parent;
  found.name = name;
  found.info = info;
  *done = CopyHere(found, file, parent, false);
  return Status();
}

void KnownFiles::CountSkipped(const OfferedFile& file, const Md5Digest* md5) {
  Count(&context_.totals.files_skipped);
  Count(&context_.totals.bytes_skipped, file.size);
  Remember(file, md5);
}

void KnownFiles::CountLinked(const OfferedFile& file, const Md5Digest* md5) {
  Count(&context_.totals.files_linked);
  Count(&context_.totals.bytes_linked, file.size);
  Remember(file, md5);
}

void KnownFiles::Remember(const OfferedFile& file, const Md5Digest* md5) {
  Remembered remembered;
  remembered.share = share_.number;
  remembered.path = file.full_path;
  remembered.key_size = KeyOf(file.path).size();
  remembered.mtime = file.file_time;
  remembered.size = file.size;
  if (md5 != nullptr) remembered.md5 = *md5;
  context_.history.Add(std::move(remembered));
}

}  // namespace net
}  // namespace eacopy
