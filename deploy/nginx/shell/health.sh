# shellcheck shell=sh disable=SC2034,SC2154 # the entry point and these files share their variables
# The answer of `entrypoint health`.

# These requests need no backend, because the backend's health is not nginx's.
health() {
  failure=1
  read_domain
  extra_domains= # it asks for DOMAIN, and there may be many others
  read_listen
  read_proxy_protocol
  read_folders
  command -v curl >/dev/null || die "there is no program curl: install it, entrypoint health asks with it"
  address=$(echo "$listen" | awk '{ print $1 }')
  case $address in 0.0.0.0) address=127.0.0.1 ;; "[::]") address="[::1]" ;; esac

  expect 301 "http://$domain:$http_port/"
  [ ! -e "$published/$domain" ] || [ -x "$published/$domain" ] ||
    die "$published/$domain can't be entered: publish to the group of nginx's workers (CERT_GROUP)"
  if [ ! -e "$published/$domain/current" ]; then
    echo "edge: serves $domain on port $http_port; there is no certificate yet"
    return
  fi
  expect 404 "https://$domain:$https_port/metrics"
  echo "edge: serves $domain on ports $http_port and $https_port"
}

expect() { # expect STATUS URL: asks the nginx at our address, whoever issued its certificate
  port=${2##*:}
  port=${port%%/*}
  proxy_option=
  [ "$proxy_protocol" = off ] || proxy_option=--haproxy-protocol
  # shellcheck disable=SC2086 # one word, or none
  answer=$(curl --disable $proxy_option --silent --show-error --insecure --noproxy '*' --max-time 2 --output /dev/null \
    --user-agent callgate-health --write-out '%{http_code}' --header "Host: $domain" \
    --connect-to "::$address:$port" "$2" 2>&1) || die "$2 at $address does not answer: $(echo "$answer" | sed -n 's/^curl: //p')"
  [ "$answer" = "$1" ] || die "$2 at $address answers with status $answer: wanted $1"
}
