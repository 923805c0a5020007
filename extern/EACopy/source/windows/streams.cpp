// Alternate data streams: further contents of a file with names of their own, such as the mark "came from the
// internet".

#include <cerrno>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "internal.h"

namespace eacopy {
namespace platform {
namespace {

constexpr size_t kPiece = 64 * 1024;

// What must not fail a copy: streams are not known or not allowed there, or one went away meanwhile.
bool IsHarmless(int error) {
  switch (error) {
    case EINVAL:  // 123, "the name is invalid": the file system knows no streams
    case ENOTSUP:
    case ENOENT:
    case EACCES:
    case EPERM:
    case EBUSY:
    case EROFS:
    case ENOSPC:
    case ENAMETOOLONG:
      return true;
    default:
      return false;
  }
}

// The names of all streams but the unnamed one, in the form ":name:$DATA". None where there can be none.
int ListStreams(HANDLE handle, std::vector<std::wstring>* names) {
  alignas(8) char few[1024];
  std::unique_ptr<char[]> many;
  char* records = few;
  for (size_t size = sizeof(few);; size *= 4) {
    if (size > sizeof(few)) {
      many = std::make_unique<char[]>(size);
      records = many.get();
    }
    if (::GetFileInformationByHandleEx(handle, FileStreamInfo, records, static_cast<DWORD>(size)) != 0) break;
    const DWORD error = ::GetLastError();
    if (error == ERROR_HANDLE_EOF) return 0;  // a directory without streams
    if (error != ERROR_MORE_DATA || size >= (1u << 20)) return ErrnoOfError(error);
  }
  for (const char* position = records;;) {
    const auto* record = reinterpret_cast<const FILE_STREAM_INFO*>(position);
    std::wstring name(record->StreamName, record->StreamNameLength / sizeof(wchar_t));
    if (name != L"::$DATA" && !name.empty()) names->push_back(std::move(name));
    if (record->NextEntryOffset == 0) return 0;
    position += record->NextEntryOffset;
  }
}

int OpenStream(const std::wstring& file, const std::wstring& stream, const OpenMode& mode, Handle* out) {
  Location at;
  at.name = L"\\??\\" + file.substr(4) + stream;
  return Open(at, mode, out);
}

int CopyStream(const std::wstring& source_file, const std::wstring& destination_file, const std::wstring& stream,
               char* buffer) {
  Handle source, destination;
  OpenMode read{FILE_READ_DATA};
  read.options = FILE_NON_DIRECTORY_FILE | FILE_SEQUENTIAL_ONLY;
  int error = OpenStream(source_file, stream, read, &source);
  if (error != 0) return error;
  OpenMode write{FILE_WRITE_DATA | DELETE};
  write.disposition = FILE_OVERWRITE_IF;
  write.options = FILE_NON_DIRECTORY_FILE | FILE_SEQUENTIAL_ONLY;
  error = OpenStream(destination_file, stream, write, &destination);
  for (uint64_t offset = 0; error == 0;) {
    size_t got = 0;
    error = ReadAt(source.get(), offset, buffer, kPiece, &got);
    if (error == 0 && got == 0) return 0;
    for (size_t done = 0; error == 0 && done < got;) {
      size_t put = 0;
      error = WriteAt(destination.get(), offset + done, buffer + done, got - done, &put);
      done += put;
    }
    offset += got;
  }
  if (destination.valid()) MarkForRemoval(destination.get());  // half a stream is worse than none
  return error;
}

}  // namespace

Status CopyStreams(HANDLE source, HANDLE destination) {
  std::vector<std::wstring> names;
  int error = ListStreams(source, &names);
  if (error != 0 || names.empty()) {
    return MakeStatus(error == 0 || IsHarmless(error) ? 0 : error, Operation::kSetAttributes);
  }
  // Streams are opened by path, which every file system and server understands.
  std::wstring source_file, destination_file;
  error = PathOfHandle(source, &source_file);
  if (error == 0) error = PathOfHandle(destination, &destination_file);
  if (error != 0) return Status();  // nowhere to be named, so nothing to be done
  auto buffer = std::make_unique<char[]>(kPiece);
  for (const std::wstring& name : names) {
    error = CopyStream(source_file, destination_file, name, buffer.get());
    if (error != 0 && !IsHarmless(error)) return Status::FromErrno(error, Operation::kSetAttributes);
  }
  return Status();
}

}  // namespace platform
}  // namespace eacopy
