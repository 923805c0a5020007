// The native calls that the Windows part needs beside the documented Win32 ones: only they look a name up in an open
// directory.
#ifndef EACOPY_SOURCE_WINDOWS_NTDLL_H_
#define EACOPY_SOURCE_WINDOWS_NTDLL_H_

#ifndef NOMINMAX
#define NOMINMAX
#endif
#ifndef WIN32_LEAN_AND_MEAN
#define WIN32_LEAN_AND_MEAN
#endif
#ifndef _WIN32_WINNT
#define _WIN32_WINNT 0x0A00
#endif

#include <windows.h>
// Relies on the one before.
#include <sddl.h>
#include <winioctl.h>
#include <winternl.h>

// Macros of windows.h that are names of this engine.
#undef CreateFile
#undef CopyFile
#undef RemoveDirectory

namespace eacopy {
namespace platform {

// What is in every Windows, but not in the headers or import libraries of every compiler.
struct Ntdll {
  NTSTATUS(NTAPI* create_file)
  (PHANDLE, ACCESS_MASK, POBJECT_ATTRIBUTES, PIO_STATUS_BLOCK, PLARGE_INTEGER, ULONG, ULONG, ULONG, ULONG, PVOID,
   ULONG);
  NTSTATUS(NTAPI* set_information_file)(HANDLE, PIO_STATUS_BLOCK, PVOID, ULONG, int);
  NTSTATUS(NTAPI* query_volume_information_file)(HANDLE, PIO_STATUS_BLOCK, PVOID, ULONG, int);
  ULONG(NTAPI* error_of_status)(NTSTATUS);

  static const Ntdll& Get();
};

// The classes of information that are asked for or set by number.
constexpr int kFileRenameInformation = 10;
constexpr int kFileLinkInformation = 11;
constexpr int kFileDispositionInformation = 13;
constexpr int kFileDispositionInformationEx = 64;  // Windows 10 1607
constexpr int kFileRenameInformationEx = 65;       // Windows 10 1607
constexpr int kFileFsFullSizeInformation = 7;

constexpr NTSTATUS NtStatus(unsigned long value) { return static_cast<NTSTATUS>(value); }

constexpr NTSTATUS kStatusNotImplemented = NtStatus(0xC0000002);
constexpr NTSTATUS kStatusInvalidInfoClass = NtStatus(0xC0000003);
constexpr NTSTATUS kStatusInvalidParameter = NtStatus(0xC000000D);
constexpr NTSTATUS kStatusInvalidDeviceRequest = NtStatus(0xC0000010);
constexpr NTSTATUS kStatusAccessDenied = NtStatus(0xC0000022);
constexpr NTSTATUS kStatusObjectNameInvalid = NtStatus(0xC0000033);
constexpr NTSTATUS kStatusObjectNameNotFound = NtStatus(0xC0000034);
constexpr NTSTATUS kStatusSharingViolation = NtStatus(0xC0000043);
constexpr NTSTATUS kStatusDeletePending = NtStatus(0xC0000056);
constexpr NTSTATUS kStatusFileIsADirectory = NtStatus(0xC00000BA);
constexpr NTSTATUS kStatusNotSupported = NtStatus(0xC00000BB);
constexpr NTSTATUS kStatusNotADirectory = NtStatus(0xC0000103);
constexpr NTSTATUS kStatusCannotDelete = NtStatus(0xC0000121);
constexpr NTSTATUS kStatusReparsePointNotResolved = NtStatus(0xC0000280);

}  // namespace platform
}  // namespace eacopy

#endif  // EACOPY_SOURCE_WINDOWS_NTDLL_H_
