#!/bin/sh
# Build the image without a Docker engine and without a registry: buildah builds the Dockerfile on a Debian system that mmdebstrap
# makes from the mirror of this machine's apt, under the base image's name.
#
#   docker/image.sh OUT.tar      for `docker load`; ends with 77 where it cannot run
#
# What takes long is kept in ~/.cache/tresor-image for a day: that system with the packages to build with. ccache's files are kept longer.
set -eu
cd "$(dirname "$0")/.."
out=$1
cache=${XDG_CACHE_HOME:-$HOME/.cache}/tresor-image
base=docker.io/library/debian:trixie-slim
image=localhost/tresor:latest

cannot() {
    {
        echo "#### THE CONTAINER IMAGE WAS NEITHER BUILT NOR TESTED:"
        echo "#### $*"
    } >&2
    exit 77
}

b() {
    buildah --root "$cache/$driver" --runroot "$cache/run-$driver" --storage-driver "$driver" "$@"
}

# A container of nothing tells whether a driver works; overlay copies no layers, vfs runs anywhere.
find_driver() {
    for driver in overlay vfs; do
        if container=$(b from scratch 2>/dev/null) && b mount "$container" >/dev/null 2>&1; then
            b rm "$container" >/dev/null
            return 0
        fi
    done
    return 1
}

# Debian 13 from where this machine's apt gets its packages.
sources() {
    apt-get indextargets --format '$(REPO_URI) $(LABEL)' 'Created-By: Packages' 2>/dev/null | sort -u | while read -r uri label; do
        case $label in
        Debian) printf 'deb %s trixie main\ndeb %s trixie-updates main\n' "$uri" "$uri" ;;
        Debian-Security) printf 'deb %s trixie-security main\n' "$uri" ;;
        esac
    done | sort -u
}

# Proxies and the like of this machine's apt are for the building; nothing of this system but libraries gets into the image.
make_base() {
    echo "image: making a Debian 13 system"
    apt-config dump | grep -E '^Acquire::(Check-|Retries|ForceIPv|https?:)' >"$cache/apt.conf" || true
    sources >"$cache/sources.list"
    [ -s "$cache/sources.list" ] || cannot "apt knows no Debian mirror (was apt-get update never run?)"
    mmdebstrap --quiet --variant=minbase --skip=output/dev --aptopt="$cache/apt.conf" --dpkgopt=force-unsafe-io \
        --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
        --dpkgopt='path-include=/usr/share/doc/*/copyright' trixie "$cache/root.tar" "$cache/sources.list"
    container=$(b from scratch)
    tar -xpf "$cache/root.tar" -C "$(b mount "$container")"
    b run --isolation chroot "$container" -- /bin/true || cannot "buildah cannot run a command in a chroot here"
    b umount "$container" >/dev/null
    b commit --quiet "$container" "$base" >/dev/null
    b rm "$container" >/dev/null
    rm "$cache/root.tar"
}

[ "$(id -u)" = 0 ] || cannot "this takes root: the system to build in is a chroot"
command -v buildah >/dev/null && command -v mmdebstrap >/dev/null || cannot "buildah or mmdebstrap is not installed"
mkdir -p "$cache/ccache" "$(dirname "$out")"
exec 9>"$cache/lock"
flock 9 # another checkout may build too
find_driver || cannot "buildah can mount nothing here"

day=$(date +%F)
if [ "$(cat "$cache/day" 2>/dev/null)" != "$day $driver" ]; then
    b rmi --all --force >/dev/null
    make_base
    echo "$day $driver" >"$cache/day"
fi

version=$(sed -n 's/^project(tresor VERSION \([0-9.]*\).*/\1/p' CMakeLists.txt)
revision=$(git rev-parse HEAD 2>/dev/null || echo unknown)
epoch=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
set --
if [ -n "$(ls .deps/work/sqlcipher_*.tar.* 2>/dev/null)" ]; then
    set -- --volume "$PWD/.deps/work:/deps:ro" --build-arg TRESOR_DEPS_DIR=/deps
fi
b rm --all >/dev/null # of builds that were cut off
b build --isolation chroot --format docker --pull-never --layers --timestamp "$epoch" --file docker/Dockerfile --tag "$image" \
    --volume "$cache/ccache:/root/.cache/ccache" --build-arg SOURCE_DATE_EPOCH="$epoch" --build-arg VERSION="$version" \
    --build-arg REVISION="$revision" --build-arg CREATED="$(date -u -d "@$epoch" +%FT%TZ)" "$@" . >"$cache/build.log" 2>&1 || {
    tail -n 60 "$cache/build.log" >&2
    exit 1
}
rm -f "$out.new"
b push --quiet "$image" "docker-archive:$out.new:tresor:$version"
mv "$out.new" "$out"
echo "image: $out, tresor:$version"
