// Functions that the headers of today's libstdc++ call and the libstdc++ of Debian 10 and RHEL 8 (GCC 8) does not have:
// the constructor of ostringstream without arguments (GLIBCXX_3.4.26), and the end of an allocation that is too large
// (GLIBCXX_3.4.29). Linked into the programs of a package.
#define _GLIBCXX_EXTERN_TEMPLATE 0
#include <new>
#include <sstream>

template class std::basic_ostringstream<char>;

namespace std {
void __throw_bad_array_new_length() { throw bad_array_new_length(); }
}  // namespace std
