# shellcheck shell=sh disable=SC2034,SC2154 # the entry point and these files share their variables
# What is rendered into generated/NAME.conf: what the function NAME_conf prints.

main_conf() {
  [ "$(id -u)" -ne 0 ] || echo "user $user;"
  echo "worker_processes $workers;"
  echo "worker_rlimit_nofile $((2 * connections));"
}

# The bundle's container has enough memory for all of these connections.
events_conf() {
  echo "worker_connections $connections;"
}

http_conf() {
  names_conf
  proxies_conf
  backend_conf
  certificate_conf
  fallback_conf
  # OpenSSL refuses a list with a group it does not know.
  groups=X25519:prime256v1:secp384r1
  [ "$openssl_version" -lt "$(number 3.5)" ] || groups="X25519MLKEM768:$groups"
  echo "ssl_ecdh_curve $groups;"
}

# Two groups of the same servers, so that a connection that carried an upgrade request is never used for anything else,
# even if the upgrade was refused.
backend_conf() {
  upstream_conf backend
  echo "keepalive 16;"
  # Less than Hypercorn's 5 s (keep_alive_timeout), so that the backend never closes a connection just as a webhook is
  # sent on it.
  echo "keepalive_timeout 4s;"
  echo "}"
  upstream_conf streams
  echo "}"
}

upstream_conf() { # upstream_conf NAME: without the closing brace, so that directives for this group can follow
  echo "upstream $1 {"
  echo "zone $1 64k;"
  # A call is one connection for as long as it lasts, so the fewest connections means the fewest calls.
  echo "least_conn;"
  lookups=
  for backend in $backends; do
    if is_looked_up "$backend"; then
      # A container that was restarted may have another address, and a name may stand for several containers.
      echo "server $backend resolve fail_timeout=2s;"
      lookups=yes
    else
      echo "server $backend fail_timeout=2s;"
    fi
  done
  if [ -n "$lookups" ]; then
    echo "resolver $resolver valid=2s ipv6=$backend_ipv6;"
    echo "resolver_timeout 2s;"
  fi
}

# The certificate's path is a variable, so nginx reads the certificate for each handshake. It can start without one, and
# a newly published one needs no reload. The path is not built from $ssl_server_name, so that no client chooses a path.
certificate_conf() {
  certificate_map certificate "\"$published/$domain/current\""
  [ -z "$rsa_folder" ] || certificate_map rsa_certificate "\"$rsa_folder\""
  # From nginx 1.27.4 on, it need not be read from disk each time, and a pair that is swapped while its two files are
  # being read is read once more.
  [ "$nginx_version" -lt "$(number 1.27.4)" ] || echo "ssl_certificate_cache max=8 inactive=1m valid=2s;"
}

certificate_map() { # certificate_map VARIABLE FOLDER
  folder=$2
  echo "map \$ssl_server_name \$$1 {"
  echo "default '';"
  echo "'' $folder;"
  for name in $domain $extra_domains; do
    case $name in
    "*."*) echo "\"~*$(wildcard_pattern "$name")\" $folder;" ;;
    *) echo "$name $folder;" ;;
    esac
  done
  echo "}"
}

unknown_http_server_conf() {
  outer_listen_conf "$http_port" default_server
}

unknown_https_server_conf() {
  https_listen_conf default_server
  # nginx logs the beginning of a connection that lacks the PROXY protocol, here, whatever name it would have been for.
  # It may be a request with a token, sent in the clear by mistake.
  [ "$proxy_protocol" = off ] || echo "include snippets/private-requests.conf;"
  if [ "$require_sni" = on ]; then
    echo "ssl_reject_handshake on;"
  else
    # Only clients that send no host name get a certificate here.
    use_certificate_conf
  fi
}

http_server_conf() {
  outer_listen_conf "$http_port"
  # shellcheck disable=SC2086 # the list's words
  server_name_conf $domain $extra_domains
  root_conf
}

https_server_conf() {
  https_listen_conf
  # shellcheck disable=SC2046 # one word a line
  server_name_conf $(served_names)
  root_conf
  use_certificate_conf
}

# With EDGE_EXTRA=redirect, a server of their own for the other names.
extra_servers_conf() {
  [ "$edge_extra" = redirect ] && [ -n "$extra_domains" ] || return 0
  echo "server {"
  https_listen_conf
  # shellcheck disable=SC2086 # the list's words
  server_name_conf $extra_domains
  root_conf
  use_certificate_conf
  echo "include snippets/security-headers.conf;"
  echo "include snippets/challenge.conf;"
  echo "include snippets/moved.conf;"
  echo "}"
}

root_conf() {
  echo "root \"$webroot\";"
}

https_listen_conf() { # https_listen_conf [WORD]
  outer_listen_conf "$https_port" "$@" ssl
  # For the keeper and rehearsal calls, which don't speak the PROXY protocol.
  [ -z "$inner_port" ] || listen_conf "$inner_port" "$@" ssl
}

outer_listen_conf() { # outer_listen_conf PORT WORD…
  [ "$proxy_protocol" = off ] || set -- "$@" proxy_protocol
  listen_conf "$@"
}

listen_conf() { # listen_conf PORT WORD…
  port=$1
  shift
  for address in $listen; do
    echo "listen $address:$port${*:+ $*};"
  done
}

use_certificate_conf() {
  if [ "$certificate" = read ]; then
    set -- "\$certificate" "${rsa_folder:+\$rsa_certificate}"
  else
    set -- "$published/$domain/current" "$rsa_folder"
  fi
  # Of two pairs with the same kind of key, the last one is served. With `rsa` that is DOMAIN's, and the other one serves
  # only until there is an RSA pair for DOMAIN.
  [ "$keys" = ecdsa+rsa ] || set -- "$2" "$1"
  for folder in "$@"; do
    [ -n "$folder" ] || continue
    echo "ssl_certificate \"$folder/fullchain.pem\";"
    echo "ssl_certificate_key \"$folder/privkey.pem\";"
  done
}
