#!/bin/sh
# The image's file system: the binary of a build folder, what it loads, and what those need, out of this Debian system.
#
#   docker/root.sh BUILD-FOLDER OUT SECONDS      every file gets the time SECONDS (since 1970)
set -eu
build=$1
out=$2
epoch=$3
binary=$out/usr/bin/tresor
doc=$out/usr/share/doc

mkdir -p "$out/etc/ssl/certs" "$out/usr/bin" "$out/usr/lib" "$out/usr/lib64" "$out/var/lib/dpkg/status.d" "$doc/tresor" "$out/proc" \
    "$out/sys" "$out/dev" "$out/run"
for folder in bin lib lib64; do
    ln -s "usr/$folder" "$out/$folder"
done
install -d -m 1777 "$out/tmp"
install -d -m 0700 -o 10001 -g 10001 "$out/data"

cat >"$out/etc/passwd" <<END
root:x:0:0:root:/:/usr/sbin/nologin
tresor:x:10001:10001:Tresor:/data:/usr/sbin/nologin
END
cat >"$out/etc/group" <<END
root:x:0:
tresor:x:10001:
END
echo 'hosts: files dns' >"$out/etc/nsswitch.conf"
cp -L /etc/os-release "$out/etc/os-release"
cp /etc/debian_version "$out/etc/debian_version"
cp -L /etc/ssl/certs/ca-certificates.crt "$out/etc/ssl/certs/"
cp -a /usr/share/zoneinfo "$out/usr/share/"

install -m 0755 "$build/tresor" "$binary"
strip "$binary"

# ---- libraries ----
# What the loader finds, plus what the C library opens by itself when a thread ends early.
libraries=$(ldd "$binary" | awk '/=> \// { print $3 } /^\t\// { print $1 }')
gcc_s=$(ldconfig -p | awk '/libgcc_s\.so\.1 .*=> / { print $NF; exit }')
for library in $libraries $gcc_s; do
    real=$(realpath "$library")
    name=usr/lib${real#/usr/lib}
    mkdir -p "$(dirname "$out/$name")"
    cp "$real" "$out/$name"
    alias=$(realpath "$(dirname "$library")")/$(basename "$library") # without the links /lib and /lib64
    [ "$alias" = "$real" ] || ln -sf "$(realpath --relative-to="$(dirname "$alias")" "$real")" "$out$alias"
done

# ---- what it is made of: for scanners as dpkg has it, for people the licences ----
owner() { # FILE: the package that has it
    { dpkg -S "$1" 2>/dev/null || dpkg -S "${1#/usr}"; } | sed 's/: .*//; s/:[a-z0-9]*$//; q'
}
packages=$({
    for library in $libraries $gcc_s; do
        owner "$(realpath "$library")"
    done
    echo ca-certificates
    echo tzdata
} | sort -u)
for package in $packages; do
    dpkg-query -s "$package" >"$out/var/lib/dpkg/status.d/$package"
    mkdir -p "$doc/$package"
    cp -L "/usr/share/doc/$package/copyright" "$doc/$package/copyright"
done
cp LICENSE THIRD-PARTY.md "$doc/tresor/"
[ ! -f "$build/tresor.cdx.json" ] || cp "$build/tresor.cdx.json" "$doc/tresor/"
# shellcheck disable=SC2086 # a list of names
dpkg-query -W -f '${Package} ${Version} ${Architecture} ${source:Package} ${source:Version}\n' $packages |
    python3 docker/sbom.py "$("$binary" version | head -n 1)" >"$doc/tresor/image.cdx.json"

chmod -R go-w,a+rX "$out/etc" "$out/usr" "$out/var"
find "$out" -exec touch -h -d "@$epoch" {} +
