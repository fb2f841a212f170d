#!/bin/sh
# What the tests of the generated C need beside gcc: another compiler with its sanitisers and libFuzzer, a gcc for 64-bit
# Arm, valgrind, and emulators of other processors. Installs what is missing (as root).
set -eu
missing=""
command -v clang >/dev/null && ls /usr/lib/llvm-*/lib/clang/*/lib/linux/libclang_rt.fuzzer-* >/dev/null 2>&1 || missing="$missing clang libclang-rt-14-dev"
command -v valgrind >/dev/null || missing="$missing valgrind"
command -v qemu-aarch64 >/dev/null || missing="$missing qemu-user"
command -v aarch64-linux-gnu-gcc >/dev/null || missing="$missing gcc-aarch64-linux-gnu libc6-dev-arm64-cross"
command -v gcc >/dev/null || missing="$missing gcc libc6-dev"
if [ -z "$missing" ]; then
    exit 0
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# shellcheck disable=SC2086  # it is a list
apt-get install -y -qq --no-install-recommends $missing
