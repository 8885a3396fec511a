# shellcheck shell=sh disable=SC2034,SC2154 # the entry point and these files share their variables
# The proxies before nginx, and how the client's address is learned from them.

read_proxy_protocol() {
  proxy_protocol=${EDGE_PROXY_PROTOCOL:-off}
  matches "$proxy_protocol" 'on|off' || die "EDGE_PROXY_PROTOCOL is '$proxy_protocol': wanted on or off"
}

read_proxies() {
  proxies=
  for network in $(printf '%s' "${TRUSTED_PROXIES:-}" | tr ',' ' '); do
    check_network "$network"
    proxies="$proxies $network"
  done
  [ "$proxy_protocol" = off ] || [ -n "$proxies" ] ||
    die "EDGE_PROXY_PROTOCOL is on and TRUSTED_PROXIES is not set: set it to the proxies' addresses," \
      "as in 10.0.0.5 10.1.0.0/16"
}

# Whoever comes from a trusted network chooses the address that it is counted and logged under. So none may be larger
# than the largest private ones, 10.0.0.0/8 and fc00::/7.
check_network() { # check_network TEXT
  case $1 in
  ::[Ff][Ff][Ff][Ff]:*.*)
    die "TRUSTED_PROXIES has '$1': wanted it as an IPv4 address, because nginx would compare it with no other"
    ;;
  esac
  if is_ipv4 "${1%%/*}"; then
    bits=32 least=8
  elif is_ipv6 "${1%%/*}"; then
    bits=128 least=7
  else
    die "TRUSTED_PROXIES has '$1': wanted addresses or networks without names and ports," \
      "as in 10.0.0.5 10.1.0.0/16 2001:db8::/64"
  fi
  case $1 in */*) length=${1#*/} ;; *) length=$bits ;; esac
  case $length in
  "" | *[!0-9]* | ????*) length=999 ;;
  esac
  [ "$length" -le "$bits" ] ||
    die "TRUSTED_PROXIES has '$1': wanted a number of bits up to $bits behind the /, as in 10.1.0.0/16"
  [ "$length" -ge "$least" ] ||
    die "TRUSTED_PROXIES has '$1', a network so large that strangers would choose the address they are counted under:" \
      "name only the proxies' own networks, of /$least or smaller"
}

# From the right, the first address that is no proxy's is the client's: what stands left of it may be invented.
proxies_conf() {
  [ -n "$proxies" ] || return 0
  for network in $proxies; do echo "set_real_ip_from $network;"; done
  if [ "$proxy_protocol" = on ]; then
    echo "real_ip_header proxy_protocol;"
  else
    echo "real_ip_header X-Forwarded-For;"
  fi
  echo "real_ip_recursive on;"
}
