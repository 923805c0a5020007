// The plain dialect, protocol version 20: its messages as values, and their bytes.
//
// Encoders append to a buffer, with the padding that real peers send, as zeros. Decoders read one whole command, header
// included, never leave its bytes, and accept "tight" ones without padding. Names are UTF-8 here, with lone surrogates
// as in WTF-8, and UTF-16LE on the wire.
#ifndef EACOPY_SOURCE_NET_WIRE_H_
#define EACOPY_SOURCE_NET_WIRE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "../platform.h"

namespace eacopy {
namespace net {

using Guid = std::array<uint8_t, 16>;  // as Windows has it in memory

namespace wire {

constexpr uint32_t kProtocolVersion = 20;
constexpr size_t kHeaderSize = 8;
constexpr size_t kMaxCommand = 512 * 1024;
constexpr size_t kMaxVersion = 2068;              // what real clients have room for
constexpr size_t kMaxBlock = 8u << 20;            // a compressed block, and what it decodes to
constexpr size_t kBlockContent = 2064384;         // what real senders put into a block
constexpr uint32_t kListingFailed = 0xffffffffu;  // FindFiles: instead of the first block's size
constexpr uint8_t kAdaptiveLevel = 255;           // ReadFile: the server chooses

// Bits of protocolFlags; the second and third are known to our own peers only.
enum Flags : uint32_t { kUseSecurityFile = 1u << 0, kExtended = 1u << 16, kTokenRequired = 1u << 17 };

enum class Command : uint8_t {
  kVersion = 0,
  kText = 1,
  kWriteFile = 2,
  kReadFile = 3,
  kCreateDir = 4,
  kEnvironment = 5,
  kDeleteFiles = 6,
  kFindFiles = 7,
  kDone = 8,
  kRequestReport = 9,
  kGetFileInfo = 10,
};

enum class WriteType : uint8_t { kTransmitFile = 0, kSend = 1, kCompressed = 2 };

// The answers to WriteFile.
enum class WriteAnswer : uint8_t {
  kCopy = 0,
  kCopyDelta = 1,
  kCopyUsingSmb = 2,
  kLink = 3,
  kOdx = 4,
  kSkip = 5,
  kHash = 6,
  kBadDestination = 7,
};

// The answers to ReadFile.
enum class ReadAnswer : uint8_t {
  kCopy = 0,
  kCopyDelta = 1,
  kCopyUsingSmb = 2,
  kSkip = 3,
  kHash = 4,
  kServerBusy = 5,
  kBadSource = 6,
};

// Windows file attributes, and the errors of GetFileInfo.
constexpr uint32_t kAttributeReadOnly = 0x1;
constexpr uint32_t kAttributeDirectory = 0x10;
constexpr uint32_t kAttributeArchive = 0x20;
constexpr uint32_t kErrorFileNotFound = 2;
constexpr uint32_t kErrorPathNotFound = 3;
constexpr uint32_t kErrorAccessDenied = 5;

struct FileInfo {
  uint64_t creation_time = 0;    // always 0 on the wire; another value is never equal to anything
  uint64_t last_write_time = 0;  // 100 ns since 1601
  uint64_t size = 0;
  bool operator==(const FileInfo& other) const {
    return creation_time == other.creation_time && last_write_time == other.last_write_time && size == other.size;
  }
};

struct Header {
  uint32_t size = 0;  // of the whole command
  uint8_t type = 0;
};

struct Version {
  uint32_t protocol_version = kProtocolVersion;
  uint32_t flags = 0;
  std::string info;
};

struct Environment {
  uint32_t connection_index = 0;
  uint32_t major_version = 1;
  uint32_t minor_version = 20;
  Guid secret{};
  std::string net_directory;
};

struct WriteFile {
  WriteType type = WriteType::kSend;
  FileInfo info;
  std::string path;
};

struct ReadFile {
  uint8_t level = 0;  // 0 none, 1 to 22, kAdaptiveLevel
  FileInfo info;      // of the client's file; all zero when it has none
  std::string path;
};

struct FoundFile {
  uint32_t attributes = 0;
  uint64_t last_write_time = 0;
  uint64_t size = 0;
  std::string name;
};

struct FoundInfo {
  FileInfo info;
  uint32_t attributes = 0;
  uint32_t error = 0;
};

// Times. 100 ns since 1601 has room for the years 1601 to 60056; what lies outside becomes the nearest end.
uint64_t FileTimeFromTimestamp(const platform::Timestamp& timestamp);
platform::Timestamp TimestampFromFileTime(uint64_t file_time);
uint64_t FileTimeFromNanoseconds(int64_t nanoseconds_since_1970);
int64_t NanosecondsFromFileTime(uint64_t file_time);

// Text. ToUtf16 fails on what is not UTF-8 (WTF-8); FromUtf16 takes anything, in pairs of bytes.
bool ToUtf16(std::string_view utf8, std::string* utf16);
std::string FromUtf16(std::string_view utf16);
// A path of ours ('/') on the wire ('\'), and back. False when v20 cannot say it: not UTF-8, or with a backslash.
bool ToWirePath(std::string_view path, std::string* wire);
std::string FromWirePath(std::string_view wire);

// ".f" and the guid in upper case with dashes: the name of the security file.
std::string SecurityFileName(const Guid& guid);

// Encoders. False, with nothing appended, when a name is not UTF-8 or the command would be too large.
void EncodeHeader(std::string* out, Command command, size_t size);
bool EncodeVersion(std::string* out, const Version& version);
bool EncodeText(std::string* out, std::string_view text);
bool EncodeEnvironment(std::string* out, const Environment& environment);
bool EncodeWriteFile(std::string* out, const WriteFile& write);
bool EncodeReadFile(std::string* out, const ReadFile& read);
// CreateDir, DeleteFiles, FindFiles, GetFileInfo: all that is in them is a path.
bool EncodePathCommand(std::string* out, Command command, std::string_view path);
// Done, RequestReport.
void EncodeBareCommand(std::string* out, Command command);
void EncodeFileInfo(std::string* out, const FileInfo& info);
// One entry of a FindFiles block.
bool EncodeFoundFile(std::string* out, const FoundFile& found);
void EncodeFoundInfo(std::string* out, const FoundInfo& found);
// RequestReport's answer.
bool EncodeReport(std::string* out, std::string_view text);

// Decoders. `bytes` are at least kHeaderSize for DecodeHeader, and the whole command for the others.
bool DecodeHeader(std::string_view bytes, Header* out);  // false: a size that no command can have
bool DecodeVersion(std::string_view bytes, Version* out);
bool DecodeEnvironment(std::string_view bytes, Environment* out);
bool DecodeWriteFile(std::string_view bytes, WriteFile* out);
bool DecodeReadFile(std::string_view bytes, ReadFile* out);
bool DecodePathCommand(std::string_view bytes, std::string* path);
bool DecodeFileInfo(std::string_view bytes, FileInfo* out);  // exactly 24 bytes
// All entries of one block, appended.
bool DecodeFoundFiles(std::string_view block, std::vector<FoundFile>* out);
bool DecodeFoundInfo(std::string_view bytes, FoundInfo* out);  // exactly 32 bytes

}  // namespace wire
}  // namespace net
}  // namespace eacopy

#endif  // EACOPY_SOURCE_NET_WIRE_H_
