// Where the native calls are; see ntdll.h.

#include "ntdll.h"

namespace eacopy {
namespace platform {
namespace {

template <typename Function>
Function Find(HMODULE module, const char* name) {
  return reinterpret_cast<Function>(reinterpret_cast<void*>(::GetProcAddress(module, name)));
}

Ntdll Load() {
  const HMODULE module = ::GetModuleHandleW(L"ntdll.dll");  // in every process, and never unloaded
  Ntdll ntdll;
  ntdll.create_file = Find<decltype(ntdll.create_file)>(module, "NtCreateFile");
  ntdll.set_information_file = Find<decltype(ntdll.set_information_file)>(module, "NtSetInformationFile");
  ntdll.query_volume_information_file =
      Find<decltype(ntdll.query_volume_information_file)>(module, "NtQueryVolumeInformationFile");
  ntdll.error_of_status = Find<decltype(ntdll.error_of_status)>(module, "RtlNtStatusToDosError");
  return ntdll;
}

}  // namespace

const Ntdll& Ntdll::Get() {
  static const Ntdll ntdll = Load();
  return ntdll;
}

}  // namespace platform
}  // namespace eacopy
