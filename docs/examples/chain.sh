set -eu
umask 077
folder=$(mktemp -d) # the chain is a secret: in files of one's own, not in arguments
trap 'rm -r "$folder"' EXIT
: >"$folder/chain"

call() { # METHOD PATH [CURL-OPTION...]
    method=$1 path=$2
    shift 2
    curl -sS --fail-with-body --cacert "$TRESOR_CA" -X "$method" -H "@$folder/chain" -D "$folder/head" "$@" "$TRESOR_URL$path"
    ! grep -qi '^access-token:' "$folder/head" || # an answer without one has used none up
        grep -iE '^(access-token|client|uid):' "$folder/head" | tr -d '\r' >"$folder/chain"
    echo
}

printf '{"uid":"%s","password":"%s"}' "$TRESOR_UID" "$TRESOR_PASSWORD" | call POST /v1/auth/sign_in --json @-
call GET /v1/auth/validate_token
call GET /v1/types
