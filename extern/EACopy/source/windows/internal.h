// Helpers shared by the Windows files. What returns an int returns an errno, 0 for success.
#ifndef EACOPY_SOURCE_WINDOWS_INTERNAL_H_
#define EACOPY_SOURCE_WINDOWS_INTERNAL_H_

#include "../platform.h"
#include "errors.h"
#include "ntdll.h"
#include "path.h"

namespace eacopy {
namespace platform {

// The Status of a Win32 call that failed just now.
inline Status LastError(Operation operation, uint64_t offset = 0) {
  return Status::FromErrno(ErrnoOfError(::GetLastError()), operation, offset);
}

// Success for 0.
inline Status MakeStatus(int error_number, Operation operation, uint64_t offset = 0) {
  return error_number == 0 ? Status() : Status::FromErrno(error_number, operation, offset);
}

constexpr ULONG kShareAll = FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE;

// Calls again, for an eighth of a second at most, what failed because somebody else has the file open: a virus scanner
// or an indexer that looks at what was just written, or a deletion that waits for the last handle. `denied_too`: also
// for "access denied", which is what renaming and removing get in that case.
template <typename Call>
NTSTATUS Patiently(bool denied_too, Call call) {
  NTSTATUS status = call();
  for (DWORD milliseconds = 1; milliseconds <= 64; milliseconds *= 2) {
    const bool may_pass = status == kStatusSharingViolation || status == kStatusDeletePending ||
                          (denied_too && status == kStatusAccessDenied);
    if (!may_pass) break;
    ::Sleep(milliseconds);
    status = call();
  }
  return status;
}

// How a file is opened; the words are those of NtCreateFile. Handles are synchronous.
struct OpenMode {
  ACCESS_MASK access;
  ULONG share = kShareAll;
  ULONG disposition = FILE_OPEN;
  ULONG options = 0;
  bool denied_may_pass = false;  // wait a little for "access denied" too
  void* security = nullptr;      // the security descriptor of what is created; null: what the directory hands down
};

int Open(const Location& at, const OpenMode& mode, Handle* out);

// Opens what has that name, not what it leads to, and looks at it. What is a link in the sense of the engine is opened
// as such (info->type is kSymlink); other reparse points, like deduplicated files and those of a cloud store, are
// opened as the files that they stand for.
int OpenItself(const Location& at, OpenMode mode, Handle* out, FileInfo* info);

// Opens an open directory (or file) again with another access.
int Reopen(HANDLE handle, const OpenMode& mode, Handle* out);

// What attributes and the tag of a reparse point (if it is one) make of a file.
FileType TypeOf(ULONG attributes, ULONG reparse_tag);

int FillInfo(HANDLE handle, FileInfo* out);

// Takes away the mark "read-only", which keeps Windows from writing to a file, replacing or removing it. False when it
// was not there or cannot be taken away. `options`: FILE_OPEN_REPARSE_POINT for a link itself.
bool ClearReadOnly(const Location& at, ULONG options, ULONG* old_attributes);

// Sets attributes (0: leaves them as they are).
int SetAttributes(HANDLE handle, ULONG attributes);

int SetSize(HANDLE handle, uint64_t size);

// Marks for removal on closing, whatever is open elsewhere where the file system can do that.
NTSTATUS MarkForRemoval(HANDLE handle);

// Whether a status says that a class of information or a flag of it is not known, so that an older one is to be tried.
bool IsUnknownRequest(NTSTATUS status);

// Reads or writes at an offset; at the end of the file *got is 0.
int ReadAt(HANDLE handle, uint64_t offset, char* buffer, size_t size, size_t* got);
int WriteAt(HANDLE handle, uint64_t offset, const char* buffer, size_t size, size_t* put);

// Free bytes for this user on the volume of an open file; 0 when unknown.
uint64_t FreeSpace(HANDLE handle);

// Copies the alternate data streams of a file or directory. What the destination's file system does not take is left
// out.
Status CopyStreams(HANDLE source, HANDLE destination);

}  // namespace platform
}  // namespace eacopy

#endif  // EACOPY_SOURCE_WINDOWS_INTERNAL_H_
