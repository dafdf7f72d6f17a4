#!/bin/sh
# Layers point one way: http → api → vault → store → crypto → base. A file may include its own layer and lower ones only.
set -eu
cd "$(dirname "$0")/../src"
rank() {
    case $1 in
    base) echo 1 ;; crypto) echo 2 ;; store) echo 3 ;; vault) echo 4 ;; api) echo 5 ;; http) echo 6 ;; cli) echo 7 ;;
    *) echo 0 ;;
    esac
}
bad=0
for file in $(find base crypto store vault api http -name '*.[ch]'); do
    own=$(rank "${file%%/*}")
    for included in $(sed -n 's/^#include "\([a-z]*\)\/.*/\1/p' "$file" | sort -u); do
        other=$(rank "$included")
        if [ "$other" -eq 0 ] || [ "$other" -gt "$own" ]; then
            echo "$file includes $included/: a higher layer"
            bad=1
        fi
    done
done
# http is the only one that knows CivetWeb, store/sqlcipher the only one that knows SQL.
grep -ln 'civetweb\.h' -r . | grep -v '^./http/' && bad=1
grep -ln 'sqlite3\.h' -r . | grep -v '^./store/sqlcipher/' && bad=1
exit $bad
