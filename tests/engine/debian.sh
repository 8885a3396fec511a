#!/usr/bin/env bash
# Debian packages and root file systems of another suite than this machine's, from this machine's own mirrors: source it.

keyring=/usr/share/keyrings/debian-archive-keyring.gpg

# The mirrors stand in the machine's apt configuration, and nowhere here.
mirror() { # mirror [-security]: the address that serves this machine's suite, or its updates
  local codename
  # shellcheck source=/dev/null
  codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
  # shellcheck disable=SC2016 # $(…) is apt-get's here
  apt-get indextargets --format '$(SITE) $(RELEASE) $(CODENAME) $(SUITE)' 'Created-By: Packages' |
    awk -v suite="$codename${1:-}" '$3 == suite || $2 == suite { print $1; exit }'
}

sources() { # sources SUITE: lines of an apt sources.list
  local main security
  main=$(mirror)
  [ -n "$main" ] || die "no Debian mirror in this machine's apt configuration"
  echo "deb [signed-by=$keyring] $main $1 main"
  case $1 in forky | sid) return ;; esac
  echo "deb [signed-by=$keyring] $main $1-updates main"
  security=$(mirror -security)
  [ -z "$security" ] || echo "deb [signed-by=$keyring] $security $1-security main"
}

# With a state of its own, so that the machine's apt never hears of that suite.
download_packages() { # download_packages SUITE FOLDER PACKAGE…
  local suite=$1 folder=$2 apt=$2/apt options
  shift 2
  mkdir -p "$apt"/{lists,archives}/partial
  : >"$apt/status"
  sources "$suite" >"$apt/sources.list"
  options=(-o "Dir::State::Lists=$apt/lists" -o "Dir::State::status=$apt/status" -o "Dir::Cache=$apt"
    -o "Dir::Etc::sourcelist=$apt/sources.list" -o Dir::Etc::sourceparts=/dev/null
    -o Dir::Etc::preferences=/dev/null -o Dir::Etc::preferencesparts=/dev/null
    -o Acquire::Languages=none -o APT::Sandbox::User=root)
  apt-get "${options[@]}" update && (cd "$folder" && apt-get "${options[@]}" download "$@") && rm -rf "$apt"
}

# As small as the official slim images; trusts the authorities that this machine trusts, and asks mirrors as it does.
make_root_file_system() { # make_root_file_system SUITE FILE.tar
  local settings=$2.apt certificate
  local options=(--mode=root --format=tar --variant=minbase --include=ca-certificates)
  {
    apt-config dump | grep -E '^Acquire::Check-(Valid-Until|Date) ' || true
    echo 'Acquire::Retries "5";'
    echo 'Dir::Cache::pkgcache ""; Dir::Cache::srcpkgcache "";'
    echo 'DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/*.bin || true"; };'
  } >"$settings"
  for certificate in /usr/local/share/ca-certificates/*.crt; do
    [ ! -e "$certificate" ] || options+=(--customize-hook="copy-in $certificate /usr/local/share/ca-certificates")
  done
  # shellcheck disable=SC2016 # $1 is the hook's
  options+=(--customize-hook='chroot "$1" update-ca-certificates' --aptopt="$settings"
    --aptopt='Acquire::Languages "none"' --aptopt='APT::Install-Recommends "false"'
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*'
    --dpkgopt='path-exclude=/usr/share/locale/*')
  sources "$1" | mmdebstrap "${options[@]}" "$1" "$2.part" -
  rm "$settings"
  mv "$2.part" "$2"
}
