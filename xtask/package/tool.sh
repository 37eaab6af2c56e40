#!/bin/sh
# Zig's clang and linker for glibc 2.28, with this machine's libstdc++ in the place of Zig's libc++, since libtorch's C++ is GNU's.
# Called as `cc`, `c++` and `ld`. From the environment: ZIG, the program; ZIG_TARGET; CXX_INCLUDE, flags for libstdc++'s
# headers; LINK_WITH, the libraries of GCC and the object of old_libstdcxx.cpp.
for arg do
    shift
    case $arg in
    # cargo's word for the target, and for linkers of its own. Zig takes `-lstdc++` and `-lgcc_s` for its own libraries; only libtorch
    # calls libgomp, and brings it.
    --target=* | -m64 | -fuse-ld=* | -B/* | -lstdc++ | -lgcc_s | -lgcc_eh | -lgcc | -lgomp) ;;
    *) set -- "$@" "$arg" ;;
    esac
done
case ${0##*/} in
cc) exec $ZIG cc -target "$ZIG_TARGET" -fno-sanitize=all "$@" ;;
c++) exec $ZIG c++ -target "$ZIG_TARGET" -fno-sanitize=all -nostdinc++ $CXX_INCLUDE "$@" ;;
*) exec $ZIG cc -target "$ZIG_TARGET" "$@" -Wl,-Bdynamic -Wl,--allow-shlib-undefined $LINK_WITH ;;
esac
