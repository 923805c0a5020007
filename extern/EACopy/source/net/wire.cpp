// The plain dialect's bytes; see wire.h.

#include "wire.h"

#include <algorithm>
#include <cstdint>
#include <limits>

#include "bytes.h"

namespace eacopy {
namespace net {
namespace wire {
namespace {

constexpr int64_t kEpochDifference = 11644473600;  // seconds from 1601 to 1970
constexpr int64_t kTicks = 10000000;               // 100 ns in a second
constexpr int64_t kNanoseconds = 1000000000;

void PutUnit(std::string* out, uint32_t unit) { PutNumber<uint16_t>(out, static_cast<uint16_t>(unit)); }

// Takes one character off the front. False for what is not UTF-8; surrogates are let through (WTF-8).
bool TakeCharacter(std::string_view* text, uint32_t* character) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>((*text)[i]); };
  const uint8_t first = byte(0);
  const size_t length = first < 0x80                    ? 1
                        : first >= 0xf0 && first < 0xf8 ? 4
                        : first >= 0xe0                 ? 3
                        : first >= 0xc2                 ? 2
                                                        : 0;
  if (length == 0 || first >= 0xf8 || length > text->size()) return false;
  uint32_t value = length == 1 ? first : first & (0x7fu >> length);
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return false;
    value = value << 6 | (byte(i) & 0x3fu);
  }
  if ((length == 3 && value < 0x800) || (length == 4 && (value < 0x10000 || value > 0x10ffff))) return false;
  text->remove_prefix(length);
  *character = value;
  return true;
}

void PutUtf8(std::string* out, uint32_t character) {
  auto put = [&](uint32_t byte) { out->push_back(static_cast<char>(static_cast<uint8_t>(byte))); };
  if (character < 0x80) {
    put(character);
  } else if (character < 0x800) {
    put(0xc0 | character >> 6);
    put(0x80 | (character & 0x3f));
  } else if (character < 0x10000) {
    put(0xe0 | character >> 12);
    put(0x80 | (character >> 6 & 0x3f));
    put(0x80 | (character & 0x3f));
  } else {
    put(0xf0 | character >> 18);
    put(0x80 | (character >> 12 & 0x3f));
    put(0x80 | (character >> 6 & 0x3f));
    put(0x80 | (character & 0x3f));
  }
}

// A command's fixed part is written by `fields`, then come the text, its zero, and padding up to `tail` bytes in all.
template <typename Fields>
bool EncodeCommand(std::string* out, Command command, std::string_view text, size_t tail, size_t limit, Fields fields) {
  const size_t begin = out->size();
  EncodeHeader(out, command, 0);
  fields();
  if (text.find('\0') != std::string_view::npos || !ToUtf16(text, out) || out->size() - begin + tail > limit) {
    out->resize(begin);
    return false;
  }
  PutZeros(out, tail);
  PutNumberAt<uint32_t>(out, begin, static_cast<uint32_t>(out->size() - begin));
  return true;
}

// The text at `offset` of a command: up to its zero, which must be there.
bool TextAt(std::string_view bytes, size_t offset, std::string* out) {
  for (size_t end = offset; end + 2 <= bytes.size(); end += 2) {
    if (bytes[end] != 0 || bytes[end + 1] != 0) continue;
    *out = FromUtf16(bytes.substr(offset, end - offset));
    return true;
  }
  return false;
}

bool TakeFileInfo(Reader* reader, FileInfo* out) {
  out->creation_time = reader->Take<uint64_t>();
  out->last_write_time = reader->Take<uint64_t>();
  out->size = reader->Take<uint64_t>();
  return reader->ok();
}

}  // namespace

uint64_t FileTimeFromTimestamp(const platform::Timestamp& timestamp) {
  if (timestamp.seconds < -kEpochDifference) return 0;
  const uint64_t seconds = static_cast<uint64_t>(timestamp.seconds) + static_cast<uint64_t>(kEpochDifference);
  if (seconds >= std::numeric_limits<uint64_t>::max() / kTicks) return std::numeric_limits<uint64_t>::max();
  return seconds * kTicks + static_cast<uint64_t>(timestamp.nanoseconds / 100);
}

platform::Timestamp TimestampFromFileTime(uint64_t file_time) {
  platform::Timestamp timestamp;
  timestamp.seconds = static_cast<int64_t>(file_time / kTicks) - kEpochDifference;
  timestamp.nanoseconds = static_cast<int32_t>(file_time % kTicks * 100);
  return timestamp;
}

uint64_t FileTimeFromNanoseconds(int64_t nanoseconds) {
  platform::Timestamp timestamp;
  timestamp.seconds = nanoseconds / kNanoseconds;
  int64_t rest = nanoseconds % kNanoseconds;
  if (rest < 0) {
    rest += kNanoseconds;
    --timestamp.seconds;
  }
  timestamp.nanoseconds = static_cast<int32_t>(rest);
  return FileTimeFromTimestamp(timestamp);
}

int64_t NanosecondsFromFileTime(uint64_t file_time) {
  const platform::Timestamp timestamp = TimestampFromFileTime(file_time);
  constexpr int64_t kMost = std::numeric_limits<int64_t>::max() / kNanoseconds;
  if (timestamp.seconds >= kMost) return std::numeric_limits<int64_t>::max();
  if (timestamp.seconds <= -kMost) return std::numeric_limits<int64_t>::min();
  return timestamp.seconds * kNanoseconds + timestamp.nanoseconds;
}

bool ToUtf16(std::string_view utf8, std::string* utf16) {
  const size_t before = utf16->size();
  const auto is_ascii = [](char c) { return static_cast<unsigned char>(c) < 0x80; };
  const auto ascii = static_cast<size_t>(std::find_if_not(utf8.begin(), utf8.end(), is_ascii) - utf8.begin());
  utf16->resize(before + 2 * ascii);
  for (size_t i = 0; i < ascii; ++i) (*utf16)[before + 2 * i] = utf8[i];
  utf8.remove_prefix(ascii);
  while (!utf8.empty()) {
    uint32_t character = 0;
    if (!TakeCharacter(&utf8, &character)) {
      utf16->resize(before);
      return false;
    }
    if (character < 0x10000) {
      PutUnit(utf16, character);
    } else {
      PutUnit(utf16, 0xd800 + ((character - 0x10000) >> 10));
      PutUnit(utf16, 0xdc00 + ((character - 0x10000) & 0x3ff));
    }
  }
  return true;
}

std::string FromUtf16(std::string_view utf16) {
  std::string text;
  text.reserve(utf16.size() / 2);
  for (size_t i = 0; i + 2 <= utf16.size(); i += 2) {
    uint32_t unit = LoadNumber<uint16_t>(utf16.data() + i);
    if (unit >= 0xd800 && unit < 0xdc00 && i + 4 <= utf16.size()) {
      const uint32_t low = LoadNumber<uint16_t>(utf16.data() + i + 2);
      if (low >= 0xdc00 && low < 0xe000) {
        unit = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
        i += 2;
      }
    }
    PutUtf8(&text, unit);
  }
  return text;
}

bool ToWirePath(std::string_view path, std::string* wire) {
  if (path.find('\\') != std::string_view::npos) return false;
  for (std::string_view rest = path; !rest.empty();) {
    uint32_t character = 0;
    if (!TakeCharacter(&rest, &character)) return false;
  }
  wire->assign(path.data(), path.size());
  std::replace(wire->begin(), wire->end(), '/', '\\');
  return true;
}

std::string FromWirePath(std::string_view wire) {
  std::string path(wire);
  std::replace(path.begin(), path.end(), '\\', '/');
  return path;
}

std::string SecurityFileName(const Guid& guid) {
  static const char kDigits[] = "0123456789ABCDEF";
  // The first three fields are numbers, and stand in memory with their lowest byte first.
  static const int kOrder[16] = {3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15};
  std::string name = ".f";
  for (int i = 0; i < 16; ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) name += '-';
    const uint8_t byte = guid[static_cast<size_t>(kOrder[i])];
    name += kDigits[byte >> 4];
    name += kDigits[byte & 15];
  }
  return name;
}

void EncodeHeader(std::string* out, Command command, size_t size) {
  PutNumber<uint32_t>(out, static_cast<uint32_t>(size));
  out->push_back(static_cast<char>(command));
  PutZeros(out, 3);
}

bool EncodeVersion(std::string* out, const Version& version) {
  return EncodeCommand(out, Command::kVersion, version.info, 4, kMaxVersion, [&] {
    PutNumber<uint32_t>(out, version.protocol_version);
    PutNumber<uint32_t>(out, version.flags);
  });
}

bool EncodeText(std::string* out, std::string_view text) {
  std::string utf16;
  if (!ToUtf16(text, &utf16)) return false;
  return EncodeCommand(out, Command::kText, text, 4, kMaxCommand,
                       [&] { PutNumber<int32_t>(out, static_cast<int32_t>(utf16.size() / 2)); });
}

bool EncodeEnvironment(std::string* out, const Environment& environment) {
  return EncodeCommand(out, Command::kEnvironment, environment.net_directory, 4, kMaxCommand, [&] {
    PutNumber<uint32_t>(out, environment.connection_index);
    PutNumber<uint32_t>(out, environment.major_version);
    PutNumber<uint32_t>(out, environment.minor_version);
    PutArray(out, environment.secret);
  });
}

bool EncodeWriteFile(std::string* out, const WriteFile& write) {
  return EncodeCommand(out, Command::kWriteFile, write.path, 8, kMaxCommand, [&] {
    out->push_back(static_cast<char>(write.type));
    PutZeros(out, 7);
    EncodeFileInfo(out, write.info);
  });
}

bool EncodeReadFile(std::string* out, const ReadFile& read) {
  return EncodeCommand(out, Command::kReadFile, read.path, 8, kMaxCommand, [&] {
    out->push_back(static_cast<char>(read.level));
    PutZeros(out, 7);
    EncodeFileInfo(out, read.info);
  });
}

bool EncodePathCommand(std::string* out, Command command, std::string_view path) {
  return EncodeCommand(out, command, path, 4, kMaxCommand, [] {});
}

void EncodeBareCommand(std::string* out, Command command) { EncodeHeader(out, command, kHeaderSize); }

void EncodeFileInfo(std::string* out, const FileInfo& info) {
  PutNumber<uint64_t>(out, info.creation_time);
  PutNumber<uint64_t>(out, info.last_write_time);
  PutNumber<uint64_t>(out, info.size);
}

bool EncodeFoundFile(std::string* out, const FoundFile& found) {
  const size_t begin = out->size();
  PutNumber<uint32_t>(out, found.attributes);
  PutNumber<uint64_t>(out, found.last_write_time);
  PutNumber<uint64_t>(out, found.size);
  if (!ToUtf16(found.name, out)) {
    out->resize(begin);
    return false;
  }
  PutZeros(out, 2);
  return true;
}

void EncodeFoundInfo(std::string* out, const FoundInfo& found) {
  EncodeFileInfo(out, found.info);
  PutNumber<uint32_t>(out, found.attributes);
  PutNumber<uint32_t>(out, found.error);
}

bool EncodeReport(std::string* out, std::string_view text) {
  std::string utf16;
  if (!ToUtf16(text, &utf16)) return false;
  PutNumber<uint32_t>(out, static_cast<uint32_t>(utf16.size() / 2));
  *out += utf16;
  return true;
}

bool DecodeHeader(std::string_view bytes, Header* out) {
  Reader reader(bytes);
  out->size = reader.Take<uint32_t>();
  out->type = reader.Take<uint8_t>();
  return reader.ok() && out->size >= kHeaderSize && out->size <= kMaxCommand;
}

bool DecodeVersion(std::string_view bytes, Version* out) {
  Reader reader(bytes);
  reader.Skip(kHeaderSize);
  out->protocol_version = reader.Take<uint32_t>();
  out->flags = reader.Take<uint32_t>();
  return reader.ok() && TextAt(bytes, 16, &out->info);
}

bool DecodeEnvironment(std::string_view bytes, Environment* out) {
  Reader reader(bytes);
  reader.Skip(kHeaderSize);
  out->connection_index = reader.Take<uint32_t>();
  out->major_version = reader.Take<uint32_t>();
  out->minor_version = reader.Take<uint32_t>();
  out->secret = reader.Array<16>();
  return reader.ok() && TextAt(bytes, 36, &out->net_directory);
}

bool DecodeWriteFile(std::string_view bytes, WriteFile* out) {
  Reader reader(bytes);
  reader.Skip(kHeaderSize);
  const uint8_t type = reader.Take<uint8_t>();
  reader.Skip(7);
  if (!TakeFileInfo(&reader, &out->info) || type > static_cast<uint8_t>(WriteType::kCompressed)) return false;
  out->type = static_cast<WriteType>(type);
  return TextAt(bytes, 40, &out->path);
}

bool DecodeReadFile(std::string_view bytes, ReadFile* out) {
  Reader reader(bytes);
  reader.Skip(kHeaderSize);
  out->level = reader.Take<uint8_t>();
  reader.Skip(7);
  return TakeFileInfo(&reader, &out->info) && TextAt(bytes, 40, &out->path);
}

bool DecodePathCommand(std::string_view bytes, std::string* path) { return TextAt(bytes, kHeaderSize, path); }

bool DecodeFileInfo(std::string_view bytes, FileInfo* out) {
  Reader reader(bytes);
  TakeFileInfo(&reader, out);
  return reader.complete();
}

bool DecodeFoundFiles(std::string_view block, std::vector<FoundFile>* out) {
  while (!block.empty()) {
    Reader reader(block);
    FoundFile found;
    found.attributes = reader.Take<uint32_t>();
    found.last_write_time = reader.Take<uint64_t>();
    found.size = reader.Take<uint64_t>();
    const std::string_view rest = reader.rest();
    if (!reader.ok() || !TextAt(rest, 0, &found.name)) return false;
    // By the zero's place and not by the name's length, which pairs of surrogates change.
    size_t end = 0;
    while (rest[end] != 0 || rest[end + 1] != 0) end += 2;
    block = rest.substr(end + 2);
    out->push_back(std::move(found));
  }
  return true;
}

bool DecodeFoundInfo(std::string_view bytes, FoundInfo* out) {
  Reader reader(bytes);
  TakeFileInfo(&reader, &out->info);
  out->attributes = reader.Take<uint32_t>();
  out->error = reader.Take<uint32_t>();
  return reader.complete();
}

}  // namespace wire
}  // namespace net
}  // namespace eacopy
