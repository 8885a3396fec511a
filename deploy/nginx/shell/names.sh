# shellcheck shell=sh disable=SC2034,SC2154 # the entry point and these files share their variables
# The names that are served: DOMAIN, and beside it EXTRA_DOMAINS.

read_domain() {
  domain=$(normal_name "${DOMAIN:-}")
  [ -n "$domain" ] || die "DOMAIN is not set: set it to the host name callers' webhooks use, as in voice.example.com"
  is_host_name "$domain" ||
    die "DOMAIN is '$DOMAIN': wanted a host name without https:// and without a path, as in voice.example.com"
}

read_extra_domains() {
  extra_domains=
  for given in $(printf '%s' "${EXTRA_DOMAINS:-}" | tr ',[:upper:]' ' [:lower:]'); do
    name=${given%.}
    is_host_name "${name#"*."}" ||
      die "EXTRA_DOMAINS has '$given': wanted host names without https:// and without a path," \
        "as in www.example.com *.example.com"
    [ "$name" = "${name#"*"}" ] || matches "$name" '..[^.]*[.].*[^0-9.].*' ||
      die "EXTRA_DOMAINS has '$given': wanted a domain of your own behind the *, as in *.example.com"
    case " $domain $extra_domains " in
    *" $name "*) ;;
    *) extra_domains="$extra_domains $name" ;;
    esac
  done
  edge_extra=${EDGE_EXTRA:-serve}
  matches "$edge_extra" 'serve|redirect' || die "EDGE_EXTRA is '$edge_extra': wanted serve or redirect"
}

normal_name() { # normal_name TEXT
  printf '%s' "${1%.}" | tr '[:upper:]' '[:lower:]'
}

is_host_name() { # is_host_name TEXT
  label='[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?'
  matches "$1" "$label(\.$label)*" && [ ${#1} -le 253 ]
}

# The names for which calls are answered.
served_names() {
  echo "$domain"
  [ "$edge_extra" = redirect ] || each "$extra_domains"
}

each() { # each LIST: one a line
  # shellcheck disable=SC2086 # the list's words
  [ -z "$1" ] || printf '%s\n' $1
}

server_name_conf() { # server_name_conf NAME…
  echo "server_name"
  for name in "$@"; do
    case $name in
    "*."*) echo "\"~$(wildcard_pattern "$name")\"" ;;
    *) echo "$name" ;;
    esac
  done
  echo ";"
}

# nginx's own *.example.com would match names of any depth, while a certificate's matches one label (RFC 9525, section
# 6.3). A name that the certificate does not hold is refused as any unknown name is.
wildcard_pattern() { # wildcard_pattern NAME: the regular expression
  echo "^[a-z0-9_-]+$(printf '%s' "${1#"*"}" | sed 's/[.]/[.]/g')\$"
}

# Names as variables: DOMAIN, and where people are sent who ask for a page in the clear.
names_conf() {
  echo "map \$server_port \$main_name { default $domain; }"
  # nginx compares $host with the names that are served, so that nobody is sent elsewhere.
  redirect_name=$domain
  [ "$edge_extra" = redirect ] || redirect_name="\$host"
  echo "map \$server_port \$redirect_name { default $redirect_name; }"
}
