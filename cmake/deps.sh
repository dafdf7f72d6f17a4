#!/bin/sh
# Build the two libraries that Debian 12 has too old or unusable (THIRD-PARTY.md says why) into a cache folder:
#   OUT/sqlcipher/{sqlite3.h,libsqlcipher.a}   SQLCipher 4.6.1, one static library for all presets
#   OUT/civetweb/{include,src}                 CivetWeb 1.16 with Debian's security patches and one of ours, compiled by each preset
# Sources are Debian's source packages, pinned by SHA-256: taken from FOLDER when given (the setting TRESOR_DEPS_DIR), else
# from the mirror that this machine's apt uses.
#
#   cmake/deps.sh OUT [FOLDER]
set -eu

out=$1
folder=${2:-}
work=$out/work
patches=$(cd "$(dirname "$0")" && pwd)/patches
stamp=10
[ -f "$out/stamp" ] && [ "$(cat "$out/stamp")" = "$stamp" ] && exit 0

# sha256  pool path  file[s of which one is enough, best first: mirrors drop old revisions]
sqlcipher='
d8f9afcbc2f4b55e316ca4ada4425daf3d0b4aab25f45e11a802ae422b9f53a3 s/sqlcipher sqlcipher_4.6.1.orig.tar.gz
'
civetweb='
41dbfd68cd3b914ce440a5813f21058813b61a972600cc04fb8233a0d2d04fe4 c/civetweb civetweb_1.16+dfsg.orig.tar.xz
'
# The same security patches in both: Debian 13's, and testing's with one for OpenSSL 4.
civetweb_patches='
1e5f56ab5592026dc5cd90302cfaa5a66b889f8959440e64dc0e373d18165ebb c/civetweb civetweb_1.16+dfsg-2+deb13u1.debian.tar.xz
9174a803e0dfd394d8ef63488ca75d4818ba0291734970509abb48865b01f441 c/civetweb civetweb_1.16+dfsg-6.debian.tar.xz
'

fail() {
    echo "deps: $*" >&2
    exit 1
}

# The Debian archive that apt is set up with (not a security or third-party one; the label is known after apt-get update).
mirror() {
    apt-get indextargets --format '$(REPO_URI) $(LABEL)' 'Created-By: Packages' 2>/dev/null |
        awk '$2 == "Debian" { print $1; exit }'
}

# The file into $work, from the folder or the mirror; its SHA-256 must be right.
fetch() { # sha256 pool file
    target=$work/$3
    if [ -n "$folder" ]; then
        [ -f "$folder/$3" ] || return 1
        cp "$folder/$3" "$target"
    elif [ ! -f "$target" ]; then
        name=$(printf %s "$3" | sed 's/+/%2b/g')
        # apt's own downloader: what proxy and certificates apt is set up with hold here too.
        /usr/lib/apt/apt-helper -qq -o APT::Sandbox::User=root download-file "${base%/}/pool/main/$2/$name" "$target.part" ||
            return 1
        mv "$target.part" "$target"
    fi
    echo "$1  $target" | sha256sum -c --quiet - >/dev/null 2>&1 || {
        rm -f "$target"
        fail "$3 does not have the pinned SHA-256 $1; it was not used"
    }
}

# The first of the list that is to be had, as `got`.
fetch_one() { # LIST
    got=
    while [ -z "$got" ] && read -r sum pool file; do
        [ -z "$sum" ] || ! fetch "$sum" "$pool" "$file" || got=$work/$file
    done <<END
$1
END
    [ -n "$got" ] || fail "neither this machine's Debian mirror nor the folder of TRESOR_DEPS_DIR has" $1"; get" \
        "one of them elsewhere (Debian's snapshot archive keeps every version) and pass -DTRESOR_DEPS_DIR=FOLDER"
}

mkdir -p "$work"
base=
[ -n "$folder" ] || base=$(mirror)
[ -n "$folder$base" ] || fail "apt knows no Debian mirror (was apt-get update never run?), and no TRESOR_DEPS_DIR is given"
fetch_one "$sqlcipher"
sqlcipher=$got
fetch_one "$civetweb"
civetweb=$got
fetch_one "$civetweb_patches"
civetweb_patches=$got

rm -rf "$out/civetweb" "$out/sqlcipher" "$work/sqlcipher"
mkdir -p "$out/civetweb" "$out/sqlcipher" "$work/sqlcipher"

tar -xf "$civetweb" -C "$out/civetweb" --strip-components 1
tar -xf "$civetweb_patches" -C "$out/civetweb"
grep -v '^#' "$out/civetweb/debian/patches/series" | while read -r patch; do
    [ -z "$patch" ] || patch -d "$out/civetweb" -p1 -s <"$out/civetweb/debian/patches/$patch" ||
        fail "patch $patch does not apply to CivetWeb"
done
# It would take CR CR, or LF and a space, for the end of the request line, and leave NULs of both: nobody could tell later.
patch -d "$out/civetweb" -p1 -s <"$patches/civetweb-request-line.patch" || fail "our patch does not apply to CivetWeb"

# Temporary tables stay in memory; connections are not shared between threads; deleted rows are overwritten. SQLCipher does not lock memory
# itself: it would unlock whole pages in which others keep keys (src/base/guarded.h locks what is handed to it). Snapshots read and restore
# databases page by page (sqlite_dbpage). One of our patches keeps OpenSSL's contexts from page to page, a third
# less work for each page; the other writes a commit's pages to the log together. SQLCipher's log is switched off anyway, and each call that
# writes nothing would clear 8 KiB, several for a page. fdatasync writes a file's data and whatever is needed to read them back, its length
# too, and leaves out its times: of two writes of the disk one.
build_sqlcipher() {
    cet=
    ! gcc -fcf-protection=full -x c -c /dev/null -o /dev/null 2>/dev/null || cet=-fcf-protection=full # x86 alone has it
    ./configure --enable-tempstore=yes --disable-tcl &&
        make sqlite3.c &&
        gcc -O2 -g -fPIC -fstack-protector-strong -fstack-clash-protection $cet -ftrivial-auto-var-init=zero -c sqlite3.c -o sqlite3.o \
            -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2 -DSQLITE_HAS_CODEC -DSQLCIPHER_CRYPTO_OPENSSL -DSQLITE_TEMP_STORE=3 -DSQLITE_THREADSAFE=2 \
            -DSQLITE_SECURE_DELETE=1 -DSQLITE_DEFAULT_MEMSTATUS=0 -DSQLITE_DQS=0 \
            -DOMIT_MEMLOCK -DSQLCIPHER_OMIT_LOG -DSQLITE_OMIT_LOAD_EXTENSION -DSQLITE_OMIT_SHARED_CACHE -DSQLITE_USE_URI=0 \
            -DSQLITE_ENABLE_DBPAGE_VTAB -DHAVE_FDATASYNC=1 &&
        ar rcs libsqlcipher.a sqlite3.o
}

echo "deps: building SQLCipher 4.6.1 (half a minute, once)"
tar -xf "$sqlcipher" -C "$work/sqlcipher" --strip-components 1
for patch in sqlcipher-contexts sqlcipher-wal; do
    patch -d "$work/sqlcipher" -p1 -s <"$patches/$patch.patch" || fail "our patch $patch does not apply to SQLCipher"
done
(cd "$work/sqlcipher" && build_sqlcipher >build.log 2>&1) || fail "SQLCipher does not build; see $work/sqlcipher/build.log"
cp "$work/sqlcipher/sqlite3.h" "$work/sqlcipher/libsqlcipher.a" "$out/sqlcipher/"
rm -rf "$work/sqlcipher"
echo "$stamp" >"$out/stamp"
