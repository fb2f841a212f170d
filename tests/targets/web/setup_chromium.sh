#!/bin/sh
# The page is tested in Debian's Chromium, driven by node with playwright-core from npm. Installs what is missing (as root).
set -eu
missing=""
command -v chromium >/dev/null || missing="$missing chromium fonts-dejavu-core"
command -v node >/dev/null || missing="$missing nodejs"
command -v npm >/dev/null || missing="$missing npm"
if [ -z "$missing" ]; then
    exit 0
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# shellcheck disable=SC2086  # it is a list
apt-get install -y -qq --no-install-recommends $missing
