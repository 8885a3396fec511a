# shellcheck shell=sh disable=SC2034,SC2154 # the entry point and these files share their variables
# Tells what is an address, and finds the DNS server that nginx asks.

is_ipv4() { # is_ipv4 TEXT: without leading zeros, which some programs read as octal
  octet='(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])'
  matches "$1" "$octet(\.$octet){3}"
}

is_ipv6() { # is_ipv6 TEXT: RFC 4291, section 2.2, without brackets and without a zone
  groups=$1
  case $1 in
  *:*) ;;
  *) return 1 ;;
  esac
  case $1 in
  *.*) # the last two groups may be written as an IPv4 address
    is_ipv4 "${1##*:}" || return 1
    groups=${1%:*}:0:0
    ;;
  esac
  group='[0-9A-Fa-f]{1,4}'
  ! matches "$groups" "$group(:$group){7}" || return 0
  matches "$groups" "($group(:$group)*)?::($group(:$group)*)?" &&
    [ "$(printf '%s' "$groups" | tr ':' '\n' | grep -c .)" -le 7 ]
}

# From nginx 1.27.3 on, names in EDGE_BACKEND are looked up while nginx runs. Older ones look them up at the start, as
# other programs do. localhost is this machine, whatever a DNS server says (RFC 6761, section 6.3).
is_looked_up() { # is_looked_up HOST:PORT
  [ "$nginx_version" -ge "$(number 1.27.3)" ] && ! matches "$1" '([0-9.]+|\[.*\]|localhost):[0-9]+'
}

read_resolver() {
  resolver=
  backend_ipv6=${EDGE_BACKEND_IPV6:-on}
  matches "$backend_ipv6" 'on|off' || die "EDGE_BACKEND_IPV6 is '$backend_ipv6': wanted on or off"
  resolv_conf=${EDGE_RESOLV_CONF:-/etc/resolv.conf}
  if [ -n "${EDGE_RESOLVER:-}" ]; then
    resolver=$(in_brackets "$EDGE_RESOLVER")
    matches "$resolver" '[A-Za-z0-9._-]+(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](:[0-9]{1,5})?' ||
      die "EDGE_RESOLVER is '$EDGE_RESOLVER': wanted the address of a DNS server," \
        "without a zone (%…), as in 127.0.0.11"
    case $resolver in *]:* | [!\[]*:*) check_port "the port in EDGE_RESOLVER" "${resolver##*:}" ;; esac
    return
  fi
  for backend in $backends; do
    ! is_looked_up "$backend" || resolver=${resolver:-$(system_resolver)}
    ! is_looked_up "$backend" || [ -n "$resolver" ] ||
      die "EDGE_BACKEND has the name '${backend%:*}', and $resolv_conf has no DNS server that nginx can ask:" \
        "set EDGE_RESOLVER to the address of one"
  done
}

# The first one, because any other may know less, with one exception: nginx has no zones, and without its zone nothing
# can be sent to a link-local address (fe80::/10).
system_resolver() {
  nameservers | while read -r server; do
    case $server in [Ff][Ee][89ABab]?:*) continue ;; esac
    if is_ipv4 "$server" || is_ipv6 "$server"; then
      in_brackets "$server"
      break
    fi
  done
}

# Read as the C library reads it (resolv.conf(5)): the keyword begins the line, and a comment may end it.
nameservers() {
  awk '/^nameserver[ \t]/ { sub(/^nameserver[ \t]+/, ""); sub(/[;# \t\r].*$/, ""); print }' "$resolv_conf" 2>/dev/null
}

in_brackets() { # in_brackets TEXT: an IPv6 address as nginx wants it
  case $1 in
  \[*) echo "$1" ;;
  *:*:*) echo "[$1]" ;;
  *) echo "$1" ;;
  esac
}
