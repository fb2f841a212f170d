#!/bin/sh
# The ssh tests talk to a real OpenSSH server on loopback. Installs one where it is missing (as root).
set -eu
if [ -x /usr/sbin/sshd ] || command -v sshd >/dev/null; then
    exit 0
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# The package would start a server of its own, for everyone; the tests start theirs.
printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
chmod +x /usr/sbin/policy-rc.d
trap 'rm -f /usr/sbin/policy-rc.d' EXIT
apt-get install -y -qq --no-install-recommends openssh-server openssh-client
