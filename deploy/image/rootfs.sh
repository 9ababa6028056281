#!/bin/sh
# Copies everything that the binary needs at run time into the folder that becomes the image. Runs inside deploy/Dockerfile.
#
#   deploy/image/rootfs.sh RUNTIME_IMAGE FOLDER
set -eu
runtime_image=$1 folder=$2
binary=$folder/usr/local/bin/tidegate

# For the JWKS of an issuer and for rediss://, where no ca_file is given.
authorities=/etc/ssl/certs/ca-certificates.crt
[ -s "$authorities" ] || { echo "rootfs.sh: the build image has no $authorities" >&2; exit 1; }
install -D -m 0644 "$authorities" "$folder$authorities"

# Base images other than scratch have their own.
[ "$runtime_image" = scratch ] || exit 0

# The dynamic loader and the libraries, at the paths where it looks for them.
libraries=$(ldd "$binary" | grep -o '/[^ ]*')
for library in $libraries; do
  install -D -m 0755 "$library" "$folder$library"
done
printf 'nonroot:x:65532:65532:nonroot:/:/sbin/nologin\n' >"$folder/etc/passwd"
printf 'nonroot:x:65532:\n' >"$folder/etc/group"
# Without it glibc queries DNS before it reads /etc/hosts.
printf 'hosts: files dns\n' >"$folder/etc/nsswitch.conf"
