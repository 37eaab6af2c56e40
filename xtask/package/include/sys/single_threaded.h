// libstdc++ asks glibc whether there is one thread only, in a variable of glibc 2.32. For older ones the answer is no.
#pragma once
static const char __libc_single_threaded = 0;
