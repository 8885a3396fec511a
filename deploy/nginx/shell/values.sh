# shellcheck shell=sh disable=SC2034,SC2154 # the entry point and these files share their variables
# Reads the environment, and refuses what can't work.

line_end='
'

matches() { # matches VALUE PATTERN: whether the whole value matches, and is one line
  case $1 in *"$line_end"*) return 1 ;; esac
  printf '%s\n' "$1" | grep -Eqx -- "$2"
}

check_port() { # check_port NAME VALUE
  matches "$2" '[0-9]{1,5}' && [ "$2" -ge 1 ] && [ "$2" -le 65535 ] ||
    die "$1 is '$2': wanted a port from 1 to 65535"
}

check_folder() { # check_folder NAME VALUE
  matches "$2" '/[^"$\{};]*' || die "$1 is '$2': wanted an absolute path without any of \" \$ \\ { } ;"
}

read_fallback_dial() {
  fallback_dial=$(printf '%s' "${FALLBACK_DIAL:-}" | tr -d ' ().-')
  [ -z "$fallback_dial" ] || matches "$fallback_dial" '\+[1-9][0-9]{6,14}' ||
    die "FALLBACK_DIAL is not a phone number: write it with + and country code, as in +15551230000"
}

read_proofs() {
  proofs=
  for key in $(printf '%s' "${EDGE_KEY:-}" | tr ',' '\n' | sort -u); do
    proofs="$proofs $(printf 'callgate edge proof:%s' "$key" | sha256sum | cut -c1-32)"
  done
}

read_backend() {
  backends=${EDGE_BACKEND:-127.0.0.1:8765}
  matches "$backends" '( *([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5})+ *' ||
    die "EDGE_BACKEND is '$backends': wanted HOST:PORT, or several separated by spaces, as in 127.0.0.1:8765"
  for backend in $backends; do check_port "the port in EDGE_BACKEND" "${backend##*:}"; done
}

read_listen() {
  listen=${EDGE_LISTEN:-0.0.0.0$([ ! -e /proc/net/if_inet6 ] || echo " [::]")}
  matches "$listen" '( *([0-9.]+|\[[0-9A-Fa-f:.]+\]))+ *' ||
    die "EDGE_LISTEN is '$listen': wanted addresses separated by spaces, as in 0.0.0.0 [::]"
  http_port=${EDGE_HTTP_PORT:-80}
  https_port=${EDGE_HTTPS_PORT:-443}
  check_port EDGE_HTTP_PORT "$http_port"
  check_port EDGE_HTTPS_PORT "$https_port"
  [ "$http_port" -ne "$https_port" ] || die "EDGE_HTTP_PORT and EDGE_HTTPS_PORT are both $http_port: wanted two ports"
  inner_port=${EDGE_INNER_PORT:-}
  [ -z "$inner_port" ] || check_port EDGE_INNER_PORT "$inner_port"
  case $inner_port in
  "$http_port" | "$https_port")
    die "EDGE_INNER_PORT is $inner_port, which is another port's number: wanted three ports"
    ;;
  esac
  # RFC 6066, section 3: addresses are not sent as server names.
  require_sni=on
  for name in $domain $extra_domains; do
    case $name in
    *[!0-9.]*) [ "$name" != localhost ] || require_sni=off ;;
    *) require_sni=off ;;
    esac
  done
  require_sni=${EDGE_REQUIRE_SNI:-$require_sni}
  matches "$require_sni" 'on|off' || die "EDGE_REQUIRE_SNI is '$require_sni': wanted on or off"
  certificate=${EDGE_CERTIFICATE:-read}
  matches "$certificate" 'read|kept' || die "EDGE_CERTIFICATE is '$certificate': wanted read or kept"
}

read_folders() {
  state=${EDGE_STATE:-/run/edge}
  published=${CERT_PUBLISHED:-/var/lib/callgate/published}
  webroot=${ACME_WEBROOT:-/var/lib/callgate/webroot}
  check_folder EDGE_STATE "$state"
  check_folder CERT_PUBLISHED "$published"
  check_folder ACME_WEBROOT "$webroot"
}

# The pair that is published beside DOMAIN's. If it could not be read, no handshake would succeed, with either of the
# pairs; so it is served only if it is there when this is rendered.
read_keys() {
  keys=${CERTIFICATE_KEYS:-ecdsa}
  matches "$keys" 'ecdsa|rsa|ecdsa\+rsa' || die "CERTIFICATE_KEYS is '$keys': wanted ecdsa, rsa, or ecdsa+rsa"
  rsa_folder=
  [ "$keys" = ecdsa ] || rsa_folder=$published/$domain-rsa/current
  [ -r "$rsa_folder/fullchain.pem" ] && [ -r "$rsa_folder/privkey.pem" ] || rsa_folder=
}

# Only root can make the workers run as another user.
read_user() {
  [ "$(id -u)" -eq 0 ] || return 0
  user=${EDGE_USER:-}
  for name in nginx www-data nobody; do
    [ -n "$user" ] || ! id "$name" >/dev/null 2>&1 || user=$name
  done
  id "$user" >/dev/null 2>&1 || die "EDGE_USER is '$user': there is no such user here"
}

# Four workers can hold thousands of calls. `auto` would start 64 on a machine with 64 cores, and as many again at each
# reload during calls, which a container's limit on processes does not allow.
read_workers() {
  workers=$(nproc 2>/dev/null || echo 2)
  [ "$workers" -le 4 ] || workers=4
  # 16,384 connections in all, but for each worker at most half of the files that the bundle's container may open.
  connections=$((16384 / workers))
  [ "$connections" -le 8192 ] || connections=8192
}

read_versions() {
  nginx=${EDGE_NGINX:-nginx}
  about=$("$nginx" -V 2>&1) || die "$nginx does not run: install nginx, or name the program in EDGE_NGINX"
  nginx_version=$(version "$about" 's,^nginx version: [^/]*/\([0-9.]*\).*,\1,p')
  [ "$nginx_version" -ge "$(number 1.22)" ] || die "found $(echo "$about" | sed -n 1p): wanted 1.22 or later"
  case $about in
  *--with-http_realip_module*) ;;
  *)
    [ -z "$proxies" ] || die "TRUSTED_PROXIES is set, and $nginx was built without the module http_realip:" \
      "install an nginx that has it, or unset TRUSTED_PROXIES"
    ;;
  esac
  openssl_version=$(version "$about" 's,.*running with OpenSSL \([0-9.]*\).*,\1,p')
  [ "$openssl_version" -ne 0 ] || openssl_version=$(version "$about" 's,.*built with OpenSSL \([0-9.]*\).*,\1,p')
}

version() { # version TEXT SED_SCRIPT
  number "$(printf '%s\n' "$1" | sed -n "$2" | sed -n 1p)"
}

number() { # number 1.27.4 prints 1027004, for comparisons
  echo "${1:-0}" | awk -F. '{ print $1 * 1000000 + $2 * 1000 + $3 }'
}
