#!/bin/sh
# Build the two libraries that Debian 12 has too old or unusable (THIRD-PARTY.md says why) into a cache folder:
#   OUT/sqlcipher/{sqlite3.h,libsqlcipher.a}   SQLCipher 4.6.1, one static library for all presets
#   OUT/civetweb/{include,src}                 CivetWeb 1.16 with Debian's security patches, compiled by each preset
# Sources are Debian's source packages, pinned by SHA-256: taken from FOLDER when given (the setting TRESOR_DEPS_DIR), else
# from the mirror that this machine's apt uses.
#
#   cmake/deps.sh OUT [FOLDER]
set -eu

out=$1
folder=${2:-}
work=$out/work
stamp=2
[ -f "$out/stamp" ] && [ "$(cat "$out/stamp")" = "$stamp" ] && exit 0

# sha256  pool path  file
sources='
41dbfd68cd3b914ce440a5813f21058813b61a972600cc04fb8233a0d2d04fe4 c/civetweb civetweb_1.16+dfsg.orig.tar.xz
9174a803e0dfd394d8ef63488ca75d4818ba0291734970509abb48865b01f441 c/civetweb civetweb_1.16+dfsg-6.debian.tar.xz
d8f9afcbc2f4b55e316ca4ada4425daf3d0b4aab25f45e11a802ae422b9f53a3 s/sqlcipher sqlcipher_4.6.1.orig.tar.gz
'

fail() {
    echo "deps: $*" >&2
    exit 1
}

# The Debian archive that apt is set up with (not a security or third-party one).
mirror() {
    apt-get indextargets --format '$(REPO_URI) $(LABEL)' 'Created-By: Packages' 2>/dev/null |
        awk '$2 == "Debian" { print $1; exit }'
}

fetch() { # sha256 pool file
    target=$work/$3
    if [ -n "$folder" ]; then
        [ -f "$folder/$3" ] || fail "$folder has no $3 (TRESOR_DEPS_DIR); its SHA-256 must be $1"
        cp "$folder/$3" "$target"
    elif [ ! -f "$target" ]; then
        base=$(mirror)
        [ -n "$base" ] || fail "apt knows no Debian mirror; put $3 into a folder and pass -DTRESOR_DEPS_DIR=FOLDER"
        name=$(printf %s "$3" | sed 's/+/%2b/g')
        curl -fsSL --retry 3 --max-time 300 -o "$target.part" "${base%/}/pool/main/$2/$name" ||
            fail "the Debian mirror of this machine has no pool/main/$2/$3; get it elsewhere (snapshot.debian.org keeps" \
                "every version), put it into a folder and pass -DTRESOR_DEPS_DIR=FOLDER"
        mv "$target.part" "$target"
    fi
    echo "$1  $target" | sha256sum -c --quiet - >/dev/null 2>&1 || {
        rm -f "$target"
        fail "$3 does not have the pinned SHA-256 $1; it was not used"
    }
}

mkdir -p "$work"
echo "$sources" | while read -r sum pool file; do
    [ -z "$sum" ] || fetch "$sum" "$pool" "$file"
done

rm -rf "$out/civetweb" "$out/sqlcipher" "$work/sqlcipher"
mkdir -p "$out/civetweb" "$out/sqlcipher" "$work/sqlcipher"

tar -xf "$work/civetweb_1.16+dfsg.orig.tar.xz" -C "$out/civetweb" --strip-components 1
tar -xf "$work/civetweb_1.16+dfsg-6.debian.tar.xz" -C "$out/civetweb"
grep -v '^#' "$out/civetweb/debian/patches/series" | while read -r patch; do
    [ -z "$patch" ] || patch -d "$out/civetweb" -p1 -s <"$out/civetweb/debian/patches/$patch" ||
        fail "patch $patch does not apply to CivetWeb"
done

echo "deps: building SQLCipher 4.6.1 (half a minute, once)"
tar -xf "$work/sqlcipher_4.6.1.orig.tar.gz" -C "$work/sqlcipher" --strip-components 1
(
    cd "$work/sqlcipher"
    {
        ./configure --enable-tempstore=yes --disable-tcl
        make sqlite3.c
        # Temporary tables stay in memory; connections are not shared between threads; deleted rows are overwritten.
        gcc -O2 -g -fPIC -fstack-protector-strong -c sqlite3.c -o sqlite3.o \
            -DSQLITE_HAS_CODEC -DSQLCIPHER_CRYPTO_OPENSSL -DSQLITE_TEMP_STORE=3 -DSQLITE_THREADSAFE=2 \
            -DSQLITE_SECURE_DELETE=1 -DSQLITE_DEFAULT_MEMSTATUS=0 -DSQLITE_DQS=0 \
            -DSQLITE_OMIT_LOAD_EXTENSION -DSQLITE_OMIT_SHARED_CACHE -DSQLITE_USE_URI=0
    } >build.log 2>&1 || fail "SQLCipher does not build; see $work/sqlcipher/build.log"
    ar rcs libsqlcipher.a sqlite3.o
)
cp "$work/sqlcipher/sqlite3.h" "$work/sqlcipher/libsqlcipher.a" "$out/sqlcipher/"
rm -rf "$work/sqlcipher"
echo "$stamp" >"$out/stamp"
