# Pieces of scripts/test. Sourced, never run; expects the workspace's root as the working directory.

# Runs a command under a heading and says how long it took. Ends the script if it fails.
step() {
    local title=$1 began=$SECONDS status=0
    shift
    printf '\n=== %s\n' "$title"
    # Not `|| status=$?`: inside a condition `set -e` is off, also in the functions called.
    set +e
    (
        set -e
        "$@"
    )
    status=$?
    set -e
    if ((status != 0)); then
        printf '\n!!! %s: failed after %d s\n' "$title" $((SECONDS - began)) >&2
        exit "$status"
    fi
    printf -- '--- %s: %d s\n' "$title" $((SECONDS - began))
}

# Whether what a package is needed for is here, by whatever means it came.
present() {
    case $1 in
    iproute2) command -v ip >/dev/null ;;
    ca-certificates) [[ -e /etc/ssl/certs/ca-certificates.crt ]] ;;
    *) command -v "$1" >/dev/null ;;
    esac
}

# Sees to the packages that the tests need: installs them as root, names them otherwise.
need() {
    local missing=() package
    for package in "$@"; do
        present "$package" || missing+=("$package")
    done
    if ((${#missing[@]} == 0)); then
        echo "nothing is missing"
    elif ((EUID == 0)) && command -v apt-get >/dev/null; then
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
    else
        echo "please install: ${missing[*]}" >&2
        return 1
    fi
}

# The parts of the Rust toolchain that a minimal one lacks.
need_rust() {
    local tool
    for tool in cargo rustfmt cargo-fmt cargo-clippy; do
        command -v "$tool" >/dev/null || {
            echo "$tool is missing; see https://www.rust-lang.org/tools/install (components rustfmt and clippy)" >&2
            return 1
        }
    done
    cargo --version
}

# With both of its providers on, rustls cannot tell which one to use and panics.
rustls_without_ring() {
    local tree
    tree=$(cargo tree --locked --workspace --all-features --edges features --invert rustls)
    if grep -F '"ring"' <<<"$tree"; then
        echo "something turns on rustls/ring: give it the feature for aws-lc-rs instead" >&2
        return 1
    fi
}

# Two versions of one of these do not understand each other's types, or double what must be patched in a hurry.
one_version_each() {
    local name count
    for name in "$@"; do
        count=$(grep -cFx "name = \"$name\"" Cargo.lock || true)
        if ((count != 1)); then
            echo "Cargo.lock has $count versions of $name; see: cargo tree --duplicates" >&2
            return 1
        fi
        echo "$name: one version"
    done
}

# Licences, banned crates and sources, where cargo-deny is installed.
deny() {
    if ! command -v cargo-deny >/dev/null; then
        echo "skipped: cargo-deny is not installed (cargo install cargo-deny --locked)"
        return 0
    fi
    cargo deny --workspace --all-features check bans licenses sources
}

# Every relative link in a document leads to something that exists.
links() {
    local document link target checked=0 broken=0
    while IFS= read -r -d '' document; do
        while IFS= read -r link; do
            target=${link%%#*}
            [[ -n $target ]] || continue
            checked=$((checked + 1))
            [[ -e $(dirname "$document")/$target ]] && continue
            echo "$document: there is no $target" >&2
            broken=$((broken + 1))
        done < <(links_of "$document")
    done < <(find . \( -name target -o -name .git -o -name node_modules \) -prune -o -name '*.md' -print0)
    echo "$checked links, $broken broken"
    ((broken == 0))
}

# The relative links of one document, those in code left out.
links_of() {
    awk '/^ *(```|~~~)/ { code = !code; next } !code' "$1" |
        sed -E 's/`[^`]*`//g' |
        grep -oE '\]\([^) ]+' |
        sed 's/^](//' |
        grep -vE '^(#|[a-z][a-z0-9+.-]*:)' || true
}
